//! The TCP header and its options (RFC 9293 section 3.1, RFC 7323, RFC 2018).

use std::ops::BitOr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The control bits of a TCP header.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgment number is significant.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer is significant.
    pub const URG: TcpFlags = TcpFlags(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x80);

    /// Whether every bit of `flags` is set.
    #[inline]
    pub const fn contains(self, flags: TcpFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any bit of `flags` is set.
    #[inline]
    pub const fn intersects(self, flags: TcpFlags) -> bool {
        self.0 & flags.0 != 0
    }
}

impl BitOr for TcpFlags {
    type Output = TcpFlags;

    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

/// The fixed part of the TCP header.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TcpHeader {
    /// Source port.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Sequence number of the first byte of data, or of the SYN.
    pub seq: U32,
    /// The next sequence number the sender expects, if ACK is set.
    pub ack: U32,
    /// Header length in 32-bit words (high four bits); the low four are reserved.
    pub data_offset: u8,
    /// The control bits.
    pub flags: TcpFlags,
    /// Bytes the sender takes, before scaling.
    pub window: U16,
    /// Internet checksum of pseudo header, header and data.
    pub checksum: U16,
    /// Where urgent data ends, if URG is set.
    pub urgent: U16,
}

impl TcpHeader {
    /// Bytes of the fixed part.
    pub const LEN: usize = 20;
    /// Bytes of the longest header.
    pub const MAX_LEN: usize = 60;

    /// Bytes of the header, options included: 0 to 60, and 20 at least in a valid segment.
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.data_offset >> 4) as usize * 4
    }

    /// Sets the header length; `len` is a multiple of four, 20 to 60.
    #[inline]
    pub const fn set_header_len(&mut self, len: usize) {
        self.data_offset = (len as u8 / 4) << 4;
    }
}

/// A segment whose header length was checked once.
#[derive(Clone, Copy, Debug)]
pub struct TcpView<'a> {
    /// The fixed part of the header.
    pub header: &'a TcpHeader,
    /// The options' bytes.
    pub options: &'a [u8],
    /// What of the data lies in the bytes given.
    pub payload: &'a [u8],
}

impl<'a> TcpView<'a> {
    /// Splits the segment that is `bytes`, an IP payload; `None` if its header is cut short, or its
    /// length field is below 20 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = TcpHeader::ref_from_prefix(bytes).ok()?;
        let (head, payload) = bytes.split_at_checked(header.header_len())?;
        Some(TcpView { header, options: head.get(TcpHeader::LEN..)?, payload })
    }
}

/// Option kinds.
pub mod option {
    /// End of the option list.
    pub const END: u8 = 0;
    /// No operation.
    pub const NOP: u8 = 1;
    /// Maximum segment size.
    pub const MSS: u8 = 2;
    /// Window scale.
    pub const WINDOW_SCALE: u8 = 3;
    /// Selective acknowledgment permitted.
    pub const SACK_PERMITTED: u8 = 4;
    /// Selective acknowledgment.
    pub const SACK: u8 = 5;
    /// Timestamps.
    pub const TIMESTAMPS: u8 = 8;
}

/// One block of a SACK option (RFC 2018 section 3).
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct SackBlock {
    /// The first sequence number of the block.
    pub left: U32,
    /// The sequence number past its last.
    pub right: U32,
}

/// One option of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpOption<'a> {
    /// The largest segment the sender takes, in bytes of data.
    Mss(u16),
    /// By how many bits the sender's windows are shifted. Values past 14 are as sent (RFC 7323 section
    /// 2.3 says to use 14).
    WindowScale(u8),
    /// The sender takes SACK options.
    SackPermitted,
    /// Ranges received: one to four blocks.
    Sack(&'a [SackBlock]),
    /// Timestamps (RFC 7323 section 3).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The clock value it echoes.
        echo: u32,
    },
    /// Any other kind, or a known one of a length it never has: to be ignored.
    Unknown {
        /// The kind.
        kind: u8,
        /// What follows the length byte.
        data: &'a [u8],
    },
}

/// An option whose length is below two or past the header's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOption;

/// Walks the options, past no-operations, up to the end-of-list option or the first malformed one
/// (RFC 9293 section 3.1, MUST-7).
#[derive(Clone, Debug)]
pub struct TcpOptions<'a>(&'a [u8]);

impl<'a> TcpOptions<'a> {
    /// The options in `bytes`: those between the fixed header and the data.
    pub const fn new(bytes: &'a [u8]) -> Self {
        TcpOptions(bytes)
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = Result<TcpOption<'a>, BadOption>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [option::NOP, rest @ ..] = self.0 {
            self.0 = rest;
        }
        let kind = *self.0.first().filter(|kind| **kind != option::END)?;
        let len = self.0.get(1).map_or(0, |len| usize::from(*len));
        let Some((head, rest)) = self.0.split_at_checked(len).filter(|_| len >= 2) else {
            self.0 = &[];
            return Some(Err(BadOption));
        };
        self.0 = rest;
        Some(Ok(read_option(kind, &head[2..])))
    }
}

fn read_option(kind: u8, data: &[u8]) -> TcpOption<'_> {
    match (kind, data) {
        (option::MSS, &[a, b]) => TcpOption::Mss(u16::from_be_bytes([a, b])),
        (option::WINDOW_SCALE, &[shift]) => TcpOption::WindowScale(shift),
        (option::SACK_PERMITTED, []) => TcpOption::SackPermitted,
        (option::TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => TcpOption::Timestamps {
            value: u32::from_be_bytes([a, b, c, d]),
            echo: u32::from_be_bytes([e, f, g, h]),
        },
        (option::SACK, data) => match <[SackBlock]>::ref_from_bytes(data) {
            Ok(blocks) if (1..=4).contains(&blocks.len()) => TcpOption::Sack(blocks),
            _ => TcpOption::Unknown { kind, data },
        },
        _ => TcpOption::Unknown { kind, data },
    }
}

const _: () = assert!(size_of::<TcpHeader>() == TcpHeader::LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut header = TcpHeader { flags: TcpFlags::SYN | TcpFlags::ACK, ..TcpHeader::default() };
        header.set_header_len(TcpHeader::LEN + options.len());
        [header.as_bytes(), options, payload].concat()
    }

    #[test]
    fn header_as_on_the_wire() {
        let bytes =
            [0x00, 0x50, 0xc0, 0x00, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0xff, 0xff, 0xab, 0xcd, 0, 3];
        let header = TcpView::parse(&bytes).unwrap().header;
        assert_eq!((header.src_port.get(), header.dst_port.get()), (80, 0xc000));
        assert_eq!((header.seq.get(), header.ack.get(), header.header_len()), (1, 2, 20));
        assert!(header.flags.contains(TcpFlags::SYN | TcpFlags::ACK));
        assert!(!header.flags.contains(TcpFlags::SYN | TcpFlags::FIN));
        assert!(header.flags.intersects(TcpFlags::SYN | TcpFlags::FIN));
        let rest = (header.window.get(), header.checksum.get(), header.urgent.get());
        assert_eq!(rest, (0xffff, 0xabcd, 3));
    }

    #[test]
    fn header_length_bounds_options_and_payload() {
        let mut bytes = segment(&[1, 1, 1, 0], b"data");
        for (words, want) in [(0, None), (4, None), (5, Some((0, 8))), (6, Some((4, 4))), (7, Some((8, 0)))] {
            bytes[12] = words << 4;
            let view = TcpView::parse(&bytes).map(|v| (v.options.len(), v.payload.len()));
            assert_eq!(view, want, "{words} words");
        }
        bytes[12] = 8 << 4;
        assert!(TcpView::parse(&bytes).is_none());
    }

    #[test]
    fn options_of_a_linux_syn() {
        let bytes = [
            2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7, 1, 3, 3,
            7, // the rest is after the end
            0, 3, 3, 9,
        ];
        let options: Result<Vec<_>, _> = TcpOptions::new(&bytes).collect();
        let want = [
            TcpOption::Mss(1460),
            TcpOption::SackPermitted,
            TcpOption::Timestamps { value: 9, echo: 7 },
            TcpOption::WindowScale(7),
        ];
        assert_eq!(options.unwrap(), want);
    }

    #[test]
    fn sack_blocks_are_read_in_place() {
        let bytes = [1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9];
        let Some(Ok(TcpOption::Sack(blocks))) = TcpOptions::new(&bytes).next() else { panic!("no SACK") };
        let edges: Vec<_> = blocks.iter().map(|b| (b.left.get(), b.right.get())).collect();
        assert_eq!(edges, [(1, 2), (5, 9)]);
    }

    #[test]
    fn odd_lengths_are_ignored_and_bad_ones_end_the_walk() {
        // (bytes, kinds that are skipped as unknown, whether the walk ends in a fault)
        type Case = (&'static [u8], &'static [u8], bool);
        let cases: [Case; 8] = [
            (&[2, 3, 5], &[2], false),
            (&[3, 4, 7, 7, 4, 3, 0], &[3, 4], false),
            (&[5, 2], &[5], false),
            (&[5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[5], false),
            (&[254, 4, 1, 2], &[254], false),
            (&[2], &[], true),
            (&[2, 1], &[], true),
            (&[254, 2, 2, 4, 5], &[254], true),
        ];
        for (bytes, unknown, fault) in cases {
            let mut options = TcpOptions::new(bytes);
            for want in unknown {
                let option = options.next().unwrap().unwrap();
                assert!(matches!(option, TcpOption::Unknown { kind, .. } if kind == *want), "{bytes:?}");
            }
            assert_eq!(options.next(), fault.then_some(Err(BadOption)), "{bytes:?}");
            assert_eq!(options.next(), None);
        }
    }

    #[test]
    fn truncation_at_every_length() {
        let bytes = segment(&[2, 4, 5, 0xb4, 3, 3, 7, 0], &[]);
        for len in 0..bytes.len() {
            assert!(TcpView::parse(&bytes[..len]).is_none(), "{len}");
            assert!(TcpOptions::new(&bytes[TcpHeader::LEN.min(len)..len]).count() <= 2);
        }
    }

    proptest! {
        #[test]
        fn any_options_end(bytes in proptest::collection::vec(any::<u8>(), 0..41)) {
            let options: Vec<_> = TcpOptions::new(&bytes).collect();
            prop_assert!(options.len() <= bytes.len().div_ceil(2));
            prop_assert!(options.iter().rev().skip(1).all(|o| o.is_ok()), "only the last is a fault");
        }
    }
}

//! A received segment in the terms of RFC 9293.

use std::net::{Ipv4Addr, SocketAddrV4};

use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{DropReason, TcpFlags, TcpView};

use crate::SeqNumber;

/// The window field of a segment, as sent: what it says in bytes depends on the connection's scale
/// (RFC 7323 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UnscaledWindow(pub u16);

/// Whether the TCP checksum is still to be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// Nobody has checked it.
    Verify,
    /// The device vouches for it.
    KnownGood,
}

/// A segment whose header was checked once: its getters cannot fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Who sent it.
    pub src: SocketAddrV4,
    /// To whom.
    pub dst: SocketAddrV4,
    /// SEG.SEQ: the number of its SYN if it has one, else of its first byte.
    pub seq: SeqNumber,
    /// SEG.ACK: the number its sender expects next; `None` if the ACK bit is off.
    pub ack: Option<SeqNumber>,
    /// The control bits.
    pub flags: TcpFlags,
    /// SEG.WND, before scaling.
    pub window: UnscaledWindow,
    /// The bytes of the options, for [`wire::tcp::TcpOptions`].
    pub options: &'a [u8],
    /// Its data.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads the segment that is `bytes`: the whole payload of an IPv4 packet from `src` to `dst`,
    /// padding cut off.
    ///
    /// # Errors
    /// [`DropReason::TcpMalformed`] if the header is cut short or its checksum is wrong.
    pub fn parse(
        src: Ipv4Addr,
        dst: Ipv4Addr,
        bytes: &'a [u8],
        checksum: Checksum,
    ) -> Result<Self, DropReason> {
        let view = TcpView::parse(bytes).ok_or(DropReason::TcpMalformed)?;
        let len = u16::try_from(bytes.len()).map_err(|_| DropReason::TcpMalformed)?;
        //= RFC 9293 section 3.1: the receiver must check the checksum (MUST-3).
        let verified = || pseudo_header(src, dst, protocol::TCP, len).add_bytes(bytes).finish() == 0;
        if checksum == Checksum::Verify && !verified() {
            return Err(DropReason::TcpMalformed);
        }
        let TcpView { header, options, payload } = view;
        let ack = header.flags.contains(TcpFlags::ACK).then(|| SeqNumber::new(header.ack.get()));
        Ok(Segment {
            src: SocketAddrV4::new(src, header.src_port.get()),
            dst: SocketAddrV4::new(dst, header.dst_port.get()),
            seq: SeqNumber::new(header.seq.get()),
            ack,
            flags: header.flags,
            window: UnscaledWindow(header.window.get()),
            options,
            payload,
        })
    }

    /// Whether the SYN bit is on.
    pub const fn syn(&self) -> bool {
        self.flags.contains(TcpFlags::SYN)
    }

    /// Whether the FIN bit is on.
    pub const fn fin(&self) -> bool {
        self.flags.contains(TcpFlags::FIN)
    }

    /// Whether the RST bit is on.
    pub const fn rst(&self) -> bool {
        self.flags.contains(TcpFlags::RST)
    }

    //= RFC 9293 section 3.4: SEG.LEN counts the data, and SYN and FIN as one each.
    /// SEG.LEN: how many sequence numbers it takes up.
    #[expect(clippy::len_without_is_empty, reason = "the RFC's term; a segment that takes none is common")]
    pub const fn len(&self) -> u32 {
        // At most 65,535 bytes of data, as `parse` sees to.
        self.payload.len() as u32 + self.syn() as u32 + self.fin() as u32
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use wire::{IntoBytes, TcpHeader, U16, U32};

    use super::*;

    pub(crate) const SRC: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 40_000);
    pub(crate) const DST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 80);

    /// A segment of the fields that matter to most tests.
    pub(crate) fn segment(seq: u32, ack: u32, flags: TcpFlags, payload: &[u8]) -> Segment<'_> {
        Segment {
            src: SRC,
            dst: DST,
            seq: SeqNumber::new(seq),
            ack: flags.contains(TcpFlags::ACK).then(|| SeqNumber::new(ack)),
            flags,
            window: UnscaledWindow(1000),
            options: &[],
            payload,
        }
    }

    /// The bytes of a segment from `SRC` to `DST`.
    fn bytes(flags: TcpFlags, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut header = TcpHeader {
            src_port: U16::new(SRC.port()),
            dst_port: U16::new(DST.port()),
            seq: U32::new(0x0102_0304),
            ack: U32::new(0x0506_0708),
            flags,
            window: U16::new(1000),
            ..TcpHeader::default()
        };
        header.set_header_len(TcpHeader::LEN + options.len());
        let mut bytes = [header.as_bytes(), options, payload].concat();
        let sum = pseudo_header(*SRC.ip(), *DST.ip(), protocol::TCP, bytes.len() as u16);
        let checksum = sum.add_bytes(&bytes).finish();
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8], checksum: Checksum) -> Result<Segment<'_>, DropReason> {
        Segment::parse(*SRC.ip(), *DST.ip(), bytes, checksum)
    }

    #[test]
    fn reads_every_field() {
        let flags = TcpFlags::ACK | TcpFlags::PSH;
        let bytes = bytes(flags, &[1, 1, 1, 0], b"hello");
        let want = Segment { options: &[1, 1, 1, 0], ..segment(0x0102_0304, 0x0506_0708, flags, b"hello") };
        assert_eq!(parse(&bytes, Checksum::Verify), Ok(want));
    }

    #[test]
    fn an_acknowledgment_without_its_bit_is_none() {
        let bytes = bytes(TcpFlags::SYN, &[], b"");
        assert_eq!(parse(&bytes, Checksum::Verify).unwrap().ack, None);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let good = bytes(TcpFlags::ACK, &[1, 1, 1, 0], b"hello");
        for len in 0..good.len() {
            assert_eq!(parse(&good[..len], Checksum::Verify), Err(DropReason::TcpMalformed), "{len} bytes");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bad, Checksum::Verify), Err(DropReason::TcpMalformed), "bit {bit}");
        }
    }

    #[test]
    fn header_lengths_are_checked_even_if_the_checksum_is_known_good() {
        for words in 0..16u8 {
            let mut bytes = bytes(TcpFlags::ACK, &[], &[0; 8]);
            bytes[12] = words << 4;
            let want = (5..=7).contains(&words);
            assert_eq!(parse(&bytes, Checksum::KnownGood).is_ok(), want, "{words} words");
        }
        assert_eq!(parse(&vec![0x50; 65_536], Checksum::KnownGood), Err(DropReason::TcpMalformed));
    }

    #[test]
    fn syn_and_fin_count() {
        let cases = [
            (TcpFlags::ACK, 0, 0),
            (TcpFlags::SYN, 0, 1),
            (TcpFlags::FIN | TcpFlags::ACK, 0, 1),
            (TcpFlags::SYN | TcpFlags::FIN, 0, 2),
            (TcpFlags::PSH | TcpFlags::ACK, 3, 3),
            (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::URG, 3, 5),
            (TcpFlags::RST, 0, 0),
        ];
        for (flags, payload, want) in cases {
            assert_eq!(segment(0, 0, flags, &[0; 8][..payload]).len(), want, "{flags:?}");
        }
    }
}

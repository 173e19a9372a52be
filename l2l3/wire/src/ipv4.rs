//! The IPv4 header and its options (RFC 791 section 3.1).

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::DropReason;
use crate::checksum;

/// Values of [`Ipv4Header::protocol`].
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
}

/// Option types (RFC 791 section 3.1, RFC 2113), the copied flag included.
pub mod option {
    /// End of the option list.
    pub const END: u8 = 0;
    /// No operation.
    pub const NOP: u8 = 1;
    /// Record route.
    pub const RECORD_ROUTE: u8 = 7;
    /// Internet timestamp.
    pub const TIMESTAMP: u8 = 68;
    /// Loose source route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Router alert.
    pub const ROUTER_ALERT: u8 = 148;
    /// The bit of the type that says: copy the option into every fragment.
    pub const COPIED: u8 = 0x80;
}

/// The fixed part of the IPv4 header.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version (high four bits) and header length in 32-bit words (low four).
    pub version_ihl: u8,
    /// DSCP (high six bits) and ECN (low two).
    pub tos: u8,
    /// Bytes of header and payload.
    pub total_length: U16,
    /// Which datagram a fragment belongs to.
    pub id: U16,
    /// Flags (high three bits) and fragment offset in 8-byte units (low thirteen).
    pub flags_fragment: U16,
    /// Hops left.
    pub ttl: u8,
    /// What the payload is: one of [`protocol`].
    pub protocol: u8,
    /// Internet checksum of the header, options included.
    pub checksum: U16,
    /// Source address; see [`Ipv4Header::src`].
    pub src_addr: [u8; 4],
    /// Destination address; see [`Ipv4Header::dst`].
    pub dst_addr: [u8; 4],
}

impl Ipv4Header {
    /// Bytes of the fixed part, which is the whole header where there are no options.
    pub const LEN: usize = 20;
    /// Bytes of the longest header.
    pub const MAX_LEN: usize = 60;
    /// [`Ipv4Header::version_ihl`] of a header without options.
    pub const VERSION_IHL_PLAIN: u8 = 0x45;
    /// The don't-fragment flag in [`Ipv4Header::flags_fragment`].
    pub const DF: u16 = 0x4000;
    /// The more-fragments flag in [`Ipv4Header::flags_fragment`].
    pub const MF: u16 = 0x2000;
    /// The bits of [`Ipv4Header::flags_fragment`] that are the offset.
    pub const OFFSET_MASK: u16 = 0x1fff;
    /// The smallest MTU every link must carry (RFC 791 section 3.2).
    pub const MIN_MTU: u16 = 68;

    /// A header without options for `payload_len` bytes, TTL 64, its checksum not yet filled in.
    ///
    /// The total length saturates at 65,535.
    pub fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload_len: usize) -> Self {
        let total = u16::try_from(Self::LEN + payload_len).unwrap_or(u16::MAX);
        Ipv4Header {
            version_ihl: Self::VERSION_IHL_PLAIN,
            total_length: U16::new(total),
            ttl: 64,
            protocol,
            src_addr: src.octets(),
            dst_addr: dst.octets(),
            ..Self::default()
        }
    }

    /// The version field; 4 where the packet is IPv4.
    #[inline]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Bytes of the header, options included: 0 to 60, and 20 at least in a valid packet.
    #[inline]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// The differentiated services code point (RFC 2474).
    #[inline]
    pub const fn dscp(&self) -> u8 {
        self.tos >> 2
    }

    /// The explicit congestion notification field (RFC 3168).
    #[inline]
    pub const fn ecn(&self) -> u8 {
        self.tos & 3
    }

    /// Whether routers must not fragment the packet.
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.flags_fragment.get() & Self::DF != 0
    }

    /// Whether further fragments of the datagram follow this one.
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.flags_fragment.get() & Self::MF != 0
    }

    /// Where the payload lies in its datagram, in bytes: 0 to 65,528.
    #[inline]
    pub fn fragment_offset(&self) -> usize {
        usize::from(self.flags_fragment.get() & Self::OFFSET_MASK) * 8
    }

    /// Whether the packet is a fragment of a larger datagram.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.flags_fragment.get() & (Self::MF | Self::OFFSET_MASK) != 0
    }

    /// The source address.
    #[inline]
    pub const fn src(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.src_addr;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The destination address.
    #[inline]
    pub const fn dst(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.dst_addr;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Fills in the checksum of a header without options.
    pub fn fill_checksum(&mut self) {
        self.checksum = U16::ZERO;
        self.checksum = U16::new(checksum::ipv4_header(self));
    }
}

/// A packet whose header was checked once: its getters cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4View<'a> {
    /// The fixed part of the header.
    pub header: &'a Ipv4Header,
    /// The options' bytes; empty for most packets.
    pub options: &'a [u8],
    /// What of the payload lies in the bytes given, padding cut off.
    pub payload: &'a [u8],
}

impl<'a> Ipv4View<'a> {
    /// Checks lengths and version of the packet that starts at `bytes` (RFC 1812 section 5.2.2, but for
    /// the checksum, which [`Ipv4View::checksum_ok`] tells).
    ///
    /// `available` is how many bytes the frame holds from the header on: `bytes.len()`, or more where
    /// the frame has further segments. The header itself must lie in `bytes`.
    ///
    /// # Errors
    /// [`DropReason::Ipv4TooShort`], [`DropReason::Ipv4BadVersion`], [`DropReason::Ipv4BadHeaderLength`]
    /// or [`DropReason::Ipv4BadTotalLength`].
    pub fn parse(bytes: &'a [u8], available: usize) -> Result<Self, DropReason> {
        let (header, _) = Ipv4Header::ref_from_prefix(bytes).map_err(|_| DropReason::Ipv4TooShort)?;
        if header.version() != 4 {
            return Err(DropReason::Ipv4BadVersion);
        }
        let header_len = header.header_len();
        if header_len < Ipv4Header::LEN || header_len > bytes.len() {
            return Err(DropReason::Ipv4BadHeaderLength);
        }
        let total = usize::from(header.total_length.get());
        if total < header_len || total > available.max(bytes.len()) {
            return Err(DropReason::Ipv4BadTotalLength);
        }
        let options = &bytes[Ipv4Header::LEN..header_len];
        let payload = &bytes[header_len..total.min(bytes.len())];
        Ok(Ipv4View { header, options, payload })
    }

    /// Whether the header's checksum is right, options included.
    pub fn checksum_ok(&self) -> bool {
        if self.options.is_empty() {
            return checksum::ipv4_header_ok(self.header);
        }
        checksum::Sum::new().add_bytes(self.header.as_bytes()).add_bytes(self.options).finish() == 0
    }

    /// Bytes of the payload in the whole frame.
    pub fn payload_len(&self) -> usize {
        usize::from(self.header.total_length.get()) - self.header.header_len()
    }
}

/// One option of an IPv4 header. The two one-byte options never appear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Option<'a> {
    /// One of [`option`], the copied flag included.
    pub kind: u8,
    /// Where the option starts, in bytes from the start of the options.
    pub offset: usize,
    /// The whole option: type, length, data. Two bytes at least.
    pub bytes: &'a [u8],
}

/// An option whose length is below two or past the header's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOption {
    /// Where the option starts, in bytes from the start of the options.
    pub offset: usize,
}

/// Walks the options, past no-operations, up to the end-of-list option or the first malformed one.
#[derive(Clone, Debug)]
pub struct Ipv4Options<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Ipv4Options<'a> {
    /// The options in `bytes`, which are those between the fixed header and the payload.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Ipv4Options { bytes, at: 0 }
    }
}

impl<'a> Iterator for Ipv4Options<'a> {
    type Item = Result<Ipv4Option<'a>, BadOption>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.bytes.get(self.at) == Some(&option::NOP) {
            self.at += 1;
        }
        let offset = self.at;
        let rest = self.bytes.get(offset..)?;
        let kind = *rest.first().filter(|kind| **kind != option::END)?;
        let len = rest.get(1).map_or(0, |len| usize::from(*len));
        match rest.get(..len).filter(|option| option.len() >= 2) {
            Some(bytes) => {
                self.at += len;
                Some(Ok(Ipv4Option { kind, offset, bytes }))
            }
            None => {
                self.at = self.bytes.len();
                Some(Err(BadOption { offset }))
            }
        }
    }
}

const _: () = assert!(size_of::<Ipv4Header>() == Ipv4Header::LEN);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

    /// A packet with `options` (padded by the caller) and `payload`, its checksum right.
    fn packet(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut header = Ipv4Header::new(A, B, protocol::UDP, options.len() + payload.len());
        header.version_ihl = 0x45 + (options.len() / 4) as u8;
        let sum = checksum::Sum::new().add_bytes(header.as_bytes()).add_bytes(options);
        header.checksum = U16::new(sum.finish());
        [header.as_bytes(), options, payload].concat()
    }

    #[test]
    fn getters_read_every_field() {
        let bytes = [
            0x46, 0xb9, 0x00, 0x54, 0x12, 0x34, 0x60, 0x03, 0x40, 0x01, 0xbe, 0xef, 192, 0, 2, 1, 198, 51,
            100, 2,
        ];
        let header = Ipv4Header::ref_from_bytes(&bytes).unwrap();
        assert_eq!((header.version(), header.header_len()), (4, 24));
        assert_eq!((header.dscp(), header.ecn()), (46, 1));
        assert_eq!((header.total_length.get(), header.id.get()), (84, 0x1234));
        assert!(header.dont_fragment() && header.more_fragments() && header.is_fragment());
        assert_eq!(header.fragment_offset(), 24);
        assert_eq!((header.ttl, header.protocol, header.checksum.get()), (64, protocol::ICMP, 0xbeef));
        assert_eq!((header.src(), header.dst()), (A, B));
    }

    #[test]
    fn fragments_are_told_from_whole_datagrams() {
        let mut header = Ipv4Header::new(A, B, protocol::UDP, 0);
        for (field, fragment) in [(0, false), (Ipv4Header::DF, false), (Ipv4Header::MF, true), (1, true)] {
            header.flags_fragment = U16::new(field);
            assert_eq!(header.is_fragment(), fragment, "{field:#x}");
        }
    }

    #[test]
    fn view_checks_what_rfc_1812_asks() {
        type Spoil = fn(&mut Vec<u8>);
        let cases: [(&str, Spoil, Result<usize, DropReason>); 9] = [
            ("good", |_| (), Ok(6)),
            ("padded", |p| p.extend([0; 20]), Ok(6)),
            ("version", |p| p[0] = 0x67, Err(DropReason::Ipv4BadVersion)),
            ("short header length", |p| p[0] = 0x44, Err(DropReason::Ipv4BadHeaderLength)),
            ("long header length", |p| p[0] = 0x4f, Err(DropReason::Ipv4BadHeaderLength)),
            ("total below header", |p| p[3] = 27, Err(DropReason::Ipv4BadTotalLength)),
            ("total is header", |p| p[3] = 28, Ok(0)),
            ("total past end", |p| p[3] = 35, Err(DropReason::Ipv4BadTotalLength)),
            ("no header", |p| p.truncate(19), Err(DropReason::Ipv4TooShort)),
        ];
        for (name, spoil, want) in cases {
            let mut bytes = packet(&[1, 1, 1, 1, 1, 1, 1, 0], &[9; 6]);
            spoil(&mut bytes);
            let view = Ipv4View::parse(&bytes, bytes.len());
            assert_eq!(view.map(|v| v.payload.len()), want, "{name}");
            assert_eq!(view.map(|v| v.payload_len()), want, "{name}");
        }
    }

    #[test]
    fn view_of_a_first_segment_knows_the_chain() {
        let mut bytes = packet(&[], &[7; 100]);
        bytes.truncate(60);
        let view = Ipv4View::parse(&bytes, 120).unwrap();
        assert_eq!((view.payload.len(), view.payload_len()), (40, 100));
        assert_eq!(Ipv4View::parse(&bytes, 119).unwrap_err(), DropReason::Ipv4BadTotalLength);
    }

    #[test]
    fn checksum_covers_the_options() {
        for options in [&[][..], &[148, 4, 0, 0]] {
            let mut bytes = packet(options, b"data");
            assert!(Ipv4View::parse(&bytes, bytes.len()).unwrap().checksum_ok());
            let last = 19 + options.len();
            bytes[last] ^= 1;
            assert!(!Ipv4View::parse(&bytes, bytes.len()).unwrap().checksum_ok());
        }
    }

    #[test]
    fn options_are_walked_to_the_end_or_the_fault() {
        // (bytes, (type, offset, length) of each option, offset of the fault)
        type Case = (&'static [u8], &'static [(u8, usize, usize)], Option<usize>);
        let cases: [Case; 8] = [
            (&[], &[], None),
            (&[1, 1, 1, 1], &[], None),
            (&[0, 7, 3, 4], &[], None),
            (&[1, 7, 3, 4, 148, 4, 0, 0], &[(7, 1, 3), (148, 4, 4)], None),
            (&[1, 1, 1, 7], &[], Some(3)),
            (&[7, 0, 0, 0], &[], Some(0)),
            (&[7, 1, 0, 0], &[], Some(0)),
            (&[148, 4, 0, 0, 7, 5, 4, 0], &[(148, 0, 4)], Some(4)),
        ];
        for (bytes, want, fault) in cases {
            let mut options = Ipv4Options::new(bytes);
            for (kind, offset, len) in want {
                let bytes = &bytes[*offset..offset + len];
                assert_eq!(options.next(), Some(Ok(Ipv4Option { kind: *kind, offset: *offset, bytes })));
            }
            assert_eq!(options.next(), fault.map(|offset| Err(BadOption { offset })), "{bytes:?}");
            assert_eq!(options.next(), None, "{bytes:?}");
        }
    }

    #[test]
    fn truncation_at_every_length() {
        let bytes = packet(&[7, 7, 4, 0, 0, 0, 0, 1], &[0; 8]);
        for len in 0..bytes.len() {
            assert!(Ipv4View::parse(&bytes[..len], len).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_options_that_lie_inside(bytes in proptest::collection::vec(any::<u8>(), 0..41)) {
            let mut end = 0;
            for option in Ipv4Options::new(&bytes).flatten() {
                prop_assert!(option.offset >= end && option.bytes.len() >= 2);
                end = option.offset + option.bytes.len();
                prop_assert_eq!(option.bytes, &bytes[option.offset..end]);
            }
        }

        #[test]
        fn any_bytes_give_a_view_that_lies_inside(
            mut bytes in proptest::collection::vec(any::<u8>(), 20..100), words in 0..16_u8,
        ) {
            bytes[0] = 0x40 | words;
            bytes[2] = 0;
            if let Ok(view) = Ipv4View::parse(&bytes, bytes.len()) {
                let total = usize::from(bytes[3]);
                prop_assert_eq!(20 + view.options.len() + view.payload.len(), total);
                prop_assert!(total <= bytes.len());
            }
        }
    }
}

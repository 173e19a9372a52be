//! The UDP header (RFC 768).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header of a UDP datagram.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct UdpHeader {
    /// Source port; zero where no answer is wanted.
    pub src_port: U16,
    /// Destination port.
    pub dst_port: U16,
    /// Bytes of header and payload.
    pub length: U16,
    /// Internet checksum of pseudo header, header and payload; zero where the sender made none.
    pub checksum: U16,
}

impl UdpHeader {
    /// Bytes on the wire.
    pub const LEN: usize = 8;

    /// A header for `payload_len` bytes, its checksum zero. Ports in host order; the length saturates.
    pub fn new(src_port: u16, dst_port: u16, payload_len: usize) -> Self {
        UdpHeader {
            src_port: U16::new(src_port),
            dst_port: U16::new(dst_port),
            length: U16::new(u16::try_from(Self::LEN + payload_len).unwrap_or(u16::MAX)),
            checksum: U16::ZERO,
        }
    }
}

/// The header and the payload of the datagram that `bytes`, an IP payload, start with; `None` if they
/// are cut short, or the length field is below the header's or past their end.
pub fn parse(bytes: &[u8]) -> Option<(&UdpHeader, &[u8])> {
    let (header, rest) = UdpHeader::ref_from_prefix(bytes).ok()?;
    let payload_len = usize::from(header.length.get()).checked_sub(UdpHeader::LEN)?;
    Some((header, rest.get(..payload_len)?))
}

const _: () = assert!(size_of::<UdpHeader>() == UdpHeader::LEN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_field_bounds_the_payload() {
        let mut bytes = [UdpHeader::new(53, 1024, 4).as_bytes(), b"data", &[0; 6]].concat();
        let (header, payload) = parse(&bytes).unwrap();
        assert_eq!((header.src_port.get(), header.dst_port.get(), payload), (53, 1024, &b"data"[..]));
        for (length, payload) in [(0, None), (7, None), (8, Some(0)), (18, Some(10)), (19, None)] {
            bytes[5] = length;
            assert_eq!(parse(&bytes).map(|(_, p)| p.len()), payload, "{length}");
        }
    }

    #[test]
    fn truncation_at_every_length() {
        let bytes = [UdpHeader::new(53, 1024, 4).as_bytes(), b"data"].concat();
        for len in 0..bytes.len() {
            assert!(parse(&bytes[..len]).is_none(), "{len}");
        }
    }
}

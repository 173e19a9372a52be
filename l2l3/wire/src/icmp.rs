//! ICMP messages (RFC 792, RFC 1191, RFC 1812 section 4.3).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Values of [`IcmpHeader::kind`].
pub mod kind {
    /// The answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// The destination cannot be reached; the code says why: [`code`](super::code).
    pub const UNREACHABLE: u8 = 3;
    /// Slow down. Obsolete (RFC 6633).
    pub const SOURCE_QUENCH: u8 = 4;
    /// A better first hop.
    pub const REDIRECT: u8 = 5;
    /// Asks for an echo reply.
    pub const ECHO_REQUEST: u8 = 8;
    /// The time to live, or to reassemble, ran out.
    pub const TIME_EXCEEDED: u8 = 11;
    /// The header has a bad field.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Asks for the time.
    pub const TIMESTAMP_REQUEST: u8 = 13;
    /// The time.
    pub const TIMESTAMP_REPLY: u8 = 14;
}

/// Values of [`IcmpHeader::code`].
pub mod code {
    /// Unreachable: no route to the network.
    pub const NET_UNREACHABLE: u8 = 0;
    /// Unreachable: the last hop's host does not answer.
    pub const HOST_UNREACHABLE: u8 = 1;
    /// Unreachable: the host does not speak the protocol.
    pub const PROTOCOL_UNREACHABLE: u8 = 2;
    /// Unreachable: nobody listens on the port.
    pub const PORT_UNREACHABLE: u8 = 3;
    /// Unreachable: too large for the next hop, and may not be fragmented.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Unreachable: forbidden by the administrator (RFC 1812 section 5.2.7.1).
    pub const ADMIN_PROHIBITED: u8 = 13;
    /// Time exceeded: in transit.
    pub const TTL_IN_TRANSIT: u8 = 0;
    /// Time exceeded: in reassembly.
    pub const REASSEMBLY: u8 = 1;
    /// Parameter problem: the pointer says where.
    pub const POINTER: u8 = 0;
}

/// The first eight bytes of an ICMP message.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IcmpHeader {
    /// The type: one of [`kind`].
    pub kind: u8,
    /// What exactly: one of [`code`], or zero.
    pub code: u8,
    /// Internet checksum of the whole message.
    pub checksum: U16,
    /// Depends on the type: identifier and sequence number, pointer, MTU, or zero.
    pub rest: U32,
}

impl IcmpHeader {
    /// Bytes on the wire.
    pub const LEN: usize = 8;

    /// Whether the type is an error, which is never answered by an error (RFC 1122 section 3.2.2).
    pub const fn is_error(&self) -> bool {
        is_error(self.kind)
    }

    /// Of an echo message: its identifier.
    pub fn echo_id(&self) -> u16 {
        (self.rest.get() >> 16) as u16
    }

    /// Of an echo message: its sequence number.
    pub fn echo_sequence(&self) -> u16 {
        self.rest.get() as u16
    }

    /// Of a fragmentation-needed message: the next hop's MTU in bytes; zero from routers that predate
    /// RFC 1191.
    pub fn next_hop_mtu(&self) -> u16 {
        self.rest.get() as u16
    }

    /// Of a parameter problem: which byte of the original packet is bad.
    pub fn pointer(&self) -> u8 {
        (self.rest.get() >> 24) as u8
    }
}

/// Whether messages of type `kind` are errors (RFC 1122 section 3.2.2). Unknown types are not.
pub const fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        kind::UNREACHABLE
            | kind::SOURCE_QUENCH
            | kind::REDIRECT
            | kind::TIME_EXCEEDED
            | kind::PARAMETER_PROBLEM
    )
}

const _: () = assert!(size_of::<IcmpHeader>() == IcmpHeader::LEN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_read_by_type() {
        let read = |rest: [u8; 4]| {
            let [a, b, c, d] = rest;
            IcmpHeader::read_from_bytes(&[kind::ECHO_REQUEST, 0, 0xab, 0xcd, a, b, c, d]).unwrap()
        };
        let echo = read([0x12, 0x34, 0x00, 0x07]);
        assert_eq!((echo.echo_id(), echo.echo_sequence()), (0x1234, 7));
        assert_eq!(read([0, 0, 0x05, 0xdc]).next_hop_mtu(), 1500);
        assert_eq!(read([21, 0, 0, 0]).pointer(), 21);
    }

    #[test]
    fn errors_are_the_five_types_of_rfc_1122() {
        let errors: Vec<u8> = (0..=255).filter(|kind| is_error(*kind)).collect();
        assert_eq!(errors, [3, 4, 5, 11, 12]);
    }

    #[test]
    fn truncated_headers_are_refused() {
        for len in 0..IcmpHeader::LEN {
            assert!(IcmpHeader::ref_from_prefix(&[0; IcmpHeader::LEN][..len]).is_err(), "{len}");
        }
    }
}

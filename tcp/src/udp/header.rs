//! The header of a datagram to be sent.

use std::net::SocketAddrV4;

use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{Ipv4Header, U16, UdpHeader};

/// Bytes that one datagram carries at most: what the IPv4 length field leaves.
pub const MAX_PAYLOAD: usize = u16::MAX as usize - Ipv4Header::LEN - UdpHeader::LEN;

/// The header that goes in front of `payload_len` bytes, of which there are at most [`MAX_PAYLOAD`]. The checksum
/// is left open ([`wire::OpenChecksum`]).
pub fn header(source: SocketAddrV4, destination: SocketAddrV4, payload_len: usize) -> [u8; UdpHeader::LEN] {
    let mut header = UdpHeader::new(source.port(), destination.port(), payload_len);
    let pseudo = pseudo_header(*source.ip(), *destination.ip(), protocol::UDP, header.length.get());
    header.checksum = U16::new(pseudo.partial());
    wire::zerocopy::transmute!(header)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use wire::Transport;

    const SOURCE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 53);
    const DESTINATION: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 4321);

    #[test]
    fn the_longest_fills_the_length_field() {
        assert_eq!(MAX_PAYLOAD, 65_507);
        assert_eq!(header(SOURCE, DESTINATION, MAX_PAYLOAD)[4..6], 65_515_u16.to_be_bytes());
    }

    proptest! {
        #[test]
        fn receivers_accept_it(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let header = header(SOURCE, DESTINATION, payload.len());
            let mut datagram = [&header[..], &payload].concat();
            Transport::Udp.fill(&mut datagram);
            let sum = pseudo_header(*SOURCE.ip(), *DESTINATION.ip(), protocol::UDP, datagram.len() as u16);
            prop_assert_eq!(sum.add_bytes(&datagram).finish(), 0);
            let (header, bytes) = wire::udp::parse(&datagram).unwrap();
            prop_assert_eq!((header.src_port.get(), header.dst_port.get(), bytes), (53, 4321, &payload[..]));
            prop_assert!(header.checksum.get() != 0);
        }
    }
}

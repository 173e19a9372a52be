//! The header of a datagram to be sent.

use std::net::SocketAddrV4;

use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{IntoBytes, Ipv4Header, Payload, U16, UdpHeader};

/// Bytes that one datagram carries at most: what the IPv4 length field leaves.
pub const MAX_PAYLOAD: usize = u16::MAX as usize - Ipv4Header::LEN - UdpHeader::LEN;

/// The header, checksum included, that goes in front of `payload`, which is at most [`MAX_PAYLOAD`] bytes
/// long.
pub fn header<B: Payload>(
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &B,
) -> [u8; UdpHeader::LEN] {
    let mut header = UdpHeader::new(source.port(), destination.port(), payload.len());
    let sum = pseudo_header(*source.ip(), *destination.ip(), protocol::UDP, header.length.get())
        .add_bytes(header.as_bytes())
        .add_payload(payload, 0, payload.len());
    //= RFC 768: a checksum that comes out as zero is sent as all ones, for zero says that there is none.
    header.checksum = match sum.finish() {
        0 => U16::new(0xffff),
        checksum => U16::new(checksum),
    };
    wire::zerocopy::transmute!(header)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use sim::Bytes;

    const SOURCE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 53);
    const DESTINATION: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 4321);

    #[test]
    fn a_sum_of_zero_is_sent_as_ones() {
        // The checksum of the datagram with two zero bytes, in their place, makes the sum zero.
        let [.., high, low] = header(SOURCE, DESTINATION, &Bytes::new(&[0, 0]));
        assert_eq!(header(SOURCE, DESTINATION, &Bytes::new(&[high, low]))[6..], [0xff, 0xff]);
    }

    #[test]
    fn the_longest_fills_the_length_field() {
        let bytes = vec![1; MAX_PAYLOAD];
        assert_eq!(MAX_PAYLOAD, 65_507);
        assert_eq!(header(SOURCE, DESTINATION, &Bytes::new(&bytes))[4..6], 65_515_u16.to_be_bytes());
    }

    proptest! {
        #[test]
        fn receivers_accept_it(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let header = header(SOURCE, DESTINATION, &Bytes::new(&payload));
            let datagram = [&header[..], &payload].concat();
            let sum = pseudo_header(*SOURCE.ip(), *DESTINATION.ip(), protocol::UDP, datagram.len() as u16);
            prop_assert_eq!(sum.add_bytes(&datagram).finish(), 0);
            let (header, bytes) = wire::udp::parse(&datagram).unwrap();
            prop_assert_eq!((header.src_port.get(), header.dst_port.get(), bytes), (53, 4321, &payload[..]));
            prop_assert!(header.checksum.get() != 0);
        }
    }
}

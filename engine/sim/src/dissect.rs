//! Takes received packets apart and finds every fault in them: the naive twin of a fast parser.

use std::net::Ipv4Addr;

use crate::builder::{ICMP, Ipv4, TCP, UDP, checksum, pseudo_checksum};

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Shorter than its headers.
    Truncated,
    /// The IP version is not 4.
    Version,
    /// The IPv4 header's length is below 20 bytes, or beyond the packet.
    HeaderLength,
    /// The total length is below the header's, or beyond the packet.
    TotalLength,
    /// The IPv4 header checksum is wrong.
    HeaderChecksum,
    /// The ICMP checksum is wrong.
    IcmpChecksum,
    /// The UDP length is below 8, or is not that of the IPv4 payload.
    UdpLength,
    /// The UDP checksum is there and is wrong.
    UdpChecksum,
    /// The TCP data offset is below 20 bytes, or beyond the segment.
    TcpOffset,
    /// The TCP checksum is wrong.
    TcpChecksum,
    /// An ARP packet that is not one of Ethernet and IPv4.
    Arp,
    /// An IPv4 packet for somebody else in a frame for this host.
    WrongDestination,
}

/// An IPv4 packet whose header is right. The checksum is verified, the padding behind it gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its header.
    pub header: Ipv4,
    /// All behind the header.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Reads an IPv4 packet; bytes past its total length are padding.
    pub fn parse(bytes: &[u8]) -> Result<Packet, Fault> {
        if bytes.len() < 20 {
            return Err(Fault::Truncated);
        }
        if bytes[0] >> 4 != 4 {
            return Err(Fault::Version);
        }
        let header_len = usize::from(bytes[0] & 15) * 4;
        if header_len < 20 || header_len > bytes.len() {
            return Err(Fault::HeaderLength);
        }
        let total = usize::from(be16(bytes, 2));
        if total < header_len || total > bytes.len() {
            return Err(Fault::TotalLength);
        }
        if checksum(&bytes[..header_len]) != 0 {
            return Err(Fault::HeaderChecksum);
        }
        let header = Ipv4 {
            src: address(bytes, 12),
            dst: address(bytes, 16),
            protocol: bytes[9],
            tos: bytes[1],
            ttl: bytes[8],
            id: be16(bytes, 4),
            dont_fragment: bytes[6] & 0x40 != 0,
            more_fragments: bytes[6] & 0x20 != 0,
            offset: be16(bytes, 6) & 0x1fff,
            options: bytes[20..header_len].to_vec(),
        };
        Ok(Packet { header, payload: bytes[header_len..total].to_vec() })
    }

    /// Reads what the packet carries, and verifies its checksum.
    pub fn body(&self) -> Result<Body, Fault> {
        if self.header.more_fragments || self.header.offset > 0 {
            return Ok(Body::Fragment);
        }
        match self.header.protocol {
            ICMP => self.icmp(),
            UDP => self.udp(),
            TCP => self.tcp(),
            _ => Ok(Body::Other),
        }
    }

    fn icmp(&self) -> Result<Body, Fault> {
        let bytes = &self.payload;
        if bytes.len() < 8 {
            return Err(Fault::Truncated);
        }
        if checksum(bytes) != 0 {
            return Err(Fault::IcmpChecksum);
        }
        let payload = bytes[8..].to_vec();
        Ok(match bytes[0] {
            8 => Body::EchoRequest { ident: be16(bytes, 4), seq: be16(bytes, 6), payload },
            0 => Body::EchoReply { ident: be16(bytes, 4), seq: be16(bytes, 6), payload },
            kind => {
                let rest = [bytes[4], bytes[5], bytes[6], bytes[7]];
                Body::Icmp { kind, code: bytes[1], rest, payload }
            }
        })
    }

    fn udp(&self) -> Result<Body, Fault> {
        let bytes = &self.payload;
        if bytes.len() < 8 {
            return Err(Fault::Truncated);
        }
        if usize::from(be16(bytes, 4)) != bytes.len() {
            return Err(Fault::UdpLength);
        }
        // RFC 768: a checksum of zero says that the sender made none.
        if be16(bytes, 6) != 0 && self.pseudo_checksum() != 0 {
            return Err(Fault::UdpChecksum);
        }
        Ok(Body::Udp { src_port: be16(bytes, 0), dst_port: be16(bytes, 2), payload: bytes[8..].to_vec() })
    }

    fn tcp(&self) -> Result<Body, Fault> {
        let bytes = &self.payload;
        if bytes.len() < 20 {
            return Err(Fault::Truncated);
        }
        let offset = usize::from(bytes[12] >> 4) * 4;
        if offset < 20 || offset > bytes.len() {
            return Err(Fault::TcpOffset);
        }
        if self.pseudo_checksum() != 0 {
            return Err(Fault::TcpChecksum);
        }
        Ok(Body::Tcp(
            crate::builder::Tcp {
                src_port: be16(bytes, 0),
                dst_port: be16(bytes, 2),
                seq: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
                ack: u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
                flags: bytes[13],
                window: be16(bytes, 14),
                urgent: be16(bytes, 18),
                options: bytes[20..offset].to_vec(),
            },
            bytes[offset..].to_vec(),
        ))
    }

    fn pseudo_checksum(&self) -> u16 {
        pseudo_checksum(self.header.src, self.header.dst, self.header.protocol, &self.payload)
    }
}

/// What a [`Packet`] carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A UDP datagram.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Data.
        payload: Vec<u8>,
    },
    /// A TCP segment: header and data.
    Tcp(crate::builder::Tcp, Vec<u8>),
    /// An ICMP echo request.
    EchoRequest {
        /// Identifier.
        ident: u16,
        /// Sequence number.
        seq: u16,
        /// Data.
        payload: Vec<u8>,
    },
    /// An ICMP echo reply.
    EchoReply {
        /// Identifier.
        ident: u16,
        /// Sequence number.
        seq: u16,
        /// Data.
        payload: Vec<u8>,
    },
    /// Any other ICMP message.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// The second half of the header: in "fragmentation needed", the MTU in the last two bytes.
        rest: [u8; 4],
        /// In an error, the packet that it is about, as far as it is quoted.
        payload: Vec<u8>,
    },
    /// A piece of a packet; its transport checksum cannot be verified.
    Fragment,
    /// Another protocol.
    Other,
}

/// An ARP packet of Ethernet and IPv4 (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who speaks.
    pub sender: (wire::MacAddr, Ipv4Addr),
    /// Who is asked for, or answered to.
    pub target: (wire::MacAddr, Ipv4Addr),
}

impl Arp {
    /// Reads an ARP packet; bytes past it are padding.
    pub fn parse(bytes: &[u8]) -> Result<Arp, Fault> {
        if bytes.len() < 28 {
            return Err(Fault::Truncated);
        }
        if bytes[..6] != [0, 1, 8, 0, 6, 4] {
            return Err(Fault::Arp);
        }
        let mac = |at: usize| wire::MacAddr(std::array::from_fn(|i| bytes[at + i]));
        Ok(Arp {
            operation: be16(bytes, 6),
            sender: (mac(8), address(bytes, 14)),
            target: (mac(18), address(bytes, 24)),
        })
    }
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn address(bytes: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{Tcp, echo_reply, echo_request, icmp, udp};

    const SRC: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const DST: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);

    fn reads(header: Ipv4, payload: &[u8], body: &Body) {
        let mut bytes = header.packet(payload);
        bytes.extend([0xee; 9]); // padding
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((&packet.header, &packet.payload[..]), (&header, payload));
        assert_eq!(packet.body().as_ref(), Ok(body));
    }

    #[test]
    fn reads_what_the_builder_wrote() {
        let header = |protocol| Ipv4::new(SRC, DST, protocol);
        let payload = b"some".to_vec();
        let body = Body::Udp { src_port: 7, dst_port: 8, payload: payload.clone() };
        reads(header(UDP), &udp(SRC, DST, 7, 8, b"some"), &body);
        let optioned =
            Ipv4 { options: vec![1; 8], tos: 4, ttl: 9, id: 77, dont_fragment: true, ..header(UDP) };
        reads(optioned, &udp(SRC, DST, 7, 8, b"some"), &body);
        let body = Body::EchoRequest { ident: 1, seq: 2, payload: payload.clone() };
        reads(header(ICMP), &echo_request(1, 2, b"some"), &body);
        let body = Body::EchoReply { ident: 1, seq: 2, payload: payload.clone() };
        reads(header(ICMP), &echo_reply(1, 2, b"some"), &body);
        let body = Body::Icmp { kind: 3, code: 4, rest: [0, 0, 5, 220], payload: payload.clone() };
        reads(header(ICMP), &icmp(3, 4, [0, 0, 5, 220], b"some"), &body);
        let tcp = Tcp {
            src_port: 1,
            dst_port: 2,
            seq: 3,
            ack: 4,
            flags: 18,
            window: 5,
            urgent: 6,
            options: vec![1; 4],
        };
        reads(header(TCP), &tcp.segment(SRC, DST, b"some"), &Body::Tcp(tcp, payload));
        reads(Ipv4 { offset: 3, ..header(UDP) }, b"piece", &Body::Fragment);
        reads(Ipv4 { more_fragments: true, ..header(UDP) }, b"piece", &Body::Fragment);
        reads(header(89), b"hello", &Body::Other);
    }

    #[test]
    fn finds_each_fault() {
        let packet = |protocol, payload: &[u8]| Ipv4::new(SRC, DST, protocol).packet(payload);
        let with = |at: usize, value: u8| {
            let mut bytes = packet(UDP, &udp(SRC, DST, 7, 8, b"some"));
            bytes[at] = value;
            bytes
        };
        let in_header = [
            (vec![0x45; 19], Fault::Truncated),
            (with(0, 0x65), Fault::Version),
            (with(0, 0x44), Fault::HeaderLength),
            (with(0, 0x4f), Fault::HeaderLength),
            (with(3, 19), Fault::TotalLength),
            (with(3, 33), Fault::TotalLength),
            (with(8, 63), Fault::HeaderChecksum),
        ];
        for (bytes, fault) in in_header {
            assert_eq!(Packet::parse(&bytes), Err(fault), "{bytes:x?}");
        }
        let tcp = Tcp::default().segment(SRC, DST, b"");
        let broken = |mut bytes: Vec<u8>, at: usize, value: u8| {
            bytes[at] = value;
            bytes
        };
        let in_body = [
            (packet(ICMP, &[0; 7]), Fault::Truncated),
            (packet(ICMP, &broken(echo_request(1, 2, b"x"), 8, b'y')), Fault::IcmpChecksum),
            (packet(UDP, &[0; 7]), Fault::Truncated),
            (packet(UDP, &broken(udp(SRC, DST, 7, 8, b""), 5, 9)), Fault::UdpLength),
            (packet(UDP, &broken(udp(SRC, DST, 7, 8, b"x"), 8, b'y')), Fault::UdpChecksum),
            (packet(UDP, &udp(SRC, SRC, 7, 8, b"x")), Fault::UdpChecksum),
            (packet(TCP, &[0; 19]), Fault::Truncated),
            (packet(TCP, &broken(tcp.clone(), 12, 0x40)), Fault::TcpOffset),
            (packet(TCP, &broken(tcp.clone(), 12, 0x60)), Fault::TcpOffset),
            (packet(TCP, &broken(tcp, 4, 1)), Fault::TcpChecksum),
        ];
        for (bytes, fault) in in_body {
            assert_eq!(Packet::parse(&bytes).unwrap().body(), Err(fault), "{bytes:x?}");
        }
        let unsummed = broken(broken(udp(SRC, DST, 7, 8, b"x"), 6, 0), 7, 0);
        assert!(matches!(Packet::parse(&packet(UDP, &unsummed)).unwrap().body(), Ok(Body::Udp { .. })));
    }

    #[test]
    fn arp_as_built() {
        let mac = wire::MacAddr([2, 0, 0, 0, 0, 7]);
        let frame = crate::builder::arp_request(mac, SRC, DST);
        let expected = Arp { operation: 1, sender: (mac, SRC), target: (wire::MacAddr::ZERO, DST) };
        assert_eq!(Arp::parse(&frame[14..]), Ok(expected));
        assert_eq!(Arp::parse(&frame[14..41]), Err(Fault::Truncated));
        assert_eq!(Arp::parse(&frame[13..]), Err(Fault::Arp));
    }
}

//! Packets for tests, byte by byte, with right checksums.
//!
//! Deliberately naive and apart from the `wire` crate's headers and checksums: a second opinion.
//! What a test wants wrong, it breaks afterwards in the bytes.

use std::net::Ipv4Addr;

use wire::MacAddr;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// IPv4 protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IPv4 protocol number of TCP.
pub const TCP: u8 = 6;
/// IPv4 protocol number of UDP.
pub const UDP: u8 = 17;

/// The Internet checksum (RFC 1071), the plain way; 0 over bytes that hold their right checksum.
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| u64::from(*low));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksum of a TCP or UDP segment with its pseudo-header (RFC 768, RFC 9293 section 3.1).
pub fn pseudo_checksum(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, segment: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(12 + segment.len());
    bytes.extend(src.octets());
    bytes.extend(dst.octets());
    bytes.extend([0, protocol]);
    bytes.extend((segment.len() as u16).to_be_bytes());
    bytes.extend(segment);
    checksum(&bytes)
}

/// An Ethernet frame, without padding.
pub fn ethernet(dst: MacAddr, src: MacAddr, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.extend(dst.0);
    frame.extend(src.0);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The same frame with an IEEE 802.1Q tag in front of its EtherType. `tci` is priority and VLAN.
///
/// # Panics
/// If the frame is shorter than two addresses.
pub fn tagged(frame: &[u8], tci: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &ETHERTYPE_VLAN.to_be_bytes(), &tci.to_be_bytes(), rest].concat()
}

/// The same frame with zeros up to Ethernet's shortest length, 60 bytes.
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The broadcast question who has `target`, from `mac` at `ip`.
pub fn arp_request(mac: MacAddr, ip: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp(MacAddr::BROADCAST, 1, (mac, ip), (MacAddr::ZERO, target))
}

/// The answer to `to` that `ip` is at `mac`.
pub fn arp_reply(mac: MacAddr, ip: Ipv4Addr, to: MacAddr, to_ip: Ipv4Addr) -> Vec<u8> {
    arp(to, 2, (mac, ip), (to, to_ip))
}

/// A padded ARP frame (RFC 826) with any operation and addresses.
pub fn arp(
    dst: MacAddr,
    operation: u16,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4];
    body.extend(operation.to_be_bytes());
    for (mac, ip) in [sender, target] {
        body.extend(mac.0);
        body.extend(ip.octets());
    }
    padded(ethernet(dst, sender.0, ETHERTYPE_ARP, &body))
}

/// An IPv4 header to be (RFC 791).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// Identification.
    pub id: u16,
    /// Don't Fragment.
    pub dont_fragment: bool,
    /// More Fragments.
    pub more_fragments: bool,
    /// Fragment offset in units of 8 bytes, at most 8191.
    pub offset: u16,
    /// Options, at most 40 bytes; filled up with End of Option List to a multiple of 4.
    pub options: Vec<u8>,
}

impl Ipv4 {
    /// A header with TTL 64 and all else plain.
    pub fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8) -> Self {
        Ipv4 {
            src,
            dst,
            protocol,
            tos: 0,
            ttl: 64,
            id: 0,
            dont_fragment: false,
            more_fragments: false,
            offset: 0,
            options: Vec::new(),
        }
    }

    /// The packet that carries `payload`.
    ///
    /// # Panics
    /// If the options exceed 40 bytes, or the packet 65535.
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len().next_multiple_of(4);
        let total = header_len + payload.len();
        assert!(header_len <= 60 && total <= 65535, "no IPv4 packet holds this");
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let mut packet = vec![0x40 | (header_len / 4) as u8, self.tos];
        packet.extend((total as u16).to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend((flags | self.offset & 0x1fff).to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.src.octets());
        packet.extend(self.dst.octets());
        packet.extend(&self.options);
        packet.resize(header_len, 0);
        let sum = checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// A UDP datagram (RFC 768).
pub fn udp(src: Ipv4Addr, dst: Ipv4Addr, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(src_port.to_be_bytes());
    datagram.extend(dst_port.to_be_bytes());
    datagram.extend(((8 + payload.len()) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    // RFC 768: a computed zero is sent as all ones, for zero says that there is none.
    let sum = match pseudo_checksum(src, dst, UDP, &datagram) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// A TCP header to be (RFC 9293 section 3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Control bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
    /// Window, as on the wire.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options, at most 40 bytes; filled up with End of Option List to a multiple of 4.
    pub options: Vec<u8>,
}

impl Tcp {
    /// The segment that carries `payload`.
    ///
    /// # Panics
    /// If the options exceed 40 bytes.
    pub fn segment(&self, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len().next_multiple_of(4);
        assert!(header_len <= 60, "no TCP header holds these options");
        let mut segment = Vec::with_capacity(header_len + payload.len());
        segment.extend(self.src_port.to_be_bytes());
        segment.extend(self.dst_port.to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([((header_len / 4) << 4) as u8, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0, 0]);
        segment.extend(self.urgent.to_be_bytes());
        segment.extend(&self.options);
        segment.resize(header_len, 0);
        segment.extend(payload);
        let sum = pseudo_checksum(src, dst, TCP, &segment);
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        segment
    }
}

/// An ICMP message (RFC 792). `rest` is the second half of its header.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(payload);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// An ICMP echo request.
pub fn echo_request(ident: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
    icmp(8, 0, echo_rest(ident, seq), payload)
}

/// An ICMP echo reply.
pub fn echo_reply(ident: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
    icmp(0, 0, echo_rest(ident, seq), payload)
}

fn echo_rest(ident: u16, seq: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (ident.to_be_bytes(), seq.to_be_bytes());
    [a, b, c, d]
}

/// Who speaks to whom: whole frames in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Source Ethernet address.
    pub src_mac: MacAddr,
    /// Destination Ethernet address: the next hop's.
    pub dst_mac: MacAddr,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

impl Flow {
    /// The way back.
    pub fn reversed(self) -> Flow {
        Flow {
            src_mac: self.dst_mac,
            dst_mac: self.src_mac,
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }

    /// A frame of a packet with this header. The header's addresses count, not the flow's.
    pub fn frame(&self, header: &Ipv4, payload: &[u8]) -> Vec<u8> {
        ethernet(self.dst_mac, self.src_mac, ETHERTYPE_IPV4, &header.packet(payload))
    }

    /// A UDP frame.
    pub fn udp(&self, payload: &[u8]) -> Vec<u8> {
        let datagram = udp(self.src, self.dst, self.src_port, self.dst_port, payload);
        self.frame(&Ipv4::new(self.src, self.dst, UDP), &datagram)
    }

    /// A TCP frame: this header, but for the ports, which are the flow's.
    pub fn tcp(&self, header: &Tcp, payload: &[u8]) -> Vec<u8> {
        let header = Tcp { src_port: self.src_port, dst_port: self.dst_port, ..header.clone() };
        self.frame(&Ipv4::new(self.src, self.dst, TCP), &header.segment(self.src, self.dst, payload))
    }

    /// An ICMP echo request frame.
    pub fn echo_request(&self, ident: u16, seq: u16, payload: &[u8]) -> Vec<u8> {
        self.frame(&Ipv4::new(self.src, self.dst, ICMP), &echo_request(ident, seq, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_rfc_1071() {
        // RFC 1071 section 3: the sum of these is 0xddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0x12]), !0x1200);
        assert_eq!(checksum(&[0xff, 0xff, 0, 1]), !1);
    }

    #[test]
    fn header_checksum_of_a_known_packet() {
        // A header often given as the example: 4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7.
        let header = Ipv4 {
            dont_fragment: true,
            ..Ipv4::new(Ipv4Addr::new(192, 168, 0, 1), Ipv4Addr::new(192, 168, 0, 199), UDP)
        };
        let packet = header.packet(&[0; 0x73 - 20]);
        let expected =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 192, 168, 0, 1, 192, 168, 0, 199];
        assert_eq!(packet[..20], expected);
    }

    #[test]
    fn options_and_fragment_fields() {
        let header = Ipv4 {
            tos: 0xb8,
            id: 0x1234,
            more_fragments: true,
            offset: 0x1abc,
            options: vec![1, 1, 1, 1, 0x94],
            ..Ipv4::new(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST, 200)
        };
        let packet = header.packet(b"xyz");
        assert_eq!(packet[..10], [0x47, 0xb8, 0, 31, 0x12, 0x34, 0x3a, 0xbc, 64, 200]);
        assert_eq!(packet[20..], [1, 1, 1, 1, 0x94, 0, 0, 0, b'x', b'y', b'z']);
        assert_eq!(checksum(&packet[..28]), 0);
    }

    #[test]
    fn a_computed_zero_is_sent_as_ones() {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        // Choose the payload that makes the sum come out as all ones: put the sum of the rest in.
        let rest = udp(src, dst, 1, 2, &[0, 0]);
        let datagram = udp(src, dst, 1, 2, &rest[6..8]);
        assert_eq!(datagram[6..8], [0xff, 0xff]);
        assert_eq!(pseudo_checksum(src, dst, UDP, &datagram), 0);
    }

    #[test]
    fn tag_and_padding() {
        let mac = |n| MacAddr([2, 0, 0, 0, 0, n]);
        let frame = ethernet(mac(1), mac(2), ETHERTYPE_IPV4, &[9]);
        assert_eq!(tagged(&frame, 0x2005), [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0x20, 5, 8, 0, 9]);
        assert_eq!(padded(frame).len(), 60);
        assert_eq!(padded(vec![1; 61]).len(), 61);
    }
}

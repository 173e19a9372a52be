//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::MacAddr;
use crate::ethernet::ethertype;

/// Values of [`ArpPacket::operation`], in host order.
pub mod operation {
    /// Who has the target's protocol address?
    pub const REQUEST: u16 = 1;
    /// The sender has.
    pub const REPLY: u16 = 2;
}

/// An ARP message for IPv4 over Ethernet.
#[derive(
    Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct ArpPacket {
    /// Hardware type: 1 is Ethernet.
    pub hardware: U16,
    /// Protocol type: an ethertype.
    pub protocol: U16,
    /// Bytes of a hardware address: 6.
    pub hardware_len: u8,
    /// Bytes of a protocol address: 4.
    pub protocol_len: u8,
    /// One of [`operation`].
    pub operation: U16,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; see [`ArpPacket::sender_ip`].
    pub sender_addr: [u8; 4],
    /// The target's Ethernet address; zero in requests.
    pub target_mac: MacAddr,
    /// The target's IPv4 address; see [`ArpPacket::target_ip`].
    pub target_addr: [u8; 4],
}

impl ArpPacket {
    /// Bytes on the wire.
    pub const LEN: usize = 28;
    /// The hardware type of Ethernet.
    pub const HARDWARE_ETHERNET: u16 = 1;

    fn new(operation: u16, sender: (MacAddr, Ipv4Addr), target: (MacAddr, Ipv4Addr)) -> Self {
        ArpPacket {
            hardware: U16::new(Self::HARDWARE_ETHERNET),
            protocol: U16::new(ethertype::IPV4),
            hardware_len: 6,
            protocol_len: 4,
            operation: U16::new(operation),
            sender_mac: sender.0,
            sender_addr: sender.1.octets(),
            target_mac: target.0,
            target_addr: target.1.octets(),
        }
    }

    /// Asks who has `target`.
    pub fn new_request(sender_mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self::new(operation::REQUEST, (sender_mac, sender), (MacAddr::ZERO, target))
    }

    /// Tells `target` that `sender` is at `sender_mac`.
    pub fn new_reply(sender_mac: MacAddr, sender: Ipv4Addr, target_mac: MacAddr, target: Ipv4Addr) -> Self {
        Self::new(operation::REPLY, (sender_mac, sender), (target_mac, target))
    }

    /// Announces an address of ours: a request for it by itself (RFC 5227 section 2.3).
    pub fn new_gratuitous(mac: MacAddr, addr: Ipv4Addr) -> Self {
        Self::new_request(mac, addr, addr)
    }

    /// Asks whether anybody uses `addr` already (RFC 5227 section 2.1.1).
    pub fn new_probe(mac: MacAddr, addr: Ipv4Addr) -> Self {
        Self::new_request(mac, Ipv4Addr::UNSPECIFIED, addr)
    }

    /// Whether the message is about IPv4 over Ethernet, so that the other getters mean anything.
    pub fn is_ethernet_ipv4(&self) -> bool {
        self.hardware.get() == Self::HARDWARE_ETHERNET
            && self.protocol.get() == ethertype::IPV4
            && self.hardware_len == 6
            && self.protocol_len == 4
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        self.operation.get() == operation::REQUEST
    }

    /// Whether it is a reply.
    pub fn is_reply(&self) -> bool {
        self.operation.get() == operation::REPLY
    }

    /// The sender's IPv4 address.
    pub fn sender_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.sender_addr)
    }

    /// The target's IPv4 address.
    pub fn target_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.target_addr)
    }
}

const _: () = assert!(size_of::<ArpPacket>() == ArpPacket::LEN);

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    #[test]
    fn request_as_on_the_wire() {
        let want =
            [0, 1, 0x08, 0x00, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2];
        assert_eq!(ArpPacket::new_request(OURS, A, B).as_bytes(), want);
    }

    #[test]
    fn helpers_say_what_they_mean() {
        // (message, is a request, sender, target, target's Ethernet address)
        let cases = [
            (ArpPacket::new_request(OURS, A, B), true, A, B, MacAddr::ZERO),
            (ArpPacket::new_reply(OURS, A, THEIRS, B), false, A, B, THEIRS),
            (ArpPacket::new_gratuitous(OURS, A), true, A, A, MacAddr::ZERO),
            (ArpPacket::new_probe(OURS, B), true, Ipv4Addr::UNSPECIFIED, B, MacAddr::ZERO),
        ];
        for (arp, request, sender, target, target_mac) in cases {
            assert!(arp.is_ethernet_ipv4());
            assert_eq!((arp.is_request(), arp.is_reply()), (request, !request));
            assert_eq!((arp.sender_mac, arp.sender_ip()), (OURS, sender));
            assert_eq!((arp.target_mac, arp.target_ip()), (target_mac, target));
        }
    }

    #[test]
    fn other_networks_are_told_apart() {
        let good = ArpPacket::new_request(OURS, A, B);
        for byte in 0..6 {
            let mut bytes = [0; ArpPacket::LEN];
            bytes.copy_from_slice(good.as_bytes());
            bytes[byte] ^= 0x10;
            assert!(!ArpPacket::read_from_bytes(&bytes).unwrap().is_ethernet_ipv4(), "byte {byte}");
        }
        for len in 0..ArpPacket::LEN {
            assert!(ArpPacket::ref_from_prefix(&good.as_bytes()[..len]).is_err(), "{len}");
        }
    }
}

//! A port's own addresses: ARP is answered for the hosts that it plays, and asked for the router behind the cable.

use std::net::Ipv4Addr;

use wire::ethernet::ethertype;
use wire::{ArpPacket, EthernetHeader, FromBytes, IntoBytes, MacAddr};

use crate::flow::AddrRange;

/// An Ethernet frame with an ARP packet, padded to the shortest frame.
pub type ArpFrame = [u8; wire::ethernet::MIN_FRAME_LEN];

/// Who a port is to its neighbours.
#[derive(Clone, Debug)]
pub struct Station {
    mac: MacAddr,
    hosts: AddrRange,
    /// The router whose address is asked for.
    wanted: Option<Ipv4Addr>,
    found: Option<MacAddr>,
}

impl Station {
    /// A station of `mac` that plays all of `hosts`.
    pub fn new(mac: MacAddr, hosts: AddrRange) -> Self {
        Station { mac, hosts, wanted: None, found: None }
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The frame that asks for the Ethernet address of `router`; [`Station::found`] has the answer when it came.
    pub fn ask(&mut self, router: Ipv4Addr) -> ArpFrame {
        if self.wanted != Some(router) {
            (self.wanted, self.found) = (Some(router), None);
        }
        let request = ArpPacket::new_request(self.mac, self.hosts.first(), router);
        frame(MacAddr::BROADCAST, self.mac, &request)
    }

    /// The Ethernet address that was asked for.
    pub fn found(&self) -> Option<MacAddr> {
        self.found
    }

    /// Takes a received frame that is no test packet; gives the reply, if it asks for one of the hosts.
    pub fn handle(&mut self, bytes: &[u8]) -> Option<ArpFrame> {
        let (ethernet, rest) = EthernetHeader::ref_from_prefix(bytes).ok()?;
        let (arp, _) = ArpPacket::ref_from_prefix(rest).ok()?;
        if ethernet.ethertype.get() != ethertype::ARP || !arp.is_ethernet_ipv4() {
            return None;
        }
        if self.wanted == Some(arp.sender_ip()) && !arp.sender_mac.is_multicast() {
            self.found = Some(arp.sender_mac);
        }
        let asked = arp.is_request() && self.hosts.contains(arp.target_ip());
        asked.then(|| {
            let reply = ArpPacket::new_reply(self.mac, arp.target_ip(), arp.sender_mac, arp.sender_ip());
            frame(arp.sender_mac, self.mac, &reply)
        })
    }
}

fn frame(dst: MacAddr, src: MacAddr, arp: &ArpPacket) -> ArpFrame {
    let mut frame = [0; wire::ethernet::MIN_FRAME_LEN];
    let (head, rest) = frame.split_at_mut(EthernetHeader::LEN);
    head.copy_from_slice(EthernetHeader::new(dst, src, ethertype::ARP).as_bytes());
    rest[..ArpPacket::LEN].copy_from_slice(arp.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim::builder::{arp_reply, arp_request};

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn addr(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn station() -> Station {
        Station::new(OURS, "10.0.0.10-10.0.0.20".parse().unwrap())
    }

    #[test]
    fn answers_for_its_hosts_alone() {
        for (host, answers) in [(9, false), (10, true), (20, true), (21, false)] {
            let reply = station().handle(&arp_request(THEIRS, addr(1), addr(host)));
            let expected = arp_reply(OURS, addr(host), THEIRS, addr(1));
            assert_eq!(reply.map(|frame| frame[..42].to_vec()), answers.then(|| expected[..42].to_vec()));
        }
        assert_eq!(station().handle(&arp_reply(THEIRS, addr(1), OURS, addr(10))), None);
        assert_eq!(station().handle(&[0; 60]), None);
    }

    #[test]
    fn hears_of_the_router_it_asked_for() {
        let mut station = station();
        let asked = station.ask(addr(1));
        assert_eq!(asked[..42], arp_request(OURS, addr(10), addr(1))[..42]);
        station.handle(&arp_reply(THEIRS, addr(2), OURS, addr(10)));
        assert_eq!(station.found(), None);
        station.handle(&arp_reply(THEIRS, addr(1), OURS, addr(10)));
        assert_eq!(station.found(), Some(THEIRS));
        station.ask(addr(1));
        assert_eq!(station.found(), Some(THEIRS), "asking again does not forget");
        station.ask(addr(3));
        assert_eq!(station.found(), None);
    }
}

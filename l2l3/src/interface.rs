//! Layer-3 interfaces: a port, or one VLAN of a port, with its addresses.

use std::net::Ipv4Addr;

use wire::{Ipv4Prefix, MacAddr};

/// A port's index, as the configuration numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PortId(pub u16);

/// An interface's index. Interfaces of all ports are numbered together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct IfaceId(pub u16);

/// One address of an interface, with the network it lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IfaceAddr {
    /// Our address.
    pub addr: Ipv4Addr,
    /// The connected network.
    pub net: Ipv4Prefix,
}

/// A port, or one VLAN of a port, as layer 3 sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its index.
    pub id: IfaceId,
    /// The port it sends by.
    pub port: PortId,
    /// The 802.1Q VLAN (1 to 4094), or `None` for the port's untagged traffic.
    pub vlan: Option<u16>,
    /// Our Ethernet address on it.
    pub mac: MacAddr,
    /// The largest IPv4 packet it sends, in bytes, the IPv4 header included.
    pub mtu: u16,
    /// Our addresses; may be empty.
    pub addresses: Vec<IfaceAddr>,
    /// Whether to answer ARP for addresses that are routed by another interface (RFC 1027).
    pub proxy_arp: bool,
}

impl Interface {
    /// Whether `addr` is one of this interface's own.
    pub fn owns(&self, addr: Ipv4Addr) -> bool {
        self.addresses.iter().any(|a| a.addr == addr)
    }

    /// Our address in the connected network that holds `addr`.
    pub fn addr_towards(&self, addr: Ipv4Addr) -> Option<IfaceAddr> {
        self.addresses.iter().copied().find(|a| a.net.contains(addr))
    }

    /// The address to send to `addr` from: that of its network, else the first. `None` if there is none.
    pub fn source_for(&self, addr: Ipv4Addr) -> Option<Ipv4Addr> {
        self.addr_towards(addr).or_else(|| self.addresses.first().copied()).map(|a| a.addr)
    }

    /// Whether `addr` is the directed broadcast or the network address of a connected network
    /// (RFC 1122 section 3.3.6); networks of length 31 and 32 have none (RFC 3021).
    pub fn is_directed_broadcast(&self, addr: Ipv4Addr) -> bool {
        let hit = |net: Ipv4Prefix| net.len() <= 30 && (addr == net.last() || addr == net.addr());
        self.addresses.iter().any(|a| hit(a.net))
    }
}

/// All interfaces of a router, found by index or by what a frame says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interfaces {
    all: Vec<Interface>,
    /// Sorted by port and VLAN.
    by_tag: Vec<(PortId, Option<u16>, IfaceId)>,
}

impl Interfaces {
    /// The table of `all`, whose position must be their [`Interface::id`].
    ///
    /// # Panics
    /// If an interface does not stand at its id's position.
    pub fn new(all: Vec<Interface>) -> Self {
        let in_place = |(at, iface): (usize, &Interface)| usize::from(iface.id.0) == at;
        assert!(all.iter().enumerate().all(in_place), "interfaces stand at their id's position");
        let mut by_tag: Vec<_> = all.iter().map(|iface| (iface.port, iface.vlan, iface.id)).collect();
        by_tag.sort_unstable();
        Interfaces { all, by_tag }
    }

    /// The interface with index `id`.
    pub fn get(&self, id: IfaceId) -> Option<&Interface> {
        self.all.get(usize::from(id.0))
    }

    /// The interface of `port`'s frames with this VLAN tag, or with none.
    pub fn find(&self, port: PortId, vlan: Option<u16>) -> Option<&Interface> {
        let at = self.by_tag.binary_search_by_key(&(port, vlan), |&(port, vlan, _)| (port, vlan)).ok()?;
        self.get(self.by_tag[at].2)
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.all.iter()
    }

    /// Whether `addr` is an address of any interface.
    pub fn owns(&self, addr: Ipv4Addr) -> bool {
        self.all.iter().any(|iface| iface.owns(addr))
    }

    /// Whether `addr` is a broadcast address of any connected network: see
    /// [`Interface::is_directed_broadcast`].
    pub fn is_directed_broadcast(&self, addr: Ipv4Addr) -> bool {
        self.all.iter().any(|iface| iface.is_directed_broadcast(addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn iface(id: u16, port: u16, vlan: Option<u16>, nets: &[([u8; 4], u8)]) -> Interface {
        let address = |&(addr, len): &([u8; 4], u8)| {
            let addr = Ipv4Addr::from(addr);
            IfaceAddr { addr, net: Ipv4Prefix::new(addr, len) }
        };
        let addresses = nets.iter().map(address).collect();
        Interface {
            id: IfaceId(id),
            port: PortId(port),
            vlan,
            mac: MAC,
            mtu: 1500,
            addresses,
            proxy_arp: false,
        }
    }

    fn three() -> Interfaces {
        Interfaces::new(vec![
            iface(0, 1, Some(7), &[([10, 0, 0, 1], 24), ([10, 0, 1, 1], 30)]),
            iface(1, 0, None, &[([192, 0, 2, 0], 31), ([198, 51, 100, 1], 32)]),
            iface(2, 1, None, &[]),
        ])
    }

    #[test]
    fn found_by_port_and_tag() {
        let all = three();
        let find = |port, vlan| all.find(PortId(port), vlan).map(|iface| iface.id.0);
        assert_eq!([find(1, Some(7)), find(0, None), find(1, None)], [Some(0), Some(1), Some(2)]);
        assert_eq!([find(0, Some(7)), find(1, Some(8)), find(2, None)], [None; 3]);
        assert_eq!(all.get(IfaceId(2)).map(|iface| iface.id), Some(IfaceId(2)));
        assert!(all.get(IfaceId(3)).is_none());
        assert_eq!(all.iter().count(), 3);
    }

    #[test]
    #[should_panic(expected = "at their id's position")]
    fn ids_are_positions() {
        Interfaces::new(vec![iface(1, 0, None, &[])]);
    }

    #[test]
    fn broadcasts_are_of_networks_that_have_them() {
        let all = three();
        let broadcast = |addr: [u8; 4]| all.is_directed_broadcast(addr.into());
        for addr in [[10, 0, 0, 0], [10, 0, 0, 255], [10, 0, 1, 0], [10, 0, 1, 3]] {
            assert!(broadcast(addr), "{addr:?}");
        }
        // RFC 3021: both addresses of a /31 are hosts.
        for addr in
            [[10, 0, 0, 1], [10, 0, 1, 2], [10, 0, 2, 255], [192, 0, 2, 0], [192, 0, 2, 1], [198, 51, 100, 1]]
        {
            assert!(!broadcast(addr), "{addr:?}");
        }
    }

    #[test]
    fn source_is_of_the_same_network_or_the_first() {
        let all = three();
        let source =
            |id, to: [u8; 4]| all.get(IfaceId(id)).unwrap().source_for(to.into()).map(|a| a.octets());
        assert_eq!(source(0, [10, 0, 0, 9]), Some([10, 0, 0, 1]));
        assert_eq!(source(0, [10, 0, 1, 2]), Some([10, 0, 1, 1]));
        assert_eq!(source(0, [8, 8, 8, 8]), Some([10, 0, 0, 1]));
        assert_eq!(source(2, [8, 8, 8, 8]), None);
        assert!(all.owns([10, 0, 1, 1].into()) && !all.owns([10, 0, 1, 2].into()));
    }
}

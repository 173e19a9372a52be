//! Adjacencies: what a route leads to, with the Ethernet header that goes in front precomputed.
//!
//! Each worker owns a copy of the table and changes it only between bursts, when the control thread
//! tells it to: a burst never sees half a rewrite, and the hot path reads plain memory.

use std::net::Ipv4Addr;

use wire::MacAddr;

use crate::fib::AdjacencyId;
use crate::group::NextHopGroup;
use crate::interface::{IfaceId, Interface, PortId};

/// A next-hop group's index in the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GroupId(pub u16);

/// What happens to a packet whose route leads here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// No route matched.
    NoRoute,
    /// Dropped without a word.
    Blackhole,
    /// Dropped, with ICMP host unreachable.
    Unreachable,
    /// An address of ours.
    Local,
    /// 255.255.255.255, or the directed broadcast of a connected network.
    Broadcast,
    /// 224.0.0.0/4.
    Multicast,
    /// A destination that is never forwarded.
    Martian,
    /// A connected network: the destination itself is the neighbour, not resolved yet.
    Glean(IfaceId),
    /// A next hop that is not resolved yet.
    Incomplete(IfaceId, Ipv4Addr),
    /// A resolved next hop.
    Forward(IfaceId, Ipv4Addr),
    /// One of several next hops, by flow hash.
    Group(GroupId),
}

impl Target {
    /// The interface that packets leave by, if it is one.
    pub const fn iface(self) -> Option<IfaceId> {
        match self {
            Target::Glean(iface) | Target::Incomplete(iface, _) | Target::Forward(iface, _) => Some(iface),
            _ => None,
        }
    }
}

/// Adjacencies that always stand, at the ids of their position here.
const WELL_KNOWN: [Target; 7] = [
    Target::NoRoute,
    Target::Blackhole,
    Target::Unreachable,
    Target::Local,
    Target::Broadcast,
    Target::Multicast,
    Target::Martian,
];

/// No route; the content of empty route table entries.
pub const NO_ROUTE: AdjacencyId = AdjacencyId::NONE;
/// Drop silently.
pub const BLACKHOLE: AdjacencyId = AdjacencyId(1);
/// Drop with host unreachable.
pub const UNREACHABLE: AdjacencyId = AdjacencyId(2);
/// Deliver here.
pub const LOCAL: AdjacencyId = AdjacencyId(3);
/// A broadcast.
pub const BROADCAST: AdjacencyId = AdjacencyId(4);
/// A multicast.
pub const MULTICAST: AdjacencyId = AdjacencyId(5);
/// Never forwarded.
pub const MARTIAN: AdjacencyId = AdjacencyId(6);
/// The first id that is free for next hops.
pub const FIRST_FREE: u32 = WELL_KNOWN.len() as u32;

/// Bytes of what a hop changes at a frame's front.
pub(crate) const ADDEND_LEN: usize = 32;

/// One adjacency: a cache line, of which the hot path reads the first 36 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Adjacency {
    /// What is added to a frame's first bytes, in little-endian words of 16 bits, once the Ethernet header is
    /// cleared: a new one, -1 for the TTL, and 0x100 for the checksum.
    addend: [u8; ADDEND_LEN],
    /// `mtu << 16 | port` where the straight path may send; 0 where it may not (no packet fits).
    egress: u32,
    vlan: Option<u16>,
    mtu: u16,
    port: PortId,
    target: Target,
}

const _: () = assert!(size_of::<Adjacency>() == 64);

impl Adjacency {
    /// An adjacency that sends nowhere by itself.
    pub const fn to(target: Target) -> Self {
        Adjacency { addend: [0; ADDEND_LEN], egress: 0, vlan: None, mtu: 0, port: PortId(u16::MAX), target }
    }

    /// A resolved next hop: packets go out by `iface` to the station `mac`.
    pub fn forward(iface: &Interface, next_hop: Ipv4Addr, mac: MacAddr) -> Self {
        let mut addend = [0; ADDEND_LEN];
        addend[..6].copy_from_slice(&mac.0);
        addend[6..12].copy_from_slice(&iface.mac.0);
        addend[12..14].copy_from_slice(&[0x08, 0x00]);
        // The TTL is the low byte of its word, and so is the checksum's high byte.
        addend[22..24].copy_from_slice(&(-1i16).to_le_bytes());
        addend[24..26].copy_from_slice(&1i16.to_le_bytes());
        // A tag has to be put in, which the straight path does not do.
        let egress =
            if iface.vlan.is_none() { u32::from(iface.mtu) << 16 | u32::from(iface.port.0) } else { 0 };
        let target = Target::Forward(iface.id, next_hop);
        Adjacency { addend, egress, vlan: iface.vlan, mtu: iface.mtu, port: iface.port, target }
    }

    /// Where it leads.
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The port a [`Target::Forward`] sends by.
    pub const fn port(&self) -> PortId {
        self.port
    }

    /// The largest IPv4 packet a [`Target::Forward`] takes, in bytes.
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Bytes of the Ethernet header, tag included, of a [`Target::Forward`].
    pub const fn l2_len(&self) -> usize {
        if self.vlan.is_some() { 18 } else { 14 }
    }

    /// Writes the Ethernet header into `out`, whose length is [`l2_len`](Self::l2_len).
    pub fn write_l2(&self, out: &mut [u8]) {
        match self.vlan {
            None => out.copy_from_slice(&self.addend[..14]),
            Some(vlan) => {
                out[..12].copy_from_slice(&self.addend[..12]);
                out[12..14].copy_from_slice(&[0x81, 0x00]);
                out[14..16].copy_from_slice(&vlan.to_be_bytes());
                out[16..18].copy_from_slice(&self.addend[12..14]);
            }
        }
    }

    /// What the straight path needs: what to add to a header, and `mtu << 16 | port`.
    #[inline(always)]
    pub(crate) const fn straight(&self) -> (&[u8; ADDEND_LEN], u32) {
        (&self.addend, self.egress)
    }
}

/// A worker's adjacencies and next-hop groups.
pub struct AdjacencyTable {
    /// A power of two long, so that an index can be masked instead of checked.
    entries: Box<[Adjacency]>,
    groups: Box<[Option<Box<NextHopGroup>>]>,
    ports: u16,
}

impl AdjacencyTable {
    /// A table for `adjacencies` entries (rounded up to a power of two, at most 2^20) and `groups`
    /// groups, that sends by ports below `ports`.
    pub fn new(adjacencies: usize, groups: usize, ports: u16) -> Self {
        let len = adjacencies.max(WELL_KNOWN.len()).next_power_of_two().min(AdjacencyId::MAX.0 as usize + 1);
        let mut entries = vec![Adjacency::to(Target::NoRoute); len].into_boxed_slice();
        for (entry, target) in entries.iter_mut().zip(WELL_KNOWN) {
            *entry = Adjacency::to(target);
        }
        AdjacencyTable { entries, groups: (0..groups).map(|_| None).collect(), ports }
    }

    /// How many entries there are.
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Ports that entries may send by.
    pub fn ports(&self) -> u16 {
        self.ports
    }

    /// All entries; the length is a power of two.
    #[inline]
    pub(crate) fn entries(&self) -> &[Adjacency] {
        &self.entries
    }

    /// The entry of `id`; ids past the table's end wrap round.
    #[inline]
    pub fn get(&self, id: AdjacencyId) -> &Adjacency {
        &self.entries[id.0 as usize & (self.entries.len() - 1)]
    }

    /// Puts `adjacency` at `id`. Gives false, and changes nothing, if the id or its port is out of range.
    pub fn set(&mut self, id: AdjacencyId, adjacency: Adjacency) -> bool {
        let sendable = adjacency.egress == 0 || adjacency.port.0 < self.ports;
        match self.entries.get_mut(id.0 as usize) {
            Some(entry) if sendable => {
                *entry = adjacency;
                true
            }
            _ => false,
        }
    }

    /// Puts `group` at `id` and gives back what stood there, or `group` itself if the id is out of range.
    pub fn set_group(&mut self, id: GroupId, group: Option<Box<NextHopGroup>>) -> Option<Box<NextHopGroup>> {
        match self.groups.get_mut(id.0 as usize) {
            Some(slot) => std::mem::replace(slot, group),
            None => group,
        }
    }

    /// The adjacency that `id` leads to for a flow: `id` itself, or a member of its group.
    pub fn resolve(&self, id: AdjacencyId, flow_hash: u32) -> &Adjacency {
        let entry = self.get(id);
        let Target::Group(group) = entry.target else { return entry };
        match self.groups.get(group.0 as usize) {
            Some(Some(group)) => self.get(group.select(flow_hash)),
            _ => self.get(UNREACHABLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iface(vlan: Option<u16>) -> Interface {
        Interface {
            id: IfaceId(3),
            port: PortId(1),
            vlan,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addresses: vec![],
            proxy_arp: false,
        }
    }

    #[test]
    fn well_known_stand_at_their_ids() {
        let table = AdjacencyTable::new(8, 0, 2);
        for (id, target) in [
            (NO_ROUTE, Target::NoRoute),
            (BLACKHOLE, Target::Blackhole),
            (UNREACHABLE, Target::Unreachable),
            (LOCAL, Target::Local),
            (BROADCAST, Target::Broadcast),
            (MULTICAST, Target::Multicast),
            (MARTIAN, Target::Martian),
        ] {
            assert_eq!(table.get(id).target(), target);
            assert_eq!(table.get(id).straight().1, 0);
        }
    }

    #[test]
    fn header_with_and_without_tag() {
        let mac = MacAddr([2, 0, 0, 0, 0, 9]);
        let plain = Adjacency::forward(&iface(None), Ipv4Addr::new(10, 0, 0, 1), mac);
        let mut out = vec![0; plain.l2_len()];
        plain.write_l2(&mut out);
        assert_eq!(out, [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!(plain.straight().1, 1500 << 16 | 1);

        let tagged = Adjacency::forward(&iface(Some(0x123)), Ipv4Addr::new(10, 0, 0, 1), mac);
        let mut out = vec![0; tagged.l2_len()];
        tagged.write_l2(&mut out);
        assert_eq!(out, [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x01, 0x23, 8, 0]);
        assert_eq!(tagged.straight().1, 0);
    }

    #[test]
    fn a_group_leads_to_a_member_and_a_missing_one_nowhere() {
        let mut table = AdjacencyTable::new(16, 2, 2);
        let hop = Ipv4Addr::new(10, 0, 0, 1);
        assert!(table.set(AdjacencyId(10), Adjacency::forward(&iface(None), hop, MacAddr::ZERO)));
        assert!(table.set(AdjacencyId(11), Adjacency::to(Target::Group(GroupId(1)))));
        let target = |table: &AdjacencyTable| table.resolve(AdjacencyId(11), 77).target();
        assert_eq!(target(&table), Target::Unreachable);
        let mut group = Box::new(NextHopGroup::new());
        assert!(table.set_group(GroupId(1), Some(group.clone())).is_none());
        assert_eq!(target(&table), Target::NoRoute, "no member");
        group.add(AdjacencyId(10)).unwrap();
        assert!(table.set_group(GroupId(1), Some(group.clone())).is_some_and(|old| old.is_empty()));
        assert_eq!(target(&table), Target::Forward(IfaceId(3), hop));
        assert!(table.set_group(GroupId(2), Some(group)).is_some(), "group 2 of 2 comes back");
        assert!(table.set_group(GroupId(1), None).is_some_and(|old| old.len() == 1));
    }

    #[test]
    fn only_next_hops_have_an_interface() {
        let (id, hop) = (IfaceId(3), Ipv4Addr::new(10, 0, 0, 1));
        for target in [Target::Glean(id), Target::Incomplete(id, hop), Target::Forward(id, hop)] {
            assert_eq!(target.iface(), Some(id));
        }
        let others = WELL_KNOWN.into_iter().chain([Target::Group(GroupId(0))]);
        assert!(others.into_iter().all(|target| target.iface().is_none()));
    }

    #[test]
    fn out_of_range_changes_nothing() {
        let mut table = AdjacencyTable::new(8, 0, 1);
        let forward = Adjacency::forward(&iface(None), Ipv4Addr::new(10, 0, 0, 1), MacAddr::ZERO);
        assert!(!table.set(AdjacencyId(7), forward), "port 1 of 1");
        assert!(!table.set(AdjacencyId(8), Adjacency::to(Target::Local)), "id 8 of 8");
    }
}

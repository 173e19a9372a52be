//! Next hops: which adjacency stands for which gateway, host, network or group.

use std::net::Ipv4Addr;

use hashbrown::HashMap;
use l2l3::adjacency::{Adjacency, AdjacencyTable, FIRST_FREE, GroupId, Target};
use l2l3::fib::AdjacencyId;
use l2l3::group::NextHopGroup;
use l2l3::interface::IfaceId;
use l2l3::neighbour::Key;

/// Groups at most.
const MAX_GROUPS: usize = 4096;

/// What keeps an adjacency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// A route leads to it. Kept, resolved or not.
    Gateway,
    /// A neighbour was found there. Kept as long as it answers.
    Host,
}

/// Several gateways behind one route.
pub(super) struct Group {
    /// All of them, whether they answer or not.
    pub(super) members: Vec<AdjacencyId>,
    /// Those that answer, or all where none does.
    pub(super) live: NextHopGroup,
}

/// A next hop has no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HopsFull {
    /// There were this many.
    #[error("all {0} adjacencies are in use: raise `adjacencies` under [limits]")]
    Adjacencies(u32),
    /// Routes by several gateways.
    #[error("the routes lead to more than {MAX_GROUPS} different groups of gateways")]
    Groups,
}

/// All next hops, and a copy of what the workers' tables hold.
pub(super) struct Hops {
    capacity: u32,
    ports: u16,
    next: u32,
    free: Vec<AdjacencyId>,
    adjacencies: HashMap<AdjacencyId, Adjacency>,
    by_key: HashMap<Key, (AdjacencyId, Role)>,
    gateways: Vec<Key>,
    gleans: HashMap<IfaceId, AdjacencyId>,
    groups: Vec<Group>,
    by_members: HashMap<Vec<AdjacencyId>, AdjacencyId>,
}

impl Hops {
    pub(super) fn new(capacity: u32, ports: u16) -> Self {
        Hops {
            capacity,
            ports,
            next: FIRST_FREE,
            free: Vec::new(),
            adjacencies: HashMap::new(),
            by_key: HashMap::new(),
            gateways: Vec::new(),
            gleans: HashMap::new(),
            groups: Vec::new(),
            by_members: HashMap::new(),
        }
    }

    /// A table for one worker, as things stand.
    pub(super) fn table(&self) -> AdjacencyTable {
        let mut table = AdjacencyTable::new(self.capacity as usize, MAX_GROUPS, self.ports);
        for (&id, &adjacency) in &self.adjacencies {
            table.set(id, adjacency);
        }
        for (at, group) in self.groups.iter().enumerate() {
            table.set_group(GroupId(at as u16), Some(Box::new(group.live.clone())));
        }
        table
    }

    fn allocate(&mut self, adjacency: Adjacency) -> Result<AdjacencyId, HopsFull> {
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.next < self.capacity => {
                self.next += 1;
                AdjacencyId(self.next - 1)
            }
            None => return Err(HopsFull::Adjacencies(self.capacity)),
        };
        self.adjacencies.insert(id, adjacency);
        Ok(id)
    }

    /// The adjacency of a connected network.
    pub(super) fn glean(&mut self, iface: IfaceId) -> Result<AdjacencyId, HopsFull> {
        if let Some(&id) = self.gleans.get(&iface) {
            return Ok(id);
        }
        let id = self.allocate(Adjacency::to(Target::Glean(iface)))?;
        self.gleans.insert(iface, id);
        Ok(id)
    }

    /// The adjacency of a neighbour, made if need be, unresolved.
    pub(super) fn neighbour(&mut self, key: Key, role: Role) -> Result<AdjacencyId, HopsFull> {
        if let Some((id, known)) = self.by_key.get_mut(&key) {
            if role == Role::Gateway && *known == Role::Host {
                *known = Role::Gateway;
                self.gateways.push(key);
            }
            return Ok(*id);
        }
        let id = self.allocate(incomplete(key))?;
        self.by_key.insert(key, (id, role));
        if role == Role::Gateway {
            self.gateways.push(key);
        }
        Ok(id)
    }

    /// The adjacency of several gateways, in whatever order.
    pub(super) fn group(&mut self, mut members: Vec<AdjacencyId>) -> Result<AdjacencyId, HopsFull> {
        members.sort_unstable();
        if let Some(&id) = self.by_members.get(&members) {
            return Ok(id);
        }
        if self.groups.len() >= MAX_GROUPS {
            return Err(HopsFull::Groups);
        }
        let mut live = NextHopGroup::new();
        for &member in &members {
            // The configuration bounds the members and refuses doubles.
            let _added = live.add(member);
        }
        let id = self.allocate(Adjacency::to(Target::Group(GroupId(self.groups.len() as u16))))?;
        self.groups.push(Group { members: members.clone(), live });
        self.by_members.insert(members, id);
        Ok(id)
    }

    pub(super) fn find(&self, key: Key) -> Option<(AdjacencyId, Role)> {
        self.by_key.get(&key).copied()
    }

    /// The gateways of all routes.
    pub(super) fn gateways(&self) -> &[Key] {
        &self.gateways
    }

    /// Whether `id` is the adjacency of the network that `iface` is connected to.
    pub(super) fn is_glean(&self, id: AdjacencyId, iface: IfaceId) -> bool {
        self.gleans.get(&iface) == Some(&id)
    }

    /// Whether packets can be sent by `id` now.
    pub(super) fn is_resolved(&self, id: AdjacencyId) -> bool {
        self.get(id).is_some_and(|adjacency| matches!(adjacency.target(), Target::Forward(..)))
    }

    pub(super) fn get(&self, id: AdjacencyId) -> Option<&Adjacency> {
        self.adjacencies.get(&id)
    }

    pub(super) fn set(&mut self, id: AdjacencyId, adjacency: Adjacency) {
        self.adjacencies.insert(id, adjacency);
    }

    /// Forgets a host. Its id is not used again before [`free`](Self::free).
    pub(super) fn forget(&mut self, key: Key) -> Option<AdjacencyId> {
        let (id, _) = self.by_key.remove(&key)?;
        self.adjacencies.remove(&id);
        Some(id)
    }

    /// Lets the id of a forgotten host be used again: no worker can see it any more.
    pub(super) fn free(&mut self, id: AdjacencyId) {
        self.free.push(id);
    }

    /// Takes a gateway into, or out of, the groups it belongs to; a group's last gateway stays.
    /// Gives the groups that changed.
    pub(super) fn set_live(&mut self, id: AdjacencyId, live: bool) -> Vec<(GroupId, NextHopGroup)> {
        let mut changed = Vec::new();
        for (at, group) in self.groups.iter_mut().enumerate().filter(|(_, g)| g.members.contains(&id)) {
            let is_in = group.live.members().any(|member| member == id);
            let done = match (live, is_in) {
                (true, false) => group.live.add(id).is_ok(),
                (false, true) if group.live.len() > 1 => group.live.remove(id),
                _ => false,
            };
            if done {
                changed.push((GroupId(at as u16), group.live.clone()));
            }
        }
        changed
    }

    pub(super) fn members(&self, group: GroupId) -> &[AdjacencyId] {
        self.groups.get(usize::from(group.0)).map_or(&[], |group| &group.members)
    }
}

/// What stands for a neighbour that is not resolved.
pub(super) fn incomplete(key: Key) -> Adjacency {
    let Key { iface, ip } = key;
    debug_assert_ne!(ip, Ipv4Addr::UNSPECIFIED);
    Adjacency::to(Target::Incomplete(iface, ip))
}

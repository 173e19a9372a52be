//! What the coming and going of neighbours means for adjacencies, groups and routes.

use l2l3::adjacency::Adjacency;
use l2l3::fib::AdjacencyId;
use l2l3::neighbour::{Action, Key};
use wire::{Instant, Ipv4Prefix, MacAddr};

use super::hops::{HopsFull, Role, incomplete};
use super::{Control, GATEWAYS_EVERY, Then};
use crate::link::Command;

impl Control {
    /// Asks for gateways that nobody has an entry for. Traffic alone would not: a group sends it by the
    /// gateways that answer, so one that was silent for a while would never come back.
    pub(super) fn ask_for_gateways(&mut self, now: Instant) {
        self.gateways_at = now + GATEWAYS_EVERY;
        for &key in self.hops.gateways() {
            if self.neighbours.get(key).is_none() {
                self.neighbours.handle_resolve(now, key);
            }
        }
    }

    /// Does what the neighbour table asks for.
    pub(super) fn act(&mut self) {
        while let Some(action) = self.neighbours.poll_action() {
            match action {
                Action::SendRequest { target, to } => self.send_one(Command::ArpRequest(target, to)),
                Action::Announce { own } => self.send_one(Command::ArpAnnounce(own.iface, own.ip)),
                Action::Resolved { key, mac } | Action::Changed { key, mac } => self.resolved(key, mac),
                Action::Failed { key } => {
                    self.unresolved(key);
                    self.send_all(|| Command::Fail(key));
                }
                Action::Removed { key } => self.unresolved(key),
                Action::DuplicateAddress { own, mac } => {
                    let iface = self.interface_name(own.iface);
                    self.log.push(format!("{iface}: {mac} uses our address {} too", own.ip));
                }
            }
        }
    }

    /// A neighbour's Ethernet address is known: workers learn the adjacency, then send what waits by it.
    fn resolved(&mut self, key: Key, mac: MacAddr) {
        let interfaces = self.interfaces.clone();
        let Some(iface) = interfaces.get(key.iface) else { return };
        let id = match self.hops.neighbour(key, Role::Host) {
            Ok(id) => id,
            Err(full) => return self.no_adjacency(key, full),
        };
        let is_new = !self.hops.is_resolved(id);
        let adjacency = Adjacency::forward(iface, key.ip, mac);
        self.hops.set(id, adjacency);
        self.send_all(|| Command::SetAdjacency(id, adjacency));
        self.send_all(|| Command::Release(key, id));
        if is_new {
            self.set_live(id, true);
            self.once_done(Then::Route(key, id));
        }
    }

    fn no_adjacency(&mut self, key: Key, full: HopsFull) {
        self.send_all(|| Command::Fail(key));
        if !std::mem::replace(&mut self.told_full, true) {
            let iface = self.interface_name(key.iface);
            self.log.push(format!("{iface}: no adjacency for {}: {full}", key.ip));
        }
    }

    /// A neighbour is not known any more: a gateway goes back to waiting, a host's route goes away.
    fn unresolved(&mut self, key: Key) {
        match self.hops.find(key) {
            Some((id, Role::Gateway)) => {
                self.set_live(id, false);
                if self.hops.is_resolved(id) {
                    let adjacency = incomplete(key);
                    self.hops.set(id, adjacency);
                    self.send_all(|| Command::SetAdjacency(id, adjacency));
                    self.remove_host_route(key, id);
                }
            }
            Some((id, Role::Host)) => {
                self.remove_host_route(key, id);
                self.hops.forget(key);
                self.once_done(Then::Free(id));
            }
            None => {}
        }
    }

    fn remove_host_route(&mut self, key: Key, id: AdjacencyId) {
        self.after.retain(|(_, then)| !matches!(then, Then::Route(k, i) if (*k, *i) == (key, id)));
        let prefix = Ipv4Prefix::host(key.ip);
        if self.fib.get(prefix) == Some(id) {
            self.fib.remove(prefix);
        }
    }

    fn set_live(&mut self, id: AdjacencyId, live: bool) {
        for (group, content) in self.hops.set_live(id, live) {
            self.send_all(|| Command::SetGroup(group, Some(Box::new(content.clone()))));
        }
    }

    /// Leads a neighbour's packets straight to it, unless the configuration leads them elsewhere: by a
    /// route of more than the connected network's length.
    pub(super) fn add_host_route(&mut self, key: Key, id: AdjacencyId) {
        let by_network = self.fib.covering(key.ip).is_some_and(|(_, to)| self.hops.is_glean(to, key.iface));
        if by_network && let Err(error) = self.fib.insert(Ipv4Prefix::host(key.ip), id) {
            // Its packets go on taking the way through the hold queue.
            self.log.push(format!("no route of its own for the neighbour {}: {error}", key.ip));
        }
    }
}

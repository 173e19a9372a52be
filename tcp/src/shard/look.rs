//! A look at what a shard has, for operators.

use std::net::SocketAddrV4;

use super::{ConnectionId, Shard, Shared};
use crate::connection::Flags;
use crate::connection::info::Info;
use crate::demux::FlowKey;
use crate::trace::Event;

/// A look at one listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listening {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Connections that wait.
    pub waiting: u32,
}

impl<B> Shard<B> {
    /// Appends a look at each connection in the next `slots` slots from number `from` on to `out`, which does
    /// not grow. Gives the number to go on with; `None` at the end.
    pub fn look(&self, from: u32, slots: u32, out: &mut Vec<Info>) -> Option<u32> {
        let end = from.saturating_add(slots).min(self.slots.end());
        for index in from..end {
            let Some(connection) = self.slots.peek(index) else { continue };
            if out.len() == out.capacity() {
                return Some(index);
            }
            let Shared { config, senders, recovery, .. } = &self.shared;
            out.push(connection.info(config, senders, recovery));
        }
        (end < self.slots.end()).then_some(end)
    }

    /// The connection between two addresses.
    pub fn find(&self, local: SocketAddrV4, remote: SocketAddrV4) -> Option<ConnectionId> {
        let is = |index: u32| self.slots.peek(index).is_some_and(|c| (c.local, c.remote) == (local, remote));
        self.flows.lookup(&FlowKey::new(local, remote), is).map(|index| self.slots.id(index))
    }

    /// What is kept of the last things that happened to a connection, newest first.
    pub fn events(&self, id: ConnectionId) -> impl Iterator<Item = &Event> {
        self.slots.look(id).into_iter().flat_map(|connection| connection.events(&self.shared.trace))
    }

    /// The connection in the first slot that is in use from number `from` on, and the number after it. Those
    /// that the application has given up, or not accepted yet, are passed over.
    pub fn next_connection(&self, from: u32) -> Option<(ConnectionId, u32)> {
        let is_owned = |index: &u32| {
            let connection = self.slots.peek(*index);
            connection.is_some_and(|c| !c.flags.any(Flags::DETACHED.and(Flags::UNACCEPTED)))
        };
        (from..self.slots.end()).find(is_owned).map(|index| (self.slots.id(index), index + 1))
    }

    /// The listeners.
    pub fn listening(&self) -> impl Iterator<Item = Listening> {
        self.listeners.iter().map(|listener| Listening {
            address: listener.address,
            backlog: listener.backlog,
            waiting: listener.accept.len() as u32,
        })
    }
}

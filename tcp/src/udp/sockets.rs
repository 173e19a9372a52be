//! Sockets in numbered slots.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::UdpError;
use super::names::Name;
use crate::pool::List;

/// A socket's number. One that was closed is not mistaken for the next in its slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId {
    pub(super) slot: u32,
    /// How many the slot has had before, modulo 2^32.
    pub(super) generation: u32,
}

/// One socket.
#[derive(Debug)]
pub(super) struct Socket {
    /// The address it was bound to, which may be unspecified.
    pub(super) bound: Ipv4Addr,
    pub(super) name: Name,
    pub(super) received: List,
    /// Datagrams of its that were not yet given to the IP layer.
    pub(super) unsent: usize,
    /// Received datagrams that were dropped for want of room.
    pub(super) dropped: u64,
    /// Whether the application was told of what is received.
    pub(super) told: bool,
    /// Whether the peer refused, which the application was not yet told.
    pub(super) refused: bool,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    socket: Option<Socket>,
}

#[derive(Debug)]
pub(super) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
    limit: usize,
}

impl Socket {
    pub(super) fn new(local: SocketAddrV4) -> Self {
        Socket {
            bound: *local.ip(),
            name: Name { local, remote: None },
            received: List::default(),
            unsent: 0,
            dropped: 0,
            told: false,
            refused: false,
        }
    }

    /// The error that the application was not yet told.
    pub(super) fn take_error(&mut self) -> Result<(), UdpError> {
        if std::mem::take(&mut self.refused) { Err(UdpError::Refused) } else { Ok(()) }
    }
}

impl Sockets {
    /// # Panics
    /// If `limit` is 2^32 or more.
    pub(super) fn new(limit: usize) -> Self {
        assert!(u32::try_from(limit).is_ok(), "sockets are numbered in 32 bits");
        Sockets { slots: Vec::with_capacity(limit), free: Vec::with_capacity(limit), limit }
    }

    /// `None` if there are as many as there may be.
    pub(super) fn insert(&mut self, socket: Socket) -> Option<SocketId> {
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.socket = Some(socket);
            return Some(SocketId { slot, generation: place.generation });
        }
        if self.slots.len() == self.limit {
            return None;
        }
        self.slots.push(Slot { generation: 0, socket: Some(socket) });
        Some(SocketId { slot: self.slots.len() as u32 - 1, generation: 0 })
    }

    pub(super) fn remove(&mut self, id: SocketId) -> Option<Socket> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        let socket = slot.socket.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        Some(socket)
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        let slot = self.slots.get(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.socket.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.generation == id.generation)?;
        slot.socket.as_mut()
    }
}

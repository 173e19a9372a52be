//! Where connections live: slots with a generation, so that a stale handle finds nothing.

use wire::prefetch::prefetch_all;

use super::ConnectionId;
use crate::connection::Connection;

struct Slot {
    /// Grows each time that the slot changes hands.
    generation: u32,
    connection: Option<Connection>,
}

/// All connections of a shard. Memory is reserved at the start and touched when first used.
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    limit: u32,
}

impl Slots {
    pub(super) fn new(limit: u32) -> Self {
        Slots { slots: Vec::with_capacity(limit as usize), free: Vec::with_capacity(limit as usize), limit }
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The number past the last slot that was ever used.
    pub(super) const fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len() >= self.limit as usize
    }

    /// Gives a connection a slot; `None` if there is none.
    pub(super) fn insert(&mut self, connection: Connection) -> Option<ConnectionId> {
        if self.is_full() {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, connection: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.connection = Some(connection);
        Some(ConnectionId { index, generation: slot.generation })
    }

    /// The connection in a slot.
    #[inline]
    pub(super) fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index as usize)?.connection.as_mut()
    }

    /// The connection in a slot, to be looked at.
    #[inline]
    pub(super) fn peek(&self, index: u32) -> Option<&Connection> {
        self.slots.get(index as usize)?.connection.as_ref()
    }

    /// Asks for the cache lines of a slot.
    #[inline]
    pub(super) fn prefetch(&self, index: u32) {
        self.slots.get(index as usize).into_iter().for_each(prefetch_all);
    }

    /// The connection of a handle, if that is not stale.
    #[inline]
    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.index as usize)?;
        slot.connection.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// The connection of a handle, to be looked at.
    pub(super) fn look(&self, id: ConnectionId) -> Option<&Connection> {
        let slot = self.slots.get(id.index as usize)?;
        slot.connection.as_ref().filter(|_| slot.generation == id.generation)
    }

    /// The handle of the connection in a slot.
    pub(super) fn id(&self, index: u32) -> ConnectionId {
        ConnectionId { index, generation: self.slots[index as usize].generation }
    }

    /// Takes the connection out of a slot.
    pub(super) fn free(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.connection.take().is_some() {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
        }
    }
}

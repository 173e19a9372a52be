//! The receiving half of a connection: what was received and not yet read, the window, what to SACK.
//!
//! All payloads of a connection lie in one list in the order of their sequence numbers, none overlapping
//! another: first those in order, which the application may read, then those behind a gap. The latter
//! form blocks, kept in another list, the one that a segment last came for first. Thus a segment that
//! fills a gap moves no chunk, and SACK blocks are told off the list's front.
//!
//! Where a segment overlaps what is held, the copy received first stays. One exception: a payload cannot
//! be split, so a block that lies wholly inside a new segment gives way to it. Nothing of it was read, so
//! the application sees one copy of each byte in any case.
//!
//! Receive credit is explicit: bytes count against the window from when they are in order until
//! [`Receiver::release`], not until they are read.

mod arrival;
mod autotune;
mod place;
mod pools;
mod sack;
#[cfg(test)]
mod tests;
mod window;

use wire::Payload;

use crate::budget::Budget;
use crate::pool::{List, NodeId};
use crate::{Micros, ReceiveWindow, SeqNumber, Window};
use autotune::AutoTune;

pub use arrival::{Arrival, Outcome};
pub use pools::{Limits, Pools};

/// The receiving half of one connection. [`Receiver::clear`] it before it is dropped, or its nodes are
/// lost to the pools.
#[derive(Debug)]
pub struct Receiver {
    /// RCV.NXT.
    next: SeqNumber,
    /// The right edge of the window, as last advertised or past it: RCV.NXT + RCV.WND. Never moves left.
    edge: SeqNumber,
    /// Bytes in order that were not released yet.
    used: u32,
    /// Bytes of the receive buffer.
    limit: u32,
    /// All payloads, by sequence number.
    chunks: List,
    /// The last chunk that is in order; `None` if all of these were read.
    last_in_order: Option<NodeId>,
    /// What is out of order, the newest first.
    blocks: List,
    /// Payloads that were read but not released yet.
    lent: u32,
    /// The sequence number of the FIN, if one was received.
    fin_at: SeqNumber,
    fin: Fin,
    /// The shift of the window's scale.
    scale: u8,
    /// The application has set the size of the buffer: it is not tuned.
    fixed: bool,
    /// Duplicate data to report: how many bytes, from `dsack_start` on.
    dsack_len: u16,
    dsack_start: SeqNumber,
    tuning: AutoTune,
}

const _: () = assert!(size_of::<Receiver>() <= 68 + size_of::<AutoTune>());

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fin {
    Unknown,
    /// Received, but data before it is missing.
    Known,
    /// RCV.NXT is past it.
    Reached,
}

impl Receiver {
    /// A receiver that expects `next`, and takes `granted` bytes: what the peer was told in the handshake,
    /// or more. `scale` is the shift of its window from now on (0 if the peer does not scale).
    pub fn new(limits: &Limits, next: SeqNumber, granted: u32, scale: u8, now: Micros) -> Self {
        let edge = next + granted;
        Receiver {
            next,
            edge,
            used: 0,
            limit: limits.initial,
            chunks: List::default(),
            last_in_order: None,
            blocks: List::default(),
            lent: 0,
            fin_at: next,
            fin: Fin::Unknown,
            scale,
            fixed: false,
            dsack_len: 0,
            dsack_start: next,
            tuning: AutoTune::new(next, edge, now),
        }
    }

    /// RCV.NXT: what to acknowledge.
    pub const fn next(&self) -> SeqNumber {
        self.next
    }

    /// RCV.NXT and RCV.WND, for the check of a segment's acceptability.
    pub const fn receive_window(&self) -> ReceiveWindow {
        ReceiveWindow { next: self.next, window: Window::new(self.edge.distance_from(self.next)) }
    }

    /// Bytes in order that were not released yet.
    pub const fn used(&self) -> u32 {
        self.used
    }

    /// Whether there is something to read.
    pub const fn is_readable(&self) -> bool {
        self.last_in_order.is_some()
    }

    /// Whether the FIN and all before it was received, and all was read.
    pub fn is_finished(&self) -> bool {
        self.fin == Fin::Reached && !self.is_readable()
    }

    /// Whether the FIN and all before it was received.
    pub fn has_fin(&self) -> bool {
        self.fin == Fin::Reached
    }

    /// Moves the next payload out. It counts against the window until it is released.
    #[inline]
    pub fn read<B: Payload>(&mut self, pools: &mut Pools<B>) -> Option<B> {
        let last = self.last_in_order?;
        if self.chunks.first() == Some(last) {
            self.last_in_order = None;
        }
        let chunk = pools.chunks.pop_front(&mut self.chunks)?;
        self.lent += 1;
        Some(chunk.bytes)
    }

    /// The payloads in order that were not read yet.
    pub fn readable<'a, B: Payload>(&self, pools: &'a Pools<B>) -> impl Iterator<Item = &'a B> {
        let mut last = self.last_in_order;
        pools.chunks.iter(&self.chunks).map_while(move |(id, chunk)| {
            let more = last?;
            last = (id != more).then_some(more);
            Some(&chunk.bytes)
        })
    }

    /// Drops the next `n` bytes, or all that are in order if there are fewer: as if they were read and
    /// released.
    pub fn consume<B: Payload>(&mut self, pools: &mut Pools<B>, n: u32) {
        let mut left = n;
        while let Some(last) = self.last_in_order.filter(|_| left > 0)
            && let Some(first) = self.chunks.first()
        {
            let chunk = pools.chunks.get_mut(first);
            let len = chunk.bytes.len() as u32;
            let taken = len.min(left);
            if taken < len {
                chunk.start += taken;
                chunk.bytes.advance(taken as usize);
            } else {
                pools.chunks.pop_front(&mut self.chunks);
                self.last_in_order = (first != last).then_some(last);
            }
            left -= taken;
            self.used = self.used.saturating_sub(taken);
        }
    }

    /// Sets the size of the buffer in bytes, within bounds, once and for all.
    pub fn set_buffer(&mut self, limits: &Limits, budget: &mut Budget, bytes: u32) {
        self.give_back(limits, budget);
        self.fixed = true;
        self.limit = bytes.clamp(1 << self.scale, limits.max);
    }

    /// The size that [`set_buffer`](Self::set_buffer) has set.
    pub fn fixed_buffer(&self) -> Option<u32> {
        self.fixed.then_some(self.limit)
    }

    /// Gives `budget` back what the buffer had grown by.
    fn give_back(&mut self, limits: &Limits, budget: &mut Budget) {
        if !self.fixed {
            budget.give(self.limit - limits.initial);
            self.limit = limits.initial;
        }
    }

    /// Takes back the credit of `bytes` that were read, and of `payloads` that were dropped or moved on.
    /// The bytes of a payload that is read piece by piece can be released before it is.
    pub const fn release(&mut self, payloads: u32, bytes: u32) {
        self.lent = self.lent.saturating_sub(payloads);
        self.used = self.used.saturating_sub(bytes);
    }

    /// Drops all that is held, and gives `budget` back what the buffer had grown by. What is lent stays
    /// counted.
    pub fn clear<B: Payload>(&mut self, pools: &mut Pools<B>, budget: &mut Budget) {
        pools.chunks.clear(&mut self.chunks);
        pools.blocks.clear(&mut self.blocks);
        self.last_in_order = None;
        self.give_back(pools.limits(), budget);
    }

    /// Payloads that it pins: those queued and those lent.
    const fn pinned(&self) -> u64 {
        self.chunks.len() as u64 + self.lent as u64
    }
}

//! The TIME-WAIT table: connections of which little more is left than their last ACK.

mod record;

#[cfg(test)]
mod tests;

use std::time::Duration;

use wire::Instant;

use crate::demux::{FlowKey, FlowTable};
use crate::{Segment, Tick};

pub use record::{ConnectionTimestamps, Disposition, Reuse, TimeWait};

/// The bounds of a [`TimeWaitTable`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeWaitLimits {
    /// The most connections. The oldest makes place for one more.
    pub capacity: usize,
    /// How long a connection stays: 2 MSL, a day at most.
    pub linger: Duration,
}

impl Default for TimeWaitLimits {
    /// 2^16 connections; a minute, as Linux has it.
    //= RFC 9293 section 3.4.2: the MSL is two minutes, an engineering choice that may be changed.
    fn default() -> Self {
        TimeWaitLimits { capacity: 1 << 16, linger: Duration::from_secs(60) }
    }
}

const NONE: u32 = u32::MAX;
/// The most entries that one call of [`TimeWaitTable::expire`] removes.
const EXPIRE_BATCH: usize = 64;
//= RFC 6191 section 3 and RFC 7323 section 5.4: a timestamp clock ticks once a second at least, so that
//= after a second, a new TSval is past all old ones.
/// How long a connection must have been quiet before a connect may take over its flow.
const QUIET_BEFORE_REUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    record: TimeWait,
    /// When it leaves.
    expiry: Tick,
    /// The next one to leave; among free entries, the next free one.
    newer: u32,
    older: u32,
}

// With the 13 bytes that an entry of the flow table takes, no more than a cache line.
const _: () = assert!(size_of::<Entry>() + FlowTable::BYTES_PER_ENTRY <= 64);

/// The connections of a shard that are in TIME-WAIT.
///
/// All stay equally long, so they are one queue by age. Memory is touched when first used.
#[derive(Debug)]
pub struct TimeWaitTable {
    flows: FlowTable,
    entries: Vec<Entry>,
    free: u32,
    oldest: u32,
    newest: u32,
    limits: TimeWaitLimits,
    recycled: u64,
}

impl TimeWaitTable {
    /// An empty table. `seed` is for its [`FlowTable`].
    ///
    /// # Panics
    /// If the capacity is 0, or 2^32 - 1 or more.
    pub fn new(limits: TimeWaitLimits, seed: u64) -> Self {
        assert!((1..NONE as usize).contains(&limits.capacity), "a capacity of 1 to 2^32 - 2");
        TimeWaitTable {
            flows: FlowTable::new(limits.capacity, seed),
            entries: Vec::with_capacity(limits.capacity),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            limits,
            recycled: 0,
        }
    }

    /// How many connections are in it.
    pub const fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// How many connections left before their time because the table was full.
    pub const fn recycled(&self) -> u64 {
        self.recycled
    }

    /// Whether the flow is in TIME-WAIT.
    pub fn contains(&self, key: &FlowKey) -> bool {
        self.find(key).is_some()
    }

    /// What a connect over this flow must know, if it is in TIME-WAIT and timestamps make it safe to take
    /// the flow over: the connection has them, and has been quiet for a second. `None` means that the flow
    /// is free or must be left alone: see [`TimeWaitTable::contains`].
    pub fn reuse_for_connect(&self, now: Instant, key: &FlowKey) -> Option<Reuse> {
        let entry = &self.entries[self.find(key)? as usize];
        entry.record.timestamps?;
        let left = entry.expiry.since(Tick::at(now));
        (left + QUIET_BEFORE_REUSE <= self.limits.linger).then(|| entry.record.reuse())
    }

    /// When the oldest leaves.
    pub fn next_deadline(&self) -> Option<Tick> {
        (self.oldest != NONE).then(|| self.entries[self.oldest as usize].expiry)
    }

    /// A connection enters TIME-WAIT. A record that its flow has already is replaced.
    pub fn insert(&mut self, now: Instant, record: TimeWait) {
        self.remove(&record.key);
        if self.len() == self.limits.capacity {
            self.remove_at(self.oldest);
            self.recycled += 1;
        }
        let id = self.take_entry(record);
        let inserted = self.flows.insert(&record.key, id);
        debug_assert!(inserted.is_ok(), "both have the same capacity");
        self.append(now, id);
    }

    /// A connection leaves TIME-WAIT early: a new one has taken over its flow. Gives whether it was there.
    pub fn remove(&mut self, key: &FlowKey) -> bool {
        let found = self.find(key);
        found.map(|id| self.remove_at(id)).is_some()
    }

    /// A segment arrives for a flow that has no connection. Gives what is to be done, and the record for
    /// the ACK, if there is one to be sent; `None` if the flow is not in TIME-WAIT.
    pub fn handle_segment(&mut self, now: Instant, segment: &Segment) -> Option<(Disposition, TimeWait)> {
        let id = self.find(&FlowKey::of(segment))?;
        let record = &mut self.entries[id as usize].record;
        let disposition = record.on_segment(segment);
        if disposition == Disposition::Ack {
            //= RFC 7323 section 4.3, (2): the ACK echoes the segment that it answers.
            if let Some((ours, theirs)) = record.timestamps.as_mut().zip(segment.options.timestamps) {
                ours.recent = theirs.value;
            }
            self.unlink(id);
            self.append(now, id);
        }
        Some((disposition, self.entries[id as usize].record))
    }

    /// Removes connections whose time is over, 64 at most: if [`TimeWaitTable::next_deadline`] is still
    /// due, there are more. Gives how many it removed.
    pub fn expire(&mut self, now: Instant) -> usize {
        let now = Tick::at(now);
        for removed in 0..EXPIRE_BATCH {
            if self.next_deadline().is_none_or(|expiry| !expiry.is_due(now)) {
                return removed;
            }
            self.remove_at(self.oldest);
        }
        EXPIRE_BATCH
    }

    fn find(&self, key: &FlowKey) -> Option<u32> {
        self.flows.lookup(key, |id| self.entries[id as usize].record.key == *key)
    }

    /// A free entry, for `record`. There is one.
    fn take_entry(&mut self, record: TimeWait) -> u32 {
        if self.free == NONE {
            self.entries.push(Entry { record, expiry: Tick::default(), newer: NONE, older: NONE });
            return self.entries.len() as u32 - 1;
        }
        let id = self.free;
        let entry = &mut self.entries[id as usize];
        self.free = entry.newer;
        entry.record = record;
        id
    }

    fn remove_at(&mut self, id: u32) {
        self.unlink(id);
        let entry = &mut self.entries[id as usize];
        self.flows.remove(&entry.record.key, id);
        entry.newer = std::mem::replace(&mut self.free, id);
    }

    /// Makes `id` the newest, with all of its time before it.
    fn append(&mut self, now: Instant, id: u32) {
        let older = std::mem::replace(&mut self.newest, id);
        let entry = &mut self.entries[id as usize];
        entry.expiry = Tick::after(now, self.limits.linger);
        (entry.older, entry.newer) = (older, NONE);
        match older {
            NONE => self.oldest = id,
            older => self.entries[older as usize].newer = id,
        }
    }

    /// Takes `id` out of the queue.
    fn unlink(&mut self, id: u32) {
        let Entry { older, newer, .. } = self.entries[id as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
    }
}

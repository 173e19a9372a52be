//! The SYN queue: handshakes that wait for their last ACK, and the retransmission of their SYN-ACKs.
//!
//! Every operation is O(1). Handshakes lie in slots, found by flow through a chained hash table whose
//! links lie in the slots. Those whose SYN-ACK was sent equally often wait equally long for the next, so a
//! list for each count, new ones at its end, is in order of their deadlines.

use std::net::SocketAddrV4;
use std::time::Duration;

use wire::Instant;

use super::{HalfOpen, Purpose, SipKey};
use crate::{Segment, SeqNumber, Tick};

/// No slot: the end of a list.
const NIL: u32 = u32::MAX;
/// Instead of `older`: the slot is free.
const FREE: u32 = u32::MAX - 1;

/// Bounds and times of a [`SynQueue`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SynQueueConfig {
    /// Handshakes in all.
    pub entries: u32,
    /// Listeners: they have the numbers from 0 on.
    pub listeners: u32,
    /// How often a SYN-ACK is sent again, [`SynQueue::MAX_RETRIES`] at most.
    pub retries: u8,
    /// How long the first SYN-ACK waits for an answer. Each later one waits twice as long as that before.
    pub first_timeout: Duration,
}

impl Default for SynQueueConfig {
    //= RFC 6298 section 2.1: before a round trip was measured, the timeout is 1 second.
    /// As Linux has it: a handshake is given up after 63 s.
    fn default() -> Self {
        SynQueueConfig { entries: 4096, listeners: 64, retries: 5, first_timeout: Duration::from_secs(1) }
    }
}

/// A handshake's place in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SynId(u32);

/// Why a handshake was not taken. Its SYN may be answered with a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// The listener has as many as its backlog allows.
    Backlog,
    /// The queue has as many as it may hold.
    Queue,
}

/// A handshake whose time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Send its SYN-ACK again.
    Resend(HalfOpen),
    /// Nobody answered the last one: it was removed.
    GivenUp(HalfOpen),
}

#[derive(Clone, Copy)]
struct Slot {
    half_open: HalfOpen,
    deadline: Tick,
    /// Those just before and just after it in its list.
    older: u32,
    newer: u32,
    /// The next of its bucket; in a free slot, the next free slot.
    next: u32,
}

// With its share of the buckets, of which there are no more than slots.
const _: () = assert!(size_of::<Slot>() + size_of::<u32>() <= 64);

#[derive(Clone, Copy)]
struct Fifo {
    oldest: u32,
    newest: u32,
}

/// Handshakes that wait for their last ACK. Nothing is allocated after construction.
pub struct SynQueue {
    config: SynQueueConfig,
    key: SipKey,
    /// As many as were ever in use at once.
    slots: Vec<Slot>,
    free: u32,
    len: u32,
    /// The first slot of each bucket.
    buckets: Box<[u32]>,
    /// For each count of retries, those who wait.
    fifos: [Fifo; SynQueue::MAX_RETRIES as usize + 1],
    /// Handshakes of each listener.
    of_listener: Box<[u32]>,
}

impl SynQueue {
    /// The most retries that can be configured.
    pub const MAX_RETRIES: u8 = 7;

    /// An empty queue; the secret `key` keeps strangers from filling one bucket.
    ///
    /// # Panics
    /// If there are to be no entries, or 2^31 or more, or more retries than [`SynQueue::MAX_RETRIES`].
    pub fn new(config: SynQueueConfig, key: [u8; 16]) -> Self {
        let SynQueueConfig { entries, listeners, retries, .. } = config;
        assert!(entries > 0 && entries < 1 << 31, "a SYN queue has 1 to 2^31 - 1 entries");
        assert!(retries <= Self::MAX_RETRIES, "a SYN-ACK is sent again 7 times at most");
        SynQueue {
            config,
            key: SipKey::new(key),
            slots: Vec::with_capacity(entries as usize),
            free: NIL,
            len: 0,
            // One or two handshakes a bucket when the queue is full.
            buckets: vec![NIL; 1 << entries.ilog2()].into(),
            fifos: [Fifo { oldest: NIL, newest: NIL }; Self::MAX_RETRIES as usize + 1],
            of_listener: vec![0; listeners as usize].into(),
        }
    }

    /// How many handshakes are in it.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many handshakes of a listener are in it.
    ///
    /// # Panics
    /// If the listener's number is past the bound.
    pub fn len_of(&self, listener: u32) -> u32 {
        self.of_listener[listener as usize]
    }

    /// The handshake of a flow.
    pub fn find(&self, local: SocketAddrV4, remote: SocketAddrV4) -> Option<SynId> {
        let mut at = self.buckets[self.bucket(local, remote)];
        while at != NIL {
            let Slot { half_open, next, .. } = &self.slots[at as usize];
            if half_open.local == local && half_open.remote == remote {
                return Some(SynId(at));
            }
            at = *next;
        }
        None
    }

    /// A handshake.
    ///
    /// # Panics
    /// If it is not in the queue any more (unless another has taken its place).
    pub fn get(&self, id: SynId) -> &HalfOpen {
        let slot = &self.slots[id.0 as usize];
        assert!(slot.older != FREE, "a handshake in the queue");
        &slot.half_open
    }

    /// Takes a handshake, whose SYN-ACK is sent at `now`, for a listener that allows `backlog` of them. Its
    /// flow must not be in the queue. `now` must not run backwards from one call to the next.
    ///
    /// # Errors
    /// [`Full`], if there is no room.
    ///
    /// # Panics
    /// If the listener's number is past the bound.
    pub fn insert(&mut self, now: Instant, half_open: HalfOpen, backlog: u32) -> Result<SynId, Full> {
        debug_assert!(self.find(half_open.local, half_open.remote).is_none(), "a flow has one handshake");
        if self.len_of(half_open.listener) >= backlog {
            return Err(Full::Backlog);
        }
        if self.len == self.config.entries {
            return Err(Full::Queue);
        }
        let id = self.take_slot(half_open);
        self.len += 1;
        self.of_listener[half_open.listener as usize] += 1;
        self.index(id);
        self.wait(now, id);
        Ok(SynId(id))
    }

    /// Takes a handshake out.
    ///
    /// # Panics
    /// As [`SynQueue::get`] does.
    pub fn remove(&mut self, id: SynId) -> HalfOpen {
        let half_open = *self.get(id);
        self.stop_waiting(id.0);
        self.unindex(id.0);
        let slot = &mut self.slots[id.0 as usize];
        slot.older = FREE;
        slot.next = self.free;
        self.free = id.0;
        self.len -= 1;
        self.of_listener[half_open.listener as usize] -= 1;
        half_open
    }

    /// Takes note that `syn` came again, and gives the handshake whose SYN-ACK is to be sent again in
    /// answer. Its deadline stays, so that SYNs do not keep it alive.
    pub fn on_syn_again(&mut self, id: SynId, syn: &Segment) -> HalfOpen {
        let half_open = &mut self.slots[id.0 as usize].half_open;
        half_open.marks |= HalfOpen::RESENT;
        //= RFC 7323 section 4.3 (2): a later timestamp of a segment that covers Last.ACK.sent is kept.
        // The first SYN's would tell the peer a round trip as long as it had to try.
        if let Some(timestamps) = syn.options.timestamps
            && SeqNumber::new(timestamps.value).after(SeqNumber::new(half_open.ts_recent))
        {
            half_open.ts_recent = timestamps.value;
        }
        *half_open
    }

    /// Takes note that the ACK has come, and the listener waits for data: see [`HalfOpen::was_deferred`].
    pub fn defer(&mut self, id: SynId) {
        self.slots[id.0 as usize].half_open.marks |= HalfOpen::DEFERRED;
    }

    /// Whether a handshake may send a challenge ACK; if so, it is taken as sent. One is allowed for each
    /// time that the SYN-ACK is sent for want of an answer: see [`super::ChallengeLimiter`].
    pub fn may_challenge(&mut self, id: SynId) -> bool {
        let half_open = &mut self.slots[id.0 as usize].half_open;
        let may = !half_open.has(HalfOpen::CHALLENGED);
        half_open.marks |= HalfOpen::CHALLENGED;
        may
    }

    /// When [`SynQueue::pop_due`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        let first = self.fifos.iter().filter(|fifo| fifo.oldest != NIL);
        first.map(|fifo| self.slots[fifo.oldest as usize].deadline).reduce(Tick::min)
    }

    /// A handshake whose time has come at `now`; to be called until there is none.
    pub fn pop_due(&mut self, now: Instant) -> Option<Due> {
        let tick = Tick::at(now);
        let mut first = self.fifos.iter().map(|fifo| fifo.oldest);
        let id = first.find(|id| *id != NIL && self.slots[*id as usize].deadline.is_due(tick))?;
        //= RFC 9293 section 3.10.8: on a retransmission timeout, send the segment at the front of the
        //= retransmission queue again; RFC 6298 section 5.5: and double the timeout.
        if self.slots[id as usize].half_open.retries == self.config.retries {
            return Some(Due::GivenUp(self.remove(SynId(id))));
        }
        self.stop_waiting(id);
        let half_open = &mut self.slots[id as usize].half_open;
        half_open.retries += 1;
        half_open.marks &= !HalfOpen::CHALLENGED;
        let half_open = *half_open;
        self.wait(now, id);
        Some(Due::Resend(half_open))
    }

    /// Drops all handshakes of a listener that is closed. Looks at every one: O(n).
    pub fn close_listener(&mut self, listener: u32) {
        for id in 0..self.slots.len() as u32 {
            let slot = &self.slots[id as usize];
            if slot.older != FREE && slot.half_open.listener == listener {
                self.remove(SynId(id));
            }
        }
    }

    /// Puts a handshake into a slot, in no list yet.
    fn take_slot(&mut self, half_open: HalfOpen) -> u32 {
        let slot = Slot { half_open, deadline: Tick::default(), older: NIL, newer: NIL, next: NIL };
        if self.free == NIL {
            self.slots.push(slot);
            return self.slots.len() as u32 - 1;
        }
        let id = self.free;
        self.free = std::mem::replace(&mut self.slots[id as usize], slot).next;
        id
    }

    /// Puts a handshake at the end of the list of its count of retries.
    fn wait(&mut self, now: Instant, id: u32) {
        let retries = self.slots[id as usize].half_open.retries;
        let timeout = self.config.first_timeout.saturating_mul(1 << retries);
        let older = std::mem::replace(&mut self.fifos[usize::from(retries)].newest, id);
        let slot = &mut self.slots[id as usize];
        slot.deadline = Tick::after(now, timeout);
        (slot.older, slot.newer) = (older, NIL);
        match older {
            NIL => self.fifos[usize::from(retries)].oldest = id,
            older => self.slots[older as usize].newer = id,
        }
    }

    /// Takes a handshake out of its list.
    fn stop_waiting(&mut self, id: u32) {
        let Slot { older, newer, half_open, .. } = self.slots[id as usize];
        let fifo = &mut self.fifos[usize::from(half_open.retries)];
        match older {
            NIL => fifo.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NIL => fifo.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
    }

    fn bucket(&self, local: SocketAddrV4, remote: SocketAddrV4) -> usize {
        self.key.hash_flow(Purpose::SynQueue, local, remote, 0) as usize & (self.buckets.len() - 1)
    }

    /// Puts a handshake into its bucket.
    fn index(&mut self, id: u32) {
        let HalfOpen { local, remote, .. } = self.slots[id as usize].half_open;
        let bucket = self.bucket(local, remote);
        self.slots[id as usize].next = std::mem::replace(&mut self.buckets[bucket], id);
    }

    /// Takes a handshake out of its bucket.
    fn unindex(&mut self, id: u32) {
        let Slot { half_open: HalfOpen { local, remote, .. }, next, .. } = self.slots[id as usize];
        let bucket = self.bucket(local, remote);
        let mut at = self.buckets[bucket];
        if at == id {
            self.buckets[bucket] = next;
            return;
        }
        while self.slots[at as usize].next != id {
            at = self.slots[at as usize].next;
        }
        self.slots[at as usize].next = next;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::Options;
    use crate::Timestamps;
    use crate::listen::half_open::tests::half_open;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn remote(n: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), n)
    }

    fn handshake(n: u16, listener: u32) -> HalfOpen {
        HalfOpen { remote: remote(n), listener, ..half_open(at(0), &Options::default()) }
    }

    fn queue(entries: u32) -> SynQueue {
        SynQueue::new(SynQueueConfig { entries, listeners: 4, ..SynQueueConfig::default() }, [3; 16])
    }

    fn find(queue: &SynQueue, n: u16) -> Option<SynId> {
        queue.find(handshake(n, 0).local, remote(n))
    }

    #[test]
    fn a_syn_ack_is_sent_at_0_1_3_7_15_and_31_seconds() {
        let mut queue = queue(4);
        queue.insert(at(0), handshake(1, 0), 9).unwrap();
        let mut seen = Vec::new();
        for ms in 0..70_000 {
            while let Some(due) = queue.pop_due(at(ms)) {
                seen.push((ms, matches!(due, Due::Resend(_))));
            }
        }
        let want =
            [(1001, true), (3002, true), (7003, true), (15_004, true), (31_005, true), (63_006, false)];
        // A tick begins at its deadline or later, so each wait may be a millisecond longer.
        for (got, want) in seen.iter().zip(want) {
            assert!(got.0.abs_diff(want.0) <= 6 && got.1 == want.1, "{seen:?}");
        }
        assert_eq!((seen.len(), queue.len(), queue.next_deadline()), (6, 0, None));
    }

    #[test]
    fn bounds_of_queue_and_backlog() {
        let mut queue = queue(3);
        queue.insert(at(0), handshake(1, 0), 2).unwrap();
        queue.insert(at(0), handshake(2, 0), 2).unwrap();
        assert_eq!(queue.insert(at(0), handshake(3, 0), 2), Err(Full::Backlog));
        assert_eq!(queue.insert(at(0), handshake(3, 1), 0), Err(Full::Backlog));
        queue.insert(at(0), handshake(3, 1), 2).unwrap();
        assert_eq!(queue.insert(at(0), handshake(4, 1), 2), Err(Full::Queue));
        assert_eq!((queue.len_of(0), queue.len_of(1), queue.len()), (2, 1, 3));
        let id = find(&queue, 1).unwrap();
        assert_eq!(queue.remove(id), handshake(1, 0));
        queue.insert(at(0), handshake(4, 1), 2).unwrap();
        queue.close_listener(1);
        assert_eq!((queue.len_of(0), queue.len_of(1), queue.len()), (1, 0, 1));
        assert!(find(&queue, 2).is_some() && find(&queue, 3).is_none() && find(&queue, 4).is_none());
    }

    #[test]
    #[should_panic(expected = "a handshake in the queue")]
    fn what_was_removed_is_gone() {
        let mut queue = queue(3);
        let id = queue.insert(at(0), handshake(1, 0), 2).unwrap();
        queue.remove(id);
        queue.get(id);
    }

    #[test]
    fn one_challenge_for_each_syn_ack() {
        let mut queue = queue(3);
        let id = queue.insert(at(0), handshake(1, 0), 2).unwrap();
        assert_eq!([queue.may_challenge(id), queue.may_challenge(id)], [true, false]);
        assert_eq!(queue.pop_due(at(999)), None);
        assert!(queue.pop_due(at(1001)).is_some());
        assert_eq!([queue.may_challenge(id), queue.may_challenge(id)], [true, false]);
    }

    #[test]
    fn a_syn_ack_sent_twice_gives_no_sample() {
        let mut queue = queue(3);
        let id = queue.insert(at(0), handshake(1, 0), 2).unwrap();
        let ack = crate::segment::tests::segment(1, 1, wire::TcpFlags::ACK, b"");
        assert_eq!(queue.get(id).rtt_sample(at(20), &ack), Some(20_000));
        let mut syn = crate::segment::tests::segment(0, 0, wire::TcpFlags::SYN, b"");
        assert_eq!(queue.on_syn_again(id, &syn), *queue.get(id));
        assert_eq!(queue.get(id).rtt_sample(at(20), &ack), None);
        // It is the latest SYN whose timestamp is echoed, not one that comes late.
        let first = queue.get(id).ts_recent;
        for (value, want) in [(first + 9, first + 9), (first + 8, first + 9)] {
            syn.options.timestamps = Some(Timestamps { value, echo: 0 });
            assert_eq!(queue.on_syn_again(id, &syn).ts_recent, want);
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u16, u32),
        Remove(u16),
        Wait(u64),
        Close(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0..24u16, 0..3u32).prop_map(|(n, listener)| Op::Insert(n, listener)),
            3 => (0..24u16).prop_map(Op::Remove),
            4 => (0..4000u64).prop_map(Op::Wait),
            1 => (0..3u32).prop_map(Op::Close),
        ]
    }

    proptest! {
        /// The twin is a list of handshakes with their deadlines, searched for everything.
        #[test]
        fn agrees_with_its_twin(
            entries in 1..20u32, backlog in 1..10u32, retries in 0..=3u8,
            ops in proptest::collection::vec(op(), 0..200),
        ) {
            let first_timeout = Duration::from_millis(1000);
            let config = SynQueueConfig { entries, listeners: 3, retries, first_timeout };
            let mut queue = SynQueue::new(config, [3; 16]);
            let mut twin: Vec<(Tick, HalfOpen)> = Vec::new();
            let mut millis = 0;
            for op in ops {
                match op {
                    Op::Insert(n, listener) if !twin.iter().any(|(_, h)| h.remote == remote(n)) => {
                        let mine = twin.iter().filter(|(_, h)| h.listener == listener).count();
                        let want = if mine >= backlog as usize {
                            Err(Full::Backlog)
                        } else if twin.len() == entries as usize {
                            Err(Full::Queue)
                        } else {
                            twin.push((Tick::after(at(millis), first_timeout), handshake(n, listener)));
                            Ok(())
                        };
                        let got = queue.insert(at(millis), handshake(n, listener), backlog);
                        prop_assert_eq!(got.map(|_| ()), want);
                    }
                    Op::Insert(..) => {}
                    Op::Remove(n) => {
                        let want = twin.iter().position(|(_, h)| h.remote == remote(n));
                        let got = find(&queue, n).map(|id| queue.remove(id));
                        prop_assert_eq!(got, want.map(|i| twin.swap_remove(i).1));
                    }
                    Op::Wait(ms) => millis += ms,
                    Op::Close(listener) => {
                        queue.close_listener(listener);
                        twin.retain(|(_, h)| h.listener != listener);
                    }
                }
                let now = at(millis);
                while let Some(due) = queue.pop_due(now) {
                    let (Due::Resend(got) | Due::GivenUp(got)) = due;
                    let i = twin.iter().position(|(_, h)| h.remote == got.remote).unwrap();
                    prop_assert!(twin[i].0.is_due(Tick::at(now)));
                    if twin[i].1.retries == retries {
                        prop_assert_eq!(due, Due::GivenUp(twin.swap_remove(i).1));
                    } else {
                        twin[i].1.retries += 1;
                        twin[i].0 = Tick::after(now, first_timeout * (1 << twin[i].1.retries));
                        prop_assert_eq!(due, Due::Resend(twin[i].1));
                    }
                }
                prop_assert!(!twin.iter().any(|(deadline, _)| deadline.is_due(Tick::at(now))));
                prop_assert_eq!(queue.next_deadline(), twin.iter().map(|(d, _)| *d).reduce(Tick::min));
                prop_assert_eq!(queue.len(), twin.len());
                for n in 0..24 {
                    let want = twin.iter().find(|(_, h)| h.remote == remote(n)).map(|(_, h)| h);
                    prop_assert_eq!(find(&queue, n).map(|id| queue.get(id)), want);
                }
                for listener in 0..3 {
                    let want = twin.iter().filter(|(_, h)| h.listener == listener).count();
                    prop_assert_eq!(queue.len_of(listener) as usize, want);
                }
            }
        }
    }
}

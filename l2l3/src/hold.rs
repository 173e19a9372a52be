//! Packets that wait for a neighbour's Ethernet address: one bounded queue per worker.
//!
//! The queue of one neighbour keeps the newest packets, and so does the whole: past a bound the oldest
//! packet is dropped, as Linux does (RFC 1122 section 2.3.2.2 asks to save the latest one at least).
//! Under an address scan that is a packet to a host that is not there, since those that are there answer
//! within milliseconds.
//!
//! Nothing is allocated after construction: frames lie in a slab, neighbours in a chained hash table
//! whose links lie in a slab of their own. Every frame is in two lists, its neighbour's and that of all
//! frames by age, both from oldest to newest.

use std::time::Duration;

use wire::Instant;

use crate::neighbour::Key;

/// No slot: the end of a list.
const NIL: u32 = u32::MAX;

/// The bounds of a [`HoldQueue`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HoldLimits {
    /// Frames held for one neighbour.
    pub per_neighbour: u32,
    /// Frames held in all.
    pub total: u32,
    /// How long a frame is held at most, whatever becomes of the neighbour.
    pub max_age: Duration,
    /// The least time between two requests to resolve the same neighbour.
    pub ask_again: Duration,
}

impl Default for HoldLimits {
    fn default() -> Self {
        HoldLimits {
            per_neighbour: 16,
            total: 1024,
            max_age: Duration::from_secs(5),
            ask_again: Duration::from_secs(1),
        }
    }
}

/// What became of a push.
#[derive(Debug)]
#[must_use = "a dropped frame has to be counted"]
pub struct Outcome<F> {
    /// Tell the neighbour table that packets wait.
    pub ask: bool,
    /// The frame that made room, if one had to: the oldest of its neighbour's, or of all.
    pub dropped: Option<F>,
}

struct Slot<F> {
    /// `None` in a free slot.
    frame: Option<F>,
    since: Instant,
    /// The queue it is in.
    queue: u32,
    /// The next frame of the same neighbour; in a free slot, the next free slot.
    next: u32,
    /// The frames that came just before and just after it, of whatever neighbour.
    older: u32,
    newer: u32,
}

struct Queue {
    key: Key,
    head: u32,
    tail: u32,
    len: u32,
    asked: Instant,
    /// The next queue of the same bucket; in a free queue, the next free queue.
    next: u32,
}

/// Frames that wait for neighbours.
pub struct HoldQueue<F> {
    limits: HoldLimits,
    slots: Box<[Slot<F>]>,
    free_slot: u32,
    oldest: u32,
    newest: u32,
    held: u32,
    /// One for each slot, since a queue holds one frame at least.
    queues: Box<[Queue]>,
    free_queue: u32,
    /// The first queue of each bucket.
    buckets: Box<[u32]>,
}

impl<F> HoldQueue<F> {
    /// An empty queue.
    ///
    /// # Panics
    /// If `per_neighbour` or `total` is zero, or `total` is 2^31 or more.
    pub fn new(limits: HoldLimits) -> Self {
        let HoldLimits { per_neighbour, total, .. } = limits;
        assert!(per_neighbour > 0 && total > 0 && total < 1 << 31, "hold limits are 1 to 2^31 - 1");
        let after = |i: u32| if i + 1 < total { i + 1 } else { NIL };
        let slot = |i| Slot {
            frame: None,
            since: Instant::ZERO,
            queue: NIL,
            next: after(i),
            older: NIL,
            newer: NIL,
        };
        let nobody = Key { iface: crate::interface::IfaceId(0), ip: std::net::Ipv4Addr::UNSPECIFIED };
        let queue =
            |i| Queue { key: nobody, head: NIL, tail: NIL, len: 0, asked: Instant::ZERO, next: after(i) };
        HoldQueue {
            limits,
            slots: (0..total).map(slot).collect(),
            free_slot: 0,
            oldest: NIL,
            newest: NIL,
            held: 0,
            queues: (0..total).map(queue).collect(),
            free_queue: 0,
            buckets: vec![NIL; (total as usize).next_power_of_two()].into(),
        }
    }

    /// How many frames are held.
    pub fn len(&self) -> usize {
        self.held as usize
    }

    /// Whether no frame is held.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// When [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        (self.oldest != NIL).then(|| self.slots[self.oldest as usize].since + self.limits.max_age)
    }

    /// Holds a frame for `key`. `now` must not run backwards from one push to the next.
    pub fn push(&mut self, now: Instant, key: Key, frame: F) -> Outcome<F> {
        let known = self.find(key);
        let victim = match known {
            Some(queue) if self.queues[queue as usize].len >= self.limits.per_neighbour => known,
            _ if self.free_slot == NIL => Some(self.slots[self.oldest as usize].queue),
            _ => None,
        };
        let dropped = victim.and_then(|queue| self.take_oldest(queue));
        // The frame's own queue stays, even if it is empty for now: it knows when it asked last.
        if let Some(queue) = victim.filter(|_| victim != known) {
            self.close_if_empty(queue);
        }
        let (queue, ask) = match known {
            Some(queue) => (queue, now.since(self.queues[queue as usize].asked) >= self.limits.ask_again),
            None => (self.open(key), true),
        };
        if ask {
            self.queues[queue as usize].asked = now;
        }
        self.append(now, queue, frame);
        Outcome { ask, dropped }
    }

    /// Moves the frames that wait for `key` to `out`, oldest first, as far as `out` has capacity.
    /// Gives how many are still held.
    pub fn release(&mut self, key: Key, out: &mut Vec<F>) -> usize {
        let Some(queue) = self.find(key) else { return 0 };
        let mut left = self.queues[queue as usize].len as usize;
        while left > 0 && out.len() < out.capacity() {
            out.extend(self.take_oldest(queue));
            left -= 1;
        }
        self.close_if_empty(queue);
        left
    }

    /// Moves the frames that were held for [`HoldLimits::max_age`] or longer to `out`, oldest first, as
    /// far as `out` has capacity. They are to be dropped.
    pub fn expire(&mut self, now: Instant, out: &mut Vec<F>) {
        while self.next_deadline().is_some_and(|due| due <= now) && out.len() < out.capacity() {
            let queue = self.slots[self.oldest as usize].queue;
            out.extend(self.take_oldest(queue));
            self.close_if_empty(queue);
        }
    }

    fn bucket(&self, key: Key) -> usize {
        // Fibonacci hashing. Neighbours of a network differ in the low bits of the address, which the
        // multiplication carries to the high ones.
        let bits = u64::from(key.iface.0) << 32 | u64::from(key.ip.to_bits());
        let hash = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> 32) as usize & (self.buckets.len() - 1)
    }

    fn find(&self, key: Key) -> Option<u32> {
        let mut at = self.buckets[self.bucket(key)];
        while at != NIL {
            let queue = &self.queues[at as usize];
            if queue.key == key {
                return Some(at);
            }
            at = queue.next;
        }
        None
    }

    /// An empty queue for `key`. There is one, as long as there is a free slot.
    fn open(&mut self, key: Key) -> u32 {
        let bucket = self.bucket(key);
        let index = self.free_queue;
        let queue = &mut self.queues[index as usize];
        self.free_queue = queue.next;
        *queue =
            Queue { key, head: NIL, tail: NIL, len: 0, asked: Instant::ZERO, next: self.buckets[bucket] };
        self.buckets[bucket] = index;
        index
    }

    fn close_if_empty(&mut self, index: u32) {
        if self.queues[index as usize].len > 0 {
            return;
        }
        let bucket = self.bucket(self.queues[index as usize].key);
        let after = std::mem::replace(&mut self.queues[index as usize].next, self.free_queue);
        self.free_queue = index;
        if self.buckets[bucket] == index {
            self.buckets[bucket] = after;
            return;
        }
        let mut at = self.buckets[bucket];
        while self.queues[at as usize].next != index {
            at = self.queues[at as usize].next;
        }
        self.queues[at as usize].next = after;
    }

    /// Adds a frame at the end of both lists. There must be a free slot.
    fn append(&mut self, now: Instant, queue: u32, frame: F) {
        let index = self.free_slot;
        let older = std::mem::replace(&mut self.newest, index);
        let slot = &mut self.slots[index as usize];
        self.free_slot = slot.next;
        *slot = Slot { frame: Some(frame), since: now, queue, next: NIL, older, newer: NIL };
        match older {
            NIL => self.oldest = index,
            older => self.slots[older as usize].newer = index,
        }
        let list = &mut self.queues[queue as usize];
        match std::mem::replace(&mut list.tail, index) {
            NIL => list.head = index,
            tail => self.slots[tail as usize].next = index,
        }
        list.len += 1;
        self.held += 1;
    }

    /// Takes the oldest frame of a queue, which has one, out of both lists.
    fn take_oldest(&mut self, queue: u32) -> Option<F> {
        let list = &mut self.queues[queue as usize];
        let index = list.head;
        let slot = &mut self.slots[index as usize];
        let frame = slot.frame.take();
        let (older, newer) = (slot.older, slot.newer);
        list.head = std::mem::replace(&mut slot.next, self.free_slot);
        list.len -= 1;
        self.free_slot = index;
        self.held -= 1;
        match older {
            NIL => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NIL => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        // The next push links a new head to the queue's tail: there must be none if the queue is empty.
        if list.len == 0 {
            list.tail = NIL;
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::interface::IfaceId;

    fn key(n: u32) -> Key {
        Key { iface: IfaceId((n % 2) as u16), ip: Ipv4Addr::from_bits(0x0a00_0000 + n / 2) }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn limits(per_neighbour: u32, total: u32) -> HoldLimits {
        HoldLimits { per_neighbour, total, ..HoldLimits::default() }
    }

    #[test]
    fn asks_first_and_then_once_a_second() {
        for per_neighbour in [1, 2, 16] {
            let mut hold = HoldQueue::new(limits(per_neighbour, 64));
            let asked = |millis| (millis, hold.push(at(millis), key(0), ()).ask);
            let got: Vec<_> =
                [0, 1, 999, 1000, 1001, 1999, 2500, 3499, 3500].into_iter().map(asked).collect();
            let when: Vec<_> = got.iter().filter(|(_, ask)| *ask).map(|(millis, _)| *millis).collect();
            assert_eq!(when, [0, 1000, 2500, 3500], "{per_neighbour} held");
        }
    }

    #[test]
    fn a_full_neighbour_drops_its_own_oldest() {
        let mut hold = HoldQueue::new(limits(2, 8));
        assert!(hold.push(at(0), key(1), 100).dropped.is_none());
        let dropped: Vec<_> = (0..4).map(|n| hold.push(at(1), key(0), n).dropped).collect();
        assert_eq!(dropped, [None, None, Some(0), Some(1)]);
        let mut out = Vec::with_capacity(8);
        assert_eq!(hold.release(key(0), &mut out), 0);
        assert_eq!(out, [2, 3]);
        assert_eq!(hold.len(), 1);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_of_all() {
        let mut hold = HoldQueue::new(limits(2, 3));
        let dropped: Vec<_> = (0..6).map(|n| hold.push(at(n.into()), key(n), n).dropped).collect();
        assert_eq!(dropped, [None, None, None, Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_scan_does_not_push_out_a_frame_that_is_answered_soon() {
        let mut hold = HoldQueue::new(limits(16, 256));
        let _ = hold.push(at(0), key(0), 0);
        for n in 1..256 {
            assert!(hold.push(at(1), key(n), n).dropped.is_none());
        }
        let mut out = Vec::with_capacity(1);
        hold.release(key(0), &mut out);
        assert_eq!(out, [0]);
    }

    #[test]
    fn release_and_expire_stop_at_the_capacity() {
        let mut hold = HoldQueue::new(limits(8, 8));
        for n in 0..5 {
            let _ = hold.push(at(n), key(0), n);
        }
        let mut out = Vec::with_capacity(2);
        assert_eq!(hold.release(key(0), &mut out), 3);
        assert_eq!((out.as_slice(), out.capacity()), ([0, 1].as_slice(), 2));
        out.clear();
        hold.expire(at(60_000), &mut out);
        assert_eq!((out.as_slice(), out.capacity()), ([2, 3].as_slice(), 2));
        assert_eq!(hold.next_deadline(), Some(at(4) + HoldLimits::default().max_age));
    }

    #[test]
    fn expires_at_max_age() {
        let mut hold = HoldQueue::new(limits(8, 8));
        assert_eq!(hold.next_deadline(), None);
        let _ = hold.push(at(10), key(0), 'a');
        let _ = hold.push(at(20), key(1), 'b');
        let mut out = Vec::with_capacity(8);
        hold.expire(at(5009), &mut out);
        assert!(out.is_empty());
        hold.expire(at(5010), &mut out);
        assert_eq!(out, ['a']);
        assert_eq!(hold.len(), 1);
    }

    /// The naive twin: one list from oldest to newest, searched for everything.
    struct Twin {
        limits: HoldLimits,
        frames: VecDeque<(Instant, Key, u32)>,
    }

    impl Twin {
        fn push(&mut self, now: Instant, key: Key, frame: u32) -> Option<u32> {
            let mine = self.frames.iter().filter(|f| f.1 == key).count();
            let victim = if mine >= self.limits.per_neighbour as usize {
                self.frames.iter().position(|f| f.1 == key)
            } else {
                (self.frames.len() >= self.limits.total as usize).then_some(0)
            };
            let dropped = victim.and_then(|i| self.frames.remove(i)).map(|f| f.2);
            self.frames.push_back((now, key, frame));
            dropped
        }

        fn take(&mut self, room: usize, mut wanted: impl FnMut(&(Instant, Key, u32)) -> bool) -> Vec<u32> {
            let mut out = Vec::new();
            self.frames.retain(|f| {
                let taken = out.len() < room && wanted(f);
                if taken {
                    out.push(f.2);
                }
                !taken
            });
            out
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(u32),
        Release(u32, usize),
        Expire(usize),
        Wait(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0..12u32).prop_map(Op::Push),
            2 => (0..12u32, 0..6usize).prop_map(|(n, room)| Op::Release(n, room)),
            1 => (0..6usize).prop_map(Op::Expire),
            2 => (0..3000u64).prop_map(Op::Wait),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_its_twin(
            per_neighbour in 1..4u32,
            total in 1..10u32,
            ops in prop::collection::vec(op(), 0..300),
        ) {
            let limits = limits(per_neighbour, total);
            let mut hold = HoldQueue::new(limits);
            let mut twin = Twin { limits, frames: VecDeque::new() };
            let mut millis = 0;
            for (n, op) in ops.into_iter().enumerate() {
                let (now, n) = (at(millis), n as u32);
                match op {
                    Op::Push(k) => {
                        let unknown = !twin.frames.iter().any(|f| f.1 == key(k));
                        let outcome = hold.push(now, key(k), n);
                        prop_assert_eq!(outcome.dropped, twin.push(now, key(k), n));
                        prop_assert!(outcome.ask || !unknown);
                    }
                    Op::Release(k, room) => {
                        let mut out = Vec::with_capacity(room);
                        let room = out.capacity();
                        let left = hold.release(key(k), &mut out);
                        prop_assert_eq!(out, twin.take(room, |f| f.1 == key(k)));
                        prop_assert_eq!(left, twin.frames.iter().filter(|f| f.1 == key(k)).count());
                    }
                    Op::Expire(room) => {
                        let mut out = Vec::with_capacity(room);
                        let room = out.capacity();
                        hold.expire(now, &mut out);
                        prop_assert_eq!(out, twin.take(room, |f| now.since(f.0) >= limits.max_age));
                    }
                    Op::Wait(ms) => millis += ms,
                }
                prop_assert_eq!(hold.len(), twin.frames.len());
                prop_assert_eq!(hold.next_deadline(), twin.frames.front().map(|f| f.0 + limits.max_age));
            }
        }
    }
}

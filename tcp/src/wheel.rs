//! Timers: a hierarchical timing wheel (Varghese and Lauck, 1987).
//!
//! Level `n` has 256 slots of 256^n ticks each. An entry stands at the level of the highest byte in which
//! its tick differs from the present, in the slot that this byte names. When its slot begins, it moves
//! to a lower level, three times at most; at the lowest it fires.

use wire::prefetch::prefetch;

use crate::Tick;

const LEVELS: usize = 4;
const LEVEL_BITS: usize = 8;
const SLOTS: usize = 1 << LEVEL_BITS;
/// 64-bit words of a level's bitmap.
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;
/// Marks an [`Entry::prev`] that is no entry but the slot whose first entry this is.
const SLOT: u32 = 1 << 31;
/// The most entries that one call moves to lower levels: about a tenth of a millisecond. No timer fires before
/// a slot that has begun is empty; a call each tick empties one of 400,000 entries in 26 ms.
const MOVES: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Entry {
    next: u32,
    /// `NONE` if the entry is not armed.
    prev: u32,
    at: Tick,
}

const _: () = assert!(size_of::<Entry>() == 12);

/// The timers of a shard: one each for the ids below its capacity, which index the connections. 12 bytes
/// an id and 4 KiB.
///
/// Arming is lazy: a timer that is put off stays where it is. When it fires, the caller looks at the
/// deadline that it keeps itself, and arms again if that is still to come. So an ACK that pushes a
/// retransmission timeout back costs a comparison.
#[derive(Debug)]
pub struct Wheel {
    entries: Box<[Entry]>,
    /// First entries, by level and slot.
    heads: Box<[u32; LEVELS * SLOTS]>,
    /// Which of `heads` are not `NONE`.
    occupied: [u64; LEVELS * WORDS],
    /// Whatever was due before this has fired.
    now: Tick,
}

impl Wheel {
    /// A wheel for the ids below `capacity`, none of them armed.
    ///
    /// # Panics
    /// If `capacity` is more than 2^31.
    pub fn new(capacity: usize, now: Tick) -> Self {
        assert!(capacity <= SLOT as usize, "a wheel has 2^31 ids at most");
        Wheel {
            entries: vec![Entry { next: NONE, prev: NONE, at: now }; capacity].into(),
            heads: Box::new([NONE; LEVELS * SLOTS]),
            occupied: [0; LEVELS * WORDS],
            now,
        }
    }

    /// Asks for the cache line of `id`'s entry.
    #[inline]
    pub fn prefetch(&self, id: u32) {
        self.entries.get(id as usize).into_iter().for_each(prefetch);
    }

    /// Lets `id` fire at `at`, or as soon as possible if that has passed; no effect if it is armed for
    /// that tick or an earlier one.
    ///
    /// # Panics
    /// If `id` is not below the capacity.
    #[inline]
    pub fn arm(&mut self, id: u32, at: Tick) {
        let entry = &self.entries[id as usize];
        if entry.prev != NONE {
            if !at.before(entry.at) {
                return;
            }
            self.unlink(id);
        }
        self.entries[id as usize].at = if at.before(self.now) { self.now } else { at };
        self.link(id);
    }

    /// Lets `id` not fire; no effect if it is not armed.
    ///
    /// # Panics
    /// If `id` is not below the capacity.
    pub fn cancel(&mut self, id: u32) {
        if self.entries[id as usize].prev != NONE {
            self.unlink(id);
        }
    }

    /// Takes an entry that is due at `now`; it is then no longer armed. To be called until it gives none.
    ///
    /// The work of a call is bounded. If a slot with very many entries begins, it may give none although
    /// there is more to do: [`Wheel::next_deadline`] is then due, and the next call goes on.
    ///
    /// `now` never runs backwards, and calls are less than a day apart.
    pub fn pop_expired(&mut self, now: Tick) -> Option<u32> {
        for _ in 0..MOVES {
            let Some((slot, begins)) = self.first_slot().filter(|(_, begins)| begins.is_due(now)) else {
                if self.now.before(now) {
                    self.now = now;
                }
                return None;
            };
            self.now = begins;
            let id = self.heads[slot];
            self.unlink(id);
            if slot < SLOTS {
                return Some(id);
            }
            self.link(id);
        }
        None
    }

    /// When to call [`Wheel::pop_expired`]: the first entry is due then, or later. An entry costs three
    /// calls at most in which it does not fire.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.first_slot().map(|(_, begins)| begins)
    }

    /// The first slot with entries, of all levels, and the tick with which it begins.
    fn first_slot(&self) -> Option<(usize, Tick)> {
        let now = self.now.get() as usize;
        let current = |level: usize| level * SLOTS + (now >> (level * LEVEL_BITS)) % SLOTS;
        // A slot that has begun is emptied before time goes on.
        for slot in (1..LEVELS).map(current) {
            if self.occupied[slot / 64] & 1 << (slot % 64) != 0 {
                return Some((slot, self.now));
            }
        }
        (0..LEVELS).find_map(|level| {
            let slot = self.occupied_from(level, current(level))?;
            let shift = level * LEVEL_BITS;
            let higher = now >> (shift + LEVEL_BITS) << LEVEL_BITS;
            Some((slot, Tick::new(((higher | (slot % SLOTS)) << shift) as u32)))
        })
    }

    /// The first occupied slot of `level` from `slot` on. Goes on past the end of the level: at the
    /// highest, that is where time wraps; at the others, nothing is there.
    fn occupied_from(&self, level: usize, slot: usize) -> Option<usize> {
        let first_bit = |word: usize, bits: u64| word * 64 + bits.trailing_zeros() as usize;
        let (word, later) = (slot / 64, u64::MAX << (slot % 64));
        let bits = self.occupied[word] & later;
        if bits != 0 {
            return Some(first_bit(word, bits));
        }
        (1..=WORDS)
            .map(|i| level * WORDS + (word + i) % WORDS)
            .map(|word| (word, self.occupied[word]))
            .find(|(_, bits)| *bits != 0)
            .map(|(word, bits)| first_bit(word, bits))
    }

    /// Puts `id` first into the slot of its tick.
    fn link(&mut self, id: u32) {
        let at = self.entries[id as usize].at.get();
        let level = ((at ^ self.now.get()) | 1).ilog2() as usize / LEVEL_BITS;
        let slot = level * SLOTS + (at >> (level * LEVEL_BITS)) as usize % SLOTS;
        let next = std::mem::replace(&mut self.heads[slot], id);
        let entry = &mut self.entries[id as usize];
        (entry.next, entry.prev) = (next, SLOT | slot as u32);
        if next != NONE {
            self.entries[next as usize].prev = id;
        }
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Takes `id`, which is armed, out of its slot.
    fn unlink(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        let next = entry.next;
        let prev = std::mem::replace(&mut entry.prev, NONE);
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev & SLOT == 0 {
            self.entries[prev as usize].next = next;
            return;
        }
        let slot = (prev & !SLOT) as usize;
        self.heads[slot] = next;
        if next == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn tick(start: u32, offset: u64) -> Tick {
        Tick::new(start.wrapping_add(offset as u32))
    }

    /// All that fires at `now`, in the order of the ids.
    fn fired(wheel: &mut Wheel, now: Tick) -> Vec<u32> {
        let mut ids = Vec::new();
        loop {
            ids.extend(std::iter::from_fn(|| wheel.pop_expired(now)));
            if wheel.next_deadline().is_none_or(|at| !at.is_due(now)) {
                ids.sort_unstable();
                return ids;
            }
        }
    }

    /// Starts about which bytes of the tick wrap, and offsets about the lengths of slots.
    const STARTS: [u32; 6] = [0, 1, 0xff, 0x00ff_ff80, u32::MAX - 0x100, 1 << 31];
    const OFFSETS: [u64; 10] =
        [0, 1, 0xff, 0x100, 0x101, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0001, 36 * 3600 * 15_258];

    #[test]
    fn fires_at_its_tick_and_not_before() {
        for (start, offset) in STARTS.into_iter().flat_map(|s| OFFSETS.map(|o| (s, o))) {
            let mut wheel = Wheel::new(2, tick(start, 0));
            wheel.arm(1, tick(start, offset));
            if offset > 0 {
                assert_eq!(wheel.pop_expired(tick(start, offset - 1)), None, "{start:#x} + {offset:#x}");
            }
            assert_eq!(wheel.pop_expired(tick(start, offset)), Some(1), "{start:#x} + {offset:#x}");
            assert_eq!((wheel.pop_expired(tick(start, offset)), wheel.next_deadline()), (None, None));
        }
    }

    #[test]
    fn a_jump_over_hours_is_one_call() {
        for (start, offset) in STARTS.into_iter().flat_map(|s| OFFSETS.map(|o| (s, o))) {
            let mut wheel = Wheel::new(1, tick(start, 0));
            wheel.arm(0, tick(start, offset));
            assert_eq!(wheel.pop_expired(tick(start, (1 << 31) - 1)), Some(0), "{start:#x} + {offset:#x}");
        }
    }

    #[test]
    fn a_worker_that_sleeps_until_the_deadline_wakes_four_times_at_most() {
        for (start, offset) in STARTS.into_iter().flat_map(|s| OFFSETS.map(|o| (s, o))) {
            let mut wheel = Wheel::new(1, tick(start, 0));
            wheel.arm(0, tick(start, offset));
            let mut now = tick(start, 0);
            let woken = (1..).find(|_| {
                now = wheel.next_deadline().expect("it is armed");
                wheel.pop_expired(now).is_some()
            });
            assert!(woken.is_some_and(|times| times <= 4), "{start:#x} + {offset:#x}: {woken:?}");
            assert_eq!(now, tick(start, offset));
        }
    }

    #[test]
    fn arming_is_lazy_and_only_ever_advances() {
        let mut wheel = Wheel::new(1, Tick::new(0));
        wheel.arm(0, Tick::new(1000));
        wheel.arm(0, Tick::new(2000));
        assert_eq!(fired(&mut wheel, Tick::new(999)), [0_u32; 0]);
        assert_eq!(fired(&mut wheel, Tick::new(1000)), [0]);
        wheel.arm(0, Tick::new(2000));
        wheel.arm(0, Tick::new(1001));
        assert_eq!(fired(&mut wheel, Tick::new(1001)), [0]);
        assert_eq!(fired(&mut wheel, Tick::new(3000)), [0_u32; 0]);
    }

    #[test]
    fn what_has_passed_fires_at_once() {
        let mut wheel = Wheel::new(1, Tick::new(1000));
        wheel.arm(0, Tick::new(10));
        assert_eq!(wheel.next_deadline(), Some(Tick::new(1000)));
        assert_eq!(wheel.pop_expired(Tick::new(1000)), Some(0));
    }

    #[test]
    fn a_crowded_slot_is_emptied_over_several_calls() {
        const MANY: u32 = 10 * MOVES as u32;
        let mut wheel = Wheel::new(MANY as usize, Tick::new(0));
        for id in 0..MANY {
            wheel.arm(id, Tick::new(0x1_0000 + 0x1_00 * (id % 2)));
        }
        let now = Tick::new(0x1_0001);
        assert_eq!(wheel.pop_expired(now), None);
        assert!(wheel.next_deadline().is_some_and(|at| at.is_due(now)));
        // What is armed or cancelled meanwhile finds its place.
        wheel.cancel(0);
        wheel.arm(1, Tick::new(0x1_0000));
        let want: Vec<u32> = (1..MANY).filter(|id| id % 2 == 0 || *id == 1).collect();
        assert_eq!(fired(&mut wheel, now), want);
        let want: Vec<u32> = (2..MANY).filter(|id| id % 2 == 1).collect();
        assert_eq!(fired(&mut wheel, Tick::new(0x1_00ff)), [0_u32; 0]);
        assert_eq!(fired(&mut wheel, Tick::new(0x1_0100)), want);
    }

    #[test]
    fn a_call_a_tick_keeps_up_with_very_many() {
        const MANY: u32 = 100_000;
        let mut wheel = Wheel::new(MANY as usize, Tick::new(0));
        (0..MANY).for_each(|id| wheel.arm(id, Tick::new(0x1_0000 + id % 0x100)));
        // 13 ms.
        let late = (0..200).find(|late| wheel.pop_expired(Tick::new(0x1_0000 + late)).is_some());
        assert!(late.is_some());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u32, u64),
        Cancel(u32),
        Wait(u64),
    }

    /// Of all magnitudes, up to 30 hours.
    fn ticks() -> impl Strategy<Value = u64> {
        (0..31u32, any::<u32>()).prop_map(|(bits, n)| u64::from(n) & ((1 << bits) - 1))
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0..12u32, ticks()).prop_map(|(id, after)| Op::Arm(id, after)),
            1 => (0..12u32).prop_map(Op::Cancel),
            3 => ticks().prop_map(Op::Wait),
        ]
    }

    proptest! {
        /// The twin is a map from ids to ticks that never wrap.
        #[test]
        fn agrees_with_its_twin(
            start in prop_oneof![any::<u32>(), proptest::sample::select(&STARTS[..])],
            ops in prop::collection::vec(op(), 0..200),
        ) {
            let mut wheel = Wheel::new(12, tick(start, 0));
            let mut twin = BTreeMap::new();
            let mut now = 0;
            for op in ops {
                match op {
                    Op::Arm(id, after) => {
                        wheel.arm(id, tick(start, now + after));
                        let at = twin.entry(id).or_insert(now + after);
                        *at = (*at).min(now + after);
                    }
                    Op::Cancel(id) => {
                        wheel.cancel(id);
                        twin.remove(&id);
                    }
                    Op::Wait(time) => {
                        now += time;
                        let due: Vec<u32> = twin.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
                        prop_assert_eq!(fired(&mut wheel, tick(start, now)), due);
                        let next = wheel.next_deadline();
                        prop_assert!(next.is_none_or(|at| tick(start, now).before(at)));
                    }
                }
                let first = twin.values().min().map(|at| tick(start, *at));
                let next = wheel.next_deadline();
                prop_assert_eq!(next.is_some(), first.is_some());
                prop_assert!(next.zip(first).is_none_or(|(next, first)| !first.before(next)));
            }
        }
    }
}

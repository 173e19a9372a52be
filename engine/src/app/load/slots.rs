//! The connections of a load, open or not, each with the requests that it owes answers for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use tcp::shard::ConnectionId;
use wire::Instant;

use super::answer::Reader;

/// What a slot is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// No connection.
    Idle,
    /// No connection until its rest after a failure is over.
    Resting,
    /// The handshake goes on.
    Opening,
    /// Requests can be sent.
    Open,
}

/// A place for one connection after another.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) id: Option<ConnectionId>,
    /// Since when nothing has come that was waited for.
    pub(super) since: Instant,
    /// The last of its requests that the send queue has not taken, or not all of.
    pub(super) unsent: u32,
    /// Bytes of the first of these that it has.
    pub(super) given: u64,
    pub(super) reader: Reader,
    /// Whether the connection has answered anything: if it closes then, requests go to another.
    pub(super) has_answered: bool,
    is_queued: bool,
    /// Whether it starts nothing for a while.
    is_thinking: bool,
    /// Requests without an answer, and the place of the oldest in the slot's ring of starts.
    owed: u32,
    first: u32,
}

/// A request without an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    /// When it was meant to start.
    pub(super) start: Instant,
    /// Which of the mix it is.
    pub(super) entry: u16,
}

/// All slots of a worker. Their number is given at the start.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Box<[Slot]>,
    /// The requests without an answer: a ring of `depth` for each slot.
    owed: Box<[Owed]>,
    depth: u32,
    /// Slots up to this one were given out.
    fresh: u32,
    /// Slots that may carry a request, unless they have changed since; each once.
    ready: VecDeque<u32>,
    /// Slots that rest, and until when; each once.
    resting: VecDeque<(Instant, u32)>,
    /// Slots that think, and until when; each once.
    thinking: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl Slots {
    /// How long a slot rests after its connection failed: a server that refuses is not stormed.
    const REST: Duration = Duration::from_millis(100);

    /// `count` slots, each for up to `depth` requests at a time; whether they ever think.
    pub(super) fn new(count: u32, depth: u32, think: bool) -> Self {
        let slot = |_| Slot {
            state: State::Idle,
            id: None,
            since: Instant::ZERO,
            unsent: 0,
            given: 0,
            reader: Reader::default(),
            has_answered: false,
            is_queued: false,
            is_thinking: false,
            owed: 0,
            first: 0,
        };
        let owed = Owed { start: Instant::ZERO, entry: 0 };
        Slots {
            slots: (0..count).map(slot).collect(),
            owed: vec![owed; count as usize * depth as usize].into_boxed_slice(),
            depth,
            fresh: 0,
            ready: VecDeque::with_capacity(count as usize),
            resting: VecDeque::with_capacity(count as usize),
            thinking: BinaryHeap::with_capacity(if think { count as usize } else { 0 }),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn get(&self, at: u32) -> &Slot {
        &self.slots[at as usize]
    }

    pub(super) fn get_mut(&mut self, at: u32) -> &mut Slot {
        &mut self.slots[at as usize]
    }

    /// Requests without an answer.
    pub(super) fn owed(&self, at: u32) -> u32 {
        self.get(at).owed
    }

    /// Whether it may owe one more.
    pub(super) fn has_room(&self, at: u32) -> bool {
        self.get(at).owed < self.depth
    }

    /// Notes down a request, which is unsent. There must be room.
    pub(super) fn push(&mut self, at: u32, owed: Owed) {
        let (depth, slot) = (self.depth, &mut self.slots[at as usize]);
        debug_assert!(slot.owed < depth);
        let place = (slot.first + slot.owed) % depth;
        slot.owed += 1;
        slot.unsent += 1;
        self.owed[at as usize * depth as usize + place as usize] = owed;
    }

    /// Request number `n` of those without an answer, of which the oldest is number 0.
    fn nth(&self, at: u32, n: u32) -> Owed {
        let place = (self.get(at).first + n) % self.depth;
        self.owed[at as usize * self.depth as usize + place as usize]
    }

    /// The requests without an answer, oldest first.
    pub(super) fn all_owed(&self, at: u32) -> impl Iterator<Item = Owed> {
        (0..self.owed(at)).map(move |n| self.nth(at, n))
    }

    /// The oldest request without an answer.
    pub(super) fn oldest(&self, at: u32) -> Option<Owed> {
        (self.owed(at) > 0).then(|| self.nth(at, 0))
    }

    /// The oldest request was answered. Gives whether all of it had been sent.
    pub(super) fn pop(&mut self, at: u32) -> bool {
        let (depth, slot) = (self.depth, &mut self.slots[at as usize]);
        debug_assert!(slot.owed > 0);
        let is_sent = slot.unsent < slot.owed;
        slot.owed -= 1;
        slot.first = (slot.first + 1) % depth;
        slot.unsent = slot.unsent.min(slot.owed);
        is_sent
    }

    /// What is to be sent next: which of the mix, and how often in a row.
    pub(super) fn unsent(&self, at: u32) -> Option<(u16, u32)> {
        let Slot { owed, unsent, .. } = *self.get(at);
        let next = self.nth(at, (owed - unsent).min(owed.checked_sub(1)?));
        let run = (owed - unsent..owed).take_while(|n| self.nth(at, *n).entry == next.entry).count();
        (run > 0).then_some((next.entry, run as u32))
    }

    /// All of its requests are to be sent, from their begin.
    pub(super) fn send_all(&mut self, at: u32) {
        let slot = self.get_mut(at);
        (slot.unsent, slot.given) = (slot.owed, 0);
    }

    /// Its requests are given up.
    pub(super) fn give_up(&mut self, at: u32) {
        let slot = self.get_mut(at);
        (slot.owed, slot.unsent) = (0, 0);
    }

    /// The slot may carry a request.
    pub(super) fn ready(&mut self, at: u32) {
        if !std::mem::replace(&mut self.slots[at as usize].is_queued, true) {
            self.ready.push_back(at);
        }
    }

    /// The slot that waits for a request the longest.
    pub(super) fn next_ready(&self) -> Option<u32> {
        self.ready.front().copied()
    }

    /// Takes that slot out of the queue.
    pub(super) fn pop_ready(&mut self) {
        if let Some(at) = self.ready.pop_front() {
            self.get_mut(at).is_queued = false;
        }
    }

    /// The slot rests for a while.
    pub(super) fn rest(&mut self, at: u32, now: Instant) {
        self.get_mut(at).state = State::Resting;
        self.resting.push_back((now + Self::REST, at));
    }

    /// A slot that has rested: it is idle now.
    pub(super) fn pop_rested(&mut self, now: Instant) -> Option<u32> {
        let (_, at) = self.resting.pop_front_if(|(until, _)| *until <= now)?;
        self.get_mut(at).state = State::Idle;
        Some(at)
    }

    /// How many slots were given out.
    pub(super) fn fresh(&self) -> u32 {
        self.fresh
    }

    /// A slot that was not given out, if those given out are fewer than `allowed`.
    pub(super) fn pop_fresh(&mut self, allowed: u32) -> Option<u32> {
        let at = self.fresh;
        (at < allowed.min(self.len())).then(|| {
            self.fresh += 1;
            at
        })
    }

    /// Whether it starts nothing for a while.
    pub(super) fn is_thinking(&self, at: u32) -> bool {
        self.get(at).is_thinking
    }

    /// The slot starts nothing until `until`.
    pub(super) fn think(&mut self, at: u32, until: Instant) {
        if !std::mem::replace(&mut self.get_mut(at).is_thinking, true) {
            self.thinking.push(Reverse((until, at)));
        }
    }

    /// When the next slot has thought.
    pub(super) fn next_thought(&self) -> Option<Instant> {
        self.thinking.peek().map(|Reverse((until, _))| *until)
    }

    /// A slot that has thought.
    pub(super) fn pop_thought(&mut self, now: Instant) -> Option<u32> {
        self.next_thought().filter(|until| *until <= now)?;
        let Reverse((_, at)) = self.thinking.pop()?;
        self.get_mut(at).is_thinking = false;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owed(entry: u16) -> Owed {
        Owed { start: Instant::from_millis(u64::from(entry)), entry }
    }

    #[test]
    fn what_is_unsent_goes_in_runs_of_the_same_request() {
        let mut slots = Slots::new(2, 4, false);
        assert!(slots.unsent(1).is_none() && slots.oldest(1).is_none());
        // The ring wraps.
        for entry in [9, 9, 9] {
            slots.push(1, owed(entry));
            slots.get_mut(1).unsent = 0;
            assert!(slots.pop(1), "it was sent");
        }
        for entry in [5, 5, 7, 5] {
            slots.push(1, owed(entry));
        }
        assert_eq!(slots.unsent(1), Some((5, 2)));
        slots.get_mut(1).unsent -= 2;
        assert_eq!(slots.unsent(1), Some((7, 1)));
        slots.get_mut(1).unsent = 0;
        assert_eq!(slots.unsent(1), None);
        assert!(slots.pop(1));
        slots.send_all(1);
        assert_eq!(slots.unsent(1), Some((5, 1)));
        assert_eq!(slots.all_owed(1).map(|owed| owed.entry).collect::<Vec<_>>(), [5, 7, 5]);
        assert!(!slots.pop(1), "it was not sent");
        slots.give_up(1);
        assert_eq!((slots.unsent(1), slots.owed(1)), (None, 0));
    }

    #[test]
    fn who_thinks_the_shortest_is_first() {
        let mut slots = Slots::new(3, 1, true);
        for (at, ms) in [(0, 30), (1, 10), (2, 20)] {
            slots.think(at, Instant::from_millis(ms));
        }
        // It thinks already.
        slots.think(1, Instant::from_millis(5));
        let thought = |slots: &mut Slots, ms| slots.pop_thought(Instant::from_millis(ms));
        assert_eq!(thought(&mut slots, 9), None);
        assert_eq!((thought(&mut slots, 25), thought(&mut slots, 25)), (Some(1), Some(2)));
        assert!(thought(&mut slots, 25).is_none() && slots.is_thinking(0) && !slots.is_thinking(1));
        assert_eq!(slots.next_thought(), Some(Instant::from_millis(30)));
    }

    #[test]
    fn slots_are_given_out_as_allowed() {
        let mut slots = Slots::new(3, 1, false);
        let got: Vec<_> = [0, 1, 1, 2, 9, 9].map(|allowed| slots.pop_fresh(allowed)).into();
        assert_eq!(got, [None, Some(0), None, Some(1), Some(2), None]);
    }
}

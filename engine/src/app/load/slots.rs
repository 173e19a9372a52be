//! The connections of a load, open or not, each with the requests that it owes answers for.

use std::collections::VecDeque;
use std::time::Duration;

use tcp::shard::ConnectionId;
use wire::Instant;

use super::exchange::Reader;

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
    /// Bytes of requests that the send queue had no room for.
    pub(super) unsent: u64,
    pub(super) reader: Reader,
    /// Whether the connection has answered anything: if it closes then, requests go to another.
    pub(super) has_answered: bool,
    is_queued: bool,
    /// Requests without an answer, and the place of the oldest in the slot's ring of starts.
    owed: u32,
    first: u32,
}

/// All slots of a worker. Their number is given at the start.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Box<[Slot]>,
    /// The intended starts of the requests without an answer: a ring of `depth` for each slot.
    starts: Box<[Instant]>,
    depth: u32,
    /// Slots that may carry a request, unless they have changed since; each once.
    ready: VecDeque<u32>,
    /// Slots that rest, and until when; each once.
    resting: VecDeque<(Instant, u32)>,
}

impl Slots {
    /// How long a slot rests after its connection failed: a server that refuses is not stormed.
    const REST: Duration = Duration::from_millis(100);

    /// `count` slots that rest until `now`, each for up to `depth` requests at a time.
    pub(super) fn new(count: u32, depth: u32, now: Instant) -> Self {
        let slot = |_| Slot {
            state: State::Resting,
            id: None,
            since: now,
            unsent: 0,
            reader: Reader::default(),
            has_answered: false,
            is_queued: false,
            owed: 0,
            first: 0,
        };
        Slots {
            slots: (0..count).map(slot).collect(),
            starts: vec![now; count as usize * depth as usize].into_boxed_slice(),
            depth,
            ready: VecDeque::with_capacity(count as usize),
            resting: (0..count).map(|at| (now, at)).collect(),
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

    /// Notes down a request that was meant to start at `start`. There must be room.
    pub(super) fn push(&mut self, at: u32, start: Instant) {
        let (depth, slot) = (self.depth, &mut self.slots[at as usize]);
        debug_assert!(slot.owed < depth);
        let place = (slot.first + slot.owed) % depth;
        slot.owed += 1;
        self.starts[at as usize * depth as usize + place as usize] = start;
    }

    /// The oldest request was answered: when it was meant to start. `None` if there is none.
    pub(super) fn pop(&mut self, at: u32) -> Option<Instant> {
        let (depth, slot) = (self.depth, &mut self.slots[at as usize]);
        if slot.owed == 0 {
            return None;
        }
        let place = slot.first;
        slot.owed -= 1;
        slot.first = (slot.first + 1) % depth;
        Some(self.starts[at as usize * depth as usize + place as usize])
    }

    /// Its requests are given up; gives how many they were.
    pub(super) fn give_up(&mut self, at: u32) -> u32 {
        std::mem::take(&mut self.get_mut(at).owed)
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
}

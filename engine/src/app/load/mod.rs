//! Load: requests to a server, over connections that we open; and how long the answers took.
//!
//! In an open loop the clock alone decides when a request is meant to start. If no connection is free then, it
//! waits, and the wait is part of its latency: a server that stalls is charged with all requests that it
//! kept from starting, as its users would do ("coordinated omission" is what Gil Tene calls leaving them out).
//! In a closed loop a request starts when its connection is free.
//!
//! - [`workload`]: what a load does. [`arrivals`]: when requests are meant to start. [`mix`]: which ones;
//!   [`exchange`]: what is sent; [`answer`]: what answers it; [`bodies`]: whether it is the right one.
//! - [`slots`]: connections, with what they owe; [`connection`]: what becomes of one. [`tally`]: what is counted, and how it leaves the worker.

mod answer;
mod arrivals;
mod bodies;
mod connection;
mod exchange;
mod mix;
mod slots;
mod tally;
mod workload;

use std::net::SocketAddrV4;
use std::time::Duration;

use tcp::connection::News;
use tcp::shard::ConnectionId;
use wire::{Frame, Instant};

use super::{App, Event, Sockets, StartError};
use crate::chance::Chance;
use answer::Heads;
use arrivals::Arrivals;
use bodies::Bodies;
use slots::{Owed, Slots, State};
use workload::Share;

pub use arrivals::Pace;
pub use exchange::Exchange;
pub use mix::Mix;
pub use tally::{Counts, EntryCounts, Failure, Interval, Intervals, Phase, Recorder, histogram};
pub use workload::{Think, Workload};

/// How often slots are looked through for those that wait too long, in parts.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Looks until all slots were seen, if they are not too many for that.
const LOOKS: u32 = 10;
/// Slots that are looked at in one look, at most: neither requests nor queues get more than they can bear.
const LOOK_AT: u32 = 2_000;
/// How long an interval is.
const INTERVAL: Duration = Duration::from_secs(1);
/// Handshakes of connections that no request waits for yet, at a time: listeners have a backlog. Where there is a ramp,
/// as many as it opens in this time are allowed, too.
const OPENING: u32 = 256;
const OPENING_TIME: Duration = Duration::from_millis(250);

/// A worker's share of a load.
#[derive(Debug)]
pub struct Load {
    workload: Workload,
    share: Share,
    recorder: Recorder,
    arrivals: Arrivals,
    chance: Chance,
    slots: Slots,
    heads: Heads,
    /// If any are checked.
    bodies: Option<Bodies>,
    /// The server, once it is known.
    target: Option<SocketAddrV4>,
    /// The place of the address that was connected from last.
    source: usize,
    phase: Phase,
    began: Instant,
    /// When the phase ends; the interval; when some slots are looked at.
    phase_until: Instant,
    interval_until: Instant,
    look_at: Instant,
    /// The next slot that is looked at.
    looked: u32,
    /// Slots that have a connection, and of them those in their handshake.
    open: u32,
    opening: u32,
    /// The most that may be in their handshake.
    opening_most: u32,
}

impl Load {
    /// The share of worker number `worker` of `workers`.
    pub fn new(workload: Workload, worker: u32, workers: u32, recorder: Recorder) -> Self {
        let share = Share::new(&workload, worker, workers);
        Load {
            arrivals: Arrivals::none(),
            chance: Chance::new(workload.seed, 2 * worker),
            slots: Slots::new(share.connections, workload.pipeline, workload.think != Think::None),
            heads: Heads::new(share.connections),
            bodies: workload.mix.is_checked().then(|| Bodies::new(share.connections)),
            target: None,
            source: worker as usize,
            share,
            recorder,
            phase: Phase::WarmUp,
            began: Instant::ZERO,
            phase_until: Instant::ZERO,
            interval_until: Instant::ZERO,
            look_at: Instant::ZERO,
            looked: 0,
            open: 0,
            opening: 0,
            opening_most: OPENING.max(share.opened_in(OPENING_TIME, workload.ramp)),
            workload,
        }
    }

    /// Begins, once the server is known.
    fn begin(&mut self, now: Instant) {
        let Some(target) = self.workload.target.get() else { return };
        let Workload { pace, ramp, duration, seed, .. } = self.workload;
        let (Share { part, phase, worker, .. }, warm_up) = (self.share, ramp + self.workload.warm_up);
        let chance = Chance::new(seed, 2 * worker + 1);
        self.target = Some(*target);
        self.began = now;
        self.arrivals = Arrivals::new(pace, part, phase, now, ramp, now + warm_up + duration, chance);
        self.phase = if warm_up.is_zero() { Phase::Measure } else { Phase::WarmUp };
        self.phase_until = now + if warm_up.is_zero() { duration } else { warm_up };
        self.interval_until = now + INTERVAL;
        self.recorder.begin(now, self.phase);
    }

    /// Goes on to the next phase and the next interval when it is time.
    fn turn(&mut self, now: Instant) {
        while now >= self.phase_until && self.phase != Phase::Over {
            self.phase = match self.phase {
                Phase::WarmUp => Phase::Measure,
                Phase::Measure => Phase::Drain,
                Phase::Drain | Phase::Over => Phase::Over,
            };
            // After the end, requests that are late have as long to start, and as long to be answered.
            let len = match self.phase {
                Phase::Drain => 2 * self.workload.timeout,
                _ => self.workload.duration,
            };
            self.phase_until = self.phase_until + len;
            self.interval_until = now + INTERVAL;
            self.recorder.turn(now, self.phase, self.open);
        }
        if now >= self.interval_until {
            self.interval_until = now + INTERVAL;
            self.recorder.turn(now, self.phase, self.open);
        }
        if self.phase == Phase::Drain && now + self.workload.timeout >= self.phase_until {
            self.give_rest_up();
        }
    }

    /// Whether requests may start. Those that were meant to start before the end and found no connection do so after it,
    /// too: without them, a server that stalls at the end would not be charged with it.
    fn is_running(&self) -> bool {
        self.target.is_some()
            && match self.phase {
                Phase::WarmUp | Phase::Measure => true,
                Phase::Drain => self.arrivals.next().is_some(),
                Phase::Over => false,
            }
    }

    /// What has not started yet never does.
    fn give_rest_up(&mut self) {
        let rest = self.arrivals.take_rest();
        self.recorder.count(|counts| counts.not_started += rest);
    }

    /// Opens connections, and starts requests that are due.
    fn drive<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        while self.may_open()
            && let Some(at) = self.slots.pop_rested(now).or_else(|| self.slots.pop_fresh(self.grown(now)))
        {
            if self.workload.close {
                self.slots.ready(at);
            } else {
                self.open(sockets, at);
            }
        }
        while let Some(at) = self.slots.pop_thought(now) {
            self.slots.ready(at);
        }
        while let Some(at) = self.slots.next_ready() {
            if !self.may_start(at) {
                self.slots.pop_ready();
                continue;
            }
            let Some(start) = self.arrivals.take(now) else { return };
            self.slots.pop_ready();
            self.start(sockets, at, start);
        }
    }

    fn may_open(&self) -> bool {
        self.is_running() && (self.workload.close || self.opening < self.opening_most)
    }

    /// How many slots there are so far: they grow in the ramp.
    fn grown(&self, now: Instant) -> u32 {
        let (count, ramp) = (self.slots.len(), self.workload.ramp.as_nanos());
        let nanos = now.since(self.began).as_nanos();
        if nanos >= ramp { count } else { (u128::from(count) * nanos / ramp) as u32 + 1 }
    }

    /// When there is one more than were given out so far.
    fn next_grown(&self) -> Option<Instant> {
        let (given, count) = (self.slots.fresh(), self.slots.len());
        if given == count || !self.may_open() {
            return None;
        }
        let nanos = (u128::from(given) * self.workload.ramp.as_nanos()).div_ceil(u128::from(count));
        Some(Instant::from_nanos(self.began.as_nanos() + nanos as u64))
    }

    fn may_start(&self, at: u32) -> bool {
        let wanted = if self.workload.close { State::Idle } else { State::Open };
        let is_free = self.slots.get(at).state == wanted && !self.slots.is_thinking(at);
        is_free && self.slots.has_room(at) && self.is_running()
    }

    /// Starts a request that was meant to start at `start`; in a closed loop, as many as there is room for.
    fn start<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32, start: Instant) {
        if self.slots.owed(at) == 0 {
            self.slots.get_mut(at).since = sockets.now();
        }
        loop {
            let entry = self.workload.mix.choose(&mut self.chance);
            self.slots.push(at, Owed { start, entry });
            self.recorder.started(entry);
            if self.arrivals.are_open() || !self.slots.has_room(at) {
                break;
            }
        }
        if self.workload.close {
            return self.open(sockets, at);
        }
        self.flush(sockets, at);
        if self.may_start(at) {
            self.slots.ready(at);
        }
    }

    /// Looks at some slots: whether they wait too long, or have nothing more to do.
    fn look<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        for _ in 0..self.slots.len().div_ceil(LOOKS).min(LOOK_AT) {
            let at = self.looked;
            self.looked = (at + 1) % self.slots.len();
            let (slot, owes) = (self.slots.get(at), self.slots.owed(at) > 0);
            if slot.id.is_none() {
                continue;
            }
            let waits = owes || slot.state == State::Opening;
            if waits && (now >= slot.since + self.workload.timeout || self.phase == Phase::Over) {
                self.hang_up(sockets, at, true);
                self.fail(now, at, Failure::TimedOut);
            } else if !owes && !self.is_running() {
                self.hang_up(sockets, at, false);
            }
        }
    }

    /// Ends, if nothing more can come.
    fn end_if_over(&mut self, now: Instant) {
        if !self.is_running() && self.open == 0 && !self.recorder.has_ended() {
            self.give_rest_up();
            self.recorder.end(now);
        }
    }
}

impl<F: Frame> App<F> for Load {
    fn start(&mut self, _: &mut Sockets<'_, F>) -> Result<(), StartError> {
        Ok(())
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, F>, events: &[Event]) {
        for event in events {
            let Event::Connection(id, news) = *event else { continue };
            let at = sockets.token(id);
            if at >= self.slots.len() || self.slots.get(at).id != Some(id) {
                continue;
            }
            if news.has(News::CONNECTED) {
                self.opened(sockets, at);
            }
            if news.has(News::WRITABLE) {
                self.flush(sockets, at);
            }
            self.receive(sockets, at, id);
        }
        self.drive(sockets);
    }

    /// No request starts any more; connections close as their answers come.
    fn stop(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        if self.is_running() {
            self.arrivals.end_at(now);
            self.give_rest_up();
            self.phase = Phase::Measure;
            self.phase_until = now;
        } else if self.target.is_none() {
            self.recorder.begin(now, Phase::Drain);
            self.recorder.end(now);
        }
    }

    fn stop_connection(&mut self, _: &mut Sockets<'_, F>, _: ConnectionId) {}

    fn next_deadline(&self) -> Option<Instant> {
        if self.recorder.has_ended() {
            return None;
        }
        // Whatever waits for a connection starts with an event.
        let due = self.slots.next_ready().and_then(|_| self.arrivals.next());
        let others = [self.slots.next_thought(), self.next_grown(), Some(self.look_at)];
        due.into_iter().chain(others.into_iter().flatten()).min()
    }

    fn poll(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        if self.target.is_none() {
            self.begin(now);
        }
        // First, so that what was meant to start before the end still does.
        self.drive(sockets);
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            if self.target.is_none() {
                return;
            }
            self.turn(now);
            if self.slots.len() > 0 {
                self.look(sockets);
            }
            self.end_if_over(now);
        }
    }
}

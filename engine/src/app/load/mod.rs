//! Load: requests to a server, over connections that we open; and how long the answers took.
//!
//! In an open loop the clock alone decides when a request is meant to start. If no connection is free then, it
//! waits, and the wait is part of its latency: a server that stalls is charged with all requests that it
//! kept from starting, as its users would do ("coordinated omission" is what Gil Tene calls leaving them out).
//! In a closed loop a request starts when its connection is free.
//!
//! - [`arrivals`]: when requests are meant to start. [`exchange`]: what is sent, and what answers it.
//! - [`slots`]: connections, with what they owe; [`connection`]: what becomes of one. [`tally`]: what is counted, and how it leaves the worker.

mod arrivals;
mod connection;
mod exchange;
mod slots;
mod tally;

use std::net::SocketAddrV4;
use std::time::Duration;

use tcp::connection::News;
use tcp::shard::ConnectionId;
use wire::{Frame, Instant};

use super::{App, Event, Sockets, StartError};
use arrivals::Arrivals;
use exchange::Heads;
use slots::{Slots, State};

pub use arrivals::Pace;
pub use exchange::Exchange;
pub use tally::{Counts, Failure, Interval, Intervals, Phase, Recorder, histogram};

/// What is to be loaded, and how: by all workers together.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The server.
    pub target: SocketAddrV4,
    /// What is asked.
    pub exchange: Exchange,
    /// Connections at a time, at least 1.
    pub connections: u32,
    /// Requests that a connection may owe answers for, at least 1.
    pub pipeline: u32,
    /// Whether each request has a connection of its own; opening it is part of its latency.
    pub close: bool,
    /// When requests start.
    pub pace: Pace,
    /// How long the load runs before it counts.
    pub warm_up: Duration,
    /// How long it counts.
    pub duration: Duration,
    /// How long nothing may come on a connection that waits for something.
    pub timeout: Duration,
}

/// How often slots are looked through for those that wait too long, in parts.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Looks until all slots were seen.
const LOOKS: u32 = 10;
/// How long an interval is.
const INTERVAL: Duration = Duration::from_secs(1);
/// Handshakes of connections that no request waits for yet, at a time: listeners have a backlog.
const OPENING: u32 = 256;

/// A worker's share of a load.
#[derive(Debug)]
pub struct Load {
    workload: Workload,
    share: Share,
    recorder: Recorder,
    arrivals: Arrivals,
    slots: Slots,
    heads: Heads,
    phase: Phase,
    /// When the phase ends; the interval; when some slots are looked at.
    phase_until: Instant,
    interval_until: Instant,
    look_at: Instant,
    /// The next slot that is looked at.
    looked: u32,
    /// Slots that have a connection, and of them those in their handshake.
    open: u32,
    opening: u32,
    has_begun: bool,
}

/// Which part of the load is a worker's.
#[derive(Clone, Copy, Debug)]
struct Share {
    connections: u32,
    /// Of the pace.
    part: f64,
    /// What of the distance between two requests has gone by when it begins.
    phase: f64,
}

impl Share {
    fn new(workload: &Workload, worker: u32, workers: u32) -> Share {
        let all = workload.connections;
        let connections = all / workers + u32::from(worker < all % workers);
        // Workers without a connection have no part, and take no place among the others.
        let others = workers.min(all);
        Share {
            connections,
            part: f64::from(connections) / f64::from(all),
            phase: f64::from(worker) / f64::from(others),
        }
    }
}

impl Load {
    /// The share of worker number `worker` of `workers`.
    pub fn new(workload: Workload, worker: u32, workers: u32, recorder: Recorder) -> Self {
        let share = Share::new(&workload, worker, workers);
        Load {
            arrivals: Arrivals::new(Pace::Closed, 0.0, 0.0, Instant::ZERO, Instant::ZERO),
            slots: Slots::new(share.connections, workload.pipeline, Instant::ZERO),
            heads: Heads::new(share.connections),
            workload,
            share,
            recorder,
            phase: Phase::WarmUp,
            phase_until: Instant::ZERO,
            interval_until: Instant::ZERO,
            look_at: Instant::ZERO,
            looked: 0,
            open: 0,
            opening: 0,
            has_begun: false,
        }
    }

    fn begin(&mut self, now: Instant) {
        let Workload { pace, warm_up, duration, .. } = self.workload;
        let Share { part, phase, .. } = self.share;
        self.has_begun = true;
        self.arrivals = Arrivals::new(pace, part, phase, now, now + warm_up + duration);
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
            let len =
                if self.phase == Phase::Measure { self.workload.duration } else { self.workload.timeout };
            self.phase_until = self.phase_until + len;
            self.interval_until = now + INTERVAL;
            self.recorder.turn(now, self.phase);
        }
        if now >= self.interval_until {
            self.interval_until = now + INTERVAL;
            self.recorder.turn(now, self.phase);
        }
    }

    /// Whether requests may start.
    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::WarmUp | Phase::Measure)
    }

    /// Opens connections that have rested, and starts requests that are due.
    fn drive<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        while self.is_running()
            && (self.workload.close || self.opening < OPENING)
            && let Some(at) = self.slots.pop_rested(now)
        {
            if self.workload.close {
                self.slots.ready(at);
            } else {
                self.open(sockets, at);
            }
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

    fn may_start(&self, at: u32) -> bool {
        let wanted = if self.workload.close { State::Idle } else { State::Open };
        self.slots.get(at).state == wanted && self.slots.has_room(at) && self.is_running()
    }

    /// Starts a request that was meant to start at `start`; in a closed loop, as many as there is room for.
    fn start<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32, start: Instant) {
        if self.slots.owed(at) == 0 {
            self.slots.get_mut(at).since = sockets.now();
        }
        let mut count = 0;
        while count == 0 || (!self.arrivals.are_open() && self.slots.has_room(at)) {
            self.slots.push(at, start);
            count += 1;
        }
        self.recorder.count(|counts| counts.started += count);
        if self.workload.close {
            return self.open(sockets, at);
        }
        self.slots.get_mut(at).unsent += count * self.workload.exchange.len();
        self.flush(sockets, at);
        if self.may_start(at) {
            self.slots.ready(at);
        }
    }

    /// Looks at some slots: whether they wait too long, or have nothing more to do.
    fn look<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        for _ in 0..self.slots.len().div_ceil(LOOKS) {
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
            let rest = self.arrivals.take_rest();
            self.recorder.count(|counts| counts.not_started += rest);
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
        if !self.has_begun {
            self.begin(now);
        }
        if self.is_running() {
            self.arrivals.end_at(now);
            self.phase = Phase::Measure;
            self.phase_until = now;
        }
    }

    fn stop_connection(&mut self, _: &mut Sockets<'_, F>, _: ConnectionId) {}

    fn next_deadline(&self) -> Option<Instant> {
        if self.recorder.has_ended() {
            return None;
        }
        // Whatever waits for a connection starts with an event.
        let due = self.slots.next_ready().and_then(|_| self.arrivals.next());
        Some(due.map_or(self.look_at, |due| due.min(self.look_at)))
    }

    fn poll(&mut self, sockets: &mut Sockets<'_, F>) {
        let now = sockets.now();
        if !self.has_begun {
            self.begin(now);
        }
        // First, so that what was meant to start before the end still does.
        self.drive(sockets);
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            self.turn(now);
            if self.slots.len() > 0 {
                self.look(sockets);
            }
            self.end_if_over(now);
        }
    }
}

//! One trial: a load for a time, then a wait for what is still on its way.

use std::net::Ipv4Addr;
use std::time::Duration;

use wire::{Frame, FramePool, Instant, MacAddr, RxQueue, TxQueue};

use crate::analyser::{Analyser, Received};
use crate::port::Port;
use crate::schedule::{Load, MAX_PPS, MIN_PPS};
use crate::sender::Sender;
use crate::source::Source;
use crate::timing::{LONGEST_NS, Timing};

/// How long it goes on listening when all that was sent has come: copies may follow.
const QUIET: Duration = Duration::from_millis(5);
/// How often a router is asked for its address.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Frames from one port to another, or back to the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Direction {
    /// The port that sends.
    pub from: usize,
    /// The port that receives.
    pub to: usize,
}

/// Ports, what they send each other, and the clock that both ends of every direction go by.
pub struct Tester<T: TxQueue, R, P, C> {
    ports: Vec<Port<T, R, P>>,
    directions: Vec<Direction>,
    clock: C,
    drain: Duration,
}

/// What became of the frames of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Frames that were to be sent.
    pub intended: u64,
    /// Those that the device took in time.
    pub sent: u64,
    /// What was received.
    pub received: Received,
}

/// What a trial showed.
pub struct Trial {
    /// The loads, one after another; the rate is that of each direction.
    pub loads: Vec<Load>,
    /// The counts, direction by direction, in the order in which they were added.
    pub directions: Vec<Counts>,
    /// The delays, of all directions together.
    pub timing: Timing,
    /// RFC 3550's jitter of the stream that has the most, in nanoseconds; `None` if no stream has two packets.
    pub jitter: Option<u64>,
    /// How long after the last load began the last loss was, if any was after that.
    pub last_loss: Option<Duration>,
}

/// Why a trial has no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TrialError {
    /// The rate is none.
    #[error("a rate of {0} frames a second cannot be made: it must be {MIN_PPS} to {MAX_PPS}.")]
    Rate(String),
    /// The device took no frame.
    #[error("none of {0} frames could be sent: the device takes nothing.")]
    NothingSent(u64),
    /// Nothing came.
    #[error(
        "{0} frames were sent and nothing came back: is the device under test there, and does it forward?"
    )]
    NothingReceived(u64),
    /// Only other frames came.
    #[error(
        "{sent} frames were sent and {foreign} others came back, but none of those that were sent: something else \
         is at the other end."
    )]
    WrongPeer {
        /// Frames sent.
        sent: u64,
        /// Frames that came.
        foreign: u64,
    },
    /// A latency that the histogram has no place for.
    #[error(
        "{0} packets took longer than {limit} s, which the latency histogram does not hold.",
        limit = LONGEST_NS / 1_000_000_000
    )]
    Overflow(u64),
    /// Received before sent.
    #[error("{0} packets were received before they were to be sent: the clocks of both ends disagree.")]
    Clocks(u64),
    /// The router does not answer.
    #[error("no ARP reply from the gateway {0} within {1} ms.")]
    NoGateway(Ipv4Addr, u128),
}

impl<F, T, R, P, C> Tester<T, R, P, C>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    R: RxQueue<Frame = F>,
    P: FramePool<Frame = F>,
    C: Fn() -> Instant,
{
    /// A tester without directions. After each trial it waits up to `drain` for what is on its way.
    pub fn new(ports: Vec<Port<T, R, P>>, clock: C, drain: Duration) -> Self {
        Tester { ports, directions: Vec::new(), clock, drain }
    }

    /// Has port `from` send `source` to port `to`. A frame is given up when it is late by `patience`.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn add(&mut self, direction: Direction, source: Source, patience: Duration) {
        self.ports[direction.to].analyser = Some(Analyser::new(source.first_stream(), source.streams()));
        self.ports[direction.from].sender = Some(Sender::new(source, patience));
        self.directions.push(direction);
    }

    /// The ports.
    pub fn ports(&mut self) -> &mut [Port<T, R, P>] {
        &mut self.ports
    }

    /// Asks for the Ethernet address of the router behind a port, and sends that port's frames to it.
    ///
    /// # Errors
    /// [`TrialError::NoGateway`] if there is no reply within `limit`.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn resolve(&mut self, port: usize, router: Ipv4Addr, limit: Duration) -> Result<MacAddr, TrialError> {
        let start = (self.clock)();
        let mut asked = None;
        loop {
            let now = (self.clock)();
            if asked.is_none_or(|asked| now - asked >= ASK_AGAIN) {
                self.ports[port].ask(router);
                asked = Some(now);
            }
            self.receive();
            if let Some(mac) = self.ports[port].station.found() {
                self.ports[port].set_destination(mac);
                return Ok(mac);
            }
            if now - start >= limit {
                return Err(TrialError::NoGateway(router, limit.as_millis()));
            }
        }
    }

    /// Runs the loads, one right after another. Every direction has the same.
    ///
    /// # Errors
    /// [`TrialError`]: a trial that shows nothing of the device under test has no result.
    pub fn trial(&mut self, loads: &[Load]) -> Result<Trial, TrialError> {
        if let Some(load) = loads.iter().find(|load| !load.is_valid()) {
            return Err(TrialError::Rate(load.pps.to_string()));
        }
        let frames = loads.iter().map(Load::frames).fold(0, u64::saturating_add);
        for Direction { from, to } in self.directions.clone() {
            let first = self.ports[from].sender.as_mut().map_or(0, Sender::begin);
            if let Some(analyser) = &mut self.ports[to].analyser {
                analyser.begin(first, frames);
            }
        }
        let mut start = (self.clock)();
        for load in loads {
            self.senders(|sender| sender.load(load, start));
            start = self.run(start + load.duration);
        }
        self.wait();
        self.result(loads, frames).check()
    }

    /// Sends a load and receives nothing, which shows how fast the tester itself is. Gives how many frames the
    /// devices took.
    ///
    /// # Errors
    /// [`TrialError::Rate`], [`TrialError::NothingSent`].
    pub fn send_only(&mut self, load: &Load) -> Result<u64, TrialError> {
        if !load.is_valid() {
            return Err(TrialError::Rate(load.pps.to_string()));
        }
        let start = (self.clock)();
        let end = start + load.duration;
        self.senders(|sender| {
            sender.begin();
            sender.load(load, start);
        });
        let mut now = start;
        while now < end {
            self.send(now);
            now = (self.clock)();
        }
        self.senders(Sender::close);
        match self.counts().map(|counts| counts.sent).sum() {
            0 => Err(TrialError::NothingSent(load.frames())),
            sent => Ok(sent),
        }
    }

    /// Sends and receives until `end`, then hands over what is due and closes the sending; gives `end`.
    fn run(&mut self, end: Instant) -> Instant {
        let mut now = (self.clock)();
        while now < end {
            self.send(now);
            self.receive();
            now = (self.clock)();
        }
        // The last of what was due: as much as the devices take at once. The trial is not made longer.
        while self.send(end) {}
        self.senders(Sender::close);
        end
    }

    #[inline]
    fn send(&mut self, now: Instant) -> bool {
        self.ports.iter_mut().map(|port| port.poll_send(now)).fold(false, |any, sent| any | sent)
    }

    #[inline]
    fn receive(&mut self) {
        for port in &mut self.ports {
            port.poll_receive(&self.clock);
        }
    }

    fn senders(&mut self, each: impl FnMut(&mut Sender<F>)) {
        self.ports.iter_mut().filter_map(|port| port.sender.as_mut()).for_each(each);
    }

    /// Receives until all that was sent is accounted for, or the time is up.
    fn wait(&mut self) {
        let start = (self.clock)();
        let mut complete_since = None;
        loop {
            self.receive();
            let now = (self.clock)();
            if now - start >= self.drain {
                return;
            }
            let complete = self.counts().all(|counts| counts.lost() == 0);
            complete_since = complete.then(|| complete_since.unwrap_or(now));
            if complete_since.is_some_and(|since| now - since >= QUIET) {
                return;
            }
        }
    }

    fn counts(&self) -> impl Iterator<Item = Counts> {
        self.directions.iter().map(|Direction { from, to }| Counts {
            intended: 0,
            sent: self.ports[*from].sender.as_ref().map_or(0, Sender::sent),
            received: self.ports[*to].analyser.as_ref().map(|a| *a.received()).unwrap_or_default(),
        })
    }

    fn result(&self, loads: &[Load], frames: u64) -> Trial {
        let mut timing = Timing::new();
        let analysers =
            || self.directions.iter().filter_map(|direction| self.ports[direction.to].analyser.as_ref());
        analysers().for_each(|analyser| timing.add(analyser.timing()));
        let last_loss = self.directions.iter().filter_map(|Direction { from, to }| {
            let lost = self.ports[*to].analyser.as_ref()?.last_lost()?;
            self.ports[*from].sender.as_ref()?.time_into_load(lost)
        });
        Trial {
            loads: loads.to_vec(),
            directions: self.counts().map(|counts| Counts { intended: frames, ..counts }).collect(),
            timing,
            jitter: analysers().filter_map(Analyser::jitter).max(),
            last_loss: last_loss.max(),
        }
    }
}

impl Counts {
    /// Frames that were not sent in time.
    pub fn not_sent(&self) -> u64 {
        self.intended.saturating_sub(self.sent)
    }

    /// Packets that were sent and have come neither whole nor damaged.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received.unique + self.received.corrupted)
    }

    /// The part of the frames that were to be sent which has not come whole, 0 to 1: what was not sent is lost too.
    pub fn loss_ratio(&self) -> f64 {
        match self.intended {
            0 => 0.0,
            intended => intended.saturating_sub(self.received.unique) as f64 / intended as f64,
        }
    }

    fn add(&mut self, other: &Counts) {
        self.intended += other.intended;
        self.sent += other.sent;
        self.received.add(&other.received);
    }
}

impl Trial {
    /// The counts of all directions together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.directions.iter().for_each(|counts| total.add(counts));
        total
    }

    /// Takes another trial of the same tester in, as if the two were one.
    pub fn add(&mut self, other: &Trial) {
        self.loads.extend(&other.loads);
        self.directions.iter_mut().zip(&other.directions).for_each(|(sum, counts)| sum.add(counts));
        self.timing.add(&other.timing);
        self.jitter = self.jitter.max(other.jitter);
        self.last_loss = other.last_loss;
    }

    /// The time of all loads.
    pub fn duration(&self) -> Duration {
        self.loads.iter().map(|load| load.duration).sum()
    }

    fn check(self) -> Result<Trial, TrialError> {
        let total = self.total();
        let Counts { intended, sent, received } = total;
        let error = if sent == 0 && intended > 0 {
            TrialError::NothingSent(intended)
        } else if self.timing.overflow > 0 {
            TrialError::Overflow(self.timing.overflow)
        } else if self.timing.ahead > 0 {
            TrialError::Clocks(self.timing.ahead)
        } else if received.unique == 0 && received.foreign > 0 {
            TrialError::WrongPeer { sent, foreign: received.foreign }
        } else if received.unique == 0 && sent > 0 {
            TrialError::NothingReceived(sent)
        } else {
            return Ok(self);
        };
        Err(error)
    }
}

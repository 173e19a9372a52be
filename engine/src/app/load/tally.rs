//! What a load counts, and how it comes from the workers to whoever shows it.
//!
//! A worker counts into an interval that it owns. About once a second it gives that one away, and goes on with
//! another that came back: the intervals of a worker are made at the start, and go round.

use std::ops::AddAssign;

use hdrhistogram::Histogram;
use rtrb::{Consumer, Producer, RingBuffer};
use wire::Instant;

/// Intervals of one worker. More than two, so that a late reader costs nothing but time resolution.
const INTERVALS: usize = 4;
/// The longest latency that the histogram tells from longer ones, nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

macro_rules! failures {
    ($($name:ident $text:literal $means:literal;)*) => {
        /// Why requests got no response.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Failure { $(#[doc = $means] $name,)* }

        impl Failure {
            /// All, in the order in which they are shown.
            pub const ALL: &[Failure] = &[$(Failure::$name,)*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Failure::$name => $text,)* }
            }
        }
    };
}

failures! {
    Refused "refused" "Nobody listens there.";
    Unreachable "unreachable" "There is no route, or the network says that the server cannot be reached.";
    TimedOut "timed-out" "Nothing came for as long as the load is patient.";
    Reset "reset" "The server reset the connection.";
    Closed "closed" "The server closed the connection before it had answered.";
    BadResponse "bad-response" "What came is no response, or not the echo of what was sent.";
    Local "local" "This side had no source port or no memory for it.";
}

/// Sums, of one worker or of several.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Connections that were established.
    pub connects: u64,
    /// Requests that were started.
    pub started: u64,
    /// Responses that came in whole.
    pub completed: u64,
    /// Responses with another status than 2xx, among these.
    pub non_2xx: u64,
    /// Responses with another content than they should have, among these.
    pub wrong_bodies: u64,
    /// Bytes of payload received.
    pub bytes: u64,
    /// Requests sent again, because the server closed an idle connection under them (RFC 9112 section 9.3.1).
    pub retried: u64,
    /// Requests whose intended start came and that no connection was free for, until the end.
    pub not_started: u64,
    /// Latencies longer than the histogram's range; they are in it as its longest.
    pub overflowed: u64,
    /// Requests without a response, and attempts to connect, by [`Failure`].
    pub failures: [u64; Failure::ALL.len()],
}

impl Counts {
    /// Requests that failed for this reason.
    pub fn failed(&self, failure: Failure) -> u64 {
        self.failures[failure as usize]
    }

    /// Requests that failed.
    pub fn all_failed(&self) -> u64 {
        self.failures.iter().sum()
    }
}

impl AddAssign<&Counts> for Counts {
    fn add_assign(&mut self, more: &Counts) {
        let Counts {
            connects,
            started,
            completed,
            non_2xx,
            wrong_bodies,
            bytes,
            retried,
            not_started,
            overflowed,
            failures,
        } = more;
        self.connects += connects;
        self.started += started;
        self.completed += completed;
        self.non_2xx += non_2xx;
        self.wrong_bodies += wrong_bodies;
        self.bytes += bytes;
        self.retried += retried;
        self.not_started += not_started;
        self.overflowed += overflowed;
        self.failures.iter_mut().zip(failures).for_each(|(sum, more)| *sum += more);
    }
}

/// Sums of one request of a mix.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct EntryCounts {
    /// As in [`Counts`].
    pub started: u64,
    /// As in [`Counts`].
    pub completed: u64,
    /// As in [`Counts`].
    pub non_2xx: u64,
    /// As in [`Counts`].
    pub wrong_bodies: u64,
    /// Requests without a response.
    pub failed: u64,
    /// All latencies together, nanoseconds.
    pub latency: u64,
}

impl AddAssign<&EntryCounts> for EntryCounts {
    fn add_assign(&mut self, more: &EntryCounts) {
        let EntryCounts { started, completed, non_2xx, wrong_bodies, failed, latency } = more;
        self.started += started;
        self.completed += completed;
        self.non_2xx += non_2xx;
        self.wrong_bodies += wrong_bodies;
        self.failed += failed;
        self.latency += latency;
    }
}

/// What the load was at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// What comes then, in the ramp and after it, is not part of the result.
    WarmUp,
    /// The time that rates are of.
    Measure,
    /// Only requests start that were meant to before; their responses, and those to the ones before, are part of the
    /// result, but of no rate.
    Drain,
    /// Nothing comes after this interval.
    Over,
}

/// What one worker counted for a while.
#[derive(Debug)]
pub struct Interval {
    /// When.
    pub phase: Phase,
    /// Its begin.
    pub from: Instant,
    /// Its end.
    pub to: Instant,
    /// What was counted.
    pub counts: Counts,
    /// The same, by the request of the mix.
    pub entries: Box<[EntryCounts]>,
    /// Connections that were open, or opening, at its end.
    pub open: u32,
    /// From the intended start of a request to the end of its response, nanoseconds.
    pub latency: Histogram<u64>,
}

impl Interval {
    fn reset(&mut self) {
        self.counts = Counts::default();
        self.entries.fill(EntryCounts::default());
        self.latency.reset();
    }
}

/// A histogram that [`Interval::latency`] can be added to.
///
/// # Panics
/// Never: the bounds are valid.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are valid")
}

/// The worker's end.
#[derive(Debug)]
pub struct Recorder {
    /// `None` once the last was given away.
    current: Option<Box<Interval>>,
    full: Producer<Box<Interval>>,
    empty: Consumer<Box<Interval>>,
}

/// The reader's end.
#[derive(Debug)]
pub struct Intervals {
    full: Consumer<Box<Interval>>,
    empty: Producer<Box<Interval>>,
}

impl Intervals {
    /// The two ends for a worker, for a mix of so many requests.
    pub fn new(requests: usize) -> (Recorder, Intervals) {
        let interval = || {
            let (from, to) = (Instant::ZERO, Instant::ZERO);
            Box::new(Interval {
                phase: Phase::WarmUp,
                from,
                to,
                counts: Counts::default(),
                entries: vec![EntryCounts::default(); requests].into_boxed_slice(),
                open: 0,
                latency: histogram(),
            })
        };
        // Each ring has room for all intervals there are: a push cannot fail.
        let (full, full_end) = RingBuffer::new(INTERVALS);
        let (mut empty, empty_end) = RingBuffer::new(INTERVALS);
        (1..INTERVALS).for_each(|_| drop(empty.push(interval())));
        let recorder = Recorder { current: Some(interval()), full, empty: empty_end };
        (recorder, Intervals { full: full_end, empty })
    }

    /// Shows `read` the intervals that came, oldest first.
    pub fn each(&mut self, mut read: impl FnMut(&Interval)) {
        while let Ok(mut interval) = self.full.pop() {
            read(&interval);
            interval.reset();
            drop(self.empty.push(interval));
        }
    }
}

impl Recorder {
    /// Begins the first interval.
    pub(super) fn begin(&mut self, now: Instant, phase: Phase) {
        if let Some(current) = &mut self.current {
            (current.from, current.phase) = (now, phase);
        }
    }

    /// Counts.
    pub(super) fn count(&mut self, count: impl FnOnce(&mut Counts)) {
        if let Some(current) = &mut self.current {
            count(&mut current.counts);
        }
    }

    /// Counts a request of the mix, in both sums.
    fn count_entry(&mut self, entry: u16, count: impl FnOnce(&mut Counts, &mut EntryCounts)) {
        if let Some(current) = &mut self.current
            && let Some(entry) = current.entries.get_mut(usize::from(entry))
        {
            count(&mut current.counts, entry);
        }
    }

    /// Counts a request that starts.
    pub(super) fn started(&mut self, entry: u16) {
        self.count_entry(entry, |all, entry| {
            all.started += 1;
            entry.started += 1;
        });
    }

    /// Counts a request that failed.
    pub(super) fn failed(&mut self, entry: u16, failure: Failure) {
        self.count_entry(entry, |all, entry| {
            all.failures[failure as usize] += 1;
            entry.failed += 1;
        });
    }

    /// Counts an attempt to connect that failed, for no request.
    pub(super) fn failed_to_connect(&mut self, failure: Failure) {
        self.count(|counts| counts.failures[failure as usize] += 1);
    }

    /// Counts a response, after `latency` nanoseconds.
    pub(super) fn completed(&mut self, entry: u16, latency: u64, is_2xx: bool, is_right: bool) {
        self.count_entry(entry, |all, entry| {
            all.completed += 1;
            all.non_2xx += u64::from(!is_2xx);
            all.wrong_bodies += u64::from(!is_right);
            entry.completed += 1;
            entry.non_2xx += u64::from(!is_2xx);
            entry.wrong_bodies += u64::from(!is_right);
            entry.latency += latency;
        });
        if let Some(current) = &mut self.current
            && current.latency.record(latency).is_err()
        {
            current.counts.overflowed += 1;
            current.latency.saturating_record(latency);
        }
    }

    /// Ends the interval and begins another, of `phase`. If none has come back yet, this one goes on; but one of
    /// a phase that counts does not go on from one that does not. `open` connections are open.
    pub(super) fn turn(&mut self, now: Instant, phase: Phase, open: u32) {
        let Some(current) = &mut self.current else { return };
        current.open = open;
        if let Ok(mut next) = self.empty.pop() {
            (next.from, next.phase) = (now, phase);
            current.to = now;
            drop(self.full.push(std::mem::replace(current, next)));
        } else if current.phase == Phase::WarmUp && phase != Phase::WarmUp {
            (current.from, current.phase) = (now, phase);
            current.reset();
        }
    }

    /// Gives the last interval away.
    pub(super) fn end(&mut self, now: Instant) {
        self.turn(now, Phase::Over, 0);
        if let Some(mut last) = self.current.take() {
            (last.to, last.phase) = (now, Phase::Over);
            drop(self.full.push(last));
        }
    }

    /// Whether the last interval was given away.
    pub(super) fn has_ended(&self) -> bool {
        self.current.is_none()
    }
}

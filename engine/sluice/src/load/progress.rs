//! What the workers have counted so far, and a line a second of it.

use std::collections::VecDeque;
use std::time::Duration;

use engine::app::load::{Counts, EntryCounts, Interval, Intervals, Phase, histogram};
use hdrhistogram::Histogram;
use report::Span;
use wire::Instant;

use super::measures::{self, COMPLETED_RATE, RECEIVED_RATE};
use super::say;

/// Digits of latencies in the time line.
const DIGITS: u8 = 2;

/// The counts of a load, gathered while it runs.
pub(crate) struct Progress {
    workers: Vec<Intervals>,
    /// Intervals that each worker has delivered.
    delivered: Vec<usize>,
    /// Intervals that not all workers have delivered, the first of which has the number `told`.
    seconds: VecDeque<Second>,
    told: usize,
    begin: Option<Instant>,
    over: usize,
    /// The whole, so far.
    pub(crate) result: Result,
}

/// The whole of a load.
pub(crate) struct Result {
    /// Of the time that rates are of.
    pub(crate) measured: Counts,
    /// That time, of all workers together.
    measured_for: Duration,
    workers: u32,
    /// Of that time and after it.
    pub(crate) all: Counts,
    /// Of the warm-up too.
    pub(crate) ever: Counts,
    /// As in `all`, by the request of the mix.
    pub(crate) entries: Vec<EntryCounts>,
    /// Connections open when the measured time ended, by worker.
    open: Vec<u32>,
    /// Of the responses in `all`, nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The time line of the measured time.
    pub(crate) spans: Vec<Span>,
}

impl Result {
    /// Seconds that rates are of.
    pub(crate) fn seconds(&self) -> f64 {
        self.measured_for.as_secs_f64() / f64::from(self.workers)
    }

    /// Connections open, or being opened, when the measured time ended.
    pub(crate) fn open(&self) -> u32 {
        self.open.iter().sum()
    }

    /// Responses a second.
    pub(crate) fn rate(&self) -> f64 {
        per_second(self.measured.completed, self.seconds())
    }

    /// Bytes of payload received a second.
    pub(crate) fn byte_rate(&self) -> f64 {
        per_second(self.measured.bytes, self.seconds())
    }
}

/// Zero if no time has gone by.
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Intervals of the same number.
struct Second {
    phase: Phase,
    from: Instant,
    to: Instant,
    counts: Counts,
    latency: Histogram<u64>,
    workers: usize,
}

impl Progress {
    /// Of the loads on `workers`, of a mix of so many requests.
    pub(crate) fn new(workers: Vec<Intervals>, requests: usize) -> Self {
        let result = Result {
            measured: Counts::default(),
            measured_for: Duration::ZERO,
            workers: workers.len() as u32,
            all: Counts::default(),
            ever: Counts::default(),
            entries: vec![EntryCounts::default(); requests],
            open: vec![0; workers.len()],
            latency: histogram(),
            spans: Vec::new(),
        };
        let delivered = vec![0; workers.len()];
        Progress { workers, delivered, seconds: VecDeque::new(), told: 0, begin: None, over: 0, result }
    }

    /// Takes what the workers have delivered, and shows the seconds that all have. Gives whether all is over.
    pub(crate) fn look(&mut self) -> bool {
        for at in 0..self.workers.len() {
            let Progress { workers, delivered, seconds, told, over, result, .. } = self;
            workers[at].each(|interval| {
                result.add(at, interval);
                *over += usize::from(interval.phase == Phase::Over);
                let number = delivered[at] - *told;
                delivered[at] += 1;
                match seconds.get_mut(number) {
                    Some(second) => second.add(interval),
                    None => seconds.push_back(Second::new(interval)),
                }
            });
        }
        while let Some(second) = self.seconds.pop_front_if(|second| second.workers == self.delivered.len()) {
            self.told += 1;
            self.tell(&second);
        }
        self.over == self.workers.len()
    }

    fn tell(&mut self, second: &Second) {
        let begin = *self.begin.get_or_insert(second.from);
        let (start, length) =
            (second.from.since(begin).as_secs_f64(), second.to.since(second.from).as_secs_f64());
        if !matches!(second.phase, Phase::WarmUp | Phase::Measure) || length == 0.0 {
            return;
        }
        let rate = per_second(second.counts.completed, length);
        say::second(second.phase, start + length, rate, &second.counts, &second.latency);
        if second.phase == Phase::Measure {
            let span = Span::new(start, length)
                .with(COMPLETED_RATE, rate)
                .with(RECEIVED_RATE, per_second(second.counts.bytes, length) * 8.0)
                .with(measures::FAILED, second.counts.all_failed() as f64)
                .histogram("latency", "ns", second.latency.clone());
            self.result.spans.push(span);
        }
    }
}

impl Result {
    /// Adds an interval of the worker number `worker`.
    fn add(&mut self, worker: usize, interval: &Interval) {
        self.ever += &interval.counts;
        if interval.phase == Phase::WarmUp {
            return;
        }
        if interval.phase == Phase::Measure {
            self.measured += &interval.counts;
            self.measured_for += interval.to.since(interval.from);
            self.open[worker] = interval.open;
        }
        self.entries.iter_mut().zip(&interval.entries).for_each(|(sum, more)| *sum += more);
        self.all += &interval.counts;
        // The bounds are the same.
        let _fits = self.latency.add(&interval.latency);
    }
}

impl Second {
    fn new(interval: &Interval) -> Self {
        let latency = Histogram::new(DIGITS).unwrap_or_else(|_| histogram());
        let Interval { phase, from, to, .. } = *interval;
        let mut second = Second { phase, from, to, counts: Counts::default(), latency, workers: 0 };
        second.add(interval);
        second
    }

    fn add(&mut self, interval: &Interval) {
        self.to = self.to.max(interval.to);
        self.counts += &interval.counts;
        // It grows as it must.
        let _fits = self.latency.add(&interval.latency);
        self.workers += 1;
    }
}

//! The receiving end of a lane: what has come, what of it is whole, in order and new, and how long it took.

use wire::Instant;

use crate::packet::{MARK_BITS, Mark, Seen, inspect};
use crate::timing::{Timing, Transit};
use crate::window::{Arrival, Window};

/// Sequence numbers that the windows of all streams span together.
const WINDOW: usize = 1 << 18;
/// The least that one spans.
const LEAST_WINDOW: usize = 256;

/// What was received. Every frame is counted once, but reordered ones, which are received too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Whole packets, each counted when it came first.
    pub unique: u64,
    /// Those of them that came after a later one of their stream (RFC 4737 section 3).
    pub reordered: u64,
    /// The largest number of arrivals by which one was late (RFC 4737 section 4.2.1).
    pub reorder_extent: u32,
    /// Packets that had come already.
    pub duplicated: u64,
    /// Packets with damage, each counted when it came first, as far as its number could be read.
    pub corrupted: u64,
    /// Packets too late for the window: lost, for all that is known, or duplicates.
    pub expired: u64,
    /// Packets of an earlier trial.
    pub stale: u64,
    /// Frames that are no packets of this lane.
    pub foreign: u64,
}

/// Looks at one lane's frames. Its memory does not grow.
pub struct Analyser {
    first_stream: u16,
    streams: Vec<Stream>,
    received: Received,
    timing: Timing,
}

struct Stream {
    window: Window,
    transit: Transit,
}

impl Analyser {
    /// An analyser of `streams` streams, numbered from `first_stream`.
    pub fn new(first_stream: u16, streams: usize) -> Self {
        // A power of two, rounded down.
        let window = 1 << (WINDOW / streams.max(1)).max(LEAST_WINDOW).ilog2();
        let stream = || Stream { window: Window::new(window), transit: Transit::default() };
        Analyser {
            first_stream,
            streams: std::iter::repeat_with(stream).take(streams).collect(),
            received: Received::default(),
            timing: Timing::new(),
        }
    }

    /// Begins a trial in which the lane's frames `first..first + count` are sent.
    pub fn begin(&mut self, first: u64, count: u64) {
        let streams = self.streams.len() as u64;
        for (n, stream) in self.streams.iter_mut().enumerate() {
            // Frame f is number f / streams of stream f % streams.
            let number = |frame: u64| (frame + streams - 1 - n as u64) / streams;
            stream.window.begin(number(first), number(first.saturating_add(count)));
            stream.transit = Transit::default();
        }
        self.received = Received::default();
        self.timing.reset();
    }

    /// Takes a frame that was received at `now`; gives whether it is a test packet, of this lane or not.
    #[inline]
    pub fn handle(&mut self, frame: &[u8], now: Instant) -> bool {
        match inspect(frame) {
            Seen::Good(mark) => self.good(mark, now),
            Seen::Corrupt(mark) => self.corrupt(mark),
            Seen::Foreign => {
                self.received.foreign += 1;
                return false;
            }
        }
        true
    }

    #[inline]
    fn good(&mut self, mark: Mark, now: Instant) {
        let Some(stream) = stream_of(&mut self.streams, self.first_stream, &mark) else {
            self.received.foreign += 1;
            return;
        };
        match stream.window.record(mark.sequence) {
            Arrival::InOrder => {}
            Arrival::Reordered { extent } => {
                self.received.reordered += 1;
                self.received.reorder_extent = self.received.reorder_extent.max(extent);
            }
            other => return self.received.count(other),
        }
        self.received.unique += 1;
        self.timing.record(elapsed(mark.intended, now), &mut stream.transit);
    }

    #[cold]
    fn corrupt(&mut self, mark: Option<Mark>) {
        let stream = mark.and_then(|mark| {
            let stream = stream_of(&mut self.streams, self.first_stream, &mark)?;
            Some(stream.window.record(mark.sequence))
        });
        match stream {
            None | Some(Arrival::InOrder | Arrival::Reordered { .. }) => self.received.corrupted += 1,
            Some(other) => self.received.count(other),
        }
    }

    /// What was received in this trial.
    pub fn received(&self) -> &Received {
        &self.received
    }

    /// How long the packets of this trial took.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// RFC 3550's jitter of the stream that has the most, in nanoseconds; `None` if no stream has two packets.
    pub fn jitter(&self) -> Option<u64> {
        self.streams.iter().filter_map(|stream| stream.transit.jitter()).max()
    }

    /// The last frame, in all that the lane sends, that has not come; `None` if all have.
    pub fn last_lost(&self) -> Option<u64> {
        let streams = self.streams.len() as u64;
        let lost = self.streams.iter().zip(0..).filter_map(|(stream, n)| {
            let number = stream.window.last_lost()?;
            Some(number * streams + n)
        });
        lost.max()
    }
}

impl Received {
    /// Counts a packet that is neither new nor whole.
    fn count(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Duplicate => self.duplicated += 1,
            Arrival::Expired => self.expired += 1,
            Arrival::Stale => self.stale += 1,
            Arrival::Unknown => self.foreign += 1,
            Arrival::InOrder | Arrival::Reordered { .. } => {}
        }
    }

    /// All frames of the trial that came, of whatever kind.
    pub fn frames(&self) -> u64 {
        self.unique + self.duplicated + self.corrupted + self.expired + self.stale + self.foreign
    }

    pub(crate) fn add(&mut self, other: &Received) {
        self.unique += other.unique;
        self.reordered += other.reordered;
        self.reorder_extent = self.reorder_extent.max(other.reorder_extent);
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.expired += other.expired;
        self.stale += other.stale;
        self.foreign += other.foreign;
    }
}

#[inline]
fn stream_of<'a>(streams: &'a mut [Stream], first: u16, mark: &Mark) -> Option<&'a mut Stream> {
    streams.get_mut(usize::from(mark.stream.checked_sub(first)?))
}

/// Nanoseconds from `intended`, of which 48 bits are known, to `now`.
#[inline(always)]
fn elapsed(intended: u64, now: Instant) -> i64 {
    let shift = u64::BITS - MARK_BITS;
    ((now.as_nanos().wrapping_sub(intended) << shift) as i64) >> shift
}

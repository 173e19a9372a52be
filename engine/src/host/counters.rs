//! What a worker's TCP counted, for others to read.

use tcp::counters::Counters;
use tcp::shard::Shard;
use wire::{Counter, Payload};

/// A copy of a shard's counters, a few times a second. The worker writes, anybody may read.
#[derive(Debug)]
pub struct HostCounters {
    /// In the order of [`Counters::iter`].
    events: Box<[Counter]>,
    gauges: [Counter; Gauge::ALL.len()],
    /// Bytes of payload that were copied.
    pub copied: Counter,
    /// Connections that are not over, half-open ones among them.
    pub open: Counter,
    /// Whether anything waits to be sent: 0 or 1.
    pub sending: Counter,
}

/// What there is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gauge {
    /// Connections, those that are still opening or closing included.
    Connections,
    /// Half-open connections.
    HalfOpen,
    /// Connections in TIME-WAIT.
    TimeWait,
    /// Payloads given for sending and not acknowledged.
    Unacknowledged,
    /// Payloads received and not taken.
    Unread,
    /// Segments in flight.
    InFlight,
}

impl Gauge {
    /// All of them.
    pub const ALL: [Gauge; 6] = [
        Gauge::Connections,
        Gauge::HalfOpen,
        Gauge::TimeWait,
        Gauge::Unacknowledged,
        Gauge::Unread,
        Gauge::InFlight,
    ];

    /// The stable name, and what it means.
    pub const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Gauge::Connections => ("connections", "Connections now, those that open or close included."),
            Gauge::HalfOpen => ("half-open", "Half-open connections now."),
            Gauge::TimeWait => ("time-wait", "Connections in TIME-WAIT now."),
            Gauge::Unacknowledged => ("unacknowledged", "Payloads now held for being sent, or sent again."),
            Gauge::Unread => ("unread", "Payloads now received and not taken."),
            Gauge::InFlight => ("in-flight", "Segments now in flight."),
        }
    }
}

impl Default for HostCounters {
    fn default() -> Self {
        HostCounters {
            events: Counters::default().iter().map(|_| Counter::default()).collect(),
            gauges: std::array::from_fn(|_| Counter::default()),
            copied: Counter::default(),
            open: Counter::default(),
            sending: Counter::default(),
        }
    }
}

impl HostCounters {
    pub(super) fn publish<B: Payload>(&self, tcp: &Shard<B>, copied: u64, is_sending: bool) {
        self.copied.set(copied);
        self.open.set(tcp.open() as u64);
        self.sending.set(is_sending.into());
        for (copy, (_, value, _)) in self.events.iter().zip(tcp.counters().iter()) {
            copy.set(value);
        }
        let (connections, half_open, time_wait) = tcp.population();
        let (unacknowledged, unread, in_flight) = tcp.held();
        let now = [connections, half_open, time_wait, unacknowledged, unread, in_flight];
        self.gauges.iter().zip(now).for_each(|(copy, value)| copy.set(value as u64));
    }

    /// Whether no connection is open, and nothing waits to be sent.
    pub fn is_at_rest(&self) -> bool {
        self.open.get() == 0 && self.sending.get() == 0
    }

    /// What there was at the last copy.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].get()
    }

    /// The gauges, then the counters: each one's stable name, its value, and what it means.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64, &'static str)> {
        let gauges = Gauge::ALL.into_iter().map(|gauge| {
            let (name, text) = gauge.describe();
            (name, self.gauge(gauge), text)
        });
        let names = Counters::default();
        let names: Vec<_> = names.iter().map(|(name, _, text)| (name, text)).collect();
        let events = self.events.iter().zip(names).map(|(copy, (name, text))| (name, copy.get(), text));
        let text = "Bytes of payload that were copied: what is sent in many small pieces or lies where no device can read it, and what adapters copy.";
        gauges.chain(events).chain([("payload-bytes-copied", self.copied.get(), text)])
    }
}

//! How large the receive buffer should be: dynamic right-sizing, as Linux has it.
//!
//! The application's rate is measured over a round trip. A buffer of twice the bytes that it took in one
//! lets the sender double its rate. A receiver has round-trip times of its own from echoed timestamps; else
//! the time in which a whole window came is one at least.

use super::{Limits, Receiver};
use crate::budget::Budget;
use crate::{Micros, SeqNumber};

/// The round trip under way.
#[derive(Debug)]
pub(super) struct AutoTune {
    /// Round-trip time in us; 0 if not known yet.
    rtt: u32,
    /// When it began.
    since: Micros,
    /// What had been released then.
    released: SeqNumber,
    /// The window's right edge then: what lies past it was sent one round trip later or more.
    edge: SeqNumber,
}

const _: () = assert!(size_of::<AutoTune>() <= 16);

impl AutoTune {
    pub(super) const fn new(released: SeqNumber, edge: SeqNumber, now: Micros) -> Self {
        AutoTune { rtt: 0, since: now, released, edge }
    }
}

impl Receiver {
    /// Takes a round-trip time in us: that of the handshake, or from the timestamp that a data segment
    /// echoes.
    pub const fn on_rtt(&mut self, sample: u32) {
        let rtt = self.tuning.rtt;
        // An average over about eight, as of RFC 6298 section 2.3.
        let smoothed = if rtt == 0 { sample } else { rtt - rtt / 8 + sample / 8 };
        self.tuning.rtt = if smoothed == 0 { 1 } else { smoothed };
    }

    /// Lets the buffer grow if the application has taken much since the last round trip; to be called after
    /// [`Receiver::release`].
    pub fn tune(&mut self, limits: &Limits, budget: &mut Budget, now: Micros) {
        if self.fixed {
            return;
        }
        let released = self.next - self.used;
        let AutoTune { rtt, since, released: before, edge } = self.tuning;
        let elapsed = now.since(since);
        let window_came = edge.before(self.next) && elapsed > 0;
        let rtt = if window_came && (rtt == 0 || elapsed < rtt) { elapsed } else { rtt };
        if rtt == 0 || elapsed < rtt {
            return;
        }
        self.tuning = AutoTune { rtt, since: now, released, edge: self.edge };
        self.grow(released.distance_from(before), limits, budget);
    }

    /// `taken`: bytes that the application took in a round trip.
    fn grow(&mut self, taken: u32, limits: &Limits, budget: &mut Budget) {
        let max = limits.max.min(0xffff << self.scale);
        // Twice what was taken; and as much more as that is past the buffer, for a sender in slow start has
        // doubled its rate again by the time the new window reaches it.
        let wanted = taken.saturating_mul(4).saturating_sub(self.limit).min(max);
        if wanted > self.limit && !budget.pressure() && budget.take(wanted - self.limit) {
            self.limit = wanted;
        }
    }
}

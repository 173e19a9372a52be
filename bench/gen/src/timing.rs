//! Latency and its variation, in histograms of fixed size.

use hdrhistogram::Histogram;

/// The longest latency that is told from longer ones, in nanoseconds: a minute.
pub const LONGEST_NS: u64 = 60_000_000_000;
/// Decimal digits that a histogram keeps of a value.
const DIGITS: u8 = 3;

/// The delays of a trial's packets, from the time at which each was to be sent to that at which it was received.
pub struct Timing {
    /// One-way latency in nanoseconds, from the intended send time.
    pub latency: Histogram<u64>,
    /// RFC 3393: differences in latency of packets that came one after another in a stream, without sign, in
    /// nanoseconds.
    pub variation: Histogram<u64>,
    /// Packets whose latency was above [`LONGEST_NS`]; the histograms do not have them.
    pub overflow: u64,
    /// Packets that were received before they were to be sent: their clocks disagree.
    pub ahead: u64,
}

/// What is remembered of a stream's last packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Transit {
    last: Option<u64>,
    /// RFC 3550's estimate, times 16.
    scaled: u64,
}

impl Timing {
    pub(crate) fn new() -> Self {
        Timing { latency: histogram(), variation: histogram(), overflow: 0, ahead: 0 }
    }

    pub(crate) fn reset(&mut self) {
        self.latency.reset();
        self.variation.reset();
        (self.overflow, self.ahead) = (0, 0);
    }

    /// Takes a packet's latency, in nanoseconds; negative if it was received before it was to be sent.
    #[inline]
    pub(crate) fn record(&mut self, latency: i64, transit: &mut Transit) {
        let latency = u64::try_from(latency).unwrap_or_else(|_| {
            self.ahead += 1;
            0
        });
        // The histogram rounds its own bound up.
        if latency > LONGEST_NS || self.latency.record(latency).is_err() {
            self.overflow += 1;
            return;
        }
        if let Some(difference) = transit.advance(latency) {
            // No larger than the latencies it is the difference of.
            self.variation.saturating_record(difference);
        }
    }

    pub(crate) fn add(&mut self, other: &Timing) {
        // Histograms of the same bounds always add up.
        let _same = (self.latency.add(&other.latency), self.variation.add(&other.variation));
        self.overflow += other.overflow;
        self.ahead += other.ahead;
    }
}

impl Transit {
    #[inline]
    fn advance(&mut self, latency: u64) -> Option<u64> {
        let difference = self.last.replace(latency)?.abs_diff(latency);
        //= RFC 3550 appendix A.8: the estimate moves by a sixteenth of what it is off, and is kept times 16
        self.scaled = (self.scaled + difference).saturating_sub((self.scaled + 8) >> 4);
        Some(difference)
    }

    /// RFC 3550's interarrival jitter in nanoseconds; `None` before the second packet.
    pub(crate) fn jitter(&self) -> Option<u64> {
        self.last.map(|_| self.scaled >> 4)
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("the bounds are in order, the digits few")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_long_is_counted_and_not_recorded() {
        let (mut timing, mut transit) = (Timing::new(), Transit::default());
        for latency in [5, -3, LONGEST_NS as i64, LONGEST_NS as i64 + 1] {
            timing.record(latency, &mut transit);
        }
        assert_eq!((timing.overflow, timing.ahead, timing.latency.len()), (1, 1, 3));
        assert!(timing.latency.max() >= LONGEST_NS);
    }

    /// The estimate of RFC 3550 section 6.4.1, in real numbers.
    #[test]
    fn jitter_follows_the_formula() {
        let mut transit = Transit::default();
        assert_eq!(transit.jitter(), None);
        let (mut expected, mut last) = (0.0, 1000.0_f64);
        transit.advance(1000);
        for n in 0..1000u32 {
            let latency = f64::from(1000 + n * 7919 % 500);
            expected += (latency - last).abs() / 16.0 - expected / 16.0;
            last = latency;
            transit.advance(latency as u64);
            let jitter = transit.jitter().unwrap() as f64;
            assert!((jitter - expected).abs() < 2.0, "{n}: {jitter} {expected}");
        }
    }

    #[test]
    fn differences_are_of_neighbours() {
        let (mut timing, mut transit) = (Timing::new(), Transit::default());
        for latency in [100, 130, 120] {
            timing.record(latency, &mut transit);
        }
        assert_eq!((timing.variation.min(), timing.variation.max(), timing.variation.len()), (10, 30, 2));
    }
}

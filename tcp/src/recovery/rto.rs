//! Round trip times and the retransmission timeout (RFC 6298).

use crate::Micros;

/// Bounds on the timers of loss recovery, the same for all connections of a shard. Times in us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The least that the retransmission timeout lies above the smoothed round trip.
    pub min_rto: u32,
    /// The retransmission timeout before the first round trip is measured.
    pub initial_rto: u32,
    /// The most that the retransmission timeout grows to.
    pub max_rto: u32,
    /// The longest that a receiver delays an ACK, as the tail loss probe takes it. Most delay by 40 ms; one
    /// that waits longer costs a probe, and nothing else.
    pub max_ack_delay: u32,
    /// The least that a tail loss probe waits.
    pub min_probe: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            min_rto: 200_000,
            initial_rto: 1_000_000,
            max_rto: 120_000_000,
            max_ack_delay: 50_000,
            min_probe: 2_000,
        }
    }
}

//= RFC 6298 section 5.7: if the SYN was lost with less than that, data begins with 3 s.
const RTO_AFTER_LOST_SYN: u32 = 3_000_000;

/// A sample of the least round trip counts for this long, or for twice as long.
const MIN_RTT_BUCKET: u32 = 5_000_000;

/// Round trips as they were measured, in us. Zero: not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RttEstimator {
    srtt: u32,
    rttvar: u32,
    /// The least of the bucket that began at `min_since`, and of the one before it.
    min: u32,
    min_before: u32,
    min_since: Micros,
}

impl RttEstimator {
    /// SRTT, or zero.
    pub(super) const fn srtt(&self) -> u32 {
        self.srtt
    }

    /// RTTVAR.
    pub(super) const fn rttvar(&self) -> u32 {
        self.rttvar
    }

    /// The least round trip of the last 5 to 10 s that had samples, or zero.
    pub(super) fn min(&self) -> u32 {
        self.min.min(self.min_before)
    }

    /// Takes a round trip of `rtt` us, one of about `samples` that are taken in a round trip.
    pub(super) fn on_sample(&mut self, now: Micros, rtt: u32, samples: u32) {
        // Below half the range, so that no sum overflows.
        let rtt = rtt.clamp(1, i32::MAX as u32);
        self.track_min(now, rtt);
        if self.srtt == 0 {
            //= RFC 6298 section 2.2: the first sample.
            (self.srtt, self.rttvar) = (rtt, rtt / 2);
            return;
        }
        //= RFC 6298 section 2.3: RTTVAR <- 3/4 RTTVAR + 1/4 |SRTT - R|, SRTT <- 7/8 SRTT + 1/8 R.
        let deviation = self.srtt.abs_diff(rtt);
        if deviation >= self.rttvar {
            self.rttvar += (deviation - self.rttvar) / 4;
        } else {
            //= RFC 7323 section 4.2: many samples a round trip must not make the memory shorter than a
            //= round trip. Here that holds for what it would forget, a variance that was seen.
            self.rttvar -= (self.rttvar - deviation) / samples.clamp(1, 1 << 20).saturating_mul(4);
        }
        self.srtt = (self.srtt - self.srtt / 8 + rtt / 8).max(1);
    }

    fn track_min(&mut self, now: Micros, rtt: u32) {
        if self.srtt == 0 {
            (self.min, self.min_before, self.min_since) = (rtt, rtt, now);
            return;
        }
        let age = now.since(self.min_since);
        if age < MIN_RTT_BUCKET {
            self.min = self.min.min(rtt);
            return;
        }
        self.min_before = if age < 2 * MIN_RTT_BUCKET { self.min } else { rtt };
        (self.min, self.min_since) = (rtt, now);
    }

    /// The retransmission timeout after `backoff` timeouts in a row. `syn_lost`: one ran out before any
    /// round trip was measured.
    pub(super) fn rto(&self, limits: &Limits, backoff: u8, syn_lost: bool) -> u32 {
        let base = if self.srtt == 0 {
            if syn_lost && backoff == 0 {
                limits.initial_rto.max(RTO_AFTER_LOST_SYN)
            } else {
                //= RFC 6298 section 2.1: 1 s until a round trip is measured.
                limits.initial_rto
            }
        } else {
            //= RFC 6298 section 2.3: RTO <- SRTT + max(G, 4 RTTVAR). The lower bound stands in the place
            //= of G, as in Linux: on a path whose round trip is longer than the bound, the margin is
            //= still there when the variance has decayed.
            self.srtt + (self.rttvar.saturating_mul(4)).clamp(limits.min_rto, i32::MAX as u32)
        };
        //= RFC 6298 section 5.5: RTO <- 2 RTO, up to a bound.
        base.saturating_mul(1 << backoff.min(20)).min(limits.max_rto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        min_rto: 200_000,
        initial_rto: 1_000_000,
        max_rto: 120_000_000,
        max_ack_delay: 200_000,
        min_probe: 2_000,
    };

    fn after(samples: &[u32]) -> RttEstimator {
        let mut rtt = RttEstimator::default();
        samples.iter().for_each(|sample| rtt.on_sample(Micros::new(0), *sample, 1));
        rtt
    }

    /// RFC 6298 section 2, by hand.
    #[test]
    fn smoothed_as_the_rfc_has_it() {
        for (samples, srtt, rttvar) in [
            (&[80_000][..], 80_000, 40_000),
            (&[80_000, 160_000], 90_000, 50_000),
            (&[80_000, 160_000, 90_000], 90_000, 37_500),
            (&[0], 1, 0),
            (&[u32::MAX], i32::MAX as u32, i32::MAX as u32 / 2),
        ] {
            let rtt = after(samples);
            assert_eq!((rtt.srtt(), rtt.rttvar()), (srtt, rttvar), "{samples:?}");
        }
    }

    /// Samples, timeouts in a row, whether the SYN was lost, RTO in ms.
    #[test]
    fn timeouts() {
        for (samples, backoff, syn_lost, want) in [
            (&[][..], 0, false, 1_000),
            (&[], 3, true, 8_000),
            (&[], 0, true, 3_000),
            (&[], 200, true, 120_000),
            (&[10_000], 0, true, 210),
            (&[10_000], 1, false, 420),
            (&[100_000], 0, false, 300),
            (&[1_000_000], 0, false, 3_000),
            (&[1_000_000], 10, false, 120_000),
            (&[u32::MAX], 0, false, 120_000),
        ] {
            let rto = after(samples).rto(&LIMITS, backoff, syn_lost);
            assert_eq!(rto, want * 1_000, "{samples:?} {backoff} {syn_lost}");
        }
        // A path that never varies keeps the margin.
        let rtt = after(&[600_000; 200]);
        assert!(rtt.rttvar() < 10, "{rtt:?}");
        assert_eq!(rtt.rto(&LIMITS, 0, false), rtt.srtt() + 200_000);
    }

    #[test]
    fn a_variance_is_remembered_for_round_trips_not_for_samples() {
        let mut often = after(&[10_000, 100_000]);
        let mut once = often;
        (0..100).for_each(|_| often.on_sample(Micros::new(0), 20_000, 100));
        once.on_sample(Micros::new(0), 20_000, 1);
        assert!(often.rttvar() >= once.rttvar() / 2, "{often:?} {once:?}");
    }

    #[test]
    fn the_minimum_forgets() {
        let mut rtt = RttEstimator::default();
        // Time in s, sample, least.
        for (at, sample, min) in [
            (0, 50, 50),
            (1, 80, 50),
            (6, 90, 50),
            (8, 70, 50),
            (12, 100, 70),
            (17, 100, 100),
            (40, 300, 300),
        ] {
            rtt.on_sample(Micros::new(at * 1_000_000), sample, 1);
            assert_eq!(rtt.min(), min, "{at} s");
        }
    }
}

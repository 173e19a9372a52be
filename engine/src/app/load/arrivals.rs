//! When requests are meant to start.

use wire::Instant;

const NANOS: f64 = 1e9;

/// What decides when a request starts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// Closed loop: as soon as a connection may carry one more.
    Closed,
    /// Open loop, so many a second in equal distances.
    Constant(f64),
    /// Open loop, so many a second on average, in distances that know nothing of each other (a Poisson process).
    Poisson(f64),
}

/// The intended starts, one after another. Those that have come and were not taken wait here, without memory:
/// they are the next that are taken, with the time at which they came.
#[derive(Debug)]
pub(super) struct Arrivals {
    kind: Kind,
    end: Instant,
}

#[derive(Debug)]
enum Kind {
    Closed,
    Constant {
        begin: Instant,
        /// Nanoseconds from one to the next.
        step: f64,
        /// Of the next one; workers begin at different fractions, so that all together keep equal distances.
        number: f64,
    },
    Poisson {
        mean: f64,
        /// The next one, in nanoseconds.
        next: f64,
        state: u64,
    },
}

impl Arrivals {
    /// Those of worker `worker`, which has the share `share` of the whole pace, from `begin` until before `end`.
    pub(super) fn new(pace: Pace, share: f64, phase: f64, begin: Instant, end: Instant) -> Self {
        let kind = match pace {
            Pace::Closed => Kind::Closed,
            Pace::Constant(rate) => Kind::Constant { begin, step: NANOS / (rate * share), number: phase },
            Pace::Poisson(rate) => {
                let mut kind = Kind::Poisson {
                    mean: NANOS / (rate * share),
                    next: begin.as_nanos() as f64,
                    state: phase.to_bits() ^ begin.as_nanos(),
                };
                kind.advance();
                kind
            }
        };
        Arrivals { kind, end }
    }

    /// Whether requests start by themselves, however slow the answers are.
    pub(super) fn are_open(&self) -> bool {
        !matches!(self.kind, Kind::Closed)
    }

    /// The next intended start, if it is a time; `None` in a closed loop and after the last.
    pub(super) fn next(&self) -> Option<Instant> {
        self.kind.next().filter(|next| *next < self.end)
    }

    /// Takes the oldest intended start that has come by `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        if !self.are_open() {
            return (now < self.end).then_some(now);
        }
        let next = self.next().filter(|next| *next <= now)?;
        self.kind.advance();
        Some(next)
    }

    /// None comes at `end` or later.
    pub(super) fn end_at(&mut self, end: Instant) {
        self.end = self.end.min(end);
    }

    /// Takes all that are left; gives how many they were.
    pub(super) fn take_rest(&mut self) -> u64 {
        let mut count = 0;
        while self.next().is_some() {
            self.kind.advance();
            count += 1;
        }
        count
    }
}

impl Kind {
    fn next(&self) -> Option<Instant> {
        match *self {
            Kind::Closed => None,
            Kind::Constant { begin, step, number } => {
                Some(Instant::from_nanos(begin.as_nanos() + (number * step) as u64))
            }
            Kind::Poisson { next, .. } => Some(Instant::from_nanos(next as u64)),
        }
    }

    fn advance(&mut self) {
        match self {
            Kind::Closed => {}
            Kind::Constant { number, .. } => *number += 1.0,
            Kind::Poisson { mean, next, state } => {
                // In (0, 1]: the logarithm is finite.
                let chance = ((split_mix(state) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                *next -= *mean * chance.ln();
            }
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut arrivals: Arrivals) -> Vec<u64> {
        std::iter::from_fn(|| arrivals.take(Instant::from_millis(u64::MAX / 1_000_000)))
            .map(Instant::as_nanos)
            .collect()
    }

    #[test]
    fn constant_ones_of_all_workers_keep_equal_distances() {
        let (begin, end) = (Instant::from_millis(1000), Instant::from_millis(2000));
        // Two workers with a half of 1000 a second each.
        let share = |phase| all(Arrivals::new(Pace::Constant(1000.0), 0.5, phase, begin, end));
        let mut times = [share(0.0), share(0.5)].concat();
        times.sort_unstable();
        let expected: Vec<u64> = (0..1000).map(|n| 1_000_000_000 + n * 1_000_000).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn poisson_has_its_rate_and_its_spread() {
        let (begin, end) = (Instant::from_millis(5), Instant::from_millis(100_005));
        let times = all(Arrivals::new(Pace::Poisson(1000.0), 1.0, 0.25, begin, end));
        assert!((99_000..101_000).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Exponential distances: their deviation is their mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{mean} {}", variance.sqrt());
    }

    #[test]
    fn what_is_not_taken_waits_with_its_own_time() {
        let mut arrivals =
            Arrivals::new(Pace::Constant(100.0), 1.0, 0.0, Instant::ZERO, Instant::from_millis(100));
        assert_eq!(arrivals.take(Instant::from_millis(55)), Some(Instant::ZERO));
        assert_eq!(arrivals.take(Instant::from_millis(55)), Some(Instant::from_millis(10)));
        assert_eq!(arrivals.take(Instant::from_millis(15)), None);
        arrivals.end_at(Instant::from_millis(50));
        assert_eq!(arrivals.take_rest(), 3);
        let mut closed = Arrivals::new(Pace::Closed, 1.0, 0.0, Instant::ZERO, Instant::from_millis(100));
        assert_eq!(closed.take(Instant::from_millis(7)), Some(Instant::from_millis(7)));
        assert_eq!(closed.take(Instant::from_millis(100)), None);
    }
}

//! When requests are meant to start.

use std::time::Duration;

use wire::Instant;

use crate::chance::Chance;

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
///
/// A start has a number, which need not be whole: in equal distances numbers are 1 apart, in a Poisson process 1 on
/// average. When a number's time is, the ramp alone decides.
#[derive(Debug)]
pub(super) struct Arrivals {
    kind: Kind,
    /// Of the next one; workers begin at different fractions, so that all together keep equal distances.
    number: f64,
    /// When the next one is.
    at: Instant,
    schedule: Schedule,
    end: Instant,
}

#[derive(Debug)]
enum Kind {
    Closed,
    Constant,
    Poisson(Chance),
}

/// When which number is.
#[derive(Debug)]
struct Schedule {
    begin: Instant,
    /// Nanoseconds in which the rate grows from nothing.
    ramp: f64,
    /// Nanoseconds from one number to the next, after it.
    step: f64,
}

impl Schedule {
    /// The rate grows linearly: after a part `t` of the ramp, `t^2` of the ramp's numbers have come, and these are half
    /// as many as in the same time after it.
    fn at(&self, number: f64) -> Instant {
        let Schedule { begin, ramp, step } = *self;
        let after = if 2.0 * number * step < ramp {
            (2.0 * number * step * ramp).sqrt()
        } else {
            ramp / 2.0 + number * step
        };
        Instant::from_nanos(begin.as_nanos().saturating_add(after as u64))
    }
}

impl Arrivals {
    /// None.
    pub(super) fn none() -> Self {
        let schedule = Schedule { begin: Instant::ZERO, ramp: 0.0, step: 0.0 };
        let (at, end) = (Instant::ZERO, Instant::ZERO);
        Arrivals { kind: Kind::Closed, number: 0.0, at, schedule, end }
    }

    /// Those of a worker, which has the share `share` of the whole pace (none, if it has no connection), from `begin` until before `end`. The first
    /// is a part `phase` of a distance behind `begin`.
    pub(super) fn new(
        pace: Pace,
        share: f64,
        phase: f64,
        begin: Instant,
        ramp: Duration,
        end: Instant,
        chance: Chance,
    ) -> Self {
        if share <= 0.0 {
            return Self::none();
        }
        let (kind, rate) = match pace {
            Pace::Closed => (Kind::Closed, f64::INFINITY),
            Pace::Constant(rate) => (Kind::Constant, rate),
            Pace::Poisson(rate) => (Kind::Poisson(chance), rate),
        };
        let schedule = Schedule { begin, ramp: ramp.as_nanos() as f64, step: NANOS / (rate * share) };
        let mut arrivals = Arrivals { kind, number: phase, at: begin, schedule, end };
        if let Kind::Poisson(chance) = &mut arrivals.kind {
            arrivals.number = chance.exponential();
        }
        arrivals.at = arrivals.schedule.at(arrivals.number);
        arrivals
    }

    /// Whether requests start by themselves, however slow the answers are.
    pub(super) fn are_open(&self) -> bool {
        !matches!(self.kind, Kind::Closed)
    }

    /// The next intended start, if it is a time; `None` in a closed loop and after the last.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.are_open() && self.at < self.end).then_some(self.at)
    }

    /// Takes the oldest intended start that has come by `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Instant> {
        if !self.are_open() {
            return (now < self.end).then_some(now);
        }
        let next = self.next().filter(|next| *next <= now)?;
        self.advance();
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
            self.advance();
            count += 1;
        }
        count
    }

    fn advance(&mut self) {
        self.number += match &mut self.kind {
            Kind::Closed | Kind::Constant => 1.0,
            Kind::Poisson(chance) => chance.exponential(),
        };
        self.at = self.schedule.at(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(pace: Pace, share: f64, phase: f64, begin: Instant, end: Instant) -> Arrivals {
        Arrivals::new(pace, share, phase, begin, Duration::ZERO, end, Chance::new(1, 0))
    }

    fn all(mut arrivals: Arrivals) -> Vec<u64> {
        std::iter::from_fn(|| arrivals.take(Instant::from_millis(u64::MAX / 1_000_000)))
            .map(Instant::as_nanos)
            .collect()
    }

    #[test]
    fn constant_ones_of_all_workers_keep_equal_distances() {
        let (begin, end) = (Instant::from_millis(1000), Instant::from_millis(2000));
        // Two workers with a half of 1000 a second each.
        let share = |phase| all(new(Pace::Constant(1000.0), 0.5, phase, begin, end));
        let mut times = [share(0.0), share(0.5)].concat();
        times.sort_unstable();
        let expected: Vec<u64> = (0..1000).map(|n| 1_000_000_000 + n * 1_000_000).collect();
        assert_eq!(times, expected);
    }

    #[test]
    fn poisson_has_its_rate_and_its_spread() {
        let (begin, end) = (Instant::from_millis(5), Instant::from_millis(100_005));
        let times = all(new(Pace::Poisson(1000.0), 1.0, 0.25, begin, end));
        assert!((99_000..101_000).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Exponential distances: their deviation is their mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{mean} {}", variance.sqrt());
    }

    #[test]
    fn what_is_not_taken_waits_with_its_own_time() {
        let mut arrivals = new(Pace::Constant(100.0), 1.0, 0.0, Instant::ZERO, Instant::from_millis(100));
        assert_eq!(arrivals.take(Instant::from_millis(55)), Some(Instant::ZERO));
        assert_eq!(arrivals.take(Instant::from_millis(55)), Some(Instant::from_millis(10)));
        assert_eq!(arrivals.take(Instant::from_millis(15)), None);
        arrivals.end_at(Instant::from_millis(50));
        assert_eq!(arrivals.take_rest(), 3);
        let mut closed = new(Pace::Closed, 1.0, 0.0, Instant::ZERO, Instant::from_millis(100));
        assert_eq!(closed.take(Instant::from_millis(7)), Some(Instant::from_millis(7)));
        assert_eq!(closed.take(Instant::from_millis(100)), None);
    }

    #[test]
    fn who_has_no_share_has_none() {
        for pace in [Pace::Closed, Pace::Constant(1000.0), Pace::Poisson(1000.0)] {
            let mut arrivals = new(pace, 0.0, 1.0, Instant::from_millis(5), Instant::from_millis(50));
            assert_eq!((arrivals.next(), arrivals.take(Instant::from_millis(7))), (None, None), "{pace:?}");
            assert_eq!(arrivals.take_rest(), 0);
        }
    }

    #[test]
    fn a_ramp_has_half_as_many_and_goes_over_into_the_rate() {
        for pace in [Pace::Constant(1000.0), Pace::Poisson(1000.0)] {
            let (begin, end) = (Instant::from_millis(500), Instant::from_millis(12_500));
            let ramp = Duration::from_secs(10);
            let times = all(Arrivals::new(pace, 0.5, 0.0, begin, ramp, end, Chance::new(7, 1)));
            let until = |ms: u64| times.iter().filter(|at| **at < (500 + ms) * 1_000_000).count();
            // Of 500 a second: 250 in the first tenth would be all, so 25 are.
            for (ms, count) in [(1000, 25), (5000, 625), (10_000, 2500), (11_000, 3000), (12_000, 3500)] {
                let spread = if pace == Pace::Constant(1000.0) { 1.0 } else { 4.0 * f64::from(count).sqrt() };
                let got = until(ms) as f64;
                assert!((got - f64::from(count)).abs() <= spread, "{pace:?} {ms} ms: {got}, not {count}");
            }
        }
    }
}

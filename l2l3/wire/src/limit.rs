//! Rate limits that are told the time.

use crate::Instant;

/// What one event costs, in the unit of credit: a nanosecond at a rate of one a second earns one unit.
const COST: u64 = 1_000_000_000;

/// Lets through `rate` events a second in the long run, and up to `burst` at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenBucket {
    rate: u64,
    full: u64,
    credit: u64,
    last: Instant,
}

impl TokenBucket {
    /// A full bucket. A burst of zero lets nothing through; a rate of zero, nothing after the first burst.
    pub const fn new(rate: u32, burst: u32) -> Self {
        let full = burst as u64 * COST;
        TokenBucket { rate: rate as u64, full, credit: full, last: Instant::ZERO }
    }

    /// Whether an event may happen at `now`; if so, it is paid for.
    pub fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.as_nanos().saturating_sub(self.last.as_nanos());
        self.last = self.last.max(now);
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(self.rate)).min(self.full);
        let paid = self.credit.checked_sub(COST);
        self.credit = paid.unwrap_or(self.credit);
        paid.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// How many of `tries` events, `gap` apart from `start` on, go through.
    fn passed(bucket: &mut TokenBucket, start: Instant, gap: Duration, tries: u32) -> usize {
        (0..tries).filter(|i| bucket.take(start + gap * *i)).count()
    }

    #[test]
    fn burst_then_rate() {
        let mut bucket = TokenBucket::new(100, 10);
        let start = Instant::from_millis(5);
        assert_eq!(passed(&mut bucket, start, Duration::ZERO, 1000), 10);
        // 1 s in steps of 0.1 ms earns 100 more, but for the step that is not over.
        assert_eq!(passed(&mut bucket, start, Duration::from_micros(100), 10_001), 100);
        // However long it rests, it holds no more than the burst.
        assert_eq!(passed(&mut bucket, Instant::from_millis(1_000_000), Duration::ZERO, 1000), 10);
    }

    #[test]
    fn fractions_of_a_token_are_not_lost() {
        let mut bucket = TokenBucket::new(3, 1);
        // 3 events a second, tried every 7 ms for 100 s.
        let passed = passed(&mut bucket, Instant::ZERO, Duration::from_millis(7), 14_286);
        assert!((298..=301).contains(&passed), "{passed}");
    }

    #[test]
    fn extremes() {
        assert!(!TokenBucket::new(5, 0).take(Instant::from_millis(1000)));
        let mut once = TokenBucket::new(0, 1);
        assert!(once.take(Instant::ZERO));
        assert!(!once.take(Instant::from_nanos(u64::MAX)));
        let mut fast = TokenBucket::new(u32::MAX, u32::MAX);
        assert_eq!(passed(&mut fast, Instant::from_nanos(u64::MAX), Duration::ZERO, 1000), 1000);
    }

    #[test]
    fn time_that_runs_backwards_earns_nothing() {
        let mut bucket = TokenBucket::new(1, 1);
        assert!(bucket.take(Instant::from_millis(10_000)));
        assert!(!bucket.take(Instant::from_millis(1_000)));
        assert!(!bucket.take(Instant::from_millis(10_500)));
        assert!(bucket.take(Instant::from_millis(11_000)));
    }
}

//! When each frame is to be sent: decided before the trial, whatever becomes of it.

use std::time::Duration;

use wire::Instant;

const NANOS: u128 = 1_000_000_000;
/// Rates are kept in thousandths of a frame a second.
const MILLI: f64 = 1000.0;
/// The highest rate, in frames a second: a frame a nanosecond.
pub const MAX_PPS: f64 = 1e9;
/// The lowest rate.
pub const MIN_PPS: f64 = 0.001;

/// Frames at a constant rate, one at a time or in bursts, for a time. The times are exact: an error does not add up.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Load {
    /// Frames a second.
    pub pps: f64,
    /// Frames that are due at the same moment; at least 1.
    pub burst: u32,
    /// For how long. The frames due in that time are sent, its end excluded.
    pub duration: Duration,
}

/// The times of a trial's frames, one after another.
#[derive(Clone, Debug)]
pub struct Schedule {
    start: u64,
    frames: u64,
    /// Nanoseconds from one burst to the next are `step + step_rest / milli_pps`.
    milli_pps: u64,
    step: u64,
    step_rest: u64,
    burst: u32,
    /// The next frame: its number, its time and the fraction of a nanosecond that was left out.
    next: u64,
    time: u64,
    rest: u64,
    in_burst: u32,
}

impl Load {
    /// Whether the rate is one that can be written down.
    pub fn is_valid(&self) -> bool {
        (MIN_PPS..=MAX_PPS).contains(&self.pps) && self.burst > 0
    }

    /// Frames that it has.
    pub fn frames(&self) -> u64 {
        let milli = u128::from(self.milli_pps());
        let bursts = (self.duration.as_nanos() * milli).div_ceil(self.burst_span());
        u64::try_from(bursts).unwrap_or(u64::MAX).saturating_mul(u64::from(self.burst))
    }

    fn milli_pps(&self) -> u64 {
        (self.pps.clamp(MIN_PPS, MAX_PPS) * MILLI).round() as u64
    }

    /// Nanoseconds between bursts, times `milli_pps`.
    fn burst_span(&self) -> u128 {
        NANOS * MILLI as u128 * u128::from(self.burst.max(1))
    }

    /// Its frames' times from `start` on.
    pub fn schedule(&self, start: Instant) -> Schedule {
        let (milli_pps, span) = (self.milli_pps(), self.burst_span());
        Schedule {
            start: start.as_nanos(),
            frames: self.frames(),
            milli_pps,
            step: (span / u128::from(milli_pps)) as u64,
            step_rest: (span % u128::from(milli_pps)) as u64,
            burst: self.burst.max(1),
            next: 0,
            time: start.as_nanos(),
            rest: 0,
            in_burst: 0,
        }
    }
}

impl Schedule {
    /// When the first frame is to be sent, in nanoseconds.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// All frames of the trial.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames whose times were taken or skipped.
    pub fn taken(&self) -> u64 {
        self.next
    }

    /// When the next frame is to be sent, in nanoseconds; `None` after the last.
    #[inline(always)]
    pub fn peek(&self) -> Option<u64> {
        (self.next < self.frames).then_some(self.time)
    }

    /// Goes on to the frame after.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.next += 1;
        self.in_burst += 1;
        if self.in_burst == self.burst {
            self.in_burst = 0;
            self.time += self.step;
            self.rest += self.step_rest;
            if self.rest >= self.milli_pps {
                self.rest -= self.milli_pps;
                self.time += 1;
            }
        }
    }

    /// Leaves out the frames that were to be sent before `time`; gives how many.
    pub fn skip_before(&mut self, time: u64) -> u64 {
        let before = self.next;
        if self.peek().is_some_and(|next| next < time) {
            self.seek(self.count_before(time).clamp(self.next, self.frames));
        }
        self.next - before
    }

    /// When frame `n` of the trial is to be sent, in nanoseconds.
    pub fn time_of(&self, n: u64) -> u64 {
        let (elapsed, _) = self.elapsed(n / u64::from(self.burst));
        self.start + elapsed
    }

    /// Frames whose time is before `time`.
    fn count_before(&self, time: u64) -> u64 {
        let elapsed = u128::from(time.saturating_sub(self.start));
        let span = u128::from(self.step) * u128::from(self.milli_pps) + u128::from(self.step_rest);
        // Times are rounded down: burst b comes at floor(b x span / milli_pps).
        let bursts = (elapsed * u128::from(self.milli_pps)).div_ceil(span);
        u64::try_from(bursts).unwrap_or(u64::MAX).saturating_mul(u64::from(self.burst))
    }

    fn seek(&mut self, n: u64) {
        let (elapsed, rest) = self.elapsed(n / u64::from(self.burst));
        self.next = n;
        self.time = self.start + elapsed;
        self.rest = rest;
        self.in_burst = (n % u64::from(self.burst)) as u32;
    }

    /// The time from the start to a burst, and the fraction left out.
    fn elapsed(&self, burst: u64) -> (u64, u64) {
        let (burst, milli) = (u128::from(burst), u128::from(self.milli_pps));
        let rest = burst * u128::from(self.step_rest);
        ((burst * u128::from(self.step) + rest / milli) as u64, (rest % milli) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load(pps: f64, burst: u32, millis: u64) -> Load {
        Load { pps, burst, duration: Duration::from_millis(millis) }
    }

    fn times(schedule: &Schedule) -> Vec<u64> {
        let mut schedule = schedule.clone();
        let step = |_| {
            let time = schedule.peek()?;
            schedule.advance();
            Some(time)
        };
        (0..).map_while(step).collect()
    }

    #[test]
    fn as_many_as_the_rate_says() {
        for (rate, burst, millis, frames) in [
            (1000.0, 1, 1000, 1000),
            (1000.0, 32, 1000, 1024),
            (14_880_952.381, 1, 1000, 14_880_953),
            (0.001, 1, 1000, 1),
            (3.0, 1, 1000, 3),
            (1e9, 1, 1, 1_000_000),
        ] {
            assert_eq!(load(rate, burst, millis).frames(), frames, "{rate} {burst}");
        }
    }

    #[test]
    fn errors_do_not_add_up() {
        // A third of a second at a time.
        let schedule = load(3.0, 1, 100_000).schedule(Instant::from_nanos(5));
        let all = times(&schedule);
        assert_eq!(all.len(), 300);
        assert_eq!((all[1], all[2], all[3]), (333_333_338, 666_666_671, 1_000_000_005));
        assert_eq!(all[297], 99_000_000_005);
    }

    proptest! {
        #[test]
        fn skipping_is_advancing(
            pps in 1.0f64..1e7, burst in 1u32..40, taken in 0usize..200, to in 0u64..30_000_000,
        ) {
            let load = load(pps, burst, 20);
            let mut schedule = load.schedule(Instant::from_nanos(7));
            let all = times(&schedule);
            prop_assert_eq!(all.len() as u64, load.frames());
            for (n, time) in all.iter().enumerate().take(100) {
                prop_assert_eq!(schedule.time_of(n as u64), *time);
            }
            for _ in 0..taken.min(all.len()) {
                schedule.advance();
            }
            let rest = &all[taken.min(all.len())..];
            let late = rest.iter().filter(|time| **time < to).count();
            prop_assert_eq!(schedule.skip_before(to), late as u64);
            prop_assert_eq!(&times(&schedule), &rest[late..]);
        }
    }
}

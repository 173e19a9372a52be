//! The clock that workers read once per loop.

use std::time::Duration;
use wire::Instant;

/// A monotonic clock for [`Instant`]s: the processor's time-stamp counter where it ticks at a constant
/// rate (x86-64), the operating system's elsewhere. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct TscClock {
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// ns = ticks x mult / 2^32.
    #[cfg(target_arch = "x86_64")]
    Tsc {
        origin: u64,
        mult: u64,
    },
    System {
        origin: std::time::Instant,
    },
}

/// The processor's time stamp counter; on processors without one, nanoseconds. For differences only.
#[inline(always)]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        tsc::read()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        START.elapsed().as_nanos() as u64
    }
}

/// How long the counter is compared with the operating system's clock.
#[cfg(target_arch = "x86_64")]
const CALIBRATION: Duration = Duration::from_millis(20);

#[cfg(target_arch = "x86_64")]
const SHIFT: u32 = 32;

impl TscClock {
    /// A clock that starts now. Takes 20 ms, to measure the counter's rate.
    pub fn start() -> TscClock {
        #[cfg(target_arch = "x86_64")]
        if tsc::is_constant() {
            let (ticks, elapsed) = tsc::compare(CALIBRATION);
            let mult = ((elapsed.as_nanos() << SHIFT) / u128::from(ticks.max(1))) as u64;
            return TscClock { source: Source::Tsc { origin: tsc::read(), mult } };
        }
        TscClock { source: Source::System { origin: std::time::Instant::now() } }
    }

    /// The time.
    #[inline(always)]
    pub fn now(&self) -> Instant {
        match self.source {
            #[cfg(target_arch = "x86_64")]
            Source::Tsc { origin, mult } => {
                // Counters of different sockets may differ by a few ticks.
                let ticks = tsc::read().saturating_sub(origin);
                Instant::from_nanos(((u128::from(ticks) * u128::from(mult)) >> SHIFT) as u64)
            }
            Source::System { origin } => Instant::ZERO + origin.elapsed(),
        }
    }

    /// The counter's ticks per second; `None` if the clock is the operating system's.
    pub fn tsc_hz(&self) -> Option<u64> {
        match self.source {
            #[cfg(target_arch = "x86_64")]
            Source::Tsc { mult, .. } => {
                let second = Duration::from_secs(1).as_nanos();
                Some(((second << SHIFT) / u128::from(mult.max(1))) as u64)
            }
            Source::System { .. } => None,
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod tsc {
    use std::arch::x86_64::{__cpuid, _rdtsc};
    use std::time::{Duration, Instant};

    #[inline(always)]
    pub(super) fn read() -> u64 {
        // SAFETY: every x86-64 processor has the instruction.
        unsafe { _rdtsc() }
    }

    /// Whether the counter ticks at one rate whatever the processor's frequency (invariant TSC).
    pub(super) fn is_constant() -> bool {
        const ADVANCED_POWER_MANAGEMENT: u32 = 0x8000_0007;
        __cpuid(0x8000_0000).eax >= ADVANCED_POWER_MANAGEMENT
            && __cpuid(ADVANCED_POWER_MANAGEMENT).edx & (1 << 8) != 0
    }

    /// Ticks and time that passed together, over at least `period`.
    pub(super) fn compare(period: Duration) -> (u64, Duration) {
        let (start_ticks, start) = sample();
        std::thread::sleep(period);
        let (end_ticks, end) = sample();
        (end_ticks.wrapping_sub(start_ticks), end - start)
    }

    /// Both clocks at the same moment: of a few tries, that with the least between two readings.
    fn sample() -> (u64, Instant) {
        let mut best = (u64::MAX, 0, Instant::now());
        for _ in 0..16 {
            let before = read();
            let now = Instant::now();
            let gap = read().wrapping_sub(before);
            if gap < best.0 {
                best = (gap, before + gap / 2, now);
            }
        }
        (best.1, best.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_systems_pace() {
        let clock = TscClock::start();
        let (start, system) = (clock.now(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(200));
        let (ours, theirs) = (clock.now() - start, system.elapsed());
        let off = ours.abs_diff(theirs);
        assert!(off < Duration::from_millis(1), "{ours:?} against {theirs:?}");
    }

    #[test]
    fn never_runs_backwards() {
        let clock = TscClock::start();
        let mut last = clock.now();
        for _ in 0..100_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn rate_is_plausible() {
        if let Some(hz) = TscClock::start().tsc_hz() {
            assert!((100_000_000..20_000_000_000).contains(&hz), "{hz}");
        }
    }
}

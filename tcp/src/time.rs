//! Compact time, as a connection stores it: 32 bits that wrap, compared as sequence numbers are.

use std::time::Duration;

use wire::Instant;

/// A deadline: ticks of 2^16 ns (65.5 us) since the clock's origin, modulo 2^32 (78 hours).
///
/// Two ticks that are compared lie less than 39 hours apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick(u32);

impl Tick {
    /// Nanoseconds of a tick, as a power of two.
    const SHIFT: u32 = 16;
    /// The longest that a deadline may lie ahead.
    pub const FARTHEST: Duration = Duration::from_secs(36 * 3600);

    /// Tick number `bits`.
    pub const fn new(bits: u32) -> Self {
        Tick(bits)
    }

    /// The tick's number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The tick that has begun at `now`.
    pub const fn at(now: Instant) -> Self {
        Tick((now.as_nanos() >> Self::SHIFT) as u32)
    }

    /// The first tick that begins at `delay` after `now` or later: a timer never runs early. Delays
    /// past [`Tick::FARTHEST`] are cut to it.
    pub fn after(now: Instant, delay: Duration) -> Self {
        let at = (now + delay.min(Self::FARTHEST)).as_nanos();
        Tick(at.div_ceil(1 << Self::SHIFT) as u32)
    }

    /// As [`Tick::after`], for a delay in microseconds.
    pub const fn after_micros(now: Instant, delay: u32) -> Self {
        Tick((now.as_nanos() + delay as u64 * 1000).div_ceil(1 << Self::SHIFT) as u32)
    }

    /// `delay` after this tick, or up to a tick later. Delays past [`Tick::FARTHEST`] are cut to it.
    pub fn plus(self, delay: Duration) -> Self {
        let nanos = delay.min(Self::FARTHEST).as_nanos() as u64;
        Tick(self.0.wrapping_add(nanos.div_ceil(1 << Self::SHIFT) as u32))
    }

    /// When the tick begins, or the one of `now` if it is past.
    pub fn begin(self, now: Instant) -> Instant {
        let now_begins = Instant::from_nanos(now.as_nanos() >> Self::SHIFT << Self::SHIFT);
        now_begins + self.since(Tick::at(now))
    }

    /// Whether this tick comes before `other`.
    pub const fn before(self, other: Tick) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether the deadline has come at `now`.
    pub const fn is_due(self, now: Tick) -> bool {
        !now.before(self)
    }

    /// The earlier of the two.
    pub const fn min(self, other: Tick) -> Tick {
        if other.before(self) { other } else { self }
    }

    /// Time from `earlier` to this tick; zero if it is not earlier.
    pub const fn since(self, earlier: Tick) -> Duration {
        if self.before(earlier) {
            return Duration::ZERO;
        }
        self.since_past(earlier)
    }

    /// Time from `past`, which is not to come: right for 78 hours, and past that less by a multiple of them.
    pub const fn since_past(self, past: Tick) -> Duration {
        Duration::from_nanos((self.0.wrapping_sub(past.0) as u64) << Self::SHIFT)
    }
}

/// A moment in microseconds since the clock's origin, modulo 2^32 (71 minutes): when a segment was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Micros(u32);

impl Micros {
    /// Microsecond number `bits`.
    pub const fn new(bits: u32) -> Self {
        Micros(bits)
    }

    /// The microsecond's number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The microsecond that has begun at `now`.
    pub const fn at(now: Instant) -> Self {
        Micros((now.as_nanos() / 1000) as u32)
    }

    /// Whether this comes before `other`.
    pub const fn before(self, other: Micros) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Microseconds from `earlier` to this; zero if it is not earlier.
    pub const fn since(self, earlier: Micros) -> u32 {
        if self.before(earlier) { 0 } else { self.0.wrapping_sub(earlier.0) }
    }
}

impl std::ops::Add<u32> for Micros {
    type Output = Micros;

    /// Wraps at 2^32.
    fn add(self, micros: u32) -> Micros {
        Micros(self.0.wrapping_add(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        for (now, delay) in [(0, 0), (0, 1), (1, 65_535), (65_535, 1), (65_536, 65_536), (1 << 47, 3)] {
            let (now, delay) = (Instant::from_nanos(now), Duration::from_nanos(delay));
            let tick = Tick::after(now, delay);
            assert!(tick.is_due(Tick::at(now + delay + Duration::from_nanos(65_535))));
            let just_before = Instant::from_nanos((now + delay).as_nanos().saturating_sub(1));
            assert!(delay.is_zero() || !tick.is_due(Tick::at(just_before)), "{now:?} {delay:?}");
        }
    }

    #[test]
    fn order_across_the_wrap() {
        let (before, after) = (Tick::new(u32::MAX), Tick::new(1));
        assert!(before.before(after) && !after.before(before) && !before.before(before));
        assert_eq!((before.min(after), after.min(before)), (before, before));
        assert_eq!(after.since(before), Duration::from_nanos(2 << 16));
        assert_eq!(before.since(after), Duration::ZERO);
        assert_eq!(before.since_past(after), Duration::from_nanos((u64::from(u32::MAX) - 1) << 16));
        let (before, after) = (Micros::new(u32::MAX - 1), Micros::new(8));
        assert_eq!((after.since(before), before.since(after)), (10, 0));
        assert_eq!(before + 10, after);
    }

    #[test]
    fn far_deadlines_are_cut() {
        let tick = Tick::after(Instant::ZERO, Duration::MAX);
        assert!(Tick::at(Instant::ZERO).before(tick));
    }
}

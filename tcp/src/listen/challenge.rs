//! The rate limit of challenge ACKs.

use crate::Tick;

/// Lets a connection send one challenge ACK each half second. 4 bytes; part of the connection.
///
/// RFC 5961 section 7 asks for a limit, and its example is one for the whole host. Such a limit is shared
/// by friend and foe: whoever has a connection of their own can use it up, and see by what is left whether
/// a segment forged for another connection was in its window (CVE-2016-5696). A connection's own limit
/// tells nobody anything. It is enough: a challenge is no longer than what provoked it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChallengeLimiter {
    last: Tick,
}

impl ChallengeLimiter {
    /// The least time between two challenges, in ticks: 500 ms.
    const INTERVAL: u32 = (500_000_000_u64 >> 16) as u32 + 1;

    /// The limiter of a connection that begins at `now`, ready for a first challenge.
    pub const fn new(now: Tick) -> Self {
        ChallengeLimiter { last: Tick::new(now.get().wrapping_sub(Self::INTERVAL)) }
    }

    /// Whether a challenge may be sent at `now`; if so, it is taken as sent.
    pub const fn allow(&mut self, now: Tick) -> bool {
        // Unlike the order of ticks, this holds after days of silence: only the half second is refused.
        let allowed = now.get().wrapping_sub(self.last.get()) >= Self::INTERVAL;
        if allowed {
            self.last = now;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::Instant;

    use super::*;

    #[test]
    fn once_each_half_second() {
        let start = Instant::from_millis(77);
        let mut limiter = ChallengeLimiter::new(Tick::at(start));
        let sent: Vec<u64> =
            (0..2000).filter(|ms| limiter.allow(Tick::at(start + Duration::from_millis(*ms)))).collect();
        assert_eq!(sent, [0, 500, 1001, 1501]);
    }

    #[test]
    fn silence_of_any_length_does_not_hurt() {
        for hours in [1, 38, 40, 60, 77, 79, 1000] {
            let mut limiter = ChallengeLimiter::new(Tick::new(0));
            assert!(limiter.allow(Tick::new(0)));
            let later = Instant::ZERO + Duration::from_secs(hours * 3600);
            assert!(limiter.allow(Tick::at(later)), "{hours} hours");
        }
    }
}

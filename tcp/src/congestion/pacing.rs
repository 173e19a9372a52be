//! Pacing: segments leave at a rate instead of in bursts as long as a window.

use std::time::Duration;

use wire::Instant;

/// What is sent at once lasts about this long at the pacing rate, within [`Pacer::poll`]'s bounds.
const QUANTUM: Duration = Duration::from_millis(1);
/// The most that is sent at once, in bytes: one TSO segment.
const MAX_QUANTUM: u32 = 65_536;
/// How far a sender that came late may catch up: four ticks of the timer wheel.
const MAX_LATE: Duration = Duration::from_nanos(4 << 16);

/// What a [`Pacer`] allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pacing {
    /// Send up to so many bytes now.
    Send(u32),
    /// Send nothing before then.
    Wait(Instant),
}

/// The pacer of a connection: holds the earliest time at which the next segment may leave.
#[derive(Clone, Debug)]
pub struct Pacer {
    next: Instant,
    /// Picoseconds that a byte takes; 0 if nothing is paced.
    byte_time: u32,
    /// Bytes that leave before pacing begins.
    burst: u32,
}

const _: () = assert!(size_of::<Pacer>() == 16);

impl Pacer {
    /// A pacer without a rate: it allows everything. Once it has one, it lets the first `burst` bytes go
    /// at once: the initial window.
    pub const fn new(burst: u32) -> Self {
        Pacer { next: Instant::ZERO, byte_time: 0, burst }
    }

    /// Sets the rate in bytes a second, for what is sent from now on; `None`: nothing is paced. Rates
    /// below 233 bytes/s count as that much.
    pub fn set_rate(&mut self, rate: Option<u64>) {
        self.byte_time = rate.map_or(0, |rate| {
            let picoseconds = 1_000_000_000_000 / rate.max(1);
            u32::try_from(picoseconds).unwrap_or(u32::MAX).max(1)
        });
    }

    /// Whether there is a rate.
    pub const fn is_on(&self) -> bool {
        self.byte_time != 0
    }

    /// What may be sent at `now`, in segments of `mss` bytes: a millisecond's worth, at least two segments
    /// and at most 64 KiB. Ask again after [`Pacer::on_sent`].
    #[inline]
    pub fn poll(&self, now: Instant, mss: u16) -> Pacing {
        if self.byte_time == 0 {
            return Pacing::Send(u32::MAX);
        }
        if self.burst > 0 {
            // What is left of it may be less than a segment, which goes out all the same.
            return Pacing::Send(self.burst.max(2 * u32::from(mss)));
        }
        if now < self.next {
            return Pacing::Wait(self.next);
        }
        let quantum = QUANTUM.as_nanos() as u32 * 1000 / self.byte_time;
        Pacing::Send(quantum.min(MAX_QUANTUM).max(2 * u32::from(mss)))
    }

    /// `bytes` of data were sent at `now`.
    #[inline]
    pub fn on_sent(&mut self, bytes: u32, now: Instant) {
        if self.byte_time == 0 {
            return;
        }
        let unpaced = bytes.min(self.burst);
        self.burst -= unpaced;
        let nanos = u64::from(bytes - unpaced) * u64::from(self.byte_time) / 1000;
        let earliest = Instant::from_nanos(now.as_nanos().saturating_sub(MAX_LATE.as_nanos() as u64));
        self.next = self.next.max(earliest) + Duration::from_nanos(nanos);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MSS: u16 = 1448;

    fn paced(rate: u64) -> Pacer {
        let mut pacer = Pacer::new(0);
        pacer.set_rate(Some(rate));
        pacer
    }

    #[test]
    fn without_a_rate_everything_goes() {
        let mut pacer = Pacer::new(10);
        assert!(!pacer.is_on());
        pacer.on_sent(1 << 30, Instant::ZERO);
        assert_eq!(pacer.poll(Instant::ZERO, MSS), Pacing::Send(u32::MAX));
        pacer.set_rate(Some(1000));
        assert!(pacer.is_on());
        assert_eq!(pacer.poll(Instant::ZERO, MSS), Pacing::Send(2896), "a segment fits always");
        pacer.set_rate(None);
        assert!(!pacer.is_on());
    }

    #[test]
    fn the_initial_window_goes_at_once() {
        let mut pacer = Pacer::new(14_480);
        pacer.set_rate(Some(1_448_000));
        let now = Instant::from_millis(100);
        pacer.on_sent(10_000, now);
        assert_eq!(pacer.poll(now, MSS), Pacing::Send(4480));
        pacer.on_sent(4480, now);
        // The first paced quantum; its two milliseconds less what a sender may come late.
        assert_eq!(pacer.poll(now, MSS), Pacing::Send(2896));
        pacer.on_sent(2896, now);
        let Pacing::Wait(until) = pacer.poll(now, MSS) else { panic!("no wait") };
        assert!((until - now).abs_diff(Duration::from_millis(2) - MAX_LATE) < Duration::from_micros(1));
    }

    #[test]
    fn quanta() {
        let cases = [
            (0, 2896),
            (1_000_000, 2896),
            (10_000_000, 10_000),
            (1_250_000_000, 65_536),
            (12_500_000_000, 65_536),
            (u64::MAX, 65_536),
        ];
        for (rate, quantum) in cases {
            assert_eq!(paced(rate).poll(Instant::ZERO, MSS), Pacing::Send(quantum), "{rate}");
        }
        assert_eq!(paced(1).poll(Instant::ZERO, u16::MAX), Pacing::Send(131_070));
    }

    #[test]
    fn time_that_was_not_used_is_lost() {
        let mut pacer = paced(10_000_000);
        pacer.on_sent(10_000, Instant::ZERO);
        let late = Instant::from_millis(1000);
        let mut burst = 0;
        while let Pacing::Send(bytes) = pacer.poll(late, MSS) {
            pacer.on_sent(bytes, late);
            burst += bytes;
        }
        assert_eq!(burst, 10_000);
    }

    proptest! {
        /// Over half a second, a sender that always has data, and asks at random times not more than a
        /// catch-up apart, sends as fast as the rate says, and never faster by more than a quantum.
        #[test]
        fn keeps_the_rate(rate in 100_000u64..12_500_000_000, steps in proptest::collection::vec(1u64..262_144, 200)) {
            let mut pacer = paced(rate);
            let start = Instant::from_millis(5000);
            pacer.on_sent(0, start);
            let (mut now, mut sent) = (start, 0u64);
            for step in steps.iter().cycle() {
                while let Pacing::Send(bytes) = pacer.poll(now, MSS) {
                    pacer.on_sent(bytes, now);
                    sent += u64::from(bytes);
                }
                let exact = ((now - start) + MAX_LATE).as_secs_f64() * rate as f64;
                // 1.3 %: a byte's time in whole picoseconds, at 100 Gbit/s.
                prop_assert!(sent as f64 <= exact * 1.013 + 65_536.0, "{sent} {exact}");
                if now - start > Duration::from_millis(500) {
                    prop_assert!(sent as f64 >= exact * 0.999 - 2.0 * f64::from(MSS), "{sent} {exact}");
                    break;
                }
                now = now + Duration::from_nanos(*step);
            }
        }

        #[test]
        fn takes_any_input(rate: u64, bytes: u32, at: u64, then: u64, mss: u16) {
            let mut pacer = paced(rate);
            pacer.on_sent(bytes, Instant::from_nanos(at));
            match pacer.poll(Instant::from_nanos(then), mss) {
                Pacing::Send(bytes) => prop_assert!(bytes >= 2 * u32::from(mss) && bytes <= 131_070),
                Pacing::Wait(until) => prop_assert!(until > Instant::from_nanos(then)),
            }
        }
    }
}

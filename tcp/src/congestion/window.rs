//! The congestion window and its bounds, and what the algorithms share: standard slow start and the
//! restart after idle time.

use std::time::Duration;

use super::{AckSample, Signal};

/// No window grows past this many bytes: 1 GiB, the largest window that TCP can offer (RFC 7323 section
/// 2.3).
pub const MAX_CWND: u32 = 1 << 30;

/// The initial window in bytes for segments of `mss` bytes.
//= RFC 6928 section 2: IW = min(10 MSS, max(2 MSS, 14600)).
pub fn initial_window(mss: u16) -> u32 {
    let mss = u32::from(mss);
    (10 * mss).min((2 * mss).max(14_600))
}

/// cwnd and ssthresh of a connection, in bytes, and its segments' size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    cwnd: u32,
    ssthresh: u32,
    mss: u16,
    /// cwnd has not come to ssthresh since the last timeout.
    timed_out: bool,
}

impl Window {
    /// The window of a new connection.
    pub(crate) fn new(mss: u16, syn_lost: bool) -> Self {
        let mss = mss.max(1);
        //= RFC 5681 section 3.1: after the loss of a SYN or SYN-ACK, the initial window is one segment.
        let cwnd = if syn_lost { u32::from(mss) } else { initial_window(mss) };
        Window { cwnd, ssthresh: u32::MAX, mss, timed_out: false }
    }

    /// Congestion window.
    pub const fn cwnd(&self) -> u32 {
        self.cwnd
    }

    /// Slow start threshold.
    pub const fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    /// Bytes of data in a full segment, one at least.
    pub const fn mss(&self) -> u16 {
        self.mss
    }

    /// Whether cwnd is below ssthresh.
    pub const fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Sets cwnd, to a segment at least and [`MAX_CWND`] at most.
    pub fn set_cwnd(&mut self, cwnd: u32) {
        self.cwnd = cwnd.clamp(u32::from(self.mss), MAX_CWND);
    }

    /// Sets the size of a segment; a size of 0 counts as 1.
    pub fn set_mss(&mut self, mss: u16) {
        self.mss = mss.max(1);
        self.set_cwnd(self.cwnd);
        self.set_ssthresh(self.ssthresh);
    }

    /// Sets ssthresh, to two segments at least.
    pub(super) fn set_ssthresh(&mut self, ssthresh: u32) {
        self.ssthresh = ssthresh.max(2 * u32::from(self.mss));
    }

    //= RFC 9438 section 5.8: the window does not grow while the application limits what is sent.
    /// Whether cwnd was the limit of what was in flight. In slow start half of it used is enough (RFC
    /// 7661 section 4.3): the application may just be starting, too.
    pub(super) fn is_limit(&self, ack: &AckSample) -> bool {
        let in_flight = ack.in_flight_before;
        let filled = if self.in_slow_start() {
            in_flight > self.cwnd / 2
        } else {
            in_flight.saturating_add(u32::from(self.mss)) > self.cwnd
        };
        filled || ack.cwnd_limited
    }

    /// Standard slow start: `acked` bytes were delivered.
    pub(super) fn slow_start(&mut self, acked: u32) {
        //= RFC 3465 section 2.2: an ACK grows the window by what it acknowledges;
        //= section 2.3: one segment after a timeout, when it may tell of data that arrived long ago.
        // No bound of two segments: receivers that take segments in bursts acknowledge a burst at once.
        let limit = if self.timed_out { u32::from(self.mss) } else { u32::MAX };
        self.set_cwnd(self.cwnd.saturating_add(acked.min(limit)).min(self.ssthresh));
        self.timed_out &= self.in_slow_start();
    }

    /// Reduces ssthresh and cwnd to `target`, as far as they go.
    pub(super) fn reduce(&mut self, signal: Signal, target: u32) {
        self.set_ssthresh(target);
        self.timed_out = false;
        //= RFC 9438 section 4.6: on loss cwnd is two segments at least, on ECN-Echo one.
        self.set_cwnd(match signal {
            Signal::Loss => self.ssthresh,
            Signal::EcnEcho => target,
        });
    }

    /// A timeout.
    pub(super) fn time_out(&mut self) {
        //= RFC 5681 section 3.1: after a timeout cwnd is the loss window, one full segment.
        self.cwnd = u32::from(self.mss);
        self.timed_out = true;
    }

    /// Goes back to a window of before.
    pub(crate) fn restore(&mut self, cwnd: u32, ssthresh: u32) {
        self.timed_out = false;
        self.set_ssthresh(ssthresh);
        self.set_cwnd(cwnd);
    }

    /// Nothing was sent for `idle`.
    pub(super) fn restart(&mut self, idle: Duration, rto: Duration) {
        if idle < rto {
            return;
        }
        let timeouts = idle.as_micros() / rto.as_micros().max(1);
        //= RFC 2861 section 3.1: cwnd halves with each RTO of idle time, and ssthresh remembers three
        //= quarters of it;
        //= RFC 5681 section 4.1: but it need not fall below the initial window.
        self.set_ssthresh(self.ssthresh.max(self.cwnd / 4 * 3));
        let floor = self.cwnd.min(initial_window(self.mss));
        self.set_cwnd((self.cwnd >> timeouts.min(31)).max(floor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_windows() {
        for (mss, iw) in [(536, 5360), (1220, 12_200), (1448, 14_480), (1460, 14_600), (1461, 14_600)] {
            assert_eq!(initial_window(mss), iw, "{mss}");
            assert_eq!(Window::new(mss, false).cwnd(), iw);
            assert_eq!(Window::new(mss, true).cwnd(), u32::from(mss));
        }
        for (mss, iw) in [(7300, 14_600), (8960, 17_920), (u16::MAX, 131_070)] {
            assert_eq!(initial_window(mss), iw, "{mss}");
        }
    }

    #[test]
    fn slow_start_counts_bytes() {
        let mut window = Window::new(1000, false);
        window.ssthresh = 14_000;
        for (acked, cwnd) in [(1000, 11_000), (300, 11_300), (2000, 13_300), (9000, 14_000)] {
            window.slow_start(acked);
            assert_eq!(window.cwnd, cwnd, "{acked}");
        }
        window.time_out();
        assert_eq!((window.cwnd, window.ssthresh), (1000, 14_000));
        window.slow_start(2000);
        assert_eq!(window.cwnd, 2000);
        // Once it has come to ssthresh, the timeout is history.
        (0..12).for_each(|_| window.slow_start(1000));
        window.restart(Duration::from_secs(1), Duration::from_secs(1));
        assert_eq!((window.cwnd, window.ssthresh), (10_000, 14_000));
        window.slow_start(2000);
        assert_eq!(window.cwnd, 12_000);
    }

    #[test]
    fn restart_after_idle_time() {
        let second = Duration::from_secs(1);
        // cwnd, ssthresh, seconds of idle time; then cwnd and ssthresh.
        let cases = [
            (160_000, 50_000, 0, 160_000, 50_000),
            (160_000, 50_000, 1, 80_000, 120_000),
            (160_000, 150_000, 2, 40_000, 150_000),
            (160_000, 50_000, 100, 10_000, 120_000),
            (4000, 8000, 100, 4000, 8000),
            (160_000, u32::MAX, 3, 20_000, u32::MAX),
        ];
        for (cwnd, ssthresh, idle, then, threshold) in cases {
            let mut window = Window { cwnd, ssthresh, mss: 1000, timed_out: false };
            window.restart(idle * second, second);
            assert_eq!((window.cwnd, window.ssthresh), (then, threshold), "{cwnd} {ssthresh} {idle}");
        }
        let mut window = Window::new(1000, false);
        window.restart(Duration::MAX, Duration::ZERO);
        assert_eq!(window.cwnd, 10_000);
    }

    #[test]
    fn a_new_segment_size_keeps_the_bounds() {
        let mut window = Window::new(536, true);
        window.ssthresh = 1072;
        window.set_mss(8960);
        assert_eq!((window.cwnd, window.ssthresh), (8960, 17_920));
        window.set_mss(0);
        assert_eq!((window.mss, window.cwnd), (1, 8960));
    }
}

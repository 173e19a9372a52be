//! NewReno: RFC 5681 with appropriate byte counting (RFC 3465).

use std::time::Duration;

use super::{AckSample, CongestionControl, Signal, Window};
use crate::Micros;

/// NewReno's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewReno {
    window: Window,
    /// Bytes delivered since cwnd last grew, in congestion avoidance.
    bytes_acked: u32,
    saved: Option<Saved>,
}

/// The state before the last congestion event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Saved {
    cwnd: u32,
    ssthresh: u32,
    bytes_acked: u32,
}

impl NewReno {
    pub(super) fn new(window: Window) -> Self {
        NewReno { window, bytes_acked: 0, saved: None }
    }

    //= RFC 5681 section 3.1, equation 4: ssthresh = max(FlightSize / 2, 2 SMSS).
    /// What a congestion event leaves. More than cwnd can be in flight; that counts for nothing.
    fn reduced(&self, flight_size: u32) -> u32 {
        flight_size.min(self.window.cwnd()) / 2
    }

    fn save(&mut self) {
        let (cwnd, ssthresh) = (self.window.cwnd(), self.window.ssthresh());
        self.saved = Some(Saved { cwnd, ssthresh, bytes_acked: self.bytes_acked });
        self.bytes_acked = 0;
    }
}

impl CongestionControl for NewReno {
    fn window(&self) -> &Window {
        &self.window
    }

    fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    fn on_ack(&mut self, ack: &AckSample) {
        if !self.window.is_limit(ack) {
            return;
        }
        if self.window.in_slow_start() {
            return self.window.slow_start(ack.acked);
        }
        //= RFC 3465 section 2.1: cwnd grows by one segment for each window's worth of bytes delivered.
        let cwnd = self.window.cwnd();
        self.bytes_acked = self.bytes_acked.min(cwnd) + ack.acked.min(cwnd);
        if self.bytes_acked >= cwnd {
            self.bytes_acked -= cwnd;
            self.window.set_cwnd(cwnd + u32::from(self.window.mss()));
        }
    }

    fn on_congestion(&mut self, signal: Signal, flight_size: u32) {
        let target = self.reduced(flight_size);
        self.save();
        if signal == Signal::EcnEcho {
            self.saved = None;
        }
        self.window.reduce(signal, target);
    }

    fn on_timeout(&mut self, flight_size: u32, first: bool) {
        //= RFC 5681 section 3.1: a segment that times out again leaves ssthresh as it is.
        if first {
            let target = self.reduced(flight_size);
            self.save();
            self.window.set_ssthresh(target);
        }
        self.window.time_out();
    }

    fn undo(&mut self) {
        if let Some(saved) = self.saved.take()
            && self.window.cwnd() < saved.cwnd
        {
            self.window.restore(saved.cwnd, saved.ssthresh);
            self.bytes_acked = saved.bytes_acked;
        }
    }

    fn on_idle(&mut self, _now: Micros, idle: Duration, rto: Duration) {
        self.window.restart(idle, rto);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::ack;

    fn at(cwnd: u32, ssthresh: u32) -> NewReno {
        let mut reno = NewReno::new(Window::new(1000, false));
        reno.window.set_ssthresh(ssthresh);
        reno.window.set_cwnd(cwnd);
        reno
    }

    #[test]
    fn a_segment_for_each_window() {
        let mut reno = at(20_000, 20_000);
        let mut steps = Vec::new();
        for n in 1..=62 {
            let before = reno.cwnd();
            reno.on_ack(&ack(0, 1000, before));
            if reno.cwnd() != before {
                steps.push((n, reno.cwnd()));
            }
        }
        assert_eq!(steps, [(20, 21_000), (41, 22_000)]);
        // A reduction begins the count anew: 21 segments came since the last step.
        reno.on_congestion(Signal::Loss, 22_000);
        (0..10).for_each(|_| reno.on_ack(&ack(0, 1000, 11_000)));
        assert_eq!(reno.cwnd(), 11_000);
        reno.on_ack(&ack(0, 1000, 11_000));
        assert_eq!(reno.cwnd(), 12_000);
    }

    #[test]
    fn reductions() {
        // Flight size; then ssthresh, cwnd after loss and cwnd after ECN.
        for (flight, ssthresh, loss, ecn) in [
            (20_000, 10_000, 10_000, 10_000),
            (9000, 4500, 4500, 4500),
            (3000, 2000, 2000, 1500),
            (0, 2000, 2000, 1000),
            (90_000, 10_000, 10_000, 10_000),
        ] {
            for (signal, cwnd) in [(Signal::Loss, loss), (Signal::EcnEcho, ecn)] {
                let mut reno = at(20_000, 20_000);
                reno.on_congestion(signal, flight);
                assert_eq!((reno.ssthresh(), reno.cwnd()), (ssthresh, cwnd), "{signal:?} {flight}");
            }
        }
    }

    #[test]
    fn repeated_timeouts_keep_ssthresh_and_are_undone_together() {
        let mut reno = at(20_000, 15_000);
        reno.on_timeout(20_000, true);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (1000, 10_000));
        reno.on_timeout(1000, false);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (1000, 10_000));
        reno.undo();
        assert_eq!(reno, at(20_000, 15_000));
        reno.undo();
        assert_eq!(reno, at(20_000, 15_000));
    }

    #[test]
    fn no_undo_past_an_ecn_echo() {
        let mut reno = at(20_000, 15_000);
        reno.on_congestion(Signal::EcnEcho, 20_000);
        reno.undo();
        assert_eq!((reno.cwnd(), reno.ssthresh()), (10_000, 10_000));
    }

    #[test]
    fn no_growth_when_the_application_is_the_limit() {
        for ssthresh in [20_000, 60_000] {
            let mut reno = at(20_000, ssthresh);
            for _ in 0..100 {
                reno.on_ack(&ack(0, 1000, 10_000));
            }
            assert_eq!(reno.cwnd(), 20_000, "{ssthresh}");
            reno.on_ack(&AckSample { cwnd_limited: true, ..ack(0, 20_000, 10_000) });
            assert!(reno.cwnd() > 20_000, "{ssthresh}");
        }
    }
}

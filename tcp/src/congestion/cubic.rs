//! CUBIC (RFC 9438), with HyStart++ for the first slow start.

use std::time::Duration;

use super::hystart::{Growth, HyStart};
use super::{AckSample, CongestionControl, Signal, Window};
use crate::Micros;

/// CUBIC's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cubic {
    window: Window,
    /// The window that the cubic function has its plateau at; 0 before there is one.
    w_max: u32,
    /// cwnd when ssthresh was last set.
    cwnd_prior: u32,
    stage: Stage,
    saved: Option<Saved>,
}

/// Where the connection is between two congestion events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// In its first slow start.
    First(HyStart),
    /// An epoch is to begin, with the plateau at `w_max`: after a reduction.
    Reduced,
    /// An epoch is to begin, with the plateau where it begins: after a timeout or the first slow start.
    Restart,
    /// In an epoch; in slow start too, after idle time.
    Epoch(Epoch),
}

/// A stage of congestion avoidance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Epoch {
    /// When the cubic function comes to its plateau, in us of the epoch.
    k: u32,
    /// How old the epoch is, in us, without the times when cwnd was not the limit. It began at `t_epoch =
    /// updated - elapsed`.
    elapsed: u32,
    updated: Micros,
    /// What Reno's window would be: bytes, and a remainder in parts of a byte of which cwnd make one.
    w_est: u32,
    w_est_rest: u32,
}

/// The state before the last congestion event. Its cwnd is `cwnd_prior` of the state after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Saved {
    ssthresh: u32,
    w_max: u32,
    cwnd_prior: u32,
    stage: Stage,
}

impl Cubic {
    pub(super) fn new(window: Window) -> Self {
        Cubic { window, w_max: 0, cwnd_prior: 0, stage: Stage::First(HyStart::new()), saved: None }
    }

    /// W_max in bytes; 0 before there is one.
    pub(super) const fn w_max(&self) -> u32 {
        self.w_max
    }

    /// Goes on after the first slow start.
    pub(super) fn resume(&mut self, w_max: u32) {
        (self.w_max, self.cwnd_prior) = (w_max, self.window.cwnd());
        self.stage = if w_max == 0 { Stage::Restart } else { Stage::Reduced };
    }

    fn first_slow_start(&mut self, mut hystart: HyStart, ack: &AckSample) {
        let growth = hystart.on_ack(ack);
        self.stage = Stage::First(hystart);
        //= RFC 9406 section 4.2: cwnd grows by what is acknowledged, in CSS by a fourth of that; after the
        //= last round of CSS, ssthresh is set to cwnd.
        // L is infinite, as in Linux: receivers that take segments in bursts acknowledge a burst at once.
        let divisor = match growth {
            Growth::Full => 1,
            Growth::Conservative => 4,
            Growth::Over => return self.end_first_slow_start(),
        };
        if self.window.is_limit(ack) {
            self.window.set_cwnd(self.window.cwnd().saturating_add(ack.acked / divisor));
        }
    }

    fn end_first_slow_start(&mut self) {
        //= RFC 9438 section 4.10: without a loss, cwnd_prior = cwnd, K = 0, and W_max = cwnd.
        self.cwnd_prior = self.window.cwnd();
        self.window.set_ssthresh(self.window.cwnd());
        self.stage = Stage::Restart;
    }

    /// The epoch that goes on, or the one that begins with this ACK.
    fn epoch(&mut self, now: Micros) -> Epoch {
        if let Stage::Epoch(epoch) = self.stage {
            return epoch;
        }
        let cwnd = self.window.cwnd();
        //= RFC 9438 section 4.8: in the first epoch after a timeout, K = 0 and W_max = cwnd.
        // So, too, where recovery or ECN left cwnd above W_max, and K would be negative.
        if matches!(self.stage, Stage::Restart) || self.w_max < cwnd {
            self.w_max = cwnd;
        }
        let k = plateau_time(self.w_max - cwnd, self.window.mss());
        Epoch { k, elapsed: 0, updated: now, w_est: cwnd, w_est_rest: 0 }
    }

    /// Congestion avoidance, when cwnd is the limit.
    fn avoid_congestion(&mut self, epoch: &mut Epoch, ack: &AckSample) {
        let (cwnd, mss) = (self.window.cwnd(), self.window.mss());
        let acked = ack.acked.min(cwnd);
        epoch.grow_reno_window(acked, &self.window, self.cwnd_prior);
        let w_cubic = |t| cubic_window(t, epoch.k, self.w_max, mss);
        //= RFC 9438 section 4.3: while W_cubic(t) is below W_est, cwnd is W_est;
        // coming to it no faster than slow start would, when idle time has left cwnd behind.
        let growth = if w_cubic(epoch.elapsed) < epoch.w_est {
            epoch.w_est.saturating_sub(cwnd).min(acked)
        } else {
            //= RFC 9438 sections 4.2, 4.4 and 4.5: target is W_cubic(t + RTT), from cwnd to 1.5 cwnd, and
            //= cwnd grows by (target - cwnd) / cwnd for each segment.
            // The lost part of a byte does not matter: target only moves further off.
            let target = w_cubic(epoch.elapsed.saturating_add(ack.srtt)).clamp(cwnd, cwnd + cwnd / 2);
            (u64::from(target - cwnd) * u64::from(acked) / u64::from(cwnd)) as u32
        };
        self.window.set_cwnd(cwnd + growth);
    }

    //= RFC 9438 section 4.6: ssthresh = flight_size * beta, with beta = 0.7.
    /// What a congestion event leaves. More than cwnd can be in flight; that counts for nothing.
    fn reduced(&self, flight_size: u32) -> u32 {
        (u64::from(flight_size.min(self.window.cwnd())) * 7 / 10) as u32
    }

    /// Remembers the state, for [`Cubic::undo`] and for the next epoch.
    fn remember(&mut self) {
        let cwnd = self.window.cwnd();
        self.saved = Some(Saved {
            ssthresh: self.window.ssthresh(),
            w_max: self.w_max,
            cwnd_prior: self.cwnd_prior,
            stage: self.stage,
        });
        self.cwnd_prior = cwnd;
        //= RFC 9438 section 4.7: fast convergence: if cwnd has not come to W_max again, bandwidth is being
        //= taken, and W_max = cwnd (1 + beta) / 2 gives way.
        self.w_max = if cwnd < self.w_max { (u64::from(cwnd) * 85 / 100) as u32 } else { cwnd };
    }
}

impl CongestionControl for Cubic {
    fn window(&self) -> &Window {
        &self.window
    }

    fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    fn on_ack(&mut self, ack: &AckSample) {
        if let Stage::First(hystart) = self.stage {
            return self.first_slow_start(hystart, ack);
        }
        let is_limit = self.window.is_limit(ack);
        let in_slow_start = self.window.in_slow_start();
        if in_slow_start && is_limit {
            self.window.slow_start(ack.acked);
        }
        if in_slow_start && !matches!(self.stage, Stage::Epoch(_)) {
            return;
        }
        let mut epoch = self.epoch(ack.now);
        if is_limit && !in_slow_start {
            epoch.elapsed = epoch.elapsed.saturating_add(ack.now.since(epoch.updated));
            self.avoid_congestion(&mut epoch, ack);
        }
        //= RFC 9438 section 4.2: t does not include times when cwnd was not updated because the application
        //= limited what was sent.
        epoch.updated = ack.now;
        self.stage = Stage::Epoch(epoch);
    }

    fn on_congestion(&mut self, signal: Signal, flight_size: u32) {
        let target = self.reduced(flight_size);
        self.remember();
        if signal == Signal::EcnEcho {
            self.saved = None;
        }
        self.window.reduce(signal, target);
        self.stage = Stage::Reduced;
    }

    fn on_timeout(&mut self, flight_size: u32, first: bool) {
        //= RFC 9438 section 4.8: as Reno does, but with beta: and so once for a segment (RFC 5681 section
        //= 3.1).
        if first {
            let target = self.reduced(flight_size);
            self.remember();
            self.window.set_ssthresh(target);
        }
        self.window.time_out();
        self.stage = Stage::Restart;
    }

    fn undo(&mut self) {
        //= RFC 9438 section 4.9.2: the old values come back only if cwnd is below cwnd_prior.
        if let Some(saved) = self.saved.take()
            && self.window.cwnd() < self.cwnd_prior
        {
            self.window.restore(self.cwnd_prior, saved.ssthresh);
            self.w_max = saved.w_max;
            self.cwnd_prior = saved.cwnd_prior;
            self.stage = saved.stage;
        }
    }

    fn on_idle(&mut self, now: Micros, idle: Duration, rto: Duration) {
        self.window.restart(idle, rto);
        if let Stage::Epoch(epoch) = &mut self.stage {
            epoch.updated = now;
        }
    }
}

impl Epoch {
    /// Grows W_est, as `acked` bytes were delivered.
    fn grow_reno_window(&mut self, acked: u32, window: &Window, cwnd_prior: u32) {
        //= RFC 9438 section 4.3: W_est grows by alpha * segments_acked / cwnd segments, with alpha = 3 (1 -
        //= beta) / (1 + beta) = 9/17, and 1 from cwnd_prior on.
        let (numerator, denominator) = if self.w_est >= cwnd_prior { (1, 1) } else { (9, 17) };
        let cwnd = u64::from(window.cwnd());
        let square = u64::from(acked) * u64::from(window.mss()) * numerator / denominator;
        let growth = square + u64::from(self.w_est_rest);
        self.w_est = self.w_est.saturating_add((growth / cwnd) as u32);
        self.w_est_rest = (growth % cwnd) as u32;
    }
}

//= RFC 9438 section 4.2: W_cubic(t) = C (t - K)^3 + W_max, with C = 0.4 segments/s^3.
/// W_cubic in bytes, at `t` us of the epoch, at least 0 and at most `u32::MAX`.
fn cubic_window(t: u32, k: u32, w_max: u32, mss: u16) -> u32 {
    /// C in segments/us^3, times 2^92: 31 significant bits.
    const C: u128 = (2 << 92) / (5 * 10u128.pow(18));
    // Past 2^31 us (36 min), W_cubic is out of bounds by far. The product fits in 93 + 31 bits.
    let off = u128::from(t.abs_diff(k).min(1 << 31));
    let segments = (off * off * off * C) >> 60;
    let bytes = u32::try_from((segments * u128::from(mss)) >> 32).unwrap_or(u32::MAX);
    if t < k { w_max.saturating_sub(bytes) } else { w_max.saturating_add(bytes) }
}

//= RFC 9438 section 4.2: K = cube root of (W_max - cwnd_epoch) / C.
/// K in us, for an epoch that begins `below` bytes below the plateau.
fn plateau_time(below: u32, mss: u16) -> u32 {
    const SEGMENT_BY_C: u128 = 5 * 10u128.pow(18) / 2;
    cube_root(u128::from(below) * SEGMENT_BY_C / u128::from(mss))
}

/// The greatest number whose cube is at most `n`, bit by bit; at most `u32::MAX`.
fn cube_root(n: u128) -> u32 {
    (0..u32::BITS).rev().map(|bit| 1u32 << bit).fold(0, |root, bit| {
        let larger = u128::from(root | bit);
        if larger * larger * larger <= n { root | bit } else { root }
    })
}

#[cfg(test)]
mod tests;

//! Congestion control: how much may be in flight ([`Congestion`]), and how fast it leaves ([`Pacer`]).
//!
//! # Who calls what
//!
//! - Each ACK of new data outside loss recovery: [`on_ack`](CongestionControl::on_ack). In recovery,
//!   proportional rate reduction rules the window through [`set_cwnd`](CongestionControl::set_cwnd).
//! - Once a window of data, on loss or ECN: [`on_congestion`](CongestionControl::on_congestion); on a
//!   retransmission timeout: [`on_timeout`](CongestionControl::on_timeout).
//! - The last of these was for nothing: [`undo`](CongestionControl::undo).
//! - Sending begins again with nothing in flight: [`on_idle`](CongestionControl::on_idle).
//!
//! Windows are bytes, times microseconds. All arithmetic is on integers.

mod cubic;
mod hystart;
mod newreno;
mod pacing;
mod window;

#[cfg(test)]
mod bottleneck;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use cubic::Cubic;
pub use newreno::NewReno;
pub use pacing::{Pacer, Pacing};
pub use window::{MAX_CWND, Window, initial_window};

use crate::{Micros, SeqNumber};

/// What one ACK of new data says to congestion control.
#[derive(Clone, Copy, Debug)]
pub struct AckSample {
    /// When the ACK came.
    pub now: Micros,
    /// Bytes known to be delivered by this ACK and by none before, cumulatively or by SACK.
    pub acked: u32,
    /// Round-trip time that this ACK measured, in us.
    pub rtt: Option<u32>,
    /// Smoothed round-trip time, in us.
    pub srtt: u32,
    /// Bytes in flight just before this ACK.
    pub in_flight_before: u32,
    /// The congestion window kept data from being sent at some time in the last round trip. Where bytes
    /// leave unpaced, `in_flight_before` tells as much.
    pub cwnd_limited: bool,
    /// SND.UNA, this ACK taken in.
    pub ack: SeqNumber,
    /// SND.NXT.
    pub snd_nxt: SeqNumber,
}

/// How the network said that it is congested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A segment was lost. It may yet turn out that it was not.
    Loss,
    /// The peer echoed an ECN mark (RFC 3168). That is never taken back.
    EcnEcho,
}

/// A congestion control algorithm.
pub trait CongestionControl {
    /// The window.
    fn window(&self) -> &Window;

    /// The window, to be set from outside.
    fn window_mut(&mut self) -> &mut Window;

    /// New data was delivered, and the connection is not in fast recovery. Grows the window, unless the
    /// application or the receiver limited what was sent.
    fn on_ack(&mut self, ack: &AckSample);

    /// Loss recovery begins, or the first ECN echo of a window came. `flight_size` is what was sent and
    /// not cumulatively acknowledged before the ACK that told, in bytes. Reduces ssthresh, and cwnd to
    /// what it shall be once recovery is over.
    fn on_congestion(&mut self, signal: Signal, flight_size: u32);

    /// The retransmission timer ran out, for the segment at SND.UNA `first` or again. `flight_size` as for
    /// [`CongestionControl::on_congestion`].
    fn on_timeout(&mut self, flight_size: u32, first: bool);

    /// The last congestion event was spurious (DSACK, F-RTO, Eifel): goes back to the state before it.
    /// Nothing happens if there is none to go back to, or if the window has outgrown it.
    fn undo(&mut self);

    /// Data is about to be sent, with nothing in flight and `idle` after the last was sent. Call it
    /// however short that is. Validates the window if it was longer than `rto`.
    fn on_idle(&mut self, now: Micros, idle: Duration, rto: Duration);

    /// Congestion window, in bytes: one MSS at least, [`MAX_CWND`] at most.
    fn cwnd(&self) -> u32 {
        self.window().cwnd()
    }

    /// Slow start threshold, in bytes; `u32::MAX` until congestion has set it.
    fn ssthresh(&self) -> u32 {
        self.window().ssthresh()
    }

    /// Whether cwnd is below ssthresh.
    fn in_slow_start(&self) -> bool {
        self.window().in_slow_start()
    }

    /// Sets cwnd within its bounds: recovery's to call.
    fn set_cwnd(&mut self, cwnd: u32) {
        self.window_mut().set_cwnd(cwnd);
    }

    /// The path takes segments of `mss` bytes of data from now on. The window stays as many bytes, one
    /// segment at least.
    fn set_mss(&mut self, mss: u16) {
        self.window_mut().set_mss(mss);
    }

    /// How fast to send, in bytes a second: above cwnd by srtt (in us), so that pacing does not keep the
    /// window from being filled. Twice that in slow start, when the window doubles in a round trip.
    fn pacing_rate(&self, srtt: u32) -> u64 {
        let percent = if self.in_slow_start() { 200 } else { 120 };
        u64::from(self.cwnd()) * (1_000_000 / 100 * percent) / u64::from(srtt.max(1))
    }
}

/// Which algorithm a connection uses, as TCP_CONGESTION and the configuration name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// CUBIC (RFC 9438): `cubic`.
    #[default]
    Cubic,
    /// NewReno (RFC 5681, RFC 6582): `reno`.
    NewReno,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 2] = [Algorithm::Cubic, Algorithm::NewReno];

    /// The name, as Linux has it.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Cubic => "cubic",
            Algorithm::NewReno => "reno",
        }
    }
}

/// No algorithm has that name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such congestion control algorithm; there are")?;
        Algorithm::ALL.iter().try_for_each(|algorithm| write!(f, " `{}`", algorithm.name()))
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

/// A connection's congestion control.
#[derive(Clone, Debug)]
pub enum Congestion {
    /// CUBIC.
    Cubic(Cubic),
    /// NewReno.
    NewReno(NewReno),
}

const _: () = assert!(size_of::<Congestion>() <= 80);

impl Congestion {
    /// For a connection that was just established, with segments of up to `mss` bytes of data.
    /// `syn_lost`: its SYN or SYN-ACK had to be sent again.
    pub fn new(algorithm: Algorithm, mss: u16, syn_lost: bool) -> Self {
        let window = Window::new(mss, syn_lost);
        match algorithm {
            Algorithm::Cubic => Congestion::Cubic(Cubic::new(window)),
            Algorithm::NewReno => Congestion::NewReno(NewReno::new(window)),
        }
    }

    /// Goes on with another algorithm, from the windows of this one. No effect if it is in use.
    pub fn change_algorithm(&mut self, algorithm: Algorithm) {
        let window = *self.window();
        match algorithm {
            _ if algorithm == self.algorithm() => {}
            Algorithm::Cubic => *self = Congestion::Cubic(Cubic::new(window)),
            Algorithm::NewReno => *self = Congestion::NewReno(NewReno::new(window)),
        }
    }

    /// The algorithm in use.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Congestion::Cubic(_) => Algorithm::Cubic,
            Congestion::NewReno(_) => Algorithm::NewReno,
        }
    }
}

/// Calls the algorithm in use.
macro_rules! dispatch {
    ($self:ident, $inner:ident => $call:expr) => {
        match $self {
            Congestion::Cubic($inner) => $call,
            Congestion::NewReno($inner) => $call,
        }
    };
}

/// What outlasts a [`Congestion`] that is not in use: its windows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resting {
    cwnd: u32,
    ssthresh: u32,
    /// CUBIC's plateau.
    w_max: u32,
    algorithm: Algorithm,
}

impl Resting {
    /// Congestion window and slow start threshold, in bytes.
    pub const fn windows(&self) -> (u32, u32) {
        (self.cwnd, self.ssthresh)
    }

    /// Goes on with another algorithm.
    pub const fn change_algorithm(&mut self, algorithm: Algorithm) {
        self.algorithm = algorithm;
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Congestion {
    /// What [`Congestion::resume`] goes on from. Nothing may be in flight.
    pub fn rest(&self) -> Resting {
        let w_max = match self {
            Congestion::Cubic(cubic) => cubic.w_max(),
            Congestion::NewReno(_) => 0,
        };
        Resting { cwnd: self.cwnd(), ssthresh: self.ssthresh(), w_max, algorithm: self.algorithm() }
    }

    /// Goes on where a connection rested. To be told of the idle time by
    /// [`on_idle`](CongestionControl::on_idle).
    pub fn resume(resting: &Resting, mss: u16) -> Self {
        let mut congestion = Congestion::new(resting.algorithm, mss, false);
        congestion.window_mut().restore(resting.cwnd, resting.ssthresh);
        if let Congestion::Cubic(cubic) = &mut congestion
            && resting.ssthresh != u32::MAX
        {
            cubic.resume(resting.w_max);
        }
        congestion
    }
}

impl CongestionControl for Congestion {
    fn window(&self) -> &Window {
        dispatch!(self, inner => inner.window())
    }

    fn window_mut(&mut self) -> &mut Window {
        dispatch!(self, inner => inner.window_mut())
    }

    fn on_ack(&mut self, ack: &AckSample) {
        dispatch!(self, inner => inner.on_ack(ack))
    }

    fn on_congestion(&mut self, signal: Signal, flight_size: u32) {
        dispatch!(self, inner => inner.on_congestion(signal, flight_size))
    }

    fn on_timeout(&mut self, flight_size: u32, first: bool) {
        dispatch!(self, inner => inner.on_timeout(flight_size, first))
    }

    fn undo(&mut self) {
        dispatch!(self, inner => inner.undo())
    }

    fn on_idle(&mut self, now: Micros, idle: Duration, rto: Duration) {
        dispatch!(self, inner => inner.on_idle(now, idle, rto))
    }
}

#[cfg(test)]
mod tests;

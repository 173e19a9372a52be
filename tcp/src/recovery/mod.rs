//! Loss recovery: what a sender keeps about the segments in flight, and what it concludes from ACKs and
//! from silence. In sequence numbers only: whoever owns a [`Recovery`] keeps the bytes.
//!
//! With SACK, losses are found by time (RACK-TLP, RFC 8985); without, by duplicate ACKs (NewReno, RFC 6582).
//! Either way a timeout is the last resort (RFC 6298) and is checked for having been spurious (F-RTO,
//! RFC 5682), and the window comes down in proportion to what is delivered (PRR, RFC 9937).
//!
//! # The order of calls
//!
//! - When output runs: as long as [`Recovery::send_quota`] allows, send what
//!   [`Recovery::next_retransmit`] gives, then new data; after every segment call
//!   [`Recovery::on_transmit`]. That holds after each of the calls below.
//! - For each acceptable ACK (new data or not): [`Recovery::on_ack`].
//! - When [`Recovery::deadline`] has come: [`Recovery::on_timeout`]. It may be called early or late; the
//!   timer of the caller need not be moved when the deadline moves back.
//! - At the end: [`Recovery::clear`], or the records are lost to the pool.
//!
//! # What it does not do
//!
//! Congestion control (it is told what happened), pacing, the peer's window and its probes, keep-alive, and
//! giving up: the caller looks at [`Recovery::timeouts`] and [`Recovery::stalled_since`]. Timestamps are used
//! to tell originals from retransmissions in round trips, not to undo a reduction (Eifel); DSACK and F-RTO do
//! that.
//!
//! SYN and FIN are sent and acknowledged like data of one byte. Sequence numbers are those of the sender
//! (SND.*), times are in us, windows and counts in bytes.

mod ack;
mod delivery;
mod flight;
mod frto;
mod phase;
mod plain;
mod prr;
mod rack;
mod rto;
mod sack;
#[cfg(test)]
mod sim_tests;
#[cfg(test)]
mod tests;
mod timeout;
mod tlp;

use crate::congestion::CongestionControl;
use crate::pool::Pool;
use crate::{Micros, SeqNumber, SeqRange};
pub use ack::{Ack, AckOutcome};
use flight::{Fate, Scoreboard};
pub use flight::{Flight, Full};
use frto::Frto;
use prr::Prr;
use rack::{Rack, Reordering};
pub use rto::Limits;
use rto::RttEstimator;
pub use timeout::{Timeout, TimerKind};
use tlp::Probe;

//= RFC 5681 section 3.2: the third duplicate ACK says that a segment is lost.
const DUP_THRESH: u8 = 3;

/// Why a segment is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transmit {
    /// It is new.
    New,
    /// [`Recovery::next_retransmit`] gave it, or it is the first part of what that gave.
    Retransmit,
    /// [`Timeout::Probe`] asked for it: new data, or the last segment or the end of it.
    Probe,
}

/// What the sender is doing about congestion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing.
    Open,
    /// The window comes down because of an ECN echo.
    Cwr,
    /// Fast recovery: the window comes down, and losses are repaired.
    Recovery,
    /// After a retransmission timeout, in slow start.
    Loss(Frto),
}

/// What outlasts a [`Recovery`]: round trips, and a count.
#[derive(Clone, Debug, Default)]
pub struct PathMemory {
    rtt: RttEstimator,
    /// Segments that were sent again, modulo 2^32.
    pub retransmits: u32,
}

impl PathMemory {
    /// SRTT, RTTVAR and the least round trip in us; zero before the first sample.
    pub fn round_trips(&self) -> [u32; 3] {
        [self.rtt.srtt(), self.rtt.rttvar(), self.rtt.min()]
    }

    /// The retransmission timeout in us.
    pub fn rto(&self, limits: &Limits) -> u32 {
        self.rtt.rto(limits, 0, false)
    }
}

/// Loss recovery of one connection. See the [module](self).
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Recovery {
    board: Scoreboard,
    rtt: RttEstimator,
    rack: Rack,
    prr: Prr,
    /// Without SACK: bytes that duplicate ACKs say have left the network.
    reno_delivered: u32,
    /// SND.NXT when the phase began: it ends when that is acknowledged (RFC 6582: recover).
    recover: SeqNumber,
    /// SND.UNA when the window was reduced; together with `recover` it bounds what the reduction was for.
    undo_start: SeqNumber,
    /// TLP.end_seq.
    probe_end: SeqNumber,
    deadline: Micros,
    /// The retransmission timer runs from here.
    rto_from: Micros,
    stalled_since: Micros,
    retransmits: u32,
    /// Segments now are this long, as far as is known.
    mss: u16,
    /// Retransmissions of this reduction that no DSACK has answered.
    undo_pending: u16,
    timer: Option<TimerKind>,
    phase: Phase,
    probe: Probe,
    /// Duplicate ACKs since SND.UNA advanced; with SACK, those that SACKed something.
    duplicates: u8,
    /// Timeouts in a row: since SND.UNA advanced, and since a round trip was measured.
    timeouts: u8,
    backoff: u8,
    /// The slice of time in which losses were last looked for, if there are many records.
    looked: u8,
    /// The last reduction can still turn out to have been for nothing.
    undo_armed: bool,
    /// The timer ran out before a round trip was measured.
    syn_lost: bool,
    /// One retransmission is due whatever the window says.
    owed: bool,
    /// Without SACK: duplicate ACKs may be echoes of our own retransmissions.
    ignore_duplicates: bool,
    sack_permitted: bool,
}

const _: () = assert!(size_of::<Recovery>() <= 144);

impl Recovery {
    /// Nothing sent yet; `iss` is the initial send sequence number.
    pub fn new(iss: SeqNumber) -> Self {
        Recovery {
            board: Scoreboard::default(),
            rtt: RttEstimator::default(),
            rack: Rack::new(iss),
            prr: Prr::default(),
            reno_delivered: 0,
            recover: iss,
            undo_start: iss,
            probe_end: iss,
            deadline: Micros::new(0),
            rto_from: Micros::new(0),
            stalled_since: Micros::new(0),
            retransmits: 0,
            mss: 0,
            undo_pending: 0,
            timer: None,
            phase: Phase::Open,
            probe: Probe::None,
            duplicates: 0,
            timeouts: 0,
            backoff: 0,
            looked: 0,
            undo_armed: false,
            syn_lost: false,
            owed: false,
            ignore_duplicates: false,
            sack_permitted: false,
        }
    }

    /// Notes what was agreed on with the peer: SACK or not, and how long segments are, in bytes of data.
    pub fn agree(&mut self, sack_permitted: bool, mss: u16) {
        (self.sack_permitted, self.mss) = (sack_permitted, mss);
    }

    /// What it has learnt of the path, for [`Recovery::resume`]. Nothing may be in flight.
    pub fn path_memory(&self) -> PathMemory {
        PathMemory { rtt: self.rtt, retransmits: self.retransmits }
    }

    /// Goes on from what was learnt of the path; `snd_nxt` is the number of what is sent next.
    pub fn resume(snd_nxt: SeqNumber, memory: &PathMemory) -> Self {
        Recovery { rtt: memory.rtt, retransmits: memory.retransmits, ..Recovery::new(snd_nxt) }
    }

    /// How many bytes may be sent now, retransmissions included. `mss` in bytes.
    pub fn send_quota<C: CongestionControl>(&self, cc: &C, mss: u32) -> u32 {
        let quota = cc.cwnd().saturating_sub(self.in_flight());
        if self.owed { quota.max(mss) } else { quota }
    }

    /// What is to be sent again next, `mss` bytes at most: the first of what is lost.
    pub fn next_retransmit(&self, flights: &Pool<Flight>, mss: u32) -> Option<SeqRange> {
        //= RFC 5682 section 2.1 step 2b: new data goes out before anything else is sent again.
        if self.phase == Phase::Loss(Frto::NewData) {
            return None;
        }
        let mut range = self.board.first_lost(flights)?.range;
        if range.len() > mss {
            range.end = range.start + mss.max(1);
        }
        Some(range)
    }

    /// Whether there is room for the record of new data.
    pub const fn has_room(&self, flights: &Pool<Flight>) -> bool {
        self.board.has_room(flights)
    }

    /// Notes that the segment `range` is being sent; new data begins where the last ended. What was sent
    /// before may be sent in smaller pieces, if the MSS has become less. No effect for an empty range.
    ///
    /// # Errors
    /// If there is no room for the record of new data: then it must not be sent. Never for what was sent
    /// before.
    pub fn on_transmit(
        &mut self,
        flights: &mut Pool<Flight>,
        limits: &Limits,
        range: SeqRange,
        now: Micros,
        why: Transmit,
    ) -> Result<(), Full> {
        if range.is_empty() {
            return Ok(());
        }
        let snd_nxt = self.board.back(flights).map_or(range.start, |last| last.range.end);
        let idle = self.board.is_empty();
        let is_new = range.start.at_or_after(snd_nxt);
        if is_new {
            self.board.push(flights, range, now)?;
        } else {
            self.note_retransmit(flights, range, now, why);
        }
        if self.is_reducing() {
            self.prr.on_transmit(range.len());
        }
        if idle {
            //= RFC 6298 section 5.1: the timer starts when something is sent and it is not running.
            (self.rto_from, self.stalled_since) = (now, now);
            self.rack.on_restart(now, range.start);
        }
        if why == Transmit::Probe {
            //= RFC 8985 section 7.3: TLP.end_seq is SND.NXT after the probe, which is the last segment.
            self.probe = if is_new { Probe::NewData } else { Probe::Retransmission };
            self.probe_end = range.end;
        }
        if self.timer != Some(TimerKind::Reordering) {
            self.arm(limits, now, None);
        }
        Ok(())
    }

    fn note_retransmit(&mut self, flights: &mut Pool<Flight>, range: SeqRange, now: Micros, why: Transmit) {
        let is_front = self.board.front(flights).is_some_and(|front| front.range.start == range.start);
        self.board.retransmit(flights, range, now);
        self.retransmits = self.retransmits.wrapping_add(1);
        if why != Transmit::Retransmit {
            return;
        }
        self.owed = false;
        self.undo_pending = self.undo_pending.saturating_add(u16::from(self.undo_armed));
        if is_front {
            //= RFC 6675 section 5 step 4.3: the timer starts anew with the first retransmission, which
            //= needs a whole round trip.
            self.rto_from = now;
        }
    }

    /// Takes a round trip in us that was measured before anything was sent: that of a passive handshake.
    pub fn on_rtt(&mut self, now: Micros, rtt: u32) {
        self.rtt.on_sample(now, rtt, 1);
    }

    /// The path carries only smaller segments than those that are out: these are lost.
    pub fn lose_all(&mut self, flights: &mut Pool<Flight>) {
        self.board.mark_lost(flights, |_| Fate::Lost);
        self.owed = true;
    }

    /// The last segment that was sent, or its last `mss` bytes: what a tail loss probe sends again.
    pub fn last_sent(&self, flights: &Pool<Flight>, mss: u32) -> Option<SeqRange> {
        let range = self.board.back(flights)?.range;
        Some(SeqRange { start: range.end - range.len().min(mss), end: range.end })
    }

    /// Gives all records back to the pool; nothing is in flight any more, and no timer runs.
    pub fn clear(&mut self, flights: &mut Pool<Flight>) {
        self.board.clear(flights);
        (self.reno_delivered, self.timer) = (0, None);
    }

    /// Bytes that are thought to be under way (the pipe of RFC 6675).
    pub const fn in_flight(&self) -> u32 {
        self.board.in_flight().saturating_sub(self.reno_delivered)
    }

    /// Bytes that are lost and wait to be sent again.
    pub const fn lost(&self) -> u32 {
        self.board.lost()
    }

    /// Bytes that the receiver holds out of order.
    pub const fn sacked(&self) -> u32 {
        self.board.sacked()
    }

    /// Retransmission timeouts in a row, without an ACK of new data between them: the caller gives up at
    /// a bound (RFC 9293 section 3.8.3: R2).
    pub const fn timeouts(&self) -> u8 {
        self.timeouts
    }

    /// Since when no new data was acknowledged, if any is outstanding: the caller gives up after the user
    /// timeout (RFC 9293 section 3.8.3), which must be less than half an hour.
    pub fn stalled_since(&self) -> Option<Micros> {
        (!self.board.is_empty()).then_some(self.stalled_since)
    }

    /// SRTT in us; zero before the first sample.
    pub const fn srtt(&self) -> u32 {
        self.rtt.srtt()
    }

    /// RTTVAR in us.
    pub const fn rttvar(&self) -> u32 {
        self.rtt.rttvar()
    }

    /// The least round trip of the last seconds, in us; zero before the first sample.
    pub fn min_rtt(&self) -> u32 {
        self.rtt.min()
    }

    /// The retransmission timeout in us, as it is now.
    pub fn rto(&self, limits: &Limits) -> u32 {
        self.rtt.rto(limits, self.backoff, self.syn_lost)
    }

    /// Segments that were sent again, modulo 2^32.
    pub const fn retransmits(&self) -> u32 {
        self.retransmits
    }

    /// Whether the path was seen to reorder.
    pub const fn reordering_seen(&self) -> bool {
        self.rack.reordering_seen()
    }

    /// Whether losses are being repaired: fast recovery, or after a timeout.
    pub const fn in_recovery(&self) -> bool {
        matches!(self.phase, Phase::Recovery | Phase::Loss(_))
    }

    /// Whether PRR sets the window.
    const fn is_reducing(&self) -> bool {
        matches!(self.phase, Phase::Cwr | Phase::Recovery)
    }

    fn reordering(&self) -> Reordering {
        //= RFC 6675 section 4: IsLost, by segments or by bytes.
        let many_sacked = self.duplicates >= DUP_THRESH
            || self.board.sacked() > u32::from(DUP_THRESH - 1) * u32::from(self.mss);
        let pressing = self.in_recovery() || many_sacked;
        Reordering { pressing, min_rtt: self.min_rtt(), srtt: self.srtt() }
    }
}

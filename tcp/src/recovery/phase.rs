//! When losses are being repaired and when not, and what that does to the window.

use super::ack::{Ack, AckOutcome, Event};
use super::flight::Flight;
use super::frto::{Frto, FrtoAck, Verdict};
use super::prr::{Progress, Prr};
use super::tlp::Probe;
use super::{DUP_THRESH, Phase, Recovery};
use crate::congestion::{AckSample, CongestionControl, Signal};
use crate::pool::Pool;
use crate::{Micros, SeqNumber};

/// A reduction can be undone until so many bytes more were acknowledged.
const MAX_UNDO_DELAY: u32 = 1 << 30;

/// More records than this are not walked for every ACK, but so many times a round trip.
const LONG_BOARD: usize = 256;
const LOOKS_PER_RTT: u32 = 32;

/// What is out at some time, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flying {
    /// Thought to be under way.
    pub(super) in_flight: u32,
    /// Sent and not cumulatively acknowledged.
    outstanding: u32,
}

impl Flying {
    //= RFC 5681 section 3.2 step 2: what limited transmit sent, past the window, does not count in
    //= FlightSize; what was SACKed does.
    /// FlightSize, where the congestion window is `cwnd`.
    pub(super) fn size(self, cwnd: u32) -> u32 {
        self.outstanding.min(self.in_flight.max(cwnd))
    }
}

impl Recovery {
    /// What is out now: from `una` to `snd_nxt`.
    pub(super) fn flying(&self, una: SeqNumber, snd_nxt: SeqNumber) -> Flying {
        Flying { in_flight: self.in_flight(), outstanding: snd_nxt.distance_from(una) }
    }

    /// Ends the phase if the ACK covers all that was out when it began, or shows that it was for nothing.
    pub(super) fn leave_phase<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        ack: &Ack<'_>,
        event: &Event,
        outcome: &mut AckOutcome,
    ) {
        if self.phase == Phase::Open {
            // A DSACK this late is for something else, and `recover` cannot be compared for ever.
            self.undo_armed &= event.una.before(self.recover + MAX_UNDO_DELAY);
            return;
        }
        // The echo goes on until the receiver has seen CWR, in the first segment past `recover`.
        let over = match self.phase {
            Phase::Cwr => event.una.after(self.recover),
            _ => event.una.at_or_after(self.recover),
        };
        if over {
            if self.is_reducing() {
                //= RFC 9937 section 6.4: at the end the window is at its target.
                cc.set_cwnd(cc.ssthresh());
            }
            if self.in_recovery() {
                self.rack.on_recovered();
                //= RFC 6582 section 3.2 step 1: duplicate ACKs that follow may be for what was sent twice.
                self.ignore_duplicates = !self.sack_permitted && event.una == self.recover;
                outcome.left_recovery = true;
            }
            self.phase = Phase::Open;
        } else if let Phase::Loss(frto) = self.phase {
            let ack = FrtoAck {
                advanced: event.advanced(),
                out_of_order: event.delivery.sacked > 0 || ack.duplicate,
                original: event.delivery.original,
                can_send_new: ack.can_send_new && self.has_room(flights),
            };
            match frto.on_ack(&ack) {
                Verdict::Open(next) => {
                    //= RFC 5682 section 2.1 step 3a: cwnd becomes three segments: there is one to be sent
                    //= again beside the two new ones.
                    // Without SACK nothing else would tell that those have left the network.
                    self.owed |= (frto, next) == (Frto::NewData, Frto::Off);
                    self.phase = Phase::Loss(next);
                }
                Verdict::Spurious => {
                    outcome.spurious = true;
                    self.undo(flights, cc);
                }
            }
        }
    }

    /// Goes back to before the last reduction.
    pub(super) fn undo<C: CongestionControl>(&mut self, flights: &mut Pool<Flight>, cc: &mut C) {
        cc.undo();
        self.board.unmark_lost(flights);
        (self.phase, self.undo_armed, self.owed, self.backoff) = (Phase::Open, false, false, 0);
    }

    /// Marks what is lost: gives how many bytes that is, and when to look again.
    #[inline]
    pub(super) fn detect_losses(
        &mut self,
        flights: &mut Pool<Flight>,
        now: Micros,
        advanced: bool,
    ) -> (u32, Option<u32>) {
        let sent_last = self.board.front(flights).is_none_or(|front| self.rack.keeps_all_from(front));
        if sent_last && self.sack_permitted {
            return (0, None);
        }
        self.mark_losses(flights, now, advanced)
    }

    #[cold]
    fn mark_losses(&mut self, flights: &mut Pool<Flight>, now: Micros, advanced: bool) -> (u32, Option<u32>) {
        if !self.sack_permitted {
            let lost = if self.shows_hole(advanced) {
                self.board.lose_first(flights, u32::from(self.mss))
            } else {
                0
            };
            return (lost, None);
        }
        let Some(patience) = self.rack.patience(&self.reordering()) else { return (0, None) };
        let mut wait = self.rest(now);
        if wait.is_some() {
            return (0, wait);
        }
        let Recovery { board, rack, .. } = self;
        let lost = board.mark_lost(flights, |flight| rack.fate(flight, now, patience, &mut wait));
        (lost, wait)
    }

    /// Looking for losses may mean a walk over all records: if they are many, that is done a bounded number
    /// of times a round trip. Gives how long to wait for the next time, in us, if it is not now.
    fn rest(&mut self, now: Micros) -> Option<u32> {
        let has_holes = self.board.sacked() > 0 || self.board.lost() > 0;
        if self.board.len() <= LONG_BOARD || !has_holes {
            return None;
        }
        let slice = (self.min_rtt() / LOOKS_PER_RTT).max(1);
        let number = (now.get() / slice) as u8;
        if std::mem::replace(&mut self.looked, number) == number {
            return Some(slice - now.get() % slice);
        }
        None
    }

    /// Without SACK: whether an ACK shows that the first segment is lost.
    fn shows_hole(&self, advanced: bool) -> bool {
        match self.phase {
            //= RFC 6582 section 3.2 step 2: the third duplicate ACK.
            Phase::Open | Phase::Cwr => self.duplicates >= DUP_THRESH,
            //= RFC 6582 section 3.2 step 3: an ACK of new data, but not of all: the next one is lost too.
            Phase::Recovery => advanced,
            Phase::Loss(_) => false,
        }
    }

    /// Begins fast recovery, unless losses are being repaired already; gives whether it did.
    pub(super) fn begin_recovery<C: CongestionControl>(
        &mut self,
        cc: &mut C,
        flight: Flying,
        una: SeqNumber,
        snd_nxt: SeqNumber,
    ) -> bool {
        if self.in_recovery() {
            return false;
        }
        //= RFC 3168 section 6.1.2: the window that an echo has just reduced is not reduced again.
        if self.phase == Phase::Open {
            self.reduce(cc, Signal::Loss, flight, snd_nxt);
            (self.undo_armed, self.undo_start) = (true, una);
            self.undo_pending = u16::from(self.probe == Probe::Retransmission);
        }
        (self.phase, self.recover, self.probe) = (Phase::Recovery, snd_nxt, Probe::None);
        true
    }

    /// Reduces the window.
    pub(super) fn reduce<C: CongestionControl>(
        &mut self,
        cc: &mut C,
        signal: Signal,
        flight: Flying,
        snd_nxt: SeqNumber,
    ) {
        cc.on_congestion(signal, flight.size(cc.cwnd()));
        self.prr = Prr::new(flight.in_flight);
        (self.recover, self.undo_armed) = (snd_nxt, false);
    }

    /// Opens the window, or brings it down, as an ACK that came in `phase_before` allows.
    pub(super) fn move_window<C: CongestionControl>(
        &mut self,
        cc: &mut C,
        ack: &Ack<'_>,
        event: &Event,
        phase_before: Phase,
        lost: u32,
        rtt: Option<u32>,
    ) {
        if self.is_reducing() {
            if event.delivered > 0 || lost > 0 {
                let safe = event.advanced() && lost == 0;
                self.reduce_in_proportion(cc, event.delivered, safe);
            }
            return;
        }
        let was_reducing = matches!(phase_before, Phase::Cwr | Phase::Recovery);
        if was_reducing || !event.advanced() {
            return;
        }
        //= RFC 5681 section 3.1: what an ACK acknowledges opens the window. After a timeout that is only
        //= what was not known to be delivered: a hole that fills must not let out a burst.
        let acked = if phase_before == Phase::Open { event.delivery.acked } else { event.delivery.new };
        cc.on_ack(&AckSample {
            now: ack.now,
            acked,
            rtt,
            srtt: self.srtt(),
            in_flight_before: event.flying.in_flight,
            cwnd_limited: ack.cwnd_limited,
            ack: event.una,
            snd_nxt: event.snd_nxt,
        });
    }

    /// Sets the window by PRR.
    pub(super) fn reduce_in_proportion<C: CongestionControl>(
        &mut self,
        cc: &mut C,
        delivered: u32,
        safe: bool,
    ) {
        let cwnd = self.prr.on_ack(&Progress {
            delivered,
            in_flight: self.in_flight(),
            safe,
            retransmit: self.board.lost() > 0,
            ssthresh: cc.ssthresh(),
            mss: u32::from(self.mss),
        });
        cc.set_cwnd(cwnd);
    }
}

//! The one timer of loss recovery, and what its end means.

use super::flight::{Fate, Flight, State};
use super::frto::Frto;
use super::tlp::{self, Probe};
use super::{Limits, Phase, Recovery};
use crate::congestion::CongestionControl;
use crate::pool::Pool;
use crate::{Micros, SeqNumber};

/// What the timer waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerKind {
    /// Segments that others have overtaken, to be called lost (RFC 8985 section 6.2 step 5).
    Reordering,
    /// ACKs, before the last segment is probed for (RFC 8985 section 7.2).
    TailLossProbe,
    /// An ACK of new data (RFC 6298 section 5).
    Retransmission,
}

/// What is to be done when the timer has run out. In each case output runs after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a probe has to be sent"]
pub enum Timeout {
    /// Nothing: it is early, or nothing came of it. The deadline may have moved.
    Nothing,
    /// Segments were found to be lost.
    Lost {
        /// The window was reduced for them: with ECN, the next new data carries CWR.
        reduced: bool,
    },
    /// Send one segment whatever the quota says: new data if there is any that the peer's window lets out,
    /// else, or if there is no room for its record, [`Recovery::last_sent`]. Then call `on_transmit` with `Transmit::Probe`.
    Probe,
    /// Nothing came back for long: the first segment is to be sent again, and the window starts anew; with
    /// ECN, the next new data carries CWR.
    Retransmission,
}

impl Recovery {
    /// When the timer runs out, and why; `None` while nothing is outstanding.
    pub fn deadline(&self) -> Option<(Micros, TimerKind)> {
        self.timer.map(|kind| (self.deadline, kind))
    }

    /// Sets the timer anew. `wait`: until segments that others have overtaken are lost, in us.
    pub(super) fn arm(&mut self, limits: &Limits, now: Micros, wait: Option<u32>) {
        if self.board.is_empty() {
            self.timer = None;
            return;
        }
        let rto_at = self.rto_from + self.rto(limits);
        let sooner = wait
            .map(|wait| (now + wait, TimerKind::Reordering))
            .or_else(|| self.probe_wait(limits).map(|wait| (now + wait, TimerKind::TailLossProbe)));
        let (deadline, kind) = match sooner {
            Some((at, kind)) if at.before(rto_at) => (at, kind),
            //= RFC 8985 section 7.2: a probe that would come after the retransmission timeout comes in its
            //= place.
            Some((_, TimerKind::TailLossProbe)) => (rto_at, TimerKind::TailLossProbe),
            _ => (rto_at, TimerKind::Retransmission),
        };
        (self.deadline, self.timer) = (deadline, Some(kind));
    }

    //= RFC 8985 section 7.2: a probe is for connections with SACK, without SACKed segments, and not in
    //= recovery; section 7.3: one at a time.
    /// How long a probe has to wait, if there may be one.
    fn probe_wait(&self, limits: &Limits) -> Option<u32> {
        let may = self.sack_permitted
            && self.srtt() != 0
            && self.board.sacked() == 0
            && !self.in_recovery()
            && self.probe == Probe::None;
        let one_segment = self.board.outstanding() <= u32::from(self.mss);
        may.then(|| tlp::timeout(self.srtt(), one_segment, limits))
    }

    /// Does what is due at `now`. `mss` in bytes.
    pub fn on_timeout<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        limits: &Limits,
        now: Micros,
        mss: u32,
    ) -> Timeout {
        let due = self.timer.filter(|_| !now.before(self.deadline));
        let (Some(kind), Some(front), Some(back)) =
            (due, self.board.front(flights), self.board.back(flights))
        else {
            return Timeout::Nothing;
        };
        let (una, snd_nxt) = (front.range.start, back.range.end);
        self.mss = u16::try_from(mss).unwrap_or(u16::MAX);
        match kind {
            TimerKind::Reordering => self.on_overtaken(flights, cc, limits, now, (una, snd_nxt)),
            TimerKind::TailLossProbe => {
                //= RFC 8985 section 7.3: the retransmission timer starts anew, probe or not.
                self.rto_from = now;
                let at = now + self.rto(limits);
                (self.deadline, self.timer) = (at, Some(TimerKind::Retransmission));
                Timeout::Probe
            }
            TimerKind::Retransmission => {
                self.on_retransmission_timeout(flights, cc, limits, now, (una, snd_nxt));
                Timeout::Retransmission
            }
        }
    }

    fn on_overtaken<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        limits: &Limits,
        now: Micros,
        (una, snd_nxt): (SeqNumber, SeqNumber),
    ) -> Timeout {
        let flying = self.flying(una, snd_nxt);
        let (lost, wait) = self.detect_losses(flights, now, false);
        let reduced = lost > 0 && self.phase == Phase::Open;
        if lost > 0 {
            self.begin_recovery(cc, flying, una, snd_nxt);
            if self.is_reducing() {
                self.reduce_in_proportion(cc, 0, false);
            }
        }
        self.arm(limits, now, wait);
        if lost > 0 { Timeout::Lost { reduced } } else { Timeout::Nothing }
    }

    fn on_retransmission_timeout<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        limits: &Limits,
        now: Micros,
        (una, snd_nxt): (SeqNumber, SeqNumber),
    ) {
        let frto = match self.phase {
            //= RFC 5682 section 2.1 step 1: the question is asked once; it stands while only the first
            //= segment is sent over and over.
            Phase::Open | Phase::Loss(Frto::Retransmitted) => Frto::Retransmitted,
            _ => Frto::Off,
        };
        let (first, flying) = (self.phase == Phase::Open, self.flying(una, snd_nxt));
        self.mark_losses_on_timeout(flights, now);
        cc.on_timeout(flying.size(cc.cwnd()), first);
        if first {
            (self.undo_armed, self.undo_start, self.undo_pending) = (true, una, 0);
        }
        //= RFC 6582 section 3.2: recover is the highest number sent when the timer runs out.
        (self.phase, self.recover, self.probe) = (Phase::Loss(frto), snd_nxt, Probe::None);
        (self.reno_delivered, self.duplicates, self.owed) = (0, 0, true);
        self.syn_lost |= self.srtt() == 0;
        self.timeouts = self.timeouts.saturating_add(1);
        //= RFC 6298 sections 5.5 and 5.6: the timeout doubles, and the timer starts anew.
        self.backoff += u8::from(self.rto(limits) < limits.max_rto);
        self.rto_from = now;
        self.arm(limits, now, None);
    }

    //= RFC 8985 section 6.3: lost are the first segment and all that were sent a round trip and the
    //= reordering window ago. Without RACK all are, as in RFC 5681.
    fn mark_losses_on_timeout(&mut self, flights: &mut Pool<Flight>, now: Micros) {
        // The receiver SACKed the first segment and did not acknowledge it: it has thrown data away.
        if self.board.front(flights).is_some_and(|front| front.state == State::Sacked) {
            self.board.forget_sacks(flights);
        }
        self.board.lose_first(flights, u32::from(self.mss));
        let patience = self.rack.patience(&self.reordering()).filter(|_| self.sack_permitted);
        self.board.mark_lost(flights, |flight| {
            let overdue = patience.is_none_or(|patience| now.since(flight.sent) >= patience);
            if overdue { Fate::Lost } else { Fate::Kept }
        });
    }
}

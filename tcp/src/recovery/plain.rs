//! The ACK that most are: new data came, all of it sent once, and nothing is wrong.

use super::ack::{Ack, AckOutcome};
use super::flight::Flight;
use super::rack::Newest;
use super::tlp::Probe;
use super::{Limits, Phase, Recovery};
use crate::congestion::{AckSample, CongestionControl};
use crate::pool::Pool;

impl Recovery {
    /// Whether `ack` is one: nothing is being repaired, probed for or open to doubt, and it says nothing but
    /// that segments came that were sent once.
    #[inline]
    pub(super) fn is_plain(&self, flights: &Pool<Flight>, ack: &Ack<'_>) -> bool {
        let calm = self.phase == Phase::Open
            && self.probe == Probe::None
            && !self.undo_armed
            && !self.rack.counts_dsacks()
            && self.board.sacked() | self.board.lost() | self.reno_delivered == 0;
        let says_no_more = !ack.duplicate && !ack.ece && ack.sack.is_empty();
        calm && says_no_more && self.board.takes_originals(flights, ack.ack)
    }

    /// As [`Recovery::on_any_ack`], for one that [is plain](Recovery::is_plain).
    #[inline]
    pub(super) fn on_plain_ack<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        limits: &Limits,
        ack: &Ack<'_>,
    ) -> AckOutcome {
        let before = self.in_flight();
        let snd_nxt = self.board.back(flights).map_or(ack.ack, |back| back.range.end);
        let flying = self.flying(snd_nxt - before, snd_nxt);
        let Recovery { board, rack, .. } = self;
        let mut last: Option<Newest> = None;
        board.acknowledge(flights, ack.ack, |flight| {
            let Flight { range, sent, .. } = *flight;
            if last.is_none_or(|last| !sent.before(last.sent)) {
                last = Some(Newest { sent, end: range.end });
            }
            rack.on_delivered(flight);
        });
        let last = last.unwrap_or(Newest { sent: ack.now, end: ack.ack });
        let (acked, rtt) = (before - board.in_flight(), ack.now.since(last.sent));
        rack.on_newest(last, rtt);
        self.rtt.on_sample(ack.now, rtt, samples_in(before, ack.mss));
        self.restart_timer(ack.now, true);
        (self.duplicates, self.ignore_duplicates) = (0, false);

        let mut outcome = AckOutcome { acked, delivered: acked, rtt: Some(rtt), ..AckOutcome::default() };
        let (lost, wait) = self.detect_losses(flights, ack.now, true);
        if lost > 0 {
            outcome.reduced = true;
            outcome.entered_recovery = self.begin_recovery(cc, flying, ack.ack, snd_nxt);
            self.reduce_in_proportion(cc, acked, false);
        } else {
            //= RFC 5681 section 3.1: what an ACK acknowledges opens the window.
            cc.on_ack(&AckSample {
                now: ack.now,
                acked,
                rtt: Some(rtt),
                srtt: self.srtt(),
                in_flight_before: before,
                cwnd_limited: ack.cwnd_limited,
                ack: ack.ack,
                snd_nxt,
            });
        }
        self.arm(limits, ack.now, wait);
        outcome
    }
}

/// Round trips that are measured in one: about one ACK comes for two segments.
pub(super) fn samples_in(in_flight: u32, mss: u32) -> u32 {
    in_flight / mss.saturating_mul(2).max(1)
}

//! RACK: a segment is lost once one that was sent later, by more than the reordering that the path shows,
//! has been delivered (RFC 8985 section 6).

use super::flight::{Fate, Flight};
use crate::{Micros, SeqNumber};

//= RFC 8985 section 6.2 step 4: a window that DSACKs widened stays for 16 recoveries.
const PERSIST: u8 = 16;

/// The state of RFC 8985 section 5.2. Times in us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rack {
    /// When the most recently sent of all delivered segments was sent, and where it ends.
    sent: Micros,
    end: SeqNumber,
    /// The end of the highest delivered sequence number (RACK.fack).
    fack: SeqNumber,
    /// The round trip of the segment sent at `sent`; zero before any.
    rtt: u32,
    /// DSACKs count again once this is acknowledged, if `round_open`.
    dsack_round: SeqNumber,
    round_open: bool,
    reordering_seen: bool,
    /// RACK.reo_wnd_mult and RACK.reo_wnd_persist.
    mult: u8,
    persist: u8,
}

/// The most recently sent of the segments that an ACK delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Newest {
    pub(super) sent: Micros,
    pub(super) end: SeqNumber,
}

impl Newest {
    //= RFC 8985 section 6.1: of two segments sent at once the one with the higher number is the later.
    /// Whether it was sent after the other.
    pub(super) const fn sent_after(&self, sent: Micros, end: SeqNumber) -> bool {
        sent.before(self.sent) || (sent.get() == self.sent.get() && end.before(self.end))
    }
}

/// What the reordering window depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reordering {
    /// Loss is certain or near: recovery goes on, or DupThresh segments were SACKed.
    pub(super) pressing: bool,
    pub(super) min_rtt: u32,
    pub(super) srtt: u32,
}

impl Rack {
    /// Nothing was delivered; `iss` is the initial send sequence number.
    pub(super) const fn new(iss: SeqNumber) -> Self {
        Rack {
            sent: Micros::new(0),
            end: iss,
            fack: iss,
            rtt: 0,
            dsack_round: iss,
            round_open: false,
            reordering_seen: false,
            mult: 1,
            persist: 0,
        }
    }

    /// Whether a segment was seen to arrive after one that was sent later.
    pub(super) const fn reordering_seen(&self) -> bool {
        self.reordering_seen
    }

    /// Whether [`Rack::on_dsack`] waits for the end of a round.
    pub(super) const fn counts_dsacks(&self) -> bool {
        self.round_open
    }

    /// Nothing is outstanding, and `start` is sent now: forgets when what came before was sent, so that a
    /// connection may be idle for longer than times can be compared.
    pub(super) const fn on_restart(&mut self, now: Micros, start: SeqNumber) {
        (self.sent, self.end) = (now, start);
    }

    //= RFC 8985 section 6.2 step 3: a segment that was never sent again and is delivered after a higher
    //= one was reordered.
    /// Notes that `flight` was delivered.
    pub(super) fn on_delivered(&mut self, flight: &Flight) {
        if flight.range.end.after(self.fack) {
            self.fack = flight.range.end;
        } else if flight.range.end.before(self.fack) && !flight.retransmitted {
            self.reordering_seen = true;
        }
    }

    //= RFC 8985 section 6.2 step 2: the delivered segment that was sent last sets the pace.
    /// Notes what an ACK delivered, `rtt` us after it was sent.
    pub(super) fn on_newest(&mut self, newest: Newest, rtt: u32) {
        let first = self.rtt == 0;
        self.rtt = rtt.clamp(1, i32::MAX as u32);
        if first || newest.sent_after(self.sent, self.end) {
            (self.sent, self.end) = (newest.sent, newest.end);
        }
    }

    //= RFC 8985 section 6.2 step 4: every round trip that shows a DSACK makes the window wider.
    /// Adapts the window to an ACK, which does or does not report a duplicate.
    pub(super) fn on_dsack(&mut self, dsack: bool, una: SeqNumber, snd_nxt: SeqNumber) {
        if self.round_open && una.at_or_after(self.dsack_round) {
            self.round_open = false;
        }
        if dsack && !self.round_open {
            (self.dsack_round, self.round_open) = (snd_nxt, true);
            self.mult = self.mult.saturating_add(1);
            self.persist = PERSIST;
        }
    }

    /// Notes that what was sent again had only been late. RFC 8985 only widens the window for that, and the
    /// window counts for nothing until reordering is seen, which a segment that was sent again never shows.
    pub(super) const fn on_spurious(&mut self) {
        self.reordering_seen = true;
    }

    /// Notes that a recovery ended.
    pub(super) const fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.mult = 1;
        }
    }

    /// RACK.reo_wnd, in us.
    fn window(&self, path: &Reordering) -> u32 {
        //= RFC 8985 section 6.2 step 4: without reordering there is no reason to wait once in recovery or
        //= DupThresh segments were SACKed;
        if !self.reordering_seen && path.pressing {
            return 0;
        }
        //= RFC 8985 section 6.2 step 4: else a quarter of the least round trip or more of them, up to SRTT.
        (path.min_rtt / 4).saturating_mul(u32::from(self.mult)).min(path.srtt)
    }

    /// How long after it was sent a segment counts as lost: `None` before anything was delivered.
    pub(super) fn patience(&self, path: &Reordering) -> Option<u32> {
        (self.rtt != 0).then(|| self.rtt.saturating_add(self.window(path)))
    }

    // Originals go out in order, so that what lies behind one went out later still.
    /// Whether `flight` and all behind it were sent after the newest delivered segment.
    pub(super) fn keeps_all_from(&self, flight: &Flight) -> bool {
        let newest = Newest { sent: self.sent, end: self.end };
        !flight.retransmitted && !newest.sent_after(flight.sent, flight.range.end)
    }

    //= RFC 8985 section 6.2 step 5: lost is what was sent before the newest delivered segment, and at
    //= least a round trip and the reordering window ago.
    /// What becomes of `flight`. If it is kept for now, `wait` grows to the time until it is lost.
    pub(super) fn fate(&self, flight: &Flight, now: Micros, patience: u32, wait: &mut Option<u32>) -> Fate {
        if self.keeps_all_from(flight) {
            return Fate::RestKept;
        }
        let newest = Newest { sent: self.sent, end: self.end };
        if !newest.sent_after(flight.sent, flight.range.end) {
            return Fate::Kept;
        }
        let left = patience.saturating_sub(now.since(flight.sent));
        if left == 0 {
            return Fate::Lost;
        }
        *wait = Some(wait.map_or(left, |wait| wait.max(left)));
        Fate::Kept
    }
}

#[cfg(test)]
mod tests {
    use super::super::flight::State;
    use super::*;
    use crate::SeqRange;

    fn flight(start: u32, sent: u32, retransmitted: bool) -> Flight {
        let range = SeqRange { start: SeqNumber::new(start), end: SeqNumber::new(start + 100) };
        Flight { range, sent: Micros::new(sent), state: State::InFlight, retransmitted }
    }

    const STILL: Reordering = Reordering { pressing: false, min_rtt: 40, srtt: 60 };

    fn rack(sent: u32, end: u32) -> Rack {
        let mut rack = Rack::new(SeqNumber::ZERO);
        rack.on_newest(Newest { sent: Micros::new(sent), end: SeqNumber::new(end) }, 50);
        rack
    }

    /// RFC 8985 section 6.2 step 5, for the newest delivered segment 300 to 400, sent at 1000, RTT 50,
    /// window 10: segment, time, fate, time left.
    #[test]
    fn what_is_lost() {
        for (segment, now, fate, left) in [
            (flight(100, 990, false), 1049, Fate::Kept, Some(1)),
            (flight(100, 990, false), 1050, Fate::Lost, None),
            (flight(100, 1000, false), 1050, Fate::Kept, Some(10)),
            (flight(100, 1000, true), 1060, Fate::Lost, None),
            (flight(100, 1001, true), 2000, Fate::Kept, None),
            (flight(100, 1001, false), 2000, Fate::RestKept, None),
            // Sent at once, and behind it.
            (flight(400, 1000, false), 2000, Fate::RestKept, None),
        ] {
            let rack = rack(1000, 400);
            let patience = rack.patience(&STILL).unwrap();
            let mut wait = None;
            let got = rack.fate(&segment, Micros::new(now), patience, &mut wait);
            assert_eq!((got, wait), (fate, left), "{segment:?} at {now}");
        }
    }

    #[test]
    fn the_later_segment_sets_the_pace() {
        let mut rack = rack(1000, 400);
        for (sent, end, want) in [(990, 900, (1000, 400)), (1000, 300, (1000, 400)), (1000, 500, (1000, 500))]
        {
            rack.on_newest(Newest { sent: Micros::new(sent), end: SeqNumber::new(end) }, 50);
            assert_eq!((rack.sent.get(), rack.end.get()), want);
        }
        assert_eq!(Rack::new(SeqNumber::ZERO).patience(&STILL), None);
    }

    /// RFC 8985 section 6.2 step 3.
    #[test]
    fn reordering_is_seen() {
        let mut rack = Rack::new(SeqNumber::new(u32::MAX - 50));
        for (segment, seen) in [
            (flight(100, 0, false), false),
            (flight(300, 0, false), false),
            (flight(200, 0, true), false),
            (flight(300, 0, false), false),
            (flight(200, 0, false), true),
        ] {
            rack.on_delivered(&segment);
            assert_eq!(rack.reordering_seen(), seen, "{segment:?}");
        }
    }

    /// RFC 8985 section 6.2 step 4.
    #[test]
    fn the_window() {
        let mut rack = rack(0, 0);
        let pressing = Reordering { pressing: true, ..STILL };
        assert_eq!((rack.window(&STILL), rack.window(&pressing)), (10, 0));
        rack.reordering_seen = true;
        assert_eq!(rack.window(&pressing), 10);
        // One step a round trip.
        for (una, nxt, want) in [(100, 200, 20), (150, 250, 20), (200, 300, 30), (300, 400, 40)] {
            rack.on_dsack(true, SeqNumber::new(una), SeqNumber::new(nxt));
            assert_eq!(rack.window(&STILL), want, "{una}");
        }
        (0..10).for_each(|n| rack.on_dsack(true, SeqNumber::new(500 + n), SeqNumber::new(500 + n)));
        assert_eq!(rack.window(&STILL), 60, "up to SRTT");
        (0..15).for_each(|_| rack.on_recovered());
        assert_eq!(rack.window(&STILL), 60);
        rack.on_recovered();
        assert_eq!(rack.window(&STILL), 10);
    }
}

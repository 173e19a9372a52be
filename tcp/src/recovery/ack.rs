//! What an ACK changes.

use super::delivery::Delivery;
use super::flight::Flight;
use super::phase::Flying;
use super::plain::samples_in;
use super::sack::Report;
use super::tlp::{Probe, ProbeAck, Verdict};
use super::{Limits, Phase, Recovery};
use crate::congestion::{CongestionControl, Signal};
use crate::pool::Pool;
use crate::{Micros, SackBlocks, SeqNumber, SeqRange};

/// An acceptable segment with the ACK bit.
#[derive(Clone, Copy, Debug)]
pub struct Ack<'a> {
    /// When it came.
    pub now: Micros,
    /// SEG.ACK.
    pub ack: SeqNumber,
    /// Its SACK blocks.
    pub sack: &'a SackBlocks,
    /// How long ago, in us, the timestamp was sent that it echoes (RFC 7323 section 4): rounded up, so that
    /// it is never less than the round trip.
    pub echo_rtt: Option<u32>,
    /// It is a duplicate ACK by RFC 5681 section 2: no data, no SYN, no FIN, the same window, the same
    /// number as before, and something outstanding.
    pub duplicate: bool,
    /// It echoes congestion, and ECN was agreed on (RFC 3168).
    pub ece: bool,
    /// SACK was agreed on. The same in all segments after the SYN.
    pub sack_permitted: bool,
    /// The congestion window was what stopped the last output.
    pub cwnd_limited: bool,
    /// There is data that was never sent, and nothing but the congestion window holds it back. F-RTO, which
    /// alone asks, [in recovery](Recovery::in_recovery), relies on its being sent before anything else, then.
    pub can_send_new: bool,
    /// The segments that are sent now, in bytes of data.
    pub mss: u32,
}

/// What came of an ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AckOutcome {
    /// How far SND.UNA advanced.
    pub acked: u32,
    /// Bytes that are known to be delivered since this ACK.
    pub delivered: u32,
    /// The round trip that it measured, in us.
    pub rtt: Option<u32>,
    /// The window was reduced: with ECN, the next new data carries CWR.
    pub reduced: bool,
    /// Fast recovery began.
    pub entered_recovery: bool,
    /// Fast recovery or what followed a timeout ended.
    pub left_recovery: bool,
    /// The last reduction turned out to have been for nothing, and was undone.
    pub spurious: bool,
    /// It reported a duplicate.
    pub dsack: bool,
}

/// An ACK in the light of the scoreboard.
#[derive(Debug)]
pub(super) struct Event {
    /// SND.UNA, after it.
    pub(super) una: SeqNumber,
    pub(super) snd_nxt: SeqNumber,
    /// Before it.
    pub(super) flying: Flying,
    /// Bytes delivered, as far as is known; without SACK duplicates count.
    pub(super) delivered: u32,
    pub(super) report: Report,
    pub(super) delivery: Delivery,
}

impl Event {
    /// Whether SND.UNA advanced.
    pub(super) const fn advanced(&self) -> bool {
        self.delivery.acked > 0
    }
}

impl Recovery {
    /// Takes an acceptable segment with the ACK bit.
    pub fn on_ack<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        limits: &Limits,
        ack: &Ack<'_>,
    ) -> AckOutcome {
        self.sack_permitted = ack.sack_permitted;
        self.mss = u16::try_from(ack.mss).unwrap_or(u16::MAX);
        if self.is_plain(flights, ack) {
            return self.on_plain_ack(flights, cc, limits, ack);
        }
        self.on_any_ack(flights, cc, limits, ack)
    }

    /// Takes an ACK, whatever it says.
    pub(super) fn on_any_ack<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        limits: &Limits,
        ack: &Ack<'_>,
    ) -> AckOutcome {
        let event = self.take(flights, ack);
        let rtt = self.measure(ack, &event);
        let mut outcome = AckOutcome {
            acked: event.delivery.acked,
            delivered: event.delivered,
            rtt,
            dsack: event.report.dsack.is_some(),
            ..AckOutcome::default()
        };
        let phase = self.phase;
        self.on_dsack(flights, cc, ack, &event, &mut outcome);
        self.on_probe_ack(cc, ack, &event, &mut outcome);
        self.leave_phase(flights, cc, ack, &event, &mut outcome);
        let (lost, wait) = self.detect_losses(flights, ack.now, event.advanced());
        if lost > 0 {
            let Event { una, snd_nxt, flying, .. } = event;
            outcome.reduced |= self.phase == Phase::Open;
            outcome.entered_recovery = self.begin_recovery(cc, flying, una, snd_nxt);
        }
        if ack.ece && (phase, self.phase) == (Phase::Open, Phase::Open) {
            //= RFC 3168 section 6.1.2: an echo reduces the window as a loss does, once a round trip. The
            //= ACK that ends a reduction still echoes what led to it.
            self.phase = Phase::Cwr;
            self.reduce(cc, Signal::EcnEcho, event.flying, event.snd_nxt);
            outcome.reduced = true;
        }
        self.move_window(cc, ack, &event, phase, lost, rtt);
        self.arm(limits, ack.now, wait);
        outcome
    }

    /// Brings the scoreboard up to date.
    fn take(&mut self, flights: &mut Pool<Flight>, ack: &Ack<'_>) -> Event {
        let before = self.board.front(flights).map_or(ack.ack, |front| front.range.start);
        let snd_nxt = self.board.back(flights).map_or(ack.ack, |back| back.range.end);
        let advance = ack.ack.after(before) && ack.ack.at_or_before(snd_nxt);
        let una = if advance { ack.ack } else { before };
        let none = SackBlocks::NONE;
        let sack = if ack.sack_permitted { ack.sack } else { &none };
        let mut event = Event {
            una,
            snd_nxt,
            flying: self.flying(before, snd_nxt),
            delivered: 0,
            report: Report::read(sack, ack.ack, una, snd_nxt),
            delivery: Delivery::new(ack.now, ack.echo_rtt, self.min_rtt(), self.recover),
        };
        let head = self.board.front(flights).map_or(0, |front| front.range.len().min(ack.mss));
        let Recovery { board, rack, .. } = self;
        let delivery = &mut event.delivery;
        board.acknowledge(flights, una, |flight| delivery.add(flight, false, rack));
        let blocks = event.report.blocks.as_slice();
        board.sack(flights, blocks, ack.mss, |flight| delivery.add(flight, true, rack));
        event.delivered =
            if ack.sack_permitted { event.delivery.new } else { self.take_reno(ack, &event.delivery, head) };
        self.count_duplicates(ack, &event);
        event
    }

    //= RFC 6582 section 3.2 steps 3 and 5: a duplicate ACK stands for a segment that left the network,
    //= and an ACK of new data takes back what they stood for. Inflating the window comes to the same.
    /// Bytes that an ACK without SACK delivered, the first outstanding segment having been `head` long.
    fn take_reno(&mut self, ack: &Ack<'_>, delivery: &Delivery, head: u32) -> u32 {
        if delivery.acked > 0 {
            let known = self.reno_delivered.min(delivery.acked.saturating_sub(head));
            self.reno_delivered -= known;
            return delivery.acked - known;
        }
        if !ack.duplicate || self.ignore_duplicates || matches!(self.phase, Phase::Loss(_)) {
            return 0;
        }
        //= RFC 3042 section 2: so the first two let out a segment each.
        let room = self.in_flight().saturating_sub(head);
        let delivered = ack.mss.min(room);
        self.reno_delivered += delivered;
        delivered
    }

    fn count_duplicates(&mut self, ack: &Ack<'_>, event: &Event) {
        if event.advanced() {
            (self.duplicates, self.ignore_duplicates) = (0, false);
            return;
        }
        let counts = if ack.sack_permitted {
            event.delivery.sacked > 0
        } else {
            ack.duplicate && !self.ignore_duplicates
        };
        self.duplicates = self.duplicates.saturating_add(u8::from(counts));
    }

    /// Takes the times that an ACK tells; gives the round trip.
    fn measure(&mut self, ack: &Ack<'_>, event: &Event) -> Option<u32> {
        let rtt = event.delivery.rtt();
        if let Some(rtt) = rtt {
            self.rtt.on_sample(ack.now, rtt, samples_in(event.flying.in_flight, ack.mss));
        }
        if let Some(newest) = event.delivery.newest {
            self.rack.on_newest(newest, ack.now.since(newest.sent));
        }
        if event.advanced() {
            self.restart_timer(ack.now, rtt.is_some());
        }
        rtt
    }

    /// New data was acknowledged, which did or did not measure a round trip.
    pub(super) fn restart_timer(&mut self, now: Micros, measured: bool) {
        //= RFC 6298 section 5.7: the backoff of the SYN does not go on to the data.
        if measured || self.srtt() == 0 {
            self.backoff = 0;
        } else if self.timeouts == 0 {
            // Karn's algorithm keeps the backoff until a round trip is measured. If all has to be sent twice
            // that never comes, and the timeout would stay at its bound: steady progress wears it off.
            self.backoff = self.backoff.saturating_sub(1);
        }
        //= RFC 6298 section 5.3: the timer starts anew when new data is acknowledged.
        (self.rto_from, self.stalled_since, self.timeouts) = (now, now, 0);
    }

    fn on_probe_ack<C: CongestionControl>(
        &mut self,
        cc: &mut C,
        ack: &Ack<'_>,
        event: &Event,
        outcome: &mut AckOutcome,
    ) {
        let verdict = self.probe.on_ack(&ProbeAck {
            una: event.una,
            end: self.probe_end,
            dsack_end: event.report.dsack.map(|block| block.end),
            bare_duplicate: ack.duplicate && ack.sack.as_slice().is_empty(),
        });
        if verdict == Verdict::Open {
            return;
        }
        self.probe = Probe::None;
        if verdict == Verdict::Repaired && self.phase == Phase::Open {
            //= RFC 8985 section 7.4: a loss that the probe repaired is congestion all the same.
            self.reduce(cc, Signal::Loss, event.flying, event.snd_nxt);
            cc.set_cwnd(cc.ssthresh());
            outcome.reduced = true;
        }
    }

    /// Takes note of a duplicate that the receiver reports: if all that was sent again for the last
    /// reduction was, the reduction is undone.
    fn on_dsack<C: CongestionControl>(
        &mut self,
        flights: &mut Pool<Flight>,
        cc: &mut C,
        ack: &Ack<'_>,
        event: &Event,
        outcome: &mut AckOutcome,
    ) {
        // A probe that was not needed says nothing about reordering.
        let is_probe = |block: &SeqRange| self.probe == Probe::Retransmission && block.end == self.probe_end;
        let dsack = event.report.dsack.filter(|block| !is_probe(block));
        self.rack.on_dsack(dsack.is_some(), event.una, event.snd_nxt);
        let Some(block) = dsack else { return };
        let of_reduction = block.end.after(self.undo_start) && block.end.at_or_before(self.recover);
        if !self.undo_armed || self.undo_pending == 0 || !of_reduction {
            return;
        }
        let segments = block.len().div_ceil(ack.mss.max(1));
        self.undo_pending = self.undo_pending.saturating_sub(u16::try_from(segments).unwrap_or(u16::MAX));
        if self.undo_pending == 0 {
            outcome.spurious = true;
            self.rack.on_spurious();
            self.undo(flights, cc);
        }
    }
}

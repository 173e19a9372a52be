//! How a segment is made and sent, and what is noted of it.

use wire::{Payload, TcpFlags};

use super::black_hole::SizeSearch;
use super::{Connection, Cx, Flags, State, Timer};
use crate::options::{SackBlocks, SeqRange};
use crate::packet::{EcnField, NoFrame, Output, Packet, SegmentOut};
use crate::recovery::Transmit;
use crate::{Micros, Tick, UnscaledWindow};

impl Connection {
    /// Sends a range, with PSH if `push` says so, and keeps account of it. What was sent before has its
    /// record; for new data there must be room for one.
    pub(super) fn emit<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
        range: SeqRange,
        kind: Transmit,
        push: bool,
    ) -> Result<(), NoFrame> {
        self.emit_segment(cx, out, range, push)?;
        let was_in_flight = self.in_flight();
        if let Some(sender) = self.sending.active(cx.senders) {
            sender.recovery.on_transmit(cx.flights, cx.recovery, range, Micros::at(cx.now), kind).ok();
            sender.pacer.on_sent(range.len(), cx.now);
        }
        cx.counters.retransmitted += u64::from(kind == Transmit::Retransmit);
        if self.size_search != SizeSearch::Over {
            self.note_size_sent(cx, range);
        }
        if range.end.after(self.snd_nxt) {
            self.snd_nxt = range.end;
            self.flags.clear(Flags::WINDOW_PROBED);
            self.note_fin_sent();
            if range.len() < u32::from(self.mss) {
                self.small_end = range.end;
            }
        }
        if !was_in_flight {
            self.stalled_since = Tick::at(cx.now);
        }
        Ok(())
    }

    pub(super) fn note_fin_sent(&mut self) {
        if self.snd_nxt.after(self.send.end()) {
            self.flags.set(Flags::FIN_SENT);
        }
    }

    /// Sends the SYN, data and FIN that `range` stands for.
    pub(super) fn emit_segment<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
        range: SeqRange,
        push: bool,
    ) -> Result<(), NoFrame> {
        let syn = self.syn_range().is_some();
        let data_start = range.start + u32::from(syn);
        let fin = range.end.after(self.send.end());
        let len = if syn { 0 } else { range.end.distance_from(data_start) - u32::from(fin) };
        let is_new = range.start == self.snd_nxt;
        let mut segment = self.segment(cx, syn);
        segment.seq = range.start;
        let mut flag = |on: bool, flag: TcpFlags| {
            if on {
                segment.flags = segment.flags | flag;
            }
        };
        flag(syn, TcpFlags::SYN);
        flag(fin && !syn, TcpFlags::FIN);
        //= RFC 9293 section 3.9.1.2: the last segment of what is queued carries PSH (MUST-61).
        let is_end = data_start + len == self.send.end();
        flag(len > 0 && (push || is_end) && !self.flags.has(Flags::MORE), TcpFlags::PSH);
        let reduced = is_new && len > 0 && self.flags.has(Flags::CWR);
        flag(reduced, TcpFlags::CWR);
        //= RFC 3168 section 6.1.5: retransmissions, and anything without data, are not ECN capable.
        if is_new && len > 0 && self.flags.has(Flags::ECN) {
            segment.ecn = EcnField::Ect0;
        }
        let payload = (len > 0).then(|| self.send.pieces(cx.pieces, data_start, len));
        out.send(&Packet { segment, ip: self.ip, payload })?;
        self.note_sent(cx, &segment, len);
        if reduced {
            self.flags.clear(Flags::CWR);
        }
        cx.counters.segments_out += 1;
        cx.counters.payload_bytes_out += u64::from(len);
        self.note_ack_sent();
        Ok(())
    }

    /// Sends a segment without data, `change`d at will.
    pub(super) fn send_bare<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
        change: impl Fn(&mut SegmentOut),
    ) -> Result<(), NoFrame> {
        let mut segment = self.segment(cx, false);
        change(&mut segment);
        out.send(&Packet { segment, ip: self.ip, payload: None })?;
        self.note_sent(cx, &segment, 0);
        cx.counters.segments_out += 1;
        self.note_ack_sent();
        Ok(())
    }

    pub(super) fn send_reset<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
    ) -> Result<(), NoFrame> {
        self.send_bare(cx, out, |segment| {
            segment.flags = TcpFlags::RST;
            segment.options.sack = SackBlocks::NONE;
        })?;
        cx.counters.resets_out += 1;
        self.flags.clear(Flags::RESET);
        Ok(())
    }

    /// A segment that acknowledges what there is; SYN or not, which decides about options and window.
    fn segment<B: Payload>(&mut self, cx: &Cx<'_, B>, syn: bool) -> SegmentOut {
        if syn {
            return self.syn_segment(cx);
        }
        let mut segment = self.bare_segment(cx.now);
        segment.window = self.receiver.window(cx.receive.limits(), self.rcv_mss);
        if self.flags.has(Flags::SACK) {
            segment.options.sack = self.receiver.sack_blocks(cx.receive);
        }
        if self.flags.has(Flags::ECE) {
            segment.flags = TcpFlags::ECE;
        }
        segment
    }

    fn syn_segment<B: Payload>(&mut self, cx: &Cx<'_, B>) -> SegmentOut {
        let mut segment = self.bare_segment(cx.now);
        let answers = self.state == State::SynReceived;
        if !answers {
            segment.ack = None;
        }
        let offer = cx.offer;
        segment.window = UnscaledWindow(self.offered_window(offer));
        segment.options.mss = Some(self.offered_mss(cx.config));
        segment.options.sack_permitted = self.flags.has(Flags::SACK);
        segment.options.window_scale =
            offer.window_scale.filter(|_| !answers || self.flags.has(Flags::WINDOW_SCALE));
        //= RFC 3168 section 6.1.1: ECE and CWR in a SYN ask, ECE in a SYN-ACK agrees. A SYN sent again
        //= does not ask: the first may have been lost because of it.
        if !answers && self.flags.has(Flags::ECN_ASKED) && self.snd_nxt == self.snd_una {
            segment.flags = TcpFlags::ECE | TcpFlags::CWR;
        } else if answers && self.flags.has(Flags::ECN) {
            segment.flags = TcpFlags::ECE;
        }
        segment
    }

    fn note_ack_sent(&mut self) {
        self.last_ack_sent = self.receiver.next();
        self.unacked_bytes = 0;
        self.delayed_ack = Timer::OFF;
        self.flags.clear(Flags::ACK_NOW.and(Flags::ACK_PENDING));
    }
}

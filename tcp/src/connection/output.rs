//! What a connection sends, decided at the end of a burst: what was lost, then new data, then, if
//! nothing of that carried it, an ACK.

use wire::Payload;

use super::{Connection, Cx, Flags, State};
use crate::SeqNumber;
use crate::options::{Options, SeqRange};
use crate::packet::{NoFrame, Output};
use crate::recovery::Transmit;

impl Connection {
    /// Sends what is due.
    ///
    /// # Errors
    /// [`NoFrame`]: something is left to be sent.
    pub(crate) fn poll_transmit<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
    ) -> Result<(), NoFrame> {
        if self.flags.has(Flags::RESET) {
            return self.send_reset(cx, out);
        }
        match self.state {
            State::Closed => return Ok(()),
            State::SynSent | State::SynReceived => self.send_syn(cx, out)?,
            State::TimeWait => {}
            _ => {
                if self.sending.peek(cx.senders).is_some_and(|sender| sender.recovery.lost() > 0) {
                    self.retransmit(cx, out)?;
                }
                self.send_new(cx, out)?;
                if self.flags.any(Flags::PROBES) {
                    self.send_probes(cx, out)?;
                }
            }
        }
        if self.flags.has(Flags::ACK_NOW) && self.state != State::SynSent {
            self.send_bare(cx, out, |_| {})?;
        }
        Ok(())
    }

    #[cold]
    fn send_syn<B: Payload, O: Output<B>>(&mut self, cx: &mut Cx<'_, B>, out: &mut O) -> Result<(), NoFrame> {
        let Some(range) = self.syn_range() else { return Ok(()) };
        let first = self.snd_nxt == range.start;
        let again = self.flags.has(Flags::RESEND_SYN);
        if first {
            if !self.has_room(cx) {
                return Ok(());
            }
            self.emit(cx, out, range, Transmit::New, false)?;
        } else if again || self.next_lost(cx, 1).is_some() {
            self.emit(cx, out, range, Transmit::Retransmit, false)?;
        }
        self.flags.clear(Flags::RESEND_SYN);
        Ok(())
    }

    /// Sends again what is taken for lost, as far as the congestion window lets.
    #[cold]
    fn retransmit<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
    ) -> Result<(), NoFrame> {
        let mut burst = false;
        while let Some(range) = self.next_lost(cx, self.segment_room()) {
            if !self.may_send(cx, range) {
                break;
            }
            let quota = self.quota(cx);
            let lost = self.sending.peek(cx.senders).map_or(0, |sender| sender.recovery.lost());
            let is_last = lost <= range.len() || quota < range.len() + u32::from(self.mss);
            self.emit(cx, out, range, Transmit::Retransmit, burst && is_last)?;
            burst = true;
        }
        Ok(())
    }

    /// Sends data that was never sent.
    fn send_new<B: Payload, O: Output<B>>(&mut self, cx: &mut Cx<'_, B>, out: &mut O) -> Result<(), NoFrame> {
        self.flags.clear(Flags::CWND_LIMITED);
        let mut burst = false;
        while let Some(range) = self.next_new() {
            let probe = self.flags.has(Flags::PROBE);
            if !self.may_send(cx, range) && self.in_flight() && !probe {
                self.flags.set(Flags::CWND_LIMITED);
                break;
            }
            // The next ACK brings room for a record. If none is to come, it waits for others to bring some.
            if !self.has_room(cx) {
                break;
            }
            let kind = if probe { Transmit::Probe } else { Transmit::New };
            let push = burst && self.is_last_of_burst(cx, range);
            self.emit(cx, out, range, kind, push)?;
            burst = true;
            self.flags.clear(Flags::PROBE);
        }
        self.flags.clear(Flags::OVERRIDE);
        if !self.in_flight() && self.has_unsent() {
            self.start_persist(cx);
        }
        Ok(())
    }

    /// Whether nothing can follow `range` now. The last segment of a burst carries PSH: a receiver that
    /// gathers segments in its device driver then hands them up, and acknowledges them, without delay.
    fn is_last_of_burst<B>(&mut self, cx: &mut Cx<'_, B>, range: SeqRange) -> bool {
        let before = std::mem::replace(&mut self.snd_nxt, range.end);
        let next = self.next_new();
        self.snd_nxt = before;
        next.is_none_or(|next| self.quota(cx) < range.len() + next.len())
    }

    /// Bytes that congestion control and the pacer let go now.
    fn quota<B>(&self, cx: &mut Cx<'_, B>) -> u32 {
        self.sending.active(cx.senders).map_or(0, |sender| sender.quota(cx.now, self.mss))
    }

    /// Whether the congestion window lets a segment go. A FIN is no load on the path: it does not count.
    fn may_send<B>(&mut self, cx: &mut Cx<'_, B>, range: SeqRange) -> bool {
        range.start == self.send.end() || self.quota(cx) >= range.len().min(self.mss.into())
    }

    /// What is to be sent again next, of `mss` bytes at most.
    pub(super) fn next_lost<B>(&self, cx: &Cx<'_, B>, mss: u16) -> Option<SeqRange> {
        let mss = u32::from(mss);
        // A FIN takes a number, but no room.
        let range = self.sending.peek(cx.senders)?.recovery.next_retransmit(cx.flights, mss + 1)?;
        let fits = range.len() <= mss || range.end.after(self.send.end());
        Some(if fits { range } else { SeqRange { end: range.start + mss, ..range } })
    }

    /// The last segment that was sent, or the last `mss` bytes of it.
    fn last_sent<B>(&self, cx: &Cx<'_, B>, mss: u16) -> Option<SeqRange> {
        let mss = u32::from(mss);
        let range = self.sending.peek(cx.senders)?.recovery.last_sent(cx.flights, mss + 1)?;
        let fits = range.len() <= mss || range.end.after(self.send.end());
        Some(if fits { range } else { SeqRange { start: range.end - mss, ..range } })
    }

    /// Whether there is room for a record of new data.
    fn has_room<B>(&mut self, cx: &mut Cx<'_, B>) -> bool {
        self.wake(cx.senders).is_some_and(|sender| sender.recovery.has_room(cx.flights))
    }

    /// Whether it has something to send, but no record, and nothing in flight whose ACK would bring one.
    pub(crate) fn waits_for_record<B>(&self, cx: &Cx<'_, B>) -> bool {
        !self.in_flight()
            && cx.flights.room() == 0
            && self.state != State::Closed
            && (self.syn_range().is_some() || self.next_new().is_some())
    }

    /// Bytes past SND.NXT that the peer's window lets go.
    pub(super) fn window_left(&self) -> u32 {
        self.snd_wnd.saturating_sub(self.snd_nxt.distance_from(self.snd_una))
    }

    /// The next segment of new data, or a FIN, that the window, Nagle's algorithm and the application let
    /// go; the congestion window is not looked at.
    pub(super) fn next_new(&self) -> Option<SeqRange> {
        if !self.has_unsent() {
            return None;
        }
        let unsent = self.unsent();
        let window = self.window_left();
        let room = self.segment_room();
        let larger = self.size_to_try(unsent.min(window)).filter(|_| room == self.mss);
        let mss = u32::from(larger.unwrap_or(room));
        let len = unsent.min(window).min(mss);
        let is_last = len == unsent;
        let fin = is_last && self.flags.has(Flags::FIN_QUEUED) && window > len;
        if len < mss && !self.may_send_small(len, is_last) {
            return None;
        }
        let end = self.snd_nxt + len + u32::from(fin);
        (end != self.snd_nxt).then_some(SeqRange { start: self.snd_nxt, end })
    }

    //= RFC 9293 section 3.8.6.2.1: a segment below the MSS goes out if it is all there is and nothing is
    //= unacknowledged, or it is half of the largest window, or waiting has gone on for long.
    // "Nothing unacknowledged" is relaxed to "no other small segment": Minshall, "A suggested modification to
    // Nagle's algorithm", 1999.
    fn may_send_small(&self, len: u32, is_last: bool) -> bool {
        if is_last && self.flags.any(Flags::FIN_QUEUED.and(Flags::PROBE)) {
            return true;
        }
        let no_small_one_out = !is_out(self.small_end, self.snd_una, self.snd_nxt);
        let nagle = self.flags.has(Flags::NODELAY) || no_small_one_out;
        let held = self.flags.any(Flags::CORK.and(Flags::HELD));
        (is_last && nagle && !held)
            || (len > 0 && len >= self.max_wnd / 2 && !is_last)
            || (len > 0 && self.flags.has(Flags::OVERRIDE))
    }

    /// Whether there is new data, or a FIN, to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent() > 0 || (self.flags.has(Flags::FIN_QUEUED) && !self.flags.has(Flags::FIN_SENT))
    }

    /// Data of the next segment: the MSS, less what SACK blocks will take.
    fn segment_room(&self) -> u16 {
        let blocks = if self.flags.has(Flags::SACK) { self.receiver.sack_count() } else { 0 };
        let room = Options::MAX_LEN - if self.flags.has(Flags::TIMESTAMPS) { 12 } else { 0 };
        let fit = blocks.min((room - 4) / 8);
        self.mss - if fit == 0 { 0 } else { 4 + 8 * fit as u16 }
    }

    #[cold]
    fn send_probes<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
    ) -> Result<(), NoFrame> {
        if self.flags.has(Flags::PROBE) {
            // There was no new data: the last segment goes out again (RFC 8985 section 7.3).
            if let Some(range) = self.last_sent(cx, self.segment_room()) {
                self.emit(cx, out, range, Transmit::Probe, false)?;
            }
            self.flags.clear(Flags::PROBE);
        }
        if self.flags.has(Flags::PROBE_WINDOW) {
            self.probe_window(cx, out)?;
        }
        if self.flags.has(Flags::PROBE_PEER) {
            //= RFC 9293 section 3.8.4: a segment with the number before the next one, and no data, makes
            //= the peer acknowledge.
            cx.counters.keepalive_probes += 1;
            self.send_bare(cx, out, |segment| segment.seq = segment.seq - 1)?;
            self.flags.clear(Flags::PROBE_PEER);
        }
        Ok(())
    }

    //= RFC 9293 section 3.8.6.1: at least one octet of new data is sent into a closed window (MUST-36).
    // It is not counted as in flight: that it is not acknowledged says nothing about the path.
    fn probe_window<B: Payload, O: Output<B>>(
        &mut self,
        cx: &mut Cx<'_, B>,
        out: &mut O,
    ) -> Result<(), NoFrame> {
        if self.has_unsent() && !self.in_flight() {
            let range = SeqRange { start: self.snd_nxt, end: self.snd_nxt + 1 };
            self.emit_segment(cx, out, range, false)?;
            cx.counters.zero_window_probes += 1;
            self.flags.set(Flags::WINDOW_PROBED);
            self.start_persist(cx);
        }
        self.flags.clear(Flags::PROBE_WINDOW);
        Ok(())
    }
}

/// Whether a segment that ended at `end` is unacknowledged. One that was sent 2^31 bytes ago looks as if it were
/// still to come.
fn is_out(end: SeqNumber, una: SeqNumber, nxt: SeqNumber) -> bool {
    end.after(una) && end.at_or_before(nxt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_segment_of_long_ago_is_not_out() {
        let una = SeqNumber::new(u32::MAX - 50);
        let cases = [(una, false), (una + 1, true), (una + 100, true), (una + 101, false), (una - 1, false)];
        for (end, out) in cases.into_iter().chain([(una + (1 << 31) + 5, false)]) {
            assert_eq!(is_out(end, una, una + 100), out, "{end:?}");
        }
    }
}

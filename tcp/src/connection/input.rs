//! A segment arrives: RFC 9293 section 3.10.7.4, in its order, with what RFC 7323 and RFC 5961 add.

use std::time::Duration;

use wire::{Instant, Payload, TcpFlags};

use super::app::SEND_BY_RIGHT;
use super::black_hole::SizeSearch;
use super::{Connection, Cx, Error, Event, Flags, News, State, Timer};
use crate::closed::{Reply, reset_for};
use crate::listen::timestamp_clock;
use crate::receive::Arrival;
use crate::recovery::Ack;
use crate::{Micros, Segment, SeqNumber, SeqRange, Tick};

/// What a check says of a segment.
enum Check {
    /// The next check.
    Pass,
    /// It goes no further.
    Drop,
}

impl Connection {
    /// Takes a segment of this connection; `payload` is its data. `ce` says that the IP header carried a
    /// congestion mark. Gives what is to be sent at once outside of the connection, if anything.
    pub(crate) fn handle_segment<B: Payload>(
        &mut self,
        cx: &mut Cx<'_, B>,
        segment: &Segment,
        payload: B,
        ce: bool,
    ) -> Reply {
        if self.state == State::SynSent {
            return self.in_syn_sent(cx, segment, payload);
        }
        if let Check::Drop = self.check_timestamps(cx, segment) {
            return Reply::None;
        }
        if let Check::Drop = self.check_sequence(cx, segment) {
            return Reply::None;
        }
        if let Check::Drop = self.check_reset_and_syn(cx, segment) {
            return Reply::None;
        }
        //= RFC 9293 section 3.10.7.4, "Fifth": without an ACK, the segment is dropped.
        let Some(ack) = segment.ack else { return Reply::None };
        if self.state == State::SynReceived {
            if !ack.is_within(self.snd_una + 1, self.snd_nxt.distance_from(self.snd_una)) {
                return reset_for(segment).into();
            }
            self.acknowledge_syn(cx, segment, ack);
            self.transition(cx, Event::SynAcked);
            self.snd_wl1 = segment.seq - 1;
        }
        if let Check::Drop = self.take_ack(cx, segment, ack) {
            return Reply::None;
        }
        // What was forged blindly has not come this far.
        self.heard_at = timestamp_clock(cx.now);
        self.probes_unanswered = 0;
        self.take_timestamp(cx.now, segment);
        self.take_congestion_mark(segment, ce);
        self.take_data(cx, segment, payload)
    }

    //= RFC 7323 section 5.3 R1: an old timestamp means an old segment: it is acknowledged and dropped,
    //= unless it is a reset.
    fn check_timestamps<B>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment) -> Check {
        if !self.flags.has(Flags::TIMESTAMPS) || segment.rst() {
            return Check::Pass;
        }
        let Some(timestamps) = segment.options.timestamps else {
            //= RFC 7323 section 3.2: once agreed on, a segment without timestamps should be dropped;
            //= RFC 5961 section 4.2: but a SYN is challenged, whatever else is wrong with it.
            // A peer that has begun anew may offer none.
            if segment.syn() {
                self.challenge(cx);
            }
            return Check::Drop;
        };
        let is_old = (timestamps.value.wrapping_sub(self.ts_recent) as i32) < 0;
        if is_old && !self.ts_recent_is_stale(cx.now) {
            cx.counters.paws_rejected += 1;
            self.acknowledge_unacceptable(cx, segment);
            return Check::Drop;
        }
        Check::Pass
    }

    //= RFC 7323 section 5.5: after 24 days of silence the recorded timestamp says nothing any more.
    fn ts_recent_is_stale(&self, now: Instant) -> bool {
        seconds(now).wrapping_sub(self.ts_recent_at) > TS_RECENT_VALID
    }

    //= RFC 9293 section 3.10.7.4, "First": what lies outside of the window is acknowledged and dropped,
    //= resets in silence.
    // Taken is what reaches into the window or touches one of its edges, which is more than the RFC's
    // table has: a bare ACK at the right edge is what a peer sends that has filled the window. A reset may
    // not touch that one. And the left edge is that of the last ACK: what the peer sent before it had that
    // one is not stale.
    fn check_sequence<B>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment) -> Check {
        let (start, end) = (segment.seq, segment.seq + segment.len());
        let window = self.receiver.receive_window();
        let (left, right) = (self.last_ack_sent, window.next + window.window.bytes());
        let beyond = segment.rst() && start == right && right != window.next;
        if end.at_or_after(left) && start.at_or_before(right) && !beyond {
            return Check::Pass;
        }
        if !segment.rst() {
            cx.counters.out_of_window += 1;
            if segment.payload_len > 0 && end.before(left) {
                self.receiver.report_duplicate(SeqRange { start, end: start + segment.payload_len });
            }
            self.acknowledge_unacceptable(cx, segment);
        }
        Check::Drop
    }

    /// Owes the peer an ACK for a segment that cannot be taken. Those with data are answered always: a
    /// retransmission must be, and a peer that sends data is not in an ACK loop. Bare ones are limited, and
    /// SYNs (RFC 5961 section 4.2).
    fn acknowledge_unacceptable<B>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment) {
        if segment.len() > 0 && !segment.syn() { self.flags.set(Flags::ACK_NOW) } else { self.challenge(cx) }
    }

    fn check_reset_and_syn<B: Payload>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment) -> Check {
        if segment.rst() {
            self.take_reset(cx, segment);
            return Check::Drop;
        }
        //= RFC 5961 section 4.2: a SYN in a synchronized state, wherever it lies, is challenged.
        if segment.syn() && !self.is_answer_to_crossed_syn(segment) {
            self.challenge(cx);
            return Check::Drop;
        }
        Check::Pass
    }

    //= RFC 5961 section 3.2: a reset counts only at the very number expected next; elsewhere in the
    //= window it is challenged.
    fn take_reset<B: Payload>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment) {
        if segment.seq != self.receiver.next() {
            return self.challenge(cx);
        }
        cx.counters.resets_in += 1;
        // In CLOSING and LAST-ACK too, though RFC 9293 asks for no signal there: our FIN is not acknowledged.
        // Linux and FreeBSD tell it as well.
        let error = if self.state == State::SynReceived { Error::Refused } else { Error::Reset };
        self.give_up(cx, error);
    }

    /// Figure 8 of RFC 9293: SYNs crossed, and the peer answers ours with a SYN-ACK.
    fn is_answer_to_crossed_syn(&self, segment: &Segment) -> bool {
        self.state == State::SynReceived
            && segment.seq + 1 == self.receiver.next()
            && segment.ack == Some(self.snd_nxt)
    }

    //= RFC 5961 section 7: challenge ACKs are limited.
    fn challenge<B>(&mut self, cx: &mut Cx<'_, B>) {
        if self.challenges.allow(Tick::at(cx.now)) {
            cx.counters.challenge_acks += 1;
            self.flags.set(Flags::ACK_NOW);
        } else {
            cx.counters.challenge_limited += 1;
        }
    }

    //= RFC 7323 section 4.3 (2): the timestamp of a segment that covers Last.ACK.sent is kept.
    fn take_timestamp(&mut self, now: Instant, segment: &Segment) {
        let Some(timestamps) = segment.options.timestamps.filter(|_| self.flags.has(Flags::TIMESTAMPS))
        else {
            return;
        };
        let is_newer = (timestamps.value.wrapping_sub(self.ts_recent) as i32) >= 0;
        if segment.seq.at_or_before(self.last_ack_sent) && (is_newer || self.ts_recent_is_stale(now)) {
            self.ts_recent = timestamps.value;
            self.ts_recent_at = seconds(now);
        }
    }

    //= RFC 3168 section 6.1.3: a mark is echoed until the sender says that it has reduced its window.
    fn take_congestion_mark(&mut self, segment: &Segment, ce: bool) {
        if !self.flags.has(Flags::ECN) {
            return;
        }
        if segment.flags.contains(TcpFlags::CWR) {
            self.flags.clear(Flags::ECE);
        }
        if ce && segment.payload_len > 0 {
            self.flags.set(Flags::ECE.and(Flags::ACK_NOW));
        }
    }

    fn take_ack<B: Payload>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment, ack: SeqNumber) -> Check {
        if self.flags.has(Flags::WINDOW_PROBED) && ack == self.snd_nxt + 1 {
            // The byte that probed the window was taken.
            self.snd_nxt = ack;
            self.flags.clear(Flags::WINDOW_PROBED);
            self.note_fin_sent();
        }
        //= RFC 5961 section 5.2: an ACK is good from SND.UNA - MAX.SND.WND to SND.NXT; others are challenged,
        //= and their data is not taken.
        if ack.after(self.snd_nxt) || ack.before(self.snd_una - self.max_wnd) {
            self.challenge(cx);
            return Check::Drop;
        }
        // To a receiver, most ACKs say nothing.
        if (self.in_flight() || !segment.options.sack.is_empty())
            && let Some(sender) = self.sending.active(cx.senders)
        {
            let can_send_new = sender.recovery.in_recovery() && self.next_new().is_some();
            let event = Ack { can_send_new, ..self.ack_event(cx.now, segment, ack) };
            let outcome = sender.recovery.on_ack(cx.flights, &mut sender.congestion, cx.recovery, &event);
            sender.set_pace(cx.config.pacing);
            if outcome.reduced {
                self.on_reduction();
            }
            cx.counters.spurious += u64::from(outcome.spurious);
        }
        if self.size_search != SizeSearch::Over {
            self.search_size(cx, ack);
        }
        if ack.after(self.snd_una) {
            self.advance_una(cx, ack);
        }
        self.take_window(cx, segment, ack);
        Check::Pass
    }

    //= RFC 3168 section 6.1.2: whatever reduced the window, the next new data tells the peer, which may stop
    //= to echo marks.
    /// The congestion window was reduced.
    pub(super) fn on_reduction(&mut self) {
        if self.flags.has(Flags::ECN) {
            self.flags.set(Flags::CWR);
        }
    }

    /// What the recovery is to know of an ACK.
    #[inline]
    pub(super) fn ack_event<'a>(&self, now: Instant, segment: &'a Segment, ack: SeqNumber) -> Ack<'a> {
        let same_window = self.window_of(segment) == self.snd_wnd;
        Ack {
            now: Micros::at(now),
            ack,
            sack: &segment.options.sack,
            echo_rtt: self.timestamp_rtt(now, segment),
            //= RFC 5681 section 2: a duplicate ACK has no data, no SYN, no FIN, the same number and window,
            //= and something is outstanding.
            duplicate: segment.len() == 0 && same_window && ack == self.snd_una && self.in_flight(),
            ece: self.flags.has(Flags::ECN) && segment.flags.contains(TcpFlags::ECE),
            sack_permitted: self.flags.has(Flags::SACK),
            cwnd_limited: self.flags.has(Flags::CWND_LIMITED),
            can_send_new: false,
            mss: u32::from(self.mss),
        }
    }

    /// The round trip that a timestamp echo tells, in microseconds.
    pub(super) fn timestamp_rtt(&self, now: Instant, segment: &Segment) -> Option<u32> {
        let timestamps = segment.options.timestamps.filter(|_| self.flags.has(Flags::TIMESTAMPS))?;
        let sent = timestamps.echo.wrapping_sub(self.ts_offset);
        let millis = timestamp_clock(now).wrapping_sub(sent);
        // An echo from the future, or of hours ago, is none of ours.
        (timestamps.echo != 0 && millis < MAX_RTT_MILLIS).then(|| millis.max(1) * 1000)
    }

    fn advance_una<B: Payload>(&mut self, cx: &mut Cx<'_, B>, ack: SeqNumber) {
        self.snd_una = ack;
        self.stalled_since = Tick::at(cx.now);
        self.soft_error = None;
        self.send.acknowledge(cx.pieces, ack);
        let charged = self.send_charged.min(self.send.buffered().saturating_sub(SEND_BY_RIGHT));
        cx.budget.give(self.send_charged - charged);
        self.send_charged = charged;
        self.flags.clear(Flags::HELD);
        if self.flags.has(Flags::FIN_SENT) && ack == self.send.end() + 1 {
            self.transition(cx, Event::FinAcked);
        }
        self.tell_of_room(cx);
        if !self.in_flight() {
            self.rest = Timer::after(cx.now, REST_AFTER);
        }
    }

    fn window_of(&self, segment: &Segment) -> u32 {
        u32::from(segment.window.0) << self.snd_scale
    }

    //= RFC 9293 section 3.10.7.4, "Fifth", ESTABLISHED: the window is taken from a segment that is newer
    //= than the one it was taken from last.
    fn take_window<B: Payload>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment, ack: SeqNumber) {
        let newer = self.snd_wl1.before(segment.seq)
            || (self.snd_wl1 == segment.seq && self.snd_wl2.at_or_before(ack));
        if !newer || ack.before(self.snd_una) {
            return;
        }
        self.snd_wnd = self.window_of(segment);
        self.max_wnd = self.max_wnd.max(self.snd_wnd);
        self.snd_wl1 = segment.seq;
        self.snd_wl2 = ack;
        if self.snd_wnd > 0 {
            self.stop_persist();
            self.flags.clear(Flags::WINDOW_PROBED);
        } else if !self.flags.has(Flags::DETACHED) {
            //= RFC 9293 section 3.8.6.1: a peer that acknowledges probes is alive (MUST-37).
            // For a connection that nobody owns any more that is not enough: it would stay for ever.
            self.stalled_since = Tick::at(cx.now);
        }
    }

    /// Data and FIN.
    pub(super) fn take_data<B: Payload>(
        &mut self,
        cx: &mut Cx<'_, B>,
        segment: &Segment,
        payload: B,
    ) -> Reply {
        if segment.payload_len == 0 && !segment.fin() {
            return Reply::None;
        }
        //= RFC 9293 section 3.10.7.4, "Seventh": after the peer's FIN, its data is ignored; it is told
        //= what was received.
        if !self.state.can_receive() {
            self.flags.set(Flags::ACK_NOW);
            return Reply::None;
        }
        let start = segment.seq + u32::from(segment.syn());
        let end_of_data = start + segment.payload_len;
        //= RFC 9293 section 3.6.1: data that nobody will read is answered with a reset.
        if self.flags.has(Flags::DETACHED) && end_of_data.after(self.receiver.next()) {
            self.give_up(cx, Error::Aborted);
            return reset_for(segment).into();
        }
        let outcome = self.receiver.on_data(cx.receive, start, payload, segment.fin());
        cx.counters.payload_bytes_in += u64::from(outcome.in_order);
        cx.counters.out_of_order += u64::from(outcome.arrival == Arrival::OutOfOrder);
        cx.counters.duplicates += u64::from(outcome.arrival == Arrival::Duplicate);
        cx.counters.payloads_shed += u64::from(outcome.shed);
        if outcome.in_order > 0 {
            self.news |= News::READABLE;
            if let Some(rtt) = self.timestamp_rtt(cx.now, segment) {
                self.receiver.on_rtt(rtt);
            }
        }
        self.owe_ack(cx, segment, outcome.ack_now());
        if outcome.fin {
            //= RFC 9293 section 3.10.7.4, "Eighth": the FIN is acknowledged, and the application told.
            self.flags.set(Flags::ACK_NOW);
            self.news |= News::READABLE;
            self.news |= News::PEER_CLOSED;
            self.transition(cx, Event::Fin);
        }
        Reply::None
    }

    //= RFC 5681 section 4.2: an ACK at least for every second full-sized segment, within 500 ms, and at
    //= once for what is out of order or fills a gap.
    // Whether it goes out alone or with an answer of the application is decided at the end of the burst.
    fn owe_ack<B>(&mut self, cx: &mut Cx<'_, B>, segment: &Segment, at_once: bool) {
        let len = segment.payload_len;
        self.rcv_mss = self.rcv_mss.max(u16::try_from(len).unwrap_or(u16::MAX));
        self.unacked_bytes = self.unacked_bytes.saturating_add(len);
        self.flags.set(Flags::ACK_PENDING);
        let quick = self.quick_acks > 0;
        self.quick_acks = self.quick_acks.saturating_sub(1);
        if at_once || quick || self.unacked_bytes >= 2 * u32::from(self.rcv_mss) {
            self.flags.set(Flags::ACK_NOW);
        } else if self.delayed_ack == Timer::OFF {
            self.delayed_ack = Timer::after(cx.now, cx.config.delayed_ack);
        }
    }
}

/// Seconds of 24 days: half of the time in which a millisecond clock goes round.
const TS_RECENT_VALID: u32 = 24 * 24 * 3600;

/// Seconds since the clock's origin.
pub(super) const fn seconds(now: Instant) -> u32 {
    (now.as_nanos() / 1_000_000_000) as u32
}

/// How long a sender stays awake with nothing in flight.
pub(super) const REST_AFTER: Duration = Duration::from_secs(2);

/// The longest round trip that a timestamp is believed to tell.
const MAX_RTT_MILLIS: u32 = 10 * 60 * 1000;

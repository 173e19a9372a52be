//! How a connection comes to be: SYN-SENT, and what a finished passive handshake hands over.

use std::net::SocketAddrV4;

use wire::{Payload, TcpFlags};

use super::black_hole::SizeSearch;
use super::input::{REST_AFTER, seconds};
use super::{Connection, Cx, Error, Event, Flags, News, QUICK_ACKS, Rare, Settings, State, Timer};
use crate::closed::{Reply, reset_for};
use crate::config::{Config, Ecn};
use crate::congestion::Congestion;
use crate::listen::{Agreed, ChallengeLimiter, HalfOpen, Offer, timestamp_clock};
use crate::receive::Receiver;
use crate::send::SendQueue;
use crate::sender::{Sender, Sending};
use crate::trace::Last;
use crate::{Micros, Segment, SeqNumber, SeqRange, Tick};

impl Connection {
    /// A connection that will send a SYN.
    pub(crate) fn connect<B: Payload>(
        cx: &mut Cx<'_, B>,
        local: SocketAddrV4,
        remote: SocketAddrV4,
        iss: SeqNumber,
        ts_offset: u32,
    ) -> Option<Self> {
        let (now, config) = (cx.now, cx.config);
        let sender = Sender::new(iss, config.congestion, DEFAULT_MSS, false);
        let sending = Sending::Active(cx.senders.insert(sender).ok()?);
        let limits = cx.receive.limits();
        let mut flags = Flags::default();
        flags.put(Flags::TIMESTAMPS, config.timestamps);
        flags.put(Flags::SACK, config.sack);
        flags.put(Flags::ECN_ASKED, config.ecn == Ecn::Request);
        Some(Connection {
            state: State::SynSent,
            flags,
            local,
            remote,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            snd_wl1: SeqNumber::ZERO,
            snd_wl2: iss,
            max_wnd: 0,
            small_end: iss,
            mss: DEFAULT_MSS,
            size_search: SizeSearch::default(),
            peer_mss: DEFAULT_MSS,
            snd_scale: 0,
            rcv_scale: 0,
            send: SendQueue::new(iss + 1),
            send_charged: 0,
            receiver: Receiver::new(limits, SeqNumber::ZERO, 0, 0, Micros::at(now)),
            ts_recent: 0,
            ts_recent_at: seconds(now),
            ts_offset,
            last_ack_sent: SeqNumber::ZERO,
            unacked_bytes: 0,
            rcv_mss: DEFAULT_MSS,
            quick_acks: QUICK_ACKS,
            sending,
            delayed_ack: Timer::OFF,
            persist: Timer::OFF,
            slow: Timer::OFF,
            rest: Timer::OFF,
            persist_backoff: 0,
            probes_unanswered: 0,
            challenges: ChallengeLimiter::new(Tick::at(now)),
            heard_at: timestamp_clock(now),
            stalled_since: Tick::at(now),
            user_timeout: 0,
            send_buffer: 0,
            unsent_low_water: 0,
            ip: Settings::default().ip(config),
            rare: Rare::default(),
            news: News::default(),
            error: None,
            soft_error: None,
            token: 0,
            last_event: Last::default(),
        })
    }

    /// A connection whose handshake the peer has finished with `segment`, which it still has to be told by
    /// [`handle_segment`](Self::handle_segment) like any other.
    pub(crate) fn accepted<B: Payload>(
        cx: &mut Cx<'_, B>,
        half_open: &HalfOpen,
        segment: &Segment,
        settings: &Settings,
    ) -> Option<Self> {
        let HalfOpen { local, remote, iss, irs, agreed, .. } = *half_open;
        let mut connection = Self::connect(cx, local, remote, iss, half_open.ts_offset)?;
        connection.configure(cx, settings);
        connection.state = State::Established;
        connection.snd_una = iss + 1;
        connection.snd_nxt = iss + 1;
        connection.snd_wl1 = irs;
        connection.small_end = iss + 1;
        connection.ts_recent = half_open.ts_recent;
        connection.agree(cx.config, agreed);
        connection.start_receiving(cx, irs, half_open.window);
        connection.start_sending(cx, half_open.was_resent());
        if let Some(rtt) = half_open.rtt_sample(cx.now, segment) {
            connection.receiver.on_rtt(rtt);
            if let Some(sender) = connection.sending.active(cx.senders) {
                sender.recovery.on_rtt(Micros::at(cx.now), rtt);
            }
        }
        Some(connection)
    }

    /// The MSS that our SYN announces; none larger is sent either.
    pub(super) fn offered_mss(&self, config: &Config) -> u16 {
        let settings = Settings { max_segment: self.rare.max_segment, ..Settings::default() };
        settings.mss(config.mss())
    }

    /// The window that our SYN offers.
    pub(super) fn offered_window(&self, offer: &Offer) -> u16 {
        let buffer = self.receiver.fixed_buffer().unwrap_or(u32::MAX);
        offer.window.min(u16::try_from(buffer).unwrap_or(u16::MAX))
    }

    /// Takes over what both SYNs agreed on.
    fn agree(&mut self, config: &Config, agreed: Agreed) {
        self.flags.put(Flags::TIMESTAMPS, agreed.timestamps());
        self.flags.put(Flags::SACK, agreed.sack());
        self.flags.put(Flags::ECN, agreed.ecn());
        if let Some(scales) = agreed.window_scales() {
            self.flags.set(Flags::WINDOW_SCALE);
            self.snd_scale = scales.send;
            self.rcv_scale = scales.receive;
        }
        self.peer_mss = agreed.mss();
        self.set_mss(self.offered_mss(config));
        self.rcv_mss = self.mss;
    }

    /// `window` is what our SYN offered.
    fn start_receiving<B: Payload>(&mut self, cx: &mut Cx<'_, B>, irs: SeqNumber, window: u16) {
        let now = Micros::at(cx.now);
        let buffer = self.receiver.fixed_buffer();
        // The rest of the last segment is granted in silence, where there is room for it: neither may a sender
        // be held up for it, nor can a window field without a scale tell it.
        let room = buffer.unwrap_or(cx.receive.limits().initial);
        let window = u32::from(window);
        let granted = window.next_multiple_of(self.mss.into()).min(room).max(window);
        self.receiver = Receiver::new(cx.receive.limits(), irs + 1, granted, self.rcv_scale, now);
        if let Some(bytes) = buffer {
            self.receiver.set_buffer(cx.receive.limits(), cx.budget, bytes);
        }
        self.last_ack_sent = irs + 1;
        self.ts_recent_at = seconds(cx.now);
    }

    //= RFC 5681 section 3.1: if the SYN or SYN-ACK was lost, the initial window is one segment.
    fn start_sending<B>(&mut self, cx: &mut Cx<'_, B>, syn_was_lost: bool) {
        self.rest = Timer::after(cx.now, REST_AFTER);
        if let Some(sender) = self.sending.active(cx.senders) {
            let algorithm = sender.congestion.algorithm();
            sender.congestion = Congestion::new(algorithm, self.mss, syn_was_lost);
            sender.recovery.agree(self.flags.has(Flags::SACK), self.mss);
        }
    }

    /// A segment in SYN-SENT (RFC 9293 section 3.10.7.3).
    pub(super) fn in_syn_sent<B: Payload>(
        &mut self,
        cx: &mut Cx<'_, B>,
        segment: &Segment,
        payload: B,
    ) -> Reply {
        //= RFC 9293 section 3.10.7.3: an ACK of anything but our SYN is answered with a reset.
        if segment.ack.is_some_and(|ack| ack.at_or_before(self.snd_una) || ack.after(self.snd_nxt)) {
            self.after_stale_ack(cx, segment);
            return reset_for(segment).into();
        }
        if segment.rst() {
            //= RFC 9293 section 3.10.7.3: a reset counts only if it acknowledges our SYN.
            if segment.ack.is_some() {
                cx.counters.resets_in += 1;
                self.give_up(cx, Error::Refused);
            }
            return Reply::None;
        }
        if !segment.syn() {
            return Reply::None;
        }
        let offer = cx.offer;
        let flags = if segment.ack.is_some() { self.as_ecn_setup(segment.flags) } else { segment.flags };
        self.ts_recent = segment.options.timestamps.unwrap_or_default().value;
        self.agree(cx.config, offer.agree(&segment.options, flags));
        self.start_receiving(cx, segment.seq, self.offered_window(offer));
        self.heard_at = timestamp_clock(cx.now);
        self.snd_wnd = u32::from(segment.window.0);
        self.max_wnd = self.snd_wnd;
        self.snd_wl1 = segment.seq;
        match segment.ack {
            Some(ack) => self.on_syn_acked(cx, segment, ack, payload),
            None => {
                self.transition(cx, Event::Syn);
                self.flags.set(Flags::RESEND_SYN);
                Reply::None
            }
        }
    }

    /// A connection of another age answers our SYN, most often one in TIME-WAIT: our reset ends it, and the
    /// SYN follows at once, for the peer dropped the first one. Only once, for a peer may ignore resets
    /// (RFC 1337 section 3); then the timer has its say.
    fn after_stale_ack<B: Payload>(&mut self, cx: &Cx<'_, B>, segment: &Segment) {
        let sender = self.sending.peek(cx.senders);
        if !segment.rst() && sender.is_some_and(|sender| sender.recovery.retransmits() == 0) {
            self.flags.set(Flags::RESEND_SYN);
        }
    }

    fn on_syn_acked<B: Payload>(
        &mut self,
        cx: &mut Cx<'_, B>,
        segment: &Segment,
        ack: SeqNumber,
        payload: B,
    ) -> Reply {
        self.snd_wl2 = ack;
        self.acknowledge_syn(cx, segment, ack);
        self.transition(cx, Event::SynAcked);
        self.flags.set(Flags::ACK_NOW);
        self.take_data(cx, segment, payload)
    }

    /// Our SYN is acknowledged: the round trip is known, and the congestion window can be set.
    pub(super) fn acknowledge_syn<B: Payload>(
        &mut self,
        cx: &mut Cx<'_, B>,
        segment: &Segment,
        ack: SeqNumber,
    ) {
        let event = self.ack_event(cx.now, segment, ack);
        let Some(sender) = self.sending.active(cx.senders) else { return };
        let syn_was_lost = sender.recovery.timeouts() > 0;
        let outcome = sender.recovery.on_ack(cx.flights, &mut sender.congestion, cx.recovery, &event);
        if let Some(rtt) = outcome.rtt {
            self.receiver.on_rtt(rtt);
        }
        self.snd_una = ack;
        self.stalled_since = Tick::at(cx.now);
        self.start_sending(cx, syn_was_lost);
    }

    /// The SYN as a range of sequence numbers, if it is not acknowledged.
    pub(super) fn syn_range(&self) -> Option<SeqRange> {
        let waits = matches!(self.state, State::SynSent | State::SynReceived);
        waits.then_some(SeqRange { start: self.snd_una, end: self.snd_una + 1 })
    }

    //= RFC 3168 section 6.1.1: a SYN-ACK agrees with ECE on and CWR off.
    /// The flags of a SYN-ACK that answers ours, as if it were a SYN: ECE and CWR on if it agrees.
    fn as_ecn_setup(&self, flags: TcpFlags) -> TcpFlags {
        const ECN: TcpFlags = TcpFlags(TcpFlags::ECE.0 | TcpFlags::CWR.0);
        let agrees = TcpFlags(flags.0 & ECN.0) == TcpFlags::ECE && self.flags.has(Flags::ECN_ASKED);
        TcpFlags(flags.0 & !ECN.0 | if agrees { ECN.0 } else { 0 })
    }
}

/// What is sent until the peer has said what it takes: nothing but a SYN.
const DEFAULT_MSS: u16 = Agreed::DEFAULT_MSS;

//! Connections that a peer opens.

use std::time::Duration;

use wire::{Instant, Payload};

use super::{CONTROL, ListenError, ListenerId, Shard, Shared};
use crate::Segment;
use crate::connection::{Connection, Flags, Settings};
use crate::demux::FlowKey;
use crate::listen::{Due, HalfOpen, ListenVerdict, Listener, Offer, SynId, SynReceivedVerdict, on_listen};
use crate::packet::SegmentOut;
use crate::time_wait::Reuse;

impl<B: Payload> Shard<B> {
    /// Listens on an address; the unspecified one stands for all. At most `backlog` connections wait to be
    /// accepted, and as many for the end of their handshake.
    ///
    /// # Errors
    /// [`ListenError`], if somebody listens there, or there are too many listeners.
    pub fn listen(
        &mut self,
        address: std::net::SocketAddrV4,
        backlog: u32,
    ) -> Result<ListenerId, ListenError> {
        self.listeners.open(address, backlog)
    }

    /// Changes how many connections may wait for a listener.
    pub fn set_backlog(&mut self, id: ListenerId, backlog: u32) {
        if let Some(listener) = self.listeners.get(id) {
            listener.backlog = backlog.max(1);
            listener.accept.reserve(listener.backlog as usize);
        }
    }

    /// Changes what connections to come start with.
    pub fn configure_listener(&mut self, id: ListenerId, settings: &Settings) {
        if let Some(listener) = self.listeners.get(id) {
            listener.settings = *settings;
        }
    }

    /// Connections that wait to be accepted.
    pub fn acceptable(&self, id: ListenerId) -> usize {
        self.listeners.waiting(id)
    }

    /// Listens no more. Connections that were not accepted are reset.
    pub fn close_listener(&mut self, now: Instant, id: ListenerId) {
        if self.listeners.get(id).is_none() {
            return;
        }
        self.syn_queue.close_listener(id.index);
        for waiting in self.listeners.close(id) {
            self.abort(now, waiting);
        }
    }

    pub(super) fn hand_to_listener(
        &mut self,
        now: Instant,
        index: u32,
        segment: &Segment,
        bytes: B,
        ce: bool,
        reuse: Option<Reuse>,
    ) {
        match on_listen(segment) {
            ListenVerdict::Drop => {}
            ListenVerdict::Reset => self.refuse(now, segment),
            ListenVerdict::Accept => self.on_syn(now, index, segment, reuse),
            ListenVerdict::CheckCookie => {
                let Some((listener, _)) = self.terms(index) else { return };
                match self.cookies.check(now, segment, &listener, &self.isn) {
                    Some(half_open) => {
                        self.shared.counters.syn_cookies_in += 1;
                        if self.has_room(index) {
                            self.establish(now, &half_open, segment, bytes, ce);
                        }
                    }
                    // What bears the cookie may be lost or overtaken, and the peer will send it again: it must
                    // not be reset for what came in its place.
                    None if self.cookies.are_abroad(now) => self.shared.counters.syn_cookies_bad += 1,
                    None => self.refuse(now, segment),
                }
            }
        }
    }

    fn on_syn(&mut self, now: Instant, index: u32, syn: &Segment, reuse: Option<Reuse>) {
        // A full accept queue takes no more handshakes: the peer tries again.
        if !self.has_room(index) {
            return;
        }
        let Some((listener, backlog)) = self.terms(index) else { return };
        let mut half_open = HalfOpen::from_syn(now, syn, &listener, &self.isn);
        if let Some(reuse) = reuse {
            half_open.iss = reuse.above_floor(half_open.iss);
        }
        let syn_ack = match self.syn_queue.insert(now, half_open, backlog) {
            Ok(_) => half_open.syn_ack(now, listener.offer.mss),
            Err(_) => {
                self.shared.counters.syn_cookies_out += 1;
                self.cookies.answer(now, syn, &listener, &self.isn)
            }
        };
        self.reply_for(index, syn_ack);
    }

    /// What a listener offers to those who connect, and how many may do so at once.
    pub(super) fn terms(&mut self, index: u32) -> Option<(Listener, u32)> {
        let Shared { offer, config, .. } = &self.shared;
        let listener = self.listeners.at(index)?;
        let settings = &listener.settings;
        let window = match settings.receive_buffer {
            0 => offer.window,
            bytes => bytes.min(0xffff) as u16,
        };
        let offer = Offer { mss: settings.mss(config.mss()), window, ..*offer };
        Some((Listener { id: index, offer }, listener.backlog))
    }

    /// Sends a segment of a handshake of a listener's.
    fn reply_for(&mut self, index: u32, segment: SegmentOut) {
        let settings = self.listeners.at(index).map_or_else(Settings::default, |listener| listener.settings);
        self.reply_as(segment, settings.ip(&self.shared.config));
    }

    /// Sends a SYN-ACK again.
    fn resend_syn_ack(&mut self, now: Instant, half_open: &HalfOpen) {
        let Some((listener, _)) = self.terms(half_open.listener) else { return };
        self.reply_for(half_open.listener, half_open.syn_ack(now, listener.offer.mss));
    }

    /// Whether a listener's accept queue and the table of connections have room.
    fn has_room(&mut self, index: u32) -> bool {
        let accept_full = self.listeners.at(index).is_none_or(|listener| listener.is_full());
        let counters = &mut self.shared.counters;
        counters.accept_full += u64::from(accept_full);
        counters.connections_full += u64::from(self.slots.is_full());
        !accept_full && !self.slots.is_full()
    }

    pub(super) fn hand_to_half_open(
        &mut self,
        now: Instant,
        id: SynId,
        segment: &Segment,
        bytes: B,
        ce: bool,
    ) {
        let half_open = *self.syn_queue.get(id);
        match half_open.on_segment(segment) {
            SynReceivedVerdict::Drop => {}
            SynReceivedVerdict::Abort => {
                self.shared.counters.resets_in += 1;
                self.shared.counters.failed_opens += 1;
                self.syn_queue.remove(id);
            }
            SynReceivedVerdict::ResendSynAck => {
                let half_open = self.syn_queue.on_syn_again(id, segment);
                self.resend_syn_ack(now, &half_open);
            }
            SynReceivedVerdict::ChallengeAck => {
                if self.syn_queue.may_challenge(id) {
                    self.shared.counters.challenge_acks += 1;
                    self.reply_for(half_open.listener, half_open.challenge_ack(now));
                } else {
                    self.shared.counters.challenge_limited += 1;
                }
            }
            SynReceivedVerdict::Reset => self.refuse(now, segment),
            SynReceivedVerdict::Establish => {
                let bare = segment.len() == 0;
                if bare && half_open.is_deferring(now, self.defer_accept(half_open.listener)) {
                    return self.syn_queue.defer(id);
                }
                // No room: the ACK is as if it were lost, and the SYN-ACK goes out again in time.
                if self.has_room(half_open.listener) {
                    self.syn_queue.remove(id);
                    self.establish(now, &half_open, segment, bytes, ce);
                }
            }
        }
    }

    fn defer_accept(&mut self, listener: u32) -> Duration {
        self.listeners.at(listener).map_or(Duration::ZERO, |listener| listener.settings.defer_accept)
    }

    /// The handshake is done, and there is room.
    fn establish(&mut self, now: Instant, half_open: &HalfOpen, segment: &Segment, bytes: B, ce: bool) {
        let settings = self.listeners.at(half_open.listener).map(|listener| listener.settings);
        let settings = settings.unwrap_or_default();
        let mut connection = Connection::accepted(&mut self.shared.cx(now), half_open, segment, &settings);
        if let Some(connection) = &mut connection {
            connection.flags.set(Flags::UNACCEPTED);
        }
        let key = FlowKey::of(segment);
        let Some(id) = self.admit(now, connection, &key) else {
            self.shared.counters.connections_full += 1;
            return;
        };
        self.shared.counters.passive_opens += 1;
        self.time_wait.remove(&key);
        if let Some(listener) = self.listeners.at(half_open.listener) {
            listener.accept.push_back(id);
        }
        self.listeners.announce(half_open.listener);
        self.hand_to_connection(now, id.index, segment, bytes, ce);
    }

    /// SYN-ACKs that nobody answered in time, as many as can be sent now: the others stay due.
    pub(super) fn resend_syn_acks(&mut self, now: Instant) {
        while self.control.len() < CONTROL
            && let Some(due) = self.syn_queue.pop_due(now)
        {
            match due {
                // The peer has said that it is there; what it has to say is still waited for.
                Due::Resend(half_open)
                    if half_open.was_deferred()
                        && half_open.is_deferring(now, self.defer_accept(half_open.listener)) => {}
                Due::Resend(half_open) => {
                    self.shared.counters.retransmitted += 1;
                    self.resend_syn_ack(now, &half_open);
                }
                Due::GivenUp(_) => {
                    self.shared.counters.failed_opens += 1;
                    self.shared.counters.timed_out += 1;
                }
            }
        }
    }
}

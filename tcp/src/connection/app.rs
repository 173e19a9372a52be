//! What the application asks of a connection.

use std::time::Duration;

use wire::Payload;

use super::{Connection, Cx, Error, Event, Flags, News, State};
use crate::config::Config;
use crate::congestion::CongestionControl;
use crate::content::Content;
use crate::send::SendQueue;
use crate::{Micros, Tick, receive};

/// What became of a content.
#[derive(Debug)]
pub(crate) enum Given<B> {
    /// It will be sent.
    Taken,
    /// There is no room now for this, which is all of it or the rest; [`News::WRITABLE`] tells when there is.
    Full(Content<B>),
    /// The shard has no room for another piece, though the connection has; nothing will tell the connection
    /// when that changes.
    Starved(Content<B>),
    /// Nothing can be sent any more.
    Closed(Content<B>),
}

impl Connection {
    /// Queues a content for sending. One that takes up no buffer is divided if it is longer than a queue.
    pub(crate) fn give<B: Payload>(&mut self, cx: &mut Cx<'_, B>, mut content: Content<B>) -> Given<B> {
        if !self.state.can_send() || self.flags.has(Flags::FIN_QUEUED) {
            return Given::Closed(content);
        }
        if content.is_empty() {
            return Given::Taken;
        }
        let (takes_buffer, buffered) = (content.takes_buffer(), self.send.buffered());
        let space = u64::from(SendQueue::MAX_LEN.saturating_sub(self.queued()));
        let len = if takes_buffer { content.len() } else { content.len().min(space) };
        // A piece larger than the buffer goes through when the buffer is empty, or it never would.
        let fits = !takes_buffer || buffered == 0 || len <= u64::from(self.room(cx.config));
        if len == 0 || len > space || !fits || !self.has_piece_share(cx) {
            self.flags.set(Flags::WANTS_ROOM);
            return Given::Full(content);
        }
        if cx.pieces.room() == 0 {
            return Given::Starved(content);
        }
        // Its own ACKs bring room again: neither of the two is below what a connection has by right.
        let wanted = if takes_buffer { buffered + len as u32 } else { 0 };
        let charge = wanted.saturating_sub(SEND_BY_RIGHT).saturating_sub(self.send_charged);
        if !cx.budget.take(charge) {
            self.flags.set(Flags::WANTS_ROOM);
            return Given::Full(content);
        }
        self.send_charged += charge;
        if !self.in_flight() && self.queued() == 0 {
            self.after_idle(cx);
        }
        let rest = content.split_off(len as u32);
        // There is room: it was looked for.
        self.send.push(cx.pieces, content).ok();
        match rest {
            None => Given::Taken,
            Some(rest) => {
                self.flags.set(Flags::WANTS_ROOM);
                Given::Full(rest)
            }
        }
    }

    /// Whether the send queue may have one more piece, if there is one at all: those whose peers are stuck must
    /// not starve the others.
    fn has_piece_share<B>(&self, cx: &Cx<'_, B>) -> bool {
        let len = self.send.len();
        len < pieces_share(cx.config) && (cx.pieces.has_share(len) || cx.pieces.room() == 0)
    }

    /// Bytes that can be given now.
    pub(crate) fn room(&self, config: &Config) -> u32 {
        let room = self.send_limit(config).saturating_sub(self.send.buffered());
        match self.unsent_low_water {
            0 => room,
            low_water => room.min(low_water.saturating_sub(self.unsent())),
        }
    }

    const fn send_limit(&self, config: &Config) -> u32 {
        if self.send_buffer == 0 { config.send_buffer } else { self.send_buffer }
    }

    /// Bytes given and not acknowledged.
    pub(crate) fn queued(&self) -> u32 {
        let end = self.send.end();
        if self.snd_una.before(end) { end.distance_from(self.snd_una) } else { 0 }
    }

    /// Bytes given and never sent.
    pub(crate) fn unsent(&self) -> u32 {
        let end = self.send.end();
        if self.snd_nxt.before(end) { end.distance_from(self.snd_nxt) } else { 0 }
    }

    /// Tells the application that there is room again, if it waits for that.
    pub(super) fn tell_of_room<B>(&mut self, cx: &Cx<'_, B>) {
        let few_unsent = self.unsent_low_water == 0 || self.unsent() < self.unsent_low_water.div_ceil(2);
        if self.flags.has(Flags::WANTS_ROOM)
            && few_unsent
            && self.send.buffered() <= self.send_limit(cx.config) / 3 * 2
            && self.queued() <= SendQueue::MAX_LEN / 3 * 2
            && self.send.len() <= pieces_share(cx.config) / 3 * 2
            && cx.pieces.has_share(self.send.len())
        {
            self.flags.clear(Flags::WANTS_ROOM);
            self.news |= News::WRITABLE;
        }
    }

    /// The next payload received in order.
    pub(crate) fn take<B: Payload>(&mut self, cx: &mut Cx<'_, B>) -> Option<B> {
        self.receiver.read(cx.receive)
    }

    /// The payloads received in order, from the next one on, to be looked at.
    pub(crate) fn peek<'a, B: Payload>(&self, pools: &'a receive::Pools<B>) -> impl Iterator<Item = &'a B> {
        self.receiver.readable(pools)
    }

    /// Drops the next `n` bytes received in order, or all there are; the window may open.
    pub(crate) fn consume<B: Payload>(&mut self, cx: &mut Cx<'_, B>, n: u32) {
        self.receiver.consume(cx.receive, n);
        self.open_window(cx);
    }

    /// Whether all that the peer sent, up to its FIN, was read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.receiver.is_finished()
    }

    /// The application is done with `bytes` of the `payloads` that it took: the window may open.
    pub(crate) fn credit<B: Payload>(&mut self, cx: &mut Cx<'_, B>, payloads: u32, bytes: u32) {
        self.receiver.release(payloads, bytes);
        self.open_window(cx);
    }

    fn open_window<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        self.receiver.tune(cx.receive.limits(), cx.budget, Micros::at(cx.now));
        if self.state.can_receive() && self.receiver.should_update_window(cx.receive.limits(), self.rcv_mss) {
            self.flags.set(Flags::ACK_NOW);
        }
    }

    /// The application has nothing more to send: a FIN follows the data.
    pub(crate) fn shutdown<B>(&mut self, cx: &mut Cx<'_, B>) {
        if !self.state.can_send() || self.flags.has(Flags::FIN_QUEUED) {
            return;
        }
        self.flags.set(Flags::FIN_QUEUED);
        self.transition(cx, Event::Close);
    }

    /// The application gives the connection up; what it queued is still sent, in order.
    pub(crate) fn close<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        self.flags.set(Flags::DETACHED);
        // From here on, only what is acknowledged buys it time.
        if !self.in_flight() {
            self.stalled_since = Tick::at(cx.now);
        }
        //= RFC 1122 section 4.2.2.13: if received data was not read, or more arrives afterwards, the
        //= peer is told by a reset that it is lost.
        if self.state.is_synchronized() && self.receiver.is_readable() {
            return self.abort(cx);
        }
        self.shutdown(cx);
        if self.state == State::FinWait2 {
            self.start_fin_wait2(cx);
        }
    }

    /// Ends the connection at once, with a reset.
    pub(crate) fn abort<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        //= RFC 9293 section 3.10.5: ABORT sends a reset in the synchronized states and SYN-RECEIVED.
        let tell_peer = !matches!(self.state, State::SynSent | State::TimeWait | State::Closed);
        if tell_peer {
            self.flags.set(Flags::RESET);
        }
        self.give_up(cx, Error::Aborted);
    }

    /// Sends small segments at once, or holds them back until the last one is acknowledged. Turning it on,
    /// be it once more, sends what is queued even if it is corked, as Linux has it.
    pub(crate) fn set_nodelay(&mut self, on: bool) {
        self.flags.put(Flags::NODELAY, on);
        if on && self.unsent() > 0 {
            self.flags.set(Flags::OVERRIDE);
        }
    }

    /// Holds small segments back until it is turned off.
    pub(crate) fn set_cork(&mut self, on: bool) {
        self.flags.put(Flags::CORK, on);
    }

    /// Says whether more bytes follow at once those that were given: if so, what fills no segment waits,
    /// until the next ACK comes or there was no other reason to send for a while.
    pub(crate) fn set_more(&mut self, more: bool) {
        self.flags.put(Flags::MORE.and(Flags::HELD), more);
    }

    /// The differentiated services codepoint of what is sent from now on; its low six bits count.
    pub(crate) fn set_dscp(&mut self, dscp: u8) {
        self.ip.tos = dscp << 2;
    }

    /// How long nothing may move before the connection ends; zero: as configured.
    pub(crate) fn set_user_timeout(&mut self, timeout: Duration) {
        self.user_timeout = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    }

    //= RFC 5681 section 4.1: after an idle time of a retransmission timeout or more, the window no
    //= longer says what the path carries.
    fn after_idle<B>(&mut self, cx: &mut Cx<'_, B>) {
        if !self.state.is_synchronized() {
            return;
        }
        //= RFC 5681 section 4.1: it counts since when nothing was sent, not received: a request that has just
        //= come says nothing of the path.
        let (now, idle) = (Micros::at(cx.now), Tick::at(cx.now).since_past(self.stalled_since));
        // No timeout is shorter than the least: most need not be worked out.
        let rto = if idle < cx.config.min_rto { cx.config.min_rto } else { self.rto(cx) };
        if let Some(sender) = self.wake(cx.senders) {
            sender.congestion.on_idle(now, idle, rto);
        }
    }
}

/// Bytes that a connection may queue whatever the others have; more comes out of the shard's budget.
pub(super) const SEND_BY_RIGHT: u32 = 64 << 10;

/// Pieces that one connection may have in its send queue at most.
fn pieces_share(config: &Config) -> usize {
    (config.chunks as usize / 8).max(16)
}

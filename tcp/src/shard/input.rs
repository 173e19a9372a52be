//! A packet arrives: whose is it?

use std::net::Ipv4Addr;

use wire::{DropReason, Instant, Payload};

use super::Shard;
use crate::closed::{Reply, reset_for};
use crate::demux::{FlowKey, FlowTable};
use crate::time_wait::{Disposition, TimeWait};
use crate::{Checksum, Segment};

/// So many connections are in the processor's cache as it is.
const FEW: u32 = 512;

impl<B: Payload> Shard<B> {
    /// Asks the processor for what the next [`FlowTable::BURST`] packets will need, which are of these flows, so
    /// that the cache misses of all overlap. To be called before the first of them is handled.
    pub fn prefetch(&self, flows: impl Iterator<Item = FlowKey>) {
        if self.slots.end() <= FEW {
            return;
        }
        let mut ids = [0; FlowTable::BURST];
        let ids = self.flows.guess(flows, &mut ids);
        for index in ids {
            self.slots.prefetch(*index);
            self.wheel.prefetch(*index);
        }
        for index in ids {
            if let Some(connection) = self.slots.peek(*index) {
                connection.prefetch_sender(&self.shared.senders);
            }
        }
    }

    /// Takes the payload of an IPv4 packet from `src` to `dst`, one of our addresses. `ce` says that the
    /// packet carried a congestion mark (RFC 3168).
    ///
    /// # Errors
    /// [`DropReason::TcpMalformed`] or [`DropReason::TcpNoPort`]: the segment meant nothing here. It may be
    /// answered all the same.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        (src, dst): (Ipv4Addr, Ipv4Addr),
        mut bytes: B,
        checksum: Checksum,
        ce: bool,
    ) -> Result<(), DropReason> {
        self.shared.counters.segments_in += 1;
        let segment = Segment::parse(src, dst, &mut bytes, checksum).inspect_err(|_| {
            self.shared.counters.malformed += 1;
        })?;
        let key = FlowKey::of(&segment);
        let slots = &self.slots;
        let owns =
            |index: u32| slots.peek(index).is_some_and(|c| (c.local, c.remote) == (segment.dst, segment.src));
        match self.flows.lookup(&key, owns) {
            Some(index) => {
                self.hand_to_connection(now, index, &segment, bytes, ce);
                Ok(())
            }
            None => self.hand_to_nobody(now, &segment, bytes, ce),
        }
    }

    pub(super) fn hand_to_connection(
        &mut self,
        now: Instant,
        index: u32,
        segment: &Segment,
        bytes: B,
        ce: bool,
    ) {
        let Some(connection) = self.slots.at(index) else { return };
        let cx = &mut self.shared.cx(now);
        let reply = connection.handle_segment(cx, segment, bytes, ce);
        connection.note_received(cx, segment);
        self.settle(index);
        self.answer(reply);
    }

    /// No connection has the flow: TIME-WAIT, a handshake, a listener, or nobody.
    #[cold]
    fn hand_to_nobody(
        &mut self,
        now: Instant,
        segment: &Segment,
        bytes: B,
        ce: bool,
    ) -> Result<(), DropReason> {
        if let Some(id) = self.syn_queue.find(segment.dst, segment.src) {
            self.hand_to_half_open(now, id, segment, bytes, ce);
            return Ok(());
        }
        let mut reuse = None;
        if let Some((disposition, record)) = self.time_wait.handle_segment(now, segment) {
            match disposition {
                Disposition::Reuse(floor) => reuse = Some(floor),
                // The SYN that takes the flow over was answered with a cookie: only this tells of it.
                _ if self.bears_cookie(now, segment) => {}
                other => {
                    self.answer_in_time_wait(now, other, &record);
                    return Ok(());
                }
            }
        }
        match self.listeners.find(segment.dst) {
            Some(listener) => self.hand_to_listener(now, listener, segment, bytes, ce, reuse),
            // A SYN to a flow in TIME-WAIT that nobody listens for is not answered.
            None if reuse.is_some() => {}
            None => {
                self.refuse(now, segment);
                return Err(DropReason::TcpNoPort);
            }
        }
        Ok(())
    }

    /// Whether an ACK finishes a handshake that was answered with a cookie.
    fn bears_cookie(&mut self, now: Instant, segment: &Segment) -> bool {
        if segment.ack.is_none() || segment.syn() || segment.rst() {
            return false;
        }
        let Some(id) = self.listeners.find(segment.dst) else { return false };
        let Some((listener, _)) = self.terms(id) else { return false };
        self.cookies.check(now, segment, &listener, &self.isn).is_some()
    }

    fn answer_in_time_wait(&mut self, now: Instant, disposition: Disposition, record: &TimeWait) {
        match disposition {
            Disposition::Drop | Disposition::Reuse(_) => {}
            Disposition::Ack => self.reply(record.ack(now)),
            Disposition::ChallengeAck if self.challenges.take(now) => {
                self.shared.counters.challenge_acks += 1;
                self.reply(record.ack(now));
            }
            Disposition::ChallengeAck => self.shared.counters.challenge_limited += 1,
        }
    }

    /// The CLOSED state.
    pub(super) fn refuse(&mut self, now: Instant, segment: &Segment) {
        self.shared.counters.no_connection += 1;
        let Some(reset) = reset_for(segment) else { return };
        if self.resets.take(now) {
            self.answer(Reply::Reset(reset));
        } else {
            self.shared.counters.resets_limited += 1;
        }
    }

    fn answer(&mut self, reply: Reply) {
        if let Reply::Reset(segment) = reply {
            self.shared.counters.resets_out += 1;
            self.reply(segment);
        }
    }
}

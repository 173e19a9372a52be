//! Time passes, and what is due is sent.

use wire::{Instant, Payload};

use super::{CONTROL, Shard};
use crate::Tick;
use crate::connection::Flags;
use crate::packet::{NoFrame, Output, Packet};

impl<B: Payload> Shard<B> {
    /// Does what time makes due. To be called once [`next_deadline`](Self::next_deadline) has come, or more
    /// often.
    pub fn handle_timeout(&mut self, now: Instant) {
        let tick = Tick::at(now);
        while let Some(index) = self.wheel.pop_expired(tick) {
            if let Some(connection) = self.slots.at(index) {
                // The wheel may be early: a deadline that moved away is not taken out of it.
                connection.handle_timeout(&mut self.shared.cx(now));
                self.settle(index);
            }
        }
        self.resend_syn_acks(now);
        self.time_wait.expire(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; it may find nothing to do then.
    pub fn next_deadline(&self) -> Option<Tick> {
        // SYN-ACKs wait for the segments before them, not for time.
        let syn_acks = self.syn_queue.next_deadline().filter(|_| self.control.len() < CONTROL);
        let deadlines = [self.wheel.next_deadline(), syn_acks, self.time_wait.next_deadline()];
        deadlines.into_iter().flatten().reduce(Tick::min)
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to do.
    pub fn wants_to_transmit(&self) -> bool {
        !self.ready.is_empty() || !self.control.is_empty()
    }

    /// Whether [`poll_event`](Self::poll_event) may have something to tell.
    pub fn has_events(&self) -> bool {
        let can_wake = !self.starved.is_empty() && self.shared.pieces.room() > 0;
        !self.news.is_empty() || self.listeners.has_news() || can_wake
    }

    /// Sends what is due, to the end or until `out` has no frame left. What is left then goes first the
    /// next time.
    pub fn poll_transmit<O: Output<B>>(&mut self, now: Instant, out: &mut O) {
        if self.transmit(now, out).is_err() && !out.is_spent() {
            self.shared.counters.no_frame += 1;
        }
    }

    fn transmit<O: Output<B>>(&mut self, now: Instant, out: &mut O) -> Result<(), NoFrame> {
        while let Some(&(segment, ip)) = self.control.front() {
            out.send(&Packet { segment, ip, payload: None })?;
            self.shared.counters.segments_out += 1;
            self.control.pop_front();
        }
        // A round: each that is ready now has its turn once.
        for _ in 0..self.ready.len() {
            let Some(&index) = self.ready.front() else { break };
            let mut again = false;
            if let Some(connection) = self.slots.at(index) {
                let cx = &mut self.shared.cx(now);
                let done = connection.poll_transmit(cx, out);
                if done.is_err() {
                    self.attend(index, now);
                    self.ready.rotate_left(1);
                    return done;
                }
                again = connection.waits_for_record(cx);
                connection.flags.put(Flags::READY, again);
            }
            self.ready.pop_front();
            if again {
                self.ready.push_back(index);
            }
            self.attend(index, now);
        }
        Ok(())
    }
}

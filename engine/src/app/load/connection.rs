//! One connection of a load, from its opening to its end.

use tcp::connection::Error;
use tcp::shard::{ConnectError, ConnectionId, Received, SendError};
use wire::{Frame, Instant, Payload};

use super::exchange::Answer;
use super::slots::State;
use super::{Failure, Load};
use crate::app::Sockets;

impl Load {
    pub(super) fn open<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        match sockets.connect(self.workload.target) {
            Ok(id) => {
                sockets.set_token(id, at);
                sockets.set_nodelay(id, true);
                let slot = self.slots.get_mut(at);
                (slot.state, slot.id, slot.since) = (State::Opening, Some(id), sockets.now());
                (slot.unsent, slot.has_answered) = (0, false);
                self.open += 1;
                self.opening += 1;
            }
            Err(error) => {
                let failure = match error {
                    ConnectError::BadAddress => Failure::Unreachable,
                    ConnectError::InUse | ConnectError::NoPort | ConnectError::TooMany => Failure::Local,
                };
                self.fail(sockets.now(), at, failure);
            }
        }
    }

    pub(super) fn opened<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        self.recorder.count(|counts| counts.connects += 1);
        self.opening -= 1;
        let unsent = u64::from(self.slots.owed(at)) * self.workload.exchange.len();
        let slot = self.slots.get_mut(at);
        (slot.state, slot.since, slot.unsent) = (State::Open, sockets.now(), unsent);
        self.flush(sockets, at);
        if self.may_start(at) {
            self.slots.ready(at);
        }
    }

    /// Gives the send queue what it has room for.
    pub(super) fn flush<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        let slot = self.slots.get_mut(at);
        let Some(id) = slot.id.filter(|_| slot.unsent > 0 && slot.state == State::Open) else { return };
        slot.unsent = match sockets.send(id, self.workload.exchange.content(slot.unsent)) {
            Ok(()) => 0,
            Err(SendError::Full(rest)) => rest.len(),
            // What was received tells how it ended.
            Err(SendError::Closed(_)) => 0,
        };
    }

    /// Reads all that has come on a connection.
    pub(super) fn receive<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32, id: ConnectionId) {
        while self.slots.get(at).id == Some(id) {
            match sockets.receive(id) {
                Received::Bytes(bytes) => {
                    let len = bytes.len();
                    self.recorder.count(|counts| counts.bytes += len as u64);
                    self.slots.get_mut(at).since = sockets.now();
                    self.take(sockets, at, &bytes);
                    // A handle that was closed meanwhile is not told.
                    sockets.credit(id, 1, len as u32);
                }
                Received::Nothing => return,
                Received::End => return self.ended(sockets, at),
                Received::Closed(error) => {
                    self.hang_up(sockets, at, false);
                    return self.fail(sockets.now(), at, reason(error));
                }
            }
        }
    }

    /// Reads received bytes.
    fn take<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32, bytes: &F::Payload) {
        let mut offset = 0;
        while offset < bytes.len() {
            let chunk = bytes.chunk(offset);
            offset += chunk.len();
            let mut input = chunk;
            while !input.is_empty() {
                let reader = &mut self.slots.get_mut(at).reader;
                let read = reader.read(&self.workload.exchange, &mut self.heads, &mut input);
                let fits = match read {
                    Ok(None) => Ok(true),
                    Ok(Some(answer)) => self.answered(sockets, at, answer),
                    Err(failure) => Err(failure),
                };
                match fits {
                    Ok(true) => {}
                    // The connection is another one now, or none.
                    Ok(false) => return,
                    Err(failure) => {
                        self.hang_up(sockets, at, true);
                        return self.fail(sockets.now(), at, failure);
                    }
                }
            }
        }
    }

    /// Counts an answer. Gives whether the connection goes on.
    fn answered<F: Frame>(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        at: u32,
        answer: Answer,
    ) -> Result<bool, Failure> {
        // Nobody asked.
        let start = self.slots.pop(at).ok_or(Failure::BadResponse)?;
        let now = sockets.now();
        self.recorder.completed(now.since(start).as_nanos() as u64);
        if !answer.is_good {
            self.recorder.count(|counts| counts.non_2xx += 1);
        }
        self.slots.get_mut(at).has_answered = true;
        if self.workload.close || answer.closes {
            self.go_on(sockets, at);
            return Ok(false);
        }
        if self.may_start(at) {
            self.slots.ready(at);
        }
        Ok(true)
    }

    /// The peer has closed its side, and all before was read.
    fn ended<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        if let Some(answer) = self.slots.get_mut(at).reader.end() {
            if let Err(failure) = self.answered(sockets, at, answer) {
                self.hang_up(sockets, at, false);
                self.fail(sockets.now(), at, failure);
            }
            return;
        }
        let (owes, slot) = (self.slots.owed(at) > 0, self.slots.get(at));
        //= RFC 9112 section 9.3.1: a server may close at any time; what it has not begun to answer is sent again.
        if slot.has_answered && (!owes || slot.reader.is_between()) {
            return self.go_on(sockets, at);
        }
        self.hang_up(sockets, at, false);
        if owes {
            self.fail(sockets.now(), at, Failure::Closed);
        } else {
            // Nobody was let down, but who closes at once is not stormed either.
            self.slots.rest(at, sockets.now());
        }
    }

    /// The connection has done its part: closes it, and opens another if there is more to do.
    fn go_on<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        self.hang_up(sockets, at, false);
        let owed = self.slots.owed(at);
        if owed > 0 || (self.is_running() && !self.workload.close) {
            self.recorder.count(|counts| counts.retried += u64::from(owed));
            self.open(sockets, at);
        } else if self.may_start(at) {
            self.slots.ready(at);
        }
    }

    /// Closes a connection, by a reset if it is to `abort`. The slot is idle then.
    pub(super) fn hang_up<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32, abort: bool) {
        let slot = self.slots.get_mut(at);
        slot.reader.stop(&mut self.heads);
        self.opening -= u32::from(slot.state == State::Opening);
        slot.state = State::Idle;
        if let Some(id) = slot.id.take() {
            self.open -= 1;
            if abort { sockets.abort(id) } else { sockets.close(id) }
        }
    }

    /// Counts the requests of a slot that has no connection any more, or could not get one; it rests then.
    pub(super) fn fail(&mut self, now: Instant, at: u32, failure: Failure) {
        let requests = self.slots.give_up(at).max(1);
        self.recorder.failed(failure, u64::from(requests));
        self.slots.rest(at, now);
    }
}

fn reason(error: Option<Error>) -> Failure {
    match error {
        Some(Error::Refused) => Failure::Refused,
        Some(Error::Reset) => Failure::Reset,
        Some(Error::TimedOut) => Failure::TimedOut,
        Some(Error::HostUnreachable | Error::NetUnreachable) => Failure::Unreachable,
        Some(Error::Aborted) | None => Failure::Closed,
    }
}

//! One connection of a load, from its opening to its end.

use tcp::connection::Error;
use tcp::shard::{ConnectError, ConnectionId, Received, SendError};
use wire::{Frame, Instant, Payload};

use super::answer::Answer;
use super::slots::{Owed, State};
use super::{Failure, Load};
use crate::app::Sockets;

impl Load {
    pub(super) fn open<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        match self.connect(sockets) {
            Ok(id) => {
                sockets.set_token(id, at);
                sockets.set_nodelay(id, true);
                let slot = self.slots.get_mut(at);
                (slot.state, slot.id, slot.since) = (State::Opening, Some(id), sockets.now());
                slot.has_answered = false;
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

    /// Connects, from the next of our addresses that has a port free.
    fn connect<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>) -> Result<ConnectionId, ConnectError> {
        let target = self.target.ok_or(ConnectError::BadAddress)?;
        let sources = &self.workload.sources;
        if sources.is_empty() {
            return sockets.connect(target);
        }
        for _ in 0..sources.len() {
            self.source = (self.source + 1) % sources.len();
            match sockets.connect_from(sources[self.source], target) {
                Err(ConnectError::NoPort | ConnectError::InUse) => {}
                done => return done,
            }
        }
        Err(ConnectError::NoPort)
    }

    pub(super) fn opened<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        self.recorder.count(|counts| counts.connects += 1);
        self.opening -= 1;
        let slot = self.slots.get_mut(at);
        (slot.state, slot.since) = (State::Open, sockets.now());
        self.slots.send_all(at);
        self.flush(sockets, at);
        if self.may_start(at) {
            self.slots.ready(at);
        }
    }

    /// Gives the send queue what it has room for.
    pub(super) fn flush<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        while let Some((entry, run)) = self.slots.unsent(at) {
            let slot = self.slots.get_mut(at);
            let Some(id) = slot.id.filter(|_| slot.state == State::Open) else { return };
            let exchange = self.workload.mix.get(entry);
            let bytes = u64::from(run) * exchange.len();
            let rest = match sockets.send(id, exchange.content(bytes - slot.given)) {
                Ok(()) => 0,
                Err(SendError::Full(rest)) => rest.len(),
                // What was received tells how it ended.
                Err(SendError::Closed(_)) => {
                    slot.unsent = 0;
                    return;
                }
            };
            slot.unsent -= ((bytes - rest) / exchange.len()) as u32;
            slot.given = (bytes - rest) % exchange.len();
            if rest > 0 {
                return;
            }
        }
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
                match self.take_part(at, &mut input) {
                    Ok(None) => {}
                    Ok(Some((owed, answer))) => {
                        if !self.answered(sockets, at, owed, answer) {
                            // The connection is another one now, or none.
                            return;
                        }
                    }
                    Err(failure) => {
                        self.hang_up(sockets, at, true);
                        return self.fail(sockets.now(), at, failure);
                    }
                }
            }
        }
    }

    /// Reads what belongs to one answer from the front of `input`. Gives the answer if this was its end, and what it
    /// answers.
    fn take_part(&mut self, at: u32, input: &mut &[u8]) -> Result<Option<(Owed, Answer)>, Failure> {
        // Nobody asked.
        let owed = self.slots.oldest(at).ok_or(Failure::BadResponse)?;
        let exchange = self.workload.mix.get(owed.entry);
        let bodies = self.bodies.as_mut().filter(|_| exchange.is_checked());
        let reader = &mut self.slots.get_mut(at).reader;
        let answer = match bodies {
            Some(bodies) => reader.read(exchange, &mut self.heads, input, |bytes| bodies.add(at, bytes)),
            None => reader.read(exchange, &mut self.heads, input, |_| {}),
        };
        Ok(answer?.map(|answer| (owed, answer)))
    }

    /// Counts the answer to the oldest request. Gives whether the connection goes on.
    fn answered<F: Frame>(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        at: u32,
        owed: Owed,
        answer: Answer,
    ) -> bool {
        let is_sent = self.slots.pop(at);
        let now = sockets.now();
        let exchange = self.workload.mix.get(owed.entry);
        let hash = self.bodies.as_mut().filter(|_| exchange.is_checked()).map(|bodies| bodies.end(at));
        let is_right = hash.is_none_or(|hash| exchange.expects(hash));
        let latency = now.since(owed.start).as_nanos() as u64;
        self.recorder.completed(owed.entry, latency, answer.is_good, is_right);
        self.slots.get_mut(at).has_answered = true;
        if let Some(time) = self.workload.think.next(&mut self.chance) {
            self.slots.think(at, now + time);
        }
        //= RFC 9112 section 9.3: who does not send a request to its end closes the connection.
        if self.workload.close || answer.closes || !is_sent {
            self.go_on(sockets, at);
            return false;
        }
        if self.may_start(at) {
            self.slots.ready(at);
        }
        true
    }

    /// The peer has closed its side, and all before was read.
    fn ended<F: Frame>(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        if let Some(owed) = self.slots.oldest(at)
            && let Some(answer) = self.slots.get_mut(at).reader.end()
        {
            self.answered(sockets, at, owed, answer);
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
        //= RFC 9110 section 9.2.2: what is not idempotent is not repeated without knowing what became of it.
        if !self.slots.all_owed(at).all(|owed| self.workload.mix.get(owed.entry).may_be_repeated()) {
            return self.fail(sockets.now(), at, Failure::Closed);
        }
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
        if let Some(bodies) = &mut self.bodies {
            bodies.drop(at);
        }
        self.opening -= u32::from(slot.state == State::Opening);
        slot.state = State::Idle;
        if let Some(id) = slot.id.take() {
            self.open -= 1;
            if abort { sockets.abort(id) } else { sockets.close(id) }
        }
    }

    /// Counts the requests of a slot that has no connection any more, or could not get one; it rests then.
    pub(super) fn fail(&mut self, now: Instant, at: u32, failure: Failure) {
        let Load { slots, recorder, .. } = self;
        if slots.owed(at) == 0 {
            recorder.failed_to_connect(failure);
        }
        slots.all_owed(at).for_each(|owed| recorder.failed(owed.entry, failure));
        slots.give_up(at);
        slots.rest(at, now);
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

//! One connection: requests in, answers out, in order.

use http1::{Item, Reader, Refusal, Status};
use tcp::shard::{ConnectionId, Received, SendError};
use wire::{Frame, Instant, Payload};

use super::Desk;
use super::answer::Answer;
use super::phase::{Patience, Phase};
use crate::app::{Content, Sockets, TxBuf};

/// Bytes of content, at most, that are copied behind a head to send several answers together.
const SHORT: usize = 256;

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It goes on.
    Open,
    /// It is over: the handle has been closed.
    Over,
    /// It goes on, and is to be served again soon: there was no buffer for its answer.
    Starved,
}

/// A connection's state. It holds no more of what is received than one payload that it has not answered yet.
pub(super) struct Connection<F: Frame> {
    pub(super) id: ConnectionId,
    reader: Reader,
    /// What was received and not yet read to its end, and the length it had: the window opens when it is.
    input: Option<(F::Payload, u32)>,
    /// The answer that waits for the end of its request's body, or for a buffer.
    owed: Option<Answer>,
    /// Answers that others may follow in the same buffer, while requests are being read that came together.
    open: Option<TxBuf<F>>,
    /// What the send queue had no room for, in order. No further request is read until it has.
    unsent: [Option<Content<F::Payload>>; 2],
    /// No further request is read: an answer said so, or the client will send none.
    is_last: bool,
    /// It is in the list of those that wait for a buffer.
    pub(super) is_starved: bool,
    phase: Phase,
    deadline: Instant,
    /// Bytes given for sending, and of them those acknowledged when it was last looked.
    given: u64,
    acknowledged: u64,
}

impl<F: Frame> Connection<F> {
    /// A connection that was just accepted. Its first head is to come in the time that heads have.
    pub(super) fn new(id: ConnectionId, now: Instant, patience: &Patience) -> Self {
        Connection {
            id,
            reader: Reader::default(),
            input: None,
            owed: None,
            open: None,
            unsent: [None, None],
            is_last: false,
            is_starved: false,
            phase: Phase::Idle,
            deadline: now + patience.head,
            given: 0,
            // Not looked at yet: the first look begins the time for progress.
            acknowledged: u64::MAX,
        }
    }

    /// When [`expire`](Self::expire) is due.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Reads requests and answers them, as far as it goes.
    #[inline]
    pub(super) fn serve(&mut self, desk: &mut Desk, sockets: &mut Sockets<'_, F>) -> Fate {
        let before = desk.answered;
        let fate = loop {
            if self.phase == Phase::Lingering {
                break self.linger(sockets);
            }
            if !self.send_unsent(sockets) {
                break Fate::Open;
            }
            if let Some(answer) = self.owed
                && !self.reader.is_in_body()
            {
                if !self.give(desk, sockets, answer, false) {
                    break Fate::Starved;
                }
                self.send_open(sockets);
            }
            if self.is_clear() && self.is_last {
                self.reader.stop(&mut desk.pool);
                sockets.shutdown(self.id);
                self.enter(Phase::Lingering, sockets.now(), &desk.patience);
                continue;
            }
            let (bytes, len) = match self.input.take().map_or_else(|| receive(sockets, self.id), Ok) {
                Ok(input) => input,
                Err(Received::End) => {
                    // What is read in part never comes whole.
                    (self.is_last, self.owed) = (true, None);
                    continue;
                }
                Err(Received::Closed(_)) => break Fate::Over,
                Err(Received::Nothing) if desk.is_stopping && self.phase() == Phase::Idle => {
                    self.is_last = true;
                    continue;
                }
                Err(_) => break Fate::Open,
            };
            self.read(desk, sockets, bytes, len);
        };
        let answered = desk.answered != before;
        let phase = match self.phase() {
            // Idle itself comes after Draining only: its time is what that has left.
            Phase::Idle if answered || self.phase != Phase::Idle => Phase::Draining,
            phase => phase,
        };
        if answered || phase != self.phase {
            self.enter(phase, sockets.now(), &desk.patience);
        }
        fate
    }

    /// Reads what was received up to its end, or to the first answer that cannot be sent at once.
    fn read(&mut self, desk: &mut Desk, sockets: &mut Sockets<'_, F>, mut bytes: F::Payload, len: u32) {
        let mut at = 0;
        while self.is_clear() && !self.is_last {
            let chunk = bytes.chunk(at);
            if chunk.is_empty() {
                break;
            }
            let mut input = chunk;
            let answer = self.next_answer(desk, sockets, &mut input);
            at += chunk.len() - input.len();
            if let Some(answer) = answer {
                self.give(desk, sockets, answer, !input.is_empty());
            }
        }
        self.send_open(sockets);
        if at < bytes.len() && !self.is_last {
            bytes.advance(at);
            self.input = Some((bytes, len));
        } else {
            // What follows the last request is dropped.
            sockets.credit(self.id, 1, len);
        }
    }

    /// Reads the next item; gives the answer that is due after it.
    #[inline]
    fn next_answer(
        &mut self,
        desk: &mut Desk,
        sockets: &mut Sockets<'_, F>,
        input: &mut &[u8],
    ) -> Option<Answer> {
        let Desk { pool, limits, site, counters, is_stopping, .. } = desk;
        let (before, was_in_body) = (input.len(), self.reader.is_in_body());
        let item = self.reader.next(pool, input, limits);
        if was_in_body {
            counters.body_bytes.add((before - input.len()) as u64);
        }
        match item {
            Ok(None) => None,
            Ok(Some(Item::Head(head))) => {
                counters.requests.add(1);
                let answer = Answer::to(&head, site, *is_stopping);
                if !head.has_body() {
                    return Some(answer);
                }
                if answer.is_error() && !answer.keep_alive {
                    // The body is not read: the answer is due now, and stays so if it must wait for a buffer.
                    self.reader.stop(pool);
                    return Some(answer);
                }
                self.owed = Some(answer);
                if head.expects_continue() {
                    self.send(sockets, Content::Static(site.interim()));
                }
                None
            }
            Ok(Some(Item::BodyEnd)) => self.owed.take(),
            Err(refusal) => {
                match refusal.status {
                    Status::ServiceUnavailable => &counters.no_head,
                    _ => &counters.malformed,
                }
                .add(1);
                let is_head = refusal.is_head || self.owed.take().is_some_and(|owed| owed.is_head);
                Some(Answer::refusal(Refusal { is_head, ..refusal }))
            }
        }
    }

    /// Sends an answer, or keeps it if there is no buffer: gives whether there was one. If `more` requests have
    /// come, answers that are short wait in [`open`](Self::open) for each other, with what they carry: it would
    /// take a device longer to gather small pieces than it takes us to copy them.
    #[inline]
    fn give(
        &mut self,
        desk: &mut Desk,
        sockets: &mut Sockets<'_, F>,
        mut answer: Answer,
        more: bool,
    ) -> bool {
        self.owed = None;
        // It may have been decided on before.
        answer.keep_alive &= !desk.is_stopping;
        let Some(mut buffer) = self.open.take().or_else(|| sockets.alloc()) else {
            desk.counters.no_buffer.add(1);
            self.owed = Some(answer);
            return false;
        };
        let (start, room) = (buffer.bytes().len(), buffer.room());
        let out = buffer.append(room).ok();
        let Some(len) = out.and_then(|out| answer.write(out, &desk.site, &desk.date, &desk.page())) else {
            buffer.truncate(start);
            return self.give_in_another(sockets, answer, buffer);
        };
        buffer.truncate(start + len);
        self.is_last |= !answer.keep_alive;
        desk.answered += 1;
        desk.counters.count(answer.status());
        let content = answer.content(&desk.site);
        desk.counters.content_bytes.add(content.len() as u64);
        if content.is_empty() {
            self.open = Some(buffer);
            return true;
        }
        if (more || start > 0)
            && content.len() <= SHORT
            && let Ok(room) = buffer.append(content.len())
        {
            room.copy_from_slice(content);
            desk.counters.content_copied.add(content.len() as u64);
            self.open = Some(buffer);
            return true;
        }
        self.queue(sockets, Content::Bytes(buffer.freeze()));
        self.queue(sockets, Content::Static(content));
        true
    }

    /// There was no room behind other answers: sends those, and gives the answer as soon as that is done.
    #[cold]
    fn give_in_another(&mut self, sockets: &mut Sockets<'_, F>, answer: Answer, buffer: TxBuf<F>) -> bool {
        if buffer.bytes().is_empty() {
            // Heads have bounds that every buffer has room for; if one did not, nothing could be said.
            self.is_last = true;
            return true;
        }
        self.owed = Some(answer);
        self.queue(sockets, Content::Bytes(buffer.freeze()));
        true
    }

    /// Sends behind the answers that wait in a buffer.
    fn send(&mut self, sockets: &mut Sockets<'_, F>, content: Content<F::Payload>) {
        self.send_open(sockets);
        self.queue(sockets, content);
    }

    #[inline]
    fn send_open(&mut self, sockets: &mut Sockets<'_, F>) {
        if let Some(buffer) = self.open.take() {
            self.queue(sockets, Content::Bytes(buffer.freeze()));
        }
    }

    /// Queues for sending, behind what waits already.
    #[inline]
    fn queue(&mut self, sockets: &mut Sockets<'_, F>, content: Content<F::Payload>) {
        let len = content.len();
        let rest = if self.unsent[0].is_some() {
            Some(content)
        } else {
            match sockets.send(self.id, content) {
                Ok(()) => None,
                Err(SendError::Full(rest)) => Some(rest),
                // The client is gone; the event that says so is on its way.
                Err(SendError::Closed(_)) => {
                    self.is_last = true;
                    None
                }
            }
        };
        self.given += len - rest.as_ref().map_or(0, Content::len);
        if let (Some(_), Some(free)) = (&rest, self.unsent.iter_mut().find(|place| place.is_none())) {
            *free = rest;
        }
    }

    /// Sends what there was no room for. Gives whether there was room for all of it.
    fn send_unsent(&mut self, sockets: &mut Sockets<'_, F>) -> bool {
        if self.unsent[0].is_some() {
            for content in std::mem::take(&mut self.unsent).into_iter().flatten() {
                self.queue(sockets, content);
            }
        }
        self.unsent[0].is_none()
    }

    /// Whether every answer so far is in the send queue.
    fn is_clear(&self) -> bool {
        self.unsent[0].is_none() && (self.owed.is_none() || self.reader.is_in_body())
    }

    fn phase(&self) -> Phase {
        match () {
            () if self.phase == Phase::Lingering => Phase::Lingering,
            () if !self.is_clear() => Phase::Sending,
            () if self.reader.is_in_head() => Phase::Head,
            () if self.reader.is_in_body() => Phase::Body,
            () => Phase::Idle,
        }
    }

    fn enter(&mut self, phase: Phase, now: Instant, patience: &Patience) {
        self.phase = phase;
        self.deadline = now + patience.with(phase);
    }

    /// Drops what still comes after we have closed. The client's end is told as the connection's.
    fn linger(&mut self, sockets: &mut Sockets<'_, F>) -> Fate {
        match sockets.drop_received(self.id) {
            Received::Closed(_) => Fate::Over,
            _ => Fate::Open,
        }
    }

    /// The time of the phase is over.
    pub(super) fn expire(&mut self, desk: &mut Desk, sockets: &mut Sockets<'_, F>) -> Fate {
        let counters = desk.counters.clone();
        let queued = sockets.info(self.id).map_or(0, |info| info.queued);
        let reads = matches!(self.phase, Phase::Head | Phase::Body);
        if !reads && queued > 0 {
            return self.expect_progress(self.given - u64::from(queued), desk, sockets);
        }
        match self.phase {
            Phase::Idle => {
                counters.idle_timeouts.add(1);
                self.is_last = true;
            }
            Phase::Lingering => {
                counters.linger_timeouts.add(1);
                sockets.close(self.id);
                return Fate::Over;
            }
            // All that was given has been taken: it waits for us, not for the client.
            Phase::Sending => self.enter(Phase::Sending, sockets.now(), &desk.patience),
            // Of the time that it may be idle, that of the last phase has passed.
            Phase::Draining => self.enter(Phase::Idle, sockets.now(), &desk.patience),
            Phase::Head | Phase::Body => {
                let in_head = self.phase == Phase::Head;
                if in_head { &counters.head_timeouts } else { &counters.body_timeouts }.add(1);
                let is_head = self.owed.is_some_and(|owed| owed.is_head);
                self.reader.stop(&mut desk.pool);
                self.owed = Some(Answer::refusal(Refusal { status: Status::RequestTimeout, is_head }));
            }
        }
        self.serve(desk, sockets)
    }

    /// A client that is sent something must take some of it, or the connection is reset.
    fn expect_progress(&mut self, acknowledged: u64, desk: &mut Desk, sockets: &mut Sockets<'_, F>) -> Fate {
        if acknowledged == self.acknowledged {
            desk.counters.stalled.add(1);
            sockets.abort(self.id);
            return Fate::Over;
        }
        self.acknowledged = acknowledged;
        self.deadline = sockets.now() + desk.patience.stall;
        Fate::Open
    }

    /// Gives back what it has. Nothing is told to the client.
    pub(super) fn end(mut self, desk: &mut Desk) {
        if !self.is_clear() {
            desk.counters.lost.add(1);
        }
        self.reader.stop(&mut desk.pool);
    }
}

/// The next bytes received, and how many they are.
#[inline]
fn receive<F: Frame>(
    sockets: &mut Sockets<'_, F>,
    id: ConnectionId,
) -> Result<(F::Payload, u32), Received<F::Payload>> {
    match sockets.receive(id) {
        Received::Bytes(bytes) => {
            let len = bytes.len() as u32;
            Ok((bytes, len))
        }
        other => Err(other),
    }
}

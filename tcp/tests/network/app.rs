//! What the applications at both ends of a connection do.

use std::sync::Arc;
use std::time::Duration;

use sim::Rng;
use tcp::connection::{Error, State};
use tcp::shard::{ConnectionId, Received, SendError, Shard};
use tcp::{Content, Pulled};
use wire::{Instant, Payload};

use crate::bytes::{Bytes, Ledger, Stream};

/// Up to `upto` bytes in all may be sent once `after` bytes were read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) after: u64,
    pub(crate) upto: u64,
}

/// How an end closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// A FIN as soon as all is sent.
    Shutdown,
    /// A FIN once the peer's was read, and all is sent.
    ShutdownAfterPeer,
    /// A reset once so many bytes were read and sent.
    Abort(u64),
}

/// What one end does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What it sends, and when.
    pub(crate) stream: Stream,
    pub(crate) turns: Vec<Turn>,
    /// The most bytes it gives at once.
    pub(crate) piece: usize,
    /// Sends what it reads back, the very same memory.
    pub(crate) echo: bool,
    /// What it is to read.
    pub(crate) peer_stream: Stream,
    pub(crate) peer_total: u64,
    /// After so many bytes were read, it reads nothing for so long.
    pub(crate) stalls: Vec<(u64, Duration)>,
    /// Gives payloads back only so long after it read them.
    pub(crate) hold: Option<Duration>,
    pub(crate) ending: Ending,
    /// Gives the handle up as soon as it has nothing more to send or read, not when all is acknowledged.
    pub(crate) leaves_early: bool,
    /// Gives bytes for sending before the connection is established.
    pub(crate) eager: bool,
    pub(crate) nodelay: bool,
    pub(crate) user_timeout: Option<Duration>,
}

impl Plan {
    /// Bytes it sends in all.
    pub(crate) fn total(&self) -> u64 {
        match self.turns.last() {
            Some(turn) => turn.upto,
            None if self.echo => self.peer_total,
            None => 0,
        }
    }

    /// How long it reads nothing in all.
    pub(crate) fn paused(&self) -> Duration {
        self.stalls.iter().map(|(_, len)| *len).sum::<Duration>() + self.hold.unwrap_or_default()
    }

    /// Whether it sends without having been sent anything.
    pub(crate) fn speaks_first(&self) -> bool {
        self.turns.first().is_some_and(|turn| turn.after == 0 && turn.upto > 0)
    }
}

/// How it went at one end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// All was sent and acknowledged, all was read, and both sides have closed.
    Orderly,
    /// All was sent and read, but the end did not wait for the last acknowledgment.
    Left,
    /// The connection failed.
    Failed(Option<Error>),
    /// This end aborted it, as planned.
    Aborted,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) plan: Plan,
    pub(crate) host: usize,
    pub(crate) id: Option<ConnectionId>,
    pub(crate) sent: u64,
    pub(crate) read: u64,
    pub(crate) shut: bool,
    pub(crate) peer_ended: bool,
    pub(crate) outcome: Option<Outcome>,
    /// When it was over.
    pub(crate) over_at: Instant,
    /// Since when the peer's bytes (or FIN) are due here.
    pub(crate) waiting_since: Option<Instant>,
    /// What was dropped of the flow between its last progress and the end.
    pub(crate) lost_at_end: u64,
    stalled_until: Option<Instant>,
    next_stall: usize,
    held: Vec<Bytes>,
    release_at: Option<Instant>,
    /// To be echoed, and not taken yet.
    pending: Option<Bytes>,
    /// The first content that was wrong.
    pub(crate) wrong: Option<String>,
    rng: Rng,
}

impl Endpoint {
    pub(crate) fn new(plan: Plan, host: usize, rng: Rng) -> Self {
        Endpoint {
            plan,
            host,
            id: None,
            sent: 0,
            read: 0,
            shut: false,
            peer_ended: false,
            outcome: None,
            over_at: Instant::ZERO,
            waiting_since: None,
            lost_at_end: 0,
            stalled_until: None,
            next_stall: 0,
            held: Vec::new(),
            release_at: None,
            pending: None,
            wrong: None,
            rng,
        }
    }

    /// Bytes given, the FIN as one more.
    pub(crate) fn given(&self) -> u64 {
        self.sent + u64::from(self.shut)
    }

    /// Bytes read, the peer's FIN as one more.
    pub(crate) fn taken(&self) -> u64 {
        self.read + u64::from(self.peer_ended)
    }

    /// Whether it does not read for a while, of its own will.
    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.pending.is_some() || self.stalled_until.is_some_and(|until| now <= until)
    }

    /// The end has a connection from now on.
    pub(crate) fn open(&mut self, now: Instant, shard: &mut Shard<Bytes>, id: ConnectionId) {
        self.id = Some(id);
        shard.set_keepalive(now, id, true);
        shard.set_nodelay(now, id, self.plan.nodelay);
        if let Some(timeout) = self.plan.user_timeout {
            shard.set_user_timeout(now, id, timeout);
        }
    }

    /// Does all it can; gives when it wants to be called again without news.
    pub(crate) fn run(&mut self, now: Instant, shard: &mut Shard<Bytes>, ledger: &Ledger) -> Option<Instant> {
        let id = self.id.filter(|_| self.outcome.is_none())?;
        if self.release_at.is_some_and(|at| at <= now) {
            self.release(now, shard, id);
        }
        self.read(now, shard, id);
        self.echo(now, shard, id);
        self.write(now, shard, id, ledger);
        self.close(now, shard, id);
        if self.outcome.is_some() {
            self.forget(now);
            return None;
        }
        [self.stalled_until, self.release_at].into_iter().flatten().min()
    }

    /// The host is no more.
    pub(crate) fn vanish(&mut self, now: Instant) {
        if self.outcome.is_none() {
            self.outcome = Some(Outcome::Failed(None));
            self.forget(now);
        }
    }

    fn forget(&mut self, now: Instant) {
        self.over_at = now;
        self.held.clear();
        self.pending = None;
        self.waiting_since = None;
    }

    fn read(&mut self, now: Instant, shard: &mut Shard<Bytes>, id: ConnectionId) {
        if self.stalled_until.is_some_and(|until| now < until) {
            return;
        }
        self.stalled_until = None;
        while !self.peer_ended && self.pending.is_none() {
            if let Some((_, len)) = self.plan.stalls.get(self.next_stall).filter(|(at, _)| self.read >= *at) {
                self.next_stall += 1;
                self.stalled_until = Some(now + *len);
                return;
            }
            match shard.receive(now, id) {
                Received::Bytes(bytes) => self.take(now, shard, id, bytes),
                Received::Nothing => return,
                Received::End => self.peer_ended = true,
                Received::Closed(error) => return self.outcome = Some(Outcome::Failed(error)),
            }
        }
    }

    fn take(&mut self, now: Instant, shard: &mut Shard<Bytes>, id: ConnectionId, bytes: Bytes) {
        if self.wrong.is_none()
            && let Some(at) = self.plan.peer_stream.mismatch(self.read, bytes.as_slice())
        {
            let (from, to) = (self.read, self.read + bytes.len() as u64);
            self.wrong = Some(format!("byte {at} is wrong, in a payload of {from}..{to}"));
        }
        self.read += bytes.len() as u64;
        if self.plan.echo {
            self.pending = Some(bytes.clone());
            self.echo(now, shard, id);
        }
        match self.plan.hold {
            None => shard.credit(now, id, 1, bytes.len() as u32),
            Some(hold) => {
                self.held.push(bytes);
                self.release_at = self.release_at.or(Some(now + hold));
            }
        }
    }

    fn release(&mut self, now: Instant, shard: &mut Shard<Bytes>, id: ConnectionId) {
        let bytes = self.held.iter().map(|bytes| bytes.len() as u32).sum();
        shard.credit(now, id, self.held.len() as u32, bytes);
        self.held.clear();
        self.release_at = None;
    }

    fn echo(&mut self, now: Instant, shard: &mut Shard<Bytes>, id: ConnectionId) {
        let Some(bytes) = self.pending.take() else { return };
        let len = bytes.len() as u64;
        match shard.send(now, id, bytes) {
            Ok(()) => {
                self.sent += len;
                // Reading had stopped for it.
                self.read(now, shard, id);
            }
            Err(SendError::Full(Content::Bytes(bytes))) => self.pending = Some(bytes),
            Err(_) => {}
        }
    }

    fn write(&mut self, now: Instant, shard: &mut Shard<Bytes>, id: ConnectionId, ledger: &Ledger) {
        let turns = self.plan.turns.iter().take_while(|turn| turn.after <= self.read);
        let mut upto = turns.map(|turn| turn.upto).last().unwrap_or(0);
        if let Ending::Abort(after) = self.plan.ending {
            upto = upto.min(after);
        }
        while self.sent < upto && !self.shut {
            let most = self.plan.piece.min((upto - self.sent) as usize);
            let len = 1 + self.rng.index(most);
            // As bytes, or as the promise to make the same ones.
            let content: Content<Bytes> = if self.rng.chance(0.7) {
                Bytes::new(self.plan.stream.bytes(self.sent, len), ledger).into()
            } else {
                Pulled::new(Arc::new(self.plan.stream), self.sent..self.sent + len as u64).into()
            };
            if shard.send(now, id, content).is_err() {
                break;
            }
            self.sent += len as u64;
        }
    }

    fn close(&mut self, now: Instant, shard: &mut Shard<Bytes>, id: ConnectionId) {
        if self.outcome.is_some() {
            // The stack ended it; the handle is still to be given up.
            return shard.close(now, id);
        }
        if self.stalled_until.is_some() {
            return;
        }
        let all_sent = self.sent == self.plan.total() && self.pending.is_none();
        match self.plan.ending {
            Ending::Abort(after) if self.sent + self.read >= after => {
                shard.abort(now, id);
                return self.outcome = Some(Outcome::Aborted);
            }
            Ending::Abort(_) => {}
            Ending::Shutdown if all_sent && !self.plan.echo => self.shut = true,
            _ if all_sent && self.peer_ended => self.shut = true,
            _ => {}
        }
        let state = shard.info(id).map(|info| info.state);
        if state == Some(State::SynSent) {
            self.shut = false;
            return;
        }
        if self.shut {
            shard.shutdown(now, id);
        }
        let state = shard.info(id).map(|info| info.state);
        let over = matches!(state, Some(State::TimeWait | State::Closed));
        if over && let Some(error) = shard.error(id) {
            self.outcome = Some(Outcome::Failed(Some(error)));
        } else if over && self.shut && self.peer_ended {
            self.outcome = Some(Outcome::Orderly);
        } else if self.shut && self.peer_ended && self.plan.leaves_early {
            self.outcome = Some(Outcome::Left);
        }
        if self.outcome.is_some() {
            shard.close(now, id);
        }
    }
}

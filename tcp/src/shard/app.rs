//! What the application asks for.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use wire::{Instant, Payload};

use super::{ConnectionId, ListenerId, Shard, ShardEvent, Shared};
use crate::connection::info::Info;
use crate::connection::{Connection, Cx, Error, Flags, Given, News, Settings, State};
use crate::content::Content;
use crate::demux::FlowKey;
use crate::ports::PortError;

/// Why a connect was refused at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// There is a connection between these two addresses.
    InUse,
    /// No source port is free that would bring the answers to this core.
    NoPort,
    /// There are as many connections as there may be.
    TooMany,
    /// The address is no host's.
    BadAddress,
}

/// What was not taken for sending.
#[derive(Debug)]
pub enum SendError<B> {
    /// The send queue has no room for this: all that was given, or the rest of a very long content, whose
    /// first part it took. [`News::WRITABLE`](crate::connection::News::WRITABLE) tells when to give it again.
    Full(Content<B>),
    /// This side, or the connection, is closed.
    Closed(Content<B>),
}

/// What was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received<B> {
    /// Bytes, in order. They count against the window until [`Shard::credit`].
    Bytes(B),
    /// Nothing yet; [`News::READABLE`] tells when there is.
    Nothing,
    /// The peer has sent its FIN, and all before it was read.
    End,
    /// The connection is over.
    Closed(Option<Error>),
}

impl<B: Payload> Shard<B> {
    /// What the application has not heard of yet.
    pub fn poll_event(&mut self, now: Instant) -> Option<ShardEvent> {
        self.wake_starved(now);
        if let Some(listener) = self.listeners.pop_news() {
            return Some(ShardEvent::Acceptable(listener));
        }
        while let Some(index) = self.news.pop_front() {
            let id = self.slots.id(index);
            if let Some(connection) = self.slots.at(index)
                && connection.flags.take(Flags::NEWS)
            {
                if connection.flags.has(Flags::DETACHED) {
                    // It stayed for being in this list.
                    self.attend(index, now);
                    continue;
                }
                return Some(ShardEvent::Connection(id, std::mem::take(&mut connection.news)));
            }
        }
        None
    }

    /// Tells the connection that has waited longest for a piece of the pool that there is one. The next
    /// has its turn at the next event, when this one has had its chance.
    fn wake_starved(&mut self, now: Instant) {
        if self.shared.pieces.room() == 0 {
            return;
        }
        let Some(index) = self.starved.pop_front() else { return };
        if let Some(connection) = self.slots.at(index) {
            connection.flags.clear(Flags::STARVED);
            connection.news |= News::WRITABLE;
            self.attend(index, now);
        }
    }

    /// The next connection that a peer has opened.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnectionId> {
        let id = self.listeners.get(listener)?.accept.pop_front()?;
        if let Some(connection) = self.slots.get(id) {
            connection.flags.clear(Flags::UNACCEPTED);
            self.settle(id.index);
        }
        // More may wait, and the application may have stopped here.
        self.listeners.announce(listener.index);
        Some(id)
    }

    /// Opens a connection; [`News::CONNECTED`] or [`News::CLOSED`] tells how it went. Port 0 of `local` has
    /// a port chosen whose answers come to this core.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(
        &mut self,
        now: Instant,
        local: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<ConnectionId, ConnectError> {
        self.connect_with(now, local, remote, &Settings::default())
    }

    /// As [`connect`](Self::connect), with settings that hold from the SYN on.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_with(
        &mut self,
        now: Instant,
        local: SocketAddrV4,
        remote: SocketAddrV4,
        settings: &Settings,
    ) -> Result<ConnectionId, ConnectError> {
        let odd = remote.ip().is_unspecified() || remote.ip().is_multicast() || remote.ip().is_broadcast();
        if odd || remote.port() == 0 {
            return Err(ConnectError::BadAddress);
        }
        if self.slots.is_full() {
            return Err(ConnectError::TooMany);
        }
        let local = if local.port() == 0 { self.choose_port(local, remote)? } else { local };
        let key = FlowKey::new(local, remote);
        if self.is_taken(now, &key) {
            return Err(ConnectError::InUse);
        }
        let mut iss = self.isn.isn(now, local, remote);
        if let Some(reuse) = self.time_wait.reuse_for_connect(now, &key) {
            iss = reuse.above_floor(iss);
            self.time_wait.remove(&key);
        }
        let offset = self.isn.timestamp_offset(local, remote);
        let mut connection = Connection::connect(&mut self.shared.cx(now), local, remote, iss, offset);
        if let Some(connection) = &mut connection {
            connection.configure(&mut self.shared.cx(now), settings);
        }
        let id = self.admit(now, connection, &key).ok_or(ConnectError::TooMany)?;
        self.shared.counters.active_opens += 1;
        self.settle(id.index);
        Ok(id)
    }

    fn choose_port(
        &mut self,
        local: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<SocketAddrV4, ConnectError> {
        let at = |port| SocketAddrV4::new(*local.ip(), port);
        let Shard { ports, flows, slots, time_wait, .. } = self;
        let is_free = |port| {
            let key = FlowKey::new(at(port), remote);
            let same =
                |index: u32| slots.peek(index).is_some_and(|c| (c.local, c.remote) == (at(port), remote));
            flows.lookup(&key, same).is_none() && !time_wait.contains(&key)
        };
        ports.choose(*local.ip(), remote, is_free).map(at).map_err(|_| ConnectError::NoPort)
    }

    /// A port of `local`, of those that `is_free` says are, whose answers from `remote` come to this core, whatever
    /// protocol they are of.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn port_towards(
        &mut self,
        local: Ipv4Addr,
        remote: SocketAddrV4,
        is_free: impl FnMut(u16) -> bool,
    ) -> Result<u16, PortError> {
        self.ports.choose(local, remote, is_free)
    }

    /// Whether a flow has a connection, or one in TIME-WAIT that must not be followed yet.
    fn is_taken(&self, now: Instant, key: &FlowKey) -> bool {
        let (local, remote) = (key.local(), key.remote());
        let same =
            |index: u32| self.slots.peek(index).is_some_and(|c| (c.local, c.remote) == (local, remote));
        self.flows.lookup(key, same).is_some()
            || self.syn_queue.find(local, remote).is_some()
            || (self.time_wait.contains(key) && self.time_wait.reuse_for_connect(now, key).is_none())
    }

    /// Queues a content for sending. It is not copied: it is let go once it is acknowledged and no device
    /// refers to it any more.
    ///
    /// # Errors
    /// [`SendError`], with what was not taken.
    pub fn send(
        &mut self,
        now: Instant,
        id: ConnectionId,
        content: impl Into<Content<B>>,
    ) -> Result<(), SendError<B>> {
        self.send_more(now, id, content, false)
    }

    /// As [`send`](Self::send), saying whether more follows at once (MSG_MORE): if so, what fills no segment
    /// waits for it.
    ///
    /// # Errors
    /// [`SendError`], with what was not taken.
    pub fn send_more(
        &mut self,
        now: Instant,
        id: ConnectionId,
        content: impl Into<Content<B>>,
        more: bool,
    ) -> Result<(), SendError<B>> {
        let content = content.into();
        let Some(connection) = self.slots.get(id) else { return Err(SendError::Closed(content)) };
        connection.set_more(more);
        let given = connection.give(&mut self.shared.cx(now), content);
        if matches!(given, Given::Starved(_)) && !connection.flags.has(Flags::STARVED) {
            connection.flags.set(Flags::STARVED);
            self.starved.push_back(id.index);
        }
        match given {
            Given::Closed(content) => Err(SendError::Closed(content)),
            Given::Starved(content) => Err(SendError::Full(content)),
            Given::Full(content) => {
                // It may be the rest of one.
                self.settle(id.index);
                Err(SendError::Full(content))
            }
            Given::Taken => {
                self.settle(id.index);
                Ok(())
            }
        }
    }

    /// Takes the next bytes received.
    pub fn receive(&mut self, now: Instant, id: ConnectionId) -> Received<B> {
        let Some(connection) = self.slots.get(id) else { return Received::Closed(None) };
        if let Some(bytes) = connection.take(&mut self.shared.cx(now)) {
            return Received::Bytes(bytes);
        }
        if connection.is_at_end() && connection.error.is_none() {
            return Received::End;
        }
        match connection.state {
            State::Closed => Received::Closed(connection.error),
            _ => Received::Nothing,
        }
    }

    /// The payloads received in order and not yet taken, from the next one on, to be looked at.
    pub fn peek(&self, id: ConnectionId) -> impl Iterator<Item = &B> {
        let pools = &self.shared.receive;
        self.slots.look(id).into_iter().flat_map(move |connection| connection.peek(pools))
    }

    /// Drops the next `bytes` of them, or all: they are read, and the window may open.
    pub fn consume(&mut self, now: Instant, id: ConnectionId, bytes: u32) {
        self.with(now, id, |connection, cx| connection.consume(cx, bytes));
    }

    /// The application is done with `bytes` of the `payloads` that it received: the window may open.
    pub fn credit(&mut self, now: Instant, id: ConnectionId, payloads: u32, bytes: u32) {
        self.with(now, id, |connection, cx| connection.credit(cx, payloads, bytes));
    }

    /// Closes our side: what is queued is sent, and then a FIN. Receiving goes on.
    pub fn shutdown(&mut self, now: Instant, id: ConnectionId) {
        self.with(now, id, |connection, cx| connection.shutdown(cx));
    }

    /// Gives the connection up. What is queued is sent, and then a FIN; but if there are bytes that were
    /// not read, a reset. The handle is stale from now on.
    pub fn close(&mut self, now: Instant, id: ConnectionId) {
        self.with(now, id, |connection, cx| connection.close(cx));
    }

    /// Ends the connection with a reset, and gives it up. The handle is stale from now on.
    pub fn abort(&mut self, now: Instant, id: ConnectionId) {
        self.with(now, id, |connection, cx| {
            connection.flags.set(Flags::DETACHED);
            connection.abort(cx);
        });
    }

    /// Ends all connections with a reset. Their handles are stale from now on.
    pub fn abort_all(&mut self, now: Instant) {
        for index in 0..self.slots.end() {
            self.abort(now, self.slots.id(index));
        }
    }

    /// Puts settings into effect.
    pub fn configure(&mut self, now: Instant, id: ConnectionId, settings: &Settings) {
        self.with(now, id, |connection, cx| connection.configure(cx, settings));
    }

    /// Whether small segments are sent at once (no Nagle).
    pub fn set_nodelay(&mut self, now: Instant, id: ConnectionId, on: bool) {
        self.with(now, id, |connection, _| connection.set_nodelay(on));
    }

    /// Holds back what fills no segment, until it is turned off.
    pub fn set_cork(&mut self, now: Instant, id: ConnectionId, on: bool) {
        self.with(now, id, |connection, _| connection.set_cork(on));
    }

    /// Whether silence is probed.
    pub fn set_keepalive(&mut self, now: Instant, id: ConnectionId, on: bool) {
        self.with(now, id, |connection, cx| connection.set_keepalive(cx, on));
    }

    /// The differentiated services codepoint (RFC 2474) of what is sent from now on; its low six bits count.
    pub fn set_dscp(&mut self, now: Instant, id: ConnectionId, dscp: u8) {
        self.with(now, id, |connection, _| connection.set_dscp(dscp));
    }

    /// How long data may go unacknowledged (RFC 5482); zero: as configured.
    pub fn set_user_timeout(&mut self, now: Instant, id: ConnectionId, timeout: Duration) {
        self.with(now, id, |connection, _| connection.set_user_timeout(timeout));
    }

    /// What the application keeps with a connection, to find its own state again.
    pub fn set_token(&mut self, id: ConnectionId, token: u32) {
        if let Some(connection) = self.slots.get(id) {
            connection.token = token;
        }
    }

    /// What [`set_token`](Self::set_token) set last; 0 before.
    pub fn token(&mut self, id: ConnectionId) -> Option<u32> {
        self.slots.get(id).map(|connection| connection.token)
    }

    /// A look at a connection; `None` if the handle is stale.
    pub fn info(&self, id: ConnectionId) -> Option<Info> {
        let Shared { config, senders, recovery, .. } = &self.shared;
        self.slots.look(id).map(|connection| connection.info(config, senders, recovery))
    }

    /// Why a connection ended, if it did not end in order.
    pub fn error(&self, id: ConnectionId) -> Option<Error> {
        self.slots.look(id)?.error
    }

    /// As [`error`](Self::error), but once: after that the connection has come to its end.
    pub fn take_error(&mut self, id: ConnectionId) -> Option<Error> {
        self.slots.get(id)?.error.take()
    }

    /// Bytes that can be given for sending now.
    pub fn room(&self, id: ConnectionId) -> u32 {
        self.slots.look(id).map_or(0, |connection| connection.room(&self.shared.config))
    }

    /// Does something to a connection, and what follows from it.
    fn with(&mut self, now: Instant, id: ConnectionId, act: impl FnOnce(&mut Connection, &mut Cx<'_, B>)) {
        let Some(connection) = self.slots.get(id) else { return };
        act(connection, &mut self.shared.cx(now));
        self.settle(id.index);
    }
}

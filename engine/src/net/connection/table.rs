//! All connections of a core: what tasks ask of them, and what the executor brings to TCP and back.

use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::task::Waker;

use tcp::connection::News;
use tcp::shard::{ConnectError, ConnectionId, SendError};
use wire::Frame;

use super::{Connection, Given, Handle, Woken};
use crate::app::Sockets;
use crate::net::buffers::{Credit, SendBuf};

/// The connections of one core, in places that are used again with what memory they have.
pub(in crate::net) struct Connections<F: Frame> {
    places: Vec<Connection<F>>,
    free: Vec<u32>,
    most: usize,
    /// Those to be pumped, each once.
    marked: Vec<u32>,
    /// The one that is pumped now.
    pumped: Option<u32>,
}

impl<F: Frame> Connections<F> {
    /// Room for none.
    pub(in crate::net) fn new() -> Self {
        Connections { places: Vec::new(), free: Vec::new(), most: 0, marked: Vec::new(), pumped: None }
    }

    /// Makes room for as many as TCP may have.
    pub(in crate::net) fn reserve(&mut self, most: usize) {
        // A token names the place, and 0 none.
        self.most = most.min((1 << Sockets::<F>::TOKEN_BITS) - 1);
        self.places.reserve(self.most);
        self.free.reserve(self.most);
        self.marked.reserve(self.most);
    }

    fn insert(&mut self) -> Option<Handle> {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.places.len() < self.most => {
                self.places.push(Connection::new());
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        Some(Handle { at, generation: self.places[at as usize].generation })
    }

    /// A connection to be opened to `remote`. `None` if there is no room.
    pub(in crate::net) fn connect(&mut self, remote: SocketAddrV4) -> Option<Handle> {
        let handle = self.insert()?;
        self.places[handle.at as usize].connect = Some(remote);
        self.mark(handle.at);
        Some(handle)
    }

    /// One that a peer has opened. `None` if there is no room.
    pub(in crate::net) fn accept(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        id: ConnectionId,
    ) -> Option<Handle> {
        let handle = self.insert()?;
        let connection = &mut self.places[handle.at as usize];
        connection.id = Some(id);
        connection.connected = true;
        sockets.set_token(id, handle.at + 1);
        Some(handle)
    }

    /// The connection of a handle whose stream still lives.
    pub(in crate::net) fn get(&mut self, handle: Handle) -> &mut Connection<F> {
        let connection = &mut self.places[handle.at as usize];
        debug_assert!(connection.generation == handle.generation, "the handle of a stream is never stale");
        connection
    }

    /// The window may open by `bytes`; nothing if the connection is gone.
    pub(in crate::net) fn credit(&mut self, handle: Handle, bytes: u32) {
        let connection = &mut self.places[handle.at as usize];
        if connection.generation == handle.generation {
            connection.credit.0 += 1;
            connection.credit.1 += bytes;
            self.mark(handle.at);
        }
    }

    /// Takes the next payload that was received ahead.
    pub(in crate::net) fn take_received(&mut self, handle: Handle) -> Option<F::Payload> {
        let connection = self.get(handle);
        let bytes = connection.received.pop_front()?;
        if connection.readable && connection.received.is_empty() {
            self.mark(handle.at);
        }
        Some(bytes)
    }

    /// Queues bytes for sending; there is room.
    pub(in crate::net) fn queue(&mut self, handle: Handle, bytes: SendBuf<F>) {
        self.get(handle).queued.push_back(bytes);
        self.mark(handle.at);
    }

    /// Our side is to be closed.
    pub(in crate::net) fn shutdown(&mut self, handle: Handle) {
        self.get(handle).shut = true;
        self.mark(handle.at);
    }

    pub(in crate::net) fn set_nodelay(&mut self, handle: Handle, on: bool) {
        self.get(handle).nodelay = Some(on);
        self.mark(handle.at);
    }

    /// Asks for a look.
    pub(in crate::net) fn ask(&mut self, handle: Handle, waker: &Waker) {
        self.get(handle).wait_for_look(waker);
        self.mark(handle.at);
    }

    /// Nobody has the handle any more.
    pub(in crate::net) fn give_up(&mut self, handle: Handle, reset: bool) {
        let connection = self.get(handle);
        connection.given = if reset { Given::Off } else { Given::Up };
        connection.connect = None;
        // What it may have waited for is of no interest now.
        (connection.reader, connection.writer, connection.looker) = (None, None, None);
        self.mark(handle.at);
    }

    fn mark(&mut self, at: u32) {
        let connection = &mut self.places[at as usize];
        if !connection.marked && self.pumped != Some(at) {
            connection.marked = true;
            self.marked.push(at);
        }
    }

    /// Whether something is to be pumped.
    pub(in crate::net) fn any_marked(&self) -> bool {
        !self.marked.is_empty()
    }

    /// Pumps the next one that is marked.
    pub(in crate::net) fn pump_next(&mut self, sockets: &mut Sockets<'_, F>) -> Option<Woken> {
        let at = self.marked.pop()?;
        self.places[at as usize].marked = false;
        Some(self.pump(sockets, at))
    }

    /// TCP has news of a connection.
    pub(in crate::net) fn tell(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        id: ConnectionId,
        news: News,
    ) -> Woken {
        let at = sockets.token(id).wrapping_sub(1);
        let Some(connection) = self.places.get_mut(at as usize).filter(|c| c.id == Some(id)) else {
            // Given up while this was under way.
            sockets.close(id);
            return Woken::default();
        };
        connection.connected |= news.has(News::CONNECTED);
        connection.readable |= connection.end.is_none();
        if news.has(News::WRITABLE) || news.has(News::CLOSED) {
            connection.blocked = false;
        }
        self.pump(sockets, at)
    }

    /// A connection is to be finished.
    pub(in crate::net) fn stop(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        let at = sockets.token(id).wrapping_sub(1);
        if let Some(connection) = self.places.get_mut(at as usize).filter(|c| c.id == Some(id)) {
            connection.stopping = true;
            connection.readable |= connection.end.is_none();
            self.mark(at);
        }
    }

    /// Brings to TCP what the task did, and to the task what TCP has.
    fn pump(&mut self, sockets: &mut Sockets<'_, F>, at: u32) -> Woken {
        self.pumped = Some(at);
        self.exchange(sockets, at);
        self.pumped = None;
        let connection = &mut self.places[at as usize];
        if connection.given == Given::Not {
            return connection.woken();
        }
        self.end(sockets, at);
        Woken::default()
    }

    fn exchange(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        let connection = &mut self.places[at as usize];
        if let Some(remote) = connection.connect.take() {
            match sockets.connect(remote) {
                Ok(id) => {
                    connection.id = Some(id);
                    sockets.set_token(id, at + 1);
                }
                Err(error) => connection.fail(connect_error(error)),
            }
        }
        let Some(id) = connection.id else { return };
        if let Some(on) = connection.nodelay.take() {
            sockets.set_nodelay(id, on);
        }
        self.send(sockets, at, id);
        let connection = &mut self.places[at as usize];
        connection.receive(sockets, id);
        let (payloads, bytes) = std::mem::take(&mut connection.credit);
        if payloads > 0 {
            sockets.credit(id, payloads, bytes);
        }
        if connection.looker.is_some() {
            connection.look = sockets.info(id).map(Box::new);
        }
    }

    /// Gives TCP what is queued, as far as it takes it, and then our FIN.
    fn send(&mut self, sockets: &mut Sockets<'_, F>, at: u32, id: ConnectionId) {
        loop {
            let connection = &mut self.places[at as usize];
            if connection.blocked {
                return;
            }
            let Some(SendBuf { content, credit }) = connection.queued.pop_front() else { break };
            match sockets.send(id, content) {
                Ok(()) => self.give_back(credit),
                Err(SendError::Full(content)) => {
                    connection.queued.push_front(SendBuf { content, credit });
                    connection.blocked = true;
                }
                Err(SendError::Closed(_)) => {
                    connection.shut = true;
                    self.give_back(credit);
                    self.drop_queued(at);
                }
            }
        }
        let connection = &mut self.places[at as usize];
        if connection.shut && !std::mem::replace(&mut connection.fin_given, true) {
            sockets.shutdown(id);
        }
    }

    /// A payload that was received, of this connection or another, is sent.
    fn give_back(&mut self, credit: Option<Credit<F>>) {
        if let Some((handle, bytes)) = credit.map(Credit::take) {
            self.credit(handle, bytes);
        }
    }

    fn drop_queued(&mut self, at: u32) {
        while let Some(SendBuf { credit, .. }) = self.places[at as usize].queued.pop_front() {
            self.give_back(credit);
        }
    }

    /// The task has given it up: it is closed once TCP has what was queued.
    fn end(&mut self, sockets: &mut Sockets<'_, F>, at: u32) {
        let connection = &mut self.places[at as usize];
        if let Some(id) = connection.id {
            //= RFC 1122 section 4.2.2.13: if received data was not read, the peer is told by a reset.
            let unread = !connection.received.is_empty() && !connection.stopping;
            if connection.given == Given::Off || unread {
                sockets.abort(id);
            } else if !connection.queued.is_empty() || connection.stopping && !connection.linger(sockets, id)
            {
                return;
            } else {
                sockets.close(id);
            }
        }
        self.drop_queued(at);
        let connection = &mut self.places[at as usize];
        connection.received.clear();
        let kept = (std::mem::take(&mut connection.received), std::mem::take(&mut connection.queued));
        let (generation, marked) = (connection.generation.wrapping_add(1), connection.marked);
        *connection =
            Connection { generation, marked, received: kept.0, queued: kept.1, ..Connection::new() };
        self.free.push(at);
    }

    /// Drops all there is, without a word to TCP.
    pub(in crate::net) fn clear(&mut self) {
        for at in 0..self.places.len() as u32 {
            self.drop_queued(at);
            self.places[at as usize].received.clear();
        }
    }
}

const fn connect_error(error: ConnectError) -> ErrorKind {
    match error {
        ConnectError::InUse | ConnectError::NoPort => ErrorKind::AddrInUse,
        ConnectError::TooMany => ErrorKind::QuotaExceeded,
        ConnectError::BadAddress => ErrorKind::AddrNotAvailable,
    }
}

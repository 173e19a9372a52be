//! What a program asks of its worker's TCP and UDP.

use std::net::{Ipv4Addr, SocketAddrV4};

use hashbrown::HashMap;
use tcp::Content;
use tcp::connection::info::Info;
use tcp::shard::{ConnectError, ConnectionId, ListenError, ListenerId, Received, SendError, Shard};
use tcp::udp::{self, SocketId, UdpError, UdpTable, Unsent};
use wire::{Frame, FramePool, Instant, Payload};

use super::TxBuf;

/// Our address towards another, by the routes; `None` if we have none.
pub(crate) type Source<'a> = &'a dyn Fn(Ipv4Addr) -> Option<Ipv4Addr>;

/// Which program opened what. A connection's is in the upper bits of its token.
pub(crate) struct Owners {
    listeners: HashMap<ListenerId, u8>,
    sockets: HashMap<SocketId, u8>,
}

impl Owners {
    /// Programs of one worker, at most.
    pub(crate) const MAX_APPS: usize = 1 << (32 - TOKEN_BITS);

    pub(crate) fn new(sockets: usize) -> Self {
        Owners { listeners: HashMap::new(), sockets: HashMap::with_capacity(2 * sockets) }
    }

    pub(crate) fn of_listener(&self, id: ListenerId) -> Option<usize> {
        self.listeners.get(&id).map(|app| usize::from(*app))
    }

    /// All listeners, which are nobody's from now on.
    pub(crate) fn take_listeners(&mut self) -> impl Iterator<Item = ListenerId> {
        std::mem::take(&mut self.listeners).into_keys()
    }

    pub(crate) fn of_socket(&self, id: SocketId) -> Option<usize> {
        self.sockets.get(&id).map(|app| usize::from(*app))
    }

    /// The program of the connection with this token.
    pub(crate) fn of_token(token: u32) -> usize {
        (token >> TOKEN_BITS) as usize
    }
}

/// Bits of a [token](Sockets::set_token).
pub(crate) const TOKEN_BITS: u32 = 24;

/// A worker's TCP and UDP, lent to one program for one call.
pub struct Sockets<'a, F: Frame> {
    pub(crate) now: Instant,
    pub(crate) tcp: &'a mut Shard<F::Payload>,
    pub(crate) udp: &'a mut UdpTable<F::Payload>,
    pub(crate) pool: &'a mut dyn FramePool<Frame = F>,
    pub(crate) owners: &'a mut Owners,
    pub(crate) source: Source<'a>,
    pub(crate) copied: &'a mut u64,
    /// The program's number.
    pub(crate) app: u8,
}

impl<F: Frame> Sockets<'_, F> {
    /// Bits of a [token](Self::set_token).
    pub const TOKEN_BITS: u32 = TOKEN_BITS;

    /// The time, read once a loop.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Listens for connections on an address of ours; the unspecified one stands for all. At most `backlog`
    /// wait to be taken. [`Event::Accepted`](super::Event::Accepted) gives each.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn listen(&mut self, address: SocketAddrV4, backlog: u32) -> Result<ListenerId, ListenError> {
        let id = self.tcp.listen(address, backlog)?;
        self.owners.listeners.insert(id, self.app);
        Ok(id)
    }

    /// Listens no more.
    pub fn close_listener(&mut self, id: ListenerId) {
        self.owners.listeners.remove(&id);
        self.tcp.close_listener(self.now, id);
    }

    /// Opens a connection, from the address that the route to `remote` starts from and a port whose answers
    /// come to this worker. [`News::CONNECTED`](tcp::connection::News::CONNECTED) or
    /// [`News::CLOSED`](tcp::connection::News::CLOSED) tells how it went.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&mut self, remote: SocketAddrV4) -> Result<ConnectionId, ConnectError> {
        let local = (self.source)(*remote.ip()).ok_or(ConnectError::BadAddress)?;
        self.connect_from(local, remote)
    }

    /// As [`connect`](Self::connect), from the address `local`, which must be one of ours.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_from(
        &mut self,
        local: Ipv4Addr,
        remote: SocketAddrV4,
    ) -> Result<ConnectionId, ConnectError> {
        let id = self.tcp.connect(self.now, SocketAddrV4::new(local, 0), remote)?;
        self.set_token(id, 0);
        Ok(id)
    }

    /// Takes the next bytes received. They count against the window until [`credit`](Self::credit).
    pub fn receive(&mut self, id: ConnectionId) -> Received<F::Payload> {
        self.tcp.receive(self.now, id)
    }

    /// The program is done with `bytes` of the `payloads` that it received: the window may open.
    pub fn credit(&mut self, id: ConnectionId, payloads: u32, bytes: u32) {
        self.tcp.credit(self.now, id, payloads, bytes);
    }

    /// Drops all that was received, and lets the window open for it. Gives what comes after, which is never bytes.
    pub fn drop_received(&mut self, id: ConnectionId) -> Received<F::Payload> {
        loop {
            match self.receive(id) {
                Received::Bytes(bytes) => {
                    let len = bytes.len() as u32;
                    drop(bytes);
                    self.credit(id, 1, len);
                }
                other => return other,
            }
        }
    }

    /// A buffer to be filled, from this worker's pool; `None` when that is empty, which passes as devices and
    /// peers are done with what was sent.
    pub fn alloc(&mut self) -> Option<TxBuf<F>> {
        self.pool.alloc().map(TxBuf::new)
    }

    /// Queues a content for sending: received or [frozen](TxBuf::freeze) bytes as they are,
    /// [`Content::Static`], or [`Pulled`](tcp::Pulled). None is copied.
    ///
    /// # Errors
    /// [`SendError`], with what was not taken. After [`SendError::Full`],
    /// [`News::WRITABLE`](tcp::connection::News::WRITABLE) tells when to give it again.
    pub fn send(
        &mut self,
        id: ConnectionId,
        content: impl Into<Content<F::Payload>>,
    ) -> Result<(), SendError<F::Payload>> {
        self.tcp.send(self.now, id, content)
    }

    /// As [`send`](Self::send), where more follows at once: what fills no segment waits for it.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_more(
        &mut self,
        id: ConnectionId,
        content: impl Into<Content<F::Payload>>,
    ) -> Result<(), SendError<F::Payload>> {
        self.tcp.send_more(self.now, id, content, true)
    }

    /// Counts bytes of payload that the program has copied: `payload-bytes-copied` shows them.
    pub fn count_copied(&mut self, bytes: u64) {
        *self.copied += bytes;
    }

    /// Closes our side, after what is queued. Receiving goes on.
    pub fn shutdown(&mut self, id: ConnectionId) {
        self.tcp.shutdown(self.now, id);
    }

    /// Gives the connection up, after what is queued. The handle is stale from now on.
    pub fn close(&mut self, id: ConnectionId) {
        self.tcp.close(self.now, id);
    }

    /// Ends the connection with a reset. The handle is stale from now on.
    pub fn abort(&mut self, id: ConnectionId) {
        self.tcp.abort(self.now, id);
    }

    /// Whether small segments are sent at once (no Nagle).
    pub fn set_nodelay(&mut self, id: ConnectionId, on: bool) {
        self.tcp.set_nodelay(self.now, id, on);
    }

    /// Whether a peer that has said nothing for long is asked if it is still there, and the connection is given up
    /// if it does not answer.
    pub fn set_keepalive(&mut self, id: ConnectionId, on: bool) {
        self.tcp.set_keepalive(self.now, id, on);
    }

    /// What the program keeps with a connection, to find its own state again: the lower
    /// [`TOKEN_BITS`](Self::TOKEN_BITS) bits of `token`.
    pub fn set_token(&mut self, id: ConnectionId, token: u32) {
        let token = token & ((1 << Self::TOKEN_BITS) - 1);
        self.tcp.set_token(id, u32::from(self.app) << Self::TOKEN_BITS | token);
    }

    /// What [`set_token`](Self::set_token) set last; 0 before, and of a stale handle.
    pub fn token(&mut self, id: ConnectionId) -> u32 {
        self.tcp.token(id).unwrap_or(0) & ((1 << Self::TOKEN_BITS) - 1)
    }

    /// A look at a connection; `None` if the handle is stale.
    pub fn info(&mut self, id: ConnectionId) -> Option<Info> {
        self.tcp.info(id)
    }

    /// Opens a UDP socket on an address of ours, the unspecified one for all; port 0 has one chosen.
    /// [`Event::Datagrams`](super::Event::Datagrams) tells when there is something to receive.
    ///
    /// # Errors
    /// As of [`UdpTable::bind`].
    pub fn bind(&mut self, local: SocketAddrV4) -> Result<SocketId, UdpError> {
        let id = self.udp.bind(local)?;
        self.owners.sockets.insert(id, self.app);
        Ok(id)
    }

    /// Opens a UDP socket to ask `remote` from: at the address that the route to it starts from, and a port whose
    /// answers come to this worker.
    ///
    /// # Errors
    /// As of [`UdpTable::bind`]; [`UdpError::BadAddress`] if we have no address.
    pub fn bind_towards(&mut self, remote: SocketAddrV4) -> Result<SocketId, UdpError> {
        let local = (self.source)(*remote.ip()).ok_or(UdpError::BadAddress)?;
        let udp = &*self.udp;
        let port = self.tcp.port_towards(local, remote, |port| !udp.has_port(port));
        self.bind(SocketAddrV4::new(local, port.map_err(|_| UdpError::NoFreePort)?))
    }

    /// Closes a UDP socket.
    pub fn close_socket(&mut self, id: SocketId) {
        self.owners.sockets.remove(&id);
        self.udp.close(id);
    }

    /// Takes the oldest datagram received, if there is one.
    ///
    /// # Errors
    /// As of [`UdpTable::recv_from`].
    pub fn recv_from(&mut self, id: SocketId) -> Result<Option<udp::Received<F::Payload>>, UdpError> {
        self.udp.recv_from(id)
    }

    /// Sends a datagram, from `from` where the socket is bound to all addresses.
    ///
    /// # Errors
    /// As of [`UdpTable::send_to`]. [`UdpError::Full`] passes within a loop.
    pub fn send_to(
        &mut self,
        id: SocketId,
        payload: F::Payload,
        to: SocketAddrV4,
        from: Option<Ipv4Addr>,
    ) -> Result<(), Unsent<F::Payload>> {
        self.udp.send_to(id, payload, to, from)
    }
}

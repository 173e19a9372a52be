//! One core's UDP sockets.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use wire::Payload;

use super::header::MAX_PAYLOAD;
use super::names::{Name, Names};
use super::sockets::{Socket, SocketId, Sockets};
use super::{Disposition, Limits, Received, Transmit, UdpError, Unsent};
use crate::pool::{List, Pool};

/// One core's UDP sockets, and the datagrams that wait in and for them.
#[derive(Debug)]
pub struct UdpTable<B> {
    sockets: Sockets,
    names: Names,
    received: Pool<Received<B>>,
    unsent: Pool<Transmit<B>>,
    /// All sockets' datagrams, in the order in which they were sent.
    transmit: List,
    /// Sockets with datagrams that the application was not told of, each once.
    news: VecDeque<SocketId>,
    per_socket: usize,
}

impl<B: Payload> UdpTable<B> {
    /// A table without sockets. Memory for all of `limits` is reserved; `seed` is secret and random.
    ///
    /// # Panics
    /// If a limit is 2^32 - 1 or more.
    pub fn new(limits: Limits, seed: u64) -> Self {
        UdpTable {
            sockets: Sockets::new(limits.sockets),
            names: Names::new(limits.sockets, seed),
            received: Pool::new(limits.received),
            unsent: Pool::new(limits.unsent),
            transmit: List::default(),
            news: VecDeque::with_capacity(limits.sockets),
            per_socket: limits.per_socket,
        }
    }

    /// Where a socket receives: the address is unspecified if it is bound to all and not connected.
    pub fn local_addr(&self, id: SocketId) -> Option<SocketAddrV4> {
        self.sockets.get(id).map(|socket| socket.name.local)
    }

    /// A connected socket's peer.
    pub fn peer_addr(&self, id: SocketId) -> Option<SocketAddrV4> {
        self.sockets.get(id)?.name.remote
    }

    /// Datagrams that waited for a socket in vain: there was no room.
    pub fn dropped(&self, id: SocketId) -> Option<u64> {
        self.sockets.get(id).map(|socket| socket.dropped)
    }

    /// Takes in a datagram's payload, whose header and checksum are right.
    pub fn handle_datagram(
        &mut self,
        source: SocketAddrV4,
        destination: SocketAddrV4,
        payload: B,
    ) -> Disposition {
        //= RFC 1122 section 4.1.3.1: a datagram to a port that nobody listens on should be answered by an
        //= ICMP port unreachable.
        let Some(id) = self.names.lookup(destination, source) else { return Disposition::NoPort };
        let Some(socket) = self.sockets.get_mut(id) else { return Disposition::NoPort };
        //= RFC 1122 section 4.1.3.5: the application learns the datagram's specific destination address.
        let received = Received { source, local: destination, payload };
        let has_room = socket.received.len() < self.per_socket;
        if has_room && self.received.push_back(&mut socket.received, received).is_ok() {
            if !std::mem::replace(&mut socket.told, true) {
                self.news.push_back(id);
            }
            return Disposition::Delivered(id);
        }
        socket.dropped += 1;
        Disposition::Full
    }

    /// Whether a socket has this local port, at any address.
    pub fn has_port(&self, port: u16) -> bool {
        self.names.has_port(port)
    }

    /// Whether a socket receives what comes from `source` to `destination`.
    pub fn is_open(&self, source: SocketAddrV4, destination: SocketAddrV4) -> bool {
        self.names.lookup(destination, source).is_some()
    }

    /// A socket with datagrams that the application was not told of. It is told once, until it has taken
    /// them all.
    pub fn poll_event(&mut self) -> Option<SocketId> {
        self.news.pop_front()
    }

    /// Whether [`poll_event`](Self::poll_event) has something to tell.
    pub fn has_events(&self) -> bool {
        !self.news.is_empty()
    }

    /// Takes in the ICMP error that nobody listens on `remote`, to which we sent from `local`. A socket that
    /// is not connected is not told, for its next datagram may be for somebody else.
    pub fn handle_port_unreachable(&mut self, local: SocketAddrV4, remote: SocketAddrV4) {
        //= RFC 1122 section 4.1.3.3: ICMP errors are passed to the application.
        let name = Name { local, remote: Some(remote) };
        if let Some(socket) = self.names.get(name).and_then(|id| self.sockets.get_mut(id)) {
            socket.refused = true;
        }
    }

    /// Opens a socket that receives what is sent to `local`: to any of our addresses if its address is
    /// unspecified. Port 0 stands for one that no socket has, of the dynamic range.
    ///
    /// # Errors
    /// [`UdpError::AddressInUse`] if another socket that is not connected has exactly this address and port,
    /// [`UdpError::NoFreePort`], [`UdpError::TooManySockets`].
    pub fn bind(&mut self, local: SocketAddrV4) -> Result<SocketId, UdpError> {
        let port = match local.port() {
            0 => self.names.choose_port()?,
            port => port,
        };
        let socket = Socket::new(SocketAddrV4::new(*local.ip(), port));
        let name = socket.name;
        let id = self.sockets.insert(socket).ok_or(UdpError::TooManySockets)?;
        if let Err(error) = self.names.insert(name, id) {
            self.sockets.remove(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Connects a socket: from now on it receives from `remote` alone, and learns of its errors. One that is
    /// bound to all addresses has `source` from then on, the one that the route to `remote` starts from. One
    /// that is connected changes its peer. What it received before stays in its queue.
    ///
    /// # Errors
    /// [`UdpError::BadAddress`], [`UdpError::Closed`]; [`UdpError::AddressInUse`] if another socket has the
    /// same address, port and peer. The socket is then as it was.
    pub fn connect(&mut self, id: SocketId, remote: SocketAddrV4, source: Ipv4Addr) -> Result<(), UdpError> {
        let socket = self.sockets.get(id).ok_or(UdpError::Closed)?;
        let address = if socket.bound.is_unspecified() { source } else { socket.bound };
        if !is_complete(remote) || address.is_unspecified() {
            return Err(UdpError::BadAddress);
        }
        let local = SocketAddrV4::new(address, socket.name.local.port());
        self.rename(id, Name { local, remote: Some(remote) })
    }

    /// Takes a socket's peer away: it receives from anybody again, to the address that it was bound to.
    ///
    /// # Errors
    /// [`UdpError::Closed`]; [`UdpError::AddressInUse`] if another socket was bound to the same address and
    /// port meanwhile. The socket is then still connected.
    pub fn disconnect(&mut self, id: SocketId) -> Result<(), UdpError> {
        let socket = self.sockets.get(id).ok_or(UdpError::Closed)?;
        let local = SocketAddrV4::new(socket.bound, socket.name.local.port());
        self.rename(id, Name { local, remote: None })
    }

    /// Closes a socket and drops what it received. What it sent still goes out. No effect if it is closed.
    pub fn close(&mut self, id: SocketId) {
        if let Some(mut socket) = self.sockets.remove(id) {
            self.names.remove(socket.name);
            self.received.clear(&mut socket.received);
            self.news.retain(|told| *told != id);
        }
    }

    /// The oldest datagram of a socket's queue, to be looked at.
    pub fn peek(&self, id: SocketId) -> Option<&Received<B>> {
        self.received.front(&self.sockets.get(id)?.received)
    }

    /// Whether a socket has an error to tell.
    pub fn has_error(&self, id: SocketId) -> bool {
        self.sockets.get(id).is_some_and(|socket| socket.refused)
    }

    /// Takes a socket's error.
    pub fn take_error(&mut self, id: SocketId) -> Option<UdpError> {
        self.sockets.get_mut(id)?.take_error().err()
    }

    /// Takes the oldest datagram out of a socket's queue, if there is one.
    ///
    /// # Errors
    /// [`UdpError::Refused`], [`UdpError::Closed`].
    pub fn recv_from(&mut self, id: SocketId) -> Result<Option<Received<B>>, UdpError> {
        let socket = self.sockets.get_mut(id).ok_or(UdpError::Closed)?;
        socket.take_error()?;
        let received = self.received.pop_front(&mut socket.received);
        if received.is_none() {
            socket.told = false;
        }
        Ok(received)
    }

    /// Sends a datagram to a connected socket's peer.
    ///
    /// # Errors
    /// As of [`UdpTable::send_to`], and [`UdpError::NotConnected`].
    pub fn send(&mut self, id: SocketId, payload: B) -> Result<(), Unsent<B>> {
        match self.sockets.get(id).map(|socket| socket.name.remote) {
            Some(Some(peer)) => self.send_to(id, payload, peer, None),
            Some(None) => Err(Unsent { error: UdpError::NotConnected, payload }),
            None => Err(Unsent { error: UdpError::Closed, payload }),
        }
    }

    /// Sends a datagram. `from` is the source address where the socket is bound to all and not connected: an
    /// answer's is [`Received::local`]'s; `None` leaves it to the route.
    ///
    /// # Errors
    /// [`UdpError::Closed`], [`UdpError::Refused`], [`UdpError::BadAddress`], [`UdpError::TooLong`];
    /// [`UdpError::Full`] until [`UdpTable::poll_transmit`] has made room.
    pub fn send_to(
        &mut self,
        id: SocketId,
        payload: B,
        to: SocketAddrV4,
        from: Option<Ipv4Addr>,
    ) -> Result<(), Unsent<B>> {
        let source = match self.prepare_send(id, payload.len(), to, from) {
            Ok(source) => source,
            Err(error) => return Err(Unsent { error, payload }),
        };
        let datagram = Transmit { socket: id, source, destination: to, payload };
        if let Err(Transmit { payload, .. }) = self.unsent.push_back(&mut self.transmit, datagram) {
            return Err(Unsent { error: UdpError::Full, payload });
        }
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.unsent += 1;
        }
        Ok(())
    }

    /// The next datagram for the IP layer, in the order in which they were sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit<B>> {
        let datagram = self.unsent.pop_front(&mut self.transmit)?;
        if let Some(socket) = self.sockets.get_mut(datagram.socket) {
            socket.unsent -= 1;
        }
        Some(datagram)
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has something to give.
    pub fn wants_to_transmit(&self) -> bool {
        !self.transmit.is_empty()
    }

    /// Whether a datagram may be sent, and from where.
    fn prepare_send(
        &mut self,
        id: SocketId,
        len: usize,
        to: SocketAddrV4,
        from: Option<Ipv4Addr>,
    ) -> Result<SocketAddrV4, UdpError> {
        let socket = self.sockets.get_mut(id).ok_or(UdpError::Closed)?;
        socket.take_error()?;
        if !is_complete(to) {
            return Err(UdpError::BadAddress);
        }
        if len > MAX_PAYLOAD {
            return Err(UdpError::TooLong);
        }
        if socket.unsent >= self.per_socket {
            return Err(UdpError::Full);
        }
        let mut source = socket.name.local;
        if let Some(from) = from.filter(|_| source.ip().is_unspecified()) {
            source.set_ip(from);
        }
        Ok(source)
    }

    fn rename(&mut self, id: SocketId, name: Name) -> Result<(), UdpError> {
        let socket = self.sockets.get_mut(id).ok_or(UdpError::Closed)?;
        if name != socket.name {
            self.names.insert(name, id)?;
            self.names.remove(std::mem::replace(&mut socket.name, name));
        }
        // An error was the former peer's.
        socket.refused = false;
        Ok(())
    }
}

fn is_complete(addr: SocketAddrV4) -> bool {
    !addr.ip().is_unspecified() && addr.port() != 0
}

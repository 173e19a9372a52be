//! Echo: what is received is sent back, by TCP and UDP (RFC 862). No byte is copied.

use std::net::SocketAddrV4;

use tcp::Content;
use tcp::connection::News;
use tcp::shard::{ConnectionId, Received, SendError};
use tcp::udp::{self, SocketId, UdpError, Unsent};
use wire::{Frame, Instant};

use super::{App, Event, Sockets, StartError};

/// Connections that may wait for this worker to look.
const BACKLOG: u32 = 1024;

/// An echo server at one address.
pub struct Echo<F: Frame> {
    address: SocketAddrV4,
    /// What connections could not send yet: at the place that their token says, less one. Each holds its
    /// receive window back until it is sent.
    waiting: Vec<Option<Content<F::Payload>>>,
    free: Vec<u32>,
    /// The socket whose answers there was no room for, and the first of them.
    blocked: Option<(SocketId, udp::Received<F::Payload>)>,
    /// Whether connections are closed once all that was received is sent back.
    stopping: bool,
}

impl<F: Frame> Echo<F> {
    /// A server at `address`; the unspecified one stands for all of ours.
    pub fn new(address: SocketAddrV4) -> Self {
        Echo { address, waiting: Vec::new(), free: Vec::new(), blocked: None, stopping: false }
    }

    /// Sends back all that a connection has received, as far as there is room.
    fn pump(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        loop {
            let bytes = match self.take_waiting(sockets, id) {
                Some(waiting) => waiting,
                None => match sockets.receive(id) {
                    Received::Bytes(bytes) => bytes.into(),
                    Received::Nothing if self.stopping => return sockets.shutdown(id),
                    Received::Nothing => return,
                    Received::End | Received::Closed(_) => return sockets.close(id),
                },
            };
            let len = bytes.len() as u32;
            match sockets.send(id, bytes) {
                // The send queue holds it now: the peer may send as much again.
                Ok(()) => sockets.credit(id, 1, len),
                Err(SendError::Full(bytes)) => return self.wait(sockets, id, bytes),
                // What comes after our FIN is read, so that the peer comes to its own.
                Err(SendError::Closed(_)) if self.stopping => sockets.credit(id, 1, len),
                Err(SendError::Closed(_)) => return sockets.abort(id),
            }
        }
    }

    /// Keeps what there was no room for until the connection is writable.
    fn wait(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId, bytes: Content<F::Payload>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() as u32 - 1
        });
        self.waiting[place as usize] = Some(bytes);
        sockets.set_token(id, place + 1);
    }

    fn take_waiting(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        id: ConnectionId,
    ) -> Option<Content<F::Payload>> {
        let place = sockets.token(id).checked_sub(1)?;
        sockets.set_token(id, 0);
        self.free.push(place);
        self.waiting[place as usize].take()
    }

    /// Sends back all datagrams of a socket, as far as there is room.
    fn pump_datagrams(&mut self, sockets: &mut Sockets<'_, F>, id: SocketId) {
        while let Ok(Some(datagram)) = sockets.recv_from(id) {
            if !self.answer(sockets, id, datagram) {
                return;
            }
        }
    }

    /// Answers a datagram. Gives whether there is room for more.
    fn answer(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        id: SocketId,
        datagram: udp::Received<F::Payload>,
    ) -> bool {
        let udp::Received { source, local, payload } = datagram;
        // Another echo server, forged to have asked: the two would answer each other without end.
        if source.port() == local.port() {
            return true;
        }
        match sockets.send_to(id, payload, source, Some(*local.ip())) {
            Err(Unsent { error: UdpError::Full, payload }) => {
                self.blocked = Some((id, udp::Received { source, local, payload }));
                false
            }
            // Who gives no port wants no answer.
            Ok(()) | Err(_) => true,
        }
    }
}

impl<F: Frame> App<F> for Echo<F> {
    fn start(&mut self, sockets: &mut Sockets<'_, F>) -> Result<(), StartError> {
        let address = self.address;
        sockets.listen(address, BACKLOG).map_err(|error| StartError(format!("tcp {address}: {error:?}")))?;
        sockets.bind(address).map_err(|error| StartError(format!("udp {address}: {error}")))?;
        // Each connection has one payload that waits, at most.
        let connections = sockets.tcp.config().connections as usize;
        self.waiting.reserve(connections);
        self.free.reserve(connections);
        Ok(())
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, F>, events: &[Event]) {
        for event in events {
            match *event {
                Event::Accepted(_, id) => {
                    sockets.set_nodelay(id, true);
                    sockets.set_keepalive(id, true);
                }
                Event::Connection(id, news) if news.has(News::CLOSED) => {
                    // What it could not send is lost, or the handle would be stale and it could not be found.
                    drop(self.take_waiting(sockets, id));
                    sockets.close(id);
                }
                Event::Connection(id, _) => self.pump(sockets, id),
                Event::Datagrams(id) => self.pump_datagrams(sockets, id),
            }
        }
    }

    fn stop(&mut self, _: &mut Sockets<'_, F>) {
        self.stopping = true;
    }

    fn stop_connection(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        self.pump(sockets, id);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.blocked.as_ref().map(|_| Instant::ZERO)
    }

    fn poll(&mut self, sockets: &mut Sockets<'_, F>) {
        if let Some((id, datagram)) = self.blocked.take()
            && self.answer(sockets, id, datagram)
        {
            self.pump_datagrams(sockets, id);
        }
    }
}

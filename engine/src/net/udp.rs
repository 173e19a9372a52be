//! UDP sockets.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use tcp::udp::{MAX_PAYLOAD, Received, SocketId, UdpError, Unsent};
use wire::{Frame, Payload};

use super::Net;
use crate::app::Sockets;

/// Datagrams of a socket that are received ahead of its task, and as many that wait to be sent.
const AHEAD: usize = 8;

/// How far a socket is.
enum State {
    /// To be opened.
    Wanted(Wanted),
    Open(SocketId),
    Failed(ErrorKind),
    /// To be closed, if it was open.
    Unwanted(Option<SocketId>),
}

/// Where a socket is to be opened.
#[derive(Clone, Copy)]
enum Wanted {
    /// At an address of ours.
    At(SocketAddrV4),
    /// Where answers of this peer come to this core.
    Towards(SocketAddrV4),
}

/// A datagram to be sent: its bytes, to whom, and from which of our addresses.
type Outgoing<B> = (B, SocketAddrV4, Option<Ipv4Addr>);

struct Place<F: Frame> {
    state: State,
    received: VecDeque<Received<F::Payload>>,
    /// UDP may have more.
    readable: bool,
    queued: VecDeque<Outgoing<F::Payload>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The UDP sockets of one core.
pub(super) struct UdpSockets<F: Frame> {
    places: Vec<Option<Place<F>>>,
    free: Vec<u32>,
    marked: Vec<u32>,
    /// Those whose datagrams UDP had no room for: it has in the next loop.
    blocked: Vec<u32>,
    open: HashMap<SocketId, u32>,
}

type Woken = [Option<Waker>; 2];

impl<F: Frame> UdpSockets<F> {
    pub(super) fn new() -> Self {
        UdpSockets {
            places: Vec::new(),
            free: Vec::new(),
            marked: Vec::new(),
            blocked: Vec::new(),
            open: HashMap::new(),
        }
    }

    fn insert(&mut self, wanted: Wanted) -> u32 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[at as usize] = Some(Place {
            state: State::Wanted(wanted),
            received: VecDeque::with_capacity(AHEAD),
            readable: false,
            queued: VecDeque::with_capacity(AHEAD),
            reader: None,
            writer: None,
        });
        self.mark(at);
        at
    }

    /// There are few sockets, and fewer that are marked.
    fn mark(&mut self, at: u32) {
        if !self.marked.contains(&at) {
            self.marked.push(at);
        }
    }

    pub(super) fn any_marked(&self) -> bool {
        !self.marked.is_empty() || !self.blocked.is_empty()
    }

    /// A new loop: there may be room again.
    pub(super) fn retry(&mut self) {
        while let Some(at) = self.blocked.pop() {
            self.mark(at);
        }
    }

    /// Datagrams wait in a socket.
    pub(super) fn tell(&mut self, id: SocketId) {
        let Some(at) = self.open.get(&id).copied() else { return };
        if let Some(place) = &mut self.places[at as usize] {
            place.readable = true;
            self.mark(at);
        }
    }

    /// Pumps the next one that is marked.
    pub(super) fn pump_next(&mut self, sockets: &mut Sockets<'_, F>) -> Option<Woken> {
        let at = self.marked.pop()?;
        let place = self.places.get_mut(at as usize)?.as_mut()?;
        if let State::Wanted(wanted) = place.state {
            let opened = match wanted {
                Wanted::At(local) => sockets.bind(local),
                Wanted::Towards(remote) => sockets.bind_towards(remote),
            };
            place.state = match opened {
                Ok(id) => {
                    self.open.insert(id, at);
                    State::Open(id)
                }
                Err(error) => State::Failed(error_kind(error)),
            };
        }
        match place.state {
            State::Open(id) => {
                if !place.send(sockets, id) {
                    self.blocked.push(at);
                }
                place.receive(sockets, id);
            }
            State::Unwanted(id) => {
                if let Some(id) = id {
                    if !place.send(sockets, id) {
                        self.blocked.push(at);
                        return Some(Woken::default());
                    }
                    self.open.remove(&id);
                    sockets.close_socket(id);
                }
                self.places[at as usize] = None;
                self.free.push(at);
                return Some(Woken::default());
            }
            State::Failed(_) | State::Wanted(_) => {}
        }
        Some(place.woken())
    }

    fn close(&mut self, at: u32) {
        if let Some(place) = &mut self.places[at as usize] {
            place.state = match place.state {
                State::Open(id) => State::Unwanted(Some(id)),
                _ => State::Unwanted(None),
            };
            self.mark(at);
        }
    }

    /// Drops all there is, without a word to UDP.
    pub(super) fn clear(&mut self) {
        self.places.iter_mut().flatten().for_each(|place| {
            place.received.clear();
            place.queued.clear();
        });
    }
}

impl<F: Frame> Place<F> {
    /// Gives UDP what is queued. Gives whether it took all.
    fn send(&mut self, sockets: &mut Sockets<'_, F>, id: SocketId) -> bool {
        while let Some((bytes, to, from)) = self.queued.pop_front() {
            if let Err(Unsent { error: UdpError::Full, payload }) = sockets.send_to(id, bytes, to, from) {
                self.queued.push_front((payload, to, from));
                return false;
            }
        }
        true
    }

    fn receive(&mut self, sockets: &mut Sockets<'_, F>, id: SocketId) {
        while self.readable && self.received.len() < AHEAD {
            match sockets.recv_from(id) {
                Ok(Some(datagram)) => self.received.push_back(datagram),
                Ok(None) | Err(_) => self.readable = false,
            }
        }
    }

    fn woken(&mut self) -> Woken {
        let settled = !matches!(self.state, State::Wanted(_));
        let can_read = !self.received.is_empty();
        let can_write = settled && self.queued.len() < AHEAD;
        [self.reader.take_if(|_| can_read), self.writer.take_if(|_| can_write)]
    }
}

fn error_kind(error: UdpError) -> ErrorKind {
    match error {
        UdpError::AddressInUse | UdpError::NoFreePort => ErrorKind::AddrInUse,
        UdpError::TooManySockets => ErrorKind::QuotaExceeded,
        _ => ErrorKind::InvalidInput,
    }
}

/// A UDP socket. Each worker has one of its own at the same address, and receives the datagrams whose
/// flows it owns.
pub struct UdpSocket<F: Frame> {
    net: Net<F>,
    at: u32,
}

impl<F: Frame> UdpSocket<F> {
    /// A socket at an address of ours; the unspecified one stands for all, and port 0 has one chosen.
    ///
    /// # Errors
    /// [`AddrInUse`](ErrorKind::AddrInUse), [`QuotaExceeded`](ErrorKind::QuotaExceeded).
    pub async fn bind(net: &Net<F>, local: SocketAddrV4) -> io::Result<Self> {
        Self::open(net, Wanted::At(local)).await
    }

    /// A socket to ask `remote` from: at the address that the route to it starts from, and a port whose answers
    /// come to this core.
    ///
    /// # Errors
    /// [`AddrInUse`](ErrorKind::AddrInUse), [`QuotaExceeded`](ErrorKind::QuotaExceeded);
    /// [`InvalidInput`](ErrorKind::InvalidInput) if we have no address.
    pub async fn bind_towards(net: &Net<F>, remote: SocketAddrV4) -> io::Result<Self> {
        Self::open(net, Wanted::Towards(remote)).await
    }

    async fn open(net: &Net<F>, wanted: Wanted) -> io::Result<Self> {
        let at = net.shared.udp.borrow_mut().insert(wanted);
        let socket = UdpSocket { net: net.clone(), at };
        poll_fn(|cx| {
            socket.with(|place| match place.state {
                State::Open(_) => Poll::Ready(Ok(())),
                State::Failed(kind) => Poll::Ready(Err(kind.into())),
                State::Wanted(_) | State::Unwanted(_) => {
                    place.writer = Some(cx.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await
        .map(|()| socket)
    }

    /// Waits for a datagram. Of a future that is dropped nothing is lost.
    ///
    /// # Errors
    /// None, for now.
    pub async fn recv_from(&self) -> io::Result<Received<F::Payload>> {
        poll_fn(|cx| self.poll_recv_from(cx)).await
    }

    /// As [`recv_from`](Self::recv_from).
    ///
    /// # Errors
    /// None, for now.
    pub fn poll_recv_from(&self, cx: &mut Context<'_>) -> Poll<io::Result<Received<F::Payload>>> {
        let mut udp = self.net.shared.udp.borrow_mut();
        let place = udp.place(self.at);
        let Some(datagram) = place.received.pop_front() else {
            place.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        if place.readable && place.received.is_empty() {
            udp.mark(self.at);
        }
        Poll::Ready(Ok(datagram))
    }

    /// Sends a datagram; no byte is copied. Where the socket is bound to all addresses, it comes from `from`: for
    /// an answer, the address that the question went to; `None` leaves it to the route. Waits while
    /// there is no room; a future that is dropped meanwhile sends nothing.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `to` is no host's, or the datagram is too long.
    pub async fn send_to(
        &self,
        bytes: F::Payload,
        to: SocketAddrV4,
        from: Option<Ipv4Addr>,
    ) -> io::Result<()> {
        if to.port() == 0 || to.ip().is_unspecified() || bytes.len() > MAX_PAYLOAD {
            return Err(ErrorKind::InvalidInput.into());
        }
        poll_fn(|cx| {
            self.with(|place| {
                if place.queued.len() < AHEAD {
                    return Poll::Ready(());
                }
                place.writer = Some(cx.waker().clone());
                Poll::Pending
            })
        })
        .await;
        let mut udp = self.net.shared.udp.borrow_mut();
        udp.place(self.at).queued.push_back((bytes, to, from));
        udp.mark(self.at);
        Ok(())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Place<F>) -> T) -> T {
        look(self.net.shared.udp.borrow_mut().place(self.at))
    }
}

impl<F: Frame> UdpSockets<F> {
    fn place(&mut self, at: u32) -> &mut Place<F> {
        self.places[at as usize].as_mut().expect("a socket has its place")
    }
}

impl<F: Frame> Drop for UdpSocket<F> {
    fn drop(&mut self) {
        self.net.shared.udp.borrow_mut().close(self.at);
    }
}

//! Listening.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use tcp::shard::{ConnectionId, ListenError, ListenerId};
use wire::Frame;

use super::connection::{Connections, Handle};
use super::{Net, TcpStream};
use crate::app::Sockets;

/// Connections that may wait for [`TcpListener::accept`]; past them, one more is reset.
const BACKLOG: u32 = 1024;

/// How far a listener is.
enum State {
    /// To be opened at an address.
    Wanted(SocketAddrV4),
    Open(ListenerId),
    Failed(ErrorKind),
    /// To be closed, if it was open.
    Unwanted(Option<ListenerId>),
}

struct Place {
    state: State,
    accepted: VecDeque<Handle>,
    waker: Option<Waker>,
}

/// The listeners of one core.
#[derive(Default)]
pub(super) struct Listeners {
    places: Vec<Option<Place>>,
    free: Vec<u32>,
    marked: Vec<u32>,
    open: HashMap<ListenerId, u32>,
}

impl Listeners {
    fn insert(&mut self, address: SocketAddrV4) -> u32 {
        let place = Place { state: State::Wanted(address), accepted: VecDeque::new(), waker: None };
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[at as usize] = Some(place);
        self.marked.push(at);
        at
    }

    pub(super) fn any_marked(&self) -> bool {
        !self.marked.is_empty()
    }

    /// Opens or closes the next one that is to be.
    pub(super) fn pump_next<F: Frame>(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        connections: &mut Connections<F>,
    ) -> Option<Option<Waker>> {
        let at = self.marked.pop()?;
        let slot = self.places.get_mut(at as usize)?;
        let place = slot.as_mut()?;
        match place.state {
            State::Wanted(address) => {
                place.state = match sockets.listen(address, BACKLOG) {
                    Ok(id) => {
                        place.accepted.reserve(BACKLOG as usize);
                        self.open.insert(id, at);
                        State::Open(id)
                    }
                    Err(error) => State::Failed(listen_error(error)),
                };
                Some(place.waker.take())
            }
            State::Unwanted(id) => {
                if let Some(id) = id {
                    self.open.remove(&id);
                    sockets.close_listener(id);
                }
                place.accepted.drain(..).for_each(|handle| connections.give_up(handle, true));
                *slot = None;
                self.free.push(at);
                Some(None)
            }
            State::Open(_) | State::Failed(_) => Some(None),
        }
    }

    /// Takes a connection in that a peer has opened, or resets it.
    pub(super) fn accept<F: Frame>(
        &mut self,
        sockets: &mut Sockets<'_, F>,
        connections: &mut Connections<F>,
        listener: ListenerId,
        id: ConnectionId,
    ) -> Option<Waker> {
        let place = self.open.get(&listener).and_then(|at| self.places[*at as usize].as_mut());
        let place = place.filter(|place| place.accepted.len() < BACKLOG as usize);
        let Some((place, handle)) = place.and_then(|place| Some((place, connections.accept(sockets, id)?)))
        else {
            sockets.abort(id);
            return None;
        };
        place.accepted.push_back(handle);
        place.waker.take()
    }

    fn close(&mut self, at: u32) {
        if let Some(place) = &mut self.places[at as usize] {
            place.waker = None;
            place.state = match place.state {
                State::Open(id) => State::Unwanted(Some(id)),
                _ => State::Unwanted(None),
            };
            if !self.marked.contains(&at) {
                self.marked.push(at);
            }
        }
    }
}

fn listen_error(error: ListenError) -> ErrorKind {
    match error {
        ListenError::InUse => ErrorKind::AddrInUse,
        ListenError::TooMany => ErrorKind::QuotaExceeded,
    }
}

/// Listens for connections on this core: each worker accepts those whose flows it owns. Dropping it
/// closes it, and resets the connections that were not accepted.
pub struct TcpListener<F: Frame> {
    net: Net<F>,
    at: u32,
}

impl<F: Frame> TcpListener<F> {
    /// Listens at an address of ours; the unspecified one stands for all.
    ///
    /// # Errors
    /// [`AddrInUse`](ErrorKind::AddrInUse), [`QuotaExceeded`](ErrorKind::QuotaExceeded).
    pub async fn bind(net: &Net<F>, address: SocketAddrV4) -> io::Result<Self> {
        let at = net.shared.listeners.borrow_mut().insert(address);
        let listener = TcpListener { net: net.clone(), at };
        std::future::poll_fn(|cx| {
            listener.with(|place| match place.state {
                State::Open(_) => Poll::Ready(Ok(())),
                State::Failed(kind) => Poll::Ready(Err(kind.into())),
                State::Wanted(_) | State::Unwanted(_) => {
                    place.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await
        .map(|()| listener)
    }

    /// Waits for a connection. One task at a time may wait. Of a future that is dropped nothing is lost.
    ///
    /// # Errors
    /// None, for now.
    pub async fn accept(&self) -> io::Result<TcpStream<F>> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`accept`](Self::accept).
    ///
    /// # Errors
    /// None, for now.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream<F>>> {
        let handle = self.with(|place| {
            let handle = place.accepted.pop_front();
            if handle.is_none() {
                place.waker = Some(cx.waker().clone());
            }
            handle
        });
        handle.map_or(Poll::Pending, |handle| Poll::Ready(Ok(TcpStream::new(self.net.clone(), handle))))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Place) -> T) -> T {
        let mut listeners = self.net.shared.listeners.borrow_mut();
        look(listeners.places[self.at as usize].as_mut().expect("a listener has its place"))
    }
}

impl<F: Frame> Drop for TcpListener<F> {
    fn drop(&mut self) {
        self.net.shared.listeners.borrow_mut().close(self.at);
    }
}

//! Programs on the stack: what a worker tells them, and what they may ask of it.
//!
//! An [`App`] has one instance on each worker, which owns it: no lock, no other thread. It is told of what
//! happened in batches of [`Event`]s, and acts by [`Sockets`]. Bytes move by value both ways: what was received
//! is an owned reference to the frame it came in, and may be sent as it is; what a program writes itself goes
//! into a [`TxBuf`]; what stays for ever, or can be made again, is sent as [`Content`] that takes up no memory.

pub mod chargen;
pub mod discard;
pub mod echo;
pub mod http;
pub mod load;
mod services;
mod sockets;
mod txbuf;

use tcp::connection::News;
use tcp::shard::{ConnectionId, ListenerId};
use tcp::udp::SocketId;
use wire::{Frame, Instant};

pub use services::{HttpServer, Services};
pub use sockets::Sockets;
pub(crate) use sockets::{Owners, Source};
pub use tcp::{Content, Produce, Pulled};
pub use txbuf::TxBuf;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A peer has opened a connection to this listener: it is the program's from now on.
    Accepted(ListenerId, ConnectionId),
    /// Something happened to a connection. It is told once for all that happened since it was told last:
    /// after [`News::READABLE`], read until there is nothing; after [`News::CLOSED`], close the handle.
    Connection(ConnectionId, News),
    /// Datagrams wait in this socket. It is told once: read until there are none.
    Datagrams(SocketId),
}

/// Why a program cannot start: one sentence.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A program, as one worker runs it. `F` is what the device's frames are; what is received are their
/// payloads.
pub trait App<F: Frame> {
    /// Opens what the program listens on. Called once, before the worker runs. Every worker has a listener
    /// of its own at the same address: each accepts the connections whose flows it owns.
    ///
    /// # Errors
    /// [`StartError`]: the engine does not start.
    fn start(&mut self, sockets: &mut Sockets<'_, F>) -> Result<(), StartError>;

    /// What happened since the last call, oldest first.
    fn handle_events(&mut self, sockets: &mut Sockets<'_, F>, events: &[Event]);

    /// The process is asked to stop. Called once; nobody listens any more. Each connection of the program's
    /// comes to [`stop_connection`](Self::stop_connection) then, some in each loop, and events go on. The
    /// process ends when no connection is open (those in TIME-WAIT do not count), or when the time that the
    /// configuration gives is over: what is open then is reset.
    fn stop(&mut self, _sockets: &mut Sockets<'_, F>) {}

    /// Finishes what was begun on a connection, and closes it: at once, or later. Without a method of its own,
    /// the program can send no more; the peer gets what is queued, and then a FIN.
    fn stop_connection(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        sockets.shutdown(id);
    }

    /// When [`poll`](Self::poll) is to be called, whatever happens until then.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Called once in each loop in which [`next_deadline`](Self::next_deadline) has come.
    fn poll(&mut self, _sockets: &mut Sockets<'_, F>) {}
}

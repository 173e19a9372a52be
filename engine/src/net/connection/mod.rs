//! A connection, as its task and the executor share it: what was received ahead, what waits to be sent, who waits.

mod table;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::task::Waker;

use tcp::connection::Error;
use tcp::connection::info::Info;
use tcp::shard::{ConnectionId, Received};
use wire::{Frame, Payload};

use super::buffers::SendBuf;
use crate::app::Sockets;

pub(super) use table::Connections;

/// Payloads of a connection that are received ahead of its task, at most.
const RECEIVE_AHEAD: usize = 8;
/// Payloads of a connection that wait for the send queue, at most.
pub(super) const SEND_AHEAD: usize = 8;

/// A connection's place, and how often it had been given out before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    at: u32,
    generation: u32,
}

/// What nobody receives after.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer's FIN.
    Fin,
    Error(ErrorKind),
}

/// How the task gave the connection up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Not,
    /// What is queued is sent, and then a FIN.
    Up,
    /// A reset.
    Off,
}

/// Those who wait for what a pump has done.
pub(super) type Woken = [Option<Waker>; 3];

/// A connection's state.
pub(super) struct Connection<F: Frame> {
    generation: u32,
    /// Its name in the core's TCP, once there is one.
    id: Option<ConnectionId>,
    /// To whom it is to be opened.
    connect: Option<SocketAddrV4>,
    pub(super) connected: bool,
    /// It waits to be pumped.
    marked: bool,
    pub(super) received: VecDeque<F::Payload>,
    /// TCP may have more.
    readable: bool,
    /// The process stops: once TCP has nothing, that is the end.
    stopping: bool,
    pub(super) end: Option<End>,
    pub(super) queued: VecDeque<SendBuf<F>>,
    /// TCP's send queue is full.
    blocked: bool,
    /// Our side is to be closed after what is queued, or is closed.
    shut: bool,
    fin_given: bool,
    nodelay: Option<bool>,
    given: Given,
    /// Payloads and bytes to be given back to the window.
    credit: (u32, u32),
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Who asks for a look, and what was seen.
    pub(super) looker: Option<Waker>,
    pub(super) look: Option<Box<Info>>,
}

impl<F: Frame> Connection<F> {
    fn new() -> Self {
        Connection {
            generation: 0,
            id: None,
            connect: None,
            connected: false,
            marked: false,
            received: VecDeque::new(),
            readable: false,
            stopping: false,
            end: None,
            queued: VecDeque::new(),
            blocked: false,
            shut: false,
            fin_given: false,
            nodelay: None,
            given: Given::Not,
            credit: (0, 0),
            reader: None,
            writer: None,
            looker: None,
            look: None,
        }
    }

    /// Why nothing can be sent any more, if that is so.
    pub(super) fn send_error(&self) -> Option<ErrorKind> {
        match self.end {
            Some(End::Error(kind)) => Some(kind),
            _ => self.shut.then_some(ErrorKind::BrokenPipe),
        }
    }

    pub(super) fn wait_to_read(&mut self, waker: &Waker) {
        wait(&mut self.reader, waker);
    }

    pub(super) fn wait_to_write(&mut self, waker: &Waker) {
        wait(&mut self.writer, waker);
    }

    pub(super) fn wait_for_look(&mut self, waker: &Waker) {
        wait(&mut self.looker, waker);
    }

    /// It is over.
    fn fail(&mut self, kind: ErrorKind) {
        self.end = Some(End::Error(kind));
        self.readable = false;
    }

    /// Takes from TCP what there is room for.
    fn receive(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        while self.readable && self.received.len() < RECEIVE_AHEAD {
            match sockets.receive(id) {
                Received::Bytes(bytes) => self.received.push_back(bytes),
                Received::Nothing => {
                    self.readable = false;
                    self.end = self.stopping.then_some(End::Fin);
                }
                Received::End | Received::Closed(None) => {
                    self.readable = false;
                    self.end = Some(End::Fin);
                }
                Received::Closed(Some(error)) => self.fail(error_kind(error)),
            }
        }
    }

    /// The process stops, and the task was told an end that the peer has not sent. What still comes is dropped: a
    /// reset for it would take away what was sent last. Gives whether the peer has closed, too.
    fn linger(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) -> bool {
        if !std::mem::replace(&mut self.fin_given, true) {
            sockets.shutdown(id);
        }
        for bytes in self.received.drain(..) {
            sockets.credit(id, 1, bytes.len() as u32);
        }
        matches!(sockets.drop_received(id), Received::End | Received::Closed(_))
    }

    /// Those whose waiting is over.
    fn woken(&mut self) -> Woken {
        let over = matches!(self.end, Some(End::Error(_)));
        let can_read = !self.received.is_empty() || self.end.is_some();
        let can_write = self.queued.len() < SEND_AHEAD && self.connected || self.shut || over;
        [
            self.reader.take_if(|_| can_read),
            self.writer.take_if(|_| can_write),
            self.looker.take_if(|_| self.id.is_some() || over),
        ]
    }
}

fn wait(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) => kept.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

/// What standard IO calls it.
const fn error_kind(error: Error) -> ErrorKind {
    match error {
        Error::Refused => ErrorKind::ConnectionRefused,
        Error::Reset => ErrorKind::ConnectionReset,
        Error::TimedOut => ErrorKind::TimedOut,
        Error::HostUnreachable => ErrorKind::HostUnreachable,
        Error::NetUnreachable => ErrorKind::NetworkUnreachable,
        Error::Aborted => ErrorKind::ConnectionAborted,
    }
}

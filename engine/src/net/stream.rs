//! TCP connections.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;
use std::task::{Context, Poll};

use tcp::connection::info::Info;
use wire::{Frame, Payload};

use super::Net;
use super::buffers::{Credit, RxBuf, SendBuf};
use super::connection::{Connection, End, Handle, SEND_AHEAD};

/// A TCP connection.
///
/// All methods take `&self`: one task may read while another writes, by an `Rc` or within one task. At most one
/// waits for each.
///
/// Dropping it closes it, as Linux does: what was given to [`send`](Self::send) is sent, and then a FIN; but
/// if there are bytes that were received and not read, the peer is told by a reset that they are lost.
pub struct TcpStream<F: Frame> {
    net: Net<F>,
    handle: Handle,
    /// It ends with a reset.
    reset: bool,
}

impl<F: Frame> TcpStream<F> {
    pub(super) fn new(net: Net<F>, handle: Handle) -> Self {
        TcpStream { net, handle, reset: false }
    }

    /// Opens a connection, from the address that the route to `remote` starts from, and a port whose answers
    /// come to this core. If it is dropped before it is ready, the connection is given up.
    ///
    /// # Errors
    /// [`ConnectionRefused`](ErrorKind::ConnectionRefused), [`TimedOut`](ErrorKind::TimedOut),
    /// [`HostUnreachable`](ErrorKind::HostUnreachable), [`NetworkUnreachable`](ErrorKind::NetworkUnreachable);
    /// [`AddrNotAvailable`](ErrorKind::AddrNotAvailable) if `remote` is no host's address;
    /// [`AddrInUse`](ErrorKind::AddrInUse) if no port is free, [`QuotaExceeded`](ErrorKind::QuotaExceeded) if
    /// there are as many connections as there may be.
    pub async fn connect(net: &Net<F>, remote: SocketAddrV4) -> io::Result<Self> {
        let handle = net.shared.connections.borrow_mut().connect(remote).ok_or(ErrorKind::QuotaExceeded)?;
        let stream = TcpStream::new(net.clone(), handle);
        poll_fn(|cx| {
            stream.with(|connection| match connection.end {
                Some(End::Error(kind)) => Poll::Ready(Err(kind.into())),
                _ if connection.connected => Poll::Ready(Ok(())),
                _ => {
                    connection.wait_to_write(cx.waker());
                    Poll::Pending
                }
            })
        })
        .await
        .map(|()| stream)
    }

    /// Waits for bytes. `None` once the peer has closed its side and all before that was read. Of a future that
    /// is dropped nothing is lost.
    ///
    /// # Errors
    /// How the connection ended, if not in order, like [`ConnectionReset`](ErrorKind::ConnectionReset).
    pub async fn recv(&self) -> io::Result<Option<RxBuf<F>>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv).
    ///
    /// # Errors
    /// As of [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<RxBuf<F>>>> {
        let mut connections = self.net.shared.connections.borrow_mut();
        if let Some(bytes) = connections.take_received(self.handle) {
            let credit = Credit::new(&self.net.shared, self.handle, bytes.len() as u32);
            return Poll::Ready(Ok(Some(RxBuf::new(bytes, credit))));
        }
        let connection = connections.get(self.handle);
        match connection.end {
            Some(End::Fin) => Poll::Ready(Ok(None)),
            Some(End::Error(kind)) => Poll::Ready(Err(kind.into())),
            None => {
                connection.wait_to_read(cx.waker());
                Poll::Pending
            }
        }
    }

    /// Queues bytes for sending; none is copied. It waits while the queue is full; of a future that is
    /// dropped meanwhile no byte is sent.
    ///
    /// # Errors
    /// How the connection ended; [`BrokenPipe`](ErrorKind::BrokenPipe) if the peer, or this side, will have no
    /// more of it.
    pub async fn send(&self, bytes: impl Into<SendBuf<F>>) -> io::Result<()> {
        poll_fn(|cx| self.poll_ready(cx)).await?;
        self.queue(bytes.into());
        Ok(())
    }

    /// Queues bytes, once [`poll_ready`](Self::poll_ready) has said that there is room.
    pub(super) fn queue(&self, bytes: SendBuf<F>) {
        self.net.shared.connections.borrow_mut().queue(self.handle, bytes);
    }

    pub(super) fn net(&self) -> &Net<F> {
        &self.net
    }

    /// Waits until [`send`](Self::send) need not wait.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|connection| {
            if let Some(kind) = connection.send_error() {
                return Poll::Ready(Err(kind.into()));
            }
            if connection.queued.len() < SEND_AHEAD {
                return Poll::Ready(Ok(()));
            }
            connection.wait_to_write(cx.waker());
            Poll::Pending
        })
    }

    /// Closes our side, after what is queued. Receiving goes on.
    pub fn shutdown(&self) {
        self.net.shared.connections.borrow_mut().shutdown(self.handle);
    }

    /// Closes our side, and waits until the peer has closed its own and so has all that we sent, or the
    /// connection has failed. What still comes is not read: unlike with a drop, it is no reason for a reset.
    ///
    /// # Errors
    /// How the connection ended, if not in order.
    pub async fn close(self) -> io::Result<()> {
        self.shutdown();
        while self.recv().await?.is_some() {}
        Ok(())
    }

    /// Ends the connection with a reset.
    pub fn abort(mut self) {
        self.reset = true;
    }

    /// Whether small segments are sent at once (no Nagle). It is off at first, as elsewhere.
    pub fn set_nodelay(&self, on: bool) {
        self.net.shared.connections.borrow_mut().set_nodelay(self.handle, on);
    }

    /// A look at the connection: addresses, state, windows, round-trip times.
    ///
    /// # Errors
    /// [`NotConnected`](ErrorKind::NotConnected) if it is over.
    pub async fn info(&self) -> io::Result<Info> {
        let mut asked = false;
        poll_fn(|cx| {
            let mut connections = self.net.shared.connections.borrow_mut();
            let connection = connections.get(self.handle);
            // Polled before the executor has passed, it waits on.
            if std::mem::replace(&mut asked, true) && connection.looker.is_none() {
                let look = connection.look.take();
                return Poll::Ready(look.map(|look| *look).ok_or(ErrorKind::NotConnected.into()));
            }
            connections.ask(self.handle, cx.waker());
            Poll::Pending
        })
        .await
    }

    fn with<T>(&self, look: impl FnOnce(&mut Connection<F>) -> T) -> T {
        look(self.net.shared.connections.borrow_mut().get(self.handle))
    }
}

impl<F: Frame> Drop for TcpStream<F> {
    fn drop(&mut self) {
        self.net.shared.connections.borrow_mut().give_up(self.handle, self.reset);
    }
}

//! Programs as tasks: `async` sockets, timers and tasks on a worker's own core.
//!
//! ```
//! # use std::{io, net::{Ipv4Addr, SocketAddrV4}};
//! # use engine::net::{Net, TcpListener};
//! async fn echo<F: wire::Frame + 'static>(net: Net<F>) -> io::Result<()> {
//!     let here = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 7);
//!     let listener = TcpListener::bind(&net, here).await?;
//!     loop {
//!         let stream = listener.accept().await?;
//!         net.spawn_local(async move {
//!             while let Some(bytes) = stream.recv().await? {
//!                 stream.send(bytes).await?;
//!             }
//!             io::Result::Ok(())
//!         })?;
//!     }
//! }
//! ```
//!
//! An [`Executor`] is an [`App`](crate::app::App): it has an instance on each worker, is told of events, and
//! runs the tasks that they wake between the packets that came in and those that go out, in the same
//! loop. Tasks stay on their core, so they need not be `Send`, and share what they like by `Rc`.
//!
//! A task has no [`Sockets`](crate::app::Sockets): those are lent to the program for one call. It has a
//! place of its connection's (`connection`), with a few payloads that were received ahead and a few that
//! wait to be sent. The executor pumps the places that were touched, after each round of tasks: it
//! gives TCP what is queued, takes what TCP has, and wakes who waits for either. That needs neither
//! `unsafe` nor a lock, and an exchange allocates nothing: places keep their memory, a task is woken by a bit
//! (`wakes`), and payload moves by value. What is received is pinned by its window, what is sent waits here
//! only while TCP's send queue is full: eight payloads each.
//!
//! Whatever waits may be dropped instead (by [`timeout`](Net::timeout), or by `select!` of some crate):
//! [`recv`](TcpStream::recv), [`accept`](TcpListener::accept) and [`recv_from`](UdpSocket::recv_from) have
//! then taken nothing, and [`send`](TcpStream::send) and [`send_to`](UdpSocket::send_to) have sent nothing.

mod buffers;
mod connection;
mod copying;
mod executor;
mod listener;
mod resolver;
mod stream;
mod tasks;
mod timers;
mod udp;
mod wakes;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use wire::{Frame, Instant};

use crate::app::TxBuf;

pub use buffers::{RxBuf, SendBuf};
pub use copying::Copying;
pub use executor::Executor;
pub use listener::TcpListener;
pub use resolver::{DNS_PORT, LookupError, Resolver};
pub use stream::TcpStream;
pub use tasks::{Aborted, JoinHandle};
pub use tcp::udp::Received as Datagram;
pub use timers::{Elapsed, Sleep};
pub use udp::UdpSocket;

use buffers::Stock;
use connection::Connections;
use listener::Listeners;
use tasks::Tasks;
use timers::Timers;
use udp::UdpSockets;

/// What tasks and executor share.
struct Shared<F: Frame> {
    now: Cell<Instant>,
    tasks: Rc<Tasks>,
    timers: RefCell<Timers>,
    connections: RefCell<Connections<F>>,
    listeners: RefCell<Listeners>,
    udp: RefCell<UdpSockets<F>>,
    stock: RefCell<Stock<F>>,
    /// Bytes that adapters copied and nobody has counted.
    copied: Cell<u64>,
}

/// A worker's network, for the tasks on it.
pub struct Net<F: Frame> {
    shared: Rc<Shared<F>>,
}

impl<F: Frame> Clone for Net<F> {
    fn clone(&self) -> Self {
        Net { shared: self.shared.clone() }
    }
}

impl<F: Frame> Net<F> {
    /// The time, read once a loop.
    pub fn now(&self) -> Instant {
        self.shared.now.get()
    }

    /// Starts a task on this core, which runs soon.
    ///
    /// # Errors
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) if there are as many as there may be.
    pub fn spawn_local<T: 'static>(
        &self,
        task: impl Future<Output = T> + 'static,
    ) -> io::Result<JoinHandle<T>> {
        self.shared.tasks.spawn(task).ok_or(io::ErrorKind::QuotaExceeded.into())
    }

    /// A buffer to be filled and sent, of a frame of this worker's. Waits while there is none.
    pub async fn alloc(&self) -> TxBuf<F> {
        std::future::poll_fn(|cx| self.poll_alloc(cx)).await
    }

    fn poll_alloc(&self, cx: &mut Context<'_>) -> Poll<TxBuf<F>> {
        match self.shared.stock.borrow_mut().take() {
            Some(buffer) => Poll::Ready(buffer),
            None => {
                // There is one when the executor has passed, or the pool is empty, which passes.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// An adapter has copied so many bytes.
    fn count_copied(&self, bytes: usize) {
        self.shared.copied.set(self.shared.copied.get() + bytes as u64);
    }

    /// Waits for a time: not shorter, and 0.1 ms longer at most if the core is not busy.
    pub fn sleep(&self, time: Duration) -> Sleep<F> {
        Sleep::new(self.clone(), self.now() + time)
    }

    /// Waits for `future`, but not longer than `time`: it is dropped then.
    ///
    /// # Errors
    /// [`Elapsed`].
    pub async fn timeout<T>(&self, time: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
        let (mut future, mut sleep) = (pin!(future), pin!(self.sleep(time)));
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }
}

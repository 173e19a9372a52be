//! For crates that read and write by slices: tokio's traits, with a copy each way.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::{Frame, Payload};

use super::{RxBuf, TcpStream};

/// A connection with tokio's [`AsyncRead`] and [`AsyncWrite`], so that what is written for those runs on it: hyper,
/// rustls. Every byte is copied, out of the frame that it came in or into the one it leaves in; the counter
/// `payload-bytes-copied` tells how many were. Nothing of tokio runs here.
pub struct Copying<F: Frame> {
    stream: TcpStream<F>,
    /// What was received and not read to its end.
    rest: Option<RxBuf<F>>,
}

impl<F: Frame> Copying<F> {
    /// Reads and writes on `stream`.
    pub fn new(stream: TcpStream<F>) -> Self {
        Copying { stream, rest: None }
    }
}

/// Nothing in it is ever pinned.
impl<F: Frame> Unpin for Copying<F> {}

impl<F: Frame> AsyncRead for Copying<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.rest.is_none() {
            this.rest = ready!(this.stream.poll_recv(cx))?;
        }
        if let Some(bytes) = &mut this.rest {
            let chunk = bytes.chunk(0);
            let n = chunk.len().min(out.remaining());
            out.put_slice(&chunk[..n]);
            this.stream.net().count_copied(n);
            bytes.advance(n);
            if bytes.is_empty() {
                this.rest = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<F: Frame> AsyncWrite for Copying<F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.stream.poll_ready(cx))?;
        let mut buffer = ready!(self.stream.net().poll_alloc(cx));
        let n = buffer.write(bytes)?;
        self.stream.net().count_copied(n);
        self.stream.queue(buffer.into());
        Poll::Ready(Ok(n))
    }

    /// Nothing waits here: what is written is sent as soon as the peer and the network let it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.shutdown();
        Poll::Ready(Ok(()))
    }
}

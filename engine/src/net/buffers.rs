//! Bytes that tasks own: received ones, and those to be sent.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use wire::Frame;

use super::Shared;
use super::connection::Handle;
use crate::app::{Content, Pulled, Sockets, TxBuf};

/// Bytes that were received, in the memory that the device put them into. It reads like any
/// [`Payload`](wire::Payload).
///
/// They count against their connection's window, which opens again once this is dropped; or, if it is sent,
/// once the send queue has taken it.
pub struct RxBuf<F: Frame> {
    bytes: F::Payload,
    credit: Credit<F>,
}

impl<F: Frame> RxBuf<F> {
    pub(super) fn new(bytes: F::Payload, credit: Credit<F>) -> Self {
        RxBuf { bytes, credit }
    }
}

impl<F: Frame> Deref for RxBuf<F> {
    type Target = F::Payload;

    fn deref(&self) -> &F::Payload {
        &self.bytes
    }
}

impl<F: Frame> DerefMut for RxBuf<F> {
    fn deref_mut(&mut self) -> &mut F::Payload {
        &mut self.bytes
    }
}

/// One payload's share of a receive window: given back when this is dropped.
pub(super) struct Credit<F: Frame> {
    shared: Rc<Shared<F>>,
    of: Handle,
    bytes: u32,
}

impl<F: Frame> Credit<F> {
    pub(super) fn new(shared: &Rc<Shared<F>>, of: Handle, bytes: u32) -> Self {
        Credit { shared: shared.clone(), of, bytes }
    }

    /// Whose it is, and how many bytes: whoever takes this gives it back.
    pub(super) fn take(mut self) -> (Handle, u32) {
        (self.of, std::mem::take(&mut self.bytes))
    }
}

impl<F: Frame> Drop for Credit<F> {
    fn drop(&mut self) {
        if self.bytes != 0 {
            self.shared.connections.borrow_mut().credit(self.of, self.bytes);
        }
    }
}

/// What is sent: what was received, or a [`TxBuf`] that was filled; for a connection also bytes that stay for
/// ever, and those that can be made again ([`Content`]). None of it is copied.
pub struct SendBuf<F: Frame> {
    pub(super) content: Content<F::Payload>,
    pub(super) credit: Option<Credit<F>>,
}

impl<F: Frame> From<Content<F::Payload>> for SendBuf<F> {
    fn from(content: Content<F::Payload>) -> Self {
        SendBuf { content, credit: None }
    }
}

impl<F: Frame> From<RxBuf<F>> for SendBuf<F> {
    fn from(received: RxBuf<F>) -> Self {
        SendBuf { content: received.bytes.into(), credit: Some(received.credit) }
    }
}

impl<F: Frame> From<TxBuf<F>> for SendBuf<F> {
    fn from(filled: TxBuf<F>) -> Self {
        Content::Bytes(filled.freeze()).into()
    }
}

impl<F: Frame> From<&'static [u8]> for SendBuf<F> {
    fn from(bytes: &'static [u8]) -> Self {
        Content::Static(bytes).into()
    }
}

impl<F: Frame> From<Pulled> for SendBuf<F> {
    fn from(pulled: Pulled) -> Self {
        Content::Pulled(pulled).into()
    }
}

/// Writable buffers that tasks take: they cannot ask the worker's pool.
pub(super) struct Stock<F: Frame> {
    buffers: Vec<TxBuf<F>>,
    /// Whether anybody has ever asked: others pin no frames.
    wanted: bool,
}

impl<F: Frame> Stock<F> {
    /// Buffers that are kept ready.
    const READY: usize = 16;

    pub(super) fn new() -> Self {
        Stock { buffers: Vec::with_capacity(Self::READY), wanted: false }
    }

    pub(super) fn take(&mut self) -> Option<TxBuf<F>> {
        self.wanted = true;
        self.buffers.pop()
    }

    /// Fills up.
    pub(super) fn refill(&mut self, sockets: &mut Sockets<'_, F>) {
        while self.wanted
            && self.buffers.len() < Self::READY
            && let Some(buffer) = sockets.alloc()
        {
            self.buffers.push(buffer);
        }
    }

    pub(super) fn clear(&mut self) {
        self.buffers.clear();
    }
}

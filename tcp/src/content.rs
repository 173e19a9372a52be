//! What is given for sending: by reference, or as the promise to make it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use wire::Payload;

/// Something that can make the same bytes again, whenever they are to be sent, or sent again.
pub trait Produce: Send + Sync {
    /// Fills `out` with the bytes from `offset` on. The same ones at the same offset every time: a peer that
    /// gets a byte twice may take it from either segment. Called by the worker as it sends: it must not
    /// wait, nor allocate.
    fn fill(&self, offset: u64, out: &mut [u8]);
}

/// A range of what somebody can produce.
#[derive(Clone)]
pub struct Pulled {
    producer: Arc<dyn Produce>,
    range: Range<u64>,
}

impl Pulled {
    /// The bytes in `range` of what `producer` makes. The last reference to the producer may be dropped by a
    /// worker: who cares keeps one.
    pub fn new(producer: Arc<dyn Produce>, range: Range<u64>) -> Self {
        Pulled { producer, range }
    }

    /// Fills `out` with the bytes from `offset` of the range on.
    pub fn fill(&self, offset: u64, out: &mut [u8]) {
        self.producer.fill(self.range.start + offset, out);
    }
}

impl fmt::Debug for Pulled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulled").field("range", &self.range).finish_non_exhaustive()
    }
}

/// What is given for sending. None of it is copied.
#[derive(Debug)]
pub enum Content<B> {
    /// Bytes of a frame that was given up. They take up the send buffer until they are acknowledged.
    Bytes(B),
    /// Bytes that stay for ever, of any length: sent by reference. They take up no send buffer, and a frame
    /// only while a device sends it.
    Static(&'static [u8]),
    /// Bytes that are made in the frame each time it is sent. They take up no memory at all until then.
    Pulled(Pulled),
}

impl<B: Payload> From<B> for Content<B> {
    fn from(bytes: B) -> Self {
        Content::Bytes(bytes)
    }
}

impl<B> From<Pulled> for Content<B> {
    fn from(pulled: Pulled) -> Self {
        Content::Pulled(pulled)
    }
}

impl<B: Payload> Content<B> {
    /// How many bytes it is.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Static(bytes) => bytes.len() as u64,
            Content::Pulled(pulled) => pulled.range.end.saturating_sub(pulled.range.start),
        }
    }

    /// Whether it is no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies bytes from `offset` on into `out`, of which it has as many: for who cannot send by reference.
    pub fn copy_out(&self, offset: usize, out: &mut [u8]) {
        match self {
            Content::Bytes(bytes) => {
                bytes.copy_out(offset, out);
            }
            Content::Static(bytes) => out.copy_from_slice(&bytes[offset..offset + out.len()]),
            Content::Pulled(pulled) => pulled.fill(offset as u64, out),
        }
    }

    /// Whether it keeps memory from others until it is acknowledged.
    pub(crate) fn takes_buffer(&self) -> bool {
        matches!(self, Content::Bytes(_))
    }

    /// Keeps the first `len` bytes and gives the others. Bytes of a frame are not divided: all or none.
    pub(crate) fn split_off(&mut self, len: u32) -> Option<Self> {
        if self.len() <= u64::from(len) {
            return None;
        }
        match self {
            Content::Bytes(_) => None,
            Content::Static(bytes) => {
                let (first, rest) = bytes.split_at(len as usize);
                *bytes = first;
                Some(Content::Static(rest))
            }
            Content::Pulled(pulled) => {
                let at = pulled.range.start + u64::from(len);
                let rest = at..std::mem::replace(&mut pulled.range.end, at);
                Some(Content::Pulled(Pulled { producer: Arc::clone(&pulled.producer), range: rest }))
            }
        }
    }
}

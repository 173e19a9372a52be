//! Payload on the heap.

use std::ops::Range;
use std::sync::Arc;

use wire::Payload;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bytes {
    memory: Arc<[u8]>,
    range: Range<usize>,
}

impl Bytes {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Bytes { memory: bytes.into(), range: 0..bytes.len() }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }
}

impl Payload for Bytes {
    fn len(&self) -> usize {
        self.range.len()
    }

    fn chunk(&self, offset: usize) -> &[u8] {
        self.as_slice().get(offset..).unwrap_or(&[])
    }

    fn advance(&mut self, n: usize) {
        self.range.start += n.min(self.range.len());
    }

    fn truncate(&mut self, len: usize) {
        self.range.end = self.range.start + len.min(self.range.len());
    }
}

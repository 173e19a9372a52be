//! Bytes that sockets send and receive, as payload.

use std::ops::Range;
use std::sync::Arc;

use wire::Payload;

/// A range of bytes on the heap, which several may refer to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bytes {
    memory: Arc<[u8]>,
    range: Range<usize>,
}

impl Bytes {
    /// A copy of `bytes`.
    pub(crate) fn copy(bytes: &[u8]) -> Self {
        Bytes { memory: bytes.into(), range: 0..bytes.len() }
    }
}

impl Payload for Bytes {
    fn len(&self) -> usize {
        self.range.len()
    }

    fn chunk(&self, offset: usize) -> &[u8] {
        self.memory[self.range.clone()].get(offset..).unwrap_or_default()
    }

    fn advance(&mut self, n: usize) {
        self.range.start += n.min(self.range.len());
    }

    fn truncate(&mut self, len: usize) {
        self.range.end = self.range.start + len.min(self.range.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let mut bytes = Bytes::copy(b"hello, world");
        bytes.advance(7);
        bytes.truncate(4);
        assert_eq!((bytes.len(), bytes.chunk(1), bytes.chunk(4)), (4, &b"orl"[..], &b""[..]));
        bytes.advance(9);
        assert_eq!((bytes.len(), bytes.chunk(0)), (0, &b""[..]));
    }
}

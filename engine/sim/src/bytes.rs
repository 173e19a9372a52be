//! Payload on the heap, for tests that need no pool.

use std::ops::Range;
use std::sync::Arc;

use wire::Payload;

/// Payload on the heap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bytes {
    memory: Arc<[u8]>,
    range: Range<usize>,
}

impl Bytes {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        Bytes { memory: bytes.into(), range: 0..bytes.len() }
    }

    /// The bytes of the range.
    pub fn as_slice(&self) -> &[u8] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_payload() {
        let mut bytes = Bytes::new(b"hello, world");
        bytes.advance(7);
        bytes.truncate(4);
        let mut out = [0; 8];
        assert_eq!((bytes.copy_out(1, &mut out), &out[..3], bytes.chunk(4)), (3, &b"orl"[..], &b""[..]));
        bytes.advance(100);
        assert!(bytes.is_empty());
    }
}

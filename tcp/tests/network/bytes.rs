//! Payload whose memory is counted, and streams whose every byte is known.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wire::Payload;

/// How many pieces of memory are alive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<AtomicUsize>);

impl Ledger {
    /// Pieces of memory that somebody refers to.
    pub(crate) fn live(&self) -> usize {
        self.0.load(Relaxed)
    }
}

#[derive(Debug)]
struct Memory {
    bytes: Box<[u8]>,
    ledger: Ledger,
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.ledger.0.fetch_sub(1, Relaxed);
    }
}

/// A range of counted memory.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    memory: Arc<Memory>,
    range: Range<usize>,
}

impl Bytes {
    /// Takes `bytes` over, and counts them in `ledger`.
    pub(crate) fn new(bytes: Vec<u8>, ledger: &Ledger) -> Self {
        ledger.0.fetch_add(1, Relaxed);
        let range = 0..bytes.len();
        Bytes { memory: Arc::new(Memory { bytes: bytes.into(), ledger: ledger.clone() }), range }
    }

    /// The bytes of the range.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.memory.bytes[self.range.clone()]
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

/// An endless stream of bytes, each of which follows from its place: one that is missing, doubled or
/// misplaced shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stream(pub(crate) u64);

impl Stream {
    fn word(self, index: u64) -> [u8; 8] {
        let mixed = (self.0 ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes()
    }

    /// The `len` bytes from `offset` on.
    pub(crate) fn bytes(self, offset: u64, len: usize) -> Vec<u8> {
        let skip = (offset % 8) as usize;
        let mut out = Vec::with_capacity(skip + len + 8);
        let mut index = offset / 8;
        while out.len() < skip + len {
            out.extend(self.word(index));
            index += 1;
        }
        out.truncate(skip + len);
        out.drain(..skip);
        out
    }

    /// The offset of the first byte of `bytes` that is not the stream's, where they are to start at
    /// `offset`.
    pub(crate) fn mismatch(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let word = &self.word(at / 8)[(at % 8) as usize..];
            let n = word.len().min(rest.len());
            if rest[..n] != word[..n] {
                let wrong = rest.iter().zip(word).take_while(|(a, b)| a == b).count();
                return Some(at + wrong as u64);
            }
            at += n as u64;
            rest = &rest[n..];
        }
        None
    }
}

impl tcp::Produce for Stream {
    fn fill(&self, offset: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes(offset, out.len()));
    }
}

#[test]
fn a_stream_knows_its_bytes() {
    let stream = Stream(7);
    let all = stream.bytes(0, 100);
    for offset in 0..50 {
        assert_eq!(stream.bytes(offset, 37), all[offset as usize..][..37]);
        assert_eq!(stream.mismatch(offset, &all[offset as usize..]), None);
    }
    let mut wrong = all.clone();
    wrong[61] ^= 1;
    assert_eq!(stream.mismatch(3, &wrong[3..]), Some(61));
    assert_eq!(stream.mismatch(0, &all[1..]), Some(0));
}

//! Segments and options.

use std::net::Ipv4Addr;

use tcp::{Checksum, Options, Segment};
use wire::Payload;

use crate::Bytes;

/// Payload of which few bytes lie together.
#[derive(Clone)]
struct Pieces(Bytes, usize);

impl Payload for Pieces {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self, offset: usize) -> &[u8] {
        let rest = self.0.chunk(offset);
        &rest[..rest.len().min(self.1 - offset % self.1)]
    }

    fn advance(&mut self, n: usize) {
        self.0.advance(n);
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// What is read lies in the input; what is read in pieces is the same; options that are written again read
/// the same.
pub fn check(input: &[u8]) {
    let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 2));
    let mut bytes = Bytes::new(input);
    let read = Segment::parse(src, dst, &mut bytes, Checksum::KnownGood);
    let mut pieces = Pieces(Bytes::new(input), 1 + input.len() % 7);
    assert_eq!(read, Segment::parse(src, dst, &mut pieces, Checksum::KnownGood));
    if let Ok(segment) = read {
        assert_eq!(segment.payload_len as usize, bytes.len());
        assert!(input.ends_with(bytes.as_slice()) && bytes.as_slice() == pieces.0.as_slice());
        let _ = tcp::reset_for(&segment);
    }
    let options = Options::parse(&input[..input.len().min(Options::MAX_LEN)]);
    let mut out = [0; Options::MAX_LEN];
    let len = options.write(&mut out);
    assert!(len == options.len() && len.is_multiple_of(4));
    let mut again = Options::parse(&out[..len]);
    // Blocks that had no room were left out.
    assert!(options.sack.as_slice().starts_with(again.sack.as_slice()));
    again.sack = options.sack;
    assert_eq!(again, options);
}

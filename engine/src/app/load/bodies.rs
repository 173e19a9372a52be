//! Hashes of contents, as they come.

use sha2::{Digest, Sha256};

/// SHA-256.
pub(super) type Hash = [u8; 32];

/// A hash for each connection, of what has come of its answer's content.
#[derive(Debug)]
pub(super) struct Bodies(Box<[Sha256]>);

impl Bodies {
    /// For so many connections.
    pub(super) fn new(connections: u32) -> Self {
        Bodies(vec![Sha256::new(); connections as usize].into_boxed_slice())
    }

    pub(super) fn add(&mut self, at: u32, bytes: &[u8]) {
        self.0[at as usize].update(bytes);
    }

    /// The hash of the whole. The next content begins.
    pub(super) fn end(&mut self, at: u32) -> Hash {
        self.0[at as usize].finalize_reset().into()
    }

    /// The content will not come to its end.
    pub(super) fn drop(&mut self, at: u32) {
        self.0[at as usize].reset();
    }
}

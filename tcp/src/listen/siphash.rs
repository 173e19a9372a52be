//! SipHash-2-4 over a few words: the keyed hash behind everything that a stranger must not guess.
//!
//! Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.

use std::fmt;
use std::net::SocketAddrV4;

/// What a hash of a flow is for. One key may serve all: their hashes have nothing to do with each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Initial sequence numbers.
    Isn,
    /// Offsets of the timestamps clock.
    TimestampOffset,
    /// SYN cookies.
    SynCookie,
    /// Buckets of the SYN queue.
    SynQueue,
    /// Where the search for a source port begins.
    SourcePort,
}

/// A key of 128 secret bits.
#[derive(Clone, Copy)]
pub(crate) struct SipKey {
    k0: u64,
    k1: u64,
}

impl SipKey {
    /// The key of these bytes.
    pub(crate) const fn new(key: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(key);
        SipKey { k0: both as u64, k1: (both >> 64) as u64 }
    }

    /// The hash of a flow and of `more`.
    pub(crate) fn hash_flow(
        &self,
        purpose: Purpose,
        local: SocketAddrV4,
        remote: SocketAddrV4,
        more: u64,
    ) -> u64 {
        let pair = |local: u32, remote: u32| u64::from(local) << 32 | u64::from(remote);
        let addresses = pair(local.ip().to_bits(), remote.ip().to_bits());
        let ports = pair(local.port().into(), remote.port().into());
        // Ports leave the top 16 bits free.
        self.hash([addresses, ports | (purpose as u64) << 48, more])
    }

    /// The hash of the words' bytes, each word's lowest byte first.
    fn hash<const N: usize>(&self, words: [u64; N]) -> u64 {
        let mut v = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        let length = (8 * N as u64) << 56;
        for word in words.into_iter().chain([length]) {
            v[3] ^= word;
            v = round(round(v));
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        let v = round(round(round(round(v))));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

impl fmt::Debug for SipKey {
    /// Does not give the key away.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SipKey")
    }
}

#[inline]
fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32).wrapping_add(d);
    c = c.wrapping_add(b);
    d = d.rotate_left(21) ^ a;
    b = b.rotate_left(17) ^ c;
    [a, b, c.rotate_left(32), d]
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;
    use crate::segment::tests::{DST, SRC};

    /// The paper's: the key is the bytes 0 to 15, the input the bytes 0 to its length.
    #[test]
    fn reference_vectors() {
        let key = SipKey::new(std::array::from_fn(|i| i as u8));
        assert_eq!(key.hash([]), 0x726f_db47_dd0e_0e31);
        assert_eq!(key.hash([0x0706_0504_0302_0100]), 0x93f5_f579_9a93_2462);
        assert_eq!(key.hash([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]), 0x3f2a_cc7f_57c2_9bdb);
    }

    #[test]
    fn purposes_and_flows_differ() {
        let key = SipKey::new([7; 16]);
        let purposes = [
            Purpose::Isn,
            Purpose::TimestampOffset,
            Purpose::SynCookie,
            Purpose::SynQueue,
            Purpose::SourcePort,
        ];
        let mut hashes: Vec<_> = purposes.map(|p| key.hash_flow(p, SRC, DST, 0)).to_vec();
        hashes.push(key.hash_flow(Purpose::Isn, DST, SRC, 0));
        hashes.push(key.hash_flow(Purpose::Isn, SRC, DST, 1));
        hashes.push(key.hash_flow(Purpose::Isn, SocketAddrV4::new(*SRC.ip(), 1), DST, 0));
        hashes.push(SipKey::new([8; 16]).hash_flow(Purpose::Isn, SRC, DST, 0));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 9);
    }

    proptest! {
        #[test]
        #[expect(deprecated, reason = "the standard library's SipHash-2-4")]
        fn agrees_with_the_standard_library(k0: u64, k1: u64, words: [u64; 3]) {
            let mut twin = std::hash::SipHasher::new_with_keys(k0, k1);
            words.iter().for_each(|word| twin.write(&word.to_le_bytes()));
            prop_assert_eq!(SipKey { k0, k1 }.hash(words), twin.finish());
        }
    }
}

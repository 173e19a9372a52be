//! Chance from a seed: the same numbers on every machine, in every version.
//!
//! xoshiro256** (Blackman and Vigna, 2018), its state filled by SplitMix64. Written here, since the
//! generators of crates may change between versions, and a seed that was reported must keep failing.

use std::ops::Range;

/// A seeded generator. Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    state: [u64; 4],
}

impl Rng {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut mix = seed;
        Rng { seed, state: std::array::from_fn(|_| split_mix(&mut mix)) }
    }

    /// The seed, to be printed by a test that fails.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// An independent generator for one purpose, the same whatever was drawn from this one so far:
    /// a part of a simulation that draws more does not change what the other parts see.
    pub fn fork(&self, label: &str) -> Rng {
        // FNV-1a, then one SplitMix64 step so that near labels give far seeds.
        let hash = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut mix = self.seed ^ hash;
        Rng::new(split_mix(&mut mix))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s1.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        result
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A random byte.
    pub fn byte(&mut self) -> u8 {
        (self.next_u64() >> 56) as u8
    }

    /// A number in `range`; its start if the range is empty.
    ///
    /// The bias of the multiplication is below `(end - start) / 2^64`.
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        let width = range.end.saturating_sub(range.start);
        let scaled = (u128::from(self.next_u64()) * u128::from(width)) >> 64;
        range.start + scaled as u64
    }

    /// An index below `len`; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.range(0..len as u64) as usize
    }

    /// True with probability `p`: never for 0, always for 1. Draws once, whatever `p` is.
    pub fn chance(&mut self, p: f64) -> bool {
        // The upper 53 bits: every value is exact in an f64, and below 1.
        let unit = (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        unit < p
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sequences() {
        let mut mix = 1234567;
        let first: [u64; 3] = std::array::from_fn(|_| split_mix(&mut mix));
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);

        let mut rng = Rng { seed: 0, state: [1, 2, 3, 4] };
        let first: [u64; 4] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(first, [11520, 0, 1509978240, 1215971899390074240]);
    }

    /// The numbers of a seed are a promise: seeds that once failed are kept in tests.
    #[test]
    fn numbers_of_a_seed_stay() {
        let mut rng = Rng::new(42);
        assert_eq!(rng.next_u64(), 1546998764402558742);
        assert_eq!(Rng::new(42).fork("loss").next_u64(), 8708426177723017627);
    }

    #[test]
    fn range_is_flat_and_within() {
        let mut rng = Rng::new(1);
        let mut seen = [0; 10];
        for _ in 0..100_000 {
            seen[(rng.range(5..15) - 5) as usize] += 1;
        }
        // Standard deviation 95.
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        assert_eq!(rng.range(7..7), 7);
        assert_eq!(rng.range(7..8), 7);
        assert_eq!(rng.index(0), 0);
    }

    #[test]
    fn chance_is_as_asked() {
        let mut rng = Rng::new(2);
        for p in [0.0, 0.01, 0.5, 1.0] {
            let hits = (0..100_000).filter(|_| rng.chance(p)).count() as f64;
            // Five standard deviations.
            assert!((hits - p * 1e5).abs() <= 5.0 * (1e5 * p * (1.0 - p)).sqrt(), "{p}: {hits}");
        }
    }

    #[test]
    fn forks_do_not_hang_on_draws() {
        let mut rng = Rng::new(3);
        let before = rng.fork("a").next_u64();
        rng.next_u64();
        assert_eq!(rng.fork("a").next_u64(), before);
        assert_ne!(rng.fork("b").next_u64(), before);
    }

    #[test]
    fn fill_reaches_every_byte() {
        let mut rng = Rng::new(4);
        let mut seen = [0u8; 13];
        for _ in 0..20 {
            let mut bytes = [0; 13];
            rng.fill(&mut bytes);
            seen.iter_mut().zip(bytes).for_each(|(s, b)| *s |= b);
        }
        assert_eq!(seen, [0xff; 13]);
    }
}

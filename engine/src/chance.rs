//! Chance, from a seed: the same each time.

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// Numbers that have nothing to do with those of another `stream` of the same seed.
    pub(crate) fn new(seed: u64, stream: u32) -> Self {
        let mut chance = Chance(seed ^ (u64::from(stream) << 32));
        Chance(chance.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0; all with the same probability, but for one part in 2^32.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(bound) * (self.next() >> 32)) >> 32) as u32
    }

    /// Exponentially distributed, 1 on average.
    pub(crate) fn exponential(&mut self) -> f64 {
        // In (0, 1]: the logarithm is finite.
        let chance = ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -chance.ln()
    }
}

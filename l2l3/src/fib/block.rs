//! Up to 510 routes that lie in one /16 (lengths 17 to 24) or one /24 (lengths 25 to 32).

/// A bitmap of the prefixes that are there, and their values packed in the bitmap's order.
///
/// Prefixes are numbered as a binary heap numbers its nodes: 1 is the block's own network, the halves
/// of `n` are `2n` and `2n + 1`. So the network around `n` is `n / 2`, and its length past the block's
/// is `ilog2(n)`. 1 itself is not kept here.
#[repr(align(64))]
#[derive(Default)]
pub(super) struct Block {
    bits: [u64; 8],
    /// Set bits in the words before each: where each word's values begin.
    rank: [u16; 8],
    values: Vec<u32>,
    /// The block's network address.
    base: u32,
}

/// The number of the prefix `addr`/`len` in a block of networks of length `base_len`.
///
/// Also for `len == base_len + 9`, a number past the block whose [`Block::around`] is sought.
#[inline]
pub(super) const fn number(addr: u32, len: u8, base_len: u8) -> usize {
    let below = len - base_len;
    let bits = addr >> (32 - base_len as u32 - below as u32);
    1 << below | (bits as usize & ((1 << below) - 1))
}

impl Block {
    /// An empty block for the network at `base`.
    pub(super) fn new(base: u32) -> Self {
        Block { base, ..Block::default() }
    }

    /// Whether no prefix is there.
    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    #[inline]
    fn has(&self, number: usize) -> bool {
        self.bits[number / 64] >> (number % 64) & 1 != 0
    }

    /// Where `number`'s value is, or would be put in.
    #[inline]
    fn place(&self, number: usize) -> usize {
        let before = self.bits[number / 64] & ((1 << (number % 64)) - 1);
        usize::from(self.rank[number / 64]) + before.count_ones() as usize
    }

    /// Adds `by` to the rank of every word after `number`'s.
    #[inline]
    fn shift_rank(&mut self, number: usize, by: u16) {
        for (word, rank) in self.rank.iter_mut().enumerate() {
            *rank = rank.wrapping_add(if word > number / 64 { by } else { 0 });
        }
    }

    /// The value of `number`.
    pub(super) fn get(&self, number: usize) -> Option<u32> {
        self.has(number).then(|| self.values[self.place(number)])
    }

    /// Sets the value of `number`, and gives the one it had.
    pub(super) fn insert(&mut self, number: usize, value: u32) -> Option<u32> {
        let place = self.place(number);
        if self.has(number) {
            return Some(std::mem::replace(&mut self.values[place], value));
        }
        self.values.insert(place, value);
        self.bits[number / 64] |= 1 << (number % 64);
        self.shift_rank(number, 1);
        None
    }

    /// Takes `number` out, and gives its value.
    pub(super) fn remove(&mut self, number: usize) -> Option<u32> {
        if !self.has(number) {
            return None;
        }
        let value = self.values.remove(self.place(number));
        self.bits[number / 64] &= !(1 << (number % 64));
        self.shift_rank(number, u16::MAX); // minus one
        Some(value)
    }

    /// The longest prefix around `number`, not itself: its length past the block's, and its value.
    pub(super) fn around(&self, number: usize) -> Option<(u8, u32)> {
        let mut number = number / 2;
        while number > 1 {
            if self.has(number) {
                return Some((number.ilog2() as u8, self.values[self.place(number)]));
            }
            number /= 2;
        }
        None
    }

    /// All prefixes: address, length past the block's (whose own is `base_len`), value.
    pub(super) fn iter(&self, base_len: u8) -> impl Iterator<Item = (u32, u8, u32)> + '_ {
        (2..512).filter(|&number| self.has(number)).zip(&self.values).map(move |(number, &value)| {
            let below = number.ilog2() as u8;
            let bits = (number as u32) ^ (1 << below);
            (self.base | bits << (32 - base_len - below), base_len + below, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(0x0a01_0000, 17, 16), 2);
        assert_eq!(number(0x0a01_8000, 17, 16), 3);
        assert_eq!(number(0x0a01_ff00, 24, 16), 511);
        assert_eq!(number(0x0a01_02ff, 32, 24), 511);
        assert_eq!(number(0x0a01_0200, 25, 24), 2);
        assert_eq!(number(0x0a01_ff80, 25, 16) / 2, 511);
    }

    proptest! {
        #[test]
        fn is_a_map(ops in prop::collection::vec((2usize..512, any::<Option<u32>>()), 0..2000)) {
            let (mut block, mut twin) = (Block::new(0), BTreeMap::new());
            for (number, value) in ops {
                match value {
                    Some(value) => assert_eq!(block.insert(number, value), twin.insert(number, value)),
                    None => assert_eq!(block.remove(number), twin.remove(&number)),
                }
                let around = (1..9).map(|up| number >> up).find_map(|n| Some((n, *twin.get(&n)?)));
                assert_eq!(block.around(number), around.map(|(n, value)| (n.ilog2() as u8, value)));
            }
            for number in 2..512 {
                assert_eq!(block.get(number), twin.get(&number).copied());
            }
            let listed: BTreeMap<_, _> = block.iter(16).map(|(a, l, v)| (number(a, l, 16), v)).collect();
            assert_eq!(listed, twin);
            assert_eq!(block.is_empty(), twin.is_empty());
        }
    }
}

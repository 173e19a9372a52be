//! All routes, kept so that finding the route around another needs no walk through memory.

use wire::Ipv4Prefix;

use super::block::{Block, number};
use super::layout::leaf;

/// The routes.
///
/// Lengths 0 to 16 are one array in heap order (see [`Block`]), 0 where there is none. Lengths 17 to
/// 24 are in the block of their /16. Longer ones are in the block of their /24's group.
pub(super) struct Rib {
    short: Box<[u32]>,
    middle: Box<[Block]>,
    long: Vec<Block>,
}

/// Where in the [`Rib`] a prefix is kept: the only thing that depends on its length.
enum Place<'a> {
    Short(&'a mut u32),
    In(&'a mut Block, usize),
}

impl Rib {
    /// No routes.
    pub(super) fn new() -> Self {
        Rib {
            short: vec![0; 1 << 17].into(),
            middle: (0..1 << 16).map(|net: u32| Block::new(net << 16)).collect(),
            long: Vec::new(),
        }
    }

    /// Makes an empty block for the /24 network at `base`, whose group is now `group`.
    pub(super) fn open_group(&mut self, group: u32, base: u32) {
        let group = group as usize;
        if group >= self.long.len() {
            self.long.resize_with(group + 1, Block::default);
        }
        self.long[group] = Block::new(base);
    }

    /// Whether `group` holds no route of its own, so that its network needs none.
    pub(super) fn is_group_empty(&self, group: u32) -> bool {
        self.long[group as usize].is_empty()
    }

    #[inline]
    fn place(&mut self, prefix: Ipv4Prefix, group: u32) -> Place<'_> {
        let (addr, len) = (prefix.bits(), prefix.len());
        match len {
            0..=16 => Place::Short(&mut self.short[short_number(addr, len)]),
            17..=24 => Place::In(&mut self.middle[(addr >> 16) as usize], number(addr, len, 16)),
            _ => Place::In(&mut self.long[group as usize], number(addr, len, 24)),
        }
    }

    /// Sets where `prefix` leads (not 0), and gives what it was. `group`: its /24's, if it is longer.
    pub(super) fn insert(&mut self, prefix: Ipv4Prefix, group: u32, value: u32) -> Option<u32> {
        match self.place(prefix, group) {
            Place::Short(slot) => Some(std::mem::replace(slot, value)).filter(|old| *old != 0),
            Place::In(block, number) => block.insert(number, value),
        }
    }

    /// Takes `prefix` out, and gives where it led. `group`: its /24's, if it is longer.
    pub(super) fn remove(&mut self, prefix: Ipv4Prefix, group: u32) -> Option<u32> {
        match self.place(prefix, group) {
            Place::Short(slot) => Some(std::mem::take(slot)).filter(|old| *old != 0),
            Place::In(block, number) => block.remove(number),
        }
    }

    /// Where `prefix` leads. `group`: its /24's, if it is longer.
    pub(super) fn get(&self, prefix: Ipv4Prefix, group: u32) -> Option<u32> {
        let (addr, len) = (prefix.bits(), prefix.len());
        match len {
            0..=16 => Some(self.short[short_number(addr, len)]).filter(|value| *value != 0),
            17..=24 => self.middle[(addr >> 16) as usize].get(number(addr, len, 16)),
            _ => self.long[group as usize].get(number(addr, len, 24)),
        }
    }

    /// The leaf of the longest route around `prefix`, not of itself; 0 if there is none.
    pub(super) fn around(&self, prefix: Ipv4Prefix, group: u32) -> u32 {
        let (addr, len) = (prefix.bits(), prefix.len());
        if len > 24
            && let Some((below, value)) = self.long[group as usize].around(number(addr, len, 24))
        {
            return leaf(24 + below, value);
        }
        if len > 16
            && let Some((below, value)) =
                self.middle[(addr >> 16) as usize].around(number(addr, len.min(25), 16))
        {
            return leaf(16 + below, value);
        }
        let mut number = short_number(addr, len.min(17)) / 2;
        while number > 0 {
            if self.short[number] != 0 {
                return leaf(number.ilog2() as u8, self.short[number]);
            }
            number /= 2;
        }
        0
    }

    /// All routes: address, length, where it leads.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u8, u32)> + '_ {
        let short =
            self.short.iter().enumerate().filter(|(_, value)| **value != 0).map(|(number, &value)| {
                let len = number.ilog2() as u8;
                let bits = (number as u64) ^ (1 << len);
                ((bits << (32 - len)) as u32, len, value)
            });
        let middle = self.middle.iter().flat_map(|block| block.iter(16));
        let long = self.long.iter().flat_map(|block| block.iter(24));
        short.chain(middle).chain(long)
    }
}

/// The number of a prefix of length 0 to 17 in heap order; 1 is `0.0.0.0/0`.
#[inline]
const fn short_number(addr: u32, len: u8) -> usize {
    1 << len | ((addr as u64) >> (32 - len)) as usize
}

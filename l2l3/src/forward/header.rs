//! What the portable path does with a header: the checks, collected over many headers, and what a hop changes.
//!
//! `wide` gives vectors of bytes that every machine has: SSE2 on x86-64, NEON on ARM. Loops over arrays of bytes would
//! leave it to the compiler's mood whether they become the same.

use wide::u8x16;
use wire::{MacAddr, RxFlags};

use super::{CHECKSUM, ETHERNET, HEADERS, SOURCE, TTL, is_dirty};
use crate::adjacency::ADDEND_LEN;

/// Between which values the first 32 bytes of headers are.
#[derive(Clone, Debug)]
pub(super) struct Extremes {
    least: [u8x16; 2],
    most: [u8x16; 2],
    /// Of the second half: the least of what is left when the bits of [`LOOPBACK`] are turned.
    apart: u8x16,
}

/// How 127/8 begins.
const LOOPBACK: u8 = 127;

impl Extremes {
    /// Of no headers.
    const NONE: Self = Extremes { least: [u8x16::MAX; 2], most: [u8x16::ZERO; 2], apart: u8x16::MAX };

    /// Of all headers that are plain and for the Ethernet address `mac`.
    pub(super) fn plain(mac: MacAddr) -> Self {
        let (mut least, mut most, mut apart) = ([[0; 16]; 2], [[255; 16]; 2], [0; 16]);
        let mut range = |at: usize, from, to| (least[at / 16][at % 16], most[at / 16][at % 16]) = (from, to);
        for (at, byte) in mac.0.into_iter().enumerate() {
            range(at, byte, byte);
        }
        range(12, 0x08, 0x08);
        range(13, 0x00, 0x00);
        range(14, 0x45, 0x45);
        range(TTL, 2, 255);
        // RFC 1812 section 5.3.7: 1 to 223, but not 127.
        range(SOURCE, 1, 223);
        apart[SOURCE % 16] = 1;
        Extremes { least: least.map(u8x16::new), most: most.map(u8x16::new), apart: u8x16::new(apart) }
    }

    #[inline(always)]
    fn add(&mut self, header: &[u8; HEADERS]) {
        let (first, second) = (u8x16_at(header, 0), u8x16_at(header, 16));
        self.least = [self.least[0].min(first), self.least[1].min(second)];
        self.most = [self.most[0].max(first), self.most[1].max(second)];
        self.apart = self.apart.min(second ^ u8x16::splat(LOOPBACK));
    }

    /// Whether the headers of `other` are all among these.
    #[inline(always)]
    fn include(&self, other: &Self) -> bool {
        let below = |half: usize| self.least[half].saturating_sub(other.least[half]);
        let above = |half: usize| other.most[half].saturating_sub(self.most[half]);
        let near = self.apart.saturating_sub(other.apart);
        below(0) | below(1) | above(0) | above(1) | near == u8x16::ZERO
    }
}

/// What the headers of a block are like, collected without a branch.
pub(super) struct Seen {
    extremes: Extremes,
    /// Frames whose lengths do not agree.
    wrong_lengths: u32,
    /// Bytes that the longest frame has beyond its headers.
    longest: u32,
    /// What the device said of any frame, and of all.
    any: u64,
    all: u64,
}

impl Seen {
    /// Nothing yet.
    pub(super) const NONE: Self =
        Seen { extremes: Extremes::NONE, wrong_lengths: 0, longest: 0, any: 0, all: u64::MAX };

    /// Adds a frame of `len` bytes, which are no fewer than its header's.
    #[inline(always)]
    pub(super) fn add(&mut self, header: &[u8; HEADERS], len: u32, flags: RxFlags) {
        self.extremes.add(header);
        let total = u32::from(u16::from_be_bytes([header[16], header[17]]));
        let beyond = len.wrapping_sub(HEADERS as u32);
        // Both less an IPv4 header: a total length that is too small goes round, and is too large as well.
        self.wrong_lengths += u32::from(total.wrapping_sub((HEADERS - ETHERNET) as u32) > beyond);
        self.longest = self.longest.max(beyond);
        self.any |= flags.0;
        self.all &= flags.0;
    }

    /// Whether the device has not said of each frame all that lets it be trusted.
    #[inline(always)]
    pub(super) fn is_dirty(&self) -> bool {
        is_dirty(RxFlags(self.any)) || is_dirty(RxFlags(self.all))
    }

    /// Whether the device took a tag off none.
    pub(super) fn is_untagged(&self) -> bool {
        self.any & RxFlags::VLAN_STRIPPED == 0
    }

    /// Bytes of the longest frame past its Ethernet header, if all are plain, whatever the device said.
    #[inline(always)]
    pub(super) fn longest_if_plain(&self, plain: &Extremes) -> Option<u32> {
        let longest = self.longest + (HEADERS - ETHERNET) as u32;
        let agree = self.wrong_lengths == 0 && longest <= 0xffff;
        (plain.include(&self.extremes) && agree).then_some(longest)
    }
}

/// What a hop changes in a header.
#[derive(Clone, Copy)]
pub(super) struct Hop {
    /// The Ethernet addresses, as they lie in little-endian words.
    addresses: (u64, u32),
}

impl Hop {
    /// The hop of an adjacency.
    #[inline(always)]
    pub(super) fn new(addend: &[u8; ADDEND_LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *addend;
        let addresses = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([i, j, k, l]));
        Hop { addresses }
    }

    /// Writes the Ethernet addresses (the type stays: it is IPv4's), and takes one off the TTL.
    #[inline(always)]
    pub(super) fn write(self, header: &mut [u8; HEADERS]) {
        header[..8].copy_from_slice(&self.addresses.0.to_le_bytes());
        header[8..12].copy_from_slice(&self.addresses.1.to_le_bytes());
        // In a little-endian word: the TTL is the lowest byte, and is not 0; the checksum is the upper half, its
        // high byte first, so that the 0x100 more (RFC 1624) is one more there.
        const { assert!(CHECKSUM == TTL + 2) };
        let word = u32::from_le_bytes([header[TTL], header[TTL + 1], header[TTL + 2], header[TTL + 3]]);
        let (word, carry) = word.overflowing_add(0x1_0000 - 1);
        header[TTL..TTL + 4].copy_from_slice(&word.to_le_bytes());
        if carry {
            carry_round(header);
        }
    }
}

/// Adds to the checksum, which is now 0, what was carried out of it.
#[cold]
#[inline(never)]
fn carry_round(header: &mut [u8; HEADERS]) {
    header[CHECKSUM] = 1;
}

/// Sixteen bytes from `at` on.
#[inline(always)]
fn u8x16_at(header: &[u8; HEADERS], at: usize) -> u8x16 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&header[at..at + 16]);
    u8x16::new(bytes)
}

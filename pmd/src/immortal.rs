//! Memory that is filled once and stays to the process' end, for contents that are sent by reference.

use crate::eal::{Eal, socket_id};
use crate::error::Error;
use crate::mbuf::Mbuf;
use dpdk_sys as sys;
use std::io;
use std::ptr::NonNull;
use std::slice;
use wire::NoRoom;

impl Eal {
    /// Memory of `len` bytes, zero at first, that `fill` writes once and that stays to the process' end. It is
    /// of DPDK's heap: all kinds of devices can read it where it lies.
    ///
    /// # Errors
    /// [`Error::Immortal`] if there is not as much; [`Error::Fill`] if `fill` fails.
    pub fn immortal(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> Result<&'static [u8], Error> {
        // SAFETY: EAL runs; the name is a C string.
        let memory = unsafe { sys::rte_zmalloc_socket(c"content".as_ptr(), len.max(1), 0, socket_id(None)) };
        let memory = NonNull::new(memory.cast::<u8>()).ok_or(Error::Immortal { bytes: len })?;
        // SAFETY: `len` bytes, all zero, that nobody else knows of.
        let filled = fill(unsafe { slice::from_raw_parts_mut(memory.as_ptr(), len) });
        if let Err(error) = filled {
            // SAFETY: allocated above, and nobody has it.
            unsafe { sys::rte_free(memory.as_ptr().cast()) };
            return Err(error.into());
        }
        // Or the heap would go when EAL ends.
        self.leak_memory();
        // SAFETY: nobody writes to it any more, and it is neither freed nor unmapped.
        Ok(unsafe { slice::from_raw_parts(memory.as_ptr(), len) })
    }
}

/// One thread's references to memory that stays for ever.
///
/// DPDK counts references, to free the memory with the last; here there is nothing to free. Each thread has a
/// count of its own, so that threads do not write to the same cache line.
#[derive(Debug)]
pub(crate) struct References {
    count: Option<NonNull<sys::rte_mbuf_ext_shared_info>>,
    /// Where memory was found last.
    place: sys::sl_place,
}

// SAFETY: the count may be read and written from any thread, by atomic operations wherever a reference is left.
unsafe impl Send for References {}

impl References {
    pub(crate) fn new() -> Self {
        // SAFETY: allocates 64 bytes, no more.
        let count = NonNull::new(unsafe { sys::sl_references() });
        let place = sys::sl_place { start: 0, len: 0, iova: 0 };
        References { count, place }
    }

    /// Where devices find `bytes`; `None` if they are not of DPDK's heap, or, where devices know physical
    /// addresses only, do not lie in one page.
    #[inline]
    pub(crate) fn locate(&mut self, bytes: &'static [u8]) -> Option<u64> {
        let start = bytes.as_ptr().addr() as u64;
        if !self.place.holds(start, bytes.len()) {
            // SAFETY: EAL runs; writes the struct, if it finds the address.
            unsafe { sys::sl_place(bytes.as_ptr().cast(), &raw mut self.place) };
        }
        self.place.holds(start, bytes.len()).then(|| self.place.iova + (start - self.place.start))
    }

    /// Makes a fresh frame a reference to `bytes`.
    #[inline]
    pub(crate) fn refer(&mut self, frame: &mut Mbuf, bytes: &'static [u8]) -> Result<(), NoRoom> {
        let iova = self.locate(bytes).ok_or(NoRoom)?;
        let (count, len) = (self.count.ok_or(NoRoom)?, u16::try_from(bytes.len()).map_err(|_| NoRoom)?);
        // SAFETY: the frame is ours alone and has its own memory; the bytes stay for ever, and nobody writes
        // through a reference. The count has one of our own in it, so that it never falls to zero; it does not
        // wrap, because the call refuses at half of what 16 bits hold, and threads that attach payload with
        // such segments stop there too. DPDK (22.11 to 25.11) adds to a count of one without an atomic
        // operation: then no frame is left, and of threads only this one, which is borrowed for it, can make
        // another.
        let ret = unsafe { sys::sl_refer(frame.as_ptr(), count.as_ptr(), bytes.as_ptr().cast(), len, iova) };
        if ret == 0 { Ok(()) } else { Err(NoRoom) }
    }
}

trait Holds {
    /// Whether all of a range lies in the place.
    fn holds(&self, start: u64, len: usize) -> bool;
}

impl Holds for sys::sl_place {
    #[inline]
    fn holds(&self, start: u64, len: usize) -> bool {
        start.checked_sub(self.start).is_some_and(|skip| skip <= self.len && len as u64 <= self.len - skip)
    }
}

impl Drop for References {
    fn drop(&mut self) {
        if let Some(count) = self.count {
            // SAFETY: freed only if no frame refers to it, and none can any more; else it stays for good.
            unsafe { sys::sl_references_free(count.as_ptr()) };
        }
    }
}

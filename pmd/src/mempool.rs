//! Packet buffers, and a worker's handle on them.

use crate::eal::{Eal, c_string, socket_id};
use crate::error::{Errno, Error};
use crate::immortal::References;
use crate::mbuf::Mbuf;
use crate::payload::MbufPayload;
use dpdk_sys as sys;
use std::ptr::NonNull;
use std::sync::Arc;
use wire::{Frame, FramePool, NoRoom};

/// How many buffers a worker's handle takes from the pool at once.
const STASH: usize = 32;

/// Bytes that every buffer keeps free before the data of a new or received frame.
pub const HEADROOM: u16 = sys::RTE_PKTMBUF_HEADROOM as u16;

/// The most buffers that a thread's cache may hold.
pub const MAX_CACHE: u32 = sys::RTE_MEMPOOL_CACHE_MAX_SIZE;

/// A pool of packet buffers on one NUMA node. Clones are handles of the same pool.
///
/// The memory is freed with the last handle if every buffer has come back; if some are still out it is
/// kept to the process' end, so that a frame never dangles.
#[derive(Clone, Debug)]
pub struct Mempool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: NonNull<sys::rte_mempool>,
    count: u32,
    data_room: u16,
    eal: Eal,
}

// SAFETY: DPDK's mempool functions may be called from any thread at once.
unsafe impl Send for Shared {}

// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Mempool {
    /// Makes a pool of `count` buffers (2^n - 1 uses memory best), each with [`HEADROOM`] and
    /// `data_room` bytes for data. Every registered thread keeps up to 1.5 x `cache` buffers (at most
    /// [`MAX_CACHE`], and `count` / 1.5) to itself. `node` is the NUMA node; `None` is any. The name must
    /// be unique in the process and at most 25 bytes long.
    ///
    /// # Errors
    /// [`Error::Mempool`], above all when memory is short; [`Error::FastFreeNeedsOnePool`];
    /// [`Error::ZeroByte`].
    pub fn new(
        eal: &Eal,
        name: &str,
        count: u32,
        cache: u32,
        data_room: u16,
        node: Option<u32>,
    ) -> Result<Mempool, Error> {
        let c_name = c_string("the pool's name", name)?;
        let cache = cache.min(MAX_CACHE).min(count * 2 / 3);
        let room = data_room.saturating_add(HEADROOM);
        eal.add_pool()?;
        // SAFETY: EAL runs; the name is a C string.
        let pool =
            unsafe { sys::rte_pktmbuf_pool_create(c_name.as_ptr(), count, cache, 0, room, socket_id(node)) };
        match NonNull::new(pool) {
            Some(pool) => {
                let shared = Shared { pool, count, data_room: room - HEADROOM, eal: eal.clone() };
                Ok(Mempool { shared: Arc::new(shared) })
            }
            None => {
                let cause = Errno::last();
                let node = node.map_or_else(String::new, |node| format!(" on NUMA node {node}"));
                Err(Error::Mempool { count, data_room, node, cause })
            }
        }
    }

    /// Buffers in all.
    pub fn count(&self) -> usize {
        self.shared.count as usize
    }

    /// Buffers that are not in use, those in the caches of threads included. Walks all caches: not for
    /// the packet path.
    pub fn available(&self) -> usize {
        self.shared.available()
    }

    /// Bytes of a frame that one buffer holds.
    pub fn data_room(&self) -> u16 {
        self.shared.data_room
    }

    /// A worker's handle, from which it allocates.
    pub fn handle(&self) -> PoolHandle {
        PoolHandle { pool: self.clone(), stash: Vec::with_capacity(STASH), references: References::new() }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.shared.pool.as_ptr()
    }

    /// Fills `out`'s spare capacity with up to `max` empty frames: all of them or none.
    fn alloc_bulk(&self, out: &mut Vec<Mbuf>, max: usize) -> bool {
        let count = max.min(out.capacity() - out.len());
        let spare = out.spare_capacity_mut().as_mut_ptr();
        // SAFETY: the pool is alive, and there is room for `count` pointers, which an Mbuf is.
        let ret = unsafe { sys::sl_alloc_bulk(self.as_ptr(), spare.cast(), count as u32) };
        if ret == 0 {
            // SAFETY: DPDK wrote `count` mbufs, which are the caller's from now on.
            unsafe { out.set_len(out.len() + count) };
        }
        ret == 0
    }
}

impl Shared {
    fn available(&self) -> usize {
        // SAFETY: the pool is alive.
        unsafe { sys::rte_mempool_avail_count(self.pool.as_ptr()) as usize }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.available() == self.count as usize {
            // SAFETY: every buffer is in the pool, and nobody has a handle to take one out.
            unsafe { sys::rte_mempool_free(self.pool.as_ptr()) };
        } else {
            self.eal.leak_memory();
        }
    }
}

/// A worker's own way to a pool: takes buffers 32 at a time, so that an allocation is no foreign call.
#[derive(Debug)]
pub struct PoolHandle {
    pool: Mempool,
    /// Frames taken from the pool, not given out.
    stash: Vec<Mbuf>,
    references: References,
}

impl PoolHandle {
    /// The pool behind it.
    pub fn pool(&self) -> &Mempool {
        &self.pool
    }

    #[cold]
    fn refill(&mut self) -> Option<Mbuf> {
        // A pool that cannot give a whole stash may have a few left.
        if !self.pool.alloc_bulk(&mut self.stash, STASH) {
            self.pool.alloc_bulk(&mut self.stash, 1);
        }
        self.stash.pop()
    }
}

impl FramePool for PoolHandle {
    type Frame = Mbuf;

    #[inline]
    fn alloc(&mut self) -> Option<Mbuf> {
        match self.stash.pop() {
            Some(frame) => Some(frame),
            None => self.refill(),
        }
    }

    #[inline]
    fn attach(
        &mut self,
        frame: &mut Mbuf,
        payload: &MbufPayload,
        offset: usize,
        len: usize,
    ) -> Result<(), NoRoom> {
        payload.attach_to(frame, self, offset, len)
    }

    #[inline]
    fn can_refer(&mut self, bytes: &'static [u8]) -> bool {
        self.references.locate(bytes).is_some()
    }

    #[inline]
    fn refer(&mut self, frame: &mut Mbuf, bytes: &'static [u8]) -> Result<(), NoRoom> {
        let mut reference = self.alloc().ok_or(NoRoom)?;
        self.references.refer(&mut reference, bytes)?;
        frame.chain(reference).map_err(|_| NoRoom)
    }

    fn available(&self) -> (usize, usize) {
        (self.pool.available() + self.stash.len(), self.pool.count())
    }
}

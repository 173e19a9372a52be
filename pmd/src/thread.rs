//! Threads of ours that DPDK knows of.

use crate::eal::Eal;
use crate::error::{Errno, Error};
use dpdk_sys as sys;
use std::marker::PhantomData;

/// The calling thread's registration with DPDK, which gives it its own cache of every mempool. Without
/// it each allocation and each free goes to the pool's shared ring. Ends when dropped.
#[derive(Debug)]
pub struct WorkerThread {
    eal: Eal,
    /// A registration is of the thread that made it.
    not_send: PhantomData<*mut ()>,
}

impl WorkerThread {
    /// Registers the calling thread. Pin it first: DPDK notes its NUMA node now.
    ///
    /// # Errors
    /// [`Error::Thread`] when DPDK has no lcore id left (`RTE_MAX_LCORE`, 128 as a rule), or when the
    /// thread is registered already.
    pub fn register(eal: &Eal) -> Result<WorkerThread, Error> {
        // SAFETY: reads a thread-local integer.
        if unsafe { sys::sl_lcore_id() } != sys::SL_LCORE_ID_ANY {
            return Err(Error::Thread { cause: Errno(libc::EEXIST) });
        }
        // SAFETY: EAL runs, and this thread is not registered.
        match unsafe { sys::rte_thread_register() } {
            0 => Ok(WorkerThread { eal: eal.clone(), not_send: PhantomData }),
            _ => Err(Error::Thread { cause: Errno::last() }),
        }
    }

    /// The id by which DPDK knows this thread. It is not a CPU number.
    pub fn lcore_id(&self) -> u32 {
        // SAFETY: reads a thread-local integer.
        unsafe { sys::sl_lcore_id() }
    }

    /// The environment that the thread is registered with.
    pub fn eal(&self) -> &Eal {
        &self.eal
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        // SAFETY: this thread registered itself, and EAL still runs.
        unsafe { sys::rte_thread_unregister() };
    }
}

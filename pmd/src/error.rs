//! What can go wrong, a clear sentence each.

use std::ffi::CStr;
use std::fmt;

/// An error of DPDK or of the device beneath it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `rte_eal_init` failed.
    #[error("DPDK could not be started with the arguments \"{args}\": {cause}.")]
    EalInit {
        /// The arguments given to EAL, in one line.
        args: String,
        /// DPDK's error.
        cause: Errno,
    },
    /// EAL was started in this process before, and cannot be started twice.
    #[error("DPDK was started in this process before: it can be started only once.")]
    EalTwice,
    /// There is no memory for contents.
    #[error(
        "{bytes} bytes of memory that devices can read are not to be had: more hugepages, or without them more memory for \
         DPDK, mend it."
    )]
    Immortal {
        /// Bytes asked for.
        bytes: usize,
    },
    /// Memory for contents could not be filled.
    #[error("a content could not be read: {0}.")]
    Fill(#[from] std::io::Error),
    /// A string for DPDK has a zero byte in it.
    #[error("{what} {value:?} contains a zero byte.")]
    ZeroByte {
        /// What the string is.
        what: &'static str,
        /// The string.
        value: String,
    },
    /// No such device, or its driver refused it.
    #[error("device \"{device}\" could not be opened: {cause}.")]
    Open {
        /// The device's devargs.
        device: String,
        /// DPDK's error.
        cause: Errno,
    },
    /// The device is open already.
    #[error("device \"{device}\" is already open.")]
    AlreadyOpen {
        /// The device's name.
        device: String,
    },
    /// The device has fewer queues than were asked for.
    #[error(
        "device \"{device}\" has at most {max_rx} receive and {max_tx} transmit queues, but {rx} and {tx} were \
         asked for."
    )]
    TooFewQueues {
        /// The device's name.
        device: String,
        /// Receive queues asked for.
        rx: u16,
        /// Transmit queues asked for.
        tx: u16,
        /// Receive queues that it has.
        max_rx: u16,
        /// Transmit queues that it has.
        max_tx: u16,
    },
    /// The device cannot carry frames of that size.
    #[error("device \"{device}\" takes an MTU of {min} to {max} bytes, but {mtu} was asked for.")]
    Mtu {
        /// The device's name.
        device: String,
        /// The MTU asked for.
        mtu: u16,
        /// The least it takes.
        min: u16,
        /// The most it takes.
        max: u16,
    },
    /// A request to the device failed.
    #[error("device \"{device}\" refused to {what}: {cause}.")]
    Device {
        /// The device's name.
        device: String,
        /// What it was asked to do, as in "refused to ...".
        what: &'static str,
        /// DPDK's error.
        cause: Errno,
    },
    /// The request does not fit the port's state.
    #[error("device \"{device}\" cannot {what}: it is {state}.")]
    State {
        /// The device's name.
        device: String,
        /// What it was asked to do.
        what: &'static str,
        /// The state that it is in.
        state: &'static str,
    },
    /// No such queue.
    #[error("device \"{device}\" has no {kind} queue {queue}.")]
    NoSuchQueue {
        /// The device's name.
        device: String,
        /// "receive" or "transmit".
        kind: &'static str,
        /// The queue's number.
        queue: u16,
    },
    /// The queue has been given out, and was not given back.
    #[error("device \"{device}\": {kind} queue {queue} is in use already.")]
    QueueTaken {
        /// The device's name.
        device: String,
        /// "receive" or "transmit".
        kind: &'static str,
        /// The queue's number.
        queue: u16,
    },
    /// Queues are still out, so that the port cannot be stopped under them.
    #[error("device \"{device}\" cannot {what}: {count} of its queues are still in use.")]
    QueuesInUse {
        /// The device's name.
        device: String,
        /// What it was asked to do.
        what: &'static str,
        /// How many are out.
        count: usize,
    },
    /// A memory pool could not be made.
    #[error("no memory for a pool of {count} packet buffers of {data_room} bytes{node}: {cause}.")]
    Mempool {
        /// Buffers asked for.
        count: u32,
        /// Bytes of each, without its headroom.
        data_room: u16,
        /// " on NUMA node N", or nothing.
        node: String,
        /// DPDK's error.
        cause: Errno,
    },
    /// A second pool, after a port was configured to free into the only one.
    #[error("another packet pool cannot be made: a port uses fast free, which is sound with one pool only.")]
    FastFreeNeedsOnePool,
    /// A table could not be made.
    #[error("no memory for a table of {bytes} bytes in DPDK's heap.")]
    HugeTable {
        /// Bytes asked for.
        bytes: usize,
    },
    /// A thread could not be registered.
    #[error("the thread could not be registered with DPDK: {cause}.")]
    Thread {
        /// DPDK's error.
        cause: Errno,
    },
}

/// A DPDK error number; prints as DPDK's text for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// The calling thread's `rte_errno`.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local integer.
        Errno(unsafe { dpdk_sys::sl_errno() })
    }

    /// From a return value, where errors are negative.
    pub(crate) fn check(ret: i32) -> Result<(), Errno> {
        if ret < 0 { Err(Errno(-ret)) } else { Ok(()) }
    }

    /// Whether the device does not know the request.
    pub(crate) fn is_unsupported(self) -> bool {
        self.0 == libc::ENOTSUP
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: gives a zero-terminated string, static or the calling thread's own, valid until this
        // thread asks again.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(self.0)) };
        write!(f, "{} (error {})", text.to_string_lossy(), self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

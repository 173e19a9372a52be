//! From a [`Config`] to what is set up at start: who polls what, how many mbufs, how much memory.

use crate::model::{Config, Poll};

/// How many queues a device has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Receive queues at most.
    pub rx_queues: u16,
    /// Transmit queues at most.
    pub tx_queues: u16,
}

impl Caps {
    /// As many as one likes: for planning without the device at hand.
    pub const UNLIMITED: Caps = Caps { rx_queues: u16::MAX, tx_queues: u16::MAX };
}

/// What is set up at start. Printed before anything starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The configuration's name.
    pub name: String,
    /// What a worker does when nothing arrives.
    pub poll: Poll,
    /// Frames asked of a receive queue at once.
    pub burst: u16,
    /// Per worker, in the order of [`Workers::cores`](crate::Workers::cores).
    pub workers: Vec<WorkerPlan>,
    /// Per port, in the order of [`Config::ports`].
    pub ports: Vec<PortPlan>,
    /// The packet buffers.
    pub mbufs: MbufPlan,
    /// The memory.
    pub memory: MemoryPlan,
}

/// What one worker does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerPlan {
    /// The core it runs on.
    pub core: u16,
    /// The receive queues it polls, in order of port.
    pub rx: Vec<RxAssignment>,
    /// How it sends: one entry a port, in order of port.
    pub tx: Vec<TxAssignment>,
}

/// A receive queue of a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RxAssignment {
    /// The port's index.
    pub port: u16,
    /// The queue of the port.
    pub queue: u16,
}

/// How a worker sends by a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TxAssignment {
    /// By this transmit queue, which is its alone.
    Queue(u16),
    /// By handing over to this worker (index), which has a queue.
    HandOver(u16),
}

/// The queues of one port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortPlan {
    /// The port's name.
    pub name: String,
    /// Its DPDK devargs.
    pub device: String,
    /// The largest IPv4 packet, in bytes.
    pub mtu: u16,
    /// Receive queues to set up.
    pub rx_queues: u16,
    /// Transmit queues to set up.
    pub tx_queues: u16,
    /// Descriptors of each receive queue.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue.
    pub tx_descriptors: u16,
}

/// Where packet buffers can be, all at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MbufPlan {
    /// In the receive queues' descriptors.
    pub rx_descriptors: u32,
    /// In the transmit queues' descriptors.
    pub tx_descriptors: u32,
    /// In the workers' mempool caches.
    pub caches: u32,
    /// On the way through the workers: receive bursts and transmit buffers.
    pub bursts: u32,
    /// In the rings between workers.
    pub rings: u32,
    /// Waiting for a neighbour's answer.
    pub holds: u32,
    /// Waiting for the other fragments.
    pub reassembly: u32,
    /// How many the pool is made with: what the configuration says, or the sum of the above
    /// with some to spare.
    pub total: u32,
    /// Frames that a worker's mempool cache keeps (`cache_size` of `rte_pktmbuf_pool_create`).
    pub cache_size: u32,
    /// Bytes of data room of one buffer, headroom included.
    pub data_room: u16,
}

/// Bytes of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryPlan {
    /// DPDK memory (huge pages where there are any): the packet buffers.
    pub mbuf_pool: u64,
    /// Heap: the route table's first level, 2^24 entries of 4 bytes.
    pub route_level1: u64,
    /// Heap: the route table's second level, at most.
    pub route_level2: u64,
    /// Heap: adjacencies, 64 bytes each.
    pub adjacencies: u64,
}

/// Why a configuration does not fit the devices; the text says what would.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

impl Plan {
    /// Plans `config` for devices whose queue counts `caps` gives (by port index). Use
    /// [`Caps::UNLIMITED`] where the device is not at hand.
    ///
    /// # Errors
    /// When the file asks for more queues than a device has, for fewer mbufs than the queues
    /// alone hold, or for less memory than the mbufs take.
    pub fn new(_config: &Config, _caps: impl Fn(usize) -> Caps) -> Result<Plan, PlanError> {
        Err(PlanError("being written".into()))
    }
}

//! From a [`Config`] to what is set up at start: who polls what, how many mbufs, how much memory.

use crate::model::{Config, Huge, Poll, Port};

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
    /// Held by TCP and UDP: received and not read, or sent and not acknowledged.
    pub sockets: u32,
    /// How many the pool is made with: what the configuration says, or the sum of the above
    /// with some to spare.
    pub total: u32,
    /// Frames that a worker's mempool cache keeps (`cache_size` of `rte_pktmbuf_pool_create`).
    pub cache_size: u32,
    /// Bytes of a frame that one buffer has room for; the headroom before them is not counted.
    pub data_room: u16,
}

/// Bytes of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryPlan {
    /// Whether the packet buffers lie in huge pages.
    pub huge: Huge,
    /// DPDK memory (huge pages where there are any): the packet buffers.
    pub mbuf_pool: u64,
    /// DPDK memory too: the route table's first level, 2^24 entries of 4 bytes.
    pub route_level1: u64,
    /// DPDK memory too: the route table's second level, at most.
    pub route_level2: u64,
    /// DPDK memory too: the files and pages of HTTP servers ([`Plan::with_contents`]).
    pub contents: u64,
    /// Heap, for each worker: adjacencies, 64 bytes each.
    pub adjacencies: u64,
    /// Heap, for all workers: connections and what belongs to them. Reserved at start, touched when used.
    pub sockets: u64,
}

/// Why a configuration does not fit the devices; the text says what would.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

/// Frames that a worker's mempool cache keeps. Two bursts of the usual 128, and measured no slower than 512.
const CACHE_SIZE: u32 = 256;
/// A mempool cache is flushed when it holds one and a half times its size (`CACHE_FLUSHTHRESH_MULTIPLIER`).
const CACHE_FULL: u32 = CACHE_SIZE / 2 * 3;
/// Room for an Ethernet frame of the usual size, and a power of two as device drivers like it.
const DATA_ROOM: u16 = 2048;
/// A buffer's other bytes: the mempool's object header, `struct rte_mbuf`, and the headroom.
const MBUF_OVERHEAD: u64 = 64 + 128 + 128;
/// Ethernet header with one VLAN tag, and the frame check sequence.
const FRAME_OVERHEAD: u32 = 14 + 4 + 4;

impl Plan {
    /// Plans `config` for devices whose queue counts `caps` gives (by port index). Use
    /// [`Caps::UNLIMITED`] where the device is not at hand.
    ///
    /// # Errors
    /// When the file asks for more queues than a device has, for fewer mbufs than the queues
    /// alone hold, or for less memory than the mbufs take.
    pub fn new(config: &Config, caps: impl Fn(usize) -> Caps) -> Result<Plan, PlanError> {
        let count = config.workers.cores.len();
        let ports: Vec<PortPlan> = (config.ports.iter().enumerate())
            .map(|(at, port)| port_plan(port, count, caps(at)))
            .collect::<Result<_, _>>()?;
        let mut workers: Vec<WorkerPlan> = config
            .workers
            .cores
            .iter()
            .map(|&core| WorkerPlan { core, rx: Vec::new(), tx: Vec::new() })
            .collect();
        for (at, (port, plan)) in config.ports.iter().zip(&ports).enumerate() {
            assign_rx(&mut workers, at as u16, port, plan.rx_queues);
            assign_tx(&mut workers, port, plan.tx_queues);
        }
        let mbufs = mbufs(config, &ports)?;
        Ok(Plan {
            name: config.name.clone(),
            poll: config.workers.poll,
            burst: config.workers.burst,
            workers,
            ports,
            mbufs,
            memory: memory(config, &mbufs)?,
        })
    }

    /// The plan with `bytes` of files and pages, which only who looks at the files knows.
    #[must_use]
    pub fn with_contents(mut self, bytes: u64) -> Plan {
        self.memory.contents = bytes;
        self
    }
}

/// How many queues a port gets: what the file says, or one a worker as far as the device allows.
fn port_plan(port: &Port, workers: usize, caps: Caps) -> Result<PortPlan, PlanError> {
    let choose = |key: &str, asked: Option<u16>, wanted: usize, most: u16| match asked {
        Some(asked) if asked > most => Err(PlanError(format!(
            "port `{}` asks for {key} = {asked}, but its device `{}` allows {most}: write {key} = {most}, or leave it out",
            port.name, port.device
        ))),
        Some(asked) => Ok(asked),
        None => Ok((wanted as u16).min(most).max(1)),
    };
    let mut rx_queues = choose("rx_queues", port.rx_queues, port.workers.len(), caps.rx_queues)?;
    let mut tx_queues = choose("tx_queues", port.tx_queues, workers, caps.tx_queues)?;
    if port.device.starts_with("net_tap") && rx_queues != tx_queues {
        // The driver refuses unequal counts.
        let least = rx_queues.min(tx_queues);
        match (port.rx_queues, port.tx_queues) {
            (None, None) => (rx_queues, tx_queues) = (least, least),
            (None, Some(_)) if tx_queues <= caps.rx_queues => rx_queues = tx_queues,
            (Some(_), None) if rx_queues <= caps.tx_queues => tx_queues = rx_queues,
            _ => {
                return Err(PlanError(format!(
                    "port `{}`: the driver of `{}` wants as many rx_queues as tx_queues, not {rx_queues} and {tx_queues}",
                    port.name, port.device
                )));
            }
        }
    }
    Ok(PortPlan {
        name: port.name.clone(),
        device: port.device.clone(),
        mtu: port.mtu,
        rx_queues,
        tx_queues,
        rx_descriptors: port.rx_descriptors,
        tx_descriptors: port.tx_descriptors,
    })
}

/// Gives each receive queue to a worker: queue by queue round the port's workers where there is one for
/// each, else to those that poll least so far.
fn assign_rx(workers: &mut [WorkerPlan], index: u16, port: &Port, queues: u16) {
    let load = |workers: &[WorkerPlan], worker: u16| workers[usize::from(worker)].rx.len();
    for queue in 0..queues {
        let turn = port.workers[usize::from(queue) % port.workers.len()];
        let enough = usize::from(queues) >= port.workers.len();
        let idlest = port.workers.iter().copied().min_by_key(|worker| load(workers, *worker));
        let worker = idlest.filter(|_| !enough).unwrap_or(turn);
        workers[usize::from(worker)].rx.push(RxAssignment { port: index, queue });
    }
}

/// Gives each worker a transmit queue of the port, or, where there are too few, a worker to hand over to.
/// Workers that poll the port come first.
fn assign_tx(workers: &mut [WorkerPlan], port: &Port, queues: u16) {
    let mut order: Vec<u16> = (0..workers.len() as u16).collect();
    if usize::from(queues) < workers.len() {
        order.sort_by_key(|worker| !port.workers.contains(worker));
    }
    for (at, &worker) in order.iter().enumerate() {
        let tx = match u16::try_from(at) {
            Ok(queue) if queue < queues => TxAssignment::Queue(queue),
            _ => TxAssignment::HandOver(order[at % usize::from(queues)]),
        };
        workers[usize::from(worker)].tx.push(tx);
    }
}

/// Counts the buffers that can be in use at once.
fn mbufs(config: &Config, ports: &[PortPlan]) -> Result<MbufPlan, PlanError> {
    let limits = &config.limits;
    let workers = config.workers.cores.len() as u64;
    let burst = u64::from(config.workers.burst);
    let largest = ports.iter().map(|port| u32::from(port.mtu)).max().unwrap_or(0) + FRAME_OVERHEAD;
    // A frame longer than a buffer's data room lies in several.
    let segments = u64::from(largest.div_ceil(u32::from(DATA_ROOM)));
    let queues = |of: fn(&PortPlan) -> (u16, u16)| -> u64 {
        ports.iter().map(of).map(|(queues, descriptors)| u64::from(queues) * u64::from(descriptors)).sum()
    };
    let rx = queues(|port| (port.rx_queues, port.rx_descriptors));
    let tx = queues(|port| (port.tx_queues, port.tx_descriptors));
    // The control thread allocates too, so there is one cache more than there are workers.
    let caches = (workers + 1) * u64::from(CACHE_FULL);
    // Two bursts under way at a time, and one waiting for each port.
    let bursts = workers * (2 + ports.len() as u64) * burst * segments;
    // One full ring to each worker and one from it. More full rings mean overload: then the devices drop.
    let rings = workers * (workers - 1).min(2) * u64::from(limits.ring_packets) * segments;
    let holds = workers * u64::from(limits.hold_packets) * segments;
    // Long fragments lie in several buffers, but all together have no more bytes than the limit.
    let more = if segments > 1 { u64::from(limits.reassembly_bytes) / u64::from(DATA_ROOM) } else { 0 };
    let reassembly = workers * (limits.reassembly_fragments() as u64 + more);
    let held = 2 * (u64::from(limits.tcp_payloads) + u64::from(limits.udp_datagrams));
    let sockets = if config.has_programs() { workers * held * segments } else { 0 };
    let needed = rx + tx + caches + bursts + rings + holds + reassembly + sockets;
    let least = rx + tx + caches;
    let total = match limits.mbufs {
        Some(asked) if u64::from(asked) < least => {
            return Err(PlanError(format!(
                "mbufs = {asked} are too few: queues and caches alone hold {least}, and {needed} are counted in all; \
                 raise it, or write mbufs = \"auto\""
            )));
        }
        Some(asked) => u64::from(asked),
        None => needed.next_multiple_of(1024),
    };
    let narrow = |count: u64| {
        u32::try_from(count)
            .map_err(|_| PlanError(format!("{needed} mbufs are too many: lower [limits] or the descriptors")))
    };
    Ok(MbufPlan {
        rx_descriptors: narrow(rx)?,
        tx_descriptors: narrow(tx)?,
        caches: narrow(caches)?,
        bursts: narrow(bursts)?,
        rings: narrow(rings)?,
        holds: narrow(holds)?,
        reassembly: narrow(reassembly)?,
        sockets: narrow(sockets)?,
        total: narrow(total)?,
        cache_size: CACHE_SIZE,
        data_room: DATA_ROOM,
    })
}

fn memory(config: &Config, mbufs: &MbufPlan) -> Result<MemoryPlan, PlanError> {
    let mbuf_pool = u64::from(mbufs.total) * (MBUF_OVERHEAD + u64::from(DATA_ROOM));
    let needed = mbuf_pool.div_ceil(MIB);
    if let Some(given) = config.dpdk.memory_mb.filter(|given| u64::from(*given) < needed) {
        return Err(PlanError(format!(
            "memory_mb = {given} is too little: {} mbufs alone take {needed} MiB",
            mbufs.total
        )));
    }
    Ok(MemoryPlan {
        huge: config.dpdk.huge,
        mbuf_pool,
        route_level1: 4 << 24,
        route_level2: config.limits.route_groups() as u64 * 256 * 4,
        contents: 0,
        adjacencies: u64::from(config.limits.adjacencies) * 64,
        sockets: if config.has_programs() { socket_memory(config) } else { 0 },
    })
}

/// What the connections of all workers take up, with their places in tables, timers and queues.
fn socket_memory(config: &Config) -> u64 {
    const CONNECTION: u64 = 384 + 48;
    const HALF_OPEN: u64 = 64 + 24;
    const TIME_WAIT: u64 = 64 + 16;
    /// Received, to be sent, out of order, and in flight.
    const PAYLOAD: u64 = 4 * 48;
    const DATAGRAM: u64 = 2 * 48;
    let limits = &config.limits;
    let worker: u64 = [
        (limits.tcp_connections, CONNECTION),
        (limits.tcp_half_open, HALF_OPEN),
        (limits.tcp_time_wait, TIME_WAIT),
        (limits.tcp_payloads, PAYLOAD),
        (limits.udp_datagrams, DATAGRAM),
    ]
    .iter()
    .map(|(count, bytes)| u64::from(*count) * bytes)
    .sum();
    worker * config.workers.cores.len() as u64
}

const MIB: u64 = 1 << 20;

//! DPDK as one of the engine's kinds of device.

use std::cell::Cell;
use std::io;

use engine::api::PortStatus;
use engine::device::{Device, Env, PortHandle};
use pmd::{Eal, Granted, Mbuf, PoolHandle, Port, RxQueue, TscClock, TxQueue, WorkerThread};
use wire::Instant;

/// Names DPDK's types.
pub(crate) enum Dpdk {}

impl Device for Dpdk {
    type Frame = Mbuf;
    type Pool = PoolHandle;
    type Rx = RxQueue;
    type Tx = TxQueue;
    type Env = DpdkEnv;

    #[inline]
    fn ticks() -> u64 {
        pmd::ticks()
    }
}

/// DPDK's environment and the time stamp counter.
#[derive(Clone)]
pub(crate) struct DpdkEnv {
    pub(crate) eal: Eal,
    pub(crate) clock: TscClock,
}

impl Env for DpdkEnv {
    type ThreadGuard = WorkerThread;

    #[inline]
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn enter_thread(&self) -> Result<WorkerThread, String> {
        WorkerThread::register(&self.eal).map_err(|error| error.to_string())
    }

    fn immortal(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> Result<&'static [u8], String> {
        self.eal.immortal(len, fill).map_err(|error| error.to_string())
    }
}

/// A port, for the control plane.
pub(crate) struct DpdkPort {
    port: Port,
    /// Whether it connects to a process, and must be opened again when that is gone.
    connects: bool,
    /// Whether the link was down when it was looked at last.
    was_down: Cell<bool>,
}

impl DpdkPort {
    pub(crate) fn new(port: Port, connects: bool) -> Self {
        DpdkPort { port, connects, was_down: Cell::new(false) }
    }
}

impl PortHandle for DpdkPort {
    fn status(&self) -> PortStatus {
        let info = self.port.info();
        let granted = info.as_ref().map(|info| info.granted).unwrap_or_default();
        // A device that is gone answers nothing; the control plane asks `is_removed` too.
        let link = self.port.link().ok();
        let stats = self.port.stats().unwrap_or_default();
        let extended = self.port.xstats().unwrap_or_default();
        let (buffers, in_use) = self.port.buffers();
        PortStatus {
            driver: info.map(|info| info.capabilities.driver).unwrap_or_default(),
            link_up: link.is_some_and(|link| link.up),
            speed_mbps: link.and_then(|link| link.speed_mbps),
            offloads: offloads(&granted),
            rx_packets: stats.rx_frames,
            rx_bytes: stats.rx_bytes,
            rx_missed: stats.rx_missed,
            rx_errors: stats.rx_errors,
            rx_nombuf: stats.rx_no_buffer,
            buffers: buffers as u64,
            buffers_in_use: in_use as u64,
            tx_packets: stats.tx_frames,
            tx_bytes: stats.tx_bytes,
            tx_errors: stats.tx_errors,
            extended: extended.into_iter().filter(|(_, value)| *value != 0).collect(),
        }
    }

    fn is_removed(&self) -> bool {
        self.port.is_removed()
    }

    /// A link that is down twice in a row: when it was opened a moment ago, the two may be talking still.
    fn has_lost_peer(&self) -> bool {
        let is_down = self.connects && self.port.link().is_ok_and(|link| !link.up);
        self.was_down.replace(is_down) && is_down
    }
}

fn offloads(granted: &Granted) -> Vec<String> {
    [
        ("rx-ip-checksum", granted.rx_ip_checksum),
        ("rx-l4-checksum", granted.rx_l4_checksum),
        ("rss-hash", granted.rss_hash),
        ("vlan-strip", granted.vlan_strip),
        ("vlan-filter", granted.vlan_filter),
        ("scatter", granted.scatter),
        ("tx-l4-checksum", granted.tx_l4_checksum),
        ("multi-segs", granted.multi_segs),
        ("fast-free", granted.fast_free),
    ]
    .into_iter()
    .filter(|(_, on)| *on)
    .map(|(name, _)| name.to_owned())
    .collect()
}

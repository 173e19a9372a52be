//! Ports: their devices, opened and set up as the configuration and the plan have it, at start and while it runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use config::{Config, Plan, TxAssignment};
use engine::control::PortInfo;
use engine::device::{Opened, Opener};
use engine::link::Queue;
use engine::worker::{Egress, WorkerIo};
use l2l3::interface::PortId;
use pmd::{DeviceSocket, Eal, Errno, Mempool, Port, PortConfig};
use wire::{MacAddr, RssKey};

use crate::device::{Dpdk, DpdkPort};
use crate::run::{Error, sets_log_level};

/// Opens the devices of all ports.
pub(crate) fn open(eal: &Eal, config: &Config) -> Result<Vec<Port>, Error> {
    config.ports.iter().map(|port| open_device(eal, config, port, &port.device)).collect()
}

fn open_device(eal: &Eal, config: &Config, port: &config::Port, device: &str) -> Result<Port, Error> {
    if let Some(socket) = DeviceSocket::of(device) {
        if socket.connects() && !socket.is_open() {
            let name = &port.name;
            return Err(format!("port `{name}`: nobody listens at {socket}, where {device} connects.").into());
        }
        socket.clear();
    }
    Port::open(eal, device).map_err(|error| refusal(config, port, &error))
}

/// The ports of a process, and what they are set up with.
pub(crate) struct Ports {
    eal: Eal,
    config: Config,
    plan: Plan,
    /// By port: what it receives into, whatever its device.
    pools: Vec<Mempool>,
    /// Whether every frame lies in one mbuf that nothing else refers to, so that devices may take them the fast way.
    single_segment: bool,
    /// Whether they may free them the fast way, too: into the one pool there is.
    fast_free: bool,
    /// By port: its device, if it has one.
    devices: Vec<Option<Port>>,
}

impl Ports {
    /// Takes devices on, with a pool on each NUMA node that has one.
    pub(crate) fn new(eal: &Eal, config: Config, plan: Plan, devices: Vec<Port>) -> Result<Ports, Error> {
        let mut by_node: HashMap<Option<u32>, Mempool> = HashMap::new();
        let mut pools = Vec::new();
        for device in &devices {
            let node = device.capabilities()?.node;
            let nodes = by_node.len();
            let pool = match by_node.entry(node) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(place) => {
                    let (name, mbufs) = (format!("mbufs-{}", nodes + 1), &plan.mbufs);
                    let pool =
                        Mempool::new(eal, &name, mbufs.total, mbufs.cache_size, mbufs.data_room, node)?;
                    place.insert(pool).clone()
                }
            };
            pools.push(pool);
        }
        // The headers of a tagged frame come on top of the MTU. What programs send refers to payload.
        let longest = plan.ports.iter().map(|port| port.mtu).max().unwrap_or(0) + 18;
        let single_segment = !config.has_programs() && longest <= plan.mbufs.data_room;
        let fast_free = single_segment && by_node.len() == 1;
        let devices = devices.into_iter().map(Some).collect();
        Ok(Ports { eal: eal.clone(), config, plan, pools, single_segment, fast_free, devices })
    }

    /// Sets all ports up, starts them and gives out their queues.
    pub(crate) fn start(&mut self) -> Result<(Vec<PortInfo>, Vec<WorkerIo<Dpdk>>), Error> {
        let mut workers: Vec<WorkerIo<Dpdk>> = Vec::new();
        for worker in &self.plan.workers {
            let egress = |assigned: &TxAssignment| match assigned {
                TxAssignment::Queue(_) => Egress::Removed,
                TxAssignment::HandOver(owner) => Egress::HandOver(*owner),
            };
            // Its own frames lie near the first port that it polls.
            let near = worker.rx.first().map_or(0, |assigned| usize::from(assigned.port));
            let tx = worker.tx.iter().map(egress).collect();
            workers.push(WorkerIo { rx: Vec::new(), tx, pool: self.pools[near].handle() });
        }
        let mut infos = Vec::new();
        for at in 0..self.devices.len() {
            let wanted = &self.config.ports[at];
            let Some(device) = &self.devices[at] else { continue };
            let opened = self.set_up(at, &wanted.device, device, wanted.mac)?;
            let info = device.info().ok_or("a port lost its configuration")?;
            let mut mac = info.capabilities.mac;
            if has_own_mac(wanted, device.name()) {
                mac.0[5] ^= 1;
            }
            let (rx_queues, tx_queues) = (info.rx_queues, info.tx_queues);
            infos.push(PortInfo { mac, rx_queues, tx_queues, handle: opened.handle });
            for (worker, queue) in opened.queues {
                match queue {
                    Queue::Rx(port, queue) => workers[worker].rx.push((port, queue)),
                    Queue::Tx(_, queue) => workers[worker].tx[at] = Egress::Queue(queue),
                }
            }
        }
        Ok((infos, workers))
    }

    /// Configures a port's device, starts it and takes its queues.
    fn set_up(
        &self,
        at: usize,
        devargs: &str,
        device: &Port,
        mac: Option<MacAddr>,
    ) -> Result<Opened<Dpdk>, Error> {
        let wanted = &self.config.ports[at];
        let named = |error: pmd::Error| refusal(&self.config, wanted, &error);
        let pools = [self.pools[at].clone()];
        let settings = self.settings(at, mac);
        match device.configure(&settings, &pools) {
            // A port keeps its address when it gets another device. One that knows no address but its own takes
            // frames for ours too, if it is promiscuous.
            Err(pmd::Error::Device { cause: Errno(95), .. }) if mac != wanted.mac => {
                let settings = PortConfig { mac: wanted.mac, promiscuous: true, ..settings };
                device.configure(&settings, &pools)
            }
            configured => configured,
        }
        .map_err(named)?;
        device.start().map_err(named)?;
        let queues = self.queues(at, device).map_err(named)?;
        let connects = DeviceSocket::of(devargs).is_some_and(|socket| socket.connects());
        let handle = Box::new(DpdkPort::new(device.clone(), connects));
        Ok(Opened { handle, queues })
    }

    fn settings(&self, at: usize, mac: Option<MacAddr>) -> PortConfig {
        let planned = &self.plan.ports[at];
        PortConfig {
            rx_queues: planned.rx_queues,
            tx_queues: planned.tx_queues,
            rx_desc: planned.rx_descriptors,
            tx_desc: planned.tx_descriptors,
            mtu: planned.mtu,
            promiscuous: self.config.ports[at].promiscuous,
            mac,
            rss_key: Some(RssKey::SYMMETRIC.0),
            vlans: self.vlans(at),
            multi_segs: !self.single_segment,
            fast_free: self.fast_free,
            ..PortConfig::default()
        }
    }

    /// The VLANs of a port's interfaces.
    fn vlans(&self, at: usize) -> Vec<u16> {
        let mine = self.config.interfaces.iter().filter(|interface| usize::from(interface.port) == at);
        mine.filter_map(|interface| interface.vlan).collect()
    }

    /// The queues of a port, with the worker of each.
    fn queues(&self, at: usize, device: &Port) -> Result<Vec<(usize, Queue<Dpdk>)>, pmd::Error> {
        let port = PortId(at as u16);
        let mut queues = Vec::new();
        for (worker, planned) in self.plan.workers.iter().enumerate() {
            for assigned in planned.rx.iter().filter(|assigned| assigned.port == port.0) {
                queues.push((worker, Queue::Rx(port, device.take_rx(assigned.queue)?)));
            }
            if let TxAssignment::Queue(queue) = planned.tx[at] {
                queues.push((worker, Queue::Tx(port, device.take_tx(queue)?)));
            }
        }
        Ok(queues)
    }

    /// The address that the device of a running port is to have.
    fn mac_to_keep(&self, at: usize, device: &Port, mac: MacAddr) -> Option<MacAddr> {
        let wanted = &self.config.ports[at];
        if has_own_mac(wanted, device.name()) { None } else { Some(mac) }
    }
}

impl Opener<Dpdk> for Ports {
    fn open(&mut self, port: PortId, devargs: &str, mac: MacAddr) -> Result<Opened<Dpdk>, String> {
        let at = usize::from(port.0);
        let open = || {
            let device = open_device(&self.eal, &self.config, &self.config.ports[at], devargs)?;
            let opened = self.set_up(at, devargs, &device, self.mac_to_keep(at, &device, mac))?;
            Ok((device, opened))
        };
        let (device, opened) = open().map_err(|error: Error| error.to_string())?;
        self.devices[at] = Some(device);
        self.config.ports[at].device = devargs.to_owned();
        Ok(opened)
    }

    fn reset(&mut self, port: PortId, mac: MacAddr) -> Result<Opened<Dpdk>, String> {
        let at = usize::from(port.0);
        let wanted = &self.config.ports[at];
        let Some(device) = &self.devices[at] else {
            return Err(format!("port `{}` has no device.", wanted.name));
        };
        device.reset().map_err(|error| refusal(&self.config, wanted, &error).to_string())?;
        let mac = self.mac_to_keep(at, device, mac);
        self.set_up(at, &wanted.device, device, mac).map_err(|error| error.to_string())
    }

    fn close(&mut self, port: PortId) {
        self.devices[usize::from(port.0)] = None;
    }
}

/// The sentence for a port that could not be made ready.
fn refusal(config: &Config, port: &config::Port, error: &pmd::Error) -> Error {
    let what = match error {
        // These two say nothing of permissions and addresses: the first is what drivers return whatever it
        // was that failed, the second stands for a name that no driver claims.
        pmd::Error::Open { device, cause: Errno(1) } => {
            format!(
                "the driver of device \"{device}\" could not start it; DPDK's own words, if any, are above."
            )
        }
        pmd::Error::Open { device, cause: Errno(14) } => {
            format!("DPDK has no driver for a device called \"{device}\".")
        }
        error => error.to_string(),
    };
    let more = " `[dpdk] eal_args = [\"--log-level=info\"]` has DPDK say more.";
    let more = if sets_log_level(config) { "" } else { more };
    format!("port `{}`: {what}{more}", port.name).into()
}

/// Whether a port's Ethernet address is to be another than its device's. The driver gives a TAP's address to the
/// kernel's end too, which would then take our frames for its own; but it filters nothing.
fn has_own_mac(port: &config::Port, device: &str) -> bool {
    device.starts_with("net_tap") && port.mac.is_none()
}

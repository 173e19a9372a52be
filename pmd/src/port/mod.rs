//! A device, from opening to closing: `open`, `configure`, `start`, queues taken and dropped, `stop`.

mod config;
mod device;
mod rss;
mod stats;

pub use config::{Capabilities, Granted, PortConfig, PortInfo};
pub use rss::Rss;
pub use stats::{Link, PortStats};

use crate::args::device_name;
use crate::eal::Eal;
use crate::error::{Errno, Error};
use crate::mempool::Mempool;
use crate::queue::{RxQueue, TxQueue};
use config::Offloads;
use dpdk_sys as sys;
use std::ffi::{c_int, c_uint, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device's port. Clones are handles of the same port; its queues keep one. With the last handle the
/// port is stopped and closed, and a vdev is removed.
#[derive(Clone, Debug)]
pub struct Port {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    id: u16,
    /// The device's name.
    name: String,
    /// Set by DPDK when the device is pulled out.
    removed: AtomicBool,
    /// DPDK's control functions want one caller at a time.
    state: Mutex<State>,
    eal: Eal,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    info: Option<PortInfo>,
    promiscuous: bool,
    /// What the receive queues fill.
    pools: Vec<Mempool>,
    /// Queues that are given out.
    rx_taken: Vec<bool>,
    tx_taken: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    Stopped,
    Started,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Phase::Open => "not configured",
            Phase::Stopped => "stopped",
            Phase::Started => "started",
        }
    }
}

/// Which way frames go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Receive,
    Transmit,
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Direction::Receive => "receive",
            Direction::Transmit => "transmit",
        }
    }
}

impl State {
    fn taken(&mut self, direction: Direction) -> &mut Vec<bool> {
        match direction {
            Direction::Receive => &mut self.rx_taken,
            Direction::Transmit => &mut self.tx_taken,
        }
    }
}

impl Port {
    /// Opens the device of `devargs`: a PCI address or a vdev's name, with arguments behind commas. It is
    /// the one that EAL made at start if it was named there, else it is created now. Of a device with
    /// several ports, each call opens the next.
    ///
    /// # Errors
    /// [`Error::Open`] if there is no such device, no driver for it, or its driver refuses;
    /// [`Error::AlreadyOpen`]; [`Error::ZeroByte`].
    pub fn open(eal: &Eal, devargs: &str) -> Result<Port, Error> {
        let id = device::claim(eal, devargs)?;
        let shared = Arc::new(Shared {
            id,
            name: device_name(devargs).to_owned(),
            removed: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: Phase::Open,
                info: None,
                promiscuous: false,
                pools: Vec::new(),
                rx_taken: Vec::new(),
                tx_taken: Vec::new(),
            }),
            eal: eal.clone(),
        });
        // SAFETY: EAL runs. The flag lives as long as the port, which unregisters before it goes.
        let ret = unsafe {
            sys::rte_eth_dev_callback_register(id, REMOVAL, Some(on_removal), shared.removed_flag())
        };
        shared.device_error("report its removal", ret)?;
        Ok(Port { shared })
    }

    /// The device's name: its devargs up to the first comma.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// DPDK's number of the port.
    pub fn id(&self) -> u16 {
        self.shared.id
    }

    /// What the device can do.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        let _state = self.shared.lock();
        device::capabilities(self.shared.id).map_err(|cause| self.shared.error("say what it can do", cause))
    }

    /// Configures the port, again if it is stopped. Receive queue n is filled from `pools[n % len]`.
    /// Offloads are what is both asked for and there; see [`PortInfo::granted`].
    ///
    /// # Errors
    /// [`Error::TooFewQueues`] when the device has fewer than asked for, [`Error::Mtu`], [`Error::State`]
    /// when it is started, [`Error::Device`] for what else it refuses.
    ///
    /// # Panics
    /// If `pools` is empty.
    pub fn configure(&self, config: &PortConfig, pools: &[Mempool]) -> Result<PortInfo, Error> {
        assert!(!pools.is_empty(), "a port needs a pool to receive into");
        let mut state = self.shared.lock();
        if state.phase == Phase::Started {
            return Err(self.shared.state_error("be configured", state.phase));
        }
        state.phase = Phase::Open;
        let info = self.shared.configure(config, pools)?;
        state.phase = Phase::Stopped;
        state.promiscuous = config.promiscuous;
        state.pools = pools.to_vec();
        state.rx_taken = vec![false; usize::from(config.rx_queues)];
        state.tx_taken = vec![false; usize::from(config.tx_queues)];
        state.info = Some(info.clone());
        Ok(info)
    }

    /// What the last [`Port::configure`] gave.
    pub fn info(&self) -> Option<PortInfo> {
        self.shared.lock().info.clone()
    }

    /// Starts receiving and sending.
    ///
    /// # Errors
    /// [`Error::State`] if it is not configured or is started already, [`Error::Device`].
    pub fn start(&self) -> Result<(), Error> {
        let mut state = self.shared.lock();
        if state.phase != Phase::Stopped {
            return Err(self.shared.state_error("be started", state.phase));
        }
        // SAFETY: configured, and stopped, so that nobody has its queues.
        self.shared.device_error("start", unsafe { sys::rte_eth_dev_start(self.shared.id) })?;
        state.phase = Phase::Started;
        if state.promiscuous {
            self.shared.set_promiscuous(true)?;
        }
        if let Some(info) = state.info.as_ref().filter(|info| info.rx_queues > 1) {
            let size = info.capabilities.reta_size;
            // A device without a table spreads flows its own way, as `rss` then says.
            if size > 0 {
                rss::set_reta(self.shared.id, size, info.rx_queues)
                    .or_else(|cause| if cause.is_unsupported() { Ok(()) } else { Err(cause) })
                    .map_err(|cause| self.shared.error("take an RSS table", cause))?;
            }
        }
        Ok(())
    }

    /// Stops receiving and sending. All queues must have been dropped.
    ///
    /// # Errors
    /// [`Error::QueuesInUse`], [`Error::State`] if it is not started, [`Error::Device`].
    pub fn stop(&self) -> Result<(), Error> {
        let mut state = self.shared.lock();
        if state.phase != Phase::Started {
            return Err(self.shared.state_error("be stopped", state.phase));
        }
        let count = state.rx_taken.iter().chain(&state.tx_taken).filter(|&&taken| taken).count();
        if count > 0 {
            return Err(Error::QueuesInUse { device: self.shared.name.clone(), what: "be stopped", count });
        }
        // SAFETY: started, and nobody has its queues.
        self.shared.device_error("stop", unsafe { sys::rte_eth_dev_stop(self.shared.id) })?;
        state.phase = Phase::Stopped;
        Ok(())
    }

    /// Gives out a receive queue, to be polled by one thread. Dropping it gives it back.
    ///
    /// # Errors
    /// [`Error::QueueTaken`] while it is out, [`Error::NoSuchQueue`], [`Error::State`] if the port is not
    /// started.
    pub fn take_rx(&self, queue: u16) -> Result<RxQueue, Error> {
        self.take(Direction::Receive, queue)?;
        Ok(RxQueue::new(self.clone(), queue))
    }

    /// Gives out a transmit queue, to be filled by one thread. Dropping it gives it back.
    ///
    /// # Errors
    /// As [`Port::take_rx`].
    pub fn take_tx(&self, queue: u16) -> Result<TxQueue, Error> {
        let multi_segs = self.take(Direction::Transmit, queue)?.multi_segs;
        Ok(TxQueue::new(self.clone(), queue, multi_segs))
    }

    fn take(&self, direction: Direction, queue: u16) -> Result<Granted, Error> {
        let (device, kind) = (self.shared.name.clone(), direction.name());
        let mut state = self.shared.lock();
        if state.phase != Phase::Started {
            return Err(self.shared.state_error("give out queues", state.phase));
        }
        match state.taken(direction).get_mut(usize::from(queue)) {
            None => return Err(Error::NoSuchQueue { device, kind, queue }),
            Some(true) => return Err(Error::QueueTaken { device, kind, queue }),
            Some(taken) => *taken = true,
        }
        Ok(state.info.as_ref().map(|info| info.granted).unwrap_or_default())
    }

    /// Takes a queue back.
    pub(crate) fn give_back(&self, direction: Direction, queue: u16) {
        if let Some(taken) = self.shared.lock().taken(direction).get_mut(usize::from(queue)) {
            *taken = false;
        }
    }

    /// The state of the link, at once.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn link(&self) -> Result<Link, Error> {
        let _state = self.shared.lock();
        stats::link(self.shared.id).map_err(|cause| self.shared.error("say how its link is", cause))
    }

    /// The device's counters.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn stats(&self) -> Result<PortStats, Error> {
        let _state = self.shared.lock();
        stats::stats(self.shared.id).map_err(|cause| self.shared.error("give its counters", cause))
    }

    /// Sets the device's counters to zero.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn reset_stats(&self) -> Result<(), Error> {
        let _state = self.shared.lock();
        stats::reset_stats(self.shared.id).map_err(|cause| self.shared.error("reset its counters", cause))
    }

    /// The driver's own counters, by name.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn xstats(&self) -> Result<Vec<(String, u64)>, Error> {
        let _state = self.shared.lock();
        stats::xstats(self.shared.id).map_err(|cause| self.shared.error("give its driver's counters", cause))
    }

    /// The RSS key and table in force on a started port; `None` if the device cannot say, or spreads
    /// flows in a way of its own.
    pub fn rss(&self) -> Option<Rss> {
        let state = self.shared.lock();
        let device = &state.info.as_ref()?.capabilities;
        rss::query(self.shared.id, device.reta_size, device.rss_key_len)
            .ok()
            .filter(|rss| !rss.reta.is_empty())
    }

    /// Whether frames for other stations are received.
    pub fn is_promiscuous(&self) -> bool {
        let _state = self.shared.lock();
        // SAFETY: EAL runs.
        unsafe { sys::rte_eth_promiscuous_get(self.shared.id) == 1 }
    }

    /// Chooses whether frames for other stations are received. Some vdevs receive all anyway.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn set_promiscuous(&self, on: bool) -> Result<(), Error> {
        let mut state = self.shared.lock();
        state.promiscuous = on;
        self.shared.set_promiscuous(on)
    }

    /// Whether the device has been pulled out: DPDK said so, or it does not answer any more.
    pub fn is_removed(&self) -> bool {
        let _state = self.shared.lock();
        self.shared.removed.load(Ordering::Acquire)
            // SAFETY: EAL runs.
            || unsafe { sys::rte_eth_dev_is_removed(self.shared.id) == 1 }
            || stats::stats(self.shared.id).is_err_and(|cause| [libc::EIO, libc::ENODEV].contains(&cause.0))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn configure(&self, config: &PortConfig, pools: &[Mempool]) -> Result<PortInfo, Error> {
        let mut device =
            device::capabilities(self.id).map_err(|cause| self.error("say what it can do", cause))?;
        self.check(config, &device)?;
        let data_room = pools.iter().map(Mempool::data_room).min().unwrap_or_default();
        let can_fast_free = config.fast_free && !config.multi_segs && device.offloads.fast_free;
        let fast_free = can_fast_free && self.eal.keep_one_pool();
        let wanted = Offloads::negotiate(config, &device, data_room, fast_free);
        let offloads = self.configure_device(config, &device, wanted)?;

        let (mut rx_desc, mut tx_desc) = (config.rx_desc, config.tx_desc);
        // SAFETY: EAL runs; adjusts the two numbers.
        let ret =
            unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &raw mut rx_desc, &raw mut tx_desc) };
        self.device_error("say how many descriptors it takes", ret)?;
        self.set_up_queues(config, &device, pools, rx_desc, tx_desc)?;
        let mtu = self.set_mtu(config.mtu)?;
        if let Some(mac) = config.mac.filter(|mac| *mac != device.mac) {
            let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
            // SAFETY: EAL runs; reads the address.
            let ret = unsafe { sys::rte_eth_dev_default_mac_addr_set(self.id, &raw mut address) };
            self.device_error("take an Ethernet address", ret)?;
            device.mac = mac;
        }
        Ok(PortInfo {
            device: self.name.clone(),
            port_id: self.id,
            capabilities: device,
            rx_queues: config.rx_queues,
            tx_queues: config.tx_queues,
            rx_desc,
            tx_desc,
            mtu,
            granted: Granted::of(offloads.rx, offloads.tx),
        })
    }

    fn check(&self, config: &PortConfig, device: &Capabilities) -> Result<(), Error> {
        let Capabilities { max_rx_queues: max_rx, max_tx_queues: max_tx, min_mtu: min, max_mtu: max, .. } =
            *device;
        let (rx, tx, mtu) = (config.rx_queues, config.tx_queues, config.mtu);
        if rx > max_rx || tx > max_tx {
            return Err(Error::TooFewQueues { device: self.name.clone(), rx, tx, max_rx, max_tx });
        }
        if !(min..=max).contains(&mtu) {
            return Err(Error::Mtu { device: self.name.clone(), mtu, min, max });
        }
        Ok(())
    }

    /// Configures the device; without RSS if it refuses that. Gives what it took.
    fn configure_device(
        &self,
        config: &PortConfig,
        device: &Capabilities,
        wanted: Offloads,
    ) -> Result<Offloads, Error> {
        let mut refusal = Errno(libc::ENOTSUP);
        for offloads in [wanted, wanted.without_rss()] {
            let mut key = config.rss_key.map(|key| rss::fit_key(&key, device.rss_key_len));
            // SAFETY: all zeros are a valid struct of integers and pointers: the defaults.
            let mut conf: sys::rte_eth_conf = unsafe { mem::zeroed() };
            conf.rxmode.mtu = u32::from(config.mtu);
            conf.rxmode.offloads = offloads.rx;
            conf.txmode.offloads = offloads.tx;
            if offloads.rss_types != 0 {
                conf.rxmode.mq_mode = sys::rte_eth_rx_mq_mode_RTE_ETH_MQ_RX_RSS;
                let rss_conf = &mut conf.rx_adv_conf.rss_conf;
                rss_conf.rss_hf = offloads.rss_types;
                rss_conf.rss_key_len = key.as_ref().map_or(0, |key| key.len() as u8);
                rss_conf.rss_key = key.as_mut().map_or(ptr::null_mut(), |key| key.as_mut_ptr());
            }
            // SAFETY: EAL runs, the port is stopped; the struct and the key are read during the call. Drivers
            // copy the key when they program it, and ethdev keeps the struct's bytes but reads the key no more.
            let ret = unsafe {
                sys::rte_eth_dev_configure(self.id, config.rx_queues, config.tx_queues, &raw const conf)
            };
            match Errno::check(ret) {
                Ok(()) => return Ok(offloads),
                Err(cause) => refusal = cause,
            }
            if offloads == wanted.without_rss() {
                break;
            }
        }
        Err(self.error("be configured", refusal))
    }

    fn set_up_queues(
        &self,
        config: &PortConfig,
        device: &Capabilities,
        pools: &[Mempool],
        rx_desc: u16,
        tx_desc: u16,
    ) -> Result<(), Error> {
        // DPDK's number for "any node" is -1.
        let node = device.node.map_or(-1, |node| node as c_int) as c_uint;
        for (queue, pool) in (0..config.rx_queues).zip(pools.iter().cycle()) {
            // SAFETY: configured and stopped; the pool lives as long as the port, which keeps a handle; no
            // queue configuration means the port's.
            let ret = unsafe {
                sys::rte_eth_rx_queue_setup(self.id, queue, rx_desc, node, ptr::null(), pool.as_ptr())
            };
            self.device_error("set up a receive queue", ret)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above.
            let ret = unsafe { sys::rte_eth_tx_queue_setup(self.id, queue, tx_desc, node, ptr::null()) };
            self.device_error("set up a transmit queue", ret)?;
        }
        Ok(())
    }

    /// Sets the MTU where the driver has more to do for it than to be configured; gives what is in force.
    fn set_mtu(&self, mtu: u16) -> Result<u16, Error> {
        // SAFETY: EAL runs, the port is configured and stopped.
        let set = Errno::check(unsafe { sys::rte_eth_dev_set_mtu(self.id, mtu) });
        set.or_else(|cause| if cause.is_unsupported() { Ok(()) } else { Err(cause) })
            .map_err(|cause| self.error("take the MTU", cause))?;
        let mut in_force = mtu;
        // SAFETY: EAL runs; writes the number.
        self.device_error("say its MTU", unsafe { sys::rte_eth_dev_get_mtu(self.id, &raw mut in_force) })?;
        Ok(in_force)
    }

    fn set_promiscuous(&self, on: bool) -> Result<(), Error> {
        // SAFETY: EAL runs.
        let ret = unsafe {
            match on {
                true => sys::rte_eth_promiscuous_enable(self.id),
                false => sys::rte_eth_promiscuous_disable(self.id),
            }
        };
        match Errno::check(ret) {
            Err(cause) if !cause.is_unsupported() => Err(self.error("change its promiscuous mode", cause)),
            // A driver that does not know the mode receives all there is.
            _ => Ok(()),
        }
    }

    fn removed_flag(&self) -> *mut c_void {
        (&raw const self.removed).cast_mut().cast()
    }

    fn error(&self, what: &'static str, cause: Errno) -> Error {
        Error::Device { device: self.name.clone(), what, cause }
    }

    fn device_error(&self, what: &'static str, ret: c_int) -> Result<(), Error> {
        Errno::check(ret).map_err(|cause| self.error(what, cause))
    }

    fn state_error(&self, what: &'static str, phase: Phase) -> Error {
        Error::State { device: self.name.clone(), what, state: phase.name() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let device = device::device_of(self.id);
        // SAFETY: the last handle is gone, so that nobody has a queue. Unregistering is refused while the
        // callback runs, after which the flag is not used any more.
        unsafe {
            while sys::rte_eth_dev_callback_unregister(
                self.id,
                REMOVAL,
                Some(on_removal),
                self.removed_flag(),
            ) == -libc::EAGAIN
            {
                std::thread::yield_now();
            }
            sys::rte_eth_dev_stop(self.id);
            sys::rte_eth_dev_close(self.id);
        }
        self.eal.release_port(self.id);
        device::detach(device);
    }
}

const REMOVAL: sys::rte_eth_event_type = sys::rte_eth_event_type_RTE_ETH_EVENT_INTR_RMV;

/// DPDK calls this on its interrupt thread.
unsafe extern "C" fn on_removal(
    _port: u16,
    _event: sys::rte_eth_event_type,
    flag: *mut c_void,
    _param: *mut c_void,
) -> c_int {
    // SAFETY: the flag of a port that has not yet unregistered.
    unsafe { &*flag.cast::<AtomicBool>() }.store(true, Ordering::Release);
    0
}

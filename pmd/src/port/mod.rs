//! A device, from opening to closing: `open`, `configure`, `start`, queues taken and dropped, `stop` or `reset`.

mod config;
mod device;
mod interrupts;
mod netdev;
mod rss;
mod setup;
mod state;
mod stats;

pub use config::{Capabilities, Granted, PortConfig, PortInfo};
pub use rss::Rss;
pub(crate) use state::Direction;
pub use stats::{Link, PortStats};

use crate::args::device_name;
use crate::eal::Eal;
use crate::error::{Errno, Error};
use crate::mempool::Mempool;
use crate::queue::{RxQueue, TxQueue};
use dpdk_sys as sys;
use netdev::NetDev;
use state::{Phase, State};
use std::ffi::c_int;
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
    /// What it stands on in the kernel.
    netdev: NetDev,
    /// DPDK's control functions want one caller at a time.
    state: Mutex<State>,
    eal: Eal,
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
            netdev: NetDev::of(id),
            state: Mutex::default(),
            eal: eal.clone(),
        });
        // SAFETY: the flag lives as long as the port, which unregisters before it goes.
        unsafe { interrupts::watch(id, &shared.removed) }
            .map_err(|cause| shared.error("report its removal", cause))?;
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
        // Until it succeeds, queues may have either the pools from before or these.
        state.pools.extend_from_slice(pools);
        let info = self.shared.configure(config, pools)?;
        state.phase = Phase::Stopped;
        state.promiscuous = config.promiscuous;
        state.vlans.clone_from(&config.vlans);
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
        if state.info.as_ref().is_some_and(|info| info.granted.vlan_filter) {
            for &vlan in &state.vlans {
                // SAFETY: EAL runs, the port is started.
                let ret = unsafe { sys::rte_eth_dev_vlan_filter(self.shared.id, vlan, 1) };
                self.shared.device_error("receive frames of a VLAN", ret)?;
            }
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

    /// Stops the port and has its driver set the device up afresh, if the driver can. It is to be configured again.
    ///
    /// # Errors
    /// As [`Port::stop`].
    pub fn reset(&self) -> Result<(), Error> {
        self.stop()?;
        let mut state = self.shared.lock();
        state.phase = Phase::Open;
        // SAFETY: stopped, so that nobody has its queues.
        match Errno::check(unsafe { sys::rte_eth_dev_reset(self.shared.id) }) {
            Err(cause) if !cause.is_unsupported() => Err(self.shared.error("be reset", cause)),
            _ => Ok(()),
        }
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
        let granted = self.take(Direction::Transmit, queue)?;
        Ok(TxQueue::new(self.clone(), queue, granted))
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

    /// Buffers of the pools that it receives into: (in all, not free). Those in receive queues are not free.
    pub fn buffers(&self) -> (usize, usize) {
        let state = self.shared.lock();
        // Queues may share a pool.
        let mut pools: Vec<&Mempool> = Vec::new();
        for pool in &state.pools {
            if !pools.iter().any(|known| known.as_ptr() == pool.as_ptr()) {
                pools.push(pool);
            }
        }
        let count = pools.iter().map(|pool| pool.count()).sum();
        (count, count - pools.iter().map(|pool| pool.available()).sum::<usize>())
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

    /// Whether the device has been pulled out: DPDK said so, or it does not answer any more, or the
    /// kernel's device behind it is deleted. Makes system calls.
    pub fn is_removed(&self) -> bool {
        let _state = self.shared.lock();
        self.shared.removed.load(Ordering::Acquire)
            || self.shared.netdev.is_gone()
            // SAFETY: EAL runs.
            || unsafe { sys::rte_eth_dev_is_removed(self.shared.id) == 1 }
            || stats::stats(self.shared.id).is_err_and(|cause| [libc::EIO, libc::ENODEV].contains(&cause.0))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        interrupts::unwatch(self.id, &self.removed);
        interrupts::let_pass();
        // SAFETY: the last handle is gone, so that nobody has a queue.
        unsafe {
            sys::rte_eth_dev_stop(self.id);
            sys::rte_eth_dev_close(self.id);
        }
        self.eal.release_port(self.id);
        device::detach(device);
    }
}

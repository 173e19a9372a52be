//! Configuring a port: what was asked for, as far as the device can do it.

use super::config::{Capabilities, Offloads, PortConfig, PortInfo};
use super::{Shared, device, rss};
use crate::error::{Errno, Error};
use crate::mbuf;
use crate::mempool::Mempool;
use dpdk_sys as sys;
use std::ffi::{c_int, c_uint};
use std::mem;
use std::ptr;

/// Drivers that may give frames of several segments without having been asked to scatter: they copy from
/// another program's buffers, or hand on its frames as they are.
const CHAINS_UNASKED: [&str; 6] =
    ["net_memif", "net_pcap", "net_ring", "net_tap", "net_vhost", "net_virtio_user"];

impl Shared {
    /// Configures the stopped port and its queues.
    pub(super) fn configure(&self, config: &PortConfig, pools: &[Mempool]) -> Result<PortInfo, Error> {
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
        self.set_mtu(config.mtu.min(device.driver_max_mtu))?;
        if let Some(mac) = config.mac.filter(|mac| *mac != device.mac) {
            let mut address = sys::rte_ether_addr { addr_bytes: mac.0 };
            // SAFETY: EAL runs; reads the address.
            let ret = unsafe { sys::rte_eth_dev_default_mac_addr_set(self.id, &raw mut address) };
            self.device_error("take an Ethernet address", ret)?;
            device.mac = mac;
        }
        let granted = device.granted(config, offloads);
        if granted.scatter || CHAINS_UNASKED.contains(&device.driver.as_str()) {
            mbuf::expect_chains();
        }
        Ok(PortInfo {
            device: self.name.clone(),
            port_id: self.id,
            granted,
            capabilities: device,
            rx_queues: config.rx_queues,
            tx_queues: config.tx_queues,
            rx_desc,
            tx_desc,
            mtu: config.mtu,
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
            conf.rxmode.mtu = u32::from(config.mtu.min(device.driver_max_mtu));
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

    /// Sets the MTU where the driver has more to do for it than to be configured.
    fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        // SAFETY: EAL runs, the port is configured and stopped.
        let set = Errno::check(unsafe { sys::rte_eth_dev_set_mtu(self.id, mtu) });
        set.or_else(|cause| if cause.is_unsupported() { Ok(()) } else { Err(cause) })
            .map_err(|cause| self.error("take the MTU", cause))
    }
}

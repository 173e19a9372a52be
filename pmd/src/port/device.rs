//! Finding devices: from devargs to a port's number, and what DPDK knows of it.

use super::config::{Capabilities, Granted};
use crate::args::{device_args, device_name, is_pci_address};
use crate::eal::{Eal, c_string};
use crate::error::{Errno, Error};
use dpdk_sys as sys;
use std::ffi::{CStr, c_char};
use std::mem;
use std::ptr;
use wire::MacAddr;

/// Bytes of an Ethernet header and checksum: what a frame is longer than its MTU, unless the driver
/// says otherwise.
const ETHERNET_OVERHEAD: u32 = 14 + sys::SL_ETHER_CRC_LEN as u32;

/// The least MTU of a driver that names none (RFC 791: every link carries 68 bytes).
const LEAST_MTU: u16 = 68;

/// The name by which DPDK knows the device of `devargs`.
pub(super) fn canonical_name(devargs: &str) -> String {
    let name = device_name(devargs);
    if !is_pci_address(name) {
        return name.to_owned();
    }
    let name = name.to_ascii_lowercase();
    if name.matches(':').count() == 1 { format!("0000:{name}") } else { name }
}

/// Claims a port of the device that nobody has open; creates the device if there is none.
pub(super) fn claim(eal: &Eal, devargs: &str) -> Result<u16, Error> {
    let name = canonical_name(devargs);
    if !ports().any(|port| is_of(port, &name)) {
        attach(&name, devargs)?;
    }
    let mut found = false;
    for port in ports().filter(|&port| is_of(port, &name)) {
        found = true;
        if eal.claim_port(port) {
            return Ok(port);
        }
    }
    let device = devargs.to_owned();
    Err(if found {
        Error::AlreadyOpen { device }
    } else {
        Error::Open { device, cause: Errno(libc::ENODEV) }
    })
}

/// Has DPDK create the device and find its driver.
fn attach(name: &str, devargs: &str) -> Result<(), Error> {
    let bus = if is_pci_address(name) { c"pci" } else { c"vdev" };
    let c_name = c_string("the device's name", name)?;
    let c_args = c_string("the device's arguments", device_args(devargs))?;
    // SAFETY: EAL runs; all are C strings.
    let ret = unsafe { sys::rte_eal_hotplug_add(bus.as_ptr(), c_name.as_ptr(), c_args.as_ptr()) };
    Errno::check(ret).map_err(|cause| Error::Open { device: devargs.to_owned(), cause })
}

/// Has DPDK forget the device, unless another port of it is there still.
pub(super) fn detach(device: *mut sys::rte_device) {
    if !device.is_null() && !ports().any(|port| device_of(port) == device) {
        // SAFETY: the device was found through a port, and only `detach` removes one, after the last.
        unsafe { sys::rte_dev_remove(device) };
    }
}

/// All ports there are.
fn ports() -> impl Iterator<Item = u16> {
    let mut next = 0;
    std::iter::from_fn(move || {
        // SAFETY: EAL runs.
        let port = unsafe { sys::rte_eth_find_next(next) };
        if u32::from(port) >= sys::RTE_MAX_ETHPORTS {
            return None;
        }
        next = port + 1;
        Some(port)
    })
}

/// Whether the port is of the device so named, or has that name itself.
fn is_of(port: u16, name: &str) -> bool {
    let device = device_of(port);
    // SAFETY: a device's name is a C string that lives as long as the device.
    let of_device = !device.is_null()
        && unsafe { CStr::from_ptr(sys::rte_dev_name(device)) }.to_bytes() == name.as_bytes();
    of_device || port_name(port).as_deref() == Some(name)
}

fn port_name(port: u16) -> Option<String> {
    let mut name = [0 as c_char; sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: writes a C string of at most RTE_ETH_NAME_MAX_LEN bytes.
    let ret = unsafe { sys::rte_eth_dev_get_name_by_port(port, name.as_mut_ptr()) };
    (ret == 0).then(|| text(name.as_ptr()))
}

/// The device that a port is of; null if unknown.
pub(super) fn device_of(port: u16) -> *mut sys::rte_device {
    dev_info(port).map_or(ptr::null_mut(), |info| info.device)
}

pub(super) fn dev_info(port: u16) -> Result<sys::rte_eth_dev_info, Errno> {
    // SAFETY: all zeros are a valid struct of integers and pointers.
    let mut info: sys::rte_eth_dev_info = unsafe { mem::zeroed() };
    // SAFETY: EAL runs; writes the struct.
    Errno::check(unsafe { sys::rte_eth_dev_info_get(port, &raw mut info) })?;
    Ok(info)
}

/// What the port's device can do.
pub(super) fn capabilities(port: u16) -> Result<Capabilities, Errno> {
    let info = dev_info(port)?;
    // A driver that limits frames but not the MTU, or the other way round, leaves the other at its most.
    let named = info.max_mtu != u16::MAX && info.max_rx_pktlen > u32::from(info.max_mtu);
    let overhead = if named { info.max_rx_pktlen - u32::from(info.max_mtu) } else { ETHERNET_OVERHEAD };
    let by_frame = info.max_rx_pktlen.saturating_sub(overhead).min(u32::from(u16::MAX)) as u16;
    let max_mtu = info.max_mtu.min(by_frame);
    let mut device = Capabilities {
        driver: text(info.driver_name),
        mac: mac(port)?,
        // SAFETY: EAL runs.
        node: u32::try_from(unsafe { sys::rte_eth_dev_socket_id(port) }).ok(),
        max_rx_queues: info.max_rx_queues,
        max_tx_queues: info.max_tx_queues,
        min_mtu: info.min_mtu.max(LEAST_MTU),
        max_mtu,
        reta_size: info.reta_size,
        rss_key_len: info.hash_key_size,
        offloads: Granted::of(info.rx_offload_capa, info.tx_offload_capa),
        driver_max_mtu: max_mtu,
        rx_offloads: info.rx_offload_capa,
        tx_offloads: info.tx_offload_capa,
        rss_types: info.flow_type_rss_offloads,
        overhead,
    };
    device.know_better();
    Ok(device)
}

pub(super) fn mac(port: u16) -> Result<MacAddr, Errno> {
    let mut mac = sys::rte_ether_addr { addr_bytes: [0; 6] };
    // SAFETY: EAL runs; writes the struct.
    Errno::check(unsafe { sys::rte_eth_macaddr_get(port, &raw mut mac) })?;
    Ok(MacAddr(mac.addr_bytes))
}

/// A C string of DPDK's; empty if there is none.
fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: DPDK's strings end with a zero, and this one is not null.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_dpdk_has_them() {
        for (devargs, name) in [
            ("net_tap0,iface=x", "net_tap0"),
            ("net_ring0", "net_ring0"),
            ("0A:00.1", "0000:0a:00.1"),
            ("0001:0a:00.1,arg=1", "0001:0a:00.1"),
        ] {
            assert_eq!(canonical_name(devargs), name);
        }
    }
}

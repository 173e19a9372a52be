//! What a port counts, and the state of its link.

use crate::error::Errno;
use dpdk_sys as sys;
use std::ffi::CStr;
use std::mem;

/// What a device counted since it was started or its counters were reset. Frames and bytes as the
/// driver counts them; most leave the checksum out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames that the device dropped because the receive queues were full.
    pub rx_missed: u64,
    /// Frames received with errors.
    pub rx_errors: u64,
    /// Times that there was no buffer to receive into.
    pub rx_no_buffer: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that the device could not send.
    pub tx_errors: u64,
}

/// The state of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Whether frames can pass.
    pub up: bool,
    /// Megabits a second, if known.
    pub speed_mbps: Option<u32>,
    /// Whether both ends may send at once.
    pub full_duplex: bool,
}

pub(super) fn stats(port: u16) -> Result<PortStats, Errno> {
    // SAFETY: all zeros are a valid struct of integers.
    let mut stats: sys::rte_eth_stats = unsafe { mem::zeroed() };
    // SAFETY: EAL runs; writes the struct.
    Errno::check(unsafe { sys::rte_eth_stats_get(port, &raw mut stats) })?;
    Ok(PortStats {
        rx_frames: stats.ipackets,
        rx_bytes: stats.ibytes,
        rx_missed: stats.imissed,
        rx_errors: stats.ierrors,
        rx_no_buffer: stats.rx_nombuf,
        tx_frames: stats.opackets,
        tx_bytes: stats.obytes,
        tx_errors: stats.oerrors,
    })
}

pub(super) fn reset_stats(port: u16) -> Result<(), Errno> {
    // SAFETY: EAL runs.
    Errno::check(unsafe { sys::rte_eth_stats_reset(port) })
}

pub(super) fn link(port: u16) -> Result<Link, Errno> {
    let mut link = sys::sl_link { speed_mbps: 0, full_duplex: 0, up: 0 };
    // SAFETY: EAL runs; writes the struct.
    Errno::check(unsafe { sys::sl_link_get(port, &raw mut link) })?;
    let known = |speed: &u32| ![0, u32::MAX].contains(speed);
    Ok(Link {
        up: link.up != 0,
        speed_mbps: Some(link.speed_mbps).filter(known),
        full_duplex: link.full_duplex != 0,
    })
}

/// The driver's own counters, by name.
pub(super) fn xstats(port: u16) -> Result<Vec<(String, u64)>, Errno> {
    // SAFETY: EAL runs; with no room given, both functions only count.
    let count = unsafe { sys::rte_eth_xstats_get_names(port, std::ptr::null_mut(), 0) };
    Errno::check(count)?;
    // SAFETY: all zeros are valid structs of integers.
    let (name, value) = unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut names: Vec<sys::rte_eth_xstat_name> = vec![name; count as usize];
    let mut values: Vec<sys::rte_eth_xstat> = vec![value; count as usize];
    // SAFETY: EAL runs; there is room for `count` names and as many values.
    let (named, valued) = unsafe {
        (
            sys::rte_eth_xstats_get_names(port, names.as_mut_ptr(), count as u32),
            sys::rte_eth_xstats_get(port, values.as_mut_ptr(), count as u32),
        )
    };
    Errno::check(named)?;
    Errno::check(valued)?;
    // The driver may have found more or fewer since.
    names.truncate(named.min(count) as usize);
    values.truncate(valued.min(count) as usize);
    Ok(values
        .iter()
        .filter_map(|value| {
            let name = names.get(usize::try_from(value.id).ok()?)?;
            // SAFETY: DPDK ends names with a zero within their array.
            let name = unsafe { CStr::from_ptr(name.name.as_ptr()) };
            Some((name.to_string_lossy().into_owned(), value.value))
        })
        .collect())
}

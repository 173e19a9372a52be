//! How a device spreads flows over its receive queues.

use crate::error::Errno;
use dpdk_sys as sys;
use std::mem;

const GROUP: usize = sys::RTE_ETH_RETA_GROUP_SIZE as usize;

/// Bytes of the longest key that a driver takes.
const MAX_KEY: usize = 128;

/// The key and the table in force. A flow's frames come to queue `reta[hash % reta.len()]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rss {
    /// The Toeplitz key. An IPv4 flow's hash depends on its first 16 bytes alone.
    pub key: Vec<u8>,
    /// The queue of each table entry.
    pub reta: Vec<u16>,
}

/// The key in a device's length (0: the device does not say): repeated, or cut.
pub(super) fn fit_key(key: &[u8; 40], len: u8) -> Vec<u8> {
    let len = if len == 0 { key.len() } else { usize::from(len) };
    key.iter().copied().cycle().take(len).collect()
}

/// Spreads the table's entries evenly over the queues.
pub(super) fn set_reta(port: u16, size: u16, queues: u16) -> Result<(), Errno> {
    let mut groups = empty_groups(size);
    for entry in 0..usize::from(size) {
        groups[entry / GROUP].reta[entry % GROUP] = (entry % usize::from(queues)) as u16;
    }
    // SAFETY: EAL runs; there are groups for `size` entries.
    Errno::check(unsafe { sys::rte_eth_dev_rss_reta_update(port, groups.as_mut_ptr(), size) })
}

/// What is in force, as the device says.
pub(super) fn query(port: u16, size: u16, key_len: u8) -> Result<Rss, Errno> {
    let mut key = vec![0; if key_len == 0 { 40 } else { usize::from(key_len).min(MAX_KEY) }];
    // SAFETY: all zeros are a valid struct of integers and pointers.
    let mut conf: sys::rte_eth_rss_conf = unsafe { mem::zeroed() };
    conf.rss_key = key.as_mut_ptr();
    conf.rss_key_len = key.len() as u8;
    // SAFETY: EAL runs; at most rss_key_len bytes of the key are written.
    Errno::check(unsafe { sys::rte_eth_dev_rss_hash_conf_get(port, &raw mut conf) })?;

    let mut groups = empty_groups(size);
    // SAFETY: EAL runs; there are groups for `size` entries.
    Errno::check(unsafe { sys::rte_eth_dev_rss_reta_query(port, groups.as_mut_ptr(), size) })?;
    let reta = (0..usize::from(size)).map(|entry| groups[entry / GROUP].reta[entry % GROUP]).collect();
    Ok(Rss { key, reta })
}

/// Groups for `size` entries, all of which are meant.
fn empty_groups(size: u16) -> Vec<sys::rte_eth_rss_reta_entry64> {
    let group = sys::rte_eth_rss_reta_entry64 { mask: u64::MAX, reta: [0; GROUP] };
    vec![group; usize::from(size).div_ceil(GROUP)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fit_the_device() {
        let key: [u8; 40] = std::array::from_fn(|i| i as u8);
        assert_eq!(fit_key(&key, 0), key);
        assert_eq!(fit_key(&key, 40), key);
        let long = fit_key(&key, 52);
        assert_eq!((long.len(), &long[..40], &long[40..]), (52, &key[..], &key[..12]));
    }
}

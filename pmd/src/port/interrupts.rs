//! What DPDK's interrupt thread does for a port.

use crate::error::Errno;
use dpdk_sys as sys;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const REMOVAL: sys::rte_eth_event_type = sys::rte_eth_event_type_RTE_ETH_EVENT_INTR_RMV;

/// Has `removed` set when the device is pulled out.
///
/// # Safety
/// The flag must stay where it is until [`unwatch`].
pub(super) unsafe fn watch(port: u16, removed: &AtomicBool) -> Result<(), Errno> {
    // SAFETY: EAL runs; the flag stays, as the caller promises.
    Errno::check(unsafe {
        sys::rte_eth_dev_callback_register(port, REMOVAL, Some(on_removal), pointer(removed))
    })
}

/// The flag is not set any more.
pub(super) fn unwatch(port: u16, removed: &AtomicBool) {
    // SAFETY: EAL runs; unregistering is refused while the callback runs, after which the flag is not used any more.
    while unsafe { sys::rte_eth_dev_callback_unregister(port, REMOVAL, Some(on_removal), pointer(removed)) }
        == -libc::EAGAIN
    {
        std::thread::yield_now();
    }
}

/// Waits until the thread has done what was due. Some drivers leave things to it, for a device that must be there
/// still: net_virtio_user does, when it finds that its peer is gone.
pub(super) fn let_pass() {
    let passed = AtomicBool::new(false);
    // SAFETY: EAL runs. Alarms go off one after the other, in the order of their times; the flag stays until this one
    // has.
    if unsafe { sys::rte_eal_alarm_set(1, Some(on_alarm), pointer(&passed)) } == 0 {
        while !passed.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

fn pointer(flag: &AtomicBool) -> *mut c_void {
    (&raw const *flag).cast_mut().cast()
}

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

/// DPDK calls this on its interrupt thread.
unsafe extern "C" fn on_alarm(flag: *mut c_void) {
    // SAFETY: the flag of a thread that waits for it to be set.
    unsafe { &*flag.cast::<AtomicBool>() }.store(true, Ordering::Release);
}

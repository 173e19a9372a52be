//! A port's queues: a burst of frames is one call into DPDK.

use crate::mbuf::Mbuf;
use crate::port::{Direction, Granted, Port};
use dpdk_sys as sys;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use wire::Frame;
use wire::transport::fill_open_checksum;

/// Marks what one thread at a time may look at.
type NotSync = PhantomData<Cell<()>>;

/// A receive queue. There is one of each at a time; it may move to another thread, and is given back
/// when dropped. The port is not stopped or closed before that.
///
/// ```compile_fail
/// fn shared_by_threads<T: Sync>() {}
/// shared_by_threads::<pmd::RxQueue>();
/// ```
/// ```compile_fail
/// fn copied<T: Clone>() {}
/// copied::<pmd::RxQueue>();
/// ```
/// ```
/// fn moved<T: Send>() {}
/// moved::<pmd::RxQueue>();
/// moved::<pmd::TxQueue>();
/// ```
#[derive(Debug)]
pub struct RxQueue {
    port_id: u16,
    queue: u16,
    port: Port,
    not_sync: NotSync,
}

/// A transmit queue. There is one of each at a time; it may move to another thread, and is given back
/// when dropped. The port is not stopped or closed before that.
///
/// ```compile_fail
/// fn shared_by_threads<T: Sync>() {}
/// shared_by_threads::<pmd::TxQueue>();
/// ```
#[derive(Debug)]
pub struct TxQueue {
    port_id: u16,
    queue: u16,
    /// What the device does with what is sent.
    granted: Granted,
    port: Port,
    not_sync: NotSync,
}

impl RxQueue {
    pub(crate) fn new(port: Port, queue: u16) -> Self {
        RxQueue { port_id: port.id(), queue, port, not_sync: PhantomData }
    }

    /// The port that it is of.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Its number.
    pub fn queue(&self) -> u16 {
        self.queue
    }
}

impl TxQueue {
    pub(crate) fn new(port: Port, queue: u16, granted: Granted) -> Self {
        TxQueue { port_id: port.id(), queue, granted, port, not_sync: PhantomData }
    }

    /// The port that it is of.
    pub fn port(&self) -> &Port {
        &self.port
    }

    /// Its number.
    pub fn queue(&self) -> u16 {
        self.queue
    }
}

impl wire::RxQueue for RxQueue {
    type Frame = Mbuf;

    #[inline]
    fn rx_burst(&mut self, out: &mut Vec<Mbuf>, max: usize) -> usize {
        let spare = out.spare_capacity_mut();
        let max = max.min(spare.len()).min(usize::from(u16::MAX)) as u16;
        // SAFETY: the port is started for as long as this queue is out, and nobody else has the queue.
        // There is room for `max` pointers, which an Mbuf is.
        let count = unsafe { sys::sl_rx_burst(self.port_id, self.queue, spare.as_mut_ptr().cast(), max) };
        let count = usize::from(count);
        // SAFETY: DPDK wrote `count` mbufs, which are the caller's from now on.
        unsafe { out.set_len(out.len() + count) };
        count
    }
}

impl wire::TxQueue for TxQueue {
    type Frame = Mbuf;

    /// On a device that does not take frames of several segments, those are copied together first; one
    /// that does not fit its first segment is not taken, nor are those behind it.
    #[inline]
    fn tx_burst(&mut self, frames: &mut Vec<Mbuf>) -> usize {
        if !self.granted.tx_l4_checksum && crate::mbuf::may_be_open() {
            frames.iter_mut().for_each(fill_open_checksum);
        }
        let ready = if self.granted.multi_segs || !crate::mbuf::may_be_chained() {
            frames.len()
        } else {
            join_segments(frames)
        };
        let count = ready.min(usize::from(u16::MAX)) as u16;
        // SAFETY: the port is started for as long as this queue is out, and nobody else has the queue.
        // `frames` are `count` or more pointers to mbufs that are ours.
        let taken = unsafe { sys::sl_tx_burst(self.port_id, self.queue, frames.as_mut_ptr().cast(), count) };
        let taken = usize::from(taken);
        let rest = frames.len() - taken;
        // SAFETY: the first `taken` are DPDK's now, and are overwritten by those that remain, or forgotten.
        unsafe {
            if rest > 0 && taken > 0 {
                let start = frames.as_mut_ptr();
                ptr::copy(start.add(taken), start, rest);
            }
            frames.set_len(rest);
        }
        taken
    }
}

/// Makes each frame one segment; gives how many at the front are.
fn join_segments(frames: &mut [Mbuf]) -> usize {
    let joined = |frame: &mut Mbuf| frame.segments() == 1 || frame.join_segments();
    frames.iter_mut().position(|frame| !joined(frame)).unwrap_or(frames.len())
}

impl Drop for RxQueue {
    fn drop(&mut self) {
        self.port.give_back(Direction::Receive, self.queue);
    }
}

impl Drop for TxQueue {
    fn drop(&mut self) {
        self.port.give_back(Direction::Transmit, self.queue);
    }
}

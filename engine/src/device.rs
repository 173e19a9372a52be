//! What the engine asks of a kind of device: DPDK's, or a simulated one.

use l2l3::interface::PortId;
use wire::{Frame, FramePool, Instant, MacAddr, RxQueue, TxQueue};

use crate::api::PortStatus;
use crate::link::Queue;

/// A family of types that belong together. Never made: it only names them.
pub trait Device: 'static {
    /// Owned frames.
    type Frame: Frame;
    /// Where a worker's own frames come from.
    type Pool: FramePool<Frame = Self::Frame>;
    /// A receive queue.
    type Rx: RxQueue<Frame = Self::Frame>;
    /// A transmit queue.
    type Tx: TxQueue<Frame = Self::Frame>;
    /// The clock, and what threads need.
    type Env: Env;

    /// The processor's time stamp counter, or what comes next to it: for accounts of cycles, not for the time.
    fn ticks() -> u64;
}

/// What carries a device's bytes once a frame is given up to reading.
pub type PayloadOf<D> = <<D as Device>::Frame as Frame>::Payload;

/// What surrounds the workers.
pub trait Env: Clone + Send + 'static {
    /// What a worker's thread holds while it runs.
    type ThreadGuard;

    /// The time now: monotonic, and cheap to read.
    fn now(&self) -> Instant;

    /// Prepares the calling thread for polling.
    ///
    /// # Errors
    /// One sentence that says what is wrong.
    fn enter_thread(&self) -> Result<Self::ThreadGuard, String>;

    /// Memory of `len` bytes, zero at first, that `fill` writes once, that stays to the process' end and that
    /// the devices can read: for what is sent as [`Content::Static`](crate::app::Content::Static). Other
    /// memory may have to be copied. Called before the workers run.
    ///
    /// # Errors
    /// One sentence that says what is wrong: there is too little memory, or `fill` failed.
    fn immortal(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<&'static [u8], String>;
}

/// What the control plane asks of a port.
pub trait PortHandle: Send {
    /// Driver, link and counters, for people.
    fn status(&self) -> PortStatus;

    /// Whether the device is gone for good.
    fn is_removed(&self) -> bool;

    /// Whether the process at the other end is gone, and the device must be opened again to find it when it is
    /// back. Asked once a second.
    fn has_lost_peer(&self) -> bool;
}

/// Opens and closes the ports of an engine that runs. Called on the control thread.
pub trait Opener<D: Device>: Send {
    /// Opens a device for a port that has none, and starts it with the queues that the port had at start and this
    /// Ethernet address.
    ///
    /// # Errors
    /// One sentence that names the port.
    fn open(&mut self, port: PortId, device: &str, mac: MacAddr) -> Result<Opened<D>, String>;

    /// Stops a port, has its device reset, and starts it again. None of its queues is in use.
    ///
    /// # Errors
    /// One sentence that names the port, which is to be closed then.
    fn reset(&mut self, port: PortId, mac: MacAddr) -> Result<Opened<D>, String>;

    /// Closes a port. None of its queues is in use.
    fn close(&mut self, port: PortId);
}

/// A port that runs.
pub struct Opened<D: Device> {
    /// The device.
    pub handle: Box<dyn PortHandle>,
    /// Its queues, with the worker that each is for.
    pub queues: Vec<(usize, Queue<D>)>,
}

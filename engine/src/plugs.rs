//! Ports' queues on their way between what opens devices and the workers.

use l2l3::interface::PortId;
use wire::MacAddr;

use crate::device::{Device, Opened, Opener, PortHandle};
use crate::link::{Exchange, Queue};

/// What the control plane, which knows no devices' types, does with ports.
pub(crate) trait Plug {
    /// Opens a device for a port, and lays its queues where the workers take them over.
    fn open(&mut self, port: PortId, device: &str, mac: MacAddr) -> Result<Box<dyn PortHandle>, String>;

    /// Has the device of a port reset, and lays its queues where the workers take them over. All workers have
    /// given its queues back.
    fn reset(&mut self, port: PortId, mac: MacAddr) -> Result<Box<dyn PortHandle>, String>;

    /// Closes a port. All workers have given its queues back.
    fn close(&mut self, port: PortId);
}

/// What opens devices, and the control thread's ends of the workers' exchanges.
pub(crate) struct Plugs<D: Device> {
    /// By worker.
    queues: Vec<Exchange<D>>,
    opener: Box<dyn Opener<D>>,
}

impl<D: Device> Plugs<D> {
    pub(crate) fn new(queues: Vec<Exchange<D>>, opener: Box<dyn Opener<D>>) -> Self {
        Plugs { queues, opener }
    }

    /// Drops the queues that workers gave back.
    fn take_back(&mut self) {
        for worker in &mut self.queues {
            while let Ok(queue) = worker.take.pop() {
                drop::<Queue<D>>(queue);
            }
        }
    }

    fn hand_out(&mut self, opened: Opened<D>) -> Box<dyn PortHandle> {
        for (worker, queue) in opened.queues {
            // There is room: a worker has no more queues than it began with.
            drop(self.queues[worker].give.push(queue));
        }
        opened.handle
    }
}

impl<D: Device> Plug for Plugs<D> {
    fn open(&mut self, port: PortId, device: &str, mac: MacAddr) -> Result<Box<dyn PortHandle>, String> {
        let opened = self.opener.open(port, device, mac)?;
        Ok(self.hand_out(opened))
    }

    fn reset(&mut self, port: PortId, mac: MacAddr) -> Result<Box<dyn PortHandle>, String> {
        self.take_back();
        let opened = self.opener.reset(port, mac)?;
        Ok(self.hand_out(opened))
    }

    fn close(&mut self, port: PortId) {
        self.take_back();
        self.opener.close(port);
    }
}

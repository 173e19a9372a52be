//! The way out: each port's batch to its queue, or to the worker that has one.

use std::sync::Arc;

use l2l3::interface::PortId;
use l2l3::router::{Counters, Steered};
use rtrb::Producer;
use wire::{DropReason, Frame, TxQueue};

use crate::device::Device;
use crate::link::HandOver;

/// How a worker sends by one port.
pub enum Egress<T> {
    /// By a queue of its own.
    Queue(T),
    /// By the worker with this index, which has one.
    HandOver(u16),
    /// Not at all: the port has no device.
    Removed,
}

/// A batch leaves once it is this long, or the loop ends.
pub(crate) const FLUSH_AT: usize = 64;

/// A worker's ways out.
pub(crate) struct Egresses<D: Device> {
    /// One entry a port.
    ports: Vec<Egress<D::Tx>>,
    /// By port: frames of our own that the queue had no room for, at the front of the batch. They wait for
    /// the next flush: TCP sends no more until then.
    kept: Vec<usize>,
    /// Rings to the other workers; `None` at our own place.
    to: Vec<Option<Producer<HandOver<D::Frame>>>>,
    counters: Arc<Counters>,
}

impl<D: Device> Egresses<D> {
    pub(crate) fn new(
        ports: Vec<Egress<D::Tx>>,
        to: Vec<Option<Producer<HandOver<D::Frame>>>>,
        counters: Arc<Counters>,
    ) -> Self {
        let kept = vec![0; ports.len()];
        Egresses { ports, kept, to, counters }
    }

    /// Takes a port's queue away, if it has one; it is given the batch before. What is to leave by the port is
    /// dropped from now on, and so is what was kept for it.
    pub(crate) fn remove(&mut self, port: usize, batch: &mut Vec<D::Frame>) -> Option<D::Tx> {
        if !matches!(self.ports[port], Egress::Queue(_)) {
            return None;
        }
        self.flush(port, batch);
        let egress = std::mem::replace(&mut self.ports[port], Egress::Removed);
        self.flush(port, batch);
        if let Egress::Queue(queue) = egress { Some(queue) } else { None }
    }

    /// Puts a port's queue in its place.
    pub(crate) fn set(&mut self, port: usize, queue: D::Tx) {
        self.ports[port] = Egress::Queue(queue);
    }

    /// Sends a port's batch. What there is no room for is dropped: whoever waits for a slow port makes all
    /// the others wait. Frames of our own that were kept are kept on.
    pub(crate) fn flush(&mut self, port: usize, batch: &mut Vec<D::Frame>) {
        let taken = self.hand(port, batch);
        let kept = self.kept[port].saturating_sub(taken);
        self.keep(port, kept);
        if batch.len() > kept {
            let reason = match self.ports[port] {
                Egress::HandOver(_) => DropReason::SteerFull,
                Egress::Queue(_) | Egress::Removed => DropReason::TxFull,
            };
            self.counters.count_drops(reason, (batch.len() - kept) as u64);
            if kept == 0 { Frame::free_bulk(batch) } else { batch.truncate(kept) }
        }
    }

    /// Sends a port's batch, in which there are only frames of our own. Those that there is no room for are
    /// kept. Gives whether there was room for all.
    pub(crate) fn flush_own(&mut self, port: usize, batch: &mut Vec<D::Frame>) -> bool {
        self.hand(port, batch);
        self.keep(port, batch.len());
        batch.is_empty()
    }

    /// Hands a batch to its queue or ring. What they take leaves it; gives how many these are. A port without a
    /// device takes all, and drops it.
    fn hand(&mut self, port: usize, batch: &mut Vec<D::Frame>) -> usize {
        match &mut self.ports[port] {
            Egress::Queue(queue) => {
                let sent = queue.tx_burst(batch);
                self.counters.tx.add(sent as u64);
                self.counters.ports[port].tx.add(sent as u64);
                sent
            }
            Egress::HandOver(owner) => {
                let Some(Some(ring)) = self.to.get_mut(usize::from(*owner)) else { return 0 };
                let room = ring.slots().min(batch.len());
                for frame in batch.drain(..room) {
                    // There is room: nobody else produces into this ring.
                    drop(ring.push(HandOver::Transmit(PortId(port as u16), frame)));
                }
                self.counters.handed_out.add(room as u64);
                room
            }
            Egress::Removed => {
                let dropped = batch.len();
                self.counters.count_drops(DropReason::PortRemoved, dropped as u64);
                Frame::free_bulk(batch);
                dropped
            }
        }
    }

    fn keep(&mut self, port: usize, frames: usize) {
        let before = std::mem::replace(&mut self.kept[port], frames);
        if before != frames {
            self.counters.held.sub(before as u64);
            self.counters.held.add(frames as u64);
        }
    }

    /// Whether frames of our own wait for room.
    pub(crate) fn is_waiting(&self) -> bool {
        self.kept.iter().any(|kept| *kept > 0)
    }

    /// Hands frames to the workers that own their flows.
    #[cold]
    pub(crate) fn hand_over(&mut self, steered: &mut Vec<Steered<D::Frame>>) {
        for Steered { owner, port, frame } in steered.drain(..) {
            let ring = self.to.get_mut(usize::from(owner)).and_then(Option::as_mut);
            match ring.map(|ring| ring.push(HandOver::Flow(port, frame))) {
                Some(Ok(())) => self.counters.handed_out.add(1),
                _ => self.counters.count_drops(DropReason::SteerFull, 1),
            }
        }
    }
}

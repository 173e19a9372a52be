//! Where frames and news leave the router: batches that the worker empties once a loop.

use std::net::Ipv4Addr;

use wire::Frame;

use crate::arp::ArpEvent;
use crate::forward::BATCH_SLACK;
use crate::interface::{IfaceId, PortId};

/// Items of one batch. A burst's worth and what it may give rise to: a 64 KiB echo reply is 45
/// fragments.
pub const TX_BATCH: usize = 1024;

/// What the router tells the control thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An ARP message taught something.
    Arp(IfaceId, ArpEvent),
    /// Packets wait for this neighbour.
    Resolve(IfaceId, Ipv4Addr),
}

/// A packet for this host's own TCP or UDP, or an ICMP error about one that they sent, whose checksum was
/// checked. The frame begins at the IPv4 header, which was checked.
#[derive(Debug)]
pub struct Delivery<F> {
    /// The interface it came in by.
    pub iface: IfaceId,
    /// The packet.
    pub frame: F,
}

/// A frame, as received, for the worker that owns its flow.
#[derive(Debug)]
pub struct Steered<F> {
    /// The owner's index.
    pub owner: u16,
    /// The port it came in by.
    pub port: PortId,
    /// The frame.
    pub frame: F,
}

/// Batches of everything that leaves the router. None grows; what finds its batch full is dropped and
/// counted.
pub struct Output<F> {
    /// Frames to send, a batch a port.
    pub tx: Vec<Vec<F>>,
    /// News for the control thread.
    pub events: Vec<Event>,
    /// Frames for other workers.
    pub steered: Vec<Steered<F>>,
    /// Packets for TCP and UDP.
    pub local: Vec<Delivery<F>>,
}

impl<F: Frame> Output<F> {
    /// Empty batches for `ports` ports and bursts of up to `burst` frames. A transmit batch takes one
    /// burst beyond [`TX_BATCH`]: the straight path sends without a look at the room.
    pub fn new(ports: usize, burst: usize) -> Self {
        Output {
            tx: (0..ports).map(|_| Vec::with_capacity(TX_BATCH + burst + BATCH_SLACK)).collect(),
            events: Vec::with_capacity(TX_BATCH),
            steered: Vec::with_capacity(TX_BATCH),
            local: Vec::with_capacity(TX_BATCH),
        }
    }

    /// Puts a frame into the batch of `port`, or gives it back if that is full or there is no such port.
    pub(super) fn send(&mut self, port: PortId, frame: F) -> Result<(), F> {
        match self.tx.get_mut(usize::from(port.0)) {
            Some(batch) if batch.len() < TX_BATCH => {
                batch.push(frame);
                Ok(())
            }
            _ => Err(frame),
        }
    }
}

/// Appends to a batch that must not grow. Gives the item back if the batch is full.
pub(super) fn push_bounded<T>(batch: &mut Vec<T>, item: T) -> Result<(), T> {
    if batch.len() == batch.capacity() {
        return Err(item);
    }
    batch.push(item);
    Ok(())
}

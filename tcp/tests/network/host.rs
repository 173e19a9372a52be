//! A host: a shard, its address, and its way onto the network.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use sim::SimPool;
use tcp::config::Config;
use tcp::packet::{NoFrame, Output, Packet};
use tcp::ports::SourcePorts;
use tcp::shard::Shard;
use tcp::{Checksum, Tick};
use wire::{Instant, Ipv4View, Payload, Reta, RssKey};

use crate::bytes::{Bytes, Ledger};

/// What a host sends in one go: packets, in order.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) packets: Vec<Vec<u8>>,
    /// Packets that can still be had.
    pub(crate) frames: usize,
    /// The flows of packets that could not be sent.
    pub(crate) refused: Vec<(SocketAddrV4, SocketAddrV4)>,
}

impl Output<Bytes> for Sent {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        if self.frames == 0 {
            self.refused.push((packet.segment.src, packet.segment.dst));
            return Err(NoFrame);
        }
        self.frames -= 1;
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        self.packets.push(bytes);
        Ok(())
    }
}

/// A host.
pub(crate) struct Host {
    pub(crate) shard: Shard<Bytes>,
    pub(crate) address: Ipv4Addr,
    /// Packets that it can send in one go.
    pub(crate) frames: usize,
    /// Until when it has no frame at all.
    pub(crate) refuses_until: Instant,
    pub(crate) vanished: bool,
    /// Something happened to the shard since it was last looked after.
    pub(crate) touched: bool,
    /// When the shard wants to be called.
    pub(crate) deadline: Option<Instant>,
    /// Packets it has sent.
    pub(crate) sent: u64,
    /// Damaged packets that were refused: by the IP header's checksum, or by the shard.
    pub(crate) damaged: u64,
}

impl Host {
    pub(crate) fn new(address: Ipv4Addr, config: Config, frames: usize, now: Instant) -> Self {
        let reta = Reta::round_robin(128, 1);
        let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, config.secret);
        Host {
            shard: Shard::new(config, ports, now),
            address,
            frames,
            refuses_until: Instant::ZERO,
            vanished: false,
            touched: true,
            deadline: None,
            sent: 0,
            damaged: 0,
        }
    }

    /// What the shard threw away since it had no room: as good as lost in the network.
    pub(crate) fn shed(&self) -> u64 {
        let counters = self.shard.counters();
        counters.payloads_shed + counters.accept_full + counters.connections_full + counters.control_full
    }

    /// Takes a packet off the network, as an IP layer does. `marked` is a congestion mark on the way.
    pub(crate) fn receive(&mut self, now: Instant, packet: Vec<u8>, marked: bool, ledger: &Ledger) {
        self.touched = true;
        let parsed = Ipv4View::parse(&packet, packet.len());
        let Some(view) = parsed.ok().filter(|view| view.checksum_ok() && view.header.dst() == self.address)
        else {
            self.damaged += 1;
            return;
        };
        let addresses = (view.header.src(), view.header.dst());
        let ce = marked && view.header.ecn() != 0;
        let (skip, len) = (view.header.header_len(), view.payload_len());
        let mut bytes = Bytes::new(packet, ledger);
        bytes.advance(skip);
        bytes.truncate(len);
        let malformed = self.shard.counters().malformed;
        // What means nothing here is answered with a reset; the world sees that.
        let _ = self.shard.handle_packet(now, addresses, bytes, Checksum::Verify, ce);
        self.damaged += self.shard.counters().malformed - malformed;
    }

    /// Sends what is due.
    pub(crate) fn transmit(&mut self, now: Instant) -> Sent {
        let frames = if now < self.refuses_until { 0 } else { self.frames };
        let mut sent = Sent { frames, ..Sent::default() };
        self.shard.poll_transmit(now, &mut sent);
        self.sent += sent.packets.len() as u64;
        sent
    }

    /// Looks up when the shard wants to be called.
    pub(crate) fn note_deadline(&mut self, now: Instant) {
        self.deadline = self.shard.next_deadline().map(|tick| moment(tick, now));
    }
}

/// When a tick that lies within 39 hours of `now` begins.
fn moment(tick: Tick, now: Instant) -> Instant {
    let current = Tick::at(now);
    let begun = Duration::from_nanos(now.as_nanos() & 0xffff);
    let to_go = tick.since(current);
    if to_go.is_zero() { now } else { now + (to_go - begun) }
}

/// Frames for all links of a world, to be used again by the next.
pub(crate) fn frame_pool() -> SimPool {
    SimPool::new(16_384, 2048)
}

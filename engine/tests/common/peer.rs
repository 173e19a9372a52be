//! A host at the far end of a port that speaks TCP: a shard of its own on the simulated wire.

use std::net::{Ipv4Addr, SocketAddrV4};

use sim::{SimPayload, SimPool};
use tcp::packet::{NoFrame, Output, Packet};
use tcp::ports::SourcePorts;
use tcp::shard::{ConnectionId, ListenerId, Received, Shard, ShardEvent};
use tcp::{Checksum, Tick};
use wire::{Frame, Instant, Ipv4View, MacAddr, Payload, Reta, RssKey, TcpFlags};

use super::{Net, host, port_mac};

/// A TCP host. Its ARP is answered by a [`sim::Host`] beside it.
pub(crate) struct Peer {
    pub(crate) shard: Shard<SimPayload>,
    pub(crate) pool: SimPool,
    port: usize,
    mac: MacAddr,
    ip: Ipv4Addr,
    /// The receive queue of the port by which its frames come in.
    pub(crate) queue: usize,
    /// How many frames of [`Net::sent_ever`] it has looked at, or missed: those that were taken before are
    /// lost to it.
    heard: usize,
    /// Whether its ECN capable packets meet congestion on their way.
    pub(crate) marked: bool,
    /// Of how many packets one is lost, in both directions; 0: none.
    pub(crate) lost_of: usize,
    passed: usize,
    /// Bytes of data in the largest segment that it received, of late.
    pub(crate) largest: usize,
}

/// What it sends: whole IPv4 packets.
#[derive(Default)]
struct Packets(Vec<Vec<u8>>);

impl Output<SimPayload> for Packets {
    fn send(&mut self, packet: &Packet<'_, SimPayload>) -> Result<(), NoFrame> {
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        self.0.push(bytes);
        Ok(())
    }
}

impl Peer {
    /// A host `n` with address `ip` on `port` of `net`.
    pub(crate) fn new(net: &mut Net, port: usize, n: u16, ip: [u8; 4], config: tcp::Config) -> Peer {
        let beside = host(n, ip);
        let mac = beside.mac();
        net.add_host(port, beside);
        let reta = Reta::round_robin(128, 1);
        let secret = [n as u8; 16];
        let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, secret);
        let shard = Shard::new(tcp::Config { secret, ..config }, ports, net.now());
        let pool = SimPool::new(8192, 2048);
        Peer {
            shard,
            pool,
            port,
            mac,
            ip: ip.into(),
            queue: 0,
            heard: 0,
            marked: false,
            lost_of: 0,
            passed: 0,
            largest: 0,
        }
    }

    pub(crate) fn connect(&mut self, now: Instant, to: SocketAddrV4) -> ConnectionId {
        self.connect_from(now, 0, to)
    }

    pub(crate) fn connect_from(&mut self, now: Instant, port: u16, to: SocketAddrV4) -> ConnectionId {
        self.shard.connect(now, SocketAddrV4::new(self.ip, port), to).unwrap()
    }

    /// Gives bytes for sending, as far as there is room. Gives how many were taken.
    pub(crate) fn give(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for piece in bytes.chunks(1400) {
            let Some(frame) = self.pool.frame_from(piece) else { break };
            if self.shard.send(now, id, frame.into_payload(0, piece.len())).is_err() {
                break;
            }
            taken += piece.len();
        }
        taken
    }

    /// Takes all that was received; and what came after it.
    pub(crate) fn take(&mut self, now: Instant, id: ConnectionId) -> (Vec<u8>, Received<SimPayload>) {
        let mut all = vec![];
        loop {
            match self.shard.receive(now, id) {
                Received::Bytes(bytes) => {
                    let start = all.len();
                    all.resize(start + bytes.len(), 0);
                    bytes.copy_out(0, &mut all[start..]);
                    self.shard.credit(now, id, 1, bytes.len() as u32);
                }
                other => return (all, other),
            }
        }
    }

    /// Accepts the next connection of a listener.
    pub(crate) fn accept(&mut self, now: Instant, listener: ListenerId) -> Option<ConnectionId> {
        while let Some(event) = self.shard.poll_event(now) {
            if event == ShardEvent::Acceptable(listener) {
                return self.shard.accept(listener);
            }
        }
        None
    }

    /// Hears what was sent to it, does what time makes due, and sends. Gives whether anything moved.
    pub(crate) fn step(&mut self, net: &mut Net) -> bool {
        let now = net.now();
        let mut moved = false;
        let new = (net.sent_ever - self.heard).min(net.sent.len());
        for sent in &net.sent[net.sent.len() - new..] {
            if sent.port != self.port || sent.bytes[12..14] != [8, 0] || sent.dst_mac() != self.mac {
                continue;
            }
            let view = Ipv4View::parse(&sent.bytes[14..], sent.bytes.len() - 14).unwrap();
            if view.header.dst() != self.ip || view.header.protocol != 6 {
                continue;
            }
            assert!(view.checksum_ok());
            moved = true;
            self.passed += 1;
            if self.lost_of > 0 && self.passed.is_multiple_of(self.lost_of) {
                continue;
            }
            let tcp = wire::TcpView::parse(view.payload).unwrap();
            self.largest = self.largest.max(tcp.payload.len());
            let addresses = (view.header.src(), view.header.dst());
            let frame = self.pool.frame_from(view.payload).expect("the peer has frames");
            let bytes = frame.into_payload(0, view.payload.len());
            let _reason = self.shard.handle_packet(now, addresses, bytes, Checksum::Verify, false);
        }
        self.heard = net.sent_ever;
        if self.shard.next_deadline().is_some_and(|tick| tick.is_due(Tick::at(now))) {
            self.shard.handle_timeout(now);
        }
        let mut packets = Packets::default();
        self.shard.poll_transmit(now, &mut packets);
        for mut packet in packets.0 {
            moved = true;
            self.passed += 1;
            if self.lost_of > 0 && self.passed.is_multiple_of(self.lost_of) {
                continue;
            }
            if self.marked && packet[1] & 3 != 0 {
                packet[1] |= 3;
                packet[10..12].fill(0);
                let sum = sim::builder::checksum(&packet[..20]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            let frame = sim::builder::ethernet(port_mac(self.port), self.mac, 0x0800, &packet);
            net.inject(self.port, self.queue, &sim::builder::padded(frame));
        }
        moved
    }

    /// Runs the network until nothing moves, without time passing.
    pub(crate) fn settle(&mut self, net: &mut Net) {
        let mut still = 0;
        while still < 3 {
            let moved = net.step() | self.step(net);
            still = if moved { 0 } else { still + 1 };
        }
    }

    /// Lets time pass in steps of a few milliseconds.
    pub(crate) fn pass(&mut self, net: &mut Net, duration: std::time::Duration) {
        let end = net.now() + duration;
        self.settle(net);
        while net.now() < end {
            net.clock.advance(std::time::Duration::from_millis(5));
            self.settle(net);
        }
    }
}

/// Whether a frame on the wire carries a TCP segment with all of `flags`.
pub(crate) fn has_flags(bytes: &[u8], flags: TcpFlags) -> bool {
    let view = (bytes[12..14] == [8, 0]).then(|| Ipv4View::parse(&bytes[14..], bytes.len() - 14).unwrap());
    let tcp = view.filter(|v| v.header.protocol == 6).and_then(|v| wire::TcpView::parse(v.payload));
    tcp.is_some_and(|tcp| tcp.header.flags.contains(flags))
}

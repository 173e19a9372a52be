//! A router with its interfaces, routes and neighbours, fed with bytes.
//!
//! ```text
//! port 0: 10.0.0.1/24 and 10.1.0.1/24, untagged; 172.16.0.1/24 on VLAN 7, with proxy ARP
//! port 1: 192.0.2.1/24, untagged; 198.51.100.1/24 on VLAN 5, MTU 1400
//! port 2: 203.0.113.1/24 on VLAN 9; nothing untagged
//! ```

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use l2l3::adjacency::{
    Adjacency, AdjacencyTable, BLACKHOLE, BROADCAST, FIRST_FREE, GroupId, LOCAL, MARTIAN, MULTICAST, Target,
    UNREACHABLE,
};
use l2l3::cycles::Stopwatch;
use l2l3::fib::{AdjacencyId, Fib, FibLimits, FibWriter};
use l2l3::group::NextHopGroup;
use l2l3::hold::HoldLimits;
use l2l3::interface::{IfaceAddr, IfaceId, Interface, Interfaces, PortId};
use l2l3::neighbour::Key;
use l2l3::reassembly::Limits;
use l2l3::router::{Bounds, Context, Delivery, Event, Output, Router, Steered, Steering};
use sim::builder::{self, ETHERTYPE_IPV4, Ipv4, UDP};
use sim::dissect::{Body, Packet};
use sim::{SimFrame, SimPool};
use wire::transport::fill_open_checksum;
use wire::{DropReason, Frame, FramePool, Instant, Ipv4Prefix, MacAddr, RssKey, RxFlags};

pub(crate) const PORTS: usize = 3;
/// Our Ethernet address on each port.
pub(crate) const OURS: [MacAddr; PORTS] =
    [MacAddr([2, 0, 0, 0, 1, 0]), MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 1, 2])];

pub(crate) const LAN: IfaceId = IfaceId(0);
pub(crate) const WAN: IfaceId = IfaceId(1);
pub(crate) const TAGGED: IfaceId = IfaceId(2);
pub(crate) const PROXY: IfaceId = IfaceId(3);

const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// Our addresses.
pub(crate) const US: Ipv4Addr = ip(10, 0, 0, 1);
pub(crate) const US_TOO: Ipv4Addr = ip(10, 1, 0, 1);
pub(crate) const US_WAN: Ipv4Addr = ip(192, 0, 2, 1);
pub(crate) const US_TAGGED: Ipv4Addr = ip(198, 51, 100, 1);
/// Neighbours that are resolved: each one's Ethernet address is [`station`] of its address.
pub(crate) const A: Ipv4Addr = ip(10, 0, 0, 2);
pub(crate) const A_TOO: Ipv4Addr = ip(10, 1, 0, 2);
pub(crate) const GATEWAY: Ipv4Addr = ip(192, 0, 2, 254);
pub(crate) const T: Ipv4Addr = ip(198, 51, 100, 2);
/// Behind the gateway.
pub(crate) const FAR: Ipv4Addr = ip(20, 1, 2, 3);
/// Behind a gateway that is not resolved.
pub(crate) const BEYOND_SILENT: Ipv4Addr = ip(30, 1, 2, 3);
pub(crate) const SILENT: Ipv4Addr = ip(192, 0, 2, 253);
/// Behind `T`, by VLAN 5.
pub(crate) const FAR_TAGGED: Ipv4Addr = ip(40, 1, 2, 3);
pub(crate) const BLACKHOLED: Ipv4Addr = ip(50, 1, 2, 3);
pub(crate) const REFUSED: Ipv4Addr = ip(60, 1, 2, 3);
/// Behind the group [`GROUP`].
pub(crate) const SPREAD: Ipv4Addr = ip(70, 1, 2, 3);
pub(crate) const UNROUTED: Ipv4Addr = ip(80, 1, 2, 3);
/// On the LAN, not resolved.
pub(crate) const B: Ipv4Addr = ip(10, 0, 0, 3);

pub(crate) const GROUP: GroupId = GroupId(0);
/// The first id that the rig does not use itself.
pub(crate) const SPARE: AdjacencyId = AdjacencyId(FIRST_FREE + 20);

/// The Ethernet address of the station with this address.
pub(crate) fn station(ip: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = ip.octets();
    MacAddr([6, 0, a, b, c, d])
}

/// How a rig differs from the usual.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) bounds: Bounds,
    pub(crate) workers: u16,
    /// Of the LAN and the WAN.
    pub(crate) mtu: u16,
    pub(crate) frames: usize,
}

impl Default for Setup {
    fn default() -> Self {
        let reassembly =
            Limits { datagrams: 8, fragments: 64, bytes: 200_000, timeout: Duration::from_secs(30) };
        let hold = HoldLimits { per_neighbour: 4, total: 8, ..HoldLimits::default() };
        let bounds = Bounds { burst: 64, hold, reassembly, icmp_rate: 1_000_000, icmp_burst: 1_000_000 };
        Setup { bounds, workers: 1, mtu: 1500, frames: 512 }
    }
}

/// A router and what belongs to it. When it goes, all its frames must be back.
pub(crate) struct Rig {
    pub(crate) router: Router<SimFrame>,
    pub(crate) pool: SimPool,
    pub(crate) now: Instant,
    fib: Arc<Fib>,
    out: Output<SimFrame>,
    interfaces: Arc<Interfaces>,
}

/// What one step let out.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Frames sent, by port, as they leave the device.
    pub(crate) tx: [Vec<Vec<u8>>; PORTS],
    /// How many of them had an open checksum, which the device filled in.
    pub(crate) filled: usize,
    pub(crate) events: Vec<Event>,
    /// Owner, port, frame.
    pub(crate) steered: Vec<(u16, PortId, SimFrame)>,
    /// Packets for TCP and UDP.
    pub(crate) local: Vec<(IfaceId, Vec<u8>)>,
    /// Frames dropped, by reason; the reasons in the order of their table.
    pub(crate) drops: Vec<(DropReason, u64)>,
}

fn interfaces(mtu: u16) -> Interfaces {
    let iface = |id, port: u16, vlan, mtu, addresses: &[Ipv4Addr]| {
        let net = |&addr| IfaceAddr { addr, net: Ipv4Prefix::new(addr, 24) };
        let addresses = addresses.iter().map(net).collect();
        let mac = OURS[usize::from(port)];
        Interface { id, port: PortId(port), vlan, mac, mtu, addresses, proxy_arp: id == PROXY }
    };
    Interfaces::new(vec![
        iface(LAN, 0, None, mtu, &[US, US_TOO]),
        iface(WAN, 1, None, mtu, &[US_WAN]),
        iface(TAGGED, 1, Some(5), 1400, &[US_TAGGED]),
        iface(PROXY, 0, Some(7), mtu, &[ip(172, 16, 0, 1)]),
        iface(IfaceId(4), 2, Some(9), mtu, &[ip(203, 0, 113, 1)]),
    ])
}

/// The routes and adjacencies, as the control plane would make them.
fn tables(interfaces: &Interfaces) -> (FibWriter, AdjacencyTable) {
    let mut fib = FibWriter::new(FibLimits { routes: 1000, groups: 64 }).unwrap();
    let mut adjacencies = AdjacencyTable::new(128, 4, PORTS as u16);
    let mut next = FIRST_FREE;
    let mut adjacency = |to| {
        assert!(adjacencies.set(AdjacencyId(next), to));
        next += 1;
        AdjacencyId(next - 1)
    };
    let forward = |id, hop| Adjacency::forward(interfaces.get(id).unwrap(), hop, station(hop));
    let mut route = |net: Ipv4Addr, len, to| fib.insert(Ipv4Prefix::new(net, len), to).map(drop).unwrap();
    for iface in interfaces.iter() {
        let glean = adjacency(Adjacency::to(Target::Glean(iface.id)));
        for at in &iface.addresses {
            route(at.addr, 24, glean);
            route(at.net.addr(), 32, BROADCAST);
            route(at.net.last(), 32, BROADCAST);
            route(at.addr, 32, LOCAL);
        }
    }
    for (net, len, to) in [
        (ip(0, 0, 0, 0), 8, MARTIAN),
        (ip(127, 0, 0, 0), 8, MARTIAN),
        (ip(224, 0, 0, 0), 4, MULTICAST),
        (ip(240, 0, 0, 0), 4, MARTIAN),
        (Ipv4Addr::BROADCAST, 32, BROADCAST),
        (BLACKHOLED, 8, BLACKHOLE),
        (REFUSED, 8, UNREACHABLE),
        (SPREAD, 8, adjacency(Adjacency::to(Target::Group(GROUP)))),
        (FAR, 8, adjacency(forward(WAN, GATEWAY))),
        (FAR_TAGGED, 8, adjacency(forward(TAGGED, T))),
        (BEYOND_SILENT, 8, adjacency(Adjacency::to(Target::Incomplete(WAN, SILENT)))),
        (A, 32, adjacency(forward(LAN, A))),
        (A_TOO, 32, adjacency(forward(LAN, A_TOO))),
    ] {
        route(net, len, to);
    }
    assert!(next < SPARE.0);
    (fib, adjacencies)
}

impl Setup {
    pub(crate) fn build(self) -> Rig {
        let interfaces = Arc::new(interfaces(self.mtu));
        let (fib, adjacencies) = tables(&interfaces);
        let steering = Steering::new(0, self.workers, &RssKey::SYMMETRIC);
        let router = Router::new(Arc::clone(&interfaces), &OURS, adjacencies, steering, &self.bounds, 0x5eed);
        let out = Output::new(PORTS, self.bounds.burst);
        let pool = SimPool::new(self.frames, 2048);
        Rig { router, pool, now: Instant::from_millis(1000), fib: fib.fib(), out, interfaces }
    }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Setup::default().build()
    }

    /// Does something with the router, empties the output as a worker does, and checks the books.
    pub(crate) fn step(
        &mut self,
        act: impl FnOnce(&mut Router<SimFrame>, &mut Context<'_, SimPool>),
    ) -> Seen {
        let counters = Arc::clone(self.router.counters());
        let before = DropReason::ALL.iter().map(|&reason| counters.drops(reason));
        let before: Vec<u64> = before.collect();
        let watch = &Stopwatch::new(|| 0);
        let mut cx =
            Context { now: self.now, fib: &self.fib, pool: &mut self.pool, out: &mut self.out, watch };
        act(&mut self.router, &mut cx);
        let mut seen = Seen::default();
        for (batch, sent) in self.out.tx.iter_mut().zip(&mut seen.tx) {
            counters.tx.add(batch.len() as u64);
            // A driver may take it for a tag that it is to put in.
            assert!(batch.iter().all(|frame| frame.rx_flags().0 & RxFlags::VLAN_STRIPPED == 0));
            for mut frame in batch.drain(..) {
                seen.filled += usize::from(frame.open_checksum().is_some());
                fill_open_checksum(&mut frame);
                sent.push(frame.to_vec());
            }
        }
        seen.events.append(&mut self.out.events);
        for Steered { owner, port, frame } in self.out.steered.drain(..) {
            counters.handed_out.add(1);
            seen.steered.push((owner, port, frame));
        }
        for Delivery { iface, frame } in self.out.local.drain(..) {
            counters.consumed.add(1);
            seen.local.push((iface, frame.to_vec()));
        }
        let drops = DropReason::ALL.iter().zip(before);
        let drops = drops.map(|(&reason, before)| (reason, counters.drops(reason) - before));
        seen.drops = drops.filter(|(_, n)| *n > 0).collect();
        let books = counters.books();
        assert!(books.balance(), "{books}\n{seen:?}");
        seen
    }

    /// Receives frames as one burst.
    pub(crate) fn burst(&mut self, port: u16, mut frames: Vec<SimFrame>) -> Seen {
        self.step(|router, cx| router.handle_burst(cx, PortId(port), &mut frames))
    }

    /// Receives a frame of these bytes.
    pub(crate) fn rx(&mut self, port: u16, bytes: &[u8]) -> Seen {
        let frame = self.pool.frame_from(bytes).unwrap();
        self.burst(port, vec![frame])
    }

    /// Receives an IPv4 packet in an untagged frame to us.
    pub(crate) fn packet(&mut self, port: u16, packet: &[u8]) -> Seen {
        self.rx(port, &link(port, packet))
    }

    /// Lets time pass, and waiting frames expire.
    pub(crate) fn pass(&mut self, time: Duration) -> Seen {
        self.now = self.now + time;
        self.step(|router, cx| router.handle_timeout(cx))
    }

    /// What the control plane does when a neighbour answers: [`SPARE`] leads to it.
    pub(crate) fn resolve(&mut self, iface: IfaceId, hop: Ipv4Addr) -> Seen {
        let adjacency = Adjacency::forward(self.interfaces.get(iface).unwrap(), hop, station(hop));
        self.step(|router, cx| {
            router.set_adjacency(SPARE, adjacency);
            router.release(cx, Key { iface, ip: hop }, SPARE);
        })
    }

    /// Makes [`GROUP`] one of resolved WAN neighbours 192.0.2.N, whose adjacencies follow [`SPARE`].
    pub(crate) fn group(&mut self, members: &[u8]) -> NextHopGroup {
        let mut group = NextHopGroup::new();
        for &n in members {
            let (id, hop) = (AdjacencyId(SPARE.0 + 1 + u32::from(n)), ip(192, 0, 2, n));
            let wan = self.interfaces.get(WAN).unwrap();
            self.router.set_adjacency(id, Adjacency::forward(wan, hop, station(hop)));
            group.add(id).unwrap();
        }
        self.router.set_group(GROUP, Some(Box::new(group.clone())));
        group
    }

    /// Frames that wait in the router.
    pub(crate) fn held(&self) -> u64 {
        self.router.counters().books().held
    }
}

impl Drop for Rig {
    /// Whatever waits goes with time, and then every frame is back in the pool.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        drop(self.pass(Duration::from_secs(1000)));
        // Errors about what expired may wait in turn.
        drop(self.pass(Duration::from_secs(1000)));
        assert_eq!(self.held(), 0, "frames wait for ever");
        assert!(self.pool.is_full(), "frames leaked: {:?} of all", self.pool.available());
    }
}

/// An untagged frame to our address on `port`.
pub(crate) fn link(port: u16, packet: &[u8]) -> Vec<u8> {
    let us = OURS[usize::from(port)];
    builder::padded(builder::ethernet(us, MacAddr([2, 0, 0, 0, 9, 9]), ETHERTYPE_IPV4, packet))
}

/// A UDP packet with `len` bytes of data.
pub(crate) fn udp(src: Ipv4Addr, dst: Ipv4Addr, len: usize) -> Vec<u8> {
    udp_with(&Ipv4::new(src, dst, UDP), len)
}

/// The same with a header of the caller's.
pub(crate) fn udp_with(header: &Ipv4, len: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..len).map(|i| (i * 7 + i / 256) as u8).collect();
    header.packet(&builder::udp(header.src, header.dst, 1000, 2000, &data))
}

/// The packet as a router sends it on: one hop less.
pub(crate) fn one_hop_on(packet: &[u8]) -> Vec<u8> {
    let header_len = usize::from(packet[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let mut packet = packet[..total].to_vec();
    packet[8] -= 1;
    packet[10..12].fill(0);
    let sum = builder::checksum(&packet[..header_len]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The frame in which the router sends `packet` out by `port` to the neighbour `hop`, untagged.
pub(crate) fn sent(port: u16, hop: Ipv4Addr, packet: &[u8]) -> Vec<u8> {
    builder::ethernet(station(hop), OURS[usize::from(port)], ETHERTYPE_IPV4, packet)
}

/// An ICMP message that the router sent, with all checksums right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Icmp {
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) rest: [u8; 4],
    /// In an error, the packet that it is about.
    pub(crate) quote: Vec<u8>,
}

impl Seen {
    /// Asserts that frames were dropped for this reason, and for no other.
    pub(crate) fn assert_dropped(&self, reason: DropReason, frames: u64) {
        assert_eq!(self.drops, [(reason, frames)], "{self:?}");
    }

    /// Asserts that nothing came out, but for drops and events.
    pub(crate) fn assert_silent(&self) {
        assert!(self.tx.iter().all(Vec::is_empty) && self.local.is_empty(), "{self:?}");
        assert!(self.steered.is_empty(), "{self:?}");
    }

    /// The only frame that was sent, by `port`.
    pub(crate) fn only_tx(&self, port: u16) -> &[u8] {
        assert_eq!(self.tx.iter().map(Vec::len).sum::<usize>(), 1, "{self:?}");
        let sent = &self.tx[usize::from(port)];
        assert_eq!(sent.len(), 1, "sent by another port: {self:?}");
        &sent[0]
    }

    /// The only frame that was sent: an ICMP error, by `port` to the neighbour `hop`.
    pub(crate) fn icmp_error(&self, port: u16, hop: Ipv4Addr) -> Icmp {
        let frame = self.only_tx(port);
        assert_eq!(frame[..14], sent(port, hop, &[]));
        let packet = Packet::parse(&frame[14..]).unwrap();
        let Ok(Body::Icmp { kind, code, rest, payload }) = packet.body() else { panic!("{packet:?}") };
        Icmp { src: packet.header.src, dst: packet.header.dst, kind, code, rest, quote: payload }
    }
}

/// Joins fragments the naive way, and checks that they fit together. Gives the first header and the payload.
pub(crate) fn join(packets: &[&[u8]]) -> (Ipv4, Vec<u8>) {
    let mut pieces: Vec<Packet> = packets.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect();
    pieces.sort_by_key(|piece| piece.header.offset);
    let mut payload = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        assert_eq!(usize::from(piece.header.offset) * 8, payload.len());
        assert_eq!(piece.header.more_fragments, i + 1 < pieces.len());
        assert_eq!(piece.header.id, pieces[0].header.id);
        payload.extend(&piece.payload);
    }
    let mut header = pieces[0].header.clone();
    header.more_fragments = false;
    (header, payload)
}

//! Every instruction set gives the same answers as the portable path, whose answers are checked by a
//! naive model of what "plain" means.

use std::net::Ipv4Addr;

use sim::builder::{self, Flow};
use sim::frame::{SimFrame, SimPool};
use sim::mutate::mutate;
use sim::rng::Rng;
use wire::{FramePool, Ipv4Prefix};

use super::*;
use crate::adjacency::{Adjacency, BLACKHOLE, LOCAL};
use crate::fib::{AdjacencyId, FibLimits, FibWriter};
use crate::interface::{IfaceId, Interface, PortId};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PORTS: u16 = 3;

struct World {
    fib: FibWriter,
    adjacencies: AdjacencyTable,
    filter: HeaderFilter,
    pool: SimPool,
}

fn interface(port: u16, mtu: u16, vlan: Option<u16>) -> Interface {
    let mac = MacAddr([2, 0, 0, 0, 1, port as u8]);
    Interface { id: IfaceId(port), port: PortId(port), vlan, mac, mtu, addresses: vec![], proxy_arp: false }
}

fn next_hop(port: u16) -> MacAddr {
    MacAddr([2, 0, 0, 0, 2, port as u8])
}

/// 10.P.0.0/16 goes out by port P, 10.P.1.64/26 by port 0, 10.9/16 by a VLAN; some lead nowhere.
fn world() -> World {
    let mut fib = FibWriter::new(FibLimits { routes: 100, groups: 16 }).unwrap();
    let mut adjacencies = AdjacencyTable::new(64, 0, PORTS);
    let mut route = |text: &str, id| fib.insert(text.parse::<Ipv4Prefix>().unwrap(), id).unwrap();
    for port in 0..PORTS {
        let id = AdjacencyId(10 + u32::from(port));
        let gateway = Ipv4Addr::new(10, port as u8, 0, 1);
        assert!(
            adjacencies.set(id, Adjacency::forward(&interface(port, 1500, None), gateway, next_hop(port)))
        );
        route(&format!("10.{port}.0.0/16"), id);
        route(&format!("10.{port}.1.64/26"), AdjacencyId(10));
    }
    let tagged = Adjacency::forward(&interface(1, 1500, Some(5)), Ipv4Addr::new(10, 9, 0, 1), next_hop(1));
    assert!(adjacencies.set(AdjacencyId(20), tagged));
    let narrow = Adjacency::forward(&interface(2, 100, None), Ipv4Addr::new(10, 8, 0, 1), next_hop(2));
    assert!(adjacencies.set(AdjacencyId(21), narrow));
    route("10.9.0.0/16", AdjacencyId(20));
    route("10.8.0.0/16", AdjacencyId(21));
    route("10.7.0.0/16", BLACKHOLE);
    route("10.6.0.1/32", LOCAL);
    World { fib, adjacencies, filter: HeaderFilter::new(OURS), pool: SimPool::new(4096, 2048) }
}

/// What the frames of a burst have in common.
struct Mix {
    /// Destinations are in 10.N.0.0/16 for such N.
    nets: &'static [u8],
    /// How likely it is that a frame has something odd about it.
    odd: f64,
    /// What the device says of frames about which nothing is odd.
    flags: u64,
}

/// From bursts that go one way to bursts of which hardly any block of frames is plain.
fn arbitrary_mix(rng: &mut Rng) -> Mix {
    const NETS: [&[u8]; 4] = [&[1], &[0, 2], &[0, 1, 2], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]];
    let nets = NETS[rng.index(4)];
    let odd = [0.0, 0.01, 0.05, 0.6][rng.index(4)];
    let flags = [RxFlags::IP_CKSUM_GOOD, RxFlags::IP_CKSUM_GOOD, 0][rng.index(3)];
    Mix { nets, odd, flags }
}

/// A frame that is plain, or not quite.
fn arbitrary_frame(world: &World, mix: &Mix, rng: &mut Rng) -> SimFrame {
    let dst = Ipv4Addr::new(10, mix.nets[rng.index(mix.nets.len())], rng.range(0..3) as u8, rng.byte());
    // Now and then one that is never a source: 0/8, 127/8, or 224/3.
    let first =
        if rng.chance(mix.odd / 4.0) { [0, 127, 224, 255][rng.index(4)] } else { 1 + rng.byte() % 126 };
    let flow = Flow {
        src_mac: MacAddr([2, 0, 0, 0, 9, 9]),
        dst_mac: OURS,
        src: Ipv4Addr::new(first, rng.byte(), rng.byte(), rng.byte()),
        dst,
        src_port: 1000,
        dst_port: 2000,
    };
    let payload = vec![rng.byte(); rng.index(60)];
    let mut header = builder::Ipv4::new(flow.src, flow.dst, builder::UDP);
    header.ttl = if rng.chance(mix.odd / 4.0) { rng.byte() % 3 } else { 2 + rng.byte() % 254 };
    header.id = rng.next_u32() as u16;
    let mut bytes = builder::padded(flow.frame(&header, &payload));
    if rng.chance(mix.odd / 4.0) {
        // Padding of any length.
        bytes.resize(bytes.len() + rng.index(1600), 0x77);
    }
    if rng.chance(mix.odd) {
        mutate(rng, &mut bytes);
    }
    let mut frame = world.pool.frame_from(&bytes).unwrap();
    let odd = [
        0,
        RxFlags::IP_CKSUM_BAD,
        RxFlags::IP_CKSUM_GOOD | RxFlags::IP_CKSUM_BAD,
        RxFlags::IP_CKSUM_GOOD | RxFlags::VLAN_STRIPPED,
    ];
    frame.set_rx_flags(RxFlags(if rng.chance(mix.odd / 2.0) { odd[rng.index(4)] } else { mix.flags }));
    frame
}

/// The bytes of each batch, the last one being `rest`.
fn run(isa: Isa, world: &World, mut frames: Vec<SimFrame>) -> Vec<Vec<Vec<u8>>> {
    let batch = || Vec::with_capacity(frames.len() + BATCH_SLACK);
    let mut tx: Vec<Vec<SimFrame>> = (0..PORTS).map(|_| batch()).collect();
    let mut rest = batch();
    let fib = world.fib.fib();
    let watch = &Stopwatch::new(|| 0);
    let tables = Tables { filter: &world.filter, fib: fib.view(), adjacencies: &world.adjacencies, watch };
    forward_burst(isa, tables, &mut frames, &mut tx, &mut rest);
    assert!(frames.is_empty());
    tx.push(rest);
    tx.iter().map(|batch| batch.iter().map(SimFrame::to_vec).collect()).collect()
}

/// The naive model: the port, and the frame as it is sent, or `None` for a frame that is not plain.
fn model(world: &World, frame: &SimFrame) -> Option<(u16, Vec<u8>)> {
    let bytes = frame.to_vec();
    let ip = bytes.get(14..34)?;
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let flags = frame.rx_flags();
    let plain = bytes[..6] == OURS.0
        && bytes[12..15] == [8, 0, 0x45]
        && ip[8] >= 2
        && (1..=223).contains(&ip[12])
        && ip[12] != 127
        && (20..=bytes.len() - 14).contains(&total)
        && flags.0 & RxFlags::VLAN_STRIPPED == 0
        && (flags.ip_cksum_good() || builder::checksum(ip) == 0);
    let dst = u32::from_be_bytes([ip[16], ip[17], ip[18], ip[19]]);
    let port = match (dst.to_be_bytes(), world.fib.fib().lookup(dst)) {
        (_, AdjacencyId(id @ 10..13)) => (id - 10) as u16,
        (_, AdjacencyId(21)) if bytes.len() - 14 <= 100 => 2,
        _ => return None,
    };
    if !plain || bytes.len() - 14 > 1500 {
        return None;
    }
    let mut sent = [&next_hop(port).0[..], &[2, 0, 0, 0, 1, port as u8, 8, 0], &bytes[14..]].concat();
    sent[22] -= 1;
    let old = u16::from_be_bytes([sent[24], sent[25]]);
    let new = (u32::from(old) + 0x100) % 0xffff;
    let new = if new == 0 { 0xffff } else { new as u16 };
    sent[24..26].copy_from_slice(&new.to_be_bytes());
    Some((port, sent))
}

#[test]
fn all_instruction_sets_do_as_the_model_says() {
    let world = world();
    let mut rng = Rng::new(7);
    let mut forwarded = 0;
    for round in 0..2000 {
        let count = 1 + rng.index(150);
        let mix = arbitrary_mix(&mut rng);
        let frames: Vec<_> = (0..count).map(|_| arbitrary_frame(&world, &mix, &mut rng)).collect();
        let mut expected = vec![vec![]; usize::from(PORTS) + 1];
        for frame in &frames {
            match model(&world, frame) {
                Some((port, sent)) => expected[usize::from(port)].push(sent),
                None => expected[usize::from(PORTS)].push(frame.to_vec()),
            }
        }
        forwarded += expected[..3].iter().map(Vec::len).sum::<usize>();
        for isa in Isa::available() {
            let copies = frames.iter().map(|frame| frame.duplicate().unwrap()).collect();
            assert_eq!(run(isa, &world, copies), expected, "{} in round {round}", isa.name());
        }
    }
    assert!(forwarded > 80_000, "the frames were hardly ever plain: {forwarded}");
    assert!(world.pool.is_full());
}

#[test]
fn checksum_carries_round() {
    let world = world();
    // The identification decides the checksum, which takes every value but 0xffff; where it is 0, that is as right.
    let frame_with = |id, zero_as| {
        let mut header = builder::Ipv4::new(Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(10, 1, 0, 1), 17);
        header.id = id;
        let mut bytes =
            builder::padded(builder::ethernet(OURS, MacAddr::ZERO, 0x800, &header.packet(&[0; 8])));
        if bytes[CHECKSUM..CHECKSUM + 2] == [0, 0] {
            bytes[CHECKSUM..CHECKSUM + 2].copy_from_slice(&[zero_as; 2]);
        }
        world.pool.frame_from(&bytes).unwrap()
    };
    for isa in Isa::available() {
        for zero_as in [0, 0xff] {
            for from in (0..=u16::MAX).step_by(64) {
                let out = run(isa, &world, (from..=from + 63).map(|id| frame_with(id, zero_as)).collect());
                assert_eq!(out[1].len(), 64);
                for sent in &out[1] {
                    assert_eq!(builder::checksum(&sent[14..34]), 0, "{}: {sent:x?}", isa.name());
                }
            }
        }
    }
}

#[test]
fn order_is_kept_and_nothing_is_lost() {
    let world = world();
    let (free, all) = world.pool.available();
    assert_eq!(free, all);
    let frames: Vec<_> = (0..150u8)
        .map(|n| {
            let dst = Ipv4Addr::new(10, n % 3, 0, n);
            let header = builder::Ipv4::new(Ipv4Addr::new(1, 2, 3, 4), dst, 17);
            let bytes = builder::ethernet(OURS, MacAddr::ZERO, 0x800, &header.packet(&[0; 26]));
            world.pool.frame_from(&bytes).unwrap()
        })
        .collect();
    for isa in Isa::available() {
        let copies = frames.iter().map(|frame| frame.duplicate().unwrap()).collect();
        for (port, batch) in run(isa, &world, copies).iter().take(3).enumerate() {
            let seen: Vec<u8> = batch.iter().map(|frame| frame[33]).collect();
            let expected: Vec<u8> = (0..150).filter(|n| usize::from(n % 3) == port).collect();
            assert_eq!(seen, expected, "{}", isa.name());
        }
    }
}

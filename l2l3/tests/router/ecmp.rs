//! Several next hops for one route.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use sim::builder::{self, Flow, Ipv4, TCP, UDP};
use wire::MacAddr;

use super::rig::*;

fn flow(n: u16) -> Flow {
    Flow {
        src_mac: station(A),
        dst_mac: OURS[0],
        src: A,
        dst: Ipv4Addr::from_bits(SPREAD.to_bits() + u32::from(n % 7)),
        src_port: 1024 + n,
        dst_port: 53,
    }
}

/// The neighbour that each flow's packet goes to.
fn ways(rig: &mut Rig, flows: u16) -> Vec<MacAddr> {
    (0..flows).map(|n| destination(rig.rx(0, &flow(n).udp(b"?")).only_tx(1))).collect()
}

fn destination(frame: &[u8]) -> MacAddr {
    MacAddr(std::array::from_fn(|i| frame[i]))
}

fn member(n: u8) -> MacAddr {
    station(Ipv4Addr::new(192, 0, 2, n))
}

#[test]
fn flows_spread_and_each_keeps_its_way() {
    let mut rig = Rig::new();
    rig.group(&[1, 2, 3, 4]);
    let first = ways(&mut rig, 2000);
    let mut shares = HashMap::new();
    first.iter().for_each(|way| *shares.entry(*way).or_insert(0) += 1);
    assert_eq!(shares.len(), 4);
    // Standard deviation 19.
    assert!((1..=4).all(|n| (400..600).contains(&shares[&member(n)])), "{shares:?}");
    assert_eq!(ways(&mut rig, 2000), first);
}

#[test]
fn only_the_flows_of_a_member_that_leaves_move() {
    let mut rig = Rig::new();
    let mut group = rig.group(&[1, 2, 3, 4]);
    let before = ways(&mut rig, 1000);
    let leaver = group.members().nth(2).unwrap();
    assert!(group.remove(leaver));
    let old = rig.router.set_group(GROUP, Some(Box::new(group.clone())));
    assert!(old.is_some_and(|old| old.members().any(|id| id == leaver)));
    let after = ways(&mut rig, 1000);
    let gone = member(3);
    for (before, after) in before.iter().zip(&after) {
        assert!(after == before || *before == gone);
        assert_ne!(*after, gone);
    }
    group.add(leaver).unwrap();
    rig.router.set_group(GROUP, Some(Box::new(group)));
    let back = ways(&mut rig, 1000);
    assert!(after.iter().zip(&back).all(|(after, back)| after == back || *back == gone));
}

#[test]
fn all_packets_of_a_flow_go_one_way() {
    let mut rig = Rig::new();
    rig.group(&(1..=32).collect::<Vec<_>>());
    let header = |protocol| Ipv4::new(A, SPREAD, protocol);
    let mut way = |packet: &[u8]| destination(rig.packet(0, packet).only_tx(1));
    // Fragments have no ports but the first: they go by addresses and protocol.
    let piece =
        |offset, more_fragments, data: &[u8]| Ipv4 { offset, more_fragments, ..header(UDP) }.packet(data);
    let first = builder::udp(A, SPREAD, 999, 888, &[0; 16]);
    let ways = [
        way(&piece(0, true, &first)),
        way(&piece(3, true, &[1; 8])),
        way(&piece(4, true, &[77; 8])),
        way(&piece(5, false, b"end")),
    ];
    assert!(ways.iter().all(|other| *other == ways[0]), "{ways:?}");
    // Options and size do not matter, ports do.
    let segment = |src_port| builder::Tcp { src_port, dst_port: 80, ..Default::default() };
    let plain = way(&header(TCP).packet(&segment(5000).segment(A, SPREAD, b"")));
    let optioned = Ipv4 { options: vec![148, 4, 0, 0], ..header(TCP) };
    assert_eq!(way(&optioned.packet(&segment(5000).segment(A, SPREAD, &[0; 900]))), plain);
    let others = (0..64).map(|n| way(&header(TCP).packet(&segment(n).segment(A, SPREAD, b""))));
    assert!(others.filter(|other| *other != plain).count() > 32);
}

#[test]
fn a_group_of_one_and_a_group_that_is_full() {
    let mut rig = Rig::new();
    rig.group(&[9]);
    assert!(ways(&mut rig, 100).iter().all(|way| *way == member(9)));
    rig.group(&(1..=40).collect::<Vec<_>>());
    let used: std::collections::HashSet<_> = ways(&mut rig, 4000).into_iter().collect();
    assert_eq!(used.len(), 40);
}

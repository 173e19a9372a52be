//! Packets that wait for a neighbour.

use std::net::Ipv4Addr;
use std::time::Duration;

use l2l3::hold::HoldLimits;
use l2l3::neighbour::Key;
use l2l3::router::{Bounds, Event};
use sim::builder::{self, Ipv4, UDP};
use wire::DropReason;

use super::rig::*;

/// Distinct packets, in order.
fn numbered(dst: Ipv4Addr, n: u16) -> Vec<u8> {
    udp_with(&Ipv4 { id: n, ..Ipv4::new(A, dst, UDP) }, 26)
}

#[test]
fn the_first_packet_to_a_neighbour_is_not_lost() {
    // (destination, the neighbour that is asked for)
    for (dst, hop) in [(BEYOND_SILENT, SILENT), (Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(192, 0, 2, 77))]
    {
        let mut rig = Rig::new();
        for n in 0..3 {
            let seen = rig.packet(0, &numbered(dst, n));
            seen.assert_silent();
            assert_eq!(seen.drops, []);
            let asked = if n == 0 { vec![Event::Resolve(WAN, hop)] } else { vec![] };
            assert_eq!(seen.events, asked);
        }
        assert_eq!(rig.held(), 3);
        let seen = rig.resolve(WAN, hop);
        let expected = (0..3).map(|n| sent(1, hop, &one_hop_on(&numbered(dst, n))));
        assert_eq!(seen.tx[1], expected.collect::<Vec<_>>());
        assert_eq!((seen.drops, rig.held()), (vec![], 0));
    }
}

#[test]
fn waiting_packets_get_the_tag_of_their_vlan() {
    let mut rig = Rig::new();
    let dst = Ipv4Addr::new(198, 51, 100, 9);
    assert_eq!(rig.packet(0, &numbered(dst, 1)).events, [Event::Resolve(TAGGED, dst)]);
    let seen = rig.resolve(TAGGED, dst);
    assert_eq!(seen.only_tx(1), builder::tagged(&sent(1, dst, &one_hop_on(&numbered(dst, 1))), 5));
}

#[test]
fn a_waiting_packet_meets_the_mtu_when_it_leaves() {
    let mut rig = Rig::new();
    let dst = Ipv4Addr::new(198, 51, 100, 9);
    let header = |dont_fragment| Ipv4 { dont_fragment, ..Ipv4::new(A, dst, UDP) };
    rig.packet(0, &udp_with(&header(false), 1440)).assert_silent();
    let seen = rig.resolve(TAGGED, dst);
    assert_eq!((seen.tx[1].len(), seen.drops), (2, vec![]));
    // The sender hears of the MTU though the packet had to wait first.
    let packet = udp_with(&header(true), 1440);
    rig.packet(0, &packet).assert_silent();
    let seen = rig.resolve(TAGGED, dst);
    seen.assert_dropped(DropReason::FragmentationNeeded, 1);
    let error = seen.icmp_error(0, A);
    assert_eq!((error.src, error.dst, error.kind, error.code), (US, A, 3, 4));
    assert_eq!((error.rest, &error.quote[..]), ([0, 0, 0x05, 0x78], &one_hop_on(&packet)[..548]));
}

#[test]
fn asked_again_once_a_second() {
    let mut rig = Rig::new();
    let mut asked = 0;
    for n in 0..30 {
        asked += rig.packet(0, &numbered(BEYOND_SILENT, n)).events.len();
        rig.now = rig.now + Duration::from_millis(100);
    }
    assert_eq!(asked, 3);
}

#[test]
fn the_oldest_packet_of_a_full_neighbour_is_dropped() {
    let mut rig = Rig::new();
    for n in 0..6 {
        let seen = rig.packet(0, &numbered(BEYOND_SILENT, n));
        let dropped = if n < 4 { vec![] } else { vec![(DropReason::HoldFull, 1)] };
        assert_eq!(seen.drops, dropped);
    }
    let seen = rig.resolve(WAN, SILENT);
    let expected = (2..6).map(|n| sent(1, SILENT, &one_hop_on(&numbered(BEYOND_SILENT, n))));
    assert_eq!(seen.tx[1], expected.collect::<Vec<_>>());
}

#[test]
fn a_scan_is_bounded_and_costs_the_oldest() {
    let mut rig = Rig::new();
    for n in 0..100 {
        let seen = rig.packet(0, &numbered(Ipv4Addr::new(192, 0, 2, 100 + n), u16::from(n)));
        assert_eq!(seen.events.len(), 1);
        assert_eq!(rig.held(), u64::from(n + 1).min(8));
    }
    assert_eq!(rig.router.counters().drops(DropReason::HoldFull), 92);
    rig.resolve(WAN, Ipv4Addr::new(192, 0, 2, 191)).assert_silent();
    rig.resolve(WAN, Ipv4Addr::new(192, 0, 2, 192)).only_tx(1);
}

#[test]
fn failure_is_told_to_each_sender() {
    let mut rig = Rig::new();
    let packets = [numbered(BEYOND_SILENT, 1), udp(A_TOO, BEYOND_SILENT, 8)];
    packets.iter().for_each(|packet| rig.packet(0, packet).assert_silent());
    rig.packet(1, &udp(FAR, BEYOND_SILENT, 8)).assert_silent();
    let other = Key { iface: LAN, ip: SILENT };
    rig.step(|router, cx| router.fail(cx, other)).assert_silent();
    let seen = rig.step(|router, cx| router.fail(cx, Key { iface: WAN, ip: SILENT }));
    seen.assert_dropped(DropReason::NeighbourUnreachable, 3);
    assert_eq!((seen.tx[0].len(), seen.tx[1].len(), rig.held()), (2, 1, 0));
    for (frame, (packet, hop, source)) in
        seen.tx[0].iter().zip([(&packets[0], A, US), (&packets[1], A_TOO, US_TOO)])
    {
        let one = Seen { tx: [vec![frame.clone()], vec![], vec![]], ..Seen::default() };
        let error = one.icmp_error(0, hop);
        // The address towards the sender: the packet waited, and nobody remembers by which way it came.
        assert_eq!((error.src, error.dst, error.kind, error.code), (source, hop, 3, 1));
        assert_eq!(error.quote, one_hop_on(packet));
    }
    let one = Seen { tx: [vec![], seen.tx[1].clone(), vec![]], ..Seen::default() };
    assert_eq!(one.icmp_error(1, GATEWAY).src, US_WAN);
}

#[test]
fn who_waits_too_long_goes_as_if_the_neighbour_had_failed() {
    let hold = HoldLimits { per_neighbour: 300, total: 300, ..HoldLimits::default() };
    let mut rig = Setup { bounds: Bounds { hold, ..Setup::default().bounds }, ..Setup::default() }.build();
    (0..200).for_each(|n| rig.packet(0, &numbered(BEYOND_SILENT, n)).assert_silent());
    rig.pass(Duration::from_millis(4999)).assert_silent();
    rig.packet(0, &numbered(BEYOND_SILENT, 999)).assert_silent();
    // More than are taken out at once: all go, but for the one that came late.
    let seen = rig.pass(Duration::from_millis(1));
    seen.assert_dropped(DropReason::NeighbourUnreachable, 200);
    assert_eq!((seen.tx[0].len(), rig.held()), (200, 1));
    let one = Seen { tx: [seen.tx[0][..1].to_vec(), vec![], vec![]], ..Seen::default() };
    let error = one.icmp_error(0, A);
    assert_eq!((error.kind, error.code, error.quote), (3, 1, one_hop_on(&numbered(BEYOND_SILENT, 0))));
}

#[test]
fn a_release_that_resolves_nothing_ends() {
    let hold = HoldLimits { per_neighbour: 300, total: 300, ..HoldLimits::default() };
    let mut rig = Setup { bounds: Bounds { hold, ..Setup::default().bounds }, ..Setup::default() }.build();
    (0..200).for_each(|n| rig.packet(0, &numbered(BEYOND_SILENT, n)).assert_silent());
    let key = Key { iface: WAN, ip: SILENT };
    // The neighbour was lost again before the command arrived: its packets wait on, in their order.
    let waiting = l2l3::adjacency::Adjacency::to(l2l3::adjacency::Target::Incomplete(WAN, SILENT));
    rig.step(|router, cx| {
        router.set_adjacency(SPARE, waiting);
        router.release(cx, key, SPARE);
    })
    .assert_silent();
    assert_eq!(rig.held(), 200);
    let seen = rig.resolve(WAN, SILENT);
    let ids = seen.tx[1].iter().map(|frame| u16::from_be_bytes([frame[18], frame[19]]));
    assert!(ids.eq(0..200), "{seen:?}");
}

#[test]
fn our_own_packets_wait_too() {
    let mut rig = Rig::new();
    let ping = Ipv4::new(B, US, builder::ICMP).packet(&builder::echo_request(1, 2, b"hello"));
    assert_eq!(rig.packet(0, &ping).events, [Event::Resolve(LAN, B)]);
    let reply = Ipv4::new(US, B, builder::ICMP).packet(&builder::echo_reply(1, 2, b"hello"));
    assert_eq!(rig.resolve(LAN, B).only_tx(0), sent(0, B, &reply));
    rig.packet(0, &ping).assert_silent();
    // Nobody is told that our own packet did not arrive.
    let seen = rig.step(|router, cx| router.fail(cx, Key { iface: LAN, ip: B }));
    seen.assert_dropped(DropReason::NeighbourUnreachable, 1);
    seen.assert_silent();
}

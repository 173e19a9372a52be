//! ICMP errors: which packet gives rise to which, to whom, from which address, and to none at all.

use std::net::Ipv4Addr;
use std::time::Duration;

use l2l3::icmp::ErrorKind;
use l2l3::interface::PortId;
use l2l3::neighbour::Key;
use l2l3::router::{Bounds, Delivery, Event};
use sim::builder::{self, ICMP, Ipv4, UDP};
use wire::DropReason;

use super::rig::*;

/// A packet that gives rise to an error, and the error's type, code and second word.
fn packets(src: Ipv4Addr) -> Vec<(Vec<u8>, u8, u8, [u8; 4])> {
    let header = |dst| Ipv4::new(src, dst, UDP);
    let ttl = |dst, ttl| udp_with(&Ipv4 { ttl, ..header(dst) }, 26);
    let options = |dst, options: &[u8]| udp_with(&Ipv4 { options: options.to_vec(), ..header(dst) }, 26);
    let large = udp_with(&Ipv4 { dont_fragment: true, ..header(FAR_TAGGED) }, 1400);
    let piece = |more_fragments, offset| Ipv4 { more_fragments, offset, ..header(UNROUTED) }.packet(&[0; 16]);
    vec![
        (ttl(FAR, 1), 11, 0, [0; 4]),
        (ttl(FAR, 0), 11, 0, [0; 4]),
        (ttl(T, 1), 11, 0, [0; 4]),
        (ttl(BEYOND_SILENT, 1), 11, 0, [0; 4]),
        (udp(src, UNROUTED, 26), 3, 0, [0; 4]),
        (ttl(UNROUTED, 1), 3, 0, [0; 4]),
        (udp(src, REFUSED, 26), 3, 1, [0; 4]),
        (Ipv4::new(src, US, 89).packet(b"hello"), 3, 2, [0; 4]),
        (large, 3, 4, [0, 0, 0x05, 0x78]),
        (options(FAR, &[7, 7, 3, 0, 0, 0, 0, 0]), 12, 0, [22, 0, 0, 0]),
        (options(US, &[7, 7, 3, 0, 0, 0, 0, 0]), 12, 0, [22, 0, 0, 0]),
        (piece(true, 0), 3, 0, [0; 4]),
        // An ICMP message that is no error is answered.
        (Ipv4::new(src, UNROUTED, ICMP).packet(&builder::echo_request(1, 1, b"ping")), 3, 0, [0; 4]),
        (Ipv4::new(src, UNROUTED, ICMP).packet(&builder::icmp(200, 0, [0; 4], &[])), 3, 0, [0; 4]),
    ]
}

/// Where a packet comes in and from whom; by which port and to which neighbour the error leaves, and which
/// address of ours it is from.
const WAYS: [(u16, Ipv4Addr, u16, Ipv4Addr, Ipv4Addr); 4] = [
    (0, A, 0, A, US),
    (0, A_TOO, 0, A_TOO, US_TOO),
    (1, FAR, 1, GATEWAY, US_WAN),
    // The way back leads elsewhere: the address is that of the way here.
    (0, FAR, 1, GATEWAY, US),
];

#[test]
fn each_error_goes_back_with_the_packet_quoted() {
    let mut rig = Rig::new();
    for (ingress, from, egress, hop, source) in WAYS {
        for (packet, kind, code, rest) in packets(from) {
            let seen = rig.packet(ingress, &packet);
            assert_eq!(seen.drops.iter().map(|(_, n)| n).sum::<u64>(), 1);
            let error = seen.icmp_error(egress, hop);
            assert_eq!((error.src, error.dst), (source, from));
            assert_eq!((error.kind, error.code, error.rest), (kind, code, rest));
            // RFC 1812 section 4.3.2.3: the packet as received, but for what forwarding changes.
            let len = packet.len().min(548);
            let quote = if (kind, code) == (3, 4) { one_hop_on(&packet) } else { packet };
            assert_eq!(error.quote, quote[..len]);
        }
    }
}

#[test]
fn some_packets_are_never_answered() {
    let mut rig = Rig::new();
    let piece = |offset| Ipv4 { offset, ..Ipv4::new(A, UNROUTED, UDP) }.packet(&[0; 16]);
    let icmp = |kind| Ipv4::new(A, UNROUTED, ICMP).packet(&builder::icmp(kind, 0, [0; 4], &udp(A, FAR, 8)));
    let cases = [
        ("a later fragment", piece(1)),
        ("unreachable", icmp(3)),
        ("source quench", icmp(4)),
        ("redirect", icmp(5)),
        ("time exceeded", icmp(11)),
        ("parameter problem", icmp(12)),
        ("ICMP without a type", Ipv4::new(A, UNROUTED, ICMP).packet(&[])),
        ("from a directed broadcast", udp([10, 0, 0, 255].into(), UNROUTED, 8)),
        ("from a network address", udp([10, 0, 0, 0].into(), UNROUTED, 8)),
        ("from our own address", udp(US_WAN, UNROUTED, 8)),
    ];
    for (name, packet) in cases {
        let seen = rig.packet(0, &packet);
        assert_eq!(seen.drops, [(DropReason::NoRoute, 1)], "{name}");
        seen.assert_silent();
    }
    let counters = rig.router.icmp_errors().counters();
    let count = &counters[ErrorKind::NetUnreachable.index()];
    assert_eq!((count.sent.get(), count.limited.get(), count.suppressed.get()), (0, 0, 9));
}

#[test]
fn an_error_waits_for_its_neighbour_as_any_packet() {
    let mut rig = Rig::new();
    let packet = udp(B, UNROUTED, 26);
    let seen = rig.packet(0, &packet);
    seen.assert_silent();
    assert_eq!(seen.events, [Event::Resolve(LAN, B)]);
    let error = rig.resolve(LAN, B).icmp_error(0, B);
    assert_eq!((error.dst, error.kind, error.code, &error.quote), (B, 3, 0, &packet));
    // If the neighbour never answers, no error is sent about the error.
    rig.packet(0, &packet).assert_silent();
    let seen = rig.step(|router, cx| router.fail(cx, Key { iface: LAN, ip: B }));
    seen.assert_silent();
    seen.assert_dropped(DropReason::NeighbourUnreachable, 1);
}

#[test]
fn no_frame_no_error() {
    let mut rig = Setup { frames: 1, ..Setup::default() }.build();
    let seen = rig.packet(0, &udp(A, UNROUTED, 8));
    seen.assert_silent();
    seen.assert_dropped(DropReason::NoRoute, 1);
}

#[test]
fn who_takes_udp_refuses_a_port() {
    let mut rig = Rig::new();
    let packet = udp(A, US, 26);
    let frame = rig.pool.frame_from(&link(0, &packet)).unwrap();
    let seen = rig.step(|router, cx| {
        router.handle_burst(cx, PortId(0), &mut vec![frame]);
        let Delivery { iface, frame } = cx.out.local.remove(0);
        router.refuse(cx, iface, frame, DropReason::UdpNoPort, ErrorKind::PortUnreachable);
    });
    seen.assert_dropped(DropReason::UdpNoPort, 1);
    let error = seen.icmp_error(0, A);
    assert_eq!((error.kind, error.code, error.quote), (3, 3, packet));
}

/// Errors sent about `packets` packets, `gap` apart.
fn errors(rig: &mut Rig, packets: usize, gap: Duration) -> usize {
    let mut sent = 0;
    for _ in 0..packets {
        sent += rig.packet(0, &udp(A, UNROUTED, 8)).tx[0].len();
        rig.now = rig.now + gap;
    }
    sent
}

#[test]
fn errors_are_limited_to_so_many_a_second() {
    let bounds = Bounds { icmp_rate: 100, icmp_burst: 10, ..Setup::default().bounds };
    let mut rig = Setup { bounds, ..Setup::default() }.build();
    assert_eq!(errors(&mut rig, 500, Duration::ZERO), 10);
    // For 2 s one packet a millisecond.
    assert_eq!(errors(&mut rig, 2001, Duration::from_millis(1)), 200);
    rig.now = rig.now + Duration::from_secs(60);
    assert_eq!(errors(&mut rig, 500, Duration::ZERO), 10);
    let counters = rig.router.icmp_errors().counters();
    let count = &counters[ErrorKind::NetUnreachable.index()];
    assert_eq!((count.sent.get(), count.limited.get()), (220, 3001 - 220));
    // What is not sent is dropped and counted all the same, and pings are not limited.
    assert_eq!(rig.router.counters().drops(DropReason::NoRoute), 3001);
    let ping = Ipv4::new(A, US, ICMP).packet(&builder::echo_request(1, 1, b"ping"));
    rig.packet(0, &ping).only_tx(0);
}

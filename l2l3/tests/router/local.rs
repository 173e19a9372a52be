//! Packets to us: pings, TCP and UDP, fragments.

use std::net::Ipv4Addr;
use std::time::Duration;

use sim::builder::{self, ICMP, Ipv4, TCP, UDP};
use sim::dissect::{Body, Packet};
use wire::{DropReason, MacAddr};

use super::rig::*;

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7) as u8).collect()
}

fn ping(src: Ipv4Addr, dst: Ipv4Addr, len: usize) -> Vec<u8> {
    Ipv4 { id: 9, ..Ipv4::new(src, dst, ICMP) }.packet(&builder::echo_request(7, 3, &data(len)))
}

/// A packet in fragments of `unit` bytes of payload, a multiple of 8.
fn cut(packet: &[u8], unit: usize) -> Vec<Vec<u8>> {
    let Packet { header, payload } = Packet::parse(packet).unwrap();
    let count = payload.len().div_ceil(unit);
    let piece = |(i, part): (usize, &[u8])| {
        let offset = (i * unit / 8) as u16;
        Ipv4 { offset, more_fragments: i + 1 < count, ..header.clone() }.packet(part)
    };
    payload.chunks(unit).enumerate().map(piece).collect()
}

fn assert_echo_reply(seen: &Seen, port: u16, hop: Ipv4Addr, us: Ipv4Addr, to: Ipv4Addr, len: usize) {
    let frames = &seen.tx[usize::from(port)];
    assert!(frames.iter().all(|frame| frame[..14] == sent(port, hop, &[]) && frame.len() <= 1514));
    let packets: Vec<&[u8]> = frames.iter().map(|frame| &frame[14..]).collect();
    let (header, payload) = join(&packets);
    assert_eq!((header.src, header.dst, header.ttl, header.protocol), (us, to, 64, ICMP));
    assert_eq!(payload, builder::echo_reply(7, 3, &data(len)));
    assert_eq!(seen.drops, []);
}

#[test]
fn pings_are_answered_at_each_address() {
    let mut rig = Rig::new();
    for us in [US, US_TOO, US_WAN, US_TAGGED] {
        for len in [0, 1, 56, 1472] {
            assert_echo_reply(&rig.packet(0, &ping(A, us, len)), 0, A, us, A, len);
            assert_echo_reply(&rig.packet(1, &ping(FAR, us, len)), 1, GATEWAY, us, FAR, len);
        }
    }
    // The TTL does not matter to a packet that has arrived.
    for ttl in [0, 1] {
        let packet = Ipv4 { ttl, ..Ipv4::new(A, US, ICMP) }.packet(&builder::echo_request(7, 3, b""));
        assert_echo_reply(&rig.packet(0, &packet), 0, A, US, A, 0);
    }
}

#[test]
fn a_large_ping_comes_back_in_fragments() {
    let mut rig = Rig::new();
    for (len, unit) in [(1473, 1480), (8972, 1480), (65_507, 1480), (3000, 8 * 100)] {
        let mut pieces = cut(&ping(A, US, len), unit);
        for order in [0, 1] {
            let mut seen = Seen::default();
            for (i, piece) in pieces.iter().enumerate() {
                assert_eq!(rig.held(), i as u64);
                seen = rig.packet(0, piece);
                assert!(seen.drops.is_empty(), "{seen:?}");
            }
            assert_echo_reply(&seen, 0, A, US, A, len);
            assert_eq!(seen.tx[0].len(), (len + 8).div_ceil(1480), "{order}");
            assert_eq!(rig.held(), 0);
            pieces.reverse();
        }
    }
}

#[test]
fn a_ping_in_several_segments() {
    let mut rig = Setup { mtu: 9000, ..Setup::default() }.build();
    let seen = rig.packet(0, &ping(A, US, 8972));
    let (_, payload) = join(&[&seen.only_tx(0)[14..]]);
    assert_eq!(payload, builder::echo_reply(7, 3, &data(8972)));
}

#[test]
fn tcp_and_udp_are_handed_over() {
    let mut rig = Rig::new();
    let tcp = builder::Tcp { src_port: 5, dst_port: 80, flags: 2, ..Default::default() };
    let tcp = Ipv4::new(FAR, US, TCP).packet(&tcp.segment(FAR, US, b""));
    assert_eq!(rig.packet(1, &tcp).local, [(WAN, tcp)]);
    let small = udp(A, US_TOO, 3);
    assert_eq!(rig.packet(0, &small).local, [(LAN, small)]);
    let tagged = udp(T, US_TAGGED, 3);
    assert_eq!(rig.rx(1, &builder::tagged(&link(1, &tagged), 5)).local, [(TAGGED, tagged)]);
    // In fragments: handed over whole.
    let large = udp_with(&Ipv4 { id: 3, ..Ipv4::new(A, US, UDP) }, 4000);
    let mut seen = Seen::default();
    for piece in cut(&large, 1480) {
        seen.assert_silent();
        seen = rig.packet(0, &piece);
    }
    assert_eq!(seen.local, [(LAN, large)]);
}

/// An ICMP error from a router on the way about a segment from `src`.
fn error_about(src: Ipv4Addr) -> Vec<u8> {
    let tcp = builder::Tcp { src_port: 80, dst_port: 5, ..Default::default() };
    let about = Ipv4::new(src, FAR, TCP).packet(&tcp.segment(src, FAR, b"data"));
    Ipv4::new(A, US, ICMP).packet(&builder::icmp(3, 4, [0, 0, 5, 20], &about[..28]))
}

#[test]
fn errors_about_our_segments_are_handed_over() {
    let mut rig = Rig::new();
    let about_us = error_about(US);
    assert_eq!(rig.packet(0, &about_us).local, [(LAN, about_us.clone())]);
    rig.packet(0, &error_about(FAR)).assert_dropped(DropReason::IcmpIgnored, 1);
    let mut damaged = about_us;
    *damaged.last_mut().unwrap() ^= 1;
    rig.packet(0, &damaged).assert_dropped(DropReason::IcmpMalformed, 1);
}

#[test]
fn protocols_that_nobody_takes_are_refused() {
    let mut rig = Rig::new();
    for protocol in [0, 2, 41, 47, 50, 89, 132, 255] {
        let packet = Ipv4::new(A, US, protocol).packet(b"some data");
        let seen = rig.packet(0, &packet);
        seen.assert_dropped(DropReason::UnknownProtocol, 1);
        let error = seen.icmp_error(0, A);
        assert_eq!((error.kind, error.code, error.src, error.quote), (3, 2, US, packet));
    }
}

#[test]
fn fragments_that_overlap_take_their_datagram_along() {
    let mut rig = Rig::new();
    let piece = |offset, more_fragments, len: usize| {
        Ipv4 { offset, more_fragments, id: 4, ..Ipv4::new(A, US, UDP) }.packet(&vec![1; len])
    };
    for evil in
        [piece(1, true, 16), piece(1, true, 8), piece(3, true, 16), piece(0, true, 64), piece(3, false, 4)]
    {
        rig.packet(0, &piece(0, true, 16)).assert_silent();
        rig.packet(0, &piece(4, true, 16)).assert_silent();
        let seen = rig.packet(0, &evil);
        seen.assert_silent();
        let malformed = evil.len() == 24;
        let reason = if malformed { DropReason::FragmentMalformed } else { DropReason::FragmentOverlap };
        seen.assert_dropped(reason, 3);
        assert_eq!(rig.held(), 0);
    }
}

#[test]
fn what_is_not_whole_in_time_is_given_up() {
    let mut rig = Rig::new();
    let pieces = cut(&ping(A, US_WAN, 4000), 1480);
    // Without the first fragment nothing is told.
    rig.packet(0, &pieces[1]).assert_silent();
    let seen = rig.pass(Duration::from_secs(30));
    seen.assert_silent();
    seen.assert_dropped(DropReason::ReassemblyTimeout, 1);
    // With it, its sender hears: from our address on the way back.
    rig.packet(0, &pieces[2]).assert_silent();
    rig.packet(0, &pieces[0]).assert_silent();
    rig.pass(Duration::from_millis(29_999)).assert_silent();
    let seen = rig.pass(Duration::from_millis(1));
    seen.assert_dropped(DropReason::ReassemblyTimeout, 2);
    let error = seen.icmp_error(0, A);
    assert_eq!((error.src, error.dst, error.kind, error.code), (US, A, 11, 1));
    assert_eq!(error.quote, pieces[0][..548]);
    // A late fragment starts anew.
    rig.packet(0, &pieces[1]).assert_silent();
    assert_eq!(rig.held(), 1);
}

#[test]
fn reassembly_is_bounded() {
    let mut rig = Rig::new();
    let piece = |id| Ipv4 { id, more_fragments: true, ..Ipv4::new(A, US, UDP) }.packet(&[1; 8]);
    for id in 0..8 {
        assert_eq!(rig.packet(0, &piece(id)).drops, []);
    }
    for id in 8..100 {
        rig.packet(0, &piece(id)).assert_dropped(DropReason::ReassemblyFull, 1);
    }
    assert_eq!(rig.held(), 8);
}

#[test]
fn a_packet_of_ours_goes_by_the_route() {
    let mut rig = Rig::new();
    let packet = udp(US, FAR, 2000);
    let frame = rig.pool.frame_from(&packet).unwrap();
    let seen = rig.step(|router, cx| router.originate(cx, frame, FAR));
    // The TTL is the sender's choice; what is too large is cut.
    let packets: Vec<&[u8]> = seen.tx[1].iter().map(|frame| &frame[14..]).collect();
    let (header, payload) = join(&packets);
    assert_eq!((packets.len(), header.packet(&payload)), (2, packet));
    let cases = [
        (UNROUTED, DropReason::NoRoute),
        (BLACKHOLED, DropReason::Blackhole),
        (REFUSED, DropReason::Unreachable),
        (US_WAN, DropReason::MartianDestination),
        (Ipv4Addr::new(127, 0, 0, 1), DropReason::MartianDestination),
        (Ipv4Addr::BROADCAST, DropReason::Broadcast),
        (Ipv4Addr::new(224, 0, 0, 1), DropReason::Multicast),
    ];
    for (dst, reason) in cases {
        let frame = rig.pool.frame_from(&udp(US, dst, 8)).unwrap();
        let seen = rig.step(|router, cx| router.originate(cx, frame, dst));
        seen.assert_dropped(reason, 1);
        seen.assert_silent();
    }
    let large = udp_with(&Ipv4 { dont_fragment: true, ..Ipv4::new(US, FAR, UDP) }, 2000);
    let frame = rig.pool.frame_from(&large).unwrap();
    let seen = rig.step(|router, cx| router.originate(cx, frame, FAR));
    seen.assert_silent();
    seen.assert_dropped(DropReason::FragmentationNeeded, 1);
}

#[test]
fn a_damaged_ping_is_not_answered() {
    let mut rig = Rig::new();
    let mut packet = ping(A, US, 56);
    packet[40] ^= 1;
    let seen = rig.packet(0, &packet);
    seen.assert_silent();
    seen.assert_dropped(DropReason::IcmpMalformed, 1);
    let to_group = builder::ethernet(MacAddr::BROADCAST, station(A), 0x800, &ping(A, US, 56));
    rig.rx(0, &to_group).assert_dropped(DropReason::LinkBroadcast, 1);
}

#[test]
fn what_is_handed_over_has_its_body_untouched() {
    let mut rig = Rig::new();
    let seen = rig.packet(0, &udp(A, US, 100));
    let packet = Packet::parse(&seen.local[0].1).unwrap();
    assert!(matches!(packet.body(), Ok(Body::Udp { src_port: 1000, dst_port: 2000, .. })));
}

//! Which worker gets which packet.

use std::net::Ipv4Addr;

use l2l3::router::Steering;
use sim::builder::{self, ICMP, Ipv4, TCP, UDP};
use wire::RssKey;

use super::rig::*;

const WORKERS: u16 = 3;

fn rig() -> Rig {
    Setup { workers: WORKERS, ..Setup::default() }.build()
}

/// Who owns a flow; ports of 0 stand for none.
fn owner(src: Ipv4Addr, dst: Ipv4Addr, ports: Option<(u16, u16)>) -> u16 {
    let Steering { toeplitz, reta, .. } = Steering::new(0, WORKERS, &RssKey::SYMMETRIC);
    let (src, dst) = (src.to_bits(), dst.to_bits());
    reta.owner(match ports {
        Some((from, to)) => toeplitz.hash_v4_l4(src, dst, from, to),
        None => toeplitz.hash_v4(src, dst),
    })
}

/// Asserts that the packet ends with its owner: here, or handed over as it came.
fn assert_owner(rig: &mut Rig, packet: &[u8], expected: u16) {
    let seen = rig.packet(0, packet);
    if expected == 0 {
        assert!(seen.steered.is_empty());
        return;
    }
    assert!(seen.tx.iter().all(Vec::is_empty) && seen.local.is_empty() && seen.drops.is_empty(), "{seen:?}");
    let [(owner, port, frame)] = &seen.steered[..] else { panic!("{seen:?}") };
    assert_eq!((*owner, port.0), (expected, 0));
    assert_eq!(frame.to_vec(), builder::ethernet(OURS[0], builder_mac(), 0x800, packet));
}

fn builder_mac() -> wire::MacAddr {
    wire::MacAddr([2, 0, 0, 0, 9, 9])
}

#[test]
fn packets_to_us_go_to_the_owner_of_their_flow() {
    let mut rig = rig();
    let mut owners = [0; WORKERS as usize];
    for n in 0..200u16 {
        let src = Ipv4Addr::new(10, 0, 0, 10 + n as u8);
        let datagram = Ipv4::new(src, US, UDP).packet(&builder::udp(src, US, n * 7, 53, b"?"));
        let expected = owner(src, US, Some((n * 7, 53)));
        owners[usize::from(expected)] += 1;
        assert_owner(&mut rig, &datagram, expected);
        let tcp = builder::Tcp { src_port: n, dst_port: 80, ..Default::default() };
        let segment = Ipv4::new(src, US, TCP).packet(&tcp.segment(src, US, b""));
        assert_owner(&mut rig, &segment, owner(src, US, Some((n, 80))));
        // An error about a segment of ours goes where the answer to that segment would.
        let tcp = builder::Tcp { src_port: 80, dst_port: n, ..Default::default() };
        let sent = Ipv4::new(US, src, TCP).packet(&tcp.segment(US, src, b""));
        let error = Ipv4::new(A, US, ICMP).packet(&builder::icmp(11, 0, [0; 4], &sent[..28]));
        assert_owner(&mut rig, &error, owner(src, US, Some((n, 80))));
        // Pings and unknown protocols by addresses alone.
        let echo = Ipv4::new(src, US, ICMP).packet(&builder::echo_request(n, 1, b""));
        assert_owner(&mut rig, &echo, owner(src, US, None));
        assert_owner(&mut rig, &Ipv4::new(src, US, 89).packet(b"hello"), owner(src, US, None));
    }
    assert!(owners.iter().all(|n| *n > 30), "{owners:?}");
}

#[test]
fn all_fragments_of_a_datagram_go_to_one_worker() {
    let mut rig = rig();
    for n in 0..20 {
        let src = Ipv4Addr::new(10, 0, 0, 10 + n);
        // One is missing, so that it does not become whole.
        for (offset, more_fragments) in [(0, true), (1, true), (3, false)] {
            let header = Ipv4 { offset, more_fragments, id: 4, ..Ipv4::new(src, US, UDP) };
            let ports = [n, n, 0, 53, 0, 8, 0, 0];
            assert_owner(&mut rig, &header.packet(&ports), owner(src, US, None));
        }
    }
}

#[test]
fn a_datagram_that_became_whole_goes_to_the_owner_of_its_flow() {
    let mut rig = rig();
    let mut owners = [0; WORKERS as usize];
    let sources = (10..200).map(|n| Ipv4Addr::new(10, 0, 0, n)).filter(|src| owner(*src, US, None) == 0);
    for (n, src) in sources.enumerate() {
        let n = n as u16;
        let header = Ipv4 { id: n, ..Ipv4::new(src, US, UDP) };
        let payload = builder::udp(src, US, n * 7, 53, &[7; 100]);
        let whole = header.packet(&payload);
        let first = Ipv4 { more_fragments: true, ..header.clone() }.packet(&payload[..64]);
        rig.packet(0, &first).assert_silent();
        let seen = rig.packet(0, &Ipv4 { offset: 8, ..header }.packet(&payload[64..]));
        let expected = owner(src, US, Some((n * 7, 53)));
        owners[usize::from(expected)] += 1;
        if expected == 0 {
            assert_eq!(seen.local, [(LAN, whole)]);
            continue;
        }
        let [(owner, port, frame)] = &seen.steered[..] else { panic!("{seen:?}") };
        assert_eq!((*owner, port.0, &frame.to_vec()[14..]), (expected, 0, &whole[..]));
        // Whoever takes it over takes it as if it had come in whole.
        let frame = rig.pool.frame_from(&frame.to_vec()).unwrap();
        let seen = rig.step(|router, cx| router.handle_steered(cx, l2l3::interface::PortId(0), frame));
        assert_eq!(seen.local, [(LAN, whole)]);
    }
    assert!(owners.iter().all(|n| *n > 5), "{owners:?}");
}

#[test]
fn options_do_not_hide_the_ports() {
    let mut rig = rig();
    for n in 0..50 {
        let header = Ipv4 { options: vec![148, 4, 0, 0], ..Ipv4::new(A, US, UDP) };
        let packet = header.packet(&builder::udp(A, US, n, 53, b"?"));
        assert_owner(&mut rig, &packet, owner(A, US, Some((n, 53))));
    }
}

#[test]
fn forwarded_packets_arp_and_drops_stay() {
    let mut rig = rig();
    for n in 0..100 {
        let src = Ipv4Addr::new(10, 0, 0, 10 + n);
        let forwarded =
            [udp(src, FAR, 8), udp_with(&Ipv4 { options: vec![1; 4], ..Ipv4::new(src, FAR, UDP) }, 8)];
        for packet in forwarded {
            rig.packet(0, &packet).only_tx(1);
        }
        for dst in [BLACKHOLED, UNROUTED, Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255)] {
            let seen = rig.packet(0, &udp(src, dst, 8));
            assert!(seen.steered.is_empty() && !seen.drops.is_empty());
        }
        assert!(rig.rx(0, &builder::arp_request(station(src), src, US)).steered.is_empty());
    }
}

#[test]
fn a_frame_that_was_handed_over_is_not_handed_on() {
    let mut rig = rig();
    for n in 0..20 {
        let packet = udp(Ipv4Addr::new(10, 0, 0, 10 + n), US, 8);
        let frame = rig.pool.frame_from(&link(0, &packet)).unwrap();
        let seen = rig.step(|router, cx| router.handle_steered(cx, l2l3::interface::PortId(0), frame));
        assert_eq!(seen.local, [(LAN, packet)]);
    }
    let books = rig.router.counters().books();
    assert_eq!((books.rx, books.handed_in, books.handed_out), (0, 20, 0));
    // A whole frame to be sent by a port of ours.
    let frame = rig.pool.frame_from(b"whatever it is").unwrap();
    let seen = rig.step(|router, cx| router.handle_transmit(cx, l2l3::interface::PortId(1), frame));
    assert_eq!(seen.only_tx(1), b"whatever it is");
}

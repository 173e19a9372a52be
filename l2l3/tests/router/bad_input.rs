//! Bad input: cut short, damaged, at full speed. Nothing panics, nothing leaks, the books balance.

use std::net::Ipv4Addr;
use std::time::Duration;

use l2l3::adjacency::{Adjacency, Target};
use l2l3::neighbour::Key;
use sim::builder::{self, ICMP, Ipv4, TCP, UDP};
use sim::dissect::{Body, Packet};
use sim::{Rng, SimFrame, mutate};
use wire::{Frame, RxFlags};

use super::rig::*;

/// Valid frames for port 0, of every kind that the router knows.
fn corpus() -> Vec<Vec<u8>> {
    let udp_options =
        |dst, options: &[u8]| udp_with(&Ipv4 { options: options.to_vec(), ..Ipv4::new(A, dst, UDP) }, 20);
    let piece = |offset, more_fragments, len: usize| {
        Ipv4 { offset, more_fragments, id: 1, ..Ipv4::new(A, US, ICMP) }.packet(&vec![8; len])
    };
    let tcp = builder::Tcp {
        src_port: 9,
        dst_port: 80,
        flags: 2,
        options: vec![2, 4, 5, 180],
        ..Default::default()
    };
    let ping = |dst, len| Ipv4::new(A, dst, ICMP).packet(&builder::echo_request(1, 2, &vec![7; len]));
    let ttl = |ttl| udp_with(&Ipv4 { ttl, ..Ipv4::new(A, FAR, UDP) }, 20);
    let mut packets: Vec<Vec<u8>> =
        [A_TOO, B, FAR, FAR_TAGGED, BEYOND_SILENT, BLACKHOLED, REFUSED, SPREAD, UNROUTED, US]
            .into_iter()
            .map(|dst| udp(A, dst, 20))
            .collect();
    packets.extend([
        ttl(1),
        udp(A, FAR_TAGGED, 1450),
        udp_with(&Ipv4 { dont_fragment: true, ..Ipv4::new(A, FAR_TAGGED, UDP) }, 1450),
        udp_options(FAR, &[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        udp_options(FAR, &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        udp_options(US, &[148, 4, 0, 0, 131, 7, 4, 1, 2, 3, 4, 0]),
        Ipv4::new(A, US, TCP).packet(&tcp.segment(A, US, b"data")),
        ping(US, 56),
        ping(US_WAN, 1400),
        piece(0, true, 64),
        piece(8, true, 64),
        piece(16, false, 20),
        Ipv4::new(A, US, 89).packet(b"hello"),
        Ipv4::new(A, UNROUTED, ICMP).packet(&builder::icmp(3, 1, [0; 4], &udp(FAR, A, 0))),
        udp(A, Ipv4Addr::BROADCAST, 8),
        udp(A, Ipv4Addr::new(224, 0, 0, 1), 8),
    ]);
    let mut frames: Vec<Vec<u8>> = packets.iter().map(|packet| link(0, packet)).collect();
    let host = Ipv4Addr::new(172, 16, 0, 9);
    frames.extend([
        builder::arp_request(station(A), A, US),
        builder::arp_reply(station(B), B, OURS[0], US),
        builder::tagged(&builder::arp_request(station(host), host, FAR), 7),
        builder::tagged(&link(0, &udp(host, FAR, 20)), 7),
        builder::tagged(&link(0, &udp(host, A, 20)), 0),
    ]);
    frames
}

#[test]
fn every_truncation_of_every_frame() {
    let mut rig = Rig::new();
    rig.group(&[1, 2]);
    for frame in corpus() {
        for len in 0..frame.len() {
            rig.rx(0, &frame[..len]);
            // The same in two segments.
            if len > 1 {
                let cut = rig.pool.frame_of(&[&frame[..len / 2], &frame[len / 2..len]]).unwrap();
                rig.burst(0, vec![cut]);
            }
        }
    }
}

/// A frame of the corpus, damaged, and with whatever a device may say of it.
fn damaged(rig: &Rig, rng: &mut Rng, corpus: &[Vec<u8>], bytes: &mut Vec<u8>) -> Option<SimFrame> {
    bytes.clear();
    bytes.extend(&corpus[rng.index(corpus.len())]);
    mutate(rng, bytes);
    // Checksums that fit the damage let it get further in; else most of it would end at that check.
    if rng.chance(0.5) && bytes.len() >= 34 {
        bytes[24..26].fill(0);
        let header_len = (usize::from(bytes[14] & 15) * 4).min(bytes.len() - 14);
        let sum = builder::checksum(&bytes[14..14 + header_len]);
        bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = rig.pool.frame_from(bytes)?;
    if rng.chance(0.2) {
        frame.set_rx_flags(RxFlags(rng.next_u64() & 0x1ff));
    } else if rng.chance(0.05) {
        frame.set_vlan_tci(rng.next_u32() as u16 & 0xe007);
    }
    Some(frame)
}

/// Whether the frame is an ICMP error of ours; if it is, all its checksums are right.
fn is_sound_error(frame: &[u8]) -> bool {
    let ip = &frame[if frame[12..14] == [0x81, 0] { 18 } else { 14 }..];
    let ours = [US, US_TOO, US_WAN, US_TAGGED].iter().any(|us| ip.get(12..16) == Some(&us.octets()));
    // Precedence 6 is that of errors alone.
    if !ours || ip[0] != 0x45 || ip[1] != 0xc0 || ip[9] != ICMP {
        return false;
    }
    let body = Packet::parse(ip).unwrap().body();
    assert!(matches!(body, Ok(Body::Icmp { kind: 3 | 11 | 12, .. })), "{body:?} in {frame:?}");
    true
}

/// What the control plane may do meanwhile.
fn disturb(rig: &mut Rig, rng: &mut Rng) {
    let key = [Key { iface: WAN, ip: SILENT }, Key { iface: LAN, ip: B }][rng.index(2)];
    match rng.index(6) {
        0 => drop(rig.resolve(key.iface, key.ip)),
        1 => drop(rig.step(|router, cx| router.fail(cx, key))),
        2 => {
            let members: [&[u8]; 3] = [&[], &[1], &[1, 2, 3]];
            rig.group(members[rng.index(3)]);
        }
        3 => rig.router.set_adjacency(SPARE, Adjacency::to(Target::Incomplete(key.iface, key.ip))),
        4 => drop(rig.step(|router, cx| router.release(cx, key, SPARE))),
        _ => drop(rig.pass(Duration::from_secs(rng.range(0..40)))),
    }
}

#[test]
fn a_million_damaged_frames() {
    const FRAMES: usize = 1_000_000;
    const BURST: usize = 50;
    let corpus = corpus();
    let mut rng = Rng::new(1);
    let mut rig = Setup { workers: 2, ..Setup::default() }.build();
    let mut bytes = Vec::new();
    let (mut sent, mut errors, mut local, mut steered) = (0, 0, 0, 0);
    for round in 0..FRAMES / BURST {
        let frames: Vec<_> =
            (0..BURST).filter_map(|_| damaged(&rig, &mut rng, &corpus, &mut bytes)).collect();
        assert_eq!(frames.len(), BURST, "the pool ran dry in round {round}");
        let seen = rig.burst(0, frames);
        sent += seen.tx.iter().map(Vec::len).sum::<usize>();
        local += seen.local.len();
        errors += seen.tx.iter().flatten().filter(|frame| is_sound_error(frame)).count();
        steered += seen.steered.len();
        // What another worker received and handed over.
        rig.step(|router, cx| {
            for (_, port, frame) in seen.steered {
                router.handle_steered(cx, port, frame);
            }
        });
        rig.now = rig.now + Duration::from_millis(1);
        if rng.chance(0.02) {
            disturb(&mut rig, &mut rng);
        }
    }
    let counters = rig.router.counters();
    assert_eq!(counters.books().rx, FRAMES as u64);
    // The frames got everywhere.
    assert!(sent > 100_000 && local > 1000 && steered > 1000, "{sent} {local} {steered}");
    assert!(errors > 10_000, "{errors}");
    let reasons = wire::DropReason::ALL.iter().filter(|&&reason| counters.drops(reason) > 0).count();
    assert!(reasons >= 30, "only {reasons} reasons to drop a frame");
}

#[test]
fn a_dry_pool_loses_nothing_but_frames() {
    let corpus = corpus();
    let mut rng = Rng::new(3);
    let mut rig = Setup { frames: 12, ..Setup::default() }.build();
    let mut bytes = Vec::new();
    for _ in 0..20_000 {
        let frames: Vec<_> = (0..10).map_while(|_| damaged(&rig, &mut rng, &corpus, &mut bytes)).collect();
        assert!(frames.iter().all(|frame| frame.len() <= 2048));
        rig.burst(0, frames);
        if rng.chance(0.05) {
            disturb(&mut rig, &mut rng);
        }
    }
}

//! The straight path, with every instruction set, and the general path give the same frames.
//!
//! `handle_steered` takes a frame past the straight path: what came in that way is the model.

use std::net::Ipv4Addr;

use l2l3::forward::Isa;
use l2l3::interface::PortId;
use sim::builder::{self, ETHERTYPE_IPV4, ICMP, Ipv4, TCP, UDP};
use sim::{Rng, SimFrame, mutate};
use wire::{MacAddr, RxFlags};

use super::rig::*;

/// All that came out, in an order that does not depend on how it was worked.
type Outcome = (Vec<Vec<Vec<u8>>>, Vec<l2l3::router::Event>, Vec<Vec<u8>>, Vec<(wire::DropReason, u64)>);

fn outcome(seen: Seen) -> Outcome {
    // Within a burst, the straight path's frames are sent before those of the general path; and the
    // straight path leaves padding in its place.
    let mut tx = Vec::from(seen.tx);
    tx.iter_mut().flatten().for_each(cut_padding);
    tx.iter_mut().for_each(|sent| sent.sort());
    (tx, seen.events, seen.local.into_iter().map(|(_, bytes)| bytes).collect(), seen.drops)
}

fn cut_padding(frame: &mut Vec<u8>) {
    if frame[12..14] == ETHERTYPE_IPV4.to_be_bytes() {
        frame.truncate(14 + usize::from(u16::from_be_bytes([frame[16], frame[17]])));
    }
}

fn arbitrary_packet(rng: &mut Rng) -> Vec<u8> {
    const SOURCES: [Ipv4Addr; 5] = [A, A_TOO, FAR, B, US];
    const DESTINATIONS: [Ipv4Addr; 14] = [
        A,
        A_TOO,
        B,
        FAR,
        FAR,
        FAR_TAGGED,
        BEYOND_SILENT,
        BLACKHOLED,
        REFUSED,
        SPREAD,
        UNROUTED,
        US,
        US_WAN,
        Ipv4Addr::BROADCAST,
    ];
    let src = match rng.index(8) {
        0 => Ipv4Addr::from_bits(rng.next_u32()),
        n => SOURCES[n % SOURCES.len()],
    };
    let dst = match rng.index(8) {
        0 => Ipv4Addr::from_bits(rng.next_u32()),
        _ => DESTINATIONS[rng.index(DESTINATIONS.len())],
    };
    let mut header = Ipv4::new(src, dst, [UDP, TCP, ICMP, 89][rng.index(4)]);
    header.ttl = [0, 1, 2, 64, 255][rng.index(5)];
    header.dont_fragment = rng.chance(0.5);
    header.id = rng.next_u32() as u16;
    if rng.chance(0.1) {
        header.options = vec![148, 4, 0, 0];
    }
    if rng.chance(0.1) {
        (header.more_fragments, header.offset) = (rng.chance(0.5), rng.index(10) as u16);
    }
    let len = if rng.chance(0.1) { 1300 + rng.index(400) } else { rng.index(100) };
    let mut payload = vec![0; len];
    rng.fill(&mut payload);
    header.packet(&payload)
}

fn arbitrary_frame(rig: &Rig, rng: &mut Rng) -> SimFrame {
    let dst = [OURS[0], OURS[0], OURS[0], OURS[0], OURS[1], MacAddr::BROADCAST][rng.index(6)];
    let mut bytes = builder::ethernet(dst, station(A), ETHERTYPE_IPV4, &arbitrary_packet(rng));
    if rng.chance(0.1) {
        bytes = builder::tagged(&bytes, [0, 7, 99][rng.index(3)]);
    }
    if rng.chance(0.1) {
        bytes = builder::arp_request(station(A), A, US);
    }
    bytes = builder::padded(bytes);
    if rng.chance(0.1) {
        bytes.resize(bytes.len() + rng.index(1000), 0x77);
    }
    if rng.chance(0.3) {
        mutate(rng, &mut bytes);
    }
    let mut frame = rig.pool.frame_from(&bytes).unwrap();
    if rng.chance(0.2) {
        frame = rig.pool.frame_of(&[&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]]).unwrap();
    }
    let checks =
        [0, RxFlags::IP_CKSUM_GOOD, RxFlags::IP_CKSUM_BAD, RxFlags::IP_CKSUM_GOOD | RxFlags::IP_CKSUM_BAD];
    frame.set_rx_flags(RxFlags(checks[rng.index(4)]));
    if rng.chance(0.05) {
        frame.set_vlan_tci([0, 7, 99][rng.index(3)]);
    }
    frame
}

#[test]
fn all_paths_give_the_same_frames() {
    let mut rng = Rng::new(2026);
    let rig = || {
        let mut rig = Rig::new();
        rig.group(&[1, 2, 3]);
        rig
    };
    let mut general = rig();
    let mut straight: Vec<(Isa, Rig)> = Isa::available().map(|isa| (isa, rig())).collect();
    for (isa, rig) in &mut straight {
        rig.router.set_isa(*isa);
    }
    let mut sent = 0;
    for round in 0..3000 {
        let count = 1 + rng.index(40);
        let frames: Vec<_> = (0..count).map(|_| arbitrary_frame(&general, &mut rng)).collect();
        let copies = |rig: &Rig| frames.iter().map(|frame| copy(rig, frame)).collect::<Vec<_>>();
        let expected = copies(&general);
        let expected = outcome(general.step(|router, cx| {
            expected.into_iter().for_each(|frame| router.handle_steered(cx, PortId(0), frame));
        }));
        sent += expected.0.iter().map(Vec::len).sum::<usize>();
        for (isa, rig) in &mut straight {
            let copies = copies(rig);
            let got = outcome(rig.burst(0, copies));
            assert!(got == expected, "{} in round {round} of seed {}: {frames:?}", isa.name(), rng.seed());
        }
    }
    assert!(sent > 10_000, "hardly anything was sent: {sent}");
}

/// The same frame from another rig's pool.
fn copy(rig: &Rig, frame: &SimFrame) -> SimFrame {
    let parts: Vec<&[u8]> = frame.iter_segments().collect();
    let mut copy = rig.pool.frame_of(&parts).unwrap();
    if wire::Frame::rx_flags(frame).0 & RxFlags::VLAN_STRIPPED != 0 {
        copy.set_vlan_tci(wire::Frame::vlan_tci(frame));
    }
    copy.set_rx_flags(wire::Frame::rx_flags(frame));
    copy
}

#[test]
fn what_is_forwarded_differs_by_the_hop_alone() {
    let mut rng = Rng::new(7);
    for isa in Isa::available() {
        let mut rig = Rig::new();
        rig.router.set_isa(isa);
        for _ in 0..2000 {
            let (dst, port, hop) = [(FAR, 1, GATEWAY), (A_TOO, 0, A_TOO)][rng.index(2)];
            let mut payload = vec![0; rng.index(1400)];
            rng.fill(&mut payload);
            let mut header = Ipv4::new(Ipv4Addr::from_bits(0x0800_0000 + rng.next_u32() / 256), dst, 200);
            (header.tos, header.ttl, header.id) = (rng.byte(), rng.byte().max(2), rng.next_u32() as u16);
            if rng.chance(0.3) {
                header.options = vec![1, 1, 148, 4, 0, 0, 0];
            }
            let packet = header.packet(&payload);
            let frame = rig.packet(0, &packet).only_tx(port).to_vec();
            let expected = sent(port, hop, &one_hop_on(&packet));
            // Padding may stay on the straight path.
            assert_eq!(frame[..expected.len()], expected);
            assert!(frame.len() == expected.len() || frame.len() == 60);
        }
    }
}

//! Packets larger than the next hop's MTU.

use std::net::Ipv4Addr;

use sim::builder::{self, Ipv4, UDP};
use wire::{DropReason, FramePool};

use super::rig::*;

fn packet(dst: Ipv4Addr, dont_fragment: bool, total: usize) -> Vec<u8> {
    udp_with(&Ipv4 { dont_fragment, id: 77, ..Ipv4::new(A, dst, UDP) }, total - 28)
}

/// Asserts that the frames hold the packet in fragments of at most `mtu` bytes, after the same header.
fn assert_fragments(frames: &[Vec<u8>], l2: &[u8], mtu: usize, packet: &[u8]) {
    assert!(frames.iter().all(|frame| frame.starts_with(l2) && frame.len() <= l2.len() + mtu));
    let packets: Vec<&[u8]> = frames.iter().map(|frame| &frame[l2.len()..]).collect();
    let (header, payload) = join(&packets);
    assert_eq!(header.packet(&payload), one_hop_on(packet));
}

#[test]
fn fragments_join_to_what_was_sent() {
    let mut rig = Rig::new();
    let tagged = builder::tagged(&sent(1, T, &[]), 5);
    // (bytes, fragments at an MTU of 1400)
    for (total, count) in [(1400, 1), (1401, 2), (1500, 2), (2776, 2), (2777, 3)] {
        let packet = packet(FAR_TAGGED, false, total);
        let seen = rig.packet(0, &packet);
        assert_eq!((seen.tx[1].len(), &seen.drops), (count, &vec![]), "{total} bytes");
        assert_fragments(&seen.tx[1], &tagged, 1400, &packet);
    }
    // A fragment is cut again.
    let header = Ipv4 { more_fragments: true, offset: 100, id: 3, ..Ipv4::new(A, FAR_TAGGED, UDP) };
    let seen = rig.packet(0, &header.packet(&[5; 1480]));
    let pieces = seen.tx[1].iter().map(|frame| sim::dissect::Packet::parse(&frame[18..]).unwrap().header);
    let pieces: Vec<_> = pieces.map(|header| (header.offset, header.more_fragments)).collect();
    assert_eq!(pieces, [(100, true), (100 + 1376 / 8, true)]);
}

#[test]
fn large_frames_are_forwarded_where_they_fit() {
    let mut rig = Setup { mtu: 9000, ..Setup::default() }.build();
    for dont_fragment in [false, true] {
        let packet = packet(FAR, dont_fragment, 9000);
        assert_eq!(rig.packet(0, &packet).only_tx(1), sent(1, GATEWAY, &one_hop_on(&packet)));
    }
    let large = packet(FAR_TAGGED, false, 9000);
    let seen = rig.packet(0, &large);
    assert_eq!(seen.tx[1].len(), 7);
    assert_fragments(&seen.tx[1], &builder::tagged(&sent(1, T, &[]), 5), 1400, &large);
    let seen = rig.packet(0, &packet(FAR_TAGGED, true, 9000));
    seen.assert_dropped(DropReason::FragmentationNeeded, 1);
    assert_eq!(seen.icmp_error(0, A).rest, [0, 0, 0x05, 0x78]);
}

#[test]
fn the_mtu_told_is_the_next_hops() {
    for mtu in [1500, 1280, 576] {
        let mut rig = Setup { mtu, ..Setup::default() }.build();
        for (total, fits) in [(usize::from(mtu), true), (usize::from(mtu) + 1, false)] {
            let seen = rig.packet(0, &packet(FAR, true, total));
            if fits {
                seen.only_tx(1);
                continue;
            }
            seen.assert_dropped(DropReason::FragmentationNeeded, 1);
            let error = seen.icmp_error(0, A);
            let [high, low] = mtu.to_be_bytes();
            assert_eq!((error.src, error.kind, error.code, error.rest), (US, 3, 4, [0, 0, high, low]));
        }
    }
}

#[test]
fn padding_does_not_count() {
    let mut rig = Rig::new();
    for (dst, mtu) in [(FAR, 1500), (FAR_TAGGED, 1400)] {
        let packet = packet(dst, true, mtu);
        let mut frame = link(0, &packet);
        frame.extend([0x77; 200]);
        let expected = match dst {
            FAR => sent(1, GATEWAY, &one_hop_on(&packet)),
            _ => builder::tagged(&sent(1, T, &one_hop_on(&packet)), 5),
        };
        assert_eq!(rig.rx(0, &frame).only_tx(1), expected);
    }
    // A small packet in a frame that is larger than the way out carries.
    let mut rig = Setup { mtu: 576, ..Setup::default() }.build();
    let small = packet(FAR, true, 40);
    let mut frame = link(0, &small);
    frame.resize(1514, 0x77);
    assert_eq!(rig.rx(0, &frame).only_tx(1), sent(1, GATEWAY, &one_hop_on(&small)));
}

#[test]
fn an_empty_pool_drops_the_packet_whole() {
    for frames in 1..=4 {
        // The packet takes one frame of 2048 bytes, its fragments two more.
        let mut rig = Setup { frames, ..Setup::default() }.build();
        let seen = rig.packet(0, &packet(FAR_TAGGED, false, 1500));
        if frames < 3 {
            seen.assert_silent();
            seen.assert_dropped(DropReason::NoFrame, 1);
        } else {
            assert_eq!((seen.tx[1].len(), seen.drops), (2, vec![]));
        }
        assert_eq!(rig.pool.available(), (frames, frames));
    }
}

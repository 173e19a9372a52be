//! Open checksums: left to the device that a packet leaves by, or filled in by the router.

use std::net::Ipv4Addr;

use sim::builder::{self, Ipv4, TCP, Tcp, UDP};
use wire::{Frame, OpenChecksum, Transport};

use super::rig::*;

/// A packet of ours, its checksum right; and the same with an open one.
fn packets(transport: Transport, dst: Ipv4Addr, len: usize) -> (Vec<u8>, Vec<u8>, OpenChecksum) {
    let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
    let (protocol, l4_len, field, segment) = match transport {
        Transport::Tcp => {
            let tcp = Tcp { src_port: 80, dst_port: 4000, options: vec![1; 12], ..Tcp::default() };
            (TCP, 32, 16, tcp.segment(US_WAN, dst, &data))
        }
        Transport::Udp => (UDP, 8, 6, builder::udp(US_WAN, dst, 53, 4000, &data)),
    };
    // A segment of zeros has the pseudo header's sum.
    let pseudo = !builder::pseudo_checksum(US_WAN, dst, protocol, &vec![0; segment.len()]);
    let mut unfinished = segment.clone();
    unfinished[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
    let header = Ipv4::new(US_WAN, dst, protocol);
    let open = OpenChecksum { transport, l2_len: 0, l3_len: 20, l4_len };
    (header.packet(&segment), header.packet(&unfinished), open)
}

/// What leaves when the router is given `packet` in several segments.
fn originate(rig: &mut Rig, packet: &[u8], open: Option<OpenChecksum>, dst: Ipv4Addr) -> Seen {
    rig.step(|router, cx| {
        // The second segment's bytes begin at an odd one.
        let mut parts = vec![&packet[..52], &packet[52..85]];
        parts.extend(packet[85..].chunks(1000));
        let mut frame = cx.pool.frame_of(&parts).unwrap();
        if let Some(open) = open {
            frame.set_open_checksum(open);
        }
        router.originate(cx, frame, dst);
    })
}

#[test]
fn open_ones_leave_open_but_for_fragments() {
    // (destination, bytes of data, frames whose checksum is left to the device)
    let cases = [
        ("untagged", FAR, 700, 1),
        ("tagged", FAR_TAGGED, 700, 1),
        ("in fragments", FAR, 2500, 0),
        ("in tagged fragments", FAR_TAGGED, 1450, 0),
        ("a neighbour that is not resolved", BEYOND_SILENT, 700, 1),
    ];
    for (name, dst, len, filled) in cases {
        for transport in [Transport::Tcp, Transport::Udp] {
            let (whole, unfinished, open) = packets(transport, dst, len);
            let mut rig = Rig::new();
            let mut leave = |packet: &[u8], open| {
                let mut seen = originate(&mut rig, packet, open, dst);
                if dst == BEYOND_SILENT {
                    assert_eq!((seen.filled, rig.held()), (0, 1));
                    seen = rig.resolve(WAN, SILENT);
                }
                (seen.tx, seen.filled)
            };
            let (want, none) = leave(&whole, None);
            assert!(!want[1].is_empty() && none == 0, "{name}");
            assert_eq!(leave(&unfinished, Some(open)), (want, filled), "{name}, {transport:?}");
        }
    }
}

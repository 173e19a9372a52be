//! IPv4 options: packets that have them are forwarded, but for those that ask for a source route.

use std::net::Ipv4Addr;

use sim::builder::{self, ICMP, Ipv4, UDP};
use sim::dissect::{Body, Packet};
use wire::DropReason;

use super::rig::*;

fn with(src: Ipv4Addr, dst: Ipv4Addr, options: &[u8]) -> Vec<u8> {
    udp_with(&Ipv4 { options: options.to_vec(), ..Ipv4::new(src, dst, UDP) }, 26)
}

/// The options of the packet that leaves, all else checked.
fn forwarded(rig: &mut Rig, dst: Ipv4Addr, port: u16, l2_len: usize, options: &[u8]) -> Vec<u8> {
    let seen = rig.packet(0, &with(A, dst, options));
    let packet = Packet::parse(&seen.only_tx(port)[l2_len..]).unwrap();
    assert_eq!((packet.header.ttl, packet.header.src, packet.header.dst), (63, A, dst));
    assert!(matches!(packet.body(), Ok(Body::Udp { .. })), "{packet:?}");
    packet.header.options
}

#[test]
fn forwarded_with_the_address_of_the_way_out() {
    let mut rig = Rig::new();
    rig.group(&[1, 2]);
    let empty = [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (dst, port, l2_len, own) in [
        (FAR, 1, 14, US_WAN),
        (FAR_TAGGED, 1, 18, US_TAGGED),
        (A_TOO, 0, 14, US_TOO),
        (SPREAD, 1, 14, US_WAN),
    ] {
        let [a, b, c, d] = own.octets();
        let expected = [7, 11, 8, a, b, c, d, 0, 0, 0, 0, 0];
        assert_eq!(forwarded(&mut rig, dst, port, l2_len, &empty), expected, "{dst}");
    }
    let stamped = forwarded(&mut rig, FAR, 1, 14, &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stamped, [68, 12, 13, 1, 192, 0, 2, 1, 0x80, 0, 0x03, 0xe8]);
    for untouched in [&[148, 4, 0, 0][..], &[1, 1, 1, 0], &[0x9e, 4, 1, 2], &[7, 7, 8, 9, 9, 9, 9, 0]] {
        assert_eq!(forwarded(&mut rig, FAR, 1, 14, untouched), untouched);
    }
}

#[test]
fn source_routes_are_refused_in_silence() {
    let mut rig = Rig::new();
    for kind in [131, 137] {
        for (dst, pointer) in [(FAR, 4), (FAR, 8), (US, 4), (US, 8)] {
            let seen = rig.packet(0, &with(A, dst, &[kind, 7, pointer, 192, 0, 2, 254, 0]));
            seen.assert_dropped(DropReason::Ipv4BadOptions, 1);
            seen.assert_silent();
        }
    }
}

#[test]
fn a_fragmented_packet_keeps_its_options_where_they_belong() {
    let mut rig = Rig::new();
    let options = vec![7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
    let header = Ipv4 { options, id: 9, ..Ipv4::new(A, FAR_TAGGED, UDP) };
    let seen = rig.packet(0, &udp_with(&header, 2000));
    let packets: Vec<_> = seen.tx[1].iter().map(|frame| Packet::parse(&frame[18..]).unwrap()).collect();
    let options: Vec<_> = packets.iter().map(|packet| packet.header.options.clone()).collect();
    let [a, b, c, d] = US_TAGGED.octets();
    assert_eq!(options, [vec![7, 7, 8, a, b, c, d, 148, 4, 0, 0, 0], vec![148, 4, 0, 0]]);
}

#[test]
fn a_ping_records_the_host_that_answers() {
    let mut rig = Rig::new();
    let options = vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let ping = Ipv4 { options, ..Ipv4::new(A, US_WAN, ICMP) }.packet(&builder::echo_request(1, 2, b"hello"));
    let seen = rig.packet(0, &ping);
    let reply = Packet::parse(&seen.only_tx(0)[14..]).unwrap();
    assert_eq!(reply.header.options, [7, 11, 8, 192, 0, 2, 1, 0, 0, 0, 0, 0]);
    assert_eq!((reply.header.src, reply.header.dst), (US_WAN, A));
    assert!(matches!(reply.body(), Ok(Body::EchoReply { ident: 1, seq: 2, .. })), "{reply:?}");
}

#[test]
fn packets_to_us_with_options_arrive() {
    let mut rig = Rig::new();
    for options in [&[148, 4, 0, 0][..], &[1, 1, 1, 1]] {
        let packet = with(A, US, options);
        assert_eq!(rig.packet(0, &packet).local, [(LAN, packet)]);
    }
}

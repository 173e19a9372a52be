//! IEEE 802.1Q: tagged frames in and out, tags that the device took off, priority tags.

use sim::builder::{self, ICMP, Ipv4};
use wire::{DropReason, RxFlags};

use super::rig::*;

fn from_tagged(packet: &[u8], tci: u16) -> Vec<u8> {
    builder::tagged(&link(1, packet), tci)
}

#[test]
fn tagged_in_and_untagged_out() {
    let mut rig = Rig::new();
    let packet = udp(T, A, 26);
    let expected = sent(0, A, &one_hop_on(&packet));
    for tci in [5, 0x2005, 0xf005] {
        assert_eq!(rig.rx(1, &from_tagged(&packet, tci)).only_tx(0), expected);
    }
    for flags in [0, RxFlags::IP_CKSUM_GOOD] {
        let mut stripped = rig.pool.frame_from(&link(1, &packet)).unwrap();
        stripped.set_rx_flags(RxFlags(flags));
        stripped.set_vlan_tci(0x6005);
        assert_eq!(rig.burst(1, vec![stripped]).only_tx(0), expected);
    }
}

#[test]
fn untagged_in_and_tagged_out() {
    let mut rig = Rig::new();
    let packet = udp(A, FAR_TAGGED, 26);
    let expected = builder::tagged(&sent(1, T, &one_hop_on(&packet)), 5);
    assert_eq!(rig.packet(0, &packet).only_tx(1), expected);
}

#[test]
fn a_tag_that_the_device_took_off_does_not_come_out_again() {
    let mut rig = Rig::new();
    let packet = udp(T, FAR_TAGGED, 26);
    let mut stripped = rig.pool.frame_from(&link(1, &packet)).unwrap();
    stripped.set_vlan_tci(5);
    let expected = builder::tagged(&sent(1, T, &one_hop_on(&packet)), 5);
    assert_eq!(rig.burst(1, vec![stripped]).only_tx(1), expected);
    let ping = Ipv4::new(T, US_TAGGED, ICMP).packet(&builder::echo_request(1, 2, b"hello"));
    let reply = Ipv4::new(US_TAGGED, FAR_TAGGED, ICMP).packet(&builder::echo_reply(1, 2, b"hello"));
    assert_eq!(rig.rx(1, &from_tagged(&ping, 5)).events.len(), 1);
    let ping = Ipv4::new(FAR_TAGGED, US_TAGGED, ICMP).packet(&builder::echo_request(1, 2, b"hello"));
    let expected = builder::tagged(&sent(1, T, &reply), 5);
    assert_eq!(rig.rx(1, &from_tagged(&ping, 5)).only_tx(1), expected);
}

#[test]
fn a_priority_tag_names_no_vlan() {
    let mut rig = Rig::new();
    let packet = udp(A, FAR, 26);
    let expected = sent(1, GATEWAY, &one_hop_on(&packet));
    for tci in [0, 0xe000] {
        assert_eq!(rig.rx(0, &builder::tagged(&link(0, &packet), tci)).only_tx(1), expected);
        let mut stripped = rig.pool.frame_from(&link(0, &packet)).unwrap();
        stripped.set_vlan_tci(tci);
        assert_eq!(rig.burst(0, vec![stripped]).only_tx(1), expected);
    }
}

#[test]
fn a_port_without_an_untagged_interface_takes_tagged_frames_only() {
    let mut rig = Rig::new();
    let packet = udp([203, 0, 113, 9].into(), A, 26);
    rig.packet(2, &packet).assert_dropped(DropReason::UnknownVlan, 1);
    rig.rx(2, &builder::tagged(&link(2, &packet), 9)).only_tx(0);
    rig.rx(2, &builder::tagged(&link(2, &packet), 5)).assert_dropped(DropReason::UnknownVlan, 1);
    // A tag inside a tag that the device took off.
    let mut twice = rig.pool.frame_from(&builder::tagged(&link(2, &packet), 9)).unwrap();
    twice.set_vlan_tci(9);
    rig.burst(2, vec![twice]).assert_dropped(DropReason::UnknownEthertype, 1);
}

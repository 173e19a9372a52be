//! ARP as far as a worker sees to it: answers, what is learnt, proxied networks, our own requests.

use std::net::Ipv4Addr;

use l2l3::arp::ArpEvent;
use l2l3::neighbour::{Key, RequestTo};
use l2l3::router::Event;
use sim::builder;
use sim::dissect::Arp;
use wire::{DropReason, FramePool, MacAddr};

use super::rig::*;

const PROXIED: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);

fn learned(iface: l2l3::interface::IfaceId, ip: Ipv4Addr, is_reply: bool, was_for_us: bool) -> Vec<Event> {
    vec![Event::Arp(iface, ArpEvent::Learned { ip, mac: station(ip), is_reply, was_for_us })]
}

#[test]
fn requests_for_our_addresses_are_answered() {
    let mut rig = Rig::new();
    for (port, asker, target, iface) in
        [(0, B, US, LAN), (0, A_TOO, US_TOO, LAN), (0, B, US_TOO, LAN), (1, SILENT, US_WAN, WAN)]
    {
        let seen = rig.rx(port, &builder::arp_request(station(asker), asker, target));
        let ours = OURS[usize::from(port)];
        assert_eq!(seen.only_tx(port), builder::arp_reply(ours, target, station(asker), asker));
        assert_eq!(seen.events, learned(iface, asker, false, true));
        assert_eq!(seen.drops, []);
    }
    // Not for an address of another interface, as long as it is not proxied.
    for target in [US_WAN, FAR, Ipv4Addr::new(10, 0, 0, 255)] {
        let seen = rig.rx(0, &builder::arp_request(station(B), B, target));
        seen.assert_silent();
        assert_eq!(seen.events, learned(LAN, B, false, false));
    }
}

#[test]
fn requests_on_a_vlan_are_answered_there() {
    let mut rig = Rig::new();
    let request = builder::arp_request(station(T), T, US_TAGGED);
    let mut expected = builder::tagged(&builder::arp_reply(OURS[1], US_TAGGED, station(T), T), 5);
    expected.truncate(60);
    let seen = rig.rx(1, &builder::tagged(&request, 0x6005));
    assert_eq!(seen.only_tx(1), expected);
    assert_eq!(seen.events, learned(TAGGED, T, false, true));
    let mut stripped = rig.pool.frame_from(&request).unwrap();
    stripped.set_vlan_tci(0x6005);
    assert_eq!(rig.burst(1, vec![stripped]).only_tx(1), expected);
}

#[test]
fn proxied_networks_answer_for_what_is_routed_elsewhere() {
    let mut rig = Rig::new();
    rig.group(&[1]);
    let same_net = Ipv4Addr::new(172, 16, 0, 10);
    let cases = [
        (FAR, true),
        (A, true),
        (B, true),
        (BEYOND_SILENT, true),
        (SPREAD, true),
        (US, false),
        (same_net, false),
        (UNROUTED, false),
        (BLACKHOLED, false),
        (REFUSED, false),
        (Ipv4Addr::new(224, 0, 0, 1), false),
        (Ipv4Addr::BROADCAST, false),
        (Ipv4Addr::new(10, 0, 0, 255), false),
    ];
    for (target, answered) in cases {
        let request = builder::tagged(&builder::arp_request(station(PROXIED), PROXIED, target), 7);
        let seen = rig.rx(0, &request);
        assert_eq!(seen.events, learned(PROXY, PROXIED, false, answered), "{target}");
        if !answered {
            seen.assert_silent();
            continue;
        }
        let reply = Arp::parse(&seen.only_tx(0)[18..]).unwrap();
        assert_eq!(reply.sender, (OURS[0], target));
        assert_eq!(reply.target, (station(PROXIED), PROXIED));
    }
}

#[test]
fn replies_teach_and_rivals_are_told_of() {
    let mut rig = Rig::new();
    let seen = rig.rx(0, &builder::arp_reply(station(B), B, OURS[0], US));
    assert_eq!(seen.events, learned(LAN, B, true, true));
    seen.assert_silent();
    let seen = rig.rx(0, &builder::arp_request(station(B), US, B));
    assert_eq!(seen.events, [Event::Arp(LAN, ArpEvent::Duplicate { ip: US, mac: station(B) })]);
    seen.assert_silent();
    assert_eq!(rig.router.counters().books().consumed, 2);
}

#[test]
fn our_own_requests_and_announcements() {
    let mut rig = Rig::new();
    let mut ask = |iface, ip, to| rig.step(|router, cx| router.send_arp_request(cx, Key { iface, ip }, to));
    let request = |mac, ip, target, dst| builder::arp(dst, 1, (mac, ip), (MacAddr::ZERO, target));
    let seen = ask(LAN, B, RequestTo::Broadcast);
    assert_eq!(seen.only_tx(0), request(OURS[0], US, B, MacAddr::BROADCAST));
    let seen = ask(LAN, A_TOO, RequestTo::Unicast(station(A_TOO)));
    assert_eq!(seen.only_tx(0), request(OURS[0], US_TOO, A_TOO, station(A_TOO)));
    let seen = ask(TAGGED, T, RequestTo::Broadcast);
    let tagged = builder::tagged(&request(OURS[1], US_TAGGED, T, MacAddr::BROADCAST), 5);
    assert_eq!(seen.only_tx(1), &tagged[..60]);
    let seen = rig.step(|router, cx| router.send_arp_announcement(cx, WAN, US_WAN));
    assert_eq!(seen.only_tx(1), request(OURS[1], US_WAN, US_WAN, MacAddr::BROADCAST));
    assert_eq!(rig.router.counters().books().originated, 4);
}

#[test]
fn without_a_frame_nothing_is_asked() {
    let mut rig = Setup { frames: 1, ..Setup::default() }.build();
    let last = rig.pool.alloc();
    let key = Key { iface: LAN, ip: B };
    rig.step(|router, cx| router.send_arp_request(cx, key, RequestTo::Broadcast)).assert_silent();
    drop(last);
    rig.step(|router, cx| router.send_arp_request(cx, key, RequestTo::Broadcast)).only_tx(0);
}

#[test]
fn a_request_to_another_station_is_not_ours() {
    let mut rig = Rig::new();
    let mut request = builder::arp_request(station(B), B, US);
    request[..6].copy_from_slice(&station(A).0);
    rig.rx(0, &request).assert_dropped(DropReason::NotOurMac, 1);
    request[..6].copy_from_slice(&OURS[0].0);
    rig.rx(0, &request).only_tx(0);
}

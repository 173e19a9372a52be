//! Every reason for which the router drops a frame, and the frame that provokes it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use l2l3::adjacency::{Adjacency, NO_ROUTE, Target};
use l2l3::fib::AdjacencyId;
use l2l3::hold::HoldLimits;
use l2l3::interface::PortId;
use l2l3::neighbour::Key;
use l2l3::reassembly::Limits;
use l2l3::router::{Bounds, TX_BATCH};
use sim::builder::{self, ETHERTYPE_IPV4, ICMP, Ipv4, UDP};
use wire::DropReason::{self, *};
use wire::{MacAddr, RxFlags};

use super::rig::*;

const PROXIED: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);
const PROXY_US: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);

/// The frame, received by port 0, and why it is dropped. None of these is answered.
fn frames() -> Vec<(&'static str, Vec<u8>, DropReason)> {
    let good = || udp(A, FAR, 26);
    let change = |at: usize, value: u8| {
        let mut packet = good();
        packet[at] = value;
        packet[10..12].fill(0);
        let header_len = (usize::from(packet[0] & 15) * 4).clamp(20, packet.len());
        let sum = builder::checksum(&packet[..header_len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        link(0, &packet)
    };
    let to = |mac: MacAddr, packet: &[u8]| builder::ethernet(mac, station(A), ETHERTYPE_IPV4, packet);
    let from = |src: [u8; 4], dst| link(0, &udp(src.into(), dst, 8));
    let towards = |dst: [u8; 4]| link(0, &udp(A, dst.into(), 8));
    let kind = |ethertype| builder::ethernet(OURS[0], station(A), ethertype, &good());
    let arp = |sender, ip| builder::arp(OURS[0], 1, (sender, ip), (MacAddr::ZERO, US));
    let group = MacAddr([1, 0, 0x5e, 1, 2, 3]);
    let mut bad_sum = link(0, &good());
    bad_sum[24] ^= 1;
    let mut bad_arp = arp(station(A), A);
    bad_arp[15] = 6;
    vec![
        ("another's address", to(OURS[1], &good()), NotOurMac),
        ("unknown VLAN", builder::tagged(&link(0, &good()), 99), UnknownVlan),
        ("another port's VLAN", builder::tagged(&link(0, &good()), 5), UnknownVlan),
        ("IPv6", kind(0x86dd), UnknownEthertype),
        ("802.1ad", kind(0x88a8), UnknownEthertype),
        ("two tags", builder::tagged(&builder::tagged(&link(0, &good()), 1), 7), UnknownEthertype),
        ("802.3 length", kind(60), UnknownEthertype),
        ("ARP of another protocol", bad_arp, ArpMalformed),
        ("ARP from a group", arp(group, A), ArpBadSender),
        ("ARP from elsewhere", arp(station(FAR), FAR), ArpBadSender),
        ("ARP from us", arp(OURS[0], A), ArpBadSender),
        ("version 6", change(0, 0x65), Ipv4BadVersion),
        ("version 0", change(0, 0x05), Ipv4BadVersion),
        ("header of 16 bytes", change(0, 0x44), Ipv4BadHeaderLength),
        ("header of 0 bytes", change(0, 0x40), Ipv4BadHeaderLength),
        ("header past the frame", change(0, 0x4f)[..14 + 40].to_vec(), Ipv4BadHeaderLength),
        ("total length 19", change(3, 19), Ipv4BadTotalLength),
        ("total length 0", change(3, 0), Ipv4BadTotalLength),
        ("total length past the frame", change(3, 61), Ipv4BadTotalLength),
        ("total length below options", [change(0, 0x4f), vec![0; 20]].concat(), Ipv4BadTotalLength),
        ("checksum", bad_sum, Ipv4BadChecksum),
        ("source route", link(0, &with_options(A, FAR, &[131, 3, 4, 0])), Ipv4BadOptions),
        ("strict source route to us", link(0, &with_options(A, US, &[137, 3, 4, 0])), Ipv4BadOptions),
        ("from 0/8", from([0, 1, 2, 3], FAR), MartianSource),
        ("from nobody", from([0; 4], US), MartianSource),
        ("from loopback", from([127, 0, 0, 1], FAR), MartianSource),
        ("from a group", from([224, 0, 0, 1], FAR), MartianSource),
        ("from class E", from([240, 0, 0, 1], FAR), MartianSource),
        ("from broadcast", from([255; 4], FAR), MartianSource),
        ("from us to us", from([10, 0, 0, 1], US), MartianSource),
        ("from us, on the WAN, to us", from([192, 0, 2, 1], US), MartianSource),
        ("from a directed broadcast to us", from([192, 0, 2, 255], US), MartianSource),
        ("to 0/8", towards([0, 1, 2, 3]), MartianDestination),
        ("to loopback", towards([127, 0, 0, 1]), MartianDestination),
        ("to class E", towards([240, 0, 0, 1]), MartianDestination),
        ("link broadcast to be forwarded", to(MacAddr::BROADCAST, &good()), LinkBroadcast),
        ("link broadcast to us", to(MacAddr::BROADCAST, &udp(A, US, 26)), LinkBroadcast),
        ("link multicast to nowhere", to(group, &udp(A, UNROUTED, 26)), LinkBroadcast),
        ("multicast", to(group, &udp(A, [224, 1, 2, 3].into(), 26)), Multicast),
        ("multicast to our address", towards([224, 0, 0, 5]), Multicast),
        ("multicast, TTL 1", to(group, &with_ttl([224, 0, 0, 251].into(), 1)), Multicast),
        ("limited broadcast", to(MacAddr::BROADCAST, &udp(A, [255; 4].into(), 26)), Broadcast),
        ("limited broadcast to our address", towards([255; 4]), Broadcast),
        ("who has no address yet", from([0; 4], [255; 4].into()), Broadcast),
        ("directed broadcast", to(MacAddr::BROADCAST, &udp(A, [10, 0, 0, 255].into(), 26)), Broadcast),
        ("directed broadcast elsewhere", towards([192, 0, 2, 255]), Broadcast),
        ("network address", towards([10, 0, 0, 0]), Broadcast),
        ("ping to broadcast", link(0, &echo(A, [10, 0, 0, 255].into(), 8)), Broadcast),
        ("blackhole", towards(BLACKHOLED.octets()), Blackhole),
        ("blackhole, TTL 1", link(0, &with_ttl(BLACKHOLED, 1)), Blackhole),
        ("echo reply", link(0, &Ipv4::new(A, US, ICMP).packet(&builder::echo_reply(1, 1, b""))), IcmpIgnored),
        ("ICMP without a header", link(0, &Ipv4::new(A, US, ICMP).packet(&[8, 0, 0])), IcmpMalformed),
        ("ICMP checksum", link(0, &Ipv4::new(A, US, ICMP).packet(&[8, 0, 1, 2, 3, 4, 5, 6])), IcmpMalformed),
        ("empty fragment", link(0, &fragment(&[], 8, true)), FragmentMalformed),
    ]
}

fn with_options(src: Ipv4Addr, dst: Ipv4Addr, options: &[u8]) -> Vec<u8> {
    udp_with(&Ipv4 { options: options.to_vec(), ..Ipv4::new(src, dst, UDP) }, 26)
}

fn with_ttl(dst: Ipv4Addr, ttl: u8) -> Vec<u8> {
    udp_with(&Ipv4 { ttl, ..Ipv4::new(A, dst, UDP) }, 26)
}

fn echo(src: Ipv4Addr, dst: Ipv4Addr, len: usize) -> Vec<u8> {
    Ipv4::new(src, dst, ICMP).packet(&builder::echo_request(7, 1, &vec![1; len]))
}

fn fragment(data: &[u8], offset: u16, more_fragments: bool) -> Vec<u8> {
    Ipv4 { offset, more_fragments, id: 5, ..Ipv4::new(A, US, UDP) }.packet(data)
}

#[test]
fn each_frame_has_its_reason() {
    let mut rig = Rig::new();
    for (name, frame, reason) in frames() {
        println!("{name}");
        let seen = rig.rx(0, &frame);
        seen.assert_dropped(reason, 1);
        seen.assert_silent();
        assert!(seen.events.is_empty(), "{name}: {seen:?}");
    }
}

/// What takes more than a frame, or is answered: what to do, on a rig of its own.
type Story = (DropReason, fn() -> Rig);

fn stories() -> Vec<Story> {
    vec![
        (FrameTooShort, || provoke(Rig::new(), &link(0, &udp(A, FAR, 26))[..13])),
        (Ipv4TooShort, || provoke(Rig::new(), &link(0, &udp(A, FAR, 26))[..33])),
        (TtlExpired, || provoke(Rig::new(), &link(0, &with_ttl(FAR, 1)))),
        (NoRoute, || provoke(Rig::new(), &link(0, &udp(A, UNROUTED, 26)))),
        (Unreachable, || provoke(Rig::new(), &link(0, &udp(A, REFUSED, 26)))),
        (FragmentationNeeded, || {
            let header = Ipv4 { dont_fragment: true, ..Ipv4::new(A, FAR_TAGGED, UDP) };
            provoke(Rig::new(), &link(0, &udp_with(&header, 1400)))
        }),
        (UnknownProtocol, || provoke(Rig::new(), &link(0, &Ipv4::new(A, US, 89).packet(b"hello")))),
        (HoldFull, || {
            let mut rig = Rig::new();
            (0..5).for_each(|_| drop(rig.packet(0, &udp(A, BEYOND_SILENT, 8))));
            rig
        }),
        (NeighbourUnreachable, || {
            let mut rig = Rig::new();
            rig.packet(0, &udp(A, BEYOND_SILENT, 8)).assert_silent();
            rig.step(|router, cx| router.fail(cx, Key { iface: WAN, ip: SILENT }));
            rig
        }),
        (FragmentDuplicate, || provoke(fragments_of(&[(0, true)]), &link(0, &fragment(&[0; 8], 0, true)))),
        (FragmentOverlap, || provoke(fragments_of(&[(0, true)]), &link(0, &fragment(&[0; 16], 0, true)))),
        (ReassemblyFull, || {
            let reassembly = Limits { datagrams: 0, ..Setup::default().bounds.reassembly };
            let bounds = Bounds { reassembly, ..Setup::default().bounds };
            provoke(Setup { bounds, ..Setup::default() }.build(), &link(0, &fragment(&[0; 8], 0, true)))
        }),
        (ReassemblyTimeout, || {
            let mut rig = fragments_of(&[(1, true), (2, false)]);
            rig.pass(Duration::from_secs(30)).assert_dropped(ReassemblyTimeout, 2);
            rig
        }),
        (LocalFull, || flood(&udp(A, US, 8), Setup::default())),
        (SteerFull, || flood(&owned_elsewhere(), Setup { workers: 2, ..Setup::default() })),
        (TxFull, || flood(&echo(A, US, 8), Setup::default())),
        (NoFrame, || {
            // The pool holds two frames of 2048 bytes: the packet takes them both.
            let rig = Setup { frames: 2, mtu: 1500, ..Setup::default() }.build();
            provoke(rig, &link(0, &udp(A, FAR, 3000)))
        }),
    ]
}

fn provoke(mut rig: Rig, frame: &[u8]) -> Rig {
    rig.rx(0, frame);
    rig
}

fn fragments_of(places: &[(u16, bool)]) -> Rig {
    let mut rig = Rig::new();
    for &(offset, more) in places {
        rig.packet(0, &fragment(&[0; 8], offset, more)).assert_silent();
    }
    rig
}

/// A packet to us whose flow worker 1 of 2 owns.
fn owned_elsewhere() -> Vec<u8> {
    let mut rig = Setup { workers: 2, ..Setup::default() }.build();
    let mut candidates = (8..200).map(|len| Ipv4::new([10, 0, 0, len].into(), US, 200).packet(&[0; 8]));
    candidates.find(|packet| !rig.packet(0, packet).steered.is_empty()).unwrap()
}

/// More than a batch takes, before the worker empties it.
fn flood(packet: &[u8], setup: Setup) -> Rig {
    let bounds =
        Bounds { hold: HoldLimits { per_neighbour: 1, total: 1, ..HoldLimits::default() }, ..setup.bounds };
    let mut rig = Setup { bounds, frames: 2 * TX_BATCH, ..setup }.build();
    let frame = link(0, packet);
    let frames: Vec<_> = (0..TX_BATCH + 8).map(|_| rig.pool.frame_from(&frame).unwrap()).collect();
    let seen = rig.step(|router, cx| {
        // One by one: the batch is not emptied in between.
        frames.into_iter().for_each(|frame| router.handle_burst(cx, PortId(0), &mut vec![frame]));
    });
    assert_eq!(seen.drops.iter().map(|(_, n)| n).sum::<u64>(), 8);
    rig
}

#[test]
fn every_reason_of_the_router_is_provoked() {
    // The worker and the owners of TCP and UDP have these.
    let elsewhere = [UdpMalformed, UdpNoPort, UdpFull, TcpMalformed, TcpNoPort, PortRemoved];
    let mut seen: BTreeSet<DropReason> = frames().into_iter().map(|(_, _, reason)| reason).collect();
    for (reason, story) in stories() {
        println!("{reason}");
        let rig = story();
        assert!(rig.router.counters().drops(reason) > 0, "{reason}");
        seen.insert(reason);
    }
    let missing: Vec<_> =
        DropReason::ALL.iter().filter(|r| !seen.contains(r) && !elsewhere.contains(r)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_truncation_has_the_reason_of_its_layer() {
    let mut rig = Rig::new();
    let plain = builder::ethernet(OURS[0], station(A), ETHERTYPE_IPV4, &udp(A, FAR, 26));
    let arp = builder::arp_request(station(A), A, US);
    // (frame, the Ethernet and VLAN headers' length, the whole length)
    let cases = [
        (plain.clone(), 14, 14 + 54),
        (
            builder::tagged(&builder::ethernet(OURS[0], station(A), ETHERTYPE_IPV4, &udp(A, FAR, 26)), 7),
            18,
            18 + 54,
        ),
        (arp.clone(), 14, 14 + 28),
        (builder::tagged(&builder::arp_request(station(PROXIED), PROXIED, PROXY_US), 7), 18, 18 + 28),
    ];
    for (frame, l2_len, whole) in cases {
        let is_arp = frame[l2_len - 1] == 6;
        for len in 0..whole {
            let seen = rig.rx(0, &frame[..len]);
            let reason = match len {
                _ if len < l2_len => FrameTooShort,
                _ if is_arp => ArpMalformed,
                _ if len < l2_len + 20 => Ipv4TooShort,
                _ => Ipv4BadTotalLength,
            };
            assert_eq!(seen.drops, [(reason, 1)], "{len} of {whole}");
            seen.assert_silent();
        }
        assert_eq!(rig.rx(0, &frame[..whole]).drops, []);
    }
}

#[test]
fn the_device_decides_about_checksums_that_it_checked() {
    let mut rig = Rig::new();
    let mut bad = link(0, &udp(A, FAR, 26));
    bad[24] ^= 1;
    let mut receive = |bytes: &[u8], flags| {
        let mut frame = rig.pool.frame_from(bytes).unwrap();
        frame.set_rx_flags(RxFlags(flags));
        rig.burst(0, vec![frame])
    };
    receive(&bad, 0).assert_dropped(Ipv4BadChecksum, 1);
    // A device that says bad may be wrong, so that is looked into; one that says good is believed.
    receive(&bad, RxFlags::IP_CKSUM_BAD).assert_dropped(Ipv4BadChecksum, 1);
    receive(&link(0, &udp(A, FAR, 26)), RxFlags::IP_CKSUM_BAD).only_tx(1);
    receive(&bad, RxFlags::IP_CKSUM_GOOD).only_tx(1);
    receive(&bad, RxFlags::IP_CKSUM_GOOD | RxFlags::IP_CKSUM_BAD).assert_dropped(Ipv4BadChecksum, 1);
}

#[test]
fn a_header_in_two_segments_is_too_short() {
    let mut rig = Rig::new();
    let bytes = link(0, &udp(A, FAR, 26));
    for cut in 0..34 {
        let frame = rig.pool.frame_of(&[&bytes[..cut], &bytes[cut..]]).unwrap();
        let reason = if cut < 14 { FrameTooShort } else { Ipv4TooShort };
        rig.burst(0, vec![frame]).assert_dropped(reason, 1);
    }
    let frame = rig.pool.frame_of(&[&bytes[..34], &bytes[34..]]).unwrap();
    rig.burst(0, vec![frame]).only_tx(1);
}

#[test]
fn news_that_find_no_room_are_counted() {
    let mut rig = Setup { frames: 2 * TX_BATCH, ..Setup::default() }.build();
    let learn = builder::arp_reply(station(A), A, OURS[0], US);
    let frames: Vec<_> = (0..TX_BATCH + 8).map(|_| rig.pool.frame_from(&learn).unwrap()).collect();
    let seen = rig.step(|router, cx| {
        frames.into_iter().for_each(|frame| router.handle_burst(cx, PortId(0), &mut vec![frame]));
    });
    assert_eq!((seen.events.len(), rig.router.counters().events_lost.get()), (TX_BATCH, 8));
    assert_eq!((seen.drops, rig.router.counters().books().consumed), (vec![], TX_BATCH as u64 + 8));
}

#[test]
fn an_adjacency_that_went_away_leads_nowhere() {
    let mut rig = Rig::new();
    // A command for a table that is too small, and a group without members.
    rig.router.set_adjacency(AdjacencyId(1 << 19), Adjacency::to(Target::Local));
    let seen = rig.packet(0, &udp(A, SPREAD, 8));
    seen.assert_dropped(Unreachable, 1);
    rig.group(&[]);
    rig.packet(0, &udp(A, SPREAD, 8)).assert_dropped(NoRoute, 1);
    rig.packet(0, &udp(A, BEYOND_SILENT, 8)).assert_silent();
    // The neighbour answered, but its adjacency is gone: who waited for it waits on.
    let seen = rig.step(|router, cx| router.release(cx, Key { iface: WAN, ip: SILENT }, NO_ROUTE));
    seen.assert_silent();
    assert_eq!((seen.drops, rig.held()), (vec![], 1));
}

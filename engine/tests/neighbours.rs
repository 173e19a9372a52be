//! Neighbours from end to end: workers, rings and the control plane, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use common::{Net, Sent, crowd_mac, host, mac, port_mac, two_ports, udp_frame};
use engine::api::NeighbourReport;
use l2l3::forward::Isa;
use sim::Host;
use sim::builder;
use sim::dissect::Body;
use wire::{DropReason, MacAddr};

const LAN: usize = 0;
const WAN: usize = 1;
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 10);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 20);

/// A at `lan` and B at `wan`.
fn two_hosts(more: &str) -> (Net, usize, usize) {
    let mut net = Net::new(&two_ports("[0]", more));
    let a = net.add_host(LAN, host(10, A.octets()));
    let b = net.add_host(WAN, host(20, B.octets()));
    (net, a, b)
}

/// The UDP payloads that a host received.
fn payloads(net: &Net, place: usize) -> Vec<Vec<u8>> {
    let udp = |body: &Body| match body {
        Body::Udp { payload, .. } => Some(payload.clone()),
        _ => None,
    };
    net.hosts[place].1.received().iter().filter_map(|received| udp(&received.body)).collect()
}

/// ICMP errors that a host received: type and code.
fn icmp_errors(net: &Net, place: usize) -> Vec<(u8, u8)> {
    let error = |body: &Body| match body {
        Body::Icmp { kind, code, .. } => Some((*kind, *code)),
        _ => None,
    };
    net.hosts[place].1.received().iter().filter_map(|received| error(&received.body)).collect()
}

#[test]
fn the_first_packet_to_a_new_neighbour_is_not_lost() {
    for isa in [Isa::detect(), Isa::Portable] {
        let mut net = Net::with_isa(&two_ports("[0]", ""), isa);
        let a = net.add_host(LAN, host(10, A.octets()));
        let b = net.add_host(WAN, host(20, B.octets()));
        for n in 0..3 {
            net.host_udp(a, B, (1, 2), &[n]);
        }
        net.settle();
        assert_eq!(payloads(&net, b), [[0], [1], [2]], "in order, and none lost");
        assert_eq!(net.hosts[b].1.received()[0].header.ttl, 63);
        let requests = net.sent.iter().filter(|sent| sent.asks_for(B)).count();
        assert_eq!(requests, 1, "one request for three packets");

        let route = net.route_to(B).unwrap();
        assert_eq!((route.prefix.as_str(), route.kind.as_str()), ("10.0.2.20/32", "neighbour"));
        net.take_sent();
        net.host_udp(a, B, (1, 2), &[3]);
        net.settle();
        assert_eq!(payloads(&net, b).len(), 4);
        assert!(net.sent.iter().all(|sent| sent.arp().is_none()), "nothing is left to ask");
        net.finish();
    }
}

#[test]
fn at_start_addresses_are_announced_and_gateways_asked_for() {
    let route = "[[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.0.2.254\"\n";
    let mut net = Net::new(&two_ports("[0]", route));
    let gateway = Ipv4Addr::new(10, 0, 2, 254);
    net.add_host(WAN, host(254, gateway.octets()));
    net.settle();
    let announces = |port: usize, own: [u8; 4]| {
        let own = (port_mac(port), Ipv4Addr::from(own));
        move |sent: &&Sent| {
            sent.port == port && sent.arp().is_some_and(|arp| (arp.sender, arp.target.1) == (own, own.1))
        }
    };
    assert_eq!(net.sent.iter().filter(announces(LAN, [10, 0, 1, 1])).count(), 1);
    assert_eq!(net.sent.iter().filter(announces(WAN, [10, 0, 2, 1])).count(), 1);
    assert_eq!(net.sent.iter().filter(|sent| sent.asks_for(gateway)).count(), 1);

    net.take_sent();
    net.inject(LAN, 0, &udp_frame(LAN, A.octets(), [8, 8, 8, 8], (1, 2), b"out"));
    net.inject(LAN, 0, &udp_frame(LAN, A.octets(), gateway.octets(), (1, 2), b"to the gateway itself"));
    net.settle();
    let macs: Vec<_> = net.sent.iter().map(|sent| (sent.port, sent.dst_mac())).collect();
    assert_eq!(macs, [(WAN, mac(254)), (WAN, mac(254))], "no packet waits, no question is asked");
    assert_eq!(net.route_to(gateway).unwrap().prefix, "10.0.2.254/32");
    net.finish();
}

#[test]
fn a_neighbour_is_probed_by_unicast_before_it_expires() {
    let (mut net, a, b) = two_hosts("");
    net.host_udp(a, B, (1, 2), b"x");
    net.settle();
    net.take_sent();
    net.seconds(100);
    let probes: Vec<_> = net.sent.iter().filter(|sent| sent.asks_for(B)).collect();
    assert!((2..=6).contains(&probes.len()), "{} probes in 100 s", probes.len());
    assert!(probes.iter().all(|probe| probe.dst_mac() == mac(20)));
    assert_eq!(net.state_of(B).as_deref(), Some("reachable"));
    net.host_udp(a, B, (1, 2), b"y");
    net.settle();
    assert_eq!(payloads(&net, b).len(), 2);
    net.finish();
}

#[test]
fn a_neighbour_that_vanishes_is_unreachable() {
    let (mut net, a, b) = two_hosts("");
    net.host_udp(a, B, (1, 2), b"x");
    net.settle();
    net.deaf.insert(b);
    net.take_sent();
    net.seconds(60);
    let probes = net.sent.iter().filter(|sent| sent.asks_for(B)).count();
    assert_eq!(probes, 3, "probed, then given up");
    assert_eq!(net.state_of(B), None);
    assert_eq!(net.route_to(B).unwrap().kind, "connected");

    net.take_sent();
    net.host_udp(a, B, (1, 2), b"y");
    net.seconds(4);
    let requests: Vec<_> = net.sent.iter().filter(|sent| sent.asks_for(B)).collect();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.dst_mac() == MacAddr::BROADCAST));
    assert_eq!(net.state_of(B).as_deref(), Some("failed"));
    assert_eq!(icmp_errors(&net, a), [(3, 1)]);
    assert_eq!(net.drops(DropReason::NeighbourUnreachable), 1);
    // Not asked again at once, and answered at once.
    net.take_sent();
    net.host_udp(a, B, (1, 2), b"z");
    net.settle();
    assert_eq!(icmp_errors(&net, a), [(3, 1), (3, 1)]);
    assert!(!net.sent.iter().any(|sent| sent.asks_for(B)));
    // It comes back.
    net.deaf.clear();
    net.seconds(4);
    net.host_udp(a, B, (1, 2), b"back");
    net.seconds(1);
    assert_eq!(payloads(&net, b).last().unwrap(), b"back");
    net.finish();
}

#[test]
fn a_neighbour_may_change_its_ethernet_address() {
    let (mut net, a, b) = two_hosts("");
    net.host_udp(a, B, (1, 2), b"x");
    net.seconds(2);
    net.hosts[b].1 = host(21, B.octets());
    let announcement = builder::arp_request(mac(21), B, B);
    net.inject(WAN, 0, &announcement);
    net.settle();
    net.take_sent();
    net.host_udp(a, B, (1, 2), b"y");
    net.settle();
    assert_eq!(net.sent.iter().map(Sent::dst_mac).collect::<Vec<_>>(), [mac(21)]);
    // Too soon after the change, another claim is not believed; the probe that follows finds who is there.
    net.inject(WAN, 0, &builder::arp_request(mac(66), B, B));
    net.settle();
    net.host_udp(a, B, (1, 2), b"z");
    net.seconds(3);
    assert_eq!(payloads(&net, b), [b"y", b"z"]);
    net.finish();
}

#[test]
fn static_neighbours_are_never_asked_for() {
    let text = "[[neighbour]]\ninterface = \"wan\"\naddress = \"10.0.2.20\"\nmac = \"02:00:00:aa:00:14\"\n";
    let (mut net, a, b) = two_hosts(text);
    net.host_udp(a, B, (1, 2), b"x");
    net.settle();
    assert_eq!(payloads(&net, b).len(), 1);
    net.inject(WAN, 0, &builder::arp_request(mac(66), B, B));
    net.deaf.insert(b);
    net.seconds(120);
    assert!(!net.sent.iter().any(|sent| sent.asks_for(B)));
    net.deaf.clear();
    net.host_udp(a, B, (1, 2), b"y");
    net.seconds(1);
    assert_eq!(payloads(&net, b).len(), 2);
    assert_eq!(net.state_of(B).as_deref(), Some("static"));
    net.finish();
}

#[test]
fn another_user_of_our_address_is_reported_and_answered() {
    let (mut net, _, _) = two_hosts("");
    net.settle();
    net.take_sent();
    let ours = Ipv4Addr::new(10, 0, 1, 1);
    for _ in 0..3 {
        net.inject(LAN, 0, &builder::arp_request(mac(66), ours, ours));
    }
    net.settle();
    assert_eq!(net.log, [format!("lan: {} uses our address 10.0.1.1 too", mac(66))]);
    let sent = net.take_sent();
    assert_eq!(sent.len(), 1, "one announcement in ten seconds");
    assert_eq!(sent[0].arp().unwrap().sender, (port_mac(LAN), ours));
    net.finish();
}

/// A configuration with a large connected network at `wan`.
fn wide(cores: &str, more: &str) -> String {
    two_ports(cores, more).replace("10.0.2.1/24", "10.64.0.1/10")
}

#[test]
fn an_address_scan_is_bounded_and_hurts_nobody() {
    let limits = "[limits]\nneighbours = 512\nadjacencies = 1024\n";
    let mut net = Net::new(&wide("[0]", limits));
    net.add_host(LAN, host(10, A.octets()));
    let known: Vec<Ipv4Addr> = (0..100).map(|n| Ipv4Addr::new(10, 64, 1, n)).collect();
    net.crowds.insert(WAN);
    for ip in &known {
        net.inject(LAN, 0, &udp_frame(LAN, A.octets(), ip.octets(), (1, 2), b"x"));
    }
    net.settle();
    net.crowds.clear();
    net.take_sent();
    // 20,000 addresses where nobody is, in 5 s of virtual time.
    for round in 0..200u32 {
        for n in 0..100u32 {
            let dst = Ipv4Addr::from_bits(Ipv4Addr::new(10, 100, 0, 0).to_bits() + round * 100 + n);
            net.inject(LAN, 0, &udp_frame(LAN, A.octets(), dst.octets(), (1, 2), b"scan"));
        }
        net.pass(Duration::from_millis(25));
        assert!(net.neighbours().len() <= 512);
    }
    let stays = |n: &&NeighbourReport| n.interface == "wan" && n.mac.is_some();
    assert_eq!(net.neighbours().iter().filter(stays).count(), 100, "those that answer stay");
    net.take_sent();
    for ip in &known {
        net.inject(LAN, 0, &udp_frame(LAN, A.octets(), ip.octets(), (1, 2), b"y"));
    }
    net.settle();
    let reached: Vec<_> = wan_packets(&net).collect();
    assert_eq!(reached, known.iter().map(|ip| (*ip, crowd_mac(*ip))).collect::<Vec<_>>());
    net.seconds(10);
    let dropped = net.drops(DropReason::NeighbourUnreachable) + net.drops(DropReason::HoldFull);
    assert_eq!(dropped, 20_000);
    assert!(net.log.is_empty(), "{:?}", net.log);
    net.finish();
}

/// Destination and next hop of what left by `wan`.
fn wan_packets(net: &Net) -> impl Iterator<Item = (Ipv4Addr, MacAddr)> {
    let sent = net.sent.iter().filter(|sent| sent.port == WAN);
    sent.filter_map(|sent| Some((sent.ipv4()?.header.dst, sent.dst_mac())))
}

const GATEWAYS: [[u8; 4]; 3] = [[10, 0, 2, 11], [10, 0, 2, 12], [10, 0, 2, 13]];

fn send_flows(net: &mut Net) -> BTreeMap<u16, MacAddr> {
    net.settle();
    net.take_sent();
    for port in 1000..1090 {
        net.inject(LAN, 0, &udp_frame(LAN, A.octets(), [192, 0, 2, 7], (port, 80), b"flow"));
    }
    net.settle();
    let flow = |sent: &Sent| match sent.ipv4()?.body().unwrap() {
        Body::Udp { src_port, .. } => Some((src_port, sent.dst_mac())),
        _ => None,
    };
    net.sent.iter().filter_map(flow).collect()
}

#[test]
fn flows_leave_a_gateway_that_is_silent_and_others_stay() {
    let text = "[[route]]\nprefix = \"192.0.2.0/24\"\nvia = [\"10.0.2.11\", \"10.0.2.12\", \"10.0.2.13\"]\n";
    let mut net = Net::new(&two_ports("[0]", text));
    let places: Vec<_> = (11..).zip(GATEWAYS).map(|(n, ip)| net.add_host(WAN, host(n, ip))).collect();
    let before = send_flows(&mut net);
    let shares = |flows: &BTreeMap<u16, MacAddr>| {
        [11, 12, 13].map(|n| flows.values().filter(|to| **to == mac(n)).count())
    };
    assert_eq!(before.len(), 90);
    assert!(shares(&before).iter().all(|share| *share > 10), "{:?}", shares(&before));

    net.deaf.insert(places[1]);
    net.seconds(60);
    let during = send_flows(&mut net);
    assert_eq!((during.len(), shares(&during)[1]), (90, 0));
    for (flow, to) in &before {
        assert!(*to == mac(12) || during[flow] == *to, "flow {flow} moved without need");
    }
    assert_eq!(net.route_to([192, 0, 2, 7].into()).unwrap().kind, "ecmp");

    net.deaf.clear();
    net.seconds(10);
    let after = send_flows(&mut net);
    assert!(shares(&after)[1] > 10, "{:?}", shares(&after));
    for (flow, to) in &during {
        assert!(after[flow] == mac(12) || after[flow] == *to, "flow {flow} moved without need");
    }
    net.finish();
}

#[test]
fn all_gateways_may_fail_and_return() {
    let text = "[[route]]\nprefix = \"192.0.2.0/24\"\nvia = [\"10.0.2.11\", \"10.0.2.12\", \"10.0.2.13\"]\n";
    let mut net = Net::new(&two_ports("[0]", text));
    let a = net.add_host(LAN, host(10, A.octets()));
    let places: Vec<_> = (11..).zip(GATEWAYS).map(|(n, ip)| net.add_host(WAN, host(n, ip))).collect();
    net.seconds(1);
    net.deaf.extend(&places);
    net.seconds(60);
    net.host_udp(a, [192, 0, 2, 7].into(), (1, 2), b"lost");
    net.seconds(7);
    assert_eq!(icmp_errors(&net, a), [(3, 1)]);
    net.deaf.remove(&places[0]);
    net.seconds(20);
    let flows = send_flows(&mut net);
    assert!(flows.len() == 90 && flows.values().all(|to| *to == mac(11)), "{flows:?}");
    net.finish();
}

/// Asks us for our address at `wan`, and so becomes known.
fn introduce(net: &mut Net, queue: usize, station: MacAddr, ip: Ipv4Addr) {
    let frame = builder::arp_request(station, ip, [10, 0, 2, 1].into());
    net.inject(WAN, queue, &frame);
}

#[test]
fn an_adjacency_is_not_used_again_before_every_worker_has_passed() {
    let mut net = Net::new(&two_ports("[0, 1]", ""));
    let ip = |n: u8| Ipv4Addr::new(10, 0, 2, n);
    introduce(&mut net, 0, mac(1), ip(11));
    net.settle();
    let fib = net.control.fib();
    let first = fib.lookup(ip(11).to_bits());
    let glean = fib.lookup(ip(99).to_bits());
    assert_ne!(first, glean);
    // Nobody answers the probes: after a while the neighbour goes. Worker 1 stands still meanwhile.
    let end = net.now() + Duration::from_secs(60);
    while net.now() < end {
        net.clock.advance(Duration::from_millis(500));
        let now = net.now();
        net.workers[0].poll_once(now);
        net.control.poll(now);
        net.hear();
    }
    assert_eq!(net.state_of(ip(11)), None);
    assert_eq!(fib.lookup(ip(11).to_bits()), glean, "no packet is led there any more");
    introduce(&mut net, 0, mac(2), ip(12));
    for _ in 0..10 {
        let now = net.now();
        net.workers[0].poll_once(now);
        net.control.poll(now);
        net.hear();
    }
    assert_eq!(net.state_of(ip(12)).as_deref(), Some("reachable"));
    assert_eq!(fib.lookup(ip(12).to_bits()), glean, "worker 1 does not know the adjacency yet");
    net.settle();
    let second = fib.lookup(ip(12).to_bits());
    assert!(second != glean && second != first, "worker 1 might still have used the first");
    introduce(&mut net, 1, mac(3), ip(13));
    net.settle();
    assert_eq!(fib.lookup(ip(13).to_bits()), first, "now it is free");
    net.finish();
}

#[test]
fn without_a_free_adjacency_neighbours_are_unreachable_and_the_log_says_so_once() {
    let mut net = Net::new(&two_ports("[0]", "[limits]\nadjacencies = 16\nneighbours = 64\n"));
    net.crowds.insert(WAN);
    let a = net.add_host(LAN, host(10, A.octets()));
    for round in 0..3u8 {
        for n in 0..20 {
            net.host_udp(a, Ipv4Addr::new(10, 0, 2, 100 + n), (1, 2), &[round]);
        }
        net.seconds(1);
    }
    assert_eq!(net.log.len(), 1, "{:?}", net.log);
    assert!(net.log[0].contains("all 16 adjacencies are in use: raise `adjacencies`"), "{}", net.log[0]);
    let forwarded = net.sent.iter().filter(|sent| sent.port == WAN && sent.ipv4().is_some()).count();
    // 7 are well known, 2 are of networks, 1 is A's.
    assert_eq!(forwarded, 3 * 6);
    assert_eq!(net.drops(DropReason::NeighbourUnreachable), 3 * 14);
    net.finish();
}

#[test]
fn orders_that_overflow_the_ring_stay_in_order() {
    let limits = "[limits]\nhold_packets = 4096\n";
    let mut net = Net::new(&wide("[0, 1]", limits));
    net.settle();
    let stations: Vec<Ipv4Addr> =
        (0..2000u16).map(|n| Ipv4Addr::new(10, 65, (n >> 8) as u8, n as u8)).collect();
    for (n, ip) in stations.iter().enumerate() {
        net.inject(LAN, n % 2, &udp_frame(LAN, A.octets(), ip.octets(), (1, 2), b"x"));
        if n % 500 == 499 {
            net.settle();
        }
    }
    assert_eq!(net.books().held, 2000);
    net.take_sent();
    // All answer at once. Each answer brings three orders: more than the ring holds.
    for (n, ip) in stations.iter().enumerate() {
        let reply = builder::arp_reply(crowd_mac(*ip), *ip, port_mac(WAN), [10, 64, 0, 1].into());
        net.inject(WAN, n % 2, &reply);
    }
    let now = net.now();
    for _ in 0..7 {
        assert!(net.workers.iter_mut().fold(false, |busy, worker| worker.poll_once(now) | busy));
    }
    net.control.poll(now);
    net.settle();
    let sent: BTreeMap<_, _> = wan_packets(&net).collect();
    assert_eq!(sent.len(), 2000);
    assert!(sent.iter().all(|(ip, to)| *to == crowd_mac(*ip)));
    let rested: u64 = DropReason::ALL.iter().map(|reason| net.drops(*reason)).sum();
    assert_eq!((rested, net.events_lost()), (0, 0));
    // Without an answer, all 2000 are probed and given up, through the same rings.
    net.seconds(60);
    assert!(net.neighbours().is_empty());
    net.finish();
}

#[test]
fn lost_news_is_counted_and_asked_for_again() {
    let mut net = Net::new(&wide("[0]", "[limits]\nhold_packets = 4096\n"));
    net.settle();
    net.crowds.insert(WAN);
    let stations: Vec<Ipv4Addr> =
        (0..3000u16).map(|n| Ipv4Addr::new(10, 65, (n >> 8) as u8, n as u8)).collect();
    let send = |net: &mut Net, data: &[u8]| {
        for ip in &stations {
            net.inject(LAN, 0, &udp_frame(LAN, A.octets(), ip.octets(), (1, 2), data));
        }
    };
    send(&mut net, b"1");
    let now = net.now();
    while net.workers[0].poll_once(now) {}
    assert_eq!(net.books().held, 3000);
    let lost = net.events_lost();
    assert!(lost > 0 && lost < 2000, "{lost} of 3000 lost");
    net.settle();
    assert_eq!(net.books().held, lost);
    net.seconds(2);
    send(&mut net, b"2");
    net.settle();
    net.seconds(2);
    send(&mut net, b"3");
    net.settle();
    assert_eq!(net.books().held, 0);
    let sent = net.sent.iter().filter(|sent| sent.ipv4().is_some()).count();
    assert_eq!(sent, 9000, "late, but none is lost");
    net.finish();
}

#[test]
fn a_route_longer_than_the_network_stands_above_what_arp_says() {
    let text = "[[route]]\nprefix = \"10.0.2.128/25\"\nvia = \"10.0.1.77\"\n";
    let mut net = Net::new(&two_ports("[0]", text));
    net.add_host(LAN, host(77, [10, 0, 1, 77]));
    introduce(&mut net, 0, mac(66), [10, 0, 2, 200].into());
    net.settle();
    net.take_sent();
    net.inject(WAN, 0, &udp_frame(WAN, [10, 0, 2, 5], [10, 0, 2, 200], (1, 2), b"x"));
    net.settle();
    let sent: Vec<_> = net.sent.iter().map(|sent| (sent.port, sent.dst_mac())).collect();
    assert_eq!(sent, [(LAN, mac(77))]);
    net.finish();
}

#[test]
fn hosts_of_an_on_link_route_are_reached() {
    let text = "[[route]]\nprefix = \"172.16.0.0/24\"\ninterface = \"wan\"\n";
    let mut net = Net::new(&two_ports("[0]", text));
    let far = Ipv4Addr::new(172, 16, 0, 9);
    let place = net.add_host(WAN, Host::new(mac(9), far, 24, None));
    net.inject(LAN, 0, &udp_frame(LAN, A.octets(), far.octets(), (1, 2), b"x"));
    net.seconds(1);
    assert_eq!(net.hosts[place].1.received().len(), 1);
    net.finish();
}

#[test]
fn a_configuration_as_large_as_its_limit_leaves_room_for_neighbours() {
    let route = |n: u8| format!("[[route]]\nprefix = \"192.0.{n}.0/24\"\ntype = \"blackhole\"\n");
    // With the two connected networks, 16.
    let routes: String = (2..16).map(route).collect();
    let (mut net, a, b) = two_hosts(&format!("{routes}[limits]\nroutes = 16\n"));
    net.host_udp(a, B, (1, 2), b"x");
    net.settle();
    assert_eq!((payloads(&net, b).len(), net.route_to(B).unwrap().prefix.as_str()), (1, "10.0.2.20/32"));
    assert!(net.log.is_empty(), "{:?}", net.log);
    net.finish();
}

//! Several workers: frames handed over to the worker that owns a flow, or a port's only transmit queue.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use common::{Net, host, mac, port_mac, two_ports, udp_frame};
use l2l3::forward::Isa;
use l2l3::router::Steering;
use sim::builder::{self, ICMP, Ipv4};
use sim::dissect::Body;
use wire::{DropReason, RssKey};

const LAN: usize = 0;
const WAN: usize = 1;
const A: [u8; 4] = [10, 0, 1, 10];
const B: [u8; 4] = [10, 0, 2, 20];
const US: [u8; 4] = [10, 0, 1, 1];

/// B at `wan` answers nothing but ARP, and is known.
fn net_with_b(cores: &str, wan: &str, more: &str) -> Net {
    let text = two_ports(cores, more).replace("\"net_null1\"", &format!("\"net_null1\"\n{wan}"));
    let mut net = Net::new(&text);
    net.inject(WAN, 0, &builder::arp_request(mac(20), B.into(), [10, 0, 2, 1].into()));
    net.settle();
    net.take_sent();
    net
}

/// By source port, the numbers in the payloads of what left by `wan`, in order.
fn flows_out(net: &Net) -> BTreeMap<u16, Vec<u32>> {
    let mut flows = BTreeMap::<_, Vec<_>>::new();
    for sent in net.sent.iter().filter(|sent| sent.port == WAN) {
        let Some(Ok(Body::Udp { src_port, payload, .. })) = sent.ipv4().map(|packet| packet.body()) else {
            panic!("{sent:?}");
        };
        flows.entry(src_port).or_default().push(u32::from_be_bytes(payload.try_into().unwrap()));
    }
    flows
}

#[test]
fn frames_for_a_port_with_one_queue_are_handed_over_in_order() {
    for isa_is_portable in [false, true] {
        let mut net = net_with_b("[0, 1, 2]", "tx_queues = 1", "");
        if isa_is_portable {
            let text = two_ports("[0, 1, 2]", "").replace("\"net_null1\"", "\"net_null1\"\ntx_queues = 1");
            net = Net::with_isa(&text, Isa::Portable);
            net.inject(WAN, 0, &builder::arp_request(mac(20), B.into(), [10, 0, 2, 1].into()));
            net.settle();
            net.take_sent();
        }
        assert_eq!(net.wires[WAN].from.len(), 1);
        for number in 0..100u32 {
            for flow in 0..6u16 {
                let frame = udp_frame(LAN, A, B, (1000 + flow, 80), &number.to_be_bytes());
                net.inject(LAN, usize::from(flow) % 3, &frame);
            }
            if number % 7 == 0 {
                net.step();
            }
        }
        net.settle();
        let flows = flows_out(&net);
        assert_eq!(flows.len(), 6);
        assert!(flows.values().all(|numbers| numbers.iter().copied().eq(0..100)), "{flows:?}");
        let books = net.books();
        assert_eq!((books.handed_out, books.handed_in, books.dropped), (400, 400, 0), "{books}");
        net.finish();
    }
}

#[test]
fn fragments_that_two_workers_received_become_whole_at_one() {
    let mut net = Net::new(&two_ports("[0, 1]", ""));
    let place = net.add_host(LAN, host(10, A));
    net.host_ping(place, US.into(), 0, b"makes us known");
    net.settle();
    net.take_sent();
    let data: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
    let message = builder::echo_request(7, 1, &data);
    for (queue, part) in message.chunks(1480).enumerate().map(|(n, part)| (n % 2, (n, part))) {
        let (n, part) = part;
        let header = Ipv4 {
            id: 77,
            more_fragments: n < 2,
            offset: (n * 185) as u16,
            ..Ipv4::new(A.into(), US.into(), ICMP)
        };
        let frame = builder::ethernet(port_mac(LAN), mac(10), 0x0800, &header.packet(part));
        net.inject(LAN, queue, &builder::padded(frame));
    }
    net.settle();
    let mut whole = vec![0; message.len()];
    let mut sent = 0;
    for packet in net.sent.iter().filter_map(|sent| sent.ipv4()) {
        let at = usize::from(packet.header.offset) * 8;
        whole[at..at + packet.payload.len()].copy_from_slice(&packet.payload);
        sent += packet.payload.len();
    }
    assert_eq!(sent, message.len());
    assert!(whole == builder::echo_reply(7, 1, &data), "the reply holds what the request did");
    let handed: Vec<_> = net.workers.iter().map(|worker| worker.counters().handed_in.get()).collect();
    assert!(handed.iter().filter(|n| **n > 0).count() == 1, "one worker owns the datagram: {handed:?}");
    net.finish();
}

/// Source ports of flows to us that worker 1 of two owns.
fn owned_by_1(count: usize) -> Vec<u16> {
    let steering = Steering::new(0, 2, &RssKey::SYMMETRIC);
    let (src, dst) = (Ipv4Addr::from(A).to_bits(), Ipv4Addr::from(US).to_bits());
    let owner = |port: &u16| steering.reta.owner(steering.toeplitz.hash_v4_l4(src, dst, *port, 9));
    (1000..).filter(|port| owner(port) == 1).take(count).collect()
}

#[test]
fn a_full_ring_to_the_flows_owner_is_counted() {
    let mut net = Net::new(&two_ports("[0, 1]", "[limits]\nring_packets = 64\n"));
    net.settle();
    for port in owned_by_1(200) {
        net.inject(LAN, 0, &udp_frame(LAN, A, US, (port, 9), b"to us"));
    }
    // Worker 1 stands still.
    let now = net.now();
    while net.workers[0].poll_once(now) {}
    assert_eq!(net.drops(DropReason::SteerFull), 200 - 64);
    assert!(net.workers[0].counters().books().balance());
    net.settle();
    assert_eq!(net.drops(DropReason::UdpNoPort), 64);
    net.finish();
}

#[test]
fn a_full_ring_to_the_ports_owner_is_counted() {
    let mut net = net_with_b("[0, 1]", "tx_queues = 1", "[limits]\nring_packets = 64\n");
    for n in 0..200 {
        net.inject(LAN, 1, &udp_frame(LAN, A, B, (n, 9), b"out"));
    }
    let now = net.now();
    while net.workers[1].poll_once(now) {}
    assert_eq!(net.drops(DropReason::SteerFull), 200 - 64);
    net.settle();
    assert_eq!(net.sent.len(), 64);
    net.finish();
}

#[test]
fn a_full_transmit_queue_is_counted() {
    let mut net = net_with_b("[0]", "", "");
    for n in 0..6000u16 {
        net.inject(LAN, 0, &udp_frame(LAN, A, B, (n, 9), b"out"));
        if n % 1000 == 999 {
            let now = net.now();
            while net.workers[0].poll_once(now) {}
        }
    }
    assert_eq!(net.drops(DropReason::TxFull), 6000 - common::PIPE as u64);
    assert!(net.books().balance());
    net.finish();
}

#[test]
fn a_loop_takes_in_more_than_one_batch_holds() {
    // Frames to us, from four ports at once; and a release of more frames than a transmit batch holds.
    let port = |n: usize| {
        format!("[[port]]\nname = \"p{n}\"\ndevice = \"net_null{n}\"\naddresses = [\"10.0.{n}.1/24\"]\n")
    };
    let ports: String = (0..4).map(port).collect();
    let text = format!(
        "{ports}[workers]\ncores = [0, 1]\nburst = 256\n[limits]\nhold_packets = 4096\nring_packets = 4096\n"
    );
    let mut net = Net::new(&text);
    net.settle();
    for at in 0..4u8 {
        for n in 0..256u16 {
            let frame = udp_frame(usize::from(at), [10, 0, at, 9], [10, 0, at, 1], (n, 9), b"to us");
            net.inject(at.into(), 0, &frame);
        }
    }
    net.settle();
    assert_eq!(net.drops(DropReason::UdpNoPort), 4 * 256);
    assert_eq!(net.drops(DropReason::SteerFull) + net.drops(DropReason::LocalFull), 0);

    net.crowds.insert(1);
    net.take_sent();
    for host in 0..50u8 {
        for n in 0..40 {
            net.inject(0, 0, &udp_frame(0, [10, 0, 0, 9], [10, 0, 1, 100 + host], (n, 9), b"held"));
        }
    }
    let now = net.now();
    while net.workers[0].poll_once(now) {}
    net.settle();
    assert_eq!(net.drops(DropReason::TxFull), 0);
    let out = net.sent.iter().filter(|sent| sent.port == 1 && sent.ipv4().is_some()).count();
    assert_eq!(out, 50 * 40);
    net.seconds(10);
    net.finish();
}

#[test]
fn stopped_workers_empty_the_rings_between_them() {
    let mut net = net_with_b("[0, 1]", "tx_queues = 1", "");
    for n in 0..500 {
        net.inject(LAN, 1, &udp_frame(LAN, A, B, (n, 9), b"out"));
        net.inject(LAN, 1, &udp_frame(LAN, A, US, (n, 9), b"to us"));
    }
    let now = net.now();
    for _ in 0..5 {
        net.workers[1].poll_once(now);
    }
    assert!(net.books().handed_out > net.books().handed_in);
    while net.workers.iter_mut().fold(false, |busy, worker| worker.drain(now) | busy) {}
    net.assert_balanced();
    let left: usize = net.wires[LAN].to.iter().map(|to| to.queued()).sum();
    assert!(left > 0, "nothing more was received");
    assert!(Arc::strong_count(net.workers[0].counters()) > 1);
    net.finish();
}

//! The order in which workers learn of a neighbour (adjacency, then route) and forget it (route, then,
//! when all have passed, the adjacency's number is free), with real threads: no packet ever goes to
//! another neighbour's Ethernet address, nor by an adjacency that its worker does not know yet.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Net, Running, crowd_mac, port_mac, two_ports, udp_frame};
use sim::builder;
use wire::DropReason;

const LAN: usize = 0;
const WAN: usize = 1;
/// More than there are adjacencies: numbers are used again and again.
const STATIONS: u8 = 60;

fn station(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, 100 + n)
}

#[test]
fn packets_never_go_to_another_neighbour() {
    let limits = "[limits]\nadjacencies = 64\nneighbours = 64\nicmp_errors_per_second = 1\n";
    let Net { clock, pool, mut control, workers, mut wires, .. } = Net::new(&two_ports("[0, 1]", limits));
    let wan = wires.pop().unwrap();
    let mut lan = wires.pop().unwrap();
    let done = AtomicBool::new(false);
    let right = AtomicU64::new(0);
    let counters: Vec<_> = workers.iter().map(|worker| worker.counters().clone()).collect();
    std::thread::scope(|scope| {
        for Running { mut worker, .. } in workers {
            let (clock, done) = (&clock, &done);
            scope.spawn(move || {
                let mut programs = worker.start(vec![], clock.now()).unwrap();
                while !done.load(Ordering::Relaxed) {
                    if !worker.poll_once(&mut programs, clock.now()) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        // The far end: checks all that comes; stations answer in one half of each minute.
        let (clock, pool, done, right) = (&clock, &pool, &done, &right);
        scope.spawn(move || {
            let (mut to, mut from) = (wan.to, wan.from);
            while !done.load(Ordering::Relaxed) {
                for from in &mut from {
                    while let Some(frame) = from.pop() {
                        let sent =
                            common::Sent { at: clock.now(), port: WAN, queue: 0, bytes: frame.to_vec() };
                        if let Some(packet) = sent.ipv4() {
                            assert_eq!(sent.dst_mac(), crowd_mac(packet.header.dst));
                            right.fetch_add(1, Ordering::Relaxed);
                        }
                        let Some(arp) = sent.arp().filter(|arp| arp.operation == 1) else { continue };
                        let ip = arp.target.1;
                        let phase =
                            clock.now().as_nanos() / 1_000_000_000 / 30 + u64::from(ip.octets()[3]) % 2;
                        if phase % 2 == 0 && arp.sender.1 != ip {
                            let reply = builder::arp_reply(crowd_mac(ip), ip, port_mac(WAN), arp.sender.1);
                            drop(pool.frame_from(&reply).map(|frame| to[0].push(frame)));
                        }
                    }
                }
                std::thread::yield_now();
            }
        });
        // Control and traffic: half an hour and more of virtual time.
        let end = Instant::now() + Duration::from_secs(3);
        let mut n = 0u32;
        while Instant::now() < end {
            let now = clock.advance(Duration::from_millis(10));
            control.poll(now);
            for queue in 0..2 {
                for _ in 0..4 {
                    n = n.wrapping_mul(1_103_515_245).wrapping_add(12345);
                    let dst = station((n >> 16) as u8 % STATIONS).octets();
                    let bytes = udp_frame(LAN, [10, 0, 1, 9], dst, (1, 2), b"x");
                    drop(pool.frame_from(&bytes).map(|frame| lan.to[queue].push(frame)));
                }
                while let Some(frame) = lan.from[queue].pop() {
                    drop(frame);
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let sent = right.load(Ordering::Relaxed);
    assert!(sent > 1000, "{sent} packets");
    assert!(clock.now() > wire::Instant::from_millis(60_000), "neighbours came and went");
    for counters in counters {
        assert_eq!(counters.drops(DropReason::NoRoute), 0);
    }
}

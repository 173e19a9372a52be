//! Two workers between Linux hosts: several queues, and a port with one queue for both of them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Router;
use common::net::Net;

const REST: &str = r#"
[[port]]
name = "c"
device = "net_af_packet0,iface=vc,blocksz=65536,framecnt=2048"
addresses = ["10.3.0.1/24"]
[[route]]
prefix = "10.9.0.0/24"
via = "10.3.0.2"
"#;

#[test]
fn two_workers_share_the_ports() {
    let net = Net::new();
    let third = net.host_on_veth("c", "vc", "10.3.0.2/24", "10.3.0.1");
    third.ip("route add local 10.9.0.0/24 dev lo");
    let router = net.run_between_taps("[0, 1]", REST);
    let first = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    let second = net.host_on_tap("b", "tb", "10.2.0.2/24", "10.2.0.1");
    let queues = |port: usize| {
        let all = router.ask(&["ports"]);
        (all[port]["rx_queues"].as_u64().unwrap(), all[port]["tx_queues"].as_u64().unwrap())
    };
    assert_eq!((queues(0), queues(1), queues(2)), ((2, 2), (2, 2), (1, 1)));

    first.ping("10.2.0.2", 20);
    first.flood("10.2.0.2", 2000);
    second.flood("10.3.0.2", 500);
    // Many flows, so that both workers receive some: one of them has no queue to send them by.
    for last in 1..=64 {
        first.ping(&format!("10.9.0.{last}"), 2);
    }
    let (received, handed) = shares(&router);
    assert!(received.iter().all(|&rx| rx > 100), "both receive: {received:?}");
    assert!(handed > 0, "some frames are handed over");
    router.stop();
}

const CROSSED: &str = r#"
[workers]
cores = [0, 1]
poll = "adaptive"
[[port]]
name = "a"
device = "net_af_packet0,iface=va,blocksz=65536,framecnt=2048"
addresses = ["10.1.0.1/24"]
workers = [0]
[[port]]
name = "b"
device = "net_af_packet1,iface=vb,blocksz=65536,framecnt=2048"
addresses = ["10.2.0.1/24"]
workers = [1]
"#;

#[test]
fn every_frame_is_handed_over() {
    let net = Net::new();
    let first = net.host_on_veth("a", "va", "10.1.0.2/24", "10.1.0.1");
    let second = net.host_on_veth("b", "vb", "10.2.0.2/24", "10.2.0.1");
    let router = net.run(CROSSED);
    first.ping("10.2.0.2", 20);
    first.flood("10.2.0.2", 2000);
    second.ping("10.1.0.1", 20);
    let (_, handed) = shares(&router);
    assert!(handed >= 4040, "each way: {handed}");
    router.stop();
}

/// Frames that each worker received, and how many were handed over in all.
fn shares(router: &Router) -> ([u64; 2], u64) {
    let workers = router.ask(&["workers"]);
    let count = |worker: usize, what: &str| workers[worker]["books"][what].as_u64().unwrap();
    let handed_out = count(0, "handed_out") + count(1, "handed_out");
    assert_eq!(handed_out, count(0, "handed_in") + count(1, "handed_in"));
    ([count(0, "rx"), count(1, "rx")], handed_out)
}

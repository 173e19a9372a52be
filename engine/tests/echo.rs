//! The echo server on whole workers, with a TCP host at the far end of a port.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use common::peer::{Peer, has_flags};
use common::{Net, two_ports, udp_frame};
use engine::api::{Reply, Request};
use engine::host::Gauge;
use sim::builder::{self, ICMP, Ipv4};
use sim::dissect::Body;
use tcp::connection::{Error, State};
use tcp::shard::{ConnectionId, Received};
use wire::{DropReason, TcpFlags};

const LAN: usize = 0;
const A: [u8; 4] = [10, 0, 1, 10];
const US: [u8; 4] = [10, 0, 1, 1];
const ECHO: &str = "[[service]]\nkind = \"echo\"\n";

fn at(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(US.into(), port)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

fn net_and_peer(cores: &str, more: &str) -> (Net, Peer) {
    let mut net = Net::new(&two_ports(cores, &format!("{ECHO}{more}")));
    let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
    peer.settle(&mut net);
    (net, peer)
}

fn connected(net: &mut Net, peer: &mut Peer) -> ConnectionId {
    let id = peer.connect(net.now(), at(7));
    peer.settle(net);
    assert_eq!(peer.shard.info(id).unwrap().state, State::Established);
    id
}

/// Sends `data` and takes as much back; then closes, and all is as before.
fn exchange(net: &mut Net, peer: &mut Peer, id: ConnectionId, data: &[u8]) {
    let (mut given, mut back) = (0, vec![]);
    for _ in 0..200_000 {
        given += peer.give(net.now(), id, &data[given..]);
        net.clock.advance(Duration::from_micros(100));
        peer.settle(net);
        net.take_sent();
        back.extend(peer.take(net.now(), id).0);
        if back.len() >= data.len() {
            break;
        }
    }
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
}

fn close(net: &mut Net, peer: &mut Peer, id: ConnectionId) {
    peer.shard.shutdown(net.now(), id);
    peer.pass(net, Duration::from_millis(50));
    assert!(matches!(peer.take(net.now(), id), (rest, Received::End) if rest.is_empty()));
    peer.shard.close(net.now(), id);
    peer.pass(net, Duration::from_millis(50));
}

fn gauge(net: &Net, gauge: Gauge) -> u64 {
    net.workers.iter().map(|worker| worker.host_counters().gauge(gauge)).sum()
}

/// At the end nothing is held for a connection any more, and no frame is lost.
fn finish(mut net: Net, mut peer: Peer) {
    peer.pass(&mut net, Duration::from_secs(1));
    for kind in [Gauge::Connections, Gauge::HalfOpen, Gauge::Unacknowledged, Gauge::Unread, Gauge::InFlight] {
        assert_eq!(gauge(&net, kind), 0, "{kind:?}");
    }
    net.finish();
    drop(peer.shard);
    assert!(peer.pool.is_full());
}

#[test]
fn what_is_sent_comes_back() {
    let (mut net, mut peer) = net_and_peer("[0]", "");
    for len in [1, 1000, 5000, 300_000, 3_000_000] {
        let id = connected(&mut net, &mut peer);
        exchange(&mut net, &mut peer, id, &pattern(len));
        close(&mut net, &mut peer, id);
    }
    assert_eq!(net.books().dropped, 0, "{}", net.books());
    assert_eq!(net.workers[0].host_counters().copied.get(), 0, "no byte is copied");
    finish(net, peer);
}

#[test]
fn what_is_lost_comes_again() {
    let (mut net, mut peer) = net_and_peer("[0]", "");
    for lost_of in [101, 23, 10] {
        let id = connected(&mut net, &mut peer);
        peer.lost_of = lost_of;
        exchange(&mut net, &mut peer, id, &pattern(500_000));
        peer.lost_of = 0;
        close(&mut net, &mut peer, id);
    }
    let Some(Reply::Tcp(counters)) = net.control.handle_request(net.now(), &Request::Tcp) else { panic!() };
    let again = counters.iter().find(|counter| counter.name == "retransmitted").unwrap();
    assert!(again.value > 50, "{again:?}");
    finish(net, peer);
}

#[test]
fn many_small_pieces_are_one_segment() {
    let (mut net, mut peer) = net_and_peer("[0]", "");
    let id = connected(&mut net, &mut peer);
    peer.shard.set_nodelay(net.now(), id, true);
    net.take_sent();
    let data = pattern(60);
    for byte in &data {
        peer.give(net.now(), id, &[*byte]);
        peer.step(&mut net);
        net.clock.advance(Duration::from_millis(1));
    }
    // All come in in one loop: a device would not take a frame of sixty segments.
    net.step();
    let lengths: Vec<_> = net.sent.iter().map(|sent| sent.bytes.len()).collect();
    assert_eq!(lengths, [14 + 20 + 32 + data.len()]);
    peer.settle(&mut net);
    assert_eq!(peer.take(net.now(), id).0, data);
    close(&mut net, &mut peer, id);
    peer.pass(&mut net, Duration::from_millis(200));
    assert_eq!(net.workers[0].host_counters().copied.get(), data.len() as u64);
    finish(net, peer);
}

#[test]
fn a_congestion_mark_is_answered() {
    let mut net = Net::new(&two_ports("[0]", ECHO));
    let config = tcp::Config { ecn: tcp::config::Ecn::Request, ..tcp::Config::default() };
    let mut peer = Peer::new(&mut net, LAN, 10, A, config);
    peer.settle(&mut net);
    let id = connected(&mut net, &mut peer);
    for (marked, want) in [(false, false), (true, true)] {
        peer.marked = marked;
        net.take_sent();
        exchange(&mut net, &mut peer, id, &pattern(100));
        peer.give(net.now(), id, b"one more");
        peer.step(&mut net);
        net.step();
        assert_eq!(net.sent.iter().any(|sent| has_flags(&sent.bytes, TcpFlags::ECE)), want);
        peer.settle(&mut net);
        peer.take(net.now(), id);
    }
    peer.marked = false;
    close(&mut net, &mut peer, id);
    finish(net, peer);
}

#[test]
fn an_answer_carries_the_ack() {
    let (mut net, mut peer) = net_and_peer("[0]", "");
    let id = connected(&mut net, &mut peer);
    net.take_sent();
    for round in 0..20 {
        peer.give(net.now(), id, b"ping");
        peer.settle(&mut net);
        assert_eq!(net.take_sent().len(), 1, "round {round}");
        assert_eq!(peer.take(net.now(), id).0, b"ping");
        net.clock.advance(Duration::from_millis(100));
        peer.settle(&mut net);
        net.take_sent();
    }
    close(&mut net, &mut peer, id);
    finish(net, peer);
}

#[test]
fn a_slow_reader_holds_the_sender_back() {
    let (mut net, mut peer) = net_and_peer("[0]", "[limits]\ntcp_payloads = 64\n");
    let id = connected(&mut net, &mut peer);
    let data = pattern(2_000_000);
    let mut given = 0;
    for _ in 0..400 {
        given += peer.give(net.now(), id, &data[given..]);
        peer.pass(&mut net, Duration::from_millis(5));
        net.take_sent();
    }
    // The peer reads nothing: its window is full, and then ours.
    assert!(gauge(&net, Gauge::Unacknowledged) <= 64 && gauge(&net, Gauge::Unread) <= 64);
    let mut back = vec![];
    for _ in 0..20_000 {
        back.extend(peer.take(net.now(), id).0);
        given += peer.give(net.now(), id, &data[given..]);
        peer.pass(&mut net, Duration::from_millis(5));
        net.take_sent();
        if back.len() == data.len() {
            break;
        }
    }
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
    close(&mut net, &mut peer, id);
    finish(net, peer);
}

#[test]
fn a_full_transmit_queue_holds_tcp_back_and_loses_nothing() {
    for cores in ["[0]", "[0, 1]"] {
        let narrow = "\"net_null0\"\ntx_descriptors = 32";
        let mut net = Net::new(&two_ports(cores, ECHO).replace("\"net_null0\"", narrow));
        let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
        let ids: Vec<_> = (0..6).map(|n| peer.connect_from(net.now(), 5000 + n, at(7))).collect();
        peer.settle(&mut net);
        let mut held = 0;
        for _ in 0..20 {
            for id in &ids {
                peer.give(net.now(), *id, &pattern(28_000));
            }
            peer.step(&mut net);
            // The device takes nothing, for a while.
            for _ in 0..4 {
                let now = net.now();
                net.workers.iter_mut().for_each(|worker| _ = worker.poll_once(now));
            }
            assert!(net.workers.iter().all(|worker| worker.counters().books().balance()));
            held += net.books().held;
            peer.pass(&mut net, Duration::from_millis(100));
            net.take_sent();
            for id in &ids {
                assert_eq!(peer.take(net.now(), *id).0.len(), 28_000);
            }
        }
        assert!(held > 0, "{cores}: it was never full");
        assert_eq!(net.drops(DropReason::TxFull), 0, "{cores}");
        for id in ids {
            close(&mut net, &mut peer, id);
        }
        finish(net, peer);
    }
}

#[test]
fn a_reset_ends_it_at_once() {
    let (mut net, mut peer) = net_and_peer("[0]", "");
    let id = connected(&mut net, &mut peer);
    peer.give(net.now(), id, &pattern(10_000));
    peer.settle(&mut net);
    peer.shard.abort(net.now(), id);
    finish(net, peer);
}

#[test]
fn nobody_listens() {
    let (mut net, mut peer) = net_and_peer("[0]", "");
    let id = peer.connect(net.now(), at(8));
    peer.settle(&mut net);
    assert_eq!(peer.shard.error(id), Some(Error::Refused));
    assert_eq!(net.drops(DropReason::TcpNoPort), 1);
    peer.shard.close(net.now(), id);
    finish(net, peer);
}

#[test]
fn connections_live_on_the_worker_that_owns_their_flow() {
    let (mut net, mut peer) = net_and_peer("[0, 1]", "");
    let ids: Vec<_> = (0..32).map(|n| peer.connect_from(net.now(), 5000 + n, at(7))).collect();
    peer.settle(&mut net);
    // Whatever queue they come in by.
    for (n, id) in ids.iter().enumerate() {
        peer.queue = n % 2;
        exchange(&mut net, &mut peer, *id, &pattern(5000 + n));
    }
    peer.pass(&mut net, Duration::from_millis(200));
    let shares: Vec<_> =
        net.workers.iter().map(|worker| worker.host_counters().gauge(Gauge::Connections)).collect();
    assert!(shares.iter().sum::<u64>() == 32 && shares.iter().all(|n| *n >= 6), "{shares:?}");
    assert!(net.books().handed_in > 0);
    look(&mut net, 32);
    for id in ids {
        close(&mut net, &mut peer, id);
    }
    finish(net, peer);
}

/// What an operator sees.
fn look(net: &mut Net, connections: usize) {
    let mut ask = |request: Request| {
        assert_eq!(net.control.handle_request(net.clock.now(), &request), None);
        let question = net.control.ask_workers(request);
        net.settle();
        net.control.answer(question).unwrap()
    };
    for limit in [1, 20, connections, 1000] {
        let Reply::Connections(report) = ask(Request::Connections { limit, after: None }) else {
            panic!("connections")
        };
        assert_eq!((report.total, report.connections.len()), (connections as u64, limit.min(connections)));
        assert!(report.connections.iter().all(|c| c.state == "ESTAB" && c.local == "10.0.1.1:7"));
    }
    let Reply::Listeners(listeners) = ask(Request::Listeners) else { panic!("listeners") };
    assert_eq!(listeners.iter().map(|l| l.core).collect::<Vec<_>>(), [0, 1]);
    assert!(listeners.iter().all(|listener| listener.address == "0.0.0.0:7"));
    let Some(Reply::Tcp(counters)) = net.control.handle_request(net.now(), &Request::Tcp) else {
        panic!("counters")
    };
    let opens = counters.iter().find(|counter| counter.name == "passive-opens").unwrap();
    assert_eq!((opens.value, opens.by_worker.iter().sum()), (connections as u64, connections as u64));
}

#[test]
fn a_narrow_link_lowers_the_mss() {
    let (mut net, mut peer) = net_and_peer("[0, 1]", "");
    let ids: Vec<_> = (0..8).map(|_| connected(&mut net, &mut peer)).collect();
    for id in ids {
        net.take_sent();
        peer.largest = 0;
        peer.give(net.now(), id, &pattern(4000));
        peer.step(&mut net);
        while !net.sent.iter().any(|sent| sent.bytes.len() > 1000) {
            net.step();
        }
        // Lost on its way: the router before the narrow link says so, to any worker.
        let sent = net.take_sent();
        let segment = sent.iter().find(|sent| sent.bytes.len() > 1000).unwrap();
        let too_large = builder::icmp(3, 4, [0, 0, 0x02, 0x58], &segment.bytes[14..42]);
        let error = Ipv4::new([10, 0, 1, 77].into(), US.into(), ICMP).packet(&too_large);
        net.inject(LAN, 1, &builder::ethernet(common::port_mac(LAN), common::mac(77), 0x0800, &error));
        peer.pass(&mut net, Duration::from_millis(300));
        assert_eq!(peer.take(net.now(), id).0, pattern(4000));
        assert!((500..=560).contains(&peer.largest), "600 byte packets: {}", peer.largest);
        close(&mut net, &mut peer, id);
    }
    finish(net, peer);
}

#[test]
fn datagrams_come_back() {
    let (mut net, peer) = net_and_peer("[0, 1]", "");
    net.take_sent();
    for n in 0..40u16 {
        net.inject(LAN, usize::from(n) % 2, &udp_frame(LAN, A, US, (1000 + n, 7), &pattern(usize::from(n))));
    }
    net.settle();
    let mut back: Vec<_> = net
        .take_sent()
        .iter()
        .filter_map(|sent| sent.ipv4())
        .map(|packet| match packet.body() {
            Ok(Body::Udp { src_port: 7, dst_port, payload }) => (dst_port, payload),
            other => panic!("{other:?}"),
        })
        .collect();
    back.sort_unstable();
    let want: Vec<_> = (0..40u16).map(|n| (1000 + n, pattern(usize::from(n)))).collect();
    assert_eq!(back, want);
    // Who would answer the answer gets none.
    net.inject(LAN, 0, &udp_frame(LAN, A, US, (7, 7), b"forged in another echo server's name"));
    net.settle();
    assert_eq!(net.take_sent().len(), 0);
    let mut damaged = udp_frame(LAN, A, US, (1, 7), b"some data to be damaged by a link");
    damaged[50] ^= 1;
    net.inject(LAN, 0, &damaged);
    net.settle();
    assert_eq!((net.drops(DropReason::UdpMalformed), net.take_sent().len()), (1, 0));
    finish(net, peer);
}

#[test]
fn datagrams_past_the_queues_bound_are_counted() {
    let (mut net, peer) = net_and_peer("[0]", "[limits]\nudp_datagrams = 5\n");
    net.take_sent();
    for n in 0..40 {
        net.inject(LAN, 0, &udp_frame(LAN, A, US, (1000 + n, 7), b"all at once"));
    }
    net.settle();
    let back = net.take_sent().iter().filter(|sent| sent.ipv4().is_some()).count();
    assert_eq!((back, net.drops(DropReason::UdpFull)), (5, 35));
    finish(net, peer);
}

#[test]
fn without_frames_it_waits_and_goes_on() {
    let (mut net, mut peer) = net_and_peer("[0]", "");
    let id = connected(&mut net, &mut peer);
    peer.give(net.now(), id, &pattern(20_000));
    peer.step(&mut net);
    // All the engine's frames are gone.
    let mut pool = net.pool.clone();
    let hoard: Vec<_> = std::iter::from_fn(|| wire::FramePool::alloc(&mut pool)).collect();
    peer_is_silent(&mut net);
    drop(hoard);
    peer.pass(&mut net, Duration::from_millis(300));
    assert_eq!(peer.take(net.now(), id).0, pattern(20_000));
    close(&mut net, &mut peer, id);
    finish(net, peer);
}

fn peer_is_silent(net: &mut Net) {
    net.take_sent();
    for _ in 0..20 {
        net.step();
    }
    assert!(net.sent.iter().all(|sent| !has_flags(&sent.bytes, TcpFlags::ACK)));
}

#[test]
fn one_service_may_have_an_address_of_its_own() {
    let more = "[[service]]\nkind = \"echo\"\nport = 70\naddress = \"10.0.2.1\"\n";
    let (mut net, mut peer) = net_and_peer("[0]", more);
    let elsewhere = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 1), 70);
    let id = peer.connect(net.now(), elsewhere);
    let refused = peer.connect(net.now(), at(70));
    peer.settle(&mut net);
    assert_eq!(peer.shard.info(id).unwrap().state, State::Established);
    assert_eq!(peer.shard.error(refused), Some(Error::Refused));
    exchange(&mut net, &mut peer, id, b"to the other address");
    close(&mut net, &mut peer, id);
    peer.shard.close(net.now(), refused);
    finish(net, peer);
}

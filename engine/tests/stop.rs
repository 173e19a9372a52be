//! The end of an engine: what was begun is finished, and what takes too long is reset.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::net::SocketAddrV4;
use std::time::Duration;

use common::peer::{Peer, has_flags};
use common::{Net, two_ports, udp_frame};
use tcp::connection::{Error, State};
use tcp::shard::{ConnectionId, Received};
use wire::TcpFlags;

const LAN: usize = 0;
const WAN: usize = 1;
const A: [u8; 4] = [10, 0, 1, 10];
const SERVER: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 1, 1), 7);

fn net_and_peer(stop_seconds: u16) -> (Net, Peer) {
    let more = format!("stop_seconds = {stop_seconds}\n[[service]]\nkind = \"echo\"\n");
    let mut net = Net::new(&two_ports("[1, 2]", &more));
    let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
    peer.settle(&mut net);
    (net, peer)
}

fn connected(net: &mut Net, peer: &mut Peer, count: usize) -> Vec<ConnectionId> {
    let ids: Vec<_> = (0..count).map(|_| peer.connect(net.now(), SERVER)).collect();
    peer.pass(net, Duration::from_millis(10));
    assert!(ids.iter().all(|id| peer.shard.info(*id).unwrap().state == State::Established));
    ids
}

/// Closes what the server has closed; the rest is read before.
fn read_to_the_end(net: &mut Net, peer: &mut Peer, id: ConnectionId) -> Vec<u8> {
    let mut all = vec![];
    for _ in 0..1000 {
        let (bytes, end) = peer.take(net.now(), id);
        all.extend(bytes);
        if matches!(end, Received::End) {
            peer.shard.close(net.now(), id);
            return all;
        }
        assert!(matches!(end, Received::Nothing));
        peer.pass(net, Duration::from_millis(5));
    }
    panic!("no end after {} bytes", all.len());
}

#[test]
fn what_was_received_is_sent_back_and_a_fin_after_it() {
    let (mut net, mut peer) = net_and_peer(10);
    let ids = connected(&mut net, &mut peer, 20);
    let data: Vec<u8> = (0..200_000_u32).map(|i| (i ^ (i >> 8)) as u8).collect();
    for id in &ids {
        assert_eq!(peer.give(net.now(), *id, &data), data.len());
    }
    peer.pass(&mut net, Duration::from_millis(100));
    net.control.stop(net.now());
    peer.settle(&mut net);
    assert!(net.control.is_stopping() && !net.control.has_stopped());
    for id in &ids {
        assert_eq!(peer.shard.info(*id).unwrap().state, State::Established, "behind unread data");
        assert!(read_to_the_end(&mut net, &mut peer, *id) == data);
    }
    peer.pass(&mut net, Duration::from_millis(100));
    assert!(net.control.has_stopped() && net.log.is_empty());
    let sent = net.take_sent();
    assert!(!sent.iter().any(|sent| has_flags(&sent.bytes, TcpFlags::RST)));
    net.finish();
}

#[test]
fn nobody_new_is_let_in_but_packets_are_forwarded() {
    let (mut net, mut peer) = net_and_peer(10);
    net.add_host(WAN, common::host(20, [10, 0, 2, 20]));
    let open = connected(&mut net, &mut peer, 1)[0];
    // It has closed nothing, so the end waits for it.
    net.control.stop(net.now());
    peer.settle(&mut net);
    let late = peer.connect(net.now(), SERVER);
    net.inject(LAN, 0, &udp_frame(LAN, A, [10, 0, 2, 20], (1, 2), b"through"));
    peer.pass(&mut net, Duration::from_millis(100));
    assert_eq!(peer.shard.error(late), Some(Error::Refused));
    peer.shard.close(net.now(), late);
    assert!(net.take_sent().iter().any(|sent| sent.port == WAN && sent.bytes.ends_with(b"through")));
    // What comes after the server's FIN is taken, and lost.
    peer.give(net.now(), open, &[1; 100_000]);
    peer.pass(&mut net, Duration::from_secs(1));
    assert!(!net.control.has_stopped());
    assert_eq!(peer.shard.info(open).unwrap().queued, 0);
    assert_eq!(read_to_the_end(&mut net, &mut peer, open), b"");
    peer.pass(&mut net, Duration::from_millis(100));
    assert!(net.control.has_stopped() && net.log.is_empty());
    net.finish();
}

#[test]
fn who_does_not_read_is_reset_in_the_end() {
    let (mut net, mut peer) = net_and_peer(3);
    let ids = connected(&mut net, &mut peer, 5);
    for id in &ids {
        peer.give(net.now(), *id, &[3; 400_000]);
    }
    peer.pass(&mut net, Duration::from_secs(1));
    net.control.stop(net.now());
    peer.pass(&mut net, Duration::from_millis(2900));
    assert!(!net.control.has_stopped() && net.log.is_empty());
    assert!(ids.iter().all(|id| peer.shard.error(*id).is_none()));
    peer.pass(&mut net, Duration::from_millis(200));
    assert!(net.control.has_stopped());
    assert_eq!(net.log, ["connections not finished within 3 s, now reset: 5"]);
    assert!(ids.iter().all(|id| peer.shard.error(*id) == Some(Error::Reset)));
    net.finish();
}

#[test]
fn with_nothing_open_it_is_over_at_once() {
    let (mut net, mut peer) = net_and_peer(10);
    net.control.stop(net.now());
    peer.settle(&mut net);
    assert!(net.control.has_stopped());
    net.finish();
}

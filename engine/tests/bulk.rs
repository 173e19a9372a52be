//! The servers for bulk on whole workers, with a TCP host at the far end of a port.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::net::SocketAddrV4;
use std::time::Duration;

use common::peer::Peer;
use common::{Net, two_ports};
use tcp::shard::{ConnectionId, Received};
use wire::DropReason;

const LAN: usize = 0;
const BURST: usize = 8;

fn net_and_peer() -> (Net, Peer) {
    let more = format!("burst = {BURST}\n[[service]]\nkind = \"discard\"\n[[service]]\nkind = \"chargen\"\n");
    let mut net = Net::new(&two_ports("[0]", &more));
    let config = tcp::Config { receive_buffer_max: 256 << 10, ..tcp::Config::default() };
    let mut peer = Peer::new(&mut net, LAN, 10, [10, 0, 1, 10], config);
    peer.settle(&mut net);
    (net, peer)
}

fn connected(net: &mut Net, peer: &mut Peer, port: u16) -> ConnectionId {
    let id = peer.connect(net.now(), SocketAddrV4::new([10, 0, 1, 1].into(), port));
    peer.settle(net);
    id
}

/// Lets the network run until nothing moves. Gives the frames, at most, that were sent in one loop.
fn settle(net: &mut Net, peer: &mut Peer) -> usize {
    let mut most = 0;
    loop {
        let before = net.sent.len();
        let moved = net.step();
        most = most.max(net.sent.len() - before);
        if !(moved | peer.step(net)) {
            return most;
        }
    }
}

/// Characters come without end and as RFC 864 has them; and however much may go out at once, what comes in has
/// its turn after twice as much as could have come.
#[test]
fn characters_without_end() {
    let (mut net, mut peer) = net_and_peer();
    let id = connected(&mut net, &mut peer, 19);
    let (mut all, mut most) = (Vec::new(), 0);
    for _ in 0..30 {
        // The window closes, and then opens in whole.
        all.extend(peer.take(net.now(), id).0);
        net.clock.advance(Duration::from_millis(50));
        most = most.max(settle(&mut net, &mut peer));
        net.take_sent();
    }
    assert_eq!(most, 2 * BURST * 2, "of two queues");
    assert!(all.len() > 2_000_000, "{}", all.len());
    let line = |n: usize| (0..72).map(move |column| b' ' + ((n + column) % 95) as u8).chain(*b"\r\n");
    assert!(all.iter().copied().eq((0..).flat_map(line).take(all.len())));
    peer.shard.abort(net.now(), id);
    peer.pass(&mut net, Duration::from_millis(100));
    net.finish();
}

#[test]
fn what_is_discarded() {
    let (mut net, mut peer) = net_and_peer();
    let id = connected(&mut net, &mut peer, 9);
    let (data, mut given) = (vec![7; 1_000_000], 0);
    while given < data.len() {
        given += peer.give(net.now(), id, &data[given..]);
        net.clock.advance(Duration::from_millis(1));
        peer.settle(&mut net);
    }
    peer.shard.shutdown(net.now(), id);
    peer.pass(&mut net, Duration::from_millis(100));
    assert!(matches!(peer.take(net.now(), id), (back, Received::End) if back.is_empty()));
    assert_eq!(net.drops(DropReason::TcpNoPort), 0);
    net.finish();
}

//! Connections in great numbers: idle ones, floods, and programs that do not read.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::peer::Peer;
use common::{Net, SimDevice, mac, port_mac, two_ports};
use engine::api::{ConnectionsReport, Reply, Request};
use engine::app::{App, Event, Sockets, StartError};
use engine::host::Gauge;
use l2l3::forward::Isa;
use sim::{SimFrame, builder};
use tcp::shard::{ConnectionId, Received};
use wire::{Instant, IntoBytes, Payload, TcpFlags, TcpHeader, U16, U32};

const LAN: usize = 0;
const A: [u8; 4] = [10, 0, 1, 10];

fn server(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 1, 1].into(), port)
}

fn counter(net: &Net, name: &str) -> u64 {
    let of = |host: &engine::host::HostCounters| host.iter().find(|row| row.0 == name).unwrap().1;
    net.workers.iter().map(|worker| of(worker.host_counters())).sum()
}

/// Has `peer` open `count` connections, a few hundred at a time.
fn open(net: &mut Net, peer: &mut Peer, count: usize, ports: &[u16]) -> Vec<ConnectionId> {
    let mut ids = vec![];
    while ids.len() < count {
        for _ in 0..500.min(count - ids.len()) {
            ids.push(peer.connect(net.now(), server(ports[ids.len() % ports.len()])));
        }
        peer.settle(net);
        net.clock.advance(Duration::from_millis(1));
        net.take_sent();
    }
    peer.settle(net);
    ids
}

fn page(net: &mut Net, request: Request) -> ConnectionsReport {
    let question = net.control.ask_workers(request);
    for _ in 0..100 {
        net.step();
        match net.control.answer(question) {
            Some(Reply::Connections(report)) => return report,
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    panic!("no answer");
}

#[test]
fn a_hundred_thousand_idle_connections_are_shown_page_by_page() {
    const COUNT: usize = 100_000;
    let services: String =
        (7..11).map(|port| format!("[[service]]\nkind = \"echo\"\nport = {port}\n")).collect();
    let limits = "[limits]\ntcp_connections = 60000\n";
    let mut net = Net::new(&two_ports("[1, 2]", &format!("{services}{limits}")));
    let config = tcp::Config { connections: COUNT as u32, ..tcp::Config::default() };
    let mut peer = Peer::new(&mut net, LAN, 10, A, config);
    peer.settle(&mut net);
    open(&mut net, &mut peer, COUNT, &[7, 8, 9, 10]);
    // What the ring between the workers had no room for comes again.
    peer.pass(&mut net, Duration::from_secs(4));
    let gauge =
        |net: &Net| net.workers.iter().map(|w| w.host_counters().gauge(Gauge::Connections)).sum::<u64>();
    assert_eq!(gauge(&net), COUNT as u64);
    let (mut after, mut seen, mut pages) = (None, std::collections::HashSet::new(), 0);
    loop {
        let report = page(&mut net, Request::Connections { limit: COUNT, after });
        assert!(report.connections.len() <= ConnectionsReport::PAGE && report.total == COUNT as u64);
        seen.extend(report.connections.into_iter().map(|c| (c.remote, c.local)));
        pages += 1;
        after = report.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), COUNT);
    assert!(pages <= COUNT / ConnectionsReport::PAGE + 2, "{pages}");
}

/// A SYN from an address that will not answer.
fn forged_syn(n: u32) -> Vec<u8> {
    let (src, dst) = (std::net::Ipv4Addr::from_bits(0xc633_6400 + n % 100), [10, 0, 1, 1].into());
    let mut tcp = TcpHeader {
        src_port: U16::new(1024 + (n / 100 % 60_000) as u16),
        dst_port: U16::new(7),
        seq: U32::new(n.wrapping_mul(0x9e37_79b9)),
        data_offset: 5 << 4,
        flags: TcpFlags::SYN,
        window: U16::new(1000),
        ..TcpHeader::default()
    };
    let sum = wire::checksum::pseudo_header(src, dst, 6, 20).add_bytes(tcp.as_bytes()).finish();
    tcp.checksum = U16::new(sum);
    let mut ip = wire::Ipv4Header::new(src, dst, 6, 20);
    ip.fill_checksum();
    let packet = [ip.as_bytes(), tcp.as_bytes()].concat();
    builder::padded(builder::ethernet(port_mac(LAN), mac(77), 0x0800, &packet))
}

/// Questions that were answered in `loops` loops of 100 us, with so many forged SYNs in each.
fn answered(net: &mut Net, peer: &mut Peer, ids: &[ConnectionId], loops: u32, flood: u32) -> usize {
    let mut back = 0;
    for n in 0..loops {
        for syn in 0..flood {
            net.inject(LAN, 0, &forged_syn(n * flood + syn));
        }
        for id in ids {
            // Each asks again when it is answered.
            let (bytes, _) = peer.take(net.now(), *id);
            back += bytes.len();
            if n == 0 || !bytes.is_empty() {
                assert_eq!(peer.give(net.now(), *id, &[1]), 1);
            }
        }
        peer.step(net);
        net.step();
        peer.step(net);
        net.clock.advance(Duration::from_micros(100));
        net.take_sent();
    }
    back
}

#[test]
fn a_flood_beside_ten_thousand_idle_connections_takes_nothing_from_the_others() {
    let route = "[[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.0.1.99\"\n";
    let mut net = Net::new(&two_ports("[1]", &format!("[[service]]\nkind = \"echo\"\n{route}")));
    net.add_host(LAN, common::host(99, [10, 0, 1, 99]));
    let config = tcp::Config { connections: 20_000, ..tcp::Config::default() };
    let mut peer = Peer::new(&mut net, LAN, 10, A, config);
    peer.settle(&mut net);
    open(&mut net, &mut peer, 10_000, &[7]);
    // Answers that found no neighbour yet come again.
    peer.pass(&mut net, Duration::from_secs(4));
    let busy = open(&mut net, &mut peer, 8, &[7]);
    let (loops, each) = (4000, busy.len() as u32);
    let without = answered(&mut net, &mut peer, &busy, loops, 0);
    let with = answered(&mut net, &mut peer, &busy, loops, 10 * each);
    assert!(without >= loops as usize / 4 * busy.len(), "{without}");
    assert!(with * 100 >= without * 95, "{with} of {without}");
    net.seconds(1);
    assert!(counter(&net, "syn-cookies-out") > 100_000);
    // Whoever comes in the flood is let in, by a cookie.
    for n in 0..100 {
        net.inject(LAN, 0, &forged_syn(n));
    }
    let late = peer.connect(net.now(), server(7));
    peer.settle(&mut net);
    assert_eq!(peer.give(net.now(), late, b"late"), 4);
    peer.pass(&mut net, Duration::from_secs(2));
    assert_eq!(peer.take(net.now(), late).0, b"late");
    assert_eq!(peer.shard.population().0, 10_009);
    net.seconds(70);
    assert_eq!(counter(&net, "half-open"), 0);
}

/// Reads nothing until it is told to.
struct Sleeper {
    awake: Arc<AtomicBool>,
    open: Vec<ConnectionId>,
    next: Instant,
}

impl App<SimFrame> for Sleeper {
    fn start(&mut self, sockets: &mut Sockets<'_, SimFrame>) -> Result<(), StartError> {
        sockets.listen(server(7), 1024).map_err(|error| StartError(format!("{error:?}")))?;
        Ok(())
    }

    fn handle_events(&mut self, _: &mut Sockets<'_, SimFrame>, events: &[Event]) {
        for event in events {
            if let Event::Accepted(_, id) = event {
                self.open.push(*id);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.awake.load(Ordering::Relaxed).then_some(self.next)
    }

    fn poll(&mut self, sockets: &mut Sockets<'_, SimFrame>) {
        for id in &self.open {
            while let Received::Bytes(bytes) = sockets.receive(*id) {
                sockets.credit(*id, 1, bytes.len() as u32);
            }
        }
        self.next = sockets.now() + Duration::from_millis(1);
    }
}

#[test]
fn more_than_there_is_room_for_is_shed_and_goes_on_when_it_is_read() {
    const EACH: usize = 100_000;
    let awake = Arc::new(AtomicBool::new(false));
    let text = two_ports("[1]", "[[service]]\nkind = \"echo\"\n[limits]\ntcp_payloads = 1024\n");
    let sleepers = || -> engine::worker::Apps<SimDevice> {
        vec![Box::new(Sleeper { awake: awake.clone(), open: vec![], next: Instant::ZERO })]
    };
    let mut net = Net::with_apps(&text, Isa::detect(), sleepers);
    let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
    peer.settle(&mut net);
    // 50 times 100,000 bytes come to a window each, but there is room for a third.
    let ids = open(&mut net, &mut peer, 50, &[7]);
    for id in &ids {
        assert_eq!(peer.give(net.now(), *id, &vec![1; EACH]), EACH);
    }
    peer.pass(&mut net, Duration::from_secs(3));
    net.seconds(1);
    assert!(counter(&net, "unread") <= 1024);
    let left = |peer: &Peer| -> u32 { ids.iter().map(|id| peer.shard.info(*id).unwrap().queued).sum() };
    assert!(counter(&net, "payloads-shed") > 0 && left(&peer) > 3_000_000);
    awake.store(true, Ordering::Relaxed);
    let start = net.now();
    while left(&peer) > 0 {
        peer.pass(&mut net, Duration::from_millis(50));
        net.take_sent();
        assert!(net.now().since(start) < Duration::from_secs(60), "{} bytes are stuck", left(&peer));
    }
    // The peer's retransmission timeouts have backed off for as long as the pressure lasted.
    assert!(net.now().since(start) < Duration::from_secs(2));
}

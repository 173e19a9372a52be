//! What programs send, and that none of it is copied nor changed in a device's hands.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::io::Write;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use common::peer::Peer;
use common::{Net, SimDevice, SimEnv, two_ports};
use engine::app::echo::Echo;
use engine::app::{App, Content, Event, Produce, Pulled, Sockets, StartError};
use engine::device::Env;
use engine::worker::Apps;
use l2l3::forward::Isa;
use sim::SimFrame;
use tcp::connection::News;
use tcp::shard::{ConnectionId, Received};
use wire::Payload;

const LAN: usize = 0;
const A: [u8; 4] = [10, 0, 1, 10];
const US: [u8; 4] = [10, 0, 1, 1];
const SERVICE: &str = "[[service]]\nkind = \"echo\"\n";
const PAGES: u16 = 80;

fn at(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(US.into(), port)
}

fn pattern(at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

fn pattern_of(len: usize) -> Vec<u8> {
    (0..len as u64).map(pattern).collect()
}

struct Pattern;

impl Produce for Pattern {
    fn fill(&self, offset: u64, out: &mut [u8]) {
        (offset..).zip(out).for_each(|(at, byte)| *byte = pattern(at));
    }
}

/// Answers each request, which is one byte, with its length in a line and then a page: by reference, or made as
/// it is sent.
struct Pages {
    page: &'static [u8],
    producer: Arc<dyn Produce>,
}

impl Pages {
    fn answer(&self, sockets: &mut Sockets<'_, SimFrame>, id: ConnectionId, request: u8) {
        let len = self.page.len();
        let mut head = sockets.alloc().unwrap();
        writeln!(head, "{len}").unwrap();
        sockets.send(id, head.freeze()).unwrap();
        match request {
            b's' => sockets.send(id, Content::Static(self.page)).unwrap(),
            _ => sockets.send(id, Pulled::new(self.producer.clone(), 0..len as u64)).unwrap(),
        }
    }
}

impl App<SimFrame> for Pages {
    fn start(&mut self, sockets: &mut Sockets<'_, SimFrame>) -> Result<(), StartError> {
        sockets.listen(at(PAGES), 16).unwrap();
        Ok(())
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, SimFrame>, events: &[Event]) {
        for event in events {
            let Event::Connection(id, news) = *event else { continue };
            assert!(!news.has(News::WRITABLE), "what takes no memory is taken whole");
            loop {
                match sockets.receive(id) {
                    Received::Bytes(bytes) => {
                        let requests = bytes.chunk(0);
                        requests.iter().for_each(|request| self.answer(sockets, id, *request));
                        sockets.credit(id, 1, bytes.len() as u32);
                    }
                    Received::Nothing => break,
                    Received::End | Received::Closed(_) => break sockets.close(id),
                }
            }
        }
    }
}

/// Echo, and pages of `len` bytes.
fn apps(len: usize) -> impl Fn() -> Apps<SimDevice> {
    let env = SimEnv::Real(std::time::Instant::now());
    let page = env.immortal(len, |page| {
        page.copy_from_slice(&pattern_of(len));
        Ok(())
    });
    let page = page.unwrap();
    move || {
        let pages = Pages { page, producer: Arc::new(Pattern) };
        vec![Box::new(pages) as Box<dyn App<SimFrame>>, Box::new(Echo::new(at(7)))]
    }
}

/// Sends `request` to a port of ours and takes what comes back, until it is `want`; then closes.
fn exchange(net: &mut Net, peer: &mut Peer, port: u16, request: &[u8], want: &[u8]) {
    let id = peer.connect(net.now(), at(port));
    let (mut given, mut back) = (0, vec![]);
    for _ in 0..100_000 {
        given += peer.give(net.now(), id, &request[given..]);
        net.clock.advance(Duration::from_micros(500));
        peer.settle(net);
        net.take_sent();
        back.extend(peer.take(net.now(), id).0);
        if back.len() >= want.len() {
            break;
        }
    }
    assert!(back == want, "{} of {} bytes came back from {port}", back.len(), want.len());
    peer.shard.close(net.now(), id);
    peer.pass(net, Duration::from_millis(20));
}

fn answers(requests: usize, len: usize) -> Vec<u8> {
    [format!("{len}\n").into_bytes(), pattern_of(len)].concat().repeat(requests)
}

fn copied(net: &Net) -> u64 {
    net.workers.iter().map(|worker| worker.host_counters().copied.get()).sum()
}

fn finish(mut net: Net, mut peer: Peer) {
    // Longer than any connection lingers.
    peer.pass(&mut net, Duration::from_secs(5));
    assert_eq!(copied(&net), 0, "no byte is copied");
    net.finish();
    drop(peer.shard);
    assert!(peer.pool.is_full());
}

#[test]
fn pages_are_sent_without_a_copy_and_without_a_buffer() {
    const LEN: usize = 6_000_000;
    // A send buffer is 4 MiB, and there are far fewer frames than the page has segments.
    let text = two_ports("[0]", &format!("{SERVICE}[limits]\ntcp_payloads = 64\n"));
    let mut net = Net::with_apps(&text, Isa::detect(), apps(LEN));
    let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
    peer.settle(&mut net);
    for request in [&b"s"[..], b"p", b"sps"] {
        exchange(&mut net, &mut peer, PAGES, request, &answers(request.len(), LEN));
    }
    assert_eq!(net.books().dropped, 0, "{}", net.books());
    finish(net, peer);
}

#[test]
fn nothing_changes_in_a_devices_hands() {
    for seed in 0..8 {
        println!("seed {seed}");
        const LEN: usize = 100_000;
        let mut net = Net::with_slow_devices(&two_ports("[0, 1]", SERVICE), apps(LEN), seed);
        let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
        peer.settle(&mut net);
        peer.lost_of = 50;
        for request in [&b"s"[..], b"p", b"spps"] {
            exchange(&mut net, &mut peer, PAGES, request, &answers(request.len(), LEN));
            let data = pattern_of(LEN);
            exchange(&mut net, &mut peer, 7, &data, &data);
        }
        peer.lost_of = 0;
        let again = net.workers.iter().map(|worker| {
            let mut counters = worker.host_counters().iter();
            counters.find(|(name, ..)| *name == "retransmitted").unwrap().1
        });
        assert!(again.sum::<u64>() > 10, "what the device held was sent again");
        finish(net, peer);
    }
}

//! A program of its own on whole workers: connections that we open.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::peer::Peer;
use common::{Net, two_ports};
use engine::app::{App, Event, Sockets, StartError};
use l2l3::forward::Isa;
use sim::{SimFrame, SimPayload, SimPool};
use tcp::connection::News;
use tcp::shard::Received;
use wire::{Frame, Instant, Payload};

const LAN: usize = 0;
const A: [u8; 4] = [10, 0, 1, 10];

/// A program that opens a connection, sends, and holds what comes back against it.
struct Client {
    to: SocketAddrV4,
    opened: bool,
    unsent: Vec<SimPayload>,
    back: Arc<Mutex<Vec<u8>>>,
}

impl App<SimFrame> for Client {
    fn start(&mut self, _: &mut Sockets<'_, SimFrame>) -> Result<(), StartError> {
        Ok(())
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, SimFrame>, events: &[Event]) {
        for event in events {
            let Event::Connection(id, news) = *event else { panic!("{event:?}") };
            if news.has(News::CONNECTED) {
                assert_eq!(sockets.token(id), 77);
                self.unsent.drain(..).for_each(|bytes| sockets.send(id, bytes).unwrap());
                sockets.shutdown(id);
            }
            loop {
                match sockets.receive(id) {
                    Received::Bytes(bytes) => {
                        self.back.lock().unwrap().extend(bytes.chunk(0));
                        sockets.credit(id, 1, bytes.len() as u32);
                    }
                    Received::Nothing => break,
                    Received::End | Received::Closed(None) => break sockets.close(id),
                    Received::Closed(error) => panic!("{error:?}"),
                }
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        (!self.opened).then_some(Instant::ZERO)
    }

    fn poll(&mut self, sockets: &mut Sockets<'_, SimFrame>) {
        let id = sockets.connect(self.to).unwrap();
        sockets.set_token(id, 77);
        self.opened = true;
    }
}

#[test]
fn connections_that_we_open_come_home() {
    // The peer echoes by itself. Each worker has a client of its own.
    let back = Arc::new(Mutex::new(vec![]));
    let data: Vec<u8> = (0..2800).map(|i| (i ^ (i >> 8)) as u8).collect();
    let to = SocketAddrV4::new(A.into(), 700);
    let pool = SimPool::new(64, 2048);
    let client = || -> Box<dyn App<_>> {
        let piece = |bytes: &[u8]| pool.frame_from(bytes).unwrap().into_payload(0, bytes.len());
        let unsent = data.chunks(1400).map(piece).collect();
        Box::new(Client { to, opened: false, unsent, back: back.clone() })
    };
    let text = two_ports("[0, 1, 2]", "[[service]]\nkind = \"echo\"\n");
    let mut net = Net::with_apps(&text, Isa::detect(), || vec![client()]);
    let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
    let listener = peer.shard.listen(to, 16).unwrap();
    peer.settle(&mut net);
    let mut open = vec![];
    for _ in 0..20 {
        open.extend(peer.accept(net.now(), listener));
        for id in &open {
            let (bytes, end) = peer.take(net.now(), *id);
            peer.give(net.now(), *id, &bytes);
            if matches!(end, Received::End) {
                peer.shard.shutdown(net.now(), *id);
            }
        }
        peer.pass(&mut net, Duration::from_millis(50));
    }
    assert_eq!(open.len(), 3);
    assert!(*back.lock().unwrap() == data.repeat(3));
    for id in open {
        peer.shard.close(net.now(), id);
    }
    // Nobody was handed a frame of another's flow: the peer's frames came in by queue 0, and two in three
    // of the flows are not worker 0's.
    let counters: Vec<_> = net.workers.iter().map(|worker| worker.counters().handed_in.get()).collect();
    assert!(counters[0] == 0 && counters[1] > 0 && counters[2] > 0, "{counters:?}");
    peer.pass(&mut net, Duration::from_secs(1));
    net.finish();
    drop(peer.shard);
    assert!(pool.is_full() && peer.pool.is_full());
}

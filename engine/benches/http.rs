//! What a worker takes for a small page: everything from the received frame to the sent one, in virtual time.
//! Simulated frames cost more than a device's: the figure is for comparing one build with another.
#![allow(clippy::unwrap_used, reason = "a bench that fails panics")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use common::peer::Peer;
use common::{Net, two_ports};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const CONNECTIONS: usize = 64;

fn small_page(criterion: &mut Criterion) {
    let page = format!(
        "[[service]]\nkind = \"http\"\n[[service.page]]\npath = \"/page\"\nbody = \"{}\"\n",
        "x".repeat(64)
    );
    let mut net = Net::new(&two_ports("[0]", &page));
    let mut peer = Peer::new(&mut net, 0, 10, [10, 0, 1, 10], tcp::Config::default());
    let us = SocketAddrV4::new([10, 0, 1, 1].into(), 80);
    let ids: Vec<_> = (0..CONNECTIONS).map(|_| peer.connect(net.now(), us)).collect();
    peer.settle(&mut net);
    let request = b"GET /page HTTP/1.1\r\nHost: 10.0.1.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
    let mut group = criterion.benchmark_group("http");
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    group.bench_function("keep-alive", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut taken = Duration::ZERO;
            for _ in 0..rounds {
                for id in &ids {
                    peer.give(net.now(), *id, request);
                }
                peer.step(&mut net);
                let now = net.clock.advance(Duration::from_micros(100));
                let start = Instant::now();
                net.workers[0].poll_once(now);
                taken += start.elapsed();
                net.hear();
                peer.step(&mut net);
                for id in &ids {
                    assert!(peer.take(net.now(), *id).0.len() > 200);
                }
                net.take_sent();
            }
            taken
        });
    });
    group.finish();
}

criterion_group!(benches, small_page);
criterion_main!(benches);

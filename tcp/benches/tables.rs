//! What the tables of a shard cost: the flow table with few and with a million flows, and the timers.
//!
//! Where heap memory comes in small pages, address translation is a good part of the cost of a million.
//! The stack keeps its tables in huge pages, and so does
//! `GLIBC_TUNABLES=glibc.malloc.hugetlb=2 cargo bench -p tcp`.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tcp::Tick;
use tcp::demux::{FlowKey, FlowTable};
use tcp::wheel::Wheel;
use wire::prefetch::prefetch;

/// The start of a connection: its key is in the cache line that a segment needs first.
#[repr(align(64))]
struct Connection {
    key: FlowKey,
}

/// Client `n` of a server.
fn key(n: u32) -> FlowKey {
    let client = Ipv4Addr::from_bits(0x0a00_0000 + n / 64);
    FlowKey::new(
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80),
        SocketAddrV4::new(client, 1024 + (n % 64) as u16),
    )
}

/// The numbers below `n`, a power of two, in an order without pattern.
fn shuffled(n: u32) -> impl Iterator<Item = u32> {
    (0..n).map(move |i| {
        let i = i.wrapping_mul(0x9e37_79b1) & (n - 1);
        (i ^ i >> (n.ilog2() / 2)).wrapping_mul(0x85eb_ca6b) & (n - 1)
    })
}

fn demux(c: &mut Criterion) {
    let mut group = c.benchmark_group("demux");
    for flows in [1 << 10, 1 << 20] {
        let mut table = FlowTable::new(flows as usize, 7);
        let connections: Vec<_> = (0..flows).map(|n| Connection { key: key(n) }).collect();
        for (id, connection) in connections.iter().enumerate() {
            table.insert(&connection.key, id as u32).expect("there is room");
        }
        let order: Vec<_> = shuffled(flows).collect();
        let keys: Vec<_> = order.iter().map(|n| key(*n)).collect();
        let absent: Vec<_> = order.iter().map(|n| key(n + flows)).collect();
        group.throughput(Throughput::Elements(flows.into()));
        group.bench_function(BenchmarkId::new("single", flows), |b| {
            b.iter(|| {
                for key in &keys {
                    black_box(table.lookup(key, |id| connections[id as usize].key == *key));
                }
            });
        });
        for (name, keys) in [("bulk", &keys), ("bulk, absent", &absent)] {
            group.bench_function(BenchmarkId::new(name, flows), |b| {
                let mut ids = [0; FlowTable::BURST];
                b.iter(|| {
                    for keys in keys.chunks_exact(FlowTable::BURST) {
                        let ids = table.guess(keys.iter().copied(), &mut ids);
                        ids.iter().for_each(|id| prefetch(&connections[*id as usize]));
                        for key in keys {
                            black_box(table.lookup(key, |id| connections[id as usize].key == *key));
                        }
                    }
                });
            });
        }
        group.bench_function(BenchmarkId::new("remove and insert", flows), |b| {
            b.iter(|| {
                for &n in &order {
                    let key = key(n);
                    table.remove(&key, n);
                    table.insert(&key, n).expect("there is room");
                }
            });
        });
    }
    group.finish();
}

/// Ticks of a retransmission timeout of 200 ms.
const RTO: u32 = 3052;

fn wheel(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel");
    for timers in [1 << 10, 1 << 20] {
        let ids: Vec<_> = shuffled(timers).collect();
        let armed = || {
            let mut wheel = Wheel::new(timers as usize, Tick::new(0));
            for &id in &ids {
                wheel.arm(id, Tick::new(RTO + id % 256));
            }
            wheel
        };
        group.throughput(Throughput::Elements(timers.into()));
        group.bench_function(BenchmarkId::new("arm", timers), |b| {
            let empty = || Wheel::new(timers as usize, Tick::new(0));
            b.iter_batched_ref(
                empty,
                |wheel| ids.iter().for_each(|&id| wheel.arm(id, Tick::new(RTO + id % 256))),
                BatchSize::PerIteration,
            );
        });
        group.bench_function(BenchmarkId::new("put off", timers), |b| {
            let mut wheel = armed();
            b.iter(|| ids.iter().for_each(|&id| wheel.arm(id, Tick::new(2 * RTO))));
        });
        group.bench_function(BenchmarkId::new("move down and fire", timers), |b| {
            b.iter_batched_ref(
                armed,
                |wheel| {
                    while wheel.next_deadline().is_some() {
                        black_box(wheel.pop_expired(Tick::new(2 * RTO)));
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("nothing due", |b| {
        let mut wheel = Wheel::new(2, Tick::new(0));
        wheel.arm(0, Tick::new(RTO));
        wheel.arm(1, Tick::new(1 << 20));
        b.iter(|| black_box(wheel.pop_expired(Tick::new(1))));
    });
    group.finish();
}

criterion_group!(benches, demux, wheel);
criterion_main!(benches);

//! What the route table costs with a million routes: lookups by number of flows, updates, the load.
//!
//! Where heap memory comes in small pages, address translation is a good part of the cost. The router
//! keeps its tables in huge pages, and so does `GLIBC_TUNABLES=glibc.malloc.hugetlb=2 cargo bench -p l2l3`.

#[path = "../tests/fib_support/mod.rs"]
mod fib_support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fib_support::{address, routes};
use l2l3::fib::{AdjacencyId, FibLimits, FibWriter};
use sim::Rng;
use wire::Ipv4Prefix;

const ROUTES: usize = 1_000_000;
const LIMITS: FibLimits = FibLimits { routes: ROUTES, groups: 1 << 15 };
const BURST: usize = 64;
/// Updates timed at a stretch.
const BATCH: usize = 20_000;

type Route = (Ipv4Prefix, AdjacencyId);

fn empty() -> FibWriter {
    FibWriter::new(LIMITS).expect("memory for the table")
}

fn lookup(c: &mut Criterion, writer: &FibWriter, routes: &[Route]) {
    let mut group = c.benchmark_group("lookup");
    let fib = writer.fib();
    for flows in [1 << 12, 1 << 16, 1 << 20] {
        let mut rng = Rng::new(7);
        let addrs: Vec<u32> = (0..flows).map(|_| address(routes, &mut rng)).collect();
        let mut out = [AdjacencyId::NONE; BURST];
        group.throughput(Throughput::Elements(flows as u64));
        group.bench_function(BenchmarkId::new("bulk", flows), |b| {
            b.iter(|| {
                for burst in addrs.chunks_exact(BURST) {
                    fib.lookup_bulk(burst, &mut out);
                    black_box(&out);
                }
            });
        });
        group.bench_function(BenchmarkId::new("single", flows), |b| {
            b.iter(|| addrs.iter().fold(0, |sum, &addr| sum ^ fib.lookup(addr).0));
        });
    }
    group.finish();
}

/// Times `timed` on as many routes as asked, undoing each batch with `untimed`.
fn stretches(
    iters: u64,
    routes: &[Route],
    writer: &mut FibWriter,
    untimed: fn(&mut FibWriter, &[Route]),
    timed: fn(&mut FibWriter, &[Route]),
    before: bool,
) -> Duration {
    let mut spent = Duration::ZERO;
    let mut left = iters as usize;
    for batch in routes.chunks(BATCH).cycle() {
        let batch = &batch[..left.min(batch.len())];
        if before {
            untimed(writer, batch);
        }
        let start = Instant::now();
        timed(writer, batch);
        spent += start.elapsed();
        if !before {
            untimed(writer, batch);
        }
        left -= batch.len();
        if left == 0 {
            break;
        }
    }
    spent
}

fn add(writer: &mut FibWriter, routes: &[Route]) {
    for (prefix, to) in routes {
        let _ = black_box(writer.insert(*prefix, *to));
    }
}

fn delete(writer: &mut FibWriter, routes: &[Route]) {
    for (prefix, _) in routes {
        black_box(writer.remove(*prefix));
    }
    writer.reclaim(u64::MAX);
}

/// Leads each route to another adjacency.
fn change(writer: &mut FibWriter, routes: &[Route]) {
    for (prefix, to) in routes {
        let _ = black_box(writer.insert(*prefix, AdjacencyId(to.0 ^ 0x1000)));
    }
}

fn update(c: &mut Criterion, writer: &mut FibWriter, routes: &[Route]) {
    let mut group = c.benchmark_group("update");
    group.throughput(Throughput::Elements(1));
    group.bench_function("add", |b| b.iter_custom(|n| stretches(n, routes, writer, delete, add, true)));
    group.bench_function("delete", |b| b.iter_custom(|n| stretches(n, routes, writer, add, delete, false)));
    group.bench_function("change", |b| b.iter_custom(|n| stretches(n, routes, writer, add, change, false)));
    group.finish();
}

fn load(c: &mut Criterion, routes: &[Route]) {
    let mut group = c.benchmark_group("load");
    group.sample_size(10).throughput(Throughput::Elements(routes.len() as u64));
    let mut sorted = routes.to_vec();
    sorted.sort_unstable();
    for (name, routes) in [("unsorted", routes), ("sorted", &sorted)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                empty,
                |mut writer| {
                    assert_eq!(writer.load(routes.iter().copied()), Ok(routes.len()));
                    writer
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn lpm(c: &mut Criterion) {
    let routes = routes(ROUTES, 1000, &mut Rng::new(2));
    let mut writer = empty();
    assert_eq!(writer.load(routes.iter().copied()), Ok(ROUTES));
    lookup(c, &writer, &routes);
    update(c, &mut writer, &routes);
    drop(writer);
    load(c, &routes);
}

criterion_group!(benches, lpm);
criterion_main!(benches);

//! What the straight path costs a packet: bursts of 64 from memory, by instruction set, to one port and to two.
//!
//! The frames are simulated and lie in the cache: the figures compare builds and instruction sets. `bench/peers` has
//! those of the router.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use l2l3::adjacency::{Adjacency, AdjacencyTable};
use l2l3::cycles::Stopwatch;
use l2l3::fib::{AdjacencyId, FibLimits, FibWriter};
use l2l3::forward::{BATCH_SLACK, HeaderFilter, Isa, Tables, forward_burst};
use l2l3::interface::{IfaceId, Interface, PortId};
use sim::builder::{self, Flow};
use sim::{SimFrame, SimPool};
use wire::{Frame, Ipv4Prefix, MacAddr, RxFlags};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PORTS: u16 = 2;
const BURST: usize = 64;

fn tables() -> (FibWriter, AdjacencyTable) {
    let mut fib = FibWriter::new(FibLimits { routes: 16, groups: 1 }).expect("memory for the table");
    let mut adjacencies = AdjacencyTable::new(64, 0, PORTS);
    for port in 0..PORTS {
        let iface = Interface {
            id: IfaceId(port),
            port: PortId(port),
            vlan: None,
            mac: OURS,
            mtu: 1500,
            addresses: vec![],
            proxy_arp: false,
        };
        let id = AdjacencyId(10 + u32::from(port));
        let gateway = Ipv4Addr::new(10, port as u8, 0, 1);
        adjacencies.set(id, Adjacency::forward(&iface, gateway, MacAddr([2, 0, 0, 0, 2, port as u8])));
        fib.insert(Ipv4Prefix::new(gateway, 16), id).expect("room for the route");
    }
    (fib, adjacencies)
}

/// A burst whose frames go to one port, or to two in no order.
fn burst(pool: &SimPool, ports: u32) -> Vec<SimFrame> {
    let frame = |n: u32| {
        let port = n.wrapping_mul(0x9e37_79b1) >> 16 & (ports - 1);
        let flow = Flow {
            src_mac: MacAddr([2, 0, 0, 0, 9, 9]),
            dst_mac: OURS,
            src: Ipv4Addr::new(192, 0, 2, 1),
            dst: Ipv4Addr::new(10, port as u8, 0, n as u8),
            src_port: 1000,
            dst_port: 2000,
        };
        let header = builder::Ipv4::new(flow.src, flow.dst, builder::UDP);
        let mut frame = pool.frame_from(&builder::padded(flow.frame(&header, &[0; 18]))).expect("a frame");
        frame.set_rx_flags(RxFlags(RxFlags::IP_CKSUM_GOOD));
        frame
    };
    (0..BURST as u32).map(frame).collect()
}

fn straight_path(c: &mut Criterion) {
    let (writer, adjacencies) = tables();
    let fib = writer.fib();
    let (filter, pool, watch) = (HeaderFilter::new(OURS), SimPool::new(1024, 2048), Stopwatch::new(|| 0));
    let mut group = c.benchmark_group("forward");
    group.throughput(Throughput::Elements(BURST as u64));
    for (name, ports) in [("one port", 1), ("two ports", 2)] {
        for isa in Isa::available() {
            let mut frames = burst(&pool, ports);
            let fresh: Vec<Vec<u8>> = frames.iter().map(SimFrame::to_vec).collect();
            let batch = || Vec::with_capacity(BURST + BATCH_SLACK);
            let (mut tx, mut rest): (Vec<Vec<SimFrame>>, _) =
                ((0..PORTS).map(|_| batch()).collect(), batch());
            group.bench_function(BenchmarkId::new(name, isa.name()), |b| {
                b.iter_custom(|rounds| {
                    let mut taken = Duration::ZERO;
                    for _ in 0..rounds {
                        for (frame, fresh) in frames.iter_mut().zip(&fresh) {
                            frame.data_mut()[..34].copy_from_slice(&fresh[..34]);
                        }
                        let tables = Tables {
                            filter: &filter,
                            fib: fib.view(),
                            adjacencies: &adjacencies,
                            watch: &watch,
                        };
                        let start = Instant::now();
                        forward_burst(isa, tables, &mut frames, black_box(&mut tx), &mut rest);
                        taken += start.elapsed();
                        assert!(rest.is_empty(), "all are plain");
                        tx.iter_mut().for_each(|batch| frames.append(batch));
                    }
                    taken
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, straight_path);
criterion_main!(benches);

//! What the checks of headers, the checksum and the Toeplitz hash cost a packet.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire::{IntoBytes, Ipv4Header, Ipv4View, RssKey, TcpView, Toeplitz, checksum, ipv4};

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for len in [64_usize, 576, 1460, 9000] {
        let bytes = vec![0x5a; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(len.to_string(), |b| b.iter(|| checksum::checksum(black_box(&bytes))));
    }
    group.finish();

    let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1));
    let mut header = Ipv4Header::new(src, dst, ipv4::protocol::UDP, 26);
    header.fill_checksum();
    c.bench_function("ipv4_header_ok", |b| b.iter(|| checksum::ipv4_header_ok(black_box(&header))));
}

fn parse(c: &mut Criterion) {
    let (src, dst) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1));
    let mut header = Ipv4Header::new(src, dst, ipv4::protocol::TCP, 32);
    header.fill_checksum();
    // Behind it a TCP header of 32 bytes.
    let mut packet = header.as_bytes().to_vec();
    packet.extend([0; 12]);
    packet.extend([0x80, 0x10, 1, 0, 0, 0, 0, 0]);
    packet.extend([1; 12]);
    let mut group = c.benchmark_group("parse");
    group.bench_function("ipv4", |b| {
        b.iter(|| {
            let packet = black_box(&packet);
            assert!(black_box(Ipv4View::parse(packet, packet.len())).is_ok());
        });
    });
    group.bench_function("tcp", |b| {
        b.iter(|| assert!(black_box(TcpView::parse(black_box(&packet[Ipv4Header::LEN..]))).is_some()));
    });
    group.finish();
}

fn toeplitz(c: &mut Criterion) {
    let hash = Toeplitz::new(&RssKey::SYMMETRIC);
    let flows: Vec<(u32, u16)> = (0..1024_u32).map(|i| (i.wrapping_mul(0x9e37_79b9), i as u16)).collect();
    let mut group = c.benchmark_group("toeplitz");
    group.throughput(Throughput::Elements(flows.len() as u64));
    group.bench_function("hash_v4_l4", |b| {
        b.iter(|| {
            let hashes = black_box(&flows).iter().map(|(a, p)| hash.hash_v4_l4(*a, !*a, *p, 80));
            hashes.fold(0, |all, hash| all ^ hash)
        });
    });
    group.finish();
}

criterion_group!(benches, parse, checksums, toeplitz);
criterion_main!(benches);

//! What a segment costs: its header read and written, and the scoreboard of what is in flight (RFC 6675) with
//! nothing lost, with one hole, and with every other segment missing.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddrV4};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tcp::congestion::{Algorithm, Congestion};
use tcp::packet::{EcnField, IpFields, Packet, SegmentOut};
use tcp::pool::Pool;
use tcp::recovery::{Ack, Flight, Limits, Recovery, Transmit};
use tcp::time::Micros;
use tcp::{Checksum, Options, SackBlocks, Segment, SeqNumber, SeqRange, Timestamps, UnscaledWindow};
use wire::{Ipv4Header, TcpFlags};

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);
const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 40_000);

/// An ACK with timestamps, as most segments have them.
fn packet() -> Packet<'static, &'static [u8]> {
    let options = Options { timestamps: Some(Timestamps { value: 7, echo: 8 }), ..Options::default() };
    let segment = SegmentOut {
        src: CLIENT,
        dst: SERVER,
        seq: SeqNumber::new(1000),
        ack: Some(SeqNumber::new(2000)),
        flags: TcpFlags::default(),
        window: UnscaledWindow(500),
        options,
        ecn: EcnField::NotEct,
    };
    Packet { segment, ip: IpFields { ttl: 64, tos: 0, dont_fragment: true }, payload: None }
}

fn headers(c: &mut Criterion) {
    let packet = packet();
    let mut written = [0; Packet::<&[u8]>::MAX_HEADERS];
    c.bench_function("header build", |b| {
        b.iter(|| black_box(&packet).write_headers(black_box(&mut written)));
    });
    let segment = &written[Ipv4Header::LEN..packet.headers_len()];
    let mut group = c.benchmark_group("segment parse");
    for (name, checksum) in [("checksum known", Checksum::KnownGood), ("checksum verified", Checksum::Verify)]
    {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut bytes = black_box(segment);
                let parsed = Segment::parse(*CLIENT.ip(), *SERVER.ip(), &mut bytes, checksum);
                assert!(black_box(parsed).is_ok());
            });
        });
    }
    group.finish();
}

/// Bytes of data in a segment.
const MSS: u32 = 1448;
const LIMITS: Limits = Limits {
    min_rto: 200_000,
    initial_rto: 1_000_000,
    max_rto: 120_000_000,
    max_ack_delay: 50_000,
    min_probe: 2_000,
};

/// A sender with `segments` in flight.
struct Sender {
    recovery: Recovery,
    flights: Pool<Flight>,
    congestion: Congestion,
}

fn range(from: u32, to: u32) -> SeqRange {
    SeqRange { start: SeqNumber::new(from * MSS), end: SeqNumber::new(to * MSS) }
}

fn sender(segments: u32) -> Sender {
    let mut flights = Pool::new(segments as usize);
    let mut recovery = Recovery::new(SeqNumber::ZERO);
    recovery.agree(true, MSS as u16);
    for n in 0..segments {
        let sent =
            recovery.on_transmit(&mut flights, &LIMITS, range(n, n + 1), Micros::new(1), Transmit::New);
        sent.expect("there is room");
    }
    Sender { recovery, flights, congestion: Congestion::new(Algorithm::Cubic, MSS as u16, false) }
}

/// Takes an ACK of the first `acked` segments, with at most these two SACK blocks.
fn take(sender: &mut Sender, now: u32, acked: u32, sacked: [Option<SeqRange>; 2]) {
    let mut sack = SackBlocks::NONE;
    sacked.into_iter().flatten().for_each(|block| sack.push(block));
    let ack = Ack {
        now: Micros::new(now),
        ack: SeqNumber::new(acked * MSS),
        sack: &sack,
        echo_rtt: Some(20_000),
        duplicate: !sack.is_empty(),
        ece: false,
        sack_permitted: true,
        cwnd_limited: true,
        can_send_new: true,
        mss: MSS,
    };
    black_box(sender.recovery.on_ack(&mut sender.flights, &mut sender.congestion, &LIMITS, &ack));
}

fn scoreboard(c: &mut Criterion) {
    let mut group = c.benchmark_group("scoreboard");
    for segments in [64, 1024_u32] {
        group.throughput(Throughput::Elements(segments.into()));
        let mut bench = |name: &str, each: fn(&mut Sender, u32)| {
            group.bench_function(BenchmarkId::new(name, segments), |b| {
                let all = |sender: &mut Sender| (0..segments).for_each(|n| each(sender, n));
                b.iter_batched_ref(|| sender(segments), all, BatchSize::SmallInput);
            });
        };
        bench("in order", |sender, n| take(sender, 20_000 + n, n + 1, [None, None]));
        bench("one hole", |sender, n| {
            take(sender, 20_000 + n, 0, [(n > 0).then(|| range(1, n + 1)), None]);
        });
        // The newest block, and the one before it.
        bench("every other", |sender, n| {
            if n % 2 == 1 {
                take(sender, 20_000 + n, 0, [Some(range(n, n + 1)), (n > 2).then(|| range(n - 2, n - 1))]);
            }
        });
    }
    group.finish();
}

criterion_group!(benches, headers, scoreboard);
criterion_main!(benches);

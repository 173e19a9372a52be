//! Documents such as the tools write them, with made-up numbers from a seed.

#![expect(clippy::unwrap_used, reason = "what is made up here is well-formed")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use report::measure::Measure;
use report::{Document, Environment, Fact, Finding, Kind, Run, Span, Weight, measure};

/// Numbers that look like chance (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Between 0 and 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of the standard normal distribution (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.share(), self.share());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

pub(crate) const NDR: Measure = Measure::higher("NDR", "frames/s");
pub(crate) const PDR: Measure = Measure::higher("PDR 0.5 %", "frames/s");
pub(crate) const CYCLES: Measure = Measure::lower("cycles per packet", "cycles/packet");
pub(crate) const REQUESTS: Measure = Measure::higher("requests", "requests/s");

/// Latencies around `middle` ns with a tail.
pub(crate) fn latencies(chance: &mut Chance, middle: f64, count: u32) -> Histogram<u64> {
    let mut values = Histogram::new_with_bounds(1, 10_000_000_000, 3).unwrap();
    for _ in 0..count {
        let tail = if chance.share() < 0.002 { 8.0 * chance.share() } else { 0.0 };
        values.record((middle * (0.12 * chance.normal() + tail).exp()) as u64 + 1).unwrap();
    }
    values
}

/// A machine that nobody should be proud of.
pub(crate) fn environment() -> Environment {
    let fact =
        |name: &str, value: &str, decisive| Fact { name: name.to_owned(), value: value.to_owned(), decisive };
    let finding = |weight, what: &str, why: &str, mend: &str| Finding {
        weight,
        what: what.to_owned(),
        why: why.to_owned(),
        mend: mend.to_owned(),
    };
    Environment {
        facts: vec![
            fact("CPU", "AMD EPYC 9B45", true),
            fact("cores", "2", true),
            fact("cores used", "1", true),
            fact("kernel", "Linux 6.18.44", true),
            fact("DPDK", "DPDK 22.11.11", true),
            fact("device", "net_ring0, net_ring", true),
            fact("load average", "0.31 before, 1.20 after", false),
        ],
        findings: vec![
            finding(
                Weight::Caution,
                "virtual devices: net_ring0",
                "software moves the packets: the figures hold for it, not for a network card",
                "name a card's PCI address as the device; sluice doctor lists them",
            ),
            finding(
                Weight::Caution,
                "cores that are not isolated: 1",
                "the scheduler may run anything there: latency has outliers of milliseconds, and rates spread",
                "add isolcpus=1 nohz_full=1 rcu_nocbs=1 to GRUB_CMDLINE_LINUX in /etc/default/grub, then: \
                 update-grub && reboot",
            ),
            finding(Weight::Good, "packets are in huge pages", "", ""),
            finding(Weight::Good, "the time stamp counter is constant and never stops", "", ""),
        ],
    }
}

fn document(kind: Kind, command: &str) -> Document {
    let mut document = Document::new(kind, "sluice 0.1.0").on(environment());
    document.command = command.split(' ').map(str::to_owned).collect();
    document.started = UNIX_EPOCH + Duration::from_secs(1_795_620_000);
    document
}

/// Five trials of ten seconds at a rate, with a stall in the middle of each.
pub(crate) fn forward(seed: u64) -> Document {
    let mut chance = Chance(seed);
    let mut document =
        document(Kind::Forward, "sluice bench forward --rate 10M --size 64 --dut testpmd:macswap")
            .parameter("frame size", "64 B")
            .parameter("rate", "10 M frames/s")
            .parameter("flows", "65 536")
            .parameter("trial", "10 s");
    for trial in 0..5 {
        let start = f64::from(trial) * 12.0;
        document = document.run(forward_run(&mut chance, start));
    }
    document.concluded(true, ["The counters of both sides agree in all 5 trials.".to_owned()])
}

fn forward_run(chance: &mut Chance, start: f64) -> Run {
    let mut all = Histogram::new_with_bounds(1, 10_000_000_000, 3).unwrap();
    let mut run = Run::default();
    let (mut lost, mut received) = (0.0, 0.0);
    for second in 0..20 {
        let is_stall = second == 11;
        let values = latencies(chance, if is_stall { 41_000.0 } else { 8_700.0 }, 4000);
        all.add(&values).unwrap();
        let gone = if is_stall { (20_000.0 * chance.share()).floor() } else { 0.0 };
        let back = 5_000_000.0 - gone;
        lost += gone;
        received += back;
        run = run.interval(
            Span::new(start + f64::from(second) * 0.5, 0.5)
                .with(measure::SENT, 5_000_000.0)
                .with(measure::RECEIVED, back)
                .with(measure::LOST, gone)
                .with(measure::REORDERED, 0.0)
                .histogram("latency", "ns", values),
        );
    }
    run.whole = Span::new(start, 10.0)
        .with(measure::OFFERED_RATE, 10_000_000.0)
        .with(measure::RECEIVED_RATE, received / 10.0)
        .with(measure::OFFERED, 100_000_000.0)
        .with(measure::SENT, 100_000_000.0)
        .with(measure::RECEIVED, received)
        .with(measure::LOST, lost)
        .with(measure::LOSS, lost / 1e8)
        .with(measure::DUPLICATED, 0.0)
        .with(measure::REORDERED, 0.0)
        .with(measure::CORRUPTED, 0.0)
        .histogram("latency", "ns", all);
    run.dropped("rx missed", "The device had no room: it was not polled in time.", lost as u64).dropped(
        "no mbuf",
        "The pool of packet buffers was empty.",
        (lost * 0.2) as u64,
    )
}

/// Three searches that close in on 14.2 M.
pub(crate) fn search(seed: u64) -> Document {
    let mut chance = Chance(seed);
    let mut document = document(Kind::ThroughputSearch, "sluice bench forward --search --size 64")
        .parameter("frame size", "64 B")
        .parameter("goals", "NDR 0 %, PDR 0.5 %")
        .parameter("width", "0.5 %");
    for repetition in 0..3 {
        let capacity = 14.2e6 * (1.0 + 0.002 * chance.normal());
        let start = f64::from(repetition) * 30.0;
        let (mut low, mut high, mut run) = (1e6, 20e6, Run::default());
        let mut at = start;
        for step in 0..14 {
            let rate = if step == 0 { high } else { f64::midpoint(low, high) };
            let loss = if rate > capacity { 1.0 - capacity / rate } else { 0.0 };
            run = run.trial(Span::new(at, 1.0).with(measure::OFFERED_RATE, rate).with(measure::LOSS, loss));
            if loss > 0.0 {
                high = rate
            } else {
                low = rate
            }
            at += 1.2;
        }
        run.whole = Span::new(start, at - start).with(NDR, low).with(PDR, low * 1.005);
        document = document.run(run);
    }
    document
        .concluded(false, ["NDR is 14.2 M frames/s, less than the 14.5 M that were asked for.".to_owned()])
}

/// Throughput and latency for the sizes of RFC 2544.
pub(crate) fn rfc2544(seed: u64) -> Document {
    let mut chance = Chance(seed);
    let mut document =
        document(Kind::Rfc2544, "sluice bench forward --rfc2544").parameter("link", "10 G bit/s");
    for repetition in 0..3 {
        for size in [64, 128, 256, 512, 1024, 1280, 1518_u32] {
            let line = 10e9 / f64::from(8 * (size + 20));
            let rate = line.min(8.9e6) * (1.0 - 0.001 * chance.share());
            let whole = Span::new(f64::from(repetition * 60), 60.0)
                .with(Measure::higher("throughput", "frames/s"), rate)
                .histogram("latency", "ns", latencies(&mut chance, 6000.0 + f64::from(size), 20_000));
            document = document.run(Run::new(whole).under(format!("{size} B")));
        }
    }
    document
}

/// Requests to a web server, whose rate is `speed` times the usual.
pub(crate) fn load(seed: u64, speed: f64) -> Document {
    let mut chance = Chance(seed);
    let mut document = document(Kind::Load, "sluice load http://10.0.0.2/ --connections 64 --rate 200k")
        .parameter("connections", "64")
        .parameter("arrivals", "Poisson, 200 k/s");
    for repetition in 0..5 {
        let rate = 198_000.0 * speed * (1.0 + 0.004 * chance.normal());
        let whole = Span::new(f64::from(repetition) * 10.0, 10.0)
            .with(REQUESTS, rate)
            .with(Measure::plain("responses", "responses"), (rate * 10.0).floor())
            .with(Measure::lower("errors", "ratio"), 0.0)
            .with(Measure::plain("received bytes", "bytes"), (rate * 2380.0).floor())
            .histogram("latency", "ns", latencies(&mut chance, 220_000.0 / speed, 50_000));
        document = document.run(Run::new(whole));
    }
    document
}

/// Forwarders beside each other.
pub(crate) fn comparison(seed: u64) -> Document {
    let mut chance = Chance(seed);
    let mut document = document(Kind::Comparison, "peers --rounds 5").parameter("rounds", 5);
    let rows = [
        ("testpmd io", [7.8, 8.0, 7.9, 8.4]),
        ("l3fwd LPM", [15.3, 27.4, 38.4, 56.6]),
        ("sluice", [14.4, 18.2, 24.7, 32.5]),
        ("sluice avx2", [13.9, 18.3, 24.7, 31.4]),
    ];
    for round in 0..5 {
        for (subject, cycles) in rows {
            for (scenario, cycles) in
                ["2 routes, grouped", "2 routes, mixed", "1M / 64k", "1M / 1M"].iter().zip(cycles)
            {
                let whole = Span::new(f64::from(round) * 60.0, 2.0)
                    .with(CYCLES, cycles * (1.0 + 0.03 * chance.normal()));
                document = document.run(Run::new(whole).of(subject).under(*scenario));
            }
        }
    }
    document
}

/// One of each kind, with its name.
pub(crate) fn all() -> Vec<(&'static str, Document)> {
    vec![
        ("forward", forward(1)),
        ("search", search(2)),
        ("rfc2544", rfc2544(3)),
        ("load", load(4, 1.0)),
        ("comparison", comparison(5)),
    ]
}

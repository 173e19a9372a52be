//! A sender and a toy receiver over a simulated link, in virtual time, from a seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use super::tests::{MSS, Reno, take_ack};
use super::*;
use crate::SackBlocks;

/// Of both directions, in us unless said otherwise.
#[derive(Clone, Debug)]
struct Link {
    rtt: u32,
    /// Probabilities in 1/1000.
    loss: u32,
    ack_loss: u32,
    duplication: u32,
    reordering: u32,
    /// How much longer a reordered segment takes, at most.
    lateness: u32,
    /// The time that a segment takes at the bottleneck, and how many wait there at most.
    service: u32,
    queue: u32,
    /// Segments of the stream that are lost when first sent.
    dropped: Range<u32>,
    /// The probability that a segment is marked with congestion (ECN), in 1/1000.
    marking: u32,
    /// The link stands still in this time.
    outage: Range<u64>,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            rtt: 20_000,
            loss: 0,
            ack_loss: 0,
            duplication: 0,
            reordering: 0,
            lateness: 0,
            service: 10,
            queue: u32::MAX,
            dropped: 0..0,
            marking: 0,
            outage: 0..0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Options {
    sack: bool,
    timestamps: bool,
    /// The receiver acknowledges every second segment, or waits for 40 ms.
    delayed_acks: bool,
}

const SACK: Options = Options { sack: true, timestamps: false, delayed_acks: false };
const RENO: Options = Options { sack: false, timestamps: false, delayed_acks: false };

/// splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u32) -> u32 {
        if n == 0 { 0 } else { (self.next() % u64::from(n)) as u32 }
    }

    fn hits(&mut self, per_mille: u32) -> bool {
        self.below(1000) < per_mille
    }
}

/// Places in the stream count in bytes from the initial send sequence number on.
type Place = u64;

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Packet {
    /// The bytes, when they were sent, and the marks CE and CWR.
    Data(Place, Place, u64, [bool; 2]),
    /// What is acknowledged, the SACK blocks, the timestamp that is echoed, and whether congestion is.
    Ack(Place, Vec<(Place, Place)>, u64, bool),
    DelayedAck,
}

/// What the receiver holds: ranges in order and apart.
#[derive(Default)]
struct Receiver {
    ack: Place,
    held: Vec<(Place, Place)>,
    /// Places in `held` by their last change, newest first.
    recent: Vec<Place>,
    unacknowledged: u32,
    echo: u64,
    duplicates: u32,
    congestion: bool,
}

impl Receiver {
    /// Takes a segment; gives the ACK for it, unless that may wait.
    fn on_data(&mut self, start: Place, end: Place, sent: u64, delay: bool) -> Option<Packet> {
        let had = end <= self.ack || self.held.iter().any(|held| held.0 <= start && end <= held.1);
        let in_order = start <= self.ack;
        if in_order || self.unacknowledged == 0 {
            self.echo = if self.unacknowledged == 0 { sent } else { self.echo };
        }
        self.duplicates += u32::from(had);
        let holes = !self.held.is_empty();
        self.held.push((start, end));
        self.held.sort_unstable();
        let mut merged: Vec<(Place, Place)> = Vec::new();
        for (start, end) in self.held.drain(..) {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        if let Some(first) = merged.first().copied().filter(|first| first.0 <= self.ack) {
            self.ack = self.ack.max(first.1);
            merged.remove(0);
        }
        self.held = merged;
        self.recent.insert(0, start);
        self.recent.truncate(16);
        self.unacknowledged += 1;
        let wait = delay && in_order && !had && !holes && self.unacknowledged < 2;
        (!wait).then(|| self.acknowledge(had.then_some((start, end))))
    }

    fn acknowledge(&mut self, duplicate: Option<(Place, Place)>) -> Packet {
        self.unacknowledged = 0;
        let mut blocks: Vec<(Place, Place)> = Vec::new();
        for place in &self.recent {
            let block = self.held.iter().find(|held| held.0 <= *place && *place < held.1);
            blocks.extend(block.filter(|block| !blocks.contains(block)));
        }
        if let Some(duplicate) = duplicate {
            let around = blocks.iter().position(|block| block.0 <= duplicate.0 && duplicate.1 <= block.1);
            if let Some(at) = around {
                blocks[..=at].rotate_right(1);
            }
            blocks.insert(0, duplicate);
        }
        blocks.truncate(3);
        Packet::Ack(self.ack, blocks, self.echo, self.congestion)
    }
}

/// One transfer.
struct Sim {
    link: Link,
    options: Options,
    chance: Chance,
    recovery: Recovery,
    flights: Pool<Flight>,
    cc: Reno,
    limits: Limits,
    receiver: Receiver,
    packets: BinaryHeap<Reverse<(u64, u64, Packet)>>,
    now: u64,
    order: u64,
    iss: u32,
    una: Place,
    nxt: Place,
    size: Place,
    busy_until: u64,
    /// The window stopped the last output.
    limited: bool,
    /// The next new data carries CWR.
    tell_reduced: bool,
    report: Report,
}

#[derive(Clone, Copy, Debug, Default)]
struct Report {
    /// How long the transfer took, from its first byte to the ACK of its last, in us.
    finished: u64,
    /// A round trip and a little, in us.
    rtt: u64,
    transmissions: u32,
    retransmits: u32,
    drops: u32,
    network_duplicates: u32,
    duplicates: u32,
    timeouts: u32,
    undone: u32,
    reductions: u32,
}

impl Report {
    /// Segments that were sent again although they had arrived or were to arrive.
    fn spurious(&self) -> u32 {
        self.duplicates.saturating_sub(self.network_duplicates)
    }
}

impl Sim {
    fn new(seed: u64, link: Link, options: Options, segments: u64) -> Self {
        let mut chance = Chance(seed);
        let iss = chance.next() as u32;
        Sim {
            link,
            options,
            chance,
            recovery: Recovery::new(SeqNumber::new(iss)),
            flights: Pool::new(100_000),
            cc: Reno::new(10),
            limits: Limits::default(),
            receiver: Receiver::default(),
            packets: BinaryHeap::new(),
            now: u64::from(u32::MAX) - 500_000,
            order: 0,
            iss,
            una: 0,
            nxt: 0,
            size: segments * u64::from(MSS),
            busy_until: 0,
            limited: false,
            tell_reduced: false,
            report: Report::default(),
        }
    }

    fn micros(&self) -> Micros {
        Micros::new(self.now as u32)
    }

    fn seq(&self, place: Place) -> SeqNumber {
        SeqNumber::new(self.iss.wrapping_add(place as u32))
    }

    fn place(&self, seq: SeqNumber) -> Place {
        self.una + u64::from(seq.distance_from(self.seq(self.una)))
    }

    /// Runs the transfer to its end.
    fn run(mut self) -> Report {
        // The round trip of the handshake.
        let syn = SeqRange { start: self.seq(0) - 1, end: self.seq(0) };
        let (micros, rtt) = (self.micros(), u64::from(self.link.rtt));
        self.recovery.on_transmit(&mut self.flights, &self.limits, syn, micros, Transmit::New).unwrap();
        self.now += rtt;
        self.on_ack(0, &[], self.now - rtt, false);
        self.cc = Reno::new(10);
        let start = self.now;
        self.output();
        while self.una < self.size {
            let due = self.recovery.deadline().map(|(at, _)| self.now + u64::from(at.since(self.micros())));
            let due = due.expect("a timer runs while something is outstanding");
            match self.packets.pop() {
                Some(Reverse((at, _, packet))) if at <= due => {
                    self.now = at;
                    self.on_packet(packet);
                }
                packet => {
                    self.packets.extend(packet);
                    self.now = due;
                    self.on_timeout();
                }
            }
            self.output();
            self.check();
            assert!(self.now - start < 4_000_000_000, "{self:?}");
        }
        assert_eq!((self.flights.used(), self.recovery.deadline()), (0, None));
        self.report.finished = self.now - start;
        self.report.retransmits = self.recovery.retransmits();
        self.report.duplicates = self.receiver.duplicates;
        self.report.undone = self.cc.calls[3];
        self.report.reductions = self.cc.calls[0];
        self.report
    }

    fn check(&self) {
        let recovery = &self.recovery;
        let outstanding = recovery.board.in_flight() + recovery.lost() + recovery.sacked();
        assert_eq!(u64::from(outstanding), self.nxt - self.una, "{self:?}");
        let wait = recovery.deadline().map_or(0, |(at, _)| at.since(self.micros()));
        assert!(wait <= recovery.rto(&self.limits), "{self:?}");
        assert!(recovery.deadline().is_some() == (outstanding > 0), "{self:?}");
        // What is lost never waits for a timeout.
        assert!(recovery.lost() == 0 || recovery.in_flight() > 0, "{self:?}");
    }

    fn on_packet(&mut self, packet: Packet) {
        match packet {
            Packet::Data(start, end, sent, [marked, reduced]) => {
                self.receiver.congestion = (self.receiver.congestion && !reduced) || marked;
                match self.receiver.on_data(start, end, sent, self.options.delayed_acks) {
                    Some(ack) => self.send_ack(ack),
                    None => self.deliver(40_000, Packet::DelayedAck),
                }
            }
            Packet::DelayedAck if self.receiver.unacknowledged > 0 => {
                let ack = self.receiver.acknowledge(None);
                self.send_ack(ack);
            }
            Packet::DelayedAck => {}
            Packet::Ack(ack, blocks, echo, ece) => self.on_ack(ack, &blocks, echo, ece),
        }
    }

    fn send_ack(&mut self, ack: Packet) {
        if !self.chance.hits(self.link.ack_loss) {
            self.deliver(u64::from(self.link.rtt / 2), ack);
        }
    }

    fn deliver(&mut self, delay: u64, packet: Packet) {
        let mut at = self.now + delay;
        if self.link.outage.contains(&at) {
            at = self.link.outage.end;
        }
        self.order += 1;
        self.packets.push(Reverse((at, self.order, packet)));
    }

    fn on_ack(&mut self, ack: Place, blocks: &[(Place, Place)], echo: u64, ece: bool) {
        let mut sack = SackBlocks::NONE;
        for (start, end) in blocks {
            sack.push(SeqRange { start: self.seq(*start), end: self.seq(*end) });
        }
        let ack = Ack {
            now: self.micros(),
            ack: self.seq(ack),
            sack: &sack,
            // A timestamp clock of a millisecond.
            echo_rtt: self.options.timestamps.then_some((self.now - echo / 1000 * 1000) as u32),
            duplicate: ack == self.una && self.una < self.nxt,
            ece,
            sack_permitted: self.options.sack,
            cwnd_limited: self.limited,
            can_send_new: self.nxt < self.size,
            mss: MSS,
        };
        let outcome = take_ack(&mut self.recovery, &mut self.flights, &mut self.cc, &self.limits, &ack);
        self.tell_reduced |= outcome.reduced;
        // The SYN lies before the first byte.
        self.una += u64::from(outcome.acked).min(self.nxt - self.una);
    }

    fn on_timeout(&mut self) {
        let now = self.micros();
        match self.recovery.on_timeout(&mut self.flights, &mut self.cc, &self.limits, now, MSS) {
            Timeout::Probe if self.nxt < self.size => {
                self.transmit(self.nxt, self.nxt + u64::from(MSS), Transmit::Probe);
            }
            Timeout::Probe => {
                let last = self.recovery.last_sent(&self.flights, MSS).expect("something is out");
                let end = self.place(last.end);
                self.transmit(end - u64::from(last.len()), end, Transmit::Probe);
            }
            Timeout::Retransmission => self.report.timeouts += 1,
            Timeout::Nothing | Timeout::Lost { .. } => {}
        }
    }

    fn output(&mut self) {
        loop {
            let lost = self.recovery.next_retransmit(&self.flights, MSS);
            self.limited = self.recovery.send_quota(&self.cc, MSS) < MSS;
            if self.limited {
                return;
            }
            match lost {
                Some(lost) => {
                    self.transmit(self.place(lost.start), self.place(lost.end), Transmit::Retransmit)
                }
                None if self.nxt < self.size => {
                    self.transmit(self.nxt, self.nxt + u64::from(MSS), Transmit::New);
                }
                None => return,
            }
        }
    }

    fn transmit(&mut self, start: Place, end: Place, why: Transmit) {
        let range = SeqRange { start: self.seq(start), end: self.seq(end) };
        let now = self.micros();
        self.recovery.on_transmit(&mut self.flights, &self.limits, range, now, why).unwrap();
        let first = start == self.nxt;
        self.nxt = self.nxt.max(end);
        self.report.transmissions += 1;
        let reduced = first && std::mem::take(&mut self.tell_reduced);
        let marks = [self.chance.hits(self.link.marking), reduced];
        let service = u64::from(self.link.service);
        let waiting = self.busy_until.saturating_sub(self.now) / service.max(1);
        let dropped = first && self.link.dropped.contains(&((start / u64::from(MSS)) as u32));
        if self.chance.hits(self.link.loss) || dropped || waiting >= u64::from(self.link.queue) {
            self.report.drops += 1;
            return;
        }
        self.busy_until = self.busy_until.max(self.now) + service;
        let mut delay = self.busy_until - self.now + u64::from(self.link.rtt / 2);
        if self.chance.hits(self.link.reordering) {
            delay += u64::from(self.chance.below(self.link.lateness));
        }
        self.deliver(delay, Packet::Data(start, end, self.now, marks));
        if self.chance.hits(self.link.duplication) {
            self.report.network_duplicates += 1;
            self.deliver(delay + 7, Packet::Data(start, end, self.now, marks));
        }
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Sim { link, options, recovery, cc, now, una, nxt, size, report, .. } = self;
        write!(f, "{link:?} {options:?} {now} {una} {nxt} {size} {cc:?} {report:?} {recovery:?}")
    }
}

/// Runs transfers from many seeds; a failure names its seed.
fn over_seeds(seeds: u64, make: impl Fn(u64, &mut Chance) -> Sim) -> Vec<Report> {
    let run = |seed: u64| {
        let sim = make(seed, &mut Chance(seed ^ 0x5eed));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sim.run()));
        result.unwrap_or_else(|_| panic!("seed {seed}"))
    };
    (0..seeds).map(run).collect()
}

fn sum(reports: &[Report], what: impl Fn(&Report) -> u32) -> u32 {
    reports.iter().map(what).sum()
}

/// The value that 99 of 100 are not above.
fn p99(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() * 99 / 100]
}

/// Whatever the link does, everything arrives, with a timer always running and never too far ahead.
#[test]
fn everything_is_delivered() {
    over_seeds(3000, |seed, chance| {
        let link = Link {
            rtt: 200 + chance.below(200_000),
            loss: chance.below(300),
            ack_loss: chance.below(300),
            duplication: chance.below(100),
            reordering: chance.below(300),
            marking: chance.below(100),
            lateness: chance.below(100_000),
            service: 1 + chance.below(500),
            queue: 3 + chance.below(50),
            ..Link::default()
        };
        let [sack, timestamps, delayed_acks] = [1, 2, 4].map(|bit| seed & bit != 0);
        Sim::new(seed, link, Options { sack, timestamps, delayed_acks }, 1 + u64::from(chance.below(150)))
    });
}

/// Segments that are late by up to half a round trip are not sent again, but for a few.
#[test]
fn reordering_is_told_from_loss() {
    for lateness in [1_000, 5_000, 10_000] {
        let link = Link { reordering: 50, lateness, ..Link::default() };
        let reports = over_seeds(200, |seed, _| Sim::new(seed, link.clone(), SACK, 1000));
        let (sent, spurious) = (sum(&reports, |r| r.transmissions), sum(&reports, Report::spurious));
        assert!(spurious * 100 < sent, "{lateness}: {spurious} of {sent}");
        assert_eq!(sum(&reports, |r| r.timeouts), 0);
    }
}

/// Only what is lost is sent again, and without a timeout.
#[test]
fn losses_are_repaired() {
    let random = Link { loss: 10, ..Link::default() };
    // Slow start runs over a short queue, and half a window is lost.
    let overshoot = Link { service: 200, queue: 100, ..Link::default() };
    // The same with a thousand holes, which are not looked at for every ACK.
    let large = Link { service: 10, queue: 1000, ..Link::default() };
    for (link, segments, seeds) in [(random, 1000, 100), (overshoot, 2000, 100), (large, 15_000, 1)] {
        let reports = over_seeds(seeds, |seed, _| Sim::new(seed, link.clone(), SACK, segments));
        let drops = sum(&reports, |r| r.drops);
        assert!(drops > 500 && sum(&reports, |r| r.retransmits).abs_diff(drops) <= drops / 100);
        assert!(sum(&reports, |r| r.timeouts) <= 1);
    }
}

/// Without SACK one hole is repaired a round trip, and a lost retransmission needs a timeout.
#[test]
fn losses_are_repaired_without_sack() {
    let reports = over_seeds(100, |seed, _| Sim::new(seed, Link { loss: 5, ..Link::default() }, RENO, 500));
    let (drops, timeouts) = (sum(&reports, |r| r.drops), sum(&reports, |r| r.timeouts));
    assert!(drops > 200 && timeouts * 10 < drops, "{drops} {timeouts}");
    assert!(p99(reports.iter().map(|r| r.finished).collect()) < 1_500_000);
}

/// The link stands still for longer than the timeout: one segment is sent again, and the window comes back.
#[test]
fn a_spike_of_delay_costs_one_segment() {
    for (name, options) in [("SACK", SACK), ("Reno", RENO)] {
        // The transfer begins at 4294487 ms.
        let link = Link { outage: 4_294_600_000..4_294_900_000, ..Link::default() };
        for report in over_seeds(20, |seed, _| Sim::new(seed, link.clone(), options, 2000)) {
            let Report { timeouts, retransmits, undone, reductions, .. } = report;
            assert_eq!((timeouts, retransmits, undone, reductions), (1, 1, 1, 0), "{name}");
        }
    }
}

/// The end of 10 segments is lost. In round trips: one for what arrives, two until the probe, one for the
/// probe, and the rest as fast as PRR allows, which doubles each time. A single segment's ACK may be delayed.
#[test]
fn lost_tails_do_not_wait_for_a_timeout() {
    for (lost, round_trips, more) in [(1, 4, 50_000), (2, 5, 0), (4, 6, 0), (8, 7, 0), (10, 7, 0)] {
        let reports = over_seeds(200, |seed, chance| {
            let rtt = 10_000 + chance.below(90_000);
            let link = Link { rtt, dropped: 10 - lost..10, ..Link::default() };
            let mut sim = Sim::new(seed, link, SACK, 10);
            // So that all transfers can be compared.
            sim.report.rtt = u64::from(rtt) + 500;
            sim
        });
        let late = |r: &Report| r.finished.saturating_sub(more) * 100 / r.rtt;
        let p99 = p99(reports.iter().map(late).collect());
        assert!(p99 <= round_trips * 100, "{lost} lost: {p99}% of a round trip");
        assert_eq!(sum(&reports, |r| r.timeouts), 0, "{lost}");
        assert_eq!(sum(&reports, |r| r.retransmits), lost * 200);
    }
}

//! A link that loses, repeats, delays, reorders and damages frames, by a seed.
//!
//! A frame's way: the sender's queue (bounded, drained at the link's rate), then the wire (loss,
//! corruption, delay and jitter, lateness, duplication). Jitter alone never reorders; a frame that
//! is chosen for reordering comes late, and those behind it overtake.
//!
//! Each kind of impairment draws from its own fork of the generator: turning one up leaves the
//! others' choices as they were.

use std::collections::VecDeque;
use std::time::Duration;

use wire::{Frame, Instant};

use crate::clock::EventQueue;
use crate::frame::SimFrame;
use crate::rng::Rng;

/// Bytes that Ethernet adds on the wire: preamble 8, frame check sequence 4, interframe gap 12.
const OVERHEAD: usize = 24;
/// The shortest frame without its check sequence.
const SHORTEST: usize = 60;

/// What a link does to frames. The default is a perfect one: instant and unlimited.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// Bits a second on the wire, Ethernet's overhead included; `None` is without limit.
    pub rate: Option<u64>,
    /// Time that every frame is on its way.
    pub delay: Duration,
    /// Up to as much more, evenly spread.
    pub jitter: Duration,
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that a frame is lost right after another was: losses come in runs.
    pub loss_run: f64,
    /// Probability that a frame arrives twice.
    pub duplication: f64,
    /// Probability that a frame comes late by `reorder_delay`.
    pub reordering: f64,
    /// How late a reordered frame is.
    pub reorder_delay: Duration,
    /// Probability that one to three bits of a frame are inverted, all in one word of 16: damage that the
    /// Internet checksum always shows.
    pub corruption: f64,
    /// Frames that wait for the link, the one on its way out included; more are dropped. Without a
    /// rate none wait.
    pub queue_limit: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        LinkConfig {
            rate: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            loss_run: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            reorder_delay: Duration::ZERO,
            corruption: 0.0,
            queue_limit: 1000,
        }
    }
}

/// What a link did: `pushed + duplicated = delivered + lost + overflowed` + those in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Frames put in.
    pub pushed: u64,
    /// Frames that came out.
    pub delivered: u64,
    /// Bytes of the frames that came out.
    pub delivered_bytes: u64,
    /// Frames dropped by chance.
    pub lost: u64,
    /// Frames dropped since the queue was full.
    pub overflowed: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Copies that could not be made, since the pool was empty.
    pub duplicates_missed: u64,
    /// Frames damaged.
    pub corrupted: u64,
    /// Frames that came out after one that was put in later.
    pub reordered: u64,
}

/// One direction of a link.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    chance: Chance,
    stats: LinkStats,
    /// When each frame in the queue has left it, oldest first.
    departures: VecDeque<Instant>,
    /// The latest arrival of a frame that was not to be late.
    last_arrival: Instant,
    /// Frames on their way, with the number of their push.
    flight: EventQueue<(u64, SimFrame)>,
    /// The highest number that came out.
    newest: u64,
    /// The last frame was lost.
    losing: bool,
}

#[derive(Debug)]
struct Chance {
    loss: Rng,
    duplication: Rng,
    reordering: Rng,
    corruption: Rng,
    jitter: Rng,
}

impl Link {
    /// A link that draws from forks of `rng`: give each link another label or seed.
    pub fn new(config: LinkConfig, rng: &Rng) -> Self {
        let chance = Chance {
            loss: rng.fork("loss"),
            duplication: rng.fork("duplication"),
            reordering: rng.fork("reordering"),
            corruption: rng.fork("corruption"),
            jitter: rng.fork("jitter"),
        };
        Link {
            config,
            chance,
            stats: LinkStats::default(),
            departures: VecDeque::new(),
            last_arrival: Instant::ZERO,
            flight: EventQueue::new(),
            newest: 0,
            losing: false,
        }
    }

    /// Changes what the link does to frames pushed from now on.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// What the link does.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// What the link did so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Frames on their way.
    pub fn in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Sends a frame at `now`, which must not run backwards.
    pub fn push(&mut self, now: Instant, mut frame: SimFrame) {
        let number = self.stats.pushed;
        self.stats.pushed += 1;
        let Some(departure) = self.enqueue(now, frame.len()) else {
            self.stats.overflowed += 1;
            return;
        };
        let loss = if self.losing { self.config.loss.max(self.config.loss_run) } else { self.config.loss };
        self.losing = self.chance.loss.chance(loss);
        if self.losing {
            self.stats.lost += 1;
            return;
        }
        if self.chance.corruption.chance(self.config.corruption) && !frame.is_empty() {
            self.corrupt(&mut frame);
        }
        let copy = self.copy(&frame);
        let arrival = self.arrival(departure);
        self.flight.schedule(arrival, (number, frame));
        if let Some(copy) = copy {
            self.flight.schedule(arrival, (number, copy));
        }
    }

    /// Appends the frames that have arrived by `now` to `out`; gives how many.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<SimFrame>) -> usize {
        let before = out.len();
        while let Some((_, (number, frame))) = self.flight.pop_due(now) {
            self.stats.delivered += 1;
            self.stats.delivered_bytes += frame.len() as u64;
            self.stats.reordered += u64::from(number < self.newest);
            self.newest = self.newest.max(number);
            out.push(frame);
        }
        out.len() - before
    }

    /// When the next frame arrives.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.flight.next_deadline()
    }

    /// When a frame of `len` bytes that comes at `now` has left the queue; `None` if that is full.
    fn enqueue(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        while self.departures.front().is_some_and(|at| *at <= now) {
            self.departures.pop_front();
        }
        if self.departures.len() >= self.config.queue_limit {
            return None;
        }
        let start = self.departures.back().copied().unwrap_or(now);
        let bits = (len.max(SHORTEST) + OVERHEAD) as u128 * 8;
        let nanos = (bits * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
        let departure = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.departures.push_back(departure);
        Some(departure)
    }

    fn corrupt(&mut self, frame: &mut SimFrame) {
        let chance = &mut self.chance.corruption;
        let word = chance.index(frame.len().div_ceil(2)) * 16;
        // The first lies within the frame even where that ends in the middle of the word.
        let mut bits = [chance.index(8), chance.index(16), chance.index(16)].map(|bit| word + bit);
        bits.sort_unstable();
        for (i, bit) in bits.into_iter().enumerate() {
            if i == 0 || bits[i - 1] != bit {
                frame.flip_bit(bit);
            }
        }
        self.stats.corrupted += 1;
    }

    fn copy(&mut self, frame: &SimFrame) -> Option<SimFrame> {
        if !self.chance.duplication.chance(self.config.duplication) {
            return None;
        }
        let copy = frame.duplicate();
        match copy {
            Some(_) => self.stats.duplicated += 1,
            None => self.stats.duplicates_missed += 1,
        }
        copy
    }

    fn arrival(&mut self, departure: Instant) -> Instant {
        let jitter = u64::try_from(self.config.jitter.as_nanos()).unwrap_or(u64::MAX);
        let jitter = self.chance.jitter.range(0..jitter.saturating_add(1));
        let arrival = (departure + self.config.delay + Duration::from_nanos(jitter)).max(self.last_arrival);
        if self.chance.reordering.chance(self.config.reordering) {
            return arrival + self.config.reorder_delay;
        }
        self.last_arrival = arrival;
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::SimPool;

    const SPACING: Duration = Duration::from_micros(10);

    /// Sends `count` numbered frames, one each 10 us, and gives what arrived, when.
    fn trace(config: LinkConfig, seed: u64, count: u32) -> (Vec<(Instant, Vec<u8>)>, LinkStats) {
        let pool = SimPool::new(4096, 128);
        let mut link = Link::new(config, &Rng::new(seed));
        let mut arrived = Vec::new();
        let mut now = Instant::ZERO;
        let mut out = Vec::new();
        let mut deliver = |link: &mut Link, until: Instant| {
            while let Some(at) = link.next_deadline().filter(|at| *at <= until) {
                assert!(link.poll(at, &mut out) > 0);
                arrived.extend(out.drain(..).map(|frame| (at, frame.to_vec())));
            }
        };
        for n in 0..count {
            deliver(&mut link, now);
            let mut bytes = [0; 100];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            link.push(now, pool.frame_from(&bytes).unwrap());
            now = now + SPACING;
        }
        deliver(&mut link, Instant::from_nanos(u64::MAX));
        assert_eq!(link.in_flight(), 0);
        let stats = link.stats();
        assert_eq!(stats.pushed + stats.duplicated, stats.delivered + stats.lost + stats.overflowed);
        assert_eq!(stats.delivered, arrived.len() as u64);
        assert!(pool.is_full());
        (arrived, stats)
    }

    fn bad_link() -> LinkConfig {
        LinkConfig {
            rate: Some(1_000_000_000),
            delay: Duration::from_millis(1),
            jitter: Duration::from_micros(100),
            loss: 0.05,
            loss_run: 0.0,
            duplication: 0.02,
            reordering: 0.03,
            reorder_delay: Duration::from_micros(500),
            corruption: 0.01,
            queue_limit: 100,
        }
    }

    #[test]
    fn same_seed_same_trace() {
        let (first, stats) = trace(bad_link(), 1, 5000);
        assert_eq!((first.clone(), stats), trace(bad_link(), 1, 5000));
        assert_ne!(first, trace(bad_link(), 2, 5000).0);
    }

    #[test]
    fn a_perfect_link_is_instant() {
        let (arrived, stats) = trace(LinkConfig::default(), 1, 100);
        assert_eq!(
            stats,
            LinkStats { pushed: 100, delivered: 100, delivered_bytes: 10_000, ..Default::default() }
        );
        for (n, (at, bytes)) in arrived.iter().enumerate() {
            assert_eq!(*at, Instant::from_nanos(n as u64 * 10_000));
            assert_eq!(bytes[..4], (n as u32).to_be_bytes());
        }
    }

    #[test]
    fn does_what_it_is_told_as_often_as_told() {
        let count = 50_000;
        let (arrived, stats) = trace(bad_link(), 3, count);
        let within = |name: &str, seen: u64, of: f64, p: f64| {
            let (mean, deviation) = (of * p, (of * p * (1.0 - p)).sqrt());
            assert!((seen as f64 - mean).abs() < 5.0 * deviation, "{name}: {seen}, expected {mean}");
        };
        let sent = f64::from(count);
        within("lost", stats.lost, sent, 0.05);
        let through = sent - stats.lost as f64;
        within("duplicated", stats.duplicated, through, 0.02);
        within("corrupted", stats.corrupted, through, 0.01);
        // A late frame is 500 us late, the next is 10 us behind: nearly all are overtaken. Copies count.
        within("reordered", stats.reordered, stats.delivered as f64, 0.03);
        assert_eq!((stats.overflowed, stats.duplicates_missed), (0, 0));
        let overtaken = arrived.windows(2).filter(|w| w[1].1[..4] < w[0].1[..4]).count();
        assert!(overtaken > 1000, "{overtaken}");
    }

    #[test]
    fn jitter_spreads_but_does_not_reorder() {
        let config = LinkConfig {
            delay: Duration::from_millis(2),
            jitter: Duration::from_micros(8),
            ..LinkConfig::default()
        };
        let (arrived, stats) = trace(config, 4, 10_000);
        assert_eq!(stats.reordered, 0);
        let extra = |n: usize| arrived[n].0.as_nanos() - n as u64 * 10_000 - 2_000_000;
        let (least, most) =
            (0..arrived.len()).map(extra).fold((u64::MAX, 0), |(a, b), x| (a.min(x), b.max(x)));
        assert!(least < 100 && (7_900..=8_000).contains(&most), "{least} to {most}");
        let mean = (0..arrived.len()).map(extra).sum::<u64>() / arrived.len() as u64;
        assert!((3_900..4_100).contains(&mean), "{mean}");
        // Jitter far above the spacing: order still holds.
        let config = LinkConfig { jitter: Duration::from_millis(1), ..LinkConfig::default() };
        assert_eq!(trace(config, 5, 1000).1.reordered, 0);
    }

    #[test]
    fn rate_and_queue() {
        // 100 bytes and 24 of overhead at 49.6 Mbit/s take 20 us: twice the spacing.
        let config = LinkConfig { rate: Some(49_600_000), queue_limit: 8, ..LinkConfig::default() };
        let (arrived, stats) = trace(config, 6, 1000);
        for pair in arrived.windows(2).take(400) {
            assert_eq!(pair[1].0 - pair[0].0, 2 * SPACING);
        }
        assert_eq!(arrived[0].0, Instant::ZERO + 2 * SPACING);
        assert!(stats.overflowed.abs_diff(500) < 10, "{stats:?}");
    }

    #[test]
    fn queue_limit_is_exact() {
        let pool = SimPool::new(16, 128);
        let config = LinkConfig { rate: Some(1_000_000), queue_limit: 3, ..LinkConfig::default() };
        let mut link = Link::new(config, &Rng::new(7));
        for _ in 0..5 {
            link.push(Instant::ZERO, pool.frame_from(&[0; 60]).unwrap());
        }
        assert_eq!((link.stats().overflowed, link.in_flight()), (2, 3));
        // 84 bytes at 1 Mbit/s: 672 us. One has left, so there is room for one.
        link.push(Instant::from_nanos(672_000), pool.frame_from(&[0; 60]).unwrap());
        link.push(Instant::from_nanos(672_000), pool.frame_from(&[0; 60]).unwrap());
        assert_eq!(link.stats().overflowed, 3);
    }

    #[test]
    fn every_overtaken_frame_counts() {
        let pool = SimPool::new(4, 128);
        let late =
            LinkConfig { reordering: 1.0, reorder_delay: Duration::from_micros(1), ..LinkConfig::default() };
        let mut link = Link::new(late, &Rng::new(8));
        link.push(Instant::ZERO, pool.frame_from(&[0]).unwrap());
        link.push(Instant::ZERO, pool.frame_from(&[1]).unwrap());
        link.set_config(LinkConfig::default());
        link.push(Instant::ZERO, pool.frame_from(&[2]).unwrap());
        let mut out = Vec::new();
        assert_eq!(link.poll(Instant::from_nanos(999), &mut out), 1);
        assert_eq!(link.poll(Instant::from_nanos(1000), &mut out), 2);
        assert_eq!(out.iter().map(|frame| frame.data()[0]).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(link.stats().reordered, 2);
    }

    #[test]
    fn corruption_inverts_a_few_bits_of_one_word() {
        let config = LinkConfig { corruption: 1.0, ..LinkConfig::default() };
        let (arrived, _) = trace(config, 8, 200);
        for (n, (_, bytes)) in arrived.iter().enumerate() {
            let mut sent = [0; 100];
            sent[..4].copy_from_slice(&(n as u32).to_be_bytes());
            let bits: u32 = bytes.iter().zip(sent).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert!((1..=3).contains(&bits));
            let words = bytes.chunks(2).zip(sent.chunks(2)).filter(|(a, b)| a != b).count();
            assert_eq!(words, 1);
        }
    }

    #[test]
    fn losses_come_in_runs() {
        let config = LinkConfig { loss: 0.01, loss_run: 0.75, ..LinkConfig::default() };
        let (arrived, stats) = trace(config, 10, 50_000);
        let number = |n: usize| u32::from_be_bytes(arrived[n].1[..4].try_into().unwrap());
        let gaps = (1..arrived.len()).filter(|n| number(*n) - number(n - 1) > 1).count();
        // A run is 1 / (1 - 0.75) frames long in the mean.
        let mean = stats.lost as f64 / gaps as f64;
        assert!((3.5..4.5).contains(&mean), "{mean}");
    }

    /// One impairment's choices do not hang on whether another is on.
    #[test]
    fn impairments_draw_apart() {
        let survivors = |duplication| {
            let config = LinkConfig { loss: 0.3, duplication, ..LinkConfig::default() };
            let mut frames: Vec<_> = trace(config, 9, 500).0.into_iter().map(|(_, bytes)| bytes).collect();
            frames.dedup();
            frames
        };
        assert_eq!(survivors(0.0), survivors(0.5));
    }
}

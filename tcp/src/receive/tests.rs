use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::pools::Block;
use super::*;
use crate::SeqRange;
use sim::Bytes;

const MSS: u16 = 1000;
const ROOMY: Limits =
    Limits { payloads: 4096, blocks: 4096, initial: 1 << 14, max: 1 << 20, payload_charge: 1 };

/// A receiver whose sequence numbers are told from `base`, and the bytes of the stream that it receives.
struct Rig {
    base: SeqNumber,
    pools: Pools<Bytes>,
    budget: Budget,
    receiver: Receiver,
}

/// The byte at a place of the stream.
fn byte(at: u32) -> u8 {
    (at ^ at >> 8).wrapping_mul(167) as u8
}

fn stream(at: u32, len: u32) -> Bytes {
    Bytes::new(&(at..at + len).map(byte).collect::<Vec<_>>())
}

impl Rig {
    /// It expects byte 0, which has sequence number `base`; its window is `limits.initial`.
    fn new(base: u32, limits: Limits, scale: u8) -> Self {
        let pools = Pools::new(limits);
        let base = SeqNumber::new(base);
        let offered = limits.initial.min(0xffff) as u16;
        let receiver = Receiver::new(pools.limits(), base, offered.into(), scale, Micros::new(0));
        Rig { base, pools, budget: Budget::new(1 << 30), receiver }
    }

    /// Byte 5000 is next, as in the examples of RFC 2018.
    fn at(next: u32) -> Self {
        let mut rig = Rig::new(0, ROOMY, 0);
        rig.base = SeqNumber::new(0xffff_f000);
        rig.receiver = Receiver::new(rig.pools.limits(), rig.base + next, 0x4000, 0, Micros::new(0));
        rig
    }

    fn data(&mut self, range: std::ops::Range<u32>) -> Outcome {
        self.segment(range.start, range.end - range.start, false)
    }

    fn segment(&mut self, at: u32, len: u32, fin: bool) -> Outcome {
        let outcome = self.receiver.on_data(&mut self.pools, self.base + at, stream(at, len), fin);
        self.check();
        outcome
    }

    fn offset(&self, seq: SeqNumber) -> u32 {
        seq.distance_from(self.base)
    }

    fn next(&self) -> u32 {
        self.offset(self.receiver.next())
    }

    fn sack(&mut self) -> Vec<(u32, u32)> {
        let blocks = self.receiver.sack_blocks(&self.pools);
        blocks.as_slice().iter().map(|b| (self.offset(b.start), self.offset(b.end))).collect()
    }

    fn window(&mut self) -> u32 {
        let field = self.receiver.window(self.pools.limits(), MSS);
        u32::from(field.0) << self.receiver.scale
    }

    fn read_all(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = self.receiver.read(&mut self.pools) {
            self.receiver.release(1, bytes.len() as u32);
            all.extend_from_slice(bytes.as_slice());
        }
        self.check();
        all
    }

    /// The chunks as the pool has them, by sequence number: in order up to RCV.NXT, then the blocks.
    fn check(&self) {
        let Rig { pools, receiver, .. } = self;
        let mut blocks: Vec<Block> = Vec::new();
        let data_end = if receiver.fin == Fin::Reached { receiver.fin_at } else { receiver.next };
        let (mut last_in_order, mut in_order_end) = (None, None);
        for (id, chunk) in pools.chunks.iter(&receiver.chunks) {
            let end = chunk.start + chunk.bytes.len() as u32;
            assert!(end.after(chunk.start), "no chunk is empty");
            if chunk.start.before(receiver.next) {
                assert!(in_order_end.is_none_or(|end| end == chunk.start) && blocks.is_empty());
                (last_in_order, in_order_end) = (Some(id), Some(end));
                continue;
            }
            match blocks.last_mut() {
                Some(block) if block.range.end == chunk.start => {
                    (block.range.end, block.last) = (end, id);
                }
                last => {
                    assert!(last.is_none_or(|block| block.range.end.before(chunk.start)));
                    assert!(receiver.next.before(chunk.start));
                    blocks.push(Block { range: SeqRange { start: chunk.start, end }, last: id });
                }
            }
        }
        assert_eq!(receiver.last_in_order, last_in_order);
        assert!(in_order_end.is_none_or(|end| end == data_end));
        let mut listed: Vec<_> = pools.blocks.iter(&receiver.blocks).map(|(_, block)| *block).collect();
        listed.sort_by_key(|block| block.range.start.distance_from(receiver.next));
        let plain = |blocks: &[Block]| blocks.iter().map(|b| (b.range, b.last)).collect::<Vec<_>>();
        assert_eq!(plain(&listed), plain(&blocks));
        assert_eq!(pools.chunks.used(), receiver.chunks.len());
    }
}

/// What arrives, the ACK that it makes, its SACK blocks.
type Step<'a> = ((u32, u32), u32, &'a [(u32, u32)]);

fn run(next: u32, steps: &[Step<'_>]) {
    let mut rig = Rig::at(next);
    for ((start, end), ack, sack) in steps {
        rig.data(*start..*end);
        assert_eq!((rig.next(), &rig.sack()[..]), (*ack, *sack), "{start}..{end} of {steps:?}");
    }
}

#[test]
fn the_examples_of_rfc_2018() {
    run(5000, &[((5000, 5500), 5500, &[]), ((5500, 6000), 6000, &[]), ((6000, 6500), 6500, &[])]);
    run(5000, &[((5500, 6000), 5000, &[(5500, 6000)]), ((6000, 6500), 5000, &[(5500, 6500)])]);
    let third: &[Step<'_>] = &[
        ((5000, 5500), 5500, &[]),
        ((6000, 6500), 5500, &[(6000, 6500)]),
        ((7000, 7500), 5500, &[(7000, 7500), (6000, 6500)]),
        ((8000, 8500), 5500, &[(8000, 8500), (7000, 7500), (6000, 6500)]),
        ((6500, 7000), 5500, &[(6000, 7500), (8000, 8500)]),
        ((5500, 6000), 7500, &[(8000, 8500)]),
    ];
    run(5000, third);
}

#[test]
fn the_examples_of_rfc_2883() {
    let examples: [(u32, &[Step<'_>]); 6] = [
        (
            3000,
            &[((3000, 3500), 3500, &[]), ((3500, 4000), 4000, &[]), ((3000, 3500), 4000, &[(3000, 3500)])],
        ),
        (
            3000,
            &[
                ((3000, 4000), 4000, &[]),
                ((4500, 5000), 4000, &[(4500, 5000)]),
                ((3000, 3500), 4000, &[(3000, 3500), (4500, 5000)]),
            ],
        ),
        (
            3500,
            &[
                ((3500, 4000), 4000, &[]),
                ((4500, 5000), 4000, &[(4500, 5000)]),
                ((5000, 5500), 4000, &[(4500, 5500)]),
                ((5000, 5500), 4000, &[(5000, 5500), (4500, 5500)]),
            ],
        ),
        (
            1000,
            &[
                ((2000, 2500), 1000, &[(2000, 2500)]),
                ((1000, 1500), 1500, &[(2000, 2500)]),
                ((1000, 2000), 2500, &[(1000, 1500)]),
            ],
        ),
        (
            1000,
            &[
                ((3000, 3500), 1000, &[(3000, 3500)]),
                ((1000, 1500), 1500, &[(3000, 3500)]),
                ((2000, 2500), 1500, &[(2000, 2500), (3000, 3500)]),
                ((1000, 2500), 2500, &[(1000, 1500), (3000, 3500)]),
            ],
        ),
        (
            1000,
            &[
                ((3500, 4000), 1000, &[(3500, 4000)]),
                ((1500, 2000), 1000, &[(1500, 2000), (3500, 4000)]),
                ((2500, 3000), 1000, &[(2500, 3000), (1500, 2000), (3500, 4000)]),
                ((1500, 3000), 1000, &[(1500, 2000), (1500, 3000), (3500, 4000)]),
            ],
        ),
    ];
    for (next, steps) in examples {
        run(next, steps);
    }
}

#[test]
fn a_duplicate_is_told_once() {
    let mut rig = Rig::at(1000);
    rig.data(1000..3000);
    rig.data(1000..1500);
    rig.data(1500..1700);
    assert_eq!(rig.sack(), [(1000, 1700)], "one after the other, told as one");
    rig.data(1000..1100);
    rig.data(2000..2100);
    assert_eq!(rig.sack(), [(2000, 2100)], "else the last");
    assert_eq!(rig.sack(), []);
}

#[test]
fn four_blocks_fit() {
    let mut rig = Rig::at(0);
    for n in 1..=5 {
        rig.data(n * 100..n * 100 + 50);
    }
    assert_eq!(rig.sack(), [(500, 550), (400, 450), (300, 350), (200, 250)]);
    rig.data(110..120);
    assert_eq!(rig.sack(), [(110, 120), (100, 150), (500, 550), (400, 450)]);
}

#[test]
fn how_segments_arrive() {
    let mut rig = Rig::at(0);
    // What arrives; how; bytes in order, duplicate; due at once?
    let cases = [
        (0..100, Arrival::InOrder, 100, 0, false),
        (50..150, Arrival::InOrder, 50, 50, true),
        (300..400, Arrival::OutOfOrder, 0, 0, true),
        (320..380, Arrival::Duplicate, 0, 60, true),
        (350..450, Arrival::OutOfOrder, 0, 50, true),
        (150..200, Arrival::FillsGap, 50, 0, true),
        (100..350, Arrival::FillsGap, 250, 150, true),
        (0..450, Arrival::Duplicate, 0, 450, true),
        (0x4000..0x4001, Arrival::Refused, 0, 0, true),
        (0x3fff..0x4001, Arrival::OutOfOrder, 0, 0, true),
    ];
    for (range, arrival, in_order, duplicate, ack_now) in cases {
        let got = rig.data(range.clone());
        assert_eq!(got, Outcome { arrival, in_order, duplicate, shed: 0, fin: false }, "{range:?}");
        assert_eq!(got.ack_now(), ack_now, "{range:?}");
    }
    assert_eq!((rig.next(), rig.sack()), (450, vec![(0, 450), (0x3fff, 0x4000)]));
}

/// Where a segment starts, and its bytes.
type Copied<'a> = (u32, &'a [u8]);

#[test]
fn the_first_copy_stays() {
    // Segments, and what is read in the end.
    let cases: [(&[Copied<'_>], &[u8]); 5] = [
        (&[(0, b"aaaa"), (2, b"bbbb")], b"aaaabb"),
        (&[(2, b"aaaa"), (0, b"bbbb")], b"bbaaaa"),
        (&[(2, b"aaaa"), (3, b"bbbb"), (0, b"cc")], b"ccaaaab"),
        (&[(1, b"aa"), (5, b"aa"), (2, b"bbbbb"), (0, b"c")], b"caabbbb"),
        // A block wholly inside gives way.
        (&[(2, b"aa"), (1, b"bbbb"), (0, b"cccc")], b"cbbbb"),
    ];
    for (segments, read) in cases {
        let mut rig = Rig::at(0);
        for (at, bytes) in segments {
            rig.receiver.on_data(&mut rig.pools, rig.base + *at, Bytes::new(bytes), false);
            rig.check();
        }
        assert_eq!(rig.read_all(), read, "{segments:?}");
    }
}

#[test]
fn the_fin() {
    let mut rig = Rig::at(0);
    let out_of_order = rig.segment(100, 50, true);
    assert_eq!((out_of_order.arrival, out_of_order.fin), (Arrival::OutOfOrder, false));
    assert_eq!(rig.segment(160, 0, true).arrival, Arrival::Refused, "a second end");
    assert_eq!(rig.data(150..200).arrival, Arrival::Refused, "data past the end");
    assert!(rig.segment(0, 120, false).fin);
    assert_eq!((rig.next(), rig.receiver.is_finished()), (151, false));
    assert_eq!(rig.segment(150, 0, true).arrival, Arrival::Duplicate);
    assert_eq!(rig.data(151..160).arrival, Arrival::Refused);
    assert_eq!((rig.read_all().len(), rig.next(), rig.receiver.is_finished()), (150, 151, true));

    let mut rig = Rig::at(0);
    rig.data(100..200);
    assert_eq!(rig.segment(150, 0, true).arrival, Arrival::Refused, "data lies past it");
    let past_window = rig.segment(200, 0x4000 - 200, true);
    assert_eq!((past_window.arrival, past_window.fin), (Arrival::OutOfOrder, false));
    assert!(!rig.data(0..100).fin, "there was no room for it");
    rig.read_all();
    assert_eq!(rig.window(), 0x4000);
    assert!(rig.segment(0x4000, 0, true).fin && rig.receiver.is_finished());
}

#[test]
fn small_segments_count_for_what_they_pin() {
    let limits = Limits { payload_charge: 256, ..ROOMY };
    let mut rig = Rig::new(0, limits, 0);
    for at in 0..64 {
        assert_eq!(rig.data(at..at + 1).in_order, 1);
    }
    assert_eq!(rig.data(64..65), Outcome { arrival: Arrival::Refused, shed: 1, ..Outcome::default() });
    assert_eq!(rig.window(), 0x4000 - 64, "what was promised stays so");
    let lent = rig.receiver.read(&mut rig.pools);
    assert_eq!(rig.data(64..65).in_order, 0, "lent ones are pinned too");
    drop(lent);
    rig.receiver.release(1, 1);
    assert_eq!(rig.data(64..65).in_order, 1);

    let mut rig = Rig::new(0, limits, 0);
    for at in (0..6000).step_by(100) {
        rig.data(at..at + 100);
    }
    rig.receiver.release(0, 6000);
    assert_eq!(rig.window(), 0x4000 - 6000, "the bytes were copied out, the payloads not dropped");
    while rig.receiver.read(&mut rig.pools).is_some() {
        rig.receiver.release(1, 0);
    }
    assert_eq!(rig.window(), 0x4000);
}

#[test]
fn what_is_next_finds_room() {
    let limits = Limits { payload_charge: ROOMY.initial / 8, ..ROOMY };
    let mut rig = Rig::new(0, limits, 0);
    for n in 1..=8 {
        rig.data(n * 100..n * 100 + 100);
    }
    assert_eq!(rig.data(2000..2001).shed, 1, "the newest goes first");
    assert_eq!(rig.sack(), [(100, 900)]);
    let filled = rig.data(0..100);
    assert_eq!((filled.in_order, filled.shed, rig.next()), (500, 4, 500));
    // One block of one chunk goes as a whole.
    for n in 6..=8 {
        rig.data(n * 100..n * 100 + 50);
    }
    let filled = rig.data(500..600);
    assert_eq!((filled.in_order, filled.shed, rig.sack()), (150, 1, vec![(700, 750)]));
    for n in 7..=10 {
        rig.data(n * 100 - 50..n * 100);
    }
    assert_eq!(rig.read_all().len(), rig.next() as usize);
}

/// Peers that send single bytes behind a gap, or in order to somebody who does not read; and one that means
/// well.
#[test]
fn those_who_hold_much_leave_something() {
    for (start, greedy) in [(1, 1000), (0, 50)] {
        let mut rig = Rig::new(0, Limits { payload_charge: 256, ..ROOMY }, 0);
        for _ in 0..greedy {
            let mut greedy = Receiver::new(rig.pools.limits(), rig.base, 0x4000, 0, Micros::new(0));
            for at in start..start + 64 {
                greedy.on_data(&mut rig.pools, rig.base + at, stream(at, 1), false);
            }
        }
        for at in (0..16).map(|n| n * 1000) {
            let outcome = rig.receiver.on_data(&mut rig.pools, rig.base + at, stream(at, 1000), false);
            assert_eq!(outcome.in_order, 1000, "{start}: {at}");
        }
    }
}

#[test]
fn blocks_are_bounded() {
    for (blocks, limit) in [(4096, 256), (3, 3)] {
        let mut rig = Rig::new(0, Limits { blocks, ..ROOMY }, 0);
        (1..=limit).for_each(|n| assert_eq!(rig.data(n * 4..n * 4 + 1).shed, 0));
        assert_eq!(rig.data(limit * 4 + 4..limit * 4 + 5).arrival, Arrival::Refused);
        assert_eq!(rig.data(limit * 4 + 1..limit * 4 + 9).arrival, Arrival::OutOfOrder, "an old one grows");
        assert_eq!(rig.data(limit * 4 - 1..limit * 4).arrival, Arrival::OutOfOrder, "to either side");
        assert_eq!(rig.data(0..4).in_order, 5);
    }
}

#[test]
fn the_window_opens_by_a_segment_or_half_the_buffer() {
    let mut rig = Rig::new(0, ROOMY, 0);
    for n in 0..16 {
        rig.data(n * 1024..n * 1024 + 1024);
    }
    assert_eq!(rig.window(), 0);
    assert_eq!(rig.data(0x4000..0x4001).arrival, Arrival::Refused, "a probe of the shut window");
    // Released in all, window, due at once?
    for (released, window, due) in
        [(999, 0, false), (1000, 1000, true), (1999, 1000, false), (3000, 3000, true)]
    {
        let step = released - (0x4000 - rig.receiver.used);
        rig.receiver.release(0, step);
        assert_eq!(rig.receiver.should_update_window(rig.pools.limits(), MSS), due, "{released}");
        assert_eq!(rig.window(), window, "{released}");
    }
    rig.receiver.release(0, 1000);
    assert!(!rig.receiver.should_update_window(rig.pools.limits(), MSS), "not twice as much");
    assert_eq!(rig.receiver.window(rig.pools.limits(), u16::MAX).0, 3000, "less than half the buffer");
    rig.receiver.release(0, 3000 + 0x2000 - 4000);
    assert_eq!(rig.receiver.window(rig.pools.limits(), u16::MAX).0, 3000 + 0x2000, "half");
}

#[test]
fn a_scaled_window_is_rounded() {
    let mut rig = Rig::new(0, ROOMY, 7);
    rig.data(0..1);
    assert_eq!(rig.window(), 0x4000, "up, to keep the edge");
    rig.read_all();
    rig.data(1..2001);
    assert_eq!(rig.window(), (0x4000u32 - 2000).next_multiple_of(128));
    // With each segment the edge could creep on.
    for at in (2001..0x8000).step_by(100) {
        rig.data(at..at + 100);
        rig.window();
    }
    assert!(rig.receiver.used < rig.receiver.limit + 100, "{:?}", rig.receiver);
}

#[test]
fn the_buffer_follows_the_rate() {
    /// Round trips of 10 ms in which a sender that doubles its rate, up to `path` bytes, is read at once.
    fn grown(path: u32, budget: u64, rtt_known: bool) -> (u32, u64) {
        let mut rig = Rig::new(0u32.wrapping_sub(100_000), ROOMY, 5);
        rig.budget = Budget::new(budget);
        if rtt_known {
            rig.receiver.on_rtt(10_000);
        }
        let (mut at, mut rate) = (0, 4000);
        for round in 1..40u32 {
            let end = at + rig.window().min(rate);
            while at < end {
                let len = (end - at).min(1400);
                assert_eq!(
                    rig.receiver.on_data(&mut rig.pools, rig.base + at, stream(at, len), false).in_order,
                    len
                );
                at += len;
            }
            rig.read_all();
            rig.receiver.tune(rig.pools.limits(), &mut rig.budget, Micros::new(round * 10_000));
            rate = (rate * 2).min(path);
        }
        let limit = rig.receiver.limit;
        rig.receiver.clear(&mut rig.pools, &mut rig.budget);
        assert!(rig.budget.take(budget as u32), "all came back");
        (limit, budget)
    }
    assert_eq!(grown(5000, 1 << 30, true).0, 1 << 14, "enough as it was");
    let (limit, _) = grown(200_000, 1 << 30, true);
    assert!((400_000..900_000).contains(&limit), "{limit}");
    assert_eq!(grown(10_000_000, 1 << 30, true).0, 1 << 20, "the maximum");
    assert_eq!(grown(10_000_000, 1 << 30, false).0, 1 << 20, "found without timestamps");
    assert!(grown(10_000_000, 100_000, true).0 < 120_000, "the budget");
}

/// The bytes of a stream, one flag for each that was received, and one number for when.
struct Twin {
    held: Vec<bool>,
    touched: Vec<usize>,
    next: usize,
    end: usize,
    fin: bool,
}

/// Runs of places that were received but cannot be read yet, the one touched last first. The FIN belongs to
/// the run before it.
fn islands(twin: &Twin) -> Vec<(u32, u32)> {
    let mut found: Vec<(usize, u32, u32)> = Vec::new();
    for at in (twin.next..twin.end).filter(|at| twin.held[*at]) {
        match found.last_mut() {
            Some((newest, _, end)) if *end == at as u32 => {
                *end += 1;
                *newest = twin.touched[at].max(*newest);
            }
            _ => found.push((twin.touched[at], at as u32, at as u32 + 1)),
        }
    }
    found.sort();
    let with_fin = |end: u32| end + u32::from(twin.fin && end as usize == twin.end);
    found.into_iter().rev().map(|(_, start, end)| (start, with_fin(end))).collect()
}

impl Twin {
    /// The outcome and the duplicate to report, if the receiver's window ends at `edge`.
    fn segment(
        &mut self,
        now: usize,
        range: (usize, usize),
        fin: bool,
        edge: usize,
        full: bool,
    ) -> (Outcome, Vec<(u32, u32)>) {
        let (start, end) = range;
        let mut outcome = Outcome::default();
        let (next, out_of_order) = (self.next, !islands(self).is_empty());
        self.fin |= fin && end < edge;
        let mut known: Vec<usize> = (start..end).filter(|at| self.held[*at]).collect();
        let window_end = if self.fin { self.end } else { edge.min(self.end) };
        let kept = start.max(next)..end.min(window_end);
        let is_new = kept.clone().any(|at| !self.held[at]);
        outcome.arrival = match () {
            () if end <= next => Arrival::Duplicate,
            () if kept.is_empty() => Arrival::Refused,
            () if kept.start > next && !is_new => Arrival::Duplicate,
            () if kept.start > next => Arrival::OutOfOrder,
            () if full => Arrival::Refused,
            () if out_of_order => Arrival::FillsGap,
            () => Arrival::InOrder,
        };
        if full && kept.start == next && !kept.is_empty() {
            // Nobody looked at it.
            outcome.shed = 1;
            known.retain(|at| *at < next);
        }
        outcome.duplicate = known.len() as u32;
        let run = known.iter().enumerate().take_while(|(i, at)| known[0] + i == **at).count();
        let duplicate = known.first().map(|at| (*at as u32, (at + run) as u32));
        if outcome.arrival != Arrival::Refused {
            kept.for_each(|at| (self.held[at], self.touched[at]) = (true, now));
        }
        while self.next < self.end && self.held[self.next] {
            self.next += 1;
        }
        outcome.in_order = (self.next - next) as u32;
        outcome.fin = self.fin && self.next == self.end;
        (outcome, duplicate.into_iter().collect())
    }
}

/// What happens to a receiver.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A segment from so far past (or before) RCV.NXT on.
    Segment {
        offset: i32,
        len: u32,
        fin: bool,
    },
    Read,
    Release,
    Window,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let near = prop_oneof![3 => Just(0i32), 3 => -3000..3000i32, 2 => (0..12i32).prop_map(|n| n * 500), 1 => 0..20_000i32];
    let len = prop_oneof![Just(500u32), 1..2500u32];
    let segment =
        (near, len, any::<bool>()).prop_map(|(offset, len, fin)| Event::Segment { offset, len, fin });
    let event = prop_oneof![8 => segment, 2 => Just(Event::Read), 2 => Just(Event::Release), 1 => Just(Event::Window)];
    vec(event, 0..150)
}

/// An application that reads and releases, and checks what it is given.
#[derive(Default)]
struct App {
    lent: VecDeque<u32>,
    read: u32,
}

impl App {
    fn read(&mut self, rig: &mut Rig) {
        if let Some(bytes) = rig.receiver.read(&mut rig.pools) {
            let want = stream(self.read, bytes.len() as u32);
            assert!(bytes.as_slice() == want.as_slice(), "other bytes at {}", self.read);
            self.lent.push_back(bytes.len() as u32);
            self.read += bytes.len() as u32;
        }
        rig.check();
    }

    fn release(&mut self, rig: &mut Rig) {
        if let Some(len) = self.lent.pop_front() {
            rig.receiver.release(1, len);
        }
    }

    /// What is read, released and the window while `receiver` goes on.
    fn handle(&mut self, rig: &mut Rig, event: Event) {
        match event {
            Event::Read => self.read(rig),
            Event::Release => self.release(rig),
            Event::Window => {
                let before = rig.receiver.edge;
                let window = rig.window();
                let edge = rig.receiver.edge;
                assert_eq!(rig.receiver.next() + window, edge);
                assert!(edge.at_or_after(before), "the right edge moved left");
                let unit = 1 << rig.receiver.scale;
                let promised = rig.receiver.used + window <= rig.receiver.limit;
                assert!(promised || edge.distance_from(before) < unit, "more was offered than there is");
            }
            Event::Segment { .. } => {}
        }
    }
}

fn place(rig: &Rig, offset: i32, len: u32, end: u32) -> (u32, u32) {
    let start = rig.next().min(end).saturating_add_signed(offset).min(end);
    (start, end.min(start + len))
}

proptest! {
    /// What is looked at is the stream from what was consumed up to what is in order, however the two
    /// take turns.
    #[test]
    fn looking_and_consuming(
        steps in vec((0..300u32, 1..100u32, 0..150u32), 1..40),
    ) {
        let mut rig = Rig::new(u32::MAX - 100, ROOMY, 0);
        let mut taken = 0;
        for (at, len, consume) in steps {
            rig.segment(at, len, false);
            rig.receiver.consume(&mut rig.pools, consume);
            rig.check();
            taken = (taken + consume).min(rig.next());
            let seen: Vec<u8> =
                rig.receiver.readable(&rig.pools).flat_map(|bytes| bytes.as_slice().to_vec()).collect();
            prop_assert_eq!(seen, (taken..rig.next()).map(byte).collect::<Vec<_>>());
            prop_assert_eq!(rig.receiver.used(), rig.next() - taken);
        }
    }
}

proptest! {
    /// With room enough, everything is as the twin has it.
    #[test]
    fn agrees_with_its_twin(
        base in prop_oneof![any::<u32>(), u32::MAX - 70_000..=u32::MAX],
        end in 0..50_000u32, scale in 0..6u8, events in events(),
    ) {
        let mut rig = Rig::new(base, ROOMY, scale);
        let len = end as usize;
        let mut twin = Twin { held: vec![false; len], touched: vec![0; len], next: 0, end: len, fin: false };
        let mut app = App::default();
        for (now, event) in events.into_iter().enumerate() {
            app.handle(&mut rig, event);
            let Event::Segment { offset, len, fin } = event else { continue };
            let (start, stop) = place(&rig, offset, len, end);
            if start == stop || twin.fin && twin.next == twin.end {
                continue;
            }
            let fin = fin && stop == end;
            let edge = rig.offset(rig.receiver.edge) as usize;
            let full = rig.receiver.used >= rig.receiver.limit;
            let got = rig.segment(start, stop - start, fin);
            let (want, mut blocks) = twin.segment(now, (start as usize, stop as usize), fin, edge, full);
            prop_assert_eq!(got, want, "{}..{} {}", start, stop, fin);
            prop_assert_eq!(rig.next() as usize, twin.next + usize::from(got.fin));
            blocks.extend(islands(&twin));
            blocks.truncate(4);
            prop_assert_eq!(rig.sack(), blocks);
        }
        while rig.receiver.is_readable() {
            app.read(&mut rig);
        }
        prop_assert_eq!(app.read as usize, twin.next);
        prop_assert_eq!(rig.receiver.is_finished(), twin.fin && twin.next == twin.end);
        rig.receiver.clear(&mut rig.pools, &mut rig.budget);
        prop_assert_eq!((rig.pools.chunks.used(), rig.pools.blocks.used()), (0, 0));
    }

    /// With too little room, what is told is held, and a sender that goes on gets all of it across.
    #[test]
    fn gets_on_without_room(
        base: u32, end in 0..50_000u32, scale in 0..6u8, payloads in 1..12usize, blocks in 0..4usize,
        payload_charge in prop_oneof![Just(1u32), 1000..4000u32], events in events(),
    ) {
        let limits = Limits { payloads, blocks, payload_charge, ..ROOMY };
        let mut rig = Rig::new(base, limits, scale);
        let mut app = App::default();
        for event in events {
            app.handle(&mut rig, event);
            let Event::Segment { offset, len, fin } = event else { continue };
            let (start, stop) = place(&rig, offset, len, end);
            rig.segment(start, stop - start, fin && stop == end);
            prop_assert!(rig.receiver.pinned() * u64::from(payload_charge) <= u64::from(rig.receiver.limit));
            let told = rig.sack();
            let held = |&(from, to): &(u32, u32)| {
                let (fin, at) = (rig.receiver.fin == Fin::Known, rig.receiver.fin_at);
                let within = |b: &Block| {
                    let end = rig.offset(b.range.end) + u32::from(fin && b.range.end == at);
                    rig.offset(b.range.start) <= from && to <= end
                };
                to <= rig.next() || rig.pools.blocks.iter(&rig.receiver.blocks).any(|(_, b)| within(b))
            };
            prop_assert!(told.iter().all(held), "{:?}", told);
        }
        // Now a segment after the other. None is lost; some are refused.
        for _ in 0..1000 {
            let (start, stop) = place(&rig, 0, 500, end);
            rig.window();
            rig.segment(start, stop - start, stop == end);
            app.read(&mut rig);
            while !app.lent.is_empty() {
                app.release(&mut rig);
            }
        }
        prop_assert!(rig.receiver.is_finished());
        prop_assert_eq!(app.read, end);
    }

    /// Copies that differ: each place is read once, as one of the copies that came.
    #[test]
    fn one_copy_of_each_byte(segments in vec((0..60u32, 1..20u32), 1..40)) {
        let mut rig = Rig::at(0);
        let mut copies = vec![Vec::new(); 80];
        let mut read = Vec::new();
        for (copy, (start, len)) in segments.into_iter().enumerate() {
            let bytes = Bytes::new(&vec![copy as u8; len as usize]);
            rig.receiver.on_data(&mut rig.pools, rig.base + start, bytes, false);
            rig.check();
            copies[start as usize..][..len as usize].iter_mut().for_each(|seen| seen.push(copy as u8));
            if copy % 3 == 0 {
                read.extend(rig.read_all());
            }
        }
        read.extend(rig.read_all());
        prop_assert_eq!(read.len(), rig.next() as usize);
        prop_assert!(read.iter().zip(&copies).all(|(byte, seen)| seen.contains(byte)));
    }
}

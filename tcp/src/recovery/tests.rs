//! Tables and scenes, by section of the RFCs. Segments are numbered from 0 and one MSS long.

use std::time::Duration;

use TimerKind::{Reordering as ReorderingTimer, Retransmission, TailLossProbe};

use proptest::prelude::*;

use super::*;
use crate::SackBlocks;
use crate::congestion::{AckSample, Signal, Window};

pub(super) const MSS: u32 = 1000;
const ISS: u32 = u32::MAX - 2500;
/// A round trip, in us.
const RTT: u32 = 20_000;

/// Reno (RFC 5681) without appropriate byte counting: what the tests need of congestion control.
#[derive(Clone, Debug)]
pub(super) struct Reno {
    window: Window,
    before: (u32, u32),
    /// Reductions, timeouts that were the first, all timeouts, undone reductions.
    pub(super) calls: [u32; 4],
}

impl Reno {
    pub(super) fn new(segments: u32) -> Self {
        let mut window = Window::new(MSS as u16, false);
        window.restore(segments * MSS, u32::MAX / 2);
        Reno { window, before: (window.cwnd(), window.ssthresh()), calls: [0; 4] }
    }

    fn halve(&mut self, flight_size: u32) {
        self.before = (self.window.cwnd(), self.window.ssthresh());
        self.window.restore(self.window.cwnd(), flight_size / 2);
    }
}

impl CongestionControl for Reno {
    fn window(&self) -> &Window {
        &self.window
    }

    fn window_mut(&mut self) -> &mut Window {
        &mut self.window
    }

    fn on_ack(&mut self, sample: &AckSample) {
        if sample.cwnd_limited {
            let (cwnd, slow_start) = (self.window.cwnd(), self.window.in_slow_start());
            let growth = if slow_start { sample.acked } else { MSS * sample.acked.min(cwnd) / cwnd.max(1) };
            self.window.set_cwnd(cwnd + growth);
        }
    }

    fn on_congestion(&mut self, _signal: Signal, flight_size: u32) {
        self.calls[0] += 1;
        self.halve(flight_size);
        self.window.set_cwnd(self.window.ssthresh());
    }

    fn on_timeout(&mut self, flight_size: u32, first: bool) {
        self.calls[1] += u32::from(first);
        self.calls[2] += 1;
        if first {
            self.halve(flight_size);
        }
        self.window.set_cwnd(MSS);
    }

    fn undo(&mut self) {
        self.calls[3] += 1;
        self.window.restore(self.window.cwnd().max(self.before.0), self.before.1);
    }

    fn on_idle(&mut self, _now: Micros, _idle: Duration, _rto: Duration) {}
}

/// A sender whose ACKs the test makes up.
struct Sender {
    recovery: Recovery,
    flights: Pool<Flight>,
    cc: Reno,
    limits: Limits,
    now: u32,
    /// Segments sent.
    next: u32,
    /// Segments that there are to send.
    data: u32,
    sack: bool,
    last_ack: u32,
}

/// Takes an ACK, and checks that the short way, if it is one for that, comes to what the long way does.
pub(super) fn take_ack(
    recovery: &mut Recovery,
    flights: &mut Pool<Flight>,
    cc: &mut Reno,
    limits: &Limits,
    ack: &Ack<'_>,
) -> AckOutcome {
    let plain = recovery.is_plain(flights, ack);
    let mut twin = plain.then(|| (recovery.clone(), flights.clone(), cc.clone()));
    let outcome = recovery.on_ack(flights, cc, limits, ack);
    if let Some((recovery_twin, flights_twin, cc_twin)) = &mut twin {
        (recovery_twin.sack_permitted, recovery_twin.mss) = (recovery.sack_permitted, recovery.mss);
        assert_eq!(outcome, recovery_twin.on_any_ack(flights_twin, cc_twin, limits, ack), "{ack:?}");
        assert_eq!(format!("{recovery:?} {cc:?}"), format!("{recovery_twin:?} {cc_twin:?}"), "{ack:?}");
        assert!(recovery.board.records(flights).eq(recovery_twin.board.records(flights_twin)));
    }
    outcome
}

fn seq(segment: u32) -> SeqNumber {
    SeqNumber::new(ISS.wrapping_add(segment * MSS))
}

fn range(start: u32, end: u32) -> SeqRange {
    SeqRange { start: seq(start), end: seq(end) }
}

impl Sender {
    /// With a window of `cwnd` segments, one round trip measured, and `sent` segments sent.
    fn new(sack: bool, cwnd: u32, sent: u32) -> Self {
        let mut sender = Sender::unmeasured(sack, cwnd);
        // A byte before segment 0, as a SYN.
        let syn = SeqRange { start: seq(0) - 1, end: seq(0) };
        let Sender { recovery, flights, limits, .. } = &mut sender;
        recovery.on_transmit(flights, limits, syn, Micros::new(0), Transmit::New).unwrap();
        sender.now += RTT;
        sender.ack(0, &[]);
        sender.cc = Reno::new(cwnd);
        sender.data = sent;
        assert_eq!(sender.output(), (0..sent).collect::<Vec<_>>());
        sender
    }

    fn unmeasured(sack: bool, cwnd: u32) -> Self {
        Sender {
            recovery: Recovery::new(seq(0) - 1),
            flights: Pool::new(2000),
            cc: Reno::new(cwnd),
            limits: Limits::default(),
            now: 0,
            next: 0,
            data: 0,
            sack,
            last_ack: u32::MAX,
        }
    }

    fn transmit(&mut self, segment: u32, why: Transmit) {
        let Sender { recovery, flights, limits, .. } = self;
        let range = range(segment, segment + 1);
        recovery.on_transmit(flights, limits, range, Micros::new(self.now), why).unwrap();
        self.next = self.next.max(segment + 1);
    }

    /// Sends what may be sent; gives the segments.
    fn output(&mut self) -> Vec<u32> {
        let mut out = Vec::new();
        while self.recovery.send_quota(&self.cc, MSS) >= MSS {
            let lost = self.recovery.next_retransmit(&self.flights, MSS);
            let segment = match lost {
                Some(lost) => lost.start.distance_from(seq(0)) / MSS,
                None if self.next < self.data => self.next,
                None => break,
            };
            self.transmit(segment, if lost.is_some() { Transmit::Retransmit } else { Transmit::New });
            out.push(segment);
        }
        out
    }

    fn ack_with(&mut self, ack: u32, blocks: &[(u32, u32)], change: impl FnOnce(&mut Ack<'_>)) -> AckOutcome {
        let mut sack = SackBlocks::NONE;
        blocks.iter().for_each(|(start, end)| sack.push(range(*start, *end)));
        let mut ack = Ack {
            now: Micros::new(self.now),
            ack: seq(ack),
            sack: &sack,
            echo_rtt: None,
            duplicate: std::mem::replace(&mut self.last_ack, ack) == ack && !self.recovery.board.is_empty(),
            ece: false,
            sack_permitted: self.sack,
            cwnd_limited: true,
            can_send_new: self.next < self.data,
            mss: MSS,
        };
        change(&mut ack);
        take_ack(&mut self.recovery, &mut self.flights, &mut self.cc, &self.limits, &ack)
    }

    fn ack(&mut self, ack: u32, blocks: &[(u32, u32)]) -> AckOutcome {
        self.ack_with(ack, blocks, |_| ())
    }

    /// Waits for the timer; gives how long that took, in us, and what came of it.
    fn wait(&mut self) -> (u32, Timeout) {
        let (deadline, _) = self.recovery.deadline().unwrap();
        let waited = deadline.since(Micros::new(self.now));
        self.now += waited;
        let Sender { recovery, flights, cc, limits, .. } = self;
        (waited, recovery.on_timeout(flights, cc, limits, Micros::new(self.now), MSS))
    }

    fn timer(&self) -> Option<(u32, TimerKind)> {
        self.recovery.deadline().map(|(at, kind)| (at.since(Micros::new(self.now)), kind))
    }
}

/// RFC 6298 section 5.
#[test]
fn the_retransmission_timer() {
    let mut sender = Sender::new(false, 10, 3);
    // SRTT 20 ms, RTTVAR 10 ms.
    assert_eq!(sender.timer(), Some((220_000, Retransmission)));
    sender.now += 15_000;
    assert_eq!(
        sender.timer(),
        Some((205_000, Retransmission)),
        "a duplicate or a transmission does not move it"
    );
    sender.transmit(3, Transmit::New);
    assert_eq!(sender.timer(), Some((205_000, Retransmission)));
    sender.now += 5_000;
    sender.ack(1, &[]);
    assert_eq!(sender.timer(), Some((220_000, Retransmission)), "new data acknowledged: anew");
    // It runs out three times: doubled each time.
    for (timeouts, next) in [(1, 440_000), (2, 880_000), (3, 1_760_000)] {
        assert_eq!(sender.wait().1, Timeout::Retransmission);
        assert_eq!(sender.recovery.timeouts(), timeouts);
        assert_eq!(sender.output(), [1]);
        assert_eq!(sender.timer(), Some((next, Retransmission)));
    }
    assert_eq!((sender.cc.cwnd(), sender.cc.calls), (MSS, [0, 1, 3, 0]));
    // Early is nothing.
    let Sender { recovery, flights, cc, limits, now, .. } = &mut sender;
    assert_eq!(recovery.on_timeout(flights, cc, limits, Micros::new(*now), MSS), Timeout::Nothing);
    assert_eq!(recovery.stalled_since(), Some(Micros::new(2 * RTT)));
    // Karn: what was sent again measures nothing, and the backoff stays; but the count starts over.
    let outcome = sender.ack(2, &[]);
    assert_eq!((outcome.rtt, sender.recovery.timeouts()), (None, 0));
    assert_eq!(sender.timer(), Some((1_760_000, Retransmission)));
    // With a timestamp it does.
    sender.output();
    let outcome = sender.ack_with(3, &[], |ack| ack.echo_rtt = Some(30_000));
    assert_eq!(outcome.rtt, Some(30_000));
    assert!(sender.recovery.rto(&sender.limits) < 300_000);
    sender.ack(4, &[]);
    assert_eq!((sender.timer(), sender.recovery.stalled_since()), (None, None));
}

/// If all has to be sent twice, progress takes the backoff back, one step an ACK after the first.
#[test]
fn the_backoff_wears_off() {
    let mut sender = Sender::new(false, 10, 5);
    for _ in 0..12 {
        assert_eq!((sender.wait().1, sender.output()), (Timeout::Retransmission, vec![0]));
    }
    let mut timeouts = Vec::new();
    for ack in 1..=4 {
        assert_eq!(sender.ack(ack, &[]).rtt, None);
        timeouts.push(sender.recovery.rto(&sender.limits) / 1000);
        sender.output();
    }
    assert_eq!(timeouts, [120_000, 112_640, 56_320, 28_160]);
}

/// RFC 6298 section 5.7.
#[test]
fn after_a_lost_syn_data_waits_3_s() {
    let mut sender = Sender::unmeasured(true, 10);
    sender.transmit(0, Transmit::New);
    assert_eq!(sender.wait(), (1_000_000, Timeout::Retransmission));
    assert_eq!(sender.output(), [0]);
    assert_eq!(sender.timer(), Some((2_000_000, Retransmission)));
    let outcome = sender.ack(1, &[]);
    assert_eq!((outcome.rtt, outcome.left_recovery), (None, true));
    sender.transmit(1, Transmit::New);
    assert_eq!(sender.timer(), Some((3_000_000, Retransmission)));
    sender.now += RTT;
    sender.ack(2, &[]);
    sender.transmit(2, Transmit::New);
    assert_eq!(sender.recovery.rto(&sender.limits), 220_000);
}

/// RFC 6582 section 3.2, with segments 0 and 3 of 10 lost; RFC 3042 for the first two duplicates.
#[test]
fn newreno() {
    let mut sender = Sender::new(false, 10, 10);
    sender.data = 20;
    sender.now += RTT;
    for new in [10, 11] {
        assert!(!sender.ack(0, &[]).entered_recovery);
        assert_eq!(sender.output(), [new], "limited transmit");
    }
    let outcome = sender.ack(0, &[]);
    assert!(outcome.entered_recovery && outcome.reduced);
    assert_eq!((outcome.delivered, sender.cc.ssthresh()), (MSS, 5 * MSS));
    assert_eq!(sender.output(), [0]);
    // Segments 5 to 9 and the two of limited transmit: no second reduction, and half as many go out.
    let mut out = 0;
    for _ in 0..7 {
        assert!(!sender.ack(0, &[]).entered_recovery);
        out += sender.output().len();
    }
    assert!((3..=4).contains(&out), "{out}");
    sender.now += RTT;
    // A partial ACK: the next hole is sent again at once.
    let outcome = sender.ack(3, &[]);
    // Of the three segments duplicates had stood for two.
    assert_eq!((outcome.left_recovery, outcome.delivered), (false, MSS));
    assert_eq!(sender.output()[0], 3);
    assert_eq!(sender.recovery.lost(), 0);
    let outcome = sender.ack(12, &[]);
    assert!(outcome.left_recovery && !outcome.spurious);
    assert_eq!((sender.cc.cwnd(), sender.cc.calls), (5 * MSS, [1, 0, 0, 0]));
    // All that was out at the start is acknowledged, and not more: duplicates are not counted.
    sender.output();
    (0..5).for_each(|_| assert!(!sender.ack(12, &[]).entered_recovery));
    // Once there is progress they are.
    sender.ack(13, &[]);
    sender.output();
    let entered: Vec<_> = (0..3).map(|_| sender.ack(13, &[]).entered_recovery).collect();
    assert_eq!(entered, [false, false, true]);
}

/// RFC 3042 with SACK: each of the first two duplicates lets out a segment.
#[test]
fn limited_transmit() {
    let mut sender = Sender::new(true, 10, 10);
    sender.data = 20;
    sender.now += RTT;
    sender.ack(0, &[(1, 2)]);
    assert_eq!(sender.output(), [10]);
    sender.ack(0, &[(1, 3)]);
    assert_eq!((sender.output(), sender.cc.calls), (vec![11], [0; 4]));
}

/// RFC 8985 section 6.2: three SACKed segments show a loss at once, as long as nothing was reordered.
#[test]
fn rack_by_count() {
    let mut sender = Sender::new(true, 10, 10);
    sender.now += RTT;
    for (ack, lost) in [((1, 2), 0), ((1, 3), 0), ((1, 4), MSS)] {
        let outcome = sender.ack(0, &[ack]);
        assert_eq!((outcome.delivered, sender.recovery.lost()), (MSS, lost), "{ack:?}");
        assert_eq!(outcome.entered_recovery, lost > 0);
    }
    assert_eq!((sender.recovery.in_flight(), sender.recovery.sacked()), (6 * MSS, 3 * MSS));
    assert_eq!(sender.output(), [0]);
    let rto = sender.recovery.rto(&sender.limits);
    assert_eq!(sender.timer(), Some((rto, Retransmission)), "the first goes out: the timer starts anew");
    let outcome = {
        sender.now += RTT;
        sender.ack(10, &[])
    };
    assert!(outcome.left_recovery && outcome.rtt.is_none());
    // Half of FlightSize, which counts what was SACKed.
    assert_eq!((sender.cc.cwnd(), sender.recovery.retransmits(), sender.flights.used()), (5 * MSS, 1, 0));
}

/// RFC 8985 section 6.2 step 5: a single SACK shows it after a quarter of a round trip.
#[test]
fn rack_by_time() {
    let mut sender = Sender::new(true, 10, 2);
    sender.data = 3;
    sender.now += RTT;
    sender.ack(0, &[(1, 2)]);
    assert_eq!(sender.timer(), Some((RTT / 4, ReorderingTimer)));
    assert_eq!(sender.output(), [2]);
    assert_eq!(sender.timer(), Some((RTT / 4, ReorderingTimer)), "new data does not move it");
    // It arrives just in time: reordering, and nothing was lost.
    sender.now += RTT / 4 - 1;
    let outcome = sender.ack(2, &[]);
    assert!(sender.recovery.reordering_seen() && !outcome.entered_recovery);
    sender.now += RTT;
    sender.ack(3, &[]);
    // From here on even many SACKs wait.
    sender.data = 12;
    sender.output();
    sender.now += RTT;
    sender.ack(3, &[(4, 12)]);
    assert_eq!((sender.recovery.lost(), sender.timer().map(|timer| timer.1)), (0, Some(ReorderingTimer)));
    assert_eq!(sender.wait(), (RTT / 4, Timeout::Lost { reduced: true }));
    assert_eq!((sender.output(), sender.cc.calls[0]), (vec![3], 1));
    assert_eq!(sender.timer().map(|timer| timer.1), Some(Retransmission));
}

/// RFC 8985 section 3.2: a lost retransmission is found by what was sent after it.
#[test]
fn rack_finds_lost_retransmissions() {
    let mut sender = Sender::new(true, 10, 10);
    sender.data = 20;
    sender.now += RTT;
    sender.ack(0, &[(1, 4)]);
    assert_eq!(sender.output()[0], 0);
    sender.now += 1;
    sender.ack(0, &[(1, 10)]);
    let new = sender.output();
    assert_eq!(new.first(), Some(&10));
    sender.now += RTT;
    let outcome = sender.ack(0, &[(10, 11), (1, 10)]);
    assert!(!outcome.entered_recovery);
    assert_eq!(sender.output().first(), Some(&0), "again, without a second reduction");
    assert_eq!(sender.cc.calls, [1, 0, 0, 0]);
}

/// RFC 8985 sections 7.2 and 7.3.
#[test]
fn probe_timers() {
    for (sack, segments, max_ack_delay, want) in [
        (true, 5, 50_000, (2 * RTT, TailLossProbe)),
        // One segment: the ACK may be delayed. But not beyond the retransmission timeout.
        (true, 1, 50_000, (2 * RTT + 50_000, TailLossProbe)),
        (true, 1, 200_000, (220_000, TailLossProbe)),
        (false, 5, 50_000, (220_000, Retransmission)),
    ] {
        let mut sender = Sender::new(sack, 10, 0);
        (sender.limits.max_ack_delay, sender.data) = (max_ack_delay, segments);
        sender.output();
        assert_eq!(sender.timer(), Some(want), "{sack} {segments} {max_ack_delay}");
    }
    let mut sender = Sender::new(true, 10, 5);
    assert_eq!(sender.wait(), (2 * RTT, Timeout::Probe));
    assert_eq!(sender.recovery.last_sent(&sender.flights, MSS), Some(range(4, 5)));
    sender.transmit(4, Transmit::Probe);
    assert_eq!(sender.timer(), Some((220_000, Retransmission)), "one probe, then the timeout");
    assert_eq!((sender.recovery.retransmits(), sender.cc.calls), (1, [0; 4]));
}

/// RFC 8985 section 7.4.1: the SACK of the probe shows the losses before it.
#[test]
fn a_probe_shows_tail_losses() {
    let mut sender = Sender::new(true, 10, 5);
    sender.now += RTT;
    sender.ack(2, &[]);
    let (_, timeout) = sender.wait();
    assert_eq!(timeout, Timeout::Probe);
    sender.transmit(4, Transmit::Probe);
    sender.now += RTT;
    let outcome = sender.ack(2, &[(4, 5)]);
    assert!(outcome.entered_recovery);
    assert_eq!(sender.recovery.lost(), 2 * MSS);
    assert_eq!(sender.output(), [2]);
    sender.now += RTT;
    sender.ack(3, &[(4, 5)]);
    assert_eq!(sender.output(), [3]);
}

/// RFC 8985 section 7.4.2: what follows a probe with the last segment, and how often that reduces.
#[test]
fn a_probe_that_repairs_is_congestion() {
    for (dsack, reductions) in [(false, 1), (true, 0)] {
        let mut sender = Sender::new(true, 10, 5);
        assert_eq!(sender.wait().1, Timeout::Probe);
        sender.transmit(4, Transmit::Probe);
        sender.now += RTT;
        sender.ack(5, &[]);
        if dsack {
            assert!(sender.ack(5, &[(4, 5)]).dsack);
        }
        sender.data = 6;
        assert_eq!(sender.output(), [5]);
        sender.now += RTT;
        let outcome = sender.ack(6, &[]);
        assert_eq!((sender.cc.calls[0], outcome.reduced), (reductions, reductions > 0), "{dsack}");
        // Nor does a probe for nothing say that the path reorders: the window is as it was.
        sender.data = 8;
        assert_eq!(sender.output(), [6, 7]);
        sender.now += RTT;
        sender.ack(6, &[(7, 8)]);
        assert_eq!(sender.timer(), Some((RTT / 4, ReorderingTimer)));
    }
    // New data as a probe says nothing.
    let mut sender = Sender::new(true, 5, 5);
    assert_eq!(sender.wait().1, Timeout::Probe);
    sender.transmit(5, Transmit::Probe);
    sender.now += RTT;
    sender.ack(6, &[]);
    sender.transmit(6, Transmit::New);
    assert_eq!((sender.cc.calls, sender.timer().map(|timer| timer.1)), ([0; 4], Some(TailLossProbe)));
}

/// A sender with 5 segments out, whose first has been sent again after a timeout, and 5 more to send.
fn timed_out(sack: bool) -> Sender {
    let mut sender = Sender::new(sack, 10, 5);
    sender.data = 10;
    loop {
        match sender.wait().1 {
            Timeout::Probe => {}
            Timeout::Retransmission => break,
            timeout => panic!("{timeout:?}"),
        }
    }
    assert_eq!((sender.output(), sender.cc.cwnd()), (vec![0], MSS));
    assert_eq!(sender.recovery.lost(), 4 * MSS);
    sender
}

/// RFC 5682 sections 2.1 and 3.1: the ACKs were only late.
#[test]
fn a_spurious_timeout_is_undone() {
    for (sack, again) in [(true, 0), (false, 0), (true, 2), (false, 2)] {
        let mut sender = timed_out(sack);
        for _ in 0..again {
            assert_eq!((sender.wait().1, sender.output()), (Timeout::Retransmission, vec![0]));
        }
        let outcome = sender.ack(1, &[]);
        assert!(!outcome.spurious);
        assert_eq!(sender.output(), [5, 6], "new data, before anything is sent again");
        let outcome = sender.ack(2, &[]);
        assert!(outcome.spurious && outcome.rtt.is_some());
        // As before, and a segment more for this ACK.
        assert_eq!((sender.cc.cwnd(), sender.cc.calls[3], sender.recovery.lost()), (11 * MSS, 1, 0));
        assert!(!sender.recovery.in_recovery());
        assert_eq!(sender.output(), [7, 8, 9]);
    }
}

/// RFC 5682: the timeout was for a loss.
#[test]
fn a_timeout_for_a_loss_is_not_undone() {
    // What comes second: a duplicate, a SACK of the new data, an ACK of what was sent again.
    for (sack, ack, blocks) in
        [(false, 1, &[][..]), (true, 1, &[]), (true, 1, &[(5, 6)]), (true, 0, &[(5, 6)])]
    {
        let mut sender = timed_out(sack);
        if ack > 0 {
            sender.ack(1, &[]);
            assert_eq!(sender.output(), [5, 6]);
        }
        let outcome = sender.ack(ack, blocks);
        assert!(!outcome.spurious && sender.recovery.in_recovery());
        sender.cc.set_cwnd(20 * MSS);
        assert_eq!(sender.output()[..3], [1, 2, 3], "{sack} {blocks:?}");
        assert!(sender.ack(5, &[]).left_recovery);
        assert_eq!(sender.cc.calls, [0, 1, 1, 0]);
    }
    // Without new data the retransmissions go on at once.
    let mut sender = timed_out(true);
    sender.data = 5;
    sender.ack(1, &[]);
    assert_eq!(sender.output(), [1, 2]);
}

/// Without SACK, what duplicates had stood for is forgotten: one segment goes out.
#[test]
fn a_timeout_after_duplicates() {
    let mut sender = Sender::new(false, 10, 5);
    sender.now += RTT;
    (0..2).for_each(|_| assert_eq!(sender.ack(0, &[]).delivered, MSS));
    assert_eq!(sender.recovery.in_flight(), 3 * MSS);
    assert_eq!((sender.wait().1, sender.output()), (Timeout::Retransmission, vec![0]));
    assert_eq!((sender.recovery.in_flight(), sender.recovery.lost()), (MSS, 4 * MSS));
}

/// RFC 5681 section 3.1: after a timeout, an ACK that fills a hole does not let out a burst.
#[test]
fn a_hole_that_fills_opens_the_window_by_its_size() {
    let mut sender = Sender::new(true, 10, 10);
    sender.now += RTT;
    sender.ack(0, &[(1, 9)]);
    assert_eq!(sender.output(), [0]);
    assert_eq!((sender.wait().1, sender.output()), (Timeout::Retransmission, vec![0]));
    assert_eq!(sender.cc.calls, [1, 0, 1, 0]);
    let outcome = sender.ack(9, &[]);
    assert_eq!((outcome.acked, outcome.delivered, sender.cc.cwnd()), (9 * MSS, MSS, 2 * MSS));
}

/// RFC 8985 section 6.3: what was sent a moment ago is not lost.
#[test]
fn a_timeout_spares_what_has_just_been_sent() {
    let mut sender = Sender::new(true, 10, 3);
    assert_eq!(sender.wait().1, Timeout::Probe);
    sender.transmit(2, Transmit::Probe);
    let (deadline, _) = sender.recovery.deadline().unwrap();
    sender.now = deadline.get() - RTT / 2;
    sender.transmit(3, Transmit::New);
    let Timeout::Retransmission = sender.wait().1 else { panic!("the timeout") };
    assert_eq!((sender.recovery.lost(), sender.recovery.in_flight()), (3 * MSS, MSS));
    assert_eq!(sender.output(), [0], "the first goes out although the window is full");
}

/// RFC 2018 section 8: the receiver has thrown away what it had SACKed.
#[test]
fn reneging() {
    let mut sender = Sender::new(true, 10, 6);
    sender.now += RTT;
    sender.ack(0, &[(1, 6)]);
    assert_eq!(sender.output(), [0]);
    sender.now += RTT;
    sender.ack(1, &[]);
    assert_eq!(sender.recovery.sacked(), 5 * MSS);
    assert_eq!(sender.wait().1, Timeout::Retransmission);
    assert_eq!((sender.recovery.sacked(), sender.recovery.lost()), (0, 5 * MSS));
    // The records have run together; they go out an MSS at a time.
    sender.cc.set_cwnd(10 * MSS);
    assert_eq!(sender.output(), [1, 2, 3, 4, 5]);
}

/// RFC 2883: if all that was sent again was sent for nothing, so was the reduction.
#[test]
fn dsacks_undo_a_reduction() {
    for (dsacks, undone) in [(1, 0), (2, 1)] {
        let mut sender = Sender::new(true, 10, 10);
        sender.now += RTT;
        sender.ack(0, &[(2, 5)]);
        assert_eq!(sender.output(), [0]);
        sender.ack(0, &[(2, 7)]);
        assert_eq!(sender.output(), [1]);
        sender.ack(10, &[]);
        assert!(sender.cc.cwnd() < 10 * MSS);
        for n in 0..dsacks {
            sender.now += RTT / 4;
            let outcome = sender.ack(10, &[(n, n + 1)]);
            assert_eq!((outcome.dsack, outcome.spurious), (true, n == 1));
        }
        assert_eq!(sender.cc.calls, [1, 0, 0, undone]);
        assert_eq!(sender.cc.cwnd() == 10 * MSS, undone > 0);
    }
}

/// A sender that has sent segment 1 again for nothing, and has left recovery; segment 0 came twice.
fn recovered() -> Sender {
    let mut sender = Sender::new(true, 10, 10);
    sender.now += RTT;
    sender.ack(1, &[]);
    sender.ack(1, &[(2, 5)]);
    assert_eq!(sender.output(), [1]);
    assert!(sender.ack(10, &[(0, 1)]).left_recovery);
    sender
}

/// A DSACK that has nothing to do with the last reduction does not undo it.
#[test]
fn dsacks_of_something_else() {
    // Of what was sent before.
    let mut sender = recovered();
    assert_eq!(sender.cc.calls, [1, 0, 0, 0]);
    assert!(sender.ack(10, &[(1, 2)]).spurious);
    // Of what was sent after.
    let mut sender = recovered();
    sender.data = 12;
    sender.output();
    sender.ack(12, &[]);
    assert!(!sender.ack(12, &[(11, 12)]).spurious);
    assert!(sender.ack(12, &[(1, 2)]).spurious);
    // After another reduction.
    let mut sender = recovered();
    sender.data = 12;
    sender.output();
    assert!(sender.ack_with(11, &[], |ack| ack.ece = true).reduced);
    assert!(!sender.ack(11, &[(1, 2)]).spurious);
    // Long after.
    for (distance, spurious) in [(1 << 28, true), (3 << 28, false)] {
        let mut sender = recovered();
        let mut end = seq(10);
        for _ in 0..2 {
            let range = SeqRange { start: end, end: end + distance };
            end = range.end;
            let Sender { recovery, flights, limits, now, .. } = &mut sender;
            recovery.on_transmit(flights, limits, range, Micros::new(*now), Transmit::New).unwrap();
            sender.ack_with(0, &[], |ack| ack.ack = end);
        }
        assert_eq!(sender.ack_with(0, &[(1, 2)], |ack| ack.ack = end).spurious, spurious, "{distance}");
    }
}

/// A probe that was sent again in front of a reduction is one of those that must have been for nothing.
#[test]
fn dsacks_of_a_probe() {
    let mut sender = Sender::new(true, 10, 5);
    assert_eq!(sender.wait().1, Timeout::Probe);
    sender.transmit(4, Transmit::Probe);
    sender.now += RTT;
    assert!(sender.ack(3, &[(4, 5)]).entered_recovery);
    assert_eq!(sender.output(), [3]);
    assert!(!sender.ack(5, &[(3, 4)]).spurious);
    assert!(sender.ack(5, &[(4, 5)]).spurious);
}

/// RFC 3168 section 6.1.2: once a round trip, by PRR.
#[test]
fn an_ecn_echo_reduces_once_a_round_trip() {
    let mut sender = Sender::new(true, 10, 10);
    sender.data = 100;
    let (mut reductions, mut out_then) = (0, 0);
    for ack in 1..=25 {
        sender.now += RTT / 10;
        if sender.ack_with(ack, &[], |ack| ack.ece = true).reduced {
            assert!(ack > out_then, "{ack}: the receiver has seen no CWR yet");
            (reductions, out_then) = (reductions + 1, sender.next);
        }
        sender.output();
    }
    assert_eq!((reductions, sender.cc.calls[0]), (5, 5));
    assert!(sender.cc.cwnd() <= 4 * MSS);
    // A loss while the window comes down anyway reduces no further.
    let mut sender = Sender::new(true, 10, 10);
    sender.now += RTT;
    sender.ack_with(1, &[], |ack| ack.ece = true);
    assert!(sender.ack(1, &[(2, 6)]).entered_recovery);
    assert_eq!(sender.cc.calls[0], 1);
}

/// RFC 9937: at the end of recovery the window is at the target, and never was more sent than delivered
/// while above it.
#[test]
fn the_window_comes_down_in_proportion() {
    let mut sender = Sender::new(true, 20, 20);
    sender.data = 100;
    sender.now += RTT;
    let mut sent = 0;
    for top in 2..=20 {
        sender.ack(0, &[(1, top)]);
        sent += sender.output().len();
        assert!(sent <= top as usize, "{top}");
        assert!(sender.cc.calls[0] == u32::from(top >= 4), "{top}");
    }
    assert!(sender.recovery.in_flight().abs_diff(sender.cc.ssthresh()) <= 2 * MSS);
    sender.now += RTT;
    let outcome = sender.ack(22, &[]);
    assert!(outcome.left_recovery);
    assert_eq!(sender.cc.cwnd(), sender.cc.ssthresh());
}

/// With many records, losses are not looked for on every ACK, but soon.
#[test]
fn a_long_board_is_looked_at_now_and_then() {
    let mut sender = Sender::new(true, 1000, 0);
    for segment in 0..600 {
        sender.transmit(segment, Transmit::New);
        sender.now += 1;
    }
    sender.now = 2 * RTT;
    let alternate = |from: u32| (0..4).map(|n| (from + 2 * n, from + 2 * n + 1)).collect::<Vec<_>>();
    sender.ack(0, &alternate(1));
    assert!(sender.recovery.lost() >= 3 * MSS);
    let lost = sender.recovery.lost();
    sender.now += 1;
    sender.ack(0, &alternate(9));
    assert_eq!((sender.recovery.lost(), sender.recovery.sacked()), (lost, 8 * MSS));
    let (waited, timeout) = sender.wait();
    assert!(waited <= RTT / 32 && timeout == Timeout::Lost { reduced: false }, "{waited} {timeout:?}");
    assert_eq!(sender.recovery.lost(), 8 * MSS);
}

#[test]
fn a_smaller_mss_sends_again_in_pieces() {
    let mut sender = Sender::new(true, 10, 10);
    sender.now += RTT;
    sender.ack(0, &[(1, 4)]);
    let mut pieces = Vec::new();
    while let Some(range) = sender.recovery.next_retransmit(&sender.flights, 400) {
        pieces.push((range.start.distance_from(seq(0)), range.len()));
        let Sender { recovery, flights, limits, now, .. } = &mut sender;
        recovery.on_transmit(flights, limits, range, Micros::new(*now), Transmit::Retransmit).unwrap();
    }
    assert_eq!(pieces, [(0, 400), (400, 400), (800, 200)]);
    assert_eq!((sender.recovery.lost(), sender.recovery.in_flight()), (0, 7 * MSS));
}

#[test]
fn new_data_waits_for_room() {
    let mut sender = Sender::unmeasured(true, 10);
    sender.flights = Pool::new(2);
    sender.transmit(0, Transmit::New);
    sender.now += 1;
    // Two segments at the same moment are one record.
    sender.transmit(1, Transmit::New);
    sender.transmit(2, Transmit::New);
    let Sender { recovery, flights, limits, .. } = &mut sender;
    let now = Micros::new(2);
    assert_eq!(recovery.on_transmit(flights, limits, range(3, 4), now, Transmit::New), Err(Full));
    assert_eq!(recovery.on_transmit(flights, limits, range(3, 3), now, Transmit::New), Ok(()));
    assert_eq!(recovery.on_transmit(flights, limits, range(0, 1), now, Transmit::Retransmit), Ok(()));
    recovery.clear(flights);
    assert_eq!((flights.used(), recovery.in_flight(), recovery.deadline()), (0, 0, None));
}

/// ACKs that cannot be, or come late, change nothing.
#[test]
fn odd_acks() {
    let mut sender = Sender::new(true, 10, 5);
    sender.now += RTT;
    sender.ack(3, &[]);
    for (ack, blocks) in [(100, &[][..]), (1, &[(1, 2)]), (3, &[(6, 7)]), (3, &[(5, 4)]), (3, &[(3, 4)])] {
        let outcome = sender.ack(ack, blocks);
        assert_eq!((outcome.acked, outcome.delivered), (0, 0), "{ack} {blocks:?}");
        assert_eq!(sender.recovery.in_flight(), 2 * MSS);
    }
}

/// Times wrap after 71 minutes; a connection may be idle for longer.
#[test]
fn idle_for_an_hour() {
    for minutes in [30, 40, 60, 80u64] {
        let mut sender = Sender::new(true, 10, 5);
        sender.now += RTT;
        sender.ack(5, &[]);
        sender.now = sender.now.wrapping_add((minutes * 60_000_000) as u32);
        sender.data = 10;
        assert_eq!(sender.output(), [5, 6, 7, 8, 9]);
        sender.now = sender.now.wrapping_add(RTT);
        for ack in 6..=10 {
            assert!(sender.ack(ack, &[]).rtt.is_some());
            // Nothing was overtaken by what was sent an hour ago.
            assert!(sender.timer().is_none_or(|timer| timer.1 != ReorderingTimer), "{minutes}");
        }
    }
}

/// What a peer, or a bug of the caller, can come up with.
#[derive(Clone, Debug)]
enum Step {
    /// Sends new data, so many bytes, or what was sent: from where, how much.
    New(u32),
    Again(u32, u32),
    Probe(u32),
    /// Acknowledgment number and blocks, from SND.UNA; age of the timestamp; flags; MSS.
    Ack(u32, Vec<(u32, u32)>, Option<u32>, u8, u32),
    /// Time passes, and the timer may run out.
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let near = || prop_oneof![8 => 0..5000u32, 1 => any::<u32>()];
    let mss = prop_oneof![8 => 1..1500u32, 1 => any::<u32>(), 1 => Just(0)];
    let blocks = proptest::collection::vec((near(), near()), 0..5);
    prop_oneof![
        4 => (0..3000u32).prop_map(Step::New),
        2 => (near(), near()).prop_map(|(start, len)| Step::Again(start, len)),
        1 => (1..3000u32).prop_map(Step::Probe),
        6 => (near(), blocks, proptest::option::of(near()), any::<u8>(), mss)
            .prop_map(|(ack, blocks, echo, flags, mss)| Step::Ack(ack, blocks, echo, flags, mss)),
        4 => prop_oneof![4 => 0..50_000u32, 1 => 0..2_000_000u32, 1 => any::<u32>()].prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Nothing panics or overflows; what is outstanding is what was sent and not acknowledged; a timer runs
    /// as long as anything is; and no record is lost to the pool.
    #[test]
    fn any_input(
        steps in proptest::collection::vec(step(), 0..150), iss: u32, sack: bool, room in 0..40usize,
    ) {
        let mut recovery = Recovery::new(SeqNumber::new(iss));
        let (mut flights, mut cc, limits) = (Pool::new(room), Reno::new(10), Limits::default());
        let (mut una, mut nxt, mut now) = (SeqNumber::new(iss), SeqNumber::new(iss), Micros::new(iss));
        for step in steps {
            match step {
                Step::New(len) | Step::Probe(len) => {
                    let why = if matches!(step, Step::New(_)) { Transmit::New } else { Transmit::Probe };
                    let range = SeqRange { start: nxt, end: nxt + len };
                    if recovery.on_transmit(&mut flights, &limits, range, now, why).is_ok() {
                        nxt = range.end;
                    }
                }
                Step::Again(start, len) if una != nxt => {
                    let start = una + start % nxt.distance_from(una);
                    let range = SeqRange { start, end: start + len.min(nxt.distance_from(start)) };
                    let sent = recovery.on_transmit(&mut flights, &limits, range, now, Transmit::Retransmit);
                    prop_assert_eq!(sent, Ok(()));
                }
                Step::Again(..) => {}
                Step::Ack(ack, blocks, echo_rtt, flags, mss) => {
                    let mut report = SackBlocks::NONE;
                    for (start, len) in blocks {
                        report.push(SeqRange { start: una + start - 1000, end: una + start - 1000 + len });
                    }
                    let flag = |bit: u8| flags & bit != 0;
                    let ack = Ack {
                        now, ack: una + ack, sack: &report, echo_rtt, duplicate: flag(1), ece: flag(2),
                        sack_permitted: sack, cwnd_limited: flag(4), can_send_new: flag(8), mss,
                    };
                    let outcome = take_ack(&mut recovery, &mut flights, &mut cc, &limits, &ack);
                    una += outcome.acked;
                    let quota = recovery.send_quota(&cc, mss);
                    if let Some(lost) = recovery.next_retransmit(&flights, mss).filter(|_| quota > 0) {
                        prop_assert!(!lost.is_empty() && lost.len() <= mss.max(1));
                    }
                }
                Step::Wait(wait) => {
                    now = now + wait;
                    let _ = recovery.on_timeout(&mut flights, &mut cc, &limits, now, 1000);
                }
            }
            prop_assert_eq!(recovery.board.outstanding(), nxt.distance_from(una));
            prop_assert!(recovery.in_flight() <= recovery.board.outstanding());
            prop_assert_eq!(recovery.deadline().is_some(), una != nxt);
        }
        recovery.clear(&mut flights);
        prop_assert_eq!(flights.used(), 0);
    }
}

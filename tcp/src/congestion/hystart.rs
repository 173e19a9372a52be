//! HyStart++ (RFC 9406): leaves the first slow start when round trips get longer, before the queue at
//! the bottleneck overflows.

use super::AckSample;
use crate::SeqNumber;

/// The least growth of the round-trip time that counts, in us.
const MIN_RTT_THRESH: u32 = 4_000;
/// The growth that always counts, in us.
const MAX_RTT_THRESH: u32 = 16_000;
/// Between the two, this part of the round-trip time counts.
const MIN_RTT_DIVISOR: u32 = 8;
/// A round is judged by this many samples at least.
const N_RTT_SAMPLE: u8 = 8;
/// Rounds of conservative slow start before congestion avoidance.
const CSS_ROUNDS: u8 = 5;

/// No sample yet.
const INFINITE: u32 = u32::MAX;

/// How slow start goes on after an ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Growth {
    /// Slow start.
    Full,
    /// Conservative slow start (CSS).
    Conservative,
    /// It is over: congestion avoidance begins.
    Over,
}

/// The state of HyStart++. Round-trip times are in us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HyStart {
    /// SND.NXT when the round began: its acknowledgment ends the round.
    window_end: SeqNumber,
    last_round_min_rtt: u32,
    round_min_rtt: u32,
    /// The round's minimum on entry to CSS; [`INFINITE`] in slow start.
    css_baseline: u32,
    samples: u8,
    /// Rounds of CSS that have ended.
    css_rounds: u8,
    /// The first round has begun.
    started: bool,
}

impl HyStart {
    pub(super) const fn new() -> Self {
        HyStart {
            window_end: SeqNumber::ZERO,
            last_round_min_rtt: INFINITE,
            round_min_rtt: INFINITE,
            css_baseline: INFINITE,
            samples: 0,
            css_rounds: 0,
            started: false,
        }
    }

    pub(super) fn on_ack(&mut self, ack: &AckSample) -> Growth {
        if !self.started {
            self.started = true;
            self.window_end = ack.snd_nxt;
        }
        if let Some(rtt) = ack.rtt {
            self.round_min_rtt = self.round_min_rtt.min(rtt);
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= N_RTT_SAMPLE {
            self.judge();
        }
        if ack.ack.at_or_after(self.window_end) {
            self.end_round(ack.snd_nxt);
        }
        match self.css_rounds {
            CSS_ROUNDS => Growth::Over,
            _ if self.in_css() => Growth::Conservative,
            _ => Growth::Full,
        }
    }

    const fn in_css(&self) -> bool {
        self.css_baseline != INFINITE
    }

    /// Compares this round's shortest round trip with what it was.
    fn judge(&mut self) {
        if self.in_css() {
            //= RFC 9406 section 4.2: in CSS, a round trip shorter than on entry means that the entry was
            //= spurious: slow start resumes.
            if self.round_min_rtt < self.css_baseline {
                self.css_baseline = INFINITE;
                self.css_rounds = 0;
            }
            return;
        }
        if self.last_round_min_rtt == INFINITE {
            return;
        }
        //= RFC 9406 section 4.2: RttThresh = max(MIN_RTT_THRESH, min(lastRoundMinRTT / MIN_RTT_DIVISOR,
        //= MAX_RTT_THRESH)); a round longer by that enters CSS.
        let threshold = (self.last_round_min_rtt / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        if self.round_min_rtt >= self.last_round_min_rtt.saturating_add(threshold) {
            self.css_baseline = self.round_min_rtt;
        }
    }

    fn end_round(&mut self, snd_nxt: SeqNumber) {
        self.window_end = snd_nxt;
        self.last_round_min_rtt = self.round_min_rtt;
        self.round_min_rtt = INFINITE;
        self.samples = 0;
        //= RFC 9406 section 4.2: a round in the middle of which CSS began counts as one of its rounds.
        if self.in_css() {
            self.css_rounds += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::tests::ack;

    /// A round trip of ten ACKs of a segment, all with this round-trip time: what each says. The first
    /// one ends the round before, which began with the first ACK of all.
    fn round(hystart: &mut HyStart, number: u32, rtt: u32) -> Vec<Growth> {
        // Round n acknowledges what was sent in the round before; the wrap is in the middle.
        let start = SeqNumber::new(0u32.wrapping_sub(50_000)) + number * 10_000;
        let each = (1..=10).map(|n| AckSample {
            rtt: Some(rtt),
            ack: start + n * 1000,
            snd_nxt: start + n * 1000 + 10_000,
            ..ack(0, 1000, 10_000)
        });
        each.map(|sample| hystart.on_ack(&sample)).collect()
    }

    /// What the last ACK of each round says.
    fn rounds(rtts: &[u32]) -> Vec<Growth> {
        let mut hystart = HyStart::new();
        let last = |(n, &rtt)| *round(&mut hystart, n as u32, rtt).last().unwrap();
        (0..).zip(rtts).map(last).collect()
    }

    #[test]
    fn thresholds() {
        use Growth::{Conservative, Full};
        let cases = [
            (10_000, 13_999, Full),
            (10_000, 14_000, Conservative),
            (64_000, 71_999, Full),
            (64_000, 72_000, Conservative),
            (400_000, 415_999, Full),
            (400_000, 416_000, Conservative),
            (u32::MAX - 1, u32::MAX - 1, Full),
        ];
        for (before, after, growth) in cases {
            assert_eq!(rounds(&[before, before, after]), [Full, Full, growth], "{before} {after}");
        }
    }

    #[test]
    fn five_conservative_rounds_then_over() {
        use Growth::{Conservative, Full, Over};
        let said = rounds(&[50_000, 60_000, 60_000, 61_000, 62_000, 63_000, 64_000]);
        let css = [Conservative; 5];
        assert_eq!(said, [&[Full], &css[..], &[Over]].concat());
    }

    #[test]
    fn slow_start_resumes_when_round_trips_get_shorter() {
        use Growth::{Conservative, Full};
        let said = rounds(&[50_000, 60_000, 60_000, 59_999, 50_000, 50_000, 50_000, 50_000]);
        assert_eq!(said, [Full, Conservative, Conservative, Full, Full, Full, Full, Full]);
    }

    #[test]
    fn each_conservative_slow_start_has_its_five_rounds() {
        use Growth::Conservative;
        let said = rounds(&[50_000, 60_000, 60_000, 55_000, 65_000, 65_000, 65_000, 65_000, 65_000]);
        assert_eq!(said[4..], [Conservative; 5]);
    }

    #[test]
    fn eight_samples_are_needed() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 0, 50_000);
        let said = round(&mut hystart, 1, 60_000);
        // The ninth ACK of the round trip is the eighth of the round.
        assert_eq!(said.iter().position(|&growth| growth == Growth::Conservative), Some(8));
    }
}

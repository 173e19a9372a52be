//! A model for tests: one sender that always has data, one bottleneck with a drop-tail queue, in virtual
//! time.

use std::collections::VecDeque;

use super::*;

const MSS: u16 = 1000;

/// What drops packets, besides a full queue.
#[derive(Clone, Copy)]
enum Loss {
    None,
    /// Every n-th packet, as in the model of RFC 9438 section 5.1.
    Every(u64),
    /// One of n packets, by a linear congruential generator with this state.
    OneOf(u64, u64),
}

impl Loss {
    fn drops(&mut self, packet: u64) -> bool {
        match self {
            Loss::None => false,
            Loss::Every(n) => packet % *n == *n - 1,
            Loss::OneOf(n, state) => {
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (*state >> 33) % *n == 0
            }
        }
    }
}

struct Path {
    /// Bytes a second.
    rate: u64,
    /// Round-trip time without a queue, in us.
    rtt: u64,
    /// Bytes that the queue holds.
    queue: u64,
    loss: Loss,
}

/// A packet in flight. The sender learns at `back` whether it arrived.
struct InFlight {
    sent: u64,
    back: u64,
    lost: bool,
}

#[derive(Default)]
struct Report {
    /// Mean of cwnd over time, in segments, over the second half of the packets.
    mean_cwnd: f64,
    /// Packets dropped by the queue.
    overflows: u64,
    /// When the window was first below ssthresh no more, in segments, and whether a loss did it.
    first_exit: Option<(u32, bool)>,
}

/// Sends `packets` packets. Times are in ns.
fn run(algorithm: Algorithm, mut path: Path, packets: u64) -> Report {
    let mut cc = Congestion::new(algorithm, MSS, false);
    let size = u64::from(MSS);
    let (mut flight, mut report) = (VecDeque::<InFlight>::new(), Report::default());
    let (mut now, mut link_free, mut sent) = (0, 0, 0);
    // Recovery lasts until the packet of this number comes back.
    let mut recovery_point = 0;
    let (mut area, mut measured) = (0.0, 0);
    while sent < packets {
        while (flight.len() as u64 + 1) * size <= u64::from(cc.cwnd()) {
            let queued = (u64::max(link_free, now) - now) * path.rate / 1_000_000_000;
            let overflow = queued > path.queue;
            let lost = overflow || path.loss.drops(sent);
            if !lost {
                link_free = u64::max(link_free, now) + size * 1_000_000_000 / path.rate;
            }
            let back = u64::max(link_free, now) + path.rtt * 1000;
            flight.push_back(InFlight { sent: now, back, lost });
            report.overflows += u64::from(overflow);
            sent += 1;
        }
        let in_flight = flight.len() as u32 * u32::from(MSS);
        let first = sent - flight.len() as u64;
        let packet = flight.pop_front().expect("a window of a segment at least");
        if sent > packets / 2 {
            area += f64::from(cc.cwnd()) / f64::from(MSS) * (packet.back - now) as f64;
            measured += packet.back - now;
        }
        now = packet.back;
        let rtt = ((now - packet.sent) / 1000) as u32;
        if packet.lost {
            if first >= recovery_point {
                cc.on_congestion(Signal::Loss, in_flight);
                recovery_point = sent;
            }
        } else if first >= recovery_point {
            cc.on_ack(&AckSample {
                now: Micros::new((now / 1000) as u32),
                acked: u32::from(MSS),
                rtt: Some(rtt),
                srtt: rtt,
                in_flight_before: in_flight,
                cwnd_limited: true,
                ack: SeqNumber::new(((first + 1) * size) as u32),
                snd_nxt: SeqNumber::new((sent * size) as u32),
            });
        }
        if report.first_exit.is_none() && !cc.in_slow_start() {
            report.first_exit = Some((cc.cwnd() / u32::from(MSS), packet.lost));
        }
    }
    report.mean_cwnd = area / measured as f64;
    report
}

/// RFC 9438 section 4.3: the mean window of AIMD(alpha, beta), with alpha = 3 (1 - beta) / (1 + beta) that
/// of Reno too.
fn reno_mean(p: f64) -> f64 {
    (1.5 / p).sqrt()
}

/// RFC 9438 section 5.1, in the concave and convex regions.
fn cubic_mean(p: f64, rtt: f64) -> f64 {
    (0.4f64 * 3.7 / (4.0 * 0.3)).powf(0.25) * (rtt / p).powf(0.75)
}

/// A link so fast that no queue forms.
fn fast(rtt: u64, loss: Loss) -> Path {
    Path { rate: 100_000_000_000, rtt, queue: 1 << 40, loss }
}

/// At 1 % and 50 ms both are in Reno's region: the formula gives 12.2 segments. It is for evenly spaced
/// losses; random ones, and the reduction to whole round trips, take up to a fifth.
#[test]
fn mean_window_at_one_percent_of_random_loss() {
    for algorithm in Algorithm::ALL {
        for seed in [1, 2, 3] {
            let mean = run(algorithm, fast(50_000, Loss::OneOf(100, seed)), 200_000).mean_cwnd;
            let off = mean / reno_mean(0.01);
            assert!((0.8..1.2).contains(&off), "{algorithm:?} {seed}: {mean} {off}");
        }
    }
}

/// Evenly spaced losses, RTT 100 ms and 10 ms, as in RFC 9438 section 5.1. Fast convergence, the round
/// trip in recovery and the two regions taking turns, which the formulas leave out, take up to an eighth.
#[test]
fn mean_window_by_loss_and_round_trip() {
    for (every, rtt) in [(1000, 100_000), (10_000, 100_000), (100_000, 100_000), (100_000, 10_000)] {
        let p = 1.0 / every as f64;
        let expected = cubic_mean(p, rtt as f64 / 1e6).max(reno_mean(p));
        let mean = run(Algorithm::Cubic, fast(rtt, Loss::Every(every)), 100 * every).mean_cwnd;
        let off = mean / expected;
        assert!((0.875..1.125).contains(&off), "{every} {rtt}: {mean} {expected} {off}");
    }
}

/// 80 Mbit/s, 50 ms: 500 segments. Plain slow start doubles the window until it has filled the buffer, and
/// loses as much again. HyStart++ leaves a deep buffer before that, with the path full; one four times the
/// path is filled by the rounds of conservative slow start, at a fraction of the loss.
#[test]
fn slow_start_into_a_buffer() {
    let path = |queue| Path { rate: 10_000_000, rtt: 50_000, queue, loss: Loss::None };
    let deep = 8_000_000;
    let reno = run(Algorithm::NewReno, path(deep), 40_000);
    assert!(reno.overflows > 8000 && reno.first_exit.is_some_and(|(_, lost)| lost));
    let cubic = run(Algorithm::Cubic, path(deep), 40_000);
    assert_eq!(cubic.overflows, 0);
    let (segments, lost) = cubic.first_exit.expect("an exit");
    assert!(!lost && (500..4000).contains(&segments), "{segments}");

    let shallow = 2_000_000;
    let (reno, cubic) =
        (run(Algorithm::NewReno, path(shallow), 15_000), run(Algorithm::Cubic, path(shallow), 15_000));
    assert!(cubic.overflows * 3 < reno.overflows, "{} {}", cubic.overflows, reno.overflows);
}

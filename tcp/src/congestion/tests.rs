//! What holds for every algorithm.

use proptest::prelude::*;

use super::*;

/// An ACK at `now` us of `acked` bytes, with a round trip of 50 ms.
pub(super) fn ack(now: u32, acked: u32, in_flight_before: u32) -> AckSample {
    AckSample {
        now: Micros::new(now),
        acked,
        rtt: Some(50_000),
        srtt: 50_000,
        in_flight_before,
        cwnd_limited: false,
        ack: SeqNumber::ZERO,
        snd_nxt: SeqNumber::ZERO,
    }
}

#[test]
fn names() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.name().parse(), Ok(algorithm));
        assert_eq!(Congestion::new(algorithm, 1448, false).algorithm(), algorithm);
    }
    assert_eq!("bbr".parse::<Algorithm>(), Err(UnknownAlgorithm));
    let message = "no such congestion control algorithm; there are `cubic` `reno`";
    assert_eq!(UnknownAlgorithm.to_string(), message);
}

#[test]
fn pacing_rates() {
    for algorithm in Algorithm::ALL {
        let mut cc = Congestion::new(algorithm, 1448, false);
        assert_eq!(cc.pacing_rate(50_000), 2 * 14_480 * 20);
        cc.on_congestion(Signal::Loss, 0);
        cc.set_cwnd(100_000);
        assert_eq!(cc.pacing_rate(50_000), 100_000 * 20 * 12 / 10);
        cc.set_cwnd(u32::MAX);
        assert_eq!(cc.pacing_rate(0), u64::from(MAX_CWND) * 1_200_000);
    }
}

/// A call of any method.
#[derive(Clone, Debug)]
enum Call {
    Ack(AckSample),
    Congestion(Signal, u32),
    Timeout(u32, bool),
    Undo,
    Idle(u32, Duration, Duration),
    SetCwnd(u32),
    SetMss(u16),
}

/// Numbers of every magnitude.
fn any_size() -> impl Strategy<Value = u32> {
    (any::<u32>(), 0..32u32).prop_map(|(bits, shift)| bits >> shift)
}

fn any_ack() -> impl Strategy<Value = AckSample> {
    let sizes = (any_size(), any_size(), any_size(), any_size(), prop::option::of(any_size()));
    (sizes, any::<(u32, u32, bool)>()).prop_map(
        |((now, acked, srtt, in_flight_before, rtt), (ack, snd_nxt, cwnd_limited))| AckSample {
            now: Micros::new(now),
            acked,
            rtt,
            srtt,
            in_flight_before,
            cwnd_limited,
            ack: SeqNumber::new(ack),
            snd_nxt: SeqNumber::new(snd_nxt),
        },
    )
}

fn any_call() -> impl Strategy<Value = Call> {
    let signal = prop_oneof![Just(Signal::Loss), Just(Signal::EcnEcho)];
    let duration = || any_size().prop_map(|micros| Duration::from_micros(micros.into()));
    prop_oneof![
        20 => any_ack().prop_map(Call::Ack),
        2 => (signal, any_size()).prop_map(|(signal, flight)| Call::Congestion(signal, flight)),
        1 => (any_size(), any::<bool>()).prop_map(|(flight, first)| Call::Timeout(flight, first)),
        1 => Just(Call::Undo),
        1 => (any::<u32>(), duration(), duration()).prop_map(|(now, idle, rto)| Call::Idle(now, idle, rto)),
        1 => any_size().prop_map(Call::SetCwnd),
        1 => (any::<u16>(), 0..16u32).prop_map(|(bits, shift)| Call::SetMss(bits >> shift)),
    ]
}

fn apply(cc: &mut Congestion, call: &Call) {
    match *call {
        Call::Ack(ref ack) => cc.on_ack(ack),
        Call::Congestion(signal, flight) => cc.on_congestion(signal, flight),
        Call::Timeout(flight, first) => cc.on_timeout(flight, first),
        Call::Undo => cc.undo(),
        Call::Idle(now, idle, rto) => cc.on_idle(Micros::new(now), idle, rto),
        Call::SetCwnd(cwnd) => cc.set_cwnd(cwnd),
        Call::SetMss(mss) => cc.set_mss(mss),
    }
}

proptest! {
    #[test]
    fn bounds_hold(mss: u16, syn_lost: bool, calls in prop::collection::vec(any_call(), 1..200)) {
        for algorithm in Algorithm::ALL {
            let mut cc = Congestion::new(algorithm, mss, syn_lost);
            for call in &calls {
                let (before, ssthresh) = (cc.cwnd(), cc.ssthresh());
                apply(&mut cc, call);
                let mss = u32::from(cc.window().mss());
                prop_assert!(cc.cwnd() >= mss && cc.cwnd() <= MAX_CWND, "{call:?} {cc:?}");
                prop_assert!(cc.ssthresh() >= 2 * mss, "{call:?} {cc:?}");
                match call {
                    // Never faster than slow start, but for Reno's step of a segment.
                    Call::Ack(ack) => {
                        let most = before.saturating_add(ack.acked.max(mss));
                        prop_assert!(cc.cwnd() >= before && cc.cwnd() <= most, "{call:?} {cc:?}");
                    }
                    Call::Congestion(..) => prop_assert!(cc.cwnd() <= before.max(2 * mss)),
                    Call::Timeout(_, first) => {
                        prop_assert_eq!(cc.cwnd(), mss);
                        prop_assert!(*first || cc.ssthresh() == ssthresh);
                    }
                    Call::Idle(..) => prop_assert!(cc.cwnd() <= before && cc.ssthresh() >= ssthresh),
                    Call::Undo => prop_assert!(cc.cwnd() >= before),
                    Call::SetCwnd(_) | Call::SetMss(_) => {}
                }
            }
        }
    }

    /// From any state, a loss or timeouts are taken back whole, whatever recovery did with the window.
    #[test]
    fn undo_is_exact(
        calls in prop::collection::vec(any_call(), 0..100),
        timeout: bool,
        flight in any_size(),
        recovery in 0..100_000u32,
        then in any_ack(),
    ) {
        for algorithm in Algorithm::ALL {
            let mut cc = Congestion::new(algorithm, 1448, false);
            calls.iter().for_each(|call| apply(&mut cc, call));
            let (mut before, cwnd) = (cc.clone(), cc.cwnd());
            if timeout {
                cc.on_timeout(flight, true);
                cc.on_timeout(flight, false);
            } else {
                cc.on_congestion(Signal::Loss, flight);
            }
            cc.set_cwnd(recovery.min(cwnd));
            let undone = cc.cwnd() < cwnd;
            cc.undo();
            if undone {
                prop_assert_eq!((cc.cwnd(), cc.ssthresh()), (before.cwnd(), before.ssthresh()));
                // The state that is not seen is the same, too: the windows go on alike, but that a slow
                // start after a timeout counts as an ordinary one.
                if !before.in_slow_start() {
                    cc.on_ack(&then);
                    before.on_ack(&then);
                    prop_assert_eq!(cc.cwnd(), before.cwnd());
                }
            }
        }
    }
}

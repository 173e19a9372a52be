use proptest::prelude::*;

use super::*;
use crate::congestion::MAX_CWND;
use crate::congestion::tests::ack;

const MSS: u16 = 1000;

/// In congestion avoidance, about to begin an epoch at `cwnd`, with the plateau at `w_max`.
fn reduced(cwnd: u32, w_max: u32) -> Cubic {
    let mut window = Window::new(MSS, false);
    window.set_ssthresh(cwnd);
    window.set_cwnd(cwnd);
    Cubic { window, w_max, cwnd_prior: w_max, stage: Stage::Reduced, saved: None }
}

fn epoch_of(cubic: &Cubic) -> Epoch {
    let Stage::Epoch(epoch) = cubic.stage else { panic!("no epoch: {cubic:?}") };
    epoch
}

#[test]
fn times_to_the_plateau() {
    // W_max - cwnd in segments; K in us.
    let cases = [(0, 0), (50, 5_000_000), (400, 10_000_000), (3200, 20_000_000), (30, 4_217_163)];
    for (segments, k) in cases {
        assert_eq!(plateau_time(segments * u32::from(MSS), MSS), k, "{segments}");
    }
    assert_eq!(plateau_time(MAX_CWND, 1), 1_389_781_819);
    assert_eq!(plateau_time(u32::MAX, 1), 2_206_141_122);
}

#[test]
fn the_cubic_function() {
    // t and K in s, W_max and W_cubic in segments.
    let cases = [
        (0, 5, 200, 150),
        (5, 5, 200, 200),
        (10, 5, 200, 250),
        (15, 5, 200, 600),
        (3, 8, 200, 150),
        (0, 20, 200, 0),
        (100, 0, 200, 400_200),
        (2000, 0, 200, 3_200_000_200),
    ];
    for (t, k, w_max, window) in cases {
        let got = cubic_window(t * 1_000_000, k * 1_000_000, w_max * 1000, MSS);
        let window = (window * 1000u64).min(u32::MAX.into()) as u32;
        // Rounded towards the plateau: C has 31 bits.
        assert!(got.abs_diff(window) <= 1, "{t} {k}: {got}");
    }
    assert_eq!(cubic_window(u32::MAX, 0, u32::MAX, u16::MAX), u32::MAX);
    assert_eq!(cubic_window(0, u32::MAX, u32::MAX, u16::MAX), 0);
}

proptest! {
    #[test]
    fn cube_roots(n: u128, shift in 0..128u32) {
        let n = n >> shift;
        let root = u128::from(cube_root(n));
        let cube = |x: u128| x * x * x;
        prop_assert!(cube(root) <= n);
        prop_assert!(cube(root + 1) > n || root == u128::from(u32::MAX));
    }

    /// The float twin of the cubic function and of K.
    #[test]
    fn as_in_floating_point(
        cwnd in 0..=MAX_CWND,
        above in 0..=MAX_CWND,
        t in 0..1u32 << 31,
        mss in 1..=u16::MAX,
        shift in 0..24u32,
    ) {
        let (cwnd, above) = (cwnd >> shift, above >> shift);
        let w_max = cwnd.saturating_add(above);
        let segment = f64::from(mss);
        let k = (f64::from(w_max - cwnd) / segment / 0.4).cbrt();
        let integer_k = plateau_time(w_max - cwnd, mss);
        prop_assert!((f64::from(integer_k) / 1e6 - k).abs() < 1.1e-6, "{integer_k} {k}");

        let off = f64::from(t) / 1e6 - f64::from(integer_k) / 1e6;
        let exact = 0.4 * off.powi(3) * segment + f64::from(w_max);
        let integer = f64::from(cubic_window(t, integer_k, w_max, mss));
        let tolerance = 2.0 + 2e-9 * (exact - f64::from(w_max)).abs();
        prop_assert!((integer - exact.clamp(0.0, u32::MAX.into())).abs() < tolerance, "{integer} {exact}");
        if t == 0 {
            prop_assert!((integer - f64::from(cwnd)).abs() <= tolerance);
        }
    }
}

#[test]
fn reductions() {
    // cwnd, W_max, flight size; then ssthresh and W_max.
    let cases = [
        (100_000, 0, 100_000, 70_000, 100_000),
        (100_000, 90_000, 100_000, 70_000, 100_000),
        (100_000, 100_000, 100_000, 70_000, 100_000),
        (100_000, 110_000, 100_000, 70_000, 85_000),
        (100_000, 0, 50_000, 35_000, 100_000),
        (100_000, 0, 150_000, 70_000, 100_000),
        (2000, 0, 2000, 2000, 2000),
    ];
    for (cwnd, w_max, flight, ssthresh, plateau) in cases {
        let mut cubic = reduced(cwnd, w_max);
        cubic.on_congestion(Signal::Loss, flight);
        assert_eq!((cubic.cwnd(), cubic.ssthresh(), cubic.w_max), (ssthresh, ssthresh, plateau));
        assert_eq!(cubic.cwnd_prior, cwnd);
        let mut cubic = reduced(cwnd, w_max);
        cubic.on_timeout(flight, true);
        assert_eq!((cubic.cwnd(), cubic.ssthresh()), (u32::from(MSS), ssthresh));
    }
    let mut cubic = reduced(2000, 0);
    cubic.on_congestion(Signal::EcnEcho, 2000);
    assert_eq!((cubic.cwnd(), cubic.ssthresh()), (1400, 2000));
    cubic.undo();
    assert_eq!(cubic.cwnd(), 1400);
}

#[test]
fn the_first_slow_start() {
    let mut cubic = Cubic::new(Window::new(MSS, false));
    cubic.on_ack(&ack(0, 9000, 10_000));
    assert_eq!(cubic.cwnd(), 19_000);
    cubic.on_ack(&ack(0, 18_000, 19_000));
    assert_eq!(cubic.cwnd(), 37_000);
    cubic.end_first_slow_start();
    assert_eq!((cubic.ssthresh(), cubic.cwnd_prior, cubic.stage), (37_000, 37_000, Stage::Restart));
}

#[test]
fn where_epochs_begin() {
    // After a reduction, K is the way to W_max.
    let mut cubic = reduced(150_000, 200_000);
    cubic.on_ack(&ack(7, 1000, 150_000));
    let epoch = epoch_of(&cubic);
    assert_eq!((epoch.k, epoch.elapsed, epoch.updated), (5_000_000, 0, Micros::new(7)));

    // Above W_max, the plateau is where the epoch begins.
    let mut cubic = reduced(150_000, 120_000);
    cubic.on_ack(&ack(7, 1000, 150_000));
    assert_eq!((epoch_of(&cubic).k, cubic.w_max), (0, 150_000));

    // After a timeout, there is none before the end of slow start.
    let mut cubic = reduced(10_000, 200_000);
    cubic.on_timeout(10_000, true);
    for n in 0..6 {
        assert_eq!((cubic.cwnd(), cubic.stage), (1000 + n * 1000, Stage::Restart));
        cubic.on_ack(&ack(7, 1000, cubic.cwnd()));
    }
    assert_eq!(cubic.stage, Stage::Restart);
    cubic.on_ack(&ack(8, 1000, 7000));
    assert_eq!((epoch_of(&cubic).k, cubic.w_max), (0, 7000));
}

#[test]
fn the_window_follows_the_cubic_function() {
    // 10 s at an RTT of 100 ms, from 3500 segments to the plateau at 5000, and past it.
    let (mut cubic, rtt) = (reduced(3_500_000, 5_000_000), 100_000);
    for round in 0..300u32 {
        let now = round * rtt;
        let acks = cubic.cwnd() / 100_000;
        for n in 0..acks {
            let sample = AckSample { srtt: rtt, ..ack(now + n * (rtt / acks), 100_000, cubic.cwnd()) };
            cubic.on_ack(&sample);
        }
        let w_cubic = f64::from(cubic_window(now + rtt, plateau_time(1_500_000, MSS), 5_000_000, MSS));
        let off = f64::from(cubic.cwnd()) / w_cubic;
        assert!((0.98..1.02).contains(&off), "{round}: {off}");
    }
}

#[test]
fn growth_aims_at_the_window_a_round_trip_ahead() {
    let mut cubic = reduced(100_000, 150_000);
    cubic.on_ack(&ack(0, 0, 100_000));
    cubic.on_ack(&AckSample { srtt: 1_900_000, ..ack(100_000, 2000, 100_000) });
    // W_cubic(2 s) is 139.2 segments (K is 5 s); an ACK of a fiftieth of the window goes a fiftieth there.
    assert_eq!(cubic.cwnd(), 100_000 + 39_200 / 50);
}

#[test]
fn no_more_than_half_a_window_a_round_trip() {
    let mut cubic = reduced(100_000, 100_000);
    cubic.on_ack(&ack(0, 1000, 100_000));
    // 100 s later W_cubic is 400,100 segments: target is 1.5 cwnd.
    let before = cubic.cwnd();
    cubic.on_ack(&ack(100_000_000, 1000, before));
    assert_eq!(cubic.cwnd() - before, 500);
}

#[test]
fn the_reno_friendly_region() {
    // At an RTT of 1 ms the cubic function stands still.
    let mut cubic = reduced(10_000, 20_000);
    let mut round_trip = |now: u32| {
        let before = cubic.cwnd();
        for n in 0..before / 1000 {
            cubic.on_ack(&AckSample { srtt: 1000, ..ack(now + n, 1000, cubic.cwnd()) });
        }
        (before, cubic.cwnd() - before)
    };
    let (before, growth) = round_trip(0);
    // alpha = 9/17 of a segment a round trip below cwnd_prior, and 1 above.
    assert_eq!((before, growth), (10_000, 517));
    let last = (1..40).map(|round| round_trip(round * 1000)).last().unwrap();
    assert!(last.0 > 20_000 && (930..=1000).contains(&last.1), "{last:?}");
}

#[test]
fn large_windows_grow_by_parts_of_a_byte() {
    // 0.1 bytes an ACK.
    let mut cubic = reduced(5_000_000, 5_000_000);
    for _ in 0..5000 {
        cubic.on_ack(&AckSample { srtt: 0, ..ack(0, 1000, 5_000_000) });
    }
    let grown = epoch_of(&cubic).w_est - 5_000_000;
    assert!((995..=1000).contains(&grown), "{grown}");
}

#[test]
fn time_does_not_pass_while_the_application_is_the_limit() {
    let mut cubic = reduced(100_000, 120_000);
    cubic.on_ack(&ack(0, 1000, 100_000));
    cubic.on_ack(&ack(50_000, 1000, cubic.cwnd()));
    let (before, elapsed) = (cubic.cwnd(), epoch_of(&cubic).elapsed);
    for n in 2..1000 {
        cubic.on_ack(&ack(n * 50_000, 1000, 3000));
    }
    assert_eq!((cubic.cwnd(), epoch_of(&cubic).elapsed), (before, elapsed));
    cubic.on_ack(&ack(1000 * 50_000, 1000, before));
    assert_eq!(epoch_of(&cubic).elapsed, elapsed + 50_000);

    // Nor in idle time, however short.
    cubic.on_idle(Micros::new(50_500_000), Duration::from_millis(500), Duration::from_secs(1));
    cubic.on_ack(&ack(50_550_000, 1000, cubic.cwnd()));
    assert_eq!(epoch_of(&cubic).elapsed, elapsed + 100_000);

    let later = Micros::new(3_000_000_000);
    cubic.on_idle(later, Duration::from_secs(2950), Duration::from_secs(1));
    assert_eq!((cubic.cwnd(), cubic.ssthresh() / 1000), (10_000, 100));
    let restarted = later.get();
    for n in 0..100 {
        cubic.on_ack(&ack(restarted + n, 1000, cubic.cwnd()));
    }
    assert!(!cubic.in_slow_start());
    assert_eq!(epoch_of(&cubic).elapsed, elapsed + 100_000 + 10);
}

#[test]
fn undo_keeps_a_window_that_has_outgrown_it() {
    let mut cubic = reduced(100_000, 100_000);
    cubic.on_congestion(Signal::Loss, 100_000);
    cubic.set_cwnd(100_000);
    let before = cubic.clone();
    cubic.undo();
    assert_eq!(cubic, Cubic { saved: None, ..before });
}

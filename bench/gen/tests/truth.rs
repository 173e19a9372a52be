//! What a simulated link did is what the tester says it did.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::{Bench, load};
use generator::trial::{Trial, TrialError};
use sim::LinkConfig;
use wire::Instant;

const MS: Duration = Duration::from_millis(1);
const US: Duration = Duration::from_micros(1);

fn run(bench: &Bench, pps: f64, duration: Duration) -> Trial {
    bench.tester().trial(&[load(pps, duration)]).unwrap()
}

/// Whether `ns` is `expected` within what a histogram keeps, and one turn of the loop.
#[track_caller]
fn near(ns: u64, expected: Duration, bench: &Bench) {
    let expected = expected.as_nanos() as u64;
    let error = expected / 1000 + 4 * bench.step.as_nanos() as u64;
    assert!(ns.abs_diff(expected) <= error, "{ns} ns, expected {expected} within {error}");
}

#[test]
fn a_perfect_link_is_perfect() {
    let bench = Bench::new(LinkConfig::default(), 1);
    let mut tester = bench.tester();
    for _ in 0..3 {
        let total = tester.trial(&[load(100_000.0, 100 * MS)]).unwrap().total();
        assert_eq!((total.intended, total.sent, total.received.unique), (10_000, 10_000, 10_000));
        assert_eq!((total.lost(), total.received.frames(), total.received.reordered), (0, 10_000, 0));
    }
    drop(tester);
    assert_eq!(bench.wire.stats().delivered, 30_000);
    assert!(bench.pool.is_full(), "frames are left over");
}

#[test]
fn loss_duplication_and_order_are_counted_exactly() {
    for seed in 0..10 {
        let config =
            LinkConfig { delay: MS, loss: 0.01, loss_run: 0.3, duplication: 0.02, ..LinkConfig::default() };
        let bench = Bench::new(config, seed);
        let trial = run(&bench, 100_000.0, 200 * MS);
        let (total, truth) = (trial.total(), bench.wire.stats());
        let counted = (total.lost(), total.received.duplicated, total.received.corrupted);
        assert_eq!(counted, (truth.lost, truth.duplicated, 0));
        assert_eq!((total.received.reordered, total.received.expired), (0, 0), "seed {seed}");
        assert!(truth.lost > 100 && truth.duplicated > 100, "{truth:?}");
    }
}

#[test]
fn reordering_is_counted_exactly() {
    for seed in 0..10 {
        let config =
            LinkConfig { delay: MS, reordering: 0.02, reorder_delay: 300 * US, ..LinkConfig::default() };
        // One stream: the link's order is that of the stream.
        let bench = Bench { flows: 1, ..Bench::new(config, seed) };
        let total = run(&bench, 100_000.0, 200 * MS).total();
        assert_eq!((total.received.reordered, total.lost()), (bench.wire.stats().reordered, 0));
        assert!(total.received.reordered > 300, "{total:?}");
        // A frame comes each 10 us, and a late one is 300 us late: 30 overtake it, and late ones from before.
        assert!((25..=36).contains(&total.received.reorder_extent), "{}", total.received.reorder_extent);
    }
}

#[test]
fn corruption_is_told_from_loss() {
    let config = LinkConfig { corruption: 0.05, loss: 0.05, ..LinkConfig::default() };
    let bench = Bench { sizes: "512".parse().unwrap(), ..Bench::new(config, 3) };
    let total = run(&bench, 100_000.0, 200 * MS).total();
    let truth = bench.wire.stats();
    assert_eq!(total.lost(), truth.lost, "damaged packets are not lost ones");
    // What is damaged in the 12 bytes of Ethernet addresses only is not seen: of 508 bytes, 2.4 %, give or take.
    let unseen = truth.corrupted - total.received.corrupted;
    let (mean, deviation) = (truth.corrupted as f64 * 12.0 / 508.0, (truth.corrupted as f64 * 0.0237).sqrt());
    assert!((unseen as f64 - mean).abs() < 5.0 * deviation, "{unseen} of {} unseen", truth.corrupted);
    assert_eq!(total.received.frames(), truth.delivered);
}

#[test]
fn known_latency_and_jitter() {
    for delay in [50 * US, 3 * MS, 250 * MS] {
        let bench = Bench::new(LinkConfig { delay, ..LinkConfig::default() }, 1);
        let trial = run(&bench, 50_000.0, 100 * MS);
        for quantile in [0.0, 0.5, 0.999, 1.0] {
            near(trial.timing.latency.value_at_quantile(quantile), delay, &bench);
        }
        assert!(trial.jitter.unwrap() <= 2 * bench.step.as_nanos() as u64, "{:?}", trial.jitter);
    }
    let bench = Bench {
        flows: 1,
        ..Bench::new(LinkConfig { delay: MS, jitter: 8 * US, ..LinkConfig::default() }, 1)
    };
    let trial = run(&bench, 50_000.0, 500 * MS);
    near(trial.timing.latency.value_at_quantile(0.5), 1004 * US, &bench);
    near(trial.timing.latency.max(), 1008 * US, &bench);
    // Two evenly spread numbers up to 8 differ by a third of that on average.
    let mean = trial.timing.variation.mean();
    assert!((2000.0..3400.0).contains(&mean), "{mean}");
    assert!((1500..4000).contains(&trial.jitter.unwrap()), "{:?}", trial.jitter);
}

/// Coordinated omission: a tester that waited for the stall to end would see one slow packet.
#[test]
fn a_stall_shows_in_a_tenth_of_the_packets() {
    // Once the frames pile up in the device, once it refuses them and they pile up in the tester.
    for room in [usize::MAX, 100] {
        let bench = Bench { patience: 200 * MS, ..Bench::new(LinkConfig::default(), 1) };
        {
            let mut dut = bench.wire.0.lock().unwrap();
            dut.room = room;
            dut.stall = (Instant::from_millis(1500), Instant::from_millis(1600));
        }
        let trial = run(&bench, 100_000.0, 1000 * MS);
        let total = trial.total();
        assert_eq!((total.sent, total.lost()), (100_000, 0));
        let at = |quantile| trial.timing.latency.value_at_quantile(quantile);
        assert!(at(0.88) < 100_000, "{}", at(0.88));
        // Of each hundred packets ten were due in the stall, and waited 100, 90, ... ms.
        for (quantile, millis) in [(0.92, 20), (0.95, 50), (0.99, 90), (0.999, 99), (1.0, 100)] {
            let off = at(quantile).abs_diff(millis * 1_000_000);
            assert!(off < 1_500_000, "{quantile}: {} ns, room {room}", at(quantile));
        }
    }
}

#[test]
fn what_is_not_sent_in_time_is_told_apart_and_the_trial_not_made_longer() {
    // A device that takes a frame each 20 us, and no more than 10 at once.
    let config = LinkConfig { rate: Some(59_200_000), queue_limit: 1000, ..LinkConfig::default() };
    let bench = Bench { patience: MS, ..Bench::new(config, 1) };
    bench.wire.0.lock().unwrap().room = 10;
    let start = bench.clock.now();
    let trial = run(&bench, 100_000.0, 200 * MS);
    let took = bench.clock.now() - start;
    let total = trial.total();
    assert_eq!((total.intended, total.lost(), total.not_sent()), (20_000, 0, 20_000 - total.sent));
    assert!((9_900..10_200).contains(&total.sent), "{total:?}");
    assert!((total.loss_ratio() - 0.5).abs() < 0.01);
    assert!(took < 210 * MS, "{took:?}");
    // None waited longer than the patience, and the room.
    assert!(trial.timing.latency.max() < 1_300_000, "{}", trial.timing.latency.max());
}

#[test]
fn a_trial_without_sense_has_no_result() {
    let error = |config: LinkConfig, pps| Bench::new(config, 1).tester().trial(&[load(pps, 10 * MS)]).err();
    let dead = LinkConfig { loss: 1.0, loss_run: 1.0, ..LinkConfig::default() };
    assert_eq!(error(dead, 1e5), Some(TrialError::NothingReceived(1000)));
    for rate in [0.0, -1.0, f64::NAN, 2e9] {
        assert_eq!(error(LinkConfig::default(), rate), Some(TrialError::Rate(rate.to_string())));
    }
    let slow = LinkConfig { delay: Duration::from_secs(61), ..LinkConfig::default() };
    let bench = Bench { drain: Duration::from_secs(70), step: MS, ..Bench::new(slow, 1) };
    let error = bench.tester().trial(&[load(100.0, 100 * MS)]).err();
    assert_eq!(error, Some(TrialError::Overflow(10)));
    let bench = Bench::new(LinkConfig::default(), 1);
    bench.wire.0.lock().unwrap().room = 0;
    assert_eq!(bench.tester().trial(&[load(1e5, 10 * MS)]).err(), Some(TrialError::NothingSent(1000)));
}

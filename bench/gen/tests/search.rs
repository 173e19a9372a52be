//! Searches over simulated links: every trial runs packet by packet, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::Bench;
use generator::search::goal::Goal;
use generator::search::mlr::MlrSearch;
use generator::search::rfc2544::{Rfc2544, Settings};
use generator::search::{Observation, Procedure};
use generator::trial::TrialError;
use sim::LinkConfig;

/// A link of 128-byte frames at this rate: each takes 148 bytes and the check sequence's four are among them.
const KNEE: f64 = 10_000.0;

fn knee(seed: u64) -> Bench {
    let config = LinkConfig {
        rate: Some((KNEE * 148.0 * 8.0) as u64),
        queue_limit: 16,
        delay: Duration::from_micros(200),
        // One trial in ten loses a packet that has nothing to do with the load.
        loss: 2e-5,
        ..LinkConfig::default()
    };
    Bench { step: Duration::from_micros(20), drain: Duration::from_millis(20), ..Bench::new(config, seed) }
}

fn run(bench: &Bench, procedure: &mut impl Procedure) -> usize {
    let mut tester = bench.tester();
    let mut trials = 0;
    while let Some(loads) = procedure.next() {
        let trial = tester.trial(&loads).unwrap();
        procedure.record(&Observation::from(&trial));
        trials += 1;
    }
    trials
}

#[test]
fn the_no_drop_rate_repeats_within_half_a_percent() {
    let goal =
        |goal: Goal| Goal { trial: Duration::from_millis(400), sum: Duration::from_millis(2000), ..goal };
    let rates: Vec<f64> = (0..20)
        .map(|seed| {
            let mut search = MlrSearch::new(vec![goal(Goal::ndr())], 10.0, 10.0 * KNEE, 1);
            run(&knee(seed), &mut search);
            search.results()[0].throughput.unwrap()
        })
        .collect();
    let (least, most) = rates.iter().fold((f64::MAX, 0.0_f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
    assert!((most - least) / most <= 0.005, "{rates:?}");
    assert!(least >= 0.99 * KNEE && most <= 1.01 * KNEE, "{least} to {most}");
}

#[test]
fn rfc_2544_over_packets() {
    // RFC 2544 has no patience with a loss that has nothing to do with the load.
    let bench = knee(1);
    bench.wire.set_loss(0.0);
    let mut tests = Rfc2544::new(Settings::short(2.0 * KNEE, Duration::from_millis(500)));
    run(&bench, &mut tests);
    let found = tests.findings();
    let throughput = found.throughput_pps.unwrap();
    // The queue of 16 hides an overload of 32 frames a second for half a second.
    assert!((KNEE * 0.98..KNEE * 1.02).contains(&throughput), "{throughput}");
    assert!(found.latencies_ns.iter().all(|ns| (200e3..2e6).contains(ns)), "{:?}", found.latencies_ns);
    assert!((found.loss_curve[0].1 - 0.5).abs() < 0.01, "{:?}", found.loss_curve);
    // A burst at twice the rate fills the queue when it is about twice as long.
    assert!(found.bursts.iter().all(|frames| (10..250).contains(frames)), "{:?}", found.bursts);
    // After an overload the queue of 16 is empty within 16 frames' time.
    assert!(found.recovery.unwrap() < Duration::from_millis(2), "{:?}", found.recovery);
}

#[test]
fn a_search_ends_with_the_sentence_when_nothing_comes_back() {
    let bench = Bench::new(LinkConfig { loss: 1.0, loss_run: 1.0, ..LinkConfig::default() }, 1);
    let mut search = MlrSearch::new(vec![Goal::ndr()], 10.0, KNEE, 1);
    let error = bench.tester().trial(&search.next().unwrap()).err().unwrap();
    assert!(matches!(error, TrialError::NothingReceived(_)));
}

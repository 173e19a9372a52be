//! Many hosts in virtual time, each world made from a seed.
//!
//! A seed that fails is printed with the command that runs it again:
//! `SLUICE_SEED=1234 cargo test -p tcp --test network -- replay --nocapture`; with
//! `SLUICE_PCAP=path`, what was sent is written as a capture.

mod app;
mod bytes;
mod checks;
mod disturb;
mod forge;
mod host;
mod scenario;
mod throughput;
mod watch;
mod wiretap;
mod world;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sim::{PcapWriter, SimPool};

use scenario::Scenario;
use world::World;

/// Runs the world of a seed: what was wrong, and the hash of its packets.
fn run(seed: u64, pool: &SimPool) -> (Vec<String>, u64) {
    let mut world = World::new(seed, Scenario::new(seed), pool);
    world.run();
    let digest = world.digest;
    (world.finish(pool), digest)
}

/// Runs many seeds, and tells of those that fail.
fn run_all(seeds: Range<u64>) {
    let mut pool = host::frame_pool();
    let mut failed = 0;
    for seed in seeds {
        let complaints = catch_unwind(AssertUnwindSafe(|| run(seed, &pool).0)).unwrap_or_else(|_| {
            // What the panic has leaked is not the next seed's.
            pool = host::frame_pool();
            vec!["a panic".to_owned()]
        });
        if complaints.is_empty() {
            continue;
        }
        failed += 1;
        eprintln!("seed {seed}: SLUICE_SEED={seed} cargo test -p tcp --test network -- replay --nocapture");
        complaints.iter().for_each(|text| eprintln!("    {text}"));
        assert!(failed < 10, "too many seeds fail");
    }
    assert_eq!(failed, 0, "seeds that fail");
}

#[test]
fn seeds_0() {
    run_all(0..2500);
}

#[test]
fn seeds_1() {
    run_all(2500..5000);
}

#[test]
fn seeds_2() {
    run_all(5000..7500);
}

#[test]
fn seeds_3() {
    run_all(7500..10_000);
}

#[test]
fn a_seed_is_always_the_same() {
    let pool = host::frame_pool();
    for seed in 20_000..20_100 {
        assert_eq!(run(seed, &pool), run(seed, &pool), "seed {seed}");
    }
}

/// The seeds of `SLUICE_SEEDS`, if that is set to `first..end`: for a long run.
#[test]
fn more_seeds() {
    let Ok(range) = std::env::var("SLUICE_SEEDS") else { return };
    let bounds = range.split_once("..").and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    run_all(bounds.expect("SLUICE_SEEDS is first..end"));
}

/// The world of `SLUICE_SEED`, if that is set.
#[test]
fn replay() {
    let Ok(seed) = std::env::var("SLUICE_SEED") else { return };
    let seed = seed.parse().expect("SLUICE_SEED is a number");
    let pool = host::frame_pool();
    let scenario = Scenario::new(seed);
    scenario.hosts.iter().for_each(|host| eprintln!("{host:?}"));
    scenario.flows.iter().for_each(|flow| eprintln!("{flow:?}"));
    eprintln!("{:?}", scenario.disturbances);
    let mut world = World::new(seed, scenario, &pool);
    let path = std::env::var_os("SLUICE_PCAP");
    if path.is_some() {
        world.capture = Some(PcapWriter::new(Vec::new()).unwrap());
    }
    world.talks = true;
    world.run();
    if let Some((path, capture)) = path.zip(world.capture.take()) {
        std::fs::write(path, capture.finish().unwrap()).unwrap();
    }
    for (i, end) in world.endpoints.iter().enumerate() {
        let state = (end.outcome, end.sent, end.read, end.over_at - world.scenario.start);
        eprintln!("flow {} side {} at host {}: {state:?}", i / 2, i % 2, end.host);
    }
    let complaints = world.finish(&pool);
    assert!(complaints.is_empty(), "{complaints:#?}");
}

//! How fast one connection is, in virtual time, against what theory says.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sim::{LinkConfig, Rng, SimPool};
use tcp::config::Config;
use wire::Instant;

use crate::app::{Ending, Plan, Turn};
use crate::bytes::Stream;
use crate::host::frame_pool;
use crate::scenario::{FlowPlan, HostPlan, Scenario};
use crate::wiretap::Header;
use crate::world::World;

/// Data of a full segment with timestamps, of an MTU of 1500.
const MSS: u64 = 1448;

/// One connection that sends `bytes` from host 0 over the link `out`; ACKs come back over `back`.
fn bulk(config: Config, bytes: u64, out: LinkConfig, back: LinkConfig) -> Scenario {
    let plan = |total: u64, peer_total: u64| Plan {
        stream: Stream(total),
        turns: vec![Turn { after: 0, upto: total }],
        piece: 64 << 10,
        echo: false,
        peer_stream: Stream(peer_total),
        peer_total,
        stalls: Vec::new(),
        hold: None,
        ending: Ending::Shutdown,
        leaves_early: false,
        eager: false,
        nodelay: false,
        user_timeout: None,
    };
    let host =
        |link| HostPlan { config: config.clone(), link, frames: usize::MAX, backlog: 16, path_mtu: None };
    let flow = FlowPlan {
        client: 0,
        server: 1,
        start: Duration::ZERO,
        after: None,
        port: 0,
        crossed: false,
        plans: [plan(bytes, 0), plan(0, bytes)],
    };
    Scenario {
        start: Instant::from_millis(1),
        hosts: vec![host(out), host(back)],
        flows: vec![flow],
        disturbances: Vec::new(),
        marks: 0.0,
        scarce: false,
    }
}

/// A link of a round trip of `rtt`, half of it this way.
fn path(rate: u64, rtt: Duration) -> LinkConfig {
    LinkConfig { rate: Some(rate), delay: rtt / 2, queue_limit: 10_000, ..LinkConfig::default() }
}

/// Bytes a second that are read between `from` and `to`.
fn goodput(world: &mut World, from: Duration, to: Duration) -> f64 {
    world.run_until(from);
    let before = world.endpoints[1].read;
    world.run_until(to);
    assert!(world.complaints.is_empty(), "{:?}", world.complaints);
    (world.endpoints[1].read - before) as f64 / (to - from).as_secs_f64()
}

/// What CUBIC is to reach at a loss rate of `p` where its Reno-friendly region rules, in segments a round
/// trip.
///
/// RFC 9438 section 4.3: with additive increase alpha = 3 (1 - beta) / (1 + beta) and multiplicative
/// decrease beta = 0.7, the mean window is sqrt(alpha (1 + beta) / (2 (1 - beta) p)) = sqrt(1.5 / p), that of
/// Reno: 12.25 segments at 1 %. The cubic curve does not rule there: at 50 ms, section 5.1 has a mean window
/// of 1.054 (RTT / p)^(3/4) = 3.5 segments for it. RACK is to lose nothing of that: what is lost is found and
/// sent again within the round trip that the reduction takes, without a timeout.
fn friendly_window(p: f64) -> f64 {
    const BETA: f64 = 0.7;
    const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);
    (ALPHA * (1.0 + BETA) / (2.0 * (1.0 - BETA) * p)).sqrt()
}

#[test]
fn one_percent_loss_at_50_ms() {
    let rtt = Duration::from_millis(50);
    let pool = frame_pool();
    let mean = (0..6).map(|seed| {
        let out = LinkConfig { loss: 0.01, ..path(100_000_000, rtt) };
        let scenario = bulk(Config::default(), 1 << 30, out, path(100_000_000, rtt));
        let mut world = World::new(seed, scenario, &pool);
        goodput(&mut world, Duration::from_secs(5), Duration::from_secs(125)) / 6.0
    });
    let window = mean.sum::<f64>() * rtt.as_secs_f64() / MSS as f64;
    let want = friendly_window(0.01);
    assert!(
        (0.95..1.05).contains(&(window / want)),
        "{window:.2} segments a round trip, {want:.2} by theory"
    );
}

#[test]
fn five_percent_reordered() {
    let rtt = Duration::from_millis(50);
    let pool = frame_pool();
    let run = |reordering| {
        let out = LinkConfig { reordering, reorder_delay: rtt / 10, ..path(50_000_000, rtt) };
        let scenario = bulk(Config::default(), 1 << 30, out, path(50_000_000, rtt));
        let mut world = World::new(1, scenario, &pool);
        let rate = goodput(&mut world, Duration::from_secs(30), Duration::from_secs(60));
        let counters = *world.hosts[0].shard.counters();
        (rate, world.links[0].stats().lost + world.links[0].stats().overflowed, counters)
    };
    let (in_order, _, _) = run(0.0);
    let (reordered, dropped, counters) = run(0.05);
    assert!(reordered >= 0.9 * in_order, "{reordered:.0} of {in_order:.0} bytes a second");
    // What was sent again and had not been lost.
    let spurious = counters.retransmitted.saturating_sub(dropped) as f64 / counters.segments_out as f64;
    assert!(spurious < 0.01, "{:.2} % sent again for nothing", spurious * 100.0);
}

/// The last 10 of some segments are lost, and silence follows, from the last ACK on or from when the last of
/// them was sent. How long that takes until they are sent again, the probe aside, and until all are there:
/// in round trips.
fn tail_loss(seed: u64, pool: &SimPool) -> [f64; 2] {
    let mut rng = Rng::new(seed).fork("tail");
    let rtt = Duration::from_millis(20 + rng.range(0..180));
    let segments = 20 + rng.range(0..200);
    let rate = 100_000_000 + rng.range(0..900_000_000);
    let total = segments * MSS;
    let out = path(rate, rtt);
    let mut world = World::new(seed, bulk(Config::default(), total, out.clone(), out), pool);
    let (mut start, mut lost) = (None, 0);
    let again = Rc::new(Cell::new(0));
    let counted = Rc::clone(&again);
    world.loses = Some(Box::new(move |header: &Header| {
        let first = *start.get_or_insert(header.seq);
        let last_ten =
            header.payload > 0 && u64::from(header.seq.distance_from(first + 1)) >= total - 10 * MSS;
        lost += u32::from(last_ten);
        counted.set(lost.saturating_sub(10));
        last_ten && lost <= 10
    }));
    let (mut heard, mut silence, mut repaired) = (0, world.now, None);
    while !world.endpoints[1].peer_ended {
        let elapsed = world.now - world.scenario.start;
        assert!(elapsed < Duration::from_secs(20), "seed {seed} takes too long");
        world.run_until(elapsed + rtt / 100);
        let segments_in = world.hosts[0].shard.counters().segments_in;
        if again.get() == 0 && (world.drops_so_far() < 10 || segments_in > heard) {
            (silence, heard) = (world.now, segments_in);
        }
        // The first after the ten is the probe.
        repaired = repaired.or((again.get() > 1).then_some(world.now));
    }
    let took = |at: Instant| (at - silence).as_secs_f64() / rtt.as_secs_f64();
    [took(repaired.expect("the tail was lost")), took(world.now)]
}

/// RFC 8985 section 7.2 lets two smoothed round trips pass before it probes (which delayed ACKs make longer
/// than two of the path's); the answer takes a third, and then all ten are known to be lost, and are sent
/// again. Nothing is in flight then, so proportional rate reduction lets one go, and two for each that is
/// acknowledged (RFC 9937, slow start): 1, 2, 4 and 2 segments, half a round trip after the last of which
/// all are there.
#[test]
fn ten_segments_lost_at_the_end() {
    let pool = frame_pool();
    let took: Vec<_> = (0..400).map(|seed| tail_loss(seed, &pool)).collect();
    let p99 = |which: usize| {
        let mut all: Vec<_> = took.iter().map(|took| took[which]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() * 99 / 100 - 1]
    };
    let (again, done) = (p99(0), p99(1));
    assert!(again <= 3.5 && done <= 7.0, "sent again after {again:.2} round trips, done after {done:.2}");
}

#[test]
fn long_fat_pipe() {
    let (rate, rtt) = (1_000_000_000, Duration::from_millis(100));
    let config = Config {
        send_buffer: 64 << 20,
        receive_buffer_max: 64 << 20,
        memory: 256 << 20,
        ..Config::default()
    };
    let pool = SimPool::new(40_000, 1600);
    let scenario = bulk(config, 4 << 30, path(rate, rtt), path(rate, rtt));
    let mut world = World::new(1, scenario, &pool);
    let reached = goodput(&mut world, Duration::from_secs(4), Duration::from_secs(6));
    // The share of a full frame, with its overhead, that is data.
    let full = rate as f64 / 8.0 * MSS as f64 / 1524.0;
    assert!(reached >= 0.9 * full, "{reached:.0} of {full:.0} bytes a second");
}

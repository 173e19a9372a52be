//! A million routes: the table answers as a naive twin on ten million addresses while it is changed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod fib_support;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::thread;

use fib_support::{address, prefix, routes, within};
use foldhash::fast::FixedState;
use l2l3::fib::{AdjacencyId, Fib, FibLimits, FibWriter};
use sim::Rng;
use wire::Ipv4Prefix;

const ROUTES: usize = 1_000_000;
const UPDATES: usize = 100_000;
const ADDRESSES: usize = 10_000_000;
const BATCH: usize = 50;
const HOPS: u32 = 1000;

const HASHER: FixedState = FixedState::with_seed(0);

type Route = (Ipv4Prefix, AdjacencyId);

/// Sets a route, or takes it out if it leads to [`AdjacencyId::NONE`].
type Update = Route;

/// A hash set per length, searched from the longest: and every answer of the past, since an answer
/// given while updates run is right if it was right at some moment of the lookup.
struct Twin {
    by_len: [HashMap<u32, Past, FixedState>; 33],
    pasts: Vec<Vec<(usize, AdjacencyId)>>,
}

/// Where a route led: always to the same, or as `Twin::pasts` says, by the update that changed it.
#[derive(Clone, Copy)]
enum Past {
    Always(AdjacencyId),
    Changed(u32),
}

impl Twin {
    fn new(routes: &[Route], updates: &[Update]) -> Self {
        let mut twin = Twin { by_len: [const { HashMap::with_hasher(HASHER) }; 33], pasts: Vec::new() };
        for (prefix, to) in routes {
            twin.by_len[usize::from(prefix.len())].insert(prefix.bits(), Past::Always(*to));
        }
        for (i, (prefix, to)) in updates.iter().enumerate() {
            let fresh = Past::Always(AdjacencyId::NONE);
            let past = twin.by_len[usize::from(prefix.len())].entry(prefix.bits()).or_insert(fresh);
            if let Past::Always(to) = *past {
                *past = Past::Changed(twin.pasts.len() as u32);
                twin.pasts.push(vec![(0, to)]);
            }
            if let Past::Changed(index) = *past {
                twin.pasts[index as usize].push((i + 1, *to));
            }
        }
        twin
    }

    /// Where `prefix` itself leads after the first `version` updates.
    fn get(&self, prefix: Ipv4Prefix, version: usize) -> AdjacencyId {
        match self.by_len[usize::from(prefix.len())].get(&prefix.bits()) {
            None => AdjacencyId::NONE,
            Some(Past::Always(to)) => *to,
            Some(Past::Changed(index)) => {
                let past = &self.pasts[*index as usize];
                past[past.partition_point(|(since, _)| *since <= version) - 1].1
            }
        }
    }

    /// The longest match of `addr` after the first `version` updates.
    fn lookup(&self, addr: u32, version: usize) -> AdjacencyId {
        let around = (0..=32).rev().map(|len| Ipv4Prefix::new(Ipv4Addr::from_bits(addr), len));
        around.map(|prefix| self.get(prefix, version)).find(|to| !to.is_none()).unwrap_or_default()
    }
}

/// New routes, changed ones and removals in equal parts; one in eight is longer than /24.
fn updates(routes: &[Route], rng: &mut Rng) -> Vec<Update> {
    let mut updates: Vec<Update> = Vec::with_capacity(UPDATES);
    for i in 0..UPDATES {
        let known = match rng.index(2) {
            0 if i > 0 => updates[rng.index(i)].0,
            _ => routes[rng.index(routes.len())].0,
        };
        let to = AdjacencyId(rng.range(1..u64::from(HOPS) + 1) as u32);
        updates.push(match rng.index(24) {
            0..3 => (Ipv4Prefix::new(Ipv4Addr::from_bits(within(known, rng)), 25 + rng.index(8) as u8), to),
            3..8 => (prefix(rng), to),
            8..16 => (known, to),
            _ => (known, AdjacencyId::NONE),
        });
    }
    updates
}

/// How far the writer and the reader have come.
#[derive(Default)]
struct Progress {
    /// Updates begun and done.
    begun: AtomicUsize,
    done: AtomicUsize,
    /// Addresses asked; `usize::MAX` when the reader is gone.
    asked: AtomicUsize,
    /// The updates that were done when the reader began its batch: its epoch.
    seen: AtomicUsize,
}

/// Lets the writer go on when the reader is gone, also by a failure.
struct Reader<'a>(&'a Progress);

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.0.asked.store(usize::MAX, Release);
    }
}

fn update(writer: &mut FibWriter, twin: &Twin, updates: &[Update], progress: &Progress) {
    for (i, &(prefix, to)) in updates.iter().enumerate() {
        // Short bursts, spread over the reader's whole run.
        while progress.asked.load(Acquire) < i / 40 * 40 * (ADDRESSES / UPDATES) {
            thread::yield_now();
        }
        progress.begun.store(i + 1, Release);
        let old = match to {
            AdjacencyId::NONE => writer.remove(prefix),
            to => writer.insert(prefix, to).unwrap(),
        };
        assert_eq!(old.unwrap_or_default(), twin.get(prefix, i), "what update {i} replaced");
        progress.done.store(i + 1, Release);
        writer.set_epoch(i as u64 + 1);
        writer.reclaim(progress.seen.load(Acquire) as u64);
    }
}

/// Asks for `count` addresses, and checks each answer against every moment of its batch.
fn ask(fib: &Fib, twin: &Twin, routes: &[Route], updates: &[Update], progress: &Progress, count: usize) {
    let _reader = Reader(progress);
    let mut rng = Rng::new(3);
    let (mut addrs, mut out) = ([0; BATCH], [AdjacencyId::NONE; BATCH]);
    for asked in (0..count).step_by(BATCH) {
        progress.asked.store(asked, Release);
        let near = progress.done.load(Acquire);
        progress.seen.store(near, Release);
        for (i, addr) in addrs.iter_mut().enumerate() {
            *addr = match i % 8 {
                0 => rng.next_u32(),
                1 => within(updates[(near + rng.index(64)).min(UPDATES - 1)].0, &mut rng),
                2 => routes[rng.index(routes.len())].0.last().to_bits().wrapping_add(1),
                _ => address(routes, &mut rng),
            };
        }
        let first = progress.done.load(Acquire);
        fib.lookup_bulk(&addrs, &mut out);
        let last = progress.begun.load(Acquire);
        for (&addr, &answer) in addrs.iter().zip(&out) {
            assert!(
                (first..=last).any(|version| twin.lookup(addr, version) == answer),
                "{} answered {answer:?} in updates {first} to {last}, meant {:?}",
                Ipv4Addr::from_bits(addr),
                twin.lookup(addr, first),
            );
        }
    }
}

#[test]
fn a_million_routes_answer_as_their_twin_while_they_change() {
    let mut rng = Rng::new(2);
    let routes = routes(ROUTES, HOPS, &mut rng);
    let updates = updates(&routes, &mut rng);
    let twin = Twin::new(&routes, &updates);
    let mut writer = FibWriter::new(FibLimits { routes: ROUTES + UPDATES, groups: 1 << 15 }).unwrap();
    assert_eq!(writer.load(routes.iter().copied()), Ok(ROUTES));
    assert_eq!(writer.len(), ROUTES);
    let fib = writer.fib();
    let progress = Progress::default();
    thread::scope(|scope| {
        scope.spawn(|| update(&mut writer, &twin, &updates, &progress));
        ask(&fib, &twin, &routes, &updates, &progress, ADDRESSES);
    });

    assert_eq!(progress.done.load(Relaxed), UPDATES);
    ask(&fib, &twin, &routes, &updates, &progress, ADDRESSES / 10);
    for (prefix, to) in writer.iter() {
        assert_eq!(twin.get(prefix, UPDATES), to, "{prefix}");
    }
    let known = twin.by_len.iter().enumerate().flat_map(|(len, map)| map.keys().map(move |addr| (len, addr)));
    let left = known.filter(|(len, addr)| {
        !twin.get(Ipv4Prefix::new(Ipv4Addr::from_bits(**addr), *len as u8), UPDATES).is_none()
    });
    assert_eq!(writer.len(), left.count());
}

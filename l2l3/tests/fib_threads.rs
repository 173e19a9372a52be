//! Readers beside a writer: an address only ever has the answers it is meant to have.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::thread;

use l2l3::fib::{AdjacencyId, Fib, FibError, FibLimits, FibWriter};
use sim::Rng;
use wire::Ipv4Prefix;

const NETS: u32 = 8;
const READERS: usize = 2;
const CHANGES: usize = 300_000;

fn net(text: &str) -> Ipv4Prefix {
    text.parse().unwrap()
}

/// What each address may answer, given the routes of [`base`] and the ones that come and go.
fn allowed() -> Vec<(u32, Vec<u32>)> {
    let mut allowed = vec![
        (0x0a01_0000, vec![1, 2]),    // the outer route, which changes its next hop
        (0x0a01_ffff, vec![1, 2]),    // at its end
        (0x0a02_0000, vec![3]),       // beside it
        (0x0a03_0304, vec![3, 4, 5]), // nested: /16 comes and goes, /30 comes and goes
        (0x0a03_0308, vec![3, 4]),    // past the /30
        (0x0a04_0000, vec![3]),
    ];
    for i in 0..NETS {
        let base = 0x1400_0000 + (i << 8);
        allowed.push((base + 64, vec![100 + i]));
        allowed.push((base + 128, vec![100 + i, 200 + i]));
        allowed.push((base + 191, vec![100 + i, 200 + i]));
        allowed.push((base + 192, vec![100 + i]));
        allowed.push((base + 255, vec![100 + i]));
    }
    allowed
}

fn base(writer: &mut FibWriter) {
    writer.insert(net("10.0.0.0/8"), AdjacencyId(3)).unwrap();
    writer.insert(net("10.1.0.0/16"), AdjacencyId(1)).unwrap();
    for i in 0..NETS {
        writer.insert(net(&format!("20.0.{i}.0/24")), AdjacencyId(100 + i)).unwrap();
    }
}

/// One random change. Gives false if no group was free.
fn change(writer: &mut FibWriter, rng: &mut Rng) -> bool {
    let toggle = |writer: &mut FibWriter, prefix: Ipv4Prefix, to: u32| match writer.remove(prefix) {
        Some(_) => true,
        None => match writer.insert(prefix, AdjacencyId(to)) {
            Ok(_) => true,
            Err(FibError::GroupsFull { .. }) => false,
            Err(error) => panic!("{error}"),
        },
    };
    match rng.index(16) {
        0 => writer.insert(net("10.1.0.0/16"), AdjacencyId(1 + rng.index(2) as u32)).is_ok(),
        1 => toggle(writer, net("10.3.0.0/16"), 4),
        2 => toggle(writer, net("10.3.3.4/30"), 5),
        _ => {
            let i = rng.index(NETS as usize) as u32;
            toggle(writer, net(&format!("20.0.{i}.128/26")), 200 + i)
        }
    }
}

/// Looks all addresses up until told to stop, and publishes the epoch after each round.
fn read(fib: &Fib, epoch: &AtomicU64, mine: &AtomicU64, stop: &AtomicBool) -> u64 {
    let allowed = allowed();
    let addrs: Vec<u32> = allowed.iter().map(|(addr, _)| *addr).collect();
    let mut out = vec![AdjacencyId::NONE; addrs.len()];
    let mut rounds = 0;
    while !stop.load(Relaxed) {
        mine.store(epoch.load(Acquire), Release);
        fib.lookup_bulk(&addrs, &mut out);
        for ((addr, allowed), answer) in allowed.iter().zip(&out) {
            assert!(allowed.contains(&answer.0), "{addr:#010x} answered {answer:?}, not one of {allowed:?}");
            let single = fib.lookup(*addr);
            assert!(allowed.contains(&single.0), "{addr:#010x} answered {single:?}, not one of {allowed:?}");
        }
        rounds += 1;
    }
    mine.store(u64::MAX, Release);
    rounds
}

#[test]
fn readers_see_the_old_or_the_new_route_and_nothing_else() {
    // Fewer groups than networks that want one, so that groups are reused all the time.
    let mut writer = FibWriter::new(FibLimits { routes: 100, groups: 5 }).unwrap();
    base(&mut writer);
    let fib = writer.fib();
    let epoch = AtomicU64::new(1);
    let published: [AtomicU64; READERS] = Default::default();
    let stop = AtomicBool::new(false);
    let (mut rng, mut reused) = (Rng::new(1), 0);
    let rounds: u64 = thread::scope(|scope| {
        let readers = published.each_ref().map(|mine| scope.spawn(|| read(&fib, &epoch, mine, &stop)));
        for i in 0..CHANGES {
            if !change(&mut writer, &mut rng) {
                thread::yield_now();
            }
            writer.set_epoch(epoch.load(Relaxed));
            if i % 4 == 0 {
                writer.set_epoch(epoch.fetch_add(1, AcqRel) + 1);
            }
            let safe = published.iter().map(|mine| mine.load(Acquire)).min().unwrap_or(u64::MAX);
            reused += writer.reclaim(safe);
            if readers.iter().any(|reader| reader.is_finished()) {
                break;
            }
        }
        stop.store(true, Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    assert!(rounds > 100, "the readers ran beside the writer: {rounds} rounds");
    assert!(reused > 100, "groups were reused while readers ran: {reused}");
}

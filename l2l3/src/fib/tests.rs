use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proptest::prelude::*;
use wire::Ipv4Prefix;

use super::*;

fn writer(routes: usize, groups: usize) -> FibWriter {
    FibWriter::new(FibLimits { routes, groups }).unwrap()
}

fn net(text: &str) -> Ipv4Prefix {
    text.parse().unwrap()
}

fn ip(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().to_bits()
}

/// Longest match by looking at every route.
struct Twin(BTreeMap<Ipv4Prefix, AdjacencyId>);

impl Twin {
    fn covering(&self, addr: u32) -> Option<(Ipv4Prefix, AdjacencyId)> {
        let addr = Ipv4Addr::from_bits(addr);
        let matches = self.0.iter().filter(|(prefix, _)| prefix.contains(addr));
        matches.max_by_key(|(prefix, _)| prefix.len()).map(|(prefix, to)| (*prefix, *to))
    }
}

#[test]
fn the_longest_match_wins_and_gives_way() {
    let mut writer = writer(100, 4);
    let fib = writer.fib();
    let addr = ip("10.1.2.3");
    let nested = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.0/25", "10.1.2.3/32"];
    assert_eq!(fib.lookup(addr), AdjacencyId::NONE);
    for (i, text) in nested.iter().enumerate() {
        let to = AdjacencyId(i as u32 + 1);
        assert_eq!(writer.insert(net(text), to), Ok(None));
        assert_eq!(fib.lookup(addr), to, "{text}");
        assert_eq!(writer.covering(Ipv4Addr::from_bits(addr)), Some((net(text), to)));
    }
    assert_eq!(fib.lookup(ip("10.1.2.4")), AdjacencyId(5));
    assert_eq!(fib.lookup(ip("10.1.2.128")), AdjacencyId(4));
    assert_eq!(fib.lookup(ip("255.255.255.255")), AdjacencyId(1));
    for (i, text) in nested.iter().enumerate().rev() {
        assert_eq!(writer.get(net(text)), Some(AdjacencyId(i as u32 + 1)));
        assert_eq!(writer.remove(net(text)), Some(AdjacencyId(i as u32 + 1)));
        assert_eq!(fib.lookup(addr), AdjacencyId(i as u32), "without {text}");
        assert_eq!(writer.remove(net(text)), None);
    }
    assert!(writer.is_empty());
}

#[test]
fn inner_routes_survive_changes_of_the_outer_one() {
    let mut writer = writer(100, 4);
    let fib = writer.fib();
    for (text, to) in [("10.0.0.0/16", 1), ("10.0.0.128/25", 2), ("10.0.1.0/24", 3)] {
        writer.insert(net(text), AdjacencyId(to)).unwrap();
    }
    let inner = |fib: &Fib| [fib.lookup(ip("10.0.0.128")), fib.lookup(ip("10.0.1.0"))].map(|a| a.0);
    let outer = |fib: &Fib| [fib.lookup(ip("10.0.0.127")), fib.lookup(ip("10.0.2.0"))].map(|a| a.0);
    assert_eq!(writer.insert(net("10.0.0.0/16"), AdjacencyId(9)), Ok(Some(AdjacencyId(1))));
    assert_eq!((inner(&fib), outer(&fib)), ([2, 3], [9, 9]));
    assert_eq!(writer.remove(net("10.0.0.0/16")), Some(AdjacencyId(9)));
    assert_eq!((inner(&fib), outer(&fib)), ([2, 3], [0, 0]));
    assert_eq!(writer.len(), 2);
}

#[test]
fn the_first_and_the_last_address() {
    let mut writer = writer(100, 4);
    let fib = writer.fib();
    for (text, to) in [("0.0.0.0/32", 1), ("255.255.255.255/32", 2), ("128.0.0.0/1", 3)] {
        writer.insert(net(text), AdjacencyId(to)).unwrap();
    }
    let answers = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX].map(|addr| fib.lookup(addr).0);
    assert_eq!(answers, [1, 0, 0, 3, 3, 2]);
}

#[test]
fn a_full_table_refuses_and_stays_as_it_was() {
    let mut writer = writer(2, 1);
    let fib = writer.fib();
    writer.insert(net("10.0.0.0/24"), AdjacencyId(1)).unwrap();
    writer.insert(net("10.0.0.0/25"), AdjacencyId(2)).unwrap();
    assert_eq!(writer.insert(net("10.9.0.0/16"), AdjacencyId(3)), Err(FibError::RoutesFull { limit: 2 }),);
    assert_eq!(fib.lookup(ip("10.9.0.0")), AdjacencyId::NONE);
    assert_eq!(writer.insert(net("10.0.0.0/25"), AdjacencyId(4)), Ok(Some(AdjacencyId(2))), "a change fits");
    assert_eq!((writer.len(), fib.lookup(ip("10.0.0.1"))), (2, AdjacencyId(4)));
}

#[test]
fn groups_run_out_wait_for_readers_and_come_back() {
    let mut writer = writer(100, 2);
    let fib = writer.fib();
    let usage = |writer: &FibWriter| (writer.usage().groups, writer.usage().in_limbo);
    writer.insert(net("10.0.0.0/8"), AdjacencyId(1)).unwrap();
    writer.insert(net("10.0.0.4/32"), AdjacencyId(2)).unwrap();
    writer.insert(net("10.0.1.4/32"), AdjacencyId(3)).unwrap();
    let full = |in_limbo| Err(FibError::GroupsFull { limit: 2, in_limbo });
    assert_eq!(writer.insert(net("10.0.2.4/32"), AdjacencyId(4)), full(0));
    assert_eq!((writer.len(), fib.lookup(ip("10.0.2.4"))), (3, AdjacencyId(1)));
    assert_eq!(writer.get(net("10.0.2.4/32")), None);
    assert_eq!(usage(&writer), (2, 0));

    writer.set_epoch(7);
    assert_eq!(writer.remove(net("10.0.0.4/32")), Some(AdjacencyId(2)));
    assert_eq!((usage(&writer), fib.lookup(ip("10.0.0.4"))), ((1, 1), AdjacencyId(1)));
    assert_eq!(writer.insert(net("10.0.2.4/32"), AdjacencyId(4)), full(1));
    assert_eq!(writer.reclaim(7), 0, "a worker in epoch 7 may be reading it");
    assert_eq!(writer.reclaim(8), 1);
    assert_eq!(writer.insert(net("10.0.2.4/32"), AdjacencyId(4)), Ok(None));
    assert_eq!((fib.lookup(ip("10.0.2.4")), fib.lookup(ip("10.0.2.5"))), (AdjacencyId(4), AdjacencyId(1)));
    assert_eq!(fib.lookup(ip("10.0.0.4")), AdjacencyId(1));
}

#[test]
fn a_retired_group_is_not_written_while_a_reader_may_hold_it() {
    let mut writer = writer(100, 1);
    let fib = writer.fib();
    writer.insert(net("10.0.0.4/32"), AdjacencyId(2)).unwrap();
    let held = fib.view().group(0);
    writer.remove(net("10.0.0.4/32"));
    let before: Vec<u32> = held.iter().map(|cell| cell.load(Relaxed)).collect();
    writer.insert(net("10.0.0.0/24"), AdjacencyId(5)).unwrap();
    writer.insert(net("0.0.0.0/0"), AdjacencyId(6)).unwrap();
    writer.insert(net("10.0.9.4/32"), AdjacencyId(7)).unwrap_err();
    assert_eq!(held.iter().map(|cell| cell.load(Relaxed)).collect::<Vec<_>>(), before);
}

#[test]
fn a_load_keeps_the_last_of_equals_and_stops_at_a_refusal() {
    let mut writer = writer(3, 0);
    let route = |text, to| (net(text), AdjacencyId(to));
    let routes = [route("10.2.0.0/16", 1), route("10.1.0.0/16", 2), route("10.2.0.0/16", 3)];
    assert_eq!(writer.load(routes), Ok(3));
    assert_eq!((writer.len(), writer.get(net("10.2.0.0/16"))), (2, Some(AdjacencyId(3))));
    let more = [route("12.0.0.0/8", 4), route("11.0.0.0/8", 5)];
    assert_eq!(writer.load(more), Err(FibError::RoutesFull { limit: 3 }));
    assert_eq!(writer.get(net("11.0.0.0/8")), Some(AdjacencyId(5)));
    assert_eq!(writer.get(net("12.0.0.0/8")), None);
}

#[test]
fn refuses_what_an_entry_cannot_hold() {
    let mut writer = writer(1, 0);
    for to in [AdjacencyId::NONE, AdjacencyId(AdjacencyId::MAX.0 + 1)] {
        let error = writer.insert(Ipv4Prefix::DEFAULT, to).unwrap_err();
        assert_eq!(error, FibError::BadAdjacency(to));
        assert!(error.to_string().contains("1 to 1048575"), "{error}");
    }
    assert_eq!(writer.insert(net("10.0.0.0/8"), AdjacencyId::MAX), Ok(None));
    assert_eq!(writer.fib().lookup(ip("10.0.0.0")), AdjacencyId::MAX);
}

#[test]
fn storage_of_another_size_is_refused() {
    let heap = |len: usize| -> Storage { Box::new((0..len).map(|_| AtomicU32::new(0)).collect::<Vec<_>>()) };
    let refused =
        |level1, level2| matches!(FibWriter::with_storage(1, level1, level2), Err(FibError::BadStorage(_)));
    assert!(refused(heap(10), heap(256)));
    assert!(refused(zeroed(layout::LEVEL1_LEN).unwrap(), heap(255)));
    assert!(!refused(zeroed(layout::LEVEL1_LEN).unwrap(), heap(512)));
}

#[test]
fn entries_are_laid_out_as_told() {
    let mut writer = writer(10, 10);
    writer.insert(net("10.0.0.0/9"), AdjacencyId(0x54321)).unwrap();
    writer.insert(net("11.0.0.0/24"), AdjacencyId(1)).unwrap();
    writer.insert(net("11.0.0.7/32"), AdjacencyId(2)).unwrap();
    let fib = writer.fib();
    let first = |text| fib.level1()[ip(text) as usize >> 8].load(Relaxed);
    assert_eq!(first("10.127.255.0"), 0x0905_4321);
    assert_eq!(first("10.128.0.0"), 0);
    assert_eq!(first("11.0.0.0"), 0x8000_0000);
    assert_eq!(fib.level2()[6].load(Relaxed), 0x1800_0001);
    assert_eq!(fib.level2()[7].load(Relaxed), 0x2000_0002);
}

#[test]
fn a_bulk_lookup_is_many_lookups() {
    let mut writer = writer(1000, 20);
    let fib = writer.fib();
    for i in 0..100 {
        let len = 20 + (i % 13) as u8;
        let prefix = Ipv4Prefix::new(Ipv4Addr::from_bits(0x0a00_0000 + i * 37), len);
        writer.insert(prefix, AdjacencyId(i + 1)).unwrap();
    }
    let addrs: Vec<u32> = (0..4096).map(|i| 0x0a00_0000 + i).collect();
    for len in (0..40).chain([addrs.len()]) {
        for start in [0, 300, addrs.len() - len] {
            let Some(addrs) = addrs.get(start..start + len) else { continue };
            let mut out = vec![AdjacencyId(77); len];
            fib.lookup_bulk(addrs, &mut out);
            assert_eq!(out, addrs.iter().map(|&addr| fib.lookup(addr)).collect::<Vec<_>>());
        }
    }
}

/// Prefixes crowded into a few networks, so that they nest and share groups.
fn prefix() -> impl Strategy<Value = Ipv4Prefix> {
    let byte = |some: &'static [u8]| prop_oneof![4 => prop::sample::select(some), 1 => any::<u8>()];
    let addr = (byte(&[10, 11]), byte(&[0, 1, 128]), byte(&[0, 1, 2, 255]), any::<u8>());
    // A short prefix writes much of level 1: few of them keep the test quick.
    let len = prop_oneof![1 => 0u8..8, 6 => 8u8..=16, 20 => 17u8..=24, 40 => 25u8..=32];
    (addr, len).prop_map(|((a, b, c, d), len)| Ipv4Prefix::new(Ipv4Addr::new(a, b, c, d), len))
}

/// Addresses at and beside both ends of each prefix.
fn boundaries(prefixes: impl Iterator<Item = Ipv4Prefix>) -> Vec<u32> {
    let ends = prefixes.flat_map(|prefix| [prefix.bits(), prefix.last().to_bits()]);
    ends.flat_map(|end| [end.wrapping_sub(1), end, end.wrapping_add(1)]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn answers_as_its_twin(
        ops in prop::collection::vec((prefix(), prop::option::weighted(0.6, 1u32..9)), 1..150),
        again in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(1u32..9)), 0..150),
        random in prop::collection::vec(any::<u32>(), 50),
    ) {
        const GROUPS: usize = 24;
        let mut writer = writer(100, GROUPS);
        let fib = writer.fib();
        let mut twin = Twin(BTreeMap::new());
        let touched = boundaries(ops.iter().map(|(prefix, _)| *prefix));
        let again = again.into_iter().map(|(index, to)| (index.get(&ops).0, to)).collect::<Vec<_>>();
        for (epoch, (prefix, to)) in ops.iter().copied().chain(again).enumerate() {
            writer.set_epoch(epoch as u64);
            match to.map(AdjacencyId) {
                None => prop_assert_eq!(writer.remove(prefix), twin.0.remove(&prefix)),
                Some(to) => match writer.insert(prefix, to) {
                    Ok(old) => prop_assert_eq!(old, twin.0.insert(prefix, to)),
                    Err(FibError::RoutesFull { .. }) => prop_assert_eq!(twin.0.len(), 100),
                    Err(FibError::GroupsFull { in_limbo, .. }) => {
                        prop_assert_eq!(writer.usage().groups + in_limbo, GROUPS);
                    }
                    Err(error) => prop_assert!(false, "{}", error),
                },
            }
            writer.reclaim((epoch as u64).saturating_sub(5));
            prop_assert_eq!(writer.get(prefix), twin.0.get(&prefix).copied());
            prop_assert_eq!(writer.len(), twin.0.len());
        }
        let deep: std::collections::BTreeSet<_> =
            twin.0.keys().filter(|prefix| prefix.len() > 24).map(|prefix| prefix.bits() >> 8).collect();
        prop_assert_eq!(writer.usage().groups, deep.len());
        for addr in touched.iter().copied().chain(random) {
            let answer = twin.covering(addr);
            prop_assert_eq!(writer.covering(Ipv4Addr::from_bits(addr)), answer);
            prop_assert_eq!(fib.lookup(addr), answer.map_or(AdjacencyId::NONE, |(_, to)| to));
        }
        prop_assert_eq!(writer.iter().collect::<BTreeMap<_, _>>(), twin.0.clone());
        for prefix in twin.0.keys() {
            writer.remove(*prefix);
        }
        prop_assert!(writer.is_empty() && writer.usage().groups == 0);
        prop_assert!(touched.iter().all(|addr| fib.lookup(*addr).is_none()));
    }
}

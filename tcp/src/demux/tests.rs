use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;

use super::*;
use crate::segment::tests::{DST, SRC, segment};

/// Flow `n`: neighbouring clients and ports of one server.
fn key(n: u32) -> FlowKey {
    let client = SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0000 + n / 64), 1024 + (n % 64) as u16);
    FlowKey::new(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80), client)
}

#[test]
fn the_key_of_a_segment() {
    let key = FlowKey::of(&segment(0, 0, wire::TcpFlags::ACK, b""));
    assert_eq!((key.local(), key.remote()), (DST, SRC));
    assert_eq!(key, FlowKey::new(DST, SRC));
    assert_ne!(key, FlowKey::new(SRC, DST));
}

#[test]
fn full_is_an_error() {
    for capacity in [0, 1, 8, 9, 1000] {
        let mut table = FlowTable::new(capacity as usize, 1);
        for n in 0..capacity {
            assert_eq!(table.insert(&key(n), n), Ok(()));
        }
        assert_eq!(table.insert(&key(capacity), capacity), Err(FlowTableFull));
        for n in 0..capacity {
            assert_eq!(table.lookup(&key(n), |id| id == n), Some(n), "{capacity}");
        }
        if capacity > 0 {
            assert!(table.remove(&key(0), 0) && !table.remove(&key(0), 0));
            assert_eq!(table.insert(&key(capacity), capacity), Ok(()));
        }
    }
}

/// How many buckets hold entries that were pushed out of theirs, and the longest search for any of `0..n`.
fn crowding(table: &FlowTable, n: u32) -> (usize, usize) {
    let longest = (0..n).map(|n| 1 + table.position(table.place(&key(n)), n).map_or(0, |(passed, _)| passed));
    (table.buckets.iter().filter(|bucket| bucket.passed > 0).count(), longest.max().unwrap_or(0))
}

#[test]
fn searches_are_short_at_capacity_and_stay_so() {
    const N: u32 = 100_000;
    let mut table = FlowTable::new(N as usize, 3);
    for n in 0..N {
        table.insert(&key(n), n).unwrap();
    }
    let (passed, longest) = crowding(&table, N);
    assert!(passed < table.buckets.len() / 10, "{passed} of {}", table.buckets.len());
    assert!(longest <= 8, "{longest}");
    // Ten times as many come and go: nothing builds up.
    for n in 0..10 * N {
        assert!(table.remove(&key(n), n));
        table.insert(&key(n + N), n + N).unwrap();
    }
    let passed = crowding(&table, 0).0;
    assert!(passed < table.buckets.len() / 10, "{passed} of {}", table.buckets.len());
    for n in 10 * N..11 * N {
        assert!(table.remove(&key(n), n));
    }
    assert_eq!((table.len(), crowding(&table, 0)), (0, (0, 0)));
}

/// Whoever knows the seed can put all flows into one bucket. The table gets slow, not wrong; and under
/// another seed, the same flows spread.
#[test]
fn flows_chosen_to_collide() {
    const N: usize = 200;
    let home = |table: &FlowTable, n| table.place(&key(n)).home;
    let mut table = FlowTable::new(2 * N, 11);
    let chosen: Vec<u32> = (0..).filter(|n| home(&table, *n) == 7).take(N).collect();
    for n in &chosen {
        table.insert(&key(*n), *n).unwrap();
    }
    assert_eq!(table.buckets[7].passed as usize, N - SLOTS);
    for n in &chosen {
        assert_eq!(table.lookup(&key(*n), |id| id == *n), Some(*n));
    }
    let other = FlowTable::new(2 * N, 12);
    let most =
        (0..other.buckets.len()).map(|at| chosen.iter().filter(|n| home(&other, **n) == at as u32).count());
    assert!(most.max().unwrap() <= 2 * WORKING_LOAD);
    // Removed in the order in which they came, the others are found all along.
    for (i, n) in chosen.iter().enumerate() {
        assert!(table.remove(&key(*n), *n));
        assert_eq!(table.lookup(&key(*n), |id| id == *n), None);
        assert!(chosen[i + 1..].iter().all(|n| table.lookup(&key(*n), |id| id == *n).is_some()));
    }
    assert_eq!(crowding(&table, 0).0, 0);
}

/// Buckets that pushed entries into each other in a ring do not make a search go round for ever.
#[test]
fn a_search_ends_even_if_every_bucket_was_passed() {
    let mut table = FlowTable::new(3 * WORKING_LOAD, 5);
    for home in 0..3 {
        let flows: Vec<_> = (0..).filter(|n| table.place(&key(*n)).home == home).take(SLOTS + 1).collect();
        for n in &flows {
            table.insert(&key(*n), *n).unwrap();
        }
        for n in &flows[..SLOTS] {
            assert!(table.remove(&key(*n), *n));
        }
    }
    assert!(table.buckets.iter().all(|bucket| bucket.passed > 0));
    assert_eq!((table.len(), table.lookup(&key(0), |_| false)), (3, None));
    assert!(!table.remove(&key(0), u32::MAX));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32),
    Remove(u32),
    Bulk(Vec<u32>),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..80u32).prop_map(Op::Insert),
        3 => (0..80u32).prop_map(Op::Remove),
        1 => prop::collection::vec(0..80u32, 0..70).prop_map(Op::Bulk),
    ]
}

proptest! {
    /// The twin is the standard library's map. Ids are not the flows' numbers.
    #[test]
    fn agrees_with_its_twin(capacity in 0..64usize, seed: u64, ops in prop::collection::vec(op(), 0..300)) {
        let mut table = FlowTable::new(capacity, seed);
        let mut twin = HashMap::new();
        let mut keys = Vec::new();
        for op in ops {
            match op {
                Op::Insert(n) if twin.contains_key(&key(n)) => {}
                Op::Insert(n) => {
                    let id = keys.len() as u32;
                    keys.push(key(n));
                    let inserted = table.insert(&key(n), id);
                    prop_assert_eq!(inserted.is_ok(), twin.len() < capacity);
                    if inserted.is_ok() {
                        twin.insert(key(n), id);
                    }
                }
                Op::Remove(n) => match twin.remove(&key(n)) {
                    Some(id) => prop_assert!(table.remove(&key(n), id)),
                    // An id that nobody has: with somebody else's, and the same tag, it would be theirs.
                    None => prop_assert!(!table.remove(&key(n), u32::MAX)),
                },
                Op::Bulk(flows) => {
                    let wanted: Vec<_> = flows.into_iter().map(key).collect();
                    let mut ids = [0; FlowTable::BURST];
                    let mut guesses = table.guess(wanted.iter().copied(), &mut ids).iter().peekable();
                    for key in wanted.chunk_by(|a, b| a == b).map(|same| same[0]).take(FlowTable::BURST) {
                        let mut first = None;
                        table.lookup(&key, |id| {
                            first.get_or_insert(id);
                            keys[id as usize] == key
                        });
                        // An entry that stands past its home bucket is not looked for.
                        guesses.next_if(|guess| Some(**guess) == first);
                    }
                    prop_assert_eq!(guesses.next(), None);
                }
            }
            prop_assert_eq!((table.len(), table.is_empty()), (twin.len(), twin.is_empty()));
            for n in 0..80 {
                let got = table.lookup(&key(n), |id| keys[id as usize] == key(n));
                prop_assert_eq!(got, twin.get(&key(n)).copied());
            }
        }
    }

    /// A bit of the key that changes, changes each bit of the hash about half the time.
    #[test]
    fn every_bit_of_the_key_reaches_every_bit_of_the_hash(seed: u64, bit in 0..96u32) {
        let hasher = FlowHasher::new(seed);
        let mut changes = [0; 64];
        for n in 0..1024u32 {
            let one = key(n.wrapping_mul(0x9e37_79b1) >> 4);
            let flip = |addr: SocketAddrV4, bit: Option<u32>| {
                let mask = bit.filter(|bit| *bit < 48).map_or(0, |bit| 1u64 << bit);
                let ip = Ipv4Addr::from_bits(addr.ip().to_bits() ^ (mask >> 16) as u32);
                SocketAddrV4::new(ip, addr.port() ^ mask as u16)
            };
            let other = FlowKey::new(flip(one.local(), Some(bit)), flip(one.remote(), bit.checked_sub(48)));
            let differ = hasher.hash(&one) ^ hasher.hash(&other);
            changes.iter_mut().enumerate().for_each(|(at, count)| *count += differ >> at & 1);
        }
        prop_assert!(changes.iter().all(|count| (300..724).contains(count)), "{:?}", changes);
    }
}

//! Equal-cost multipath: a route to several next hops, shared out by flow (RFC 2991, RFC 2992).
//!
//! A flow's hash picks one of 512 buckets, and a bucket belongs to one member. When a member leaves,
//! only its own buckets move; when one joins, it takes buckets only for itself. So the other flows keep
//! their next hop, and their order.

use std::fmt;

use crate::fib::AdjacencyId;

/// The most members of a group.
pub const MAX_MEMBERS: usize = 64;
/// Buckets of a group: a member's share is a whole number of them, so 64 members differ by one in eight at most.
pub const BUCKETS: usize = 512;

/// Why a group refused a member. The group is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupError {
    /// It has [`MAX_MEMBERS`].
    Full,
    /// That one is in it.
    Duplicate(AdjacencyId),
    /// [`AdjacencyId::NONE`] leads nowhere.
    NoAdjacency,
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "a next-hop group has at most {MAX_MEMBERS} members"),
            Self::Duplicate(id) => write!(f, "adjacency {} is in the next-hop group already", id.0),
            Self::NoAdjacency => f.write_str("a member of a next-hop group must be an adjacency"),
        }
    }
}

impl std::error::Error for GroupError {}

/// Next hops of one route. Every member has the same number of buckets, or one more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NextHopGroup {
    /// Each bucket's member, as an index of `members`.
    buckets: [u8; BUCKETS],
    /// [`AdjacencyId::NONE`] where a place is free.
    members: [AdjacencyId; MAX_MEMBERS],
}

impl NextHopGroup {
    /// A group without members: it leads nowhere.
    pub const fn new() -> Self {
        NextHopGroup { buckets: [0; BUCKETS], members: [AdjacencyId::NONE; MAX_MEMBERS] }
    }

    /// The next hop of a flow, by its [`flow_hash`]; [`AdjacencyId::NONE`] if the group is empty.
    #[inline]
    pub fn select(&self, flow_hash: u32) -> AdjacencyId {
        let place = self.buckets[flow_hash as usize % BUCKETS];
        self.members[usize::from(place) % MAX_MEMBERS]
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members().count()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members, in no promised order.
    pub fn members(&self) -> impl Iterator<Item = AdjacencyId> + '_ {
        self.members.iter().copied().filter(|member| !member.is_none())
    }

    /// Adds a member, which takes its share evenly from the others.
    ///
    /// # Errors
    /// [`GroupError`]; nothing is changed then.
    pub fn add(&mut self, member: AdjacencyId) -> Result<(), GroupError> {
        if member.is_none() {
            return Err(GroupError::NoAdjacency);
        }
        if self.members.contains(&member) {
            return Err(GroupError::Duplicate(member));
        }
        let place = self.members.iter().position(|id| id.is_none()).ok_or(GroupError::Full)?;
        let others = self.len();
        self.members[place] = member;
        if others == 0 {
            self.buckets.fill(place as u8);
            return Ok(());
        }
        let mut shares = self.shares();
        for _ in 0..BUCKETS / (others + 1) {
            let Some(richest) = self.places().max_by_key(|&other| shares[other]) else { break };
            let Some(bucket) = self.buckets.iter_mut().find(|owner| usize::from(**owner) == richest) else {
                break;
            };
            *bucket = place as u8;
            shares[richest] -= 1;
            shares[place] += 1;
        }
        Ok(())
    }

    /// Takes a member out and spreads its buckets evenly over the others. False if it was not in.
    pub fn remove(&mut self, member: AdjacencyId) -> bool {
        let found = self.members.iter().position(|id| *id == member && !id.is_none());
        let Some(place) = found else { return false };
        self.members[place] = AdjacencyId::NONE;
        let mut shares = self.shares();
        for bucket in 0..BUCKETS {
            if usize::from(self.buckets[bucket]) == place
                && let Some(poorest) = self.places().min_by_key(|&other| shares[other])
            {
                self.buckets[bucket] = poorest as u8;
                shares[poorest] += 1;
            }
        }
        true
    }

    /// The places that have a member.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..MAX_MEMBERS).filter(|&place| !self.members[place].is_none())
    }

    /// Buckets of each place.
    fn shares(&self) -> [u16; MAX_MEMBERS] {
        let mut shares = [0; MAX_MEMBERS];
        self.buckets.iter().for_each(|&place| shares[usize::from(place)] += 1);
        shares
    }
}

impl Default for NextHopGroup {
    fn default() -> Self {
        Self::new()
    }
}

/// A flow's hash, for [`NextHopGroup::select`].
///
/// Routers in series need different seeds, else the second one sees only flows of one choice of the first's
/// and sends them all one way. `src` and `dst` are in host order. `ports` is both ports in any fixed
/// order, or 0 for protocols without ports and for every fragment, first ones too: only so do all
/// fragments of a packet go one way.
#[inline]
pub const fn flow_hash(seed: u64, src: u32, dst: u32, proto: u8, ports: u32) -> u32 {
    // Odd constants with as many ones as zeros, without pattern: the fractions of sqrt 2, sqrt 3, sqrt 5.
    const K: [u64; 3] = [0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b];
    let addrs = (src as u64) << 32 | dst as u64;
    let rest = (ports as u64) << 8 | proto as u64;
    let mixed = fold(fold(addrs ^ seed, K[0]) ^ rest, K[1] ^ seed);
    fold(mixed, K[2]) as u32
}

/// The two halves of the product, one over the other: each bit of it depends on many of both factors.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(members: impl IntoIterator<Item = u32>) -> NextHopGroup {
        let mut group = NextHopGroup::new();
        members.into_iter().for_each(|member| group.add(AdjacencyId(member)).unwrap());
        group
    }

    /// Each bucket's next hop.
    fn map(group: &NextHopGroup) -> Vec<AdjacencyId> {
        (0..BUCKETS as u32).map(|bucket| group.select(bucket)).collect()
    }

    fn assert_balanced(group: &NextHopGroup) {
        let map = map(group);
        let n = group.len();
        for member in group.members() {
            let share = map.iter().filter(|owner| **owner == member).count();
            assert!((BUCKETS / n..=BUCKETS.div_ceil(n)).contains(&share), "{n} members, one with {share}");
        }
        assert_eq!(map.iter().all(|owner| owner.is_none()), n == 0);
    }

    #[test]
    fn an_empty_group_leads_nowhere() {
        let mut group = NextHopGroup::new();
        assert!(map(&group).iter().all(|owner| owner.is_none()));
        assert!(!group.remove(AdjacencyId(1)) && !group.remove(AdjacencyId::NONE));
        group.add(AdjacencyId(1)).unwrap();
        assert!(group.remove(AdjacencyId(1)) && group.is_empty());
        assert!(map(&group).iter().all(|owner| owner.is_none()));
    }

    #[test]
    fn refusals() {
        let mut group = group(1..=64);
        let before = group.clone();
        assert_eq!(group.add(AdjacencyId(65)), Err(GroupError::Full));
        assert_eq!(group.add(AdjacencyId(64)), Err(GroupError::Duplicate(AdjacencyId(64))));
        assert_eq!(group.add(AdjacencyId::NONE), Err(GroupError::NoAdjacency));
        assert_eq!(group, before);
    }

    #[test]
    fn only_the_flows_of_a_removed_member_move_and_they_spread() {
        for n in 2..=64 {
            let mut group = group(1..=n);
            let before = map(&group);
            let gone = AdjacencyId(n / 2 + 1);
            assert!(group.remove(gone));
            let mut heirs = std::collections::BTreeSet::new();
            for (old, new) in before.iter().zip(map(&group)) {
                assert!(if *old == gone { new != gone } else { new == *old });
                heirs.extend((*old == gone).then_some(new));
            }
            let freed = before.iter().filter(|owner| **owner == gone).count();
            assert!(
                heirs.len() >= freed.min(n as usize - 1) / 2,
                "{n}: {freed} buckets went to {}",
                heirs.len()
            );
            assert_balanced(&group);
        }
    }

    proptest! {
        #[test]
        fn balanced_after_any_history(ops in prop::collection::vec((1u32..80, any::<bool>()), 0..300)) {
            let mut group = NextHopGroup::new();
            for (member, add) in ops {
                let member = AdjacencyId(member);
                let (before, had) = (map(&group), group.members().any(|id| id == member));
                let fits = !had && group.len() < MAX_MEMBERS;
                let changed = if add { group.add(member).is_ok() } else { group.remove(member) };
                prop_assert_eq!(changed, if add { fits } else { had });
                for (old, new) in before.iter().zip(map(&group)) {
                    let is_members = if add { new == member } else { *old == member };
                    prop_assert!(*old == new || is_members);
                }
                assert_balanced(&group);
            }
        }
    }

    /// Whether `counts` may well be even draws: chi-square within five deviations of its mean.
    fn is_even(counts: &[u32]) -> bool {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        let chi: f64 = counts.iter().map(|&n| (f64::from(n) - mean).powi(2) / mean).sum();
        let freedom = counts.len() as f64 - 1.0;
        (chi - freedom).abs() < 5.0 * (2.0 * freedom).sqrt()
    }

    #[test]
    fn flows_that_differ_little_spread_evenly() {
        type Flow = fn(u32) -> (u32, u32, u32);
        let sets: [(&str, Flow); 6] = [
            ("source port", |i| (0x0a00_0001, 0xc000_0201, i << 16 | 80)),
            ("destination port", |i| (0x0a00_0001, 0xc000_0201, 4000 << 16 | i)),
            ("source", |i| (0x0a00_0000 + i, 0xc000_0201, 0)),
            ("destination", |i| (0x0a00_0001, 0xc000_0000 + i, 0)),
            ("network", |i| (0x0a00_0001, i << 16, 0)),
            ("both addresses alike", |i| (0x0a00_0000 + i, 0x0a00_0000 + i, 0)),
        ];
        for (name, flow) in sets {
            for seed in [0, 1, 0x0123_4567_89ab_cdef] {
                let mut counts = [0; BUCKETS];
                for i in 0..1 << 16 {
                    let (src, dst, ports) = flow(i);
                    counts[flow_hash(seed, src, dst, 6, ports) as usize % BUCKETS] += 1;
                }
                assert!(is_even(&counts), "{name}, seed {seed}");
            }
        }
    }

    #[test]
    fn each_input_bit_flips_half_of_the_output() {
        const ROUNDS: u32 = 4000;
        let hash = |seed: u64, key: u128| {
            flow_hash(seed, key as u32, (key >> 32) as u32, (key >> 64) as u8, (key >> 72) as u32)
        };
        for bit in 0..104 {
            let mut flips = [0u32; 32];
            for round in 0..ROUNDS {
                let key = u128::from(round).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 8;
                let change = hash(5, key) ^ hash(5, key ^ 1 << bit);
                flips.iter_mut().enumerate().for_each(|(out, n)| *n += change >> out & 1);
            }
            for (out, n) in flips.iter().enumerate() {
                let share = f64::from(*n) / f64::from(ROUNDS);
                assert!((0.45..0.55).contains(&share), "bit {bit} flips bit {out} in {share}");
            }
        }
    }

    #[test]
    fn routers_in_series_do_not_polarise() {
        // The flows that a first router sends one way are spread evenly by a second with another seed.
        for (first, second) in [(1, 2), (0, 1 << 63), (0x5555, 0xaaaa)] {
            let mut counts = [0; BUCKETS];
            for i in 0..1u32 << 17 {
                let (src, ports) = (0x0a00_0000 + (i >> 8), (1024 + (i & 0xff)) << 16 | 443);
                if flow_hash(first, src, 0xc000_0201, 6, ports).is_multiple_of(4) {
                    counts[flow_hash(second, src, 0xc000_0201, 6, ports) as usize % BUCKETS] += 1;
                }
            }
            assert!(is_even(&counts), "seeds {first:#x} and {second:#x}");
        }
    }
}

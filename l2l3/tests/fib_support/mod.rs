//! Route tables and flows like the Internet's, from a seed. Shared by the tests and the benches.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use l2l3::fib::AdjacencyId;
use sim::Rng;
use wire::Ipv4Prefix;

/// How many of a million routes have which length, as public BGP tables have it (about 62 % /24), and
/// 7,000 longer ones, as a provider's own network adds.
const LENGTHS: [(u8, u32); 25] = [
    (8, 16),
    (9, 13),
    (10, 40),
    (11, 100),
    (12, 300),
    (13, 580),
    (14, 1_200),
    (15, 2_100),
    (16, 13_500),
    (17, 8_300),
    (18, 14_000),
    (19, 25_000),
    (20, 44_000),
    (21, 51_000),
    (22, 110_000),
    (23, 100_000),
    (24, 622_851),
    (25, 875),
    (26, 875),
    (27, 875),
    (28, 875),
    (29, 875),
    (30, 875),
    (31, 875),
    (32, 875),
];

/// A unicast prefix of a length drawn as above.
pub(crate) fn prefix(rng: &mut Rng) -> Ipv4Prefix {
    let total = LENGTHS.iter().map(|(_, share)| share).sum::<u32>();
    let mut draw = rng.range(0..u64::from(total)) as u32;
    let len = LENGTHS.iter().find(|(_, share)| draw.checked_sub(*share).map(|left| draw = left).is_none());
    let addr = rng.range(0x0100_0000..0xe000_0000) as u32;
    Ipv4Prefix::new(Ipv4Addr::from_bits(addr), len.map_or(24, |(len, _)| *len))
}

/// `count` different routes, unsorted, to adjacencies 1 to `hops`.
pub(crate) fn routes(count: usize, hops: u32, rng: &mut Rng) -> Vec<(Ipv4Prefix, AdjacencyId)> {
    let mut seen = HashSet::with_capacity(count);
    let mut routes = Vec::with_capacity(count);
    while routes.len() < count {
        let prefix = prefix(rng);
        if seen.insert(prefix) {
            routes.push((prefix, AdjacencyId(rng.range(1..u64::from(hops) + 1) as u32)));
        }
    }
    routes
}

/// An address (host order) in one of `routes`.
pub(crate) fn address(routes: &[(Ipv4Prefix, AdjacencyId)], rng: &mut Rng) -> u32 {
    within(routes[rng.index(routes.len())].0, rng)
}

/// An address (host order) in `prefix`.
pub(crate) fn within(prefix: Ipv4Prefix, rng: &mut Rng) -> u32 {
    prefix.bits() | (rng.next_u32() & !prefix.mask())
}

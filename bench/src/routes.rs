//! Route tables from a seed, with the mix of prefix lengths that the Internet's routers see.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::net::Ipv4Addr;

use wire::Ipv4Prefix;

use crate::rng::Rng;

/// Where a route leads: the index of the port that its packets leave by.
pub type Hop = u8;

/// The ports of the comparison, and so the next hops.
pub const PORTS: usize = 2;

/// How the /8 to /21 among the routes are spread: (length, weight).
const SHORT_LENGTHS: [(u8, u64); 14] = [
    (8, 1),
    (9, 1),
    (10, 3),
    (11, 8),
    (12, 25),
    (13, 50),
    (14, 100),
    (15, 180),
    (16, 1100),
    (17, 650),
    (18, 1100),
    (19, 1900),
    (20, 2600),
    (21, 2282),
];

/// A route table: unique prefixes in random order, with their next hops.
pub struct RouteTable {
    /// Each prefix with where it leads.
    pub routes: Vec<(Ipv4Prefix, Hop)>,
}

impl RouteTable {
    /// Two networks, one behind each port.
    pub fn two() -> Self {
        let network = |first| Ipv4Prefix::new(Ipv4Addr::new(first, 0, 0, 0), 16);
        RouteTable { routes: vec![(network(48), 0), (network(49), 1)] }
    }

    /// `count` routes, from about a hundred to a million: 62 % /24, 11 % /22, 10 % /23, 0.7 % longer, the rest shorter.
    pub fn internet(count: usize, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut seen = HashSet::with_capacity(count);
        let mut routes = Vec::with_capacity(count);
        let quotas = [(24, count * 62 / 100), (22, count * 11 / 100), (23, count * 10 / 100)];
        for (len, quota) in quotas {
            for _ in 0..quota {
                routes.push((fresh_prefix(len, &mut seen, &mut rng), rng.below(PORTS as u64) as Hop));
            }
        }
        for _ in 0..count * 7 / 1000 {
            let len = 25 + rng.below(8) as u8;
            routes.push((fresh_prefix(len, &mut seen, &mut rng), rng.below(PORTS as u64) as Hop));
        }
        while routes.len() < count {
            let len = short_length(&mut rng);
            routes.push((fresh_prefix(len, &mut seen, &mut rng), rng.below(PORTS as u64) as Hop));
        }
        shuffle(&mut routes, &mut rng);
        RouteTable { routes }
    }

    /// Writes the rules as l3fwd reads them.
    pub fn write_l3fwd(&self, out: &mut impl Write) -> io::Result<()> {
        self.routes.iter().try_for_each(|(prefix, hop)| writeln!(out, "R{prefix} {hop}"))
    }

    /// Writes the routes as sluice's `routes_file` has them; hop `i` is the gateway `gateways[i]`.
    pub fn write_sluice(&self, gateways: &[Ipv4Addr; PORTS], out: &mut impl Write) -> io::Result<()> {
        self.routes
            .iter()
            .try_for_each(|(prefix, hop)| writeln!(out, "{prefix} via {}", gateways[usize::from(*hop)]))
    }
}

/// A prefix of `len` that was not given before and lies in no network that means something else.
fn fresh_prefix(len: u8, seen: &mut HashSet<Ipv4Prefix>, rng: &mut Rng) -> Ipv4Prefix {
    loop {
        let addr = Ipv4Addr::from_bits(rng.bits() as u32);
        let prefix = Ipv4Prefix::new(addr, len);
        if is_usable(prefix) && seen.insert(prefix) {
            return prefix;
        }
    }
}

/// No "this network", no loopback, no multicast or reserved space; 10/8 holds our connected networks and the senders.
fn is_usable(prefix: Ipv4Prefix) -> bool {
    // No prefix is shorter than /8, so the first byte alone tells.
    !matches!(prefix.addr().octets()[0], 0 | 10 | 127 | 224..)
}

fn short_length(rng: &mut Rng) -> u8 {
    let total = SHORT_LENGTHS.iter().map(|(_, weight)| weight).sum();
    let mut draw = rng.below(total);
    for (len, weight) in SHORT_LENGTHS {
        if draw < weight {
            return len;
        }
        draw -= weight;
    }
    21
}

/// Puts the items into a random order.
pub fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.below(i as u64 + 1) as usize);
    }
}

/// The plainest longest-prefix match: one hash map for each length.
pub struct NaiveLpm {
    by_len: Vec<HashMap<u32, Hop>>,
}

impl NaiveLpm {
    /// The table's routes, in maps.
    pub fn new(table: &RouteTable) -> Self {
        let mut by_len = vec![HashMap::new(); 33];
        for (prefix, hop) in &table.routes {
            by_len[usize::from(prefix.len())].insert(prefix.bits(), *hop);
        }
        NaiveLpm { by_len }
    }

    /// Where the longest match of `addr` leads.
    pub fn lookup(&self, addr: Ipv4Addr) -> Option<Hop> {
        (0..=32u8).rev().find_map(|len| {
            let map = &self.by_len[usize::from(len)];
            if map.is_empty() { None } else { map.get(&Ipv4Prefix::new(addr, len).bits()).copied() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internet_table_has_the_mix_and_only_usable_unique_prefixes() {
        let table = RouteTable::internet(100_000, 7);
        let share = |lens: std::ops::RangeInclusive<u8>| {
            table.routes.iter().filter(|(p, _)| lens.contains(&p.len())).count()
        };
        assert_eq!(table.routes.len(), 100_000);
        assert_eq!(
            (share(24..=24), share(22..=22), share(23..=23), share(25..=32)),
            (62_000, 11_000, 10_000, 700)
        );
        assert_eq!(share(8..=21), 16_300);
        let unique: HashSet<_> = table.routes.iter().map(|(prefix, _)| *prefix).collect();
        assert_eq!(unique.len(), table.routes.len());
        assert!(table.routes.iter().all(|(prefix, _)| is_usable(*prefix)));
        let to_port_1 = table.routes.iter().filter(|(_, hop)| *hop == 1).count();
        assert!((48_000..52_000).contains(&to_port_1));
    }

    #[test]
    fn a_seed_gives_one_table() {
        let (one, same, other) =
            (RouteTable::internet(1000, 1), RouteTable::internet(1000, 1), RouteTable::internet(1000, 2));
        assert_eq!(one.routes, same.routes);
        assert_ne!(one.routes, other.routes);
    }

    #[test]
    fn the_longest_prefix_wins() {
        let prefix = |a, b, c, len| Ipv4Prefix::new(Ipv4Addr::new(a, b, c, 0), len);
        let lpm =
            NaiveLpm::new(&RouteTable { routes: vec![(prefix(20, 0, 0, 8), 0), (prefix(20, 1, 2, 24), 1)] });
        assert_eq!(lpm.lookup(Ipv4Addr::new(20, 1, 2, 3)), Some(1));
        assert_eq!(lpm.lookup(Ipv4Addr::new(20, 1, 3, 3)), Some(0));
        assert_eq!(lpm.lookup(Ipv4Addr::new(21, 1, 3, 3)), None);
    }

    #[test]
    fn rules_are_written_as_their_readers_want_them() {
        let mut l3fwd = Vec::new();
        let mut sluice = Vec::new();
        RouteTable::two().write_l3fwd(&mut l3fwd).unwrap();
        RouteTable::two()
            .write_sluice(&[Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 1, 2)], &mut sluice)
            .unwrap();
        assert_eq!(String::from_utf8(l3fwd).unwrap(), "R48.0.0.0/16 0\nR49.0.0.0/16 1\n");
        assert_eq!(
            String::from_utf8(sluice).unwrap(),
            "48.0.0.0/16 via 10.0.0.2\n49.0.0.0/16 via 10.0.1.2\n"
        );
    }
}

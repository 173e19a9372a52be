//! The choice of a source port such that what comes back lands on the calling core.
//!
//! The replies' owner is `reta[hash]` by the lowest bits of the Toeplitz hash. That hash is linear over
//! GF(2): each bit of the port that is set adds (by XOR) its own word to what the addresses and the other
//! port give. So the ports which give a wanted row of the table are the solutions of a linear system: one
//! particular port, plus any sum of those that add nothing. Gaussian elimination at the start leaves a few
//! XORs for each choice.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use wire::{Reta, RssKey, Toeplitz};

use crate::listen::{Purpose, SipKey};

/// Why there is no port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortError {
    /// None of the range brings replies of this destination home: the core owns no row of the table, or
    /// none that the port can reach, since the key (or a narrow range) leaves it little to change.
    NoneHome,
    /// All that were tried are in use. The next call tries others, if there are more than
    /// [`SourcePorts::MAX_TRIES`].
    InUse,
}

/// The source ports of one core.
#[derive(Debug)]
pub struct SourcePorts {
    hash: Toeplitz,
    mask: u32,
    blocks: Box<[Block]>,
    secret: SipKey,
    counter: u32,
}

impl SourcePorts {
    /// The ephemeral ports, unless others are wanted.
    pub const DEFAULT_RANGE: RangeInclusive<u16> = 32_768..=65_535;
    /// How many ports a call tries at most.
    pub const MAX_TRIES: u32 = 256;

    /// The ports of `range` for `core`, where flows are spread by `key` and `reta`; the order in which they
    /// are tried depends on `secret`. To be made anew when the table changes.
    ///
    /// # Panics
    /// If `range` is empty or holds port 0.
    pub fn new(key: &RssKey, reta: &Reta, core: u16, range: RangeInclusive<u16>, secret: [u8; 16]) -> Self {
        assert!(!range.is_empty() && *range.start() > 0, "source ports are 1 to 65535");
        let hash = Toeplitz::new(key);
        let blocks = aligned(range).map(|(first, width)| Block::new(&hash, reta, core, first, width));
        SourcePorts {
            blocks: blocks.collect(),
            mask: reta.entries().len() as u32 - 1,
            hash,
            secret: SipKey::new(secret),
            counter: 0,
        }
    }

    /// A port of `local` for a connection to `remote`, of which `is_free` is true: no connection with this
    /// `remote` has it, nor has TIME-WAIT.
    ///
    /// # Errors
    /// [`PortError`], if there is none.
    pub fn choose(
        &mut self,
        local: Ipv4Addr,
        remote: SocketAddrV4,
        mut is_free: impl FnMut(u16) -> bool,
    ) -> Result<u16, PortError> {
        // A reply comes from the remote end.
        let hash = self.hash.hash_v4_l4(remote.ip().to_bits(), local.to_bits(), remote.port(), 0);
        let base = (hash & self.mask) as u16;
        let count: u32 = self.blocks.iter().map(|block| block.solve(base).count()).sum();
        if count == 0 {
            return Err(PortError::NoneHome);
        }
        //= RFC 6056 section 3.3.3: begin at a keyed hash of the destination plus a counter, and try one
        //= port after the other.
        let hash = self.secret.hash_flow(Purpose::SourcePort, SocketAddrV4::new(local, 0), remote, 0);
        let offset = hash % u64::from(count);
        for _ in 0..count.min(Self::MAX_TRIES) {
            let nth = (offset + u64::from(self.counter)) % u64::from(count);
            self.counter = self.counter.wrapping_add(1);
            if let Some(port) = self.nth(base, nth as u32).filter(|port| is_free(*port)) {
                return Ok(port);
            }
        }
        Err(PortError::InUse)
    }

    /// Number `n` of the ports that bring replies home.
    fn nth(&self, base: u16, mut n: u32) -> Option<u16> {
        for block in &self.blocks {
            let solutions = block.solve(base);
            if n < solutions.count() {
                return Some(solutions.nth(n));
            }
            n -= solutions.count();
        }
        None
    }
}

/// Cuts a range into runs of ports that agree in all but their lowest bits: the first port of each, and
/// how many bits. At most 30; the default range is one.
fn aligned(range: RangeInclusive<u16>) -> impl Iterator<Item = (u16, u32)> {
    let (mut at, end) = (u32::from(*range.start()), u32::from(*range.end()) + 1);
    std::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|left| *left > 0)?;
        let width = at.trailing_zeros().min(left.ilog2());
        let first = at as u16;
        at += 1 << width;
        Some((first, width))
    })
}

/// A run of ports that differ in their lowest bits, and the linear system over these bits.
#[derive(Debug)]
struct Block {
    first: u16,
    /// What the bits that are the same for all ports add to the hash.
    first_hash: u16,
    basis: Basis,
    /// Bits of the port which, flipped together, change nothing: a basis of all that do.
    kernel: Box<[u16]>,
    /// For each row of the table that the core owns, bits of a port that give the row, but for a remainder
    /// that no port can give. In order of the remainders.
    homes: Box<[u16]>,
    /// Where in `homes` each remainder begins, and where the last one ends.
    starts: Box<[u16]>,
}

impl Block {
    fn new(hash: &Toeplitz, reta: &Reta, core: u16, first: u16, width: u32) -> Self {
        let rows = reta.entries().len();
        let hash_of = |port| hash.hash_v4_l4(0, 0, 0, port) as u16 & (rows - 1) as u16;
        let mut basis = Basis::default();
        let kernel = (0..width).filter_map(|bit| basis.add(hash_of(1 << bit), 1 << bit)).collect();
        let owned = (0_u16..).zip(reta.entries()).filter(|(_, owner)| **owner == core);
        let mut homes: Vec<_> = owned.map(|(row, _)| basis.reduce(row)).collect();
        homes.sort_unstable();
        let start = |rest| homes.partition_point(|home| usize::from(home.0) < rest) as u16;
        Block {
            first,
            first_hash: hash_of(first),
            kernel,
            starts: (0..=rows).map(start).collect(),
            homes: homes.into_iter().map(|(_, port)| port).collect(),
            basis,
        }
    }

    /// The ports whose replies come home, where all but the port adds `base` to the hash.
    fn solve(&self, base: u16) -> Solutions<'_> {
        // Reduction is linear: what is left of a row XOR the base is nothing if the same is left of both.
        let (rest, port) = self.basis.reduce(base ^ self.first_hash);
        let rest = usize::from(rest);
        let homes = &self.homes[usize::from(self.starts[rest])..usize::from(self.starts[rest + 1])];
        Solutions { homes, kernel: &self.kernel, port: self.first ^ port }
    }
}

/// The ports of a block whose replies come home.
struct Solutions<'a> {
    homes: &'a [u16],
    kernel: &'a [u16],
    port: u16,
}

impl Solutions<'_> {
    fn count(&self) -> u32 {
        (self.homes.len() << self.kernel.len()) as u32
    }

    /// Number `n` of them, which is below their count.
    fn nth(&self, n: u32) -> u16 {
        let home = self.homes[n as usize >> self.kernel.len()];
        let chosen = self.kernel.iter().enumerate().filter(|(i, _)| n >> i & 1 == 1);
        chosen.fold(self.port ^ home, |port, (_, bits)| port ^ bits)
    }
}

/// Vectors of hash bits in echelon form, and the bits of the port that make up each.
#[derive(Clone, Copy, Default, Debug)]
struct Basis {
    /// The vector whose highest bit is this one; zero, if there is none.
    vectors: [(u16, u16); Reta::MAX_SIZE.ilog2() as usize],
}

impl Basis {
    /// What is left of `hash` when it is made up of the vectors as far as can be, and the bits of the port
    /// that do it.
    fn reduce(&self, hash: u16) -> (u16, u16) {
        let fold = |(hash, port): (u16, u16), (bit, (vector, bits)): (usize, &(u16, u16))| {
            if hash >> bit & 1 == 1 { (hash ^ vector, port ^ bits) } else { (hash, port) }
        };
        self.vectors.iter().enumerate().rev().fold((hash, 0), fold)
    }

    /// Adds the vector that the bits `port` give. If it is made up of those before, gives the bits that,
    /// together, add nothing.
    fn add(&mut self, hash: u16, port: u16) -> Option<u16> {
        let (rest, bits) = self.reduce(hash);
        let Some(highest) = rest.checked_ilog2() else { return Some(port ^ bits) };
        self.vectors[highest as usize] = (rest, port ^ bits);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const LOCAL: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
    const REMOTE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 80);

    /// A key of full rank.
    fn key() -> RssKey {
        let mut state = 1_u32;
        RssKey(std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        }))
    }

    fn ports(key: &RssKey, reta: &Reta, core: u16, range: RangeInclusive<u16>) -> SourcePorts {
        SourcePorts::new(key, reta, core, range, [4; 16])
    }

    /// The twin: hashes all of them.
    fn search(
        key: &RssKey,
        reta: &Reta,
        core: u16,
        range: RangeInclusive<u16>,
        local: Ipv4Addr,
        remote: SocketAddrV4,
    ) -> HashSet<u16> {
        let hash = Toeplitz::new(key);
        let reply = |port| hash.hash_v4_l4(remote.ip().to_bits(), local.to_bits(), remote.port(), port);
        range.filter(|port| reta.owner(reply(*port)) == core).collect()
    }

    #[test]
    fn ranges_are_cut_into_aligned_runs() {
        for (range, want) in [
            (32_768..=65_535, vec![(32_768, 15)]),
            (5..=5, vec![(5, 0)]),
            (65_535..=65_535, vec![(65_535, 0)]),
            (
                32_768..=60_999,
                vec![
                    (32_768, 14),
                    (49_152, 13),
                    (57_344, 11),
                    (59_392, 10),
                    (60_416, 9),
                    (60_928, 6),
                    (60_992, 3),
                ],
            ),
        ] {
            assert_eq!(aligned(range).collect::<Vec<_>>(), want);
        }
        assert_eq!(aligned(1..=65_535).count(), 16);
        assert_eq!(aligned(1..=65_534).count(), 30);
    }

    #[test]
    #[should_panic(expected = "source ports are 1 to 65535")]
    fn port_0_is_no_source_port() {
        ports(&key(), &Reta::round_robin(8, 2), 0, 0..=10);
    }

    #[test]
    fn one_try_if_all_are_free() {
        let range = SourcePorts::DEFAULT_RANGE;
        for size in [1, 2, 128, 512, 4096] {
            let mut ports = ports(&key(), &Reta::round_robin(size, 8.min(size as u16)), 0, range.clone());
            for n in 0..1000 {
                let (mut tries, remote) = (0, SocketAddrV4::new(*REMOTE.ip(), n));
                ports
                    .choose(LOCAL, remote, |_| {
                        tries += 1;
                        true
                    })
                    .unwrap();
                assert_eq!(tries, 1, "table of {size}");
            }
        }
    }

    #[test]
    fn ports_in_use_are_skipped_until_none_is_left() {
        let reta = Reta::round_robin(128, 64);
        let range = 60_000..=65_535;
        let home = search(&key(), &reta, 5, range.clone(), LOCAL, REMOTE);
        assert!((2..=SourcePorts::MAX_TRIES as usize).contains(&home.len()));
        let mut ports = ports(&key(), &reta, 5, range);
        let mut used = HashSet::new();
        while let Ok(port) = ports.choose(LOCAL, REMOTE, |port| !used.contains(&port)) {
            assert!(used.insert(port));
        }
        assert_eq!(used, home);
        // The last one left is found wherever the search begins.
        for port in home {
            assert_eq!(ports.choose(LOCAL, REMOTE, |p| p == port), Ok(port));
        }
        assert_eq!(ports.choose(LOCAL, REMOTE, |_| false), Err(PortError::InUse));
    }

    #[test]
    fn tries_are_bounded_and_go_on_where_they_ended() {
        let (reta, range) = (Reta::round_robin(128, 2), SourcePorts::DEFAULT_RANGE);
        let home = search(&key(), &reta, 1, range.clone(), LOCAL, REMOTE);
        let mut ports = ports(&key(), &reta, 1, range);
        let mut tried = Vec::new();
        while tried.len() < home.len() {
            let before = tried.len();
            let got = ports.choose(LOCAL, REMOTE, |port| {
                tried.push(port);
                false
            });
            assert_eq!((got, tried.len() - before), (Err(PortError::InUse), 256));
        }
        assert_eq!(tried.into_iter().collect::<HashSet<_>>(), home);
    }

    #[test]
    fn a_destination_does_not_tell_the_port_of_another() {
        let reta = Reta::round_robin(128, 2);
        let first = |secret, remote| {
            let range = SourcePorts::DEFAULT_RANGE;
            SourcePorts::new(&key(), &reta, 0, range, [secret; 16]).choose(LOCAL, remote, |_| true).unwrap()
        };
        let mut chosen: HashSet<_> = (0..100).map(|n| first(0, SocketAddrV4::new(*REMOTE.ip(), n))).collect();
        chosen.extend((1..100).map(|secret| first(secret, REMOTE)));
        // 199 draws of some 16,384.
        assert!(chosen.len() > 180, "{}", chosen.len());
    }

    #[test]
    fn without_a_way_home_it_says_so() {
        let range = SourcePorts::DEFAULT_RANGE;
        let choose =
            |key, reta: &Reta, core| ports(&key, reta, core, range.clone()).choose(LOCAL, REMOTE, |_| true);
        let reta = Reta::round_robin(128, 4);
        assert_eq!(choose(key(), &reta, 4), Err(PortError::NoneHome));
        // A key of zeros: every hash is 0, which core 0 owns.
        let zeros = RssKey([0; RssKey::LEN]);
        assert!(choose(zeros, &reta, 0).is_ok());
        assert_eq!(choose(zeros, &reta, 1), Err(PortError::NoneHome));
    }

    fn any_key() -> impl Strategy<Value = RssKey> {
        let random = proptest::collection::vec(any::<u8>(), RssKey::LEN);
        // Few bits set, or few different bytes: seldom of full rank.
        let sparse = proptest::collection::vec(
            prop_oneof![4 => Just(0_u8), 1 => Just(1), 1 => Just(128)],
            RssKey::LEN,
        );
        let repeated = any::<[u8; 2]>().prop_map(|word| word.repeat(RssKey::LEN / 2));
        let any = prop_oneof![random, sparse, repeated, Just(RssKey::SYMMETRIC.0.to_vec())];
        any.prop_map(|bytes| RssKey(std::array::from_fn(|i| bytes[i])))
    }

    fn any_reta() -> impl Strategy<Value = Reta> {
        let uneven = (0..=9_u32).prop_flat_map(|bits| {
            proptest::collection::vec(prop_oneof![3 => Just(0_u16), 1 => 1..6_u16], 1 << bits)
        });
        prop_oneof![
            (0..=12_u32, 1..9_u16).prop_map(|(bits, cores)| Reta::round_robin(1 << bits, cores)),
            uneven.prop_map(|entries| Reta::from_entries(entries.into())),
        ]
    }

    fn any_range() -> impl Strategy<Value = RangeInclusive<u16>> {
        let any = (1_u16.., 1_u16..).prop_map(|(a, b)| a.min(b)..=a.max(b));
        let narrow = (1..=65_500_u16, 0..35_u16).prop_map(|(start, len)| start..=start + len);
        prop_oneof![Just(SourcePorts::DEFAULT_RANGE), Just(32_768..=60_999), any, narrow]
    }

    proptest! {
        /// As many calls as there are ports that bring replies home give each of them once, at the first
        /// try, and no other.
        #[test]
        fn gives_what_a_search_finds(
            key in any_key(), reta in any_reta(), core in 0..6_u16, range in any_range(),
            local: u32, remote: (u32, u16),
        ) {
            let local = Ipv4Addr::from_bits(local);
            let remote = SocketAddrV4::new(Ipv4Addr::from_bits(remote.0), remote.1);
            let home = search(&key, &reta, core, range.clone(), local, remote);
            let mut ports = ports(&key, &reta, core, range);
            if home.is_empty() {
                prop_assert_eq!(ports.choose(local, remote, |_| true), Err(PortError::NoneHome));
            }
            let mut tries = 0;
            let mut free = |_| { tries += 1; true };
            let chosen: HashSet<_> =
                (0..home.len()).map(|_| ports.choose(local, remote, &mut free).unwrap()).collect();
            prop_assert_eq!(tries, home.len());
            prop_assert_eq!(chosen, home);
        }
    }
}

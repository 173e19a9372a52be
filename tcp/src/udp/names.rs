//! Who receives what: the sockets by local address and, of connected ones, the peer's.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use foldhash::fast::FixedState;

use super::{SocketId, UdpError};

/// Dynamic ports (RFC 6335 section 6).
const DYNAMIC: RangeInclusive<u16> = 49_152..=65_535;

/// What a socket receives: datagrams to `local`, whose address may be unspecified, from `remote` or, without
/// one, from anybody. Two sockets never have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Name {
    pub(super) local: SocketAddrV4,
    pub(super) remote: Option<SocketAddrV4>,
}

impl Name {
    /// One number for each name, cheap to hash.
    fn key(self) -> u128 {
        let bits = |addr: SocketAddrV4| u128::from(addr.ip().to_bits()) << 16 | u128::from(addr.port());
        bits(self.local) | self.remote.map_or(0, |remote| 1 << 96 | bits(remote) << 48)
    }
}

/// The sockets by their names.
#[derive(Debug)]
pub(super) struct Names {
    sockets: HashMap<u128, SocketId, FixedState>,
    /// How many sockets each local port has, if any.
    ports: HashMap<u16, u32, FixedState>,
    /// State of the choice of ports.
    random: u64,
}

impl Names {
    /// For `limit` sockets. `seed` is secret: ports cannot be guessed from outside.
    pub(super) fn new(limit: usize, seed: u64) -> Self {
        // A map that is at most half full never grows: it clears removed entries away in place. A socket has
        // two names while it changes them.
        let capacity = (limit + 1) * 2;
        Names {
            sockets: HashMap::with_capacity_and_hasher(capacity, FixedState::with_seed(seed)),
            ports: HashMap::with_capacity_and_hasher(capacity, FixedState::with_seed(seed)),
            random: seed,
        }
    }

    /// The socket that receives what comes from `remote` to `local`: the one that is connected to it
    /// before one that has the address before one that has all addresses.
    pub(super) fn lookup(&self, local: SocketAddrV4, remote: SocketAddrV4) -> Option<SocketId> {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, local.port());
        let get = |local, remote| self.sockets.get(&Name { local, remote }.key());
        get(local, Some(remote)).or_else(|| get(local, None)).or_else(|| get(any, None)).copied()
    }

    /// The socket of exactly this name.
    pub(super) fn get(&self, name: Name) -> Option<SocketId> {
        self.sockets.get(&name.key()).copied()
    }

    /// Names a socket.
    pub(super) fn insert(&mut self, name: Name, socket: SocketId) -> Result<(), UdpError> {
        if self.sockets.contains_key(&name.key()) {
            return Err(UdpError::AddressInUse);
        }
        self.sockets.insert(name.key(), socket);
        *self.ports.entry(name.local.port()).or_default() += 1;
        Ok(())
    }

    /// Frees a name that a socket has.
    pub(super) fn remove(&mut self, name: Name) {
        self.sockets.remove(&name.key());
        let port = name.local.port();
        if let Some(sockets) = self.ports.get_mut(&port) {
            *sockets -= 1;
            if *sockets == 0 {
                self.ports.remove(&port);
            }
        }
    }

    /// Whether a socket has this local port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        self.ports.contains_key(&port)
    }

    /// A port that no socket has.
    pub(super) fn choose_port(&mut self) -> Result<u16, UdpError> {
        //= RFC 6056 section 3.3.1: a random port of the range, or the next one that is free.
        let count = DYNAMIC.len() as u64;
        let start = self.next_random() % count;
        (0..count)
            .map(|step| DYNAMIC.start() + ((start + step) % count) as u16)
            .find(|port| !self.ports.contains_key(port))
            .ok_or(UdpError::NoFreePort)
    }

    /// SplitMix64.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: SocketId = SocketId { slot: 0, generation: 0 };

    fn name(port: u16) -> Name {
        Name { local: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), remote: None }
    }

    #[test]
    fn every_dynamic_port_is_chosen_once() {
        let mut names = Names::new(20_000, 7);
        let taken = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 50_000);
        names.insert(Name { local: taken, remote: Some(taken) }, ID).unwrap();
        let mut ports: Vec<u16> = std::iter::from_fn(|| {
            let port = names.choose_port().ok()?;
            names.insert(name(port), ID).unwrap();
            Some(port)
        })
        .collect();
        assert_eq!((ports.len(), names.choose_port()), (16_383, Err(UdpError::NoFreePort)));
        assert!(
            ports[..100].windows(2).filter(|pair| pair[1] == pair[0] + 1).count() < 5,
            "{:?}",
            &ports[..100]
        );
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() == 16_383 && ports[0] >= 49_152 && !ports.contains(&50_000));
        names.remove(name(ports[5]));
        assert_eq!(names.choose_port(), Ok(ports[5]));
    }

    #[test]
    fn seeds_choose_differently() {
        let choose = |seed| Names::new(1, seed).choose_port().unwrap();
        assert_eq!(choose(1), choose(1));
        assert_ne!(choose(1), choose(2));
    }

    #[test]
    fn names_that_come_and_go_do_not_make_the_maps_grow() {
        let mut names = Names::new(64, 3);
        let capacity = |names: &Names| (names.sockets.capacity(), names.ports.capacity());
        let before = capacity(&names);
        for port in 0..50_000 {
            names.insert(name(port), ID).unwrap();
            if port >= 63 {
                names.remove(name(port - 63));
            }
            assert_eq!(capacity(&names), before);
        }
        assert_eq!(names.ports.len(), 63);
    }
}

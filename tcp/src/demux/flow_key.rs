//! The four numbers that name a flow, and their hash.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::Segment;

/// A flow as this end sees it: both addresses, both ports. In host order, 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FlowKey {
    local_addr: u32,
    remote_addr: u32,
    local_port: u16,
    remote_port: u16,
}

const _: () = assert!(size_of::<FlowKey>() == 12);

impl FlowKey {
    /// The flow between `local` and `remote`.
    pub const fn new(local: SocketAddrV4, remote: SocketAddrV4) -> Self {
        FlowKey {
            local_addr: local.ip().to_bits(),
            remote_addr: remote.ip().to_bits(),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }

    /// The flow that a received segment belongs to.
    pub const fn of(segment: &Segment) -> Self {
        Self::new(segment.dst, segment.src)
    }

    /// The flow of the segment from `src` to `dst` that begins with `bytes`, its header not yet checked; `None`
    /// if the ports are not there.
    #[inline]
    pub fn peek(src: Ipv4Addr, dst: Ipv4Addr, bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d] = *bytes.first_chunk()?;
        Some(FlowKey {
            local_addr: dst.to_bits(),
            remote_addr: src.to_bits(),
            local_port: u16::from_be_bytes([c, d]),
            remote_port: u16::from_be_bytes([a, b]),
        })
    }

    /// This end.
    pub const fn local(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::from_bits(self.local_addr), self.local_port)
    }

    /// The other end.
    pub const fn remote(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::from_bits(self.remote_addr), self.remote_port)
    }
}

/// A keyed hash of flows.
///
/// Not the Toeplitz hash of RSS, although that may be at hand: it is linear and its key well known, so
/// that anyone can find flows which share it; and all flows of one core share bits of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowHasher {
    addrs: u64,
    ports: u64,
    last: u64,
}

/// 2^64 divided by the golden ratio, and odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl FlowHasher {
    pub(super) const fn new(seed: u64) -> Self {
        let addrs = mix(seed ^ GOLDEN, GOLDEN);
        let ports = mix(addrs ^ seed, GOLDEN);
        // Not even, so that the last multiplication loses nothing.
        let last = mix(ports ^ seed, GOLDEN) | 1;
        FlowHasher { addrs, ports, last }
    }

    #[inline]
    pub(super) const fn hash(&self, key: &FlowKey) -> u64 {
        let addrs = (key.local_addr as u64) << 32 | key.remote_addr as u64;
        let ports = (key.local_port as u64) << 16 | key.remote_port as u64;
        mix(mix(addrs ^ self.addrs, ports ^ self.ports), self.last)
    }
}

/// All bits of the product, folded: each bit of a factor reaches both ends of the result.
#[inline]
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

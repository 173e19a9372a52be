//! The straight path: plain IPv4 packets to resolved next hops, a burst at a time.
//!
//! Reads each frame's first 34 bytes, the route table and the adjacencies. Writes the Ethernet
//! header, the TTL and the header checksum. A frame ends in the transmit batch of its port when
//! *everything* about it is plain; else it is left as it came, in `rest`, for
//! [`Router`](crate::router::Router)'s general path, which finds out why. Nothing is decided twice differently: the tests hold the
//! general path and this one to the same answers.
//!
//! Plain means: untagged IPv4 without options to our Ethernet address; TTL of two or more; a source
//! that a host may have; lengths that agree; a right header checksum; and a route to an adjacency
//! that takes the frame untagged, padding included, which is sent on as it is.
//!
//! A source that is an address of our own is not looked for: RFC 1812 asks for that neither in section 5.3.7
//! nor, by default, in 5.3.8, and each address would cost two instructions a packet.

mod header;
mod isa;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vector;
#[cfg(target_arch = "x86_64")]
mod width;

use wire::{Frame, MacAddr, RxFlags};

pub use isa::Isa;

use crate::adjacency::AdjacencyTable;
use crate::cycles::Stopwatch;
use crate::fib::FibView;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of an Ethernet and an option-less IPv4 header.
const HEADERS: usize = 34;
/// Frames of one pass: their state fits the first-level cache.
const PASS: usize = 64;
/// Spare room that the batches need beyond the frames they get, because groups are stored whole.
pub const BATCH_SLACK: usize = 16;

/// What the checks of one port compare with.
#[derive(Clone, Debug)]
pub struct HeaderFilter {
    plain: header::Extremes,
    #[cfg(target_arch = "x86_64")]
    ranges: vector::Ranges,
}

impl HeaderFilter {
    /// The filter of a port whose Ethernet address is `mac`.
    pub fn new(mac: MacAddr) -> Self {
        HeaderFilter {
            plain: header::Extremes::plain(mac),
            #[cfg(target_arch = "x86_64")]
            ranges: vector::Ranges::plain(mac),
        }
    }
}

/// Where the TTL stands in the frame.
const TTL: usize = 22;
/// Where the header checksum stands in the frame.
const CHECKSUM: usize = 24;
/// Where the first byte of the source address stands in the frame.
const SOURCE: usize = 26;

/// The tables that the straight path reads.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    /// The receiving port's filter.
    pub filter: &'a HeaderFilter,
    /// The routes.
    pub fib: FibView<'a>,
    /// What they lead to.
    pub adjacencies: &'a AdjacencyTable,
    /// Told where each half of the path ends.
    pub watch: &'a Stopwatch,
}

/// Sends the plain frames of `frames` to `tx[port]` and the others to `rest`, each in their order;
/// `frames` is empty afterwards.
///
/// # Panics
/// If `tx` has fewer batches than the adjacencies have ports, or `rest` or a batch has not the
/// capacity for `frames.len() + BATCH_SLACK` more.
pub fn forward_burst<F: Frame>(
    isa: Isa,
    tables: Tables<'_>,
    frames: &mut Vec<F>,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    let room = |batch: &Vec<F>| batch.capacity() - batch.len() >= frames.len() + BATCH_SLACK;
    assert!(tx.len() >= usize::from(tables.adjacencies.ports()), "a transmit batch for each port");
    assert!(room(rest) && tx.iter().all(room), "room in the batches for the whole burst");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(proof) if size_of::<F>() == 8 => width::avx512(proof, tables, frames, tx, rest),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(proof) if size_of::<F>() == 8 => width::avx2(proof, tables, frames, tx, rest),
        #[cfg(target_arch = "x86_64")]
        Isa::Sse42(proof) if size_of::<F>() == 8 => width::sse42(proof, tables, frames, tx, rest),
        _ => portable::forward_burst(tables, frames, tx, rest),
    }
}

/// Whether the device has not said all that lets the straight path trust the frame as it is: a good
/// header checksum and no tag.
const fn is_dirty(flags: RxFlags) -> bool {
    const MASK: u64 = RxFlags::IP_CKSUM_GOOD | RxFlags::IP_CKSUM_BAD | RxFlags::VLAN_STRIPPED;
    flags.0 & MASK != RxFlags::IP_CKSUM_GOOD
}

/// RFC 1071 over the 20 bytes of the IPv4 header, in the machine's byte order.
fn sums_to_zero(header: &[u8; HEADERS]) -> bool {
    let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let sum: u64 = [14, 18, 22, 26, 30].into_iter().map(|at| u64::from(word(at))).sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

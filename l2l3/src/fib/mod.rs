//! The forwarding table: longest prefix match for workers, changed in place by one writer.
//!
//! DIR-24-8 (Gupta, Lin, McKeown, "Routing Lookups in Hardware at Memory Access Speeds", 1998): one
//! table indexed by the upper 24 bits of an address, and groups of 256 for the few /24 networks that
//! hold longer routes. A lookup is one load, seldom two. [`layout`] tells every bit.
//!
//! - [`Fib`] is what workers read: shared, lock-free, never moved.
//! - [`FibWriter`] owns the routes and writes the [`Fib`]. There is one.
//! - [`Limbo`] holds what was unlinked until no worker can see it.
//!
//! # What a reader sees while the writer works
//!
//! An address's answer is one 32-bit entry, replaced by one store. A lookup that overlaps an update
//! gives the answer from before or from after it, never a third one. A group is filled before the
//! store that makes it reachable, and reused only after every worker has passed a quiescent point.
//! Stores release and loads acquire: who sees a route also sees the adjacency written before it.
//!
//! # Epochs
//!
//! The engine keeps one epoch counter. A worker publishes, once per loop and between bursts, the epoch
//! it read. The writer's thread raises the counter, tells the writer ([`FibWriter::set_epoch`]), and
//! gives the least epoch published by any worker to [`FibWriter::reclaim`]: what was retired in an
//! earlier epoch than that is free again. With no worker running, that is `u64::MAX`.

mod block;
pub mod layout;
mod limbo;
#[cfg(test)]
mod model;
mod rib;
mod table;
mod writer;

use std::fmt;
use std::sync::atomic::Ordering;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use limbo::Limbo;
pub use table::{Fib, FibView, Storage, zeroed};
pub use writer::{FibLimits, FibUsage, FibWriter};

/// How a reader loads an entry: with it comes all that was written before it was published.
pub(crate) const READ: Ordering = Ordering::Acquire;
/// How the writer stores an entry that a reader may find.
const PUBLISH: Ordering = Ordering::Release;

/// The index of an adjacency or next-hop group: what a route leads to. 20 bits.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    Debug,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(transparent)]
pub struct AdjacencyId(pub u32);

impl AdjacencyId {
    /// "No route": what a lookup gives when nothing matches. No route can be made to lead to it.
    pub const NONE: AdjacencyId = AdjacencyId(0);
    /// The largest index.
    pub const MAX: AdjacencyId = AdjacencyId(layout::ADJACENCY_MASK);

    /// Whether this is [`AdjacencyId::NONE`].
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Why the table refused a change. The table is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FibError {
    /// As many routes as the table was made for are in it.
    RoutesFull {
        /// That many.
        limit: usize,
    },
    /// The /24 network needs a group of its own for a route longer than /24, and none is free.
    GroupsFull {
        /// Groups in all.
        limit: usize,
        /// Those of them that wait for workers to pass; see [`FibWriter::reclaim`].
        in_limbo: usize,
    },
    /// An adjacency must be 1 to [`AdjacencyId::MAX`].
    BadAdjacency(AdjacencyId),
    /// The memory handed in does not fit; the text says what would be right.
    BadStorage(&'static str),
}

impl fmt::Display for FibError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RoutesFull { limit } => {
                write!(f, "the route table is full: it was made for {limit} routes")
            }
            Self::GroupsFull { limit, in_limbo } => write!(
                f,
                "no room for routes longer than /24 in one more /24 network: it was made for {limit} of them, \
                 {in_limbo} of which become free when the workers have moved on"
            ),
            Self::BadAdjacency(id) => {
                write!(f, "adjacency {} cannot be routed to: 1 to {} can", id.0, AdjacencyId::MAX.0)
            }
            Self::BadStorage(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for FibError {}

#[cfg(test)]
mod tests;

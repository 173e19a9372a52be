//! Networks in memory and in virtual time: seeded, so that a run that failed can be run again.
#![forbid(unsafe_code)]

pub mod builder;
pub mod bytes;
pub mod clock;
pub mod dissect;
pub mod frame;
pub mod host;
pub mod link;
pub mod mutate;
pub mod payload;
pub mod pcap;
pub mod queue;
pub mod rng;
mod segment;
pub mod slow;

pub use bytes::Bytes;
pub use clock::{Clock, EventQueue};
pub use frame::{SimFrame, SimPool};
pub use host::Host;
pub use link::{Link, LinkConfig, LinkStats};
pub use mutate::mutate;
pub use payload::SimPayload;
pub use pcap::PcapWriter;
pub use queue::{Loopback, SimRx, SimTx, Sink, Source, pipe};
pub use rng::Rng;
pub use slow::{SlowConfig, SlowTx};

//! Safe DPDK: the environment ([`Eal`]), packet buffers ([`Mempool`], [`Mbuf`], [`MbufPayload`]), devices
//! ([`Port`]) and their queues ([`RxQueue`], [`TxQueue`]), which implement the traits of `wire`.
//!
//! Nearly all of the project's `unsafe` lives here. The rules that make it sound:
//! - Handles keep what they stand on: queues their port, ports their pools, all of them the environment.
//! - A queue is given out once, is polled through `&mut`, and must be dropped before its port is stopped.
//! - An [`Mbuf`] is the only owner of its chain, and of the memory of its first segment. Memory that others
//!   refer to belongs to an [`MbufPayload`], or did: nobody writes to it until it is back in its pool.
//! - Memory that stays for ever ([`Eal::immortal`]) is written once, before anybody has it.
//! - DPDK's memory is unmapped only when every buffer is home, and none of it stays for ever.
//! - DPDK is called per burst, and per reference to payload; an mbuf's fields are read here, at offsets that
//!   the C compiler gave.
#![allow(unsafe_code, reason = "this crate makes DPDK's C interface safe")]

mod args;
mod clock;
mod eal;
mod error;
mod hugetable;
mod immortal;
mod mbuf;
mod mempool;
mod payload;
mod port;
mod queue;
mod segment;
mod socket;
mod thread;

pub use args::{EalConfig, EalWarning, Huge, LogLevel, NO_HUGE_DEFAULT_MB};
pub use clock::{TscClock, ticks};
pub use eal::Eal;
pub use error::{Errno, Error};
pub use hugetable::HugeTable;
pub use mbuf::Mbuf;
pub use mempool::{HEADROOM, MAX_CACHE, Mempool, PoolHandle};
pub use payload::MbufPayload;
pub use port::{Capabilities, Granted, Link, Port, PortConfig, PortInfo, PortStats, Rss};
pub use queue::{RxQueue, TxQueue};
pub use socket::DeviceSocket;
pub use thread::WorkerThread;

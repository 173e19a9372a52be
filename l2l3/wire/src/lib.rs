//! The leaf crate: what every room of the house agrees on.
//!
//! Packet headers as they stand on the wire, checksums, addresses, time, the one table of drop
//! reasons, counters, and the traits by which frames reach the pipeline ([`Frame`], [`FramePool`],
//! [`RxQueue`], [`TxQueue`]). No IO, no clock; `unsafe` only for a hint ([`prefetch`]) and for checksums with
//! AVX2.

pub mod addr;
pub mod arp;
pub mod checksum;
pub mod counter;
pub mod drop;
pub mod ethernet;
pub mod frame;
pub mod icmp;
pub mod ipv4;
pub mod limit;
pub mod prefetch;
pub mod tcp;
pub mod time;
pub mod toeplitz;
pub mod transport;
pub mod udp;

pub use zerocopy;
pub use zerocopy::network_endian::{U16, U32};
pub use zerocopy::{FromBytes, IntoBytes};

pub use addr::{Ipv4Prefix, MacAddr, ParseAddrError};
pub use arp::ArpPacket;
pub use counter::Counter;
pub use drop::{DropReason, Severity, Stage};
pub use ethernet::{EthernetHeader, VlanTag};
pub use frame::{Frame, FramePool, MAX_REFERENCE, NoRoom, Payload, RxFlags, RxQueue, TxQueue};
pub use icmp::IcmpHeader;
pub use ipv4::{Ipv4Header, Ipv4View};
pub use limit::TokenBucket;
pub use tcp::{TcpFlags, TcpHeader, TcpView};
pub use time::Instant;
pub use toeplitz::{Reta, RssKey, Toeplitz};
pub use transport::{OpenChecksum, Transport};
pub use udp::UdpHeader;

//! TCP and UDP, sans-IO: no clock, no random source, no system call, no `unsafe`.
//!
//! Whoever drives it says what time it is, hands in packets, and takes packets out. Start with [`Shard`]: a
//! core's TCP, with all connections whose flows that core owns. UDP is in [`udp`].
//!
//! ```text
//! packet -> Segment::parse -> demux --+--> Connection::handle_segment --> recovery, congestion, receive
//!                                     +--> listen: SYN queue, cookies --> a new connection
//!                                     +--> time_wait
//!                                     +--> closed: a reset
//! application: accept, receive, send, close, ...
//! poll_transmit -> Connection::poll_transmit -> Packet: headers, and payload by reference
//! ```
//!
//! - [`segment`], [`options`], [`seq`]: what arrives, in the terms of RFC 9293; [`packet`]: what leaves.
//! - [`shard`]: which connection a packet is for, the application's calls, events, timers.
//! - [`connection`]: one connection's states, input, output and timers.
//! - [`recovery`]: what is in flight, and what is lost: SACK, RACK-TLP, RTO, F-RTO, PRR.
//! - [`congestion`]: CUBIC with HyStart++, NewReno, pacing.
//! - [`receive`]: the receive queue, out-of-order data, SACK blocks, the window and its tuning.
//! - [`send`]: what is not acknowledged yet; [`content`]: by reference, or the promise to make it.
//! - [`listen`]: handshakes: SYN queue, cookies, initial sequence numbers. [`closed`]: nobody listens.
//! - [`trace`]: the last things that happened to each connection, for operators.
//! - [`demux`], [`wheel`], [`time_wait`], [`pool`], [`ports`], [`budget`]: tables with a fixed size.
//!
//! Everything has a bound that is set at start ([`Config`]). Nothing is allocated after that.
#![forbid(unsafe_code)]

pub mod acceptability;
pub mod budget;
pub mod closed;
pub mod config;
pub mod congestion;
pub mod connection;
pub mod content;
pub mod counters;
pub mod demux;
pub mod listen;
pub mod options;
pub mod packet;
pub mod pool;
pub mod ports;
pub mod receive;
pub mod recovery;
pub mod segment;
pub mod send;
mod sender;
pub mod seq;
pub mod shard;
pub mod time;
pub mod time_wait;
pub mod trace;
pub mod udp;
pub mod wheel;

#[cfg(test)]
mod conformance;
pub use acceptability::{ReceiveWindow, Window};
pub use closed::{Reply, reset_for};
pub use config::Config;
pub use content::{Content, Produce, Pulled};
pub use options::{Options, SackBlocks, SeqRange, Timestamps};
pub use segment::{Checksum, Segment, UnscaledWindow};
pub use seq::SeqNumber;
pub use shard::Shard;
pub use time::{Micros, Tick};

//! TCP, sans-IO: no clock, no random source, no system call, no `unsafe`.
//!
//! # What stands
//!
//! - [`seq`]: sequence numbers, which compare modulo 2^32 (RFC 9293 section 3.4).
//! - [`segment`]: a received segment, checked once, in the terms of the RFC (SEG.SEQ, SEG.ACK, SEG.LEN,
//!   SEG.WND).
//! - [`acceptability`]: whether a segment lies in the receive window (RFC 9293 section 3.10.7.4).
//! - [`closed`]: the CLOSED state: what answers a segment that no connection and no listener takes
//!   (RFC 9293 section 3.10.7.1), written out as an IPv4 packet.
//!
//! # What does not stand yet
//!
//! Everything a connection needs: the other ten states, retransmission, congestion control, timers,
//! reassembly of the byte stream, options (they are handed over as bytes), demultiplexing and sockets;
//! and UDP. Nor are resets rate limited here: whoever sends them does that.
#![forbid(unsafe_code)]

pub mod acceptability;
pub mod closed;
pub mod congestion;
pub mod connection;
pub mod demux;
pub mod listen;
pub mod options;
pub mod pool;
pub mod ports;
pub mod receive;
pub mod recovery;
pub mod segment;
pub mod seq;
pub mod shard;
pub mod time;
pub mod time_wait;
pub mod udp;
pub mod wheel;

#[cfg(test)]
mod testing;

pub use acceptability::{ReceiveWindow, Window};
pub use closed::{Reset, reset_for};
pub use options::{Options, SackBlocks, SeqRange, Timestamps};
pub use segment::{Checksum, Segment, UnscaledWindow};
pub use seq::SeqNumber;
pub use time::{Micros, Tick};

//! What a shard is told at start.

use std::time::Duration;

use crate::congestion::Algorithm;

/// Bounds and tunables of one core's TCP. Nothing of it changes while the shard runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Connections, at most.
    pub connections: u32,
    /// Half-open connections (SYN-RECEIVED), at most. Past it, SYN cookies.
    pub half_open: u32,
    /// Connections in TIME-WAIT, at most. Past it, the oldest is forgotten.
    pub time_wait: u32,
    /// Pieces of payload held by all send and receive queues together, at most.
    pub chunks: u32,
    /// Segments in flight on all connections together, at most.
    pub flights: u32,
    /// Events that are kept ([`crate::trace`]), of all connections together, rounded up to a power of two.
    pub traced: u32,
    /// Resets a second that answer segments nobody takes, and so many at once; ACKs from TIME-WAIT as many.
    pub resets_per_second: u32,
    /// Bytes of payload that all buffers together may grow to hold.
    pub memory: u64,

    /// The largest IPv4 packet of the interface, in bytes.
    pub mtu: u16,
    /// TTL of our packets.
    pub ttl: u8,
    /// The receive buffer a connection starts with, in bytes.
    pub receive_buffer: u32,
    /// The receive buffer it may grow to.
    pub receive_buffer_max: u32,
    /// Bytes a connection may queue for sending.
    pub send_buffer: u32,

    /// Whether to use window scale and timestamps (RFC 7323).
    pub timestamps: bool,
    /// Whether to use window scale (RFC 7323).
    pub window_scale: bool,
    /// Whether to use selective acknowledgment (RFC 2018).
    pub sack: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: Ecn,
    /// Congestion control.
    pub congestion: Algorithm,
    /// Whether to pace.
    pub pacing: bool,

    /// How long an ACK is held back, at most (RFC 9293 section 3.8.6.3: below 500 ms).
    pub delayed_ack: Duration,
    /// The least retransmission timeout. RFC 6298 says 1 s; Linux has 200 ms, and so have we.
    pub min_rto: Duration,
    /// How long data may go unacknowledged before the connection is given up (R2 of RFC 9293 section
    /// 3.8.3), unless the connection has a user timeout of its own.
    pub give_up: Duration,
    /// SYNs sent again before a connect fails.
    pub syn_retries: u8,
    /// SYN-ACKs sent again before a half-open connection is forgotten.
    pub syn_ack_retries: u8,
    /// Keepalive, for connections that ask for it.
    pub keepalive: Keepalive,
    /// How long TIME-WAIT lasts: twice the maximum segment lifetime.
    pub time_wait_len: Duration,
    /// How long a connection that nobody owns any more waits for the peer's FIN.
    pub fin_wait2: Duration,

    /// The secret of initial sequence numbers, SYN cookies and table hashes.
    pub secret: [u8; 16],
}

/// RFC 9293 section 3.8.4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is given up.
    pub probes: u8,
}

/// When explicit congestion notification is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ecn {
    /// Never.
    Off,
    /// If the peer asks for it.
    Accept,
    /// We ask for it too.
    Request,
}

impl Default for Config {
    /// As Linux has it, where Linux and the RFCs leave a choice.
    fn default() -> Self {
        Config {
            connections: 16_384,
            half_open: 4096,
            time_wait: 16_384,
            chunks: 65_536,
            flights: 65_536,
            traced: 65_536,
            resets_per_second: 1000,
            memory: 256 << 20,
            mtu: 1500,
            ttl: 64,
            receive_buffer: 128 << 10,
            receive_buffer_max: 6 << 20,
            send_buffer: 4 << 20,
            timestamps: true,
            window_scale: true,
            sack: true,
            ecn: Ecn::Accept,
            congestion: Algorithm::Cubic,
            pacing: false,
            delayed_ack: Duration::from_millis(40),
            min_rto: Duration::from_millis(200),
            give_up: Duration::from_secs(924),
            syn_retries: 7,
            syn_ack_retries: 5,
            keepalive: Keepalive {
                idle: Duration::from_secs(7200),
                interval: Duration::from_secs(75),
                probes: 9,
            },
            time_wait_len: Duration::from_secs(60),
            fin_wait2: Duration::from_secs(60),
            secret: [0; 16],
        }
    }
}

impl Config {
    /// Bytes of an IPv4 and a TCP header without options.
    const HEADERS: u16 = 40;

    //= RFC 9293 section 3.7.1: the MSS is what the interface carries, less the fixed headers; options
    //= do not count.
    /// The MSS that we announce.
    pub fn mss(&self) -> u16 {
        self.mtu.saturating_sub(Self::HEADERS).max(Self::MIN_MSS)
    }

    /// What no MSS goes below, whatever a peer or a router says: less carries more headers than data.
    pub const MIN_MSS: u16 = 48;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mss_from_the_mtu() {
        for (mtu, mss) in [(1500, 1460), (9000, 8960), (68, 48), (0, 48)] {
            assert_eq!(Config { mtu, ..Config::default() }.mss(), mss);
        }
    }
}

//! The stack as sockets need it: one shard of [`tcp`] and a table of UDP sockets, without their zero-copy
//! side.
//!
//! Nothing here blocks, and nothing here reads a clock. What a call changes goes out with the next
//! [`Stack::poll_transmit`] at the same instant.
//!
//! - `packets`: packets in and out.
//! - `streams`: listeners and connections.
//! - `datagrams`: UDP.

mod datagrams;
mod packets;
mod streams;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use sim::Bytes;
use tcp::ports::SourcePorts;
use tcp::udp::UdpTable;
use tcp::{Config, Shard, Tick, udp};
use wire::{Instant, Reta, RssKey};

/// A socket in LISTEN.
pub(crate) use tcp::shard::ListenerId as Listener;

/// A connection that a socket holds, until it is closed or aborted. It stays valid after the connection
/// has ended.
pub(crate) use tcp::shard::ConnectionId as Connection;

/// A UDP port.
pub(crate) use tcp::udp::SocketId as Datagrams;

/// One shard, and what sockets add to it.
pub(crate) struct Stack {
    local: Ipv4Addr,
    tcp: Shard<Bytes>,
    udp: UdpTable<Bytes>,
    /// Packets ready to go.
    out: VecDeque<Box<[u8]>>,
}

/// Few connections: a caller may have all memory locked and touched.
const CONNECTIONS: u32 = 64;
/// Numbers do not matter where time is virtual and the peer is a script, but two runs must be alike.
const SECRET: [u8; 16] = *b"sluice on script";

impl Stack {
    /// A stack that takes packets for any address, and sends from `local` where a socket names none. It
    /// begins at `now`.
    pub(crate) fn new(local: Ipv4Addr, now: Instant) -> Self {
        let config = Config {
            connections: CONNECTIONS,
            half_open: CONNECTIONS,
            time_wait: CONNECTIONS,
            chunks: 8192,
            flights: 8192,
            memory: 64 << 20,
            secret: SECRET,
            ..Config::default()
        };
        let reta = Reta::round_robin(128, 1);
        let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, SECRET);
        let limits = udp::Limits { sockets: 64, received: 1024, unsent: 64, per_socket: 256 };
        Stack {
            local,
            tcp: Shard::new(config, ports, now),
            udp: UdpTable::new(limits, 0),
            out: VecDeque::new(),
        }
    }

    /// Runs the timers that are due.
    pub(crate) fn handle_timeouts(&mut self, now: Instant) {
        self.tcp.handle_timeout(now);
    }

    /// When the first timer is due, pacing included; may be early, never late.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.tcp.next_deadline().map(|deadline| instant(now, deadline))
    }

    /// The next IPv4 packet to send now, checksums filled in.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Box<[u8]>> {
        // Who waits looks at the sockets themselves.
        while self.tcp.poll_event(now).is_some() {}
        self.tcp.poll_transmit(now, &mut packets::Queue(&mut self.out));
        self.out.pop_front()
    }
}

/// The instant at which a tick begins that lies near `now`.
fn instant(now: Instant, tick: Tick) -> Instant {
    let ahead = tick.since(Tick::at(now));
    let into_tick = Duration::from_nanos(now.as_nanos() % TICK_NANOS);
    now + ahead.saturating_sub(into_tick)
}

const TICK_NANOS: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_as_instants() {
        for nanos in [0, 1, 65_535, 65_536, 70_000, 5 << 16] {
            let now = Instant::from_nanos(nanos);
            let deadline = Tick::after(now, Duration::from_millis(1));
            let at = instant(now, deadline);
            assert!(deadline.is_due(Tick::at(at)) && at - now >= Duration::from_millis(1), "{nanos}");
            assert!(at - now < Duration::from_nanos(1_065_536), "{nanos}");
            assert_eq!(instant(now, Tick::at(now)), now, "due now");
        }
    }
}

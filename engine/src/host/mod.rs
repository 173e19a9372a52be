//! This host: a worker's share of TCP and UDP, and the programs on them.
//!
//! ```text
//! router -- deliver --> tcp, udp --+-- run_apps --> programs --> tcp, udp -- transmit --> router
//!                                  +-- handle_timeout
//! ```
//!
//! A connection lives on the worker that its flow's hash names: the router hands its packets over to that
//! one. Listeners and UDP sockets of the configured services are on all of them.

mod counters;
mod output;
mod programs;
mod receive;
mod settings;
mod stop;

use std::sync::Arc;

use tcp::shard::Shard;
use tcp::udp::UdpTable;
use tcp::{Tick, udp};
use wire::{Frame, FramePool, Instant};

use crate::app::{Owners, Source};
use crate::link::Look;

pub use counters::{Gauge, HostCounters};
pub(crate) use output::Sender;
pub use programs::Programs;
pub(crate) use receive::deliver;
pub use settings::Settings;

/// Connections that one look passes over: about a microsecond for 50.
const LOOK_AT: u32 = 4096;

/// What programs are lent of the worker, beside what the host has.
pub(crate) struct Lent<'a, F> {
    pub(crate) now: Instant,
    pub(crate) pool: &'a mut dyn FramePool<Frame = F>,
    pub(crate) source: Source<'a>,
}

/// A worker's TCP and UDP.
pub(crate) struct Host<F: Frame> {
    tcp: Shard<F::Payload>,
    udp: UdpTable<F::Payload>,
    owners: Owners,
    identification: output::Identification,
    /// Bytes of payload that were copied to be sent.
    copied: u64,
    /// The tick in which timers were looked at last.
    looked_at: Tick,
    stopping: stop::Stopping,
    counters: Arc<HostCounters>,
}

impl<F: Frame> Host<F> {
    /// A host that nothing has happened to.
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { tcp, ports, udp, me, workers, now } = settings;
        let seed = u64::from_le_bytes(std::array::from_fn(|i| tcp.secret[8 + i]));
        Host {
            owners: Owners::new(udp.sockets),
            udp: UdpTable::new(udp, seed),
            tcp: Shard::new(tcp, ports, now),
            identification: output::Identification::new(me, workers, seed),
            copied: 0,
            looked_at: Tick::at(now),
            stopping: stop::Stopping::No,
            counters: Arc::default(),
        }
    }

    /// What it counted, for anybody to read: a copy, as of [`publish`](Self::publish).
    pub(crate) fn counters(&self) -> &Arc<HostCounters> {
        &self.counters
    }

    /// Shows what was counted. `is_waiting` says that frames of ours wait for a port.
    pub(crate) fn publish(&self, is_waiting: bool) {
        self.counters.publish(&self.tcp, self.copied, is_waiting || self.wants_to_transmit());
    }

    /// Does what time makes due. Gives whether anything was.
    #[inline]
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        let tick = Tick::at(now);
        if tick == self.looked_at {
            return false;
        }
        self.looked_at = tick;
        let due = self.tcp.next_deadline().is_some_and(|deadline| deadline.is_due(tick));
        if due {
            self.tcp.handle_timeout(now);
        }
        due
    }

    /// Whether [`transmit`](Self::transmit) has something to send.
    #[inline]
    pub(crate) fn wants_to_transmit(&self) -> bool {
        self.tcp.wants_to_transmit() || self.udp.wants_to_transmit()
    }

    /// Writes what an operator wants to see into `look`, some connections at a time.
    #[cold]
    pub(crate) fn look(&self, now: Instant, look: &mut Look) {
        look.at = now;
        if let Some((local, remote)) = look.of {
            look.from = None;
            if let Some(id) = self.tcp.find(local, remote) {
                look.connections.extend(self.tcp.info(id));
                let room = look.events.capacity();
                look.events.extend(self.tcp.events(id).take(room));
            }
            return;
        }
        if look.from == Some(0) {
            look.listeners.extend(self.tcp.listening().take(look.listeners.capacity()));
        }
        look.from = look.from.and_then(|from| self.tcp.look(from, LOOK_AT, &mut look.connections));
    }
}

/// What a worker's UDP holds at most.
pub(crate) type UdpLimits = udp::Limits;

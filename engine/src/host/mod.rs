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
mod receive;
mod settings;
mod stop;

use std::sync::Arc;
use std::time::Duration;

use tcp::shard::{Shard, ShardEvent};
use tcp::udp::UdpTable;
use tcp::{Tick, udp};
use wire::{Frame, FramePool, Instant};

use crate::app::{App, Event, Owners, Sockets, Source, StartError};
use crate::link::Look;

pub use counters::{Gauge, HostCounters};
pub(crate) use output::Sender;
pub(crate) use receive::deliver;
pub use settings::Settings;

/// Events that a program is told of at once.
const BATCH: usize = 256;
/// Batches that one loop gathers at most: packets are not kept waiting for programs.
const BATCHES: usize = 16;
/// Connections that one look passes over: about a microsecond for 50.
const LOOK_AT: u32 = 4096;

/// A program with what it is to be told.
struct Running<F: Frame> {
    app: Box<dyn App<F>>,
    events: Vec<Event>,
}

/// What programs are lent of the worker, beside what the host has.
pub(crate) struct Lent<'a, F> {
    pub(crate) now: Instant,
    pub(crate) pool: &'a mut dyn FramePool<Frame = F>,
    pub(crate) source: Source<'a>,
}

/// A worker's TCP, UDP and programs.
pub(crate) struct Host<F: Frame> {
    tcp: Shard<F::Payload>,
    udp: UdpTable<F::Payload>,
    owners: Owners,
    apps: Vec<Running<F>>,
    identification: output::Identification,
    /// Bytes of payload that were copied to be sent.
    copied: u64,
    /// The tick in which timers were looked at last.
    looked_at: Tick,
    /// Once it is to stop: the slot of the next connection whose program is to be told.
    stopping: Option<u32>,
    counters: Arc<HostCounters>,
}

impl<F: Frame> Host<F> {
    /// A host whose programs have not started.
    pub(crate) fn new(settings: Settings, apps: Vec<Box<dyn App<F>>>, now: Instant) -> Self {
        let Settings { tcp, ports, udp, me, workers } = settings;
        let seed = u64::from_le_bytes(std::array::from_fn(|i| tcp.secret[8 + i]));
        let running = |app| Running { app, events: Vec::with_capacity(BATCH) };
        Host {
            owners: Owners::new(udp.sockets),
            udp: UdpTable::new(udp, seed),
            tcp: Shard::new(tcp, ports, now),
            apps: apps.into_iter().take(Owners::MAX_APPS).map(running).collect(),
            identification: output::Identification::new(me, workers, seed),
            copied: 0,
            looked_at: Tick::at(now),
            stopping: None,
            counters: Arc::default(),
        }
    }

    /// Lets the programs open what they listen on.
    pub(crate) fn start(&mut self, mut lent: Lent<'_, F>) -> Result<(), StartError> {
        self.each_app(&mut lent, |running, sockets| running.app.start(sockets))
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

    /// How long nothing is due, if nothing arrives.
    pub(crate) fn idle_for(&self, now: Instant) -> Option<Duration> {
        let timers = self.tcp.next_deadline().map(|tick| tick.since(Tick::at(now)));
        let apps = self.apps.iter().filter_map(|running| running.app.next_deadline());
        timers.into_iter().chain(apps.map(|at| at.since(now))).min()
    }

    /// Tells the programs what happened, and lets them act. Gives whether there was anything.
    #[inline]
    pub(crate) fn run_apps(&mut self, mut lent: Lent<'_, F>) -> bool {
        let now = lent.now;
        let mut busy = self.tcp.has_events() || self.udp.has_events();
        if busy {
            self.tell_apps(&mut lent);
        }
        if self.apps.iter().any(|running| running.app.next_deadline().is_some_and(|at| at <= now)) {
            busy = true;
            self.poll_apps(&mut lent);
        }
        busy
    }

    fn tell_apps(&mut self, lent: &mut Lent<'_, F>) {
        for _ in 0..BATCHES {
            if !self.gather(lent.now) {
                break;
            }
            self.each_app(lent, |running, sockets| {
                if !running.events.is_empty() {
                    running.app.handle_events(sockets, &running.events);
                    running.events.clear();
                }
                Ok(())
            })
            .unwrap_or(());
        }
    }

    fn poll_apps(&mut self, lent: &mut Lent<'_, F>) {
        let now = lent.now;
        let poll = |running: &mut Running<F>, sockets: &mut Sockets<'_, F>| {
            if running.app.next_deadline().is_some_and(|at| at <= now) {
                running.app.poll(sockets);
            }
            Ok(())
        };
        self.each_app(lent, poll).unwrap_or(());
    }

    /// Sorts news by program, until there is none or a program has a batch. Gives whether there was any.
    fn gather(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((app, event)) = self.next_event(now) {
            any = true;
            if let Some(running) = self.apps.get_mut(app) {
                running.events.push(event);
                if running.events.len() == BATCH {
                    break;
                }
            }
        }
        any
    }

    /// The next event, and the program that it is for.
    fn next_event(&mut self, now: Instant) -> Option<(usize, Event)> {
        while let Some(news) = self.tcp.poll_event(now) {
            match news {
                ShardEvent::Acceptable(listener) => {
                    if let Some(app) = self.owners.of_listener(listener)
                        && let Some(id) = self.tcp.accept(listener)
                    {
                        self.tcp.set_token(id, (app as u32) << Sockets::<F>::TOKEN_BITS);
                        return Some((app, Event::Accepted(listener, id)));
                    }
                }
                ShardEvent::Connection(id, news) => {
                    let app = Owners::of_token(self.tcp.token(id).unwrap_or(0));
                    return Some((app, Event::Connection(id, news)));
                }
            }
        }
        let socket = self.udp.poll_event()?;
        Some((self.owners.of_socket(socket)?, Event::Datagrams(socket)))
    }

    fn each_app(
        &mut self,
        lent: &mut Lent<'_, F>,
        mut each: impl FnMut(&mut Running<F>, &mut Sockets<'_, F>) -> Result<(), StartError>,
    ) -> Result<(), StartError> {
        let Host { tcp, udp, owners, apps, .. } = self;
        let Lent { now, source, .. } = *lent;
        for (app, running) in apps.iter_mut().enumerate() {
            let pool = &mut *lent.pool;
            each(running, &mut Sockets { now, tcp, udp, pool, owners, source, app: app as u8 })?;
        }
        Ok(())
    }

    /// Whether [`transmit`](Self::transmit) has something to send.
    #[inline]
    pub(crate) fn wants_to_transmit(&self) -> bool {
        self.tcp.wants_to_transmit() || self.udp.wants_to_transmit()
    }

    /// Writes what an operator wants to see into `look`, some connections at a time.
    #[cold]
    pub(crate) fn look(&self, look: &mut Look) {
        if look.from == Some(0) {
            look.listeners.extend(self.tcp.listening().take(look.listeners.capacity()));
        }
        look.from = look.from.and_then(|from| self.tcp.look(from, LOOK_AT, &mut look.connections));
    }
}

/// What a worker's UDP holds at most.
pub(crate) type UdpLimits = udp::Limits;

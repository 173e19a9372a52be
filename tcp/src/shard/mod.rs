//! A core's TCP: all connections whose flows this core owns, and what they share.
//!
//! Four kinds of method, to be called in this order in each loop of the core:
//!
//! 1. [`Shard::handle_packet`] for each packet received, [`Shard::handle_icmp`] for each ICMP error about
//!    one that was sent, and [`Shard::handle_timeout`] once [`Shard::next_deadline`] has come;
//! 2. [`Shard::poll_event`] until there is none, and what the application does about it:
//!    [`accept`](Shard::accept), [`receive`](Shard::receive), [`send`](Shard::send),
//!    [`close`](Shard::close), ...
//! 3. [`Shard::poll_transmit`], which sends what all that has led to: so that an answer carries the ACK of
//!    the request, and a burst is acknowledged once.
//!
//! Nothing is shared with another shard, and nothing grows past the bounds of [`Config`].

mod app;
mod events;
mod icmp;
mod input;
mod listeners;
mod look;
mod output;
mod passive;
#[cfg(test)]
mod peer_tests;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use wire::{Instant, Payload, TokenBucket};

pub use app::{ConnectError, Received, SendError};
pub use events::{ConnectionId, ListenerId, ShardEvent};
pub use icmp::{IcmpError, IcmpKind};
pub use listeners::ListenError;
pub use look::Listening;

pub use crate::connection::info::Info;
pub use crate::connection::{Error, Settings};

use crate::budget::Budget;
use crate::config::{Config, Ecn};
use crate::connection::{Connection, Cx, Flags, State};
use crate::counters::Counters;
use crate::demux::{FlowKey, FlowTable};
use crate::listen::{IsnGenerator, Offer, SynCookies, SynQueue, SynQueueConfig};
use crate::packet::{IpFields, SegmentOut};
use crate::pool::{Pool, Slab};
use crate::ports::SourcePorts;
use crate::receive;
use crate::recovery::{self, Flight};
use crate::send::Piece;
use crate::sender::Sender;
use crate::time_wait::{TimeWaitLimits, TimeWaitTable};
use crate::trace::Trace;
use crate::wheel::Wheel;
use crate::{Tick, Window};
use listeners::Listeners;
use slots::Slots;

/// What all connections of a shard draw on.
struct Shared<B> {
    config: Config,
    pieces: Pool<Piece<B>>,
    receive: receive::Pools<B>,
    flights: Pool<Flight>,
    senders: Slab<Sender>,
    recovery: recovery::Limits,
    offer: Offer,
    budget: Budget,
    counters: Counters,
    trace: Trace,
}

impl<B> Shared<B> {
    fn cx(&mut self, now: Instant) -> Cx<'_, B> {
        Cx {
            now,
            config: &self.config,
            pieces: &mut self.pieces,
            receive: &mut self.receive,
            flights: &mut self.flights,
            senders: &mut self.senders,
            recovery: &self.recovery,
            offer: &self.offer,
            budget: &mut self.budget,
            counters: &mut self.counters,
            trace: &mut self.trace,
        }
    }
}

/// A core's TCP.
pub struct Shard<B> {
    shared: Shared<B>,
    slots: Slots,
    flows: FlowTable,
    wheel: Wheel,
    listeners: Listeners,
    syn_queue: SynQueue,
    cookies: SynCookies,
    time_wait: TimeWaitTable,
    isn: IsnGenerator,
    ports: SourcePorts,
    /// Of ACKs from TIME-WAIT, which could answer each other for ever.
    challenges: TokenBucket,
    /// Of resets that answer segments nobody takes: a scan, or a flood, must not be doubled.
    resets: TokenBucket,
    /// Connections that may have something to send, each once.
    ready: VecDeque<u32>,
    /// Connections with news for the application, each once.
    news: VecDeque<u32>,
    /// Connections that wait for room in the pool of pieces, each once.
    starved: VecDeque<u32>,
    /// Segments outside of connections: resets, SYN-ACKs.
    control: VecDeque<(SegmentOut, IpFields)>,
}

/// Segments outside of connections that may wait for one [`Shard::poll_transmit`].
const CONTROL: usize = 256;
/// Listeners at most.
const LISTENERS: u32 = 1024;

impl<B: Payload> Shard<B> {
    /// A shard with nothing in it. `ports` chooses the source ports of its connects.
    ///
    /// # Panics
    /// If a bound of `config` is past what its table can hold (2^31 entries).
    pub fn new(config: Config, ports: SourcePorts, now: Instant) -> Self {
        let Config { connections, secret, .. } = config;
        let syn_queue = SynQueueConfig {
            entries: config.half_open,
            listeners: LISTENERS,
            retries: config.syn_ack_retries,
            ..SynQueueConfig::default()
        };
        let time_wait = TimeWaitLimits { capacity: config.time_wait as usize, linger: config.time_wait_len };
        let seed = u64::from_le_bytes(std::array::from_fn(|i| secret[i]));
        Shard {
            slots: Slots::new(connections),
            flows: FlowTable::new(connections as usize, seed),
            wheel: Wheel::new(connections as usize, Tick::at(now)),
            listeners: Listeners::new(LISTENERS),
            syn_queue: SynQueue::new(syn_queue, secret),
            cookies: SynCookies::new(secret),
            time_wait: TimeWaitTable::new(time_wait, seed),
            isn: IsnGenerator::new(secret),
            ports,
            challenges: TokenBucket::new(config.resets_per_second, config.resets_per_second),
            resets: TokenBucket::new(config.resets_per_second, config.resets_per_second),
            ready: VecDeque::with_capacity(connections as usize),
            news: VecDeque::with_capacity(connections as usize),
            starved: VecDeque::with_capacity(connections as usize),
            control: VecDeque::with_capacity(CONTROL),
            shared: Shared {
                pieces: Pool::new(config.chunks as usize),
                receive: receive::Pools::new(config.receive_limits()),
                flights: Pool::new(config.flights as usize),
                senders: Slab::new(connections as usize),
                recovery: config.recovery_limits(),
                offer: config.offer(),
                budget: Budget::new(config.memory),
                counters: Counters::default(),
                trace: Trace::new(config.traced),
                config,
            },
        }
    }

    /// What happened so far.
    pub const fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Connections, half-open ones, and those in TIME-WAIT.
    pub fn population(&self) -> (usize, usize, usize) {
        (self.slots.len(), self.syn_queue.len(), self.time_wait.len())
    }

    /// Connections that are not over, half-open ones among them, but not those in TIME-WAIT.
    pub fn open(&self) -> usize {
        self.flows.len() + self.syn_queue.len()
    }

    /// Payloads and records held: sent and unacknowledged, received and unread, in flight. All zero when
    /// there is no connection.
    pub fn held(&self) -> (usize, usize, usize) {
        (self.shared.pieces.used(), self.shared.receive.used(), self.shared.flights.used())
    }

    /// Gives a new connection its slot and its flow; `None` if there is no room for either.
    fn admit(&mut self, now: Instant, connection: Option<Connection>, key: &FlowKey) -> Option<ConnectionId> {
        let id = self.slots.insert(connection?)?;
        if self.flows.insert(key, id.index).is_err() {
            if let Some(connection) = self.slots.at(id.index) {
                connection.release(&mut self.shared.cx(now));
            }
            self.slots.free(id.index);
            return None;
        }
        Some(id)
    }

    /// After anything that was done to a connection: sees to it that it has its turn to transmit, and that
    /// the application hears of it.
    #[inline]
    fn settle(&mut self, index: u32) {
        let Some(connection) = self.slots.at(index) else { return };
        // In the list it is in any case: timers are looked at once a burst, after it has transmitted.
        if !connection.flags.has(Flags::READY) {
            connection.flags.set(Flags::READY);
            self.ready.push_back(index);
        }
        if connection.takes_to_news() {
            self.news.push_back(index);
        }
    }

    /// After a connection had its turn: it is woken in time, or is over.
    fn attend(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.slots.at(index) else { return };
        if connection.takes_to_news() {
            self.news.push_back(index);
        }
        let over = matches!(connection.state, State::TimeWait | State::Closed);
        if over {
            // Nothing is timed any more, or what is overdue would be due for ever.
            return if connection.flags.has(Flags::READY) {
                self.wheel.cancel(index)
            } else {
                self.retire(index, now)
            };
        }
        if let Some(deadline) = connection.next_deadline(&self.shared.config, &self.shared.senders, now) {
            self.wheel.arm(index, deadline);
        }
    }

    /// The connection is over and has nothing more to say: its flow is free. What was received can still
    /// be read; the slot is free once the application has closed.
    fn retire(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.slots.at(index) else { return };
        if !connection.flags.has(Flags::RETIRED) {
            connection.flags.set(Flags::RETIRED);
            let key = FlowKey::new(connection.local, connection.remote);
            if connection.state == State::TimeWait {
                self.time_wait.insert(now, connection.time_wait_record(key));
                self.shared.counters.time_wait_recycled = self.time_wait.recycled();
            }
            self.flows.remove(&key, index);
            self.wheel.cancel(index);
            if connection.flags.take(Flags::STARVED) {
                self.starved.retain(|waiting| *waiting != index);
            }
            connection.release_sending(&mut self.shared.cx(now));
        }
        // One that is in the list of news stays until it is taken out there.
        if connection.flags.has(Flags::DETACHED) && !connection.flags.has(Flags::NEWS) {
            connection.release(&mut self.shared.cx(now));
            self.slots.free(index);
        }
    }

    /// Sends a segment outside of any connection at the next chance.
    fn reply(&mut self, segment: SegmentOut) {
        self.reply_as(segment, Settings::default().ip(&self.shared.config));
    }

    fn reply_as(&mut self, segment: SegmentOut, ip: IpFields) {
        if self.control.len() < CONTROL {
            self.control.push_back((segment, ip));
        } else {
            self.shared.counters.control_full += 1;
        }
    }
}

impl Config {
    /// What loss recovery is bounded by.
    fn recovery_limits(&self) -> recovery::Limits {
        let micros = |duration: std::time::Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        recovery::Limits { min_rto: micros(self.min_rto), ..recovery::Limits::default() }
    }

    /// What our SYNs and SYN-ACKs offer.
    fn offer(&self) -> Offer {
        let receive = self.receive_limits();
        Offer {
            mss: self.mss(),
            window: receive.initial.min(0xffff) as u16,
            window_scale: self.window_scale.then(|| receive.window_scale()),
            sack: self.sack,
            timestamps: self.timestamps,
            ecn: self.ecn != Ecn::Off,
        }
    }

    /// What receivers are bounded by.
    fn receive_limits(&self) -> receive::Limits {
        let max = self.receive_buffer_max.clamp(receive::Limits::MIN_BUFFER, Window::MAX.bytes());
        receive::Limits {
            payloads: self.chunks as usize,
            blocks: self.chunks as usize,
            initial: self.receive_buffer.clamp(receive::Limits::MIN_BUFFER, max),
            max,
            payload_charge: PAYLOAD_CHARGE,
        }
    }
}

/// Bytes of its buffer that a received payload takes up at least: it pins a whole frame.
const PAYLOAD_CHARGE: u32 = 256;

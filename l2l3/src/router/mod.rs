//! One worker's router: the straight path for bursts, the general path for everything else, and what
//! waits between the two.
//!
//! ```text
//! frames -- forward_burst --+--------------------------------------------> tx
//!                           +-- receive: ARP, IPv4 checks, route --+-> send: rewrite, fragment -> tx
//!                                                                  +-> hold: no neighbour yet
//!                                                                  +-> local: ping, reassembly, TCP, UDP
//!                                                                  +-> drop(reason), ICMP error -> send
//! ```
//!
//! A frame that comes in leaves by [`Output`], waits in a bounded place here, or is dropped and counted
//! by `Router::drop`: [`Books::balance`] holds after every call.

mod counters;
mod local;
mod output;
mod receive;
mod send;

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::{DropReason, Frame, FramePool, Instant, MacAddr, Reta, RssKey, Toeplitz};

use crate::adjacency::{Adjacency, AdjacencyTable, GroupId, Target};
use crate::cycles::{LoopStage, Stopwatch};
use crate::fib::{AdjacencyId, Fib};
use crate::forward::{self, HeaderFilter, Isa, Tables};
use crate::group::NextHopGroup;
use crate::hold::{HoldLimits, HoldQueue};
use crate::icmp::IcmpErrors;
use crate::interface::{IfaceId, Interfaces, PortId};
use crate::neighbour::Key;
use crate::reassembly::{Limits, Reassembler};

pub use counters::{Books, Counters, PortCounters};
pub use output::{Delivery, Event, Output, Steered, TX_BATCH};

/// The bounds of a router, all set at start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Frames asked of a receive queue at once.
    pub burst: usize,
    /// Packets that wait for neighbours.
    pub hold: HoldLimits,
    /// Datagrams that are reassembled.
    pub reassembly: Limits,
    /// ICMP errors a second.
    pub icmp_rate: u32,
    /// ICMP errors at once after a silence.
    pub icmp_burst: u32,
}

/// Which worker owns which flow, and which of them this is.
#[derive(Clone)]
pub struct Steering {
    /// This worker.
    pub me: u16,
    /// The hash of the devices' RSS, in software.
    pub toeplitz: Arc<Toeplitz>,
    /// From hash to worker.
    pub reta: Arc<Reta>,
}

impl Steering {
    /// Worker `me` of `workers`, with the key and the table that the devices are given too.
    pub fn new(me: u16, workers: u16, key: &RssKey) -> Self {
        let reta = Reta::round_robin(128, workers);
        Steering { me, toeplitz: Arc::new(Toeplitz::new(key)), reta: Arc::new(reta) }
    }
}

/// What a call works with besides the router itself.
pub struct Context<'a, P: FramePool> {
    /// The time, read once a loop.
    pub now: Instant,
    /// The routes.
    pub fib: &'a Fib,
    /// Where frames are made from.
    pub pool: &'a mut P,
    /// Where frames and news go.
    pub out: &'a mut Output<P::Frame>,
    /// Told which stage of the loop ends.
    pub watch: &'a Stopwatch,
}

/// One worker's router.
pub struct Router<F> {
    isa: Isa,
    interfaces: Arc<Interfaces>,
    /// One a port, for its untagged interface, if it has one.
    filters: Box<[Option<HeaderFilter>]>,
    adjacencies: AdjacencyTable,
    steering: Steering,
    hold: HoldQueue<F>,
    reassembler: Reassembler<F>,
    icmp: IcmpErrors,
    counters: Arc<Counters>,
    flow_seed: u64,
    /// What the straight path left over.
    rest: Vec<F>,
    /// Frames on their way out of a container, a few at a time.
    scratch: Vec<F>,
    /// The fragments of one packet.
    fragments: Vec<F>,
}

/// Frames taken out of a container at once.
const SCRATCH: usize = 64;
/// The most fragments of one packet without options: 65,535 bytes at the least MTU of 68.
const MAX_FRAGMENTS: usize = 65_535 / 48 + 1;

impl<F: Frame> Router<F> {
    /// A router with nothing waiting. `ports` gives each port's Ethernet address, which all of its
    /// interfaces have; `seed` decides flow hashes, so that routers in a row choose differently.
    pub fn new(
        interfaces: Arc<Interfaces>,
        ports: &[MacAddr],
        adjacencies: AdjacencyTable,
        steering: Steering,
        bounds: &Bounds,
        seed: u64,
    ) -> Self {
        let untagged = |port| interfaces.find(PortId(port as u16), None);
        let filters = ports.iter().enumerate();
        let filters = filters.map(|(port, &mac)| untagged(port).map(|_| HeaderFilter::new(mac)));
        Router {
            isa: Isa::detect(),
            filters: filters.collect(),
            interfaces,
            adjacencies,
            steering,
            hold: HoldQueue::new(bounds.hold),
            reassembler: Reassembler::new(bounds.reassembly, seed),
            icmp: IcmpErrors::new(bounds.icmp_rate, bounds.icmp_burst),
            counters: Arc::new(Counters::new(ports.len())),
            flow_seed: seed,
            rest: Vec::with_capacity(bounds.burst + forward::BATCH_SLACK),
            scratch: Vec::with_capacity(SCRATCH),
            fragments: Vec::with_capacity(MAX_FRAGMENTS),
        }
    }

    /// Uses `isa` instead of the fastest that the machine has.
    pub fn set_isa(&mut self, isa: Isa) {
        self.isa = isa;
    }

    /// What this worker counted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The ICMP errors it sent and kept to itself.
    pub fn icmp_errors(&self) -> &IcmpErrors {
        &self.icmp
    }

    /// Takes a burst that `port` received. `frames` is empty afterwards.
    ///
    /// # Panics
    /// If there is no such port, the burst is longer than [`Bounds::burst`], or a transmit batch was not
    /// emptied since it was [`TX_BATCH`] long.
    #[inline]
    pub fn handle_burst<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        port: PortId,
        frames: &mut Vec<F>,
    ) {
        let count = frames.len() as u64;
        self.counters.rx.add(count);
        self.counters.ports[usize::from(port.0)].rx.add(count);
        match &self.filters[usize::from(port.0)] {
            Some(filter) => {
                let tables =
                    Tables { filter, fib: cx.fib.view(), adjacencies: &self.adjacencies, watch: cx.watch };
                forward::forward_burst(self.isa, tables, frames, &mut cx.out.tx, &mut self.rest);
            }
            None => self.rest.append(frames),
        }
        if !self.rest.is_empty() {
            self.handle_rest(cx, port);
            cx.watch.lap(LoopStage::General);
        }
    }

    #[cold]
    fn handle_rest<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, port: PortId) {
        let mut rest = std::mem::take(&mut self.rest);
        for frame in rest.drain(..) {
            self.receive(cx, port, frame, true);
        }
        self.rest = rest;
    }

    /// Takes a frame that another worker received and that this one owns.
    pub fn handle_steered<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        port: PortId,
        frame: F,
    ) {
        self.counters.handed_in.add(1);
        self.receive(cx, port, frame, false);
    }

    /// Takes a whole frame that another worker wants sent by `port`, of which this one has a queue.
    pub fn handle_transmit<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        port: PortId,
        frame: F,
    ) {
        self.counters.handed_in.add(1);
        self.enqueue(cx, port, frame);
    }

    /// Lets packets go that waited too long, and tells their senders. Call a few times a second.
    pub fn handle_timeout<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>) {
        let now = cx.now;
        self.take_waiting(|hold, out| hold.expire(now, out), |router, frame| router.unreachable(cx, frame));
        self.expire_reassembly(cx);
    }

    /// Puts `adjacency` at `id`, between bursts. No effect if either is out of the table's range.
    pub fn set_adjacency(&mut self, id: AdjacencyId, adjacency: Adjacency) {
        self.adjacencies.set(id, adjacency);
    }

    /// Puts `group` at `id`, and gives back what stood there, to be freed by another thread.
    pub fn set_group(&mut self, id: GroupId, group: Option<Box<NextHopGroup>>) -> Option<Box<NextHopGroup>> {
        self.adjacencies.set_group(id, group)
    }

    /// A neighbour answered: sends what waited for it, by the adjacency `id`, if that is a resolved one.
    pub fn release<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, key: Key, id: AdjacencyId) {
        let adjacency = *self.adjacencies.get(id);
        if let Target::Forward(..) = adjacency.target() {
            self.take_waiting(
                |hold, out| hold.release(key, out),
                |router, frame| router.transmit(cx, &adjacency, frame, None),
            );
        }
    }

    /// A neighbour did not answer: drops what waited for it, and tells the senders.
    pub fn fail<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, key: Key) {
        self.take_waiting(|hold, out| hold.release(key, out), |router, frame| router.unreachable(cx, frame));
    }

    /// Does `each` to the packets that `take` takes out of the hold queue, a few at a time. It may make
    /// errors about them wait in turn, but there are none about errors: that has an end.
    fn take_waiting<T>(
        &mut self,
        take: impl Fn(&mut HoldQueue<F>, &mut Vec<F>) -> T,
        mut each: impl FnMut(&mut Self, F),
    ) {
        let mut taken = std::mem::take(&mut self.scratch);
        loop {
            take(&mut self.hold, &mut taken);
            if taken.is_empty() {
                break;
            }
            self.counters.held.sub(taken.len() as u64);
            for frame in taken.drain(..) {
                each(self, frame);
            }
        }
        self.scratch = taken;
    }

    /// The only way out for a frame that is neither sent, kept nor consumed.
    fn drop(&mut self, frame: F, reason: DropReason) {
        self.counters.count_drops(reason, 1);
        drop(frame);
    }

    /// Drops a frame that was delivered here and that nobody takes.
    pub fn discard(&mut self, frame: F, reason: DropReason) {
        self.drop(frame, reason);
    }

    /// A frame that did here what it came for.
    fn consume(&mut self, frame: F) {
        self.counters.consumed.add(1);
        drop(frame);
    }

    fn tell<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, event: Event) {
        if output::push_bounded(&mut cx.out.events, event).is_err() {
            self.counters.events_lost.add(1);
        }
    }

    /// Our address towards `dst`: that of the interface its route leaves by, or any.
    pub fn source_towards(&self, fib: &Fib, dst: Ipv4Addr) -> Option<Ipv4Addr> {
        self.source_on(self.egress_iface(fib, dst), dst)
    }

    /// Our address towards `dst` on an interface, or on any that has one.
    fn source_on(&self, iface: Option<IfaceId>, dst: Ipv4Addr) -> Option<Ipv4Addr> {
        let of_iface = iface.and_then(|id| self.interfaces.get(id)?.source_for(dst));
        of_iface.or_else(|| self.interfaces.iter().find_map(|iface| iface.source_for(dst)))
    }

    /// Whether the routes say that `ip` is a neighbour on `iface`.
    fn is_on_link(&self, fib: &Fib, iface: IfaceId, ip: Ipv4Addr) -> bool {
        match self.adjacencies.get(fib.lookup(ip.to_bits())).target() {
            Target::Glean(on) => on == iface,
            Target::Incomplete(on, hop) | Target::Forward(on, hop) => (on, hop) == (iface, ip),
            _ => false,
        }
    }

    /// The interface by which `dst` is reached, if it is by one.
    fn egress_iface(&self, fib: &Fib, dst: Ipv4Addr) -> Option<IfaceId> {
        self.adjacencies.resolve(fib.lookup(dst.to_bits()), 0).target().iface()
    }
}

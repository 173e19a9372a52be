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

use crate::adjacency::{Adjacency, AdjacencyTable, GroupId};
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
}

/// One worker's router.
pub struct Router<F> {
    isa: Isa,
    interfaces: Arc<Interfaces>,
    /// One a port: its untagged interface's address.
    filters: Box<[HeaderFilter]>,
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

/// The most fragments of one packet: 65,535 bytes at the least MTU of 68.
const SCRATCH: usize = 64;
const MAX_FRAGMENTS: usize = 65_535 / 48 + 1;

impl<F: Frame> Router<F> {
    /// A router with nothing waiting. `ports` gives each port's Ethernet address; `seed` decides flow
    /// hashes, so that routers in a row choose differently.
    pub fn new(
        interfaces: Arc<Interfaces>,
        ports: &[MacAddr],
        adjacencies: AdjacencyTable,
        steering: Steering,
        bounds: &Bounds,
        seed: u64,
    ) -> Self {
        
        Router {
            isa: Isa::detect(),
            interfaces,
            filters: ports.iter().map(|&mac| HeaderFilter::new(mac)).collect(),
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
        let filter = &self.filters[usize::from(port.0)];
        let tables = Tables { filter, fib: cx.fib.view(), adjacencies: &self.adjacencies };
        forward::forward_burst(self.isa, tables, frames, &mut cx.out.tx, &mut self.rest);
        if !self.rest.is_empty() {
            self.handle_rest(cx, port);
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

    /// Lets waiting frames go that waited too long. Call a few times a second.
    pub fn handle_timeout<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>) {
        let mut expired = std::mem::take(&mut self.scratch);
        self.hold.expire(cx.now, &mut expired);
        self.counters.held.sub(expired.len() as u64);
        for frame in expired.drain(..) {
            self.drop(frame, DropReason::NeighbourUnreachable);
        }
        self.scratch = expired;
        self.expire_reassembly(cx);
    }

    /// Puts `adjacency` at `id`, between bursts.
    pub fn set_adjacency(&mut self, id: AdjacencyId, adjacency: Adjacency) {
        self.adjacencies.set(id, adjacency);
    }

    /// Puts `group` at `id`, and gives back what stood there, to be freed by another thread.
    pub fn set_group(&mut self, id: GroupId, group: Option<Box<NextHopGroup>>) -> Option<Box<NextHopGroup>> {
        self.adjacencies.set_group(id, group)
    }

    /// A neighbour answered: sends what waited for it, by the adjacency `id`.
    pub fn release<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, key: Key, id: AdjacencyId) {
        let adjacency = *self.adjacencies.get(id);
        self.take_held(key, |router, frame| router.transmit(cx, &adjacency, frame, None));
    }

    /// A neighbour did not answer: drops what waited for it, and tells the senders.
    pub fn fail<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, key: Key) {
        self.take_held(key, |router, frame| router.unreachable(cx, key.iface, frame));
    }

    fn take_held(&mut self, key: Key, mut each: impl FnMut(&mut Self, F)) {
        let mut released = std::mem::take(&mut self.scratch);
        loop {
            let left = self.hold.release(key, &mut released);
            self.counters.held.sub(released.len() as u64);
            for frame in released.drain(..) {
                each(self, frame);
            }
            if left == 0 {
                break;
            }
        }
        self.scratch = released;
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
    fn source_towards(&self, fib: &Fib, dst: Ipv4Addr) -> Option<Ipv4Addr> {
        let by_route = self.egress_iface(fib, dst).and_then(|iface| {
            let iface = self.interfaces.get(iface)?;
            iface.addr_towards(dst).or_else(|| iface.addresses.first().copied())
        });
        by_route.or_else(|| self.interfaces.iter().find_map(|i| i.addresses.first().copied())).map(|a| a.addr)
    }

    /// The interface by which `dst` is reached, if it is by one.
    fn egress_iface(&self, fib: &Fib, dst: Ipv4Addr) -> Option<IfaceId> {
        use crate::adjacency::Target::{Forward, Glean, Incomplete};
        match self.adjacencies.resolve(fib.lookup(dst.to_bits()), 0).target() {
            Glean(iface) | Incomplete(iface, _) | Forward(iface, _) => Some(iface),
            _ => None,
        }
    }
}

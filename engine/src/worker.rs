//! A worker: one thread on one core, polling its queues. Everything it touches is its own, but for the
//! published route table and the rings in [`crate::link`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use l2l3::fib::Fib;
use l2l3::interface::PortId;
use l2l3::router::{Bounds, Context, Counters, Output, Router, Steered};
use wire::{Counter, DropReason, Frame, Instant, RxQueue, TxQueue};

use crate::device::Device;
use crate::link::{Command, HandOver, Mesh, Up, WorkerEnd};
use crate::local::Local;

/// How a worker sends by one port.
pub enum Egress<T> {
    /// By a queue of its own.
    Queue(T),
    /// By the worker with this index, which has one.
    HandOver(u16),
}

/// A worker's queues.
pub struct WorkerIo<D: Device> {
    /// Receive queues, with the port of each.
    pub rx: Vec<(PortId, D::Rx)>,
    /// One entry a port.
    pub tx: Vec<Egress<D::Tx>>,
    /// Where its own frames are made from.
    pub pool: D::Pool,
}

/// How a worker spends its time.
#[derive(Default, Debug)]
pub struct LoopCounters {
    /// Loops run.
    pub loops: Counter,
    /// Loops that found nothing to do.
    pub idle_loops: Counter,
    /// Nanoseconds in loops that found something.
    pub busy_nanos: Counter,
}

/// One worker.
pub struct Worker<D: Device> {
    io: WorkerIo<D>,
    router: Router<D::Frame>,
    fib: Arc<Fib>,
    control: WorkerEnd,
    mesh: Mesh<D::Frame>,
    out: Output<D::Frame>,
    /// The burst being worked on; empty between bursts.
    frames: Vec<D::Frame>,
    local: Local,
    burst: usize,
    next_timeout: Instant,
    counters: Arc<Counters>,
    loops: Arc<LoopCounters>,
}

/// How often waiting frames are looked through for those that waited too long.
const TIMEOUT_EVERY: Duration = Duration::from_millis(100);
/// A transmit batch leaves once it is this long, or the loop ends.
const FLUSH_AT: usize = 64;

impl<D: Device> Worker<D> {
    /// A worker that has not run yet.
    pub fn new(
        io: WorkerIo<D>,
        router: Router<D::Frame>,
        fib: Arc<Fib>,
        control: WorkerEnd,
        mesh: Mesh<D::Frame>,
        bounds: &Bounds,
    ) -> Self {
        let (ports, burst) = (io.tx.len(), bounds.burst);
        let counters = router.counters().clone();
        Worker {
            io,
            router,
            fib,
            control,
            mesh,
            out: Output::new(ports, burst),
            frames: Vec::with_capacity(burst),
            local: Local::new(bounds.icmp_rate, bounds.icmp_burst),
            burst,
            next_timeout: Instant::ZERO,
            counters,
            loops: Arc::default(),
        }
    }

    /// How it spends its time.
    pub fn loop_counters(&self) -> &Arc<LoopCounters> {
        &self.loops
    }

    /// What it counted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// One loop. Gives whether there was anything to do.
    #[inline]
    pub fn poll_once(&mut self, now: Instant) -> bool {
        let mut busy = self.take_commands(now);
        for at in 0..self.io.rx.len() {
            busy |= self.poll_queue(at, now);
        }
        busy |= self.take_handed_over(now);
        if now >= self.next_timeout {
            self.next_timeout = now + TIMEOUT_EVERY;
            self.on_timeout(now);
        }
        self.leave(now);
        self.loops.loops.add(1);
        busy
    }

    /// Counts how the time since the last loop began was spent.
    #[inline]
    pub fn account(&self, busy: bool, nanos: u64) {
        if busy { self.loops.busy_nanos.add(nanos) } else { self.loops.idle_loops.add(1) }
    }

    #[inline]
    fn poll_queue(&mut self, at: usize, now: Instant) -> bool {
        let (port, queue) = &mut self.io.rx[at];
        let port = *port;
        if queue.rx_burst(&mut self.frames, self.burst) == 0 {
            return false;
        }
        let mut cx = Context { now, fib: &self.fib, pool: &mut self.io.pool, out: &mut self.out };
        self.router.handle_burst(&mut cx, port, &mut self.frames);
        self.settle(now);
        true
    }

    /// Carries out what the control thread sent.
    #[inline]
    fn take_commands(&mut self, now: Instant) -> bool {
        if self.control.commands.is_empty() { false } else { self.carry_out(now) }
    }

    #[cold]
    fn carry_out(&mut self, now: Instant) -> bool {
        let mut done = 0;
        // Bounded, so that packets are not kept waiting.
        while done < self.burst as u64
            && let Ok(command) = self.control.commands.pop()
        {
            self.obey(now, command);
            self.settle(now);
            done += 1;
        }
        let before = self.control.done.load(Ordering::Relaxed);
        self.control.done.store(before + done, Ordering::Release);
        self.control.wake.wake();
        true
    }

    fn obey(&mut self, now: Instant, command: Command) {
        let mut cx = Context { now, fib: &self.fib, pool: &mut self.io.pool, out: &mut self.out };
        let router = &mut self.router;
        match command {
            Command::SetAdjacency(id, adjacency) => router.set_adjacency(id, adjacency),
            Command::SetGroup(id, group) => {
                // Freed by the control thread, for no allocator is called here; unless its ring is full.
                if let Some(old) = router.set_group(id, group) {
                    drop(self.control.events.push(Up::Retired(old)));
                }
            }
            Command::Release(key, id) => router.release(&mut cx, key, id),
            Command::Fail(key) => router.fail(&mut cx, key),
            Command::ArpRequest(target, to) => router.send_arp_request(&mut cx, target, to),
            Command::ArpAnnounce(iface, own) => router.send_arp_announcement(&mut cx, iface, own),
            Command::Pass => {}
        }
    }

    /// Takes what other workers handed over, a burst from each.
    fn take_handed_over(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for from in 0..self.mesh.from.len() {
            let Some(ring) = &mut self.mesh.from[from] else { continue };
            if ring.is_empty() {
                continue;
            }
            busy = true;
            let mut cx = Context { now, fib: &self.fib, pool: &mut self.io.pool, out: &mut self.out };
            for _ in 0..self.burst {
                let Ok(handed) = ring.pop() else { break };
                match handed {
                    HandOver::Flow(port, frame) => self.router.handle_steered(&mut cx, port, frame),
                    HandOver::Transmit(port, frame) => self.router.handle_transmit(&mut cx, port, frame),
                }
            }
            self.settle(now);
        }
        busy
    }

    /// After each burst: the output batches have room for what another may give rise to. TCP and UDP to
    /// us first, for the answers go into the other batches.
    #[inline]
    fn settle(&mut self, now: Instant) {
        if !self.out.local.is_empty() {
            let mut cx = Context { now, fib: &self.fib, pool: &mut self.io.pool, out: &mut self.out };
            self.local.deliver(&mut self.router, &mut cx);
        }
        for port in 0..self.out.tx.len() {
            if self.out.tx[port].len() >= FLUSH_AT {
                self.flush_port(port);
            }
        }
        if !self.out.steered.is_empty() {
            self.hand_over_flows();
        }
        if !self.out.events.is_empty() {
            self.report();
        }
    }

    /// At the end of a loop: nothing waits in the output batches for the next one.
    #[inline]
    fn leave(&mut self, now: Instant) {
        self.settle(now);
        for port in 0..self.out.tx.len() {
            if !self.out.tx[port].is_empty() {
                self.flush_port(port);
            }
        }
    }

    /// Hands a port's batch to its queue, or to the worker that has one. What they have no room for is
    /// dropped: whoever waits for a slow port makes all the others wait.
    fn flush_port(&mut self, port: usize) {
        let batch = &mut self.out.tx[port];
        let reason = match &mut self.io.tx[port] {
            Egress::Queue(queue) => {
                let sent = queue.tx_burst(batch) as u64;
                self.counters.tx.add(sent);
                self.counters.ports[port].tx.add(sent);
                DropReason::TxFull
            }
            Egress::HandOver(owner) => {
                if let Some(Some(ring)) = self.mesh.to.get_mut(usize::from(*owner)) {
                    let room = ring.slots().min(batch.len());
                    for frame in batch.drain(..room) {
                        // There is room: nobody else produces into this ring.
                        drop(ring.push(HandOver::Transmit(PortId(port as u16), frame)));
                    }
                    self.counters.handed_out.add(room as u64);
                }
                DropReason::SteerFull
            }
        };
        if !batch.is_empty() {
            self.counters.count_drops(reason, batch.len() as u64);
            Frame::free_bulk(batch);
        }
    }

    #[cold]
    fn hand_over_flows(&mut self) {
        for Steered { owner, port, frame } in self.out.steered.drain(..) {
            let ring = self.mesh.to.get_mut(usize::from(owner)).and_then(Option::as_mut);
            match ring.map(|ring| ring.push(HandOver::Flow(port, frame))) {
                Some(Ok(())) => self.counters.handed_out.add(1),
                _ => self.counters.count_drops(DropReason::SteerFull, 1),
            }
        }
    }

    /// What the ring has no room for waits in the batch; once that is full too, the router counts what
    /// is lost.
    #[cold]
    fn report(&mut self) {
        let events = &mut self.control.events;
        let room = events.slots().min(self.out.events.len());
        for event in self.out.events.drain(..room) {
            // There is room: nobody else produces into this ring.
            drop(events.push(Up::Event(event)));
        }
        self.control.wake.wake();
    }

    #[cold]
    fn on_timeout(&mut self, now: Instant) {
        let mut cx = Context { now, fib: &self.fib, pool: &mut self.io.pool, out: &mut self.out };
        self.router.handle_timeout(&mut cx);
    }

    /// Takes all that was handed over and sends what is in the batches, but receives no more. Gives
    /// whether there was anything, which another worker may have to take now.
    pub fn drain(&mut self, now: Instant) -> bool {
        let mut busy = false;
        while self.take_handed_over(now) {
            busy = true;
        }
        self.leave(now);
        busy
    }
}

//! A worker: one thread on one core, polling its queues. Everything it touches is its own, but for the
//! published route table and the rings in [`crate::link`]. `crate::egress` is its way out, [`crate::host`]
//! what of it is this host's own TCP and UDP.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use l2l3::cycles::{CycleCounters, LoopStage, Stopwatch};
use l2l3::fib::Fib;
use l2l3::interface::PortId;
use l2l3::router::{Bounds, Context, Counters, Output, Router};
use rtrb::Consumer;
use wire::{Counter, Instant, RxQueue};

use crate::app::{App, StartError};
use crate::device::Device;
pub use crate::egress::Egress;
use crate::egress::{Egresses, FLUSH_AT};
use crate::host::{Host, HostCounters, Lent, Programs, Sender, Settings, deliver};
use crate::link::{Command, Ends, Exchange, HandOver, Queue, Up, WorkerEnd};

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
    rx: Vec<(PortId, D::Rx)>,
    pool: D::Pool,
    router: Router<D::Frame>,
    fib: Arc<Fib>,
    control: WorkerEnd,
    /// Where queues come and go while it runs.
    queues: Exchange<D>,
    /// Rings from the other workers; `None` at our own place.
    handed_over: Vec<Option<Consumer<HandOver<D::Frame>>>>,
    egresses: Egresses<D>,
    out: Output<D::Frame>,
    /// The burst being worked on; empty between bursts.
    frames: Vec<D::Frame>,
    host: Host<D::Frame>,
    burst: usize,
    next_timeout: Instant,
    counters: Arc<Counters>,
    loops: Arc<LoopCounters>,
    watch: Stopwatch,
}

/// The programs of one worker, not started yet.
pub type Apps<D> = Vec<Box<dyn App<<D as Device>::Frame>>>;

/// How often waiting frames are looked through for those that waited too long.
const TIMEOUT_EVERY: Duration = Duration::from_millis(100);

impl<D: Device> Worker<D> {
    /// A worker that has not run yet. `settings` bound its TCP and UDP.
    pub fn new(
        io: WorkerIo<D>,
        router: Router<D::Frame>,
        fib: Arc<Fib>,
        ends: Ends<D>,
        bounds: &Bounds,
        settings: Settings,
    ) -> Self {
        let Ends { control, queues, mesh } = ends;
        let (ports, burst) = (io.tx.len(), bounds.burst);
        let counters = router.counters().clone();
        Worker {
            rx: io.rx,
            pool: io.pool,
            router,
            fib,
            control,
            queues,
            handed_over: mesh.from,
            egresses: Egresses::new(io.tx, mesh.to, counters.clone()),
            out: Output::new(ports, burst),
            frames: Vec::with_capacity(burst),
            host: Host::new(settings),
            burst,
            next_timeout: Instant::ZERO,
            counters,
            loops: Arc::default(),
            watch: Stopwatch::new(D::ticks),
        }
    }

    /// Starts the programs. To be called once, on the thread that is going to poll.
    ///
    /// # Errors
    /// [`StartError`] of the first program that could not.
    pub fn start(&mut self, apps: Apps<D>, now: Instant) -> Result<Programs<D::Frame>, StartError> {
        let (router, fib) = (&self.router, &self.fib);
        self.host
            .start(apps, Lent { now, pool: &mut self.pool, source: &|to| router.source_towards(fib, to) })
    }

    /// How it spends its time.
    pub fn loop_counters(&self) -> &Arc<LoopCounters> {
        &self.loops
    }

    /// Where its cycles go.
    pub fn cycle_counters(&self) -> &Arc<CycleCounters> {
        self.watch.counters()
    }

    /// What it counted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What its TCP counted.
    pub fn host_counters(&self) -> &Arc<HostCounters> {
        self.host.counters()
    }

    /// How long there is nothing to do, if nothing arrives; `None`: for ever.
    pub fn idle_for(&self, programs: &Programs<D::Frame>, now: Instant) -> Option<Duration> {
        self.host.idle_for(programs, now)
    }

    /// One loop. Gives whether there was anything to do.
    #[inline]
    pub fn poll_once(&mut self, programs: &mut Programs<D::Frame>, now: Instant) -> bool {
        self.watch.start(|| self.counters.received());
        let mut busy = self.take_commands(now);
        for at in 0..self.rx.len() {
            busy |= self.poll_queue(at, now);
        }
        busy |= self.take_handed_over(now);
        if now >= self.next_timeout {
            self.next_timeout = now + TIMEOUT_EVERY;
            self.on_timeout(now);
            self.watch.lap(LoopStage::Control);
        }
        if self.host.handle_timeout(now) {
            busy = true;
            self.watch.lap(LoopStage::Tcp);
        }
        self.leave(now);
        busy |= self.serve(programs, now);
        self.loops.loops.add(1);
        self.watch.stop(busy, || self.counters.received());
        busy
    }

    /// Counts how the time since the last loop began was spent.
    #[inline]
    pub fn account(&self, busy: bool, nanos: u64) {
        if busy { self.loops.busy_nanos.add(nanos) } else { self.loops.idle_loops.add(1) }
    }

    #[inline]
    fn poll_queue(&mut self, at: usize, now: Instant) -> bool {
        let (port, queue) = &mut self.rx[at];
        let port = *port;
        let received = queue.rx_burst(&mut self.frames, self.burst);
        self.watch.lap(LoopStage::Rx);
        if received == 0 {
            return false;
        }
        let mut cx =
            Context { now, fib: &self.fib, pool: &mut self.pool, out: &mut self.out, watch: &self.watch };
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
        self.watch.lap(LoopStage::Control);
        true
    }

    fn obey(&mut self, now: Instant, command: Command) {
        let mut cx =
            Context { now, fib: &self.fib, pool: &mut self.pool, out: &mut self.out, watch: &self.watch };
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
            Command::GiveBack(port) => self.give_back(port),
            Command::TakeOver => self.take_over(),
            Command::Look(mut look) => {
                self.host.look(now, &mut look);
                drop(self.control.events.push(Up::Look(look)));
            }
            Command::Stop => {
                self.host.stop(now);
                self.host.publish(self.egresses.is_waiting());
                self.next_timeout = now;
            }
            Command::ResetAll => {
                self.host.reset_all(now);
                self.host.publish(self.egresses.is_waiting());
            }
            Command::Pass => {}
        }
    }

    /// Gives the queues of a port to the control thread.
    fn give_back(&mut self, port: PortId) {
        let at = usize::from(port.0);
        let tx = self.egresses.remove(at, &mut self.out.tx[at]).map(|queue| Queue::Tx(port, queue));
        let rx = self.rx.extract_if(.., |(of, _)| *of == port).map(|(_, queue)| Queue::Rx(port, queue));
        // There is room for all that it has.
        rx.chain(tx).for_each(|queue| drop(self.queues.give.push(queue)));
    }

    /// Takes queues of the control thread. There are no more than were given back, so that nothing is allocated.
    fn take_over(&mut self) {
        while let Ok(queue) = self.queues.take.pop() {
            match queue {
                Queue::Rx(port, queue) => self.rx.push((port, queue)),
                Queue::Tx(port, queue) => self.egresses.set(usize::from(port.0), queue),
            }
        }
    }

    /// Takes what other workers handed over, a burst from each.
    fn take_handed_over(&mut self, now: Instant) -> bool {
        let mut busy = false;
        for from in 0..self.handed_over.len() {
            let Some(ring) = &mut self.handed_over[from] else { continue };
            if ring.is_empty() {
                continue;
            }
            busy = true;
            let mut cx =
                Context { now, fib: &self.fib, pool: &mut self.pool, out: &mut self.out, watch: &self.watch };
            for _ in 0..self.burst {
                let Ok(handed) = ring.pop() else { break };
                match handed {
                    HandOver::Flow(port, frame) => self.router.handle_steered(&mut cx, port, frame),
                    HandOver::Transmit(port, frame) => self.router.handle_transmit(&mut cx, port, frame),
                }
            }
            self.watch.lap(LoopStage::General);
            self.settle(now);
        }
        busy
    }

    /// After each burst: the output batches have room for what another may give rise to. TCP and UDP to
    /// us first, for the answers go into the other batches.
    #[inline]
    fn settle(&mut self, now: Instant) {
        if !self.out.local.is_empty() {
            let mut cx =
                Context { now, fib: &self.fib, pool: &mut self.pool, out: &mut self.out, watch: &self.watch };
            deliver(&mut self.host, &mut self.router, &mut cx);
            self.watch.lap(LoopStage::Tcp);
        }
        for port in 0..self.out.tx.len() {
            if self.out.tx[port].len() >= FLUSH_AT {
                self.flush(port);
            }
        }
        if !self.out.steered.is_empty() {
            self.egresses.hand_over(&mut self.out.steered);
            self.watch.lap(LoopStage::Tx);
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
                self.flush(port);
            }
        }
    }

    #[inline]
    fn flush(&mut self, port: usize) {
        self.egresses.flush(port, &mut self.out.tx[port]);
        self.watch.lap(LoopStage::Tx);
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
        let mut cx =
            Context { now, fib: &self.fib, pool: &mut self.pool, out: &mut self.out, watch: &self.watch };
        self.router.handle_timeout(&mut cx);
        self.host.publish(self.egresses.is_waiting());
        if self.host.is_stopping() {
            self.go_on_stopping(now);
        }
    }

    /// Until all is finished the control thread sees in each loop how far it is.
    fn go_on_stopping(&mut self, now: Instant) {
        self.next_timeout = now;
        if self.host.counters().is_at_rest() {
            self.control.wake.wake();
        }
    }

    /// Programs, and then what TCP and UDP have to send: answers carry the ACKs of what they answer.
    #[inline]
    fn serve(&mut self, programs: &mut Programs<D::Frame>, now: Instant) -> bool {
        let (router, fib) = (&self.router, &self.fib);
        let source = |to| router.source_towards(fib, to);
        let mut lent = Lent { now, pool: &mut self.pool, source: &source };
        if self.host.is_stopping() {
            self.host.stop_programs(programs, &mut lent);
        }
        let busy = self.host.run_apps(programs, &mut lent);
        if busy {
            self.watch.lap(LoopStage::App);
        }
        if !self.host.wants_to_transmit() {
            return busy;
        }
        let cx =
            Context { now, fib: &self.fib, pool: &mut self.pool, out: &mut self.out, watch: &self.watch };
        // Twice as many as can come in in a loop: then that has its turn. Without a bound, windows of megabytes
        // that go out would let the receive queues grow, and with them every round trip.
        let sources = self.rx.len() + self.handed_over.iter().flatten().count();
        let segments = 2 * self.burst * sources.max(1);
        self.host.transmit(&mut Sender::<D>::new(&mut self.router, cx, &mut self.egresses, segments));
        if !self.out.events.is_empty() {
            self.report();
        }
        self.watch.lap(LoopStage::Tcp);
        true
    }

    /// Takes all that was handed over and sends what is in the batches, but receives no more. Gives
    /// whether there was anything, which another worker may have to take now.
    pub fn drain(&mut self, now: Instant) -> bool {
        let mut busy = false;
        while self.take_handed_over(now) {
            busy = true;
        }
        self.leave(now);
        self.host.publish(self.egresses.is_waiting());
        busy
    }
}

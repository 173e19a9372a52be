//! The executor: a program whose work is its tasks'.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tcp::shard::ConnectionId;
use wire::{Frame, Instant};

use super::buffers::Stock;
use super::connection::Connections;
use super::tasks::Tasks;
use super::timers::Timers;
use super::udp::UdpSockets;
use super::wakes::Wakes;
use super::{Net, Shared};
use crate::app::{App, Event, Sockets, StartError};

/// Rounds of tasks in one loop: packets are not kept waiting for tasks that wake each other for ever.
const ROUNDS: usize = 16;

/// How often timers are looked at when none runs: their clock wraps.
const LOOK: Duration = Duration::from_secs(3600);

/// Runs the tasks of one worker.
pub struct Executor<F: Frame> {
    net: Net<F>,
    /// How the first task failed, if that was before the start was over.
    failed: Rc<Cell<Option<io::Error>>>,
    started: Rc<Cell<bool>>,
    /// Tasks at most.
    most: usize,
    next_timer: Instant,
}

impl<F: Frame + 'static> Executor<F> {
    /// A program whose first task is what `main` gives. At most `most` tasks and as many timers (2^18).
    ///
    /// If the first task fails before it waits for anything but sockets to be opened, the engine does not
    /// start. If it fails later, that is written to stderr, and the others go on.
    pub fn new<M>(most: usize, main: impl FnOnce(Net<F>) -> M + 'static) -> Self
    where
        M: Future<Output = io::Result<()>> + 'static,
    {
        let most = most.clamp(1, Wakes::MOST);
        let shared = Shared {
            now: Cell::new(Instant::ZERO),
            tasks: Rc::new(Tasks::new(most)),
            timers: RefCell::new(Timers::new(0, Instant::ZERO)),
            connections: RefCell::new(Connections::new()),
            listeners: RefCell::default(),
            udp: RefCell::new(UdpSockets::new()),
            stock: RefCell::new(Stock::new()),
            copied: Cell::new(0),
        };
        let net = Net { shared: Rc::new(shared) };
        let (failed, started) = (Rc::<Cell<Option<io::Error>>>::default(), Rc::<Cell<bool>>::default());
        let (inner, failure, begun) = (net.clone(), failed.clone(), started.clone());
        let first = async move {
            match main(inner).await {
                Err(error) if begun.get() => eprintln!("sluice: a program has failed: {error}"),
                outcome => failure.set(outcome.err()),
            }
        };
        // There is room for one.
        drop(net.spawn_local(first));
        Executor { net, failed, started, most, next_timer: Instant::ZERO }
    }

    /// Runs tasks, and pumps what they touched, until all wait for something.
    fn run(&mut self, sockets: &mut Sockets<'_, F>) {
        let shared = &self.net.shared;
        let now = sockets.now();
        shared.now.set(now);
        shared.udp.borrow_mut().retry();
        loop {
            let due = shared.timers.borrow_mut().pop(now);
            let Some(waker) = due else { break };
            waker.wake();
        }
        for _ in 0..ROUNDS {
            shared.pump(sockets);
            if !shared.tasks.run() {
                break;
            }
        }
        shared.pump(sockets);
        sockets.count_copied(shared.copied.take());
        self.next_timer = shared.timers.borrow().next_deadline(now).unwrap_or(now + LOOK);
    }
}

impl<F: Frame> Shared<F> {
    /// Whether there is work that waits for no event.
    fn is_busy(&self) -> bool {
        self.tasks.any_woken()
            || self.connections.borrow().any_marked()
            || self.listeners.borrow().any_marked()
            || self.udp.borrow().any_marked()
    }

    /// Brings to TCP and UDP what tasks did, and wakes those for whom there is something.
    fn pump(&self, sockets: &mut Sockets<'_, F>) {
        self.stock.borrow_mut().refill(sockets);
        // Nothing is borrowed when a waker is called: it may be anybody's.
        loop {
            let pumped = self.listeners.borrow_mut().pump_next(sockets, &mut self.connections.borrow_mut());
            let Some(waker) = pumped else { break };
            waker.into_iter().for_each(std::task::Waker::wake);
        }
        loop {
            let pumped = self.connections.borrow_mut().pump_next(sockets);
            let Some(woken) = pumped else { break };
            woken.into_iter().flatten().for_each(std::task::Waker::wake);
        }
        loop {
            let pumped = self.udp.borrow_mut().pump_next(sockets);
            let Some(woken) = pumped else { break };
            woken.into_iter().flatten().for_each(std::task::Waker::wake);
        }
    }

    fn tell(&self, sockets: &mut Sockets<'_, F>, event: Event) {
        match event {
            Event::Connection(id, news) => {
                let woken = self.connections.borrow_mut().tell(sockets, id, news);
                woken.into_iter().flatten().for_each(std::task::Waker::wake);
            }
            Event::Accepted(listener, id) => {
                let mut connections = self.connections.borrow_mut();
                let woken = self.listeners.borrow_mut().accept(sockets, &mut connections, listener, id);
                drop(connections);
                woken.into_iter().for_each(std::task::Waker::wake);
            }
            Event::Datagrams(id) => self.udp.borrow_mut().tell(id),
        }
    }
}

impl<F: Frame + 'static> App<F> for Executor<F> {
    fn start(&mut self, sockets: &mut Sockets<'_, F>) -> Result<(), StartError> {
        *self.net.shared.timers.borrow_mut() = Timers::new(self.most, sockets.now());
        let connections = sockets.tcp.config().connections as usize;
        self.net.shared.connections.borrow_mut().reserve(connections);
        self.run(sockets);
        self.started.set(true);
        match self.failed.take() {
            None => Ok(()),
            Some(error) => Err(StartError(error.to_string())),
        }
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, F>, events: &[Event]) {
        for event in events {
            self.net.shared.tell(sockets, *event);
        }
        self.run(sockets);
    }

    /// For a task it is as if the peer had closed its side: it reads what was received, and then the end.
    fn stop_connection(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        self.net.shared.connections.borrow_mut().stop(sockets, id);
    }

    fn next_deadline(&self) -> Option<Instant> {
        Some(if self.net.shared.is_busy() { Instant::ZERO } else { self.next_timer })
    }

    fn poll(&mut self, sockets: &mut Sockets<'_, F>) {
        self.run(sockets);
    }
}

impl<F: Frame> Drop for Executor<F> {
    fn drop(&mut self) {
        // Tasks hold the network that holds them.
        self.net.shared.tasks.clear();
        self.net.shared.connections.borrow_mut().clear();
        self.net.shared.udp.borrow_mut().clear();
        self.net.shared.stock.borrow_mut().clear();
    }
}

//! The control plane: owns the routes and the neighbours, hears the workers' news, and tells them what
//! changes. Sans-IO, like the data plane: [`server`] gives it time and requests.

mod hops;
mod looks;
mod neighbours;
mod ports;
mod routes;
pub mod server;
mod show;
mod stop;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use l2l3::adjacency::AdjacencyTable;
use l2l3::cycles::CycleCounters;
use l2l3::fib::{AdjacencyId, Fib, FibError, FibLimits, FibWriter, Storage};
use l2l3::interface::{IfaceAddr, IfaceId, Interface, Interfaces, PortId};
use l2l3::neighbour::{Key, Neighbours, Timing};
use l2l3::router::{Counters, Event};
use wire::{Instant, MacAddr};

use crate::app::HttpServer;
use crate::device::{Device, Opener, PortHandle};
use crate::host::HostCounters;
use crate::link::{Command, ControlEnd, Exchange, Up};
use crate::plugs::{Plug, Plugs};
use crate::worker::LoopCounters;
use hops::Hops;
use looks::Looks;
use ports::Port;
use stop::Ending;

/// How often gateways are looked through for those that nobody asks for.
const GATEWAYS_EVERY: Duration = Duration::from_secs(1);

pub use hops::HopsFull;

/// Why the tables could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetupError {
    /// The routes do not fit.
    #[error("{0}")]
    Routes(FibError),
    /// The next hops do not fit.
    #[error(transparent)]
    Hops(#[from] HopsFull),
    /// The static neighbours do not fit.
    #[error("more static neighbours than `neighbours` under [limits] allows")]
    Neighbours,
}

impl From<FibError> for SetupError {
    fn from(error: FibError) -> Self {
        SetupError::Routes(error)
    }
}

/// A port, as the control plane knows it.
pub struct PortInfo {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// The device.
    pub handle: Box<dyn PortHandle>,
}

/// A worker, as the control plane knows it.
pub struct WorkerInfo {
    /// The core it runs on.
    pub core: u16,
    /// The straight path's instruction set.
    pub isa: &'static str,
    /// Commands and events.
    pub link: ControlEnd,
    /// What it counted.
    pub counters: Arc<Counters>,
    /// What its TCP counted.
    pub host: Arc<HostCounters>,
    /// How it spends its time.
    pub loops: Arc<LoopCounters>,
    /// Where its cycles go.
    pub cycles: Arc<CycleCounters>,
}

/// What is done once every worker has carried out all that was sent before.
enum Then {
    /// All workers know the adjacency: packets may be led to it.
    Route(Key, AdjacencyId),
    /// No worker can see the adjacency any more.
    Free(AdjacencyId),
    /// No worker can see what the route table retired before this epoch.
    Reclaim(u64),
    /// All workers have given the port's queues back.
    Left(PortId),
    /// All workers have their queues of the port.
    Came(PortId),
}

/// The control plane.
pub struct Control {
    config: Config,
    interfaces: Arc<Interfaces>,
    fib: FibWriter,
    epoch: u64,
    hops: Hops,
    neighbours: Neighbours,
    /// When gateways are looked through next.
    gateways_at: Instant,
    ports: Vec<Port>,
    workers: Vec<WorkerInfo>,
    /// Opens and closes ports; there once the workers are.
    plug: Option<Box<dyn Plug>>,
    http: Vec<HttpServer>,
    /// With the count of commands that each worker must have carried out before.
    after: VecDeque<(Vec<u64>, Then)>,
    /// What operators asked the workers for.
    looks: Looks,
    ending: Ending,
    /// Commands that each worker must have carried out before what it shows counts for the ending.
    ending_marks: Vec<u64>,
    /// Whether the log says already that there is no adjacency for a neighbour.
    told_full: bool,
    log: Vec<String>,
}

impl Control {
    /// A control plane with the configuration's routes, interfaces and static neighbours in its tables,
    /// and no workers yet. The route table lies in `storage`, or on the heap.
    ///
    /// # Errors
    /// When the routes or next hops do not fit the limits.
    pub fn new(
        config: Config,
        ports: Vec<PortInfo>,
        storage: Option<(Storage, Storage)>,
        now: Instant,
        seed: u64,
    ) -> Result<Self, SetupError> {
        let macs: Vec<MacAddr> = ports.iter().map(|port| port.mac).collect();
        let interfaces = Arc::new(interfaces(&config, &macs));
        let routes = routes::most(&config, &interfaces);
        let mut fib = match storage {
            Some((level1, level2)) => FibWriter::with_storage(routes, level1, level2)?,
            None => FibWriter::new(FibLimits { routes, groups: config.limits.route_groups() })?,
        };
        let mut hops = Hops::new(config.limits.adjacencies, ports.len() as u16);
        routes::fill(&mut fib, &mut hops, &interfaces, &config)?;
        let neighbours = Neighbours::new(config.limits.neighbours as usize, Timing::default(), seed);
        let mut control = Control {
            config,
            interfaces,
            fib,
            epoch: 0,
            hops,
            neighbours,
            gateways_at: now,
            ports: ports.into_iter().map(Port::from).collect(),
            workers: Vec::new(),
            plug: None,
            http: Vec::new(),
            after: VecDeque::new(),
            looks: Looks::default(),
            ending: Ending::No,
            ending_marks: Vec::new(),
            told_full: false,
            log: Vec::new(),
        };
        control.add_static_neighbours(now)?;
        Ok(control)
    }

    fn add_static_neighbours(&mut self, now: Instant) -> Result<(), SetupError> {
        for neighbour in self.config.neighbours.clone() {
            let key = Key { iface: IfaceId(neighbour.interface), ip: neighbour.address };
            self.neighbours.insert_static(now, key, neighbour.mac).map_err(|_| SetupError::Neighbours)?;
        }
        self.act();
        self.poll_after();
        Ok(())
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The interfaces.
    pub fn interfaces(&self) -> &Arc<Interfaces> {
        &self.interfaces
    }

    /// The ports' Ethernet addresses.
    pub fn port_macs(&self) -> impl Iterator<Item = MacAddr> + '_ {
        self.ports.iter().map(|port| port.mac)
    }

    /// The route table, for a worker.
    pub fn fib(&self) -> Arc<Fib> {
        self.fib.fib()
    }

    /// An adjacency table, for a worker that is attached before anything else changes.
    pub fn adjacency_table(&self) -> AdjacencyTable {
        self.hops.table()
    }

    /// Shows what these HTTP servers count.
    pub fn watch_http(&mut self, servers: Vec<HttpServer>) {
        self.http = servers;
    }

    /// Takes the workers on, and asks for the gateways and announces our addresses through them. Their queues come
    /// and go by `queues`, in the same order.
    pub fn attach<D: Device>(
        &mut self,
        now: Instant,
        workers: Vec<WorkerInfo>,
        queues: Vec<Exchange<D>>,
        opener: Box<dyn Opener<D>>,
    ) {
        self.workers = workers;
        self.plug = Some(Box::new(Plugs::new(queues, opener)));
        for port in 0..self.ports.len() {
            self.announce(PortId(port as u16));
        }
        self.ask_for_gateways(now);
        self.act();
    }

    /// Takes the workers' news and does what is due.
    pub fn poll(&mut self, now: Instant) {
        self.workers.iter_mut().for_each(|worker| worker.link.send_backlog());
        for at in 0..self.workers.len() {
            // What comes from here on wakes us again.
            for _ in 0..self.workers[at].link.events.slots() {
                // Orders that wait keep news waiting, lest they pile up: each brings a few more.
                if self.is_behind() {
                    break;
                }
                self.take_news(now, at);
                self.act();
            }
        }
        self.neighbours.handle_timeout(now);
        if now >= self.gateways_at {
            self.ask_for_gateways(now);
        }
        self.act();
        self.poll_after();
        self.poll_ending(now);
    }

    fn take_news(&mut self, now: Instant, worker: usize) {
        match self.workers[worker].link.events.pop() {
            Ok(Up::Event(Event::Arp(iface, event))) => self.neighbours.handle_arp(now, iface, event),
            Ok(Up::Event(Event::Resolve(iface, ip))) => {
                self.neighbours.handle_resolve(now, Key { iface, ip })
            }
            Ok(Up::Retired(group)) => drop(group),
            Ok(Up::Look(look)) => self.take_look(worker, look),
            Err(rtrb::PopError::Empty) => {}
        }
    }

    /// When [`poll`](Self::poll) has something to do by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        let gateways = (!self.hops.gateways().is_empty()).then_some(self.gateways_at);
        [self.neighbours.next_deadline(), gateways, self.ending_deadline()].into_iter().flatten().min()
    }

    /// What an operator should read, since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Sends a command to every worker.
    fn send_all(&mut self, command: impl Fn() -> Command) {
        self.workers.iter_mut().for_each(|worker| worker.link.send(command()));
    }

    /// Sends a command that one worker's doing is enough for.
    fn send_one(&mut self, command: Command) {
        if let Some(worker) = self.workers.first_mut() {
            worker.link.send(command);
        }
    }

    fn is_behind(&self) -> bool {
        self.workers.iter().any(|worker| worker.link.is_behind())
    }

    /// Does `then` when every worker has carried out all that was sent so far, this being the last of it.
    fn once_done(&mut self, then: Then) {
        self.send_all(|| Command::Pass);
        let marks = self.workers.iter().map(|worker| worker.link.sent()).collect();
        self.after.push_back((marks, then));
    }

    fn poll_after(&mut self) {
        while let Some((marks, _)) = self.after.front()
            && self.workers.iter().zip(marks).all(|(worker, &mark)| worker.link.done() >= mark)
            && let Some((_, then)) = self.after.pop_front()
        {
            match then {
                Then::Route(key, id) => self.add_host_route(key, id),
                Then::Free(id) => {
                    self.hops.free(id);
                    self.told_full = false;
                }
                Then::Reclaim(epoch) => {
                    self.fib.reclaim(epoch);
                }
                Then::Left(port) => self.has_left(port),
                Then::Came(port) => self.has_come(port),
            }
        }
        let reclaiming = self.after.iter().any(|(_, then)| matches!(then, Then::Reclaim(_)));
        if self.fib.usage().in_limbo > 0 && !reclaiming {
            self.epoch += 1;
            self.fib.set_epoch(self.epoch);
            self.once_done(Then::Reclaim(self.epoch));
        }
    }

    fn interface_name(&self, iface: IfaceId) -> String {
        self.config
            .interfaces
            .get(usize::from(iface.0))
            .map_or_else(|| format!("{iface:?}"), |i| i.name.clone())
    }
}

/// The layer-3 interfaces of a configuration, on ports with these Ethernet addresses.
fn interfaces(config: &Config, macs: &[MacAddr]) -> Interfaces {
    let of = |(at, iface): (usize, &config::Interface)| Interface {
        id: IfaceId(at as u16),
        port: PortId(iface.port),
        vlan: iface.vlan,
        mac: macs[usize::from(iface.port)],
        mtu: iface.mtu,
        addresses: iface.addresses.iter().map(|a| IfaceAddr { addr: a.addr, net: a.net }).collect(),
        proxy_arp: iface.proxy_arp,
    };
    Interfaces::new(config.interfaces.iter().enumerate().map(of).collect())
}

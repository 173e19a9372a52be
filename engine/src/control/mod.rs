//! The control plane: owns the routes and the neighbours, hears the workers' news, and tells them what
//! changes. Sans-IO, like the data plane: [`server`] gives it time and requests.

mod hops;
mod routes;
pub mod server;
mod show;

use std::collections::VecDeque;
use std::sync::Arc;

use config::Config;
use l2l3::adjacency::{Adjacency, AdjacencyTable};
use l2l3::fib::{AdjacencyId, Fib, FibError, FibLimits, FibWriter, Storage};
use l2l3::interface::{IfaceAddr, IfaceId, Interface, Interfaces, PortId};
use l2l3::neighbour::{Action, Key, Neighbours, Timing};
use l2l3::router::{Counters, Event};
use wire::{Instant, Ipv4Prefix, MacAddr};

use crate::device::PortHandle;
use crate::link::{Command, ControlEnd, Up};
use crate::worker::LoopCounters;
use hops::{Hops, Role, incomplete};

pub use hops::AdjacenciesFull;

/// Why the tables could not be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SetupError {
    /// The routes do not fit.
    #[error("{0}")]
    Routes(FibError),
    /// The next hops do not fit.
    #[error(transparent)]
    Adjacencies(#[from] AdjacenciesFull),
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
    /// How it spends its time.
    pub loops: Arc<LoopCounters>,
}

/// What is done once every worker has carried out all that was sent before.
enum Then {
    /// All workers know the adjacency: packets may be led to it.
    Route(Ipv4Prefix, AdjacencyId),
    /// No worker can see the adjacency any more.
    Free(AdjacencyId),
    /// No worker can see what the route table retired before this epoch.
    Reclaim(u64),
}

/// The control plane.
pub struct Control {
    config: Config,
    interfaces: Arc<Interfaces>,
    fib: FibWriter,
    epoch: u64,
    hops: Hops,
    neighbours: Neighbours,
    ports: Vec<PortInfo>,
    workers: Vec<WorkerInfo>,
    /// Commands for each worker that its ring had no room for.
    backlog: Vec<VecDeque<Command>>,
    /// With the count of commands that each worker must have carried out before.
    after: VecDeque<(Vec<u64>, Then)>,
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
        let routes = config.limits.routes as usize;
        let mut fib = match storage {
            Some((level1, level2)) => FibWriter::with_storage(routes, level1, level2)?,
            None => FibWriter::new(FibLimits { routes, groups: level2_groups(&config) })?,
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
            ports,
            workers: Vec::new(),
            backlog: Vec::new(),
            after: VecDeque::new(),
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

    /// Takes the workers on, and asks for the gateways and announces our addresses through them.
    pub fn attach(&mut self, now: Instant, workers: Vec<WorkerInfo>) {
        self.backlog = workers.iter().map(|_| VecDeque::new()).collect();
        self.workers = workers;
        for iface in self.interfaces.clone().iter() {
            for address in &iface.addresses {
                self.send_one(Command::ArpAnnounce(iface.id, address.addr));
            }
        }
        for key in self.hops.gateways() {
            self.neighbours.handle_resolve(now, key);
        }
        self.act();
    }

    /// Takes the workers' news and does what is due.
    pub fn poll(&mut self, now: Instant) {
        for at in 0..self.workers.len() {
            while let Ok(up) = self.workers[at].link.events.pop() {
                match up {
                    Up::Event(Event::Arp(iface, event)) => self.neighbours.handle_arp(now, iface, event),
                    Up::Event(Event::Resolve(iface, ip)) => {
                        self.neighbours.handle_resolve(now, Key { iface, ip });
                    }
                    Up::Retired(group) => drop(group),
                }
            }
        }
        self.neighbours.handle_timeout(now);
        self.act();
        self.send_backlog();
        self.poll_after();
    }

    /// When [`poll`](Self::poll) has something to do by itself.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.neighbours.next_deadline()
    }

    /// The first port whose device is gone.
    pub fn removed_port(&self) -> Option<&str> {
        let gone = self.ports.iter().position(|port| port.handle.is_removed())?;
        self.config.ports.get(gone).map(|port| port.name.as_str())
    }

    /// What an operator should read, since the last call.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// Does what the neighbour table asks for.
    fn act(&mut self) {
        while let Some(action) = self.neighbours.poll_action() {
            match action {
                Action::SendRequest { target, to } => self.send_one(Command::ArpRequest(target, to)),
                Action::Announce { own } => self.send_one(Command::ArpAnnounce(own.iface, own.ip)),
                Action::Resolved { key, mac } | Action::Changed { key, mac } => self.resolved(key, mac),
                Action::Failed { key } => {
                    self.unresolved(key);
                    self.send_all(|| Command::Fail(key));
                }
                Action::Removed { key } => self.unresolved(key),
                Action::DuplicateAddress { own, mac } => {
                    let iface = self.interface_name(own.iface);
                    self.log.push(format!("{iface}: {mac} uses our address {} too", own.ip));
                }
            }
        }
    }

    /// A neighbour's Ethernet address is known: workers learn the adjacency, then send what waits by it.
    fn resolved(&mut self, key: Key, mac: MacAddr) {
        let interfaces = self.interfaces.clone();
        let Some(iface) = interfaces.get(key.iface) else { return };
        let known = self.hops.find(key);
        let id = match self.hops.neighbour(key, Role::Host) {
            Ok(id) => id,
            Err(full) => {
                self.log.push(format!("{}: no adjacency for {}: {full}", self.interface_name(key.iface), key.ip));
                return self.send_all(|| Command::Fail(key));
            }
        };
        let adjacency = Adjacency::forward(iface, key.ip, mac);
        self.hops.set(id, adjacency);
        self.send_all(|| Command::SetAdjacency(id, adjacency));
        self.send_all(|| Command::Release(key, id));
        self.set_live(id, true);
        if known.is_none() {
            self.once_done(Then::Route(Ipv4Prefix::host(key.ip), id));
        }
    }

    /// A neighbour is not known any more: a gateway goes back to waiting, a host's route goes away.
    fn unresolved(&mut self, key: Key) {
        match self.hops.find(key) {
            Some((id, Role::Gateway)) => {
                let adjacency = incomplete(key);
                self.hops.set(id, adjacency);
                self.set_live(id, false);
                self.send_all(|| Command::SetAdjacency(id, adjacency));
                self.remove_host_route(key, id);
            }
            Some((id, Role::Host)) => {
                self.remove_host_route(key, id);
                self.hops.forget(key);
                self.once_done(Then::Free(id));
            }
            None => {}
        }
    }

    fn remove_host_route(&mut self, key: Key, id: AdjacencyId) {
        let prefix = Ipv4Prefix::host(key.ip);
        self.after.retain(|(_, then)| !matches!(then, Then::Route(p, i) if (*p, *i) == (prefix, id)));
        if self.fib.get(prefix) == Some(id) {
            self.fib.remove(prefix);
        }
    }

    fn set_live(&mut self, id: AdjacencyId, live: bool) {
        for (group, content) in self.hops.set_live(id, live) {
            self.send_all(|| Command::SetGroup(group, Some(Box::new(content.clone()))));
        }
    }

    /// Sends a command to every worker.
    fn send_all(&mut self, command: impl Fn() -> Command) {
        for at in 0..self.workers.len() {
            self.send_to(at, command());
        }
    }

    /// Sends a command that one worker's doing is enough for.
    fn send_one(&mut self, command: Command) {
        if !self.workers.is_empty() {
            self.send_to(0, command);
        }
    }

    fn send_to(&mut self, at: usize, command: Command) {
        let link = &mut self.workers[at].link;
        if !self.backlog[at].is_empty() {
            self.backlog[at].push_back(command);
        } else if let Err(command) = link.send(command) {
            self.backlog[at].push_back(command);
        }
    }

    fn send_backlog(&mut self) {
        for (worker, backlog) in self.workers.iter_mut().zip(&mut self.backlog) {
            while let Some(command) = backlog.pop_front() {
                if let Err(command) = worker.link.send(command) {
                    backlog.push_front(command);
                    break;
                }
            }
        }
    }

    /// Does `then` when every worker has carried out all that was sent so far, this being the last of it.
    fn once_done(&mut self, then: Then) {
        self.send_all(|| Command::Pass);
        let marks = self.workers.iter().zip(&self.backlog);
        let marks = marks.map(|(worker, backlog)| worker.link.sent() + backlog.len() as u64).collect();
        self.after.push_back((marks, then));
    }

    fn poll_after(&mut self) {
        while let Some((marks, _)) = self.after.front()
            && self.workers.iter().zip(marks).all(|(worker, &mark)| worker.link.done() >= mark)
            && let Some((_, then)) = self.after.pop_front()
        {
            match then {
                Then::Route(prefix, id) => self.add_host_route(prefix, id),
                Then::Free(id) => self.hops.free(id),
                Then::Reclaim(epoch) => {
                    self.fib.reclaim(epoch);
                }
            }
        }
        let reclaiming = self.after.iter().any(|(_, then)| matches!(then, Then::Reclaim(_)));
        if self.fib.usage().in_limbo > 0 && !reclaiming {
            self.epoch += 1;
            self.fib.set_epoch(self.epoch);
            self.once_done(Then::Reclaim(self.epoch));
        }
    }

    /// Leads a neighbour's packets straight to it, unless the configuration says otherwise of its address.
    fn add_host_route(&mut self, prefix: Ipv4Prefix, id: AdjacencyId) {
        if self.fib.get(prefix).is_none()
            && let Err(error) = self.fib.insert(prefix, id)
        {
            // Its packets go on taking the way through the hold queue.
            self.log.push(format!("no route of its own for the neighbour {}: {error}", prefix.addr()));
        }
    }

    fn interface_name(&self, iface: IfaceId) -> String {
        self.config.interfaces.get(usize::from(iface.0)).map_or_else(|| format!("{iface:?}"), |i| i.name.clone())
    }
}

/// Groups of the route table's second level: one for each /24 that holds longer routes. Each neighbour
/// may need one, and a BGP table's routes past /24 are few.
pub fn level2_groups(config: &Config) -> usize {
    config.limits.neighbours as usize + config.limits.routes as usize / 64 + 64
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

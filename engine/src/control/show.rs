//! Answers to `sluice show`.

use l2l3::adjacency::{BLACKHOLE, BROADCAST, LOCAL, MARTIAN, MULTICAST, Target, UNREACHABLE};
use l2l3::cycles::LoopStage;
use l2l3::fib::AdjacencyId;
use l2l3::router::Books;
use wire::{DropReason, Instant, Ipv4Prefix};

use super::Control;
use super::hops::Role;
use crate::api::{
    CyclesReport, DropReport, HttpReport, NeighbourReport, PortReport, Reply, Request, Route, RouteReport,
    StageReport, TcpReport, WorkerReport,
};
use crate::app::HttpServer;

impl Control {
    /// Answers a request; `None` if the workers must be [asked](Self::ask_workers).
    pub fn handle_request(&self, now: Instant, request: &Request) -> Option<Reply> {
        Some(match request {
            Request::Ports => Reply::Ports(self.port_reports()),
            Request::Routes { address: Some(address), .. } => {
                let covering = self.fib.covering(*address);
                let routes = covering.into_iter().map(|(prefix, to)| self.route(prefix, to)).collect();
                Reply::Routes(RouteReport { total: self.fib.len(), routes })
            }
            Request::Routes { address: None, limit } => {
                let mut routes: Vec<_> = self.fib.iter().take(*limit).collect();
                routes.sort_unstable();
                let routes = routes.into_iter().map(|(prefix, to)| self.route(prefix, to)).collect();
                Reply::Routes(RouteReport { total: self.fib.len(), routes })
            }
            Request::Neighbours => Reply::Neighbours(self.neighbour_reports(now)),
            Request::Drops => Reply::Drops(self.drop_reports()),
            Request::Workers => Reply::Workers(self.worker_reports()),
            Request::Cycles => Reply::Cycles(self.cycle_reports()),
            Request::Tcp => Reply::Tcp(self.tcp_reports()),
            Request::Http => Reply::Http(self.http_reports()),
            Request::Connections { .. } | Request::Connection { .. } | Request::Listeners => return None,
        })
    }

    /// The books of all workers together.
    pub fn books(&self) -> Books {
        self.workers.iter().map(|worker| worker.counters.books()).fold(Books::default(), |a, b| a + b)
    }

    pub(crate) fn port_reports(&self) -> Vec<PortReport> {
        let report = |(at, (port, info)): (usize, (&config::Port, &super::Port))| {
            let count = |of: fn(&l2l3::router::PortCounters) -> u64| {
                self.workers.iter().filter_map(|worker| worker.counters.ports.get(at)).map(of).sum()
            };
            let mine = self.config.interfaces.iter().filter(|iface| usize::from(iface.port) == at);
            PortReport {
                name: port.name.clone(),
                device: port.device.clone(),
                mac: info.mac.to_string(),
                addresses: mine
                    .flat_map(|iface| {
                        iface.addresses.iter().map(|a| format!("{} {}/{}", iface.name, a.addr, a.net.len()))
                    })
                    .collect(),
                mtu: port.mtu,
                rx_queues: info.rx_queues,
                tx_queues: info.tx_queues,
                rx: count(|counters| counters.rx.get()),
                tx: count(|counters| counters.tx.get()),
                state: info.state(),
                reopened: info.reopened,
                status: info.handle.as_ref().map(|handle| handle.status()).unwrap_or_default(),
            }
        };
        self.config.ports.iter().zip(&self.ports).enumerate().map(report).collect()
    }

    fn route(&self, prefix: Ipv4Prefix, to: AdjacencyId) -> Route {
        let (kind, via) = self.describe(to);
        Route { prefix: prefix.to_string(), kind: kind.into(), via }
    }

    fn describe(&self, id: AdjacencyId) -> (&'static str, Vec<String>) {
        match id {
            BLACKHOLE => return ("blackhole", vec![]),
            UNREACHABLE => return ("unreachable", vec![]),
            LOCAL => return ("local", vec![]),
            BROADCAST => return ("broadcast", vec![]),
            MULTICAST => return ("multicast", vec![]),
            MARTIAN => return ("martian", vec![]),
            _ => {}
        }
        match self.hops.get(id).map(|adjacency| adjacency.target()) {
            Some(Target::Glean(iface)) => ("connected", vec![self.interface_name(iface)]),
            Some(Target::Incomplete(iface, ip) | Target::Forward(iface, ip)) => {
                let role = self.hops.find(l2l3::neighbour::Key { iface, ip }).map(|(_, role)| role);
                let kind = if role == Some(Role::Host) { "neighbour" } else { "via" };
                (kind, vec![format!("{ip} {}", self.interface_name(iface))])
            }
            Some(Target::Group(group)) => {
                let members = self.hops.members(group).iter();
                ("ecmp", members.flat_map(|&member| self.describe(member).1).collect())
            }
            _ => ("unknown", vec![]),
        }
    }

    fn neighbour_reports(&self, now: Instant) -> Vec<NeighbourReport> {
        let report = |neighbour: l2l3::neighbour::Neighbour| NeighbourReport {
            interface: self.interface_name(neighbour.key.iface),
            address: neighbour.key.ip.to_string(),
            mac: neighbour.mac.map(|mac| mac.to_string()),
            state: neighbour.state.name().into(),
            age_seconds: now.since(neighbour.touched).as_secs_f64(),
        };
        self.neighbours.iter().map(report).collect()
    }

    /// Every reason, those that never occurred too.
    pub(crate) fn drop_reports(&self) -> Vec<DropReport> {
        let report = |&reason: &DropReason| {
            let by_worker: Vec<u64> = self.workers.iter().map(|w| w.counters.drops(reason)).collect();
            DropReport {
                reason: reason.name().into(),
                stage: reason.stage().name().into(),
                severity: reason.severity().name().into(),
                count: by_worker.iter().sum(),
                by_worker,
                text: reason.text().into(),
            }
        };
        DropReason::ALL.iter().map(report).collect()
    }

    fn tcp_reports(&self) -> Vec<TcpReport> {
        let by_worker: Vec<Vec<_>> = self.workers.iter().map(|w| w.host.iter().collect()).collect();
        let Some(first) = by_worker.first() else { return vec![] };
        let report = |(at, (name, _, text)): (usize, &(&str, u64, &str))| {
            let by_worker: Vec<u64> = by_worker.iter().map(|worker| worker[at].1).collect();
            let value = by_worker.iter().sum();
            TcpReport { name: (*name).into(), value, by_worker, text: (*text).into() }
        };
        first.iter().enumerate().map(report).collect()
    }

    fn http_reports(&self) -> Vec<HttpReport> {
        let mut reports = Vec::new();
        for HttpServer { address, counters } in &self.http {
            let by_worker: Vec<Vec<_>> = counters.iter().map(|counters| counters.iter().collect()).collect();
            for (at, (name, _, text)) in by_worker.first().into_iter().flatten().enumerate() {
                let by_worker: Vec<u64> = by_worker.iter().map(|worker| worker[at].1).collect();
                let (name, text, value) = ((*name).into(), (*text).into(), by_worker.iter().sum());
                reports.push(HttpReport { server: address.to_string(), name, value, by_worker, text });
            }
        }
        reports
    }

    pub(crate) fn worker_reports(&self) -> Vec<WorkerReport> {
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let report = |worker: &super::WorkerInfo| {
            let books = worker.counters.books();
            let loops = &worker.loops;
            WorkerReport {
                core: worker.core,
                isa: worker.isa.into(),
                loops: loops.loops.get(),
                idle_share: share(loops.idle_loops.get(), loops.loops.get()),
                nanos_per_frame: share(loops.busy_nanos.get(), worker.counters.received()),
                balanced: books.balance(),
                books: books.into(),
                events_lost: worker.counters.events_lost.get(),
            }
        };
        self.workers.iter().map(report).collect()
    }

    fn cycle_reports(&self) -> Vec<CyclesReport> {
        let report = |worker: &super::WorkerInfo| CyclesReport {
            core: worker.core,
            loops: worker.cycles.loops.get(),
            busy_loops: worker.cycles.busy_loops.get(),
            received: worker.cycles.received.get(),
            stages: LoopStage::ALL.iter().map(|&stage| StageReport::new(stage, &worker.cycles)).collect(),
        };
        self.workers.iter().map(report).collect()
    }
}

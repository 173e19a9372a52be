//! The hosts of a scenario, the links between them, and time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use sim::{EventQueue, Link, PcapWriter, Rng, SimPool};
use tcp::shard::{ConnectionId, IcmpError, IcmpKind, ShardEvent};
use wire::Instant;

use crate::app::Endpoint;
use crate::bytes::Ledger;
use crate::host::Host;
use crate::scenario::{FlowPlan, PORT, Scenario};
use crate::wiretap::{Header, Way, Wiretap};

/// What the world itself is to do at some time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    Start(usize),
    Run(usize),
    Transmit(usize),
    Disturb(usize),
    EndBlackout(usize),
    Icmp(usize, IcmpError),
    Flood(usize, u32, Duration),
    Forge(u32, Duration),
}

/// A connection, from the first SYN to the last word.
pub(crate) struct Flow {
    pub(crate) plan: FlowPlan,
    /// From the client to the server, once the client has a port.
    pub(crate) way: Option<Way>,
    pub(crate) tries: u32,
    /// When the client first tried, and how long it took to reach the server.
    pub(crate) began: Instant,
    pub(crate) handshake: Duration,
    /// When a byte of it last arrived.
    pub(crate) got_on: Instant,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) links: Vec<Link>,
    pub(crate) flows: Vec<Flow>,
    /// The client of flow `i` is number `2 * i`, its server the one after.
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) ledger: Ledger,
    pub(crate) tap: Wiretap,
    /// Which packets are lost, besides those that the links lose.
    pub(crate) loses: Option<Loses>,
    /// Says what is sent, a line each packet.
    pub(crate) talks: bool,
    pub(crate) capture: Option<PcapWriter<Vec<u8>>>,
    /// A hash of all packets sent, and when.
    pub(crate) digest: u64,
    /// Frames that arrived where nobody is.
    pub(crate) nowhere: u64,
    /// What went wrong.
    pub(crate) complaints: Vec<String>,
    pub(crate) tasks: EventQueue<Task>,
    by_way: BTreeMap<Way, usize>,
    pub(crate) chance: Rng,
    pool: SimPool,
}

/// Says of each packet whether it is lost.
pub(crate) type Loses = Box<dyn FnMut(&Header) -> bool>;

/// A world that is not at rest by then never will be.
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// Steps of a world, at most.
const STEPS: u64 = 3_000_000;

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host as u8 + 1)
}

impl World {
    pub(crate) fn new(seed: u64, scenario: Scenario, pool: &SimPool) -> Self {
        let rng = Rng::new(seed);
        let now = scenario.start;
        let mut hosts = Vec::new();
        let mut links = Vec::new();
        for (i, plan) in scenario.hosts.iter().enumerate() {
            let mut host = Host::new(address(i), plan.config.clone(), plan.frames, now);
            host.shard.listen(SocketAddrV4::new(address(i), PORT), plan.backlog).expect("nobody listens yet");
            hosts.push(host);
            links.push(Link::new(plan.link.clone(), &rng.fork(&format!("link {i}"))));
        }
        let mut tasks = EventQueue::new();
        let mut endpoints = Vec::new();
        for (i, flow) in scenario.flows.iter().enumerate() {
            for (side, host) in [flow.client, flow.server].into_iter().enumerate() {
                let rng = rng.fork(&format!("endpoint {i} {side}"));
                endpoints.push(Endpoint::new(flow.plans[side].clone(), host, rng));
            }
            if flow.after.is_none() {
                tasks.schedule(now + flow.start, Task::Start(i));
            }
        }
        for (i, (at, _)) in scenario.disturbances.iter().enumerate() {
            tasks.schedule(now + *at, Task::Disturb(i));
        }
        let flows = scenario.flows.iter().cloned();
        World {
            flows: flows
                .map(|plan| Flow {
                    plan,
                    way: None,
                    tries: 0,
                    began: now,
                    handshake: Duration::ZERO,
                    got_on: now,
                })
                .collect(),
            scenario,
            now,
            hosts,
            links,
            endpoints,
            ledger: Ledger::default(),
            tap: Wiretap::default(),
            loses: None,
            talks: false,
            capture: None,
            digest: 0,
            nowhere: 0,
            complaints: Vec::new(),
            tasks,
            by_way: BTreeMap::new(),
            chance: rng.fork("world's own"),
            pool: pool.clone(),
        }
    }

    pub(crate) fn complain(&mut self, text: String) {
        if self.complaints.len() < 8 {
            self.complaints.push(format!("{:?}: {text}", self.now - self.scenario.start));
        }
    }

    /// Lets time pass until nothing is to come any more, or `until`.
    pub(crate) fn run_until(&mut self, until: Duration) {
        let end = self.scenario.start + until;
        let (mut steps, mut here) = (0, 0);
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            here = if next > self.now { 0 } else { here + 1 };
            steps += 1;
            if steps > STEPS || here > 10_000 {
                return self.complain(format!("{steps} steps, {here} of them at this moment"));
            }
            self.now = self.now.max(next);
            self.step();
            if self.complaints.len() >= 8 {
                return;
            }
        }
        if self.next_event().is_none() {
            return;
        }
        self.now = end;
    }

    /// Lets time pass until nothing is to come any more.
    pub(crate) fn run(&mut self) {
        self.run_until(LONGEST);
        if self.next_event().is_some() && self.complaints.is_empty() {
            self.complain("it does not come to rest".to_owned());
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(Link::next_deadline);
        let hosts = self.hosts.iter().filter_map(|host| host.deadline);
        links.chain(hosts).chain(self.tasks.next_deadline()).min().or_else(|| {
            // At the start, nobody was looked after yet.
            self.hosts.iter().any(|host| host.touched).then_some(self.now)
        })
    }

    fn step(&mut self) {
        let now = self.now;
        let mut frames = Vec::new();
        for link in &mut self.links {
            link.poll(now, &mut frames);
        }
        for frame in frames {
            self.deliver(frame.to_vec());
        }
        for host in &mut self.hosts {
            if host.deadline.is_some_and(|deadline| deadline <= now) {
                host.shard.handle_timeout(now);
                host.touched = true;
            }
        }
        while let Some((_, task)) = self.tasks.pop_due(now) {
            self.perform(task);
        }
        for host in 0..self.hosts.len() {
            if std::mem::take(&mut self.hosts[host].touched) {
                self.look_after(host);
            }
        }
    }

    pub(crate) fn deliver(&mut self, packet: Vec<u8>) {
        let address = packet.get(16..20).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let address = address.map(Ipv4Addr::from);
        let marked = self.chance.chance(self.scenario.marks);
        let host = self.hosts.iter_mut().find(|host| Some(host.address) == address && !host.vanished);
        let Some(host) = host else {
            self.nowhere += 1;
            return;
        };
        let (header, shed) = (Header::read(&packet), host.shed());
        host.receive(self.now, packet, marked, &self.ledger);
        // What a host has no room for is as good as lost.
        if host.shed() > shed
            && let Some(header) = header
        {
            self.tap.note_drop(self.now, header.way);
        }
    }

    pub(crate) fn perform(&mut self, task: Task) {
        let now = self.now;
        match task {
            Task::Start(flow) => self.start(flow),
            Task::Run(endpoint) => self.run_endpoint(endpoint),
            Task::Transmit(host) => self.hosts[host].touched |= !self.hosts[host].vanished,
            Task::Disturb(i) => self.disturb(self.scenario.disturbances[i].1),
            Task::EndBlackout(host) => self.links[host].set_config(self.scenario.hosts[host].link.clone()),
            Task::Icmp(host, error) => {
                let host = &mut self.hosts[host];
                if !host.vanished {
                    host.shard.handle_icmp(now, &error);
                    host.touched = true;
                }
            }
            Task::Flood(host, left, gap) => {
                self.flood(host);
                if left > 1 {
                    self.tasks.schedule(now + gap, Task::Flood(host, left - 1, gap));
                }
            }
            Task::Forge(left, gap) => {
                self.forge();
                if left > 1 {
                    self.tasks.schedule(now + gap, Task::Forge(left - 1, gap));
                }
            }
        }
    }

    /// The client (and if SYNs are to cross, the server too) connects.
    fn start(&mut self, flow: usize) {
        let FlowPlan { client, server, port, crossed, .. } = self.flows[flow].plan;
        let ends = if crossed { 2 } else { 1 };
        let mut again = false;
        for side in 0..ends {
            let (from, to) = if side == 0 { (client, server) } else { (server, client) };
            if self.hosts[from].vanished || self.endpoints[2 * flow + side].id.is_some() {
                continue;
            }
            let local = SocketAddrV4::new(address(from), port);
            let remote = SocketAddrV4::new(address(to), if crossed { port } else { PORT });
            self.hosts[from].touched = true;
            match self.hosts[from].shard.connect(self.now, local, remote) {
                Ok(id) => self.opened(flow, side, id),
                // Connections to a host that is gone keep their place for long.
                Err(_) if self.hosts[to].vanished => {}
                Err(error) if self.flows[flow].tries > 2000 => {
                    self.complain(format!("flow {flow} cannot connect: {error:?}"));
                }
                Err(_) => again = true,
            }
        }
        if again {
            self.flows[flow].tries += 1;
            self.tasks.schedule(self.now + Duration::from_millis(250), Task::Start(flow));
        }
    }

    fn opened(&mut self, flow: usize, side: usize, id: ConnectionId) {
        let number = 2 * flow + side;
        let endpoint = &mut self.endpoints[number];
        let shard = &mut self.hosts[endpoint.host].shard;
        shard.set_token(id, number as u32 + 1);
        endpoint.open(self.now, shard, id);
        if side == 0
            && let Some(info) = shard.info(id)
        {
            let way = (info.local, info.remote);
            self.flows[flow].way = Some(way);
            (self.flows[flow].began, self.flows[flow].got_on) = (self.now, self.now);
            self.by_way.insert(way, flow);
        }
        if side == 1 {
            self.flows[flow].handshake = self.now - self.flows[flow].began;
        }
        if side == 1 || self.endpoints[number].plan.eager {
            self.run_endpoint(number);
        }
    }

    /// The applications hear the news, and then all that is due is sent.
    fn look_after(&mut self, host: usize) {
        let now = self.now;
        for _ in 0..100 {
            while let Some(event) = self.hosts[host].shard.poll_event(now) {
                self.on_event(host, event);
            }
            self.transmit(host);
            if !self.hosts[host].shard.has_events() {
                break;
            }
        }
        self.hosts[host].touched = false;
        self.hosts[host].note_deadline(now);
        if self.hosts[host].shard.wants_to_transmit() {
            self.tasks.schedule(now + Duration::from_millis(2), Task::Transmit(host));
        }
    }

    fn on_event(&mut self, host: usize, event: ShardEvent) {
        match event {
            ShardEvent::Acceptable(listener) => {
                while let Some(id) = self.hosts[host].shard.accept(listener) {
                    let info = self.hosts[host].shard.info(id);
                    let flow = info.and_then(|info| self.by_way.get(&(info.remote, info.local))).copied();
                    match flow.filter(|flow| self.endpoints[2 * flow + 1].id.is_none()) {
                        Some(flow) => self.opened(flow, 1, id),
                        // A ghost: a cookie that came twice.
                        None => self.hosts[host].shard.abort(self.now, id),
                    }
                }
            }
            ShardEvent::Connection(id, _) => match self.hosts[host].shard.token(id) {
                Some(token) if token > 0 => self.run_endpoint(token as usize - 1),
                _ => self.complain(format!("news of a connection that nobody has: {id:?}")),
            },
        }
    }

    fn transmit(&mut self, host: usize) {
        let sent = self.hosts[host].transmit(self.now);
        for packet in sent.packets {
            self.digest = fold(self.digest, self.now, &packet);
            if let Some(capture) = &mut self.capture {
                capture.write(self.now, &framed(&packet)).expect("memory takes all");
            }
            let header = Header::read(&packet).expect("hosts send whole packets");
            self.tap.note(&header);
            if self.loses.as_mut().is_some_and(|loses| loses(&header)) {
                self.tap.note_drop(self.now, header.way);
                continue;
            }
            if let Some((mtu, tells)) = self.scenario.hosts[host].path_mtu
                && packet.len() > usize::from(mtu)
            {
                self.tap.note_drop(self.now, header.way);
                if tells {
                    let kind = IcmpKind::FragmentationNeeded { mtu };
                    let (local, remote) = header.way;
                    let error = IcmpError { kind, local, remote, seq: header.seq };
                    self.tasks.schedule(self.now + Duration::from_millis(1), Task::Icmp(host, error));
                }
                continue;
            }
            let link = &mut self.links[host];
            let before = link.stats();
            let Some(frame) = self.pool.frame_from(&packet) else { panic!("the world is out of frames") };
            link.push(self.now, frame);
            let after = link.stats();
            let fate = |stats: sim::LinkStats| (stats.lost, stats.overflowed, stats.corrupted);
            let dropped = fate(before) != fate(after);
            if dropped {
                self.tap.note_drop(self.now, header.way);
            }
            if self.talks {
                let mark = if dropped { " (lost)" } else { "" };
                eprintln!("{:>14?} {header}{mark}", self.now - self.scenario.start);
            }
        }
    }
}

/// The packet as the payload of an Ethernet frame, for a capture.
pub(crate) fn framed(packet: &[u8]) -> Vec<u8> {
    sim::builder::ethernet(wire::MacAddr::ZERO, wire::MacAddr::ZERO, sim::builder::ETHERTYPE_IPV4, packet)
}

fn fold(digest: u64, now: Instant, packet: &[u8]) -> u64 {
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    packet.chunks(8).fold(mix(digest, now.as_nanos()), |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash, u64::from_le_bytes(word))
    })
}

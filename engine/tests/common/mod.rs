//! An engine on simulated devices: its ports are pipes, at whose far ends are simulated hosts or the test.
#![allow(dead_code, reason = "no test binary uses all of it")]

pub(crate) mod peer;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::{Config, Machine};
use engine::api::{NeighbourReport, PortStatus, Reply, Request, Route};
use engine::app::{Services, StartError};
use engine::control::{Control, PortInfo};
use engine::device::{Device, Env, Opened, Opener, PortHandle};
use engine::host::Programs;
use engine::link::{Queue, Wake};
use engine::run::{Common, Crew, crew};
use engine::worker::{Apps, Egress, Worker, WorkerIo};
use l2l3::forward::Isa;
use l2l3::interface::PortId;
use l2l3::router::Books;
use sim::builder::{self, Flow};
use sim::dissect::{Arp, Packet};
use sim::{Clock, Host, Rng, SimFrame, SimPool, SimRx, SimTx, SlowConfig, SlowTx, pipe};
use wire::{DropReason, Instant, MacAddr, RssKey, TxQueue};

/// Simulated devices.
pub(crate) struct SimDevice;

impl Device for SimDevice {
    type Frame = SimFrame;
    type Pool = SimPool;
    type Rx = SimRx;
    type Tx = Tx;
    type Env = SimEnv;

    /// Takes no cycles.
    fn ticks() -> u64 {
        0
    }
}

/// A transmit queue.
pub(crate) enum Tx {
    Prompt(SimTx),
    Slow(SlowTx),
}

impl TxQueue for Tx {
    type Frame = SimFrame;

    fn tx_burst(&mut self, frames: &mut Vec<SimFrame>) -> usize {
        match self {
            Tx::Prompt(queue) => queue.tx_burst(frames),
            Tx::Slow(queue) => queue.tx_burst(frames),
        }
    }
}

/// Virtual time, or the machine's.
#[derive(Clone)]
pub(crate) enum SimEnv {
    Virtual(Clock),
    Real(std::time::Instant),
    /// The machine's time, but no thread is fit for polling.
    Unfit(std::time::Instant),
}

impl Env for SimEnv {
    type ThreadGuard = ();

    fn now(&self) -> Instant {
        match self {
            SimEnv::Virtual(clock) => clock.now(),
            SimEnv::Real(start) | SimEnv::Unfit(start) => {
                Instant::from_nanos(start.elapsed().as_nanos() as u64)
            }
        }
    }

    fn enter_thread(&self) -> Result<(), String> {
        match self {
            SimEnv::Unfit(_) => Err("this simulation has no room for threads".into()),
            _ => Ok(()),
        }
    }

    fn immortal(
        &self,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<&'static [u8], String> {
        let mut memory = vec![0; len];
        fill(&mut memory).map_err(|error| error.to_string())?;
        Ok(memory.leak())
    }
}

/// A port whose device can be pulled out, and whose peer can vanish.
#[derive(Clone, Default)]
pub(crate) struct SimPort(pub(crate) Arc<AtomicBool>, pub(crate) Arc<AtomicBool>);

impl PortHandle for SimPort {
    fn status(&self) -> PortStatus {
        PortStatus { driver: "sim".into(), link_up: true, ..PortStatus::default() }
    }

    fn is_removed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn has_lost_peer(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}

/// Opens pipes, by queue as they were at start.
#[derive(Clone, Default)]
pub(crate) struct SimOpener(pub(crate) Arc<Mutex<Opening>>);

/// What an opener is to do, and has done.
#[derive(Default)]
pub(crate) struct Opening {
    /// By port: the worker of each receive queue, and of each transmit queue.
    queues: Vec<(Vec<usize>, Vec<usize>)>,
    /// Why it refuses all devices.
    pub(crate) refusal: Option<String>,
    /// What was done: `open a net_null0`, `reset a`, `close a`, with numbers for names.
    pub(crate) done: Vec<String>,
    /// What was opened, until the test takes it.
    pub(crate) opened: Vec<(usize, SimPort, Wire)>,
}

impl Opening {
    fn open(&mut self, port: PortId, what: String) -> Result<Opened<SimDevice>, String> {
        self.done.push(what);
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let at = usize::from(port.0);
        let (mut wire, mut queues) = (Wire { to: vec![], from: vec![] }, vec![]);
        for &worker in &self.queues[at].0 {
            let (to, queue) = pipe(PIPE);
            wire.to.push(to);
            queues.push((worker, Queue::Rx(port, queue)));
        }
        for &worker in &self.queues[at].1 {
            let (queue, from) = pipe(PIPE);
            wire.from.push(from);
            queues.push((worker, Queue::Tx(port, Tx::Prompt(queue))));
        }
        let handle = SimPort::default();
        self.opened.push((at, handle.clone(), wire));
        Ok(Opened { handle: Box::new(handle), queues })
    }
}

impl Opener<SimDevice> for SimOpener {
    fn open(&mut self, port: PortId, device: &str, _mac: MacAddr) -> Result<Opened<SimDevice>, String> {
        self.0.lock().unwrap().open(port, format!("open {} {device}", port.0))
    }

    fn reset(&mut self, port: PortId, _mac: MacAddr) -> Result<Opened<SimDevice>, String> {
        self.0.lock().unwrap().open(port, format!("reset {}", port.0))
    }

    fn close(&mut self, port: PortId) {
        self.0.lock().unwrap().done.push(format!("close {}", port.0));
    }
}

/// The far ends of a port's queues.
pub(crate) struct Wire {
    /// By receive queue of the port.
    pub(crate) to: Vec<SimTx>,
    /// By transmit queue of the port.
    pub(crate) from: Vec<SimRx>,
}

/// What [`engine::run`] is given, and what the test keeps.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) ports: Vec<PortInfo>,
    pub(crate) handles: Vec<SimPort>,
    pub(crate) io: Vec<WorkerIo<SimDevice>>,
    pub(crate) opener: SimOpener,
    pub(crate) wires: Vec<Wire>,
    pub(crate) pool: SimPool,
}

/// Frames that a pipe holds.
pub(crate) const PIPE: usize = 4096;
/// Frames of the pool.
pub(crate) const POOL: usize = 16_384;

/// Our Ethernet address on a port.
pub(crate) fn port_mac(port: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, 1, port as u8])
}

/// A station's Ethernet address.
pub(crate) fn mac(n: u16) -> MacAddr {
    let [high, low] = n.to_be_bytes();
    MacAddr([2, 0, 0, 0xaa, high, low])
}

pub(crate) fn config(text: &str) -> Config {
    let machine = Machine { cores: 64 };
    Config::from_str("test.toml", text, &machine).unwrap_or_else(|errors| {
        let lines: Vec<_> = errors.iter().map(|error| error.one_line().to_string()).collect();
        panic!("{}", lines.join("\n"))
    })
}

/// Two ports, `lan` (10.0.1.1/24) and `wan` (10.0.2.1/24), with `more` to the file.
pub(crate) fn two_ports(cores: &str, more: &str) -> String {
    format!(
        r#"
        [[port]]
        name = "lan"
        device = "net_null0"
        addresses = ["10.0.1.1/24"]
        [[port]]
        name = "wan"
        device = "net_null1"
        addresses = ["10.0.2.1/24"]
        [workers]
        cores = {cores}
        poll = "adaptive"
        {more}
        "#
    )
}

/// A queue a worker for each port, or as many as the file says.
pub(crate) fn parts(config: Config) -> Parts {
    let count = config.workers.cores.len();
    let pool = SimPool::new(POOL, 2048);
    let handles: Vec<SimPort> = config.ports.iter().map(|_| SimPort::default()).collect();
    let mut io: Vec<_> =
        (0..count).map(|_| WorkerIo { rx: vec![], tx: vec![], pool: pool.clone() }).collect();
    let (mut wires, mut ports) = (vec![], vec![]);
    let mut opening = Opening::default();
    for (at, port) in config.ports.iter().enumerate() {
        let queues = |asked: Option<u16>| asked.map_or(count, |n| usize::from(n).min(count));
        let (rx, tx) = (queues(port.rx_queues), queues(port.tx_queues));
        // A file that says nothing of descriptors wants queues that are never full.
        let depth = if port.tx_descriptors == 1024 { PIPE } else { port.tx_descriptors.into() };
        let mut wire = Wire { to: vec![], from: vec![] };
        for (worker, io) in io.iter_mut().enumerate() {
            if worker < rx {
                let (to, queue) = pipe(PIPE);
                wire.to.push(to);
                io.rx.push((PortId(at as u16), queue));
            }
            if worker < tx {
                let (queue, from) = pipe(depth);
                wire.from.push(from);
                io.tx.push(Egress::Queue(Tx::Prompt(queue)));
            } else {
                io.tx.push(Egress::HandOver((worker % tx) as u16));
            }
        }
        wires.push(wire);
        opening.queues.push(((0..rx).collect(), (0..tx).collect()));
        let handle = Box::new(handles[at].clone());
        ports.push(PortInfo { mac: port_mac(at), rx_queues: rx as u16, tx_queues: tx as u16, handle });
    }
    let opener = SimOpener(Arc::new(Mutex::new(opening)));
    Parts { config, ports, handles, io, opener, wires, pool }
}

/// Frames a port sent: when, by which queue, and what.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) port: usize,
    pub(crate) queue: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Sent {
    pub(crate) fn arp(&self) -> Option<Arp> {
        (self.bytes[12..14] == [8, 6]).then(|| Arp::parse(&self.bytes[14..]).unwrap())
    }

    pub(crate) fn ipv4(&self) -> Option<Packet> {
        (self.bytes[12..14] == [8, 0]).then(|| Packet::parse(&self.bytes[14..]).unwrap())
    }

    pub(crate) fn dst_mac(&self) -> MacAddr {
        MacAddr(self.bytes[..6].try_into().unwrap())
    }

    /// Whether it is a request for `ip`.
    pub(crate) fn asks_for(&self, ip: Ipv4Addr) -> bool {
        self.arp().is_some_and(|arp| arp.operation == 1 && arp.target.1 == ip && arp.sender.1 != ip)
    }
}

/// A worker with its programs.
pub(crate) struct Running {
    pub(crate) worker: Worker<SimDevice>,
    programs: Programs<SimFrame>,
}

impl Running {
    pub(crate) fn poll_once(&mut self, now: Instant) -> bool {
        self.worker.poll_once(&mut self.programs, now)
    }

    pub(crate) fn idle_for(&self, now: Instant) -> Option<Duration> {
        self.worker.idle_for(&self.programs, now)
    }
}

impl std::ops::Deref for Running {
    type Target = Worker<SimDevice>;

    fn deref(&self) -> &Worker<SimDevice> {
        &self.worker
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Worker<SimDevice> {
        &mut self.worker
    }
}

/// An engine without threads, in virtual time.
pub(crate) struct Net {
    pub(crate) clock: Clock,
    pub(crate) pool: SimPool,
    pub(crate) control: Control,
    pub(crate) workers: Vec<Running>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) handles: Vec<SimPort>,
    pub(crate) opener: SimOpener,
    /// With the port of each.
    pub(crate) hosts: Vec<(usize, Host)>,
    /// Hosts (by their place above) that do not hear anything for now.
    pub(crate) deaf: BTreeSet<usize>,
    /// Ports at which every address answers to ARP, by [`crowd_mac`].
    pub(crate) crowds: BTreeSet<usize>,
    /// All that was sent, oldest first.
    pub(crate) sent: Vec<Sent>,
    /// How many that was, those that were taken from the record included.
    pub(crate) sent_ever: usize,
    /// What an operator was told.
    pub(crate) log: Vec<String>,
}

impl Net {
    pub(crate) fn new(text: &str) -> Net {
        Net::with_isa(text, Isa::detect())
    }

    pub(crate) fn with_isa(text: &str, isa: Isa) -> Net {
        let config = config(text);
        let workers = config.workers.cores.len();
        let services = Services::load(&config.services, workers, &SimEnv::Virtual(Clock::new())).unwrap();
        let worker = Cell::new(0);
        let mut net = Net::with_apps(text, isa, || services.programs(worker.replace(worker.get() + 1)));
        net.control.watch_http(services.http());
        net
    }

    /// With programs that the configuration does not name; it must name one, or there is room for none.
    pub(crate) fn with_apps(text: &str, isa: Isa, apps: impl Fn() -> Apps<SimDevice>) -> Net {
        Net::try_with_apps(text, isa, apps).unwrap()
    }

    /// As [`with_apps`](Self::with_apps), with programs that may not start.
    pub(crate) fn try_with_apps(
        text: &str,
        isa: Isa,
        apps: impl Fn() -> Apps<SimDevice>,
    ) -> Result<Net, StartError> {
        Net::with_devices(text, isa, apps, |_, queue| Tx::Prompt(queue))
    }

    /// As [`with_apps`](Self::with_apps), with devices that hold what they have sent, and lose some of it.
    pub(crate) fn with_slow_devices(text: &str, apps: impl Fn() -> Apps<SimDevice>, seed: u64) -> Net {
        let mut rng = Rng::new(seed);
        let config = SlowConfig { depth: 1024, longest: Duration::from_secs(1), loss: 0.02 };
        let slow = |clock: &Clock, queue| {
            let rng = Rng::new(rng.next_u64());
            Tx::Slow(SlowTx::new(queue, config.clone(), clock.clone(), rng))
        };
        Net::with_devices(text, Isa::detect(), apps, slow).unwrap()
    }

    fn with_devices(
        text: &str,
        isa: Isa,
        apps: impl Fn() -> Apps<SimDevice>,
        mut device: impl FnMut(&Clock, SimTx) -> Tx,
    ) -> Result<Net, StartError> {
        let Parts { config, ports, handles, mut io, opener, wires, pool } = parts(config(text));
        let clock = Clock::new();
        clock.advance(Duration::from_secs(1));
        for egress in io.iter_mut().flat_map(|io| &mut io.tx) {
            match std::mem::replace(egress, Egress::HandOver(0)) {
                Egress::Queue(Tx::Prompt(queue)) => *egress = Egress::Queue(device(&clock, queue)),
                other => *egress = other,
            }
        }
        let wake = Arc::<Wake>::default();
        let mut control = Control::new(config, ports, None, clock.now(), 7).unwrap();
        let (rss_key, secret) = (RssKey::SYMMETRIC, *b"a secret of ours");
        let common = Common { wake, rss_key, seed: 7, secret, isa, now: clock.now() };
        let Crew { workers, infos, queues } = crew::<SimDevice>(&control, io, &common);
        let start = |mut worker: Worker<SimDevice>| {
            let programs = worker.start(apps(), clock.now())?;
            Ok(Running { worker, programs })
        };
        let workers = workers.into_iter().map(start).collect::<Result<_, _>>()?;
        control.attach(clock.now(), infos, queues, Box::new(opener.clone()));
        Ok(Net {
            clock,
            pool,
            control,
            workers,
            wires,
            handles,
            opener,
            hosts: vec![],
            deaf: BTreeSet::new(),
            crowds: BTreeSet::new(),
            sent: vec![],
            sent_ever: 0,
            log: vec![],
        })
    }

    /// Puts a host on a port; gives its place.
    pub(crate) fn add_host(&mut self, port: usize, host: Host) -> usize {
        self.hosts.push((port, host));
        self.hosts.len() - 1
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(crate) fn inject(&mut self, port: usize, queue: usize, bytes: &[u8]) {
        let frame = self.pool.frame_from(bytes).expect("the pool has frames");
        self.wires[port].to[queue].push(frame).expect("the pipe has room");
    }

    /// One loop of each worker, then the control plane, then the far ends. Gives whether anything moved.
    pub(crate) fn step(&mut self) -> bool {
        let now = self.now();
        let mut moved = false;
        for worker in &mut self.workers {
            moved |= worker.poll_once(now);
        }
        self.control.poll(now);
        self.log.extend(self.control.take_log());
        self.hear() | moved
    }

    /// Lets the far ends take what was sent, and hosts answer.
    pub(crate) fn hear(&mut self) -> bool {
        let now = self.now();
        let mut answers = vec![];
        let mut moved = false;
        for (port, wire) in self.wires.iter_mut().enumerate() {
            for (queue, from) in wire.from.iter_mut().enumerate() {
                while let Some(frame) = from.pop() {
                    moved = true;
                    let bytes = frame.to_vec();
                    for (place, (at, host)) in self.hosts.iter_mut().enumerate() {
                        if *at == port && !self.deaf.contains(&place) {
                            answers.extend(host.handle(now, &bytes).into_iter().map(|answer| (port, answer)));
                        }
                    }
                    let sent = Sent { at: now, port, queue, bytes };
                    if self.crowds.contains(&port) {
                        answers.extend(crowd_answer(&sent).map(|answer| (port, answer)));
                    }
                    self.sent.push(sent);
                    self.sent_ever += 1;
                }
            }
        }
        for (place, (port, host)) in self.hosts.iter_mut().enumerate() {
            if !self.deaf.contains(&place) {
                answers.extend(host.poll(now).into_iter().map(|frame| (*port, frame)));
            }
        }
        for (port, bytes) in answers {
            self.inject(port, 0, &bytes);
        }
        moved
    }

    /// Until nothing moves any more, without time passing.
    pub(crate) fn settle(&mut self) {
        let mut still = 0;
        for _ in 0..100_000 {
            still = if self.step() { 0 } else { still + 1 };
            if still > 2 {
                return;
            }
        }
        panic!("the network does not come to rest");
    }

    /// Lets time pass, a timeout at a time.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now() + duration;
        self.settle();
        while self.now() < end {
            let tick = self.now() + Duration::from_millis(100);
            let hosts = self.hosts.iter().filter_map(|(_, host)| host.next_deadline());
            let workers = self.workers.iter().filter_map(|worker| worker.idle_for(self.now()));
            let workers = workers.map(|idle| self.now() + idle);
            let due = hosts
                .chain(self.control.next_deadline())
                .chain(workers)
                .filter(|due| *due > self.now())
                .min();
            self.clock.advance_to(due.map_or(tick, |due| due.min(tick)).min(end));
            self.settle();
        }
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// Takes the record of what was sent.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// A host's packet on its way, ARP first where need be.
    pub(crate) fn host_udp(&mut self, place: usize, dst: Ipv4Addr, ports: (u16, u16), data: &[u8]) {
        let now = self.now();
        let (port, host) = &mut self.hosts[place];
        let port = *port;
        for frame in host.send_udp(now, dst, ports.0, ports.1, data) {
            self.inject(port, 0, &frame);
        }
    }

    pub(crate) fn host_ping(&mut self, place: usize, dst: Ipv4Addr, seq: u16, data: &[u8]) {
        let now = self.now();
        let (port, host) = &mut self.hosts[place];
        let port = *port;
        for frame in host.send_ping(now, dst, 1, seq, data) {
            self.inject(port, 0, &frame);
        }
    }

    pub(crate) fn drops(&self, reason: DropReason) -> u64 {
        self.workers.iter().map(|worker| worker.counters().drops(reason)).sum()
    }

    pub(crate) fn events_lost(&self) -> u64 {
        self.workers.iter().map(|worker| worker.counters().events_lost.get()).sum()
    }

    pub(crate) fn books(&self) -> Books {
        self.control.books()
    }

    pub(crate) fn neighbours(&self) -> Vec<NeighbourReport> {
        match self.control.handle_request(self.now(), &Request::Neighbours) {
            Some(Reply::Neighbours(list)) => list,
            other => panic!("{other:?}"),
        }
    }

    /// The state of a neighbour's entry.
    pub(crate) fn state_of(&self, ip: Ipv4Addr) -> Option<String> {
        self.neighbours().into_iter().find(|n| n.address == ip.to_string()).map(|n| n.state)
    }

    /// The route that `ip` takes.
    pub(crate) fn route_to(&self, ip: Ipv4Addr) -> Option<Route> {
        match self.control.handle_request(self.now(), &Request::Routes { address: Some(ip), limit: 1 }) {
            Some(Reply::Routes(report)) => report.routes.into_iter().next(),
            other => panic!("{other:?}"),
        }
    }

    /// At rest: the books of each worker and of all together balance.
    pub(crate) fn assert_balanced(&self) {
        for (at, worker) in self.workers.iter().enumerate() {
            let books = worker.counters().books();
            assert!(books.balance(), "worker {at}: {books}");
        }
        let books = self.books();
        assert_eq!(books.handed_in, books.handed_out, "{books}");
    }

    /// At the end: the books balance, and no frame is lost.
    pub(crate) fn finish(mut self) {
        self.settle();
        self.assert_balanced();
        let Net { pool, workers, wires, control, .. } = self;
        drop((workers, wires, control));
        assert!(pool.is_full(), "frames were lost");
    }
}

/// Who answers for an address where a crowd is.
pub(crate) fn crowd_mac(ip: Ipv4Addr) -> MacAddr {
    let [_, b, c, d] = ip.octets();
    MacAddr([2, 0, 0xcc, b, c, d])
}

fn crowd_answer(sent: &Sent) -> Option<Vec<u8>> {
    let arp = sent.arp().filter(|arp| arp.operation == 1 && arp.sender.1 != arp.target.1)?;
    let (to, to_ip) = arp.sender;
    Some(builder::arp_reply(crowd_mac(arp.target.1), arp.target.1, to, to_ip))
}

/// A UDP frame to a port of ours, from a station that may not be there.
pub(crate) fn udp_frame(port: usize, src: [u8; 4], dst: [u8; 4], ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let flow = Flow {
        src_mac: mac(999),
        dst_mac: port_mac(port),
        src: src.into(),
        dst: dst.into(),
        src_port: ports.0,
        dst_port: ports.1,
    };
    builder::padded(flow.udp(data))
}

/// A host with our address on its network as its gateway.
pub(crate) fn host(n: u16, ip: [u8; 4]) -> Host {
    let gateway = Ipv4Addr::new(ip[0], ip[1], ip[2], 1);
    Host::new(mac(n), ip.into(), 24, Some(gateway))
}

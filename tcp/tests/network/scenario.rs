//! What a seed stands for: hosts, links, connections, and what disturbs them.

use std::time::Duration;

use sim::{LinkConfig, Rng};
use tcp::config::{Config, Ecn, Keepalive};
use tcp::congestion::Algorithm;
use wire::Instant;

use crate::app::{Ending, Plan, Turn};
use crate::bytes::Stream;

/// The port that every host listens on.
pub(crate) const PORT: u16 = 80;

/// A host and its way onto the network.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    pub(crate) config: Config,
    pub(crate) link: LinkConfig,
    /// Packets that it can send in one go.
    pub(crate) frames: usize,
    pub(crate) backlog: u32,
    /// The largest packet that its path carries, and whether the router before that says so.
    pub(crate) path_mtu: Option<(u16, bool)>,
}

/// A connection to be.
#[derive(Clone, Debug)]
pub(crate) struct FlowPlan {
    pub(crate) client: usize,
    pub(crate) server: usize,
    pub(crate) start: Duration,
    /// Starts only so long after this flow, which comes before, has ended at its client.
    pub(crate) after: Option<usize>,
    /// The client's port; 0: any.
    pub(crate) port: u16,
    /// Both ends connect to each other at once.
    pub(crate) crossed: bool,
    /// What the client and the server do.
    pub(crate) plans: [Plan; 2],
}

/// What happens to the network beside the links' own faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disturbance {
    /// The host's link loses all.
    Blackout(usize, Duration),
    /// The host has no frames to send with.
    NoFrames(usize, Duration),
    /// The host is gone for good.
    Vanish(usize),
    /// So many SYNs of hosts that do not exist, one each so long.
    Flood(usize, u32, Duration),
    /// So many forged segments, one each so long.
    Forge(u32, Duration),
}

/// All that is to happen in a world.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) start: Instant,
    pub(crate) hosts: Vec<HostPlan>,
    pub(crate) flows: Vec<FlowPlan>,
    pub(crate) disturbances: Vec<(Duration, Disturbance)>,
    /// Probability that a packet that can carry one gets a congestion mark.
    pub(crate) marks: f64,
    /// Some hosts have too little room for what is asked of them.
    pub(crate) scarce: bool,
}

/// A generator with the choices that scenarios are made of.
struct Dice(Rng);

impl Dice {
    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.0.index(from.len())].clone()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.0.range(0..n) == 0
    }

    /// Evenly spread on a logarithmic scale: small numbers are as likely as large ones.
    fn size(&mut self, least: u64, most: u64) -> u64 {
        let (low, high) = ((least as f64).ln(), (most as f64 + 1.0).ln());
        let unit = self.0.range(0..1 << 32) as f64 / (1u64 << 32) as f64;
        ((low + (high - low) * unit).exp() as u64).clamp(least, most)
    }

    fn micros(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.size(least, most))
    }

    fn share(&mut self, most: f64) -> f64 {
        most * self.0.range(0..1001) as f64 / 1000.0
    }
}

impl Scenario {
    /// The scenario of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let mut dice = Dice(rng.fork("world"));
        let more = dice.pick(&[1, 1, 3, 7]);
        let count = 2 + dice.0.index(more);
        let scarce = dice.one_in(6);
        let mut host_dice = Dice(rng.fork("hosts"));
        let hosts: Vec<_> = (0..count).map(|_| host_dice.host(scarce)).collect();
        let mut flow_dice = Dice(rng.fork("flows"));
        let mut flows = Vec::new();
        for _ in 0..1 + dice.0.index(4) {
            flow_dice.flows(&hosts, &mut flows);
        }
        let mut scenario = Scenario {
            start: dice.start(),
            hosts,
            flows,
            disturbances: Vec::new(),
            marks: if dice.one_in(3) { dice.share(0.1) } else { 0.0 },
            scarce,
        };
        Dice(rng.fork("disturbances")).disturb(&mut scenario);
        scenario
    }

    /// Whether a host vanishes.
    pub(crate) fn vanishes(&self, host: usize) -> bool {
        self.disturbances.iter().any(|(_, what)| *what == Disturbance::Vanish(host))
    }

    /// Whether somebody floods a host with SYNs.
    pub(crate) fn is_flooded(&self, host: usize) -> bool {
        self.disturbances.iter().any(|(_, what)| matches!(what, Disturbance::Flood(at, ..) if *at == host))
    }

    /// How long the network was disturbed in all.
    pub(crate) fn disturbed(&self) -> Duration {
        let len = |what: &Disturbance| match what {
            Disturbance::Blackout(_, len) | Disturbance::NoFrames(_, len) => *len,
            _ => Duration::ZERO,
        };
        self.disturbances.iter().map(|(_, what)| len(what)).sum()
    }
}

impl Dice {
    /// Mostly soon after the clock's origin; now and then just before one of the clocks wraps.
    fn start(&mut self) -> Instant {
        let wrap = match self.0.range(0..8) {
            0 => (1 << 32) * 1000,
            1 => 1 << 48,
            2 => (1 << 32) * 1_000_000,
            _ => return Instant::from_millis(1 + self.0.range(0..1000)),
        };
        Instant::from_nanos(wrap - self.0.range(0..5_000_000_000))
    }

    fn host(&mut self, scarce: bool) -> HostPlan {
        let mut config = self.config();
        if scarce && self.one_in(2) {
            self.starve(&mut config);
        }
        let frames = if self.one_in(8) { 1 + self.0.index(8) } else { usize::MAX };
        let backlog = if scarce { 1 + self.0.index(4) } else { 64 };
        let tells = self.one_in(2);
        let path_mtu = self.one_in(10).then(|| (self.pick(&[1400, 1280, 576]), tells));
        HostPlan { config, link: self.link(), frames, backlog: backlog as u32, path_mtu }
    }

    fn config(&mut self) -> Config {
        let receive_buffer = self.size(2 << 10, 256 << 10) as u32;
        let mut secret = [0; 16];
        self.0.fill(&mut secret);
        Config {
            connections: 128,
            half_open: 64,
            time_wait: 128,
            chunks: 4096,
            flights: 4096,
            memory: 16 << 20,
            mtu: self.pick(&[1500, 1500, 1500, 9000, 1280, 576, 296, 128]),
            receive_buffer,
            receive_buffer_max: receive_buffer * self.pick(&[1, 4, 16]),
            send_buffer: self.size(2 << 10, 512 << 10) as u32,
            timestamps: !self.one_in(5),
            window_scale: !self.one_in(5),
            sack: !self.one_in(5),
            ecn: self.pick(&[Ecn::Off, Ecn::Accept, Ecn::Request]),
            congestion: self.pick(&[Algorithm::Cubic, Algorithm::NewReno]),
            pacing: self.one_in(3),
            delayed_ack: Duration::from_millis(self.pick(&[1, 40, 200])),
            min_rto: Duration::from_millis(self.pick(&[200, 200, 1000])),
            give_up: Duration::from_secs(60 + self.0.range(0..120)),
            keepalive: Keepalive {
                idle: Duration::from_secs(20 + self.0.range(0..40)),
                interval: Duration::from_secs(10),
                probes: 6,
            },
            time_wait_len: Duration::from_secs(5 + self.0.range(0..55)),
            secret,
            ..Config::default()
        }
    }

    /// Takes most of the room away, here or there.
    fn starve(&mut self, config: &mut Config) {
        config.connections = self.size(2, 16) as u32;
        config.half_open = self.size(1, 8) as u32;
        config.time_wait = self.size(1, 8) as u32;
        if self.one_in(2) {
            config.chunks = self.size(8, 128) as u32;
        }
        if self.one_in(2) {
            config.flights = self.size(8, 128) as u32;
        }
        if self.one_in(2) {
            config.memory = self.size(1 << 10, 256 << 10);
        }
    }

    fn link(&mut self) -> LinkConfig {
        let delay = self.micros(50, 150_000);
        let rate = self.one_in(2).then(|| self.size(1_000_000, 1_000_000_000));
        let worst = self.pick(&[0.0, 0.0, 0.01, 0.05, 0.1]);
        // The queue holds half a second at most.
        let queue = rate.map_or(1000, |rate| (rate / 24_000).clamp(5, 200) as usize);
        LinkConfig {
            rate,
            delay,
            jitter: delay.mul_f64(self.share(0.3)),
            loss: self.share(worst),
            loss_run: if self.one_in(4) { self.share(0.6) } else { 0.0 },
            duplication: if self.one_in(3) { self.share(0.05) } else { 0.0 },
            reordering: if self.one_in(3) { self.share(0.1) } else { 0.0 },
            reorder_delay: self.micros(10, 100_000),
            corruption: if self.one_in(3) { self.share(0.02) } else { 0.0 },
            queue_limit: queue,
        }
    }

    /// One connection, or a few that belong together.
    fn flows(&mut self, hosts: &[HostPlan], flows: &mut Vec<FlowPlan>) {
        let client = self.0.index(hosts.len());
        let server = (client + 1 + self.0.index(hosts.len() - 1)) % hosts.len();
        let start = self.micros(1, 2_000_000);
        // Small segments cost as much as large ones: less of them.
        let mtu = hosts[client].config.mtu.min(hosts[server].config.mtu);
        let most = u64::from(mtu) * self.pick(&[20, 100, 500]);
        let first = flows.len();
        let short = self.one_in(5);
        let count = if short { 2 + self.0.index(10) } else { 1 };
        let port = if self.one_in(2) { 0 } else { 2000 + 10 * first as u16 };
        let crossed = !short && self.one_in(8);
        for i in 0..count {
            let chained = port != 0 || self.one_in(2);
            let plans = if short { self.plans(2000) } else { self.plans(most) };
            let after = (i > 0 && chained).then(|| flows.len() - 1);
            let port = if crossed { 3000 + first as u16 } else { port };
            flows.push(FlowPlan { client, server, start, after, port, crossed, plans });
        }
    }

    fn plans(&mut self, most: u64) -> [Plan; 2] {
        let sizes = [self.size(1, most), self.size(1, most)];
        let one = |upto| vec![Turn { after: 0, upto }];
        let (mut client, mut server) = (self.plan(), self.plan());
        match self.0.range(0..8) {
            0 => client.turns = one(sizes[0]),
            1 => server.turns = one(sizes[1]),
            2 => (client.turns, server.turns) = (one(sizes[0]), one(sizes[1])),
            3 => (client.turns, server.turns) = self.ping_pong(most),
            4 => {
                client.turns = one(sizes[0]);
                server.echo = true;
                server.stream = client.stream;
            }
            5 => {
                // Half close: the answer begins when the question is over.
                client.turns = one(sizes[0]);
                server.turns = vec![Turn { after: sizes[0], upto: sizes[1] }];
                server.ending = Ending::ShutdownAfterPeer;
            }
            6 => {
                (client.turns, server.turns) = (one(sizes[0]), one(sizes[1]));
                let after = Ending::Abort(self.0.range(0..sizes[0]));
                let who = if self.one_in(2) { &mut client } else { &mut server };
                who.ending = after;
            }
            // Both close at once, and have said nothing.
            _ => {}
        }
        if server.echo || server.ending == Ending::ShutdownAfterPeer {
            // One of them has to begin.
            client.ending = Ending::Shutdown;
        }
        client.peer_stream = server.stream;
        server.peer_stream = client.stream;
        server.peer_total = client.total();
        client.peer_total = server.total();
        [client, server]
    }

    fn ping_pong(&mut self, most: u64) -> (Vec<Turn>, Vec<Turn>) {
        let rounds = self.size(2, 40);
        let (ask, answer) = (self.size(1, most / rounds + 1), self.size(1, most / rounds + 1));
        let client = (0..rounds).map(|i| Turn { after: i * answer, upto: (i + 1) * ask });
        let server = (1..=rounds).map(|i| Turn { after: i * ask, upto: i * answer });
        (client.collect(), server.collect())
    }

    fn plan(&mut self) -> Plan {
        let stalls = if self.one_in(4) { self.size(1, 3) } else { 0 };
        let mut stalls: Vec<_> =
            (0..stalls).map(|_| (self.size(1, 50_000), self.micros(1000, 8_000_000))).collect();
        stalls.sort_unstable();
        let stream = Stream(self.0.next_u64());
        Plan {
            stream,
            turns: Vec::new(),
            piece: self.size(1, 64 << 10).max(16) as usize,
            echo: false,
            peer_stream: stream,
            peer_total: 0,
            stalls,
            hold: self.one_in(6).then(|| self.micros(100, 50_000)),
            ending: self.pick(&[Ending::Shutdown, Ending::Shutdown, Ending::ShutdownAfterPeer]),
            leaves_early: self.one_in(2),
            eager: self.one_in(3),
            nodelay: self.one_in(2),
            user_timeout: self.one_in(8).then(|| Duration::from_secs(60 + self.0.range(0..60))),
        }
    }

    fn disturb(&mut self, scenario: &mut Scenario) {
        let hosts = scenario.hosts.len();
        let mut add = |dice: &mut Dice, what| {
            scenario.disturbances.push((dice.micros(1, 4_000_000), what));
        };
        if self.one_in(8) {
            let what = Disturbance::Blackout(self.0.index(hosts), self.micros(1000, 20_000_000));
            add(self, what);
        }
        if self.one_in(8) {
            let what = Disturbance::NoFrames(self.0.index(hosts), self.micros(1000, 5_000_000));
            add(self, what);
        }
        if self.one_in(24) {
            let what = Disturbance::Vanish(self.0.index(hosts));
            add(self, what);
        }
        if self.one_in(16) {
            let gap = self.micros(100, 10_000);
            let what = Disturbance::Flood(self.0.index(hosts), self.size(10, 1000) as u32, gap);
            add(self, what);
        }
        if self.one_in(6) {
            let what = Disturbance::Forge(self.size(10, 500) as u32, self.micros(100, 50_000));
            add(self, what);
        }
    }
}

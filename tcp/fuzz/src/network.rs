//! Two hosts and a network that the fuzzer runs: it loses, repeats, delays, marks and spoils packets, until
//! its bytes are used up. From then on it is a good network, and all must be done in bounded time.

use std::time::Duration;

use wire::Instant;

use crate::Source;
use crate::host::{App, Host, Ours};
use crate::smoltcp_host::Smoltcp;

/// The one-way delay of the good network.
const DELAY: Duration = Duration::from_millis(5);
/// Virtual time in which all must be done once the network is good. Timeouts may have doubled for long.
const PATIENCE: Duration = Duration::from_secs(400);
/// Packets that may be lost in all: no side may give up.
const MOST_LOSSES: u32 = 10;
/// Packets of one host that may be lost in a row. With more, a round trip of the handshake may seem so long
/// that the client waits longer for an answer to its data than the server for the end of the handshake.
const MOST_IN_A_ROW: u32 = 2;

/// A packet under way.
struct Packet {
    at: Instant,
    /// To keep the order of those that arrive together.
    number: u64,
    to: usize,
    bytes: Vec<u8>,
    ce: bool,
}

struct Network<'a> {
    source: Source<'a>,
    now: Instant,
    hosts: [Box<dyn Host>; 2],
    packets: Vec<Packet>,
    count: u64,
    losses: u32,
    /// Losses in a row of packets of each host.
    row: [u32; 2],
    last_decision: Instant,
}

/// Our stack at both ends.
pub fn pair(input: &[u8]) {
    let mut source = Source::new(input);
    let now = Instant::from_millis(1);
    let client = App::new(&mut source, 1, 2);
    let server = App::new(&mut source, 2, 1);
    let server = Box::new(Ours::new(&mut source, false, server, now));
    let client = Box::new(Ours::new(&mut source, true, client, now));
    Network::new(source, now, [client, server]).run();
}

/// Our stack at one end, smoltcp at the other.
pub fn against_smoltcp(input: &[u8]) {
    let mut source = Source::new(input);
    let now = Instant::from_millis(1);
    let ours_connects = source.bit();
    let client = App::new(&mut source, 1, 2);
    let server = App::new(&mut source, 2, 1);
    let hosts: [Box<dyn Host>; 2] = if ours_connects {
        let server = Box::new(Smoltcp::new(&mut source, false, server, now));
        [Box::new(Ours::new(&mut source, true, client, now)), server]
    } else {
        let server = Box::new(Ours::new(&mut source, false, server, now));
        [Box::new(Smoltcp::new(&mut source, true, client, now)), server]
    };
    Network::new(source, now, hosts).run();
}

impl<'a> Network<'a> {
    fn new(source: Source<'a>, now: Instant, hosts: [Box<dyn Host>; 2]) -> Self {
        let (packets, row) = (Vec::new(), [0; 2]);
        Network { source, now, hosts, packets, count: 0, losses: 0, row, last_decision: now }
    }

    fn run(&mut self) {
        for _ in 0..1_000_000 {
            self.run_hosts();
            let arrivals = self.packets.iter().map(|packet| packet.at);
            let deadlines = self.hosts.iter().filter_map(|host| host.deadline());
            let Some(next) = arrivals.chain(deadlines).min() else { break };
            self.now = self.now.max(next);
            let waited = self.now.since(self.last_decision);
            if waited >= PATIENCE && self.hosts.iter().any(|host| host.is_excused()) {
                return;
            }
            assert!(waited < PATIENCE, "stuck: {:?} {:?}", self.hosts[0].app(), self.hosts[1].app());
            self.deliver();
        }
        self.check();
    }

    /// All arrived, both ends know, and nothing is left.
    fn check(&mut self) {
        if self.hosts.iter().any(|host| host.is_excused()) {
            return;
        }
        let [client, server] = [0, 1].map(|at| self.hosts[at].app());
        assert!(client.is_done() && server.is_done(), "{client:?} {server:?}");
        // The last ACK may be lost until TIME-WAIT is over: the FIN is then answered by a reset, and that is
        // told. Before both have closed nothing may fail.
        assert!([&client, &server].iter().all(|app| app.closed && app.ended), "{client:?} {server:?}");
        assert_eq!((client.received, server.received), (server.total, client.total));
        self.hosts.iter().for_each(|host| host.assert_empty());
    }

    fn run_hosts(&mut self) {
        for from in 0..2 {
            let mut out = Vec::new();
            self.hosts[from].run(self.now, &mut out);
            for bytes in out {
                self.decide(from, bytes);
            }
        }
    }

    /// What becomes of a packet.
    fn decide(&mut self, from: usize, bytes: Vec<u8>) {
        let to = 1 - from;
        if !self.source.is_empty() {
            self.last_decision = self.now;
        }
        match self.source.byte() {
            200..=219 if self.losses < MOST_LOSSES && self.row[from] < MOST_IN_A_ROW => {
                self.losses += 1;
                self.row[from] += 1;
                return;
            }
            220..=224 => {
                let extra = Duration::from_micros(u64::from(self.source.byte()) * 500);
                self.push(to, bytes.clone(), DELAY + extra, false);
                self.push(to, bytes, DELAY, false);
            }
            225..=239 => {
                let extra = Duration::from_micros(u64::from(self.source.byte()) * 1000);
                self.push(to, bytes, DELAY + extra, false);
            }
            240..=246 => {
                let ce = bytes[1] & 3 != 0;
                self.push(to, bytes, DELAY, ce);
            }
            247..=250 if self.losses < MOST_LOSSES && self.row[from] < MOST_IN_A_ROW => {
                self.losses += 1;
                self.row[from] += 1;
                let mut bad = bytes;
                let at = self.source.u16() as usize % bad.len();
                bad[at] ^= 1 << (self.source.byte() % 8);
                return self.push(to, bad, DELAY, false);
            }
            _ => self.push(to, bytes, DELAY, false),
        }
        self.row[from] = 0;
    }

    fn push(&mut self, to: usize, bytes: Vec<u8>, delay: Duration, ce: bool) {
        self.count += 1;
        self.packets.push(Packet { at: self.now + delay, number: self.count, to, bytes, ce });
    }

    fn deliver(&mut self) {
        let now = self.now;
        let mut due: Vec<_> = self.packets.extract_if(.., |packet| packet.at <= now).collect();
        due.sort_by_key(|packet| (packet.at, packet.number));
        for packet in due {
            self.hosts[packet.to].take(now, &packet.bytes, packet.ce);
        }
    }
}

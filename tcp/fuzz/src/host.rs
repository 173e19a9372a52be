//! A host with one application, as the network sees it; and our stack as such a host.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tcp::config::{Config, Ecn};
use tcp::connection::State;
use tcp::packet::{NoFrame, Output, Packet};
use tcp::ports::SourcePorts;
use tcp::shard::{ConnectionId, ListenerId, Received, Shard};
use tcp::{Checksum, Tick};
use wire::{Instant, Ipv4View, Payload, Reta, RssKey};

use crate::{Bytes, Source};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const PORT: u16 = 80;

/// A host: packets and time go in, packets come out.
pub(crate) trait Host {
    /// Takes a packet; `ce` if it carries a congestion mark.
    fn take(&mut self, now: Instant, packet: &[u8], ce: bool);
    /// Serves timers and the application, and gives what is sent.
    fn run(&mut self, now: Instant, out: &mut Vec<Vec<u8>>);
    /// When to run at the latest.
    fn deadline(&self) -> Option<Instant>;
    fn app(&self) -> &App;
    /// Whether it is known to be stuck, for a fault of its own.
    fn is_excused(&self) -> bool {
        false
    }
    /// Both applications are done, and no timer runs: nothing is left.
    fn assert_empty(&self);
}

/// What an application does: sends so many bytes, reads what comes, and closes.
#[derive(Debug)]
pub(crate) struct App {
    /// Bytes to send, of which the seed decides.
    pub(crate) total: u32,
    pub(crate) seed: u8,
    pub(crate) sent: u32,
    pub(crate) received: u32,
    /// The peer has closed.
    pub(crate) ended: bool,
    pub(crate) closed: bool,
    /// The connection was lost.
    pub(crate) failed: bool,
    /// Bytes of one write at most.
    write: u32,
    /// How often it reads: every so many runs.
    patience: u8,
    runs: u8,
    /// The seed of the peer.
    pub(crate) peer_seed: u8,
}

impl App {
    pub(crate) fn new(source: &mut Source<'_>, seed: u8, peer_seed: u8) -> Self {
        let total = match source.byte() % 4 {
            0 => u32::from(source.byte()),
            1 => u32::from(source.u16()) / 8,
            2 => 0,
            _ => u32::from(source.u16()),
        };
        App {
            total,
            seed,
            sent: 0,
            received: 0,
            ended: false,
            closed: false,
            failed: false,
            write: 1 + source.number() % 30_000,
            patience: 1 + source.byte() % 16,
            runs: 0,
            peer_seed,
        }
    }

    pub(crate) fn next_write(&self) -> Vec<u8> {
        let len = self.write.min(self.total - self.sent);
        (self.sent..self.sent + len).map(|at| byte(self.seed, at)).collect()
    }

    pub(crate) fn on_read(&mut self, bytes: &[u8]) {
        for got in bytes {
            assert_eq!(*got, byte(self.peer_seed, self.received), "byte {}", self.received);
            self.received += 1;
        }
    }

    pub(crate) fn reads_now(&mut self) -> bool {
        self.runs = self.runs.wrapping_add(1);
        self.runs.is_multiple_of(self.patience)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.failed || (self.closed && self.ended)
    }
}

fn byte(seed: u8, at: u32) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 23) as u8 ^ seed
}

/// Our stack.
pub(crate) struct Ours {
    shard: Shard<Bytes>,
    listener: Option<ListenerId>,
    id: Option<ConnectionId>,
    app: App,
    /// It reads again at this time, whatever happens.
    next_read: Instant,
}

/// What was sent, as bytes.
struct Sent<'a>(&'a mut Vec<Vec<u8>>);

impl Output<Bytes> for Sent<'_> {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        self.0.push(bytes);
        Ok(())
    }
}

impl Ours {
    pub(crate) fn new(source: &mut Source<'_>, is_client: bool, app: App, now: Instant) -> Self {
        let setup = source.byte();
        let on = |bit: u8| setup >> bit & 1 == 0;
        let address = if is_client { CLIENT } else { SERVER };
        let config = Config {
            connections: 2,
            half_open: 2,
            time_wait: 2,
            chunks: if on(0) { 1024 } else { 64 },
            flights: if on(1) { 1024 } else { 16 },
            receive_buffer: if on(2) { 64 << 10 } else { 5000 },
            receive_buffer_max: if on(2) { 1 << 20 } else { 5000 },
            send_buffer: if on(3) { 1 << 20 } else { 5000 },
            timestamps: on(4),
            window_scale: on(5),
            sack: on(6),
            ecn: if on(7) { Ecn::Request } else { Ecn::Off },
            secret: [address.octets()[3]; 16],
            ..Config::default()
        };
        let reta = Reta::round_robin(128, 1);
        let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, [1; 16]);
        let mut shard = Shard::new(config, ports, now);
        let server = SocketAddrV4::new(SERVER, PORT);
        let (mut id, mut listener) = (None, None);
        if is_client {
            id = shard.connect(now, SocketAddrV4::new(CLIENT, 0), server).ok();
        } else {
            listener = shard.listen(server, 2).ok();
        }
        Ours { shard, listener, id, app, next_read: now }
    }

    fn run_app(&mut self, now: Instant) {
        if let Some(listener) = self.listener.filter(|_| self.id.is_none()) {
            self.id = self.shard.accept(listener);
        }
        let Some(id) = self.id else { return };
        let reads_now = self.app.reads_now() || self.next_read <= now;
        if reads_now {
            self.next_read = now + READ_EVERY;
        }
        // To close now would be to cancel.
        if self.shard.info(id).is_some_and(|info| info.state == State::SynSent) {
            return;
        }
        if reads_now {
            loop {
                match self.shard.receive(now, id) {
                    Received::Bytes(bytes) => {
                        self.app.on_read(bytes.as_slice());
                        self.shard.credit(now, id, 1, bytes.len() as u32);
                    }
                    Received::Nothing => break,
                    Received::End => {
                        self.app.ended = true;
                        break;
                    }
                    Received::Closed(error) => {
                        self.app.failed |= error.is_some();
                        break;
                    }
                }
            }
        }
        while self.app.sent < self.app.total {
            let bytes = self.app.next_write();
            if self.shard.send(now, id, Bytes::new(&bytes)).is_err() {
                break;
            }
            self.app.sent += bytes.len() as u32;
        }
        if self.app.sent == self.app.total && !self.app.closed {
            self.shard.shutdown(now, id);
            self.app.closed = true;
        }
        if self.app.is_done() {
            self.shard.close(now, id);
        }
    }
}

const READ_EVERY: Duration = Duration::from_millis(50);

impl Host for Ours {
    fn take(&mut self, now: Instant, packet: &[u8], ce: bool) {
        let Ok(ip) = Ipv4View::parse(packet, packet.len()) else { return };
        if !ip.checksum_ok() {
            return;
        }
        let addresses = (ip.header.src(), ip.header.dst());
        let bytes = Bytes::new(ip.payload);
        let _ = self.shard.handle_packet(now, addresses, bytes, Checksum::Verify, ce);
    }

    fn run(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        self.shard.handle_timeout(now);
        self.run_app(now);
        while self.shard.poll_event(now).is_some() {}
        self.shard.poll_transmit(now, &mut Sent(out));
    }

    fn deadline(&self) -> Option<Instant> {
        let at = |tick: Tick| Instant::from_nanos(u64::from(tick.get()) << 16);
        let timer = self.shard.next_deadline().map(at);
        let read = (self.id.is_some() && !self.app.is_done()).then_some(self.next_read);
        timer.into_iter().chain(read).min()
    }

    fn app(&self) -> &App {
        &self.app
    }

    fn assert_empty(&self) {
        assert_eq!((self.shard.population(), self.shard.held()), ((0, 0, 0), (0, 0, 0)));
    }
}

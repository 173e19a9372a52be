//! Two shards and a wire between them, in virtual time.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use wire::{Instant, Ipv4View, Reta, RssKey, TcpFlags};

use super::{ConnectionId, ListenerId, Received, SendError, Shard, ShardEvent};
use crate::Checksum;
use crate::config::Config;
use crate::connection::{Error, News, State};
use crate::content::{Content, Produce, Pulled};
use crate::packet::{NoFrame, Output, Packet};
use crate::ports::SourcePorts;
use sim::Bytes;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PORT: u16 = 80;
const DELAY: Duration = Duration::from_millis(10);

/// What a shard sends, as bytes.
#[derive(Default)]
struct Sent(Vec<Vec<u8>>);

impl Output<Bytes> for Sent {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        self.0.push(bytes);
        Ok(())
    }
}

fn shard(address: Ipv4Addr, config: Config) -> Shard<Bytes> {
    let secret = [address.octets()[3]; 16];
    let reta = Reta::round_robin(128, 1);
    let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, secret);
    Shard::new(Config { secret, ..config }, ports, Instant::from_millis(1))
}

/// A network of two.
struct Net {
    now: Instant,
    hosts: [Shard<Bytes>; 2],
    /// Packets under way: when they arrive, at whom, and what they are.
    wire: VecDeque<(Instant, usize, Vec<u8>)>,
    /// Which packets are lost, counted from 0, by sender.
    lose: [Vec<usize>; 2],
    count: [usize; 2],
    /// Every segment sent: by whom, flags, bytes of data.
    log: Vec<(usize, TcpFlags, usize)>,
}

impl Net {
    fn new(config: Config) -> Self {
        Net {
            now: Instant::from_millis(1),
            hosts: [shard(CLIENT, config.clone()), shard(SERVER, config)],
            wire: VecDeque::new(),
            lose: Default::default(),
            count: [0; 2],
            log: Vec::new(),
        }
    }

    fn flush(&mut self) {
        for at in 0..2 {
            let mut sent = Sent::default();
            self.hosts[at].poll_transmit(self.now, &mut sent);
            for packet in sent.0 {
                let header = Ipv4View::parse(&packet, packet.len()).unwrap();
                assert!(header.checksum_ok());
                let tcp = wire::TcpView::parse(header.payload).unwrap();
                self.log.push((at, tcp.header.flags, tcp.payload.len()));
                if !self.lose[at].contains(&self.count[at]) {
                    self.wire.push_back((self.now + DELAY, 1 - at, packet));
                }
                self.count[at] += 1;
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((_, to, packet)) = self.wire.pop_front_if(|(at, _, _)| *at <= self.now) {
            let header = *Ipv4View::parse(&packet, packet.len()).unwrap().header;
            let mut bytes = Bytes::new(&packet);
            wire::Payload::advance(&mut bytes, 20);
            let addresses = (header.src(), header.dst());
            let ce = header.ecn() == 3;
            let _ = self.hosts[to].handle_packet(self.now, addresses, bytes, Checksum::Verify, ce);
        }
    }

    /// Lets time pass up to `until`, or until nothing is to come.
    fn run(&mut self, until: Duration) {
        let end = self.now + until;
        self.flush();
        loop {
            let arrival = self.wire.front().map(|(at, _, _)| *at);
            let deadlines = self.hosts.iter().filter_map(|host| host.next_deadline());
            // A tick is 2^16 ns.
            let timers = deadlines.map(|tick| Instant::from_nanos(u64::from(tick.get()) << 16));
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.deliver();
            self.hosts.iter_mut().for_each(|host| host.handle_timeout(self.now));
            self.flush();
        }
        self.now = end;
    }

    fn listen(&mut self) -> ListenerId {
        self.hosts[1].listen(SocketAddrV4::new(SERVER, PORT), 16).unwrap()
    }

    /// A connection, established at both ends.
    fn connected(&mut self) -> [ConnectionId; 2] {
        let listener = self.listen();
        let client = self.connect();
        self.run(DELAY * 4);
        assert_eq!(self.news(0), [ShardEvent::Connection(client, News::CONNECTED)]);
        assert_eq!(self.news(1), [ShardEvent::Acceptable(listener)]);
        let server = self.hosts[1].accept(listener).unwrap();
        [client, server]
    }

    fn connect(&mut self) -> ConnectionId {
        let (local, remote) = (SocketAddrV4::new(CLIENT, 0), SocketAddrV4::new(SERVER, PORT));
        self.hosts[0].connect(self.now, local, remote).unwrap()
    }

    fn news(&mut self, host: usize) -> Vec<ShardEvent> {
        let now = self.now;
        std::iter::from_fn(|| self.hosts[host].poll_event(now)).collect()
    }

    fn send(&mut self, host: usize, id: ConnectionId, bytes: &[u8]) {
        self.hosts[host].send(self.now, id, Bytes::new(bytes)).unwrap();
    }

    /// Reads, and gives back the credit of, all that is there.
    fn read(&mut self, host: usize, id: ConnectionId) -> (Vec<u8>, Received<Bytes>) {
        let mut all = Vec::new();
        loop {
            match self.hosts[host].receive(self.now, id) {
                Received::Bytes(bytes) => {
                    all.extend(bytes.as_slice());
                    self.hosts[host].credit(self.now, id, 1, bytes.as_slice().len() as u32);
                }
                other => return (all, other),
            }
        }
    }

    fn state(&mut self, host: usize, id: ConnectionId) -> Option<State> {
        self.hosts[host].info(id).map(|info| info.state)
    }

    /// Nothing is left of anything.
    fn assert_empty(&mut self) {
        self.flush();
        for (at, host) in self.hosts.iter_mut().enumerate() {
            assert_eq!(std::iter::from_fn(|| host.poll_event(self.now)).count(), 0, "host {at}");
            assert_eq!((host.population().0, host.held()), (0, (0, 0, 0)));
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8)) as u8).collect()
}

#[test]
fn hello_and_goodbye() {
    let mut net = Net::new(Config::default());
    let [client, server] = net.connected();
    net.send(0, client, b"hello");
    net.run(DELAY * 3);
    assert_eq!(net.read(1, server), (b"hello".to_vec(), Received::Nothing));
    net.send(1, server, b"world");
    net.hosts[1].shutdown(net.now, server);
    net.run(DELAY * 3);
    assert_eq!(net.read(0, client), (b"world".to_vec(), Received::End));
    assert_eq!((net.state(0, client), net.state(1, server)), (Some(State::CloseWait), Some(State::FinWait2)));
    net.hosts[0].close(net.now, client);
    net.run(DELAY * 3);
    assert_eq!(net.read(1, server), (Vec::new(), Received::End));
    net.hosts[1].close(net.now, server);
    net.run(DELAY * 3);
    net.assert_empty();
    assert_eq!((net.hosts[0].population(), net.hosts[1].population()), ((0, 0, 0), (0, 0, 1)));
    net.run(Duration::from_secs(61));
    assert_eq!(net.hosts[1].population(), (0, 0, 0));
    let lengths: Vec<_> = net.log.iter().map(|(who, _, len)| (*who, *len)).collect();
    // SYN, SYN-ACK, ACK; hello, ACK; world with FIN, ACK; FIN, ACK.
    assert_eq!(lengths, [(0, 0), (1, 0), (0, 0), (0, 5), (1, 0), (1, 5), (0, 0), (0, 0), (1, 0)]);
}

#[test]
fn an_answer_carries_the_ack() {
    let mut net = Net::new(Config::default());
    let [client, server] = net.connected();
    net.send(0, client, b"ping");
    net.flush();
    net.now = net.now + DELAY;
    net.deliver();
    // The application answers within the burst.
    assert_eq!(net.read(1, server).0, b"ping");
    net.send(1, server, b"pong");
    net.log.clear();
    net.run(DELAY * 3);
    assert_eq!(net.log[0].2, 4);
    assert_eq!(net.log.iter().filter(|(who, _, _)| *who == 1).count(), 1);
    assert_eq!(net.read(0, client).0, b"pong");
}

fn transfer(net: &mut Net, bytes: usize, limit: Duration) -> Duration {
    let [client, server] = net.connected();
    let start = net.now;
    let data = pattern(bytes);
    let mut pieces = data.chunks(64 << 10);
    let mut next = pieces.next();
    let mut received = Vec::new();
    while received.len() < bytes {
        while let Some(piece) = next {
            match net.hosts[0].send(net.now, client, Bytes::new(piece)) {
                Ok(()) => next = pieces.next(),
                Err(_) => break,
            }
        }
        net.run(Duration::from_millis(1));
        received.extend(net.read(1, server).0);
        assert!(net.now - start < limit, "{} of {bytes} bytes", received.len());
    }
    assert!(received == data, "the bytes that were sent");
    let took = net.now - start;
    net.hosts[0].close(net.now, client);
    net.run(DELAY * 4);
    net.hosts[1].close(net.now, server);
    net.run(Duration::from_secs(70));
    net.assert_empty();
    took
}

#[test]
fn bulk_grows_the_windows() {
    let mut net = Net::new(Config::default());
    let took = transfer(&mut net, 8 << 20, Duration::from_secs(5));
    // Slow start from ten segments doubles each 20 ms round trip.
    assert!(took < Duration::from_millis(600), "{took:?}");
    assert_eq!(net.hosts[0].counters().retransmitted, 0);
}

#[test]
fn lost_segments_come_again() {
    for lost in 2..40 {
        let mut net = Net::new(Config::default());
        net.lose = [vec![lost, lost + 1, lost + 5], vec![lost]];
        transfer(&mut net, 300_000, Duration::from_secs(5));
    }
}

#[test]
fn lost_handshakes_come_again() {
    for (client, server) in
        [(vec![0], vec![]), (vec![], vec![0]), (vec![1], vec![]), (vec![0, 1], vec![0, 1])]
    {
        let mut net = Net::new(Config::default());
        let listener = net.listen();
        let id = net.connect();
        net.lose = [client, server];
        net.run(Duration::from_secs(20));
        assert_eq!(net.state(0, id), Some(State::Established));
        assert!(net.hosts[1].accept(listener).is_some());
    }
}

#[test]
fn nobody_listens() {
    let mut net = Net::new(Config::default());
    let id = net.connect();
    net.run(DELAY * 3);
    assert_eq!(net.news(0), [ShardEvent::Connection(id, News::READABLE_AND_CLOSED)]);
    assert_eq!(net.read(0, id).1, Received::Closed(Some(Error::Refused)));
    net.hosts[0].close(net.now, id);
    net.assert_empty();
}

#[test]
fn a_silent_peer_ends_in_a_timeout() {
    let mut net = Net::new(Config::default());
    net.lose = [(0..100).collect(), vec![]];
    let id = net.connect();
    net.run(Duration::from_secs(300));
    // 1, 2, 4, ... 64, 120 s: the eighth SYN is not answered either.
    assert_eq!(net.count[0], 8);
    assert_eq!(net.hosts[0].error(id), Some(Error::TimedOut));
}

#[test]
fn a_closed_window_is_probed_and_opens() {
    let config = Config { receive_buffer: 16 << 10, receive_buffer_max: 16 << 10, ..Config::default() };
    let mut net = Net::new(config);
    let [client, server] = net.connected();
    let data = pattern(40 << 10);
    net.send(0, client, &data);
    net.run(Duration::from_secs(30));
    let info = net.hosts[0].info(client).unwrap();
    assert_eq!((info.snd_wnd, info.in_flight), (0, 0));
    let probes = net.hosts[0].counters().zero_window_probes;
    assert!((5..12).contains(&probes), "{probes}");
    let mut received = Vec::new();
    for _ in 0..100 {
        received.extend(net.read(1, server).0);
        net.run(Duration::from_millis(50));
    }
    assert!(received == data, "{} bytes", received.len());
}

#[test]
fn a_look_goes_round_in_steps() {
    let mut net = Net::new(Config::default());
    net.listen();
    let clients: Vec<_> = (0..5).map(|_| net.connect()).collect();
    net.run(DELAY * 4);
    net.hosts[0].abort(net.now, clients[1]);
    net.run(DELAY * 4);
    net.news(0);
    let mut seen = Vec::new();
    let mut from = Some(0);
    while let Some(at) = from {
        let mut step = Vec::with_capacity(1);
        from = net.hosts[0].look(at, 2, &mut step);
        seen.extend(step.into_iter().map(|info| info.local.port()));
    }
    let ports: Vec<_> = clients.iter().filter_map(|id| Some(net.hosts[0].info(*id)?.local.port())).collect();
    assert_eq!((seen.len(), seen), (4, ports));
    let listening: Vec<_> = net.hosts[1].listening().collect();
    // The peer of the aborted one was not accepted, and still waits.
    assert_eq!(
        listening,
        [super::Listening { address: SocketAddrV4::new(SERVER, PORT), backlog: 16, waiting: 5 }]
    );
}

#[test]
fn an_abort_resets_the_peer() {
    let mut net = Net::new(Config::default());
    let [client, server] = net.connected();
    net.send(0, client, b"lost");
    net.hosts[0].abort(net.now, client);
    net.run(DELAY * 3);
    assert_eq!(net.read(1, server).1, Received::Closed(Some(Error::Reset)));
    assert_eq!(net.hosts[0].info(client), None);
    net.hosts[1].close(net.now, server);
    net.assert_empty();
}

#[test]
fn who_finds_no_room_in_the_shard_is_told_when_there_is() {
    let mut net = Net::new(Config { chunks: 4, ..Config::default() });
    let [first, _] = net.connected();
    let second = net.connect();
    net.run(DELAY * 4);
    net.news(0);
    (0..4).for_each(|_| net.send(0, first, b"piece"));
    // The second has nothing in flight: no ACK of its own will ever free a place.
    let refused = net.hosts[0].send(net.now, second, Bytes::new(b"piece"));
    assert!(matches!(refused, Err(SendError::Full(_))), "{refused:?}");
    assert_eq!(net.news(0), []);
    net.run(DELAY * 4);
    assert_eq!(net.news(0), [ShardEvent::Connection(second, News::WRITABLE)]);
    net.send(0, second, b"piece");
}

#[test]
fn those_who_queue_much_leave_room_for_others() {
    let mut net = Net::new(Config { chunks: 1024, ..Config::default() });
    net.listen();
    let ids = [(); 12].map(|()| net.connect());
    net.run(DELAY * 4);
    for id in &ids[1..] {
        while net.hosts[0].send(net.now, *id, Bytes::new(b"piece")).is_ok() {}
    }
    net.send(0, ids[0], b"piece");
}

#[test]
fn what_is_lost_comes_again_though_there_is_no_room_for_records() {
    let mut net = Net::new(Config { flights: 4, ..Config::default() });
    let [client, server] = net.connected();
    net.lose[0] = (net.count[0]..net.count[0] + 4).collect();
    let data = pattern(20_000);
    net.send(0, client, &data);
    net.run(Duration::from_secs(5));
    assert!(net.read(1, server).0 == data);
}

#[test]
fn who_waits_for_a_record_keeps_nobody_up() {
    let mut net = Net::new(Config { flights: 1, ..Config::default() });
    let listener = net.listen();
    let connect = |net: &mut Net| {
        let id = net.connect();
        net.run(DELAY * 4);
        [Some(id), net.hosts[1].accept(listener)].map(Option::unwrap)
    };
    let ([first, _], [second, peer]) = (connect(&mut net), connect(&mut net));
    // The record is that of a segment that is lost.
    net.lose[0] = vec![net.count[0]];
    net.send(0, first, b"lost");
    net.flush();
    net.send(0, second, b"waits");
    let third = net.connect();
    net.send(1, peer, b"hello");
    net.run(DELAY * 3);
    assert_eq!(net.read(0, second).0, b"hello");
    assert_eq!(net.hosts[1].info(peer).unwrap().in_flight, 0, "it was acknowledged");
    assert_eq!((net.hosts[0].counters().no_frame, net.state(0, third)), (0, Some(State::SynSent)));
    net.run(Duration::from_secs(1));
    assert_eq!((net.read(1, peer).0, net.state(0, third)), (b"waits".to_vec(), Some(State::Established)));
}

#[test]
fn a_dead_peer_is_given_up_in_time() {
    let mut net = Net::new(Config::default());
    let [client, _] = net.connected();
    net.hosts[0].set_user_timeout(net.now, client, Duration::from_secs(10));
    net.lose[0] = (0..1000).collect();
    net.send(0, client, b"lost");
    net.run(Duration::from_millis(9_990));
    assert_eq!(net.hosts[0].error(client), None);
    // Not when the next retransmission is due, at 12.8 s.
    net.run(Duration::from_millis(20));
    assert_eq!(net.hosts[0].error(client), Some(Error::TimedOut));
}

#[test]
fn an_idle_connection_keeps_no_sender() {
    let mut net = Net::new(Config::default());
    let [client, server] = net.connected();
    let senders = |net: &Net| [0, 1].map(|at: usize| net.hosts[at].shared.senders.len());
    assert_eq!(senders(&net), [1, 1]);
    net.run(Duration::from_secs(3));
    assert_eq!(senders(&net), [0, 0], "though neither has sent anything");
    net.send(1, server, b"awake");
    net.run(DELAY * 3);
    assert_eq!((senders(&net), net.read(0, client).0), ([0, 1], b"awake".to_vec()));
}

/// A gigabyte and a half, and its bytes.
struct Endless;

impl Endless {
    const LEN: u64 = 3 << 29;
}

impl Produce for Endless {
    fn fill(&self, offset: u64, out: &mut [u8]) {
        (offset..).zip(out).for_each(|(at, byte)| *byte = (at >> 16) as u8);
    }
}

#[test]
fn what_is_longer_than_a_queue_is_taken_in_part() {
    let config = Config { mtu: 65_535, receive_buffer: 6 << 20, send_buffer: 10_000, ..Config::default() };
    let mut net = Net::new(config);
    let [client, server] = net.connected();
    let all = Pulled::new(Arc::new(Endless), 0..Endless::LEN);
    let Err(SendError::Full(rest)) = net.hosts[0].send(net.now, client, all) else { panic!("taken whole") };
    assert_eq!(rest.len(), Endless::LEN - (1 << 30));
    // It takes up no buffer, but the numbers are used up.
    assert_eq!(net.hosts[0].room(client), 10_000);
    let Err(SendError::Full(rest)) = net.hosts[0].send(net.now, client, rest) else { panic!("taken") };
    assert_eq!(rest.len(), Endless::LEN - (1 << 30));
    assert!(matches!(net.hosts[0].send(net.now, client, Bytes::new(b"x")), Err(SendError::Full(_))));
    let (mut rest, mut received) = (Some(rest), 0_u64);
    while received < Endless::LEN {
        assert!(net.now < Instant::from_millis(100_000), "{received} bytes");
        net.run(Duration::from_millis(10));
        while let Received::Bytes(bytes) = net.hosts[1].receive(net.now, server) {
            let bytes = bytes.as_slice();
            // All of it would take long to look at.
            let (first, last) = (received >> 16, (received + bytes.len() as u64 - 1) >> 16);
            assert_eq!((bytes.first(), bytes.last()), (Some(&(first as u8)), Some(&(last as u8))));
            received += bytes.len() as u64;
            net.hosts[1].credit(net.now, server, 1, bytes.len() as u32);
        }
        let writable = |event| matches!(event, ShardEvent::Connection(_, news) if news.has(News::WRITABLE));
        if net.news(0).into_iter().any(writable) {
            assert!(received >= 1 << 28, "there is room for much");
            rest = match net.hosts[0].send(net.now, client, rest.take().unwrap()) {
                Ok(()) => None,
                Err(SendError::Full(rest)) => Some(rest),
                Err(error) => panic!("{error:?}"),
            };
        }
        net.log.clear();
    }
    assert_eq!(received, Endless::LEN);
}

#[test]
fn contents_without_a_buffer_leave_it_to_bytes() {
    static PAGE: [u8; 100_000] = [7; 100_000];
    let mut net = Net::new(Config { send_buffer: 10_000, ..Config::default() });
    let [client, server] = net.connected();
    let bytes = || Bytes::new(&[1; 6000]);
    let now = net.now;
    let host = &mut net.hosts[0];
    for _ in 0..3 {
        host.send(now, client, Content::Static(&PAGE)).unwrap();
    }
    assert_eq!(host.room(client), 10_000);
    host.send(now, client, bytes()).unwrap();
    assert!(matches!(host.send(now, client, bytes()), Err(SendError::Full(Content::Bytes(_)))));
    host.send(now, client, Content::Static(&PAGE)).unwrap();
    assert_eq!(host.room(client), 4000);
    let mut received = Vec::new();
    while received.len() < 406_000 {
        assert!(net.now < Instant::from_millis(60_000), "{} bytes", received.len());
        net.run(DELAY);
        received.extend(net.read(1, server).0);
    }
    assert_eq!(net.news(0), [ShardEvent::Connection(client, News::WRITABLE)]);
    assert!(received == [&[7; 300_000][..], &[1; 6000], &PAGE].concat());
    assert_eq!(net.hosts[0].room(client), 10_000);
    net.hosts[0].abort(net.now, client);
    net.run(DELAY * 4);
    assert_eq!(net.hosts[0].held(), (0, 0, 0));
}

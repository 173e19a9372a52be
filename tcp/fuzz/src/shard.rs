//! One shard that is told anything: by peers, by the network, by its clock, by its application.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tcp::config::{Config, Ecn};
use tcp::congestion::Algorithm;
use tcp::packet::{NoFrame, Output, Packet};
use tcp::ports::SourcePorts;
use tcp::shard::{ConnectionId, IcmpError, IcmpKind, ListenerId, Received, Shard};
use tcp::{Checksum, Options, SackBlocks, SeqNumber, SeqRange, Timestamps};
use wire::checksum::pseudo_header;
use wire::{Instant, IntoBytes, Ipv4View, Reta, RssKey, TcpFlags, TcpHeader, TcpView, U16, U32};

use crate::{Bytes, Source};

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The first are opened by the peer, to port 80, the others by us. Each has its own port of the peer.
const FLOWS: usize = 6;
const PASSIVE: usize = 3;
const CONNECTIONS: u32 = 4;

/// What is seen of a flow from outside.
#[derive(Clone, Copy, Default)]
struct Flow {
    local: u16,
    /// Our SYN, and the peer's next number that it, or a later segment, acknowledged.
    iss: u32,
    opened: bool,
    ack: Option<u32>,
    /// The right edge of our window, and its scale.
    edge: Option<u32>,
    our_scale: Option<u8>,
    /// Whether the peer agreed to scale: our SYN-ACK tells.
    agreed: bool,
    /// The peer's scale, if it ever sent one; the farthest right edge of its window, relative to `iss`.
    peer_scale: u8,
    peer_edge: u32,
    /// Past the last number that we sent, relative to `iss`.
    nxt: u32,
    /// The number of the first byte of data that was sent.
    data_start: Option<u32>,
    /// Our last timestamp.
    timestamp: u32,
}

struct Seen {
    flows: [Flow; FLOWS],
    /// There may be SYN cookies: then it is not known which SYN-ACK a connection has come of.
    cookies: bool,
    /// Bytes that the application gave to one connection of a flow at most.
    given: [u32; FLOWS],
    /// Packets that may still be sent before there is no frame.
    frames: usize,
}

/// Byte number `at` that the application gives.
fn given(at: u32) -> u8 {
    (at ^ at >> 8 ^ 0x5a) as u8
}

impl Output<Bytes> for Seen {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        self.frames = self.frames.checked_sub(1).ok_or(NoFrame)?;
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        assert!(bytes.len() <= 1500, "a packet of {} bytes", bytes.len());
        let ip = Ipv4View::parse(&bytes, bytes.len()).expect("a sound IPv4 header");
        assert!(ip.checksum_ok());
        let tcp = TcpView::parse(ip.payload).expect("a sound TCP header");
        let port = tcp.header.dst_port.get();
        let n = port as usize - 1;
        if n < FLOWS {
            self.flows[n].on_sent(&tcp, self.given[n], self.cookies);
        }
        Ok(())
    }
}

impl Flow {
    fn on_sent(&mut self, tcp: &TcpView<'_>, given: u32, cookies: bool) {
        let header = tcp.header;
        let (seq, flags, len) = (header.seq.get(), header.flags, tcp.payload.len() as u32);
        let options = Options::parse(tcp.options);
        if flags.contains(TcpFlags::SYN) {
            // Within 4 us, two connections have the same number.
            let answers_another = self.ack.is_some_and(|before| before != header.ack.get());
            if seq != self.iss || !self.opened || answers_another {
                *self = Flow {
                    iss: seq,
                    opened: true,
                    local: self.local,
                    peer_scale: self.peer_scale,
                    ..Flow::default()
                };
            }
            self.nxt = self.nxt.max(1);
            self.our_scale = options.window_scale;
            self.agreed = flags.contains(TcpFlags::ACK);
        }
        if let Some(timestamps) = options.timestamps {
            self.timestamp = timestamps.value;
        }
        // A reset outside of a connection takes its numbers from the segment that it answers.
        if flags.contains(TcpFlags::RST) {
            return;
        }
        if flags.contains(TcpFlags::ACK) && cookies {
            self.ack = Some(header.ack.get());
        } else if flags.contains(TcpFlags::ACK) {
            let ack = header.ack.get();
            assert!(self.ack.is_none_or(|before| ack.wrapping_sub(before) < 1 << 31), "ACKs never go back");
            self.ack = Some(ack);
            if !flags.contains(TcpFlags::SYN) {
                self.check_window(ack, header.window.get());
            }
        }
        if len > 0 && !cookies {
            self.check_data(seq, tcp.payload, given);
        }
        let end = seq.wrapping_sub(self.iss).wrapping_add(len);
        let end = end + u32::from(flags.contains(TcpFlags::FIN));
        if end < 1 << 31 {
            self.nxt = self.nxt.max(end);
        }
    }

    fn check_window(&mut self, ack: u32, window: u16) {
        // As long as it is not known whether the peer agreed to scale, the least is assumed of the past.
        let edge = ack.wrapping_add(u32::from(window));
        let scaled = ack.wrapping_add(u32::from(window) << self.our_scale.unwrap_or(0));
        if let Some(before) = self.edge {
            assert!(scaled.wrapping_sub(before) < 1 << 31, "the window shrinks");
        }
        self.edge = Some(if self.agreed { scaled } else { edge });
    }

    fn check_data(&mut self, seq: u32, data: &[u8], total: u32) {
        let start = *self.data_start.get_or_insert(seq);
        let at = seq.wrapping_sub(start);
        let end = at.wrapping_add(data.len() as u32);
        assert!(end <= total && at <= end, "bytes {at} to {end} of {total} given");
        assert!(data.iter().zip(at..).all(|(byte, at)| *byte == given(at)), "other bytes than given");
        // Past the peer's window goes no more than the byte that probes it.
        let past = seq.wrapping_sub(self.iss).wrapping_add(data.len() as u32);
        assert!(past <= self.peer_edge.saturating_add(1), "{past} is past the window, {}", self.peer_edge);
    }

    /// The peer's segment is about to arrive.
    fn on_received(&mut self, ack: Option<u32>, window: u16, options: &Options, syn: bool) {
        if syn {
            self.peer_scale = self.peer_scale.max(options.window_scale.unwrap_or(0).min(14));
        }
        let edge = ack.unwrap_or(self.iss).wrapping_sub(self.iss);
        // An ACK of what was not sent does not count, but one of the byte that probes a window does.
        if edge <= self.nxt + 1 {
            let scaled = u32::from(window) << self.peer_scale;
            self.peer_edge = self.peer_edge.max(edge.saturating_add(scaled));
        }
    }
}

/// A connection that the application has.
struct Open {
    id: ConnectionId,
    flow: usize,
    /// The last byte that was read, and how many were given.
    read: Option<u8>,
    given: u32,
}

impl Open {
    fn new(id: ConnectionId, flow: usize) -> Self {
        Open { id, flow, read: None, given: 0 }
    }
}

struct World<'a> {
    source: Source<'a>,
    now: Instant,
    shard: Shard<Bytes>,
    seen: Seen,
    listener: Option<ListenerId>,
    ids: Vec<Open>,
    /// Closed by the application, and perhaps not gone yet.
    closed: Vec<ConnectionId>,
    lent: Vec<(ConnectionId, u32)>,
}

/// No panic; books that balance; acknowledgments and windows that never go back; no byte past the peer's
/// window, none that was not given, and every byte delivered once and in order.
pub fn check(input: &[u8]) {
    let mut world = World::new(Source::new(input));
    for _ in 0..2000 {
        if world.source.is_empty() {
            break;
        }
        world.step();
        let (connections, half_open, time_wait) = world.shard.population();
        assert!(connections <= CONNECTIONS as usize && half_open <= 16 && time_wait <= 2);
    }
    world.end();
}

impl<'a> World<'a> {
    fn new(mut source: Source<'a>) -> Self {
        let setup = source.u16();
        let on = |bit: u32| setup >> bit & 1 == 0;
        let cookies = !on(10);
        let config = Config {
            connections: CONNECTIONS,
            half_open: if cookies { 2 } else { 16 },
            time_wait: 2,
            chunks: if on(0) { 256 } else { 8 },
            flights: if on(1) { 256 } else { 4 },
            receive_buffer: if on(2) { 64 << 10 } else { 4 << 10 },
            receive_buffer_max: if on(2) { 1 << 20 } else { 4 << 10 },
            send_buffer: if on(3) { 1 << 20 } else { 5000 },
            timestamps: on(4),
            window_scale: on(5),
            sack: on(6),
            ecn: if on(7) { Ecn::Request } else { Ecn::Off },
            congestion: if on(8) { Algorithm::Cubic } else { Algorithm::NewReno },
            pacing: !on(9),
            secret: [3; 16],
            ..Config::default()
        };
        let reta = Reta::round_robin(128, 1);
        let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, 1000..=1007, [1; 16]);
        let now = Instant::from_millis(1000);
        let backlog = if cookies { 2 } else { 16 };
        let mut shard = Shard::new(config, ports, now);
        let listener = shard.listen(SocketAddrV4::new(US, 80), backlog).ok();
        let local = |n: usize| if n < PASSIVE { 80 } else { 1000 + n as u16 };
        let flows = std::array::from_fn(|n| Flow { local: local(n), ..Flow::default() });
        let seen = Seen { flows, cookies, given: [0; FLOWS], frames: usize::MAX };
        World { source, now, shard, seen, listener, ids: Vec::new(), closed: Vec::new(), lent: Vec::new() }
    }

    fn step(&mut self) {
        // No two connections of a flow begin with the same number.
        self.now = self.now + Duration::from_micros(5);
        match self.source.byte() % 32 {
            0..=11 => self.near_segment(),
            12 => self.any_segment(),
            13..=15 => self.pass_time(),
            16..=18 => self.send(),
            19..=21 => self.receive(),
            22 => self.credit(),
            23 => self.connect(),
            24 => self.accept(),
            25 => self.end_one(),
            26 => self.icmp(),
            27 => self.set_option(),
            28 => self.relisten(),
            _ => self.flush(),
        }
    }

    /// A segment that fits, or nearly.
    fn near_segment(&mut self) {
        let n = self.source.byte() as usize % FLOWS;
        let flow = self.seen.flows[n];
        let kind = self.source.byte();
        let flags = match kind % 16 {
            0..=7 => TcpFlags::ACK,
            8 => TcpFlags::ACK | TcpFlags::FIN,
            9 => TcpFlags::SYN,
            10 => TcpFlags::SYN | TcpFlags::ACK,
            11 => TcpFlags::RST,
            12 => TcpFlags::ACK | TcpFlags::CWR | TcpFlags::ECE,
            _ => TcpFlags(self.source.byte()),
        };
        let near = |source: &mut Source<'_>, at: u32| {
            let by = if source.byte() > 96 { 0 } else { source.number() };
            if by & 1 == 0 { at.wrapping_add(by / 2) } else { at.wrapping_sub(by / 2) }
        };
        let seq = near(&mut self.source, flow.ack.unwrap_or(77_000));
        let ack = near(&mut self.source, flow.iss.wrapping_add(flow.nxt));
        let len = if kind >= 128 { self.source.number() % 1461 } else { 0 };
        // The byte that has the number `seq` is `seq`; a SYN has the first number.
        let first = seq.wrapping_add(u32::from(flags.contains(TcpFlags::SYN)));
        let data: Vec<u8> = (0..len).map(|i| first.wrapping_add(i) as u8).collect();
        let options = self.options(&flow, seq, ack);
        let window = match self.source.byte() % 8 {
            0 => 0,
            1 => self.source.u16(),
            _ => 0xffff,
        };
        self.deliver(n, seq, ack, flags, window, &options, &data);
    }

    fn options(&mut self, flow: &Flow, seq: u32, ack: u32) -> Options {
        let kind = self.source.byte();
        let echo = flow.timestamp;
        let millis = (self.now.as_nanos() / 1_000_000) as u32;
        let value = if kind & 64 == 0 { millis } else { millis.wrapping_sub(self.source.number()) };
        let mut sack = SackBlocks::NONE;
        for _ in 0..kind >> 3 & 3 {
            let start = ack.wrapping_add(self.source.number());
            let end = start.wrapping_add(self.source.number());
            sack.push(SeqRange { start: SeqNumber::new(start), end: SeqNumber::new(end) });
        }
        Options {
            mss: (kind & 1 == 0).then_some(if seq & 1 == 0 { 1460 } else { 100 }),
            window_scale: (kind & 2 == 0).then_some(kind >> 4),
            sack_permitted: kind & 4 == 0,
            timestamps: (kind & 128 == 0).then_some(Timestamps { value, echo }),
            sack,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a segment")]
    fn deliver(
        &mut self,
        n: usize,
        seq: u32,
        ack: u32,
        flags: TcpFlags,
        window: u16,
        options: &Options,
        data: &[u8],
    ) {
        let mut out = [0; Options::MAX_LEN];
        let options_len = options.write(&mut out);
        let mut header = TcpHeader {
            src_port: U16::new(n as u16 + 1),
            dst_port: U16::new(self.seen.flows[n].local),
            seq: U32::new(seq),
            ack: U32::new(ack),
            flags,
            window: U16::new(window),
            ..TcpHeader::default()
        };
        header.set_header_len(TcpHeader::LEN + options_len);
        let mut bytes = [header.as_bytes(), &out[..options_len], data].concat();
        let sum = pseudo_header(PEER, US, 6, bytes.len() as u16).add_bytes(&bytes).finish();
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        let has_ack = flags.contains(TcpFlags::ACK).then_some(ack);
        self.seen.flows[n].on_received(has_ack, window, options, flags.contains(TcpFlags::SYN));
        let ce = self.source.byte() > 200;
        let _ = self.shard.handle_packet(self.now, (PEER, US), Bytes::new(&bytes), Checksum::Verify, ce);
    }

    fn any_segment(&mut self) {
        let len = self.source.byte() as usize;
        let bytes = Bytes::new(self.source.take(len));
        let _ = self.shard.handle_packet(self.now, (PEER, US), bytes, Checksum::Verify, false);
    }

    fn pass_time(&mut self) {
        let micros = match self.source.byte() % 4 {
            0 => 50,
            1 => u64::from(self.source.u16()),
            2 => u64::from(self.source.byte()) * 10_000,
            _ => u64::from(self.source.u16()) * 100_000,
        };
        self.now = self.now + Duration::from_micros(micros);
        self.serve_timers();
    }

    fn serve_timers(&mut self) {
        for _ in 0..64 {
            self.shard.handle_timeout(self.now);
            let due = self.shard.next_deadline().is_some_and(|at| at.is_due(tcp::Tick::at(self.now)));
            self.flush();
            if !due {
                return;
            }
        }
        panic!("a timer that never comes to rest");
    }

    fn pick(&mut self) -> Option<usize> {
        let n = self.source.byte() as usize;
        (!self.ids.is_empty()).then(|| n % self.ids.len())
    }

    fn send(&mut self) {
        let Some(at) = self.pick() else { return };
        let Open { id, flow, given: start, .. } = self.ids[at];
        let len = self.source.number() % 20_000;
        let bytes: Vec<u8> = (start..start + len).map(given).collect();
        if self.shard.send(self.now, id, Bytes::new(&bytes)).is_ok() {
            self.ids[at].given += len;
            self.seen.given[flow] = self.seen.given[flow].max(start + len);
        }
    }

    fn receive(&mut self) {
        let Some(at) = self.pick() else { return };
        let id = self.ids[at].id;
        if let Received::Bytes(bytes) = self.shard.receive(self.now, id) {
            let bytes = bytes.as_slice();
            for byte in bytes {
                let before = self.ids[at].read.replace(*byte);
                assert!(before.is_none_or(|before| before.wrapping_add(1) == *byte), "in order, once");
            }
            self.lent.push((id, bytes.len() as u32));
        }
    }

    fn credit(&mut self) {
        while let Some((id, bytes)) = self.lent.pop() {
            self.shard.credit(self.now, id, 1, bytes);
        }
    }

    fn connect(&mut self) {
        let n = PASSIVE + self.source.byte() as usize % (FLOWS - PASSIVE);
        let port = self.seen.flows[n].local;
        // What an earlier connection of the flow has to say comes before its numbers are forgotten.
        self.flush();
        let (local, remote) = (SocketAddrV4::new(US, port), SocketAddrV4::new(PEER, n as u16 + 1));
        if let Ok(id) = self.shard.connect(self.now, local, remote) {
            self.ids.push(Open::new(id, n));
            self.seen.flows[n] = Flow { local: port, ..Flow::default() };
            self.flush();
        }
    }

    fn accept(&mut self) {
        let Some(listener) = self.listener else { return };
        if let Some(id) = self.shard.accept(listener)
            && let Some(info) = self.shard.info(id)
        {
            self.ids.push(Open::new(id, usize::from(info.remote.port()) - 1));
        }
    }

    fn end_one(&mut self) {
        let Some(at) = self.pick() else { return };
        let id = self.ids[at].id;
        match self.source.byte() % 4 {
            0 => self.shard.abort(self.now, id),
            1 => self.shard.close(self.now, id),
            _ => return self.shard.shutdown(self.now, id),
        }
        self.ids.swap_remove(at);
        self.closed.push(id);
    }

    fn icmp(&mut self) {
        let n = self.source.byte() as usize % FLOWS;
        let flow = self.seen.flows[n];
        let kind = match self.source.byte() % 5 {
            0 => IcmpKind::FragmentationNeeded { mtu: self.source.u16() },
            1 => IcmpKind::FragmentationNeeded { mtu: 0 },
            2 => IcmpKind::NetUnreachable,
            3 => IcmpKind::HostUnreachable,
            _ => IcmpKind::Refused,
        };
        let seq = SeqNumber::new(flow.iss.wrapping_add(flow.nxt).wrapping_sub(self.source.number()));
        let (local, remote) = (SocketAddrV4::new(US, flow.local), SocketAddrV4::new(PEER, n as u16 + 1));
        self.shard.handle_icmp(self.now, &IcmpError { kind, local, remote, seq });
    }

    fn set_option(&mut self) {
        let Some(at) = self.pick() else { return };
        let (id, on) = (self.ids[at].id, self.source.bit());
        match self.source.byte() % 4 {
            0 => self.shard.set_nodelay(self.now, id, on),
            1 => self.shard.set_cork(self.now, id, on),
            2 => self.shard.set_keepalive(self.now, id, on),
            _ => self.shard.set_user_timeout(self.now, id, Duration::from_secs(self.source.byte().into())),
        }
    }

    fn relisten(&mut self) {
        match self.listener.take() {
            Some(listener) => self.shard.close_listener(self.now, listener),
            None => {
                let backlog = if self.seen.cookies { 2 } else { 16 };
                self.listener = self.shard.listen(SocketAddrV4::new(US, 80), backlog).ok();
            }
        }
    }

    fn flush(&mut self) {
        let short = self.source.byte() > 230;
        self.seen.frames = if short { usize::from(self.source.byte() % 4) } else { usize::MAX };
        self.shard.poll_transmit(self.now, &mut self.seen);
        while self.shard.poll_event(self.now).is_some() {}
    }

    /// All is given up: nothing stays.
    fn end(&mut self) {
        if let Some(listener) = self.listener.take() {
            self.shard.close_listener(self.now, listener);
        }
        let ids = std::mem::take(&mut self.ids);
        for id in ids.into_iter().map(|open| open.id).chain(std::mem::take(&mut self.closed)) {
            self.shard.abort(self.now, id);
        }
        self.source = Source::new(&[]);
        self.flush();
        assert_eq!((self.shard.population().0, self.shard.held()), (0, (0, 0, 0)));
        self.now = self.now + Duration::from_secs(1000);
        self.serve_timers();
        assert_eq!(self.shard.population(), (0, 0, 0));
        assert!(!self.shard.wants_to_transmit() && !self.shard.has_events());
    }
}

//! One shard, hand-made segments in, the segments it sends out, in virtual time.
//!
//! Numbers are relative: those of the peer to its SYN, ours to our SYN, so that both SYNs have the number
//! 0. The peer's SYN lies so close to 2^32 that its numbers wrap in every test. Segments are written as
//! tcpdump did: flags (`S` SYN, `F` FIN, `R` RST, `P` PSH, `U` URG, `E` ECE, `W` CWR, `.` ACK), first and
//! last number, bytes of data.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use wire::checksum::pseudo_header;
use wire::{DropReason, Instant, IntoBytes, Ipv4View, Reta, RssKey, TcpFlags, TcpHeader, TcpView, U16, U32};

use crate::config::Config;
use crate::connection::info::Info;
use crate::connection::{Error, News, State};
use crate::packet::{NoFrame, Output, Packet};
use crate::ports::SourcePorts;
use crate::shard::{ConnectionId, IcmpError, IcmpKind, ListenerId, Received, Shard, ShardEvent};
use crate::{Checksum, Options, SeqNumber, Timestamps};
use sim::Bytes;

pub(super) const US: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 80);
pub(super) const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 40_000);
/// The number of the peer's SYN.
const IRS: u32 = u32::MAX - 2;
/// A round trip, where it matters.
pub(super) const RTT: Duration = Duration::from_millis(10);

const LETTERS: [(char, TcpFlags); 8] = [
    ('S', TcpFlags::SYN),
    ('F', TcpFlags::FIN),
    ('R', TcpFlags::RST),
    ('P', TcpFlags::PSH),
    ('U', TcpFlags::URG),
    ('E', TcpFlags::ECE),
    ('W', TcpFlags::CWR),
    ('.', TcpFlags::ACK),
];

/// A segment of the peer.
#[derive(Clone, Debug)]
pub(super) struct In {
    pub(super) src: SocketAddrV4,
    pub(super) dst: SocketAddrV4,
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    window: u16,
    urgent: u16,
    options: Option<Vec<u8>>,
    data: Vec<u8>,
    ce: bool,
    spoiled: bool,
}

/// A segment with these flags and relative numbers. `ack` counts if there is a `.`.
pub(super) fn seg(flags: &str, seq: u32, ack: u32) -> In {
    let bit = |letter| LETTERS.iter().find(|(known, _)| *known == letter).unwrap().1;
    In {
        src: PEER,
        dst: US,
        flags: flags.chars().map(bit).fold(TcpFlags::default(), |all, flag| all | flag),
        seq,
        ack,
        window: 65_535,
        urgent: 0,
        options: None,
        data: Vec::new(),
        ce: false,
        spoiled: false,
    }
}

/// An ACK and data.
pub(super) fn data(seq: u32, ack: u32, bytes: &[u8]) -> In {
    In { data: bytes.to_vec(), ..seg(".", seq, ack) }
}

impl In {
    pub(super) fn with(self, bytes: &[u8]) -> Self {
        In { data: bytes.to_vec(), ..self }
    }

    pub(super) fn window(self, window: u16) -> Self {
        In { window, ..self }
    }

    pub(super) fn urgent(self, urgent: u16) -> Self {
        In { urgent, ..self }
    }

    /// The IP header carries a congestion mark.
    pub(super) fn marked(self) -> Self {
        In { ce: true, ..self }
    }

    /// The checksum is wrong.
    pub(super) fn spoiled(self) -> Self {
        In { spoiled: true, ..self }
    }

    pub(super) fn between(self, src: SocketAddrV4, dst: SocketAddrV4) -> Self {
        In { src, dst, ..self }
    }

    pub(super) fn options(self, options: &Options) -> Self {
        let mut out = [0; Options::MAX_LEN];
        let len = options.write(&mut out);
        self.raw_options(&out[..len])
    }

    /// Bytes of options, padded with zeros.
    pub(super) fn raw_options(self, options: &[u8]) -> Self {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        In { options: Some(options), ..self }
    }

    fn bytes(&self, iss: u32) -> Vec<u8> {
        let options = self.options.as_deref().unwrap_or_default();
        let has_ack = self.flags.contains(TcpFlags::ACK);
        let mut header = TcpHeader {
            src_port: U16::new(self.src.port()),
            dst_port: U16::new(self.dst.port()),
            seq: U32::new(self.seq.wrapping_add(IRS)),
            ack: U32::new(if has_ack { self.ack.wrapping_add(iss) } else { 0 }),
            flags: self.flags,
            window: U16::new(self.window),
            urgent: U16::new(self.urgent),
            ..TcpHeader::default()
        };
        header.set_header_len(TcpHeader::LEN + options.len());
        let mut bytes = [header.as_bytes(), options, &self.data].concat();
        let sum = pseudo_header(*self.src.ip(), *self.dst.ip(), 6, bytes.len() as u16);
        let checksum = sum.add_bytes(&bytes).finish() ^ u16::from(self.spoiled);
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// A segment of ours.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Out {
    pub(super) at: Instant,
    pub(super) src: SocketAddrV4,
    pub(super) dst: SocketAddrV4,
    pub(super) flags: TcpFlags,
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    pub(super) window: u16,
    pub(super) urgent: u16,
    pub(super) options: Options,
    pub(super) raw_options: Vec<u8>,
    pub(super) data: Vec<u8>,
    pub(super) ect: bool,
    pub(super) ttl: u8,
    pub(super) dscp: u8,
    pub(super) header_len: usize,
}

impl Out {
    /// Reads a packet; checks what must hold of each.
    fn read(at: Instant, packet: &[u8]) -> Self {
        let ip = Ipv4View::parse(packet, packet.len()).unwrap();
        assert!(ip.checksum_ok());
        let (src, dst) = (ip.header.src(), ip.header.dst());
        let sum = pseudo_header(src, dst, 6, ip.payload.len() as u16);
        assert_eq!(sum.add_bytes(ip.payload).finish(), 0, "the TCP checksum");
        let TcpView { header, options, payload } = TcpView::parse(ip.payload).unwrap();
        Out {
            at,
            src: SocketAddrV4::new(src, header.src_port.get()),
            dst: SocketAddrV4::new(dst, header.dst_port.get()),
            flags: header.flags,
            seq: header.seq.get(),
            ack: header.flags.contains(TcpFlags::ACK).then(|| header.ack.get()),
            window: header.window.get(),
            urgent: header.urgent.get(),
            options: Options::parse(options),
            raw_options: options.to_vec(),
            data: payload.to_vec(),
            ect: ip.header.ecn() == 2,
            ttl: ip.header.ttl,
            dscp: ip.header.tos >> 2,
            header_len: header.header_len(),
        }
    }

    /// As tcpdump had it, with relative numbers.
    fn show(&self, iss: u32) -> String {
        let on = |(letter, flag): &(char, TcpFlags)| self.flags.contains(*flag).then_some(*letter);
        let flags: String = LETTERS.iter().filter_map(on).collect();
        let flags = if flags.is_empty() { "-".to_owned() } else { flags };
        let (seq, len) = (self.seq.wrapping_sub(iss) as i32, self.data.len() as i32);
        let ack = self.ack.map_or(String::new(), |ack| format!(" ack {}", ack.wrapping_sub(IRS) as i32));
        format!("{flags} {seq}:{}({len}){ack}", seq + len)
    }
}

struct Wire {
    now: Instant,
    packets: Vec<Out>,
}

impl Output<Bytes> for Wire {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        self.packets.push(Out::read(self.now, &bytes));
        Ok(())
    }
}

/// The shard under test, and what the test knows of it.
pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) shard: Shard<Bytes>,
    pub(super) listener: Option<ListenerId>,
    pub(super) id: Option<ConnectionId>,
    iss: u32,
    /// Past the last number that was sent, relative.
    sent: u32,
    /// If there are timestamps, the peer's clock at its SYN; it runs in milliseconds.
    clock: Option<u32>,
    echo: u32,
}

/// A shard's configuration that costs little to set up.
pub(super) fn config() -> Config {
    Config {
        connections: 16,
        half_open: 16,
        time_wait: 16,
        chunks: 4096,
        flights: 4096,
        secret: [7; 16],
        ..Config::default()
    }
}

/// The options of a peer that has an MSS only.
pub(super) fn plain() -> Options {
    Options { mss: Some(1460), ..Options::default() }
}

/// The options of a peer that has all.
pub(super) fn modern() -> Options {
    Options {
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 5000, echo: 0 }),
        ..plain()
    }
}

impl Rig {
    pub(super) fn new(config: Config) -> Self {
        let reta = Reta::round_robin(128, 1);
        let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, config.secret);
        let now = Instant::from_millis(10_000);
        let shard = Shard::new(config, ports, now);
        Rig { now, shard, listener: None, id: None, iss: 0, sent: 0, clock: None, echo: 0 }
    }

    /// A listener on port 80.
    pub(super) fn listening(config: Config) -> Self {
        let mut rig = Rig::new(config);
        rig.listener = Some(rig.shard.listen(US, 8).unwrap());
        rig
    }

    /// The listener's side of an established connection; the peer's SYN had `options`.
    pub(super) fn server(config: Config, options: &Options) -> Self {
        let mut rig = Rig::listening(config);
        assert_eq!(rig.give(seg("S", 0, 0).options(options)).len(), 1);
        rig.agree(options);
        rig.pass(RTT);
        rig.give(seg(".", 1, 1));
        rig.accept();
        rig
    }

    /// The connecting side of an established connection; the peer's SYN-ACK had `options`.
    pub(super) fn client(config: Config, options: &Options) -> Self {
        let mut rig = Rig::connecting(config);
        rig.pass(RTT);
        rig.agree(options);
        let options =
            Options { timestamps: rig.timestamps().filter(|_| options.timestamps.is_some()), ..*options };
        assert_eq!(rig.give(seg("S.", 0, 1).options(&options)), [". 1:1(0) ack 1"]);
        assert_eq!(rig.news(), [News::CONNECTED]);
        rig
    }

    /// The connecting side; its SYN was sent.
    pub(super) fn connecting(config: Config) -> Self {
        let mut rig = Rig::new(config);
        rig.id = Some(rig.shard.connect(rig.now, US, PEER).unwrap());
        assert_eq!(rig.out().len(), 1);
        rig
    }

    /// An established connection without options, as a listener has it.
    pub(super) fn established() -> Self {
        Rig::server(config(), &plain())
    }

    /// One whose whole receive buffer is 4096 bytes.
    pub(super) fn with_small_buffer() -> Self {
        Rig::server(Config { receive_buffer: 4096, receive_buffer_max: 4096, ..config() }, &plain())
    }

    /// One whose first, quick ACKs are over, and which has read 16 bytes: the peer's next number is 17.
    pub(super) fn settled(options: &Options) -> Self {
        let mut rig = Rig::server(config(), options);
        for n in 0..16 {
            rig.give(data(1 + n, 1, b"x"));
        }
        assert_eq!(rig.read(), "x".repeat(16));
        rig
    }

    fn agree(&mut self, options: &Options) {
        self.clock = options.timestamps.filter(|_| self.shard.config().timestamps).map(|t| t.value);
    }

    fn timestamps(&self) -> Option<Timestamps> {
        let millis = (self.now.as_nanos() / 1_000_000) as u32 - 10_000;
        self.clock.map(|clock| Timestamps { value: clock.wrapping_add(millis), echo: self.echo })
    }

    pub(super) fn accept(&mut self) {
        let listener = self.listener.unwrap();
        self.id = self.shard.accept(listener);
        assert!(self.id.is_some());
        self.news();
    }

    /// Time passes; no timer is looked at.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Hands the peer's segment over, and sends nothing yet.
    pub(super) fn put(&mut self, mut segment: In) -> Result<(), DropReason> {
        if segment.options.is_none()
            && let Some(timestamps) = self.timestamps()
        {
            segment = segment.options(&Options { timestamps: Some(timestamps), ..Options::default() });
        }
        let bytes = Bytes::new(&segment.bytes(self.iss));
        let addresses = (*segment.src.ip(), *segment.dst.ip());
        self.shard.handle_packet(self.now, addresses, bytes, Checksum::Verify, segment.ce)
    }

    /// What is sent now.
    pub(super) fn packets(&mut self) -> Vec<Out> {
        let mut wire = Wire { now: self.now, packets: Vec::new() };
        self.shard.poll_transmit(self.now, &mut wire);
        for out in &wire.packets {
            if out.flags.contains(TcpFlags::SYN) {
                self.iss = out.seq;
            }
            let end = out.seq.wrapping_sub(self.iss).wrapping_add(out.data.len() as u32);
            self.sent = if end < 1 << 31 { self.sent.max(end) } else { self.sent };
            self.echo = out.options.timestamps.map_or(self.echo, |timestamps| timestamps.value);
        }
        wire.packets
    }

    /// What is sent now, in short.
    pub(super) fn out(&mut self) -> Vec<String> {
        let packets = self.packets();
        packets.iter().map(|out| out.show(self.iss)).collect()
    }

    /// What the peer's segment is answered with at once.
    pub(super) fn give(&mut self, segment: In) -> Vec<String> {
        self.put(segment).ok();
        self.out()
    }

    /// The same, in full.
    pub(super) fn give_full(&mut self, segment: In) -> Vec<Out> {
        self.put(segment).ok();
        self.packets()
    }

    /// Lets time pass, and serves the timers; gives what was sent meanwhile.
    pub(super) fn wait_full(&mut self, time: Duration) -> Vec<Out> {
        let end = self.now + time;
        let mut all = self.packets();
        for _ in 0..100_000 {
            let next =
                self.shard.next_deadline().map(|tick| Instant::from_nanos(u64::from(tick.get()) << 16));
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return all;
            };
            self.now = self.now.max(next);
            self.shard.handle_timeout(self.now);
            all.extend(self.packets());
        }
        panic!("a timer that never comes to rest");
    }

    pub(super) fn wait(&mut self, time: Duration) -> Vec<String> {
        let all = self.wait_full(time);
        all.iter().map(|out| out.show(self.iss)).collect()
    }

    /// The same, and after how many milliseconds, to the next ten.
    pub(super) fn wait_timed(&mut self, time: Duration) -> Vec<(u64, String)> {
        let start = self.now;
        let all = self.wait_full(time);
        let millis = |out: &Out| ((out.at - start).as_millis() as u64 + 5) / 10 * 10;
        all.iter().map(|out| (millis(out), out.show(self.iss))).collect()
    }

    /// Our relative number as it is on the wire.
    pub(super) fn absolute(&self, seq: u32) -> u32 {
        seq.wrapping_add(self.iss)
    }

    /// Past the last number of data that was sent, relative.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id.unwrap()
    }

    /// What the application queues is sent at once, as far as it may be.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Vec<String> {
        self.queue(bytes);
        self.out()
    }

    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.shard.send(self.now, self.id(), Bytes::new(bytes)).unwrap();
    }

    /// Gives data until our window is closed; gives the sequence number past it.
    pub(super) fn fill_window(&mut self) -> u32 {
        let mut seq = 1;
        while self.info().rcv_wnd > 0 {
            let len = self.info().rcv_wnd.min(1000);
            self.give(data(seq, 1, &vec![b'x'; len as usize]));
            seq += len;
        }
        seq
    }

    /// Reads, and gives back the credit of, all that is there.
    pub(super) fn read(&mut self) -> String {
        let mut all = Vec::new();
        while let Received::Bytes(bytes) = self.shard.receive(self.now, self.id()) {
            all.extend(bytes.as_slice());
            self.shard.credit(self.now, self.id(), 1, bytes.as_slice().len() as u32);
        }
        String::from_utf8(all).unwrap()
    }

    /// What a read gives that finds no bytes.
    pub(super) fn end(&mut self) -> Received<Bytes> {
        self.shard.receive(self.now, self.id())
    }

    pub(super) fn shutdown(&mut self) -> Vec<String> {
        self.shard.shutdown(self.now, self.id());
        self.out()
    }

    pub(super) fn close(&mut self) -> Vec<String> {
        self.shard.close(self.now, self.id());
        self.out()
    }

    pub(super) fn abort(&mut self) -> Vec<String> {
        self.shard.abort(self.now, self.id());
        self.out()
    }

    pub(super) fn info(&mut self) -> Info {
        self.shard.info(self.id()).unwrap()
    }

    /// `None` if the connection is gone.
    pub(super) fn state(&mut self) -> Option<State> {
        self.shard.info(self.id()).map(|info| info.state)
    }

    pub(super) fn error(&mut self) -> Option<Error> {
        self.shard.error(self.id())
    }

    /// What the application is told of connections.
    pub(super) fn news(&mut self) -> Vec<News> {
        let now = self.now;
        let events = std::iter::from_fn(|| self.shard.poll_event(now));
        let of_connection = |event| match event {
            ShardEvent::Connection(_, news) => Some(news),
            ShardEvent::Acceptable(_) => None,
        };
        events.filter_map(of_connection).collect()
    }

    /// An ICMP error about our segment of this number.
    pub(super) fn icmp(&mut self, kind: IcmpKind, seq: u32) -> Vec<String> {
        let seq = SeqNumber::new(seq.wrapping_add(self.iss));
        self.shard.handle_icmp(self.now, &IcmpError { kind, local: US, remote: PEER, seq });
        self.out()
    }

    /// An established connection, brought to `state`. Our next number is 2 once we have closed, 1 before;
    /// so is the peer's.
    pub(super) fn brought_to(state: State) -> Self {
        let mut rig = Rig::established();
        match state {
            State::Established => {}
            State::FinWait1 => drop(rig.shutdown()),
            State::FinWait2 => {
                rig.shutdown();
                rig.give(seg(".", 1, 2));
            }
            State::CloseWait => drop(rig.give(seg("F.", 1, 1))),
            State::Closing => {
                rig.shutdown();
                rig.give(seg("F.", 1, 1));
            }
            State::LastAck => {
                rig.give(seg("F.", 1, 1));
                rig.shutdown();
            }
            other => panic!("{other:?} is reached otherwise"),
        }
        assert_eq!(rig.state(), Some(state));
        rig.news();
        rig
    }
}

pub(super) const SYNCHRONIZED: [State; 6] =
    [State::Established, State::FinWait1, State::FinWait2, State::CloseWait, State::Closing, State::LastAck];

/// Our next number, and the peer's, in a state of [`Rig::brought_to`].
pub(super) fn next_numbers(state: State) -> (u32, u32) {
    let ours = matches!(state, State::FinWait1 | State::FinWait2 | State::Closing | State::LastAck);
    let theirs = matches!(state, State::CloseWait | State::Closing | State::LastAck);
    (1 + u32::from(ours), 1 + u32::from(theirs))
}

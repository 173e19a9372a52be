//! One shard, and a peer whose every segment is made by hand.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use wire::{Instant, IntoBytes, Ipv4View, Reta, RssKey, TcpFlags, TcpHeader, TcpView, U16, U32};

use super::{ConnectionId, Error, ListenerId, Received, Settings, Shard};
use crate::config::Config;
use crate::connection::State;
use crate::packet::{NoFrame, Output, Packet};
use crate::ports::SourcePorts;
use crate::{Checksum, Options};
use sim::Bytes;

const US: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80);
const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 4000);

const ACK: TcpFlags = TcpFlags::ACK;
const SYN: TcpFlags = TcpFlags::SYN;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;
const PSH: TcpFlags = TcpFlags::PSH;

const MSS: u32 = 1000;
const MILLI: Duration = Duration::from_millis(1);

/// A segment of ours: numbers are counted from both SYNs.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    flags: TcpFlags,
    seq: u32,
    ack: u32,
    len: u32,
    window: u16,
    options: Options,
    ttl: u8,
    tos: u8,
}

impl Output<Bytes> for Vec<Vec<u8>> {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        self.push(bytes);
        Ok(())
    }
}

struct Scene {
    now: Instant,
    us: Shard<Bytes>,
    local: SocketAddrV4,
    /// The number of our SYN; the peer's is 0.
    iss: u32,
    /// What the peer's segments offer.
    window: u16,
    settings: Settings,
}

impl Scene {
    fn new(config: Config) -> Self {
        let now = Instant::from_millis(1000);
        let reta = Reta::round_robin(128, 1);
        let ports = SourcePorts::new(&RssKey::SYMMETRIC, &reta, 0, SourcePorts::DEFAULT_RANGE, [7; 16]);
        let us = Shard::new(config, ports, now);
        Scene { now, us, local: US, iss: 0, window: 50_000, settings: Settings::default() }
    }

    /// The peer sends: its numbers are counted from its SYN, ours from ours.
    fn inject(&mut self, flags: TcpFlags, seq: u32, ack: u32, payload: &[u8], options: &[u8]) {
        let header_len = TcpHeader::LEN + options.len();
        let mut header = TcpHeader {
            src_port: U16::new(PEER.port()),
            dst_port: U16::new(self.local.port()),
            seq: U32::new(seq),
            ack: U32::new(if flags.contains(ACK) { self.iss.wrapping_add(ack) } else { 0 }),
            flags,
            window: U16::new(self.window),
            ..TcpHeader::default()
        };
        header.set_header_len(header_len);
        let bytes = Bytes::new(&[header.as_bytes(), options, payload].concat());
        let addresses = (*PEER.ip(), *self.local.ip());
        // What is not taken is answered.
        self.us.handle_packet(self.now, addresses, bytes, Checksum::KnownGood, false).ok();
    }

    /// What we send now.
    fn sent(&mut self) -> Vec<Seen> {
        while self.us.poll_event(self.now).is_some() {}
        let mut packets: Vec<Vec<u8>> = Vec::new();
        self.us.poll_transmit(self.now, &mut packets);
        let iss = self.iss;
        let read = |packet: &Vec<u8>| {
            let ip = Ipv4View::parse(packet, packet.len()).unwrap();
            let tcp = TcpView::parse(ip.payload).unwrap();
            Seen {
                flags: tcp.header.flags,
                seq: tcp.header.seq.get().wrapping_sub(iss),
                ack: tcp.header.ack.get(),
                len: tcp.payload.len() as u32,
                window: tcp.header.window.get(),
                options: Options::parse(tcp.options),
                ttl: ip.header.ttl,
                tos: ip.header.tos,
            }
        };
        packets.iter().map(read).collect()
    }

    /// Of what we send now: flags, sequence number, acknowledgment, bytes.
    fn brief(&mut self) -> Vec<(TcpFlags, u32, u32, u32)> {
        self.sent().iter().map(|seen| (seen.flags, seen.seq, seen.ack, seen.len)).collect()
    }

    /// Lets time pass, and gives when something was sent, in ms from now, and what.
    fn wait(&mut self, time: Duration) -> Vec<(u128, (TcpFlags, u32, u32, u32))> {
        let (start, end) = (self.now, self.now + time);
        let mut all = Vec::new();
        while self.now < end {
            self.now = self.now + MILLI;
            self.us.handle_timeout(self.now);
            let at = (self.now - start).as_millis();
            all.extend(self.brief().into_iter().map(|seen| (at, seen)));
        }
        all
    }

    /// A connect, answered by a SYN-ACK with an MSS of 1000 and no other option.
    fn connected(config: Config, settings: Settings) -> (Self, ConnectionId) {
        let mut scene = Scene::new(config);
        scene.settings = settings;
        let local = SocketAddrV4::new(*US.ip(), 0);
        let id = scene.us.connect_with(scene.now, local, PEER, &settings).unwrap();
        scene.local = scene.us.info(id).unwrap().local;
        let syn = scene.sent();
        assert_eq!((syn.len(), syn[0].flags), (1, SYN));
        let most = if settings.receive_buffer == 0 { 65_535 } else { settings.receive_buffer };
        assert_eq!(u32::from(syn[0].window), most);
        scene.iss = syn[0].seq;
        scene.now = scene.now + 10 * MILLI;
        scene.inject(SYN | ACK, 0, 1, b"", &MSS_1000);
        assert_eq!(scene.brief(), [(ACK, 1, 1, 0)]);
        assert_eq!(scene.us.info(id).unwrap().state, State::Established);
        (scene, id)
    }

    /// A listener with settings.
    fn listening(settings: Settings) -> (Self, ListenerId) {
        let mut scene = Scene::new(Config::default());
        let listener = scene.us.listen(US, 4).unwrap();
        scene.us.configure_listener(listener, &settings);
        (scene, listener)
    }

    /// The peer's SYN, and what answers it.
    fn syn(&mut self) -> Seen {
        self.inject(SYN, 0, 0, b"", &MSS_1000);
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1);
        let mut syn_ack = sent.remove(0);
        assert_eq!((syn_ack.flags, syn_ack.ack), (SYN | ACK, 1));
        self.iss = std::mem::take(&mut syn_ack.seq);
        syn_ack
    }

    fn send(&mut self, id: ConnectionId, len: u32) {
        self.us.send(self.now, id, Bytes::new(&vec![5; len as usize])).unwrap();
    }

    fn send_more(&mut self, id: ConnectionId, len: u32) {
        self.us.send_more(self.now, id, Bytes::new(&vec![5; len as usize]), true).unwrap();
    }
}

/// The option, and padding.
const MSS_1000: [u8; 4] = [2, 4, 3, 232];

/// RFC 5961 section 3.2, at both edges of the window. That is 65,535 bytes, and the rest of the segment.
#[test]
fn resets() {
    for (seq, sent, error) in [
        (0, 0, None),
        (1, 0, Some(Error::Reset)),
        (2, 1, None),
        (65_535, 1, None),
        (66_000, 1, None),
        (66_001, 0, None),
        (1 << 31, 0, None),
    ] {
        let (mut scene, id) = Scene::connected(Config::default(), Settings::default());
        scene.inject(RST, seq, 0, b"", b"");
        assert_eq!(scene.brief(), vec![(ACK, 1, 1, 0); sent], "{seq}");
        assert_eq!(scene.us.error(id), error, "{seq}");
    }
}

#[test]
fn a_fin_takes_no_room() {
    let (mut scene, _) = Scene::connected(Config::default(), Settings::default());
    scene.inject(FIN | ACK, 1, 1, b"", b"");
    let sent = scene.sent();
    assert_eq!((sent.len(), sent[0].ack, sent[0].window), (1, 2, 65_535));
    // The right edge has moved with it.
    scene.inject(RST, 66_001, 0, b"", b"");
    assert_eq!(scene.brief(), [(ACK, 1, 2, 0)]);
    scene.inject(RST, 66_002, 0, b"", b"");
    assert_eq!(scene.brief(), []);
}

#[test]
fn an_error_is_told_once() {
    let (mut scene, id) = Scene::connected(Config::default(), Settings::default());
    scene.inject(RST, 1, 0, b"", b"");
    assert_eq!(scene.us.take_error(id), Some(Error::Reset));
    assert_eq!((scene.us.take_error(id), scene.us.error(id)), (None, None));
    assert_eq!(scene.us.receive(scene.now, id), Received::Closed(None));
}

//= RFC 9293 section 3.10.7.1: the answer to a segment that acknowledges has its number from there.
#[test]
fn data_after_close_is_refused() {
    let (mut scene, id) = Scene::connected(Config::default(), Settings::default());
    scene.us.close(scene.now, id);
    assert_eq!(scene.brief(), [(FIN | ACK, 1, 1, 0)]);
    scene.inject(ACK, 1, 1, b"late", b"");
    assert_eq!(scene.brief(), [(RST, 1, 0, 0)]);
    assert_eq!(scene.us.population().0, 0);
    assert_eq!(scene.us.held(), (0, 0, 0));
}

/// RFC 9293 section 3.9.1.2, and the last segment of each burst of several.
#[test]
fn where_psh_is() {
    let (mut scene, id) = Scene::connected(Config::default(), Settings::default());
    scene.send(id, 15 * MSS);
    let burst: Vec<_> = (0..10).map(|n| if n == 9 { PSH | ACK } else { ACK }).collect();
    assert_eq!(scene.sent().iter().map(|seen| seen.flags).collect::<Vec<_>>(), burst);
    scene.inject(ACK, 1, 1 + MSS, b"", b"");
    assert_eq!(scene.brief(), [(ACK, 10_001, 1, MSS), (PSH | ACK, 11_001, 1, MSS)]);
    scene.inject(ACK, 1, 1 + MSS + 500, b"", b"");
    assert_eq!(scene.brief(), [(ACK, 12_001, 1, MSS)], "one alone has none");
    scene.inject(ACK, 1, 1 + 10 * MSS, b"", b"");
    assert_eq!(scene.brief(), [(ACK, 13_001, 1, MSS), (PSH | ACK, 14_001, 1, MSS)]);
}

#[test]
fn a_bare_fin_needs_no_congestion_window() {
    for len in [10 * MSS, 10 * MSS + 1] {
        let (mut scene, id) = Scene::connected(Config::default(), Settings::default());
        scene.send(id, len);
        assert_eq!(scene.sent().len(), 10);
        scene.us.shutdown(scene.now, id);
        let fin = if len == 10 * MSS { vec![(FIN | ACK, 10_001, 1, 0)] } else { vec![] };
        assert_eq!(scene.brief(), fin, "{len}");
    }
}

#[test]
fn more_to_come_waits() {
    let settings = Settings { nodelay: true, ..Settings::default() };
    let (mut scene, id) = Scene::connected(Config::default(), settings);
    scene.send_more(id, 100);
    assert_eq!(scene.brief(), []);
    scene.send_more(id, 2 * MSS);
    assert_eq!(scene.brief(), [(ACK, 1, 1, MSS), (ACK, 1 + MSS, 1, MSS)]);
    scene.inject(ACK, 1, 1 + MSS, b"", b"");
    assert_eq!(scene.brief(), [(ACK, 1 + 2 * MSS, 1, 100)], "an ACK lets it out");
    scene.inject(ACK, 1, 2101, b"", b"");
    scene.send_more(id, 10);
    assert_eq!(scene.brief(), []);
    scene.send(id, 10);
    assert_eq!(scene.brief(), [(PSH | ACK, 2101, 1, 20)], "no more to come");
    scene.inject(ACK, 1, 2121, b"", b"");
    scene.send_more(id, 10);
    assert_eq!(scene.brief(), []);
    let waited = scene.wait(300 * MILLI);
    assert!(matches!(waited[..], [(200..=220, (flags, 2121, 1, 10))] if flags == PSH | ACK), "{waited:?}");
}

#[test]
fn nodelay_pushes_what_is_corked() {
    let settings = Settings { cork: true, ..Settings::default() };
    let (mut scene, id) = Scene::connected(Config::default(), settings);
    scene.send(id, 10);
    assert_eq!(scene.brief(), []);
    scene.us.set_nodelay(scene.now, id, true);
    assert_eq!(scene.brief(), [(PSH | ACK, 1, 1, 10)]);
    scene.send(id, 10);
    assert_eq!(scene.brief(), [], "the cork is still there");
    scene.us.set_cork(scene.now, id, false);
    assert_eq!(scene.brief(), [(PSH | ACK, 11, 1, 10)]);
}

#[test]
fn settings_of_a_connect() {
    let settings = Settings { max_segment: 700, ttl: 9, tos: 0x2b, ..Settings::default() };
    let mut scene = Scene::new(Config::default());
    let local = SocketAddrV4::new(*US.ip(), 0);
    let id = scene.us.connect_with(scene.now, local, PEER, &settings).unwrap();
    let syn = scene.sent().remove(0);
    assert_eq!((syn.options.mss, syn.ttl, syn.tos), (Some(700), 9, 0x28));
    (scene.local, scene.iss) = (scene.us.info(id).unwrap().local, syn.seq);
    scene.inject(SYN | ACK, 0, 1, b"", &MSS_1000);
    scene.sent();
    scene.send(id, 1000);
    let sent = scene.sent();
    assert_eq!(sent.iter().map(|seen| (seen.len, seen.ttl)).collect::<Vec<_>>(), [(700, 9), (300, 9)]);
    scene.us.configure(scene.now, id, &Settings { ttl: 0, ..settings });
    scene.send(id, 700);
    scene.inject(ACK, 1, 1001, b"", b"");
    assert_eq!(scene.sent()[0].ttl, 64);
}

#[test]
fn settings_of_a_listener() {
    let settings = Settings {
        max_segment: 600,
        tos: 0x10,
        receive_buffer: 20_000,
        nodelay: true,
        ..Settings::default()
    };
    let (mut scene, listener) = Scene::listening(settings);
    let syn_ack = scene.syn();
    assert_eq!((syn_ack.options.mss, syn_ack.tos, syn_ack.window), (Some(600), 0x10, 20_000));
    scene.inject(ACK, 1, 1, b"", b"");
    let id = scene.us.accept(listener).unwrap();
    scene.send(id, 650);
    scene.send(id, 10);
    let sent = scene.sent();
    assert_eq!(sent.iter().map(|seen| (seen.len, seen.tos)).collect::<Vec<_>>(), [(600, 0x10), (60, 0x10)]);
}

#[test]
fn a_receive_buffer_of_its_own() {
    let settings = Settings { receive_buffer: 20_000, ..Settings::default() };
    let (mut scene, id) = Scene::connected(Config::default(), settings);
    assert_eq!(scene.us.info(id).unwrap().rcv_wnd, 20_000);
    for n in 0..20 {
        scene.inject(ACK | PSH, 1 + n * 1000, 1, &[7; 1000], b"");
    }
    assert_eq!(scene.sent().last().unwrap().window, 0);
    scene.us.consume(scene.now, id, 20_000);
    assert_eq!(scene.sent().last().unwrap().window, 20_000, "it is not tuned");
}

#[test]
fn looking_and_taking() {
    let (mut scene, id) = Scene::connected(Config::default(), Settings::default());
    scene.inject(ACK, 1, 1, b"one", b"");
    scene.inject(ACK, 4, 1, b"two", b"");
    scene.inject(ACK, 9, 1, b"gap", b"");
    let seen = |scene: &Scene| -> Vec<u8> {
        scene.us.peek(id).flat_map(|bytes| bytes.as_slice().to_vec()).collect()
    };
    assert_eq!(seen(&scene), b"onetwo");
    for (n, left) in [(0, &b"onetwo"[..]), (2, b"etwo"), (2, b"wo")] {
        scene.us.consume(scene.now, id, n);
        assert_eq!((seen(&scene), scene.us.info(id).unwrap().unread), (left.to_vec(), left.len() as u32));
    }
    let Received::Bytes(rest) = scene.us.receive(scene.now, id) else { panic!("there was something") };
    assert_eq!(rest.as_slice(), b"wo");
    scene.us.credit(scene.now, id, 1, 2);
    scene.inject(ACK | FIN, 7, 1, b"**", b"");
    scene.us.consume(scene.now, id, 100);
    assert_eq!((seen(&scene), scene.us.receive(scene.now, id)), (vec![], Received::Nothing));
    assert!(!scene.us.info(id).unwrap().peer_closed, "a FIN before what was received is none");
}

#[test]
fn room_to_send() {
    let settings = Settings { send_buffer: 20_000, unsent_low_water: 4000, ..Settings::default() };
    let (mut scene, id) = Scene::connected(Config::default(), settings);
    assert_eq!(scene.us.room(id), 4000);
    scene.send(id, 4000);
    assert_eq!(scene.us.room(id), 0);
    scene.sent();
    assert_eq!(scene.us.room(id), 4000, "what is sent leaves room");
    for _ in 0..2 {
        scene.send(id, 4000);
        scene.sent();
    }
    scene.send(id, 2000);
    // Ten segments are out, and four wait.
    scene.sent();
    assert_eq!((scene.us.info(id).unwrap().unsent, scene.us.room(id)), (4000, 0));
    scene.us.configure(scene.now, id, &Settings { unsent_low_water: 0, ..settings });
    assert_eq!(scene.us.room(id), 6000);
    scene.us.configure(scene.now, id, &Settings::default());
    assert_eq!(scene.us.room(id), Config::default().send_buffer - 14_000);
}

#[test]
fn keepalive_times_of_its_own() {
    let second = Duration::from_secs(1);
    let settings = Settings {
        keepalive: true,
        keepalive_idle: 10 * second,
        keepalive_interval: 2 * second,
        keepalive_probes: 3,
        ..Settings::default()
    };
    let (mut scene, id) = Scene::connected(Config::default(), settings);
    let sent = scene.wait(20 * second);
    let times: Vec<_> = sent.iter().map(|(at, seen)| (at / 100, seen.0, seen.1)).collect();
    assert_eq!(times, [(100, ACK, 0), (120, ACK, 0), (140, ACK, 0), (160, RST | ACK, 1)]);
    assert_eq!(scene.us.error(id), Some(Error::TimedOut));
}

#[test]
fn an_orphan_waits_as_long_as_it_was_told() {
    let second = Duration::from_secs(1);
    for (fin_wait2, waits) in [(Duration::ZERO, 60), (5 * second, 5)] {
        let settings = Settings { fin_wait2, ..Settings::default() };
        let (mut scene, id) = Scene::connected(Config::default(), settings);
        scene.us.close(scene.now, id);
        scene.sent();
        scene.inject(ACK, 1, 2, b"", b"");
        scene.wait((waits - 1) * second);
        assert_eq!(scene.us.population().0, 1);
        scene.wait(2 * second);
        assert_eq!(scene.us.population().0, 0);
    }
}

#[test]
fn accepting_waits_for_data() {
    let settings = Settings { defer_accept: Duration::from_secs(5), ..Settings::default() };
    let (mut scene, listener) = Scene::listening(settings);
    scene.syn();
    scene.inject(ACK, 1, 1, b"", b"");
    assert_eq!((scene.us.acceptable(listener), scene.brief()), (0, vec![]));
    // It was answered: no SYN-ACK goes out again meanwhile.
    assert_eq!(scene.wait(Duration::from_secs(4)), []);
    scene.inject(ACK, 1, 1, b"request", b"");
    assert_eq!((scene.us.acceptable(listener), scene.brief()), (1, vec![(ACK, 1, 8, 0)]));
}

#[test]
fn accepting_waits_for_data_for_a_time() {
    let settings = Settings { defer_accept: Duration::from_secs(5), ..Settings::default() };
    let (mut scene, listener) = Scene::listening(settings);
    scene.syn();
    scene.inject(ACK, 1, 1, b"", b"");
    let sent = scene.wait(Duration::from_secs(8));
    assert!(matches!(sent[..], [(6999..=7003, (flags, 0, 1, 0))] if flags == SYN | ACK), "{sent:?}");
    scene.inject(ACK, 1, 1, b"", b"");
    assert_eq!(scene.us.acceptable(listener), 1);
}

#[test]
fn a_backlog_that_grows() {
    let (mut scene, listener) = Scene::listening(Settings::default());
    scene.us.set_backlog(listener, 1);
    scene.syn();
    scene.inject(ACK, 1, 1, b"", b"");
    assert_eq!(scene.us.acceptable(listener), 1);
    let mut other = SYN_FROM_ANOTHER;
    other[..2].copy_from_slice(&4001u16.to_be_bytes());
    let try_again = |scene: &mut Scene| {
        let addresses = (*PEER.ip(), *US.ip());
        scene.us.handle_packet(scene.now, addresses, Bytes::new(&other), Checksum::KnownGood, false).unwrap();
        scene.sent().len()
    };
    assert_eq!(try_again(&mut scene), 0);
    scene.us.set_backlog(listener, 2);
    assert_eq!(try_again(&mut scene), 1);
}

#[test]
fn no_syn_ack_is_left_out_where_many_are_due() {
    let (mut scene, listener) = Scene::listening(Settings::default());
    scene.us.set_backlog(listener, 1000);
    for port in 1..=600_u16 {
        let mut syn = SYN_FROM_ANOTHER;
        syn[..2].copy_from_slice(&port.to_be_bytes());
        let addresses = (*PEER.ip(), *US.ip());
        scene.us.handle_packet(scene.now, addresses, Bytes::new(&syn), Checksum::KnownGood, false).unwrap();
        assert_eq!(scene.sent().len(), 1);
    }
    let again = scene.wait(Duration::from_millis(1100)).len();
    assert_eq!((again, scene.us.counters().retransmitted), (600, 600));
}

/// A SYN to port 80.
const SYN_FROM_ANOTHER: [u8; 20] = [0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];

//! How a connection comes to be.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use super::rig::{PEER, RTT, Rig, US, config, data, modern, plain, seg};
use crate::Options;
use crate::connection::{Error, News, State};
use crate::shard::{ConnectError, ListenError, Received};

const NOTHING: [&str; 0] = [];

//= RFC 9293 section 3.5: the three-way handshake, as the listener has it.
//= RFC 9293 MUST-14: the SYN-ACK carries an MSS option, and that of the SYN is heeded.
#[test]
fn passive_open() {
    let mut rig = Rig::listening(config());
    let syn_ack = rig.give_full(seg("S", 0, 0).options(&Options { mss: Some(700), ..plain() }));
    assert_eq!(syn_ack[0].options, plain());
    assert_eq!(rig.give(seg(".", 1, 1)), NOTHING);
    rig.accept();
    assert_eq!((rig.state(), rig.info().mss), (Some(State::Established), 700));
}

//= RFC 9293 section 3.5: the three-way handshake, as the connecting side has it.
//= RFC 9293 MUST-14: the SYN carries an MSS option, and that of the SYN-ACK is heeded.
#[test]
fn active_open() {
    let mut rig = Rig::new(config());
    rig.id = Some(rig.shard.connect(rig.now, US, PEER).unwrap());
    let syn = rig.packets();
    assert_eq!(syn[0].options.mss, Some(1460));
    assert_eq!(rig.state(), Some(State::SynSent));
    let syn_ack = seg("S.", 0, 1).options(&Options { mss: Some(700), ..plain() });
    assert_eq!(rig.give(syn_ack), [". 1:1(0) ack 1"]);
    assert_eq!((rig.news(), rig.info().mss), (vec![News::CONNECTED], 700));
}

//= RFC 9293 section 3.5: data of a SYN-ACK, or of the ACK that ends the handshake, is taken.
#[test]
fn data_in_the_handshake() {
    let mut rig = Rig::connecting(config());
    assert_eq!(rig.give(seg("S.", 0, 1).with(b"early")), [". 1:1(0) ack 6"]);
    assert_eq!(rig.read(), "early");
    let mut rig = Rig::listening(config());
    rig.give(seg("S", 0, 0));
    assert_eq!(rig.give(seg("FP.", 1, 1).with(b"all")), [". 1:1(0) ack 5"]);
    rig.accept();
    assert_eq!((rig.read().as_str(), rig.state()), ("all", Some(State::CloseWait)));
}

//= RFC 9293 MUST-10: SYNs that cross make one connection.
#[test]
fn simultaneous_open() {
    // The peer answers our SYN with a SYN-ACK, or with an ACK only.
    for last in ["S.", "."] {
        let mut rig = Rig::connecting(config());
        assert_eq!(rig.give(seg("S", 0, 0)), ["S. 0:0(0) ack 1"]);
        assert_eq!(rig.state(), Some(State::SynReceived));
        rig.give(seg(last, u32::from(last == "."), 1));
        assert_eq!((rig.state(), rig.news()), (Some(State::Established), vec![News::CONNECTED]), "{last}");
        assert_eq!(rig.send(b"hi"), ["P. 1:3(2) ack 1"]);
        assert_eq!(rig.give(data(1, 3, b"ho")), [". 3:3(0) ack 3"]);
    }
}

//= RFC 9293 section 3.5: data of a SYN-ACK comes after the SYN, also where SYNs have crossed.
#[test]
fn data_of_a_crossed_syn_ack() {
    let mut rig = Rig::connecting(config());
    rig.give(seg("S", 0, 0));
    assert_eq!(rig.give(seg("S.", 0, 1).with(b"abcd")), [". 1:1(0) ack 5"]);
    assert_eq!(rig.read(), "abcd");
}

//= RFC 9293 MUST-11: after a passive open, a reset in SYN-RECEIVED leads back to LISTEN, unseen.
#[test]
fn reset_of_a_passive_open() {
    let mut rig = Rig::listening(config());
    rig.give(seg("S", 0, 0));
    assert_eq!(rig.give(seg("R", 1, 0)), NOTHING);
    assert_eq!((rig.shard.population(), rig.news()), ((0, 0, 0), vec![]));
    assert_eq!(rig.give(seg("S", 9, 0)), ["S. 0:0(0) ack 10"]);
}

//= RFC 9293 MUST-11: after an active open, a reset in SYN-RECEIVED refuses the connection.
#[test]
fn reset_of_a_crossed_open() {
    let mut rig = Rig::connecting(config());
    rig.give(seg("S", 0, 0));
    assert_eq!(rig.give(seg("R", 1, 0)), NOTHING);
    assert_eq!((rig.news(), rig.error()), (vec![News::READABLE_AND_CLOSED], Some(Error::Refused)));
}

//= RFC 9293 MUST-8: the initial sequence number grows by one each 4 us.
//= RFC 9293 MUST-9: what it grows from cannot be told without the secret.
//= RFC 9293 SHLD-1: it is the clock and a keyed function of the flow (RFC 6528).
#[test]
fn initial_sequence_numbers() {
    let iss = |wait: Duration, secret, remote: SocketAddrV4| {
        let mut rig = Rig::new(crate::Config { secret, ..config() });
        rig.pass(wait);
        rig.id = Some(rig.shard.connect(rig.now, US, remote).unwrap());
        rig.packets()[0].seq
    };
    let first = iss(Duration::ZERO, [7; 16], PEER);
    assert_eq!(iss(Duration::from_micros(400), [7; 16], PEER).wrapping_sub(first), 100);
    assert_eq!(iss(Duration::from_secs(100), [7; 16], PEER).wrapping_sub(first), 25_000_000);
    let far = |other: u32| other.abs_diff(first) > 1 << 12;
    assert!(far(iss(Duration::ZERO, [8; 16], PEER)));
    assert!(far(iss(Duration::ZERO, [7; 16], SocketAddrV4::new(*PEER.ip(), PEER.port() + 1))));
}

//= RFC 9293 MUST-41: a passive open disturbs nobody; one of an address that is taken fails.
#[test]
fn passive_opens_disturb_nobody() {
    let mut rig = Rig::established();
    assert_eq!(rig.shard.listen(US, 4), Err(ListenError::InUse));
    assert!(rig.shard.listen(SocketAddrV4::new(*US.ip(), 81), 4).is_ok());
    assert_eq!(rig.send(b"on"), ["P. 1:3(2) ack 1"]);
}

//= RFC 9293 MUST-42: one may listen on a port that has a connection in SYN-SENT or SYN-RECEIVED.
#[test]
fn listen_beside_a_connect() {
    for crossed in [false, true] {
        let mut rig = Rig::connecting(config());
        if crossed {
            rig.give(seg("S", 0, 0));
        }
        rig.listener = Some(rig.shard.listen(US, 4).unwrap());
        let other = SocketAddrV4::new(*PEER.ip(), 50_000);
        assert_eq!(rig.give(seg("S", 5, 0).between(other, US)), ["S. 0:0(0) ack 6"]);
    }
}

//= RFC 9293 MUST-43: the local address may be named: others are not listened on.
//= RFC 9293 MUST-45: all segments of a connection carry its local address.
#[test]
fn local_addresses() {
    let other = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 3), US.port());
    let mut rig = Rig::listening(config());
    assert_eq!(
        rig.give_full(seg("S", 0, 0).between(PEER, other))[0].flags,
        wire::TcpFlags::RST | wire::TcpFlags::ACK
    );
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 90);
    rig.shard.listen(any, 4).unwrap();
    let to = SocketAddrV4::new(*other.ip(), 90);
    assert_eq!(rig.give_full(seg("S", 0, 0).between(PEER, to))[0].src, to);
    let mut rig = Rig::new(config());
    rig.id = Some(rig.shard.connect(rig.now, other, PEER).unwrap());
    let mut sent = rig.packets();
    sent.extend(rig.give_full(seg("S.", 0, 1).between(PEER, other)));
    rig.queue(b"x");
    sent.extend(rig.packets());
    sent.extend(rig.give_full(data(1, 2, b"y").between(PEER, other)));
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|out| (out.src, out.dst) == (other, PEER)));
}

//= RFC 9293 MUST-46: nobody connects to a broadcast or multicast address.
#[test]
fn connects_to_no_host() {
    let mut rig = Rig::new(config());
    for address in [[0, 0, 0, 0], [224, 0, 0, 1], [239, 1, 2, 3], [255, 255, 255, 255]] {
        let remote = SocketAddrV4::new(address.into(), 80);
        assert_eq!(rig.shard.connect(rig.now, US, remote), Err(ConnectError::BadAddress), "{remote}");
    }
    assert_eq!(rig.out(), NOTHING);
}

//= RFC 9293 MUST-57: a SYN to a broadcast or multicast address is discarded in silence.
//= RFC 9293 MUST-63: so is a SYN from an address that is no host's.
#[test]
fn syns_of_no_host() {
    for address in [[0, 0, 0, 0], [224, 0, 0, 1], [239, 1, 2, 3], [255, 255, 255, 255]] {
        let odd = SocketAddrV4::new(address.into(), 80);
        let mut rig = Rig::new(config());
        rig.shard.listen(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80), 4).unwrap();
        assert_eq!(rig.give(seg("S", 0, 0).between(PEER, odd)), NOTHING, "to {odd}");
        assert_eq!(rig.give(seg("S", 0, 0).between(odd, US)), NOTHING, "from {odd}");
    }
}

//= RFC 9293 section 3.10.7.2: LISTEN.
#[test]
fn listen_state() {
    let cases = [
        ("R", None),
        ("R.", None),
        (".", Some("R 7:7(0)")),
        ("S.", Some("R 7:7(0)")),
        ("F.", Some("R 7:7(0)")),
        ("F", None),
        ("-", None),
        ("SR", None),
    ];
    for (flags, want) in cases {
        let mut rig = Rig::listening(config());
        let flags = flags.trim_matches('-');
        assert_eq!(rig.give(seg(flags, 0, 7)), want.into_iter().collect::<Vec<_>>(), "{flags}");
        assert_eq!(rig.shard.population(), (0, 0, 0), "{flags}");
    }
}

//= RFC 9293 section 3.10.7.3: SYN-SENT: only an ACK of our SYN is good, and only with it a reset.
#[test]
fn syn_sent_state() {
    // Flags, acknowledgment, answer, whether the connection goes on.
    let cases = [
        (".", 0, &["R 0:0(0)", SYN][..], true),
        (".", 2, &["R 2:2(0)", SYN], true),
        ("S.", 0, &["R 0:0(0)", SYN], true),
        ("S.", 2, &["R 2:2(0)", SYN], true),
        ("R.", 0, &[], true),
        ("R.", 2, &[], true),
        ("R", 0, &[], true),
        ("R.", 1, &[], false),
        (".", 1, &[], true),
        ("F.", 1, &[], true),
    ];
    for (flags, ack, want, goes_on) in cases {
        let mut rig = Rig::connecting(config());
        let answer = rig.give(seg(flags, 0, ack));
        assert_eq!(answer, want, "{flags} {ack}");
        assert_eq!(rig.state() == Some(State::SynSent), goes_on, "{flags} {ack}");
        assert_eq!(rig.error(), (!goes_on).then_some(Error::Refused));
    }
}

/// Our SYN, as the trace of a rig has it.
const SYN: &str = "S 0:0(0)";

/// A new connection meets one in TIME-WAIT that does not believe the SYN to be new: it is reset, and the SYN
/// comes again without the wait for the timer. But not for every such answer: some peers ignore resets.
#[test]
fn a_connection_of_another_age() {
    let mut rig = Rig::connecting(config());
    assert_eq!(rig.give(seg(".", 7, 5000)), ["R 5000:5000(0)", SYN]);
    assert_eq!(rig.give(seg(".", 7, 5000)), ["R 5000:5000(0)"]);
    assert_eq!(rig.give(seg("S.", 0, 1)), [". 1:1(0) ack 1"]);
    assert_eq!(rig.news(), [News::CONNECTED]);
    let mut rig = Rig::connecting(config());
    assert_eq!(rig.wait(Duration::from_secs(2)), [SYN]);
    assert_eq!(rig.give(seg(".", 7, 5000)), ["R 5000:5000(0)"], "the timer was first");
}

//= RFC 9293 section 3.5: an old duplicate SYN is answered, and the reset that follows undoes it.
#[test]
fn an_old_duplicate_syn() {
    let mut rig = Rig::listening(config());
    assert_eq!(rig.give(seg("S", 1000, 0)), ["S. 0:0(0) ack 1001"]);
    assert_eq!(rig.give(seg("R", 1001, 0)), NOTHING);
    assert_eq!(rig.give(seg("S", 0, 0)), ["S. 0:0(0) ack 1"]);
    rig.give(seg(".", 1, 1));
    rig.accept();
}

//= RFC 9293 section 3.5.1: a peer that has crashed and connects anew finds the old connection, and ends it.
#[test]
fn half_open_connections() {
    let mut rig = Rig::established();
    assert_eq!(rig.give(seg("S", 400, 0)), [". 1:1(0) ack 1"]);
    assert_eq!(rig.give(seg("R", 1, 0)), NOTHING);
    assert_eq!((rig.state(), rig.error()), (Some(State::Closed), Some(Error::Reset)));
    assert_eq!(rig.give(seg("S", 400, 0)).len(), 1);
}

//= RFC 9293 section 3.10.7.4: in SYN-RECEIVED, an ACK of anything but our SYN is answered with a reset.
#[test]
fn bad_acks_in_syn_received() {
    let mut passive = Rig::listening(config());
    passive.give(seg("S", 0, 0));
    let mut crossed = Rig::connecting(config());
    crossed.give(seg("S", 0, 0));
    for mut rig in [passive, crossed] {
        assert_eq!(rig.give(seg(".", 1, 0)), ["R 0:0(0)"]);
        assert_eq!(rig.give(seg(".", 1, 2)), ["R 2:2(0)"]);
        assert_eq!(rig.give(seg("", 1, 0)), NOTHING);
        rig.give(seg(".", 1, 1));
        assert_eq!(rig.shard.population(), (1, 0, 0));
    }
}

//= RFC 9293 MUST-22: a SYN is sent again as data is, with the timeout doubled each time.
//= RFC 9293 MUST-23: for three minutes at least.
//= RFC 6298 section 2.1: before a round trip is measured, the timeout is 1 second.
#[test]
fn a_syn_without_answer() {
    let mut rig = Rig::connecting(config());
    let sent: Vec<_> =
        rig.wait_timed(Duration::from_secs(180)).into_iter().map(|(at, _)| at / 1000).collect();
    assert_eq!(sent, [1, 3, 7, 15, 31, 63, 127]);
    assert_eq!(rig.state(), Some(State::SynSent), "still after three minutes");
    rig.wait(Duration::from_secs(100));
    assert_eq!((rig.error(), rig.end()), (Some(Error::TimedOut), Received::Closed(Some(Error::TimedOut))));
}

//= RFC 9293 MUST-22: so is a SYN-ACK.
#[test]
fn a_syn_ack_without_answer() {
    let mut rig = Rig::listening(config());
    rig.give(seg("S", 0, 0));
    let sent = rig.wait_timed(Duration::from_secs(100));
    let at: Vec<_> = sent.iter().map(|(at, _)| at / 1000).collect();
    assert_eq!(at, [1, 3, 7, 15, 31]);
    assert!(sent.iter().all(|(_, out)| out == "S. 0:0(0) ack 1"));
    assert_eq!(rig.shard.population(), (0, 0, 0));
}

//= RFC 9293 section 3.10.7.4: a SYN that comes again is answered as the first one was.
#[test]
fn a_syn_comes_again() {
    let mut rig = Rig::listening(config());
    for _ in 0..3 {
        assert_eq!(rig.give(seg("S", 0, 0)), ["S. 0:0(0) ack 1"]);
    }
    assert_eq!(rig.shard.population(), (0, 1, 0));
}

//= RFC 4987 section 3.6: past the bound of half-open connections, cookies answer, and hold no state.
#[test]
fn syn_cookies() {
    let mut rig = Rig::listening(crate::Config { half_open: 1, ..config() });
    let other = SocketAddrV4::new(*PEER.ip(), 50_000);
    rig.give(seg("S", 0, 0).between(other, US));
    let syn_ack = rig.give_full(seg("S", 0, 0).options(&modern()));
    assert_eq!((syn_ack.len(), rig.shard.population()), (1, (0, 1, 0)));
    rig.pass(RTT);
    let echo = syn_ack[0].options.timestamps.unwrap().value;
    let timestamps = Some(crate::Timestamps { value: 5010, echo });
    let options = Options { timestamps, ..Options::default() };
    rig.give(data(1, 1, b"hello").options(&options));
    rig.accept();
    let info = rig.info();
    assert_eq!((info.sack, info.timestamps, info.scales.0), (true, true, 7));
    assert_eq!(rig.read(), "hello");
}

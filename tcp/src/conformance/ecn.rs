//! Explicit congestion notification: RFC 3168.

use std::time::Duration;

use super::rig::{RTT, Rig, config, data, plain, seg};
use crate::config::Ecn;
use crate::{Config, Options, SackBlocks, SeqNumber, SeqRange};
use wire::TcpFlags;

/// A server and a peer that have agreed on ECN.
fn agreed() -> Rig {
    agreed_with(&plain())
}

fn agreed_with(options: &Options) -> Rig {
    let mut rig = Rig::listening(config());
    assert_eq!(rig.give(seg("SEW", 0, 0).options(options)), ["SE. 0:0(0) ack 1"]);
    rig.pass(RTT);
    rig.give(seg(".", 1, 1));
    rig.accept();
    assert!(rig.info().ecn);
    rig
}

//= RFC 3168 section 6.1.1: a SYN with ECE and CWR asks, a SYN-ACK with ECE alone agrees.
#[test]
fn passive() {
    for (syn, syn_ack, want) in [
        ("SEW", "SE. 0:0(0) ack 1", true),
        ("S", "S. 0:0(0) ack 1", false),
        ("SE", "S. 0:0(0) ack 1", false),
        ("SW", "S. 0:0(0) ack 1", false),
    ] {
        let mut rig = Rig::listening(config());
        assert_eq!(rig.give(seg(syn, 0, 0)), [syn_ack]);
        rig.give(seg(".", 1, 1));
        rig.accept();
        assert_eq!(rig.info().ecn, want, "{syn}");
    }
    let mut rig = Rig::listening(Config { ecn: Ecn::Off, ..config() });
    assert_eq!(rig.give(seg("SEW", 0, 0)), ["S. 0:0(0) ack 1"]);
}

//= RFC 3168 section 6.1.1: we ask if so configured, and take only ECE without CWR for a yes.
#[test]
fn active() {
    for (syn_ack, want) in [("SE.", true), ("S.", false), ("SEW.", false), ("SW.", false)] {
        let mut rig = Rig::new(Config { ecn: Ecn::Request, ..config() });
        rig.id = rig.shard.connect(rig.now, super::rig::US, super::rig::PEER).ok();
        let syn = rig.packets();
        assert!(syn[0].flags.contains(TcpFlags::ECE | TcpFlags::CWR) && !syn[0].ect);
        rig.give(seg(syn_ack, 0, 1));
        assert_eq!(rig.info().ecn, want, "{syn_ack}");
    }
}

//= RFC 3168 section 6.1.1.1: a SYN that is sent again asks no more.
#[test]
fn a_syn_again() {
    let mut rig = Rig::new(Config { ecn: Ecn::Request, ..config() });
    rig.id = rig.shard.connect(rig.now, super::rig::US, super::rig::PEER).ok();
    assert_eq!(rig.out(), ["SEW 0:0(0)"]);
    assert_eq!(rig.wait(Duration::from_millis(1100)), ["S 0:0(0)"]);
}

//= RFC 3168 section 5: new data is sent as ECN capable,
//= RFC 3168 section 6.1.5: retransmissions are not,
//= RFC 3168 section 6.1.4: nor are ACKs without data.
#[test]
fn capable_packets() {
    let mut rig = agreed();
    rig.queue(b"hello");
    assert!(rig.packets()[0].ect);
    let again = rig.wait_full(Duration::from_millis(400));
    assert!(!again.is_empty() && again.iter().all(|out| !out.ect));
    assert!(!rig.give_full(data(1, 6, b"x"))[0].ect);
    let mut rig = Rig::established();
    rig.queue(b"hello");
    assert!(!rig.packets()[0].ect);
}

//= RFC 3168 section 6.1.3: a mark is echoed in every ACK until the peer says CWR.
#[test]
fn marks_are_echoed() {
    let mut rig = agreed();
    assert_eq!(rig.give(data(1, 1, b"x").marked()), ["E. 1:1(0) ack 2"]);
    assert_eq!(rig.give(data(2, 1, b"x")), ["E. 1:1(0) ack 3"]);
    assert_eq!(rig.give(seg("W.", 3, 1).with(b"x")), [". 1:1(0) ack 4"]);
    assert_eq!(rig.give(seg("W.", 4, 1).with(b"x").marked()), ["E. 1:1(0) ack 5"]);
    let mut rig = Rig::established();
    assert_eq!(rig.give(data(1, 1, b"x").marked()), [". 1:1(0) ack 2"]);
}

//= RFC 9293 SHLD-8: ECN is supported:
//= RFC 3168 section 6.1.2: an echo reduces the window as a loss does, once a round trip,
//= RFC 3168 section 6.1.2: and the next new data says CWR.
#[test]
fn echoes_reduce_the_window() {
    let mut rig = agreed();
    rig.queue(&[b'x'; 100_000]);
    assert_eq!(rig.out().len(), 10);
    rig.pass(RTT);
    let mut sent = Vec::new();
    for n in 1..=9 {
        sent.extend(rig.give(seg("E.", 1, 1 + 1460 * n)));
    }
    assert!(rig.info().ssthresh >= 7 * 1460 && rig.info().ssthresh < 10 * 1460, "{}", rig.info().ssthresh);
    assert!(rig.info().cwnd <= rig.info().ssthresh + 1460);
    assert_eq!(rig.shard.counters().retransmitted, 0);
    let told = sent.iter().filter(|out| out.starts_with("W")).count();
    assert_eq!(told, 1, "{sent:?}");
}

//= RFC 3168 section 6.1.2: CWR follows a reduction by a retransmission timeout, too,
#[test]
fn a_timeout_is_told() {
    let mut rig = agreed();
    rig.send(b"x");
    assert_eq!(rig.wait(Duration::from_millis(250)), ["P. 1:2(1) ack 1"]);
    rig.give(seg(".", 1, 2));
    assert_eq!(rig.send(b"y"), ["PW. 2:3(1) ack 1"]);
    rig.give(seg(".", 1, 3));
    assert_eq!(rig.send(b"z"), ["P. 3:4(1) ack 1"], "once");
}

//= RFC 3168 section 6.1.2: and one by the timer that finds a segment overtaken.
#[test]
fn what_a_timer_finds_lost_is_told() {
    let mut rig = agreed_with(&Options { sack_permitted: true, ..plain() });
    rig.send(&[b'x'; 5 * 1460]);
    rig.pass(RTT);
    let at = |n| SeqNumber::new(rig.absolute(n));
    let mut sack = SackBlocks::NONE;
    sack.push(SeqRange { start: at(1461), end: at(2921) });
    assert!(rig.give(seg(".", 1, 1).options(&Options { sack, ..Options::default() })).is_empty());
    assert_eq!(rig.wait(RTT / 2), [". 1:1461(1460) ack 1"]);
    rig.give(seg(".", 1, 5 * 1460 + 1));
    assert_eq!(rig.send(b"y"), ["PW. 7301:7302(1) ack 1"]);
}

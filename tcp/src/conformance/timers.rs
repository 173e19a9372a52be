//! Retransmission, giving up, keepalive: RFC 9293 sections 3.8.1 to 3.8.4, RFC 6298.

use std::time::Duration;

use super::rig::{Rig, config, data, modern, plain, seg};
use crate::Config;
use crate::config::Keepalive;
use crate::connection::{Error, State};
use crate::shard::Received;

const NOTHING: [&str; 0] = [];

fn gaps(times: &[(u64, String)]) -> Vec<u64> {
    times.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
}

//= RFC 9293 MUST-18: the retransmission timeout is that of RFC 6298:
//= RFC 6298 section 2.2: SRTT is the first sample, RTTVAR half of it.
//= RFC 6298 section 2.3: then they follow the samples by 1/8 and 1/4.
#[test]
fn round_trip_times() {
    let mut rig = Rig::listening(config());
    rig.give(seg("S", 0, 0));
    rig.pass(Duration::from_millis(80));
    rig.give(seg(".", 1, 1));
    rig.accept();
    let (srtt, rttvar, rto) = (rig.info().srtt, rig.info().rttvar, rig.info().rto);
    assert_eq!((srtt, rttvar, rto), (80_000, 40_000, 280_000));
    rig.send(b"x");
    rig.pass(Duration::from_millis(160));
    rig.give(seg(".", 1, 2));
    assert_eq!((rig.info().srtt, rig.info().rttvar), (90_000, 50_000));
}

//= RFC 9293 MUST-18: no round trip is measured of a segment that was sent twice (Karn's algorithm).
//= RFC 6298 section 3: nor is the timeout taken back until one is.
#[test]
fn karns_algorithm() {
    let mut rig = Rig::established();
    let before = rig.info();
    rig.send(b"x");
    assert_eq!(rig.wait(Duration::from_millis(300)), ["P. 1:2(1) ack 1"]);
    rig.give(seg(".", 1, 2));
    assert_eq!((rig.info().srtt, rig.info().rttvar), (before.srtt, before.rttvar));
    assert_eq!(rig.info().rto, 2 * before.rto);
}

//= RFC 9293 MUST-19: the timeout is backed off exponentially.
//= RFC 6298 section 5.5: it doubles with each retransmission.
#[test]
fn backoff() {
    let mut rig = Rig::established();
    rig.send(b"x");
    let sent = rig.wait_timed(Duration::from_secs(20));
    let gaps = gaps(&sent);
    assert!(sent[0].0.abs_diff(210) <= 10 && gaps.len() >= 4, "{sent:?}");
    assert!(gaps.windows(2).all(|pair| pair[1].abs_diff(2 * pair[0]) <= 20), "{gaps:?}");
}

//= RFC 6298 section 5.3: an ACK of new data starts the timer anew.
//= RFC 6298 section 5.2: with all acknowledged, it stops.
#[test]
fn the_timer_starts_anew() {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 2920]);
    rig.wait(Duration::from_millis(150));
    rig.give(seg(".", 1, 1461));
    assert_eq!(rig.wait(Duration::from_millis(150)), NOTHING);
    assert_eq!(rig.wait(Duration::from_millis(300)).len(), 1);
    rig.give(seg(".", 1, 2921));
    assert_eq!(rig.wait(Duration::from_secs(60)), NOTHING);
}

//= RFC 9293 MUST-20: after R2 without an ACK, the connection ends.
//= RFC 9293 SHLD-11: R2 is 100 seconds at least.
#[test]
fn r2() {
    let mut rig = Rig::established();
    rig.send(b"x");
    rig.wait(Duration::from_secs(100));
    assert_eq!(rig.state(), Some(State::Established));
    rig.wait(Duration::from_secs(1100));
    assert_eq!(rig.end(), Received::Closed(Some(Error::TimedOut)));
}

//= RFC 9293 MUST-21: the application sets R2 of a connection.
#[test]
fn r2_of_the_application() {
    for seconds in [5, 30, 3000] {
        let mut rig = Rig::established();
        rig.shard.set_user_timeout(rig.now, rig.id(), Duration::from_secs(seconds));
        rig.send(b"x");
        rig.wait(Duration::from_secs(seconds - 1));
        assert_eq!(rig.state(), Some(State::Established), "{seconds}");
        rig.wait(Duration::from_secs(seconds + 125));
        assert_eq!(rig.error(), Some(Error::TimedOut), "{seconds}");
    }
}

//= RFC 9293 MUST-20: so does one that still has data to send.
#[test]
fn r2_with_data_unsent() {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 100_000]);
    assert!(rig.info().unsent > 0);
    rig.wait(Duration::from_secs(1200));
    assert_eq!(rig.end(), Received::Closed(Some(Error::TimedOut)));
}

fn alive() -> Config {
    let keepalive =
        Keepalive { idle: Duration::from_secs(100), interval: Duration::from_secs(10), probes: 3 };
    Config { keepalive, ..config() }
}

//= RFC 9293 MUST-25: keepalive is off unless it is asked for.
//= RFC 9293 MUST-24: it is turned on and off for each connection.
//= RFC 9293 MUST-27: the interval is configured.
//= RFC 9293 SHLD-12: a probe has no data.
#[test]
fn keepalive_on_and_off() {
    let mut rig = Rig::server(alive(), &plain());
    assert_eq!(rig.wait(Duration::from_secs(20_000)), NOTHING);
    rig.shard.set_keepalive(rig.now, rig.id(), true);
    assert_eq!(rig.wait(Duration::from_secs(99)), NOTHING);
    assert_eq!(rig.wait(Duration::from_secs(2)), [". 0:0(0) ack 1"]);
    rig.give(seg(".", 1, 1));
    rig.shard.set_keepalive(rig.now, rig.id(), false);
    assert_eq!(rig.wait(Duration::from_secs(20_000)), NOTHING);
}

//= RFC 9293 MUST-28: without configuration, it is two hours at least.
#[test]
fn keepalive_by_default() {
    let mut rig = Rig::established();
    rig.shard.set_keepalive(rig.now, rig.id(), true);
    assert_eq!(rig.wait(Duration::from_secs(7199)), NOTHING);
    assert_eq!(rig.wait(Duration::from_secs(2)), [". 0:0(0) ack 1"]);
}

//= RFC 9293 MUST-29: one probe without an answer says nothing; several do.
#[test]
fn keepalive_without_an_answer() {
    let mut rig = Rig::server(alive(), &plain());
    rig.shard.set_keepalive(rig.now, rig.id(), true);
    assert_eq!(rig.wait(Duration::from_secs(125)).len(), 3);
    assert_eq!(rig.state(), Some(State::Established));
    rig.give(seg(".", 1, 1));
    assert_eq!(rig.wait(Duration::from_secs(99)), NOTHING);
    let last = rig.wait(Duration::from_secs(100));
    assert_eq!(last, [". 0:0(0) ack 1", ". 0:0(0) ack 1", ". 0:0(0) ack 1", "R. 1:1(0) ack 1"]);
    assert_eq!(rig.error(), Some(Error::TimedOut));
}

//= RFC 9293 MUST-26: only a connection that is idle is probed: nothing unacknowledged, nothing received.
#[test]
fn keepalive_of_busy_connections() {
    let mut rig = Rig::server(alive(), &plain());
    rig.shard.set_keepalive(rig.now, rig.id(), true);
    for n in 0..10 {
        rig.wait(Duration::from_secs(50));
        assert_eq!(rig.give(data(1 + n, 1, b"x")).len(), 1);
    }
    rig.send(b"x");
    let sent = rig.wait(Duration::from_secs(300));
    assert!(sent.iter().all(|out| out == "P. 1:2(1) ack 11"), "{sent:?}");
}

//= RFC 9293 section 3.8.4: a probe of the peer is answered.
#[test]
fn keepalive_of_the_peer() {
    for probe in [seg(".", 0, 1), data(0, 1, b"x")] {
        let mut rig = Rig::established();
        assert_eq!(rig.give(probe), [". 1:1(0) ack 1"]);
        assert_eq!(rig.read(), "");
    }
}

//= RFC 8985 section 7.3: with SACK, the last segment is sent again before the timeout, to draw an ACK.
#[test]
fn tail_loss_probe() {
    let mut rig = Rig::server(config(), &modern());
    rig.send(&[b'x'; 2896]);
    let sent = rig.wait_timed(Duration::from_millis(150));
    assert_eq!(sent, [(20, "P. 1449:2897(1448) ack 1".to_owned())]);
}

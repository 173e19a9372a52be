//! How a connection ends: RFC 9293 section 3.6.

use std::time::Duration;

use super::rig::{Rig, config, data, modern, next_numbers, plain, seg};
use crate::connection::{News, State};
use crate::shard::Received;

const NOTHING: [&str; 0] = [];

//= RFC 9293 section 3.6: we close first.
#[test]
fn active_close() {
    let mut rig = Rig::established();
    rig.queue(b"last");
    assert_eq!(rig.shutdown(), ["FP. 1:5(4) ack 1"]);
    assert_eq!(rig.give(seg(".", 1, 6)), NOTHING);
    assert_eq!(rig.state(), Some(State::FinWait2));
    assert_eq!(rig.give(seg("F.", 1, 6)), [". 6:6(0) ack 2"]);
    assert_eq!((rig.state(), rig.shard.population().2), (Some(State::TimeWait), 1));
}

//= RFC 9293 section 3.6: the peer closes first.
//= RFC 9293 MUST-12: the application is told that the peer has closed in order.
#[test]
fn passive_close() {
    let mut rig = Rig::established();
    assert_eq!(rig.give(seg("FP.", 1, 1).with(b"bye")), [". 1:1(0) ack 5"]);
    assert!(rig.news()[0].has(News::PEER_CLOSED));
    assert_eq!((rig.read().as_str(), rig.end()), ("bye", Received::End));
    assert_eq!(rig.send(b"so long"), ["P. 1:8(7) ack 5"]);
    rig.give(seg(".", 5, 8));
    assert_eq!(rig.shutdown(), ["F. 8:8(0) ack 5"]);
    assert_eq!(rig.state(), Some(State::LastAck));
    assert_eq!(rig.give(seg(".", 5, 9)), NOTHING);
    assert_eq!((rig.state(), rig.error(), rig.end()), (Some(State::Closed), None, Received::End));
}

//= RFC 9293 section 3.6: both close at once.
#[test]
fn simultaneous_close() {
    let mut rig = Rig::established();
    assert_eq!(rig.shutdown(), ["F. 1:1(0) ack 1"]);
    assert_eq!(rig.give(seg("F.", 1, 1)), [". 2:2(0) ack 2"]);
    assert_eq!(rig.state(), Some(State::Closing));
    assert_eq!(rig.give(seg(".", 2, 2)), NOTHING);
    assert_eq!((rig.state(), rig.error(), rig.shard.population().2), (Some(State::TimeWait), None, 1));
}

//= RFC 9293 section 3.6: after our FIN, the peer may go on sending: a half-closed connection.
#[test]
fn half_close() {
    for state in [State::FinWait1, State::FinWait2] {
        let mut rig = Rig::brought_to(state);
        for n in 0..3 {
            assert_eq!(rig.give(data(1 + 5 * n, 2, b"still")), [format!(". 2:2(0) ack {}", 6 + 5 * n)]);
            assert_eq!(rig.read(), "still");
        }
        assert!(rig.shard.send(rig.now, rig.id(), sim::Bytes::new(b"x")).is_err());
    }
}

//= RFC 9293 section 3.10.7.4, "Eighth": a FIN and the ACK of ours in one segment lead to TIME-WAIT at once.
#[test]
fn fin_and_ack_in_one() {
    let mut rig = Rig::brought_to(State::FinWait1);
    assert_eq!(rig.give(seg("F.", 1, 2)), [". 2:2(0) ack 2"]);
    assert_eq!(rig.state(), Some(State::TimeWait));
}

//= RFC 9293 section 3.10.7.4, "Eighth": a FIN behind a gap counts once the gap is filled.
#[test]
fn fin_out_of_order() {
    let mut rig = Rig::established();
    assert_eq!(rig.give(seg("F.", 4, 1).with(b"def")), [". 1:1(0) ack 1"]);
    assert_eq!(rig.state(), Some(State::Established));
    assert_eq!(rig.give(data(1, 1, b"abc")), [". 1:1(0) ack 8"]);
    assert_eq!((rig.state(), rig.read().as_str()), (Some(State::CloseWait), "abcdef"));
}

//= RFC 9293 section 3.10.7.4, "Seventh": after the peer's FIN its data is ignored, and it is told so.
#[test]
fn data_after_the_fin() {
    for state in [State::CloseWait, State::Closing, State::LastAck] {
        let (ours, theirs) = next_numbers(state);
        let mut rig = Rig::brought_to(state);
        let acked = if state == State::CloseWait { ours } else { ours - 1 };
        assert_eq!(rig.give(data(theirs, acked, b"more")), [format!(". {ours}:{ours}(0) ack {theirs}")]);
        assert_eq!((rig.state(), rig.read().as_str()), (Some(state), ""));
    }
}

//= RFC 9293 section 3.10.7.4, "Eighth": a FIN that comes again is acknowledged again.
#[test]
fn a_fin_comes_again() {
    for state in [State::CloseWait, State::Closing, State::LastAck] {
        let (ours, theirs) = next_numbers(state);
        let mut rig = Rig::brought_to(state);
        let acked = if state == State::CloseWait { ours } else { ours - 1 };
        assert_eq!(rig.give(seg("F.", 1, acked)), [format!(". {ours}:{ours}(0) ack {theirs}")], "{state:?}");
        assert_eq!(rig.state(), Some(state));
    }
}

//= RFC 9293 section 3.10.4: what is queued is sent before the FIN, and the FIN is sent again as data is.
#[test]
fn the_fin_is_sent_again() {
    let mut rig = Rig::established();
    assert_eq!(rig.shutdown(), ["F. 1:1(0) ack 1"]);
    let again = rig.wait(Duration::from_secs(3));
    assert!(again.len() >= 2 && again.iter().all(|out| out == "F. 1:1(0) ack 1"), "{again:?}");
    assert_eq!(rig.give(seg(".", 1, 2)), NOTHING);
    assert_eq!(rig.state(), Some(State::FinWait2));
}

/// A connection in TIME-WAIT; the peer's next number is 2, ours is 2.
fn in_time_wait(options: &crate::Options) -> Rig {
    let mut rig = Rig::server(config(), options);
    rig.close();
    rig.give(seg(".", 1, 2));
    assert_eq!(rig.give(seg("F.", 1, 2)).len(), 1);
    assert_eq!(rig.shard.population(), (0, 0, 1));
    rig
}

//= RFC 9293 MUST-13: TIME-WAIT lasts twice the MSL.
#[test]
fn time_wait_lasts() {
    let mut rig = in_time_wait(&plain());
    rig.wait(Duration::from_secs(59));
    assert_eq!(rig.shard.population(), (0, 0, 1));
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.shard.population(), (0, 0, 0));
}

//= RFC 9293 section 3.10.7.4, "Eighth", TIME-WAIT: a FIN that comes again is acknowledged, and the time begins anew.
#[test]
fn a_fin_in_time_wait() {
    let mut rig = in_time_wait(&plain());
    rig.wait(Duration::from_secs(50));
    assert_eq!(rig.give(seg("F.", 1, 2)), [". 2:2(0) ack 2"]);
    rig.wait(Duration::from_secs(50));
    assert_eq!(rig.shard.population(), (0, 0, 1));
    rig.wait(Duration::from_secs(11));
    assert_eq!(rig.shard.population(), (0, 0, 0));
}

//= RFC 9293 section 3.10.7.4, "First", TIME-WAIT: what cannot be taken is answered, one flow's as well as another's.
#[test]
fn old_segments_in_time_wait() {
    let mut rig = in_time_wait(&plain());
    for _ in 0..10 {
        assert_eq!(rig.give(data(1, 2, b"x")), [". 2:2(0) ack 2"]);
    }
}

//= RFC 1337 section 3: a reset does not end TIME-WAIT.
#[test]
fn a_reset_in_time_wait() {
    let mut rig = in_time_wait(&plain());
    assert_eq!(rig.give(seg("R", 2, 0)), NOTHING);
    assert_eq!(rig.shard.population(), (0, 0, 1));
}

//= RFC 9293 SHLD-4: a SYN with a newer timestamp opens a new connection out of TIME-WAIT (RFC 6191).
#[test]
fn a_syn_in_time_wait() {
    let mut rig = in_time_wait(&modern());
    rig.pass(Duration::from_secs(2));
    let old = crate::Options { timestamps: Some(crate::Timestamps { value: 4000, echo: 0 }), ..modern() };
    let answer = rig.give(seg("S", 50_000, 0).options(&old));
    assert!(answer.iter().all(|out| out.starts_with(". ")), "{answer:?}");
    let new = crate::Options { timestamps: Some(crate::Timestamps { value: 9000, echo: 0 }), ..modern() };
    assert_eq!(rig.give(seg("S", 50_000, 0).options(&new)), ["S. 0:0(0) ack 50001"]);
}

//= RFC 9293 section 3.6: a connection that nobody owns does not wait for a FIN for ever.
#[test]
fn an_orphan_in_fin_wait_2() {
    let mut rig = Rig::established();
    rig.close();
    rig.give(seg(".", 1, 2));
    assert_eq!(rig.shard.population(), (1, 0, 0));
    rig.wait(Duration::from_secs(61));
    assert_eq!(rig.shard.population(), (0, 0, 0));
}

//= RFC 9293 section 3.10.4: a close in SYN-SENT ends the connection in silence.
#[test]
fn close_in_syn_sent() {
    let mut rig = Rig::connecting(config());
    assert_eq!(rig.close(), NOTHING);
    assert_eq!(rig.shard.population(), (0, 0, 0));
}

//= RFC 9293 section 3.10.4: a close in SYN-RECEIVED sends a FIN once the handshake is done.
#[test]
fn close_in_syn_received() {
    let mut rig = Rig::connecting(config());
    rig.give(seg("S", 0, 0));
    assert_eq!(rig.shutdown(), NOTHING);
    assert_eq!(rig.wait(Duration::from_millis(1500)), ["S. 0:0(0) ack 1"]);
    let fin = rig.give(seg(".", 1, 1));
    assert_eq!((fin, rig.state()), (vec!["F. 1:1(0) ack 1".to_owned()], Some(State::FinWait1)));
}

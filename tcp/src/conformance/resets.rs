//! Resets and challenges: RFC 9293 section 3.5.2 and 3.10.7, RFC 5961.

use std::time::Duration;

use super::rig::{Rig, SYNCHRONIZED, config, data, modern, next_numbers, plain, seg};
use crate::Options;
use crate::connection::{Error, News, State};
use crate::shard::Received;

const NOTHING: [&str; 0] = [];

//= RFC 9293 section 3.10.7.1: what nobody takes is answered with a reset that its sender believes.
#[test]
fn closed_state() {
    let cases = [
        (seg("S", 5, 0), Some("R. 0:0(0) ack 6")),
        (seg("S", 5, 0).with(b"abc"), Some("R. 0:0(0) ack 9")),
        (seg("F", 5, 0), Some("R. 0:0(0) ack 6")),
        (seg("", 5, 0), Some("R. 0:0(0) ack 5")),
        (seg(".", 5, 7), Some("R 7:7(0)")),
        (data(5, 7, b"abc"), Some("R 7:7(0)")),
        (seg("S.", 5, 7), Some("R 7:7(0)")),
        (seg("R", 5, 0), None),
        (seg("R.", 5, 7), None),
    ];
    for (segment, want) in cases {
        let mut rig = Rig::new(config());
        assert_eq!(rig.give(segment.clone()), want.into_iter().collect::<Vec<_>>(), "{segment:?}");
    }
}

//= RFC 5961 section 3.2: a reset of exactly the next number ends the connection,
//= RFC 5961 section 3.2: one elsewhere in the window is challenged,
//= RFC 5961 section 3.2: one outside of it is dropped.
//= RFC 9293 MUST-12: the application is told that it was a reset.
#[test]
fn resets_in_synchronized_states() {
    for state in SYNCHRONIZED {
        let (ours, theirs) = next_numbers(state);
        let challenge = format!(". {ours}:{ours}(0) ack {theirs}");
        let mut rig = Rig::brought_to(state);
        assert_eq!(rig.give(seg("R", theirs + 1, 0)), [challenge], "{state:?}");
        for seq in [theirs.wrapping_sub(1), theirs + 200_000, theirs.wrapping_sub(70_000)] {
            assert_eq!(rig.give(seg("R", seq, 0)), NOTHING, "{state:?} {seq}");
        }
        assert_eq!(rig.state(), Some(state));
        assert_eq!(rig.give(seg("R", theirs, 0)), NOTHING, "{state:?}");
        assert_eq!(rig.state(), Some(State::Closed), "{state:?}");
        assert!(rig.news()[0].has(News::CLOSED));
        if !matches!(state, State::Closing | State::LastAck) {
            assert_eq!(rig.end(), Received::Closed(Some(Error::Reset)), "{state:?}");
        }
    }
}

//= RFC 9293 section 3.10.7.4, "Second": once both sides have closed, a reset ends the connection,
//= RFC 9293 MUST-12: and the application is told, for our FIN was not acknowledged.
#[test]
fn resets_after_both_have_closed() {
    for state in [State::Closing, State::LastAck] {
        let mut rig = Rig::brought_to(state);
        rig.give(seg("R", 2, 0));
        assert_eq!(rig.error(), Some(Error::Reset), "{state:?}");
    }
    let mut rig = Rig::brought_to(State::CloseWait);
    rig.send(b"last words");
    rig.shutdown();
    rig.give(seg("R", 2, 0));
    assert_eq!(rig.error(), Some(Error::Reset));
}

//= RFC 9293 SHLD-2: a reset may carry data.
#[test]
fn a_reset_with_data() {
    let mut rig = Rig::established();
    assert_eq!(rig.give(seg("R", 1, 0).with(b"because")), NOTHING);
    assert_eq!((rig.error(), rig.read().as_str()), (Some(Error::Reset), ""));
}

//= RFC 9293 MUST-66: a reset counts when the window is closed, too.
#[test]
fn a_reset_into_a_closed_window() {
    let mut rig = Rig::with_small_buffer();
    let seq = rig.fill_window();
    assert_eq!(rig.give(seg("R", seq + 1, 0)), NOTHING);
    assert_eq!(rig.state(), Some(State::Established));
    assert_eq!(rig.give(seg("R", seq, 0)), NOTHING);
    assert_eq!(rig.error(), Some(Error::Reset));
}

//= RFC 5961 section 4.2: a SYN in a synchronized state is challenged, wherever it lies.
#[test]
fn syns_in_synchronized_states() {
    for state in SYNCHRONIZED {
        let (ours, theirs) = next_numbers(state);
        for seq in [theirs, theirs + 5, theirs + 500_000, theirs.wrapping_sub(70_000)] {
            for flags in ["S", "S."] {
                let mut rig = Rig::brought_to(state);
                let challenge = format!(". {ours}:{ours}(0) ack {theirs}");
                assert_eq!(rig.give(seg(flags, seq, ours)), [challenge], "{state:?} {flags} {seq}");
                assert_eq!(rig.state(), Some(state));
            }
        }
    }
}

//= RFC 5961 section 4.2: so is one without the timestamps that were agreed on.
#[test]
fn a_syn_without_timestamps() {
    let mut rig = Rig::server(config(), &modern());
    assert_eq!(rig.give(seg("S", 500_000, 0).options(&plain())), [". 1:1(0) ack 1"]);
    assert_eq!(rig.give(seg(".", 1, 1).with(b"x").options(&Options::default())), NOTHING);
}

//= RFC 5961 section 5.2: an ACK of what was not sent, or older than the largest window, is challenged,
//= RFC 5961 section 5.2: and its data is not taken.
#[test]
fn acks_out_of_range() {
    for ack in [2, 1000, 1u32.wrapping_sub(70_000), 1u32.wrapping_sub(1 << 30)] {
        let mut rig = Rig::established();
        assert_eq!(rig.give(data(1, ack, b"forged")), [". 1:1(0) ack 1"], "{ack}");
        assert_eq!(rig.read(), "");
    }
    let mut rig = Rig::established();
    assert_eq!(rig.give(data(1, 1u32.wrapping_sub(60_000), b"old")), [". 1:1(0) ack 4"]);
    assert_eq!(rig.read(), "old");
}

//= RFC 5961 section 7: challenges are limited.
#[test]
fn challenges_are_limited() {
    for segment in [seg("R", 9, 0), seg("S", 9, 0), seg("S", 70_001, 0)] {
        let mut rig = Rig::established();
        let sent = (0..100).map(|_| rig.give(segment.clone()).len()).sum::<usize>();
        assert_eq!(sent, 1, "{segment:?}");
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.give(segment), [". 1:1(0) ack 1"]);
    }
}

//= RFC 9293 section 3.10.7.4, "First": a segment outside of the window is answered with an ACK, and dropped.
#[test]
fn segments_outside_of_the_window() {
    let far = 1 + 70_000;
    for segment in
        [data(far, 1, b"x"), data(1u32.wrapping_sub(9), 1, b"x"), seg(".", far, 1), seg("F.", far, 1)]
    {
        let mut rig = Rig::established();
        assert_eq!(rig.give(segment.clone()), [". 1:1(0) ack 1"], "{segment:?}");
        assert_eq!((rig.state(), rig.read().as_str()), (Some(State::Established), ""));
    }
}

//= RFC 9293 section 3.10.7.4, "Fifth": a segment without an ACK is dropped.
#[test]
fn segments_without_an_ack() {
    let mut rig = Rig::established();
    assert_eq!(rig.give(seg("P", 1, 0).with(b"data")), NOTHING);
    assert_eq!(rig.give(seg("F", 1, 0)), NOTHING);
    assert_eq!((rig.state(), rig.read().as_str()), (Some(State::Established), ""));
}

//= RFC 9293 section 3.10.5: ABORT sends a reset in synchronized states, and none in SYN-SENT.
#[test]
fn aborts() {
    for state in [State::Established, State::FinWait1, State::FinWait2, State::CloseWait] {
        let (ours, theirs) = next_numbers(state);
        let mut rig = Rig::brought_to(state);
        assert_eq!(rig.abort(), [format!("R. {ours}:{ours}(0) ack {theirs}")], "{state:?}");
        assert_eq!(rig.shard.population(), (0, 0, 0));
    }
    assert_eq!(Rig::connecting(config()).abort(), NOTHING);
    let mut crossed = Rig::connecting(config());
    crossed.give(seg("S", 0, 0));
    assert_eq!(crossed.abort(), ["R. 1:1(0) ack 1"]);
}

//= RFC 9293 SHLD-3: who closes and leaves received data unread, sends a reset.
//= RFC 1122 section 4.2.2.13: data that comes after a close is answered with a reset.
#[test]
fn data_that_nobody_reads() {
    let mut rig = Rig::established();
    rig.give(data(1, 1, b"unread"));
    assert_eq!(rig.close(), ["R. 1:1(0) ack 7"]);
    let mut rig = Rig::established();
    assert_eq!(rig.close(), ["F. 1:1(0) ack 1"]);
    let answer = rig.give(data(1, 2, b"late"));
    assert_eq!(answer.len(), 1);
    assert!(answer[0].starts_with('R'), "{answer:?}");
    assert_eq!(rig.shard.population(), (0, 0, 0));
}

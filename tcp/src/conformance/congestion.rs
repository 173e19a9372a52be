//! Congestion: RFC 9293 section 3.8.2, RFC 5681, RFC 6928, RFC 6582, RFC 6675, RFC 3042.

use std::time::Duration;

use super::rig::{RTT, Rig, config, data, modern, plain, seg};
use crate::congestion::Algorithm;
use crate::{Config, Options, SackBlocks, SeqNumber, SeqRange};

const NOTHING: [&str; 0] = [];

/// A server without timestamps, so that the MSS is 1460, with SACK or without, and as much data as the
/// window takes sent.
fn sending(sack: bool) -> Rig {
    let options = Options { sack_permitted: sack, window_scale: Some(7), ..plain() };
    let mut rig = Rig::server(Config { congestion: Algorithm::NewReno, ..config() }, &options);
    assert_eq!(rig.send(&[b'x'; 200_000]).len(), 10);
    rig.pass(RTT);
    rig
}

fn sack(blocks: &[(u32, u32)], iss_of: &Rig) -> Options {
    let mut sack = SackBlocks::NONE;
    for (start, end) in blocks {
        let at = |n: &u32| SeqNumber::new(iss_of.absolute(*n));
        sack.push(SeqRange { start: at(start), end: at(end) });
    }
    Options { sack, ..Options::default() }
}

//= RFC 9293 MUST-19: slow start:
//= RFC 6928 section 2: the window begins with ten segments,
//= RFC 5681 section 3.1: and grows by what each ACK acknowledges, at most two segments.
#[test]
fn slow_start() {
    let mut rig = sending(false);
    for n in 1..=5 {
        assert_eq!(rig.give(seg(".", 1, 1 + 2920 * n)).len(), 4, "two left, and two more");
    }
}

//= RFC 9293 MUST-19: congestion avoidance:
//= RFC 5681 section 3.1: past ssthresh the window grows by a segment each round trip.
#[test]
fn congestion_avoidance() {
    let mut rig = sending(false);
    for _ in 0..9 {
        rig.give(seg(".", 1, 1));
    }
    rig.pass(RTT);
    let mut sent = rig.sent();
    rig.give(seg(".", 1, sent));
    // Loss is repaired, and the window is what the loss has left.
    for _ in 0..5 {
        let (cwnd, acked) = (rig.info().cwnd, sent);
        sent = rig.sent();
        rig.pass(RTT);
        (1..=(sent - acked) / 1460).for_each(|n| drop(rig.give(seg(".", 1, acked + 1460 * n))));
        let growth = rig.info().cwnd - cwnd;
        assert!(growth > 0 && growth <= 2 * 1460, "{cwnd} grows by {growth}");
    }
    assert!(rig.info().cwnd <= 11 * 1460, "{}", rig.info().cwnd);
}

//= RFC 5681 section 3.1: after a timeout, the window is one segment.
//= RFC 5681 section 3.1: ssthresh is half of what was in flight.
#[test]
fn after_a_timeout() {
    let mut rig = sending(false);
    assert_eq!(rig.wait(Duration::from_millis(250)), [". 1:1461(1460) ack 1"]);
    assert_eq!((rig.info().cwnd, rig.info().ssthresh), (1460, 7300));
    rig.wait(Duration::from_millis(450));
    assert_eq!((rig.info().cwnd, rig.info().ssthresh), (1460, 7300), "once a loss");
}

//= RFC 5681 section 3.2: the third duplicate ACK has the segment sent again.
//= RFC 3042 section 2: the first two have new data sent.
#[test]
fn fast_retransmit() {
    let mut rig = sending(false);
    assert_eq!(rig.give(seg(".", 1, 1)), [". 14601:16061(1460) ack 1"]);
    assert_eq!(rig.give(seg(".", 1, 1)), [". 16061:17521(1460) ack 1"]);
    assert_eq!(rig.give(seg(".", 1, 1))[0], ". 1:1461(1460) ack 1");
    assert!(rig.info().ssthresh < 10 * 1460);
}

//= RFC 5681 section 2: an ACK with data, or another window, is no duplicate.
#[test]
fn what_is_no_duplicate() {
    let mut rig = sending(false);
    for n in 1..=6 {
        rig.give(seg(".", 1, 1).window(65_535 - n));
    }
    assert_eq!(rig.shard.counters().retransmitted, 0);
}

//= RFC 5682 section 2.1: after a timeout and an ACK, new data goes out, and its ACK tells what was lost;
//= RFC 5682 section 2.1: without any that may go, what was lost is sent again.
#[test]
fn after_a_timeout_new_data_if_there_is_any() {
    for (cork, next) in [(false, "P. 2921:3021(100) ack 1"), (true, ". 1461:2921(1460) ack 1")] {
        let mut rig = Rig::established();
        rig.shard.set_cork(rig.now, rig.id(), true);
        assert_eq!(rig.send(&[b'x'; 3020]).len(), 2);
        assert_eq!(rig.wait(Duration::from_millis(250)), [". 1:1461(1460) ack 1"]);
        rig.shard.set_cork(rig.now, rig.id(), cork);
        rig.put(seg(".", 1, 1461)).unwrap();
        assert_eq!(rig.out(), [next]);
    }
}

//= RFC 6582 section 3.2: without SACK, a partial ACK has the next segment sent again.
#[test]
fn partial_ack() {
    let mut rig = sending(false);
    for _ in 0..9 {
        rig.give(seg(".", 1, 1));
    }
    rig.pass(RTT);
    let again = rig.give(seg(".", 1, 1461));
    assert_eq!(again[0], ". 1461:2921(1460) ack 1");
}

//= RFC 6675 section 5: with SACK, what is missing is sent again, and nothing else.
//= RFC 2018 section 5: the sender does not send again what was SACKed.
#[test]
fn sack_recovery() {
    let mut rig = sending(true);
    let blocks: [&[(u32, u32)]; 3] =
        [&[(1461, 5841)], &[(7301, 10_221), (1461, 5841)], &[(7301, 14_601), (1461, 5841)]];
    let mut sent = Vec::new();
    for blocks in blocks {
        let options = sack(blocks, &rig);
        sent.extend(rig.give(seg(".", 1, 1).options(&options)));
        sent.extend(rig.wait(Duration::from_millis(4)));
    }
    let again: Vec<_> = sent.iter().filter(|out| !out.contains(". 1") || out.starts_with(". 1:")).collect();
    assert_eq!(again, [". 1:1461(1460) ack 1", ". 5841:7301(1460) ack 1"], "{sent:?}");
}

//= RFC 2018 section 8: after a timeout, SACKed data may be sent again, and is if the receiver threw it away.
#[test]
fn reneging() {
    let mut rig = sending(true);
    let options = sack(&[(1461, 14_601)], &rig);
    rig.give(seg(".", 1, 1).options(&options));
    // The first segment arrives, and the ACK says that the rest is gone.
    rig.pass(RTT);
    rig.give(seg(".", 1, 1461));
    let again = rig.wait(Duration::from_secs(1));
    assert!(again.iter().any(|out| out.starts_with(". 1461:2921")), "{again:?}");
}

//= RFC 5681 section 4.1: after an idle time of a timeout, the window is no larger than at the start.
#[test]
fn after_idle() {
    let mut rig = Rig::server(config(), &modern());
    let mut acked = 1;
    for _ in 0..6 {
        rig.queue(&[b'x'; 60_000]);
        for _ in 0..20 {
            for out in rig.packets() {
                acked = acked.max(out.seq.wrapping_sub(rig.absolute(0)) + out.data.len() as u32);
            }
            rig.pass(RTT);
            rig.put(seg(".", 1, acked)).unwrap();
        }
    }
    assert_eq!(rig.out(), NOTHING);
    assert!(rig.info().cwnd > 20 * 1448, "{}", rig.info().cwnd);
    rig.wait(Duration::from_secs(10));
    // That the peer has just been heard of changes nothing.
    rig.put(data(1, acked, b"request")).unwrap();
    assert!(rig.send(&[b'x'; 100_000]).len() <= 10);
}

//! Data: RFC 9293 sections 3.7.4, 3.8.5, 3.8.6.3, 3.9.1 and 3.10.7.4.

use std::time::Duration;

use super::rig::{Rig, data, plain, seg};
use crate::connection::Error;
use crate::shard::Received;

const NOTHING: [&str; 0] = [];

//= RFC 9293 MUST-2: every segment sent has a checksum: the rig checks it of each.
//= RFC 9293 MUST-3: a segment with a wrong checksum is dropped.
#[test]
fn checksums() {
    let mut rig = Rig::established();
    assert_eq!(rig.give(data(1, 1, b"bad").spoiled()), NOTHING);
    assert_eq!((rig.read().as_str(), rig.shard.counters().malformed), ("", 1));
    assert_eq!(rig.give(data(1, 1, b"good")), [". 1:1(0) ack 5"]);
    assert_eq!(rig.read(), "good");
}

//= RFC 9293 SHLD-31: data behind a gap is held, and delivered in order.
//= RFC 5681 section 4.2: what is out of order, or fills a gap, is acknowledged at once.
#[test]
fn out_of_order() {
    let mut rig = Rig::settled(&plain());
    assert_eq!(rig.give(data(20, 1, b"ddd")), [". 1:1(0) ack 17"]);
    assert_eq!(rig.give(data(26, 1, b"fff")), [". 1:1(0) ack 17"]);
    assert_eq!(rig.give(data(17, 1, b"ccc")), [". 1:1(0) ack 23"]);
    assert_eq!(rig.read(), "cccddd");
    assert_eq!(rig.give(data(23, 1, b"eee")), [". 1:1(0) ack 29"]);
    assert_eq!(rig.read(), "eeefff");
}

//= RFC 9293 section 3.10.7.4: of a segment that is old in part, only the new part is taken.
#[test]
fn overlaps() {
    for (seq, bytes) in [(17, "abc"), (16, "xabc"), (1, "xxxxxxxxxxxxxxxxabc")] {
        let mut rig = Rig::settled(&plain());
        rig.give(data(20, 1, b"def"));
        assert_eq!(rig.give(data(seq, 1, bytes.as_bytes())), [". 1:1(0) ack 23"], "{seq}");
        assert_eq!(rig.read(), "abcdef");
    }
    let mut rig = Rig::settled(&plain());
    rig.give(data(20, 1, b"def"));
    rig.give(data(17, 1, b"abcdefgh"));
    assert_eq!(rig.read(), "abcdefgh");
}

//= RFC 9293 section 3.10.7.4, "First": old data is acknowledged again.
#[test]
fn old_data() {
    let mut rig = Rig::settled(&plain());
    for _ in 0..5 {
        assert_eq!(rig.give(data(10, 1, b"xxxx")), [". 1:1(0) ack 17"]);
    }
    assert_eq!(rig.read(), "");
}

//= RFC 9293 MUST-58: ACKs are aggregated: a burst of segments has one.
//= RFC 9293 MUST-59: all segments that are there are worked on before an ACK is sent.
#[test]
fn one_ack_for_a_burst() {
    let mut rig = Rig::established();
    for n in 0..20 {
        rig.put(data(1 + 100 * n, 1, &[b'x'; 100])).unwrap();
    }
    assert_eq!(rig.out(), [". 1:1(0) ack 2001"]);
}

//= RFC 9293 MUST-40: an ACK waits for less than half a second.
//= RFC 9293 SHLD-18: but it waits.
#[test]
fn delayed_acks() {
    let mut rig = Rig::settled(&plain());
    assert_eq!(rig.give(data(17, 1, b"x")), NOTHING);
    assert_eq!(rig.wait_timed(Duration::from_secs(1)), [(40, ". 1:1(0) ack 18".to_owned())]);
    assert_eq!(rig.wait(Duration::from_secs(1)), NOTHING);
}

//= RFC 9293 SHLD-19: every second full-sized segment is acknowledged.
#[test]
fn every_second_segment() {
    let mut rig = Rig::settled(&plain());
    let mut acks = Vec::new();
    for n in 0..6 {
        acks.extend(rig.give(data(17 + 1460 * n, 1, &[b'x'; 1460])));
    }
    assert_eq!(acks, [2937, 5857, 8777].map(|ack| format!(". 1:1(0) ack {ack}")));
}

//= RFC 9293 section 3.8.6.3: an answer carries the ACK.
#[test]
fn an_ack_rides_on_data() {
    let mut rig = Rig::established();
    rig.put(data(1, 1, b"ask")).unwrap();
    rig.read();
    assert_eq!(rig.send(b"tell"), ["P. 1:5(4) ack 4"]);
    assert_eq!(rig.give(seg(".", 4, 5)), NOTHING);
    assert_eq!(rig.wait(Duration::from_secs(2)), NOTHING);
}

//= RFC 9293 SHLD-7: Nagle's algorithm: one small segment at a time.
//= RFC 9293 SHLD-27: what is queued meanwhile is sent as one segment.
#[test]
fn nagle() {
    let mut rig = Rig::established();
    assert_eq!(rig.send(b"a"), ["P. 1:2(1) ack 1"]);
    assert_eq!(rig.send(b"b"), NOTHING);
    assert_eq!(rig.send(b"c"), NOTHING);
    assert_eq!(rig.give(seg(".", 1, 2)), ["P. 2:4(2) ack 1"]);
}

//= RFC 9293 MUST-17: the application can turn Nagle's algorithm off.
#[test]
fn no_nagle() {
    let mut rig = Rig::established();
    rig.shard.set_nodelay(rig.now, rig.id(), true);
    for n in 1..5 {
        assert_eq!(rig.send(b"a"), [format!("P. {n}:{}(1) ack 1", n + 1)]);
    }
}

//= RFC 9293 MUST-60: data is not held for the want of a push.
//= RFC 9293 MUST-61: the last segment of what is queued has PSH.
//= RFC 9293 SHLD-28: full-sized segments are sent where possible.
#[test]
fn pushes() {
    let mut rig = Rig::established();
    assert_eq!(
        rig.send(&[b'x'; 4000]),
        [". 1:1461(1460) ack 1", ". 1461:2921(1460) ack 1", "P. 2921:4001(1080) ack 1"]
    );
}

//= RFC 9293 MUST-30: urgent data is taken,
//= RFC 9293 MUST-31: whatever its length, in line with the rest.
//= RFC 9293 MUST-66: also with a pointer far past the segment.
#[test]
fn urgent_data() {
    for urgent in [0, 1, 3, 1000, 65_535] {
        let mut rig = Rig::established();
        let segment = seg("UP.", 1, 1).with(b"urgent").urgent(urgent);
        assert_eq!(rig.give(segment), [". 1:1(0) ack 7"], "{urgent}");
        assert_eq!(rig.give(data(7, 1, b" and not")), [". 1:1(0) ack 15"]);
        assert_eq!(rig.read(), "urgent and not");
    }
}

//= RFC 9293 SHLD-13: we send no urgent data.
#[test]
fn nothing_of_ours_is_urgent() {
    let mut rig = Rig::established();
    rig.queue(&[b'x'; 3000]);
    let sent = rig.packets();
    assert!(sent.iter().all(|out| out.urgent == 0 && !out.flags.contains(wire::TcpFlags::URG)));
    assert_eq!(sent.len(), 3);
}

//= RFC 9293 section 3.10.3: what was received before the connection ended can be read; then comes the end.
#[test]
fn what_came_is_read() {
    let mut rig = Rig::established();
    rig.give(data(1, 1, b"abc"));
    rig.give(seg("F.", 4, 1));
    assert_eq!((rig.read().as_str(), rig.end()), ("abc", Received::End));
    let mut rig = Rig::established();
    rig.give(data(1, 1, b"abc"));
    rig.give(seg("R", 4, 0));
    assert_eq!((rig.read().as_str(), rig.end()), ("abc", Received::Closed(Some(Error::Reset))));
}

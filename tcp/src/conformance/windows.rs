//! Windows: RFC 9293 section 3.8.6.

use std::time::Duration;

use super::rig::{RTT, Rig, config, data, plain, seg};
use crate::connection::{Error, State};

const NOTHING: [&str; 0] = [];

/// A server whose peer has a window of `window`.
fn with_peer_window(window: u16) -> Rig {
    let mut rig = Rig::established();
    rig.give(seg(".", 1, 1).window(window));
    rig
}

fn sent_bytes(out: &[String]) -> usize {
    let len = |line: &String| line.split(['(', ')']).nth(1).and_then(|len| len.parse::<usize>().ok());
    out.iter().filter_map(len).sum()
}

//= RFC 9293 MUST-1: a window of more than 2^15 is no negative one.
#[test]
fn windows_are_unsigned() {
    let mut rig = with_peer_window(65_535);
    let mut sent = sent_bytes(&rig.send(&[0; 200_000]));
    rig.pass(RTT);
    let acked = 20 * 1460;
    for n in 1..=20 {
        sent += sent_bytes(&rig.give(seg(".", 1, 1 + 1460 * n)));
    }
    assert!(sent - acked > 1 << 15, "{sent} sent, {acked} acknowledged");
}

//= RFC 9293 section 3.8.6: no more is sent than the peer's window takes.
#[test]
fn the_window_is_kept() {
    for window in [1460, 2000, 5000] {
        let mut rig = with_peer_window(window);
        let mut sent = sent_bytes(&rig.send(&[0; 20_000]));
        sent += sent_bytes(&rig.wait(Duration::from_millis(150)));
        assert!(sent <= window.into(), "{sent} of {window}");
        assert!(sent > usize::from(window) / 2, "{sent} of {window}");
    }
}

//= RFC 9293 MUST-34: a window that shrinks leaves the sender sound.
//= RFC 9293 SHLD-15: nothing new is sent past it.
//= RFC 9293 SHLD-16: what lies between its edges is sent again as ever.
//= RFC 9293 SHLD-17: the connection does not end for what lies past it.
#[test]
fn the_window_shrinks() {
    let mut rig = with_peer_window(10_000);
    assert_eq!(sent_bytes(&rig.send(&[0; 20_000])), 8760);
    // 1460 bytes arrived; of the others, the peer now takes none, and acknowledges none.
    assert_eq!(rig.give(seg(".", 1, 1461).window(0)), NOTHING);
    let again = rig.wait_full(Duration::from_secs(5));
    let end = rig.absolute(2921);
    assert!(!again.is_empty());
    assert!(again.iter().all(|out| end.wrapping_sub(out.seq) <= 1460), "nothing but the first segment");
    for _ in 0..200 {
        rig.wait(Duration::from_secs(10));
        rig.give(seg(".", 1, 1461).window(0));
    }
    assert_eq!(rig.state(), Some(State::Established), "after half an hour");
    rig.give(seg(".", 1, 1461).window(20_000));
    assert_eq!(rig.wait(Duration::from_secs(70)).first().map(|out| out.starts_with(". 1461:")), Some(true));
}

//= RFC 9293 MUST-35: a window of zero is probed,
//= RFC 9293 MUST-36: though the peer offers nothing.
//= RFC 9293 SHLD-29: the first probe goes out after a retransmission timeout,
//= RFC 9293 SHLD-30: the later ones ever less often.
#[test]
fn a_closed_window_is_probed() {
    let mut rig = with_peer_window(0);
    let rto = u64::from(rig.info().rto / 1000);
    assert_eq!(rig.send(b"hello"), NOTHING);
    let probes = rig.wait_timed(Duration::from_secs(30));
    assert!(
        probes.iter().all(|(_, out)| out.starts_with(". 1:2(1)") || out.starts_with("P. 1:2(1)")),
        "{probes:?}"
    );
    assert!(probes[0].0.abs_diff(rto) <= 20, "{} after {rto}", probes[0].0);
    let gaps: Vec<_> = probes.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(gaps.len() > 3 && gaps.windows(2).all(|pair| pair[1] >= 2 * pair[0] - 20), "{gaps:?}");
    assert_eq!(rig.give(seg(".", 1, 1)), ["P. 1:6(5) ack 1"]);
}

//= RFC 9293 section 3.8.6.1: a peer that takes the probe has the rest follow it.
#[test]
fn a_probe_is_taken() {
    let mut rig = with_peer_window(0);
    rig.send(b"hello");
    assert_eq!(rig.wait(Duration::from_millis(500)).len(), 1);
    assert_eq!(rig.give(seg(".", 1, 2).window(100)), ["P. 2:6(4) ack 1"]);
    assert_eq!(rig.give(seg(".", 1, 6)), NOTHING);
    assert_eq!(rig.info().queued, 0);
}

//= RFC 9293 MUST-37: as long as the peer answers the probes, the connection stays.
#[test]
fn a_closed_window_for_hours() {
    let mut rig = with_peer_window(0);
    rig.send(b"hello");
    for _ in 0..360 {
        rig.wait(Duration::from_secs(20));
        rig.give(seg(".", 1, 1).window(0));
    }
    assert_eq!(rig.state(), Some(State::Established), "after two hours");
}

//= RFC 9293 section 3.8.6.1: but not for ever if nobody owns it any more.
#[test]
fn a_closed_window_for_nobody() {
    let mut rig = with_peer_window(0);
    rig.send(b"hello");
    rig.close();
    let mut sent = Vec::new();
    // That it opens by less than a segment now and then helps nothing.
    for _ in 0..60 {
        sent.extend(rig.wait(Duration::from_secs(20)));
        rig.put(seg(".", 1, 1).window(1)).ok();
        rig.put(seg(".", 1, 1).window(0)).ok();
    }
    assert_eq!(rig.state(), None, "after twenty minutes");
    assert!(sent.iter().any(|out| out == "R. 1:1(0) ack 1"), "{sent:?}");
}

//= RFC 9293 section 3.8.6.1: a peer that does not answer the probes is given up in time.
#[test]
fn a_closed_window_and_silence() {
    let mut rig = with_peer_window(0);
    rig.send(b"hello");
    rig.wait(Duration::from_secs(1200));
    assert_eq!(rig.error(), Some(Error::TimedOut));
}

//= RFC 9293 MUST-38: small windows are not filled with small segments.
#[test]
fn sender_silly_windows() {
    let mut rig = with_peer_window(14_600);
    let sent = sent_bytes(&rig.send(&[0; 30_000])) as u32;
    assert_eq!(sent, 14_600);
    // The peer takes all, and opens its window by a few bytes.
    rig.pass(RTT);
    assert_eq!(rig.give(seg(".", 1, 1 + sent).window(100)), NOTHING);
    assert_eq!(rig.give(seg(".", 1, 1 + sent).window(1000)), NOTHING);
    assert_eq!(
        rig.give(seg(".", 1, 1 + sent).window(1460)),
        ["14601:16061(1460)"].map(|s| format!(". {s} ack 1"))
    );
}

//= RFC 9293 section 3.8.6.2.1: if the window stays small, what fits is sent in the end.
#[test]
fn a_window_that_stays_small() {
    let mut rig = with_peer_window(14_600);
    rig.send(&[0; 30_000]);
    rig.pass(RTT);
    assert_eq!(rig.give(seg(".", 1, 14_601).window(100)), NOTHING);
    assert_eq!(rig.wait(Duration::from_millis(300)), [". 14601:14701(100) ack 1"]);
}

//= RFC 9293 section 3.8.6.2.1: half of the largest window is no small segment.
#[test]
fn a_peer_with_a_small_buffer() {
    let mut rig = Rig::listening(config());
    rig.give(seg("S", 0, 0).options(&plain()).window(800));
    rig.give(seg(".", 1, 1).window(800));
    rig.accept();
    assert_eq!(rig.send(&[0; 2000]), [". 1:801(800) ack 1"]);
    rig.give(seg(".", 1, 801).window(300));
    assert_eq!(rig.give(seg(".", 1, 801).window(500)), [". 801:1301(500) ack 1"]);
}

//= RFC 9293 MUST-39: the window does not open by little.
#[test]
fn receiver_silly_windows() {
    let mut rig = Rig::with_small_buffer();
    rig.fill_window();
    let id = rig.id();
    let mut opened = Vec::new();
    for _ in 0..40 {
        rig.shard.receive(rig.now, id);
        rig.shard.credit(rig.now, id, 1, 100);
        opened.extend(rig.packets().into_iter().map(|out| out.window));
    }
    assert!(!opened.is_empty() && opened[0] >= 1000, "{opened:?}");
    assert!(opened.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{opened:?}");
}

//= RFC 9293 SHLD-14: the right edge of the window never moves to the left.
#[test]
fn the_edge_stays() {
    let mut rig = Rig::with_small_buffer();
    let (mut seq, mut edge) = (1, 0);
    for n in 0..200u32 {
        let len = (n * 37 % 900).min(rig.info().rcv_wnd);
        for out in rig.give_full(data(seq, 1, &vec![b'x'; len as usize])) {
            let right = out.ack.unwrap().wrapping_add(3) + u32::from(out.window);
            assert!(right >= edge, "{right} after {edge}");
            edge = right;
        }
        seq += len;
        if n % 7 == 0 {
            rig.read();
        }
    }
    assert!(seq > 8000, "{seq}");
}

//= RFC 9293 section 3.10.7.4: the window is taken from the newest segment, not from one that was overtaken.
#[test]
fn old_windows_do_not_count() {
    let mut rig = Rig::established();
    rig.give(data(11, 1, b"new").window(5000));
    assert_eq!(rig.info().snd_wnd, 5000);
    rig.give(data(1, 1, b"0123456789").window(1000));
    assert_eq!(rig.info().snd_wnd, 5000);
    rig.give(seg(".", 14, 1).window(6000));
    assert_eq!(rig.info().snd_wnd, 6000);
}

//= RFC 9293 section 3.8.6: with a window of zero, ACKs are still taken.
#[test]
fn acks_into_a_closed_window() {
    let mut rig = Rig::with_small_buffer();
    let seq = rig.fill_window();
    assert_eq!(rig.send(b"hello").len(), 1);
    assert_eq!(rig.give(seg(".", seq, 6)), NOTHING);
    assert_eq!(rig.info().queued, 0);
    let refused = rig.give(data(seq, 6, b"x"));
    assert_eq!(refused, [format!(". 6:6(0) ack {seq}")]);
}

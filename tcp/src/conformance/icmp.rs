//! What the network says: RFC 9293 sections 3.9.1.8 to 3.9.2.2, RFC 1191, RFC 4821, RFC 5927.

use std::time::Duration;

use super::rig::{Out, RTT, Rig, config, seg};
use crate::connection::{Error, State};
use crate::shard::{IcmpKind, Received};
use wire::Instant;

const NOTHING: [&str; 0] = [];
const SOFT: [(IcmpKind, Error); 4] = [
    (IcmpKind::NetUnreachable, Error::NetUnreachable),
    (IcmpKind::HostUnreachable, Error::HostUnreachable),
    (IcmpKind::Refused, Error::Refused),
    (IcmpKind::Prohibited, Error::HostUnreachable),
];

//= RFC 9293 MUST-54: an ICMP error acts on the connection that it is about.
//= RFC 9293 MUST-56: an unreachable does not end the connection,
//= RFC 9293 MUST-47: but the application can learn of it,
//= RFC 9293 SHLD-25: and is told if the connection times out.
#[test]
fn soft_errors() {
    for (kind, error) in SOFT {
        let mut rig = Rig::established();
        rig.send(b"x");
        assert_eq!(rig.icmp(kind, 1), NOTHING);
        assert_eq!((rig.state(), rig.error()), (Some(State::Established), None), "{kind:?}");
        assert_eq!(rig.info().soft_error, Some(error));
        rig.wait(Duration::from_secs(1200));
        assert_eq!(rig.end(), Received::Closed(Some(error)));
    }
}

//= RFC 9293 SHLD-25: an error that has passed is not told.
#[test]
fn soft_errors_pass() {
    let mut rig = Rig::established();
    rig.send(b"x");
    rig.icmp(IcmpKind::HostUnreachable, 1);
    rig.give(seg(".", 1, 2));
    assert_eq!(rig.info().soft_error, None);
    rig.send(b"y");
    rig.wait(Duration::from_secs(1200));
    assert_eq!(rig.error(), Some(Error::TimedOut));
}

//= RFC 9293 SHLD-26: a port or protocol unreachable ends a connection attempt,
// and so does a filter's refusal, as Linux and FreeBSD have it.
#[test]
fn hard_errors() {
    let mut rig = Rig::connecting(config());
    rig.icmp(IcmpKind::Refused, 0);
    assert_eq!(rig.error(), Some(Error::Refused));
    let mut rig = Rig::connecting(config());
    rig.icmp(IcmpKind::Prohibited, 0);
    assert_eq!(rig.error(), Some(Error::HostUnreachable));
    let mut rig = Rig::connecting(config());
    rig.icmp(IcmpKind::HostUnreachable, 0);
    assert_eq!(rig.state(), Some(State::SynSent));
}

//= RFC 5927 section 4.1: an error about what is not in flight is ignored.
#[test]
fn forged_errors() {
    for seq in [0, 1, 7, 1 << 20, u32::MAX] {
        let mut rig = Rig::established();
        rig.send(b"hello");
        rig.give(seg(".", 1, 2));
        let before = rig.info();
        rig.icmp(IcmpKind::FragmentationNeeded { mtu: 600 }, seq);
        rig.icmp(IcmpKind::HostUnreachable, seq);
        assert_eq!(rig.info(), before, "{seq}");
    }
}

//= RFC 1191 section 6.4: the MSS follows the path's MTU, and what did not fit is sent again at once.
#[test]
fn fragmentation_needed() {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 2920]);
    let again = rig.icmp(IcmpKind::FragmentationNeeded { mtu: 1000 }, 1);
    assert_eq!(rig.info().mss, 960);
    assert_eq!(again.first().map(String::as_str), Some(". 1:961(960) ack 1"));
}

//= RFC 1191 section 5: if the router does not say, the next lower likely MTU is tried.
#[test]
fn fragmentation_needed_without_a_size() {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 2920]);
    rig.icmp(IcmpKind::FragmentationNeeded { mtu: 0 }, 1);
    assert_eq!(rig.info().mss, 1492 - 40);
}

//= RFC 1191 section 3: a path's MTU does not grow by an error, nor sink below what every link carries.
#[test]
fn odd_mtus() {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 2920]);
    rig.icmp(IcmpKind::FragmentationNeeded { mtu: 9000 }, 1);
    assert_eq!(rig.info().mss, 1460);
    rig.icmp(IcmpKind::FragmentationNeeded { mtu: 68 }, 1);
    assert_eq!(rig.info().mss, 552 - 40);
}

//= RFC 4821 section 7.7: full-sized segments that vanish again and again are sent in smaller ones.
#[test]
fn black_hole() {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 1460]);
    let sent = rig.wait_full(Duration::from_secs(30));
    assert!(sent.iter().any(|out| out.data.len() <= 1220), "{:?}", rig.info());
    rig.give(seg(".", 1, 1221));
    assert_eq!(rig.state(), Some(State::Established));
}

//= RFC 4821 section 7.7: small ones that vanish say nothing of the size that the path carries.
#[test]
fn small_segments_in_no_black_hole() {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 500]);
    rig.wait(Duration::from_secs(30));
    assert_eq!(rig.info().mss, 1460);
}

/// A connection whose segments became smaller while nothing got through; the peer is back, and has had all of
/// them.
fn after_an_outage() -> Rig {
    let mut rig = Rig::established();
    rig.send(&[b'x'; 60_000]);
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.info().mss, 1220);
    let ack = seg(".", 1, rig.sent());
    rig.put(ack).unwrap();
    rig
}

//= RFC 4821 section 7.6.1: one segment of the old size is tried, and if it gets through, all are as large again.
#[test]
fn after_an_outage_segments_grow_again() {
    let mut rig = after_an_outage();
    let lens = |sent: Vec<Out>| sent.iter().map(|out| out.data.len()).collect::<Vec<_>>();
    assert_eq!(lens(rig.packets()), [1460, 1220]);
    rig.pass(RTT);
    let ack = seg(".", 1, rig.sent());
    let sent = lens(rig.give_full(ack));
    assert!(sent.len() > 1 && sent.iter().all(|len| *len == 1460), "{sent:?}");
}

//= RFC 4821 section 7.6.2: if it alone is lost, they stay as they are, and it is tried again after some minutes.
#[test]
fn in_a_black_hole_segments_stay_small() {
    let mut rig = after_an_outage();
    let (mut next, mut times) = (rig.sent(), Vec::new());
    for _ in 0..25 {
        let mut got: Vec<(u32, u32)> = Vec::new();
        rig.queue(&[b'x'; 30_000]);
        for _ in 0..1000 {
            for out in rig.wait_full(RTT) {
                if out.data.len() > 1220 {
                    times.push((out.at - Instant::ZERO).as_secs());
                    continue;
                }
                let start = out.seq.wrapping_sub(rig.absolute(0));
                got.push((start, start + out.data.len() as u32));
                while let Some((_, end)) = got.iter().find(|(start, end)| (*start..*end).contains(&next)) {
                    next = *end;
                }
                rig.put(seg(".", 1, next)).unwrap();
            }
        }
        assert_eq!((rig.info().unsent, rig.info().in_flight), (0, 0));
        rig.wait(Duration::from_secs(60));
    }
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(matches!(gaps[..], [600..=680, 600..=680]), "{times:?}");
}

//= RFC 9293 MUST-48: the application sets the differentiated services field of a connection,
//= RFC 9293 SHLD-21: and changes it when it likes;
//= RFC 9293 SHLD-22: it is sent as it was set.
#[test]
fn differentiated_services() {
    let mut rig = Rig::established();
    for dscp in [0, 46, 63, 8] {
        rig.shard.set_dscp(rig.now, rig.id(), dscp);
        rig.queue(&[b'x'; 1460]);
        assert_eq!(rig.packets()[0].dscp, dscp);
    }
}

//= RFC 9293 MUST-49: the TTL of what is sent is configured.
#[test]
fn ttl() {
    for ttl in [1, 64, 255] {
        let mut rig = Rig::listening(crate::Config { ttl, ..config() });
        assert_eq!(rig.give_full(seg("S", 0, 0))[0].ttl, ttl);
    }
}

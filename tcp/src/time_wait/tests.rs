use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;
use wire::TcpFlags;

use super::*;
use crate::segment::tests::{DST, SRC, segment};
use crate::{Options, SeqNumber, Timestamps, UnscaledWindow};

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const FIN: TcpFlags = TcpFlags::FIN;
const RST: TcpFlags = TcpFlags::RST;

/// SND.NXT 5000, RCV.NXT 1000.
fn record(recent: Option<u32>) -> TimeWait {
    TimeWait {
        key: FlowKey::new(DST, SRC),
        snd_nxt: SeqNumber::new(5000),
        rcv_nxt: SeqNumber::new(1000),
        window: UnscaledWindow(1000),
        timestamps: recent.map(|recent| ConnectionTimestamps { recent, offset: 77 }),
    }
}

/// A segment with this timestamp.
fn with(segment: Segment, value: Option<u32>) -> Segment {
    let timestamps = value.map(|value| Timestamps { value, echo: 0 });
    Segment { options: Options { timestamps, ..Options::default() }, ..segment }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn dispositions_without_timestamps() {
    use Disposition::{Ack, ChallengeAck, Drop};
    let reuse = Disposition::Reuse(Reuse { iss_floor: SeqNumber::new(5000), ts_offset: None });
    let cases = [
        ("FIN again", segment(999, 5000, FIN | ACK, b""), Ack),
        ("FIN again, with its data", segment(995, 5000, FIN | ACK, b"abcd"), Ack),
        ("FIN again, no ACK", segment(999, 0, FIN, b""), ChallengeAck),
        ("an earlier FIN", segment(998, 5000, FIN | ACK, b""), ChallengeAck),
        ("a second FIN", segment(1000, 5000, FIN | ACK, b""), ChallengeAck),
        ("old data", segment(990, 5000, ACK, b"abc"), ChallengeAck),
        ("keep-alive", segment(999, 5000, ACK, b""), ChallengeAck),
        ("duplicate ACK", segment(1000, 5000, ACK, b""), Drop),
        ("ACK in the window", segment(1001, 5000, ACK, b""), ChallengeAck),
        ("ACK past the window", segment(3000, 5000, ACK, b""), ChallengeAck),
        ("data after FIN", segment(1000, 5000, ACK, b"abc"), ChallengeAck),
        ("no bits", segment(1000, 0, TcpFlags::default(), b""), Drop),
        ("RST", segment(1000, 0, RST, b""), Drop),
        ("RST in the window", segment(1001, 5000, RST | ACK, b""), Drop),
        ("RST outside", segment(0, 0, RST, b""), Drop),
        ("RST SYN", segment(2000, 0, RST | SYN, b""), Drop),
        ("later SYN", segment(1000, 0, SYN, b""), reuse),
        ("much later SYN", segment(900_000, 0, SYN, b""), reuse),
        ("earlier SYN", segment(999, 0, SYN, b""), ChallengeAck),
        ("later SYN ACK", segment(2000, 5000, SYN | ACK, b""), ChallengeAck),
        ("the old SYN ACK", segment(10, 4000, SYN | ACK, b""), ChallengeAck),
    ];
    for (name, segment, want) in cases {
        assert_eq!(record(None).on_segment(&with(segment, None)), want, "{name}");
    }
}

#[test]
fn dispositions_with_timestamps() {
    use Disposition::{Ack, ChallengeAck, Drop};
    let reuse = Disposition::Reuse(Reuse { iss_floor: SeqNumber::new(5000), ts_offset: Some(77) });
    let fin = segment(999, 5000, FIN | ACK, b"");
    let ack = segment(1000, 5000, ACK, b"");
    let (early, late) = (segment(999, 0, SYN, b""), segment(1000, 0, SYN, b""));
    let cases = [
        ("FIN again, later", fin, Some(101), Ack),
        ("FIN again, same time", fin, Some(100), Ack),
        ("FIN, old", fin, Some(99), ChallengeAck),
        ("FIN, bare", fin, None, Drop),
        ("ACK", ack, Some(100), Drop),
        ("ACK, old", ack, Some(99), ChallengeAck),
        ("RST, old", segment(1000, 0, RST, b""), Some(99), Drop),
        ("early number, later time", early, Some(101), reuse),
        ("early number, same time", early, Some(100), ChallengeAck),
        ("early number, bare", early, None, ChallengeAck),
        ("late number, same time", late, Some(100), reuse),
        ("late number, earlier time", late, Some(99), ChallengeAck),
        ("late number, bare", late, None, reuse),
        ("SYN ACK, later time", segment(1000, 5000, SYN | ACK, b""), Some(101), ChallengeAck),
    ];
    for (name, segment, value, want) in cases {
        assert_eq!(record(Some(100)).on_segment(&with(segment, value)), want, "{name}");
        // The same across the wrap of the timestamp clock.
        let value = value.map(|value| value.wrapping_sub(101));
        assert_eq!(record(Some(u32::MAX)).on_segment(&with(segment, value)), want, "{name}, wrapped");
    }
    // Only the new connection has timestamps.
    let got = record(None).on_segment(&with(early, Some(1)));
    assert!(matches!(got, Disposition::Reuse(_)), "{got:?}");
}

#[test]
fn a_fin_restarts_the_time_and_its_timestamp_is_echoed() {
    let mut table = TimeWaitTable::new(TimeWaitLimits::default(), 1);
    table.insert(at(0), record(Some(100)));
    let ack = segment(1000, 5000, ACK, b"");
    assert_eq!(table.handle_segment(at(10_000), &with(ack, Some(150))).unwrap().0, Disposition::Drop);
    let fin = segment(999, 5000, FIN | ACK, b"");
    let (disposition, answer) = table.handle_segment(at(30_000), &with(fin, Some(200))).unwrap();
    assert_eq!((disposition, answer), (Disposition::Ack, record(Some(200))));
    assert_eq!((table.expire(at(89_999)), table.contains(&record(None).key)), (0, true));
    assert_eq!((table.expire(at(90_001)), table.len()), (1, 0));
    assert_eq!(table.handle_segment(at(90_001), &with(fin, Some(300))), None);
}

#[test]
fn a_connect_reuses_after_a_quiet_second() {
    let key = record(None).key;
    let mut table = TimeWaitTable::new(TimeWaitLimits::default(), 1);
    assert_eq!(table.reuse_for_connect(at(0), &key), None);
    table.insert(at(500), record(Some(100)));
    assert_eq!(table.reuse_for_connect(at(1499), &key), None);
    let reuse = Reuse { iss_floor: SeqNumber::new(5000), ts_offset: Some(77) };
    assert_eq!(table.reuse_for_connect(at(1501), &key), Some(reuse));
    // Not quiet: a FIN came.
    table.handle_segment(at(2000), &with(segment(999, 5000, FIN | ACK, b""), Some(101)));
    assert_eq!(table.reuse_for_connect(at(2500), &key), None);
    // Without timestamps, never.
    table.insert(at(3000), record(None));
    assert_eq!((table.reuse_for_connect(at(50_000), &key), table.contains(&key)), (None, true));
    assert!(table.remove(&key) && !table.remove(&key));
}

/// The record of flow `n`.
fn flow(n: u16) -> TimeWait {
    let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
    TimeWait { key: FlowKey::new(local, SocketAddrV4::new(Ipv4Addr::LOCALHOST, n)), ..record(None) }
}

#[test]
fn expiry_is_bounded() {
    let mut table = TimeWaitTable::new(TimeWaitLimits::default(), 1);
    (0..100).for_each(|n| table.insert(at(0), flow(n)));
    assert_eq!((table.expire(at(60_001)), table.len()), (EXPIRE_BATCH, 100 - EXPIRE_BATCH));
    assert!(table.next_deadline().is_some_and(|expiry| expiry.is_due(Tick::at(at(60_001)))));
    assert_eq!((table.expire(at(60_001)), table.next_deadline()), (100 - EXPIRE_BATCH, None));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16),
    Remove(u16),
    Fin(u16),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..20u16).prop_map(Op::Insert),
        1 => (0..20u16).prop_map(Op::Remove),
        2 => (0..20u16).prop_map(Op::Fin),
        3 => (0..30_000u64).prop_map(Op::Wait),
    ]
}

proptest! {
    /// The twin is a list from oldest to newest, searched for everything.
    #[test]
    fn agrees_with_its_twin(capacity in 1..12usize, ops in prop::collection::vec(op(), 0..300)) {
        let linger = Duration::from_secs(60);
        let mut table = TimeWaitTable::new(TimeWaitLimits { capacity, linger }, 9);
        let mut twin: Vec<(u16, Tick)> = Vec::new();
        let (mut millis, mut recycled) = (0, 0);
        for op in ops {
            let now = at(millis);
            let expiry = Tick::after(now, linger);
            match op {
                Op::Insert(n) => {
                    table.insert(now, flow(n));
                    twin.retain(|other| other.0 != n);
                    if twin.len() == capacity {
                        twin.remove(0);
                        recycled += 1;
                    }
                    twin.push((n, expiry));
                }
                Op::Remove(n) => {
                    let was_there = twin.iter().any(|other| other.0 == n);
                    twin.retain(|other| other.0 != n);
                    prop_assert_eq!(table.remove(&flow(n).key), was_there);
                }
                Op::Fin(n) => {
                    let known = twin.iter().position(|other| other.0 == n);
                    let (src, dst) = (flow(n).key.remote(), flow(n).key.local());
                    let fin = Segment { src, dst, ..segment(999, 5000, FIN | ACK, b"") };
                    let got = table.handle_segment(now, &fin);
                    prop_assert_eq!(got, known.map(|_| (Disposition::Ack, flow(n))));
                    if let Some(known) = known {
                        twin.remove(known);
                        twin.push((n, expiry));
                    }
                }
                Op::Wait(time) => {
                    millis += time;
                    let before = twin.len();
                    twin.retain(|other| !other.1.is_due(Tick::at(at(millis))));
                    prop_assert_eq!(table.expire(at(millis)), before - twin.len());
                }
            }
            prop_assert_eq!((table.len(), table.is_empty()), (twin.len(), twin.is_empty()));
            prop_assert_eq!(table.recycled(), recycled);
            prop_assert_eq!(table.next_deadline(), twin.first().map(|other| other.1));
            for n in 0..20 {
                let known = twin.iter().any(|other| other.0 == n);
                prop_assert_eq!(table.contains(&flow(n).key), known);
            }
        }
    }
}

//! Segments of an attacker who does not see the network but guesses well: all that RFC 5961 and RFC 5927
//! say a host must withstand. What hits the very number expected next is not made: nothing helps there.

use std::net::{Ipv4Addr, SocketAddrV4};

use sim::Rng;
use sim::builder;
use tcp::shard::{IcmpError, IcmpKind};
use tcp::{SeqNumber, SeqRange};
use wire::TcpFlags;

use crate::wiretap::{Seen, Way, Wiretap};

/// What an attacker sends to a host.
pub(crate) enum Forgery {
    Packet(Vec<u8>),
    Icmp(IcmpError),
}

fn packet(
    way: Way,
    seq: SeqNumber,
    ack: SeqNumber,
    flags: TcpFlags,
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let header = builder::Tcp {
        src_port: way.0.port(),
        dst_port: way.1.port(),
        seq: seq.get(),
        ack: ack.get(),
        flags: flags.0,
        window: 1000,
        urgent: 0,
        options: options.to_vec(),
    };
    let segment = header.segment(*way.0.ip(), *way.1.ip(), payload);
    builder::Ipv4::new(*way.0.ip(), *way.1.ip(), builder::TCP).packet(&segment)
}

/// A segment, or an ICMP error, that pretends to belong to the flow that goes `way`; `None` if it is not
/// known well enough.
pub(crate) fn forge(rng: &mut Rng, tap: &Wiretap, way: Way) -> Option<Forgery> {
    let (peer, victim) = (tap.seen(way)?, tap.seen((way.1, way.0))?);
    // Before that, any SYN counts as the peer's (RFC 9293 section 3.10.7.3): that is no secret kept.
    if !victim.opened {
        return None;
    }
    let random = SeqNumber::new(rng.next_u32());
    if rng.chance(0.1) {
        return Some(Forgery::Icmp(icmp(rng, way, &victim)));
    }
    let seq = match rng.range(0..4) {
        0 => random,
        // Left of the window.
        1 => victim.ack - (1 + rng.range(0..5000) as u32),
        _ => inside(rng, &peer, &victim).unwrap_or(random),
    };
    // An acknowledgment of what was never sent, or was long ago: with it, no data is taken.
    let far = 1 + rng.range(0..1 << 29) as u32;
    let ack = if rng.chance(0.5) { victim.end + far } else { victim.end - (1 << 30) - far };
    let kinds = [
        TcpFlags::RST,
        TcpFlags::RST | TcpFlags::ACK,
        TcpFlags::SYN,
        TcpFlags::SYN | TcpFlags::ACK,
        TcpFlags::ACK,
        TcpFlags::FIN | TcpFlags::ACK,
        TcpFlags(rng.byte()) | TcpFlags::ACK,
    ];
    let flags = kinds[rng.index(kinds.len())];
    let mut options = vec![1, 1, 8, 10];
    options.extend(rng.next_u64().to_be_bytes());
    let options = if rng.chance(0.5) { &options[..] } else { &[] };
    let payload = [0xee; 64];
    let payload = &payload[..if rng.chance(0.5) { 0 } else { rng.index(64) }];
    Some(Forgery::Packet(packet(way, seq, ack, flags, options, payload)))
}

/// A number inside the victim's window that cannot be the one it expects next.
fn inside(rng: &mut Rng, peer: &Seen, victim: &Seen) -> Option<SeqNumber> {
    let window = SeqRange { start: victim.ack, end: victim.ack + u32::from(victim.window) };
    if !peer.end.before(window.end) || peer.end.before(window.start) {
        return None;
    }
    let room = window.end.distance_from(peer.end);
    Some(peer.end + 1 + rng.range(0..u64::from(room)) as u32)
}

/// An error about a segment that is not in flight.
fn icmp(rng: &mut Rng, way: Way, victim: &Seen) -> IcmpError {
    let kinds = [
        IcmpKind::FragmentationNeeded { mtu: rng.range(0..1500) as u16 },
        IcmpKind::NetUnreachable,
        IcmpKind::HostUnreachable,
        IcmpKind::Refused,
    ];
    let seq = victim.end + 1 + rng.range(0..1 << 30) as u32;
    IcmpError { kind: kinds[rng.index(kinds.len())], local: way.1, remote: way.0, seq }
}

/// A SYN of a host that does not exist.
pub(crate) fn spoofed_syn(rng: &mut Rng, to: SocketAddrV4) -> Vec<u8> {
    let from = Ipv4Addr::from_bits(0x0ac8_0000 | rng.next_u32() >> 16);
    let from = SocketAddrV4::new(from, 1 + rng.range(0..65_535) as u16);
    let mss = [2, 4, 5, 0xb4];
    let options = if rng.chance(0.5) { &mss[..] } else { &[] };
    packet((from, to), SeqNumber::new(rng.next_u32()), SeqNumber::ZERO, TcpFlags::SYN, options, b"")
}

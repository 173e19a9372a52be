//! What can be seen of each flow on the network.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use tcp::SeqNumber;
use wire::{Instant, TcpFlags};

/// Both ends of a flow, in one direction.
pub(crate) type Way = (SocketAddrV4, SocketAddrV4);

/// The header of a packet that a host has sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) way: Way,
    pub(crate) seq: SeqNumber,
    pub(crate) ack: SeqNumber,
    pub(crate) flags: TcpFlags,
    pub(crate) window: u16,
    /// Sequence numbers that the segment takes up.
    pub(crate) len: u32,
    /// Bytes of data.
    pub(crate) payload: u32,
}

impl Header {
    /// Reads a packet without IP options.
    pub(crate) fn read(packet: &[u8]) -> Option<Header> {
        let u16_at = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
        let src = SocketAddrV4::new(Ipv4Addr::from_bits(u32_at(12)?), u16_at(20)?);
        let dst = SocketAddrV4::new(Ipv4Addr::from_bits(u32_at(16)?), u16_at(22)?);
        let flags = TcpFlags(*packet.get(33)?);
        let payload = (packet.len() - 20).checked_sub(usize::from(packet[32] >> 4) * 4)? as u32;
        let controls = [TcpFlags::SYN, TcpFlags::FIN].map(|flag| u32::from(flags.contains(flag)));
        Some(Header {
            way: (src, dst),
            seq: SeqNumber::new(u32_at(24)?),
            ack: SeqNumber::new(u32_at(28)?),
            flags,
            window: u16_at(34)?,
            len: payload + controls[0] + controls[1],
            payload,
        })
    }
}

impl std::fmt::Display for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Header { way, seq, ack, flags, window, payload, .. } = self;
        let names = ["F", "S", "R", "P", ".", "U", "E", "W"];
        let names: String =
            names.iter().enumerate().filter(|(i, _)| flags.0 >> i & 1 == 1).map(|(_, name)| *name).collect();
        let (seq, ack) = (seq.get(), ack.get());
        write!(f, "{} > {} {names} seq {seq} len {payload} ack {ack} win {window}", way.0, way.1)
    }
}

/// What was seen of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The number past all that was sent.
    pub(crate) end: SeqNumber,
    /// The latest acknowledgment.
    pub(crate) ack: SeqNumber,
    /// The latest window, as it stood in the packet.
    pub(crate) window: u16,
    /// Something followed the SYN.
    pub(crate) opened: bool,
}

/// What was seen of all flows.
#[derive(Debug, Default)]
pub(crate) struct Wiretap {
    seen: BTreeMap<Way, Seen>,
    /// When packets were lost.
    drops: BTreeMap<Way, Vec<Instant>>,
    /// Packets with data, or a SYN or FIN, that carried nothing new; and all.
    pub(crate) repeated: u64,
    pub(crate) packets: u64,
}

impl Wiretap {
    /// A host has sent a packet.
    pub(crate) fn note(&mut self, header: &Header) {
        self.packets += 1;
        let end = header.seq + header.len;
        let Header { way, ack, window, .. } = *header;
        let seen = self.seen.entry(way).or_insert(Seen { end, ack, window, opened: false });
        if header.flags.contains(TcpFlags::RST) {
            return;
        }
        if header.len > 0 && !header.flags.contains(TcpFlags::SYN) && end.at_or_before(seen.end) {
            self.repeated += 1;
        }
        seen.opened = !header.flags.contains(TcpFlags::SYN);
        if !seen.opened || end.after(seen.end) {
            seen.end = end;
        }
        if header.flags.contains(TcpFlags::ACK) {
            (seen.ack, seen.window) = (header.ack, header.window);
        }
    }

    /// The network has lost a packet of this way.
    pub(crate) fn note_drop(&mut self, now: Instant, way: Way) {
        self.drops.entry(way).or_default().push(now);
    }

    /// Packets lost of a flow since `since`, both ways.
    pub(crate) fn drops(&self, way: Way, since: Instant) -> u64 {
        let ways = [way, (way.1, way.0)].into_iter().filter_map(|way| self.drops.get(&way));
        ways.map(|drops| (drops.len() - drops.partition_point(|at| *at < since)) as u64).sum()
    }

    /// What was seen of a direction.
    pub(crate) fn seen(&self, way: Way) -> Option<Seen> {
        self.seen.get(&way).copied()
    }
}

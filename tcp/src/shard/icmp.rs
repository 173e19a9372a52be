//! ICMP errors about segments that we sent.

use std::net::SocketAddrV4;

use wire::{Instant, Payload};

use super::Shard;
use crate::SeqNumber;
use crate::connection::Error;
use crate::demux::FlowKey;

/// What a router or a host says of a segment of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpKind {
    /// Too large for a link that carries `mtu` bytes (0: not said), and not to be fragmented.
    FragmentationNeeded {
        /// The link's MTU.
        mtu: u16,
    },
    /// The network cannot be reached, or the TTL ran out.
    NetUnreachable,
    /// The host cannot be reached.
    HostUnreachable,
    /// The host does not speak TCP, or refuses the port.
    Refused,
    /// A filter on the way has it that we may not talk to that network, host or port.
    Prohibited,
}

/// An ICMP error: what it says, and of which segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    /// What it says.
    pub kind: IcmpKind,
    /// Source of the segment it quotes: us.
    pub local: SocketAddrV4,
    /// Destination of the segment it quotes.
    pub remote: SocketAddrV4,
    /// Sequence number of the segment it quotes.
    pub seq: SeqNumber,
}

impl<B: Payload> Shard<B> {
    /// Takes an ICMP error about a segment that we sent. Errors about segments that are not in flight are
    /// ignored: they may be forged (RFC 5927 section 4.1).
    pub fn handle_icmp(&mut self, now: Instant, error: &IcmpError) {
        let key = FlowKey::new(error.local, error.remote);
        let slots = &self.slots;
        let owns = |index: u32| {
            slots.peek(index).is_some_and(|c| (c.local, c.remote) == (error.local, error.remote))
        };
        let Some(index) = self.flows.lookup(&key, owns) else { return };
        let Some(connection) = self.slots.at(index) else { return };
        if !connection.has_in_flight(error.seq) {
            return;
        }
        let cx = &mut self.shared.cx(now);
        match error.kind {
            IcmpKind::FragmentationNeeded { mtu } => connection.on_path_mtu(cx, mtu),
            IcmpKind::NetUnreachable => connection.on_unreachable(cx, Error::NetUnreachable, false),
            IcmpKind::HostUnreachable => connection.on_unreachable(cx, Error::HostUnreachable, false),
            IcmpKind::Prohibited => connection.on_unreachable(cx, Error::HostUnreachable, true),
            IcmpKind::Refused => connection.on_unreachable(cx, Error::Refused, true),
        }
        self.settle(index);
    }
}

//! Packets to this host: reassembly, ping, and the hand-over to TCP and UDP.

use wire::ipv4::protocol;
use wire::{DropReason, Frame, FramePool, FromBytes, Ipv4Header};

use super::output::{Delivery, push_bounded};
use super::receive::Packet;
use super::{Context, Router};
use crate::adjacency::Target;
use crate::icmp::{self, ErrorKind};
use crate::interface::IfaceId;
use crate::reassembly::{Expired, Outcome};

/// Where it matters no more by which interface a packet came.
const NO_IFACE: IfaceId = IfaceId(u16::MAX);

impl<F: Frame> Router<F> {
    /// Takes a packet to one of our addresses, or to a broadcast address of ours. The frame begins at
    /// the IPv4 header.
    pub(super) fn deliver<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        packet: Packet,
        frame: F,
    ) {
        let dst = packet.header.dst();
        if self.adjacencies.get(cx.fib.lookup(dst.to_bits())).target() == Target::Broadcast {
            return self.drop(frame, DropReason::Broadcast);
        }
        //= RFC 1122 section 3.3.6: a unicast packet in a link broadcast is silently discarded.
        if packet.to_group {
            return self.drop(frame, DropReason::LinkBroadcast);
        }
        if self.interfaces.owns(packet.header.src()) {
            return self.drop(frame, DropReason::MartianSource);
        }
        if packet.header.is_fragment() {
            return self.reassemble(cx, packet.iface, frame);
        }
        self.dispatch(cx, packet.iface, frame);
    }

    fn reassemble<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, iface: IfaceId, frame: F) {
        match self.reassembler.push(cx.now, frame, 0) {
            Outcome::Held => self.counters.held.add(1),
            Outcome::Complete { frame, fragments } => {
                // Those that waited, and this one, are one frame from now on.
                self.counters.held.sub(fragments as u64 - 1);
                self.counters.consumed.add(fragments as u64 - 1);
                self.dispatch(cx, iface, frame);
            }
            Outcome::Dropped { reason, frames } => {
                self.counters.held.sub(frames as u64 - 1);
                self.counters.count_drops(reason, frames as u64);
            }
        }
    }

    /// Takes a whole packet to us.
    fn dispatch<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, iface: IfaceId, mut frame: F) {
        let Ok((&header, _)) = Ipv4Header::ref_from_prefix(frame.data()) else {
            return self.drop(frame, DropReason::Ipv4TooShort);
        };
        match header.protocol {
            protocol::ICMP => match icmp::echo_reply(&mut frame, 0) {
                Ok(()) => self.send(cx, frame, header.src()),
                Err(reason) => self.drop(frame, reason),
            },
            protocol::TCP | protocol::UDP => {
                if let Err(delivery) = push_bounded(&mut cx.out.local, Delivery { iface, frame }) {
                    self.drop(delivery.frame, DropReason::HoldFull);
                }
            }
            _ => self.refuse(cx, iface, frame, DropReason::UnknownProtocol, ErrorKind::ProtocolUnreachable),
        }
    }

    /// Drops a packet to us that nobody takes, and tells its sender. The frame begins at the IPv4 header.
    pub fn refuse<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        iface: IfaceId,
        frame: F,
        reason: DropReason,
        kind: ErrorKind,
    ) {
        if let Ok((&header, _)) = Ipv4Header::ref_from_prefix(frame.data()) {
            let has_options = header.header_len() > Ipv4Header::LEN;
            self.send_error(cx, &Packet { iface, header, has_options, to_group: false }, &frame, kind);
        }
        self.drop(frame, reason);
    }

    /// Gives up datagrams that did not become whole in time.
    pub(super) fn expire_reassembly<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>) {
        while let Some(Expired { first, frames }) = self.reassembler.expire(cx.now) {
            self.counters.held.sub(frames as u64);
            let mut freed = frames as u64;
            //= RFC 1122 section 3.3.2: time exceeded is sent only if the first fragment arrived.
            if let Some(frame) = first {
                freed -= 1;
                let kind = ErrorKind::ReassemblyTimeExceeded;
                self.refuse(cx, NO_IFACE, frame, DropReason::ReassemblyTimeout, kind);
            }
            self.counters.count_drops(DropReason::ReassemblyTimeout, freed);
        }
    }
}

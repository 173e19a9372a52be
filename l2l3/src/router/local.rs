//! Packets to this host: reassembly, ping, and the hand-over to TCP and UDP.

use wire::ipv4::protocol;
use wire::{DropReason, Frame, FramePool, FromBytes, Ipv4Header};

use super::output::{Delivery, push_bounded};
use super::receive::Packet;
use super::{Context, Router};
use crate::adjacency::Adjacency;
use crate::icmp::{self, ErrorKind};
use crate::interface::IfaceId;
use crate::options::{self, Hop};
use crate::quote::Quote;
use crate::reassembly::{Expired, Outcome};

impl<F: Frame> Router<F> {
    /// Takes a packet to one of our addresses. The frame begins at the IPv4 header.
    pub(super) fn deliver<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        packet: Packet,
        mut frame: F,
    ) {
        //= RFC 1122 section 3.3.6: a unicast packet in a link broadcast is silently discarded.
        if packet.to_group {
            return self.drop(frame, DropReason::LinkBroadcast);
        }
        //= RFC 1122 section 3.2.1.3: a broadcast address is nobody's source; and nobody else is us.
        let src = packet.header.src();
        if self.interfaces.owns(src) || self.interfaces.is_directed_broadcast(src) {
            return self.drop(frame, DropReason::MartianSource);
        }
        //= RFC 1122 section 3.2.2.6: record route and timestamp include the host that replies.
        let hop = Hop { addr: packet.header.dst(), now: cx.now };
        if let Err(bad) = options::process(frame.data_mut(), hop) {
            return self.refuse_options(cx, packet.iface, frame, bad);
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
                self.hand_on(cx, iface, frame);
            }
            Outcome::Dropped { reason, frames } => {
                self.counters.held.sub(frames as u64 - 1);
                self.counters.count_drops(reason, frames as u64);
            }
        }
    }

    /// Takes a packet that has just become whole, or gives it to the worker that owns its flow: the fragments
    /// told no ports.
    fn hand_on<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, iface: IfaceId, mut frame: F) {
        let interfaces = self.interfaces.clone();
        let (Ok((&header, _)), Some(iface)) =
            (Ipv4Header::ref_from_prefix(frame.data()), interfaces.get(iface))
        else {
            return self.drop(frame, DropReason::Ipv4TooShort);
        };
        let owner = self.owner(&Packet { iface: iface.id, header, to_group: false }, frame.data());
        if owner == self.steering.me {
            return self.dispatch(cx, iface.id, frame);
        }
        // As if it had come in whole.
        let to_us = Adjacency::forward(iface, header.dst(), iface.mac);
        frame.clear_flags();
        match frame.prepend(to_us.l2_len()) {
            Ok(l2) => to_us.write_l2(l2),
            Err(_) => return self.drop(frame, DropReason::NoFrame),
        }
        self.steer(cx, owner, iface.port, frame);
    }

    /// Takes a whole packet to us.
    fn dispatch<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, iface: IfaceId, mut frame: F) {
        let Ok((&header, _)) = Ipv4Header::ref_from_prefix(frame.data()) else {
            return self.drop(frame, DropReason::Ipv4TooShort);
        };
        match header.protocol {
            protocol::ICMP => match icmp::echo_reply(&mut frame, 0) {
                Ok(()) => self.send(cx, frame, header.src()),
                Err(DropReason::IcmpIgnored) if self.is_about_us(&header, &frame) => {
                    self.hand_up(cx, iface, frame);
                }
                Err(reason) => self.drop(frame, reason),
            },
            protocol::TCP | protocol::UDP => self.hand_up(cx, iface, frame),
            _ => self.refuse(cx, iface, frame, DropReason::UnknownProtocol, ErrorKind::ProtocolUnreachable),
        }
    }

    /// Whether an ICMP message is an error about a TCP or UDP packet of ours.
    fn is_about_us(&self, header: &Ipv4Header, frame: &F) -> bool {
        let quote = frame.data().get(header.header_len()..).and_then(Quote::of);
        quote.is_some_and(|quote| self.interfaces.owns(*quote.src.ip()))
    }

    /// Gives a packet to this host's TCP and UDP.
    fn hand_up<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, iface: IfaceId, frame: F) {
        if let Err(delivery) = push_bounded(&mut cx.out.local, Delivery { iface, frame }) {
            self.drop(delivery.frame, DropReason::LocalFull);
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
        self.send_error(cx, Some(iface), &frame, kind);
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
                self.send_error(cx, None, &frame, ErrorKind::ReassemblyTimeExceeded);
                self.drop(frame, DropReason::ReassemblyTimeout);
            }
            self.counters.count_drops(DropReason::ReassemblyTimeout, freed);
        }
    }
}

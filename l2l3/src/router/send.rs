//! The general path out: holds for neighbours, MTU, fragments, the Ethernet header; and ICMP errors.

use std::net::Ipv4Addr;

use wire::{DropReason, Frame, FramePool, FromBytes, Ipv4Header, OpenChecksum};

use super::{Context, Event, Router};
use crate::adjacency::{Adjacency, Target};
use crate::arp;
use crate::fragment::fragment;
use crate::group::flow_hash;
use crate::icmp::{self, ErrorKind};
use crate::interface::{IfaceId, PortId};
use crate::neighbour::{Key, RequestTo};

impl<F: Frame> Router<F> {
    /// Sends a packet that was made here to `dst`. The frame begins at the IPv4 header; its TCP or UDP checksum may be
    /// open.
    pub fn originate<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, frame: F, dst: Ipv4Addr) {
        self.counters.originated.add(1);
        self.send(cx, frame, dst);
    }

    /// Sends a packet of ours to `dst`. The frame begins at the IPv4 header.
    pub(super) fn send<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, frame: F, dst: Ipv4Addr) {
        let dst = dst.to_bits();
        let hash = flow_hash(self.flow_seed, 0, dst, 0, 0);
        let adjacency = *self.adjacencies.resolve(cx.fib.lookup(dst), hash);
        self.transmit(cx, &adjacency, frame, None);
    }

    /// Sends a packet the way of `adjacency`. `came_by` is the interface by which it was received; `None`
    /// if that was long ago, or never.
    pub(super) fn transmit<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        adjacency: &Adjacency,
        frame: F,
        came_by: Option<IfaceId>,
    ) {
        match adjacency.target() {
            Target::Forward(..) => self.transmit_to(cx, adjacency, frame, came_by),
            Target::Incomplete(iface, ip) => self.wait(cx, Key { iface, ip }, frame),
            Target::Glean(iface) => match destination(&frame) {
                Some(ip) => self.wait(cx, Key { iface, ip }, frame),
                None => self.drop(frame, DropReason::Ipv4TooShort),
            },
            Target::Blackhole => self.drop(frame, DropReason::Blackhole),
            Target::Unreachable => self.drop(frame, DropReason::Unreachable),
            Target::Multicast => self.drop(frame, DropReason::Multicast),
            Target::Broadcast => self.drop(frame, DropReason::Broadcast),
            // We do not talk to ourselves.
            Target::Martian | Target::Local => self.drop(frame, DropReason::MartianDestination),
            Target::NoRoute | Target::Group(_) => self.drop(frame, DropReason::NoRoute),
        }
    }

    /// Sends to a resolved next hop, in fragments if need be.
    fn transmit_to<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        adjacency: &Adjacency,
        mut frame: F,
        came_by: Option<IfaceId>,
    ) {
        let mtu = adjacency.mtu();
        let fits = frame.len() <= usize::from(mtu);
        let may_fragment = Ipv4Header::ref_from_prefix(frame.data()).is_ok_and(|(h, _)| !h.dont_fragment());
        if !fits && !may_fragment {
            self.send_error(cx, came_by, &frame, ErrorKind::FragmentationNeeded { mtu });
            return self.drop(frame, DropReason::FragmentationNeeded);
        }
        let l2_len = adjacency.l2_len();
        match frame.prepend(l2_len) {
            Ok(l2) => adjacency.write_l2(l2),
            Err(_) => return self.drop(frame, DropReason::NoFrame),
        }
        let open = frame.open_checksum().map(|open| OpenChecksum { l2_len: l2_len as u8, ..open });
        frame.clear_flags();
        match open {
            Some(open) if fits => frame.set_open_checksum(open),
            // No device looks beyond a fragment.
            Some(open) => open.fill(&mut frame),
            None => {}
        }
        if fits {
            return self.enqueue(cx, adjacency.port(), frame);
        }
        let mut fragments = std::mem::take(&mut self.fragments);
        match fragment(frame, l2_len, mtu, cx.pool, &mut fragments) {
            Ok(()) => {
                self.counters.consumed.add(1);
                self.counters.originated.add(fragments.len() as u64);
            }
            Err((reason, frame)) => self.drop(frame, reason),
        }
        for frame in fragments.drain(..) {
            self.enqueue(cx, adjacency.port(), frame);
        }
        self.fragments = fragments;
    }

    /// Puts a whole frame into its port's batch.
    pub(super) fn enqueue<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        port: PortId,
        frame: F,
    ) {
        if let Err(frame) = cx.out.send(port, frame) {
            self.drop(frame, DropReason::TxFull);
        }
    }

    /// Keeps a packet until its next hop answers, and has it asked for.
    fn wait<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, key: Key, frame: F) {
        self.counters.held.add(1);
        let outcome = self.hold.push(cx.now, key, frame);
        if outcome.ask {
            self.tell(cx, Event::Resolve(key.iface, key.ip));
        }
        if let Some(frame) = outcome.dropped {
            self.counters.held.sub(1);
            self.drop(frame, DropReason::HoldFull);
        }
    }

    /// Drops a packet whose next hop did not answer, and tells its sender.
    pub(super) fn unreachable<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, frame: F) {
        self.send_error(cx, None, &frame, ErrorKind::HostUnreachable);
        self.drop(frame, DropReason::NeighbourUnreachable);
    }

    /// Sends an ICMP error about the packet that `offending` begins with, where that is allowed and not
    /// too often: never about a packet of our own. The caller has seen to it that the packet did not come
    /// to a group Ethernet address. `came_by` as for [`transmit`](Self::transmit).
    pub(super) fn send_error<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        came_by: Option<IfaceId>,
        offending: &F,
        kind: ErrorKind,
    ) {
        let Ok((&about, _)) = Ipv4Header::ref_from_prefix(offending.data()) else { return };
        let (to, interfaces) = (about.src(), &self.interfaces);
        let group = interfaces.is_directed_broadcast(about.dst()) || interfaces.is_directed_broadcast(to);
        if interfaces.owns(to) || !self.icmp.permit(cx.now, offending.data(), group, kind) {
            return;
        }
        // RFC 1812 section 4.3.2.4 asks for an address of the interface that the error leaves by. Who
        // traces a route wants to see the one that the packet came in by: mostly it is the same.
        let by_ingress = came_by.and_then(|iface| self.interfaces.get(iface)?.source_for(to));
        let Some(source) = by_ingress.or_else(|| self.source_towards(cx.fib, to)) else { return };
        if let Some(error) = icmp::error(cx.pool, offending, 0, kind, source) {
            self.originate(cx, error, to);
        }
    }

    /// Sends an ARP request for `target`, as the neighbour table asks for.
    pub fn send_arp_request<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        target: Key,
        to: RequestTo,
    ) {
        let dst = match to {
            RequestTo::Broadcast => wire::MacAddr::BROADCAST,
            RequestTo::Unicast(mac) => mac,
        };
        self.send_arp(cx, target.iface, |frame, iface| {
            arp::build_request(frame, iface, target.ip, dst).is_ok()
        });
    }

    /// Announces our address `own` on `iface` (RFC 5227 section 2.3).
    pub fn send_arp_announcement<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        iface: IfaceId,
        own: Ipv4Addr,
    ) {
        self.send_arp(cx, iface, |frame, iface| arp::build_announcement(frame, iface, own).is_ok());
    }

    fn send_arp<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        iface: IfaceId,
        build: impl FnOnce(&mut F, &crate::interface::Interface) -> bool,
    ) {
        let interfaces = self.interfaces.clone();
        let (Some(iface), Some(mut frame)) = (interfaces.get(iface), cx.pool.alloc()) else { return };
        if build(&mut frame, iface) {
            self.counters.originated.add(1);
            self.enqueue(cx, iface.port, frame);
        }
    }
}

/// The destination of the packet that a frame begins with.
fn destination<F: Frame>(frame: &F) -> Option<Ipv4Addr> {
    Ipv4Header::ref_from_prefix(frame.data()).ok().map(|(header, _)| header.dst())
}

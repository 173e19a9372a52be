//! The general path in: which interface, ARP or IPv4, every input check with its own reason
//! (RFC 1812 section 5.2.2), and the route.

use std::net::Ipv4Addr;

use wire::ethernet::ethertype;
use wire::{DropReason, EthernetHeader, Frame, FramePool, FromBytes, Ipv4Header, Ipv4View, RxFlags, VlanTag};

use super::output::{Steered, push_bounded};
use super::{Context, Event, Router};
use crate::adjacency::Target;
use crate::arp;
use crate::fib::AdjacencyId;
use crate::group::flow_hash;
use crate::icmp::ErrorKind;
use crate::interface::{IfaceId, PortId};
use crate::options::{self, BadOptions, Hop};
use crate::quote::Quote;

/// What the Ethernet header says.
#[derive(Clone, Copy)]
struct Link {
    iface: IfaceId,
    /// Bytes before the payload.
    l2_len: usize,
    ethertype: u16,
    /// Whether the frame was sent to a group of stations.
    to_group: bool,
}

/// What the IPv4 header says, once it was checked.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    /// The interface it came in by.
    pub(super) iface: IfaceId,
    pub(super) header: Ipv4Header,
    /// Whether the frame was sent to a group of stations.
    pub(super) to_group: bool,
}

impl<F: Frame> Router<F> {
    /// Takes any frame. `may_steer` is false for one that was handed over already.
    pub(super) fn receive<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        port: PortId,
        mut frame: F,
        may_steer: bool,
    ) {
        let link = match self.parse_link(port, &frame) {
            Ok(link) => link,
            Err(reason) => return self.drop(frame, reason),
        };
        match link.ethertype {
            ethertype::ARP => return self.receive_arp(cx, link, frame),
            ethertype::IPV4 => {}
            _ => return self.drop(frame, DropReason::UnknownEthertype),
        }
        let packet = match check_ipv4(&link, &frame) {
            Ok(packet) => packet,
            Err(reason) => return self.drop(frame, reason),
        };
        // Padding is not part of the packet.
        frame.truncate(link.l2_len + usize::from(packet.header.total_length.get()));
        let route = cx.fib.lookup(packet.header.dst().to_bits());
        let local = self.adjacencies.get(route).target() == Target::Local;
        if local && may_steer {
            let owner = self.owner(&packet, &frame.data()[link.l2_len..]);
            if owner != self.steering.me {
                return self.steer(cx, owner, port, frame);
            }
        }
        frame.trim_front(link.l2_len);
        if local { self.deliver(cx, packet, frame) } else { self.forward(cx, packet, route, frame) }
    }

    fn parse_link(&self, port: PortId, frame: &F) -> Result<Link, DropReason> {
        let data = frame.data();
        let (header, rest) = EthernetHeader::ref_from_prefix(data).map_err(|_| DropReason::FrameTooShort)?;
        let (mut vlan, mut l2_len, mut kind) = (None, EthernetHeader::LEN, header.ethertype.get());
        if frame.rx_flags().0 & RxFlags::VLAN_STRIPPED != 0 {
            vlan = Some(frame.vlan_tci() & VlanTag::ID_MASK);
        } else if kind == ethertype::VLAN {
            let (tag, _) = VlanTag::ref_from_prefix(rest).map_err(|_| DropReason::FrameTooShort)?;
            vlan = Some(tag.id());
            l2_len += VlanTag::LEN;
            kind = tag.ethertype.get();
        }
        // IEEE 802.1Q section 9.6: identifier 0 carries a priority only.
        let vlan = vlan.filter(|&id| id != 0);
        let iface = self.interfaces.find(port, vlan).ok_or(DropReason::UnknownVlan)?;
        let to_group = header.dst.is_multicast();
        if !to_group && header.dst != iface.mac {
            return Err(DropReason::NotOurMac);
        }
        Ok(Link { iface: iface.id, l2_len, ethertype: kind, to_group })
    }

    fn receive_arp<P: FramePool<Frame = F>>(&mut self, cx: &mut Context<'_, P>, link: Link, mut frame: F) {
        let interfaces = self.interfaces.clone();
        let Some(iface) = interfaces.get(link.iface) else {
            return self.drop(frame, DropReason::UnknownVlan);
        };
        let decision = arp::Message::parse(&frame.data()[link.l2_len..]).and_then(|message| {
            let routed_elsewhere =
                |target| self.egress_iface(cx.fib, target).is_some_and(|egress| egress != iface.id);
            arp::decide(&message, iface, |ip| self.is_on_link(cx.fib, iface.id, ip), routed_elsewhere)
        });
        let decision = match decision {
            Ok(decision) => decision,
            Err(reason) => return self.drop(frame, reason),
        };
        if let Some(event) = decision.event {
            self.tell(cx, Event::Arp(iface.id, event));
        }
        if !decision.reply {
            return self.consume(frame);
        }
        match arp::write_reply_in_place(&mut frame, link.l2_len, iface) {
            Ok(()) => self.enqueue(cx, iface.port, frame),
            Err(_) => self.drop(frame, DropReason::ArpMalformed),
        }
    }

    /// The worker that owns a packet's flow. Fragments have no ports, so a datagram's all go by address.
    /// An ICMP error goes to whom it concerns: the owner of the flow that it quotes.
    pub(super) fn owner(&self, packet: &Packet, bytes: &[u8]) -> u16 {
        let quoted = FlowKey::quoted(packet, bytes);
        let FlowKey { src, dst, ports } = quoted.unwrap_or_else(|| FlowKey::of(packet, bytes));
        let hash = match ports {
            Some((from, to)) => self.steering.toeplitz.hash_v4_l4(src, dst, from, to),
            None => self.steering.toeplitz.hash_v4(src, dst),
        };
        self.steering.reta.owner(hash)
    }

    pub(super) fn steer<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        owner: u16,
        port: PortId,
        frame: F,
    ) {
        match push_bounded(&mut cx.out.steered, Steered { owner, port, frame }) {
            Ok(()) => {}
            Err(steered) => self.drop(steered.frame, DropReason::SteerFull),
        }
    }

    /// Forwards a packet whose header is right, the way of `route`. The frame begins at the IPv4 header.
    fn forward<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        packet: Packet,
        route: AdjacencyId,
        mut frame: F,
    ) {
        let header = &packet.header;
        let hash = self.flow_hash(&packet, frame.data());
        let adjacency = *self.adjacencies.resolve(route, hash);
        let refusal = match adjacency.target() {
            //= RFC 2644 section 2: a directed broadcast is not forwarded.
            Target::Broadcast => Some((DropReason::Broadcast, None)),
            Target::Multicast => Some((DropReason::Multicast, None)),
            Target::Martian => Some((DropReason::MartianDestination, None)),
            Target::Blackhole => Some((DropReason::Blackhole, None)),
            _ if packet.to_group => Some((DropReason::LinkBroadcast, None)),
            Target::NoRoute => Some((DropReason::NoRoute, Some(ErrorKind::NetUnreachable))),
            Target::Unreachable => Some((DropReason::Unreachable, Some(ErrorKind::HostUnreachable))),
            //= RFC 1812 section 5.3.1: the TTL is looked at only when forwarding.
            _ if header.ttl <= 1 => Some((DropReason::TtlExpired, Some(ErrorKind::TimeExceeded))),
            _ => None,
        };
        if let Some((reason, error)) = refusal {
            if let Some(kind) = error {
                self.send_error(cx, Some(packet.iface), &frame, kind);
            }
            return self.drop(frame, reason);
        }
        if packet.has_options() {
            let own = self.source_on(adjacency.target().iface(), header.dst());
            let own = own.unwrap_or(Ipv4Addr::UNSPECIFIED);
            if let Err(bad) = options::process(frame.data_mut(), Hop { addr: own, now: cx.now }) {
                return self.refuse_options(cx, packet.iface, frame, bad);
            }
        }
        if let Ok((header, _)) = Ipv4Header::mut_from_prefix(frame.data_mut()) {
            wire::checksum::ttl_decrement(header);
        }
        self.transmit(cx, &adjacency, frame, Some(packet.iface));
    }

    /// Drops a packet for its options, and tells its sender if they are malformed. The frame begins at the
    /// IPv4 header.
    pub(super) fn refuse_options<P: FramePool<Frame = F>>(
        &mut self,
        cx: &mut Context<'_, P>,
        iface: IfaceId,
        frame: F,
        bad: BadOptions,
    ) {
        if let BadOptions::Malformed { pointer } = bad {
            self.send_error(cx, Some(iface), &frame, ErrorKind::ParameterProblem { pointer });
        }
        self.drop(frame, bad.reason());
    }

    fn flow_hash(&self, packet: &Packet, bytes: &[u8]) -> u32 {
        let FlowKey { src, dst, ports } = FlowKey::of(packet, bytes);
        let ports = ports.map_or(0, |(from, to)| u32::from(from) << 16 | u32::from(to));
        flow_hash(self.flow_seed, src, dst, packet.header.protocol, ports)
    }
}

impl Packet {
    fn has_options(&self) -> bool {
        self.header.header_len() > Ipv4Header::LEN
    }
}

/// A flow's addresses and ports, host order.
struct FlowKey {
    src: u32,
    dst: u32,
    ports: Option<(u16, u16)>,
}

impl FlowKey {
    /// `bytes` begins at the IPv4 header. Only whole TCP and UDP packets have ports.
    fn of(packet: &Packet, bytes: &[u8]) -> Self {
        let header = &packet.header;
        let has_ports = !header.is_fragment()
            && matches!(header.protocol, wire::ipv4::protocol::TCP | wire::ipv4::protocol::UDP);
        let ports = bytes.get(header.header_len()..).and_then(|payload| payload.first_chunk::<4>());
        let ports = ports
            .filter(|_| has_ports)
            .map(|p| (u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])));
        FlowKey { src: header.src().to_bits(), dst: header.dst().to_bits(), ports }
    }

    /// Of an ICMP error about a packet of ours: the flow of what answers that packet.
    fn quoted(packet: &Packet, bytes: &[u8]) -> Option<Self> {
        let header = &packet.header;
        if header.protocol != wire::ipv4::protocol::ICMP || header.is_fragment() {
            return None;
        }
        let quote = Quote::of(bytes.get(header.header_len()..)?)?;
        let ports = Some((quote.dst.port(), quote.src.port()));
        Some(FlowKey { src: quote.dst.ip().to_bits(), dst: quote.src.ip().to_bits(), ports })
    }
}

/// The input checks, in the order of RFC 1812 section 5.2.2, then the addresses.
fn check_ipv4<F: Frame>(link: &Link, frame: &F) -> Result<Packet, DropReason> {
    let bytes = &frame.data()[link.l2_len..];
    let view = Ipv4View::parse(bytes, frame.len() - link.l2_len)?;
    if !frame.rx_flags().ip_cksum_good() && !view.checksum_ok() {
        return Err(DropReason::Ipv4BadChecksum);
    }
    let header = *view.header;
    //= RFC 1812 section 5.3.7: what cannot be a host's is not forwarded as a source.
    let first = header.src().octets()[0];
    //= RFC 1122 section 3.2.1.3: who has no address yet asks for one by broadcast, from 0.0.0.0.
    let asks_for_address = header.src().is_unspecified() && header.dst().is_broadcast();
    if (first == 0 || first == 127 || first >= 224) && !asks_for_address {
        return Err(DropReason::MartianSource);
    }
    Ok(Packet { iface: link.iface, header, to_group: link.to_group })
}

//! Packets to this host: to TCP, to UDP, and ICMP errors about what they sent.

use std::net::SocketAddrV4;

use l2l3::icmp::ErrorKind;
use l2l3::interface::IfaceId;
use l2l3::quote::Quote;
use l2l3::router::{Context, Delivery, Router};
use tcp::demux::{FlowKey, FlowTable};
use tcp::shard::{IcmpError, IcmpKind};
use tcp::udp::Disposition;
use tcp::{Checksum, SeqNumber};
use wire::checksum::pseudo_header;
use wire::icmp::{code, kind};
use wire::ipv4::protocol;
use wire::{DropReason, Frame, FramePool, FromBytes, Ipv4Header, UdpHeader};

use super::Host;

/// The ECN field of a packet that met congestion (RFC 3168 section 5).
const CE: u8 = 3;

/// Takes all packets in the output's `local` batch, and empties it.
pub(crate) fn deliver<F: Frame, P: FramePool<Frame = F>>(
    host: &mut Host<F>,
    router: &mut Router<F>,
    cx: &mut Context<'_, P>,
) {
    let mut batch = std::mem::take(&mut cx.out.local);
    let mut rest = batch.drain(..);
    for n in 0.. {
        if n % FlowTable::BURST == 0 && rest.len() > 1 {
            host.tcp.prefetch(rest.as_slice().iter().filter_map(|delivery| flow(&delivery.frame)));
        }
        let Some(Delivery { iface, frame }) = rest.next() else { break };
        let Ok((&header, _)) = Ipv4Header::ref_from_prefix(frame.data()) else {
            router.discard(frame, DropReason::Ipv4TooShort);
            continue;
        };
        let packet = Arrived { iface, header, frame };
        match header.protocol {
            protocol::TCP => to_tcp(host, router, cx, packet),
            protocol::ICMP => to_icmp(host, router, cx, packet),
            _ => to_udp(host, router, cx, packet),
        }
    }
    drop(rest);
    cx.out.local = batch;
}

/// The flow of a packet to us, if it has the form of TCP's.
fn flow(frame: &impl Frame) -> Option<FlowKey> {
    let (header, _) = Ipv4Header::ref_from_prefix(frame.data()).ok()?;
    FlowKey::peek(header.src(), header.dst(), frame.data().get(header.header_len()..)?)
}

/// A packet to us. The frame begins at the IPv4 header, which was checked, and ends where the packet does.
struct Arrived<F> {
    iface: IfaceId,
    header: Ipv4Header,
    frame: F,
}

impl<F: Frame> Arrived<F> {
    /// Whether the checksum is still to be checked. A device sees the first of several segments only.
    fn checksum(&self) -> Checksum {
        let good = self.frame.rx_flags().l4_cksum_good() && self.frame.segments() == 1;
        if good { Checksum::KnownGood } else { Checksum::Verify }
    }
}

fn to_tcp<F: Frame, P: FramePool<Frame = F>>(
    host: &mut Host<F>,
    router: &Router<F>,
    cx: &Context<'_, P>,
    packet: Arrived<F>,
) {
    let (checksum, header) = (packet.checksum(), packet.header);
    let bytes = packet.frame.into_payload(header.header_len(), usize::MAX);
    let addresses = (header.src(), header.dst());
    match host.tcp.handle_packet(cx.now, addresses, bytes, checksum, header.ecn() == CE) {
        Ok(()) => router.counters().consumed.add(1),
        Err(reason) => router.counters().count_drops(reason, 1),
    }
}

fn to_udp<F: Frame, P: FramePool<Frame = F>>(
    host: &mut Host<F>,
    router: &mut Router<F>,
    cx: &mut Context<'_, P>,
    packet: Arrived<F>,
) {
    let Some(udp) = read_udp(&packet) else {
        return router.discard(packet.frame, DropReason::UdpMalformed);
    };
    let Arrived { iface, header, frame } = packet;
    let source = SocketAddrV4::new(header.src(), udp.src_port.get());
    let destination = SocketAddrV4::new(header.dst(), udp.dst_port.get());
    if !host.udp.is_open(source, destination) {
        //= RFC 1122 section 4.1.3.1: a datagram to a port that nobody listens on is answered with port
        //= unreachable.
        return router.refuse(cx, iface, frame, DropReason::UdpNoPort, ErrorKind::PortUnreachable);
    }
    let len = usize::from(udp.length.get()) - UdpHeader::LEN;
    let payload = frame.into_payload(header.header_len() + UdpHeader::LEN, len);
    match host.udp.handle_datagram(source, destination, payload) {
        Disposition::Delivered(_) => router.counters().consumed.add(1),
        Disposition::Full => router.counters().count_drops(DropReason::UdpFull, 1),
        Disposition::NoPort => router.counters().count_drops(DropReason::UdpNoPort, 1),
    }
}

/// The header of a datagram that is all there.
fn read_udp<F: Frame>(packet: &Arrived<F>) -> Option<UdpHeader> {
    let Arrived { header, frame, .. } = packet;
    let at = header.header_len();
    let mut bytes = [0; UdpHeader::LEN];
    if frame.copy_out(at, &mut bytes) < bytes.len() {
        return None;
    }
    let udp: UdpHeader = wire::zerocopy::transmute!(bytes);
    let len = udp.length.get();
    if !(UdpHeader::LEN..=frame.len() - at).contains(&usize::from(len)) {
        return None;
    }
    //= RFC 1122 section 4.1.3.4: one whose checksum is wrong is silently discarded; zero says that there
    //= is none.
    let verify = udp.checksum.get() != 0 && packet.checksum() == Checksum::Verify;
    let sum = || {
        let pseudo = pseudo_header(header.src(), header.dst(), protocol::UDP, len);
        pseudo.add_frame(frame, at, len.into()).finish()
    };
    (!verify || sum() == 0).then_some(udp)
}

/// An ICMP error about a packet of ours. Whether it fits what was sent is for TCP and UDP to judge.
#[cold]
fn to_icmp<F: Frame, P: FramePool<Frame = F>>(
    host: &mut Host<F>,
    router: &mut Router<F>,
    cx: &Context<'_, P>,
    packet: Arrived<F>,
) {
    let message = packet.frame.data().get(packet.header.header_len()..);
    let Some(quote) = message.and_then(Quote::of) else {
        return router.discard(packet.frame, DropReason::IcmpMalformed);
    };
    let port_unreachable =
        (quote.error.kind, quote.error.code) == (kind::UNREACHABLE, code::PORT_UNREACHABLE);
    if quote.protocol == protocol::UDP && port_unreachable {
        host.udp.handle_port_unreachable(quote.src, quote.dst);
    } else if quote.protocol == protocol::TCP
        && let Some(kind) = tcp_error(&quote)
    {
        let (local, remote, seq) = (quote.src, quote.dst, SeqNumber::new(quote.seq));
        host.tcp.handle_icmp(cx.now, &IcmpError { kind, local, remote, seq });
    } else {
        return router.discard(packet.frame, DropReason::IcmpIgnored);
    }
    router.counters().consumed.add(1);
}

//= RFC 9293 section 3.9.2.2: a source quench is ignored; unreachable networks, hosts and source routes, time
//= exceeded and parameter problems are soft errors; protocol and port unreachable are hard ones.
/// What an error means to TCP; `None` if nothing.
fn tcp_error(quote: &Quote) -> Option<IcmpKind> {
    /// Source route failed; communication with the network, or the host, is prohibited.
    const SOURCE_ROUTE: u8 = 5;
    const NET_PROHIBITED: u8 = 9;
    const HOST_PROHIBITED: u8 = 10;
    match (quote.error.kind, quote.error.code) {
        (kind::UNREACHABLE, code::FRAGMENTATION_NEEDED) => {
            Some(IcmpKind::FragmentationNeeded { mtu: quote.error.next_hop_mtu() })
        }
        (kind::UNREACHABLE, code::PROTOCOL_UNREACHABLE | code::PORT_UNREACHABLE) => Some(IcmpKind::Refused),
        (kind::UNREACHABLE, NET_PROHIBITED | HOST_PROHIBITED | code::ADMIN_PROHIBITED) => {
            Some(IcmpKind::Prohibited)
        }
        (kind::UNREACHABLE, code::NET_UNREACHABLE | SOURCE_ROUTE) => Some(IcmpKind::NetUnreachable),
        (kind::UNREACHABLE, _) => Some(IcmpKind::HostUnreachable),
        (kind::TIME_EXCEEDED | kind::PARAMETER_PROBLEM, _) => Some(IcmpKind::NetUnreachable),
        _ => None,
    }
}

//! Packets: from the network to the tables, and from the tables to the network.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use tcp::packet::{NoFrame, Output, Packet};
use tcp::shard::{IcmpError, IcmpKind};
use tcp::udp::Disposition;
use tcp::{Checksum, SeqNumber, udp};
use wire::checksum::pseudo_header;
use wire::icmp::{code, kind};
use wire::ipv4::protocol;
use wire::{
    FromBytes, IcmpHeader, Instant, IntoBytes, Ipv4Header, Ipv4View, Transport, U16, UdpHeader, checksum,
};

use super::{Bytes, Stack};

/// Where TCP's packets go.
pub(super) struct Queue<'a>(pub(super) &'a mut VecDeque<Box<[u8]>>);

impl Output<Bytes> for Queue<'_> {
    fn send(&mut self, packet: &Packet<'_, Bytes>) -> Result<(), NoFrame> {
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);
        self.0.push_back(bytes.into());
        Ok(())
    }
}

/// What the IP header of a datagram says beyond the addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpFields {
    /// Time to live.
    pub(super) ttl: u8,
    /// Type of service.
    pub(super) tos: u8,
    /// May not be fragmented.
    pub(super) dont_fragment: bool,
}

/// An IPv4 packet.
pub(super) fn ipv4(
    (src, dst): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    fields: IpFields,
    parts: &[&[u8]],
) -> Box<[u8]> {
    let payload = parts.concat();
    let mut header = Ipv4Header::new(src, dst, protocol, payload.len());
    header.ttl = fields.ttl;
    header.tos = fields.tos;
    header.flags_fragment = U16::new(if fields.dont_fragment { Ipv4Header::DF } else { 0 });
    header.fill_checksum();
    [header.as_bytes(), &payload].concat().into()
}

impl Stack {
    /// Takes an IPv4 packet from outside: TCP, UDP, or ICMP about either. What is not well-formed is
    /// dropped. Ends with the end of a burst of one: acknowledgements are decided.
    pub(crate) fn handle_packet(&mut self, now: Instant, packet: &[u8]) {
        let Ok(view) = Ipv4View::parse(packet, packet.len()) else { return };
        if !view.checksum_ok() || view.header.is_fragment() {
            return;
        }
        let (src, dst) = (view.header.src(), view.header.dst());
        match view.header.protocol {
            protocol::TCP => {
                let ce = view.header.ecn() == CONGESTION_EXPERIENCED;
                let bytes = Bytes::new(view.payload);
                // What is not taken is counted, and answered, in the shard.
                self.tcp.handle_packet(now, (src, dst), bytes, Checksum::Verify, ce).ok();
            }
            protocol::UDP => self.take_datagram(&view),
            protocol::ICMP => self.take_icmp(now, view.payload),
            _ => {}
        }
    }

    fn take_datagram(&mut self, view: &Ipv4View<'_>) {
        let (src, dst) = (view.header.src(), view.header.dst());
        let Some((header, payload)) = wire::udp::parse(view.payload) else { return };
        let datagram = &view.payload[..usize::from(header.length.get())];
        let sum = pseudo_header(src, dst, protocol::UDP, header.length.get()).add_bytes(datagram);
        if header.checksum.get() != 0 && sum.finish() != 0 {
            return;
        }
        let source = SocketAddrV4::new(src, header.src_port.get());
        let destination = SocketAddrV4::new(dst, header.dst_port.get());
        match self.udp.handle_datagram(source, destination, Bytes::new(payload)) {
            Disposition::Delivered(_) | Disposition::Full => {}
            Disposition::NoPort => self.send_port_unreachable(view),
        }
    }

    /// Answers a datagram that nobody takes with its header and first bytes (RFC 792).
    fn send_port_unreachable(&mut self, view: &Ipv4View<'_>) {
        let quoted = &view.payload[..view.payload.len().min(UdpHeader::LEN)];
        let header =
            IcmpHeader { kind: kind::UNREACHABLE, code: code::PORT_UNREACHABLE, ..IcmpHeader::default() };
        let mut message = [header.as_bytes(), view.header.as_bytes(), view.options, quoted].concat();
        let sum = checksum::checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let fields = IpFields { ttl: self.tcp.config().ttl, tos: 0, dont_fragment: false };
        let addresses = (view.header.dst(), view.header.src());
        self.out.push_back(ipv4(addresses, protocol::ICMP, fields, &[&message]));
    }

    /// An ICMP error quotes the IP header, and eight bytes at least, of a packet that we sent.
    fn take_icmp(&mut self, now: Instant, message: &[u8]) {
        let Ok((header, quoted)) = IcmpHeader::ref_from_prefix(message) else { return };
        if checksum::checksum(message) != 0 {
            return;
        }
        let Some(kind) = icmp_kind(header) else { return };
        // The packet is cut short; its header is all there, and says how long it was.
        let Ok(view) = Ipv4View::parse(quoted, usize::from(u16::MAX)) else { return };
        let Some(&[s0, s1, d0, d1, seq @ ..]) = view.payload.first_chunk::<8>() else { return };
        let local = SocketAddrV4::new(view.header.src(), u16::from_be_bytes([s0, s1]));
        let remote = SocketAddrV4::new(view.header.dst(), u16::from_be_bytes([d0, d1]));
        match view.header.protocol {
            protocol::TCP => {
                let seq = SeqNumber::new(u32::from_be_bytes(seq));
                self.tcp.handle_icmp(now, &IcmpError { kind, local, remote, seq });
            }
            protocol::UDP if kind == IcmpKind::Refused => self.udp.handle_port_unreachable(local, remote),
            _ => {}
        }
    }

    /// Sends a datagram of UDP's.
    pub(super) fn transmit_datagram(&mut self, datagram: &udp::Transmit<Bytes>, fields: IpFields) {
        let mut source = datagram.source;
        if source.ip().is_unspecified() {
            source.set_ip(self.local);
        }
        let payload = wire::Payload::chunk(&datagram.payload, 0);
        let header = udp::header(source, datagram.destination, payload.len());
        let addresses = (*source.ip(), *datagram.destination.ip());
        let mut packet = ipv4(addresses, protocol::UDP, fields, &[&header, payload]);
        Transport::Udp.fill(&mut packet[Ipv4Header::LEN..]);
        self.out.push_back(packet);
    }
}

/// The ECN field of a packet that met congestion (RFC 3168 section 5).
const CONGESTION_EXPERIENCED: u8 = 3;

//= RFC 1122 section 3.2.2.1: codes of "destination administratively prohibited".
const NET_PROHIBITED: u8 = 9;
const HOST_PROHIBITED: u8 = 10;

/// What an ICMP error says about the packet it quotes (RFC 1122 section 3.2.2.1); `None` if it is no error
/// of the transport's.
fn icmp_kind(header: &IcmpHeader) -> Option<IcmpKind> {
    match (header.kind, header.code) {
        (kind::UNREACHABLE, code::FRAGMENTATION_NEEDED) => {
            Some(IcmpKind::FragmentationNeeded { mtu: header.next_hop_mtu() })
        }
        (kind::UNREACHABLE, code::PROTOCOL_UNREACHABLE | code::PORT_UNREACHABLE) => Some(IcmpKind::Refused),
        (kind::UNREACHABLE, NET_PROHIBITED | HOST_PROHIBITED | code::ADMIN_PROHIBITED) => {
            Some(IcmpKind::Prohibited)
        }
        (kind::UNREACHABLE, code::NET_UNREACHABLE) => Some(IcmpKind::NetUnreachable),
        (kind::UNREACHABLE, _) | (kind::TIME_EXCEEDED, code::TTL_IN_TRANSIT) => {
            Some(IcmpKind::HostUnreachable)
        }
        _ => None,
    }
}

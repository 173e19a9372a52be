//! ARP as a worker sees it (RFC 826, RFC 1027, RFC 5227): check a message, decide what follows, write
//! messages of our own. Stateless: what a message teaches goes to the one neighbour table as an
//! [`ArpEvent`].

use std::fmt;
use std::net::Ipv4Addr;

use wire::arp::ArpPacket;
use wire::ethernet::{EthernetHeader, MIN_FRAME_LEN, VlanTag, ethertype};
use wire::{DropReason, Frame, MacAddr, NoRoom};
use zerocopy::{FromBytes, IntoBytes};

use crate::interface::Interface;

/// What a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has.
    Reply,
}

/// An ARP message for IPv4 over Ethernet whose fixed fields are right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// What it is for.
    pub operation: Operation,
    /// The sender's Ethernet address, as the message (not the frame) has it.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address; zero in a probe (RFC 5227 section 2.1.1).
    pub sender_ip: Ipv4Addr,
    /// The target's Ethernet address; means nothing in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl Message {
    /// Reads the message at the front of `payload`: what follows the Ethernet and VLAN headers, padding
    /// included.
    ///
    /// # Errors
    /// [`DropReason::ArpMalformed`] if it is cut short, not about IPv4 over Ethernet, or neither a
    /// request nor a reply.
    pub fn parse(payload: &[u8]) -> Result<Message, DropReason> {
        let (packet, _) = ArpPacket::ref_from_prefix(payload).map_err(|_| DropReason::ArpMalformed)?;
        let operation = match packet {
            p if !p.is_ethernet_ipv4() => return Err(DropReason::ArpMalformed),
            p if p.is_request() => Operation::Request,
            p if p.is_reply() => Operation::Reply,
            _ => return Err(DropReason::ArpMalformed),
        };
        Ok(Message {
            operation,
            sender_mac: packet.sender_mac,
            sender_ip: packet.sender_ip(),
            target_mac: packet.target_mac,
            target_ip: packet.target_ip(),
        })
    }

    fn is_request(&self) -> bool {
        self.operation == Operation::Request
    }
}

/// What a message teaches, for [`crate::neighbour::Neighbours::handle_arp`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpEvent {
    /// A station has an address.
    Learned {
        /// The station's IPv4 address.
        ip: Ipv4Addr,
        /// Its Ethernet address.
        mac: MacAddr,
        /// Whether it said so in a reply.
        is_reply: bool,
        /// Whether it was we who were asked, or answered. If not, the message may update what is known
        /// of the station but is no reason to remember it.
        was_for_us: bool,
    },
    /// Another station uses one of our addresses.
    Duplicate {
        /// Our address.
        ip: Ipv4Addr,
        /// The other station.
        mac: MacAddr,
    },
}

/// What follows from a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Answer it with [`write_reply_in_place`].
    pub reply: bool,
    /// Tell the neighbour table.
    pub event: Option<ArpEvent>,
}

/// Decides what follows from a message that `iface` received. `on_link` says whether an address beyond
/// the interface's own networks is a neighbour on it all the same, by a route; `routed_elsewhere`,
/// whether an address is routed by another interface, which is asked only where proxy ARP needs it.
///
/// # Errors
/// [`DropReason::ArpBadSender`] if the sender cannot be a neighbour.
pub fn decide(
    message: &Message,
    iface: &Interface,
    on_link: impl FnOnce(Ipv4Addr) -> bool,
    routed_elsewhere: impl FnOnce(Ipv4Addr) -> bool,
) -> Result<Decision, DropReason> {
    let Message { sender_mac: mac, sender_ip: ip, target_ip, .. } = *message;
    if mac.is_multicast() || mac == MacAddr::ZERO || mac == iface.mac {
        return Err(DropReason::ArpBadSender);
    }
    let asks_us = message.is_request() && iface.owns(target_ip);
    //= RFC 5227 section 2.1.1: a probe has no sender address, and must not end up in a table. The reply
    //= to it is our defence.
    if ip.is_unspecified() && message.is_request() {
        return Ok(Decision { reply: asks_us, event: None });
    }
    //= RFC 5227 section 2.4: our address as the sender of another station's message is a conflict. A
    //= reply would tell the rival nothing; the table's owner announces the address instead.
    if iface.owns(ip) {
        return Ok(Decision { reply: false, event: Some(ArpEvent::Duplicate { ip, mac }) });
    }
    let in_our_networks = iface.addr_towards(ip).is_some();
    if iface.is_directed_broadcast(ip) || !(in_our_networks || on_link(ip)) {
        return Err(DropReason::ArpBadSender);
    }
    let reply = asks_us || (message.is_request() && is_proxied(message, iface, routed_elsewhere));
    let is_reply = !message.is_request();
    let was_for_us = reply || (is_reply && iface.owns(target_ip));
    Ok(Decision { reply, event: Some(ArpEvent::Learned { ip, mac, is_reply, was_for_us }) })
}

//= RFC 1027 section 2: answer for a host that is not on the asker's own network and that we have a
//= route to by another interface; never for broadcast addresses.
fn is_proxied(message: &Message, iface: &Interface, routed_elsewhere: impl FnOnce(Ipv4Addr) -> bool) -> bool {
    let target = message.target_ip;
    let is_unicast = !(target.octets()[0] == 0
        || target.is_loopback()
        || target.octets()[0] >= 224
        || iface.is_directed_broadcast(target));
    iface.proxy_arp && target != message.sender_ip && is_unicast && routed_elsewhere(target)
}

/// Why a message of ours was not written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The frame is too small.
    NoRoom,
    /// The interface has no address to ask from.
    NoAddress,
}

impl From<NoRoom> for BuildError {
    fn from(NoRoom: NoRoom) -> Self {
        BuildError::NoRoom
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BuildError::NoRoom => "the frame has no room left",
            BuildError::NoAddress => "the interface has no address",
        })
    }
}

impl std::error::Error for BuildError {}

/// Turns a received request into our reply. `l2_len` is the length of the frame's Ethernet and VLAN
/// headers; the reply gets those of `iface`, whether or not the device had stripped a tag.
///
/// # Errors
/// If the frame has no room for the tag or the padding, or holds no message at `l2_len`; the frame is
/// then of no use any more.
pub fn write_reply_in_place<F: Frame>(frame: &mut F, l2_len: usize, iface: &Interface) -> Result<(), NoRoom> {
    let Some((request, _)) = frame.data().get(l2_len..).and_then(|b| ArpPacket::read_from_prefix(b).ok())
    else {
        return Err(NoRoom);
    };
    let asker = request.sender_mac;
    let reply = ArpPacket::new_reply(iface.mac, request.target_ip(), asker, request.sender_ip());
    frame.trim_front(l2_len);
    frame.truncate(0);
    write(frame, iface, asker, &reply)
}

/// Writes a request for `target` into an empty frame, to [`MacAddr::BROADCAST`] or to the station that
/// had the address last. It asks from our address in the target's network, or else from the first.
///
/// # Errors
/// If `iface` has no address, or the frame no room.
pub fn build_request<F: Frame>(
    frame: &mut F,
    iface: &Interface,
    target: Ipv4Addr,
    dst: MacAddr,
) -> Result<(), BuildError> {
    let own = iface.addr_towards(target).or_else(|| iface.addresses.first().copied());
    let own = own.ok_or(BuildError::NoAddress)?;
    Ok(write(frame, iface, dst, &ArpPacket::new_request(iface.mac, own.addr, target))?)
}

/// Writes an announcement of our address `own` (RFC 5227 section 2.3) into an empty frame.
///
/// # Errors
/// If the frame has no room.
pub fn build_announcement<F: Frame>(frame: &mut F, iface: &Interface, own: Ipv4Addr) -> Result<(), NoRoom> {
    write(frame, iface, MacAddr::BROADCAST, &ArpPacket::new_gratuitous(iface.mac, own))
}

/// Fills an empty frame: Ethernet header, the interface's tag, the message, zeros to the least length.
fn write<F: Frame>(frame: &mut F, iface: &Interface, dst: MacAddr, packet: &ArpPacket) -> Result<(), NoRoom> {
    let mut bytes = [0; MIN_FRAME_LEN];
    let mut at = 0;
    let mut put = |part: &[u8]| {
        bytes[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    };
    let outer = if iface.vlan.is_some() { ethertype::VLAN } else { ethertype::ARP };
    put(EthernetHeader::new(dst, iface.mac, outer).as_bytes());
    if let Some(id) = iface.vlan {
        put(VlanTag::new(id, ethertype::ARP).as_bytes());
    }
    put(packet.as_bytes());
    frame.append(MIN_FRAME_LEN)?.copy_from_slice(&bytes);
    frame.clear_flags();
    Ok(())
}

#[cfg(test)]
mod tests {
    use sim::SimPool;
    use wire::FramePool;
    use wire::arp::operation;

    use super::*;
    use crate::interface::{IfaceAddr, IfaceId, PortId};

    const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const OUR_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const HOST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const ON_LINK: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);

    fn iface(vlan: Option<u16>, proxy_arp: bool) -> Interface {
        Interface {
            id: IfaceId(3),
            port: PortId(0),
            vlan,
            mac: US,
            mtu: 1500,
            addresses: vec![IfaceAddr { addr: OUR_IP, net: "10.0.0.0/24".parse().unwrap() }],
            proxy_arp,
        }
    }

    fn ask(mac: MacAddr, ip: impl Into<Ipv4Addr>, target: impl Into<Ipv4Addr>) -> ArpPacket {
        ArpPacket::new_request(mac, ip.into(), target.into())
    }

    fn answer(mac: MacAddr, ip: impl Into<Ipv4Addr>, target: Ipv4Addr) -> ArpPacket {
        ArpPacket::new_reply(mac, ip.into(), US, target)
    }

    fn decide_on(packet: ArpPacket, proxy_arp: bool) -> Result<Decision, DropReason> {
        let message = Message::parse(packet.as_bytes())?;
        decide(&message, &iface(None, proxy_arp), |ip| ip == ON_LINK, |ip| ip == ELSEWHERE)
    }

    #[test]
    fn parses_what_is_arp_for_ipv4_over_ethernet() {
        let good = ask(HOST, HOST_IP, OUR_IP);
        let mut padded = [0; 46];
        padded[..ArpPacket::LEN].copy_from_slice(good.as_bytes());
        let message = Message::parse(&padded).unwrap();
        assert_eq!((message.operation, message.sender_mac), (Operation::Request, HOST));
        assert_eq!((message.sender_ip, message.target_ip), (HOST_IP, OUR_IP));
        for len in 0..ArpPacket::LEN {
            assert_eq!(Message::parse(&good.as_bytes()[..len]), Err(DropReason::ArpMalformed), "{len} bytes");
        }
        // The first eight bytes are fixed but for the operation.
        for i in 0..8 {
            let mut bytes = padded;
            bytes[i] ^= 0x10;
            assert_eq!(Message::parse(&bytes), Err(DropReason::ArpMalformed), "byte {i}");
        }
        for op in [0, 3, 4, 8, 0x0100, 0xffff] {
            let packet = ArpPacket { operation: op.into(), ..good };
            assert_eq!(Message::parse(packet.as_bytes()), Err(DropReason::ArpMalformed), "operation {op}");
        }
    }

    #[test]
    fn decides() {
        let learned = |reply, is_reply, was_for_us| {
            let event = ArpEvent::Learned { ip: HOST_IP, mac: HOST, is_reply, was_for_us };
            Ok(Decision { reply, event: Some(event) })
        };
        let duplicate =
            Ok(Decision { reply: false, event: Some(ArpEvent::Duplicate { ip: OUR_IP, mac: HOST }) });
        let probe = |reply| Ok(Decision { reply, event: None });
        let bad = Err(DropReason::ArpBadSender);
        let group = MacAddr([3, 0, 0, 0, 0, 9]);
        let cases = [
            ("asks for us", ask(HOST, HOST_IP, OUR_IP), false, learned(true, false, true)),
            ("asks for another", ask(HOST, HOST_IP, [10, 0, 0, 7]), false, learned(false, false, false)),
            ("answers us", answer(HOST, HOST_IP, OUR_IP), false, learned(false, true, true)),
            (
                "answers another",
                answer(HOST, HOST_IP, [10, 0, 0, 7].into()),
                false,
                learned(false, true, false),
            ),
            ("announces itself", ask(HOST, HOST_IP, HOST_IP), false, learned(false, false, false)),
            ("announces itself by reply", answer(HOST, HOST_IP, HOST_IP), false, learned(false, true, false)),
            ("probes our address", ask(HOST, [0; 4], OUR_IP), false, probe(true)),
            ("probes another", ask(HOST, [0; 4], HOST_IP), false, probe(false)),
            ("probes, proxy on", ask(HOST, [0; 4], ELSEWHERE), true, probe(false)),
            ("replies from zero", answer(HOST, [0; 4], OUR_IP), false, bad),
            ("has our address, announces", ask(HOST, OUR_IP, OUR_IP), false, duplicate),
            ("has our address, asks", ask(HOST, OUR_IP, HOST_IP), false, duplicate),
            ("has our address, answers", answer(HOST, OUR_IP, HOST_IP), false, duplicate),
            ("our own frame", ask(US, HOST_IP, OUR_IP), false, bad),
            ("our own announcement", ask(US, OUR_IP, OUR_IP), false, bad),
            ("broadcast station", ask(MacAddr::BROADCAST, HOST_IP, OUR_IP), false, bad),
            ("group station", ask(group, HOST_IP, OUR_IP), false, bad),
            ("no station", ask(MacAddr::ZERO, HOST_IP, OUR_IP), false, bad),
            ("not of the network", ask(HOST, ELSEWHERE, OUR_IP), false, bad),
            (
                "of an on-link route",
                answer(HOST, ON_LINK, OUR_IP),
                false,
                Ok(Decision {
                    reply: false,
                    event: Some(ArpEvent::Learned {
                        ip: ON_LINK,
                        mac: HOST,
                        is_reply: true,
                        was_for_us: true,
                    }),
                }),
            ),
            ("network address", ask(HOST, [10, 0, 0, 0], OUR_IP), false, bad),
            ("broadcast address", ask(HOST, [10, 0, 0, 255], OUR_IP), false, bad),
            ("multicast address", ask(HOST, [224, 0, 0, 1], OUR_IP), false, bad),
            ("asks for elsewhere", ask(HOST, HOST_IP, ELSEWHERE), false, learned(false, false, false)),
            ("elsewhere, proxy on", ask(HOST, HOST_IP, ELSEWHERE), true, learned(true, false, true)),
            ("proxy has no route", ask(HOST, HOST_IP, [198, 51, 100, 1]), true, learned(false, false, false)),
            ("proxy only answers", answer(HOST, HOST_IP, ELSEWHERE), true, learned(false, true, false)),
        ];
        for (name, packet, proxy_arp, want) in cases {
            assert_eq!(decide_on(packet, proxy_arp), want, "{name}");
        }
    }

    #[test]
    fn proxy_never_answers_for_what_is_no_host() {
        for target in [
            [0, 0, 0, 0],
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [240, 0, 0, 1],
            [255; 4],
            [10, 0, 0, 255],
            [10, 0, 0, 9],
        ] {
            let message = Message::parse(ask(HOST, HOST_IP, target).as_bytes()).unwrap();
            let decision = decide(&message, &iface(None, true), |_| false, |_| true).unwrap();
            assert!(!decision.reply, "{target:?}");
        }
    }

    fn untagged(dst: MacAddr, src: MacAddr) -> Vec<u8> {
        EthernetHeader::new(dst, src, ethertype::ARP).as_bytes().to_vec()
    }

    fn tagged(dst: MacAddr, src: MacAddr, id: u16) -> Vec<u8> {
        let mut bytes = EthernetHeader::new(dst, src, ethertype::VLAN).as_bytes().to_vec();
        bytes.extend(VlanTag::new(id, ethertype::ARP).as_bytes());
        bytes
    }

    fn whole(mut l2: Vec<u8>, packet: &ArpPacket) -> Vec<u8> {
        l2.extend(packet.as_bytes());
        l2.resize(MIN_FRAME_LEN, 0);
        l2
    }

    #[test]
    fn replies_in_place() {
        let request = ask(HOST, HOST_IP, OUR_IP);
        let want = ArpPacket::new_reply(US, OUR_IP, HOST, HOST_IP);
        assert_eq!(want.operation.get(), operation::REPLY);
        let broadcast = || untagged(MacAddr::BROADCAST, HOST);
        let in_vlan = || tagged(MacAddr::BROADCAST, HOST, 7);
        // The second case is a frame whose tag the device has stripped, the last one a priority tag.
        let cases = [
            (broadcast(), None, untagged(HOST, US)),
            (broadcast(), Some(7), tagged(HOST, US, 7)),
            (in_vlan(), Some(7), tagged(HOST, US, 7)),
            (in_vlan(), None, untagged(HOST, US)),
        ];
        for (l2, vlan, want_l2) in cases {
            for padding in [0, 18, 100] {
                let mut frame = SimPool::new(4, 2048).alloc().unwrap();
                let len = l2.len() + ArpPacket::LEN;
                let bytes = frame.append(len + padding).unwrap();
                bytes.fill(0xee);
                bytes[..l2.len()].copy_from_slice(&l2);
                bytes[l2.len()..len].copy_from_slice(request.as_bytes());
                write_reply_in_place(&mut frame, l2.len(), &iface(vlan, false)).unwrap();
                assert_eq!(
                    frame.data(),
                    whole(want_l2.clone(), &want),
                    "{vlan:?}, {padding} bytes of padding"
                );
            }
        }
    }

    #[test]
    fn does_not_reply_to_what_is_cut_short() {
        let bytes = whole(untagged(MacAddr::BROADCAST, HOST), &ask(HOST, HOST_IP, OUR_IP));
        for len in 0..14 + ArpPacket::LEN {
            let mut frame = SimPool::new(1, 2048).alloc().unwrap();
            frame.append(len).unwrap().copy_from_slice(&bytes[..len]);
            assert_eq!(write_reply_in_place(&mut frame, 14, &iface(None, false)), Err(NoRoom), "{len} bytes");
        }
    }

    #[test]
    fn builds_requests_and_announcements() {
        let mut pool = SimPool::new(8, 2048);
        let other: Ipv4Addr = [172, 16, 0, 1].into();
        for vlan in [None, Some(100)] {
            let l2 = |dst| vlan.map_or_else(|| untagged(dst, US), |id| tagged(dst, US, id));
            let mut iface = iface(vlan, false);
            iface.addresses.push(IfaceAddr { addr: other, net: "172.16.0.0/30".parse().unwrap() });
            let cases = [(HOST_IP, OUR_IP), ([172, 16, 0, 2].into(), other), (ELSEWHERE, OUR_IP)];
            for (target, own) in cases {
                for dst in [MacAddr::BROADCAST, HOST] {
                    let mut frame = pool.alloc().unwrap();
                    build_request(&mut frame, &iface, target, dst).unwrap();
                    assert_eq!(frame.data(), whole(l2(dst), &ArpPacket::new_request(US, own, target)));
                }
            }
            let mut frame = pool.alloc().unwrap();
            build_announcement(&mut frame, &iface, OUR_IP).unwrap();
            assert_eq!(frame.data(), whole(l2(MacAddr::BROADCAST), &ask(US, OUR_IP, OUR_IP)));
            iface.addresses.clear();
            let mut frame = pool.alloc().unwrap();
            let error = build_request(&mut frame, &iface, HOST_IP, HOST);
            assert_eq!((error, frame.is_empty()), (Err(BuildError::NoAddress), true));
        }
    }
}

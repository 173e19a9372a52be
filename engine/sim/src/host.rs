//! A minimal IPv4 host for tests of routers: it answers ARP and ping, sends pings and datagrams,
//! finds its neighbours by ARP, and records all that it receives and every fault in it.
//!
//! Sans-IO: bytes of frames go in and come out. It does not forward, fragment or reassemble.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use wire::{Instant, Ipv4Prefix, MacAddr};

use crate::builder::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ICMP, Ipv4, UDP};
use crate::dissect::{Arp, Body, Fault, Packet};

/// Time between two ARP requests for one address.
pub const ARP_INTERVAL: Duration = Duration::from_secs(1);
/// ARP requests until packets for the address are given up.
pub const ARP_TRIES: u32 = 3;
/// Packets held for one unresolved address.
pub const HOLD_LIMIT: usize = 64;
/// Packets recorded; later ones are counted in [`HostStats::unrecorded`].
pub const RECORD_LIMIT: usize = 1 << 16;

/// A packet that came for the host, without fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// Who put it on the last link.
    pub from: MacAddr,
    /// Its IPv4 header.
    pub header: Ipv4,
    /// What it carried.
    pub body: Body,
}

/// What happened at a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostStats {
    /// Packets received without fault.
    pub received: u64,
    /// Of these, those past [`RECORD_LIMIT`].
    pub unrecorded: u64,
    /// Frames to other stations, multicast, and of other EtherTypes: no faults, not read further.
    pub ignored: u64,
    /// ARP requests answered.
    pub arp_answered: u64,
    /// Echo requests answered.
    pub echo_answered: u64,
    /// Packets to send given up: no route, no answer to ARP, or [`HOLD_LIMIT`].
    pub unsent: u64,
    /// Faulty packets by what was wrong with them.
    pub faults: BTreeMap<Fault, u64>,
}

impl HostStats {
    /// All faulty packets.
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// A host with one interface.
#[derive(Clone, Debug)]
pub struct Host {
    mac: MacAddr,
    ip: Ipv4Addr,
    network: Ipv4Prefix,
    gateway: Option<Ipv4Addr>,
    neighbours: BTreeMap<Ipv4Addr, MacAddr>,
    waiting: BTreeMap<Ipv4Addr, Waiting>,
    next_id: u16,
    received: Vec<Received>,
    stats: HostStats,
}

/// Packets that wait for the answer to an ARP request.
#[derive(Clone, Debug)]
struct Waiting {
    packets: Vec<Vec<u8>>,
    tries: u32,
    retry_at: Instant,
}

impl Host {
    /// A host whose network is the `prefix_len` bits of `ip`; all else goes to `gateway`.
    ///
    /// # Panics
    /// If `prefix_len > 32`.
    pub fn new(mac: MacAddr, ip: Ipv4Addr, prefix_len: u8, gateway: Option<Ipv4Addr>) -> Self {
        Host {
            mac,
            ip,
            network: Ipv4Prefix::new(ip, prefix_len),
            gateway,
            neighbours: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_id: 1,
            received: Vec::new(),
            stats: HostStats::default(),
        }
    }

    /// Its Ethernet address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Its IPv4 address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// What happened so far.
    pub fn stats(&self) -> &HostStats {
        &self.stats
    }

    /// The packets received without fault, oldest first; those it answered too.
    pub fn received(&self) -> &[Received] {
        &self.received
    }

    /// Takes the record of received packets.
    pub fn take_received(&mut self) -> Vec<Received> {
        std::mem::take(&mut self.received)
    }

    /// Who it takes `ip` to be.
    pub fn neighbour(&self, ip: Ipv4Addr) -> Option<MacAddr> {
        self.neighbours.get(&ip).copied()
    }

    /// Forgets all answers to ARP.
    pub fn forget_neighbours(&mut self) {
        self.neighbours.clear();
    }

    /// Takes in a frame; gives the frames to send: answers, and packets that waited for this.
    pub fn handle(&mut self, now: Instant, frame: &[u8]) -> Vec<Vec<u8>> {
        let Some((header, payload)) = frame.split_first_chunk::<14>() else {
            return self.fault(Fault::Truncated);
        };
        let address = |at: usize| MacAddr(std::array::from_fn(|i| header[at + i]));
        let (to, from) = (address(0), address(6));
        if to != self.mac && !to.is_broadcast() {
            self.stats.ignored += 1;
            return Vec::new();
        }
        match u16::from_be_bytes([header[12], header[13]]) {
            ETHERTYPE_ARP => self.handle_arp(payload),
            ETHERTYPE_IPV4 => self.handle_ipv4(now, from, to, payload),
            _ => {
                self.stats.ignored += 1;
                Vec::new()
            }
        }
    }

    /// Sends a ping; gives the frames to send, which may be an ARP request first.
    pub fn send_ping(
        &mut self,
        now: Instant,
        dst: Ipv4Addr,
        ident: u16,
        seq: u16,
        data: &[u8],
    ) -> Vec<Vec<u8>> {
        let header = Ipv4::new(self.ip, dst, ICMP);
        self.send_ipv4(now, header, &builder::echo_request(ident, seq, data))
    }

    /// Sends a UDP datagram; gives the frames to send, which may be an ARP request first.
    pub fn send_udp(
        &mut self,
        now: Instant,
        dst: Ipv4Addr,
        src_port: u16,
        dst_port: u16,
        data: &[u8],
    ) -> Vec<Vec<u8>> {
        let header = Ipv4::new(self.ip, dst, UDP);
        self.send_ipv4(now, header, &builder::udp(self.ip, dst, src_port, dst_port, data))
    }

    /// Sends a packet with this header, but for the identification where that is 0; gives the
    /// frames to send, which may be an ARP request first.
    ///
    /// # Panics
    /// As [`Ipv4::packet`].
    pub fn send_ipv4(&mut self, now: Instant, header: Ipv4, payload: &[u8]) -> Vec<Vec<u8>> {
        let id = if header.id == 0 { self.next_id } else { header.id };
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let dst = header.dst;
        let packet = Ipv4 { id, ..header }.packet(payload);
        if self.is_broadcast(dst) {
            return vec![self.frame(MacAddr::BROADCAST, &packet)];
        }
        let next_hop = if self.network.contains(dst) { Some(dst) } else { self.gateway };
        match next_hop {
            Some(next_hop) => self.send_to(now, next_hop, packet),
            None => {
                self.stats.unsent += 1;
                Vec::new()
            }
        }
    }

    /// Asks again for addresses that did not answer, and gives up in the end; gives the frames to send.
    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let (mac, ip, stats) = (self.mac, self.ip, &mut self.stats);
        self.waiting.retain(|next_hop, waiting| {
            if waiting.retry_at > now {
                return true;
            }
            if waiting.tries == ARP_TRIES {
                stats.unsent += waiting.packets.len() as u64;
                return false;
            }
            waiting.tries += 1;
            waiting.retry_at = now + ARP_INTERVAL;
            frames.push(builder::arp_request(mac, ip, *next_hop));
            true
        });
        frames
    }

    /// When [`Host::poll`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.retry_at).min()
    }

    fn handle_arp(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let arp = match Arp::parse(bytes) {
            Ok(arp) => arp,
            Err(fault) => return self.fault(fault),
        };
        let (mac, ip) = arp.sender;
        let for_me = arp.target.1 == self.ip;
        // RFC 826, "Packet Reception": update what is known; add only what concerns this host.
        if for_me || self.neighbours.contains_key(&ip) {
            self.neighbours.insert(ip, mac);
        }
        let waited = if self.neighbours.contains_key(&ip) { self.waiting.remove(&ip) } else { None };
        let waited = waited.map_or_else(Vec::new, |waiting| waiting.packets);
        let mut frames: Vec<_> = waited.iter().map(|packet| self.frame(mac, packet)).collect();
        if for_me && arp.operation == 1 {
            self.stats.arp_answered += 1;
            frames.insert(0, builder::arp_reply(self.mac, self.ip, mac, ip));
        }
        frames
    }

    fn handle_ipv4(&mut self, now: Instant, from: MacAddr, to: MacAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        let (header, body) = match self.read(to, bytes) {
            Ok(read) => read,
            Err(fault) => return self.fault(fault),
        };
        self.stats.received += 1;
        let answer = match &body {
            Body::EchoRequest { ident, seq, payload } if header.dst == self.ip => {
                self.stats.echo_answered += 1;
                let reply = builder::echo_reply(*ident, *seq, payload);
                self.send_ipv4(now, Ipv4::new(self.ip, header.src, ICMP), &reply)
            }
            _ => Vec::new(),
        };
        if self.received.len() < RECORD_LIMIT {
            self.received.push(Received { at: now, from, header, body });
        } else {
            self.stats.unrecorded += 1;
        }
        answer
    }

    fn read(&self, to: MacAddr, bytes: &[u8]) -> Result<(Ipv4, Body), Fault> {
        let packet = Packet::parse(bytes)?;
        let dst = packet.header.dst;
        // RFC 1122 section 3.3.6: a link broadcast may only carry an IP broadcast.
        let mine = if to.is_broadcast() { self.is_broadcast(dst) } else { dst == self.ip };
        if !mine {
            return Err(Fault::WrongDestination);
        }
        let body = packet.body()?;
        Ok((packet.header, body))
    }

    fn send_to(&mut self, now: Instant, next_hop: Ipv4Addr, packet: Vec<u8>) -> Vec<Vec<u8>> {
        if let Some(mac) = self.neighbour(next_hop) {
            return vec![self.frame(mac, &packet)];
        }
        if let Some(waiting) = self.waiting.get_mut(&next_hop) {
            if waiting.packets.len() < HOLD_LIMIT {
                waiting.packets.push(packet);
            } else {
                self.stats.unsent += 1;
            }
            return Vec::new();
        }
        let waiting = Waiting { packets: vec![packet], tries: 1, retry_at: now + ARP_INTERVAL };
        self.waiting.insert(next_hop, waiting);
        vec![builder::arp_request(self.mac, self.ip, next_hop)]
    }

    fn frame(&self, to: MacAddr, packet: &[u8]) -> Vec<u8> {
        builder::padded(builder::ethernet(to, self.mac, ETHERTYPE_IPV4, packet))
    }

    fn is_broadcast(&self, dst: Ipv4Addr) -> bool {
        dst.is_broadcast() || (self.network.len() <= 30 && dst == self.network.last())
    }

    fn fault(&mut self, fault: Fault) -> Vec<Vec<u8>> {
        *self.stats.faults.entry(fault).or_default() += 1;
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::frame::SimPool;
    use crate::link::{Link, LinkConfig};
    use crate::rng::Rng;
    use wire::FramePool;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
    const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn hosts() -> (Host, Host) {
        (Host::new(mac(1), A, 24, Some(GATEWAY)), Host::new(mac(2), B, 24, None))
    }

    /// Hands frames to and fro until both are quiet.
    fn settle(now: Instant, a: &mut Host, b: &mut Host, mut to_b: Vec<Vec<u8>>) {
        while !to_b.is_empty() {
            let to_a: Vec<_> = to_b.iter().flat_map(|frame| b.handle(now, frame)).collect();
            to_b = to_a.iter().flat_map(|frame| a.handle(now, frame)).collect();
        }
    }

    #[test]
    fn resolves_then_pings() {
        let (mut a, mut b) = hosts();
        let now = Instant::from_millis(3);
        let first = a.send_ping(now, B, 7, 1, b"hello");
        assert_eq!(first, [builder::arp_request(mac(1), A, B)]);
        assert!(a.send_ping(now, B, 7, 2, b"").is_empty());
        settle(now, &mut a, &mut b, first);
        let replies: Vec<_> = a.received().iter().map(|r| (r.at, r.from, r.body.clone())).collect();
        let reply = |seq, payload: &[u8]| Body::EchoReply { ident: 7, seq, payload: payload.to_vec() };
        assert_eq!(replies, [(now, mac(2), reply(1, b"hello")), (now, mac(2), reply(2, b""))]);
        let expected = HostStats { received: 2, echo_answered: 2, arp_answered: 1, ..HostStats::default() };
        assert_eq!(b.stats(), &expected);
        assert_eq!(a.stats(), &HostStats { received: 2, ..HostStats::default() });
        assert_eq!((a.next_deadline(), b.neighbour(A)), (None, Some(mac(1))));
    }

    #[test]
    fn what_is_far_goes_to_the_gateway() {
        let (mut a, mut b) = hosts();
        let now = Instant::ZERO;
        assert_eq!(a.send_udp(now, FAR, 1, 2, b"x"), [builder::arp_request(mac(1), A, GATEWAY)]);
        let sent = a.handle(now, &builder::arp_reply(mac(9), GATEWAY, mac(1), A));
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0][..6], mac(9).0);
        assert_eq!(Packet::parse(&sent[0][14..]).unwrap().header.dst, FAR);
        assert!(b.send_udp(now, FAR, 1, 2, b"x").is_empty());
        assert_eq!(b.stats().unsent, 1);
    }

    #[test]
    fn gives_up_on_a_silent_neighbour() {
        let (mut a, _) = hosts();
        a.send_udp(Instant::ZERO, B, 1, 2, b"x");
        for n in 0..HOLD_LIMIT {
            assert_eq!(a.stats().unsent, 0, "{n}");
            a.send_udp(Instant::ZERO, B, 1, 2, b"x");
        }
        assert_eq!(a.stats().unsent, 1);
        let mut asked = Vec::new();
        while let Some(at) = a.next_deadline() {
            asked.push((at, a.poll(at).len()));
        }
        let second = |n: u64| Instant::from_millis(1000 * n);
        assert_eq!(asked, [(second(1), 1), (second(2), 1), (second(3), 0)]);
        assert_eq!(a.stats().unsent, 1 + HOLD_LIMIT as u64);
    }

    #[test]
    fn learns_as_rfc_826_says() {
        let (mut a, _) = hosts();
        let now = Instant::ZERO;
        // Others' business is not learned, but what is known is kept up to date.
        a.handle(now, &builder::arp_request(mac(2), B, GATEWAY));
        assert_eq!(a.neighbour(B), None);
        a.handle(now, &builder::arp_request(mac(2), B, A));
        assert_eq!(a.neighbour(B), Some(mac(2)));
        a.handle(now, &builder::arp_request(mac(3), B, B));
        assert_eq!(a.neighbour(B), Some(mac(3)));
        a.forget_neighbours();
        assert_eq!(a.neighbour(B), None);
    }

    #[test]
    fn counts_faults_and_what_is_not_for_it() {
        let (_, mut b) = hosts();
        let flow =
            builder::Flow { src_mac: mac(1), dst_mac: mac(2), src: A, dst: B, src_port: 1, dst_port: 2 };
        let good = flow.udp(b"data");
        let mut bad_ip = good.clone();
        bad_ip[14 + 8] -= 1;
        let mut bad_udp = good.clone();
        bad_udp[14 + 28] ^= 1;
        let mut bad_icmp = flow.echo_request(1, 1, b"data");
        bad_icmp[14 + 28] ^= 1;
        let broadcast_frame = builder::Flow { dst_mac: MacAddr::BROADCAST, ..flow }.udp(b"");
        let misrouted = builder::Flow { dst: FAR, ..flow }.udp(b"");
        for frame in [&good[..13], &good[..20], &bad_ip, &bad_udp, &bad_icmp, &broadcast_frame, &misrouted] {
            assert!(b.handle(Instant::ZERO, frame).is_empty());
        }
        for frame in [
            builder::Flow { dst_mac: mac(3), ..flow }.udp(b""),
            builder::Flow { dst_mac: MacAddr([1, 0, 0x5e, 0, 0, 1]), ..flow }.udp(b""),
            builder::ethernet(mac(2), mac(1), 0x86dd, &[]),
        ] {
            assert!(b.handle(Instant::ZERO, &frame).is_empty());
        }
        let faults = [
            (Fault::Truncated, 2),
            (Fault::HeaderChecksum, 1),
            (Fault::UdpChecksum, 1),
            (Fault::IcmpChecksum, 1),
            (Fault::WrongDestination, 2),
        ];
        let expected = HostStats { ignored: 3, faults: faults.into(), ..HostStats::default() };
        assert_eq!((b.stats(), b.stats().fault_count()), (&expected, 7));
        b.handle(Instant::ZERO, &good);
        assert_eq!(b.take_received().len(), 1);
        assert!(b.received().is_empty());
    }

    #[test]
    fn broadcasts_reach_all_and_are_not_answered() {
        let (mut a, mut b) = hosts();
        for dst in [Ipv4Addr::BROADCAST, Ipv4Addr::new(10, 0, 0, 255)] {
            let sent = a.send_ping(Instant::ZERO, dst, 1, 1, b"");
            assert_eq!(sent[0][..6], [0xff; 6]);
            assert!(b.handle(Instant::ZERO, &sent[0]).is_empty());
        }
        assert_eq!(b.stats(), &HostStats { received: 2, ..HostStats::default() });
    }

    /// Two hosts on two lossy, damaging links, in virtual time; gives all that they saw.
    fn ping_over_bad_links(seed: u64) -> (Vec<Received>, HostStats, HostStats) {
        let config = LinkConfig {
            rate: Some(10_000_000),
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(1),
            loss: 0.1,
            corruption: 0.1,
            duplication: 0.05,
            ..LinkConfig::default()
        };
        let rng = Rng::new(seed);
        let pool = SimPool::new(512, 256);
        let clock = Clock::new();
        let (mut a, mut b) = hosts();
        let mut links = [Link::new(config.clone(), &rng.fork("there")), Link::new(config, &rng.fork("back"))];
        let mut out = Vec::new();
        let send = |link: &mut Link, now, frames: Vec<Vec<u8>>| {
            frames.iter().for_each(|frame| link.push(now, pool.frame_from(frame).unwrap()));
        };
        let mut next_ping = Some((Instant::ZERO, 0));
        loop {
            let ping_at = next_ping.map(|(at, _)| at);
            let deadlines = [ping_at, a.next_deadline(), links[0].next_deadline(), links[1].next_deadline()];
            let Some(at) = deadlines.into_iter().flatten().min() else { break };
            let now = clock.advance_to(at);
            if let Some((_, seq)) = next_ping.filter(|(at, _)| *at <= now) {
                send(&mut links[0], now, a.send_ping(now, B, 1, seq, &[seq as u8; 56]));
                next_ping = (seq < 999).then(|| (now + Duration::from_millis(10), seq + 1));
            }
            send(&mut links[0], now, a.poll(now));
            links[0].poll(now, &mut out);
            for frame in out.drain(..) {
                send(&mut links[1], now, b.handle(now, &frame.to_vec()));
            }
            links[1].poll(now, &mut out);
            for frame in out.drain(..) {
                send(&mut links[0], now, a.handle(now, &frame.to_vec()));
            }
        }
        assert_eq!(pool.available(), (512, 512));
        (a.take_received(), a.stats().clone(), b.stats().clone())
    }

    #[test]
    fn a_network_replays_from_its_seed() {
        let (received, a, b) = ping_over_bad_links(21);
        // Through both links without loss and damage: 0.9^4; a twentieth twice, on each.
        let expected = 1000.0 * 0.9f64.powi(4) * 1.05 * 1.05;
        assert!((received.len() as f64 - expected).abs() < 100.0, "{} of {expected}", received.len());
        assert!(a.fault_count() > 20 && b.fault_count() > 20, "{a:?} {b:?}");
        assert_eq!((received, a, b), ping_over_bad_links(21));
        assert_ne!(ping_over_bad_links(21).0, ping_over_bad_links(22).0);
    }

    /// No damage passes unseen: what a host records as good is what was sent.
    #[test]
    fn damage_never_passes_for_data() {
        let (received, _, _) = ping_over_bad_links(23);
        for packet in &received {
            let Body::EchoReply { seq, payload, .. } = &packet.body else { panic!("{packet:?}") };
            assert_eq!(payload, &[*seq as u8; 56]);
        }
    }
}

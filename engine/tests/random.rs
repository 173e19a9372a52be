//! Random histories in virtual time: frames good and bad, workers that stand still, hosts that fall
//! silent, return and change, time that passes. Whatever happened: no panic, and not a frame lost.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use common::{Net, host, mac, port_mac};
use engine::api::Request;
use l2l3::forward::Isa;
use sim::builder::{self, Flow, Ipv4, Tcp};
use sim::{Rng, mutate};
use wire::{DropReason, MacAddr};

/// Says which history failed.
struct Tell(u64);

impl Drop for Tell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history of seed {} failed", self.0);
        }
    }
}

fn configuration(rng: &mut Rng) -> String {
    let cores = ["[0]", "[0, 1]", "[0, 1, 2]"][rng.index(3)];
    let queues = ["", "tx_queues = 1", "rx_queues = 1"];
    let (lan, wan) = (queues[rng.index(3)], queues[rng.index(3)]);
    let burst = [4, 32, 64, 256][rng.index(4)];
    let hold = [4, 64, 1024][rng.index(3)];
    let adjacencies = [24, 1024][rng.index(2)];
    let service = ["", "[[service]]\nkind = \"echo\"\nport = 4"][rng.index(2)];
    let datagrams = [1, 64][rng.index(2)];
    format!(
        r#"
        [[port]]
        name = "lan"
        device = "net_null0"
        addresses = ["10.0.1.1/24", "10.0.9.1/30"]
        {lan}
        [[port.vlan]]
        id = 7
        addresses = ["10.7.0.1/16"]
        proxy_arp = true
        [[port]]
        name = "wan"
        device = "net_null1"
        addresses = ["10.0.2.1/24"]
        mtu = 576
        {wan}
        [workers]
        cores = {cores}
        burst = {burst}
        [[route]]
        prefix = "0.0.0.0/1"
        via = ["10.0.2.11", "10.0.2.12", "10.0.2.13"]
        [[route]]
        prefix = "192.0.2.0/24"
        type = "blackhole"
        [[route]]
        prefix = "198.18.0.0/15"
        type = "unreachable"
        [[route]]
        prefix = "198.51.100.0/24"
        via = "10.0.1.12"
        [[neighbour]]
        interface = "wan"
        address = "10.0.2.9"
        mac = "02:00:00:00:09:09"
        {service}
        [limits]
        udp_datagrams = {datagrams}
        neighbours = 32
        adjacencies = {adjacencies}
        hold_packets = {hold}
        hold_per_neighbour = 4
        reassembly_datagrams = 4
        reassembly_bytes = 65535
        ring_packets = 64
        icmp_errors_per_second = 50
        "#
    )
}

fn address(rng: &mut Rng) -> Ipv4Addr {
    let n = rng.byte();
    let fixed = [
        [10, 0, 1, 1],
        [10, 0, 2, 1],
        [10, 0, 1, 255],
        [255, 255, 255, 255],
        [224, 0, 0, 1],
        [127, 0, 0, 1],
        [0, 0, 0, 0],
        [192, 0, 2, n],
        [198, 51, 100, n],
        [10, 7, n, 1],
        [10, 0, 2, 9],
        [8, 8, 8, n],
        [198, 18, n, 1],
        [203, 0, 113, n],
    ];
    let few = 10 + n % 8;
    match rng.index(4) {
        0 => fixed[rng.index(fixed.len())].into(),
        1 => [10, 0, 1, few].into(),
        2 => [10, 0, 2, few].into(),
        _ => [10, 0, 2, n].into(),
    }
}

fn packet(rng: &mut Rng, flow: &Flow) -> Vec<u8> {
    let data = vec![rng.byte(); rng.index(1400)];
    let mut header = Ipv4::new(flow.src, flow.dst, builder::ICMP);
    match rng.index(7) {
        0 => flow.udp(&data),
        1 => flow.tcp(&Tcp { flags: rng.byte(), seq: rng.next_u32(), ..Tcp::default() }, &data),
        2 => flow.echo_request(1, 2, &data),
        3 => {
            header.ttl = rng.index(3) as u8;
            flow.frame(&header, &builder::echo_request(1, 2, &data))
        }
        4 => {
            header.dont_fragment = rng.chance(0.5);
            header.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
            flow.frame(&header, &data)
        }
        5 => {
            (header.id, header.more_fragments) = (rng.index(6) as u16, rng.chance(0.6));
            header.offset = rng.index(4) as u16 * 8;
            if rng.chance(0.7) {
                (header.src, header.dst) = ([10, 0, 1, 12].into(), [10, 0, 1, 1].into());
            }
            flow.frame(&header, &[5; 64])
        }
        _ => {
            header.protocol = rng.byte();
            flow.frame(&header, &data)
        }
    }
}

fn frame(rng: &mut Rng, port: usize) -> Vec<u8> {
    let (src, dst) = (address(rng), address(rng));
    let to = if rng.chance(0.9) { port_mac(port) } else { MacAddr::BROADCAST };
    let (src_port, dst_port) = (rng.index(9) as u16, rng.index(9) as u16);
    let flow = Flow { src_mac: mac(77), dst_mac: to, src, dst, src_port, dst_port };
    let mut bytes = match rng.index(6) {
        0 => builder::arp_request(mac(rng.index(4) as u16), src, dst),
        1 => builder::arp_reply(mac(rng.index(4) as u16), src, port_mac(port), dst),
        _ => packet(rng, &flow),
    };
    if rng.chance(0.2) {
        bytes = builder::tagged(&bytes, [7, 7, 0, 0x6007, 8][rng.index(5)]);
    }
    if rng.chance(0.3) {
        mutate(rng, &mut bytes);
    }
    bytes
}

fn live(net: &mut Net, rng: &mut Rng) {
    match rng.index(40) {
        0 => net.settle(),
        1 => drop(net.clock.advance(Duration::from_millis(rng.range(0..3000)))),
        2 => {
            let place = rng.index(net.hosts.len());
            if !net.deaf.remove(&place) {
                net.deaf.insert(place);
            }
        }
        3 => {
            let place = rng.index(net.hosts.len());
            let ip = net.hosts[place].1.ip();
            net.hosts[place].1 = host(rng.index(100) as u16, ip.octets());
            let announcement = builder::arp_request(net.hosts[place].1.mac(), ip, ip);
            net.inject(net.hosts[place].0, 0, &announcement);
        }
        4 => {
            let limit = rng.index(9);
            let address = rng.chance(0.5).then(|| address(rng));
            for request in [
                Request::Ports,
                Request::Routes { address, limit },
                Request::Neighbours,
                Request::Drops,
                Request::Workers,
            ] {
                net.control.handle_request(net.now(), &request);
            }
        }
        5..10 => {
            let now = net.now();
            let worker = rng.index(net.workers.len());
            net.workers[worker].poll_once(now);
        }
        10 => {
            let now = net.now();
            net.control.poll(now);
        }
        11..14 => drop(net.step()),
        _ => {
            let port = rng.index(2);
            let flood = rng.chance(0.02);
            let queue = rng.index(net.wires[port].to.len());
            for _ in 0..rng.index(if flood { 400 } else { 8 }) {
                let bytes = frame(rng, port);
                // A pipe that is full loses it on the far side.
                if let Some(frame) = net.pool.frame_from(&bytes) {
                    drop(net.wires[port].to[queue].push(frame));
                }
            }
        }
    }
}

/// Gives the reasons for which frames were dropped.
fn history(seed: u64) -> BTreeSet<DropReason> {
    let _tell = Tell(seed);
    let mut rng = Rng::new(seed);
    let text = configuration(&mut rng);
    let isa = if rng.chance(0.5) { Isa::Portable } else { Isa::detect() };
    let mut net = Net::with_isa(&text, isa);
    for n in 11..15 {
        net.add_host(0, host(n, [10, 0, 1, n as u8]));
        net.add_host(1, host(100 + n, [10, 0, 2, n as u8]));
    }
    for step in 0..1500 {
        live(&mut net, &mut rng);
        if step % 100 == 0 {
            net.settle();
            net.assert_balanced();
            assert!(net.neighbours().len() <= 32);
        }
        net.sent.clear();
    }
    if rng.chance(0.3) {
        // Stopped as it stands.
        let now = net.now();
        while net.workers.iter_mut().fold(false, |busy, worker| worker.drain(now) | busy) {}
        net.assert_balanced();
    } else {
        net.deaf.clear();
        net.seconds(60);
        assert_eq!(net.books().held, 0, "what waited has gone, one way or the other");
    }
    let reasons = DropReason::ALL.iter().copied().filter(|reason| net.drops(*reason) > 0).collect();
    net.finish();
    reasons
}

#[test]
fn any_history_balances() {
    let seen: BTreeSet<_> = (0..60).flat_map(history).collect();
    // A few need more than chance: a device that is slow, an empty pool, a batch or a queue that is full; an operator
    // who removes a port.
    let rare = [
        DropReason::TxFull,
        DropReason::NoFrame,
        DropReason::LocalFull,
        DropReason::UdpFull,
        DropReason::PortRemoved,
    ];
    let unseen: Vec<_> =
        DropReason::ALL.iter().filter(|reason| !seen.contains(reason) && !rare.contains(reason)).collect();
    assert!(unseen.is_empty(), "these histories are too tame, they never saw {unseen:?}");
}

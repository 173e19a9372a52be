//! Ports that are removed, added and reset while the workers run.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::sync::atomic::Ordering;

use common::{Net, Sent, SimPort, mac, two_ports, udp_frame};
use engine::api::{PortReport, PortRequest, PortState, Reply, Request};
use sim::builder;
use wire::DropReason;

const LAN: usize = 0;
const WAN: usize = 1;
const A: [u8; 4] = [10, 0, 1, 10];
const B: [u8; 4] = [10, 0, 2, 20];
const US: [u8; 4] = [10, 0, 2, 1];

/// As many receive queues as workers, and one or as many transmit queues.
const SHAPES: [(&str, &str); 3] = [("[0]", ""), ("[0, 1]", ""), ("[0, 1, 2]", "tx_queues = 1")];

/// B at `wan` answers nothing but ARP, and is known.
fn net_with_b(cores: &str, wan: &str) -> Net {
    let text = two_ports(cores, "").replace("\"net_null1\"", &format!("\"net_null1\"\n{wan}"));
    let mut net = Net::new(&text);
    net.settle();
    learn_b(&mut net);
    net
}

fn learn_b(net: &mut Net) {
    net.inject(WAN, 0, &builder::arp_request(mac(20), B.into(), US.into()));
    net.settle();
    net.take_sent();
}

/// Sends frames to B, by all of the workers. Gives how many left by `wan`.
fn arrive_at_b(net: &mut Net, count: u16) -> usize {
    for n in 0..count {
        let queues = net.wires[LAN].to.len();
        net.inject(LAN, usize::from(n) % queues, &udp_frame(LAN, A, B, (1000 + n, 9), b"out"));
    }
    net.settle();
    net.take_sent().iter().filter(|sent| sent.port == WAN && sent.ipv4().is_some()).count()
}

fn remove() -> PortRequest {
    PortRequest::Remove { name: "wan".into() }
}

fn add(device: Option<&str>) -> PortRequest {
    PortRequest::Add { name: "wan".into(), device: device.map(str::to_owned) }
}

fn reset() -> PortRequest {
    PortRequest::Reset { name: "wan".into() }
}

/// What the router answers, once it is done.
fn change(net: &mut Net, request: &PortRequest) -> Result<String, String> {
    let now = net.now();
    let port = net.control.change_port(now, request)?;
    net.settle();
    plug_in(net);
    net.control.port_answer(port).unwrap()
}

/// Connects the far ends of what was opened.
fn plug_in(net: &mut Net) {
    let opened = std::mem::take(&mut net.opener.0.lock().unwrap().opened);
    for (port, handle, wire) in opened {
        net.wires[port] = wire;
        net.handles[port] = handle;
    }
    net.settle();
}

/// Looks after the ports, as is done once a second.
fn look(net: &mut Net) -> Option<&str> {
    let now = net.now();
    net.control.look_after_ports(now)
}

fn refuse(net: &Net, why: Option<&str>) {
    net.opener.0.lock().unwrap().refusal = why.map(str::to_owned);
}

/// What was done to devices since the last time.
fn done(net: &Net) -> Vec<String> {
    std::mem::take(&mut net.opener.0.lock().unwrap().done)
}

fn wan(net: &Net) -> PortReport {
    match net.control.handle_request(net.now(), &Request::Ports) {
        Some(Reply::Ports(mut ports)) => ports.remove(WAN),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_removed_port_drops_and_one_added_goes_on() {
    for (cores, queues) in SHAPES {
        let mut net = net_with_b(cores, queues);
        assert_eq!(arrive_at_b(&mut net, 60), 60);
        for round in 1..4 {
            assert_eq!(change(&mut net, &remove()).unwrap(), "port `wan` is removed");
            assert_eq!(done(&net), ["close 1"]);
            assert_eq!((wan(&net).state, wan(&net).status.link_up), (PortState::Removed, false));
            assert_eq!(arrive_at_b(&mut net, 60), 0);
            assert_eq!(net.drops(DropReason::PortRemoved), round * 60, "{cores}");

            assert_eq!(change(&mut net, &add(None)).unwrap(), "port `wan` runs");
            assert_eq!(done(&net), ["open 1 net_null1"]);
            assert_eq!((wan(&net).state, wan(&net).reopened), (PortState::Running, round));
            let is_announcement = |sent: &Sent| sent.arp().is_some_and(|arp| arp.sender.1 == arp.target.1);
            let announced = net.take_sent().iter().filter(|sent| is_announcement(sent)).count();
            assert_eq!(announced, 1, "our address is announced");
            assert_eq!(net.state_of(B.into()), None, "somebody else may be there now");
            learn_b(&mut net);
            assert_eq!(arrive_at_b(&mut net, 60), 60);
        }
        assert_eq!(net.drops(DropReason::PortRemoved), 3 * 60);
        net.finish();
    }
}

#[test]
fn all_queues_of_a_port_are_polled_again() {
    for (cores, queues) in SHAPES {
        let mut net = net_with_b(cores, queues);
        change(&mut net, &remove()).unwrap();
        change(&mut net, &add(None)).unwrap();
        let before = wan(&net).rx;
        for queue in 0..net.wires[WAN].to.len() {
            net.inject(WAN, queue, &udp_frame(WAN, B, US, (7, 9), b"to us"));
        }
        net.settle();
        assert_eq!(wan(&net).rx - before, net.wires[WAN].to.len() as u64);
        net.finish();
    }
}

#[test]
fn another_device_takes_a_ports_place() {
    let mut net = net_with_b("[0]", "");
    change(&mut net, &remove()).unwrap();
    change(&mut net, &add(Some("net_ring7"))).unwrap();
    assert_eq!(wan(&net).device, "net_ring7");
    change(&mut net, &remove()).unwrap();
    change(&mut net, &add(None)).unwrap();
    assert_eq!(done(&net), ["close 1", "open 1 net_ring7", "close 1", "open 1 net_ring7"]);
    net.finish();
}

#[test]
fn a_reset_takes_the_queues_away_and_gives_new_ones() {
    for (cores, queues) in SHAPES {
        let mut net = net_with_b(cores, queues);
        assert_eq!(change(&mut net, &reset()).unwrap(), "port `wan` runs");
        assert_eq!(done(&net), ["reset 1"]);
        assert_eq!((arrive_at_b(&mut net, 60), net.drops(DropReason::PortRemoved)), (60, 0));
        net.finish();
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_a_sentence() {
    let mut net = net_with_b("[0, 1]", "");
    let unknown = PortRequest::Remove { name: "dmz".into() };
    let refused = |net: &mut Net, request: &PortRequest| change(net, request).unwrap_err();
    assert_eq!(refused(&mut net, &unknown), "there is no port `dmz`, but `lan`, `wan`");
    assert_eq!(refused(&mut net, &add(None)), "port `wan` has a device already: net_null1");

    let now = net.now();
    net.control.change_port(now, &remove()).unwrap();
    for request in [remove(), add(None), reset()] {
        assert_eq!(refused(&mut net, &request), "port `wan` is being changed already");
    }
    net.settle();
    assert_eq!(refused(&mut net, &remove()), "port `wan` is removed already");
    assert_eq!(refused(&mut net, &reset()), "port `wan` has no device to be reset: it is removed");

    refuse(&net, Some("port `wan`: no such device."));
    assert_eq!(refused(&mut net, &add(Some("net_odd0"))), "port `wan`: no such device.");
    assert_eq!((wan(&net).state, wan(&net).device.as_str()), (PortState::Removed, "net_null1"));
    assert_eq!(arrive_at_b(&mut net, 10), 0);
    refuse(&net, None);
    change(&mut net, &add(None)).unwrap();

    refuse(&net, Some("port `wan`: it does not start."));
    assert_eq!(refused(&mut net, &reset()), "port `wan`: it does not start. It is removed now.");
    assert_eq!(wan(&net).state, PortState::Removed);
    assert_eq!(done(&net)[3..], ["reset 1", "close 1"]);
    refuse(&net, None);
    change(&mut net, &add(None)).unwrap();
    learn_b(&mut net);
    assert_eq!(arrive_at_b(&mut net, 10), 10);
    net.finish();
}

#[test]
fn a_port_whose_peer_is_gone_is_opened_when_it_is_back() {
    let mut net = net_with_b("[0, 1]", "");
    assert_eq!(look(&mut net), None);
    net.settle();
    assert!(done(&net).is_empty());

    let SimPort(_, peer_is_gone) = net.handles[WAN].clone();
    peer_is_gone.store(true, Ordering::Relaxed);
    refuse(&net, Some("nobody listens"));
    for _ in 0..3 {
        assert_eq!(look(&mut net), None);
        net.settle();
    }
    assert_eq!(done(&net), ["close 1", "open 1 net_null1", "open 1 net_null1"]);
    assert_eq!(wan(&net).state, PortState::Waiting);
    assert_eq!(arrive_at_b(&mut net, 60), 0);
    assert_eq!(net.drops(DropReason::PortRemoved), 60);

    refuse(&net, None);
    look(&mut net);
    net.settle();
    plug_in(&mut net);
    assert_eq!((wan(&net).state, wan(&net).reopened), (PortState::Running, 1));
    learn_b(&mut net);
    assert_eq!(arrive_at_b(&mut net, 60), 60);
    let told = "port `wan`: nobody is at the other end; it is opened again when somebody is";
    assert_eq!(net.log, [told, "port `wan` runs"]);
    net.finish();
}

#[test]
fn a_port_that_waits_for_its_peer_can_be_removed_or_get_another_device() {
    let mut net = net_with_b("[0]", "");
    for request in [remove(), add(Some("net_ring7"))] {
        net.handles[WAN].1.store(true, Ordering::Relaxed);
        look(&mut net);
        net.settle();
        assert_eq!(wan(&net).state, PortState::Waiting);
        change(&mut net, &request).unwrap();
        look(&mut net);
        net.settle();
        if request == remove() {
            assert_eq!((wan(&net).state, done(&net).len()), (PortState::Removed, 1));
            change(&mut net, &add(None)).unwrap();
        }
    }
    assert_eq!(wan(&net).state, PortState::Running);
    assert_eq!(done(&net), ["open 1 net_null1", "close 1", "open 1 net_ring7"]);
    net.finish();
}

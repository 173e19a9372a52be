//! The table of sockets as a whole.

use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;

use super::*;
use sim::Bytes;

const LIMITS: Limits = Limits { sockets: 8, received: 8, unsent: 8, per_socket: 4 };

fn table() -> UdpTable<Bytes> {
    UdpTable::new(LIMITS, 1)
}

/// `any:53` or `1:53`: the last byte of an address of ours, or of a peer's, and the port.
fn addr(text: &str) -> SocketAddrV4 {
    let (host, port) = text.split_once(':').unwrap();
    let ip = match host {
        "any" => Ipv4Addr::UNSPECIFIED,
        host => Ipv4Addr::new(10, 0, 0, host.parse().unwrap()),
    };
    SocketAddrV4::new(ip, port.parse().unwrap())
}

fn ip(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, host)
}

fn bytes(text: &str) -> Bytes {
    Bytes::new(text.as_bytes())
}

fn received(table: &mut UdpTable<Bytes>, id: SocketId) -> Option<String> {
    let datagram = table.recv_from(id).unwrap()?;
    Some(String::from_utf8(datagram.payload.as_slice().to_vec()).unwrap())
}

#[test]
fn a_socket_is_told_of_until_it_was_emptied() {
    let mut table = table();
    let (a, b) = (table.bind(addr("any:53")).unwrap(), table.bind(addr("any:54")).unwrap());
    let deliver = |table: &mut UdpTable<Bytes>, port: &str| {
        let _delivered = table.handle_datagram(addr("9:1000"), addr(port), bytes("x"));
    };
    assert!(table.is_open(addr("9:1"), addr("1:53")) && !table.is_open(addr("9:1"), addr("1:55")));
    for port in ["1:54", "1:53", "1:54"] {
        deliver(&mut table, port);
    }
    assert!(table.has_events());
    assert_eq!([table.poll_event(), table.poll_event(), table.poll_event()], [Some(b), Some(a), None]);
    // One of two is read: what comes then is no news.
    assert!(received(&mut table, b).is_some());
    deliver(&mut table, "1:54");
    assert_eq!(table.poll_event(), None);
    while received(&mut table, b).is_some() {}
    deliver(&mut table, "1:54");
    assert_eq!(table.poll_event(), Some(b));
    // One that is closed is not told of.
    while received(&mut table, a).is_some() {}
    deliver(&mut table, "1:53");
    table.close(a);
    assert!(!table.has_events());
}

#[test]
fn the_narrower_name_receives() {
    let mut table = table();
    let any = table.bind(addr("any:53")).unwrap();
    let one = table.bind(addr("1:53")).unwrap();
    let from_any = table.bind(addr("any:54")).unwrap();
    table.connect(from_any, addr("9:1000"), ip(1)).unwrap();
    let peer = table.bind(addr("3:53")).unwrap();
    table.connect(peer, addr("9:1000"), ip(7)).unwrap();
    assert_eq!(table.local_addr(from_any), Some(addr("1:54")));
    assert_eq!((table.local_addr(peer), table.peer_addr(peer)), (Some(addr("3:53")), Some(addr("9:1000"))));
    for (source, destination, expected) in [
        ("9:1000", "1:53", Some(one)),
        ("9:1000", "2:53", Some(any)),
        ("9:1000", "3:53", Some(peer)),
        ("9:1001", "3:53", Some(any)),
        ("8:1000", "3:53", Some(any)),
        ("9:1000", "1:54", Some(from_any)),
        ("9:1000", "2:54", None),
        ("9:1001", "1:54", None),
        ("9:1000", "1:55", None),
        ("9:1000", "1:0", None),
        // Who wants no answer has no port.
        ("9:0", "1:53", Some(one)),
    ] {
        let disposition = table.handle_datagram(addr(source), addr(destination), bytes("x"));
        let expected = expected.map_or(Disposition::NoPort, Disposition::Delivered);
        assert_eq!(disposition, expected, "{source} to {destination}");
        [any, one, from_any, peer].iter().for_each(|id| drop(table.recv_from(*id)));
    }
}

#[test]
fn a_name_has_one_socket() {
    let mut table = table();
    let first = table.bind(addr("1:53")).unwrap();
    assert_eq!(table.bind(addr("1:53")), Err(UdpError::AddressInUse));
    table.connect(first, addr("9:1"), ip(1)).unwrap();
    // The name is free now, so that one socket for each peer can be made.
    let second = table.bind(addr("1:53")).unwrap();
    assert_eq!(table.connect(second, addr("9:1"), ip(1)), Err(UdpError::AddressInUse));
    assert_eq!((table.local_addr(second), table.peer_addr(second)), (Some(addr("1:53")), None));
    assert_eq!(table.disconnect(first), Err(UdpError::AddressInUse));
    assert_eq!(table.peer_addr(first), Some(addr("9:1")));
    table.connect(second, addr("9:2"), ip(1)).unwrap();
    assert_eq!(table.disconnect(first), Ok(()));
    assert_eq!(table.connect(first, addr("9:3"), ip(1)), Ok(()));
    assert_eq!(table.connect(first, addr("9:3"), ip(1)), Ok(()), "again");
    assert_eq!(table.bind(addr("1:53")).map(|id| table.close(id)), Ok(()));
}

#[test]
fn a_socket_of_all_addresses_is_one_again() {
    let mut table = table();
    let id = table.bind(addr("any:53")).unwrap();
    for (peer, source) in [("9:0", 1), ("any:7", 1), ("9:7", 0)] {
        let source = if source == 0 { Ipv4Addr::UNSPECIFIED } else { ip(source) };
        assert_eq!(table.connect(id, addr(peer), source), Err(UdpError::BadAddress), "{peer}");
    }
    table.connect(id, addr("9:7"), ip(1)).unwrap();
    table.connect(id, addr("8:7"), ip(2)).unwrap();
    assert_eq!((table.local_addr(id), table.peer_addr(id)), (Some(addr("2:53")), Some(addr("8:7"))));
    table.disconnect(id).unwrap();
    assert_eq!((table.local_addr(id), table.peer_addr(id)), (Some(addr("any:53")), None));
}

#[test]
fn queues_are_bounded_and_the_newest_is_dropped() {
    let mut table = table();
    let ids: Vec<_> =
        ["any:1", "any:2", "any:3"].iter().map(|local| table.bind(addr(local)).unwrap()).collect();
    let send = |table: &mut UdpTable<Bytes>, port: u16, text: &str| {
        let local = SocketAddrV4::new(ip(1), port);
        table.handle_datagram(addr("9:1000"), local, bytes(text)) != Disposition::Full
    };
    let taken =
        |table: &mut UdpTable<Bytes>, port| (0..6).filter(|n| send(table, port, &n.to_string())).count();
    // Four each, eight in all.
    assert_eq!([taken(&mut table, 1), taken(&mut table, 2), taken(&mut table, 3)], [4, 4, 0]);
    assert_eq!(ids.iter().map(|id| table.dropped(*id)).collect::<Vec<_>>(), [Some(2), Some(2), Some(6)]);
    assert_eq!(received(&mut table, ids[0]).unwrap(), "0");
    assert_eq!(taken(&mut table, 3), 1);
    assert_eq!(received(&mut table, ids[2]).unwrap(), "0");
    let rest: Vec<_> = std::iter::from_fn(|| received(&mut table, ids[0])).collect();
    assert_eq!(rest, ["1", "2", "3"]);
}

#[test]
fn a_datagram_says_where_from_and_where_to() {
    let mut table = table();
    let id = table.bind(addr("any:53")).unwrap();
    assert_eq!(table.recv_from(id), Ok(None));
    let _ = table.handle_datagram(addr("9:1000"), addr("2:53"), bytes("question"));
    let question = table.recv_from(id).unwrap().unwrap();
    assert_eq!((question.source, question.local), (addr("9:1000"), addr("2:53")));
    table.send_to(id, bytes("answer"), question.source, Some(*question.local.ip())).unwrap();
    table.send_to(id, bytes("by route"), addr("8:1"), None).unwrap();
    let answer = table.poll_transmit().unwrap();
    assert_eq!((answer.socket, answer.source, answer.destination), (id, addr("2:53"), addr("9:1000")));
    assert_eq!(answer.payload, bytes("answer"));
    assert_eq!(table.poll_transmit().unwrap().source, addr("any:53"));
    // Who has one address sends from no other.
    let own = table.bind(addr("1:53")).unwrap();
    table.send_to(own, bytes(""), addr("8:1"), Some(ip(2))).unwrap();
    table.connect(id, addr("9:1000"), ip(3)).unwrap();
    table.send(id, bytes("to the peer")).unwrap();
    assert_eq!(table.poll_transmit().unwrap().source, addr("1:53"));
    let sent = table.poll_transmit().unwrap();
    assert_eq!((sent.source, sent.destination), (addr("3:53"), addr("9:1000")));
    assert_eq!(table.poll_transmit(), None);
}

#[test]
fn what_cannot_be_sent_is_given_back() {
    let mut table = table();
    let id = table.bind(addr("1:53")).unwrap();
    let long = |len| Bytes::new(&vec![0; len]);
    let mut refused = |to: &str, payload: Bytes| {
        let unsent = table.send_to(id, payload.clone(), addr(to), None).unwrap_err();
        assert_eq!(unsent.payload, payload);
        unsent.error
    };
    assert_eq!(refused("9:0", bytes("x")), UdpError::BadAddress);
    assert_eq!(refused("any:9", bytes("x")), UdpError::BadAddress);
    assert_eq!(refused("9:9", long(65_508)), UdpError::TooLong);
    assert_eq!(table.send(id, bytes("x")).unwrap_err().error, UdpError::NotConnected);
    table.send_to(id, long(65_507), addr("9:9"), None).unwrap();
    assert_eq!(table.poll_transmit().unwrap().payload.as_slice().len(), 65_507);
}

#[test]
fn unsent_datagrams_are_bounded() {
    let mut table = table();
    let ids: Vec<_> =
        ["any:1", "any:2", "any:3"].iter().map(|local| table.bind(addr(local)).unwrap()).collect();
    let mut send = |n: usize| {
        let full = |unsent: Unsent<Bytes>| assert_eq!(unsent.error, UdpError::Full);
        (0..6).filter(|_| table.send_to(ids[n], bytes("x"), addr("9:9"), None).map_err(full).is_ok()).count()
    };
    assert_eq!([send(0), send(1), send(2)], [4, 4, 0]);
    table.poll_transmit().unwrap();
    let mut send = |n: usize| table.send_to(ids[n], bytes("y"), addr("9:9"), None).is_ok();
    assert!(!send(1), "four of its own wait");
    assert!(send(0) && !send(0));
    // What a closed socket sent goes out, and is not counted to the next in its slot.
    table.close(ids[0]);
    let next = table.bind(addr("any:1")).unwrap();
    assert_eq!(std::iter::from_fn(|| table.poll_transmit()).filter(|sent| sent.socket == ids[0]).count(), 4);
    assert!((0..4).all(|_| table.send_to(next, bytes("z"), addr("9:9"), None).is_ok()));
    assert!(table.send_to(next, bytes("z"), addr("9:9"), None).is_err());
}

#[test]
fn a_refusal_is_told_once_to_the_connected() {
    let mut table = table();
    let (open, id) = (table.bind(addr("any:53")).unwrap(), table.bind(addr("1:54")).unwrap());
    table.connect(id, addr("9:1000"), ip(1)).unwrap();
    for (local, remote) in
        [("1:53", "9:1000"), ("any:53", "any:0"), ("1:54", "9:1001"), ("2:54", "9:1000"), ("1:54", "any:0")]
    {
        table.handle_port_unreachable(addr(local), addr(remote));
    }
    assert_eq!((table.recv_from(open), table.recv_from(id)), (Ok(None), Ok(None)));
    let _ = table.handle_datagram(addr("9:1000"), addr("1:54"), bytes("kept"));
    table.handle_port_unreachable(addr("1:54"), addr("9:1000"));
    assert_eq!(table.recv_from(id), Err(UdpError::Refused));
    assert_eq!(received(&mut table, id).unwrap(), "kept");
    table.handle_port_unreachable(addr("1:54"), addr("9:1000"));
    assert_eq!(table.send(id, bytes("x")).unwrap_err().error, UdpError::Refused);
    assert_eq!(table.send(id, bytes("x")), Ok(()));
    table.handle_port_unreachable(addr("1:54"), addr("9:1000"));
    table.connect(id, addr("8:1000"), ip(1)).unwrap();
    assert_eq!(table.recv_from(id), Ok(None), "that was another peer");
}

#[test]
fn closing_frees_everything() {
    let mut table = table();
    for round in 0..20 {
        let ids: Vec<_> = (1..=8).map(|port| table.bind(SocketAddrV4::new(ip(1), port)).unwrap()).collect();
        assert_eq!(table.bind(addr("1:9")), Err(UdpError::TooManySockets));
        let fill = |port| table.handle_datagram(addr("9:9"), SocketAddrV4::new(ip(1), port), bytes("x"));
        let full = (1..=8).flat_map(|port| [port; 2]).map(fill).filter(|d| *d == Disposition::Full).count();
        assert_eq!(full, 8, "round {round}");
        table.connect(ids[7], addr("9:9"), ip(1)).unwrap();
        for id in ids {
            table.close(id);
            table.close(id);
            assert_eq!(table.recv_from(id), Err(UdpError::Closed));
            assert_eq!(table.send(id, bytes("x")).unwrap_err().error, UdpError::Closed);
            assert_eq!(table.connect(id, addr("9:9"), ip(1)), Err(UdpError::Closed));
            assert_eq!((table.local_addr(id), table.peer_addr(id), table.dropped(id)), (None, None, None));
        }
        assert_eq!(table.handle_datagram(addr("9:9"), addr("1:8"), bytes("x")), Disposition::NoPort);
    }
}

#[test]
fn port_zero_is_a_dynamic_port() {
    let mut table = table();
    let ports: Vec<u16> = (0..8)
        .map(|_| {
            let id = table.bind(addr("any:0")).unwrap();
            table.local_addr(id).unwrap().port()
        })
        .collect();
    assert!(ports.iter().all(|port| *port >= 49_152), "{ports:?}");
    let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
    assert_eq!(distinct.len(), 8);
}

#[derive(Clone, Debug)]
enum Op {
    Bind(SocketAddrV4),
    Connect(usize, SocketAddrV4, Ipv4Addr),
    Disconnect(usize),
    Close(usize),
    Datagram(SocketAddrV4, SocketAddrV4),
    Unreachable(SocketAddrV4, SocketAddrV4),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ours = || (1..3_u8, 1..3_u16).prop_map(|(host, port)| SocketAddrV4::new(ip(host), port));
    let peer = || (8..10_u8, 1..3_u16).prop_map(|(host, port)| SocketAddrV4::new(ip(host), port));
    let bound =
        prop_oneof![ours(), (1..3_u16).prop_map(|port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))];
    let op = prop_oneof![
        2 => bound.prop_map(Op::Bind),
        2 => (0..9_usize, peer(), (1..3_u8).prop_map(ip)).prop_map(|(n, peer, from)| Op::Connect(n, peer, from)),
        1 => (0..9_usize).prop_map(Op::Disconnect),
        1 => (0..9_usize).prop_map(Op::Close),
        4 => (peer(), ours()).prop_map(|(from, to)| Op::Datagram(from, to)),
        1 => (ours(), peer()).prop_map(|(local, remote)| Op::Unreachable(local, remote)),
    ];
    prop::collection::vec(op, 1..60)
}

/// The naive twin: all sockets in a row.
#[derive(Default)]
struct Twin(Vec<TwinSocket>);

struct TwinSocket {
    id: SocketId,
    bound: SocketAddrV4,
    local: SocketAddrV4,
    remote: Option<SocketAddrV4>,
    refused: bool,
}

impl Twin {
    fn has(&self, local: SocketAddrV4, remote: Option<SocketAddrV4>) -> bool {
        self.0.iter().any(|socket| (socket.local, socket.remote) == (local, remote))
    }

    fn receiver(&self, source: SocketAddrV4, destination: SocketAddrV4) -> Option<SocketId> {
        let takes = |socket: &TwinSocket| {
            let all = socket.local.ip().is_unspecified() && socket.local.port() == destination.port();
            (all || socket.local == destination) && socket.remote.is_none_or(|remote| remote == source)
        };
        let rank = |socket: &&TwinSocket| (socket.remote.is_some(), !socket.local.ip().is_unspecified());
        self.0.iter().filter(|socket| takes(socket)).max_by_key(rank).map(|socket| socket.id)
    }

    fn rename(
        &mut self,
        n: usize,
        local: SocketAddrV4,
        remote: Option<SocketAddrV4>,
    ) -> Result<(), UdpError> {
        let same = (self.0[n].local, self.0[n].remote) == (local, remote);
        if !same && self.has(local, remote) {
            return Err(UdpError::AddressInUse);
        }
        (self.0[n].local, self.0[n].remote, self.0[n].refused) = (local, remote, false);
        Ok(())
    }

    /// Does one thing to both, and compares what they answer.
    fn apply(&mut self, op: &Op, table: &mut UdpTable<Bytes>) {
        match *op {
            Op::Bind(local) => {
                let expected = match (self.has(local, None), self.0.len() == LIMITS.sockets) {
                    (_, true) => Err(UdpError::TooManySockets),
                    (true, _) => Err(UdpError::AddressInUse),
                    _ => Ok(()),
                };
                let bound = table.bind(local);
                assert_eq!(bound.map(drop), expected);
                self.0.extend(bound.map(|id| TwinSocket {
                    id,
                    bound: local,
                    local,
                    remote: None,
                    refused: false,
                }));
            }
            Op::Connect(n, remote, source) if n < self.0.len() => {
                let mut local = self.0[n].bound;
                if local.ip().is_unspecified() {
                    local.set_ip(source);
                }
                let expected = self.rename(n, local, Some(remote));
                assert_eq!(table.connect(self.0[n].id, remote, source), expected);
            }
            Op::Disconnect(n) if n < self.0.len() => {
                let expected = self.rename(n, self.0[n].bound, None);
                assert_eq!(table.disconnect(self.0[n].id), expected);
            }
            Op::Close(n) if n < self.0.len() => table.close(self.0.remove(n).id),
            Op::Connect(..) | Op::Disconnect(_) | Op::Close(_) => {}
            Op::Datagram(source, destination) => {
                let expected = self.receiver(source, destination);
                let disposition = table.handle_datagram(source, destination, bytes("x"));
                assert_eq!(disposition, expected.map_or(Disposition::NoPort, Disposition::Delivered));
                self.take_all(table, expected);
            }
            Op::Unreachable(local, remote) => {
                table.handle_port_unreachable(local, remote);
                let named =
                    self.0.iter_mut().filter(|socket| (socket.local, socket.remote) == (local, Some(remote)));
                named.for_each(|socket| socket.refused = true);
            }
        }
    }

    /// Empties all queues: `receiver` alone has one datagram.
    fn take_all(&mut self, table: &mut UdpTable<Bytes>, receiver: Option<SocketId>) {
        for socket in &mut self.0 {
            if std::mem::take(&mut socket.refused) {
                assert_eq!(table.recv_from(socket.id), Err(UdpError::Refused));
            }
            let got = table.recv_from(socket.id).unwrap().is_some();
            assert_eq!(got, receiver == Some(socket.id));
        }
    }
}

proptest! {
    #[test]
    fn like_all_sockets_in_a_row(ops in ops()) {
        let (mut table, mut twin) = (table(), Twin::default());
        for op in &ops {
            twin.apply(op, &mut table);
        }
        twin.take_all(&mut table, None);
    }
}

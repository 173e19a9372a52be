//! Names looked up in virtual time, from servers that answer, lie, lose and cut off.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use common::peer::Peer;
use common::{two_ports, udp_frame};
use engine::net::{DNS_PORT, Executor, LookupError, Net, Resolver};
use l2l3::forward::Isa;
use sim::SimFrame;
use sim::dissect::Body;
use tcp::shard::{ConnectionId, ListenerId, Received};

/// A DNS server, and a host where there is none.
const A: [u8; 4] = [10, 0, 1, 10];
const B: [u8; 4] = [10, 0, 1, 11];
const US: [u8; 4] = [10, 0, 1, 1];
const FOUND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// What a lookup gave, and how many milliseconds it took.
type Outcome = (Result<Vec<Ipv4Addr>, LookupError>, u64);

/// A question as it came: its bytes, and from which port.
struct Asked {
    bytes: Vec<u8>,
    port: u16,
    to: Ipv4Addr,
}

impl Asked {
    fn name(&self) -> String {
        let (mut name, mut rest) = (vec![], &self.bytes[12..]);
        while rest[0] != 0 {
            let (label, after) = rest[1..].split_at(usize::from(rest[0]));
            name.push(String::from_utf8(label.to_vec()).unwrap());
            rest = after;
        }
        name.join(".")
    }

    /// A reply with these flags and answers.
    fn reply(&self, flags: u16, answers: &[Vec<u8>]) -> Vec<u8> {
        let mut reply = self.bytes.clone();
        reply[2..4].copy_from_slice(&flags.to_be_bytes());
        reply[7] = answers.len() as u8;
        [reply, answers.concat()].concat()
    }
}

/// An answer about the name in the question.
fn record(kind: u8, ttl: u32, data: &[u8]) -> Vec<u8> {
    [&[0xc0, 12, 0, kind, 0, 1], &ttl.to_be_bytes()[..], &[0, data.len() as u8], data].concat()
}

fn found(ttl: u32) -> Vec<u8> {
    record(1, ttl, &FOUND.octets())
}

const GOOD: u16 = 0x8180;

struct World {
    net: common::Net,
    peer: Peer,
    listener: ListenerId,
    open: Vec<ConnectionId>,
    /// What comes to the server by TCP, and what it says to it.
    by_tcp: Vec<Vec<u8>>,
    answer_by_tcp: Rc<RefCell<Vec<u8>>>,
    asked: Vec<Asked>,
    outcomes: Rc<RefCell<Vec<Outcome>>>,
}

impl World {
    /// Workers on `cores`, of which the last looks `names` up, one after another, a second apart.
    fn new(cores: &str, servers: &[[u8; 4]], names: &[&str]) -> World {
        let outcomes: Rc<RefCell<Vec<Outcome>>> = Rc::default();
        let servers: Box<[_]> = servers.iter().map(|ip| SocketAddrV4::new((*ip).into(), DNS_PORT)).collect();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let worker = RefCell::new(cores.matches(char::is_numeric).count());
        let main = {
            let outcomes = outcomes.clone();
            move |net: Net<SimFrame>| async move {
                let resolver = Resolver::new(&net, servers, 5);
                for name in names {
                    let begin = net.now();
                    let outcome = resolver.lookup(&name).await.map(|found| found.to_vec());
                    let took = net.now().since(begin).as_millis() as u64;
                    outcomes.borrow_mut().push((outcome, took));
                    net.sleep(Duration::from_secs(1)).await;
                }
                Ok(())
            }
        };
        let text = two_ports(cores, "[[service]]\nkind = \"echo\"\nport = 9\n");
        let mut net = common::Net::with_apps(&text, Isa::detect(), || {
            *worker.borrow_mut() -= 1;
            if *worker.borrow() == 0 { vec![Box::new(Executor::new(100, main.clone()))] } else { vec![] }
        });
        let mut peer = Peer::new(&mut net, 0, 10, A, tcp::Config::default());
        net.add_host(0, common::host(11, B));
        let listener = peer.shard.listen(SocketAddrV4::new(A.into(), DNS_PORT), 8).unwrap();
        let (open, by_tcp, answer_by_tcp, asked) = (vec![], vec![], Rc::default(), vec![]);
        World { net, peer, listener, open, by_tcp, answer_by_tcp, asked, outcomes }
    }

    /// Lets a server answer, by `answer` (given the question's number from 0), until all was looked up. It gives
    /// datagrams, and from whom each is.
    fn run(
        mut self,
        mut answer: impl FnMut(usize, &Asked) -> Vec<([u8; 4], Vec<u8>)>,
        count: usize,
    ) -> World {
        for _ in 0..60_000 {
            self.peer.settle(&mut self.net);
            for sent in self.net.take_sent() {
                let Some(packet) = sent.ipv4() else { continue };
                let Ok(Body::Udp { src_port: port, dst_port: DNS_PORT, payload: bytes }) = packet.body()
                else {
                    continue;
                };
                let asked = Asked { bytes, port, to: packet.header.dst };
                for (from, bytes) in answer(self.asked.len(), &asked) {
                    let frame = udp_frame(0, from, US, (DNS_PORT, port), &bytes);
                    self.net.inject(0, 0, &frame);
                }
                self.asked.push(asked);
            }
            self.serve_tcp();
            if self.outcomes.borrow().len() == count {
                return self;
            }
            self.net.clock.advance(Duration::from_millis(1));
        }
        panic!("it does not end: {:?}", self.outcomes);
    }

    fn serve_tcp(&mut self) {
        let now = self.net.now();
        self.open.extend(std::iter::from_fn(|| self.peer.accept(now, self.listener)));
        for id in std::mem::take(&mut self.open) {
            let (bytes, end) = self.peer.take(now, id);
            if !bytes.is_empty() {
                self.by_tcp.push(bytes);
                self.peer.give(now, id, &self.answer_by_tcp.borrow());
                self.peer.shard.shutdown(now, id);
            }
            match end {
                Received::Nothing => self.open.push(id),
                _ => self.peer.shard.close(now, id),
            }
        }
    }

    /// The outcomes; and nothing is left behind.
    fn finish(mut self) -> Vec<Outcome> {
        for id in std::mem::take(&mut self.open) {
            self.peer.shard.abort(self.net.now(), id);
        }
        self.peer.pass(&mut self.net, Duration::from_secs(2));
        self.net.finish();
        self.outcomes.take()
    }
}

/// Runs one lookup of `name` against servers of which the one at [`A`] answers by `answer`.
fn lookup(
    servers: &[[u8; 4]],
    name: &str,
    mut answer: impl FnMut(usize, &Asked) -> Option<Vec<u8>>,
) -> (Outcome, usize) {
    let world = World::new("[0]", servers, &[name]);
    let world = world.run(|n, asked| answer(n, asked).map(|bytes| (A, bytes)).into_iter().collect(), 1);
    let count = world.asked.len();
    (world.finish().remove(0), count)
}

#[test]
fn a_name_is_looked_up_and_kept_as_long_as_it_is_good() {
    // The second lookup a second later, the third two seconds later.
    let names = ["www.example", "WWW.example.", "www.example", "www.example", "other.example"];
    let world = World::new("[0]", &[A], &names);
    let world = world.run(|_, asked| vec![(A, asked.reply(GOOD, &[found(2)]))], names.len());
    let asked: Vec<String> = world.asked.iter().map(Asked::name).collect();
    assert_eq!(asked, ["www.example", "www.example", "other.example"]);
    let (ids, ports): (Vec<_>, Vec<_>) =
        world.asked.iter().map(|a| ([a.bytes[0], a.bytes[1]], a.port)).unzip();
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ports[0] != ports[1], "{ids:?} {ports:?}");
    assert!(world.finish().iter().all(|(found, _)| *found == Ok(vec![FOUND])));
}

#[test]
fn each_refusal_has_its_reason() {
    let alias = |_: usize, asked: &Asked| Some(asked.reply(GOOD, &[record(5, 9, b"\x01a\xc0\x0c")]));
    let says =
        |flags: u16, answers: Vec<Vec<u8>>| move |_: usize, asked: &Asked| Some(asked.reply(flags, &answers));
    let cut =
        |_: usize, asked: &Asked| Some([asked.reply(GOOD, &[found(9)]), vec![]].concat()[..30].to_vec());
    for (name, answer, error, count) in [
        (
            "a b",
            &mut says(GOOD, vec![]) as &mut dyn FnMut(usize, &Asked) -> Option<Vec<u8>>,
            LookupError::BadName,
            0,
        ),
        ("a", &mut says(0x8183, vec![]), LookupError::NoSuchName, 1),
        ("a", &mut says(GOOD, vec![]), LookupError::NoAddress, 1),
        ("a", &mut says(0x8182, vec![]), LookupError::Failed, 3),
        ("a", &mut says(0x8185, vec![]), LookupError::Failed, 3),
        ("a", &mut { cut }, LookupError::Malformed, 3),
        ("a", &mut { alias }, LookupError::TooManyAliases, 9),
    ] {
        let ((outcome, _), asked) = lookup(&[A], name, answer);
        assert_eq!((outcome, asked), (Err(error), count));
    }
    assert_eq!(lookup(&[], "a", |_, _| None).0.0, Err(LookupError::NoServer));
}

#[test]
fn who_does_not_answer_is_asked_again_and_then_the_next_one() {
    // The first two questions are lost: the server is asked after 1 and 2 s more.
    let ((outcome, took), asked) =
        lookup(&[A], "a", |n, asked| (n == 2).then(|| asked.reply(GOOD, &[found(9)])));
    assert_eq!((outcome, asked), (Ok(vec![FOUND]), 3));
    assert!((3000..3100).contains(&took), "{took}");
    // One that is dead, and one that refuses, before one that knows.
    let ((outcome, took), asked) =
        lookup(&[B, A], "a", |n, asked| (n == 1).then(|| asked.reply(GOOD, &[found(9)])));
    assert_eq!((outcome, asked), (Ok(vec![FOUND]), 2));
    assert!((1000..1100).contains(&took), "{took}");
    let ((outcome, took), asked) = lookup(&[A], "a", |_, _| None);
    assert_eq!((outcome, asked), (Err(LookupError::TimedOut), 3));
    assert!((7000..7100).contains(&took), "{took}");
}

#[test]
fn aliases_are_followed_by_new_questions() {
    let world = World::new("[0]", &[A], &["www.example", "www.example"]);
    let answer = |_: usize, asked: &Asked| {
        let to_b = record(5, 2, b"\x01b\xc0\x10");
        let answers = if asked.name() == "www.example" { [to_b] } else { [found(60)] };
        vec![(A, asked.reply(GOOD, &answers))]
    };
    let world = world.run(answer, 2);
    // Kept under the name that was asked for.
    assert_eq!(world.asked.iter().map(Asked::name).collect::<Vec<_>>(), ["www.example", "b.example"]);
    assert!(world.finish().iter().all(|(found, _)| *found == Ok(vec![FOUND])));
}

#[test]
fn what_others_send_is_not_taken_for_the_answer() {
    let lie = |asked: &Asked, id: u8| {
        let mut reply = asked.reply(GOOD, &[record(1, 9, &[6, 6, 6, 6])]);
        reply[1] ^= id;
        reply
    };
    let world = World::new("[0]", &[A], &["www.example"]);
    let answer = |_: usize, asked: &Asked| {
        let mut other = lie(asked, 0);
        other[13] = b'x';
        // Another id, another host, another question, a question; and then the answer.
        let lies = [(A, lie(asked, 1)), (B, lie(asked, 0)), (A, other), (A, asked.bytes.clone())];
        lies.into_iter().chain([(A, asked.reply(GOOD, &[found(9)]))]).collect()
    };
    let world = world.run(answer, 1);
    assert_eq!(world.asked.len(), 1);
    assert_eq!(world.finish()[0].0, Ok(vec![FOUND]));
}

#[test]
fn what_is_truncated_is_asked_for_over_tcp() {
    for (missing, outcome) in [(0, Ok(vec![FOUND; 60])), (1, Err(LookupError::Failed))] {
        let world = World::new("[0]", &[A], &["www.example"]);
        let by_tcp = world.answer_by_tcp.clone();
        let answer = |_: usize, asked: &Asked| {
            let long = asked.reply(GOOD, &vec![found(9); 60]);
            let long = [&(long.len() as u16).to_be_bytes(), &*long].concat();
            *by_tcp.borrow_mut() = long[..long.len() - missing].to_vec();
            vec![(A, asked.reply(0x8380, &[]))]
        };
        let world = world.run(answer, 1);
        let asked = &world.asked[0].bytes;
        assert_eq!(world.by_tcp[0], [&(asked.len() as u16).to_be_bytes(), &**asked].concat());
        assert_eq!(world.finish().remove(0).0, outcome);
    }
}

#[test]
fn answers_come_home_whichever_worker_asks() {
    let world = World::new("[0, 1, 2, 3]", &[A], &["a.example", "b.example", "c.example"]);
    let world = world.run(|_, asked| vec![(A, asked.reply(GOOD, &[found(9)]))], 3);
    assert_eq!(world.asked.len(), 3, "none was asked twice");
    assert_eq!(world.asked[0].to, Ipv4Addr::from(A));
    assert!(world.finish().iter().all(|(found, _)| *found == Ok(vec![FOUND])));
}

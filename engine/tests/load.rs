//! Load against servers that answer, stall and misbehave, in virtual time: what it reports is what happened.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::peer::Peer;
use common::{Net, two_ports};
use config::{Check, Request};
use engine::app::App;
use engine::app::load::{
    Counts, EntryCounts, Exchange, Failure, Intervals, Load, Mix, Pace, Phase, Think, Workload, histogram,
};
use hdrhistogram::Histogram;
use l2l3::forward::Isa;
use sim::SimFrame;
use tcp::shard::{ConnectionId, ListenerId, Received, ShardEvent};

const A: [u8; 4] = [10, 0, 1, 10];
const STEP: Duration = Duration::from_millis(1);
const MS: u64 = 1_000_000;

/// What a server does about a request.
#[derive(Clone, Copy)]
enum Act {
    Answer(&'static str),
    AnswerAndClose(&'static str),
    Close,
    Reset,
    Silence,
}

/// What the load reported.
struct Outcome {
    /// Of the time that rates are of.
    measured: Counts,
    measured_for: Duration,
    /// Of that time and after it.
    all: Counts,
    latency: Histogram<u64>,
    /// Of that time and after it, by the request of the mix.
    entries: Vec<EntryCounts>,
    /// Of the warm-up.
    warm_up: Counts,
    /// Connections open at the end of each interval, with the milliseconds since the start.
    open: Vec<(u64, u32)>,
    /// Our addresses that the server saw.
    from: Vec<Ipv4Addr>,
}

impl Outcome {
    fn ms(&self, quantile: f64) -> u64 {
        (self.latency.value_at_quantile(quantile) + MS / 2) / MS
    }

    fn only_failed(&self, failure: Failure) -> u64 {
        assert_eq!(self.all.all_failed(), self.all.failed(failure), "{:?}", self.all);
        self.all.failed(failure)
    }
}

fn get(connections: u32, pace: Pace) -> Workload {
    Workload {
        target: at(SocketAddrV4::new(A.into(), 80)),
        sources: [].into(),
        mix: ask(false),
        connections,
        pipeline: 1,
        close: false,
        pace,
        think: Think::None,
        ramp: Duration::ZERO,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(4),
        timeout: Duration::from_millis(500),
        seed: 1,
    }
}

fn ask(close: bool) -> Mix {
    Exchange::http(&Request::get("/"), "a", close).into()
}

fn at(address: SocketAddrV4) -> Arc<OnceLock<SocketAddrV4>> {
    Arc::new(OnceLock::from(address))
}

/// A server at the far end.
struct Server {
    peer: Peer,
    listener: Option<ListenerId>,
    /// What was received of requests that are not whole.
    open: Vec<(ConnectionId, String)>,
    /// Requests that were received and not dealt with yet.
    waiting: Vec<(ConnectionId, String)>,
    /// Our addresses that it saw.
    from: Vec<Ipv4Addr>,
}

impl Server {
    /// Receives, and deals with requests unless it stalls.
    fn serve(&mut self, net: &mut Net, stalls: bool, act: &mut dyn FnMut(&str) -> Act) {
        let now = net.now();
        while let Some(id) = self.listener.and_then(|listener| self.peer.accept(now, listener)) {
            self.open.push((id, String::new()));
            let from = *self.peer.shard.info(id).unwrap().remote.ip();
            if !self.from.contains(&from) {
                self.from.push(from);
            }
        }
        let mut over = vec![];
        for (id, begun) in &mut self.open {
            let (bytes, end) = self.peer.take(now, *id);
            begun.push_str(str::from_utf8(&bytes).unwrap());
            while let Some(len) = request_len(begun) {
                self.waiting.push((*id, begun.drain(..len).collect()));
            }
            if !matches!(end, Received::Nothing) {
                assert_eq!(begun, "", "half a request");
                over.push(*id);
            }
        }
        if stalls {
            return;
        }
        for (id, request) in std::mem::take(&mut self.waiting) {
            let answer = act(&request);
            if let Act::Answer(text) | Act::AnswerAndClose(text) = answer {
                self.peer.give(now, id, text.as_bytes());
            }
            match answer {
                Act::AnswerAndClose(_) | Act::Close => self.peer.shard.shutdown(now, id),
                Act::Reset => {
                    self.peer.shard.abort(now, id);
                    self.open.retain(|(open, _)| *open != id);
                }
                Act::Answer(_) | Act::Silence => {}
            }
        }
        for id in over {
            self.peer.shard.close(now, id);
            self.open.retain(|(open, _)| *open != id);
        }
    }
}

/// The length of the request at the front, if it is whole.
fn request_len(text: &str) -> Option<usize> {
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    (rest.len() >= length).then_some(head.len() + 4 + length)
}

/// Runs a load on workers on `cores` against a server that stalls when `stalls` says so, given the milliseconds
/// since the start, and acts as `act` says; without `act` nobody listens.
fn run(
    cores: &str,
    workload: &Workload,
    stalls: impl Fn(u64) -> bool,
    act: Option<&mut dyn FnMut(&str) -> Act>,
) -> Outcome {
    let text = two_ports(cores, "[[service]]\nkind = \"echo\"\n");
    let text = text.replace("\"10.0.1.1/24\"", "\"10.0.1.1/24\", \"10.0.1.2/24\", \"10.0.1.3/24\"");
    let workers = cores.matches(|c: char| c.is_ascii_digit()).count() as u32;
    let (worker, intervals) = (Cell::new(0), RefCell::new(vec![]));
    let load = || -> Box<dyn App<SimFrame>> {
        let (recorder, ours) = Intervals::new(workload.mix.count());
        intervals.borrow_mut().push(ours);
        Box::new(Load::new(workload.clone(), worker.replace(worker.get() + 1), workers, recorder))
    };
    let mut net = Net::with_apps(&text, Isa::detect(), || vec![load()]);
    let peer = Peer::new(&mut net, 0, 10, A, tcp::Config::default());
    let mut server = Server { peer, listener: None, open: vec![], waiting: vec![], from: vec![] };
    server.listener =
        act.as_ref().map(|_| server.peer.shard.listen(*workload.target.get().unwrap(), 1024).unwrap());
    let mut nothing = |_: &str| Act::Silence;
    let act = act.map_or(&mut nothing as &mut dyn FnMut(&str) -> Act, |act| act);
    let mut outcome = Outcome {
        measured: Counts::default(),
        measured_for: Duration::ZERO,
        all: Counts::default(),
        latency: histogram(),
        entries: vec![EntryCounts::default(); workload.mix.count()],
        warm_up: Counts::default(),
        open: vec![],
        from: vec![],
    };
    let (mut over, mut elapsed) = (0, 0);
    while over < workers {
        server.peer.settle(&mut net);
        server.serve(&mut net, stalls(elapsed), act);
        server.peer.settle(&mut net);
        net.take_sent();
        for intervals in intervals.borrow_mut().iter_mut() {
            intervals.each(|interval| {
                outcome.open.push((elapsed, interval.open));
                if interval.phase != Phase::WarmUp {
                    outcome.entries.iter_mut().zip(&interval.entries).for_each(|(sum, more)| *sum += more);
                }
                match interval.phase {
                    Phase::WarmUp => outcome.warm_up += &interval.counts,
                    phase => {
                        outcome.all += &interval.counts;
                        outcome.latency.add(&interval.latency).unwrap();
                        if phase == Phase::Measure {
                            outcome.measured += &interval.counts;
                            outcome.measured_for += interval.to.since(interval.from);
                        }
                        over += u32::from(phase == Phase::Over);
                    }
                }
            });
        }
        assert!(elapsed < 30_000, "it does not end: {:?}", outcome.all);
        net.clock.advance(STEP);
        elapsed += 1;
    }
    outcome.from = server.from;
    for (id, _) in server.open {
        server.peer.shard.abort(net.now(), id);
    }
    server.peer.pass(&mut net, Duration::from_secs(1));
    net.finish();
    outcome
}

const OK: Act = Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");

fn never(_: u64) -> bool {
    false
}

/// The server stands still for 100 ms once.
fn once(ms: u64) -> bool {
    (2000..2100).contains(&ms)
}

#[test]
fn a_stall_is_charged_with_all_requests_that_it_kept_waiting() {
    for pace in [Pace::Constant(500.0), Pace::Poisson(500.0)] {
        let open = run("[0]", &get(8, pace), once, Some(&mut |_| OK));
        // Of 2000 requests, the 50 that were meant to start in the stall waited 50 ms on average: a fortieth.
        assert_eq!(open.all.all_failed() + open.all.not_started, 0, "{:?}", open.all);
        assert!(open.ms(0.5) <= 2 && open.ms(0.96) <= 3, "{} {}", open.ms(0.5), open.ms(0.96));
        assert!((45..75).contains(&open.ms(0.9885)), "{pace:?}: {}", open.ms(0.9885));
        assert!((72..92).contains(&open.ms(0.995)), "{pace:?}: {}", open.ms(0.995));
        assert!((97..=103).contains(&open.ms(1.0)), "{pace:?}: {}", open.ms(1.0));
    }
}

#[test]
fn in_a_closed_loop_a_stall_costs_one_request_of_each_connection() {
    let closed = run("[0]", &get(8, Pace::Closed), once, Some(&mut |_| OK));
    assert!(closed.all.completed > 10_000, "{:?}", closed.all);
    assert!(closed.ms(0.999) <= 2, "{}", closed.ms(0.999));
    let slow = closed.latency.count_between(50 * MS, 200 * MS);
    assert_eq!(slow, 8);
    assert!((97..=103).contains(&closed.ms(1.0)), "{}", closed.ms(1.0));
}

#[test]
fn an_open_loop_keeps_its_rate() {
    for cores in ["[0]", "[0, 1, 2]"] {
        let workload = Workload { warm_up: Duration::from_secs(1), ..get(10, Pace::Constant(700.0)) };
        let outcome = run(cores, &workload, never, Some(&mut |_| OK));
        assert_eq!(outcome.all.all_failed() + outcome.all.not_started + outcome.all.retried, 0);
        // All that were meant to start did, once.
        assert_eq!(outcome.warm_up.started + outcome.all.started, 3500, "on {cores}");
        assert_eq!(outcome.warm_up.completed + outcome.all.completed, 3500, "on {cores}");
        assert_eq!(outcome.latency.len(), outcome.all.completed);
        let workers = cores.matches(char::is_numeric).count() as f64;
        let rate = outcome.measured.completed as f64 * workers / outcome.measured_for.as_secs_f64();
        assert!((690.0..710.0).contains(&rate), "{rate}");
        assert_eq!(outcome.warm_up.connects, 10);
        assert_eq!(outcome.all.bytes, outcome.all.completed * 43);
    }
}

#[test]
fn what_cannot_be_started_is_counted() {
    // One connection, and a server that takes 4 ms: a quarter of the rate.
    let workload = get(1, Pace::Constant(1000.0));
    let slow = run("[0]", &workload, |ms| ms % 4 != 0, Some(&mut |_| OK));
    assert_eq!(slow.all.started + slow.all.not_started, 4000, "{:?}", slow.all);
    assert!((2800..=2900).contains(&slow.all.not_started), "{:?}", slow.all);
    assert_eq!(slow.all.started, slow.all.completed);
    // The last that started had waited since the first quarter.
    assert!(slow.ms(1.0) > 2900, "{}", slow.ms(1.0));
}

/// Requests that a stall at the very end keeps from starting wait as long as those before.
#[test]
fn a_stall_at_the_end_is_not_left_out() {
    let workload = get(2, Pace::Constant(1000.0));
    let stalled = run("[0]", &workload, |ms| (3900..4200).contains(&ms), Some(&mut |_| OK));
    assert_eq!((stalled.all.started, stalled.all.not_started), (4000, 0), "{:?}", stalled.all);
    assert_eq!(stalled.all.completed, 4000);
    // The last hundred of four thousand waited 200 ms or more.
    assert!(stalled.ms(0.98) >= 190, "{}", stalled.ms(0.98));
    assert!(stalled.ms(0.97) < 10, "{}", stalled.ms(0.97));
}

/// There are more workers than connections.
#[test]
fn a_worker_without_a_connection_ends() {
    for pace in [Pace::Constant(1000.0), Pace::Poisson(1000.0), Pace::Closed] {
        let outcome = run("[0, 1]", &get(1, pace), never, Some(&mut |_| OK));
        assert!(outcome.all.completed > 1000, "{pace:?}: {:?}", outcome.all);
    }
}

#[test]
fn each_kind_of_failure_is_told_from_the_others() {
    let close = |text| Act::AnswerAndClose(text);
    for (act, failure) in [
        (None, Failure::Refused),
        (Some(Act::Reset), Failure::Reset),
        (Some(Act::Silence), Failure::TimedOut),
        (Some(Act::Close), Failure::Closed),
        (Some(Act::Answer("220 mail.example ESMTP\r\n")), Failure::BadResponse),
        (Some(Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore")), Failure::BadResponse),
        (Some(close("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")), Failure::Closed),
    ] {
        for close in [false, true] {
            let mix = ask(close);
            let workload = Workload { close, mix, ..get(3, Pace::Closed) };
            let mut answer = |_: &str| act.unwrap();
            let outcome = match act {
                None => run("[0]", &workload, never, None),
                Some(_) => run("[0]", &workload, never, Some(&mut answer)),
            };
            let good = if let Some(Act::Answer(text)) = act { text.starts_with("HTTP") } else { false };
            assert_eq!(outcome.all.completed > 0, good, "{failure:?}: {:?}", outcome.all);
            if good && close {
                // Who closes does not read what was not asked for.
                assert_eq!(outcome.all.all_failed(), 0);
                continue;
            }
            // Each slot rests for 100 ms after a failure, or waits for 500 ms.
            let failed = outcome.only_failed(failure);
            assert!((12..=130).contains(&failed), "{failure:?}: {failed}");
        }
    }
}

#[test]
fn nobody_at_the_address_and_no_route() {
    let absent = Workload { target: at("10.0.1.77:80".parse().unwrap()), ..get(2, Pace::Closed) };
    let outcome = run("[0]", &absent, never, None);
    assert!(outcome.all.connects == 0 && outcome.all.all_failed() > 0, "{:?}", outcome.all);
    let lost = Workload { target: at("192.0.2.1:80".parse().unwrap()), ..get(2, Pace::Closed) };
    assert!(run("[0]", &lost, never, None).only_failed(Failure::TimedOut) > 10);
}

#[test]
fn a_status_that_is_not_2xx_is_an_answer() {
    let mut turn = 0;
    let mut answer = |_: &str| {
        turn += 1;
        if turn % 4 == 0 { Act::Answer("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") } else { OK }
    };
    let outcome = run("[0]", &get(4, Pace::Closed), never, Some(&mut answer));
    assert_eq!(outcome.all.all_failed(), 0);
    assert_eq!(outcome.all.completed / 4, outcome.all.non_2xx);
}

#[test]
fn servers_that_close_are_connected_to_again() {
    let said = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let framed_by_it = "HTTP/1.1 200 OK\r\n\r\nhello";
    let unsaid = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    for text in [said, framed_by_it, unsaid] {
        let outcome = run("[0]", &get(4, Pace::Closed), never, Some(&mut |_| Act::AnswerAndClose(text)));
        assert_eq!(outcome.all.all_failed(), 0, "{:?}", outcome.all);
        assert!(
            outcome.all.completed > 1000 && outcome.all.connects >= outcome.all.completed,
            "{:?}",
            outcome.all
        );
    }
    let close = Workload { close: true, mix: ask(true), ..get(4, Pace::Constant(200.0)) };
    let outcome = run("[0]", &close, never, Some(&mut |_| Act::AnswerAndClose(said)));
    assert_eq!((outcome.all.all_failed(), outcome.all.completed, outcome.all.connects), (0, 800, 800));
}

#[test]
fn pipelined_requests_are_answered_in_order_or_asked_again() {
    let workload = Workload { pipeline: 4, ..get(2, Pace::Closed) };
    let outcome = run("[0]", &workload, never, Some(&mut |_| OK));
    assert_eq!(outcome.all.all_failed() + outcome.all.retried, 0);
    assert!(outcome.all.completed > 20_000, "{:?}", outcome.all);
    // The server closes after every tenth answer: what it did not answer goes to another connection.
    let mut turn = 0;
    let mut answer = |_: &str| {
        turn += 1;
        if turn % 10 == 0 { Act::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") } else { OK }
    };
    let outcome = run("[0]", &workload, never, Some(&mut answer));
    assert_eq!(outcome.all.all_failed(), 0, "{:?}", outcome.all);
    assert!(outcome.all.retried > 100, "{:?}", outcome.all);
    assert_eq!(outcome.all.completed, outcome.all.started);
}

fn request(weight: u32, method: &str, body: &str) -> (u32, Exchange) {
    let request = Request { method: method.into(), body: body.into(), ..Request::get("/") };
    (weight, Exchange::http(&request, "a", false))
}

fn checked(check: Check) -> Exchange {
    Exchange::http(&Request { check: Some(check), ..Request::get("/") }, "a", false)
}

#[test]
fn a_mix_is_made_by_its_weights_and_counted_by_request() {
    let requests = [request(6, "GET", ""), request(3, "HEAD", ""), request(1, "POST", "x=1")];
    let mix = Mix::new(requests.into()).unwrap();
    for pipeline in [1, 5] {
        let workload = Workload { mix: mix.clone(), pipeline, ..get(4, Pace::Constant(1000.0)) };
        let mut seen = HashMap::<String, u64>::new();
        let mut answer = |text: &str| {
            let method = text.split(' ').next().unwrap();
            *seen.entry(method.into()).or_default() += 1;
            assert!(method != "POST" || text.ends_with("\r\n\r\nx=1"), "{text:?}");
            match method {
                "HEAD" => Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
                "POST" => Act::Answer("HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno"),
                _ => OK,
            }
        };
        let outcome = run("[0, 1]", &workload, never, Some(&mut answer));
        assert_eq!((outcome.all.completed, outcome.all.all_failed()), (4000, 0), "{:?}", outcome.all);
        for (at, (method, expected)) in [("GET", 2400), ("HEAD", 1200), ("POST", 400)].into_iter().enumerate()
        {
            let entry = outcome.entries[at];
            assert!(entry.completed.abs_diff(expected) < 150, "{method}: {entry:?}");
            assert_eq!((entry.started, entry.completed), (seen[method], seen[method]));
            assert_eq!(entry.non_2xx, if method == "POST" { entry.completed } else { 0 });
        }
        let same = run(
            "[0, 1]",
            &workload,
            never,
            Some(&mut |text| {
                if text.starts_with("HEAD") { Act::Answer("HTTP/1.1 200 OK\r\n\r\n") } else { OK }
            }),
        );
        let counts =
            |outcome: &Outcome| outcome.entries.iter().map(|entry| entry.started).collect::<Vec<_>>();
        assert_eq!(counts(&same), counts(&outcome), "the seed is the same");
    }
}

#[test]
fn what_is_not_idempotent_is_not_asked_twice() {
    for (method, repeats) in [("GET", true), ("POST", false)] {
        let mix = request(1, method, "").1.into();
        let workload = Workload { mix, pipeline: 3, ..get(1, Pace::Closed) };
        let mut turn = 0;
        let mut answer = |_: &str| {
            turn += 1;
            if turn % 4 == 0 {
                Act::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            } else {
                OK
            }
        };
        let outcome = run("[0]", &workload, never, Some(&mut answer));
        assert_eq!(outcome.all.retried > 0, repeats, "{method}: {:?}", outcome.all);
        assert_eq!(outcome.only_failed(Failure::Closed) > 0, !repeats, "{method}: {:?}", outcome.all);
        assert_eq!(outcome.entries[0].failed, outcome.all.all_failed());
    }
}

#[test]
fn a_thinking_connection_asks_as_often_as_it_should() {
    for (think, spread) in
        [(Think::Constant(Duration::from_millis(20)), 2), (Think::Exponential(Duration::from_millis(20)), 20)]
    {
        for close in [false, true] {
            let workload = Workload { think, close, ..get(8, Pace::Closed) };
            let outcome = run("[0]", &workload, never, Some(&mut |_| OK));
            // 4 s of 20 ms each, and the milliseconds that answers take in these networks.
            assert_eq!(outcome.all.all_failed(), 0);
            let each = outcome.all.completed / 8;
            assert!((170 - spread..=200 + spread).contains(&each), "{think:?} {close}: {each}");
            // Thinking is no part of the latency.
            assert!(outcome.ms(1.0) <= 4, "{}", outcome.ms(1.0));
        }
    }
    // The server closes while its client thinks.
    let workload = Workload { think: Think::Constant(Duration::from_millis(50)), ..get(3, Pace::Closed) };
    let mut answer = |_: &str| Act::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let outcome = run("[0]", &workload, never, Some(&mut answer));
    assert_eq!(outcome.all.all_failed(), 0, "{:?}", outcome.all);
    assert!((200..=243).contains(&outcome.all.completed), "{:?}", outcome.all);
}

#[test]
fn a_ramp_lets_connections_and_the_rate_grow() {
    let ramp = Duration::from_secs(5);
    let workload = Workload { ramp, ..get(40, Pace::Constant(400.0)) };
    let outcome = run("[0, 1]", &workload, never, Some(&mut |_| OK));
    let started = (outcome.warm_up.started, outcome.all.started);
    // One may come at the very end of the ramp.
    assert!(started.0.abs_diff(1000) <= 1 && started.0 + started.1 == 2600, "{started:?}");
    assert_eq!((outcome.warm_up.connects, outcome.all.connects), (40, 0));
    // After each second a fifth more of each worker's twenty.
    for (second, expected) in [(1, 4), (2, 8), (3, 12), (4, 16)] {
        let open: Vec<u32> =
            outcome.open.iter().filter(|(ms, _)| ms / 1000 == second).map(|(_, n)| *n).collect();
        assert_eq!(open.len(), 2);
        assert!(open.iter().all(|open| open.abs_diff(expected) <= 1), "after {second} s: {open:?}");
    }
    // In a closed loop, and with a connection for each request.
    let workload = Workload { ramp, close: true, ..get(10, Pace::Closed) };
    let outcome = run("[0]", &workload, never, Some(&mut |_| OK));
    let (rising, full) = (outcome.warm_up.completed as f64 / 5.0, outcome.all.completed as f64 / 4.0);
    assert!((0.4..0.65).contains(&(rising / full)), "{rising} and then {full} a second");
}

#[test]
fn contents_are_checked() {
    use sha2::{Digest, Sha256};
    let hello = Sha256::digest("hello").into();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    for check in [Check::First, Check::Sha256(hello)] {
        let mix = Mix::from(checked(check));
        let workload = Workload { mix, pipeline: 2, ..get(6, Pace::Constant(500.0)) };
        let mut turn = 0;
        let mut answer = |_: &str| {
            turn += 1;
            if turn % 2 == 0 { Act::Answer(chunked) } else { OK }
        };
        let outcome = run("[0, 1]", &workload, never, Some(&mut answer));
        assert_eq!((outcome.all.completed, outcome.all.wrong_bodies), (2000, 0), "{check:?}");
        // The hash of what came in part is forgotten with its connection.
        let mix = Mix::from(checked(check));
        let mut turn = 0;
        let mut answer = |_: &str| {
            turn += 1;
            match turn % 10 {
                3 => Act::Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhullo"),
                7 => Act::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhell"),
                _ => OK,
            }
        };
        let outcome = run("[0]", &Workload { mix, ..get(6, Pace::Closed) }, never, Some(&mut answer));
        let (wrong, short) = (outcome.all.wrong_bodies, outcome.only_failed(Failure::Closed));
        assert!(short > 50 && wrong.abs_diff(short) <= 6, "{check:?}: {wrong} {short}");
    }
}

#[test]
fn connections_come_from_each_of_the_addresses() {
    let ours: [Ipv4Addr; 3] = [1, 2, 3].map(|n| Ipv4Addr::new(10, 0, 1, n));
    let workload = Workload { sources: ours[1..].into(), ..get(5, Pace::Constant(100.0)) };
    let mut outcome = run("[0, 1]", &workload, never, Some(&mut |_| OK));
    outcome.from.sort_unstable();
    assert_eq!((outcome.all.all_failed(), &*outcome.from), (0, &ours[1..]));
}

#[test]
fn a_load_without_a_server_waits_for_it_and_can_be_stopped() {
    let workload = Workload { target: Arc::default(), ..get(2, Pace::Closed) };
    let (recorder, mut intervals) = Intervals::new(1);
    let recorder = Cell::new(Some(recorder));
    let load = || -> Vec<Box<dyn App<SimFrame>>> {
        vec![Box::new(Load::new(workload.clone(), 0, 1, recorder.take().unwrap()))]
    };
    let mut net = Net::with_apps(&two_ports("[0]", "[[service]]\nkind = \"echo\"\n"), Isa::detect(), load);
    for _ in 0..300 {
        net.settle();
        net.clock.advance(STEP);
    }
    intervals.each(|interval| panic!("it has begun: {interval:?}"));
    net.control.stop(net.now());
    net.settle();
    let mut phases = vec![];
    intervals.each(|interval| phases.push(interval.phase));
    assert_eq!(phases.last(), Some(&Phase::Over));
    net.finish();
}

/// Opens many connections, from more than one address, and goes round them.
#[test]
fn a_hundred_thousand_connections_are_kept() {
    const MANY: u32 = 100_000;
    let to = SocketAddrV4::new(A.into(), 7);
    let ours: Vec<String> = (1..=4).map(|n| format!("\"10.0.1.{n}/24\"")).collect();
    let limits = format!("[limits]\ntcp_connections = {MANY}\n[[service]]\nkind = \"echo\"\n");
    let text = two_ports("[0]", &limits).replace("\"10.0.1.1/24\"", &ours.join(", "));
    let workload = Workload {
        target: at(to),
        sources: (1..=4).map(|n| Ipv4Addr::new(10, 0, 1, n)).collect(),
        mix: Exchange::echo(64).into(),
        ramp: Duration::from_secs(2),
        duration: Duration::from_secs(1),
        ..get(MANY, Pace::Constant(10_000.0))
    };
    let (recorder, mut intervals) = Intervals::new(1);
    let recorder = Cell::new(Some(recorder));
    let load = || -> Vec<Box<dyn App<SimFrame>>> {
        vec![Box::new(Load::new(workload.clone(), 0, 1, recorder.take().unwrap()))]
    };
    let mut net = Net::with_apps(&text, Isa::detect(), load);
    let mut peer = Peer::new(&mut net, 0, 10, A, tcp::Config { connections: MANY, ..tcp::Config::default() });
    let listener = peer.shard.listen(to, 4096).unwrap();
    let (mut all, mut open, mut is_over) = (Counts::default(), 0, false);
    for _ in 0..20_000 {
        peer.settle(&mut net);
        let now = net.now();
        while let Some(event) = peer.shard.poll_event(now) {
            match event {
                ShardEvent::Acceptable(_) => drop(peer.shard.accept(listener)),
                ShardEvent::Connection(id, _) => {
                    let (bytes, end) = peer.take(now, id);
                    peer.give(now, id, &bytes);
                    if !matches!(end, Received::Nothing) {
                        peer.shard.close(now, id);
                    }
                }
            }
        }
        net.take_sent();
        intervals.each(|interval| {
            all += &interval.counts;
            is_over |= interval.phase == Phase::Over;
            if interval.phase == Phase::Measure {
                open = interval.open;
            }
        });
        if is_over {
            break;
        }
        net.clock.advance(STEP);
    }
    assert!(is_over, "it does not end: {all:?}");
    assert_eq!((open, all.connects, all.all_failed()), (MANY, u64::from(MANY), 0), "{all:?}");
    // 10,000 a second for a second, and a half of it in each of the two of the ramp.
    assert_eq!((all.started, all.completed, all.not_started), (20_000, 20_000, 0), "{all:?}");
    peer.pass(&mut net, Duration::from_secs(1));
    net.finish();
}

//! Load against servers that answer, stall and misbehave, in virtual time: what it reports is what happened.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::cell::{Cell, RefCell};
use std::net::SocketAddrV4;
use std::time::Duration;

use common::peer::Peer;
use common::{Net, two_ports};
use engine::app::App;
use engine::app::load::{Counts, Exchange, Failure, Intervals, Load, Pace, Phase, Workload, histogram};
use hdrhistogram::Histogram;
use l2l3::forward::Isa;
use sim::SimFrame;
use tcp::shard::{ConnectionId, ListenerId, Received};

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
    /// Of the warm-up.
    warm_up: Counts,
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
        target: SocketAddrV4::new(A.into(), 80),
        exchange: Exchange::get("a", "/", false),
        connections,
        pipeline: 1,
        close: false,
        pace,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(4),
        timeout: Duration::from_millis(500),
    }
}

/// A server at the far end.
struct Server {
    peer: Peer,
    listener: Option<ListenerId>,
    open: Vec<ConnectionId>,
    /// Requests that were received and not dealt with yet.
    waiting: Vec<(ConnectionId, usize)>,
}

impl Server {
    /// Receives, and deals with requests of `size` bytes unless it stalls.
    fn serve(&mut self, net: &mut Net, size: usize, stalls: bool, act: &mut impl FnMut() -> Act) {
        let now = net.now();
        while let Some(id) = self.listener.and_then(|listener| self.peer.accept(now, listener)) {
            self.open.push(id);
        }
        let mut over = vec![];
        for id in &self.open {
            let (bytes, end) = self.peer.take(now, *id);
            assert_eq!(bytes.len() % size, 0);
            self.waiting.extend((0..bytes.len() / size).map(|_| (*id, size)));
            if !matches!(end, Received::Nothing) {
                over.push(*id);
            }
        }
        if stalls {
            return;
        }
        for (id, _) in std::mem::take(&mut self.waiting) {
            let answer = act();
            if let Act::Answer(text) | Act::AnswerAndClose(text) = answer {
                self.peer.give(now, id, text.as_bytes());
            }
            match answer {
                Act::AnswerAndClose(_) | Act::Close => self.peer.shard.shutdown(now, id),
                Act::Reset => {
                    self.peer.shard.abort(now, id);
                    self.open.retain(|open| *open != id);
                }
                Act::Answer(_) | Act::Silence => {}
            }
        }
        for id in over {
            self.peer.shard.close(now, id);
            self.open.retain(|open| *open != id);
        }
    }
}

/// Runs a load on workers on `cores` against a server that stalls when `stalls` says so, given the milliseconds
/// since the start, and acts as `act` says; without `act` nobody listens.
fn run(
    cores: &str,
    workload: &Workload,
    stalls: impl Fn(u64) -> bool,
    act: Option<&mut dyn FnMut() -> Act>,
) -> Outcome {
    let text = two_ports(cores, "[[service]]\nkind = \"echo\"\n");
    let workers = cores.matches(|c: char| c.is_ascii_digit()).count() as u32;
    let (worker, intervals) = (Cell::new(0), RefCell::new(vec![]));
    let load = || -> Box<dyn App<SimFrame>> {
        let (recorder, ours) = Intervals::new();
        intervals.borrow_mut().push(ours);
        Box::new(Load::new(workload.clone(), worker.replace(worker.get() + 1), workers, recorder))
    };
    let mut net = Net::with_apps(&text, Isa::detect(), || vec![load()]);
    let peer = Peer::new(&mut net, 0, 10, A, tcp::Config::default());
    let mut server = Server { peer, listener: None, open: vec![], waiting: vec![] };
    server.listener = act.as_ref().map(|_| server.peer.shard.listen(workload.target, 1024).unwrap());
    let mut nothing = || Act::Silence;
    let act = act.map_or(&mut nothing as &mut dyn FnMut() -> Act, |act| act);
    let mut outcome = Outcome {
        measured: Counts::default(),
        measured_for: Duration::ZERO,
        all: Counts::default(),
        latency: histogram(),
        warm_up: Counts::default(),
    };
    let size = request_size(workload);
    let (mut over, mut elapsed) = (0, 0);
    while over < workers {
        server.peer.settle(&mut net);
        server.serve(&mut net, size, stalls(elapsed), &mut || act());
        server.peer.settle(&mut net);
        net.take_sent();
        for intervals in intervals.borrow_mut().iter_mut() {
            intervals.each(|interval| match interval.phase {
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
            });
        }
        assert!(elapsed < 30_000, "it does not end: {:?}", outcome.all);
        net.clock.advance(STEP);
        elapsed += 1;
    }
    for id in server.open {
        server.peer.shard.abort(net.now(), id);
    }
    server.peer.pass(&mut net, Duration::from_secs(1));
    net.finish();
    outcome
}

fn request_size(workload: &Workload) -> usize {
    let close = if workload.close { "Connection: close\r\n" } else { "" };
    format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: sluice\r\n{close}\r\n").len()
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
        let open = run("[0]", &get(8, pace), once, Some(&mut || OK));
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
    let closed = run("[0]", &get(8, Pace::Closed), once, Some(&mut || OK));
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
        let outcome = run(cores, &workload, never, Some(&mut || OK));
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
    let slow = run("[0]", &workload, |ms| ms % 4 != 0, Some(&mut || OK));
    assert_eq!(slow.all.started + slow.all.not_started, 4000, "{:?}", slow.all);
    assert!(slow.all.not_started > 2900, "{:?}", slow.all);
    assert_eq!(slow.all.started, slow.all.completed);
    // The last that started had waited since the first quarter.
    assert!(slow.ms(1.0) > 2900, "{}", slow.ms(1.0));
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
            let exchange = Exchange::get("a", "/", close);
            let workload = Workload { close, exchange, ..get(3, Pace::Closed) };
            let mut answer = || act.unwrap();
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
    let absent = Workload { target: "10.0.1.77:80".parse().unwrap(), ..get(2, Pace::Closed) };
    let outcome = run("[0]", &absent, never, None);
    assert!(outcome.all.connects == 0 && outcome.all.all_failed() > 0, "{:?}", outcome.all);
    let lost = Workload { target: "192.0.2.1:80".parse().unwrap(), ..get(2, Pace::Closed) };
    assert!(run("[0]", &lost, never, None).only_failed(Failure::TimedOut) > 10);
}

#[test]
fn a_status_that_is_not_2xx_is_an_answer() {
    let mut turn = 0;
    let mut answer = || {
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
        let outcome = run("[0]", &get(4, Pace::Closed), never, Some(&mut || Act::AnswerAndClose(text)));
        assert_eq!(outcome.all.all_failed(), 0, "{:?}", outcome.all);
        assert!(
            outcome.all.completed > 1000 && outcome.all.connects >= outcome.all.completed,
            "{:?}",
            outcome.all
        );
    }
    let close =
        Workload { close: true, exchange: Exchange::get("a", "/", true), ..get(4, Pace::Constant(200.0)) };
    let outcome = run("[0]", &close, never, Some(&mut || Act::AnswerAndClose(said)));
    assert_eq!((outcome.all.all_failed(), outcome.all.completed, outcome.all.connects), (0, 800, 800));
}

#[test]
fn pipelined_requests_are_answered_in_order_or_asked_again() {
    let workload = Workload { pipeline: 4, ..get(2, Pace::Closed) };
    let outcome = run("[0]", &workload, never, Some(&mut || OK));
    assert_eq!(outcome.all.all_failed() + outcome.all.retried, 0);
    assert!(outcome.all.completed > 20_000, "{:?}", outcome.all);
    // The server closes after every tenth answer: what it did not answer goes to another connection.
    let mut turn = 0;
    let mut answer = || {
        turn += 1;
        if turn % 10 == 0 { Act::AnswerAndClose("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") } else { OK }
    };
    let outcome = run("[0]", &workload, never, Some(&mut answer));
    assert_eq!(outcome.all.all_failed(), 0, "{:?}", outcome.all);
    assert!(outcome.all.retried > 100, "{:?}", outcome.all);
    assert_eq!(outcome.all.completed, outcome.all.started);
}

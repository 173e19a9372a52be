//! `engine::run::run` with real threads, real time and its control socket.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{Parts, SimDevice, SimEnv, Wire, config, host, parts, two_ports};
use engine::api::{Reply, Request};
use engine::control::server::bind;
use engine::run::{EngineError, Report, Setup, run};
use l2l3::forward::Isa;
use sim::{Host, SimPool};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use wire::RssKey;

const LAN: usize = 0;
const WAN: usize = 1;
const A: [u8; 4] = [10, 0, 1, 10];
const B: [u8; 4] = [10, 0, 2, 20];

/// An engine that runs on threads of its own.
struct Running {
    wires: Vec<Wire>,
    pool: SimPool,
    handles: Vec<common::SimPort>,
    stop: Option<UnboundedSender<()>>,
    engine: std::thread::JoinHandle<(Result<Report, EngineError>, Vec<String>)>,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

fn env() -> SimEnv {
    SimEnv::Real(Instant::now())
}

fn start(text: &str, env: SimEnv, prepare: impl FnOnce(&Path)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/engine.sock");
    std::fs::create_dir(folder.path().join("run")).unwrap();
    prepare(&socket);
    let Parts { config, ports, handles, io, opener, wires, pool } = parts(config(text));
    let (stop, mut stopped) = unbounded_channel();
    let (ready, is_ready) = mpsc::channel();
    let path = socket.clone();
    let engine = std::thread::spawn(move || {
        let setup = Setup::<SimDevice> {
            config,
            ports,
            workers: io,
            opener: Box::new(opener),
            storage: None,
            env,
            rss_key: RssKey::SYMMETRIC,
            seed: 3,
            secret: [3; 16],
            isa: Isa::detect(),
            programs: Arc::new(|_| vec![]),
        };
        let lines = RefCell::new(vec![]);
        let stop = async move || {
            let _sender_gone = stopped.recv().await;
        };
        let ended = run(
            setup,
            || bind(&path),
            || stop,
            || ready.send(()).unwrap(),
            |line| lines.borrow_mut().push(line.to_owned()),
        );
        (ended, lines.into_inner())
    });
    // An engine that did not start drops its end.
    let _started = is_ready.recv();
    Running { wires, pool, handles, stop: Some(stop), engine, socket, _folder: folder }
}

impl Running {
    /// Carries frames between the hosts until `done`, for 20 s at most.
    fn carry(&mut self, hosts: &mut [(usize, Host)], mut done: impl FnMut(&[(usize, Host)]) -> bool) {
        let start = Instant::now();
        while !done(hosts) {
            assert!(start.elapsed() < Duration::from_secs(20), "no progress: {:?}", hosts[0].1.stats());
            let now = wire::Instant::from_nanos(start.elapsed().as_nanos() as u64);
            for (port, host) in hosts.iter_mut() {
                let wire = &mut self.wires[*port];
                let queues = wire.to.len();
                let heard: Vec<_> = wire.from.iter_mut().filter_map(|from| from.pop()).collect();
                let mut answers: Vec<_> = heard.iter().flat_map(|f| host.handle(now, &f.to_vec())).collect();
                answers.extend(host.poll(now));
                for (n, answer) in answers.iter().enumerate() {
                    let frame = self.pool.frame_from(answer).unwrap();
                    wire.to[n % queues].push(frame).unwrap();
                }
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn ask(&self, lines: &[&str]) -> Vec<Reply> {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut ask = |line: &&str| {
            stream.write_all(line.as_bytes()).unwrap();
            stream.write_all(b"\n").unwrap();
            serde_json::from_str(&replies.next().unwrap().unwrap()).unwrap()
        };
        lines.iter().map(&mut ask).collect()
    }

    /// Stops the engine, which must leave no frame behind.
    fn stop(mut self) -> Result<Report, EngineError> {
        self.stop.take().unwrap().send(()).unwrap();
        let socket = self.socket.clone();
        let ended = self.join().0;
        assert!(!socket.exists(), "the socket is gone");
        ended
    }

    fn join(self) -> (Result<Report, EngineError>, Vec<String>) {
        let Running { wires, pool, engine, stop, .. } = self;
        let ended = engine.join().unwrap();
        drop((wires, stop));
        assert!(pool.is_full(), "frames were lost");
        ended
    }
}

fn hosts() -> Vec<(usize, Host)> {
    vec![(LAN, host(10, A)), (WAN, host(20, B))]
}

/// Sends `count` pings from A to B.
fn ping(running: &mut Running, hosts: &mut [(usize, Host)], count: u16) {
    for seq in 0..count {
        for frame in hosts[0].1.send_ping(wire::Instant::ZERO, Ipv4Addr::from(B), 1, seq, &[1; 56]) {
            let frame = running.pool.frame_from(&frame).unwrap();
            let queue = usize::from(seq) % running.wires[LAN].to.len();
            running.wires[LAN].to[queue].push(frame).unwrap();
        }
    }
}

#[test]
fn two_workers_carry_traffic_answer_questions_and_stop() {
    let text = two_ports("[0, 1]", "").replace("\"net_null1\"", "\"net_null1\"\ntx_queues = 1");
    let mut running = start(&text, env(), |_| {});
    let mut hosts = hosts();
    ping(&mut running, &mut hosts, 50);
    running.carry(&mut hosts, |hosts| hosts[0].1.stats().received == 50);
    ping(&mut running, &mut hosts, 500);
    running.carry(&mut hosts, |hosts| hosts[0].1.stats().received == 550);
    assert_eq!((hosts[0].1.stats().fault_count(), hosts[1].1.stats().fault_count()), (0, 0));

    let asked = [
        r#"{"show":"ports"}"#,
        r#"{"show":"routes","limit":1000}"#,
        r#"{"show":"routes","address":"10.0.2.20","limit":1}"#,
        r#"{"show":"neighbours"}"#,
        r#"{"show":"drops"}"#,
        r#"{"show":"workers"}"#,
    ];
    for line in asked {
        let request: Request = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), line, "the client writes what is documented");
    }
    let replies = running.ask(&asked);
    let [
        Reply::Ports(ports),
        Reply::Routes(routes),
        Reply::Routes(one),
        Reply::Neighbours(neighbours),
        Reply::Drops(drops),
        Reply::Workers(workers),
    ] = &replies[..]
    else {
        panic!("{replies:?}")
    };
    assert_eq!(
        ports.iter().map(|p| (p.name.as_str(), p.tx_queues)).collect::<Vec<_>>(),
        [("lan", 2), ("wan", 1)]
    );
    assert_eq!(ports[0].addresses, ["lan 10.0.1.1/24"]);
    assert!(ports[0].rx >= 551 && ports[1].tx >= 551, "{ports:?}");
    assert_eq!(routes.total, routes.routes.len());
    assert_eq!((one.routes[0].prefix.as_str(), one.routes[0].kind.as_str()), ("10.0.2.20/32", "neighbour"));
    assert_eq!(neighbours.len(), 2);
    assert!(neighbours.iter().all(|n| n.state == "reachable"));
    assert!(drops.iter().all(|drop| drop.count == 0 && drop.by_worker.len() == 2));
    assert_eq!(workers.iter().map(|w| w.core).collect::<Vec<_>>(), [0, 1]);
    assert!(workers.iter().all(|w| w.loops > 0 && w.idle_share > 0.0 && w.books.rx > 0), "{workers:?}");
    assert!(workers.iter().any(|w| w.books.handed_out > 0));

    let report = running.stop().unwrap();
    assert!(report.books.balance(), "{}", report.books);
    assert_eq!(report.books.handed_in, report.books.handed_out);
    assert_eq!((report.error, report.workers.len(), report.ports.len()), (None, 2, 2));
}

#[test]
fn a_stop_in_full_traffic_loses_no_frame() {
    let text = two_ports("[0, 1]", "").replace("\"net_null1\"", "\"net_null1\"\ntx_queues = 1");
    let mut running = start(&text, env(), |_| {});
    let mut hosts = hosts();
    ping(&mut running, &mut hosts, 10);
    running.carry(&mut hosts, |hosts| hosts[0].1.stats().received == 10);
    ping(&mut running, &mut hosts, 3000);
    let report = running.stop().unwrap();
    assert!(report.books.balance(), "{}", report.books);
    assert_eq!(report.books.handed_in, report.books.handed_out, "{}", report.books);
}

#[test]
fn what_is_no_request_is_answered_with_an_error() {
    let running = start(&two_ports("[0]", ""), env(), |_| {});
    let long = "x".repeat(200_000);
    let bad = [
        "",
        "{}",
        "nonsense",
        r#"{"show":"everything"}"#,
        r#"{"show":"routes"}"#,
        r#"{"show":"routes","limit":-1}"#,
        r#"{"port":"remove"}"#,
        r#"{"port":"explode","name":"wan"}"#,
    ];
    for reply in running.ask(&bad) {
        let Reply::Error(text) = reply else { panic!("{reply:?}") };
        assert!(text.starts_with("the request was not understood: "), "{text}");
    }
    // Bytes that are no text, and a line that is too long: an error too, and the engine goes on.
    let mut stream = UnixStream::connect(&running.socket).unwrap();
    stream.write_all(b"\xff\xfe\n").unwrap();
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).unwrap();
    assert!(matches!(serde_json::from_str(&reply).unwrap(), Reply::Error(_)));
    assert!(matches!(running.ask(&[&long])[0], Reply::Error(_)));
    assert!(matches!(running.ask(&[r#"{"show":"drops"}"#])[0], Reply::Drops(_)));
    running.stop().unwrap();
}

#[test]
fn connections_have_a_bound() {
    let running = start(&two_ports("[0]", ""), env(), |_| {});
    let open: Vec<_> = (0..100).map(|_| UnixStream::connect(&running.socket).unwrap()).collect();
    let mut last = open.last().unwrap().try_clone().unwrap();
    last.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    last.write_all(b"{\"show\":\"drops\"}\n").unwrap();
    let mut reply = String::new();
    let mut reader = BufReader::new(last.try_clone().unwrap());
    assert!(reader.read_line(&mut reply).is_err(), "it waits for its turn");
    drop(open);
    last.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    reader.read_line(&mut reply).unwrap();
    assert!(matches!(serde_json::from_str(&reply).unwrap(), Reply::Drops(_)));
    drop((last, reader));
    running.stop().unwrap();
}

#[test]
fn a_stale_socket_is_replaced() {
    let running = start(&two_ports("[0]", ""), env(), |socket| {
        drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
        assert!(socket.exists());
    });
    assert!(matches!(running.ask(&[r#"{"show":"workers"}"#])[0], Reply::Workers(_)));
    running.stop().unwrap();
}

#[test]
fn a_second_instance_is_refused() {
    let mut other = None;
    let running = start(&two_ports("[0]", ""), env(), |socket| {
        other = Some(std::os::unix::net::UnixListener::bind(socket).unwrap());
    });
    let (socket, ended) = (running.socket.clone(), running.join().0);
    assert_eq!(ended, Err(EngineError::System("another process answers there".into())));
    assert!(!socket.exists() || other.is_some(), "the other's socket is left alone");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let running = start(&two_ports("[0]", ""), env(), |socket| std::fs::write(socket, "precious").unwrap());
    let (path, folder) = (running.socket.clone(), running._folder.path().to_owned());
    assert!(std::fs::read(&path).unwrap() == b"precious" && folder.exists());
    assert_eq!(running.join().0, Err(EngineError::System("there is a file that is no socket".into())));
}

#[test]
fn a_port_that_is_pulled_out_ends_the_engine() {
    let mut running = start(&two_ports("[0, 1]", ""), env(), |_| {});
    let mut hosts = hosts();
    ping(&mut running, &mut hosts, 5);
    running.carry(&mut hosts, |hosts| hosts[0].1.stats().received == 5);
    running.handles[WAN].0.store(true, Ordering::Relaxed);
    let report = running.join().0.unwrap();
    assert_eq!(report.error, Some(EngineError::PortRemoved("wan".into())));
    assert!(report.books.balance(), "{}", report.books);
}

#[test]
fn a_worker_that_cannot_be_pinned_ends_the_start() {
    let running = start(&two_ports("[0, 63]", ""), env(), |_| {});
    let error = running.join().0.unwrap_err();
    assert!(matches!(error, EngineError::Worker { worker: 1, core: 63, .. }), "{error}");
    assert!(
        error.to_string().starts_with("worker 1 on core 63: the thread cannot be pinned there"),
        "{error}"
    );
}

#[test]
fn a_thread_that_the_device_refuses_ends_the_start() {
    let running = start(&two_ports("[0, 1]", ""), SimEnv::Unfit(Instant::now()), |_| {});
    let error = running.join().0.unwrap_err();
    assert!(error.to_string().ends_with("this simulation has no room for threads"), "{error}");
}

#[test]
fn tables_that_do_not_fit_end_the_start() {
    let route = |n: u8| format!("[[route]]\nprefix = \"192.0.{n}.0/24\"\nvia = \"10.0.2.{n}\"\n");
    let more: String = (2..9).map(route).collect();
    let text = two_ports("[0]", &format!("{more}[limits]\nadjacencies = 16\n"));
    // 2 networks and 7 gateways are just the 9 that are left of 16.
    start(&text, env(), |_| {}).stop().unwrap();
    let text = text.replace("[limits]", &format!("{}[limits]", route(9)));
    let error = start(&text, env(), |_| {}).join().0.unwrap_err();
    assert_eq!(error.to_string(), "all 16 adjacencies are in use: raise `adjacencies` under [limits]");
}

//! Many clients at once, and clients that are gone without a word: the kernel's, over a TAP.
//!
//! The tests that are ignored are the clients: the others run them in the namespace of a host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use common::net::{Host, Net};
use common::{Router, succeed, within};
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ECHO: u16 = 7;
const HTTP: u16 = 80;
const PATIENCE: Duration = Duration::from_secs(90);
const PAGE: &str = "<h1>home</h1>";
/// Connections of the crowd, the threads that they are shared by, and what each asks for.
const CROWD: usize = 10_000;
const THREADS: usize = 8;
const REQUESTS: usize = 3;

/// How often a load beside a flood is tried, at most.
const ROUNDS: usize = 8;

/// An HTTP server, and an echo server beside it.
struct Rig {
    host: Host,
    server: Router,
    _folder: TempDir,
    _net: Net,
}

impl Rig {
    fn new(limits: &str, http: &str) -> Rig {
        let (net, folder) = (Net::new(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("index.html"), PAGE).unwrap();
        fs::write(folder.path().join("large"), vec![7; 16 << 20]).unwrap();
        let server = net.run(&format!(
            "[[port]]\nname = \"a\"\ndevice = \"net_tap0,iface=ta\"\naddresses = [\"10.0.0.2/24\"]\n\
             [[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"10.0.0.1\"\n[workers]\ncores = [0]\n{limits}\n\
             [[service]]\nkind = \"echo\"\n[[service]]\nkind = \"http\"\nroot = {:?}\n{http}\n",
            folder.path().to_str().unwrap()
        ));
        let host = net.host_on_tap("a", "ta", "10.0.0.1/24", "10.0.0.2");
        Rig { host, server, _folder: folder, _net: net }
    }

    /// A server that waits for everybody, however slow this machine is.
    fn patient() -> Rig {
        Rig::new("", "head_seconds = 3600\nidle_seconds = 3600\nstall_seconds = 3600")
    }

    fn tcp(&self, name: &str) -> u64 {
        self.server.counter("tcp", name)
    }

    fn http(&self, name: &str) -> u64 {
        self.server.counter("http", name)
    }

    #[track_caller]
    fn wait(&self, done: impl Fn() -> bool) {
        let done = within(PATIENCE, done);
        assert!(done, "{}{}", self.server.show(&["tcp"]), self.server.show(&["http"]));
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect_timeout(&SocketAddrV4::new(SERVER, port).into(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
}

fn read_page(stream: &mut TcpStream) {
    let (mut answer, mut len) = ([0; 1024], 0);
    while !answer[..len].ends_with(PAGE.as_bytes()) {
        let count = stream.read(&mut answer[len..]).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer[..len]));
        len += count;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// Lets this process have as many connections as the tests want.
fn raise_limit() {
    succeed("prlimit", &format!("--pid {} --nofile=20000:20000", std::process::id()));
}

/// They are served, cost little memory, and are closed when the server stops.
#[test]
fn ten_thousand_connections() {
    let rig = Rig::patient();
    let (host, before) = (rig.host.clone(), rig.server.memory());
    thread::scope(|scope| {
        let crowd = scope.spawn(|| host.run_test("crowd_that_asks"));
        rig.wait(|| rig.http("responses-2xx") == (CROWD * REQUESTS) as u64 || crowd.is_finished());
        assert_eq!((rig.tcp("connections"), rig.http("connections")), (CROWD as u64, CROWD as u64));
        let each = rig.server.memory().saturating_sub(before) / CROWD;
        println!("{each} bytes of memory for each of {CROWD} connections");
        assert!(each < 8192, "{each}");
        let last = rig.server.stop();
        assert!(!last.contains("not finished"), "{last}");
        crowd.join().unwrap();
    });
}

#[test]
#[ignore = "a client"]
fn crowd_that_asks() {
    crowd(REQUESTS);
}

/// Opens the connections, and asks for the page on each of them, so many times. They end when the server closes
/// them, in order.
fn crowd(requests: usize) {
    raise_limit();
    let share = || {
        let mut streams: Vec<_> = (0..CROWD / THREADS).map(|_| connect(HTTP)).collect();
        for _ in 0..requests {
            streams.iter_mut().for_each(ask);
            streams.iter_mut().for_each(read_page);
        }
        for stream in &mut streams {
            stream.set_read_timeout(Some(5 * PATIENCE)).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(share))));
}

/// Neither many idle connections nor a flood of SYNs keeps a normal load from being served.
#[test]
fn a_load_beside_idle_connections_and_a_flood() {
    let rig = Rig::patient();
    let (host, alone) = (rig.host.clone(), completed(&rig.host));
    thread::scope(|scope| {
        let crowd = scope.spawn(|| host.run_test("crowd_that_is_idle"));
        rig.wait(|| rig.tcp("connections") == CROWD as u64 || crowd.is_finished());
        let flood = rig.host.start_test("client_that_floods");
        rig.wait(|| rig.tcp("syn-cookies-out") > 0);
        // What else this machine does at the time counts as well: one of several tries must do.
        let is_served = (0..ROUNDS).any(|_| {
            let cookies = rig.tcp("syn-cookies-out");
            let beside = completed(&rig.host);
            let cookies = rig.tcp("syn-cookies-out") - cookies;
            println!("{alone} requests alone, {beside} beside the flood, of which {cookies} were answered");
            beside * 100 >= alone * 95 && cookies > 1000
        });
        drop(flood);
        assert!(is_served);
        rig.wait(|| rig.tcp("connections") == CROWD as u64);
        rig.server.stop();
        crowd.join().unwrap();
    });
}

/// How many requests of the normal load were answered in time.
fn completed(host: &Host) -> usize {
    let said = host.run_test("normal_load");
    let count = said.lines().find_map(|line| line.strip_prefix("completed: "));
    count.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

#[test]
#[ignore = "a client"]
fn crowd_that_is_idle() {
    crowd(0);
}

/// Eight connections with 50 requests a second each, whose times are fixed before; late ones catch up.
#[test]
#[ignore = "a client"]
fn normal_load() {
    const EVERY: Duration = Duration::from_millis(20);
    const ALL: u32 = 250;
    let load = || {
        let mut stream = connect(HTTP);
        let start = Instant::now();
        for n in 0..ALL {
            thread::sleep((n * EVERY).saturating_sub(start.elapsed()));
            ask(&mut stream);
            read_page(&mut stream);
            if start.elapsed() > ALL * EVERY {
                return n as usize;
            }
        }
        ALL as usize
    };
    let count: usize = thread::scope(|scope| {
        let loads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
        loads.into_iter().map(|load| load.join().unwrap()).sum()
    });
    println!("\ncompleted: {count}");
}

/// Sends 10,000 SYNs a second, from addresses that nobody has, until it is killed.
#[test]
#[ignore = "a client"]
fn client_that_floods() {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
    let to = SocketAddrV4::new(SERVER, 0).into();
    let start = Instant::now();
    for n in 0_u32.. {
        let packet = syn(Ipv4Addr::from(0xc612_0000 | (n % 0x2_0000)), 1024 + (n % 60_000) as u16);
        // A full queue is no reason to end.
        let _sent = socket.send_to(&packet, &to);
        if n.is_multiple_of(10) {
            thread::sleep((n / 10 * Duration::from_millis(1)).saturating_sub(start.elapsed()));
        }
    }
}

/// A SYN to the server. The kernel fills in the IP header's length and checksum.
fn syn(source: Ipv4Addr, port: u16) -> [u8; 40] {
    let mut packet = [0; 40];
    (packet[0], packet[8], packet[9]) = (0x45, 64, 6);
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&SERVER.octets());
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    packet[22..24].copy_from_slice(&HTTP.to_be_bytes());
    (packet[32], packet[33], packet[34]) = (5 << 4, 2, 0x40);
    // Of addresses, protocol, length and the TCP header (RFC 9293 section 3.1).
    let words = packet[12..].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>() + 6 + 20;
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[36..38].copy_from_slice(&(!(sum + (sum >> 16)) as u16).to_be_bytes());
    packet
}

/// How many clients of each kind vanish.
const GONE: usize = 100;

/// Whatever it was that clients did when they vanished, nothing of them stays.
#[test]
fn clients_that_vanish() {
    let rig = Rig::new(
        "[limits]\ntcp_user_timeout_seconds = 6\ntcp_keepalive_seconds = 1\n",
        "head_seconds = 10\nidle_seconds = 10\nstall_seconds = 2\nlinger_seconds = 1",
    );
    let before = rig.server.memory();
    let clients = rig.host.start_test("clients_in_the_middle");
    let busy = || rig.tcp("connections") == 4 * GONE as u64 && rig.tcp("payload-bytes-in") > 0;
    rig.wait(|| busy() && rig.http("content-bytes") >= (GONE << 24) as u64);
    rig.host.ip("link set eth0 down");
    rig.wait(|| rig.tcp("connections") == 0);
    let grown = rig.server.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown}");
    assert_eq!(rig.tcp("unacknowledged") + rig.tcp("unread") + rig.tcp("in-flight"), 0);
    // Those that echo are asked whether they are there; HTTP's end for what each was about.
    let gone = GONE as u64;
    assert!(rig.tcp("keepalive-probes") >= 9 * gone, "{}", rig.server.show(&["tcp"]));
    assert!(rig.tcp("timed-out") >= gone, "{}", rig.server.show(&["tcp"]));
    for timer in ["stalled", "head-timeouts", "idle-timeouts"] {
        assert!(rig.http(timer) >= gone, "{timer}: {}", rig.server.show(&["http"]));
    }
    drop(clients);
    rig.server.stop();
}

#[test]
#[ignore = "a client"]
fn clients_in_the_middle() {
    raise_limit();
    let mut all = Vec::new();
    for _ in 0..GONE {
        let [mut echo, mut idle, mut head, mut download] = [ECHO, HTTP, HTTP, HTTP].map(connect);
        echo.write_all(b"hello").unwrap();
        echo.read_exact(&mut [0; 5]).unwrap();
        ask(&mut idle);
        read_page(&mut idle);
        head.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
        download.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        all.extend([echo, idle, head, download]);
    }
    // The downloads are read by and by, so that there is always something to send.
    let mut some = vec![0; 64 << 10];
    loop {
        for download in all.iter_mut().skip(3).step_by(4) {
            download.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            match download.read(&mut some) {
                Ok(count) => assert!(count > 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}

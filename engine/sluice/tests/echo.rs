//! The echo server against the kernel's TCP and UDP, over a TAP.
//!
//! The tests that are ignored are the clients: the others run them, one by one, in the namespace of a host
//! of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use common::net::{Host, Net};
use common::{Router, SLUICE, assert_failed, output};

const SERVER: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 2), 7);
const PATIENCE: Duration = Duration::from_secs(30);

fn server_and_host(args: &str) -> (Net, Router, Host) {
    let net = Net::new();
    let args = format!("--device net_tap0,iface=ta --address 10.0.0.2/24 --cores {args}");
    let server = net.serve("echo", &args);
    let host = net.host_on_tap("a", "ta", "10.0.0.1/24", "10.0.0.2");
    (net, server, host)
}

/// One of TCP's counters or gauges.
fn counter(server: &Router, name: &str) -> u64 {
    server.counter("tcp", name)
}

/// Runs a client; nothing of its connections is left.
fn run(client: &str) {
    let (_net, server, host) = server_and_host("0");
    host.run_test(client);
    assert!(common::within(PATIENCE, || counter(&server, "connections") == 0), "{}", server.show(&["tcp"]));
    assert_eq!(counter(&server, "unacknowledged") + counter(&server, "unread"), 0);
    server.stop();
}

/// Byte number `at` of what is sent.
fn byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

fn connect() -> TcpStream {
    let stream = TcpStream::connect_timeout(&SERVER.into(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `len` bytes and closes; what comes back is the same, and then the end.
fn transfer(len: usize) {
    let mut stream = connect();
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let mut chunk = vec![0; 64 << 10];
        for start in (0..len).step_by(chunk.len()) {
            let end = (start + chunk.len()).min(len);
            let chunk = &mut chunk[..end - start];
            chunk.iter_mut().zip(start..).for_each(|(to, at)| *to = byte(at));
            writer.write_all(chunk).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let (mut chunk, mut at) = (vec![0; 256 << 10], 0);
    loop {
        let count = stream.read(&mut chunk).unwrap();
        if count == 0 {
            break;
        }
        let wrong = chunk[..count].iter().zip(at..).position(|(got, at)| *got != byte(at));
        assert_eq!(wrong, None, "from byte {at}");
        at += count;
    }
    assert_eq!(at, len);
    sender.join().unwrap();
}

#[test]
fn what_is_sent_comes_back() {
    run("client_of_all_sizes");
}

#[test]
#[ignore = "a client"]
fn client_of_all_sizes() {
    for len in [0, 1, 1459, 1461, 100_000, 1_000_000] {
        transfer(len);
    }
    let (start, large) = (Instant::now(), 100_000_000);
    transfer(large);
    println!("{:.0} Mbit/s each way", large as f64 * 8.0 / 1e6 / start.elapsed().as_secs_f64());
}

/// Without a namespace or a link of its own: by the other end of the TAP.
#[test]
fn the_host_itself_is_a_client() {
    let net = Net::new();
    let server = net.serve("echo", "--device net_tap0,iface=ta --address 10.0.0.2/24 --cores 0");
    net.router().ip("addr add 10.0.0.1/24 dev ta");
    net.router().run_test("client_that_waits_for_answers");
    server.stop();
}

#[test]
fn question_and_answer() {
    run("client_that_waits_for_answers");
}

#[test]
#[ignore = "a client"]
fn client_that_waits_for_answers() {
    let mut stream = connect();
    stream.set_nodelay(true).unwrap();
    let mut times: Vec<_> = (0..2000)
        .map(|at| {
            let (start, mut answer) = (Instant::now(), [0]);
            stream.write_all(&[byte(at)]).unwrap();
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [byte(at)]);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("round trip: median {:?}, 99 % {:?}", times[1000], times[1980]);
}

#[test]
fn two_hundred_at_once() {
    run("clients_at_once");
}

/// The kernel chooses the queue that a frame comes in by; the flow's owner takes it over.
#[test]
fn two_workers_share_the_connections() {
    let (_net, server, host) = server_and_host("0,1");
    host.run_test("clients_at_once");
    host.run_test("client_of_datagrams");
    assert!(common::within(PATIENCE, || counter(&server, "passive-opens") == 200));
    let all = server.ask(&["tcp"]);
    let opens = all.as_array().unwrap().iter().find(|row| row["name"] == "passive-opens").unwrap();
    let shares: Vec<_> = opens["by_worker"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert!(shares.len() == 2 && shares.iter().all(|n| *n >= 50), "{opens}");
    assert_eq!(server.drops("tcp-no-port"), 0);
    server.stop();
}

#[test]
fn a_command_line_that_is_wrong() {
    for (args, parts) in [
        ("--device net_tap0 --address 10.0.0.2", &["`addresses`", "\"10.0.0.2/24\""][..]),
        ("--device net_tap0 --address 10.0.0.2/24 --gateway 10.0.1.1", &["10.0.1.1", "10.0.0.0/24"]),
        ("--device net_tap0 --address 10.0.0.2/24 --cores 5000", &["core 5000"]),
    ] {
        let done = output(Command::new(SLUICE).arg("echo").args(args.split(' ')));
        assert_failed(done.status.success(), &String::from_utf8_lossy(&done.stderr), parts);
    }
}

#[test]
#[ignore = "a client"]
fn clients_at_once() {
    let clients: Vec<_> = (0..200).map(|n| std::thread::spawn(move || transfer(50_000 + n))).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn clients_that_are_rude() {
    run("client_that_resets");
}

#[test]
#[ignore = "a client"]
fn client_that_resets() {
    for _ in 0..20 {
        let mut stream = connect();
        stream.write_all(&[7; 50_000]).unwrap();
        stream.peek(&mut [0]).unwrap();
        // Closed with bytes unread: the kernel resets it.
    }
    let closed = SocketAddrV4::new(*SERVER.ip(), 8);
    let refused = TcpStream::connect_timeout(&closed.into(), PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn datagrams() {
    run("client_of_datagrams");
}

#[test]
#[ignore = "a client"]
fn client_of_datagrams() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = vec![0; 65_536];
    // The last ones in fragments, both ways.
    for len in [0, 1, 1471, 1472, 1473, 4000, 60_000] {
        let data: Vec<u8> = (0..len).map(byte).collect();
        socket.send_to(&data, SERVER).unwrap();
        let (count, from) = socket.recv_from(&mut answer).unwrap();
        assert_eq!((from, count), (SERVER.into(), len));
        assert!(answer[..count] == data);
    }
    socket.connect(SocketAddrV4::new(*SERVER.ip(), 8)).unwrap();
    socket.send(b"nobody listens").unwrap();
    assert_eq!(socket.recv(&mut answer).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// The two for bulk, at the ports that they have by custom.
#[test]
fn modes() {
    let (_net, server, host) = server_and_host("0 --mode chargen");
    let lines = host.bash("exec 3<>/dev/tcp/10.0.0.2/19; echo hello >&3; head -n 96 <&3");
    assert!(lines.starts_with(" !\"#$%&'()*+") && lines.contains("ABCDEFG") && lines.lines().count() == 96);
    assert!(common::within(PATIENCE, || counter(&server, "connections") == 0));
    server.stop();
    let (_net, server, host) = server_and_host("0 --mode discard");
    let back = host.bash(
        "echo dropped >/dev/udp/10.0.0.2/9; exec 3<>/dev/tcp/10.0.0.2/9; head -c 100000 /dev/zero >&3; \
         timeout 0.2 cat <&3",
    );
    assert_eq!(back, "");
    assert!(common::within(PATIENCE, || counter(&server, "payload-bytes-in") == 100_000));
    server.stop();
}

/// What is told of the one connection of a server, of which it has sent "hello" back.
fn one_connection(server: &Router) {
    let all = server.ask(&["connections"]);
    let end = |name: &str| all["connections"][0][name].as_str().unwrap().to_owned();
    let flow = format!("{}-{}", end("local"), end("remote"));
    let text = server.show(&["connection", &flow]);
    assert!(["ESTAB", "timestamps, sack", "cubic"].iter().all(|part| text.contains(part)), "{text}");
    assert!(!text.contains("EVENT"), "{text}");
    let file = server.home.path("connection.pcapng");
    let text = server.show(&["connection", &flow, "--events", "--pcapng", file.to_str().unwrap()]);
    let events: Vec<_> =
        text.lines().filter(|l| l.contains(" sent  ") || l.contains(" received  ")).collect();
    let is_answer = |line: &&&str| line.contains("PSH ACK") && line.contains(" 6 ");
    assert_eq!(events.iter().filter(is_answer).count(), 2, "{text}");
    assert!(std::fs::metadata(&file).unwrap().len() > 100);
    if Command::new("tcpdump").arg("--version").output().is_ok() {
        let read = output(Command::new("tcpdump").args(["-nr", file.to_str().unwrap()]));
        let packets = String::from_utf8(read.stdout).unwrap();
        assert!(read.status.success() && packets.lines().count() == events.len(), "{packets}");
        assert!(packets.contains("10.0.0.2.77 > 10.0.0.1.") && packets.contains("length 6"), "{packets}");
    } else {
        println!("tcpdump is not installed: it has not read the file");
    }
    let none = server.show_raw(&["connection", "10.0.0.2:77-10.0.0.1:1"]);
    let error = String::from_utf8_lossy(&none.stderr);
    assert_failed(none.status.success(), &error, &["no such connection"]);
}

#[test]
fn what_an_operator_sees() {
    let (_net, server, host) = server_and_host("0 --port 77");
    let listeners = server.show(&["listeners"]);
    assert!(listeners.contains("0.0.0.0:77") && listeners.contains("1024"), "{listeners}");
    // The kernel's end is half open: it has closed nothing, and says nothing.
    let shell = host.shell("exec 3<>/dev/tcp/10.0.0.2/77; echo hello >&3; head -c 6 <&3; sleep 60");
    let seen = || server.ask(&["connections"])["connections"].as_array().is_some_and(|c| c.len() == 1);
    assert!(common::within(PATIENCE, seen));
    let table = server.show(&["connections"]);
    assert!(
        ["10.0.0.2:77", "10.0.0.1:", "ESTAB", "1 of 1"].iter().all(|part| table.contains(part)),
        "{table}"
    );
    assert!(common::within(PATIENCE, || counter(&server, "payload-bytes-in") == 6));
    assert!(server.show(&["tcp"]).contains("passive-opens") && !server.show(&["tcp"]).contains("aborted"));
    assert!(server.show(&["tcp", "--all"]).contains("aborted"));
    one_connection(&server);
    drop(shell);
    server.stop();
}

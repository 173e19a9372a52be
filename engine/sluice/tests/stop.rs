//! Stopping under load: the kernel's clients get what was begun, and then the end.
//!
//! The tests that are ignored are the clients: the others run them, one by one, in the namespace of a host
//! of their own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use common::net::{Host, Net};
use common::{Router, within};

const SERVER: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 2), 7);
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections, and the bytes that each sends: more than the kernel's windows take, so that the server still
/// has some when it is asked to stop.
const CONNECTIONS: usize = 1000;
const LEN: usize = 16_000;

fn server_and_host(stop_seconds: u16) -> (Net, Router, Host) {
    let net = Net::new();
    let server = net.run(&format!(
        r#"
[workers]
cores = [0, 1]
stop_seconds = {stop_seconds}
[[port]]
name = "a"
device = "net_tap0,iface=ta"
addresses = ["10.0.0.2/24"]
[[service]]
kind = "echo"
"#
    ));
    let host = net.host_on_tap("a", "ta", "10.0.0.1/24", "10.0.0.2");
    host.sysctl("net/ipv4/tcp_rmem", "4096 8192 8192");
    (net, server, host)
}

/// Waits until the server has taken so many bytes.
fn wait_for_bytes(server: &Router, count: usize) {
    let taken = || server.counter("tcp", "payload-bytes-in");
    assert!(within(PATIENCE, || taken() >= count as u64), "{} of {count}", taken());
}

fn connect() -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SERVER.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What connection number `n` sends.
fn data(n: usize) -> Vec<u8> {
    (0..LEN).map(|at| (at ^ (at >> 8) ^ n) as u8).collect()
}

/// Until the server refuses, which is how it says that it stops.
fn wait_until_it_stops() {
    let start = Instant::now();
    loop {
        match connect() {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            _ => assert!(start.elapsed() < PATIENCE, "it does not stop"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_thousand_transfers_are_finished() {
    let (_net, server, host) = server_and_host(60);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| host.run_test("client_that_reads_after_the_stop"));
        wait_for_bytes(&server, CONNECTIONS * LEN);
        let last = server.stop();
        assert!(!last.contains("reset"), "{last}");
        client.join().unwrap();
    });
}

#[test]
#[ignore = "a client"]
fn client_that_reads_after_the_stop() {
    let mut streams: Vec<_> = (0..CONNECTIONS).map(|_| connect().unwrap()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&data(n)).unwrap();
    }
    wait_until_it_stops();
    for (n, stream) in streams.iter_mut().enumerate() {
        let mut back = vec![];
        stream.read_to_end(&mut back).unwrap();
        assert!(back == data(n), "connection {n}: {} of {LEN} bytes", back.len());
    }
}

#[test]
fn who_never_reads_is_reset() {
    let (_net, server, host) = server_and_host(2);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| host.run_test("client_that_never_reads"));
        wait_for_bytes(&server, LEN);
        let start = Instant::now();
        let log = server.stop();
        assert!(start.elapsed() >= Duration::from_secs(2));
        assert!(log.contains("connections not finished within 2 s, now reset: 1"), "{log}");
        client.join().unwrap();
    });
}

#[test]
#[ignore = "a client"]
fn client_that_never_reads() {
    let mut stream = connect().unwrap();
    stream.write_all(&data(1)).unwrap();
    wait_until_it_stops();
    let start = Instant::now();
    // What is written is taken until the reset comes, which the next write tells.
    while stream.write_all(&[1]).is_ok() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
    let error = stream.take_error().unwrap().map_or(ErrorKind::ConnectionReset, |error| error.kind());
    assert_eq!(error, ErrorKind::ConnectionReset);
}

#[test]
fn a_second_signal_stops_at_once() {
    let (_net, server, host) = server_and_host(3600);
    let _client = host.shell("exec 3<>/dev/tcp/10.0.0.2/7; echo hello >&3; sleep 60");
    wait_for_bytes(&server, 6);
    server.signal("TERM");
    // The client has closed nothing.
    assert!(within(PATIENCE, || {
        let all = server.ask(&["connections"]);
        all["connections"][0]["state"] == "FIN-WAIT-2"
    }));
    server.stop();
}

//! Bulk, against the kernel's TCP over a TAP: whole, without and with loss, and without a pause.
//!
//! The tests that are ignored are clients of our own, which the others run in the namespace of a host; and the
//! same as here for longer.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::net::{Host, Net};
use common::{Router, output};
use tempfile::TempDir;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const GIB: usize = 1 << 30;

/// A server of a file of a GiB.
struct Rig {
    folder: TempDir,
    host: Host,
    server: Router,
    _net: Net,
}

impl Rig {
    fn new() -> Rig {
        let (net, folder) = (Net::new(), tempfile::tempdir().unwrap());
        write_file(&folder);
        let server = net.run(&format!(
            "[[port]]\nname = \"a\"\ndevice = \"net_tap0,iface=ta\"\naddresses = [\"10.0.0.2/24\"]\n\
             [workers]\ncores = [0]\n[[service]]\nkind = \"http\"\nroot = {:?}\nmemory_mb = 1100\n",
            folder.path().to_str().unwrap()
        ));
        assert!(server.log().contains("  1025 MiB  files and pages\n"), "{}", server.log());
        let host = net.host_on_tap("a", "ta", "10.0.0.1/24", "10.0.0.2");
        Rig { folder, host, server, _net: net }
    }

    /// Gets the first `len` bytes of the file; they must be the same. Gives how long it took.
    fn download(&self, len: usize) -> Duration {
        let (start, file) = (Instant::now(), self.folder.path().join("large"));
        let get = format!("curl -sS -m 500 -r 0-{} http://{SERVER}/large | sha256sum", len - 1);
        let got = self.host.bash_within(600, &get);
        let time = start.elapsed();
        let hash = format!("head -c {len} {} | sha256sum", file.display());
        let same = output(Command::new("bash").args(["-c", &hash]));
        assert_eq!(got, String::from_utf8_lossy(&same.stdout));
        println!("{len} bytes in {time:?}: {:.3} Gbit/s", len as f64 * 8.0 / 1e9 / time.as_secs_f64());
        time
    }

    fn stop(self) {
        assert!(common::within(Duration::from_secs(60), || self.server.counter("tcp", "connections") == 0));
        assert_eq!(self.server.counter("tcp", "payload-bytes-copied"), 0);
        self.server.stop();
    }
}

/// A file of a GiB, in which no two places are the same.
fn write_file(folder: &TempDir) {
    let mut file = fs::File::create(folder.path().join("large")).unwrap();
    let mut state = 88_172_645_463_325_252_u64;
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..GIB / chunk.len() {
        for word in chunk.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&chunk).unwrap();
    }
}

/// A GiB comes whole; and an eighth of one, where two packets of a hundred are lost each way.
#[test]
fn a_download() {
    let rig = Rig::new();
    rig.download(GIB);
    rig.host.lose(2);
    rig.download(GIB / 8);
    let again = rig.server.counter("tcp", "retransmitted");
    assert!(again > 1000, "{again}: nothing was lost");
    rig.stop();
}

/// The kernel's own CUBIC takes as long over such rules, from a server behind a veth pair without offloads: most
/// of it is waiting for the 200 ms of a retransmission timeout, when a few segments are in flight and all are lost.
#[test]
#[ignore = "takes two minutes"]
fn a_gibibyte_with_loss() {
    let rig = Rig::new();
    rig.host.lose(2);
    rig.download(GIB);
    println!("{}", rig.server.show(&["tcp"]));
    rig.stop();
}

/// A discard and a chargen server, with a host.
fn bulk_servers() -> (Net, Router, Host) {
    let net = Net::new();
    let server = net.run(
        "[[port]]\nname = \"a\"\ndevice = \"net_tap0,iface=ta\"\naddresses = [\"10.0.0.2/24\"]\n\
         [workers]\ncores = [0]\n[[service]]\nkind = \"discard\"\n[[service]]\nkind = \"chargen\"\n",
    );
    let host = net.host_on_tap("a", "ta", "10.0.0.1/24", "10.0.0.2");
    (net, server, host)
}

/// Bulk one way, then the other, and both at once.
fn bulk(clients: &[&str]) {
    let (_net, server, host) = bulk_servers();
    for client in clients {
        host.run_test(client);
        assert!(common::within(Duration::from_secs(60), || server.counter("tcp", "connections") == 0));
    }
    assert_eq!(server.counter("tcp", "payload-bytes-copied"), 0);
    server.stop();
}

#[test]
fn bulk_both_directions() {
    bulk(&["client_of_bulk"]);
}

#[test]
#[ignore = "takes two minutes"]
fn bulk_for_long() {
    bulk(&["client_that_sends_for_long", "client_that_receives_for_long", "client_of_bulk_for_long"]);
}

#[test]
#[ignore = "a client"]
fn client_of_bulk() {
    // On a machine that is busy with other things a thread may wait for its turn.
    both(Duration::from_secs(10), Duration::from_secs(5));
}

#[test]
#[ignore = "a client"]
fn client_of_bulk_for_long() {
    both(LONG, STALL);
}

#[test]
#[ignore = "a client"]
fn client_that_sends_for_long() {
    send(LONG, STALL);
}

#[test]
#[ignore = "a client"]
fn client_that_receives_for_long() {
    receive(LONG, STALL);
}

const LONG: Duration = Duration::from_secs(30);
const STALL: Duration = Duration::from_millis(500);

fn both(time: Duration, stall: Duration) {
    std::thread::scope(|scope| {
        scope.spawn(|| send(time, stall));
        scope.spawn(|| receive(time, stall));
    });
}

/// A connection that fails when it stands still for `stall`.
fn connect(port: u16, stall: Duration) -> TcpStream {
    let stream = TcpStream::connect(SocketAddrV4::new(SERVER, port)).unwrap();
    stream.set_read_timeout(Some(stall)).unwrap();
    stream.set_write_timeout(Some(stall)).unwrap();
    stream
}

fn say(what: &str, bytes: usize, start: Instant) {
    println!("{what}: {:.3} Gbit/s", bytes as f64 * 8.0 / 1e9 / start.elapsed().as_secs_f64());
}

fn send(time: Duration, stall: Duration) {
    let mut stream = connect(9, stall);
    let (start, chunk, mut bytes) = (Instant::now(), vec![7; 64 << 10], 0);
    while start.elapsed() < time {
        bytes += stream.write(&chunk).unwrap();
    }
    say("sent", bytes, start);
    assert!(bytes > 10 << 20, "{bytes}");
}

fn receive(time: Duration, stall: Duration) {
    let mut stream = connect(19, stall);
    let (start, mut chunk, mut bytes) = (Instant::now(), vec![0; 256 << 10], 0);
    let mut lines = Vec::new();
    for line in 0..95_u8 {
        lines.extend((0..72).map(|column| b' ' + (line + column) % 95));
        lines.extend(b"\r\n");
    }
    let period = lines.len();
    lines.extend(lines.repeat(2 + chunk.len() / period));
    while start.elapsed() < time {
        let count = stream.read(&mut chunk).unwrap();
        let at = bytes % period;
        assert!(count > 0 && chunk[..count] == lines[at..at + count], "after {bytes} bytes");
        bytes += count;
    }
    say("received", bytes, start);
    assert!(bytes > 10 << 20, "{bytes}");
}

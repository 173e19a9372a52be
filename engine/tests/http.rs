//! The HTTP server on whole workers, in virtual time, with a TCP host at the far end of a port.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

#[path = "../http1/tests/cases/mod.rs"]
mod cases;
mod common;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddrV4;
use std::time::Duration;

use common::peer::Peer;
use common::{Net, two_ports};
use engine::api::{Reply, Request};
use engine::host::Gauge;
use tcp::connection::State;
use tcp::shard::{ConnectionId, Received};

const LAN: usize = 0;
const A: [u8; 4] = [10, 0, 1, 10];
const US: SocketAddrV4 = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 1, 1), 80);

/// A server, and a client's host.
struct Rig {
    net: Net,
    peer: Peer,
    _root: tempfile::TempDir,
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

impl Rig {
    /// A server of a few files and pages. `more` belongs to the service.
    fn new(cores: &str, more: &str) -> Rig {
        Rig::with_peer(cores, more, tcp::Config::default())
    }

    fn with_peer(cores: &str, more: &str, config: tcp::Config) -> Rig {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        file("index.html", b"<h1>home</h1>");
        file("large.bin", &pattern(3_000_000));
        file("sub/index.html", b"below");
        file("sub/a b%.txt", b"odd name");
        file("empty", b"");
        file(".secret", b"no");
        file(".well-known/x", b"known");
        std::os::unix::fs::symlink("sub/index.html", root.path().join("link.html")).unwrap();
        let service = format!(
            "[[service]]\nkind = \"http\"\nroot = {:?}\nstatus = \"/status\"\n{more}\n\
             [[service.page]]\npath = \"/hello\"\ntype = \"text/plain\"\nbody = \"hello, world\"\n",
            root.path().to_str().unwrap()
        );
        let mut net = Net::new(&two_ports(cores, &service));
        let mut peer = Peer::new(&mut net, LAN, 10, A, config);
        peer.settle(&mut net);
        Rig { net, peer, _root: root }
    }

    fn connect(&mut self) -> ConnectionId {
        let id = self.peer.connect(self.net.now(), US);
        self.peer.settle(&mut self.net);
        assert_eq!(self.peer.shard.info(id).unwrap().state, State::Established);
        id
    }

    fn give(&mut self, id: ConnectionId, bytes: &[u8]) {
        assert_eq!(self.peer.give(self.net.now(), id, bytes), bytes.len());
        self.peer.settle(&mut self.net);
    }

    /// Takes all that comes without time passing; and what comes after it.
    fn take(&mut self, id: ConnectionId) -> (Vec<u8>, Received<sim::SimPayload>) {
        let mut all = vec![];
        loop {
            self.peer.settle(&mut self.net);
            let (bytes, then) = self.peer.take(self.net.now(), id);
            self.net.take_sent();
            if bytes.is_empty() {
                return (all, then);
            }
            all.extend(bytes);
        }
    }

    /// Sends a request on a connection of its own, and closes; gives the response.
    fn ask(&mut self, request: &str) -> Response {
        let id = self.connect();
        self.give(id, request.as_bytes());
        self.peer.shard.shutdown(self.net.now(), id);
        let mut all = vec![];
        let mut over = false;
        for _ in 0..4000 {
            let (bytes, then) = self.take(id);
            all.extend(bytes);
            over = matches!(then, Received::End);
            if over {
                break;
            }
            self.net.clock.advance(Duration::from_micros(500));
        }
        assert!(over, "{request}: no end after {} bytes", all.len());
        self.peer.shard.close(self.net.now(), id);
        Response::parse(&all)
    }

    fn get(&mut self, path: &str, fields: &str) -> Response {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    fn pass(&mut self, seconds: u64) {
        self.peer.pass(&mut self.net, Duration::from_secs(seconds));
        self.net.take_sent();
    }

    fn counter(&mut self, name: &str) -> u64 {
        let Some(Reply::Http(all)) = self.net.control.handle_request(self.net.now(), &Request::Http) else {
            panic!()
        };
        all.iter().find(|counter| counter.name == name).unwrap_or_else(|| panic!("{name}")).value
    }

    fn gauge(&self, gauge: Gauge) -> u64 {
        self.net.workers.iter().map(|worker| worker.host_counters().gauge(gauge)).sum()
    }

    /// At the end nothing is held for a connection, no byte was copied, and no frame is lost.
    fn finish(mut self) {
        self.pass(10);
        for kind in [Gauge::Connections, Gauge::Unacknowledged, Gauge::Unread, Gauge::InFlight] {
            assert_eq!(self.gauge(kind), 0, "{kind:?}");
        }
        assert!(self.net.workers.iter().all(|worker| worker.host_counters().copied.get() == 0));
        self.net.finish();
        drop(self.peer.shard);
        assert!(self.peer.pool.is_full());
    }
}

#[derive(Debug)]
struct Response {
    status: u16,
    fields: HashMap<String, String>,
    body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Response {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let (line, fields) = head.split_once("\r\n").unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let status = line.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        Response {
            status,
            fields: fields.split("\r\n").map(field).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    #[track_caller]
    fn assert(&self, status: u16, body: &[u8]) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body == body, "{status}: {} bytes, {:?}", self.body.len(), self.fields);
        if status != 304 {
            assert_eq!(self.field("content-length"), body.len().to_string());
        }
        assert!(self.field("date").ends_with(" GMT") && self.field("server") == "sluice");
    }
}

#[test]
fn every_case() {
    let limits = format!(
        "target_bytes = {}\nhead_bytes = {}\nbody_bytes = {}",
        cases::TARGET,
        cases::HEAD,
        cases::BODY
    );
    let mut rig = Rig::new("[0]", &limits);
    let of_group = |(group, cases): &(&str, &'static [cases::Case])| {
        let start = if group.contains("chunks") { cases::CHUNKED } else { "" };
        cases.iter().map(move |(bytes, said)| (format!("{start}{bytes}"), *said))
    };
    for (bytes, said) in cases::CASES.iter().flat_map(of_group).chain(cases::long_cases()) {
        for cut in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            let id = rig.connect();
            rig.give(id, &bytes.as_bytes()[..cut]);
            rig.give(id, &bytes.as_bytes()[cut..]);
            let (back, then) = rig.take(id);
            let text = String::from_utf8_lossy(&back);
            let statuses = text.split("HTTP/1.1 ").skip(1).map(|answer| match &answer[..3] {
                // The cases have every path lead somewhere.
                "404" | "301" => "200",
                status => status,
            });
            let end = if matches!(then, Received::End) { "close" } else { "open" };
            let is = statuses.chain([end]).collect::<Vec<_>>().join(" ");
            let said = said.replace("head", "open").replace("body", "open");
            assert_eq!(is, said, "{bytes:?}");
            rig.peer.shard.close(rig.net.now(), id);
            rig.peer.settle(&mut rig.net);
        }
    }
    rig.finish();
}

#[test]
fn files_and_pages() {
    let mut rig = Rig::new("[0, 1]", "");
    rig.get("/", "").assert(200, b"<h1>home</h1>");
    let home = rig.get("/index.html", "");
    home.assert(200, b"<h1>home</h1>");
    assert_eq!(home.field("content-type"), "text/html; charset=utf-8");
    rig.get("/hello", "").assert(200, b"hello, world");
    rig.get("/hello?a=b", "").assert(200, b"hello, world");
    rig.get("/%68ello", "").assert(200, b"hello, world");
    rig.get("/x/../hello", "").assert(200, b"hello, world");
    rig.get("http://a/hello", "").assert(200, b"hello, world");
    rig.get("/sub/a%20b%25.txt", "").assert(200, b"odd name");
    rig.get("/link.html", "").assert(200, b"below");
    rig.get("/empty", "").assert(200, b"");
    rig.get("/.well-known/x", "").assert(200, b"known");
    rig.get("/large.bin", "").assert(200, &pattern(3_000_000));
    let there = rig.get("/sub", "");
    there.assert(301, b"301 Moved Permanently");
    assert_eq!(there.field("location"), "/sub/");
    rig.get("/sub/", "").assert(200, b"below");
    for missing in ["/none", "/.secret", "/sub/none", "/index.html/", "//", "/sub%2Findex.html", "/HELLO"] {
        rig.get(missing, "").assert(404, b"404 Not Found");
    }
    rig.get("/../hello", "").assert(400, b"400 Bad Request");
    let head = rig.ask("HEAD /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (200, "3000000", 0));
    let missing = rig.ask("HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((missing.status, missing.field("content-length"), missing.body.len()), (404, "13", 0));
    let refused = rig.ask("POST /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    refused.assert(405, b"405 Method Not Allowed");
    assert_eq!(refused.field("allow"), "GET, HEAD, OPTIONS");
    let options = rig.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    options.assert(200, b"");
    assert_eq!(options.field("allow"), "GET, HEAD, OPTIONS");
    let old = rig.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    old.assert(200, b"hello, world");
    assert_eq!(old.field("connection"), "keep-alive");
    rig.finish();
}

#[test]
fn conditions_and_ranges() {
    let mut rig = Rig::new("[0]", "");
    let first = rig.get("/large.bin", "");
    let (etag, modified) = (first.field("etag"), first.field("last-modified"));
    assert!(etag.starts_with('"') && modified.ends_with("GMT") && first.field("accept-ranges") == "bytes");
    let same = rig.get("/large.bin", &format!("If-None-Match: \"x\", {etag}\r\n"));
    same.assert(304, b"");
    assert_eq!((same.field("etag"), same.field("content-length")), (etag, ""));
    rig.get("/large.bin", &format!("If-Modified-Since: {modified}\r\n")).assert(304, b"");
    rig.get("/large.bin", "If-Match: \"x\"\r\n").assert(412, b"412 Precondition Failed");
    let whole = pattern(3_000_000);
    let part = rig.get("/large.bin", "Range: bytes=1000000-1999999\r\n");
    part.assert(206, &whole[1_000_000..2_000_000]);
    assert_eq!(part.field("content-range"), "bytes 1000000-1999999/3000000");
    rig.get("/large.bin", "Range: bytes=-7\r\n").assert(206, &whole[2_999_993..]);
    let range = format!("Range: bytes=0-0\r\nIf-Range: {etag}\r\n");
    rig.get("/large.bin", &range).assert(206, &whole[..1]);
    rig.get("/hello", "Range: bytes=0-4\r\nIf-Range: \"x\"\r\n").assert(200, b"hello, world");
    rig.get("/hello", "Range: bytes=0-1,3-4\r\n").assert(200, b"hello, world");
    let none = rig.get("/hello", "Range: bytes=12-\r\n");
    none.assert(416, b"416 Range Not Satisfiable");
    assert_eq!(none.field("content-range"), "bytes */12");
    rig.get("/empty", "Range: bytes=0-\r\n").assert(416, b"416 Range Not Satisfiable");
    rig.finish();
}

#[test]
fn what_caches_are_told() {
    let mut rig = Rig::new("[0]", "cache_control = \"max-age=60\"");
    let first = rig.get("/hello", "");
    let known = format!("If-None-Match: {}\r\n", first.field("etag"));
    for (path, fields, status) in [
        ("/hello", "", 200),
        ("/hello", "Range: bytes=0-1\r\n", 206),
        ("/hello", &known, 304),
        ("/sub", "", 301),
    ] {
        let answer = rig.get(path, fields);
        assert_eq!((answer.status, answer.field("cache-control")), (status, "max-age=60"));
    }
    assert_eq!(rig.get("/none", "").field("cache-control"), "");
    rig.finish();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut rig = Rig::new("[0]", "");
    let id = rig.connect();
    let paths = ["/hello", "/none", "/sub", "/empty", "/", "/sub/"];
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let all: String = (0..300).map(|n| request(paths[n % paths.len()])).collect();
    rig.give(id, all.as_bytes());
    let (back, _) = rig.take(id);
    let text = String::from_utf8(back).unwrap();
    let statuses: Vec<_> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses.len(), 300);
    assert!(statuses.chunks(6).all(|six| six == ["200", "404", "301", "200", "200", "200"]));
    assert_eq!((rig.counter("requests"), rig.counter("responses-2xx")), (300, 200));
    // What is short shares buffers; of what comes alone no byte is copied.
    let copied = rig.counter("content-bytes-copied");
    assert!((1..=rig.counter("content-bytes")).contains(&copied), "{copied}");
    rig.get("/hello", "").assert(200, b"hello, world");
    assert_eq!(rig.counter("content-bytes-copied"), copied);
    rig.peer.shard.close(rig.net.now(), id);
    rig.finish();
}

/// A client that reads nothing is sent no more than it takes, and what it asks for meanwhile waits.
#[test]
fn slow_readers_are_bounded() {
    let config = tcp::Config { receive_buffer: 16_384, receive_buffer_max: 16_384, ..tcp::Config::default() };
    let mut rig = Rig::with_peer("[0]", "stall_seconds = 20", config);
    let id = rig.connect();
    let request = "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n";
    rig.give(id, request.repeat(20).as_bytes());
    rig.pass(15);
    assert_eq!(rig.gauge(Gauge::Connections), 1);
    // It takes some, and is waited for again.
    let (some, _) = rig.peer.take(rig.net.now(), id);
    assert!((1..=16_384).contains(&some.len()), "{}", some.len());
    rig.pass(20);
    assert_eq!((rig.counter("stalled"), rig.gauge(Gauge::Connections)), (0, 1));
    rig.pass(20);
    assert_eq!((rig.counter("stalled"), rig.gauge(Gauge::Connections)), (1, 0));
    rig.finish();
}

#[test]
fn what_takes_too_long_ends() {
    let limits = "head_seconds = 3\nbody_seconds = 5\nidle_seconds = 8\nlinger_seconds = 2";
    let mut rig = Rig::new("[0]", limits);
    let partial = ["GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"];
    let [head, body] = partial.map(|bytes| {
        let id = rig.connect();
        rig.give(id, bytes.as_bytes());
        id
    });
    let silent = rig.connect();
    let idle = rig.connect();
    rig.give(idle, b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(matches!(rig.take(idle), (response, Received::Nothing) if !response.is_empty()));
    // A byte now and then changes nothing.
    rig.pass(2);
    rig.give(head, b"T");
    rig.pass(2);
    Response::parse(&rig.take(head).0).assert(408, b"408 Request Timeout");
    assert!(matches!(rig.take(silent), (none, Received::End) if none.is_empty()));
    assert!(matches!(rig.take(body), (none, Received::Nothing) if none.is_empty()));
    rig.pass(3);
    Response::parse(&rig.take(body).0).assert(408, b"408 Request Timeout");
    assert!(matches!(rig.take(idle), (_, Received::Nothing)));
    rig.pass(4);
    assert!(matches!(rig.take(idle), (_, Received::End)));
    for (name, count) in [("head-timeouts", 1), ("body-timeouts", 1), ("idle-timeouts", 2)] {
        assert_eq!(rig.counter(name), count, "{name}");
    }
    // None of them closes its side: the server gives them up.
    rig.pass(4);
    assert_eq!(rig.counter("linger-timeouts"), 4);
    rig.pass(65);
    assert_eq!(rig.gauge(Gauge::Connections), 0);
    rig.finish();
}

#[test]
fn an_error_is_not_overtaken_by_a_reset() {
    let mut rig = Rig::new("[0]", "body_bytes = 10");
    let id = rig.connect();
    rig.give(id, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    // It sends on, whatever it is told.
    for _ in 0..50 {
        rig.give(id, &[b'x'; 2000]);
    }
    let (back, then) = rig.take(id);
    Response::parse(&back).assert(413, b"413 Content Too Large");
    assert!(matches!(then, Received::End), "{then:?}");
    rig.peer.shard.close(rig.net.now(), id);
    rig.finish();
}

#[test]
fn bodies_are_asked_for_and_read() {
    let mut rig = Rig::new("[0]", "");
    let id = rig.connect();
    rig.give(id, b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(rig.take(id).0, b"HTTP/1.1 100 Continue\r\n\r\n");
    rig.give(id, b"hello");
    Response::parse(&rig.take(id).0).assert(200, b"hello, world");
    assert_eq!(rig.counter("body-bytes"), 5);
    rig.peer.shard.close(rig.net.now(), id);
    rig.finish();
}

#[test]
fn the_status_page() {
    let mut rig = Rig::new("[0, 1]", "");
    for _ in 0..10 {
        rig.get("/hello", "");
    }
    let page = rig.get("/status", "");
    assert_eq!((page.status, page.field("cache-control")), (200, "no-store"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("sluice_http_requests 11\n"), "{text}");
    rig.finish();
}

#[test]
fn a_stop_finishes_what_was_begun() {
    let mut rig = Rig::new("[0]", "");
    let [idle, asking, loading] = [0; 3].map(|_| rig.connect());
    rig.give(asking, b"GET /hello HTTP/1.1\r\nHos");
    let now = rig.net.now();
    rig.peer.give(now, loading, b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    rig.peer.step(&mut rig.net);
    rig.net.step();
    rig.net.control.stop(now);
    let mut large = vec![];
    for _ in 0..3000 {
        let (bytes, then) = rig.take(loading);
        large.extend(bytes);
        if matches!(then, Received::End) {
            break;
        }
        rig.net.clock.advance(Duration::from_micros(500));
    }
    Response::parse(&large).assert(200, &pattern(3_000_000));
    assert!(matches!(rig.take(idle), (none, Received::End) if none.is_empty()));
    rig.give(asking, b"t: a\r\n\r\n");
    let (back, then) = rig.take(asking);
    let last = Response::parse(&back);
    last.assert(200, b"hello, world");
    assert_eq!(last.field("connection"), "close");
    assert!(matches!(then, Received::End));
    for id in [idle, asking, loading] {
        rig.peer.shard.close(rig.net.now(), id);
    }
    rig.pass(1);
    assert!(rig.net.control.has_stopped());
    rig.finish();
}

/// Answers fill a buffer, and then comes a request whose body is not waited for.
#[test]
fn a_refusal_does_not_wait_for_its_body() {
    let mut rig = Rig::new("[0]", "");
    let id = rig.connect();
    let missing = "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n".repeat(35);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    rig.give(id, (missing + post).as_bytes());
    let (back, then) = rig.take(id);
    let back = String::from_utf8(back).unwrap();
    assert_eq!((back.matches("HTTP/1.1 404 ").count(), back.matches("HTTP/1.1 405 ").count()), (35, 1));
    assert!(matches!(then, Received::End));
    rig.peer.shard.close(rig.net.now(), id);
    rig.pass(1);
    rig.finish();
}

#[test]
fn a_refused_head_request_has_no_content() {
    let mut rig = Rig::new("[0]", "");
    let back = rig.ask("HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!((back.status, back.body.len()), (400, 0));
    rig.finish();
}

#[test]
fn a_request_whose_body_ends_after_the_stop_is_the_last() {
    let mut rig = Rig::new("[0]", "");
    let id = rig.connect();
    rig.give(id, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    rig.net.control.stop(rig.net.now());
    rig.peer.settle(&mut rig.net);
    rig.give(id, b"lo");
    let (back, then) = rig.take(id);
    let last = Response::parse(&back);
    assert_eq!((last.status, last.field("connection")), (405, "close"));
    assert!(matches!(then, Received::End));
    rig.peer.shard.close(rig.net.now(), id);
    rig.pass(1);
    assert!(rig.net.control.has_stopped());
    rig.finish();
}

/// What cannot be served as it is, is not served at all.
#[test]
fn roots_that_are_refused() {
    let load = |root: &std::path::Path, more: &str| {
        let text = format!("[[service]]\nkind = \"http\"\nroot = {:?}\n{more}", root.to_str().unwrap());
        let config = common::config(&two_ports("[0]", &text));
        let env = common::SimEnv::Virtual(sim::Clock::new());
        engine::app::Services::load(&config.services, 1, &env).err().map(|error| error.to_string())
    };
    let root = tempfile::tempdir().unwrap();
    assert_eq!(load(root.path(), ""), None);
    for name in ["a", "b"] {
        fs::write(root.path().join(name), vec![0; 700_000]).unwrap();
    }
    assert_eq!(load(root.path(), ""), None);
    let refused = |more: &str, why: &str| {
        let error = load(root.path(), more).unwrap();
        assert!(error.contains(why) && error.starts_with("http 0.0.0.0:80: "), "{error}");
    };
    refused("files = 1", "more files than `files`, 1, allows");
    refused("memory_mb = 1", "its contents take 2 MiB, more than `memory_mb`, 1, allows");
    std::os::unix::fs::symlink("/etc/passwd", root.path().join("out")).unwrap();
    refused("", "out: this link leads out of the root, to /etc/passwd");
    fs::remove_file(root.path().join("out")).unwrap();
    std::os::unix::fs::symlink(".", root.path().join("round")).unwrap();
    refused("", "too many folders within each other");
    fs::remove_file(root.path().join("round")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.path().join("broken")).unwrap();
    refused("", "broken: No such file");
    assert!(load(&root.path().join("none"), "").unwrap().contains("No such file"));
}

//! In its steady state a worker calls no allocator: `poll_once` under a counting one.
//!
//! The test's own thread runs the worker, the control plane and the far ends in turn; only what happens
//! inside `poll_once` is counted.
#![allow(unsafe_code)] // A global allocator is an unsafe trait.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use common::peer::Peer;
use common::{Net, host, mac, port_mac, two_ports, udp_frame};
use config::{Check, Request};
use engine::app::load::{Exchange, Intervals, Load, Mix, Pace, Think, Workload};
use engine::net::{Executor, TcpListener, UdpSocket};
use l2l3::forward::Isa;
use sim::builder::{self, Flow, Ipv4, Tcp};
use sim::{Rng, SimFrame, mutate};
use tcp::shard::Received;
use wire::MacAddr;

struct Counting;

thread_local! {
    /// Calls of this thread's, or `None` while nobody counts.
    static CALLS: Cell<Option<u64>> = const { Cell::new(None) };
}

fn count() {
    // A thread that ends has no cell any more, and nobody counts.
    let _ended = CALLS.try_with(|calls| calls.set(calls.get().map(|n| n + 1)));
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls of the allocator, frees included, while `work` runs.
fn calls(work: impl FnOnce()) -> u64 {
    CALLS.set(Some(0));
    work();
    CALLS.replace(None).unwrap()
}

#[test]
fn the_count_counts() {
    assert_eq!(calls(|| drop(std::hint::black_box(Box::new(1)))), 2);
    assert_eq!(calls(|| ()), 0);
}

const LAN: usize = 0;
const WAN: usize = 1;
const A: [u8; 4] = [10, 0, 1, 10];
const B: [u8; 4] = [10, 0, 2, 20];
const US: [u8; 4] = [10, 0, 1, 1];

fn net(cores: &str, isa: Isa) -> Net {
    let route = "[[route]]\nprefix = \"192.0.2.0/24\"\nvia = [\"10.0.2.20\", \"10.0.2.21\"]\n[limits]\nhold_packets = 64\n";
    let text = two_ports(cores, route).replace("\"net_null1\"", "\"net_null1\"\ntx_queues = 1\nmtu = 600");
    let mut net = Net::with_isa(&text, isa);
    net.add_host(LAN, host(10, A));
    net.add_host(WAN, host(20, B));
    net.add_host(WAN, host(21, [10, 0, 2, 21]));
    for (port, n, ip) in [(LAN, 10, A), (WAN, 20, B)] {
        let us = [ip[0], ip[1], ip[2], 1];
        net.inject(port, 0, &builder::arp_request(mac(n), ip.into(), us.into()));
    }
    net.settle();
    net
}

const SERVICE: &str = "[[service]]\nkind = \"echo\"\n";

/// Echoes at steady state: every loop of it. Some connections are opened and closed, too.
#[test]
fn echo() {
    for cores in ["[0]", "[0, 1]"] {
        let net = Net::new(&two_ports(cores, SERVICE));
        assert_eq!(calls_of_echo(net, true), 0, "on cores {cores}");
    }
}

/// Serves files and pages at steady state: heads in one piece and in several, bodies, errors, connections that
/// come and go.
#[test]
fn http() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), vec![7; 20_000]).unwrap();
    let service = format!(
        "[[service]]\nkind = \"http\"\nroot = {:?}\nstatus = \"/status\"\n\
         [[service.page]]\npath = \"/page\"\nbody = \"a page\"\n",
        root.path().to_str().unwrap()
    );
    let requests = [
        "GET /page HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /file HTTP/1.1\r\nHost: a\r\nRange: bytes=5-\r\n\r\n",
        "GET /status HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\n\r\n",
        "POST /pa%67e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for cores in ["[0]", "[0, 1]"] {
        let mut net = Net::new(&two_ports(cores, &service));
        let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
        let us = SocketAddrV4::new(US.into(), 80);
        let ids: Vec<_> = (0..8).map(|n| peer.connect_from(net.now(), 5000 + n, us)).collect();
        peer.settle(&mut net);
        let (mut total, mut back) = (0, 0);
        for round in 0..400_usize {
            let mut brief = Vec::new();
            for at in 0..ids.len() {
                let request = requests[(round + at) % requests.len()].as_bytes();
                let (first, rest) = request.split_at(if at % 2 == 0 { 0 } else { round % request.len() });
                peer.give(net.now(), ids[at], first);
                brief.push((ids[at], rest));
            }
            let other = peer.connect(net.now(), us);
            brief.push((other, &b"GET / HTTP/1.1\r\n\r\n"[..]));
            for step in 0..6 {
                if step == 2 {
                    brief.iter().for_each(|(id, rest)| _ = peer.give(net.now(), *id, rest));
                }
                let now = net.clock.advance(Duration::from_micros(700));
                for worker in &mut net.workers {
                    total += calls(|| _ = worker.poll_once(now));
                }
                net.control.poll(now);
                net.hear();
                peer.step(&mut net);
            }
            back += ids.iter().map(|id| peer.take(net.now(), *id).0.len()).sum::<usize>();
            peer.shard.close(net.now(), other);
            net.take_sent();
        }
        assert!(back > 8_000_000, "{back}");
        assert_eq!(total, 0, "on cores {cores}");
        ids.iter().for_each(|id| peer.shard.close(net.now(), *id));
        peer.settle(&mut net);
        net.finish();
    }
}

/// The same by a task a connection.
#[test]
fn echo_by_tasks() {
    for cores in ["[0]", "[0, 1]"] {
        let net = Net::with_apps(&two_ports(cores, SERVICE), Isa::detect(), || {
            vec![Box::new(Executor::new(100, echo_task))]
        });
        assert_eq!(calls_of_echo(net, false), 0, "on cores {cores}");
    }
}

async fn echo_task(net: engine::net::Net<SimFrame>) -> std::io::Result<()> {
    let here = SocketAddrV4::new(US.into(), 7);
    let (listener, socket) = (TcpListener::bind(&net, here).await?, UdpSocket::bind(&net, here).await?);
    net.spawn_local(async move {
        loop {
            let datagram = socket.recv_from().await?;
            socket.send_to(datagram.payload, datagram.source, None).await?;
        }
        #[expect(unreachable_code, reason = "it says what the task gives")]
        std::io::Result::Ok(())
    })?;
    loop {
        let stream = listener.accept().await?;
        let inner = net.clone();
        net.spawn_local(async move {
            while let Ok(Some(bytes)) = inner.timeout(Duration::from_secs(30), stream.recv()).await? {
                stream.send(bytes).await?;
            }
            std::io::Result::Ok(())
        })?;
    }
}

/// Calls of the allocator in the loops of an echo server, once eight connections have warmed up.
fn calls_of_echo(mut net: Net, brief: bool) -> u64 {
    let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
    let us = |port| SocketAddrV4::new(US.into(), port);
    let ids: Vec<_> = (0..8).map(|n| peer.connect_from(net.now(), 5000 + n, us(7))).collect();
    peer.settle(&mut net);
    let (mut total, mut back) = (0, 0);
    for round in 0..400_u32 {
        for id in &ids {
            peer.give(net.now(), *id, &[7; 3000][..1 + round as usize * 7]);
        }
        let brief = brief.then(|| peer.connect(net.now(), us(7)));
        net.inject(LAN, 0, &udp_frame(LAN, A, US, (9, 7), b"a datagram"));
        for _ in 0..6 {
            let now = net.clock.advance(Duration::from_micros(700));
            for worker in &mut net.workers {
                total += calls(|| _ = worker.poll_once(now));
            }
            net.control.poll(now);
            net.hear();
            peer.step(&mut net);
        }
        back += ids.iter().map(|id| peer.take(net.now(), *id).0.len()).sum::<usize>();
        if let Some(id) = brief {
            peer.shard.close(net.now(), id);
        }
        if round < 10 && brief.is_none() {
            // Queues are made when they are used first.
            total = 0;
        }
        net.take_sent();
    }
    assert!(back > 4_000_000, "{back}");
    peer.settle(&mut net);
    net.finish();
    total
}

/// Loads a server at steady state: over connections that stay, and over one for each request, with all that there
/// is to a load.
#[test]
fn load() {
    let think = Think::Exponential(Duration::from_millis(2));
    for (close, cores, pace, think) in [
        (false, "[0]", Pace::Closed, Think::None),
        (false, "[0]", Pace::Closed, think),
        (false, "[0, 1]", Pace::Poisson(20_000.0), Think::None),
        (true, "[0]", Pace::Constant(3000.0), Think::None),
    ] {
        let to = SocketAddrV4::new(A.into(), 80);
        let (recorder, mut intervals) = (RefCell::new(vec![]), vec![]);
        for _ in 0..2 {
            let (ours, theirs) = Intervals::new(2);
            recorder.borrow_mut().push(ours);
            intervals.push(theirs);
        }
        let requests =
            [Request::get("/"), Request { weight: 2, check: Some(Check::First), ..Request::get("/long") }];
        let exchange = |request: &Request| (request.weight, Exchange::http(request, "a", close));
        let mix = Mix::new(requests.iter().map(exchange).collect()).unwrap();
        let workload = Workload {
            target: Arc::new(to.into()),
            sources: [Ipv4Addr::new(10, 0, 1, 1)].into(),
            mix,
            connections: 8,
            pipeline: if close { 1 } else { 4 },
            close,
            pace,
            think,
            ramp: Duration::ZERO,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(4),
            timeout: Duration::from_secs(1),
            seed: 1,
        };
        let workers = cores.matches(char::is_numeric).count() as u32;
        let mut net = Net::with_apps(&two_ports(cores, SERVICE), Isa::detect(), || {
            let mut recorder = recorder.borrow_mut();
            let worker = 2 - recorder.len() as u32;
            vec![Box::new(Load::new(workload.clone(), worker, workers, recorder.pop().unwrap()))]
        });
        let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
        let listener = peer.shard.listen(to, 64).unwrap();
        let (mut total, mut completed, mut open) = (0, 0, vec![]);
        for round in 0..6000 {
            let now = net.clock.advance(Duration::from_millis(1));
            for worker in &mut net.workers {
                let calls = calls(|| _ = worker.poll_once(now));
                total += if round < 100 { 0 } else { calls };
            }
            net.control.poll(now);
            net.hear();
            peer.step(&mut net);
            open.extend(std::iter::from_fn(|| peer.accept(now, listener)));
            open.retain(|id| {
                let (bytes, end) = peer.take(now, *id);
                for _ in bytes.windows(4).filter(|four| four == b"\r\n\r\n") {
                    peer.give(now, *id, b"HTTP/1.1 200 OK\r\nContent-");
                    peer.give(now, *id, b"Length: 5\r\n\r\nhello");
                }
                let goes_on = matches!(end, Received::Nothing);
                if !goes_on {
                    peer.shard.close(now, *id);
                }
                goes_on
            });
            peer.step(&mut net);
            net.take_sent();
            intervals
                .iter_mut()
                .for_each(|each| each.each(|interval| completed += interval.counts.completed));
        }
        assert!(completed > 9000, "{completed}");
        assert_eq!(total, 0, "on cores {cores} with {pace:?}, {think:?}");
        peer.settle(&mut net);
        net.finish();
    }
}

/// Feeds the frames that `make` gives for each round, and counts the allocator's calls in the loops.
fn assert_none(what: &str, mut make: impl FnMut(u32) -> Vec<Vec<u8>>) {
    for (cores, isa) in [("[0]", Isa::detect()), ("[0]", Isa::Portable), ("[0, 1]", Isa::detect())] {
        let mut net = net(cores, isa);
        let workers = net.workers.len();
        let (mut total, mut busy) = (0, false);
        for round in 0..300 {
            for (n, frame) in make(round).iter().enumerate() {
                net.inject(LAN, n % workers, frame);
            }
            let now = net.clock.advance(Duration::from_millis(7));
            for _ in 0..4 {
                for worker in &mut net.workers {
                    let calls = calls(|| busy |= worker.poll_once(now));
                    total += calls;
                }
                net.control.poll(now);
                net.hear();
            }
            net.sent.clear();
        }
        assert!(busy, "{what}: there was something to do");
        assert_eq!(total, 0, "{what}, on cores {cores} with {}", isa.name());
        net.seconds(20);
        net.finish();
    }
}

fn flow(dst: [u8; 4]) -> Flow {
    let (src, dst) = (A.into(), dst.into());
    Flow { src_mac: mac(10), dst_mac: port_mac(LAN), src, dst, src_port: 5, dst_port: 6 }
}

#[test]
fn forwarded_frames() {
    assert_none("plain", |round| (0..100).map(|n| udp_frame(LAN, A, B, (n, round as u16), b"x")).collect());
    assert_none("by several gateways", |_| {
        (0..50).map(|n| udp_frame(LAN, A, [192, 0, 2, n as u8], (n, 9), b"x")).collect()
    });
    assert_none("in fragments", |_| (0..20).map(|n| udp_frame(LAN, A, B, (n, 9), &[1; 1400])).collect());
}

#[test]
fn dropped_frames() {
    let templates = [
        udp_frame(LAN, A, B, (1, 2), b"some data to damage"),
        udp_frame(LAN, A, US, (1, 2), b"to us"),
        flow(US).echo_request(1, 1, b"ping"),
        builder::arp_request(mac(10), A.into(), US.into()),
    ];
    let mut rng = Rng::new(3);
    assert_none("damaged", |_| {
        let mut damaged = |n: usize| {
            let mut frame = templates[n % templates.len()].clone();
            mutate(&mut rng, &mut frame);
            frame
        };
        (0..60).map(&mut damaged).collect()
    });
    assert_none("no route", |_| vec![udp_frame(LAN, A, [8, 8, 8, 8], (1, 2), b"x"); 50]);
    assert_none("not ours", |_| vec![builder::ethernet(MacAddr([2; 6]), mac(10), 0x0800, &[0; 46]); 50]);
}

#[test]
fn packets_to_us() {
    assert_none("ping", |round| (0..50).map(|n| flow(US).echo_request(n, round as u16, &[7; 56])).collect());
    assert_none("ping in fragments", |round| {
        let message = builder::echo_request(1, round as u16, &[9; 4000]);
        let fragment = |(n, part): (usize, &[u8])| {
            let header = Ipv4 {
                id: round as u16,
                more_fragments: n < 2,
                offset: (n * 185) as u16,
                ..Ipv4::new(A.into(), US.into(), builder::ICMP)
            };
            builder::padded(flow(US).frame(&header, part))
        };
        // Every seventh datagram never becomes whole.
        message.chunks(1480).enumerate().skip(usize::from(round % 7 == 0)).map(fragment).collect()
    });
    assert_none("TCP and UDP", |_| {
        let syn = Tcp { flags: 2, window: 100, ..Tcp::default() };
        (0..40).map(|n| if n % 2 == 0 { flow(US).tcp(&syn, b"") } else { flow(US).udp(b"x") }).collect()
    });
    assert_none("ARP", |_| vec![builder::arp_request(mac(10), A.into(), US.into()); 10]);
}

#[test]
fn packets_to_unresolved_neighbours() {
    assert_none("unresolved", |round| {
        (0..40).map(|n| udp_frame(LAN, A, [10, 0, 2, (30 + (round + n) % 200) as u8], (1, 2), b"x")).collect()
    });
}

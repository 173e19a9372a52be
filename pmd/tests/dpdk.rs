//! The crate on DPDK's virtual devices, in one process with one environment.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Pool, Running, bytes, dpdk, ethernet, frame, pool};
use pmd::{Error, HugeTable, Mbuf, Mempool, Port, PortConfig, WorkerThread};
use proptest::prelude::*;
use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering;
use wire::{Frame, FramePool, MacAddr, RxFlags, RxQueue as _, TxQueue as _};

#[test]
fn null_device_fills_bursts_and_swallows_them() {
    let eal = dpdk();
    let pool = pool(&eal, "null");
    let mut null = Running::open(&eal, "net_null0,size=64", &PortConfig::default(), &pool);
    let mut frames = Vec::with_capacity(32);
    let (mut received, mut sent) = (0, 0);
    for max in [32, 8, 64, 0, 1] {
        let room = frames.capacity() - frames.len();
        let got = null.rx.rx_burst(&mut frames, max);
        assert_eq!((got, frames.len()), (max.min(room), got), "never beyond the capacity");
        assert!(frames.iter().all(|frame| (frame.len(), frame.segments()) == (64, 1)));
        received += got;
        sent += null.tx.tx_burst(&mut frames);
        assert!(frames.is_empty());
    }
    assert_eq!((received, sent), (73, 73));
    let stats = null.port.stats().unwrap();
    assert_eq!((stats.rx_frames, stats.tx_frames), (73, 73));
    let xstats = null.port.xstats().unwrap();
    assert!(xstats.contains(&("rx_good_packets".to_owned(), 73)), "{xstats:?}");
    null.port.reset_stats().unwrap();
    assert_eq!(null.port.stats().unwrap().tx_frames, 0);
    assert!(!null.port.is_removed());
}

#[test]
fn ring_gives_back_what_was_sent() {
    let eal = dpdk();
    let pool = pool(&eal, "ring");
    let mut ring = Running::open(&eal, "net_ring0", &PortConfig::default(), &pool);
    for (len, segment) in [(60, 60), (1514, 100), (9014, 2048), (2, 1)] {
        let sent = ethernet(len.max(14), 7);
        ring.send(frame(&pool, &sent, segment));
        let got = ring.receive(|_| true).unwrap();
        assert_eq!(bytes(&got), sent);
        assert_eq!(got.segments(), sent.len().div_ceil(segment));
    }
    assert!(ring.port.link().unwrap().up);
}

#[test]
fn full_device_leaves_the_rest_in_order() {
    let eal = dpdk();
    let pool = pool(&eal, "full");
    let mut ring = Running::open(&eal, "net_ring1", &PortConfig::default(), &pool);
    let numbered = |n: u32| frame(&pool, &n.to_be_bytes(), 4);
    let (mut frames, mut sent) = (Vec::new(), 0);
    while frames.is_empty() {
        frames.extend((sent..sent + 100).map(numbered));
        sent += ring.tx.tx_burst(&mut frames) as u32;
        assert!(sent < 4000, "the ring has no end");
    }
    assert_eq!(frames.len() as u32, 100 - sent % 100, "a part of the last burst was taken");
    for (left, n) in frames.iter().zip(sent..) {
        assert_eq!(left.data(), n.to_be_bytes());
    }
    assert_eq!(ring.tx.tx_burst(&mut frames), 0);
    let mut got = Vec::with_capacity(4000);
    while ring.rx.rx_burst(&mut got, 64) > 0 {}
    assert!(got.iter().map(Frame::data).eq((0..sent).map(|n| n.to_be_bytes())));
}

#[test]
fn pcap_files_are_read_and_written() {
    let eal = dpdk();
    let pool = pool(&eal, "pcap");
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("in.pcap"), folder.path().join("out.pcap"));
    let frames: Vec<_> = (0..100).map(|n| ethernet(60 + n * 50, n as u8)).collect();
    fs::write(&from, pcap_file(&frames)).unwrap();
    let devargs = format!("net_pcap0,rx_pcap={},tx_pcap={}", from.display(), to.display());
    let mut pcap = Running::open(&eal, &devargs, &PortConfig { mtu: 9000, ..Default::default() }, &pool);
    let mut burst: Vec<Mbuf> = Vec::with_capacity(200);
    while pcap.rx.rx_burst(&mut burst, 32) > 0 {}
    assert_eq!(burst.iter().map(bytes).collect::<Vec<_>>(), frames);
    assert!(burst.iter().any(|frame| frame.segments() > 2));
    while pcap.tx.tx_burst(&mut burst) > 0 {}
    assert!(burst.is_empty());
    drop(pcap);
    // Past the file's header and each record's, the bytes of the frames: the times differ.
    let written = fs::read(&to).unwrap();
    let mut rest = &written[24..];
    for sent in &frames {
        assert_eq!(rest[8..12], (sent.len() as u32).to_le_bytes());
        assert_eq!(rest[16..16 + sent.len()], *sent);
        rest = &rest[16 + sent.len()..];
    }
    assert!(rest.is_empty());
}

/// A capture of these frames, little-endian, microseconds, Ethernet.
fn pcap_file(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(u32::to_le_bytes(word));
    }
    for frame in frames {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    file
}

#[test]
fn queues_are_given_out_once() {
    let eal = dpdk();
    let pool = pool(&eal, "once");
    let port = Port::open(&eal, "net_null1").unwrap();
    let config = PortConfig { rx_queues: 2, tx_queues: 2, ..Default::default() };
    let pools = [pool.0.clone()];
    assert!(matches!(port.start(), Err(Error::State { state: "not configured", .. })));
    port.configure(&config, &pools).unwrap();
    assert!(matches!(port.take_rx(0), Err(Error::State { state: "stopped", .. })));
    port.start().unwrap();
    let (rx, tx) = (port.take_rx(1).unwrap(), port.take_tx(1).unwrap());
    assert_eq!((rx.queue(), tx.queue()), (1, 1));
    for error in [port.take_rx(1).unwrap_err(), port.take_tx(1).unwrap_err()] {
        assert!(matches!(error, Error::QueueTaken { queue: 1, .. }), "{error}");
    }
    assert!(matches!(port.take_rx(2), Err(Error::NoSuchQueue { queue: 2, .. })));
    assert!(matches!(port.stop(), Err(Error::QueuesInUse { count: 2, .. })));
    assert!(matches!(port.configure(&config, &pools), Err(Error::State { state: "started", .. })));
    drop((rx, tx));
    let (rx, tx) = (port.take_rx(1).unwrap(), port.take_tx(0).unwrap());
    drop((rx, tx));
    port.stop().unwrap();
    // Again, otherwise.
    port.configure(&PortConfig::default(), &pools).unwrap();
    port.start().unwrap();
    assert!(matches!(port.take_tx(1), Err(Error::NoSuchQueue { .. })));
}

#[test]
fn a_queue_keeps_its_port() {
    let eal = dpdk();
    let pool = pool(&eal, "keeps");
    let Running { port, mut rx, tx } = Running::open(&eal, "net_null2", &PortConfig::default(), &pool);
    assert!(matches!(Port::open(&eal, "net_null2"), Err(Error::AlreadyOpen { .. })));
    drop((port, tx));
    let mut frames = Vec::with_capacity(4);
    assert_eq!(rx.rx_burst(&mut frames, 4), 4);
    drop((rx, frames));
    // With the last handle the device is gone, so that it can be made anew.
    Running::open(&eal, "net_null2,size=128", &PortConfig::default(), &pool);
}

#[test]
fn bad_devices_are_named_in_a_sentence() {
    let eal = dpdk();
    for devargs in [
        "net_nosuch0",
        "net_pcap7,rx_pcap=/nonexistent/file",
        "net_null7,bogus=1",
        "net_af_packet7,iface=nosuch",
        "0000:99:1f.7",
        "",
    ] {
        let error = Port::open(&eal, devargs).unwrap_err();
        assert!(matches!(error, Error::Open { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("device \"{devargs}\" could not be opened: ")), "{text}");
        assert!(!text.contains("Unknown error") && text.ends_with("."), "{text}");
    }
    assert!(matches!(Port::open(&eal, "net_\0"), Err(Error::ZeroByte { .. })));
}

#[test]
fn what_a_device_cannot_do_is_said() {
    let eal = dpdk();
    let pool = pool(&eal, "cannot");
    let port = Port::open(&eal, "net_ring2").unwrap();
    let can = port.capabilities().unwrap();
    let too_many = PortConfig { rx_queues: can.max_rx_queues + 1, ..Default::default() };
    let error = port.configure(&too_many, std::slice::from_ref(&*pool)).unwrap_err();
    assert!(
        matches!(error, Error::TooFewQueues { rx, max_rx, .. } if rx == max_rx + 1 && max_rx == can.max_rx_queues)
    );
    let small = PortConfig { mtu: 20, ..Default::default() };
    let error = port.configure(&small, std::slice::from_ref(&*pool)).unwrap_err();
    assert!(matches!(error, Error::Mtu { mtu: 20, .. }), "{error}");
    assert!(port.rss().is_none());
    // It can still be configured with what it can do.
    let mac = MacAddr([2, 0, 0, 1, 2, 3]);
    let config = PortConfig { mac: Some(mac), ..Default::default() };
    match port.configure(&config, std::slice::from_ref(&*pool)) {
        Ok(info) => assert_eq!(info.capabilities.mac, mac),
        Err(error) => assert!(matches!(error, Error::Device { .. }), "{error}"),
    }
}

#[test]
fn pool_gives_all_its_buffers_and_gets_them_back() {
    let eal = dpdk();
    let pool = Pool(Mempool::new(&eal, "small", 100, 0, 1000, None).unwrap());
    let mut handle = pool.handle();
    assert_eq!((handle.available(), pool.data_room()), ((100, 100), 1000));
    let mut frames: Vec<Mbuf> = std::iter::from_fn(|| handle.alloc()).collect();
    assert_eq!((frames.len(), handle.available()), (100, (0, 100)));
    assert!(frames.iter().all(|frame| frame.is_empty() && frame.rx_flags() == RxFlags(0)));
    drop(frames.pop());
    assert_eq!(handle.available(), (1, 100));
    assert!(handle.alloc().is_some());
    Mbuf::free_bulk(&mut frames);
    assert!(frames.is_empty());
    Mbuf::free_bulk(&mut frames);
    assert_eq!(handle.available(), (100, 100));
    // Freed frames come back clean.
    let mut used = handle.alloc().unwrap();
    used.append(10).unwrap();
    used.chain(handle.alloc().unwrap()).unwrap();
    drop(used);
    for _ in 0..100 {
        let frame = handle.alloc().unwrap();
        assert_eq!((frame.len(), frame.segments(), frame.data().len()), (0, 1, 0));
    }
}

#[test]
fn a_pool_beyond_memory_is_an_error() {
    let eal = dpdk();
    let error = Mempool::new(&eal, "huge", 1 << 30, 0, 2048, None).unwrap_err();
    assert!(matches!(error, Error::Mempool { count, .. } if count == 1 << 30), "{error}");
    let _pool = pool(&eal, "twin");
    let error = Mempool::new(&eal, "twin", 100, 0, 2048, None).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
}

#[test]
fn a_frame_outlives_its_pool() {
    let eal = dpdk();
    let pool = Mempool::new(&eal, "outlived", 63, 0, 2048, None).unwrap();
    let mut frame = frame(&pool, &[1, 2, 3], 3);
    drop(pool);
    frame.append(1).unwrap()[0] = 4;
    assert_eq!(frame.data(), [1, 2, 3, 4]);
}

#[test]
fn workers_are_registered_and_have_caches() {
    let eal = dpdk();
    let pool = pool(&eal, "workers");
    let ids: Vec<u32> = std::thread::scope(|scope| {
        let work = || {
            let thread = WorkerThread::register(&eal).unwrap();
            assert!(matches!(WorkerThread::register(&eal), Err(Error::Thread { .. })));
            let mut handle = pool.handle();
            for _ in 0..1000 {
                let frames: Vec<Mbuf> = (0..50).map(|_| handle.alloc().unwrap()).collect();
                drop(frames);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            thread.lcore_id()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 4, "{ids:?}");
    // The ids are free again.
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(ids.contains(&WorkerThread::register(&eal).unwrap().lcore_id())));
    });
}

#[test]
fn frames_cross_threads() {
    let eal = dpdk();
    let pool = pool(&eal, "cross");
    let (give, take) = std::sync::mpsc::sync_channel::<Mbuf>(64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _registered = WorkerThread::register(&eal).unwrap();
            take.into_iter()
                .enumerate()
                .for_each(|(n, frame)| assert_eq!(frame.data(), (n as u64).to_be_bytes()));
        });
        for n in 0..20_000u64 {
            give.send(frame(&pool, &n.to_be_bytes(), 8)).unwrap();
        }
        drop(give);
    });
}

#[test]
fn tables_are_zero_and_shared() {
    let eal = dpdk();
    for round in 0..2 {
        let table = HugeTable::new(&eal, 1 << 20, None).unwrap();
        assert_eq!((table.len(), table.as_ptr().addr() % 64), (1 << 20, 0));
        assert!(table.iter().all(|cell| cell.load(Ordering::Relaxed) == 0), "round {round}");
        let (low, high) = table.split_at(table.len() / 2);
        std::thread::scope(|scope| {
            for half in [low, high] {
                scope.spawn(move || half.iter().for_each(|cell| cell.store(7, Ordering::Relaxed)));
            }
        });
        assert_eq!(table.iter().map(|cell| u64::from(cell.load(Ordering::Relaxed))).sum::<u64>(), 7 << 20);
    }
    assert_eq!(HugeTable::new(&eal, 0, None).unwrap().len(), 0);
    assert!(matches!(HugeTable::new(&eal, usize::MAX / 8, None), Err(Error::HugeTable { .. })));
}

#[test]
fn fast_free_is_not_granted_where_it_is_unknown() {
    let eal = dpdk();
    let pool = pool(&eal, "fast");
    let port = Port::open(&eal, "net_null3").unwrap();
    let config = PortConfig { multi_segs: false, fast_free: true, ..Default::default() };
    let info = port.configure(&config, std::slice::from_ref(&*pool)).unwrap();
    assert!(!info.granted.fast_free && !info.granted.multi_segs);
    // Nothing was promised, so that other pools can be made.
    common::pool(&eal, "other");
}

#[test]
fn processes_run_side_by_side() {
    let _eal = dpdk();
    let test = ["--exact", "ring_gives_back_what_was_sent"];
    let output = Command::new(std::env::current_exe().unwrap()).args(test).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[derive(Clone, Debug)]
enum Op {
    Prepend(usize),
    TrimFront(usize),
    Append(usize),
    Truncate(usize),
    Chain(usize),
    CopyOut(usize, usize),
    Ring,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0usize..200).prop_map(Op::Prepend),
        (0usize..300).prop_map(Op::TrimFront),
        (0usize..400).prop_map(Op::Append),
        (0usize..2000).prop_map(Op::Truncate),
        (0usize..300).prop_map(Op::Chain),
        (0usize..2000, 0usize..2000).prop_map(|(from, len)| Op::CopyOut(from, len)),
        Just(Op::Ring),
    ];
    proptest::collection::vec(op, 1..40)
}

/// A chain as plain vectors: what the frame must be equal to.
struct Twin {
    segments: Vec<Vec<u8>>,
    headroom: usize,
    buffer: usize,
}

impl Twin {
    fn bytes(&self) -> Vec<u8> {
        self.segments.concat()
    }

    fn tailroom(&self) -> usize {
        let last = self.segments.len() - 1;
        let before = if last == 0 { self.headroom } else { pmd::HEADROOM.into() };
        self.buffer - before - self.segments[last].len()
    }

    fn truncate(&mut self, len: usize) {
        let mut left = len;
        if len >= self.bytes().len() {
            return;
        }
        let keep = self.segments.iter().position(|segment| {
            let is_last = left <= segment.len();
            left -= if is_last { 0 } else { segment.len() };
            is_last
        });
        let keep = keep.unwrap();
        self.segments.truncate(keep + 1);
        self.segments[keep].truncate(left);
    }
}

/// Does one thing to both, and compares what they answer.
fn apply(op: &Op, step: u8, frame: &mut Mbuf, twin: &mut Twin, ring: &mut Running, pool: &Mempool) {
    match *op {
        Op::Prepend(n) if n <= twin.headroom => {
            frame.prepend(n).unwrap().fill(step);
            twin.segments[0].splice(0..0, vec![step; n]);
            twin.headroom -= n;
        }
        Op::Prepend(n) => assert!(frame.prepend(n).is_err()),
        Op::TrimFront(n) => {
            let n = n.min(frame.data().len());
            frame.trim_front(n);
            twin.segments[0].drain(..n);
            twin.headroom += n;
        }
        Op::Append(n) if n <= twin.tailroom() => {
            frame.append(n).unwrap().fill(step);
            twin.segments.last_mut().unwrap().extend(vec![step; n]);
        }
        Op::Append(n) => assert!(frame.append(n).is_err()),
        Op::Truncate(len) => {
            frame.truncate(len);
            twin.truncate(len);
        }
        Op::Chain(n) => {
            frame.chain(common::frame(pool, &vec![step; n], 100)).unwrap();
            let parts = vec![step; n];
            let parts: Vec<_> = parts.chunks(100).map(<[u8]>::to_vec).collect();
            twin.segments.extend(if n == 0 { vec![vec![]] } else { parts });
        }
        Op::CopyOut(from, len) => {
            let mut out = vec![0; len];
            let copied = frame.copy_out(from, &mut out);
            let all = twin.bytes();
            let expected = &all[from.min(all.len())..(from + len).min(all.len()).max(from.min(all.len()))];
            assert_eq!(out[..copied], *expected);
        }
        Op::Ring => {
            let sent = std::mem::replace(frame, common::frame(pool, &[], 1));
            ring.send(sent);
            *frame = ring.receive(|_| true).unwrap();
        }
    }
}

#[test]
fn frames_equal_their_twin() {
    let eal = dpdk();
    let pool = Pool(Mempool::new(&eal, "twins", 4095, 0, 512, None).unwrap());
    let ring = std::cell::RefCell::new(Running::open(&eal, "net_ring3", &PortConfig::default(), &pool));
    proptest!(ProptestConfig::with_cases(500), |(ops in ops())| {
        let ring = &mut *ring.borrow_mut();
        let mut frame = frame(&pool, &[], 1);
        let headroom = usize::from(pmd::HEADROOM);
        let mut twin = Twin { segments: vec![vec![]], headroom, buffer: 512 + headroom };
        for (step, op) in ops.iter().enumerate() {
            apply(op, step as u8, &mut frame, &mut twin, ring, &pool);
            prop_assert_eq!(bytes(&frame), twin.bytes(), "after {:?}", op);
            prop_assert_eq!(frame.data(), &twin.segments[0][..]);
            prop_assert_eq!((frame.len(), frame.segments()), (twin.bytes().len(), twin.segments.len()));
        }
        drop(frame);
        prop_assert_eq!(pool.available(), pool.count());
    });
}

#[test]
#[should_panic(expected = "5 bytes taken off a segment of 4")]
fn trimming_past_the_segment_panics() {
    let eal = dpdk();
    let pool = Mempool::new(&eal, "trim", 63, 0, 512, None).unwrap();
    let mut frame = frame(&pool, &[1, 2, 3, 4, 5, 6], 4);
    frame.trim_front(5);
}

//! What the tests share: one environment a process, one test at a time.
#![allow(dead_code, reason = "each test binary uses a part")]

use pmd::{Eal, EalConfig, LogLevel, Mbuf, Mempool, Port, PortConfig, RxQueue, TxQueue};
use std::ops::Deref;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use wire::{Frame, FramePool, RxQueue as _, TxQueue as _};

/// DPDK's environment, held by one test at a time.
pub(crate) struct Dpdk {
    eal: &'static Eal,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for Dpdk {
    type Target = Eal;

    fn deref(&self) -> &Eal {
        self.eal
    }
}

/// Starts DPDK, once, and keeps other tests out.
pub(crate) fn dpdk() -> Dpdk {
    static ALONE: Mutex<()> = Mutex::new(());
    static EAL: OnceLock<Eal> = OnceLock::new();
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let eal = EAL.get_or_init(|| {
        let config = EalConfig { program: "pmd-test".into(), log: LogLevel::Error, ..Default::default() };
        let eal = Eal::init(&config).unwrap();
        eal.warnings().iter().for_each(|warning| eprintln!("{warning}"));
        eal
    });
    Dpdk { eal, _alone: alone }
}

/// A pool whose every buffer must be home when it is dropped.
pub(crate) struct Pool(pub(crate) Mempool);

impl Deref for Pool {
    type Target = Mempool;

    fn deref(&self) -> &Mempool {
        &self.0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.0.available(), self.0.count(), "buffers leaked");
        }
    }
}

pub(crate) fn pool(eal: &Eal, name: &str) -> Pool {
    Pool(Mempool::new(eal, name, 4095, 128, 2048, None).unwrap())
}

/// A frame of these bytes, in segments of at most `segment` bytes.
pub(crate) fn frame(pool: &Mempool, bytes: &[u8], segment: usize) -> Mbuf {
    let mut handle = pool.handle();
    let mut one = |bytes: &[u8]| {
        let mut frame = handle.alloc().unwrap();
        frame.append(bytes.len()).unwrap().copy_from_slice(bytes);
        frame
    };
    let mut parts = bytes.chunks(segment);
    let mut head = one(parts.next().unwrap_or_default());
    parts.for_each(|part| head.chain(one(part)).unwrap());
    head
}

/// All bytes of a frame.
pub(crate) fn bytes(frame: &Mbuf) -> Vec<u8> {
    let mut out = vec![0; frame.len()];
    assert_eq!(frame.copy_out(0, &mut out), frame.len());
    out
}

/// An Ethernet frame of an experimental ethertype: `len` bytes in all, told apart by `tag`.
pub(crate) fn ethernet(len: usize, tag: u8) -> Vec<u8> {
    let mut bytes = vec![tag; len];
    bytes[..6].fill(0xff);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
    bytes
}

/// A port that runs with one queue each way.
pub(crate) struct Running {
    pub(crate) port: Port,
    pub(crate) rx: RxQueue,
    pub(crate) tx: TxQueue,
}

impl Running {
    pub(crate) fn open(eal: &Eal, devargs: &str, config: &PortConfig, pool: &Mempool) -> Running {
        let port = Port::open(eal, devargs).unwrap();
        port.configure(config, std::slice::from_ref(pool)).unwrap();
        port.start().unwrap();
        let (rx, tx) = (port.take_rx(0).unwrap(), port.take_tx(0).unwrap());
        Running { port, rx, tx }
    }

    /// Sends one frame, trying for a second.
    pub(crate) fn send(&mut self, frame: Mbuf) {
        let mut frames = vec![frame];
        assert!(within_a_second(|| self.tx.tx_burst(&mut frames) == 1), "not sent");
        assert!(frames.is_empty());
    }

    /// Polls once; whether a frame came, which is dropped.
    pub(crate) fn polls(&mut self) -> bool {
        self.rx.rx_burst(&mut Vec::with_capacity(1), 1) > 0
    }

    /// Waits a second for a frame of these bytes; others are passed over.
    pub(crate) fn receives(&mut self, expected: &[u8]) -> bool {
        self.receive(|frame| bytes(frame) == expected).is_some()
    }

    /// Waits a second for a frame that is `wanted`; others are passed over.
    pub(crate) fn receive(&mut self, wanted: impl Fn(&Mbuf) -> bool) -> Option<Mbuf> {
        let mut found = None;
        within_a_second(|| {
            let mut frames = Vec::with_capacity(32);
            self.rx.rx_burst(&mut frames, 32);
            found = frames.into_iter().find(&wanted);
            found.is_some()
        });
        found
    }
}

pub(crate) fn within_a_second(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

/// Whether the test may make network devices; says so if not.
pub(crate) fn is_root() -> bool {
    // SAFETY: has no preconditions.
    #[expect(unsafe_code, reason = "a system call")]
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

pub(crate) fn ip(args: &str) {
    let status = Command::new("ip").args(args.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {args}");
}

/// A pair of virtual Ethernet devices, up; deleted when dropped.
pub(crate) struct Veth(pub(crate) String, pub(crate) String);

impl Veth {
    pub(crate) fn new(tag: &str) -> Veth {
        let name = |end| format!("{tag}{}{end}", std::process::id() % 1_000_000);
        let veth = Veth(name('a'), name('b'));
        ip(&format!("link add {} type veth peer name {}", veth.0, veth.1));
        for end in [&veth.0, &veth.1] {
            ip(&format!("link set {end} addrgenmode none"));
            ip(&format!("link set {end} up promisc on"));
        }
        veth
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).status();
    }
}

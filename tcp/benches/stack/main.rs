//! What TCP costs: one stack, and peers that are played; next to smoltcp, given the same packets.
//!
//! Timed is the stack alone, a burst at a time, as a core runs it: packets in, the application, timers,
//! packets out. The peers' packets are made outside of that. Checksums of what comes in are taken for
//! checked, as a NIC does it; those of what goes out are computed, over the payload too, by both stacks, but left to
//! the NIC in `sluice-offload`.
//!
//! - `request`: a peer sends 64 bytes, the application answers with 64.
//! - `send`: a segment of 1448 bytes goes out, with its share of the ACKs that come in.
//! - `receive`: a segment of 1448 bytes comes in and is read, with its share of the ACKs that go out.
//!
//! `1 of 1000000` is one active connection among a million open ones. Before the benches, memory per
//! connection is printed, as a counting allocator sees it. `GLIBC_TUNABLES=glibc.malloc.hugetlb=2` gives
//! the tables huge pages.
//!
//! `count request 100 100 40000` instead runs one load for so many elements, untimed, on so many open and
//! active connections (with `offload` behind it, so): `valgrind --tool=callgrind --toggle-collect='*Sluice*round*'` counts instructions, which
//! a loaded machine does not change.

mod peers;
mod sluice;
mod smol;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};

use peers::{Load, Peers, Stack};

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "the allocator's interface")]
// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that `make` leaves allocated.
fn allocated<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let made = make();
    (ALLOCATED.load(Ordering::Relaxed) - before, made)
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn memory() {
    let per = |name: &str, change: fn(&mut tcp::Config, u32)| {
        let of = |n: u32| {
            let mut config = sluice::config(16);
            change(&mut config, n);
            allocated(|| sluice::shard(config)).0
        };
        let (few, many) = (of(1 << 16), of(1 << 17));
        println!("memory: sluice, reserved for each {name}: {} bytes", (many - few) >> 16);
    };
    per("connection", |config, n| config.connections = n);
    per("connection in SYN-RECEIVED", |config, n| config.half_open = n);
    per("connection in TIME-WAIT", |config, n| config.time_wait = n);

    let n = 1 << 18;
    let mut stack = sluice::Sluice::new(n, false);
    let before = resident();
    let mut peers = Peers::new(n, Load::Request);
    let of_peers = resident() - before;
    peers.open(&mut stack);
    let used = resident() - before - of_peers;
    println!("memory: sluice, resident for each of {n} established connections: {} bytes", used / n as usize);
    drop(stack);
    let (one, _) = allocated(|| smol::Smoltcp::new(1));
    let (many, _) = allocated(|| smol::Smoltcp::new(1001));
    println!(
        "memory: smoltcp, for each socket: {} bytes, of which {} are buffers",
        (many - one) / 1000,
        smol::BUFFERS
    );
}

fn bench(c: &mut Criterion, name: &str, load: Load) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (open, active) in [(1, 1), (100, 100), (10_000, 10_000), (1_000_000, 1)] {
        let label = if open == active { open.to_string() } else { format!("{active} of {open}") };
        for (name, offload) in [("sluice", false), ("sluice-offload", true)] {
            let (mut stack, mut peers) = (None, Peers::new(open, load));
            group.bench_function(BenchmarkId::new(name, &label), |b| {
                let new = || opened(sluice::Sluice::new(open, offload), &mut peers, active);
                let stack = stack.get_or_insert_with(new);
                b.iter_custom(|n| peers.run(stack, n));
            });
        }
        // smoltcp looks at each socket for each packet: with a million there is nothing to be seen.
        if open <= 10_000 {
            let (mut stack, mut peers) = (None, Peers::new(open, load));
            group.bench_function(BenchmarkId::new("smoltcp", &label), |b| {
                let stack = stack.get_or_insert_with(|| opened(smol::Smoltcp::new(open), &mut peers, active));
                b.iter_custom(|n| peers.run(stack, n));
            });
        }
    }
    group.finish();
}

/// Has all peers connect, of which so many will be active.
fn opened<S: Stack>(mut stack: S, peers: &mut Peers, active: u32) -> S {
    peers.open(&mut stack);
    peers.activate(active);
    stack
}

fn stack(c: &mut Criterion) {
    let filtered = std::env::args().skip(1).any(|arg| !arg.starts_with('-'));
    if !filtered {
        memory();
    }
    bench(c, "request", Load::Request);
    bench(c, "send", Load::Send);
    bench(c, "receive", Load::Receive);
}

/// Runs one load, untimed and as long as told: for a profiler.
fn count(arguments: &[String]) {
    let [load, open, active, elements, rest @ ..] = arguments else {
        panic!("count LOAD OPEN ACTIVE ELEMENTS [offload]")
    };
    let load = match load.as_str() {
        "request" => Load::Request,
        "send" => Load::Send,
        _ => Load::Receive,
    };
    let number = |text: &String| text.parse::<u32>().expect("a number");
    let mut peers = Peers::new(number(open), load);
    let new = sluice::Sluice::new(number(open), rest == ["offload"]);
    let mut stack = opened(new, &mut peers, number(active));
    peers.run(&mut stack, number(elements).into());
}

criterion_group!(benches, stack);

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip_while(|argument| argument != "count").skip(1).collect();
    if arguments.is_empty() {
        benches();
        Criterion::default().configure_from_args().final_summary();
    } else {
        count(&arguments);
    }
}

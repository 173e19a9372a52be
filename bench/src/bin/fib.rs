//! The route table at a million routes: what loading, adding, deleting and looking up cost.
//!
//! ```text
//! cargo run --release -p bench --bin fib
//! ```
//!
//! With `--turns` it is one of those that `peers` compares: for each line on the standard input it prints a line of
//! medians.

use std::hint::black_box;

use bench::rng::Rng;
use bench::routes::{RouteTable, shuffle};
use clap::Parser;
use hdrhistogram::Histogram;
use l2l3::fib::layout::{GROUP_LEN, LEVEL1_LEN};
use l2l3::fib::{AdjacencyId, FibWriter};
use pmd::{Eal, EalConfig, Huge, HugeTable, TscClock};
use wire::Ipv4Prefix;

/// Measures the route table in huge pages, where the router has it.
#[derive(Parser)]
struct Options {
    /// Routes, in the mix of lengths of `peers`.
    #[arg(long, default_value_t = 1_000_000)]
    routes: usize,
    /// Updates of each kind.
    #[arg(long, default_value_t = 100_000)]
    updates: usize,
    /// Where the random numbers start.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take a turn for each line on the standard input, and print cycles: a lookup in each set of flows, an addition, a
    /// deletion.
    #[arg(long)]
    turns: bool,
}

/// Sets of flows.
const FLOWS: [usize; 3] = [4096, 65_536, 1 << 20];

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let clock = TscClock::start();
    let ghz = clock.tsc_hz().ok_or("the processor has no invariant time stamp counter")? as f64 / 1e9;
    let mut rng = Rng::new(options.seed);
    let table = RouteTable::internet(options.routes, options.seed);
    let routes: Vec<(Ipv4Prefix, AdjacencyId)> =
        table.routes.iter().map(|&(prefix, hop)| (prefix, AdjacencyId(10 + u32::from(hop)))).collect();

    let eal = Eal::init(&EalConfig { program: "fib".into(), huge: Huge::Always, ..EalConfig::default() })?;
    let level1 = HugeTable::new(&eal, LEVEL1_LEN, None)?;
    let level2 = HugeTable::new(&eal, (options.routes / 64 + 1024) * GROUP_LEN, None)?;
    let mut fib = FibWriter::with_storage(options.routes, Box::new(level1), Box::new(level2))?;
    let start = clock.now();
    fib.load(routes.iter().copied())?;
    let took = clock.now().since(start);
    let addresses = FLOWS.map(|flows| flows_of(&routes, flows, &mut rng));
    if options.turns {
        println!("ready");
        for line in std::io::stdin().lines() {
            line?;
            for addresses in &addresses {
                print!("{:.1} ", lookup(&fib, addresses, &clock, ghz)?.value_at_quantile(0.5) as f64 / 10.0);
            }
            let [adds, deletes] = update(&mut fib, &routes, &options, &clock, ghz, &mut rng)?;
            println!("{} {}", adds.value_at_quantile(0.5), deletes.value_at_quantile(0.5));
        }
        return Ok(());
    }
    println!("{} routes loaded from memory in {:.3} s", fib.len(), took.as_secs_f64());

    println!("cycles at {ghz:.2} GHz (TSC)      median      p99      max");
    let [adds, deletes] = update(&mut fib, &routes, &options, &clock, ghz, &mut rng)?;
    print("add", &adds);
    print("delete", &deletes);
    for addresses in &addresses {
        let times = lookup(&fib, addresses, &clock, ghz)?;
        let tenths = |quantile| times.value_at_quantile(quantile) as f64 / 10.0;
        let name = format!("lookup, {} flows", addresses.len());
        println!("{name:24} {:8.1} {:8.1} {:8.1}", tenths(0.5), tenths(0.99), times.max() as f64 / 10.0);
    }
    Ok(())
}

/// Deletes routes drawn at random, and puts them back in another order. In batches, as routing daemons
/// send them; each figure is a batch's average. Gives the cycles of additions and of deletions.
fn update(
    fib: &mut FibWriter,
    routes: &[(Ipv4Prefix, AdjacencyId)],
    options: &Options,
    clock: &TscClock,
    ghz: f64,
    rng: &mut Rng,
) -> Result<[Histogram<u64>; 2], Error> {
    const BATCH: usize = 64;
    let mut chosen: Vec<_> = routes.to_vec();
    shuffle(&mut chosen, rng);
    chosen.truncate(options.updates);
    let mut deletes = Histogram::<u64>::new(3)?;
    for batch in chosen.chunks_exact(BATCH) {
        let start = clock.now();
        for (prefix, _) in batch {
            fib.remove(*prefix);
        }
        deletes.record((clock.now().since(start).as_nanos() as f64 * ghz) as u64 / BATCH as u64)?;
        fib.reclaim(u64::MAX);
    }
    let whole = chosen.len() / BATCH * BATCH;
    chosen.truncate(whole);
    shuffle(&mut chosen, rng);
    let mut adds = Histogram::<u64>::new(3)?;
    for batch in chosen.chunks_exact(BATCH) {
        let start = clock.now();
        for (prefix, to) in batch {
            fib.insert(*prefix, *to)?;
        }
        adds.record((clock.now().since(start).as_nanos() as f64 * ghz) as u64 / BATCH as u64)?;
    }
    Ok([adds, deletes])
}

/// Addresses drawn from the routes.
fn flows_of(routes: &[(Ipv4Prefix, AdjacencyId)], flows: usize, rng: &mut Rng) -> Vec<u32> {
    let flow = |rng: &mut Rng| {
        let (prefix, _) = routes[rng.below(routes.len() as u64) as usize];
        prefix.bits() | rng.bits() as u32 & !prefix.mask()
    };
    (0..flows).map(|_| flow(rng)).collect()
}

/// Looks addresses up, 64 at a time, in a loop. Gives tenths of a cycle a lookup, over 4096 lookups at a time.
fn lookup(fib: &FibWriter, addresses: &[u32], clock: &TscClock, ghz: f64) -> Result<Histogram<u64>, Error> {
    const BULK: usize = 64;
    let mut out = [AdjacencyId::NONE; BULK];
    let mut histogram = Histogram::<u64>::new(3)?;
    let table = fib.fib();
    for _ in 0..(8 << 20) / addresses.len().max(4096) {
        for part in addresses.chunks_exact(4096) {
            let start = clock.now();
            for bulk in part.chunks_exact(BULK) {
                table.lookup_bulk(bulk, &mut out);
                black_box(&out);
            }
            let nanos = clock.now().since(start).as_nanos() as f64;
            histogram.record((nanos * ghz * 10.0 / part.len() as f64) as u64)?;
        }
    }
    Ok(histogram)
}

fn print(name: &str, histogram: &Histogram<u64>) {
    let quantile = |q| histogram.value_at_quantile(q);
    println!("{name:24} {:8} {:8} {:8}", quantile(0.5), quantile(0.99), histogram.max());
}

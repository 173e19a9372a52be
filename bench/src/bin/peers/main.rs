//! sluice compared with peers, side by side on this machine: forwarding, route lookup, TCP and HTTP, load generation.
//!
//! `bench/peers/README.md` tells what is measured and how.

mod clients;
mod columns;
mod contenders;
mod flows;
mod library;
mod load;
mod lpm;
mod machine;
mod measure;
mod memif;
mod net;
mod process;
mod program;
mod runs;
mod section;
mod servers;
mod tables;
mod tcp;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use report::Document;

use contenders::Paths;
use measure::Plan;
use servers::Folders;

/// Errors are sentences for the person at the terminal.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Compares sluice with other programs, interleaved, on the same machine.
#[derive(Parser)]
#[command(name = "peers")]
struct Options {
    /// Only these comparisons. The report keeps the others as they are.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    only: Vec<Part>,
    /// Measurements of each contender on each flow set; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round: to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Seconds that each turn is measured for, where nothing is forwarded.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Forwarding: milliseconds before it is measured.
    #[arg(long, default_value_t = 1000)]
    warmup_ms: u64,
    /// Forwarding: milliseconds that are measured.
    #[arg(long, default_value_t = 2000)]
    window_ms: u64,
    /// Forwarding: only these contenders, by name.
    #[arg(long, value_delimiter = ',', default_values_t = contenders::DEFAULT.map(String::from))]
    contenders: Vec<String>,
    /// Forwarding: only these route tables: 2, 1k, 1M.
    #[arg(long, value_delimiter = ',', default_values_t = columns::TABLES.each_ref().map(|table| table.name.to_owned()))]
    tables: Vec<String>,
    /// The sluice binary.
    #[arg(long, default_value = "target/release/sluice")]
    sluice: PathBuf,
    /// The core that forwards, and looks up; the clients' where there are servers.
    #[arg(long, default_value_t = 1)]
    core: u16,
    /// The core for everything else; the servers'.
    #[arg(long, default_value_t = 0)]
    control_core: u16,
    /// Make the route and flow files, and stop.
    #[arg(long)]
    tables_only: bool,
    /// Where the report goes; `-` for nowhere but the terminal.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md"))]
    report: PathBuf,
    /// Where every single run goes, for `sluice bench report` and `sluice bench diff`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A comparison.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Packets through l3fwd, testpmd and sluice.
    Forwarding,
    /// Lookups in rte_lpm, rte_fib and ours.
    Lpm,
    /// TCP and HTTP by Linux and sluice, over network devices.
    Http,
    /// The same by sluice over shared memory, next to raw frames.
    Memif,
    /// wrk and `sluice load`.
    Load,
    /// smoltcp and our TCP, in memory.
    Library,
}

impl Part {
    /// Free huge pages of 2 MiB that it wants.
    fn pages(self) -> u64 {
        match self {
            // Two tables of l3fwd's for a million routes.
            Part::Forwarding => 1024,
            Part::Lpm => 450,
            Part::Http | Part::Memif | Part::Load => 256,
            Part::Library => 0,
        }
    }

    /// Programs that it does not do without, each with Debian's package.
    fn programs(self) -> &'static [(&'static str, &'static str)] {
        const WRK: (&str, &str) = ("wrk", "wrk");
        const NGINX: (&str, &str) = ("nginx", "nginx-light");
        const IP: (&str, &str) = ("ip", "iproute2");
        const ETHTOOL: (&str, &str) = ("ethtool", "ethtool");
        match self {
            Part::Http | Part::Load => &[WRK, NGINX, IP, ETHTOOL],
            Part::Memif => &[("dpdk-testpmd", "dpdk-dev")],
            Part::Forwarding | Part::Lpm | Part::Library => &[],
        }
    }
}

fn run(options: Options) -> Result<()> {
    let paths = Paths::new(&options.sluice);
    columns::prepare(&paths.data)?;
    if options.tables_only {
        return Ok(());
    }
    machine::check(&options)?;
    let built = Command::new(paths.peers.join("build.sh")).status()?;
    if !built.success() {
        return Err("bench/peers/build.sh failed; what it says above is what to mend".into());
    }
    paths.make_run_folder()?;
    let plan = Plan {
        rounds: if options.quick { 1 } else { options.rounds.max(1) },
        warm_up: Duration::from_millis(if options.quick { 300 } else { options.warmup_ms }),
        window: Duration::from_millis(if options.quick { 500 } else { options.window_ms }),
        cores: contenders::Cores { worker: options.core, control: options.control_core },
    };
    let mut sections = Vec::new();
    let mut all: Option<Document> = None;
    for &part in &options.only {
        let (text, document) = compare(part, &options, &plan, &paths)?;
        println!("{text}");
        sections.push(text);
        match &mut all {
            Some(all) => all.runs.extend(document.runs),
            None => all = Some(document),
        }
        // What was measured is kept, whatever becomes of the rest.
        if options.report.as_os_str() != "-" {
            section::keep(&options.report, &sections)?;
        }
    }
    if let (Some(json), Some(document)) = (&options.json, &all) {
        std::fs::write(json, document.json()?).map_err(|error| format!("{}: {error}", json.display()))?;
    }
    Ok(())
}

fn compare(part: Part, options: &Options, plan: &Plan, paths: &Paths) -> Result<(String, Document)> {
    let turns = Plan { window: Duration::from_secs_f64(options.seconds.clamp(0.2, 60.0)), ..*plan };
    let folders = || -> Result<Folders> {
        // It runs in other folders, too.
        let sluice = std::fs::canonicalize(&options.sluice)
            .map_err(|why| format!("{}: {why}: cargo build --release -p sluice", options.sluice.display()))?;
        Ok(Folders { run: paths.run.clone(), sluice })
    };
    match part {
        Part::Forwarding => forwarding(options, plan, paths),
        Part::Lpm => lpm::run(&turns, &columns::TABLES[columns::TABLES.len() - 1], paths),
        Part::Http => tcp::run(&turns, &folders()?),
        Part::Memif => memif::run(&turns, &folders()?),
        Part::Load => load::run(&turns, &folders()?),
        Part::Library => library::run(&turns),
    }
}

fn forwarding(options: &Options, plan: &Plan, paths: &Paths) -> Result<(String, Document)> {
    let contenders = contenders::choose(&options.contenders, paths)?;
    let tables = columns::choose(&options.tables)?;
    let start = runs::Start::now(plan);
    let results = measure::run(plan, &tables, &contenders, paths)?;
    let about = format!(
        "One core ({}), two ports, 64-byte UDP packets; {} ms to warm up, {} ms measured.",
        plan.cores.worker,
        plan.warm_up.as_millis(),
        plan.window.as_millis()
    );
    let text = section::heading("Forwarding", &about)? + &tables::text(&results, plan);
    Ok((text, start.finish(&results, plan)))
}

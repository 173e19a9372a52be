//! Forwarding compared with peers, side by side on this machine: DPDK's testpmd and l3fwd, and sluice.
//!
//! `bench/peers/README.md` tells what is measured and how.

mod columns;
mod contenders;
mod flows;
mod machine;
mod measure;
mod process;
mod runs;
mod tables;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;

/// Errors are sentences for the person at the terminal.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Compares one core's forwarding with DPDK's own programs, interleaved, on the same packets.
#[derive(Parser)]
#[command(name = "peers")]
struct Options {
    /// Measurements of each contender on each flow set; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// One short round: to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Milliseconds that a contender forwards before it is measured.
    #[arg(long, default_value_t = 1000)]
    warmup_ms: u64,
    /// Milliseconds that it is measured for.
    #[arg(long, default_value_t = 2000)]
    window_ms: u64,
    /// Only these contenders, by name.
    #[arg(long, value_delimiter = ',', default_values_t = contenders::DEFAULT.map(String::from))]
    contenders: Vec<String>,
    /// Only these route tables: 2, 1k, 1M.
    #[arg(long, value_delimiter = ',', default_values_t = columns::TABLES.each_ref().map(|table| table.name.to_owned()))]
    tables: Vec<String>,
    /// The sluice binary.
    #[arg(long, default_value = "target/release/sluice")]
    sluice: PathBuf,
    /// The core that forwards.
    #[arg(long, default_value_t = 1)]
    core: u16,
    /// The core for everything else.
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

fn run(options: Options) -> Result<()> {
    let paths = contenders::Paths::new(&options.sluice);
    columns::prepare(&paths.data)?;
    if options.tables_only {
        return Ok(());
    }
    machine::check(options.core, options.control_core)?;
    let built = Command::new(paths.peers.join("build.sh")).status()?;
    if !built.success() {
        return Err("bench/peers/build.sh failed; what it says above is what to mend".into());
    }
    let contenders = contenders::choose(&options.contenders, &paths)?;
    let tables = columns::choose(&options.tables)?;
    let plan = measure::Plan {
        rounds: if options.quick { 1 } else { options.rounds.max(1) },
        warm_up: Duration::from_millis(if options.quick { 300 } else { options.warmup_ms }),
        window: Duration::from_millis(if options.quick { 500 } else { options.window_ms }),
        cores: contenders::Cores { worker: options.core, control: options.control_core },
    };
    let start = runs::Start::now(&plan);
    let results = measure::run(&plan, &tables, &contenders, &paths)?;
    let text = tables::text(&results, &plan);
    println!("{text}");
    if let Some(json) = &options.json {
        let document = start.finish(&results, &plan);
        std::fs::write(json, document.json()?).map_err(|error| format!("{}: {error}", json.display()))?;
    }
    if options.report.as_os_str() != "-" {
        std::fs::write(&options.report, tables::document(&text, &plan)?)
            .map_err(|error| format!("{}: {error}", options.report.display()))?;
        eprintln!("peers: written to {}", options.report.display());
    }
    Ok(())
}

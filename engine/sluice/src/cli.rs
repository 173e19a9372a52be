//! The commands of the `sluice` binary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{bench, check, doctor, load, port, run, serve, show};

/// A DPDK poll-mode packet engine: IPv4 router and TCP server.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the router until SIGINT or SIGTERM.
    Run {
        /// The configuration file.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run an echo server, TCP and UDP, without a configuration file.
    Echo(serve::Echo),
    /// Run an HTTP server of a folder, without a configuration file.
    Http(serve::Http),
    /// Load a server, by HTTP/1.1 or with messages that it echoes, and show how long its answers took.
    Load(Box<load::Load>),
    /// Check a configuration file: says all its errors at once, or the plan.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Show what a running router or server does.
    Show(show::Show),
    /// Remove, add or reset a port of a running router.
    Port(port::Port),
    /// Measure a device under test.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Look for what this machine lacks, and say what mends it.
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Carries out what the command line says.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run { config } => run::run_file(&config),
        Command::Echo(echo) => serve::echo(&echo),
        Command::Http(http) => serve::http(&http),
        Command::Load(load) => load::run(&load),
        Command::Check { file } => check::check(&file),
        Command::Show(show) => show::show(&show),
        Command::Port(port) => port::change(port),
        Command::Bench(bench) => bench::run(&bench),
        Command::Doctor { json } => doctor::run(&doctor::DoctorOptions { json }),
    }
}

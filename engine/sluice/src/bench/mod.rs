//! `sluice bench`: measuring devices under test.

mod args;
mod document;
mod dut;
mod forward;
mod ports;
mod say;
mod session;
mod testpmd;
mod units;

use std::process::ExitCode;

use clap::Subcommand;

/// What stops a measurement: one sentence.
type Error = Box<dyn std::error::Error>;

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Send frames through a device under test, and look at what comes back.
    Forward(Box<args::Forward>),
}

/// Runs a measurement.
pub(crate) fn run(bench: &Bench) -> ExitCode {
    let Bench::Forward(args) = bench;
    match forward::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(error),
    }
}

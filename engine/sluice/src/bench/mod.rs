//! `sluice bench`: measuring devices under test, and what becomes of the results.

mod args;
mod diff;
mod document;
mod dut;
mod forward;
mod ports;
mod render;
mod say;
mod session;
mod testpmd;
pub(crate) mod units;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use report::Document;

/// What stops a measurement: one sentence.
type Error = Box<dyn std::error::Error>;

/// What can be measured, and done with results.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Send frames through a device under test, and look at what comes back.
    Forward(Box<args::Forward>),
    /// Compare two results: which measures changed, beyond chance?
    ///
    /// Exit status: 0 nothing got worse, 1 something did, 2 they cannot be compared.
    Diff(diff::Diff),
    /// Show a result: as a summary, a web page, CSV or an HdrHistogram log.
    Report(render::Render),
}

/// Runs a measurement, or shows what came of some.
pub(crate) fn run(bench: &Bench) -> ExitCode {
    let done = match bench {
        Bench::Forward(args) => forward::run(args),
        Bench::Diff(diff) => return diff::run(diff),
        Bench::Report(render) => render::run(render),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(error),
    }
}

/// Reads a result.
fn read(path: &Path) -> Result<Document, Error> {
    let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|why| named(&why))?;
    Ok(Document::parse(&text).map_err(|why| named(&why))?)
}

//! TCP as a library: our stack and smoltcp on the same packets in memory, by the criterion bench of `tcp`.

use std::path::PathBuf;
use std::process::Command;

use report::Document;
use report::measure::Measure;
use serde_json::Value;

use crate::Result;
use crate::measure::Plan;
use crate::section::{Section, Trial};

const SMOLTCP: &str = "smoltcp";
const OURS: &str = "sluice";

const ABOUT: &str = "One stack in memory, its peers played: `cargo bench -p tcp --bench stack`. A request is 64 bytes in and 64 \
    bytes out; segments have 1448 bytes. Checksums of what comes in are taken for checked, those of what goes out are computed.";

const TIME: Measure = Measure::lower("median", "ns");

/// Group and number of connections of criterion's benches, and what they are.
const BENCHES: [(&str, &str, &str); 4] = [
    ("request", "1", "request and answer, 1 connection"),
    ("request", "100", "request and answer, 100 connections"),
    ("send", "1", "segment sent, 1 connection"),
    ("receive", "1", "segment received, 1 connection"),
];

/// Measures everything; needs cargo and the sources.
pub(crate) fn run(plan: &Plan) -> Result<(String, Document)> {
    let mut section = Section::begin("TCP as a library", ABOUT, SMOLTCP);
    for (group, connections, name) in BENCHES {
        let trial = Trial { name, subjects: vec![SMOLTCP, OURS] };
        section.rounds(plan.rounds, &trial, |subject| {
            Ok(vec![(TIME, measured(plan, group, subject, connections)?)])
        })?;
    }
    section.finish([plan.cores.control, plan.cores.worker])
}

fn measured(plan: &Plan, group: &str, subject: &str, connections: &str) -> Result<f64> {
    let bench = format!("{group}/{subject}/{connections}");
    let mut command = Command::new("taskset");
    command.arg("-c").arg(plan.cores.worker.to_string());
    command.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["bench", "-q", "-p", "tcp", "--bench", "stack", "--", "--exact", &bench]);
    command.args(["--warm-up-time", "0.2", "--measurement-time"]).arg(plan.window.as_secs_f64().to_string());
    let done = command.output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(format!("cargo bench failed: {}", said.trim().lines().last().unwrap_or_default()).into());
    }
    let file = target().join("criterion").join(&bench).join("new/estimates.json");
    let text = std::fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
    let said: Value = serde_json::from_str(&text)?;
    Ok(said["median"]["point_estimate"].as_f64().ok_or("criterion gives no median")?)
}

/// Where cargo builds.
fn target() -> PathBuf {
    let default = || concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

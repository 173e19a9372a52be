//! `sluice doctor`: looks at the machine, changes nothing, and says what mends what it finds.

mod access;
mod cpu;
mod drivers;
mod finding;
mod iommu;
mod machine;
mod memory;
mod nic;
#[cfg(test)]
mod tests;
mod version;

use std::process::ExitCode;

use finding::{Finding, Level};
use machine::Machine;
use serde_json::json;

use crate::table::table;

/// How `sluice doctor` is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DoctorOptions {
    /// Print JSON instead of a table.
    pub(crate) json: bool,
}

/// A check: its name, and what it finds on a machine.
type Check = (&'static str, fn(&Machine) -> Vec<Finding>);

const CHECKS: [Check; 13] = [
    ("dpdk", version::dpdk),
    ("drivers", drivers::plugins),
    ("permissions", access::privileges),
    ("devices", access::device_files),
    ("hugepages", memory::hugepages),
    ("thp", memory::transparent_hugepages),
    ("iommu", iommu::iommu),
    ("vfio", iommu::vfio),
    ("nic", nic::binding),
    ("numa", nic::numa),
    ("isolation", cpu::isolation),
    ("governor", cpu::governor),
    ("tsc", cpu::tsc),
];

/// Runs every check and prints the findings. Fails when one of them keeps sluice from running.
pub(crate) fn run(options: &DoctorOptions) -> ExitCode {
    let findings = examine(&Machine::new("/", pmd::Eal::version()));
    let text = if options.json { as_json(&findings) } else { as_table(&findings) };
    if let Err(why) = crate::print(&format!("{text}\n")) {
        return crate::fail(why);
    }
    let fatal = findings.iter().any(|(_, finding)| finding.level == Level::Fail);
    if fatal { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All findings with the names of their checks, in the order of [`CHECKS`].
fn examine(machine: &Machine) -> Vec<(&'static str, Finding)> {
    let findings = |(name, check): &Check| {
        let name = *name;
        check(machine).into_iter().map(move |finding| (name, finding))
    };
    CHECKS.iter().flat_map(findings).collect()
}

fn as_table(findings: &[(&'static str, Finding)]) -> String {
    let row = |(check, finding): &(&str, Finding)| {
        vec![finding.level.name().to_owned(), (*check).to_owned(), finding.what.clone()]
    };
    let count = |level| findings.iter().filter(|(_, finding)| finding.level == level).count();
    let mut text = table(&["", "check", "finding"], &[], findings.iter().map(row));
    let mends = findings.iter().filter_map(|(check, f)| Some((check, f.what.as_str(), f.mend.as_deref()?)));
    for (check, what, mend) in mends {
        text.push_str(&format!("\n\n{check}: {what}\n    {mend}"));
    }
    let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
    text.push_str(&format!("\n\n{ok} ok, {warn} to improve, {fail} in the way"));
    text
}

fn as_json(findings: &[(&'static str, Finding)]) -> String {
    let rows: Vec<_> = findings
        .iter()
        .map(|(check, f)| json!({"check": check, "level": f.level.name(), "what": f.what, "mend": f.mend}))
        .collect();
    json!({ "findings": rows }).to_string()
}

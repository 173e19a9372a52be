//! Where it was measured, and whether the numbers can be trusted.
//!
//! Take a [`Snapshot`] before and one after; [`Environment::judge`] is a pure function of the two and of what only the
//! caller knows.

mod cpu;
mod noise;
mod platform;
mod snapshot;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use snapshot::Snapshot;

/// What was found out about the machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    /// What it is, in the order in which it is shown.
    pub facts: Vec<Fact>,
    /// What follows for the numbers.
    pub findings: Vec<Finding>,
}

/// Something about the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// What.
    pub name: String,
    /// For people.
    pub value: String,
    /// Whether results are comparable only where this is the same.
    #[serde(default)]
    pub decisive: bool,
}

/// What a fact does to the numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// How much.
    pub weight: Weight,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// The command that mends it; empty for what is well.
    pub mend: String,
}

/// How much a finding says against the numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Nothing.
    Good,
    /// They hold for this machine as it is, or spread more than they need to.
    Caution,
    /// They are wrong.
    Spoils,
}

/// Whether the numbers can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Nothing says against it.
    Yes,
    /// Something does, a little.
    WithCare,
    /// Something does, much.
    No,
    /// Nobody looked.
    Unknown,
}

/// What only the caller knows.
#[derive(Clone, PartialEq, Debug)]
pub struct Given {
    /// The cores that what was measured ran on.
    pub cores: Vec<u32>,
    /// The processes that belong to the measurement, this one among them.
    pub processes: Vec<u32>,
    /// DPDK's version, where it took part.
    pub dpdk: Option<String>,
    /// The devices that packets went through.
    pub devices: Vec<Device>,
    /// The time stamp counter's frequency, where it was the clock.
    pub tsc_hz: Option<u64>,
    /// Whether the program was built with optimization.
    pub optimized: bool,
}

/// A device that packets went through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its PCI address, or the name of a virtual device.
    pub name: String,
    /// Its driver, such as `net_ice`.
    pub driver: String,
}

impl Given {
    /// This process on `cores`, without devices.
    pub fn new(cores: impl IntoIterator<Item = u32>) -> Given {
        Given {
            cores: cores.into_iter().collect(),
            processes: vec![std::process::id()],
            dpdk: None,
            devices: Vec::new(),
            tsc_hz: None,
            optimized: !cfg!(debug_assertions),
        }
    }
}

impl Device {
    /// Whether software moves the packets: it has no PCI address.
    fn is_virtual(&self) -> bool {
        let mut parts = self.name.split([':', '.']);
        !(parts.clone().count() == 4 && parts.all(|part| u32::from_str_radix(part, 16).is_ok()))
    }
}

impl Environment {
    /// What the machine was between two snapshots.
    pub fn judge(before: &Snapshot, after: &Snapshot, given: &Given) -> Environment {
        let facts =
            [cpu::facts(before, given), platform::facts(before, given), noise::facts(before, after, given)];
        let findings = [
            platform::findings(before, given),
            cpu::findings(before, given),
            noise::findings(before, after, given),
        ];
        let mut findings: Vec<Finding> = findings.into_iter().flatten().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
        Environment { facts: facts.into_iter().flatten().collect(), findings }
    }

    /// The verdict.
    pub fn trust(&self) -> Trust {
        match self.findings.iter().map(|finding| finding.weight).max() {
            None => Trust::Unknown,
            Some(Weight::Good) => Trust::Yes,
            Some(Weight::Caution) => Trust::WithCare,
            Some(Weight::Spoils) => Trust::No,
        }
    }

    /// The verdict as a sentence.
    pub fn trust_sentence(&self) -> String {
        let of = |weight| self.findings.iter().filter(move |finding| finding.weight == weight);
        let what = |weight| of(weight).map(|finding| &*finding.what).collect::<Vec<_>>().join("; ");
        match self.trust() {
            Trust::Unknown => "unknown: the machine was not looked at".to_owned(),
            Trust::Yes => "yes: nothing on this machine speaks against them".to_owned(),
            Trust::WithCare => format!("with care: {}", what(Weight::Caution)),
            Trust::No => format!("no: {}", what(Weight::Spoils)),
        }
    }

    /// The value of a fact.
    pub fn fact(&self, name: &str) -> Option<&str> {
        Some(&*self.facts.iter().find(|fact| fact.name == name)?.value)
    }
}

/// A fact that results are comparable without.
fn told(name: &str, value: impl Into<String>) -> Fact {
    Fact { name: name.to_owned(), value: value.into(), decisive: false }
}

/// A fact that decides whether results are comparable.
fn decisive(name: &str, value: impl Into<String>) -> Fact {
    Fact { decisive: true, ..told(name, value) }
}

fn good(what: impl Into<String>) -> Finding {
    Finding { weight: Weight::Good, what: what.into(), why: String::new(), mend: String::new() }
}

fn caution(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { weight: Weight::Caution, what: what.into(), why: why.into(), mend: mend.into() }
}

fn spoils(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { weight: Weight::Spoils, ..caution(what, why, mend) }
}

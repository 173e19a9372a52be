//! Whether the DPDK that is linked is one that sluice knows.

use super::finding::Finding;
use super::machine::Machine;

/// Year and month of the oldest and newest release that `pmd` supports.
const OLDEST: (u32, u32) = (22, 11);
const NEWEST: (u32, u32) = (25, 11);

/// Reads the linked DPDK's version.
pub(super) fn dpdk(machine: &Machine) -> Vec<Finding> {
    let text = &machine.dpdk;
    let finding = match release(text) {
        Some(release) if (OLDEST..=NEWEST).contains(&release) => Finding::ok(text),
        _ => Finding::fail(
            format!("`{text}` is not a supported DPDK (22.11 to 25.11)"),
            "apt-get install libdpdk-dev, then build sluice again",
        ),
    };
    vec![finding]
}

fn release(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("DPDK ")?.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

//! Build, machine, memory, devices.

use super::cpu::expand;
use super::snapshot::Snapshot;
use super::{Fact, Finding, Given, caution, decisive, good, spoils, told};

pub(super) fn facts(machine: &Snapshot, given: &Given) -> Vec<Fact> {
    let pages = machine.hugepages.iter().filter(|(_, pages)| **pages > 0);
    let pages: Vec<String> = pages.map(|(kib, pages)| format!("{pages} of {}", size(*kib))).collect();
    let mut facts = vec![
        decisive("machine", machine_name(machine)),
        decisive("kernel", format!("Linux {}", machine.kernel)),
        told("NUMA nodes", machine.nodes.len().max(1).to_string()),
        told("huge pages", if pages.is_empty() { "none".to_owned() } else { pages.join(", ") }),
        decisive("build", if given.optimized { "optimized" } else { "not optimized" }),
    ];
    facts.extend(given.dpdk.iter().map(|version| decisive("DPDK", version)));
    let device = |device: &super::Device| decisive("device", format!("{}, {}", device.name, device.driver));
    facts.extend(given.devices.iter().map(device));
    facts
}

pub(super) fn findings(machine: &Snapshot, given: &Given) -> Vec<Finding> {
    let mut findings = vec![build(given), bare_metal(machine)];
    if given.dpdk.is_some() {
        findings.push(hugepages(machine));
    }
    if !given.devices.is_empty() {
        findings.push(devices(given));
        findings.push(numa(machine, given));
    }
    findings
}

fn build(given: &Given) -> Finding {
    if given.optimized {
        return good("built with optimization");
    }
    let why = "it runs several times slower than what users get";
    spoils("built without optimization", why, "cargo build --release")
}

fn bare_metal(machine: &Snapshot) -> Finding {
    if !is_guest(machine) {
        return good("no hypervisor");
    }
    let why = "other guests share cores, caches and memory, and the host may stop a core at any time";
    let mend = "measure on bare metal, or pin each of the guest's cores to one of the host's: virsh vcpupin";
    caution("this is a virtual machine", why, mend)
}

fn hugepages(machine: &Snapshot) -> Finding {
    if machine.hugepages.values().any(|pages| *pages > 0) {
        return good("packets are in huge pages");
    }
    let why = "nearly each packet misses the TLB: DPDK is several times slower";
    spoils(
        "there are no huge pages",
        why,
        "echo 1024 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
    )
}

fn devices(given: &Given) -> Finding {
    let soft: Vec<&str> =
        given.devices.iter().filter(|device| device.is_virtual()).map(|device| &*device.name).collect();
    if soft.is_empty() {
        return good("packets went through network cards");
    }
    let why = "software moves the packets: the figures hold for it, not for a network card";
    let mend = "name a card's PCI address as the device; sluice doctor lists them";
    caution(format!("virtual devices: {}", soft.join(", ")), why, mend)
}

fn numa(machine: &Snapshot, given: &Given) -> Finding {
    let node_of = |core: &u32| {
        let (node, _) = machine.nodes.iter().find(|(_, cores)| expand(cores).contains(core))?;
        Some(*node)
    };
    for device in &given.devices {
        let Some(&home) = machine.device_nodes.get(&device.name) else { continue };
        let away = given.cores.iter().find(|core| node_of(core).is_some_and(|node| node != home));
        if let Some(core) = away {
            let near = machine.nodes.get(&home).map_or("its own", String::as_str);
            return caution(
                format!("core {core} is on another NUMA node than {}", device.name),
                "each packet crosses the link between the sockets",
                format!("use cores of node {home}: {near}"),
            );
        }
    }
    good("cores and devices are on the same NUMA node")
}

fn is_guest(machine: &Snapshot) -> bool {
    machine.flags.iter().any(|flag| flag == "hypervisor")
}

fn machine_name(machine: &Snapshot) -> String {
    let name = if machine.product.is_empty() { "unnamed" } else { &*machine.product };
    if is_guest(machine) { format!("{name} (virtual)") } else { name.to_owned() }
}

fn size(kib: u32) -> String {
    if kib >= 1 << 20 { format!("{} GiB", kib >> 20) } else { format!("{} MiB", kib >> 10) }
}

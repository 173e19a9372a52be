//! PCI network devices: drivers, NUMA.

use super::finding::Finding;
use super::iommu::{NO_IOMMU, has_iommu, no_iommu_mode};
use super::machine::{Machine, Nic};

/// Drivers through which DPDK takes the whole device.
const TAKEN: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];
/// Drivers that DPDK uses beside the kernel.
const SHARED: [&str; 3] = ["mlx5_core", "mlx4_core", "mana"];

/// Who has each network device.
pub(super) fn binding(machine: &Machine) -> Vec<Finding> {
    let nics = machine.nics();
    if nics.is_empty() {
        return vec![Finding::warn(
            "no PCI network device: only virtual devices (net_tap, net_af_packet, net_af_xdp, ...)",
            "a virtual device in the configuration: device = \"net_af_packet0,iface=eth0\"",
        )];
    }
    nics.iter().map(|nic| judge(machine, nic)).collect()
}

fn judge(machine: &Machine, nic: &Nic) -> Finding {
    let address = &nic.address;
    // Without an IOMMU, vfio-pci takes none: not every kernel has its unsafe mode, while uio needs no mode.
    let taker = if has_iommu(machine) || no_iommu_mode(machine) { "vfio-pci" } else { "uio_pci_generic" };
    let bind = format!("modprobe {taker} && dpdk-devbind.py -b {taker} {address}");
    match nic.driver.as_deref() {
        None => Finding::warn(format!("{address} has no driver: nobody can use it"), bind),
        Some("vfio-pci") if !has_iommu(machine) && !no_iommu_mode(machine) => Finding::fail(
            format!("{address} is bound to vfio-pci, but there is no IOMMU: opening it will fail"),
            format!("turn the IOMMU on (see iommu), or, unsafe: {bind}, or: echo 1 >/{NO_IOMMU}"),
        ),
        Some(driver) if TAKEN.contains(&driver) => {
            Finding::ok(format!("{address} is ready for sluice ({driver}): device = \"{address}\""))
        }
        Some(driver) if SHARED.contains(&driver) => {
            Finding::ok(format!("{address} is ready for sluice, beside the kernel ({driver})"))
        }
        Some(driver) => in_kernel(machine, nic, driver, bind),
    }
}

fn in_kernel(machine: &Machine, nic: &Nic, driver: &str, bind: String) -> Finding {
    let name = nic.interfaces.join(", ");
    let busy = |name: &String| {
        machine.read(&format!("sys/class/net/{name}/operstate")).is_some_and(|state| state == "up")
    };
    let what = format!(
        "{} belongs to the kernel ({driver}{}{name})",
        nic.address,
        if name.is_empty() { "" } else { ", " }
    );
    if nic.interfaces.iter().any(busy) {
        // Perhaps the interface over which this is read.
        return Finding::ok(format!("{what} and is up"))
            .hint(format!("to give it to sluice (its connections end): ip link set {name} down && {bind}"));
    }
    Finding::ok(what).hint(format!("to give it to sluice: {bind}"))
}

/// Whether devices, cores and huge pages are on the same NUMA node.
pub(super) fn numa(machine: &Machine) -> Vec<Finding> {
    let nodes = machine.nodes();
    if nodes.len() <= 1 {
        return vec![Finding::ok("one NUMA node: all memory is near")];
    }
    let mut findings = vec![Finding::ok(format!("{} NUMA nodes", nodes.len()))];
    findings.extend(machine.nics().iter().map(|nic| near(machine, nic)));
    findings
}

fn near(machine: &Machine, nic: &Nic) -> Finding {
    let address = &nic.address;
    let Some(node) = nic.node else {
        return Finding::warn(
            format!("{address}: the firmware does not say on which NUMA node it is"),
            "turn on NUMA (SRAT) in the firmware, or see the board's manual for the slot's node",
        );
    };
    let folder = format!("sys/devices/system/node/node{node}");
    let cores = machine.read(&format!("{folder}/cpulist")).unwrap_or_default();
    let pages = |size| machine.number::<u64>(&format!("{folder}/hugepages/hugepages-{size}kB/nr_hugepages"));
    let total = pages(2048).unwrap_or(0) + pages(1_048_576).unwrap_or(0);
    if total == 0 {
        return Finding::warn(
            format!("{address} is on NUMA node {node}, which has no huge pages"),
            format!("echo 512 >/{folder}/hugepages/hugepages-2048kB/nr_hugepages"),
        );
    }
    Finding::ok(format!("{address} is on NUMA node {node}: let workers on cores {cores} poll it"))
}

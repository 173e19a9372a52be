//! The IOMMU, and the driver that needs it.

use super::finding::Finding;
use super::machine::Machine;

pub(super) const NO_IOMMU: &str = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

/// Whether devices can be kept to memory that they are given.
pub(super) fn has_iommu(machine: &Machine) -> bool {
    !machine.list("sys/kernel/iommu_groups").is_empty()
}

/// Whether vfio-pci was told to do without an IOMMU.
pub(super) fn no_iommu_mode(machine: &Machine) -> bool {
    machine.read(NO_IOMMU).is_some_and(|mode| mode == "Y")
}

/// Whether devices can be kept to their own memory.
pub(super) fn iommu(machine: &Machine) -> Vec<Finding> {
    if has_iommu(machine) {
        let groups = machine.list("sys/kernel/iommu_groups").len();
        return vec![Finding::ok(format!("IOMMU is on, {groups} groups"))];
    }
    if machine.nics().is_empty() {
        return vec![Finding::ok("IOMMU is off; there is no PCI network device that would need it")];
    }
    let asked = machine.read("proc/cmdline").is_some_and(|line| line.contains("iommu=on"));
    if asked {
        return vec![Finding::warn(
            "the kernel was asked for an IOMMU and has found none",
            "turn on VT-d or AMD-Vi in the firmware; on a virtual machine: add an IOMMU (qemu: -device intel-iommu)",
        )];
    }
    let intel = machine.read("proc/cpuinfo").is_some_and(|info| info.contains("GenuineIntel"));
    let option = if intel { "intel_iommu=on iommu=pt" } else { "iommu=pt" };
    vec![Finding::warn(
        "IOMMU is off: vfio-pci cannot take devices, except in its unsafe mode",
        format!("add {option} to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub && reboot"),
    )]
}

/// Whether devices can be handed over by vfio-pci.
pub(super) fn vfio(machine: &Machine) -> Vec<Finding> {
    if !has_iommu(machine) {
        return vec![match (no_iommu_mode(machine), machine.nics().is_empty()) {
            (true, _) => Finding::warn(
                "vfio-pci is in its unsafe mode: a device can write anywhere in memory",
                "turn the IOMMU on (see iommu)",
            ),
            (false, true) => Finding::ok("vfio-pci is not needed: there is no PCI network device"),
            (false, false) => Finding::warn(
                "vfio-pci takes no device without an IOMMU; uio_pci_generic does, which lets a device write \
                 anywhere in memory",
                "turn the IOMMU on (see iommu), or hand devices to uio_pci_generic (see nic)",
            ),
        }];
    }
    if !machine.exists("sys/bus/pci/drivers/vfio-pci") {
        return vec![Finding::warn(
            "vfio-pci is not loaded: PCI devices cannot be taken",
            "modprobe vfio-pci",
        )];
    }
    if !remaps_interrupts(machine) && machine.read(UNSAFE_INTERRUPTS).is_none_or(|on| on != "Y") {
        return vec![Finding::warn(
            "the IOMMU does not remap interrupts: vfio takes no device unless told that this is all right",
            format!("modprobe vfio_iommu_type1; echo Y >/{UNSAFE_INTERRUPTS}"),
        )];
    }
    vec![Finding::ok("vfio-pci is loaded")]
}

const UNSAFE_INTERRUPTS: &str = "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts";

/// Whether interrupts of devices are checked too, as far as one can see: of Intel's IOMMUs, bit 3 of the extended
/// capabilities (VT-d specification, section 11.4.3); others are taken at their word.
fn remaps_interrupts(machine: &Machine) -> bool {
    const FOLDER: &str = "sys/class/iommu";
    machine.list(FOLDER).iter().all(|unit| {
        let capabilities = machine.read(&format!("{FOLDER}/{unit}/intel-iommu/ecap"));
        let bits = capabilities.and_then(|text| u64::from_str_radix(&text, 16).ok());
        bits.is_none_or(|bits| bits >> 3 & 1 == 1)
    })
}

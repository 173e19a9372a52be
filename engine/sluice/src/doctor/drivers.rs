//! Whether DPDK's drivers are installed, where they are plugins.

use super::finding::Finding;
use super::machine::Machine;

/// Drivers as Debian's packages name them, and what they are for.
const DRIVERS: [(&str, &str); 9] = [
    ("bus-pci", "PCI devices"),
    ("bus-vdev", "virtual devices"),
    ("net-af-packet", "net_af_packet devices"),
    ("net-af-xdp", "net_af_xdp devices"),
    ("net-e1000", "Intel's 1 Gbit/s cards, and QEMU's e1000 and e1000e"),
    ("net-memif", "net_memif devices"),
    ("net-tap", "net_tap devices"),
    ("net-vhost", "net_vhost devices"),
    ("net-virtio", "virtio cards and net_virtio_user devices"),
];

/// Looks into the folder from which DPDK loads its drivers; a DPDK that is built otherwise has none.
pub(super) fn plugins(machine: &Machine) -> Vec<Finding> {
    let mut folders = machine.list("usr/lib").into_iter().flat_map(|triplet| {
        let dpdk = format!("usr/lib/{triplet}/dpdk");
        machine.list(&dpdk).into_iter().map(move |folder| format!("{dpdk}/{folder}"))
    });
    let Some(folder) = folders.rfind(|folder| folder.contains("/pmds-")) else {
        return Vec::new();
    };
    let version = folder.rsplit('-').next().unwrap_or_default();
    let abi = version.split('.').next().unwrap_or_default();
    let plugin = |name: &str| format!("{folder}/librte_{}.so.{version}", name.replace('-', "_"));
    let missing: Vec<_> = DRIVERS.iter().filter(|(name, _)| !machine.exists(&plugin(name))).collect();
    if missing.is_empty() {
        return vec![Finding::ok(
            "DPDK's drivers are installed: PCI, virtio, TAP, AF_XDP, AF_PACKET, memif, vhost",
        )];
    }
    let finding = |(name, what): &&(&str, &str)| {
        let package = format!("librte-{name}{abi}");
        Finding::warn(format!("DPDK's driver for {what} is missing"), format!("apt-get install {package}"))
    };
    missing.iter().map(finding).collect()
}

//! What this process may do: capabilities and device files.

use super::finding::Finding;
use super::machine::Machine;

/// Capabilities by bit (capabilities(7)), and what sluice needs each for.
const NEEDED: [(u32, &str, &str); 3] = [
    (12, "CAP_NET_ADMIN", "to make and set up network interfaces"),
    (13, "CAP_NET_RAW", "for af_packet and af_xdp devices"),
    (14, "CAP_IPC_LOCK", "to lock memory for devices"),
];

/// Reads the process's effective capabilities.
pub(super) fn privileges(machine: &Machine) -> Vec<Finding> {
    let Some(who) = machine.identity() else {
        return vec![Finding::warn(
            "/proc/self/status cannot be read: permissions unknown",
            "mount -t proc proc /proc",
        )];
    };
    let missing: Vec<_> = NEEDED.iter().filter(|(bit, ..)| (who.capabilities >> bit) & 1 == 0).collect();
    if missing.is_empty() {
        let as_whom = if who.uid == 0 { "root".to_owned() } else { format!("user {}", who.uid) };
        return vec![Finding::ok(format!("{as_whom}, with all capabilities needed"))];
    }
    let finding = |(_, name, why): &&(u32, &str, &str)| {
        Finding::fail(format!("{name} is missing, {why}"), "run sluice as root: sudo sluice ...")
    };
    missing.iter().map(finding).collect()
}

/// Looks whether the device files are there and may be opened.
pub(super) fn device_files(machine: &Machine) -> Vec<Finding> {
    let files = [
        ("/dev/net/tun", "net_tap devices", "modprobe tun"),
        ("/dev/vfio/vfio", "PCI devices bound to vfio-pci", "modprobe vfio-pci"),
    ];
    let Some(who) = machine.identity() else { return Vec::new() };
    let finding = |(path, what, mend): (&str, &str, &str)| {
        if !machine.is_device(path) {
            return Finding::warn(format!("{path} is missing: no {what}"), mend);
        }
        match machine.may_write(path, &who) {
            Some(true) => Finding::ok(format!("{path} can be opened")),
            _ => Finding::warn(
                format!("{path} may not be opened by this user: no {what}"),
                "run sluice as root: sudo sluice ...",
            ),
        }
    };
    files.into_iter().map(finding).collect()
}

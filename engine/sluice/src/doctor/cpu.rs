//! Cores: isolation, frequency, time stamp counter.

use super::finding::Finding;
use super::machine::Machine;

/// Whether some cores are kept free of other work.
pub(super) fn isolation(machine: &Machine) -> Vec<Finding> {
    let cores = |file: &str| {
        let text = machine.read(&format!("sys/devices/system/cpu/{file}")).unwrap_or_default();
        // The kernel prints "(null)" for an empty nohz_full on some versions.
        if text.starts_with('(') { String::new() } else { text }
    };
    let (isolated, tickless) = (cores("isolated"), cores("nohz_full"));
    if isolated.is_empty() {
        let last = machine.read("sys/devices/system/cpu/online").and_then(|online| last_core(&online));
        return vec![match last {
            None | Some(0) => Finding::warn(
                "one core: workers share it with everything else",
                "give the machine more cores, and use poll = \"adaptive\"",
            ),
            Some(last) => Finding::warn(
                "no isolated cores: other programs interrupt workers that poll = \"busy\"",
                format!(
                    "add isolcpus=1-{last} nohz_full=1-{last} rcu_nocbs=1-{last} to GRUB_CMDLINE_LINUX in \
                     /etc/default/grub, then: update-grub && reboot"
                ),
            ),
        }];
    }
    if tickless.is_empty() {
        return vec![Finding::warn(
            format!("isolated cores: {isolated}, but the timer still interrupts them"),
            format!(
                "add nohz_full={isolated} rcu_nocbs={isolated} to the kernel's command line, then reboot"
            ),
        )];
    }
    vec![Finding::ok(format!("isolated cores: {isolated}; without timer: {tickless}"))]
}

/// The last core of a list such as "0-3,6-7".
fn last_core(list: &str) -> Option<u32> {
    list.rsplit([',', '-']).next()?.parse().ok()
}

/// Whether every core runs at full speed.
pub(super) fn governor(machine: &Machine) -> Vec<Finding> {
    const FOLDER: &str = "sys/devices/system/cpu";
    let is_core = |name: &String| {
        name.strip_prefix("cpu").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    let governors: Vec<String> = machine
        .list(FOLDER)
        .iter()
        .filter(|name| is_core(name))
        .filter_map(|core| machine.read(&format!("{FOLDER}/{core}/cpufreq/scaling_governor")))
        .collect();
    vec![match governors.iter().find(|governor| *governor != "performance") {
        _ if governors.is_empty() => Finding::ok("the system does not scale the cores' frequency"),
        None => Finding::ok("frequency governor: performance"),
        Some(other) => Finding::warn(
            format!("frequency governor: {other}; cores slow down between bursts"),
            "for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance >$f; done",
        ),
    }]
}

/// Whether the time stamp counter can serve as the clock.
pub(super) fn tsc(machine: &Machine) -> Vec<Finding> {
    let info = machine.read("proc/cpuinfo").unwrap_or_default();
    let Some(flags) = info.lines().find(|line| line.starts_with("flags")) else {
        return vec![Finding::ok("not an x86: the generic timer is the clock")];
    };
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let missing: Vec<&str> = ["constant_tsc", "nonstop_tsc"].into_iter().filter(|flag| !has(flag)).collect();
    vec![if missing.is_empty() {
        Finding::ok("the time stamp counter is constant and never stops")
    } else {
        Finding::warn(
            format!("the time stamp counter lacks {}: time stamps may drift", missing.join(" and ")),
            "on a virtual machine: pass the host's CPU through (qemu: -cpu host,+invtsc)",
        )
    }]
}

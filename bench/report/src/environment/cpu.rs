//! Cores and clocks.

use super::snapshot::Snapshot;
use super::{Fact, Finding, Given, caution, decisive, good, spoils, told};

pub(super) fn facts(machine: &Snapshot, given: &Given) -> Vec<Fact> {
    let or_none = |list: &str| if list.is_empty() { "none".to_owned() } else { list.to_owned() };
    let on_off = |on| if on { "on" } else { "off" };
    let mut facts = vec![
        decisive("CPU", &machine.model),
        decisive("cores", expand(&machine.online).len().to_string()),
        decisive("cores used", join(&given.cores)),
        told("isolated cores", or_none(&machine.isolated)),
        told("cores without timer", or_none(&machine.tickless)),
        decisive("SMT", on_off(machine.smt)),
        decisive("governor", governors(machine, given).join(", ")),
        told("clock", &machine.clock_source),
    ];
    facts.extend(machine.turbo.map(|turbo| decisive("turbo", on_off(turbo.on))));
    facts.extend(given.tsc_hz.map(|hz| told("TSC", format!("{:.3} GHz", hz as f64 / 1e9))));
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

pub(super) fn findings(machine: &Snapshot, given: &Given) -> Vec<Finding> {
    let mut findings =
        vec![isolation(machine, given), room(machine, given), governor(machine, given), tsc(machine)];
    findings.extend(machine.turbo.map(|turbo| {
        if turbo.on {
            let why = "the frequency depends on how warm and how busy the other cores are";
            caution("turbo is on", why, turbo.off)
        } else {
            good("turbo is off")
        }
    }));
    findings.push(if machine.smt {
        let why = "a core's two threads share its units and caches: each slows the other";
        caution("SMT is on", why, "echo off >/sys/devices/system/cpu/smt/control")
    } else {
        good("no core is shared by two threads (SMT)")
    });
    findings
}

fn isolation(machine: &Snapshot, given: &Given) -> Finding {
    let (isolated, tickless) = (expand(&machine.isolated), expand(&machine.tickless));
    let without = |list: &[u32]| -> Vec<u32> {
        given.cores.iter().copied().filter(|core| !list.contains(core)).collect()
    };
    let (shared, ticking) = (without(&isolated), without(&tickless));
    let cores = join(&given.cores);
    if given.cores.is_empty() {
        let why = "the scheduler moves it about, and each move finds cold caches";
        return caution(
            "what was measured had no cores of its own",
            why,
            "name cores for it, or: taskset -c 1 COMMAND",
        );
    }
    if shared.is_empty() && ticking.is_empty() {
        return good(format!("cores {cores} are isolated, and without timer"));
    }
    let line = format!("isolcpus={cores} nohz_full={cores} rcu_nocbs={cores}");
    let mend = format!("add {line} to GRUB_CMDLINE_LINUX in /etc/default/grub, then: update-grub && reboot");
    if shared.is_empty() {
        let why = "each interrupt costs some microseconds, which the high percentiles show";
        return caution(format!("cores that the timer interrupts: {}", join(&ticking)), why, mend);
    }
    let why = "the scheduler may run anything there: latency has outliers of milliseconds, and rates spread";
    caution(format!("cores that are not isolated: {}", join(&shared)), why, mend)
}

fn room(machine: &Snapshot, given: &Given) -> Finding {
    let online = expand(&machine.online).len();
    if given.cores.len() < online {
        return good(format!("{} of {online} cores are left to the system", online - given.cores.len()));
    }
    let why = "everything else on the machine runs on the cores that are measured";
    caution(format!("all {online} cores are used"), why, "use fewer cores, or a machine with more")
}

fn governor(machine: &Snapshot, given: &Given) -> Finding {
    let other: Vec<String> =
        governors(machine, given).into_iter().filter(|name| name != "performance").collect();
    if other.is_empty() {
        return good("the cores' frequency is not scaled by load");
    }
    let why = "a core that was idle is slow at first, so that the first packets and low rates look bad";
    let mend =
        "for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo performance >$f; done";
    caution(format!("the frequency governor is {}", other.join(", ")), why, mend)
}

/// The different ones of the cores that are used.
fn governors(machine: &Snapshot, given: &Given) -> Vec<String> {
    let mut names: Vec<String> =
        given.cores.iter().filter_map(|core| machine.governors.get(core).cloned()).collect();
    names.sort();
    names.dedup();
    names
}

fn tsc(machine: &Snapshot) -> Finding {
    if machine.flags.is_empty() {
        return good("not an x86: the generic timer is the clock");
    }
    let has = |flag: &&&str| machine.flags.iter().any(|have| have == **flag);
    let missing: Vec<&str> =
        ["constant_tsc", "nonstop_tsc"].iter().filter(|flag| !has(flag)).copied().collect();
    let mend = "on a virtual machine, pass the host's CPU through: qemu -cpu host,+invtsc";
    if !missing.is_empty() {
        let why = "time stamps run faster and slower with the core: latencies are wrong";
        return spoils(format!("the time stamp counter is not {}", missing.join(" and ")), why, mend);
    }
    if !matches!(&*machine.clock_source, "tsc" | "kvm-clock" | "") {
        let why = "the kernel found the time stamp counter unsteady, and so may the measurement";
        return caution(format!("the kernel's clock is {}, not tsc", machine.clock_source), why, mend);
    }
    good("the time stamp counter is constant and never stops")
}

/// The cores of a list such as `0-3,6`.
pub(super) fn expand(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Numbers with commas between them.
pub(super) fn join(cores: &[u32]) -> String {
    cores.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

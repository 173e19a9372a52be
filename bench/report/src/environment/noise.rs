//! What else ran meanwhile.

use std::collections::BTreeMap;

use super::cpu::{expand, join};
use super::snapshot::Snapshot;
use super::{Fact, Finding, Given, caution, good, spoils, told};

/// Shares of a core's time. Below the first nobody sees it; above the second the figures are others.
const SEEN: f64 = 0.001;
const TOO_MUCH: f64 = 0.02;

pub(super) fn facts(before: &Snapshot, after: &Snapshot, given: &Given) -> Vec<Fact> {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let mut facts = vec![told("load average", format!("{:.2} before, {:.2} after", before.load, after.load))];
    if let Some(stolen) = stolen(before, after, given) {
        facts.push(told("stolen time", percent(stolen)));
        let others: f64 = others(before, after, given).iter().map(|(_, share)| share).sum();
        facts.push(told("others on the cores used", percent(others)));
    }
    facts
}

pub(super) fn findings(before: &Snapshot, after: &Snapshot, given: &Given) -> Vec<Finding> {
    let load = load(before);
    match stolen(before, after, given) {
        Some(share) => vec![load, steal(share), company(&others(before, after, given), given)],
        None => {
            let why = "it ended before the kernel counted any time, or its cores are not online";
            vec![load, caution("nobody knows what else ran meanwhile", why, "measure for some seconds")]
        }
    }
}

fn load(before: &Snapshot) -> Finding {
    let cores = expand(&before.online).len().max(1);
    if before.load < 0.1 * cores as f64 {
        return good("the machine was idle before");
    }
    let why = "what runs before will often run meanwhile, and share caches and memory";
    let what = format!("the machine was busy before: load {:.2} on {cores} cores", before.load);
    caution(what, why, "stop what top shows, wait a minute, and repeat")
}

fn steal(share: f64) -> Finding {
    if share < SEEN {
        return good("the hypervisor took no time");
    }
    let what = format!("the hypervisor took {:.1} % of the time", share * 100.0);
    let why = "the cores stood still meanwhile: packets were lost and latencies grew without anybody's fault";
    let mend = "measure when the host is quiet, or pin the guest's cores: virsh vcpupin";
    if share < TOO_MUCH { caution(what, why, mend) } else { spoils(what, why, mend) }
}

fn company(others: &[(String, f64)], given: &Given) -> Finding {
    let all: f64 = others.iter().map(|(_, share)| share).sum();
    if all < SEEN {
        return good("nothing else ran on the cores used");
    }
    let named: Vec<String> =
        others.iter().take(3).map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect();
    let what = format!("others ran on the cores used: {}", named.join(", "));
    let why = "what is measured waited for them, and found its caches cold";
    let cores = join(&given.cores);
    let mend = format!("stop them, or isolate the cores: isolcpus={cores} on the kernel's command line");
    if all < TOO_MUCH { caution(what, why, mend) } else { spoils(what, why, mend) }
}

/// The ticks that passed on each of the cores used, and the stolen ones; `None`: none passed.
fn stolen(before: &Snapshot, after: &Snapshot, given: &Given) -> Option<f64> {
    let (mut all, mut stolen) = (0, 0);
    for core in &given.cores {
        let (Some(from), Some(to)) = (before.core_times.get(core), after.core_times.get(core)) else {
            continue;
        };
        all += to.all.saturating_sub(from.all);
        stolen += to.stolen.saturating_sub(from.stolen);
    }
    (all > 0).then(|| stolen as f64 / all as f64)
}

/// The threads of others that ran on the cores used, by name, with their share of those cores' time, greatest first.
/// A thread counts where it was seen last.
fn others(before: &Snapshot, after: &Snapshot, given: &Given) -> Vec<(String, f64)> {
    let passed = |core: &u32| {
        let all = |machine: &Snapshot| machine.core_times.get(core).map_or(0, |time| time.all);
        all(after).saturating_sub(all(before))
    };
    let all: u64 = given.cores.iter().map(passed).sum();
    let mut ticks = BTreeMap::<&str, u64>::new();
    for (id, thread) in &after.threads {
        if given.cores.contains(&thread.core) && !given.processes.contains(&thread.process) {
            let earlier = before.threads.get(id).map_or(0, |thread| thread.ticks);
            *ticks.entry(&thread.name).or_default() += thread.ticks.saturating_sub(earlier);
        }
    }
    let mut shares: Vec<(String, f64)> = ticks
        .into_iter()
        .filter(|(_, ticks)| *ticks > 0)
        .map(|(name, ticks)| (name.to_owned(), ticks as f64 / all.max(1) as f64))
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

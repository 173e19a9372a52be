//! Huge pages.

use super::finding::Finding;
use super::machine::Machine;

/// What a router of two ports and a full route table needs, in MiB.
const WANTED_MIB: u64 = 1024;

struct Pool {
    size_kib: u64,
    total: u64,
    free: u64,
}

/// Counts huge pages, total and free, and looks where they are mounted.
pub(super) fn hugepages(machine: &Machine) -> Vec<Finding> {
    let mut findings: Vec<Finding> = pools(machine).iter().filter(|pool| pool.total > 0).map(judge).collect();
    if findings.is_empty() {
        return vec![Finding::warn(
            "no huge pages: sluice runs without, several times slower",
            reserve(1024),
        )];
    }
    findings.push(mount(machine));
    findings
}

fn pools(machine: &Machine) -> Vec<Pool> {
    const FOLDER: &str = "sys/kernel/mm/hugepages";
    let pool = |name: String| {
        let size_kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let count = |file| machine.number(&format!("{FOLDER}/{name}/{file}"));
        Some(Pool { size_kib, total: count("nr_hugepages")?, free: count("free_hugepages")? })
    };
    machine.list(FOLDER).into_iter().filter_map(pool).collect()
}

fn judge(pool: &Pool) -> Finding {
    let &Pool { size_kib, total, free } = pool;
    let what = format!("{total} huge pages of {}, {free} free", size(size_kib));
    let free_mib = free * size_kib / 1024;
    if free_mib >= WANTED_MIB {
        return Finding::ok(what);
    }
    let pages = total + (WANTED_MIB - free_mib) * 1024 / size_kib.max(1);
    let mend = format!("echo {pages} >/sys/kernel/mm/hugepages/hugepages-{size_kib}kB/nr_hugepages");
    if free == 0 {
        return Finding::warn(format!("{what}: all are in use"), mend);
    }
    Finding::ok(format!("{what}: {free_mib} MiB, enough for small tables")).hint(mend)
}

fn reserve(pages: u64) -> String {
    format!(
        "echo {pages} >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages; \
         to keep them: echo vm.nr_hugepages={pages} >/etc/sysctl.d/80-hugepages.conf"
    )
}

fn size(kib: u64) -> String {
    if kib.is_multiple_of(1 << 20) { format!("{} GiB", kib >> 20) } else { format!("{} MiB", kib >> 10) }
}

fn mount(machine: &Machine) -> Finding {
    const MEND: &str = "mkdir -p /dev/hugepages && mount -t hugetlbfs nodev /dev/hugepages";
    let mounts = machine.mounts("hugetlbfs");
    let Some((path, options)) = mounts.first() else {
        return Finding::warn("no hugetlbfs is mounted: huge pages cannot be used", MEND);
    };
    let read_only = options.split(',').any(|option| option == "ro");
    let writable = machine.identity().and_then(|who| machine.may_write(path, &who)).unwrap_or(false);
    if read_only || !writable {
        return Finding::warn(
            format!("{path} may not be written by this user"),
            "run sluice as root: sudo sluice ...",
        );
    }
    Finding::ok(format!("hugetlbfs is mounted at {path}"))
}

/// Transparent huge pages: the kernel's copying them together costs pauses.
pub(super) fn transparent_hugepages(machine: &Machine) -> Vec<Finding> {
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    let Some(text) = machine.read(FILE) else {
        return vec![Finding::ok("this kernel has no transparent huge pages")];
    };
    let mode = text.split(['[', ']']).nth(1).unwrap_or("unknown");
    vec![match mode {
        "always" => Finding::warn(
            "transparent huge pages: always; the kernel may pause workers to build them",
            format!("echo madvise >{FILE}"),
        ),
        mode => Finding::ok(format!("transparent huge pages: {mode}")),
    }]
}

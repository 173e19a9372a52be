//! The machine as the kernel's files describe it at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the kernel said at one moment. What it did not say is empty.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    pub(super) model: String,
    pub(super) flags: Vec<String>,
    /// Lists such as `0-3,6`.
    pub(super) online: String,
    pub(super) isolated: String,
    pub(super) tickless: String,
    pub(super) smt: bool,
    pub(super) governors: BTreeMap<u32, String>,
    /// `None`: the system does not say.
    pub(super) turbo: Option<Turbo>,
    pub(super) clock_source: String,
    /// Pages by their size in KiB.
    pub(super) hugepages: BTreeMap<u32, u64>,
    /// The cores of each NUMA node.
    pub(super) nodes: BTreeMap<u32, String>,
    /// The NUMA node of each PCI network device that has one.
    pub(super) device_nodes: BTreeMap<String, u32>,
    pub(super) kernel: String,
    pub(super) product: String,
    pub(super) load: f64,
    pub(super) core_times: BTreeMap<u32, CoreTime>,
    /// By thread.
    pub(super) threads: BTreeMap<u32, Thread>,
}

/// Whether cores run above their base frequency, and the file that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Turbo {
    pub(super) on: bool,
    /// What turns it off.
    pub(super) off: &'static str,
}

/// What a core did since the boot, in clock ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct CoreTime {
    pub(super) all: u64,
    pub(super) stolen: u64,
}

/// A thread of any process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Thread {
    pub(super) process: u32,
    pub(super) name: String,
    /// User and system time, in clock ticks.
    pub(super) ticks: u64,
    /// Where it ran last.
    pub(super) core: u32,
}

const CPU: &str = "sys/devices/system/cpu";

impl Snapshot {
    /// Reads the files below `root`: `/`, or a made-up tree.
    pub fn take(root: impl Into<PathBuf>) -> Snapshot {
        let tree = Tree(root.into());
        let info = tree.text("proc/cpuinfo");
        let field = |name: &str| {
            let mut fields = info.lines().filter_map(|line| line.split_once(':'));
            Some(fields.find(|(key, _)| key.trim() == name)?.1.trim().to_owned())
        };
        let vendor = tree.text("sys/class/dmi/id/sys_vendor");
        let product = tree.text("sys/class/dmi/id/product_name");
        Snapshot {
            model: model(field),
            flags: field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            online: tree.cores("online"),
            isolated: tree.cores("isolated"),
            tickless: tree.cores("nohz_full"),
            smt: tree.text(format!("{CPU}/smt/active")) == "1",
            governors: tree
                .numbered(CPU, "cpu", |core| tree.some_text(format!("{core}/cpufreq/scaling_governor"))),
            turbo: tree.turbo(),
            clock_source: tree.text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            hugepages: tree.hugepages(),
            nodes: tree.numbered("sys/devices/system/node", "node", |node| {
                tree.some_text(format!("{node}/cpulist"))
            }),
            device_nodes: tree.device_nodes(),
            kernel: tree.text("proc/sys/kernel/osrelease"),
            product: format!("{vendor} {product}").trim().to_owned(),
            load: tree
                .text("proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            core_times: core_times(&tree.text("proc/stat")),
            threads: tree.threads(),
        }
    }
}

/// Name, family and model, as virtual machines often give a name that says little.
fn model(field: impl Fn(&str) -> Option<String>) -> String {
    let name = field("model name").unwrap_or_default();
    match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    }
}

struct Tree(PathBuf);

impl Tree {
    fn some_text(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(fs::read_to_string(self.0.join(path)).ok()?.trim().to_owned())
    }

    fn text(&self, path: impl AsRef<Path>) -> String {
        self.some_text(path).unwrap_or_default()
    }

    /// A list of cores. Some kernels print "(null)" for none.
    fn cores(&self, file: &str) -> String {
        let text = self.text(format!("{CPU}/{file}"));
        if text.starts_with('(') { String::new() } else { text }
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.join(path)) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    /// What `read` says of each entry of a folder that is `prefix` and a number.
    fn numbered<T>(&self, folder: &str, prefix: &str, read: impl Fn(&str) -> Option<T>) -> BTreeMap<u32, T> {
        let entry = |name: String| {
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, read(&format!("{folder}/{name}"))?))
        };
        self.names(folder).into_iter().filter_map(entry).collect()
    }

    fn turbo(&self) -> Option<Turbo> {
        const INTEL: &str = "echo 1 >/sys/devices/system/cpu/intel_pstate/no_turbo";
        const OTHER: &str = "echo 0 >/sys/devices/system/cpu/cpufreq/boost";
        let intel = self.some_text(format!("{CPU}/intel_pstate/no_turbo"));
        let intel = intel.map(|none| Turbo { on: none == "0", off: INTEL });
        intel.or_else(|| {
            Some(Turbo { on: self.some_text(format!("{CPU}/cpufreq/boost"))? == "1", off: OTHER })
        })
    }

    fn hugepages(&self) -> BTreeMap<u32, u64> {
        const FOLDER: &str = "sys/kernel/mm/hugepages";
        let size = |name: String| {
            let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            Some((kib, self.text(format!("{FOLDER}/{name}/nr_hugepages")).parse().ok()?))
        };
        self.names(FOLDER).into_iter().filter_map(size).collect()
    }

    fn device_nodes(&self) -> BTreeMap<String, u32> {
        const FOLDER: &str = "sys/bus/pci/devices";
        // -1, which is no u32: the firmware does not say.
        let node = |name: String| {
            let node = self.text(format!("{FOLDER}/{name}/numa_node")).parse().ok()?;
            Some((name, node))
        };
        self.names(FOLDER).into_iter().filter_map(node).collect()
    }

    fn threads(&self) -> BTreeMap<u32, Thread> {
        let threads = |process: u32| {
            let folder = format!("proc/{process}/task");
            self.numbered(&folder, "", |thread| {
                parse_thread(process, &self.some_text(format!("{thread}/stat"))?)
            })
        };
        self.numbered("proc", "", |_| Some(())).into_keys().flat_map(threads).collect()
    }
}

/// proc_pid_stat(5). The name is in parentheses, and may have some itself.
fn parse_thread(process: u32, stat: &str) -> Option<Thread> {
    let (name, rest) = (stat.split_once('(')?.1, stat.rsplit_once(')')?.1);
    let name = name.get(..name.rfind(')')?)?.to_owned();
    // The first of the rest is field 3: utime is 14, stime 15, processor 39.
    let field = |number: usize| rest.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
    Some(Thread { process, name, ticks: field(14)? + field(15)?, core: field(39)? as u32 })
}

/// proc_stat(5): `cpu1 user nice system idle iowait irq softirq steal guest guest_nice`; the guests' time is in
/// user and nice, too.
fn core_times(stat: &str) -> BTreeMap<u32, CoreTime> {
    let core = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
        Some((number, CoreTime { all: ticks.iter().sum(), stolen: *ticks.get(7)? }))
    };
    // The sum of all cores begins with "cpu " and has no number of its own: its first word would be taken for one.
    stat.lines().filter(|line| !line.starts_with("cpu ")).filter_map(core).collect()
}

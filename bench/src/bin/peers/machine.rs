//! What the comparison needs of the machine, and what a report says about it.

use std::fs;
use std::process::Command;

use crate::program::is_installed;
use crate::{Options, Result};

const HUGE_2M: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";

/// Says in one sentence what is missing, with the command that mends it.
pub(crate) fn check(options: &Options) -> Result<()> {
    let (worker, control) = (options.core, options.control_core);
    let cores = std::thread::available_parallelism()?.get();
    if usize::from(worker.max(control)) >= cores || worker == control {
        return Err(
            format!("cores {control} and {worker} are wanted, the machine has 0 to {}", cores - 1).into()
        );
    }
    if !rustix::process::geteuid().is_root() {
        return Err("huge pages want root: sudo -E".into());
    }
    let wanted = options.only.iter().map(|part| part.pages()).max().unwrap_or(0);
    let free = page_count("free_hugepages")?;
    if free < wanted {
        let total = page_count("nr_hugepages")? + wanted - free;
        return Err(format!(
            "{free} free 2 MiB huge pages, {wanted} wanted: echo {total} > {HUGE_2M}/nr_hugepages"
        )
        .into());
    }
    for (program, package) in options.only.iter().flat_map(|part| part.programs()) {
        if !is_installed(program) {
            return Err(format!("{program} is missing: apt-get install -y {package}").into());
        }
    }
    Ok(())
}

fn page_count(file: &str) -> Result<u64> {
    let path = format!("{HUGE_2M}/{file}");
    let text =
        fs::read_to_string(&path).map_err(|error| format!("{path}: {error}: no 2 MiB huge pages here"))?;
    Ok(text.trim().parse()?)
}

/// The machine in lines of `name: value`.
pub(crate) fn describe() -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    vec![
        ("CPU", format!("{}, {cores} cores", cpu_model())),
        ("kernel", output_of("uname", &["-sr"])),
        ("DPDK", dpdk_version()),
        ("date", output_of("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("load when written", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
    ]
}

/// The version that pkg-config finds, which all contenders link.
pub(crate) fn dpdk_version() -> String {
    output_of("pkg-config", &["--modversion", "libdpdk"])
}

/// Name, family and model, as virtual machines often give a name that says little.
fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split(':').nth(1)).unwrap_or("?").trim().to_owned()
    };
    format!("{} (family {}, model {})", field("model name"), field("cpu family"), field("model"))
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

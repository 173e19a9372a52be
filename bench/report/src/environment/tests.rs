//! Made-up machines: one on which nothing is to be mended, and what happens when one file is another.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;

const CARD: &str = "0000:41:00.0";

/// The files of a good machine: 4 cores, of which 2 and 3 are isolated.
const GOOD: [(&str, &str); 17] = [
    (
        "proc/cpuinfo",
        "cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: Imagined 9000\nflags\t\t: fpu constant_tsc nonstop_tsc\n",
    ),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/isolated", "2-3\n"),
    ("sys/devices/system/cpu/nohz_full", "2-3\n"),
    ("sys/devices/system/cpu/smt/active", "0\n"),
    ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpufreq/boost", "0\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "4\n"),
    ("sys/devices/system/node/node0/cpulist", "0-3\n"),
    ("sys/bus/pci/devices/0000:41:00.0/numa_node", "0\n"),
    ("proc/sys/kernel/osrelease", "6.18.1\n"),
    ("sys/class/dmi/id/sys_vendor", "Makers\n"),
    ("proc/loadavg", "0.10 0.20 0.30 1/80 99\n"),
    ("proc/stat", "cpu  9 9 9 9 9 9 9 9 0 0\ncpu2 100 0 100 0 0 0 0 0 0 0\ncpu3 100 0 100 0 0 0 0 0 0 0\n"),
    (
        "proc/77/task/77/stat",
        "77 (cc1 (x)) R 1 1 1 0 -1 0 0 0 0 0 50 50 0 0 20 0 1 0 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 17 2 0 0 0",
    ),
];

/// A second and a half later on cores 2 and 3, each with 500 ticks more.
const LATER: (&str, &str) = ("proc/stat", "cpu2 600 0 100 0 0 0 0 0 0 0\ncpu3 600 0 100 0 0 0 0 0 0 0\n");

fn write(root: &Path, (path, text): (&str, &str)) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn given() -> Given {
    Given {
        processes: vec![42],
        dpdk: Some("DPDK 22.11".to_owned()),
        devices: vec![Device { name: CARD.to_owned(), driver: "net_ice".to_owned() }],
        tsc_hz: Some(2_600_000_000),
        optimized: true,
        ..Given::new([2, 3])
    }
}

/// The good machine with some `other` files from the start, and some that change meanwhile.
fn judged(other: &[(&str, &str)], meanwhile: &[(&str, &str)], given: &Given) -> Environment {
    let root = TempDir::new().unwrap();
    GOOD.iter().chain(other).for_each(|file| write(root.path(), *file));
    let before = Snapshot::take(root.path());
    [LATER].iter().chain(meanwhile).for_each(|file| write(root.path(), *file));
    Environment::judge(&before, &Snapshot::take(root.path()), given)
}

#[test]
fn a_good_machine_is_trusted() {
    let environment = judged(&[], &[], &given());
    assert_eq!(environment.trust(), Trust::Yes, "{:#?}", environment.findings);
    for (name, value) in [
        ("CPU", "Imagined 9000 (family 26, model 2)"),
        ("cores", "4"),
        ("cores used", "2,3"),
        ("governor", "performance"),
        ("turbo", "off"),
        ("TSC", "2.600 GHz"),
        ("kernel", "Linux 6.18.1"),
        ("machine", "Makers"),
        ("huge pages", "4 of 1 GiB"),
        ("device", "0000:41:00.0, net_ice"),
        ("stolen time", "0.00 %"),
    ] {
        assert_eq!(environment.fact(name), Some(value), "{name}");
    }
}

/// Asks for exactly one finding that is not good, with these words in it and in what mends it.
fn expect(environment: &Environment, weight: Weight, what: &str, mend: &str) {
    let bad: Vec<&Finding> =
        environment.findings.iter().filter(|finding| finding.weight != Weight::Good).collect();
    let [finding] = bad[..] else { panic!("{what}: {bad:#?}") };
    assert_eq!(finding.weight, weight, "{finding:?}");
    assert!(finding.what.contains(what) && finding.mend.contains(mend), "{what}, {mend}: {finding:?}");
    assert!(!finding.why.is_empty());
    assert!(environment.trust_sentence().contains(what));
}

#[test]
fn each_flaw_has_its_finding() {
    const STAT: &str = "proc/cpuinfo";
    const CPU: &str = "sys/devices/system/cpu";
    const CLOCK: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    let cpu = |file: &str| format!("{CPU}/{file}");
    let huge = "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages".to_owned();
    let node = "sys/bus/pci/devices/0000:41:00.0/numa_node".to_owned();
    use Weight::{Caution, Spoils};
    for (file, text, weight, what, mend) in [
        (cpu("isolated"), "(null)", Caution, "not isolated: 2,3", "isolcpus=2,3"),
        (cpu("isolated"), "3", Caution, "not isolated: 2", "isolcpus=2,3"),
        (cpu("nohz_full"), "", Caution, "the timer interrupts: 2,3", "nohz_full=2,3"),
        (cpu("smt/active"), "1", Caution, "SMT is on", "smt/control"),
        (cpu("cpu3/cpufreq/scaling_governor"), "powersave", Caution, "powersave", "performance"),
        (cpu("cpufreq/boost"), "1", Caution, "turbo is on", "cpufreq/boost"),
        (cpu("intel_pstate/no_turbo"), "0", Caution, "turbo is on", "no_turbo"),
        (cpu("online"), "2-3", Caution, "all 2 cores are used", "fewer cores"),
        (CLOCK.to_owned(), "hpet", Caution, "hpet", "invtsc"),
        (STAT.to_owned(), "flags : constant_tsc", Spoils, "nonstop_tsc", "invtsc"),
        (
            STAT.to_owned(),
            "flags : constant_tsc nonstop_tsc hypervisor",
            Caution,
            "virtual machine",
            "vcpupin",
        ),
        (huge, "0", Spoils, "no huge pages", "nr_hugepages"),
        (node, "1", Caution, "core 2 is on another NUMA node", "node 1"),
        ("proc/loadavg".to_owned(), "2.00 1 1 1/1 1", Caution, "busy before: load 2.00 on 4 cores", "top"),
    ] {
        let environment = judged(&[(&file, text)], &[], &given());
        expect(&environment, weight, what, mend);
    }
}

#[test]
fn what_the_caller_says_has_its_finding() {
    let debug = Given { optimized: false, ..given() };
    expect(&judged(&[], &[], &debug), Weight::Spoils, "without optimization", "--release");
    let device = Device { name: "net_null0".to_owned(), driver: "net_null".to_owned() };
    let soft = Given { devices: vec![device], ..given() };
    expect(&judged(&[], &[], &soft), Weight::Caution, "net_null0", "PCI address");
    let nowhere = Given { cores: vec![3, 9], ..given() };
    assert_eq!(judged(&[], &[], &nowhere).trust(), Trust::WithCare);
}

#[test]
fn the_hypervisor_is_seen_to_take_time() {
    let stat = |stolen: u32| {
        format!("cpu2 {} 0 100 0 0 0 0 {stolen} 0 0\ncpu3 600 0 100 0 0 0 0 0 0 0\n", 600 - stolen)
    };
    for (stolen, weight) in [(5, Weight::Caution), (100, Weight::Spoils)] {
        let environment = judged(&[], &[("proc/stat", &stat(stolen))], &given());
        expect(&environment, weight, "the hypervisor took", "vcpupin");
    }
}

#[test]
fn others_on_the_cores_used_are_named() {
    let thread = |process: u32, ticks: u32, core: u32| {
        let path = format!("proc/{process}/task/{process}/stat");
        let zeros = "0 ".repeat(22);
        (path, format!("{process} (cc1 (x)) R 1 1 1 0 -1 0 0 0 0 0 {ticks} 50 0 {zeros}{core} 0 0 0"))
    };
    // 1000 ticks passed; this one had 100 before.
    for (ticks, weight) in [(60, Weight::Caution), (150, Weight::Spoils)] {
        let (path, text) = thread(77, ticks, 2);
        let environment = judged(&[], &[(&path, &text)], &given());
        expect(&environment, weight, "cc1 (x) ", "isolcpus=2,3");
    }
    // Elsewhere, or one of ours, it is no matter.
    for (process, core) in [(77, 1), (42, 2)] {
        let (path, text) = thread(process, 400, core);
        assert_eq!(judged(&[], &[(&path, &text)], &given()).trust(), Trust::Yes);
    }
}

#[test]
fn without_time_nobody_knows() {
    let root = TempDir::new().unwrap();
    GOOD.iter().for_each(|file| write(root.path(), *file));
    let snapshot = Snapshot::take(root.path());
    expect(
        &Environment::judge(&snapshot, &snapshot, &given()),
        Weight::Caution,
        "nobody knows",
        "some seconds",
    );
}

#[test]
fn a_machine_without_files_is_no_panic() {
    let snapshot = Snapshot::take(TempDir::new().unwrap().path());
    assert_ne!(Environment::judge(&snapshot, &snapshot, &given()).trust(), Trust::Yes);
    assert_eq!(Environment::default().trust(), Trust::Unknown);
}

#[test]
fn this_machine_is_read() {
    let environment = Environment::judge(&Snapshot::take("/"), &Snapshot::take("/"), &Given::new([0]));
    assert!(environment.fact("kernel").is_some_and(|kernel| kernel.len() > "Linux ".len()));
    assert!(environment.fact("cores").is_some_and(|cores| cores != "0"));
}

#[test]
fn a_device_is_virtual_unless_it_has_a_pci_address() {
    let of = |name: &str| Device { name: name.to_owned(), driver: String::new() }.is_virtual();
    assert!(!of(CARD));
    assert!(of("net_tap0") && of("net_ring0") && of("0000:41:00"));
}

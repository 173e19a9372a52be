//! Each check against made-up machines.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::finding::{Finding, Level};
use super::machine::Machine;
use super::{access, cpu, drivers, iommu, memory, nic, version};

const ROOT_STATUS: &str = "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\nCapEff:\t000001ffffffffff\n";
const USER_STATUS: &str =
    "Uid:\t4242\t4242\t4242\t4242\nGid:\t4242\t4242\t4242\t4242\nGroups:\t4243\nCapEff:\t0000000000000000\n";

/// Paths and texts.
type Files<'a> = &'a [(&'a str, &'a str)];

/// A tree of files below a temporary folder.
struct Tree(TempDir);

impl Tree {
    fn new(files: Files<'_>) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        for (path, text) in files {
            tree.write(path, text);
        }
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        symlink(target, self.0.path().join(path)).unwrap();
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.0.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn machine(&self) -> Machine {
        Machine::new(self.0.path(), "DPDK 22.11.11")
    }

    /// Adds a PCI network device.
    fn nic(&self, address: &str, driver: Option<&str>, interface: Option<&str>, node: i32) {
        let folder = format!("sys/bus/pci/devices/{address}");
        self.write(&format!("{folder}/class"), "0x020000\n");
        self.write(&format!("{folder}/numa_node"), &format!("{node}\n"));
        if let Some(driver) = driver {
            self.link(&format!("{folder}/driver"), &format!("../../../../bus/pci/drivers/{driver}"));
        }
        if let Some(interface) = interface {
            self.write(&format!("{folder}/virtio0/net/{interface}/mtu"), "1500\n");
        }
    }
}

fn levels(findings: &[Finding]) -> Vec<Level> {
    findings.iter().map(|finding| finding.level).collect()
}

fn mend(finding: &Finding) -> &str {
    finding.mend.as_deref().unwrap_or("")
}

#[test]
fn hugepages_are_counted_and_their_mount_found() {
    const NR: &str = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    const FREE: &str = "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    let mounts = ("proc/self/mounts", "nodev /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n");
    let read_only = ("proc/self/mounts", "nodev /dev/hugepages hugetlbfs ro,relatime 0 0\n");
    let status = ("proc/self/status", ROOT_STATUS);
    let folder = ("dev/hugepages/.keep", "");
    use Level::{Ok, Warn};
    let cases: [(Files, &[Level]); 6] = [
        (&[], &[Warn]),
        (&[(NR, "0\n"), (FREE, "0\n"), mounts, status, folder], &[Warn]),
        (&[(NR, "512\n"), (FREE, "512\n"), mounts, status, folder], &[Ok, Ok]),
        (&[(NR, "512\n"), (FREE, "0\n"), mounts, status, folder], &[Warn, Ok]),
        (&[(NR, "512\n"), (FREE, "512\n"), status], &[Ok, Warn]),
        (&[(NR, "512\n"), (FREE, "512\n"), read_only, status, folder], &[Ok, Warn]),
    ];
    for (files, expected) in cases {
        let findings = memory::hugepages(&Tree::new(files).machine());
        assert_eq!(levels(&findings), expected, "{files:?}: {findings:?}");
    }
    // Some are free, yet fewer than a full table wants: fine, and the command asks for the rest.
    let few = Tree::new(&[(NR, "200\n"), (FREE, "112\n"), mounts, status, folder]);
    let findings = memory::hugepages(&few.machine());
    assert_eq!(findings[0].level, Ok);
    assert!(mend(&findings[0]).starts_with("echo 600 >"), "{findings:?}");
}

#[test]
fn transparent_hugepages_always_is_a_warning() {
    const FILE: &str = "sys/kernel/mm/transparent_hugepage/enabled";
    for (text, level) in [
        ("[always] madvise never\n", Level::Warn),
        ("always [madvise] never\n", Level::Ok),
        ("always madvise [never]\n", Level::Ok),
    ] {
        let findings = memory::transparent_hugepages(&Tree::new(&[(FILE, text)]).machine());
        assert_eq!(levels(&findings), [level], "{text}");
    }
    assert_eq!(levels(&memory::transparent_hugepages(&Tree::new(&[]).machine())), [Level::Ok]);
}

#[test]
fn each_driver_is_judged() {
    let tree =
        Tree::new(&[("sys/class/net/eth0/operstate", "up\n"), ("sys/kernel/iommu_groups/0/type", "DMA\n")]);
    tree.nic("0000:01:00.0", Some("vfio-pci"), None, 0);
    tree.nic("0000:02:00.0", Some("virtio-pci"), Some("eth0"), 0);
    tree.nic("0000:03:00.0", Some("e1000"), Some("eth1"), 0);
    tree.nic("0000:04:00.0", None, None, 0);
    tree.nic("0000:05:00.0", Some("mlx5_core"), Some("eth2"), 0);
    tree.write("sys/bus/pci/devices/0000:06:00.0/class", "0x010802\n");
    let findings = nic::binding(&tree.machine());
    use Level::{Ok, Warn};
    assert_eq!(levels(&findings), [Ok, Ok, Ok, Warn, Ok], "{findings:?}");
    assert_eq!(findings[0].mend, None);
    assert!(mend(&findings[1]).contains("ip link set eth0 down && "), "{:?}", findings[1]);
    assert!(mend(&findings[2]).ends_with("dpdk-devbind.py -b vfio-pci 0000:03:00.0"));
    assert!(!mend(&findings[2]).contains("down"));
    assert!(mend(&findings[3]).ends_with("dpdk-devbind.py -b vfio-pci 0000:04:00.0"));
    assert_eq!(findings[4].mend, None);
}

#[test]
fn vfio_without_an_iommu_is_in_the_way() {
    let tree = Tree::new(&[]);
    tree.nic("0000:01:00.0", Some("vfio-pci"), None, 0);
    assert_eq!(levels(&nic::binding(&tree.machine())), [Level::Fail]);
    tree.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    assert_eq!(levels(&nic::binding(&tree.machine())), [Level::Ok]);
}

#[test]
fn a_machine_without_nics_is_told_of_virtual_devices() {
    let findings = nic::binding(&Tree::new(&[]).machine());
    assert_eq!(levels(&findings), [Level::Warn]);
    assert!(mend(&findings[0]).contains("net_af_packet"));
}

#[test]
fn iommu_advice_fits_the_machine() {
    let tree = Tree::new(&[]);
    assert_eq!(levels(&iommu::iommu(&tree.machine())), [Level::Ok], "no NIC needs it");
    tree.nic("0000:01:00.0", Some("e1000"), None, 0);
    tree.write("proc/cpuinfo", "vendor_id\t: GenuineIntel\n");
    assert!(mend(&iommu::iommu(&tree.machine())[0]).contains("intel_iommu=on iommu=pt"));
    tree.write("proc/cpuinfo", "vendor_id\t: AuthenticAMD\n");
    assert!(mend(&iommu::iommu(&tree.machine())[0]).starts_with("add iommu=pt to"));
    tree.write("proc/cmdline", "quiet intel_iommu=on\n");
    assert!(mend(&iommu::iommu(&tree.machine())[0]).contains("firmware"));
    tree.write("sys/kernel/iommu_groups/0/type", "DMA\n");
    assert_eq!(levels(&iommu::iommu(&tree.machine())), [Level::Ok]);
}

#[test]
fn vfio_wants_an_iommu() {
    let tree = Tree::new(&[]);
    let found = || iommu::vfio(&tree.machine()).remove(0);
    assert_eq!(found().level, Level::Ok, "nothing to take");
    tree.nic("0000:01:00.0", None, None, 0);
    assert!(mend(&found()).contains("uio_pci_generic"));
    assert!(mend(&nic::binding(&tree.machine())[0]).ends_with("-b uio_pci_generic 0000:01:00.0"));
    tree.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    assert!(found().what.contains("unsafe mode"));
    assert!(mend(&nic::binding(&tree.machine())[0]).ends_with("-b vfio-pci 0000:01:00.0"));

    tree.write("sys/kernel/iommu_groups/0/type", "DMA\n");
    assert_eq!(found().mend.as_deref(), Some("modprobe vfio-pci"));
    tree.write("sys/bus/pci/drivers/vfio-pci/new_id", "");
    assert_eq!(found().level, Level::Ok);
}

#[test]
fn vfio_wants_interrupts_remapped() {
    let tree = Tree::new(&[
        ("sys/kernel/iommu_groups/0/type", "DMA\n"),
        ("sys/bus/pci/drivers/vfio-pci/new_id", ""),
    ]);
    for (capabilities, unsafe_interrupts, level) in
        [("f0101a", "N", Level::Ok), ("f00012", "N", Level::Warn), ("f00012", "Y", Level::Ok)]
    {
        tree.write("sys/class/iommu/dmar0/intel-iommu/ecap", capabilities);
        tree.write("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", unsafe_interrupts);
        let found = iommu::vfio(&tree.machine());
        assert_eq!(levels(&found), [level], "{capabilities} {unsafe_interrupts}");
    }
}

#[test]
fn drivers_that_are_missing_are_named_as_packages() {
    let tree = Tree::new(&[]);
    assert_eq!(drivers::plugins(&tree.machine()), [], "a DPDK that has none as plugins");
    let install = |name: &str| {
        tree.write(&format!("usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_{name}.so.23.0"), "");
    };
    for name in ["bus_pci", "bus_vdev", "net_af_packet", "net_e1000", "net_memif", "net_vhost", "net_virtio"]
    {
        install(name);
    }
    let missing = drivers::plugins(&tree.machine());
    let mends: Vec<_> = missing.iter().map(mend).collect();
    assert_eq!(mends, ["apt-get install librte-net-af-xdp23", "apt-get install librte-net-tap23"]);
    install("net_af_xdp");
    install("net_tap");
    assert_eq!(levels(&drivers::plugins(&tree.machine())), [Level::Ok]);
}

#[test]
fn numa_wants_hugepages_near_the_nic() {
    let tree = Tree::new(&[
        ("sys/devices/system/node/node0/cpulist", "0-7\n"),
        ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "512\n"),
    ]);
    tree.nic("0000:01:00.0", Some("vfio-pci"), None, 0);
    assert_eq!(levels(&nic::numa(&tree.machine())), [Ok], "one node");
    tree.write("sys/devices/system/node/node1/cpulist", "8-15\n");
    tree.nic("0000:81:00.0", Some("vfio-pci"), None, 1);
    tree.nic("0000:82:00.0", Some("vfio-pci"), None, -1);
    let findings = nic::numa(&tree.machine());
    use Level::{Ok, Warn};
    assert_eq!(levels(&findings), [Ok, Ok, Warn, Warn], "{findings:?}");
    assert!(findings[1].what.contains("cores 0-7"));
    assert!(mend(&findings[2]).contains("node1/hugepages"));
}

#[test]
fn isolation_reads_both_lists() {
    const ISOLATED: &str = "sys/devices/system/cpu/isolated";
    const TICKLESS: &str = "sys/devices/system/cpu/nohz_full";
    let online = ("sys/devices/system/cpu/online", "0-3\n");
    use Level::{Ok, Warn};
    let cases: [(Files, Level, &str); 5] = [
        (&[online, (ISOLATED, "\n")], Warn, "isolcpus=1-3"),
        (&[online, (ISOLATED, "2-3\n")], Warn, "nohz_full=2-3"),
        (&[online, (ISOLATED, "2-3\n"), (TICKLESS, "(null)\n")], Warn, "nohz_full=2-3"),
        (&[online, (ISOLATED, "2-3\n"), (TICKLESS, "2-3\n")], Ok, ""),
        (&[("sys/devices/system/cpu/online", "0\n")], Warn, "adaptive"),
    ];
    for (files, level, word) in cases {
        let findings = cpu::isolation(&Tree::new(files).machine());
        assert_eq!(levels(&findings), [level], "{files:?}");
        assert!(mend(&findings[0]).contains(word), "{findings:?}");
    }
}

#[test]
fn one_slow_core_is_a_warning() {
    const CORE0: &str = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    const CORE1: &str = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor";
    let cases: [(Files, Level); 4] = [
        (&[], Level::Ok),
        (&[(CORE0, "performance\n"), (CORE1, "performance\n")], Level::Ok),
        (&[(CORE0, "performance\n"), (CORE1, "powersave\n")], Level::Warn),
        // Not a core.
        (&[("sys/devices/system/cpu/cpufreq/cpufreq/scaling_governor", "powersave\n")], Level::Ok),
    ];
    for (files, level) in cases {
        assert_eq!(levels(&cpu::governor(&Tree::new(files).machine())), [level], "{files:?}");
    }
}

#[test]
fn the_tsc_needs_both_flags() {
    for (info, level) in [
        ("flags\t\t: fpu tsc constant_tsc nonstop_tsc\n", Level::Ok),
        ("flags\t\t: fpu tsc constant_tsc\n", Level::Warn),
        ("flags\t\t: fpu tsc\n", Level::Warn),
        ("Features\t: fp asimd\n", Level::Ok),
    ] {
        assert_eq!(levels(&cpu::tsc(&Tree::new(&[("proc/cpuinfo", info)]).machine())), [level], "{info}");
    }
}

#[test]
fn capabilities_decide() {
    let findings = |status: &str| access::privileges(&Tree::new(&[("proc/self/status", status)]).machine());
    assert_eq!(levels(&findings(ROOT_STATUS)), [Level::Ok]);
    assert_eq!(levels(&findings(USER_STATUS)), [Level::Fail; 3]);
    // CAP_NET_ADMIN, CAP_NET_RAW and CAP_IPC_LOCK are bits 12, 13 and 14.
    let able = USER_STATUS.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000007000");
    assert_eq!(levels(&findings(&able)), [Level::Ok]);
    let not_raw = USER_STATUS.replace("CapEff:\t0000000000000000", "CapEff:\t0000000000005000");
    assert!(findings(&not_raw)[0].what.starts_with("CAP_NET_RAW"));
    // Root in a container, without its capabilities.
    let bare = ROOT_STATUS.replace("000001ffffffffff", "0000000000000000");
    assert_eq!(levels(&findings(&bare)), [Level::Fail; 3]);
    assert_eq!(levels(&access::privileges(&Tree::new(&[]).machine())), [Level::Warn]);
}

#[test]
fn device_files_are_opened_by_mode() {
    let tree = Tree::new(&[("proc/self/status", USER_STATUS), ("dev/net/tun", "")]);
    use Level::{Ok, Warn};
    tree.mode("dev/net/tun", 0o600);
    assert_eq!(levels(&access::device_files(&tree.machine())), [Warn, Warn]);
    tree.mode("dev/net/tun", 0o666);
    assert_eq!(levels(&access::device_files(&tree.machine())), [Ok, Warn]);
    tree.write("proc/self/status", ROOT_STATUS);
    tree.mode("dev/net/tun", 0o600);
    tree.write("dev/vfio/vfio", "");
    assert_eq!(levels(&access::device_files(&tree.machine())), [Ok, Ok]);
}

#[test]
fn dpdk_versions_are_told_apart() {
    for (text, level) in [
        ("DPDK 22.11.11", Level::Ok),
        ("DPDK 23.11.0", Level::Ok),
        ("DPDK 25.11.0-rc1", Level::Ok),
        ("DPDK 21.11.9", Level::Fail),
        ("DPDK 22.07.0", Level::Fail),
        ("DPDK 26.03.0", Level::Fail),
        ("something else", Level::Fail),
    ] {
        assert_eq!(levels(&version::dpdk(&Machine::new("/nowhere", text))), [level], "{text}");
    }
}

#[test]
fn whatever_is_wrong_has_a_mend() {
    for (check, finding) in super::examine(&Machine::new("/nowhere", "")) {
        assert_eq!(finding.level == Level::Ok, finding.mend.is_none(), "{check}: {finding:?}");
    }
}

#[test]
fn json_says_what_the_table_says() {
    let findings = [("thp", Finding::warn("a \"b\"", "echo c")), ("tsc", Finding::ok("d"))];
    let json: serde_json::Value = serde_json::from_str(&super::as_json(&findings)).unwrap();
    assert_eq!(json["findings"][0]["level"], "warn");
    assert_eq!(json["findings"][0]["what"], "a \"b\"");
    assert_eq!(json["findings"][0]["mend"], "echo c");
    assert!(json["findings"][1]["mend"].is_null());
    let table = super::as_table(&findings);
    assert!(table.contains("a \"b\"") && table.contains("echo c"), "{table}");
    assert!(table.ends_with("1 ok, 1 to improve, 0 in the way"), "{table}");
}

//! What EAL is told: from a configuration to its command line.

use std::fmt;

/// How DPDK's environment is to be started.
#[derive(Clone, Debug, Default)]
pub struct EalConfig {
    /// The program's name; "pmd" if empty.
    pub program: String,
    /// Keeps this process' files apart from those of other DPDK processes; the program's name and the
    /// process id if `None`.
    pub file_prefix: Option<String>,
    /// The CPU that EAL's main lcore stands for; the first that the caller may run on if `None`. The
    /// caller is not pinned to it. Workers need not be named: they are threads of ours.
    pub main_core: Option<usize>,
    /// Whether memory comes from hugepages.
    pub huge: Huge,
    /// Memory to reserve at start, in MiB. With hugepages, `None` lets it grow as needed; without,
    /// `None` reserves [`NO_HUGE_DEFAULT_MB`].
    pub memory_mb: Option<u32>,
    /// Devargs of virtual devices to create, such as `net_tap0,iface=foo`.
    pub vdevs: Vec<String>,
    /// PCI devices to probe, by address, with devargs if needed; all others are left alone.
    pub allow: Vec<String>,
    /// What DPDK may print; warnings and worse by default.
    pub log: LogLevel,
    /// Further EAL arguments. What they say replaces what this crate would say.
    pub extra_args: Vec<String>,
}

impl EalConfig {
    /// Adds a device by its devargs: to [`EalConfig::allow`] if it starts with a PCI address, to
    /// [`EalConfig::vdevs`] if not.
    pub fn add_device(&mut self, devargs: &str) {
        let list = if is_pci_address(device_name(devargs)) { &mut self.allow } else { &mut self.vdevs };
        list.push(devargs.to_owned());
    }

    /// Whether the extra arguments have one of these options.
    fn gives(&self, options: &[&str]) -> bool {
        self.extra_args.iter().any(|arg| options.iter().any(|option| is_option(arg, option)))
    }
}

/// Whether memory comes from hugepages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Huge {
    /// From hugepages where there are enough free ones; else from plain pages, with a warning.
    #[default]
    Auto,
    /// From hugepages, or not at all.
    Always,
    /// From plain pages: slow, for tests.
    Never,
}

/// What DPDK may print.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogLevel {
    /// Errors.
    Error,
    /// Warnings, and all above.
    #[default]
    Warning,
    /// What DPDK prints by itself at start, and all above.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warning => "warning",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

/// Memory reserved without hugepages when the configuration names no size, in MiB.
pub const NO_HUGE_DEFAULT_MB: u32 = 512;

/// Free hugepage memory below which EAL is not started on hugepages unless a size is named, in MiB.
const LEAST_HUGE_MB: u64 = 64;

/// Something that was mended at start, but that the operator should know of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EalWarning {
    /// There are too few free hugepages, so plain pages are used.
    NoHugepages {
        /// Hugepage memory needed, in MiB.
        needed_mb: u64,
        /// Hugepage memory free, in MiB.
        free_mb: u64,
    },
}

impl fmt::Display for EalWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EalWarning::NoHugepages { needed_mb, free_mb } => write!(
                f,
                "{needed_mb} MiB of free hugepages are needed but there are {free_mb}: running without \
                 hugepages, which is several times slower; \"echo 1024 > /proc/sys/vm/nr_hugepages\" mends it."
            ),
        }
    }
}

/// The part of devargs before the first comma: the device's name.
pub(crate) fn device_name(devargs: &str) -> &str {
    devargs.split(',').next().unwrap_or_default()
}

/// The part of devargs after the first comma.
pub(crate) fn device_args(devargs: &str) -> &str {
    devargs.split_once(',').map_or("", |(_, args)| args)
}

/// Whether it is `domain:bus:device.function` or `bus:device.function`, in hexadecimal.
pub(crate) fn is_pci_address(name: &str) -> bool {
    let Some((rest, function)) = name.rsplit_once('.') else { return false };
    let parts: Vec<_> = rest.split(':').collect();
    (2..=3).contains(&parts.len())
        && parts.iter().chain([&function]).all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Decides between hugepages and plain pages. `free_mb` is the hugepage memory that is free.
pub(crate) fn choose_huge(config: &EalConfig, free_mb: u64) -> (bool, Option<EalWarning>) {
    let needed_mb = config.memory_mb.map_or(LEAST_HUGE_MB, u64::from);
    match config.huge {
        _ if config.gives(&["--no-huge"]) => (false, None),
        Huge::Always => (true, None),
        Huge::Never => (false, None),
        Huge::Auto if free_mb >= needed_mb => (true, None),
        Huge::Auto => (false, Some(EalWarning::NoHugepages { needed_mb, free_mb })),
    }
}

/// EAL's arguments, the program's name first.
pub(crate) fn eal_args(config: &EalConfig, huge: bool, main_core: usize, pid: u32) -> Vec<String> {
    let program = if config.program.is_empty() { "pmd" } else { &config.program };
    let mut args = vec![program.to_owned()];
    let mut say = |args_of_ours: &[&str]| args.extend(args_of_ours.iter().map(|&arg| arg.to_owned()));

    if !config.gives(&["-l", "-c", "--lcores"]) {
        say(&["--lcores", &format!("0@{main_core}")]);
    }
    if !config.gives(&["--file-prefix"]) {
        say(&["--file-prefix", &config.file_prefix.clone().unwrap_or_else(|| format!("{program}-{pid}"))]);
    }
    if !huge {
        say(if config.gives(&["--no-huge"]) { &["--no-shconf"] } else { &["--no-huge", "--no-shconf"] });
    } else if !config.gives(&["--in-memory", "--legacy-mem", "--huge-dir", "--huge-unlink", "--proc-type"]) {
        // Memory without files leaves none behind when the process is killed. vhost, virtio-user and
        // memif hand memory to their peers by file descriptor, so there must be few.
        say(&["--in-memory", "--single-file-segments"]);
    }
    let memory_mb = config.memory_mb.or((!huge).then_some(NO_HUGE_DEFAULT_MB));
    if let Some(mb) = memory_mb.filter(|_| !config.gives(&["-m", "--socket-mem", "--numa-mem"])) {
        say(&["-m", &mb.to_string()]);
    }
    if !config.gives(&["--telemetry", "--no-telemetry"]) {
        say(&["--no-telemetry"]);
    }
    if !config.gives(&["--log-level"]) {
        say(&["--log-level", config.log.name()]);
    }
    if config.allow.is_empty() && !config.gives(&["-a", "--allow", "-b", "--block", "--no-pci"]) {
        say(&["--no-pci"]);
        // No hardware reads physical addresses: virtual ones serve every vdev and need no privilege.
        if !config.gives(&["--iova-mode"]) {
            say(&["--iova-mode", "va"]);
        }
    }
    for device in &config.allow {
        say(&["--allow", device]);
    }
    for device in &config.vdevs {
        say(&["--vdev", device]);
    }
    args.extend(config.extra_args.iter().cloned());
    args
}

/// Whether `arg` gives `option`: as `--name`, `--name=value`, `-n` or `-nvalue`.
fn is_option(arg: &str, option: &str) -> bool {
    match arg.strip_prefix(option) {
        Some(rest) if option.starts_with("--") => rest.is_empty() || rest.starts_with('='),
        Some(_) => !arg.starts_with("--"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(config: &EalConfig, huge: bool) -> String {
        eal_args(config, huge, 3, 77).join(" ")
    }

    #[test]
    fn defaults_name_no_device() {
        let config = EalConfig { program: "sluice".into(), ..Default::default() };
        assert_eq!(
            line(&config, true),
            "sluice --lcores 0@3 --file-prefix sluice-77 --in-memory --single-file-segments --no-telemetry \
             --log-level warning --no-pci --iova-mode va"
        );
        assert_eq!(
            line(&config, false),
            "sluice --lcores 0@3 --file-prefix sluice-77 --no-huge --no-shconf -m 512 --no-telemetry \
             --log-level warning --no-pci --iova-mode va"
        );
    }

    #[test]
    fn devices_go_to_their_bus() {
        let mut config = EalConfig::default();
        for device in ["net_tap0,iface=a:b.c", "0000:00:04.0,x=1", "04:00.1", "net_foo0"] {
            config.add_device(device);
        }
        assert_eq!(config.vdevs, ["net_tap0,iface=a:b.c", "net_foo0"]);
        assert_eq!(config.allow, ["0000:00:04.0,x=1", "04:00.1"]);
        let line = line(&config, true);
        assert!(!line.contains("--no-pci") && !line.contains("--iova-mode"), "{line}");
        assert!(line.contains("--allow 04:00.1 --vdev net_tap0,iface=a:b.c"), "{line}");
    }

    #[test]
    fn extra_arguments_replace_ours() {
        let extra = ["-l0,1", "--file-prefix=x", "--legacy-mem", "--log-level=lib.eal:8", "-m", "64"];
        let config = EalConfig {
            memory_mb: Some(9),
            extra_args: extra.iter().map(|&s| s.to_owned()).collect(),
            ..Default::default()
        };
        assert_eq!(
            line(&config, true),
            "pmd --no-telemetry --no-pci --iova-mode va -l0,1 --file-prefix=x --legacy-mem --log-level=lib.eal:8 -m 64"
        );
    }

    #[test]
    fn options_are_told_apart() {
        for (arg, name, is) in [
            ("-m", "-m", true),
            ("-m64", "-m", true),
            ("--main-lcore", "-m", false),
            ("--no-huge", "--no-huge", true),
            ("--huge-dir=/x", "--huge-dir", true),
            ("--huge-dirt", "--huge-dir", false),
        ] {
            assert_eq!(is_option(arg, name), is, "{arg} {name}");
        }
    }

    #[test]
    fn plain_pages_when_hugepages_lack() {
        let auto = EalConfig { memory_mb: Some(100), ..Default::default() };
        assert_eq!(choose_huge(&auto, 100), (true, None));
        let warning = EalWarning::NoHugepages { needed_mb: 100, free_mb: 98 };
        assert_eq!(choose_huge(&auto, 98), (false, Some(warning)));
        assert_eq!(choose_huge(&EalConfig { huge: Huge::Always, ..auto.clone() }, 0), (true, None));
        assert_eq!(choose_huge(&EalConfig { huge: Huge::Never, ..auto.clone() }, 4096), (false, None));
        let plain = EalConfig { extra_args: vec!["--no-huge".into()], ..auto };
        assert_eq!(choose_huge(&plain, 4096), (false, None));
        assert!(
            line(&plain, false).contains("--no-shconf -m 100") && line(&plain, false).ends_with(" --no-huge")
        );
        assert_eq!(
            choose_huge(&EalConfig::default(), 63).1.map(|w| w.to_string().contains("63")),
            Some(true)
        );
    }

    #[test]
    fn pci_addresses() {
        for (name, is) in [
            ("0000:00:04.0", true),
            ("00:1f.3", true),
            ("net_tap0", false),
            ("a.b", false),
            ("", false),
            ("::.", false),
        ] {
            assert_eq!(is_pci_address(name), is, "{name}");
        }
    }
}

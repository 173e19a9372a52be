//! The machine as the kernel's files describe it, below a root folder: `/`, or a made-up tree in tests.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where the checks look. Nothing here writes.
pub(super) struct Machine {
    root: PathBuf,
    /// The version of the DPDK that is linked, such as "DPDK 22.11.11".
    pub(super) dpdk: String,
}

/// Who this process is, from `/proc/self/status`.
pub(super) struct Identity {
    /// Effective user.
    pub(super) uid: u32,
    /// Effective and supplementary groups.
    pub(super) groups: Vec<u32>,
    /// Effective capabilities, one bit each (capabilities(7)).
    pub(super) capabilities: u64,
}

/// A PCI network device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Nic {
    /// Such as `0000:01:00.0`.
    pub(super) address: String,
    /// The driver it is bound to.
    pub(super) driver: Option<String>,
    /// Its network interfaces in the kernel.
    pub(super) interfaces: Vec<String>,
    /// Its NUMA node, when the firmware says.
    pub(super) node: Option<u32>,
}

impl Machine {
    pub(super) fn new(root: impl Into<PathBuf>, dpdk: impl Into<String>) -> Machine {
        Machine { root: root.into(), dpdk: dpdk.into() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text without white space around it; `None`: it cannot be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        Some(fs::read_to_string(self.path(path)).ok()?.trim().to_owned())
    }

    /// A file's text as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.read(path)?.parse().ok()
    }

    /// The names in a folder, sorted; none when there is no such folder.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
        let mut names: Vec<String> = entries.filter_map(name).collect();
        names.sort();
        names
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The last part of what a symbolic link points to.
    pub(super) fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Whether `who` may read and write a path by its owner, group and mode; `None`: it is not there.
    pub(super) fn may_write(&self, path: &str, who: &Identity) -> Option<bool> {
        let meta = fs::metadata(self.path(path)).ok()?;
        let shift = if meta.uid() == who.uid {
            6
        } else if who.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        Some(who.uid == 0 || (meta.mode() >> shift) & 0o6 == 0o6)
    }

    /// Whether a path is a character device (or, in a made-up tree, any file).
    pub(super) fn is_device(&self, path: &str) -> bool {
        let made_up = self.root != Path::new("/");
        fs::metadata(self.path(path)).is_ok_and(|meta| made_up || meta.file_type().is_char_device())
    }

    /// Who this process is; `None`: the kernel does not say.
    pub(super) fn identity(&self) -> Option<Identity> {
        let status = self.read("proc/self/status")?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // "real, effective, saved, file system"
        let effective = |name| field(name)?.split_whitespace().nth(1)?.parse::<u32>().ok();
        let mut groups: Vec<u32> =
            field("Groups:").unwrap_or("").split_whitespace().filter_map(|id| id.parse().ok()).collect();
        groups.extend(effective("Gid:"));
        let capabilities = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
        Some(Identity { uid: effective("Uid:")?, groups, capabilities })
    }

    /// Where file systems of a type are mounted, with their options.
    pub(super) fn mounts(&self, kind: &str) -> Vec<(String, String)> {
        let mounts = self.read("proc/self/mounts").unwrap_or_default();
        let parse = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                [_, path, found, options, ..] if found == kind => Some((path.to_owned(), options.to_owned())),
                _ => None,
            }
        };
        mounts.lines().filter_map(parse).collect()
    }

    /// The PCI devices of class 02 (network), by address.
    pub(super) fn nics(&self) -> Vec<Nic> {
        let is_network = |address: &String| {
            self.read(&format!("sys/bus/pci/devices/{address}/class"))
                .is_some_and(|class| class.starts_with("0x02"))
        };
        let mut addresses = self.list("sys/bus/pci/devices");
        addresses.retain(is_network);
        addresses.into_iter().map(|address| self.nic(address)).collect()
    }

    fn nic(&self, address: String) -> Nic {
        let folder = format!("sys/bus/pci/devices/{address}");
        let mut interfaces = self.list(&format!("{folder}/net"));
        // A virtio device has its interfaces one level down.
        for name in self.list(&folder).iter().filter(|name| name.starts_with("virtio")) {
            interfaces.extend(self.list(&format!("{folder}/{name}/net")));
        }
        // -1: unknown.
        let node = self.number::<i32>(&format!("{folder}/numa_node")).and_then(|node| node.try_into().ok());
        Nic { driver: self.link_name(&format!("{folder}/driver")), address, interfaces, node }
    }

    /// The numbers of the NUMA nodes.
    pub(super) fn nodes(&self) -> Vec<u32> {
        let number = |name: String| name.strip_prefix("node")?.parse().ok();
        let mut nodes: Vec<u32> =
            self.list("sys/devices/system/node").into_iter().filter_map(number).collect();
        nodes.sort_unstable();
        nodes
    }
}

//! Whether the kernel's network device behind a vdev is still there: DPDK does not say.

use super::device::dev_info;
use std::ffi::c_char;
use std::fs;
use std::path::PathBuf;

/// What a port stands on in the kernel.
#[derive(Debug)]
pub(super) enum NetDev {
    /// Nothing that can be watched.
    None,
    /// A device of our network namespace (`net_af_packet`, `net_af_xdp`), by index. Once it leaves the
    /// namespace its sockets are dead.
    Interface(u32),
    /// TUN/TAP files, by their descriptor's `/proc` entry. The device may be renamed, and moved to
    /// another namespace.
    Tun(Vec<PathBuf>),
}

impl NetDev {
    /// What a port that was just opened stands on.
    pub(super) fn of(port: u16) -> NetDev {
        let index = dev_info(port).map_or(0, |info| info.if_index);
        let Some(name) = interface_name(index) else { return NetDev::None };
        let files =
            fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten().map(|entry| entry.path());
        let of_device: Vec<_> = files.filter(|file| tun_name(file).as_deref() == Some(&*name)).collect();
        if of_device.is_empty() { NetDev::Interface(index) } else { NetDev::Tun(of_device) }
    }

    /// Whether it has gone.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            NetDev::None => false,
            NetDev::Interface(index) => interface_name(*index).is_none(),
            // A file whose device was deleted has no name any more.
            NetDev::Tun(files) => files.iter().all(|file| tun_name(file).is_none_or(|name| name.is_empty())),
        }
    }
}

/// The name of an interface in our network namespace, if there is one of that index.
fn interface_name(index: u32) -> Option<String> {
    let mut name: [c_char; libc::IF_NAMESIZE] = [0; libc::IF_NAMESIZE];
    // SAFETY: writes a C string of at most IF_NAMESIZE bytes.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    Some(name.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte as u8)).collect())
}

/// The device that a TUN/TAP file is attached to; `None` if it is no such file.
fn tun_name(fdinfo: &PathBuf) -> Option<String> {
    let text = fs::read_to_string(fdinfo).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("iff:"))?;
    Some(name.trim().to_owned())
}

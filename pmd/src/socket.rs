//! The Unix socket by which a virtual device finds the process at its other end.

use crate::args::{device_args, device_name};
use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixDatagram;

/// The socket of a net_memif, net_vhost or net_virtio_user device that DPDK's driver takes no care of: it does not connect
/// again once the process that listens is gone, and does not listen where one that was killed did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceSocket {
    /// A path, or a name in the abstract namespace.
    name: String,
    is_abstract: bool,
    listens: bool,
}

impl DeviceSocket {
    /// The socket of the device of these devargs, if it has one.
    pub fn of(devargs: &str) -> Option<DeviceSocket> {
        let value = |key: &str| {
            let args = device_args(devargs).split(',').filter_map(|arg| arg.split_once('='));
            args.filter(|(known, _)| *known == key).map(|(_, value)| value).next_back()
        };
        let is_on = |key: &str| value(key).is_some_and(|value| value != "0");
        let (name, is_abstract, listens) =
            match device_name(devargs).trim_end_matches(|c: char| c.is_ascii_digit()) {
                // A path to a device is the kernel's vhost.
                "net_virtio_user" | "virtio_user" => {
                    (value("path").filter(|path| !path.starts_with("/dev/"))?, false, is_on("server"))
                }
                // As a client, this one does connect again.
                "net_vhost" | "eth_vhost" if !is_on("client") => (value("iface")?, false, true),
                "net_memif" | "eth_memif" => {
                    let connects = matches!(value("role"), Some("client" | "slave"));
                    let is_abstract = value("socket-abstract").is_none_or(|value| value != "no");
                    (value("socket").unwrap_or("/run/memif.sock"), is_abstract, !connects)
                }
                _ => return None,
            };
        Some(DeviceSocket { name: name.to_owned(), is_abstract, listens })
    }

    /// Whether the device connects to a process that listens.
    pub fn connects(&self) -> bool {
        !self.listens
    }

    /// Whether somebody listens there. Whoever does is not disturbed.
    pub fn is_open(&self) -> bool {
        if self.is_abstract {
            let end = format!(" {self}");
            return fs::read_to_string("/proc/net/unix")
                .is_ok_and(|all| all.lines().any(|l| l.ends_with(&end)));
        }
        // A datagram does not connect to a socket of another type, but finds out that there is one.
        UnixDatagram::unbound()
            .and_then(|probe| probe.connect(&self.name))
            .is_err_and(|error| error.raw_os_error() == Some(libc::EPROTOTYPE))
    }

    /// Removes what a killed process left of a socket that this device is to listen on.
    pub fn clear(&self) {
        let is_socket = || fs::symlink_metadata(&self.name).is_ok_and(|found| found.file_type().is_socket());
        if self.listens && !self.is_abstract && is_socket() && !self.is_open() {
            // Where it cannot be removed, the driver cannot listen, and says so.
            let _kept = fs::remove_file(&self.name);
        }
    }
}

impl fmt::Display for DeviceSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_abstract { "@" } else { "" }, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    #[test]
    fn who_listens_where() {
        let connects = |name: &str| Some(format!("connects {name}"));
        let listens = |name: &str| Some(format!("listens {name}"));
        for (devargs, socket) in [
            ("net_virtio_user0,path=/run/v,queues=2", connects("/run/v")),
            ("virtio_user1,queues=2,path=/run/v,server=0", connects("/run/v")),
            ("net_virtio_user0,path=/run/v,server=1", listens("/run/v")),
            ("net_virtio_user0,path=/dev/vhost-net,iface=t", None),
            ("net_virtio_user0", None),
            ("net_memif0,role=client,id=0,socket=/run/m,socket-abstract=no", connects("/run/m")),
            ("net_memif0,role=client,socket=m,socket-abstract=yes", connects("@m")),
            ("net_memif0,role=slave", connects("@/run/memif.sock")),
            ("net_memif0,role=server,socket=/run/m", listens("@/run/m")),
            ("net_memif0", listens("@/run/memif.sock")),
            ("net_vhost0,iface=/run/v", listens("/run/v")),
            ("net_vhost0,iface=/run/v,client=1", None),
            ("net_tap0,iface=net_memif0,path=x", None),
            ("0000:00:04.0", None),
        ] {
            let found = DeviceSocket::of(devargs);
            let text = found.map(|s| format!("{} {s}", if s.connects() { "connects" } else { "listens" }));
            assert_eq!(text, socket, "{devargs}");
        }
    }

    #[test]
    fn a_listener_is_found_and_not_disturbed() {
        let path = std::env::temp_dir().join(format!("pmd-socket-{}", std::process::id()));
        let text = path.display().to_string();
        let socket = DeviceSocket::of(&format!("net_vhost0,iface={text}")).unwrap();
        assert!(!socket.is_open(), "nothing is there");
        socket.clear();
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        socket.clear();
        assert!(socket.is_open() && path.exists());
        assert!(listener.accept().is_err(), "nobody connected");
        drop(listener);
        assert!(!socket.is_open() && path.exists(), "what a killed process leaves behind");
        DeviceSocket::of(&format!("net_virtio_user0,path={text}")).unwrap().clear();
        assert!(path.exists(), "it is not for who connects to remove it");
        socket.clear();
        assert!(!path.exists());
        fs::write(&path, "no socket").unwrap();
        socket.clear();
        fs::remove_file(&path).unwrap();

        let socket = DeviceSocket::of(&format!("net_memif0,socket={text}")).unwrap();
        assert!(!socket.is_open());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&text).unwrap()).unwrap();
        assert!(socket.is_open());
        drop(listener);
        assert!(!socket.is_open());
    }
}

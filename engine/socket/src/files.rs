//! File descriptors and what they stand for.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::errno::{Errno, Result};
use crate::settings::Settings;
use crate::stack::{Connection, Datagrams, Listener};

/// What a descriptor stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Socket {
    /// TCP, neither listening nor connected yet.
    Fresh,
    /// TCP in LISTEN.
    Listening(Listener),
    /// TCP, from `connect` or `accept` on, even after the connection's end.
    Connected(Connection),
    /// UDP, before it has a port.
    FreshUdp,
    /// UDP with a port.
    Udp(Datagrams),
}

/// One open descriptor.
#[derive(Debug)]
pub(crate) struct File {
    /// What it stands for.
    pub(crate) socket: Socket,
    /// Local address that `bind` asked for.
    pub(crate) bound: Option<SocketAddrV4>,
    /// UDP: where `connect` pointed it.
    pub(crate) peer: Option<SocketAddrV4>,
    /// `O_NONBLOCK`.
    pub(crate) nonblocking: bool,
    /// `shutdown(SHUT_RD)`: nothing to read means the end.
    pub(crate) read_shut: bool,
    /// Socket options.
    pub(crate) settings: Settings,
}

impl File {
    /// A descriptor that has just been made.
    pub(crate) fn new(socket: Socket, nonblocking: bool, settings: Settings) -> Self {
        File { socket, bound: None, peer: None, nonblocking, read_shut: false, settings }
    }

    /// How long a call may wait: `limit` is the socket's time-out for that direction, if it has one.
    pub(crate) fn patience(&self, dont_wait: bool, limit: Option<Duration>) -> Duration {
        if self.nonblocking || dont_wait { Duration::ZERO } else { limit.unwrap_or(Duration::MAX) }
    }

    /// The connection, or the error of a call that needs one.
    pub(crate) fn connection(&self) -> Result<Connection> {
        match self.socket {
            Socket::Connected(connection) => Ok(connection),
            Socket::Fresh | Socket::Listening(_) => Err(Errno::NOTCONN),
            Socket::FreshUdp | Socket::Udp(_) => Err(Errno::OPNOTSUPP),
        }
    }

    /// Whether this is a UDP socket.
    pub(crate) fn is_udp(&self) -> bool {
        matches!(self.socket, Socket::FreshUdp | Socket::Udp(_))
    }
}

/// The open descriptors.
///
/// The kernel's descriptors behind them are the caller's to close as much as ours: an entry that goes
/// away without [`Files::remove`] leaves its descriptor open.
#[derive(Debug, Default)]
pub(crate) struct Files {
    open: BTreeMap<RawFd, (ManuallyDrop<OwnedFd>, File)>,
}

impl Files {
    /// Enters `file` under the number of `fd`. Takes the place of an entry whose descriptor the caller
    /// closed behind our back, which is how the kernel came to give the number again.
    pub(crate) fn insert(&mut self, fd: OwnedFd, file: File) -> RawFd {
        let number = fd.as_raw_fd();
        self.open.insert(number, (ManuallyDrop::new(fd), file));
        number
    }

    /// The file behind `fd`, or `EBADF`.
    pub(crate) fn get(&self, fd: RawFd) -> Result<&File> {
        self.open.get(&fd).map(|(_, file)| file).ok_or(Errno::BADF)
    }

    /// The file behind `fd`, or `EBADF`.
    pub(crate) fn get_mut(&mut self, fd: RawFd) -> Result<&mut File> {
        self.open.get_mut(&fd).map(|(_, file)| file).ok_or(Errno::BADF)
    }

    /// Takes `fd` out and closes the kernel's descriptor, or `EBADF`.
    pub(crate) fn remove(&mut self, fd: RawFd) -> Result<File> {
        let (descriptor, file) = self.open.remove(&fd).ok_or(Errno::BADF)?;
        drop(ManuallyDrop::into_inner(descriptor));
        Ok(file)
    }

    /// Whether a socket may bind to `addr`. UDP and TCP ports are apart. Two sockets share a port if
    /// both set `SO_REUSEPORT`, or if both set `SO_REUSEADDR` and neither listens (UDP: at any time).
    pub(crate) fn may_bind(&self, fd: RawFd, addr: SocketAddrV4) -> Result<bool> {
        let new = self.get(fd)?;
        Ok(!self.open.iter().any(|(&other_fd, (_, other))| {
            let taken = other.bound.is_some_and(|bound| {
                bound.port() == addr.port()
                    && (bound.ip() == addr.ip() || bound.ip().is_unspecified() || addr.ip().is_unspecified())
            });
            let shared = (new.settings.reuse_port && other.settings.reuse_port)
                || (new.settings.reuse_address
                    && other.settings.reuse_address
                    && !matches!(other.socket, Socket::Listening(_)));
            other_fd != fd && other.is_udp() == new.is_udp() && taken && !shared
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn descriptor() -> OwnedFd {
        std::fs::File::open("/dev/null").expect("a descriptor").into()
    }

    fn open(files: &mut Files, reuse_address: bool) -> RawFd {
        let settings = Settings { reuse_address, ..Settings::default() };
        files.insert(descriptor(), File::new(Socket::Fresh, false, settings))
    }

    #[test]
    fn a_closed_descriptor_is_unknown() {
        let mut files = Files::default();
        let fd = open(&mut files, false);
        assert!(files.get(fd).is_ok());
        assert!(files.remove(fd).is_ok());
        assert_eq!(files.get(fd).err(), Some(Errno::BADF));
        assert_eq!(files.remove(fd).err(), Some(Errno::BADF));
    }

    #[test]
    fn ports_are_shared_only_when_both_agree() {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 80);
        let one = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        let two = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 80);
        for (first, second, reuse, free) in [
            (one, one, false, false),
            (one, two, false, true),
            (any, two, false, false),
            (one, one, true, true),
        ] {
            let mut files = Files::default();
            let a = open(&mut files, reuse);
            let b = open(&mut files, reuse);
            files.get_mut(a).expect("open").bound = Some(first);
            assert_eq!(files.may_bind(b, second), Ok(free), "{first} then {second}, reuse {reuse}");
        }
    }
}

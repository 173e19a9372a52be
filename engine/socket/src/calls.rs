//! The calls that make, connect, change and end sockets.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use libc::c_int;
use zerocopy::IntoBytes;

use crate::addr;
use crate::errno::{Errno, Result};
use crate::files::{File, Socket};
use crate::settings::Settings;
use crate::stack::Connection;
use crate::world::{State, World};

/// The longest accept queue.
const BACKLOG_MAX: usize = 4096;
/// The segment size of a connection that is not made yet (RFC 9293 section 3.7.1).
const DEFAULT_SEGMENT: i32 = 536;

/// What `ioctl` answers.
pub(crate) enum Answer {
    /// Nothing but success.
    Done,
    /// An `int` for the caller's pointer.
    Int(c_int),
}

impl World {
    /// `socket`: enters `fd`, a descriptor of the kernel's, as a new socket.
    pub(crate) fn socket(&self, domain: c_int, kind: c_int, protocol: c_int, fd: OwnedFd) -> Result<RawFd> {
        if domain != libc::AF_INET {
            return Err(Errno::AFNOSUPPORT);
        }
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let socket = match (kind & !flags, protocol) {
            (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Socket::Fresh,
            (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => Socket::FreshUdp,
            _ => return Err(Errno::PROTONOSUPPORT),
        };
        let nonblocking = kind & libc::SOCK_NONBLOCK != 0;
        Ok(self.lock().files.insert(fd, File::new(socket, nonblocking, Settings::default())))
    }

    /// `bind`.
    pub(crate) fn bind(&self, fd: RawFd, address: &[u8]) -> Result<()> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let address = addr::parse(address)?;
        let file = state.files.get(fd)?;
        if file.bound.is_some() || !matches!(file.socket, Socket::Fresh | Socket::FreshUdp) {
            return Err(Errno::INVAL);
        }
        if address.port() != 0 && !state.files.may_bind(fd, address)? {
            return Err(Errno::ADDRINUSE);
        }
        let file = state.files.get_mut(fd)?;
        if file.is_udp() {
            file.socket = Socket::Udp(state.stack.open_udp(address)?);
        }
        file.bound = Some(address);
        Ok(())
    }

    /// `listen`. On a listening socket it changes the backlog.
    pub(crate) fn listen(&self, fd: RawFd, backlog: c_int) -> Result<()> {
        let backlog = usize::try_from(backlog).unwrap_or(BACKLOG_MAX).clamp(1, BACKLOG_MAX);
        let mut guard = self.lock();
        let state = &mut *guard;
        let file = state.files.get_mut(fd)?;
        match file.socket {
            Socket::Fresh => {
                let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
                let local = file.bound.unwrap_or(any);
                file.socket = Socket::Listening(state.stack.listen(local, backlog, &file.settings)?);
            }
            Socket::Listening(listener) => state.stack.set_backlog(listener, backlog),
            Socket::Connected(_) => return Err(Errno::INVAL),
            Socket::FreshUdp | Socket::Udp(_) => return Err(Errno::OPNOTSUPP),
        }
        Ok(())
    }

    /// `accept`: enters `fd`, a descriptor of the kernel's, as the connection; gives it and its peer.
    pub(crate) fn accept(&self, listening: RawFd, fd: OwnedFd) -> Result<(RawFd, SocketAddrV4)> {
        let patience = self.read_patience(listening, false)?;
        let (connection, peer, settings) = self.call(patience, |state| {
            let file = state.files.get(listening)?;
            match file.socket {
                Socket::Listening(listener) => {
                    let accepted = state.stack.accept(listener);
                    Ok(accepted.map(|(connection, peer)| (connection, peer, file.settings.clone())))
                }
                Socket::FreshUdp | Socket::Udp(_) => Err(Errno::OPNOTSUPP),
                _ => Err(Errno::INVAL),
            }
        })?;
        let file = File::new(Socket::Connected(connection), false, settings);
        Ok((self.lock().files.insert(fd, file), peer))
    }

    /// `connect`.
    pub(crate) fn connect(&self, fd: RawFd, address: &[u8]) -> Result<()> {
        let begun = self.begin_connect(fd, address)?;
        let Some((connection, patience)) = begun else {
            return Ok(());
        };
        let made = self.call(patience, |state| connected(state, fd, connection));
        made.map_err(|errno| if errno == Errno::AGAIN { Errno::INPROGRESS } else { errno })
    }

    /// Sends the SYN. Gives the connection and how long to wait for it; nothing for UDP, whose `connect`
    /// is done.
    fn begin_connect(&self, fd: RawFd, address: &[u8]) -> Result<Option<(Connection, Duration)>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let (now, file) = (state.now(), state.files.get_mut(fd)?);
        let remote = addr::parse(address);
        match file.socket {
            Socket::FreshUdp | Socket::Udp(_) => {
                // AF_UNSPEC undoes a connect.
                file.peer = if remote == Err(Errno::AFNOSUPPORT) { None } else { Some(remote?) };
                let peer = file.peer;
                let port = state.udp_port(fd)?;
                state.stack.connect_udp(port, peer)?;
                return Ok(None);
            }
            Socket::Listening(_) => return Err(Errno::ISCONN),
            Socket::Connected(connection) => {
                let status = state.stack.status(connection);
                let error = state.stack.take_error(connection);
                return Err(match error {
                    _ if status.connecting => Errno::ALREADY,
                    Some(error) => error,
                    None => Errno::ISCONN,
                });
            }
            Socket::Fresh => {}
        }
        let connection = state.stack.connect(now, file.bound, remote?, &file.settings)?;
        file.socket = Socket::Connected(connection);
        Ok(Some((connection, file.patience(false, file.settings.send_timeout))))
    }

    /// `shutdown`.
    pub(crate) fn shutdown(&self, fd: RawFd, how: c_int) -> Result<()> {
        let (read, write) = match how {
            libc::SHUT_RD => (true, false),
            libc::SHUT_WR => (false, true),
            libc::SHUT_RDWR => (true, true),
            _ => return Err(Errno::INVAL),
        };
        self.call(Duration::ZERO, |state| {
            let (now, file) = (state.now(), state.files.get_mut(fd)?);
            let connection = file.connection()?;
            if state.stack.status(connection).closed {
                return Err(Errno::NOTCONN);
            }
            file.read_shut |= read;
            if write {
                state.stack.shut(now, connection);
            }
            Ok(Some(()))
        })
    }

    /// `close`. Waits for the peer's acknowledgement if `SO_LINGER` asks for it and the socket blocks.
    pub(crate) fn close(&self, fd: RawFd) -> Result<()> {
        self.linger(fd)?;
        self.call(Duration::ZERO, |state| {
            let (now, file) = (state.now(), state.files.remove(fd)?);
            match file.socket {
                Socket::Fresh | Socket::FreshUdp => {}
                Socket::Listening(listener) => state.stack.close_listener(now, listener),
                Socket::Connected(connection) if file.settings.linger == Some(Duration::ZERO) => {
                    state.stack.abort(now, connection);
                }
                Socket::Connected(connection) => state.stack.close(now, connection),
                Socket::Udp(port) => state.stack.close_udp(port),
            }
            Ok(Some(()))
        })
    }

    /// Queues the FIN and waits until it is acknowledged, for as long as `SO_LINGER` says.
    fn linger(&self, fd: RawFd) -> Result<()> {
        let patience = {
            let state = self.lock();
            let file = state.files.get(fd)?;
            match (file.socket, file.settings.linger) {
                // With bytes unread the close is a reset, which nobody acknowledges.
                (Socket::Connected(connection), Some(_)) if state.stack.status(connection).readable > 0 => {
                    return Ok(());
                }
                (Socket::Connected(_), Some(linger)) if !file.nonblocking => linger,
                _ => return Ok(()),
            }
        };
        if patience.is_zero() {
            return Ok(());
        }
        let waited = self.call(patience, |state| {
            let (now, connection) = (state.now(), state.files.get(fd)?.connection()?);
            state.stack.shut(now, connection);
            let status = state.stack.status(connection);
            Ok((status.closed || status.shut_acknowledged).then_some(()))
        });
        // A close closes, however long the peer takes.
        waited.or_else(|errno| if errno == Errno::AGAIN { Ok(()) } else { Err(errno) })
    }

    /// `fcntl`: `F_GETFL`, `F_SETFL` (of which `O_NONBLOCK` counts), `F_GETFD`, `F_SETFD`.
    pub(crate) fn fcntl(&self, fd: RawFd, command: c_int, argument: c_int) -> Result<c_int> {
        let mut state = self.lock();
        let file = state.files.get_mut(fd)?;
        match command {
            libc::F_GETFL => Ok(libc::O_RDWR | if file.nonblocking { libc::O_NONBLOCK } else { 0 }),
            libc::F_SETFL => {
                file.nonblocking = argument & libc::O_NONBLOCK != 0;
                Ok(0)
            }
            libc::F_GETFD | libc::F_SETFD => Ok(0),
            _ => Err(Errno::INVAL),
        }
    }

    /// `ioctl`: `FIONREAD` (`SIOCINQ`), `TIOCOUTQ` (`SIOCOUTQ`), `FIONBIO`, whose argument is `given`.
    pub(crate) fn ioctl(&self, fd: RawFd, request: u64, given: Option<c_int>) -> Result<Answer> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let file = state.files.get_mut(fd)?;
        let n = match (request, file.socket) {
            (libc::FIONBIO, _) => {
                file.nonblocking = given.ok_or(Errno::FAULT)? != 0;
                return Ok(Answer::Done);
            }
            (libc::FIONREAD, Socket::Connected(connection)) => state.stack.status(connection).readable,
            (libc::FIONREAD, Socket::Udp(port)) => state.stack.next_udp(port).unwrap_or(0),
            (libc::TIOCOUTQ, Socket::Connected(connection)) => state.stack.status(connection).unacknowledged,
            (libc::FIONREAD | libc::TIOCOUTQ, Socket::Listening(_)) => return Err(Errno::INVAL),
            (libc::FIONREAD | libc::TIOCOUTQ, _) => 0,
            _ => return Err(Errno::INVAL),
        };
        Ok(Answer::Int(c_int::try_from(n).unwrap_or(c_int::MAX)))
    }

    /// `setsockopt`.
    pub(crate) fn setsockopt(&self, fd: RawFd, level: c_int, name: c_int, value: &[u8]) -> Result<()> {
        self.call(Duration::ZERO, |state| {
            let (now, file) = (state.now(), state.files.get_mut(fd)?);
            if file.is_udp() && level == libc::IPPROTO_TCP {
                return Err(Errno::NOPROTOOPT);
            }
            file.settings.set(level, name, value)?;
            match file.socket {
                Socket::Listening(listener) => state.stack.configure_listener(listener, &file.settings),
                Socket::Connected(connection) => {
                    state.stack.configure(now, connection, &file.settings);
                    if (level, name) == (libc::IPPROTO_TCP, libc::TCP_NODELAY) && file.settings.nodelay {
                        state.stack.push(now, connection);
                    }
                }
                Socket::Fresh | Socket::FreshUdp | Socket::Udp(_) => {}
            }
            Ok(Some(()))
        })
    }

    /// `getsockopt`: the option's value as C lays it out.
    pub(crate) fn getsockopt(&self, fd: RawFd, level: c_int, name: c_int) -> Result<Vec<u8>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let file = state.files.get(fd)?;
        let int = |value: c_int| Ok(value.to_ne_bytes().to_vec());
        match (level, name, file.socket) {
            (libc::SOL_SOCKET, libc::SO_ERROR, socket) => {
                int(state.take_error(socket).map_or(0, |errno| errno.0))
            }
            (libc::SOL_SOCKET, libc::SO_TYPE, _) if file.is_udp() => int(libc::SOCK_DGRAM),
            (libc::SOL_SOCKET, libc::SO_TYPE, _) => int(libc::SOCK_STREAM),
            (libc::SOL_SOCKET, libc::SO_DOMAIN, _) => int(libc::AF_INET),
            (libc::SOL_SOCKET, libc::SO_PROTOCOL, _) if file.is_udp() => int(libc::IPPROTO_UDP),
            (libc::SOL_SOCKET, libc::SO_PROTOCOL, _) => int(libc::IPPROTO_TCP),
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN, socket) => {
                int(matches!(socket, Socket::Listening(_)).into())
            }
            (libc::IPPROTO_TCP, _, _) if file.is_udp() => Err(Errno::NOPROTOOPT),
            (libc::IPPROTO_TCP, libc::TCP_INFO, Socket::Connected(connection)) => {
                Ok(state.stack.info(connection).as_bytes().to_vec())
            }
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG, Socket::Connected(connection)) => {
                int(state.stack.info(connection).snd_mss as c_int)
            }
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG, _) => {
                let set = c_int::from(file.settings.max_segment);
                int(if set == 0 { DEFAULT_SEGMENT } else { set })
            }
            _ => file.settings.get(level, name),
        }
    }

    /// How long a reading call on `fd` may wait.
    pub(crate) fn read_patience(&self, fd: RawFd, dont_wait: bool) -> Result<Duration> {
        let state = self.lock();
        let file = state.files.get(fd)?;
        Ok(file.patience(dont_wait, file.settings.receive_timeout))
    }

    /// How long a writing call on `fd` may wait.
    pub(crate) fn write_patience(&self, fd: RawFd, dont_wait: bool) -> Result<Duration> {
        let state = self.lock();
        let file = state.files.get(fd)?;
        Ok(file.patience(dont_wait, file.settings.send_timeout))
    }
}

impl State {
    /// Takes a socket's pending error.
    pub(crate) fn take_error(&mut self, socket: Socket) -> Option<Errno> {
        match socket {
            Socket::Connected(connection) => self.stack.take_error(connection),
            Socket::Udp(port) => self.stack.take_udp_error(port),
            Socket::Fresh | Socket::Listening(_) | Socket::FreshUdp => None,
        }
    }
}

/// Whether the connection that `connect` began is made. If it has failed, the socket is as new.
fn connected(state: &mut State, fd: RawFd, connection: Connection) -> Result<Option<()>> {
    let status = state.stack.status(connection);
    if status.connecting {
        return Ok(None);
    }
    if !status.closed {
        return Ok(Some(()));
    }
    let error = state.stack.take_error(connection).unwrap_or(Errno::CONNABORTED);
    let now = state.now();
    state.stack.close(now, connection);
    state.files.get_mut(fd)?.socket = Socket::Fresh;
    Err(error)
}

//! `poll`.

use std::os::fd::RawFd;
use std::time::Duration;

use libc::{
    POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM, c_int, c_short, pollfd,
};

use crate::errno::{Errno, Result};
use crate::files::Socket;
use crate::world::{State, World};

/// Something to read.
const READABLE: c_short = POLLIN | POLLRDNORM;
/// Room to write.
const WRITABLE: c_short = POLLOUT | POLLWRNORM;
/// Events that are told unasked.
const ALWAYS: c_short = POLLERR | POLLHUP | POLLNVAL;

impl World {
    /// `poll`: fills in `revents` and gives how many of `fds` have any. `timeout` in ms; negative: none.
    pub(crate) fn poll(&self, fds: &mut [pollfd], timeout: c_int) -> Result<usize> {
        let patience = u64::try_from(timeout).map_or(Duration::MAX, Duration::from_millis);
        let ready = self.call(patience, |state| {
            for entry in fds.iter_mut() {
                entry.revents = state.events(entry.fd) & (entry.events | ALWAYS);
            }
            let ready = fds.iter().filter(|entry| entry.revents != 0).count();
            Ok((ready > 0).then_some(ready))
        });
        if ready == Err(Errno::AGAIN) { Ok(0) } else { ready }
    }
}

impl State {
    /// What is true of `fd` now. A negative descriptor is skipped.
    fn events(&self, fd: RawFd) -> c_short {
        if fd < 0 {
            return 0;
        }
        let Ok(file) = self.files.get(fd) else {
            return POLLNVAL;
        };
        match file.socket {
            Socket::Fresh => WRITABLE | POLLHUP,
            Socket::Listening(listener) if self.stack.is_acceptable(listener) => READABLE,
            Socket::Listening(_) => 0,
            Socket::FreshUdp => WRITABLE,
            Socket::Udp(port) => {
                let readable = if self.stack.next_udp(port).is_some() { READABLE } else { 0 };
                let error = if self.stack.has_udp_error(port) { POLLERR } else { 0 };
                WRITABLE | readable | error
            }
            Socket::Connected(connection) => {
                let status = self.stack.status(connection);
                if status.connecting {
                    return 0;
                }
                let ended = status.finished || status.closed || file.read_shut;
                let shut = status.shut || status.closed;
                let when = |truth: bool, events: c_short| if truth { events } else { 0 };
                when(status.readable > 0 || ended, READABLE)
                    | when(ended, POLLRDHUP)
                    | when(status.room > 0 || shut, WRITABLE)
                    | when(ended && shut, POLLHUP)
                    | when(status.error.is_some(), POLLERR)
            }
        }
    }
}

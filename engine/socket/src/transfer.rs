//! The `read` and `write` families.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::RawFd;

use libc::c_int;

use crate::addr;
use crate::errno::{Errno, Result};
use crate::files::Socket;
use crate::stack::Datagrams;
use crate::world::{State, World};

/// What a reading call gives.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Received {
    /// Bytes read; of a datagram with `MSG_TRUNC`, its length.
    pub(crate) len: usize,
    /// A datagram's sender.
    pub(crate) from: Option<SocketAddrV4>,
    /// `MSG_TRUNC`, if the datagram did not fit.
    pub(crate) flags: c_int,
}

impl World {
    /// Reads into `buffers`, in their order.
    pub(crate) fn read(&self, fd: RawFd, buffers: &mut [&mut [u8]], flags: c_int) -> Result<Received> {
        if flags & libc::MSG_OOB != 0 {
            return Err(Errno::INVAL);
        }
        let patience = self.read_patience(fd, flags & libc::MSG_DONTWAIT != 0)?;
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut done = 0;
        let outcome = self.call(patience, |state| {
            let file = state.files.get(fd)?;
            if file.is_udp() {
                return state.read_datagram(fd, buffers, flags);
            }
            if wanted == 0 {
                file.connection()?;
                return Ok(Some(Received::default()));
            }
            let step = state.read_stream(fd, buffers, done, flags)?;
            done += step.unwrap_or(0);
            let all = flags & libc::MSG_WAITALL != 0 && flags & libc::MSG_PEEK == 0;
            let over = step == Some(0) || (done > 0 && !all) || done == wanted;
            Ok(over.then_some(Received { len: done, ..Received::default() }))
        });
        // An error that comes after some bytes is for the next call.
        if outcome.is_err() && done > 0 { Ok(Received { len: done, ..Received::default() }) } else { outcome }
    }

    /// Writes `buffers`, in their order. A call that may wait ends when all is queued.
    pub(crate) fn write(
        &self,
        fd: RawFd,
        buffers: &[&[u8]],
        to: Option<&[u8]>,
        flags: c_int,
    ) -> Result<usize> {
        if flags & libc::MSG_OOB != 0 {
            return Err(Errno::OPNOTSUPP);
        }
        let patience = self.write_patience(fd, flags & libc::MSG_DONTWAIT != 0)?;
        let wanted: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let more = flags & libc::MSG_MORE != 0;
        let mut done = 0;
        let outcome = self.call(patience, |state| {
            if state.files.get(fd)?.is_udp() {
                return state.write_datagram(fd, buffers, to).map(Some);
            }
            if let Some(n) = state.write_stream(fd, buffers, done, more)? {
                done += n;
            } else {
                return Ok(None);
            }
            Ok((done == wanted).then_some(done))
        });
        if outcome.is_err() && done > 0 { Ok(done) } else { outcome }
    }
}

impl State {
    /// Reads what a connection has, into `buffers` from byte `skip` on. `None`: nothing yet; zero: the end.
    fn read_stream(
        &mut self,
        fd: RawFd,
        buffers: &mut [&mut [u8]],
        skip: usize,
        flags: c_int,
    ) -> Result<Option<usize>> {
        let (now, file) = (self.now(), self.files.get(fd)?);
        let connection = file.connection()?;
        let status = self.stack.status(connection);
        if status.readable > 0 {
            let mut n = 0;
            for buffer in unfilled(buffers, skip) {
                // With MSG_TRUNC a stream's bytes are thrown away (Linux).
                n += if flags & libc::MSG_TRUNC != 0 {
                    buffer.len().min(status.readable - n)
                } else {
                    self.stack.peek(connection, n, buffer)
                };
            }
            if flags & libc::MSG_PEEK == 0 {
                self.stack.consume(now, connection, n);
            }
            return Ok(Some(n));
        }
        if let Some(error) = self.stack.take_error(connection) {
            return Err(error);
        }
        Ok((status.finished || status.closed || file.read_shut).then_some(0))
    }

    /// Queues what a connection takes of `buffers` from byte `skip` on; `None`: no room.
    fn write_stream(
        &mut self,
        fd: RawFd,
        buffers: &[&[u8]],
        skip: usize,
        more: bool,
    ) -> Result<Option<usize>> {
        let now = self.now();
        let connection = self.files.get(fd)?.connection()?;
        let status = self.stack.status(connection);
        if status.connecting && !status.shut {
            return Ok(None);
        }
        if let Some(error) = self.stack.take_error(connection) {
            return Err(error);
        }
        if status.shut || status.closed {
            return Err(Errno::PIPE);
        }
        let (mut skip, mut n) = (skip, 0);
        let last = buffers.len().saturating_sub(1);
        for (i, buffer) in buffers.iter().enumerate() {
            let rest = buffer.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(buffer.len());
            // Only the last buffer's tail may go out as a short segment.
            let queued = self.stack.send(now, connection, rest, more || i < last);
            n += queued;
            if queued < rest.len() {
                return Ok((n > 0).then_some(n));
            }
        }
        Ok(Some(n))
    }

    /// Reads one datagram.
    fn read_datagram(
        &mut self,
        fd: RawFd,
        buffers: &mut [&mut [u8]],
        flags: c_int,
    ) -> Result<Option<Received>> {
        let port = self.udp_port(fd)?;
        if let Some(error) = self.stack.take_udp_error(port) {
            return Err(error);
        }
        let Some(len) = self.stack.next_udp(port) else {
            return Ok(None);
        };
        let mut datagram = vec![0; len];
        let from = self.stack.peek_udp(port, &mut datagram).map(|(_, from)| from);
        let mut n = 0;
        for buffer in buffers.iter_mut() {
            let part = buffer.len().min(len - n);
            buffer[..part].copy_from_slice(&datagram[n..n + part]);
            n += part;
        }
        if flags & libc::MSG_PEEK == 0 {
            self.stack.consume_udp(port);
        }
        let whole = flags & libc::MSG_TRUNC != 0;
        let cut = if n < len { libc::MSG_TRUNC } else { 0 };
        Ok(Some(Received { len: if whole { len } else { n }, from, flags: cut }))
    }

    /// Sends one datagram to `to`, or to where the socket is connected.
    fn write_datagram(&mut self, fd: RawFd, buffers: &[&[u8]], to: Option<&[u8]>) -> Result<usize> {
        let port = self.udp_port(fd)?;
        if let Some(error) = self.stack.take_udp_error(port) {
            return Err(error);
        }
        let file = self.files.get(fd)?;
        let to = match to {
            Some(address) => addr::parse(address)?,
            None => file.peer.ok_or(Errno::DESTADDRREQ)?,
        };
        let datagram = buffers.concat();
        self.stack.send_udp(port, to, &datagram, &file.settings)?;
        Ok(datagram.len())
    }

    /// The UDP port behind `fd`, opened now if it has none.
    pub(crate) fn udp_port(&mut self, fd: RawFd) -> Result<Datagrams> {
        let file = self.files.get_mut(fd)?;
        match file.socket {
            Socket::Udp(port) => Ok(port),
            Socket::FreshUdp => {
                let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
                let port = self.stack.open_udp(file.bound.unwrap_or(any))?;
                file.socket = Socket::Udp(port);
                Ok(port)
            }
            _ => Err(Errno::OPNOTSUPP),
        }
    }
}

/// What of `buffers` lies past their first `skip` bytes.
fn unfilled<'a>(buffers: &'a mut [&mut [u8]], mut skip: usize) -> impl Iterator<Item = &'a mut [u8]> {
    buffers.iter_mut().map(move |buffer| {
        let from = skip.min(buffer.len());
        skip -= from;
        &mut buffer[from..]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_goes_on_where_it_stopped() {
        let (mut a, mut b) = ([0; 3], [0; 4]);
        for (skip, left) in [(0, [3, 4]), (2, [1, 4]), (3, [0, 4]), (5, [0, 2]), (7, [0, 0])] {
            let mut buffers: [&mut [u8]; 2] = [&mut a, &mut b];
            let lens: Vec<usize> = unfilled(&mut buffers, skip).map(|buffer| buffer.len()).collect();
            assert_eq!(lens, left, "past {skip}");
        }
    }
}

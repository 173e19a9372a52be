//! UDP.

use std::net::SocketAddrV4;

use tcp::udp::UdpError;
use wire::Payload;

use super::packets::IpFields;
use super::{Bytes, Datagrams, Stack};
use crate::errno::{Errno, Result};
use crate::settings::Settings;

impl Stack {
    /// Opens a UDP port (0: any free one).
    pub(crate) fn open_udp(&mut self, local: SocketAddrV4) -> Result<Datagrams> {
        self.udp.bind(local).map_err(errno)
    }

    /// Takes datagrams and ICMP errors from `peer` alone, or from anybody.
    pub(crate) fn connect_udp(&mut self, port: Datagrams, peer: Option<SocketAddrV4>) -> Result<()> {
        let done = match peer {
            Some(peer) => self.udp.connect(port, peer, self.local),
            None => self.udp.disconnect(port),
        };
        done.map_err(errno)
    }

    /// Sends a datagram. Fails with `EMSGSIZE` if it does not fit an IPv4 packet.
    pub(crate) fn send_udp(
        &mut self,
        port: Datagrams,
        to: SocketAddrV4,
        bytes: &[u8],
        settings: &Settings,
    ) -> Result<()> {
        let sent = self.udp.send_to(port, Bytes::new(bytes), to, None);
        sent.map_err(|unsent| errno(unsent.error))?;
        let Settings { ttl, tos, dont_fragment, .. } = *settings;
        while let Some(datagram) = self.udp.poll_transmit() {
            self.transmit_datagram(&datagram, IpFields { ttl, tos, dont_fragment });
        }
        Ok(())
    }

    /// Length of the oldest datagram to read.
    pub(crate) fn next_udp(&self, port: Datagrams) -> Option<usize> {
        self.udp.peek(port).map(|datagram| datagram.payload.len())
    }

    /// Copies the start of the oldest datagram to `out`; gives its whole length and its sender.
    pub(crate) fn peek_udp(&self, port: Datagrams, out: &mut [u8]) -> Option<(usize, SocketAddrV4)> {
        let datagram = self.udp.peek(port)?;
        datagram.payload.copy_out(0, out);
        Some((datagram.payload.len(), datagram.source))
    }

    /// Drops the oldest datagram.
    pub(crate) fn consume_udp(&mut self, port: Datagrams) {
        // An error was taken before it.
        self.udp.recv_from(port).ok();
    }

    /// Takes the pending error: `ECONNREFUSED` after a port unreachable, if connected.
    pub(crate) fn take_udp_error(&mut self, port: Datagrams) -> Option<Errno> {
        self.udp.take_error(port).map(errno)
    }

    /// Whether an error is pending.
    pub(crate) fn has_udp_error(&self, port: Datagrams) -> bool {
        self.udp.has_error(port)
    }

    /// Closes a UDP port.
    pub(crate) fn close_udp(&mut self, port: Datagrams) {
        self.udp.close(port);
    }
}

fn errno(error: UdpError) -> Errno {
    match error {
        UdpError::Closed => Errno::BADF,
        UdpError::TooManySockets | UdpError::Full => Errno::NOBUFS,
        UdpError::AddressInUse => Errno::ADDRINUSE,
        UdpError::NoFreePort => Errno::AGAIN,
        UdpError::BadAddress => Errno::INVAL,
        UdpError::NotConnected => Errno::DESTADDRREQ,
        UdpError::TooLong => Errno::MSGSIZE,
        UdpError::Refused => Errno::CONNREFUSED,
    }
}

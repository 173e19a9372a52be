//! UDP sockets (RFC 768, RFC 1122 section 4.1), generic over what carries the bytes.
//!
//! [`UdpTable`] holds one core's sockets. [`UdpTable::handle_datagram`] takes what the IP layer received
//! and checked, [`UdpTable::poll_event`] says which sockets have some, [`UdpTable::poll_transmit`] gives what it is to send, with a [`header`] in front. Errors
//! come in by [`UdpTable::handle_port_unreachable`].
//!
//! A datagram goes to one socket. The caller checks its checksum and discards those from addresses that
//! are no host's, fragments what is too long for the link, and limits the rate of ICMP errors.

mod header;
mod names;
mod sockets;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddrV4;

pub use header::{MAX_PAYLOAD, header};
pub use sockets::SocketId;
pub use table::UdpTable;

/// What a [`UdpTable`] holds at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Sockets.
    pub sockets: usize,
    /// Datagrams received and not yet taken, of all sockets.
    pub received: usize,
    /// Datagrams not yet given to the IP layer, of all sockets.
    pub unsent: usize,
    /// Of each of the two, those of one socket.
    pub per_socket: usize,
}

/// What became of a received datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Disposition {
    /// It waits in this socket's queue.
    Delivered(SocketId),
    /// No socket has the port: an ICMP port unreachable answers it, if anything may.
    NoPort,
    /// Its socket's queue, or what all may hold together, is full: it was dropped.
    Full,
}

/// A received datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received<B> {
    /// From whom; port 0 if no answer is wanted.
    pub source: SocketAddrV4,
    /// To which of our addresses: where an answer comes from.
    pub local: SocketAddrV4,
    /// Its bytes, without the header.
    pub payload: B,
}

/// A datagram to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit<B> {
    /// Who sends it. May be closed by now.
    pub socket: SocketId,
    /// From where. The address is the choice of the route if it is unspecified.
    pub source: SocketAddrV4,
    /// To whom.
    pub destination: SocketAddrV4,
    /// Its bytes, without the header.
    pub payload: B,
}

/// Why something could not be done with a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UdpError {
    /// The socket is closed.
    Closed,
    /// There are as many sockets as there may be.
    TooManySockets,
    /// Another socket has the address and port, towards the same peer if there is one.
    AddressInUse,
    /// Every port of the dynamic range is in use.
    NoFreePort,
    /// The address is unspecified, or the port zero.
    BadAddress,
    /// There is no peer to send to.
    NotConnected,
    /// The payload is longer than [`MAX_PAYLOAD`].
    TooLong,
    /// The socket, or all together, have as many datagrams unsent as they may.
    Full,
    /// The peer said that nobody listens on its port. Told once.
    Refused,
}

impl fmt::Display for UdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UdpError::Closed => "the socket is closed",
            UdpError::TooManySockets => "there are as many sockets as there may be",
            UdpError::AddressInUse => "the address is in use",
            UdpError::NoFreePort => "no port is free",
            UdpError::BadAddress => "the address or the port is unspecified",
            UdpError::NotConnected => "the socket is not connected",
            UdpError::TooLong => "the datagram is too long",
            UdpError::Full => "too many datagrams are unsent",
            UdpError::Refused => "nobody listens on the peer's port",
        })
    }
}

impl std::error::Error for UdpError {}

/// A datagram that was not taken for sending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsent<B> {
    /// Why.
    pub error: UdpError,
    /// Its bytes, given back.
    pub payload: B,
}

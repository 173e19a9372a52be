//! `struct sockaddr_in` as bytes.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::errno::{Errno, Result};

/// Bytes of a `struct sockaddr_in`.
pub(crate) const LEN: usize = 16;

/// Reads an IPv4 socket address. Fails with `EINVAL` if it is cut short, with `EAFNOSUPPORT` for any
/// other family.
pub(crate) fn parse(bytes: &[u8]) -> Result<SocketAddrV4> {
    let &[f0, f1, p0, p1, a, b, c, d, ..] = bytes else {
        return Err(Errno::INVAL);
    };
    if i32::from(u16::from_ne_bytes([f0, f1])) != libc::AF_INET {
        return Err(Errno::AFNOSUPPORT);
    }
    if bytes.len() < LEN {
        return Err(Errno::INVAL);
    }
    Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p0, p1])))
}

/// `addr` as a `struct sockaddr_in`.
pub(crate) fn bytes(addr: SocketAddrV4) -> [u8; LEN] {
    let mut out = [0; LEN];
    out[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    out[2..4].copy_from_slice(&addr.port().to_be_bytes());
    out[4..8].copy_from_slice(&addr.ip().octets());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let addr = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080);
        let raw = bytes(addr);
        assert_eq!(raw[2..8], [0x1f, 0x90, 192, 0, 2, 1], "network byte order");
        assert_eq!(parse(&raw), Ok(addr));
    }

    #[test]
    fn refuses_other_families_and_short_addresses() {
        let raw = bytes(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1));
        assert_eq!(parse(&raw[..15]), Err(Errno::INVAL));
        assert_eq!(parse(&raw[..3]), Err(Errno::INVAL));
        let mut unspecified = raw;
        unspecified[..2].copy_from_slice(&(libc::AF_UNSPEC as u16).to_ne_bytes());
        assert_eq!(parse(&unspecified), Err(Errno::AFNOSUPPORT));
    }
}

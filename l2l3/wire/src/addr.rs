//! Ethernet addresses and IPv4 prefixes. IPv4 addresses themselves are [`std::net::Ipv4Addr`].

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A 48-bit Ethernet address, in the order of the wire.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
    /// `00:00:00:00:00:00`, which no station has.
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// Whether the group bit is set (IEEE 802.3 section 3.2.3); true for broadcast too.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is the broadcast address.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not an address; the text says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseAddrError(&'static str);

impl fmt::Display for ParseAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ParseAddrError {}

impl FromStr for MacAddr {
    type Err = ParseAddrError;

    /// Reads `02:00:5e:10:00:01`: six two-digit hexadecimal numbers separated by colons.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANT: ParseAddrError = ParseAddrError("an Ethernet address is written like 02:00:5e:10:00:01");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(WANT)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| WANT)?;
        }
        if parts.next().is_some() { Err(WANT) } else { Ok(MacAddr(bytes)) }
    }
}

/// An IPv4 network: an address whose bits past `len` are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Prefix {
    addr: u32,
    len: u8,
}

impl Ipv4Prefix {
    /// `0.0.0.0/0`.
    pub const DEFAULT: Ipv4Prefix = Ipv4Prefix { addr: 0, len: 0 };

    /// The network of length `len` that holds `addr`; host bits are cleared.
    ///
    /// # Panics
    /// If `len > 32`.
    pub const fn new(addr: Ipv4Addr, len: u8) -> Self {
        assert!(len <= 32, "an IPv4 prefix length is 0 to 32");
        Ipv4Prefix { addr: addr.to_bits() & mask(len), len }
    }

    /// The `/32` of one address.
    pub const fn host(addr: Ipv4Addr) -> Self {
        Self::new(addr, 32)
    }

    /// The network address.
    pub const fn addr(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr)
    }

    /// The network address in host order.
    pub const fn bits(self) -> u32 {
        self.addr
    }

    /// The prefix length, 0 to 32.
    #[expect(clippy::len_without_is_empty, reason = "a length in bits, not of a container")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// The network mask in host order.
    pub const fn mask(self) -> u32 {
        mask(self.len)
    }

    /// Whether `addr` lies in this network.
    pub const fn contains(self, addr: Ipv4Addr) -> bool {
        addr.to_bits() & self.mask() == self.addr
    }

    /// The last address: the directed broadcast where `len <= 30`.
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr | !self.mask())
    }
}

const fn mask(len: u8) -> u32 {
    if len == 0 { 0 } else { u32::MAX << (32 - len) }
}

impl fmt::Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.len)
    }
}

impl fmt::Debug for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Prefix {
    type Err = ParseAddrError;

    /// Reads `10.1.0.0/16`. Host bits must be zero, so that a typing error is not taken for a network.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANT: ParseAddrError = ParseAddrError("an IPv4 prefix is written like 10.1.0.0/16");
        let (addr, len) = text.split_once('/').ok_or(WANT)?;
        let addr: Ipv4Addr = addr.parse().map_err(|_| WANT)?;
        let len: u8 = len.parse().ok().filter(|len| *len <= 32).ok_or(WANT)?;
        let prefix = Ipv4Prefix::new(addr, len);
        if prefix.addr() != addr {
            return Err(ParseAddrError("the bits after the prefix length must be zero"));
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_reads_what_it_prints() {
        let mac = MacAddr([2, 0, 0x5e, 0x10, 0, 0xff]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in ["", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "2:0:5e:10:0:1", "02:00:5e:10:00:0g"] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prefix_reads_what_it_prints() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32"] {
            assert_eq!(text.parse::<Ipv4Prefix>().unwrap().to_string(), text);
        }
        for bad in ["10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "x/8", "10.0.0.0/"] {
            assert!(bad.parse::<Ipv4Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn prefix_bounds() {
        let net: Ipv4Prefix = "192.0.2.128/25".parse().unwrap();
        assert!(net.contains(Ipv4Addr::new(192, 0, 2, 200)));
        assert!(!net.contains(Ipv4Addr::new(192, 0, 2, 127)));
        assert_eq!(net.last(), Ipv4Addr::new(192, 0, 2, 255));
        assert!(Ipv4Prefix::DEFAULT.contains(Ipv4Addr::BROADCAST));
    }
}

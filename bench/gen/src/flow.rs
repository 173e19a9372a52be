//! The flows that a lane plays: ranges of addresses and ports, in an order from a seed.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use wire::checksum::Sum;

/// The most flows of a lane.
pub const MAX_FLOWS: usize = 1 << 20;

/// What carries the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// UDP.
    #[default]
    Udp,
    /// ICMP echo requests, for peers that answer nothing else. Their identifier is the flow's source port.
    Echo,
}

/// Addresses from `first` to `last`, both of them included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddrRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

/// Ports from `first` to `last`, both of them included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Why a range cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is no range: give one value, or FIRST-LAST with FIRST not above LAST.")]
pub struct RangeError(String);

impl AddrRange {
    /// One address.
    pub fn one(addr: Ipv4Addr) -> Self {
        AddrRange { first: addr, last: addr }
    }

    /// The first address.
    pub fn first(&self) -> Ipv4Addr {
        self.first
    }

    /// Whether `addr` lies within.
    pub fn contains(&self, addr: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&addr)
    }

    fn count(&self) -> u64 {
        u64::from(self.last.to_bits() - self.first.to_bits()) + 1
    }

    fn nth(&self, n: u64) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() + (n % self.count()) as u32)
    }
}

impl PortRange {
    fn count(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    fn nth(&self, n: u64) -> u16 {
        self.first + (n % self.count()) as u16
    }
}

fn parse_range<T: FromStr + PartialOrd + Copy>(text: &str) -> Result<(T, T), RangeError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let bad = || RangeError(text.to_owned());
    let (first, last): (T, T) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first <= last { Ok((first, last)) } else { Err(bad()) }
}

impl FromStr for AddrRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        parse_range(text).map(|(first, last)| AddrRange { first, last })
    }
}

impl FromStr for PortRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        parse_range(text).map(|(first, last)| PortRange { first, last })
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// Which flows there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowSpec {
    /// Source addresses.
    pub src: AddrRange,
    /// Destination addresses.
    pub dst: AddrRange,
    /// Source ports.
    pub src_port: PortRange,
    /// Destination ports.
    pub dst_port: PortRange,
    /// How many flows; no more than there are combinations.
    pub count: usize,
    /// What carries the payload.
    pub protocol: Protocol,
    /// Where in the combinations the flows start, and in which order they are played.
    pub seed: u64,
}

/// Why there are no such flows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FlowError {
    /// More flows than combinations, or none.
    #[error("{wanted} flows cannot be made of ranges that have {there} combinations.")]
    Count {
        /// Flows asked for.
        wanted: usize,
        /// Combinations of the ranges.
        there: u128,
    },
    /// More than [`MAX_FLOWS`].
    #[error("{0} flows are too many: {MAX_FLOWS} is the most.")]
    TooMany(usize),
}

/// One flow, ready to be written into a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flow {
    /// Source and destination address, as on the wire.
    pub(crate) addresses: [u8; 8],
    /// The first four bytes of the transport header: ports; for ICMP echo the identifier and a number of its own.
    pub(crate) ports: [u8; 4],
    /// Sum of the addresses' words, not inverted.
    pub(crate) address_sum: u16,
    /// Sum of the ports' words, not inverted.
    pub(crate) port_sum: u16,
}

impl FlowSpec {
    /// The same flows in the other direction.
    pub fn reversed(&self) -> FlowSpec {
        FlowSpec {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..self.clone()
        }
    }

    /// The flows, in the order in which they are played, the first of all ranges first.
    ///
    /// Combinations are numbered, and walked through in steps that have no divisor in common with their number:
    /// such a walk meets none twice. The seed chooses the step.
    pub(crate) fn flows(&self) -> Result<Vec<Flow>, FlowError> {
        if self.count > MAX_FLOWS {
            return Err(FlowError::TooMany(self.count));
        }
        let there = self.ranges().into_iter().map(u128::from).product();
        if self.count == 0 || self.count as u128 > there {
            return Err(FlowError::Count { wanted: self.count, there });
        }
        let step = step(self.seed, there);
        Ok((0..self.count as u128).map(|n| self.flow(n * step % there)).collect())
    }

    fn ranges(&self) -> [u64; 4] {
        let dst_ports = if self.protocol == Protocol::Udp { self.dst_port.count() } else { 1 };
        [self.src.count(), self.dst.count(), self.src_port.count(), dst_ports]
    }

    fn flow(&self, mut combination: u128) -> Flow {
        let [src, dst, src_port, dst_port] = self.ranges().map(|range| {
            let digit = combination % u128::from(range);
            combination /= u128::from(range);
            digit as u64
        });
        let addresses = [self.src.nth(src), self.dst.nth(dst)].map(|addr| addr.to_bits());
        let ports = [self.src_port.nth(src_port), self.dst_port.nth(dst_port)];
        let address_bytes = ((u64::from(addresses[0]) << 32) | u64::from(addresses[1])).to_be_bytes();
        let port_bytes = ((u32::from(ports[0]) << 16) | u32::from(ports[1])).to_be_bytes();
        Flow {
            addresses: address_bytes,
            ports: port_bytes,
            address_sum: plain_sum(&address_bytes),
            port_sum: plain_sum(&port_bytes),
        }
    }
}

/// A step through `count` combinations that has no divisor in common with their number.
fn step(seed: u64, count: u128) -> u128 {
    // SplitMix64's mixing, so that near seeds give far steps.
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // Near the golden section, whose multiples spread evenly.
    let golden = count / 1_000_000 * 618_034 + count % 1_000_000 * 618_034 / 1_000_000;
    let start = golden + u128::from(mixed) % (count / 8 + 1);
    (start..).find(|step| gcd(*step, count) == 1).unwrap_or(1)
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The sum of 16-bit words, folded but not inverted, in host order.
pub(crate) fn plain_sum(bytes: &[u8]) -> u16 {
    !Sum::new().add_bytes(bytes).finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashSet;

    pub(crate) fn spec(count: usize) -> FlowSpec {
        FlowSpec {
            src: "10.0.0.1-10.0.0.10".parse().unwrap(),
            dst: "10.1.0.1-10.1.0.4".parse().unwrap(),
            src_port: "1000-1005".parse().unwrap(),
            dst_port: "2000".parse().unwrap(),
            count,
            protocol: Protocol::Udp,
            seed: 1,
        }
    }

    #[test]
    fn no_combination_comes_twice_and_all_are_met() {
        for seed in 0..20 {
            let flows = FlowSpec { seed, ..spec(240) }.flows().unwrap();
            let distinct: HashSet<_> = flows.iter().map(|flow| (flow.addresses, flow.ports)).collect();
            assert_eq!(distinct.len(), 240);
            assert_eq!(flows[0].addresses, [10, 0, 0, 1, 10, 1, 0, 1]);
            assert_eq!(flows[0].ports, [0x03, 0xe8, 0x07, 0xd0]);
        }
        assert_ne!(FlowSpec { seed: 1, ..spec(240) }.flows(), FlowSpec { seed: 2, ..spec(240) }.flows());
    }

    #[test]
    fn few_flows_of_many_differ_in_all_ranges() {
        let all = FlowSpec {
            src: "0.0.0.0-255.255.255.255".parse().unwrap(),
            dst: "0.0.0.0-255.255.255.255".parse().unwrap(),
            src_port: "0-65535".parse().unwrap(),
            dst_port: "0-65535".parse().unwrap(),
            ..spec(1000)
        };
        let flows = all.flows().unwrap();
        let sources: HashSet<_> = flows.iter().map(|flow| flow.addresses[..4].to_vec()).collect();
        let ports: HashSet<_> = flows.iter().map(|flow| flow.ports).collect();
        assert!(sources.len() > 900 && ports.len() > 900, "{} {}", sources.len(), ports.len());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(spec(241).flows(), Err(FlowError::Count { wanted: 241, there: 240 }));
        assert_eq!(spec(0).flows(), Err(FlowError::Count { wanted: 0, there: 240 }));
        assert_eq!(spec(MAX_FLOWS + 1).flows(), Err(FlowError::TooMany(MAX_FLOWS + 1)));
        assert!("10.0.0.2-10.0.0.1".parse::<AddrRange>().is_err());
        assert!("65536".parse::<PortRange>().is_err());
    }
}

//! Flow files: what the net_flood device plays. `pmd/flood.h` has the layout.

use std::net::Ipv4Addr;

use bench::rng::Rng;
use bench::routes::{Hop, NaiveLpm, PORTS, RouteTable};

/// The first half of every packet's source address.
const SOURCE_NET: [u8; 2] = [10, 200];

/// How packets for different ports follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As drawn: any port after any other.
    Mixed,
    /// In runs of this many to one port.
    Runs(usize),
}

/// `count` records of flows to addresses drawn evenly from the table's routes; the last bit of the source address is
/// the port that the table sends the packet to, so that the device can check it.
pub(crate) fn flow_file(
    table: &RouteTable,
    lpm: &NaiveLpm,
    count: usize,
    order: Order,
    seed: u64,
) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut records = Vec::with_capacity(count * 8);
    for i in 0..count {
        let wanted = match order {
            Order::Mixed => None,
            Order::Runs(length) => Some((i / length % PORTS) as Hop),
        };
        let (destination, hop) = draw(table, lpm, wanted, &mut rng);
        let source_low = (rng.bits() as u16 & !1) | u16::from(hop);
        records.extend(record(destination, source_low));
    }
    records
}

/// An address that has a route, and where the route leads: to `wanted`, if given.
fn draw(table: &RouteTable, lpm: &NaiveLpm, wanted: Option<Hop>, rng: &mut Rng) -> (Ipv4Addr, Hop) {
    loop {
        let (prefix, _) = table.routes[rng.below(table.routes.len() as u64) as usize];
        let addr = Ipv4Addr::from_bits(prefix.bits() | (rng.bits() as u32 & !prefix.mask()));
        match lpm.lookup(addr) {
            Some(hop) if wanted.is_none_or(|wanted| wanted == hop) => return (addr, hop),
            _ => {}
        }
    }
}

/// One record: the checksum of the packet's IPv4 header, the low half of its source, its destination; network order.
fn record(destination: Ipv4Addr, source_low: u16) -> [u8; 8] {
    let checksum = wire::checksum::checksum(&header(destination, source_low)).to_be_bytes();
    let low = source_low.to_be_bytes();
    let [a, b, c, d] = destination.octets();
    [checksum[0], checksum[1], low[0], low[1], a, b, c, d]
}

/// The IPv4 header that the device builds, its checksum zero: 46 bytes of UDP, TTL 64.
fn header(destination: Ipv4Addr, source_low: u16) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[3] = 46;
    header[8] = 64;
    header[9] = 17;
    header[12..14].copy_from_slice(&SOURCE_NET);
    header[14..16].copy_from_slice(&source_low.to_be_bytes());
    header[16..].copy_from_slice(&destination.octets());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports_of(file: &[u8]) -> Vec<u8> {
        file.chunks(8).map(|record| record[3] & 1).collect()
    }

    #[test]
    fn a_record_completes_its_header() {
        let [c0, c1, low @ ..] = record(Ipv4Addr::new(48, 0, 1, 2), 0x1235);
        let mut header = header(Ipv4Addr::new(48, 0, 1, 2), 0x1235);
        header[10..12].copy_from_slice(&[c0, c1]);
        assert_eq!(wire::checksum::checksum(&header), 0);
        assert_eq!(low, [0x12, 0x35, 48, 0, 1, 2]);
    }

    #[test]
    fn each_flow_says_the_port_its_destination_is_routed_to() {
        let table = RouteTable::internet(2000, 3);
        let lpm = NaiveLpm::new(&table);
        let file = flow_file(&table, &lpm, 4096, Order::Mixed, 9);
        assert_eq!(file.len(), 4096 * 8);
        for record in file.chunks(8) {
            let destination = Ipv4Addr::new(record[4], record[5], record[6], record[7]);
            assert_eq!(lpm.lookup(destination), Some(record[3] & 1));
        }
        let to_port_1 = ports_of(&file).iter().filter(|port| **port == 1).count();
        assert!((1500..2600).contains(&to_port_1));
    }

    #[test]
    fn runs_are_runs() {
        let table = RouteTable::two();
        let file = flow_file(&table, &NaiveLpm::new(&table), 64, Order::Runs(16), 1);
        let expected: Vec<u8> = (0..64).map(|i| i / 16 % 2).collect();
        assert_eq!(ports_of(&file), expected);
    }
}

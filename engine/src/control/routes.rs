//! The route table at start: what every router has, what the interfaces bring, what the file says.

use std::net::Ipv4Addr;

use config::{Config, NextHop};
use l2l3::adjacency::{BLACKHOLE, BROADCAST, LOCAL, MARTIAN, MULTICAST, UNREACHABLE};
use l2l3::fib::{AdjacencyId, FibWriter};
use l2l3::interface::{IfaceId, Interfaces};
use l2l3::neighbour::Key;
use wire::Ipv4Prefix;

use super::SetupError;
use super::hops::{Hops, Role};

/// RFC 1122 section 3.2.1.3 and RFC 1812 section 5.3.7: what is never forwarded, and what is no host.
const SPECIAL: [(Ipv4Prefix, AdjacencyId); 5] = [
    (Ipv4Prefix::new(Ipv4Addr::new(0, 0, 0, 0), 8), MARTIAN),
    (Ipv4Prefix::new(Ipv4Addr::new(127, 0, 0, 0), 8), MARTIAN),
    (Ipv4Prefix::new(Ipv4Addr::new(224, 0, 0, 0), 4), MULTICAST),
    (Ipv4Prefix::new(Ipv4Addr::new(240, 0, 0, 0), 4), MARTIAN),
    (Ipv4Prefix::host(Ipv4Addr::BROADCAST), BROADCAST),
];

/// Routes at most: those that the configuration allows, those that [`fill`] adds by itself, and one for
/// each neighbour.
pub(super) fn most(config: &Config, interfaces: &Interfaces) -> usize {
    let addresses: usize = interfaces.iter().map(|iface| iface.addresses.len()).sum();
    // The address itself, and both ends of its network.
    let own = SPECIAL.len() + 3 * addresses;
    config.limits.routes as usize + own + config.limits.neighbours as usize
}

/// Fills the empty table.
pub(super) fn fill(
    fib: &mut FibWriter,
    hops: &mut Hops,
    interfaces: &Interfaces,
    config: &Config,
) -> Result<(), SetupError> {
    // The file's first: what interfaces and RFCs say of the same prefix stands above it.
    let targets = config.routes.next_hops.iter().map(|hop| adjacency_of(hops, hop));
    let targets = targets.collect::<Result<Vec<_>, _>>()?;
    fib.load(config.routes.entries.iter().map(|route| (route.prefix, targets[route.next_hop as usize])))?;
    for iface in interfaces.iter() {
        for address in &iface.addresses {
            fib.insert(address.net, hops.glean(iface.id)?)?;
            if address.net.len() <= 30 {
                fib.insert(Ipv4Prefix::host(address.net.addr()), BROADCAST)?;
                fib.insert(Ipv4Prefix::host(address.net.last()), BROADCAST)?;
            }
        }
    }
    for address in interfaces.iter().flat_map(|iface| &iface.addresses) {
        fib.insert(Ipv4Prefix::host(address.addr), LOCAL)?;
    }
    for (prefix, target) in SPECIAL {
        fib.insert(prefix, target)?;
    }
    Ok(())
}

fn adjacency_of(hops: &mut Hops, hop: &NextHop) -> Result<AdjacencyId, SetupError> {
    Ok(match hop {
        NextHop::Blackhole => BLACKHOLE,
        NextHop::Unreachable => UNREACHABLE,
        NextHop::OnLink(iface) => hops.glean(IfaceId(*iface))?,
        NextHop::Via(gateways) => {
            let member = |hop: &config::Hop| {
                hops.neighbour(Key { iface: IfaceId(hop.interface), ip: hop.gateway }, Role::Gateway)
            };
            let members = gateways.iter().map(member).collect::<Result<Vec<_>, _>>()?;
            match members[..] {
                [one] => one,
                _ => hops.group(members)?,
            }
        }
    })
}

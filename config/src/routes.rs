//! Static routes, from `[[route]]` and from the routes file, into one list without repetition.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;
use wire::Ipv4Prefix;

use crate::diag::{ConfigError, Errors};
use crate::model::{Hop, NextHop, Route, Routes};
use crate::network::{Link, Network, martian};
use crate::raw::{RawRoute, RouteType};
use crate::routes_file::{self, BLACKHOLE, FIRST_GATEWAYS, FileRoutes, MOST_GATEWAYS, UNREACHABLE};

/// At most this many repeated prefixes are reported.
const MOST_TWINS: usize = 20;

/// The routes as they are gathered.
#[derive(Default)]
pub(crate) struct RouteTable {
    routes: Routes,
    known: HashMap<NextHop, u32>,
    /// Where the prefixes of the `[[route]]`s stand: the first of `routes.entries`.
    spans: Vec<Range<usize>>,
    /// The connected networks and where they stand.
    connected: Vec<(Ipv4Prefix, Range<usize>)>,
}

impl RouteTable {
    /// Adds the `[[route]]`s. On-link routes become links of `network`, so that gateways may lie in them.
    pub(crate) fn add_written(&mut self, raw: &[RawRoute], network: &mut Network, errors: &Errors) {
        let connected = network.links.iter().map(|link| (link.net, link.span.clone()));
        self.connected.extend(connected);
        // An interface may have several addresses in one network.
        self.connected.sort_by_key(|(net, _)| *net);
        self.connected.dedup_by_key(|(net, _)| *net);
        for route in raw {
            let (Some(prefix), Some(name)) = (&route.prefix, &route.interface) else { continue };
            let Some(interface) = network.find(name, errors) else { continue };
            let net = *prefix.get_ref();
            network.links.push(Link { net, interface, ours: None, span: prefix.span() });
        }
        for route in raw.iter().filter(|route| route.whole) {
            let Some(prefix) = &route.prefix else { continue };
            check_prefix(prefix, errors);
            if let Some(next_hop) = written_next_hop(route, network, errors) {
                let next_hop = self.intern(next_hop);
                self.routes.entries.push(Route { prefix: *prefix.get_ref(), next_hop });
                self.spans.push(prefix.span());
            }
        }
    }

    /// Adds the routes of a file. Each distinct list of gateways is looked at once.
    pub(crate) fn add_file(&mut self, file: FileRoutes, network: &Network, errors: &Errors) {
        let FileRoutes { entries, gateways } = file;
        let mut numbers = vec![u32::MAX; gateways.len() + FIRST_GATEWAYS as usize];
        for (number, list) in (FIRST_GATEWAYS as usize..).zip(&gateways) {
            let places = list.addresses.iter().map(|gateway| (*gateway, list.span.clone()));
            if let Some(hops) = resolve(places, network, errors) {
                numbers[number] = self.intern(NextHop::Via(hops));
            }
        }
        for (number, next_hop) in [(BLACKHOLE, NextHop::Blackhole), (UNREACHABLE, NextHop::Unreachable)] {
            if entries.iter().any(|route| route.next_hop == number) {
                numbers[number as usize] = self.intern(next_hop);
            }
        }
        let renumbered =
            entries.iter().map(|route| Route { next_hop: numbers[route.next_hop as usize], ..*route });
        self.routes.entries.extend(renumbered);
    }

    /// Reports prefixes that occur twice. `file`: the routes file's text and where to report its errors.
    pub(crate) fn check_twins(&self, errors: &Errors, file: Option<(&Errors, &str)>) {
        for (first, again) in self.twins() {
            let place = |at: usize| match at.checked_sub(self.connected.len()) {
                None => (errors, self.connected[at].1.clone(), "connected here"),
                Some(at) if at < self.spans.len() => (errors, self.spans[at].clone(), "first here"),
                Some(at) => {
                    let (errors, text) = file.unwrap_or((errors, ""));
                    (errors, routes_file::span_of_route(text, at - self.spans.len()), "first here")
                }
            };
            let (at, span, _) = place(again);
            let (other, first_span, label) = place(first);
            let prefix = self.prefix(again);
            let error = at.at(span, format!("there are two routes to {prefix}"), "this one repeats it");
            let near = std::ptr::eq(at, other);
            let far = |error: ConfigError| error.help(format!("the other is in {}", other.source().name()));
            at.add(if near { error.also(first_span, label) } else { far(error) });
        }
    }

    /// Places of equal prefixes, each with the first of them. Connected networks come first, then the entries.
    fn twins(&self) -> Vec<(usize, usize)> {
        // Prefix (38 bits) and place in one word, so that sorting a million of them takes some 10 ms.
        const PLACE_BITS: u32 = 26;
        let count = self.connected.len() + self.routes.entries.len();
        let key = |at: usize| {
            let prefix = self.prefix(at);
            (u64::from(prefix.bits()) << 6 | u64::from(prefix.len())) << PLACE_BITS | at as u64
        };
        let mut keys: Vec<u64> = (0..count.min(1 << PLACE_BITS)).map(key).collect();
        keys.sort_unstable();
        let place = |key: u64| (key & ((1 << PLACE_BITS) - 1)) as usize;
        let same = |a: &u64, b: &u64| a >> PLACE_BITS == b >> PLACE_BITS;
        let runs = keys.chunk_by(same).filter(|run| run.len() > 1);
        let pairs = runs.flat_map(|run| run[1..].iter().map(|again| (place(run[0]), place(*again))));
        pairs.take(MOST_TWINS).collect()
    }

    fn prefix(&self, at: usize) -> Ipv4Prefix {
        let entry = |at: usize| self.routes.entries[at].prefix;
        at.checked_sub(self.connected.len()).map_or_else(|| self.connected[at].0, entry)
    }

    fn intern(&mut self, next_hop: NextHop) -> u32 {
        let next_hops = &mut self.routes.next_hops;
        *self.known.entry(next_hop).or_insert_with_key(|next_hop| {
            next_hops.push(next_hop.clone());
            next_hops.len() as u32 - 1
        })
    }

    /// Routes and connected networks together.
    pub(crate) fn len(&self) -> usize {
        self.connected.len() + self.routes.entries.len()
    }

    /// Distinct gateways.
    pub(crate) fn gateways(&self) -> usize {
        let hops = self.routes.next_hops.iter().flat_map(|next_hop| match next_hop {
            NextHop::Via(hops) => &hops[..],
            _ => &[],
        });
        hops.collect::<HashSet<_>>().len()
    }

    pub(crate) fn into_routes(self) -> Routes {
        self.routes
    }
}

/// Where a `[[route]]` leads.
fn written_next_hop(route: &RawRoute, network: &Network, errors: &Errors) -> Option<NextHop> {
    let given = [route.via.is_some(), route.kind.is_some(), route.interface.is_some()];
    match given.iter().filter(|given| **given).count() {
        1 => {}
        0 => {
            let error = errors.at(route.span.clone(), "this route leads nowhere".to_owned(), "in here");
            errors.add(error.help("give one of `via`, `type` or `interface`"));
            return None;
        }
        _ => {
            let error = errors.at(
                route.span.clone(),
                "this route leads to more than one place".to_owned(),
                "in here",
            );
            errors.add(error.help("give only one of `via`, `type` and `interface`"));
            return None;
        }
    }
    if let Some(via) = &route.via {
        if via.get_ref().is_empty() {
            errors.add(errors.at(via.span(), "this route has no gateway".to_owned(), "empty"));
        }
        let places = via.get_ref().iter().map(|gateway| (*gateway.get_ref(), gateway.span()));
        return resolve(places, network, errors).map(NextHop::Via);
    }
    let kind = route.kind.as_ref().map(|kind| match kind.get_ref() {
        RouteType::Blackhole => NextHop::Blackhole,
        RouteType::Unreachable => NextHop::Unreachable,
    });
    // An unknown name was reported when the links were made.
    let named = |name: &Spanned<String>| network.interfaces.iter().position(|i| i.name == *name.get_ref());
    kind.or_else(|| route.interface.as_ref().and_then(named).map(|index| NextHop::OnLink(index as u16)))
}

/// The gateways with their interfaces; `None` if one is wrong.
fn resolve(
    gateways: impl ExactSizeIterator<Item = (Ipv4Addr, Range<usize>)>,
    network: &Network,
    errors: &Errors,
) -> Option<Box<[Hop]>> {
    let count = gateways.len();
    let mut hops: Vec<Hop> = Vec::with_capacity(count);
    let mut good = count > 0;
    for (gateway, span) in gateways {
        let error = if hops.len() == MOST_GATEWAYS {
            Some(errors.at(span, format!("{count} gateways are too many"), "one too many").help("64 at most"))
        } else if hops.iter().any(|hop| hop.gateway == gateway) {
            Some(errors.at(span, format!("the gateway {gateway} is named twice"), "again here"))
        } else {
            match network.neighbour_interface(gateway) {
                Ok(interface) => {
                    hops.push(Hop { gateway, interface });
                    None
                }
                Err((message, help)) => {
                    Some(errors.at(span, format!("the gateway {message}"), "not reachable").help(help))
                }
            }
        };
        if let Some(error) = error {
            good = false;
            let full = hops.len() == MOST_GATEWAYS;
            // If the ports have errors, their networks may be missing through those alone.
            if network.sound {
                errors.add(error);
            }
            if full {
                break;
            }
        }
    }
    good.then(|| hops.into())
}

/// Routes to where no packet is forwarded are mistakes.
fn check_prefix(prefix: &Spanned<Ipv4Prefix>, errors: &Errors) {
    let net = *prefix.get_ref();
    if let (Some(kind), true) = (martian(net.addr()), net.len() >= 4) {
        let message = format!("a packet to {net} is never forwarded: it is {kind}");
        errors.add(errors.at(prefix.span(), message, "not this"));
    }
}

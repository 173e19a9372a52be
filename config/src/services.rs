//! What this host itself serves.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use toml::Spanned;

use crate::diag::Errors;
use crate::model::{Service, ServiceKind};
use crate::network::Network;
use crate::raw::RawService;

impl ServiceKind {
    /// The port that the kind has by custom.
    pub const fn default_port(self) -> u16 {
        match self {
            ServiceKind::Echo => 7,
        }
    }
}

/// Checks the services: each listens on an address of ours, and no two on the same.
pub(crate) fn services(raw: &[RawService], network: &Network, errors: &Errors) -> Vec<Service> {
    let mut seen = HashMap::new();
    let mut services = Vec::new();
    for entry in raw {
        let Some(kind) = entry.kind.as_ref().map(|kind| *kind.get_ref()) else { continue };
        if let Some(address) = &entry.address {
            check_ours(address, network, errors);
        }
        let ip = entry.address.as_ref().map_or(Ipv4Addr::UNSPECIFIED, |address| *address.get_ref());
        let port = entry.port.as_ref().map_or(kind.default_port(), |port| *port.get_ref());
        let address = SocketAddrV4::new(ip, port);
        let written = entry.port.as_ref().map(Spanned::span).or(entry.address.as_ref().map(Spanned::span));
        let span = written.unwrap_or(entry.span.clone());
        if let Some(first) = seen.insert(address, span.clone()) {
            let error = errors.at(span, format!("two services listen on {address}"), "again here");
            errors.add(error.also(first, "first here").help("give one of them another `port`"));
        }
        services.push(Service { kind, address });
    }
    services
}

fn check_ours(address: &Spanned<Ipv4Addr>, network: &Network, errors: &Errors) {
    let ours = || network.interfaces.iter().flat_map(|interface| &interface.addresses).map(|a| a.addr);
    let address_is = *address.get_ref();
    if !network.sound || address_is.is_unspecified() || ours().any(|our| our == address_is) {
        return;
    }
    let list: Vec<String> = ours().take(8).map(|our| our.to_string()).collect();
    let help = if list.is_empty() {
        "no port has an address".to_owned()
    } else {
        format!("our addresses: {}; or leave `address` out to listen on all", list.join(", "))
    };
    let message = format!("{address_is} is no address of ours");
    errors.add(errors.at(address.span(), message, "not found").help(help));
}

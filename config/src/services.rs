//! What this host itself serves.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::diag::Errors;
use crate::model::{Http, Page, Program, Service, ServiceKind};
use crate::network::Network;
use crate::raw::{RawHttp, RawPage, RawService};

impl ServiceKind {
    /// The port that the kind has by custom.
    pub const fn default_port(self) -> u16 {
        match self {
            ServiceKind::Echo => 7,
            ServiceKind::Discard => 9,
            ServiceKind::Chargen => 19,
            ServiceKind::Http => 80,
        }
    }
}

/// Checks the services: each listens on an address of ours, and no two on the same. Relative paths of folders
/// begin in `folder`.
pub(crate) fn services(
    raw: Vec<RawService>,
    folder: &Path,
    network: &Network,
    errors: &Errors,
) -> Vec<Service> {
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
        let program = match kind {
            ServiceKind::Echo => Program::Echo,
            ServiceKind::Discard => Program::Discard,
            ServiceKind::Chargen => Program::Chargen,
            ServiceKind::Http => Program::Http(http(entry.http, entry.span, folder, errors)),
        };
        services.push(Service { address, program });
    }
    services
}

/// Checks an HTTP server, whose table begins at `span`: it serves something, and no path twice.
fn http(raw: RawHttp, span: Range<usize>, folder: &Path, errors: &Errors) -> Http {
    if raw.whole && raw.root.is_none() && raw.pages.is_empty() && raw.status.is_none() {
        let error = errors.at(span, "this server has nothing to serve".to_owned(), "here");
        errors.add(error.help("give it a `root`, a [[service.page]], or a `status` page"));
    }
    let mut seen = HashMap::new();
    let paths = raw.status.iter().chain(raw.pages.iter().filter_map(|page| page.path.as_ref()));
    for path in paths {
        if let Some(first) = seen.insert(path.get_ref(), path.span()) {
            let error =
                errors.at(path.span(), format!("two pages have the path {}", path.get_ref()), "again here");
            errors.add(error.also(first, "first here").help("give one of them another path"));
        }
    }
    let or = |value: Option<Spanned<String>>, default: &str| {
        value.map_or_else(|| default.to_owned(), Spanned::into_inner)
    };
    let page = |page: RawPage| Page {
        path: or(page.path, ""),
        content_type: or(page.content_type, "text/html; charset=utf-8"),
        body: or(page.body, ""),
    };
    Http {
        root: raw.root.map(|root| folder.join(root.get_ref())),
        index: or(raw.index, "index.html"),
        cache_control: raw.cache_control.map(Spanned::into_inner),
        status: raw.status.map(Spanned::into_inner),
        pages: raw.pages.into_iter().map(page).collect(),
        limits: raw.limits,
    }
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

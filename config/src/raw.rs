//! The file as it is written: every value of the right kind and in range, none yet compared with
//! another. This is the list of all keys.

use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;
use wire::{Ipv4Prefix, MacAddr};

use crate::diag::Errors;
use crate::limits::{HttpLimits, Limits};
use crate::model::{Huge, Isa, Poll, ServiceKind};
use crate::reader::{Table, Value, read_root};

pub(crate) struct Raw {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) dpdk: RawDpdk,
    pub(crate) ports: Vec<RawPort>,
    /// Whether all that is written of the ports could be read.
    pub(crate) ports_whole: bool,
    pub(crate) workers: RawWorkers,
    pub(crate) routes: Vec<RawRoute>,
    pub(crate) routes_file: Option<Spanned<String>>,
    pub(crate) neighbours: Vec<RawNeighbour>,
    pub(crate) services: Vec<RawService>,
    pub(crate) limits: RawLimits,
    pub(crate) socket: Option<Spanned<String>>,
}

pub(crate) struct RawDpdk {
    pub(crate) file_prefix: Option<Spanned<String>>,
    pub(crate) huge: Option<Spanned<Huge>>,
    pub(crate) eal_args: Option<Spanned<Vec<Spanned<String>>>>,
    pub(crate) memory_mb: Option<Spanned<Option<u32>>>,
}

pub(crate) struct RawPort {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) device: Option<Spanned<String>>,
    pub(crate) interface: RawInterface,
    pub(crate) rx_queues: Option<Spanned<Option<u16>>>,
    pub(crate) tx_queues: Option<Spanned<Option<u16>>>,
    pub(crate) rx_descriptors: Option<Spanned<u16>>,
    pub(crate) tx_descriptors: Option<Spanned<u16>>,
    pub(crate) promiscuous: Option<Spanned<bool>>,
    pub(crate) mac: Option<Spanned<MacAddr>>,
    pub(crate) workers: Option<Spanned<Vec<Spanned<u16>>>>,
    pub(crate) vlans: Vec<RawVlan>,
}

pub(crate) struct RawVlan {
    pub(crate) id: Option<Spanned<u16>>,
    pub(crate) interface: RawInterface,
}

/// What a port and a VLAN have in common.
pub(crate) struct RawInterface {
    pub(crate) addresses: Vec<Spanned<RawAddress>>,
    pub(crate) mtu: Option<Spanned<u16>>,
    pub(crate) proxy_arp: bool,
}

/// An address with its prefix length, host bits and all.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress {
    pub(crate) addr: Ipv4Addr,
    pub(crate) len: u8,
}

pub(crate) struct RawWorkers {
    pub(crate) cores: Option<Spanned<Option<Vec<Spanned<u16>>>>>,
    pub(crate) poll: Option<Spanned<Poll>>,
    pub(crate) burst: Option<Spanned<u16>>,
    pub(crate) isa: Option<Spanned<Isa>>,
    pub(crate) stop_seconds: Option<Spanned<u16>>,
}

pub(crate) struct RawRoute {
    pub(crate) span: Range<usize>,
    pub(crate) prefix: Option<Spanned<Ipv4Prefix>>,
    pub(crate) via: Option<Spanned<Vec<Spanned<Ipv4Addr>>>>,
    pub(crate) kind: Option<Spanned<RouteType>>,
    pub(crate) interface: Option<Spanned<String>>,
    /// Whether all that is written could be read.
    pub(crate) whole: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum RouteType {
    Blackhole,
    Unreachable,
}

pub(crate) struct RawNeighbour {
    pub(crate) address: Option<Spanned<Ipv4Addr>>,
    pub(crate) mac: Option<Spanned<MacAddr>>,
    pub(crate) interface: Option<Spanned<String>>,
}

pub(crate) struct RawService {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Option<Spanned<ServiceKind>>,
    pub(crate) address: Option<Spanned<Ipv4Addr>>,
    pub(crate) port: Option<Spanned<u16>>,
    pub(crate) http: RawHttp,
}

/// What only an HTTP server has.
#[derive(Default)]
pub(crate) struct RawHttp {
    pub(crate) root: Option<Spanned<String>>,
    pub(crate) index: Option<Spanned<String>>,
    pub(crate) cache_control: Option<Spanned<String>>,
    pub(crate) status: Option<Spanned<String>>,
    pub(crate) pages: Vec<RawPage>,
    pub(crate) limits: HttpLimits,
    /// Whether all that is written could be read.
    pub(crate) whole: bool,
}

pub(crate) struct RawPage {
    pub(crate) path: Option<Spanned<String>>,
    pub(crate) content_type: Option<Spanned<String>>,
    pub(crate) body: Option<Spanned<String>>,
}

pub(crate) struct RawLimits {
    pub(crate) limits: Limits,
    /// Where the limits stand that the file sets.
    pub(crate) spans: Vec<(&'static str, Range<usize>)>,
}

impl RawLimits {
    /// Where the file sets one of `names`, the first that it does set.
    pub(crate) fn span(&self, names: &[&str]) -> Option<Range<usize>> {
        let set = |name: &&str| self.spans.iter().find(|(set, _)| set == name);
        names.iter().find_map(set).map(|(_, span)| span.clone())
    }
}

/// Reads the file; what is wrong goes to `errors`.
pub(crate) fn read(root: &Spanned<DeTable<'_>>, errors: &Errors) -> Raw {
    read_root(root, errors, |t| {
        let before = errors.count();
        let ports = t.tables("port", "[[port]]", port);
        Raw {
            ports_whole: errors.count() == before,
            ports,
            name: t.get("name", |v| v.parsed("a name", word)),
            dpdk: t.table("dpdk", "[dpdk]", dpdk),
            workers: t.table("workers", "[workers]", workers),
            routes: t.tables("route", "[[route]]", |t| route(t, errors)),
            routes_file: t.table("routing", "[routing]", |t| t.get("routes_file", Value::text)),
            neighbours: t.tables("neighbour", "[[neighbour]]", neighbour),
            services: t.tables("service", "[[service]]", |t| service(t, errors)),
            limits: t.table("limits", "[limits]", limits),
            socket: t.table("control", "[control]", |t| {
                t.get("socket", |v| v.parsed("a socket's path", socket_path))
            }),
        }
    })
}

fn dpdk(t: &Table<'_>) -> RawDpdk {
    RawDpdk {
        file_prefix: t.get("file_prefix", |v| v.parsed("a name", word)),
        huge: t.get("huge", |v| v.one_of(&[("auto", Huge::Auto), ("on", Huge::On), ("off", Huge::Off)])),
        eal_args: t.get("eal_args", |v| v.list(Value::text)),
        memory_mb: t.get("memory_mb", |v| v.or_auto(|v| v.number(64..=1_048_576))),
    }
}

fn port(t: &Table<'_>) -> RawPort {
    RawPort {
        name: t.require("name", |v| v.parsed("a name", word)),
        device: t.require("device", |v| v.parsed("a DPDK device", device)),
        interface: interface(t),
        rx_queues: t.get("rx_queues", |v| v.or_auto(|v| v.number(1..=256))),
        tx_queues: t.get("tx_queues", |v| v.or_auto(|v| v.number(1..=256))),
        rx_descriptors: t.get("rx_descriptors", |v| v.number(32..=32_768)),
        tx_descriptors: t.get("tx_descriptors", |v| v.number(32..=32_768)),
        promiscuous: t.get("promiscuous", Value::boolean),
        mac: t.get("mac", |v| v.parsed("an Ethernet address", station_mac)),
        workers: t.get("workers", |v| v.list(|v| v.number(0..=65_535))),
        vlans: t.tables("vlan", "[[port.vlan]]", |t| RawVlan {
            id: t.require("id", |v| v.number(1..=4094)),
            interface: interface(t),
        }),
    }
}

fn interface(t: &Table<'_>) -> RawInterface {
    let addresses =
        t.get("addresses", |v| v.list(|v| v.parsed("an address with its prefix length", address)));
    RawInterface {
        addresses: addresses.map_or(Vec::new(), Spanned::into_inner),
        // 68: what every link must carry (RFC 791 section 3.2).
        mtu: t.get("mtu", |v| v.number(68..=9000)),
        proxy_arp: t.get("proxy_arp", Value::boolean).is_some_and(Spanned::into_inner),
    }
}

fn workers(t: &Table<'_>) -> RawWorkers {
    RawWorkers {
        cores: t.get("cores", |v| v.or_auto(|v| v.list(|v| v.number(0..=65_535)))),
        poll: t.get("poll", |v| v.one_of(&[("busy", Poll::Busy), ("adaptive", Poll::Adaptive)])),
        isa: t.get("isa", |v| v.one_of(&Isa::NAMES)),
        burst: t.get("burst", |v| v.number(4..=256)),
        stop_seconds: t.get("stop_seconds", |v| v.number(0..=3600)),
    }
}

fn route(t: &Table<'_>, errors: &Errors) -> RawRoute {
    let before = errors.count();
    let types = [("blackhole", RouteType::Blackhole), ("unreachable", RouteType::Unreachable)];
    RawRoute {
        span: t.span(),
        prefix: t.require("prefix", |v| v.parsed("an IPv4 prefix", prefix)),
        via: t.get("via", |v| v.one_or_list(|v| v.parsed("an IPv4 address", ipv4))),
        kind: t.get("type", |v| v.one_of(&types)),
        interface: t.get("interface", Value::text),
        whole: errors.count() == before,
    }
}

fn neighbour(t: &Table<'_>) -> RawNeighbour {
    RawNeighbour {
        address: t.require("address", |v| v.parsed("an IPv4 address", ipv4)),
        mac: t.require("mac", |v| v.parsed("an Ethernet address", station_mac)),
        interface: t.require("interface", Value::text),
    }
}

fn service(t: &Table<'_>, errors: &Errors) -> RawService {
    let kinds = [
        ("echo", ServiceKind::Echo),
        ("discard", ServiceKind::Discard),
        ("chargen", ServiceKind::Chargen),
        ("http", ServiceKind::Http),
    ];
    let kind = t.require("kind", |v| v.one_of(&kinds));
    // Of a kind that is not known, all keys may be meant.
    let has_keys = kind.as_ref().is_none_or(|kind| *kind.get_ref() == ServiceKind::Http);
    RawService {
        span: t.span(),
        kind,
        address: t.get("address", |v| v.parsed("an IPv4 address", ipv4)),
        port: t.get("port", |v| v.number(1..=65_535)),
        http: if has_keys { http(t, errors) } else { RawHttp::default() },
    }
}

fn http(t: &Table<'_>, errors: &Errors) -> RawHttp {
    let before = errors.count();
    RawHttp {
        root: t.get("root", |v| v.parsed("a folder", folder)),
        index: t.get("index", |v| v.parsed("a file's name", file_name)),
        cache_control: t.get("cache_control", |v| v.parsed("a list of directives", directives)),
        status: t.get("status", |v| v.parsed("a path", url_path)),
        pages: t.tables("page", "[[service.page]]", |t| RawPage {
            path: t.require("path", |v| v.parsed("a path", url_path)),
            content_type: t.get("type", |v| v.parsed("a media type", media_type)),
            body: t.require("body", Value::text),
        }),
        limits: HttpLimits::from_settings(|row| {
            Some(t.get(row.name, |v| v.number(row.min..=row.max))?.into_inner())
        }),
        whole: errors.count() == before,
    }
}

fn limits(t: &Table<'_>) -> RawLimits {
    let mut spans = Vec::new();
    let limits = Limits::from_settings(|row| {
        let read = t.get(row.name, |v| match row.default {
            Some(_) => v.number(row.min..=row.max).map(Some),
            None => v.or_auto(|v| v.number(row.min..=row.max)),
        })?;
        spans.push((row.name, read.span()));
        read.into_inner()
    });
    RawLimits { limits, spans }
}

// What stands in the quotes. An error is what would be right.

fn word(text: &str) -> Result<String, String> {
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let help = || "a name is a letter, then letters, digits, `-` and `_`, 32 in all at most".to_owned();
    if good { Ok(text.to_owned()) } else { Err(help()) }
}

fn device(text: &str) -> Result<String, String> {
    let help = || "write devargs, for instance \"net_tap0,iface=lan\" or \"0000:01:00.0\"".to_owned();
    let good = !text.is_empty() && !text.starts_with([',', '-']) && !text.contains(char::is_control);
    if good { Ok(text.to_owned()) } else { Err(help()) }
}

fn socket_path(text: &str) -> Result<String, String> {
    // sun_path of sockaddr_un has 108 bytes, the last of which is zero.
    let good = (1..=107).contains(&text.len()) && !text.contains('\0');
    if good { Ok(text.to_owned()) } else { Err("a socket's path has 1 to 107 bytes".to_owned()) }
}

fn folder(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && !text.contains('\0');
    if good {
        Ok(text.to_owned())
    } else {
        Err("write the path of a folder, for instance \"/srv/www\"".to_owned())
    }
}

fn file_name(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && !text.starts_with('.') && !text.contains(['/', '\0']);
    if good {
        Ok(text.to_owned())
    } else {
        Err("a name without a folder, for instance \"index.html\"".to_owned())
    }
}

fn url_path(text: &str) -> Result<String, String> {
    let is_bad = |name: &str| name == "." || name == "..";
    let good = text.starts_with('/') && text.len() <= 1024 && !text.contains(['?', '#', '\0']);
    if good && !text.split('/').any(is_bad) {
        return Ok(text.to_owned());
    }
    Err("a path begins with `/`, as in \"/about.html\", and is not percent-encoded".to_owned())
}

fn media_type(text: &str) -> Result<String, String> {
    let good = is_field_value(text) && text.contains('/');
    if good { Ok(text.to_owned()) } else { Err("write it like \"text/plain; charset=utf-8\"".to_owned()) }
}

fn directives(text: &str) -> Result<String, String> {
    if is_field_value(text) { Ok(text.to_owned()) } else { Err("write it like \"max-age=60\"".to_owned()) }
}

fn is_field_value(text: &str) -> bool {
    let is_visible = |c: char| c == ' ' || c.is_ascii_graphic();
    !text.trim().is_empty() && text.len() <= 128 && text.chars().all(is_visible)
}

fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| "an IPv4 address is written like 10.0.1.1".to_owned())
}

/// An address and the length after its slash.
fn address_and_length(text: &str, example: &str) -> Result<RawAddress, String> {
    let want = || format!("write it like {example}");
    let (addr, len) = text.split_once('/').ok_or_else(want)?;
    let len =
        len.parse().ok().filter(|len| *len <= 32).ok_or_else(|| "the prefix length is 0 to 32".to_owned())?;
    Ok(RawAddress { addr: addr.parse().map_err(|_| want())?, len })
}

fn address(text: &str) -> Result<RawAddress, String> {
    if text.parse::<Ipv4Addr>().is_ok() {
        return Err(format!("the prefix length is missing, as in \"{text}/24\""));
    }
    address_and_length(text, "10.0.1.1/24")
}

fn prefix(text: &str) -> Result<Ipv4Prefix, String> {
    let RawAddress { addr, len } = address_and_length(text, "10.1.0.0/16")?;
    let network = Ipv4Prefix::new(addr, len);
    if network.addr() == addr {
        return Ok(network);
    }
    Err(format!("the bits after the prefix length must be zero: {network}, or {addr}/32 for the one address"))
}

fn station_mac(text: &str) -> Result<MacAddr, String> {
    let mac: MacAddr = text.parse().map_err(|error: wire::ParseAddrError| error.to_string())?;
    match mac {
        MacAddr::ZERO => Err("no station has the address of all zeros".to_owned()),
        mac if mac.is_multicast() => Err(format!("{mac} is a group address: the first number must be even")),
        mac => Ok(mac),
    }
}

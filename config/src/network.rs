//! Ports, their interfaces, and the networks these are connected to.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;
use wire::Ipv4Prefix;

use crate::diag::{ConfigError, Errors};
use crate::model::{Address, Interface, Port, device_name};
use crate::raw::{RawAddress, RawInterface, RawPort};
use crate::suggest::did_you_mean;

/// The MTU of a port whose file says nothing: Ethernet's.
const DEFAULT_MTU: u16 = 1500;
const DEFAULT_DESCRIPTORS: u16 = 1024;

/// The ports with their interfaces, and where their parts stand in the file.
pub(crate) struct Network {
    pub(crate) ports: Vec<Port>,
    pub(crate) interfaces: Vec<Interface>,
    /// The networks whose addresses are neighbours of ours.
    pub(crate) links: Vec<Link>,
    /// Whether there was no error up to here, so that what is not found is truly not there.
    pub(crate) sound: bool,
}

/// A network on an interface: connected by an address of ours, or by an on-link route.
pub(crate) struct Link {
    pub(crate) net: Ipv4Prefix,
    /// Index of the interface.
    pub(crate) interface: u16,
    /// Our address in it; an on-link route has none.
    pub(crate) ours: Option<Ipv4Addr>,
    /// Where it stands in the file.
    pub(crate) span: Range<usize>,
}

/// Checks the ports and numbers them and their interfaces. `whole`: all of them could be read; `workers`: how
/// many there are.
pub(crate) fn network(raw: &[RawPort], whole: bool, workers: u16, errors: &Errors) -> Network {
    let before = errors.count();
    let mut network = Network { ports: Vec::new(), interfaces: Vec::new(), links: Vec::new(), sound: whole };
    let mut names = HashMap::new();
    let mut devices = HashMap::new();
    for port in raw {
        no_twin(&mut names, &port.name, |name| name.clone(), "port name", errors);
        no_twin(&mut devices, &port.device, |device| device_name(device).to_owned(), "device", errors);
        network.port(port, workers, errors);
    }
    // Indices are 16 bits wide everywhere.
    if let (true, Some(last)) =
        (network.interfaces.len() > 4096, raw.last().and_then(|port| port.name.as_ref()))
    {
        let message = format!("{} interfaces are too many", network.interfaces.len());
        errors.add(errors.at(last.span(), message, "the last of them").help("at most 4096, VLANs included"));
    }
    network.sound &= errors.count() == before;
    network
}

impl Network {
    fn port(&mut self, raw: &RawPort, workers: u16, errors: &Errors) {
        let index = self.ports.len() as u16;
        let name = raw.name.as_ref().map_or(String::new(), |name| name.get_ref().clone());
        let mtu = value(&raw.interface.mtu).unwrap_or(DEFAULT_MTU);
        self.interface(name.clone(), index, None, mtu, &raw.interface, errors);
        let mut ids = HashMap::new();
        for vlan in &raw.vlans {
            no_twin(&mut ids, &vlan.id, |id| *id, "VLAN", errors);
            let Some(id) = value(&vlan.id) else { continue };
            if let Some(own) = vlan.interface.mtu.as_ref().filter(|own| *own.get_ref() > mtu) {
                let message = format!("the VLAN's MTU {} is larger than its port's, {mtu}", own.get_ref());
                errors.add(
                    errors
                        .at(own.span(), message, "too large")
                        .help(format!("at most {mtu}, or raise the port's")),
                );
            }
            let vlan_mtu = value(&vlan.interface.mtu).unwrap_or(mtu);
            self.interface(format!("{name}.{id}"), index, Some(id), vlan_mtu, &vlan.interface, errors);
        }
        self.ports.push(Port {
            name,
            device: raw.device.as_ref().map_or(String::new(), |device| device.get_ref().clone()),
            mtu,
            rx_queues: value(&raw.rx_queues).flatten(),
            tx_queues: value(&raw.tx_queues).flatten(),
            rx_descriptors: value(&raw.rx_descriptors).unwrap_or(DEFAULT_DESCRIPTORS),
            tx_descriptors: value(&raw.tx_descriptors).unwrap_or(DEFAULT_DESCRIPTORS),
            promiscuous: value(&raw.promiscuous).unwrap_or(false),
            mac: value(&raw.mac),
            workers: port_workers(raw, workers, errors),
        });
    }

    fn interface(
        &mut self,
        name: String,
        port: u16,
        vlan: Option<u16>,
        mtu: u16,
        raw: &RawInterface,
        errors: &Errors,
    ) {
        let interface = self.interfaces.len() as u16;
        let mut addresses = Vec::new();
        for address in &raw.addresses {
            match self.check_address(&name, interface, address, errors) {
                Ok(good) => {
                    self.links.push(Link {
                        net: good.net,
                        interface,
                        ours: Some(good.addr),
                        span: address.span(),
                    });
                    addresses.push(good);
                }
                Err(error) => errors.add(error),
            }
        }
        self.interfaces.push(Interface { name, port, vlan, addresses, mtu, proxy_arp: raw.proxy_arp });
    }

    /// Whether an interface may have this address, beside those before it.
    fn check_address(
        &self,
        name: &str,
        interface: u16,
        raw: &Spanned<RawAddress>,
        errors: &Errors,
    ) -> Result<Address, ConfigError> {
        let RawAddress { addr, len } = *raw.get_ref();
        let net = Ipv4Prefix::new(addr, len.max(1));
        let fail = |message: String, label: &str| Err(errors.at(raw.span(), message, label));
        if let Some(kind) = martian(addr) {
            let error =
                errors.at(raw.span(), format!("{addr} is {kind}: no interface can have it"), "not this");
            return Err(error.help("an interface has a unicast address, for instance of 10.0.0.0/8"));
        }
        if len == 0 {
            return fail(format!("{addr}/0 would make every address a neighbour"), "too short a prefix");
        }
        if len <= 30 && (addr == net.addr() || addr == net.last()) {
            let kind = if addr == net.addr() { "network" } else { "broadcast" };
            let first = Ipv4Addr::from_bits(net.bits() + 1);
            let last = Ipv4Addr::from_bits(net.last().to_bits() - 1);
            return fail(format!("{addr} is the {kind} address of {net}"), "not this")
                .map_err(|error| error.help(format!("addresses in it are {first} to {last}")));
        }
        if let Some(twin) = self.links.iter().find(|link| link.ours == Some(addr)) {
            let other = self.interface_name(twin.interface, interface, name);
            return fail(format!("the address {addr} is given twice"), "again here")
                .map_err(|error| error.also(twin.span.clone(), &format!("first here, to `{other}`")));
        }
        let same = |link: &Link| link.interface == interface && link.net == net;
        if let Some(other) = self.links.iter().find(|link| overlap(link.net, net) && !same(link)) {
            let on = self.interface_name(other.interface, interface, name);
            return fail(
                format!("the network {net} of `{name}` overlaps {} of `{on}`", other.net),
                "this one",
            )
            .map_err(|error| error.also(other.span.clone(), "and this one"))
            .map_err(|error| error.help("each connected network belongs to one interface only"));
        }
        Ok(Address { addr, net })
    }

    /// The name of interface `index`; `name` for the interface `current`, which is not yet in the list.
    fn interface_name<'a>(&'a self, index: u16, current: u16, name: &'a str) -> &'a str {
        if index == current { name } else { &self.interfaces[index as usize].name }
    }

    /// The index of the interface `name`.
    pub(crate) fn find(&self, name: &Spanned<String>, errors: &Errors) -> Option<u16> {
        let found = self.interfaces.iter().position(|interface| interface.name == *name.get_ref());
        if found.is_none() && self.sound {
            let names = self.interfaces.iter().map(|interface| interface.name.as_str());
            let message = format!("there is no interface `{}`", name.get_ref().escape_debug());
            let help = did_you_mean(name.get_ref(), names, "interfaces");
            errors.add(errors.at(name.span(), message, "not found").help(help));
        }
        found.map(|index| index as u16)
    }

    /// The smallest network of ours that holds `addr`.
    pub(crate) fn link_to(&self, addr: Ipv4Addr) -> Option<&Link> {
        self.links.iter().filter(|link| link.net.contains(addr)).max_by_key(|link| link.net.len())
    }

    /// The interface by which the neighbour `addr` is reached. An error is what is wrong with it, and help.
    pub(crate) fn neighbour_interface(&self, addr: Ipv4Addr) -> Result<u16, (String, String)> {
        let connected = || {
            let nets = self
                .links
                .iter()
                .map(|link| format!("{} (`{}`)", link.net, self.interfaces[link.interface as usize].name));
            let nets: Vec<String> = nets.take(8).collect();
            if nets.is_empty() {
                "no port has an address".to_owned()
            } else {
                format!("connected networks: {}", nets.join(", "))
            }
        };
        let Some(link) = self.link_to(addr) else {
            return Err((format!("{addr} lies in no connected network"), connected()));
        };
        let name = &self.interfaces[link.interface as usize].name;
        if self.links.iter().any(|link| link.ours == Some(addr)) {
            return Err((
                format!("{addr} is our own address on `{name}`"),
                "name a neighbour's address".to_owned(),
            ));
        }
        if link.ours.is_some() && link.net.len() <= 30 && (addr == link.net.addr() || addr == link.net.last())
        {
            let help =
                format!("addresses in {} lie between {} and {}", link.net, link.net.addr(), link.net.last());
            return Err((format!("{addr} is the network or broadcast address of {}", link.net), help));
        }
        Ok(link.interface)
    }
}

/// The workers that may poll a port; all of them when the file does not say.
fn port_workers(raw: &RawPort, workers: u16, errors: &Errors) -> Vec<u16> {
    let Some(list) = &raw.workers else { return (0..workers).collect() };
    if list.get_ref().is_empty() {
        let help = "leave `workers` out to let all workers poll the port";
        errors.add(errors.at(list.span(), "no worker would poll this port".to_owned(), "empty").help(help));
    }
    let mut chosen: Vec<u16> = Vec::new();
    for worker in list.get_ref() {
        let number = *worker.get_ref();
        if number >= workers {
            let help = format!(
                "workers are numbered from 0 to {}, in the order of `cores`",
                workers.saturating_sub(1)
            );
            errors.add(
                errors.at(worker.span(), format!("there is no worker {number}"), "not found").help(help),
            );
        } else if chosen.contains(&number) {
            errors.add(errors.at(worker.span(), format!("worker {number} is named twice"), "again here"));
        } else {
            chosen.push(number);
        }
    }
    chosen.sort_unstable();
    chosen
}

/// Reports `item` if its key was seen before; remembers it otherwise.
fn no_twin<T, K: std::hash::Hash + Eq + std::fmt::Display>(
    seen: &mut HashMap<K, Range<usize>>,
    item: &Option<Spanned<T>>,
    key: impl Fn(&T) -> K,
    what: &str,
    errors: &Errors,
) {
    let Some(item) = item else { return };
    let key = key(item.get_ref());
    match seen.get(&key) {
        Some(first) => {
            let error = errors.at(item.span(), format!("the {what} `{key}` is used twice"), "again here");
            errors.add(error.also(first.clone(), "first here"));
        }
        None => {
            seen.insert(key, item.span());
        }
    }
}

/// Whether one network holds the other.
fn overlap(a: Ipv4Prefix, b: Ipv4Prefix) -> bool {
    a.contains(b.addr()) || b.contains(a.addr())
}

/// What kind of address it is, if no station can have it (RFC 1812 section 5.3.7, RFC 6890).
pub(crate) fn martian(addr: Ipv4Addr) -> Option<&'static str> {
    match addr.octets()[0] {
        0 => Some("of \"this network\" (0.0.0.0/8)"),
        127 => Some("a loopback address (127.0.0.0/8)"),
        224..=239 => Some("a multicast address (224.0.0.0/4)"),
        240..=255 => Some("a reserved address (240.0.0.0/4)"),
        _ => None,
    }
}

/// The value without its place.
fn value<T: Copy>(spanned: &Option<Spanned<T>>) -> Option<T> {
    spanned.as_ref().map(|spanned| *spanned.get_ref())
}

//! Raw to [`Config`]: comparing values with each other and with the machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::diag::{ConfigErrors, Errors};
use crate::model::{Config, Control, Dpdk, Isa, Machine, Neighbour, Poll, Workers, is_kernel_backed};
use crate::network::{Network, network};
use crate::raw::{self, RawDpdk, RawLimits, RawNeighbour, RawPort, RawWorkers};
use crate::reader;
use crate::routes::RouteTable;
use crate::routes_file;
use crate::services::services;

const DEFAULT_NAME: &str = "sluice";
const DEFAULT_BURST: u16 = 128;
const DEFAULT_STOP_SECONDS: u16 = 10;

impl Config {
    /// Reads a configuration from `text`; messages call it `path`, and a relative
    /// [`routes_file`](Config::routes_file) is taken from `path`'s folder. The routes file itself is not read.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn from_str(path: impl AsRef<Path>, text: &str, machine: &Machine) -> Result<Config, ConfigErrors> {
        build(path.as_ref(), text, machine, |_| None)
    }

    /// Reads the configuration file `path`, and the routes file that it names.
    ///
    /// # Errors
    /// All that is wrong with both of them, or that one cannot be read.
    pub fn load(path: impl AsRef<Path>, machine: &Machine) -> Result<Config, ConfigErrors> {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(text) => build(path, &text, machine, |file| Some(std::fs::read_to_string(file))),
            Err(error) => {
                let errors = Errors::new(&path.display().to_string(), "");
                errors.add(errors.whole(format!("cannot be read: {error}")));
                errors.into_result(None)
            }
        }
    }
}

/// `read_routes` gives the routes file's text, or `None` if it is not wanted.
fn build(
    path: &Path,
    text: &str,
    machine: &Machine,
    read_routes: impl FnOnce(&Path) -> Option<std::io::Result<String>>,
) -> Result<Config, ConfigErrors> {
    let errors = Errors::new(&path.display().to_string(), text);
    let Some(root) = reader::parse(text, &errors) else { return errors.into_result(None) };
    let mut raw = raw::read(&root, &errors);
    if raw.ports.is_empty() && errors.count() == 0 {
        let error = errors.whole("there is no port to forward between".to_owned());
        errors.add(error.help("add a [[port]] with a name, a device and addresses"));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let routes_file = raw.routes_file.as_ref().map(|file| folder.join(file.get_ref()));
    let workers = workers(&raw.workers, &raw.ports, machine, &errors);
    let mut network = network(&raw.ports, raw.ports_whole, workers.cores.len() as u16, &errors);
    let mut table = RouteTable::default();
    table.add_written(&raw.routes, &mut network, &errors);
    match routes_file.as_deref().and_then(|file| Some((file, read_routes(file)?))) {
        None => table.check_twins(&errors, None),
        Some((file, Ok(text))) => add_routes_file(file, &text, &mut table, &network, &errors),
        Some((_, Err(error))) => {
            let span = raw.routes_file.as_ref().map_or(0..0, Spanned::span);
            let error = errors.at(span, format!("the routes file cannot be read: {error}"), "this file");
            errors.add(error.help("a relative path begins in this file's folder"));
        }
    }
    let neighbours = neighbours(&raw.neighbours, &network, &errors);
    let services = services(std::mem::take(&mut raw.services), folder, &network, &errors);
    check_limits(&raw.limits, &table, neighbours.len(), &network, &errors);
    let name = raw.name.take().map_or(DEFAULT_NAME.to_owned(), Spanned::into_inner);
    let socket = raw
        .socket
        .map_or_else(|| PathBuf::from(format!("/run/sluice/{name}.sock")), |s| s.into_inner().into());
    errors.into_result(Some(Config {
        dpdk: dpdk(raw.dpdk, &name),
        name,
        ports: network.ports,
        interfaces: network.interfaces,
        workers,
        routes: table.into_routes(),
        routes_file,
        neighbours,
        services,
        own_programs: false,
        limits: raw.limits.limits,
        control: Control { socket },
    }))
}

fn dpdk(raw: RawDpdk, name: &str) -> Dpdk {
    let args = raw.eal_args.map_or(Vec::new(), Spanned::into_inner);
    Dpdk {
        file_prefix: raw.file_prefix.map_or(name.to_owned(), Spanned::into_inner),
        huge: raw.huge.map(Spanned::into_inner).unwrap_or_default(),
        eal_args: args.into_iter().map(Spanned::into_inner).collect(),
        memory_mb: raw.memory_mb.and_then(Spanned::into_inner),
    }
}

fn workers(raw: &RawWorkers, ports: &[RawPort], machine: &Machine, errors: &Errors) -> Workers {
    // Core 0 is left to the kernel and the control thread where there is another.
    let auto = || if machine.cores > 1 { (1..machine.cores).collect() } else { vec![0] };
    let cores = match raw.cores.as_ref().map(Spanned::get_ref) {
        Some(Some(list)) => chosen_cores(list, machine, errors),
        _ => auto(),
    };
    if let (true, Some(list)) = (cores.is_empty(), &raw.cores) {
        let error = errors.at(list.span(), "no core is left to forward".to_owned(), "here");
        errors.add(error.help("name at least one core, or write cores = \"auto\""));
    }
    let kernel_backed =
        |port: &RawPort| port.device.as_ref().is_some_and(|device| is_kernel_backed(device.get_ref()));
    let default_poll = if ports.iter().all(kernel_backed) { Poll::Adaptive } else { Poll::Busy };
    Workers {
        cores,
        poll: raw.poll.as_ref().map_or(default_poll, |poll| *poll.get_ref()),
        burst: raw.burst.as_ref().map_or(DEFAULT_BURST, |burst| *burst.get_ref()),
        isa: raw.isa.as_ref().map_or(Isa::Auto, |isa| *isa.get_ref()),
        stop_seconds: raw.stop_seconds.as_ref().map_or(DEFAULT_STOP_SECONDS, |s| *s.get_ref()),
    }
}

fn chosen_cores(list: &[Spanned<u16>], machine: &Machine, errors: &Errors) -> Vec<u16> {
    let mut cores = Vec::new();
    for core in list {
        let number = *core.get_ref();
        if number >= machine.cores {
            let help = format!("its cores are 0 to {}", machine.cores.saturating_sub(1));
            errors.add(
                errors.at(core.span(), format!("this machine has no core {number}"), "not found").help(help),
            );
        } else if cores.contains(&number) {
            let error = errors.at(core.span(), format!("core {number} is named twice"), "again here");
            errors.add(error.help("each worker has a core of its own"));
        }
        cores.push(number);
    }
    cores
}

/// Reads the routes file's text into `table`. Its errors follow those of the main file.
fn add_routes_file(file: &Path, text: &str, table: &mut RouteTable, network: &Network, errors: &Errors) {
    let own = Errors::new(&file.display().to_string(), text);
    let (routes, wrong) = routes_file::parse(text);
    for error in &wrong {
        own.add(own.at(error.span.clone(), error.what.to_owned(), "here").help(error.help));
    }
    if wrong.is_empty() {
        table.add_file(routes, network, &own);
        table.check_twins(errors, Some((&own, text)));
    }
    errors.append(own);
}

fn neighbours(raw: &[RawNeighbour], network: &Network, errors: &Errors) -> Vec<Neighbour> {
    let mut seen = HashMap::new();
    let mut neighbours = Vec::new();
    for entry in raw {
        let named = entry.interface.as_ref().and_then(|name| network.find(name, errors));
        let (Some(interface), Some(address), Some(mac)) = (named, &entry.address, &entry.mac) else {
            continue;
        };
        let addr = *address.get_ref();
        let name = &network.interfaces[interface as usize].name;
        if let Some(first) = seen.insert(addr, address.span()) {
            let error =
                errors.at(address.span(), format!("the neighbour {addr} is given twice"), "again here");
            errors.add(error.also(first, "first here"));
        }
        match network.neighbour_interface(addr) {
            Ok(found) if found != interface => {
                let found = &network.interfaces[found as usize].name;
                let message = format!("{addr} is a neighbour on `{found}`, not on `{name}`");
                let error = errors.at(address.span(), message, "lies elsewhere");
                errors.add(error.help(format!("write interface = \"{found}\"")));
            }
            Err((message, help)) if network.sound => {
                errors.add(
                    errors.at(address.span(), format!("the neighbour {message}"), "not reachable").help(help),
                );
            }
            _ => {}
        }
        neighbours.push(Neighbour { interface, address: addr, mac: *mac.get_ref() });
    }
    neighbours
}

/// Whether the limits hold what the configuration itself brings, and agree with each other.
fn check_limits(raw: &RawLimits, table: &RouteTable, neighbours: usize, network: &Network, errors: &Errors) {
    let limits = &raw.limits;
    let check = |good: bool, keys: &[&'static str], message: String| {
        if !good {
            let help = format!("raise `{}` in [limits]", keys[0]);
            let error = match raw.span(keys) {
                Some(span) => errors.at(span, message, "set here"),
                None => errors.whole(message),
            };
            errors.add(error.help(help));
        }
    };
    let count = table.len();
    let message =
        format!("{count} routes and connected networks are more than the limit of {}", limits.routes);
    check(count <= limits.routes as usize, &["routes"], message);

    let message = format!("{neighbours} static neighbours are more than the limit of {}", limits.neighbours);
    check(neighbours <= limits.neighbours as usize, &["neighbours"], message);

    // Every interface and every gateway takes one at least.
    let needed = network.interfaces.len() + table.gateways();
    let message = format!(
        "{needed} interfaces and gateways are more than the limit of {} adjacencies",
        limits.adjacencies
    );
    check(needed <= limits.adjacencies as usize, &["adjacencies"], message);

    let (each, all) = (limits.hold_per_neighbour, limits.hold_packets);
    let message = format!("one neighbour may hold {each} packets, but all together only {all}");
    check(each <= all, &["hold_packets", "hold_per_neighbour"], message);
}

//! The validated configuration: what the rest of the house reads.
//!
//! Every value here is in range and every name is resolved to an index, so that readers need no
//! checks of their own. IPv4 addresses and prefixes compare in host order, as `wire` has them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use wire::{Ipv4Prefix, MacAddr};

use crate::limits::{HttpLimits, Limits};

/// What validation has to know of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Logical cores, numbered from 0.
    pub cores: u16,
}

/// A whole configuration without errors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The name of this instance: letters, digits, `-` and `_`. Default `sluice`.
    pub name: String,
    /// What DPDK's environment layer (EAL) is told.
    pub dpdk: Dpdk,
    /// The devices, in the order of the file. A port's index is its place here.
    pub ports: Vec<Port>,
    /// The layer-3 interfaces: for each port, in order, its untagged interface, then its VLANs.
    /// An interface's index is its place here.
    pub interfaces: Vec<Interface>,
    /// The cores that forward.
    pub workers: Workers,
    /// Static routes; connected networks are not among them (see [`Interface::addresses`]).
    pub routes: Routes,
    /// The routes file, its path resolved against the configuration file's folder.
    /// [`Config::load`] has read it into `routes`; [`Config::from_str`] has not.
    pub routes_file: Option<PathBuf>,
    /// Static neighbours.
    pub neighbours: Vec<Neighbour>,
    /// What this host itself serves.
    pub services: Vec<Service>,
    /// Whether the process has programs of its own beside them: not said by any file.
    pub own_programs: bool,
    /// Bounds of everything that could grow.
    pub limits: Limits,
    /// The control socket.
    pub control: Control,
}

impl Config {
    /// Whether anything runs on this host's own TCP and UDP.
    pub fn has_programs(&self) -> bool {
        self.own_programs || !self.services.is_empty()
    }
}

/// `[dpdk]`: what DPDK's environment layer (EAL) is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dpdk {
    /// `--file-prefix`: what keeps this process's DPDK files apart from another's. Default: the
    /// configuration's name.
    pub file_prefix: String,
    /// Whether to use huge pages.
    pub huge: Huge,
    /// Extra EAL arguments, passed on as they are.
    pub eal_args: Vec<String>,
    /// Memory for DPDK in MiB; `None`: what the [`Plan`](crate::Plan) needs.
    pub memory_mb: Option<u32>,
}

/// Whether to use huge pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Huge {
    /// When the machine has free ones; else do without and warn.
    #[default]
    Auto,
    /// Yes, or do not start.
    On,
    /// No (`--no-huge`).
    Off,
}

/// `[[port]]`: one device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Its name: a letter, then letters, digits, `-` and `_`; at most 32.
    pub name: String,
    /// DPDK devargs, for instance `net_tap0,iface=lan` or `0000:01:00.0`.
    pub device: String,
    /// The largest IPv4 packet the device carries, in bytes; no interface of it has a larger MTU.
    pub mtu: u16,
    /// Receive queues; `None`: one for each worker that polls the port, as far as the device allows.
    pub rx_queues: Option<u16>,
    /// Transmit queues; `None`: one for each worker, as far as the device allows.
    pub tx_queues: Option<u16>,
    /// Descriptors of each receive queue.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue.
    pub tx_descriptors: u16,
    /// Whether the device receives frames that are not addressed to it.
    pub promiscuous: bool,
    /// The Ethernet address to set; `None`: the device's own.
    pub mac: Option<MacAddr>,
    /// The workers that may poll it: indices into [`Workers::cores`], ascending, never empty.
    pub workers: Vec<u16>,
}

impl Port {
    /// The device without its arguments: `net_tap0` of `net_tap0,iface=lan`.
    pub fn device_name(&self) -> &str {
        device_name(&self.device)
    }

    /// Whether the kernel is behind the device, so that polling it costs system calls.
    pub fn is_kernel_backed(&self) -> bool {
        is_kernel_backed(&self.device)
    }
}

/// The part of a devargs string before the first comma.
pub(crate) fn device_name(device: &str) -> &str {
    device.split(',').next().unwrap_or(device)
}

/// Whether a devargs string names a driver that sends and receives through the kernel.
pub(crate) fn is_kernel_backed(device: &str) -> bool {
    const DRIVERS: [&str; 4] = ["net_tap", "net_af_packet", "net_af_xdp", "net_pcap"];
    DRIVERS.iter().any(|driver| device.starts_with(driver))
}

/// A layer-3 interface: a port's untagged traffic, or one of its VLANs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The port's name, or `PORT.ID` for a VLAN.
    pub name: String,
    /// The port's index in [`Config::ports`].
    pub port: u16,
    /// The 802.1Q VLAN, 1 to 4094; `None`: untagged.
    pub vlan: Option<u16>,
    /// Our addresses; may be empty. No address and no network of one interface overlaps another's.
    pub addresses: Vec<Address>,
    /// The largest IPv4 packet sent, in bytes, the IPv4 header included.
    pub mtu: u16,
    /// Whether to answer ARP for addresses that are routed by another interface (RFC 1027).
    pub proxy_arp: bool,
}

/// One address of an interface, with the connected network it lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Our address.
    pub addr: Ipv4Addr,
    /// The connected network.
    pub net: Ipv4Prefix,
}

/// `[workers]`: the cores that forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workers {
    /// The core of each worker: worker 0 runs on `cores[0]`. Never empty, no core twice.
    pub cores: Vec<u16>,
    /// What a worker does when nothing arrives.
    pub poll: Poll,
    /// Frames asked of a receive queue at once, 4 to 256.
    pub burst: u16,
    /// Which instructions forward plain packets.
    pub isa: Isa,
    /// How long connections may take to finish once the process is asked to stop, in seconds. What is open
    /// then is reset.
    pub stop_seconds: u16,
}

/// Which instructions forward plain packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Isa {
    /// The widest that the machine has.
    #[default]
    Auto,
    /// AVX-512 F, BW and VL.
    Avx512,
    /// AVX2; where AVX-512 slows the cores' clock.
    Avx2,
    /// SSE4.2; for comparison.
    Sse42,
    /// Those that every machine has; for comparison.
    Portable,
}

impl Isa {
    /// All, by the names that a file has for them.
    pub(crate) const NAMES: [(&'static str, Isa); 5] = [
        ("auto", Isa::Auto),
        ("avx512", Isa::Avx512),
        ("avx2", Isa::Avx2),
        ("sse4.2", Isa::Sse42),
        ("portable", Isa::Portable),
    ];

    /// Its name in a file.
    pub fn name(self) -> &'static str {
        Isa::NAMES.iter().find(|(_, isa)| *isa == self).map_or("auto", |(name, _)| name)
    }
}

/// What a worker does when nothing arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Poll {
    /// It goes on polling: lowest latency, one core at full load.
    Busy,
    /// It sleeps, longer and longer, until frames arrive.
    Adaptive,
}

/// The static routes, small enough in memory for a million of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Routes {
    /// One entry a prefix, in the order of the files; no prefix twice.
    pub entries: Vec<Route>,
    /// The next hops that [`Route::next_hop`] points into; no two are equal.
    pub next_hops: Vec<NextHop>,
}

impl Routes {
    /// Each prefix with where it leads.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Prefix, &NextHop)> {
        self.entries.iter().map(|route| (route.prefix, &self.next_hops[route.next_hop as usize]))
    }
}

/// One static route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// The destinations.
    pub prefix: Ipv4Prefix,
    /// Index into [`Routes::next_hops`].
    pub next_hop: u32,
}

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum NextHop {
    /// To one gateway, or to several that share the flows (ECMP): 1 to 64, no gateway twice.
    Via(Box<[Hop]>),
    /// To the destination itself, which is a neighbour on this interface (index).
    OnLink(u16),
    /// Dropped without a word.
    Blackhole,
    /// Dropped, and the sender is told (ICMP destination unreachable).
    Unreachable,
}

/// One gateway.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// The gateway's address, a neighbour of ours.
    pub gateway: Ipv4Addr,
    /// The interface (index) whose connected network, or on-link route, holds the gateway.
    pub interface: u16,
}

/// `[[neighbour]]`: a neighbour that is never asked for by ARP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// The interface (index) it lives on.
    pub interface: u16,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its Ethernet address; never multicast, never zero.
    pub mac: MacAddr,
}

/// `[[service]]`: a server that runs on every worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Where it listens: one of our addresses, or the unspecified one for all of them. No two services
    /// have the same.
    pub address: SocketAddrV4,
    /// What it does.
    pub program: Program,
}

/// What a service does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Program {
    /// Sends back what it receives, by TCP and UDP (RFC 862).
    Echo,
    /// Drops what it receives, by TCP and UDP (RFC 863).
    Discard,
    /// Sends characters without end, by TCP (RFC 864).
    Chargen,
    /// Serves files and pages by HTTP/1.1.
    Http(Http),
}

/// The kinds of services.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceKind {
    /// [`Program::Echo`].
    Echo,
    /// [`Program::Discard`].
    Discard,
    /// [`Program::Chargen`].
    Chargen,
    /// [`Program::Http`].
    Http,
}

/// What an HTTP server serves, and to whom it is patient. It serves something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http {
    /// The folder whose files it serves, resolved against the configuration file's folder. Whether there is
    /// such a folder has not been looked at.
    pub root: Option<PathBuf>,
    /// The file that stands for the folder it is in. Default `index.html`.
    pub index: String,
    /// The value of Cache-Control in responses with files and pages; without one, caches decide (RFC 9111
    /// section 4.2.2).
    pub cache_control: Option<String>,
    /// The path of the status page.
    pub status: Option<String>,
    /// Pages that stand in the configuration itself.
    pub pages: Vec<Page>,
    /// Bounds and timeouts.
    pub limits: HttpLimits,
}

/// `[[service.page]]`: a page that stands in the configuration itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Its path, not percent-encoded; it begins with `/`. No two pages of a service have the same.
    pub path: String,
    /// Its media type: visible ASCII and spaces. Default `text/html; charset=utf-8`.
    pub content_type: String,
    /// What it says.
    pub body: String,
}

/// `[control]`: the control socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// Path of the Unix socket. Default `/run/sluice/NAME.sock`.
    pub socket: PathBuf,
}

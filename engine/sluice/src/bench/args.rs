//! The command line of `sluice bench forward`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use generator::flow::{AddrRange, PortRange};
use generator::size::Sizes;
use wire::MacAddr;

use super::testpmd::Mode;
use super::units::{Bits, Rate, Time};

/// What is measured, and with what.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").args(["rate", "search", "rfc2544"]))]
pub(crate) struct Forward {
    /// DPDK's name of a port, such as `0000:01:00.0` or `net_memif0,socket=...`. One port sends to itself by way
    /// of the device under test; of two, the first sends to the second.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) port: Vec<String>,
    /// With two ports: the second sends to the first as well.
    #[arg(long)]
    pub(crate) bidirectional: bool,

    /// One trial at this rate of each direction: 100k, 1.5M, or 80% of the line.
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// Search for the highest rates without drops and with few (MLRsearch). This is what is done unless told
    /// otherwise.
    #[arg(long)]
    pub(crate) search: bool,
    /// All tests of RFC 2544 section 26 for each frame size. They take hours, unless --duration makes them shorter.
    #[arg(long)]
    pub(crate) rfc2544: bool,
    /// Hold the rate for this time, with a result for each --duration.
    #[arg(long, value_name = "TIME", requires = "rate")]
    pub(crate) soak: Option<Time>,

    /// How long a trial is. 10s at a rate, 1s in a search, 60s for RFC 2544.
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<Time>,
    /// Speed of the line that rates refer to, such as 10G; the port's own if it has one.
    #[arg(long, value_name = "BITS")]
    pub(crate) line: Option<Bits>,
    /// The highest rate of a search. The line's, or 100M.
    #[arg(long, value_name = "RATE")]
    pub(crate) max_rate: Option<Rate>,
    /// The loss ratio of the second goal of a search, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.5)]
    pub(crate) loss: f64,
    /// How long all trials at one load are to be together before a search decides.
    #[arg(long, value_name = "TIME", default_value = "21s")]
    pub(crate) duration_sum: Time,
    /// How near the bounds of a search are to be, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.5)]
    pub(crate) width: f64,

    /// Frame sizes with the check sequence: 64, or 64,512 in turn, or imix; 64 unless told otherwise. --rfc2544
    /// takes one after another, and all of the RFC's unless told otherwise.
    #[arg(long)]
    pub(crate) size: Option<Sizes>,
    /// Flows of each direction.
    #[arg(long, default_value_t = 256)]
    pub(crate) flows: usize,
    /// Source addresses: FIRST-LAST. The second port sends with --dst as its sources.
    #[arg(long, default_value = "198.18.0.2-198.18.0.254", value_name = "RANGE")]
    pub(crate) src: AddrRange,
    /// Destination addresses.
    #[arg(long, default_value = "198.19.0.2-198.19.0.254", value_name = "RANGE")]
    pub(crate) dst: AddrRange,
    /// Source ports.
    #[arg(long, default_value = "49152-65535", value_name = "RANGE")]
    pub(crate) src_port: PortRange,
    /// Destination ports.
    #[arg(long, default_value = "9", value_name = "RANGE")]
    pub(crate) dst_port: PortRange,
    /// What carries the payload.
    #[arg(long, value_enum, default_value_t = Protocol::Udp)]
    pub(crate) protocol: Protocol,
    /// Chooses which of the flows that the ranges allow there are, and their order.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Frames that are due at the same moment.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) burst: u32,
    /// The station that frames are sent to. The router's with --gateway, else the receiving port's.
    #[arg(long, value_name = "MAC", conflicts_with = "gateway")]
    pub(crate) dst_mac: Option<MacAddr>,
    /// The router under test, by its address on each sending port: it is asked for its MAC by ARP.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Vec<Ipv4Addr>,

    /// Start dpdk-testpmd as the device under test: io, mac, macswap or icmpecho. Without --port, it is connected
    /// by memif.
    #[arg(long, value_name = "testpmd:MODE")]
    pub(crate) dut: Option<Mode>,
    /// DPDK's name of a port of that device, where --port names the other end.
    #[arg(long, value_name = "DEVICE", requires = "dut")]
    pub(crate) dut_port: Vec<String>,
    /// The CPU that the device under test runs on.
    #[arg(long, value_name = "CPU", default_value_t = 0, requires = "dut")]
    pub(crate) dut_core: usize,

    /// The CPU that the tester runs on.
    #[arg(long, value_name = "CPU", default_value_t = 1)]
    pub(crate) core: usize,
    /// How late a frame may still be sent. What is later was not sent, and counts as lost.
    #[arg(long, value_name = "TIME", default_value = "10ms")]
    pub(crate) patience: Time,
    /// How long frames are waited for after a trial; 2s for RFC 2544.
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    pub(crate) drain: Time,
    /// Send only, and say how many frames the device took: this shows how fast the tester is.
    #[arg(long, requires = "rate", conflicts_with_all = ["soak", "json", "dut"])]
    pub(crate) no_receive: bool,
    /// Do without huge pages: slow, for trying things out.
    #[arg(long)]
    pub(crate) no_huge: bool,
    /// Measure so often, each a run of the result: `sluice bench diff` wants three at least.
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repeat: u32,
    /// Write the result to this file, for `sluice bench report` and `diff`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What carries the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Protocol {
    /// UDP.
    Udp,
    /// ICMP echo requests.
    Icmp,
}

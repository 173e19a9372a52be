//! DPDK for the tester: the environment, one pool, the ports.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use generator::flow::AddrRange;
use generator::port::Port as TestPort;
use generator::station::Station;
use generator::trial::Tester;
use pmd::{Eal, EalConfig, Errno, Huge, Mempool, PoolHandle, Port, PortConfig, RxQueue, TscClock, TxQueue};
use wire::Instant as Time;

use super::Error;
use crate::run::QUIET;

/// A tester over DPDK's queues.
pub(crate) type DpdkTester = Tester<TxQueue, RxQueue, PoolHandle, Box<dyn Fn() -> Time>>;

/// Packet buffers: what two ports' queues hold, what the tester holds, and as much again.
const BUFFERS: u32 = 16_383;
const CACHE: u32 = 256;
/// What a buffer of the usual size holds.
const USUAL_ROOM: usize = 2048;
/// Bytes of a frame beyond its MTU: header, tag, check sequence.
const OVERHEAD: usize = 22;
/// The MTU that ports have unless longer frames are sent.
const USUAL_MTU: usize = 1500;
/// A link is up within this time: a peer may have to connect.
const LINK_LIMIT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The environment, and what all ports share.
pub(crate) struct Dpdk {
    pool: Mempool,
    clock: TscClock,
    longest: usize,
    eal: Eal,
}

impl Dpdk {
    /// Starts DPDK for frames of up to `longest` bytes. The calling thread, for which buffers are cached from now
    /// on, goes on on this CPU.
    pub(crate) fn start(
        devices: &[String],
        longest: usize,
        core: usize,
        no_huge: bool,
    ) -> Result<Dpdk, Error> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        if !cores.into_iter().any(|id| id.id == core && core_affinity::set_for_current(id)) {
            return Err(format!("there is no CPU {core} to run on: --core names another.").into());
        }
        let room = longest.max(USUAL_ROOM);
        let mut config = EalConfig {
            program: "sluice-bench".into(),
            main_core: Some(core),
            huge: if no_huge { Huge::Never } else { Huge::Auto },
            memory_mb: Some(64 + (BUFFERS >> 10) * (room as u32 + 512) / 1024),
            extra_args: QUIET.map(str::to_owned).to_vec(),
            ..EalConfig::default()
        };
        devices.iter().for_each(|device| config.add_device(device));
        // They are made when they are opened: then an error has the port's name.
        config.vdevs.clear();
        let eal = Eal::init(&config)?;
        eal.warnings().iter().for_each(|warning| eprintln!("sluice: warning: {warning}"));
        let pool = Mempool::new(&eal, "frames", BUFFERS, CACHE, u16::try_from(room)?, None)?;
        Ok(Dpdk { pool, clock: TscClock::start(), longest, eal })
    }

    /// The time, as trials are told it.
    pub(crate) fn clock(&self) -> Box<dyn Fn() -> Time> {
        let clock = self.clock;
        Box::new(move || clock.now())
    }

    /// Ticks a second of the time stamp counter, if that is the clock.
    pub(crate) fn tsc_hz(&self) -> Option<u64> {
        self.clock.tsc_hz()
    }

    /// Opens a port and starts it.
    pub(crate) fn open(&self, device: &str) -> Result<Port, Error> {
        let port = Port::open(&self.eal, device).map_err(|error| refusal(device, &error))?;
        let mtu = self.longest.saturating_sub(OVERHEAD).max(USUAL_MTU);
        let config = PortConfig {
            mtu: u16::try_from(mtu)?,
            promiscuous: true,
            rss_hash: false,
            rx_ip_checksum: false,
            rx_l4_checksum: false,
            tx_l4_checksum: false,
            vlan_strip: false,
            multi_segs: false,
            ..PortConfig::default()
        };
        port.configure(&config, std::slice::from_ref(&self.pool))?;
        port.start()?;
        Ok(port)
    }

    /// A started port as the tester uses it, which plays `hosts`.
    pub(crate) fn test_port(
        &self,
        port: &Port,
        hosts: AddrRange,
    ) -> Result<TestPort<TxQueue, RxQueue, PoolHandle>, Error> {
        let station = Station::new(port.capabilities()?.mac, hosts);
        Ok(TestPort::new(port.take_tx(0)?, port.take_rx(0)?, self.pool.handle(), station))
    }
}

/// Waits until a port's link is up.
pub(crate) fn wait_for_link(port: &Port) -> Result<(), Error> {
    let deadline = Instant::now() + LINK_LIMIT;
    while !port.link()?.up {
        if Instant::now() >= deadline {
            let seconds = LINK_LIMIT.as_secs();
            return Err(format!(
                "port \"{}\" is down, also after {seconds} s: is its cable plugged in, or its peer there?",
                port.name()
            )
            .into());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// Bits a second of a port's line, if it has one: virtual devices have none, whatever they say.
pub(crate) fn line_speed(port: &Port) -> Option<f64> {
    let hardware = port.name().contains(':');
    let speed = port.link().ok()?.speed_mbps.filter(|_| hardware)?;
    Some(f64::from(speed) * 1e6)
}

/// The address that stands for a range of hosts.
pub(crate) fn loop_host() -> AddrRange {
    AddrRange::one(Ipv4Addr::new(198, 18, 0, 1))
}

/// The sentence for a device that cannot be opened.
fn refusal(device: &str, error: &pmd::Error) -> Error {
    match error {
        pmd::Error::Open { cause: Errno(14 | 2 | 19), .. } => {
            format!("there is no device \"{device}\", or DPDK has no driver for it.").into()
        }
        pmd::Error::Open { .. } => {
            format!("the driver of device \"{device}\" could not start it; its own words, if any, are above.")
                .into()
        }
        error => error.to_string().into(),
    }
}

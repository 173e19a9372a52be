//! One run's devices: the tester's ports, the device under test, and the trials between them.

use std::net::Ipv4Addr;
use std::time::Duration;

use generator::flow::{self, FlowSpec};
use generator::schedule::Load;
use generator::size::Sizes;
use generator::source::{MAX_STREAMS, Source};
use generator::trial::{Direction, Tester, Trial};
use hdrhistogram::Histogram;
use pmd::{Eal, Port, PortStats};
use report::{Device, Document, Given};
use wire::MacAddr;

use super::Error;
use super::args::{Forward, Protocol};
use super::dut::{self, Dut, DutCounters, OwnCounters};
use super::ports::{self, Dpdk, DpdkTester};

/// Where the tester's own latency is measured: what is sent there comes back at once.
const LOOPBACK: &str = "net_ring_loopback";
/// How that is done: a thousand frames, far apart.
const BIAS_LOAD: Load = Load { pps: 10_000.0, burst: 1, duration: Duration::from_millis(100) };
/// A router answers ARP within this time.
const ARP_LIMIT: Duration = Duration::from_secs(10);
/// RFC 2544 section 23: each flow is sent once before the first trial, so that devices learn where stations are. At
/// this rate, or faster if that would take longer than a second.
const LEARNING_PPS: f64 = 1000.0;
/// RFC 2544 section 23: the time to wait for what is still on its way.
const RFC2544_DRAIN: Duration = Duration::from_secs(2);
/// What stands at the far end where nobody knows better.
const UNKNOWN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);

/// Open devices. The tester goes first when they are closed: it holds the ports' queues.
pub(crate) struct Session {
    tester: Option<DpdkTester>,
    ports: Vec<Port>,
    streams: usize,
    /// How often sources were made: their streams are numbered on, so that no frame of one is taken for another's
    /// (and begin anew after 64: what was sent so long ago is not on its way any more).
    prepared: usize,
    dut: Option<Dut>,
    plan: Plan,
    dpdk: Dpdk,
}

/// What the session needs of the command line.
struct Plan {
    flows: FlowSpec,
    directions: Vec<Direction>,
    gateways: Vec<Ipv4Addr>,
    dst_mac: Option<MacAddr>,
    patience: Duration,
    drain: Duration,
}

impl Session {
    /// Opens everything, for frames of up to `longest` bytes.
    pub(crate) fn open(args: &Forward, longest: usize) -> Result<Session, Error> {
        check(args)?;
        let plan = Plan::new(args)?;
        let (dut, devices) = dut::start(args)?;
        let dpdk = Dpdk::start(&devices, longest, args.core, args.no_huge)?;
        let ports = devices.iter().map(|device| dpdk.open(device)).collect::<Result<Vec<_>, _>>()?;
        ports.iter().try_for_each(ports::wait_for_link)?;
        Ok(Session { tester: None, ports, streams: 0, prepared: 0, dut, plan, dpdk })
    }

    /// The line's speed in bits a second, if the first port has one.
    pub(crate) fn line_speed(&self) -> Option<f64> {
        ports::line_speed(&self.ports[0])
    }

    /// What the tester itself adds to a latency: that over a loop in memory.
    pub(crate) fn bias(&self) -> Result<Histogram<u64>, Error> {
        let port = self.dpdk.open(LOOPBACK)?;
        let test_port = self.dpdk.test_port(&port, ports::loop_host())?;
        let mut tester = Tester::new(vec![test_port], self.dpdk.clock(), self.plan.drain);
        let flows = FlowSpec { count: 1, ..self.plan.flows.clone() };
        let source = Source::new(&flows, &Sizes::fixed(64)?, UNKNOWN, UNKNOWN, 0)?;
        tester.add(Direction { from: 0, to: 0 }, source, self.plan.patience);
        Ok(tester.trial(&[BIAS_LOAD])?.timing.latency)
    }

    /// Makes ready to send frames of these sizes.
    pub(crate) fn prepare(&mut self, sizes: &Sizes) -> Result<(), Error> {
        self.tester = None;
        let hosts = [self.plan.flows.src, self.plan.flows.dst];
        // With one port all hosts are behind it; it answers for the senders.
        let ports = self.ports.iter().zip(hosts).map(|(port, hosts)| self.dpdk.test_port(port, hosts));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let mut tester: DpdkTester = Tester::new(ports, self.dpdk.clock(), self.plan.drain);
        for (n, direction) in self.plan.directions.iter().enumerate() {
            let [src, dst] = [direction.from, direction.to].map(|port| tester.ports()[port].station.mac());
            let dst = self.plan.dst_mac.unwrap_or(if direction.from == direction.to { UNKNOWN } else { dst });
            let first_stream = u16::try_from((self.prepared + n) * MAX_STREAMS % (1 << 16))?;
            let flows =
                if direction.from == 0 { self.plan.flows.clone() } else { self.plan.flows.reversed() };
            let source = Source::new(&flows, sizes, src, dst, first_stream)?;
            self.streams = source.streams();
            tester.add(*direction, source, self.plan.patience);
        }
        for (direction, gateway) in self.plan.directions.iter().zip(&self.plan.gateways) {
            tester.resolve(direction.from, *gateway, ARP_LIMIT)?;
        }
        let flows = self.plan.flows.count as f64;
        let pps = flows.max(LEARNING_PPS);
        let learning = Load { pps, burst: 1, duration: Duration::from_secs_f64(flows / pps) };
        // What comes of it does not matter: trials show whether anything comes back.
        let _learnt = tester.trial(&[learning]);
        self.prepared += self.plan.directions.len();
        self.tester = Some(tester);
        Ok(())
    }

    fn tester(&mut self) -> Result<&mut DpdkTester, Error> {
        self.tester.as_mut().ok_or_else(|| "nothing is ready to be sent.".into())
    }

    /// Runs a trial, and compares its counters with those of the device under test.
    pub(crate) fn trial(&mut self, loads: &[Load]) -> Result<(Trial, Option<DutCounters>), Error> {
        if let Some(dut) = &mut self.dut {
            dut.begin()?;
        }
        let (missed_before, aside_before) = (self.missed()?, self.sent_aside()?);
        let trial = self.tester()?.trial(loads)?;
        let (missed, aside) = (self.missed()? - missed_before, self.sent_aside()? - aside_before);
        let Some(dut) = &mut self.dut else { return Ok((trial, None)) };
        let total = trial.total();
        let own = OwnCounters { sent: total.sent + aside, received: total.received.frames(), missed };
        let counted = dut.end(&own)?;
        Ok((trial, Some(counted)))
    }

    /// Sends a load, and receives nothing.
    pub(crate) fn send_only(&mut self, load: &Load) -> Result<u64, Error> {
        Ok(self.tester()?.send_only(load)?)
    }

    /// Frames that the ports dropped for want of room.
    fn missed(&self) -> Result<u64, Error> {
        let missed = |stats: PortStats| stats.rx_missed + stats.rx_no_buffer;
        let all = self.ports.iter().map(|port| port.stats().map(missed)).sum::<Result<u64, _>>();
        Ok(all?)
    }

    fn sent_aside(&mut self) -> Result<u64, Error> {
        Ok(self.tester()?.ports().iter().map(|port| port.sent_aside()).sum())
    }

    /// How many directions frames are sent in.
    pub(crate) fn directions(&self) -> usize {
        self.plan.directions.len()
    }

    /// What only the tester knows of where it runs.
    pub(crate) fn given(&self, core: usize) -> Result<Given, Error> {
        let device = |port: &Port| {
            let driver = port.capabilities()?.driver;
            Ok(Device { name: port.name().to_owned(), driver })
        };
        let mut given = Given::new([u32::try_from(core)?]);
        given.processes.extend(self.dut.as_ref().map(Dut::id));
        given.dpdk = Some(Eal::version());
        given.devices = self.ports.iter().map(device).collect::<Result<_, pmd::Error>>()?;
        given.tsc_hz = self.dpdk.tsc_hz();
        Ok(given)
    }

    /// A document with what was set.
    pub(crate) fn parameters(&self, document: Document, args: &Forward) -> Document {
        let time = |time: Duration| format!("{} ms", time.as_millis());
        let mut document = document
            .parameter("frame size", args.size.as_ref().map_or("default".into(), Sizes::to_string))
            .parameter("flows", args.flows)
            .parameter("streams", self.streams)
            .parameter("burst", args.burst)
            .parameter("directions", self.directions())
            .parameter("patience", time(self.plan.patience))
            .parameter("drain", time(self.plan.drain));
        for port in &self.ports {
            document = document.parameter("port", port.name());
        }
        if let Some(duration) = args.duration {
            document = document.parameter("trial", time(duration.0));
        }
        if let Some(mode) = args.dut {
            document = document.parameter("device under test", mode);
        }
        document
    }
}

impl Plan {
    fn new(args: &Forward) -> Result<Plan, Error> {
        let two = args.port.len() == 2 || args.bidirectional;
        let there = Direction { from: 0, to: usize::from(two) };
        let back = args.bidirectional.then_some(Direction { from: 1, to: 0 });
        let directions: Vec<Direction> = [Some(there), back].into_iter().flatten().collect();
        if !args.gateway.is_empty() && args.gateway.len() != directions.len() {
            let (given, needed) = (args.gateway.len(), directions.len());
            return Err(format!("--gateway is given {given} times for {needed} sending ports.").into());
        }
        let flows = FlowSpec {
            src: args.src,
            dst: args.dst,
            src_port: args.src_port,
            dst_port: args.dst_port,
            count: args.flows,
            protocol: match args.protocol {
                Protocol::Udp => flow::Protocol::Udp,
                Protocol::Icmp => flow::Protocol::Echo,
            },
            seed: args.seed,
        };
        let drain = if args.rfc2544 { RFC2544_DRAIN.max(args.drain.0) } else { args.drain.0 };
        Ok(Plan {
            flows,
            directions,
            gateways: args.gateway.clone(),
            dst_mac: args.dst_mac,
            patience: args.patience.0,
            drain,
        })
    }
}

/// What does not go together on the command line.
fn check(args: &Forward) -> Result<(), Error> {
    let ports = args.port.len();
    let sentence = if ports == 0 && args.dut.is_none() {
        "there is nothing to measure: name a port with --port, or have a device under test started with --dut \
         testpmd:macswap."
    } else if ports > 2 {
        "more than two ports cannot be measured at once."
    } else if args.bidirectional && ports == 1 {
        "--bidirectional needs two ports."
    } else {
        return Ok(());
    };
    Err(sentence.into())
}

//! A tester whose ports lead into simulated links, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use generator::flow::{FlowSpec, Protocol};
use generator::port::Port;
use generator::schedule::Load;
use generator::size::Sizes;
use generator::source::Source;
use generator::station::Station;
use generator::trial::{Direction, Tester};
use sim::{Clock, Link, LinkConfig, LinkStats, Rng, SimFrame, SimPool};
use wire::{Instant, MacAddr, RxQueue, TxQueue};

/// The device under test: a link, that may stall, and may refuse frames while too many are in it.
pub(crate) struct Dut {
    link: Link,
    clock: Clock,
    /// Frames that it takes before it refuses more.
    pub(crate) room: usize,
    /// Nothing comes out from, until.
    pub(crate) stall: (Instant, Instant),
    ready: Vec<SimFrame>,
}

/// A handle of the device, for the test and for both queues.
#[derive(Clone)]
pub(crate) struct Wire(pub(crate) Arc<Mutex<Dut>>);

impl Wire {
    pub(crate) fn new(config: LinkConfig, clock: &Clock, seed: u64) -> Wire {
        let never = Instant::from_nanos(u64::MAX);
        let link = Link::new(config, &Rng::new(seed));
        let dut =
            Dut { link, clock: clock.clone(), room: usize::MAX, stall: (never, never), ready: Vec::new() };
        Wire(Arc::new(Mutex::new(dut)))
    }

    pub(crate) fn set_loss(&self, loss: f64) {
        let link = &mut self.0.lock().unwrap().link;
        link.set_config(LinkConfig { loss, ..link.config().clone() });
    }

    pub(crate) fn stats(&self) -> LinkStats {
        self.0.lock().unwrap().link.stats()
    }
}

impl TxQueue for Wire {
    type Frame = SimFrame;

    fn tx_burst(&mut self, frames: &mut Vec<SimFrame>) -> usize {
        let mut dut = self.0.lock().unwrap();
        let now = dut.clock.now();
        let room = dut.room.saturating_sub(dut.link.in_flight() + dut.ready.len());
        let taken = room.min(frames.len());
        frames.drain(..taken).for_each(|frame| dut.link.push(now, frame));
        taken
    }
}

impl RxQueue for Wire {
    type Frame = SimFrame;

    fn rx_burst(&mut self, out: &mut Vec<SimFrame>, max: usize) -> usize {
        let dut = &mut *self.0.lock().unwrap();
        let now = dut.clock.now();
        if (dut.stall.0..dut.stall.1).contains(&now) {
            return 0;
        }
        dut.link.poll(now, &mut dut.ready);
        let taken = max.min(out.capacity() - out.len()).min(dut.ready.len());
        out.extend(dut.ready.drain(..taken));
        taken
    }
}

pub(crate) fn flows(count: usize) -> FlowSpec {
    FlowSpec {
        src: "10.0.0.1-10.0.0.250".parse().unwrap(),
        dst: "10.1.0.1-10.1.0.250".parse().unwrap(),
        src_port: "1024-2047".parse().unwrap(),
        dst_port: "9".parse().unwrap(),
        count,
        protocol: Protocol::Udp,
        seed: 1,
    }
}

pub(crate) fn station() -> Station {
    Station::new(MacAddr([2, 0, 0, 0, 0, 1]), flows(1).src)
}

/// What one run is made of.
pub(crate) struct Bench {
    pub(crate) wire: Wire,
    pub(crate) clock: Clock,
    pub(crate) pool: SimPool,
    pub(crate) sizes: Sizes,
    pub(crate) flows: usize,
    pub(crate) patience: Duration,
    pub(crate) drain: Duration,
    /// Virtual time between two looks at the clock.
    pub(crate) step: Duration,
}

impl Bench {
    pub(crate) fn new(config: LinkConfig, seed: u64) -> Bench {
        let clock = Clock::new();
        // Not the start of time: trials have been before.
        clock.advance(Duration::from_secs(1));
        Bench {
            wire: Wire::new(config, &clock, seed),
            clock,
            pool: SimPool::new(65_536, 2048),
            sizes: "128".parse().unwrap(),
            flows: 8,
            patience: Duration::from_millis(10),
            drain: Duration::from_millis(500),
            step: Duration::from_micros(1),
        }
    }

    pub(crate) fn tester(&self) -> Tester<Wire, Wire, SimPool, impl Fn() -> Instant + use<>> {
        let (clock, step) = (self.clock.clone(), self.step);
        let port = Port::new(self.wire.clone(), self.wire.clone(), self.pool.clone(), station());
        let mut tester = Tester::new(vec![port], move || clock.advance(step), self.drain);
        let (mac, to) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        let source = Source::new(&flows(self.flows), &self.sizes, mac, to, 0).unwrap();
        tester.add(Direction { from: 0, to: 0 }, source, self.patience);
        tester
    }
}

pub(crate) fn load(pps: f64, duration: Duration) -> Load {
    Load { pps, burst: 1, duration }
}

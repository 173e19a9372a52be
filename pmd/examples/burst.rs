//! What a burst costs: cycles per packet of receiving and sending 32 at a time on `net_null`, through
//! this crate's queues and through the bare C shim, interleaved.
//!
//! `taskset -c 1 cargo run --release -p pmd --example burst [DEVARGS]`
#![allow(unsafe_code, reason = "the bare shim is what this is compared with")]

use dpdk_sys as sys;
use pmd::{Eal, EalConfig, Error, Mempool, Port, PortConfig, RxQueue, TscClock, TxQueue};
use std::ptr;
use wire::{Instant, RxQueue as _, TxQueue as _};

const BURST: usize = 32;
const ROUNDS: usize = 9;
const PACKETS: usize = 20_000_000;

fn main() -> Result<(), Error> {
    let eal = Eal::init(&EalConfig { program: "burst".into(), ..Default::default() })?;
    eal.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    let devargs = std::env::args().nth(1).unwrap_or_else(|| "net_null0".to_owned());
    let pool = Mempool::new(&eal, "burst", 8191, 256, 2048, None)?;
    let port = Port::open(&eal, &devargs)?;
    port.configure(&PortConfig::default(), &[pool])?;
    port.start()?;
    let (mut rx, mut tx) = (port.take_rx(0)?, port.take_tx(0)?);

    let clock = TscClock::start();
    let hz = clock.tsc_hz().unwrap_or(1_000_000_000) as f64;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(cycles(&clock, hz, || through_queues(&mut rx, &mut tx)));
        bare.push(cycles(&clock, hz, || through_shim(port.id())));
    }
    println!(
        "{}: {:.1} cycles a packet, {:.1} through the bare shim",
        port.name(),
        median(ours),
        median(bare)
    );
    Ok(())
}

fn through_queues(rx: &mut RxQueue, tx: &mut TxQueue) -> usize {
    let mut frames = Vec::with_capacity(BURST);
    let mut sent = 0;
    while sent < PACKETS {
        rx.rx_burst(&mut frames, BURST);
        sent += tx.tx_burst(&mut frames);
    }
    sent
}

fn through_shim(port: u16) -> usize {
    let mut frames = [ptr::null_mut(); BURST];
    let mut sent = 0;
    while sent < PACKETS {
        // SAFETY: the port is started, its queues are used by this thread alone, and what was received is
        // sent; what is not taken is not used again.
        sent += unsafe {
            let count = sys::sl_rx_burst(port, 0, frames.as_mut_ptr(), BURST as u16);
            usize::from(sys::sl_tx_burst(port, 0, frames.as_mut_ptr(), count))
        };
    }
    sent
}

fn cycles(clock: &TscClock, hz: f64, work: impl FnOnce() -> usize) -> f64 {
    let start: Instant = clock.now();
    let packets = work();
    (clock.now() - start).as_secs_f64() * hz / packets as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

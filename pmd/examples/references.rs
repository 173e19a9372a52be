//! What sending payload by reference costs: cycles per frame of making and freeing frames of a header and
//! 1460 bytes of payload, by reference, by copying, and in two segments that nobody fills.
//!
//! `taskset -c 1 cargo run --release -p pmd --example references`

use pmd::{Eal, EalConfig, Error, Mbuf, MbufPayload, Mempool, PoolHandle, TscClock};
use std::hint::black_box;
use wire::{Frame, FramePool, NoRoom, Payload};

const BURST: usize = 32;
const ROUNDS: usize = 9;
const FRAMES: usize = 3_200_000;
const HEADER: usize = 54;
const PAYLOAD: usize = 1460;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let eal = Eal::init(&EalConfig { program: "references".into(), ..Default::default() })?;
    eal.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    let pool = Mempool::new(&eal, "references", 8191, 256, 2048, None)?;
    let mut handle = pool.handle();
    let payload = payloads(&mut handle)?;
    let clock = TscClock::start();
    let hz = clock.tsc_hz().unwrap_or(1_000_000_000) as f64;
    let ways: [(&str, Way); 3] =
        [("by reference", refer), ("by copying", copy), ("two empty segments", chain)];
    let mut cycles = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((_, way), cycles) in ways.iter().zip(&mut cycles) {
            let start = clock.now();
            make_and_free(&mut handle, &payload, *way)?;
            cycles.push((clock.now() - start).as_secs_f64() * hz / FRAMES as f64);
        }
    }
    for ((name, _), mut cycles) in ways.iter().zip(cycles) {
        cycles.sort_by(f64::total_cmp);
        println!("{name}: {:.1} cycles a frame", cycles[ROUNDS / 2]);
    }
    Ok(())
}

type Way = fn(&mut PoolHandle, &mut Mbuf, &MbufPayload) -> Result<(), NoRoom>;

fn refer(pool: &mut PoolHandle, frame: &mut Mbuf, payload: &MbufPayload) -> Result<(), NoRoom> {
    pool.attach(frame, payload, 0, PAYLOAD)
}

fn copy(_pool: &mut PoolHandle, frame: &mut Mbuf, payload: &MbufPayload) -> Result<(), NoRoom> {
    payload.copy_out(0, frame.append(PAYLOAD)?);
    Ok(())
}

fn chain(pool: &mut PoolHandle, frame: &mut Mbuf, _payload: &MbufPayload) -> Result<(), NoRoom> {
    frame.chain(pool.alloc().ok_or(NoRoom)?).map_err(|_| NoRoom)
}

/// As many as a window may hold, so that they do not all lie in the nearest cache.
fn payloads(pool: &mut PoolHandle) -> Result<Vec<MbufPayload>, Error> {
    let frames = (0..BURST).map_while(|_| pool.alloc());
    Ok(frames
        .filter_map(|mut frame| frame.append(PAYLOAD).is_ok().then(|| frame.into_payload(0, PAYLOAD)))
        .collect())
}

fn make_and_free(pool: &mut PoolHandle, payload: &[MbufPayload], way: Way) -> Result<(), NoRoom> {
    let mut frames = Vec::with_capacity(BURST);
    for _ in 0..FRAMES / BURST {
        for payload in payload {
            let mut frame = pool.alloc().ok_or(NoRoom)?;
            frame.append(HEADER)?;
            way(pool, &mut frame, payload)?;
            frames.push(frame);
        }
        Mbuf::free_bulk(black_box(&mut frames));
    }
    Ok(())
}

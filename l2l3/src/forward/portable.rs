//! The straight path in plain Rust, by blocks of sixteen frames: for machines without the vector instructions that we
//! know, and by blocks of one for what others leave.
//!
//! What headers are like is collected over a block, so that a plain one costs one branch. It is rewritten where it
//! lies; frames are moved when it is known to where, all at once if they go one way.

use std::vec::Drain;
use std::{array, slice};

use wire::Frame;
use wire::prefetch::prefetch;

use super::header::{Hop, Seen};
use super::{HEADERS, PASS, Tables, sums_to_zero};
use crate::cycles::LoopStage;
use crate::fib::layout::{ADJACENCY_MASK, EXTENDED};
use crate::fib::{AdjacencyId, READ};

/// Frames of a block.
const LANES: usize = 16;
/// Frames that are moved at once.
const ROUND: usize = 2 * PASS;
/// The port of a frame that is not sent: there is none with this number.
const REST: u16 = u16::MAX;

pub(super) fn forward_burst<F: Frame>(
    tables: Tables<'_>,
    frames: &mut Vec<F>,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    while !frames.is_empty() {
        let count = frames.len().min(ROUND);
        let ports = &mut [REST; ROUND][..count];
        for (frames, ports) in frames[..count].chunks_mut(PASS).zip(ports.chunks_mut(PASS)) {
            let (blocks, few) = frames.as_chunks_mut();
            let (block_ports, few_ports) = ports.as_chunks_mut();
            if !forward_blocks::<F, LANES, { PASS / LANES }>(tables, blocks, block_ports) {
                forward_rest(tables, blocks.as_flattened_mut(), block_ports.as_flattened_mut());
            }
            if !few.is_empty() {
                forward_blocks::<F, 1, LANES>(tables, few.as_chunks_mut().0, few_ports.as_chunks_mut().0);
            }
        }
        distribute(frames.drain(..count), ports, tx, rest);
        tables.watch.lap(LoopStage::Route);
    }
}

/// Forwards one frame, and moves it to its batch.
pub(super) fn forward_one<F: Frame>(tables: Tables<'_>, frame: F, tx: &mut [Vec<F>], rest: &mut Vec<F>) {
    let (mut frame, mut port) = ([[frame]], [[REST]]);
    forward_blocks::<F, 1, 1>(tables, &mut frame, &mut port);
    let ([[frame]], [[port]]) = (frame, port);
    batch_of(port, tx, rest).push(frame);
}

/// Forwards what blocks of many have left, one by one.
#[cold]
fn forward_rest<F: Frame>(tables: Tables<'_>, frames: &mut [F], ports: &mut [u16]) {
    for (frame, port) in frames.iter_mut().zip(ports) {
        if *port == REST {
            let (frame, port) = (array::from_mut(frame), array::from_mut(port));
            forward_blocks::<F, 1, 1>(tables, slice::from_mut(frame), slice::from_mut(port));
        }
    }
}

/// Forwards up to `K` blocks of `N` frames: rewrites each frame and gives its port, or leaves both as they are. Whether
/// all are sent.
#[inline(always)]
fn forward_blocks<F: Frame, const N: usize, const K: usize>(
    tables: Tables<'_>,
    frames: &mut [[F; N]],
    ports: &mut [[u16; N]],
) -> bool {
    let mut blocks: [Block<'_, N>; K] =
        [const { Block { longest: 0, destinations: [0; N], headers: [const { None }; N] } }; K];
    // Two stages: by the time the second reads the route table, the first has asked for it.
    for (frames, block) in frames.iter_mut().zip(&mut blocks) {
        block.check(tables, frames);
    }
    // What one frame alone takes is its caller's.
    if N * K > 1 {
        tables.watch.lap(LoopStage::Parse);
    }
    let mut all = true;
    for (ports, block) in ports.iter_mut().zip(&mut blocks) {
        all &= block.longest != 0 && block.route(tables, ports);
    }
    if N * K > 1 {
        tables.watch.lap(LoopStage::Route);
    }
    all
}

/// What the first stage found out about a block for the second.
struct Block<'a, const N: usize> {
    /// Bytes of the longest frame past its Ethernet header, padding included; 0 if any frame is not plain.
    longest: u32,
    /// The destinations, in host order.
    destinations: [u32; N],
    headers: [Option<&'a mut [u8; HEADERS]>; N],
}

impl<'a, const N: usize> Block<'a, N> {
    /// The first stage: checks the headers, and asks for the route table's entries.
    #[inline(always)]
    fn check<F: Frame>(&mut self, tables: Tables<'_>, frames: &'a mut [F; N]) {
        let mut seen = Seen::NONE;
        for ((frame, dst), place) in frames.iter_mut().zip(&mut self.destinations).zip(&mut self.headers) {
            let (len, flags) = (frame.len() as u32, frame.rx_flags());
            let Some(header) = frame.data_mut().first_chunk_mut() else { return };
            seen.add(header, len, flags);
            *dst = u32::from_be_bytes([header[30], header[31], header[32], header[33]]);
            prefetch(&tables.fib.level1[(*dst >> 8) as usize]);
            *place = Some(header);
        }
        if seen.is_dirty() && !(seen.is_untagged() && self.sum_to_zero()) {
            return;
        }
        self.longest = seen.longest_if_plain(&tables.filter.plain).unwrap_or(0);
    }

    /// Whether all headers are right, where the device has not said it of each.
    #[cold]
    fn sum_to_zero(&self) -> bool {
        self.headers.iter().flatten().all(|header| sums_to_zero(header))
    }

    /// The second stage: looks up, and rewrites what fits where it goes. Whether all did.
    #[inline(always)]
    fn route(&mut self, tables: Tables<'_>, ports: &mut [u16; N]) -> bool {
        let need = self.longest << 16;
        let entry = |dst: u32| tables.fib.level1[(dst >> 8) as usize].load(READ);
        let first = entry(self.destinations[0]);
        let differing = self.destinations.iter().fold(0, |differing, dst| differing | entry(*dst) ^ first);
        // Frames come in runs more often than not: then there is one adjacency to look at.
        if differing & (EXTENDED | ADJACENCY_MASK) | first & EXTENDED == 0 {
            let (addend, egress) = tables.adjacencies.get(AdjacencyId(first & ADJACENCY_MASK)).straight();
            if need <= egress {
                let hop = Hop::new(addend);
                for header in &mut self.headers {
                    let Some(header) = header else { continue };
                    hop.write(header);
                }
                *ports = [egress as u16; N];
                return true;
            }
        }
        let mut all = true;
        for ((header, dst), port) in self.headers.iter_mut().zip(&self.destinations).zip(ports) {
            let Some(header) = header else { continue };
            let (addend, egress) = tables.adjacencies.get(tables.fib.lookup(*dst)).straight();
            if need <= egress {
                Hop::new(addend).write(header);
                *port = egress as u16;
            } else {
                all = false;
            }
        }
        all
    }
}

/// Moves each frame to the batch of its port.
#[inline(always)]
fn distribute<F: Frame>(mut frames: Drain<'_, F>, ports: &[u16], tx: &mut [Vec<F>], rest: &mut Vec<F>) {
    if all_equal(ports) {
        return batch_of(ports[0], tx, rest).extend(frames);
    }
    let (blocks, few) = ports.as_chunks::<LANES>();
    for ports in blocks {
        if all_equal(ports) {
            batch_of(ports[0], tx, rest).extend(frames.by_ref().take(LANES));
        } else if ports.contains(&REST) {
            distribute_each(&mut frames, ports, tx, rest);
        } else {
            for (port, frame) in ports.iter().zip(frames.by_ref()) {
                tx[usize::from(*port)].push(frame);
            }
        }
    }
    distribute_each(&mut frames, few, tx, rest);
}

/// Moves frames of which some may not be sent.
#[cold]
fn distribute_each<F: Frame>(frames: &mut Drain<'_, F>, ports: &[u16], tx: &mut [Vec<F>], rest: &mut Vec<F>) {
    for (port, frame) in ports.iter().zip(frames) {
        batch_of(*port, tx, rest).push(frame);
    }
}

#[inline(always)]
fn all_equal(ports: &[u16]) -> bool {
    ports.iter().fold(0, |differing, port| differing | port ^ ports[0]) == 0
}

#[inline(always)]
fn batch_of<'a, F>(port: u16, tx: &'a mut [Vec<F>], rest: &'a mut Vec<F>) -> &'a mut Vec<F> {
    tx.get_mut(usize::from(port)).unwrap_or(rest)
}

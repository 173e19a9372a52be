//! The straight path in plain Rust.

use wire::Frame;
use wire::prefetch::prefetch;

use super::{
    CHECKSUM, ETHERNET, HEADERS, HeaderFilter, PASS, SOURCE, TTL, Tables, is_dirty, is_plain_though_dirty,
};
use crate::adjacency::ADDEND_LEN;
use crate::cycles::LoopStage;

/// What the first stage found out for the second.
#[derive(Clone, Copy, Default)]
struct Parsed {
    /// Destination, host order.
    dst: u32,
    /// Bytes of the frame past its Ethernet header, padding included; `NOT_PLAIN` if the frame takes the
    /// general path.
    room: u32,
}

/// A length that fits no MTU.
const NOT_PLAIN: u32 = u32::MAX;

pub(super) fn forward_burst<F: Frame>(
    tables: Tables<'_>,
    frames: &mut Vec<F>,
    tx: &mut [Vec<F>],
    rest: &mut Vec<F>,
) {
    let mut parsed = [Parsed::default(); PASS];
    while !frames.is_empty() {
        let count = frames.len().min(PASS);
        // Two stages: by the time the second reads the route table, the first has asked for it.
        for (frame, parsed) in frames.iter().zip(&mut parsed) {
            *parsed = parse(tables.filter, frame);
            prefetch(&tables.fib.level1[(parsed.dst >> 8) as usize]);
        }
        tables.watch.lap(LoopStage::Parse);
        for (frame, parsed) in frames.drain(..count).zip(&parsed) {
            route(tables, frame, *parsed, tx, rest);
        }
        tables.watch.lap(LoopStage::Route);
    }
}

/// Both stages for one frame.
pub(super) fn forward_one<F: Frame>(tables: Tables<'_>, frame: F, tx: &mut [Vec<F>], rest: &mut Vec<F>) {
    let parsed = parse(tables.filter, &frame);
    route(tables, frame, parsed, tx, rest);
}

/// Looks up and rewrites one frame, and moves it to its batch.
#[inline(always)]
fn route<F: Frame>(tables: Tables<'_>, mut frame: F, parsed: Parsed, tx: &mut [Vec<F>], rest: &mut Vec<F>) {
    let (addend, egress) = tables.adjacencies.get(tables.fib.lookup(parsed.dst)).straight();
    match frame.data_mut().first_chunk_mut() {
        Some(header) if parsed.room <= egress >> 16 => {
            write_header(header, addend);
            tx[(egress & 0xffff) as usize].push(frame);
        }
        _ => rest.push(frame),
    }
}

/// Checks one frame's header.
fn parse<F: Frame>(filter: &HeaderFilter, frame: &F) -> Parsed {
    let Some(header) = frame.data().first_chunk::<HEADERS>() else {
        return Parsed { dst: 0, room: NOT_PLAIN };
    };
    let room = (frame.len() - ETHERNET) as u32;
    let flags = frame.rx_flags();
    let plain = is_plain(filter, header, room) && (!is_dirty(flags) || is_plain_though_dirty(flags, header));
    let dst = u32::from_be_bytes([header[30], header[31], header[32], header[33]]);
    Parsed { dst, room: if plain { room } else { NOT_PLAIN } }
}

/// The range checks of [`HeaderFilter`], and that the lengths agree, without branches.
fn is_plain(filter: &HeaderFilter, header: &[u8; HEADERS], room: u32) -> bool {
    /// Ethertype, version and header length, as the bytes at 12 lie in a little-endian word.
    const PLAIN_IPV4: u32 = 0x45_0008;
    let mac = (u64_at(header, 0) ^ filter.mac) << 16;
    let kind = (u32_at(header, 12) ^ PLAIN_IPV4) << 8;
    let total = u32::from(u16::from_be_bytes([header[16], header[17]]));
    let source = header[SOURCE];
    let host = (source.wrapping_sub(1) < 223) & (source != 127);
    (mac | u64::from(kind) == 0) & (header[TTL] >= 2) & host & (total >= 20) & (total <= room)
}

/// Writes the Ethernet header and takes one off the TTL.
fn write_header(header: &mut [u8; HEADERS], addend: &[u8; ADDEND_LEN]) {
    // The two bytes after the Ethernet header stay.
    let tail = u64_at(header, 8) >> 48 << 48 | u64_at(addend, 8);
    header[..8].copy_from_slice(&addend[..8]);
    header[8..16].copy_from_slice(&tail.to_le_bytes());
    // In a little-endian word: the TTL is the lowest byte, and is not 0; the checksum is the upper half, its
    // high byte first, so that the 0x100 more (RFC 1624) is one more there, a carry added at the other end.
    const { assert!(CHECKSUM == TTL + 2) };
    let (word, carry) = u32_at(header, TTL).overflowing_add(0x1_0000);
    let word = word + (u32::from(carry) << 16) - 1;
    header[TTL..TTL + 4].copy_from_slice(&word.to_le_bytes());
}

/// Eight bytes from `at` on, little-endian.
fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Four bytes from `at` on, little-endian.
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

//! The straight path in plain Rust.

use wire::Frame;

use super::prefetch::prefetch;
use super::{
    CHECKSUM, ETHERNET, HEADERS, HeaderFilter, PASS, SOURCE, TTL, Tables, is_dirty, is_plain_though_dirty,
};
use crate::adjacency::Adjacency;

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
        for (mut frame, parsed) in frames.drain(..count).zip(&parsed) {
            let adjacency = tables.adjacencies.get(tables.fib.lookup(parsed.dst));
            let (rewrite, egress) = adjacency.straight();
            match frame.data_mut().first_chunk_mut() {
                Some(header) if parsed.room <= egress >> 16 => {
                    write_header(header, rewrite);
                    tx[(egress & 0xffff) as usize].push(frame);
                }
                _ => rest.push(frame),
            }
        }
    }
}

/// Checks one frame's header.
fn parse<F: Frame>(filter: &HeaderFilter, frame: &F) -> Parsed {
    let Some(header) = frame.data().first_chunk::<HEADERS>() else {
        return Parsed { dst: 0, room: NOT_PLAIN };
    };
    let room = frame.len() - ETHERNET;
    let total = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let lengths_agree = (20..=room).contains(&total);
    let flags = frame.rx_flags();
    let plain = is_plain(filter, header)
        && lengths_agree
        && (!is_dirty(flags) || is_plain_though_dirty(flags, header));
    let dst = u32::from_be_bytes([header[30], header[31], header[32], header[33]]);
    Parsed { dst, room: if plain { room as u32 } else { NOT_PLAIN } }
}

/// The range checks of [`HeaderFilter`], without branches.
fn is_plain(filter: &HeaderFilter, header: &[u8; HEADERS]) -> bool {
    let mac = header[..6] == filter.mac.0;
    let kind = header[12..15] == [0x08, 0x00, 0x45];
    let source = header[SOURCE];
    let host = (source.wrapping_sub(1) < 223) & (source != 127);
    mac & kind & (header[TTL] >= 2) & host
}

/// Writes the Ethernet header and takes one off the TTL.
fn write_header(header: &mut [u8; HEADERS], rewrite: &[u8; crate::adjacency::REWRITE_LEN]) {
    header[..ETHERNET].copy_from_slice(&rewrite[..ETHERNET]);
    header[TTL] -= 1;
    // RFC 1624: with the TTL's word 0x100 less, the checksum is 0x100 more, carry added at the other end.
    let sum = u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]]);
    let (sum, carry) = sum.overflowing_add(0x100);
    header[CHECKSUM..CHECKSUM + 2].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
}

const _: () = assert!(size_of::<Adjacency>() == 64);

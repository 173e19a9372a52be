//! The options of packets that are forwarded (RFC 791 section 3.1, RFC 1812 section 5.2.4, RFC 7126).

use std::net::Ipv4Addr;

use wire::checksum::checksum;
use wire::ipv4::{Ipv4Options, option};
use wire::{DropReason, Instant, Ipv4Header, Ipv4View};

/// Why a packet is not forwarded for its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadOptions {
    /// An option is malformed.
    Malformed {
        /// The byte of the packet at fault, for an ICMP parameter problem.
        pointer: u8,
    },
    /// The sender asks for a route of its own, which is refused (RFC 7126 section 4.3). Nothing is answered.
    SourceRoute,
}

impl BadOptions {
    /// The drop's reason: the same for all.
    pub const fn reason(self) -> DropReason {
        DropReason::Ipv4BadOptions
    }
}

/// Who handles the packet, for the options that record it.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// Our address on the interface by which the packet leaves (RFC 1812 section 5.2.4.2).
    pub addr: Ipv4Addr,
    /// The time; recorded in milliseconds, marked as not being universal time (RFC 791 section 3.1).
    pub now: Instant,
}

/// Does what the options of a packet ask of a router: fills in record route and timestamp, and corrects
/// the header checksum. Options that ask for nothing, or that are unknown, are left as they are
/// (RFC 1812 section 4.2.2.6).
///
/// `packet` starts at an IPv4 header that was checked. If an option is bad, nothing is changed.
///
/// # Errors
/// [`BadOptions`] for the first bad option.
pub fn process(packet: &mut [u8], hop: Hop) -> Result<(), BadOptions> {
    let Ok(view) = Ipv4View::parse(packet, usize::MAX) else {
        return Err(BadOptions::Malformed { pointer: 0 });
    };
    let (options, len) = (view.options, view.options.len());
    let mut filled = [0; Ipv4Header::MAX_LEN - Ipv4Header::LEN];
    filled[..len].copy_from_slice(options);
    for item in Ipv4Options::new(options) {
        let item = item.map_err(|bad| malformed(bad.offset, 0))?;
        let copy = &mut filled[item.offset..item.offset + item.bytes.len()];
        match item.kind {
            option::LOOSE_SOURCE_ROUTE | option::STRICT_SOURCE_ROUTE => return Err(BadOptions::SourceRoute),
            option::RECORD_ROUTE => record_route(copy, hop),
            option::TIMESTAMP => timestamp(copy, hop),
            _ => Ok(()),
        }
        .map_err(|byte| malformed(item.offset, byte))?;
    }
    if options != &filled[..len] {
        let header = &mut packet[..Ipv4Header::LEN + len];
        header[Ipv4Header::LEN..].copy_from_slice(&filled[..len]);
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    Ok(())
}

/// The fault at `byte` of the option at `offset`. A header has 60 bytes at most.
fn malformed(offset: usize, byte: usize) -> BadOptions {
    BadOptions::Malformed { pointer: (Ipv4Header::LEN + offset + byte) as u8 }
}

/// Type, length, pointer (counted from 1), then addresses. The error is the byte at fault.
fn record_route(option: &mut [u8], hop: Hop) -> Result<(), usize> {
    let Some(slot) = next_slot(option, 3, 4)? else { return Ok(()) };
    option[slot..slot + 4].copy_from_slice(&hop.addr.octets());
    option[2] += 4;
    Ok(())
}

/// Type, length, pointer, overflow count and flag, then timestamps, with or without addresses. The error
/// is the byte at fault.
fn timestamp(option: &mut [u8], hop: Hop) -> Result<(), usize> {
    const ONLY_TIMES: u8 = 0;
    const WITH_ADDRESSES: u8 = 1;
    const OF_GIVEN_ADDRESSES: u8 = 3;
    const NOT_UNIVERSAL_TIME: u32 = 1 << 31;

    let (overflow, flag) = match option.get(3) {
        Some(byte) => (byte >> 4, byte & 0xf),
        None => return Err(1),
    };
    let size = match flag {
        ONLY_TIMES => 4,
        WITH_ADDRESSES | OF_GIVEN_ADDRESSES => 8,
        _ => return Err(3),
    };
    let Some(slot) = next_slot(option, 4, size)? else {
        if flag != OF_GIVEN_ADDRESSES {
            // The count is four bits wide; a packet that overflows it too is in error.
            option[3] = (overflow + 1).checked_mul(16).ok_or(3_usize)? | flag;
        }
        return Ok(());
    };
    let entry = &mut option[slot..slot + size];
    if flag == OF_GIVEN_ADDRESSES && entry[..4] != hop.addr.octets() {
        return Ok(());
    }
    let millis = (hop.now.as_nanos() / 1_000_000) as u32 | NOT_UNIVERSAL_TIME;
    entry[size - 4..].copy_from_slice(&millis.to_be_bytes());
    if flag == WITH_ADDRESSES {
        entry[..4].copy_from_slice(&hop.addr.octets());
    }
    option[2] += size as u8;
    Ok(())
}

/// Where in the option its pointer says that the next entry of `size` bytes goes, or `None` if it is
/// full. The entries start at byte `first`; room for a part of one is an error, as is a bad pointer.
fn next_slot(option: &[u8], first: usize, size: usize) -> Result<Option<usize>, usize> {
    let pointer = usize::from(*option.get(2).ok_or(1_usize)?);
    let slot = pointer.checked_sub(1).filter(|slot| *slot >= first).ok_or(2_usize)?;
    match option.len().checked_sub(slot) {
        None | Some(0) => Ok(None),
        Some(room) if room < size => Err(2),
        Some(_) => Ok(Some(slot)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::{IntoBytes, U16};

    const ADDR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
    const HOP: Hop = Hop { addr: ADDR, now: Instant::from_millis(0x0102_0304) };

    fn packet(options: &[u8]) -> Vec<u8> {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 1, 0, 1));
        let mut header = Ipv4Header::new(src, dst, 17, options.len() + 4);
        header.version_ihl = 0x45 + (options.len() / 4) as u8;
        let sum = wire::checksum::Sum::new().add_bytes(header.as_bytes()).add_bytes(options);
        header.checksum = U16::new(sum.finish());
        [header.as_bytes(), options, b"data"].concat()
    }

    #[test]
    fn what_each_option_asks_is_done() {
        let bad = |pointer| Err(BadOptions::Malformed { pointer });
        let refused = Err(BadOptions::SourceRoute);
        // (options, what becomes of them)
        type Case = (&'static [u8], Result<&'static [u8], BadOptions>);
        let cases: &[Case] = &[
            // Nothing to do.
            (&[], Ok(&[])),
            (&[1, 1, 1, 0], Ok(&[1, 1, 1, 0])),
            (&[148, 4, 0, 0], Ok(&[148, 4, 0, 0])),
            (&[0x9e, 4, 9, 9], Ok(&[0x9e, 4, 9, 9])),
            (&[0, 131, 3, 4], Ok(&[0, 131, 3, 4])),
            // Source routes.
            (&[131, 3, 4, 0], refused),
            (&[1, 137, 3, 4], refused),
            // Record route: room, the last room, full, long full.
            (&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], Ok(&[7, 11, 8, 192, 0, 2, 9, 0, 0, 0, 0, 0])),
            (&[1, 7, 11, 8, 1, 2, 3, 4, 0, 0, 0, 0], Ok(&[1, 7, 11, 12, 1, 2, 3, 4, 192, 0, 2, 9])),
            (&[7, 7, 8, 1, 2, 3, 4, 0], Ok(&[7, 7, 8, 1, 2, 3, 4, 0])),
            (&[7, 7, 255, 1, 2, 3, 4, 0], Ok(&[7, 7, 255, 1, 2, 3, 4, 0])),
            (&[7, 3, 4, 0], Ok(&[7, 3, 4, 0])),
            // Record route: pointer too low, into the middle, no pointer, length past the end.
            (&[7, 7, 3, 0, 0, 0, 0, 0], bad(22)),
            (&[7, 7, 0, 0, 0, 0, 0, 0], bad(22)),
            (&[7, 7, 5, 0, 0, 0, 0, 0], bad(22)),
            (&[1, 1, 7, 2], bad(23)),
            (&[1, 1, 1, 7], bad(23)),
            (&[7, 9, 4, 0, 0, 0, 0, 0], bad(20)),
            // Timestamps only.
            (&[68, 8, 5, 0, 0, 0, 0, 0], Ok(&[68, 8, 9, 0, 0x81, 2, 3, 4])),
            (&[68, 8, 9, 0, 1, 1, 1, 1], Ok(&[68, 8, 9, 0x10, 1, 1, 1, 1])),
            (&[68, 8, 9, 0xe0, 1, 1, 1, 1], Ok(&[68, 8, 9, 0xf0, 1, 1, 1, 1])),
            (&[68, 8, 9, 0xf0, 1, 1, 1, 1], bad(23)),
            // With addresses.
            (&[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0], Ok(&[68, 12, 13, 1, 192, 0, 2, 9, 0x81, 2, 3, 4])),
            (&[68, 8, 5, 1, 0, 0, 0, 0], bad(22)),
            // Of given addresses: ours, another's, none left.
            (&[68, 12, 5, 3, 192, 0, 2, 9, 0, 0, 0, 0], Ok(&[68, 12, 13, 3, 192, 0, 2, 9, 0x81, 2, 3, 4])),
            (&[68, 12, 5, 3, 192, 0, 2, 8, 0, 0, 0, 0], Ok(&[68, 12, 5, 3, 192, 0, 2, 8, 0, 0, 0, 0])),
            (&[68, 12, 13, 3, 192, 0, 2, 8, 0, 0, 0, 0], Ok(&[68, 12, 13, 3, 192, 0, 2, 8, 0, 0, 0, 0])),
            // Timestamp: bad pointer, bad flag, no flag.
            (&[68, 8, 4, 0, 0, 0, 0, 0], bad(22)),
            (&[68, 8, 5, 2, 0, 0, 0, 0], bad(23)),
            (&[68, 3, 5, 0], bad(21)),
        ];
        for (options, want) in cases {
            let before = packet(options);
            let mut after = before.clone();
            assert_eq!(process(&mut after, HOP), want.map(|_| ()), "{options:?}");
            assert_eq!(after, packet(want.unwrap_or(options)), "{options:?}");
        }
    }

    #[test]
    fn nothing_is_changed_if_a_later_option_is_bad() {
        let options = [7, 7, 4, 0, 0, 0, 0, 68, 8, 5, 2, 0];
        let mut bytes = packet(&options);
        assert_eq!(process(&mut bytes, HOP), Err(BadOptions::Malformed { pointer: 27 }));
        assert_eq!(bytes, packet(&options));
    }

    #[test]
    fn truncation_at_every_length() {
        let whole = packet(&[7, 7, 4, 0, 0, 0, 0, 0]);
        for len in 0..whole.len() {
            let mut bytes = whole[..len].to_vec();
            assert_eq!(process(&mut bytes, HOP).is_ok(), len >= 28, "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_options_keep_the_checksum_right(words in proptest::collection::vec(
            prop_oneof![Just([7, 11, 4, 0]), Just([68, 12, 5, 1]), any::<[u8; 4]>()], 0..=10,
        )) {
            let mut bytes = packet(&words.concat());
            let _ = process(&mut bytes, HOP);
            prop_assert!(Ipv4View::parse(&bytes, bytes.len()).unwrap().checksum_ok());
            prop_assert_eq!(&bytes[bytes.len() - 4..], b"data");
        }
    }
}

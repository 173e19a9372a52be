//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are kept in the machine's byte order, which RFC 1071 section 2 (B) shows to be the same sum
//! with its bytes swapped; they are turned round once, at the end. All `u16` values that go in or come
//! out are in host order: a header field holds `U16::new(value)`.

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::transmute_ref;

use crate::frame::{Frame, Payload};
use crate::ipv4::Ipv4Header;

/// A sum being taken over pieces of a message, such as a pseudo header and the segments of a chain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// A one's complement sum, not folded: 2^32 words of 32 bits fit.
    acc: u64,
    /// Whether the bytes so far are odd in number, so that the next one is the low half of a word.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Sum { acc: 0, odd: false }
    }

    /// Adds bytes. Pieces may have any length: the next piece goes on where this one ends.
    #[inline]
    #[must_use]
    pub fn add_bytes(mut self, bytes: &[u8]) -> Self {
        let piece = sum_bytes(bytes);
        self.acc += if self.odd { u64::from(fold(piece).swap_bytes()) } else { piece };
        self.odd ^= bytes.len() % 2 == 1;
        self
    }

    /// Adds bytes whose sum was taken before: `after` begins at their first byte.
    #[inline]
    #[must_use]
    pub fn add_sum(mut self, after: Sum) -> Self {
        let piece = fold(after.acc);
        self.acc += u64::from(if self.odd { piece.swap_bytes() } else { piece });
        self.odd ^= after.odd;
        self
    }

    /// Adds `len` bytes of a chain from `offset` on, or those up to its end.
    #[must_use]
    pub fn add_frame<F: Frame>(self, frame: &F, offset: usize, len: usize) -> Self {
        self.add_chunks(|at| frame.chunk(at), offset, len)
    }

    /// Adds `len` bytes of `payload` from `offset` on, or those up to its end.
    #[must_use]
    pub fn add_payload<P: Payload>(self, payload: &P, offset: usize, len: usize) -> Self {
        self.add_chunks(|at| payload.chunk(at), offset, len)
    }

    #[inline]
    fn add_chunks<'a>(mut self, chunk: impl Fn(usize) -> &'a [u8], offset: usize, len: usize) -> Self {
        let (mut at, mut left) = (offset, len);
        while left > 0 {
            let chunk = chunk(at);
            let chunk = &chunk[..chunk.len().min(left)];
            if chunk.is_empty() {
                break;
            }
            self = self.add_bytes(chunk);
            at += chunk.len();
            left -= chunk.len();
        }
        self
    }

    /// Adds a 16-bit word given in host order.
    ///
    /// To be called at even offsets only, as with pseudo headers.
    #[inline]
    #[must_use]
    pub fn add_u16(mut self, word: u16) -> Self {
        debug_assert!(!self.odd, "a word starts at an even offset");
        self.acc += u64::from(word.to_be());
        self
    }

    /// The checksum, in host order, of all that was added: zero if that included a right checksum.
    #[inline]
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.partial()
    }

    /// The sum itself, in host order, not inverted: what the field of an open checksum holds
    /// ([`OpenChecksum`](crate::OpenChecksum)).
    #[inline]
    #[must_use]
    pub fn partial(self) -> u16 {
        u16::from_be(fold(self.acc))
    }
}

/// The checksum of `bytes`; zero if they include a right one.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::new().add_bytes(bytes).finish()
}

/// The pseudo header of TCP and UDP over IPv4 (RFC 9293 section 3.1): start from it and add the segment.
///
/// `len` is that of the segment, header included.
#[inline]
pub fn pseudo_header(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, len: u16) -> Sum {
    let addresses = u64::from(u32::from_ne_bytes(src.octets())) + u64::from(u32::from_ne_bytes(dst.octets()));
    Sum { acc: addresses, odd: false }.add_u16(u16::from(protocol)).add_u16(len)
}

/// The checksum of a header without options, taken as if its checksum field were zero.
#[inline]
pub fn ipv4_header(header: &Ipv4Header) -> u16 {
    let mut header = *header;
    header.checksum = U16::ZERO;
    u16::from_be(!fold(sum_header(&header)))
}

/// Whether the checksum of a header without options is right.
#[inline]
pub fn ipv4_header_ok(header: &Ipv4Header) -> bool {
    fold(sum_header(header)) == 0xffff
}

/// The checksum after one 16-bit word that it covers changed from `old` to `new`, at an even offset
/// (RFC 1624 equation 3).
#[inline]
#[must_use]
pub fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// Takes one off the TTL and corrects the checksum (RFC 1624, RFC 1812 section 5.3.1).
///
/// The TTL is the high byte of its word: the word falls by 0x0100, so the checksum rises by as much,
/// with the carry brought round, and 0xffff, which is no sum's checksum, taken for 0. The TTL must be 1
/// at least; a router drops it below 2.
#[inline]
pub fn ttl_decrement(header: &mut Ipv4Header) {
    debug_assert!(header.ttl > 0, "a packet whose TTL is zero is not forwarded");
    header.ttl = header.ttl.wrapping_sub(1);
    let sum = u32::from(header.checksum.get()) + 0x0100;
    header.checksum = U16::new((sum + ((sum + 1) >> 16)) as u16);
}

/// Adds the words of a 20-byte header, in the machine's byte order.
#[inline]
fn sum_header(header: &Ipv4Header) -> u64 {
    let words: &[[u8; 4]; 5] = transmute_ref!(header);
    words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

/// Adds the 16-bit words of `bytes`, in the machine's byte order; an odd last byte is padded with zero.
///
/// The words are added 32 bits at a time into 64-bit lanes, which cannot overflow below 2^32 words and
/// which the compiler turns into vector additions.
#[inline]
fn sum_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = sum_by_widest(words);
    if rest.is_empty() {
        return sum;
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    sum + sum_words(&[last])
}

/// From so many bytes on the wider registers pay.
const LONG: usize = 256;

/// As [`sum_words`], with the widest registers that the machine has.
#[inline]
fn sum_by_widest(words: &[[u8; 8]]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if size_of_val(words) >= LONG && std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn sum_by_avx2(words: &[[u8; 8]]) -> u64 {
            sum_words(words)
        }
        #[expect(unsafe_code, reason = "SSE2 takes twice as long for the data of a segment")]
        // SAFETY: the machine has AVX2.
        return unsafe { sum_by_avx2(words) };
    }
    sum_words(words)
}

/// Adds the halves of each word. Inlined, so that it is compiled for what its caller may use.
#[inline(always)]
fn sum_words(words: &[[u8; 8]]) -> u64 {
    let (mut low, mut high) = (0, 0);
    for word in words {
        let word = u64::from_ne_bytes(*word);
        low += word & 0xffff_ffff;
        high += word >> 32;
    }
    low + high
}

/// Folds a sum to 16 bits, bringing the carries round. Zero only for zero.
#[inline]
fn fold(sum: u64) -> u16 {
    // Added to itself with its halves swapped: the lower half's carry comes round into the upper.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::FromBytes;

    /// The definition: one's complement sum of big-endian words, carries brought round one by one.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        !(sum as u16)
    }

    /// Payload of which no more than `piece` bytes lie together.
    struct Pieces<'a> {
        bytes: &'a [u8],
        piece: usize,
    }

    impl Payload for Pieces<'_> {
        fn len(&self) -> usize {
            self.bytes.len()
        }

        fn chunk(&self, offset: usize) -> &[u8] {
            let rest = self.bytes.get(offset..).unwrap_or_default();
            &rest[..rest.len().min(self.piece)]
        }

        fn advance(&mut self, n: usize) {
            self.bytes = &self.bytes[n.min(self.bytes.len())..];
        }

        fn truncate(&mut self, len: usize) {
            self.bytes = &self.bytes[..len.min(self.bytes.len())];
        }
    }

    fn header() -> impl Strategy<Value = Ipv4Header> {
        any::<[u8; 20]>().prop_map(|mut bytes| {
            bytes[0] = 0x45;
            Ipv4Header::read_from_bytes(&bytes).unwrap()
        })
    }

    #[test]
    fn example_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0xff, 0xff, 0xff, 0xff]), 0);
    }

    #[test]
    fn long_messages_do_not_overflow() {
        let bytes = vec![0xff; 65_536];
        assert_eq!(checksum(&bytes), naive(&bytes));
    }

    #[test]
    fn ttl_decrement_avoids_negative_zero() {
        // Every word but the TTL's is zero or cancels, so that the sum passes through 0xffff.
        for checksum in [0xfeff_u16, 0xff00, 0xffff, 0xfefe, 0] {
            let mut header = Ipv4Header { version_ihl: 0x45, ttl: 9, ..Ipv4Header::default() };
            // Choose the identification so that the right checksum is the one wanted.
            let mut rest = header;
            rest.checksum = U16::new(checksum);
            header.id = U16::new(super::checksum(zerocopy::IntoBytes::as_bytes(&rest)));
            header.fill_checksum();
            ttl_decrement(&mut header);
            assert_eq!(header.checksum.get(), ipv4_header(&header), "from {checksum:#06x}");
        }
    }

    proptest! {
        #[test]
        fn sum_is_the_naive_sum(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(checksum(&bytes), naive(&bytes));
        }

        #[test]
        fn pieces_sum_as_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            cuts in proptest::collection::vec(0..100_usize, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let sum = cuts.windows(2).fold(Sum::new(), |sum, w| sum.add_bytes(&bytes[w[0]..w[1]]));
            prop_assert_eq!(sum.finish(), naive(&bytes));
        }

        #[test]
        fn payload_sums_as_its_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..100), piece in 1..40_usize,
            offset in 0..120_usize, len in 0..120_usize,
        ) {
            let from = offset.min(bytes.len());
            let range = from..(offset + len).min(bytes.len()).max(from);
            let sum = Sum::new().add_payload(&Pieces { bytes: &bytes, piece }, offset, len);
            prop_assert_eq!(sum.finish(), naive(&bytes[range]));
        }

        #[test]
        fn pseudo_header_is_the_naive_sum(
            src in any::<[u8; 4]>(), dst in any::<[u8; 4]>(), protocol in any::<u8>(),
            data in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let len = (data.len() as u16).to_be_bytes();
            let all = [&src[..], &dst, &[0, protocol], &len, &data].concat();
            let sum = pseudo_header(src.into(), dst.into(), protocol, data.len() as u16);
            prop_assert_eq!(sum.add_bytes(&data).finish(), naive(&all));
        }

        #[test]
        fn header_checksum_is_the_naive_sum(header in header()) {
            let mut zeroed = header;
            zeroed.checksum = U16::ZERO;
            let right = naive(zerocopy::IntoBytes::as_bytes(&zeroed));
            prop_assert_eq!(ipv4_header(&header), right);
            zeroed.checksum = U16::new(right);
            prop_assert!(ipv4_header_ok(&zeroed));
            zeroed.checksum = U16::new(right.wrapping_add(1));
            prop_assert!(!ipv4_header_ok(&zeroed));
        }

        #[test]
        fn update_is_the_naive_sum(
            mut bytes in proptest::collection::vec(any::<u8>(), 4..40), at in 0..20_usize, new in any::<u16>(),
        ) {
            let at = at * 2 % (bytes.len() / 2 * 2);
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            let before = naive(&bytes);
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            // A message of zeros alone is the one whose sum is +0: no header is.
            prop_assume!(bytes.iter().any(|b| *b != 0));
            prop_assert_eq!(update_u16(before, old, new), naive(&bytes));
        }

        #[test]
        fn ttl_decrement_is_the_naive_sum(mut header in header(), ttl in 1..=255_u8) {
            header.ttl = ttl;
            header.fill_checksum();
            ttl_decrement(&mut header);
            prop_assert_eq!(header.ttl, ttl - 1);
            prop_assert_eq!(header.checksum.get(), ipv4_header(&header));
        }
    }
}

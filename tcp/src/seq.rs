//! Sequence numbers.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

/// A sequence number: a place in the byte stream, modulo 2^32, in host order.
///
/// There is no `Ord`: modulo 2^32 the order is not transitive. [`SeqNumber::before`] and its kin answer
/// for two numbers less than 2^31 apart, as all that belong to one connection at one time are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNumber(u32);

impl SeqNumber {
    /// Sequence number 0.
    pub const ZERO: SeqNumber = SeqNumber(0);

    /// The sequence number `bits`.
    pub const fn new(bits: u32) -> Self {
        SeqNumber(bits)
    }

    /// The number in host order.
    pub const fn get(self) -> u32 {
        self.0
    }

    //= RFC 9293 section 3.4: comparisons are modulo 2^32, so that they go on past the wrap.
    /// Whether this comes before `other`. Exactly 2^31 apart, each comes before the other.
    #[inline]
    pub const fn before(self, other: SeqNumber) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether this comes before `other`, or is it.
    #[inline]
    pub const fn at_or_before(self, other: SeqNumber) -> bool {
        self.0 == other.0 || self.before(other)
    }

    /// Whether this comes after `other`.
    #[inline]
    pub const fn after(self, other: SeqNumber) -> bool {
        other.before(self)
    }

    /// Whether this comes after `other`, or is it.
    #[inline]
    pub const fn at_or_after(self, other: SeqNumber) -> bool {
        other.at_or_before(self)
    }

    /// How far this is past `start`, modulo 2^32.
    #[inline]
    pub const fn distance_from(self, start: SeqNumber) -> u32 {
        self.0.wrapping_sub(start.0)
    }

    /// Whether this is one of the `len` numbers from `start` on: `start <= self < start + len` of the
    /// RFC. Right for every `len`.
    #[inline]
    pub const fn is_within(self, start: SeqNumber, len: u32) -> bool {
        self.distance_from(start) < len
    }
}

impl Add<u32> for SeqNumber {
    type Output = SeqNumber;

    /// Wraps at 2^32.
    #[inline]
    fn add(self, n: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_add(n))
    }
}

impl AddAssign<u32> for SeqNumber {
    #[inline]
    fn add_assign(&mut self, n: u32) {
        *self = *self + n;
    }
}

impl Sub<u32> for SeqNumber {
    type Output = SeqNumber;

    /// Wraps at zero.
    #[inline]
    fn sub(self, n: u32) -> SeqNumber {
        SeqNumber(self.0.wrapping_sub(n))
    }
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_across_the_wrap() {
        let cases = [
            (0, 1, true),
            (1, 0, false),
            (5, 5, false),
            (u32::MAX, 0, true),
            (0, u32::MAX, false),
            (0xffff_fff0, 0x10, true),
            (0x7fff_ffff, 0x8000_0000, true),
            (0, 0x7fff_ffff, true),
            (0, 0x8000_0001, false),
        ];
        for (a, b, before) in cases {
            assert_eq!(SeqNumber::new(a).before(SeqNumber::new(b)), before, "{a:#x} before {b:#x}");
        }
    }

    /// Any number, with those about the wrap and the middle drawn often.
    fn any_seq() -> impl Strategy<Value = SeqNumber> {
        let near = |at: u32| (0..16u32).prop_map(move |n| SeqNumber::new(at.wrapping_add(n).wrapping_sub(8)));
        prop_oneof![any::<u32>().prop_map(SeqNumber::new), near(0), near(1 << 31)]
    }

    proptest! {
        /// The twin counts in 64 bits, from a place far enough from zero, and never wraps.
        #[test]
        fn compares_as_if_it_never_wrapped(start in any_seq(), step in -0x7fff_ffff..=0x7fff_ffffi64) {
            let a = i64::from(start.get()) + (1 << 40);
            let b = a + step;
            let other = SeqNumber::new(b as u32);
            prop_assert_eq!(start.before(other), a < b);
            prop_assert_eq!(start.at_or_before(other), a <= b);
            prop_assert_eq!(start.after(other), a > b);
            prop_assert_eq!(start.at_or_after(other), a >= b);
        }

        #[test]
        fn adds_and_subtracts(start in any_seq(), n: u32) {
            prop_assert_eq!(start + n - n, start);
            prop_assert_eq!((start + n).distance_from(start), n);
            let mut sum = start;
            sum += n;
            prop_assert_eq!(u64::from(sum.get()), (u64::from(start.get()) + u64::from(n)) % (1 << 32));
        }

        #[test]
        fn is_within_as_if_it_never_wrapped(start in any_seq(), len: u32, past: u32) {
            prop_assert_eq!((start + past).is_within(start, len), u64::from(past) < u64::from(len));
        }
    }
}

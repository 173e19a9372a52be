//! Range requests (RFC 9110 section 14).
//!
//! One range is served as 206. Several at once are answered by the whole representation: section 14.2 lets a
//! server ignore the field, clients that ask for several cope, and nobody can make us send a file many times
//! over by a list of ranges.

/// What of a representation is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// All: 200.
    Whole,
    /// `len` bytes, more than zero, from `start` on: 206.
    Part {
        /// The first byte's place.
        start: u64,
        /// Bytes.
        len: u64,
    },
    /// No byte that was asked for exists: 416.
    Unsatisfiable,
}

/// What the value of a Range field asks for, of a representation of `size` bytes.
pub fn resolve(value: &[u8], size: u64) -> Extent {
    //= RFC 9110 section 14.2: an unknown unit, or what is no range, is ignored.
    let Some((unit, set)) = value.split_at_checked(6) else { return Extent::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return Extent::Whole;
    }
    let mut one = None;
    for (at, spec) in set.split(|byte| *byte == b',').enumerate() {
        match (at, resolve_one(spec.trim_ascii(), size)) {
            (_, None) => return Extent::Whole,
            (0, extent) => one = extent,
            (_, Some(Extent::Unsatisfiable)) if one == Some(Extent::Unsatisfiable) => {}
            _ => one = Some(Extent::Whole),
        }
    }
    one.unwrap_or(Extent::Whole)
}

/// One range of a set; `None` if it is none.
fn resolve_one(spec: &[u8], size: u64) -> Option<Extent> {
    let dash = spec.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    let (start, end) = match (first, last) {
        (b"", _) => {
            let suffix = number(last)?;
            //= RFC 9110 section 14.1.2: a suffix longer than the representation is all of it.
            if suffix > 0 && size == 0 {
                return Some(Extent::Whole);
            }
            (size.saturating_sub(suffix), size)
        }
        (_, b"") => (number(first)?, size),
        _ => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, size.min(last.saturating_add(1)))
        }
    };
    if start >= end {
        return Some(Extent::Unsatisfiable);
    }
    Some(Extent::Part { start, len: end - start })
}

/// Digits, at least one; what is too large for 64 bits is past any end.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_hundred_bytes() {
        use Extent::{Unsatisfiable, Whole};
        let part = |start, len| Extent::Part { start, len };
        for (value, extent) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-99", part(0, 100)),
            ("bytes=0-100", part(0, 100)),
            ("bytes=0-18446744073709551615", part(0, 100)),
            ("bytes=0-99999999999999999999999", part(0, 100)),
            ("bytes=99-", part(99, 1)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=-1", part(99, 1)),
            ("bytes=-100", part(0, 100)),
            ("bytes=-5000", part(0, 100)),
            ("BYTES= 10-19 ", part(10, 10)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=99999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=100-,200-", Unsatisfiable),
            ("bytes=0-1,5-6", Whole),
            ("bytes=0-1,100-", Whole),
            ("bytes=100-,0-1", Whole),
            ("bytes=0-1,", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=5-4", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1-2-3", Whole),
            ("bytes=+1-2", Whole),
            ("bytes 0-1", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(resolve(value.as_bytes(), 100), extent, "{value}");
        }
        assert_eq!(resolve(b"bytes=0-", 0), Unsatisfiable);
        assert_eq!(resolve(b"bytes=-1", 0), Whole);
    }
}

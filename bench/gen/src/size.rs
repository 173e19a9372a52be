//! Frame sizes, as testers count them: with the frame check sequence (RFC 2544 section 9).

use std::fmt;
use std::str::FromStr;

/// Bytes of the frame check sequence, which the device appends.
pub const FCS_LEN: usize = 4;
/// Bytes of preamble and shortest gap that go with each frame on the wire.
pub const GAP_LEN: usize = 20;
/// The shortest frame.
pub const MIN_SIZE: usize = 64;
/// The longest frame.
pub const MAX_SIZE: usize = 9000;

/// The sizes of RFC 2544 section 9.1 for Ethernet.
pub const RFC2544_SIZES: [usize; 7] = [64, 128, 256, 512, 1024, 1280, 1518];

/// The simple IMIX: of twelve frames seven are short, four middling and one long.
const IMIX: [usize; 12] = [64, 570, 64, 570, 64, 64, 570, 64, 64, 570, 64, 1518];

/// Sizes of a stream's frames, played in a loop. Bytes with the frame check sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sizes {
    cycle: Vec<usize>,
}

/// Why there are no such [`Sizes`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SizeError {
    /// Out of range.
    #[error(
        "a frame of {0} bytes cannot be sent: sizes are {MIN_SIZE} to {MAX_SIZE} bytes, with the check sequence."
    )]
    Range(usize),
    /// Not a number, nor a name.
    #[error("\"{0}\" is no frame size: give bytes, such as 64 or 64,1518, or \"imix\".")]
    Unknown(String),
}

impl Sizes {
    /// Frames of one size.
    ///
    /// # Errors
    /// [`SizeError::Range`].
    pub fn fixed(size: usize) -> Result<Self, SizeError> {
        Self::cycle(vec![size])
    }

    /// The simple IMIX: 7 frames of 64 bytes, 4 of 570, 1 of 1518.
    pub fn imix() -> Self {
        Sizes { cycle: IMIX.to_vec() }
    }

    fn cycle(cycle: Vec<usize>) -> Result<Self, SizeError> {
        match cycle.iter().find(|size| !(MIN_SIZE..=MAX_SIZE).contains(*size)) {
            Some(size) => Err(SizeError::Range(*size)),
            None => Ok(Sizes { cycle }),
        }
    }

    /// The sizes in the order in which they are played.
    pub fn as_slice(&self) -> &[usize] {
        &self.cycle
    }

    /// The longest, in bytes.
    pub fn longest(&self) -> usize {
        self.cycle.iter().copied().max().unwrap_or(MIN_SIZE)
    }

    /// Mean bytes of a frame on the wire, preamble and gap included.
    pub fn mean_on_wire(&self) -> f64 {
        let bytes: usize = self.cycle.iter().map(|size| size + GAP_LEN).sum();
        bytes as f64 / self.cycle.len() as f64
    }

    /// Frames a second that fill `percent` of a line of `bits_per_second`.
    pub fn pps(&self, bits_per_second: f64, percent: f64) -> f64 {
        bits_per_second * percent / 100.0 / (self.mean_on_wire() * 8.0)
    }
}

impl FromStr for Sizes {
    type Err = SizeError;

    /// `imix`, or sizes with commas between them.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::imix());
        }
        let sizes = text.split(',').map(|size| size.trim().parse());
        let sizes = sizes.collect::<Result<Vec<usize>, _>>();
        Self::cycle(sizes.map_err(|_| SizeError::Unknown(text.to_owned()))?)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cycle == IMIX {
            return f.write_str("imix");
        }
        let sizes: Vec<String> = self.cycle.iter().map(usize::to_string).collect();
        f.write_str(&sizes.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints() {
        for text in ["64", "64,1518", "imix", "9000"] {
            assert_eq!(text.parse::<Sizes>().unwrap().to_string(), text);
        }
        assert_eq!("63".parse::<Sizes>(), Err(SizeError::Range(63)));
        assert_eq!("64,9001".parse::<Sizes>(), Err(SizeError::Range(9001)));
        assert_eq!("big".parse::<Sizes>(), Err(SizeError::Unknown("big".into())));
    }

    #[test]
    fn line_rate_of_ten_gigabit() {
        let rate = |text: &str| text.parse::<Sizes>().unwrap().pps(10e9, 100.0).round();
        assert_eq!(rate("64"), 14_880_952.0);
        assert_eq!(rate("1518"), 812_744.0);
        // Seven of 84 bytes, four of 590 and one of 1538 on the wire.
        assert_eq!(rate("imix"), (10e9 * 12.0 / 8.0 / f64::from(7 * 84 + 4 * 590 + 1538)).round());
    }
}

//! The options of a segment, read once, and written.

use wire::tcp::{TcpOption, TcpOptions, option};

use crate::SeqNumber;

/// A range of sequence numbers, the last one excluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SeqRange {
    /// The first number.
    pub start: SeqNumber,
    /// The number past the last.
    pub end: SeqNumber,
}

impl SeqRange {
    /// How many numbers it holds.
    pub const fn len(self) -> u32 {
        self.end.distance_from(self.start)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The timestamps option (RFC 7323 section 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: what it echoes; means something only with an ACK.
    pub echo: u32,
}

/// Up to four SACK blocks, in the order of the segment (RFC 2018 section 3: the first is the newest).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SackBlocks {
    blocks: [SeqRange; 4],
    len: u8,
}

impl SackBlocks {
    /// No blocks.
    pub const NONE: SackBlocks =
        SackBlocks { blocks: [SeqRange { start: SeqNumber::ZERO, end: SeqNumber::ZERO }; 4], len: 0 };

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a block; no effect on the fifth.
    pub fn push(&mut self, block: SeqRange) {
        if let Some(slot) = self.blocks.get_mut(usize::from(self.len)) {
            *slot = block;
            self.len += 1;
        }
    }

    /// The blocks.
    pub fn as_slice(&self) -> &[SeqRange] {
        &self.blocks[..usize::from(self.len)]
    }

    /// Keeps the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len as u8);
        // Equal means equal: nothing is left behind.
        self.blocks[usize::from(self.len)..].fill(SeqRange::default());
    }
}

/// What a segment's options say. What was malformed or is not known is left out (RFC 9293 section
/// 3.1, MUST-6 and MUST-7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Maximum segment size, in bytes of data. Only looked at in a SYN.
    pub mss: Option<u16>,
    /// Window scale, 14 at most. Only looked at in a SYN.
    pub window_scale: Option<u8>,
    /// Whether the sender takes SACK. Only looked at in a SYN.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK blocks.
    pub sack: SackBlocks,
}

//= RFC 7323 section 2.3: a shift past 14 is taken as 14.
const MAX_WINDOW_SCALE: u8 = 14;

impl Options {
    /// The most bytes that options take up.
    pub const MAX_LEN: usize = 40;

    /// Reads the bytes between the fixed header and the data.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Self {
        // What nearly every segment of a connection carries: NOP, NOP, timestamps.
        if let [option::NOP, option::NOP, option::TIMESTAMPS, 10, a, b, c, d, e, f, g, h] = *bytes {
            let timestamps = Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo: u32::from_be_bytes([e, f, g, h]),
            };
            return Options { timestamps: Some(timestamps), ..Options::default() };
        }
        if bytes.is_empty() { Options::default() } else { Self::parse_any(bytes) }
    }

    fn parse_any(bytes: &[u8]) -> Self {
        let mut options = Options::default();
        for option in TcpOptions::new(bytes).map_while(Result::ok) {
            match option {
                //= RFC 9293 section 3.7.1: an MSS of zero cannot be meant.
                TcpOption::Mss(mss) => options.mss = Some(mss).filter(|mss| *mss > 0),
                TcpOption::WindowScale(shift) => options.window_scale = Some(shift.min(MAX_WINDOW_SCALE)),
                TcpOption::SackPermitted => options.sack_permitted = true,
                TcpOption::Timestamps { value, echo } => {
                    options.timestamps = Some(Timestamps { value, echo });
                }
                TcpOption::Sack(blocks) => {
                    options.sack = SackBlocks::NONE;
                    for block in blocks {
                        let start = SeqNumber::new(block.left.get());
                        options.sack.push(SeqRange { start, end: SeqNumber::new(block.right.get()) });
                    }
                }
                TcpOption::Unknown { .. } => {}
            }
        }
        options
    }

    /// Writes the options, padded to a multiple of four bytes, in the order that Linux has them; gives
    /// how many bytes they take. SACK blocks that do not fit are left out.
    ///
    /// # Panics
    /// If `out` is shorter than [`Options::len`].
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> usize {
        // As in [`Options::parse`].
        if let Some(Timestamps { value, echo }) = self.timestamps
            && self.is_bare()
        {
            let ([a, b, c, d], [e, f, g, h]) = (value.to_be_bytes(), echo.to_be_bytes());
            let bytes = [option::NOP, option::NOP, option::TIMESTAMPS, 10, a, b, c, d, e, f, g, h];
            out[..bytes.len()].copy_from_slice(&bytes);
            return bytes.len();
        }
        self.write_any(out)
    }

    /// Whether there are none but timestamps.
    const fn is_bare(&self) -> bool {
        self.mss.is_none() && self.window_scale.is_none() && !self.sack_permitted && self.sack.len == 0
    }

    fn write_any(&self, out: &mut [u8]) -> usize {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put(&[option::MSS, 4, a, b]);
        }
        match (self.timestamps, self.sack_permitted) {
            (Some(_), true) => put(&[option::SACK_PERMITTED, 2]),
            (Some(_), false) => put(&[option::NOP, option::NOP]),
            (None, true) => put(&[option::NOP, option::NOP, option::SACK_PERMITTED, 2]),
            (None, false) => {}
        }
        if let Some(Timestamps { value, echo }) = self.timestamps {
            put(&[option::TIMESTAMPS, 10]);
            put(&value.to_be_bytes());
            put(&echo.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put(&[option::NOP, option::WINDOW_SCALE, 3, shift]);
        }
        let blocks = self.sack_that_fit();
        if !blocks.is_empty() {
            put(&[option::NOP, option::NOP, option::SACK, 2 + 8 * blocks.len() as u8]);
            for block in blocks {
                put(&block.start.get().to_be_bytes());
                put(&block.end.get().to_be_bytes());
            }
        }
        at
    }

    /// How many bytes [`Options::write`] writes.
    #[inline]
    pub fn len(&self) -> usize {
        if self.is_bare() {
            return if self.timestamps.is_some() { 12 } else { 0 };
        }
        let sack = self.sack_that_fit().len();
        self.len_without_sack() + if sack == 0 { 0 } else { 4 + 8 * sack }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len_without_sack(&self) -> usize {
        let mss = if self.mss.is_some() { 4 } else { 0 };
        let rest = match (self.timestamps, self.sack_permitted) {
            (Some(_), _) => 12,
            (None, true) => 4,
            (None, false) => 0,
        };
        mss + rest + if self.window_scale.is_some() { 4 } else { 0 }
    }

    fn sack_that_fit(&self) -> &[SeqRange] {
        let room = (Self::MAX_LEN - self.len_without_sack()).saturating_sub(4) / 8;
        let blocks = self.sack.as_slice();
        &blocks[..blocks.len().min(room)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u32, end: u32) -> SeqRange {
        SeqRange { start: SeqNumber::new(start), end: SeqNumber::new(end) }
    }

    fn written(options: &Options) -> Vec<u8> {
        let mut out = [0; Options::MAX_LEN];
        let len = options.write(&mut out);
        out[..len].to_vec()
    }

    #[test]
    fn as_on_the_wire() {
        let syn = Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 1, echo: 0 }),
            sack: SackBlocks::NONE,
        };
        let bytes = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        assert_eq!(written(&syn), bytes);
        assert_eq!(Options::parse(&bytes), syn);
    }

    #[test]
    fn odd_values() {
        assert_eq!(Options::parse(&[2, 4, 0, 0]).mss, None);
        assert_eq!(Options::parse(&[3, 3, 200, 0]).window_scale, Some(14));
        // What stands before a malformed option counts.
        assert_eq!(
            Options::parse(&[2, 4, 5, 180, 8, 1, 4, 2]),
            Options { mss: Some(1460), ..Options::default() }
        );
    }

    #[test]
    fn blocks_that_do_not_fit_are_left_out() {
        let mut options = Options { timestamps: Some(Timestamps::default()), ..Options::default() };
        for n in 0..5 {
            options.sack.push(range(n * 10, n * 10 + 5));
        }
        assert_eq!(options.sack.as_slice().len(), 4);
        let back = Options::parse(&written(&options));
        assert_eq!(back.sack.as_slice(), [range(0, 5), range(10, 15), range(20, 25)]);
        assert_eq!(options.len(), 40);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            mss in proptest::option::of(1u16..), window_scale in proptest::option::of(0..15u8),
            sack_permitted: bool, timestamps in proptest::option::of(any::<(u32, u32)>()),
            blocks in proptest::collection::vec(any::<(u32, u32)>(), 0..5),
        ) {
            let timestamps = timestamps.map(|(value, echo)| Timestamps { value, echo });
            let mut options =
                Options { mss, window_scale, sack_permitted, timestamps, sack: SackBlocks::NONE };
            blocks.into_iter().for_each(|(start, end)| options.sack.push(range(start, end)));
            let bytes = written(&options);
            prop_assert_eq!(bytes.len(), options.len());
            prop_assert_eq!(bytes.len() % 4, 0);
            let fit = options.sack_that_fit().len();
            options.sack.truncate(fit);
            prop_assert_eq!(Options::parse(&bytes), options);
        }

        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            Options::parse(&bytes);
        }
    }
}

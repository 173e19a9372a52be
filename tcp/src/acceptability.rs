//! Whether a segment lies in the receive window: the first check of every synchronized state.

use crate::{Segment, SeqNumber};

/// A window in bytes, its scale applied: 0 to [`Window::MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Window(u32);

impl Window {
    //= RFC 7323 section 2.3: scales end at 14, so that a window stays below 2^30, far from the 2^31 where
    //= old and new sequence numbers could be confused.
    /// The largest window.
    pub const MAX: Window = Window(0xffff << 14);

    /// A window of `bytes`, or of [`Window::MAX`] if that is less.
    pub const fn new(bytes: u32) -> Self {
        if bytes > Self::MAX.0 { Self::MAX } else { Window(bytes) }
    }

    /// The window in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// The sequence numbers that a receiver takes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReceiveWindow {
    /// RCV.NXT: the next sequence number expected.
    pub next: SeqNumber,
    /// RCV.WND.
    pub window: Window,
}

impl ReceiveWindow {
    //= RFC 9293 section 3.10.7.4, "First, check sequence number": the four cases of the table.
    /// Whether any of `segment` lies at the right place of the window. A segment that starts before the
    /// window and ends past it is refused, as the table has it.
    pub fn accepts(&self, segment: &Segment) -> bool {
        let ReceiveWindow { next, window } = *self;
        let within = |seq: SeqNumber| seq.is_within(next, window.0);
        match (segment.len(), window.0) {
            (0, 0) => segment.seq == next,
            (0, _) => within(segment.seq),
            (_, 0) => false,
            (len, _) => within(segment.seq) || within(segment.seq + (len - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::TcpFlags;

    use super::*;
    use crate::segment::tests::segment;

    #[test]
    fn the_table() {
        // Receive next, window, segment's sequence number, its length, accepted?
        let cases = [
            (100, 0, 100, 0, true),
            (100, 0, 99, 0, false),
            (100, 0, 101, 0, false),
            (100, 10, 99, 0, false),
            (100, 10, 100, 0, true),
            (100, 10, 109, 0, true),
            (100, 10, 110, 0, false),
            (100, 0, 100, 1, false),
            (100, 0, 99, 2, false),
            (100, 10, 100, 10, true),
            (100, 10, 109, 5, true),
            (100, 10, 110, 1, false),
            (100, 10, 95, 5, false),
            (100, 10, 95, 6, true),
            (100, 10, 95, 20, false),
            (u32::MAX - 4, 10, 4, 0, true),
            (u32::MAX - 4, 10, 5, 0, false),
            (2, 10, u32::MAX, 4, true),
            (2, 10, u32::MAX, 3, false),
        ];
        for (next, window, seq, len, want) in cases {
            let window = ReceiveWindow { next: SeqNumber::new(next), window: Window::new(window) };
            let segment = segment(seq, 0, TcpFlags::ACK, &[0; 32][..len]);
            assert_eq!(window.accepts(&segment), want, "{window:?} {seq} + {len}");
        }
    }

    #[test]
    fn a_syn_or_fin_takes_up_a_place() {
        let closed = ReceiveWindow { next: SeqNumber::new(7), window: Window::new(0) };
        assert!(closed.accepts(&segment(7, 0, TcpFlags::ACK, b"")));
        assert!(!closed.accepts(&segment(7, 0, TcpFlags::SYN, b"")));
        assert!(!closed.accepts(&segment(7, 0, TcpFlags::FIN | TcpFlags::ACK, b"")));
    }

    #[test]
    fn windows_end_at_the_largest_scale() {
        assert_eq!(Window::new(u32::MAX), Window::MAX);
        assert_eq!(Window::new(Window::MAX.bytes()).bytes(), 65_535 << 14);
    }

    proptest! {
        /// The twin counts in 64 bits, from a place where neither end wraps, in the RFC's own words.
        #[test]
        fn agrees_with_its_twin(next: u32, window in 0..200u32, offset in -100..300i64, len in 0..100usize) {
            let nxt = i64::from(next) + (1 << 40);
            let (seq, wnd, seg_len) = (nxt + offset, i64::from(window), len as i64);
            let within = |n: i64| nxt <= n && n < nxt + wnd;
            let want = match (seg_len > 0, wnd > 0) {
                (false, false) => seq == nxt,
                (false, true) => within(seq),
                (true, false) => false,
                (true, true) => within(seq) || within(seq + seg_len - 1),
            };
            let receive = ReceiveWindow { next: SeqNumber::new(next), window: Window::new(window) };
            let got = receive.accepts(&segment(seq as u32, 0, TcpFlags::ACK, &[0; 100][..len]));
            prop_assert_eq!(got, want);
        }
    }
}

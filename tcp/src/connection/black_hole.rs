//! Segments that vanish for their size (RFC 4821). Either the path carries smaller ones only, and its routers do
//! not say so: a black hole. Or it carried nothing at all for some seconds: so one segment of the old size is
//! sent to find out, once smaller ones get through.

use std::time::Duration;

use super::{Connection, Cx};
use crate::congestion::CongestionControl;
use crate::{SeqNumber, SeqRange, Tick};

/// Whether segments are smaller than they were, and may become as large again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum SizeSearch {
    /// They are as large as they ever were.
    #[default]
    Over,
    /// They were `before`, which is tried again from `from` on.
    Waits { before: u16, from: Tick },
    /// The next segment of new data is `before` long, if there is as much.
    Ready { before: u16 },
    /// It ends at `end`, and its ACK is waited for.
    Out { before: u16, end: SeqNumber },
}

impl Connection {
    //= RFC 4821 section 7.7: full-sized segments that get lost again and again may be too large for the path.
    /// The first segment was lost for the third time in a row, or more.
    pub(super) fn suspect_black_hole<B>(&mut self, cx: &mut Cx<'_, B>) {
        let mut sizes = BLACK_HOLE_MSS.into_iter().map(|mss| mss - self.options_len());
        let Some(smaller) = sizes.find(|mss| *mss < self.mss) else { return };
        // If the one that is lost is no longer than that, its size was not the reason.
        if self.next_lost(cx, self.mss).is_none_or(|lost| lost.len() <= u32::from(smaller)) {
            return;
        }
        let before = match self.size_search {
            SizeSearch::Over => self.mss,
            SizeSearch::Waits { before, .. }
            | SizeSearch::Ready { before }
            | SizeSearch::Out { before, .. } => before,
        };
        self.size_search = SizeSearch::Waits { before, from: Tick::at(cx.now) };
        self.resize(cx, smaller);
    }

    /// An ACK came, and segments are smaller than they were.
    #[cold]
    pub(super) fn search_size<B>(&mut self, cx: &mut Cx<'_, B>, ack: SeqNumber) {
        let repairing = self.sending.peek(cx.senders).is_some_and(|sender| sender.recovery.in_recovery());
        match self.size_search {
            SizeSearch::Waits { before, from } if !repairing && from.is_due(Tick::at(cx.now)) => {
                self.size_search = SizeSearch::Ready { before };
            }
            SizeSearch::Out { before, end } if ack.at_or_after(end) => {
                self.size_search = SizeSearch::Over;
                self.resize(cx, before);
            }
            _ => {}
        }
    }

    /// What the next segment of new data is to measure, if it is to be larger than others and `len` bytes are
    /// enough for it.
    #[inline]
    pub(super) fn size_to_try(&self, len: u32) -> Option<u16> {
        match self.size_search {
            SizeSearch::Ready { before } => Some(before).filter(|before| u32::from(*before) <= len),
            _ => None,
        }
    }

    /// A range was sent, and SND.NXT not yet moved.
    #[cold]
    pub(super) fn note_size_sent<B>(&mut self, cx: &Cx<'_, B>, range: SeqRange) {
        let new = range.start == self.snd_nxt;
        match self.size_search {
            SizeSearch::Ready { before } if new && range.len() >= u32::from(before) => {
                self.size_search = SizeSearch::Out { before, end: range.end };
            }
            //= RFC 4821 section 7.6.2: the probe alone was lost: the path does not carry that size.
            SizeSearch::Out { before, end } if !new && range.end.after(end - u32::from(before)) => {
                let from = Tick::at(cx.now).plus(TRY_AGAIN_AFTER);
                self.size_search = SizeSearch::Waits { before, from };
            }
            _ => {}
        }
    }

    /// Segments of `mss` bytes of data from now on.
    pub(super) fn resize<B>(&mut self, cx: &mut Cx<'_, B>, mss: u16) {
        self.mss = mss;
        if let Some(sender) = self.sending.active(cx.senders) {
            sender.congestion.set_mss(mss);
        }
    }
}

/// What the MSS becomes, one after the other: that of IPv6's least MTU, and of the packet that every host takes.
const BLACK_HOLE_MSS: [u16; 2] = [1220, 536];
//= RFC 8899 section 5.1.1: after ten minutes a larger size is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(600);

//! What to tell the sender of data out of order and of duplicates: SACK and D-SACK blocks.

use wire::Payload;

use super::{Fin, Pools, Receiver};
use crate::{SackBlocks, SeqRange};

impl Receiver {
    /// The blocks for the segment that is being sent. A duplicate is told once.
    pub fn sack_blocks<B: Payload>(&mut self, pools: &Pools<B>) -> SackBlocks {
        let mut blocks = SackBlocks::NONE;
        //= RFC 2883 section 4: the first block reports the duplicate that triggered the ACK, the next one
        //= the larger block that it is part of, and each duplicate is reported in one ACK only.
        if self.dsack_len > 0 {
            let start = self.dsack_start;
            blocks.push(SeqRange { start, end: start + u32::from(self.dsack_len) });
            self.dsack_len = 0;
        }
        //= RFC 2018 section 4: the first block has the segment that triggered the ACK; the others repeat the
        //= most recently reported ones.
        // No more fit, and behind a duplicate only three. A FIN that ends a block is told with it, or it would
        // be sent again.
        for (_, block) in pools.blocks.iter(&self.blocks).take(4) {
            let fin = self.fin == Fin::Known && block.range.end == self.fin_at;
            blocks.push(SeqRange { end: block.range.end + u32::from(fin), ..block.range });
        }
        blocks
    }

    /// How many blocks [`Receiver::sack_blocks`] would give.
    pub fn sack_count(&self) -> usize {
        (self.blocks.len() + usize::from(self.dsack_len > 0)).min(4)
    }

    /// Remembers a duplicate. It lengthens the one not told yet if it goes on there, as when a window is
    /// sent again, or else replaces it.
    pub(crate) fn report_duplicate(&mut self, range: SeqRange) {
        let pending = u32::from(self.dsack_len);
        let goes_on = pending > 0 && self.dsack_start + pending == range.start;
        let longer = if goes_on { u16::try_from(pending + range.len()).ok() } else { None };
        match longer {
            Some(len) => self.dsack_len = len,
            None => {
                self.dsack_start = range.start;
                self.dsack_len = u16::try_from(range.len()).unwrap_or(u16::MAX);
            }
        }
    }
}

//! Where data goes: behind what is in order, or between the blocks that are not.

use wire::Payload;

use super::pools::{Block, Chunk};
use super::{Arrival, Outcome, Pools, Receiver};
use crate::pool::{NodeId, Pool};
use crate::{SeqNumber, SeqRange};

/// Blocks of one connection. To find a segment's place is to look at each, so this bounds the work; a
/// window of 8,000 segments of which one in thirty was lost has about as many.
const MAX_BLOCKS: usize = 256;

/// How a segment's data lies to the blocks.
struct Fit {
    /// The part to keep; the rest is held already.
    keep: SeqRange,
    /// The chunk to put it behind.
    behind: Option<NodeId>,
    /// Whether a block overlaps or adjoins the segment.
    touches: bool,
    /// The first of the blocks that lie wholly inside the part to keep, and the bytes of all of them.
    covered: Option<SeqRange>,
    covered_len: u32,
}

impl Receiver {
    /// Takes data that lies in the window, `start` being its first byte's sequence number.
    #[inline]
    pub(super) fn take<B: Payload>(
        &mut self,
        pools: &mut Pools<B>,
        start: SeqNumber,
        bytes: B,
        outcome: &mut Outcome,
    ) {
        // The window, rounded up, may promise more than there is.
        if start == self.next && self.used >= self.limit {
            return outcome.refuse();
        }
        if start != self.next || !self.blocks.is_empty() {
            return self.place(pools, start, bytes, outcome);
        }
        if !self.has_room(pools) {
            return outcome.refuse();
        }
        let range = SeqRange { start, end: start + bytes.len() as u32 };
        match pools.chunks.push_back(&mut self.chunks, Chunk { start, bytes }) {
            Ok(last) => self.move_up(Block { range, last }, outcome),
            Err(_) => outcome.refuse(),
        }
    }

    /// Takes data that is out of order or fills a gap.
    #[cold]
    fn place<B: Payload>(
        &mut self,
        pools: &mut Pools<B>,
        start: SeqNumber,
        mut bytes: B,
        outcome: &mut Outcome,
    ) {
        let is_next = start == self.next;
        outcome.arrival = if is_next { Arrival::FillsGap } else { Arrival::OutOfOrder };
        // Without what is next, what is held behind it is worth nothing.
        let shed = if is_next && !self.has_room(pools) { self.shed(pools) } else { 0 };
        outcome.shed += shed;
        let segment = SeqRange { start, end: start + bytes.len() as u32 };
        let fit = self.fit(pools, segment);
        self.note_overlaps(segment, &fit, outcome);
        if fit.keep.is_empty() {
            outcome.arrival = Arrival::Duplicate;
            if let Some(block) = self.unlink(&mut pools.blocks, segment) {
                self.link(&mut pools.blocks, block);
            }
            return;
        }
        let has_room =
            if is_next { shed > 0 || self.has_room(pools) } else { self.has_room_behind_gap(pools) };
        let fits = fit.covered.is_some() || has_room;
        let block_fits = fit.touches || (self.blocks.len() < MAX_BLOCKS && pools.blocks.room() > 0);
        if !fits || (!is_next && !block_fits) {
            return outcome.refuse();
        }
        if fit.covered.is_some() {
            self.drop_chunks(pools, fit.behind, fit.keep.end);
        }
        bytes.advance(fit.keep.start.distance_from(start) as usize);
        bytes.truncate(fit.keep.len() as usize);
        let chunk = Chunk { start: fit.keep.start, bytes };
        let Ok(last) = pools.chunks.insert_after(&mut self.chunks, fit.behind, chunk) else {
            return outcome.refuse();
        };
        let new = Block { range: fit.keep, last };
        let block = self.unlink(&mut pools.blocks, segment).map_or(new, |held| new.join(held));
        if is_next {
            self.move_up(block, outcome);
        } else {
            self.link(&mut pools.blocks, block);
        }
    }

    /// Compares a segment with the blocks.
    fn fit<B: Payload>(&self, pools: &Pools<B>, segment: SeqRange) -> Fit {
        let SeqRange { start, end } = segment;
        let left = self.block_from(pools, start).map(|(_, block)| block);
        let known = left.map_or(start, |left| left.range.end);
        let mut fit = Fit {
            keep: SeqRange { start: if known.after(start) { known } else { start }, end },
            behind: left.map(|left| left.last).or(self.last_in_order),
            touches: known.at_or_after(start) && left.is_some(),
            covered: None,
            covered_len: 0,
        };
        if fit.keep.start.at_or_after(end) {
            fit.keep.start = end;
            return fit;
        }
        for (_, Block { range, .. }) in pools.blocks.iter(&self.blocks) {
            if range.start.at_or_before(start) || range.start.after(end) {
                continue;
            }
            fit.touches = true;
            if range.end.after(end) {
                fit.keep.end = range.start;
            } else {
                fit.covered_len += range.len();
                if fit.covered.is_none_or(|first| range.start.before(first.start)) {
                    fit.covered = Some(*range);
                }
            }
        }
        fit
    }

    fn note_overlaps(&mut self, segment: SeqRange, fit: &Fit, outcome: &mut Outcome) {
        self.on_duplicate(SeqRange { start: segment.start, end: fit.keep.start }, outcome);
        if let Some(first) = fit.covered {
            self.on_duplicate(first, outcome);
            outcome.duplicate += fit.covered_len - first.len();
        }
        self.on_duplicate(SeqRange { start: fit.keep.end, end: segment.end }, outcome);
    }

    /// Drops the upper half of the highest block, one chunk at least: the sender will find it missing last.
    /// Gives how many chunks it was.
    //= RFC 2018 section 8: the receiver may discard data that it has reported in a SACK option.
    fn shed<B: Payload>(&mut self, pools: &mut Pools<B>) -> u32 {
        let Some((id, Block { range, .. })) = self.block_from(pools, self.edge) else { return 0 };
        let below = self.block_from(pools, range.start - 1);
        let below = below.map(|(_, block)| block.last).or(self.last_in_order);
        let middle = range.start + range.len() / 2;
        let (mut last, mut end) = (below, range.start);
        while let Some(next) = last.map_or(self.chunks.first(), |id| pools.chunks.next(id)) {
            let chunk = pools.chunks.get(next);
            let chunk_end = chunk.start + chunk.bytes.len() as u32;
            if chunk_end.after(middle) {
                break;
            }
            (last, end) = (Some(next), chunk_end);
        }
        match last {
            Some(last) if end != range.start => {
                *pools.blocks.get_mut(id) = Block { range: SeqRange { end, ..range }, last };
            }
            _ => drop(self.unlink(&mut pools.blocks, range)),
        }
        self.drop_chunks(pools, last, range.end)
    }

    /// Drops the chunks behind `behind` that start before `end`; gives how many.
    fn drop_chunks<B: Payload>(
        &mut self,
        pools: &mut Pools<B>,
        behind: Option<NodeId>,
        end: SeqNumber,
    ) -> u32 {
        let mut dropped = 0;
        while let Some(next) = behind.map_or(self.chunks.first(), |id| pools.chunks.next(id))
            && pools.chunks.get(next).start.before(end)
        {
            pools.chunks.remove_after(&mut self.chunks, behind);
            dropped += 1;
        }
        dropped
    }

    /// A block that starts at RCV.NXT is in order.
    fn move_up(&mut self, block: Block, outcome: &mut Outcome) {
        self.next = block.range.end;
        self.last_in_order = Some(block.last);
        self.used += block.range.len();
        outcome.in_order += block.range.len();
    }

    /// The highest block that starts at or before `seq`.
    fn block_from<B: Payload>(&self, pools: &Pools<B>, seq: SeqNumber) -> Option<(NodeId, Block)> {
        let blocks = pools.blocks.iter(&self.blocks).map(|(id, block)| (id, *block));
        let below = blocks.filter(|(_, block)| block.range.start.at_or_before(seq));
        below.reduce(|a, b| if b.1.range.start.after(a.1.range.start) { b } else { a })
    }

    /// Puts a block in front: a segment came for it just now.
    fn link(&mut self, blocks: &mut Pool<Block>, block: Block) {
        let linked = blocks.insert_after(&mut self.blocks, None, block);
        debug_assert!(linked.is_ok(), "a block was unlinked just now, or there was room");
    }

    /// Takes out the blocks that overlap or adjoin `range`, joined.
    fn unlink(&mut self, blocks: &mut Pool<Block>, range: SeqRange) -> Option<Block> {
        let mut joined: Option<Block> = None;
        let (mut before, mut next) = (None, self.blocks.first());
        while let Some(id) = next {
            let block = *blocks.get(id);
            next = blocks.next(id);
            if block.range.end.before(range.start) || block.range.start.after(range.end) {
                before = Some(id);
            } else {
                blocks.remove_after(&mut self.blocks, before);
                joined = Some(joined.map_or(block, |joined| joined.join(block)));
            }
        }
        joined
    }

    /// Whether one more payload may be held.
    fn has_room<B: Payload>(&self, pools: &Pools<B>) -> bool {
        let charge = u64::from(pools.limits().payload_charge);
        pools.chunks.has_share(self.chunks.len()) && (self.pinned() + 1) * charge <= u64::from(self.limit)
    }

    //= RFC 2018 section 8: what was SACKed may be discarded, so what is not yet may as well.
    /// Whether one more may be held that lies behind a gap: a quarter of the pool is for what is in order.
    fn has_room_behind_gap<B: Payload>(&self, pools: &Pools<B>) -> bool {
        pools.chunks.room() > pools.limits().payloads / 4 && self.has_room(pools)
    }
}

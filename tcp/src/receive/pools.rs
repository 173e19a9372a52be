//! What the receivers of one shard share: the nodes of their queues and their limits.

use wire::Payload;

use crate::pool::{NodeId, Pool};
use crate::{SeqNumber, SeqRange, Window};

/// What one connection may hold, and the shard in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Payloads in the queues of all connections.
    pub payloads: usize,
    /// Blocks of out-of-order data of all connections.
    pub blocks: usize,
    /// Bytes of a connection's receive buffer at its start.
    pub initial: u32,
    /// Bytes that auto-tuning lets it grow to; what has been grown comes from the shard's budget.
    pub max: u32,
    /// Bytes of the receive buffer that a payload takes up at least. A payload pins the whole frame that
    /// it came in, so a peer that sends single bytes could otherwise pin far more memory than the buffer.
    pub payload_charge: u32,
}

impl Limits {
    /// The smallest receive buffer: one unit of the largest window scale, or it could never be offered.
    pub const MIN_BUFFER: u32 = 1 << 14;

    //= RFC 7323 section 2.3: the shift is at most 14.
    /// The window scale to offer: the least that can express a window of `max` bytes.
    pub const fn window_scale(&self) -> u8 {
        let mut scale = 0;
        while scale < 14 && self.max >> scale > 0xffff {
            scale += 1;
        }
        scale
    }
}

/// Nodes for the queues of any number of receivers, and what bounds them.
#[derive(Debug)]
pub struct Pools<B> {
    pub(super) chunks: Pool<Chunk<B>>,
    pub(super) blocks: Pool<Block>,
    limits: Limits,
}

impl<B: Payload> Pools<B> {
    /// Empty pools.
    ///
    /// # Panics
    /// If not [`Limits::MIN_BUFFER`] `<= initial <= max <=` [`Window::MAX`], if `payload_charge` is zero,
    /// or if `payloads` or `blocks` is 2^32 - 1 or more.
    pub fn new(limits: Limits) -> Self {
        let Limits { payloads, blocks, initial, max, payload_charge } = limits;
        let ordered = Limits::MIN_BUFFER <= initial && initial <= max && max <= Window::MAX.bytes();
        assert!(ordered && payload_charge > 0, "receive limits make sense");
        Pools { chunks: Pool::new(payloads), blocks: Pool::new(blocks), limits }
    }

    /// Payloads that are held.
    pub const fn used(&self) -> usize {
        self.chunks.used()
    }

    /// The limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// A payload in a receive queue.
#[derive(Debug)]
pub(super) struct Chunk<B> {
    pub(super) start: SeqNumber,
    pub(super) bytes: B,
}

/// Data received out of order, contiguous and isolated: a block in the sense of RFC 2018 section 3.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) range: SeqRange,
    /// The node of its last chunk.
    pub(super) last: NodeId,
}

impl Block {
    /// Both and whatever lies between. If they end alike, the last chunk is that of `self`.
    pub(super) fn join(self, other: Block) -> Block {
        let start = if other.range.start.before(self.range.start) { other } else { self }.range.start;
        let Block { range, last } = if other.range.end.after(self.range.end) { other } else { self };
        Block { range: SeqRange { start, end: range.end }, last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales() {
        for (max, scale) in [(65_535, 0), (65_536, 1), (6 << 20, 7), (Window::MAX.bytes(), 14)] {
            let limits = Limits { payloads: 0, blocks: 0, initial: 0, max, payload_charge: 1 };
            assert_eq!(limits.window_scale(), scale, "{max}");
        }
    }
}

//! What a connection still has to send, or to send again.

use wire::Payload;

use crate::SeqNumber;
use crate::content::Content;
use crate::pool::{List, NodeId, Pool};

/// Something given for sending.
#[derive(Debug)]
pub struct Piece<B> {
    start: SeqNumber,
    content: Content<B>,
}

impl<B: Payload> Piece<B> {
    fn end(&self) -> SeqNumber {
        // No queue is longer than sequence numbers can tell apart.
        self.start + self.content.len() as u32
    }
}

/// The bytes from the oldest unacknowledged one to the last that the application gave, by reference.
///
/// A piece stays until its last byte is acknowledged: it may have to be sent again.
#[derive(Debug, Default)]
pub struct SendQueue {
    pieces: List,
    /// Where the last search ended: segments are mostly asked for in order.
    cursor: Option<NodeId>,
    /// The number past the last byte.
    end: SeqNumber,
    /// Bytes that are not acknowledged and take up the send buffer.
    buffered: u32,
    /// The number that was acknowledged last.
    una: SeqNumber,
}

impl SendQueue {
    /// Bytes that a queue holds at most: half of what sequence numbers can tell apart.
    pub const MAX_LEN: u32 = 1 << 30;

    /// An empty queue; its first byte will have the number `start`.
    pub fn new(start: SeqNumber) -> Self {
        SendQueue { end: start, una: start, ..SendQueue::default() }
    }

    /// The sequence number past the last byte.
    pub const fn end(&self) -> SeqNumber {
        self.end
    }

    /// How many pieces it holds.
    pub const fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes that are not acknowledged and take up the send buffer: those of frames.
    pub const fn buffered(&self) -> u32 {
        self.buffered
    }

    /// Appends `content`, which is not empty, and with which the queue is not longer than
    /// [`MAX_LEN`](Self::MAX_LEN).
    ///
    /// # Errors
    /// Gives it back if the pool has no room.
    pub fn push<B: Payload>(
        &mut self,
        pool: &mut Pool<Piece<B>>,
        content: Content<B>,
    ) -> Result<(), Content<B>> {
        let len = content.len() as u32;
        let buffered = if content.takes_buffer() { len } else { 0 };
        let piece = Piece { start: self.end, content };
        pool.push_back(&mut self.pieces, piece).map_err(|piece| piece.content)?;
        self.end += len;
        self.buffered += buffered;
        Ok(())
    }

    /// Lets go of all pieces that end at `una` or before: they are acknowledged. The queue holds no
    /// other reference to them, but a device may.
    pub fn acknowledge<B: Payload>(&mut self, pool: &mut Pool<Piece<B>>, una: SeqNumber) {
        while let Some(piece) = pool.front(&self.pieces) {
            let whole = piece.end().at_or_before(una);
            if piece.content.takes_buffer() {
                let from = if piece.start.before(self.una) { self.una } else { piece.start };
                let to = if whole { piece.end() } else { una };
                self.buffered -= if to.after(from) { to.distance_from(from) } else { 0 };
            }
            if !whole {
                break;
            }
            if self.cursor == self.pieces.first() {
                self.cursor = None;
            }
            pool.pop_front(&mut self.pieces);
        }
        self.una = una;
    }

    /// Lets go of everything.
    pub fn clear<B: Payload>(&mut self, pool: &mut Pool<Piece<B>>) {
        self.cursor = None;
        self.buffered = 0;
        pool.clear(&mut self.pieces);
    }

    /// The `len` bytes from `start` on, which the queue holds.
    pub fn pieces<'a, B: Payload>(
        &mut self,
        pool: &'a Pool<Piece<B>>,
        start: SeqNumber,
        len: u32,
    ) -> Pieces<'a, B> {
        let from = self.cursor.filter(|id| pool.get(*id).start.at_or_before(start));
        let mut at = from.or(self.pieces.first());
        while let Some(id) = at
            && pool.get(id).end().at_or_before(start)
        {
            at = pool.next(id);
        }
        self.cursor = at;
        let skip = at.map_or(0, |id| start.distance_from(pool.get(id).start));
        Pieces { pool, at, skip, left: len }
    }
}

/// A range of a send queue: pieces of content one after the other.
#[derive(Debug)]
pub struct Pieces<'a, B> {
    pool: &'a Pool<Piece<B>>,
    at: Option<NodeId>,
    /// Bytes of the first piece that are not in the range.
    skip: u32,
    left: u32,
}

impl<B> Clone for Pieces<'_, B> {
    fn clone(&self) -> Self {
        Pieces { ..*self }
    }
}

impl<B> Pieces<'_, B> {
    /// Bytes of the range.
    pub const fn len(&self) -> usize {
        self.left as usize
    }

    /// Whether the range is empty.
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a, B: Payload> Iterator for Pieces<'a, B> {
    /// A content, and which bytes of it: offset and length.
    type Item = (&'a Content<B>, usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.at.filter(|_| self.left > 0)?;
        let content = &self.pool.get(id).content;
        let skip = std::mem::take(&mut self.skip);
        let len = (content.len() as u32 - skip).min(self.left);
        self.left -= len;
        self.at = self.pool.next(id);
        Some((content, skip as usize, len as usize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::sync::Arc;

    use super::*;
    use crate::content::{Produce, Pulled};
    use sim::Bytes;

    static COUNTING: [u8; 400] = {
        let mut bytes = [0; 400];
        let mut i = 0;
        while i < bytes.len() {
            bytes[i] = i as u8;
            i += 1;
        }
        bytes
    };

    struct Counting;

    impl Produce for Counting {
        fn fill(&self, offset: u64, out: &mut [u8]) {
            out.copy_from_slice(&COUNTING[offset as usize..][..out.len()]);
        }
    }

    fn content(pieces: Pieces<'_, Bytes>) -> Vec<u8> {
        let part = |(content, offset, len): (&Content<Bytes>, usize, usize)| {
            let mut out = vec![0; len];
            content.copy_out(offset, &mut out);
            out
        };
        pieces.flat_map(part).collect()
    }

    #[test]
    fn a_full_pool_gives_the_bytes_back() {
        let mut pool = Pool::new(1);
        let mut queue = SendQueue::new(SeqNumber::new(9));
        queue.push(&mut pool, Bytes::new(b"ab").into()).unwrap();
        let refused = queue.push(&mut pool, Content::Static(b"cd"));
        assert!(matches!(refused, Err(Content::Static(b"cd"))));
        assert_eq!(queue.end(), SeqNumber::new(11));
        queue.clear(&mut pool);
        assert_eq!(pool.used(), 0);
    }

    proptest! {
        /// Against a vector: any range that is held reads as it was written, wherever it was asked for
        /// before.
        #[test]
        fn reads_as_written(
            start: u32, writes in proptest::collection::vec((1..20usize, 0..3), 1..20),
            asks in proptest::collection::vec((any::<prop::sample::Index>(), 0..64usize, any::<bool>()), 0..40),
        ) {
            let mut pool = Pool::new(64);
            let start = SeqNumber::new(start);
            let mut queue = SendQueue::new(start);
            let mut all = Vec::new();
            let mut in_frames = Vec::new();
            for (len, kind) in writes {
                let range = all.len()..all.len() + len;
                let content = match kind {
                    0 => Bytes::new(&COUNTING[range]).into(),
                    1 => Content::Static(&COUNTING[range]),
                    _ => Pulled::new(Arc::new(Counting), range.start as u64..range.end as u64).into(),
                };
                queue.push(&mut pool, content).unwrap();
                all.extend(&COUNTING[all.len()..all.len() + len]);
                in_frames.resize(all.len(), kind == 0);
            }
            prop_assert_eq!(queue.end(), start + all.len() as u32);
            let mut una = 0;
            for (at, len, acknowledge) in asks {
                let at = una + at.index(all.len() - una + 1);
                let len = len.min(all.len() - at);
                if acknowledge {
                    una = at;
                    queue.acknowledge(&mut pool, start + una as u32);
                }
                let buffered = in_frames[una..].iter().filter(|in_frame| **in_frame).count();
                prop_assert_eq!(queue.buffered() as usize, buffered);
                let pieces = queue.pieces(&pool, start + at as u32, len as u32);
                prop_assert_eq!(pieces.len(), len);
                prop_assert_eq!(content(pieces), &all[at..at + len]);
            }
            queue.acknowledge(&mut pool, queue.end());
            prop_assert_eq!(pool.used(), 0);
        }
    }
}

//! What a connection still has to send, or to send again.

use wire::Payload;

use crate::SeqNumber;
use crate::pool::{List, NodeId, Pool};

/// Bytes given for sending.
#[derive(Debug)]
pub struct Piece<B> {
    start: SeqNumber,
    bytes: B,
}

impl<B: Payload> Piece<B> {
    fn end(&self) -> SeqNumber {
        self.start + self.bytes.len() as u32
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
}

impl SendQueue {
    /// An empty queue; its first byte will have the number `start`.
    pub fn new(start: SeqNumber) -> Self {
        SendQueue { end: start, ..SendQueue::default() }
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

    /// Appends `bytes`, which are not empty.
    ///
    /// # Errors
    /// Gives them back if the pool has no room.
    pub fn push<B: Payload>(&mut self, pool: &mut Pool<Piece<B>>, bytes: B) -> Result<(), B> {
        let len = bytes.len() as u32;
        let piece = Piece { start: self.end, bytes };
        pool.push_back(&mut self.pieces, piece).map_err(|piece| piece.bytes)?;
        self.end += len;
        Ok(())
    }

    /// Lets go of all pieces that end at `una` or before: they are acknowledged. The queue holds no
    /// other reference to them, but a device may.
    pub fn acknowledge<B: Payload>(&mut self, pool: &mut Pool<Piece<B>>, una: SeqNumber) {
        while let Some(piece) = pool.front(&self.pieces)
            && piece.end().at_or_before(una)
        {
            if self.cursor == self.pieces.first() {
                self.cursor = None;
            }
            pool.pop_front(&mut self.pieces);
        }
    }

    /// Lets go of everything.
    pub fn clear<B: Payload>(&mut self, pool: &mut Pool<Piece<B>>) {
        self.cursor = None;
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

/// A range of a send queue: pieces of payload one after the other.
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
    /// A payload, and which bytes of it: offset and length.
    type Item = (&'a B, usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.at.filter(|_| self.left > 0)?;
        let bytes = &self.pool.get(id).bytes;
        let skip = std::mem::take(&mut self.skip) as usize;
        let len = (bytes.len() - skip).min(self.left as usize);
        self.left -= len as u32;
        self.at = self.pool.next(id);
        Some((bytes, skip, len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use sim::Bytes;

    fn content(pieces: Pieces<'_, Bytes>) -> Vec<u8> {
        pieces.flat_map(|(bytes, offset, len)| bytes.as_slice()[offset..offset + len].to_vec()).collect()
    }

    #[test]
    fn a_full_pool_gives_the_bytes_back() {
        let mut pool = Pool::new(1);
        let mut queue = SendQueue::new(SeqNumber::new(9));
        queue.push(&mut pool, Bytes::new(b"ab")).unwrap();
        assert_eq!(queue.push(&mut pool, Bytes::new(b"cd")), Err(Bytes::new(b"cd")));
        assert_eq!(queue.end(), SeqNumber::new(11));
        queue.clear(&mut pool);
        assert_eq!(pool.used(), 0);
    }

    proptest! {
        /// Against a vector: any range that is held reads as it was written, wherever it was asked for
        /// before.
        #[test]
        fn reads_as_written(
            start: u32, writes in proptest::collection::vec(1..20usize, 1..20),
            asks in proptest::collection::vec((any::<prop::sample::Index>(), 0..64usize, any::<bool>()), 0..40),
        ) {
            let mut pool = Pool::new(64);
            let start = SeqNumber::new(start);
            let mut queue = SendQueue::new(start);
            let mut all = Vec::new();
            for len in writes {
                let bytes: Vec<u8> = (0..len).map(|i| (all.len() + i) as u8).collect();
                queue.push(&mut pool, Bytes::new(&bytes)).unwrap();
                all.extend(bytes);
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
                let pieces = queue.pieces(&pool, start + at as u32, len as u32);
                prop_assert_eq!(pieces.len(), len);
                prop_assert_eq!(content(pieces), &all[at..at + len]);
            }
            queue.acknowledge(&mut pool, queue.end());
            prop_assert_eq!(pool.used(), 0);
        }
    }
}

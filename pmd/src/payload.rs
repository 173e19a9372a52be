//! Frames given up to readers, and references to them.

use crate::mbuf::Mbuf;
use crate::mempool::PoolHandle;
use crate::segment::Segment;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Range;
use wire::{Frame, FramePool, NoRoom, Payload};

/// Bytes of a frame that was given up: one pointer. Its buffers go back to their pools once it and every
/// frame that refers to them are gone, the device's hold of them included.
///
/// It moves between threads; references to it are made by one thread at a time, because DPDK counts the
/// first of them without an atomic addition.
///
/// ```compile_fail
/// fn shared_by_threads<T: Sync>() {}
/// shared_by_threads::<pmd::MbufPayload>();
/// ```
/// ```
/// fn moved<T: Send>() {}
/// moved::<pmd::MbufPayload>();
/// ```
#[derive(Debug)]
pub struct MbufPayload {
    /// Cut to the range. Its first segment may be a reference.
    chain: Mbuf,
    not_sync: PhantomData<Cell<()>>,
}

const _: () = assert!(size_of::<Option<MbufPayload>>() == 8);

impl MbufPayload {
    pub(crate) fn new(chain: Mbuf, offset: usize, len: usize) -> Self {
        let mut payload = MbufPayload { chain, not_sync: PhantomData };
        payload.advance(offset);
        payload.truncate(len);
        payload
    }

    /// Appends to `frame` what [`FramePool::attach`] says.
    #[inline]
    pub(crate) fn attach_to(
        &self,
        frame: &mut Mbuf,
        pool: &mut PoolHandle,
        offset: usize,
        len: usize,
    ) -> Result<(), NoRoom> {
        let mut references: Option<Mbuf> = None;
        for (segment, range) in self.pieces(offset, len) {
            let mut reference = pool.alloc().ok_or(NoRoom)?;
            reference.refer_to(segment, range)?;
            match &mut references {
                Some(chain) => chain.chain(reference).map_err(|_| NoRoom)?,
                None => references = Some(reference),
            }
        }
        references.map_or(Ok(()), |chain| frame.chain(chain).map_err(|_| NoRoom))
    }

    /// The parts of segments in which `len` bytes from `offset` on lie; none of them is empty.
    #[inline]
    fn pieces(&self, offset: usize, len: usize) -> impl Iterator<Item = (Segment, Range<usize>)> {
        let end = offset.saturating_add(len);
        let mut at = 0;
        let piece = move |segment: Segment| {
            let before = at;
            at += usize::from(segment.data_len());
            (segment, offset.max(before) - before..end.min(at).saturating_sub(before))
        };
        self.chain.walk().map(piece).filter(|(_, range)| !range.is_empty())
    }
}

impl Payload for MbufPayload {
    #[inline]
    fn len(&self) -> usize {
        self.chain.len()
    }

    #[inline]
    fn chunk(&self, offset: usize) -> &[u8] {
        let Some((segment, range)) = self.pieces(offset, usize::MAX).next() else { return &[] };
        // SAFETY: a segment of this payload's chain, which is borrowed.
        let bytes: &[u8] = unsafe { segment.bytes() };
        &bytes[range]
    }

    fn advance(&mut self, n: usize) {
        let mut left = n;
        while left >= self.chain.data().len() && self.chain.segments() > 1 {
            left -= self.chain.data().len();
            self.chain.drop_head();
        }
        self.chain.trim_front(left.min(self.chain.data().len()));
    }

    fn truncate(&mut self, len: usize) {
        self.chain.truncate(len);
    }
}

//! Frames on the heap that behave as a driver's do: bounded pool, headroom, chains of segments.
//!
//! A [`SimPool`] makes all its segments at the start and keeps the free ones in a list, so that
//! alloc and drop do not touch the allocator. Bytes that a frame gains by `prepend` and `append`
//! are filled with [`POISON`]: code that takes them for zeros, or for what was there before, shows.

use std::fmt;
use std::sync::Arc;

use wire::{Frame, FramePool, MAX_REFERENCE, NoRoom, OpenChecksum, RxFlags};

use crate::payload::SimPayload;
use crate::segment::{Segment, Store};

/// Bytes in front of the data of a frame fresh from the pool; as in DPDK.
pub const HEADROOM: usize = 128;
/// The longest chain.
pub const MAX_SEGMENTS: usize = 255;
/// What the bytes gained by `prepend` and `append` hold.
pub const POISON: u8 = 0xa5;

/// An owned frame of a [`SimPool`]. Goes back to it when dropped.
///
/// One pointer wide. The option is `None` only inside `drop` and `chain`, which consume the frame.
pub struct SimFrame(Option<Box<Segment>>);

const _: () = assert!(size_of::<SimFrame>() == 8);

impl SimFrame {
    fn head(&self) -> &Segment {
        self.0.as_deref().expect("only a consumed frame has no segment")
    }

    pub(crate) fn head_mut(&mut self) -> &mut Segment {
        self.0.as_deref_mut().expect("only a consumed frame has no segment")
    }

    fn last_mut(&mut self) -> &mut Segment {
        let mut segment = self.head_mut();
        while segment.next.is_some() {
            segment = segment.next.as_deref_mut().expect("just seen");
        }
        segment
    }

    pub(crate) fn walk(&self) -> impl Iterator<Item = &Segment> {
        std::iter::successors(self.0.as_deref(), |segment| segment.next.as_deref())
    }

    /// Frees the first segment of several.
    pub(crate) fn drop_head(&mut self) {
        let rest = self.head_mut().next.take();
        Segment::release(std::mem::replace(&mut self.0, rest));
    }

    /// The bytes of each segment, first to last.
    pub fn iter_segments(&self) -> impl Iterator<Item = &[u8]> {
        self.walk().map(Segment::data)
    }

    /// A copy of all the frame's bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.iter_segments().flatten().copied().collect()
    }

    /// A copy from the same pool: the same bytes in the same segments at the same place, the same
    /// word of the device. References are to the same payload. `None` if the pool has too few.
    pub fn duplicate(&self) -> Option<SimFrame> {
        let mut copy: Option<SimFrame> = None;
        for segment in self.walk() {
            let mut twin = SimPool(Arc::clone(segment.home.as_ref()?)).take()?;
            twin.head_mut().copy_from(segment);
            match &mut copy {
                Some(copy) => copy.chain(twin).ok()?,
                None => copy = Some(twin),
            }
        }
        copy
    }

    /// Inverts one bit, counted from the highest of the first byte. No effect past the frame's end, nor
    /// on payload that the frame refers to: the frame has a copy then.
    pub fn flip_bit(&mut self, bit: usize) {
        let mut byte = bit / 8;
        let mut next = self.0.as_deref_mut();
        while let Some(segment) = next {
            if byte < segment.len() {
                return segment.invert(byte, 0x80 >> (bit % 8));
            }
            byte -= segment.len();
            next = segment.next.as_deref_mut();
        }
    }

    /// Bytes that [`Frame::prepend`] can still give.
    pub fn headroom(&self) -> usize {
        self.head().start
    }

    /// Sets all that the device says of the frame, but for the VLAN tag and the hash themselves.
    pub fn set_rx_flags(&mut self, flags: RxFlags) {
        self.head_mut().flags = flags;
    }

    /// Makes the frame one whose VLAN tag the device stripped.
    pub fn set_vlan_tci(&mut self, tci: u16) {
        let head = self.head_mut();
        head.vlan_tci = tci;
        head.flags.0 |= RxFlags::VLAN_STRIPPED;
    }

    /// Makes the frame one whose flow the device hashed.
    pub fn set_rss_hash(&mut self, hash: u32) {
        let head = self.head_mut();
        head.rss_hash = hash;
        head.flags.0 |= RxFlags::RSS_HASH;
    }
}

impl Frame for SimFrame {
    type Payload = SimPayload;

    fn data(&self) -> &[u8] {
        self.head().data()
    }

    fn data_mut(&mut self) -> &mut [u8] {
        self.head_mut().data_mut()
    }

    fn len(&self) -> usize {
        self.iter_segments().map(<[u8]>::len).sum()
    }

    fn segments(&self) -> usize {
        self.iter_segments().count()
    }

    fn chunk(&self, offset: usize) -> &[u8] {
        let mut skip = offset;
        for data in self.iter_segments() {
            if skip < data.len() {
                return &data[skip..];
            }
            skip -= data.len();
        }
        &[]
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) -> usize {
        let (mut skip, mut done) = (offset, 0);
        for data in self.iter_segments() {
            let wanted = &data[skip.min(data.len())..];
            skip -= data.len() - wanted.len();
            let n = wanted.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&wanted[..n]);
            done += n;
        }
        done
    }

    fn prepend(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        let head = self.head_mut();
        head.start = head.start.checked_sub(n).ok_or(NoRoom)?;
        let gained = &mut head.data_mut()[..n];
        gained.fill(POISON);
        Ok(gained)
    }

    fn trim_front(&mut self, n: usize) {
        let head = self.head_mut();
        assert!(n <= head.len(), "the first segment is shorter than what is to be trimmed");
        head.start += n;
    }

    fn append(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        let last = self.last_mut();
        if last.is_reference() || n > last.tailroom() {
            return Err(NoRoom);
        }
        let len = last.len();
        last.end += n;
        let gained = &mut last.data_mut()[len..];
        gained.fill(POISON);
        Ok(gained)
    }

    fn tailroom(&self) -> usize {
        self.walk().last().map_or(0, Segment::tailroom)
    }

    fn truncate(&mut self, len: usize) {
        let mut left = len;
        let mut segment = self.head_mut();
        loop {
            let keep = left.min(segment.len());
            segment.end = segment.start + keep;
            left -= keep;
            if left == 0 {
                return Segment::release(segment.next.take());
            }
            match segment.next.as_deref_mut() {
                Some(next) => segment = next,
                None => return,
            }
        }
    }

    fn chain(&mut self, mut tail: Self) -> Result<(), Self> {
        if self.segments() + tail.segments() > MAX_SEGMENTS {
            return Err(tail);
        }
        self.last_mut().next = tail.0.take();
        Ok(())
    }

    fn rx_flags(&self) -> RxFlags {
        self.head().flags
    }

    fn vlan_tci(&self) -> u16 {
        self.head().vlan_tci
    }

    fn rss_hash(&self) -> u32 {
        self.head().rss_hash
    }

    fn clear_flags(&mut self) {
        self.head_mut().flags = RxFlags::default();
        self.head_mut().open_checksum = None;
    }

    fn set_open_checksum(&mut self, open: OpenChecksum) {
        self.head_mut().open_checksum = Some(open);
    }

    fn open_checksum(&self) -> Option<OpenChecksum> {
        self.head().open_checksum
    }

    fn into_payload(self, offset: usize, len: usize) -> SimPayload {
        SimPayload::new(self, offset, len)
    }
}

impl Drop for SimFrame {
    fn drop(&mut self) {
        Segment::release(self.0.take());
    }
}

impl fmt::Debug for SimFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFrame of {} bytes in {} segments:", self.len(), self.segments())?;
        self.data().iter().take(64).try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// A bounded pool of frames. Its clones share the same frames, and may live on other threads.
///
/// Every segment of a chain counts, and so does one whose frame is gone but whose memory others refer
/// to. When all frames and payload are dropped, [`FramePool::available`] is back
/// at its maximum: a test that ends with less leaked one.
#[derive(Clone)]
pub struct SimPool(Arc<Store>);

impl SimPool {
    /// A pool of `frames` segments that hold `data_room` bytes each, after [`HEADROOM`] more.
    pub fn new(frames: usize, data_room: usize) -> Self {
        SimPool(Arc::new(Store::new(frames, data_room)))
    }

    /// A frame of these bytes, in as many segments as they need; `None` if the pool has not as many.
    pub fn frame_from(&self, bytes: &[u8]) -> Option<SimFrame> {
        let mut frame = self.take()?;
        let room = frame.tailroom();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        frame.append(first.len()).ok()?.copy_from_slice(first);
        if room == 0 && !rest.is_empty() {
            return None;
        }
        for part in rest.chunks(room.max(1)) {
            let mut segment = self.take()?;
            segment.append(part.len()).ok()?.copy_from_slice(part);
            frame.chain(segment).ok()?;
        }
        Some(frame)
    }

    /// A frame with one segment for each of `parts`; `None` if the pool has not as many, or if a
    /// part is longer than a segment. Without parts it is empty.
    pub fn frame_of(&self, parts: &[&[u8]]) -> Option<SimFrame> {
        let mut frame = self.take()?;
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                frame.chain(self.take()?).ok()?;
            }
            frame.append(part.len()).ok()?.copy_from_slice(part);
        }
        Some(frame)
    }

    /// Whether every frame is back.
    pub fn is_full(&self) -> bool {
        let (free, all) = self.0.available();
        free == all
    }

    pub(crate) fn take(&self) -> Option<SimFrame> {
        self.0.take().map(|segment| SimFrame(Some(segment)))
    }
}

impl FramePool for SimPool {
    type Frame = SimFrame;

    fn alloc(&mut self) -> Option<SimFrame> {
        self.take()
    }

    fn attach(
        &mut self,
        frame: &mut SimFrame,
        payload: &SimPayload,
        offset: usize,
        len: usize,
    ) -> Result<(), NoRoom> {
        payload.attach_to(frame, self, offset, len)
    }

    fn can_refer(&mut self, _: &'static [u8]) -> bool {
        true
    }

    fn refer(&mut self, frame: &mut SimFrame, bytes: &'static [u8]) -> Result<(), NoRoom> {
        if bytes.len() > MAX_REFERENCE {
            return Err(NoRoom);
        }
        let mut reference = self.take().ok_or(NoRoom)?;
        reference.head_mut().refer_to_static(bytes);
        frame.chain(reference).map_err(|_| NoRoom)
    }

    fn available(&self) -> (usize, usize) {
        self.0.available()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What one can do to a frame.
    #[derive(Clone, Debug)]
    enum Op {
        Prepend(usize, u8),
        TrimFront(usize),
        Append(usize, u8),
        Truncate(usize),
        Chain(Vec<u8>),
        Flip(usize),
        CopyOut(usize, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0usize..60, any::<u8>()).prop_map(|(n, v)| Op::Prepend(n, v)),
            (0usize..60).prop_map(Op::TrimFront),
            (0usize..60, any::<u8>()).prop_map(|(n, v)| Op::Append(n, v)),
            (0usize..300).prop_map(Op::Truncate),
            prop::collection::vec(any::<u8>(), 0..100).prop_map(Op::Chain),
            (0usize..3000).prop_map(Op::Flip),
            (0usize..300, 0usize..300).prop_map(|(o, n)| Op::CopyOut(o, n)),
        ]
    }

    /// The naive twin: the segments as plain vectors, and the room at both ends of each buffer.
    struct Twin {
        segments: Vec<Vec<u8>>,
        headroom: usize,
        tailroom: Vec<usize>,
    }

    const ROOM: usize = 64;

    impl Twin {
        fn new() -> Self {
            Twin { segments: vec![vec![]], headroom: HEADROOM, tailroom: vec![ROOM] }
        }

        fn bytes(&self) -> Vec<u8> {
            self.segments.concat()
        }

        fn apply(&mut self, op: &Op, pool: &SimPool, frame: &mut SimFrame) {
            let last = self.segments.len() - 1;
            match op {
                Op::Prepend(n, v) => match frame.prepend(*n) {
                    Ok(gained) => {
                        assert_eq!(gained, vec![POISON; *n]);
                        gained.fill(*v);
                        self.segments[0].splice(0..0, vec![*v; *n]);
                        self.headroom -= n;
                    }
                    Err(NoRoom) => assert!(*n > self.headroom),
                },
                Op::TrimFront(n) => {
                    let n = (*n).min(self.segments[0].len());
                    frame.trim_front(n);
                    self.segments[0].drain(..n);
                    self.headroom += n;
                }
                Op::Append(n, v) => match frame.append(*n) {
                    Ok(gained) => {
                        assert_eq!(gained, vec![POISON; *n]);
                        gained.fill(*v);
                        self.segments[last].extend(vec![*v; *n]);
                        self.tailroom[last] -= n;
                    }
                    Err(NoRoom) => assert!(*n > self.tailroom[last]),
                },
                Op::Truncate(len) => {
                    frame.truncate(*len);
                    self.truncate(*len);
                }
                Op::Chain(bytes) => {
                    let tail = pool.frame_from(bytes).unwrap();
                    frame.chain(tail).unwrap();
                    let parts: Vec<&[u8]> =
                        if bytes.is_empty() { vec![&[]] } else { bytes.chunks(ROOM).collect() };
                    self.segments.extend(parts.iter().map(|part| part.to_vec()));
                    self.tailroom.extend(parts.iter().map(|part| ROOM - part.len()));
                }
                Op::Flip(bit) => {
                    frame.flip_bit(*bit);
                    let mut bytes = self.segments.iter_mut().flatten();
                    if let Some(byte) = bytes.nth(bit / 8) {
                        *byte ^= 1 << (7 - bit % 8);
                    }
                }
                Op::CopyOut(offset, n) => {
                    let mut out = vec![0; *n];
                    let copied = frame.copy_out(*offset, &mut out);
                    let bytes = self.bytes();
                    let expected = &bytes[(*offset).min(bytes.len())..(offset + n).min(bytes.len())];
                    assert_eq!(&out[..copied], expected);
                    assert!(bytes[(*offset).min(bytes.len())..].starts_with(frame.chunk(*offset)));
                    assert_eq!(frame.chunk(*offset).is_empty(), *offset >= bytes.len());
                }
            }
        }

        fn truncate(&mut self, len: usize) {
            if len >= self.bytes().len() {
                return;
            }
            let mut left = len;
            let mut kept = 0;
            for (segment, tailroom) in self.segments.iter_mut().zip(&mut self.tailroom) {
                let cut = segment.len() - segment.len().min(left);
                left -= segment.len() - cut;
                segment.truncate(segment.len() - cut);
                *tailroom += cut;
                kept += 1;
                if left == 0 {
                    break;
                }
            }
            self.segments.truncate(kept);
            self.tailroom.truncate(kept);
        }
    }

    proptest! {
        #[test]
        fn like_a_vector(ops in prop::collection::vec(op(), 1..40)) {
            let mut pool = SimPool::new(200, ROOM);
            let mut frame = pool.alloc().unwrap();
            let mut twin = Twin::new();
            for op in &ops {
                twin.apply(op, &pool, &mut frame);
                let bytes = twin.bytes();
                assert_eq!(frame.to_vec(), bytes, "after {op:?}");
                assert_eq!((frame.len(), frame.is_empty()), (bytes.len(), bytes.is_empty()));
                assert_eq!(frame.data(), &twin.segments[0][..]);
                assert_eq!(frame.data_mut(), &twin.segments[0][..]);
                assert_eq!(frame.segments(), twin.segments.len());
                assert_eq!((frame.headroom(), frame.tailroom()), (twin.headroom, *twin.tailroom.last().unwrap()));
                assert_eq!(pool.available(), (200 - twin.segments.len(), 200));
            }
            let copy = frame.duplicate().unwrap();
            assert!(copy.iter_segments().eq(frame.iter_segments()));
            drop((frame, copy));
            assert!(pool.is_full());
        }
    }

    #[test]
    fn pool_is_bounded_and_counts_back() {
        let mut pool = SimPool::new(3, 100);
        let frames: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!((frames.len(), pool.available()), (3, (0, 3)));
        drop(frames);
        assert_eq!(pool.available(), (3, 3));
        // Too large for what there is: nothing stays behind.
        assert!(pool.frame_from(&[1; 301]).is_none());
        assert!(pool.frame_of(&[&[1; 101]]).is_none());
        assert!(pool.frame_of(&[&[1], &[2], &[3], &[4]]).is_none());
        assert_eq!(pool.available(), (3, 3));
        assert_eq!(pool.frame_from(&[1; 300]).unwrap().segments(), 3);
        let mut frames = vec![pool.frame_of(&[&[1], &[2]]).unwrap()];
        SimFrame::free_bulk(&mut frames);
        assert!(pool.is_full());
    }

    #[test]
    fn frames_outlive_their_pool() {
        let pool = SimPool::new(2, 10);
        let frame = pool.frame_from(&[9]).unwrap();
        let shared = Arc::downgrade(&pool.0);
        drop(pool);
        assert_eq!(frame.data(), [9]);
        drop(frame);
        assert!(shared.upgrade().is_none(), "pool and frames keep each other alive");
    }

    #[test]
    fn steady_state_reuses_buffers() {
        let mut pool = SimPool::new(1, 10);
        let address = |frame: SimFrame| frame.data().as_ptr();
        let first = address(pool.alloc().unwrap());
        assert_eq!(address(pool.alloc().unwrap()), first);
    }

    #[test]
    fn chain_has_a_bound() {
        let mut pool = SimPool::new(MAX_SEGMENTS + 1, 10);
        let mut frame = pool.alloc().unwrap();
        for _ in 1..MAX_SEGMENTS {
            frame.chain(pool.alloc().unwrap()).unwrap();
        }
        let refused = frame.chain(pool.frame_from(&[1]).unwrap()).unwrap_err();
        assert_eq!((refused.data(), frame.segments()), (&[1][..], MAX_SEGMENTS));
    }

    #[test]
    #[should_panic(expected = "shorter")]
    fn trim_past_the_first_segment_panics() {
        SimPool::new(2, 10).frame_of(&[&[1], &[2]]).unwrap().trim_front(2);
    }

    #[test]
    fn word_of_the_device() {
        let pool = SimPool::new(2, 10);
        let mut frame = pool.frame_from(&[1]).unwrap();
        assert_eq!(frame.rx_flags(), RxFlags::default());
        frame.set_rx_flags(RxFlags(RxFlags::IP_CKSUM_GOOD));
        frame.set_vlan_tci(0x2001);
        frame.set_rss_hash(77);
        assert_eq!(frame.rx_flags().0, RxFlags::IP_CKSUM_GOOD | RxFlags::VLAN_STRIPPED | RxFlags::RSS_HASH);
        let copy = frame.duplicate().unwrap();
        assert_eq!((copy.vlan_tci(), copy.rss_hash(), copy.rx_flags()), (0x2001, 77, frame.rx_flags()));
        frame.clear_flags();
        assert_eq!(frame.rx_flags(), RxFlags::default());
        frame.set_rss_hash(1);
        drop((frame, copy));
        assert_eq!(pool.frame_from(&[]).unwrap().rx_flags(), RxFlags::default());
    }
}

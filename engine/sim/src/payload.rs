//! Frames given up to readers, and references to them.

use std::ops::Range;

use wire::{Frame, NoRoom, Payload};

use crate::frame::{SimFrame, SimPool};
use crate::segment::Segment;

/// Bytes of a [`SimFrame`] that was given up. Its segments go back to their pool once it and every frame
/// that refers to them are dropped.
#[derive(Debug)]
pub struct SimPayload(SimFrame);

impl SimPayload {
    pub(crate) fn new(frame: SimFrame, offset: usize, len: usize) -> Self {
        let mut payload = SimPayload(frame);
        payload.advance(offset);
        payload.truncate(len);
        payload
    }

    /// Appends to `frame` what [`FramePool::attach`](wire::FramePool::attach) says.
    pub(crate) fn attach_to(
        &self,
        frame: &mut SimFrame,
        pool: &SimPool,
        offset: usize,
        len: usize,
    ) -> Result<(), NoRoom> {
        let mut references: Option<SimFrame> = None;
        for (segment, range) in self.pieces(offset, len) {
            let mut reference = pool.take().ok_or(NoRoom)?;
            reference.head_mut().refer_to(segment, range);
            match &mut references {
                Some(chain) => chain.chain(reference).map_err(|_| NoRoom)?,
                None => references = Some(reference),
            }
        }
        references.map_or(Ok(()), |chain| frame.chain(chain).map_err(|_| NoRoom))
    }

    /// The parts of segments in which `len` bytes from `offset` on lie; none of them is empty.
    fn pieces(&self, offset: usize, len: usize) -> impl Iterator<Item = (&Segment, Range<usize>)> {
        let end = offset.saturating_add(len);
        let mut at = 0;
        let piece = move |segment| {
            let before = at;
            at += Segment::len(segment);
            (segment, offset.max(before) - before..end.min(at).saturating_sub(before))
        };
        self.0.walk().map(piece).filter(|(_, range)| !range.is_empty())
    }
}

impl Payload for SimPayload {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self, offset: usize) -> &[u8] {
        self.pieces(offset, usize::MAX).next().map_or(&[], |(segment, range)| &segment.data()[range])
    }

    fn advance(&mut self, n: usize) {
        let mut left = n;
        loop {
            let head = self.0.head_mut();
            if left < head.len() || head.next.is_none() {
                head.start += left.min(head.len());
                return;
            }
            left -= head.len();
            self.0.drop_head();
        }
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::{FramePool, RxQueue, TxQueue};

    use super::*;
    use crate::queue::{Loopback, pipe};

    /// Bytes in segments, each as long as one says.
    fn chain(pool: &SimPool, segments: &[Vec<u8>]) -> SimFrame {
        let parts: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        pool.frame_of(&parts).unwrap()
    }

    fn bytes(payload: &SimPayload) -> Vec<u8> {
        let mut out = vec![0; payload.len()];
        assert_eq!(payload.copy_out(0, &mut out), out.len());
        out
    }

    fn clip(bytes: &[u8], offset: usize, len: usize) -> &[u8] {
        let from = offset.min(bytes.len());
        &bytes[from..offset.saturating_add(len).min(bytes.len()).max(from)]
    }

    #[test]
    fn either_may_be_dropped_first() {
        for payload_first in [true, false] {
            let mut pool = SimPool::new(4, 64);
            let payload = pool.frame_from(b"some payload").unwrap().into_payload(5, 4);
            let mut frame = pool.frame_from(b"header ").unwrap();
            pool.attach(&mut frame, &payload, 0, 100).unwrap();
            assert_eq!(
                (frame.to_vec(), frame.segments(), pool.available()),
                (b"header payl".to_vec(), 2, (1, 4))
            );
            assert!([0, 1].iter().all(|n| frame.append(*n).is_err()));
            frame.data_mut()[0] = b'H';
            if payload_first {
                drop(payload);
                assert_eq!((frame.to_vec(), pool.available()), (b"Header payl".to_vec(), (1, 4)));
                drop(frame);
            } else {
                drop(frame);
                assert_eq!((bytes(&payload), pool.available()), (b"payl".to_vec(), (3, 4)));
                drop(payload);
            }
            assert!(pool.is_full());
            // The memory is the next frame's own again.
            let frames: Vec<_> = (0..4).map(|_| pool.frame_from(&[1; 64]).unwrap()).collect();
            assert!(frames.iter().all(|frame| frame.segments() == 1));
        }
    }

    #[test]
    fn several_refer_and_references_are_referred_to() {
        let mut pool = SimPool::new(8, 64);
        let mut lender = SimPool::new(1, 64);
        let payload = lender.frame_from(b"0123456789").unwrap().into_payload(0, 10);
        let (mut a, mut b) = (pool.frame_from(b"a").unwrap(), pool.frame_from(b"b").unwrap());
        pool.attach(&mut a, &payload, 2, 5).unwrap();
        pool.attach(&mut b, &payload, 4, 100).unwrap();
        drop(payload);
        assert_eq!(lender.available(), (0, 1));
        // What was received is sent on, without its header.
        let mut again = a.into_payload(2, 3);
        again.advance(1);
        let mut c = pool.frame_from(b"c").unwrap();
        pool.attach(&mut c, &again, 0, 2).unwrap();
        pool.attach(&mut c, &again, 1, 1).unwrap();
        drop(again);
        assert_eq!((b.to_vec(), c.to_vec()), (b"b456789".to_vec(), b"c455".to_vec()));
        drop(b);
        assert_eq!(lender.available(), (0, 1));
        c.truncate(1);
        assert!(lender.is_full(), "the last reference is gone");
        assert!(lender.alloc().unwrap().append(64).is_ok());
        drop(c);
        assert!(pool.is_full());
    }

    #[test]
    fn too_little_room_changes_nothing() {
        let pool = SimPool::new(8, 64);
        let payload = chain(&pool, &[vec![1; 10], vec![2; 10], vec![3; 10]]).into_payload(0, 30);
        let mut small = SimPool::new(2, 64);
        let mut frame = pool.frame_from(b"header").unwrap();
        assert_eq!(small.attach(&mut frame, &payload, 5, 20), Err(NoRoom));
        assert_eq!((frame.to_vec(), frame.segments(), small.is_full()), (b"header".to_vec(), 1, true));
        assert_eq!(small.attach(&mut frame, &payload, 5, 15), Ok(()));
        assert_eq!(small.attach(&mut frame, &payload, 30, 1), Ok(()), "nothing needs no frame");
        assert_eq!((frame.len(), frame.segments(), small.available()), (21, 3, (0, 2)));
        drop((frame, payload));
        assert!(pool.is_full() && small.is_full());
    }

    #[test]
    fn damage_and_copies_leave_the_payload_alone() {
        let mut pool = SimPool::new(8, 64);
        let payload = pool.frame_from(&[0; 10]).unwrap().into_payload(0, 10);
        let mut frame = pool.frame_from(&[0]).unwrap();
        pool.attach(&mut frame, &payload, 5, 5).unwrap();
        let copy = frame.duplicate().unwrap();
        frame.flip_bit(8 * 2);
        assert_eq!((frame.to_vec(), copy.to_vec()), (vec![0, 0, 0x80, 0, 0, 0], vec![0; 6]));
        let damaged = frame.duplicate().unwrap();
        drop((frame, payload));
        assert_eq!((damaged.to_vec(), copy.to_vec()), (vec![0, 0, 0x80, 0, 0, 0], vec![0; 6]));
        drop((copy, damaged));
        assert!(pool.is_full());
    }

    #[test]
    fn references_pass_queues_and_threads() {
        const FRAMES: usize = 5000;
        let (mut pool, mut lender) = (SimPool::new(64, 64), SimPool::new(4, 64));
        let (mut tx, mut rx) = pipe(16);
        let receiver = std::thread::spawn(move || {
            let (mut port, mut out, mut received) = (Loopback::new(16), Vec::with_capacity(16), 0);
            while received < FRAMES {
                rx.rx_burst(&mut out, 16);
                port.tx_burst(&mut out);
                port.rx_burst(&mut out, 16);
                for frame in out.drain(..) {
                    let number = frame.data()[0];
                    assert_eq!(frame.to_vec(), [number; 5]);
                    received += 1;
                }
            }
        });
        let mut sent = 0;
        while sent < FRAMES {
            let number = sent as u8;
            let Some(mut payload) = lender.alloc() else { continue };
            payload.append(4).unwrap().fill(number);
            let payload = payload.into_payload(0, 4);
            for _ in 0..(FRAMES - sent).min(3) {
                let Some(mut frame) = pool.alloc() else { continue };
                frame.append(1).unwrap().fill(number);
                if pool.attach(&mut frame, &payload, 0, 4).is_err() {
                    continue;
                }
                sent += usize::from(tx.push(frame).is_ok());
            }
        }
        receiver.join().unwrap();
        assert!(pool.is_full() && lender.is_full());
    }

    proptest! {
        #[test]
        fn like_a_slice(
            segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6),
            range in (0..60_usize, 0..60_usize),
            cuts in prop::collection::vec((any::<bool>(), 0..40_usize), 0..6),
            references in prop::collection::vec((0..40_usize, 0..40_usize), 0..6),
        ) {
            let mut pool = SimPool::new(100, 20);
            let mut payload = chain(&pool, &segments).into_payload(range.0, range.1);
            let all = segments.concat();
            let mut twin = clip(&all, range.0, range.1);
            for (front, n) in cuts {
                if front {
                    payload.advance(n);
                    twin = clip(twin, n, usize::MAX);
                } else {
                    payload.truncate(n);
                    twin = clip(twin, 0, n);
                }
                prop_assert_eq!((bytes(&payload), payload.len()), (twin.to_vec(), twin.len()));
            }
            let mut frame = pool.alloc().unwrap();
            let mut expected = vec![];
            for (offset, len) in references {
                pool.attach(&mut frame, &payload, offset, len).unwrap();
                expected.extend(clip(twin, offset, len));
                prop_assert!(twin.get(offset..).unwrap_or_default().starts_with(payload.chunk(offset)));
            }
            prop_assert_eq!(frame.to_vec(), expected);
            drop(payload);
            drop(frame);
            prop_assert!(pool.is_full());
        }
    }
}

//! Frames given up to readers, and frames that refer to them, on DPDK's ring device.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Pool, Running, bytes, dpdk, frame, pool};
use pmd::{Mbuf, MbufPayload, Mempool, PortConfig, WorkerThread};
use proptest::prelude::*;
use wire::{Frame, FramePool, NoRoom, Payload};

/// All bytes of payload.
fn content(payload: &MbufPayload) -> Vec<u8> {
    let mut out = vec![0; payload.len()];
    assert_eq!(payload.copy_out(0, &mut out), out.len());
    out
}

/// A frame of a header and a reference to a part of `payload`.
fn referring(pool: &Mempool, header: &[u8], payload: &MbufPayload, offset: usize, len: usize) -> Mbuf {
    let mut frame = frame(pool, header, header.len().max(1));
    pool.handle().attach(&mut frame, payload, offset, len).unwrap();
    frame
}

fn clip(bytes: &[u8], offset: usize, len: usize) -> &[u8] {
    let from = offset.min(bytes.len());
    &bytes[from..offset.saturating_add(len).min(bytes.len()).max(from)]
}

#[test]
fn a_range_arrives_whichever_is_dropped_first() {
    let eal = dpdk();
    let pool = pool(&eal, "range");
    let payload_bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
    for (n, (multi_segs, segment)) in
        [(true, 3000), (true, 700), (false, 3000), (false, 700)].into_iter().enumerate()
    {
        let config = PortConfig { multi_segs, ..Default::default() };
        let mut ring = Running::open(&eal, &format!("net_ring{n}"), &config, &pool);
        for payload_first in [true, false] {
            let payload = frame(&pool, &payload_bytes, segment.min(2048)).into_payload(100, 1400);
            assert_eq!(content(&payload), payload_bytes[100..1500]);
            let sent = referring(&pool, b"header", &payload, 200, 1000);
            let mut payload = Some(payload).filter(|_| !payload_first);
            ring.send(sent);
            let received = ring.receive(|_| true).unwrap();
            assert_eq!(bytes(&received), [b"header", &payload_bytes[300..1300]].concat());
            assert_eq!(received.segments() > 1, multi_segs, "copied together where the device wants it");
            if let Some(payload) = payload.take() {
                drop(received);
                assert_eq!(content(&payload), payload_bytes[100..1500]);
            }
        }
        assert_eq!(pool.available(), pool.count());
    }
}

#[test]
fn a_frame_that_refers_is_its_own_in_front() {
    let eal = dpdk();
    let pool = pool(&eal, "front");
    let payload = frame(&pool, b"payload", 7).into_payload(0, 7);
    let mut one = referring(&pool, b"one ", &payload, 0, 100);
    let other = referring(&pool, b"other ", &payload, 3, 100);
    assert!([0, 1].iter().all(|n| one.append(*n).is_err()), "the memory is not the frame's");
    one.prepend(2).unwrap().copy_from_slice(b"No");
    one.data_mut()[2] = b'.';
    assert_eq!(bytes(&one), b"No.ne payload");
    one.truncate(9);
    assert!(one.append(1).is_err(), "nor is what was cut off");
    assert_eq!((bytes(&one), bytes(&other)), (b"No.ne pay".to_vec(), b"other load".to_vec()));
    assert_eq!(content(&payload), b"payload");
    one.truncate(5);
    assert_eq!(one.segments(), 1);
    one.append(1).unwrap().fill(b'!');
    assert_eq!(bytes(&one), b"No.ne!");
}

#[test]
fn references_are_referred_to() {
    let eal = dpdk();
    let (front, back) = (pool(&eal, "again"), pool(&eal, "lender"));
    let mut ring = Running::open(&eal, "net_ring4", &PortConfig::default(), &front);
    let payload = frame(&back, b"0123456789", 10).into_payload(0, 10);
    ring.send(referring(&front, b"first", &payload, 2, 6));
    drop(payload);
    assert_eq!(back.available(), back.count() - 1);
    // What came is sent on, without its header.
    let again = ring.receive(|_| true).unwrap().into_payload(6, 4);
    assert_eq!(front.available(), front.count() - 1, "the header's buffer is not needed any more");
    ring.send(referring(&front, b"second", &again, 1, 2));
    assert_eq!(bytes(&ring.receive(|_| true).unwrap()), b"second45");
    ring.send(referring(&front, b"third", &again, 0, 100));
    drop(again);
    let third = ring.receive(|_| true).unwrap();
    assert_eq!((bytes(&third), back.available()), (b"third3456".to_vec(), back.count() - 1));
    drop(third);
    assert_eq!((front.available(), back.available()), (front.count(), back.count()));
    // The buffer is a fresh one again: of its own, of full length.
    let mut fresh = frame(&back, &[1; 2048], 2048);
    assert_eq!((bytes(&fresh), fresh.segments(), fresh.append(1).is_err()), (vec![1; 2048], 1, true));
}

#[test]
fn a_reference_is_made_of_a_buffer_that_comes_back_whole() {
    let eal = dpdk();
    let (small, large) = (Pool(Mempool::new(&eal, "tiny", 63, 0, 0, None).unwrap()), pool(&eal, "large"));
    let payload = frame(&large, &[7; 2000], 2000).into_payload(0, 2000);
    let mut sent = frame(&large, &[1; 10], 10);
    let mut references = small.handle();
    references.attach(&mut sent, &payload, 0, 2000).unwrap();
    drop(payload);
    assert_eq!((sent.len(), sent.data()), (2010, &[1; 10][..]));
    drop(sent);
    let mut whole: Vec<Mbuf> = std::iter::from_fn(|| references.alloc()).collect();
    assert_eq!(whole.len(), 63);
    assert!(
        whole
            .iter_mut()
            .all(|frame| frame.is_empty() && frame.append(1).is_err() && frame.prepend(128).is_ok())
    );
}

#[test]
fn too_little_room_changes_nothing() {
    let eal = dpdk();
    let large = pool(&eal, "much");
    let small = Pool(Mempool::new(&eal, "little", 2, 0, 64, None).unwrap());
    let payload = frame(&large, &[7; 30], 10).into_payload(0, 30);
    let mut frame = frame(&large, b"header", 6);
    let mut handle = small.handle();
    assert_eq!(handle.attach(&mut frame, &payload, 5, 20), Err(NoRoom));
    assert_eq!((bytes(&frame), frame.segments(), handle.available()), (b"header".to_vec(), 1, (2, 2)));
    assert_eq!(handle.attach(&mut frame, &payload, 5, 15), Ok(()));
    assert_eq!(handle.attach(&mut frame, &payload, 30, 1), Ok(()), "nothing needs no buffer");
    assert_eq!((frame.len(), frame.segments(), handle.available()), (21, 3, (0, 2)));
}

#[test]
fn references_are_bounded_before_their_count_wraps() {
    let eal = dpdk();
    let pool = Pool(Mempool::new(&eal, "bounded", 36_000, 0, 64, None).unwrap());
    let payload = frame(&pool, b"x", 1).into_payload(0, 1);
    let mut handle = pool.handle();
    let mut frames: Vec<Mbuf> = Vec::new();
    let mut made = 0;
    'all: loop {
        let mut frame = frame(&pool, b"h", 1);
        for _ in 0..256 {
            match handle.attach(&mut frame, &payload, 0, 1) {
                Ok(()) => made += 1,
                Err(NoRoom) => break 'all,
            }
        }
        frames.push(frame);
    }
    // The payload is one of those that are counted.
    assert_eq!(made, usize::from(u16::MAX / 2) - 1);
    drop(frames.pop());
    assert_eq!(handle.attach(&mut frames[0], &payload, 0, 1), Ok(()));
}

#[test]
fn memory_that_stays_is_referred_to() {
    let eal = dpdk();
    let pool = pool(&eal, "immortal");
    let fill = |out: &mut [u8]| {
        (0_u32..).zip(out).for_each(|(n, byte)| *byte = (n ^ n >> 8) as u8);
        Ok(())
    };
    let content = eal.immortal(200_000, fill).unwrap();
    let mut handle = pool.handle();
    for (n, multi_segs) in [true, false].into_iter().enumerate() {
        let config = PortConfig { multi_segs, ..Default::default() };
        let mut ring = Running::open(&eal, &format!("net_ring{}", 6 + n), &config, &pool);
        for (at, len) in [(0, 1400), (1400, 1), (198_600, 1400)] {
            let part = &content[at..at + len];
            assert!(handle.can_refer(part));
            let mut sent = frame(&pool, b"header", 6);
            handle.refer(&mut sent, part).unwrap();
            assert_eq!((sent.segments(), sent.tailroom(), sent.append(0).is_err()), (2, 0, true));
            ring.send(sent);
            let received = ring.receive(|_| true).unwrap();
            assert_eq!(bytes(&received), [b"header", part].concat());
            // And from there on, as payload like any other.
            let payload = received.into_payload(6, len);
            let again = referring(&pool, b"again", &payload, 0, len);
            drop(payload);
            assert_eq!(bytes(&again), [b"again", part].concat());
        }
    }
    let mut whole = frame(&pool, b"h", 1);
    handle.refer(&mut whole, &content[..wire::MAX_REFERENCE]).unwrap();
    assert_eq!(handle.refer(&mut whole, &content[..=wire::MAX_REFERENCE]), Err(NoRoom));
    assert_eq!((whole.len(), whole.segments()), (1 + wire::MAX_REFERENCE, 2));
    // Of memory that is not DPDK's, devices need not know.
    assert!(!handle.can_refer(b"text"));
    assert_eq!(handle.refer(&mut whole, b"text"), Err(NoRoom));
    assert!(matches!(eal.immortal(1 << 50, |_| Ok(())), Err(pmd::Error::Immortal { .. })));
    let failed = eal.immortal(10, |_| Err(std::io::Error::other("gone")));
    assert_eq!(failed.unwrap_err().to_string(), "a content could not be read: gone.");
}

#[test]
fn references_to_memory_that_stays_are_bounded() {
    let eal = dpdk();
    let pool = Pool(Mempool::new(&eal, "stays", 36_000, 0, 64, None).unwrap());
    let content = eal.immortal(1, |_| Ok(())).unwrap();
    let mut handle = pool.handle();
    let mut frames: Vec<Mbuf> = Vec::new();
    let mut made = 0;
    'all: loop {
        let mut frame = frame(&pool, b"h", 1);
        for _ in 0..256 {
            match handle.refer(&mut frame, content) {
                Ok(()) => made += 1,
                Err(NoRoom) => break 'all,
            }
        }
        frames.push(frame);
    }
    assert_eq!(made, usize::from(u16::MAX / 2) - 1);
    drop(frames.pop());
    assert_eq!(handle.refer(&mut frames[0], content), Ok(()));
    // What is left goes after the handle.
    drop(handle);
}

#[test]
fn the_last_of_several_threads_frees() {
    let eal = dpdk();
    let pool = pool(&eal, "threads");
    let (give, take) = std::sync::mpsc::sync_channel::<(u8, Mbuf)>(64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _registered = WorkerThread::register(&eal).unwrap();
            for (tag, frame) in take {
                assert_eq!(bytes(&frame), [tag; 65]);
                // Referred to here as well, while the payload is there.
                let payload = frame.into_payload(1, 64);
                assert_eq!(bytes(&referring(&pool, &[tag], &payload, 0, 64)), [tag; 65]);
            }
        });
        for n in 0..20_000_u32 {
            let tag = n as u8;
            let payload = frame(&pool, &[tag; 64], 64).into_payload(0, 64);
            for _ in 0..=n % 3 {
                give.send((tag, referring(&pool, &[tag], &payload, 0, 64))).unwrap();
            }
        }
        drop(give);
    });
}

#[test]
fn payload_equals_its_twin() {
    let eal = dpdk();
    let pool = pool(&eal, "twins");
    let ring = std::cell::RefCell::new(Running::open(&eal, "net_ring5", &PortConfig::default(), &pool));
    let segments = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 1..6);
    let cuts = proptest::collection::vec((any::<bool>(), 0..40_usize), 0..6);
    let references = proptest::collection::vec((0..40_usize, 0..40_usize), 0..6);
    proptest!(ProptestConfig::with_cases(500), |(
        segments in segments, range in (0..60_usize, 0..60_usize), cuts in cuts, references in references
    )| {
        let mut whole = frame(&pool, &[], 1);
        for segment in &segments {
            whole.chain(frame(&pool, segment, 20)).unwrap();
        }
        let mut payload = whole.into_payload(range.0, range.1);
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
            prop_assert_eq!((content(&payload), payload.len()), (twin.to_vec(), twin.len()));
        }
        let mut sent = frame(&pool, &[1], 1);
        let mut expected = vec![1];
        for (offset, len) in references {
            pool.handle().attach(&mut sent, &payload, offset, len).unwrap();
            expected.extend(clip(twin, offset, len));
            prop_assert!(twin.get(offset..).unwrap_or_default().starts_with(payload.chunk(offset)));
        }
        drop(payload);
        let ring = &mut *ring.borrow_mut();
        ring.send(sent);
        prop_assert_eq!(bytes(&ring.receive(|_| true).unwrap()), expected);
        prop_assert_eq!(pool.available(), pool.count());
    });
}

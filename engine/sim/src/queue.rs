//! Queues in memory: a wire between two of them, a loop, a source and a sink of frames.
//!
//! All are bounded, and none touches the allocator once it is made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::transport::fill_open_checksum;
use wire::{Frame, RxQueue, TxQueue};

use crate::frame::{SimFrame, SimPool};

/// A wire that holds up to `capacity` frames. Its ends may live on different threads.
pub fn pipe(capacity: usize) -> (SimTx, SimRx) {
    let wire = Arc::new(Mutex::new(Bounded::new(capacity)));
    (SimTx(Arc::clone(&wire)), SimRx(wire))
}

/// The end of a [`pipe`] that frames go into.
#[derive(Debug)]
pub struct SimTx(Arc<Mutex<Bounded>>);

/// The end of a [`pipe`] that frames come out of.
#[derive(Debug)]
pub struct SimRx(Arc<Mutex<Bounded>>);

impl SimTx {
    /// Puts one frame in; gives it back if the pipe is full.
    pub fn push(&mut self, frame: SimFrame) -> Result<(), SimFrame> {
        lock(&self.0).push(frame)
    }

    /// Frames in the pipe now.
    pub fn queued(&self) -> usize {
        lock(&self.0).frames.len()
    }
}

impl SimRx {
    /// Takes one frame out.
    pub fn pop(&mut self) -> Option<SimFrame> {
        lock(&self.0).frames.pop_front()
    }

    /// Frames in the pipe now.
    pub fn queued(&self) -> usize {
        lock(&self.0).frames.len()
    }
}

impl TxQueue for SimTx {
    type Frame = SimFrame;

    fn tx_burst(&mut self, frames: &mut Vec<SimFrame>) -> usize {
        lock(&self.0).take_from(frames)
    }
}

impl RxQueue for SimRx {
    type Frame = SimFrame;

    fn rx_burst(&mut self, out: &mut Vec<SimFrame>, max: usize) -> usize {
        lock(&self.0).give_to(out, max)
    }
}

/// A port whose plug is in its own socket: what is sent is received.
#[derive(Debug)]
pub struct Loopback(Bounded);

impl Loopback {
    /// A loop that holds up to `capacity` frames.
    pub fn new(capacity: usize) -> Self {
        Loopback(Bounded::new(capacity))
    }
}

impl TxQueue for Loopback {
    type Frame = SimFrame;

    fn tx_burst(&mut self, frames: &mut Vec<SimFrame>) -> usize {
        self.0.take_from(frames)
    }
}

impl RxQueue for Loopback {
    type Frame = SimFrame;

    fn rx_burst(&mut self, out: &mut Vec<SimFrame>, max: usize) -> usize {
        self.0.give_to(out, max)
    }
}

/// A receive queue whose frames are made when they are asked for.
#[derive(Debug)]
pub struct Source<M>(M);

impl<M: FnMut() -> Option<SimFrame> + Send> Source<M> {
    /// Frames from `make`, until it gives `None`; it is asked again at the next burst.
    pub fn new(make: M) -> Self {
        Source(make)
    }
}

/// A source that gives copies of `templates`, over and over, while `pool` has frames; in all
/// `limit` of them, or without end.
pub fn cycle(
    pool: SimPool,
    templates: Vec<Vec<u8>>,
    limit: Option<u64>,
) -> Source<impl FnMut() -> Option<SimFrame> + Send> {
    let mut made = 0;
    Source::new(move || {
        if limit.is_some_and(|limit| made >= limit) || templates.is_empty() {
            return None;
        }
        let frame = pool.frame_from(&templates[(made % templates.len() as u64) as usize])?;
        made += 1;
        Some(frame)
    })
}

impl<M: FnMut() -> Option<SimFrame> + Send> RxQueue for Source<M> {
    type Frame = SimFrame;

    fn rx_burst(&mut self, out: &mut Vec<SimFrame>, max: usize) -> usize {
        let room = max.min(out.capacity() - out.len());
        let before = out.len();
        out.extend(std::iter::from_fn(&mut self.0).take(room));
        out.len() - before
    }
}

/// A transmit queue that takes all, counts it, and keeps the last few frames.
///
/// Clones look at the same counts: one goes into the worker, one stays with the test.
#[derive(Clone, Debug)]
pub struct Sink(Arc<Mutex<Sunk>>);

#[derive(Debug)]
struct Sunk {
    frames: u64,
    bytes: u64,
    kept: Bounded,
}

impl Sink {
    /// A sink that keeps the last `keep` frames. They count as used in their pool until taken.
    pub fn new(keep: usize) -> Self {
        Sink(Arc::new(Mutex::new(Sunk { frames: 0, bytes: 0, kept: Bounded::new(keep) })))
    }

    /// Frames sent so far.
    pub fn frames(&self) -> u64 {
        lock(&self.0).frames
    }

    /// Bytes of all frames sent so far.
    pub fn bytes(&self) -> u64 {
        lock(&self.0).bytes
    }

    /// Takes the frames that were kept, oldest first.
    pub fn take(&self) -> Vec<SimFrame> {
        lock(&self.0).kept.frames.drain(..).collect()
    }
}

impl TxQueue for Sink {
    type Frame = SimFrame;

    fn tx_burst(&mut self, frames: &mut Vec<SimFrame>) -> usize {
        let mut sunk = lock(&self.0);
        let taken = frames.len();
        for frame in frames.drain(..) {
            sunk.frames += 1;
            sunk.bytes += frame.len() as u64;
            sunk.kept.push_over(frame);
        }
        taken
    }
}

/// Frames in order, never more than `capacity`.
#[derive(Debug)]
struct Bounded {
    frames: VecDeque<SimFrame>,
    capacity: usize,
}

impl Bounded {
    fn new(capacity: usize) -> Self {
        Bounded { frames: VecDeque::with_capacity(capacity), capacity }
    }

    fn push(&mut self, frame: SimFrame) -> Result<(), SimFrame> {
        if self.frames.len() == self.capacity {
            return Err(frame);
        }
        self.put(frame);
        Ok(())
    }

    /// What was sent leaves with its checksum.
    fn put(&mut self, mut frame: SimFrame) {
        fill_open_checksum(&mut frame);
        self.frames.push_back(frame);
    }

    /// Pushes, at the cost of the oldest.
    fn push_over(&mut self, frame: SimFrame) {
        if self.frames.len() == self.capacity {
            self.frames.pop_front();
        }
        if self.capacity > 0 {
            self.put(frame);
        }
    }

    fn take_from(&mut self, frames: &mut Vec<SimFrame>) -> usize {
        let n = frames.len().min(self.capacity - self.frames.len());
        frames.drain(..n).for_each(|frame| self.put(frame));
        n
    }

    fn give_to(&mut self, out: &mut Vec<SimFrame>, max: usize) -> usize {
        let n = self.frames.len().min(max).min(out.capacity() - out.len());
        out.extend(self.frames.drain(..n));
        n
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere (a failed test) cannot leave these half changed in a way that matters.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::checksum;
    use wire::{FramePool, OpenChecksum, Transport};

    fn numbered(pool: &SimPool, numbers: std::ops::Range<u8>) -> Vec<SimFrame> {
        numbers.map(|n| pool.frame_from(&[n]).unwrap()).collect()
    }

    fn numbers(frames: &[SimFrame]) -> Vec<u8> {
        frames.iter().map(|f| f.data()[0]).collect()
    }

    /// Into room for five: within `max`, within the room.
    fn receive_five(rx: &mut impl RxQueue<Frame = SimFrame>, out: &mut Vec<SimFrame>) {
        assert_eq!(rx.rx_burst(out, 3), 3);
        assert_eq!(rx.rx_burst(out, 32), 2);
        assert_eq!(rx.rx_burst(out, 32), 0);
        assert_eq!(out.capacity(), 5);
    }

    #[test]
    fn pipe_keeps_order_and_bounds() {
        let pool = SimPool::new(16, 64);
        let (mut tx, mut rx) = pipe(8);
        let mut frames = numbered(&pool, 0..10);
        assert_eq!(tx.tx_burst(&mut frames), 8);
        assert_eq!(tx.tx_burst(&mut frames), 0);
        let refused = tx.push(frames.remove(0)).unwrap_err();
        let mut out = Vec::with_capacity(5);
        receive_five(&mut rx, &mut out);
        assert_eq!(
            (numbers(&out), refused.data(), numbers(&frames)),
            (vec![0, 1, 2, 3, 4], &[8][..], vec![9])
        );
        assert_eq!((tx.queued(), rx.queued()), (3, 3));
        assert_eq!(rx.pop().unwrap().data(), [5]);
        drop((tx, rx, frames, out, refused));
        assert!(pool.is_full());
    }

    #[test]
    fn open_checksums_are_filled_in() {
        let pool = SimPool::new(16, 64);
        let (mut tx, mut rx) = pipe(1);
        // Four bytes and a UDP header.
        let open = OpenChecksum { transport: Transport::Udp, l2_len: 1, l3_len: 3, l4_len: 8 };
        let frame = || {
            let mut frame = pool.frame_from(&[1, 2, 3, 4, 0, 1, 0, 2, 0, 10, 0, 0, 5, 6]).unwrap();
            frame.set_open_checksum(open);
            frame
        };
        let mut frames = vec![frame(), frame()];
        assert_eq!(tx.tx_burst(&mut frames), 1);
        assert_eq!(frames[0].data()[10..12], [0, 0], "what the device did not take is as it was");
        let sent = rx.pop().unwrap();
        assert_eq!((checksum(&sent.data()[4..]), sent.open_checksum()), (0, None));
    }

    #[test]
    fn loopback_keeps_order_and_bounds() {
        let pool = SimPool::new(16, 64);
        let mut port = Loopback::new(8);
        let mut frames = numbered(&pool, 0..10);
        assert_eq!(port.tx_burst(&mut frames), 8);
        let mut out = Vec::with_capacity(5);
        receive_five(&mut port, &mut out);
        assert_eq!((numbers(&out), numbers(&frames)), (vec![0, 1, 2, 3, 4], vec![8, 9]));
        drop((port, frames, out));
        assert!(pool.is_full());
    }

    #[test]
    fn pipe_across_threads() {
        const FRAMES: u32 = 20_000;
        let pool = SimPool::new(64, 64);
        let (mut tx, mut rx) = pipe(16);
        let mut source = pool.clone();
        let sender = std::thread::spawn(move || {
            let mut n = 0u32;
            while n < FRAMES {
                let Some(mut frame) = source.alloc() else { continue };
                frame.append(4).unwrap().copy_from_slice(&n.to_be_bytes());
                let mut burst = vec![frame];
                while tx.tx_burst(&mut burst) == 0 {
                    std::thread::yield_now();
                }
                n += 1;
            }
        });
        let mut expected = 0u32;
        let mut out = Vec::with_capacity(8);
        while expected < FRAMES {
            rx.rx_burst(&mut out, 8);
            for frame in out.drain(..) {
                assert_eq!(frame.data(), expected.to_be_bytes());
                expected += 1;
            }
        }
        sender.join().unwrap();
        assert!(pool.is_full());
    }

    #[test]
    fn source_cycles_within_its_limit_and_the_pool() {
        let pool = SimPool::new(4, 64);
        let mut source = cycle(pool.clone(), vec![vec![7], vec![8], vec![9]], Some(5));
        let mut out = Vec::with_capacity(8);
        assert_eq!(source.rx_burst(&mut out, 32), 4);
        assert_eq!(numbers(&out), [7, 8, 9, 7]);
        out.clear();
        assert_eq!(source.rx_burst(&mut out, 32), 1);
        assert_eq!(numbers(&out), [8]);
        assert_eq!(source.rx_burst(&mut out, 32), 0);
    }

    #[test]
    fn sink_counts_all_and_keeps_the_last() {
        let pool = SimPool::new(8, 64);
        let sink = Sink::new(2);
        let mut worker_end = sink.clone();
        assert_eq!(worker_end.tx_burst(&mut numbered(&pool, 0..5)), 5);
        assert_eq!((sink.frames(), sink.bytes()), (5, 5));
        assert_eq!(pool.available(), (6, 8));
        assert_eq!(numbers(&sink.take()), [3, 4]);
        assert!(pool.is_full());
    }
}

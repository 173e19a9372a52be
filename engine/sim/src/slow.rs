//! A transmit queue that is slow to say that it is done with a frame.

use std::time::Duration;

use wire::{Frame, Instant, TxQueue};

use crate::clock::Clock;
use crate::frame::{SimFrame, SimPool};
use crate::queue::SimTx;
use crate::rng::Rng;

/// What a [`SlowTx`] does to frames.
#[derive(Clone, Debug)]
pub struct SlowConfig {
    /// Frames that it holds at most; it takes no more until it has let go of some.
    pub depth: usize,
    /// How long it holds a frame, at most.
    pub longest: Duration,
    /// The share of frames that are lost on their way.
    pub loss: f64,
}

/// A transmit queue that behaves as a device does at its worst: what it was given is on the wire at once, and
/// may be answered, but the frame stays in its hands for a while of its own, whatever happens meanwhile. It
/// lets go when it is next given something, as drivers do, and then looks whether the frame still has the
/// bytes that it was given with.
pub struct SlowTx {
    wire: SimTx,
    /// Where the copies on the wire are from.
    copies: SimPool,
    config: SlowConfig,
    clock: Clock,
    rng: Rng,
    held: Vec<Held>,
}

struct Held {
    until: Instant,
    bytes: Vec<u8>,
    frame: SimFrame,
}

impl SlowTx {
    /// A queue onto `wire`, with chance from `rng`.
    pub fn new(wire: SimTx, config: SlowConfig, clock: Clock, rng: Rng) -> Self {
        let copies = SimPool::new(config.depth, 2048);
        SlowTx { wire, copies, config, clock, rng, held: vec![] }
    }

    fn let_go(&mut self, now: Instant) {
        let seed = self.rng.seed();
        for held in self.held.extract_if(.., |held| held.until <= now) {
            assert!(
                held.frame.to_vec() == held.bytes,
                "a frame was changed in the device's hands, seed {seed}"
            );
        }
    }
}

impl TxQueue for SlowTx {
    type Frame = SimFrame;

    fn tx_burst(&mut self, frames: &mut Vec<SimFrame>) -> usize {
        let now = self.clock.now();
        self.let_go(now);
        let taken = frames.len().min(self.config.depth - self.held.len());
        for frame in frames.drain(..taken) {
            let bytes = frame.to_vec();
            if !self.rng.chance(self.config.loss)
                && let Some(mut copy) = self.copies.frame_from(&bytes)
            {
                if let Some(open) = frame.open_checksum() {
                    copy.set_open_checksum(open);
                }
                // A wire that is full loses it.
                drop(self.wire.push(copy));
            }
            let longest = self.config.longest.as_nanos() as u64;
            let until = now + Duration::from_nanos(self.rng.range(0..longest + 1));
            self.held.push(Held { until, bytes, frame });
        }
        taken
    }
}

impl Drop for SlowTx {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.let_go(Instant::from_nanos(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::{FramePool, Payload};

    use super::*;
    use crate::queue::pipe;

    fn slow(loss: f64) -> (SlowTx, crate::SimRx, Clock) {
        let (tx, rx) = pipe(64);
        let clock = Clock::new();
        let config = SlowConfig { depth: 4, longest: Duration::from_millis(10), loss };
        (SlowTx::new(tx, config, clock.clone(), Rng::new(1)), rx, clock)
    }

    #[test]
    fn frames_come_back_late_and_arrive_at_once() {
        let (mut tx, mut rx, clock) = slow(0.0);
        let pool = SimPool::new(8, 64);
        let mut frames: Vec<_> = (0..6).map(|n| pool.frame_from(&[n; 5]).unwrap()).collect();
        assert_eq!((tx.tx_burst(&mut frames), frames.len()), (4, 2), "it is full");
        assert_eq!(rx.pop().unwrap().to_vec(), [0; 5]);
        assert_eq!(tx.tx_burst(&mut frames), 0);
        assert_eq!(pool.available(), (2, 8));
        clock.advance(Duration::from_millis(10));
        assert_eq!(tx.tx_burst(&mut frames), 2);
        drop(tx);
        assert!(pool.is_full());
    }

    #[test]
    fn what_is_lost_is_held_all_the_same() {
        let (mut tx, mut rx, _) = slow(1.0);
        let mut pool = SimPool::new(8, 64);
        let payload = pool.frame_from(b"payload").unwrap().into_payload(0, 7);
        let mut frame = pool.frame_from(b"header").unwrap();
        pool.attach(&mut frame, &payload, 0, payload.len()).unwrap();
        tx.tx_burst(&mut vec![frame]);
        drop(payload);
        assert!(rx.pop().is_none() && pool.available() == (5, 8));
    }

    #[test]
    #[should_panic(expected = "changed in the device's hands")]
    fn a_change_is_seen() {
        let (mut tx, _rx, _) = slow(0.0);
        let pool = SimPool::new(8, 64);
        tx.tx_burst(&mut vec![pool.frame_from(b"frame").unwrap()]);
        tx.held[0].frame.data_mut()[0] ^= 1;
    }
}

//! The open-loop sender: each frame has its time, and the device's pace does not change it.

use std::time::Duration;

use wire::{Frame, FramePool, Instant, TxQueue};

use crate::schedule::{Load, Schedule};
use crate::source::Source;

/// Frames handed to the device at once; so many wait for it at most.
const BURST: usize = 64;

/// Sends the frames of a [`Source`] as a [`Schedule`] has them.
///
/// A frame whose time is longer past than the patience is not sent any more, nor are those that the device has not
/// taken when the trial ends. Frames that are sent late carry the time at which they were due.
pub struct Sender<F> {
    source: Source,
    schedule: Schedule,
    /// How long after its time a frame may still be sent, in nanoseconds.
    patience: u64,
    /// Frames that are due, oldest first.
    batch: Vec<F>,
    sent: u64,
    /// The position of the source at the load's first frame.
    first: u64,
}

impl<F: Frame> Sender<F> {
    /// A sender that has nothing to send yet.
    pub fn new(source: Source, patience: Duration) -> Self {
        let idle = Load { pps: 1.0, burst: 1, duration: Duration::ZERO };
        Sender {
            first: source.position(),
            source,
            schedule: idle.schedule(Instant::ZERO),
            patience: u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX),
            batch: Vec::with_capacity(BURST),
            sent: 0,
        }
    }

    /// Begins a trial; gives the number of its first frame, in all that the source makes.
    pub fn begin(&mut self) -> u64 {
        self.sent = 0;
        self.source.position()
    }

    /// Sends a load from `start` on. What is left of the one before must have been closed.
    pub fn load(&mut self, load: &Load, start: Instant) {
        self.schedule = load.schedule(start);
        self.first = self.source.position();
    }

    /// Sends what is due at `now`, as far as the device takes it; gives whether anything was.
    #[inline]
    pub fn poll<T, P>(&mut self, now: Instant, queue: &mut T, pool: &mut P) -> bool
    where
        T: TxQueue<Frame = F>,
        P: FramePool<Frame = F>,
    {
        let now = now.as_nanos();
        self.give_up(now.saturating_sub(self.patience));
        for _ in self.batch.len()..BURST {
            let Some(intended) = self.schedule.peek().filter(|time| *time <= now) else { break };
            let Some(frame) = self.source.make(pool, intended) else { break };
            self.schedule.advance();
            self.batch.push(frame);
        }
        if self.batch.is_empty() {
            return false;
        }
        let taken = queue.tx_burst(&mut self.batch);
        self.sent += taken as u64;
        taken > 0
    }

    /// Gives up frames that were due before `limit`: those in the batch, then those not made.
    #[inline]
    fn give_up(&mut self, limit: u64) {
        if self.oldest().is_some_and(|time| time < limit) {
            self.give_up_late(limit);
        }
    }

    /// When the frame that has waited longest was due.
    #[inline]
    fn oldest(&self) -> Option<u64> {
        if self.batch.is_empty() {
            return self.schedule.peek();
        }
        Some(self.schedule.time_of(self.schedule.taken() - self.batch.len() as u64))
    }

    #[cold]
    fn give_up_late(&mut self, limit: u64) {
        let first = self.schedule.taken() - self.batch.len() as u64;
        let waiting = self.batch.len() as u64;
        let late = (0..waiting).take_while(|n| self.schedule.time_of(first + n) < limit).count();
        drop(self.batch.drain(..late));
        if self.batch.is_empty() {
            self.source.skip(self.schedule.skip_before(limit));
        }
    }

    /// Ends the sending: what is not with the device now is not sent.
    pub fn close(&mut self) {
        self.source.skip(self.schedule.skip_before(u64::MAX));
        F::free_bulk(&mut self.batch);
    }

    /// Frames that the device took in this trial.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How long into the last load frame `number` was due, in all that the source makes; `None` if it is not of
    /// that load.
    pub fn time_into_load(&self, number: u64) -> Option<Duration> {
        let n = number.checked_sub(self.first).filter(|n| *n < self.schedule.frames())?;
        Some(Duration::from_nanos(self.schedule.time_of(n) - self.schedule.start()))
    }

    /// What is sent.
    pub fn source(&mut self) -> &mut Source {
        &mut self.source
    }
}

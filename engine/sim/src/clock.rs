//! Virtual time, and what is to happen in it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use wire::Instant;

/// Time that passes when it is told to. Clones show the same time, on other threads too.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// A clock at [`Instant::ZERO`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Relaxed))
    }

    /// Lets `duration` pass; gives the time then.
    pub fn advance(&self, duration: Duration) -> Instant {
        self.advance_to(self.now() + duration)
    }

    /// Lets time pass until `at`; gives the time then, which is later if it was already.
    pub fn advance_to(&self, at: Instant) -> Instant {
        self.0.fetch_max(at.as_nanos(), Relaxed);
        self.now()
    }
}

/// Events in order of time; those of the same time in the order in which they were scheduled.
#[derive(Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    scheduled: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    number: u64,
    event: E,
}

impl<E> EventQueue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        EventQueue { heap: BinaryHeap::new(), scheduled: 0 }
    }

    /// Lets `event` happen at `at`.
    pub fn schedule(&mut self, at: Instant, event: E) {
        self.heap.push(Reverse(Entry { at, number: self.scheduled, event }));
        self.scheduled += 1;
    }

    /// When the next event happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.0.at)
    }

    /// The next event, if its time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, E)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }

    /// Lets time pass until the next event, and gives it.
    pub fn advance(&mut self, clock: &Clock) -> Option<(Instant, E)> {
        let now = clock.advance_to(self.next_deadline()?);
        self.pop_due(now)
    }

    /// Events still to come.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing more is to happen.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Entry<E> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn time_only_passes_forwards() {
        let clock = Clock::new();
        let other = clock.clone();
        clock.advance(Duration::from_nanos(10));
        assert_eq!(other.now(), Instant::from_nanos(10));
        assert_eq!(clock.advance_to(Instant::from_nanos(5)), Instant::from_nanos(10));
        assert_eq!(other.advance_to(Instant::from_nanos(20)), clock.now());
    }

    #[test]
    fn like_a_stable_sort() {
        let mut rng = Rng::new(5);
        let mut queue = EventQueue::new();
        let mut twin: Vec<(Instant, usize)> = Vec::new();
        for i in 0..1000 {
            let at = Instant::from_nanos(rng.range(0..50));
            queue.schedule(at, i);
            twin.push((at, i));
        }
        twin.sort_by_key(|(at, _)| *at);
        assert_eq!(queue.len(), 1000);
        let clock = Clock::new();
        let popped: Vec<_> = std::iter::from_fn(|| {
            let event = queue.advance(&clock)?;
            assert_eq!(clock.now(), event.0);
            Some(event)
        })
        .collect();
        assert_eq!(popped, twin);
        assert!(queue.is_empty());
    }

    #[test]
    fn not_before_its_time() {
        let mut queue = EventQueue::new();
        queue.schedule(Instant::from_nanos(5), 'a');
        assert_eq!(queue.pop_due(Instant::from_nanos(4)), None);
        assert_eq!(queue.pop_due(Instant::from_nanos(6)), Some((Instant::from_nanos(5), 'a')));
        assert_eq!(queue.next_deadline(), None);
    }
}

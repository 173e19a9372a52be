//! Where unlinked things wait until no worker can see them: quiescent-state-based reclamation.

use std::collections::VecDeque;

/// A queue of things that were unlinked, each with the epoch in which that happened.
///
/// A worker that last published epoch `e` may hold what was unlinked in `e` or later. So what was
/// retired in epoch `r` is free once the least published epoch is above `r`.
#[derive(Debug)]
pub struct Limbo<T>(VecDeque<(u64, T)>);

impl<T> Limbo<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Limbo(VecDeque::new())
    }

    /// Puts in `item`, which no new reader can find any more, with the epoch of now.
    pub fn retire(&mut self, item: T, epoch: u64) {
        // Kept in order, so that `reclaim` need only look at the front; later than true is safe.
        let epoch = self.0.back().map_or(epoch, |(last, _)| epoch.max(*last));
        self.0.push_back((epoch, item));
    }

    /// Gives back one item that no worker can see, if there is one.
    ///
    /// `safe_epoch` is the least epoch that any worker has published: `u64::MAX` with no worker.
    pub fn reclaim(&mut self, safe_epoch: u64) -> Option<T> {
        self.0.pop_front_if(|(epoch, _)| *epoch < safe_epoch).map(|(_, item)| item)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Limbo<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_waits_until_every_worker_is_past_its_epoch() {
        let mut limbo = Limbo::new();
        limbo.retire('a', 3);
        limbo.retire('b', 5);
        assert_eq!(limbo.reclaim(3), None, "a worker in epoch 3 may still see it");
        assert_eq!(limbo.reclaim(4), Some('a'));
        assert_eq!(limbo.reclaim(5), None);
        assert_eq!(limbo.len(), 1);
        assert_eq!(limbo.reclaim(u64::MAX), Some('b'));
        assert!(limbo.is_empty());
    }

    #[test]
    fn an_epoch_that_steps_back_frees_nothing_early() {
        let mut limbo = Limbo::new();
        limbo.retire('a', 7);
        limbo.retire('b', 2);
        assert_eq!(limbo.reclaim(7), None);
        assert_eq!((limbo.reclaim(8), limbo.reclaim(8)), (Some('a'), Some('b')));
    }
}

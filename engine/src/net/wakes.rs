//! Which tasks were woken: a bit a task, in a tree of words.
//!
//! A wake may come from any thread. It sets the task's bit, and a word's bit one level up if the word was
//! empty: two atomic operations or one, no lock, no queue that could fill. The executor takes the words
//! from the top; when nothing was woken, it looks at one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

/// Bits of a word.
const BITS: usize = 64;

/// The woken tasks of an executor.
pub(super) struct Wakes {
    /// Which words of `middle` are not empty.
    top: AtomicU64,
    /// Which words of `leaves` are not empty.
    middle: Box<[AtomicU64]>,
    /// A bit a task.
    leaves: Box<[AtomicU64]>,
}

impl Wakes {
    /// Tasks at most.
    pub(super) const MOST: usize = BITS * BITS * BITS;

    /// None of `tasks` is woken.
    ///
    /// # Panics
    /// If there are more than [`MOST`](Self::MOST).
    pub(super) fn new(tasks: usize) -> Self {
        assert!(tasks <= Self::MOST, "{tasks} tasks: there is room for {}", Self::MOST);
        let words = |bits: usize| (0..bits.div_ceil(BITS)).map(|_| AtomicU64::new(0)).collect();
        let leaves: Box<[AtomicU64]> = words(tasks);
        Wakes { top: AtomicU64::new(0), middle: words(leaves.len()), leaves }
    }

    /// Marks a task.
    pub(super) fn wake(&self, task: u32) {
        let (leaf, middle) = (task as usize / BITS, task as usize / BITS / BITS);
        // From the bottom up: who takes a word above first, and then finds nothing below, will be told once
        // more. At every level, also if others are marked below: another thread may have come only so far.
        let mark = |word: &AtomicU64, bit: usize| word.fetch_or(1 << (bit % BITS), Ordering::AcqRel);
        mark(&self.leaves[leaf], task as usize);
        mark(&self.middle[middle], leaf);
        mark(&self.top, middle);
    }

    /// Whether a task is marked.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.top.load(Ordering::Relaxed) != 0
    }

    /// Takes all marks away, and gives the task of each to `run`. One that is marked meanwhile may be among
    /// them, or is left for the next time. Gives whether there was any.
    pub(super) fn take(&self, mut run: impl FnMut(u32)) -> bool {
        let mut any = false;
        for middle in bits(self.top.swap(0, Ordering::AcqRel)) {
            for leaf in bits(self.middle[middle].swap(0, Ordering::AcqRel)) {
                let leaf = middle * BITS + leaf;
                for bit in bits(self.leaves[leaf].swap(0, Ordering::AcqRel)) {
                    any = true;
                    run((leaf * BITS + bit) as u32);
                }
            }
        }
        any
    }
}

/// The places of a word's bits, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (lowest < BITS).then_some(lowest)
    })
}

/// Wakes the task in one place of an executor, whichever it is by then: one too many does no harm.
struct TaskWaker {
    wakes: Arc<Wakes>,
    task: u32,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wakes.wake(self.task);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.wake(self.task);
    }
}

/// The waker of a task.
pub(super) fn waker(wakes: &Arc<Wakes>, task: u32) -> Waker {
    Waker::from(Arc::new(TaskWaker { wakes: wakes.clone(), task }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(wakes: &Wakes) -> Vec<u32> {
        let mut tasks = vec![];
        let any = wakes.take(|task| tasks.push(task));
        assert_eq!(any, !tasks.is_empty());
        tasks
    }

    #[test]
    fn each_is_taken_once() {
        for tasks in [1, 64, 65, 5000, Wakes::MOST as u32] {
            let wakes = Wakes::new(tasks as usize);
            assert!(!wakes.any() && taken(&wakes).is_empty());
            let mut woken: Vec<u32> =
                [0, 1, 63, 64, 65, 4095, 4096, tasks - 1].into_iter().filter(|task| *task < tasks).collect();
            woken.iter().chain(&woken).for_each(|task| wakes.wake(*task));
            woken.sort_unstable();
            woken.dedup();
            assert!(wakes.any());
            assert_eq!(taken(&wakes), woken);
            assert!(!wakes.any() && taken(&wakes).is_empty());
        }
    }

    #[test]
    fn one_that_is_marked_while_all_are_taken_is_not_lost() {
        let wakes = Wakes::new(5000);
        wakes.wake(70);
        let mut runs = vec![];
        wakes.take(|task| {
            runs.push(task);
            if runs.len() == 1 {
                [3, 70, 4999].into_iter().for_each(|task| wakes.wake(task));
            }
        });
        while wakes.take(|task| runs.push(task)) {}
        runs.sort_unstable();
        assert_eq!(runs, [3, 70, 70, 4999]);
    }

    /// Each thread marks its tasks again and again, always only after its last mark was seen: one that was lost
    /// would keep it waiting for ever.
    #[test]
    fn no_mark_of_another_thread_is_lost() {
        const THREADS: u32 = 3;
        const ROUNDS: u64 = 20_000;
        let wakes = Arc::new(Wakes::new(200));
        let seen: Arc<Vec<AtomicU64>> = Arc::new((0..200).map(|_| AtomicU64::new(0)).collect());
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (wakes, seen) = (wakes.clone(), seen.clone());
                std::thread::spawn(move || {
                    // They share a word.
                    let task = 70 + thread;
                    for round in 0..ROUNDS {
                        wakes.wake(task);
                        while seen[task as usize].load(Ordering::Acquire) <= round {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let start = std::time::Instant::now();
        while !threads.iter().all(std::thread::JoinHandle::is_finished) {
            wakes.take(|task| _ = seen[task as usize].fetch_add(1, Ordering::Release));
            assert!(start.elapsed().as_secs() < 120, "a mark is lost");
            std::thread::yield_now();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!((70..73).all(|task| seen[task].load(Ordering::Relaxed) == ROUNDS));
    }
}

//! Tasks: a slab of futures, and what is known of their ends.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::wakes::{self, Wakes};

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks of one core. Each has its place, and a waker that the place keeps for the next.
pub(super) struct Tasks {
    wakes: Arc<Wakes>,
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<u32>>,
    most: usize,
}

struct Place {
    /// Counts the tasks that were here.
    generation: u32,
    /// Not here while it is polled, or if there is none.
    task: Option<Task>,
    waker: Option<Waker>,
    /// To be dropped as soon as it is here again.
    aborted: bool,
}

impl Tasks {
    /// Room for `most` tasks.
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Wakes::MOST);
        Tasks {
            wakes: Arc::new(Wakes::new(most)),
            places: RefCell::default(),
            free: RefCell::default(),
            most,
        }
    }

    /// Whether a task was woken.
    #[inline]
    pub(super) fn any_woken(&self) -> bool {
        self.wakes.any()
    }

    /// Adds a task, to be polled soon. `None` if there is no room.
    pub(super) fn spawn<T: 'static>(
        self: &Rc<Self>,
        future: impl Future<Output = T> + 'static,
    ) -> Option<JoinHandle<T>> {
        let at = self.place()?;
        let ending =
            Rc::new(Ending { value: Cell::new(None), over: Cell::new(false), waiting: Cell::new(None) });
        let end = End(ending.clone());
        let task = Box::pin(async move {
            let value = future.await;
            end.0.value.set(Some(value));
        });
        let place = &mut self.places.borrow_mut()[at as usize];
        place.task = Some(task);
        self.wakes.wake(at);
        Some(JoinHandle { ending, tasks: self.clone(), at, generation: place.generation })
    }

    /// A free place.
    fn place(&self) -> Option<u32> {
        if let Some(at) = self.free.borrow_mut().pop() {
            return Some(at);
        }
        let mut places = self.places.borrow_mut();
        let at = places.len() as u32;
        if places.len() == self.most {
            return None;
        }
        let waker = Some(wakes::waker(&self.wakes, at));
        places.push(Place { generation: 0, task: None, waker, aborted: false });
        Some(at)
    }

    /// Polls each task that was woken, once. Gives whether there was any.
    pub(super) fn run(&self) -> bool {
        self.wakes.take(|at| self.poll(at))
    }

    fn poll(&self, at: u32) {
        let taken = |place: &mut Place| Some((place.task.take()?, place.waker.take()?));
        // Not borrowed while the task runs: it may spawn others.
        let Some((mut task, waker)) = taken(&mut self.places.borrow_mut()[at as usize]) else { return };
        let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        let over = {
            let place = &mut self.places.borrow_mut()[at as usize];
            place.waker = Some(waker);
            let over = polled.is_ready() || place.aborted;
            if !over {
                place.task = Some(task);
                return;
            }
            task
        };
        self.end(at, over);
    }

    /// Drops a task, which may do anything meanwhile; then its place is free.
    fn end(&self, at: u32, task: Task) {
        drop(task);
        let place = &mut self.places.borrow_mut()[at as usize];
        place.aborted = false;
        place.generation = place.generation.wrapping_add(1);
        self.free.borrow_mut().push(at);
    }

    fn abort(&self, at: u32, generation: u32) {
        let task = {
            let place = &mut self.places.borrow_mut()[at as usize];
            if place.generation != generation {
                return;
            }
            let task = place.task.take();
            // It is running, or ending.
            place.aborted = task.is_none();
            task
        };
        if let Some(task) = task {
            self.end(at, task);
        }
    }

    /// Drops all tasks.
    pub(super) fn clear(&self) {
        let count = self.places.borrow().len();
        for at in 0..count {
            let task = self.places.borrow_mut()[at].task.take();
            if let Some(task) = task {
                self.end(at as u32, task);
            }
        }
    }
}

/// What became of a task.
struct Ending<T> {
    value: Cell<Option<T>>,
    over: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

/// Owned by the task: it is over when this is dropped.
struct End<T>(Rc<Ending<T>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        self.0.over.set(true);
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
    }
}

/// A task's end: what it gave, once it is over. Dropping the handle leaves the task alone.
pub struct JoinHandle<T> {
    ending: Rc<Ending<T>>,
    tasks: Rc<Tasks>,
    at: u32,
    generation: u32,
}

/// The task was [aborted](JoinHandle::abort).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the task was aborted")]
pub struct Aborted;

impl<T> JoinHandle<T> {
    /// Drops the task, wherever it waits; at its next one if it is running. No effect if it is over.
    pub fn abort(&self) {
        self.tasks.abort(self.at, self.generation);
    }

    /// Whether the task is over.
    pub fn is_finished(&self) -> bool {
        self.ending.over.get()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Aborted>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.ending.over.get() {
            return Poll::Ready(self.ending.value.take().ok_or(Aborted));
        }
        self.ending.waiting.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

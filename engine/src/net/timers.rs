//! Sleeping: a wheel of deadlines, and the wakers of who waits for them.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tcp::Tick;
use tcp::wheel::Wheel;
use wire::{Frame, Instant};

use super::Net;

/// The deadlines of one core. A place each, for as long as somebody waits.
pub(super) struct Timers {
    wheel: Wheel,
    places: Vec<(Instant, Option<Waker>)>,
    free: Vec<u32>,
    most: usize,
}

impl Timers {
    /// Room for `most`.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        Timers { wheel: Wheel::new(most, Tick::at(now)), places: Vec::new(), free: Vec::new(), most }
    }

    /// A timer that fires at `deadline`. `None` if there is no room.
    fn start(&mut self, now: Instant, deadline: Instant) -> Option<u32> {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.places.len() == self.most => return None,
            None => {
                self.places.push((deadline, None));
                self.places.len() as u32 - 1
            }
        };
        self.places[at as usize].0 = deadline;
        self.wheel.arm(at, Tick::after(now, deadline.since(now)));
        Some(at)
    }

    fn set_waker(&mut self, at: u32, waker: &Waker) {
        let kept = &mut self.places[at as usize].1;
        match kept {
            Some(kept) => kept.clone_from(waker),
            None => *kept = Some(waker.clone()),
        }
    }

    fn stop(&mut self, at: u32) {
        self.wheel.cancel(at);
        self.free.push(at);
    }

    /// The waker of one whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Waker> {
        while let Some(at) = self.wheel.pop_expired(Tick::at(now)) {
            let (deadline, waker) = &mut self.places[at as usize];
            if *deadline > now {
                // It was farther than the wheel reaches.
                self.wheel.arm(at, Tick::after(now, deadline.since(now)));
            } else if let Some(waker) = waker.take() {
                return Some(waker);
            }
        }
        None
    }

    /// When to call [`pop`](Self::pop).
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.wheel.next_deadline().map(|tick| tick.begin(now))
    }
}

/// Waits until a deadline; see [`Net::sleep`].
pub struct Sleep<F: Frame> {
    net: Net<F>,
    deadline: Instant,
    timer: Option<u32>,
}

impl<F: Frame> Sleep<F> {
    pub(super) fn new(net: Net<F>, deadline: Instant) -> Self {
        Sleep { net, deadline, timer: None }
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl<F: Frame> Future for Sleep<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.net.now();
        if now >= self.deadline {
            return Poll::Ready(());
        }
        let shared = self.net.shared.clone();
        let mut timers = shared.timers.borrow_mut();
        self.timer = self.timer.or_else(|| timers.start(now, self.deadline));
        match self.timer {
            Some(at) => timers.set_waker(at, cx.waker()),
            // There are as many timers as there may be: it looks at the time in every loop.
            None => cx.waker().wake_by_ref(),
        }
        Poll::Pending
    }
}

impl<F: Frame> Drop for Sleep<F> {
    fn drop(&mut self) {
        if let Some(at) = self.timer {
            self.net.shared.timers.borrow_mut().stop(at);
        }
    }
}

/// The time was up before the future was ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the time is up")]
pub struct Elapsed;

impl From<Elapsed> for std::io::Error {
    fn from(_: Elapsed) -> Self {
        std::io::ErrorKind::TimedOut.into()
    }
}

//! One stack, its sockets and its time, behind one lock and one condition variable.
//!
//! Time is virtual. The thread that made the world drives it: time goes by while that thread sleeps,
//! asks for the next packet, asks for the time (1 us), or itself waits in a call. Any other thread that
//! waits in a call is woken whenever something has changed, and has looked at it before time goes on:
//! what it does about it happens at that very instant.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use wire::Instant;

use crate::errno::{Errno, Result};
use crate::files::Files;
use crate::stack::Stack;

/// What a reading of the clock costs.
const TICK: Duration = Duration::from_micros(1);
/// The clock's first reading.
const START: Instant = Instant::from_millis(1_000_000);
/// How far ahead a packet is waited for: past the two hours of a keepalive.
const HORIZON: Duration = Duration::from_secs(24 * 3600);

/// The held lock.
pub(crate) type Guard<'a> = MutexGuard<'a, State>;

/// The lock and the condition variable.
pub(crate) struct World {
    state: Mutex<State>,
    changed: Condvar,
    driver: ThreadId,
}

/// What the lock guards.
pub(crate) struct State {
    /// The time.
    now: Instant,
    /// The stack under test.
    pub(crate) stack: Stack,
    /// The open descriptors.
    pub(crate) files: Files,
    outbound: VecDeque<Outbound>,
    waiting: Waiting,
}

/// An IP packet that the stack sent.
struct Outbound {
    at: Instant,
    packet: Box<[u8]>,
}

/// Threads that wait in a call.
#[derive(Default)]
struct Waiting {
    /// When each sleeper gives up.
    sleepers: Vec<Instant>,
    /// Woken threads that have not looked yet at what has changed.
    looking: usize,
    /// Times that sleepers have been woken.
    round: u64,
    /// Threads back from a call that waited, and when that was: by the time such a thread asks for the
    /// time, the driver may have moved on.
    returned: Vec<(ThreadId, Instant)>,
}

impl World {
    /// A world that the calling thread drives, whose stack sends from `local` when a socket is bound to
    /// no address.
    pub(crate) fn new(local: Ipv4Addr) -> Self {
        let state = State {
            now: START,
            stack: Stack::new(local, START),
            files: Files::default(),
            outbound: VecDeque::new(),
            waiting: Waiting::default(),
        };
        World { state: Mutex::new(state), changed: Condvar::new(), driver: thread::current().id() }
    }

    /// Takes the lock.
    pub(crate) fn lock(&self) -> Guard<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `attempt` until it gives a value or an error, for as long as `patience` lasts; then fails
    /// with `EAGAIN`. Fails with `EDEADLK` if the driver would wait for ever.
    pub(crate) fn call<T>(
        &self,
        patience: Duration,
        mut attempt: impl FnMut(&mut State) -> Result<Option<T>>,
    ) -> Result<T> {
        let mut state = self.lock();
        let deadline = state.now + patience;
        let mut slept = false;
        loop {
            let outcome = attempt(&mut state).transpose();
            state.transmit();
            if slept {
                state.waiting.looking -= 1;
                self.changed.notify_all();
            }
            let outcome = outcome.or_else(|| (state.now >= deadline).then_some(Err(Errno::AGAIN)));
            if let Some(outcome) = outcome {
                if slept {
                    let (thread, now) = (thread::current().id(), state.now);
                    state.waiting.returned.retain(|&(id, _)| id != thread);
                    state.waiting.returned.push((thread, now));
                } else {
                    drop(self.settle(state));
                }
                return outcome;
            }
            if thread::current().id() == self.driver {
                state = self.step(state, deadline)?;
            } else {
                state = self.sleep(state, deadline);
                slept = true;
            }
        }
    }

    /// Hands the stack an IP packet from outside.
    pub(crate) fn receive_packet(&self, packet: &[u8]) {
        let mut state = self.lock();
        let now = state.now;
        state.stack.handle_packet(now, packet);
        state.transmit();
        drop(self.settle(state));
    }

    /// Lets time run until a packet is sent, and copies it to `out`, cut to `out`'s length. Gives the
    /// bytes copied and the time of sending in us; `None`, with the time unmoved past the last timer,
    /// if no timer can bring a packet any more.
    pub(crate) fn next_packet(&self, out: &mut [u8]) -> Option<(usize, i64)> {
        let state = self.lock();
        let until = state.now + HORIZON;
        let mut state = self.run(state, until, |state| !state.outbound.is_empty());
        let Outbound { at, packet } = state.outbound.pop_front()?;
        let n = packet.len().min(out.len());
        out[..n].copy_from_slice(&packet[..n]);
        Some((n, micros(at)))
    }

    /// Lets `span` go by.
    pub(crate) fn pause(&self, span: Duration) {
        let state = self.lock();
        let until = state.now + span;
        drop(self.run_to(state, until));
    }

    /// The time in us; later by 1 us at each reading by the driver. A thread that has just come back
    /// from a call that waited reads when it did.
    pub(crate) fn read_clock(&self) -> i64 {
        let mut state = self.lock();
        let thread = thread::current().id();
        if let Some(i) = state.waiting.returned.iter().position(|&(id, _)| id == thread) {
            return micros(state.waiting.returned.swap_remove(i).1);
        }
        let until = state.now + TICK;
        micros(self.run_to(state, until).now)
    }

    /// Runs timers in their order until `until`.
    fn run_to<'a>(&'a self, state: Guard<'a>, until: Instant) -> Guard<'a> {
        let mut state = self.run(state, until, |_| false);
        state.now = state.now.max(until);
        state
    }

    /// Runs timers in their order, up to `until` and until `done`.
    fn run<'a>(&'a self, mut state: Guard<'a>, until: Instant, done: fn(&State) -> bool) -> Guard<'a> {
        while !done(&state) {
            match state.next_event() {
                Some(next) if next <= until => state = self.fire(state, next),
                _ => break,
            }
        }
        state
    }

    /// Lets time run to the next timer, or to `deadline` if that comes first.
    fn step<'a>(&'a self, state: Guard<'a>, deadline: Instant) -> Result<Guard<'a>> {
        const NEVER: Instant = Instant::from_nanos(u64::MAX);
        match state.next_event().unwrap_or(NEVER).min(deadline) {
            NEVER => Err(Errno::DEADLK),
            at => Ok(self.fire(state, at)),
        }
    }

    /// Moves the clock to `at` and runs what is due. A timer that is due already costs a tick, so that
    /// no timer can hold time up.
    fn fire<'a>(&'a self, mut state: Guard<'a>, at: Instant) -> Guard<'a> {
        let now = at.max(state.now + TICK);
        state.now = now;
        state.stack.handle_timeouts(now);
        state.transmit();
        self.settle(state)
    }

    /// Wakes the sleepers, and waits until each has acted on what has changed.
    fn settle<'a>(&'a self, mut state: Guard<'a>) -> Guard<'a> {
        let waiting = &mut state.waiting;
        if waiting.sleepers.is_empty() {
            return state;
        }
        waiting.looking += waiting.sleepers.len();
        waiting.sleepers.clear();
        waiting.round += 1;
        self.changed.notify_all();
        while state.waiting.looking > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Sleeps until something has changed.
    fn sleep<'a>(&'a self, mut state: Guard<'a>, deadline: Instant) -> Guard<'a> {
        let round = state.waiting.round;
        state.waiting.sleepers.push(deadline);
        while state.waiting.round == round {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

impl State {
    /// The time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Takes what the stack wants to send.
    fn transmit(&mut self) {
        let at = self.now;
        while let Some(packet) = self.stack.poll_transmit(at) {
            self.outbound.push_back(Outbound { at, packet });
        }
    }

    /// When the next timer of the stack or of a sleeper is due.
    fn next_event(&self) -> Option<Instant> {
        let sleeper = self.waiting.sleepers.iter().copied().min();
        self.stack.next_deadline(self.now).into_iter().chain(sleeper).min()
    }
}

/// Microseconds since the clock's origin.
fn micros(at: Instant) -> i64 {
    (at.as_nanos() / 1000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn world() -> World {
        World::new(Ipv4Addr::LOCALHOST)
    }

    /// A call that waits for ever.
    fn wait(world: &World, patience: Duration) -> Result<()> {
        world.call(patience, |_| Ok(None))
    }

    #[test]
    fn readings_differ_and_pauses_last() {
        let world = world();
        let first = world.read_clock();
        assert_eq!(world.read_clock(), first + 1);
        world.pause(SECOND);
        assert_eq!(world.read_clock(), first + 1_000_002);
    }

    #[test]
    fn the_driver_lets_time_go_by_when_it_waits() {
        let world = world();
        let first = world.read_clock();
        assert_eq!(wait(&world, SECOND), Err(Errno::AGAIN));
        assert_eq!(world.read_clock(), first + 1_000_001);
        assert_eq!(wait(&world, Duration::ZERO), Err(Errno::AGAIN));
        assert_eq!(world.read_clock(), first + 1_000_002, "a call that does not wait costs nothing");
        assert_eq!(wait(&world, Duration::MAX), Err(Errno::DEADLK), "nothing can ever come");
    }

    #[test]
    fn no_packet_can_come() {
        let world = world();
        let first = world.read_clock();
        assert_eq!(world.next_packet(&mut [0; 64]), None);
        assert_eq!(world.read_clock(), first + 1);
    }

    #[test]
    fn another_thread_gives_up_at_its_time() {
        let world = world();
        let first = world.read_clock();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let outcome = wait(&world, SECOND);
                (outcome, world.read_clock())
            });
            while world.lock().waiting.sleepers.is_empty() {
                thread::yield_now();
            }
            world.pause(3 * SECOND);
            assert_eq!(other.join().expect("no panic"), (Err(Errno::AGAIN), first + 1_000_000));
        });
        assert_eq!(world.read_clock(), first + 3_000_001);
    }

    #[test]
    fn another_thread_acts_before_time_goes_on() {
        let world = world();
        thread::scope(|scope| {
            // It looks once at first, then at each packet.
            let other = scope.spawn(|| {
                let mut looks = 0;
                let outcome = world.call(Duration::MAX, |state| {
                    looks += 1;
                    Ok((looks == 4).then_some(state.now()))
                });
                (outcome.expect("waited long enough"), world.read_clock())
            });
            while world.lock().waiting.sleepers.is_empty() {
                thread::yield_now();
            }
            for _ in 0..3 {
                world.pause(SECOND);
                world.receive_packet(&[]);
            }
            let at = world.lock().now();
            world.pause(SECOND);
            assert_eq!(other.join().expect("no panic"), (at, micros(at)));
        });
    }
}

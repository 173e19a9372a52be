//! The programs on a worker's TCP and UDP: what each is told, and when.

use std::time::Duration;

use tcp::Tick;
use tcp::shard::ShardEvent;
use wire::{Frame, Instant};

use super::{Host, Lent};
use crate::app::{App, Event, Owners, Sockets, StartError};

/// Events that a program is told of at once.
const BATCH: usize = 256;
/// Batches that one loop gathers at most: packets are not kept waiting for programs.
const BATCHES: usize = 16;

/// The programs of one worker. They are made on its thread and stay there, so that they may hold what no other
/// thread may touch; the worker itself comes back when it has stopped.
pub struct Programs<F: Frame>(pub(super) Vec<Program<F>>);

/// A program with what it is to be told.
pub(super) struct Program<F: Frame> {
    pub(super) app: Box<dyn App<F>>,
    events: Vec<Event>,
}

impl<F: Frame> Host<F> {
    /// Lets the programs open what they listen on.
    pub(crate) fn start(
        &mut self,
        apps: Vec<Box<dyn App<F>>>,
        mut lent: Lent<'_, F>,
    ) -> Result<Programs<F>, StartError> {
        let program = |app| Program { app, events: Vec::with_capacity(BATCH) };
        let mut programs = Programs(apps.into_iter().take(Owners::MAX_APPS).map(program).collect());
        self.each_app(&mut programs, &mut lent, |program, sockets| program.app.start(sockets))?;
        Ok(programs)
    }

    /// How long nothing is due, if nothing arrives.
    pub(crate) fn idle_for(&self, programs: &Programs<F>, now: Instant) -> Option<Duration> {
        let timers = self.tcp.next_deadline().map(|tick| tick.since(Tick::at(now)));
        let apps = programs.0.iter().filter_map(|program| program.app.next_deadline());
        timers.into_iter().chain(apps.map(|at| at.since(now))).min()
    }

    /// Tells the programs what happened, and lets them act. Gives whether there was anything.
    #[inline]
    pub(crate) fn run_apps(&mut self, programs: &mut Programs<F>, lent: &mut Lent<'_, F>) -> bool {
        let now = lent.now;
        let mut busy = self.tcp.has_events() || self.udp.has_events();
        if busy {
            self.tell_apps(programs, lent);
        }
        if programs.0.iter().any(|program| program.app.next_deadline().is_some_and(|at| at <= now)) {
            busy = true;
            self.poll_apps(programs, lent);
        }
        busy
    }

    fn tell_apps(&mut self, programs: &mut Programs<F>, lent: &mut Lent<'_, F>) {
        for _ in 0..BATCHES {
            if !self.gather(programs, lent.now) {
                break;
            }
            self.each_app(programs, lent, |program, sockets| {
                if !program.events.is_empty() {
                    program.app.handle_events(sockets, &program.events);
                    program.events.clear();
                }
                Ok(())
            })
            .unwrap_or(());
        }
    }

    fn poll_apps(&mut self, programs: &mut Programs<F>, lent: &mut Lent<'_, F>) {
        let now = lent.now;
        let poll = |program: &mut Program<F>, sockets: &mut Sockets<'_, F>| {
            if program.app.next_deadline().is_some_and(|at| at <= now) {
                program.app.poll(sockets);
            }
            Ok(())
        };
        self.each_app(programs, lent, poll).unwrap_or(());
    }

    /// Sorts news by program, until there is none or a program has a batch. Gives whether there was any.
    fn gather(&mut self, programs: &mut Programs<F>, now: Instant) -> bool {
        let mut any = false;
        while let Some((app, event)) = self.next_event(now) {
            any = true;
            if let Some(program) = programs.0.get_mut(app) {
                program.events.push(event);
                if program.events.len() == BATCH {
                    break;
                }
            }
        }
        any
    }

    /// The next event, and the program that it is for.
    fn next_event(&mut self, now: Instant) -> Option<(usize, Event)> {
        while let Some(news) = self.tcp.poll_event(now) {
            match news {
                ShardEvent::Acceptable(listener) => {
                    if let Some(app) = self.owners.of_listener(listener)
                        && let Some(id) = self.tcp.accept(listener)
                    {
                        self.tcp.set_token(id, (app as u32) << Sockets::<F>::TOKEN_BITS);
                        return Some((app, Event::Accepted(listener, id)));
                    }
                }
                ShardEvent::Connection(id, news) => {
                    let app = Owners::of_token(self.tcp.token(id).unwrap_or(0));
                    return Some((app, Event::Connection(id, news)));
                }
            }
        }
        let socket = self.udp.poll_event()?;
        Some((self.owners.of_socket(socket)?, Event::Datagrams(socket)))
    }

    pub(super) fn each_app(
        &mut self,
        programs: &mut Programs<F>,
        lent: &mut Lent<'_, F>,
        mut each: impl FnMut(&mut Program<F>, &mut Sockets<'_, F>) -> Result<(), StartError>,
    ) -> Result<(), StartError> {
        let Host { tcp, udp, owners, copied, .. } = self;
        let Lent { now, source, .. } = *lent;
        for (app, program) in programs.0.iter_mut().enumerate() {
            let pool = &mut *lent.pool;
            each(program, &mut Sockets { now, tcp, udp, pool, owners, copied, source, app: app as u8 })?;
        }
        Ok(())
    }
}

//! The end: programs finish what they have begun.

use wire::{Frame, Instant};

use super::{Host, Lent, Programs};
use crate::app::{Owners, Sockets};

/// Connections whose programs are told in one loop.
const TELL_AT_ONCE: u32 = 256;

/// How far the end is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    /// Not asked for.
    No,
    /// The programs are to be told.
    Asked,
    /// They are told of each connection: the next one's slot.
    From(u32),
}

impl<F: Frame> Host<F> {
    /// Listens no more. The programs are told by [`stop_programs`](Self::stop_programs).
    pub(crate) fn stop(&mut self, now: Instant) {
        if self.is_stopping() {
            return;
        }
        self.stopping = Stopping::Asked;
        for listener in self.owners.take_listeners() {
            self.tcp.close_listener(now, listener);
        }
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Once it was told to stop, in each loop: tells the programs, and then of some more connections that they
    /// are to finish.
    #[cold]
    pub(crate) fn stop_programs(&mut self, programs: &mut Programs<F>, lent: &mut Lent<'_, F>) {
        if self.stopping == Stopping::Asked {
            self.stopping = Stopping::From(0);
            self.each_app(programs, lent, |program, sockets| {
                program.app.stop(sockets);
                Ok(())
            })
            .unwrap_or(());
        }
        for _ in 0..TELL_AT_ONCE {
            let Stopping::From(from) = self.stopping else { return };
            let Some((id, next)) = self.tcp.next_connection(from) else { return };
            self.stopping = Stopping::From(next);
            let app = Owners::of_token(self.tcp.token(id).unwrap_or(0));
            let Host { tcp, udp, owners, copied, .. } = self;
            let Lent { now, source, .. } = *lent;
            if let Some(program) = programs.0.get_mut(app) {
                let mut sockets =
                    Sockets { now, tcp, udp, pool: &mut *lent.pool, owners, copied, source, app: app as u8 };
                program.app.stop_connection(&mut sockets, id);
            }
        }
    }

    /// Resets all connections.
    pub(crate) fn reset_all(&mut self, now: Instant) {
        self.tcp.abort_all(now);
    }
}

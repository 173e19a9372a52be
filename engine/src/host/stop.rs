//! The end: programs finish what they have begun.

use wire::{Frame, Instant};

use super::{Host, Lent, Running};
use crate::app::{Owners, Sockets};

/// Connections whose programs are told in one loop.
const TELL_AT_ONCE: u32 = 256;

impl<F: Frame> Host<F> {
    /// Listens no more, and tells the programs to finish.
    pub(crate) fn stop(&mut self, mut lent: Lent<'_, F>) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(0);
        for listener in self.owners.take_listeners() {
            self.tcp.close_listener(lent.now, listener);
        }
        self.each_app(&mut lent, |running, sockets| {
            running.app.stop(sockets);
            Ok(())
        })
        .unwrap_or(());
    }

    /// Whether it was told to stop.
    pub(crate) const fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Tells programs of some more connections that they are to finish.
    pub(crate) fn stop_connections(&mut self, lent: Lent<'_, F>) {
        let Lent { now, pool, source } = lent;
        for _ in 0..TELL_AT_ONCE {
            let Some((id, next)) = self.stopping.and_then(|from| self.tcp.next_connection(from)) else {
                return;
            };
            self.stopping = Some(next);
            let app = Owners::of_token(self.tcp.token(id).unwrap_or(0));
            let Host { tcp, udp, owners, apps, .. } = self;
            if let Some(Running { app: program, .. }) = apps.get_mut(app) {
                let mut sockets = Sockets { now, tcp, udp, pool, owners, source, app: app as u8 };
                program.stop_connection(&mut sockets, id);
            }
        }
    }

    /// Resets all connections.
    pub(crate) fn reset_all(&mut self, now: Instant) {
        self.tcp.abort_all(now);
    }
}

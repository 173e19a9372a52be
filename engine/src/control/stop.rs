//! The end: connections are finished, and what takes too long is reset.

use std::time::Duration;

use wire::Instant;

use super::Control;
use crate::link::Command;

/// How long resets may take to leave.
const RESETS: Duration = Duration::from_secs(1);

/// How far the end is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Not asked for.
    No,
    /// Programs finish what they have begun, until then.
    Finishing(Instant),
    /// What was still open was reset; the resets leave, until then.
    Resetting(Instant),
    /// Nothing is open any more.
    Done,
}

impl Control {
    /// Has all workers refuse new connections and finish those they have. Forwarding goes on.
    pub fn stop(&mut self, now: Instant) {
        if self.ending == Ending::No {
            self.send_all(|| Command::Stop);
            self.mark_ending();
            self.ending =
                Ending::Finishing(now + Duration::from_secs(self.config.workers.stop_seconds.into()));
        }
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopping(&self) -> bool {
        self.ending != Ending::No
    }

    /// Whether the workers have nothing more to finish.
    pub fn has_stopped(&self) -> bool {
        self.ending == Ending::Done
    }

    pub(super) fn ending_deadline(&self) -> Option<Instant> {
        match self.ending {
            Ending::Finishing(until) | Ending::Resetting(until) => Some(until),
            Ending::No | Ending::Done => None,
        }
    }

    pub(super) fn poll_ending(&mut self, now: Instant) {
        let Some(until) = self.ending_deadline() else { return };
        let mut workers = self.workers.iter().zip(&self.ending_marks);
        if workers.all(|(worker, &mark)| worker.link.done() >= mark && worker.host.is_at_rest()) {
            self.ending = Ending::Done;
        } else if now >= until {
            self.reset_what_is_open(now);
        }
    }

    fn reset_what_is_open(&mut self, now: Instant) {
        if matches!(self.ending, Ending::Resetting(_)) {
            self.log.push("some resets could not be sent".into());
            self.ending = Ending::Done;
            return;
        }
        let open: u64 = self.workers.iter().map(|worker| worker.host.open.get()).sum();
        let seconds = self.config.workers.stop_seconds;
        self.log.push(format!("connections not finished within {seconds} s, now reset: {open}"));
        self.send_all(|| Command::ResetAll);
        self.mark_ending();
        self.ending = Ending::Resetting(now + RESETS);
    }

    fn mark_ending(&mut self) {
        self.ending_marks = self.workers.iter().map(|worker| worker.link.sent()).collect();
    }
}

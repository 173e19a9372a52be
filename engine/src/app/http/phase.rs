//! How long connections may take for what.

use std::time::Duration;

/// What a connection is about: how long it may go on being so is bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It waits for a request, and has taken all that it was sent.
    Idle,
    /// It waits for a request, and may not have taken all answers yet.
    Draining,
    /// A head has come in part.
    Head,
    /// A body is being read.
    Body,
    /// An answer has not been taken by the send queue in whole.
    Sending,
    /// We have closed, and wait for the client to do so (RFC 9112 section 9.6): were the connection given up
    /// at once, what the client still sends would be answered by a reset, which may overtake our answer.
    Lingering,
}

/// How long a connection may stay in a phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) idle: Duration,
    pub(super) head: Duration,
    pub(super) body: Duration,
    pub(super) stall: Duration,
    pub(super) linger: Duration,
}

impl Patience {
    pub(super) const fn with(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Idle => self.idle.saturating_sub(self.stall),
            Phase::Draining => {
                if self.stall.as_nanos() < self.idle.as_nanos() {
                    self.stall
                } else {
                    self.idle
                }
            }
            Phase::Head => self.head,
            Phase::Body => self.body,
            Phase::Sending => self.stall,
            Phase::Lingering => self.linger,
        }
    }
}

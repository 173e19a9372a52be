//! The state machine of one neighbour: a pure function from state and event to the next state.
//!
//! What an entry knows lives in the state where it means something. "No entry" is a state too, so the
//! functions here speak of `Option<State>`.

use std::time::Duration;

use wire::{Instant, MacAddr};

use super::Timing;

/// Asked for by broadcast; nobody has answered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Incomplete {
    /// When it was first asked for.
    pub(super) asked: Instant,
    /// Requests sent.
    pub(super) sent: u32,
    /// When the next request, or the verdict, is due.
    pub(super) due: Instant,
}

/// Heard of not long ago.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reachable {
    pub(super) mac: MacAddr,
    /// When it took this Ethernet address.
    pub(super) taken: Instant,
    /// When it was last heard of.
    pub(super) heard: Instant,
    /// When to start probing.
    pub(super) due: Instant,
}

/// Not heard of for a while: asked by unicast, still in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Probe {
    pub(super) mac: MacAddr,
    /// When it took this Ethernet address.
    pub(super) taken: Instant,
    /// When it was last heard of.
    pub(super) heard: Instant,
    /// Requests sent.
    pub(super) sent: u32,
    /// When the next request, or the verdict, is due.
    pub(super) due: Instant,
}

/// Did not answer; not asked again until the hold is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Failed {
    /// When it was first asked for.
    pub(super) asked: Instant,
    /// When the hold is over.
    pub(super) due: Instant,
}

/// Set by the configuration; ARP does not change it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Static {
    pub(super) mac: MacAddr,
    /// When it was set.
    pub(super) set: Instant,
}

/// What is known of one neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Incomplete(Incomplete),
    Reachable(Reachable),
    Probe(Probe),
    Failed(Failed),
    Static(Static),
}

impl State {
    /// When this state wants a timeout.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            State::Incomplete(s) => Some(s.due),
            State::Reachable(s) => Some(s.due),
            State::Probe(s) => Some(s.due),
            State::Failed(s) => Some(s.due),
            State::Static(_) => None,
        }
    }

    /// The Ethernet address to send to, if there is one.
    pub(super) fn mac(&self) -> Option<MacAddr> {
        match self {
            State::Incomplete(_) | State::Failed(_) => None,
            State::Reachable(s) => Some(s.mac),
            State::Probe(s) => Some(s.mac),
            State::Static(s) => Some(s.mac),
        }
    }

    /// For a neighbour without an Ethernet address: when it was first asked for.
    pub(super) fn asked(&self) -> Option<Instant> {
        match self {
            State::Incomplete(s) => Some(s.asked),
            State::Failed(s) => Some(s.asked),
            State::Reachable(_) | State::Probe(_) | State::Static(_) => None,
        }
    }

    /// When something was last learned of the neighbour, or it was first asked for.
    pub(super) fn touched(&self) -> Instant {
        match self {
            State::Incomplete(s) => s.asked,
            State::Reachable(s) => s.heard,
            State::Probe(s) => s.heard,
            State::Failed(s) => s.asked,
            State::Static(s) => s.set,
        }
    }
}

/// What happens to a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// Packets wait for it.
    Resolve,
    /// An ARP message came from it. Only one that asked for us makes an entry where there was none.
    Heard { mac: MacAddr, asked_us: bool },
    /// Its deadline has passed.
    Timeout,
    /// The operator sets its Ethernet address.
    Set(MacAddr),
    /// The operator, or the table's bound, takes it away.
    Remove,
}

/// What follows from an event, besides the next state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// Ask by broadcast.
    Broadcast,
    /// Ask by unicast.
    Unicast(MacAddr),
    /// Tell the workers its Ethernet address.
    Resolved(MacAddr),
    /// Tell the workers that its Ethernet address is another one now.
    Changed(MacAddr),
    /// Another station claims the address too soon after the last one took it: not believed yet.
    Contested,
    /// Tell the workers that nobody answers.
    Failed,
    /// Tell the workers to forget it.
    Removed,
    /// `Failed`, then `Removed`: packets may wait, and nothing will come of it.
    GivenUp,
}

/// What a step reads besides state and event.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) timing: &'a Timing,
    /// How long an entry that is confirmed now goes without probing: `timing.reachable`, spread.
    pub(super) reachable: Duration,
}

impl Context<'_> {
    fn reachable(&self, mac: MacAddr, taken: Instant) -> Option<State> {
        let due = self.now + self.reachable;
        Some(State::Reachable(Reachable { mac, taken, heard: self.now, due }))
    }
}

/// One step of the machine.
pub(super) fn step(state: Option<State>, event: Event, cx: &Context<'_>) -> (Option<State>, Effect) {
    match event {
        Event::Resolve => on_resolve(state, cx),
        Event::Heard { mac, asked_us } => on_heard(state, mac, asked_us, cx),
        Event::Timeout => on_timeout(state, cx),
        Event::Set(mac) => (Some(State::Static(Static { mac, set: cx.now })), on_set(state, mac)),
        Event::Remove => (None, on_remove(state)),
    }
}

fn on_resolve(state: Option<State>, cx: &Context<'_>) -> (Option<State>, Effect) {
    let Some(known) = state else {
        let due = cx.now + cx.timing.retransmit;
        return (Some(State::Incomplete(Incomplete { asked: cx.now, sent: 1, due })), Effect::Broadcast);
    };
    // A worker that asks for what is settled has not seen the command yet, or lost it: say it again.
    let effect = match known {
        State::Incomplete(_) => Effect::None,
        State::Reachable(Reachable { mac, .. })
        | State::Probe(Probe { mac, .. })
        | State::Static(Static { mac, .. }) => Effect::Resolved(mac),
        State::Failed(_) => Effect::Failed,
    };
    (state, effect)
}

//= RFC 826, "Packet Reception": a pair that is in the table is updated whoever was asked; a new one is
//= made only when we were.
fn on_heard(state: Option<State>, mac: MacAddr, asked_us: bool, cx: &Context<'_>) -> (Option<State>, Effect) {
    let (current, taken, contested) = match state {
        None if !asked_us => return (None, Effect::None),
        None | Some(State::Incomplete(_) | State::Failed(_)) => {
            return (cx.reachable(mac, cx.now), Effect::Resolved(mac));
        }
        Some(State::Static(_)) => return (state, Effect::None),
        // Two stations that answer for one address must not make every worker rewrite its table at
        // their pace: the first keeps it for the lock time, then a probe finds out who is there.
        Some(State::Reachable(s)) => {
            let lock = s.taken + cx.timing.lock;
            let contested = (cx.now < lock).then(|| Reachable { due: s.due.min(lock), ..s });
            (s.mac, s.taken, contested)
        }
        Some(State::Probe(s)) => (s.mac, s.taken, None),
    };
    match contested {
        _ if current == mac => (cx.reachable(mac, taken), Effect::None),
        Some(kept) => (Some(State::Reachable(kept)), Effect::Contested),
        None => (cx.reachable(mac, cx.now), Effect::Changed(mac)),
    }
}

fn on_timeout(state: Option<State>, cx: &Context<'_>) -> (Option<State>, Effect) {
    let again = cx.now + cx.timing.retransmit;
    match state {
        None | Some(State::Static(_)) => (state, Effect::None),
        Some(State::Incomplete(s)) if s.sent < cx.timing.tries => {
            (Some(State::Incomplete(Incomplete { sent: s.sent + 1, due: again, ..s })), Effect::Broadcast)
        }
        Some(State::Incomplete(s)) => {
            let due = cx.now + cx.timing.failed;
            (Some(State::Failed(Failed { asked: s.asked, due })), Effect::Failed)
        }
        //= RFC 1122 section 2.3.2.1 (2): poll the remote host by unicast before the entry is dropped.
        Some(State::Reachable(Reachable { mac, taken, heard, .. })) => {
            (Some(State::Probe(Probe { mac, taken, heard, sent: 1, due: again })), Effect::Unicast(mac))
        }
        Some(State::Probe(s)) if s.sent < cx.timing.probes => {
            (Some(State::Probe(Probe { sent: s.sent + 1, due: again, ..s })), Effect::Unicast(s.mac))
        }
        // Not `Failed`: the host may have a new Ethernet address, which the next packet's broadcast finds.
        Some(State::Probe(_)) | Some(State::Failed(_)) => (None, Effect::Removed),
    }
}

fn on_set(state: Option<State>, mac: MacAddr) -> Effect {
    match state.and_then(|s| s.mac()) {
        Some(old) if old == mac => Effect::None,
        Some(_) => Effect::Changed(mac),
        None => Effect::Resolved(mac),
    }
}

fn on_remove(state: Option<State>) -> Effect {
    match state {
        None => Effect::None,
        Some(State::Incomplete(_)) => Effect::GivenUp,
        Some(State::Reachable(_) | State::Probe(_) | State::Failed(_) | State::Static(_)) => Effect::Removed,
    }
}

//! What the neighbour table says: things to do, rows to show, counts.

use wire::{Instant, MacAddr};

use super::Key;
use super::state::State;

/// To whom a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestTo {
    /// Every station of the link.
    Broadcast,
    /// The station that had the address last.
    Unicast(MacAddr),
}

/// What the owner of the table has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send an ARP request for the neighbour.
    SendRequest {
        /// Who is asked for.
        target: Key,
        /// To whom the frame goes.
        to: RequestTo,
    },
    /// Send an ARP announcement (RFC 5227 section 2.3) of one of our addresses.
    Announce {
        /// Our address and its interface.
        own: Key,
    },
    /// Tell the workers: this is the neighbour's Ethernet address; send what waits.
    Resolved {
        /// Which neighbour.
        key: Key,
        /// Its Ethernet address.
        mac: MacAddr,
    },
    /// Tell the workers: the neighbour has another Ethernet address now.
    Changed {
        /// Which neighbour.
        key: Key,
        /// Its new Ethernet address.
        mac: MacAddr,
    },
    /// Tell the workers: nobody answers; drop what waits, and what comes until the next word.
    Failed {
        /// Which neighbour.
        key: Key,
    },
    /// Tell the workers: nothing is known of the neighbour any more; the next packet asks anew.
    Removed {
        /// Which neighbour.
        key: Key,
    },
    /// Tell the operator: another station uses one of our addresses.
    DuplicateAddress {
        /// Our address and its interface.
        own: Key,
        /// The other station.
        mac: MacAddr,
    },
}

/// The name of a neighbour's state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NeighbourState {
    /// Asked for, not answered yet.
    Incomplete,
    /// Heard of not long ago.
    Reachable,
    /// In use, and being asked whether it is still there.
    Probe,
    /// Did not answer.
    Failed,
    /// Set by the configuration.
    Static,
}

impl NeighbourState {
    /// The stable lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            NeighbourState::Incomplete => "incomplete",
            NeighbourState::Reachable => "reachable",
            NeighbourState::Probe => "probe",
            NeighbourState::Failed => "failed",
            NeighbourState::Static => "static",
        }
    }
}

impl From<&State> for NeighbourState {
    fn from(state: &State) -> Self {
        match state {
            State::Incomplete(_) => NeighbourState::Incomplete,
            State::Reachable(_) => NeighbourState::Reachable,
            State::Probe(_) => NeighbourState::Probe,
            State::Failed(_) => NeighbourState::Failed,
            State::Static(_) => NeighbourState::Static,
        }
    }
}

/// One row of the table, to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Which neighbour.
    pub key: Key,
    /// Its state.
    pub state: NeighbourState,
    /// Its Ethernet address, where it is known.
    pub mac: Option<MacAddr>,
    /// When it was last heard of; if it never was, when it was first asked for, or set.
    pub touched: Instant,
}

impl Neighbour {
    pub(super) fn new(key: Key, state: &State) -> Self {
        Neighbour { key, state: state.into(), mac: state.mac(), touched: state.touched() }
    }
}

/// What has happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Entries that became incomplete.
    pub incomplete: u64,
    /// Entries that became reachable.
    pub reachable: u64,
    /// Entries that came to be probed.
    pub probe: u64,
    /// Entries that failed.
    pub failed: u64,
    /// Entries that became static.
    pub fixed: u64,
    /// Entries that were removed, for whatever reason.
    pub removed: u64,
    /// Requests sent.
    pub requests: u64,
    /// Neighbours that changed their Ethernet address.
    pub moved: u64,
    /// Claims of a neighbour's address that came too soon after the last and were not believed.
    pub contested: u64,
    /// Unanswered entries that made room for another.
    pub evicted: u64,
    /// Neighbours that were not entered because the table was full.
    pub refused: u64,
    /// Messages from stations that use one of our addresses.
    pub duplicates: u64,
}

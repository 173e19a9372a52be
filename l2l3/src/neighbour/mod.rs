//! The neighbour table: who has which Ethernet address (RFC 826), and what to do while nobody knows.
//!
//! One thread owns the table. Workers tell it that packets wait ([`Neighbours::handle_resolve`]) and
//! what ARP messages said ([`Neighbours::handle_arp`]); it tells the workers what to believe.
//!
//! Order of calls: any `handle_*`, `insert_static` or `remove*`; then [`Neighbours::poll_action`] until
//! it gives `None`; then sleep until [`Neighbours::next_deadline`], and call
//! [`Neighbours::handle_timeout`].
//!
//! ```text
//!             resolve                 heard                 reachable time over
//!   (none) -----------> Incomplete ----------> Reachable <-------------------> Probe
//!      ^                    | tries over           ^        heard                | probes over
//!      |    hold over       v         heard        |                             |
//!      +----------------- Failed ------------------+                             |
//!      +-------------------------------------------------------------------------+
//! ```
//!
//! What workers are told is a protocol of its own: `Resolved`, `Changed` and `Failed` each hold until
//! the next word on the same neighbour, and `Removed` ends it. Every resolve is answered by `Resolved`
//! or `Failed`, at the latest after [`Timing::patience`].
//!
//! Bounds: at most `max` entries, of which at most half are without an Ethernet address. Under an
//! address scan the entry that was asked for longest ago makes room for a new one: hosts that are
//! there answer within milliseconds, so it is the ones that are not there that go. Entries with an
//! Ethernet address are never pushed out.

mod report;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use wire::{Instant, MacAddr};

use crate::arp::ArpEvent;
use crate::interface::IfaceId;
pub use report::{Action, Counts, Neighbour, NeighbourState, RequestTo};
use state::{Context, Effect, Event, State, step};

/// Which neighbour: an address on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The interface it is reached by.
    pub iface: IfaceId,
    /// Its IPv4 address.
    pub ip: Ipv4Addr,
}

/// The machine's times and tries. The defaults are those of Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between one request and the next. RFC 1122 section 2.3.2.1 asks for no more than one a second.
    pub retransmit: Duration,
    /// Broadcast requests before a neighbour counts as failed.
    pub tries: u32,
    /// Unicast requests before an entry is given up.
    pub probes: u32,
    /// How long an entry is good without being heard of, before it is probed. Each time spread evenly
    /// over half to one and a half of it (as RFC 4861 section 6.3.2 does), so that entries made
    /// together are not probed together.
    pub reachable: Duration,
    /// How long a neighbour that did not answer is not asked again.
    pub failed: Duration,
    /// How long an Ethernet address that was just taken is kept against other claims.
    pub lock: Duration,
    /// The least time between two defences of one of our addresses
    /// (DEFEND_INTERVAL of RFC 5227 section 1.1).
    pub defend: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            retransmit: Duration::from_secs(1),
            tries: 3,
            probes: 3,
            reachable: Duration::from_secs(30),
            failed: Duration::from_secs(3),
            lock: Duration::from_secs(1),
            defend: Duration::from_secs(10),
        }
    }
}

impl Timing {
    /// The longest that a resolve goes without an answer, if timeouts are handled when they are due.
    pub fn patience(&self) -> Duration {
        self.retransmit * self.tries.max(1)
    }
}

/// The table has no room for another entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableFull;

impl fmt::Display for TableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the neighbour table is full")
    }
}

impl std::error::Error for TableFull {}

/// How many of our own addresses are defended at a time.
const MAX_DEFENDED: usize = 256;

/// The neighbour table.
pub struct Neighbours {
    timing: Timing,
    max: usize,
    entries: BTreeMap<Key, State>,
    /// The deadline of each entry that has one.
    deadlines: BTreeSet<(Instant, Key)>,
    /// The entries without an Ethernet address, by when they were first asked for.
    unanswered: BTreeSet<(Instant, Key)>,
    /// Our addresses that were defended within the last `timing.defend`.
    defended: BTreeMap<Key, Instant>,
    actions: VecDeque<Action>,
    counts: Counts,
    random: u64,
}

impl Neighbours {
    /// A table of at most `max` entries. The seed spreads the times of probing.
    ///
    /// # Panics
    /// If `max < 2`: one half of the table is for neighbours that have not answered yet.
    pub fn new(max: usize, timing: Timing, seed: u64) -> Self {
        assert!(max >= 2, "a neighbour table holds at least 2 entries");
        Neighbours {
            timing,
            max,
            entries: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            defended: BTreeMap::new(),
            actions: VecDeque::new(),
            counts: Counts::default(),
            random: seed,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries are without an Ethernet address.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// What has happened so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// One neighbour.
    pub fn get(&self, key: Key) -> Option<Neighbour> {
        self.entries.get(&key).map(|state| Neighbour::new(key, state))
    }

    /// All neighbours, by interface and address.
    pub fn iter(&self) -> impl Iterator<Item = Neighbour> + '_ {
        self.entries.iter().map(|(key, state)| Neighbour::new(*key, state))
    }

    /// A worker has packets for a neighbour whose Ethernet address it does not know.
    pub fn handle_resolve(&mut self, now: Instant, key: Key) {
        if !self.entries.contains_key(&key) && !self.make_room_for_unanswered(now) {
            self.counts.refused += 1;
            self.act(key, Effect::GivenUp);
            return;
        }
        self.apply(now, key, Event::Resolve);
    }

    /// An ARP message told something of `iface`'s link.
    pub fn handle_arp(&mut self, now: Instant, iface: IfaceId, event: ArpEvent) {
        match event {
            ArpEvent::Learned { ip, mac, is_reply, was_for_us } => {
                let key = Key { iface, ip };
                // An answer to a question that was not asked makes no entry: nobody needs it, and
                // whoever sends it may not be who it says.
                let asked_us = was_for_us && !is_reply;
                let known = self.entries.contains_key(&key);
                // Likewise those who ask us fill half of the table at most; the rest is for those whom
                // we have packets for.
                if !known && asked_us && self.entries.len() >= self.share() {
                    self.counts.refused += 1;
                    return;
                }
                self.apply(now, key, Event::Heard { mac, asked_us });
            }
            ArpEvent::Duplicate { ip, mac } => self.defend(now, Key { iface, ip }, mac),
        }
    }

    /// Sets a neighbour's Ethernet address for good, whatever ARP says.
    ///
    /// # Errors
    /// If the table is full of other entries with an Ethernet address.
    pub fn insert_static(&mut self, now: Instant, key: Key, mac: MacAddr) -> Result<(), TableFull> {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.max && !self.evict(now) {
            return Err(TableFull);
        }
        self.apply(now, key, Event::Set(mac));
        Ok(())
    }

    /// Removes an entry of whatever state; gives whether there was one.
    pub fn remove(&mut self, now: Instant, key: Key) -> bool {
        let known = self.entries.contains_key(&key);
        self.apply(now, key, Event::Remove);
        known
    }

    /// Removes what ARP taught of an interface's link, as when the link goes down. Static entries stay.
    pub fn remove_learned(&mut self, now: Instant, iface: IfaceId) {
        let learned = |(key, state): (&Key, &State)| (!matches!(state, State::Static(_))).then_some(*key);
        let first = Key { iface, ip: Ipv4Addr::UNSPECIFIED };
        let last = Key { iface, ip: Ipv4Addr::BROADCAST };
        let keys: Vec<Key> = self.entries.range(first..=last).filter_map(learned).collect();
        for key in keys {
            self.apply(now, key, Event::Remove);
        }
    }

    /// Time has passed. Each entry that is due takes one step.
    pub fn handle_timeout(&mut self, now: Instant) {
        // Not more steps than entries: an entry whose new deadline is due too (a time of zero in
        // `Timing`) waits for the next call.
        for _ in 0..self.deadlines.len() {
            match self.deadlines.first() {
                Some(&(due, key)) if due <= now => self.apply(now, key, Event::Timeout),
                _ => break,
            }
        }
    }

    /// What to do next, in order. To be called until it gives `None` after every call that may change
    /// the table: what is not fetched piles up.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(due, _)| *due)
    }

    /// Half of the table.
    fn share(&self) -> usize {
        self.max / 2
    }

    fn make_room_for_unanswered(&mut self, now: Instant) -> bool {
        let full = self.unanswered.len() >= self.share() || self.entries.len() >= self.max;
        !full || self.evict(now)
    }

    /// Removes the entry without an Ethernet address that was asked for longest ago, if there is one.
    fn evict(&mut self, now: Instant) -> bool {
        let Some(&(_, key)) = self.unanswered.first() else { return false };
        self.counts.evicted += 1;
        self.apply(now, key, Event::Remove);
        true
    }

    //= RFC 5227 section 2.4 (c): a host that must keep its address defends it, by one announcement in
    //= each DEFEND_INTERVAL, and tells its operator.
    fn defend(&mut self, now: Instant, own: Key, mac: MacAddr) {
        self.counts.duplicates += 1;
        let defend = self.timing.defend;
        let recent = |at: Instant| now.since(at) < defend;
        if self.defended.get(&own).is_some_and(|at| recent(*at)) {
            return;
        }
        if self.defended.len() >= MAX_DEFENDED {
            self.defended.retain(|_, at| recent(*at));
        }
        if self.defended.len() < MAX_DEFENDED {
            self.defended.insert(own, now);
            self.actions.push_back(Action::Announce { own });
            self.actions.push_back(Action::DuplicateAddress { own, mac });
        }
    }

    fn apply(&mut self, now: Instant, key: Key, event: Event) {
        let reachable = self.spread(self.timing.reachable);
        let cx = Context { now, timing: &self.timing, reachable };
        let old = self.entries.get(&key).copied();
        let (new, effect) = step(old, event, &cx);
        self.transition(key, old, new);
        self.act(key, effect);
    }

    /// The only place where an entry changes: keeps the entry, its deadline, its place among the
    /// unanswered, and the count of its state in step.
    fn transition(&mut self, key: Key, old: Option<State>, new: Option<State>) {
        if let Some(due) = old.and_then(|s| s.due()) {
            self.deadlines.remove(&(due, key));
        }
        if let Some(asked) = old.and_then(|s| s.asked()) {
            self.unanswered.remove(&(asked, key));
        }
        let Some(state) = new else {
            self.counts.removed += u64::from(self.entries.remove(&key).is_some());
            return;
        };
        if let Some(due) = state.due() {
            self.deadlines.insert((due, key));
        }
        if let Some(asked) = state.asked() {
            self.unanswered.insert((asked, key));
        }
        self.entries.insert(key, state);
        let kind = NeighbourState::from(&state);
        if old.as_ref().map(NeighbourState::from) == Some(kind) {
            return;
        }
        let count = match kind {
            NeighbourState::Incomplete => &mut self.counts.incomplete,
            NeighbourState::Reachable => &mut self.counts.reachable,
            NeighbourState::Probe => &mut self.counts.probe,
            NeighbourState::Failed => &mut self.counts.failed,
            NeighbourState::Static => &mut self.counts.fixed,
        };
        *count += 1;
    }

    fn act(&mut self, key: Key, effect: Effect) {
        let action = match effect {
            Effect::None => return,
            Effect::Contested => {
                self.counts.contested += 1;
                return;
            }
            Effect::Broadcast => {
                self.counts.requests += 1;
                Action::SendRequest { target: key, to: RequestTo::Broadcast }
            }
            Effect::Unicast(mac) => {
                self.counts.requests += 1;
                Action::SendRequest { target: key, to: RequestTo::Unicast(mac) }
            }
            Effect::Resolved(mac) => Action::Resolved { key, mac },
            Effect::Changed(mac) => {
                self.counts.moved += 1;
                Action::Changed { key, mac }
            }
            Effect::Failed => Action::Failed { key },
            Effect::Removed => Action::Removed { key },
            Effect::GivenUp => {
                self.actions.push_back(Action::Failed { key });
                Action::Removed { key }
            }
        };
        self.actions.push_back(action);
    }

    /// A time between half and one and a half of `base`.
    fn spread(&mut self, base: Duration) -> Duration {
        // SplitMix64's step and mixer: any even spread will do.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let per_mille = ((z >> 32) % 1001) as u32;
        base / 2 + base / 1000 * per_mille
    }
}

//! The scoreboard: what is in flight, in order of sequence number (RFC 6675 section 3).
//!
//! Neighbours about which the same is known are one record: segments that were sent at the same moment, and
//! runs that the receiver holds. So a large window has few records, and a walk over them is short.

use crate::pool::{List, NodeId, Pool};
use crate::{Micros, SeqNumber, SeqRange};

/// There is no room for another record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Where a record's segment is thought to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Under way: the original or its retransmission.
    InFlight,
    /// Gone; its retransmission has not been sent.
    Lost,
    /// At the receiver, out of order.
    Sacked,
}

/// Segments that were sent and are not acknowledged, and about which the same is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flight {
    /// A SYN and a FIN count one number each.
    pub(super) range: SeqRange,
    /// When they were last sent.
    pub(super) sent: Micros,
    pub(super) state: State,
    /// Whether any was ever sent again.
    pub(super) retransmitted: bool,
}

const _: () = assert!(size_of::<Flight>() <= 16);

impl Flight {
    /// Whether the record behind it can become part of it. When SACKed segments were sent no longer matters.
    fn joins(&self, next: &Flight) -> bool {
        let same_time = self.sent == next.sent && self.retransmitted == next.retransmitted;
        self.state == next.state && (self.state == State::Sacked || same_time)
    }

    /// Whether it is SACKed and `at` lies in it.
    fn holds(&self, at: SeqNumber) -> bool {
        self.state == State::Sacked && at.is_within(self.range.start, self.range.len())
    }

    /// Takes in the record behind it.
    fn take_in(&mut self, next: &Flight) {
        self.range.end = next.range.end;
        self.retransmitted |= next.retransmitted;
    }
}

/// What becomes of a record that [`Scoreboard::mark_lost`] looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Lost,
    Kept,
    /// It is kept, and so are all behind it.
    RestKept,
}

/// Records that a connection may be cut into by SACK blocks however little is out.
const FEW: usize = 64;

/// The records of one connection. They follow upon each other without a gap, from SND.UNA to SND.NXT.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Scoreboard {
    list: List,
    /// Bytes of the records in each state; together SND.NXT - SND.UNA.
    in_flight: u32,
    lost: u32,
    sacked: u32,
    /// A SACKed record about where the newest blocks lie: a block behind it is looked for from here.
    sacked_from: Option<NodeId>,
    /// A record that is not lost, nor is any before it.
    lost_from: Option<NodeId>,
}

impl Scoreboard {
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many records there are.
    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there may be one more.
    pub(super) const fn has_room(&self, flights: &Pool<Flight>) -> bool {
        flights.has_share(self.len())
    }

    /// SND.NXT - SND.UNA.
    pub(super) const fn outstanding(&self) -> u32 {
        self.in_flight + self.lost + self.sacked
    }

    //= RFC 6675 section 4: the pipe counts what is neither SACKed nor lost, and what was sent again.
    /// Bytes under way.
    pub(super) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Bytes that are lost and not yet sent again.
    pub(super) const fn lost(&self) -> u32 {
        self.lost
    }

    /// Bytes that the receiver holds out of order.
    pub(super) const fn sacked(&self) -> u32 {
        self.sacked
    }

    /// The first record.
    pub(super) fn front<'a>(&self, flights: &'a Pool<Flight>) -> Option<&'a Flight> {
        flights.front(&self.list)
    }

    /// The last record.
    pub(super) fn back<'a>(&self, flights: &'a Pool<Flight>) -> Option<&'a Flight> {
        flights.back(&self.list)
    }

    /// Notes a segment of new data.
    ///
    /// # Errors
    /// If there is no room for one more record, or the range does not begin at SND.NXT.
    pub(super) fn push(
        &mut self,
        flights: &mut Pool<Flight>,
        range: SeqRange,
        sent: Micros,
    ) -> Result<(), Full> {
        let flight = Flight { range, sent, state: State::InFlight, retransmitted: false };
        let has_room = self.has_room(flights);
        match self.list.last().map(|last| flights.get_mut(last)) {
            Some(last) if last.range.end != range.start => return Err(Full),
            Some(last) if last.joins(&flight) => last.take_in(&flight),
            _ if !has_room => return Err(Full),
            _ => flights.push_back(&mut self.list, flight).map(drop).map_err(|_| Full)?,
        }
        self.in_flight += range.len();
        Ok(())
    }

    /// Takes off what lies below `ack`, and hands each record, or what is taken of it, to `each`.
    pub(super) fn acknowledge(
        &mut self,
        flights: &mut Pool<Flight>,
        ack: SeqNumber,
        mut each: impl FnMut(&Flight),
    ) {
        while let Some(id) = self.list.first() {
            let front = flights.get_mut(id);
            if !front.range.start.before(ack) {
                break;
            }
            let mut taken = *front;
            if ack.before(front.range.end) {
                taken.range.end = ack;
                front.range.start = ack;
            } else {
                flights.pop_front(&mut self.list);
                self.replace(Some(id), None);
            }
            *self.count(taken.state) -= taken.range.len();
            each(&taken);
        }
    }

    /// Whether `ack` takes something off, and all of that was sent once.
    pub(super) fn takes_originals(&self, flights: &Pool<Flight>, ack: SeqNumber) -> bool {
        let mut next = self.list.first();
        while let Some(flight) = next.map(|id| flights.get(id)) {
            if flight.retransmitted || !flight.range.start.before(ack) {
                return false;
            }
            if ack.at_or_before(flight.range.end) {
                return true;
            }
            next = next.and_then(|id| flights.next(id));
        }
        false
    }

    /// Marks what lies in `blocks`, which are in order and apart, and hands each record that was not yet
    /// marked to `each`, as it was. A block that ends inside a record splits it; if there is no room to,
    /// that part of the block is left out. So it is if blocks of less than a segment, `mss` bytes, have made
    /// far more records than there are segments: a peer that reports every other byte would have each ACK
    /// walk over thousands, and each byte sent again by itself (CVE-2019-11478).
    pub(super) fn sack(
        &mut self,
        flights: &mut Pool<Flight>,
        blocks: &[SeqRange],
        mss: u32,
        mut each: impl FnMut(&Flight),
    ) {
        let most = FEW + (self.outstanding() / mss.max(1)) as usize * 2;
        let mut before: Option<NodeId> = None;
        let mut moved = false;
        for block in blocks {
            let starts_behind = |id: &NodeId| flights.get(*id).range.start.at_or_before(block.start);
            let near = self.sacked_from.filter(|id| !moved && starts_behind(id));
            before = self.sack_block(flights, near.or(before), *block, most, &mut each);
            // The next ACK repeats blocks of this one and brings one behind them: it starts at the first.
            if near.is_some() || self.sacked_from.is_none() {
                let run = before.filter(|id| flights.get(*id).holds(block.start));
                (self.sacked_from, moved) = (run.or(self.sacked_from), true);
            }
        }
    }

    /// Marks one block, starting behind `before`; gives the last record that was passed.
    fn sack_block(
        &mut self,
        flights: &mut Pool<Flight>,
        mut before: Option<NodeId>,
        block: SeqRange,
        most: usize,
        each: &mut impl FnMut(&Flight),
    ) -> Option<NodeId> {
        while let Some(id) = before.map_or(self.list.first(), |id| flights.next(id)) {
            let flight = *flights.get(id);
            if block.end.at_or_before(flight.range.start) {
                break;
            }
            if flight.state == State::Sacked || flight.range.end.at_or_before(block.start) {
                before = Some(id);
                continue;
            }
            if flight.range.start.before(block.start) {
                // Whether it is split or not, what follows is another record.
                if self.len() < most {
                    self.split(flights, id, block.start);
                }
                before = Some(id);
                continue;
            }
            let ends_inside = block.end.before(flight.range.end);
            if ends_inside && (self.len() >= most || !self.split(flights, id, block.end)) {
                break;
            }
            each(flights.get(id));
            self.set_state(flights, id, State::Sacked);
            before = Some(self.merge(flights, before, id));
        }
        before
    }

    /// Makes one record of `id` and its neighbours, the first of which is `before`, as far as they join;
    /// gives that record.
    fn merge(&mut self, flights: &mut Pool<Flight>, before: Option<NodeId>, id: NodeId) -> NodeId {
        let run = before.filter(|before| flights.get(*before).joins(flights.get(id))).unwrap_or(id);
        while let Some(next) = flights.next(run).map(|next| *flights.get(next)) {
            if !flights.get(run).joins(&next) {
                break;
            }
            self.replace(flights.next(run), Some(run));
            flights.remove_after(&mut self.list, Some(run));
            flights.get_mut(run).take_in(&next);
        }
        run
    }

    /// The record `old` is going; `new` stands in its place.
    fn replace(&mut self, old: Option<NodeId>, new: Option<NodeId>) {
        for from in [&mut self.sacked_from, &mut self.lost_from] {
            if from.is_some() && *from == old {
                *from = new;
            }
        }
    }

    /// Cuts a record in two at `at`, which lies inside it; gives whether there was room to.
    fn split(&mut self, flights: &mut Pool<Flight>, id: NodeId, at: SeqNumber) -> bool {
        let mut rest = *flights.get(id);
        rest.range.start = at;
        if !self.has_room(flights) || flights.insert_after(&mut self.list, Some(id), rest).is_err() {
            return false;
        }
        flights.get_mut(id).range.end = at;
        true
    }

    /// Asks `fate` about every record in flight, first to last, until it says that the rest is kept;
    /// gives the bytes that were marked lost.
    pub(super) fn mark_lost(
        &mut self,
        flights: &mut Pool<Flight>,
        mut fate: impl FnMut(&Flight) -> Fate,
    ) -> u32 {
        let lost_before = self.lost;
        let mut behind = false;
        let mut next = self.list.first();
        while let Some(id) = next {
            next = flights.next(id);
            let flight = flights.get(id);
            let fate = if flight.state == State::InFlight { fate(flight) } else { Fate::Kept };
            match fate {
                Fate::Lost => {
                    self.set_state(flights, id, State::Lost);
                    self.lost_from = self.lost_from.filter(|_| behind);
                }
                Fate::Kept => {}
                Fate::RestKept => break,
            }
            behind |= self.lost_from == Some(id);
        }
        self.lost - lost_before
    }

    /// Marks the first segment lost, `mss` bytes at most, or the whole first record if there is no room to
    /// cut it; gives the bytes that were marked.
    pub(super) fn lose_first(&mut self, flights: &mut Pool<Flight>, mss: u32) -> u32 {
        let Some(id) = self.list.first() else { return 0 };
        let front = *flights.get(id);
        if front.state != State::InFlight {
            return 0;
        }
        if front.range.len() > mss && mss > 0 {
            self.split(flights, id, front.range.start + mss);
        }
        self.set_state(flights, id, State::Lost);
        self.lost_from = None;
        flights.get(id).range.len()
    }

    /// Puts all records that are lost back in flight: they were not.
    pub(super) fn unmark_lost(&mut self, flights: &mut Pool<Flight>) {
        self.turn_all(flights, State::Lost, State::InFlight);
    }

    //= RFC 2018 section 8: what was SACKed may have been thrown away since; after a timeout the sender
    //= no longer relies on it.
    /// Counts all that was SACKed as lost.
    pub(super) fn forget_sacks(&mut self, flights: &mut Pool<Flight>) {
        self.turn_all(flights, State::Sacked, State::Lost);
        (self.sacked_from, self.lost_from) = (None, None);
    }

    fn turn_all(&mut self, flights: &mut Pool<Flight>, from: State, to: State) {
        let mut next = self.list.first().filter(|_| *self.count(from) > 0);
        while let Some(id) = next {
            next = flights.next(id);
            if flights.get(id).state == from {
                self.set_state(flights, id, to);
            }
        }
    }

    /// The first lost record.
    pub(super) fn first_lost<'a>(&self, flights: &'a Pool<Flight>) -> Option<&'a Flight> {
        if self.lost == 0 {
            return None;
        }
        let first = self.lost_from.or(self.list.first());
        let mut records = std::iter::successors(first, |id| flights.next(*id)).map(|id| flights.get(id));
        records.find(|flight| flight.state == State::Lost)
    }

    /// Notes that `range` was sent again. A record of which it is a part is split; if there is no room
    /// to, the whole record counts as sent: what was left out will be found lost in its turn.
    pub(super) fn retransmit(&mut self, flights: &mut Pool<Flight>, range: SeqRange, sent: Micros) {
        let mut before = self.lost_from.filter(|id| flights.get(*id).range.end.at_or_before(range.start));
        let mut none_lost = true;
        while let Some(id) = before.map_or(self.list.first(), |id| flights.next(id)) {
            let flight = *flights.get(id);
            if range.end.at_or_before(flight.range.start) {
                break;
            }
            let outside = flight.range.end.at_or_before(range.start) || flight.state == State::Sacked;
            let starts_inside = !outside && flight.range.start.before(range.start);
            if outside || (starts_inside && self.split(flights, id, range.start)) {
                none_lost &= flight.state != State::Lost;
                before = Some(id);
                continue;
            }
            if range.end.before(flight.range.end) {
                self.split(flights, id, range.end);
            }
            self.set_state(flights, id, State::InFlight);
            let flight = flights.get_mut(id);
            (flight.sent, flight.retransmitted) = (sent, true);
            before = Some(self.merge(flights, before, id));
        }
        if none_lost {
            self.lost_from = before;
        }
    }

    /// Gives all records back.
    pub(super) fn clear(&mut self, flights: &mut Pool<Flight>) {
        flights.clear(&mut self.list);
        *self = Scoreboard::default();
    }

    /// All records.
    #[cfg(test)]
    pub(super) fn records<'a>(&self, flights: &'a Pool<Flight>) -> impl Iterator<Item = &'a Flight> {
        flights.iter(&self.list).map(|(_, flight)| flight)
    }

    fn set_state(&mut self, flights: &mut Pool<Flight>, id: NodeId, state: State) {
        let flight = flights.get_mut(id);
        let len = flight.range.len();
        let old = std::mem::replace(&mut flight.state, state);
        *self.count(old) -= len;
        *self.count(state) += len;
    }

    fn count(&mut self, state: State) -> &mut u32 {
        match state {
            State::InFlight => &mut self.in_flight,
            State::Lost => &mut self.lost,
            State::Sacked => &mut self.sacked,
        }
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
mod tests;

//! The last things that happened, kept always: for whoever asks why a connection stands still.
//!
//! One ring for all connections of a shard, written in order: a ring each would cost every segment a line of
//! memory that is in no cache. Each event says where that connection's last one is, so that a connection's are
//! found without a search. How far back they reach depends on what all do together.

use wire::{Instant, TcpFlags};

use crate::SeqNumber;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum What {
    /// A segment arrived; it need not have been taken.
    #[default]
    Received,
    /// A segment was sent.
    Sent,
    /// The retransmission timer ran out.
    RetransmissionTimeout,
    /// The timer of tail loss probes ran out (RFC 8985).
    TailLossProbe,
    /// The peer's window was closed, or too small, for so long that it is probed.
    Persist,
    /// An ACK was held back for as long as may be.
    DelayedAck,
    /// The peer was silent for so long that it is asked whether it lives.
    Keepalive,
    /// The connection was given up.
    GivenUp,
}

impl What {
    /// A word or two.
    pub const fn name(self) -> &'static str {
        match self {
            What::Received => "received",
            What::Sent => "sent",
            What::RetransmissionTimeout => "retransmission timeout",
            What::TailLossProbe => "tail loss probe timeout",
            What::Persist => "persist timeout",
            What::DelayedAck => "delayed ACK timeout",
            What::Keepalive => "keepalive timeout",
            What::GivenUp => "given up",
        }
    }
}

/// One event. Of one that is no segment, the numbers are SND.NXT and RCV.NXT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK; zero if the flags have no ACK.
    pub ack: SeqNumber,
    /// SEG.WND, as the header has it; of one that is no segment, SND.WND, scaled like it.
    pub window: u16,
    /// Bytes of data.
    pub len: u16,
    /// The congestion window, in bytes; 0 of what was received, and while the sender rests.
    pub cwnd: u32,
    /// What happened.
    pub what: What,
    /// The header's flags.
    pub flags: TcpFlags,
    /// A part of the number of the connection, to tell after a long time whose it is.
    pub(crate) owner: u16,
    /// The connection's event before this one.
    pub(crate) before: Last,
}

const _: () = assert!(size_of::<Event>() == 32);

/// Where a connection's last event is: its number, of all that the shard ever noted, which wraps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Last(u32);

/// The ring of a shard.
#[derive(Debug)]
pub(crate) struct Trace {
    events: Box<[Event]>,
    /// The number of the next event. Number 0 stands for none.
    next: u32,
}

impl Trace {
    /// A ring of so many events, rounded up to a power of two.
    pub(crate) fn new(events: u32) -> Self {
        let events = (events.max(1) as usize).next_power_of_two();
        Trace { events: vec![Event::default(); events].into(), next: 1 }
    }

    /// Notes an event of the connection whose last one was `last`.
    #[inline]
    pub(crate) fn note(&mut self, last: &mut Last, event: Event) {
        let at = self.next as usize & (self.events.len() - 1);
        if let Some(place) = self.events.get_mut(at) {
            *place = Event { before: *last, ..event };
        }
        *last = Last(self.next);
        self.next = self.next.wrapping_add(1);
    }

    /// What is left of the events of connection `owner`, whose last one is `last`: newest first.
    pub(crate) fn of(&self, owner: u16, last: Last) -> impl Iterator<Item = &Event> {
        let get = move |last: Last| {
            let age = self.next.wrapping_sub(last.0);
            let is_there = last.0 != 0 && (1..=self.events.len() as u32).contains(&age);
            let event = self.events.get(last.0 as usize & (self.events.len() - 1));
            event.filter(|event| is_there && event.owner == owner)
        };
        std::iter::successors(get(last), move |event| get(event.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(owner: u16, n: u64) -> Event {
        Event { at: Instant::from_millis(n), owner, ..Event::default() }
    }

    fn kept(trace: &Trace, owner: u16, last: Last) -> Vec<u64> {
        trace.of(owner, last).map(|event| event.at.as_nanos() / 1_000_000).collect()
    }

    #[test]
    fn the_last_ones_newest_first() {
        let mut trace = Trace::new(6);
        let mut last = [Last::default(); 3];
        assert_eq!(kept(&trace, 0, last[0]), []);
        for n in 1..=100 {
            let owner = [0, 1, 0, 0][n % 4];
            trace.note(&mut last[owner], event(owner as u16, n as u64));
            let want = |owner: usize| -> Vec<u64> {
                let newest = (n.saturating_sub(7).max(1)..=n).rev();
                newest.filter(|n| [0, 1, 0, 0][n % 4] == owner).map(|n| n as u64).collect()
            };
            for (owner, last) in last.into_iter().enumerate() {
                assert_eq!(kept(&trace, owner as u16, last), want(owner), "after {n}");
            }
        }
    }

    #[test]
    fn numbers_may_wrap() {
        let mut trace = Trace::new(4);
        trace.next = u32::MAX - 1;
        let mut last = Last::default();
        (1..=3).for_each(|n| trace.note(&mut last, event(5, n)));
        // Number 0 stands for none: what was before it is not found.
        assert_eq!(kept(&trace, 5, last), []);
        (4..=6).for_each(|n| trace.note(&mut last, event(5, n)));
        assert_eq!(kept(&trace, 5, last), [6, 5, 4]);
        // A number so old that it seems new again.
        assert_eq!(kept(&trace, 6, last), []);
    }
}

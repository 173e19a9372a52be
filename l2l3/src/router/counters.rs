//! A worker's counters, and the books they must balance.

use wire::{Counter, DropReason};

/// What one worker counted. It alone writes; anybody may read.
#[derive(Default, Debug)]
pub struct Counters {
    /// Frames taken from receive queues.
    pub rx: Counter,
    /// Frames that transmit queues took.
    pub tx: Counter,
    /// Frames made here: ICMP errors, ARP requests, fragments.
    pub originated: Counter,
    /// Frames that ended here as they should: ARP learnt, fragments joined or cut, segments answered.
    pub consumed: Counter,
    /// Frames that wait here: for a neighbour, for other fragments, or for the transmit queue.
    pub held: Counter,
    /// Frames handed over to other workers.
    pub handed_out: Counter,
    /// Frames taken over from other workers.
    pub handed_in: Counter,
    /// Events for the control thread that were lost because its ring was full; it asks again.
    pub events_lost: Counter,
    drops: Drops,
    /// One entry a port.
    pub ports: Box<[PortCounters]>,
}

/// What one worker received and sent by one port.
#[derive(Default, Debug)]
pub struct PortCounters {
    /// Frames received.
    pub rx: Counter,
    /// Frames sent.
    pub tx: Counter,
}

#[derive(Debug)]
struct Drops([Counter; DropReason::COUNT]);

impl Default for Drops {
    fn default() -> Self {
        Drops(std::array::from_fn(|_| Counter::default()))
    }
}

impl Counters {
    /// Counters of a worker of an engine with `ports` ports.
    pub fn new(ports: usize) -> Self {
        Counters { ports: (0..ports).map(|_| PortCounters::default()).collect(), ..Self::default() }
    }

    /// Frames received, from devices and from other workers.
    #[inline]
    pub fn received(&self) -> u64 {
        self.rx.get() + self.handed_in.get()
    }

    /// Counts `n` frames dropped for `reason`.
    #[inline]
    pub fn count_drops(&self, reason: DropReason, n: u64) {
        self.drops.0[reason as usize].add(n);
    }

    /// Frames dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.0[reason as usize].get()
    }

    /// The totals. Balanced only when read while the worker stands still.
    pub fn books(&self) -> Books {
        Books {
            rx: self.rx.get(),
            originated: self.originated.get(),
            handed_in: self.handed_in.get(),
            tx: self.tx.get(),
            dropped: DropReason::ALL.iter().map(|&reason| self.drops(reason)).sum(),
            consumed: self.consumed.get(),
            held: self.held.get(),
            handed_out: self.handed_out.get(),
        }
    }
}

/// Where all frames came from, and where they went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "named as the counters they are read from")]
pub struct Books {
    pub rx: u64,
    pub originated: u64,
    pub handed_in: u64,
    pub tx: u64,
    pub dropped: u64,
    pub consumed: u64,
    pub held: u64,
    pub handed_out: u64,
}

impl Books {
    /// Whether every frame that came is accounted for.
    pub fn balance(&self) -> bool {
        self.rx + self.originated + self.handed_in
            == self.tx + self.dropped + self.consumed + self.held + self.handed_out
    }
}

impl std::ops::Add for Books {
    type Output = Books;

    fn add(self, other: Books) -> Books {
        Books {
            rx: self.rx + other.rx,
            originated: self.originated + other.originated,
            handed_in: self.handed_in + other.handed_in,
            tx: self.tx + other.tx,
            dropped: self.dropped + other.dropped,
            consumed: self.consumed + other.consumed,
            held: self.held + other.held,
            handed_out: self.handed_out + other.handed_out,
        }
    }
}

impl std::fmt::Display for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.balance() { "balanced" } else { "NOT BALANCED" };
        write!(
            f,
            "rx {} + originated {} + handed in {} = tx {} + dropped {} + consumed {} + held {} + handed out {}: {verdict}",
            self.rx,
            self.originated,
            self.handed_in,
            self.tx,
            self.dropped,
            self.consumed,
            self.held,
            self.handed_out,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_somewhere() {
        let counters = Counters::new(2);
        counters.rx.add(7);
        counters.originated.add(2);
        counters.handed_in.add(1);
        let parts = [&counters.tx, &counters.consumed, &counters.held, &counters.handed_out];
        parts.into_iter().for_each(|part| part.add(2));
        assert!(!counters.books().balance());
        counters.count_drops(DropReason::NoRoute, 1);
        counters.count_drops(DropReason::TxFull, 1);
        let books = counters.books();
        assert!(books.balance());
        assert_eq!((books.dropped, counters.drops(DropReason::NoRoute), counters.ports.len()), (2, 1, 2));
        assert!((books + books).balance() && (books + books).rx == 14);
        assert!(books.to_string().ends_with(": balanced"), "{books}");
        counters.held.sub(1);
        assert!(counters.books().to_string().ends_with(": NOT BALANCED"));
    }
}

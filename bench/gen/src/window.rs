//! Which of a stream's packets have come: a window over its sequence numbers, of fixed size.

use crate::packet::MARK_BITS;

/// What the arrival of a packet means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// Nothing later has come before.
    InOrder,
    /// RFC 4737 section 3.3: something later has come before it. The extent is how many arrivals ago the first of
    /// those was (section 4.2.1).
    Reordered {
        /// At least 1.
        extent: u32,
    },
    /// It had come already.
    Duplicate,
    /// It is so late that whether it is a duplicate is not known any more.
    Expired,
    /// It is of an earlier trial.
    Stale,
    /// No packet of this number was sent.
    Unknown,
}

/// A window of the last packets of one stream.
#[derive(Debug)]
pub(crate) struct Window {
    /// Packets that have come, by their number modulo the window's size.
    seen: Vec<u64>,
    /// Those of them that came in order.
    in_order: Vec<u64>,
    /// Which arrival it was, of those that came in order.
    arrivals: Vec<u32>,
    /// RFC 4737's NextExp: one above the highest that has come.
    next: u64,
    /// The trial's numbers.
    first: u64,
    end: u64,
    /// Packets that have come, duplicates not counted.
    arrived: u32,
    /// The highest that was lost, of those below the window.
    lost: Option<u64>,
}

impl Window {
    /// A window of `size` packets, a power of two and at least 64.
    pub(crate) fn new(size: usize) -> Self {
        debug_assert!(size.is_power_of_two() && size >= 64);
        Window {
            seen: vec![0; size / 64],
            in_order: vec![0; size / 64],
            arrivals: vec![0; size],
            next: 0,
            first: 0,
            end: 0,
            arrived: 0,
            lost: None,
        }
    }

    /// Begins a trial in which the packets `first..end` are sent.
    pub(crate) fn begin(&mut self, first: u64, end: u64) {
        self.seen.fill(0);
        self.in_order.fill(0);
        (self.next, self.first, self.end) = (first, first, end);
        (self.arrived, self.lost) = (0, None);
    }

    /// Takes note of a packet, of whose number 48 bits are known.
    #[inline]
    pub(crate) fn record(&mut self, low_bits: u64) -> Arrival {
        let Some(number) = self.extend(low_bits) else { return Arrival::Stale };
        if number == self.next && number < self.end {
            self.step(number);
            self.arrive(number);
            return Arrival::InOrder;
        }
        self.record_other(number)
    }

    fn record_other(&mut self, number: u64) -> Arrival {
        if number >= self.end {
            return Arrival::Unknown;
        }
        if number < self.first {
            return Arrival::Stale;
        }
        if number >= self.next {
            self.slide_to(number);
            self.arrive(number);
            return Arrival::InOrder;
        }
        if self.next - number > self.size() {
            return Arrival::Expired;
        }
        if self.has(&self.seen, number) {
            return Arrival::Duplicate;
        }
        self.arrived = self.arrived.wrapping_add(1);
        let (word, bit) = self.place(number);
        self.seen[word] |= bit;
        let first_after = (number + 1..self.next).find(|later| self.has(&self.in_order, *later));
        let extent =
            first_after.map_or(1, |later| self.arrived.wrapping_sub(self.arrivals[self.slot(later)]));
        Arrival::Reordered { extent }
    }

    /// The highest number that has not come, of those that were to be sent; `None` if all have.
    pub(crate) fn last_lost(&self) -> Option<u64> {
        if self.next < self.end {
            return Some(self.end - 1);
        }
        let lowest = self.next.saturating_sub(self.size()).max(self.first);
        (lowest..self.next).rev().find(|number| !self.has(&self.seen, *number)).or(self.lost)
    }

    /// The number whose low bits these are, near the one expected; `None` if it would be below zero.
    #[inline]
    fn extend(&self, low_bits: u64) -> Option<u64> {
        let shift = u64::BITS - MARK_BITS;
        let ahead = ((low_bits.wrapping_sub(self.next) << shift) as i64) >> shift;
        self.next.checked_add_signed(ahead)
    }

    /// Takes note of the one in order that has just entered the window.
    #[inline]
    fn arrive(&mut self, number: u64) {
        self.arrived = self.arrived.wrapping_add(1);
        let (word, bit) = self.place(number);
        self.seen[word] |= bit;
        self.in_order[word] |= bit;
        let slot = self.slot(number);
        self.arrivals[slot] = self.arrived;
    }

    fn slide_to(&mut self, number: u64) {
        // All that is further away than the window is wide leaves it without having been looked at.
        let entered = number.saturating_sub(self.size());
        if entered > self.next {
            self.next = self.leave_behind(entered);
        }
        for number in self.next..=number {
            self.step(number);
        }
    }

    /// Empties the window and goes on with `number`, which is more than a window ahead.
    #[cold]
    fn leave_behind(&mut self, number: u64) -> u64 {
        self.seen.fill(0);
        self.in_order.fill(0);
        self.lost = Some(number - 1).filter(|lost| *lost >= self.first).or(self.lost);
        number
    }

    /// Makes room for `number`, the next; what was in its place leaves the window.
    #[inline]
    fn step(&mut self, number: u64) {
        let (word, bit) = self.place(number);
        if self.seen[word] & bit == 0 {
            let left = number.checked_sub(self.size()).filter(|left| *left >= self.first);
            self.lost = left.or(self.lost);
        }
        self.seen[word] &= !bit;
        self.in_order[word] &= !bit;
        self.next = number + 1;
    }

    #[inline(always)]
    fn size(&self) -> u64 {
        self.arrivals.len() as u64
    }

    #[inline(always)]
    fn slot(&self, number: u64) -> usize {
        number as usize & (self.arrivals.len() - 1)
    }

    #[inline(always)]
    fn place(&self, number: u64) -> (usize, u64) {
        let slot = self.slot(number);
        (slot / 64, 1 << (slot % 64))
    }

    #[inline]
    fn has(&self, bits: &[u64], number: u64) -> bool {
        let (word, bit) = self.place(number);
        bits[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOW: u64 = (1 << MARK_BITS) - 1;

    /// The definitions, word by word, over all that has come.
    struct Twin {
        first: u64,
        end: u64,
        size: u64,
        arrivals: Vec<u64>,
    }

    impl Twin {
        fn record(&mut self, number: u64) -> Arrival {
            let next = self.arrivals.iter().max().map_or(self.first, |highest| highest + 1);
            if number >= self.end {
                return Arrival::Unknown;
            }
            if number < self.first {
                return Arrival::Stale;
            }
            if number < next && next - number > self.size {
                return Arrival::Expired;
            }
            if self.arrivals.contains(&number) {
                return Arrival::Duplicate;
            }
            self.arrivals.push(number);
            if number >= next {
                return Arrival::InOrder;
            }
            let earliest = self.arrivals.iter().position(|other| *other > number).unwrap();
            Arrival::Reordered { extent: (self.arrivals.len() - 1 - earliest) as u32 }
        }

        fn last_lost(&self) -> Option<u64> {
            (self.first..self.end).rev().find(|number| !self.arrivals.contains(number))
        }
    }

    fn steps() -> impl Strategy<Value = Vec<i64>> {
        // Mostly the next, sometimes near it, seldom far.
        let step = prop_oneof![8 => Just(1i64), 4 => -6i64..6, 2 => -70i64..70, 1 => -300i64..300];
        prop::collection::vec(step, 1..300)
    }

    proptest! {
        #[test]
        fn like_the_definitions(steps in steps(), first in prop_oneof![Just(0u64), 1u64..500, LOW - 50..LOW + 50], count in 1u64..400) {
            let mut window = Window::new(64);
            let mut twin = Twin { first, end: first + count, size: 64, arrivals: Vec::new() };
            // Something is left of an earlier trial.
            window.begin(first.saturating_sub(40), first);
            window.record(first.saturating_sub(3));
            window.begin(first, first + count);
            let mut at = first as i64;
            for step in steps {
                at = (at + step).max(first as i64 - 20).max(0);
                prop_assert_eq!(window.record(at as u64 & LOW), twin.record(at as u64), "{}", at);
                at = at.min((first + count) as i64);
            }
            prop_assert_eq!(window.last_lost(), twin.last_lost());
        }
    }

    #[test]
    fn the_examples_of_rfc_4737() {
        let mut window = Window::new(64);
        window.begin(1, 100);
        let arrivals: Vec<Arrival> = [1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11].map(|n| window.record(n)).to_vec();
        let late = |extent| Arrival::Reordered { extent };
        let order = [Arrival::InOrder; 7];
        assert_eq!(arrivals[..7], order);
        // Appendix-like case: 4, 5 and 6 come after 7 to 10; each is measured from the arrival of 7.
        assert_eq!(arrivals[7..], [late(4), late(5), late(6), Arrival::InOrder]);
    }
}

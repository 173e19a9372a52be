//! What one ACK delivered: which round trip that measures, and what RACK learns from it.

use super::flight::{Flight, State};
use super::rack::{Newest, Rack};
use crate::{Micros, SeqNumber};

/// A timestamp clock of this granularity, in us, is taken to tell a retransmission from its original.
const TIMESTAMP_GRANULARITY: u32 = 1_000;

/// What an ACK delivered, summed up over the records that it acknowledges. Counts in bytes.
#[derive(Debug)]
pub(super) struct Delivery {
    now: Micros,
    echo_rtt: Option<u32>,
    min_rtt: u32,
    recover: SeqNumber,
    /// Acknowledged cumulatively.
    pub(super) acked: u32,
    /// Acknowledged either way for the first time.
    pub(super) new: u32,
    /// SACKed for the first time.
    pub(super) sacked: u32,
    /// When the last of those that were sent once was sent, by the way it was acknowledged.
    acked_sent: Option<Micros>,
    sacked_sent: Option<Micros>,
    /// Some of what was acknowledged cumulatively had been sent again.
    ambiguous: bool,
    /// Some was sent once, before `recover`.
    pub(super) original: bool,
    /// The most recently sent of what was delivered.
    pub(super) newest: Option<Newest>,
}

impl Delivery {
    /// Nothing yet, by an ACK that comes at `now` and echoes a timestamp `echo_rtt` us old.
    pub(super) const fn new(now: Micros, echo_rtt: Option<u32>, min_rtt: u32, recover: SeqNumber) -> Self {
        Delivery {
            now,
            echo_rtt,
            min_rtt,
            recover,
            acked: 0,
            new: 0,
            sacked: 0,
            acked_sent: None,
            sacked_sent: None,
            ambiguous: false,
            original: false,
            newest: None,
        }
    }

    /// Adds a record, or the part of it that is acknowledged.
    pub(super) fn add(&mut self, flight: &Flight, selective: bool, rack: &mut Rack) {
        let len = flight.range.len();
        if !selective {
            self.acked += len;
        }
        if flight.state == State::Sacked {
            return;
        }
        self.new += len;
        rack.on_delivered(flight);
        if selective {
            self.sacked += len;
        }
        if flight.retransmitted {
            self.ambiguous |= !selective;
        } else {
            self.original |= flight.range.end.at_or_before(self.recover);
            let sent = if selective { &mut self.sacked_sent } else { &mut self.acked_sent };
            *sent = Some(sent.filter(|sent| flight.sent.before(*sent)).unwrap_or(flight.sent));
        }
        if !self.newest.is_some_and(|newest| newest.sent_after(flight.sent, flight.range.end))
            && (!flight.retransmitted || self.is_retransmission(flight, selective))
        {
            self.newest = Some(Newest { sent: flight.sent, end: flight.range.end });
        }
    }

    //= RFC 8985 section 6.2 step 2: it was the original that came if the timestamp says so, or if the
    //= retransmission cannot have been there and back.
    /// Whether the ACK of `flight`, which was sent again, is for the last time it was sent.
    fn is_retransmission(&self, flight: &Flight, selective: bool) -> bool {
        let rtt = self.now.since(flight.sent);
        // While there is a hole, the timestamp of the last segment before it is echoed (RFC 7323 section
        // 4.3): that says nothing of what is SACKed.
        let echo = self.echo_rtt.filter(|_| !selective);
        rtt >= self.min_rtt && echo.is_none_or(|echo| echo <= rtt.saturating_add(TIMESTAMP_GRANULARITY))
    }

    //= RFC 6298 section 3 (Karn's algorithm): no sample from what was sent again, or from what an ACK
    //= that waited for it covers; timestamps take the doubt away.
    /// The round trip that the ACK measured, in us.
    pub(super) fn rtt(&self) -> Option<u32> {
        let acked = self.acked_sent.filter(|_| !self.ambiguous);
        let sent = match (acked, self.sacked_sent) {
            (Some(a), Some(b)) => Some(if a.before(b) { b } else { a }),
            (a, b) => a.or(b),
        };
        let echo = self.echo_rtt.filter(|_| self.acked > 0);
        sent.map(|sent| self.now.since(sent)).or(echo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeqRange;

    fn flight(start: u32, sent: u32, retransmitted: bool) -> Flight {
        let range = SeqRange { start: SeqNumber::new(start), end: SeqNumber::new(start + 100) };
        Flight { range, sent: Micros::new(sent), state: State::InFlight, retransmitted }
    }

    /// Records (start, when it was sent, whether that was again, whether it is SACKed); the age of the
    /// timestamp; the round trip; when the most recently sent was sent. It is 100 ms; the least round trip is
    /// 20 ms.
    type Case = (&'static [(u32, u32, bool, bool)], Option<u32>, Option<u32>, Option<u32>);

    #[test]
    fn what_an_ack_measures() {
        let cases: [Case; 10] = [
            (&[], None, None, None),
            (&[], Some(30), None, None),
            (&[(0, 50, false, false), (100, 60, false, false)], None, Some(40), Some(60)),
            (&[(0, 50, false, false), (200, 70, false, true)], None, Some(30), Some(70)),
            (&[(0, 50, false, false), (200, 40, false, true)], None, Some(50), Some(50)),
            // Karn: with a segment that was sent again, only what is SACKed or a timestamp tells.
            (&[(0, 70, true, false), (100, 60, false, false)], None, None, Some(70)),
            (&[(0, 70, true, false), (100, 60, false, true)], None, Some(40), Some(70)),
            (&[(0, 70, true, false)], Some(30), Some(30), Some(70)),
            // RFC 8985 section 6.2 step 2: the original, by its timestamp or because there was no time.
            (&[(0, 70, true, false)], Some(60), Some(60), None),
            (&[(0, 85, true, false), (100, 60, false, true)], None, Some(40), Some(60)),
        ];
        for (records, echo, rtt, newest) in cases {
            let ms = |ms: u32| ms * 1_000;
            let mut delivery = Delivery::new(Micros::new(ms(100)), echo.map(ms), ms(20), SeqNumber::new(150));
            let mut rack = Rack::new(SeqNumber::ZERO);
            for (start, sent, retransmitted, selective) in records {
                delivery.add(&flight(*start, ms(*sent), *retransmitted), *selective, &mut rack);
            }
            let sent = delivery.newest.map(|newest| newest.sent.get());
            assert_eq!((delivery.rtt(), sent), (rtt.map(ms), newest.map(ms)), "{records:?} {echo:?}");
            let original = records.iter().any(|record| !record.2 && record.0 < 100);
            assert_eq!((delivery.new, delivery.original), (records.len() as u32 * 100, original));
        }
    }
}

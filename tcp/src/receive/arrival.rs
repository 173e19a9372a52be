//! Data that arrives: what of a segment lies in the window, and where the FIN is.

use wire::Payload;

use super::{Fin, Pools, Receiver};
use crate::{SeqNumber, SeqRange};

/// What became of a segment's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// How it came.
    pub arrival: Arrival,
    /// Bytes that have become readable.
    pub in_order: u32,
    /// Bytes that were there before.
    pub duplicate: u32,
    /// Payloads dropped for want of room: this one, or held ones that lay behind a gap.
    pub shed: u32,
    /// The FIN has come, and all before it: the peer sends no more.
    pub fin: bool,
}

/// How a segment came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Arrival {
    /// The next one, and nothing is out of order.
    #[default]
    InOrder,
    /// The next one, and data behind a gap waits.
    FillsGap,
    /// Behind a gap.
    OutOfOrder,
    /// Nothing new.
    Duplicate,
    /// Past the window or the FIN, or there was no room: as if it had not come.
    Refused,
}

impl Outcome {
    //= RFC 5681 section 4.2: acknowledge at once what is out of order or fills all or part of a gap.
    //= RFC 9293 section 3.10.7.4: an ACK answers what is not acceptable.
    /// Whether an ACK is due at once.
    pub const fn ack_now(&self) -> bool {
        !matches!(self.arrival, Arrival::InOrder) || self.duplicate > 0
    }

    pub(super) fn refuse(&mut self) {
        self.arrival = Arrival::Refused;
        self.shed += 1;
    }
}

impl Receiver {
    /// Takes the data of a segment and its FIN. `seq` is the sequence number of the first byte (or of the
    /// FIN, if there is none): past the SYN if it had one.
    ///
    /// For every segment with data or a FIN, those that are not acceptable included: duplicates are
    /// remembered, to be told as D-SACK.
    pub fn on_data<B: Payload>(
        &mut self,
        pools: &mut Pools<B>,
        seq: SeqNumber,
        mut bytes: B,
        fin: bool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let end = seq + bytes.len() as u32;
        let fin_arrival = if fin { self.on_fin(pools, end) } else { Arrival::InOrder };
        if bytes.is_empty() {
            outcome.arrival = fin_arrival;
        } else {
            match self.cut_to_window(seq, &mut bytes, &mut outcome) {
                Ok(start) => self.take(pools, start, bytes, &mut outcome),
                Err(arrival) => outcome.arrival = arrival,
            }
        }
        if self.fin == Fin::Known && self.next == self.fin_at {
            self.fin = Fin::Reached;
            self.next += 1;
            // It takes no room: the window stays as wide as it was.
            self.edge += 1;
            outcome.fin = true;
        }
        outcome
    }

    /// The first FIN says where the data ends. One that data contradicts is ignored.
    fn on_fin<B: Payload>(&mut self, pools: &Pools<B>, at: SeqNumber) -> Arrival {
        if self.fin != Fin::Unknown {
            return if at == self.fin_at { Arrival::Duplicate } else { Arrival::Refused };
        }
        let contradicted = || pools.blocks.iter(&self.blocks).any(|(_, block)| block.range.end.after(at));
        if !at.is_within(self.next, self.edge.distance_from(self.next)) || contradicted() {
            return Arrival::Refused;
        }
        self.fin = Fin::Known;
        self.fin_at = at;
        if at == self.next { Arrival::InOrder } else { Arrival::OutOfOrder }
    }

    //= RFC 9293 section 3.10.7.4: trim a segment to the part that lies in the window.
    /// Gives the sequence number of the first byte that is left.
    fn cut_to_window<B: Payload>(
        &mut self,
        seq: SeqNumber,
        bytes: &mut B,
        outcome: &mut Outcome,
    ) -> Result<SeqNumber, Arrival> {
        let mut start = seq;
        if seq.before(self.next) {
            let known = self.next.distance_from(seq).min(bytes.len() as u32);
            self.on_duplicate(SeqRange { start: seq, end: seq + known }, outcome);
            bytes.advance(known as usize);
            if bytes.is_empty() {
                return Err(Arrival::Duplicate);
            }
            start = self.next;
        }
        let end = if self.fin == Fin::Unknown { self.edge } else { self.fin_at };
        if start.at_or_after(end) {
            return Err(Arrival::Refused);
        }
        bytes.truncate(end.distance_from(start) as usize);
        Ok(start)
    }

    /// Notes bytes of a segment that were there before.
    pub(super) fn on_duplicate(&mut self, range: SeqRange, outcome: &mut Outcome) {
        //= RFC 2883 section 4.2.2: of a segment's duplicate parts, the first is reported.
        if outcome.duplicate == 0 && !range.is_empty() {
            self.report_duplicate(range);
        }
        outcome.duplicate += range.len();
    }
}

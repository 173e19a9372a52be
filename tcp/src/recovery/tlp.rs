//! Tail loss probes (RFC 8985 section 7): when ACKs stop coming, one more segment is sent, so that its ACK
//! shows what is lost before the retransmission timer runs out.

use super::rto::Limits;
use crate::SeqNumber;

/// The probe that is out, if one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Probe {
    /// None.
    #[default]
    None,
    /// New data.
    NewData,
    /// The last segment, again (TLP.is_retrans).
    Retransmission,
}

//= RFC 8985 section 7.2: 2 SRTT, and the longest delay of an ACK more if only one segment is out.
/// How long a probe waits, in us, once `srtt` is known.
pub(super) fn timeout(srtt: u32, one_segment: bool, limits: &Limits) -> u32 {
    let timeout = srtt.saturating_mul(2);
    let timeout = if one_segment { timeout.saturating_add(limits.max_ack_delay) } else { timeout };
    timeout.max(limits.min_probe)
}

/// What an ACK says of the probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Nothing yet.
    Open,
    /// It is done with; nothing was lost, or loss detection sees to it.
    Done,
    /// It filled the hole that a loss had left: congestion control has to hear of the loss.
    Repaired,
}

/// What matters of an ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ProbeAck {
    /// SND.UNA, after it.
    pub(super) una: SeqNumber,
    /// SND.NXT when the probe was sent (TLP.end_seq).
    pub(super) end: SeqNumber,
    /// Where the duplicate ends that it reports.
    pub(super) dsack_end: Option<SeqNumber>,
    /// It is a duplicate ACK without SACK blocks.
    pub(super) bare_duplicate: bool,
}

impl Probe {
    /// What `ack` says of it.
    pub(super) fn on_ack(self, ack: &ProbeAck) -> Verdict {
        if self == Probe::None || ack.una.before(ack.end) {
            return Verdict::Open;
        }
        //= RFC 8985 section 7.4.2: a probe of new data repairs nothing.
        if self == Probe::NewData {
            return Verdict::Done;
        }
        //= RFC 8985 section 7.4.2: a DSACK of the probe says that the original came too;
        if ack.dsack_end == Some(ack.end) {
            return Verdict::Done;
        }
        //= RFC 8985 section 7.4.2: if later data is acknowledged first, the probe was the only copy;
        if ack.una.after(ack.end) {
            return Verdict::Repaired;
        }
        //= RFC 8985 section 7.4.2: a second ACK for the same number says the same as a DSACK.
        if ack.bare_duplicate { Verdict::Done } else { Verdict::Open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8985 section 7.2.
    #[test]
    fn timeouts() {
        let limits = Limits::default();
        for (srtt, one_segment, want) in
            [(10_000, false, 20_000), (10_000, true, 70_000), (100, false, 2_000), (u32::MAX, true, u32::MAX)]
        {
            assert_eq!(timeout(srtt, one_segment, &limits), want);
        }
    }

    /// RFC 8985 section 7.4.2; the probe ends at 1000.
    #[test]
    fn what_an_ack_says() {
        use Probe::{NewData, None as NoProbe, Retransmission};
        for (probe, una, dsack, bare_duplicate, want) in [
            (NoProbe, 2000, None, true, Verdict::Open),
            (NewData, 999, None, true, Verdict::Open),
            (NewData, 1000, None, false, Verdict::Done),
            (NewData, 1001, None, false, Verdict::Done),
            (Retransmission, 999, Some(1000), false, Verdict::Open),
            (Retransmission, 1000, None, false, Verdict::Open),
            (Retransmission, 1000, Some(1000), false, Verdict::Done),
            (Retransmission, 1000, Some(900), false, Verdict::Open),
            (Retransmission, 1000, None, true, Verdict::Done),
            (Retransmission, 1001, None, false, Verdict::Repaired),
            (Retransmission, 1001, Some(1000), false, Verdict::Done),
        ] {
            let ack = ProbeAck {
                una: SeqNumber::new(una),
                end: SeqNumber::new(1000),
                dsack_end: dsack.map(SeqNumber::new),
                bare_duplicate,
            };
            assert_eq!(probe.on_ack(&ack), want, "{probe:?} {ack:?}");
        }
    }
}

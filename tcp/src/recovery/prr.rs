//! Proportional Rate Reduction (RFC 9937): how much may be sent while the window comes down.

/// One reduction. All in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Prr {
    /// Delivered since the reduction began (prr_delivered).
    delivered: u32,
    /// Sent since then (prr_out).
    out: u32,
    /// In flight when it began (RecoverFS).
    flight: u32,
}

/// What an ACK brings to the reduction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Progress {
    /// Bytes that the ACK says were delivered.
    pub(super) delivered: u32,
    /// Bytes in flight, after the ACK and the losses that it showed.
    pub(super) in_flight: u32,
    /// SND.UNA advanced, and no further loss showed (SafeACK).
    pub(super) safe: bool,
    /// Something lost waits to be sent again.
    pub(super) retransmit: bool,
    /// The target, in bytes.
    pub(super) ssthresh: u32,
    /// A segment, in bytes.
    pub(super) mss: u32,
}

impl Prr {
    //= RFC 9937 section 6.1: RecoverFS is what was outstanding before the ACK that began it, less what had
    //= been SACKed before.
    /// Begins a reduction with `flight` bytes in flight.
    pub(super) const fn new(flight: u32) -> Self {
        Prr { delivered: 0, out: 0, flight }
    }

    /// Notes that `bytes` were sent, new or again.
    pub(super) const fn on_transmit(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }

    //= RFC 9937 section 6.2, the steps of every ACK. They also run when losses show without a delivery,
    //= so that what drops out of the flight is not made up for at once.
    /// Gives the congestion window from here on.
    pub(super) fn on_ack(&mut self, ack: &Progress) -> u32 {
        self.delivered = self.delivered.saturating_add(ack.delivered);
        let mut quota = if ack.in_flight > ack.ssthresh {
            //= RFC 9937 section 6.2: above the target, in proportion to what is delivered.
            let share = u64::from(self.delivered) * u64::from(ack.ssthresh);
            let share = share.div_ceil(u64::from(self.flight.max(1)));
            u32::try_from(share).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            //= RFC 9937 section 6.2: below it, as much as is delivered (PRR-CRB), and a segment more on
            //= every ACK that shows good progress (PRR-SSRB), up to the target.
            let owed = self.delivered.saturating_sub(self.out).max(ack.delivered);
            let owed = if ack.safe { owed.saturating_add(ack.mss) } else { owed };
            owed.min(ack.ssthresh - ack.in_flight)
        };
        //= RFC 9937 section 6.2: the first retransmission goes out whatever the sum. So does one when nothing
        //= is under way (the retransmissions were lost as well): no ACK would come to let it out.
        if ack.retransmit && (self.out == 0 || ack.in_flight == 0) && quota < ack.mss {
            quota = ack.mss;
        }
        ack.in_flight.saturating_add(quota)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// A reduction from 20 segments to 10, with one lost: half of what is delivered goes out, and the
    /// flight ends at the target (RFC 9937 section 6, example of the proportional part).
    #[test]
    fn proportional() {
        let mut prr = Prr::new(20 * MSS);
        let (mut in_flight, mut sent) = (18 * MSS, 0);
        for n in 1..=18 {
            let ack = Progress {
                delivered: MSS,
                in_flight,
                safe: false,
                retransmit: n == 1,
                ssthresh: 10 * MSS,
                mss: MSS,
            };
            let quota = prr.on_ack(&ack).saturating_sub(in_flight) / MSS * MSS;
            prr.on_transmit(quota);
            (in_flight, sent) = (in_flight + quota - MSS, sent + quota);
            assert!(sent.abs_diff(n * MSS / 2) <= MSS, "{n}: {sent}");
        }
        assert!(in_flight.abs_diff(10 * MSS) <= MSS, "{in_flight}");
    }

    /// What is in flight, delivered, safe, and what may be sent, in segments; the target is 10 and
    /// nothing was delivered before.
    #[test]
    fn below_the_target() {
        for (in_flight, delivered, safe, want) in [
            (4, 1, false, 1),
            (4, 1, true, 2),
            (4, 3, false, 3),
            (9, 3, true, 1),
            (10, 1, true, 0),
            (4, 0, false, 0),
        ] {
            let mut prr = Prr::new(20 * MSS);
            prr.on_transmit(1);
            let ack = Progress {
                delivered: delivered * MSS,
                in_flight: in_flight * MSS,
                safe,
                retransmit: true,
                ssthresh: 10 * MSS,
                mss: MSS,
            };
            assert_eq!(prr.on_ack(&ack), (in_flight + want) * MSS, "{in_flight} {delivered} {safe}");
        }
    }

    #[test]
    fn the_first_retransmission_always_goes() {
        let mut prr = Prr::new(10 * MSS);
        let mut ack = Progress {
            delivered: 0,
            in_flight: 9 * MSS,
            safe: false,
            retransmit: true,
            ssthresh: 5 * MSS,
            mss: MSS,
        };
        assert_eq!(prr.on_ack(&ack), 10 * MSS);
        prr.on_transmit(MSS);
        assert_eq!(prr.on_ack(&ack), 9 * MSS);
        ack.in_flight = 0;
        assert_eq!(prr.on_ack(&ack), MSS);
        ack = Progress { in_flight: 9 * MSS, retransmit: false, ..ack };
        assert_eq!(Prr::new(10 * MSS).on_ack(&ack), 9 * MSS);
        // No sum overflows.
        ack = Progress { delivered: u32::MAX, in_flight: u32::MAX, ssthresh: u32::MAX - 1, ..ack };
        assert_eq!(Prr::new(0).on_ack(&ack), u32::MAX);
    }
}

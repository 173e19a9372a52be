//! F-RTO: whether a retransmission timeout was spurious (RFC 5682). After it one segment is sent again, and
//! then new data: if what had been sent before is acknowledged although it was not sent again, nothing was
//! lost.

/// How far the question is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frto {
    /// It is not asked: the timeout was for a loss.
    Off,
    /// The first segment was sent again; its ACK is awaited (step 2).
    Retransmitted,
    /// That came, and new data goes out; what comes next decides (step 3).
    NewData,
}

/// What matters of an ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FrtoAck {
    /// SND.UNA advanced.
    pub(super) advanced: bool,
    /// It is a duplicate ACK, or SACKs something new.
    pub(super) out_of_order: bool,
    /// It acknowledges or SACKs what was sent before the timeout and not since.
    pub(super) original: bool,
    /// There is unsent data that the peer's window lets out.
    pub(super) can_send_new: bool,
}

/// What an ACK leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The question stands there now.
    Open(Frto),
    /// Nothing had been lost.
    Spurious,
}

impl Frto {
    /// Takes an ACK that does not cover all that was out at the timeout (that ends the question).
    pub(super) fn on_ack(self, ack: &FrtoAck) -> Verdict {
        match self {
            Frto::Off => Verdict::Open(Frto::Off),
            //= RFC 5682 section 3.1 step 2b: if the first ACK advances, send new data;
            //= section 2.1 step 2b: if there is none, retransmit.
            Frto::Retransmitted if ack.advanced => {
                Verdict::Open(if ack.can_send_new { Frto::NewData } else { Frto::Off })
            }
            //= RFC 5682 section 3.1 step 3b: an ACK for what was not sent again: spurious.
            Frto::NewData if ack.original => Verdict::Spurious,
            //= RFC 5682 section 3.1 step 3a: one that advances only over what was: a loss.
            Frto::NewData if ack.advanced => Verdict::Open(Frto::Off),
            //= RFC 5682 section 3.1 steps 2a and 3a: a duplicate ACK: a loss.
            Frto::Retransmitted | Frto::NewData => {
                Verdict::Open(if ack.out_of_order { Frto::Off } else { self })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where it stands, the ACK (advanced, out of order, original, new data can be sent), where it goes.
    #[test]
    fn steps() {
        use Frto::{NewData, Off, Retransmitted};
        use Verdict::{Open, Spurious};
        for (frto, (advanced, out_of_order, original, can_send_new), want) in [
            (Off, (true, false, true, true), Open(Off)),
            (Retransmitted, (true, false, false, true), Open(NewData)),
            (Retransmitted, (true, false, true, true), Open(NewData)),
            (Retransmitted, (true, false, false, false), Open(Off)),
            (Retransmitted, (false, true, true, true), Open(Off)),
            (Retransmitted, (false, false, false, true), Open(Retransmitted)),
            (NewData, (true, false, true, false), Spurious),
            (NewData, (false, true, true, true), Spurious),
            (NewData, (true, false, false, true), Open(Off)),
            (NewData, (false, true, false, true), Open(Off)),
            (NewData, (false, false, false, true), Open(NewData)),
        ] {
            let ack = FrtoAck { advanced, out_of_order, original, can_send_new };
            assert_eq!(frto.on_ack(&ack), want, "{frto:?} {ack:?}");
        }
    }
}

//! What to do with a segment in LISTEN, and in SYN-RECEIVED that came of it. Nothing is changed here.

use super::HalfOpen;
use crate::closed::is_host;
use crate::{Segment, SeqNumber};

/// What becomes of a segment to a listener, when no connection and no handshake takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListenVerdict {
    /// Drop it in silence.
    Drop,
    /// Answer with [`crate::reset_for`].
    Reset,
    /// The ACK of a SYN cookie ([`super::SynCookies::check`]), or else to be answered with a reset.
    CheckCookie,
    /// A SYN: open a handshake ([`HalfOpen::from_syn`]). Its data, if any, is left to be sent again.
    Accept,
}

/// What becomes of `segment` in LISTEN.
pub fn on_listen(segment: &Segment) -> ListenVerdict {
    //= RFC 9293 section 3.9.2.3: SYNs from, and to, addresses that are no host's are discarded in silence
    //= (MUST-63, MUST-57).
    if !is_host(*segment.src.ip()) || !is_host(*segment.dst.ip()) {
        return ListenVerdict::Drop;
    }
    //= RFC 9293 section 3.10.7.2: first, an incoming RST is ignored.
    if segment.rst() {
        return ListenVerdict::Drop;
    }
    //= RFC 9293 section 3.10.7.2: second, any acknowledgment is bad in LISTEN: a reset answers it.
    if segment.ack.is_some() {
        return if segment.syn() { ListenVerdict::Reset } else { ListenVerdict::CheckCookie };
    }
    //= RFC 9293 section 3.10.7.2: third, a SYN opens a connection; other control and text is queued for
    //= later.
    // Nobody who means well has finished before the start: such SYNs probe firewalls.
    if segment.syn() && !segment.fin() {
        return ListenVerdict::Accept;
    }
    //= RFC 9293 section 3.10.7.2: fourth, anything else is dropped.
    ListenVerdict::Drop
}

/// What becomes of a segment in SYN-RECEIVED.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SynReceivedVerdict {
    /// Drop it in silence.
    Drop,
    /// The peer has given up: forget the handshake in silence.
    Abort,
    /// Send the SYN-ACK again.
    ResendSynAck,
    /// Answer with an ACK of <SEQ=ISS+1><ACK=IRS+1>, as far as the limit of such answers lets it
    /// ([`super::SynQueue::may_challenge`]).
    ChallengeAck,
    /// Answer with [`crate::reset_for`]; the handshake goes on.
    Reset,
    /// The handshake is done. The segment is to be worked on in ESTABLISHED: its data, its FIN, its window.
    Establish,
}

impl HalfOpen {
    /// What becomes of `segment`.
    pub fn on_segment(&self, segment: &Segment) -> SynReceivedVerdict {
        use SynReceivedVerdict::*;
        // An ACK would be right by the RFC, but a peer whose SYN-ACK was lost is helped by that alone.
        if segment.syn() && segment.ack.is_none() && !segment.rst() && segment.seq == self.irs {
            return ResendSynAck;
        }
        if !segment.rst() && self.agreed.timestamps() {
            match segment.options.timestamps {
                //= RFC 7323 section 3.2: a segment without the agreed timestamps is dropped in silence;
                //= RFC 5961 section 4.2: a SYN is challenged all the same.
                None => return if segment.syn() { ChallengeAck } else { Drop },
                //= RFC 7323 section 5.3, R1: a timestamp before TS.Recent makes a segment unacceptable: an
                //= ACK answers it.
                Some(timestamps) if before(timestamps.value, self.ts_recent) => return ChallengeAck,
                Some(_) => {}
            }
        }
        //= RFC 9293 section 3.10.7.4, first: an ACK answers an unacceptable segment, unless it is a RST.
        let window = self.receive_window();
        if !window.accepts(segment) {
            return if segment.rst() { Drop } else { ChallengeAck };
        }
        //= RFC 9293 section 3.10.7.4, second: a RST of exactly RCV.NXT returns a passive open to LISTEN;
        //= a challenge ACK answers any other in the window (RFC 5961 section 3.2).
        if segment.rst() {
            return if segment.seq == window.next { Abort } else { ChallengeAck };
        }
        //= RFC 5961 section 4.2: a challenge ACK answers a SYN.
        // RFC 9293 would return to LISTEN here, and let whoever guesses the window end the handshake. A
        // peer that has indeed begun anew answers the challenge with a RST.
        if segment.syn() {
            return ChallengeAck;
        }
        //= RFC 9293 section 3.10.7.4, fifth: without the ACK bit, drop; an ACK of what was not sent is
        //= answered with a reset; an ACK of the SYN enters ESTABLISHED.
        match segment.ack {
            None => Drop,
            Some(ack) if ack == self.iss + 1 => Establish,
            Some(_) => Reset,
        }
    }
}

/// Whether timestamp `a` comes before `b`: they wrap as sequence numbers do.
fn before(a: u32, b: u32) -> bool {
    SeqNumber::new(a).before(SeqNumber::new(b))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use wire::{Instant, TcpFlags};

    use super::*;
    use crate::listen::agreed::tests::syn_options;
    use crate::listen::half_open::tests::half_open;
    use crate::segment::tests::segment;
    use crate::{Options, Timestamps};

    const SYN: TcpFlags = TcpFlags::SYN;
    const ACK: TcpFlags = TcpFlags::ACK;
    const RST: TcpFlags = TcpFlags::RST;
    const FIN: TcpFlags = TcpFlags::FIN;
    const NONE: TcpFlags = TcpFlags(0);

    #[test]
    fn listen() {
        use ListenVerdict::*;
        let cases = [
            (RST, Drop),
            (RST | ACK, Drop),
            (RST | SYN, Drop),
            (ACK, CheckCookie),
            (ACK | TcpFlags::PSH, CheckCookie),
            (ACK | FIN, CheckCookie),
            (SYN | ACK, Reset),
            (SYN | ACK | FIN, Reset),
            (SYN, Accept),
            (SYN | TcpFlags::ECE | TcpFlags::CWR, Accept),
            (SYN | TcpFlags::PSH | TcpFlags::URG, Accept),
            (SYN | FIN, Drop),
            (FIN, Drop),
            (TcpFlags::PSH, Drop),
            (NONE, Drop),
        ];
        for (flags, want) in cases {
            for payload in [&b""[..], b"data"] {
                assert_eq!(on_listen(&segment(5, 6, flags, payload)), want, "{flags:?}");
            }
        }
    }

    #[test]
    fn listen_takes_hosts_only() {
        let nobody = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)];
        for (ip, flags) in nobody.into_iter().flat_map(|ip| [(ip, SYN), (ip, ACK)]) {
            let good = segment(5, 6, flags, b"");
            let addr = SocketAddrV4::new(ip, 80);
            assert_eq!(on_listen(&Segment { src: addr, ..good }), ListenVerdict::Drop);
            assert_eq!(on_listen(&Segment { dst: addr, ..good }), ListenVerdict::Drop);
        }
    }

    /// IRS is 1000: RCV.NXT is 1001, and the window ends before 66,536.
    #[test]
    fn syn_received() {
        use SynReceivedVerdict::*;
        let half_open = half_open(Instant::from_millis(1), &Options::default());
        // Sequence number, how far the ACK is past ISS, flags, data, verdict.
        let cases: [(u32, u32, TcpFlags, &[u8], SynReceivedVerdict); 30] = [
            (1001, 1, ACK, b"", Establish),
            (1001, 1, ACK, b"data", Establish),
            (1001, 1, ACK | FIN, b"data", Establish),
            (1001, 1, ACK | FIN, b"", Establish),
            // The ACK was lost or overtaken, what came after it does its work.
            (1501, 1, ACK, b"data", Establish),
            (66_535, 1, ACK, b"data", Establish),
            (66_536, 1, ACK, b"data", ChallengeAck),
            (1000, 1, ACK, b"", ChallengeAck),
            (1000, 1, ACK, b"d", ChallengeAck),
            (1000, 1, ACK, b"da", Establish),
            (1001, 0, ACK, b"", Reset),
            (1001, 2, ACK, b"", Reset),
            (1001, 1 << 31, ACK, b"data", Reset),
            (1001, 0, NONE, b"data", Drop),
            (1001, 0, FIN, b"", Drop),
            (1000, 0, SYN, b"", ResendSynAck),
            (1000, 0, SYN, b"data", ResendSynAck),
            (1000, 1, SYN | ACK, b"", ChallengeAck),
            (999, 0, SYN, b"", ChallengeAck),
            (1001, 0, SYN, b"", ChallengeAck),
            (5000, 0, SYN, b"", ChallengeAck),
            (5000, 1, SYN | ACK, b"", ChallengeAck),
            (70_000, 0, SYN, b"", ChallengeAck),
            (1001, 0, RST, b"", Abort),
            (1001, 77, RST | ACK, b"", Abort),
            (1001, 0, RST | SYN, b"", Abort),
            (1002, 0, RST, b"", ChallengeAck),
            (66_535, 1, RST | ACK, b"", ChallengeAck),
            (66_536, 0, RST, b"", Drop),
            (1000, 0, RST | SYN, b"", Drop),
        ];
        for (seq, past_iss, flags, payload, want) in cases {
            let segment = segment(seq, (half_open.iss + past_iss).get(), flags, payload);
            let got = half_open.on_segment(&segment);
            assert_eq!(got, want, "{seq} {past_iss} {flags:?} {payload:?}");
        }
    }

    /// TS.Recent is 5000.
    #[test]
    fn timestamps_protect_syn_received() {
        use SynReceivedVerdict::*;
        let half_open = half_open(Instant::from_millis(1), &syn_options());
        let cases = [
            (1001, ACK, Some(5000), Establish),
            (1001, ACK, Some(5001), Establish),
            (1001, ACK, Some(4999), ChallengeAck),
            (1001, ACK, Some(5000 + (1 << 31)), ChallengeAck),
            (1001, ACK, None, Drop),
            (2000, SYN, None, ChallengeAck),
            (1001, RST, None, Abort),
            (1001, RST, Some(4999), Abort),
            (1000, SYN, Some(4999), ResendSynAck),
            (2000, SYN, Some(5001), ChallengeAck),
        ];
        for (seq, flags, value, want) in cases {
            let segment = segment(seq, (half_open.iss + 1).get(), flags, b"");
            let timestamps = value.map(|value| Timestamps { value, echo: 0 });
            let options = Options { timestamps, ..Options::default() };
            let got = half_open.on_segment(&Segment { options, ..segment });
            assert_eq!(got, want, "{seq} {flags:?} {value:?}");
        }
    }

    #[test]
    fn a_closed_window_still_takes_the_ack() {
        let half_open = HalfOpen { window: 0, ..half_open(Instant::ZERO, &Options::default()) };
        let ack = (half_open.iss + 1).get();
        let verdict = |seq, payload| half_open.on_segment(&segment(seq, ack, ACK, payload));
        assert_eq!(verdict(1001, b""), SynReceivedVerdict::Establish);
        assert_eq!(verdict(1002, b""), SynReceivedVerdict::ChallengeAck);
        assert_eq!(verdict(1001, b"data"), SynReceivedVerdict::ChallengeAck);
    }
}

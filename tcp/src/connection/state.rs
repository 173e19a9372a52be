//! The states of a connection and how it goes from one to the other (RFC 9293 section 3.3.2).

/// Where a connection stands.
///
/// LISTEN, a passive SYN-RECEIVED and TIME-WAIT have tables of their own ([`crate::listen`],
/// [`crate::time_wait`]), because there may be many of them and they need little. What is here is
/// SYN-RECEIVED after a simultaneous open, and TIME-WAIT until the application has read what is left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// A SYN was sent.
    SynSent,
    /// SYNs crossed: one was sent and one received.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// Our FIN was sent, or waits behind data; the peer still sends.
    FinWait1,
    /// Our FIN is acknowledged; the peer still sends.
    FinWait2,
    /// The peer's FIN is here; we still send.
    CloseWait,
    /// FINs crossed: ours is not acknowledged yet.
    Closing,
    /// The peer's FIN came first; ours is not acknowledged yet.
    LastAck,
    /// Both sides have closed in order; old segments may still be under way.
    TimeWait,
    /// No connection any more.
    Closed,
}

/// What moves a connection to another state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// A SYN without an acknowledgment arrived.
    Syn,
    /// Our SYN was acknowledged (and the peer's received).
    SynAcked,
    /// The application has nothing more to send.
    Close,
    /// The peer's FIN arrived, with all data before it.
    Fin,
    /// Our FIN was acknowledged.
    FinAcked,
    /// The connection is given up: a reset, an abort, or no answer for too long.
    Abort,
    /// Twice the maximum segment lifetime is over.
    Expire,
}

impl State {
    /// Every state.
    pub const ALL: [State; 10] = [
        State::SynSent,
        State::SynReceived,
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::Closing,
        State::LastAck,
        State::TimeWait,
        State::Closed,
    ];

    /// The state after `event`; `None` if it cannot happen, or means nothing, in this one.
    pub const fn on(self, event: Event) -> Option<State> {
        Some(match (self, event) {
            (State::Closed, _) => return None,
            (_, Event::Abort) => State::Closed,
            (State::SynSent, Event::Syn) => State::SynReceived,
            (State::SynSent | State::SynReceived, Event::SynAcked) => State::Established,
            (State::SynSent, Event::Close) => State::Closed,
            //= RFC 9293 section 3.10.4: in SYN-RECEIVED, a close waits for ESTABLISHED.
            (State::Established, Event::Close) => State::FinWait1,
            (State::CloseWait, Event::Close) => State::LastAck,
            (State::Established, Event::Fin) => State::CloseWait,
            (State::FinWait1, Event::Fin) => State::Closing,
            (State::FinWait2, Event::Fin) => State::TimeWait,
            (State::FinWait1, Event::FinAcked) => State::FinWait2,
            (State::Closing, Event::FinAcked) => State::TimeWait,
            (State::LastAck, Event::FinAcked) => State::Closed,
            (State::TimeWait, Event::Expire) => State::Closed,
            _ => return None,
        })
    }

    /// Whether both sides have seen each other's SYN.
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, State::SynSent | State::SynReceived | State::Closed)
    }

    /// Whether data of the peer is still to come.
    pub const fn can_receive(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether the application may still send.
    pub const fn can_send(self) -> bool {
        matches!(self, State::SynSent | State::SynReceived | State::Established | State::CloseWait)
    }

    /// The name that Linux's tools give it.
    pub const fn name(self) -> &'static str {
        match self {
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECV",
            State::Established => "ESTAB",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::CloseWait => "CLOSE-WAIT",
            State::Closing => "CLOSING",
            State::LastAck => "LAST-ACK",
            State::TimeWait => "TIME-WAIT",
            State::Closed => "CLOSED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 7] =
        [Event::Syn, Event::SynAcked, Event::Close, Event::Fin, Event::FinAcked, Event::Abort, Event::Expire];

    /// The whole machine, to be read beside figure 5 of RFC 9293.
    #[test]
    fn the_whole_table() {
        let mut table = format!("{:12}", "");
        EVENTS.iter().for_each(|event| table += &format!("{:12}", format!("{event:?}")));
        for state in State::ALL {
            table = table.trim_end().to_owned() + &format!("\n{:12}", state.name());
            for event in EVENTS {
                table += &format!("{:12}", state.on(event).map_or("-", State::name));
            }
        }
        let want = "
            Syn         SynAcked    Close       Fin         FinAcked    Abort       Expire
SYN-SENT    SYN-RECV    ESTAB       CLOSED      -           -           CLOSED      -
SYN-RECV    -           ESTAB       -           -           -           CLOSED      -
ESTAB       -           -           FIN-WAIT-1  CLOSE-WAIT  -           CLOSED      -
FIN-WAIT-1  -           -           -           CLOSING     FIN-WAIT-2  CLOSED      -
FIN-WAIT-2  -           -           -           TIME-WAIT   -           CLOSED      -
CLOSE-WAIT  -           -           LAST-ACK    -           -           CLOSED      -
CLOSING     -           -           -           -           TIME-WAIT   CLOSED      -
LAST-ACK    -           -           -           -           CLOSED      CLOSED      -
TIME-WAIT   -           -           -           -           -           CLOSED      CLOSED
CLOSED      -           -           -           -           -           -           -";
        assert_eq!(table.trim_end(), want.trim_start_matches('\n'));
    }
}

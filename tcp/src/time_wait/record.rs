//! One connection in TIME-WAIT, and what it makes of a segment.

use wire::{Instant, TcpFlags};

use crate::demux::FlowKey;
use crate::listen::timestamp_clock;
use crate::packet::{EcnField, SegmentOut};
use crate::{Options, Segment, SeqNumber, Timestamps, UnscaledWindow};

/// The timestamps of a connection that negotiated them (RFC 7323).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionTimestamps {
    /// TS.Recent: the peer's last TSval, which an ACK echoes.
    pub recent: u32,
    /// What this connection adds to the clock to get its TSval.
    pub offset: u32,
}

/// What is left of a connection in TIME-WAIT: enough to repeat its last ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeWait {
    /// Its flow.
    pub key: FlowKey,
    /// SND.NXT: past its own FIN.
    pub snd_nxt: SeqNumber,
    /// RCV.NXT: past the peer's FIN.
    pub rcv_nxt: SeqNumber,
    /// The window that its ACKs advertise, as sent.
    pub window: UnscaledWindow,
    /// Its timestamps, if it negotiated them.
    pub timestamps: Option<ConnectionTimestamps>,
}

/// What is to be done about a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// Nothing.
    Drop,
    /// Send the last ACK again: the peer has not had it. The 2 MSL start anew.
    Ack,
    /// Send the last ACK, rate limited (RFC 5961 sections 5 and 7): the segment is none of the
    /// connection's, or an old one.
    ChallengeAck,
    /// Hand the segment, a SYN, to the listener, if there is one. The record stays until the handshake is
    /// through: the SYN may yet turn out to be an old duplicate. Without a listener, drop it.
    Reuse(Reuse),
}

/// What a new connection must know of the one in TIME-WAIT whose flow it takes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reuse {
    /// Its ISS must be this or come after it.
    pub iss_floor: SeqNumber,
    /// Its timestamps go on from the old ones if they have the same offset.
    pub ts_offset: Option<u32>,
}

impl Reuse {
    /// `iss`, or the first number past those of the old connection if that comes later.
    pub fn above_floor(self, iss: SeqNumber) -> SeqNumber {
        if iss.before(self.iss_floor) { self.iss_floor + 1 } else { iss }
    }
}

impl TimeWait {
    /// What to do about `segment`, which belongs to this flow.
    //= RFC 9293 section 3.10.7.4: arrivals in TIME-WAIT.
    pub fn on_segment(&self, segment: &Segment) -> Disposition {
        //= RFC 1337 section 3, fix F1: resets are ignored in TIME-WAIT, lest an old duplicate end it.
        if segment.rst() {
            return Disposition::Drop;
        }
        if segment.syn() {
            return self.on_syn(segment, segment.options.timestamps);
        }
        if let Some(disposition) = self.check_timestamps(segment.options.timestamps) {
            return disposition;
        }
        //= RFC 9293 section 3.10.7.4, "Eighth, check the FIN bit": a retransmitted FIN is acknowledged
        //= and restarts the 2 MSL. It ends at RCV.NXT, so this is asked before acceptability.
        if segment.fin() && segment.ack.is_some() && segment.seq + segment.len() == self.rcv_nxt {
            return Disposition::Ack;
        }
        //= RFC 9293 section 3.10.7.4, "First, check sequence number": unacceptable ones are answered.
        // So is what lies in the window: after its FIN a peer has nothing to send there, and the ACK tells
        // it so, as Linux and FreeBSD do. What is left is the ACK of our FIN, again.
        let is_last_ack = segment.seq == self.rcv_nxt && segment.len() == 0;
        if is_last_ack { Disposition::Drop } else { Disposition::ChallengeAck }
    }

    /// The ACK that is sent again at `now`.
    pub fn ack(&self, now: Instant) -> SegmentOut {
        let timestamps = self.timestamps.map(|ConnectionTimestamps { recent, offset }| Timestamps {
            value: timestamp_clock(now).wrapping_add(offset),
            echo: recent,
        });
        SegmentOut {
            src: self.key.local(),
            dst: self.key.remote(),
            seq: self.snd_nxt,
            ack: Some(self.rcv_nxt),
            flags: TcpFlags::default(),
            window: self.window,
            options: Options { timestamps, ..Options::default() },
            ecn: EcnField::NotEct,
        }
    }

    /// What a new connection over this flow must know.
    //= RFC 9293 section 3.6.1: its ISS must be larger than any number that the old one used (MAY-2).
    pub fn reuse(&self) -> Reuse {
        Reuse { iss_floor: self.snd_nxt, ts_offset: self.timestamps.map(|timestamps| timestamps.offset) }
    }

    fn on_syn(&self, segment: &Segment, timestamps: Option<Timestamps>) -> Disposition {
        if segment.ack.is_none() && self.is_new_incarnation(segment.seq, timestamps) {
            return Disposition::Reuse(self.reuse());
        }
        //= RFC 9293 section 3.10.7.4, "Fourth, check the SYN bit": any other SYN has a challenge ACK
        //= (RFC 5961 section 4.2).
        Disposition::ChallengeAck
    }

    /// Whether a SYN must be later than all of this connection.
    fn is_new_incarnation(&self, seq: SeqNumber, timestamps: Option<Timestamps>) -> bool {
        //= RFC 9293 section 3.6.1 (as RFC 1122 section 4.2.2.13): its number is past the last one seen.
        let later_seq = seq.at_or_after(self.rcv_nxt);
        //= RFC 6191 section 2: with timestamps at both times, a later one is proof; an equal one needs
        //= the later number as well; an earlier one refutes.
        //= If only the new connection has timestamps, that is enough.
        //= If it has none, its number decides.
        match (self.timestamps, timestamps) {
            (Some(old), Some(new)) => match new.value.wrapping_sub(old.recent) as i32 {
                1.. => true,
                0 => later_seq,
                _ => false,
            },
            (None, Some(_)) => true,
            (_, None) => later_seq,
        }
    }

    /// What the timestamps alone decide.
    fn check_timestamps(&self, timestamps: Option<Timestamps>) -> Option<Disposition> {
        let old = self.timestamps?;
        //= RFC 7323 section 3.2: a segment without timestamps should be dropped in silence.
        let Some(new) = timestamps else { return Some(Disposition::Drop) };
        //= RFC 7323 section 5.3, R1 (PAWS): an earlier timestamp marks an old duplicate: ACK and drop.
        let is_old = (new.value.wrapping_sub(old.recent) as i32) < 0;
        is_old.then_some(Disposition::ChallengeAck)
    }
}

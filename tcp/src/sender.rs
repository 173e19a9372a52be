//! What a connection keeps in order to send: loss recovery, congestion control, the pacer.
//!
//! That is half of all that a connection keeps, and of no use to one with nothing under way. So it lies in a
//! slab of the shard, and a connection that has been quiet for a while gives it up and keeps only what it
//! has learnt about the path.

use wire::Instant;
use wire::prefetch::prefetch_all;

use crate::congestion::{self, Congestion, CongestionControl, Pacer, Pacing, initial_window};
use crate::connection::Timer;
use crate::pool::Slab;
use crate::recovery::{self, Recovery};
use crate::{Micros, SeqNumber, Tick};

/// The sending half of a connection that is in use.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) recovery: Recovery,
    pub(crate) congestion: Congestion,
    pub(crate) pacer: Pacer,
    /// When the pacer lets the next segment go, if one waits for that.
    pace: Timer,
}

/// What is left of a [`Sender`] that rests.
#[derive(Clone, Debug)]
pub(crate) struct Resting {
    pub(crate) path: recovery::PathMemory,
    pub(crate) congestion: congestion::Resting,
}

/// A connection's sender: in the slab, or resting.
#[derive(Debug)]
pub(crate) enum Sending {
    Active(u32),
    Resting(Resting),
}

impl Sender {
    /// Of a connection that has sent nothing yet.
    pub(crate) fn new(iss: SeqNumber, algorithm: congestion::Algorithm, mss: u16, syn_lost: bool) -> Self {
        Sender {
            recovery: Recovery::new(iss),
            congestion: Congestion::new(algorithm, mss, syn_lost),
            pacer: Pacer::new(initial_window(mss)),
            pace: Timer::OFF,
        }
    }

    fn wake(resting: &Resting, snd_nxt: SeqNumber, mss: u16, sack: bool) -> Self {
        let mut recovery = Recovery::resume(snd_nxt, &resting.path);
        recovery.agree(sack, mss);
        Sender {
            recovery,
            congestion: Congestion::resume(&resting.congestion, mss),
            pacer: Pacer::new(initial_window(mss)),
            pace: Timer::OFF,
        }
    }

    fn rest(&self) -> Resting {
        Resting { path: self.recovery.path_memory(), congestion: self.congestion.rest() }
    }

    /// Bytes that congestion control and the pacer let go now; `mss` in bytes.
    pub(crate) fn quota(&mut self, now: Instant, mss: u16) -> u32 {
        let quota = self.recovery.send_quota(&self.congestion, mss.into());
        match self.pacer.poll(now, mss) {
            Pacing::Send(bytes) => quota.min(bytes),
            Pacing::Wait(at) => {
                self.pace = Timer::until(at);
                0
            }
        }
    }

    /// The pacer follows the window, if segments are paced.
    pub(crate) fn set_pace(&mut self, paced: bool) {
        let srtt = self.recovery.srtt();
        let rate = (paced && srtt > 0).then(|| self.congestion.pacing_rate(srtt));
        self.pacer.set_rate(rate);
    }

    /// When something becomes due.
    fn next_deadline(&self, now: Instant) -> Timer {
        let recovery = self
            .recovery
            .deadline()
            .map_or(Timer::OFF, |(at, _)| Timer::at(Tick::after_micros(now, at.since(Micros::at(now)))));
        recovery.or_sooner(self.pace)
    }

    /// The pacer's time has come.
    pub(crate) fn stop_pace_timer(&mut self, now: Tick) {
        self.pace.take_due(now);
    }
}

impl Sending {
    /// The sender, if it is awake.
    #[inline]
    pub(crate) fn active<'a>(&self, senders: &'a mut Slab<Sender>) -> Option<&'a mut Sender> {
        match self {
            Sending::Active(id) => senders.get_mut(*id),
            Sending::Resting(_) => None,
        }
    }

    /// The sender, if it is awake, to be looked at.
    #[inline]
    pub(crate) fn peek<'a>(&self, senders: &'a Slab<Sender>) -> Option<&'a Sender> {
        match self {
            Sending::Active(id) => senders.get(*id),
            Sending::Resting(_) => None,
        }
    }

    /// Asks for the cache lines of the sender.
    #[inline]
    pub(crate) fn prefetch(&self, senders: &Slab<Sender>) {
        self.peek(senders).into_iter().for_each(prefetch_all);
    }

    /// Sees to it that the sender is awake; gives it unless the slab is full.
    pub(crate) fn wake<'a>(
        &mut self,
        senders: &'a mut Slab<Sender>,
        snd_nxt: SeqNumber,
        mss: u16,
        sack: bool,
    ) -> Option<&'a mut Sender> {
        if let Sending::Resting(_) = self {
            self.wake_up(senders, snd_nxt, mss, sack);
        }
        self.active(senders)
    }

    #[cold]
    fn wake_up(&mut self, senders: &mut Slab<Sender>, snd_nxt: SeqNumber, mss: u16, sack: bool) {
        if let Sending::Resting(resting) = self
            && let Ok(id) = senders.insert(Sender::wake(resting, snd_nxt, mss, sack))
        {
            *self = Sending::Active(id);
        }
    }

    /// Gives the sender's place in the slab back; nothing is in flight.
    pub(crate) fn rest(&mut self, senders: &mut Slab<Sender>) {
        if let Sending::Active(id) = *self
            && let Some(sender) = senders.remove(id)
        {
            *self = Sending::Resting(sender.rest());
        }
    }

    /// When the sender has something to do.
    pub(crate) fn next_deadline(&self, senders: &Slab<Sender>, now: Instant) -> Timer {
        self.peek(senders).map_or(Timer::OFF, |sender| sender.next_deadline(now))
    }

    /// The congestion control in use.
    pub(crate) fn algorithm(&self, senders: &Slab<Sender>) -> Option<congestion::Algorithm> {
        match self {
            Sending::Active(id) => senders.get(*id).map(|sender| sender.congestion.algorithm()),
            Sending::Resting(resting) => Some(resting.congestion.algorithm()),
        }
    }

    /// Goes on with another congestion control.
    pub(crate) fn change_algorithm(&mut self, senders: &mut Slab<Sender>, to: congestion::Algorithm) {
        match self {
            Sending::Active(_) => {
                if let Some(sender) = self.active(senders) {
                    sender.congestion.change_algorithm(to);
                }
            }
            Sending::Resting(resting) => resting.congestion.change_algorithm(to),
        }
    }

    /// The retransmission timeout in us.
    pub(crate) fn rto(&self, senders: &Slab<Sender>, limits: &recovery::Limits) -> u32 {
        match self {
            Sending::Active(id) => senders.get(*id).map_or(limits.initial_rto, |s| s.recovery.rto(limits)),
            Sending::Resting(resting) => resting.path.rto(limits),
        }
    }
}

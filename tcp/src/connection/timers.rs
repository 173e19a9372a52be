//! What happens when nothing does: retransmission, probes, delayed ACKs, keepalive.

use std::time::Duration;

use wire::{Instant, Payload};

use super::{Connection, Cx, Error, Flags, State};
use crate::config::Config;
use crate::pool::Slab;
use crate::recovery::Timeout;
use crate::sender::Sender;
use crate::trace::What;
use crate::{Micros, Tick};

/// A deadline, or none, in four bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Timer(u32);

impl Timer {
    /// Not running.
    pub(crate) const OFF: Timer = Timer(0);

    /// Runs out with `tick`.
    pub(crate) const fn at(tick: Tick) -> Self {
        // Tick 0 stands for none: once in 78 hours a timer is late by one tick.
        Timer(if tick.get() == 0 { 1 } else { tick.get() })
    }

    /// Runs out at `at`.
    pub(crate) fn until(at: Instant) -> Self {
        Timer::after(at, Duration::ZERO)
    }

    /// Runs out at `delay` after `now`.
    pub(crate) fn after(now: Instant, delay: Duration) -> Self {
        Timer::at(Tick::after(now, delay))
    }

    /// When it runs out.
    pub(crate) const fn deadline(self) -> Option<Tick> {
        if self.0 == 0 { None } else { Some(Tick::new(self.0)) }
    }

    /// Whether it has run out; if so it is off.
    pub(crate) fn take_due(&mut self, now: Tick) -> bool {
        let due = self.deadline().is_some_and(|deadline| deadline.is_due(now));
        if due {
            *self = Timer::OFF;
        }
        due
    }

    const fn is_running(self) -> bool {
        self.0 != 0
    }

    /// Whichever of the two runs out first.
    #[inline]
    pub(crate) const fn or_sooner(self, other: Timer) -> Timer {
        let later = other.is_running() && self.is_running() && !Tick::new(other.0).before(Tick::new(self.0));
        if other.is_running() && !later { other } else { self }
    }
}

/// The longest time between two probes of a closed window.
const MAX_PERSIST: Duration = Duration::from_secs(60);

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) is to be called next. It may be called earlier.
    pub(crate) fn next_deadline(
        &self,
        config: &Config,
        senders: &Slab<Sender>,
        now: Instant,
    ) -> Option<Tick> {
        let patience = if self.has_patience() {
            Timer::at(self.stalled_since.plus(self.user_timeout(config)))
        } else {
            Timer::OFF
        };
        let sending = self.sending.next_deadline(senders, now);
        let others = [self.delayed_ack, self.persist, self.slow, self.rest];
        others.into_iter().fold(sending.or_sooner(patience), Timer::or_sooner).deadline()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        let tick = Tick::at(cx.now);
        if self.delayed_ack.take_due(tick) {
            self.note(cx, What::DelayedAck);
            self.flags.set(Flags::ACK_NOW);
        }
        if self.has_patience() && tick.since(self.stalled_since) >= self.user_timeout(cx.config) {
            return self.give_up(cx, self.soft_error.unwrap_or(Error::TimedOut));
        }
        self.on_retransmission_timer(cx);
        if self.persist.take_due(tick) {
            self.on_persist(cx, tick);
        }
        if self.slow.take_due(tick) {
            self.on_slow_timer(cx);
        }
        if self.rest.take_due(tick) && !self.in_flight() && !self.has_unsent() {
            self.sending.rest(cx.senders);
        }
    }

    //= RFC 9293 section 3.8.3: R2, here a time (RFC 5482): it does not wait for the next retransmission.
    /// Whether the connection is given up once what is in flight has gone unacknowledged for the user timeout.
    fn has_patience(&self) -> bool {
        self.in_flight() && self.state.is_synchronized()
    }

    fn on_retransmission_timer<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        let (now, mss) = (Micros::at(cx.now), u32::from(self.mss));
        let Some(sender) = self.sending.active(cx.senders) else { return };
        sender.stop_pace_timer(Tick::at(cx.now));
        match sender.recovery.on_timeout(cx.flights, &mut sender.congestion, cx.recovery, now, mss) {
            Timeout::Nothing | Timeout::Lost { reduced: false } => {}
            Timeout::Lost { reduced: true } => self.on_reduction(),
            Timeout::Retransmission => {
                let tries = sender.recovery.timeouts();
                cx.counters.timeouts += 1;
                self.note(cx, What::RetransmissionTimeout);
                self.on_reduction();
                self.on_rto(cx, tries);
            }
            Timeout::Probe => {
                cx.counters.probes += 1;
                self.note(cx, What::TailLossProbe);
                self.flags.set(Flags::PROBE);
            }
        }
    }

    fn on_rto<B: Payload>(&mut self, cx: &mut Cx<'_, B>, tries: u8) {
        //= RFC 9293 section 3.8.3: R2 for a SYN is three minutes at least (MUST-23): the seventh of our
        //= defaults is given up after four.
        if !self.state.is_synchronized() && tries > cx.config.syn_retries {
            let error = self.soft_error.unwrap_or(Error::TimedOut);
            return self.give_up(cx, error);
        }
        if tries >= BLACK_HOLE_AFTER && self.state.is_synchronized() {
            self.suspect_black_hole(cx);
        }
    }

    /// The window is closed, or too small for what there is to send.
    fn on_persist<B: Payload>(&mut self, cx: &mut Cx<'_, B>, tick: Tick) {
        if self.in_flight() {
            return;
        }
        //= RFC 9293 section 3.8.6.1: a connection whose peer goes on acknowledging probes stays open
        //= (MUST-37). One whose peer does not, ends as if data were not acknowledged.
        if tick.since(self.stalled_since) >= self.user_timeout(cx.config) {
            // The peer of an orphan is there, and waits for more.
            self.flags.put(Flags::RESET, self.flags.has(Flags::DETACHED));
            return self.give_up(cx, self.soft_error.unwrap_or(Error::TimedOut));
        }
        self.note(cx, What::Persist);
        self.persist_backoff = self.persist_backoff.saturating_add(1);
        self.flags.clear(Flags::MORE);
        self.flags.set(if self.snd_wnd == 0 { Flags::PROBE_WINDOW } else { Flags::OVERRIDE });
    }

    //= RFC 9293 section 3.8.6.1: the first probe after a retransmission timeout, the next ones at
    //= exponentially growing intervals.
    /// Starts the persist timer, unless it runs.
    pub(super) fn start_persist<B>(&mut self, cx: &Cx<'_, B>) {
        if self.persist.is_running() {
            return;
        }
        if self.persist_backoff == 0 && !self.flags.has(Flags::DETACHED) {
            self.stalled_since = Tick::at(cx.now);
        }
        let delay = self.rto(cx) * (1 << self.persist_backoff.min(10));
        self.persist = Timer::after(cx.now, delay.min(MAX_PERSIST));
    }

    /// The window is open: no more probes.
    pub(super) fn stop_persist(&mut self) {
        self.persist = Timer::OFF;
        self.persist_backoff = 0;
        self.flags.clear(Flags::PROBE_WINDOW.and(Flags::OVERRIDE));
    }

    fn on_slow_timer<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        if self.state == State::FinWait2 && self.flags.has(Flags::DETACHED) {
            return self.give_up(cx, Error::TimedOut);
        }
        if !self.flags.has(Flags::KEEPALIVE) {
            return;
        }
        let keepalive = self.rare.keepalive(cx.config);
        let silence = self.silence(cx.now);
        if silence < keepalive.idle || self.in_flight() {
            self.probes_unanswered = 0;
            // What is in flight tells as much as a probe would.
            let rest = keepalive.idle.checked_sub(silence).filter(|rest| !rest.is_zero());
            self.slow = Timer::after(cx.now, rest.unwrap_or(keepalive.interval));
        } else if self.probes_unanswered >= keepalive.probes {
            self.flags.set(Flags::RESET);
            self.give_up(cx, Error::TimedOut);
        } else {
            self.note(cx, What::Keepalive);
            self.probes_unanswered += 1;
            self.flags.set(Flags::PROBE_PEER);
            self.slow = Timer::after(cx.now, keepalive.interval);
        }
    }

    /// Turns keepalive on or off.
    pub(crate) fn set_keepalive<B>(&mut self, cx: &mut Cx<'_, B>, on: bool) {
        self.flags.put(Flags::KEEPALIVE, on);
        self.probes_unanswered = 0;
        if on && self.state != State::FinWait2 {
            self.slow = Timer::after(cx.now, self.rare.keepalive(cx.config).idle);
        }
    }

    /// An orphan does not wait for ever.
    pub(super) fn start_fin_wait2<B>(&mut self, cx: &mut Cx<'_, B>) {
        if self.flags.has(Flags::DETACHED) {
            self.slow = Timer::after(cx.now, self.rare.fin_wait2(cx.config));
        }
    }
}

/// From so many timeouts in a row on, the path is taken for a black hole.
const BLACK_HOLE_AFTER: u8 = 3;

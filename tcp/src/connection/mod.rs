//! One connection: its numbers and flags, and where each kind of event is handled.
//!
//! - [`state`]: the states and what leads from one to the other.
//! - `input`: a segment arrives, in a synchronized state; `handshake`: before that.
//! - `output`: what to send now; `emit`: how.
//! - `timers`: what happens when nothing does.
//! - `path`: ICMP errors about our segments; `black_hole`: what routers do not tell.
//! - `app`: what the application asks for.
//! - `trace`: what is noted of it for operators.
//! - [`settings`]: what it may set; [`info`]: what it may be told.
//!
//! A connection owns no memory: its queues are lists in the shard's pools. It reads no clock and sends
//! nothing by itself: `handle_segment` and `handle_timeout` only change what `poll_transmit` will do at
//! the end of the burst.

mod app;
mod black_hole;
mod emit;
mod flags;
mod handshake;
pub mod info;
mod input;
mod output;
mod path;
pub mod settings;
pub mod state;
mod timers;
mod trace;

use std::net::SocketAddrV4;
use std::time::Duration;

use wire::{Instant, Payload};

pub(crate) use app::Given;
use black_hole::SizeSearch;
pub(crate) use flags::Flags;
use settings::Rare;
pub use settings::Settings;
pub use state::{Event, State};
pub(crate) use timers::Timer;

use crate::budget::Budget;
use crate::config::Config;
use crate::counters::Counters;
use crate::demux::FlowKey;
use crate::listen::{ChallengeLimiter, Offer, timestamp_clock};
use crate::packet::{EcnField, IpFields, SegmentOut};
use crate::pool::{Pool, Slab};
use crate::receive::{self, Receiver};
use crate::recovery::{self, Flight};
use crate::send::{Piece, SendQueue};
use crate::sender::{Sender, Sending};
use crate::time_wait::{ConnectionTimestamps, TimeWait};
use crate::trace::{Last, Trace, What};
use crate::{Options, SeqNumber, Tick, Timestamps, UnscaledWindow};

/// What a call on a connection works with: the shard's, lent.
pub(crate) struct Cx<'a, B> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) pieces: &'a mut Pool<Piece<B>>,
    pub(crate) receive: &'a mut receive::Pools<B>,
    pub(crate) flights: &'a mut Pool<Flight>,
    pub(crate) senders: &'a mut Slab<Sender>,
    pub(crate) recovery: &'a recovery::Limits,
    pub(crate) offer: &'a Offer,
    pub(crate) budget: &'a mut Budget,
    pub(crate) counters: &'a mut Counters,
    pub(crate) trace: &'a mut Trace,
}

/// Why a connection ended before both sides had closed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// Nobody listens there: our SYN was answered with a reset.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The peer did not answer in time.
    TimedOut,
    /// The network says that the host cannot be reached, and no answer came.
    HostUnreachable,
    /// The network says that it cannot be reached, and no answer came.
    NetUnreachable,
    /// The application aborted it.
    Aborted,
}

/// What an application may want to know of a connection: bits, so that what happened twice is told once.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct News(u8);

impl News {
    /// A connect succeeded.
    pub const CONNECTED: News = News(1);
    /// There is payload to be read.
    pub const READABLE: News = News(2);
    /// There is room in the send queue again.
    pub const WRITABLE: News = News(4);
    /// The peer has sent its FIN: after what can be read now, nothing comes any more.
    pub const PEER_CLOSED: News = News(8);
    /// The connection is over; the error, if there is one, says why.
    pub const CLOSED: News = News(16);
    /// The end of a connection can be read.
    pub const READABLE_AND_CLOSED: News = News(2 | 16);

    /// Whether all of `news` happened.
    pub const fn has(self, news: News) -> bool {
        self.0 & news.0 == news.0
    }

    /// Whether nothing happened.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::ops::BitOrAssign for News {
    fn bitor_assign(&mut self, other: News) {
        self.0 |= other.0;
    }
}

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [(News, &str); 5] = [
            (News::CONNECTED, "connected"),
            (News::READABLE, "readable"),
            (News::WRITABLE, "writable"),
            (News::PEER_CLOSED, "peer-closed"),
            (News::CLOSED, "closed"),
        ];
        f.debug_set().entries(NAMES.iter().filter(|(bit, _)| self.has(*bit)).map(|(_, name)| name)).finish()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) state: State,
    pub(crate) flags: Flags,
    pub(crate) local: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,

    /// SND.UNA: the oldest number that is not acknowledged.
    snd_una: SeqNumber,
    /// SND.NXT: the number past the last one sent.
    snd_nxt: SeqNumber,
    /// SND.WND, in bytes.
    snd_wnd: u32,
    /// The number and the acknowledgment of the segment that last updated the window.
    snd_wl1: SeqNumber,
    snd_wl2: SeqNumber,
    /// The largest window that the peer ever offered.
    max_wnd: u32,
    /// The number past the last segment below the MSS that was sent (Minshall's Nagle).
    small_end: SeqNumber,
    /// Data of a full segment, the options that every segment has taken off.
    mss: u16,
    /// Whether it was more, and may be again.
    size_search: SizeSearch,
    /// The MSS that the peer announced.
    peer_mss: u16,
    snd_scale: u8,
    rcv_scale: u8,
    send: SendQueue,
    /// Bytes of the send queue that are counted in the shard's budget.
    send_charged: u32,

    receiver: Receiver,
    /// TS.Recent (RFC 7323 section 4.3), and when it was taken, in seconds: it may be months ago.
    ts_recent: u32,
    ts_recent_at: u32,
    /// Added to the clock in our timestamps, so that it says nothing of other connections.
    ts_offset: u32,
    /// Last.ACK.sent.
    last_ack_sent: SeqNumber,
    /// Bytes received since the last ACK was sent.
    unacked_bytes: u32,
    /// The largest segment received lately: what "full-sized" means for delayed ACKs.
    rcv_mss: u16,
    /// ACKs that are still sent at once, because the peer's window is young.
    quick_acks: u8,

    sending: Sending,

    delayed_ack: Timer,
    /// Zero-window probes; and the end of patience with a small window.
    persist: Timer,
    /// Keepalive, or the end of FIN-WAIT-2.
    slow: Timer,
    /// The sender gives its place up if it has been quiet until then.
    rest: Timer,
    persist_backoff: u8,
    probes_unanswered: u8,
    challenges: ChallengeLimiter,
    /// When the peer was last heard of, by the clock of timestamps: milliseconds that wrap after 49 days.
    heard_at: u32,
    /// Since when nothing has moved: no new acknowledgment though something is in flight; or since when
    /// nothing is.
    stalled_since: Tick,
    /// How long nothing may move; zero: as the shard's configuration says. Milliseconds.
    user_timeout: u32,
    /// Bytes of the send queue; zero: as the shard's configuration says.
    send_buffer: u32,
    /// Bytes not sent at which the send queue counts as full; zero: no bound.
    unsent_low_water: u32,
    ip: IpFields,
    rare: Rare,

    pub(crate) news: News,
    pub(crate) error: Option<Error>,
    /// What an ICMP error said: told if the connection times out (RFC 1122 section 4.2.3.9).
    soft_error: Option<Error>,
    /// What the application keeps with the connection.
    pub(crate) token: u32,
    /// The last thing that was noted of it.
    pub(crate) last_event: Last,
}

/// ACKs sent at once at the start of a connection, as Linux has it: the peer's slow start counts ACKs.
const QUICK_ACKS: u8 = 16;

impl Connection {
    /// Moves to the next state. The one place where the state changes.
    fn transition<B>(&mut self, cx: &mut Cx<'_, B>, event: Event) {
        let Some(next) = self.state.on(event) else { return };
        let before = std::mem::replace(&mut self.state, next);
        match (before, next) {
            (State::SynSent | State::SynReceived, State::Closed) => cx.counters.failed_opens += 1,
            (_, State::Closed) if event == Event::Abort => cx.counters.aborted += 1,
            (_, State::TimeWait) | (State::LastAck, State::Closed) => cx.counters.closed += 1,
            _ => {}
        }
        match next {
            State::Established => {
                self.news |= News::CONNECTED;
                if self.flags.has(Flags::FIN_QUEUED) {
                    self.transition(cx, Event::Close);
                }
            }
            State::TimeWait | State::Closed => self.news |= News::CLOSED,
            State::FinWait2 => self.start_fin_wait2(cx),
            _ => {}
        }
    }

    /// Ends the connection without a word to the peer.
    fn give_up<B>(&mut self, cx: &mut Cx<'_, B>, error: Error) {
        if self.state == State::Closed {
            return;
        }
        if error == Error::TimedOut {
            cx.counters.timed_out += 1;
        }
        self.error = Some(error);
        self.note(cx, What::GivenUp);
        self.transition(cx, Event::Abort);
        self.news |= News::READABLE;
    }

    /// Nothing is sent any more: gives back what was kept for that.
    pub(crate) fn release_sending<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        self.delayed_ack = Timer::OFF;
        self.persist = Timer::OFF;
        self.slow = Timer::OFF;
        self.send.clear(cx.pieces);
        if let Some(sender) = self.sending.active(cx.senders) {
            sender.recovery.clear(cx.flights);
        }
        self.sending.rest(cx.senders);
        cx.budget.give(std::mem::take(&mut self.send_charged));
    }

    /// Gives everything back to the pools.
    pub(crate) fn release<B: Payload>(&mut self, cx: &mut Cx<'_, B>) {
        self.release_sending(cx);
        self.receiver.clear(cx.receive, cx.budget);
    }

    /// What its TIME-WAIT record keeps.
    pub(crate) fn time_wait_record(&self, key: FlowKey) -> TimeWait {
        let window = self.receiver.receive_window().window.bytes() >> self.rcv_scale;
        let timestamps = ConnectionTimestamps { recent: self.ts_recent, offset: self.ts_offset };
        TimeWait {
            key,
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.receiver.next(),
            window: UnscaledWindow(window.min(0xffff) as u16),
            timestamps: self.flags.has(Flags::TIMESTAMPS).then_some(timestamps),
        }
    }

    /// Our timestamp clock: milliseconds, and the connection's offset.
    fn timestamp(&self, now: Instant) -> u32 {
        timestamp_clock(now).wrapping_add(self.ts_offset)
    }

    fn timestamps(&self, now: Instant) -> Option<Timestamps> {
        self.flags
            .has(Flags::TIMESTAMPS)
            .then(|| Timestamps { value: self.timestamp(now), echo: self.ts_recent })
    }

    /// The retransmission timeout.
    fn rto<B>(&self, cx: &Cx<'_, B>) -> Duration {
        Duration::from_micros(self.sending.rto(cx.senders, cx.recovery).into())
    }

    /// Whether it has news, and belongs into the list of those that have, where it was not yet. Now it is.
    #[inline]
    pub(crate) fn takes_to_news(&mut self) -> bool {
        let hidden = Flags::DETACHED.and(Flags::NEWS).and(Flags::UNACCEPTED);
        let tells = !self.news.is_empty() && !self.flags.any(hidden);
        if tells {
            self.flags.set(Flags::NEWS);
        }
        tells
    }

    /// Asks the processor for the cache lines of the sender.
    #[inline]
    pub(crate) fn prefetch_sender(&self, senders: &Slab<Sender>) {
        self.sending.prefetch(senders);
    }

    /// The sender, woken if it rests; `None` if the shard has no room for it.
    fn wake<'a>(&mut self, senders: &'a mut Slab<Sender>) -> Option<&'a mut Sender> {
        let sack = self.flags.has(Flags::SACK);
        self.sending.wake(senders, self.snd_nxt, self.mss, sack)
    }

    /// How long the peer has not been heard of.
    fn silence(&self, now: Instant) -> Duration {
        Duration::from_millis(timestamp_clock(now).wrapping_sub(self.heard_at).into())
    }

    /// Whether segments are in flight.
    fn in_flight(&self) -> bool {
        self.snd_una != self.snd_nxt
    }

    /// SND.NXT, or the right edge of the peer's window if that has moved below it: the peer would take no
    /// ACK from a segment past it (RFC 9293 section 3.10.7.4, "First"). Nor from one before what it has
    /// received since, of which we need not know: so the two take turns.
    fn acceptable_seq(&mut self) -> SeqNumber {
        let edge = self.snd_una + self.snd_wnd;
        if !self.snd_nxt.after(edge) {
            return self.snd_nxt;
        }
        let at_edge = !self.flags.take(Flags::EDGE_TRIED);
        self.flags.put(Flags::EDGE_TRIED, at_edge);
        if at_edge { edge } else { self.snd_nxt }
    }

    /// A segment of this connection, with nothing in it but an ACK; its window is still to be set.
    fn bare_segment(&mut self, now: Instant) -> SegmentOut {
        SegmentOut {
            src: self.local,
            dst: self.remote,
            seq: self.acceptable_seq(),
            ack: Some(self.receiver.next()),
            flags: wire::TcpFlags::default(),
            window: UnscaledWindow::default(),
            options: Options { timestamps: self.timestamps(now), ..Options::default() },
            ecn: EcnField::NotEct,
        }
    }

    fn user_timeout(&self, config: &Config) -> Duration {
        let timeout = match self.user_timeout {
            0 => config.give_up,
            millis => Duration::from_millis(u64::from(millis)),
        };
        timeout.min(Tick::FARTHEST)
    }

    /// Data of a full segment, from what the peer takes and the path carries.
    fn set_mss(&mut self, path_mss: u16) {
        self.mss = self.peer_mss.min(path_mss).max(Config::MIN_MSS) - self.options_len();
    }

    /// Bytes of the options that every segment has.
    fn options_len(&self) -> u16 {
        if self.flags.has(Flags::TIMESTAMPS) { 12 } else { 0 }
    }
}

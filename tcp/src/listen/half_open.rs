//! A connection in SYN-RECEIVED that came of a listener: all that is kept until the handshake is done.

use std::net::SocketAddrV4;
use std::time::Duration;

use wire::{Instant, TcpFlags};

use super::{Agreed, IsnGenerator, Offer, timestamp_clock};
use crate::packet::{EcnField, SegmentOut};
use crate::{Micros, Options, ReceiveWindow, Segment, SeqNumber, Timestamps, UnscaledWindow, Window};

/// What a handshake has to know of the listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Its number.
    pub id: u32,
    /// What it offers.
    pub offer: Offer,
}

/// A handshake whose last ACK is still to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HalfOpen {
    /// This end.
    pub local: SocketAddrV4,
    /// The peer.
    pub remote: SocketAddrV4,
    /// IRS: the number of the peer's SYN.
    pub irs: SeqNumber,
    /// ISS: the number of this end's SYN.
    pub iss: SeqNumber,
    /// TS.Recent: the TSval of the peer's SYN, if timestamps are agreed on.
    pub ts_recent: u32,
    /// What is added to [`timestamp_clock`] for TSval.
    pub ts_offset: u32,
    /// The number of the listener.
    pub listener: u32,
    /// What came of the options.
    pub agreed: Agreed,
    /// The window of the SYN-ACK, in bytes.
    pub window: u16,
    /// How often the SYN-ACK was sent again because no answer came.
    pub(super) retries: u8,
    pub(super) marks: u8,
    /// When the SYN-ACK was first sent.
    pub(super) sent_at: Micros,
}

const _: () = assert!(size_of::<HalfOpen>() == 44);

impl HalfOpen {
    /// The SYN-ACK was sent again in answer to a SYN that came again.
    pub(super) const RESENT: u8 = 1;
    /// A challenge ACK was sent since the last SYN-ACK.
    pub(super) const CHALLENGED: u8 = 2;
    /// Made of a SYN cookie: when the SYN-ACK was sent is not known.
    pub(super) const COOKIE: u8 = 4;
    /// The ACK came, and its listener waits for data.
    pub(super) const DEFERRED: u8 = 8;

    /// The handshake that `syn` opens. Its SYN-ACK is to be sent now.
    pub fn from_syn(now: Instant, syn: &Segment, listener: &Listener, isn: &IsnGenerator) -> Self {
        let (local, remote) = (syn.dst, syn.src);
        HalfOpen {
            local,
            remote,
            irs: syn.seq,
            iss: isn.isn(now, local, remote),
            ts_recent: syn.options.timestamps.unwrap_or_default().value,
            ts_offset: isn.timestamp_offset(local, remote),
            listener: listener.id,
            agreed: listener.offer.agree(&syn.options, syn.flags),
            window: listener.offer.window,
            retries: 0,
            marks: 0,
            sent_at: Micros::at(now),
        }
    }

    /// Its SYN-ACK, of an end that takes segments of `mss`, to be sent at `now`.
    pub fn syn_ack(&self, now: Instant, mss: u16) -> SegmentOut {
        SegmentOut {
            src: self.local,
            dst: self.remote,
            seq: self.iss,
            ack: Some(self.irs + 1),
            flags: self.agreed.syn_ack_flags(),
            window: UnscaledWindow(self.window),
            options: self.agreed.syn_ack_options(mss, self.timestamps(now)),
            ecn: EcnField::NotEct,
        }
    }

    /// What answers a segment that cannot be taken: what we are waiting for.
    pub fn challenge_ack(&self, now: Instant) -> SegmentOut {
        let receive_scale = self.agreed.window_scales().map_or(0, |scales| scales.receive);
        SegmentOut {
            seq: self.iss + 1,
            flags: TcpFlags::default(),
            window: UnscaledWindow(self.window >> receive_scale),
            options: Options {
                timestamps: self.agreed.timestamps().then(|| self.timestamps(now)),
                ..Options::default()
            },
            ..self.syn_ack(now, 0)
        }
    }

    fn timestamps(&self, now: Instant) -> Timestamps {
        Timestamps { value: timestamp_clock(now).wrapping_add(self.ts_offset), echo: self.ts_recent }
    }

    /// Whether the SYN-ACK was sent more than once because no answer came.
    pub const fn was_resent(&self) -> bool {
        self.retries > 0
    }

    /// RCV.NXT and RCV.WND.
    pub fn receive_window(&self) -> ReceiveWindow {
        //= RFC 7323 section 2.2: the window of a SYN-ACK is not scaled.
        ReceiveWindow { next: self.irs + 1, window: Window::new(self.window.into()) }
    }

    /// Whether a listener that accepts data only, for up to `defer`, waits for it still.
    pub fn is_deferring(&self, now: Instant, defer: Duration) -> bool {
        let passed = Micros::at(now).since(self.sent_at);
        Duration::from_micros(passed.into()) < defer
    }

    /// Whether the ACK has come, without data.
    pub const fn was_deferred(&self) -> bool {
        self.has(Self::DEFERRED)
    }

    //= RFC 6298 section 3: no sample of a segment that was sent twice (Karn's algorithm), unless its
    //= timestamp tells which one was answered.
    /// The round trip time that `segment`, which ends the handshake at `now`, gives, in microseconds.
    pub fn rtt_sample(&self, now: Instant, segment: &Segment) -> Option<u32> {
        // What ends one whose ACK has come already was waited for.
        if self.has(Self::COOKIE | Self::DEFERRED) {
            return None;
        }
        let since_first = Micros::at(now).since(self.sent_at);
        if self.retries == 0 && !self.has(Self::RESENT) {
            return Some(since_first);
        }
        let echo = segment.options.timestamps.filter(|_| self.agreed.timestamps())?.echo;
        let ms = timestamp_clock(now).wrapping_add(self.ts_offset).wrapping_sub(echo);
        // Anything may be echoed; what was sent before the first SYN-ACK, or is still to come, was not.
        // The clock's step hides up to 1 ms.
        let sample = ms.checked_mul(1000)?;
        (sample <= since_first.saturating_add(1000)).then_some(sample.clamp(1, since_first.max(1)))
    }

    /// Whether it has any of `marks`.
    pub(super) const fn has(&self, marks: u8) -> bool {
        self.marks & marks != 0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::listen::agreed::tests::{OFFER, syn_options};
    use crate::segment::tests::{DST, SRC, segment};

    pub(crate) const LISTENER: Listener = Listener { id: 3, offer: OFFER };

    pub(crate) fn isn() -> IsnGenerator {
        IsnGenerator::new([9; 16])
    }

    /// The handshake of a SYN of number 1000 at `now`.
    pub(crate) fn half_open(now: Instant, options: &Options) -> HalfOpen {
        let flags = TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR;
        let syn = Segment { options: *options, ..segment(1000, 0, flags, b"early") };
        HalfOpen::from_syn(now, &syn, &LISTENER, &isn())
    }

    #[test]
    fn the_syn_ack_answers_the_syn() {
        let start = Instant::from_millis(50);
        let asks_all = half_open(start, &syn_options());
        let later = start + Duration::from_millis(3);
        let value = 53_u32.wrapping_add(isn().timestamp_offset(DST, SRC));
        let want = SegmentOut {
            src: DST,
            dst: SRC,
            seq: isn().isn(start, DST, SRC),
            ack: Some(SeqNumber::new(1001)),
            flags: TcpFlags::SYN | TcpFlags::ECE,
            window: UnscaledWindow(65_535),
            options: Options {
                mss: Some(1460),
                window_scale: Some(8),
                sack_permitted: true,
                timestamps: Some(Timestamps { value, echo: 5000 }),
                ..Options::default()
            },
            ecn: EcnField::NotEct,
        };
        assert_eq!(asks_all.syn_ack(later, 1460), want);
        let challenge = SegmentOut {
            seq: want.seq + 1,
            flags: TcpFlags::default(),
            window: UnscaledWindow(65_535 >> 8),
            options: Options { timestamps: want.options.timestamps, ..Options::default() },
            ..want
        };
        assert_eq!(asks_all.challenge_ack(later), challenge);
        let plain = half_open(start, &Options::default()).syn_ack(start, 1460);
        assert_eq!(plain.options, Options { mss: Some(1460), ..Options::default() });
    }

    #[test]
    fn round_trip_times() {
        let start = Instant::from_nanos(50_000_900);
        let once = half_open(start, &syn_options());
        let again = HalfOpen { retries: 1, ..once };
        let resent = HalfOpen { marks: HalfOpen::RESENT, ..once };
        let cookie = HalfOpen { marks: HalfOpen::COOKIE, ..once };
        let deferred = HalfOpen { marks: HalfOpen::DEFERRED, ..once };
        let bare = HalfOpen { retries: 1, ..half_open(start, &Options::default()) };
        // The handshake, microseconds passed, the TSval (less its offset) that is echoed, sample.
        let cases = [
            (once, 40, None, Some(40)),
            (once, 40, Some(50), Some(40)),
            (once, 40, Some(12_345), Some(40)),
            (again, 1_200_000, None, None),
            (again, 1_200_000, Some(1050), Some(200_000)),
            (again, 1_200_000, Some(1250), Some(1)),
            (again, 1_200_000, Some(50), Some(1_200_000)),
            (again, 1_200_000, Some(49), Some(1_200_000)),
            (again, 1_200_000, Some(47), None),
            (again, 1_200_000, Some(1251), None),
            (resent, 30_000, None, None),
            (resent, 30_000, Some(60), Some(20_000)),
            (cookie, 30_000, Some(60), None),
            (deferred, 30_000, Some(50), None),
            (bare, 1_200_000, Some(1050), None),
        ];
        for (row, (half_open, micros, echo, want)) in cases.into_iter().enumerate() {
            let echo = echo.map(|ms: u32| ms.wrapping_add(half_open.ts_offset));
            let timestamps = echo.map(|echo| Timestamps { value: 6000, echo });
            let options = Options { timestamps, ..Options::default() };
            let ack = Segment { options, ..segment(1001, 0, TcpFlags::ACK, b"") };
            let now = start + Duration::from_micros(micros);
            assert_eq!(half_open.rtt_sample(now, &ack), want, "row {row}");
        }
    }
}

//! SYN cookies (RFC 4987 section 3.6): a handshake that keeps nothing until it is done.
//!
//! The cookie is the ISS of the SYN-ACK: it comes back in the ACK, with all that is needed to go on.
//!
//! ```text
//!  ISS    31 ................................. 5  4 ....... 1      0
//!         keyed hash of all that is below         MSS, a row of    lowest bit of the
//!         and of both addresses, ports and IRS    the table        64 s period
//!  TSval  31 ............................... 6    5     4      3 ....... 0
//!         the timestamps clock                    ECN   SACK   window scale; 15: none
//! ```
//!
//! What the SYN asked for goes into the lowest bits of the timestamp, which the ACK echoes; without
//! timestamps, there is no room for it, and the connection does without.
//!
//! An ACK that was made up is taken for a cookie with a chance of 2^-27: at ten million a second, one in
//! 13 s gets through. The key is not found that way, and nothing is gained but one connection.
//!
//! RFC 6528's order from one incarnation of a flow to the next is lost: the price of keeping nothing.

use std::time::Duration;

use wire::{Instant, TcpFlags};

use super::{Agreed, HalfOpen, IsnGenerator, Listener, Offer, Purpose, SipKey};
use crate::packet::SegmentOut;
use crate::{Options, Segment, SeqNumber};

/// Values of the MSS, the commonest ones of today: a peer's is rounded down to one of them.
const MSS: [u16; 16] =
    [48, 216, 512, 536, 1024, 1220, 1280, 1300, 1340, 1360, 1380, 1400, 1440, 1452, 1460, 8960];

/// Makes SYN cookies, and knows them again.
#[derive(Debug)]
pub struct SynCookies {
    key: SipKey,
    /// When the last cookie was made.
    last: Option<Instant>,
}

impl SynCookies {
    /// A cookie is good for the period it was made in and for the next: 64 to 128 s.
    const PERIOD: Duration = Duration::from_secs(64);

    /// Cookies that the secret `key` vouches for.
    pub const fn new(key: [u8; 16]) -> Self {
        SynCookies { key: SipKey::new(key), last: None }
    }

    /// The SYN-ACK that answers `syn` with a cookie.
    pub fn answer(
        &mut self,
        now: Instant,
        syn: &Segment,
        listener: &Listener,
        isn: &IsnGenerator,
    ) -> SegmentOut {
        self.last = Some(now);
        let mss = syn.options.mss;
        let asked = Asked::of_syn(&syn.options, syn.flags, &listener.offer);
        let cookie = self.make(period(now), syn, syn.seq, mss_row(mss), asked);
        let options = Options { mss, ..asked.options(&syn.options) };
        let syn = Segment { flags: asked.flags(), options, ..*syn };
        let half_open = HalfOpen { iss: cookie, ..HalfOpen::from_syn(now, &syn, listener, isn) };
        let mut syn_ack = half_open.syn_ack(now, listener.offer.mss);
        if let Some(timestamps) = &mut syn_ack.options.timestamps {
            timestamps.value = asked.mark(timestamps.value);
        }
        syn_ack
    }

    /// Whether a cookie that was made may still come back.
    pub fn are_abroad(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.since(last) < Self::PERIOD * 2)
    }

    /// The handshake that `ack` ends, if it brings back a cookie. It is then in the
    /// state of [`super::SynReceivedVerdict::Establish`]. Nothing is looked at while no cookie is abroad.
    pub fn check(
        &self,
        now: Instant,
        ack: &Segment,
        listener: &Listener,
        isn: &IsnGenerator,
    ) -> Option<HalfOpen> {
        if !self.are_abroad(now) {
            return None;
        }
        let (irs, iss) = (ack.seq - 1, ack.ack? - 1);
        let asked = Asked::of_ack(&ack.options, &listener.offer);
        let age = (period(now) ^ iss.get()) & 1;
        let row = iss.get() >> 1 & 15;
        if self.make(period(now).wrapping_sub(age), ack, irs, row, asked) != iss {
            return None;
        }
        let options = Options { mss: Some(MSS[row as usize]), ..asked.options(&ack.options) };
        let syn = Segment { seq: irs, flags: asked.flags(), options, ..*ack };
        let half_open = HalfOpen::from_syn(now, &syn, listener, isn);
        Some(HalfOpen { iss, marks: HalfOpen::COOKIE, ..half_open })
    }

    /// The cookie for a SYN of number `irs` of the flow that `segment` belongs to.
    fn make(&self, period: u32, segment: &Segment, irs: SeqNumber, row: u32, asked: Asked) -> SeqNumber {
        let low = row << 1 | period & 1;
        // 16 bits of the period: a cookie is not good again for 48 days.
        let more = u64::from(irs.get()) << 32
            | u64::from(period as u16) << 16
            | u64::from(low) << 8
            | u64::from(asked.0);
        let hash = self.key.hash_flow(Purpose::SynCookie, segment.dst, segment.src, more) as u32;
        SeqNumber::new(hash & !31 | low)
    }
}

/// The number of the 64 s period that `now` lies in.
fn period(now: Instant) -> u32 {
    (now.as_nanos() / SynCookies::PERIOD.as_nanos() as u64) as u32
}

/// The row of the largest MSS that is no larger than the peer's.
fn mss_row(mss: Option<u16>) -> u32 {
    let mss = mss.unwrap_or(Agreed::DEFAULT_MSS);
    MSS.partition_point(|row| *row <= mss).saturating_sub(1) as u32
}

/// What a SYN asked for beside the MSS, as six bits of a timestamp have it; [`Asked::NONE`] without
/// timestamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked(u8);

impl Asked {
    /// Of the timestamp.
    const MASK: u32 = 63;
    const NO_SCALE: u8 = 15;
    const SACK: u8 = 16;
    const ECN: u8 = 32;
    /// Nothing was asked for, not even timestamps.
    const NONE: Asked = Asked(64 | Self::NO_SCALE);

    fn of_syn(syn: &Options, flags: TcpFlags, offer: &Offer) -> Self {
        if syn.timestamps.is_none() || !offer.timestamps {
            return Self::NONE;
        }
        let scale = syn.window_scale.map_or(Self::NO_SCALE, |scale| scale.min(14));
        let sack = if syn.sack_permitted { Self::SACK } else { 0 };
        let ecn = if flags.contains(TcpFlags::ECE | TcpFlags::CWR) { Self::ECN } else { 0 };
        Asked(scale | sack | ecn)
    }

    fn of_ack(ack: &Options, offer: &Offer) -> Self {
        let timestamps = ack.timestamps.filter(|_| offer.timestamps);
        timestamps.map_or(Self::NONE, |t| Asked((t.echo & Self::MASK) as u8))
    }

    /// The latest timestamp up to `clock` that carries these bits: those that are sent later must not seem
    /// older.
    fn mark(self, clock: u32) -> u32 {
        let bits = u32::from(self.0) & Self::MASK;
        clock.wrapping_sub(clock.wrapping_sub(bits) & Self::MASK)
    }

    /// As a SYN's options; `segment` gives the timestamps.
    fn options(self, segment: &Options) -> Options {
        let scale = self.0 & 15;
        Options {
            window_scale: (scale != Self::NO_SCALE).then_some(scale),
            sack_permitted: self.0 & Self::SACK != 0,
            timestamps: segment.timestamps.filter(|_| self != Self::NONE),
            ..Options::default()
        }
    }

    /// As a SYN's flags.
    fn flags(self) -> TcpFlags {
        let ecn = self.0 & Self::ECN != 0;
        if ecn { TcpFlags::SYN | TcpFlags::ECE | TcpFlags::CWR } else { TcpFlags::SYN }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use proptest::prelude::*;

    use super::*;
    use crate::Timestamps;
    use crate::listen::agreed::tests::{OFFER, syn_options};
    use crate::listen::half_open::tests::{LISTENER, isn};
    use crate::segment::tests::{SRC, segment};

    const ECN_SYN: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ECE.0 | TcpFlags::CWR.0);

    fn secs(n: u64) -> Instant {
        Instant::from_millis(n * 1000)
    }

    fn answer(cookies: &mut SynCookies, now: Instant, options: &Options) -> SegmentOut {
        let syn = Segment { options: *options, ..segment(1000, 0, ECN_SYN, b"") };
        cookies.answer(now, &syn, &LISTENER, &isn())
    }

    /// The segment by which a peer answers.
    fn ack_of(syn_ack: &SegmentOut) -> Segment {
        let echo = syn_ack.options.timestamps;
        let timestamps = echo.map(|t| Timestamps { value: t.echo + 3, echo: t.value });
        let ack = segment(1001, (syn_ack.seq + 1).get(), TcpFlags::ACK, b"data");
        Segment { options: Options { timestamps, ..Options::default() }, ..ack }
    }

    fn check(cookies: &SynCookies, now: Instant, ack: &Segment) -> Option<HalfOpen> {
        cookies.check(now, ack, &LISTENER, &isn())
    }

    #[test]
    fn a_cookie_is_good_for_one_to_two_periods() {
        // Made at, checked at, good? In seconds.
        let cases = [
            (0, 0, true),
            (0, 63, true),
            (0, 64, true),
            (0, 127, true),
            (0, 128, false),
            (63, 64, true),
            (63, 127, true),
            (63, 128, false),
            (64, 191, true),
            (64, 192, false),
            (127, 191, true),
            (127, 192, false),
        ];
        for (made, checked, good) in cases {
            let mut cookies = SynCookies::new([5; 16]);
            let ack = ack_of(&answer(&mut cookies, secs(made), &syn_options()));
            // Others are made all the time.
            answer(&mut cookies, secs(checked), &syn_options());
            assert_eq!(check(&cookies, secs(checked), &ack).is_some(), good, "{made} s to {checked} s");
        }
    }

    #[test]
    fn nothing_is_taken_while_no_cookie_is_abroad() {
        let mut cookies = SynCookies::new([5; 16]);
        let ack = ack_of(&answer(&mut cookies, secs(64), &syn_options()));
        let (quiet, other_key) =
            (SynCookies::new([5; 16]), SynCookies { key: SipKey::new([6; 16]), ..cookies });
        assert_eq!(check(&quiet, secs(65), &ack), None);
        assert_eq!(check(&other_key, secs(65), &ack), None);
        assert!(check(&cookies, secs(65), &ack).is_some());
        assert_eq!(check(&cookies, secs(64 + 128), &ack), None);
    }

    #[test]
    fn every_changed_bit_is_found() {
        let mut cookies = SynCookies::new([5; 16]);
        let now = secs(70);
        let ack = ack_of(&answer(&mut cookies, now, &syn_options()));
        assert!(check(&cookies, now, &ack).is_some());
        let options = ack.options;
        let flip = |seq: SeqNumber, bit| SeqNumber::new(seq.get() ^ (1_u32 << bit));
        for bit in 0..32_u32 {
            let bad = Segment { ack: ack.ack.map(|ack| flip(ack - 1, bit) + 1), ..ack };
            assert_eq!(check(&cookies, now, &bad), None, "bit {bit} of the cookie");
            let bad = Segment { seq: flip(ack.seq, bit), ..ack };
            assert_eq!(check(&cookies, now, &bad), None, "bit {bit} of the sequence number");
            let timestamps = options.timestamps.map(|t| Timestamps { echo: t.echo ^ (1 << bit), ..t });
            let options = Options { timestamps, ..options };
            let taken = check(&cookies, now, &Segment { options, ..ack }).is_some();
            // The clock itself is the peer's to echo.
            assert_eq!(taken, bit >= 6, "bit {bit} of the echo");
        }
        let others = [SocketAddrV4::new(*SRC.ip(), 1), SocketAddrV4::new(*ack.dst.ip(), SRC.port())];
        for src in others {
            assert_eq!(check(&cookies, now, &Segment { src, ..ack }), None);
        }
        assert_eq!(check(&cookies, now, &Segment { options: Options::default(), ..ack }), None);
        assert_eq!(check(&cookies, now, &Segment { ack: None, ..ack }), None);
    }

    #[test]
    fn mss_is_rounded_down() {
        assert!(MSS.is_sorted());
        let cases = [(None, 536), (Some(1), 48), (Some(48), 48), (Some(535), 512), (Some(1459), 1452)];
        for (mss, want) in cases.into_iter().chain([(Some(1460), 1460), (Some(u16::MAX), 8960)]) {
            let mut cookies = SynCookies::new([5; 16]);
            let options = Options { mss, ..syn_options() };
            let ack = ack_of(&answer(&mut cookies, secs(1), &options));
            assert_eq!(check(&cookies, secs(1), &ack).unwrap().agreed.mss(), want, "{mss:?}");
        }
    }

    proptest! {
        /// But for the MSS's rounding, the connection is what the SYN queue would have made of it, and the
        /// SYN-ACK has promised just that.
        #[test]
        fn nothing_else_is_lost(
            millis in 0..1_000_000u64, scale in proptest::option::of(0..=14u8), sack: bool, ecn: bool,
            timestamps in proptest::option::of(any::<u32>()), offered: [bool; 4],
        ) {
            let now = Instant::from_millis(millis);
            let syn = Options {
                mss: Some(1400),
                window_scale: scale,
                sack_permitted: sack,
                timestamps: timestamps.map(|value| Timestamps { value: value & 0xffff_fff0, echo: 0 }),
                ..Options::default()
            };
            let flags = if ecn { ECN_SYN } else { TcpFlags::SYN };
            let offer = Offer {
                window_scale: offered[0].then_some(8),
                sack: offered[1],
                timestamps: offered[2],
                ecn: offered[3],
                ..OFFER
            };
            let listener = Listener { offer, ..LISTENER };
            let mut cookies = SynCookies::new([5; 16]);
            let segment = Segment { options: syn, ..segment(1000, 0, flags, b"") };
            let syn_ack = cookies.answer(now, &segment, &listener, &isn());
            let ack = ack_of(&syn_ack);
            let got = cookies.check(now, &ack, &listener, &isn()).unwrap();

            let has_room = timestamps.is_some() && offer.timestamps;
            let kept = if has_room { syn } else { Options { mss: syn.mss, ..Options::default() } };
            let kept_flags = if has_room { flags } else { TcpFlags::SYN };
            let kept = Segment { flags: kept_flags, options: kept, ..segment };
            let queued = HalfOpen::from_syn(now, &kept, &listener, &isn());
            let ts_recent = ack.options.timestamps.unwrap_or_default().value;
            let want = HalfOpen { iss: syn_ack.seq, ts_recent, marks: HalfOpen::COOKIE, ..queued };
            prop_assert_eq!(got, want);

            let mut promised = HalfOpen { iss: syn_ack.seq, ..queued }.syn_ack(now, offer.mss);
            if let (Some(sent), Some(clock)) = (syn_ack.options.timestamps, promised.options.timestamps.as_mut()) {
                let behind = clock.value.wrapping_sub(sent.value);
                prop_assert!(behind < 64);
                clock.value = sent.value;
            }
            prop_assert_eq!(syn_ack, promised);
        }
    }
}

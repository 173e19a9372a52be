//! What the two ends of a connection agree on by their SYNs.

use wire::TcpFlags;

use crate::{Options, Timestamps};

/// What this end offers to those who connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The maximum segment size that this end takes, in bytes of data.
    pub mss: u16,
    /// The window of a SYN-ACK, in bytes: never scaled (RFC 7323 section 2.2).
    pub window: u16,
    /// How this end would scale its later windows, 14 at most; `None`: no window scaling.
    pub window_scale: Option<u8>,
    /// Selective acknowledgments (RFC 2018).
    pub sack: bool,
    /// Timestamps (RFC 7323).
    pub timestamps: bool,
    /// Explicit congestion notification (RFC 3168).
    pub ecn: bool,
}

impl Offer {
    /// What comes of a SYN with these options and flags.
    pub fn agree(&self, syn: &Options, flags: TcpFlags) -> Agreed {
        //= RFC 9293 section 3.7.1: without an MSS option, assume 536 (MUST-15).
        let mss = syn.mss.unwrap_or(Agreed::DEFAULT_MSS).max(Agreed::MIN_MSS);
        //= RFC 7323 section 2.2: both sides must send the option for either to scale.
        let scales = self.window_scale.zip(syn.window_scale);
        //= RFC 7323 section 3.2: a SYN-ACK has timestamps only if the SYN had.
        let timestamps = self.timestamps && syn.timestamps.is_some();
        //= RFC 2018 section 2: SACK may be used once the other side has permitted it in its SYN.
        let sack = self.sack && syn.sack_permitted;
        //= RFC 3168 section 6.1.1: an ECN-setup SYN has both ECE and CWR on.
        let ecn = self.ecn && flags.contains(TcpFlags::ECE | TcpFlags::CWR);
        let bit = |on, bit| if on { bit } else { 0 };
        Agreed {
            mss,
            scales: scales.map_or(0, |(receive, send)| send.min(14) << 4 | receive.min(14)),
            flags: bit(scales.is_some(), Agreed::WINDOW_SCALES)
                | bit(timestamps, Agreed::TIMESTAMPS)
                | bit(sack, Agreed::SACK)
                | bit(ecn, Agreed::ECN),
        }
    }
}

/// How to scale windows (RFC 7323 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WindowScales {
    /// Snd.Wind.Shift: of the windows that the peer sends.
    pub send: u8,
    /// Rcv.Wind.Shift: of the windows that this end sends.
    pub receive: u8,
}

/// What both ends can do. Packed: half-open connections are many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Agreed {
    mss: u16,
    /// Send scale in the high four bits, receive scale in the low ones.
    scales: u8,
    flags: u8,
}

const _: () = assert!(size_of::<Agreed>() == 4);

impl Agreed {
    /// The MSS of a peer that names none (RFC 9293 section 3.7.1).
    pub const DEFAULT_MSS: u16 = 536;
    /// The least MSS that is heeded: 40 bytes of options still leave room for data. A peer that could ask
    /// for single bytes would make sending as dear as it likes.
    pub const MIN_MSS: u16 = 48;

    const WINDOW_SCALES: u8 = 1;
    const TIMESTAMPS: u8 = 2;
    const SACK: u8 = 4;
    const ECN: u8 = 8;

    /// The largest segment to send, in bytes of data and of options.
    pub const fn mss(self) -> u16 {
        self.mss
    }

    /// How windows are scaled, if they are.
    pub const fn window_scales(self) -> Option<WindowScales> {
        if !self.has(Self::WINDOW_SCALES) {
            return None;
        }
        Some(WindowScales { send: self.scales >> 4, receive: self.scales & 15 })
    }

    /// Whether segments carry timestamps.
    pub const fn timestamps(self) -> bool {
        self.has(Self::TIMESTAMPS)
    }

    /// Whether SACK may be sent.
    pub const fn sack(self) -> bool {
        self.has(Self::SACK)
    }

    /// Whether ECN is on.
    pub const fn ecn(self) -> bool {
        self.has(Self::ECN)
    }

    /// The options of the SYN-ACK of an end that takes segments of `mss`. `timestamps` go along if agreed.
    pub(super) fn syn_ack_options(self, mss: u16, timestamps: Timestamps) -> Options {
        Options {
            mss: Some(mss),
            window_scale: self.window_scales().map(|scales| scales.receive),
            sack_permitted: self.sack(),
            timestamps: self.timestamps().then_some(timestamps),
            ..Options::default()
        }
    }

    //= RFC 3168 section 6.1.1: an ECN-setup SYN-ACK has ECE on and CWR off.
    /// The flags of the SYN-ACK, ACK aside.
    pub(super) fn syn_ack_flags(self) -> TcpFlags {
        let ecn = if self.ecn() { TcpFlags::ECE } else { TcpFlags::default() };
        TcpFlags::SYN | ecn
    }

    const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An end that can do everything.
    pub(crate) const OFFER: Offer =
        Offer { mss: 1460, window: 65_535, window_scale: Some(8), sack: true, timestamps: true, ecn: true };

    /// The options of a SYN that asks for everything.
    pub(crate) fn syn_options() -> Options {
        Options {
            mss: Some(1400),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 5000, echo: 0 }),
            ..Options::default()
        }
    }

    #[test]
    fn mss() {
        for (mss, want) in
            [(None, 536), (Some(1), 48), (Some(48), 48), (Some(1460), 1460), (Some(9000), 9000)]
        {
            let syn = Options { mss, ..Options::default() };
            assert_eq!(OFFER.agree(&syn, TcpFlags::SYN).mss(), want, "{mss:?}");
        }
    }

    #[test]
    fn ecn_takes_both_bits() {
        let (ece, cwr) = (TcpFlags::ECE, TcpFlags::CWR);
        for (flags, want) in [(TcpFlags::SYN, false), (ece, false), (cwr, false), (ece | cwr, true)] {
            let agreed = OFFER.agree(&Options::default(), TcpFlags::SYN | flags);
            assert_eq!(agreed.ecn(), want, "{flags:?}");
            let ece = if want { ece } else { TcpFlags::default() };
            assert_eq!(agreed.syn_ack_flags(), TcpFlags::SYN | ece);
        }
    }

    proptest! {
        /// Each option is agreed on if both ends have it, whatever becomes of the others.
        #[test]
        fn takes_both(
            ours in proptest::option::of(0..=14u8), theirs in proptest::option::of(0..=14u8),
            sack: (bool, bool), timestamps: (bool, bool), ecn: (bool, bool),
        ) {
            let offer = Offer {
                window_scale: ours, sack: sack.0, timestamps: timestamps.0, ecn: ecn.0, ..OFFER
            };
            let asked = Timestamps { value: 7, echo: 0 };
            let syn = Options {
                window_scale: theirs,
                sack_permitted: sack.1,
                timestamps: timestamps.1.then_some(asked),
                ..Options::default()
            };
            let flags = if ecn.1 { TcpFlags::ECE | TcpFlags::CWR } else { TcpFlags::default() };
            let agreed = offer.agree(&syn, TcpFlags::SYN | flags);
            let scales = ours.zip(theirs).map(|(receive, send)| WindowScales { send, receive });
            prop_assert_eq!(agreed.window_scales(), scales);
            prop_assert_eq!(agreed.sack(), sack.0 && sack.1);
            prop_assert_eq!(agreed.timestamps(), timestamps.0 && timestamps.1);
            prop_assert_eq!(agreed.ecn(), ecn.0 && ecn.1);
            let mine = Timestamps { value: 1, echo: 7 };
            let want = Options {
                mss: Some(1460),
                window_scale: scales.and(ours),
                sack_permitted: sack.0 && sack.1,
                timestamps: (timestamps.0 && timestamps.1).then_some(mine),
                ..Options::default()
            };
            prop_assert_eq!(agreed.syn_ack_options(1460, mine), want);
        }
    }
}

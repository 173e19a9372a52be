//! The CLOSED state: no connection and no listener takes the segment.

use std::net::Ipv4Addr;

use wire::TcpFlags;

use crate::packet::{EcnField, SegmentOut};
use crate::{Options, Segment, SeqNumber, UnscaledWindow};

/// What is to be sent outside of any connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Nothing.
    None,
    /// A reset.
    Reset(SegmentOut),
}

impl From<Option<SegmentOut>> for Reply {
    fn from(reset: Option<SegmentOut>) -> Self {
        reset.map_or(Reply::None, Reply::Reset)
    }
}

/// What answers a segment that nobody takes, if anything does.
pub fn reset_for(segment: &Segment) -> Option<SegmentOut> {
    //= RFC 9293 section 3.10.7.1: a reset is discarded, never answered.
    if segment.rst() {
        return None;
    }
    //= RFC 9293 section 3.9.2.3: segments from, and to, addresses that are no host's are discarded in
    //= silence (MUST-63, MUST-57). Directed broadcasts are for the IP layer to tell.
    if !is_host(*segment.src.ip()) || !is_host(*segment.dst.ip()) {
        return None;
    }
    //= RFC 9293 section 3.10.7.1: the reset must be acceptable to the sender of the segment. With an
    //= ACK, it takes its sequence number from there; without, it acknowledges all of the segment.
    let (seq, ack) = match segment.ack {
        Some(ack) => (ack, None),
        None => (SeqNumber::ZERO, Some(segment.seq + segment.len())),
    };
    Some(SegmentOut {
        src: segment.dst,
        dst: segment.src,
        seq,
        ack,
        flags: TcpFlags::RST,
        window: UnscaledWindow(0),
        options: Options::default(),
        ecn: EcnField::NotEct,
    })
}

pub(crate) fn is_host(addr: Ipv4Addr) -> bool {
    !(addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use proptest::prelude::*;
    use wire::Ipv4View;

    use super::*;
    use crate::config::Config;
    use crate::connection::Settings;
    use crate::packet::Packet;
    use crate::segment::tests::{DST, SRC, segment};
    use crate::{Checksum, ReceiveWindow, Window};
    use sim::Bytes;

    #[test]
    fn answers() {
        let reset = |seq, ack: Option<u32>| Some((SeqNumber::new(seq), ack.map(SeqNumber::new)));
        let (syn, ack, fin, rst) = (TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST);
        let none = TcpFlags::default();
        let cases = [
            ("SYN", segment(100, 0, syn, b""), reset(0, Some(101))),
            ("SYN at the wrap", segment(u32::MAX, 0, syn, b""), reset(0, Some(0))),
            ("SYN with data", segment(100, 0, syn, b"abc"), reset(0, Some(104))),
            ("SYN, stray acknowledgment number", segment(100, 55, syn, b""), reset(0, Some(101))),
            ("SYN FIN", segment(100, 0, syn | fin, b""), reset(0, Some(102))),
            ("FIN without ACK", segment(100, 0, fin, b"ab"), reset(0, Some(103))),
            ("no bits", segment(100, 0, none, b""), reset(0, Some(100))),
            ("data without ACK", segment(100, 0, none, b"abcd"), reset(0, Some(104))),
            ("ACK", segment(100, 7, ack, b""), reset(7, None)),
            ("ACK with data", segment(100, 7, ack, b"abc"), reset(7, None)),
            ("SYN ACK", segment(100, 7, syn | ack, b""), reset(7, None)),
            ("FIN ACK", segment(100, 7, fin | ack, b""), reset(7, None)),
            ("ACK 0", segment(100, 0, ack, b""), reset(0, None)),
            ("RST", segment(100, 0, rst, b""), None),
            ("RST ACK", segment(100, 7, rst | ack, b""), None),
            ("RST SYN", segment(100, 7, rst | syn, b""), None),
        ];
        for (name, segment, want) in cases {
            let reset = reset_for(&segment);
            assert_eq!(reset.map(|reset| (reset.seq, reset.ack)), want, "{name}");
            assert!(
                reset.is_none_or(|reset| (reset.src, reset.dst, reset.flags) == (DST, SRC, rst)),
                "{name}"
            );
        }
    }

    #[test]
    fn addresses_that_are_no_hosts_are_not_answered() {
        let syn = segment(100, 0, TcpFlags::SYN, b"");
        for addr in [[0, 0, 0, 0], [224, 0, 0, 1], [239, 255, 255, 250], [255, 255, 255, 255]] {
            let odd = SocketAddrV4::new(addr.into(), 80);
            assert_eq!(reset_for(&Segment { src: odd, ..syn }), None, "from {addr:?}");
            assert_eq!(reset_for(&Segment { dst: odd, ..syn }), None, "to {addr:?}");
        }
    }

    #[test]
    fn writes_a_packet() {
        let out = written(&reset_for(&segment(0x0102_0304, 0, TcpFlags::SYN, b"")).unwrap());
        #[rustfmt::skip]
        let want = [
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x4e, 0x99, 198, 51, 100, 2, 192, 0, 2, 1,
            0, 80, 0x9c, 0x40, 0, 0, 0, 0, 1, 2, 3, 5, 0x50, 0x14, 0, 0, 0x23, 0x02, 0, 0,
        ];
        assert_eq!(out, want);
    }

    fn written(reset: &SegmentOut) -> [u8; 40] {
        let mut out = [0xee; 40];
        Packet::<Bytes> { segment: *reset, ip: Settings::default().ip(&Config::default()), payload: None }
            .write_headers(&mut out);
        wire::Transport::Tcp.fill(&mut out[20..]);
        out
    }

    fn any_segment() -> impl Strategy<Value = (u32, u32, TcpFlags, usize)> {
        (any::<u32>(), any::<u32>(), any::<u8>().prop_map(TcpFlags), 0..40usize)
    }

    proptest! {
        /// What is written reads back as the reset, right checksums included, and is not answered: two
        /// closed ends cannot reset each other for ever.
        #[test]
        fn reads_back_and_is_the_last_word((seq, ack, flags, len) in any_segment()) {
            let Some(reset) = reset_for(&segment(seq, ack, flags, &[0; 40][..len])) else {
                prop_assert!(flags.contains(TcpFlags::RST));
                return Ok(());
            };
            let out = written(&reset);
            let packet = Ipv4View::parse(&out, out.len()).unwrap();
            prop_assert!(packet.checksum_ok());
            let (src, dst) = (packet.header.src(), packet.header.dst());
            let mut rest = packet.payload;
            let back = Segment::parse(src, dst, &mut rest, Checksum::Verify).unwrap();
            prop_assert_eq!((back.src, back.dst, back.seq, back.ack), (DST, SRC, reset.seq, reset.ack));
            prop_assert_eq!((back.len(), back.rst()), (0, true));
            prop_assert_eq!(reset_for(&back), None);
        }

        /// Whoever sent the segment takes the reset: after an ACK it lies where that end expects the next
        /// byte; after a first SYN it acknowledges that very SYN (RFC 9293 section 3.10.7.3).
        #[test]
        fn is_acceptable_to_the_sender((seq, ack, _, len) in any_segment(), window: u32) {
            let reset = reset_for(&segment(seq, ack, TcpFlags::ACK, &[0; 40][..len])).unwrap();
            let sender = ReceiveWindow { next: SeqNumber::new(ack), window: Window::new(window) };
            prop_assert!(sender.accepts(&segment(reset.seq.get(), 0, TcpFlags::RST, b"")));
            let reset = reset_for(&segment(seq, 0, TcpFlags::SYN, b"")).unwrap();
            prop_assert_eq!(reset.ack, Some(SeqNumber::new(seq) + 1));
        }
    }
}

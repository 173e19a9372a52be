//! The CLOSED state: no connection and no listener takes the segment.

use std::net::{Ipv4Addr, SocketAddrV4};

use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{IntoBytes, Ipv4Header, TcpFlags, TcpHeader, U16, U32};

use crate::{Segment, SeqNumber};

/// A reset to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reset {
    /// From whom: the destination of the segment it answers.
    pub src: SocketAddrV4,
    /// To whom.
    pub dst: SocketAddrV4,
    /// Its sequence number.
    pub seq: SeqNumber,
    /// What it acknowledges; `None` if its ACK bit is off.
    pub ack: Option<SeqNumber>,
}

/// What answers a segment that nobody takes, if anything does.
pub fn reset_for(segment: &Segment) -> Option<Reset> {
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
    Some(Reset { src: segment.dst, dst: segment.src, seq, ack })
}

fn is_host(addr: Ipv4Addr) -> bool {
    !(addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast())
}

impl Reset {
    /// Bytes of the packet: an IPv4 and a TCP header.
    pub const LEN: usize = Ipv4Header::LEN + TcpHeader::LEN;

    /// Writes the reset as an IPv4 packet, checksums included. It may not be fragmented, so its
    /// identification is 0 (RFC 6864 section 4.1).
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        let (src, dst) = (*self.src.ip(), *self.dst.ip());
        let mut ipv4 = Ipv4Header::new(src, dst, protocol::TCP, TcpHeader::LEN);
        ipv4.flags_fragment = U16::new(Ipv4Header::DF);
        ipv4.fill_checksum();
        let ack_flag = if self.ack.is_some() { TcpFlags::ACK } else { TcpFlags::default() };
        let mut tcp = TcpHeader {
            src_port: U16::new(self.src.port()),
            dst_port: U16::new(self.dst.port()),
            seq: U32::new(self.seq.get()),
            ack: U32::new(self.ack.unwrap_or_default().get()),
            flags: TcpFlags::RST | ack_flag,
            ..TcpHeader::default()
        };
        tcp.set_header_len(TcpHeader::LEN);
        let sum = pseudo_header(src, dst, protocol::TCP, TcpHeader::LEN as u16);
        tcp.checksum = U16::new(sum.add_bytes(tcp.as_bytes()).finish());
        let (front, back) = out.split_at_mut(Ipv4Header::LEN);
        front.copy_from_slice(ipv4.as_bytes());
        back.copy_from_slice(tcp.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::Ipv4View;

    use super::*;
    use crate::segment::tests::{DST, SRC, segment};
    use crate::{Checksum, ReceiveWindow, Window};

    #[test]
    fn answers() {
        let reset = |seq, ack: Option<u32>| {
            Some(Reset { src: DST, dst: SRC, seq: SeqNumber::new(seq), ack: ack.map(SeqNumber::new) })
        };
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
            assert_eq!(reset_for(&segment), want, "{name}");
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
        let reset =
            Reset { src: DST, dst: SRC, seq: SeqNumber::ZERO, ack: Some(SeqNumber::new(0x0102_0305)) };
        let mut out = [0xee; Reset::LEN];
        reset.write(&mut out);
        #[rustfmt::skip]
        let want = [
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0x4e, 0x99, 198, 51, 100, 2, 192, 0, 2, 1,
            0, 80, 0x9c, 0x40, 0, 0, 0, 0, 1, 2, 3, 5, 0x50, 0x14, 0, 0, 0x23, 0x02, 0, 0,
        ];
        assert_eq!(out, want);
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
            let mut out = [0; Reset::LEN];
            reset.write(&mut out);
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

//! What an ICMP error quotes of the packet that it is about (RFC 792).

use std::net::SocketAddrV4;

use wire::icmp::is_error;
use wire::ipv4::protocol;
use wire::{FromBytes, Ipv4Header};
use wire::{IcmpHeader, U16, U32};

/// The head of a TCP or UDP packet, as an ICMP error quotes it. Anybody may have made it up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    /// The error's own header.
    pub error: IcmpHeader,
    /// [`protocol::TCP`] or [`protocol::UDP`].
    pub protocol: u8,
    /// Who sent the packet.
    pub src: SocketAddrV4,
    /// To whom.
    pub dst: SocketAddrV4,
    /// Of TCP, the sequence number.
    pub seq: u32,
}

impl Quote {
    /// The bytes of an ICMP message that this reads at most.
    pub const MAX_LEN: usize = IcmpHeader::LEN + Ipv4Header::MAX_LEN + 8;

    /// Reads the ICMP message that begins `message`. `None` if it is no error, or is not about a TCP or UDP
    /// packet, or quotes less than the 8 bytes past the header that RFC 792 asks for.
    pub fn of(message: &[u8]) -> Option<Quote> {
        let (error, quoted) = IcmpHeader::read_from_prefix(message).ok()?;
        let (header, _) = Ipv4Header::read_from_prefix(quoted).ok()?;
        let known = matches!(header.protocol, protocol::TCP | protocol::UDP);
        let sound = header.version() == 4 && header.header_len() >= Ipv4Header::LEN;
        // Ports stand in the first fragment only.
        if !is_error(error.kind) || !known || !sound || header.fragment_offset() != 0 {
            return None;
        }
        let transport = quoted.get(header.header_len()..)?;
        let ([src, dst], rest) = <[U16; 2]>::read_from_prefix(transport).ok()?;
        let (seq, _) = U32::read_from_prefix(rest).ok()?;
        Some(Quote {
            error,
            protocol: header.protocol,
            src: SocketAddrV4::new(header.src(), src.get()),
            dst: SocketAddrV4::new(header.dst(), dst.get()),
            seq: seq.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sim::builder::{Ipv4, TCP, Tcp, UDP, udp};
    use wire::icmp::{code, kind};

    use super::*;

    const US: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const THEM: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

    fn error(icmp: u8, packet: &[u8]) -> Vec<u8> {
        let mut message = vec![icmp, code::FRAGMENTATION_NEEDED, 0, 0, 0, 0, 0x05, 0x14];
        message.extend(packet);
        message
    }

    fn segment(header: Ipv4) -> Vec<u8> {
        let tcp = Tcp { src_port: 80, dst_port: 4000, seq: 0x0102_0304, ..Tcp::default() };
        header.packet(&tcp.segment(US, THEM, b"data"))
    }

    #[test]
    fn what_is_quoted() {
        let options = Ipv4 { options: vec![1; 40], ..Ipv4::new(US, THEM, TCP) };
        for header in [Ipv4::new(US, THEM, TCP), options] {
            let packet = segment(header);
            let quote = Quote::of(&error(kind::UNREACHABLE, &packet)).unwrap();
            let ends = (SocketAddrV4::new(US, 80), SocketAddrV4::new(THEM, 4000));
            assert_eq!((quote.protocol, (quote.src, quote.dst), quote.seq), (TCP, ends, 0x0102_0304));
            assert_eq!((quote.error.code, quote.error.next_hop_mtu()), (code::FRAGMENTATION_NEEDED, 1300));
        }
        let packet = Ipv4::new(US, THEM, UDP).packet(&udp(US, THEM, 53, 99, b""));
        let quote = Quote::of(&error(kind::TIME_EXCEEDED, &packet)).unwrap();
        assert_eq!((quote.protocol, quote.src.port(), quote.dst.port()), (UDP, 53, 99));
    }

    #[test]
    fn what_is_no_quote() {
        let whole = error(kind::UNREACHABLE, &segment(Ipv4::new(US, THEM, TCP)));
        for len in 0..36 {
            assert_eq!(Quote::of(&whole[..len]), None, "{len}");
        }
        assert!(Quote::of(&whole[..36]).is_some());
        let later = Ipv4 { offset: 1, ..Ipv4::new(US, THEM, TCP) };
        let other = Ipv4::new(US, THEM, 89);
        for (name, bytes) in [
            ("no error", error(kind::ECHO_REPLY, &segment(Ipv4::new(US, THEM, TCP)))),
            ("a later fragment", error(kind::UNREACHABLE, &segment(later))),
            ("another protocol", error(kind::UNREACHABLE, &segment(other))),
        ] {
            assert_eq!(Quote::of(&bytes), None, "{name}");
        }
    }
}

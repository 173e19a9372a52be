//! A received segment in the terms of RFC 9293.

use std::net::{Ipv4Addr, SocketAddrV4};

use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{DropReason, Payload, TcpFlags, TcpHeader, TcpView};

use crate::{Options, SeqNumber};

/// The window field of a segment, as sent: what it says in bytes depends on the connection's scale
/// (RFC 7323 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UnscaledWindow(pub u16);

/// Whether the TCP checksum is still to be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// Nobody has checked it.
    Verify,
    /// The device vouches for it.
    KnownGood,
}

/// What the header of a received segment says. It was checked once: the getters cannot fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Who sent it.
    pub src: SocketAddrV4,
    /// To whom.
    pub dst: SocketAddrV4,
    /// SEG.SEQ: the number of its SYN if it has one, else of its first byte.
    pub seq: SeqNumber,
    /// SEG.ACK: the number its sender expects next; `None` if the ACK bit is off.
    pub ack: Option<SeqNumber>,
    /// The control bits.
    pub flags: TcpFlags,
    /// SEG.WND, before scaling.
    pub window: UnscaledWindow,
    /// What its options say.
    pub options: Options,
    /// Bytes of its data.
    pub payload_len: u32,
}

impl Segment {
    /// Reads the segment that is `bytes`: the whole payload of an IPv4 packet from `src` to `dst`,
    /// padding cut off. `bytes` is its data afterwards.
    ///
    /// # Errors
    /// [`DropReason::TcpMalformed`] if the header is cut short or its checksum is wrong.
    #[inline]
    pub fn parse<B: Payload>(
        src: Ipv4Addr,
        dst: Ipv4Addr,
        bytes: &mut B,
        checksum: Checksum,
    ) -> Result<Self, DropReason> {
        let len = u16::try_from(bytes.len()).map_err(|_| DropReason::TcpMalformed)?;
        //= RFC 9293 section 3.1: the receiver must check the checksum (MUST-3).
        let verified =
            || pseudo_header(src, dst, protocol::TCP, len).add_payload(bytes, 0, bytes.len()).finish() == 0;
        if checksum == Checksum::Verify && !verified() {
            return Err(DropReason::TcpMalformed);
        }
        let (segment, header_len) = match Self::read(src, dst, bytes.chunk(0), len) {
            Some(read) => read,
            None => Self::read_split(src, dst, bytes, len).ok_or(DropReason::TcpMalformed)?,
        };
        bytes.advance(header_len);
        Ok(segment)
    }

    /// Reads the header at the front of `bytes`; `len` is that of the whole segment. Gives the length of
    /// the header too; `None` if it is not all there, or malformed.
    #[inline]
    fn read(src: Ipv4Addr, dst: Ipv4Addr, bytes: &[u8], len: u16) -> Option<(Self, usize)> {
        let TcpView { header, options, .. } = TcpView::parse(bytes)?;
        let header_len = header.header_len();
        let segment = Segment {
            src: SocketAddrV4::new(src, header.src_port.get()),
            dst: SocketAddrV4::new(dst, header.dst_port.get()),
            seq: SeqNumber::new(header.seq.get()),
            ack: header.flags.contains(TcpFlags::ACK).then(|| SeqNumber::new(header.ack.get())),
            flags: header.flags,
            window: UnscaledWindow(header.window.get()),
            options: Options::parse(options),
            payload_len: u32::from(len).checked_sub(header_len as u32)?,
        };
        Some((segment, header_len))
    }

    /// The header may lie in several pieces of a reassembled packet.
    #[cold]
    fn read_split<B: Payload>(src: Ipv4Addr, dst: Ipv4Addr, bytes: &B, len: u16) -> Option<(Self, usize)> {
        let mut header = [0; TcpHeader::MAX_LEN];
        let there = bytes.copy_out(0, &mut header);
        Self::read(src, dst, &header[..there], len)
    }

    /// Whether the SYN bit is on.
    pub const fn syn(&self) -> bool {
        self.flags.contains(TcpFlags::SYN)
    }

    /// Whether the FIN bit is on.
    pub const fn fin(&self) -> bool {
        self.flags.contains(TcpFlags::FIN)
    }

    /// Whether the RST bit is on.
    pub const fn rst(&self) -> bool {
        self.flags.contains(TcpFlags::RST)
    }

    //= RFC 9293 section 3.4: SEG.LEN counts the data, and SYN and FIN as one each.
    /// SEG.LEN: how many sequence numbers it takes up.
    #[expect(clippy::len_without_is_empty, reason = "the RFC's term; a segment that takes none is common")]
    pub const fn len(&self) -> u32 {
        self.payload_len + self.syn() as u32 + self.fin() as u32
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use wire::{IntoBytes, U16, U32};

    use super::*;

    pub(crate) const SRC: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 40_000);
    pub(crate) const DST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 80);

    /// A segment of the fields that matter to most tests.
    pub(crate) fn segment(seq: u32, ack: u32, flags: TcpFlags, payload: &[u8]) -> Segment {
        Segment {
            src: SRC,
            dst: DST,
            seq: SeqNumber::new(seq),
            ack: flags.contains(TcpFlags::ACK).then(|| SeqNumber::new(ack)),
            flags,
            window: UnscaledWindow(1000),
            options: Options::default(),
            payload_len: payload.len() as u32,
        }
    }

    /// The bytes of a segment from `SRC` to `DST`.
    fn bytes(flags: TcpFlags, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut header = TcpHeader {
            src_port: U16::new(SRC.port()),
            dst_port: U16::new(DST.port()),
            seq: U32::new(0x0102_0304),
            ack: U32::new(0x0506_0708),
            flags,
            window: U16::new(1000),
            ..TcpHeader::default()
        };
        header.set_header_len(TcpHeader::LEN + options.len());
        let mut bytes = [header.as_bytes(), options, payload].concat();
        let sum = pseudo_header(*SRC.ip(), *DST.ip(), protocol::TCP, bytes.len() as u16);
        let checksum = sum.add_bytes(&bytes).finish();
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn parse(mut bytes: &[u8], checksum: Checksum) -> Result<Segment, DropReason> {
        Segment::parse(*SRC.ip(), *DST.ip(), &mut bytes, checksum)
    }

    /// Payload of which never more than three bytes lie together.
    struct Pieces(Vec<u8>);

    impl Payload for Pieces {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn chunk(&self, offset: usize) -> &[u8] {
            let rest = self.0.get(offset..).unwrap_or_default();
            &rest[..rest.len().min(3 - offset % 3)]
        }

        fn advance(&mut self, n: usize) {
            self.0.drain(..n);
        }

        fn truncate(&mut self, len: usize) {
            self.0.truncate(len);
        }
    }

    #[test]
    fn pieces_are_read_as_the_whole() {
        let bytes = bytes(TcpFlags::ACK, &[2, 4, 5, 180], b"hello");
        let mut pieces = Pieces(bytes.clone());
        let read = Segment::parse(*SRC.ip(), *DST.ip(), &mut pieces, Checksum::Verify);
        assert_eq!((read, &pieces.0[..]), (parse(&bytes, Checksum::Verify), &b"hello"[..]));
        assert_eq!(read.unwrap().options.mss, Some(1460));
    }

    #[test]
    fn reads_every_field() {
        let flags = TcpFlags::ACK | TcpFlags::PSH;
        let bytes = bytes(flags, &[1, 1, 1, 0], b"hello");
        let want = segment(0x0102_0304, 0x0506_0708, flags, b"hello");
        assert_eq!(parse(&bytes, Checksum::Verify), Ok(want));
    }

    #[test]
    fn an_acknowledgment_without_its_bit_is_none() {
        let bytes = bytes(TcpFlags::SYN, &[], b"");
        assert_eq!(parse(&bytes, Checksum::Verify).unwrap().ack, None);
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let good = bytes(TcpFlags::ACK, &[1, 1, 1, 0], b"hello");
        for len in 0..good.len() {
            assert_eq!(parse(&good[..len], Checksum::Verify), Err(DropReason::TcpMalformed), "{len} bytes");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bad, Checksum::Verify), Err(DropReason::TcpMalformed), "bit {bit}");
        }
    }

    #[test]
    fn header_lengths_are_checked_even_if_the_checksum_is_known_good() {
        for words in 0..16u8 {
            let mut bytes = bytes(TcpFlags::ACK, &[], &[0; 8]);
            bytes[12] = words << 4;
            let want = (5..=7).contains(&words);
            assert_eq!(parse(&bytes, Checksum::KnownGood).is_ok(), want, "{words} words");
        }
        assert_eq!(parse(&vec![0x50; 65_536], Checksum::KnownGood), Err(DropReason::TcpMalformed));
    }

    #[test]
    fn syn_and_fin_count() {
        let cases = [
            (TcpFlags::ACK, 0, 0),
            (TcpFlags::SYN, 0, 1),
            (TcpFlags::FIN | TcpFlags::ACK, 0, 1),
            (TcpFlags::SYN | TcpFlags::FIN, 0, 2),
            (TcpFlags::PSH | TcpFlags::ACK, 3, 3),
            (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::URG, 3, 5),
            (TcpFlags::RST, 0, 0),
        ];
        for (flags, payload, want) in cases {
            assert_eq!(segment(0, 0, flags, &[0; 8][..payload]).len(), want, "{flags:?}");
        }
    }
}

//! A segment on its way out, and how it is written.

use std::net::SocketAddrV4;

use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{IntoBytes, Ipv4Header, Payload, TcpFlags, TcpHeader, Transport, U16, U32};

use crate::send::Pieces;
use crate::{Options, SeqNumber, UnscaledWindow};

/// Where packets go.
pub trait Output<B> {
    /// Sends a packet.
    ///
    /// # Errors
    /// [`NoFrame`]: nothing was sent; it is tried again at the next
    /// [`poll_transmit`](crate::shard::Shard::poll_transmit).
    fn send(&mut self, packet: &Packet<'_, B>) -> Result<(), NoFrame>;

    /// Whether it refuses because enough was sent for once, not because there is no frame.
    fn is_spent(&self) -> bool {
        false
    }
}

/// There is no frame to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoFrame;

/// What the IP layer is to say of a packet that can carry congestion marks (RFC 3168 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EcnField {
    /// Not ECN capable.
    #[default]
    NotEct = 0,
    /// ECT(0).
    Ect0 = 2,
}

/// The header of a segment to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentOut {
    /// From whom.
    pub src: SocketAddrV4,
    /// To whom.
    pub dst: SocketAddrV4,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK; `None` if the ACK bit is off.
    pub ack: Option<SeqNumber>,
    /// The control bits other than ACK.
    pub flags: TcpFlags,
    /// SEG.WND, scaled.
    pub window: UnscaledWindow,
    /// The options.
    pub options: Options,
    /// The ECN field of the IP header.
    pub ecn: EcnField,
}

/// What the IP header of a packet says beyond addresses and congestion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpFields {
    /// Time to live.
    pub ttl: u8,
    /// The DSCP, in the upper six bits; the lower two are zero.
    pub tos: u8,
    /// The packet may not be fragmented (DF).
    pub dont_fragment: bool,
}

/// A packet to be sent: an IPv4 header, a TCP header, and payload by reference.
#[derive(Clone, Debug)]
pub struct Packet<'a, B> {
    /// The TCP header.
    pub segment: SegmentOut,
    /// The rest of the IP header.
    pub ip: IpFields,
    /// The data; `None` if there is none.
    pub payload: Option<Pieces<'a, B>>,
}

impl<B: Payload> Packet<'_, B> {
    /// The most bytes that the headers take up.
    pub const MAX_HEADERS: usize = Ipv4Header::LEN + TcpHeader::LEN + Options::MAX_LEN;

    /// Bytes of data.
    pub fn payload_len(&self) -> usize {
        self.payload.as_ref().map_or(0, Pieces::len)
    }

    /// Bytes of both headers.
    pub fn headers_len(&self) -> usize {
        Ipv4Header::LEN + TcpHeader::LEN + self.segment.options.len()
    }

    /// Writes both headers into the first [`headers_len`](Self::headers_len) bytes of `out`. The TCP checksum is
    /// left open ([`wire::OpenChecksum`]). The identification is 0 (RFC 6864 section 4.1: a packet that may not be
    /// fragmented needs none; one that may and is, will not be told from the next).
    ///
    /// # Panics
    /// If `out` is shorter than that.
    #[inline]
    pub fn write_headers(&self, out: &mut [u8]) {
        let SegmentOut { src, dst, options, .. } = &self.segment;
        let (ip_out, tcp_out) = out.split_at_mut(Ipv4Header::LEN);
        let (header_out, options_out) = tcp_out.split_at_mut(TcpHeader::LEN);
        let header_len = TcpHeader::LEN + options.write(options_out);
        let len = header_len + self.payload_len();
        let mut ipv4 = Ipv4Header::new(*src.ip(), *dst.ip(), protocol::TCP, len);
        ipv4.flags_fragment = U16::new(if self.ip.dont_fragment { Ipv4Header::DF } else { 0 });
        ipv4.ttl = self.ip.ttl;
        ipv4.tos = self.ip.tos | self.segment.ecn as u8;
        ipv4.fill_checksum();
        ip_out.copy_from_slice(ipv4.as_bytes());

        let mut tcp = self.tcp_header(header_len);
        tcp.checksum = U16::new(pseudo_header(*src.ip(), *dst.ip(), protocol::TCP, len as u16).partial());
        header_out.copy_from_slice(tcp.as_bytes());
    }

    /// Appends the whole packet to `out`, payload, checksum and all: for who has no frames.
    pub fn copy_to(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let data = start + self.headers_len();
        let mut at = data;
        out.resize(data + self.payload_len(), 0);
        for (content, offset, len) in self.payload.iter().flat_map(Clone::clone) {
            content.copy_out(offset, &mut out[at..at + len]);
            at += len;
        }
        self.write_headers(&mut out[start..]);
        Transport::Tcp.fill(&mut out[start + Ipv4Header::LEN..]);
    }

    fn tcp_header(&self, len: usize) -> TcpHeader {
        let SegmentOut { src, dst, seq, ack, flags, window, .. } = self.segment;
        let ack_flag = if ack.is_some() { TcpFlags::ACK } else { TcpFlags::default() };
        let mut header = TcpHeader {
            src_port: U16::new(src.port()),
            dst_port: U16::new(dst.port()),
            seq: U32::new(seq.get()),
            ack: U32::new(ack.unwrap_or_default().get()),
            flags: flags | ack_flag,
            window: U16::new(window.0),
            ..TcpHeader::default()
        };
        header.set_header_len(len);
        header
    }
}

#[cfg(test)]
mod tests {
    use wire::Ipv4View;

    use super::*;
    use crate::content::Content;
    use crate::pool::Pool;
    use crate::segment::tests::{DST, SRC};
    use crate::send::SendQueue;
    use crate::{Checksum, Segment, Timestamps};
    use sim::Bytes;

    #[test]
    fn what_is_written_is_read() {
        let mut pool = Pool::new(4);
        let mut queue = SendQueue::new(SeqNumber::new(7));
        queue.push(&mut pool, Bytes::new(b"abc").into()).unwrap();
        queue.push(&mut pool, Content::Static(b"defgh")).unwrap();
        let segment = SegmentOut {
            src: SRC,
            dst: DST,
            seq: SeqNumber::new(8),
            ack: Some(SeqNumber::new(99)),
            flags: TcpFlags::PSH,
            window: UnscaledWindow(500),
            options: Options { timestamps: Some(Timestamps { value: 1, echo: 2 }), ..Options::default() },
            ecn: EcnField::Ect0,
        };
        let payload = Some(queue.pieces(&pool, SeqNumber::new(8), 6));
        let ip = IpFields { ttl: 61, tos: 0x28, dont_fragment: true };
        let packet = Packet { segment, ip, payload };
        let mut bytes = vec![];
        packet.copy_to(&mut bytes);

        let view = Ipv4View::parse(&bytes, bytes.len()).unwrap();
        assert!(view.checksum_ok());
        assert_eq!((view.header.ttl, view.header.tos, view.header.dont_fragment()), (61, 0x2a, true));
        let mut rest = view.payload;
        let read = Segment::parse(view.header.src(), view.header.dst(), &mut rest, Checksum::Verify).unwrap();
        let want = Segment {
            src: SRC,
            dst: DST,
            seq: segment.seq,
            ack: segment.ack,
            flags: TcpFlags::PSH | TcpFlags::ACK,
            window: segment.window,
            options: segment.options,
            payload_len: 6,
        };
        assert_eq!((read, rest), (want, &b"bcdefg"[..]));
    }
}

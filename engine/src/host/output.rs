//! What TCP and UDP send: headers in a frame of the worker's, payload by reference behind them.

use std::net::{Ipv4Addr, SocketAddrV4};

use l2l3::cycles::LoopStage;
use l2l3::router::{Context, Router};
use tcp::Content;
use tcp::packet::{NoFrame, Output, Packet};
use tcp::udp::{self, Transmit};
use wire::UdpHeader;
use wire::ipv4::protocol;
use wire::{
    DropReason, Frame, FramePool, IntoBytes, Ipv4Header, NoRoom, OpenChecksum, Payload, Transport, U16,
};

use super::Host;
use crate::device::{Device, PayloadOf};
use crate::egress::{Egresses, FLUSH_AT};

/// Segments of a frame at most, its headers' included: some devices take no more. What lies in more pieces
/// is copied.
const MAX_SEGMENTS: usize = 8;

/// The identifications of the datagrams that one worker sends: no two workers have the same.
pub(super) struct Identification {
    next: u16,
    step: u16,
}

impl Identification {
    pub(super) fn new(me: u16, workers: u16, seed: u64) -> Self {
        // The seed is all workers' alike.
        let step = workers.max(1);
        // One step less, so that there is room for `me`.
        Identification { next: (seed as u16 / step).saturating_sub(1) * step + me, step }
    }

    fn take(&mut self) -> u16 {
        let taken = self.next;
        // Past the end it begins anew, at this worker's own first one.
        self.next = taken.checked_add(self.step).unwrap_or(taken % self.step);
        taken
    }
}

/// The way from TCP and UDP to the ports.
pub(crate) struct Sender<'a, 'c, D: Device> {
    router: &'a mut Router<D::Frame>,
    cx: Context<'c, D::Pool>,
    egresses: &'a mut Egresses<D>,
    /// A port had no room: nothing is sent until the next loop.
    blocked: bool,
    /// Segments that TCP may still send.
    left: usize,
    /// Bytes of payload that were copied.
    copied: u64,
}

impl<F: Frame> Host<F> {
    /// Sends what TCP and UDP have to send, as far as there are frames and room.
    pub(crate) fn transmit<D>(&mut self, sender: &mut Sender<'_, '_, D>)
    where
        D: Device<Frame = F>,
    {
        while self.udp.wants_to_transmit()
            && let Some(frame) = sender.alloc()
            && let Some(datagram) = self.udp.poll_transmit()
        {
            sender.send_datagram(frame, self.identification.take(), datagram);
        }
        if self.tcp.wants_to_transmit() {
            self.tcp.poll_transmit(sender.cx.now, sender);
        }
        sender.flush(1);
        self.copied += sender.copied;
    }
}

impl<'a, 'c, D: Device> Sender<'a, 'c, D> {
    /// For one loop, in which TCP sends so many `segments` at most.
    pub(crate) fn new(
        router: &'a mut Router<D::Frame>,
        cx: Context<'c, D::Pool>,
        egresses: &'a mut Egresses<D>,
        segments: usize,
    ) -> Self {
        Sender { router, cx, egresses, blocked: false, left: segments, copied: 0 }
    }

    /// A frame, if it could be sent.
    fn alloc(&mut self) -> Option<D::Frame> {
        if self.blocked { None } else { self.cx.pool.alloc() }
    }

    /// Gives a packet to the router.
    fn originate(&mut self, frame: D::Frame, dst: Ipv4Addr) {
        self.router.originate(&mut self.cx, frame, dst);
        self.flush(FLUSH_AT);
    }

    /// Sends the batches of `least` frames or more.
    fn flush(&mut self, least: usize) {
        for port in 0..self.cx.out.tx.len() {
            let batch = &mut self.cx.out.tx[port];
            if batch.len() >= least {
                self.cx.watch.lap(LoopStage::Tcp);
                self.blocked |= !self.egresses.flush_own(port, batch);
                self.cx.watch.lap(LoopStage::Tx);
            }
        }
    }

    fn send_datagram(&mut self, mut frame: D::Frame, id: u16, datagram: Transmit<PayloadOf<D>>) {
        let Transmit { source, destination, payload, .. } = datagram;
        let by_route = || self.router.source_towards(self.cx.fib, *destination.ip());
        let source_ip = if source.ip().is_unspecified() { by_route() } else { Some(*source.ip()) };
        let source = SocketAddrV4::new(source_ip.unwrap_or(*source.ip()), source.port());
        let headers = udp::header(source, destination, payload.len());
        let mut ipv4 =
            Ipv4Header::new(*source.ip(), *destination.ip(), protocol::UDP, headers.len() + payload.len());
        ipv4.id = U16::new(id);
        ipv4.fill_checksum();
        let written = frame.append(Ipv4Header::LEN + UdpHeader::LEN).map(|out| {
            out[..Ipv4Header::LEN].copy_from_slice(ipv4.as_bytes());
            out[Ipv4Header::LEN..].copy_from_slice(&headers);
        });
        let sent = written.and_then(|()| self.cx.pool.attach(&mut frame, &payload, 0, payload.len()));
        match sent {
            Ok(()) => {
                frame.set_open_checksum(open(Transport::Udp, UdpHeader::LEN));
                self.originate(frame, *destination.ip());
            }
            Err(_) => {
                self.router.counters().originated.add(1);
                self.router.discard(frame, DropReason::NoFrame);
            }
        }
    }

    /// Appends a segment's data: by reference, or, if it lies in too many pieces, copied. What can be produced
    /// is made in place.
    fn append(&mut self, frame: &mut D::Frame, packet: &Packet<'_, PayloadOf<D>>) -> Result<(), NoRoom> {
        let parts = || packet.payload.iter().flat_map(Clone::clone);
        let segments: usize = parts().map(|(content, offset, len)| segments_of(content, offset, len)).sum();
        let by_reference = segments < MAX_SEGMENTS;
        let mut copied = 0;
        for (content, offset, len) in parts() {
            match content {
                Content::Bytes(bytes) if by_reference => self.cx.pool.attach(frame, bytes, offset, len)?,
                Content::Static(bytes) if by_reference && self.cx.pool.can_refer(&bytes[offset..][..len]) => {
                    self.cx.pool.refer(frame, &bytes[offset..][..len])?;
                }
                _ => {
                    append_made(frame, self.cx.pool, content, offset, len)?;
                    let made = matches!(content, Content::Pulled(_));
                    copied += if made { 0 } else { len as u64 };
                }
            }
        }
        self.copied += copied;
        Ok(())
    }
}

/// The checksum of a frame that begins with an IPv4 header without options. Who sends it fills it in: the device,
/// or else the router.
fn open(transport: Transport, l4_len: usize) -> OpenChecksum {
    OpenChecksum { transport, l2_len: 0, l3_len: Ipv4Header::LEN as u8, l4_len: l4_len as u8 }
}

/// In how many segments of its own a part of a content lies, at least.
fn segments_of<B: Payload>(content: &Content<B>, mut offset: usize, mut left: usize) -> usize {
    let Content::Bytes(bytes) = content else { return 1 };
    let mut count = 0;
    while left > 0 {
        let len = bytes.chunk(offset).len().min(left);
        if len == 0 {
            break;
        }
        (offset, left, count) = (offset + len, left - len, count + 1);
    }
    count
}

/// Writes `len` bytes of `content` from `offset` on to the end of `frame`, which grows by further segments as
/// needed.
fn append_made<F: Frame, P: FramePool<Frame = F>>(
    frame: &mut F,
    pool: &mut P,
    content: &Content<F::Payload>,
    offset: usize,
    len: usize,
) -> Result<(), NoRoom> {
    let mut done = 0;
    while done < len {
        if frame.tailroom() == 0 {
            frame.chain(pool.alloc().ok_or(NoRoom)?).map_err(|_| NoRoom)?;
        }
        let n = frame.tailroom().min(len - done);
        if n == 0 {
            return Err(NoRoom);
        }
        content.copy_out(offset + done, frame.append(n)?);
        done += n;
    }
    Ok(())
}

impl<D: Device> Output<PayloadOf<D>> for Sender<'_, '_, D> {
    /// Nothing is left of a packet that does not go out whole.
    fn send(&mut self, packet: &Packet<'_, PayloadOf<D>>) -> Result<(), NoFrame> {
        let left = self.left.checked_sub(1).ok_or(NoFrame)?;
        let mut frame = self.alloc().ok_or(NoFrame)?;
        frame.append(packet.headers_len()).map_err(|_| NoFrame)?;
        self.append(&mut frame, packet).map_err(|_| NoFrame)?;
        packet.write_headers(frame.data_mut());
        frame.set_open_checksum(open(Transport::Tcp, packet.headers_len() - Ipv4Header::LEN));
        self.originate(frame, *packet.segment.dst.ip());
        self.left = left;
        Ok(())
    }

    fn is_spent(&self) -> bool {
        self.left == 0
    }
}

//! TCP and UDP to this host. Nothing listens yet: segments are answered with a reset, datagrams with
//! port unreachable.

use l2l3::icmp::ErrorKind;
use l2l3::limit::TokenBucket;
use l2l3::router::{Context, Delivery, Router};
use tcp::{Checksum, Reset, Segment, reset_for};
use wire::checksum::pseudo_header;
use wire::ipv4::protocol;
use wire::{DropReason, Frame, FramePool, Instant, Ipv4View, udp};

/// What a worker keeps for packets to this host.
pub(crate) struct Local {
    /// Room for a packet whose bytes lie in several segments.
    linear: Box<[u8]>,
    resets: TokenBucket,
}

/// The longest IPv4 packet.
const MAX_PACKET: usize = 65_535;

impl Local {
    /// At most `rate` resets a second, and `burst` at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        Local { linear: vec![0; MAX_PACKET].into(), resets: TokenBucket::new(rate, burst) }
    }

    /// Answers all packets in the output's `local` batch, and empties it.
    #[cold]
    pub(crate) fn deliver<F: Frame, P: FramePool<Frame = F>>(
        &mut self,
        router: &mut Router<F>,
        cx: &mut Context<'_, P>,
    ) {
        let mut batch = std::mem::take(&mut cx.out.local);
        for Delivery { iface, frame } in batch.drain(..) {
            let verdict = self.judge(cx.now, &frame);
            match verdict {
                Verdict::Reset(reset) => {
                    send_reset(router, cx, &reset);
                    router.discard(frame, DropReason::TcpNoPort);
                }
                Verdict::Silence(reason) => router.discard(frame, reason),
                Verdict::NoUdpPort => {
                    router.refuse(cx, iface, frame, DropReason::UdpNoPort, ErrorKind::PortUnreachable);
                }
            }
        }
        cx.out.local = batch;
    }

    fn judge<F: Frame>(&mut self, now: Instant, frame: &F) -> Verdict {
        let checked = frame.rx_flags().l4_cksum_good() && frame.segments() == 1;
        let bytes = if frame.segments() == 1 {
            frame.data()
        } else {
            let len = frame.copy_out(0, &mut self.linear);
            &self.linear[..len]
        };
        let Ok(packet) = Ipv4View::parse(bytes, bytes.len()) else {
            return Verdict::Silence(DropReason::Ipv4TooShort);
        };
        if packet.header.protocol != protocol::TCP {
            return judge_udp(&packet, checked);
        }
        let checksum = if checked { Checksum::KnownGood } else { Checksum::Verify };
        let mut payload = packet.payload;
        match Segment::parse(packet.header.src(), packet.header.dst(), &mut payload, checksum) {
            Err(reason) => Verdict::Silence(reason),
            Ok(segment) => match reset_for(&segment) {
                Some(reset) if self.resets.take(now) => Verdict::Reset(reset),
                _ => Verdict::Silence(DropReason::TcpNoPort),
            },
        }
    }
}

enum Verdict {
    /// Dropped, and answered.
    Reset(Reset),
    /// Dropped without a word.
    Silence(DropReason),
    /// Dropped, with ICMP port unreachable.
    NoUdpPort,
}

//= RFC 1122 section 4.1.3.1: a datagram to a port that nobody listens on is answered with port
//= unreachable; section 4.1.3.4: one whose checksum is wrong is silently discarded.
fn judge_udp(packet: &Ipv4View<'_>, checked: bool) -> Verdict {
    let Some((header, _)) = udp::parse(packet.payload) else {
        return Verdict::Silence(DropReason::UdpMalformed);
    };
    let datagram = &packet.payload[..usize::from(header.length.get())];
    let pseudo = pseudo_header(packet.header.src(), packet.header.dst(), protocol::UDP, header.length.get());
    let has_checksum = header.checksum.get() != 0;
    if has_checksum && !checked && pseudo.add_bytes(datagram).finish() != 0 {
        return Verdict::Silence(DropReason::UdpMalformed);
    }
    Verdict::NoUdpPort
}

fn send_reset<F: Frame, P: FramePool<Frame = F>>(
    router: &mut Router<F>,
    cx: &mut Context<'_, P>,
    reset: &Reset,
) {
    let Some(mut frame) = cx.pool.alloc() else { return };
    let Ok(bytes) = frame.append(Reset::LEN) else { return };
    let Some(bytes) = bytes.first_chunk_mut() else { return };
    reset.write(bytes);
    router.originate(cx, frame, *reset.dst.ip());
}

//! Fragmentation of packets that are larger than the next hop's MTU (RFC 791 section 3.2).

use wire::checksum::checksum;
use wire::ipv4::{Ipv4Options, option};
use wire::{DropReason, Frame, FramePool, IntoBytes, Ipv4Header, Ipv4View};

/// Bytes of the largest datagram.
const MAX_DATAGRAM: usize = 65_535;

/// Cuts the IPv4 packet that starts at `l2_len` of `frame` into fragments of up to `mtu` bytes, each
/// after a copy of the `l2_len` bytes before the packet, and appends them to `out` in order. The payload
/// is copied; `frame` is freed.
///
/// A fragment may be cut again. That the packet may be cut (DF is clear) is the caller's to check; `out`
/// is filled up to its capacity only.
///
/// # Errors
/// `frame`, as it was, with the reason; what was made is freed.
/// - [`DropReason::NoFrame`]: the pool, or the capacity of `out`, ran out;
/// - [`DropReason::FragmentationNeeded`]: the MTU does not hold the header and eight bytes;
/// - [`DropReason::FragmentMalformed`]: the packet is a fragment that ends past the largest datagram;
/// - those of [`Ipv4View::parse`].
pub fn fragment<F, P>(
    frame: F,
    l2_len: usize,
    mtu: u16,
    pool: &mut P,
    out: &mut Vec<F>,
) -> Result<(), (DropReason, F)>
where
    F: Frame,
    P: FramePool<Frame = F>,
{
    let before = out.len();
    cut(&frame, l2_len, usize::from(mtu), pool, out).map_err(|reason| {
        out.truncate(before);
        (reason, frame)
    })
}

fn cut<F, P>(frame: &F, l2_len: usize, mtu: usize, pool: &mut P, out: &mut Vec<F>) -> Result<(), DropReason>
where
    F: Frame,
    P: FramePool<Frame = F>,
{
    let packet = frame.data().get(l2_len..).ok_or(DropReason::Ipv4TooShort)?;
    let view = Ipv4View::parse(packet, frame.len() - l2_len)?;
    let payload_at = l2_len + view.header.header_len();
    let (payload_len, more) = (view.payload_len(), view.header.more_fragments());
    let start = view.header.fragment_offset();
    if start + payload_len > MAX_DATAGRAM {
        return Err(DropReason::FragmentMalformed);
    }

    let mut head = Head::first(&view);
    let mut done = 0;
    loop {
        let room = mtu.checked_sub(head.len).filter(|room| *room >= 8);
        let room = room.ok_or(DropReason::FragmentationNeeded)?;
        let left = payload_len - done;
        let len = if left <= room { left } else { room & !7 };
        let last = len == left;
        if out.len() == out.capacity() {
            return Err(DropReason::NoFrame);
        }
        let mut piece = pool.alloc().ok_or(DropReason::NoFrame)?;
        let bytes = piece.append(l2_len + head.len).map_err(|_| DropReason::NoFrame)?;
        bytes[..l2_len].copy_from_slice(&frame.data()[..l2_len]);
        bytes[l2_len..].copy_from_slice(head.fill(len, start + done, more || !last));
        append_copy(&mut piece, frame, payload_at + done, len, pool)?;
        out.push(piece);
        if last {
            return Ok(());
        }
        done += len;
        head = Head::later(&view);
    }
}

/// The header of a fragment, to be filled in.
struct Head {
    bytes: [u8; Ipv4Header::MAX_LEN],
    len: usize,
}

impl Head {
    /// The packet's own header.
    fn first(view: &Ipv4View<'_>) -> Head {
        let mut head = Head { bytes: [0; Ipv4Header::MAX_LEN], len: 0 };
        head.push(view.header.as_bytes());
        head.push(view.options);
        head
    }

    /// The packet's header with those options only that are copied (RFC 791 section 3.1).
    fn later(view: &Ipv4View<'_>) -> Head {
        let mut head = Head { bytes: [0; Ipv4Header::MAX_LEN], len: 0 };
        head.push(view.header.as_bytes());
        for item in Ipv4Options::new(view.options).flatten() {
            if item.kind & option::COPIED != 0 {
                head.push(item.bytes);
            }
        }
        // The bytes past the options are zero, which is the end of the option list.
        head.len = head.len.next_multiple_of(4);
        head
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The header of the fragment with `payload_len` bytes from byte `offset` of the datagram on.
    fn fill(&mut self, payload_len: usize, offset: usize, more: bool) -> &[u8] {
        let header = &mut self.bytes[..self.len];
        let kept = u16::from_be_bytes([header[6], header[7]]) & !(Ipv4Header::MF | Ipv4Header::OFFSET_MASK);
        let more = if more { Ipv4Header::MF } else { 0 };
        let flags_fragment = kept | more | (offset / 8) as u16;
        header[0] = 0x40 | (self.len / 4) as u8;
        header[2..4].copy_from_slice(&((self.len + payload_len) as u16).to_be_bytes());
        header[6..8].copy_from_slice(&flags_fragment.to_be_bytes());
        header[10..12].fill(0);
        let sum = checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }
}

/// Appends `len` bytes of `from`, from `offset` on, to `to`, which grows by further segments as needed.
fn append_copy<F, P>(to: &mut F, from: &F, offset: usize, len: usize, pool: &mut P) -> Result<(), DropReason>
where
    F: Frame,
    P: FramePool<Frame = F>,
{
    let (mut done, mut step) = (0, len);
    while done < len {
        match to.append(step.min(len - done)) {
            Ok(room) => {
                from.copy_out(offset + done, room);
                done += room.len();
            }
            // A frame does not tell its room: halve until it fits, then go on in the next segment.
            Err(_) if step > 1 => step /= 2,
            Err(_) => {
                let segment = pool.alloc().ok_or(DropReason::NoFrame)?;
                to.chain(segment).map_err(|_| DropReason::NoFrame)?;
                step = len - done;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sim::{SimFrame, SimPool};
    use std::net::Ipv4Addr;
    use wire::U16;
    use wire::checksum::Sum;

    const L2: usize = 14;

    fn packet(options: &[u8], flags_fragment: u16, payload: &[u8]) -> Vec<u8> {
        let (src, dst) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 1, 0, 1));
        let mut header = Ipv4Header::new(src, dst, 17, options.len() + payload.len());
        header.version_ihl = 0x45 + (options.len() / 4) as u8;
        header.id = U16::new(0xbeef);
        header.tos = 0x29;
        header.flags_fragment = U16::new(flags_fragment);
        let sum = Sum::new().add_bytes(header.as_bytes()).add_bytes(options);
        header.checksum = U16::new(sum.finish());
        [&[0xee; L2][..], header.as_bytes(), options, payload].concat()
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
    }

    /// The options, offset, more-fragments flag and payload of each fragment, all else checked.
    fn read(out: &[SimFrame], mtu: u16) -> Vec<(Vec<u8>, usize, bool, Vec<u8>)> {
        let read = |frame: &SimFrame| {
            let bytes = frame.to_vec();
            assert_eq!(bytes[..L2], [0xee; L2]);
            let view = Ipv4View::parse(&bytes[L2..], bytes.len() - L2).unwrap();
            assert!(view.checksum_ok());
            let header = view.header;
            assert!(header.total_length.get() <= mtu);
            assert_eq!(usize::from(header.total_length.get()), bytes.len() - L2);
            assert_eq!((header.id.get(), header.tos, header.ttl), (0xbeef, 0x29, 64));
            (view.options.to_vec(), header.fragment_offset(), header.more_fragments(), view.payload.to_vec())
        };
        out.iter().map(read).collect()
    }

    #[test]
    fn options_go_to_the_fragments_they_belong_to() {
        let mut pool = SimPool::new(20, 512);
        // Record route (first only), router alert (all), padding.
        let options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
        let payload = pattern(200);
        let frame = pool.frame_from(&packet(&options, 0, &payload)).unwrap();
        let mut out = Vec::with_capacity(8);
        fragment(frame, L2, 100, &mut pool, &mut out).unwrap();
        let got = read(&out, 100);
        let want: [(&[u8], usize, bool); 3] =
            [(&options, 0, true), (&[148, 4, 0, 0], 64, true), (&[148, 4, 0, 0], 136, false)];
        assert_eq!(got.len(), want.len());
        for ((options, offset, more, _), want) in got.iter().zip(want) {
            assert_eq!((&options[..], *offset, *more), want);
        }
        drop(out);
        assert_eq!(pool.available(), (20, 20));
    }

    #[test]
    fn what_cannot_be_cut_comes_back() {
        let whole = packet(&[], 0, &pattern(200));
        let mut bad_checksum_length = whole.clone();
        bad_checksum_length[L2 + 3] = 10;
        let far = packet(&[], Ipv4Header::MF | 0x1ff0, &pattern(256));
        // (bytes, MTU, frames in the pool besides, capacity of out, reason)
        let cases = [
            (&whole, 68, 4, 8, DropReason::NoFrame),
            (&whole, 68, 9, 4, DropReason::NoFrame),
            (&whole, 27, 9, 8, DropReason::FragmentationNeeded),
            (&whole, 0, 9, 8, DropReason::FragmentationNeeded),
            (&far, 100, 9, 8, DropReason::FragmentMalformed),
            (&bad_checksum_length, 68, 9, 8, DropReason::Ipv4BadTotalLength),
        ];
        for (bytes, mtu, frames, capacity, want) in cases {
            let mut pool = SimPool::new(1 + frames, 512);
            let frame = pool.frame_from(bytes).unwrap();
            let mut out = Vec::with_capacity(capacity);
            let (reason, frame) = fragment(frame, L2, mtu, &mut pool, &mut out).unwrap_err();
            assert_eq!((reason, out.len()), (want, 0));
            assert_eq!(&frame.to_vec(), bytes);
            assert_eq!(pool.available().0, frames);
        }
    }

    #[test]
    fn truncation_at_every_length() {
        let mut pool = SimPool::new(20, 512);
        let bytes = packet(&[148, 4, 0, 0], 0, &pattern(100));
        for len in 0..bytes.len() {
            let frame = pool.frame_from(&bytes[..len]).unwrap();
            let mut out = Vec::with_capacity(8);
            assert!(fragment(frame, L2, 68, &mut pool, &mut out).is_err(), "{len}");
        }
        assert_eq!(pool.available().0, 20);
    }

    proptest! {
        #[test]
        fn fragments_join_to_the_packet(
            len in 0..5000_usize, mtu in 68..3000_u16, room in 60..2048_usize, start in 0..1000_u16, more: bool,
            options in prop_oneof![Just(&[][..]), Just(&[148_u8, 4, 0, 0][..]), Just(&[1_u8, 1, 1, 0][..])],
            padding in 0..10_usize,
        ) {
            // A fragment that others follow holds whole 8-byte units.
            let len = if more { len & !7 } else { len };
            let payload = pattern(len);
            let field = start | if more { Ipv4Header::MF } else { 0 };
            let mut bytes = packet(options, field, &payload);
            bytes.extend(vec![0x77; padding]);
            let frames = 400;
            let mut pool = SimPool::new(frames, room);
            let whole = SimPool::new(1, 8192).frame_from(&bytes).unwrap();
            let mut out = Vec::with_capacity(200);
            fragment(whole, L2, mtu, &mut pool, &mut out).unwrap();

            let got = read(&out, mtu);
            let mut at = usize::from(start) * 8;
            for (i, (_, offset, more_follow, part)) in got.iter().enumerate() {
                prop_assert_eq!(*offset, at);
                at += part.len();
                let last = i + 1 == got.len();
                prop_assert_eq!(*more_follow, more || !last);
                prop_assert!(last || part.len() % 8 == 0);
                // No smaller than need be.
                prop_assert!(last || part.len() + 20 + options.len() + 8 > usize::from(mtu));
            }
            let joined: Vec<u8> = got.into_iter().flat_map(|(_, _, _, part)| part).collect();
            prop_assert_eq!(joined, payload);
            drop(out);
            prop_assert_eq!(pool.available().0, frames);
        }
    }
}

//! Reassembly of fragmented datagrams to us (RFC 791 section 3.2, RFC 1122 section 3.3.2).
//!
//! Fragments wait, sorted and never overlapping, until they fill their datagram; then their frames are
//! chained, without a copy of the payload. All memory is had at the start.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::FixedState;
use wire::ipv4::protocol;
use wire::{DropReason, Frame, FromBytes, Instant, Ipv4Header, Ipv4View, U16};

/// Fragments of one datagram: 1,480 bytes each need 45, 576-byte packets 119.
pub const MAX_FRAGMENTS: usize = 128;
/// Bytes of the largest datagram, its header included.
const MAX_DATAGRAM: usize = 65_535;
/// The end of a list of slots.
const NONE: u32 = u32::MAX;

/// What a [`Reassembler`] holds at most, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Datagrams under way.
    pub datagrams: usize,
    /// Fragments of all datagrams together.
    pub fragments: usize,
    /// Bytes of all fragments together.
    pub bytes: usize,
    /// How long after its first fragment a datagram is given up (RFC 1122 section 3.3.2 says 60 to 120 s;
    /// Linux waits 30 s).
    pub timeout: Duration,
}

/// What became of a fragment.
#[derive(Debug)]
pub enum Outcome<F> {
    /// It waits for the others.
    Held,
    /// It was the last that was missing.
    Complete {
        /// The datagram. It starts at its IPv4 header, whose lengths, flags and checksum are right.
        frame: F,
        /// How many fragments, this one included, became it.
        fragments: usize,
    },
    /// It was freed, and with it, if `frames` is more than one, those of its datagram that waited.
    Dropped {
        /// Why.
        reason: DropReason,
        /// How many frames were freed.
        frames: usize,
    },
}

/// A datagram that was given up: the drop's reason is [`DropReason::ReassemblyTimeout`].
#[derive(Debug)]
pub struct Expired<F> {
    /// The fragment with the datagram's start, as received from the IPv4 header on, if it had come: only
    /// then is time exceeded sent (RFC 792). The others were freed.
    pub first: Option<F>,
    /// How many frames were given up, `first` included.
    pub frames: usize,
}

/// Whose fragments belong together (RFC 791 section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Key {
    src: [u8; 4],
    dst: [u8; 4],
    id: U16,
    protocol: u8,
}

/// Where a fragment's payload lies in its datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    last: bool,
}

struct Piece<F> {
    span: Span,
    /// From the IPv4 header on for the first fragment, from the payload on for the others.
    frame: F,
}

struct Datagram<F> {
    key: Key,
    deadline: Instant,
    /// By `start`, without overlap.
    pieces: Vec<Piece<F>>,
    /// Bytes of payload in `pieces`.
    received: usize,
    /// Bytes of payload in all, once the last fragment told.
    len: Option<usize>,
    /// Whether a fragment met congestion (RFC 3168 section 5.3).
    congested: bool,
    /// Whether the slot is taken.
    used: bool,
    /// The next slot of the same hash, or the next free one.
    next: u32,
}

/// Holds the fragments of datagrams under way. One per worker.
pub struct Reassembler<F> {
    limits: Limits,
    hasher: FixedState,
    /// The first slot of each hash. A power of two.
    buckets: Box<[u32]>,
    slots: Box<[Datagram<F>]>,
    free: u32,
    fragments: usize,
    bytes: usize,
    /// No datagram's deadline is earlier.
    next_deadline: Instant,
}

impl<F: Frame> Reassembler<F> {
    /// An empty one. `seed` makes the hash of datagrams unforeseeable. Takes about 4 KiB a datagram.
    ///
    /// # Panics
    /// If `limits.datagrams` is 2^31 or more.
    pub fn new(limits: Limits, seed: u64) -> Self {
        assert!(limits.datagrams < 1 << 31, "a slot has a 32-bit number");
        let slot = |i: usize| Datagram {
            key: Key::default(),
            deadline: Instant::ZERO,
            pieces: Vec::with_capacity(MAX_FRAGMENTS),
            received: 0,
            len: None,
            congested: false,
            used: false,
            next: if i + 1 < limits.datagrams { i as u32 + 1 } else { NONE },
        };
        Reassembler {
            limits,
            hasher: FixedState::with_seed(seed),
            buckets: vec![NONE; limits.datagrams.next_power_of_two()].into_boxed_slice(),
            slots: (0..limits.datagrams).map(slot).collect(),
            free: if limits.datagrams > 0 { 0 } else { NONE },
            fragments: 0,
            bytes: 0,
            next_deadline: Instant::from_nanos(u64::MAX),
        }
    }

    /// How many frames wait here.
    pub fn held(&self) -> usize {
        self.fragments
    }

    /// Takes in a fragment, whose IPv4 header, which was checked, lies at `l3_offset` of the first segment.
    /// What is before it, and padding, is cut off. A packet that is no fragment is complete at once.
    ///
    /// The reasons of a drop:
    /// - [`DropReason::FragmentMalformed`]: a fragment that cannot be part of a datagram; or, and then
    ///   the datagram is dropped too, two disagree about where it ends;
    /// - [`DropReason::FragmentOverlap`]: it covers bytes that another does; the datagram is dropped too
    ///   (RFC 5722 section 4, for IPv4 in the same way). What of it comes later waits in vain;
    /// - [`DropReason::FragmentDuplicate`]: one of the same place and length waits already. Networks
    ///   duplicate packets, so the first stays;
    /// - [`DropReason::ReassemblyFull`]: a limit is reached. Those that wait have the right of way;
    /// - those of [`Ipv4View::parse`].
    pub fn push(&mut self, now: Instant, mut frame: F, l3_offset: usize) -> Outcome<F> {
        let (key, span, congested) = match admit(&mut frame, l3_offset) {
            Ok(Some(fragment)) => fragment,
            Ok(None) => return Outcome::Complete { frame, fragments: 1 },
            Err(reason) => return Outcome::Dropped { reason, frames: 1 },
        };
        let found = self.find(&key);
        if let Some(slot) = found {
            match self.slots[slot].place(span) {
                Ok(_) => (),
                Err(reason @ DropReason::FragmentDuplicate) => return Outcome::Dropped { reason, frames: 1 },
                Err(reason) => return Outcome::Dropped { reason, frames: 1 + self.remove(slot) },
            }
        }
        let full = self.fragments >= self.limits.fragments
            || self.bytes + frame.len() > self.limits.bytes
            || found.is_some_and(|slot| self.slots[slot].pieces.len() == MAX_FRAGMENTS);
        let slot = if full { None } else { found.or_else(|| self.insert(key, now)) };
        let Some(slot) = slot else {
            return Outcome::Dropped { reason: DropReason::ReassemblyFull, frames: 1 };
        };
        self.fragments += 1;
        self.bytes += frame.len();
        let datagram = &mut self.slots[slot];
        datagram.congested |= congested;
        datagram.hold(span, frame);
        if datagram.len == Some(datagram.received) { self.complete(slot) } else { Outcome::Held }
    }

    /// Gives up one datagram whose time has run out by `now`, if there is one: to be called until
    /// `None`. Costs a comparison while none has.
    pub fn expire(&mut self, now: Instant) -> Option<Expired<F>> {
        if now < self.next_deadline {
            return None;
        }
        let Some(slot) = self.slots.iter().position(|d| d.used && d.deadline <= now) else {
            let deadlines = self.slots.iter().filter(|d| d.used).map(|d| d.deadline);
            self.next_deadline = deadlines.min().unwrap_or(Instant::from_nanos(u64::MAX));
            return None;
        };
        self.unlink(slot);
        let frames = self.slots[slot].pieces.len();
        let starts = self.slots[slot].pieces.first().is_some_and(|piece| piece.span.start == 0);
        let first = self.drain(slot).next().filter(|_| starts).map(|piece| piece.frame);
        Some(Expired { first, frames })
    }

    /// Chains the pieces of a slot that holds them all.
    fn complete(&mut self, slot: usize) -> Outcome<F> {
        self.unlink(slot);
        let (len, congested) = (self.slots[slot].received, self.slots[slot].congested);
        let fragments = self.slots[slot].pieces.len();
        let mut pieces = self.drain(slot);
        let joined = pieces.next().and_then(|first| {
            pieces.try_fold(first.frame, |mut frame, piece| frame.chain(piece.frame).ok().map(|()| frame))
        });
        drop(pieces);
        // The chain has no room for that many segments.
        let Some(mut frame) = joined else {
            return Outcome::Dropped { reason: DropReason::ReassemblyFull, frames: fragments };
        };
        match rebuild_header(&mut frame, len, congested) {
            Ok(()) => Outcome::Complete { frame, fragments },
            Err(reason) => Outcome::Dropped { reason, frames: fragments },
        }
    }

    fn bucket(&self, key: &Key) -> usize {
        self.hasher.hash_one(key) as usize & (self.buckets.len() - 1)
    }

    fn find(&self, key: &Key) -> Option<usize> {
        let mut at = self.buckets[self.bucket(key)];
        while let Some(datagram) = self.slots.get(at as usize) {
            if datagram.key == *key {
                return Some(at as usize);
            }
            at = datagram.next;
        }
        None
    }

    /// Takes a slot for a new datagram, if there is one left.
    fn insert(&mut self, key: Key, now: Instant) -> Option<usize> {
        let bucket = self.bucket(&key);
        let slot = self.free as usize;
        let datagram = self.slots.get_mut(slot)?;
        self.free = std::mem::replace(&mut datagram.next, self.buckets[bucket]);
        self.buckets[bucket] = slot as u32;
        datagram.used = true;
        datagram.key = key;
        datagram.deadline = now + self.limits.timeout;
        self.next_deadline = self.next_deadline.min(datagram.deadline);
        Some(slot)
    }

    /// Frees a datagram and gives how many frames it held.
    fn remove(&mut self, slot: usize) -> usize {
        self.unlink(slot);
        self.drain(slot).count()
    }

    /// Takes a slot out of the table and puts it with the free ones.
    fn unlink(&mut self, slot: usize) {
        let bucket = self.bucket(&self.slots[slot].key);
        let after = std::mem::replace(&mut self.slots[slot].next, self.free);
        if self.buckets[bucket] as usize == slot {
            self.buckets[bucket] = after;
        } else {
            let mut at = self.buckets[bucket] as usize;
            while self.slots[at].next as usize != slot {
                at = self.slots[at].next as usize;
            }
            self.slots[at].next = after;
        }
        self.free = slot as u32;
        self.slots[slot].used = false;
    }

    /// Empties a slot of its pieces. To be called after [`Self::unlink`].
    fn drain(&mut self, slot: usize) -> impl Iterator<Item = Piece<F>> {
        let datagram = &mut self.slots[slot];
        (datagram.received, datagram.len, datagram.congested) = (0, None, false);
        self.fragments -= datagram.pieces.len();
        self.bytes -= datagram.pieces.iter().map(|piece| piece.frame.len()).sum::<usize>();
        datagram.pieces.drain(..)
    }
}

impl<F: Frame> Datagram<F> {
    /// Where in `pieces` a fragment goes.
    fn place(&self, span: Span) -> Result<usize, DropReason> {
        let at = self.pieces.partition_point(|piece| piece.span.start < span.start);
        let after = self.pieces.get(at).map(|piece| piece.span);
        if after == Some(span) {
            return Err(DropReason::FragmentDuplicate);
        }
        let held_to = self.pieces.last().map_or(0, |piece| piece.span.end);
        let ends_agree = match self.len {
            Some(len) => span.end <= len && !span.last,
            None => !span.last || held_to <= span.end,
        };
        let before_ends = at.checked_sub(1).map_or(0, |i| self.pieces[i].span.end);
        if before_ends > span.start || after.is_some_and(|after| span.end > after.start) {
            return Err(DropReason::FragmentOverlap);
        }
        if ends_agree { Ok(at) } else { Err(DropReason::FragmentMalformed) }
    }

    fn hold(&mut self, span: Span, frame: F) {
        let at = self.pieces.partition_point(|piece| piece.span.start < span.start);
        self.received += span.end - span.start;
        if span.last {
            self.len = Some(span.end);
        }
        self.pieces.insert(at, Piece { span, frame });
    }
}

/// Checks a fragment by itself, and trims its frame to what is to be held. `None` if it is none; then it
/// is trimmed to the packet.
fn admit<F: Frame>(frame: &mut F, l3_offset: usize) -> Result<Option<(Key, Span, bool)>, DropReason> {
    let packet = frame.data().get(l3_offset..).ok_or(DropReason::Ipv4TooShort)?;
    let view = Ipv4View::parse(packet, frame.len() - l3_offset)?;
    let header = *view.header;
    let (header_len, len, start) = (header.header_len(), view.payload_len(), header.fragment_offset());
    let more = header.more_fragments();

    frame.truncate(l3_offset + header_len + len);
    frame.trim_front(l3_offset);
    if !header.is_fragment() {
        return Ok(None);
    }
    // RFC 1858 section 3.2.2: a TCP header that is cut at its flags was cut to get past a filter.
    let cuts_tcp_flags = header.protocol == protocol::TCP && start == 8;
    let off_boundary = more && len % 8 != 0;
    if len == 0 || off_boundary || header_len + start + len > MAX_DATAGRAM || cuts_tcp_flags {
        return Err(DropReason::FragmentMalformed);
    }
    if start > 0 {
        frame.trim_front(header_len);
    }
    let id = header.id;
    let key = Key { src: header.src_addr, dst: header.dst_addr, id, protocol: header.protocol };
    const CONGESTED: u8 = 3;
    Ok(Some((key, Span { start, end: start + len, last: !more }, header.ecn() == CONGESTED)))
}

/// Makes the first fragment's header that of the datagram with `len` bytes of payload.
fn rebuild_header<F: Frame>(frame: &mut F, len: usize, congested: bool) -> Result<(), DropReason> {
    frame.clear_flags();
    let data = frame.data_mut();
    let (header, _) = Ipv4Header::mut_from_prefix(data).map_err(|_| DropReason::Ipv4TooShort)?;
    let header_len = header.header_len();
    let total = u16::try_from(header_len + len).map_err(|_| DropReason::FragmentMalformed)?;
    header.total_length = U16::new(total);
    header.flags_fragment = U16::ZERO;
    if congested && header.ecn() != 0 {
        header.tos |= 3;
    }
    header.checksum = U16::ZERO;
    let sum = wire::checksum::checksum(&data[..header_len]);
    data[10..12].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sim::{SimFrame, SimPool};
    use std::collections::HashMap;
    use std::net::Ipv4Addr;
    use wire::{FramePool, IntoBytes};

    const L2: usize = 14;
    const T0: Instant = Instant::from_millis(1000);
    const LIMITS: Limits =
        Limits { datagrams: 4, fragments: 100, bytes: 100_000, timeout: Duration::from_secs(30) };

    /// A fragment as received: 14 bytes of Ethernet, then IPv4.
    #[derive(Clone, Debug)]
    struct Fragment {
        id: u16,
        protocol: u8,
        start: usize,
        more: bool,
        tos: u8,
        options: Vec<u8>,
        data: Vec<u8>,
    }

    impl Fragment {
        fn new(id: u16, start: usize, more: bool, data: &[u8]) -> Self {
            let (options, data) = (Vec::new(), data.to_vec());
            Fragment { id, protocol: protocol::UDP, start, more, tos: 0, options, data }
        }

        fn bytes(&self) -> Vec<u8> {
            let (src, dst) = (Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(192, 0, 2, 1));
            let mut header = Ipv4Header::new(src, dst, self.protocol, self.options.len() + self.data.len());
            header.version_ihl = 0x45 + (self.options.len() / 4) as u8;
            header.tos = self.tos;
            header.id = U16::new(self.id);
            let more = if self.more { Ipv4Header::MF } else { 0 };
            header.flags_fragment = U16::new((self.start / 8) as u16 | more);
            let sum = wire::checksum::Sum::new().add_bytes(header.as_bytes()).add_bytes(&self.options);
            header.checksum = U16::new(sum.finish());
            [&[0xee; L2][..], header.as_bytes(), &self.options, &self.data].concat()
        }

        /// In two segments, the second of which starts `cut` bytes into the payload, and then padding.
        fn frame(&self, pool: &SimPool, cut: usize, padding: usize) -> SimFrame {
            let mut bytes = self.bytes();
            bytes.extend(vec![0x77; padding]);
            let cut = (L2 + Ipv4Header::LEN + self.options.len() + cut).min(bytes.len());
            pool.frame_of(&[&bytes[..cut], &bytes[cut..]]).unwrap()
        }
    }

    /// What a test compares of an [`Outcome`]: the payload of a datagram whose header is right, its
    /// fragments; or the reason and the frames dropped.
    #[derive(Clone, PartialEq, Eq, Debug)]
    enum Seen {
        Held,
        Complete(Vec<u8>, usize),
        Dropped(DropReason, usize),
    }

    fn seen(outcome: Outcome<SimFrame>) -> Seen {
        match outcome {
            Outcome::Held => Seen::Held,
            Outcome::Dropped { reason, frames } => Seen::Dropped(reason, frames),
            Outcome::Complete { frame, fragments } => {
                let bytes = frame.to_vec();
                let view = Ipv4View::parse(&bytes, bytes.len()).unwrap();
                assert!(view.checksum_ok() && !view.header.is_fragment());
                assert_eq!(usize::from(view.header.total_length.get()), bytes.len());
                Seen::Complete(view.payload.to_vec(), fragments)
            }
        }
    }

    fn push(to: &mut Reassembler<SimFrame>, pool: &SimPool, fragment: &Fragment) -> Seen {
        seen(to.push(T0, fragment.frame(pool, 100, 0), L2))
    }

    /// The naive twin: a map of bytes for each datagram.
    #[derive(Default)]
    struct Naive {
        datagrams: HashMap<u16, (Vec<Fragment>, Vec<Option<u8>>)>,
    }

    impl Naive {
        fn held(&self) -> usize {
            self.datagrams.values().map(|(fragments, _)| fragments.len()).sum()
        }

        fn push(&mut self, new: &Fragment, limits: &Limits) -> Seen {
            let end = new.start + new.data.len();
            if new.data.is_empty() || (new.more && !new.data.len().is_multiple_of(8)) {
                return Seen::Dropped(DropReason::FragmentMalformed, 1);
            }
            if let Some((fragments, map)) = self.datagrams.get(&new.id) {
                let place = |f: &Fragment| (f.start, f.data.len(), f.more);
                let len = fragments.iter().find(|f| !f.more).map(|f| f.start + f.data.len());
                let covered = |range: std::ops::Range<usize>| map[range].iter().any(|b| b.is_some());
                let reason = if fragments.iter().any(|f| place(f) == place(new)) {
                    return Seen::Dropped(DropReason::FragmentDuplicate, 1);
                } else if covered(new.start..end) {
                    Some(DropReason::FragmentOverlap)
                } else if len.is_some_and(|len| end > len || !new.more)
                    || (!new.more && covered(end..map.len()))
                {
                    Some(DropReason::FragmentMalformed)
                } else {
                    None
                };
                if let Some(reason) = reason {
                    let frames = 1 + fragments.len();
                    self.datagrams.remove(&new.id);
                    return Seen::Dropped(reason, frames);
                }
            }
            let known = self.datagrams.contains_key(&new.id);
            if self.held() == limits.fragments || (!known && self.datagrams.len() == limits.datagrams) {
                return Seen::Dropped(DropReason::ReassemblyFull, 1);
            }
            let (fragments, map) = self.datagrams.entry(new.id).or_insert((Vec::new(), vec![None; 2000]));
            fragments.push(new.clone());
            for (i, byte) in new.data.iter().enumerate() {
                map[new.start + i] = Some(*byte);
            }
            let Some(last) = fragments.iter().find(|f| !f.more) else { return Seen::Held };
            let payload: Option<Vec<u8>> = map[..last.start + last.data.len()].iter().copied().collect();
            let Some(payload) = payload else { return Seen::Held };
            let count = fragments.len();
            self.datagrams.remove(&new.id);
            Seen::Complete(payload, count)
        }
    }

    /// Datagrams cut at random, some fragments twice, some that fit nowhere, in random order.
    fn traffic() -> impl Strategy<Value = Vec<Fragment>> {
        let datagram = (0..6_u16, 1..400_usize, any::<u8>(), proptest::collection::vec(1..50_usize, 0..6));
        let whole = datagram.prop_map(|(id, len, first, cuts)| {
            let data: Vec<u8> = (0..len).map(|i| first.wrapping_add(i as u8)).collect();
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c * 8).filter(|c| *c < len).collect();
            cuts.extend([0, len]);
            cuts.sort_unstable();
            cuts.dedup();
            let cut = |w: &[usize]| Fragment::new(id, w[0], w[1] < len, &data[w[0]..w[1]]);
            cuts.windows(2).map(cut).collect::<Vec<_>>()
        });
        let stray = (0..6_u16, 0..50_usize, any::<bool>(), 0..100_usize)
            .prop_map(|(id, at, more, len)| vec![Fragment::new(id, at * 8, more, &vec![0xdd; len])]);
        let item = prop_oneof![
            8 => whole.clone(),
            2 => whole.prop_map(|fragments| [&fragments[..], &fragments[..1]].concat()),
            1 => stray,
        ];
        proptest::collection::vec(item, 1..8).prop_map(|f| f.concat()).prop_shuffle()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn behaves_as_the_naive_twin(
            traffic in traffic(), in_order: bool, fragments in 3..40_usize, cut in 0..60_usize, seed: u64,
        ) {
            let mut traffic = traffic;
            // A whole packet is no fragment: not this test's.
            traffic.retain(|f| f.more || f.start > 0);
            if in_order {
                traffic.sort_by_key(|f| f.start);
            }
            let pool = SimPool::new(200, 1024);
            let limits = Limits { fragments, ..LIMITS };
            let (mut ours, mut naive) = (Reassembler::new(limits, seed), Naive::default());
            for (i, fragment) in traffic.iter().enumerate() {
                let got = seen(ours.push(T0, fragment.frame(&pool, cut, i % 20), L2));
                prop_assert_eq!(got, naive.push(fragment, &limits), "fragment {}: {:?}", i, fragment);
                prop_assert_eq!(ours.held(), naive.held());
                let pieces = ours.slots.iter().flat_map(|d| &d.pieces);
                let held: usize = pieces.map(|piece| piece.frame.segments()).sum();
                prop_assert_eq!(pool.available().0, 200 - held, "a frame leaked");
            }

            let mut given_up = HashMap::new();
            while let Some(expired) = ours.expire(T0 + limits.timeout) {
                let first = expired.first.map(|frame| frame.to_vec());
                *given_up.entry((expired.frames, first)).or_insert(0) += 1;
            }
            let mut want = HashMap::new();
            for (fragments, _) in naive.datagrams.values() {
                let first = fragments.iter().find(|f| f.start == 0).map(|f| f.bytes()[L2..].to_vec());
                *want.entry((fragments.len(), first)).or_insert(0) += 1;
            }
            prop_assert_eq!(given_up, want);
            prop_assert_eq!((ours.held(), ours.bytes), (0, 0));
            prop_assert_eq!(pool.available().0, 200);
        }
    }

    #[test]
    fn fragments_cut_here_join_again() {
        let mut pool = SimPool::new(300, 2048);
        let data: Vec<u8> = (0..40_000).map(|i| (i * 31 / 7) as u8).collect();
        let options = vec![7, 7, 4, 0, 0, 0, 0, 0];
        let whole = Fragment { options: options.clone(), ..Fragment::new(1, 0, false, &data) };
        let frame = pool.frame_from(&whole.bytes()).unwrap();
        let mut out = Vec::with_capacity(100);
        crate::fragment::fragment(frame, L2, 1500, &mut pool, &mut out).unwrap();
        let mut ours = Reassembler::new(LIMITS, 1);
        let count = out.len();
        let mut complete = Vec::new();
        for frame in out.into_iter().rev() {
            if let Outcome::Complete { frame, fragments } = ours.push(T0, frame, L2) {
                complete.push((frame.to_vec(), fragments));
            }
        }
        assert_eq!(complete, [(whole.bytes()[L2..].to_vec(), count)]);
    }

    #[test]
    fn keys_tell_datagrams_apart() {
        let pool = SimPool::new(20, 256);
        let mut ours = Reassembler::new(LIMITS, 1);
        let udp = Fragment::new(1, 0, true, &[1; 8]);
        let icmp = Fragment { protocol: protocol::ICMP, ..udp.clone() };
        let other = Fragment { id: 2, ..udp.clone() };
        for fragment in [&udp, &icmp, &other] {
            assert_eq!(push(&mut ours, &pool, fragment), Seen::Held);
        }
        let end = Fragment::new(1, 8, false, &[2; 3]);
        let whole = Seen::Complete([&[1_u8; 8][..], &[2; 3]].concat(), 2);
        assert_eq!(push(&mut ours, &pool, &end), whole);
        assert_eq!(push(&mut ours, &pool, &Fragment { protocol: protocol::ICMP, ..end }), whole);
        assert_eq!(ours.held(), 1);
    }

    #[test]
    fn what_is_no_fragment_is_complete() {
        let pool = SimPool::new(2, 256);
        let mut ours = Reassembler::new(LIMITS, 1);
        let whole = Fragment::new(1, 0, false, b"data");
        assert_eq!(seen(ours.push(T0, whole.frame(&pool, 2, 10), L2)), Seen::Complete(b"data".to_vec(), 1));
    }

    #[test]
    fn malformed_fragments_are_refused() {
        let tcp =
            |start, len| Fragment { protocol: protocol::TCP, ..Fragment::new(1, start, true, &vec![0; len]) };
        let cases = [
            (Fragment::new(1, 0, true, &[0; 9]), false),
            (Fragment::new(1, 0, true, &[]), false),
            (Fragment::new(1, 8, false, &[]), false),
            (Fragment::new(1, 65_504, false, &[0; 11]), true),
            (Fragment::new(1, 65_504, false, &[0; 12]), false),
            (Fragment::new(1, 65_528, false, &[0; 1]), false),
            // RFC 1858: what would rewrite the flags of a TCP header.
            (tcp(8, 16), false),
            (tcp(0, 8), true),
            (tcp(16, 8), true),
            (Fragment::new(1, 8, true, &[0; 16]), true),
        ];
        for (fragment, good) in cases {
            let pool = SimPool::new(2, 256);
            let mut ours = Reassembler::new(LIMITS, 1);
            let want = if good { Seen::Held } else { Seen::Dropped(DropReason::FragmentMalformed, 1) };
            assert_eq!(push(&mut ours, &pool, &fragment), want, "{fragment:?}");
        }
    }

    #[test]
    fn options_can_make_a_datagram_too_long() {
        let pool = SimPool::new(100, 40_000);
        let mut ours = Reassembler::new(LIMITS, 1);
        let first = Fragment { options: vec![1; 8], ..Fragment::new(1, 0, true, &[0; 32_768]) };
        assert_eq!(push(&mut ours, &pool, &first), Seen::Held);
        let last = Fragment::new(1, 32_768, false, &[0; 65_515 - 32_768]);
        assert_eq!(push(&mut ours, &pool, &last), Seen::Dropped(DropReason::FragmentMalformed, 2));
        assert_eq!((ours.held(), pool.available().0), (0, 100));
    }

    #[test]
    fn congestion_marks_survive() {
        const ECT: u8 = 2;
        const CE: u8 = 3;
        for (first, second, want) in [(ECT, ECT, ECT), (ECT, CE, CE), (CE, ECT, CE), (0, CE, 0), (0, 0, 0)] {
            let pool = SimPool::new(8, 256);
            let mut ours = Reassembler::new(LIMITS, 1);
            let a = Fragment { tos: 0x20 | first, ..Fragment::new(1, 0, true, &[0; 8]) };
            let b = Fragment { tos: 0x20 | second, ..Fragment::new(1, 8, false, &[0; 8]) };
            assert_eq!(push(&mut ours, &pool, &b), Seen::Held);
            let Outcome::Complete { frame, .. } = ours.push(T0, a.frame(&pool, 0, 0), L2) else { panic!() };
            assert_eq!(frame.data()[1], 0x20 | want);
        }
    }

    #[test]
    fn every_limit_refuses_the_newcomer() {
        let pool = SimPool::new(400, 2048);
        let fragment = |id, i: usize| Fragment::new(id, i * 8, true, &[0; 8]);
        let full = Seen::Dropped(DropReason::ReassemblyFull, 1);
        // Fragments of one datagram.
        let mut ours = Reassembler::new(Limits { fragments: 1000, ..LIMITS }, 1);
        for i in 0..MAX_FRAGMENTS {
            assert_eq!(push(&mut ours, &pool, &fragment(1, i)), Seen::Held);
        }
        assert_eq!(push(&mut ours, &pool, &fragment(1, MAX_FRAGMENTS)), full);
        assert_eq!(push(&mut ours, &pool, &fragment(2, 0)), Seen::Held);
        // Bytes of all: what the first holds with its header, the next without.
        let mut ours = Reassembler::new(Limits { bytes: 28 + 8, ..LIMITS }, 1);
        assert_eq!(push(&mut ours, &pool, &fragment(1, 0)), Seen::Held);
        assert_eq!(push(&mut ours, &pool, &fragment(2, 0)), full);
        assert_eq!(push(&mut ours, &pool, &fragment(2, 5)), Seen::Held);
        assert_eq!(push(&mut ours, &pool, &fragment(2, 7)), full);
        // None at all.
        let mut ours = Reassembler::new(Limits { datagrams: 0, ..LIMITS }, 1);
        assert_eq!(push(&mut ours, &pool, &fragment(1, 0)), full);
        assert!(ours.expire(T0 + Duration::from_secs(100)).is_none());
    }

    #[test]
    fn time_runs_from_the_first_fragment_of_each() {
        let pool = SimPool::new(40, 256);
        let mut ours = Reassembler::new(LIMITS, 1);
        let at = |s| T0 + Duration::from_secs(s);
        let fragment = |id, i: usize| Fragment::new(id, i * 8, true, &[0; 8]).frame(&pool, 0, 0);
        ours.push(at(0), fragment(1, 0), L2);
        ours.push(at(10), fragment(2, 1), L2);
        ours.push(at(20), fragment(1, 1), L2);
        assert!(ours.expire(at(29)).is_none());
        let expired = ours.expire(at(30)).unwrap();
        assert_eq!((expired.first.map(|f| f.len()), expired.frames), (Some(28), 2));
        assert!(ours.expire(at(39)).is_none());
        // A new datagram of the same key has its own time.
        ours.push(at(39), fragment(1, 0), L2);
        let expired = ours.expire(at(40)).unwrap();
        assert!(expired.first.is_none() && expired.frames == 1);
        assert!(ours.expire(at(68)).is_none());
        assert_eq!(ours.expire(at(69)).unwrap().frames, 1);
        assert_eq!(pool.available().0, 40);
    }

    #[test]
    fn truncation_at_every_length() {
        let pool = SimPool::new(4, 256);
        let mut ours = Reassembler::new(LIMITS, 1);
        let bytes = Fragment { options: vec![1; 4], ..Fragment::new(1, 0, true, &[0; 16]) }.bytes();
        for len in 0..bytes.len() {
            let frame = pool.frame_from(&bytes[..len]).unwrap();
            assert!(matches!(ours.push(T0, frame, L2), Outcome::Dropped { frames: 1, .. }), "{len}");
        }
        assert_eq!(pool.available().0, 4);
    }
}

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
    ///   (RFC 5722 section 3, for IPv4 in the same way);
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

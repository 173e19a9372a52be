//! An owned frame in DPDK's memory.

use crate::payload::MbufPayload;
use crate::segment::Segment;
use dpdk_sys as sys;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use wire::{Frame, NoRoom, OpenChecksum, RxFlags, Transport};

/// A frame: a chain of DPDK mbufs, of which this is the owner. It is one pointer, so that a slice of
/// these is what DPDK's burst functions take; it moves and is never shared; dropping it gives every
/// segment back to its pool, from any thread.
///
/// Segments behind the first may be indirect mbufs, which refer to payload, or have an external buffer: memory
/// that stays for ever.
#[repr(transparent)]
pub struct Mbuf(Segment);

const _: () = assert!(size_of::<Mbuf>() == size_of::<*mut sys::rte_mbuf>());
const _: () = assert!(size_of::<Option<Mbuf>>() == size_of::<Mbuf>());

// The flags of `wire` are DPDK's.
const _: () = assert!(RxFlags::VLAN_STRIPPED == sys::SL_MBUF_F_RX_VLAN_STRIPPED);
const _: () = assert!(RxFlags::RSS_HASH == sys::SL_MBUF_F_RX_RSS_HASH);
const _: () = assert!(RxFlags::IP_CKSUM_BAD == sys::SL_MBUF_F_RX_IP_CKSUM_BAD);
const _: () = assert!(RxFlags::IP_CKSUM_GOOD == sys::SL_MBUF_F_RX_IP_CKSUM_GOOD);
const _: () = assert!(RxFlags::L4_CKSUM_BAD == sys::SL_MBUF_F_RX_L4_CKSUM_BAD);
const _: () = assert!(RxFlags::L4_CKSUM_GOOD == sys::SL_MBUF_F_RX_L4_CKSUM_GOOD);

/// Whether any frame of this process may have several segments: none was received or made so far.
static CHAINED: AtomicBool = AtomicBool::new(false);

/// Whether frames have to be looked at before they go to a device that takes one segment only.
#[inline(always)]
pub(crate) fn may_be_chained() -> bool {
    CHAINED.load(Ordering::Relaxed)
}

/// From now on frames may have several segments. Whoever makes the first, or lets a device do so, says it
/// before.
pub(crate) fn expect_chains() {
    // Written once: the workers read it at every burst.
    if !may_be_chained() {
        CHAINED.store(true, Ordering::Relaxed);
    }
}

/// Whether any frame of this process may have an open checksum: none was made so far.
static OPEN: AtomicBool = AtomicBool::new(false);

/// Whether frames have to be looked at before they go to a device that fills in no checksums.
#[inline(always)]
pub(crate) fn may_be_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// Says how a segment's bytes lie: not what the device said, and not to be forgotten.
const LAYOUT_FLAGS: u64 = sys::SL_MBUF_F_EXTERNAL | sys::SL_MBUF_F_INDIRECT;

impl Mbuf {
    /// The DPDK port that received the frame.
    #[inline(always)]
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// Copies all segments into the first; `false` if it has no room for them.
    #[cold]
    pub(crate) fn join_segments(&mut self) -> bool {
        let (first, len) = (self.data().len(), self.len());
        if len - first > self.0.tailroom() || len > usize::from(u16::MAX) {
            return false;
        }
        let Some(rest) = self.0.next() else { return true };
        let mut rest = Mbuf(rest);
        rest.0.set_nb_segs(self.0.nb_segs() - 1);
        rest.0.set_pkt_len((len - first) as u32);
        self.0.set_next(None);
        self.0.set_nb_segs(1);
        self.0.set_data_len(len as u16);
        rest.copy_out(0, &mut self.data_mut()[first..]);
        true
    }

    /// The segments of the chain.
    pub(crate) fn walk(&self) -> impl Iterator<Item = Segment> {
        let (mut next, mut left) = (Some(self.0), self.0.nb_segs());
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let segment = next?;
            // The last segment's pointer lies in a cache line that need not be read.
            next = if left > 0 { segment.next() } else { None };
            Some(segment)
        })
    }

    /// Frees the first segment of several.
    pub(crate) fn drop_head(&mut self) {
        let Some(mut rest) = self.0.next() else { return };
        rest.set_nb_segs(self.0.nb_segs() - 1);
        rest.set_pkt_len(self.0.pkt_len() - u32::from(self.0.data_len()));
        self.0.set_next(None);
        self.0.set_nb_segs(1);
        drop(mem::replace(self, Mbuf(rest)));
    }

    /// Makes this fresh frame a reference to `range` of the bytes of `segment`.
    ///
    /// A call into C, an eighth of what making and freeing a frame with a reference costs. DPDK's own function
    /// knows where each release keeps a buffer's IO address, and how it counts external memory.
    pub(crate) fn refer_to(&mut self, segment: Segment, range: Range<usize>) -> Result<(), NoRoom> {
        // SAFETY: both are alive; this one is ours alone and has its own memory. Bytes of a segment are
        // numbered in 16 bits.
        let ret = unsafe {
            sys::sl_attach(self.0.as_ptr(), segment.as_ptr(), range.start as u16, range.len() as u16)
        };
        if ret == 0 { Ok(()) } else { Err(NoRoom) }
    }

    /// For C.
    pub(crate) fn as_ptr(&mut self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// The last segment of the chain.
    #[inline]
    fn last(&self) -> Segment {
        let mut segment = self.0;
        if self.0.nb_segs() > 1 {
            while let Some(next) = segment.next() {
                segment = next;
            }
        }
        segment
    }

    /// Whether the last segment's memory is others' as well.
    #[inline]
    fn last_is_reference(&self) -> bool {
        self.0.nb_segs() > 1 && self.last().ol_flags() & LAYOUT_FLAGS != 0
    }

    /// Gives up ownership.
    #[inline(always)]
    fn into_segment(self) -> Segment {
        let segment = self.0;
        mem::forget(self);
        segment
    }
}

// SAFETY: an mbuf belongs to its one owner, and pools take buffers back from any thread.
unsafe impl Send for Mbuf {}

// SAFETY: a shared reference allows reads alone.
unsafe impl Sync for Mbuf {}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the chain is ours, and is not used again.
        unsafe { sys::sl_free(self.0.as_ptr()) };
    }
}

impl Frame for Mbuf {
    type Payload = MbufPayload;

    #[inline(always)]
    fn data(&self) -> &[u8] {
        // SAFETY: the segment's bytes are this frame's, borrowed for as long as it is.
        unsafe { self.0.bytes() }
    }

    #[inline(always)]
    fn data_mut(&mut self) -> &mut [u8] {
        debug_assert_eq!(self.0.refcnt(), 1, "a shared frame is changed");
        // SAFETY: the segment's bytes are this frame's alone, borrowed for as long as it is.
        unsafe { self.0.bytes_mut() }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.0.pkt_len() as usize
    }

    #[inline(always)]
    fn segments(&self) -> usize {
        usize::from(self.0.nb_segs())
    }

    #[inline]
    fn chunk(&self, offset: usize) -> &[u8] {
        let mut skip = offset;
        for segment in self.walk() {
            // SAFETY: a segment of this frame's chain, which is borrowed.
            let bytes = unsafe { segment.bytes() };
            if skip < bytes.len() {
                return &bytes[skip..];
            }
            skip -= bytes.len();
        }
        &[]
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) -> usize {
        let mut skip = offset;
        let mut copied = 0;
        for segment in self.walk() {
            // SAFETY: a segment of this frame's chain, which is borrowed.
            let bytes = unsafe { segment.bytes() };
            let from = bytes.get(skip..).unwrap_or_default();
            let n = from.len().min(out.len() - copied);
            out[copied..copied + n].copy_from_slice(&from[..n]);
            copied += n;
            if copied == out.len() {
                break;
            }
            skip = skip.saturating_sub(bytes.len());
        }
        copied
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        let data_off = usize::from(self.0.data_off());
        let data_len = usize::from(self.0.data_len());
        if n > data_off || data_len + n > usize::from(u16::MAX) {
            return Err(NoRoom);
        }
        self.0.set_data_off((data_off - n) as u16);
        self.0.set_data_len((data_len + n) as u16);
        self.0.set_pkt_len(self.0.pkt_len() + n as u32);
        Ok(&mut self.data_mut()[..n])
    }

    #[inline]
    fn trim_front(&mut self, n: usize) {
        let data_len = usize::from(self.0.data_len());
        assert!(n <= data_len, "{n} bytes taken off a segment of {data_len}");
        self.0.set_data_off(self.0.data_off() + n as u16);
        self.0.set_data_len((data_len - n) as u16);
        self.0.set_pkt_len(self.0.pkt_len() - n as u32);
    }

    #[inline]
    fn append(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        if n > self.tailroom() || self.last_is_reference() {
            return Err(NoRoom);
        }
        let mut last = self.last();
        let data_len = usize::from(last.data_len());
        last.set_data_len((data_len + n) as u16);
        self.0.set_pkt_len(self.0.pkt_len() + n as u32);
        // SAFETY: a segment of this frame's chain, which is borrowed for as long as the bytes are; it is
        // no reference.
        let bytes = unsafe { last.bytes_mut() };
        Ok(&mut bytes[data_len..])
    }

    #[inline]
    fn tailroom(&self) -> usize {
        if self.last_is_reference() { 0 } else { self.last().tailroom() }
    }

    fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        let mut segment = self.0;
        let mut count = 1;
        let mut left = len;
        while left > usize::from(segment.data_len()) {
            let Some(next) = segment.next() else { break };
            left -= usize::from(segment.data_len());
            segment = next;
            count += 1;
        }
        segment.set_data_len(left as u16);
        let rest = if self.segments() > 1 { segment.next() } else { None };
        if let Some(rest) = rest {
            segment.set_next(None);
            drop(Mbuf(rest));
        }
        self.0.set_nb_segs(count);
        self.0.set_pkt_len(len as u32);
    }

    fn chain(&mut self, tail: Self) -> Result<(), Self> {
        let Some(count) = self.0.nb_segs().checked_add(tail.0.nb_segs()) else { return Err(tail) };
        expect_chains();
        let mut tail = tail.into_segment();
        self.last().set_next(Some(tail));
        self.0.set_nb_segs(count);
        self.0.set_pkt_len(self.0.pkt_len() + tail.pkt_len());
        // What belongs to a chain's head is not looked at in the others, but goes to the pool with them.
        tail.set_nb_segs(1);
        Ok(())
    }

    #[inline(always)]
    fn rx_flags(&self) -> RxFlags {
        RxFlags(self.0.ol_flags())
    }

    #[inline(always)]
    fn vlan_tci(&self) -> u16 {
        self.0.vlan_tci()
    }

    #[inline(always)]
    fn rss_hash(&self) -> u32 {
        self.0.rss()
    }

    #[inline]
    fn set_open_checksum(&mut self, open: OpenChecksum) {
        let OpenChecksum { transport, l2_len, l3_len, l4_len } = open;
        debug_assert!(l2_len < 128);
        // Written once: the workers read it at every burst.
        if !may_be_open() {
            OPEN.store(true, Ordering::Relaxed);
        }
        let l4 = match transport {
            Transport::Tcp => sys::SL_MBUF_F_TX_TCP_CKSUM,
            Transport::Udp => sys::SL_MBUF_F_TX_UDP_CKSUM,
        };
        self.0.set_ol_flags(self.0.ol_flags() | sys::SL_MBUF_F_TX_IPV4 | l4);
        self.0.set_tx_offload(
            u64::from(l2_len)
                | u64::from(l3_len) << sys::SL_L3_LEN_SHIFT
                | u64::from(l4_len) << sys::SL_L4_LEN_SHIFT,
        );
    }

    #[inline]
    fn open_checksum(&self) -> Option<OpenChecksum> {
        let transport = match self.0.ol_flags() & sys::SL_MBUF_F_TX_L4_MASK {
            sys::SL_MBUF_F_TX_TCP_CKSUM => Transport::Tcp,
            sys::SL_MBUF_F_TX_UDP_CKSUM => Transport::Udp,
            _ => return None,
        };
        let lens = self.0.tx_offload();
        // Seven bits, nine, and eight.
        let (l2_len, l3_len) = (lens as u8 & 0x7f, (lens >> sys::SL_L3_LEN_SHIFT) as u8);
        Some(OpenChecksum { transport, l2_len, l3_len, l4_len: (lens >> sys::SL_L4_LEN_SHIFT) as u8 })
    }

    #[inline(always)]
    fn clear_flags(&mut self) {
        self.0.set_ol_flags(self.0.ol_flags() & LAYOUT_FLAGS);
    }

    fn into_payload(self, offset: usize, len: usize) -> MbufPayload {
        MbufPayload::new(self, offset, len)
    }

    #[inline]
    fn free_bulk(frames: &mut Vec<Self>) {
        let count = frames.len();
        // SAFETY: the vector forgets its frames before they are freed. An Mbuf is a pointer to an mbuf.
        unsafe {
            frames.set_len(0);
            sys::rte_pktmbuf_free_bulk(frames.as_mut_ptr().cast(), count as u32);
        }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("len", &self.len()).field("segments", &self.segments()).finish()
    }
}

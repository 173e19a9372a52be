//! How frames reach the pipeline: the traits that a device's driver, or a simulation, implements.
//!
//! A frame is owned: it moves from the receive queue through the pipeline to a transmit queue, an
//! owner, or a counted drop. It is never shared. What several may hold is [`Payload`]: bytes that a frame
//! was given up for, and that other frames refer to behind a first segment of their own. Memory that stays
//! for ever is referred to in the same way.

use crate::transport::OpenChecksum;

/// What the device said of a received frame.
///
/// The bits are those of DPDK's `ol_flags`, so that a driver hands its word over as it is; a driver
/// with other bits translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RxFlags(pub u64);

impl RxFlags {
    /// The device stripped a VLAN tag; [`Frame::vlan_tci`] holds it.
    pub const VLAN_STRIPPED: u64 = 1 << 6;
    /// [`Frame::rss_hash`] is valid.
    pub const RSS_HASH: u64 = 1 << 1;
    /// The device checked the IPv4 header checksum and found it wrong.
    pub const IP_CKSUM_BAD: u64 = 1 << 4;
    /// The device checked the IPv4 header checksum and found it right.
    pub const IP_CKSUM_GOOD: u64 = 1 << 7;
    /// The device checked the TCP/UDP checksum and found it wrong.
    pub const L4_CKSUM_BAD: u64 = 1 << 3;
    /// The device checked the TCP/UDP checksum and found it right.
    pub const L4_CKSUM_GOOD: u64 = 1 << 8;

    /// Whether the device vouches for the IPv4 header checksum.
    #[inline]
    pub const fn ip_cksum_good(self) -> bool {
        self.0 & (Self::IP_CKSUM_GOOD | Self::IP_CKSUM_BAD) == Self::IP_CKSUM_GOOD
    }

    /// Whether the device vouches for the TCP/UDP checksum.
    #[inline]
    pub const fn l4_cksum_good(self) -> bool {
        self.0 & (Self::L4_CKSUM_GOOD | Self::L4_CKSUM_BAD) == Self::L4_CKSUM_GOOD
    }
}

/// A frame has no room for the bytes asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the frame has no room left")
    }
}

impl std::error::Error for NoRoom {}

/// An owned frame: a chain of one or more segments, the first of which holds the headers.
///
/// The first segment's memory is the frame's alone. Those behind it may be references to payload
/// ([`FramePool::attach`]), or to memory that stays for ever ([`FramePool::refer`]), whose bytes are read
/// only.
pub trait Frame: Sized + Send {
    /// What a frame becomes when it is given up to readers.
    type Payload: Payload;

    /// The bytes of the first segment.
    fn data(&self) -> &[u8];

    /// The bytes of the first segment, to be changed.
    fn data_mut(&mut self) -> &mut [u8];

    /// Bytes of the whole chain.
    fn len(&self) -> usize;

    /// Whether the frame holds no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many segments the chain has; at least one.
    fn segments(&self) -> usize;

    /// The bytes from `offset` of the chain on, as many as lie together; none only at its end.
    fn chunk(&self, offset: usize) -> &[u8];

    /// Copies bytes from `offset` of the chain on into `out`; gives how many there were.
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> usize;

    /// Grows the first segment by `n` bytes at its front and gives them. Their content is unspecified.
    fn prepend(&mut self, n: usize) -> Result<&mut [u8], NoRoom>;

    /// Takes `n` bytes off the front of the first segment.
    ///
    /// # Panics
    /// If the first segment is shorter than `n`.
    fn trim_front(&mut self, n: usize);

    /// Grows the last segment by `n` bytes at its end and gives them. Their content is unspecified.
    ///
    /// # Errors
    /// [`NoRoom`], also if the last segment is a reference to payload.
    fn append(&mut self, n: usize) -> Result<&mut [u8], NoRoom>;

    /// Bytes that [`append`](Self::append) can still give.
    fn tailroom(&self) -> usize;

    /// Cuts the chain down to `len` bytes; segments past it are freed. No effect if it is shorter.
    fn truncate(&mut self, len: usize);

    /// Appends `tail`'s segments to the chain. Gives `tail` back if the chain would be too long.
    fn chain(&mut self, tail: Self) -> Result<(), Self>;

    /// What the device said of the frame.
    fn rx_flags(&self) -> RxFlags;

    /// The VLAN tag control information, if [`RxFlags::VLAN_STRIPPED`].
    fn vlan_tci(&self) -> u16;

    /// The device's RSS hash, if [`RxFlags::RSS_HASH`].
    fn rss_hash(&self) -> u32;

    /// Forgets what the device said, before the frame is sent as one of our own; and an open checksum.
    fn clear_flags(&mut self);

    /// Leaves a TCP or UDP checksum open, for whoever sends the frame: see [`OpenChecksum`]. The frame must have no
    /// word of a device's any more.
    fn set_open_checksum(&mut self, open: OpenChecksum);

    /// The checksum that is open.
    fn open_checksum(&self) -> Option<OpenChecksum>;

    /// Gives the frame up: `len` bytes from `offset` of the chain on, or those up to its end, become
    /// payload. The others are lost.
    fn into_payload(self, offset: usize, len: usize) -> Self::Payload;

    /// Frees many frames at once.
    fn free_bulk(frames: &mut Vec<Self>) {
        frames.clear();
    }
}

/// Bytes of a received or filled frame, given up to reading: a range of memory that several owners may
/// refer to. No byte of it is changed any more.
///
/// A frame becomes payload ([`Frame::into_payload`]); payload is read, sent by reference any number of
/// times ([`FramePool::attach`]) and dropped.
pub trait Payload: Sized + Send {
    /// Bytes of the range.
    fn len(&self) -> usize;

    /// Whether the range is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes from `offset` on, as many as lie together; none only at the range's end.
    fn chunk(&self, offset: usize) -> &[u8];

    /// Copies bytes from `offset` on into `out`; gives how many there were.
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> usize {
        let mut done = 0;
        while done < out.len() {
            let chunk = self.chunk(offset + done);
            let n = chunk.len().min(out.len() - done);
            if n == 0 {
                break;
            }
            out[done..done + n].copy_from_slice(&chunk[..n]);
            done += n;
        }
        done
    }

    /// Forgets the first `n` bytes, or all if there are fewer.
    fn advance(&mut self, n: usize);

    /// Keeps the first `len` bytes. No effect if there are fewer.
    fn truncate(&mut self, len: usize);
}

impl Payload for &[u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn chunk(&self, offset: usize) -> &[u8] {
        self.get(offset..).unwrap_or_default()
    }

    fn advance(&mut self, n: usize) {
        *self = self.get(n..).unwrap_or_default();
    }

    fn truncate(&mut self, len: usize) {
        *self = &self[..len.min(<[u8]>::len(self))];
    }
}

/// The most bytes of one reference to memory that stays for ever.
pub const MAX_REFERENCE: usize = u16::MAX as usize;

/// Where frames are made from. One per worker.
pub trait FramePool: Send {
    /// The frames it makes.
    type Frame: Frame;

    /// An empty frame with headroom for the headers, or `None` when the pool is empty.
    fn alloc(&mut self) -> Option<Self::Frame>;

    /// Appends a reference to `len` bytes of `payload` from `offset` on, or to those up to its end. No
    /// byte is copied; a frame of this pool is used up for each segment that they lie in. The memory
    /// stays until the payload and every frame that refers to it are gone.
    ///
    /// # Errors
    /// [`NoRoom`] if the pool has too few frames, the chain would be too long, or too many refer to the
    /// memory already. The frame is then as it was.
    fn attach(
        &mut self,
        frame: &mut Self::Frame,
        payload: &<Self::Frame as Frame>::Payload,
        offset: usize,
        len: usize,
    ) -> Result<(), NoRoom>;

    /// Whether the devices can read `bytes` where they lie. What they cannot is to be copied.
    fn can_refer(&mut self, bytes: &'static [u8]) -> bool;

    /// Appends a reference to `bytes`, which stay for ever. No byte is copied; a frame of this pool is used
    /// up.
    ///
    /// # Errors
    /// [`NoRoom`] if the pool has no frame, the chain would be too long, or too many frames refer to such
    /// memory already; and if [`can_refer`](Self::can_refer) denies it, or it is longer than
    /// [`MAX_REFERENCE`]. The frame is then as it was.
    fn refer(&mut self, frame: &mut Self::Frame, bytes: &'static [u8]) -> Result<(), NoRoom>;

    /// Frames that can be had now, and in all.
    fn available(&self) -> (usize, usize);
}

/// A device's receive queue, polled by one worker. Not shared, not cloned.
pub trait RxQueue: Send {
    /// The frames it receives.
    type Frame: Frame;

    /// Appends up to `max` received frames to `out`, within `out`'s capacity, and gives how many.
    fn rx_burst(&mut self, out: &mut Vec<Self::Frame>, max: usize) -> usize;
}

/// A device's transmit queue, filled by one worker. Not shared, not cloned. Open checksums ([`OpenChecksum`]) are filled
/// in by the device, or, where it does not do that, by the queue.
pub trait TxQueue: Send {
    /// The frames it sends.
    type Frame: Frame;

    /// Hands frames to the device, in order. Those it took are removed from the front of `frames`;
    /// those that remain are still the caller's. Gives how many were taken.
    fn tx_burst(&mut self, frames: &mut Vec<Self::Frame>) -> usize;
}

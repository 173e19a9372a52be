//! Segments: memory of their own, or a reference to another's; and the store that they go back to.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::{OpenChecksum, RxFlags};

use crate::frame::{HEADROOM, POISON};

pub(crate) struct Segment {
    /// Its own memory. Others refer to it only once its frame is payload.
    own: Arc<[u8]>,
    /// Whose bytes it has instead of its own.
    reference: Option<Reference>,
    /// Where the bytes lie in the memory.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next: Option<Box<Segment>>,
    /// Where to go back to; `None` while it is there, lest store and segment keep each other alive.
    pub(crate) home: Option<Arc<Store>>,
    /// Its place among its store's.
    number: usize,
    pub(crate) flags: RxFlags,
    pub(crate) vlan_tci: u16,
    pub(crate) rss_hash: u32,
    pub(crate) open_checksum: Option<OpenChecksum>,
}

/// Memory that is not the segment's own.
#[derive(Clone)]
enum Reference {
    /// Another segment's: of this store, with this number.
    Lent(Arc<[u8]>, Arc<Store>, usize),
    /// It stays for ever.
    Static(&'static [u8]),
    /// A private copy.
    Copy(Arc<[u8]>),
}

/// All segments of a pool.
pub(crate) struct Store {
    shelves: Mutex<Shelves>,
    segments: usize,
}

struct Shelves {
    /// Boxed, because a frame is a pointer to a segment: it moves in and out of the list as it is.
    #[expect(clippy::vec_box, reason = "as above")]
    free: Vec<Box<Segment>>,
    /// Segments that came back while others refer to their memory, by their numbers.
    lent: Vec<Option<Box<Segment>>>,
}

impl Segment {
    pub(crate) fn data(&self) -> &[u8] {
        &self.memory()[self.start..self.end]
    }

    /// The bytes, to be changed.
    ///
    /// # Panics
    /// If the memory is shared.
    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        let bytes = self.start..self.end;
        &mut self.own_mut()[bytes]
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Bytes free behind the data: none of another's memory.
    pub(crate) fn tailroom(&self) -> usize {
        if self.reference.is_some() { 0 } else { self.own.len() - self.end }
    }

    pub(crate) fn is_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Makes the segment one that refers to `range` of the bytes of `other`, or of those it refers to.
    pub(crate) fn refer_to(&mut self, other: &Segment, range: Range<usize>) {
        (self.start, self.end) = (other.start + range.start, other.start + range.end);
        let lent = || {
            let memory = Arc::clone(&other.own);
            match other.home.clone() {
                Some(home) => Reference::Lent(memory, home, other.number),
                None => Reference::Copy(memory),
            }
        };
        self.reference = Some(other.reference.clone().unwrap_or_else(lent));
    }

    /// Makes the segment one that refers to memory that stays for ever.
    pub(crate) fn refer_to_static(&mut self, bytes: &'static [u8]) {
        (self.start, self.end) = (0, bytes.len());
        self.reference = Some(Reference::Static(bytes));
    }

    /// Takes over the place, the word of the device and the bytes of `other`; those that are another's
    /// by reference.
    pub(crate) fn copy_from(&mut self, other: &Segment) {
        (self.start, self.end) = (other.start, other.end);
        (self.flags, self.vlan_tci, self.rss_hash) = (other.flags, other.vlan_tci, other.rss_hash);
        self.open_checksum = other.open_checksum;
        match &other.reference {
            Some(reference) => self.reference = Some(reference.clone()),
            None => self.data_mut().copy_from_slice(other.data()),
        }
    }

    /// Inverts bits of the byte at `at`; in a copy of its own if the memory is another's.
    pub(crate) fn invert(&mut self, at: usize, bits: u8) {
        let Some(reference) = &mut self.reference else {
            self.data_mut()[at] ^= bits;
            return;
        };
        let mut copy = reference.memory().to_vec();
        copy[self.start + at] ^= bits;
        std::mem::replace(reference, Reference::Copy(copy.into())).release();
    }

    /// Frees a chain, without recursion.
    pub(crate) fn release(chain: Option<Box<Segment>>) {
        let mut rest = chain;
        while let Some(mut segment) = rest {
            rest = segment.next.take();
            if let Some(reference) = segment.reference.take() {
                reference.release();
            }
            if let Some(home) = segment.home.take() {
                home.lock().take_back(segment);
            }
        }
    }

    fn memory(&self) -> &[u8] {
        self.reference.as_ref().map_or(&self.own, Reference::memory)
    }

    fn own_mut(&mut self) -> &mut [u8] {
        let own = Arc::get_mut(&mut self.own).filter(|_| self.reference.is_none());
        own.expect("shared memory is not changed")
    }
}

impl Reference {
    fn memory(&self) -> &[u8] {
        match self {
            Reference::Lent(memory, ..) | Reference::Copy(memory) => memory,
            Reference::Static(memory) => memory,
        }
    }

    /// Gives the memory up; its segment is free if this was the last reference.
    fn release(self) {
        let Reference::Lent(memory, store, number) = self else { return };
        // Counts go down under the lock alone, so that one release is the last.
        let mut shelves = store.lock();
        drop(memory);
        if let Some(segment) = shelves.lent[number].take() {
            shelves.take_back(segment);
        }
    }
}

impl Store {
    /// A store of `segments` segments that hold `data_room` bytes each, after [`HEADROOM`] more.
    pub(crate) fn new(segments: usize, data_room: usize) -> Store {
        let segment = |number| {
            Box::new(Segment {
                own: vec![POISON; HEADROOM + data_room].into(),
                reference: None,
                start: HEADROOM,
                end: HEADROOM,
                next: None,
                home: None,
                number,
                flags: RxFlags::default(),
                vlan_tci: 0,
                rss_hash: 0,
                open_checksum: None,
            })
        };
        let shelves = Shelves {
            free: (0..segments).map(segment).collect(),
            lent: (0..segments).map(|_| None).collect(),
        };
        Store { shelves: Mutex::new(shelves), segments }
    }

    /// An empty segment.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Box<Segment>> {
        let mut segment = self.lock().free.pop()?;
        segment.start = HEADROOM;
        segment.end = HEADROOM;
        segment.flags = RxFlags::default();
        segment.open_checksum = None;
        segment.home = Some(Arc::clone(self));
        Some(segment)
    }

    /// Segments that can be had now, and in all.
    pub(crate) fn available(&self) -> (usize, usize) {
        (self.lock().free.len(), self.segments)
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // A panic elsewhere (a failed test) cannot leave the lists half changed.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    /// Keeps a segment until nobody refers to its memory any more.
    fn take_back(&mut self, segment: Box<Segment>) {
        if Arc::strong_count(&segment.own) == 1 {
            self.free.push(segment);
        } else {
            let number = segment.number;
            self.lent[number] = Some(segment);
        }
    }
}

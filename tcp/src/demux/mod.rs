//! From a flow to its connection.

mod flow_key;

#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;

use wire::prefetch::prefetch;

use flow_key::FlowHasher;
pub use flow_key::FlowKey;

/// Entries of a bucket: as many as fit into a cache line.
const SLOTS: usize = 10;
/// Entries that a table is sized for, per bucket: half full, one bucket in fifteen pushes any out.
const WORKING_LOAD: usize = 5;
/// The tag of a free slot.
const FREE: u16 = 0;

/// A cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; SLOTS],
    /// How many entries passed this bucket because it was full, and stand in a later one.
    passed: u32,
    ids: [u32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Bucket = Bucket { tags: [FREE; SLOTS], passed: 0, ids: [0; SLOTS] };

    /// The slots with `tag`.
    #[inline]
    fn slots(&self, tag: u16) -> impl Iterator<Item = usize> + use<> {
        let all = self.tags.iter().enumerate();
        let mut mask: u32 = all.fold(0, |mask, (slot, t)| mask | u32::from(*t == tag) << slot);
        std::iter::from_fn(move || {
            let slot = mask.trailing_zeros() as usize;
            mask &= mask.wrapping_sub(1);
            (slot < SLOTS).then_some(slot)
        })
    }
}

/// A table from flows to ids, which index connections or other records. [`FlowTable::BYTES_PER_ENTRY`] an entry.
///
/// It keeps 16 bits of each flow's hash and no keys: the records have them. A lookup is handed `is`,
/// which says whether the record with an id is that of a flow; it is asked in vain once in a few thousand
/// lookups.
///
/// Open addressing over buckets of one cache line each. An entry that finds its bucket full goes to the
/// next with room, and the buckets that it passes count it until it is removed: there are no tombstones,
/// and a search ends at the first bucket that nobody passed. The hash is keyed, so that no sender can
/// aim flows at one bucket.
#[derive(Debug)]
pub struct FlowTable {
    buckets: Box<[Bucket]>,
    hasher: FlowHasher,
    len: usize,
    capacity: usize,
}

/// The table has as many entries as it may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowTableFull;

impl fmt::Display for FlowTableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the flow table is full")
    }
}

impl Error for FlowTableFull {}

/// Where to look for a flow.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The bucket that its hash names.
    home: u32,
    tag: u16,
}

impl FlowTable {
    /// Keys that [`FlowTable::guess`] takes at once.
    pub const BURST: usize = 32;
    /// Bytes that an entry takes when the table is at capacity.
    pub const BYTES_PER_ENTRY: usize = size_of::<Bucket>().div_ceil(WORKING_LOAD);

    /// A table for at most `capacity` entries. Whoever can guess `seed` can slow the table down.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let buckets = capacity.div_ceil(WORKING_LOAD).max(1);
        FlowTable {
            buckets: vec![Bucket::EMPTY; buckets].into(),
            hasher: FlowHasher::new(seed),
            len: 0,
            capacity,
        }
    }

    /// How many entries it has.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id of flow `key`. `is` says whether the record with an id belongs to `key`.
    #[inline]
    pub fn lookup(&self, key: &FlowKey, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let place = self.place(key);
        for bucket in self.path(place) {
            if let Some(slot) = bucket.slots(place.tag).find(|slot| is(bucket.ids[*slot])) {
                return Some(bucket.ids[slot]);
            }
            if bucket.passed == 0 {
                break;
            }
        }
        None
    }

    /// The ids that [`FlowTable::lookup`] will try first for each of these flows, where there are any: put
    /// into `ids`, as far as that has room. The cache misses of all overlap; for one alone nothing is gained,
    /// and nothing found. Neighbours that are the same count once.
    pub fn guess<'a>(
        &self,
        keys: impl Iterator<Item = FlowKey>,
        ids: &'a mut [u32; Self::BURST],
    ) -> &'a [u32] {
        let mut places = [Place::default(); Self::BURST];
        let (mut flows, mut last) = (0, None);
        for key in keys {
            if last.replace(key) == Some(key) {
                continue;
            }
            let Some(place) = places.get_mut(flows) else { break };
            *place = self.place(&key);
            prefetch(&self.buckets[place.home as usize]);
            flows += 1;
        }
        if flows == 1 {
            return &[];
        }
        let mut found = 0;
        for place in &places[..flows] {
            let bucket = &self.buckets[place.home as usize];
            if let Some(slot) = bucket.slots(place.tag).next() {
                ids[found] = bucket.ids[slot];
                found += 1;
            }
        }
        &ids[..found]
    }

    /// Adds the flow `key`, which has no entry yet. No two entries have the same id.
    ///
    /// # Errors
    /// If the table is full.
    pub fn insert(&mut self, key: &FlowKey, id: u32) -> Result<(), FlowTableFull> {
        if self.len == self.capacity {
            return Err(FlowTableFull);
        }
        let Place { home, tag } = self.place(key);
        let mut at = home as usize;
        // Ends: there are more slots than entries.
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(slot) = bucket.slots(FREE).next() {
                (bucket.tags[slot], bucket.ids[slot]) = (tag, id);
                self.len += 1;
                return Ok(());
            }
            bucket.passed += 1;
            at = self.after(at);
        }
    }

    /// Removes the flow `key`, whose id is `id`; gives whether it was there.
    pub fn remove(&mut self, key: &FlowKey, id: u32) -> bool {
        let place = self.place(key);
        let Some((passed, slot)) = self.position(place, id) else { return false };
        let mut at = place.home as usize;
        for _ in 0..passed {
            self.buckets[at].passed -= 1;
            at = self.after(at);
        }
        self.buckets[at].tags[slot] = FREE;
        self.len -= 1;
        true
    }

    /// How many buckets past its home an entry stands, and in which slot there.
    fn position(&self, place: Place, id: u32) -> Option<(usize, usize)> {
        for (passed, bucket) in self.path(place).enumerate() {
            if let Some(slot) = bucket.slots(place.tag).find(|slot| bucket.ids[*slot] == id) {
                return Some((passed, slot));
            }
            if bucket.passed == 0 {
                break;
            }
        }
        None
    }

    #[inline]
    fn place(&self, key: &FlowKey) -> Place {
        let hash = self.hasher.hash(key);
        // The high half picks the bucket, scaled to their number; the low bits are independent of it.
        let home = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        Place { home: home as u32, tag: (hash as u16).max(FREE + 1) }
    }

    /// All buckets, from the home on.
    #[inline]
    fn path(&self, place: Place) -> impl Iterator<Item = &Bucket> {
        let (before, from) = self.buckets.split_at(place.home as usize);
        from.iter().chain(before)
    }

    /// The bucket behind `bucket`.
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }
}

//! The reader's side: the two levels and the lookups.

use std::ops::Deref;
use std::sync::atomic::AtomicU32;

use zerocopy::FromZeros;

use super::layout::{ADJACENCY_MASK, GROUP_LEN, LEVEL1_LEN, MAX_GROUPS, group_of};
use super::{AdjacencyId, FibError, READ};

/// Memory for a level, from wherever it comes: huge pages, or the heap ([`zeroed`]).
pub type Storage = Box<dyn Deref<Target = [AtomicU32]> + Send + Sync>;

/// `len` zero entries on the heap. The operating system gives pages when they are first touched.
///
/// # Errors
/// When the machine has no such memory.
pub fn zeroed(len: usize) -> Result<Storage, FibError> {
    match <[AtomicU32]>::new_box_zeroed_with_elems(len) {
        Ok(memory) => Ok(Box::new(memory)),
        Err(_) => Err(FibError::BadStorage("there is not enough memory for the route table")),
    }
}

/// The table that workers read. Shared by `Arc`; written by [`super::FibWriter`] alone.
pub struct Fib {
    level1: Storage,
    level2: Storage,
}

impl Fib {
    /// A table in the memory given, which must be zero and have room for level 1 and whole groups.
    pub(super) fn new(level1: Storage, level2: Storage) -> Result<Self, FibError> {
        if level1.len() != LEVEL1_LEN {
            return Err(FibError::BadStorage("level 1 of the route table has 2^24 entries"));
        }
        if !level2.len().is_multiple_of(GROUP_LEN) || level2.len() / GROUP_LEN > MAX_GROUPS {
            return Err(FibError::BadStorage(
                "level 2 of the route table is at most 2^24 groups of 256 entries",
            ));
        }
        Ok(Fib { level1, level2 })
    }

    /// Both levels, to be fetched once per burst.
    #[inline]
    pub fn view(&self) -> FibView<'_> {
        let level1 = (**self.level1).try_into().expect("the length was checked when the table was made");
        FibView { level1, level2: &self.level2 }
    }

    /// Level 1, laid out as [`super::layout`] says.
    #[inline]
    pub fn level1(&self) -> &[AtomicU32; LEVEL1_LEN] {
        self.view().level1
    }

    /// Level 2: groups of [`GROUP_LEN`] entries, one after the other.
    #[inline]
    pub fn level2(&self) -> &[AtomicU32] {
        &self.level2
    }

    /// Where the longest match of `addr` (host order) leads. For more than one, [`Fib::lookup_bulk`] is faster.
    #[inline]
    pub fn lookup(&self, addr: u32) -> AdjacencyId {
        self.view().lookup(addr)
    }

    /// Looks up a burst of addresses (host order); `out[i]` answers `addrs[i]`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn lookup_bulk(&self, addrs: &[u32], out: &mut [AdjacencyId]) {
        self.view().lookup_bulk(addrs, out);
    }
}

/// Both levels of a [`Fib`], borrowed.
#[derive(Clone, Copy)]
pub struct FibView<'a> {
    /// Indexed by `address >> 8`.
    pub level1: &'a [AtomicU32; LEVEL1_LEN],
    /// Groups of [`GROUP_LEN`] entries, indexed by `address & 0xff`.
    pub level2: &'a [AtomicU32],
}

impl<'a> FibView<'a> {
    /// Where the longest match of `addr` (host order) leads.
    #[inline]
    pub fn lookup(self, addr: u32) -> AdjacencyId {
        AdjacencyId(self.leaf(addr) & ADJACENCY_MASK)
    }

    /// Looks up a burst of addresses (host order); `out[i]` answers `addrs[i]`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn lookup_bulk(self, addrs: &[u32], out: &mut [AdjacencyId]) {
        const WIDTH: usize = 8;
        assert_eq!(addrs.len(), out.len(), "one answer per address");
        let (addr_blocks, addr_rest) = addrs.as_chunks::<WIDTH>();
        let (out_blocks, out_rest) = out.as_chunks_mut::<WIDTH>();
        for (addrs, out) in addr_blocks.iter().zip(out_blocks) {
            // All first loads before the first answer is used, so that their cache misses overlap.
            let entries = addrs.map(|addr| self.first(addr));
            let union = entries.iter().fold(0, |all, entry| all | entry);
            let leaves = match group_of(union) {
                None => entries,
                Some(_) => std::array::from_fn(|i| self.resolve(entries[i], addrs[i])),
            };
            *out = leaves.map(|leaf| AdjacencyId(leaf & ADJACENCY_MASK));
        }
        for (&addr, out) in addr_rest.iter().zip(out_rest) {
            *out = self.lookup(addr);
        }
    }

    /// The leaf that answers `addr`.
    #[inline]
    pub(super) fn leaf(self, addr: u32) -> u32 {
        self.resolve(self.first(addr), addr)
    }

    #[inline]
    fn first(self, addr: u32) -> u32 {
        self.level1[(addr >> 8) as usize].load(READ)
    }

    #[inline]
    fn resolve(self, entry: u32, addr: u32) -> u32 {
        match group_of(entry) {
            None => entry,
            Some(group) => self.in_group(group, addr as u8),
        }
    }

    /// The leaf that answers the address that ends in `low`, in the /24 network that has this group.
    #[inline]
    pub(crate) fn in_group(self, group: u32, low: u8) -> u32 {
        self.group(group)[usize::from(low)].load(READ)
    }

    /// The entries of one group.
    #[inline]
    pub(super) fn group(self, group: u32) -> &'a [AtomicU32; GROUP_LEN] {
        &self.level2.as_chunks().0[group as usize]
    }
}

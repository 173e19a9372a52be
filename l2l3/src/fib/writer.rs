//! The writer's side: routes in, routes out, and the stores that make them seen.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use wire::Ipv4Prefix;

use super::layout::{ADJACENCY_MASK, DEPTH_SHIFT, GROUP_LEN, LEVEL1_LEN, extended, group_of, leaf};
use super::rib::Rib;
use super::table::{Fib, FibView, Storage, zeroed};
use super::{AdjacencyId, FibError, Limbo, PUBLISH};

/// What a table is made for. It never grows past it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FibLimits {
    /// Routes of any length.
    pub routes: usize,
    /// /24 networks that hold routes longer than /24, at most 2^24. 1 KiB each.
    pub groups: usize,
}

/// How full a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FibUsage {
    /// Routes in it.
    pub routes: usize,
    /// /24 networks that hold longer routes.
    pub groups: usize,
    /// Groups that wait for the workers to pass.
    pub in_limbo: usize,
    /// What it was made for.
    pub limits: FibLimits,
}

/// The one writer of a [`Fib`], and the owner of its routes.
pub struct FibWriter {
    fib: Arc<Fib>,
    rib: Rib,
    routes: usize,
    limits: FibLimits,
    free: Vec<u32>,
    /// Groups from here on were never used.
    fresh: u32,
    limbo: Limbo<u32>,
    epoch: u64,
}

impl FibWriter {
    /// An empty table on the heap.
    ///
    /// # Errors
    /// [`FibError::BadStorage`] when there is no memory, or `limits.groups` is too large.
    pub fn new(limits: FibLimits) -> Result<Self, FibError> {
        Self::with_storage(limits.routes, zeroed(LEVEL1_LEN)?, zeroed(limits.groups * GROUP_LEN)?)
    }

    /// An empty table of at most `routes` routes in memory that is all zero and that nobody else writes:
    /// 2^24 entries of `level1`, and 256 entries of `level2` for each group.
    ///
    /// # Errors
    /// [`FibError::BadStorage`] when a length does not fit.
    pub fn with_storage(routes: usize, level1: Storage, level2: Storage) -> Result<Self, FibError> {
        let limits = FibLimits { routes, groups: level2.len() / GROUP_LEN };
        Ok(FibWriter {
            fib: Arc::new(Fib::new(level1, level2)?),
            rib: Rib::new(),
            routes: 0,
            limits,
            free: Vec::new(),
            fresh: 0,
            limbo: Limbo::new(),
            epoch: 0,
        })
    }

    /// The table, for a worker.
    pub fn fib(&self) -> Arc<Fib> {
        Arc::clone(&self.fib)
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.routes == 0
    }

    /// How full the table is.
    pub fn usage(&self) -> FibUsage {
        let used = self.fresh as usize - self.free.len() - self.limbo.len();
        FibUsage { routes: self.routes, groups: used, in_limbo: self.limbo.len(), limits: self.limits }
    }

    /// Adds a route, or leads it elsewhere. Gives where it led before.
    ///
    /// # Errors
    /// [`FibError::RoutesFull`], [`FibError::GroupsFull`] or [`FibError::BadAdjacency`]; nothing is changed then.
    pub fn insert(&mut self, prefix: Ipv4Prefix, to: AdjacencyId) -> Result<Option<AdjacencyId>, FibError> {
        if to.is_none() || to > AdjacencyId::MAX {
            return Err(FibError::BadAdjacency(to));
        }
        if self.routes >= self.limits.routes && self.get(prefix).is_none() {
            return Err(FibError::RoutesFull { limit: self.limits.routes });
        }
        let old = if prefix.len() <= 24 {
            let old = self.rib.insert(prefix, 0, to.0);
            paint_level1(self.fib.view(), prefix, leaf(prefix.len(), to.0));
            old
        } else {
            self.insert_long(prefix, to.0)?
        };
        self.routes += usize::from(old.is_none());
        Ok(old.map(AdjacencyId))
    }

    /// Adds a route longer than /24, giving its /24 network a group if it has none.
    fn insert_long(&mut self, prefix: Ipv4Prefix, to: u32) -> Result<Option<u32>, FibError> {
        let slot = level1_slot(prefix);
        let entry = self.fib.view().level1[slot].load(Relaxed);
        let group = match group_of(entry) {
            Some(group) => group,
            None => self.take_group()?,
        };
        let view = self.fib.view();
        if group_of(entry).is_none() {
            self.rib.open_group(group, prefix.bits() & !0xff);
            // Nobody reads the group yet: the store into level 1 below releases all of it.
            view.group(group).iter().for_each(|cell| cell.store(entry, Relaxed));
        }
        let old = self.rib.insert(prefix, group, to);
        paint(group_range(view, group, prefix), leaf(prefix.len(), to), prefix.len());
        if group_of(entry).is_none() {
            view.level1[slot].store(extended(group), PUBLISH);
        }
        Ok(old)
    }

    fn take_group(&mut self) -> Result<u32, FibError> {
        if let Some(group) = self.free.pop() {
            return Ok(group);
        }
        if self.fresh as usize == self.limits.groups {
            return Err(FibError::GroupsFull { limit: self.limits.groups, in_limbo: self.limbo.len() });
        }
        self.fresh += 1;
        Ok(self.fresh - 1)
    }

    /// Takes a route out; its addresses go to the route around it. Gives where it led, if it was there.
    pub fn remove(&mut self, prefix: Ipv4Prefix) -> Option<AdjacencyId> {
        let old = if prefix.len() <= 24 {
            let old = self.rib.remove(prefix, 0)?;
            paint_level1(self.fib.view(), prefix, self.rib.around(prefix, 0));
            old
        } else {
            self.remove_long(prefix)?
        };
        self.routes -= 1;
        Some(AdjacencyId(old))
    }

    /// Takes out a route longer than /24, and retires the group of its /24 network with the last of them.
    fn remove_long(&mut self, prefix: Ipv4Prefix) -> Option<u32> {
        let view = self.fib.view();
        let slot = level1_slot(prefix);
        let group = group_of(view.level1[slot].load(Relaxed))?;
        let old = self.rib.remove(prefix, group)?;
        let around = self.rib.around(prefix, group);
        if self.rib.is_group_empty(group) {
            view.level1[slot].store(around, PUBLISH);
            self.limbo.retire(group, self.epoch);
        } else {
            paint(group_range(view, group, prefix), around, prefix.len());
        }
        Some(old)
    }

    /// Where exactly this route leads, if it is there.
    pub fn get(&self, prefix: Ipv4Prefix) -> Option<AdjacencyId> {
        let group = match prefix.len() {
            0..=24 => 0,
            _ => group_of(self.fib.view().level1[level1_slot(prefix)].load(Relaxed))?,
        };
        self.rib.get(prefix, group).map(AdjacencyId)
    }

    /// The longest route that holds `addr`, and where it leads.
    pub fn covering(&self, addr: Ipv4Addr) -> Option<(Ipv4Prefix, AdjacencyId)> {
        let leaf = self.fib.view().leaf(addr.to_bits());
        let to = AdjacencyId(leaf & ADJACENCY_MASK);
        (!to.is_none()).then(|| (Ipv4Prefix::new(addr, (leaf >> DEPTH_SHIFT) as u8), to))
    }

    /// All routes, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = (Ipv4Prefix, AdjacencyId)> + '_ {
        self.rib
            .iter()
            .map(|(addr, len, to)| (Ipv4Prefix::new(Ipv4Addr::from_bits(addr), len), AdjacencyId(to)))
    }

    /// Inserts many routes, in order of their addresses, which is several times faster than any other order.
    /// Of routes for the same prefix the last stays. Gives how many it was given.
    ///
    /// # Errors
    /// As [`FibWriter::insert`]. The routes before the refused one, in order of addresses, are in the table.
    pub fn load(
        &mut self,
        routes: impl IntoIterator<Item = (Ipv4Prefix, AdjacencyId)>,
    ) -> Result<usize, FibError> {
        let mut routes: Vec<_> = routes.into_iter().collect();
        routes.sort_by_key(|(prefix, _)| *prefix);
        for &(prefix, to) in &routes {
            self.insert(prefix, to)?;
        }
        Ok(routes.len())
    }

    /// Tells the epoch of now: what is retired from here on carries it. It never goes back.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Frees the groups retired before `safe_epoch`, the least epoch that any worker has published
    /// (`u64::MAX` with no worker). Gives how many.
    pub fn reclaim(&mut self, safe_epoch: u64) -> usize {
        let before = self.free.len();
        while let Some(group) = self.limbo.reclaim(safe_epoch) {
            self.free.push(group);
        }
        self.free.len() - before
    }
}

/// The entry of level 1 that holds a prefix of length 24 or more, and the first of a shorter one's.
fn level1_slot(prefix: Ipv4Prefix) -> usize {
    (prefix.bits() >> 8) as usize
}

/// The entries of a group that a prefix longer than /24 spans.
fn group_range(view: FibView<'_>, group: u32, prefix: Ipv4Prefix) -> &[AtomicU32] {
    let first = (prefix.bits() & 0xff) as usize;
    &view.group(group)[first..first + (1 << (32 - prefix.len()))]
}

/// Gives the addresses of `prefix` (of length 24 or less) the leaf `to`, save those with a longer match.
fn paint_level1(view: FibView<'_>, prefix: Ipv4Prefix, to: u32) {
    let first = level1_slot(prefix);
    for cell in &view.level1[first..first + (1 << (24 - prefix.len()))] {
        let entry = cell.load(Relaxed);
        if entry >> DEPTH_SHIFT <= u32::from(prefix.len()) {
            cell.store(to, PUBLISH);
        } else if let Some(group) = group_of(entry) {
            paint(view.group(group), to, prefix.len());
        }
    }
}

/// Gives `cells` the leaf `to`, save those whose match is longer than `len`.
///
/// `to` may be the changed route of length `len`, or, after that route was taken out, the one around
/// it: the cells with a depth of `len` were the removed route's, and none here has less.
fn paint(cells: &[AtomicU32], to: u32, len: u8) {
    for cell in cells {
        if cell.load(Relaxed) >> DEPTH_SHIFT <= u32::from(len) {
            cell.store(to, PUBLISH);
        }
    }
}

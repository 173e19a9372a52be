//! The bits of a table entry, for those who read the tables themselves (the vector lookup).
//!
//! ```text
//!          31  30  29..24  23..20  19..0
//! leaf      0   0   depth       0  adjacency    the longest match, and its prefix length
//! extended  1   0   0    | group (23..0)        level 1 only: the answer is in this group of level 2
//! ```
//!
//! An entry of all zeros is a leaf that says "no route".

/// Entries of level 1, indexed by `address >> 8` (host order).
pub const LEVEL1_LEN: usize = 1 << 24;
/// Entries of one group of level 2, indexed by `address & 0xff`; group `g` starts at `g * GROUP_LEN`.
pub const GROUP_LEN: usize = 256;
/// Groups that an extended entry can name.
pub const MAX_GROUPS: usize = 1 << 24;
/// Set in an extended entry.
pub const EXTENDED: u32 = 1 << 31;
/// The group of an extended entry.
pub const GROUP_MASK: u32 = (1 << 24) - 1;
/// The adjacency of a leaf.
pub const ADJACENCY_MASK: u32 = (1 << 20) - 1;
/// Where a leaf's depth begins: `entry >> DEPTH_SHIFT` is 0 to 32 in a leaf and above in an extended entry.
pub const DEPTH_SHIFT: u32 = 24;

/// A leaf: the route of length `depth` leads to `adjacency`.
#[inline]
pub(super) const fn leaf(depth: u8, adjacency: u32) -> u32 {
    (depth as u32) << DEPTH_SHIFT | adjacency
}

/// A level-1 entry that sends the reader on to `group`.
#[inline]
pub(super) const fn extended(group: u32) -> u32 {
    EXTENDED | group
}

/// The group of `entry`, if it is extended.
#[inline]
pub(crate) const fn group_of(entry: u32) -> Option<u32> {
    if entry & EXTENDED != 0 { Some(entry & GROUP_MASK) } else { None }
}

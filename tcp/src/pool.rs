//! Singly linked lists whose nodes come from one bounded pool a shard: an idle connection owns none,
//! and nothing is allocated once the pool has grown to its bound.

/// A node's place in its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeId(u32);

const NONE: u32 = u32::MAX;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Node<T> {
    /// `None` while the node is free.
    value: Option<T>,
    next: u32,
}

/// Nodes for any number of [`List`]s.
///
/// Memory for all nodes is reserved at the start and touched when first used.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Pool<T> {
    nodes: Vec<Node<T>>,
    free: u32,
    used: usize,
    limit: usize,
}

/// One list: 12 bytes. Belongs to the pool that it was first filled from; a list must be emptied before
/// it is dropped, or its nodes are lost to the pool.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for List {
    fn default() -> Self {
        List { head: NONE, tail: NONE, len: 0 }
    }
}

impl List {
    /// How many nodes it has.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its first node.
    pub const fn first(&self) -> Option<NodeId> {
        if self.head == NONE { None } else { Some(NodeId(self.head)) }
    }

    /// Its last node.
    pub const fn last(&self) -> Option<NodeId> {
        if self.tail == NONE { None } else { Some(NodeId(self.tail)) }
    }
}

impl<T> Pool<T> {
    /// A pool of at most `limit` nodes.
    ///
    /// # Panics
    /// If `limit` is 2^32 - 1 or more.
    pub fn new(limit: usize) -> Self {
        assert!(limit < NONE as usize, "a pool has fewer than 2^32 - 1 nodes");
        Pool { nodes: Vec::with_capacity(limit), free: NONE, used: 0, limit }
    }

    /// Nodes in use.
    pub const fn used(&self) -> usize {
        self.used
    }

    /// Nodes that can still be had.
    pub const fn room(&self) -> usize {
        self.limit - self.used
    }

    /// Whether a list of `len` nodes may have one more. Past a few it may only while half of the pool is free:
    /// those that hold much and let nothing go must not keep the others from holding something.
    #[inline]
    pub const fn has_share(&self, len: usize) -> bool {
        self.room() > if len < Self::FEW { 0 } else { self.limit / 2 }
    }

    /// Nodes that a list has as long as there are any.
    const FEW: usize = 32;

    /// The value at `id`.
    ///
    /// # Panics
    /// If the node is not in use.
    #[inline]
    pub fn get(&self, id: NodeId) -> &T {
        self.nodes[id.0 as usize].value.as_ref().expect("a node that is in a list")
    }

    /// The value at `id`, to be changed.
    ///
    /// # Panics
    /// If the node is not in use.
    #[inline]
    pub fn get_mut(&mut self, id: NodeId) -> &mut T {
        self.nodes[id.0 as usize].value.as_mut().expect("a node that is in a list")
    }

    /// The node behind `id` in its list.
    #[inline]
    pub fn next(&self, id: NodeId) -> Option<NodeId> {
        let next = self.nodes[id.0 as usize].next;
        if next == NONE { None } else { Some(NodeId(next)) }
    }

    /// The first value of `list`.
    pub fn front(&self, list: &List) -> Option<&T> {
        list.first().map(|id| self.get(id))
    }

    /// The last value of `list`.
    pub fn back(&self, list: &List) -> Option<&T> {
        list.last().map(|id| self.get(id))
    }

    /// The values of `list` with their nodes, first to last.
    pub fn iter(&self, list: &List) -> impl Iterator<Item = (NodeId, &T)> {
        std::iter::successors(list.first(), |id| self.next(*id)).map(|id| (id, self.get(id)))
    }

    /// Puts `value` at the end of `list`.
    ///
    /// # Errors
    /// Gives it back if the pool is at its limit.
    pub fn push_back(&mut self, list: &mut List, value: T) -> Result<NodeId, T> {
        let last = list.last();
        self.insert_after(list, last, value)
    }

    /// Puts `value` into `list` behind `at`, or at its front.
    ///
    /// # Errors
    /// Gives it back if the pool is at its limit.
    pub fn insert_after(&mut self, list: &mut List, at: Option<NodeId>, value: T) -> Result<NodeId, T> {
        let next = at.map_or(list.head, |at| self.nodes[at.0 as usize].next);
        let id = self.take_node(value, next)?;
        match at {
            Some(at) => self.nodes[at.0 as usize].next = id,
            None => list.head = id,
        }
        if next == NONE {
            list.tail = id;
        }
        list.len += 1;
        Ok(NodeId(id))
    }

    /// Takes the first value off `list`.
    pub fn pop_front(&mut self, list: &mut List) -> Option<T> {
        self.remove_after(list, None)
    }

    /// Takes the value behind `at`, or the first one, off `list`.
    pub fn remove_after(&mut self, list: &mut List, at: Option<NodeId>) -> Option<T> {
        let id = at.map_or(list.head, |at| self.nodes[at.0 as usize].next);
        if id == NONE {
            return None;
        }
        let node = &mut self.nodes[id as usize];
        let value = node.value.take();
        let next = std::mem::replace(&mut node.next, self.free);
        self.free = id;
        self.used -= 1;
        match at {
            Some(at) => self.nodes[at.0 as usize].next = next,
            None => list.head = next,
        }
        if next == NONE {
            list.tail = at.map_or(NONE, |at| at.0);
        }
        list.len -= 1;
        value
    }

    /// Drops all values of `list`.
    pub fn clear(&mut self, list: &mut List) {
        while self.pop_front(list).is_some() {}
    }

    fn take_node(&mut self, value: T, next: u32) -> Result<u32, T> {
        if self.used == self.limit {
            return Err(value);
        }
        self.used += 1;
        let value = Some(value);
        if self.free == NONE {
            self.nodes.push(Node { value, next });
            return Ok(self.nodes.len() as u32 - 1);
        }
        let id = self.free;
        let node = &mut self.nodes[id as usize];
        self.free = std::mem::replace(&mut node.next, next);
        node.value = value;
        Ok(id)
    }
}

/// Values with a place of their own, which they keep until they are removed. Bounded.
///
/// Memory for all is reserved at the start and touched when first used.
#[derive(Debug)]
pub struct Slab<T> {
    pool: Pool<T>,
}

impl<T> Slab<T> {
    /// A slab of at most `limit` values.
    ///
    /// # Panics
    /// If `limit` is 2^32 - 1 or more.
    pub fn new(limit: usize) -> Self {
        Slab { pool: Pool::new(limit) }
    }

    /// How many values it has.
    pub const fn len(&self) -> usize {
        self.pool.used
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes `value` in; gives its place.
    ///
    /// # Errors
    /// Gives it back if the slab is at its limit.
    pub fn insert(&mut self, value: T) -> Result<u32, T> {
        self.pool.take_node(value, NONE)
    }

    /// The value at a place, if there is one.
    #[inline]
    pub fn get(&self, place: u32) -> Option<&T> {
        self.pool.nodes.get(place as usize)?.value.as_ref()
    }

    /// The value at a place, if there is one, to be changed.
    #[inline]
    pub fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.pool.nodes.get_mut(place as usize)?.value.as_mut()
    }

    /// Takes the value at a place out.
    pub fn remove(&mut self, place: u32) -> Option<T> {
        let node = self.pool.nodes.get_mut(place as usize)?;
        let value = node.value.take()?;
        node.next = std::mem::replace(&mut self.pool.free, place);
        self.pool.used -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn values(pool: &Pool<u32>, list: &List) -> Vec<u32> {
        pool.iter(list).map(|(_, value)| *value).collect()
    }

    #[test]
    fn the_limit_holds_and_nodes_come_back() {
        let mut pool = Pool::new(2);
        let (mut a, mut b) = (List::default(), List::default());
        pool.push_back(&mut a, 1).unwrap();
        pool.push_back(&mut b, 2).unwrap();
        assert_eq!(pool.push_back(&mut a, 3), Err(3));
        assert_eq!((pool.used(), pool.room()), (2, 0));
        assert_eq!(pool.pop_front(&mut b), Some(2));
        assert_eq!(pool.pop_front(&mut b), None);
        pool.push_back(&mut a, 3).unwrap();
        assert_eq!(values(&pool, &a), [1, 3]);
        pool.clear(&mut a);
        assert_eq!((pool.used(), a.is_empty(), a.first(), a.last()), (0, true, None, None));
    }

    #[test]
    fn half_of_the_pool_is_for_short_lists() {
        let mut pool = Pool::new(100);
        let mut lists = [(); 4].map(|()| List::default());
        for list in &mut lists {
            while pool.has_share(list.len()) {
                pool.push_back(list, 0).unwrap();
            }
        }
        assert_eq!(lists.map(|list| list.len()), [50, 32, 18, 0]);
    }

    #[test]
    fn a_slab_keeps_places() {
        let mut slab = Slab::new(2);
        assert_eq!((slab.insert('a'), slab.insert('b'), slab.insert('c')), (Ok(0), Ok(1), Err('c')));
        assert_eq!((slab.remove(0), slab.remove(0), slab.remove(7)), (Some('a'), None, None));
        assert_eq!((slab.len(), slab.get(0), slab.get(1)), (1, None, Some(&'b')));
        assert_eq!(slab.get_mut(1), Some(&mut 'b'));
        assert_eq!((slab.insert('d'), slab.get(0), slab.get(9)), (Ok(0), Some(&'d'), None));
    }

    proptest! {
        /// Any run of operations on two lists gives what two deques give.
        #[test]
        fn behaves_as_deques(steps in proptest::collection::vec((0..5u8, any::<bool>(), 0..8usize), 0..200)) {
            let mut pool = Pool::new(24);
            let mut lists = [List::default(), List::default()];
            let mut twins = [VecDeque::new(), VecDeque::new()];
            for (value, (what, second, place)) in steps.into_iter().enumerate() {
                let value = value as u32;
                let (list, twin) = (&mut lists[usize::from(second)], &mut twins[usize::from(second)]);
                let at = pool.iter(list).map(|(id, _)| id).nth(place);
                let index = at.map_or(0, |_| place + 1);
                match what {
                    0 | 1 => match pool.push_back(list, value) {
                        Ok(_) => twin.push_back(value),
                        Err(_) => prop_assert_eq!(pool.room(), 0),
                    },
                    2 => match pool.insert_after(list, at, value) {
                        Ok(_) => twin.insert(index, value),
                        Err(_) => prop_assert_eq!(pool.room(), 0),
                    },
                    3 => prop_assert_eq!(pool.remove_after(list, at), twin.remove(index)),
                    _ => prop_assert_eq!(pool.pop_front(list), twin.pop_front()),
                }
                prop_assert_eq!(pool.back(list), twin.back());
                prop_assert_eq!(pool.front(list), twin.front());
                for (list, twin) in lists.iter().zip(&twins) {
                    prop_assert_eq!(list.len(), twin.len());
                    prop_assert!(pool.iter(list).map(|(_, value)| value).eq(twin));
                }
                prop_assert_eq!(pool.used(), twins[0].len() + twins[1].len());
            }
        }
    }
}

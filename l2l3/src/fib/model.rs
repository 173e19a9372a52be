//! How the table is published, as a model that `loom` runs in every order that the memory model allows: two /24
//! networks that want the one group in turn, their writer, and a worker that looks addresses up in bursts.
//!
//! The writer's steps are those of [`FibWriter`](super::FibWriter), with its [`Limbo`], entries and memory orders. The
//! worker's are those of the engine's loop: between two bursts it takes the commands that were sent and says that
//! they are done, and what the writer retired is free when the command sent after that is done.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::layout::{extended, group_of, leaf};
use super::{Limbo, PUBLISH, READ};

/// What the two networks answer outside their longer route, and inside.
const SHORT: [u32; 2] = [leaf(24, 1), leaf(24, 2)];
const LONG: [u32; 2] = [leaf(25, 3), leaf(25, 4)];

/// Addresses of one network: one outside the longer route, one inside.
const OUTSIDE: usize = 0;
const INSIDE: usize = 1;

struct Shared {
    level1: [AtomicU32; 2],
    /// All of level 2: one group of two addresses.
    group: [AtomicU32; 2],
    /// Commands sent to the worker, and done by it.
    sent: AtomicU64,
    done: AtomicU64,
}

/// The protocol, or one that is wrong in one respect.
#[derive(Clone, Copy)]
struct Protocol {
    publish: Ordering,
    /// Whether a group is filled before it can be found.
    filled_first: bool,
    /// Whether a group waits for the worker before it is used again.
    waits: bool,
}

const RIGHT: Protocol = Protocol { publish: PUBLISH, filled_first: true, waits: true };

impl Protocol {
    /// A route longer than /24 comes: `FibWriter::insert_long`.
    fn insert(self, shared: &Shared, network: usize) {
        let publish = || shared.level1[network].store(extended(0), self.publish);
        if !self.filled_first {
            publish();
        }
        shared.group.iter().for_each(|cell| cell.store(SHORT[network], Ordering::Relaxed));
        shared.group[INSIDE].store(LONG[network], self.publish);
        if self.filled_first {
            publish();
        }
    }

    /// It goes, and a command is sent: `FibWriter::remove_long`, `Control::once_done`.
    fn remove(self, shared: &Shared, network: usize, limbo: &mut Limbo<u32>) {
        shared.level1[network].store(SHORT[network], self.publish);
        limbo.retire(0, 0);
        shared.sent.store(1, Ordering::Release);
    }

    /// Gives whether the group was used again.
    fn write(self, shared: &Shared) -> bool {
        let mut limbo = Limbo::new();
        self.insert(shared, 0);
        self.remove(shared, 0, &mut limbo);
        let passed = shared.done.load(Ordering::Acquire) >= 1;
        let safe_epoch = u64::from(passed || !self.waits);
        let free = limbo.reclaim(safe_epoch).is_some();
        if free {
            self.insert(shared, 1);
        }
        free
    }
}

fn lookup(shared: &Shared, network: usize, address: usize) -> u32 {
    let entry = shared.level1[network].load(READ);
    match group_of(entry) {
        None => entry,
        Some(_) => shared.group[address].load(READ),
    }
}

/// Bursts with a look at the commands before each.
fn work(shared: &Shared, bursts: usize) {
    for _ in 0..bursts {
        let sent = shared.sent.load(Ordering::Acquire);
        shared.done.store(sent, Ordering::Release);
        for network in 0..2 {
            let found = lookup(shared, network, INSIDE);
            assert!(found == SHORT[network] || found == LONG[network], "inside {network}: {found:#x}");
            assert_eq!(lookup(shared, network, OUTSIDE), SHORT[network], "outside {network}");
        }
    }
}

/// Gives in how many orders the group was used again.
fn check(protocol: Protocol) -> usize {
    let reused = Arc::new(AtomicUsize::new(0));
    let count = reused.clone();
    loom::model(move || {
        let shared = Arc::new(Shared {
            level1: SHORT.map(AtomicU32::new),
            group: [0, 0].map(AtomicU32::new),
            sent: AtomicU64::new(0),
            done: AtomicU64::new(0),
        });
        let worker = thread::spawn({
            let shared = shared.clone();
            move || work(&shared, 2)
        });
        let again = protocol.write(&shared);
        count.fetch_add(usize::from(again), Ordering::Relaxed);
        drop(worker.join());
    });
    reused.load(Ordering::Relaxed)
}

#[test]
fn a_reader_sees_the_old_or_the_new_route_in_every_order() {
    assert!(check(RIGHT) > 100);
}

#[test]
#[should_panic(expected = "side 0")]
fn a_group_that_is_found_before_it_is_filled_is_seen() {
    check(Protocol { filled_first: false, ..RIGHT });
}

#[test]
#[should_panic(expected = "side 0")]
fn a_group_that_is_published_without_release_is_seen_half_made() {
    check(Protocol { publish: Ordering::Relaxed, ..RIGHT });
}

#[test]
#[should_panic(expected = "side 0")]
fn a_group_that_is_used_again_at_once_is_seen() {
    check(Protocol { waits: false, ..RIGHT });
}

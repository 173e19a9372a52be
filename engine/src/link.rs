//! The rings between the control thread and a worker, and between workers. Bounded, one producer and
//! one consumer each; nothing else mutable is shared.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use l2l3::adjacency::{Adjacency, GroupId};
use l2l3::fib::AdjacencyId;
use l2l3::group::NextHopGroup;
use l2l3::interface::{IfaceId, PortId};
use l2l3::neighbour::{Key, RequestTo};
use l2l3::router::Event;
use rtrb::{Consumer, Producer, RingBuffer};
use tcp::connection::info::Info;
use tcp::shard::Listening;
use tcp::trace::Event as Traced;
use tokio::sync::Notify;
use wire::Instant;

use crate::device::Device;

/// Commands that may wait for one worker.
const COMMANDS: usize = 1024;
/// Events of one worker that may wait for the control thread.
const EVENTS: usize = 1024;

/// What the control thread tells a worker. Carried out between bursts, in order.
#[derive(Debug)]
pub enum Command {
    /// Put an adjacency into the table.
    SetAdjacency(AdjacencyId, Adjacency),
    /// Put a next-hop group into the table.
    SetGroup(GroupId, Option<Box<NextHopGroup>>),
    /// A neighbour answered: send what waits for it, by this adjacency.
    Release(Key, AdjacencyId),
    /// A neighbour did not answer: drop what waits for it.
    Fail(Key),
    /// Send an ARP request.
    ArpRequest(Key, RequestTo),
    /// Announce an address of ours.
    ArpAnnounce(IfaceId, Ipv4Addr),
    /// Give all queues of this port back.
    GiveBack(PortId),
    /// Take the queues that the control thread has handed over.
    TakeOver,
    /// Note down what TCP has, in this.
    Look(Box<Look>),
    /// The process is to stop: listen no more, and have the programs finish.
    Stop,
    /// Reset what is still open.
    ResetAll,
    /// Nothing; its being carried out shows that the worker has passed between two bursts.
    Pass,
}

/// What a worker tells the control thread.
#[derive(Debug)]
pub enum Up {
    /// News of the network.
    Event(Event),
    /// A group that is no longer used, to be freed.
    Retired(Box<NextHopGroup>),
    /// What was to be noted down.
    Look(Box<Look>),
}

/// What an operator wants to see of a worker's TCP. Made by the control thread with the room it needs, and
/// filled in by the worker, a few at a time.
#[derive(Debug)]
pub struct Look {
    /// Which question it answers.
    pub(crate) question: u64,
    /// The slot to go on with; `None`: that was all.
    pub(crate) from: Option<u32>,
    pub(crate) connections: Vec<Info>,
    pub(crate) listeners: Vec<Listening>,
    /// If it is about one connection: our end and the peer's.
    pub(crate) of: Option<(SocketAddrV4, SocketAddrV4)>,
    /// The last events of that one, newest first, as seen at `at`.
    pub(crate) events: Vec<Traced>,
    pub(crate) at: Instant,
}

/// Wakes the control thread, once however many workers have news.
#[derive(Default)]
pub struct Wake {
    pending: AtomicBool,
    notify: Notify,
}

impl Wake {
    /// There is news. A system call only if the control thread has seen all earlier news.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Waits for news.
    pub async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Call before looking for news: what comes after wakes again.
    pub fn clear(&self) {
        // Reads too, so that what was there before the last `wake` is seen by the look that follows. After
        // a mere store, the look might come first, and the news between the two be missed by both sides.
        self.pending.swap(false, Ordering::AcqRel);
    }
}

/// The worker's end.
pub struct WorkerEnd {
    pub(crate) commands: Consumer<Command>,
    pub(crate) events: Producer<Up>,
    pub(crate) wake: Arc<Wake>,
    /// How many commands were carried out so far.
    pub(crate) done: Arc<CachePadded<AtomicU64>>,
}

/// The control thread's end.
pub struct ControlEnd {
    pub(crate) events: Consumer<Up>,
    commands: Producer<Command>,
    /// Commands that the ring had no room for.
    backlog: VecDeque<Command>,
    done: Arc<CachePadded<AtomicU64>>,
    sent: u64,
}

impl ControlEnd {
    /// Sends a command, after all that were sent before. Where the ring is full, it waits here.
    pub fn send(&mut self, command: Command) {
        self.backlog.push_back(command);
        self.sent += 1;
        self.send_backlog();
    }

    /// Moves what waits into the ring, as far as there is room.
    pub fn send_backlog(&mut self) {
        let room = self.commands.slots().min(self.backlog.len());
        for command in self.backlog.drain(..room) {
            // There is room: nobody else produces into this ring.
            drop(self.commands.push(command));
        }
    }

    /// Whether the worker has more to do than its ring holds.
    pub fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// How many commands were sent, those that still wait included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them were carried out. All that the worker did before is visible to the caller.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }
}

/// The rings between the control thread and one worker.
pub fn control_link(wake: &Arc<Wake>) -> (ControlEnd, WorkerEnd) {
    let (commands, commands_out) = RingBuffer::new(COMMANDS);
    let (events_in, events) = RingBuffer::new(EVENTS);
    let done = Arc::new(CachePadded::new(AtomicU64::new(0)));
    (
        ControlEnd { events, commands, backlog: VecDeque::new(), done: done.clone(), sent: 0 },
        WorkerEnd { commands: commands_out, events: events_in, wake: wake.clone(), done },
    )
}

/// A queue on its way between the control thread and the one worker that uses it.
pub enum Queue<D: Device> {
    /// A receive queue of the port.
    Rx(PortId, D::Rx),
    /// The worker's transmit queue of the port.
    Tx(PortId, D::Tx),
}

/// One end of the two rings by which a worker's queues come and go.
pub struct Exchange<D: Device> {
    /// To the other end.
    pub(crate) give: Producer<Queue<D>>,
    /// From the other end.
    pub(crate) take: Consumer<Queue<D>>,
}

/// The control thread's and the worker's end, for a worker that has `queues` queues at most.
pub fn exchange<D: Device>(queues: usize) -> (Exchange<D>, Exchange<D>) {
    let (down, down_end) = RingBuffer::new(queues);
    let (up, up_end) = RingBuffer::new(queues);
    (Exchange { give: down, take: up_end }, Exchange { give: up, take: down_end })
}

/// A worker's ends of all its rings.
pub struct Ends<D: Device> {
    pub(crate) control: WorkerEnd,
    pub(crate) queues: Exchange<D>,
    pub(crate) mesh: Mesh<D::Frame>,
}

/// A frame on its way from one worker to another.
#[derive(Debug)]
pub enum HandOver<F> {
    /// As received by the port, for the worker that owns the flow.
    Flow(PortId, F),
    /// Whole, for the worker that has a transmit queue of the port.
    Transmit(PortId, F),
}

/// One worker's ends of the rings to and from all others.
pub struct Mesh<F> {
    /// By worker; `None` at its own place.
    pub(crate) to: Vec<Option<Producer<HandOver<F>>>>,
    /// By worker; `None` at its own place.
    pub(crate) from: Vec<Option<Consumer<HandOver<F>>>>,
}

/// Rings of `capacity` frames between every two of `workers` workers.
pub fn mesh<F>(workers: usize, capacity: usize) -> Vec<Mesh<F>> {
    let empty =
        || Mesh { to: (0..workers).map(|_| None).collect(), from: (0..workers).map(|_| None).collect() };
    let mut meshes: Vec<Mesh<F>> = (0..workers).map(|_| empty()).collect();
    for from in 0..workers {
        for to in (0..workers).filter(|&to| to != from) {
            let (producer, consumer) = RingBuffer::new(capacity);
            meshes[from].to[to] = Some(producer);
            meshes[to].from[from] = Some(consumer);
        }
    }
    meshes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that can be told from others.
    fn numbered(n: u32) -> Command {
        Command::ArpAnnounce(IfaceId(0), Ipv4Addr::from_bits(n))
    }

    #[test]
    fn commands_stay_in_order_past_the_rings_end() {
        let (mut control, mut worker) = control_link(&Arc::default());
        let mut next = 0;
        let mut take = |count: u32| {
            for _ in 0..count {
                let Ok(Command::ArpAnnounce(_, n)) = worker.commands.pop() else {
                    panic!("{next} is missing")
                };
                assert_eq!(n.to_bits(), next);
                next += 1;
            }
        };
        for n in 0..3000 {
            control.send(numbered(n));
            // The ring holds 1024.
            assert_eq!(control.is_behind(), n == 1024 || n >= 1034);
            if n == 1024 {
                // Room appears while one waits: that one goes first.
                take(10);
            }
        }
        assert_eq!(control.sent(), 3000);
        for count in [1000, 990, 1000] {
            take(count);
            control.send_backlog();
        }
        assert!(!control.is_behind() && worker.commands.is_empty());
    }

    #[test]
    fn no_news_is_slept_over() {
        const ROUNDS: u64 = 30_000;
        let wake = Arc::<Wake>::default();
        let (mut news, mut heard) = RingBuffer::new(4);
        let waker = wake.clone();
        let worker = std::thread::spawn(move || {
            for n in 0..ROUNDS {
                while news.push(n).is_err() {
                    std::hint::spin_loop();
                }
                waker.wake();
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut next = 0;
            while next < ROUNDS {
                let slept = tokio::time::timeout(std::time::Duration::from_secs(10), wake.wait()).await;
                assert!(slept.is_ok(), "nobody woke for {next}");
                wake.clear();
                while let Ok(n) = heard.pop() {
                    assert_eq!(n, next);
                    next += 1;
                }
            }
        });
        worker.join().unwrap();
    }
}

//! What the ring between two workers costs a frame: pushed and popped in bursts, by one thread, and from one
//! thread to another.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::link::HandOver;
use l2l3::interface::PortId;
use rtrb::{Consumer, Producer, RingBuffer};

/// In a frame's place: a word, as a frame is.
type Word = Box<u64>;
const BURST: usize = 64;
/// The default of `ring_packets`.
const RING: usize = 1024;

fn push(ring: &mut Producer<HandOver<Word>>, frames: &mut Vec<Word>) {
    let room = ring.slots().min(frames.len());
    for frame in frames.drain(..room) {
        drop(ring.push(HandOver::Transmit(PortId(1), frame)));
    }
}

fn pop(ring: &mut Consumer<HandOver<Word>>, frames: &mut Vec<Word>) {
    for _ in 0..BURST {
        let Ok(HandOver::Transmit(_, frame) | HandOver::Flow(_, frame)) = ring.pop() else { break };
        frames.push(frame);
    }
}

fn hand_over(c: &mut Criterion) {
    let mut group = c.benchmark_group("hand-over");
    group.throughput(Throughput::Elements(BURST as u64));
    group.bench_function("one thread", |b| {
        let (mut to, mut from) = RingBuffer::new(RING);
        let mut frames: Vec<Word> = (0..BURST as u64).map(Box::new).collect();
        b.iter(|| {
            push(&mut to, &mut frames);
            pop(&mut from, black_box(&mut frames));
        });
    });
    // A burst there and back: two hand-overs a frame, between threads that both poll.
    group.throughput(Throughput::Elements(2 * BURST as u64));
    group.bench_function("two threads", |b| {
        let (mut to, mut there) = RingBuffer::new(RING);
        let (mut back, mut from) = RingBuffer::new(RING);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut frames = Vec::with_capacity(RING);
                while !stop.load(Ordering::Relaxed) {
                    pop(&mut there, &mut frames);
                    push(&mut back, &mut frames);
                }
            });
            let mut frames: Vec<Word> = (0..BURST as u64).map(Box::new).collect();
            b.iter_custom(|rounds| {
                let start = Instant::now();
                for _ in 0..rounds {
                    push(&mut to, &mut frames);
                    while frames.len() < BURST {
                        pop(&mut from, &mut frames);
                    }
                }
                start.elapsed()
            });
            stop.store(true, Ordering::Relaxed);
        });
    });
    group.finish();
}

criterion_group!(benches, hand_over);
criterion_main!(benches);

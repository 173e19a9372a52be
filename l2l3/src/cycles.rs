//! Where a worker's cycles go, by stage of its loop.
//!
//! A reading of the time stamp counter costs as much as forwarding two packets, and a loop has a dozen stages: so one
//! loop in [`Stopwatch::EVERY`] is measured, all of it, and the others pay a branch a stage. What is measured has
//! the cost of the readings taken off.

use std::cell::Cell;
use std::sync::Arc;

use wire::Counter;

macro_rules! stages {
    ($($variant:ident $name:literal $text:literal;)*) => {
        /// A part of a worker's loop.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum LoopStage { $(#[doc = $text] $variant),* }

        impl LoopStage {
            /// Every stage, in the order of a packet's life.
            pub const ALL: &'static [LoopStage] = &[$(LoopStage::$variant),*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(LoopStage::$variant => $name),* }
            }

            /// One sentence for people.
            pub const fn text(self) -> &'static str {
                match self { $(LoopStage::$variant => $text),* }
            }
        }
    };
}

stages! {
    Rx "rx" "Asking the devices for frames.";
    Parse "parse" "The straight path's first half: checks of headers.";
    Route "route" "Its second half: longest prefix match, rewriting, sorting to ports.";
    General "general" "Frames that are not plain, ARP and ICMP, and what other workers handed over.";
    Tcp "tcp" "TCP and UDP of this host: segments in and out, timers.";
    App "app" "Programs: echo, HTTP, load, tasks.";
    Tx "tx" "Giving frames to devices, and to other workers.";
    Control "control" "Commands of the control plane, what is done ten times a second, and the loop itself.";
    Idle "idle" "Loops that found nothing to do; sleep between loops is not counted.";
}

const COUNT: usize = LoopStage::ALL.len();

/// What one worker measured: it alone writes, anybody may read.
#[derive(Default, Debug)]
#[repr(align(64))]
pub struct CycleCounters {
    /// Loops that were measured.
    pub loops: Counter,
    /// Those of them that found something to do.
    pub busy_loops: Counter,
    /// Frames received in them, from devices and other workers.
    pub received: Counter,
    ticks: [Counter; COUNT],
}

impl CycleCounters {
    /// Ticks of the time stamp counter spent in a stage, in the loops that were measured.
    pub fn ticks(&self, stage: LoopStage) -> u64 {
        self.ticks[stage as usize].get()
    }
}

/// Splits a worker's loops among the stages.
#[derive(Debug)]
pub struct Stopwatch {
    ticks: fn() -> u64,
    /// What a reading costs.
    cost: u64,
    /// Loops until the next one that is measured.
    wait: Cell<u32>,
    measuring: Cell<bool>,
    last: Cell<u64>,
    received: Cell<u64>,
    laps: [Cell<u64>; COUNT],
    counters: Arc<CycleCounters>,
}

impl Stopwatch {
    /// One loop in so many is measured: a prime, so that what happens every so many loops is met as often as it is.
    pub const EVERY: u32 = 31;

    /// A stopwatch that reads `ticks`.
    pub fn new(ticks: fn() -> u64) -> Self {
        let cost = (0..64).map(|_| {
            let before = ticks();
            ticks().wrapping_sub(before)
        });
        Stopwatch {
            ticks,
            cost: cost.min().unwrap_or(0),
            wait: Cell::new(0),
            measuring: Cell::new(false),
            last: Cell::new(0),
            received: Cell::new(0),
            laps: std::array::from_fn(|_| Cell::new(0)),
            counters: Arc::default(),
        }
    }

    /// What was measured.
    pub fn counters(&self) -> &Arc<CycleCounters> {
        &self.counters
    }

    /// A loop begins; `received` gives the frames received until now.
    #[inline]
    pub fn start(&self, received: impl FnOnce() -> u64) {
        match self.wait.get() {
            0 => self.measure(received()),
            wait => self.wait.set(wait - 1),
        }
    }

    #[cold]
    fn measure(&self, received: u64) {
        self.wait.set(Self::EVERY - 1);
        self.measuring.set(true);
        self.received.set(received);
        self.last.set((self.ticks)());
    }

    /// A stage ends that began where the one before ended. Not to be called for a stage that found nothing to do.
    #[inline]
    pub fn lap(&self, stage: LoopStage) {
        if self.measuring.get() {
            self.take(stage);
        }
    }

    #[cold]
    fn take(&self, stage: LoopStage) {
        let now = (self.ticks)();
        let spent = now.wrapping_sub(self.last.replace(now)).saturating_sub(self.cost);
        let lap = &self.laps[stage as usize];
        lap.set(lap.get().wrapping_add(spent));
    }

    /// The loop ends; `busy` says whether it found something to do.
    #[inline]
    pub fn stop(&self, busy: bool, received: impl FnOnce() -> u64) {
        if self.measuring.replace(false) {
            self.take(LoopStage::Control);
            self.count(busy, received());
        }
    }

    #[cold]
    fn count(&self, busy: bool, received: u64) {
        let counters = &*self.counters;
        counters.loops.add(1);
        counters.busy_loops.add(busy.into());
        counters.received.add(received.wrapping_sub(self.received.get()));
        for (lap, stage) in self.laps.iter().zip(LoopStage::ALL) {
            let stage = if busy { *stage } else { LoopStage::Idle };
            counters.ticks[stage as usize].add(lap.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(0) };
    }

    fn ticks() -> u64 {
        NOW.get()
    }

    fn spend(watch: &Stopwatch, stage: LoopStage, ticks: u64) {
        NOW.set(NOW.get() + ticks);
        watch.lap(stage);
    }

    fn measured(watch: &Stopwatch) -> Vec<(&'static str, u64)> {
        let ticks = LoopStage::ALL.iter().map(|stage| (stage.name(), watch.counters().ticks(*stage)));
        ticks.filter(|(_, ticks)| *ticks > 0).collect()
    }

    #[test]
    fn a_busy_loop_is_split_among_its_stages_and_an_idle_one_is_idle() {
        let watch = Stopwatch::new(ticks);
        let every = u64::from(Stopwatch::EVERY);
        for n in 0..10 * every {
            watch.start(|| 32 * n);
            spend(&watch, LoopStage::Rx, 5);
            // The second that is measured, and the loops after it, find something.
            let busy = (every..2 * every).contains(&n);
            if busy {
                spend(&watch, LoopStage::Parse, 100);
                spend(&watch, LoopStage::Route, 200);
                spend(&watch, LoopStage::Rx, 7);
            }
            watch.stop(busy, || 32 * (n + u64::from(busy)));
        }
        assert_eq!(measured(&watch), [("rx", 12), ("parse", 100), ("route", 200), ("idle", 9 * 5)]);
        let counters = watch.counters();
        assert_eq!((counters.loops.get(), counters.busy_loops.get(), counters.received.get()), (10, 1, 32));
    }

    #[test]
    fn the_cost_of_readings_is_taken_off() {
        fn reading() -> u64 {
            NOW.set(NOW.get() + 25);
            NOW.get()
        }
        let watch = Stopwatch::new(reading);
        watch.start(|| 0);
        spend(&watch, LoopStage::Rx, 40);
        watch.lap(LoopStage::Parse);
        spend(&watch, LoopStage::Tx, 3);
        watch.stop(true, || 0);
        assert_eq!(measured(&watch), [("rx", 40), ("tx", 3)]);
    }
}

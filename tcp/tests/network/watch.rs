//! Watches that what was sent arrives in time.

use std::time::Duration;

use wire::Instant;

use crate::app::Outcome;
use crate::scenario::FlowPlan;
use crate::world::{Task, World};

impl World {
    /// Lets an application do all it can, and watches what comes of it.
    pub(crate) fn run_endpoint(&mut self, number: usize) {
        let (now, flow) = (self.now, number / 2);
        let endpoint = &mut self.endpoints[number];
        let (given, taken, was_over) = (endpoint.given(), endpoint.taken(), endpoint.outcome.is_some());
        let host = &mut self.hosts[endpoint.host];
        host.touched = true;
        let was_paused = endpoint.is_paused(now);
        if let Some(at) = endpoint.run(now, &mut host.shard, &self.ledger) {
            self.tasks.schedule(at.max(now), Task::Run(number));
        }
        let endpoint = &self.endpoints[number];
        let (gave, took) = (endpoint.given() > given, endpoint.taken() > taken);
        if let Some(wrong) = endpoint.wrong.clone() {
            self.complain(format!("flow {flow} side {}: {wrong}", number % 2));
        }
        if took {
            self.check_wait(number);
            self.flows[flow].got_on = now;
        }
        if took || was_paused {
            self.endpoints[number].waiting_since = None;
        }
        self.note_waiting(number);
        if gave {
            self.note_waiting(number ^ 1);
        }
        if !was_over && self.endpoints[number].outcome.is_some() {
            self.on_over(number);
        }
    }

    /// Starts the watch of an end that has bytes coming.
    fn note_waiting(&mut self, number: usize) {
        let due = self.endpoints[number ^ 1].given() > self.endpoints[number].taken();
        let endpoint = &mut self.endpoints[number];
        if due && endpoint.waiting_since.is_none() && endpoint.outcome.is_none() {
            endpoint.waiting_since = Some(self.now);
        }
    }

    /// How long bytes that were given may take, if `drops` packets were lost meanwhile.
    ///
    /// A retransmission timer starts at a second, or at the round trip with what it varies; each loss can
    /// double it. After a disturbance (or a closed window), its next turn comes as late again as that was
    /// long.
    fn longest_wait(&self, flow: usize, drops: u64) -> Duration {
        let path = |host: usize| {
            let link = &self.scenario.hosts[host].link;
            link.delay + link.jitter + link.reorder_delay + Duration::from_millis(500)
        };
        let plan = &self.flows[flow].plan;
        // The SYN's round trip counts as one, however often it was sent.
        let handshake = 3 * self.flows[flow].handshake;
        let base = Duration::from_secs(2) + 4 * (path(plan.client) + path(plan.server)) + handshake;
        let doublings = drops.min(6) as u32 + 1;
        let more = Duration::from_secs(120) * drops.saturating_sub(6) as u32;
        let paused: Duration = plan.plans.iter().map(|plan| plan.paused()).sum();
        (base * (1 << doublings) + more).min(Duration::from_secs(420))
            + 2 * (self.scenario.disturbed() + paused)
    }

    /// Since when losses count for a timeout that has passed since `since`. Without timestamps, it stays
    /// doubled until something is acknowledged that was sent only once (Karn's algorithm).
    fn remembered(&self, flow: usize, since: Instant) -> Instant {
        let FlowPlan { client, server, .. } = self.flows[flow].plan;
        let timestamps = [client, server].iter().all(|host| self.scenario.hosts[*host].config.timestamps);
        if timestamps { since } else { self.scenario.start }
    }

    fn check_wait(&mut self, number: usize) {
        let Some(since) = self.endpoints[number].waiting_since else { return };
        let flow = number / 2;
        let waited = self.now - since;
        // A timeout that is so long now was doubled not much longer ago.
        let back_then = Instant::ZERO + (self.now - Instant::ZERO).saturating_sub(4 * waited);
        let drops = self.drops(flow, self.remembered(flow, back_then));
        let longest = self.longest_wait(flow, drops);
        if waited > longest && !self.scenario.scarce {
            self.complain(format!(
                "flow {flow} side {}: stood still for {waited:?}, though only {drops} packets were lost: \
                 {longest:?} at most",
                number % 2
            ));
        }
    }

    fn on_over(&mut self, number: usize) {
        let flow = number / 2;
        self.endpoints[number].lost_at_end = self.drops(flow, self.remembered(flow, self.flows[flow].got_on));
        let outcome = self.endpoints[number].outcome;
        if number % 2 == 1 || !matches!(outcome, Some(Outcome::Orderly | Outcome::Left)) {
            return;
        }
        let next = self.flows.iter().position(|next| next.plan.after == Some(flow));
        if let Some(next) = next {
            let pause = Duration::from_micros(self.chance.range(0..500_000));
            self.tasks.schedule(self.now + pause, Task::Start(next));
        }
    }

    /// Packets of the first flow that were lost.
    pub(crate) fn drops_so_far(&self) -> u64 {
        self.drops(0, Instant::ZERO)
    }

    /// Packets of a flow that were lost since `since`, or thrown away by hosts that had no room.
    fn drops(&self, flow: usize, since: Instant) -> u64 {
        self.flows[flow].way.map_or(0, |way| self.tap.drops(way, since))
    }
}

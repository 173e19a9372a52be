//! MLRsearch: the throughput at several loss ratios in one search (draft-ietf-bmwg-mlrsearch-15).
//!
//! Each goal is approached in stages. The first ones ask for little (a short trial, bounds that are far apart) and
//! show the last one where to look. All trials count for all goals.

use std::collections::BTreeMap;
use std::time::Duration;

use super::goal::{Class, Done, Goal};
use super::{Observation, Procedure};
use crate::schedule::Load;

/// The stages before a goal's own: what their trials take, and how far apart their bounds may be, relative to the
/// goal's.
const APPROACH: [(f64, f64); 2] = [(0.1, 16.0), (1.0, 4.0)];

/// The search.
pub struct MlrSearch {
    range: (Rate, Rate),
    burst: u32,
    goals: Vec<Goal>,
    /// The goals of each stage, in order; the number is the goal's.
    stages: Vec<(usize, Goal)>,
    stage: usize,
    trials: BTreeMap<Rate, Vec<Done>>,
    /// The bounds that the stage before found.
    hint: (Option<Rate>, Option<Rate>),
    /// How far the next step away from a bound goes, in widths.
    reach: f64,
    /// The load that is being tried, and how long a trial is.
    current: Option<(Rate, Duration)>,
    results: Vec<Bounds>,
}

/// What was found for a goal. Frames a second, of each direction.
#[derive(Clone, PartialEq, Debug)]
pub struct Bounds {
    /// The goal.
    pub goal: Goal,
    /// The relevant lower bound; `None` if not even the lowest load meets the goal.
    pub lower: Option<f64>,
    /// The relevant upper bound; `None` if the highest load meets the goal.
    pub upper: Option<f64>,
    /// The conditional throughput: what was forwarded at the lower bound.
    pub throughput: Option<f64>,
}

/// A rate in thousandths of a frame a second, so that rates can be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rate(u64);

impl Rate {
    fn new(pps: f64) -> Self {
        Rate((pps * 1000.0).round() as u64)
    }

    fn pps(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl MlrSearch {
    /// Looks for `goals` between two rates in frames a second, with bursts of `burst` frames.
    pub fn new(goals: Vec<Goal>, lowest_pps: f64, highest_pps: f64, burst: u32) -> Self {
        let stages = goals.iter().enumerate().flat_map(|(number, goal)| {
            let approach = APPROACH.map(|(trial, width)| {
                let trial = goal.trial.mul_f64(trial);
                Goal { trial, sum: trial, width: goal.width * width, ..goal.clone() }
            });
            approach.into_iter().chain([goal.clone()]).map(move |stage| (number, stage))
        });
        MlrSearch {
            range: (Rate::new(lowest_pps.min(highest_pps)), Rate::new(highest_pps)),
            burst,
            stages: stages.collect(),
            goals,
            stage: 0,
            trials: BTreeMap::new(),
            hint: (None, None),
            reach: 1.0,
            current: None,
            results: Vec::new(),
        }
    }

    /// What was found, goal by goal; complete when there is no next trial.
    pub fn results(&self) -> &[Bounds] {
        &self.results
    }

    /// The relevant bounds for a goal: the lowest load that is an upper bound, and the highest lower bound below.
    fn bounds(&self, goal: &Goal) -> (Option<Rate>, Option<Rate>) {
        let of = |class| self.trials.iter().filter(move |(_, trials)| goal.classify(trials) == class);
        let upper = of(Class::Upper).map(|(rate, _)| *rate).next();
        let lower = of(Class::Lower).map(|(rate, _)| *rate).rfind(|rate| upper.is_none_or(|u| *rate < u));
        (lower, upper)
    }

    /// The next load for a goal; `None` when its bounds are near enough.
    fn pick(&mut self, goal: &Goal) -> Option<Rate> {
        let (lowest, highest) = self.range;
        let undecided = |rate: &Rate| goal.classify(self.trials_at(*rate)) == Class::Undecided;
        if let Some((rate, _)) = self.current.filter(|(rate, _)| undecided(rate)) {
            return Some(rate);
        }
        let (lower, upper) = self.bounds(goal);
        if lower == Some(highest) || upper == Some(lowest) {
            return None;
        }
        let inside = |rate: &Rate| lower.is_none_or(|l| l < *rate) && upper.is_none_or(|u| *rate < u);
        let next = match (self.hint.0.filter(inside), self.hint.1.filter(inside), lower, upper) {
            // What the stage before found is looked at first, the lower bound before the upper.
            (Some(hint), _, None, _) | (_, Some(hint), _, None) => hint,
            (_, _, None, None) => highest,
            (_, _, Some(lower), None) => self.away_from(lower, goal.width),
            (_, _, None, Some(upper)) => self.away_from(upper, -goal.width),
            (_, _, Some(lower), Some(upper)) => {
                if (upper.0 - lower.0) as f64 <= goal.width * upper.0 as f64 {
                    return None;
                }
                between(lower, upper)
            }
        };
        Some(next).filter(inside)
    }

    /// A rate some widths above a bound, or below it if `width` is negative; each time further away.
    fn away_from(&mut self, bound: Rate, width: f64) -> Rate {
        let factor = 1.0 - (width.abs() * self.reach).min(0.5);
        self.reach *= 2.0;
        let pps = if width > 0.0 { bound.pps() / factor } else { bound.pps() * factor };
        Rate::new(pps).clamp(self.range.0, self.range.1)
    }

    fn trials_at(&self, rate: Rate) -> &[Done] {
        self.trials.get(&rate).map_or(&[], Vec::as_slice)
    }

    fn end_stage(&mut self, number: usize, stage: &Goal) {
        self.hint = self.bounds(stage);
        self.reach = 1.0;
        self.current = None;
        self.stage += 1;
        // The last stage of a goal is the goal.
        if self.stages.get(self.stage).is_none_or(|(next, _)| *next != number) {
            let (lower, upper) = self.hint;
            let throughput = |rate: Rate| stage.conditional_throughput(rate.pps(), self.trials_at(rate));
            self.results.push(Bounds {
                goal: self.goals[number].clone(),
                lower: lower.map(Rate::pps),
                upper: upper.map(Rate::pps),
                throughput: lower.map(throughput),
            });
        }
    }
}

/// The middle; by factors where the two are far apart.
fn between(lower: Rate, upper: Rate) -> Rate {
    if upper.0 / 2 > lower.0 {
        return Rate::new((lower.pps() * upper.pps()).sqrt());
    }
    Rate(lower.0 + (upper.0 - lower.0) / 2)
}

impl Procedure for MlrSearch {
    fn next(&mut self) -> Option<Vec<Load>> {
        loop {
            let (number, stage) = self.stages.get(self.stage)?.clone();
            let Some(rate) = self.pick(&stage) else {
                self.end_stage(number, &stage);
                continue;
            };
            self.current = Some((rate, stage.trial));
            return Some(vec![Load { pps: rate.pps(), burst: self.burst, duration: stage.trial }]);
        }
    }

    fn record(&mut self, seen: &Observation) {
        let Some((rate, duration)) = self.current else { return };
        // What the highest load forwards is a first guess.
        if self.trials.is_empty() {
            let guess = Rate::new(rate.pps() * (1.0 - seen.loss_ratio));
            self.hint.0 = Some(guess.clamp(self.range.0, self.range.1));
        }
        self.trials.entry(rate).or_default().push(Done { duration, loss_ratio: seen.loss_ratio });
    }

    fn phase(&self) -> String {
        match self.stages.get(self.stage) {
            Some((number, stage)) => {
                let goal = &self.goals[*number];
                let kind = if stage == goal { "measuring" } else { "approaching" };
                format!("{kind} {}", goal.name)
            }
            None => "done".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sim::Rng;

    /// A device with a knee, some noise about it, and now and then a loss below it.
    struct Model {
        knee: f64,
        noise: f64,
        rare: f64,
        rng: Rng,
    }

    impl Model {
        fn run(&mut self, load: &Load) -> Observation {
            let unit = self.rng.range(0..1_000_001) as f64 / 1e6;
            let capacity = self.knee * (1.0 + self.noise * (2.0 * unit - 1.0));
            let overload = (1.0 - capacity / load.pps).max(0.0);
            let rare = if self.rng.chance(self.rare) { 1e-6 } else { 0.0 };
            Observation { loss_ratio: overload.max(rare), ..Observation::default() }
        }
    }

    fn search(model: &mut Model, highest: f64) -> (MlrSearch, f64) {
        let mut search = MlrSearch::new(vec![Goal::ndr(), Goal::pdr()], 1.0, highest, 1);
        let (mut seconds, mut trials) = (0.0, 0);
        while let Some(loads) = search.next() {
            seconds += loads[0].duration.as_secs_f64();
            search.record(&model.run(&loads[0]));
            trials += 1;
            assert!(trials < 2000, "no end");
        }
        (search, seconds)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn finds_the_knee(
            knee in 1e3f64..5e7, times in 1.01f64..200.0, noise in 0.0f64..0.003, rare in 0.0f64..0.15, seed: u64,
        ) {
            let mut model = Model { knee, noise, rare, rng: Rng::new(seed) };
            let (search, seconds) = search(&mut model, knee * times);
            let [ndr, pdr] = search.results() else { panic!("two goals") };
            let (low, high) = (ndr.lower.unwrap(), ndr.upper.unwrap());
            // The bounds are no further apart than asked for, and the knee lies between, give or take the noise.
            prop_assert!((high - low) / high <= 0.005 + 1e-6);
            prop_assert!(low <= knee * (1.0 + noise) && high >= knee * (1.0 - noise), "{low} {high} {knee}");
            prop_assert_eq!(ndr.throughput.unwrap().round(), low.round());
            let (low, high) = (pdr.lower.unwrap(), pdr.upper);
            prop_assert!(low * 0.995 <= knee * (1.0 + noise) + 0.01);
            prop_assert!(high.is_none_or(|high| high * 0.995 >= knee * (1.0 - noise) - 0.01));
            prop_assert!(low >= ndr.lower.unwrap());
            prop_assert!(seconds < 250.0, "{seconds} s");
        }
    }

    #[test]
    fn a_device_without_a_knee_meets_every_goal_at_once() {
        let mut model = Model { knee: 1e9, noise: 0.0, rare: 0.0, rng: Rng::new(1) };
        let (search, seconds) = search(&mut model, 1e6);
        for bounds in search.results() {
            assert_eq!((bounds.lower, bounds.upper, bounds.throughput), (Some(1e6), None, Some(1e6)));
        }
        assert!(seconds < 15.0, "{seconds}");
    }

    #[test]
    fn a_device_that_always_loses_meets_no_drop_rate() {
        let mut model = Model { knee: 1e9, noise: 0.0, rare: 1.0, rng: Rng::new(1) };
        let (search, _) = search(&mut model, 1e6);
        let [ndr, pdr] = search.results() else { panic!("two goals") };
        assert_eq!((ndr.lower, ndr.upper, ndr.throughput), (None, Some(1.0), None));
        assert_eq!((pdr.lower, pdr.upper), (Some(1e6), None));
        assert!((pdr.throughput.unwrap() - 999_999.0).abs() < 0.01);
    }
}

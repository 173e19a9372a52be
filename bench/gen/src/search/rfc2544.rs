//! The tests of RFC 2544 section 26 for one frame size, one after another.

use std::time::Duration;

use super::{Observation, Procedure};
use crate::schedule::Load;

/// How the tests are run.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// The highest rate, in frames a second: the line's, as a rule.
    pub highest_pps: f64,
    /// How long a trial is (section 24).
    pub trial: Duration,
    /// How exactly throughput and the length of bursts are found, relative to what is found.
    pub resolution: f64,
    /// How long a latency trial is, and how many there are (section 26.2).
    pub latency_trial: Duration,
    /// How many latency trials there are.
    pub latency_trials: u32,
    /// How often the longest burst is looked for (RFC 9004 section 5.4).
    pub burst_searches: u32,
}

impl Settings {
    /// As the RFC has them: trials of 60 s, twenty latency trials of 120 s, fifty searches for the longest burst.
    pub fn strict(highest_pps: f64) -> Self {
        Settings {
            highest_pps,
            trial: Duration::from_secs(60),
            resolution: 0.005,
            latency_trial: Duration::from_secs(120),
            latency_trials: 20,
            burst_searches: 50,
        }
    }

    /// The same with trials of another length and few repetitions: quicker, and not RFC 2544 to the letter.
    pub fn short(highest_pps: f64, trial: Duration) -> Self {
        Settings {
            trial,
            latency_trial: trial,
            latency_trials: 3,
            burst_searches: 3,
            ..Self::strict(highest_pps)
        }
    }

    /// Whether the durations are those that the RFC asks for.
    pub fn is_strict(&self) -> bool {
        *self == Self::strict(self.highest_pps)
    }
}

/// The longest burst that is tried (section 26.4).
const LONGEST_BURST: Duration = Duration::from_secs(2);
/// The lowest rate that is tried, relative to the highest.
const LEAST_RATE: f64 = 1e-4;
/// The rates of the system recovery test, relative to the throughput (section 26.5).
const OVERLOAD: f64 = 1.1;
const RECOVERY: f64 = 0.5;

/// What was found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Findings {
    /// Section 26.1: the highest rate without loss, in frames a second; `None` if there was loss at all of them.
    pub throughput_pps: Option<f64>,
    /// Section 26.2: the mean latency of each trial at the throughput, in nanoseconds.
    pub latencies_ns: Vec<f64>,
    /// Section 26.3: (frames a second, loss ratio).
    pub loss_curve: Vec<(f64, f64)>,
    /// Section 26.4: the longest burst without loss that each search found, in frames.
    pub bursts: Vec<u64>,
    /// Section 26.5: how long losses went on after an overload.
    pub recovery: Option<Duration>,
}

/// The tests.
pub struct Rfc2544 {
    settings: Settings,
    findings: Findings,
    test: Test,
}

enum Test {
    Throughput(Bisection),
    Latency,
    FrameLoss { tenths: u32, without_loss: u32 },
    BackToBack(Bisection),
    Recovery,
    Done,
}

/// Halves an interval: the value below passes, that above does not.
struct Bisection {
    passes: Option<f64>,
    fails: Option<f64>,
    /// The first value to be tried; none above is.
    highest: f64,
    /// No two values nearer than this are told apart.
    least: f64,
    /// How near the two are to be, relative to the upper.
    resolution: f64,
}

impl Bisection {
    fn new(highest: f64, least: f64, resolution: f64) -> Self {
        Bisection { passes: None, fails: None, highest, least, resolution }
    }

    fn next(&self) -> Option<f64> {
        let Some(fails) = self.fails else {
            return self.passes.is_none().then_some(self.highest);
        };
        let passes = self.passes.unwrap_or(0.0);
        let near = (self.resolution * fails).max(self.least);
        (fails - passes > near).then(|| (passes + fails) / 2.0)
    }

    fn record(&mut self, passes: bool) {
        let Some(value) = self.next() else { return };
        *(if passes { &mut self.passes } else { &mut self.fails }) = Some(value);
    }
}

impl Rfc2544 {
    /// All tests.
    pub fn new(settings: Settings) -> Self {
        let highest = settings.highest_pps;
        let test = Test::Throughput(Bisection::new(highest, highest * LEAST_RATE, settings.resolution));
        Rfc2544 { settings, findings: Findings::default(), test }
    }

    /// What was found; complete when there is no next trial.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    fn loads(&self) -> Option<Vec<Load>> {
        let settings = &self.settings;
        let load = |pps, duration| Load { pps, burst: 1, duration };
        let throughput = self.findings.throughput_pps;
        match &self.test {
            Test::Throughput(rates) => Some(vec![load(rates.next()?, settings.trial)]),
            Test::Latency => {
                let left = (self.findings.latencies_ns.len() as u32) < settings.latency_trials;
                throughput.filter(|_| left).map(|pps| vec![load(pps, settings.latency_trial)])
            }
            //= RFC 2544 section 26.3: from the highest rate down by a tenth of it each, until two trials in
            //= succession lost nothing
            Test::FrameLoss { tenths, without_loss } => (*tenths > 0 && *without_loss < 2)
                .then(|| vec![load(settings.highest_pps * f64::from(*tenths) / 10.0, settings.trial)]),
            Test::BackToBack(frames) => {
                let duration = Duration::from_secs_f64(frames.next()?.round() / settings.highest_pps);
                (!duration.is_zero()).then(|| vec![load(settings.highest_pps, duration)])
            }
            Test::Recovery => throughput.filter(|_| self.findings.recovery.is_none()).map(|pps| {
                let overload = (pps * OVERLOAD).min(settings.highest_pps);
                vec![load(overload, settings.trial), load(overload * RECOVERY, settings.trial)]
            }),
            Test::Done => None,
        }
    }

    /// Goes on to the next test, or the next search of this one.
    fn end_test(&mut self) {
        self.test = match &self.test {
            Test::Throughput(rates) => {
                self.findings.throughput_pps = rates.passes;
                Test::Latency
            }
            Test::Latency => Test::FrameLoss { tenths: 10, without_loss: 0 },
            Test::FrameLoss { .. } => self.back_to_back(),
            Test::BackToBack(frames) => {
                self.findings.bursts.push(frames.passes.unwrap_or(0.0).round() as u64);
                self.back_to_back()
            }
            Test::Recovery | Test::Done => Test::Done,
        };
    }

    fn back_to_back(&self) -> Test {
        //= RFC 9004 section 4: there is nothing to be found where the device keeps up with the line
        let keeps_up = self.findings.throughput_pps == Some(self.settings.highest_pps);
        if keeps_up || self.findings.bursts.len() as u32 >= self.settings.burst_searches {
            return Test::Recovery;
        }
        let longest = self.settings.highest_pps * LONGEST_BURST.as_secs_f64();
        Test::BackToBack(Bisection::new(longest, 1.0, self.settings.resolution))
    }
}

impl Procedure for Rfc2544 {
    fn next(&mut self) -> Option<Vec<Load>> {
        while !matches!(self.test, Test::Done) {
            if let Some(loads) = self.loads() {
                return Some(loads);
            }
            self.end_test();
        }
        None
    }

    fn record(&mut self, seen: &Observation) {
        let lossless = seen.loss_ratio == 0.0;
        match &mut self.test {
            Test::Throughput(rates) => rates.record(lossless),
            Test::Latency => self.findings.latencies_ns.push(seen.latency_ns),
            Test::FrameLoss { tenths, without_loss } => {
                let pps = self.settings.highest_pps * f64::from(*tenths) / 10.0;
                self.findings.loss_curve.push((pps, seen.loss_ratio));
                *tenths -= 1;
                *without_loss = if lossless { *without_loss + 1 } else { 0 };
            }
            Test::BackToBack(frames) => frames.record(lossless),
            Test::Recovery => self.findings.recovery = Some(seen.last_loss.unwrap_or_default()),
            Test::Done => {}
        }
    }

    fn phase(&self) -> String {
        match &self.test {
            Test::Throughput(_) => "throughput".into(),
            Test::Latency => {
                let n = self.findings.latencies_ns.len() + 1;
                format!("latency {n} of {}", self.settings.latency_trials)
            }
            Test::FrameLoss { .. } => "frame loss rate".into(),
            Test::BackToBack(_) => {
                format!("back-to-back {} of {}", self.findings.bursts.len() + 1, self.settings.burst_searches)
            }
            Test::Recovery => "system recovery".into(),
            Test::Done => "done".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A device that forwards `capacity` frames a second and holds `buffer` more.
    fn run(settings: Settings, capacity: f64, buffer: f64) -> Findings {
        let mut tests = Rfc2544::new(settings);
        let mut trials = 0;
        while let Some(loads) = tests.next() {
            let offered: f64 = loads.iter().map(|load| load.pps * load.duration.as_secs_f64()).sum();
            let lost = |load: &Load| ((load.pps - capacity) * load.duration.as_secs_f64() - buffer).max(0.0);
            let lost: f64 = loads.iter().map(lost).sum();
            let last_loss = (loads.len() > 1 && lost > 0.0).then_some(Duration::from_millis(7));
            tests.record(&Observation { loss_ratio: lost / offered, latency_ns: 5.0, last_loss });
            trials += 1;
            assert!(trials < 2000, "no end");
        }
        tests.findings.clone()
    }

    proptest! {
        #[test]
        fn finds_what_the_device_can(share in 0.05f64..0.95, buffer in 100.0f64..5e4) {
            let settings = Settings::short(1e6, Duration::from_secs(60));
            let capacity = share * 1e6;
            let found = run(settings, capacity, buffer);
            // The buffer hides a little of a minute's overload.
            let limit = capacity + buffer / 60.0;
            let throughput = found.throughput_pps.unwrap();
            prop_assert!(throughput <= limit + 1.0 && throughput >= limit * 0.994 - 1.0, "{throughput} {limit}");
            prop_assert_eq!(&found.latencies_ns, &[5.0; 3]);
            let lossless = found.loss_curve.iter().rev().take_while(|(_, loss)| *loss == 0.0).count();
            prop_assert!(lossless == 2 || found.loss_curve.len() == 10);
            // A burst ends before the buffer is full: it takes as long to fill as the line exceeds the capacity.
            let longest = (buffer / (1.0 - share)).min(2e6);
            for burst in &found.bursts {
                prop_assert!((*burst as f64) <= longest + 1.0 && *burst as f64 >= longest * 0.994 - 2.0, "{burst} {longest}");
            }
            prop_assert_eq!(found.bursts.len(), 3);
            prop_assert!(found.recovery.is_some());
        }
    }

    #[test]
    fn a_device_at_line_rate() {
        let found = run(Settings::strict(1e6), 2e6, 0.0);
        assert_eq!(found.throughput_pps, Some(1e6));
        assert_eq!((found.latencies_ns.len(), found.bursts.len()), (20, 0));
        assert_eq!(found.loss_curve, [(1e6, 0.0), (9e5, 0.0)]);
        assert_eq!(found.recovery, Some(Duration::ZERO));
    }

    #[test]
    fn a_device_that_forwards_nothing_without_loss() {
        let found = run(Settings::short(1e6, Duration::from_secs(1)), 0.0, 0.0);
        assert_eq!((found.throughput_pps, found.recovery), (None, None));
        assert_eq!((found.loss_curve.len(), found.bursts), (10, vec![0, 0, 0]));
    }
}

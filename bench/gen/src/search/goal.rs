//! What MLRsearch looks for, and what the trials at one load say of it (draft-ietf-bmwg-mlrsearch-15).

use std::time::Duration;

/// A search goal (section 4.6.7 and following).
#[derive(Clone, PartialEq, Debug)]
pub struct Goal {
    /// Its name in the report.
    pub name: String,
    /// The loss ratio that a trial may have.
    pub loss_ratio: f64,
    /// How long a full-length trial is.
    pub trial: Duration,
    /// How long the trials at a load are to be together before it is decided.
    pub sum: Duration,
    /// The part of that time in which the loss may be higher.
    pub exceed_ratio: f64,
    /// How near the two bounds are to be, relative to the upper.
    pub width: f64,
}

impl Goal {
    /// No drops: the defaults, which are those of FD.io CSIT.
    pub fn ndr() -> Self {
        Goal {
            name: "NDR".into(),
            loss_ratio: 0.0,
            trial: Duration::from_secs(1),
            sum: Duration::from_secs(21),
            exceed_ratio: 0.5,
            width: 0.005,
        }
    }

    /// Half a percent of drops.
    pub fn pdr() -> Self {
        Goal { name: "PDR".into(), loss_ratio: 0.005, ..Self::ndr() }
    }
}

/// A trial that was run at a load.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Done {
    pub(crate) duration: Duration,
    pub(crate) loss_ratio: f64,
}

/// What is known of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// It meets the goal, whatever trials would follow.
    Lower,
    /// It does not, whatever trials would follow.
    Upper,
    /// More trials are needed.
    Undecided,
}

/// Sums of durations of trials, in seconds.
#[derive(Default)]
struct Sums {
    good_long: f64,
    bad_long: f64,
    good_short: f64,
    bad_short: f64,
}

impl Goal {
    fn sums(&self, trials: &[Done]) -> Sums {
        let mut sums = Sums::default();
        for trial in trials {
            let (good, long) = (trial.loss_ratio <= self.loss_ratio, trial.duration >= self.trial);
            let sum = match (good, long) {
                (true, true) => &mut sums.good_long,
                (false, true) => &mut sums.bad_long,
                (true, false) => &mut sums.good_short,
                (false, false) => &mut sums.bad_short,
            };
            *sum += trial.duration.as_secs_f64();
        }
        sums
    }

    /// What the trials at a load say of it.
    pub(crate) fn classify(&self, trials: &[Done]) -> Class {
        let Sums { good_long, bad_long, good_short, bad_short } = self.sums(trials);
        //= draft-ietf-bmwg-mlrsearch-15 appendix A: short trials count against a load only as far as the bad
        //= ones outweigh the good ones
        let balance = good_short * self.exceed_ratio / (1.0 - self.exceed_ratio);
        let bad = bad_long + (bad_short - balance).max(0.0);
        let whole = (good_long + bad).max(self.sum.as_secs_f64());
        let allowed = whole * self.exceed_ratio;
        // Were all that is left good, or bad?
        let (optimistic, pessimistic) = (bad <= allowed, whole - good_long <= allowed);
        match (optimistic, pessimistic) {
            (_, true) => Class::Lower,
            (false, false) => Class::Upper,
            (true, false) => Class::Undecided,
        }
    }

    /// The conditional throughput of a load: its rate less the loss at the quantile of the exceed ratio.
    pub(crate) fn conditional_throughput(&self, pps: f64, trials: &[Done]) -> f64 {
        let Sums { good_long, bad_long, .. } = self.sums(trials);
        //= draft-ietf-bmwg-mlrsearch-15 appendix B: of the full-length trials in order of their loss, that
        //= counts at which the time allowed to exceed begins
        let whole = (good_long + bad_long).max(self.sum.as_secs_f64());
        let mut left = whole * (1.0 - self.exceed_ratio);
        let mut long: Vec<&Done> = trials.iter().filter(|trial| trial.duration >= self.trial).collect();
        long.sort_by(|a, b| a.loss_ratio.total_cmp(&b.loss_ratio));
        let mut loss = None;
        for trial in long {
            if loss.is_some() && left <= 0.0 {
                break;
            }
            loss = Some(trial.loss_ratio);
            left -= trial.duration.as_secs_f64();
        }
        let loss = if left > 0.0 { 1.0 } else { loss.unwrap_or(1.0) };
        pps * (1.0 - loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(of: &[(usize, f64, f64)]) -> Vec<Done> {
        let done = |(count, seconds, loss_ratio): &(usize, f64, f64)| {
            vec![Done { duration: Duration::from_secs_f64(*seconds), loss_ratio: *loss_ratio }; *count]
        };
        of.iter().flat_map(done).collect()
    }

    #[test]
    fn half_of_the_time_decides() {
        let pdr = Goal::pdr();
        for (done, class) in [
            (vec![], Class::Undecided),
            (vec![(10, 1.0, 0.0)], Class::Undecided),
            (vec![(10, 1.0, 0.005), (10, 1.0, 0.006)], Class::Undecided),
            (vec![(11, 1.0, 0.005)], Class::Lower),
            (vec![(11, 1.0, 0.005), (10, 1.0, 1.0)], Class::Lower),
            (vec![(11, 1.0, 0.0051)], Class::Upper),
            (vec![(10, 1.0, 0.0), (11, 1.0, 0.1)], Class::Upper),
            // One long trial is as good as many.
            (vec![(1, 21.0, 0.0)], Class::Lower),
            // Short ones alone make no lower bound, but an upper one.
            (vec![(500, 0.1, 0.0)], Class::Undecided),
            (vec![(106, 0.1, 1.0)], Class::Upper),
            (vec![(106, 0.1, 1.0), (10, 0.1, 0.0)], Class::Undecided),
        ] {
            assert_eq!(pdr.classify(&trials(&done)), class, "{done:?}");
        }
    }

    #[test]
    fn throughput_is_what_half_of_the_trials_forwarded() {
        let pdr = Goal::pdr();
        let of = |done: &[(usize, f64, f64)]| pdr.conditional_throughput(1000.0, &trials(done)).round();
        assert_eq!(of(&[(21, 1.0, 0.0)]), 1000.0);
        assert_eq!(of(&[(10, 1.0, 0.0), (11, 1.0, 0.004)]), 996.0);
        assert_eq!(of(&[(11, 1.0, 0.0), (10, 1.0, 0.9)]), 1000.0);
        // What is missing of the sum is taken for lost.
        assert_eq!(of(&[(10, 1.0, 0.0)]), 0.0);
        assert_eq!(of(&[]), 0.0);
    }
}

//! A soak test: the same load, trial after trial, for a long time.

use std::time::Duration;

use super::{Observation, Procedure};
use crate::schedule::Load;

/// Trials of one load, until they have taken a time together.
pub struct Soak {
    load: Load,
    left: Duration,
}

impl Soak {
    /// Runs `load` again and again, until the trials have taken `total`.
    pub fn new(load: Load, total: Duration) -> Self {
        Soak { load, left: total }
    }
}

impl Procedure for Soak {
    fn next(&mut self) -> Option<Vec<Load>> {
        let duration = self.load.duration.min(self.left);
        (!duration.is_zero()).then(|| vec![Load { duration, ..self.load }])
    }

    fn record(&mut self, _seen: &Observation) {
        self.left = self.left.saturating_sub(self.load.duration);
    }

    fn phase(&self) -> String {
        format!("soaking, {} s left", self.left.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_time_it_was_given() {
        let load = Load { pps: 1.0, burst: 1, duration: Duration::from_secs(10) };
        let mut soak = Soak::new(load, Duration::from_secs(25));
        let mut durations = Vec::new();
        while let Some(loads) = soak.next() {
            durations.push(loads[0].duration.as_secs());
            soak.record(&Observation::default());
        }
        assert_eq!(durations, [10, 10, 5]);
    }
}

//! Procedures: which loads to try, and what follows from the trials. They run nothing themselves: a load comes
//! out, what it showed goes in.

pub mod goal;
pub mod mlr;
pub mod rfc2544;
pub mod soak;

use std::time::Duration;

use crate::schedule::Load;
use crate::trial::Trial;

/// What a procedure learns from a trial.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Observation {
    /// The part of the frames that were to be sent which did not come whole, 0 to 1.
    pub loss_ratio: f64,
    /// Mean latency in nanoseconds.
    pub latency_ns: f64,
    /// How long after the last load began the last loss was, if any was after that.
    pub last_loss: Option<Duration>,
}

impl From<&Trial> for Observation {
    fn from(trial: &Trial) -> Self {
        Observation {
            loss_ratio: trial.total().loss_ratio(),
            latency_ns: trial.timing.latency.mean(),
            last_loss: trial.last_loss,
        }
    }
}

/// A series of trials, each of which depends on those before.
///
/// [`Procedure::next`] and [`Procedure::record`] are called in turn until there is no next trial.
pub trait Procedure {
    /// The loads of the next trial, one right after another; `None` when there is a result.
    fn next(&mut self) -> Option<Vec<Load>>;

    /// Takes what the last trial that [`Procedure::next`] gave showed.
    fn record(&mut self, seen: &Observation);

    /// What is being looked for, in a few words.
    fn phase(&self) -> String;
}

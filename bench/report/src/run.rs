//! What was measured: runs, and the spans of time within them.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize, Serializer};

use crate::histogram::Distribution;
use crate::measure::{Better, Measure};

/// A number under a name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Counter {
    /// Unique within a span.
    pub name: String,
    /// See [`crate::measure`].
    pub unit: String,
    /// Finite: a document with any other value is not written.
    #[serde(serialize_with = "plainly")]
    pub value: f64,
    /// Which way is better, if the number is for comparing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
}

/// Numbers and histograms of a span of time: a run, one of its intervals, a trial of a search.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Span {
    /// Seconds after the document's start.
    pub start_s: f64,
    /// Seconds.
    pub length_s: f64,
    /// The numbers, in the order in which they are shown.
    pub counters: Vec<Counter>,
    /// The histograms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histograms: Vec<Distribution>,
}

/// Why frames were dropped, and how many.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Drops {
    /// The reason's stable name.
    pub reason: String,
    /// A sentence on what it means; may be empty.
    pub meaning: String,
    /// How many.
    pub frames: u64,
}

/// One repetition of a measurement. Runs of the same subject in the same scenario repeat each other; everything that
/// is said about chance comes from how they differ.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// What was measured, where there are several: the name of a program.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Under what it was measured, where that varies: a frame size, a number of routes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scenario: String,
    /// The run as a whole.
    #[serde(flatten)]
    pub whole: Span,
    /// The time line, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Span>,
    /// The trials of a search, in order, each with [`OFFERED_RATE`](crate::measure::OFFERED_RATE) and
    /// [`LOSS`](crate::measure::LOSS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trials: Vec<Span>,
    /// What the device under test dropped, where it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops: Vec<Drops>,
}

impl Span {
    /// A span of `length_s` seconds that begins `start_s` seconds after the document's start.
    pub fn new(start_s: f64, length_s: f64) -> Span {
        Span { start_s, length_s, ..Span::default() }
    }

    /// With a number.
    #[must_use]
    pub fn with(self, measure: Measure, value: f64) -> Span {
        self.named(measure.name, measure.unit, measure.better, value)
    }

    /// With a number whose name is known only now, such as a device's own counter.
    #[must_use]
    pub fn named(
        mut self,
        name: impl Into<String>,
        unit: impl Into<String>,
        better: Option<Better>,
        value: f64,
    ) -> Span {
        self.counters.push(Counter { name: name.into(), unit: unit.into(), value, better });
        self
    }

    /// With a histogram of values in `unit`.
    #[must_use]
    pub fn histogram(
        mut self,
        name: impl Into<String>,
        unit: impl Into<String>,
        values: Histogram<u64>,
    ) -> Span {
        self.histograms.push(Distribution { name: name.into(), unit: unit.into(), values });
        self
    }

    /// The value of a measure.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        self.counter(measure.name).map(|counter| counter.value)
    }

    /// The number of a name.
    pub fn counter(&self, name: &str) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.name == name)
    }

    /// The histogram of a name.
    pub fn distribution(&self, name: &str) -> Option<&Distribution> {
        self.histograms.iter().find(|histogram| histogram.name == name)
    }
}

impl Run {
    /// A run whose numbers are those of `whole`.
    pub fn new(whole: Span) -> Run {
        Run { whole, ..Run::default() }
    }

    /// Of `subject`.
    #[must_use]
    pub fn of(self, subject: impl Into<String>) -> Run {
        Run { subject: subject.into(), ..self }
    }

    /// Under `scenario`.
    #[must_use]
    pub fn under(self, scenario: impl Into<String>) -> Run {
        Run { scenario: scenario.into(), ..self }
    }

    /// With the next interval of its time line.
    #[must_use]
    pub fn interval(mut self, interval: Span) -> Run {
        self.intervals.push(interval);
        self
    }

    /// With the next trial of its search.
    #[must_use]
    pub fn trial(mut self, trial: Span) -> Run {
        self.trials.push(trial);
        self
    }

    /// With what was dropped for one reason.
    #[must_use]
    pub fn dropped(mut self, reason: impl Into<String>, meaning: impl Into<String>, frames: u64) -> Run {
        self.drops.push(Drops { reason: reason.into(), meaning: meaning.into(), frames });
        self
    }

    /// The run as a whole, its intervals and its trials.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span> {
        std::iter::once(&self.whole).chain(&self.intervals).chain(&self.trials)
    }

    /// What it measured, of what, for a heading: `sluice, 64 B`. Empty if nothing varies.
    pub fn label(&self) -> String {
        [&*self.subject, &*self.scenario]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Whole numbers without a fraction, as every other program writes counts.
fn plainly<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    // Up to 2^53 every whole number is exact.
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        to.serialize_i64(*value as i64)
    } else {
        to.serialize_f64(*value)
    }
}

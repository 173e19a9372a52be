//! What several runs say of one measure.

use crate::document::Document;
use crate::histogram::QUANTILES;
use crate::measure::Better;
use crate::run::Run;

/// A measure, over all runs of one subject in one scenario.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// The runs' subject.
    pub subject: String,
    /// The runs' scenario.
    pub scenario: String,
    /// The measure's name; for a histogram's quantile `latency p99`.
    pub name: String,
    /// The histogram, if it is one's quantile. Which of its quantiles are measures depends on how much is in it.
    pub histogram: Option<String>,
    /// Its unit.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// A value a run, in the order of the runs.
    pub values: Vec<f64>,
}

impl Sample {
    /// What it is of, as [`Run::label`] has it.
    pub fn label(&self) -> String {
        let run = Run { subject: self.subject.clone(), scenario: self.scenario.clone(), ..Run::default() };
        run.label()
    }

    /// The least and the greatest value.
    pub fn range(&self) -> (f64, f64) {
        range(&self.values)
    }
}

/// All that can be compared in a document, in the order in which it first occurs.
pub fn samples(document: &Document) -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    for run in &document.runs {
        for one in comparable(run) {
            let is_it = |sample: &&mut Sample| {
                sample.subject == run.subject && sample.scenario == run.scenario && sample.name == one.name
            };
            match samples.iter_mut().find(is_it) {
                Some(sample) => sample.values.extend(one.values),
                None => samples.push(one),
            }
        }
    }
    samples
}

/// The counters that have a better and a worse, and each histogram's quantiles, of which less is better.
fn comparable(run: &Run) -> impl Iterator<Item = Sample> {
    let of = |name: String, unit: &str, better: Better, value: f64| Sample {
        subject: run.subject.clone(),
        scenario: run.scenario.clone(),
        name,
        histogram: None,
        unit: unit.to_owned(),
        better,
        values: vec![value],
    };
    let counters = run.whole.counters.iter().filter_map(move |counter| {
        Some(of(counter.name.clone(), &counter.unit, counter.better?, counter.value))
    });
    let filled = run.whole.histograms.iter().filter(|histogram| !histogram.values.is_empty());
    let quantiles = filled.flat_map(move |histogram| {
        // The last few of a run's values say little of the next run's: a quantile needs some values beyond it.
        let beyond = |quantile: f64| (1.0 - quantile) * histogram.values.len() as f64;
        QUANTILES.iter().filter(move |(_, quantile)| beyond(*quantile) >= 10.0).map(
            move |(name, quantile)| {
                let value = histogram.values.value_at_quantile(*quantile) as f64;
                let sample = of(format!("{} {name}", histogram.name), &histogram.unit, Better::Lower, value);
                Sample { histogram: Some(histogram.name.clone()), ..sample }
            },
        )
    });
    counters.chain(quantiles)
}

/// The middle value; the mean of the two middle ones of an even number; not a number of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The least and the greatest value.
pub fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::document::Kind;
    use crate::measure;
    use crate::run::Span;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn runs_of_the_same_subject_and_scenario_are_one_sample() {
        let run = |subject: &str, rate| {
            Run::new(Span::new(0.0, 1.0).with(measure::RECEIVED_RATE, rate).with(measure::SENT, 9.0))
                .of(subject)
        };
        let document = Document::new(Kind::Comparison, "test")
            .run(run("one", 1.0))
            .run(run("other", 5.0))
            .run(run("one", 2.0));
        let samples = samples(&document);
        let seen: Vec<_> = samples.iter().map(|sample| (sample.label(), sample.values.clone())).collect();
        assert_eq!(seen, [("one".to_owned(), vec![1.0, 2.0]), ("other".to_owned(), vec![5.0])]);
    }

    #[test]
    fn a_quantile_needs_values_beyond_it() {
        let mut values = Histogram::new(3).unwrap();
        values.record_n(7, 1000).unwrap();
        let run = Run::new(Span::new(0.0, 1.0).histogram("latency", "ns", values));
        let names: Vec<String> = samples(&Document::new(Kind::Load, "test").run(run))
            .into_iter()
            .map(|sample| sample.name)
            .collect();
        assert_eq!(names, ["latency p50", "latency p90", "latency p99"]);
    }
}

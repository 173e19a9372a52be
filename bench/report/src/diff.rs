//! The comparison of two documents: which measures changed, beyond chance and beyond a threshold.

use std::collections::BTreeSet;
use std::fmt;

use crate::document::Document;
use crate::measure::Better;
use crate::render::number;
use crate::summary::{Sample, samples};
use crate::welch;

/// How to compare.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Options {
    /// The chance of a single false alarm over all measures, such as 0.05.
    pub alpha: f64,
    /// Changes below this share of the value before are no matter, such as 0.01.
    pub threshold: f64,
    /// Compare what has other parameters or comes from another machine.
    pub force: bool,
}

/// Two documents, compared.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    /// A row a measure that both have, in three runs or more.
    pub rows: Vec<Row>,
    /// A sentence a measure that they do not both have in three runs: a rarer quantile where the runs were
    /// shorter, a loss at a rate that was not tried.
    pub alone: Vec<String>,
    /// In what the two differ that they should not: empty, or [`Options::force`] was set.
    pub caveats: Vec<String>,
}

/// A measure before and after.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Before.
    pub before: Sample,
    /// After.
    pub after: Sample,
    /// The difference of the means, as a share of the mean before; infinite if that is 0.
    pub relative: f64,
    /// The confidence interval of `relative`, at 1 - alpha for this measure alone.
    pub interval: (f64, f64),
    /// The probability of such a difference by chance, corrected for the number of measures.
    pub p: f64,
    /// What follows.
    pub change: Change,
}

/// What follows from a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Worse, beyond chance and the threshold.
    Worse,
    /// Better, beyond chance and the threshold.
    Better,
    /// Beyond chance, but below the threshold.
    Small,
    /// Chance explains it.
    None,
}

/// Why two documents cannot be compared, a sentence each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotComparable(pub Vec<String>);

/// With fewer runs, a standard deviation is a guess.
const FEWEST_RUNS: usize = 3;

impl Default for Options {
    fn default() -> Options {
        Options { alpha: 0.05, threshold: 0.01, force: false }
    }
}

/// Compares `after` with `before`.
///
/// # Errors
///
/// They differ in kind, parameters, machine or histograms (and [`Options::force`] is not set), or have no measure in
/// common of which there are three runs.
pub fn compare(before: &Document, after: &Document, options: &Options) -> Result<Comparison, NotComparable> {
    let (old, new) = (samples(before), samples(after));
    let caveats = caveats(before, after, &old, &new);
    if !caveats.is_empty() && !options.force {
        return Err(NotComparable(caveats));
    }
    let (pairs, alone) = pairs(old, &new);
    match alone.first() {
        _ if !pairs.is_empty() => Ok(Comparison { rows: rows(pairs, options), alone, caveats }),
        Some(few) => Err(NotComparable(vec![format!(
            "{few}: to tell a change from chance takes {FEWEST_RUNS} on each side, better 5"
        )])),
        None => Err(NotComparable(vec!["they have no measure in common".to_owned()])),
    }
}

/// The measures that have enough runs on both sides, and a sentence for each that has not.
fn pairs(old: Vec<Sample>, new: &[Sample]) -> (Vec<(Sample, Sample)>, Vec<String>) {
    let few = |one: &Sample, before, after| format!("{} has {before} and {after} runs", title(one));
    let only_new = new.iter().filter(|one| !old.iter().any(|other| is_same(one, other)));
    let mut alone: Vec<String> = only_new.map(|one| few(one, 0, one.values.len())).collect();
    let mut pairs = Vec::new();
    for one in old {
        let twin = new.iter().find(|other| is_same(&one, other));
        let runs = (one.values.len(), twin.map_or(0, |twin| twin.values.len()));
        match twin {
            Some(twin) if runs.0.min(runs.1) >= FEWEST_RUNS => pairs.push((one, twin.clone())),
            _ => alone.push(few(&one, runs.0, runs.1)),
        }
    }
    (pairs, alone)
}

fn rows(pairs: Vec<(Sample, Sample)>, options: &Options) -> Vec<Row> {
    let differences: Vec<welch::Difference> = pairs
        .iter()
        .map(|(one, other)| welch::compare(&one.values, &other.values, 1.0 - options.alpha))
        .collect();
    let corrected = welch::holm(&differences.iter().map(|difference| difference.p).collect::<Vec<_>>());
    let row = |(((before, after), difference), p): (((Sample, Sample), welch::Difference), f64)| {
        let base = before.values.iter().sum::<f64>() / before.values.len() as f64;
        let share = |difference: f64| if difference == 0.0 { 0.0 } else { difference / base.abs() };
        let relative = share(difference.mean);
        let is_better = (relative > 0.0) == (before.better == Better::Higher);
        let change = if p >= options.alpha {
            Change::None
        } else if relative.abs() < options.threshold {
            Change::Small
        } else if is_better {
            Change::Better
        } else {
            Change::Worse
        };
        Row { interval: (share(difference.low), share(difference.high)), relative, p, change, before, after }
    };
    pairs.into_iter().zip(differences).zip(corrected).map(row).collect()
}

/// In what two documents differ, though a comparison takes it to be the same.
fn caveats(before: &Document, after: &Document, old: &[Sample], new: &[Sample]) -> Vec<String> {
    let mut caveats = conditions(before, after);
    let missing = |from: &[Sample], to: &[Sample], side: &str| -> BTreeSet<String> {
        let is_histogram = |one: &Sample, other: &Sample| {
            (&one.subject, &one.scenario, &one.histogram)
                == (&other.subject, &other.scenario, &other.histogram)
        };
        let alone = from.iter().filter(|one| !to.iter().any(|other| is_histogram(one, other)));
        let names = alone.filter_map(|one| Some(titled(one, one.histogram.as_ref()?)));
        names.map(|name| format!("{name} is only in the {side}")).collect()
    };
    caveats.extend(missing(old, new, "first"));
    caveats.extend(missing(new, old, "second"));
    caveats
}

/// In what the conditions differ under which two documents were measured.
fn conditions(before: &Document, after: &Document) -> Vec<String> {
    let mut conditions = Vec::new();
    if before.kind != after.kind {
        conditions.push(format!(
            "one is of {:?}, the other of {:?}",
            before.kind.title(),
            after.kind.title()
        ));
    }
    let parameters = |document: &Document| -> Vec<(String, String)> {
        let of = |parameter: &crate::document::Parameter| (parameter.name.clone(), parameter.value.clone());
        document.parameters.iter().map(of).collect()
    };
    let facts = |document: &Document| -> Vec<(String, String)> {
        let decisive = document.environment.facts.iter().filter(|fact| fact.decisive);
        decisive.map(|fact| (fact.name.clone(), fact.value.clone())).collect()
    };
    conditions.extend(differences("parameter", &parameters(before), &parameters(after)));
    conditions.extend(differences("environment:", &facts(before), &facts(after)));
    conditions
}

impl Document {
    /// Adds the runs of another, which are repetitions of the same measurement.
    ///
    /// # Errors
    /// They are not: they differ in kind, parameters or machine.
    pub fn join(&mut self, other: Document) -> Result<(), NotComparable> {
        let conditions = conditions(self, &other);
        if !conditions.is_empty() {
            return Err(NotComparable(conditions));
        }
        self.runs.extend(other.runs);
        Ok(())
    }
}

/// A sentence a name whose values differ. A name may occur more than once: two devices.
fn differences(what: &str, before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let values = |list: &[(String, String)], name: &str| -> String {
        let values: Vec<&str> = list.iter().filter(|(n, _)| n == name).map(|(_, value)| &**value).collect();
        if values.is_empty() { "not set".to_owned() } else { values.join("; ") }
    };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in before.iter().chain(after) {
        if !names.contains(&&**name) {
            names.push(name);
        }
    }
    let sentence = |name: &str| {
        let (one, other) = (values(before, name), values(after, name));
        (one != other).then(|| format!("{what} {name}: {one}, then {other}"))
    };
    names.into_iter().filter_map(sentence).collect()
}

fn is_same(one: &Sample, other: &Sample) -> bool {
    let key = |sample: &Sample| {
        (sample.subject.clone(), sample.scenario.clone(), sample.name.clone(), sample.unit.clone())
    };
    key(one) == key(other)
}

/// `sluice, 64 B: latency p99`.
fn title(sample: &Sample) -> String {
    titled(sample, &sample.name)
}

fn titled(sample: &Sample, name: &str) -> String {
    let label = sample.label();
    if label.is_empty() { name.to_owned() } else { format!("{label}: {name}") }
}

impl Comparison {
    /// Whether any measure got worse.
    pub fn has_regressed(&self) -> bool {
        self.rows.iter().any(|row| row.change == Change::Worse)
    }
}

/// A sentence a measure, then the sum of them.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for caveat in &self.caveats {
            writeln!(f, "note: {caveat}")?;
        }
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.alone.iter().try_for_each(|few| writeln!(f, "not compared: {few}"))?;
        let count = |change| self.rows.iter().filter(|row| row.change == change).count();
        let (worse, better) = (count(Change::Worse), count(Change::Better));
        write!(
            f,
            "{} measures: {worse} worse, {better} better, {} without a change that matters",
            self.rows.len(),
            self.rows.len() - worse - better
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = |sample: &Sample| {
            let mean = sample.values.iter().sum::<f64>() / sample.values.len() as f64;
            number::quantity(mean, &sample.unit)
        };
        let verdict = match self.change {
            Change::Worse => "worse",
            Change::Better => "better",
            Change::Small => "no matter",
            Change::None => "no change",
        };
        write!(f, "{verdict:9}  {}: {} -> {}", title(&self.before), mean(&self.before), mean(&self.after))?;
        if self.relative.is_finite() {
            let (low, high) = self.interval;
            write!(
                f,
                ", {} ({} .. {})",
                number::change(self.relative),
                number::change(low),
                number::change(high)
            )?;
        }
        let p = if self.p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {:.3}", self.p) };
        write!(f, ", {p}, {} and {} runs", self.before.values.len(), self.after.values.len())
    }
}

impl std::error::Error for NotComparable {}

impl fmt::Display for NotComparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not comparable: {}", self.0.join("; "))
    }
}

//! The summary for a terminal.

use std::fmt::Write as _;

use super::number::{quantity, range};
use crate::document::Document;
use crate::histogram::{Distribution, QUANTILES};
use crate::run::{Run, Span};
use crate::summary::{Sample, median, samples};

/// What was measured, its numbers, and whether they can be trusted.
pub fn text(document: &Document) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}, {}, {}", document.kind.title(), document.tool, document.started_text());
    let settings: Vec<String> = document
        .parameters
        .iter()
        .map(|parameter| format!("{} {}", parameter.name, parameter.value))
        .collect();
    if !settings.is_empty() {
        let _ = writeln!(out, "  {}", settings.join(", "));
    }
    match &document.runs[..] {
        [run] => alone(&mut out, run),
        _ => together(&mut out, document),
    }
    if let Some(verdict) = &document.verdict {
        let _ = writeln!(out, "\n{}", if verdict.passed { "Passed" } else { "Failed" });
        verdict.sentences.iter().for_each(|sentence| {
            let _ = writeln!(out, "  {sentence}");
        });
    }
    let _ = writeln!(out, "\nCan these numbers be trusted? {}", document.environment.trust_sentence());
    out
}

/// One run: all it has.
fn alone(out: &mut String, run: &Run) {
    let label = run.label();
    let label = if label.is_empty() { String::new() } else { format!("{label}, ") };
    let _ = writeln!(out, "  {label}{}", quantity(run.whole.length_s, "s"));
    numbers(out, &run.whole);
    run.whole.histograms.iter().for_each(|histogram| percentiles(out, histogram));
    if !run.drops.is_empty() {
        let _ = writeln!(out, "\n  Dropped");
    }
    for drops in &run.drops {
        let _ = writeln!(out, "    {:<24} {:>16}", drops.reason, quantity(drops.frames as f64, ""));
    }
}

fn numbers(out: &mut String, span: &Span) {
    let _ = writeln!(out);
    for counter in &span.counters {
        let _ = writeln!(out, "    {:<24} {:>24}", counter.name, quantity(counter.value, &counter.unit));
    }
}

fn percentiles(out: &mut String, histogram: &Distribution) {
    let values = &histogram.values;
    let _ = writeln!(out, "\n  {} of {}", capital(&histogram.name), quantity(values.len() as f64, ""));
    if values.is_empty() {
        return;
    }
    let mut row = |name: &str, value: f64| {
        let _ = writeln!(out, "    {name:<8} {:>12}", quantity(value, &histogram.unit));
    };
    row("min", values.min() as f64);
    QUANTILES.iter().for_each(|(name, quantile)| row(name, values.value_at_quantile(*quantile) as f64));
    row("max", values.max() as f64);
}

/// Several runs: the median of each measure, with its range. Those of the same measure stand together.
fn together(out: &mut String, document: &Document) {
    let all = samples(document);
    let is_alone = all.iter().all(|sample| sample.label() == all[0].label());
    let mut names: Vec<&str> = Vec::new();
    for sample in &all {
        let heading = if is_alone { "" } else { &*sample.name };
        if names.contains(&heading) {
            continue;
        }
        names.push(heading);
        let of = if is_alone { String::new() } else { format!("{}: ", capital(heading)) };
        let _ = writeln!(out, "\n  {of}median of {} (least .. most)", sample.values.len());
        for sample in all.iter().filter(|sample| is_alone || sample.name == heading) {
            let name = if is_alone { sample.name.clone() } else { sample.label() };
            let _ = writeln!(out, "    {}", row(&name, sample));
        }
    }
}

fn row(name: &str, sample: &Sample) -> String {
    let (least, most) = sample.range();
    let middle = quantity(median(&sample.values), &sample.unit);
    format!("{name:<28} {middle:>22}   ({})", range(least, most, &sample.unit))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

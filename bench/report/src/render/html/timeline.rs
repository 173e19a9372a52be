//! The time line: counters by the second, and percentiles of the intervals.

use maud::{Markup, html};

use super::axis::Axis;
use super::bars::distinct;
use super::chart::{Chart, legend};
use super::condense::condense;
use super::table::{figure, table};
use crate::document::Document;
use crate::histogram::QUANTILES;
use crate::render::number::{quantity, significant};
use crate::run::{Run, Span};

/// What is at most so large a share of the largest series beside it is drawn on axes of its own.
const RARE: f64 = 0.05;

/// More intervals than this are drawn several together.
const MOST_INTERVALS: usize = 400;

/// A series: for each run its points.
struct Series {
    name: String,
    unit: String,
    runs: Vec<Vec<(f64, f64)>>,
}

/// The figures of the runs of one label, one after the other on the same axis.
pub(super) fn timeline(document: &Document, label: &str) -> Vec<Markup> {
    let of_label = document.runs.iter().filter(|run| run.label() == label && !run.intervals.is_empty());
    let runs: Vec<&Run> = of_label.collect();
    let most = MOST_INTERVALS / runs.len().max(1);
    let runs: Vec<Vec<Span>> = runs.iter().map(|run| condense(&run.intervals, most.max(2))).collect();
    let mut figures = Vec::new();
    let counters = counters(&runs);
    for unit in distinct(counters.iter().map(|series| &*series.unit)) {
        let of_unit: Vec<&Series> = counters.iter().filter(|series| series.unit == unit).collect();
        figures.extend(of_one_unit(unit, &of_unit, &runs));
    }
    for name in
        distinct(runs.iter().flatten().flat_map(|span| &span.histograms).map(|histogram| &*histogram.name))
    {
        figures.push(quantiles(name, &runs));
    }
    figures
}

/// Counts become rates, so that intervals of different lengths can be compared.
fn counters(runs: &[Vec<Span>]) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for (run, spans) in runs.iter().enumerate() {
        for span in spans {
            for counter in &span.counters {
                let is_count =
                    !counter.unit.contains('/') && !matches!(&*counter.unit, "ratio" | "ns" | "s" | "");
                let (unit, value) = if is_count {
                    (format!("{}/s", counter.unit), counter.value / span.length_s.max(1e-9))
                } else {
                    (counter.unit.clone(), counter.value)
                };
                let at = all.iter().position(|series| series.name == counter.name).unwrap_or(all.len());
                if at == all.len() {
                    all.push(Series { name: counter.name.clone(), unit, runs: vec![Vec::new(); runs.len()] });
                }
                all[at].runs[run].push((middle(span), value));
            }
        }
    }
    all
}

fn of_one_unit(unit: &str, series: &[&Series], runs: &[Vec<Span>]) -> Vec<Markup> {
    let greatest = series.iter().map(|series| series.greatest()).fold(0.0, f64::max);
    let (silent, heard): (Vec<&Series>, Vec<&Series>) =
        series.iter().partition(|series| series.greatest() == 0.0);
    let (rare, frequent): (Vec<&Series>, Vec<&Series>) =
        heard.into_iter().partition(|series| series.greatest() < greatest * RARE);
    let panel = |series: &[&Series], silent: &[&Series]| {
        let names: Vec<&str> = series.iter().map(|series| &*series.name).collect();
        let quiet: Vec<&str> = silent.iter().map(|series| &*series.name).collect();
        let mut title = format!("{} over time", list(&names));
        if !quiet.is_empty() {
            title += &format!("; always 0: {}", list(&quiet));
        }
        draw(&title, unit, series, silent, runs)
    };
    match (frequent.is_empty(), rare.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![panel(&frequent, &silent)],
        (false, false) => vec![panel(&frequent, &[]), panel(&rare, &silent)],
    }
}

fn draw(title: &str, unit: &str, series: &[&Series], silent: &[&Series], runs: &[Vec<Span>]) -> Markup {
    let high = series.iter().map(|series| series.greatest()).fold(0.0, f64::max);
    let mut chart =
        Chart::new(title, "One line a counter", time_axis(runs), Axis::linear(unit, unit, 0.0, high * 1.03));
    for (colour, series) in series.iter().enumerate() {
        series.runs.iter().for_each(|points| chart.line(colour, "", points.iter().copied()));
    }
    let chart = html! {
        (chart.draw())
        (legend(series.iter().enumerate().map(|(colour, series)| (colour, &*series.name))))
    };
    let shown: Vec<&Series> = series.iter().chain(silent).copied().collect();
    let mut heading = vec!["seconds".to_owned()];
    heading.extend(shown.iter().map(|series| series.name.clone()));
    let value = |span: &Span, series: &Series| {
        span.counter(&series.name).map_or_else(String::new, |counter| quantity(counter.value, &counter.unit))
    };
    let row = |span: &Span| {
        let mut row = vec![from_to(span)];
        row.extend(shown.iter().map(|series| value(span, series)));
        row
    };
    figure(title, &chart, &table(&heading, &runs.iter().flatten().map(row).collect::<Vec<_>>()))
}

/// The quantiles of each interval's histogram, and its greatest value.
fn quantiles(name: &str, runs: &[Vec<Span>]) -> Markup {
    let filled =
        |span: &Span| span.distribution(name).filter(|histogram| !histogram.values.is_empty()).cloned();
    let all = || runs.iter().flatten().filter_map(filled);
    let unit = all().next().map_or_else(String::new, |histogram| histogram.unit);
    let low = all().map(|histogram| histogram.values.value_at_quantile(0.5)).min().unwrap_or(1).max(1);
    let high = all().map(|histogram| histogram.values.max()).max().unwrap_or(1);
    // A quantile with nothing beyond it is the greatest value again.
    let fewest = all().map(|histogram| histogram.values.len()).min().unwrap_or(0) as f64;
    let quantiles = QUANTILES.into_iter().filter(|(_, quantile)| (1.0 - quantile) * fewest >= 1.0);
    let lines: Vec<(&str, f64)> = quantiles.chain([("max", 1.0)]).collect();
    let title = format!("{name} over time");
    let description = "A line a percentile, of the values of each interval";
    let y = Axis::log(format!("{name} ({unit})"), &unit, low as f64, high as f64);
    let mut chart = Chart::new(&*title, description, time_axis(runs), y);
    for (colour, (_, quantile)) in lines.iter().enumerate() {
        for spans in runs {
            let point =
                |span: &Span| Some((middle(span), filled(span)?.values.value_at_quantile(*quantile) as f64));
            chart.line(colour, "", spans.iter().filter_map(point));
        }
    }
    let chart = html! {
        (chart.draw())
        (legend(lines.iter().enumerate().map(|(colour, (name, _))| (colour, *name))))
    };
    let mut heading = vec!["seconds".to_owned(), "count".to_owned()];
    heading.extend(lines.iter().map(|(name, _)| (*name).to_owned()));
    let row = |span: &Span| {
        let histogram = filled(span)?;
        let mut row = vec![from_to(span), quantity(histogram.values.len() as f64, "")];
        let value = |quantile: f64| quantity(histogram.values.value_at_quantile(quantile) as f64, &unit);
        row.extend(lines.iter().map(|(_, quantile)| value(*quantile)));
        Some(row)
    };
    figure(&title, &chart, &table(&heading, &runs.iter().flatten().filter_map(row).collect::<Vec<_>>()))
}

impl Series {
    fn greatest(&self) -> f64 {
        self.runs.iter().flatten().map(|(_, value)| *value).fold(0.0, f64::max)
    }
}

fn time_axis(runs: &[Vec<Span>]) -> Axis {
    let spans = || runs.iter().flatten();
    let low = spans().map(|span| span.start_s).fold(f64::MAX, f64::min);
    let high = spans().map(|span| span.start_s + span.length_s).fold(0.0, f64::max);
    Axis::time(low.min(high), high)
}

fn middle(span: &Span) -> f64 {
    span.start_s + span.length_s / 2.0
}

fn from_to(span: &Span) -> String {
    format!("{} .. {}", significant(span.start_s), significant(span.start_s + span.length_s))
}

/// `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

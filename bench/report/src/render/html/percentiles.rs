//! Latency by percentile, as HdrHistogram's own plots have it: the nines are at equal distances.

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::axis::{Axis, nines};
use super::chart::{Chart, legend};
use super::table::{figure, table};
use crate::document::Document;
use crate::histogram::QUANTILES;
use crate::render::number::quantity;

/// The runs of one label that have the histogram.
struct Line {
    label: String,
    runs: Vec<Histogram<u64>>,
    /// All of them together.
    all: Histogram<u64>,
}

/// A figure for each name of a histogram, with a line for each label.
pub(super) fn percentiles(document: &Document) -> Vec<Markup> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for histogram in document.runs.iter().flat_map(|run| &run.whole.histograms) {
        let name = (&*histogram.name, &*histogram.unit);
        if !histogram.values.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(|(name, unit)| draw(name, unit, &lines(document, name))).collect()
}

fn lines(document: &Document, name: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for run in &document.runs {
        let Some(histogram) = run.whole.distribution(name) else { continue };
        if histogram.values.is_empty() {
            continue;
        }
        let label = run.label();
        let values = histogram.values.clone();
        match lines.iter_mut().find(|line| line.label == label) {
            Some(line) => {
                line.all = sum(&line.all, &values);
                line.runs.push(values);
            }
            None => lines.push(Line { label, runs: vec![values.clone()], all: values }),
        }
    }
    lines
}

/// Both together, in a histogram that has room for either.
fn sum(one: &Histogram<u64>, other: &Histogram<u64>) -> Histogram<u64> {
    let mut sum = one.clone();
    sum.auto(true);
    // It grows as it must; without memory for that, the other is better than a panic.
    if sum.add(other).is_err() { other.clone() } else { sum }
}

fn draw(name: &str, unit: &str, lines: &[Line]) -> Markup {
    let count = lines.iter().map(|line| line.all.len()).max().unwrap_or(0);
    let low = lines.iter().map(|line| line.all.min()).min().unwrap_or(1).max(1);
    let high = lines.iter().map(|line| line.all.max()).max().unwrap_or(1);
    let title = format!("{name} by percentile");
    let description = "Thin lines are single runs, thick ones all runs together; the axis of percentiles has the nines at equal distances";
    let y = Axis::log(format!("{name} ({unit})"), unit, low as f64, high as f64);
    let mut chart = Chart::new(&*title, description, Axis::quantiles(count), y);
    for (colour, line) in lines.iter().enumerate() {
        if line.runs.len() > 1 {
            line.runs.iter().for_each(|run| chart.line(colour, "faint", points(run)));
        }
        chart.line(colour, "", points(&line.all));
        for (quantile_name, quantile) in QUANTILES {
            if nines(quantile) <= (line.all.len() as f64).log10() {
                let value = line.all.value_at_quantile(quantile) as f64;
                let says = format!("{} {quantile_name}: {}", line.label, quantity(value, unit));
                chart.dot(colour, "small", (nines(quantile), value), says.trim_start());
            }
        }
    }
    let labels = lines.iter().enumerate().map(|(colour, line)| (colour, &*line.label));
    let chart = html! {
        (chart.draw())
        @if lines.len() > 1 { (legend(labels)) }
    };
    figure(&title, &chart, &numbers(unit, lines))
}

/// Fifty points a decade of nines, from the least to the greatest value.
fn points(values: &Histogram<u64>) -> Vec<(f64, f64)> {
    let end = (values.len() as f64).log10();
    let steps = (end * 50.0).ceil() as u32;
    let mut points: Vec<(f64, f64)> = (0..=steps)
        .map(|step| (f64::from(step) / 50.0).min(end))
        .map(|nines| (nines, values.value_at_quantile(1.0 - 10_f64.powf(-nines)) as f64))
        .collect();
    points.push((end, values.max() as f64));
    // Where it is flat, its ends are enough.
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let is_same = |other: Option<&(f64, f64)>| other.is_some_and(|other| other.1 == point.1);
        if !(at > 0 && is_same(points.get(at - 1)) && is_same(points.get(at + 1))) {
            kept.push(*point);
        }
    }
    kept
}

fn numbers(unit: &str, lines: &[Line]) -> Markup {
    let mut heading = vec![String::new(), "count".to_owned(), "min".to_owned()];
    heading.extend(QUANTILES.iter().map(|(name, _)| (*name).to_owned()));
    heading.push("max".to_owned());
    let row = |name: String, values: &Histogram<u64>| {
        let mut row = vec![name, quantity(values.len() as f64, ""), quantity(values.min() as f64, unit)];
        row.extend(
            QUANTILES.iter().map(|(_, quantile)| quantity(values.value_at_quantile(*quantile) as f64, unit)),
        );
        row.push(quantity(values.max() as f64, unit));
        row
    };
    let of_line = |line: &Line| {
        let name =
            |text: String| if line.label.is_empty() { text } else { format!("{}, {text}", line.label) };
        let mut rows = vec![row(name("all".to_owned()), &line.all)];
        if line.runs.len() > 1 {
            let runs = line.runs.iter().enumerate();
            rows.extend(runs.map(|(at, run)| row(name(format!("run {}", at + 1)), run)));
        }
        rows
    };
    table(&heading, &lines.iter().flat_map(of_line).collect::<Vec<_>>())
}

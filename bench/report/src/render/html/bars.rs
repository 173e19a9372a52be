//! Bars: measures of several subjects or scenarios beside each other, and drops by reason.

use maud::{Markup, html};

use super::chart::{COLOURS, HALF, WIDE, short};
use super::table::{cells, figure, table};
use crate::document::Document;
use crate::measure::Better;
use crate::render::number::quantity;
use crate::summary::{Sample, median, samples};

const LABEL: f64 = 130.0;
const ROW: f64 = 28.0;

/// A bar: its name, its colour, what is written at its end, and what its values are.
struct Bar {
    name: String,
    colour: usize,
    text: String,
    values: Vec<f64>,
}

/// For each measure that more than one label has, a figure with a panel for each scenario and a bar for each subject; or
/// with a bar for each scenario, if there is but one subject.
pub(super) fn comparison(document: &Document) -> Option<Markup> {
    let all = samples(document);
    let subjects = distinct(all.iter().map(|sample| &*sample.subject));
    let names = distinct(all.iter().map(|sample| &*sample.name));
    let of_name = |name: &&str| {
        let of: Vec<&Sample> = all.iter().filter(|sample| sample.name == *name).collect();
        (of.len() > 1).then(|| measure(&of, &subjects))
    };
    let figures: Vec<Markup> = names.iter().filter_map(of_name).collect();
    let beside = if subjects.len() > 1 { "" } else { "pair" };
    (!figures.is_empty()).then(|| html! { div class=(beside) { @for figure in &figures { (figure) } } })
}

fn measure(samples: &[&Sample], subjects: &[&str]) -> Markup {
    let first = samples[0];
    let better = match first.better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    let most = samples.iter().map(|sample| sample.range().1).fold(0.0, f64::max);
    let scenarios = distinct(samples.iter().map(|sample| &*sample.scenario));
    let colour =
        |sample: &Sample| subjects.iter().position(|subject| *subject == sample.subject).unwrap_or(0);
    let panels: Vec<(&str, Vec<Bar>)> = if subjects.len() > 1 {
        let bars = |scenario: &str| {
            let of = samples.iter().filter(|sample| sample.scenario == scenario);
            of.map(|sample| bar(sample, &sample.subject, colour(sample))).collect()
        };
        scenarios.iter().map(|scenario| (*scenario, bars(scenario))).collect()
    } else {
        vec![("", samples.iter().map(|sample| bar(sample, &sample.scenario, 0)).collect())]
    };
    let width = if subjects.len() > 1 && panels.len() < 2 { WIDE } else { HALF };
    let row = |sample: &&Sample| {
        let of = |value| quantity(value, &sample.unit);
        let (low, high) = sample.range();
        vec![sample.label(), of(median(&sample.values)), of(low), of(high), sample.values.len().to_string()]
    };
    let numbers =
        table(&cells(["", "median", "least", "most", "runs"]), &samples.iter().map(row).collect::<Vec<_>>());
    let title = format!("{}, {better}: median, and from least to most", first.name);
    let chart = html! {
        div.panels {
            @for (scenario, bars) in &panels {
                div {
                    @if !scenario.is_empty() { h4 { (scenario) } }
                    (draw(&format!("{} {scenario}", first.name), width, bars, most))
                }
            }
        }
    };
    figure(&title, &chart, &numbers)
}

fn bar(sample: &Sample, name: &str, colour: usize) -> Bar {
    let text = quantity(median(&sample.values), &sample.unit);
    Bar { name: name.to_owned(), colour, text, values: sample.values.clone() }
}

/// Frames by the reason of their drop, over all runs, the most frequent first.
pub(super) fn drops(document: &Document) -> Option<Markup> {
    let mut reasons: Vec<(&str, &str, u64)> = Vec::new();
    for drops in document.runs.iter().flat_map(|run| &run.drops) {
        match reasons.iter_mut().find(|(reason, _, _)| *reason == drops.reason) {
            Some((_, _, frames)) => *frames += drops.frames,
            None => reasons.push((&drops.reason, &drops.meaning, drops.frames)),
        }
    }
    reasons.sort_by_key(|(_, _, frames)| std::cmp::Reverse(*frames));
    let most = reasons.first()?.2 as f64;
    let bars: Vec<Bar> = reasons
        .iter()
        .map(|(reason, _, frames)| Bar {
            name: (*reason).to_owned(),
            colour: 1,
            text: quantity(*frames as f64, ""),
            values: vec![*frames as f64],
        })
        .collect();
    let row = |(reason, meaning, frames): &(&str, &str, u64)| {
        vec![(*reason).to_owned(), quantity(*frames as f64, ""), (*meaning).to_owned()]
    };
    let numbers =
        table(&cells(["reason", "frames", "meaning"]), &reasons.iter().map(row).collect::<Vec<_>>());
    Some(figure(
        "Dropped frames by reason, all runs",
        &draw("Dropped frames by reason", WIDE, &bars, most),
        &numbers,
    ))
}

fn draw(title: &str, width: f64, bars: &[Bar], most: f64) -> Markup {
    let height = ROW * bars.len() as f64 + 4.0;
    // Room for the text behind a bar: a letter is at most so wide.
    let letters = bars.iter().map(|bar| bar.text.chars().count()).max().unwrap_or(0);
    let longest = width - LABEL - 16.0 - 8.0 * letters as f64;
    let reach = |value: f64| if most > 0.0 { value / most * longest } else { 0.0 };
    let said: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.name, bar.text)).collect();
    html! {
        svg.bars viewBox={ "0 0 " (width) " " (height) } role="img" aria-label={ (title) ": " (said.join(", ")) } {
            desc { "A bar for each of " (bars.len()) }
            line.base x1=(LABEL) x2=(LABEL) y1="0" y2=(height) {}
            @for (at, bar) in bars.iter().enumerate() {
                @let y = ROW * at as f64 + 2.0;
                @let (low, high) = crate::summary::range(&bar.values);
                @let middle = short(y + ROW / 2.0);
                text x=(LABEL - 10.0) y=(short(y + ROW / 2.0 + 4.5)) text-anchor="end" { (bar.name) }
                rect class={ "bar s" (bar.colour % COLOURS) } x=(LABEL) y=(short(y + 5.0)) rx="2"
                    width=(short(reach(median(&bar.values)).max(1.0))) height=(ROW - 10.0) {
                    title { (bar.name) ": " (bar.text) }
                }
                @if high > low {
                    line.whisker x1=(short(LABEL + reach(low))) x2=(short(LABEL + reach(high))) y1=(middle) y2=(middle) {}
                    @for end in [low, high] {
                        @let x = short(LABEL + reach(end));
                        line.whisker x1=(x) x2=(x) y1=(short(y + ROW / 2.0 - 4.0)) y2=(short(y + ROW / 2.0 + 4.0)) {}
                    }
                }
                text.value x=(short(LABEL + reach(high) + 8.0)) y=(short(y + ROW / 2.0 + 4.5)) { (bar.text) }
            }
        }
    }
}

/// Each once, in the order in which they first occur.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

//! The page, from the top.

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::bars::{comparison, distinct, drops};
use super::chart::short;
use super::percentiles::percentiles;
use super::search::search;
use super::table::table;
use super::timeline::timeline;
use crate::document::Document;
use crate::environment::{Environment, Finding, Trust, Weight};
use crate::render::number::{quantity, range};
use crate::run::Run;
use crate::summary::{Sample, median, samples};

const STYLE: &str = include_str!("style.css");

/// The document as a page for a browser, or for paper.
pub fn html(document: &Document) -> String {
    let title = format!("{}, {}", document.kind.title(), document.started_text());
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without it, a browser asks the server for one.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(document)) }
                main {
                    (headline(document))
                    (searches(document))
                    (section("Comparison", comparison(document)))
                    (section("Latency", percentiles(document)))
                    (section("Over time", timelines(document)))
                    (section("Drops", drops(document)))
                    section { h2 { "All runs" } (all_runs(document)) }
                    section { h2 { "Environment" } (environment(&document.environment)) }
                }
                footer { (document.tool) ", " (document.started_text()) ", schema version " (crate::VERSION) }
            }
        }
    };
    page.into_string()
}

fn head(document: &Document) -> Markup {
    let trust = document.environment.trust();
    markup! {
        p.kicker { (document.tool) " · " (document.started_text()) }
        h1 { (document.kind.title()) }
        @if !document.parameters.is_empty() {
            dl.parameters {
                @for parameter in &document.parameters {
                    div { dt { (parameter.name) } dd { (parameter.value) } }
                }
            }
        }
        pre.command { code { (document.command_line()) } }
        div.verdicts {
            @if let Some(verdict) = &document.verdict {
                div class={ "verdict " (if verdict.passed { "good" } else { "bad" }) } {
                    strong { (if verdict.passed { "Passed" } else { "Failed" }) }
                    @for sentence in &verdict.sentences { p { (sentence) } }
                }
            }
            div class={ "verdict " (colour(trust)) } {
                strong { "Can these numbers be trusted?" }
                p { (capital(&document.environment.trust_sentence())) "." }
            }
        }
    }
}

/// The measures of a document of one thing, each as a card.
fn headline(document: &Document) -> Markup {
    let samples = samples(document);
    let labels = distinct(
        document.runs.iter().map(|run| &*run.subject).chain(document.runs.iter().map(|run| &*run.scenario)),
    );
    markup! {
        @if labels.len() == 1 && !samples.is_empty() {
            section.cards { @for sample in &samples { (card(sample)) } }
        }
    }
}

fn card(sample: &Sample) -> Markup {
    let (low, high) = sample.range();
    let text = quantity(median(&sample.values), &sample.unit);
    let (number, unit) = text.split_once(' ').unwrap_or((&text, ""));
    markup! {
        div.card {
            h3 { (sample.name) @if sample.values.len() > 1 { span { "median of " (sample.values.len()) } } }
            p.number { (number) " " small { (unit) } }
            @if sample.values.len() > 1 {
                svg.strip viewBox="0 0 200 14" preserveAspectRatio="xMinYMid" aria-hidden="true" {
                    line x1="4" x2="196" y1="7" y2="7" {}
                    @for value in &sample.values {
                        @let share = if high > low { (value - low) / (high - low) } else { 0.5 };
                        circle cx=(short(4.0 + 192.0 * share)) cy="7" r="4" {}
                    }
                }
                p.range { (range(low, high, &sample.unit)) }
            }
        }
    }
}

fn searches(document: &Document) -> Markup {
    let searches: Vec<(String, Markup)> = document
        .runs
        .iter()
        .enumerate()
        .filter_map(|(at, run)| Some((run_title(document, at, run), search(run)?)))
        .collect();
    let Some(((title, first), others)) = searches.split_first() else { return markup! {} };
    markup! {
        section {
            h2 { "Throughput search" }
            h3 { (title) }
            (first)
            @for (title, figures) in others { details.more { summary { (title) } (figures) } }
        }
    }
}

fn timelines(document: &Document) -> Vec<Markup> {
    let labels: Vec<String> = document.runs.iter().map(Run::label).collect();
    let labels = distinct(labels.iter().map(String::as_str));
    let of_label = |label: &&str| {
        let heading = (labels.len() > 1).then(|| markup! { h3 { (label) } });
        let figures = timeline(document, label);
        let heading = if figures.is_empty() { None } else { heading };
        heading.into_iter().chain(figures).collect::<Vec<_>>()
    };
    labels.iter().flat_map(of_label).collect()
}

/// Every number of every run.
fn all_runs(document: &Document) -> Markup {
    let names =
        distinct(document.runs.iter().flat_map(|run| &run.whole.counters).map(|counter| &*counter.name));
    let mut heading = vec!["run".to_owned(), "length".to_owned()];
    heading.extend(names.iter().map(|name| (*name).to_owned()));
    let value = |run: &Run, name: &str| {
        run.whole.counter(name).map_or_else(|| "-".to_owned(), |one| quantity(one.value, &one.unit))
    };
    let row = |(at, run): (usize, &Run)| {
        let mut row = vec![run_title(document, at, run), quantity(run.whole.length_s, "s")];
        row.extend(names.iter().map(|name| value(run, name)));
        row
    };
    table(&heading, &document.runs.iter().enumerate().map(row).collect::<Vec<_>>())
}

/// `sluice, 64 B, run 2`: it counts within its label.
fn run_title(document: &Document, at: usize, run: &Run) -> String {
    let label = run.label();
    let number = document.runs[..=at].iter().filter(|other| other.label() == label).count();
    if label.is_empty() { format!("Run {number}") } else { format!("{label}, run {number}") }
}

fn environment(environment: &Environment) -> Markup {
    let (bad, good): (Vec<&Finding>, Vec<&Finding>) =
        environment.findings.iter().partition(|finding| finding.weight != Weight::Good);
    markup! {
        ul.findings {
            @for finding in bad {
                li class=(if finding.weight == Weight::Spoils { "bad" } else { "care" }) {
                    strong { (capital(&finding.what)) }
                    p { (capital(&finding.why)) "." }
                    pre { code { (finding.mend) } }
                }
            }
            @for finding in good { li.good { (capital(&finding.what)) } }
        }
        dl.facts {
            @for fact in &environment.facts { div { dt { (fact.name) } dd { (fact.value) } } }
        }
    }
}

/// A section, unless it is empty.
fn section(title: &str, parts: impl IntoIterator<Item = Markup>) -> Markup {
    let parts: Vec<Markup> = parts.into_iter().collect();
    markup! {
        @if !parts.is_empty() {
            section { h2 { (title) } @for part in &parts { (part) } }
        }
    }
}

fn colour(trust: Trust) -> &'static str {
    match trust {
        Trust::Yes => "good",
        Trust::WithCare | Trust::Unknown => "care",
        Trust::No => "bad",
    }
}

fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

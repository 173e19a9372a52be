//! Comparisons of whole documents.

#![expect(clippy::unwrap_used, reason = "what fails to be there fails the test")]

mod common;

use common::{Chance, REQUESTS};
use report::measure::{LOSS, Measure};
use report::{Change, Comparison, Document, Kind, NotComparable, Options, Run, Span, compare};

fn usual(before: &Document, after: &Document) -> Result<Comparison, NotComparable> {
    compare(before, after, &Options::default())
}

fn change(comparison: &Comparison, name: &str) -> Change {
    comparison.rows.iter().find(|row| row.before.name == name).unwrap().change
}

#[test]
fn a_document_is_no_worse_than_itself() {
    for (name, document) in common::all() {
        let comparison = usual(&document, &document).unwrap();
        assert!(!comparison.has_regressed(), "{name}");
        assert!(
            comparison.rows.iter().all(|row| row.change == Change::None && row.p == 1.0),
            "{name}: {comparison}"
        );
    }
}

#[test]
fn slower_is_worse_and_faster_is_better() {
    let (usually, slower) = (common::load(1, 1.0), common::load(2, 0.95));
    let comparison = usual(&usually, &slower).unwrap();
    assert!(comparison.has_regressed());
    for name in ["requests", "latency p50", "latency p99"] {
        assert_eq!(change(&comparison, name), Change::Worse, "{name}: {comparison}");
    }
    assert_eq!(change(&comparison, "errors"), Change::None);
    let text = comparison.to_string();
    assert!(text.contains("worse      requests: 19") && text.contains("5 and 5 runs"), "{text}");
    let comparison = usual(&slower, &usually).unwrap();
    assert!(!comparison.has_regressed());
    assert_eq!(change(&comparison, "requests"), Change::Better);
}

#[test]
fn below_the_threshold_it_is_no_matter() {
    let (usually, slower) = (common::load(1, 1.0), common::load(2, 0.95));
    let lenient = Options { threshold: 0.2, ..Options::default() };
    let comparison = compare(&usually, &slower, &lenient).unwrap();
    assert!(!comparison.has_regressed());
    assert_eq!(change(&comparison, "requests"), Change::Small);
}

#[test]
fn the_first_loss_ever_is_worse_by_any_threshold() {
    let document = |losses: [f64; 4]| {
        let run = |document: Document, loss| document.run(Run::new(Span::new(0.0, 1.0).with(LOSS, loss)));
        losses.into_iter().fold(Document::new(Kind::Forward, "test"), run)
    };
    let comparison = usual(&document([0.0; 4]), &document([0.001, 0.0012, 0.0011, 0.001])).unwrap();
    assert_eq!(change(&comparison, "loss"), Change::Worse);
    assert!(comparison.to_string().contains("loss: 0 % -> 0.1075 %, p"), "{comparison}");
}

fn refusal(before: &Document, after: &Document) -> String {
    usual(before, after).unwrap_err().to_string()
}

#[test]
fn what_differs_otherwise_is_not_comparable() {
    let document = common::load(1, 1.0);
    let mut other = common::load(2, 1.0);
    other.parameters[0].value = "32".to_owned();
    other.environment.facts[0].value = "Imagined 9000".to_owned();
    let sentence = refusal(&document, &other);
    assert!(sentence.contains("parameter connections: 64, then 32"), "{sentence}");
    assert!(sentence.contains("environment: CPU: AMD EPYC 9B45, then Imagined 9000"), "{sentence}");
    // What does not decide may differ.
    let mut later = common::load(2, 1.0);
    later.environment.facts.last_mut().unwrap().value = "9.99 before".to_owned();
    assert!(usual(&document, &later).is_ok());
    // By force it is compared, and said.
    let force = Options { force: true, ..Options::default() };
    let comparison = compare(&document, &other, &force).unwrap();
    assert!(comparison.to_string().starts_with("note: parameter connections"), "{comparison}");
}

#[test]
fn kinds_measures_and_runs_must_be_there() {
    let document = common::load(1, 1.0);
    assert!(
        refusal(&document, &common::forward(1)).contains("one is of \"Load\", the other of \"Forwarding\"")
    );
    let mut less = document.clone();
    less.runs.iter_mut().for_each(|run| run.whole.histograms.clear());
    assert!(refusal(&document, &less).contains("latency is only in the first"));
    assert!(refusal(&less, &document).contains("latency is only in the second"));
    let mut few = document.clone();
    few.runs.truncate(2);
    assert!(refusal(&document, &few).contains("5 and 2 runs: to tell a change from chance takes 3"));
    let force = Options { force: true, ..Options::default() };
    assert!(compare(&document, &few, &force).is_err(), "no force makes runs");
    let empty = Document::new(Kind::Load, "test");
    assert!(compare(&empty, &empty, &force).unwrap_err().to_string().contains("no measure in common"));
}

/// A measurement may be repeated by hand: each time a document.
#[test]
fn documents_of_one_measurement_are_joined() {
    let whole = common::load(1, 1.0);
    let part = |n: usize| {
        let mut part = whole.clone();
        part.runs = vec![whole.runs[n].clone()];
        part
    };
    let mut joined = part(0);
    (1..whole.runs.len()).for_each(|n| joined.join(part(n)).unwrap());
    assert_eq!(joined, whole);
    let mut other = part(0);
    other.parameters[0].value = "32".to_owned();
    assert!(joined.join(other).unwrap_err().to_string().contains("parameter connections"));
    assert_eq!(joined, whole);
}

/// What there is of a measure may depend on how well it went: that hides nothing of the rest.
#[test]
fn measures_of_one_side_alone_hide_no_regression() {
    let document =
        |rate: f64, count, losses: usize| {
            let mut chance = Chance(7);
            (0..5).fold(Document::new(Kind::Load, "test"), |document, n| {
                let whole = Span::new(0.0, 1.0)
                    .with(REQUESTS, rate * (1.0 + 0.001 * chance.normal()))
                    .histogram("latency", "ns", common::latencies(&mut chance, 9000.0, count));
                let loss = (n < losses).then_some(Measure::lower("loss at 5 frames/s", "%"));
                document.run(Run::new(loss.into_iter().fold(whole, |whole, loss| whole.with(loss, 1.0))))
            })
        };
    // Half as fast: p99.9 has too few values beyond it, and a rate was tried that was not tried before.
    let (before, after) = (document(20_000.0, 20_000, 0), document(9000.0, 9000, 2));
    for (one, other, worse) in [(&before, &after, true), (&after, &before, false)] {
        let comparison = usual(one, other).unwrap();
        let said = comparison.to_string();
        assert_eq!(comparison.has_regressed(), worse, "{said}");
        assert!(said.contains("not compared: loss at 5 frames/s has"), "{said}");
        assert!(comparison.alone.iter().any(|few| few.contains("latency p99.9 has")), "{said}");
    }
}

/// A document of five runs with ten measures, none of which depends on anything but chance.
fn chance_only(chance: &mut Chance, shape: fn(&mut Chance) -> f64) -> Document {
    const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let mut document = Document::new(Kind::Load, "test");
    for _ in 0..5 {
        let with = |span: Span, name| span.with(Measure::lower(name, "ns"), shape(chance));
        let whole = NAMES.into_iter().fold(Span::new(0.0, 1.0), with);
        document = document.run(Run::new(whole));
    }
    document
}

#[test]
fn chance_alone_is_seldom_a_regression() {
    const PAIRS: u32 = 2000;
    type Shape = fn(&mut Chance) -> f64;
    let shapes: [(&str, Shape); 4] = [
        ("normal", |chance| 1000.0 + 50.0 * chance.normal()),
        ("skewed", |chance| 1000.0 * (0.5 * chance.normal()).exp()),
        ("even", |chance| 1000.0 + 100.0 * chance.share()),
        (
            "with outliers",
            |chance| if chance.share() < 0.1 { 3000.0 } else { 1000.0 + 10.0 * chance.normal() },
        ),
    ];
    for (name, shape) in shapes {
        let mut chance = Chance(7);
        let mut alarm = || {
            let (one, other) = (chance_only(&mut chance, shape), chance_only(&mut chance, shape));
            usual(&one, &other)
                .unwrap()
                .rows
                .iter()
                .any(|row| matches!(row.change, Change::Worse | Change::Better))
        };
        let alarms = (0..PAIRS).filter(|_| alarm()).count() as f64;
        // Stated: 5 % of the pairs, over all ten measures; three standard deviations are allowed for.
        let expected = 0.05 * f64::from(PAIRS);
        assert!(alarms <= expected + 3.0 * (expected * 0.95).sqrt(), "{name}: {alarms} of {PAIRS}");
    }
}

#[test]
fn a_true_change_is_found_among_many_measures() {
    let mut found = 0;
    for seed in 0..100 {
        let mut chance = Chance(seed);
        let document = |chance: &mut Chance, rate: f64| {
            let mut document = chance_only(chance, |chance| 1000.0 + 50.0 * chance.normal());
            for run in &mut document.runs {
                run.whole = run.whole.clone().with(REQUESTS, rate * (1.0 + 0.005 * chance.normal()));
            }
            document
        };
        let (one, other) = (document(&mut chance, 1e6), document(&mut chance, 0.97e6));
        found += u32::from(change(&usual(&one, &other).unwrap(), "requests") == Change::Worse);
    }
    assert!(found >= 95, "{found} of 100");
}

//! The page as a parser of HTML sees it.

#![expect(clippy::unwrap_used, reason = "selectors are literals")]

mod common;

use std::collections::BTreeSet;

use report::render::html;
use report::{Document, Kind, Run, Span, measure, median, samples};
use scraper::{Html, Selector};

fn parse(document: &Document) -> Html {
    let page = Html::parse_document(&html(document));
    assert_eq!(page.errors, [""; 0]);
    page
}

fn texts(page: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).unwrap();
    page.select(&selector).map(|element| element.text().collect::<String>()).collect()
}

fn count(page: &Html, selector: &str) -> usize {
    texts(page, selector).len()
}

#[test]
fn every_page_is_well_formed_and_needs_nothing_else() {
    for (name, document) in common::all() {
        let page = parse(&document);
        assert_eq!(count(&page, "script, img, iframe, object, embed"), 0, "{name}");
        let text = html(&document);
        for outside in ["http://", "https://", "@import", "url("] {
            // The command line of a load test has the address that it asked.
            let found = text.matches(outside).count();
            let own = document.command_line().matches(outside).count();
            assert_eq!(found, own, "{name}: {outside}");
        }
    }
}

#[test]
fn plots_say_what_they_are_to_those_who_do_not_see_them() {
    for (name, document) in common::all() {
        let page = parse(&document);
        let plots = Selector::parse("svg[role=img]").unwrap();
        assert!(count(&page, "svg[role=img]") > 0, "{name}");
        for plot in page.select(&plots) {
            assert!(plot.attr("aria-label").is_some_and(|label| label.len() > 10), "{name}");
        }
        assert_eq!(count(&page, "svg[role=img]"), count(&page, "svg[role=img] > desc"), "{name}");
        assert_eq!(count(&page, "figure"), count(&page, "figure table"), "{name}: each has its numbers");
        for table in page.select(&Selector::parse("table").unwrap()) {
            let width = |row: scraper::ElementRef<'_>| row.child_elements().count();
            let rows = Selector::parse("tr").unwrap();
            let widths: BTreeSet<usize> = table.select(&rows).map(width).collect();
            assert_eq!(widths.len(), 1, "{name}: a table with rows of different lengths");
        }
    }
}

#[test]
fn each_kind_has_its_plots() {
    for (document, selector, least) in [
        (common::search(1), "svg.chart", 6),
        // A dot a trial, in both plots of three runs.
        (common::search(1), "svg.chart circle.dot", 3 * 14 * 2),
        (common::search(1), "svg.chart line.level", 3 * 2 * 2),
        (common::forward(1), "svg.chart", 4),
        // Five runs and their sum.
        (common::forward(1), "svg.chart polyline", 6),
        (common::forward(1), "svg.bars rect.bar", 2),
        (common::rfc2544(1), "svg.bars rect.bar", 7),
        (common::comparison(1), "svg.bars rect.bar", 16),
        (common::comparison(1), "svg.bars line.whisker", 16 * 3),
        (common::load(1, 1.0), "svg.chart polyline", 6),
        (common::load(1, 1.0), "svg.strip circle", 5),
    ] {
        let found = count(&parse(&document), selector);
        assert!(found >= least, "{}: {found} of {least} {selector}", document.kind.title());
    }
}

#[test]
fn every_number_of_every_run_is_in_a_table() {
    let page = parse(&common::forward(1));
    let cells: BTreeSet<String> = texts(&page, "td").into_iter().collect();
    let document = common::forward(1);
    for run in &document.runs {
        for counter in &run.whole.counters {
            // Here all are counts, ratios or rates in millions.
            let text = match &*counter.unit {
                "frames" => grouped(counter.value),
                "ratio" => {
                    assert!(texts(&page, "thead th").contains(&counter.name));
                    continue;
                }
                _ => format!("{:.3} M frames/s", counter.value / 1e6).replace("10.000", "10.00"),
            };
            assert!(cells.contains(&text), "{} {text}", counter.name);
        }
        for drops in &run.drops {
            assert!(texts(&page, "tbody th").contains(&drops.reason));
        }
        for interval in &run.intervals {
            let lost = grouped(interval.value(measure::LOST).unwrap());
            assert!(cells.contains(&lost), "{lost}");
        }
    }
}

/// `12 345 frames`.
fn grouped(value: f64) -> String {
    let digits: Vec<char> = (value as u64).to_string().chars().rev().collect();
    let groups: Vec<String> = digits.chunks(3).map(|group| group.iter().rev().collect()).rev().collect();
    groups.join("\u{202f}") + " frames"
}

#[test]
fn medians_are_in_the_bars() {
    let document = common::comparison(1);
    let bars = texts(&parse(&document), "svg.bars text.value");
    let all = samples(&document);
    assert_eq!(bars.len(), all.len());
    for sample in all {
        let middle = median(&sample.values);
        let is_it = |text: &&String| {
            let number: f64 = text.split(' ').next().unwrap_or("").parse().unwrap();
            (number - middle).abs() <= middle * 0.001
        };
        assert!(bars.iter().any(|bar| is_it(&bar)), "{}", sample.label());
    }
}

#[test]
fn what_others_wrote_is_text() {
    let evil = "<script>alert(1)</script> & \"'";
    let run = Run::new(Span::new(0.0, 1.0).named(evil, evil, Some(report::Better::Lower), 1.0)).of(evil);
    let document = Document::new(Kind::Comparison, evil)
        .parameter(evil, evil)
        .run(run.clone().dropped(evil, evil, 3))
        .run(run.under(evil))
        .concluded(false, [evil.to_owned()]);
    let page = parse(&document);
    assert_eq!(count(&page, "script"), 0);
    assert!(texts(&page, ".verdict p").contains(&evil.to_owned()));
}

#[test]
fn a_long_time_line_is_drawn_in_few_points() {
    let mut run = Run::new(Span::new(0.0, 36_000.0));
    run.intervals = (0..36_000)
        .map(|second| {
            Span::new(f64::from(second), 1.0)
                .with(measure::RECEIVED, 1000.0)
                .with(measure::LOST, f64::from(second == 777))
        })
        .collect();
    let page = html(&Document::new(Kind::Soak, "test").run(run));
    assert!(page.len() < 300_000, "{}", page.len());
    // What was lost in one second of ten hours is still seen.
    let page = Html::parse_document(&page);
    let lost = texts(&page, "figcaption");
    assert!(lost.iter().any(|caption| caption.starts_with("lost")), "{lost:?}");
    assert!(texts(&page, "td").contains(&"1 frames".to_owned()));
}

//! Documents to JSON and back, and to the other forms.

#![expect(clippy::unwrap_used, reason = "what is made up here is well-formed")]

mod common;

use std::time::Duration;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use report::render::{csv, hlog, text};
use report::{Document, Error, Kind, Run, Span, measure};

#[test]
fn comes_back_as_it_went() {
    for (name, document) in common::all() {
        let json = document.json().unwrap();
        assert!(Document::parse(&json).unwrap() == document, "{name}");
    }
}

#[test]
fn counts_are_written_without_a_fraction() {
    let run = Run::new(Span::new(0.0, 1.5).with(measure::SENT, 1e15).with(measure::LOSS, 0.25));
    let json = Document::new(Kind::Forward, "test").run(run).json().unwrap();
    assert!(json.contains("\"value\": 1000000000000000\n"), "{json}");
    assert!(json.contains("\"value\": 0.25,"), "{json}");
}

#[test]
fn what_is_no_number_is_not_written() {
    for value in [f64::NAN, f64::INFINITY] {
        let good = Run::new(Span::new(0.0, 1.0)).interval(Span::new(0.0, 1.0).with(measure::LOSS, value));
        let error = Document::new(Kind::Forward, "test").run(good).json().unwrap_err();
        assert_eq!(error.to_string(), "loss is not a finite number");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_a_sentence() {
    let good = common::search(1).json().unwrap();
    let newer = good.replacen("\"version\": 1", "\"version\": 2", 1).replacen("\"kind\"", "\"sort\"", 1);
    let error = Document::parse(&newer).unwrap_err();
    assert!(matches!(error, Error::Newer(2)));
    assert!(error.to_string().contains("Use a later sluice"), "{error}");
    let foreign = good.replacen("sluice-bench", "trex", 1);
    assert!(Document::parse(&foreign).unwrap_err().to_string().contains("\"trex\""));
    for text in [
        "",
        "[]",
        "{}",
        "{\"schema\": 1}",
        &good[..good.len() / 2],
        &good.replacen("throughput-search", "x", 1),
    ] {
        let error = Document::parse(text).unwrap_err();
        assert!(error.to_string().starts_with("not a result of sluice"), "{error}");
    }
}

#[test]
fn the_command_line_can_be_typed_again() {
    let mut document = Document::new(Kind::Load, "test");
    document.command = ["sluice", "load", "http://a/?b=1&c", "it's", ""].map(str::to_owned).to_vec();
    assert_eq!(document.command_line(), r"sluice load 'http://a/?b=1&c' 'it'\''s' ''");
}

/// All histograms of a log, read by the crate's own parser: tag, start, length, greatest value, values.
fn read(log: &str) -> Vec<(String, Duration, Duration, f64, Histogram<u64>)> {
    let read = |entry| match entry {
        Ok(LogEntry::Interval(line)) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(line.encoded_histogram()).unwrap();
            let values = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            let tag = line.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
            Some((tag, line.start_timestamp(), line.duration(), line.max(), values))
        }
        Ok(LogEntry::StartTime(start) | LogEntry::BaseTime(start)) => {
            assert_eq!(start, Duration::from_secs(1_795_620_000));
            None
        }
        Err(error) => panic!("{error:?}"),
    };
    IntervalLogIterator::new(log.as_bytes()).filter_map(read).collect()
}

#[test]
fn the_interval_log_is_read_by_hdr_histogram() {
    let document = common::forward(1);
    let lines = read(&hlog(&document).unwrap());
    let intervals: Vec<&Span> = document.runs.iter().flat_map(|run| &run.intervals).collect();
    assert_eq!(lines.len(), intervals.len());
    for ((tag, start, length, greatest, values), span) in lines.iter().zip(intervals) {
        assert_eq!(tag, "latency");
        assert_eq!((start.as_secs_f64(), length.as_secs_f64()), (span.start_s, span.length_s));
        assert_eq!(*values, span.histograms[0].values);
        assert!((greatest - values.max() as f64 / 1e6).abs() < 0.001);
    }
}

#[test]
fn without_intervals_the_log_has_whole_runs_in_the_order_of_time() {
    let document = common::rfc2544(1);
    let lines = read(&hlog(&document).unwrap());
    assert_eq!(lines.len(), document.runs.len());
    assert_eq!(lines[0].0, "64_B:latency");
    assert!(lines.is_sorted_by_key(|line| line.1));
    assert_eq!(hlog(&common::comparison(1)), None);
}

#[test]
fn csv_has_every_number() {
    for (name, document) in common::all() {
        let text = csv(&document);
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let rows: Vec<Vec<String>> =
            reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        let spans = |run: &Run| {
            let all = std::iter::once(&run.whole).chain(&run.intervals).chain(&run.trials);
            all.map(|span| span.counters.len() + 8 * span.histograms.len()).sum::<usize>() + run.drops.len()
        };
        assert_eq!(rows.len(), document.runs.iter().map(spans).sum::<usize>(), "{name}");
        for (at, run) in document.runs.iter().enumerate() {
            for counter in &run.whole.counters {
                let is_it = |row: &&Vec<String>| {
                    row[0] == (at + 1).to_string() && row[3] == "run" && row[7] == counter.name
                };
                let row = rows.iter().find(is_it).unwrap();
                assert_eq!(row[9].parse::<f64>().unwrap(), counter.value);
                assert_eq!((&row[1], &row[2], &row[8]), (&run.subject, &run.scenario, &counter.unit));
            }
        }
    }
}

#[test]
fn the_summary_of_one_run_has_all_it_has() {
    let mut document = common::forward(1);
    document.runs.truncate(1);
    let text = text(&document);
    for counter in &document.runs[0].whole.counters {
        assert!(text.contains(&counter.name), "{}: {text}", counter.name);
    }
    for word in
        ["100\u{202f}000\u{202f}000 frames", "p99.9", "rx missed", "Passed", "with care: virtual devices"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_summary_of_several_runs_has_medians_and_ranges() {
    let mut document = Document::new(Kind::Load, "test");
    for rate in [3e6, 1e6, 2e6] {
        document = document.run(Run::new(Span::new(0.0, 1.0).with(common::REQUESTS, rate)));
    }
    let text = text(&document);
    assert!(text.contains("median of 3 (least .. most)"), "{text}");
    assert!(text.contains("2.000 M requests/s   (1.000 .. 3.000 M requests/s)"), "{text}");
    assert!(text.contains("unknown: the machine was not looked at"), "{text}");
}

#[test]
fn no_form_of_an_empty_document_panics() {
    let empty = Document::new(Kind::Load, "test");
    let hollow =
        empty.clone().run(Run::new(Span::default().histogram("latency", "ns", Histogram::new(3).unwrap())));
    for document in [empty, hollow] {
        assert!(!text(&document).is_empty() && !csv(&document).is_empty());
        assert!(report::render::html(&document).contains("Load"));
    }
}

//! The interval log of HdrHistogram (V2, format 1.3): what HistogramLogAnalyzer and its kin read.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use crate::document::Document;
use crate::histogram::{Distribution, encode};
use crate::run::{Run, Span};

/// `None`: the document has no histogram.
///
/// One line a histogram: those of the intervals, or of the whole run where it has no intervals with histograms. The tag
/// says of what: `sluice,_64_B:latency` would be two fields, so commas and spaces become underscores.
///
/// Timestamps are seconds after the start; the greatest value of a line is in milliseconds, as the tools expect, where
/// the values are in nanoseconds.
pub fn hlog(document: &Document) -> Option<String> {
    let mut lines: Vec<(f64, String)> = document.runs.iter().flat_map(of_run).collect();
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    if lines.is_empty() {
        return None;
    }
    let start = document.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut out = String::new();
    let _ = writeln!(out, "#[Histogram log format version 1.3]");
    let _ = writeln!(out, "#[{}; {}]", document.tool, document.command_line().replace('\n', " "));
    let _ = writeln!(out, "#[StartTime: {start:.3} (seconds since epoch), {}]", document.started_text());
    let _ = writeln!(out, "#[BaseTime: {start:.3} (seconds since epoch)]");
    let _ =
        writeln!(out, r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#);
    out.extend(lines.into_iter().map(|(_, line)| line));
    Some(out)
}

fn of_run(run: &Run) -> Vec<(f64, String)> {
    let intervals: Vec<&Span> = run.intervals.iter().filter(|span| !span.histograms.is_empty()).collect();
    let spans = if intervals.is_empty() { vec![&run.whole] } else { intervals };
    let of_span = |span: &&Span| -> Vec<(f64, String)> {
        span.histograms.iter().map(|histogram| (span.start_s, line(run, span, histogram))).collect()
    };
    spans.iter().flat_map(of_span).collect()
}

fn line(run: &Run, span: &Span, histogram: &Distribution) -> String {
    let label = run.label();
    let tag = if label.is_empty() { histogram.name.clone() } else { format!("{label}:{}", histogram.name) };
    let tag = tag.replace([',', ' ', '\r', '\n'], "_");
    let greatest = histogram.values.max() as f64 / if histogram.unit == "ns" { 1e6 } else { 1.0 };
    let values = encode(&histogram.values);
    format!("Tag={tag},{:.3},{:.3},{greatest:.3},{values}\n", span.start_s, span.length_s)
}

//! CSV (RFC 4180): one number a line, so that any tool can filter and pivot.

use crate::document::Document;
use crate::histogram::{Distribution, QUANTILES};
use crate::run::Span;

/// All numbers. `run` counts from 1; `part` is `run`, `interval`, `trial` or `drops`, and `index` counts within it.
pub fn csv(document: &Document) -> String {
    let mut lines = Lines(::csv::WriterBuilder::new().from_writer(Vec::new()));
    lines
        .put(["run", "subject", "scenario", "part", "index", "start_s", "length_s", "name", "unit", "value"]);
    for (at, run) in document.runs.iter().enumerate() {
        let number = (at + 1).to_string();
        let mut span = |part: &str, index: usize, span: &Span| {
            let (start, length) = (span.start_s.to_string(), span.length_s.to_string());
            for (name, unit, value) in values(span) {
                let index = (index + 1).to_string();
                let (subject, scenario) = (&*run.subject, &*run.scenario);
                lines.put([&number, subject, scenario, part, &index, &start, &length, &name, &unit, &value]);
            }
        };
        span("run", 0, &run.whole);
        run.intervals.iter().enumerate().for_each(|(index, interval)| span("interval", index, interval));
        run.trials.iter().enumerate().for_each(|(index, trial)| span("trial", index, trial));
        let drops = |whole: Span, drops: &crate::run::Drops| {
            whole.named(&*drops.reason, "frames", None, drops.frames as f64)
        };
        span("drops", 0, &run.drops.iter().fold(Span::new(run.whole.start_s, run.whole.length_s), drops));
    }
    lines.finish()
}

fn values(span: &Span) -> Vec<(String, String, String)> {
    let counters = span
        .counters
        .iter()
        .map(|counter| (counter.name.clone(), counter.unit.clone(), counter.value.to_string()));
    counters.chain(span.histograms.iter().flat_map(summary)).collect()
}

fn summary(histogram: &Distribution) -> Vec<(String, String, String)> {
    let values = &histogram.values;
    let row = |name: &str, unit: &str, value: String| {
        (format!("{} {name}", histogram.name), unit.to_owned(), value)
    };
    let quantile = |(name, quantile): &(&str, f64)| {
        row(name, &histogram.unit, values.value_at_quantile(*quantile).to_string())
    };
    let mut rows = vec![row("count", "", values.len().to_string())];
    rows.push(row("min", &histogram.unit, values.min().to_string()));
    rows.extend(QUANTILES.iter().map(quantile));
    rows.push(row("max", &histogram.unit, values.max().to_string()));
    rows
}

struct Lines(::csv::Writer<Vec<u8>>);

impl Lines {
    fn put(&mut self, cells: [&str; 10]) {
        self.0.write_record(cells).expect("ten cells in each line, into memory");
    }

    fn finish(self) -> String {
        let bytes = self.0.into_inner().expect("memory takes what is left");
        String::from_utf8(bytes).expect("made of strings")
    }
}

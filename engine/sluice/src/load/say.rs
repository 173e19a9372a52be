//! What is printed: a line a second, and the result.

use config::Request;
use engine::app::load::{Counts, EntryCounts, Failure, Phase};
use hdrhistogram::Histogram;

use super::progress::Result;
use crate::table::table;

/// A second of the load that ended `at` seconds after its start.
pub(crate) fn second(phase: Phase, at: f64, rate: f64, counts: &Counts, latency: &Histogram<u64>) {
    let warm_up = if phase == Phase::WarmUp { " (warm-up)" } else { "" };
    let failed = match counts.all_failed() {
        0 => String::new(),
        _ => format!(", failed: {}", failures(counts)),
    };
    let [p50, p99] = [0.5, 0.99].map(|quantile| quantile_of(latency, quantile));
    println!("{at:5.1} s{warm_up}: {rate:.0} requests/s, latency p50 {p50}, p99 {p99}{failed}");
}

/// The whole.
pub(crate) fn result(what: &str, result: &Result) {
    let (counts, latency) = (&result.all, &result.latency);
    println!("\n{what}, measured for {:.2} s", result.seconds());
    let quantiles = [0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| quantile_of(latency, quantile));
    let row = std::iter::once("latency".to_owned()).chain(quantiles).collect();
    println!("{}", table(&["", "50 %", "90 %", "99 %", "99.9 %", "max"], &[], [row]));
    println!("requests/s: {:.1}", result.rate());
    println!("received:   {}/s", bytes(result.byte_rate()));
    println!(
        "requests:   {} started, {} answered, {} of these not 2xx, {} sent again",
        counts.started, counts.completed, counts.non_2xx, counts.retried
    );
    println!("failed:     {}", failures(counts));
    println!(
        "opened:     {} connections, with those of the warm-up; {} open at the end",
        result.ever.connects,
        result.open()
    );
    if counts.wrong_bodies > 0 {
        println!("contents that are not what they should be: {}", counts.wrong_bodies);
    }
    if counts.not_started > 0 {
        println!("not started in time, for want of a free connection: {}", counts.not_started);
    }
    if counts.overflowed > 0 {
        println!("latencies beyond the histogram's range, an hour: {}", counts.overflowed);
    }
}

/// What became of each request of a mix.
pub(crate) fn requests(requests: &[Request], entries: &[EntryCounts]) {
    /// More than anybody reads; the document has all.
    const MOST: usize = 20;
    let row = |(Request { weight, method, target, .. }, entry): (&Request, &EntryCounts)| {
        let mean = entry.latency.checked_div(entry.completed);
        let counts = [entry.started, entry.completed, entry.non_2xx, entry.wrong_bodies, entry.failed];
        let counts = counts.map(|count| count.to_string());
        let mean = mean.map_or_else(|| "-".into(), |mean| time(mean as f64));
        [&[format!("{method} {target}"), weight.to_string()], &counts[..], &[mean]].concat()
    };
    let head = ["request", "weight", "started", "answered", "not 2xx", "wrong", "failed", "mean latency"];
    println!("\n{}", table(&head, &[1, 2, 3, 4, 5, 6, 7], requests.iter().zip(entries).take(MOST).map(row)));
    if requests.len() > MOST {
        println!("and {} more", requests.len() - MOST);
    }
}

/// Requests that failed, by the reason.
pub(crate) fn failures(counts: &Counts) -> String {
    let failed = Failure::ALL.iter().filter(|failure| counts.failed(**failure) > 0);
    let text: Vec<String> =
        failed.map(|failure| format!("{} {}", failure.name(), counts.failed(*failure))).collect();
    if text.is_empty() { "none".into() } else { text.join(", ") }
}

fn quantile_of(latency: &Histogram<u64>, quantile: f64) -> String {
    if latency.is_empty() { "-".into() } else { time(latency.value_at_quantile(quantile) as f64) }
}

/// A time in nanoseconds as people read it.
fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{:.2} ms", ns / 1e6),
        ns if ns >= 1e3 => format!("{:.1} us", ns / 1e3),
        ns => format!("{ns:.0} ns"),
    }
}

fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.2} MB", bytes / 1e6),
        bytes => format!("{:.2} kB", bytes / 1e3),
    }
}

//! The result of a load as a document.

use config::Request;
use report::measure::Measure;
use report::{Document, Run, Span};

use super::progress::Result;

/// Responses that came in whole.
pub(crate) const COMPLETED_RATE: Measure = Measure::higher("completed rate", "requests/s");
/// Payload received.
pub(crate) const RECEIVED_RATE: Measure = Measure::higher("received rate", "bit/s");
/// Requests that failed.
pub(crate) const FAILED: Measure = Measure::lower("failed", "requests");

const STARTED: Measure = Measure::plain("started", "requests");
const COMPLETED: Measure = Measure::plain("completed", "requests");
const NOT_STARTED: Measure = Measure::lower("not started in time", "requests");
const WRONG_BODIES: Measure = Measure::lower("wrong bodies", "responses");
const OPEN: Measure = Measure::plain("open connections", "connections");
const NON_2XX: Measure = Measure::lower("non-2xx", "responses");
const RETRIED: Measure = Measure::plain("retried", "requests");
const CONNECTS: Measure = Measure::plain("connects", "connections");
const OVERFLOWED: Measure = Measure::plain("latency overflow", "responses");

/// The document with the requests of a mix, if it is one, as parameters.
pub(crate) fn with_requests(document: Document, requests: &[Request]) -> Document {
    let several = (1..).zip(requests.iter().filter(|_| requests.len() > 1));
    several.fold(document, |document, (number, Request { weight, method, target, .. })| {
        document.parameter(format!("request {number}"), format!("{method} {target}, weight {weight}"))
    })
}

/// The document with the one run of `result`.
pub(crate) fn with_run(document: Document, warm_up_s: f64, result: &Result) -> Document {
    let counts = &result.all;
    let mut whole = Span::new(warm_up_s, result.seconds())
        .with(COMPLETED_RATE, result.rate())
        .with(RECEIVED_RATE, result.byte_rate() * 8.0)
        .with(STARTED, counts.started as f64)
        .with(COMPLETED, counts.completed as f64)
        .with(NOT_STARTED, counts.not_started as f64)
        .with(NON_2XX, counts.non_2xx as f64)
        .with(WRONG_BODIES, counts.wrong_bodies as f64)
        .with(FAILED, counts.all_failed() as f64);
    for failure in engine::app::load::Failure::ALL {
        let failed = counts.failed(*failure) as f64;
        whole = whole.named(format!("failed: {}", failure.name()), "requests", None, failed);
    }
    let mut whole = whole
        .with(RETRIED, counts.retried as f64)
        .with(CONNECTS, counts.connects as f64)
        .with(OPEN, f64::from(result.open()))
        .with(OVERFLOWED, counts.overflowed as f64)
        .histogram("latency", "ns", result.latency.clone());
    for (number, entry) in (1..).zip(result.entries.iter().filter(|_| result.entries.len() > 1)) {
        for (what, unit, count) in [
            ("started", "requests", entry.started),
            ("completed", "requests", entry.completed),
            ("non-2xx", "responses", entry.non_2xx),
            ("wrong bodies", "responses", entry.wrong_bodies),
            ("failed", "requests", entry.failed),
            ("mean latency", "ns", entry.latency.checked_div(entry.completed).unwrap_or(0)),
        ] {
            whole = whole.named(format!("request {number}: {what}"), unit, None, count as f64);
        }
    }
    let run = result.spans.iter().cloned().fold(Run::new(whole), Run::interval);
    document.run(run)
}

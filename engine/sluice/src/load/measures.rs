//! The result of a load as a document.

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
const NON_2XX: Measure = Measure::lower("non-2xx", "responses");
const RETRIED: Measure = Measure::plain("retried", "requests");
const CONNECTS: Measure = Measure::plain("connects", "connections");
const OVERFLOWED: Measure = Measure::plain("latency overflow", "responses");

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
        .with(FAILED, counts.all_failed() as f64);
    for failure in engine::app::load::Failure::ALL {
        let failed = counts.failed(*failure) as f64;
        whole = whole.named(format!("failed: {}", failure.name()), "requests", None, failed);
    }
    let whole = whole
        .with(RETRIED, counts.retried as f64)
        .with(CONNECTS, counts.connects as f64)
        .with(OVERFLOWED, counts.overflowed as f64)
        .histogram("latency", "ns", result.latency.clone());
    let run = result.spans.iter().cloned().fold(Run::new(whole), Run::interval);
    document.run(run)
}

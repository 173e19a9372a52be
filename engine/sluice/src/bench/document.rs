//! What trials and searches are in a result document. Rates and counts are those of all directions together.

use generator::search::mlr::Bounds;
use generator::search::rfc2544::Findings;
use generator::trial::Trial;
use hdrhistogram::Histogram;
use report::measure::{
    CORRUPTED, DUPLICATED, LOSS, LOST, Measure, OFFERED, OFFERED_RATE, RECEIVED, RECEIVED_RATE, REORDERED,
    SENT,
};
use report::{Better, Run, Span};

use super::dut::DutCounters;

/// Frames that the device did not take in time: the tester or its device was too slow.
const NOT_SENT: Measure = Measure::lower("not sent in time", "frames");
/// By how many arrivals the worst of the reordered was late (RFC 4737 section 4.2.1).
const REORDER_EXTENT: Measure = Measure::plain("reorder extent", "frames");
/// Too late to tell whether they are copies; lost, for all that is known.
const EXPIRED: Measure = Measure::plain("too late", "frames");
const STALE: Measure = Measure::plain("of earlier trials", "frames");
const FOREIGN: Measure = Measure::plain("foreign", "frames");
/// RFC 3550's, of the stream that has the most.
const JITTER: Measure = Measure::lower("jitter (RFC 3550)", "ns");
/// Names of histograms.
pub(crate) const LATENCY: &str = "latency";
const VARIATION: &str = "packet delay variation";
const DIFFERENCE: &str = "latency from packet to packet";

/// The numbers of a trial that began `start_s` seconds after the measurement.
pub(crate) fn counters(trial: &Trial, start_s: f64) -> Span {
    let (total, seconds) = (trial.total(), trial.duration().as_secs_f64());
    let received = &total.received;
    let span = Span::new(start_s, seconds)
        .with(OFFERED_RATE, total.intended as f64 / seconds)
        .with(RECEIVED_RATE, received.unique as f64 / seconds)
        .with(LOSS, total.loss_ratio())
        .with(OFFERED, total.intended as f64)
        .with(SENT, total.sent as f64)
        .with(NOT_SENT, total.not_sent() as f64)
        .with(RECEIVED, received.unique as f64)
        .with(LOST, total.lost() as f64)
        .with(DUPLICATED, received.duplicated as f64)
        .with(REORDERED, received.reordered as f64)
        .with(REORDER_EXTENT, f64::from(received.reorder_extent))
        .with(CORRUPTED, received.corrupted as f64)
        .with(EXPIRED, received.expired as f64)
        .with(STALE, received.stale as f64)
        .with(FOREIGN, received.foreign as f64);
    match trial.jitter {
        Some(jitter) => span.with(JITTER, jitter as f64),
        None => span,
    }
}

/// The numbers of a trial, and how its latencies are spread.
pub(crate) fn distributions(trial: &Trial, start_s: f64) -> Span {
    let latency = &trial.timing.latency;
    counters(trial, start_s)
        .histogram(LATENCY, "ns", latency.clone())
        .histogram(VARIATION, "ns", delay_variation(latency))
        .histogram(DIFFERENCE, "ns", trial.timing.variation.clone())
}

/// RFC 5481 section 4.2: latencies less the least of them.
pub(crate) fn delay_variation(latency: &Histogram<u64>) -> Histogram<u64> {
    let mut variation = Histogram::new_from(latency);
    let least = latency.min();
    for value in latency.iter_recorded() {
        let shifted = value.value_iterated_to().saturating_sub(least);
        variation.saturating_record_n(shifted, value.count_since_last_iteration());
    }
    variation
}

/// What a search found.
pub(crate) fn search(span: Span, goals: &[Bounds], directions: usize) -> Span {
    let all = directions as f64;
    goals.iter().fold(span, |span, bounds| {
        let name = &bounds.goal.name;
        let plain = |span: Span, what: &str, rate: Option<f64>| match rate {
            Some(pps) => span.named(format!("{name} {what}"), "frames/s", None, pps * all),
            None => span,
        };
        let throughput = bounds.throughput.unwrap_or(0.0) * all;
        let span = span.named(name.as_str(), "frames/s", Some(Better::Higher), throughput);
        plain(plain(span, "lower bound", bounds.lower), "upper bound", bounds.upper)
    })
}

/// What the tests of RFC 2544 found.
pub(crate) fn rfc2544(mut span: Span, found: &Findings, directions: usize) -> Span {
    const THROUGHPUT: Measure = Measure::higher("throughput", "frames/s");
    const LATENCY_MEAN: Measure = Measure::lower("latency at the throughput", "ns");
    const BURST: Measure = Measure::higher("back-to-back", "frames");
    const RECOVERY: Measure = Measure::lower("system recovery", "ns");
    let all = directions as f64;
    span = span.with(THROUGHPUT, found.throughput_pps.unwrap_or(0.0) * all);
    if let Some(mean) = mean(&found.latencies_ns) {
        span = span.with(LATENCY_MEAN, mean);
    }
    for (pps, loss) in &found.loss_curve {
        let name = format!("loss at {:.0} frames/s", pps * all);
        span = span.named(name, "ratio", Some(Better::Lower), *loss);
    }
    let bursts: Vec<f64> = found.bursts.iter().map(|frames| *frames as f64).collect();
    if let Some(mean) = mean(&bursts) {
        span = span.with(BURST, mean);
    }
    match found.recovery {
        Some(time) => span.with(RECOVERY, time.as_nanos() as f64),
        None => span,
    }
}

/// A run with what the device under test says of its own drops.
pub(crate) fn with_drops(run: Run, dut: Option<DutCounters>) -> Run {
    let Some(dut) = dut else { return run };
    run.dropped("rx-missed", "the device under test had no room in its receive queues", dut.rx_missed)
        .dropped("tx-dropped", "the device under test found no room to send", dut.tx_dropped)
}

/// The mean of some values; `None` of none.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variation_is_above_the_least() {
        let mut latency = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        for value in [1000, 1000, 1500, 900_000] {
            latency.record(value).unwrap();
        }
        let variation = delay_variation(&latency);
        assert_eq!((variation.len(), variation.min(), variation.value_at_quantile(0.75)), (4, 0, 500));
        assert!(variation.max().abs_diff(899_000) < 1000, "{}", variation.max());
    }
}

//! What is printed: a line for each trial as it ends, and the result.

use generator::search::mlr::Bounds;
use generator::search::rfc2544::Findings;
use generator::trial::Trial;
use hdrhistogram::Histogram;

use super::document::{delay_variation, mean};
use super::dut::DutCounters;
use crate::table::table;

/// A rate as people read it.
pub(crate) fn pps(pps: f64) -> String {
    match pps {
        pps if pps >= 1e6 => format!("{:.4} Mpps", pps / 1e6),
        pps if pps >= 1e3 => format!("{:.3} kpps", pps / 1e3),
        pps => format!("{pps:.1} pps"),
    }
}

/// A time in nanoseconds as people read it.
fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e9 => format!("{:.3} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{:.2} ms", ns / 1e6),
        ns if ns >= 1e3 => format!("{:.2} us", ns / 1e3),
        ns => format!("{ns:.0} ns"),
    }
}

fn percent(ratio: f64) -> String {
    // A loss is not rounded to none.
    if ratio > 0.0 && ratio < 1e-4 {
        format!("{:.1e} %", ratio * 100.0)
    } else {
        format!("{:.2} %", ratio * 100.0)
    }
}

fn quantile(of: &Histogram<u64>, quantile: f64) -> String {
    time(of.value_at_quantile(quantile) as f64)
}

/// What the tester itself adds to a latency.
pub(crate) fn bias(bias: &Histogram<u64>) {
    println!(
        "tester's own latency, over a loop in memory: least {}, median {}, 99 % {} (not taken off)",
        time(bias.min() as f64),
        quantile(bias, 0.5),
        quantile(bias, 0.99)
    );
}

/// A trial that has ended.
pub(crate) fn progress(phase: &str, trial: &Trial) {
    let (load, total, latency) = (&trial.loads[0], trial.total(), &trial.timing.latency);
    let mut line = format!(
        "{phase}: {} for {} s: loss {}, latency {} (99 % {})",
        pps(load.pps),
        load.duration.as_secs_f64(),
        percent(total.loss_ratio()),
        quantile(latency, 0.5),
        quantile(latency, 0.99)
    );
    if total.not_sent() > 0 {
        line += &format!(", {} not sent", total.not_sent());
    }
    eprintln!("{line}");
}

/// Trials at one rate, taken together.
pub(crate) fn trial(trial: &Trial, dut: Option<DutCounters>) {
    let seconds = trial.duration().as_secs_f64();
    let (total, rate) = (trial.total(), trial.loads[0].pps);
    println!(
        "\n{}{} for {seconds} s; received {}",
        pps(rate),
        each_way(trial.directions.len()),
        pps(total.received.unique as f64 / seconds)
    );
    counts(trial);
    let latency = &trial.timing.latency;
    let row = |name: &str, of: &Histogram<u64>| {
        let mut row = vec![name.to_owned(), time(of.min() as f64), time(of.mean())];
        row.extend([0.5, 0.9, 0.99, 0.999, 0.9999].map(|at| quantile(of, at)));
        row.push(time(of.max() as f64));
        row
    };
    let rows = [
        row("latency", latency),
        row("delay variation (PDV)", &delay_variation(latency)),
        row("from packet to packet (IPDV)", &trial.timing.variation),
    ];
    println!(
        "{}",
        table(&["", "min", "mean", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"], &[], rows)
    );
    if let Some(jitter) = trial.jitter {
        println!("jitter (RFC 3550) {}", time(jitter as f64));
    }
    if let Some(dut) = dut {
        println!(
            "device under test: received {}, no room for {}, sent {}, dropped {}; its counters and ours agree",
            dut.rx, dut.rx_missed, dut.tx, dut.tx_dropped
        );
    }
}

fn each_way(directions: usize) -> &'static str {
    if directions > 1 { " each way" } else { "" }
}

fn counts(trial: &Trial) {
    let total = trial.total();
    let received = &total.received;
    println!(
        "frames {}: sent {}, not sent in time {}; received {}, lost {}",
        total.intended,
        total.sent,
        total.not_sent(),
        received.unique,
        total.lost()
    );
    println!(
        "loss {}; duplicated {}, reordered {} (by {} at most), corrupted {}, too late {}, of earlier trials {}, \
         foreign {}",
        percent(total.loss_ratio()),
        received.duplicated,
        received.reordered,
        received.reorder_extent,
        received.corrupted,
        received.expired,
        received.stale,
        received.foreign
    );
}

/// What a search found for a goal.
pub(crate) fn goal(bounds: &Bounds, directions: usize) {
    let name = format!("{} (loss up to {})", bounds.goal.name, percent(bounds.goal.loss_ratio));
    let each = each_way(directions);
    match (bounds.lower, bounds.upper, bounds.throughput) {
        (Some(lower), Some(upper), Some(throughput)) => {
            let (throughput, lower, upper) = (pps(throughput), pps(lower), pps(upper));
            println!("{name}: {throughput}{each}; between {lower} and {upper}");
        }
        (Some(lower), None, Some(throughput)) => {
            println!("{name}: {}{each}; the highest rate tried, {}, meets it", pps(throughput), pps(lower));
        }
        (_, Some(upper), _) => println!("{name}: none; not even {} meets it", pps(upper)),
        _ => println!("{name}: none"),
    }
}

/// What the tests of RFC 2544 found for a frame size.
pub(crate) fn rfc2544(size: &str, strict: bool, found: &Findings) {
    let strict = if strict { "" } else { " (shorter than RFC 2544 asks for)" };
    println!("\nRFC 2544, {size} bytes{strict}");
    match found.throughput_pps {
        Some(throughput) => println!("  throughput {}", pps(throughput)),
        None => println!("  throughput none: frames were lost at every rate"),
    }
    if let Some(mean) = mean(&found.latencies_ns) {
        println!("  latency at that rate {}, mean of {} trials", time(mean), found.latencies_ns.len());
    }
    let point = |(rate, loss): &(f64, f64)| format!("{} at {}", percent(*loss), pps(*rate));
    let curve: Vec<String> = found.loss_curve.iter().map(point).collect();
    println!("  frame loss rate {}", curve.join(", "));
    let bursts: Vec<f64> = found.bursts.iter().map(|frames| *frames as f64).collect();
    match mean(&bursts) {
        Some(mean) => println!("  back-to-back {mean:.0} frames, mean of {} searches", bursts.len()),
        None => println!("  back-to-back not measured: it keeps up with the highest rate"),
    }
    if let Some(recovery) = found.recovery {
        println!("  system recovery {}", time(recovery.as_nanos() as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        assert_eq!(pps(14_880_952.4), "14.8810 Mpps");
        assert_eq!((pps(1500.0), pps(3.0)), ("1.500 kpps".into(), "3.0 pps".into()));
        let times = [900.0, 1500.0, 2.5e6, 3e9].map(time);
        assert_eq!(times, ["900 ns", "1.50 us", "2.50 ms", "3.000 s"]);
        assert_eq!([0.0, 0.005, 1e-6].map(percent), ["0.00 %", "0.50 %", "1.0e-4 %"]);
    }
}

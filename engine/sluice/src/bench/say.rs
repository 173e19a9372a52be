//! What is printed: a line for each trial as it ends, and the result.

use generator::result::{
    CountsResult, Distribution, GoalResult, Outcome, Rfc2544Result, SoakResult, TrialResult,
};

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
    if ratio > 0.0 && ratio < 0.0001 {
        format!("{:.1e} %", ratio * 100.0)
    } else {
        format!("{:.2} %", ratio * 100.0)
    }
}

fn quantile(of: &Distribution, percent: f64) -> String {
    of.percentile(percent).map_or("-".into(), |ns| time(ns as f64))
}

/// What the tester itself adds to a latency.
pub(crate) fn bias(bias: &Distribution) {
    println!(
        "tester's own latency, over a loop in memory: least {}, median {}, 99 % {} (not taken off)",
        time(bias.min as f64),
        quantile(bias, 50.0),
        quantile(bias, 99.0)
    );
}

/// A trial that has ended.
pub(crate) fn trial(phase: &str, trial: &TrialResult) {
    let load = &trial.loads[0];
    let mut line = format!(
        "{phase}: {} for {} s: loss {}, latency {} (99 % {})",
        pps(load.pps),
        load.duration_s,
        percent(trial.loss_ratio),
        quantile(&trial.latency, 50.0),
        quantile(&trial.latency, 99.0)
    );
    if trial.total.not_sent > 0 {
        line += &format!(", {} not sent", trial.total.not_sent);
    }
    eprintln!("{line}");
}

/// The result.
pub(crate) fn outcome(outcome: &Outcome) {
    println!();
    match outcome {
        Outcome::Trial(trial) => one(trial),
        Outcome::Search(search) => search.goals.iter().for_each(goal),
        Outcome::Rfc2544(results) => results.iter().for_each(rfc2544),
        Outcome::Soak(soak) => soaked(soak),
    }
}

fn one(trial: &TrialResult) {
    let load = &trial.loads[0];
    println!("{} for {} s; received {}", pps(load.pps), load.duration_s, pps(trial.received_pps));
    counts(&trial.total, trial.loss_ratio);
    let row = |name: &str, of: &Distribution| {
        let value = |percent| quantile(of, percent);
        let mut row = vec![name.to_owned(), time(of.min as f64), time(of.mean)];
        row.extend([50.0, 90.0, 99.0, 99.9, 99.99].map(value));
        row.push(time(of.max as f64));
        row
    };
    let rows = [
        row("latency", &trial.latency),
        row("delay variation (PDV)", &trial.pdv),
        row("from packet to packet (IPDV)", &trial.ipdv),
    ];
    println!(
        "{}",
        table(&["", "min", "mean", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"], &[], rows)
    );
    if let Some(jitter) = trial.jitter_ns {
        println!("jitter (RFC 3550) {}", time(jitter as f64));
    }
    if let Some(dut) = &trial.dut {
        println!(
            "device under test: received {}, no room for {}, sent {}, dropped {}; its counters and ours agree",
            dut.rx, dut.rx_missed, dut.tx, dut.tx_dropped
        );
    }
}

fn counts(counts: &CountsResult, loss_ratio: f64) {
    let CountsResult { intended, sent, not_sent, received, lost, .. } = counts;
    println!("frames {intended}: sent {sent}, not sent in time {not_sent}; received {received}, lost {lost}");
    println!(
        "loss {}; duplicated {}, reordered {} (by {} at most), corrupted {}, too late {}, of earlier trials {}, foreign {}",
        percent(loss_ratio),
        counts.duplicated,
        counts.reordered,
        counts.reorder_extent,
        counts.corrupted,
        counts.expired,
        counts.stale,
        counts.foreign
    );
}

fn goal(goal: &GoalResult) {
    let name = format!("{} (loss up to {})", goal.name, percent(goal.loss_ratio));
    match (goal.lower_pps, goal.upper_pps, goal.throughput_pps) {
        (Some(lower), Some(upper), Some(throughput)) => {
            let (throughput, lower, upper) = (pps(throughput), pps(lower), pps(upper));
            println!("{name}: {throughput}; between {lower} and {upper}");
        }
        (Some(lower), None, Some(throughput)) => {
            println!("{name}: {}; the highest rate tried, {}, meets it", pps(throughput), pps(lower));
        }
        (_, Some(upper), _) => println!("{name}: none; not even {} meets it", pps(upper)),
        _ => println!("{name}: none"),
    }
}

fn rfc2544(result: &Rfc2544Result) {
    let strict = if result.strict { "" } else { " (shorter than RFC 2544 asks for)" };
    println!("RFC 2544, {} bytes{strict}", result.size);
    match result.throughput_pps {
        Some(throughput) => println!("  throughput {}", pps(throughput)),
        None => println!("  throughput none: frames were lost at every rate"),
    }
    if let Some(mean) = mean(&result.latencies_ns) {
        println!("  latency at that rate {}, mean of {} trials", time(mean), result.latencies_ns.len());
    }
    let curve: Vec<String> = result
        .loss_curve
        .iter()
        .map(|(rate, loss)| format!("{} at {}", percent(*loss), pps(*rate)))
        .collect();
    println!("  frame loss rate {}", curve.join(", "));
    let bursts: Vec<f64> = result.bursts.iter().map(|frames| *frames as f64).collect();
    match mean(&bursts) {
        Some(mean) => println!("  back-to-back {mean:.0} frames, mean of {} searches", bursts.len()),
        None => println!("  back-to-back not measured: it keeps up with the highest rate"),
    }
    if let Some(recovery) = result.recovery_ns {
        println!("  system recovery {}", time(recovery as f64));
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn soaked(soak: &SoakResult) {
    let seconds: f64 = soak.trials.iter().flat_map(|trial| &trial.loads).map(|load| load.duration_s).sum();
    println!("{} trials, {seconds} s", soak.trials.len());
    counts(&soak.total, soak.loss_ratio);
    let worst = soak.trials.iter().max_by(|a, b| a.loss_ratio.total_cmp(&b.loss_ratio));
    let slowest = soak.trials.iter().map(|trial| trial.latency.max).max();
    if let (Some(worst), Some(slowest)) = (worst, slowest) {
        println!("worst trial: loss {}; longest latency {}", percent(worst.loss_ratio), time(slowest as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_for_people() {
        assert_eq!(pps(14_880_952.4), "14.8810 Mpps");
        assert_eq!((pps(1500.0), pps(3.0)), ("1.500 kpps".into(), "3.0 pps".into()));
        assert_eq!(
            (time(900.0), time(1500.0), time(2.5e6)),
            ("900 ns".into(), "1.50 us".into(), "2.50 ms".into())
        );
        assert_eq!(
            (percent(0.0), percent(0.005), percent(1e-6)),
            ("0.00 %".into(), "0.50 %".into(), "1.0e-4 %".into())
        );
    }
}

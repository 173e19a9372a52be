//! The rounds: every contender has its turn on every flow set, one after another, again and again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::columns::{FlowSet, Table};
use crate::contenders::{Contender, Cores, FLOOR, Paths, Setup};
use crate::process::{Running, Sample};

/// How it is measured.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) cores: Cores,
}

/// One column: a flow set with what each contender took on it.
pub(crate) struct Column {
    pub(crate) set: &'static FlowSet,
    pub(crate) rows: Vec<Row>,
}

/// One contender's cycles per packet, one for each round, in the order of the rounds.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) cycles: Vec<f64>,
    /// When each of them began to be measured, in seconds after the first contender was started.
    pub(crate) starts_s: Vec<f64>,
}

/// All that was measured.
pub(crate) struct Results {
    pub(crate) columns: Vec<Column>,
    pub(crate) tsc_hz: u64,
}

/// Measures everything.
pub(crate) fn run(
    plan: &Plan,
    tables: &[&'static Table],
    contenders: &[Contender],
    paths: &Paths,
) -> Result<Results> {
    let start = Instant::now();
    let mut results = Results { columns: Vec::new(), tsc_hz: 0 };
    for table in tables {
        let mut running = Vec::new();
        for contender in contenders {
            eprintln!("peers: {} routes: starting {}", table.name, contender.name);
            running.push(Running::start(&Setup { contender, table, cores: plan.cores, paths })?);
        }
        for (index, set) in table.sets.iter().enumerate() {
            results.columns.push(measure_set(plan, set, index, &running, start)?);
        }
        if let Some(first) = running.first() {
            results.tsc_hz = first.tsc_hz()?;
        }
    }
    Ok(results)
}

fn measure_set(
    plan: &Plan,
    set: &'static FlowSet,
    index: usize,
    running: &[Running],
    start: Instant,
) -> Result<Column> {
    let mut rows: Vec<Row> =
        running.iter().map(|one| Row { name: one.name, cycles: Vec::new(), starts_s: Vec::new() }).collect();
    for one in running {
        one.play(index)?;
    }
    for round in 1..=plan.rounds {
        let mut line = format!("{}, round {round}:", set.title);
        for (one, row) in running.iter().zip(&mut rows) {
            row.starts_s.push(start.elapsed().as_secs_f64());
            let cycles = measure_one(plan, one)?;
            line += &format!(" {} {cycles:.1}", one.name);
            row.cycles.push(cycles);
        }
        eprintln!("peers: {line}");
    }
    Ok(Column { set, rows })
}

/// One turn: warm up, measure, check that the work was done.
fn measure_one(plan: &Plan, one: &Running) -> Result<f64> {
    one.resume()?;
    sleep(plan.warm_up);
    one.pause()?;
    let before = one.sample()?;
    one.resume()?;
    sleep(plan.window);
    one.pause()?;
    let after = one.sample()?;
    let problem =
        |text: String| -> Result<f64> { Err(format!("{}: {text}; no result is given", one.name).into()) };
    match fault(one.name, &before, &after) {
        Some(text) => problem(text),
        None => {
            let cpu_ns = (after.cpu_ns - before.cpu_ns) as f64;
            Ok(cpu_ns * one.tsc_hz()? as f64 / 1e9 / (after.sent - before.sent) as f64)
        }
    }
}

/// Why a measurement does not count.
fn fault(name: &str, before: &Sample, after: &Sample) -> Option<String> {
    let (received, sent) = (after.received - before.received, after.sent - before.sent);
    if sent == 0 {
        return Some("sent nothing".to_owned());
    }
    // A few bursts may be on their way between the two samples.
    if sent.abs_diff(received) > received / 1000 + 4096 {
        return Some(format!("sent {sent} packets of {received} that it received"));
    }
    if after.wrong > 0 {
        return Some(format!(
            "{} faults (addresses, TTL, checksum or port) in {} packets looked at",
            after.wrong, after.sampled
        ));
    }
    if name != FLOOR && after.sampled == before.sampled {
        return Some("none of its packets were looked at".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_honest_work_counts() {
        let before = Sample::default();
        let good = Sample { cpu_ns: 1, received: 10_000_000, sent: 10_000_000, sampled: 1000, wrong: 0 };
        assert_eq!(fault("l3fwd", &before, &good), None);
        let cases = [
            ("sent nothing", Sample { sent: 0, ..good }),
            ("that it received", Sample { sent: 9_900_000, ..good }),
            ("that it received", Sample { sent: 10_100_000, ..good }),
            ("1 faults", Sample { wrong: 1, ..good }),
            ("looked at", Sample { sampled: 0, ..good }),
        ];
        for (expected, after) in cases {
            let found = fault("l3fwd", &before, &after).unwrap();
            assert!(found.contains(expected), "{found}");
        }
        assert_eq!(fault(FLOOR, &before, &Sample { sampled: 0, ..good }), None);
    }
}

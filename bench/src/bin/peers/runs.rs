//! What was measured, as a document for `sluice bench report` and `sluice bench diff`.

use report::measure::Measure;
use report::{Device, Document, Environment, Given, Kind, Run, Snapshot, Span};

use crate::machine;
use crate::measure::{Plan, Results};

const CYCLES: Measure = Measure::lower("cycles per packet", "cycles/packet");

/// Where the measurement began.
pub(crate) struct Start {
    document: Document,
    machine: Snapshot,
}

impl Start {
    /// Now.
    pub(crate) fn now(plan: &Plan) -> Start {
        let document = Document::new(Kind::Comparison, concat!("peers ", env!("CARGO_PKG_VERSION")))
            .parameter("frame size", "64 B")
            .parameter("warm-up", format!("{} ms", plan.warm_up.as_millis()))
            .parameter("window", format!("{} ms", plan.window.as_millis()));
        Start { document, machine: Snapshot::take("/") }
    }

    /// The document of `results`: a run for each turn of each contender.
    pub(crate) fn finish(self, results: &Results, plan: &Plan) -> Document {
        let given = Given {
            dpdk: Some(machine::dpdk_version()),
            devices: vec![Device { name: "net_flood".to_owned(), driver: "net_flood".to_owned() }],
            tsc_hz: Some(results.tsc_hz),
            // What counts is how the contenders are built.
            optimized: true,
            ..Given::new([u32::from(plan.cores.worker)])
        };
        let environment = Environment::judge(&self.machine, &Snapshot::take("/"), &given);
        self.document_of(results, plan).on(environment)
    }

    fn document_of(self, results: &Results, plan: &Plan) -> Document {
        let mut document = self.document;
        for column in &results.columns {
            for row in &column.rows {
                for (start, cycles) in row.starts_s.iter().zip(&row.cycles) {
                    let whole = Span::new(*start, plan.window.as_secs_f64());
                    let run = Run::new(whole.with(CYCLES, *cycles));
                    document = document.run(run.of(row.name).under(column.set.title));
                }
            }
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::columns::TABLES;
    use crate::contenders::Cores;
    use crate::measure::{Column, Row};

    #[test]
    fn each_turn_of_each_contender_is_a_run() {
        let row = |name, cycles: [f64; 2]| Row { name, cycles: cycles.to_vec(), starts_s: vec![1.0, 5.0] };
        let rows = vec![row("l3fwd LPM", [20.0, 22.0]), row("sluice", [15.0, 14.0])];
        let results =
            Results { columns: vec![Column { set: &TABLES[0].sets[0], rows }], tsc_hz: 2_600_000_000 };
        let plan = Plan {
            rounds: 2,
            warm_up: Duration::from_millis(1000),
            window: Duration::from_millis(2000),
            cores: Cores { worker: 1, control: 0 },
        };
        let document = Start::now(&plan).finish(&results, &plan);
        let samples = report::samples(&document);
        let seen: Vec<_> = samples.iter().map(|sample| (&*sample.subject, &*sample.values)).collect();
        assert_eq!(seen, [("l3fwd LPM", &[20.0, 22.0][..]), ("sluice", &[15.0, 14.0])]);
        assert_eq!(document.runs[1].whole.start_s, 5.0);
        assert_eq!(document.environment.fact("TSC"), Some("2.600 GHz"));
    }
}

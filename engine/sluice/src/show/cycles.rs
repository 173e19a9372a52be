//! Where the workers' cycles go, as a table.

use std::time::Duration;

use engine::api::{CyclesReport, Reply, Request, StageReport};

use super::{Show, print};
use crate::table::table;

/// Shows what is measured from now on until `time` has passed.
pub(super) fn over(time: Duration, show: &Show) -> Result<(), String> {
    let reports = || match show.router.ask(&Request::Cycles)?.1 {
        Reply::Cycles(reports) => Ok(reports),
        other => Err(format!("the router answers something else: {other:?}")),
    };
    let before = reports()?;
    std::thread::sleep(time);
    let after = reports()?;
    let spent = after.into_iter().zip(&before).map(|(after, before)| since(after, before)).collect();
    let reply = Reply::Cycles(spent);
    let line = serde_json::to_string(&reply).map_err(|error| error.to_string())?;
    print(&line, &reply, show)
}

/// What was added to `earlier`.
fn since(mut report: CyclesReport, earlier: &CyclesReport) -> CyclesReport {
    report.loops = report.loops.saturating_sub(earlier.loops);
    report.busy_loops = report.busy_loops.saturating_sub(earlier.busy_loops);
    report.received = report.received.saturating_sub(earlier.received);
    for (stage, earlier) in report.stages.iter_mut().zip(&earlier.stages) {
        stage.cycles = stage.cycles.saturating_sub(earlier.cycles);
    }
    report
}

pub(super) fn render(reports: &[CyclesReport]) -> String {
    let heading = ["worker", "core", "stage", "share", "cycles/packet", "cycles/loop", "meaning"];
    let rows = reports.iter().enumerate().flat_map(|(at, report)| rows(at, report));
    let measured = |report: &CyclesReport| {
        let CyclesReport { core, loops, busy_loops, received, .. } = report;
        format!(
            "core {core}: {busy_loops} of the {loops} loops measured were busy and received {received} frames"
        )
    };
    let measured: Vec<String> = reports.iter().map(measured).collect();
    format!("{}\n{}", table(&heading, &[0, 1, 3, 4, 5], rows), measured.join("\n"))
}

fn rows(at: usize, report: &CyclesReport) -> impl Iterator<Item = Vec<String>> {
    let all: u64 = report.stages.iter().map(|stage| stage.cycles).sum();
    let (busy, idle) = (report.busy_loops, report.loops.saturating_sub(report.busy_loops));
    report.stages.iter().map(move |StageReport { stage, cycles, text }| {
        let is_idle = stage == "idle";
        let per = |of: u64| if of == 0 { "-".into() } else { format!("{:.1}", *cycles as f64 / of as f64) };
        vec![
            at.to_string(),
            report.core.to_string(),
            stage.clone(),
            format!("{:.1} %", if all == 0 { 0.0 } else { *cycles as f64 * 100.0 / all as f64 }),
            if is_idle { "-".into() } else { per(report.received) },
            per(if is_idle { idle } else { busy }),
            text.clone(),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(loops: u64, busy_loops: u64, received: u64, cycles: [u64; 2]) -> CyclesReport {
        let stages = ["rx", "idle"].iter().zip(cycles);
        let stage = |(stage, cycles): (&&str, u64)| StageReport {
            stage: (*stage).into(),
            cycles,
            text: format!("About {stage}."),
        };
        CyclesReport { core: 3, loops, busy_loops, received, stages: stages.map(stage).collect() }
    }

    #[test]
    fn cycles_are_shared_among_packets_and_loops() {
        let text = render(&[since(report(110, 52, 410, [1800, 300]), &report(10, 2, 10, [300, 200]))]);
        let cells: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[1], ["0", "3", "rx", "93.8", "%", "3.8", "30.0", "About", "rx."]);
        assert_eq!(cells[2], ["0", "3", "idle", "6.2", "%", "-", "2.0", "About", "idle."]);
        assert!(
            text.ends_with("core 3: 50 of the 100 loops measured were busy and received 400 frames"),
            "{text}"
        );
    }

    #[test]
    fn a_worker_that_did_nothing_has_no_figures() {
        let text = render(&[report(0, 0, 0, [0, 0])]);
        assert!(text.contains("0.0 %") && !text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

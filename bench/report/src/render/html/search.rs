//! A throughput search: its trials in order, and loss over rate.

use maud::{Markup, html};

use super::axis::Axis;
use super::chart::{Chart, legend};
use super::table::{cells, figure, table};
use crate::measure::{Better, LOSS, OFFERED_RATE};
use crate::render::number::quantity;
use crate::run::{Counter, Run, Span};
use crate::summary::range;

const CLEAN: usize = 2;
const LOSSY: usize = 1;

struct Trial {
    rate: f64,
    loss: f64,
}

/// The figures of a run that has trials.
pub(super) fn search(run: &Run) -> Option<Markup> {
    let trial = |span: &Span| Some(Trial { rate: span.value(OFFERED_RATE)?, loss: span.value(LOSS)? });
    let trials: Vec<Trial> = run.trials.iter().filter_map(trial).collect();
    if trials.is_empty() {
        return None;
    }
    let is_result =
        |counter: &&Counter| counter.unit == OFFERED_RATE.unit && counter.better == Some(Better::Higher);
    let results: Vec<&Counter> = run.whole.counters.iter().filter(is_result).collect();
    let rows: Vec<Vec<String>> = trials
        .iter()
        .zip(&run.trials)
        .enumerate()
        .map(|(at, (trial, span))| {
            let length = quantity(span.length_s, "s");
            vec![
                (at + 1).to_string(),
                quantity(trial.rate, OFFERED_RATE.unit),
                quantity(trial.loss, LOSS.unit),
                length,
            ]
        })
        .collect();
    let numbers = table(&cells(["trial", "offered", "loss", "length"]), &rows);
    let named: Vec<String> =
        results.iter().map(|one| format!("{} {}", one.name, quantity(one.value, &one.unit))).collect();
    let kinds = [(CLEAN, "trial without loss"), (LOSSY, "trial with loss")];
    let names = kinds.into_iter().chain(named.iter().enumerate().map(|(at, name)| (colour_of(at), &**name)));
    let charts = html! {
        div.pair {
            (in_order(&trials, &results))
            (over_rate(&trials, &results))
        }
        (legend(names))
    };
    Some(figure("Trials in order, and their loss over their rate", &charts, &numbers))
}

/// Of the nth result.
fn colour_of(result: usize) -> usize {
    result * 3
}

fn in_order(trials: &[Trial], results: &[&Counter]) -> Markup {
    let (slowest, fastest) = rates(trials);
    let description = format!("{} trials; each is a dot at the rate that it offered", trials.len());
    let x = Axis::counting("trial", 1, trials.len());
    let y = Axis::linear(OFFERED_RATE.unit, OFFERED_RATE.unit, slowest, fastest);
    let mut chart = Chart::new("Trials in order", description, x, y).half();
    for (at, result) in results.iter().enumerate() {
        chart.level(colour_of(at), result.value);
    }
    let points = || trials.iter().enumerate().map(|(at, trial)| ((at + 1) as f64, trial.rate));
    chart.line(7, "thin", points());
    for (trial, point) in trials.iter().zip(points()) {
        chart.dot(colour(trial), "", point, &says(trial));
    }
    chart.draw()
}

fn over_rate(trials: &[Trial], results: &[&Counter]) -> Markup {
    let (slowest, fastest) = rates(trials);
    let (low, most) = trials
        .iter()
        .map(|trial| trial.loss)
        .filter(|loss| *loss > 0.0)
        .fold((1.0, 0.0), |(low, most): (f64, f64), loss| (low.min(loss), most.max(loss)));
    // No loss lies on the floor, a decade below the least loss.
    let floor = (low / 10.0).clamp(1e-9, 0.001);
    let description = "Each trial is a dot at its rate and its loss; those without loss lie at the bottom";
    let x = Axis::linear(format!("offered rate, {}", OFFERED_RATE.unit), OFFERED_RATE.unit, slowest, fastest);
    let mut y = Axis::log("loss", LOSS.unit, floor, most.max(floor * 100.0));
    if let Some((_, text)) = y.ticks.first_mut() {
        "0 %".clone_into(text);
    }
    let mut chart = Chart::new("Loss over rate", description, x, y).half();
    for (at, result) in results.iter().enumerate() {
        chart.wall(colour_of(at), result.value);
    }
    for trial in trials {
        chart.dot(colour(trial), "", (trial.rate, trial.loss), &says(trial));
    }
    chart.draw()
}

fn rates(trials: &[Trial]) -> (f64, f64) {
    range(&trials.iter().map(|trial| trial.rate).collect::<Vec<_>>())
}

fn colour(trial: &Trial) -> usize {
    if trial.loss > 0.0 { LOSSY } else { CLEAN }
}

fn says(trial: &Trial) -> String {
    format!("{}: {} lost", quantity(trial.rate, OFFERED_RATE.unit), quantity(trial.loss, LOSS.unit))
}

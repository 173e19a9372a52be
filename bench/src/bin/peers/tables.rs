//! What is printed and kept of forwarding: medians with their range, what is left without the floor, and ratios.

use std::fmt::Write as _;

use report::{median, range};

use crate::contenders::{FLOOR, OURS, PEER};
use crate::measure::{Column, Plan, Results, Row};

/// The tables, as Markdown.
pub(crate) fn text(results: &Results, plan: &Plan) -> String {
    let ghz = results.tsc_hz as f64 / 1e9;
    let mut out = String::new();
    let rounds = plan.rounds;
    let _ = writeln!(out, "Cycles per packet at {ghz:.2} GHz (TSC), median of {rounds} (least .. most):\n");
    table(&mut out, &results.columns, |_, row| {
        let (least, most) = range(&row.cycles);
        format!("{:.1} ({least:.1} .. {most:.1})", median(&row.cycles))
    });
    let _ = writeln!(out, "\nMillion packets a second, one core:\n");
    table(&mut out, &results.columns, |_, row| {
        format!("{:.1}", results.tsc_hz as f64 / 1e6 / median(&row.cycles))
    });
    let _ = writeln!(out, "\nCycles per packet of forwarding: less {FLOOR} of the same round:\n");
    table(&mut out, &results.columns, |column, row| against(column, FLOOR, row, |one, floor| one - floor, 1));
    let _ = writeln!(out, "\nCycles as a ratio to {PEER}'s of the same round:\n");
    table(&mut out, &results.columns, |column, row| against(column, PEER, row, |one, peer| one / peer, 2));
    let targets: Vec<String> =
        results.columns.iter().map(|column| format!("{:.2}", column.set.target_ratio)).collect();
    let _ = writeln!(out, "| *{OURS}: to be reached* | {} |", targets.join(" | "));
    out
}

/// One line a contender, one cell a column.
fn table(out: &mut String, columns: &[Column], cell: impl Fn(&Column, &Row) -> String) {
    let titles: Vec<&str> = columns.iter().map(|column| column.set.title).collect();
    let _ = writeln!(out, "| | {} |\n|---|{}", titles.join(" | "), "---|".repeat(columns.len()));
    let names = columns.first().map_or(&[][..], |column| &column.rows);
    for (i, Row { name, .. }) in names.iter().enumerate() {
        let cells: Vec<String> = columns.iter().map(|column| cell(column, &column.rows[i])).collect();
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
}

/// The median over the rounds of `row` compared with the row named `other`.
fn against(
    column: &Column,
    other: &str,
    row: &Row,
    compare: impl Fn(f64, f64) -> f64,
    digits: usize,
) -> String {
    let Some(other) = column.rows.iter().find(|row| row.name == other) else { return "-".to_owned() };
    let compared: Vec<f64> =
        row.cycles.iter().zip(&other.cycles).map(|(one, other)| compare(*one, *other)).collect();
    format!("{:.digits$}", median(&compared))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::TABLES;

    #[test]
    fn rows_are_compared_round_by_round() {
        let row = |name, cycles: &[f64]| Row { name, cycles: cycles.to_vec(), starts_s: Vec::new() };
        let rows = vec![
            row(FLOOR, &[10.0, 20.0, 12.0]),
            row(PEER, &[20.0, 40.0, 24.0]),
            row(OURS, &[15.0, 30.0, 18.0]),
        ];
        let column = Column { set: &TABLES[0].sets[0], rows };
        assert_eq!(against(&column, PEER, &column.rows[2], |one, peer| one / peer, 2), "0.75");
        assert_eq!(against(&column, FLOOR, &column.rows[2], |one, floor| one - floor, 1), "6.0");
        assert_eq!(against(&column, "nobody", &column.rows[2], |one, other| one - other, 1), "-");
    }
}

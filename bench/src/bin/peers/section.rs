//! A part of the report: runs of programs that are compared, as tables, and the file that keeps the parts.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use report::measure::Measure;
use report::{
    Better, Document, Environment, Given, Kind, Run, Sample, Snapshot, Span, median, range, samples,
};

use crate::Result;
use crate::machine;

/// One comparison.
pub(crate) struct Section {
    /// Its heading.
    pub(crate) title: &'static str,
    /// What was compared, and how: a sentence or two.
    pub(crate) about: &'static str,
    /// Who the others are compared with.
    pub(crate) peer: &'static str,
    document: Document,
    before: Snapshot,
    start: Instant,
}

/// A scenario of a comparison.
pub(crate) struct Trial {
    /// For people.
    pub(crate) name: &'static str,
    /// Who takes part.
    pub(crate) subjects: Vec<&'static str>,
}

impl Section {
    pub(crate) fn begin(title: &'static str, about: &'static str, peer: &'static str) -> Section {
        let document = Document::new(Kind::Comparison, concat!("peers ", env!("CARGO_PKG_VERSION")));
        Section { title, about, peer, document, before: Snapshot::take("/"), start: Instant::now() }
    }

    /// Has the subjects of a trial take turns, again and again. A turn gives numbers of which some are for comparing.
    pub(crate) fn rounds(
        &mut self,
        rounds: usize,
        trial: &Trial,
        mut turn: impl FnMut(&'static str) -> Result<Vec<(Measure, f64)>>,
    ) -> Result<()> {
        for round in 1..=rounds {
            let mut line = format!("{}: {}, round {round}:", self.title, trial.name);
            for &subject in &trial.subjects {
                let begin = self.start.elapsed();
                let numbers = turn(subject).map_err(|why| format!("{subject}, {}: {why}", trial.name))?;
                if let Some((measure, value)) = numbers.first() {
                    let _ = write!(line, " {subject} {} {}", short(*value), measure.unit);
                }
                self.add(subject, trial.name, begin, numbers);
            }
            eprintln!("peers: {line}");
        }
        Ok(())
    }

    fn add(&mut self, subject: &str, scenario: &str, begin: Duration, numbers: Vec<(Measure, f64)>) {
        let length = self.start.elapsed() - begin;
        let span = Span::new(begin.as_secs_f64(), length.as_secs_f64());
        let whole = numbers.into_iter().fold(span, |span, (measure, value)| span.with(measure, value));
        self.document.runs.push(Run::new(whole).of(subject).under(scenario));
    }

    /// The section as it is kept, and its runs.
    pub(crate) fn finish(self, cores: [u16; 2]) -> Result<(String, Document)> {
        let given = Given {
            dpdk: Some(machine::dpdk_version()),
            // What counts is how the programs are built.
            optimized: true,
            ..Given::new(cores.map(u32::from))
        };
        let mut text = heading(self.title, self.about)?;
        let samples = samples(&self.document);
        table(&mut text, &samples, "Median (least .. most):", cell)?;
        let peer = self.peer;
        let ratio = |sample: &Sample| -> Option<String> {
            let of = samples.iter().find(|other| {
                other.subject == peer && other.scenario == sample.scenario && other.name == sample.name
            })?;
            let rounds = sample.values.iter().zip(&of.values).map(|(one, other)| one / other);
            Some(format!("{:.2}", median(&rounds.collect::<Vec<_>>())))
        };
        if samples.iter().any(|sample| sample.subject != peer && ratio(sample).is_some()) {
            let caption = format!("As a ratio to {peer} in the same round, median:");
            table(&mut text, &samples, &caption, |sample| ratio(sample).unwrap_or_else(|| "-".into()))?;
        }
        let environment = Environment::judge(&self.before, &Snapshot::take("/"), &given);
        Ok((text, self.document.on(environment)))
    }
}

/// The heading of a section that is measured now, with where and how.
pub(crate) fn heading(title: &str, about: &str) -> Result<String> {
    let mut text = format!("## {title}\n\n{about}\n\n");
    for (name, value) in machine::describe() {
        writeln!(text, "- {name}: {value}")?;
    }
    let quoted = |word: String| if word.contains(' ') { format!("'{word}'") } else { word };
    let words: Vec<String> = std::env::args().skip(1).map(quoted).collect();
    let dashes = if words.is_empty() { "" } else { " -- " };
    writeln!(text, "- command: `cargo run --release -p bench --bin peers{dashes}{}`\n", words.join(" "))?;
    Ok(text)
}

/// A table with a line for each measure of each scenario, and a column for each subject.
fn table(
    text: &mut String,
    samples: &[Sample],
    caption: &str,
    cell: impl Fn(&Sample) -> String,
) -> Result<()> {
    let mut subjects: Vec<&str> = Vec::new();
    let mut lines: Vec<(&str, &str)> = Vec::new();
    for sample in samples {
        if !subjects.contains(&&*sample.subject) {
            subjects.push(&sample.subject);
        }
        if !lines.contains(&(&*sample.scenario, &*sample.name)) {
            lines.push((&sample.scenario, &sample.name));
        }
    }
    writeln!(text, "{caption}\n\n| | {} |\n|---|{}", subjects.join(" | "), "---|".repeat(subjects.len()))?;
    for (scenario, name) in lines {
        let of = |subject: &&str| {
            samples.iter().find(|s| s.subject == **subject && s.scenario == scenario && s.name == name)
        };
        let found = samples.iter().find(|s| s.scenario == scenario && s.name == name);
        let (unit, arrow) = found.map_or(("", ""), |s| {
            (&*s.unit, if s.better == Better::Lower { " (less is better)" } else { "" })
        });
        let cells: Vec<String> = subjects.iter().map(|s| of(s).map_or("-".into(), &cell)).collect();
        writeln!(text, "| {scenario}: {name}, {unit}{arrow} | {} |", cells.join(" | "))?;
    }
    writeln!(text)?;
    Ok(())
}

fn cell(sample: &Sample) -> String {
    let (least, most) = range(&sample.values);
    format!("{} ({} .. {})", short(median(&sample.values)), short(least), short(most))
}

/// A number in about three digits.
fn short(value: f64) -> String {
    match value.abs() {
        value if value >= 10e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 10e3 => format!("{:.0}k", value / 1e3),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Puts sections into the report at `path`, each in the place of the one with its heading; others stay.
pub(crate) fn keep(path: &Path, sections: &[String]) -> Result<()> {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(path, merged(&old, sections)).map_err(|why| format!("{}: {why}", path.display()))?;
    eprintln!("peers: written to {}", path.display());
    Ok(())
}

const TITLE: &str = "# Compared with peers\n\nOn one machine, in turns; `bench/peers/README.md` tells how. Trust the ratios.\n\n";

fn merged(old: &str, sections: &[String]) -> String {
    let heading = |section: &str| section.lines().next().unwrap_or_default().to_owned();
    let mut parts: Vec<String> =
        old.split("\n## ").skip(1).map(|part| format!("## {}\n", part.trim_end())).collect();
    for section in sections {
        let section = format!("{}\n", section.trim_end());
        match parts.iter_mut().find(|part| heading(part) == heading(&section)) {
            Some(part) => *part = section,
            None => parts.push(section),
        }
    }
    TITLE.to_owned() + &parts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Measure = Measure::higher("rate", "requests/s");

    #[test]
    fn subjects_take_turns_and_are_compared_round_by_round() {
        let mut section = Section::begin("HTTP", "How fast?", "nginx");
        let trial = Trial { name: "pages", subjects: vec!["nginx", "sluice"] };
        let mut values = [100.0, 300.0, 200.0, 300.0, 150.0, 600.0].into_iter();
        let mut turns = Vec::new();
        let turn = |subject| {
            turns.push(subject);
            Ok(vec![(RATE, values.next().unwrap())])
        };
        section.rounds(3, &trial, turn).unwrap();
        assert_eq!(turns, ["nginx", "sluice"].repeat(3));
        let (text, document) = section.finish([0, 1]).unwrap();
        assert_eq!(document.runs.len(), 6);
        assert!(text.contains("| pages: rate, requests/s | 150 (100 .. 200) | 300 (300 .. 600) |"), "{text}");
        // Of 3, 1.5 and 4.
        assert!(text.contains("| pages: rate, requests/s | 1.00 | 3.00 |"), "{text}");
    }

    #[test]
    fn what_a_subject_has_no_part_in_is_left_open() {
        let mut section = Section::begin("HTTP", "How fast?", "nginx");
        let both = Trial { name: "pages", subjects: vec!["nginx", "sluice"] };
        let one = Trial { name: "files", subjects: vec!["nginx"] };
        section.rounds(1, &both, |_| Ok(vec![(RATE, 1e7)])).unwrap();
        section.rounds(1, &one, |_| Ok(vec![(RATE, 2e3)])).unwrap();
        let (text, _) = section.finish([0, 1]).unwrap();
        assert!(text.contains("| files: rate, requests/s | 2000 (2000 .. 2000) | - |"), "{text}");
    }

    #[test]
    fn a_failed_turn_says_whose() {
        let mut section = Section::begin("HTTP", "How fast?", "nginx");
        let trial = Trial { name: "pages", subjects: vec!["nginx"] };
        let failed = section.rounds(1, &trial, |_| Err("it is gone".into())).unwrap_err();
        assert_eq!(failed.to_string(), "nginx, pages: it is gone");
    }

    #[test]
    fn sections_that_were_not_measured_stay() {
        let old = "# Old\n\n## A\n\nold a\n\n| x |\n\n## B\n\nold b\n";
        let new = merged(old, &["## B\n\nnew b\n\n".into(), "## C\n\nc\n".into()]);
        assert_eq!(new, format!("{TITLE}## A\n\nold a\n\n| x |\n\n## B\n\nnew b\n\n## C\n\nc\n"));
        assert_eq!(merged(&new, &["## A\n\na\n".into()]).matches("## ").count(), 3);
    }
}

//! `CONFORMANCE.md`: each requirement, and the tests that cite it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const REQUIREMENTS: &str = include_str!("requirements.txt");

/// A line of `requirements.txt`.
struct Requirement {
    label: &'static str,
    section: &'static str,
    text: &'static str,
    /// Why it has no test.
    reason: Option<&'static str>,
}

fn requirements() -> Vec<Requirement> {
    let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let read = |line: &'static str| {
        let (line, reason) = match line.split_once(" | ") {
            Some((line, reason)) => (line, Some(reason.trim())),
            None => (line, None),
        };
        let (label, rest) = line.split_once(' ').unwrap();
        let (section, text) = rest.trim_start().split_once(' ').unwrap();
        Requirement { label, section, text: text.trim(), reason }
    };
    lines.map(read).collect()
}

/// What the tests beside this file cite: RFC number; label or section; words; test.
type Citation = (u32, String, String, String);

fn citations(dir: &Path) -> Vec<Citation> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .flat_map(of_file)
        .collect()
}

fn of_file(path: impl AsRef<Path>) -> Vec<Citation> {
    let module = path.as_ref().file_stem().unwrap().to_string_lossy().into_owned();
    let text = fs::read_to_string(&path).unwrap();
    let (mut all, mut open) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(citation) = line.strip_prefix("//= RFC ") {
            let (place, words) = citation.split_once(": ").unwrap_or_else(|| panic!("{module}: {line}"));
            let (rfc, place) = place.split_once(' ').unwrap_or_else(|| panic!("{module}: {line}"));
            open.push((rfc.parse().unwrap(), place.to_owned(), words.to_owned()));
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default();
            all.extend(
                open.drain(..).map(|(rfc, place, words)| (rfc, place, words, format!("{module}::{name}"))),
            );
        }
    }
    assert!(open.is_empty(), "{module}: {open:?} stands above no test");
    all
}

fn is_label(place: &str) -> bool {
    place.starts_with("MUST-") || place.starts_with("SHLD-")
}

fn report(requirements: &[Requirement], citations: &[Citation]) -> String {
    let tests_of = |label: &str| -> Vec<String> {
        let of_label = citations.iter().filter(|(_, place, ..)| place == label);
        let mut tests: Vec<_> = of_label.map(|(.., test)| format!("`{test}`")).collect();
        tests.dedup();
        tests
    };
    let count = |kind: &str| {
        let all = requirements.iter().filter(|r| r.label.starts_with(kind));
        let tested = all.clone().filter(|r| !tests_of(r.label).is_empty()).count();
        (all.count(), tested)
    };
    let ((musts, musts_tested), (shoulds, shoulds_tested)) = (count("MUST"), count("SHLD"));
    let mut out = format!(
        "# Conformance\n\nMade by the test `conformance::report` of the tests that cite each requirement; \
         `SLUICE_UPDATE=1 cargo test -p tcp report` writes it anew.\n\n\
         RFC 9293: {musts_tested} of {musts} MUSTs and {shoulds_tested} of {shoulds} SHOULDs have tests; \
         of each other one it says why.\n\n## RFC 9293, by its appendix B\n\n\
         | | Section | What | Tests, or why none |\n|-|-|-|-|\n"
    );
    for Requirement { label, section, text, reason } in requirements {
        let mut proof = tests_of(label).join(", ");
        if let Some(reason) = reason {
            let gap = if proof.is_empty() { "" } else { "; " };
            write!(proof, "{gap}*{reason}*").unwrap();
        }
        writeln!(out, "| {label} | {section} | {text} | {proof} |").unwrap();
    }
    let mut others: BTreeMap<(u32, Vec<u32>, &str), Vec<String>> = BTreeMap::new();
    for (rfc, place, words, test) in citations.iter().filter(|(_, place, ..)| !is_label(place)) {
        let numbers = place.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        others.entry((*rfc, numbers, place)).or_default().push(format!("{words} `{test}`"));
    }
    let mut last = 0;
    for ((rfc, _, place), tests) in others {
        if rfc != last {
            writeln!(out, "\n## RFC {rfc}, by section\n\n| Where | What, and the test |\n|-|-|").unwrap();
            last = rfc;
        }
        writeln!(out, "| {place} | {} |", tests.join("<br>")).unwrap();
    }
    out
}

/// Every MUST of RFC 9293 has a test or a reason; nothing is cited that is not there; the report is true.
#[test]
fn conformance_report() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (requirements, citations) = (requirements(), citations(&root.join("src/conformance")));
    let musts = requirements.iter().filter(|r| r.label.starts_with("MUST-")).count();
    assert_eq!((musts, requirements.len() - musts), (69, 31));
    for (_, place, _, test) in citations.iter().filter(|(_, place, ..)| is_label(place)) {
        assert!(requirements.iter().any(|r| r.label == place), "{test} cites {place}");
    }
    for requirement in &requirements {
        let tested = citations.iter().any(|(rfc, place, ..)| *rfc == 9293 && place == requirement.label);
        assert!(
            tested || requirement.reason.is_some(),
            "{} has neither a test nor a reason",
            requirement.label
        );
    }
    let (path, now) = (root.join("CONFORMANCE.md"), report(&requirements, &citations));
    if std::env::var_os("SLUICE_UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == now, "CONFORMANCE.md is out of date: SLUICE_UPDATE=1 cargo test -p tcp report");
}

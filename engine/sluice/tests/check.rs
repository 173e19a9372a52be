//! `sluice check`, and `sluice run` with what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Home, SLUICE, assert_failed, one_port, output};
use std::process::{Command, Output};

fn sluice(args: &[&str]) -> Output {
    output(Command::new(SLUICE).args(args).env("NO_COLOR", "1"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What is wrong with a file, and where each error starts.
const WRONG: &str = r#"nam = "typo"
[[port]]
name = "a"
device = "net_null0"
addresses = ["10.1.0.1"]
mtu = 70000
[[route]]
prefix = "10.9.0.1/24"
via = "10.1.0.2"
[workers]
cores = [0]
poll = "sometimes"
"#;
const WHERE: [&str; 5] = ["1:1", "5:14", "6:7", "8:10", "12:8"];

#[test]
fn a_good_file_gives_the_plan() {
    let home = Home::new();
    let file = home.configure(&one_port("net_null0", "busy"));
    let checked = sluice(&["check", file.to_str().unwrap()]);
    let text = String::from_utf8(checked.stdout.clone()).unwrap();
    assert!(checked.status.success(), "{checked:?}");
    for part in [&*home.name, "worker  core", "a:0", "net_null0", "in the pool", "in all", "no errors"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

#[test]
fn all_errors_come_at_once_with_line_and_column() {
    let home = Home::new();
    let file = home.write("wrong.toml", WRONG);
    let checked = sluice(&["check", file.to_str().unwrap()]);
    let text = stderr(&checked);
    assert!(!checked.status.success());
    for place in WHERE {
        assert!(text.contains(&format!("wrong.toml:{place}]")), "{place}:\n{text}");
    }
    assert_eq!(text.matches("wrong.toml:").count(), WHERE.len(), "{text}");
}

#[test]
fn a_wrong_file_is_not_run() {
    let home = Home::new();
    let file = home.configure(WRONG);
    let run = sluice(&["run", "-c", file.to_str().unwrap()]);
    assert!(!run.status.success());
    assert!(run.stdout.is_empty(), "not even a plan: {run:?}");
    assert!(!home.socket().exists() && !stderr(&run).contains("EAL"), "{run:?}");
}

#[test]
fn a_file_that_is_not_there_is_one_sentence() {
    for command in [&["check"][..], &["run", "-c"]] {
        let missing = sluice(&[command, &["/nonexistent/sluice.toml"]].concat());
        let text = stderr(&missing);
        assert!(!missing.status.success() && text.trim_end().lines().count() == 1, "{text}");
        assert_failed(missing.status.success(), &text, &["/nonexistent/sluice.toml", "No such file"]);
    }
}

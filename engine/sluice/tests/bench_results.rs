//! `sluice bench diff` and `sluice bench report`, on files.

#![expect(clippy::unwrap_used, reason = "what fails to be there fails the test")]

use std::path::PathBuf;
use std::process::{Command, Output};

use report::measure::{LOSS, RECEIVED_RATE};
use report::{Document, Kind, Run, Span};
use tempfile::TempDir;

/// Four runs around a rate, without a histogram.
fn result(rate: f64) -> Document {
    [0.999, 1.0, 1.001, 1.0].into_iter().fold(Document::new(Kind::Forward, "sluice"), |document, share| {
        document.run(Run::new(Span::new(0.0, 1.0).with(RECEIVED_RATE, rate * share).with(LOSS, 0.0)))
    })
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn sluice(arguments: &[&str], files: &[&PathBuf]) -> (i32, String, String) {
    let output: Output =
        Command::new(env!("CARGO_BIN_EXE_sluice")).arg("bench").args(arguments).args(files).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_exit_status_of_diff_tells_what_it_found() {
    let folder = TempDir::new().unwrap();
    let before = write(&folder, "before.json", &result(1e6).json().unwrap());
    let slower = write(&folder, "slower.json", &result(0.9e6).json().unwrap());
    let other = write(&folder, "other.json", &result(0.9e6).parameter("frame size", "64 B").json().unwrap());
    let newer = write(&folder, "newer.json", "{\"schema\": {\"name\": \"sluice-bench\", \"version\": 9}}");
    let missing = folder.path().join("missing.json");
    for (arguments, files, status, says) in [
        (&["diff"][..], [&before, &before], 0, "2 measures: 0 worse, 0 better"),
        (
            &["diff"],
            [&before, &slower],
            1,
            "worse      received rate: 1.000 M frames/s -> 900.0 k frames/s, -10 %",
        ),
        (&["diff"], [&slower, &before], 0, "better     received rate"),
        (&["diff", "--threshold", "20"], [&before, &slower], 0, "no matter  received rate"),
        (&["diff"], [&before, &other], 2, "not comparable: parameter frame size: not set, then 64 B"),
        (&["diff", "--force"], [&before, &other], 1, "note: parameter frame size"),
        (&["diff"], [&before, &newer], 2, "Use a later sluice"),
        (&["diff"], [&missing, &before], 2, "missing.json: No such file"),
        (&["diff", "--alarms", "100"], [&before, &before], 2, "from 0 to less than 100"),
    ] {
        let (code, out, err) = sluice(arguments, &files);
        assert_eq!(code, status, "{arguments:?} {files:?}: {out}{err}");
        assert!(if status == 2 { &err } else { &out }.contains(says), "{says}: {out}{err}");
    }
}

#[test]
fn report_writes_each_form() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "a.json", &result(1e6).json().unwrap());
    let page = folder.path().join("a.html");
    for (arguments, says) in [
        (&["report"][..], "median of 4 (least .. most)"),
        (&["report", "--text"], "median of 4 (least .. most)"),
        (&["report", "--csv"], "1,,,run,1,0,1,received rate,frames/s,999000"),
    ] {
        let (code, out, err) = sluice(arguments, &[&file]);
        assert!(code == 0 && out.contains(says), "{says}: {out}{err}");
    }
    let (code, out, _) = sluice(&["report", "--html", page.to_str().unwrap()], &[&file]);
    assert_eq!((code, &*out), (0, ""), "who asks for a page wants no text");
    assert!(std::fs::read_to_string(&page).unwrap().ends_with("</html>"));
    let (code, _, err) = sluice(&["report", "--hlog"], &[&file]);
    assert!(code == 1 && err.contains("it has no histogram"), "{err}");
}

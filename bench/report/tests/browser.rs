//! The page in a headless Chromium: nothing in the console, and plots that are really drawn.

#![expect(clippy::unwrap_used, reason = "what fails to be there fails the test")]

mod common;

use std::fs;
use std::process::Command;

use scraper::{Html, Selector};
use serde_json::Value;
use tempfile::TempDir;

const BROWSERS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];

/// Measures the page, and leaves what it found in it.
const PROBE: &str = r#"<script>
const inside = (plot, text) => {
  const box = text.getBoundingClientRect(), all = plot.getBoundingClientRect();
  return box.left >= all.left - 1 && box.right <= all.right + 1 && box.top >= all.top - 1 && box.bottom <= all.bottom + 1;
};
const plots = [...document.querySelectorAll("svg[role=img]")].filter(plot => plot.checkVisibility());
const found = {
  plots: plots.map(plot => ({
    label: plot.getAttribute("aria-label"),
    width: plot.getBoundingClientRect().width,
    height: plot.getBoundingClientRect().height,
    outside: [...plot.querySelectorAll("text")].filter(text => !inside(plot, text)).map(text => text.textContent),
    marks: [...plot.querySelectorAll("polyline, circle, rect")].filter(mark => {
      const style = getComputedStyle(mark), box = mark.getBBox();
      return box.width + box.height > 0 && (style.fill !== "none" || style.stroke !== "none");
    }).length,
  })),
  page: getComputedStyle(document.body).backgroundColor,
  wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
};
document.body.innerHTML = "";
document.body.appendChild(document.createElement("output")).textContent = JSON.stringify(found);
</script>"#;

/// Loads a page in a window of that width; what the probe found, and what the console said.
fn load(page: &str, width: u32, dark: bool) -> (Value, Vec<String>) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("page.html");
    fs::write(&file, page).unwrap();
    let is_there = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let browser = BROWSERS.iter().find(is_there).expect("none of the browsers is installed");
    let mut command = Command::new("timeout");
    command.args([
        "120",
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        "--enable-logging=stderr",
    ]);
    command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    command.arg(format!("--window-size={width},1000"));
    if dark {
        command.arg("--blink-settings=preferredColorScheme=0");
    }
    let output = command.arg(format!("file://{}", file.display())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{browser}: {said}");
    let console = said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    let dom = Html::parse_document(&String::from_utf8_lossy(&output.stdout));
    let found = dom
        .select(&Selector::parse("output").unwrap())
        .next()
        .map(|output| output.text().collect::<String>());
    (found.map_or(Value::Null, |found| serde_json::from_str(&found).unwrap()), console)
}

#[test]
#[ignore = "needs a browser: chromium-headless-shell"]
fn plots_are_drawn() {
    for (name, document) in common::all() {
        let page = report::render::html(&document).replace("</body>", &format!("{PROBE}</body>"));
        for (width, dark) in [(1200, false), (420, true)] {
            let (found, console) = load(&page, width, dark);
            assert_eq!(console, [""; 0], "{name}");
            let plots = found["plots"].as_array().unwrap();
            assert!(!plots.is_empty(), "{name}");
            for plot in plots {
                let what = format!("{name}, {width} wide: {plot}");
                assert!(
                    plot["width"].as_f64() > Some(250.0) && plot["height"].as_f64() > Some(30.0),
                    "{what}"
                );
                assert!(plot["marks"].as_u64() > Some(0), "{what}");
                assert_eq!(plot["outside"].as_array().map(Vec::len), Some(0), "{what}");
            }
            assert!(
                found["wider"].as_i64() <= Some(0),
                "{name}, {width} wide: scrolls sideways by {}",
                found["wider"]
            );
            let expected = if dark { "rgb(15, 19, 26)" } else { "rgb(246, 247, 249)" };
            assert_eq!(found["page"], expected, "{name}");
        }
    }
}

#[test]
#[ignore = "needs a browser: chromium-headless-shell"]
fn the_console_would_be_heard() {
    let (_, console) = load("<!DOCTYPE html><body><script>nothing.there()</script></body>", 800, false);
    assert!(console.iter().any(|line| line.contains("nothing is not defined")), "{console:?}");
}

//! tmp
mod common;
#[test]
fn write() {
    for (name, document) in common::all() {
        std::fs::write(
            format!("{}/{name}.html", env!("CARGO_TARGET_TMPDIR")),
            report::render::html(&document),
        )
        .unwrap();
        std::fs::write(format!("{}/{name}.json", env!("CARGO_TARGET_TMPDIR")), document.json().unwrap())
            .unwrap();
        std::fs::write(
            format!("{}/{name}.hlog", env!("CARGO_TARGET_TMPDIR")),
            report::render::hlog(&document).unwrap_or_default(),
        )
        .unwrap();
        println!("{}", report::render::text(&document));
    }
}

//! Whatever is in the files, the answer is a configuration or errors that can be shown.

use config::{Caps, Config, Machine, Plan};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../examples/router.toml");
const ROUTES: &str = include_str!("../examples/routes.txt");

/// Reads and shows it in all ways there are.
fn exercise(config: Result<Config, config::ConfigErrors>) {
    match config {
        Ok(config) => {
            if let Ok(plan) = Plan::new(&config, |_| Caps { rx_queues: 4, tx_queues: 2 }) {
                assert!(!plan.to_string().is_empty());
            }
        }
        Err(errors) => {
            assert!(errors.iter().count() > 0);
            for error in errors.iter() {
                assert!(!error.one_line().to_string().contains('\n'), "{}", error.one_line());
            }
            let mut out = String::new();
            let handler =
                miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
            handler.render_report(&mut out, &errors).expect("every place is in its file");
            assert!(!out.contains("Failed to read contents"), "{out}");
        }
    }
}

fn read(text: &str) {
    exercise(Config::from_str("r.toml", text, &Machine { cores: 2 }));
}

fn read_routes(text: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("router.toml");
    std::fs::write(&file, EXAMPLE).expect("written");
    std::fs::write(folder.path().join("routes.txt"), text).expect("written");
    exercise(Config::load(&file, &Machine { cores: 2 }));
}

/// One edit: a piece of the text is replaced.
fn edited(text: &str, at: usize, cut: usize, put: &str) -> String {
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(at % (text.len() + 1));
    let end = boundary((start + cut).min(text.len())).max(start);
    format!("{}{put}{}", &text[..start], &text[end..])
}

/// Pieces that are likely to lead somewhere.
fn piece() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "",
        "0",
        "-1",
        "99999999999",
        "\"",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        "[[port]]\n",
        "auto",
        "é",
        "10.0.1.1/24",
        "\"10.0.1.1/24\"",
        "true",
        "1.5",
        "1979-05-27",
        "via",
        ",",
        "/",
        "#",
        "\u{0}",
        "lan.100",
        "[[route]]\n",
        "type = \"blackhole\"\n",
    ];
    prop_oneof![prop::sample::select(KNOWN).prop_map(str::to_owned), ".{0,6}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_text(text in "(?s).{0,200}") {
        read(&text);
    }

    #[test]
    fn the_example_edited(edits in prop::collection::vec((any::<usize>(), 0_usize..12, piece()), 1..4)) {
        let edit = |text: String, (at, cut, put): (usize, usize, String)| edited(&text, at, cut, &put);
        read(&edits.into_iter().fold(EXAMPLE.to_owned(), edit));
    }

    #[test]
    fn the_routes_edited(edits in prop::collection::vec((any::<usize>(), 0_usize..6, piece()), 1..4)) {
        let edit = |text: String, (at, cut, put): (usize, usize, String)| edited(&text, at, cut, &put);
        read_routes(&edits.into_iter().fold(ROUTES.to_owned(), edit));
    }
}

#[test]
fn every_beginning_of_the_example() {
    for end in (0..EXAMPLE.len()).filter(|end| EXAMPLE.is_char_boundary(*end)).step_by(7) {
        read(&EXAMPLE[..end]);
    }
}

#[test]
fn bytes_that_are_not_text() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("r.toml");
    std::fs::write(&file, [0xff, 0xfe, b'=']).expect("written");
    exercise(Config::load(&file, &Machine { cores: 2 }));
}

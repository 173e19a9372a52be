//! `sluice run` and `sluice show` on devices without a network behind them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Home, Router, SLUICE, START, assert_failed, one_port, output, within};
use std::process::Command;
use std::time::Duration;

const TWO_PORTS: &str = r#"
[dpdk]
huge = "auto"
[[port]]
name = "a"
device = "net_null0"
addresses = ["10.1.0.1/24"]
[[port]]
name = "b"
device = "net_null1,size=60"
addresses = ["10.2.0.1/24"]
[[route]]
prefix = "10.7.0.0/16"
type = "blackhole"
[[neighbour]]
address = "10.2.0.9"
mac = "02:00:00:00:00:09"
interface = "b"
[workers]
cores = [0]
poll = "busy"
"#;

#[test]
fn everything_can_be_shown() {
    let router = Router::start(TWO_PORTS);
    for (what, parts) in [
        (&["ports"][..], &["PORT", "net_null", "10.2.0.1/24"][..]),
        (&["routes"], &["PREFIX", "10.7.0.0/16", "blackhole", "routes"]),
        (&["routes", "10.7.1.1"], &["10.7.0.0/16", "blackhole"]),
        (&["neighbours"], &["ADDRESS", "10.2.0.9", "02:00:00:00:00:09", "static"]),
        (&["drops", "--all"], &["REASON", "ttl-expired", "not-our-mac"]),
        (&["workers"], &["WORKER", "CORE"]),
    ] {
        let table = router.show(what);
        assert!(parts.iter().all(|part| table.contains(part)), "{what:?} {parts:?}:\n{table}");
    }
    assert_eq!(router.ask(&["ports"])[1]["addresses"][0], "b 10.2.0.1/24");
    assert_eq!(router.ask(&["routes", "10.7.1.1"])["routes"][0]["kind"], "blackhole");
    assert_eq!(router.ask(&["neighbours"])[0]["mac"], "02:00:00:00:00:09");
    assert!(router.ask(&["drops"]).as_array().unwrap().len() > 20);
    assert_eq!(router.ask(&["workers"])[0]["core"], 0);
    // The device gives frames without end: they are counted.
    assert!(within(START, || router.ask(&["ports"])[0]["rx"].as_u64().unwrap() > 10_000));
    router.stop();
}

#[test]
fn both_signals_stop_it_in_order() {
    for signal in ["TERM", "INT"] {
        let last = Router::start(TWO_PORTS).stop_by(signal);
        for part in ["PORT", "net_null", "WORKER", "REASON"] {
            assert!(last.contains(part), "SIG{signal}, {part}:\n{last}");
        }
    }
}

#[test]
fn it_starts_without_a_word_of_dpdk() {
    for huge in ["auto", "off"] {
        let body = format!("dpdk.huge = \"{huge}\"\n{}", one_port("net_ring0", "adaptive"));
        let router = Router::start(&body);
        let log = router.log();
        assert!(log.starts_with("plan of ") || log.starts_with("sluice: warning: "), "{log}");
        assert!(!log.contains("EAL"), "{log}");
        router.stop();
    }
}

#[test]
fn a_second_of_the_same_name_is_refused() {
    let body = one_port("net_null0", "adaptive");
    let first = Router::start(&body);
    let again = output(Command::new(SLUICE).args(["run", "-c"]).arg(first.home.path("sluice.toml")));
    let text = String::from_utf8_lossy(&again.stderr);
    assert_failed(again.status.success(), &text, &[first.home.socket().to_str().unwrap(), "answers"]);
    assert_eq!(first.ask(&["ports"])[0]["name"], "a");
    first.stop();
}

#[test]
fn show_needs_a_router() {
    let home = Home::new();
    let shown = output(Command::new(SLUICE).args(["show", "ports", "--socket"]).arg(home.socket()));
    let text = String::from_utf8_lossy(&shown.stderr);
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    assert_failed(
        shown.status.success(),
        &text,
        &[home.socket().to_str().unwrap(), "is the router running?"],
    );
    let named = output(Command::new(SLUICE).args(["show", "ports", "--name", &home.name]));
    assert_failed(named.status.success(), &String::from_utf8_lossy(&named.stderr), &[&home.name]);
}

#[test]
fn two_routers_run_side_by_side() {
    let (left, right) = (Router::start(TWO_PORTS), Router::start(TWO_PORTS));
    let rx = |router: &Router| router.ask(&["ports"])[0]["rx"].as_u64().unwrap();
    let before = (rx(&left), rx(&right));
    assert!(within(START, || rx(&left) > before.0 && rx(&right) > before.1), "both go on");
    left.stop();
    let before = rx(&right);
    assert!(within(Duration::from_secs(10), || rx(&right) > before), "one goes on without the other");
    right.stop();
}

//! `sluice show cycles`: what a router and server does shows up at the stages that do it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::net::Net;
use common::{Router, within};

const ECHO: &str = r#"
[[service]]
kind = "echo"
address = "10.1.0.1"
"#;

/// Cycles of a stage.
fn cycles(router: &Router, stage: &str) -> u64 {
    let workers = router.ask(&["cycles"]);
    let stages = workers[0]["stages"].as_array().unwrap().clone();
    let row = stages.iter().find(|row| row["stage"] == stage);
    row.unwrap_or_else(|| panic!("no stage {stage}: {workers}"))["cycles"].as_u64().unwrap()
}

#[test]
fn each_kind_of_work_shows_up_at_its_stage() {
    let net = Net::new();
    let router = net.run_between_taps("[0]", ECHO);
    assert!(within(Duration::from_secs(10), || cycles(&router, "idle") > 0), "{}", router.show(&["cycles"]));

    let host = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    net.host_on_tap("b", "tb", "10.2.0.2/24", "10.2.0.1");
    // One loop in a few dozen is measured: the traffic goes on until one with such work was among them.
    let flooded = ["rx", "parse", "route", "general", "tx"];
    let seen = within(Duration::from_secs(30), || {
        host.flood("10.2.0.2", 500);
        // What the router answers itself is not on the straight path.
        host.flood("10.1.0.1", 500);
        flooded.iter().all(|stage| cycles(&router, stage) > 0)
    });
    assert!(seen, "{}", router.show(&["cycles"]));
    let report = &router.ask(&["cycles"])[0];
    assert!(report["received"].as_u64() > Some(0), "{report}");
    assert!(report["busy_loops"].as_u64() < report["loops"].as_u64(), "{report}");

    // Nobody has spoken to the programs yet.
    assert_eq!(["tcp", "app"].map(|stage| cycles(&router, stage)), [0, 0], "{}", router.show(&["cycles"]));
    let echo =
        "exec 3<>/dev/tcp/10.1.0.1/7; for n in $(seq 300); do echo $n >&3; read -u 3 back; done; echo $back";
    let seen = within(Duration::from_secs(30), || {
        assert_eq!(host.bash(echo).trim(), "300");
        ["tcp", "app"].iter().all(|stage| cycles(&router, stage) > 0)
    });
    assert!(seen, "{}", router.show(&["cycles"]));
    router.stop();
}

#[test]
fn a_watch_begins_when_it_is_asked_for() {
    let net = Net::new();
    let router = net.run_between_taps("[0]", ECHO);
    let host = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    let busy = || router.ask(&["cycles"])[0]["busy_loops"].as_u64().unwrap();
    let seen = within(Duration::from_secs(30), || {
        host.flood("10.1.0.1", 500);
        busy() > 0
    });
    assert!(seen, "{}", router.show(&["cycles"]));
    let (before, watched) = (busy(), router.ask(&["cycles", "--over", "100ms"])[0].clone());
    assert!(watched["loops"].as_u64() > Some(0), "{watched}");
    assert!(watched["busy_loops"].as_u64().unwrap() <= busy() - before, "{watched}");
    let table = router.show(&["cycles", "--over", "100ms"]);
    assert!(table.contains("CYCLES/PACKET") && table.contains("idle"), "{table}");
    router.stop();
}

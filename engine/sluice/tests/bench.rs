//! `sluice bench forward` against real devices under test, and what it says when it cannot measure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::NamedTempFile;

use common::net::Net;
use common::{SLUICE, assert_failed, output, within};

/// Slow enough for a busy machine: nothing is too late to be sent, and all is waited for.
const EASY: &str = "--no-huge --core 0 --rate 1k --duration 500ms --patience 60s --drain 20s";

/// Runs the tester; gives whether it succeeded, and all that it printed.
fn bench(args: &str) -> (bool, String) {
    let done = output(Command::new(SLUICE).args(["bench", "forward"]).args(args.split_whitespace()));
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.success(), text)
}

/// Runs it, which must succeed; gives the report and what it printed.
fn report(args: &str) -> (Value, String) {
    let file = NamedTempFile::new().unwrap();
    let (success, text) = bench(&format!("{args} --json {}", file.path().display()));
    assert!(success, "{args}: {text}");
    let json: Value = serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap();
    assert!(json["schema"]["version"].is_u64(), "{json}");
    (json, text)
}

/// A number of a run, an interval or a trial.
#[track_caller]
fn value(span: &Value, name: &str) -> f64 {
    let counters = span["counters"].as_array().unwrap();
    let counter = counters.iter().find(|counter| counter["name"] == name);
    counter.unwrap_or_else(|| panic!("no {name}: {span}"))["value"].as_f64().unwrap()
}

/// Checks that all frames of a run came back, and that nothing else did.
#[track_caller]
fn assert_lossless(run: &Value, frames: u32) {
    for (name, expected) in [
        ("offered", frames),
        ("sent", frames),
        ("received", frames),
        ("lost", 0),
        ("duplicated", 0),
        ("reordered", 0),
        ("corrupted", 0),
    ] {
        assert_eq!(value(run, name), f64::from(expected), "{name}: {run}");
    }
    let latency = &run["histograms"][0];
    assert_eq!((&latency["name"], &latency["count"]), (&"latency".into(), &frames.into()));
    assert!(value(run, "tester's own latency, p99") > 0.0);
}

#[test]
fn testpmd_in_every_mode() {
    for (mode, protocol) in [("io", "udp"), ("mac", "udp"), ("macswap", "udp"), ("icmpecho", "icmp")] {
        let (report, text) = report(&format!("{EASY} --dut testpmd:{mode} --protocol {protocol}"));
        assert_eq!(report["kind"], "forward");
        assert_lossless(&report["runs"][0], 500);
        let counted = "received 500, no room for 0, sent 500, dropped 0; its counters and ours agree";
        assert!(text.contains(counted), "{mode}: {text}");
    }
}

#[test]
fn sizes_and_both_directions() {
    let (both, _) = report(&format!("{EASY} --dut testpmd:macswap --bidirectional --size imix"));
    assert_lossless(&both["runs"][0], 1000);
    let (jumbo, _) = report(&format!("{EASY} --dut testpmd:io --size 64,9000,1518"));
    assert_lossless(&jumbo["runs"][0], 500);
}

#[test]
fn a_search_and_rfc_2544_and_a_soak() {
    let quick = "--no-huge --core 0 --port net_ring0 --patience 60s --max-rate 2k";
    let (found, text) = report(&format!("{quick} --search --duration 50ms --duration-sum 150ms --repeat 2"));
    let runs = found["runs"].as_array().unwrap();
    assert_eq!((&found["kind"], runs.len()), (&"throughput-search".into(), 2));
    for run in runs {
        assert!(value(run, "PDR") > 0.0 && value(run, "NDR") <= value(run, "PDR"), "{text}");
        assert!(run["trials"].as_array().unwrap().len() >= 3, "{text}");
    }

    let (found, text) = report(&format!("{quick} --rfc2544 --size 64,1518 --duration 50ms"));
    let runs = found["runs"].as_array().unwrap();
    assert_eq!((&found["kind"], runs.len()), (&"rfc2544".into(), 2));
    assert_eq!((&runs[0]["scenario"], &runs[1]["scenario"]), (&"64 B".into(), &"1518 B".into()));
    assert!(value(&runs[1], "loss at 2000 frames/s") <= 1.0, "{text}");
    assert!(text.contains("shorter than RFC 2544 asks for"), "{text}");

    let soak = "--no-huge --core 0 --port net_ring0 --patience 60s --rate 1k --duration 100ms --soak 300ms";
    let (found, _) = report(soak);
    let run = &found["runs"][0];
    assert_eq!((&found["kind"], run["intervals"].as_array().unwrap().len()), (&"soak".into(), 3));
    assert_lossless(run, 300);
}

#[test]
fn sends_without_receiving() {
    let (success, text) =
        bench("--no-huge --core 0 --port net_null0 --rate 10k --duration 100ms --no-receive");
    assert!(success && text.contains("sent ") && text.contains(" of 1000 frames in 0.1 s"), "{text}");
}

/// The kernel routes from one port to the other: it is asked for its address, and asks for ours.
#[test]
fn a_router_between_two_ports() {
    let net = Net::new();
    let router = net.router();
    router.sysctl("net/ipv4/ip_forward", "1");
    let ports =
        "--port net_tap0,iface=pa --port net_tap1,iface=pb --gateway 198.18.0.1 --dst 198.19.0.2-198.19.0.9";
    let file = NamedTempFile::new().unwrap();
    let command =
        format!("{SLUICE} bench forward {EASY} {ports} --flows 16 --json {}", file.path().display());
    let text = std::thread::scope(|scope| {
        let running = scope.spawn(|| router.try_run(&command));
        for (tap, address) in [("pa", "198.18.0.1/24"), ("pb", "198.19.0.1/24")] {
            router.wait_for_link(tap);
            router.ip(&format!("addr add {address} dev {tap}"));
            router.ip(&format!("link set {tap} up"));
        }
        running.join().unwrap()
    });
    let json = fs::read_to_string(file.path()).unwrap();
    assert!(!json.is_empty(), "{text}");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_lossless(&report["runs"][0], 500);
}

/// A cable between two network devices: what the kernel itself says on it is foreign, and counted.
#[test]
fn testpmd_at_the_other_end_of_a_cable() {
    let net = Net::new();
    let router = net.router();
    router.ip("link add ours type veth peer name theirs");
    for end in ["ours", "theirs"] {
        router.ip(&format!("link set {end} arp off up"));
    }
    // Two af_packet devices of neighbouring processes may want the same fanout group.
    let cable = "--port net_af_packet0,iface=ours --dut-port net_pcap0,iface=theirs";
    let file = NamedTempFile::new().unwrap();
    let command = format!(
        "{SLUICE} bench forward {EASY} --dut testpmd:macswap {cable} --json {}",
        file.path().display()
    );
    let text = router.try_run(&command);
    let json = fs::read_to_string(file.path()).unwrap();
    assert!(!json.is_empty(), "{text}");
    let report: Value = serde_json::from_str(&json).unwrap();
    // Its driver drops what comes while the machine is busy with something else: that is counted too.
    let run = &report["runs"][0];
    assert_eq!((value(run, "sent"), value(run, "corrupted")), (500.0, 0.0));
    assert_eq!(value(run, "received") + value(run, "lost"), 500.0, "{run}");
    assert!(value(run, "received") > 0.0 && text.contains("its counters and ours agree"), "{text}");
}

#[test]
fn what_cannot_be_measured_has_a_sentence_and_no_report() {
    let null = "--no-huge --core 0 --duration 100ms --rate 1k";
    for (args, parts) in [
        ("", &["nothing to measure", "--port", "--dut"][..]),
        ("--core 0 --port net_nosuch0", &["no device \"net_nosuch0\""]),
        ("--core 9999 --port net_null0", &["no CPU 9999", "--core"]),
        (&format!("{null} --port net_null0,no-rx=1"), &["frames were sent and nothing came back"]),
        (&format!("{null} --port net_null0,copy=1"), &["something else", "at the other end"]),
        (&format!("{null} --port net_memif0,role=client,socket=/nonexistent/m"), &["net_memif0"]),
        (&format!("{null} --port net_ring0 --rate 2000M"), &["rate of 2000000000", "cannot be made"]),
        (
            "--no-huge --core 0 --port net_ring0 --rate 500M --duration 100ms",
            &["rate of 500.0000 Mpps cannot be made", "could not be sent in time"],
        ),
        ("--no-huge --core 0 --port net_ring0 --rate 50%", &["speed of the line", "--line"]),
        (&format!("{null} --port net_null0,no-rx=1 --gateway 198.18.0.1"), &["no ARP reply", "198.18.0.1"]),
        (&format!("{null} --port net_null0 --dut testpmd:io"), &["--dut-port", "both ends"]),
        (&format!("{null} --port net_null0 --bidirectional"), &["two ports"]),
        (&format!("{null} --port net_ring0 --flows 2000000"), &["2000000 flows are too many"]),
        (
            &format!(
                "{null} --port net_ring0 --dst-port 1 --src 10.0.0.1 --dst 10.0.0.2 --src-port 1 --flows 2"
            ),
            &["2 flows cannot be made", "1 combinations"],
        ),
    ] {
        let file = std::env::temp_dir().join(format!("{}.json", common::unique("bench")));
        // The last of several rates counts for nothing: one is taken off where the case has its own.
        let args =
            if args.matches("--rate").count() > 1 { args.replace(" --rate 1k", "") } else { args.to_owned() };
        let (success, text) = bench(&format!("{args} --json {}", file.display()));
        assert_failed(success, &text, parts);
        assert!(!file.exists(), "{args}: a report was written");
    }
}

#[test]
fn a_port_that_is_down_and_a_missing_program() {
    let socket = format!("/tmp/{}.sock", common::unique("down"));
    let (success, text) = bench(&format!(
        "--no-huge --core 0 --port net_memif0,role=server,socket={socket},socket-abstract=no"
    ));
    assert_failed(success, &text, &["port \"net_memif0\" is down", "peer"]);
    let _gone = fs::remove_file(socket);

    let mut command = Command::new(SLUICE);
    command.args("bench forward --no-huge --core 0 --dut testpmd:io".split(' ')).env("PATH", "/nonexistent");
    let done = output(&mut command);
    assert_failed(
        done.status.success(),
        &String::from_utf8_lossy(&done.stderr),
        &["dpdk-testpmd does not start"],
    );
    // What starts it says why it cannot.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/usr/bin/stdbuf", folder.path().join("stdbuf")).unwrap();
    let done = output(command.env("PATH", folder.path()));
    let said = String::from_utf8_lossy(&done.stderr);
    assert_failed(done.status.success(), &said, &["dpdk-testpmd has ended", "No such file"]);
}

/// A device under test that ends in the middle is no result.
#[test]
fn a_device_under_test_that_dies() {
    let log = NamedTempFile::new().unwrap();
    let args = "bench forward --no-huge --core 0 --dut testpmd:macswap --rate 1k --duration 4s --drain 1s";
    let mut command = Command::new(SLUICE);
    command.args(args.split(' ')).stdin(Stdio::null());
    command.stdout(log.reopen().unwrap()).stderr(log.reopen().unwrap());
    let mut tester = command.spawn().unwrap();
    let said = || fs::read_to_string(log.path()).unwrap();
    // The trial follows.
    assert!(within(Duration::from_secs(60), || said().contains("tester's own latency")), "{}", said());
    let killed = output(Command::new("pkill").args(["-KILL", "-P", &tester.id().to_string()]));
    assert!(killed.status.success(), "{killed:?}");
    let mut ended = None;
    within(Duration::from_secs(60), || {
        ended = tester.try_wait().unwrap();
        ended.is_some()
    });
    let text = said();
    assert_failed(ended.unwrap().success(), &text, &["dpdk-testpmd has ended"]);
}

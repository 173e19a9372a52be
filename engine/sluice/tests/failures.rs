//! What goes wrong with devices ends in one clear sentence and a failure's exit status.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::net::Net;
use common::{Home, Router, SLUICE, START, assert_failed, one_port, output};
use std::fs;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_device_that_cannot_be_opened() {
    let home = Home::new();
    let garbage = home.write("garbage.pcap", "this is no capture");
    for device in [
        "net_nonexistent0",
        "nonsense",
        "0000:ff:1f.7",
        "net_af_packet0,iface=doesnotexist",
        "net_tap0,iface=a-name-that-is-much-too-long",
        "net_pcap0,rx_pcap=/nonexistent/file.pcap",
        &format!("net_pcap0,rx_pcap={}", garbage.display()),
    ] {
        let mut router = Home::new().launch(&one_port(device, "adaptive"), None);
        let status = router.wait(START);
        assert_failed(status.success(), &router.log(), &["port `a`", device]);
        assert!(!router.log().contains(" runs: ") && !router.home.socket().exists(), "{}", router.log());
    }
}

/// Takes away what is behind the running router's port `a`, by `ip` in its namespace.
fn vanishes(net: &Net, mut router: Router, how: &str) {
    net.router().ip(how);
    let status = router.wait(Duration::from_secs(10));
    let log = router.log();
    assert_failed(status.success(), &log, &["port `a` is gone"]);
    assert!(log.lines().any(|line| line.starts_with("books: ") && line.ends_with(": balanced")), "{log}");
    assert!(!router.home.socket().exists());
}

#[test]
fn a_veth_that_vanishes() {
    let net = Net::new();
    let host = net.host_on_veth("a", "va", "10.1.0.2/24", "10.1.0.1");
    let router = net.run(&one_port("net_af_packet0,iface=va,blocksz=65536,framecnt=2048", "adaptive"));
    host.ping("10.1.0.1", 5);
    vanishes(&net, router, "link del va");
}

#[test]
fn a_tap_that_vanishes() {
    let net = Net::new();
    let router = net.run(&one_port("net_tap0,iface=ta", "adaptive"));
    net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1").ping("10.1.0.1", 5);
    vanishes(&net, router, "link del ta");
}

#[test]
fn a_core_that_is_not_there() {
    let body = one_port("net_null0", "busy").replace("[0]", "[60000]");
    let mut router = Home::new().launch(&body, None);
    assert!(!router.wait(START).success());
    assert!(router.log().contains("60000") && !router.log().contains("EAL"), "{}", router.log());
}

#[test]
fn a_control_socket_that_cannot_be_made() {
    let home = Home::new();
    let file = home.configure(&one_port("net_null0", "busy"));
    let good = fs::read_to_string(&file).unwrap();
    let bad = good.replace(home.socket().to_str().unwrap(), "/proc/nowhere/socket");
    let file = home.write("sluice.toml", &bad);
    let run = output(Command::new(SLUICE).args(["run", "-c"]).arg(file));
    assert_failed(run.status.success(), &String::from_utf8_lossy(&run.stderr), &["/proc/nowhere/socket"]);
}

//! A worker that polls devices without a kernel behind them makes no system call.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Router, START, one_port, output, succeed, within};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An strace at work; it lets go of what it traces when dropped.
struct Trace(Child);

impl Drop for Trace {
    fn drop(&mut self) {
        // What strace traces goes on as if nothing had been, unless strace is killed outright.
        succeed("kill", &format!("-INT {}", self.0.id()));
        let _reaped = self.0.wait();
    }
}

fn is_traced(thread: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).unwrap();
    tracer.trim() != "0"
}

/// The system calls of one thread in a second, a line each.
fn system_calls(router: &Router, thread: u32) -> Vec<String> {
    let file = router.home.path(&format!("strace.{thread}"));
    let mut strace = Command::new("strace");
    // Without -f, which would trace the process's other threads as well.
    strace.args(["-qq", "-e", "signal=none", "-p", &thread.to_string(), "-o"]).arg(&file);
    let child = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("strace: {error}; apt-get install strace"));
    let trace = Trace(child);
    assert!(within(Duration::from_secs(10), || is_traced(thread)), "strace did not attach; it needs root");
    std::thread::sleep(Duration::from_secs(1));
    drop(trace);
    assert!(within(Duration::from_secs(10), || !is_traced(thread)));
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

fn loops(router: &Router) -> u64 {
    router.ask(&["workers"])[0]["loops"].as_u64().unwrap()
}

/// The worker of a router that polls `device` makes none; the control thread does, which shows that
/// they would be seen.
fn makes_none(device: &str) -> Router {
    let found = output(Command::new("sh").args(["-c", "command -v strace"])).status.success();
    assert!(found, "this test counts system calls with strace: apt-get install strace");
    let router = Router::start(&one_port(device, "busy"));
    let start = loops(&router);
    assert!(within(START, || loops(&router) > start + 10_000), "steady state");
    let control = system_calls(&router, router.pid());
    assert!(control.iter().any(|line| line.contains("epoll_wait")), "{control:?}");
    let before = loops(&router);
    let worker = system_calls(&router, router.thread("worker-0"));
    assert_eq!(worker, Vec::<String>::new());
    assert!(loops(&router) > before + 10_000, "it worked meanwhile");
    router
}

#[test]
fn none_with_traffic() {
    let router = makes_none("net_null0");
    let rx = router.ask(&["workers"])[0]["books"]["rx"].as_u64().unwrap();
    assert!(rx > 100_000, "frames came: {rx}");
    router.stop();
}

#[test]
fn none_without_traffic() {
    makes_none("net_ring0").stop();
}

//! The examples as processes, against the kernel's TCP and UDP and ordinary programs, over a TAP.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::net::{Host, Net};
use common::{Router, within};

/// A program of the `examples` folder. Cargo builds all of them before it runs tests, unless `--test` chooses some.
fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    assert!(path.exists(), "{}: cargo build -p sluice --examples makes it", path.display());
    path
}

fn example_and_host(name: &str, cores: &str) -> (Net, Router, Host) {
    let net = Net::new();
    let args = format!("--device net_tap0,iface=ta --address 10.0.0.2/24 --cores {cores}");
    let program = net.serve_by(example(name), &args);
    let host = net.host_on_tap("a", "ta", "10.0.0.1/24", "10.0.0.2");
    (net, program, host)
}

fn copied(program: &Router) -> u64 {
    let counters = program.ask(&["tcp"]);
    let row = counters.as_array().unwrap().iter().find(|row| row["name"] == "payload-bytes-copied");
    row.unwrap()["value"].as_u64().unwrap()
}

/// Sends a line by bash and gives the first line that comes back.
fn ask(host: &Host, protocol: &str, port: u16, line: &str) -> String {
    let script = format!("exec 3<>/dev/{protocol}/10.0.0.2/{port}; echo {line} >&3; head -n 1 <&3");
    host.bash(&script)
}

#[test]
fn the_readme_shows_the_first_one() {
    let code = include_str!("../examples/echo_tasks.rs").split_once("\n\n").unwrap().1;
    assert!(include_str!("../../../README.md").contains(&code.replacen("\n\nuse sluice", "\nuse sluice", 1)));
}

#[test]
fn both_echoes() {
    for name in ["echo_tasks", "echo_events"] {
        let (_net, program, host) = example_and_host(name, "0");
        for word in ["hello", "again"] {
            assert_eq!(ask(&host, "tcp", 7, word), format!("{word}\n"), "{name}");
        }
        // A megabyte that comes back whole.
        let same = host.bash(
            "head -c 1000000 /dev/urandom >$0.sent; exec 3<>/dev/tcp/10.0.0.2/7; \
             cat $0.sent >&3 & head -c 1000000 <&3 | cmp - $0.sent && echo same; rm $0.sent",
        );
        // The simple one cuts off who sends more than it reads.
        assert!(same == "same\n" || name == "echo_events", "{name}: {same}");
        assert_eq!(copied(&program), 0, "{name}");
        program.stop();
    }
}

#[test]
fn an_answer_to_a_datagram() {
    let (_net, program, host) = example_and_host("udp_responder", "0");
    assert_eq!(ask(&host, "udp", 7, "louder"), "LOUDER\n");
    program.stop();
}

#[test]
fn each_core_counts_for_itself() {
    let (_net, program, host) = example_and_host("own_state", "0,1");
    let visit = || host.bash("exec 3<>/dev/tcp/10.0.0.2/7; head -n 1 <&3");
    let greetings: Vec<String> = (0..24).map(|_| visit()).collect();
    for worker in ["worker 0: ", "worker 1: "] {
        let own: Vec<&String> = greetings.iter().filter(|greeting| greeting.starts_with(worker)).collect();
        assert!(own.len() >= 3, "{greetings:?}");
        for (n, greeting) in own.iter().enumerate() {
            assert!(greeting.starts_with(&format!("{worker}visitor {}, ", n + 1)), "{greetings:?}");
        }
    }
    program.stop();
}

#[test]
fn a_page_by_hyper() {
    let (_net, program, host) = example_and_host("hyper", "0");
    for path in ["/", "/a/page"] {
        let page = host.succeed(&format!("curl -sS --max-time 30 http://10.0.0.2{path}"));
        assert_eq!(page, format!("hello from hyper, which was asked for {path}\n"));
    }
    // Two by one connection.
    let both = host.succeed("curl -sS --max-time 30 http://10.0.0.2/1 http://10.0.0.2/2");
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(within(Duration::from_secs(10), || copied(&program) > 500), "{}", copied(&program));
    program.stop();
}

#[test]
fn an_echo_by_tls() {
    let (_net, program, host) = example_and_host("rustls", "0");
    let said = host.bash(
        "(echo secret; sleep 1) | timeout 30 openssl s_client -quiet -connect 10.0.0.2:443 2>$0.err; rm $0.err",
    );
    assert_eq!(said, "secret\n");
    program.stop();
}

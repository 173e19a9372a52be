//! `sluice port`: ports removed, added and reset while frames pass, on DPDK's virtual devices.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::net::{Host, Net};
use common::{Router, assert_failed, idle_buffers, one_port, unique, within};
use serde_json::Value;

const ROUNDS: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

const ECHO: &str = r#"
[[service]]
kind = "echo"
"#;

fn state(router: &Router, at: usize) -> Value {
    router.ask(&["ports"])[at]["state"].take()
}

/// Host B, once it answers A.
fn reach_b(net: &Net, a: &Host) -> Host {
    let b = net.host_on_tap("b", "tb", "10.2.0.2/24", "10.2.0.1");
    assert!(within(PATIENCE, || a.try_ping("10.2.0.2").contains("1 received")), "host B does not answer");
    a.flood("10.2.0.2", 300);
    b
}

#[test]
fn a_port_goes_and_comes_under_traffic() {
    let net = Net::new();
    let router = net.run_between_taps("[0, 1]", ECHO);
    let a = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    reach_b(&net, &a);
    let first = idle_buffers(&router);
    for round in 1..=ROUNDS {
        let traffic = a.shell("exec ping -n -q -f 10.2.0.2");
        let (before, dropped) =
            (router.ask(&["ports"])[1]["tx"].as_u64().unwrap(), router.drops("port-removed"));
        assert!(within(PATIENCE, || router.ask(&["ports"])[1]["tx"].as_u64().unwrap() > before + 200));
        assert_eq!(router.change_port("remove b"), "port `b` is removed\n");
        assert!(router.show(&["ports"]).contains(" removed "), "{}", router.show(&["ports"]));
        assert!(
            within(PATIENCE, || router.drops("port-removed") > dropped + 50),
            "{}",
            router.show(&["drops"])
        );
        // The other port does not notice.
        a.ping("10.1.0.1", 20);
        net.delete("b");

        assert_eq!(router.change_port("add b"), "port `b` runs\n");
        assert_eq!(router.ask(&["ports"])[1]["reopened"], round);
        drop(traffic);
        reach_b(&net, &a);
    }
    let last = idle_buffers(&router);
    assert!(last <= first + 32, "{first} packet buffers in use before {ROUNDS} rounds, {last} after");
    router.stop();
}

#[test]
fn a_connection_outlives_a_reset_and_another_device() {
    let net = Net::new();
    let router = net.run_between_taps("[0, 1]", ECHO);
    let a = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    let _veth = net.host_on_veth("c", "vc", "10.1.0.2/24", "10.1.0.1");
    a.ping("10.1.0.1", 5);
    // A thousand lines, each sent when the one before has come back.
    let client = "exec 3<>/dev/tcp/10.1.0.1/7 || exit 1
        for n in $(seq 1000); do echo line $n >&3; read -r -u 3 back; [ \"$back\" = \"line $n\" ] || exit 1; done
        echo all of them";
    std::thread::scope(|scope| {
        let client = scope.spawn(|| a.bash(client));
        for _ in 0..ROUNDS {
            assert_eq!(router.change_port("reset a"), "port `a` runs\n");
        }
        assert_eq!(client.join().unwrap().trim(), "all of them", "{}", router.log());
    });
    // The neighbour changes its Ethernet address with the device.
    router.change_port("remove a");
    router.change_port("add a --device net_af_packet0,iface=vc,blocksz=65536,framecnt=2048,qpairs=2");
    let ports = router.ask(&["ports"]);
    assert_eq!(ports[0]["status"]["driver"], "net_af_packet");
    let c = &net.host("c");
    assert!(within(PATIENCE, || c.try_ping("10.1.0.1").contains("1 received")), "{}", router.log());
    assert_eq!(c.neighbour("10.1.0.1").as_deref(), ports[0]["mac"].as_str(), "the port keeps its address");
    router.stop();
}

#[test]
fn drivers_give_all_buffers_back() {
    let net = Net::new();
    net.host_on_veth("v", "va", "10.9.0.2/24", "10.9.0.1");
    let socket = std::env::temp_dir().join(unique("hotplug")).display().to_string();
    let devices = [
        "net_null0,no-rx=1".to_owned(),
        "net_ring0".to_owned(),
        "net_tap0,iface=ta".to_owned(),
        "net_af_packet0,iface=va,blocksz=65536,framecnt=2048".to_owned(),
        format!("net_vhost0,iface={socket}.v"),
        format!("net_memif0,role=server,socket={socket}.m,socket-abstract=no"),
    ];
    let port = |(at, device): (usize, &String)| {
        format!("[[port]]\nname = \"p{at}\"\ndevice = \"{device}\"\naddresses = [\"10.8.{at}.1/24\"]\n")
    };
    let ports: String = devices.iter().enumerate().map(port).collect();
    let router = net.run(&format!("{ports}[workers]\ncores = [0]\npoll = \"adaptive\"\n"));
    let first = idle_buffers(&router);
    for (at, device) in devices.iter().enumerate() {
        for _ in 0..ROUNDS {
            router.change_port(&format!("reset p{at}"));
            router.change_port(&format!("remove p{at}"));
            assert_eq!(state(&router, at), "removed");
            router.change_port(&format!("add p{at}"));
            assert_eq!(state(&router, at), "running");
        }
        let last = idle_buffers(&router);
        assert!(last <= first + 32, "{device}: {first} packet buffers in use before, {last} after");
    }
    router.stop();
}

#[test]
fn what_is_refused_changes_nothing() {
    let net = Net::new();
    let router = net.run_between_taps("[0, 1]", ECHO);
    let a = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    let refused = |args: &str, parts: &[&str]| {
        let done = router.port(args);
        assert!(done.stdout.is_empty(), "{done:?}");
        assert_failed(done.status.success(), &String::from_utf8(done.stderr).unwrap(), parts);
    };
    refused("remove c", &["no port `c`", "`a`, `b`"]);
    refused("add a", &["`a` has a device already: net_tap0,iface=ta"]);
    router.change_port("remove b");
    refused("remove b", &["`b` is removed already"]);
    refused("reset b", &["`b` has no device"]);
    for (device, parts) in [
        ("net_nonexistent0", &["port `b`", "no driver", "net_nonexistent0"][..]),
        ("net_tap0,iface=tb", &["port `b`", "net_tap0", "already open"]),
        ("net_af_packet0,iface=doesnotexist", &["port `b`", "net_af_packet0"]),
        (
            "net_memif0,role=client,socket=/nowhere,socket-abstract=no",
            &["port `b`", "nobody listens at /nowhere"],
        ),
        ("net_virtio_user0,path=/nowhere", &["port `b`", "nobody listens at /nowhere"]),
        ("net_af_packet0,iface=lo,blocksz=65536,framecnt=2048", &["port `b`", "net_af_packet0", "queue"]),
    ] {
        refused(&format!("add b --device {device}"), parts);
        assert_eq!(state(&router, 1), "removed", "{device}");
        a.ping("10.1.0.1", 3);
    }
    assert_eq!(router.change_port("add b"), "port `b` runs\n");
    reach_b(&net, &a);
    router.stop();
}

#[test]
fn the_last_port_may_go_before_the_end() {
    let net = Net::new();
    let router = net.run(&one_port("net_tap0,iface=ta", "busy"));
    router.change_port("remove a");
    router.stop();
}

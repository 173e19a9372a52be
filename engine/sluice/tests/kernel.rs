//! The router between Linux hosts, each in a network namespace of its own, on TAPs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Router;
use common::net::{Host, Net};

/// Two ports on TAPs: `a` is 10.1.0.1/24 and `b` is 10.2.0.1/24, with more settings each, and of the whole.
fn two_taps(a: &str, b: &str, rest: &str) -> String {
    format!(
        r#"
[workers]
cores = [0]
poll = "adaptive"
[[port]]
name = "a"
device = "net_tap0,iface=ta"
addresses = ["10.1.0.1/24"]
{a}
[[port]]
name = "b"
device = "net_tap1,iface=tb"
addresses = ["10.2.0.1/24"]
{b}
{rest}
"#
    )
}

/// Hosts 10.1.0.2 and 10.2.0.2 with the router between them.
fn two_hosts(a: &str, b: &str, rest: &str) -> (Net, Router, Host, Host) {
    let net = Net::new();
    let router = net.run(&two_taps(a, b, rest));
    let left = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    let right = net.host_on_tap("b", "tb", "10.2.0.2/24", "10.2.0.1");
    (net, router, left, right)
}

/// The router's Ethernet address on a port.
fn mac(router: &Router, port: usize) -> String {
    router.ask(&["ports"])[port]["mac"].as_str().unwrap().to_owned()
}

#[test]
fn pings_pass_and_none_is_lost() {
    let (_net, router, left, right) = two_hosts("", "", "");
    left.ping("10.2.0.2", 100);
    right.ping("10.1.0.2", 100);
    assert_eq!(left.neighbour("10.1.0.1"), Some(mac(&router, 0)));
    let table = router.show(&["neighbours"]);
    assert!(table.contains("10.1.0.2") && table.contains("10.2.0.2"), "{table}");
    router.stop();
}

#[test]
fn the_router_itself_answers() {
    let (_net, router, left, _right) = two_hosts("", "", "");
    left.ping("10.1.0.1", 50);
    // Its address on the far side, too.
    left.ping("10.2.0.1", 50);
    let text = left.try_ping("-s 4000 10.1.0.1");
    assert!(text.contains("1 received"), "reassembled, answered, fragmented: {text}");
    router.stop();
}

#[test]
fn a_static_neighbour_is_not_asked_for() {
    let neighbour = r#"
[[neighbour]]
address = "10.2.0.2"
mac = "02:00:00:00:00:42"
interface = "b"
"#;
    let (_net, router, left, right) = two_hosts("", "", neighbour);
    // Without answers to ARP, only who knows the address already can reach the host.
    right.sysctl("net/ipv4/conf/all/arp_ignore", "8");
    right.ip("link set eth0 down");
    right.ip("link set eth0 address 02:00:00:00:00:42 up");
    right.ip("route replace default via 10.2.0.1");
    left.ping("10.2.0.2", 20);
    let all = router.ask(&["neighbours"]);
    let row = all.as_array().unwrap().iter().find(|row| row["address"] == "10.2.0.2").unwrap();
    assert_eq!((row["state"].as_str(), row["mac"].as_str()), (Some("static"), Some("02:00:00:00:00:42")));
    router.stop();
}

/// Two sluices with a trunk between them, below, need no such kernel.
#[test]
#[ignore = "needs a kernel with VLAN devices (CONFIG_VLAN_8021Q)"]
fn a_vlan_of_the_kernel_reaches_an_untagged_network() {
    let vlan = "[[port.vlan]]\nid = 10\naddresses = [\"10.10.0.1/24\"]\n";
    let (_net, router, left, right) = two_hosts(vlan, "", "");
    left.ip("link add link eth0 name eth0.10 type vlan id 10");
    left.ip("addr add 10.10.0.2/24 dev eth0.10");
    left.ip("link set eth0.10 up");
    left.ip("route add 10.2.0.0/24 via 10.10.0.1");
    left.ping("10.2.0.2", 50);
    right.ping("10.10.0.2", 50);
    // What is untagged on the same port is another network, and works as well.
    right.ping("10.1.0.2", 20);
    assert_eq!(interface_of(&router, "10.10.0.2"), "a.10");
    router.stop();
}

/// Two routers with a tagged and an untagged network on one link between them.
#[test]
fn a_vlan_between_two_routers() {
    let router = |tap: &str, net: u8, peer: u8, link: &str, far: u8| {
        format!(
            r#"
[workers]
cores = [0]
poll = "adaptive"
[[port]]
name = "host"
device = "net_tap0,iface={tap}"
addresses = ["10.{net}.0.1/24"]
[[port]]
name = "trunk"
device = "net_af_packet0,iface={link},blocksz=65536,framecnt=2048"
addresses = ["10.20.0.{net}/24"]
[[port.vlan]]
id = 10
addresses = ["10.10.0.{net}/24"]
[[route]]
prefix = "10.{peer}.0.0/24"
via = "10.{far}.0.{peer}"
"#
        )
    };
    let net = Net::new();
    net.router().ip("link add l1 type veth peer name l2");
    net.router().ip("link set l1 arp off up");
    net.router().ip("link set l2 arp off up");
    // One way with a tag, back without.
    let (first, second) = (net.run(&router("ta", 1, 2, "l1", 10)), net.run(&router("tb", 2, 1, "l2", 20)));
    let left = net.host_on_tap("a", "ta", "10.1.0.2/24", "10.1.0.1");
    let right = net.host_on_tap("b", "tb", "10.2.0.2/24", "10.2.0.1");
    first.wait_for_neighbour("10.10.0.2");
    second.wait_for_neighbour("10.20.0.1");
    left.ping("10.2.0.2", 50);
    right.ping("10.1.0.2", 50);
    assert_eq!(interface_of(&first, "10.10.0.2"), "trunk.10");
    assert_eq!(interface_of(&second, "10.20.0.1"), "trunk");
    // The largest packet still fits, tag and all.
    let large = left.try_ping("-M do -s 1472 10.2.0.2");
    assert!(large.contains("1 received"), "{large}");
    first.stop();
    second.stop();
}

/// The interface on which a router knows a neighbour.
fn interface_of(router: &Router, address: &str) -> String {
    let all = router.ask(&["neighbours"]);
    let row = all.as_array().unwrap().iter().find(|row| row["address"] == address);
    row.unwrap_or_else(|| panic!("{address}: {all}"))["interface"].as_str().unwrap().to_owned()
}

#[test]
fn two_gateways_share_the_flows() {
    let route = "[[route]]\nprefix = \"10.9.0.0/24\"\nvia = [\"10.2.0.2\", \"10.2.0.3\"]\n";
    let (net, router, left, first) = two_hosts("", "", route);
    let second = net.host_on_tap("c", "tb", "10.2.0.3/24", "10.2.0.1");
    for gateway in [&first, &second] {
        gateway.sysctl("net/ipv4/ip_forward", "1");
        // Each has the whole network behind it.
        gateway.ip("route add local 10.9.0.0/24 dev lo");
    }
    router.wait_for_neighbour("10.2.0.2");
    router.wait_for_neighbour("10.2.0.3");
    for last in 1..=32 {
        left.ping(&format!("10.9.0.{last}"), 2);
    }
    let answered = [&first, &second].map(|gateway| gateway.counter("Icmp", "InEchos"));
    assert!(answered[0] + answered[1] >= 64, "{answered:?}");
    assert!(answered.iter().all(|&count| count >= 10), "about half each: {answered:?}");
    let route = router.ask(&["routes", "10.9.0.7"]);
    assert_eq!(route["routes"][0]["kind"], "ecmp", "{route}");
    router.stop();
}

#[test]
fn proxy_arp_answers_for_the_network_behind() {
    let (_net, router, left, _right) = two_hosts("proxy_arp = true", "", "");
    // A host that takes the far network for its own link.
    left.ip("route add 10.2.0.0/24 dev eth0");
    left.ping("10.2.0.2", 20);
    assert_eq!(left.neighbour("10.2.0.2"), Some(mac(&router, 0)));
    router.stop();
}

#[test]
fn routes_to_nowhere_and_ttl_1() {
    let rest = r#"
[[route]]
prefix = "10.66.0.0/16"
type = "blackhole"
[[route]]
prefix = "10.67.0.0/16"
type = "unreachable"
"#;
    let (_net, router, left, _right) = two_hosts("", "", rest);
    let silent = left.try_ping("10.66.0.1");
    assert!(silent.contains("0 received") && !silent.contains("From"), "{silent}");
    assert_eq!(router.drops("blackhole"), 1);
    let told = left.try_ping("10.67.0.1");
    assert!(told.contains("From 10.1.0.1") && told.contains("Unreachable"), "{told}");
    let unknown = left.try_ping("192.0.2.1");
    assert!(
        unknown.contains("From 10.1.0.1") && unknown.contains("Destination Net Unreachable"),
        "{unknown}"
    );
    let expired = left.try_ping("-t 1 10.2.0.2");
    assert!(expired.contains("From 10.1.0.1") && expired.contains("Time to live exceeded"), "{expired}");
    let absent = left.try_run("ping -n -c 1 -W 8 10.2.0.99");
    assert!(absent.contains("From 10.1.0.1") && absent.contains("Destination Host Unreachable"), "{absent}");
    let large = left.try_ping("-M do -s 1472 10.2.0.2");
    assert!(large.contains("1 received"), "{large}");
    router.stop();
}

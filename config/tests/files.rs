//! Configurations and routes files on disk.

use std::path::Path;
use std::time::Instant;

use config::{Config, Huge, Machine, NextHop, Poll};
use insta::assert_snapshot;

const MACHINE: Machine = Machine { cores: 4 };

const PORTS: &str = r#"
[routing]
routes_file = "routes.txt"
[[port]]
name = "lan"
device = "net_tap0"
addresses = ["10.0.1.1/24"]
[[port]]
name = "wan"
device = "net_ring0"
addresses = ["10.0.2.1/24"]
"#;

/// Loads `config` beside a routes file; errors as lines, without the folder.
fn load(config: &str, routes: Option<&str>) -> Result<Config, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("r.toml");
    std::fs::write(&file, config).expect("written");
    if let Some(routes) = routes {
        std::fs::write(folder.path().join("routes.txt"), routes).expect("written");
    }
    let shorten = |line: String| line.replace(&format!("{}/", folder.path().display()), "");
    let lines = |error: &config::ConfigError| shorten(format!("{}\n", error.one_line()));
    Config::load(&file, &MACHINE).map_err(|errors| errors.iter().map(lines).collect())
}

#[test]
fn the_example_says_everything() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/router.toml");
    let config = Config::load(&file, &MACHINE).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(|error| format!("{}\n", error.one_line())).collect::<String>())
    });
    assert_eq!(config.name, "edge1");
    assert_eq!(config.dpdk.huge, Huge::Auto);
    assert_eq!(config.workers.cores, [1, 2, 3]);
    assert_eq!(config.workers.poll, Poll::Adaptive);
    assert_eq!(config.limits, config::Limits::default(), "the example shows the defaults");
    let interfaces: String = config.interfaces.iter().map(|interface| format!("{interface:?}\n")).collect();
    assert_snapshot!(interfaces, @r#"
    Interface { name: "lan", port: 0, vlan: None, addresses: [Address { addr: 10.0.1.1, net: 10.0.1.0/24 }, Address { addr: 10.0.9.1, net: 10.0.9.0/24 }], mtu: 9000, proxy_arp: false }
    Interface { name: "lan.100", port: 0, vlan: Some(100), addresses: [Address { addr: 10.0.100.1, net: 10.0.100.0/24 }], mtu: 1500, proxy_arp: false }
    Interface { name: "lan.200", port: 0, vlan: Some(200), addresses: [Address { addr: 10.0.200.1, net: 10.0.200.0/24 }], mtu: 9000, proxy_arp: true }
    Interface { name: "wan", port: 1, vlan: None, addresses: [Address { addr: 192.0.2.1, net: 192.0.2.0/30 }], mtu: 1500, proxy_arp: false }
    Interface { name: "dmz", port: 2, vlan: None, addresses: [Address { addr: 198.51.100.1, net: 198.51.100.0/31 }, Address { addr: 203.0.113.1, net: 203.0.113.0/28 }], mtu: 1500, proxy_arp: false }
    "#);
    let name = |index: u16| config.interfaces[usize::from(index)].name.as_str();
    let target = |next_hop: &NextHop| match next_hop {
        NextHop::Via(hops) => {
            hops.iter().map(|hop| format!("via {} on {} ", hop.gateway, name(hop.interface))).collect()
        }
        NextHop::OnLink(interface) => format!("on {}", name(*interface)),
        other => format!("{other:?}"),
    };
    let routes: String = config
        .routes
        .iter()
        .map(|(prefix, next_hop)| format!("{prefix} {}\n", target(next_hop).trim_end()))
        .collect();
    assert_snapshot!(routes, @r"
    0.0.0.0/0 via 192.0.2.2 on wan
    10.64.0.0/10 via 10.0.1.2 on lan via 10.0.1.3 on lan via 10.0.100.2 on lan.100
    10.0.0.0/8 Blackhole
    172.16.0.0/12 Unreachable
    10.0.10.0/24 on lan
    198.18.0.0/16 via 192.0.2.2 on wan
    198.19.0.0/16 via 10.0.1.2 on lan via 10.0.1.3 on lan
    198.18.7.0/24 Blackhole
    198.18.8.0/24 Unreachable
    10.80.0.0/16 via 10.0.10.77 on lan
    ");
}

#[test]
fn every_key_is_in_the_example() {
    let text = include_str!("../examples/router.toml");
    for row in config::Limits::TABLE {
        assert!(text.contains(&format!("\n{} = ", row.name)), "{}", row.name);
    }
}

#[test]
fn defaults() {
    let config = load("[[port]]\nname = \"p\"\ndevice = \"net_ring0\"\n", None).expect("it is right");
    assert_snapshot!(format!("{config:#?}"), @r#"
    Config {
        name: "sluice",
        dpdk: Dpdk {
            file_prefix: "sluice",
            huge: Auto,
            eal_args: [],
            memory_mb: None,
        },
        ports: [
            Port {
                name: "p",
                device: "net_ring0",
                mtu: 1500,
                rx_queues: None,
                tx_queues: None,
                rx_descriptors: 1024,
                tx_descriptors: 1024,
                promiscuous: false,
                mac: None,
                workers: [
                    0,
                    1,
                    2,
                ],
            },
        ],
        interfaces: [
            Interface {
                name: "p",
                port: 0,
                vlan: None,
                addresses: [],
                mtu: 1500,
                proxy_arp: false,
            },
        ],
        workers: Workers {
            cores: [
                1,
                2,
                3,
            ],
            poll: Busy,
            burst: 128,
            isa: Auto,
            stop_seconds: 10,
        },
        routes: Routes {
            entries: [],
            next_hops: [],
        },
        routes_file: None,
        neighbours: [],
        services: [],
        own_programs: false,
        limits: Limits {
            routes: 1200000,
            adjacencies: 16384,
            neighbours: 8192,
            hold_packets: 1024,
            hold_per_neighbour: 64,
            reassembly_datagrams: 256,
            reassembly_bytes: 4194304,
            icmp_errors_per_second: 1000,
            icmp_errors_burst: 100,
            ring_packets: 1024,
            tcp_connections: 16384,
            tcp_half_open: 4096,
            tcp_time_wait: 16384,
            tcp_payloads: 8192,
            tcp_user_timeout_seconds: 924,
            tcp_keepalive_seconds: 7200,
            udp_sockets: 64,
            udp_datagrams: 1024,
            tasks: 32768,
            mbufs: None,
        },
        control: Control {
            socket: "/run/sluice/sluice.sock",
        },
    }
    "#);
}

#[test]
fn routes_are_read_and_shared() {
    let routes = "# two\r\n\r\n 11.0.0.0/8\tvia 10.0.1.2,10.0.2.2 # x\r\n12.0.0.0/8 via 10.0.1.2,10.0.2.2\n0.0.0.0/0 via 10.0.1.2#y\n13.0.0.0/8 blackhole\n14.0.0.0/8 unreachable";
    let config = load(PORTS, Some(routes)).expect("it is right");
    assert_eq!(config.routes.entries.len(), 5);
    assert_eq!(config.routes.next_hops.len(), 4);
    assert_eq!(config.routes.entries[0].next_hop, config.routes.entries[1].next_hop);
}

#[test]
fn errors_of_the_routes_file() {
    let routes = "10.0.0.0 via 10.0.1.2\n10.0.0.0/33 via 10.0.1.2\n\n  10.1.0.1/16 blackhole\n10.0.0.0/8 over 10.0.1.2\n\
        10.0.0.0/8\n10.0.0.0/8 via\n10.0.0.0/8 via 10.0.1.2, 10.0.1.3\n10.0.0.0/8 via 10.0.1.256\n1.2.3/8 via 1.1.1.1\n\
        é 5\n10.0.0.0/8 blackhole twice\n010.0.0.0/8 blackhole\n10.0.0.0/8 via 10.0.1.2,\n";
    assert_snapshot!(load(PORTS, Some(routes)).expect_err("wrong"), @r"
    routes.txt:1:1: the prefix length is missing; a prefix is written like 10.1.0.0/16
    routes.txt:2:10: this is not a prefix length; 0 to 32
    routes.txt:4:3: this is an address within a prefix; the bits after the prefix length must be zero
    routes.txt:5:12: this does not say where the route leads; after the prefix comes `via GATEWAY`, `blackhole` or `unreachable`
    routes.txt:6:11: this does not say where the route leads; after the prefix comes `via GATEWAY`, `blackhole` or `unreachable`
    routes.txt:7:15: this is not a gateway's address; a gateway is written like 10.0.1.254; several are separated by commas without blanks
    routes.txt:8:25: this is not a gateway's address; a gateway is written like 10.0.1.254; several are separated by commas without blanks
    routes.txt:9:23: this is not a gateway's address; a gateway is written like 10.0.1.254; several are separated by commas without blanks
    routes.txt:10:6: this is not an IPv4 prefix; a prefix is written like 10.1.0.0/16
    routes.txt:11:1: this is not an IPv4 prefix; a prefix is written like 10.1.0.0/16
    routes.txt:12:22: there is more after the route; one route a line; comments begin with #
    routes.txt:13:1: this is not an IPv4 prefix; a prefix is written like 10.1.0.0/16
    routes.txt:14:25: this is not a gateway's address; a gateway is written like 10.0.1.254; several are separated by commas without blanks
    ");
}

#[test]
fn wrong_gateways_are_named_once() {
    let routes = "11.0.0.0/8 via 10.0.3.2\n12.0.0.0/8 via 10.0.3.2\n13.0.0.0/8 via 10.0.1.2,10.0.1.2\n";
    assert_snapshot!(load(PORTS, Some(routes)).expect_err("wrong"), @r"
    routes.txt:1:16: the gateway 10.0.3.2 lies in no connected network; connected networks: 10.0.1.0/24 (`lan`), 10.0.2.0/24 (`wan`)
    routes.txt:3:16: the gateway 10.0.1.2 is named twice
    ");
}

#[test]
fn repeated_prefixes_are_found_across_files() {
    let routes = "# first\n11.0.0.0/8 blackhole\n\n12.0.0.0/8 blackhole\n 11.0.0.0/8 unreachable\n10.0.2.0/24 blackhole\n";
    let config = format!("{PORTS}[[route]]\nprefix = \"12.0.0.0/8\"\ntype = \"blackhole\"\n");
    assert_snapshot!(load(&config, Some(routes)).expect_err("wrong"), @r"
    routes.txt:4:1: there are two routes to 12.0.0.0/8; the other is in r.toml
    routes.txt:5:2: there are two routes to 11.0.0.0/8
    routes.txt:6:1: there are two routes to 10.0.2.0/24; the other is in r.toml
    ");
}

#[test]
fn errors_of_both_files() {
    let config = format!("{PORTS}mtu = 5\n");
    assert_snapshot!(load(&config, Some("x\n1.0.0.0/8 via 10.0.9.9\n")).expect_err("wrong"), @r"
    r.toml:12:7: `mtu`: 5 is not a whole number from 68 to 9000
    routes.txt:1:1: this is not an IPv4 prefix; a prefix is written like 10.1.0.0/16
    ");
}

#[test]
fn files_that_are_not_there() {
    assert_snapshot!(load(PORTS, None).expect_err("wrong"), @"r.toml:3:15: the routes file cannot be read: No such file or directory (os error 2); a relative path begins in this file's folder");
    let errors = Config::load("/nowhere/r.toml", &MACHINE).expect_err("wrong");
    let lines: String = errors.iter().map(|error| format!("{}\n", error.one_line())).collect();
    assert_snapshot!(lines, @"/nowhere/r.toml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn only_the_first_twenty_errors_are_shown() {
    let routes = "x\n".repeat(1000);
    assert_eq!(load(PORTS, Some(&routes)).expect_err("wrong").lines().count(), 20);
}

#[test]
fn a_million_routes() {
    let mut routes = String::new();
    for n in 0..1_000_000_u32 {
        // Multiplication by an odd number shuffles without repetition.
        let net = (n.wrapping_mul(0x9e37_79b1) & 0x00ff_ffff) << 8;
        let [a, b, c, _] = net.to_be_bytes();
        routes.push_str(&format!("{a}.{b}.{c}.0/24 via 10.0.{}.{}\n", 1 + n % 2, 2 + n / 2 % 8));
    }
    // The multiplier's low 24 bits are odd, so a million numbers give a million networks; one is connected.
    let routes = routes
        .lines()
        .filter(|line| !line.starts_with("10.0."))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("r.toml");
    std::fs::write(&file, PORTS).expect("written");
    std::fs::write(folder.path().join("routes.txt"), &routes).expect("written");
    let start = Instant::now();
    let config = Config::load(&file, &MACHINE).expect("it is right");
    let took = start.elapsed();
    println!("{} routes in {took:?}", config.routes.entries.len());
    assert_eq!(config.routes.entries.len(), routes.lines().count());
    assert_eq!(config.routes.next_hops.len(), 16);
    // In release it takes a tenth of this; a debug build on a busy machine must pass too.
    assert!(took.as_secs_f64() < 2.0, "{took:?}");
}

//! What a wrong configuration is answered with, one test for each kind of error.

use config::{Config, ConfigErrors, Machine};
use insta::assert_snapshot;

/// Two ports, on lines 1 to 10.
const PORTS: &str = r#"[[port]]
name = "lan"
device = "net_tap0"
addresses = ["10.0.1.1/24"]

[[port]]
name = "wan"
device = "net_tap1"
addresses = ["10.0.2.1/24"]

"#;

fn errors(text: &str) -> ConfigErrors {
    Config::from_str("r.toml", text, &Machine { cores: 4 }).expect_err("it is wrong")
}

/// The errors as `LINE:COLUMN: message; help`.
fn lines(text: &str) -> String {
    errors(text).iter().map(|error| format!("{}\n", error.one_line())).collect()
}

/// The same, of what follows [`PORTS`].
fn after_ports(text: &str) -> String {
    lines(&format!("{PORTS}{text}"))
}

/// A report as a terminal without colours shows it.
fn report(errors: &ConfigErrors) -> String {
    let mut out = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    handler.with_width(100).render_report(&mut out, errors).expect("a string takes all");
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn the_report_shows_the_lines() {
    let text = format!("{PORTS}[[port]]\nname = \"lan\"\ndevice = \"net_tap2\"\nmttu = 1400\n");
    assert_snapshot!(report(&errors(&text)), @r#"
      × r.toml has 2 errors

    Error:
      × the port name `lan` is used twice
       ╭─[r.toml:2:8]
     1 │ [[port]]
     2 │ name = "lan"
       ·        ──┬──
       ·          ╰── first here
     3 │ device = "net_tap0"
       ╰────
        ╭─[r.toml:12:8]
     11 │ [[port]]
     12 │ name = "lan"
        ·        ──┬──
        ·          ╰── again here
     13 │ device = "net_tap2"
        ╰────

    Error:
      × unknown key `mttu` in [[port]]
        ╭─[r.toml:14:1]
     13 │ device = "net_tap2"
     14 │ mttu = 1400
        · ──┬─
        ·   ╰── nothing has this name
        ╰────
      help: did you mean `mtu`?
    "#);
}

#[test]
fn all_errors_at_once() {
    let text = r#"nmae = "x"
[[port]]
name = "lan"
device = ""
mtu = 67
addresses = ["10.0.0.1", "10.0.0.1/24"]
colour = "red"
[workers]
cores = [0, 0, 9]
[limits]
routes = 1
"#;
    assert_snapshot!(lines(text), @r#"
    r.toml:1:1: unknown key `nmae` in the file; did you mean `name`?
    r.toml:4:10: `device`: "" is not a DPDK device; write devargs, for instance "net_tap0,iface=lan" or "0000:01:00.0"
    r.toml:5:7: `mtu`: 67 is not a whole number from 68 to 9000
    r.toml:6:14: `addresses`: "10.0.0.1" is not an address with its prefix length; the prefix length is missing, as in "10.0.0.1/24"
    r.toml:7:1: unknown key `colour` in [[port]]; the keys are `name`, `device`, `addresses`, `mtu`, `proxy_arp`, `rx_queues`, `tx_queues`, `rx_descriptors`, `tx_descriptors`, `promiscuous`, `mac`, `workers`, `vlan`
    r.toml:9:13: core 0 is named twice; each worker has a core of its own
    r.toml:9:16: this machine has no core 9; its cores are 0 to 3
    r.toml:11:10: `routes`: 1 is not a whole number from 16 to 16000000
    "#);
}

#[test]
fn not_toml() {
    assert_snapshot!(lines("name = \n[[port]\nx"), @r"
    r.toml:1:8: this is not TOML: string values must be quoted, expected literal string
    r.toml:2:8: this is not TOML: unclosed array table, expected `]`
    r.toml:3:2: this is not TOML: key with no value, expected `=`
    ");
    assert_snapshot!(lines("name = \"a\"\nname = \"b\"\n"), @"r.toml:2:1: this is not TOML: duplicate key");
}

#[test]
fn nothing_at_all() {
    assert_snapshot!(lines(""), @"r.toml: there is no port to forward between; add a [[port]] with a name, a device and addresses");
}

#[test]
fn unknown_keys() {
    assert_snapshot!(after_ports("[wokers]\n[dpdk]\nhugepages = true\n[limits]\nrotues = 5\n[control]\nport = 1\n"), @r"
    r.toml:11:2: unknown key `wokers` in the file; did you mean `workers`?
    r.toml:13:1: unknown key `hugepages` in [dpdk]; the keys are `file_prefix`, `huge`, `eal_args`, `memory_mb`
    r.toml:15:1: unknown key `rotues` in [limits]; did you mean `routes`?
    r.toml:17:1: unknown key `port` in [control]; the keys are `socket`
    ");
}

#[test]
fn missing_keys() {
    assert_snapshot!(lines("[[port]]\n[[port.vlan]]\n[[route]]\n[[neighbour]]\n"), @r"
    r.toml:1:1: [[port]] lacks `name`
    r.toml:1:1: [[port]] lacks `device`
    r.toml:2:1: [[port.vlan]] lacks `id`
    r.toml:3:1: [[route]] lacks `prefix`
    r.toml:4:1: [[neighbour]] lacks `address`
    r.toml:4:1: [[neighbour]] lacks `mac`
    r.toml:4:1: [[neighbour]] lacks `interface`
    ");
}

#[test]
fn wrong_kinds() {
    let text = r#"port = 1
name = "9 lives"
route = [1]
[dpdk]
huge = "yes"
eal_args = "-v"
memory_mb = "all"
[workers]
poll = "bussy"
burst = 300
cores = "all"
[control]
socket = ""
"#;
    assert_snapshot!(lines(text), @r#"
    r.toml:1:8: `port`: 1 is not a list of tables, each written [[port]]
    r.toml:2:8: `name`: "9 lives" is not a name; a name is a letter, then letters, digits, `-` and `_`, 32 in all at most
    r.toml:3:10: `route`: 1 is not a list of tables, each written [[route]]
    r.toml:5:8: `huge`: "yes" is not one of "auto", "on", "off"
    r.toml:6:12: `eal_args`: "-v" is not a list; write eal_args = [ .. ]
    r.toml:7:13: `memory_mb`: "all" is not "auto"; anything else stands without quotes
    r.toml:9:8: `poll`: "bussy" is not one of "busy", "adaptive"; did you mean "busy"?
    r.toml:10:9: `burst`: 300 is not a whole number from 4 to 256
    r.toml:11:9: `cores`: "all" is not "auto"; anything else stands without quotes
    r.toml:13:10: `socket`: "" is not a socket's path; a socket's path has 1 to 107 bytes
    "#);
}

#[test]
fn names_and_devices_twice() {
    let text = "[[port]]\nname = \"lan\"\ndevice = \"net_tap1,iface=other\"\n";
    assert_snapshot!(after_ports(text), @r"
    r.toml:12:8: the port name `lan` is used twice
    r.toml:13:10: the device `net_tap1` is used twice
    ");
}

#[test]
fn addresses() {
    let list = |addresses: &str| {
        format!("[[port]]\nname = \"a\"\ndevice = \"net_ring0\"\naddresses = [{addresses}]\n")
    };
    let shape = list(r#""10.0.0.1", "10.0.0.1/33", "10.0.0/8", "x", 7"#);
    assert_snapshot!(lines(&shape), @r#"
    r.toml:4:14: `addresses`: "10.0.0.1" is not an address with its prefix length; the prefix length is missing, as in "10.0.0.1/24"
    r.toml:4:26: `addresses`: "10.0.0.1/33" is not an address with its prefix length; the prefix length is 0 to 32
    r.toml:4:41: `addresses`: "10.0.0/8" is not an address with its prefix length; write it like 10.0.1.1/24
    r.toml:4:53: `addresses`: "x" is not an address with its prefix length; write it like 10.0.1.1/24
    r.toml:4:58: `addresses`: 7 is not an address with its prefix length in quotes
    "#);
    let martian = list(r#""0.0.0.1/24", "127.0.0.1/8", "224.0.0.5/24", "255.255.255.255/32", "10.0.0.1/0""#);
    assert_snapshot!(lines(&martian), @r#"
    r.toml:4:14: 0.0.0.1 is of "this network" (0.0.0.0/8): no interface can have it; an interface has a unicast address, for instance of 10.0.0.0/8
    r.toml:4:28: 127.0.0.1 is a loopback address (127.0.0.0/8): no interface can have it; an interface has a unicast address, for instance of 10.0.0.0/8
    r.toml:4:43: 224.0.0.5 is a multicast address (224.0.0.0/4): no interface can have it; an interface has a unicast address, for instance of 10.0.0.0/8
    r.toml:4:59: 255.255.255.255 is a reserved address (240.0.0.0/4): no interface can have it; an interface has a unicast address, for instance of 10.0.0.0/8
    r.toml:4:81: 10.0.0.1/0 would make every address a neighbour
    "#);
    let ends = list(r#""10.0.0.0/24", "10.0.1.255/24", "10.0.2.4/30""#);
    assert_snapshot!(lines(&ends), @r"
    r.toml:4:14: 10.0.0.0 is the network address of 10.0.0.0/24; addresses in it are 10.0.0.1 to 10.0.0.254
    r.toml:4:29: 10.0.1.255 is the broadcast address of 10.0.1.0/24; addresses in it are 10.0.1.1 to 10.0.1.254
    r.toml:4:46: 10.0.2.4 is the network address of 10.0.2.4/30; addresses in it are 10.0.2.5 to 10.0.2.6
    ");
}

#[test]
fn addresses_and_networks_of_others() {
    let text = r#"[[port]]
name = "dmz"
device = "net_tap2"
addresses = ["10.0.1.1/24", "10.0.0.1/16", "10.9.0.1/24", "10.9.0.2/24", "10.9.0.129/25"]
"#;
    assert_snapshot!(after_ports(text), @r"
    r.toml:14:14: the address 10.0.1.1 is given twice
    r.toml:14:29: the network 10.0.0.0/16 of `dmz` overlaps 10.0.1.0/24 of `lan`; each connected network belongs to one interface only
    r.toml:14:74: the network 10.9.0.128/25 of `dmz` overlaps 10.9.0.0/24 of `dmz`; each connected network belongs to one interface only
    ");
}

#[test]
fn vlans() {
    let text = r#"[[port]]
name = "trunk"
device = "net_tap2"
mtu = 1400
[[port.vlan]]
id = 0
[[port.vlan]]
id = 4095
[[port.vlan]]
id = 7
mtu = 1500
[[port.vlan]]
id = 7
"#;
    assert_snapshot!(lines(text), @r"
    r.toml:6:6: `id`: 0 is not a whole number from 1 to 4094
    r.toml:8:6: `id`: 4095 is not a whole number from 1 to 4094
    r.toml:11:7: the VLAN's MTU 1500 is larger than its port's, 1400; at most 1400, or raise the port's
    r.toml:13:6: the VLAN `7` is used twice
    ");
}

#[test]
fn macs() {
    let text = r#"[[port]]
name = "lan"
device = "net_tap2"
mac = "01:00:5e:00:00:01"
[[port]]
name = "wan"
device = "net_tap3"
mac = "00:00:00:00:00:00"
[[port]]
name = "dmz"
device = "net_tap4"
mac = "2:0:0:0:0:1"
"#;
    assert_snapshot!(lines(text), @r#"
    r.toml:4:7: `mac`: "01:00:5e:00:00:01" is not an Ethernet address; 01:00:5e:00:00:01 is a group address: the first number must be even
    r.toml:8:7: `mac`: "00:00:00:00:00:00" is not an Ethernet address; no station has the address of all zeros
    r.toml:12:7: `mac`: "2:0:0:0:0:1" is not an Ethernet address; an Ethernet address is written like 02:00:5e:10:00:01
    "#);
}

#[test]
fn workers() {
    let text = "[[port]]\nname = \"dmz\"\ndevice = \"net_tap2\"\nworkers = [0, 0, 2]\n[workers]\ncores = [1, 4, 1]\n";
    assert_snapshot!(after_ports(text), @r"
    r.toml:14:15: worker 0 is named twice
    r.toml:16:13: this machine has no core 4; its cores are 0 to 3
    r.toml:16:16: core 1 is named twice; each worker has a core of its own
    ");
    let text = "[[port]]\nname = \"dmz\"\ndevice = \"net_tap2\"\nworkers = [2]\n[workers]\ncores = [1, 2]\n";
    assert_snapshot!(after_ports(text), @"r.toml:14:12: there is no worker 2; workers are numbered from 0 to 1, in the order of `cores`");
    assert_snapshot!(after_ports("[workers]\ncores = []\n"), @r#"r.toml:12:9: no core is left to forward; name at least one core, or write cores = "auto""#);
    assert_snapshot!(lines("[[port]]\nname = \"dmz\"\ndevice = \"net_tap2\"\nworkers = []\n"), @"r.toml:4:11: no worker would poll this port; leave `workers` out to let all workers poll the port");
}

#[test]
fn routes() {
    let text = r#"[[route]]
prefix = "10.5.0.1/16"
via = "10.0.1.2"
[[route]]
prefix = "10.6.0.0/16"
[[route]]
prefix = "10.7.0.0/16"
via = "10.0.1.2"
type = "blackhole"
[[route]]
prefix = "10.8.0.0/16"
interface = "lam"
[[route]]
prefix = "224.1.0.0/16"
type = "unreachable"
[[route]]
prefix = "10.9.0.0/16"
type = "prohibit"
[[route]]
prefix = "10.10.0.0/16"
via = []
"#;
    assert_snapshot!(after_ports(text), @r#"
    r.toml:12:10: `prefix`: "10.5.0.1/16" is not an IPv4 prefix; the bits after the prefix length must be zero: 10.5.0.0/16, or 10.5.0.1/32 for the one address
    r.toml:14:1: this route leads nowhere; give one of `via`, `type` or `interface`
    r.toml:16:1: this route leads to more than one place; give only one of `via`, `type` and `interface`
    r.toml:22:13: there is no interface `lam`; did you mean `lan`?
    r.toml:24:10: a packet to 224.1.0.0/16 is never forwarded: it is a multicast address (224.0.0.0/4)
    r.toml:28:8: `type`: "prohibit" is not one of "blackhole", "unreachable"
    r.toml:31:7: this route has no gateway
    "#);
}

#[test]
fn gateways() {
    let text = r#"[[route]]
prefix = "10.5.0.0/16"
via = ["10.0.3.1", "10.0.1.1", "10.0.2.0", "10.0.2.255", "10.0.2.9", "10.0.2.9"]
"#;
    assert_snapshot!(after_ports(text), @r"
    r.toml:13:8: the gateway 10.0.3.1 lies in no connected network; connected networks: 10.0.1.0/24 (`lan`), 10.0.2.0/24 (`wan`)
    r.toml:13:20: the gateway 10.0.1.1 is our own address on `lan`; name a neighbour's address
    r.toml:13:32: the gateway 10.0.2.0 is the network or broadcast address of 10.0.2.0/24; addresses in 10.0.2.0/24 lie between 10.0.2.0 and 10.0.2.255
    r.toml:13:44: the gateway 10.0.2.255 is the network or broadcast address of 10.0.2.0/24; addresses in 10.0.2.0/24 lie between 10.0.2.0 and 10.0.2.255
    r.toml:13:70: the gateway 10.0.2.9 is named twice
    ");
    let many: Vec<String> = (2..=67).map(|host| format!("\"10.0.1.{host}\"")).collect();
    let text = format!("[[route]]\nprefix = \"10.5.0.0/16\"\nvia = [{}]\n", many.join(", "));
    assert_snapshot!(after_ports(&text), @"r.toml:13:832: 66 gateways are too many; 64 at most");
}

#[test]
fn a_gateway_may_lie_on_an_on_link_route() {
    let text = r#"
[[route]]
prefix = "10.0.2.128/25"
interface = "lan"
[[route]]
prefix = "10.5.0.0/16"
via = "10.0.2.200"
"#;
    let config =
        Config::from_str("r.toml", &format!("{PORTS}{text}"), &Machine { cores: 4 }).expect("it is right");
    assert_snapshot!(format!("{:?}", config.routes.next_hops), @"[OnLink(0), Via([Hop { gateway: 10.0.2.200, interface: 0 }])]");
}

#[test]
fn routes_twice() {
    let text = r#"[[route]]
prefix = "10.5.0.0/16"
via = "10.0.1.2"
[[route]]
prefix = "10.5.0.0/16"
type = "blackhole"
[[route]]
prefix = "10.0.2.0/24"
type = "blackhole"
"#;
    assert_snapshot!(after_ports(text), @r"
    r.toml:15:10: there are two routes to 10.5.0.0/16
    r.toml:18:10: there are two routes to 10.0.2.0/24
    ");
}

#[test]
fn an_error_in_the_ports_does_not_spread() {
    let text = r#"[[port]]
name = "lan"
device = "net_tap0"
addresses = ["10.0.1.1/2x"]
[[port]]
name = "1wan"
device = "net_tap1"
[[route]]
prefix = "10.5.0.0/16"
via = "10.0.1.2"
[[neighbour]]
address = "10.0.1.2"
mac = "02:00:00:00:00:01"
interface = "wan"
"#;
    assert_snapshot!(lines(text), @r#"
    r.toml:4:14: `addresses`: "10.0.1.1/2x" is not an address with its prefix length; the prefix length is 0 to 32
    r.toml:6:8: `name`: "1wan" is not a name; a name is a letter, then letters, digits, `-` and `_`, 32 in all at most
    "#);
}

#[test]
fn services() {
    let text = r#"[[service]]
kind = "ecko"
[[service]]
kind = "echo"
address = "10.0.2.7"
[[service]]
kind = "echo"
port = 70000
[[service]]
kind = "echo"
address = "10.0.1.1"
port = 80
[[service]]
kind = "echo"
port = 80
address = "10.0.1.1"
"#;
    assert_snapshot!(after_ports(text), @r#"
    r.toml:12:8: `kind`: "ecko" is not one of "echo", "discard", "chargen", "http"; did you mean "echo"?
    r.toml:15:11: 10.0.2.7 is no address of ours; our addresses: 10.0.1.1, 10.0.2.1; or leave `address` out to listen on all
    r.toml:18:8: `port`: 70000 is not a whole number from 1 to 65535
    r.toml:25:8: two services listen on 10.0.1.1:80; give one of them another `port`
    "#);
    assert_snapshot!(after_ports("[[service]]\n"), @"r.toml:11:1: [[service]] lacks `kind`");
}

#[test]
fn http_services() {
    let text = r#"[[service]]
kind = "http"
[[service]]
kind = "echo"
port = 81
root = "www"
[[service]]
kind = "http"
port = 82
root = ""
index = "a/b"
head_seconds = 0
body_byte = 5
[[service]]
kind = "http"
port = 83
status = "/a b"
cache_control = "é"
[[service.page]]
path = "hello"
body = "x"
[[service.page]]
path = "/a?b"
type = "text"
body = 5
[[service.page]]
path = "/a b"
body = "x"
[[service.page]]
path = "/../a"
"#;
    assert_snapshot!(after_ports(text), @r#"
    r.toml:11:1: this server has nothing to serve; give it a `root`, a [[service.page]], or a `status` page
    r.toml:16:1: unknown key `root` in [[service]]; the keys are `kind`, `address`, `port`
    r.toml:20:8: `root`: "" is not a folder; write the path of a folder, for instance "/srv/www"
    r.toml:21:9: `index`: "a/b" is not a file's name; a name without a folder, for instance "index.html"
    r.toml:22:16: `head_seconds`: 0 is not a whole number from 1 to 3600
    r.toml:23:1: unknown key `body_byte` in [[service]]; did you mean `body_bytes`?
    r.toml:28:17: `cache_control`: "é" is not a list of directives; write it like "max-age=60"
    r.toml:30:8: `path`: "hello" is not a path; a path begins with `/`, as in "/about.html", and is not percent-encoded
    r.toml:33:8: `path`: "/a?b" is not a path; a path begins with `/`, as in "/about.html", and is not percent-encoded
    r.toml:34:8: `type`: "text" is not a media type; write it like "text/plain; charset=utf-8"
    r.toml:35:8: `body`: 5 is not a text in quotes
    r.toml:37:8: two pages have the path /a b; give one of them another path
    r.toml:39:1: [[service.page]] lacks `body`
    r.toml:40:8: `path`: "/../a" is not a path; a path begins with `/`, as in "/about.html", and is not percent-encoded
    "#);
}

#[test]
fn neighbours() {
    let text = r#"[[neighbour]]
address = "10.0.1.9"
mac = "ff:ff:ff:ff:ff:ff"
interface = "lan"
[[neighbour]]
address = "10.0.1.10"
mac = "02:00:00:00:00:01"
interface = "wan"
[[neighbour]]
address = "10.0.7.10"
mac = "02:00:00:00:00:01"
interface = "lan"
[[neighbour]]
address = "10.0.1.1"
mac = "02:00:00:00:00:01"
interface = "lan"
[[neighbour]]
address = "10.0.1.11"
mac = "02:00:00:00:00:01"
interface = "lan"
[[neighbour]]
address = "10.0.1.11"
mac = "02:00:00:00:00:01"
interface = "lan.7"
[[neighbour]]
address = "10.0.1.11"
mac = "02:00:00:00:00:01"
interface = "lan"
"#;
    assert_snapshot!(after_ports(text), @r#"
    r.toml:13:7: `mac`: "ff:ff:ff:ff:ff:ff" is not an Ethernet address; ff:ff:ff:ff:ff:ff is a group address: the first number must be even
    r.toml:16:11: 10.0.1.10 is a neighbour on `lan`, not on `wan`; write interface = "lan"
    r.toml:20:11: the neighbour 10.0.7.10 lies in no connected network; connected networks: 10.0.1.0/24 (`lan`), 10.0.2.0/24 (`wan`)
    r.toml:24:11: the neighbour 10.0.1.1 is our own address on `lan`; name a neighbour's address
    r.toml:34:13: there is no interface `lan.7`; the interfaces are `lan`, `wan`
    r.toml:36:11: the neighbour 10.0.1.11 is given twice
    "#);
}

#[test]
fn limits() {
    assert_snapshot!(after_ports("[limits]\nroutes = 0\nmbufs = 3\nhold_packets = \"many\"\n"), @r#"
    r.toml:12:10: `routes`: 0 is not a whole number from 16 to 16000000
    r.toml:13:9: `mbufs`: 3 is not a whole number from 1024 to 67108863
    r.toml:14:16: `hold_packets`: "many" is not a whole number from 1 to 65536
    "#);
    assert_snapshot!(after_ports("[limits]\nhold_packets = 10\n"), @"r.toml:12:16: one neighbour may hold 64 packets, but all together only 10; raise `hold_packets` in [limits]");
    let routes: String = (0..20)
        .map(|n| format!("[[route]]\nprefix = \"10.{}.0.0/16\"\nvia = \"10.0.1.{}\"\n", n + 1, n + 2))
        .collect();
    let limits = "[limits]\nroutes = 20\nadjacencies = 16\n";
    assert_snapshot!(after_ports(&format!("{routes}{limits}")), @r"
    r.toml:72:10: 22 routes and connected networks are more than the limit of 20; raise `routes` in [limits]
    r.toml:73:15: 22 interfaces and gateways are more than the limit of 16 adjacencies; raise `adjacencies` in [limits]
    ");
}

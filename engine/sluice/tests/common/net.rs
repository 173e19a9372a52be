//! Linux hosts in network namespaces, with the router in another one between them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Home, Router, output, succeed, unique, within};

/// Namespaces that vanish with the test.
pub(crate) struct Net {
    prefix: String,
}

/// A Linux host.
#[derive(Clone)]
pub(crate) struct Host {
    namespace: String,
}

impl Net {
    /// A network with nothing in it but the router's namespace.
    pub(crate) fn new() -> Net {
        sweep();
        let net = Net { prefix: unique("") };
        net.namespace("r");
        net
    }

    /// The router's namespace.
    pub(crate) fn router(&self) -> Host {
        Host { namespace: format!("{}-r", self.prefix) }
    }

    /// A host that was made before.
    pub(crate) fn host(&self, tag: &str) -> Host {
        Host { namespace: format!("{}-{tag}", self.prefix) }
    }

    fn namespace(&self, tag: &str) -> Host {
        let host = Host { namespace: format!("{}-{tag}", self.prefix) };
        let ns = &host.namespace;
        let made = output(Command::new("ip").args(["netns", "add", ns]));
        assert!(
            made.status.success(),
            "network namespaces need root: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        host.ip("link set lo up");
        host.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
        host.sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        host
    }

    /// Removes a host, and what runs on it.
    pub(crate) fn delete(&self, tag: &str) {
        let name = format!("{}-{tag}", self.prefix);
        delete_namespaces(|found| found == name);
    }

    /// Runs a router between the TAPs `ta` (10.1.0.1/24) and `tb` (10.2.0.1/24), with what `rest` adds.
    pub(crate) fn run_between_taps(&self, cores: &str, rest: &str) -> Router {
        let port = |name: &str, at: usize, net: usize| {
            format!(
                "[[port]]\nname = \"{name}\"\ndevice = \"net_tap{at},iface=t{name}\"\naddresses = [\"10.{net}.0.1/24\"]\n"
            )
        };
        let (a, b) = (port("a", 0, 1), port("b", 1, 2));
        self.run(&format!("[workers]\ncores = {cores}\npoll = \"adaptive\"\n{a}{b}{rest}"))
    }

    /// Starts a router. `body` may name TAPs with any name.
    pub(crate) fn run(&self, body: &str) -> Router {
        Home::new().run(body, Some(&self.router().namespace))
    }

    /// Starts a server, of which `args` may name TAPs with any name.
    pub(crate) fn serve(&self, command: &str, args: &str) -> Router {
        Home::new().serve(command, args, Some(&self.router().namespace))
    }

    /// Starts a program of its own, of which `args` may name TAPs with any name.
    pub(crate) fn serve_by(&self, program: PathBuf, args: &str) -> Router {
        Home::new().serve_by(&program, args, Some(&self.router().namespace))
    }

    /// A host on the TAP of the running router: a macvlan, for DPDK wants the TAP to stay where it is.
    pub(crate) fn host_on_tap(&self, tag: &str, tap: &str, address: &str, gateway: &str) -> Host {
        let (host, router) = (self.namespace(tag), self.router());
        router.ip(&format!("link set {tap} arp off txqueuelen 8192"));
        router.ip(&format!("link add link {tap} name mv-{tag} type macvlan mode private"));
        router.ip(&format!("link set mv-{tag} netns {} name eth0", host.namespace));
        host.up(address, gateway);
        host
    }

    /// A host with a veth pair whose other end, `port`, is in the router's namespace.
    pub(crate) fn host_on_veth(&self, tag: &str, port: &str, address: &str, gateway: &str) -> Host {
        let (host, router) = (self.namespace(tag), self.router());
        router.ip(&format!("link add {port} type veth peer name eth0 netns {}", host.namespace));
        // The kernel's own stack keeps quiet on the router's side, and the host finishes its checksums.
        router.ip(&format!("link set {port} arp off up"));
        host.succeed("ethtool -K eth0 tx off");
        host.up(address, gateway);
        host
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        delete_namespaces(|name| name.starts_with(&format!("{}-", self.prefix)));
    }
}

/// Removes what tests left that were killed.
fn sweep() {
    delete_namespaces(|name| {
        let pid = name.strip_prefix("slt").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        pid.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
    });
}

fn delete_namespaces(which: impl Fn(&str) -> bool) {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| which(name)) {
        let _gone = Command::new("ip").args(["netns", "del", &name]).output();
    }
}

/// A process that is killed when this is dropped.
pub(crate) struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Host {
    fn up(&self, address: &str, gateway: &str) {
        self.ip(&format!("addr add {address} dev eth0"));
        self.ip("link set eth0 up");
        self.ip(&format!("route add default via {gateway}"));
    }

    /// `ip` in this namespace.
    pub(crate) fn ip(&self, args: &str) -> String {
        succeed("ip", &format!("-n {} {args}", self.namespace))
    }

    /// Runs a command here, which must succeed.
    pub(crate) fn succeed(&self, command: &str) -> String {
        succeed("ip", &format!("netns exec {} {command}", self.namespace))
    }

    /// Runs a command here, and gives what it printed, whether it succeeds or not.
    pub(crate) fn try_run(&self, command: &str) -> String {
        let args = format!("netns exec {} {command}", self.namespace);
        let done = output(Command::new("ip").args(args.split_whitespace()));
        String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
    }

    /// Runs a script here, at most for a minute, and gives what it printed. `$0` is a path for files of its own.
    pub(crate) fn bash(&self, script: &str) -> String {
        self.bash_within(60, script)
    }

    /// As [`bash`](Self::bash), at most for so many seconds.
    pub(crate) fn bash_within(&self, seconds: u32, script: &str) -> String {
        let own = std::env::temp_dir().join(unique("script"));
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            &self.namespace,
            "timeout",
            &seconds.to_string(),
            "bash",
            "-c",
            script,
        ]);
        command.arg(own);
        let done = output(&mut command);
        print!("{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Starts a script here, which ends with what this gives.
    pub(crate) fn shell(&self, script: &str) -> Killed {
        let args = ["--pdeathsig", "KILL", "ip", "netns", "exec", &self.namespace, "bash", "-c", script];
        let child = Command::new("setpriv").args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Killed(child.unwrap_or_else(|error| panic!("{script}: {error}")))
    }

    /// Runs the test `name` of this test binary here: one that is ignored elsewhere. It must succeed. Gives
    /// what it printed.
    #[track_caller]
    pub(crate) fn run_test(&self, name: &str) -> String {
        let binary = std::env::current_exe().unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(binary);
        let done = output(command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]));
        let text = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && text.contains("1 passed"), "{name}: {text}");
        println!("{text}");
        text.into_owned()
    }

    /// Starts the test `name` likewise; it ends with what this gives.
    pub(crate) fn start_test(&self, name: &str) -> Killed {
        let binary = std::env::current_exe().unwrap();
        self.shell(&format!("exec {} --exact {name} --ignored --nocapture", binary.display()))
    }

    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        let args = ["netns", "exec", &self.namespace, "sh", "-c", &format!("echo {value} >/proc/sys/{key}")];
        let set = output(Command::new("ip").args(args));
        assert!(set.status.success(), "{key}: {}", String::from_utf8_lossy(&set.stderr));
    }

    /// From now on loses `percent` of the packets that it receives, and of those that it sends.
    pub(crate) fn lose(&self, percent: u8) {
        self.succeed("nft add table ip loss");
        for (chain, priority) in [("prerouting", -400), ("postrouting", 400)] {
            let hook = format!("{{ type filter hook {chain} priority {priority} ; }}");
            self.succeed(&format!("nft add chain ip loss {chain} {hook}"));
            let rule = format!("numgen random mod 100 < {percent} drop");
            self.succeed(&format!("nft add rule ip loss {chain} {rule}"));
        }
    }

    /// Pings `count` times; all must be answered, the first too.
    #[track_caller]
    pub(crate) fn ping(&self, to: &str, count: u32) {
        self.all_answered(&format!("-i 0.005 {to}"), count);
    }

    /// Pings as fast as answers come, 20 at a time; all must be answered.
    #[track_caller]
    pub(crate) fn flood(&self, to: &str, count: u32) {
        self.all_answered(&format!("-i 0.001 -l 20 {to}"), count);
    }

    /// Without a deadline (-w) ping gives up after two round trips, which on a busy machine is too soon for
    /// the last answers. With one, it goes on until it has `count` answers: none before them may be missing.
    #[track_caller]
    fn all_answered(&self, args: &str, count: u32) {
        let text = self.try_run(&format!("ping -n -w 30 -c {count} {args}"));
        let sequence = |line: &str| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok();
        let mut answers: Vec<u32> =
            text.lines().filter(|line| line.contains("bytes from")).filter_map(sequence).collect();
        answers.sort_unstable();
        assert!(
            answers.len() >= count as usize && answers.into_iter().zip(1..).all(|(a, b)| a == b),
            "{text}"
        );
    }

    /// Pings once, with options; gives what ping said.
    pub(crate) fn try_ping(&self, args: &str) -> String {
        self.try_run(&format!("ping -n -c 1 -W 2 {args}"))
    }

    /// The Ethernet address that this host knows for `address`.
    pub(crate) fn neighbour(&self, address: &str) -> Option<String> {
        let all: Value = serde_json::from_str(&self.ip("-json neigh show")).unwrap();
        let entry = all.as_array()?.iter().find(|entry| entry["dst"] == address)?;
        Some(entry["lladdr"].as_str()?.to_owned())
    }

    /// One of the kernel's counters, of `/proc/net/snmp`.
    pub(crate) fn counter(&self, protocol: &str, name: &str) -> u64 {
        let text = self.succeed("cat /proc/net/snmp");
        let mut rows = text.lines().filter(|line| line.starts_with(&format!("{protocol}:")));
        let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
        let at = names.split(' ').position(|n| n == name).unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }

    /// Waits for a link that another process makes.
    pub(crate) fn wait_for_link(&self, name: &str) {
        let there = || {
            output(Command::new("ip").args(["-n", &self.namespace, "link", "show", name])).status.success()
        };
        assert!(within(Duration::from_secs(10), there), "no link {name}");
    }
}

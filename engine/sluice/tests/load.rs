//! `sluice load` against nginx on the kernel's stack, and against `sluice http` over shared memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::net::{Host, Killed, Net};
use common::{Home, Router, SLUICE, assert_failed, output, unique, within};
use serde_json::Value;
use tempfile::TempDir;

/// Within this time a load of a few seconds is over.
const END: Duration = Duration::from_secs(90);

/// nginx on a host behind a veth pair, whose other end a load may use.
struct Rig {
    folder: TempDir,
    net: Net,
    host: Host,
    _nginx: Killed,
}

impl Rig {
    fn new() -> Rig {
        let (net, folder) = (Net::new(), tempfile::tempdir().unwrap());
        let host = net.host_on_veth("a", "va", "10.0.0.1/24", "10.0.0.2");
        let nginx = nginx(&host, folder.path());
        Rig { folder, net, host, _nginx: nginx }
    }

    /// Runs a load to its end, which must be a good one. Gives the run's numbers.
    fn load(&self, args: &str) -> Value {
        let json = self.folder.path().join("result.json");
        let args = format!(
            "--device net_af_packet0,iface=va --address 10.0.0.2/24 --cores 0 --json {} {args}",
            json.display()
        );
        let mut load = self.net.serve("load", &args);
        let status = load.wait(END);
        assert!(status.success(), "{}", load.log());
        numbers(&json)
    }

    /// Runs a load that fails; its last line is one sentence with `parts`.
    #[track_caller]
    fn fails(&self, args: &str, parts: &[&str]) {
        let args = format!(
            "--device net_af_packet0,iface=va --address 10.0.0.2/24 --cores 0 --warmup 0s --timeout 500ms {args}"
        );
        let mut load = self.net.serve("load", &args);
        let status = load.wait(END);
        assert_failed(status.success(), &load.log(), parts);
    }

    /// Requests that nginx has answered.
    fn answered(&self) -> usize {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap().lines().count()
    }
}

/// A load from a device that nothing comes from.
fn null_load() -> Command {
    let mut command = Command::new(SLUICE);
    command.args(["load", "--device", "net_null0", "--address", "10.0.0.2/24", "--cores", "0"]);
    command
}

fn nginx(host: &Host, folder: &Path) -> Killed {
    let folder = folder.display();
    let conf = format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n log_format short $status; access_log {folder}/access.log short;\n\
         client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;\n\
         uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;\n\
         server {{ listen 80; keepalive_requests 50;\n\
         location / {{ return 200 hello; }} location /none {{ return 404; }} location /close {{ return 444; }} }} }}\n"
    );
    fs::write(format!("{folder}/nginx.conf"), conf).unwrap();
    let nginx = host.shell(&format!("exec nginx -p {folder} -c {folder}/nginx.conf"));
    let listens = || host.succeed("ss -Htln sport = :80").contains(":80");
    assert!(within(common::START, listens), "nginx does not listen");
    nginx
}

/// The numbers of a document's one run, by name.
fn numbers(file: &Path) -> Value {
    let document: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(document["kind"], "load", "{document}");
    let run = &document["runs"][0];
    let named = |counter: &Value| (counter["name"].as_str().unwrap().to_owned(), counter["value"].clone());
    let mut all: serde_json::Map<_, _> = run["counters"].as_array().unwrap().iter().map(named).collect();
    all.insert("latencies".into(), run["histograms"][0]["count"].clone());
    all.into()
}

#[track_caller]
fn number(of: &Value, name: &str) -> usize {
    of[name].as_f64().unwrap_or_else(|| panic!("{name}: {of}")) as usize
}

/// Whether a server has closed all its connections. The last acknowledgment of one may be lost with the client's
/// process, where that was quicker than the server.
fn has_closed(server: &Router) -> bool {
    let counters = server.ask(&["tcp"]);
    let row = counters.as_array().unwrap().iter().find(|row| row["name"] == "connections").unwrap();
    // So few are one page.
    row["value"].as_u64().unwrap() < 100 && {
        let report = server.ask(&["connections"]);
        report["connections"].as_array().unwrap().iter().all(|connection| connection["state"] == "LAST-ACK")
    }
}

#[test]
fn nginx_counts_what_the_load_counts() {
    let rig = Rig::new();
    let mut before = 0;
    for args in [
        "--connections 8 http://10.0.0.1/",
        "--connections 8 --pipeline 4 http://10.0.0.1/",
        "--connections 4 --rate 200 --poisson http://10.0.0.1/",
        "--connections 4 --rate 100 --close http://10.0.0.1/",
    ] {
        let result = rig.load(&format!("--duration 2s --warmup 0s {args}"));
        let completed = number(&result, "completed");
        assert!(completed > 50, "{args}: {result}");
        assert_eq!(number(&result, "failed") + number(&result, "non-2xx"), 0, "{args}: {result}");
        assert_eq!(
            (number(&result, "started"), number(&result, "latencies")),
            (completed, completed),
            "{args}"
        );
        // What was pipelined behind the last answer of a connection, nginx did not see.
        let answered = rig.answered() - before;
        assert_eq!(answered, completed, "{args}: {result}");
        before += answered;
    }
    let missing = rig.load("--duration 1s http://10.0.0.1/none");
    assert_eq!(number(&missing, "completed"), number(&missing, "non-2xx"));
}

#[test]
fn a_load_without_answers_fails_with_a_sentence() {
    let rig = Rig::new();
    rig.fails("--duration 1s http://10.0.0.1:81/", &["10.0.0.1:81 refuses connections"]);
    // It is asked for three times, a second apart.
    rig.fails("--duration 6s http://10.0.0.9/", &["10.0.0.9:80", "ARP"]);
    rig.fails(
        "--duration 1s http://10.0.0.1/close",
        &["connections were opened, but no answer came", "closed"],
    );
    for (args, parts) in [
        ("http://192.0.2.1/", &["no route to 192.0.2.1"][..]),
        ("http://host.test/ --dns 192.0.2.1", &["no route to 192.0.2.1"]),
        ("--duration 1ms http://10.0.0.1/", &["--duration"]),
        ("--rate 80% http://10.0.0.1/", &["--rate"]),
    ] {
        let done = output(null_load().args(args.split(' ')));
        assert_failed(done.status.success(), &String::from_utf8_lossy(&done.stderr), parts);
    }
}

#[test]
fn against_sluice_http_and_echo_over_shared_memory() {
    for (server, url) in [("http", "http://10.0.0.1/"), ("echo", "--echo 10.0.0.1:7 --size 3000")] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("index.html"), "<h1>home</h1>").unwrap();
        let path = std::env::temp_dir().join(unique(".load")).display().to_string();
        let device = |role| format!("--device net_memif0,role={role},id=0,socket={path},socket-abstract=no");
        let root =
            if server == "http" { format!("--root {}", folder.path().display()) } else { String::new() };
        let args = format!("{} --address 10.0.0.1/24 --cores 0 {root}", device("server"));
        let server = Home::new().serve(server, args.trim_end(), None);
        let json = folder.path().join("result.json");
        let args = format!(
            "{} --address 10.0.0.2/24 --cores 1 --warmup 4s --duration 2s --connections 16 --json {} {url}",
            device("client"),
            json.display()
        );
        let mut load = Home::new().serve("load", &args, None);
        assert!(load.wait(END).success(), "{}", load.log());
        println!("{}", load.log());
        let result = numbers(&json);
        assert_eq!(number(&result, "failed") + number(&result, "non-2xx"), 0, "{}", load.log());
        assert!(number(&result, "completed") > 100, "{}", load.log());
        // It has closed what it had opened.
        assert!(within(Duration::from_secs(10), || has_closed(&server)), "{}", server.show(&["connections"]));
        server.stop();
    }
}

/// Starts a DNS server beside nginx, which knows `www.load.test` by an alias, and no other name.
fn dns_server(rig: &Rig) -> Killed {
    let dnsmasq = rig.host.shell(
        "exec dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null --pid-file= --user= \
         --host-record=web.load.test,10.0.0.1 --cname=www.load.test,web.load.test --local=/load.test/ \
         --txt-record=text.load.test,none",
    );
    let listens = || rig.host.succeed("ss -Hlnu sport = :53").contains(":53");
    assert!(within(common::START, listens), "dnsmasq does not listen");
    dnsmasq
}

#[test]
fn names_are_looked_up() {
    let rig = Rig::new();
    let _dnsmasq = dns_server(&rig);
    let result = rig.load("--dns 10.0.0.1 --duration 1s http://www.load.test/");
    assert!(number(&result, "completed") > 50 && number(&result, "failed") == 0, "{result}");
    for (name, parts) in [
        ("absent.load.test", ["absent.load.test", "there is no such name"]),
        ("text.load.test", ["text.load.test", "no IPv4 address"]),
        ("www.elsewhere.test", ["www.elsewhere.test", "cannot or does not want to say"]),
    ] {
        rig.fails(&format!("--dns 10.0.0.1 http://{name}/"), &parts);
    }
    // Nobody listens there, and nobody is there.
    rig.fails("--dns 10.0.0.1:54 http://www.load.test/", &["no DNS server answers", "10.0.0.1:54"]);
}

#[test]
fn a_mix_of_requests_from_a_file() {
    let rig = Rig::new();
    let mix = rig.folder.path().join("mix.toml");
    let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let text = format!(
        "[[request]]\nweight = 3\npath = \"/\"\ncheck = \"sha256:{sha256}\"\n\
         [[request]]\nmethod = \"HEAD\"\npath = \"/\"\nheaders = [\"Accept: text/html\"]\n\
         [[request]]\nmethod = \"POST\"\npath = \"/none\"\nbody = \"x=1\"\n"
    );
    fs::write(&mix, &text).unwrap();
    let args = format!("--requests {} --duration 2s --rate 500 http://10.0.0.1/", mix.display());
    let result = rig.load(&format!("--warmup 0s {args}"));
    let of = |request: usize, what: &str| number(&result, &format!("request {request}: {what}"));
    let completed: Vec<usize> = (1..=3).map(|request| of(request, "completed")).collect();
    assert_eq!(completed.iter().sum::<usize>(), number(&result, "completed"), "{result}");
    assert!(completed[0].abs_diff(600) < 100 && completed[1].abs_diff(200) < 60, "{completed:?}");
    assert_eq!((of(3, "non-2xx"), number(&result, "non-2xx")), (completed[2], completed[2]));
    assert_eq!(number(&result, "failed") + number(&result, "wrong bodies"), 0, "{result}");

    fs::write(&mix, text.replace(sha256, &sha256.replace('2', "3"))).unwrap();
    rig.fails(&args, &["answers had another content"]);
    fs::write(&mix, "[[request]]\npath = \"x\"\n").unwrap();
    let done = output(null_load().args(args.split(' ')));
    assert_failed(done.status.success(), &String::from_utf8_lossy(&done.stderr), &["mix.toml:2:8", "`path`"]);
}

#[test]
fn thinking_and_a_ramp() {
    let rig = Rig::new();
    let result = rig.load(
        "--connections 20 --think 100ms --check first --ramp 2s --duration 2s --warmup 0s http://10.0.0.1/",
    );
    // 20 connections, ten times a second, for two seconds; a loaded machine makes it fewer.
    let completed = number(&result, "completed");
    assert!((100..=420).contains(&completed) && number(&result, "wrong bodies") == 0, "{result}");
    // Before that a half of it, in the two seconds of the ramp.
    assert!(rig.answered() > completed + 60, "{} {completed}", rig.answered());
    assert_eq!(number(&result, "open connections"), 20);
}

#[test]
fn connections_from_two_addresses() {
    let path = std::env::temp_dir().join(unique(".load")).display().to_string();
    let device = |role| format!("--device net_memif0,role={role},id=0,socket={path},socket-abstract=no");
    let server =
        Home::new().serve("echo", &format!("{} --address 10.0.0.1/24 --cores 0", device("server")), None);
    let args = |more: &str| {
        format!(
            "{} --address 10.0.0.2-10.0.0.3/24 --cores 1 --echo 10.0.0.1:7 --think 100ms {more}",
            device("client")
        )
    };
    let mut load = Home::new().serve("load", &args("--connections 40 --warmup 0s --duration 60s"), None);
    let from = |address: &str| {
        let report = server.ask(&["connections"]);
        let connections = report["connections"].as_array().unwrap();
        let is_from = |connection: &&Value| connection["remote"].as_str().unwrap().starts_with(address);
        connections.iter().filter(is_from).count()
    };
    let both = || (from("10.0.0.2:"), from("10.0.0.3:")) == (20, 20);
    assert!(within(END, both), "{}", server.show(&["connections"]));
    load.signal("INT");
    assert!(load.wait(END).success(), "{}", load.log());
    server.stop();

    // An address has 32,768 ports towards a server.
    let done = output(Command::new(SLUICE).arg("load").args(args("--connections 70000").split(' ')));
    let parts = ["need 3 addresses", "10.0.0.2-10.0.0.4/24"];
    assert_failed(done.status.success(), &String::from_utf8_lossy(&done.stderr), &parts);
}

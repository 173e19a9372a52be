//! `sluice load` against nginx on the kernel's stack, and against `sluice http` over shared memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::net::{Host, Killed, Net};
use common::{Home, SLUICE, assert_failed, output, unique, within};
use serde_json::Value;
use tempfile::TempDir;

/// Within this time a load of a few seconds is over.
const END: Duration = Duration::from_secs(90);

/// nginx on a host behind a veth pair, whose other end a load may use.
struct Rig {
    folder: TempDir,
    net: Net,
    _nginx: Killed,
}

impl Rig {
    fn new() -> Rig {
        let (net, folder) = (Net::new(), tempfile::tempdir().unwrap());
        let host = net.host_on_veth("a", "va", "10.0.0.1/24", "10.0.0.2");
        let nginx = nginx(&host, folder.path());
        Rig { folder, net, _nginx: nginx }
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
        ("--duration 1ms http://10.0.0.1/", &["--duration"]),
        ("--rate 80% http://10.0.0.1/", &["--rate"]),
    ] {
        let mut command = Command::new(SLUICE);
        command.args(["load", "--device", "net_null0", "--address", "10.0.0.2/24", "--cores", "0"]);
        let done = output(command.args(args.split(' ')));
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
        let open = || {
            server.ask(&["tcp"]).as_array().unwrap().iter().find(|row| row["name"] == "connections").unwrap()
                ["value"]
                .as_u64()
        };
        assert!(within(Duration::from_secs(10), || open() == Some(0)), "{}", server.show(&["connections"]));
        server.stop();
    }
}

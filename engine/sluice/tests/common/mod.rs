//! What the tests share: a router as a process of its own, and what it is asked and tells.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod net;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");
/// Within this time a router starts, also in a debug build on a busy machine.
pub(crate) const START: Duration = Duration::from_secs(60);
/// Within this time a router that is asked to stop has stopped.
pub(crate) const STOP: Duration = Duration::from_secs(20);

/// A name that nobody else on this machine uses: tests run at the same time, in one process or in many.
pub(crate) fn unique(tag: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("slt{}-{}{tag}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a command to its end, and gives what it printed.
pub(crate) fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs `program` with `args`, separated by blanks, which must succeed. Gives what it printed.
pub(crate) fn succeed(program: &str, args: &str) -> String {
    let done = output(Command::new(program).args(args.split_whitespace()));
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{program} {args}: {text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

/// Waits until `done`, at most `limit`. Gives whether it came to pass.
pub(crate) fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A folder for one router: its configuration, its socket, what it prints.
pub(crate) struct Home {
    folder: TempDir,
    /// The router's name, and its DPDK file prefix.
    pub(crate) name: String,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home { folder: tempfile::Builder::new().prefix("sluice-test").tempdir().unwrap(), name: unique("") }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    /// Writes a file of this folder.
    pub(crate) fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes a configuration of this router: `body` is what follows its name and socket.
    pub(crate) fn configure(&self, body: &str) -> PathBuf {
        let socket = self.socket();
        let head = format!("name = \"{}\"\ncontrol.socket = \"{}\"\n", self.name, socket.display());
        self.write("sluice.toml", &(head + body))
    }

    /// A router with this configuration that has not said yet that it runs. It dies with the test.
    pub(crate) fn launch(self, body: &str, namespace: Option<&str>) -> Router {
        let config = self.configure(body);
        let args = ["run".into(), "-c".into(), config.into_os_string()];
        self.launch_with(SLUICE.as_ref(), &args, namespace)
    }

    /// A server that runs, without a configuration file: `args` are what follows its name and socket.
    pub(crate) fn serve(self, command: &str, args: &str, namespace: Option<&str>) -> Router {
        self.serve_by(SLUICE.as_ref(), &format!("{command} {args}"), namespace)
    }

    /// A program of its own that runs, likewise.
    pub(crate) fn serve_by(self, program: &Path, args: &str, namespace: Option<&str>) -> Router {
        let args = format!("{args} --name {} --socket {}", self.name, self.socket().display());
        let args: Vec<OsString> = args.split(' ').map(OsString::from).collect();
        let mut router = self.launch_with(program, &args, namespace);
        router.wait_until_it_runs();
        router
    }

    fn launch_with(self, program: &Path, args: &[OsString], namespace: Option<&str>) -> Router {
        let log = self.path("log");
        let out = File::create(&log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(namespace) = namespace {
            command.args(["ip", "netns", "exec", namespace]);
        }
        command.arg(program).args(args);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Router { home: self, child, log, ended: None }
    }

    /// A router that runs.
    pub(crate) fn run(self, body: &str, namespace: Option<&str>) -> Router {
        let mut router = self.launch(body, namespace);
        router.wait_until_it_runs();
        router
    }
}

/// A `sluice run`, or a server; killed when dropped.
pub(crate) struct Router {
    pub(crate) home: Home,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Router {
    /// A router outside of any namespace of ours.
    pub(crate) fn start(body: &str) -> Router {
        Home::new().run(body, None)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    pub(crate) fn wait_until_it_runs(&mut self) {
        let line = format!("{} runs: ", self.home.name);
        let ready = within(START, || self.ended().is_some() || self.log().contains(&line));
        assert!(ready && self.ended().is_none(), "it did not start:\n{}", self.log());
    }

    /// Waits for its end, and gives its exit status.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        within(limit, || self.ended().is_some());
        self.ended.unwrap_or_else(|| panic!("it runs on after {limit:?}:\n{}", self.log()))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: &str) {
        assert_eq!(self.ended, None, "it has ended");
        succeed("kill", &format!("-{signal} {}", self.pid()));
    }

    /// Stops it with a signal; every packet must be accounted for. Gives what it printed at the end.
    pub(crate) fn stop_by(mut self, signal: &str) -> String {
        let before = self.log().len();
        self.signal(signal);
        let status = self.wait(STOP);
        let log = self.log();
        assert!(status.success(), "{status}:\n{log}");
        let last = &log[before..];
        assert!(
            last.lines().any(|line| line.starts_with("books: ") && line.ends_with(": balanced")),
            "{log}"
        );
        assert!(!self.home.socket().exists(), "the socket is left behind");
        last.to_owned()
    }

    pub(crate) fn stop(self) -> String {
        self.stop_by("TERM")
    }

    /// `sluice show`, as its words are.
    pub(crate) fn show_raw(&self, args: &[&str]) -> Output {
        output(Command::new(SLUICE).arg("show").args(args).arg("--socket").arg(self.home.socket()))
    }

    /// `sluice port`, as its words are.
    pub(crate) fn port(&self, args: &str) -> Output {
        let mut command = Command::new(SLUICE);
        command.arg("port").args(args.split(' ')).arg("--socket").arg(self.home.socket());
        output(&mut command)
    }

    /// `sluice port`, which must succeed. Gives what it printed.
    #[track_caller]
    pub(crate) fn change_port(&self, args: &str) -> String {
        let done = self.port(args);
        assert!(done.status.success() && done.stderr.is_empty(), "{args}: {done:?}\n{}", self.log());
        String::from_utf8(done.stdout).unwrap()
    }

    /// `sluice show` as a table.
    pub(crate) fn show(&self, args: &[&str]) -> String {
        let shown = self.show_raw(args);
        assert!(shown.status.success() && shown.stderr.is_empty(), "{args:?}: {shown:?}");
        String::from_utf8(shown.stdout).unwrap()
    }

    /// `sluice show --json`: what is within the one key, which is called like the question.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        let mut reply: Value = serde_json::from_str(&self.show(&args)).unwrap();
        assert!(reply[args[0]].is_array() || reply[args[0]].is_object(), "{args:?}: {reply}");
        reply[args[0]].take()
    }

    /// One of the counters of `tcp` or `http`.
    pub(crate) fn counter(&self, of: &str, name: &str) -> u64 {
        let all = self.ask(&[of]);
        let row = all.as_array().unwrap().iter().find(|row| row["name"] == name);
        row.unwrap_or_else(|| panic!("{name}: {all}"))["value"].as_u64().unwrap()
    }

    /// Memory that it has touched and keeps, in bytes (VmRSS of proc(5)); what lies in huge pages is not in it.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// Frames dropped for a reason.
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        let drops = self.ask(&["drops"]);
        let row = drops.as_array().unwrap().iter().find(|drop| drop["reason"] == reason);
        row.unwrap_or_else(|| panic!("no reason {reason}: {drops}"))["count"].as_u64().unwrap()
    }

    /// Waits until it knows a neighbour that it asks for by itself: a gateway.
    pub(crate) fn wait_for_neighbour(&self, address: &str) {
        let known = || {
            let all = self.ask(&["neighbours"]);
            all.as_array().unwrap().iter().any(|row| row["address"] == address && row["mac"].is_string())
        };
        assert!(within(Duration::from_secs(10), known), "{}", self.show(&["neighbours"]));
    }

    /// The thread of this name.
    pub(crate) fn thread(&self, name: &str) -> u32 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let of_name =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let task = tasks.map(|task| task.unwrap().path()).find(of_name);
        file_name(&task.unwrap_or_else(|| panic!("no thread {name}"))).parse().unwrap()
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if self.ended.is_none() && std::thread::panicking() {
            // A test that fails wants to know what became of the frames.
            let _asked = Command::new("kill").arg(self.pid().to_string()).status();
            within(STOP, || self.ended().is_some());
            println!("{}", self.log());
        }
        if self.ended.is_none() {
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
        // An empty folder, which DPDK makes and a killed router leaves.
        let _removed = fs::remove_dir(format!("/var/run/dpdk/{}", self.home.name));
    }
}

/// Packet buffers in use once nothing is under way: what is seen three times in a row.
pub(crate) fn idle_buffers(router: &Router) -> u64 {
    let count = || router.ask(&["ports"])[0]["status"]["buffers_in_use"].as_u64().unwrap();
    let (mut last, mut same) = (count(), 0);
    let settled = || {
        std::thread::sleep(Duration::from_millis(100));
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same == 3
    };
    assert!(within(Duration::from_secs(20), settled), "packet buffers come and go");
    last
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// A configuration of one port without a network behind it, on core 0.
pub(crate) fn one_port(device: &str, poll: &str) -> String {
    format!(
        "[[port]]\nname = \"a\"\ndevice = \"{device}\"\naddresses = [\"10.1.0.1/24\"]\n\
         [workers]\ncores = [0]\npoll = \"{poll}\"\n"
    )
}

/// Checks that a program failed with one sentence, its last line, that names `parts`.
#[track_caller]
pub(crate) fn assert_failed(success: bool, text: &str, parts: &[&str]) {
    let last = text.trim_end().lines().last().unwrap_or_default();
    assert!(!success, "it should fail:\n{text}");
    assert!(last.starts_with("sluice: "), "{text}");
    assert!(parts.iter().all(|part| last.contains(part)), "{parts:?}:\n{text}");
    assert!(!text.contains("panicked"), "{text}");
}

//! Programs of the comparison: in a namespace, on a core, stopped between their turns, and gone when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// Within this time a program starts.
const START: Duration = Duration::from_secs(60);
/// Within this time a client has ended, beyond the time that it measures.
const END: Duration = Duration::from_secs(30);

/// Where a program runs.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// A network namespace; `None` is ours.
    pub(crate) namespace: Option<&'a str>,
    pub(crate) core: u16,
}

impl Place<'_> {
    /// The command of `words` there. It dies with us, even when it is stopped.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "--"]);
        if let Some(namespace) = self.namespace {
            command.args(["ip", "netns", "exec", namespace]);
        }
        command.arg("taskset").arg("-c").arg(self.core.to_string()).args(words).stdin(Stdio::null());
        command
    }

    /// Runs a client to its end, `seconds` and a little more. Gives what it printed.
    pub(crate) fn output(&self, words: &[&str], seconds: f64) -> Result<String> {
        let name = words[0].rsplit('/').next().unwrap_or_default();
        let mut command = self.command(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let deadline = Instant::now() + END + Duration::from_secs_f64(seconds);
        // What clients print fits a pipe.
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Err(format!("{name} does not end").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let done = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            let errors = String::from_utf8_lossy(&done.stderr);
            let last = errors.trim().lines().last().or(text.trim().lines().last()).unwrap_or("no word");
            return Err(format!("{name} failed: {last}").into());
        }
        Ok(text)
    }

    /// Starts a server that writes to the file `log`.
    pub(crate) fn start(&self, words: &[&str], log: PathBuf) -> Result<Program> {
        let name = words[0].rsplit('/').next().unwrap_or_default().to_owned();
        let out = File::create(&log)?;
        let mut command = self.command(words);
        let child = command.stdout(out.try_clone()?).stderr(out).spawn()?;
        Ok(Program { name, child, log })
    }
}

/// A server.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Waits until `ready`.
    pub(crate) fn wait_until(&mut self, ready: impl Fn(&str) -> bool) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            if ready(&said) {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let last = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
                return Err(format!("{} did not start: {last}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| format!("{} cannot be signalled: {error}", self.name).into())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has no state worth a clean end; SIGKILL reaches a stopped process as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a tool that must succeed.
pub(crate) fn tool(words: &str) -> Result<()> {
    let mut parts = words.split_whitespace();
    let done = Command::new(parts.next().unwrap_or_default()).args(parts).output()?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("{words}: {}", String::from_utf8_lossy(&done.stderr).trim()).into())
}

/// Whether there is a program of this name.
pub(crate) fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .any(|folder| Path::new(&folder).join(name).exists())
}

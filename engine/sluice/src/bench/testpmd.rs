//! `dpdk-testpmd` as a device under test: started, told what to do, asked for its counters.

use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::Error;
use super::dut::DutCounters;

const PROGRAM: &str = "dpdk-testpmd";
/// It starts, or answers, within this time, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// It ends within this time when asked to.
const STOP: Duration = Duration::from_secs(10);
/// Of one that has ended, errors come within this time.
const LAST_WORDS: Duration = Duration::from_secs(1);
const PROMPT: &str = "testpmd> ";
/// Its last words, for an error.
const LAST_LINES: usize = 8;

/// How it forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Frames as they are.
    Io,
    /// With the addresses of its own ports.
    Mac,
    /// With the addresses exchanged.
    MacSwap,
    /// Answers pings, and drops the rest.
    IcmpEcho,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Io => "io",
            Mode::Mac => "mac",
            Mode::MacSwap => "macswap",
            Mode::IcmpEcho => "icmpecho",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "testpmd:{}", self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let modes = [Mode::Io, Mode::Mac, Mode::MacSwap, Mode::IcmpEcho];
        let mode =
            text.strip_prefix("testpmd:").and_then(|name| modes.into_iter().find(|m| m.name() == name));
        mode.ok_or_else(|| "expected testpmd:io, testpmd:mac, testpmd:macswap or testpmd:icmpecho".into())
    }
}

/// A testpmd that forwards. It ends when this is dropped, and by itself when this process does: its input closes.
pub(crate) struct Testpmd {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    errors: Receiver<String>,
}

impl Testpmd {
    /// Starts it with these ports, on one CPU, and has it forward.
    pub(crate) fn start(mode: Mode, ports: &[String], core: usize, huge: bool) -> Result<Testpmd, Error> {
        // Line by line: what it prints must not come after the prompt, which it writes by another way.
        let mut command = Command::new("stdbuf");
        command.args(["--output=L", PROGRAM]).args(arguments(mode, ports, core, huge));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{PROGRAM} does not start: {error}."))?;
        // Apart, for what is said on one may come in the middle of a line of the other.
        let (output, errors) = (pump(child.stdout.take()), pump(child.stderr.take()));
        let mut testpmd = Testpmd { input: child.stdin.take(), child, output, errors };
        testpmd.until_prompt()?;
        testpmd.tell("start")?;
        Ok(testpmd)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its counters, all ports together, since it was started.
    pub(crate) fn counters(&mut self) -> Result<DutCounters, Error> {
        let ports = self.tell("show port stats all")?;
        let forwarded = self.tell("show fwd stats all")?;
        let sum = |text: &str, name| field_sum(text, name);
        let accumulated = forwarded.split("Accumulated").nth(1).unwrap_or_default();
        match (sum(&ports, "RX-packets:"), sum(&ports, "TX-packets:"), sum(accumulated, "TX-dropped:")) {
            (Some(rx), Some(tx), Some(tx_dropped)) => {
                let rx_missed = sum(&ports, "RX-missed:").unwrap_or(0);
                Ok(DutCounters { rx, rx_missed, tx, tx_dropped })
            }
            _ => Err(format!("{PROGRAM} does not say what it counted: {}", last_lines(&ports)).into()),
        }
    }

    /// Says a line to it; gives what it prints until it asks for the next.
    fn tell(&mut self, line: &str) -> Result<String, Error> {
        let said = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        if !matches!(said, Some(Ok(()))) {
            return Err(self.has_ended(""));
        }
        self.until_prompt()
    }

    fn until_prompt(&mut self) -> Result<String, Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut text = String::new();
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => text += &piece,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.has_ended(&text));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let seconds = PATIENCE.as_secs();
                    return Err(
                        format!("{PROGRAM} says nothing for {seconds} s: {}", last_lines(&text)).into()
                    );
                }
            }
            if text.ends_with(PROMPT) {
                return Ok(text);
            }
        }
    }

    /// What is said when it ends by itself: its own last words.
    fn has_ended(&self, said: &str) -> Error {
        // It ends itself when the process closes it, unless a child of that has it still.
        let deadline = Instant::now() + LAST_WORDS;
        let next = || self.errors.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        let errors: String = std::iter::from_fn(next).collect();
        let words = if errors.trim().is_empty() { last_lines(said) } else { last_lines(&errors) };
        format!("{PROGRAM} has ended: {words}").into()
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // At the end of its input it stops and closes its ports.
        drop(self.input.take());
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn arguments(mode: Mode, ports: &[String], core: usize, huge: bool) -> Vec<String> {
    // One lcore waits for commands and sleeps, the other forwards: they can share a CPU.
    let lcores = format!("0@{core},1@{core}");
    let prefix = format!("sluice-dut-{}", std::process::id());
    let mut eal = vec!["--lcores", &lcores, "--file-prefix", &prefix, "--no-pci", "--no-telemetry"];
    eal.extend(if huge {
        ["--in-memory", "--single-file-segments", "-m", "128"].as_slice()
    } else {
        ["--no-huge", "--no-shconf", "-m", "256"].as_slice()
    });
    for port in ports {
        eal.extend(["--vdev", port]);
    }
    let forward = format!("--forward-mode={}", mode.name());
    let topology = if ports.len() == 1 { "--port-topology=loop" } else { "--port-topology=paired" };
    let own =
        ["--", "-i", "--nb-cores=1", "--total-num-mbufs=16384", "--disable-link-check", &forward, topology];
    eal.iter().chain(&own).map(|arg| (*arg).to_owned()).collect()
}

/// Reads a stream on a thread of its own, and hands over what comes, as it comes.
fn pump(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (say, heard) = channel();
    std::thread::spawn(move || {
        let (mut stream, mut piece) = (stream, [0; 4096]);
        while let Some(Ok(length @ 1..)) = stream.as_mut().map(|stream| stream.read(&mut piece)) {
            if say.send(String::from_utf8_lossy(&piece[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    heard
}

/// The sum of the numbers that follow a name; `None` if it is not there.
fn field_sum(text: &str, name: &str) -> Option<u64> {
    let values = text.split(name).skip(1).map(|rest| rest.split_whitespace().next()?.parse().ok());
    values.reduce(|sum: Option<u64>, value| Some(sum? + value?)).flatten()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_by_name() {
        assert_eq!("testpmd:macswap".parse(), Ok(Mode::MacSwap));
        assert_eq!("testpmd:icmpecho".parse(), Ok(Mode::IcmpEcho));
        assert!("macswap".parse::<Mode>().is_err() && "testpmd:flowgen".parse::<Mode>().is_err());
    }

    #[test]
    fn counters_of_all_ports() {
        let text =
            "  RX-packets: 12   RX-missed: 1   RX-bytes: 9\n TX-packets: 3\n  RX-packets: 30  RX-missed: 0\n";
        assert_eq!(field_sum(text, "RX-packets:"), Some(42));
        assert_eq!(field_sum(text, "RX-missed:"), Some(1));
        assert_eq!(field_sum(text, "TX-packets:"), Some(3));
        assert_eq!(field_sum(text, "TX-dropped:"), None);
    }

    #[test]
    fn one_port_loops_and_two_are_a_pair() {
        let args = |ports: &[&str]| {
            let ports: Vec<String> = ports.iter().map(|port| (*port).to_owned()).collect();
            arguments(Mode::Mac, &ports, 3, true).join(" ")
        };
        assert!(args(&["net_a"]).contains("--lcores 0@3,1@3") && args(&["net_a"]).ends_with("topology=loop"));
        assert!(args(&["net_a", "net_b"]).contains("--vdev net_a --vdev net_b"));
        assert!(args(&["net_a", "net_b"]).ends_with("--forward-mode=mac --port-topology=paired"));
    }
}

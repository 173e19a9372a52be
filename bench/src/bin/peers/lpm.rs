//! Route lookup: DPDK's libraries and ours, each in a process that has loaded a million routes and takes turns.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use report::Document;
use report::measure::Measure;

use crate::Result;
use crate::columns::Table;
use crate::contenders::Paths;
use crate::measure::Plan;
use crate::section::{Section, Trial};

const OURS: &str = "sluice";
const LPM: &str = "rte_lpm";
const FIB: &str = "rte_fib";
const FIB_AVX512: &str = "rte_fib AVX-512";

const ABOUT: &str = "A million routes with the mix of lengths of the Internet, in huge pages; lookups of 64 addresses at a time, \
    drawn evenly from the routes; each value a median. Updates are of one route at a time.";

const LOOKUPS: [Measure; 3] = [
    Measure::lower("a lookup, 4k flows", "cycles"),
    Measure::lower("a lookup, 64k flows", "cycles"),
    Measure::lower("a lookup, 1M flows", "cycles"),
];
const ADD: Measure = Measure::lower("an addition", "cycles");
const DELETE: Measure = Measure::lower("a deletion", "cycles");

/// Who waits for its turn.
struct Contender {
    name: &'static str,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// Measures everything on the table of a million routes.
pub(crate) fn run(plan: &Plan, table: &Table, paths: &Paths) -> Result<(String, Document)> {
    let mut contenders = Vec::new();
    for (name, kind) in
        [(LPM, Some("lpm")), (FIB, Some("fib")), (FIB_AVX512, Some("fib-avx512")), (OURS, None)]
    {
        if name == FIB_AVX512 && !is_avx512_there() {
            eprintln!("peers: {name} is left out: this machine has no such instructions");
            continue;
        }
        eprintln!("peers: starting {name}");
        let command = match kind {
            Some(kind) => theirs(plan, table, paths, kind),
            None => ours()?,
        };
        contenders.push(Contender::start(name, plan.cores.worker, command)?);
    }
    // They load side by side: rte_lpm takes a minute.
    contenders.iter_mut().try_for_each(Contender::wait)?;
    let mut section = Section::begin("Route lookup", ABOUT, LPM);
    let trial = Trial { name: "1M routes", subjects: contenders.iter().map(|one| one.name).collect() };
    section.rounds(plan.rounds, &trial, |subject| {
        let contender = contenders.iter_mut().find(|one| one.name == subject).ok_or("there is none")?;
        contender.turn()
    })?;
    section.finish([plan.cores.control, plan.cores.worker])
}

fn is_avx512_there() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|info| info.contains("avx512dq"))
}

fn theirs(plan: &Plan, table: &Table, paths: &Paths, kind: &str) -> Command {
    let mut command = Command::new(paths.peers.join("build/lpm"));
    command.arg("-l").arg(plan.cores.worker.to_string());
    command.args([
        "--in-memory",
        "--no-pci",
        "--no-telemetry",
        "--force-max-simd-bitwidth=512",
        "--file-prefix",
    ]);
    command.arg(format!("peers-{}-{kind}", std::process::id())).arg("--").arg(kind);
    command.arg(table.l3fwd_rules(&paths.data)).args(table.flow_files(&paths.data));
    command
}

fn ours() -> Result<Command> {
    let path = std::env::current_exe()?.with_file_name("fib");
    if !path.exists() {
        return Err("the program `fib` is not built: cargo build --release -p bench".into());
    }
    let mut command = Command::new(path);
    command.args(["--turns", "--updates", "16384"]);
    Ok(command)
}

impl Contender {
    fn start(name: &'static str, core: u16, inner: Command) -> Result<Contender> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "--", "taskset", "-c"]).arg(core.to_string());
        command.arg(inner.get_program()).args(inner.get_args());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{name} does not start: {error}"))?;
        let to = child.stdin.take().ok_or("no pipe")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe")?);
        Ok(Contender { name, child, to, from })
    }

    /// The next line that it prints.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.from.read_line(&mut line)? {
            0 => Err(format!("{} has ended", self.name).into()),
            _ => Ok(line),
        }
    }

    /// Waits until it has loaded its routes.
    fn wait(&mut self) -> Result<()> {
        // DPDK may have something to say first.
        while self.line()?.trim() != "ready" {}
        Ok(())
    }

    fn turn(&mut self) -> Result<Vec<(Measure, f64)>> {
        writeln!(self.to, "turn")?;
        read(&self.line()?)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of cycles.
fn read(line: &str) -> Result<Vec<(Measure, f64)>> {
    let values: Vec<f64> = line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    let measures = LOOKUPS.into_iter().chain([ADD, DELETE]);
    if values.len() != measures.clone().count() {
        return Err(format!("not understood: {line}").into());
    }
    Ok(measures.zip(values).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_five_numbers() {
        let turn = read("8.5 9.8 10.0 3006.0 3002\n").unwrap();
        assert_eq!(
            turn.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            [8.5, 9.8, 10.0, 3006.0, 3002.0]
        );
        assert_eq!((turn[0].0, turn[4].0), (LOOKUPS[0], DELETE));
        assert!(read("8.5 9.8").is_err() && read("1 2 3 4 x").is_err());
    }
}

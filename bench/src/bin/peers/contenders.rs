//! The programs that are compared: how each is started, and what its packets must look like when it sends them.

use std::path::{Path, PathBuf};
use std::process::Command;

use l2l3::forward::Isa;

use crate::Result;
use crate::columns::{GATEWAYS, Table, ipv6_rules};
use bench::routes::PORTS;

/// The contender that is the floor: what source and sink cost with next to nothing in between.
pub(crate) const FLOOR: &str = "testpmd io";
/// The contender that ratios are taken to.
pub(crate) const PEER: &str = "l3fwd LPM";
/// The contender that is ours.
pub(crate) const OURS: &str = "sluice";
/// The same with narrower instructions than the machine has.
const OURS_AVX2: &str = "sluice avx2";
const OURS_SSE42: &str = "sluice sse4.2";
const OURS_PORTABLE: &str = "sluice portable";
/// Who competes unless told otherwise.
pub(crate) const DEFAULT: [&str; 7] =
    [FLOOR, "testpmd macswap", PEER, OURS, OURS_AVX2, OURS_SSE42, OURS_PORTABLE];

/// Between the name of one of ours and the burst that it is told to use.
const BURST: &str = " burst ";

const ALL: [Contender; 9] = [
    Contender { name: FLOOR, verify: "none", command: testpmd_io, burst: None },
    Contender { name: "testpmd macswap", verify: "swap", command: testpmd_macswap, burst: None },
    Contender { name: "testpmd mac", verify: "mac", command: testpmd_mac, burst: None },
    Contender { name: PEER, verify: "route", command: l3fwd_lpm, burst: None },
    Contender { name: "l3fwd FIB", verify: "route", command: l3fwd_fib, burst: None },
    Contender { name: OURS, verify: "route", command: sluice, burst: None },
    Contender { name: OURS_AVX2, verify: "route", command: sluice, burst: None },
    Contender { name: OURS_SSE42, verify: "route", command: sluice, burst: None },
    Contender { name: OURS_PORTABLE, verify: "route", command: sluice, burst: None },
];

/// Each run's folder is this and its process id. Boards are written at packet rate: memory, not a disk.
const RUN_PREFIX: &str = "/dev/shm/peers-";

/// One program.
#[derive(Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// What net_flood checks of the packets it sends: its `verify` argument.
    verify: &'static str,
    command: fn(&Setup<'_>) -> Result<Command>,
    /// The frames of a burst that one of ours is told to use.
    burst: Option<u16>,
}

impl Contender {
    /// The instruction set that one of ours is told to use.
    fn isa(&self) -> Option<&'static str> {
        let isa = self.name.strip_prefix(OURS)?.split(BURST).next()?.trim();
        if isa.is_empty() { None } else { Some(isa) }
    }
}

/// The cores used: the worker's is all that counts.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) worker: u16,
    pub(crate) control: u16,
}

/// Where things are.
pub(crate) struct Paths {
    /// `bench/peers`.
    pub(crate) peers: PathBuf,
    /// Route and flow files.
    pub(crate) data: PathBuf,
    /// Logs, boards and configurations of this run.
    pub(crate) run: PathBuf,
    sluice: PathBuf,
}

impl Paths {
    pub(crate) fn new(sluice: &Path) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let run = PathBuf::from(format!("{RUN_PREFIX}{}", std::process::id()));
        Paths { data: peers.join("build/data"), peers, run, sluice: sluice.to_owned() }
    }

    /// Makes the folder of this run, and removes those of runs that were killed.
    pub(crate) fn make_run_folder(&self) -> Result<()> {
        for entry in std::fs::read_dir(Path::new(RUN_PREFIX).parent().unwrap_or(Path::new("/")))? {
            let path = entry?.path();
            let run = path.to_str().and_then(|path| path.strip_prefix(RUN_PREFIX)?.parse::<u32>().ok());
            if run.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
                std::fs::remove_dir_all(&path)?;
            }
        }
        std::fs::create_dir_all(&self.run).map_err(|error| format!("{}: {error}", self.run.display()).into())
    }

    fn device(&self) -> PathBuf {
        self.peers.join("build/librte_net_flood.so")
    }
}

impl Drop for Paths {
    fn drop(&mut self) {
        // Whatever stays behind is a few kilobytes.
        let _ = std::fs::remove_dir_all(&self.run);
    }
}

/// What a contender is started for.
pub(crate) struct Setup<'a> {
    pub(crate) contender: &'a Contender,
    pub(crate) table: &'a Table,
    pub(crate) cores: Cores,
    pub(crate) paths: &'a Paths,
}

/// The contenders of these names. Left out, with a word, are sluice when it is not built, and instructions that the
/// machine has not.
pub(crate) fn choose(names: &[String], paths: &Paths) -> Result<Vec<Contender>> {
    let mut chosen = Vec::new();
    for name in names {
        let contender = named(name)?;
        if contender.name.starts_with(OURS) && !paths.sluice.exists() {
            let path = paths.sluice.display();
            eprintln!("peers: no {path}, so sluice is left out: cargo build --release -p sluice");
            continue;
        }
        if contender.isa().is_some_and(|isa| Isa::named(isa).is_none()) {
            eprintln!("peers: {name} is left out: this machine has no such instructions");
            continue;
        }
        chosen.push(contender);
    }
    Ok(chosen)
}

/// The contender of this name; any of ours may be followed by the burst that it is to use.
fn named(name: &str) -> Result<Contender> {
    let (base, burst) = match name.split_once(BURST) {
        Some((base, burst)) if base.starts_with(OURS) => (base, Some(burst.parse()?)),
        _ => (name, None),
    };
    let Some(contender) = ALL.iter().find(|contender| contender.name == base) else {
        let known = ALL.map(|contender| contender.name).join(", ");
        return Err(format!("there is no contender {name}; there are {known}").into());
    };
    // Names live as long as the comparison.
    Ok(Contender { name: name.to_owned().leak(), burst, ..*contender })
}

impl Setup<'_> {
    /// The command that starts the contender. It dies with us, even when it is stopped.
    pub(crate) fn command(&self) -> Result<Command> {
        let inner = (self.contender.command)(self)?;
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL").arg("--").arg(inner.get_program()).args(inner.get_args());
        Ok(command)
    }

    /// A file of this contender's in the folder of the run.
    pub(crate) fn file(&self, suffix: &str) -> PathBuf {
        self.paths.run.join(format!("{}-{suffix}", self.contender.name.replace(' ', "-")))
    }

    /// The board of a port.
    pub(crate) fn board(&self, port: usize) -> PathBuf {
        self.file(&format!("board{port}"))
    }

    /// The devargs of a port.
    fn device(&self, port: usize) -> String {
        let flows: Vec<String> =
            self.table.flow_files(&self.paths.data).iter().map(|path| path.display().to_string()).collect();
        format!(
            "net_flood{port},flows={},index={port},board={},verify={}",
            flows.join(":"),
            self.board(port).display(),
            self.contender.verify
        )
    }

    /// EAL arguments, but for the cores.
    fn eal(&self) -> Vec<String> {
        let prefix = format!("peers-{}-{}", std::process::id(), self.contender.name.replace(' ', "-"));
        let mut arguments: Vec<String> =
            ["--in-memory", "--no-pci", "--no-telemetry", "--file-prefix"].map(String::from).into();
        arguments.push(prefix);
        arguments.extend(["-d".to_owned(), self.paths.device().display().to_string()]);
        for port in 0..PORTS {
            arguments.extend(["--vdev".to_owned(), self.device(port)]);
        }
        arguments
    }

    /// testpmd with one forwarding core, and as many mbufs as l3fwd makes.
    fn testpmd(&self, mode: &str) -> Command {
        let Cores { worker, control } = self.cores;
        let mut command = Command::new("dpdk-testpmd");
        command
            .arg("-l")
            .arg(format!("{control},{worker}"))
            .arg(format!("--main-lcore={control}"))
            .args(self.eal());
        command.arg("--").args(["--auto-start", "--nb-cores=1", "--total-num-mbufs=8192", "--mbcache=256"]);
        command.arg(format!("--forward-mode={mode}"));
        for port in 0..PORTS {
            command.arg(format!("--eth-peer={port},{}", peer_mac(port)));
        }
        command
    }

    /// l3fwd on the worker's core alone: its main core would spin for nothing.
    fn l3fwd(&self, lookup: &str) -> Command {
        let worker = self.cores.worker;
        let mut command = Command::new(self.paths.peers.join("build/l3fwd"));
        command.arg("-l").arg(worker.to_string()).args(self.eal()).args(["--", "-p", "3"]);
        command.arg(format!("--lookup={lookup}"));
        command.arg(format!("--config=(0,0,{worker}),(1,0,{worker})"));
        command.arg(format!("--rule_ipv4={}", self.table.l3fwd_rules(&self.paths.data).display()));
        command.arg(format!("--rule_ipv6={}", ipv6_rules(&self.paths.data).display()));
        for port in 0..PORTS {
            command.arg(format!("--eth-dest={port},{}", peer_mac(port)));
        }
        command
    }

    /// sluice as it would be configured for a user: two ports, an address and a gateway on each.
    fn sluice_config(&self) -> String {
        let (run, device) = (std::process::id(), self.paths.device());
        let isa = self.contender.isa().unwrap_or("auto");
        let (name, burst) = match self.contender.burst {
            Some(burst) => (format!("{isa}-{burst}"), format!("burst = {burst}\n")),
            None => (isa.to_owned(), String::new()),
        };
        let name = name.replace('.', "");
        let mut text = format!(
            r#"name = "peers-{run}-{name}"

[dpdk]
huge = "on"
eal_args = ["--in-memory", "--no-pci", "--no-telemetry", "-d", "{device}"]

[workers]
cores = [{core}]
poll = "busy"
isa = "{isa}"
{burst}
[routing]
routes_file = "{routes}"

[control]
socket = "{socket}"
"#,
            device = device.display(),
            core = self.cores.worker,
            routes = self.table.sluice_routes(&self.paths.data).display(),
            socket = self.file("socket").display(),
        );
        for (port, gateway) in GATEWAYS.iter().enumerate() {
            let [a, b, c, _] = gateway.octets();
            text += &format!(
                r#"
[[port]]
name = "p{port}"
device = "{device}"
addresses = ["{a}.{b}.{c}.1/24"]

[[neighbour]]
interface = "p{port}"
address = "{gateway}"
mac = "{mac}"
"#,
                device = self.device(port),
                mac = peer_mac(port),
            );
        }
        text
    }
}

/// The address of the station at the other end of a port's wire: net_flood's own choice.
fn peer_mac(port: usize) -> String {
    format!("02:f1:00:d0:01:{port:02x}")
}

fn testpmd_io(setup: &Setup<'_>) -> Result<Command> {
    Ok(setup.testpmd("io"))
}

fn testpmd_macswap(setup: &Setup<'_>) -> Result<Command> {
    Ok(setup.testpmd("macswap"))
}

fn testpmd_mac(setup: &Setup<'_>) -> Result<Command> {
    Ok(setup.testpmd("mac"))
}

fn l3fwd_lpm(setup: &Setup<'_>) -> Result<Command> {
    Ok(setup.l3fwd("lpm"))
}

fn l3fwd_fib(setup: &Setup<'_>) -> Result<Command> {
    Ok(setup.l3fwd("fib"))
}

fn sluice(setup: &Setup<'_>) -> Result<Command> {
    let file = setup.file("config.toml");
    std::fs::write(&file, setup.sluice_config()).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new(&setup.paths.sluice);
    command.arg("run").arg("-c").arg(file);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::TABLES;

    #[test]
    fn sluice_takes_its_configuration() {
        let paths = Paths::new(Path::new("sluice"));
        let contender = named("sluice portable burst 64").unwrap();
        let setup = Setup {
            contender: &contender,
            table: &TABLES[0],
            cores: Cores { worker: 1, control: 0 },
            paths: &paths,
        };
        let text = setup.sluice_config();
        let machine = config::Machine { cores: 2 };
        let config = config::Config::from_str("peers.toml", &text, &machine).unwrap();
        assert_eq!(config.ports.len(), PORTS);
        assert_eq!(config.neighbours.len(), PORTS);
        assert_eq!(config.workers.cores, [1]);
        assert_eq!(config.workers.burst, 64);
        assert_eq!(config.workers.isa.name(), "portable");
        assert_eq!(config.routes_file, Some(TABLES[0].sluice_routes(&paths.data)));
        assert!(
            config.ports[1].device.starts_with("net_flood1,flows=")
                && config.ports[1].device.contains("verify=route")
        );
    }
}

//! From the configuration to DPDK, ports and workers with their programs, and back.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use config::{Caps, Config, Huge, Plan};
use engine::app::{App, Services};
use engine::net::{Executor, Net};
use engine::run::{EngineError, MakePrograms, Report, Setup};
use l2l3::fib::{Storage, layout};
use l2l3::forward::Isa;
use pmd::{Eal, EalConfig, HugeTable, Mbuf, Port, TscClock};
use tokio::signal::unix::{SignalKind, signal};
use wire::RssKey;

use crate::device::{Dpdk, DpdkEnv};
use crate::ports::Ports;
use crate::{check, ports, show};

/// What stops a start: one sentence.
pub(crate) type Error = Box<dyn std::error::Error>;

/// Runs the router that `file` describes.
pub(crate) fn run_file(file: &Path) -> ExitCode {
    match check::load(file) {
        Ok(config) => run(config),
        Err(code) => code,
    }
}

/// Runs what a configuration describes, and its services, until SIGINT or SIGTERM. Prints what an operator
/// wants to know.
pub fn run(config: Config) -> ExitCode {
    finish(start(config, Arc::new(|_| Vec::new()), signalled))
}

/// As [`run`], with programs of one's own beside the services: what `programs` makes for each worker.
pub fn run_with(
    config: Config,
    programs: impl Fn(&Worker<'_>) -> Vec<Box<dyn App<Mbuf>>> + Send + Sync + 'static,
) -> ExitCode {
    finish(run_until(config, programs, signalled))
}

/// As [`run_with`], with one's own idea of when it is to stop ([`engine::run::run`]), and of what is printed then.
pub(crate) fn run_until<S: AsyncFnMut()>(
    mut config: Config,
    programs: impl Fn(&Worker<'_>) -> Vec<Box<dyn App<Mbuf>>> + Send + Sync + 'static,
    stop: impl FnOnce() -> S,
) -> Result<Report, Error> {
    config.own_programs = true;
    let of = config.clone();
    start(config, Arc::new(move |index| programs(&Worker { index, config: &of })), stop)
}

/// A worker whose programs are made: called on its thread, once it is pinned to its core. They stay there, so that
/// they need not be `Send`, and what they allocate lies near.
pub struct Worker<'a> {
    /// Its number, from 0.
    pub index: usize,
    /// What all have in common.
    pub config: &'a Config,
}

impl Worker<'_> {
    /// A program of tasks, the first of which is what `main` gives.
    pub fn tasks<M>(&self, main: impl FnOnce(Net<Mbuf>) -> M + 'static) -> Box<dyn App<Mbuf>>
    where
        M: Future<Output = io::Result<()>> + 'static,
    {
        Box::new(Executor::new(self.config.limits.tasks as usize, main))
    }
}

fn start<S: AsyncFnMut()>(
    config: Config,
    programs: MakePrograms<Dpdk>,
    stop: impl FnOnce() -> S,
) -> Result<Report, Error> {
    refuse_twin(&config)?;
    let isa = straight_path(&config)?;
    let contents = Services::measure(&config.services)?;
    let eal = Eal::init(&eal_config(&config, contents))?;
    for warning in eal.warnings() {
        eprintln!("sluice: warning: {warning}");
    }
    let ports = ports::open(&eal, &config)?;
    let caps = ports.iter().map(caps).collect::<Result<Vec<_>, _>>()?;
    let plan = Plan::new(&config, |port| caps[port])?.with_contents(contents);
    print!("{plan}");
    let mut opener = Ports::new(&eal, config.clone(), plan, ports)?;
    let (ports, workers) = opener.start()?;
    let storage = route_memory(&eal, &config);
    let (name, socket) = (config.name.clone(), config.control.socket.clone());
    let setup = Setup::<Dpdk> {
        config,
        ports,
        workers,
        opener: Box::new(opener),
        storage,
        env: DpdkEnv { eal, clock: TscClock::start() },
        rss_key: RssKey::SYMMETRIC,
        seed: seed(),
        secret: secret()?,
        isa,
        programs,
    };
    let listen = || {
        engine::control::server::bind(&socket)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", socket.display())))
    };
    let ready = || println!("{name} runs: straight path {}, control socket {}", isa.name(), socket.display());
    Ok(engine::run::run(setup, listen, stop, ready, |line| eprintln!("sluice: {line}"))?)
}

/// The instructions that the configuration asks for, or that are the fastest here.
fn straight_path(config: &Config) -> Result<Isa, Error> {
    let wanted = config.workers.isa;
    if wanted == config::Isa::Auto {
        return Ok(Isa::detect());
    }
    Isa::named(wanted.name()).ok_or_else(|| {
        let names: Vec<&str> = Isa::available().map(Isa::name).collect();
        format!("isa = \"{}\": this machine has not got it, but {}", wanted.name(), names.join(", ")).into()
    })
}

/// Fails if a router runs already where this one would: before it touches a device of the other's.
fn refuse_twin(config: &Config) -> Result<(), Error> {
    let socket = &config.control.socket;
    if UnixStream::connect(socket).is_err() {
        return Ok(());
    }
    let name = &config.name;
    Err(format!(
        "{}: another router answers there; stop it, or give one of the two another name than `{name}`",
        socket.display()
    )
    .into())
}

/// Takes SIGINT and SIGTERM over. What it gives is ready each time that one of them has come. Needs a tokio
/// runtime.
pub(crate) fn signalled() -> impl AsyncFnMut() {
    let mut handlers = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move || {
        let (Ok(interrupt), Ok(terminate)) = &mut handlers else {
            // Without handlers both signals end the process at once, which stops it too.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

fn eal_config(config: &Config, contents: u64) -> EalConfig {
    let mut eal = EalConfig {
        program: "sluice".into(),
        file_prefix: Some(config.dpdk.file_prefix.clone()),
        main_core: None,
        huge: match config.dpdk.huge {
            Huge::Auto => pmd::Huge::Auto,
            Huge::On => pmd::Huge::Always,
            Huge::Off => pmd::Huge::Never,
        },
        memory_mb: config.dpdk.memory_mb.or_else(|| memory_mb(config, contents)),
        extra_args: config.dpdk.eal_args.clone(),
        ..EalConfig::default()
    };
    if !sets_log_level(config) {
        eal.extra_args.extend(QUIET.map(str::to_owned));
    }
    for port in &config.ports {
        eal.add_device(&port.device);
    }
    // They are made when their ports are opened: then an error has the port's name.
    eal.vdevs.clear();
    eal
}

/// What the configuration needs at most, if devices have all the queues it can use: huge pages are chosen
/// only where there are as many.
fn memory_mb(config: &Config, contents: u64) -> Option<u32> {
    /// For DPDK's own tables, and what drivers keep.
    const SPARE_MB: u64 = 64;
    let memory = Plan::new(config, |_| Caps::UNLIMITED).ok()?.memory;
    let bytes = memory.mbuf_pool + memory.route_level1 + memory.route_level2 + contents;
    u32::try_from((bytes >> 20) + SPARE_MB).ok()
}

/// What DPDK may print unless the configuration says otherwise: errors, but not those of the TAP driver,
/// which calls it an error that the kernel has no multiqueue discipline and that DPDK runs alone.
pub(crate) const QUIET: [&str; 2] = ["--log-level=error", "--log-level=pmd.net.tap:critical"];

pub(crate) fn sets_log_level(config: &Config) -> bool {
    config.dpdk.eal_args.iter().any(|arg| arg.starts_with("--log-level"))
}

fn caps(port: &Port) -> Result<Caps, pmd::Error> {
    let device = port.capabilities()?;
    Ok(Caps { rx_queues: device.max_rx_queues, tx_queues: device.max_tx_queues })
}

/// Memory for the route table in huge pages; without them the heap serves.
fn route_memory(eal: &Eal, config: &Config) -> Option<(Storage, Storage)> {
    let level1 = HugeTable::new(eal, layout::LEVEL1_LEN, None).ok()?;
    let level2 = HugeTable::new(eal, config.limits.route_groups() * layout::GROUP_LEN, None).ok()?;
    Some((Box::new(level1), Box::new(level2)))
}

/// Something that must not be guessed, from the operating system.
fn secret() -> io::Result<[u8; 16]> {
    use std::io::Read;
    let mut secret = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
    Ok(secret)
}

/// Something that others cannot guess.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Prints how it all ended.
fn finish(ended: Result<Report, Error>) -> ExitCode {
    let report = match ended {
        Ok(report) => report,
        Err(error) => return crate::fail(error),
    };
    println!("\n{}\n", show::ports(&report.ports));
    println!("{}\n", show::drops(&report.drops, false));
    println!("{}\n", show::workers(&report.workers));
    println!("books: {}", report.books);
    match verdict(&report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(error),
    }
}

/// Whether it ended as it should.
pub(crate) fn verdict(report: &Report) -> Result<(), EngineError> {
    match &report.error {
        Some(error) => Err(error.clone()),
        None if !report.books.balance() => Err(EngineError::System("the books do not balance".into())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_a_name_for_each_straight_path() {
        let with = |isa: &str| {
            let text = format!(
                "[workers]\ncores = [0]\nisa = \"{isa}\"\n\n[[port]]\nname = \"a\"\ndevice = \"net_null0\"\naddresses = [\"10.0.0.1/24\"]\n"
            );
            Config::from_str("test.toml", &text, &config::Machine { cores: 1 })
        };
        for isa in Isa::available() {
            assert_eq!(straight_path(&with(isa.name()).unwrap()).unwrap(), isa);
        }
        assert_eq!(straight_path(&with("auto").unwrap()).unwrap(), Isa::detect());
        assert!(with("mmx").is_err());
    }
}

//! From a configuration and open queues to running workers, and back to silence.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use config::{Config, Poll};
use l2l3::fib::Storage;
use l2l3::forward::Isa;
use l2l3::hold::HoldLimits;
use l2l3::reassembly;
use l2l3::router::{Books, Bounds, Router, Steering};
use tokio::net::UnixListener;
use wire::{Instant, RssKey};

use crate::api::{DropReport, PortReport, WorkerReport};
use crate::app::{Services, StartError};
use crate::control::server::{End, serve};
use crate::control::{Control, PortInfo, SetupError, WorkerInfo};
use crate::device::{Device, Env, Opener};
use crate::host::{Programs, Settings};
use crate::link::{Ends, Exchange, Wake, control_link, exchange, mesh};
use crate::worker::{Apps, Worker, WorkerIo};

/// Everything that is open and ready when the engine starts.
pub struct Setup<D: Device> {
    /// The validated configuration.
    pub config: Config,
    /// In the order of [`Config::ports`].
    pub ports: Vec<PortInfo>,
    /// In the order of [`config::Workers::cores`].
    pub workers: Vec<WorkerIo<D>>,
    /// For ports that are removed, added or reset while it runs.
    pub opener: Box<dyn Opener<D>>,
    /// Memory for the route table; `None` is the heap.
    pub storage: Option<(Storage, Storage)>,
    /// The clock, and what threads need.
    pub env: D::Env,
    /// The devices' RSS key.
    pub rss_key: RssKey,
    /// For what must not be guessed: flow hashes, the times of probes.
    pub seed: u64,
    /// For what an attacker would give something to know: TCP's sequence numbers and SYN cookies.
    pub secret: [u8; 16],
    /// The straight path's instruction set.
    pub isa: Isa,
    /// Makes the programs of a worker, given its number, beside those of the configuration's services. Called on
    /// the worker's thread, once it is pinned to its core.
    pub programs: MakePrograms<D>,
}

/// What makes a worker's programs.
pub type MakePrograms<D> = Arc<dyn Fn(usize) -> Apps<D> + Send + Sync>;

/// Why the engine did not start, or ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EngineError {
    /// The tables could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A worker's thread could not be started or prepared.
    #[error("worker {worker} on core {core}: {why}")]
    Worker {
        /// Its index.
        worker: usize,
        /// Its core.
        core: u16,
        /// One clause.
        why: String,
    },
    /// A service could not start.
    #[error("{0}")]
    Service(#[from] StartError),
    /// The operating system refused something.
    #[error("{0}")]
    System(String),
    /// A port's device vanished while running.
    #[error("the device of port `{0}` is gone; all other ports were stopped in order")]
    PortRemoved(String),
}

/// How it all ended.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// All workers' books together.
    pub books: Books,
    /// The ports.
    pub ports: Vec<PortReport>,
    /// The drops.
    pub drops: Vec<DropReport>,
    /// The workers.
    pub workers: Vec<WorkerReport>,
    /// What ended it, if it was not asked to.
    pub error: Option<EngineError>,
}

/// Runs workers and control plane until they are asked to stop, and have finished what they had begun or are
/// asked again. `listener` and `signals` are called in a tokio runtime, before anything else; what `signals`
/// gives is ready each time that it is asked to stop, and must be cancel safe. `log` gets what an operator should read;
/// `ready` is called once the workers run.
///
/// # Errors
/// When it could not start. What went wrong later is in the report.
pub fn run<D: Device, S: AsyncFnMut()>(
    setup: Setup<D>,
    listener: impl FnOnce() -> std::io::Result<UnixListener>,
    signals: impl FnOnce() -> S,
    ready: impl FnOnce(),
    log: impl FnMut(&str),
) -> Result<Report, EngineError> {
    let system = |error: std::io::Error| EngineError::System(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
    let local = tokio::task::LocalSet::new();
    let _inside = runtime.enter();
    let listener = listener().map_err(system)?;
    let signals = signals();

    let Setup { config, ports, workers: io, opener, storage, env, rss_key, seed, secret, isa, programs } =
        setup;
    let (cores, poll) = (config.workers.cores.clone(), config.workers.poll);
    let wake = Arc::<Wake>::default();
    let mut control = Control::new(config, ports, storage, env.now(), seed)?;
    let services = Services::load(&control.config().services, io.len(), &env)?;
    control.watch_http(services.http());
    let programs: MakePrograms<D> = Arc::new(move |worker| {
        let mut apps = services.programs(worker);
        apps.extend(programs(worker));
        apps
    });
    let common = Common { wake: wake.clone(), rss_key, seed, secret, isa, now: env.now() };
    let Crew { workers, infos, queues } = crew::<D>(&control, io, &common);

    let halt = Arc::<AtomicBool>::default();
    let threads = start(workers, &cores, poll, &env, &programs, &halt)?;
    control.attach(env.now(), infos, queues, opener);
    ready();
    let control = Rc::new(RefCell::new(control));
    let end = local.block_on(&runtime, serve(&control, env.clone(), wake, listener, signals, log));
    halt.store(true, Ordering::Release);
    let mut error = match end {
        End::Stopped => None,
        End::PortRemoved(name) => Some(EngineError::PortRemoved(name)),
    };
    // The workers come back, and with them the frames they hold, before the ports close.
    let mut stopped = Vec::new();
    for (worker, thread) in threads.into_iter().enumerate() {
        match thread.join() {
            Ok(back) => stopped.push(back),
            Err(_) => {
                error = Some(EngineError::Worker { worker, core: cores[worker], why: "it panicked".into() });
            }
        }
    }
    empty_rings(&mut stopped, env.now());
    let control = control.borrow();
    Ok(Report {
        books: control.books(),
        ports: control.port_reports(),
        drops: control.drop_reports(),
        workers: control.worker_reports(),
        error,
    })
}

/// What all workers of a process have in common.
pub struct Common {
    /// Wakes the control thread.
    pub wake: Arc<Wake>,
    /// As in [`Setup`].
    pub rss_key: RssKey,
    /// As in [`Setup`].
    pub seed: u64,
    /// As in [`Setup`].
    pub secret: [u8; 16],
    /// As in [`Setup`].
    pub isa: Isa,
    /// The time now.
    pub now: Instant,
}

/// Workers without threads yet, and what [`Control::attach`] takes of each.
pub struct Crew<D: Device> {
    /// In the order of [`config::Workers::cores`].
    pub workers: Vec<Worker<D>>,
    /// What the control plane knows of them.
    pub infos: Vec<WorkerInfo>,
    /// Where their queues come and go.
    pub queues: Vec<Exchange<D>>,
}

/// The workers of a configuration. `io` is in the order of [`config::Workers::cores`].
pub fn crew<D: Device>(control: &Control, io: Vec<WorkerIo<D>>, common: &Common) -> Crew<D> {
    let (config, count) = (control.config(), io.len());
    let bounds = bounds(config);
    let meshes = mesh(count, config.limits.ring_packets as usize);
    let steering = Steering::new(0, count as u16, &common.rss_key);
    let macs: Vec<_> = control.port_macs().collect();
    let mut crew = Crew { workers: Vec::new(), infos: Vec::new(), queues: Vec::new() };
    for ((at, io), mesh) in io.into_iter().enumerate().zip(meshes) {
        let steering = Steering { me: at as u16, ..steering.clone() };
        let interfaces = control.interfaces().clone();
        let settings = Settings::new(config, &interfaces, &steering, common);
        let adjacencies = control.adjacency_table();
        let mut router = Router::new(interfaces, &macs, adjacencies, steering, &bounds, common.seed);
        router.set_isa(common.isa);
        let (link, end) = control_link(&common.wake);
        let (down, up) = exchange(io.rx.len() + io.tx.len());
        let ends = Ends { control: end, queues: up, mesh };
        let worker = Worker::new(io, router, control.fib(), ends, &bounds, settings);
        crew.infos.push(WorkerInfo {
            core: config.workers.cores[at],
            isa: common.isa.name(),
            link,
            counters: worker.counters().clone(),
            host: worker.host_counters().clone(),
            loops: worker.loop_counters().clone(),
            cycles: worker.cycle_counters().clone(),
        });
        crew.workers.push(worker);
        crew.queues.push(down);
    }
    crew
}

/// The router's bounds, as the configuration has them.
fn bounds(config: &Config) -> Bounds {
    let limits = &config.limits;
    Bounds {
        burst: usize::from(config.workers.burst),
        hold: HoldLimits {
            per_neighbour: limits.hold_per_neighbour,
            total: limits.hold_packets,
            ..HoldLimits::default()
        },
        reassembly: reassembly::Limits {
            datagrams: limits.reassembly_datagrams as usize,
            // Each holds an mbuf: as many as the bytes allow of full Ethernet frames, and some.
            fragments: limits.reassembly_fragments(),
            bytes: limits.reassembly_bytes as usize,
            timeout: Duration::from_secs(30),
        },
        icmp_rate: limits.icmp_errors_per_second,
        icmp_burst: limits.icmp_errors_burst,
    }
}

type Thread<D> = std::thread::JoinHandle<Worker<D>>;

fn start<D: Device>(
    workers: Vec<Worker<D>>,
    cores: &[u16],
    poll: Poll,
    env: &D::Env,
    programs: &MakePrograms<D>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Thread<D>>, EngineError> {
    let (told, heard) = std::sync::mpsc::channel();
    let mut threads = Vec::new();
    let mut failed = None;
    for (at, (mut worker, &core)) in workers.into_iter().zip(cores).enumerate() {
        let (env, programs, stop, told) = (env.clone(), programs.clone(), stop.clone(), told.clone());
        let thread = std::thread::Builder::new().name(format!("worker-{at}")).spawn(move || {
            let entered = enter::<D>(&env, core).map_err(|why| EngineError::Worker { worker: at, core, why });
            let ready = entered.and_then(|guard| Ok((guard, worker.start(programs(at), env.now())?)));
            // Whoever listens has given up already if it does not hear this.
            let _heard = told.send(ready.as_ref().err().cloned());
            drop(told);
            if let Ok((_guard, mut programs)) = ready {
                poll_until_stop(&mut worker, &mut programs, poll, &env, &stop);
            }
            worker
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => failed = Some(EngineError::System(format!("no thread for a worker: {error}"))),
        }
    }
    drop(told);
    match failed.or_else(|| heard.iter().flatten().next()) {
        None => Ok(threads),
        Some(error) => {
            stop.store(true, Ordering::Release);
            threads.into_iter().for_each(|thread| drop(thread.join()));
            Err(error)
        }
    }
}

/// Pins the calling thread and makes it the device's.
fn enter<D: Device>(env: &D::Env, core: u16) -> Result<<D::Env as Env>::ThreadGuard, String> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: usize::from(core) }) {
        return Err(
            "the thread cannot be pinned there; is the core online and allowed (taskset, cpuset)?".into()
        );
    }
    env.enter_thread()
}

fn poll_until_stop<D: Device>(
    worker: &mut Worker<D>,
    programs: &mut Programs<D::Frame>,
    poll: Poll,
    env: &D::Env,
    stop: &AtomicBool,
) {
    let mut rest = Rest::new(poll);
    let mut now = env.now();
    while !stop.load(Ordering::Relaxed) {
        let busy = worker.poll_once(programs, now);
        let then = env.now();
        worker.account(busy, then.since(now).as_nanos() as u64);
        now = if rest.after(busy, || worker.idle_for(programs, then)) { env.now() } else { then };
    }
}

/// Brings what stopped workers had handed over to each other to where it was going.
fn empty_rings<D: Device>(workers: &mut [Worker<D>], now: Instant) {
    // Ends: a frame is handed over twice at most, to its flow's owner and to its port's.
    while workers.iter_mut().fold(false, |busy, worker| worker.drain(now) | busy) {}
}

/// What a worker does between loops: nothing, or it sleeps, the longer the longer it found nothing to do.
struct Rest {
    adaptive: bool,
    idle: u32,
}

impl Rest {
    /// Empty loops before the first sleep.
    const PATIENCE: u32 = 256;
    const SHORTEST: Duration = Duration::from_micros(20);
    const LONGEST: Duration = Duration::from_micros(1000);

    fn new(poll: Poll) -> Self {
        Rest { adaptive: poll == Poll::Adaptive, idle: 0 }
    }

    /// Gives whether it slept: not past what is due, of which `idle_for` says how long it is until then.
    #[inline]
    fn after(&mut self, busy: bool, idle_for: impl FnOnce() -> Option<Duration>) -> bool {
        if !self.adaptive {
            return false;
        }
        self.idle = if busy { 0 } else { self.idle.saturating_add(1) };
        if self.idle <= Self::PATIENCE {
            return false;
        }
        let sleeps = (self.idle - Self::PATIENCE).min(16);
        let wanted = (Self::SHORTEST * sleeps * sleeps).min(Self::LONGEST);
        std::thread::sleep(idle_for().map_or(wanted, |due| wanted.min(due)));
        true
    }
}

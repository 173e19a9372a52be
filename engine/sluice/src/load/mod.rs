//! `sluice load`: requests to a server over TCP of our own, and how long the answers took.

mod args;
mod lookup;
mod measures;
mod progress;
mod say;
mod url;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use config::{Caps, Config, Plan};
use engine::app::load::{Failure, Intervals, Workload};
use engine::run::Report;
use pmd::{Eal, Mbuf};
use report::{Device, Document, Environment, Given, Kind, Snapshot};
use wire::DropReason;

use crate::App;
use crate::run::{self, Worker};
pub(crate) use args::Load;
use lookup::Lookup;
use progress::{Progress, Result as Outcome};

/// What stops a load: one sentence.
type Error = Box<dyn std::error::Error>;

/// How often the workers' counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The part of the requests that may find no connection in time without a rate being one that cannot be made.
const NOT_STARTED: f64 = 0.01;
/// The part of the requests that may fail in a good load.
const FAILED: f64 = 0.01;
/// The part of the connections that are open, or being opened again, at the end of a good load.
const OPEN: f64 = 0.99;

/// Runs a load, and shows what came of it.
pub(crate) fn run(load: &Load) -> ExitCode {
    let config = match load.place.configure("load", &load.limits()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match measure(load, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(error),
    }
}

fn measure(load: &Load, config: Config) -> Result<(), Error> {
    let requests = load.requests()?;
    let workload = load.workload(&requests, &config)?;
    let lookup = lookup::lookup(load.server()?, &load.dns, &config, &workload.target)?;
    check_memory(&config, load.connections)?;
    let cores = config.workers.cores.clone();
    let before = Snapshot::take("/");
    let document = Document::new(Kind::Load, concat!("sluice ", env!("CARGO_PKG_VERSION")));
    let (progress, report) = drive(config, &workload, lookup.clone())?;
    let progress = progress.borrow();
    let result = &progress.result;
    run::verdict(&report)?;
    if let Some(why) = lookup.as_ref().and_then(|lookup| lookup.failed.get()) {
        return Err(why.clone().into());
    }
    if result.all.completed == 0 {
        return Err(nothing_came(load, &report, result)?.into());
    }

    let parameters = load.parameters(&workload);
    let what: Vec<&str> = parameters.iter().take(3).map(|(_, value)| &**value).collect();
    say::result(&what.join("; "), result);
    if requests.len() > 1 {
        say::requests(&requests, &result.entries);
    }
    let complaint = complaint(load, result);
    if let Some(file) = &load.json {
        let document =
            parameters.into_iter().fold(document, |document, (name, value)| document.parameter(name, value));
        let document = measures::with_requests(document, &requests);
        let document = measures::with_run(document, load.before()?.as_secs_f64(), result)
            .concluded(complaint.is_none(), complaint.clone())
            .on(Environment::judge(&before, &Snapshot::take("/"), &given(&report, &cores)));
        std::fs::write(file, document.json()?).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    complaint.map_or(Ok(()), |complaint| Err(complaint.into()))
}

/// Runs the load to its end, or until SIGINT or SIGTERM.
fn drive(
    config: Config,
    workload: &Workload,
    lookup: Option<Lookup>,
) -> Result<(Rc<RefCell<Progress>>, Report), Error> {
    let workers = config.workers.cores.len();
    let requests = workload.mix.count();
    let (recorders, intervals): (Vec<_>, Vec<_>) = (0..workers).map(|_| Intervals::new(requests)).unzip();
    // Each worker takes its own, once.
    let recorders = Mutex::new(recorders.into_iter().map(Some).collect::<Vec<_>>());
    let progress = Rc::new(RefCell::new(Progress::new(intervals, requests)));
    let (workload, looked_up, seed) = (workload.clone(), lookup.clone(), run::seed());
    let programs = move |worker: &Worker<'_>| {
        let recorder = recorders.lock().unwrap_or_else(PoisonError::into_inner)[worker.index].take();
        let load = recorder.map(|recorder| -> Box<dyn App<Mbuf>> {
            let (index, count) = (worker.index as u32, workers as u32);
            Box::new(engine::app::load::Load::new(workload.clone(), index, count, recorder))
        });
        let lookup = looked_up.clone().filter(|_| worker.index == 0);
        let lookup = lookup.map(|lookup| worker.tasks(move |net| lookup.run(net, seed)));
        load.into_iter().chain(lookup).collect()
    };
    let looker = progress.clone();
    let report = run::run_until(config, programs, || until_over(looker, lookup))?;
    progress.borrow_mut().look();
    Ok((progress, report))
}

/// Shows how the load goes on. What it gives is ready once the load is over or cannot begin, and each time that SIGINT
/// or SIGTERM comes. Needs a tokio runtime.
fn until_over(progress: Rc<RefCell<Progress>>, lookup: Option<Lookup>) -> impl AsyncFnMut() {
    let mut signalled = run::signalled();
    let mut next = tokio::time::Instant::now();
    let mut is_over = false;
    async move || {
        loop {
            tokio::select! {
                () = signalled() => return,
                // It may be asked anew at any time: what is due stays due.
                () = tokio::time::sleep_until(next) => next = tokio::time::Instant::now() + LOOK_EVERY,
            }
            let has_failed = lookup.as_ref().is_some_and(|lookup| lookup.failed.get().is_some());
            let ends = progress.borrow_mut().look() || has_failed;
            if ends && !std::mem::replace(&mut is_over, true) {
                return;
            }
        }
    }
}

/// Refuses more connections than there is memory for: the kernel would end us in the middle.
fn check_memory(config: &Config, connections: u32) -> Result<(), Error> {
    /// What the load keeps of a connection, beside TCP.
    const SLOT: u64 = 256;
    const MIB: u64 = 1 << 20;
    let needed = Plan::new(config, |_| Caps::UNLIMITED)?.memory.sockets + u64::from(connections) * SLOT;
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available(&meminfo).filter(|available| *available < needed) {
        None => Ok(()),
        Some(available) => Err(format!(
            "{connections} connections need {} MiB, and {} MiB are available",
            needed.div_ceil(MIB),
            available / MIB
        )
        .into()),
    }
}

/// Bytes that a `meminfo` says are available.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Why there is nothing to show.
fn nothing_came(load: &Load, report: &Report, result: &Outcome) -> Result<String, Error> {
    let (target, counts) = (load.server()?, &result.ever);
    let unanswered = DropReason::NeighbourUnreachable.name();
    let arp_failed = report.drops.iter().any(|drop| drop.reason == unanswered && drop.count > 0);
    let failed = say::failures(counts);
    Ok(if counts.connects > 0 {
        let opened = counts.connects;
        format!("{target}: {opened} connections were opened, but no answer came (failed: {failed})")
    } else if counts.failed(Failure::Refused) > 0 {
        format!("{target} refuses connections: nobody listens there")
    } else if arp_failed {
        format!("{target}: nobody answers ARP for it, or for the gateway to it; is the address right?")
    } else {
        format!("{target}: no connection could be opened (failed: {failed})")
    })
}

/// What is wrong with a load that was answered.
fn complaint(load: &Load, result: &Outcome) -> Option<String> {
    let counts = &result.all;
    let meant = counts.started + counts.not_started;
    if counts.wrong_bodies > 0 {
        return Some(format!(
            "{} of {} answers had another content than they should have",
            counts.wrong_bodies, counts.completed
        ));
    }
    if counts.not_started as f64 > NOT_STARTED * meant as f64 {
        return Some(format!(
            "the rate could not be made: {} of {meant} requests found no free connection until the end",
            counts.not_started
        ));
    }
    if counts.all_failed() as f64 > FAILED * meant as f64 {
        let (failed, kinds) = (counts.all_failed(), say::failures(counts));
        return Some(format!("{failed} of {meant} requests failed: {kinds}"));
    }
    // Unless it was stopped before its time.
    let is_whole = result.seconds() >= 0.9 * load.duration.0.as_secs_f64();
    let few = f64::from(result.open()) < OPEN * f64::from(load.connections);
    (is_whole && few && !load.close)
        .then(|| format!("only {} of {} connections could be kept open", result.open(), load.connections))
}

fn given(report: &Report, cores: &[u16]) -> Given {
    let device = |port: &engine::api::PortReport| Device {
        name: port.device.split(',').next().unwrap_or_default().to_owned(),
        driver: port.status.driver.clone(),
    };
    Given {
        dpdk: Some(Eal::version()),
        devices: report.ports.iter().map(device).collect(),
        ..Given::new(cores.iter().map(|core| u32::from(*core)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_available() {
        let text = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:    2000 kB\n";
        assert_eq!(available(text), Some(2_048_000));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}

//! `sluice load`: requests to a server over TCP of our own, and how long the answers took.

mod args;
mod measures;
mod progress;
mod say;
mod url;

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use config::Config;
use engine::app::load::{Failure, Intervals, Workload};
use engine::run::Report;
use pmd::{Eal, Mbuf};
use report::{Device, Document, Environment, Given, Kind, Snapshot};
use wire::DropReason;

use crate::App;
use crate::run::{self, Worker};
pub(crate) use args::Load;
use progress::{Progress, Result as Outcome};

/// What stops a load: one sentence.
type Error = Box<dyn std::error::Error>;

/// How often the workers' counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The part of the requests that may find no connection in time without a rate being one that cannot be made.
const NOT_STARTED: f64 = 0.01;

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
    let workload = load.workload()?;
    check_route(&config, &workload)?;
    let cores = config.workers.cores.clone();
    let before = Snapshot::take("/");
    let document = Document::new(Kind::Load, concat!("sluice ", env!("CARGO_PKG_VERSION")));
    let (progress, report) = drive(config, &workload)?;
    let progress = progress.borrow();
    let result = &progress.result;
    run::verdict(&report)?;
    if result.all.completed == 0 {
        return Err(nothing_came(&workload, &report, result).into());
    }

    let parameters = load.parameters();
    let what: Vec<&str> = parameters.iter().take(3).map(|(_, value)| &**value).collect();
    say::result(&what.join("; "), result);
    let complaint = complaint(result);
    if let Some(file) = &load.json {
        let document =
            parameters.into_iter().fold(document, |document, (name, value)| document.parameter(name, value));
        let document = measures::with_run(document, load.warmup.0.as_secs_f64(), result)
            .concluded(complaint.is_none(), complaint.clone())
            .on(Environment::judge(&before, &Snapshot::take("/"), &given(&report, &cores)));
        std::fs::write(file, document.json()?).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    complaint.map_or(Ok(()), |complaint| Err(complaint.into()))
}

/// Runs the load to its end, or until SIGINT or SIGTERM.
fn drive(config: Config, workload: &Workload) -> Result<(Rc<RefCell<Progress>>, Report), Error> {
    let workers = config.workers.cores.len();
    let (recorders, intervals): (Vec<_>, Vec<_>) = (0..workers).map(|_| Intervals::new()).unzip();
    // Each worker takes its own, once.
    let recorders = Mutex::new(recorders.into_iter().map(Some).collect::<Vec<_>>());
    let progress = Rc::new(RefCell::new(Progress::new(intervals)));
    let workload = workload.clone();
    let programs = move |worker: &Worker<'_>| {
        let recorder = recorders.lock().unwrap_or_else(PoisonError::into_inner)[worker.index].take();
        let load = recorder.map(|recorder| -> Box<dyn App<Mbuf>> {
            let (index, count) = (worker.index as u32, workers as u32);
            Box::new(engine::app::load::Load::new(workload.clone(), index, count, recorder))
        });
        load.into_iter().collect()
    };
    let looker = progress.clone();
    let report = run::run_until(config, programs, || until_over(looker))?;
    progress.borrow_mut().look();
    Ok((progress, report))
}

/// Shows how the load goes on. What it gives is ready once the load is over, and each time that SIGINT or SIGTERM
/// comes. Needs a tokio runtime.
fn until_over(progress: Rc<RefCell<Progress>>) -> impl AsyncFnMut() {
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
            if progress.borrow_mut().look() && !std::mem::replace(&mut is_over, true) {
                return;
            }
        }
    }
}

fn check_route(config: &Config, workload: &Workload) -> Result<(), Error> {
    let to = *workload.target.ip();
    let is_near =
        config.interfaces.iter().flat_map(|interface| &interface.addresses).any(|own| own.net.contains(to));
    if is_near || !config.routes.entries.is_empty() {
        return Ok(());
    }
    Err(format!("no route to {to}: it is in no network of --address, and there is no --gateway").into())
}

/// Why there is nothing to show.
fn nothing_came(workload: &Workload, report: &Report, result: &Outcome) -> String {
    let (target, counts) = (workload.target, &result.ever);
    let unanswered = DropReason::NeighbourUnreachable.name();
    let arp_failed = report.drops.iter().any(|drop| drop.reason == unanswered && drop.count > 0);
    let failed = say::failures(counts);
    if counts.connects > 0 {
        return format!(
            "{target}: {} connections were opened, but no answer came (failed: {failed})",
            counts.connects
        );
    }
    if counts.failed(Failure::Refused) > 0 {
        return format!("{target} refuses connections: nobody listens there");
    }
    if arp_failed {
        return format!(
            "{target}: nobody answers ARP for it, or for the gateway to it; is the address right?"
        );
    }
    format!("{target}: no connection could be opened (failed: {failed})")
}

/// What is wrong with a load that was answered.
fn complaint(result: &Outcome) -> Option<String> {
    let counts = &result.all;
    let meant = counts.started + counts.not_started;
    let late = counts.not_started as f64 > NOT_STARTED * meant as f64;
    late.then(|| {
        format!(
            "the rate could not be made: {} of {meant} requests found no free connection until the end",
            counts.not_started
        )
    })
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

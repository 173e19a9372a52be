//! `sluice bench forward`: from the command line to a result.

use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use generator::result::{
    Distribution, GoalResult, Outcome, Report, Rfc2544Result, SCHEMA, SearchResult, SoakResult, TrialResult,
};
use generator::schedule::Load;
use generator::search::goal::Goal;
use generator::search::mlr::MlrSearch;
use generator::search::rfc2544::{Rfc2544, Settings};
use generator::search::soak::Soak;
use generator::search::{Observation, Procedure};
use generator::size::{RFC2544_SIZES, Sizes};

use super::Error;
use super::args::Forward;
use super::say;
use super::session::Session;
use super::units::Rate;

/// The highest rate of a search where there is no line.
const NO_LINE_PPS: f64 = 100e6;
/// The lowest rate that a search tries, relative to the highest.
const LOWEST: f64 = 1e-5;
/// The part of the frames that may stay behind without a rate being one that cannot be made.
const NOT_SENT: f64 = 0.01;
/// How long a trial is, unless told otherwise.
const ONE_TRIAL: Duration = Duration::from_secs(10);

/// Measures, prints and writes down.
pub(crate) fn run(args: &Forward) -> Result<(), Error> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut session = Session::open(args, longest(args))?;
    if args.no_receive {
        return send_only(args, &mut session);
    }
    let bias = session.bias()?;
    say::bias(&bias);
    let outcome = measure(args, &mut session)?;
    say::outcome(&outcome);
    if let Some(file) = &args.json {
        let report = report(args, &session, started, bias, outcome);
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(file, json + "\n").map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn measure(args: &Forward, session: &mut Session) -> Result<Outcome, Error> {
    if args.rfc2544 {
        let sizes = each_size(args)?;
        let results = sizes.iter().map(|size| rfc2544(args, session, size)).collect::<Result<_, _>>();
        return results.map(Outcome::Rfc2544);
    }
    let sizes = all_sizes(args)?;
    session.prepare(&sizes)?;
    let Some(rate) = args.rate else { return search(args, session, &sizes).map(Outcome::Search) };
    let load = Load {
        pps: pps(args, session, rate, &sizes)?,
        burst: args.burst,
        duration: args.duration.map_or(ONE_TRIAL, |time| time.0),
    };
    let total = args.soak.map_or(load.duration, |time| time.0);
    let mut trials = trials(session, &mut Soak::new(load, total), "", true)?;
    match (args.soak, trials.len()) {
        (None, 1) => Ok(Outcome::Trial(Box::new(trials.remove(0)))),
        _ => Ok(Outcome::Soak(SoakResult::new(trials))),
    }
}

fn search(args: &Forward, session: &mut Session, sizes: &Sizes) -> Result<SearchResult, Error> {
    let set = |goal: Goal| Goal {
        trial: args.duration.map_or(goal.trial, |time| time.0),
        sum: args.duration_sum.0,
        width: args.width / 100.0,
        ..goal
    };
    let partial = Goal { loss_ratio: args.loss / 100.0, ..Goal::pdr() };
    let highest = highest(args, session, sizes)?;
    let mut search =
        MlrSearch::new(vec![set(Goal::ndr()), set(partial)], highest * LOWEST, highest, args.burst);
    let trials = trials(session, &mut search, "", false)?;
    Ok(SearchResult { goals: search.results().iter().map(GoalResult::from).collect(), trials })
}

fn rfc2544(args: &Forward, session: &mut Session, size: &Sizes) -> Result<Rfc2544Result, Error> {
    session.prepare(size)?;
    let highest = highest(args, session, size)?;
    let settings = match args.duration {
        Some(trial) => Settings::short(highest, trial.0),
        None => Settings::strict(highest),
    };
    let strict = settings.is_strict();
    let mut tests = Rfc2544::new(settings);
    let trials = trials(session, &mut tests, &format!("{size} bytes, "), false)?;
    Ok(Rfc2544Result::new(size.to_string(), strict, tests.findings(), trials))
}

/// Runs a procedure to its end. With `rate_must_be_made`, frames that could not be sent are an error.
fn trials(
    session: &mut Session,
    procedure: &mut impl Procedure,
    what: &str,
    rate_must_be_made: bool,
) -> Result<Vec<TrialResult>, Error> {
    let mut trials = Vec::new();
    while let Some(loads) = procedure.next() {
        let (trial, result) = session.trial(&loads)?;
        if rate_must_be_made {
            check_rate(&result)?;
        }
        say::trial(&format!("{what}{}", procedure.phase()), &result);
        procedure.record(&Observation::from(&trial));
        trials.push(result);
    }
    Ok(trials)
}

/// Fails if the frames of a trial could not be sent at their times.
fn check_rate(trial: &TrialResult) -> Result<(), Error> {
    let (total, load) = (&trial.total, &trial.loads[0]);
    if total.not_sent as f64 <= NOT_SENT * total.intended as f64 {
        return Ok(());
    }
    let made = total.sent as f64 / trial.directions.len() as f64 / load.duration_s;
    Err(format!(
        "a rate of {} cannot be made here: {} of {} frames could not be sent in time, {} were.",
        say::pps(load.pps),
        total.not_sent,
        total.intended,
        say::pps(made)
    )
    .into())
}

fn send_only(args: &Forward, session: &mut Session) -> Result<(), Error> {
    let sizes = all_sizes(args)?;
    session.prepare(&sizes)?;
    let rate = args.rate.ok_or("--no-receive needs a --rate.")?;
    let load = Load {
        pps: pps(args, session, rate, &sizes)?,
        burst: args.burst,
        duration: args.duration.map_or(ONE_TRIAL, |time| time.0),
    };
    let sent = session.send_only(&load)?;
    let seconds = load.duration.as_secs_f64();
    println!("sent {sent} of {} frames in {seconds} s: {}", load.frames(), say::pps(sent as f64 / seconds));
    Ok(())
}

fn pps(args: &Forward, session: &Session, rate: Rate, sizes: &Sizes) -> Result<f64, Error> {
    match (rate, line(args, session)) {
        (Rate::Pps(pps), _) => Ok(pps),
        (Rate::Percent(percent), Some(line)) => Ok(sizes.pps(line, percent)),
        (Rate::Percent(_), None) => {
            Err("a rate in percent needs the speed of the line, which this port does not say: --line 10G."
                .into())
        }
    }
}

fn highest(args: &Forward, session: &Session, sizes: &Sizes) -> Result<f64, Error> {
    match (args.max_rate, line(args, session)) {
        (Some(rate), _) => pps(args, session, rate, sizes),
        (None, Some(line)) => Ok(sizes.pps(line, 100.0)),
        (None, None) => Ok(NO_LINE_PPS),
    }
}

fn line(args: &Forward, session: &Session) -> Option<f64> {
    args.line.map(|bits| bits.0).or_else(|| session.line_speed())
}

/// The sizes that are sent in turn.
fn all_sizes(args: &Forward) -> Result<Sizes, Error> {
    Ok(args.size.clone().map_or_else(|| Sizes::fixed(RFC2544_SIZES[0]), Ok)?)
}

/// The sizes that are tested one after another.
fn each_size(args: &Forward) -> Result<Vec<Sizes>, Error> {
    let sizes = args.size.as_ref().map_or(RFC2544_SIZES.as_slice(), Sizes::as_slice);
    Ok(sizes.iter().map(|size| Sizes::fixed(*size)).collect::<Result<_, _>>()?)
}

fn longest(args: &Forward) -> usize {
    let default = if args.rfc2544 { RFC2544_SIZES.into_iter().max() } else { None };
    args.size.as_ref().map(Sizes::longest).or(default).unwrap_or(RFC2544_SIZES[0])
}

fn report(args: &Forward, session: &Session, started: u64, bias: Distribution, outcome: Outcome) -> Report {
    let mut setup = session.setup(args);
    setup.line_bps = line(args, session);
    Report {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        started,
        command: std::env::args().collect(),
        setup,
        bias: Some(bias),
        outcome,
    }
}

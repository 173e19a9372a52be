//! `sluice bench forward`: from the command line to a result.

use std::time::{Duration, Instant};

use generator::schedule::Load;
use generator::search::goal::Goal;
use generator::search::mlr::MlrSearch;
use generator::search::rfc2544::{Rfc2544, Settings};
use generator::search::soak::Soak;
use generator::search::{Observation, Procedure};
use generator::size::{RFC2544_SIZES, Sizes};
use generator::trial::Trial;
use hdrhistogram::Histogram;
use report::{Document, Environment, Kind, Run, Snapshot, Span};

use super::args::Forward;
use super::dut::DutCounters;
use super::session::Session;
use super::units::Rate;
use super::{Error, document, say};

/// The highest rate of a search where there is no line.
const NO_LINE_PPS: f64 = 100e6;
/// The lowest rate that a search tries, relative to the highest.
const LOWEST: f64 = 1e-5;
/// The part of the frames that may stay behind without a rate being one that cannot be made.
const NOT_SENT: f64 = 0.01;
/// How long a trial is, unless told otherwise.
const ONE_TRIAL: Duration = Duration::from_secs(10);

/// One measurement: what was asked for, and where it runs.
struct Measurement<'a> {
    args: &'a Forward,
    session: Session,
    started: Instant,
}

/// Measures, prints and writes down.
pub(crate) fn run(args: &Forward) -> Result<(), Error> {
    let (before, started) = (Snapshot::take("/"), Instant::now());
    let mut document = Document::new(kind(args), format!("sluice {}", env!("CARGO_PKG_VERSION")));
    let session = Session::open(args, longest(args))?;
    let mut measurement = Measurement { args, session, started };
    if args.no_receive {
        return measurement.send_only();
    }
    let bias = measurement.session.bias()?;
    say::bias(&bias);
    for _ in 0..args.repeat {
        for mut run in measurement.runs()? {
            run.whole = with_bias(run.whole, &bias);
            document = document.run(run);
        }
    }
    let after = Snapshot::take("/");
    let environment = Environment::judge(&before, &after, &measurement.session.given(args.core)?);
    println!("\n{}", environment.trust_sentence());
    if let Some(file) = &args.json {
        let document = measurement.session.parameters(document.on(environment), args);
        std::fs::write(file, document.json()?).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn kind(args: &Forward) -> Kind {
    match (args.rfc2544, args.rate, args.soak) {
        (true, ..) => Kind::Rfc2544,
        (_, None, _) => Kind::ThroughputSearch,
        (_, _, Some(_)) => Kind::Soak,
        (_, _, None) => Kind::Forward,
    }
}

/// What the tester itself adds to every latency goes with the numbers: it is not taken off.
fn with_bias(span: Span, bias: &Histogram<u64>) -> Span {
    let (median, high) = (bias.value_at_quantile(0.5) as f64, bias.value_at_quantile(0.99) as f64);
    span.named("tester's own latency, median", "ns", None, median).named(
        "tester's own latency, p99",
        "ns",
        None,
        high,
    )
}

impl Measurement<'_> {
    /// Measures once: a run, or one for each frame size.
    fn runs(&mut self) -> Result<Vec<Run>, Error> {
        if self.args.rfc2544 {
            let sizes = each_size(self.args)?;
            return sizes.iter().map(|size| self.rfc2544(size)).collect();
        }
        let sizes = all_sizes(self.args)?;
        self.session.prepare(&sizes)?;
        Ok(vec![match self.args.rate {
            Some(rate) => self.at_rate(rate, &sizes)?,
            None => self.search(&sizes)?,
        }])
    }

    fn at_rate(&mut self, rate: Rate, sizes: &Sizes) -> Result<Run, Error> {
        let load = self.load(rate, sizes)?;
        let total = self.args.soak.map_or(load.duration, |time| time.0);
        let mut whole: Option<Trial> = None;
        let mut intervals = Vec::new();
        let dut = self.trials(&mut Soak::new(load, total), "", |start_s, trial| {
            check_rate(&trial)?;
            intervals.push(document::distributions(&trial, start_s));
            match &mut whole {
                Some(whole) => whole.add(&trial),
                None => whole = Some(trial),
            }
            Ok(())
        })?;
        let whole = whole.ok_or("no time was given to measure in.")?;
        say::trial(&whole, dut);
        let start_s = intervals.first().map_or(0.0, |span: &Span| span.start_s);
        let mut run = Run::new(document::distributions(&whole, start_s));
        if self.args.soak.is_some() {
            run.intervals = intervals;
        }
        Ok(document::with_drops(run, dut))
    }

    fn search(&mut self, sizes: &Sizes) -> Result<Run, Error> {
        let args = self.args;
        let set = |goal: Goal| Goal {
            trial: args.duration.map_or(goal.trial, |time| time.0),
            sum: args.duration_sum.0,
            width: args.width / 100.0,
            ..goal
        };
        let partial = Goal { loss_ratio: args.loss / 100.0, ..Goal::pdr() };
        let highest = self.highest(sizes)?;
        let mut search =
            MlrSearch::new(vec![set(Goal::ndr()), set(partial)], highest * LOWEST, highest, args.burst);
        let start_s = self.started.elapsed().as_secs_f64();
        let mut trials = Vec::new();
        let dut = self.trials(&mut search, "", |start_s, trial| {
            trials.push(document::counters(&trial, start_s));
            Ok(())
        })?;
        println!();
        let directions = self.session.directions();
        search.results().iter().for_each(|goal| say::goal(goal, directions));
        let whole = Span::new(start_s, self.started.elapsed().as_secs_f64() - start_s);
        let run = Run { trials, ..Run::new(document::search(whole, search.results(), directions)) };
        Ok(document::with_drops(run, dut))
    }

    fn rfc2544(&mut self, size: &Sizes) -> Result<Run, Error> {
        self.session.prepare(size)?;
        let highest = self.highest(size)?;
        let settings = match self.args.duration {
            Some(trial) => Settings::short(highest, trial.0),
            None => Settings::strict(highest),
        };
        let strict = settings.is_strict();
        let mut tests = Rfc2544::new(settings);
        let start_s = self.started.elapsed().as_secs_f64();
        let mut trials = Vec::new();
        let dut = self.trials(&mut tests, &format!("{size} bytes, "), |start_s, trial| {
            trials.push(document::counters(&trial, start_s));
            Ok(())
        })?;
        say::rfc2544(&size.to_string(), strict, tests.findings());
        let whole = Span::new(start_s, self.started.elapsed().as_secs_f64() - start_s);
        let whole = document::rfc2544(whole, tests.findings(), self.session.directions());
        let run = Run { trials, ..Run::new(whole).under(format!("{size} B")) };
        Ok(document::with_drops(run, dut))
    }

    /// Runs a procedure to its end, and hands over each trial with the second at which it began. Gives what the
    /// device under test counted in all of them.
    fn trials(
        &mut self,
        procedure: &mut impl Procedure,
        what: &str,
        mut each: impl FnMut(f64, Trial) -> Result<(), Error>,
    ) -> Result<Option<DutCounters>, Error> {
        let mut counted: Option<DutCounters> = None;
        while let Some(loads) = procedure.next() {
            let start_s = self.started.elapsed().as_secs_f64();
            let (trial, dut) = self.session.trial(&loads)?;
            say::progress(&format!("{what}{}", procedure.phase()), &trial);
            procedure.record(&Observation::from(&trial));
            if let Some(dut) = dut {
                counted.get_or_insert_default().add(&dut);
            }
            each(start_s, trial)?;
        }
        Ok(counted)
    }

    fn send_only(&mut self) -> Result<(), Error> {
        let sizes = all_sizes(self.args)?;
        self.session.prepare(&sizes)?;
        let rate = self.args.rate.ok_or("--no-receive needs a --rate.")?;
        let load = self.load(rate, &sizes)?;
        let (sent, seconds) = (self.session.send_only(&load)?, load.duration.as_secs_f64());
        println!(
            "sent {sent} of {} frames in {seconds} s: {}",
            load.frames(),
            say::pps(sent as f64 / seconds)
        );
        Ok(())
    }

    fn load(&self, rate: Rate, sizes: &Sizes) -> Result<Load, Error> {
        let duration = self.args.duration.map_or(ONE_TRIAL, |time| time.0);
        Ok(Load { pps: self.pps(rate, sizes)?, burst: self.args.burst, duration })
    }

    fn pps(&self, rate: Rate, sizes: &Sizes) -> Result<f64, Error> {
        match (rate, self.line()) {
            (Rate::Pps(pps), _) => Ok(pps),
            (Rate::Percent(percent), Some(line)) => Ok(sizes.pps(line, percent)),
            (Rate::Percent(_), None) => {
                let what = "a rate in percent needs the speed of the line";
                Err(format!("{what}, which this port does not say: --line 10G.").into())
            }
        }
    }

    fn highest(&self, sizes: &Sizes) -> Result<f64, Error> {
        match (self.args.max_rate, self.line()) {
            (Some(rate), _) => self.pps(rate, sizes),
            (None, Some(line)) => Ok(sizes.pps(line, 100.0)),
            (None, None) => Ok(NO_LINE_PPS),
        }
    }

    /// Bits a second of the line.
    fn line(&self) -> Option<f64> {
        self.args.line.map(|bits| bits.0).or_else(|| self.session.line_speed())
    }
}

/// Fails if the frames of a trial could not be sent at their times.
fn check_rate(trial: &Trial) -> Result<(), Error> {
    let (total, load) = (trial.total(), &trial.loads[0]);
    if total.not_sent() as f64 <= NOT_SENT * total.intended as f64 {
        return Ok(());
    }
    let made = total.sent as f64 / trial.directions.len() as f64 / load.duration.as_secs_f64();
    Err(format!(
        "a rate of {} cannot be made here: {} of {} frames could not be sent in time, {} were.",
        say::pps(load.pps),
        total.not_sent(),
        total.intended,
        say::pps(made)
    )
    .into())
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

//! Results as they are written down. One schema, with a version: a reader checks [`Report::schema`] first.
//!
//! Rates are frames a second of each direction; times are nanoseconds, where the name says nothing else.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::analyser::Received;
use crate::schedule::Load;
use crate::search::mlr::Bounds;
use crate::search::rfc2544::Findings;
use crate::trial::{Counts, Trial};

/// The schema that this program writes. It gets another number when a field goes or changes its meaning; new fields
/// alone do not count.
pub const SCHEMA: &str = "sluice.bench.forward/1";

/// The percentiles that are written down.
const PERCENTILES: [f64; 13] = [0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 99.999];

/// One run of the tester.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The tester's version.
    pub version: String,
    /// When it was started: seconds since 1970.
    pub started: u64,
    /// The command line.
    pub command: Vec<String>,
    /// What was measured with.
    pub setup: Setup,
    /// What the tester itself adds to every latency; it is not taken off.
    pub bias: Option<Distribution>,
    /// What was measured.
    pub outcome: Outcome,
}

/// What was measured with.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Setup {
    /// The ports' devices, by DPDK's names.
    pub ports: Vec<String>,
    /// (sending, receiving) port of each direction.
    pub directions: Vec<(usize, usize)>,
    /// Frame sizes with the check sequence.
    pub sizes: String,
    /// Flows of each direction.
    pub flows: usize,
    /// Streams of each direction: what has a sequence of its own.
    pub streams: usize,
    /// Frames that are due at the same moment.
    pub burst: u32,
    /// How late a frame may be sent.
    pub patience_ns: u64,
    /// Bits a second of the line that rates refer to, if one was given.
    pub line_bps: Option<f64>,
    /// The device under test, if the tester started it.
    pub dut: Option<String>,
}

/// What was measured.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A load.
    Trial(Box<TrialResult>),
    /// MLRsearch.
    Search(SearchResult),
    /// RFC 2544, a result for each frame size.
    Rfc2544(Vec<Rfc2544Result>),
    /// The same load for a long time.
    Soak(SoakResult),
}

/// One trial.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TrialResult {
    /// The loads, one after another.
    pub loads: Vec<LoadResult>,
    /// The counts of each direction.
    pub directions: Vec<CountsResult>,
    /// Their sum.
    pub total: CountsResult,
    /// The part of the frames that were to be sent which did not come whole, 0 to 1.
    pub loss_ratio: f64,
    /// Whole packets received per second of load, of all directions together.
    pub received_pps: f64,
    /// From the intended send time to the receipt.
    pub latency: Distribution,
    /// RFC 5481 section 4.2: latency less the least latency.
    pub pdv: Distribution,
    /// RFC 5481 section 4.1: differences from packet to packet of a stream, without sign.
    pub ipdv: Distribution,
    /// RFC 3550's interarrival jitter, of the stream that has the most.
    pub jitter_ns: Option<u64>,
    /// How long after the last load began the last loss was.
    pub last_loss_ns: Option<u64>,
    /// What the device under test counted, if it was asked.
    pub dut: Option<DutCounters>,
}

/// A load.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct LoadResult {
    /// Frames a second.
    pub pps: f64,
    /// Frames that are due at the same moment.
    pub burst: u32,
    /// For how long.
    pub duration_s: f64,
}

/// What became of the frames. `intended = sent + not_sent`, `sent = received + corrupted + lost`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CountsResult {
    /// Frames that were to be sent.
    pub intended: u64,
    /// Those that the device took in time.
    pub sent: u64,
    /// Those that it did not: the tester or its device was too slow.
    pub not_sent: u64,
    /// Packets that came whole, copies not counted.
    pub received: u64,
    /// Packets that were sent and did not come.
    pub lost: u64,
    /// Further copies.
    pub duplicated: u64,
    /// Packets that came after a later one of their stream (RFC 4737).
    pub reordered: u64,
    /// By how many arrivals the worst of them was late.
    pub reorder_extent: u32,
    /// Packets that came with damage.
    pub corrupted: u64,
    /// Packets that came too late to tell whether they are copies; they count as lost.
    pub expired: u64,
    /// Packets of earlier trials.
    pub stale: u64,
    /// Frames that the tester did not send.
    pub foreign: u64,
}

/// A distribution of times in nanoseconds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// (percent, value).
    pub percentiles: Vec<(f64, u64)>,
}

/// What a device under test counted, in the time of a trial.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DutCounters {
    /// Frames received.
    pub rx: u64,
    /// Frames that found no room in its receive queues.
    pub rx_missed: u64,
    /// Frames sent.
    pub tx: u64,
    /// Frames that it wanted to send, and dropped.
    pub tx_dropped: u64,
}

/// MLRsearch.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SearchResult {
    /// What was found for each goal.
    pub goals: Vec<GoalResult>,
    /// All trials, in order.
    pub trials: Vec<TrialResult>,
}

/// What was found for a goal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GoalResult {
    /// The goal's name.
    pub name: String,
    /// The loss ratio that a trial may have.
    pub loss_ratio: f64,
    /// How long a full trial is, and all trials at a load together.
    pub trial_s: f64,
    /// How long the trials at a load are to be together.
    pub duration_sum_s: f64,
    /// The part of that time in which the loss may be higher.
    pub exceed_ratio: f64,
    /// How near the bounds are, relative to the upper.
    pub width: f64,
    /// The relevant lower bound; `None` if not even the lowest rate meets the goal.
    pub lower_pps: Option<f64>,
    /// The relevant upper bound; `None` if the highest rate meets the goal.
    pub upper_pps: Option<f64>,
    /// What was forwarded at the lower bound.
    pub throughput_pps: Option<f64>,
}

/// The tests of RFC 2544 for one frame size.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rfc2544Result {
    /// The frame size with the check sequence.
    pub size: String,
    /// Whether durations and repetitions are those of the RFC.
    pub strict: bool,
    /// The highest rate without loss.
    pub throughput_pps: Option<f64>,
    /// The mean latency of each trial at that rate.
    pub latencies_ns: Vec<f64>,
    /// (rate, loss ratio).
    pub loss_curve: Vec<(f64, f64)>,
    /// The longest burst without loss that each search found, in frames.
    pub bursts: Vec<u64>,
    /// How long losses went on after an overload.
    pub recovery_ns: Option<u64>,
    /// All trials, in order.
    pub trials: Vec<TrialResult>,
}

/// The same load for a long time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SoakResult {
    /// The counts of all trials.
    pub total: CountsResult,
    /// The part of all frames that did not come whole.
    pub loss_ratio: f64,
    /// The trials, in order.
    pub trials: Vec<TrialResult>,
}

impl Distribution {
    /// What is written down of a histogram; `shift` is taken off every value.
    pub fn of(histogram: &Histogram<u64>, shift: u64) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let value = |percent: f64| histogram.value_at_percentile(percent).saturating_sub(shift);
        Distribution {
            count: histogram.len(),
            mean: (histogram.mean() - shift as f64).max(0.0),
            min: histogram.min().saturating_sub(shift),
            max: histogram.max().saturating_sub(shift),
            percentiles: PERCENTILES.map(|percent| (percent, value(percent))).to_vec(),
        }
    }

    /// The value at a percentile, of those that are written down.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        self.percentiles.iter().find(|(at, _)| *at == percent).map(|(_, value)| *value)
    }
}

impl From<&Counts> for CountsResult {
    fn from(counts: &Counts) -> Self {
        let Received { unique, reordered, reorder_extent, duplicated, corrupted, expired, stale, foreign } =
            counts.received;
        CountsResult {
            intended: counts.intended,
            sent: counts.sent,
            not_sent: counts.not_sent(),
            received: unique,
            lost: counts.lost(),
            duplicated,
            reordered,
            reorder_extent,
            corrupted,
            expired,
            stale,
            foreign,
        }
    }
}

impl From<&Load> for LoadResult {
    fn from(load: &Load) -> Self {
        LoadResult { pps: load.pps, burst: load.burst, duration_s: load.duration.as_secs_f64() }
    }
}

impl From<&Trial> for TrialResult {
    fn from(trial: &Trial) -> Self {
        let total = trial.total();
        let seconds = trial.duration().as_secs_f64();
        let latency = &trial.timing.latency;
        TrialResult {
            loads: trial.loads.iter().map(LoadResult::from).collect(),
            directions: trial.directions.iter().map(CountsResult::from).collect(),
            total: (&total).into(),
            loss_ratio: total.loss_ratio(),
            received_pps: total.received.unique as f64 / seconds,
            latency: Distribution::of(latency, 0),
            pdv: Distribution::of(latency, latency.min()),
            ipdv: Distribution::of(&trial.timing.variation, 0),
            jitter_ns: trial.jitter,
            last_loss_ns: trial.last_loss.map(|time| time.as_nanos() as u64),
            dut: None,
        }
    }
}

impl From<&Bounds> for GoalResult {
    fn from(bounds: &Bounds) -> Self {
        let goal = &bounds.goal;
        GoalResult {
            name: goal.name.clone(),
            loss_ratio: goal.loss_ratio,
            trial_s: goal.trial.as_secs_f64(),
            duration_sum_s: goal.sum.as_secs_f64(),
            exceed_ratio: goal.exceed_ratio,
            width: goal.width,
            lower_pps: bounds.lower,
            upper_pps: bounds.upper,
            throughput_pps: bounds.throughput,
        }
    }
}

impl Rfc2544Result {
    /// What was found for a size, and by which trials.
    pub fn new(size: String, strict: bool, findings: &Findings, trials: Vec<TrialResult>) -> Self {
        Rfc2544Result {
            size,
            strict,
            throughput_pps: findings.throughput_pps,
            latencies_ns: findings.latencies_ns.clone(),
            loss_curve: findings.loss_curve.clone(),
            bursts: findings.bursts.clone(),
            recovery_ns: findings.recovery.map(|time| time.as_nanos() as u64),
            trials,
        }
    }
}

impl SoakResult {
    /// The sum of trials.
    pub fn new(trials: Vec<TrialResult>) -> Self {
        let mut total = CountsResult::default();
        trials.iter().for_each(|trial| total.add(&trial.total));
        let missing = total.intended.saturating_sub(total.received);
        let loss_ratio = if total.intended == 0 { 0.0 } else { missing as f64 / total.intended as f64 };
        SoakResult { total, loss_ratio, trials }
    }
}

impl CountsResult {
    fn add(&mut self, other: &CountsResult) {
        self.intended += other.intended;
        self.sent += other.sent;
        self.not_sent += other.not_sent;
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.reorder_extent = self.reorder_extent.max(other.reorder_extent);
        self.corrupted += other.corrupted;
        self.expired += other.expired;
        self.stale += other.stale;
        self.foreign += other.foreign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution() -> Distribution {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1000..2000).for_each(|ns| histogram.record(ns).unwrap());
        Distribution::of(&histogram, histogram.min())
    }

    #[test]
    fn a_distribution_is_shifted() {
        let pdv = distribution();
        assert_eq!((pdv.count, pdv.min, pdv.max, pdv.mean.round()), (1000, 0, 999, 500.0));
        assert_eq!((pdv.percentile(50.0), pdv.percentile(33.0)), (Some(499), None));
    }

    #[test]
    fn a_report_survives_its_json() {
        let total = CountsResult { intended: 10, sent: 9, not_sent: 1, received: 9, ..Default::default() };
        let trial = TrialResult {
            loads: vec![LoadResult { pps: 1e6, burst: 1, duration_s: 1.0 }],
            directions: vec![total],
            total,
            loss_ratio: 0.1,
            received_pps: 9.0,
            latency: distribution(),
            pdv: distribution(),
            ipdv: Distribution::default(),
            jitter_ns: Some(3),
            last_loss_ns: None,
            dut: Some(DutCounters { rx: 9, tx: 9, ..Default::default() }),
        };
        let soak = SoakResult::new(vec![trial.clone(), trial]);
        assert_eq!((soak.total.intended, soak.loss_ratio), (20, 0.1));
        let report = Report {
            schema: SCHEMA.into(),
            version: "0".into(),
            started: 1,
            command: vec!["sluice".into()],
            setup: Setup { ports: vec!["net_null0".into()], directions: vec![(0, 0)], ..Default::default() },
            bias: None,
            outcome: Outcome::Soak(soak),
        };
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""outcome":{"soak":{"total":"#), "{json}");
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}

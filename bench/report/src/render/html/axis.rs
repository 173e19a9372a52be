//! Axes: where a value lies between 0 and 1, and where the ticks are.

use crate::render::number::{nanoseconds, quantity, significant};

/// One axis of a chart.
pub(super) struct Axis {
    pub(super) label: String,
    /// Values and what is written at them.
    pub(super) ticks: Vec<(f64, String)>,
    low: f64,
    high: f64,
    scale: Scale,
}

#[derive(Clone, Copy)]
enum Scale {
    Linear,
    Log,
}

impl Axis {
    /// From a round number at or below `low` to one at or above `high`, in about five steps.
    pub(super) fn linear(label: impl Into<String>, unit: &str, low: f64, high: f64) -> Axis {
        Axis::stepped(label.into(), unit, (low, high), 4.5)
    }

    /// Seconds, in about ten steps.
    pub(super) fn time(low: f64, high: f64) -> Axis {
        Axis::stepped("seconds after the start".to_owned(), "s", (low, high), 9.0)
    }

    fn stepped(label: String, unit: &str, (low, high): (f64, f64), steps: f64) -> Axis {
        let high = if high > low { high } else { low + 1.0 };
        let step = round_step((high - low) / steps);
        let (first, last) = ((low / step).floor() as i64, (high / step - 1e-9).ceil() as i64);
        let ticks = (first..=last).map(|n| n as f64 * step).map(|value| (value, tick(value, unit))).collect();
        Axis { label, ticks, low: first as f64 * step, high: last as f64 * step, scale: Scale::Linear }
    }

    /// Whole numbers from `low` to `high`, with half a step around.
    pub(super) fn counting(label: impl Into<String>, low: usize, high: usize) -> Axis {
        let step = (high - low).div_ceil(12).max(1);
        let ticks = (low..=high).step_by(step).map(|n| (n as f64, n.to_string())).collect();
        let (low, high) = (low as f64 - 0.5, high as f64 + 0.5);
        Axis { label: label.into(), ticks, low, high, scale: Scale::Linear }
    }

    /// Between 1, 2 or 5 times powers of ten around the positive numbers from `low` to `high`. Over more than two decades,
    /// only the powers of ten have ticks.
    pub(super) fn log(label: impl Into<String>, unit: &str, low: f64, high: f64) -> Axis {
        let (low, high) = (low.max(f64::MIN_POSITIVE), high.max(low * 1.01));
        let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let round: Vec<(f64, f64)> = decades
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|mark| (mark, mark * 10_f64.powi(decade))))
            .collect();
        let values = || round.iter().map(|(_, value)| *value);
        let below = values().filter(|value| *value <= low * 1.000_1).fold(0.0, f64::max);
        let above = values().filter(|value| *value >= high * 0.999_9).fold(f64::MAX, f64::min);
        let all = above / below < 150.0;
        let has_tick = |(mark, value): &&(f64, f64)| (below..=above).contains(value) && (all || *mark == 1.0);
        Axis {
            label: label.into(),
            ticks: round.iter().filter(has_tick).map(|(_, value)| (*value, tick(*value, unit))).collect(),
            low: below,
            high: above,
            scale: Scale::Log,
        }
    }

    /// Quantiles by their nines: 0, 90 %, 99 %, ... are at the same distance, up to the last of `count` values.
    /// Positions are those of [`nines`].
    pub(super) fn quantiles(count: u64) -> Axis {
        let high = (count.max(10) as f64).log10();
        let mut ticks = vec![(0.0, "0".to_owned()), (nines(0.5), "50".to_owned())];
        ticks.extend((1..=high as i32).map(|decade| {
            let digits = (decade - 2).max(0) as usize;
            (f64::from(decade), format!("{:.digits$}", (1.0 - 10_f64.powi(-decade)) * 100.0))
        }));
        Axis { label: "percentile".to_owned(), ticks, low: 0.0, high, scale: Scale::Linear }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end, which nothing exceeds.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        share.clamp(0.0, 1.0)
    }
}

/// How many nines a quantile has: 1 for 0.9, 2 for 0.99.
pub(super) fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// 1, 2 or 5 times a power of ten, at or above `least`.
fn round_step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|mark| mark * decade).find(|step| *step >= least).unwrap_or(least)
}

/// A value at an axis: short, for the axis has the unit.
fn tick(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => quantity(value, unit),
        "ns" => nanoseconds(value),
        "s" => significant(value),
        _ => {
            let (by, prefix) = match value.abs() {
                size if size >= 1e9 => (1e9, " G"),
                size if size >= 1e6 => (1e6, " M"),
                size if size >= 1e4 => (1e3, " k"),
                _ => (1.0, ""),
            };
            format!("{}{prefix}", significant(value / by))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| &**text).collect()
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(texts(&Axis::linear("", "frames/s", 0.0, 14_880_952.0)), ["0", "5 M", "10 M", "15 M"]);
        assert_eq!(texts(&Axis::linear("", "s", 0.0, 10.0)), ["0", "5", "10"]);
        assert_eq!(texts(&Axis::linear("", "", 0.0, 0.0)), ["0", "0.5", "1"]);
        assert_eq!(texts(&Axis::log("", "ns", 900.0, 2_000_000.0)), ["1 µs", "10 µs", "100 µs", "1 ms"]);
        assert_eq!(texts(&Axis::log("", "ns", 12_000.0, 40_000.0)), ["10 µs", "20 µs", "50 µs"]);
        assert_eq!(texts(&Axis::quantiles(123_456)), ["0", "50", "90", "99", "99.9", "99.99", "99.999"]);
        assert_eq!(texts(&Axis::counting("", 1, 3)), ["1", "2", "3"]);
    }

    #[test]
    fn places_are_between_the_ends() {
        let log = Axis::log("", "ns", 10.0, 1000.0);
        assert!((log.at(100.0) - 0.5).abs() < 1e-12);
        assert_eq!((log.at(0.0), log.at(1e9)), (0.0, 1.0));
        assert!((Axis::linear("", "", 0.0, 10.0).at(5.0) - 0.5).abs() < 1e-12);
        assert!((Axis::quantiles(10_000).at(nines(0.99)) - 0.5).abs() < 1e-9);
    }
}

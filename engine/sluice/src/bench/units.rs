//! Rates, line speeds and durations on the command line: a number and a unit.

use std::str::FromStr;
use std::time::Duration;

/// A rate to send at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Rate {
    /// Frames a second.
    Pps(f64),
    /// Percent of the line.
    Percent(f64),
}

/// Bits a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Bits(pub(crate) f64);

/// A time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Time(pub(crate) Duration);

/// A number with one of `units` behind it; what each multiplies by.
fn number(text: &str, units: &[(&str, f64)], example: &str) -> Result<f64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let value = digits.parse::<f64>().ok().zip(factor).map(|(value, factor)| value * factor);
    value.filter(|value| value.is_finite()).ok_or_else(|| format!("expected a number such as {example}"))
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "1000000, 100k or 1.5M frames a second, or 80% of the line";
        if let Some(percent) = text.strip_suffix('%') {
            return number(percent, &[("", 1.0)], example).map(Rate::Percent);
        }
        number(text, &[("", 1.0), ("k", 1e3), ("M", 1e6)], example).map(Rate::Pps)
    }
}

impl FromStr for Bits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        number(text, &[("M", 1e6), ("G", 1e9)], "10G or 2.5G bits a second").map(Bits)
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let example = "500ms, 10s, 5m or 1h";
        let seconds = number(text, &units, example)?;
        Duration::try_from_secs_f64(seconds)
            .map(Time)
            .map_err(|_| format!("expected a time such as {example}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        assert_eq!("1.5M".parse(), Ok(Rate::Pps(1.5e6)));
        assert_eq!("250".parse(), Ok(Rate::Pps(250.0)));
        assert_eq!("99.5%".parse(), Ok(Rate::Percent(99.5)));
        assert_eq!("10G".parse(), Ok(Bits(1e10)));
        assert_eq!("250ms".parse(), Ok(Time(Duration::from_millis(250))));
        assert_eq!("2h".parse(), Ok(Time(Duration::from_secs(7200))));
        for text in ["", "M", "-1", "1.2.3", "1 M", "1Q", "%", "1e3"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        assert!("10".parse::<Time>().is_err() && "10".parse::<Bits>().is_err());
    }
}

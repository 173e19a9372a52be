//! Numbers as people read them.

/// A value with its unit: `14.88 M frames/s`, `0.5 %`, `12.3 µs`, `1 234 567 frames`.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "ratio" => percent(value),
        "ns" => {
            let (by, unit) = time_unit(value);
            format!("{} {unit}", measured(value / by, by))
        }
        "s" => format!("{} s", significant(value)),
        _ if unit.ends_with("/s") => scaled(value, unit),
        "" => plain(value),
        _ => format!("{} {unit}", plain(value)),
    }
}

/// A relative change: `+1.2 %`, `-50 %`.
pub(crate) fn change(share: f64) -> String {
    let sign = if share < 0.0 { "-" } else { "+" };
    format!("{sign}{}", percent(share.abs()))
}

/// Whole numbers with a narrow space between thousands, others with four significant digits.
pub(crate) fn plain(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { grouped(value as i64) } else { significant(value) }
}

/// Four significant digits, without zeros at the end.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-5..15).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - magnitude).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `8.767 .. 8.783 µs`: the unit once, if it is the same.
pub(crate) fn range(low: f64, high: f64, unit: &str) -> String {
    let (low, high) = (quantity(low, unit), quantity(high, unit));
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} .. {high}"),
        _ => format!("{low} .. {high}"),
    }
}

/// A time at an axis, where zeros at the end say nothing.
pub(crate) fn nanoseconds(value: f64) -> String {
    let (by, unit) = time_unit(value);
    format!("{} {unit}", significant(value / by))
}

fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}

fn time_unit(nanoseconds: f64) -> (f64, &'static str) {
    match nanoseconds.abs() {
        size if size < 1e3 => (1.0, "ns"),
        size if size < 1e6 => (1e3, "µs"),
        size if size < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    }
}

fn scaled(value: f64, unit: &str) -> String {
    let (by, prefix) = match value.abs() {
        size if size >= 1e9 => (1e9, "G "),
        size if size >= 1e6 => (1e6, "M "),
        size if size >= 1e4 => (1e3, "k "),
        _ => (1.0, ""),
    };
    format!("{} {prefix}{unit}", measured(value / by, by))
}

/// Four significant digits; of what was scaled down, zeros too, for they were measured.
fn measured(value: f64, by: f64) -> String {
    if by == 1.0 {
        return significant(value);
    }
    // 9.9996 is 10.00: what counts is how large it is when rounded.
    let decimals = match value.abs() {
        size if size < 9.9995 => 3,
        size if size < 99.995 => 2,
        size if size < 999.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (value, unit, text) in [
            (0.0, "ratio", "0 %"),
            (0.005, "ratio", "0.5 %"),
            (1.0, "ratio", "100 %"),
            (0.000_001_234, "ratio", "0.0001234 %"),
            (87.0, "ns", "87 ns"),
            (12_345.0, "ns", "12.35 µs"),
            (1.5e9, "ns", "1.500 s"),
            (14_880_952.0, "frames/s", "14.88 M frames/s"),
            (9_999.0, "requests/s", "9999 requests/s"),
            (1e10, "bit/s", "10.00 G bit/s"),
            (9_999_960.0, "frames/s", "10.00 M frames/s"),
            (1_234_567.0, "frames", "1\u{202f}234\u{202f}567 frames"),
            (-1234.0, "frames", "-1\u{202f}234 frames"),
            (18.249, "cycles/packet", "18.25 cycles/packet"),
            (3.0, "", "3"),
        ] {
            assert_eq!(quantity(value, unit), text);
        }
    }

    #[test]
    fn a_range_has_its_unit_once() {
        assert_eq!(range(8767.0, 8783.0, "ns"), "8.767 .. 8.783 µs");
        assert_eq!(range(877.0, 8783.0, "ns"), "877 ns .. 8.783 µs");
        assert_eq!(range(1.0, 2.0, ""), "1 .. 2");
    }

    #[test]
    fn changes_have_a_sign() {
        assert_eq!(change(0.012), "+1.2 %");
        assert_eq!(change(-0.5), "-50 %");
    }

    #[test]
    fn very_small_and_very_large_numbers_keep_their_digits() {
        assert_eq!(significant(1.234_56e-7), "1.235e-7");
        assert_eq!(significant(1.234_56e18), "1.235e18");
        assert_eq!(significant(999.96), "1000");
    }
}

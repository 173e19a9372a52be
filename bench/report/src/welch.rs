//! Welch's t-test, and Holm's correction for many tests.
//!
//! What is assumed: a value is a whole run's (its rate, its 99th percentile), runs are independent of each other, and
//! their values are roughly normal. The two sides may spread differently and may have different numbers of runs. An
//! outlier makes the test more reluctant, not less. Single latencies within a run are never taken for independent:
//! queues make neighbours alike, and a test over them would be sure of everything.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// How two sides differ.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Difference {
    /// The second mean less the first.
    pub(crate) mean: f64,
    /// The confidence interval of it.
    pub(crate) low: f64,
    /// See `low`.
    pub(crate) high: f64,
    /// The probability of a difference this large or larger by chance alone, two-sided.
    pub(crate) p: f64,
}

/// Compares two sides with at least two values each. `confidence` is the interval's, such as 0.95.
pub(crate) fn compare(one: &[f64], other: &[f64], confidence: f64) -> Difference {
    let (from, to) = (Moments::of(one), Moments::of(other));
    let mean = to.mean - from.mean;
    let square = from.variance_of_mean + to.variance_of_mean;
    // What a sum of so many values cannot tell from zero: runs that are equal but for rounding.
    let rounding = f64::EPSILON * from.mean.abs().max(to.mean.abs()) * 8.0;
    if square.sqrt() <= rounding {
        // Nothing varies: any difference is certain.
        let p = if mean.abs() <= rounding { 1.0 } else { 0.0 };
        return Difference { mean, low: mean, high: mean, p };
    }
    // Welch and Satterthwaite's degrees of freedom.
    let freedom = square * square
        / (from.variance_of_mean.powi(2) / (from.count - 1.0)
            + to.variance_of_mean.powi(2) / (to.count - 1.0));
    let student =
        StudentsT::new(0.0, 1.0, freedom).expect("at least one degree of freedom: two values a side");
    let error = square.sqrt();
    let p = 2.0 * student.sf((mean / error).abs());
    let reach = student.inverse_cdf(f64::midpoint(1.0, confidence)) * error;
    Difference { mean, low: mean - reach, high: mean + reach, p }
}

struct Moments {
    count: f64,
    mean: f64,
    variance_of_mean: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Moments {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Moments { count, mean, variance_of_mean: squares / (count - 1.0) / count }
    }
}

/// Probabilities corrected such that, over all tests together, the chance of a single false one stays the stated one
/// (Holm 1979), in the given order.
pub(crate) fn holm(probabilities: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let mut corrected = vec![1.0; probabilities.len()];
    let mut least = 0.0_f64;
    for (passed, index) in order.into_iter().enumerate() {
        let tests_left = (probabilities.len() - passed) as f64;
        least = least.max(probabilities[index] * tests_left).min(1.0);
        corrected[index] = least;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-6 * b.abs().max(1e-3)
    }

    /// Student's sleep data (1908), as R's manual has it: t.test(extra ~ group), which gives p 0.07939 and the
    /// interval -3.3654832 .. 0.2054832 (of the first less the second).
    #[test]
    fn sleep_data() {
        let one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let other = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let difference = compare(&one, &other, 0.95);
        assert!(near(difference.mean, 1.58), "{difference:?}");
        assert!(near(difference.low, -0.205_483_2) && near(difference.high, 3.365_483_2), "{difference:?}");
        assert!(near(difference.p, 0.079_394_14), "{difference:?}");
    }

    /// SciPy 1.17: ttest_ind(other, one, equal_var=False), and its confidence_interval.
    #[test]
    fn sides_of_different_sizes_and_spreads() {
        let one = [14.878, 14.881, 14.872, 14.880, 14.869];
        let other = [14.801, 14.799, 14.822];
        let difference = compare(&one, &other, 0.95);
        assert!(near(difference.p, 0.006_681_867_709), "{difference:?}");
        assert!(
            near(difference.low, -0.096_975_620) && near(difference.high, -0.040_357_713),
            "{difference:?}"
        );
        let wider = compare(&one, &other, 0.99);
        assert!(near(wider.low, -0.126_503_147) && near(wider.high, -0.010_830_187), "{wider:?}");
    }

    #[test]
    fn what_does_not_vary_differs_for_certain_or_not_at_all() {
        assert_eq!(compare(&[5.0; 3], &[5.0; 3], 0.95).p, 1.0);
        assert_eq!(compare(&[0.0; 3], &[0.0; 3], 0.95).p, 1.0);
        assert_eq!(
            compare(&[5.0; 3], &[6.0; 3], 0.95),
            Difference { mean: 1.0, low: 1.0, high: 1.0, p: 0.0 }
        );
        // 0.1 has no exact form: the mean of three is not quite it.
        assert_eq!(compare(&[0.1; 3], &[0.1; 7], 0.95).p, 1.0);
    }

    /// R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") is 0.05 0.08 0.09 0.09 0.09.
    #[test]
    fn holm_as_r_has_it() {
        let corrected = holm(&[0.04, 0.01, 0.03, 0.05, 0.02]);
        let expected = [0.09, 0.05, 0.09, 0.09, 0.08];
        assert!(corrected.iter().zip(expected).all(|(a, b)| near(*a, b)), "{corrected:?}");
        assert_eq!(holm(&[0.7, 0.9]), [1.0, 1.0]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }
}

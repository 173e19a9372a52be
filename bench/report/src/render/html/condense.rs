//! Many intervals as fewer: hours by the second are more than a page can show.

use crate::run::{Counter, Span};

/// At most `most` spans: neighbours together, as many in each. Counts are added; rates, ratios and times are averaged;
/// histograms are added.
pub(super) fn condense(spans: &[Span], most: usize) -> Vec<Span> {
    let together = spans.len().div_ceil(most).max(1);
    spans.chunks(together).map(merge).collect()
}

fn merge(spans: &[Span]) -> Span {
    let mut all = spans[0].clone();
    for span in &spans[1..] {
        all.length_s = span.start_s + span.length_s - all.start_s;
        for counter in &span.counters {
            match all.counters.iter_mut().find(|one| one.name == counter.name) {
                Some(one) => one.value += counter.value,
                None => all.counters.push(counter.clone()),
            }
        }
        for histogram in &span.histograms {
            match all.histograms.iter_mut().find(|one| one.name == histogram.name) {
                Some(one) => {
                    one.values.auto(true);
                    // Fails only without memory to grow in; then the page lacks some values, and the file has them.
                    let _all_there = one.values.add(&histogram.values);
                }
                None => all.histograms.push(histogram.clone()),
            }
        }
    }
    let is_mean =
        |counter: &&mut Counter| counter.unit.contains('/') || matches!(&*counter.unit, "ratio" | "ns" | "s");
    all.counters.iter_mut().filter(is_mean).for_each(|counter| counter.value /= spans.len() as f64);
    all
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;
    use crate::measure::{LOSS, SENT};

    #[test]
    fn counts_add_up_and_ratios_are_averaged() {
        let span = |start: u32| {
            let mut values = Histogram::new(3).unwrap();
            values.record(u64::from(start) + 1).unwrap();
            Span::new(f64::from(start), 1.0)
                .with(SENT, 10.0)
                .with(LOSS, f64::from(start))
                .histogram("latency", "ns", values)
        };
        let spans: Vec<Span> = (0..5).map(span).collect();
        assert_eq!(condense(&spans, 5), spans);
        let fewer = condense(&spans, 3);
        let seen: Vec<_> = fewer
            .iter()
            .map(|span| {
                let count = span.histograms[0].values.len();
                (span.start_s, span.length_s, span.value(SENT).unwrap(), span.value(LOSS).unwrap(), count)
            })
            .collect();
        assert_eq!(seen, [(0.0, 2.0, 20.0, 0.5, 2), (2.0, 2.0, 20.0, 2.5, 2), (4.0, 1.0, 10.0, 4.0, 1)]);
        assert!(condense(&[], 3).is_empty());
    }
}

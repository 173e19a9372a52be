//! Which requests are made, and how often each.

use std::sync::Arc;

use super::exchange::Exchange;
use crate::chance::Chance;

/// Requests, of which each that starts is one, by chance. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mix {
    entries: Arc<[Entry]>,
    /// Of all weights.
    sum: u32,
}

#[derive(Debug)]
struct Entry {
    exchange: Exchange,
    /// The sum of the weights up to this one.
    up_to: u32,
}

impl Mix {
    /// Requests of a mix, at most.
    pub const MOST: usize = 1 << 16;

    /// Requests with their weights: one of weight 3 is made three times as often as one of weight 1. `None` if there
    /// are none, more than [`MOST`](Self::MOST), or if the weights add up to 0 or to more than 32 bits.
    pub fn new(requests: Vec<(u32, Exchange)>) -> Option<Mix> {
        let fits = (1..=Self::MOST).contains(&requests.len());
        let mut sum = 0_u32;
        let mut entries = Vec::with_capacity(requests.len());
        for (weight, exchange) in requests {
            sum = sum.checked_add(weight)?;
            entries.push(Entry { exchange, up_to: sum });
        }
        (fits && sum > 0).then(|| Mix { entries: entries.into(), sum })
    }

    /// How many different requests there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, entry: u16) -> &Exchange {
        &self.entries[usize::from(entry)].exchange
    }

    /// Whether the answers to any are.
    pub(super) fn is_checked(&self) -> bool {
        self.entries.iter().any(|entry| entry.exchange.is_checked())
    }

    pub(super) fn choose(&self, chance: &mut Chance) -> u16 {
        if self.entries.len() == 1 {
            return 0;
        }
        let at = chance.below(self.sum);
        self.entries.partition_point(|entry| entry.up_to <= at) as u16
    }
}

impl From<Exchange> for Mix {
    /// The same request, always.
    fn from(exchange: Exchange) -> Mix {
        Mix { entries: Arc::new([Entry { exchange, up_to: 1 }]), sum: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(weights: &[u32]) -> Option<Mix> {
        Mix::new(weights.iter().map(|weight| (*weight, Exchange::echo(1))).collect())
    }

    #[test]
    fn each_is_chosen_as_often_as_its_weight_says() {
        for weights in [&[1][..], &[3, 1], &[0, 5, 0, 95], &[1, 1, 1, 1, 1, 1, 1]] {
            let (mix, mut chance) = (mix(weights).unwrap(), Chance::new(3, 0));
            let mut chosen = vec![0_u32; weights.len()];
            (0..100_000).for_each(|_| chosen[usize::from(mix.choose(&mut chance))] += 1);
            let sum: u32 = weights.iter().sum();
            for (chosen, weight) in chosen.iter().zip(weights) {
                let expected = 100_000.0 * f64::from(*weight) / f64::from(sum);
                assert!(
                    (f64::from(*chosen) - expected).abs() <= 5.0 * expected.sqrt(),
                    "{weights:?}: {chosen}"
                );
            }
        }
        let [mut a, mut b] = [Chance::new(3, 1), Chance::new(3, 1)];
        assert!((0..10).all(|_| a.next() == b.next()), "the same seed gives the same choice");
        assert_ne!(Chance::new(3, 1).next(), Chance::new(3, 2).next());
    }

    #[test]
    fn what_cannot_be_chosen_from_is_no_mix() {
        for weights in [&[][..], &[0, 0], &[u32::MAX, 1]] {
            assert!(mix(weights).is_none(), "{weights:?}");
        }
    }
}

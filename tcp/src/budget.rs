//! Memory that the connections of one shard share, beyond what each has by right.

/// Bytes that may be given out, and those that are.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: u64,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub const fn new(limit: u64) -> Self {
        Budget { limit, used: 0 }
    }

    /// Takes `bytes` out, all or none; whether they were there.
    #[must_use = "without the bytes nothing may grow"]
    pub const fn take(&mut self, bytes: u32) -> bool {
        let there = bytes as u64 <= self.limit - self.used;
        if there {
            self.used += bytes as u64;
        }
        there
    }

    /// Gives back `bytes` that were taken.
    pub const fn give(&mut self, bytes: u32) {
        self.used = self.used.saturating_sub(bytes as u64);
    }

    /// Whether more than three quarters are given out: what can wait should not take any.
    pub const fn pressure(&self) -> bool {
        self.used > self.limit / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_none() {
        let mut budget = Budget::new(100);
        assert!(!budget.take(101) && budget.take(75) && !budget.pressure());
        assert!(!budget.take(26) && budget.take(25) && budget.pressure());
        budget.give(30);
        assert!(!budget.pressure() && budget.take(30));
        budget.give(u32::MAX);
        assert!(budget.take(100) && !budget.take(1));
    }
}

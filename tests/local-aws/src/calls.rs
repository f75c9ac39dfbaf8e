//! Call counters, per account and operation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How often one operation was called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls that got an answer of any kind except throttling.
    pub answered: u64,
    /// Calls refused by throttling.
    pub throttled: u64,
}

impl Count {
    /// All calls.
    pub fn total(self) -> u64 {
        self.answered + self.throttled
    }
}

/// The counters of one moment, or the difference of two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    counts: BTreeMap<(String, String), Count>,
}

impl Snapshot {
    /// `operation` as `service:Operation`, over all accounts.
    pub fn of(&self, operation: &str) -> Count {
        self.sum(|_, name| name == operation)
    }

    /// `operation` as `service:Operation`, called by one account.
    pub fn of_account(&self, account: &str, operation: &str) -> Count {
        self.sum(|owner, name| owner == account && name == operation)
    }

    /// What happened after `earlier`; operations that did not are left out.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.counts.iter().filter_map(|(key, now)| {
            let before = earlier.counts.get(key).copied().unwrap_or_default();
            let count = Count {
                answered: now.answered.saturating_sub(before.answered),
                throttled: now.throttled.saturating_sub(before.throttled),
            };
            (count.total() > 0).then(|| (key.clone(), count))
        });
        Self { counts: counts.collect() }
    }

    /// Account, operation and count, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Count)> {
        self.counts.iter().map(|((account, operation), count)| (account.as_str(), operation.as_str(), *count))
    }

    fn sum(&self, wanted: impl Fn(&str, &str) -> bool) -> Count {
        self.iter().filter(|(account, operation, _)| wanted(account, operation)).fold(
            Count::default(),
            |sum, (_, _, count)| Count {
                answered: sum.answered + count.answered,
                throttled: sum.throttled + count.throttled,
            },
        )
    }
}

/// The counters of a running local AWS. Every request counts, passed through or not, under the
/// account that signed it.
#[derive(Debug, Default)]
pub struct Calls {
    counts: Mutex<Snapshot>,
}

impl Calls {
    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Starts again from zero.
    pub fn reset(&self) {
        self.lock().counts.clear();
    }

    pub(crate) fn record(&self, account: &str, operation: &str, throttled: bool) {
        let mut snapshot = self.lock();
        let count = snapshot.counts.entry((account.to_owned(), operation.to_owned())).or_default();
        if throttled {
            count.throttled += 1;
        } else {
            count.answered += 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Snapshot> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_holds_only_what_happened_in_between() {
        let calls = Calls::default();
        calls.record("111111111111", "ssm:AddTagsToResource", false);
        let before = calls.snapshot();
        calls.record("111111111111", "ssm:AddTagsToResource", true);
        calls.record("222222222222", "tagging:GetResources", false);

        let between = calls.snapshot().since(&before);
        assert_eq!(between.of("ssm:AddTagsToResource"), Count { answered: 0, throttled: 1 });
        assert_eq!(between.of_account("111111111111", "tagging:GetResources").total(), 0);
        assert_eq!(between.iter().count(), 2);
    }
}

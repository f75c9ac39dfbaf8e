//! How long to wait for a manager that is busy.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, SystemTime};

use hub::AccountId;

/// The first wait, at the most. Each further one may be twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer: a manager may be free again at any time.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// How long to wait before a report is sent again, after it was refused `attempt` times and once more.
///
/// The wait is between half and the whole of what the attempt allows. Where in between depends on the account and the
/// time, so that agencies which were refused together do not come back together. There is no random number in it, so
/// that the same run waits the same time again.
pub fn busy_wait(attempt: u32, account: &AccountId, now: SystemTime) -> Duration {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST_WAIT);
    let mut hasher = DefaultHasher::new();
    (account, now).hash(&mut hasher);
    let thousandths = u32::try_from(hasher.finish() % 1_000).unwrap_or_default();
    longest / 2 + longest / 2 * thousandths / 1_000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn waits(attempt: u32) -> Vec<Duration> {
        let account = |index: u32| format!("{index:012}").parse().unwrap();
        (0..200).map(|index| busy_wait(attempt, &account(index), SystemTime::UNIX_EPOCH)).collect()
    }

    #[test]
    fn waits_grow_up_to_a_bound() {
        for (attempt, seconds) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 20), (6, 20), (1_000, 20)] {
            let longest = Duration::from_secs(seconds);
            let waits = waits(attempt);
            assert!(waits.iter().all(|wait| (longest / 2..longest).contains(wait)), "{attempt}: {waits:?}");
        }
    }

    #[test]
    fn agencies_that_were_refused_together_come_back_apart() {
        let waits = waits(4);
        assert!(BTreeSet::from_iter(&waits).len() > 150);
        let (shortest, longest) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*longest > *shortest + Duration::from_secs(7), "{shortest:?} {longest:?}");
    }

    #[test]
    fn the_next_wait_of_an_agency_is_another_share() {
        let account = "222222222222".parse().unwrap();
        let at = |seconds| busy_wait(6, &account, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_ne!(at(1), at(2));
        assert_eq!(at(1), at(1));
    }
}

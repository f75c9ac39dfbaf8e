//! Keeping to the rates that the service publishes.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Turns at equal distances.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// So many turns a second: the first at once.
    pub(super) fn per_second(turns: u32) -> Self {
        Self { interval: Duration::from_secs(1) / turns, next: None }
    }

    /// Waits for the next turn; false where it would not come before `until`.
    pub(super) async fn turn(&mut self, until: Instant) -> bool {
        let now = Instant::now();
        let turn = self.next.map_or(now, |next| next.max(now));
        if turn >= until {
            return false;
        }
        sleep_until(turn).await;
        // From when it came, because a timer may be late.
        self.next = Some(Instant::now() + self.interval);
        true
    }

    /// Keeps the next turn back at least for so long from now.
    pub(super) fn hold_back(&mut self, wait: Duration) {
        let earliest = Instant::now() + wait;
        self.next = Some(self.next.map_or(earliest, |next| next.max(earliest)));
    }

    /// How long so many turns take.
    pub(super) fn time_for(&self, turns: usize) -> Duration {
        self.interval * u32::try_from(turns).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_keep_their_distance_and_end_in_time() {
        let start = Instant::now();
        let mut pace = Pace::per_second(2);
        let mut times = Vec::new();
        while pace.turn(start + Duration::from_millis(1_600)).await {
            times.push(start.elapsed().as_millis());
        }
        assert_eq!(times, [0, 500, 1_000, 1_500]);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(pace.turn(Instant::now() + Duration::from_millis(1)).await, "no turns are saved up or owed");
        assert!(!pace.turn(Instant::now() + Duration::from_millis(499)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_kept_back_and_never_brought_forward() {
        let start = Instant::now();
        let later = start + Duration::from_hours(1);
        let mut pace = Pace::per_second(1);
        let mut times = Vec::new();
        for wait in [0, 300, 4_000] {
            assert!(pace.turn(later).await);
            times.push(start.elapsed().as_millis());
            pace.hold_back(Duration::from_millis(wait));
        }
        assert!(pace.turn(later).await);
        times.push(start.elapsed().as_millis());
        assert_eq!(times, [0, 1_000, 2_000, 6_000]);
    }
}

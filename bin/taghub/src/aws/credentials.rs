//! Credentials that are asked for once and kept.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

/// Credentials that end within this time are asked for anew.
const MARGIN: Duration = Duration::from_mins(5);

/// The credentials of another provider, kept until shortly before they end. An SDK client keeps its own; calls without an
/// SDK crate would otherwise assume a role, or run a program, each time.
#[derive(Debug)]
pub struct Kept {
    provider: SharedCredentialsProvider,
    clock: fn() -> SystemTime,
    last: Mutex<Option<Credentials>>,
}

impl Kept {
    /// Keeps what a provider gives.
    pub fn new(provider: SharedCredentialsProvider, clock: fn() -> SystemTime) -> Self {
        Self { provider, clock, last: Mutex::new(None) }
    }

    fn known(&self) -> Option<Credentials> {
        let until = (self.clock)() + MARGIN;
        let kept = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.filter(|kept| kept.expiry().is_none_or(|end| end > until))
    }
}

impl ProvideCredentials for Kept {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            if let Some(known) = self.known() {
                return Ok(known);
            }
            let new = self.provider.provide_credentials().await?;
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(new.clone());
            Ok(new)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// Counts how often it is asked.
    #[derive(Debug)]
    struct Counting(Arc<AtomicUsize>, Option<Duration>);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            self.0.fetch_add(1, Ordering::Relaxed);
            let end = self.1.map(|left| NOW + left);
            future::ProvideCredentials::ready(Ok(Credentials::new("AKID", "secret", None, end, "test")))
        }
    }

    #[tokio::test]
    async fn credentials_are_kept_until_shortly_before_they_end() {
        for (left, expected) in [
            (None, 1),
            (Some(Duration::from_hours(1)), 1),
            (Some(Duration::from_mins(5)), 3),
            (Some(Duration::ZERO), 3),
        ] {
            let count = Arc::new(AtomicUsize::new(0));
            let kept = Kept::new(SharedCredentialsProvider::new(Counting(count.clone(), left)), || NOW);
            for _ in 0..3 {
                kept.provide_credentials().await.unwrap();
            }
            assert_eq!(count.load(Ordering::Relaxed), expected, "{left:?}");
        }
    }
}

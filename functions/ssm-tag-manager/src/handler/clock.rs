//! Time and chance of one invocation: both come in from outside, so that a test can repeat them.

use std::cell::RefCell;
use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub::ManagedInstanceId;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Invocation;
use crate::plan::Salt;

/// The time of an invocation, and its random numbers.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_ms: i64,
    budget: Duration,
    entropy: [u8; 16],
    random: RefCell<fastrand::Rng>,
}

impl Clock {
    pub(crate) fn new(invocation: &Invocation) -> Self {
        let Invocation { now, begun, budget, entropy, .. } = *invocation;
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seed = entropy.iter().fold(0_u64, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte));
        Self {
            start: begun,
            start_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
            budget,
            entropy,
            random: RefCell::new(fastrand::Rng::with_seed(seed)),
        }
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.start_ms + i64::try_from(self.start.elapsed().as_millis()).unwrap_or_default()
    }

    /// When Lambda ends the invocation.
    pub(crate) fn end_ms(&self) -> i64 {
        self.start_ms + i64::try_from(self.budget.as_millis()).unwrap_or_default()
    }

    /// A duration from the range, for waits that should not be the same everywhere.
    pub(crate) fn random_ms(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.random.borrow_mut().u64(range))
    }

    /// A name for whoever takes a lease: never the same twice.
    pub(crate) fn holder(&self) -> String {
        let nonce = self.random.borrow_mut().u64(..);
        let hash = self.hash(&nonce.to_be_bytes());
        URL_SAFE_NO_PAD.encode(&hash[..16])
    }

    /// Random bits for the memory of a node.
    pub(crate) fn salt(&self, node: &ManagedInstanceId) -> Salt {
        let hash = self.hash(node.as_str().as_bytes());
        std::array::from_fn(|index| hash[index])
    }

    fn hash(&self, text: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.entropy).chain_update(text).finalize().into()
    }
}

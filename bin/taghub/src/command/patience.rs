//! What a watch does when it cannot look.

use std::time::Duration;

use crate::app::App;
use crate::failure::{Exit, Failure};

/// Looks in a row that may fail.
const FAILURES_MAX: usize = 5;

/// Waits through failures that pass: the work in AWS goes on meanwhile.
#[derive(Debug, Default)]
pub struct Patience {
    failures: usize,
}

impl Patience {
    /// Says that a look failed, and waits for the next one.
    ///
    /// # Errors
    /// The failure, if another look would not help, or too many failed in a row.
    pub async fn wait(&mut self, app: &App, failure: Failure, wait: Duration) -> Result<(), Failure> {
        self.failures += 1;
        if failure.exit != Exit::Aws || self.failures > FAILURES_MAX {
            return Err(failure);
        }
        app.say(&format!("not read: {}; again in {} s", failure.message, wait.as_secs()));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

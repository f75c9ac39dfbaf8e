//! From an event to an answer.

use std::fmt;
use std::time::SystemTime;

use hub::{FunctionArn, WireError};
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;

use crate::answer::{RegionAnswer, SweepAnswer};
use crate::config::{Config, InvocationType};
use crate::event::Event;
use crate::sweep::{Aws, Sweep};

/// The function.
#[derive(Debug)]
pub struct Collector<A, N> {
    config: Config,
    aws: A,
    now: N,
}

/// Why an invocation ends in an error.
#[derive(thiserror::Error)]
pub enum CollectError {
    /// The event asks for nothing that the function knows. Nothing was read.
    #[error(transparent)]
    InvalidEvent(#[from] WireError),
    /// A Region was not read to its end, or a batch not taken. Everything else was done.
    #[error("{}", .0.problems())]
    PartialSweep(Box<SweepAnswer>),
}

/// The runtime logs errors in this form, and the answer of a dry run holds tag values: words only.
impl fmt::Debug for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.error_type())
    }
}

impl CollectError {
    /// The name that alarms and callers see.
    pub fn error_type(&self) -> &'static str {
        match self {
            Self::InvalidEvent(_) => "InvalidEvent",
            Self::PartialSweep(_) => "PartialSweep",
        }
    }
}

impl From<CollectError> for Diagnostic {
    fn from(error: CollectError) -> Self {
        let error_message = match &error {
            CollectError::InvalidEvent(_) => error.to_string(),
            CollectError::PartialSweep(answer) => match serde_json::to_string(answer) {
                Ok(answer) => format!("{error}; answer: {answer}"),
                Err(_) => error.to_string(),
            },
        };
        Self { error_type: error.error_type().to_owned(), error_message }
    }
}

impl<A: Aws, N: Fn() -> SystemTime> Collector<A, N> {
    /// A function that reads and reports through `aws` and takes the time from `now`.
    pub fn new(config: Config, aws: A, now: N) -> Self {
        Self { config, aws, now }
    }

    /// Answers one invocation.
    ///
    /// # Errors
    /// `InvalidEvent` before anything was read; `PartialSweep`, with the whole answer in its message, where a
    /// Region or a batch failed. Trouble with a single node is an outcome in the answer.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<SweepAnswer, CollectError> {
        let started = (self.now)();
        let (payload, context) = event.into_parts();
        let deadline = context.deadline();
        let function: FunctionArn = context.invoked_function_arn.parse().map_err(|error: hub::Invalid| WireError {
            path: "context.invokedFunctionArn".to_owned(),
            problem: error.to_string(),
        })?;
        let scope = Event::from_json(&payload)?.scope(&function.account, &self.config.collect_regions)?;
        // A dry run is asked for the sake of its answer.
        let invocation_type = if scope.dry_run { InvocationType::RequestResponse } else { self.config.invocation_type };
        let sweep = Sweep { aws: &self.aws, now: &self.now, deadline, account: function.account, invocation_type };
        let answer = sweep.run(scope).await;
        log(&answer, (self.now)().duration_since(started).unwrap_or_default().as_secs_f64());
        if answer.is_complete() { Ok(answer) } else { Err(CollectError::PartialSweep(Box::new(answer))) }
    }
}

fn log(answer: &SweepAnswer, duration_seconds: f64) {
    let sum = |field: fn(&RegionAnswer) -> usize| answer.regions.iter().map(field).sum::<usize>();
    let counts = answer.counts.unwrap_or_default();
    tracing::info!(
        account = %answer.account,
        dry_run = answer.dry_run,
        complete = answer.is_complete(),
        regions = answer.regions.len(),
        ignored_regions = answer.ignored_regions.len(),
        instances = sum(|region| region.instances),
        batches = sum(|region| region.batches),
        failed_batches = sum(|region| region.failed_batches),
        not_found = answer.not_found.len(),
        received = counts.received,
        updated = counts.updated,
        unchanged = counts.unchanged,
        rejected = counts.rejected,
        failed = counts.failed,
        deferred = counts.deferred,
        tags_set = counts.tags_set,
        tags_removed = counts.tags_removed,
        tags_dropped = counts.tags_dropped,
        duration_seconds,
        "swept"
    );
}

#[cfg(test)]
mod tests;

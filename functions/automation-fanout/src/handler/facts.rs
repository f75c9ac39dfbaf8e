//! What is known before a start. Nothing that cannot be read keeps a request from being started.

use std::collections::HashMap;
use std::time::Duration;

use hub::AwsError;
use tokio::time::timeout;

use super::Run;
use crate::plan::advice::{Allowed, Facts as Known, KnownRegion, Unread};
use crate::plan::request::StartRequest;
use crate::plan::runbook::Runbook;
use crate::ports::World;

/// How long a start waits for each thing that it is checked against.
const WITHIN: Duration = Duration::from_secs(8);

type Key = (String, Option<String>);

/// What this invocation has read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    runbooks: HashMap<Key, Result<Runbook, Unread>>,
    regions: Option<Result<Vec<KnownRegion>, Unread>>,
    /// In how many seconds a Change Calendar opens that is closed.
    pub(super) opens_in: Option<u64>,
}

impl<W: World> Run<'_, W> {
    /// What is known about a request, with the number of steps where somebody will read it.
    pub(super) async fn facts(&mut self, request: &StartRequest, with_steps: bool) -> Known {
        let mut runbook = self.runbook(request).await;
        if let (true, Ok(runbook)) = (with_steps, &mut runbook) {
            let version = request.document_version.as_deref();
            let steps = timeout(WITHIN, self.world.step_count(&request.document_name, version)).await;
            runbook.steps = steps.ok().and_then(Result::ok);
        }
        let regions = if request.target_locations.is_empty() {
            Err(Unread::NotThere)
        } else if let Some(known) = &self.seen.regions {
            known.clone()
        } else {
            let read = match timeout(WITHIN, self.world.regions()).await {
                Ok(Ok(regions)) => Ok(regions),
                Ok(Err(error)) => Err(unread(&error)),
                Err(_) => Err(unanswered()),
            };
            self.seen.regions.insert(read).clone()
        };
        Known { runbook, regions }
    }

    /// The runbook of a request, read once in an invocation.
    pub(super) async fn runbook(&mut self, request: &StartRequest) -> Result<Runbook, Unread> {
        let key = (request.document_name.clone(), request.document_version.clone());
        if let Some(known) = self.seen.runbooks.get(&key) {
            return known.clone();
        }
        let read = match timeout(WITHIN, self.world.runbook(&key.0, key.1.as_deref())).await {
            Ok(Ok(Some(runbook))) => Ok(runbook),
            Ok(Ok(None)) => Err(Unread::NotThere),
            Ok(Err(error)) => Err(unread(&error)),
            Err(_) => Err(unanswered()),
        };
        self.seen.runbooks.insert(key, read.clone());
        read
    }

    /// What the function may do.
    pub(super) fn allowed(&self) -> Allowed<'_> {
        Allowed {
            role_arn: &self.config.administration_role_arn,
            account: self.config.account(),
            aws_runbooks: self.config.aws_runbooks.as_deref(),
            own_runbooks: self.config.own_runbooks.as_deref(),
            step_price: self.config.step_price,
        }
    }
}

fn unread(error: &AwsError) -> Unread {
    tracing::warn!(operation = error.operation, code = error.code, request_id = error.request_id, "call failed");
    Unread::Failed { reason: format!("{}: {}", error.operation, error.code), may_pass: error.retryable }
}

fn unanswered() -> Unread {
    Unread::Failed { reason: "no answer in time".to_owned(), may_pass: true }
}

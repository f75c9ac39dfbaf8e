//! From an event of either kind to its answer.

use hub::Answer;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::ManagerError;
use crate::handler::{Handled, Invocation, handle};
use crate::plan::CoverageRecord;
use crate::ports::{Leases, Retirable};
use crate::retire::{RetireAnswer, retire};

/// What came of an invocation.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it in an invocation")]
pub enum Responded {
    /// A report came.
    Report(Handled),
    /// `{"action": "retire"}` came.
    Retire(Result<RetireAnswer, ManagerError>),
}

/// What the caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To a report.
    Report(Answer),
    /// To `{"action": "retire"}`.
    Retire(RetireAnswer),
}

/// An event of which only the field matters that tells its kind. All else is passed over and not kept.
#[derive(Deserialize)]
struct Kind {
    action: Option<serde::de::IgnoredAny>,
}

impl Responded {
    /// What is to be kept of the agency's coverage.
    pub fn coverage(&self) -> Option<&CoverageRecord> {
        match self {
            Self::Report(handled) => handled.coverage.as_ref(),
            Self::Retire(_) => None,
        }
    }

    /// A report that is refused before it is looked at.
    pub fn refused(error: ManagerError) -> Self {
        Self::Report(Handled::refused(error))
    }

    /// What the caller is told.
    ///
    /// # Errors
    /// See [`ManagerError`].
    pub fn into_result(self) -> Result<Response, ManagerError> {
        match self {
            Self::Report(handled) => handled.result.map(Response::Report),
            Self::Retire(result) => result.map(Response::Retire),
        }
    }
}

/// Answers an invocation: an event with the field `action` asks for retirement, all others are reports.
pub async fn respond(
    config: &Config,
    ports: &(impl Retirable + Leases),
    invocation: &Invocation,
    event: &str,
) -> Responded {
    let asks_for_action = serde_json::from_str::<Kind>(event).is_ok_and(|kind| kind.action.is_some());
    // Boxed, because a future that holds all that either of them may come to is too deep for the compiler.
    if asks_for_action {
        Responded::Retire(Box::pin(retire(config, ports, invocation, event)).await)
    } else {
        Responded::Report(Box::pin(handle(config, ports, invocation, event)).await)
    }
}

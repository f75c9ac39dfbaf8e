//! From an event of either kind to its answer.

use hub::Answer;
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::error::ManagerError;
use crate::handler::{Handled, Invocation, handle};
use crate::retire::{Retirable, RetireAnswer, retire};

/// What came of an invocation.
#[derive(Debug)]
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

impl Responded {
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
pub async fn respond(config: &Config, nodes: &impl Retirable, invocation: &Invocation, event: &Value) -> Responded {
    // Boxed, because a future that holds all that either of them may come to is too deep for the compiler.
    if event.get("action").is_some() {
        Responded::Retire(Box::pin(retire(config, nodes, invocation, event)).await)
    } else {
        Responded::Report(Box::pin(handle(config, nodes, invocation, event)).await)
    }
}

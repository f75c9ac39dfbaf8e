//! From an event of either kind to its answer.

use hub::Answer;
use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::error::ManagerError;
use crate::handler::{Invocation, handle};
use crate::retire::{Retirable, RetireAnswer, retire};

/// What an invocation is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To a report.
    Report(Answer),
    /// To `{"action": "retire"}`.
    Retire(RetireAnswer),
}

/// Answers an invocation: an event with the field `action` asks for retirement, all others are reports.
///
/// # Errors
/// See [`ManagerError`].
pub async fn respond(
    config: &Config,
    nodes: &impl Retirable,
    invocation: &Invocation,
    event: &Value,
) -> Result<Response, ManagerError> {
    // Boxed, because a future that holds all that either of them may come to is too deep for the compiler.
    if event.get("action").is_some() {
        Box::pin(retire(config, nodes, invocation, event)).await.map(Response::Retire)
    } else {
        Box::pin(handle(config, nodes, invocation, event)).await.map(Response::Report)
    }
}

//! Services of which this program calls a few operations, and which speak JSON.

pub use direct_call::{CLOUDWATCH, LOGS, SQS, STATES};

use direct_call::{Caller, JsonService};
use hub::AwsError;
use serde_json::Value;

use crate::aws::session::{CALL_TIMEOUT, Session};

/// Calls an operation. `name` is the service and the operation as IAM spells them, such as `states:StartExecution`.
///
/// # Errors
/// What the service answers, after the SDK's retries.
pub async fn call(
    session: &Session,
    service: JsonService,
    name: &'static str,
    body: &Value,
) -> Result<Value, AwsError> {
    caller(session).json(service, name, body).await
}

/// A caller with the session's credentials, which shows its calls if the session does.
pub fn caller(session: &Session) -> Caller {
    let caller = Caller::new(&session.config, CALL_TIMEOUT);
    match session.tracer() {
        Some(tracer) => caller.with_interceptor(tracer),
        None => caller,
    }
}

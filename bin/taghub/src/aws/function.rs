//! Lambda functions: invoked, and read.

use std::collections::HashMap;

use aws_sdk_lambda::primitives::Blob;
use hub::{AwsError, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::aws::session::Session;
use crate::failure::{Exit, Failure};

/// What a function answered: its own JSON, and the same as a type.
#[derive(Debug, Clone)]
pub struct Answered<T> {
    /// As it came.
    pub raw: Value,
    /// As it is used.
    pub value: T,
}

/// An error in which a function ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// The field `errorType`.
    pub kind: String,
    /// The field `errorMessage`.
    pub message: String,
}

/// Invokes a function and waits for its answer. The inner error is the function's own.
///
/// # Errors
/// What Lambda answers.
pub async fn try_invoke(
    session: &Session,
    function: &str,
    event: &Value,
) -> Result<Result<Value, FunctionError>, AwsError> {
    let payload = Blob::new(event.to_string());
    let output = session.lambda().invoke().function_name(function).payload(payload).send().await;
    let output = output.map_err(|error| AwsError::from_sdk("lambda:InvokeFunction", &error))?;
    let payload = output.payload.map(Blob::into_inner).unwrap_or_default();
    let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
    if output.function_error.is_none() {
        return Ok(Ok(payload));
    }
    let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
    Ok(Err(FunctionError { kind: text("errorType"), message: text("errorMessage") }))
}

/// Invokes a function, for whose errors there is one reading: it failed.
///
/// # Errors
/// What Lambda or the function answers.
pub async fn invoke<T: DeserializeOwned>(
    session: &Session,
    function: &str,
    event: &Value,
) -> Result<Answered<T>, Failure> {
    match try_invoke(session, function, event).await.map_err(|error| Failure::aws(&error, function))? {
        Ok(raw) => decoded(function, raw),
        Err(error) => Err(failed(function, &error)),
    }
}

/// An answer as a type.
///
/// # Errors
/// If it is of another form.
pub fn decoded<T: DeserializeOwned>(function: &str, raw: Value) -> Result<Answered<T>, Failure> {
    match T::deserialize(&raw) {
        Ok(value) => Ok(Answered { raw, value }),
        Err(problem) => {
            Err(Failure::new(Exit::Aws, "unexpected-answer", format!("{function} returned an unexpected answer"))
                .detail(problem.to_string())
                .help("install the taghub of the hub's own version"))
        }
    }
}

/// A function that ended in an error. A request that it refused is wrong usage; the problems come one a line.
pub fn failed(function: &str, error: &FunctionError) -> Failure {
    let (exit, message) = match error.kind.as_str() {
        "InvalidRequest" => (Exit::Usage, format!("{function} refused the request")),
        "" => (Exit::Aws, format!("{function} was stopped before it answered")),
        kind => (Exit::Aws, format!("{function} failed: {kind}")),
    };
    // Functions join problems with semicolons.
    let lines = error.message.split("; ").map(str::to_owned);
    Failure { details: lines.filter(|line| !line.is_empty()).collect(), ..Failure::new(exit, &error.kind, message) }
}

/// The environment variables of a function.
///
/// # Errors
/// What Lambda answers.
pub async fn variables(session: &Session, function: &str) -> Result<HashMap<String, String>, AwsError> {
    let output = session.lambda().get_function_configuration().function_name(function).send().await;
    let output = output.map_err(|error| AwsError::from_sdk("lambda:GetFunctionConfiguration", &error))?;
    Ok(output.environment.and_then(|environment| environment.variables).unwrap_or_default())
}

/// When a function was last changed; nothing if it is not there.
///
/// # Errors
/// What Lambda answers.
pub async fn deployed(session: &Session, function: &str) -> Result<Option<Timestamp>, AwsError> {
    let output = session.lambda().get_function_configuration().function_name(function).send().await;
    match output.map_err(|error| AwsError::from_sdk("lambda:GetFunctionConfiguration", &error)) {
        Ok(output) => Ok(output.last_modified.and_then(|at| instant(&at))),
        Err(error) if error.code == "ResourceNotFoundException" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lambda writes `2026-11-20T06:00:00.000+0000`, whose offset has no colon.
fn instant(text: &str) -> Option<Timestamp> {
    let (time, _) = text.split_at_checked(19)?;
    format!("{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambdas_own_form_of_a_time() {
        assert_eq!(instant("2026-11-20T06:00:00.000+0000"), "2026-11-20T06:00:00Z".parse().ok());
        assert_eq!(instant("yesterday"), None);
    }

    #[test]
    fn a_refused_request_is_wrong_usage_and_every_problem_has_a_line() {
        let error = FunctionError {
            kind: "InvalidRequest".to_owned(),
            message: "Accounts[0]: expected 12 digits; Regions: expected at least one item".to_owned(),
        };
        let failure = failed("automation-fanout", &error);
        assert_eq!(failure.exit, Exit::Usage);
        insta::assert_snapshot!(failure.to_text(), @r"
        error: automation-fanout refused the request
          Accounts[0]: expected 12 digits
          Regions: expected at least one item
        ");
    }
}

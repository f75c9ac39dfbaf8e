//! The error that the runtime reports.

use std::fmt::Display;

use lambda_runtime::Diagnostic;

/// The error of an invocation for the runtime: its words and, behind them, the answer with all that was done.
///
/// `answer` is the answer as JSON; without one, or where it could not be written, the words stand alone.
pub fn diagnostic(error_type: &str, error: &impl Display, answer: Option<serde_json::Result<String>>) -> Diagnostic {
    let error_message = match answer {
        Some(Ok(answer)) => format!("{error}; answer: {answer}"),
        Some(Err(_)) | None => error.to_string(),
    };
    Diagnostic { error_type: error_type.to_owned(), error_message }
}

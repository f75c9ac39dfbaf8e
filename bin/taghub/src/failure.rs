//! How a command ends: its exit code, and for an error what happened, to what, and what to do.

use std::io;

use hub::AwsError;
use serde::Serialize;

use crate::terminal::harmless;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Done, and something is wrong.
    Wrong,
    /// The command line or a file is not in order; nothing was called.
    Usage,
    /// AWS or the hub failed.
    Aws,
    /// No credentials, or not allowed.
    Denied,
    /// There is no such hub, agency, node, run, or campaign.
    Missing,
    /// The hub has a version that this program cannot talk to.
    Version,
    /// The time of `--timeout` is over. The work goes on.
    Timeout,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Wrong => 1,
            Self::Usage => 2,
            Self::Aws => 3,
            Self::Denied => 4,
            Self::Missing => 5,
            Self::Version => 6,
            Self::Timeout => 7,
            Self::Interrupted => 130,
        }
    }

    /// [`Exit::Wrong`] if something is wrong.
    pub fn wrong_if(is_wrong: bool) -> Self {
        if is_wrong { Self::Wrong } else { Self::Done }
    }
}

/// An error, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// A word for programs: a code of AWS, or one of ours.
    pub code: String,
    /// What happened, and to what.
    pub message: String,
    /// More about it, a line each.
    pub details: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

/// An error for programs.
#[derive(Serialize)]
struct Document<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: &'a str,
    message: String,
    help: Option<&'a str>,
}

impl Failure {
    /// An error of one kind.
    pub fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { exit, code: code.to_owned(), message: message.into(), details: Vec::new(), help: None }
    }

    /// The command line or a file is not in order.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Something that was named does not exist.
    pub fn missing(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Missing, code, message)
    }

    /// AWS refused a call, or did not answer. `on` is what the call was about, if that says more than the call.
    pub fn aws(error: &AwsError, on: &str) -> Self {
        let on = if on.is_empty() { String::new() } else { format!(" on {on}") };
        let request = error.request_id.as_ref().map(|id| format!("request {id}"));
        if error.is_access_denied() {
            let mut failure = Self::new(Exit::Denied, &error.code, format!("not allowed: {}{on}", error.operation));
            failure.details.push(error.message.clone());
            failure.details.extend(request);
            return failure
                .help("use a role with the policy that allows it: TagHubReader, TagHubOperator, or TagHubApprover");
        }
        let exit = if is_about_credentials(&error.code) { Exit::Denied } else { Exit::Aws };
        let mut failure = Self::new(exit, &error.code, format!("{}{on} failed: {}", error.operation, error.code));
        failure.details.push(error.message.clone());
        failure.details.extend(request);
        if exit == Exit::Denied {
            return failure.help("renew the credentials, such as with aws sso login");
        }
        if error.retryable { failure.help("try again; -v shows every call") } else { failure }
    }

    /// With one more line about it.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// In words, without a line feed at the end.
    pub fn to_text(&self) -> String {
        let details = self.details.iter().flat_map(|detail| detail.lines());
        let details = details.map(|line| format!("\n  {}", harmless(line)));
        let help = self.help.iter().map(|help| format!("\n  help: {}", harmless(help)));
        details.chain(help).fold(format!("error: {}", harmless(&self.message)), |text, line| text + &line)
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        let message = self.details.iter().fold(self.message.clone(), |text, detail| text + "; " + detail);
        let error = Error { code: &self.code, message, help: self.help.as_deref() };
        // Strings have no form that JSON lacks.
        serde_json::to_string(&Document { error }).unwrap_or_default()
    }
}

/// What the services answer if the credentials are no good or no longer good.
fn is_about_credentials(code: &str) -> bool {
    const CODES: [&str; 8] = [
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "AuthFailure",
        "IncompleteSignature",
    ];
    CODES.contains(&code)
}

/// If nobody reads the output any more, the program ends well and says nothing.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Aws };
        Self::new(exit, "output", format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aws_error(code: &str) -> AwsError {
        AwsError {
            operation: "lambda:InvokeFunction",
            code: code.to_owned(),
            message: "it says so".to_owned(),
            request_id: Some("7c0e1f52-EXAMPLE".to_owned()),
            retryable: false,
        }
    }

    #[test]
    fn three_lines_say_what_to_what_and_what_to_do() {
        let failure = Failure::missing("no-hub", "no hub \"tag-hub\" in 111111111111, us-west-2")
            .detail("The parameter /tag-hub/about is not there.")
            .help("add --region with the hub's Region, or --hub with its name");
        insta::assert_snapshot!(failure.to_text(), @r#"
        error: no hub "tag-hub" in 111111111111, us-west-2
          The parameter /tag-hub/about is not there.
          help: add --region with the hub's Region, or --hub with its name
        "#);
        insta::assert_snapshot!(failure.to_json(), @r#"{"error":{"code":"no-hub","message":"no hub \"tag-hub\" in 111111111111, us-west-2; The parameter /tag-hub/about is not there.","help":"add --region with the hub's Region, or --hub with its name"}}"#);
    }

    #[test]
    fn what_aws_refuses_names_the_permission() {
        let failure = Failure::aws(&aws_error("AccessDeniedException"), "automation-fanout");
        assert_eq!(failure.exit, Exit::Denied);
        insta::assert_snapshot!(failure.to_text(), @r"
        error: not allowed: lambda:InvokeFunction on automation-fanout
          it says so
          request 7c0e1f52-EXAMPLE
          help: use a role with the policy that allows it: TagHubReader, TagHubOperator, or TagHubApprover
        ");
        assert_eq!(Failure::aws(&aws_error("ExpiredTokenException"), "").exit, Exit::Denied);
        assert_eq!(Failure::aws(&aws_error("InternalServerError"), "").exit, Exit::Aws);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit, Exit::Done);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit, Exit::Aws);
    }
}

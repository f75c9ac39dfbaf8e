//! What the handler needs of the world.

use std::fmt;

use hub::{AwsError, Ec2InstanceId, Region};
use lambda_kit::{DEADLINE_EXCEEDED, Stopped};

use crate::config::InvocationType;
use crate::plan::SeenInstance;

/// The code by which Lambda says that the manager is busy: as many invocations run as may, or begin as fast as may.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
const BUSY: &str = "TooManyRequestsException";

/// EC2, and the manager in the central account.
#[expect(async_fn_in_trait, reason = "one thread runs the function: no future has to be sent")]
pub trait Aws {
    /// Reads a page of the instances of a Region in any state: of all, or of at most 200 by ID.
    async fn instances(
        &self,
        region: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError>;

    /// Hands a report to the manager. `RequestResponse` brings its answer, `Event` none.
    async fn report(&self, report: &[u8], invocation_type: InvocationType) -> Result<Option<hub::Answer>, Failure>;
}

/// A page of instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The instances.
    pub instances: Vec<SeenInstance>,
    /// What asks for the next page, if there is one.
    pub next_token: Option<String>,
}

/// Why a Region was not read, or a batch not taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// The error code of AWS, the error type of the manager, or one of the collector's own:
    /// `DeadlineExceeded`, `FunctionError`, `UnexpectedStatus`, `UnreadableAnswer`, `UnexpectedAnswer`.
    pub code: String,
    /// The same in words.
    pub message: String,
}

impl Failure {
    /// A failure with a code of the collector's own.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    /// True if the manager took nothing because it is busy.
    pub fn is_busy(&self) -> bool {
        self.code == BUSY
    }
}

impl From<AwsError> for Failure {
    fn from(error: AwsError) -> Self {
        Self { message: error.to_string(), code: error.code }
    }
}

impl<E: Into<Self> + fmt::Display> From<Stopped<E>> for Failure {
    fn from(stopped: Stopped<E>) -> Self {
        match stopped {
            Stopped::Failed(error) => error.into(),
            Stopped::NotBegun | Stopped::CutOff => Self::new(DEADLINE_EXCEEDED, stopped.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new("EncodingFailed", error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most messages name their code already.
        if !self.message.contains(&self.code) {
            write!(f, "{}: ", self.code)?;
        }
        f.write_str(&self.message)
    }
}

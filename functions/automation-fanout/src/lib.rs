//! `automation-fanout`: starts a runbook over any number of accounts, organizational units and Regions with
//! one invocation, shows where it stands, stops it, and starts it again where it failed.
//!
//! Runs in the central account.
//!
//! # Input
//! | `Action` | what comes with it |
//! |---|---|
//! | `Start` (default) | `StartAutomationExecution`'s own JSON, as `aws ssm start-automation-execution --cli-input-json` takes it, with lists of accounts, Regions and locations of any length; `IdempotencyKey`, `WaitSeconds` |
//! | `Preview` | the same; nothing is called |
//! | `Status` | `AutomationExecutionIds` or `AutomationExecutionId`; `WaitSeconds` |
//! | `Stop` | the same ids; `Type`: `Cancel` (default) or `Complete` |
//! | `Resume` | the same ids; `IdempotencyKey`, `WaitSeconds`, up to four `Tags`, `TargetLocationMaxConcurrency` and `TargetLocationMaxErrors` instead of those that each location had |
//!
//! A `ClientToken` counts as the idempotency key. What does not fit is refused with an error of type
//! `InvalidRequest` that lists every problem with its path.
//!
//! # What is started
//! A location is split to 50 accounts and 50 Regions, and 100 locations make one start. The parts run at the
//! same time. `TargetLocationMaxConcurrency` and `TargetLocationMaxErrors` of the caller's hold over all parts
//! of a location: numbers are shared out, percentages stay, and what does not go round is refused. Where the
//! caller gives none, the service's defaults (1 and 0) are written out and hold for each part. `MaxConcurrency`
//! and `MaxErrors` count targets within one account and Region, so that they stay as they are.
//!
//! The `ClientToken` of a part is a UUID of version 5, made from the idempotency key, or the id of the
//! invocation, and the number of the part. The same invocation again starts nothing twice; another request
//! under the same key is refused by the service (`IdempotentParameterMismatch`). A resumption's tokens also
//! depend on the execution that it resumes, and without a key on nothing else: an execution is resumed once,
//! however often somebody asks.
//!
//! Starts are a second apart, which is the published rate, and an attempt that is made again after a failure takes
//! its turn like a start.
//!
//! A resumption takes in the accounts and Regions where the execution failed, timed out or was cancelled, and
//! those that it never came to before it ended. It carries the tag `tag-hub:resumes` with the old id.
//!
//! # Output
//! [`answer::Answer`], with an outcome for each start, execution, account and Region. [`status::Cause`] says
//! what kind of trouble a location is in. An answer that would not fit into 6 MB leaves out locations that
//! went well, and says how many.
//!
//! # Configuration
//! | variable | meaning | default |
//! |---|---|---|
//! | `AUTOMATION_ADMINISTRATION_ROLE_ARN` | the role that a run takes in the central account; used where `Parameters` has no `AutomationAssumeRole` | required |
//!
//! # IAM actions
//! `ssm:StartAutomationExecution`, `ssm:GetAutomationExecution`, `ssm:DescribeAutomationStepExecutions`,
//! `ssm:StopAutomationExecution`. A start also needs `iam:PassRole` on the administration role, which it hands
//! over, and `ssm:AddTagsToResource` where it has tags, as a resumption always does.
//!
//! # Metrics
//! One line in the embedded metric format for each invocation: see [`metrics()`].
//!
//! # Failure policy
//! A request that is refused fails the invocation before anything is changed. From then on a failure is the
//! outcome of one start, one execution or one location, and `Complete` says whether there was any. The
//! invocation ends in an error only where nothing at all could be done: `NothingStarted`, `NothingStopped`,
//! `NothingRead`, each with the whole answer in its message. Before the deadline nothing further is begun; what
//! is left has the code `DeadlineExceeded`, and an invocation with the same idempotency key takes it up.

pub mod event;

pub mod config;

pub mod plan;

pub mod ports;

pub mod handler;

pub mod answer;
mod error;

mod log;
pub mod metrics;

pub mod aws;

pub use config::Config;
pub use error::FanoutError;
pub use handler::{Invocation, handle};
pub use metrics::metrics;

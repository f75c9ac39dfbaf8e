//! `automation-fanout`: starts a runbook over any number of accounts, organizational units and Regions with
//! one invocation, shows where it stands, stops it, and starts it again where it failed.
//!
//! Runs in the central account.
//!
//! # Input
//! | `Action` | what comes with it |
//! |---|---|
//! | `Start` (default) | `StartAutomationExecution`'s own JSON, as `aws ssm start-automation-execution --cli-input-json` takes it, with lists of accounts, Regions, locations and nodes of any length; `AllTargets`, `Match`, `IdempotencyKey`, `WaitSeconds` |
//! | `Preview` | the same; nothing is changed |
//! | `Preflight` | the same; `TagHub-Preflight` runs over its locations. Or `AutomationExecutionIds` of one that was begun, or a `Campaign` |
//! | `Status` | `AutomationExecutionIds` or `AutomationExecutionId`; `WaitSeconds` |
//! | `List` | `IdempotencyKey`, `DocumentName`, `Outcome`, `StartedAfter`, `StartedBefore`, `InstanceId`, `MaxResults` |
//! | `Stop` | ids; `Type`: `Cancel` (default) or `Complete` |
//! | `Resume` | ids; `IdempotencyKey`, `WaitSeconds`, up to three `Tags`, `TargetLocationMaxConcurrency` and `TargetLocationMaxErrors` instead of those that each location had |
//! | `Signal` | `AutomationExecutionId`, `SignalType`, `Payload` |
//! | `Campaign` | `Name`, `Request`, `Waves`, `Gate`, `Preflight`, `From`, `Resume`: says what the waves are |
//! | `Wave` | for the state machine of `fanout.yaml`: starts a wave of a `Campaign`, or looks at it |
//!
//! A `ClientToken` counts as the idempotency key. What does not fit is refused with an error of type
//! `InvalidRequest` that lists every problem with its path.
//!
//! # What is started
//! A location is split to 50 accounts and 50 Regions, and 100 locations make one start. The parts run at the
//! same time. `TargetLocationMaxConcurrency` and `TargetLocationMaxErrors` of the caller's hold over all parts
//! of a location, for all groups of nodes: numbers are shared out, percentages stay, and what does not go round is refused. Where the
//! caller gives none, the service's defaults (1 and 0) are written out and hold for each part. `MaxConcurrency`
//! and `MaxErrors` count targets within one account and Region; they are shared where a list of more than 50 nodes is
//! split into several starts.
//!
//! The `ClientToken` of a part is a UUID of version 5, made from the idempotency key, or the id of the
//! invocation, and the number of the part. The tag `tag-hub:request` of every part holds a digest of the whole request,
//! so that the service sees another request under the same key in every part, and refuses it
//! (`IdempotentParameterMismatch`). The first part is started first; until it is, and after a refusal that cannot
//! change, nothing else is tried (`NotTried`). A resumption's tokens also depend on the execution that it resumes, and
//! without a key on nothing else: an execution is resumed once, however often somebody asks.
//!
//! Before a start the runbook and the Regions are looked at. `AutomationAssumeRole` is added where the runbook declares
//! it. A runbook with a parameter that takes targets starts without them only with `AllTargets`, and what selects
//! nothing counts as none. Regions that cannot be read stop no start, and a runbook only one that says nothing about
//! what it works on.
//!
//! Starts are a second apart, which is the published rate, and an attempt that is made again after a failure takes
//! its turn like a start.
//!
//! A resumption takes in the accounts and Regions where the execution failed, timed out or was cancelled, and
//! those that it never came to before it ended, each in the location that it was of. It carries the tag `tag-hub:resumes` with the old id.
//!
//! # Output
//! [`answer::Answer`], with an outcome for each start, execution, account and Region. [`plan::cause::Cause`] says
//! what kind of trouble a location is in. An answer that would not fit into 6 MB leaves out locations that
//! went well, and says how many.
//!
//! # Configuration
//! | variable | meaning | default |
//! |---|---|---|
//! | `AUTOMATION_ADMINISTRATION_ROLE_ARN` | the role that a run takes in the central account; used where `Parameters` has no `AutomationAssumeRole` | required |
//! | `ALLOWED_AWS_RUNBOOKS` | which of AWS's runbooks the function's role may start, with commas; for `Preview` | not known |
//! | `ALLOWED_OWN_RUNBOOKS` | the same of this account's runbooks | not known |
//! | `STEP_PRICE_USD` | what a step of a runbook costs; for `Preview` | not known |
//! | `NAME_PREFIX` | what the names of this hub begin with | none |
//! | `AWS_REGION` | the Region; Lambda sets it | none: no `Match` without locations, and `Preflight` names its runbook without a Region |
//!
//! # IAM actions
//! `ssm:StartAutomationExecution`, `ssm:GetAutomationExecution`, `ssm:DescribeAutomationStepExecutions`,
//! `ssm:StopAutomationExecution`, `ssm:SendAutomationSignal`, `ssm:DescribeAutomationExecutions`,
//! `ssm:ListTagsForResource`. To check a start: `ssm:DescribeDocument`, `ssm:GetDocument`, `ec2:DescribeRegions`; for
//! `Match`: `tag:GetResources`; for a campaign with calendars: `ssm:GetCalendarState`. A start also needs `iam:PassRole`
//! on the administration role, which it hands over, `ssm:AddTagsToResource` for its tags, and with an alarm
//! `iam:CreateServiceLinkedRole` for `ssm.amazonaws.com`.
//!
//! # Metrics
//! One line in the embedded metric format for each invocation: see [`metrics()`].
//!
//! # Failure policy
//! A request that is refused fails the invocation before anything is changed. From then on a failure is the
//! outcome of one start, one execution or one location, and `Complete` says whether there was any. The
//! invocation ends in an error only where nothing at all could be done: `NothingStarted`, `NothingStopped`,
//! `NothingRead`, each with the answer in its message, `NotListed`, `CalendarsNotRead` and `NotSignalled`. Before the deadline nothing further is begun; what
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

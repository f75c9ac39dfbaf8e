//! Keeps a live hybrid activation in each agency's Parameter Store, so that its EC2 instances can register as managed
//! nodes of the central account.
//!
//! Runs in the central account, hourly and on demand. It looks at what is and not at what happened: whatever broke
//! since the last run (a crash, a deleted parameter, a used-up activation) is found and repaired by the next one. The
//! agencies are those that have a grant: the aliases `agency-<account id>` of the manager.
//!
//! # Input
//! | event | what is served |
//! |---|---|
//! | `{}` | every agency |
//! | `{"agency": "222222222222"}` | that one |
//! | either with `"dryRun": true` | the same, but nothing is written: the answer says what would be |
//!
//! # The parameter
//! A `SecureString` of the standard tier in each of `PARAMETER_REGIONS`, with the key that it has, or else the account's
//! default: `{"ActivationId": "…", "ActivationCode": "…", "Region": "…", "ExpirationDate": "…", "Account": "…",
//! "HubAccount": "…"}` ([`activation::StoredActivation`]). `Region` and `HubAccount` say where nodes register; `Account`
//! is the agency's.
//!
//! It is written where it is missing or malformed, where its activation is another's, deleted, expired, about to
//! expire, nearly used up or for another role, and where Regions differ: see [`plan::Reason`]. One that is good in any
//! Region is copied to the others before a new one is made.
//!
//! # Output
//! [`answer::Answer`]: for each agency an outcome, and the reason where something had to be done. No code is in it,
//! in the log, in an error or in the `Debug` form of any value.
//!
//! # Configuration
//! | variable | meaning | default |
//! |---|---|---|
//! | `MANAGER_FUNCTION_NAME` | the manager, whose aliases are the grants | required |
//! | `WRITER_ROLE_NAME` | the role in each agency that this function takes | required |
//! | `NODE_ROLE` | the service role of managed nodes, by name and not by ARN | required |
//! | `PARAMETER_NAME` | the parameter in each agency | required |
//! | `PARAMETER_REGIONS` | comma list of Regions that hold the parameter | the function's own |
//! | `REGISTRATION_LIMIT` | how many nodes an activation registers at most, 1 to 1000; fewer if many agencies share `NODE_LIMIT`: see [`plan::ceiling`] | 100 |
//! | `VALID_DAYS` | how long an activation lives, 2 to 30 days; 30 is an hour less | 30 |
//! | `RENEW_BEFORE_DAYS` | with less time left it is renewed; less than `VALID_DAYS` | 7 |
//! | `RENEW_BELOW` | with fewer registrations left it is renewed; at most `REGISTRATION_LIMIT` | 20 |
//! | `RENEWALS_PER_DAY` | how many activations are made for one agency in 24 hours, 1 to 100 | 24 |
//! | `AGENCY_NODE_LIMIT` | how many nodes one agency may have, 1 to 100000 | 1000 |
//! | `NODE_LIMIT` | how many hybrid nodes the account may have, 1 to 100000 | 1000 |
//! | `NAME_PREFIX` | what the names of this hub, and the descriptions of its activations, begin with | none |
//! | `AWS_REGION` | the function's own Region, set by Lambda | |
//!
//! A bad configuration ends the start of the function with one line that lists all its problems.
//!
//! # IAM actions
//! `lambda:ListAliases` on the manager; `ssm:GetServiceSetting` on the setting of the instance tier;
//! `ssm:DescribeActivations`, `ssm:DescribeInstanceInformation`,
//! `ssm:CreateActivation` and `ssm:DeleteActivation` on `*` (the API knows no narrower resource); `sts:AssumeRole` on
//! the writer role in any account. Making an activation also needs, on the nodes' role, `iam:PassRole`, because the
//! activation hands it over, and `ssm:AddTagsToResource`, because it has a tag.
//!
//! # The agency's role
//! `WRITER_ROLE_NAME` in the agency allows `ssm:GetParameter`, `ssm:GetParameterHistory` (which names the parameter's key)
//! and `ssm:PutParameter` on the one parameter. It trusts
//! this function's role alone, with the agency's account id as the external id.
//!
//! # Metrics
//! One line in the embedded metric format for each invocation: see [`metrics()`].
//!
//! # Failure policy
//! An event that cannot be read (`InvalidEvent`), an agency without a grant (`UnknownAgency`) and a list that cannot be
//! had (`NothingRead`) fail the invocation before anything is done. From then on every failure is the outcome of one
//! agency; once all are through, the invocation ends in `PartialIssue`, with the whole answer in its message, where
//! there was any or where no time was left. What an agency held before stays in force until something better is stored.
//! Two runs at once, and a run that is cut off anywhere, do no harm, but that two may exceed a limit: see [`plan`].

pub mod event;

pub mod config;

pub mod activation;

pub mod plan;

mod advice;
pub mod answer;
mod error;
mod log;

pub mod ports;

pub mod handler;
pub mod metrics;

pub mod aws;

pub use config::Config;
pub use error::IssueError;
pub use handler::{Invocation, handle};
pub use metrics::metrics;

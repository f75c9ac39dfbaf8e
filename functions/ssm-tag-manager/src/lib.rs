//! `ssm-tag-manager`: applies the EC2 tags that agencies report to their managed nodes.
//!
//! Runs in the central account. Every agency invokes it through an alias of its own,
//! `agency-<account id>`, and may invoke nothing else: the alias in the invoked ARN is what says who calls.
//!
//! # Input and output
//! A [`hub::Report`] of at most 1,000 instances; the answer is a [`hub::Answer`] with an outcome for every node and a reason for every
//! tag that was left behind.
//!
//! Or `{"action": "retire"}` ([`retire::RetireEvent`]), from the central account alone and through no alias: the
//! nodes of terminated instances are deregistered, and the answer is a [`retire::RetireAnswer`].
//!
//! # Configuration
//! | variable | meaning | default |
//! |---|---|---|
//! | `NAME_PREFIX` | what the names of this hub begin with | none |
//! | `TAG_POLICY` | which tags are carried over, and how: see [`plan::Policy`] | `{}` |
//! | `POLICY_PARAMETERS` | where in Parameter Store other policies are, such as `/tag-hub/policy`: `<path>/<account id>` for one agency, `<path>/default` for all others; read at most once a minute | none: `TAG_POLICY` is for all |
//! | `POLICY_HOLD_PERCENT` | what percentage of the hub's tags on a report's nodes a changed policy may take away before an operator approves it, 0 to 100; above that it only adds tags | `5` |
//! | `APPROVED_POLICIES` | the digests of the policies that an operator approved, with commas; with `POLICY_PARAMETERS` also each parameter `<path>/approved/<account id>/<digest>` for the policy of that agency, `<path>/approved/default/<digest>` for all others | none |
//! | `COVERAGE_PARAMETERS` | where in Parameter Store the coverage of each agency and Region is kept, such as `/tag-hub/coverage`: `<path>/<account id>/<Region>`, written if it changes | none: it is not kept |
//! | `OWNERSHIP_CHECK` | `enforce`: a node belongs to the agency in its tag `tag-hub:agency`; `off`: no check | `enforce` |
//! | `LEASE_TABLE` | the DynamoDB table of leases: see [`ports::Leases`] | `tag-hub-leases` |
//! | `BULK_WRITERS` | how many invocations may write many nodes at the same time, 1 to 8 | `2` |
//! | `RETIRE_NODES` | `off`: terminated instances are ignored; `dry-run`: say which nodes would be marked and deregistered; `on`: do so | `off` |
//! | `RETIRE_GRACE_HOURS` | how old the mark and the last ping of a node have to be, 1 to 8760 | `24` |
//! | `RETIRE_LIMIT` | the most nodes that one run deregisters, 1 to 1000 | `10` |
//!
//! # IAM actions
//! `tag:GetResources`, `ssm:ListTagsForResource`, `ssm:AddTagsToResource`, `ssm:RemoveTagsFromResource`,
//! and on the table of leases `dynamodb:PutItem`, `dynamodb:DeleteItem`, `dynamodb:GetItem`. With `POLICY_PARAMETERS`
//! `ssm:GetParameter` on the parameters below it. With `COVERAGE_PARAMETERS` `ssm:GetParameter`,
//! `ssm:GetParametersByPath` and `ssm:PutParameter` on the parameters below it. If
//! `RETIRE_NODES` is not `off` also `ssm:DescribeInstanceInformation`, and if it is `on`
//! `ssm:DeregisterManagedInstance`. The template allows what a report needs in any case: agencies may still have a version
//! with another configuration.
//!
//! # Metrics
//! One line in the embedded metric format for each invocation: see [`metrics()`].
//!
//! # Failure policy
//! A report that cannot be read or whose sender is not who it claims to be fails the invocation before the
//! first call. So does one of an agency whose policy is not understood (`PolicyInvalid`); that of others goes on. From then on every failure is the outcome of one node. Only a report without a reader
//! (`"reply": false`) ends in the error `Incomplete` where trying again can help, so that Lambda tries again.
//!
//! Coverage that cannot be kept is a line in the log: the next sweep brings it again.
//!
//! A run of retirement fails where the marked nodes cannot be found. What goes wrong with one of them is its outcome.

pub mod config;
pub mod plan;
pub mod ports;

mod answer;
mod error;
mod log;
mod rate_limiter;

pub mod handler;
pub mod metrics;
pub mod retire;

mod respond;

pub mod aws;

pub use answer::LeaseUse;
pub use config::Config;
pub use error::ManagerError;
pub use handler::{Handled, Invocation, handle};
pub use metrics::metrics;
pub use respond::{Responded, Response, respond};

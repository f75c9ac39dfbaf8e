//! `fleet-reporter`: writes the fleet on one page, with its files, into a bucket.
//!
//! Runs in the central account, daily and on demand. What is read goes through the crate `fleet`, which makes the page; this
//! function reads and writes, and `taghub report` uses the same reading.
//!
//! # Input
//! | event | what happens |
//! |---|---|
//! | `{}` | the report is written |
//! | `{"dryRun": true}` | everything is read, and nothing is written |
//!
//! # Output
//! [`answer::Answer`], and in the bucket the objects `index.html`, `fleet.csv` and `fleet.json`. The trend, and since when
//! something has been so, come from the `fleet.json` of the report before.
//!
//! # Configuration
//! | variable | meaning | default |
//! |---|---|---|
//! | `NAME_PREFIX` | what the names of this hub begin with | none |
//! | `MANAGER_FUNCTION_NAME` | the manager, whose aliases are the grants and whose log is read | required |
//! | `REPORT_BUCKET` | the bucket | required |
//! | `NODE_LIMIT` | how many hybrid nodes the account may have, 1 to 100000 | 1000 |
//! | `AWS_REGION` | the function's own Region, set by Lambda | |
//!
//! A bad configuration ends the start of the function with one line that lists all its problems.
//!
//! # IAM actions
//! `lambda:ListAliases` on the manager; `ssm:GetParametersByPath` on `/tag-hub/coverage`; `ssm:DescribeActivations`,
//! `ssm:DescribeInstanceInformation`, `ssm:DescribeInstancePatchStates`, `tag:GetResources` and `cloudwatch:GetMetricData` on
//! `*` (the APIs know no narrower resource); `logs:FilterLogEvents` on the log of the manager; `s3:GetObject` on
//! `fleet.json` in the bucket, with `s3:ListBucket`, without which S3 does not say that an object is not there; and
//! `s3:PutObject` on the three objects.
//!
//! # Metrics
//! One line in the embedded metric format for each invocation: see [`metrics()`].
//!
//! # Failure policy
//! Agencies, coverage and nodes have to be read, or the invocation fails (`NothingRead`) and the last report stays. What else
//! cannot be read is named on the page, which is written all the same, and the invocation ends in `PartialReport`. So it does
//! where the report before cannot be read: the trend then begins anew, and the bucket's versions still have it.

pub mod event;

pub mod config;

pub mod answer;
mod error;
mod log;

pub mod ports;

pub mod gather;
pub mod handler;
pub mod metrics;

pub mod aws;

pub use config::Config;
pub use error::ReportError;
pub use handler::{Invocation, handle};
pub use metrics::metrics;

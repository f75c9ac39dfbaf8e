//! The vocabulary that the functions of Tag Hub share.
//!
//! Types for the things that cross an account boundary (account, Region, function ARN, ids, tags), the
//! reserved tag keys, the report that a collector sends, the answer that the manager gives, and the one reading of
//! an AWS SDK error. Parsers are strict and say what they expected. Nothing in here decides anything about a single
//! function, talks to AWS or reads the clock.

mod activation;
mod arn;
mod aws_error;
mod ids;
mod outcome;
mod report;
mod reserved;
mod timestamp;
mod wire;

pub use activation::{ActivationCode, ActivationId, NotAnActivation, StoredActivation};
pub use arn::{AGENCY_ALIAS_PREFIX, FunctionArn};
pub use aws_error::AwsError;
pub use ids::{AccountId, Ec2InstanceId, Invalid, ManagedInstanceId, Region, shortened};
pub use outcome::{Answer, Counts, DropReason, DroppedTag, NodeAnswer, Outcome, Rejection, TerminatedCounts};
pub use report::{
    Coverage, INSTANCE_TAGS_MAX, Instance, REPORT_INSTANCES_MAX, REPORT_VERSION, Report, Tag, Terminated, Unlinked,
};
pub use reserved::{
    AGENCY_TAG_KEY, APPLIED_TAG_KEY, MANAGED_INSTANCE_ID_TAG_KEY, SOURCE_TAG_KEY, TERMINATED_TAG_KEY, is_reserved,
};
pub use timestamp::Timestamp;
pub use wire::{WireError, decode, decode_str, json_kind};

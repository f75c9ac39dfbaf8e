//! How a run ended, for people and for scripts.

use std::io::{self, Write};

use hub::{ManagedInstanceId, Region};
use serde::Serialize;
use strum::IntoStaticStr;

use crate::aws::Identity;
use crate::failure::Failure;

/// A run that reached its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// What was done, or would be.
    pub done: Done,
    /// This instance.
    pub identity: Identity,
    /// The Region of the hub, if it is known.
    pub hub_region: Option<Region>,
    /// Whether something besides the agent's word shows that Systems Manager accepts it; none if it was not asked.
    pub is_proven: Option<bool>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Done {
    /// Registered and tagged.
    Registered(ManagedInstanceId),
    /// It was registered; the tag was written, whether or not it was missing.
    TagWritten(ManagedInstanceId),
    /// Registered again and tagged, in the place of a registration that was of no use.
    Replaced {
        /// The node that it is now.
        node: ManagedInstanceId,
        /// The node that the machine was registered as, if that could be read.
        old: Option<ManagedInstanceId>,
    },
    /// A dry run: it would be registered.
    WouldRegister,
    /// A dry run: it is registered, and the tag would be written.
    WouldWriteTag(ManagedInstanceId),
}

impl Done {
    fn node(&self) -> Option<&ManagedInstanceId> {
        match self {
            Self::Registered(node)
            | Self::TagWritten(node)
            | Self::Replaced { node, .. }
            | Self::WouldWriteTag(node) => Some(node),
            Self::WouldRegister => None,
        }
    }
}

/// The one line of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    outcome: &'static str,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed_instance_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_instance_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ec2_instance_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hub_region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_use: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
}

/// Prints a run: its line of JSON, or in words a success to standard output and a failure to standard error.
pub fn print(result: &Result<Success, Failure>, as_json: bool) {
    // Nobody may be reading any more, which is no reason to end with another exit code.
    let _ = match result {
        _ if as_json => writeln!(io::stdout(), "{}", json(result)),
        Ok(success) => writeln!(io::stdout(), "{}", words(success)),
        Err(failure) => writeln!(io::stderr(), "register-instance: {failure}"),
    };
}

/// The exit code of a run.
pub fn exit_code(result: &Result<Success, Failure>) -> u8 {
    result.as_ref().err().map_or(0, |failure| failure.reason.exit_code())
}

/// A run as one line of JSON.
pub fn json(result: &Result<Success, Failure>) -> String {
    let exit_code = exit_code(result);
    let line = match result {
        Ok(Success { done, identity, hub_region, is_proven, notes }) => Line {
            outcome: done.into(),
            exit_code,
            reason: None,
            managed_instance_id: done.node().map(ManagedInstanceId::as_str),
            replaced_instance_id: match done {
                Done::Replaced { old, .. } => old.as_ref().map(ManagedInstanceId::as_str),
                _ => None,
            },
            ec2_instance_id: Some(identity.instance.as_str()),
            account: Some(identity.account.as_str()),
            region: Some(identity.region.as_str()),
            hub_region: hub_region.as_ref().map(Region::as_str),
            in_use: is_proven.map(in_use),
            message: None,
            notes,
        },
        Err(Failure { reason, message, node, known }) => {
            let known = known.as_deref();
            let identity = known.map(|known| &known.identity);
            Line {
                outcome: "failed",
                exit_code,
                reason: Some(reason.as_str()),
                managed_instance_id: node.as_ref().map(ManagedInstanceId::as_str),
                replaced_instance_id: known.and_then(|known| known.replaced.as_ref()).map(ManagedInstanceId::as_str),
                ec2_instance_id: identity.map(|identity| identity.instance.as_str()),
                account: identity.map(|identity| identity.account.as_str()),
                region: identity.map(|identity| identity.region.as_str()),
                hub_region: known.and_then(|known| known.hub_region.as_ref()).map(Region::as_str),
                in_use: known.and_then(|known| known.is_proven).map(in_use),
                message: Some(message),
                notes: known.map_or(&[], |known| &known.notes),
            }
        }
    };
    // Strings and a number have no form that JSON lacks.
    serde_json::to_string(&line).unwrap_or_default()
}

fn in_use(is_proven: bool) -> &'static str {
    if is_proven { "proven" } else { "unproven" }
}

/// A success in words, its notes on lines of their own.
fn words(success: &Success) -> String {
    let Success { done, identity, notes, .. } = success;
    let instance = &identity.instance;
    let done = match done {
        Done::Registered(node) | Done::Replaced { node, old: None } => {
            format!("{instance} is now registered as {node}, and tagged")
        }
        Done::TagWritten(node) => format!("{instance} was registered as {node} before; its tag is written"),
        Done::Replaced { node, old: Some(old) } => {
            format!("{instance} is now registered as {node} and no longer as {old}, and tagged")
        }
        Done::WouldRegister => format!("{instance} would be registered; nothing was changed"),
        Done::WouldWriteTag(node) => {
            format!("{instance} is registered as {node}, and its tag would be written; nothing was changed")
        }
    };
    notes.iter().fold(done, |words, note| format!("{words}\n{note}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Reason;

    #[test]
    fn one_line_for_scripts() {
        let identity = Identity {
            account: "222222222222".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            instance: "i-0123456789abcdef0".parse().unwrap(),
        };
        let node = "mi-0123456789abcdef0".parse().unwrap();
        let done = Done::Registered(node);
        let hub_region = Some("us-east-1".parse().unwrap());
        let success =
            Ok(Success { done, identity, hub_region, is_proven: Some(true), notes: vec!["read this".to_owned()] });
        insta::assert_snapshot!(json(&success), @r#"{"outcome":"registered","exitCode":0,"managedInstanceId":"mi-0123456789abcdef0","ec2InstanceId":"i-0123456789abcdef0","account":"222222222222","region":"us-west-2","hubRegion":"us-east-1","inUse":"proven","notes":["read this"]}"#);
        insta::assert_snapshot!(words(success.as_ref().unwrap()), @r"
        i-0123456789abcdef0 is now registered as mi-0123456789abcdef0, and tagged
        read this
        ");
        let failure = Err(Failure::new(Reason::ActivationExpired, "it expired at 2026-11-22T02:00:00Z"));
        insta::assert_snapshot!(json(&failure), @r#"{"outcome":"failed","exitCode":7,"reason":"activation-expired","message":"it expired at 2026-11-22T02:00:00Z"}"#);
    }
}

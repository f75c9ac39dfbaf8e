//! `StartAutomationExecution` in our words: what a caller asks for, and what is sent.
//!
//! Written as JSON it is the API's own request, with nothing added:
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartAutomationExecution.html>.

use std::collections::{BTreeMap, HashSet};

use hub::Tag;
use serde::Serialize;
use strum::EnumString;

use super::limit::Limit;

/// The parameter that names the role of the run in the central account.
pub const ASSUME_ROLE_PARAMETER: &str = "AutomationAssumeRole";

/// The role in the target accounts, where a location names none.
pub const DEFAULT_EXECUTION_ROLE: &str = "AWS-SystemsManager-AutomationExecutionRole";

/// The key of a target that lists what the runbook's parameter takes, such as node ids.
pub const PARAMETER_VALUES: &str = "ParameterValues";

/// One `StartAutomationExecution`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "each field is the API's member of that name")]
pub struct StartRequest {
    pub document_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_version: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_parameter_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_maps: Vec<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_errors: Option<Limit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_locations: Vec<TargetLocation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_configuration: Option<AlarmConfiguration>,
    #[serde(rename = "TargetLocationsURL", skip_serializing_if = "Option::is_none")]
    pub target_locations_url: Option<String>,
}

/// Whether a run goes from step to step by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumString)]
pub enum Mode {
    /// It does.
    Auto,
    /// Somebody sends it on after each step.
    Interactive,
}

/// What the runbook is applied to within an account and Region.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Target {
    /// `tag:<key>`, `ResourceGroup`, `ParameterValues`, or a key that takes `*` for everything.
    pub key: String,
    /// Any of these.
    pub values: Vec<String>,
}

/// Accounts and Regions, and how the runbook goes through them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetLocation {
    /// Account ids, organizational units and roots.
    pub accounts: Vec<String>,
    /// Each account is visited in each of these Regions.
    pub regions: Vec<String>,
    /// How many accounts and Regions at the same time. The service's default is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_location_max_concurrency: Option<Limit>,
    /// How many of them may fail before no further one is begun. The service's default is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_location_max_errors: Option<Limit>,
    /// The role in the target accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_role_name: Option<String>,
    /// The alarm that stops the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_location_alarm_configuration: Option<AlarmConfiguration>,
    /// Whether units below the named ones count too.
    #[serde(skip_serializing_if = "is_false")]
    pub include_child_organization_units: bool,
    /// Accounts and units that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_accounts: Vec<String>,
    /// Targets of this location instead of the request's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// `MaxConcurrency` of this location instead of the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets_max_concurrency: Option<Limit>,
    /// `MaxErrors` of this location instead of the request's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets_max_errors: Option<Limit>,
}

/// The alarm that stops a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AlarmConfiguration {
    /// Whether the run goes on where the alarm's state cannot be read.
    #[serde(skip_serializing_if = "is_false")]
    pub ignore_poll_alarm_failure: bool,
    /// Exactly one.
    pub alarms: Vec<Alarm>,
}

/// A `CloudWatch` alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Alarm {
    /// The alarm's name.
    pub name: String,
}

impl StartRequest {
    /// True where the service alone knows all accounts and Regions that it reaches.
    pub fn hides_accounts(&self) -> bool {
        self.target_locations_url.is_some() || self.target_locations.iter().any(TargetLocation::reaches_unit)
    }
}

impl TargetLocation {
    /// The name of its execution role.
    pub fn execution_role(&self) -> &str {
        self.execution_role_name.as_deref().unwrap_or(DEFAULT_EXECUTION_ROLE)
    }

    /// The accounts and units that it names and does not leave out again.
    pub fn reached(&self) -> impl Iterator<Item = &String> {
        let left_out: HashSet<&String> = self.exclude_accounts.iter().collect();
        self.accounts.iter().filter(move |account| !left_out.contains(account))
    }

    /// True if only the service knows all accounts that it reaches.
    pub fn reaches_unit(&self) -> bool {
        self.reached().any(|account| is_unit(account))
    }

    /// How many accounts times Regions, where no organizational unit hides it.
    pub fn pair_count(&self) -> Option<usize> {
        let has_unit = self.reached().chain(&self.exclude_accounts).any(|account| is_unit(account));
        let count = || self.reached().collect::<HashSet<_>>().len() * self.regions.iter().collect::<HashSet<_>>().len();
        (!has_unit).then(count)
    }
}

/// True for an organizational unit or a root: the service finds out which accounts it holds.
pub fn is_unit(account: &str) -> bool {
    !account.bytes().all(|b| b.is_ascii_digit())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

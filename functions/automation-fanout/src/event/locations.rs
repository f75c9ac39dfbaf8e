//! Reading targets, target locations and their limits.

use std::collections::HashSet;

use serde_json::Value;

use super::checks;
use super::reader::{Expected, Reader};
use super::suggest::nearest;
use crate::plan::limit::Limit;
use crate::plan::problem::Path;
use crate::plan::request::{Alarm, AlarmConfiguration, PARAMETER_VALUES, Target, TargetLocation};

const LOCATION_MEMBERS: [&str; 11] = [
    "Accounts",
    "Regions",
    "TargetLocationMaxConcurrency",
    "TargetLocationMaxErrors",
    "ExecutionRoleName",
    "TargetLocationAlarmConfiguration",
    "IncludeChildOrganizationUnits",
    "ExcludeAccounts",
    "Targets",
    "TargetsMaxConcurrency",
    "TargetsMaxErrors",
];

/// The keys of a target that are words, and whether the only value is `*`:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/running-automations-map-targets.html>.
const TARGET_KEYS: [(&str, bool); 7] = [
    ("tag-key", false),
    ("ResourceGroup", false),
    ("ParameterValues", false),
    ("InstanceIds", true),
    ("AWS::EC2::Instance", true),
    ("resource-groups:Name", false),
    ("resource-groups:ResourceTypeFilters", false),
];

const VALUES_MAX: usize = 50;

const ACCOUNT: Expected = Expected::Open("an account id of 12 digits, an organizational unit ou-… or a root r-…");
const EXCLUDED: Expected = Expected::Open(
    "an account id of 12 digits or an organizational unit, by the pattern \
     ^((ou-[a-z0-9]{4,32}-[a-z0-9]{8,32})|(\\d{12}))$ (a root cannot be left out)",
);
const ROLE_NAME: Expected = Expected::Open("the name of a role, not its ARN, of 1 to 64 characters");

/// Locations of any number, each with accounts and Regions of any number.
pub(super) fn target_locations(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Vec<TargetLocation> {
    let items = reader.list(value, path, (1, usize::MAX)).unwrap_or_default().iter().enumerate();
    items.filter_map(|(index, item)| target_location(reader, item, &path.index(index))).collect()
}

fn target_location(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<TargetLocation> {
    let fields = reader.object(value, path, &LOCATION_MEMBERS)?;
    let any = (1, usize::MAX);
    for name in ["Accounts", "Regions"].into_iter().filter(|name| !fields.contains_key(*name)) {
        reader.refuse(&path.field(name), "expected at least one, got nothing");
    }
    let strings = |reader: &mut Reader, name: &str, bounds, expected: &Expected, is_valid: fn(&str) -> bool| {
        let value = fields.get(name);
        value.map(|value| reader.strings(value, &path.field(name), bounds, expected, is_valid)).unwrap_or_default()
    };
    let region = Expected::Open("a Region code such as us-east-1");
    let limit = |reader: &mut Reader, name: &str, read: fn(&mut Reader, &Value, &Path<'_>) -> Option<Limit>| {
        fields.get(name).and_then(|value| read(reader, value, &path.field(name)))
    };
    Some(TargetLocation {
        accounts: strings(reader, "Accounts", any, &ACCOUNT, checks::is_account_or_unit),
        regions: strings(reader, "Regions", any, &region, |text| text.parse::<hub::Region>().is_ok()),
        target_location_max_concurrency: limit(reader, "TargetLocationMaxConcurrency", concurrency),
        target_location_max_errors: limit(reader, "TargetLocationMaxErrors", errors),
        execution_role_name: fields
            .get("ExecutionRoleName")
            .and_then(|value| reader.string(value, &path.field("ExecutionRoleName"), &ROLE_NAME, checks::is_role_name)),
        target_location_alarm_configuration: fields
            .get("TargetLocationAlarmConfiguration")
            .and_then(|value| alarm(reader, value, &path.field("TargetLocationAlarmConfiguration"))),
        include_child_organization_units: fields
            .get("IncludeChildOrganizationUnits")
            .and_then(|value| reader.boolean(value, &path.field("IncludeChildOrganizationUnits")))
            .unwrap_or_default(),
        exclude_accounts: strings(reader, "ExcludeAccounts", (1, 5000), &EXCLUDED, checks::is_excludable),
        targets: fields
            .get("Targets")
            .map(|value| {
                let path = path.field("Targets");
                let targets = targets(reader, value, &path);
                refuse_long_lists(reader, &targets, &path);
                targets
            })
            .unwrap_or_default(),
        targets_max_concurrency: limit(reader, "TargetsMaxConcurrency", concurrency),
        targets_max_errors: limit(reader, "TargetsMaxErrors", errors),
    })
}

/// A list of resources that is longer than the API takes makes several starts, and a location is in one of them.
fn refuse_long_lists(reader: &mut Reader, targets: &[Target], path: &Path<'_>) {
    for (index, target) in targets.iter().enumerate().filter(|(_, target)| target.key == PARAMETER_VALUES) {
        let count = target.values.iter().collect::<HashSet<_>>().len();
        if count > VALUES_MAX {
            let text = format!(
                "expected at most {VALUES_MAX} values in a location, got {count}; a longer list is split into several starts \
                 as Targets of the request"
            );
            reader.refuse(&path.index(index).field("Values"), text);
        }
    }
}

/// At most one target: the service looks for one tag or one group at a time.
pub(super) fn targets(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Vec<Target> {
    let items = reader.list(value, path, (0, usize::MAX)).unwrap_or_default();
    if items.len() > 1 {
        let text = format!(
            "expected one target, since the service takes one tag or group at a time, got {}; name a resource group that \
             has them all, or give Match for managed nodes of the central account",
            items.len()
        );
        reader.refuse(path, text);
    }
    let items = items.iter().enumerate();
    items.filter_map(|(index, item)| target(reader, item, &path.index(index))).collect()
}

fn target(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<Target> {
    let fields = reader.object(value, path, &["Key", "Values"])?;
    let key_path = path.field("Key");
    let Some(key) = fields.get("Key") else {
        reader.refuse(&key_path, "expected tag:KEY, ResourceGroup or ParameterValues, got nothing");
        return None;
    };
    let words = Expected::Open("1 to 163 letters, numbers, spaces and _ . : / = - @ (a key with + cannot be targeted)");
    let key = reader.string(key, &key_path, &words, checks::is_target_key)?;
    let values_path = path.field("Values");
    let any = Expected::Open("a string");
    // More values than the API takes are split into several starts, where each value is a resource by itself.
    let most = if key == PARAMETER_VALUES { usize::MAX } else { VALUES_MAX };
    let values = fields.get("Values").map(|values| reader.strings(values, &values_path, (0, most), &any, |_| true));
    let values = values.unwrap_or_default();
    let plain = key.trim().to_ascii_lowercase();
    if plain.starts_with("tag:") && !key.starts_with("tag:") {
        let rest = key.trim().split_once(':').map_or("KEY", |(_, rest)| rest);
        reader.refuse(&key_path, format!("unknown key {key:?}; did you mean tag:{rest}?"));
    } else if let Some(tag) = key.strip_prefix("tag:") {
        if tag.is_empty() {
            reader.refuse(&key_path, "expected a tag key after tag:, got nothing");
        }
    } else if let Some((_, is_everything)) = TARGET_KEYS.iter().find(|(known, _)| *known == key) {
        if *is_everything && values != ["*"] {
            reader.refuse(&values_path, format!("expected [\"*\"], the only value of {key}"));
        } else if values.is_empty() {
            reader.refuse(&values_path, format!("expected 1 to 50 values of {key}, got none"));
        }
    } else {
        // A key that looks like a known one is a mistake; any other may be newer than this list.
        let known: Vec<&str> = TARGET_KEYS.iter().map(|(known, _)| *known).chain(["tag:KEY"]).collect();
        if let Some(near) = nearest(&key, &known) {
            reader.refuse(&key_path, format!("unknown key {key:?}; did you mean {near}?"));
        }
    }
    Some(Target { key, values })
}

/// What may run at the same time.
pub(super) fn concurrency(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<Limit> {
    let words = Expected::Open("a string with a number from 1 or a percentage from 1% to 100%");
    reader.parsed(value, path, &words, Limit::concurrency)
}

/// What may go wrong.
pub(super) fn errors(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<Limit> {
    let words = Expected::Open("a string with a number from 0 or a percentage from 0% to 100%");
    reader.parsed(value, path, &words, Limit::errors)
}

/// The one alarm that stops a run.
pub(super) fn alarm(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<AlarmConfiguration> {
    let fields = reader.object(value, path, &["IgnorePollAlarmFailure", "Alarms"])?;
    let ignore_poll_alarm_failure = fields
        .get("IgnorePollAlarmFailure")
        .and_then(|value| reader.boolean(value, &path.field("IgnorePollAlarmFailure")))
        .unwrap_or_default();
    let path = path.field("Alarms");
    let Some(list) = fields.get("Alarms") else {
        reader.refuse(&path, "expected exactly one alarm, got nothing");
        return None;
    };
    let items = reader.list(list, &path, (1, 1)).unwrap_or_default().iter().enumerate();
    let alarms = items.filter_map(|(index, item)| {
        let path = path.index(index);
        let fields = reader.object(item, &path, &["Name"])?;
        let Some(name) = fields.get("Name") else {
            reader.refuse(&path.field("Name"), "expected the name of an alarm, got nothing");
            return None;
        };
        let words = Expected::Open("the name of an alarm, of 1 to 255 characters");
        Some(Alarm { name: reader.string(name, &path.field("Name"), &words, checks::is_alarm_name)? })
    });
    Some(AlarmConfiguration { ignore_poll_alarm_failure, alarms: alarms.collect() })
}

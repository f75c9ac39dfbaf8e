//! Reading `StartAutomationExecution`'s own JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::checks;
use super::locations::{alarm, concurrency, errors, target_locations, targets};
use super::reader::{Expected, Reader};
use crate::config::is_role_arn;
use crate::plan::problem::Path;
use crate::plan::request::{ASSUME_ROLE_PARAMETER, Mode, PARAMETER_VALUES, StartRequest};

/// The members of the API's request.
pub(super) const MEMBERS: [&str; 14] = [
    "DocumentName",
    "DocumentVersion",
    "Parameters",
    "ClientToken",
    "Mode",
    "TargetParameterName",
    "Targets",
    "TargetMaps",
    "MaxConcurrency",
    "MaxErrors",
    "TargetLocations",
    "TargetLocationsURL",
    "Tags",
    "AlarmConfiguration",
];

/// The service takes no more than five on an execution, and two are ours: one ties each start to the whole request, and one
/// marks an execution that somebody stopped.
pub(super) const TAGS_MAX: usize = 3;
const PARAMETERS_MAX: usize = 200;
const VALUES_MAX: usize = 50;

const PARAMETER_NAME: Expected = Expected::Open("a parameter name of 1 to 50 characters");

/// Reads what is there, at a path; what does not fit is refused and left out.
pub(super) fn start_request(reader: &mut Reader, fields: &Map<String, Value>, root: &Path<'_>) -> StartRequest {
    let text = |reader: &mut Reader, name: &str, expected: &Expected, is_valid: fn(&str) -> bool| {
        fields.get(name).and_then(|value| reader.string(value, &root.field(name), expected, is_valid))
    };
    let document_name = text(
        reader,
        "DocumentName",
        &Expected::Open("the name of a runbook, or arn:PARTITION:ssm:REGION:ACCOUNT:document/NAME"),
        checks::is_document_name,
    );
    if !fields.contains_key("DocumentName") {
        reader.refuse(&root.field("DocumentName"), "expected the name or the ARN of a runbook, got nothing");
    }
    let version = Expected::Open("$LATEST, $DEFAULT or a version number");
    let document_version = text(reader, "DocumentVersion", &version, checks::is_document_version);
    let client_token = fields
        .get("ClientToken")
        .and_then(|value| reader.parsed(value, &root.field("ClientToken"), &Expected::Open("a UUID"), checks::token));
    let mode = member(fields, root, "Mode", |value, path| mode(reader, value, path));
    let target_parameter_name =
        text(reader, "TargetParameterName", &PARAMETER_NAME, |name| checks::is_length(name, 1, 50));
    let url = Expected::Secret("https://BUCKET.s3.REGION.amazonaws.com/KEY, presigned");
    let target_locations_url = text(reader, "TargetLocationsURL", &url, checks::is_locations_url);
    let request = StartRequest {
        document_name: document_name.unwrap_or_default(),
        document_version,
        parameters: member(fields, root, "Parameters", |value, path| parameters(reader, value, path)),
        client_token,
        mode,
        target_parameter_name,
        targets: member(fields, root, "Targets", |value, path| targets(reader, value, path)),
        target_maps: member(fields, root, "TargetMaps", |value, path| target_maps(reader, value, path)),
        max_concurrency: member(fields, root, "MaxConcurrency", |value, path| concurrency(reader, value, path)),
        max_errors: member(fields, root, "MaxErrors", |value, path| errors(reader, value, path)),
        target_locations: member(fields, root, "TargetLocations", |value, path| target_locations(reader, value, path)),
        tags: member(fields, root, "Tags", |value, path| tags(reader, value, path, TAGS_MAX)),
        alarm_configuration: member(fields, root, "AlarmConfiguration", |value, path| alarm(reader, value, path)),
        target_locations_url,
    };
    together(reader, fields, &request, root);
    request
}

/// A member of what stands at a path, or its empty value where it is absent.
pub(super) fn member<T: Default>(
    fields: &Map<String, Value>,
    root: &Path<'_>,
    name: &str,
    read: impl FnOnce(&Value, &Path<'_>) -> T,
) -> T {
    fields.get(name).map(|value| read(value, &root.field(name))).unwrap_or_default()
}

/// What has to hold between the members.
fn together(reader: &mut Reader, fields: &Map<String, Value>, request: &StartRequest, root: &Path<'_>) {
    // An empty list is as good as none.
    let has = |name: &str| fields.get(name).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()));
    let place_of_targets = if has("Match") {
        Some("Match".to_owned())
    } else if has("Targets") {
        Some("Targets".to_owned())
    } else {
        let index = request.target_locations.iter().position(|location| !location.targets.is_empty());
        index.map(|index| format!("TargetLocations[{index}].Targets"))
    };
    match &place_of_targets {
        Some(place) => {
            if has("TargetMaps") {
                reader.refuse(
                    &root.field("TargetMaps"),
                    format!("expected only one of {place} and TargetMaps, got both"),
                );
            }
            if !has("TargetParameterName") {
                let text = format!("expected the runbook's parameter that takes what {place} finds, got nothing");
                reader.refuse(&root.field("TargetParameterName"), text);
            }
        }
        None if has("TargetParameterName") && !has("TargetMaps") && !has("TargetLocationsURL") => {
            reader.refuse(&root.field("Targets"), "expected a target together with TargetParameterName, got nothing");
        }
        None => {}
    }
    if request.target_parameter_name.as_deref() == Some(ASSUME_ROLE_PARAMETER) {
        let text = format!("expected another parameter than {ASSUME_ROLE_PARAMETER}, which cannot be a target");
        reader.refuse(&root.field("TargetParameterName"), text);
    }
    if has("TargetLocations") && has("TargetLocationsURL") {
        reader.refuse(
            &root.field("TargetLocationsURL"),
            "expected only one of TargetLocations and TargetLocationsURL, got both",
        );
    }
}

fn mode(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<Mode> {
    reader.parsed(value, path, &Expected::Open("Auto or Interactive"), |text| text.parse().ok())
}

fn parameters(reader: &mut Reader, value: &Value, path: &Path<'_>) -> BTreeMap<String, Vec<String>> {
    let Some(fields) = reader.map(value, path) else {
        return BTreeMap::new();
    };
    let own_role = usize::from(!fields.contains_key(ASSUME_ROLE_PARAMETER));
    if fields.len() + own_role > PARAMETERS_MAX {
        let text =
            format!("expected at most {PARAMETERS_MAX} with {ASSUME_ROLE_PARAMETER}, got {}", fields.len() + own_role);
        reader.refuse(path, text);
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in fields {
        let path = path.field(name);
        if !checks::is_length(name, 1, 50) {
            reader.refuse(&path, "expected a parameter name of 1 to 50 characters");
        }
        let values = if name == ASSUME_ROLE_PARAMETER {
            let role = Expected::Secret("a role ARN: arn:PARTITION:iam::ACCOUNT:role/NAME");
            reader.strings(value, &path, (1, 1), &role, |text| is_role_arn(text) || checks::is_template(text))
        } else {
            // The model's limit of 512 characters is not what the service enforces everywhere.
            let words = Expected::Secret("a string of at least 1 character");
            let values = reader.strings(value, &path, (0, usize::MAX), &words, |text| !text.is_empty());
            if values.len() > VALUES_MAX {
                let text = format!(
                    "expected at most {VALUES_MAX} values, got {}; to run over more, give them as Targets with the Key \
                     {PARAMETER_VALUES}, which are split into several starts, or name a resource group",
                    values.len()
                );
                reader.refuse(&path, text);
            }
            values
        };
        parameters.insert(name.clone(), values);
    }
    parameters
}

fn target_maps(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Vec<BTreeMap<String, Vec<String>>> {
    let mut maps = Vec::new();
    for (index, item) in reader.list(value, path, (0, 300)).unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        let Some(fields) = reader.map(item, &path) else {
            continue;
        };
        if !(1..=20).contains(&fields.len()) {
            reader.refuse(&path, format!("expected 1 to 20 parameters, got {}", fields.len()));
        }
        let mut map = BTreeMap::new();
        for (name, value) in fields {
            let path = path.field(name);
            if !checks::is_length(name, 1, 50) {
                reader.refuse(&path, "expected a parameter name of 1 to 50 characters");
            }
            let words = Expected::Secret("a string of 1 to 50 characters");
            let values = reader.strings(value, &path, (0, 25), &words, |text| checks::is_length(text, 1, 50));
            map.insert(name.clone(), values);
        }
        maps.push(map);
    }
    maps
}

/// Tags of the execution, at most `max` of them.
pub(super) fn tags(reader: &mut Reader, value: &Value, path: &Path<'_>, max: usize) -> Vec<hub::Tag> {
    let mut tags = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, item) in reader.list(value, path, (0, max)).unwrap_or_default().iter().enumerate() {
        let path = path.index(index);
        let Some(fields) = reader.object(item, &path, &["Key", "Value"]) else {
            continue;
        };
        for name in ["Key", "Value"].into_iter().filter(|name| !fields.contains_key(*name)) {
            reader.refuse(&path.field(name), "expected a string, got nothing");
        }
        let key = fields.get("Key").and_then(|value| {
            let words = Expected::Open(
                "1 to 128 letters, numbers, spaces and _ . : / = + - @, not beginning with aws: or tag-hub:",
            );
            let is_valid = |key: &str| !key.is_empty() && checks::is_tag_text(key, 128) && !hub::is_reserved(key);
            reader.string(value, &path.field("Key"), &words, is_valid)
        });
        let value = fields.get("Value").and_then(|value| {
            let words = Expected::Open("at most 256 letters, numbers, spaces and _ . : / = + - @");
            reader.string(value, &path.field("Value"), &words, |value| checks::is_tag_text(value, 256))
        });
        if let (Some(key), Some(value)) = (key, value) {
            if !seen.insert(key.clone()) {
                reader.refuse(&path.field("Key"), format!("expected each key once, got {key:?} again"));
            }
            tags.push(hub::Tag { key, value });
        }
    }
    tags
}

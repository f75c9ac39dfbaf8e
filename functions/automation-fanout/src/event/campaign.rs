//! Reading a campaign.

use std::time::Duration;

use serde_json::{Map, Value};

use super::reader::{Expected, Reader};
use super::{all_targets, checks, start};
use crate::plan;
use crate::plan::campaign::{Campaign, Choice, Gate, Wave, waves};
use crate::plan::problem::{Path, Problem};
use crate::plan::request::StartRequest;

const FIELDS: [&str; 8] = ["Action", "Name", "Request", "Waves", "Gate", "Preflight", "From", "Resume"];
const NAME_MAX: usize = 150;
const WAVE_NAME_MAX: usize = 64;
const WAVES_MAX: usize = 50;
const SOAK_MINUTES_MAX: u64 = 7 * 24 * 60;
const APPROVAL_MINUTES_MAX: u64 = 30 * 24 * 60;
const APPROVAL_MINUTES: u64 = 24 * 60;
const MINUTE: u64 = 60;

/// A campaign that stands at a path; what does not fit is refused.
pub(super) fn campaign(reader: &mut Reader, fields: &Map<String, Value>, root: &Path<'_>) -> Campaign {
    if !matches!(root, Path::Root) {
        for name in fields.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            reader.refuse(&root.field(name), format!("unknown field; expected one of {}", FIELDS.join(", ")));
        }
    }
    let before = reader.problems.len();
    let words =
        Expected::Open("1 to 150 characters, none of them /, invisible or decomposed (NFD), and no space at the ends");
    let name = name(reader, fields, root, &words, NAME_MAX);
    let path = root.field("Request");
    let request = if let Some(value) = fields.get("Request") {
        reader.map(value, &path).map(|fields| request(reader, fields, &path))
    } else {
        reader.refuse(&path, "expected the request of the runbook, got nothing");
        None
    };
    let (request, all_targets) = request.unwrap_or_default();
    let boolean = |reader: &mut Reader, name: &str| {
        start::member(fields, root, name, |value, path| reader.boolean(value, path)).unwrap_or_default()
    };
    let any = Expected::Open("the name of a wave");
    let campaign = Campaign {
        name,
        request,
        all_targets,
        waves: waves_of(reader, fields, root),
        gate: start::member(fields, root, "Gate", |value, path| Some(gate(reader, value, path)))
            .unwrap_or_else(no_gate),
        preflight: boolean(reader, "Preflight"),
        from: start::member(fields, root, "From", |value, path| reader.string(value, path, &any, |_| true)),
        resume: boolean(reader, "Resume"),
    };
    // What waves make of a request that was not understood would only repeat its problems.
    if reader.problems.len() == before
        && let Err(problems) = waves(&campaign)
    {
        reader.problems.extend(problems.into_iter().map(|problem| under(root, problem)));
    }
    campaign
}

/// Stands in for a campaign that was not understood.
pub(super) fn nothing() -> Campaign {
    Campaign {
        name: String::new(),
        request: StartRequest::default(),
        all_targets: false,
        waves: Vec::new(),
        gate: no_gate(),
        preflight: false,
        from: None,
        resume: false,
    }
}

fn no_gate() -> Gate {
    Gate {
        max_failed_percent: 0,
        soak: Duration::ZERO,
        approval: false,
        approval_timeout: Duration::from_secs(APPROVAL_MINUTES * MINUTE),
        calendars: Vec::new(),
    }
}

fn under(root: &Path<'_>, problem: Problem) -> Problem {
    match root {
        Path::Root => problem,
        root => Problem { path: format!("{root}.{}", problem.path), ..problem },
    }
}

fn name(reader: &mut Reader, fields: &Map<String, Value>, root: &Path<'_>, words: &Expected, max: usize) -> String {
    let path = root.field("Name");
    let Some(value) = fields.get("Name") else {
        reader.refuse(&path, "expected a name, got nothing");
        return String::new();
    };
    // A slash stands between the two in a key.
    let is_name = |text: &str| checks::is_length(text, 1, max) && checks::is_plain(text) && !text.contains('/');
    reader.string(value, &path, words, is_name).unwrap_or_default()
}

fn request(reader: &mut Reader, fields: &Map<String, Value>, root: &Path<'_>) -> (StartRequest, bool) {
    let refused = ["ClientToken", "TargetLocationsURL"];
    let members = start::MEMBERS.iter().copied().filter(|name| !refused.contains(name));
    let known: Vec<&str> = members.chain(["AllTargets"]).collect();
    for name in fields.keys() {
        let path = root.field(name);
        if matches!(name.as_str(), "IdempotencyKey" | "ClientToken") {
            reader.refuse(&path, "expected no key: each wave has one of its own, made of the names");
        } else if name == "TargetLocationsURL" {
            reader.refuse(&path, "expected TargetLocations, which waves are made of");
        } else if name == "Action" || !known.contains(&name.as_str()) {
            reader.refuse(&path, format!("unknown field; expected one of {}", known.join(", ")));
        }
    }
    let request = start::start_request(reader, fields, root);
    if request.target_locations.is_empty() && !fields.contains_key("TargetLocations") {
        reader.refuse(&root.field("TargetLocations"), "expected at least one location, got nothing");
    }
    // Its limits are shared over the parts of each wave, which are fewer.
    let mut whole = request.clone();
    for location in &mut whole.target_locations {
        location.target_location_max_concurrency = None;
        location.targets_max_concurrency = None;
    }
    if let Err(problems) = plan::split(&whole) {
        reader.problems.extend(problems.into_iter().map(|problem| under(root, problem)));
    }
    (request, all_targets(reader, fields, root))
}

fn waves_of(reader: &mut Reader, fields: &Map<String, Value>, root: &Path<'_>) -> Vec<Wave> {
    let path = root.field("Waves");
    let Some(value) = fields.get("Waves") else {
        reader.refuse(&path, "expected at least one wave, got nothing");
        return Vec::new();
    };
    let items = reader.list(value, &path, (1, WAVES_MAX)).unwrap_or_default().iter().enumerate();
    items.filter_map(|(index, item)| wave(reader, item, &path.index(index))).collect()
}

fn wave(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Option<Wave> {
    const CHOICES: [&str; 4] = ["Accounts", "OrganizationalUnits", "Regions", "Percent"];
    let fields = reader.object(value, path, &["Name", "Accounts", "OrganizationalUnits", "Regions", "Percent"])?;
    let words =
        Expected::Open("1 to 64 characters, none of them /, invisible or decomposed (NFD), and no space at the ends");
    let name = name(reader, fields, path, &words, WAVE_NAME_MAX);
    let given: Vec<&str> = CHOICES.into_iter().filter(|choice| fields.contains_key(*choice)).collect();
    let [choice] = given.as_slice() else {
        let got = if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
        reader.refuse(path, format!("expected one of {}, got {got}", CHOICES.join(", ")));
        return None;
    };
    let (value, at) = (&fields[*choice], path.field(choice));
    let strings = |reader: &mut Reader, words: &'static str, is_valid: fn(&str) -> bool| {
        reader.strings(value, &at, (1, usize::MAX), &Expected::Open(words), is_valid)
    };
    let choice = match *choice {
        "Accounts" => Choice::Accounts(strings(reader, "an account id of 12 digits", |text| {
            text.parse::<hub::AccountId>().is_ok()
        })),
        "OrganizationalUnits" => Choice::OrganizationalUnits(strings(reader, "a unit ou-… or a root r-…", |text| {
            checks::is_account_or_unit(text) && text.parse::<hub::AccountId>().is_err()
        })),
        "Regions" => Choice::Regions(strings(reader, "a Region code such as us-east-1", |text| {
            text.parse::<hub::Region>().is_ok()
        })),
        _ => Choice::Percent(reader.number(value, &at, (1, 100)).and_then(|n| u8::try_from(n).ok())?),
    };
    Some(Wave { name, choice })
}

fn gate(reader: &mut Reader, value: &Value, path: &Path<'_>) -> Gate {
    let known = ["MaxFailedPercent", "SoakMinutes", "Approval", "ApprovalMinutes", "Calendars"];
    let Some(fields) = reader.object(value, path, &known) else { return no_gate() };
    let number = |reader: &mut Reader, name: &str, bounds| {
        start::member(fields, path, name, |value, path| reader.number(value, path, bounds))
    };
    let minutes = |minutes: Option<u64>, usual| Duration::from_secs(minutes.unwrap_or(usual) * MINUTE);
    let approval = start::member(fields, path, "Approval", |value, path| reader.boolean(value, path));
    let within = number(reader, "ApprovalMinutes", (1, APPROVAL_MINUTES_MAX));
    if within.is_some() && approval != Some(true) {
        reader.refuse(&path.field("ApprovalMinutes"), "expected only together with \"Approval\": true");
    }
    let calendar = Expected::Open("the name or the ARN of a Change Calendar");
    Gate {
        max_failed_percent: number(reader, "MaxFailedPercent", (0, 100))
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(0),
        soak: minutes(number(reader, "SoakMinutes", (0, SOAK_MINUTES_MAX)), 0),
        approval: approval.unwrap_or_default(),
        approval_timeout: minutes(within, APPROVAL_MINUTES),
        calendars: start::member(fields, path, "Calendars", |value, path| {
            reader.strings(value, path, (1, 10), &calendar, checks::is_document_name)
        }),
    }
}

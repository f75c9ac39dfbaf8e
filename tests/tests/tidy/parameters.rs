//! The parameters of the templates: explained, grouped, bounded, and no stricter or laxer than the code behind them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hub::{AccountId, Region};
use proptest::prelude::*;
use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};
use ssm_tag_manager::plan::Policy;

use crate::examples::{EXAMPLES, arns, schedules};
use crate::template::{Template, templates};

const CONSOLE_INTERFACE: &str = "AWS::CloudFormation::Interface";

/// Each parameter of each template: where it is, its name and its declaration.
pub(crate) fn parameters() -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for template in templates() {
        for (name, parameter) in template.section("Parameters") {
            all.push((format!("{} {name}", template.file), name, parameter));
        }
    }
    all
}

/// A pattern as CloudFormation reads it: the whole value has to match.
fn pattern(parameter: &Value) -> Option<Regex> {
    let text = parameter["AllowedPattern"].as_str()?;
    // A repetition of a whole class of Unicode, 1,024 times, is larger than the default allows.
    let pattern = RegexBuilder::new(&format!(r"\A(?:{text})\z")).size_limit(100 << 20).build();
    Some(pattern.unwrap_or_else(|error| panic!("{text}: {error}")))
}

/// The pattern of a parameter, by its name alone: a name means the same in every template.
pub(crate) fn pattern_of(name: &str) -> Regex {
    // A property asks for them hundreds of times.
    static PATTERNS: LazyLock<BTreeMap<String, Regex>> = LazyLock::new(|| {
        let all = parameters().into_iter();
        all.filter_map(|(_, name, parameter)| Some((name, pattern(&parameter)?))).collect()
    });
    PATTERNS[name].clone()
}

#[test]
fn every_parameter_is_explained_and_bounded() {
    for (place, _, parameter) in parameters() {
        for field in ["Description", "ConstraintDescription"] {
            let is_there = parameter[field].as_str().is_some_and(|text| !text.trim().is_empty());
            assert!(is_there, "{place}: no {field}");
        }
        let has_range = parameter["MinValue"].is_number() && parameter["MaxValue"].is_number();
        let is_bounded = parameter["AllowedPattern"].is_string() || parameter["AllowedValues"].is_array() || has_range;
        assert!(is_bounded, "{place}: no AllowedPattern, no AllowedValues, no MinValue with MaxValue");
    }
}

#[test]
fn every_parameter_has_a_label_and_one_group() {
    for template in templates() {
        let mut grouped: BTreeMap<String, usize> = BTreeMap::new();
        let interface = template.interface();
        for group in interface["ParameterGroups"].as_array().into_iter().flatten() {
            assert!(group["Label"]["default"].is_string(), "{}: a group without a label", template.file);
            for name in group["Parameters"].as_array().unwrap() {
                *grouped.entry(name.as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        let once: BTreeMap<String, usize> = names(&template).into_iter().map(|name| (name, 1)).collect();
        assert_eq!(grouped, once, "{}: in groups, in Parameters", template.file);
        let labels = interface["ParameterLabels"].as_object().cloned().unwrap_or_default();
        let labelled: Vec<String> = labels.keys().cloned().collect();
        assert_eq!(labelled, names(&template), "{}: {CONSOLE_INTERFACE} labels, Parameters", template.file);
        assert!(labels.values().all(|label| label["default"].is_string()), "{}: an empty label", template.file);
    }
}

#[test]
fn every_default_is_allowed() {
    for (place, _, parameter) in parameters() {
        let default = &parameter["Default"];
        if default.is_null() {
            continue;
        }
        if let Some(pattern) = pattern(&parameter) {
            assert!(pattern.is_match(default.as_str().unwrap()), "{place}: the default {default} does not match");
        }
        if let Some(values) = parameter["AllowedValues"].as_array() {
            assert!(values.contains(default), "{place}: the default {default} is not among the values");
        }
        if let (Some(least), Some(most)) = (parameter["MinValue"].as_i64(), parameter["MaxValue"].as_i64()) {
            assert!((least..=most).contains(&default.as_i64().unwrap()), "{place}: the default {default} is outside");
        }
    }
}

#[test]
fn a_parameter_of_several_templates_is_the_same_in_each() {
    let mut first: BTreeMap<String, (String, Value)> = BTreeMap::new();
    for (place, name, parameter) in parameters() {
        let (other, expected) = first.entry(name).or_insert_with(|| (place.clone(), parameter.clone()));
        assert_eq!(parameter, *expected, "{place} is not as {other}");
    }
}

#[test]
fn every_pattern_takes_the_good_and_refuses_the_bad() {
    for (place, name, parameter) in parameters() {
        let Some(pattern) = pattern(&parameter) else { continue };
        let mut good: Vec<String> = Vec::new();
        let mut bad: Vec<String> = Vec::new();
        for examples in EXAMPLES.iter().filter(|examples| examples.parameter == name) {
            good.extend(examples.good.iter().map(ToString::to_string));
            bad.extend(examples.bad.iter().map(ToString::to_string));
        }
        match name.as_str() {
            "AlarmTopicArn" | "AutomationTopicArn" => arns("sns", ":tag-hub-alarms", &mut good, &mut bad),
            "ManagerFunctionArn" => {
                arns("lambda", ":function:ssm-tag-manager", &mut good, &mut bad);
                let aliased = good.iter().map(|arn| format!("{arn}:agency-222222222222")).collect::<Vec<_>>();
                bad.extend(aliased);
            }
            "ScheduleExpression" | "ActivationScheduleExpression" | "GrantsScheduleExpression" => {
                schedules(&mut good, &mut bad);
            }
            _ => {}
        }
        assert!(!good.is_empty() && !bad.is_empty(), "{place}: no examples in tests/tests/tidy/parameters.rs");
        for value in good {
            assert!(pattern.is_match(&value), "{place}: {value:?} should match {pattern}");
        }
        for value in bad {
            assert!(!pattern.is_match(&value), "{place}: {value:?} should not match {pattern}");
        }
    }
}

fn names(template: &Template) -> Vec<String> {
    template.section("Parameters").keys().cloned().collect()
}

/// The collector's configuration with these values, as `cfn/agency.yaml` puts them together.
fn collector(manager: &str, regions: &str, invocation_type: &str) -> Result<(), String> {
    let arn = format!("{manager}:agency-222222222222");
    let config = tags_collector::config::Config::from_lookup(|name| match name {
        "MANAGER_FUNCTION_ARN" => Some(arn.clone()),
        "COLLECT_REGIONS" if !regions.is_empty() => Some(regions.to_owned()),
        "INVOCATION_TYPE" => Some(invocation_type.to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        _ => None,
    });
    config.map(drop).map_err(|error| error.to_string())
}

const MANAGER: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager";

#[test]
fn the_code_takes_every_allowed_value() {
    for (place, name, parameter) in parameters() {
        for value in parameter["AllowedValues"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let taken = match name.as_str() {
                "InvocationType" => collector(MANAGER, "", value),
                "OwnershipCheck" => {
                    let lookup = |name: &str| (name == "OWNERSHIP_CHECK").then(|| value.to_owned());
                    ssm_tag_manager::Config::from_lookup(lookup).map(drop).map_err(|error| error.to_string())
                }
                // The runtime reads the log level, CloudFormation the rest.
                _ => Ok(()),
            };
            assert_eq!(taken, Ok(()), "{place}: {value}");
        }
    }
}

#[test]
fn the_code_takes_the_range_of_the_template_and_no_more() {
    let ranges = [
        ("BulkWriters", "BULK_WRITERS"),
        ("PolicyHoldPercent", "POLICY_HOLD_PERCENT"),
        ("RetireGraceHours", "RETIRE_GRACE_HOURS"),
        ("RetireLimit", "RETIRE_LIMIT"),
    ];
    for (name, variable) in ranges {
        let is_taken = |value: i64| {
            let lookup = |name: &str| (name == variable).then(|| value.to_string());
            ssm_tag_manager::Config::from_lookup(lookup).is_ok()
        };
        let all = parameters();
        let (_, _, parameter) = all.iter().find(|(_, other, _)| other == name).unwrap();
        let (least, most) = (parameter["MinValue"].as_i64().unwrap(), parameter["MaxValue"].as_i64().unwrap());
        let taken = [least - 1, least, most, most + 1].map(is_taken);
        assert_eq!(taken, [false, true, true, false], "{name}: {least} to {most}");
    }
}

#[test]
fn the_code_takes_every_name_of_a_table_that_the_template_takes() {
    for examples in EXAMPLES.iter().filter(|examples| examples.parameter == "LeaseTableName") {
        let is_taken = |value: &&&str| {
            let lookup = |name: &str| (name == "LEASE_TABLE").then(|| (**value).to_owned());
            ssm_tag_manager::Config::from_lookup(lookup).is_ok()
        };
        assert_eq!(examples.good.iter().find(|value| !is_taken(value)), None);
    }
}

#[test]
fn the_code_takes_every_approval_that_the_template_takes() {
    for examples in EXAMPLES.iter().filter(|examples| examples.parameter == "ApprovedPolicies") {
        let is_taken = |value: &str| {
            let lookup = |name: &str| (name == "APPROVED_POLICIES").then(|| value.to_owned());
            ssm_tag_manager::Config::from_lookup(lookup).is_ok()
        };
        assert!(examples.good.iter().all(|value| is_taken(value)));
    }
}

/// A release without a name of its own would publish no version. A default would not do: whoever updates a stack keeps
/// the parameters that they do not name.
#[test]
fn the_manager_is_called_after_the_release() {
    let all = parameters();
    let (_, _, parameter) = all.iter().find(|(_, name, _)| name == "ManagerRelease").unwrap();
    assert_eq!(parameter["Default"], "");
    let hub = templates().into_iter().find(|template| template.file == "template.yaml").unwrap();
    let release = env!("CARGO_PKG_VERSION");
    for (id, before, after) in
        [("SsmTagManager", "Copies agencies' EC2 tags to their managed nodes (", ")"), ("SsmTagManagerVersion", "", "")]
    {
        let description = &hub.written("Resources", id)["Properties"]["Description"];
        let named = json!({"Fn::Sub": format!("{before}{release} ${{ManagerRelease}}{after}")});
        let plain = json!(format!("{before}{release}{after}"));
        assert_eq!(*description, json!({"Fn::If": ["HasManagerRelease", named, plain]}), "{id}");
    }
}

#[test]
fn the_default_policy_is_one() {
    let all = parameters();
    let (place, _, parameter) = all.iter().find(|(_, name, _)| name == "TagPolicy").unwrap();
    let default = parameter["Default"].as_str().unwrap();
    assert!(Policy::parse(default).is_ok(), "{place}");
    // The environment of a function holds 4 KB: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    assert!(parameter["MaxLength"].as_u64().unwrap() < 4096, "{place}");
}

/// Policies, most of which the code takes.
fn policies() -> impl Strategy<Value = Value> {
    let text = || "[A-Za-z0-9 _.:/=+@\"\\\\é-]{1,12}";
    let map = || proptest::collection::btree_map(text(), text(), 0..3);
    let derived = (text(), text(), proptest::collection::btree_map(text(), text(), 1..3))
        .prop_map(|(key, value, when)| json!({"key": key, "value": value, "when": when}));
    let fields = vec![
        (proptest::collection::vec(text(), 0..4), Just("include")).prop_map(|(v, k)| (k, json!(v))).boxed(),
        (proptest::collection::vec(text(), 0..4), Just("exclude")).prop_map(|(v, k)| (k, json!(v))).boxed(),
        map().prop_map(|value| ("rename", json!(value))).boxed(),
        map().prop_map(|value| ("set", json!(value))).boxed(),
        proptest::collection::vec(derived, 0..3).prop_map(|value| ("derive", json!(value))).boxed(),
        proptest::sample::select(vec!["drop", "replace"]).prop_map(|v| ("invalidCharacters", json!(v))).boxed(),
        (1..48_u64).prop_map(|value| ("maxTags", json!(value))).boxed(),
        any::<bool>().prop_map(|value| ("removeStale", json!(value))).boxed(),
        any::<bool>().prop_map(|value| ("overwrite", json!(value))).boxed(),
    ];
    let field = proptest::strategy::Union::new(fields).prop_map(|(key, value)| (key.to_owned(), value));
    proptest::collection::vec(field, 0..6).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #[test]
    fn an_account_id_is_the_same_to_template_and_code(value in "[0-9]{10,14}|[0-9a]{12}") {
        for name in ["AgencyAccountId", "AdminAccountId", "AgencyAccountIds"] {
            prop_assert_eq!(pattern_of(name).is_match(&value), value.parse::<AccountId>().is_ok(), "{}", name);
        }
    }

    #[test]
    fn a_region_is_the_same_to_template_and_code(value in "[a-z]{1,5}(-[a-z]{0,4}){0,3}-[0-9]{0,3}|[a-zA-Z0-9-]{1,12}") {
        for name in ["CollectRegions", "HomeRegion", "ForwardRegions"] {
            prop_assert_eq!(pattern_of(name).is_match(&value), value.parse::<Region>().is_ok(), "{}", name);
        }
    }

    #[test]
    fn the_code_takes_every_list_of_regions_and_every_manager_that_the_template_takes(
        partition in prop_oneof!["aws", "aws-us-gov", "aws-cn", "aws-iso-[a-z]"],
        regions in proptest::collection::vec("[a-z]{2,4}(-[a-z]{1,9}){1,2}-[0-9]{1,2}", 1..5),
        account in "[0-9]{12}",
    ) {
        let manager = format!("arn:{partition}:lambda:{}:{account}:function:ssm-tag-manager", regions[0]);
        prop_assert!(pattern_of("ManagerFunctionArn").is_match(&manager), "{manager}");
        let list = regions.join(",");
        prop_assert!(pattern_of("CollectRegions").is_match(&list), "{list}");
        prop_assert_eq!(collector(&manager, &list, "Event"), Ok(()));
    }

    /// Whatever the code understands can be deployed, and what differs from it by a letter mostly cannot.
    #[test]
    fn a_policy_is_the_same_to_template_and_code(policy in policies(), at in any::<proptest::sample::Index>()) {
        let text = policy.to_string();
        let is_taken = pattern_of("TagPolicy").is_match(&text);
        prop_assert!(is_taken || Policy::parse(&text).is_err(), "the code takes {text}, the template does not");
        let mut spoilt = text.clone();
        let at = (0..=at.index(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        spoilt.remove(at);
        let is_taken = pattern_of("TagPolicy").is_match(&spoilt);
        prop_assert!(is_taken || Policy::parse(&spoilt).is_err(), "the code takes {spoilt}, the template does not");
    }

    #[test]
    fn the_template_takes_every_policy_that_the_code_takes(limit in 1..48_u64, key in "[A-Za-z*: ]{1,12}", space in "[ \n\t]{0,2}") {
        let policy = format!("{space}{{{space}\"maxTags\":{limit},{space}\"include\":[\"{key}\"]}}{space}");
        prop_assert!(Policy::parse(&policy).is_ok(), "{policy}");
        prop_assert!(pattern_of("TagPolicy").is_match(&policy), "{policy}");
    }
}

//! What several templates say alike: the stack set passes on what the agency's stack takes, and one grant is as many.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::{Value, json};

use crate::template::{SAMPLE_ACCOUNT, Template, templates};

/// The most resources in a stack:
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html>.
const RESOURCES_IN_A_STACK: usize = 500;

fn file(name: &str) -> Template {
    templates().into_iter().find(|template| template.file == name).unwrap()
}

#[test]
fn a_stack_set_passes_on_every_parameter() {
    let sets = file("cfn/agencies-stackset.yaml");
    for (id, target) in [("Agencies", "cfn/agency.yaml"), ("ForwardingRegions", "cfn/agency-region.yaml")] {
        let set = sets.resource(id).unwrap();
        let mut passed = BTreeSet::new();
        for parameter in set.properties["Parameters"].as_array().unwrap() {
            let name = parameter["ParameterKey"].as_str().unwrap().to_owned();
            assert_eq!(parameter["ParameterValue"], json!({"Ref": name}), "{}", set.place());
            passed.insert(name);
        }
        let taken: BTreeSet<String> = file(target).section("Parameters").keys().cloned().collect();
        assert_eq!(passed, taken, "{}: passed on, taken by {target}", set.place());
        let url = set.properties["TemplateURL"]["Fn::Sub"][0].as_str().unwrap();
        let name = target.strip_prefix("cfn/").unwrap();
        assert!(url.ends_with(&format!("/${{TemplatePrefix}}/{name}${{Version}}")), "{}: {url}", set.place());
        assert!(url.contains("${AWS::URLSuffix}"), "{}: one partition alone", set.place());
    }
}

#[test]
fn the_hub_passes_on_every_parameter_of_the_fanout_and_every_output() {
    let hub = file("template.yaml");
    let application = hub.resource("FanoutApplication").unwrap();
    assert_eq!(application.properties["Location"], "fanout.yaml");
    let fanout = file("fanout.yaml");
    let passed = application.properties["Parameters"].as_object().unwrap();
    for (name, value) in passed {
        assert_eq!(*value, json!({"Ref": name}), "{name}");
    }
    let taken: BTreeSet<String> = fanout.section("Parameters").keys().cloned().collect();
    assert_eq!(passed.keys().cloned().collect::<BTreeSet<_>>(), taken, "passed on, taken by fanout.yaml");
    let rules = hub.section("Rules");
    for (name, rule) in fanout.section("Rules") {
        assert_eq!(rules.get(&name), Some(&rule), "{name}: a mistake is told before anything is deployed");
    }
    let outputs = hub.section("Outputs");
    for name in fanout.section("Outputs").keys() {
        let expected = json!({"Fn::GetAtt": format!("FanoutApplication.Outputs.{name}")});
        assert_eq!(outputs[name]["Value"], expected, "{name}");
    }
}

#[test]
fn stack_sets_follow_the_organization() {
    let sets = file("cfn/agencies-stackset.yaml");
    for set in sets.of_kind("AWS::CloudFormation::StackSet") {
        assert_eq!(set.properties["PermissionModel"], "SERVICE_MANAGED", "{}", set.place());
        let expected = json!({"Enabled": true, "RetainStacksOnAccountRemoval": false});
        assert_eq!(set.properties["AutoDeployment"], expected, "{}", set.place());
    }
}

/// The resources of a template without ids and references, by kind.
fn shape(template: &Template, account: &Value) -> BTreeMap<String, String> {
    // A text without variables is what it says.
    let plain = Regex::new(r#"\{"Fn::Sub":("[^"$]*")\}"#).unwrap();
    let same = |text: String| {
        let text = text.replace(&account.to_string(), "\"ACCOUNT\"").replace("${AgencyAccountId}", SAMPLE_ACCOUNT);
        plain.replace_all(&text, "$1").into_owned()
    };
    let each = template.resources().into_iter().map(|resource| {
        let mut properties = resource.properties.clone();
        let fields = properties.as_object_mut().unwrap();
        // These name the alias, which has another id there.
        fields.retain(|field, _| resource.kind != "AWS::Lambda::Permission" || field != "FunctionName");
        fields.retain(|field, _| field != "Qualifier");
        // Many grants at once give no names.
        for value in fields.values_mut().filter(|value| value["Fn::If"][0] == "HasAgencyName") {
            *value = value["Fn::If"][2].clone();
        }
        (resource.kind.to_owned(), same(properties.to_string()))
    });
    each.collect()
}

#[test]
fn a_grant_among_many_is_the_same_as_one_alone() {
    let one = shape(&file("cfn/agency-grant.yaml"), &json!({"Ref": "AgencyAccountId"}));
    let many = shape(&file("cfn/agency-grants.yaml"), &Value::from(SAMPLE_ACCOUNT));
    assert_eq!(one, many);
}

#[test]
fn the_number_of_grants_in_a_stack_is_the_one_that_is_promised() {
    let grants = file("cfn/agency-grants.yaml");
    let most = RESOURCES_IN_A_STACK / grants.resources().len();
    let description = grants.section("Parameters")["AgencyAccountIds"]["Description"].as_str().unwrap().to_owned();
    assert!(description.contains(&format!("up to {most} agencies")), "{most} agencies fit: {description}");
    // A value of a parameter holds 4,096 bytes, and an id with its comma 13.
    assert!(most * 13 <= 4096);
}

#[test]
fn events_are_the_same_in_every_region() {
    let patterns = |name: &str| {
        let template = file(name);
        let rules = template.of_kind("AWS::Events::Rule");
        rules.iter().map(|rule| rule.properties["EventPattern"].clone()).collect::<Vec<_>>()
    };
    let mut forwarded = patterns("cfn/agency-region.yaml");
    for pattern in &mut forwarded {
        // What has come from another Region goes no further.
        assert_eq!(pattern.as_object_mut().unwrap().remove("region").unwrap(), json!([{"Ref": "AWS::Region"}]));
    }
    let mut taken = patterns("cfn/agency.yaml");
    assert_eq!(taken.len(), 2);
    taken.sort_by_key(Value::to_string);
    forwarded.sort_by_key(Value::to_string);
    assert_eq!(forwarded, taken);
}

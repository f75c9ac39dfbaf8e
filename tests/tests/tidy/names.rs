//! Names: one parameter changes every fixed name, and the longest still fits.

use hub::Region;
use proptest::prelude::*;
use serde_json::Value;

use crate::parameters::pattern_of;
use crate::template::{Template, templates};

/// The property with the name, and how long a name may be: from the documentation of each resource type, such as
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-role.html>.
const NAMED: [(&str, &str, usize); 19] = [
    ("AWS::CloudFormation::StackSet", "StackSetName", 128),
    ("AWS::CloudWatch::Alarm", "AlarmName", 255),
    ("AWS::CloudWatch::Dashboard", "DashboardName", 255),
    ("AWS::DynamoDB::Table", "TableName", 255),
    ("AWS::Events::Rule", "Name", 64),
    ("AWS::IAM::InstanceProfile", "InstanceProfileName", 128),
    ("AWS::IAM::ManagedPolicy", "ManagedPolicyName", 128),
    ("AWS::IAM::Role", "RoleName", 64),
    ("AWS::Lambda::Function", "FunctionName", 64),
    ("AWS::Logs::LogGroup", "LogGroupName", 512),
    ("AWS::Logs::QueryDefinition", "Name", 255),
    ("AWS::S3::Bucket", "BucketName", 63),
    ("AWS::SNS::Topic", "TopicName", 256),
    ("AWS::SQS::Queue", "QueueName", 80),
    ("AWS::SSM::Document", "Name", 128),
    ("AWS::SSM::Parameter", "Name", 1011),
    ("AWS::Scheduler::Schedule", "Name", 64),
    ("AWS::Serverless::Function", "FunctionName", 64),
    ("AWS::StepFunctions::StateMachine", "StateMachineName", 80),
];

/// Kinds without a name of their own, or named by CloudFormation.
const NAMELESS: [&str; 13] = [
    "AWS::CloudFormation::WaitConditionHandle",
    "AWS::Events::EventBusPolicy",
    "AWS::Lambda::Alias",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission",
    "AWS::Lambda::Version",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Serverless::Application",
    "AWS::Serverless::LayerVersion",
];

/// Names that are a parameter, because hubs may share what they name. The table of leases has a prefix beside it.
const SHARED: [&str; 3] = ["AdministrationRoleName", "ExecutionRoleName", "ManagedNodeRoleName"];

const LONGEST_PREFIX: &str = "a-long-prefix-x-";
/// What the pattern of `ControllerName` takes at most.
const LONGEST_CONTROLLER: &str = "tag-hub-a-long-name-of-a-controller-xxxx";
/// The longest name of a Region today.
const LONGEST_REGION: &str = "ap-southeast-1";

/// All texts that a name may be, with the longest of everything; nothing where it is not fixed.
fn spelled(name: &Value) -> Vec<String> {
    let put = |text: &str| {
        let with = [
            ("${NamePrefix}", LONGEST_PREFIX),
            ("${AWS::Region}", LONGEST_REGION),
            ("${HubRegion}", LONGEST_REGION),
            ("${AgencyAccountId}", "222222222222"),
            ("${PolicyFor}", "222222222222"),
            // The parameter takes 255 characters, and says so; the default is what has to fit.
            ("${LeaseTableName}", "tag-hub-leases"),
            ("${ControllerName}", LONGEST_CONTROLLER),
        ];
        with.iter().fold(text.to_owned(), |text, (variable, value)| text.replace(variable, value))
    };
    match name {
        Value::String(text) => vec![text.clone()],
        Value::Object(fields) => match (fields.get("Fn::Sub"), fields.get("Fn::If")) {
            (Some(Value::String(text)), _) => vec![put(text)],
            (Some(Value::Array(parts)), _) => vec![put(parts[0].as_str().unwrap())],
            (_, Some(Value::Array(branches))) => branches[1..].iter().flat_map(spelled).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[test]
fn every_fixed_name_carries_the_prefix_and_fits() {
    let mut found = 0;
    for template in templates() {
        for resource in template.resources() {
            let Some((_, property, limit)) = NAMED.iter().find(|(kind, ..)| *kind == resource.kind) else {
                assert!(NAMELESS.contains(&resource.kind), "{}: add {} to names.rs", resource.place(), resource.kind);
                continue;
            };
            let name = &template.written("Resources", resource.id)["Properties"][property];
            if name["Ref"].as_str().is_some_and(|parameter| SHARED.contains(&parameter)) || name.is_null() {
                continue;
            }
            for text in spelled(name) {
                assert!(text.contains(LONGEST_PREFIX), "{}: {text} has no prefix", resource.place());
                assert!(text.len() <= *limit, "{}: {text} has {} of {limit} characters", resource.place(), text.len());
                found += 1;
            }
            assert!(!spelled(name).is_empty(), "{}: {name}", resource.place());
        }
        for (id, output) in template.section("Outputs") {
            if !output["Export"].is_null() {
                let name = &template.written("Outputs", &id)["Export"]["Name"];
                assert!(spelled(name).iter().all(|text| text.contains(LONGEST_PREFIX)), "{} {id}", template.file);
            }
        }
    }
    assert!(found > 60, "only {found} names");
}

/// Kinds whose names have no Region: a hub in another Region would collide with the first, or take its resource over.
const WITHOUT_REGION: [&str; 4] =
    ["AWS::CloudWatch::Dashboard", "AWS::IAM::InstanceProfile", "AWS::IAM::ManagedPolicy", "AWS::IAM::Role"];

/// What hubs in several Regions share, beside [`SHARED`]: an agency deploys it once.
const SHARED_TEMPLATES: [&str; 1] = ["cfn/instance-profile.yaml"];

#[test]
fn every_name_without_a_region_has_a_variant_with_one() {
    let mut found = 0;
    for template in templates().iter().filter(|template| !SHARED_TEMPLATES.contains(&template.file.as_str())) {
        for resource in template.resources() {
            if !WITHOUT_REGION.contains(&resource.kind) {
                continue;
            }
            let (_, property, _) = NAMED.iter().find(|(kind, ..)| *kind == resource.kind).unwrap();
            let name = &template.written("Resources", resource.id)["Properties"][property];
            if name["Ref"].as_str().is_some_and(|parameter| SHARED.contains(&parameter)) || name.is_null() {
                continue;
            }
            let variant = match name["Fn::If"].as_array() {
                Some(branches) if branches[0] == "HasRegionInRoleNames" => &branches[1],
                _ => name,
            };
            let texts = spelled(variant);
            let is_of_region = !texts.is_empty() && texts.iter().all(|text| text.contains(LONGEST_REGION));
            assert!(is_of_region, "{}: {name} is the same in every Region", resource.place());
            found += 1;
        }
    }
    assert!(found >= 6, "only {found} names");
}

/// What one resource calls another, outside of `Ref` and `GetAtt`: an ARN that is put together, or an import.
#[test]
fn names_in_other_places_carry_the_prefix_too() {
    let fixed: Vec<String> = templates().iter().flat_map(names).collect();
    for template in templates() {
        for (number, line) in template.text.lines().enumerate() {
            let is_prose = line.trim_start().starts_with('#') || line.contains("Description") || !line.contains("arn:");
            let named =
                fixed.iter().filter(|name| line.ends_with(&format!("/{name}")) || line.ends_with(&format!(":{name}")));
            let found: Vec<&String> = named.filter(|_| !is_prose).collect();
            assert!(
                found.is_empty(),
                "{}:{}: {found:?} without the prefix: {}",
                template.file,
                number + 1,
                line.trim()
            );
            assert!(!line.contains("ImportValue tag-hub:"), "{}:{}: {line}", template.file, number + 1);
        }
    }
}

fn names(template: &Template) -> Vec<String> {
    let property = |kind: &str| NAMED.iter().find(|(named, ..)| *named == kind).map(|(_, property, _)| *property);
    let resources = template.resources().into_iter();
    resources.filter_map(|one| one.properties[property(one.kind)?].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_prefix_that_is_too_long_is_refused_in_words() {
    assert!(pattern_of("NamePrefix").is_match(LONGEST_PREFIX));
    assert!(!pattern_of("NamePrefix").is_match(&format!("x{LONGEST_PREFIX}")));
    assert!(LONGEST_REGION.parse::<Region>().is_ok());
    assert!(pattern_of("ControllerName").is_match(LONGEST_CONTROLLER));
    assert!(!pattern_of("ControllerName").is_match(&format!("x{LONGEST_CONTROLLER}")));
    for template in templates() {
        if let Some(parameter) = template.section("Parameters").get("NamePrefix") {
            let words = parameter["ConstraintDescription"].as_str().unwrap();
            assert!(words.contains(&format!("at most {} ", LONGEST_PREFIX.len())), "{}: {words}", template.file);
        }
    }
}

/// Whoever has a name in an account that another hub may have too takes the prefix.
#[test]
fn every_template_with_a_name_takes_the_prefix() {
    for template in templates() {
        let has = template.section("Parameters").contains_key("NamePrefix");
        assert_eq!(
            has,
            template.file != "cfn/managed-node-role.yaml" && template.file != "cfn/automation-execution-role.yaml",
            "{}",
            template.file
        );
    }
}

proptest! {
    #[test]
    fn a_prefix_is_the_same_to_template_and_code(prefix in "[a-zA-Z_]?[a-z0-9-]{0,16}-?") {
        let taken = |name: &str| (name == "NAME_PREFIX").then(|| prefix.clone());
        let is_taken = ssm_tag_manager::Config::from_lookup(taken).is_ok();
        prop_assert_eq!(pattern_of("NamePrefix").is_match(&prefix), is_taken, "{:?}", prefix);
    }
}

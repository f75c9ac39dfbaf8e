//! What every resource of a kind has: encryption, retention, a boundary, no way in for everybody.

use regex::Regex;
use serde_json::{Value, json};

use crate::template::{Resource, templates};

/// All resources of a kind in all templates, each handed to a check.
fn each(kind: &str, check: impl Fn(&Resource<'_>)) {
    let mut found = 0;
    for template in templates() {
        for resource in template.of_kind(kind) {
            check(&resource);
            found += 1;
        }
    }
    assert!(found > 0, "no template has a {kind}");
}

#[test]
fn queues_are_encrypted_with_a_key_of_sqs_or_ones_own() {
    each("AWS::SQS::Queue", |queue| {
        let managed = json!({"Fn::If": ["HasKmsKey", {"Ref": "AWS::NoValue"}, true]});
        let own = json!({"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]});
        assert_eq!(queue.properties["SqsManagedSseEnabled"], managed, "{}", queue.place());
        assert_eq!(queue.properties["KmsMasterKeyId"], own, "{}", queue.place());
    });
}

#[test]
fn topics_are_encrypted_with_ones_own_key() {
    each("AWS::SNS::Topic", |topic| {
        let own = json!({"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]});
        assert_eq!(topic.properties["KmsMasterKeyId"], own, "{}", topic.place());
    });
}

#[test]
fn log_groups_are_encrypted_and_end() {
    each("AWS::Logs::LogGroup", |group| {
        let own = json!({"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]});
        assert_eq!(group.properties["KmsKeyId"], own, "{}", group.place());
        assert_eq!(group.properties["RetentionInDays"], json!({"Ref": "LogRetentionDays"}), "{}", group.place());
    });
}

#[test]
fn buckets_are_encrypted_versioned_and_closed() {
    each("AWS::S3::Bucket", |bucket| {
        let properties = bucket.properties;
        let encryption = &properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
        let algorithm = &encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"];
        assert!(algorithm == "AES256" || algorithm == "aws:kms", "{}: {encryption}", bucket.place());
        assert_eq!(properties["VersioningConfiguration"]["Status"], "Enabled", "{}", bucket.place());
        for block in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            assert_eq!(properties["PublicAccessBlockConfiguration"][block], true, "{}: {block}", bucket.place());
        }
        let ownership = &properties["OwnershipControls"]["Rules"][0]["ObjectOwnership"];
        assert_eq!(ownership, "BucketOwnerEnforced", "{}", bucket.place());
    });
}

/// A role that one stack alone makes may have its boundary by ARN; in stack sets each account has another ARN.
#[test]
fn roles_have_the_boundary() {
    let by_arn =
        json!({"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Ref": "AWS::NoValue"}]});
    let by_name = json!({"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundaryArn"}, {"Fn::If": [
        "HasPermissionsBoundaryName",
        {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:policy/${PermissionsBoundaryName}"},
        {"Ref": "AWS::NoValue"},
    ]}]});
    each("AWS::IAM::Role", |role| {
        let boundary = &role.properties["PermissionsBoundary"];
        assert!(*boundary == by_arn || *boundary == by_name, "{}: {boundary}", role.place());
    });
}

/// Whoever reads a function's configuration reads its environment. A secret would belong into Parameter Store.
#[test]
fn no_environment_holds_a_secret() {
    let secret =
        Regex::new(r"(?i)secret|password|passwd|token|credential|private|api_?key|resolve:(ssm|secretsmanager)")
            .unwrap();
    for template in templates() {
        for function in template.functions() {
            for (name, value) in function.properties["Environment"]["Variables"].as_object().unwrap() {
                let text = format!("{name}={value}");
                assert!(!secret.is_match(&text), "{}: {text} looks like a secret", function.place());
            }
        }
    }
}

/// Names are fixed, so whatever outlives its stack stands in the way of the next one.
#[test]
fn nothing_outlives_its_stack_by_accident() {
    let text = |kind: &str| format!("{kind}: says nothing about its end");
    let kinds =
        ["AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::Logs::LogGroup", "AWS::S3::Bucket", "AWS::DynamoDB::Table"];
    for kind in kinds {
        each(kind, |resource| {
            let whole = &resource.template.section("Resources")[resource.id];
            assert_eq!(whole["DeletionPolicy"], "Delete", "{}: {}", resource.place(), text(kind));
            assert_eq!(whole["UpdateReplacePolicy"], "Delete", "{}: {}", resource.place(), text(kind));
        });
    }
}

/// Without it every node is offline, so neither its stack nor a change to the hub may delete it.
#[test]
fn the_nodes_role_outlives_its_stack_and_is_of_no_other() {
    for template in templates() {
        for role in template.of_kind("AWS::IAM::Role") {
            let whole = &template.section("Resources")[role.id];
            let is_the_one = template.file == "cfn/managed-node-role.yaml";
            let policies = [&whole["DeletionPolicy"], &whole["UpdateReplacePolicy"]];
            if is_the_one {
                assert_eq!(policies, ["Retain", "Retain"], "{}", role.place());
                assert_eq!(role.properties["RoleName"], json!({"Ref": "ManagedNodeRoleName"}), "{}", role.place());
            } else {
                assert_eq!(policies, [&Value::Null, &Value::Null], "{}: it outlives its stack", role.place());
            }
        }
        // The parameter is a name and not an export, so that deleting either stack asks nothing of the other.
        let is_tied = template.file == "cfn/managed-node-role.yaml" && !template.section("Outputs").is_empty();
        assert!(!is_tied, "CloudFormation imports no role into a new stack with outputs");
    }
}

#[test]
fn functions_are_traced_and_built_as_the_parameters_say() {
    for template in templates() {
        let globals = &template.section("Globals");
        let common = globals.get("Function").cloned().unwrap_or(Value::Null);
        for function in template.functions() {
            let own = function.properties;
            let mode = [&own["TracingConfig"]["Mode"], &common["Tracing"]];
            assert!(mode.contains(&&json!({"Ref": "Tracing"})), "{}: Tracing", function.place());
            let architectures = [&own["Architectures"], &common["Architectures"]];
            assert!(architectures.contains(&&json!([{"Ref": "Architecture"}])), "{}: Architecture", function.place());
        }
    }
}

/// What one stack exports is there once for an account and Region, so an agency's stack exports nothing.
#[test]
fn only_the_central_account_exports() {
    for template in templates() {
        let exports = template.section("Outputs").values().filter(|output| !output["Export"].is_null()).count();
        let is_central = template.file == "template.yaml" || template.file == "cfn/automation-administration-role.yaml";
        assert!(exports == 0 || is_central, "{} exports", template.file);
        let is_for_stack_sets = template.file.starts_with("cfn/agency.") || template.file.contains("agency-region");
        assert!(!is_for_stack_sets || template.section("Transform").is_empty(), "{}: a transform", template.file);
        assert!(!is_for_stack_sets || !template.text.contains("\nTransform:"), "{}: a transform", template.file);
    }
}

//! ARNs: every pattern takes those of every partition, and the code agrees with the pattern.

use hub::FunctionArn;
use proptest::prelude::*;
use regex::Regex;

use crate::parameters::{parameters, pattern_of};
use crate::template::templates;

/// What an ARN of each parameter looks like after partition, Region and account.
const FORMS: [(&str, &str); 9] = [
    ("ActivationKmsKeyArn", "arn:PARTITION:kms:REGION:ACCOUNT:key/01234567-89ab-cdef-0123-456789abcdef"),
    ("AlarmTopicArn", "arn:PARTITION:sns:REGION:ACCOUNT:tag-hub-alarms"),
    ("ArtifactsArn", "arn:PARTITION:s3:::tag-hub-artifacts/releases/*"),
    ("AutomationTopicArn", "arn:PARTITION:sns:REGION:ACCOUNT:tag-hub-automations"),
    ("DeploymentRoleArn", "arn:PARTITION:iam::ACCOUNT:role/deployment/grants"),
    ("KmsKeyArn", "arn:PARTITION:kms:REGION:ACCOUNT:key/01234567-89ab-cdef-0123-456789abcdef"),
    ("ManagedPolicyArns", "arn:PARTITION:iam::ACCOUNT:policy/tag-hub"),
    ("ManagerFunctionArn", "arn:PARTITION:lambda:REGION:ACCOUNT:function:ssm-tag-manager"),
    ("PermissionsBoundaryArn", "arn:PARTITION:iam::ACCOUNT:policy/boundaries/tag-hub"),
];

/// A partition and a Region of it, of those that take customers today.
fn places() -> impl Strategy<Value = (&'static str, &'static str)> {
    proptest::sample::select(vec![
        ("aws", "us-east-1"),
        ("aws", "ap-southeast-5"),
        ("aws", "eu-central-2"),
        ("aws", "mx-central-1"),
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-us-gov", "us-gov-east-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-cn", "cn-northwest-1"),
    ])
}

fn in_place(form: &str, (partition, region): (&str, &str), account: &str) -> String {
    form.replace("PARTITION", partition).replace("REGION", region).replace("ACCOUNT", account)
}

#[test]
fn every_parameter_with_an_arn_is_looked_at() {
    for (place, name, _) in parameters() {
        let is_arn = name.ends_with("Arn") || name.ends_with("Arns");
        assert!(
            !is_arn || FORMS.iter().any(|(known, _)| *known == name),
            "{place}: add it to tests/tests/tidy/arns.rs"
        );
    }
}

#[test]
fn every_arn_in_a_template_is_of_its_own_partition() {
    let mut found = 0;
    for template in templates() {
        for (path, text) in template.texts() {
            let field = path.rsplit('/').next().unwrap_or_default();
            if field.ends_with("Description") || field == "AllowedPattern" {
                continue;
            }
            for arn in text.match_indices("arn:").map(|(at, _)| &text[at..]) {
                assert!(arn.starts_with("arn:${AWS::Partition}:"), "{} {path}: {text}", template.file);
                found += 1;
            }
        }
    }
    assert!(found > 0, "no ARN in any template");
}

/// Names of services that differ between partitions are not written out: `.com` is `.com.cn` in China.
#[test]
fn addresses_are_of_their_own_partition() {
    let address = Regex::new(r"https://[^ ]*amazonaws\.com").unwrap();
    for template in templates() {
        for (path, text) in template.texts().into_iter().filter(|(path, _)| path.starts_with("/Resources/")) {
            assert!(!address.is_match(&text), "{} {path}: {text}", template.file);
        }
    }
}

proptest! {
    #[test]
    fn every_pattern_takes_the_arns_of_every_partition(place in places(), account in "[0-9]{12}") {
        for (name, form) in FORMS {
            let arn = in_place(form, place, &account);
            prop_assert!(pattern_of(name).is_match(&arn), "{name}: {arn}");
        }
    }

    #[test]
    fn no_pattern_takes_a_broken_arn(
        place in places(),
        account in "[0-9]{12}",
        at in any::<proptest::sample::Index>(),
        noise in "[ *?$\n,;]",
    ) {
        for (name, form) in FORMS {
            let mut arn = in_place(form, place, &account);
            // The ids of a policy, a role and a topic take a comma; nothing else does, and nothing takes the others.
            let head = [":tag-hub", ":policy", ":role"].iter().find_map(|id| arn.find(id)).unwrap_or(arn.len());
            let at = if noise == "," { at.index(head) } else { at.index(arn.len() + 1) };
            arn.insert_str(at, &noise);
            prop_assert!(!pattern_of(name).is_match(&arn), "{name}: {arn:?}");
        }
    }

    #[test]
    fn what_the_pattern_of_the_manager_takes_the_code_takes(
        place in places(),
        account in "[0-9]{10,13}",
        partition in prop_oneof![Just(None), "(aws|gcp|AWS)?(-[a-z0-9]{0,3}){0,2}".prop_map(Some)],
        name in prop_oneof!["ssm-tag-manager", "ssm-tag-manage", "tags-collector", "ssm-tag-manager-2", "[a-z-]{0,17}ssm-tag-manager"],
        qualifier in prop_oneof!["", ":agency-[0-9]{12}", ":[0-9]", ":"],
    ) {
        let partition = partition.as_deref().unwrap_or(place.0);
        let arn = format!("arn:{partition}:lambda:{}:{account}:function:{name}{qualifier}", place.1);
        let is_taken = pattern_of("ManagerFunctionArn").is_match(&arn);
        let parsed = arn.parse::<FunctionArn>().ok();
        let is_named = |name: &str| {
            name.strip_suffix("ssm-tag-manager").is_some_and(|prefix| pattern_of("NamePrefix").is_match(prefix))
        };
        let is_manager = parsed.is_some_and(|arn| is_named(&arn.name) && arn.qualifier.is_none());
        prop_assert!(!is_taken || is_manager, "the template takes {arn}, the code does not");
        // The code is as lenient with partitions as AWS might become.
        let is_named = place.0 == partition;
        prop_assert!(!is_named || is_taken == is_manager, "the code takes {arn}, the template does not");
    }

    #[test]
    fn the_alias_of_an_agency_is_one_to_the_code(place in places(), account in "[0-9]{12}", agency in "[0-9]{12}") {
        let manager = in_place("arn:PARTITION:lambda:REGION:ACCOUNT:function:ssm-tag-manager", place, &account);
        prop_assert!(pattern_of("ManagerFunctionArn").is_match(&manager));
        // As cfn/agency.yaml puts it together.
        let alias: FunctionArn = format!("{manager}:agency-{agency}").parse().unwrap();
        prop_assert_eq!(alias.agency().map(String::from), Some(agency));
        prop_assert_eq!(alias.region.as_str(), place.1);
    }
}

//! Releases and settings of the manager, with agencies that keep their version of it.

use local_aws::stacks;
use tests::{AGENCY_A, CENTRAL, HOME_REGION, World};

use crate::tags;

const STACK: &str = "tag-hub";
const VERSION: &str = "SsmTagManagerVersion";

/// Deploys a text of `template.yaml` as the AWS CLI and SAM do: a parameter that is not named keeps its value, whatever
/// its default is by now. The newest version of the manager.
async fn upgrade(world: &World, template: &str) -> String {
    let described = world.central().query("cloudformation", "DescribeStacks", &[("StackName", STACK)]).await.unwrap();
    let parameters = described["Stacks"][0]["Parameters"].as_array().unwrap().clone();
    let of = |field: &str, index: usize| parameters[index][field].as_str().unwrap_or_default().to_owned();
    let kept: Vec<(String, String)> =
        (0..parameters.len()).map(|index| (of("ParameterKey", index), of("ParameterValue", index))).collect();
    let kept: Vec<(&str, &str)> = kept.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert!(kept.len() > 40, "{kept:?}");
    world.deploy_hub(template, &kept).await.unwrap()[VERSION].clone()
}

#[tokio::test]
async fn a_release_publishes_a_version_with_no_word_about_it() {
    let world = World::start(tests::Paths::from_env().unwrap(), 0, None).unwrap();
    let first = world.deploy_central(&[("TagPolicy", r#"{"maxTags": 3}"#)]).await.unwrap()[VERSION].clone();
    let template = world.paths().text("template.yaml").unwrap();
    assert_eq!(upgrade(&world, &template).await, first, "nothing is new");
    let release = env!("CARGO_PKG_VERSION");
    let next = upgrade(&world, &template.replace(release, "99.0.0")).await;
    assert_ne!(next, first, "agencies with a version would keep the old manager");
    // Back to the release before: its package is another one again.
    assert_ne!(upgrade(&world, &template).await, next);
}

#[tokio::test]
async fn a_setting_that_is_turned_off_leaves_the_version_before_what_it_needs() {
    let kept = [("TagPolicy", r#"{"include": ["Env"]}"#), ("PolicyHoldPercent", "100")];
    let on = [kept[0], kept[1], ("PolicyParameters", "Yes"), ("RetireNodes", "on")];
    let world = World::deployed_with(&on, &[]).await.unwrap();
    let outputs = stacks::outputs(&world.central(), STACK).await.unwrap();
    let text = world.paths().text("cfn/agency-grant.yaml").unwrap();
    let pinned = [("AgencyAccountId", AGENCY_A), ("ManagerVersion", outputs[VERSION].as_str())];
    stacks::deploy(&world.central(), &format!("tag-hub-agency-{AGENCY_A}"), &text, &pinned).await.unwrap();
    world.deploy_policy(AGENCY_A, r#"{"include": ["Role"]}"#).await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();

    let off = [kept[0], kept[1], ("PolicyParameters", "No"), ("RetireNodes", "off"), ("ManagerRelease", "all-off")];
    let outputs = world.deploy_central(&off).await.unwrap();
    assert_ne!(outputs[VERSION], pinned[1].1);
    // The version before has read no policy yet, and does so only now.
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node), tags(&[("Role", "web")]));
    world.terminate(&enrolled).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert!(world.tags(&enrolled.node).contains_key(hub::TERMINATED_TAG_KEY), "{:?}", world.tags(&enrolled.node));
    let log = world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
    assert!(!log.contains("AccessDenied"), "{log}");
}

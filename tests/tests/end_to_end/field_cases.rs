//! What people who do this job ran into, on the deployed templates: instances that come, go and change their nodes,
//! and tags as real fleets spell them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, Enrolled, HOME_REGION, World};

use crate::tags;

const SOURCE: &str = hub::SOURCE_TAG_KEY;

fn source_of(one: &Enrolled) -> String {
    format!("{AGENCY_A}/{HOME_REGION}/{}", one.instance)
}

/// The entry of an answer about a node.
fn about<'a>(answer: &'a Value, node: &str) -> &'a Value {
    let mut nodes = answer["nodes"].as_array().into_iter().flatten();
    nodes.find(|entry| entry["instanceId"] == *node).unwrap_or(&Value::Null)
}

fn operators_tag(world: &World, node: &str, key: &str, value: &str) {
    let mut live = world.tags(node);
    live.insert(key.to_owned(), value.to_owned());
    world.aws.nodes().set_tags(CENTRAL, HOME_REGION, node, live);
}

async fn metric(world: &World, name: &str) -> u64 {
    let log = world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter_map(|line| line[name].as_u64()).sum()
}

#[tokio::test]
async fn an_instance_with_tags_of_aws_alone_is_known_and_marked_when_it_ends() {
    let world = World::deployed_with(&[("RetireNodes", "on")], &[]).await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("aws:autoscaling:groupName", "web")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.tags(&one.node).get(SOURCE), Some(&source_of(&one)));
    assert_eq!(world.plain_tags(&one.node), tags(&[]));
    world.terminate(&one).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert!(world.tags(&one.node).contains_key(hub::TERMINATED_TAG_KEY), "{:?}", world.tags(&one.node));
}

#[tokio::test]
async fn an_instance_that_registers_again_leaves_its_first_node_without_the_hubs_tags() {
    let world = World::deployed().await.unwrap();
    let first = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    operators_tag(&world, &first.node, "Rack", "17");

    let second = world.register_node(AGENCY_A, None);
    world.tag(&first, hub::MANAGED_INSTANCE_ID_TAG_KEY, &second).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(about(&answer, &first.node)["outcome"], "superseded", "{answer}");
    assert_eq!(world.plain_tags(&first.node), tags(&[("Rack", "17")]), "no target of the hub's reaches it");
    assert_eq!(world.plain_tags(&second), tags(&[("Env", "PROD")]));
    assert_eq!(metric(&world, "NodesSuperseded").await, 1);
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!((&answer["counts"]["unchanged"], &answer["nodes"]), (&json!(1), &json!([])), "{answer}");

    // It goes back to the first one.
    world.tag(&first, hub::MANAGED_INSTANCE_ID_TAG_KEY, &first.node).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(about(&answer, &second)["outcome"], "superseded", "{answer}");
    assert_eq!(world.plain_tags(&first.node), tags(&[("Env", "PROD"), ("Rack", "17")]));
    assert_eq!(world.plain_tags(&second), tags(&[]));
}

/// `GetResources` does not show yet that the first node was linked to the instance. The table of leases knows.
#[tokio::test]
async fn an_instance_that_registers_again_at_once_leaves_its_first_node_too() {
    let world = World::deployed().await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.aws.set_lag(Duration::from_hours(1));
    world.sweep_well(AGENCY_A).await.unwrap();
    let second = world.register_node(AGENCY_A, None);
    world.tag(&one, hub::MANAGED_INSTANCE_ID_TAG_KEY, &second).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(about(&answer, &one.node)["outcome"], "superseded", "{answer}");
    assert_eq!(world.plain_tags(&one.node), tags(&[]));
    assert_eq!(world.plain_tags(&second), tags(&[("Env", "PROD")]));
}

#[tokio::test]
async fn a_restored_copy_adopts_the_node_once_the_original_is_terminated() {
    let world = World::deployed().await.unwrap();
    let original = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    let copy = [("managedinstanceid", original.node.as_str()), ("Env", "RESTORED")];
    let copy = world.launch(AGENCY_A, HOME_REGION, &copy).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"]["rejected"], 2, "both run: {answer}");

    world.terminate(&original).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(about(&answer, &original.node)["outcome"], "adopted", "{answer}");
    assert_eq!(world.plain_tags(&original.node), tags(&[("Env", "RESTORED")]));
    assert_eq!(world.tags(&original.node)[SOURCE], format!("{AGENCY_A}/{HOME_REGION}/{copy}"));
    assert_eq!(metric(&world, "NodesAdopted").await, 1);
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(answer["counts"]["unchanged"], 1, "{answer}");
}

#[tokio::test]
async fn two_copies_of_a_terminated_original_adopt_nothing() {
    let world = World::deployed().await.unwrap();
    let original = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    for name in ["one", "two"] {
        let copy = [("managedinstanceid", original.node.as_str()), ("Name", name)];
        world.launch(AGENCY_A, HOME_REGION, &copy).await.unwrap();
    }
    world.terminate(&original).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!((&answer["counts"]["rejected"], &answer["counts"]["adopted"]), (&json!(2), &json!(0)), "{answer}");
    assert_eq!(world.plain_tags(&original.node), tags(&[("Env", "PROD")]));
}

#[tokio::test]
async fn a_node_that_was_deregistered_by_hand_is_told_by_outcome_and_metric() {
    let world = World::deployed().await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert!(world.aws.nodes().deregister(CENTRAL, HOME_REGION, &one.node));
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(about(&answer, &one.node)["reason"], "unknown-node", "{answer}");
    assert_eq!(metric(&world, "RejectedUnknownNode").await, 1, "the alarm tag-hub-unknown-node is on it");
}

#[tokio::test]
async fn of_thirteen_tags_those_that_people_target_by_stay() {
    let keys = [
        "App",
        "Backup",
        "Contact",
        "CostCenter",
        "Department",
        "Division",
        "Environment",
        "Fleet",
        "Group",
        "Name",
        "Owner",
        "Patch Group",
        "Schedule",
    ];
    let world = World::deployed().await.unwrap();
    let all: Vec<(&str, &str)> = keys.iter().map(|key| (*key, "x")).collect();
    let one = world.enroll(AGENCY_A, HOME_REGION, &all).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    let carried: BTreeSet<String> = world.plain_tags(&one.node).into_keys().collect();
    assert_eq!(carried.len(), 10, "{carried:?}");
    for key in ["Name", "Patch Group", "Environment"] {
        assert!(carried.contains(key), "{key} stayed behind: {carried:?}");
    }
    let dropped = about(&answer, &one.node)["dropped"].as_array().unwrap().clone();
    assert!(dropped.len() == 3 && dropped.iter().all(|tag| tag["reason"] == "limit"), "{answer}");
}

#[tokio::test]
async fn an_instance_whose_join_key_was_taken_away_is_told_and_its_node_keeps_its_tags() {
    let world = World::deployed().await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let other = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    let before = world.tags(&one.node);
    world.untag(&one, hub::MANAGED_INSTANCE_ID_TAG_KEY).await.unwrap();
    let unmanaged = "i-0bbbbbbbbbbbbbbbb";
    let report = json!({"region": HOME_REGION, "instances": [], "unlinked": [one.instance, unmanaged]});
    let answer = world.report(AGENCY_A, &report).await.unwrap().payload;
    assert_eq!(about(&answer, &one.node)["outcome"], "unlinked", "{answer}");
    assert_eq!(answer["counts"]["unlinked"], 1, "an instance that never had a node is none: {answer}");
    assert_eq!(world.tags(&one.node), before);
    assert!(metric(&world, "NodesUnlinked").await >= 1, "the alarm tag-hub-nodes-unlinked is on it");

    // Another agency cannot ask about it.
    let theirs = json!({"region": HOME_REGION, "instances": [], "unlinked": [other.instance]});
    let answer = world.report(tests::AGENCY_B, &theirs).await.unwrap().payload;
    assert_eq!(answer["counts"]["unlinked"], 0, "{answer}");
}

#[tokio::test]
async fn keys_that_look_alike_are_one_key_and_the_more_important_one_stays() {
    let policy = r#"{"set": {"Env": "central"}, "maxTags": 47}"#;
    let world = World::deployed_with(&[("TagPolicy", policy)], &[]).await.unwrap();
    let alike = ["env", "ENV", "Env ", "Env\u{a0}", "Env\u{3000}", "Env\u{3164}", "eNv"];
    let mut all: Vec<(&str, &str)> = alike.iter().map(|key| (*key, "look-alike")).collect();
    all.extend([("Patch Group", "a"), ("PatchGroup", "b"), ("patch group", "c")]);
    let one = world.enroll(AGENCY_A, HOME_REGION, &all).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    let expected = tags(&[("Env", "central"), ("Patch Group", "a"), ("PatchGroup", "b")]);
    assert_eq!(world.plain_tags(&one.node), expected, "{answer}");
    let dropped = about(&answer, &one.node)["dropped"].as_array().unwrap().clone();
    assert_eq!(dropped.len(), alike.len() + 1, "{answer}");
    assert!(dropped.iter().all(|tag| tag["reason"] == "collision"), "{answer}");
}

#[tokio::test]
async fn tags_as_real_fleets_spell_them_are_exact_and_accounted() {
    let spelled = [
        ("kubernetes.io/cluster/prod-eu-1", "owned"),
        ("k8s.io/cluster-autoscaler/enabled", "true"),
        ("k8s.io/cluster-autoscaler/node-template/label/role", "worker"),
        ("sigs.k8s.io/cluster-api-provider-aws/role", "node"),
        ("Name", "prod-eu-1-worker-asg"),
        ("repo", "https://git.example.org/infra/live.git"),
        ("module", "git::https://git.example.org/modules//eks?ref=v1.2.3"),
        ("owner", "team-a@example.org"),
        ("cost-center", "4711/0815"),
        ("schedule", "mon-fri 08:00-18:00 Europe/Berlin"),
        ("config", r#"{"tier": "gold", "az": ["a", "b"]}"#),
        ("zones", "eu-central-1a,eu-central-1b"),
        ("managed_by", "terraform"),
        ("map-migrated", "d-server-0123456789abcd"),
        ("Patch Group", "linux weekly"),
        ("app:name", "land-registry"),
        ("app:component", "web+api"),
        ("contact", "R&D (night shift)"),
        ("note", "50% spot; room #B"),
        ("empty", ""),
        ("Straße", "Köln"),
    ];
    let world = World::deployed_with(&[("TagPolicy", r#"{"maxTags": 47}"#)], &[]).await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &spelled).await.unwrap();
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    let mut expected: BTreeMap<String, String> = tags(&spelled);
    let refused = ["config", "contact", "module", "note", "zones"];
    let dropped: BTreeMap<String, String> = about(&answer, &one.node)["dropped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| [&tag["key"], &tag["reason"]].map(|text| text.as_str().unwrap().to_owned()).into())
        .collect();
    assert_eq!(dropped, refused.iter().map(|key| ((*key).to_owned(), "character".to_owned())).collect());
    expected.retain(|key, _| !refused.contains(&key.as_str()));
    assert_eq!(world.plain_tags(&one.node), expected);
    let again = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(again["counts"]["unchanged"], 1, "{again}");
}

/// The memory of a release before this one: the time, and the first 24 bits of SHA-256 of each key.
#[tokio::test]
async fn a_memory_of_the_last_release_is_read_and_written_anew_with_the_next_change() {
    let world = World::deployed().await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    let mut live = world.tags(&one.node);
    // As the test of the memory has it, `ungW` is the key `abc`.
    live.insert("abc".to_owned(), "set by the hub".to_owned());
    live.insert("abd".to_owned(), "set by an operator".to_owned());
    live.insert(SOURCE.to_owned(), source_of(&one));
    live.insert(hub::APPLIED_TAG_KEY.to_owned(), "1795312800.ungW".to_owned());
    world.aws.nodes().set_tags(CENTRAL, HOME_REGION, &one.node, live);
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&one.node), tags(&[("Env", "PROD"), ("abd", "set by an operator")]));
    let memory = world.tags(&one.node)[hub::APPLIED_TAG_KEY].clone();
    assert!(memory.starts_with("2."), "{memory}");
}

/// What Systems Manager refuses for a reason that is not modeled is left behind, and the rest is set.
#[tokio::test]
async fn a_tag_that_systems_manager_refuses_is_left_behind_and_the_others_are_set() {
    let world = World::deployed().await.unwrap();
    let all = [("Env", "PROD"), ("Name", "web-1"), ("Odd", "refuse-me"), ("Role", "web"), ("Team", "a")];
    let one = world.enroll(AGENCY_A, HOME_REGION, &all).await.unwrap();
    let refusal = local_aws::Fault::error("ssm:AddTagsToResource", 400, "ValidationException", "refuse-me: no")
        .resource("refuse-me");
    world.aws.faults().add(refusal);
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    let expected = tags(&[("Env", "PROD"), ("Name", "web-1"), ("Role", "web"), ("Team", "a")]);
    assert_eq!(world.plain_tags(&one.node), expected, "{answer}");
    assert_eq!(about(&answer, &one.node)["dropped"], json!([{"key": "Odd", "reason": "refused"}]), "{answer}");
    let before = world.aws.calls().snapshot();
    let again = world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(again["counts"]["unchanged"], 1, "{again}");
    let calls = world.aws.calls().snapshot().since(&before);
    assert_eq!(calls.of("ssm:AddTagsToResource").total(), 0, "it is not sent again as long as it is the same");
}

/// With `overwrite` off an operator's tag stays an operator's, also where the instance carries the same value.
#[tokio::test]
async fn without_overwrite_an_operators_tag_is_never_adopted() {
    let policy = r#"{"overwrite": false}"#;
    let world = World::deployed_with(&[("TagPolicy", policy)], &[]).await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    operators_tag(&world, &one.node, "Env", "PROD");
    let answer = world.sweep_well(AGENCY_A).await.unwrap();
    let dropped = json!([{"key": "Env", "reason": "operator-owned"}]);
    assert_eq!(about(&answer, &one.node)["dropped"], dropped, "{answer}");
    world.untag(&one, "Env").await.unwrap();
    world.untag(&one, "Role").await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&one.node), tags(&[("Env", "PROD")]));
}

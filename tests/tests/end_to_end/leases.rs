//! The table of leases: when it does not answer, when somebody edits it, and when a holder dies.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use local_aws::{Fault, Invocation, Moment};
use serde_json::{Value, json};
use tests::{AGENCY_A, AGENCY_B, CENTRAL, Enrolled, HOME_REGION, LEASE_TABLE, World};

use crate::tags;

const PUT: &str = "dynamodb:PutItem";
const DELETE: &str = "dynamodb:DeleteItem";
const WRITES: [&str; 2] = ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"];
/// More than this many nodes are written with a slot.
const FEW_NODES: usize = 5;
const MINUTE_MS: u128 = 60_000;

async fn fleet(world: &World, count: usize) -> Vec<Enrolled> {
    let mut fleet = Vec::new();
    for _ in 0..count {
        fleet.push(world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap());
    }
    fleet
}

/// Reports that these instances carry this tag and no other.
async fn report(world: &World, agency: &str, fleet: &[Enrolled], value: &str) -> Invocation {
    let instances: Vec<Value> = fleet
        .iter()
        .map(|one| {
            let tags = [json!({"Key": "Env", "Value": value})];
            json!({"instanceId": one.node, "ec2InstanceId": one.instance, "tags": tags})
        })
        .collect();
    let report = json!({"region": HOME_REGION, "unlinked": [], "instances": instances});
    let answer = world.report(agency, &report).await.unwrap();
    assert_eq!(answer.function_error, None, "{}", answer.payload);
    answer
}

#[expect(clippy::disallowed_methods, reason = "a lease ends at a time of day")]
fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// An item of the table as the manager writes it.
fn item(name: &str, until_ms: u128) -> Value {
    let expires = (until_ms / 1_000).to_string();
    json!({"name": {"S": name}, "holder": {"S": "another"}, "until": {"N": until_ms.to_string()},
           "expires": {"N": expires}, "intent": {"S": "{}"}})
}

/// Beside the leases the table has an item for each instance that got a node of late.
fn is_lease(item: &Value) -> bool {
    item["name"]["S"].as_str().is_some_and(|name| name.starts_with("agency#") || name.starts_with("bulk#"))
}

fn lease_of(agency: &str) -> String {
    format!("agency#{agency}")
}

#[tokio::test]
async fn a_table_that_does_not_answer_defers_and_the_next_sweep_makes_good() {
    let world = World::deployed().await.unwrap();
    let fleet = fleet(&world, FEW_NODES + 2).await;
    world.sweep_well(AGENCY_A).await.unwrap();
    let right = tags(&[("Env", "PROD")]);
    let denied = "User: ssm-tag-manager is not authorized to perform: dynamodb:PutItem";
    for (word, fault) in [
        ("AccessDeniedException", Fault::error(PUT, 400, "AccessDeniedException", denied)),
        ("ThrottlingException", Fault::throttle(PUT)),
        ("ResourceNotFoundException", Fault::error(PUT, 400, "ResourceNotFoundException", "no such table")),
        ("InternalServerError", Fault::error(PUT, 500, "InternalServerError", "")),
        // As good as unreachable: no answer comes as long as anybody waits for one.
        ("dynamodb:PutItem", Fault::latency(PUT, Duration::from_mins(2))),
    ] {
        let fault = world.aws.faults().add(fault);
        let before = world.aws.calls().snapshot();
        for part in [&fleet[..1], &fleet[..]] {
            let answer = report(&world, AGENCY_A, part, "TEST").await.payload;
            assert_eq!(answer["counts"]["deferred"], part.len(), "{word}: {answer}");
            let reason = answer["deferredBecause"].as_str().unwrap_or_default();
            assert!(reason.contains(word), "{word}: {answer}");
        }
        let calls = world.aws.calls().snapshot().since(&before);
        assert_eq!(WRITES.map(|operation| calls.of(operation).total()), [0, 0], "{word}: something was written");
        assert!(fleet.iter().all(|one| world.plain_tags(&one.node) == right), "{word}");

        world.aws.faults().remove(fault);
        let answer = report(&world, AGENCY_A, &fleet, "TEST").await.payload;
        assert_eq!(answer["counts"]["updated"], fleet.len(), "{word}: {answer}");
        world.sweep_well(AGENCY_A).await.unwrap();
        assert!(fleet.iter().all(|one| world.plain_tags(&one.node) == right), "{word}: the sweep did not make good");
    }
    let log = world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
    assert!(log.contains("lease not taken"), "{log}");
}

#[tokio::test]
async fn a_lost_answer_of_the_table_changes_nothing_and_no_lease_stays() {
    let world = World::deployed().await.unwrap();
    let fleet = fleet(&world, FEW_NODES + 2).await;
    for (round, operation) in [PUT, DELETE, PUT, DELETE].into_iter().enumerate() {
        for skip in 0..4 {
            let fault = Fault::lost_answer(operation).skip(skip).times(1);
            let fault = world.aws.faults().add(fault);
            let part = if round < 2 { &fleet[..1] } else { &fleet[..] };
            let value = format!("{round}-{skip}");
            let answer = report(&world, AGENCY_A, part, &value).await.payload;
            assert_eq!(answer["counts"]["updated"], part.len(), "{operation} {skip}: {answer}");
            assert!(part.iter().all(|one| world.plain_tags(&one.node) == tags(&[("Env", &value)])));
            world.aws.faults().remove(fault);
        }
    }
    let items = world.leases().await.unwrap();
    let held: Vec<&Value> = items.iter().filter(|item| is_lease(item) && item["until"]["N"] != "0").collect();
    assert!(held.is_empty(), "{held:?}");
}

#[tokio::test]
async fn steady_state_and_dry_run_need_no_lease_and_a_change_takes_two_calls() {
    let world = World::deployed().await.unwrap();
    let fleet = fleet(&world, 1).await;
    let cost = async |report: Value| {
        let before = world.aws.calls().snapshot();
        let answer = world.report(AGENCY_A, &report).await.unwrap();
        assert_eq!(answer.function_error, None, "{}", answer.payload);
        let calls = world.aws.calls().snapshot().since(&before);
        [PUT, DELETE].map(|operation| calls.of(operation).total())
    };
    let of = |dry_run: bool, value: &str| {
        json!({"region": HOME_REGION, "unlinked": [], "dryRun": dry_run, "instances": [
            {"instanceId": fleet[0].node, "ec2InstanceId": fleet[0].instance,
             "tags": [{"Key": "Env", "Value": value}]}]})
    };
    assert_eq!(cost(of(true, "PROD")).await, [0, 0], "a dry run");
    assert_eq!(cost(of(false, "PROD")).await, [2, 1], "the first report also notes which node the instance got");
    assert_eq!(cost(of(false, "PROD")).await, [0, 0], "the steady state");
    assert_eq!(cost(of(false, "TEST")).await, [1, 1], "a change");
}

#[tokio::test]
async fn whoever_finds_the_lease_taken_waits_and_says_so_where_the_time_is_up() {
    let world = World::deployed().await.unwrap();
    // Ten seconds before its end an invocation begins nothing more.
    world.set_timeout("ssm-tag-manager", 15).await.unwrap();
    let ours = fleet(&world, 1).await;
    let theirs = [world.enroll(AGENCY_B, HOME_REGION, &[("Env", "PROD")]).await.unwrap()];
    world.put_lease(&item(&lease_of(AGENCY_A), now_ms() + 2_000)).await.unwrap();
    let answer = report(&world, AGENCY_A, &ours, "PROD").await.payload;
    assert_eq!(answer["counts"]["updated"], 1, "the lease ended after two seconds: {answer}");

    world.put_lease(&item(&lease_of(AGENCY_A), now_ms() + MINUTE_MS)).await.unwrap();
    let answer = report(&world, AGENCY_A, &ours, "TEST").await.payload;
    assert_eq!(answer["counts"]["deferred"], 1, "{answer}");
    let because = answer["deferredBecause"].as_str().unwrap_or_default();
    assert!(because.contains("another report of the agency held its lease"), "{answer}");
    assert_eq!(world.plain_tags(&ours[0].node), tags(&[("Env", "PROD")]));
    let answer = report(&world, AGENCY_B, &theirs, "TEST").await.payload;
    assert_eq!(answer["counts"]["updated"], 1, "another agency's lease is another lease: {answer}");

    // A slot is not what a small change waits for.
    world.put_lease(&item(&lease_of(AGENCY_A), 0)).await.unwrap();
    for slot in ["bulk#1", "bulk#2"] {
        world.put_lease(&item(slot, now_ms() + MINUTE_MS)).await.unwrap();
    }
    let answer = report(&world, AGENCY_A, &ours, "TEST").await.payload;
    assert_eq!(answer["counts"]["updated"], 1, "{answer}");
    let many = fleet(&world, FEW_NODES + 1).await;
    let answer = report(&world, AGENCY_A, &many, "TEST").await.payload;
    assert_eq!(answer["counts"]["deferred"], many.len(), "{answer}");
    assert!(answer["deferredBecause"].as_str().unwrap_or_default().contains("slots"), "{answer}");
}

#[tokio::test]
async fn an_item_that_somebody_edited_by_hand_stops_nobody() {
    let world = World::deployed().await.unwrap();
    let fleet = fleet(&world, FEW_NODES + 1).await;
    let far = now_ms() + 30 * 24 * 60 * MINUTE_MS;
    let with = |field: &str, value: Value| {
        let mut item = item("", now_ms() + MINUTE_MS);
        item[field] = value;
        item
    };
    let without = |field: &str| {
        let mut item = item("", now_ms() + MINUTE_MS);
        item.as_object_mut().unwrap().remove(field);
        item
    };
    let edited = [
        ("no end", without("until")),
        ("an end in words", with("until", json!({"S": "tomorrow"}))),
        ("an end of another kind", with("until", json!({"L": [{"N": "1"}]}))),
        ("an end in a month", with("until", json!({"N": far.to_string()}))),
        ("a negative end", with("until", json!({"N": "-1"}))),
        ("an end with a fraction", with("until", json!({"N": "1.5"}))),
        ("ended, no holder", {
            let mut item = without("holder");
            item["until"] = json!({"N": "1"});
            item
        }),
        ("ended, a holder of another kind", {
            let mut item = with("holder", json!({"M": {}}));
            item["until"] = json!({"N": "1"});
            item
        }),
        ("ended, an intent that is none", {
            let mut item = with("intent", json!({"S": "what is this"}));
            item["until"] = json!({"N": "1"});
            item
        }),
        ("ended, an intent about no node", {
            let mut item = with("intent", json!({"S": r#"{"mi-1": {"set": [7]}}"#}));
            item["until"] = json!({"N": "1"});
            item
        }),
        ("the name alone", json!({"name": {"S": ""}})),
        ("more than there should be", with("note", json!({"S": "do not touch"}))),
    ];
    for (what, mut item) in edited {
        // What is well-formed and has not ended is a lease: nobody can tell who wrote it.
        if what == "more than there should be" {
            item["until"] = json!({"N": "1"});
        }
        for name in [lease_of(AGENCY_A), "bulk#1".to_owned(), "bulk#2".to_owned()] {
            item["name"] = json!({"S": name});
            world.put_lease(&item).await.unwrap();
        }
        // Systems Manager takes no commas.
        let value = what.replace(',', "");
        let answer = report(&world, AGENCY_A, &fleet, &value).await.payload;
        assert_eq!(answer["counts"]["updated"], fleet.len(), "{what}: {answer}");
        assert!(fleet.iter().all(|one| world.plain_tags(&one.node) == tags(&[("Env", &value)])), "{what}");
    }
}

#[tokio::test]
async fn a_holder_that_dies_at_any_call_leaves_nothing_that_nobody_owns() {
    // Without events: a report that comes by itself would do what the one that dies leaves undone.
    let world =
        World::deployed_with(&[("TagPolicy", r#"{"maxTags": 20}"#)], &[("TagChangeEvents", "No")]).await.unwrap();
    world.set_timeout("ssm-tag-manager", 25).await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
    // The node is looked at without a lease, and read again under it. The table is told who holds the lease before.
    let calls = [
        ("ssm:ListTagsForResource", 0),
        (PUT, 0),
        ("ssm:ListTagsForResource", 1),
        (WRITES[1], 0),
        (WRITES[0], 0),
        (DELETE, 0),
    ];
    for (round, (operation, skip)) in calls.into_iter().enumerate() {
        for (number, moment) in [Moment::BeforeTheCall, Moment::AfterTheCall].into_iter().enumerate() {
            let place = format!("{operation} {skip} {moment:?}");
            let had_lease = round > 1 || (round == 1 && moment == Moment::AfterTheCall);
            let [first, second] = [0, 1].map(|part| format!("{round}-{number}-{part}"));
            world.sweep_well(AGENCY_A).await.unwrap();
            world.untag(&one, "Role").await.unwrap();
            world.tag(&one, "Temporary", &first).await.unwrap();
            let kill = world.aws.faults().add(Fault::kill(operation, "ssm-tag-manager", moment).skip(skip).times(1));
            world.sweep(AGENCY_A, &json!({})).await.unwrap();
            assert_eq!(world.aws.faults().fired(kill), 1, "{place}: nobody died");
            world.aws.faults().remove(kill);

            // By the time that the lease has ended, what the holder was about to set is not wanted any more, and an
            // operator has a tag under the key that it was about to remove.
            world.untag(&one, "Temporary").await.unwrap();
            let mut live = world.tags(&one.node);
            live.insert("Role".to_owned(), second.clone());
            world.aws.nodes().set_tags(CENTRAL, HOME_REGION, &one.node, live);
            world.end_leases().await.unwrap();
            world.sweep_well(AGENCY_A).await.unwrap();
            let found = world.plain_tags(&one.node);
            assert!(!found.contains_key("Temporary"), "{place}: {found:?}");
            // As long as nobody was about to remove it, a tag of the hub's that an operator changed stays the hub's.
            assert_eq!(found.get("Role") == Some(&second), had_lease, "{place}: {found:?}");
            let again = world.sweep_well(AGENCY_A).await.unwrap();
            assert_eq!(again["counts"]["unchanged"], 1, "{place}: {again}");

            let mut live = world.tags(&one.node);
            live.remove("Role");
            world.aws.nodes().set_tags(CENTRAL, HOME_REGION, &one.node, live);
            world.tag(&one, "Role", "web").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_call_that_was_done_by_half_is_remembered_by_the_table() {
    let world = World::deployed().await.unwrap();
    world.set_timeout("ssm-tag-manager", 25).await.unwrap();
    let one = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Team", "a")]).await.unwrap();
    let kill = Fault::kill("ssm:AddTagsToResource", "ssm-tag-manager", Moment::BeforeTheCall).times(1);
    world.aws.faults().add(kill);
    world.sweep(AGENCY_A, &json!({})).await.unwrap();
    let items = world.leases().await.unwrap();
    let intent = items.iter().find(|item| item["name"]["S"] == *lease_of(AGENCY_A)).unwrap()["intent"].to_string();
    assert!(intent.contains(&one.node), "{intent}");
    assert!(!intent.contains("PROD") && !intent.contains("Team"), "neither keys nor values are in the table: {intent}");

    // AWS has set one of the tags and not the memory, and an operator has set another one.
    let mut live = world.tags(&one.node);
    live.insert("Env".to_owned(), "PROD".to_owned());
    live.insert("Team".to_owned(), "operators".to_owned());
    world.aws.nodes().set_tags(CENTRAL, HOME_REGION, &one.node, live);
    world.untag(&one, "Env").await.unwrap();
    world.untag(&one, "Team").await.unwrap();
    world.end_leases().await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&one.node), tags(&[("Team", "operators")]));
}

#[tokio::test]
async fn a_report_of_more_than_a_thousand_instances_is_refused_in_words() {
    let world = World::deployed().await.unwrap();
    let one = |number: usize| json!({"instanceId": format!("mi-{number:017x}"), "tags": []});
    for (count, is_taken) in [(1_000, true), (1_001, false)] {
        let instances: Vec<Value> = (0..count).map(one).collect();
        let before = world.aws.calls().snapshot();
        let report = json!({"dryRun": true, "instances": instances});
        let answer = world.report(AGENCY_A, &report).await.unwrap();
        assert_eq!(answer.function_error.is_none(), is_taken, "{count}: {}", answer.payload);
        if !is_taken {
            let told = answer.payload["errorMessage"].as_str().unwrap();
            assert!(told.contains("instances: expected at most 1000 entries, got 1001"), "{told}");
            let calls = world.aws.calls().snapshot().since(&before);
            assert_eq!(calls.of("tagging:GetResources").total(), 0, "it was refused before the first call");
        }
    }
}

#[tokio::test]
async fn the_table_is_as_the_template_says() {
    let world = World::deployed().await.unwrap();
    let table = world.central().json("dynamodb", "DescribeTable", &json!({"TableName": LEASE_TABLE})).await.unwrap();
    let table = &table["Table"];
    assert_eq!(table["KeySchema"], json!([{"AttributeName": "name", "KeyType": "HASH"}]), "{table}");
    assert_eq!(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST", "{table}");
    // Another name makes another table.
    world.deploy_central(&[("LeaseTableName", "other-leases"), ("BulkWriters", "8")]).await.unwrap();
    let tables = world.central().json("dynamodb", "ListTables", &json!({})).await.unwrap();
    assert_eq!(tables["TableNames"], json!(["other-leases"]));
    let fleet = fleet(&world, FEW_NODES + 1).await;
    world.sweep_well(AGENCY_A).await.unwrap();
    assert!(fleet.iter().all(|one| world.plain_tags(&one.node) == tags(&[("Env", "PROD")])));
}

//! A sweep and many tag changes at once, with several sandboxes of each function: in the end every node is right.
//!
//! `TAG_HUB_SEEDS` says how many rounds there are. `make soak` asks for a hundred.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use local_aws::Fault;
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, Enrolled, HOME_REGION, World};

use crate::tags;

const NODES: usize = 80;
const CHANGES: u64 = 200;
const CALLS_PER_SECOND: f64 = 10.0;
const WRITES: [&str; 2] = ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"];
const KEYS: [&str; 5] = ["Env", "Name", "Patch Group", "Role", "Team"];
/// A key that the instances never carry.
const OPERATORS_KEY: &str = "Maintenance";
/// So far are bulk reads behind.
const LAG: Duration = Duration::from_secs(1);
/// As long as nothing is called, nothing is under way.
const QUIET: Duration = Duration::from_secs(4);
const QUIET_WITHIN: Duration = Duration::from_mins(5);
const ROUNDS: u64 = 3;

/// An instance and what it carries.
struct Member {
    enrolled: Enrolled,
    carried: BTreeMap<String, String>,
}

/// Numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64: https://prng.di.unimi.it/splitmix64.c
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }
}

#[tokio::test]
async fn a_sweep_and_many_changes_at_once_leave_no_node_wrong() {
    let world = World::deployed_with(&[], &[("ChangeWindowSeconds", "1")]).await.unwrap();
    let mut fleet = Vec::new();
    for _ in 0..NODES {
        let carried = tags(&[("Env", "PROD"), ("Role", "web")]);
        let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD"), ("Role", "web")]).await.unwrap();
        fleet.push(Member { enrolled, carried });
    }
    world.aws.set_lag(LAG);
    for operation in WRITES {
        world.aws.faults().add(Fault::rate(operation, CALLS_PER_SECOND, CALLS_PER_SECOND));
    }
    for seed in 1..=rounds() {
        let start = Instant::now();
        let before = world.aws.calls().snapshot();
        round(&world, &mut fleet, seed).await;
        let calls = world.aws.calls().snapshot().since(&before);
        let [set, removed] = WRITES.map(|operation| calls.of(operation));
        println!(
            "seed {seed}: {CHANGES} changes and 3 sweeps at once, {} writes, {} throttled, 0 of {NODES} nodes wrong, {} s",
            set.total() + removed.total(),
            set.throttled + removed.throttled,
            start.elapsed().as_secs()
        );
    }
    let log = world.log(CENTRAL, "ssm-tag-manager").await.unwrap();
    let waited = log.lines().filter(|line| waited_for_lease(line)).count();
    assert!(waited > 0, "no report ever waited for another one, so nothing met");
}

async fn round(world: &World, fleet: &mut [Member], seed: u64) {
    let mut random = Random(seed);
    for member in fleet.iter().step_by(4) {
        let tags = json!([{"Key": OPERATORS_KEY, "Value": format!("round-{seed}")}]);
        let request = json!({"ResourceType": "ManagedInstance", "ResourceId": member.enrolled.node, "Tags": tags});
        while world.central().json("ssm", "AddTagsToResource", &request).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let wait = [(); 3].map(|()| Duration::from_millis(random.below(4_000)));
    let sweep = async |wait: Duration| {
        tokio::time::sleep(wait).await;
        world.sweep(AGENCY_A, &json!({})).await.unwrap()
    };
    tokio::join!(sweep(wait[0]), sweep(wait[1]), sweep(wait[2]), change(world, fleet, &mut random));
    become_quiet(world).await;

    for _ in 0..2 {
        world.sweep_well(AGENCY_A).await.unwrap();
    }
    tokio::time::sleep(LAG).await;
    let before = world.aws.calls().snapshot();
    let last = world.sweep_well(AGENCY_A).await.unwrap();
    let calls = world.aws.calls().snapshot().since(&before);
    assert_eq!(last["counts"]["unchanged"], NODES, "seed {seed}: {last}");
    for operation in [WRITES[0], WRITES[1], "dynamodb:PutItem", "dynamodb:DeleteItem"] {
        assert_eq!(calls.of(operation).total(), 0, "seed {seed}: {operation} in the steady state");
    }
    let wrong: Vec<String> = (0..NODES).filter_map(|index| is_wrong(world, fleet, index, seed)).collect();
    assert!(wrong.is_empty(), "seed {seed}: {} nodes are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Sets and deletes tags of instances, in bursts.
async fn change(world: &World, fleet: &mut [Member], random: &mut Random) {
    for number in 0..CHANGES {
        let index = random.index(fleet.len());
        let member = &mut fleet[index];
        let key = *random.of(&KEYS);
        if random.below(3) == 0 && member.carried.remove(key).is_some() {
            world.untag(&member.enrolled, key).await.unwrap();
        } else {
            let value = format!("{number}-{}", random.below(1_000));
            world.tag(&member.enrolled, key, &value).await.unwrap();
            member.carried.insert(key.to_owned(), value);
        }
        if random.below(20) == 0 {
            tokio::time::sleep(Duration::from_millis(random.below(1_000))).await;
        }
    }
}

/// Waits until the queue is read and no function calls anything.
async fn become_quiet(world: &World) {
    let client = world.aws.client(AGENCY_A, HOME_REGION);
    let name = json!({"QueueName": "tags-collector-changes"});
    let url = client.json("sqs", "GetQueueUrl", &name).await.unwrap()["QueueUrl"].clone();
    let ask = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
    let deadline = Instant::now() + QUIET_WITHIN;
    loop {
        let before = world.aws.calls().snapshot();
        tokio::time::sleep(QUIET).await;
        let calls = world.aws.calls().snapshot().since(&before);
        let operations = [
            "ec2:DescribeInstances",
            "lambda:Invoke",
            "tagging:GetResources",
            "dynamodb:PutItem",
            WRITES[0],
            WRITES[1],
        ];
        let called: u64 = operations.map(|operation| calls.of(operation).total()).iter().sum();
        let waiting = client.json("sqs", "GetQueueAttributes", &ask).await.unwrap();
        let waiting = waiting["Attributes"]["ApproximateNumberOfMessages"].as_str().unwrap().to_owned();
        if called == 0 && waiting == "0" {
            return;
        }
        assert!(Instant::now() < deadline, "it did not become quiet: {waiting} messages, {called} calls");
    }
}

fn is_wrong(world: &World, fleet: &[Member], index: usize, seed: u64) -> Option<String> {
    let member = &fleet[index];
    let mut expected = member.carried.clone();
    if index.is_multiple_of(4) {
        expected.insert(OPERATORS_KEY.to_owned(), format!("round-{seed}"));
    }
    let found = world.plain_tags(&member.enrolled.node);
    (found != expected).then(|| format!("{}: {found:?} instead of {expected:?}", member.enrolled.node))
}

fn waited_for_lease(line: &str) -> bool {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
    let fields = &line["fields"];
    // Numbers of 128 bits are text in a log line.
    let waited = &fields["lease_wait_ms"];
    let waited = waited.as_u64().or_else(|| waited.as_str()?.parse().ok()).unwrap_or_default();
    fields["message"] == "report applied" && waited > 100
}

#[expect(clippy::disallowed_methods, reason = "the one way to ask this test for more rounds")]
fn rounds() -> u64 {
    std::env::var("TAG_HUB_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

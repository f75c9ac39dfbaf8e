//! The law that the order of the instances in a report does not matter.

use std::collections::BTreeMap;

use hub::Answer;
use proptest::prelude::*;
use serde_json::{Value, json};
use ssm_tag_manager::plan::Tags;

use crate::account::Account;
use crate::send;

const OWN: [&str; 3] = ["mi-0000000000000000a", "mi-0000000000000000b", "mi-0000000000000000c"];
const OTHERS: &str = "mi-0000000000000000d";
const UNKNOWN: &str = "mi-0000000000000000e";

fn account() -> Account {
    OWN.into_iter()
        .fold(Account::default(), |account, node| account.with_node(node, &[("tag-hub:agency", "222222222222")]))
        .with_node(OTHERS, &[("tag-hub:agency", "333333333333")])
}

/// Few nodes, instances and tags, so that instances meet on a node, and some entries are the same.
fn instance() -> impl Strategy<Value = Value> {
    let node = prop::sample::select([&OWN[..], &[OTHERS, UNKNOWN, "mi-no"]].concat());
    let ec2 = prop::sample::select(vec!["i-0000000000000000a", "i-0000000000000000b", "i-no"]);
    let tags = prop::collection::btree_map("[ab]|c#", "[xy]", 0..3);
    (node, ec2, tags).prop_map(|(node, ec2, tags)| {
        let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        json!({"instanceId": node, "ec2InstanceId": ec2, "tags": tags})
    })
}

/// What is told, and what the nodes carry then.
async fn applied(instances: &[Value]) -> (Answer, BTreeMap<String, Tags>) {
    let account = account();
    let report = json!({"region": "us-east-1", "observedAt": "2026-11-22T02:00:00Z", "instances": instances});
    let answer = send(&account, &report).await.unwrap();
    let nodes = account.ids().into_iter().map(|id| (id.clone(), account.tags(&id))).collect();
    (answer, nodes)
}

proptest! {
    #[test]
    fn the_order_of_instances_does_not_matter(
        (instances, shuffled) in prop::collection::vec(instance(), 1..12)
            .prop_flat_map(|instances| (Just(instances.clone()), Just(instances).prop_shuffle()))
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (one, other) = runtime.block_on(async { (applied(&instances).await, applied(&shuffled).await) });
        prop_assert_eq!(one, other);
    }
}

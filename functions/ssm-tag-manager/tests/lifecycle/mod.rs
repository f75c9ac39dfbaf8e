//! Nodes whose instance registers again, is gone, or no longer names them; and what a report may hold.

mod adopted;
mod bounds;
mod superseded;
mod unlinked;

use hub::Answer;
use serde_json::{Value, json};
use ssm_tag_manager::handle;

use super::account::{Account, Call};
use super::{AGENCY_ARN, LEASE, NODE, NODE_2, account, config, invocation, one, send};

const EC2: &str = "i-0abcdef0123456789";
const SOURCE: &str = "222222222222/us-east-1/i-0abcdef0123456789";

/// The nodes of an answer with their outcomes.
fn outcomes(answer: &Answer) -> Vec<(&str, &str)> {
    answer.nodes.iter().map(|node| (&*node.instance_id, node.outcome.into_str())).collect()
}

fn find(count: usize) -> Call {
    Call::Find("tag-hub:source".to_owned(), count)
}

fn set(account: &Account, node: &str, key: &str, value: &str) {
    account.change(node, |tags| drop(tags.insert(key.to_owned(), value.to_owned())));
}

//! What happens in the agencies' accounts: changes, events, and a hostile sender.

use std::rc::Rc;

use hub::{AccountId, Timestamp};
use serde_json::{Value, json};
use ssm_tag_manager::plan::Tags;
use tokio::task::spawn_local;

use crate::collector;
use crate::sandbox::{self, Manager};
use crate::world::{InstanceState, World};

const KEYS: [&str; 9] = ["Name", "Env", "env", "Role", "app:a", "app:b", "secret", "bad#key", "aws:x"];
const VALUES: [&str; 4] = ["1", "2", "x,y", ""];

/// One change in an account, with the events that it causes.
pub(crate) fn change_something(world: &Rc<World>, manager: &Rc<Manager>, account: &AccountId) {
    let ids: Vec<String> = {
        let instances = world.instances.borrow();
        let living = instances.iter().filter(|(_, instance)| instance.account == *account);
        living.filter(|(_, instance)| !instance.state.is_terminated).map(|(id, _)| id.clone()).collect()
    };
    let number = world.pick(1 << 40..1 << 60);
    if ids.is_empty() || world.chance(0.04) {
        launch(world, number, account);
        return;
    }
    let id = &ids[world.pick_index(ids.len())];
    match world.pick(0..100) {
        0..3 => {
            world.count("terminated");
            let node = world.instances.borrow()[id].state.node.clone();
            world.change_instance(id, |state| state.is_terminated = true);
            if let Some(node) = node {
                world.change_node(&node, |node| node.is_online = false);
            }
        }
        3..6 => {
            world.count("registered again");
            let node = world.register(number, account);
            world.change_instance(id, |state| state.node = Some(node));
        }
        6..9 => {
            world.count("unlinked");
            world.change_instance(id, |state| state.node = None);
        }
        9..11 => {
            world.count("cloned");
            let state = world.instances.borrow()[id].state.clone();
            world.launch(&format!("i-{number:017x}"), account, state);
        }
        11..50 => {
            let key = KEYS[world.pick_index(KEYS.len())];
            world.change_instance(id, |state| drop(state.tags.remove(key)));
        }
        _ => {
            let (key, value) = (KEYS[world.pick_index(KEYS.len())], VALUES[world.pick_index(VALUES.len())]);
            world.change_instance(id, |state| drop(state.tags.insert(key.to_owned(), value.to_owned())));
        }
    }
    send_events(world, manager, account, id);
}

/// A new instance that has registered.
pub(crate) fn launch(world: &World, number: u64, account: &AccountId) {
    let node = world.register(number, account);
    let tags = Tags::from([("Env".to_owned(), "1".to_owned())]);
    world.launch(&format!("i-{number:017x}"), account, InstanceState { tags, node: Some(node), is_terminated: false });
}

/// Events come late, twice or never.
fn send_events(world: &Rc<World>, manager: &Rc<Manager>, account: &AccountId, id: &str) {
    let faults = world.faults.get();
    if world.chance(faults.lost_event) {
        world.note_lost_end(id);
        return world.count("fault: event lost");
    }
    let is_terminated = world.instances.borrow().get(id).is_some_and(|instance| instance.state.is_terminated);
    for _ in 0..if world.chance(faults.duplicate_event) { 2 } else { 1 } {
        let (world, manager, account, id) = (Rc::clone(world), Rc::clone(manager), account.clone(), id.to_owned());
        spawn_local(async move { collector::event(&world, &manager, &account, &id, is_terminated).await });
    }
}

/// An agency that reports what is not its own, and makes times up.
pub(crate) async fn attack(world: &Rc<World>, manager: &Rc<Manager>, account: &AccountId) {
    world.count("attacks");
    let now = world.now_ms() / 1000;
    let times = [now - 86_400, now - 5, now + 250, now + 86_400];
    let observed_at = Timestamp::from_unix_seconds(times[world.pick_index(times.len())]);
    let nodes: Vec<String> = world.nodes.borrow().keys().map(ToString::to_string).collect();
    let victims: Vec<String> = world.instances.borrow().keys().cloned().collect();
    let tags = json!([{"Key": "Env", "Value": "stolen"}, {"Key": "op-1", "Value": "stolen"},
                      {"Key": "tag-hub:agency", "Value": account.as_str()}]);
    let instances: Vec<Value> = nodes
        .iter()
        .filter(|_| world.chance(0.5))
        .map(|node| {
            let own = format!("i-{:017x}", world.pick(1 << 40..1 << 60));
            json!({"instanceId": node, "ec2InstanceId": own, "tags": tags})
        })
        .collect();
    let terminated: Vec<Value> = victims.iter().map(|id| json!({"ec2InstanceId": id})).collect();
    let event = json!({
        "region": "us-east-1", "observedAt": observed_at.to_string(), "instances": instances,
        "terminated": terminated, "unlinked": victims
    });
    sandbox::report(world, manager, account, event.to_string()).await;
}

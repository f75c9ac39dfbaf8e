//! An invocation of the manager in a sandbox that may be killed at any moment.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use hub::{AccountId, Answer};
use ssm_tag_manager::{Config, Invocation, Responded, respond};
use tokio::time::{Instant, sleep};

use crate::aws::Aws;
use crate::world::World;

/// Lambda ends an invocation after this time.
pub(crate) const BUDGET: Duration = Duration::from_mins(1);

/// The manager, without its alias.
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager";

/// The manager as it is deployed.
#[derive(Debug)]
pub(crate) struct Manager {
    config: Config,
}

impl Manager {
    pub(crate) fn new(variables: &[(&str, &str)]) -> Self {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        match Config::from_lookup(lookup) {
            Ok(config) => Self { config },
            Err(error) => unreachable!("{error}"),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}

/// Invokes the manager through the alias of an agency: its answer, unless the sandbox died or the report was refused.
pub(crate) async fn report(
    world: &Rc<World>,
    manager: &Rc<Manager>,
    agency: &AccountId,
    event: String,
) -> Option<Answer> {
    match invoke(world, manager, format!("{FUNCTION}:agency-{agency}"), event).await? {
        Responded::Report(handled) => handled.result.ok(),
        Responded::Retire(_) => None,
    }
}

/// Invokes the manager's retirement.
pub(crate) async fn retire(world: &Rc<World>, manager: &Rc<Manager>) {
    invoke(world, manager, FUNCTION.to_owned(), r#"{"action": "retire"}"#.to_owned()).await;
}

async fn invoke(world: &Rc<World>, manager: &Rc<Manager>, arn: String, event: String) -> Option<Responded> {
    world.count("invocations");
    let faults = world.faults.get();
    let now_ms = world.now_ms() + world.skew_ms();
    let entropy = world.bytes();
    let lives_ms = if world.chance(faults.crash) { Some(world.pick(1..8_000)) } else { None };
    let (world_there, manager) = (Rc::clone(world), Rc::clone(manager));
    // What an agency's policy takes to read, before anything else is done.
    let reading_ms = if world.is_harder && world.chance(faults.slow_policy) { world.pick(0..28_000) } else { 0 };
    let mut task = tokio::task::spawn_local(async move {
        let begun = Instant::now();
        sleep(Duration::from_millis(reading_ms)).await;
        let invocation = Invocation {
            arn: arn.parse().ok()?,
            now: UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or_default()),
            begun,
            budget: BUDGET,
            entropy,
        };
        Some(respond(&manager.config, &Aws::new(&world_there), &invocation, &event).await)
    });
    let ends_in = lives_ms.map_or(BUDGET, Duration::from_millis);
    tokio::select! {
        biased;
        done = &mut task => done.ok().flatten(),
        () = sleep(ends_in) => {
            world.count(if lives_ms.is_some() { "fault: crashed" } else { "fault: timed out" });
            task.abort();
            None
        }
    }
}

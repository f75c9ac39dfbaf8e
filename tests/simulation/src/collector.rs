//! An invocation of the collector in an agency's account.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hub::{AccountId, Answer, AwsError, Ec2InstanceId, ManagedInstanceId, Region, Tag};
use serde_json::{Value, json};

use tags_collector::config::{Config, InvocationType};
use tags_collector::handler::{Collector, Invocation, Response};
use tags_collector::plan::{InstanceState as State, SeenInstance};
use tags_collector::ports::{Aws, Failure, Page};
use tokio::time::sleep;

use crate::sandbox::{self, Manager};
use crate::world::{InstanceState, World};

const BUDGET: Duration = Duration::from_mins(2);
/// Instances on a page of `DescribeInstances`: few, so that reports are of several pages.
const PAGE: usize = 3;
/// A message that was not worked off is visible again after some time, at most so often.
const MOST_RECEIVES: u64 = 4;

/// AWS as the collector of one agency reaches it.
#[derive(Debug)]
struct Agency {
    world: Rc<World>,
    manager: Rc<Manager>,
    account: AccountId,
}

impl Agency {
    fn seen(&self, asked_for: &[Ec2InstanceId]) -> Vec<SeenInstance> {
        let lag = self.world.faults.get().ec2_lag_ms;
        let now = self.world.now_ms();
        let mut seen = Vec::new();
        for (id, instance) in self.world.instances.borrow().iter() {
            let is_asked_for = asked_for.is_empty() || asked_for.iter().any(|asked| asked.as_str() == id);
            if instance.account != self.account || !is_asked_for {
                continue;
            }
            let behind = i64::try_from(self.world.pick(0..lag.max(1))).unwrap_or_default();
            seen.extend(instance.seen_at(now - behind).map(|state| seen_instance(id, state)));
        }
        seen
    }
}

fn seen_instance(id: &str, state: &InstanceState) -> SeenInstance {
    let tags = state.tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() });
    SeenInstance {
        ec2_instance_id: id.to_owned(),
        state: if state.is_terminated { State::Terminated } else { State::Running },
        // EC2 shows a terminated instance with its tags for some time. Without them and without the event, nobody knows
        // that a node's instance is gone.
        managed_instance_id: state.node.as_ref().map(ManagedInstanceId::to_string),
        tags: tags.collect(),
    }
}

impl Aws for Agency {
    async fn instances(
        &self,
        _: &Region,
        instance_ids: &[Ec2InstanceId],
        page_token: Option<String>,
    ) -> Result<Page, AwsError> {
        self.world.count("ec2:DescribeInstances");
        self.world.pause(1..self.world.faults.get().latency_ms).await;
        if self.world.chance(self.world.faults.get().error) {
            self.world.count("fault: EC2 failed");
            return Err(AwsError {
                operation: "ec2:DescribeInstances",
                code: "InternalError".to_owned(),
                message: "simulated".to_owned(),
                request_id: None,
                retryable: true,
            });
        }
        let first = page_token.and_then(|token| token.parse::<usize>().ok()).unwrap_or_default();
        let all = self.seen(instance_ids);
        let next_token = (first + PAGE < all.len()).then(|| (first + PAGE).to_string());
        Ok(Page { instances: all.into_iter().skip(first).take(PAGE).collect(), next_token })
    }

    async fn report(&self, report: &[u8], _: InvocationType) -> Result<Option<Answer>, Failure> {
        let event = String::from_utf8_lossy(report).into_owned();
        match sandbox::report(&self.world, &self.manager, &self.account, event).await {
            Some(answer) => Ok(Some(answer)),
            None => Err(Failure::new("FunctionError", "the manager did not answer")),
        }
    }
}

/// Everything in the account is reported.
pub(crate) async fn sweep(world: &Rc<World>, manager: &Rc<Manager>, account: &AccountId) {
    invoke(world, manager, account, &json!({})).await;
}

/// A tag of an instance has changed, or the instance has ended: SQS brings the event until it is worked off, or too often.
pub(crate) async fn event(
    world: &Rc<World>,
    manager: &Rc<Manager>,
    account: &AccountId,
    id: &str,
    is_terminated: bool,
) {
    let mut body = json!({
        "version": "0", "id": "ffd8a6fe-32f8-ef66-c85c-000000000001", "account": account.as_str(),
        "time": "2026-11-22T02:00:00Z", "region": "us-east-1",
        "resources": [format!("arn:aws:ec2:us-east-1:{account}:instance/{id}")],
    });
    (body["source"], body["detail-type"], body["detail"]) = if is_terminated {
        let detail = json!({"instance-id": id, "state": "terminated"});
        (json!("aws.ec2"), json!("EC2 Instance State-change Notification"), detail)
    } else {
        let detail = json!({"changed-tag-keys": ["Env"], "service": "ec2", "resource-type": "instance", "version": 1,
                            "tags": {"Env": "1"}});
        (json!("aws.tag"), json!("Tag Change on Resource"), detail)
    };
    let message = json!({
        "messageId": "m1", "receiptHandle": "r1", "body": body.to_string(), "attributes": {},
        "messageAttributes": {}, "md5OfBody": "cb73cf13f38119ac2e735fd747c9751e", "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:{account}:tags-collector-changes"), "awsRegion": "us-east-1"
    });
    for _ in 0..MOST_RECEIVES {
        world.pause(200..6_000).await;
        match invoke(world, manager, account, &json!({"Records": [message]})).await {
            Some(Response::Queue(answer)) if answer.batch_item_failures.is_empty() => return,
            _ => world.count("message again"),
        }
    }
    world.count("fault: event given up");
    world.note_lost_end(id);
}

async fn invoke(world: &Rc<World>, manager: &Rc<Manager>, account: &AccountId, event: &Value) -> Option<Response> {
    let agency = Agency { world: Rc::clone(world), manager: Rc::clone(manager), account: account.clone() };
    let skew_ms = world.skew_ms();
    let there = Rc::clone(world);
    let now = move || -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(u64::try_from(there.now_ms() + skew_ms).unwrap_or_default())
    };
    let manager_arn = format!("{}:agency-{account}", sandbox::FUNCTION);
    let config = Config::from_lookup(|name| match name {
        "MANAGER_FUNCTION_ARN" => Some(manager_arn.clone()),
        "COLLECT_REGIONS" => Some("us-east-1".to_owned()),
        _ => None,
    });
    let arn = format!("arn:aws:lambda:us-east-1:{account}:function:tags-collector").parse();
    let (Ok(config), Ok(arn)) = (config, arn) else { unreachable!("the configuration is sound") };
    let collector = Collector::new(config, agency, now);
    let invocation = Invocation { arn, budget: BUDGET };
    let crash = world.faults.get().crash / 4.0;
    let lives = if world.chance(crash) { Duration::from_millis(world.pick(1..20_000)) } else { BUDGET };
    tokio::select! {
        biased;
        handled = collector.handle(&invocation, event) => handled.result.ok(),
        () = sleep(lives) => {
            world.count("fault: collector crashed");
            None
        }
    }
}

//! The simulated services, as one sandbox of the manager sees them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hub::{AGENCY_TAG_KEY, AwsError, ManagedInstanceId, Timestamp};
use ssm_tag_manager::plan::{Intent, Tags};
use ssm_tag_manager::ports::{Information, Lease, LeaseName, Leases, Nodes, Rates, Retirable, Taken};
use tokio::time::sleep;

use crate::world::{Held, World};

/// How often a call goes again after an error, as the adapter does.
const MAX_FAILURES: u32 = 3;
/// A call whose answer was lost is carried out within this time.
const LATE_MS: u64 = 6_000;
const TIMEOUT: &str = "Timeout";

/// AWS as one invocation reaches it.
#[derive(Debug)]
pub(crate) struct Aws {
    world: Rc<World>,
    /// What the bulk reads of this invocation showed: all there is to plan on, if nodes are not read themselves.
    seen: RefCell<BTreeMap<ManagedInstanceId, Tags>>,
    /// The leases that this invocation took last, with the holder that it was then.
    held: RefCell<BTreeMap<String, String>>,
    /// True if a call got no answer since this was last asked.
    is_unanswered: Cell<bool>,
}

/// What becomes of a call.
enum Fate {
    Done,
    Throttled,
    Failed,
    /// It is carried out, and the answer does not arrive.
    AnswerLost,
    /// A part of it is carried out.
    HalfDone,
}

fn error(operation: &'static str, code: &str, retryable: bool) -> AwsError {
    AwsError { operation, code: code.to_owned(), message: "simulated".to_owned(), request_id: None, retryable }
}

impl Aws {
    pub(crate) fn new(world: &Rc<World>) -> Self {
        Self {
            world: Rc::clone(world),
            seen: RefCell::default(),
            held: RefCell::default(),
            is_unanswered: Cell::default(),
        }
    }

    /// A call that changes something. The change happens at some time after the call was sent, also if the sender has
    /// died by then.
    async fn write(
        &self,
        operation: &'static str,
        node: &ManagedInstanceId,
        change: impl Fn(&World, bool) -> Result<(), AwsError> + Clone + 'static,
    ) -> Result<(), AwsError> {
        let mut failures = 0;
        loop {
            self.world.count(operation);
            let node = node.clone();
            let (world, change, held) = (Rc::clone(&self.world), change.clone(), self.held.borrow().clone());
            let change = move |world: &World, is_half| {
                world.check_lease(&node, &held);
                change(world, is_half)
            };
            let latency = self.world.faults.get().latency_ms;
            let sent = tokio::task::spawn_local(async move {
                world.pause(1..latency).await;
                match world.fate() {
                    Fate::Throttled => {
                        world.count("fault: throttled");
                        Err(error(operation, "ThrottlingException", true))
                    }
                    Fate::Failed => {
                        world.count("fault: failed");
                        Err(error(operation, "InternalServerError", true))
                    }
                    Fate::AnswerLost => {
                        world.count("fault: answer lost");
                        if world.is_harder {
                            let (world, change, late_ms) = (Rc::clone(&world), change.clone(), world.pick(0..LATE_MS));
                            tokio::task::spawn_local(async move {
                                sleep(Duration::from_millis(late_ms)).await;
                                let _ = change(&world, false);
                            });
                        } else {
                            change(&world, false)?;
                        }
                        Err(error(operation, TIMEOUT, true))
                    }
                    Fate::HalfDone => {
                        world.count("fault: half done");
                        change(&world, true)?;
                        Err(error(operation, "InternalServerError", true))
                    }
                    Fate::Done => change(&world, false),
                }
            });
            let result = sent.await.unwrap_or_else(|_| Err(error(operation, "DispatchFailure", true)));
            if result.as_ref().is_err_and(|error| error.code == TIMEOUT) {
                self.is_unanswered.set(true);
            }
            self.world.pause(1..latency).await;
            match result {
                Err(error) if error.is_throttling() => self.world.pause(20..200).await,
                Err(error) if error.retryable && failures < MAX_FAILURES => {
                    failures += 1;
                    self.world.pause(20..200).await;
                }
                result => return result,
            }
        }
    }

    async fn read<T>(&self, operation: &'static str, look: impl Fn(&World) -> T) -> Result<T, AwsError> {
        let mut failures = 0;
        loop {
            self.world.count(operation);
            let latency = self.world.faults.get().latency_ms;
            self.world.pause(1..latency).await;
            let fate = self.world.fate();
            let answer = look(&self.world);
            self.world.pause(1..latency).await;
            match fate {
                Fate::Throttled => self.world.pause(20..200).await,
                Fate::Failed | Fate::AnswerLost if failures < MAX_FAILURES => failures += 1,
                Fate::Failed | Fate::AnswerLost => return Err(error(operation, "InternalServerError", true)),
                Fate::Done | Fate::HalfDone => return Ok(answer),
            }
        }
    }

    /// One atomic step of the table; its answer may get lost.
    async fn table<T>(&self, step: impl FnOnce(&World) -> T) -> Result<T, AwsError> {
        self.world.count("dynamodb");
        let latency = self.world.faults.get().latency_ms;
        self.world.pause(1..latency).await;
        if self.world.chance(self.world.faults.get().slow_table) {
            // The attempts of one call go on for so long.
            self.world.count("fault: slow table");
            self.world.pause(1_000..30_000).await;
        }
        if self.world.chance(self.world.faults.get().table) {
            self.world.count("fault: table");
            // Sometimes it is done all the same.
            if self.world.chance(0.5) {
                step(&self.world);
            }
            return Err(error("dynamodb:PutItem", "InternalServerError", true));
        }
        let done = step(&self.world);
        self.world.pause(1..latency).await;
        Ok(done)
    }
}

impl World {
    fn fate(&self) -> Fate {
        let faults = self.faults.get();
        if self.chance(faults.throttle) {
            Fate::Throttled
        } else if self.chance(faults.error) {
            Fate::Failed
        } else if self.chance(faults.lost_answer) {
            Fate::AnswerLost
        } else if self.chance(faults.half_done) {
            Fate::HalfDone
        } else {
            Fate::Done
        }
    }

    /// The keys that a call removes.
    fn part_of(&self, keys: &[String], is_half: bool) -> Vec<String> {
        match (is_half, self.is_harder) {
            (false, _) => keys.to_vec(),
            (true, false) => keys[..self.pick_index(keys.len() + 1)].to_vec(),
            (true, true) => keys.iter().filter(|_| self.chance(0.5)).cloned().collect(),
        }
    }

    /// Notes a write to a node while the sender does not hold the lease of its agency.
    fn check_lease(&self, node: &ManagedInstanceId, held: &BTreeMap<String, String>) {
        let nodes = self.nodes.borrow();
        let Some(owner) = nodes.get(node).and_then(|node| node.tags.get(AGENCY_TAG_KEY)) else { return };
        let name = format!("agency#{owner}");
        let leases = self.leases.borrow();
        let is_senders =
            leases.get(&name).is_some_and(|now| now.until_ms >= self.now_ms() && held.get(&name) == Some(&now.holder));
        if !is_senders && self.rules.leases {
            self.count("violation: a write without the lease");
        }
    }

    /// The nodes as the tagging API shows them: each as it was some time ago.
    fn lagging(&self, select: impl Fn(&ManagedInstanceId, &Tags) -> bool) -> BTreeMap<ManagedInstanceId, Tags> {
        let lag = self.faults.get().lag_ms;
        let now = self.now_ms();
        let nodes = self.nodes.borrow();
        let seen = nodes.iter().filter_map(|(id, node)| {
            let behind = i64::try_from(self.pick(0..lag.max(1))).unwrap_or_default();
            Some((id, node.seen_at(now - behind)?))
        });
        seen.filter(|(id, tags)| select(id, tags)).map(|(id, tags)| (id.clone(), tags.clone())).collect()
    }
}

impl Nodes for Aws {
    async fn read_many(&self, nodes: &[ManagedInstanceId]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError> {
        let found = self.read("tag:GetResources", |world| world.lagging(|id, _| nodes.contains(id))).await?;
        self.seen.borrow_mut().extend(found.clone());
        Ok(found)
    }

    async fn read(&self, node: &ManagedInstanceId) -> Result<Option<Tags>, AwsError> {
        let live =
            self.read("ssm:ListTagsForResource", |world| world.nodes.borrow().get(node).map(|node| node.tags.clone()));
        let live = live.await?;
        if self.world.rules.fresh_reads {
            return Ok(live);
        }
        // As if what was seen first were all there is to know.
        let seen = self.seen.borrow().get(node).cloned();
        if let Some(live) = &live {
            self.seen.borrow_mut().entry(node.clone()).or_insert_with(|| live.clone());
        }
        Ok(live.map(|live| seen.unwrap_or(live)))
    }

    async fn remove(&self, node: &ManagedInstanceId, keys: &[String]) -> Result<(), AwsError> {
        let (id, node, keys) = (node, node.clone(), keys.to_vec());
        self.write("ssm:RemoveTagsFromResource", id, move |world, is_half| {
            let keys = world.part_of(&keys, is_half);
            let exists = world.change_node(&node, |node| node.tags.retain(|key, _| !keys.contains(key)));
            if exists { Ok(()) } else { Err(error("ssm:RemoveTagsFromResource", "InvalidResourceId", false)) }
        })
        .await
    }

    async fn set(&self, node: &ManagedInstanceId, tags: &Tags) -> Result<(), AwsError> {
        let (id, node, tags) = (node, node.clone(), tags.clone());
        self.write("ssm:AddTagsToResource", id, move |world, is_half| {
            let exists = world.change_node(&node, |node| {
                for (key, value) in &tags {
                    if !is_half || world.chance(0.5) {
                        node.tags.insert(key.clone(), value.clone());
                    }
                }
            });
            if exists { Ok(()) } else { Err(error("ssm:AddTagsToResource", "InvalidResourceId", false)) }
        })
        .await
    }

    async fn find(&self, key: &str, values: &[String]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError> {
        self.read("tag:GetResources", |world| {
            world.lagging(|_, tags| tags.get(key).is_some_and(|value| values.is_empty() || values.contains(value)))
        })
        .await
    }

    fn rates(&self) -> Rates {
        Rates::new()
    }

    fn start_from(&self, _: &Rates) {}

    fn may_land_late(&self) -> bool {
        self.is_unanswered.take()
    }
}

impl Retirable for Aws {
    async fn information(
        &self,
        nodes: &[ManagedInstanceId],
    ) -> Result<BTreeMap<ManagedInstanceId, Information>, AwsError> {
        let known = self.read("ssm:DescribeInstanceInformation", |world| {
            let all = world.nodes.borrow();
            let known = nodes.iter().filter_map(|id| {
                let node = all.get(id)?;
                let information = Information {
                    is_managed_instance: true,
                    is_connection_lost: !node.is_online,
                    last_seen: Some(Timestamp::from_unix_seconds(node.registered_ms / 1000)),
                };
                Some((id.clone(), information))
            });
            known.collect::<BTreeMap<_, _>>()
        });
        let known = known.await?;
        if known.len() < nodes.len() && nodes.len() > 1 {
            return Err(error("ssm:DescribeInstanceInformation", "InvalidInstanceId", false));
        }
        Ok(known)
    }

    async fn deregister(&self, node: &ManagedInstanceId) -> Result<(), AwsError> {
        let (id, node) = (node, node.clone());
        self.write("ssm:DeregisterManagedInstance", id, move |world, _| {
            let lives = world
                .instances
                .borrow()
                .values()
                .any(|instance| !instance.state.is_terminated && instance.state.node.as_ref() == Some(&node));
            if lives {
                world.count("violation: a node that lives was deregistered");
            }
            match world.nodes.borrow_mut().remove(&node) {
                Some(_) => Ok(()),
                None => Err(error("ssm:DeregisterManagedInstance", "InvalidInstanceId", false)),
            }
        })
        .await
    }
}

impl Leases for Aws {
    async fn take(&self, lease: &Lease<'_>, intent: &Intent) -> Result<Taken, AwsError> {
        let (name, holder) = (lease.name.to_string(), lease.holder.to_owned());
        let (now_ms, until_ms, intent) = (lease.now_ms, lease.until_ms, intent.clone());
        self.held.borrow_mut().insert(name.clone(), holder.clone());
        self.table(|world| {
            let rules = world.rules;
            let mut leases = world.leases.borrow_mut();
            let held = leases.entry(name).or_default();
            if held.holder == holder {
                return Taken::Ours(Intent::default());
            }
            if rules.leases && held.until_ms >= now_ms {
                world.count("lease busy");
                return Taken::Busy;
            }
            if held.until_ms > 0 {
                world.count("lease taken over");
            }
            let inherited = if rules.intents { std::mem::take(&mut held.intent) } else { Intent::default() };
            if !inherited.is_empty() {
                world.count("intent inherited");
            }
            let mut all = inherited.clone();
            all.merge(intent);
            *held = Held { holder, until_ms, intent: all };
            Taken::Ours(inherited)
        })
        .await
    }

    async fn declare(&self, lease: &Lease<'_>, intent: &Intent) -> Result<(), AwsError> {
        let (name, holder, intent) = (lease.name.to_string(), lease.holder.to_owned(), intent.clone());
        let declared = self.table(|world| match world.leases.borrow_mut().get_mut(&name) {
            Some(held) if held.holder == holder => {
                held.intent = intent;
                true
            }
            _ => false,
        });
        if declared.await? || !self.world.rules.leases {
            Ok(())
        } else {
            Err(error("dynamodb:PutItem", "ConditionalCheckFailedException", true))
        }
    }

    async fn release(&self, lease: &Lease<'_>, unsettled: &Intent) -> Result<(), AwsError> {
        let (name, holder, unsettled) = (lease.name.to_string(), lease.holder.to_owned(), unsettled.clone());
        self.table(|world| {
            let mut leases = world.leases.borrow_mut();
            if leases.get(&name).is_some_and(|held| held.holder == holder) {
                if lease.until_ms > lease.now_ms {
                    leases.insert(name, Held { holder, until_ms: lease.until_ms, intent: unsettled });
                } else if unsettled.is_empty() {
                    leases.remove(&name);
                } else {
                    world.count("left unsettled");
                    leases.insert(name, Held { intent: unsettled, ..Held::default() });
                }
            }
        })
        .await
    }

    async fn left_behind(&self, lease: &LeaseName, now_ms: i64) -> Result<Intent, AwsError> {
        self.read("dynamodb:GetItem", |world| {
            let leases = world.leases.borrow();
            let left = leases.get(&lease.to_string()).filter(|held| held.until_ms < now_ms && world.rules.intents);
            left.map(|held| held.intent.clone()).unwrap_or_default()
        })
        .await
    }

    async fn arrive(&self, source: &str, node: &ManagedInstanceId, _: i64) -> Result<Vec<ManagedInstanceId>, AwsError> {
        self.table(|world| {
            let mut arrivals = world.arrivals.borrow_mut();
            let nodes = arrivals.entry(source.to_owned()).or_default();
            nodes.insert(node.clone());
            nodes.iter().filter(|other| *other != node).cloned().collect()
        })
        .await
    }

    async fn arrived(&self, source: &str) -> Result<Vec<ManagedInstanceId>, AwsError> {
        self.read("arrivals", |world| world.arrivals.borrow().get(source).into_iter().flatten().cloned().collect())
            .await
    }

    async fn take_slot(&self, slot: &Lease<'_>) -> Result<Option<Rates>, AwsError> {
        let taken = self.take(slot, &Intent::default()).await?;
        Ok((taken != Taken::Busy).then(Rates::new))
    }

    async fn release_slot(&self, slot: &Lease<'_>, _: &Rates) -> Result<(), AwsError> {
        self.release(slot, &Intent::default()).await
    }
}

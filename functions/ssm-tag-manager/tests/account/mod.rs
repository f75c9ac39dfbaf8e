//! An account in memory: nodes, their tags, the calls made, and failures on demand.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hub::{AwsError, ManagedInstanceId};
use ssm_tag_manager::plan::{Intent, Tags};
use ssm_tag_manager::ports::{Information, Lease, LeaseName, Leases, Nodes, Rates, Retirable, Taken};

/// A call that was made. Bulk reads show how many nodes they were for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    ReadMany(usize),
    Read(String),
    Remove(String),
    Set(String),
    Find(String, usize),
    Information(usize),
    Deregister(String),
    Take(String),
    Declare,
    Arrive(String),
    Arrived(String),
    LeftBehind(String),
    Release(String),
}

/// A lease as the table has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) holder: String,
    pub(crate) until_ms: i64,
    pub(crate) intent: Intent,
}

/// A failure: of every bulk read or search, or of every write to one node.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    node: Option<String>,
    /// Only calls with this key.
    key: Option<String>,
    /// What is set all the same.
    half: Option<BTreeSet<String>>,
    /// How many calls fail.
    times: Cell<u32>,
    error: AwsError,
}

impl Fault {
    pub(crate) fn on_set(node: &str, code: &str, retryable: bool) -> Self {
        Self {
            node: Some(node.to_owned()),
            key: None,
            half: None,
            times: Cell::new(u32::MAX),
            error: error("ssm:AddTagsToResource", code, retryable),
        }
    }

    /// Every write to any node fails.
    pub(crate) fn on_any_set(code: &str, retryable: bool) -> Self {
        Self { node: None, ..Self::on_set("", code, retryable) }
    }

    /// Every request with this key is refused as a whole.
    pub(crate) fn on_key(node: &str, key: &str, code: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::on_set(node, code, false) }
    }

    /// Every write to the node sets these tags alone and then loses its answer.
    pub(crate) fn half_set(node: &str, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self { half: Some(keys), ..Self::on_set(node, "InternalServerError", true) }
    }

    /// Only the first calls fail.
    pub(crate) fn times(self, times: u32) -> Self {
        Self { times: Cell::new(times), ..self }
    }

    /// True if the call fails.
    fn strikes(&self) -> bool {
        let left = self.times.get();
        self.times.set(left.saturating_sub(1));
        left > 0
    }

    pub(crate) fn on_lease(code: &str, retryable: bool) -> Self {
        Self {
            node: None,
            key: None,
            half: None,
            times: Cell::new(u32::MAX),
            error: error("dynamodb:PutItem", code, retryable),
        }
    }

    pub(crate) fn on_read_many(code: &str, retryable: bool) -> Self {
        Self {
            node: None,
            key: None,
            half: None,
            times: Cell::new(u32::MAX),
            error: error("tag:GetResources", code, retryable),
        }
    }

    pub(crate) fn on_deregister(node: &str, code: &str, retryable: bool) -> Self {
        Self {
            node: Some(node.to_owned()),
            key: None,
            half: None,
            times: Cell::new(u32::MAX),
            error: error("ssm:DeregisterManagedInstance", code, retryable),
        }
    }
}

fn error(operation: &'static str, code: &str, retryable: bool) -> AwsError {
    AwsError { operation, code: code.to_owned(), message: "on demand".to_owned(), request_id: None, retryable }
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    nodes: RefCell<BTreeMap<String, Tags>>,
    frozen: RefCell<Option<BTreeMap<String, Tags>>>,
    information: RefCell<BTreeMap<String, Information>>,
    calls: RefCell<Vec<Call>>,
    leases: RefCell<BTreeMap<String, Held>>,
    arrivals: RefCell<BTreeMap<String, BTreeSet<ManagedInstanceId>>>,
    fault: Option<Fault>,
    latency: Duration,
}

impl Account {
    pub(crate) fn with_node(self, id: &str, tags: &[(&str, &str)]) -> Self {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.nodes.borrow_mut().insert(id.to_owned(), tags);
        self
    }

    pub(crate) fn with_untagged_node(self, id: &str) -> Self {
        self.with_node(id, &[])
    }

    pub(crate) fn with_fault(self, fault: Fault) -> Self {
        Self { fault: Some(fault), ..self }
    }

    pub(crate) fn without_faults(self) -> Self {
        Self { fault: None, ..self }
    }

    pub(crate) fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }

    /// From now on bulk reads show what is there now.
    pub(crate) fn freeze_bulk_reads(&self) {
        *self.frozen.borrow_mut() = Some(self.nodes.borrow().clone());
    }

    /// Lets Systems Manager know something about a node; without it the node is unknown there.
    pub(crate) fn with_information(self, id: &str, information: Information) -> Self {
        self.inform(id, information);
        self
    }

    pub(crate) fn inform(&self, id: &str, information: Information) {
        self.information.borrow_mut().insert(id.to_owned(), information);
    }

    /// What an operator or another report does.
    pub(crate) fn change(&self, id: &str, change: impl FnOnce(&mut Tags)) {
        change(self.nodes.borrow_mut().get_mut(id).unwrap());
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.nodes.borrow().keys().cloned().collect()
    }

    pub(crate) fn tags(&self, id: &str) -> Tags {
        self.nodes.borrow()[id].clone()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    pub(crate) fn forget_calls(&self) {
        self.calls.borrow_mut().clear();
    }

    /// The lease of an agency, if somebody holds it or left something unsettled.
    pub(crate) fn lease(&self, name: &str) -> Option<Held> {
        self.leases.borrow().get(name).cloned()
    }

    pub(crate) fn with_lease(self, name: &str, held: Held) -> Self {
        self.leases.borrow_mut().insert(name.to_owned(), held);
        self
    }

    /// Lets somebody give a lease back.
    pub(crate) fn without_lease(&self, name: &str) {
        self.leases.borrow_mut().remove(name);
    }

    /// The calls of the table.
    pub(crate) fn table_calls(&self) -> Vec<Call> {
        self.calls().into_iter().filter(is_of_table).collect()
    }

    /// The calls on nodes, without those of the table.
    pub(crate) fn node_calls(&self) -> Vec<Call> {
        self.calls().into_iter().filter(|call| !is_of_table(call)).collect()
    }

    async fn call(&self, call: Call) -> Result<(), AwsError> {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let fault = self.fault.iter().find(|fault| match (&call, &fault.node) {
            (Call::ReadMany(_) | Call::Find(..), None) => fault.error.operation == "tag:GetResources",
            (Call::Set(_), None) => fault.error.operation == "ssm:AddTagsToResource",
            (Call::Take(_), None) => fault.error.operation == "dynamodb:PutItem",
            (Call::Set(id), Some(node)) => {
                id == node
                    && fault.key.is_none()
                    && fault.half.is_none()
                    && fault.error.operation == "ssm:AddTagsToResource"
            }
            (Call::Deregister(id), Some(node)) => {
                id == node && fault.error.operation == "ssm:DeregisterManagedInstance"
            }
            _ => false,
        });
        self.calls.borrow_mut().push(call.clone());
        match fault {
            Some(fault) if fault.strikes() => Err(fault.error.clone()),
            _ => Ok(()),
        }
    }
}

fn is_of_table(call: &Call) -> bool {
    matches!(
        call,
        Call::Take(_) | Call::Declare | Call::Arrive(_) | Call::Arrived(_) | Call::LeftBehind(_) | Call::Release(_)
    )
}

impl Nodes for Account {
    async fn read_many(&self, nodes: &[ManagedInstanceId]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError> {
        self.call(Call::ReadMany(nodes.len())).await?;
        let live = self.nodes.borrow();
        let frozen = self.frozen.borrow();
        let seen = frozen.as_ref().unwrap_or(&live);
        let tagged = |id: &ManagedInstanceId| seen.get(id.as_str()).filter(|tags| !tags.is_empty()).cloned();
        Ok(nodes.iter().filter_map(|id| Some((id.clone(), tagged(id)?))).collect())
    }

    async fn read(&self, node: &ManagedInstanceId) -> Result<Option<Tags>, AwsError> {
        self.call(Call::Read(node.to_string())).await?;
        Ok(self.nodes.borrow().get(node.as_str()).cloned())
    }

    async fn remove(&self, node: &ManagedInstanceId, keys: &[String]) -> Result<(), AwsError> {
        self.call(Call::Remove(node.to_string())).await?;
        let mut nodes = self.nodes.borrow_mut();
        nodes.get_mut(node.as_str()).unwrap().retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn set(&self, node: &ManagedInstanceId, tags: &Tags) -> Result<(), AwsError> {
        self.call(Call::Set(node.to_string())).await?;
        let is_of_node = |fault: &&Fault| fault.node.as_deref() == Some(node.as_str());
        let mut nodes = self.nodes.borrow_mut();
        if let Some(fault) = self.fault.iter().find(is_of_node) {
            if let Some(half) = fault.half.as_ref().filter(|_| fault.strikes()) {
                let half = tags.iter().filter(|(key, _)| half.contains(*key));
                nodes.get_mut(node.as_str()).unwrap().extend(half.map(|(key, value)| (key.clone(), value.clone())));
                return Err(fault.error.clone());
            }
            if fault.key.as_ref().is_some_and(|key| tags.contains_key(key)) {
                return Err(fault.error.clone());
            }
        }
        nodes.get_mut(node.as_str()).unwrap().extend(tags.clone());
        Ok(())
    }

    async fn find(&self, key: &str, values: &[String]) -> Result<BTreeMap<ManagedInstanceId, Tags>, AwsError> {
        assert!(values.len() <= 20, "more than a filter takes");
        self.call(Call::Find(key.to_owned(), values.len())).await?;
        let live = self.nodes.borrow();
        let frozen = self.frozen.borrow();
        let seen = frozen.as_ref().unwrap_or(&live);
        let is_found = |tags: &Tags| tags.get(key).is_some_and(|value| values.is_empty() || values.contains(value));
        Ok(seen
            .iter()
            .filter(|(_, tags)| is_found(tags))
            .map(|(id, tags)| (id.parse().unwrap(), tags.clone()))
            .collect())
    }

    fn rates(&self) -> Rates {
        Rates::new()
    }

    fn start_from(&self, _: &Rates) {}

    fn may_land_late(&self) -> bool {
        false
    }
}

impl Leases for Account {
    async fn take(&self, lease: &Lease<'_>, intent: &Intent) -> Result<Taken, AwsError> {
        self.call(Call::Take(lease.name.to_string())).await?;
        let mut leases = self.leases.borrow_mut();
        let held = leases.entry(lease.name.to_string()).or_default();
        if held.until_ms >= lease.now_ms {
            return Ok(Taken::Busy);
        }
        let inherited = std::mem::take(&mut held.intent);
        let mut all = inherited.clone();
        all.merge(intent.clone());
        *held = Held { holder: lease.holder.to_owned(), until_ms: lease.until_ms, intent: all };
        Ok(Taken::Ours(inherited))
    }

    async fn declare(&self, lease: &Lease<'_>, intent: &Intent) -> Result<(), AwsError> {
        self.call(Call::Declare).await?;
        let mut leases = self.leases.borrow_mut();
        let held = leases.get_mut(&lease.name.to_string()).unwrap();
        assert_eq!(held.holder, lease.holder);
        held.intent = intent.clone();
        Ok(())
    }

    async fn release(&self, lease: &Lease<'_>, unsettled: &Intent) -> Result<(), AwsError> {
        self.call(Call::Release(lease.name.to_string())).await?;
        let mut leases = self.leases.borrow_mut();
        if lease.until_ms > lease.now_ms {
            let held = leases.entry(lease.name.to_string()).or_default();
            (held.until_ms, held.intent) = (lease.until_ms, unsettled.clone());
        } else if unsettled.is_empty() {
            leases.remove(&lease.name.to_string());
        } else {
            leases.insert(lease.name.to_string(), Held { intent: unsettled.clone(), ..Held::default() });
        }
        Ok(())
    }

    async fn left_behind(&self, lease: &LeaseName, now_ms: i64) -> Result<Intent, AwsError> {
        self.call(Call::LeftBehind(lease.to_string())).await?;
        let leases = self.leases.borrow();
        let left = leases.get(&lease.to_string()).filter(|held| held.until_ms < now_ms);
        Ok(left.map(|held| held.intent.clone()).unwrap_or_default())
    }

    async fn arrive(&self, source: &str, node: &ManagedInstanceId, _: i64) -> Result<Vec<ManagedInstanceId>, AwsError> {
        self.call(Call::Arrive(source.to_owned())).await?;
        let mut arrivals = self.arrivals.borrow_mut();
        let nodes = arrivals.entry(source.to_owned()).or_default();
        nodes.insert(node.clone());
        Ok(nodes.iter().filter(|other| *other != node).cloned().collect())
    }

    async fn arrived(&self, source: &str) -> Result<Vec<ManagedInstanceId>, AwsError> {
        self.call(Call::Arrived(source.to_owned())).await?;
        Ok(self.arrivals.borrow().get(source).into_iter().flatten().cloned().collect())
    }

    async fn take_slot(&self, slot: &Lease<'_>) -> Result<Option<Rates>, AwsError> {
        assert!(matches!(slot.name, LeaseName::Bulk(1..=2)), "{}", slot.name);
        match self.take(slot, &Intent::default()).await? {
            Taken::Ours(_) => Ok(Some(Rates::new())),
            Taken::Busy => Ok(None),
        }
    }

    async fn release_slot(&self, slot: &Lease<'_>, _: &Rates) -> Result<(), AwsError> {
        self.release(&Lease { until_ms: 0, ..*slot }, &Intent::default()).await
    }
}

impl Retirable for Account {
    async fn information(
        &self,
        nodes: &[ManagedInstanceId],
    ) -> Result<BTreeMap<ManagedInstanceId, Information>, AwsError> {
        assert!((1..=50).contains(&nodes.len()), "no page holds {} nodes", nodes.len());
        self.call(Call::Information(nodes.len())).await?;
        let all = self.information.borrow();
        let known: BTreeMap<_, _> =
            nodes.iter().filter_map(|node| Some((node.clone(), *all.get(node.as_str())?))).collect();
        if known.len() < nodes.len() && nodes.len() > 1 {
            return Err(error("ssm:DescribeInstanceInformation", "InvalidInstanceId", false));
        }
        Ok(known)
    }

    async fn deregister(&self, node: &ManagedInstanceId) -> Result<(), AwsError> {
        self.call(Call::Deregister(node.to_string())).await?;
        self.information.borrow_mut().remove(node.as_str());
        match self.nodes.borrow_mut().remove(node.as_str()) {
            Some(_) => Ok(()),
            None => Err(error("ssm:DeregisterManagedInstance", "InvalidInstanceId", false)),
        }
    }
}

//! An account in memory: nodes, their tags, the calls made, and failures on demand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use hub::{AwsError, ManagedInstanceId};
use ssm_tag_manager::handler::Nodes;
use ssm_tag_manager::plan::Tags;

/// A call that was made. Bulk reads show how many nodes they were for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    ReadMany(usize),
    Read(String),
    Remove(String),
    Set(String),
}

/// A failure: of every bulk read, or of every write to one node.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    node: Option<String>,
    error: AwsError,
}

impl Fault {
    pub(crate) fn on_set(node: &str, code: &str, retryable: bool) -> Self {
        Self { node: Some(node.to_owned()), error: error("ssm:AddTagsToResource", code, retryable) }
    }

    pub(crate) fn on_read_many(code: &str, retryable: bool) -> Self {
        Self { node: None, error: error("tag:GetResources", code, retryable) }
    }
}

fn error(operation: &'static str, code: &str, retryable: bool) -> AwsError {
    AwsError { operation, code: code.to_owned(), message: "on demand".to_owned(), request_id: None, retryable }
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    nodes: RefCell<BTreeMap<String, Tags>>,
    frozen: RefCell<Option<BTreeMap<String, Tags>>>,
    calls: RefCell<Vec<Call>>,
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

    pub(crate) fn tags(&self, id: &str) -> Tags {
        self.nodes.borrow()[id].clone()
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    pub(crate) fn forget_calls(&self) {
        self.calls.borrow_mut().clear();
    }

    async fn call(&self, call: Call) -> Result<(), AwsError> {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        let fault = self.fault.iter().find(|fault| match (&call, &fault.node) {
            (Call::ReadMany(_), None) => true,
            (Call::Set(id), Some(node)) => id == node,
            _ => false,
        });
        self.calls.borrow_mut().push(call.clone());
        fault.map_or(Ok(()), |fault| Err(fault.error.clone()))
    }
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
        let mut nodes = self.nodes.borrow_mut();
        nodes.get_mut(node.as_str()).unwrap().extend(tags.clone());
        Ok(())
    }
}

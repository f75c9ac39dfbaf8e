//! Managed nodes: what Systems Manager knows of a hybrid node, and its tags.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use crate::clock;

/// The role of a node that a test makes up. Nobody asks whether it exists.
const MADE_UP_ROLE: &str = "TagHubHybridNode";

/// The tags of one node.
pub(crate) type Tags = BTreeMap<String, String>;

/// What registration gives a node. Shapes: `InstanceInformation`, `RegisterManagedInstance` of the agent.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// `mi-` and 17 lower-case hexadecimal digits; `None` takes a fresh one.
    pub id: Option<String>,
    /// The activation it was registered with.
    pub activation_id: String,
    /// The activation's role name.
    pub iam_role: String,
    /// The activation's default instance name.
    pub name: Option<String>,
    pub computer_name: String,
    pub ip_address: String,
    /// `Linux`, `Windows` or `MacOS`.
    pub platform_type: String,
    /// Such as `Amazon Linux`.
    pub platform_name: String,
    pub agent_version: String,
    /// `CreateActivation.Tags`, put on the node at registration.
    pub tags: BTreeMap<String, String>,
}

impl Default for NewNode {
    fn default() -> Self {
        Self {
            id: None,
            activation_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            iam_role: MADE_UP_ROLE.to_owned(),
            name: None,
            computer_name: "node.internal".to_owned(),
            ip_address: "10.0.0.1".to_owned(),
            platform_type: "Linux".to_owned(),
            platform_name: "Amazon Linux".to_owned(),
            agent_version: "3.3.3050.0".to_owned(),
            tags: BTreeMap::new(),
        }
    }
}

/// A registered node. Shape: `InstanceInformation`.
#[derive(Debug, Clone)]
pub struct Node {
    pub instance_id: String,
    /// `Online`, `ConnectionLost` or `Inactive`.
    pub ping_status: String,
    pub last_ping: SystemTime,
    pub registration_date: SystemTime,
    pub agent_version: String,
    pub platform_type: String,
    pub platform_name: String,
    pub activation_id: String,
    pub iam_role: String,
    pub name: Option<String>,
    pub ip_address: String,
    pub computer_name: String,
    /// True while the agent cannot act as its role, because IAM no longer has it or it no longer trusts the service.
    is_without_role: bool,
    tags: Arc<Tags>,
    /// The Tagging API shows what is or ever was tagged.
    was_tagged: bool,
    past: VecDeque<Past>,
}

/// What the Tagging API showed of a node until an instant.
#[derive(Debug, Clone)]
struct Past {
    until: Instant,
    tags: Arc<Tags>,
    was_tagged: bool,
}

impl Node {
    /// The status that Systems Manager shows: an agent without its role is not heard of.
    pub fn shown_ping_status(&self) -> &str {
        if self.is_without_role { "ConnectionLost" } else { &self.ping_status }
    }

    /// The tags now.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    /// What the Tagging API showed at `instant`: `None` where the node had never been tagged.
    fn tags_at(&self, instant: Instant) -> Option<&Arc<Tags>> {
        let past = self.past.iter().find(|past| past.until > instant);
        let (tags, was_tagged) = past.map_or((&self.tags, self.was_tagged), |past| (&past.tags, past.was_tagged));
        was_tagged.then_some(tags)
    }

    fn replace_tags(&mut self, tags: Tags, lag: Duration) {
        let now = Instant::now();
        while self.past.front().is_some_and(|past| past.until + lag <= now) {
            self.past.pop_front();
        }
        if !lag.is_zero() {
            let old = Past { until: now, tags: Arc::clone(&self.tags), was_tagged: self.was_tagged };
            self.past.push_back(old);
        }
        self.was_tagged |= !tags.is_empty();
        self.tags = Arc::new(tags);
    }
}

/// The nodes of one account in one Region, by id.
type Home = BTreeMap<String, Node>;

/// The managed nodes of every account and Region. The tag operations here are an operator's: no
/// limit and no validation stands in their way.
#[derive(Debug, Default)]
pub struct Nodes {
    homes: RwLock<HashMap<(String, String), Home>>,
    lag: RwLock<Duration>,
}

impl Nodes {
    /// Registers a node and answers with its id. An id that exists already is registered anew.
    pub fn register(&self, account: &str, region: &str, node: NewNode) -> String {
        let id = node.id.unwrap_or_else(|| fresh_id(uuid::Uuid::new_v4().as_u128()));
        let now = clock::now();
        let mut registered = Node {
            instance_id: id.clone(),
            ping_status: "Online".to_owned(),
            last_ping: now,
            registration_date: now,
            agent_version: node.agent_version,
            platform_type: node.platform_type,
            platform_name: node.platform_name,
            activation_id: node.activation_id,
            iam_role: node.iam_role,
            name: node.name,
            ip_address: node.ip_address,
            computer_name: node.computer_name,
            is_without_role: false,
            tags: Arc::default(),
            was_tagged: false,
            past: VecDeque::new(),
        };
        let lag = self.lag();
        registered.replace_tags(node.tags, lag);
        self.write().entry(home_key(account, region)).or_default().insert(id.clone(), registered);
        id
    }

    /// Removes a node; whether there was one.
    pub fn deregister(&self, account: &str, region: &str, id: &str) -> bool {
        self.write().get_mut(&home_key(account, region)).is_some_and(|home| home.remove(id).is_some())
    }

    /// The tags of a node now; `None` where there is no such node.
    pub fn tags(&self, account: &str, region: &str, id: &str) -> Option<BTreeMap<String, String>> {
        self.with_home(account, region, |home| home.get(id).map(|node| node.tags().clone()))
    }

    /// Replaces all tags of a node; whether there is such a node.
    pub fn set_tags<K: Into<String>, V: Into<String>>(
        &self,
        account: &str,
        region: &str,
        id: &str,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> bool {
        let tags: Tags = tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.change_tags(account, region, id, |_| Ok::<_, ()>(tags)).is_some()
    }

    /// The status that the node reports from now on, such as `ConnectionLost`; whether there is such a node.
    pub fn set_ping_status(&self, account: &str, region: &str, id: &str, status: &str) -> bool {
        self.update(account, region, id, |node| status.clone_into(&mut node.ping_status))
    }

    /// The status, and how long ago the node was last heard of; whether there is such a node.
    pub fn set_ping(&self, account: &str, region: &str, id: &str, status: &str, ago: Duration) -> bool {
        self.update(account, region, id, |node| {
            status.clone_into(&mut node.ping_status);
            let now = clock::now();
            node.last_ping = now.checked_sub(ago).unwrap_or(now);
        })
    }

    /// Changes what the node tells of itself, its platform or its name for example; whether there is such a node.
    pub fn update(&self, account: &str, region: &str, id: &str, change: impl FnOnce(&mut Node)) -> bool {
        let mut homes = self.write();
        let node = homes.get_mut(&home_key(account, region)).and_then(|home| home.get_mut(id));
        node.map(change).is_some()
    }

    /// The roles of the nodes of an account in a Region, each once, but for that of nodes that a test made up.
    pub(crate) fn roles(&self, account: &str, region: &str) -> BTreeSet<String> {
        let roles = |home: &Home| home.values().map(|node| node.iam_role.clone()).collect();
        let mut roles: BTreeSet<String> = self.with_home(account, region, roles);
        roles.remove(MADE_UP_ROLE);
        roles
    }

    /// Says of which roles the agents can act.
    pub(crate) fn set_roles(&self, account: &str, region: &str, assumable: &BTreeMap<String, bool>) {
        for node in self.write().entry(home_key(account, region)).or_default().values_mut() {
            node.is_without_role = assumable.get(&node.iam_role) == Some(&false);
        }
    }

    /// All nodes of an account in a Region, by id.
    pub fn list(&self, account: &str, region: &str) -> Vec<Node> {
        self.with_home(account, region, |home| home.values().cloned().collect())
    }

    /// Whether a node exists.
    pub(crate) fn exists(&self, account: &str, region: &str, id: &str) -> bool {
        self.with_home(account, region, |home| home.contains_key(id))
    }

    /// Computes new tags from the old ones under one lock: all or nothing. `None` where there is no such node.
    pub(crate) fn change_tags<E>(
        &self,
        account: &str,
        region: &str,
        id: &str,
        change: impl FnOnce(&Tags) -> Result<Tags, E>,
    ) -> Option<Result<(), E>> {
        let lag = self.lag();
        let mut homes = self.write();
        let node = homes.get_mut(&home_key(account, region))?.get_mut(id)?;
        Some(change(&node.tags).map(|tags| node.replace_tags(tags, lag)))
    }

    /// Up to `limit` nodes after the id `after` for which `pick` has an answer, and whether more nodes follow.
    pub(crate) fn page<T>(
        &self,
        account: &str,
        region: &str,
        after: Option<&str>,
        limit: usize,
        mut pick: impl FnMut(&Node) -> Option<T>,
    ) -> Page<T> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.with_home(account, region, |home| {
            let mut items = Vec::new();
            let mut last = String::new();
            for (id, node) in home.range::<str, _>((start, Bound::Unbounded)) {
                let Some(item) = pick(node) else { continue };
                if items.len() == limit {
                    return Page { items, next: Some(last) };
                }
                last.clone_from(id);
                items.push(item);
            }
            Page { items, next: None }
        })
    }

    /// What the Tagging API shows of nodes, page by page.
    pub(crate) fn tagged_page(
        &self,
        account: &str,
        region: &str,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(&Tags) -> bool,
    ) -> Page<(String, Arc<Tags>)> {
        let seen_at = self.seen_at();
        self.page(account, region, after, limit, |node| {
            let tags = node.tags_at(seen_at)?;
            wanted(tags).then(|| (node.instance_id.clone(), Arc::clone(tags)))
        })
    }

    /// What the Tagging API shows of one node.
    pub(crate) fn tagged(&self, account: &str, region: &str, id: &str) -> Option<Arc<Tags>> {
        let seen_at = self.seen_at();
        self.with_home(account, region, |home| home.get(id)?.tags_at(seen_at).cloned())
    }

    pub(crate) fn set_lag(&self, lag: Duration) {
        *self.lag.write().unwrap_or_else(PoisonError::into_inner) = lag;
    }

    fn lag(&self) -> Duration {
        *self.lag.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen_at(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.lag()).unwrap_or(now)
    }

    fn with_home<T>(&self, account: &str, region: &str, read: impl FnOnce(&Home) -> T) -> T {
        let homes = self.read();
        read(homes.get(&home_key(account, region)).unwrap_or(&Home::new()))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<(String, String), Home>> {
        self.homes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<(String, String), Home>> {
        self.homes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One page, and the id after which the next one starts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// Whether an id has the form of a managed node's. Shape: `ManagedInstanceId`, without the EKS form.
pub(crate) fn is_node_id(id: &str) -> bool {
    id.strip_prefix("mi-")
        .is_some_and(|hex| hex.len() == 17 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
}

/// The ARN of a managed node.
pub(crate) fn node_arn(account: &str, region: &str, id: &str) -> String {
    format!("arn:aws:ssm:{region}:{account}:managed-instance/{id}")
}

fn fresh_id(random: u128) -> String {
    format!("mi-{:017x}", random >> 60)
}

fn home_key(account: &str, region: &str) -> (String, String) {
    (account.to_owned(), region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "111111111111";
    const REGION: &str = "us-east-1";

    fn nodes(ids: &[&str]) -> Nodes {
        let nodes = Nodes::default();
        for id in ids {
            nodes.register(ACCOUNT, REGION, NewNode { id: Some((*id).to_owned()), ..NewNode::default() });
        }
        nodes
    }

    #[test]
    fn ids() {
        assert!(is_node_id("mi-0123456789abcdef0"));
        for bad in ["mi-0123456789ABCDEF0", "mi-0123456789abcdef", "i-0123456789abcdef0", "mi-0123456789abcdef0 "] {
            assert!(!is_node_id(bad), "{bad}");
        }
        assert!(is_node_id(&fresh_id(u128::MAX)));
        assert!(is_node_id(&fresh_id(0)));
    }

    #[test]
    fn a_page_ends_where_the_next_begins() {
        let nodes = nodes(&["a", "b", "c", "d"]);
        let page = |after| nodes.page(ACCOUNT, REGION, after, 2, |node| Some(node.instance_id.clone()));
        let first = page(None);
        assert_eq!(first, Page { items: vec!["a".to_owned(), "b".to_owned()], next: Some("b".to_owned()) });
        assert_eq!(page(Some("b")), Page { items: vec!["c".to_owned(), "d".to_owned()], next: None });
    }

    #[test]
    fn another_account_or_region_sees_nothing() {
        let nodes = nodes(&["a"]);
        assert!(nodes.exists(ACCOUNT, REGION, "a"));
        assert!(!nodes.exists(ACCOUNT, "eu-west-1", "a"));
        assert!(!nodes.exists("222222222222", REGION, "a"));
    }

    #[test]
    fn a_node_that_was_never_tagged_is_not_shown_and_one_that_was_stays() {
        let nodes = nodes(&["a"]);
        assert!(nodes.tagged(ACCOUNT, REGION, "a").is_none());
        nodes.set_tags(ACCOUNT, REGION, "a", [("Env", "PROD")]);
        nodes.set_tags(ACCOUNT, REGION, "a", [("", ""); 0]);
        assert_eq!(nodes.tagged(ACCOUNT, REGION, "a").as_deref(), Some(&Tags::new()));
    }

    #[test]
    fn under_lag_the_tagging_view_shows_the_past_and_the_node_the_present() {
        let nodes = nodes(&["a"]);
        nodes.set_tags(ACCOUNT, REGION, "a", [("Env", "OLD")]);
        nodes.set_lag(Duration::from_hours(1));
        nodes.set_tags(ACCOUNT, REGION, "a", [("Env", "NEW")]);
        let shown = nodes.tagged(ACCOUNT, REGION, "a").unwrap();
        assert_eq!(shown["Env"], "OLD");
        assert_eq!(nodes.tags(ACCOUNT, REGION, "a").unwrap()["Env"], "NEW");
        nodes.set_lag(Duration::ZERO);
        assert_eq!(nodes.tagged(ACCOUNT, REGION, "a").unwrap()["Env"], "NEW");
    }
}

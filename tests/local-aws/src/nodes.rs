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
    /// `mi-` and 17 lowercase hexadecimal digits; `None` takes a fresh one.
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
    /// What Patch Manager keeps of it; none for a node that was never scanned.
    pub patch_state: Option<PatchState>,
    /// True while the agent cannot act as its role, because IAM no longer has it or it no longer trusts the service.
    is_without_role: bool,
    tags: Arc<Tags>,
    /// The Tagging API shows what is or ever was tagged.
    was_tagged: bool,
    past: VecDeque<Past>,
}

/// What Patch Manager keeps of a node's last operation. Shape: `InstancePatchState`.
#[derive(Debug, Clone)]
pub struct PatchState {
    pub missing_count: u32,
    pub failed_count: u32,
    pub installed_pending_reboot_count: u32,
    pub critical_non_compliant_count: u32,
    pub operation_end_time: SystemTime,
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

/// The nodes of one account in one Region.
#[derive(Debug, Default)]
struct Home {
    by_id: BTreeMap<String, Node>,
    /// The ids of nodes that have or had a tag, by its key and value.
    ever_tagged: HashMap<String, HashMap<String, BTreeSet<String>>>,
}

impl Home {
    fn remember(&mut self, id: &str, tags: &Tags) {
        for (key, value) in tags {
            let by_value = self.ever_tagged.entry(key.clone()).or_default();
            by_value.entry(value.clone()).or_default().insert(id.to_owned());
        }
    }

    /// The nodes after an id that have or had one of these values, in order.
    fn ever_tagged<'a>(
        &'a self,
        key: &str,
        values: &[&str],
        after: Bound<&'a str>,
    ) -> Box<dyn Iterator<Item = &'a Node> + 'a> {
        let by_value = self.ever_tagged.get(key);
        let following =
            values.iter().filter_map(|value| Some(by_value?.get(*value)?.range::<str, _>((after, Bound::Unbounded))));
        let mut following: Vec<_> = following.collect();
        let ids: Box<dyn Iterator<Item = &'a String>> = match following.pop() {
            Some(only) if following.is_empty() => Box::new(only),
            last => Box::new(following.into_iter().chain(last).flatten().collect::<BTreeSet<_>>().into_iter()),
        };
        Box::new(ids.filter_map(|id| self.by_id.get(id)))
    }
}

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
            patch_state: None,
            is_without_role: false,
            tags: Arc::default(),
            was_tagged: false,
            past: VecDeque::new(),
        };
        let lag = self.lag();
        registered.replace_tags(node.tags, lag);
        let mut homes = self.write();
        let home = homes.entry(home_key(account, region)).or_default();
        home.remember(&id, registered.tags());
        home.by_id.insert(id.clone(), registered);
        id
    }

    /// Removes a node; whether there was one.
    pub fn deregister(&self, account: &str, region: &str, id: &str) -> bool {
        self.write().get_mut(&home_key(account, region)).is_some_and(|home| home.by_id.remove(id).is_some())
    }

    /// The tags of a node now; `None` where there is no such node.
    pub fn tags(&self, account: &str, region: &str, id: &str) -> Option<BTreeMap<String, String>> {
        self.with_home(account, region, |home| home.by_id.get(id).map(|node| node.tags().clone()))
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

    /// What a node shows; nothing if there is no such node.
    pub(crate) fn look<T>(&self, account: &str, region: &str, id: &str, show: impl FnOnce(&Node) -> T) -> Option<T> {
        self.read().get(&home_key(account, region))?.by_id.get(id).map(show)
    }

    /// Changes what the node tells of itself, its platform or its name for example; whether there is such a node.
    pub fn update(&self, account: &str, region: &str, id: &str, change: impl FnOnce(&mut Node)) -> bool {
        let mut homes = self.write();
        let node = homes.get_mut(&home_key(account, region)).and_then(|home| home.by_id.get_mut(id));
        node.map(change).is_some()
    }

    /// The roles of the nodes of an account in a Region, each once, but for that of nodes that a test made up.
    pub(crate) fn roles(&self, account: &str, region: &str) -> BTreeSet<String> {
        let roles = |home: &Home| home.by_id.values().map(|node| node.iam_role.clone()).collect();
        let mut roles: BTreeSet<String> = self.with_home(account, region, roles);
        roles.remove(MADE_UP_ROLE);
        roles
    }

    /// Says of which roles the agents can act.
    pub(crate) fn set_roles(&self, account: &str, region: &str, assumable: &BTreeMap<String, bool>) {
        for node in self.write().entry(home_key(account, region)).or_default().by_id.values_mut() {
            node.is_without_role = assumable.get(&node.iam_role) == Some(&false);
        }
    }

    /// All nodes of an account in a Region, by id.
    pub fn list(&self, account: &str, region: &str) -> Vec<Node> {
        self.with_home(account, region, |home| home.by_id.values().cloned().collect())
    }

    /// Whether a node exists.
    pub(crate) fn exists(&self, account: &str, region: &str, id: &str) -> bool {
        self.with_home(account, region, |home| home.by_id.contains_key(id))
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
        let home = homes.get_mut(&home_key(account, region))?;
        let node = home.by_id.get_mut(id)?;
        let changed = change(&node.tags).map(|tags| node.replace_tags(tags, lag));
        let tags = Arc::clone(&node.tags);
        home.remember(id, &tags);
        Some(changed)
    }

    /// Up to `limit` nodes after the id `after` for which `pick` has an answer, and whether more nodes follow.
    pub(crate) fn page<T>(
        &self,
        account: &str,
        region: &str,
        after: Option<&str>,
        limit: usize,
        pick: impl FnMut(&Node) -> Option<T>,
    ) -> Page<T> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.with_home(account, region, |home| {
            page(home.by_id.range::<str, _>((start, Bound::Unbounded)).map(|(_, node)| node), limit, pick)
        })
    }

    /// What the Tagging API shows of nodes that have a tag for each filter, page by page. A filter is a key and its
    /// values; without values, any will do.
    pub(crate) fn tagged_page(
        &self,
        account: &str,
        region: &str,
        after: Option<&str>,
        limit: usize,
        filters: &[(&str, Vec<&str>)],
    ) -> Page<(String, Arc<Tags>)> {
        let seen_at = self.seen_at();
        let is_wanted = |tags: &Tags| {
            filters.iter().all(|(key, values)| {
                tags.get(*key).is_some_and(|value| values.is_empty() || values.contains(&value.as_str()))
            })
        };
        let pick = |node: &Node| {
            let tags = node.tags_at(seen_at)?;
            is_wanted(tags).then(|| (node.instance_id.clone(), Arc::clone(tags)))
        };
        let Some((key, values)) = filters.iter().find(|(_, values)| !values.is_empty()) else {
            return self.page(account, region, after, limit, pick);
        };
        self.with_home(account, region, |home| {
            let after = after.map_or(Bound::Unbounded, Bound::Excluded);
            page(home.ever_tagged(key, values, after), limit, pick)
        })
    }

    /// What the Tagging API shows of one node.
    pub(crate) fn tagged(&self, account: &str, region: &str, id: &str) -> Option<Arc<Tags>> {
        let seen_at = self.seen_at();
        self.with_home(account, region, |home| home.by_id.get(id)?.tags_at(seen_at).cloned())
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
        read(homes.get(&home_key(account, region)).unwrap_or(&Home::default()))
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

/// The first `limit` of these nodes for which `pick` has an answer, and whether there are more.
fn page<'a, T>(
    nodes: impl Iterator<Item = &'a Node>,
    limit: usize,
    mut pick: impl FnMut(&Node) -> Option<T>,
) -> Page<T> {
    let mut items = Vec::new();
    let mut last = None;
    for node in nodes {
        let Some(item) = pick(node) else { continue };
        if items.len() == limit {
            return Page { items, next: last };
        }
        last = Some(node.instance_id.clone());
        items.push(item);
    }
    Page { items, next: None }
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
    fn a_filter_by_value_sees_changes_and_goes_on_where_the_page_ended() {
        let nodes = nodes(&["a", "b", "c", "d", "e"]);
        for (id, value) in [("a", "x"), ("b", "y"), ("c", "z"), ("d", "x"), ("e", "x")] {
            nodes.set_tags(ACCOUNT, REGION, id, [("Env", value)]);
        }
        nodes.set_tags(ACCOUNT, REGION, "d", [("Env", "z")]);
        nodes.deregister(ACCOUNT, REGION, "e");
        let page = |values: &[&str], after| {
            let page = nodes.tagged_page(ACCOUNT, REGION, after, 2, &[("Env", values.to_vec())]);
            (page.items.into_iter().map(|(id, _)| id).collect::<String>(), page.next)
        };
        assert_eq!(page(&["x"], None), ("a".to_owned(), None));
        assert_eq!(page(&["x", "y", "z", "w"], None), ("ab".to_owned(), Some("b".to_owned())));
        assert_eq!(page(&["x", "y", "z"], Some("b")), ("cd".to_owned(), None));
        assert_eq!(page(&["z"], Some("c")), ("d".to_owned(), None));
        assert_eq!(page(&["w"], None), (String::new(), None));
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

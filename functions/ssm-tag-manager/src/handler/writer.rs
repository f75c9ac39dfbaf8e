//! Writing under an agency's lease, many nodes in slices.
//!
//! Whatever changes a node does so in here: while an invocation holds the lease of an agency, nobody else writes to
//! that agency's nodes. Many nodes also need one of a few slots, and lease and slot are given back every few seconds, so
//! that agencies take turns and small changes get in between.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use hub::{AGENCY_TAG_KEY, AwsError, ManagedInstanceId, SOURCE_TAG_KEY, Timestamp};
use tokio::time::{Instant, sleep, timeout_at};

use super::clock::Clock;
use crate::answer::LeaseUse;
use crate::plan::{Intent, NodeIntent, Tags, settled_memory};
use crate::ports::{Lease, LeaseName, Leases, Nodes, SOURCES_PER_FIND, Taken};
use lambda_kit::{Deadline, Margins, Stopped};

/// Nodes that are worked on at the same time. Systems Manager publishes no rate for tagging; calls slow down from here
/// if it throttles.
const NODE_CONCURRENCY: usize = 8;
/// So many nodes are written without a slot.
const FEW_NODES: usize = 5;
/// No node is begun later than this in a slice.
const SLICE: Duration = Duration::from_secs(5);
/// A slice names at most so many nodes, and at most about so many bytes of what it is about to change: an item of
/// DynamoDB has at most 400 KB, and each kilobyte is a write unit.
const NODES_PER_SLICE: usize = 300;
const INTENT_BYTES_PER_SLICE: usize = 60_000;
/// How long to wait between two attempts to take what somebody else holds: longer after some attempts, since whoever
/// holds it that long may have died.
const ATTEMPT_GAP_MS: std::ops::Range<u64> = 100..400;
const LATER_ATTEMPT_GAP_MS: std::ops::Range<u64> = 500..1_500;
const EARLY_ATTEMPTS: u32 = 30;
/// How long to wait between two slices of our own.
const SLICE_GAP_MS: std::ops::Range<u64> = 300..500;
/// What is under way in a slice is cut off after this time, and its node is deferred. So nobody waits long for an
/// invocation that died.
const LEASE: Duration = Duration::from_secs(25);
/// A lease outlives the work of its holder by this much: for clocks that differ, and for a call that was cut off and
/// arrives all the same.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// No call begins this shortly before the work of a slice is cut off.
const LAST_CALL_MARGIN: Duration = Duration::from_secs(5);
/// A lease whose table took longer than this to answer is given back and taken anew: its time runs from the question on,
/// and too little is left of it.
const SLOW_TABLE: Duration = Duration::from_secs(8);
/// How long a bulk writer keeps its slot while somebody else holds its agency's lease.
const LEASE_PATIENCE_WITH_SLOT: Duration = Duration::from_secs(1);
/// Giving back gets this much time, also of that which the answer needs.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(700);

/// A node to write, and what is meant to change on it.
#[derive(Debug)]
pub(crate) struct Job<T> {
    pub(crate) node: ManagedInstanceId,
    pub(crate) intent: NodeIntent,
    /// The source of a node that the hub sees for the first time: another node may have had it before.
    pub(crate) arrival: Option<String>,
    pub(crate) item: T,
}

/// Writes to the nodes of one agency.
#[derive(Debug)]
pub(crate) struct Writer<'a, P> {
    pub(crate) ports: &'a P,
    pub(crate) lease: LeaseName,
    pub(crate) clock: &'a Clock,
    pub(crate) deadline: Deadline,
    /// How long to wait for a slot and for the lease without getting anything done.
    pub(crate) patience: Duration,
    pub(crate) bulk_writers: u8,
}

/// The time in which an invocation holds a lease.
#[derive(Debug)]
pub(crate) struct Slice<'a, P> {
    ports: &'a P,
    lease: Lease<'a>,
    /// When the last call may begin, and when it is cut off.
    pub(crate) deadline: Deadline,
    declared: tokio::sync::Mutex<Intent>,
    arrivals: tokio::sync::Mutex<Arrivals>,
    inherited: RefCell<Intent>,
    /// True once a call was given up that AWS may still carry out.
    may_land_late: Cell<bool>,
    begun: RefCell<BTreeSet<ManagedInstanceId>>,
    settled: RefCell<BTreeSet<ManagedInstanceId>>,
}

/// A lease that was taken.
struct Held<'l> {
    lease: Lease<'l>,
    /// What earlier holders did not finish.
    inherited: Intent,
    /// How long its holder may work.
    time: Duration,
}

/// The nodes that carry the sources of new ones, looked up for many at a time.
#[derive(Debug, Default)]
struct Arrivals {
    wanted: Vec<String>,
    found: BTreeMap<String, Vec<ManagedInstanceId>>,
}

impl<P: Nodes + Leases> Writer<'_, P> {
    /// Does `work` on each node under the lease. What is left over could not be begun: the lease was not to be had, or
    /// there was no time.
    pub(crate) async fn run<T, R>(
        &self,
        jobs: Vec<Job<T>>,
        lease_use: &mut LeaseUse,
        work: impl AsyncFn(&Slice<'_, P>, &T) -> R,
    ) -> (Vec<(T, R)>, Vec<T>) {
        let is_bulk = jobs.len() > FEW_NODES;
        let mut waiting = VecDeque::from(jobs);
        let mut done = Vec::with_capacity(waiting.len());
        let mut since = Instant::now();
        while !waiting.is_empty() {
            if self.deadline.is_late() {
                // Not for want of a lease.
                break;
            }
            match self.slice(&mut waiting, is_bulk, since, lease_use, &work).await {
                Ok(finished) => {
                    if !finished.is_empty() {
                        since = Instant::now();
                    }
                    done.extend(finished);
                }
                Err(problem) => {
                    tracing::warn!(lease = %self.lease, nodes = waiting.len(), problem, "lease not taken");
                    lease_use.deferred_count += waiting.len();
                    lease_use.problem = Some(problem);
                    break;
                }
            }
            if !waiting.is_empty() {
                sleep(self.clock.random_ms(SLICE_GAP_MS)).await;
            }
        }
        (done, waiting.into_iter().map(|job| job.item).collect())
    }

    async fn slice<T, R>(
        &self,
        waiting: &mut VecDeque<Job<T>>,
        is_bulk: bool,
        since: Instant,
        lease_use: &mut LeaseUse,
        work: &impl AsyncFn(&Slice<'_, P>, &T) -> R,
    ) -> Result<Vec<(T, R)>, String> {
        let holder = self.clock.holder();
        let waited_from = Instant::now();
        let slot = if is_bulk { Some(self.wait_for_slot(&holder, since).await) } else { None };
        let slot = match slot.transpose() {
            Ok(slot) => slot,
            Err(problem) => {
                lease_use.wait += waited_from.elapsed();
                return Err(problem);
            }
        };
        let batch = batch(waiting);
        let intent = Intent(batch.iter().map(|job| (job.node.clone(), job.intent.clone())).collect());
        let taken = self.wait_for_lease(&holder, &intent, is_bulk, since).await;
        lease_use.wait += waited_from.elapsed();
        let result = match taken {
            Ok(Some(Held { lease, inherited, time })) => {
                lease_use.slice_count += 1;
                let is_declared = intent.size_bytes() + inherited.size_bytes() <= Intent::BYTES_MAX;
                let margins = Margins { begin: LAST_CALL_MARGIN, answer: Duration::ZERO };
                let slice = Slice {
                    ports: self.ports,
                    lease,
                    deadline: self.deadline.or_earlier(Deadline::with_margins(time, margins)),
                    declared: tokio::sync::Mutex::new(if is_declared { intent } else { Intent::default() }),
                    arrivals: tokio::sync::Mutex::new(Arrivals::of(&batch)),
                    inherited: RefCell::new(inherited),
                    may_land_late: Cell::default(),
                    begun: RefCell::default(),
                    settled: RefCell::default(),
                };
                let (finished, left) =
                    if time + SLOW_TABLE < LEASE { (Vec::new(), batch) } else { self.work(&slice, batch, work).await };
                for job in left.into_iter().rev() {
                    waiting.push_front(job);
                }
                self.release(slice).await;
                Ok(finished)
            }
            other => {
                for job in batch.into_iter().rev() {
                    waiting.push_front(job);
                }
                other.map(|_| Vec::new())
            }
        };
        if let Some(slot) = slot {
            let (terms, rates) = (self.terms(&slot, &holder), self.ports.rates());
            log_unreleased(&slot, timeout_at(self.release_until(), self.ports.release_slot(&terms, &rates)).await);
        }
        result
    }

    async fn work<T, R>(
        &self,
        slice: &Slice<'_, P>,
        batch: Vec<Job<T>>,
        work: &impl AsyncFn(&Slice<'_, P>, &T) -> R,
    ) -> (Vec<(T, R)>, Vec<Job<T>>) {
        let begin_until = Instant::now() + SLICE;
        self.settle_others(slice, &batch).await;
        if slice.deadline.is_late() {
            // Those are settled, so the next slice gets to its own.
            return (Vec::new(), batch);
        }
        let begun_count = Cell::new(0);
        let outcomes: Vec<Result<(T, R), Job<T>>> = stream::iter(batch)
            .map(async |job| {
                if Instant::now() >= begin_until && begun_count.get() >= NODE_CONCURRENCY {
                    return Err(job);
                }
                begun_count.update(|count| count + 1);
                let result = work(slice, &job.item).await;
                Ok((job.item, result))
            })
            .buffer_unordered(NODE_CONCURRENCY)
            .collect()
            .await;
        let mut left = Vec::new();
        let mut finished = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            match outcome {
                Ok(done) => finished.push(done),
                Err(job) => left.push(job),
            }
        }
        (finished, left)
    }

    /// Looks after nodes that an earlier holder left half-done and that this slice is not about: their memory has to
    /// say what that holder may have changed, before anything else changes.
    async fn settle_others<T>(&self, slice: &Slice<'_, P>, batch: &[Job<T>]) {
        let ours: BTreeSet<&ManagedInstanceId> = batch.iter().map(|job| &job.node).collect();
        let inherited = slice.inherited.borrow().clone();
        let others = inherited.0.iter().filter(|(node, _)| !ours.contains(node));
        let results = stream::iter(others).map(async |(node, intent)| self.settle(slice, node, intent).await);
        let results: Vec<Result<(), Stopped>> = results.buffer_unordered(NODE_CONCURRENCY).collect().await;
        let mut failures = results.iter().filter_map(|result| result.as_ref().err());
        if let Some(first) = failures.next() {
            let nodes = 1 + failures.count();
            tracing::warn!(lease = %self.lease, nodes, code = first.code(), "half-done nodes not settled");
        }
    }

    /// Makes a node's memory say what an earlier holder may have changed.
    pub(crate) async fn settle(
        &self,
        slice: &Slice<'_, P>,
        node: &ManagedInstanceId,
        intent: &NodeIntent,
    ) -> Result<(), Stopped> {
        let live = slice.call(self.ports.read(node)).await?;
        let now = Timestamp::from_unix_seconds(self.clock.now_ms() / 1000);
        if let Some(live) = live.filter(|live| self.owns(live)) {
            slice.prune(node, &live);
            if let Some(memory) = settled_memory(&live, intent, now, self.clock.salt(node)) {
                slice.call(self.ports.set(node, &memory)).await?;
            }
        }
        slice.settle(node);
        Ok(())
    }

    /// True for a node that this lease is about: it may have been given to another agency since.
    fn owns(&self, live: &Tags) -> bool {
        match &self.lease {
            LeaseName::Agency(agency) => live.get(AGENCY_TAG_KEY).map(String::as_str) == Some(agency.as_str()),
            LeaseName::AllAgencies | LeaseName::Bulk(_) => true,
        }
    }

    async fn wait_for_slot(&self, holder: &str, since: Instant) -> Result<LeaseName, String> {
        let first = self.clock.random_ms(0..u64::from(self.bulk_writers)).as_millis();
        let first = u8::try_from(first).unwrap_or_default();
        let mut attempt = 0;
        loop {
            for offset in 0..self.bulk_writers {
                let slot = LeaseName::Bulk((first + offset) % self.bulk_writers + 1);
                let taken = self.deadline.call(self.ports.take_slot(&self.terms(&slot, holder))).await;
                if let Some(rates) = taken.map_err(|stopped| problem(&slot, stopped))? {
                    self.ports.start_from(&rates);
                    return Ok(slot);
                }
            }
            self.wait(attempt, since, "other agencies held all slots for bulk writers").await?;
            attempt += 1;
        }
    }

    /// The lease, or nothing if a slot has to be given back first.
    async fn wait_for_lease<'l>(
        &'l self,
        holder: &'l str,
        intent: &Intent,
        has_slot: bool,
        since: Instant,
    ) -> Result<Option<Held<'l>>, String> {
        let (asked_from, mut attempt) = (Instant::now(), 0);
        loop {
            let (lease, asked_at) = (self.terms(&self.lease, holder), Instant::now());
            let taken = self.deadline.call(self.ports.take(&lease, intent)).await;
            if let Taken::Ours(inherited) = taken.map_err(|stopped| problem(&self.lease, stopped))? {
                return Ok(Some(Held { lease, inherited, time: LEASE.saturating_sub(asked_at.elapsed()) }));
            }
            if has_slot && asked_from.elapsed() >= LEASE_PATIENCE_WITH_SLOT {
                return Ok(None);
            }
            self.wait(attempt, since, "another report of the agency held its lease").await?;
            attempt += 1;
        }
    }

    async fn wait(&self, attempt: u32, since: Instant, reason: &str) -> Result<(), String> {
        let gap_ms = if attempt < EARLY_ATTEMPTS { ATTEMPT_GAP_MS } else { LATER_ATTEMPT_GAP_MS };
        sleep(self.clock.random_ms(gap_ms)).await;
        if self.deadline.is_late() || since.elapsed() >= self.patience {
            return Err(format!("{reason} until time ran out"));
        }
        Ok(())
    }

    /// Gives the lease back at once, unless a call was given up that AWS may still carry out: then it ends by itself soon.
    async fn release(&self, slice: Slice<'_, P>) {
        let unsettled = slice.unsettled().await;
        let now_ms = self.clock.now_ms();
        let may_land_late = slice.may_land_late.get() || self.ports.may_land_late();
        let until_ms = if may_land_late { now_ms + millis(LEASE_MARGIN) } else { now_ms - 1 };
        let lease = Lease { now_ms, until_ms, ..slice.lease };
        let released = self.ports.release(&lease, &unsettled);
        log_unreleased(&self.lease, timeout_at(self.release_until(), released).await);
    }

    /// A lease that is not given back keeps the agency waiting until it ends, so this may take its time while there is
    /// some.
    fn release_until(&self) -> Instant {
        self.deadline.answer_until().max(Instant::now() + RELEASE_TIMEOUT)
    }

    fn terms<'l>(&self, name: &'l LeaseName, holder: &'l str) -> Lease<'l> {
        let now_ms = self.clock.now_ms();
        let until_ms = self.clock.end_ms().min(now_ms + millis(LEASE)) + millis(LEASE_MARGIN);
        Lease { name, holder, now_ms, until_ms }
    }
}

impl Arrivals {
    fn of<T>(batch: &[Job<T>]) -> Self {
        Self { wanted: batch.iter().filter_map(|job| job.arrival.clone()).collect(), found: BTreeMap::new() }
    }
}

impl<P: Nodes + Leases> Slice<'_, P> {
    /// The other nodes that carry a source, or are about to.
    pub(crate) async fn others_of(
        &self,
        source: &str,
        node: &ManagedInstanceId,
    ) -> Result<BTreeSet<ManagedInstanceId>, AwsError> {
        let mut others = BTreeSet::from_iter(self.ports.arrive(source, node, self.lease.now_ms).await?);
        others.extend(self.find(source).await?);
        others.remove(node);
        Ok(others)
    }

    /// The nodes that carry a source, possibly some seconds old. Asks for other sources of the slice in the same call.
    async fn find(&self, source: &str) -> Result<Vec<ManagedInstanceId>, AwsError> {
        let mut arrivals = self.arrivals.lock().await;
        if let Some(nodes) = arrivals.found.get(source) {
            return Ok(nodes.clone());
        }
        let mut sources = vec![source.to_owned()];
        let found = &arrivals.found;
        let others = arrivals.wanted.iter().filter(|other| *other != source && !found.contains_key(*other));
        sources.extend(others.take(SOURCES_PER_FIND - 1).cloned());
        let nodes = self.ports.find(SOURCE_TAG_KEY, &sources).await?;
        arrivals.found.extend(sources.into_iter().map(|source| (source, Vec::new())));
        for (node, tags) in nodes {
            if let Some(known) = tags.get(SOURCE_TAG_KEY).and_then(|source| arrivals.found.get_mut(source)) {
                known.push(node);
            }
        }
        Ok(arrivals.found.get(source).cloned().unwrap_or_default())
    }
}

impl<P: Leases> Slice<'_, P> {
    /// Makes a call while the lease lasts, and notes if it was cut off.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = Result<T, AwsError>>) -> Result<T, Stopped> {
        let result = self.deadline.call(call).await;
        if matches!(result, Err(Stopped::CutOff)) {
            self.may_land_late.set(true);
        }
        result
    }

    /// What an earlier holder may have changed on a node that carries these tags now.
    pub(crate) fn unsettled_of(&self, node: &ManagedInstanceId, live: &Tags) -> Option<NodeIntent> {
        self.prune(node, live);
        self.inherited_of(node)
    }

    fn inherited_of(&self, node: &ManagedInstanceId) -> Option<NodeIntent> {
        if self.settled.borrow().contains(node) { None } else { self.inherited.borrow().0.get(node).cloned() }
    }

    fn prune(&self, node: &ManagedInstanceId, live: &Tags) {
        if let Some(intent) = self.inherited.borrow_mut().0.get_mut(node) {
            intent.prune(live);
        }
    }

    /// What was about to change on a node, by us and by those before us.
    pub(crate) async fn intent_of(&self, node: &ManagedInstanceId) -> NodeIntent {
        let mut intent = self.inherited_of(node).unwrap_or_default();
        intent.merge(self.declared.lock().await.0.get(node).cloned().unwrap_or_default());
        intent
    }

    /// To be called before a node is written: makes sure that the table says what is about to change, and not what a
    /// look at an older state of the node made us expect.
    pub(crate) async fn begin(&self, node: &ManagedInstanceId, mut intent: NodeIntent) -> Result<(), AwsError> {
        let mut declared = self.declared.lock().await;
        if let Some(begun) = declared.0.get(node).filter(|_| self.begun.borrow().contains(node)) {
            intent.merge(begun.clone());
        }
        if declared.0.get(node) != Some(&intent) {
            declared.0.insert(node.clone(), intent);
            let mut all = self.inherited.borrow().clone();
            all.merge(declared.clone());
            self.ports.declare(&self.lease, &all).await?;
        }
        self.begun.borrow_mut().insert(node.clone());
        self.settled.borrow_mut().remove(node);
        Ok(())
    }

    /// To be called when a node's memory says all that was changed on it, by us and by those before us.
    pub(crate) fn settle(&self, node: &ManagedInstanceId) {
        self.settled.borrow_mut().insert(node.clone());
    }

    /// What was begun, by us or by those before us, and not finished.
    async fn unsettled(&self) -> Intent {
        let mut unsettled = self.inherited.borrow().clone();
        let begun = self.begun.borrow().clone();
        let declared = self.declared.lock().await;
        let ours: BTreeMap<_, _> = declared.0.iter().filter(|(node, _)| begun.contains(node)).collect();
        unsettled.merge(Intent(ours.into_iter().map(|(node, intent)| (node.clone(), intent.clone())).collect()));
        let settled = self.settled.borrow();
        unsettled.0.retain(|node, _| !settled.contains(node));
        unsettled
    }
}

/// As many nodes as a slice names.
fn batch<T>(waiting: &mut VecDeque<Job<T>>) -> Vec<Job<T>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(job) = waiting.front() {
        bytes += job.intent.size_bytes();
        if batch.len() == NODES_PER_SLICE || (bytes > INTENT_BYTES_PER_SLICE && !batch.is_empty()) {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

/// Why a lease was not taken, in words for the agency. The log has the rest: what AWS says names the hub's own role.
fn problem(lease: &LeaseName, stopped: Stopped) -> String {
    let Stopped::Failed(AwsError { operation, code, message, request_id, .. }) = stopped else {
        return stopped.to_string();
    };
    tracing::warn!(%lease, operation, code, message, request_id, "call failed");
    format!("{operation} failed: {code}")
}

fn log_unreleased(lease: &LeaseName, released: Result<Result<(), AwsError>, tokio::time::error::Elapsed>) {
    match released {
        Ok(Ok(())) => {}
        // It ends by itself.
        Ok(Err(error)) => tracing::warn!(%lease, code = error.code, "lease not given back"),
        Err(_) => tracing::warn!(%lease, "lease not given back in time"),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

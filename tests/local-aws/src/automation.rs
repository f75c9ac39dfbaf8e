//! SSM Automation over target locations: executions, their steps for each account-Region pair, and the
//! children that run there.
//!
//! What happens in an account and Region is scripted by the test. When it happens follows from the start,
//! the limits, the stops and the time, and is computed when somebody asks: see [`timeline`].
//!
//! # With `MiniStack`
//! Policies decide who may start, look and stop, `iam:PassRole` on the assume role included. Where
//! nothing is scripted for a pair, its execution role is looked up in `MiniStack`: there has to be one,
//! the administration role has to be allowed to assume it, and its trust policy has to agree.
//! [`Outcome::TargetedInstances`] is a run on the EC2 instances that are really there: see [`targets`].
//!
//! # Where AWS is silent
//! - The same client token with the same request gives the same execution again, for good.
//! - All pairs have a step from the beginning, and those that never begin are `Cancelled`.
//!   [`Automation::set_unbegun`] has two other ways.
//! - Failures within the limits leave the whole a `Success`; one location beyond its limit makes it
//!   `Failed`, and the other locations go on.
//! - A `Complete` stop lets running pairs finish; what never began is cancelled, and so is the whole.
//! - No targets at all, as from an empty organizational unit, is a `Success`.
//!
//! Beside them are what a start is checked against: documents, as far as a runbook is known, and Change Calendars.
//!
//! Absent: the queue and the quotas on concurrent executions, alarms, `TargetLocationsURL`, rate
//! control inside a child, steps that begin on a signal, and EventBridge events on changes of status.

mod documents;
mod execution;
mod filter;
mod ids;
mod limit;
mod list;
mod outcome;
mod request;
mod serve;
mod start;
mod targets;
mod timeline;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::aws_error::AwsError;
use documents::Runbooks;
use execution::{Execution, Home};
use ids::{Id, Part};
pub use outcome::{Outcome, Script};
pub(crate) use serve::{Operation, serve};

/// What becomes of the step of a pair that never begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unbegun {
    /// It waits as `Pending`, and becomes `Cancelled` when nothing more is begun.
    #[default]
    Cancelled,
    /// It is `Pending` for ever.
    Pending,
    /// There is no step until a pair begins.
    Absent,
}

/// The automations of every account and Region, and what a test lets happen in them.
///
/// A script counts for executions that are started after it was given.
#[derive(Debug, Default)]
pub struct Automation {
    state: Mutex<State>,
}

#[derive(Debug)]
pub(in crate::automation) struct State {
    /// By the order of their starts.
    executions: BTreeMap<u64, Execution>,
    last: u64,
    families: HashMap<u128, u64>,
    tokens: HashMap<(Home, String), (Value, Id)>,
    /// By account and Region, or `*` for every Region.
    scripts: HashMap<String, HashMap<String, Script>>,
    usual: Script,
    takes: Duration,
    units: HashMap<String, Vec<String>>,
    runbooks: Runbooks,
    /// The Change Calendars, and whether each is open.
    calendars: HashMap<String, bool>,
    unbegun: Unbegun,
    began: Instant,
    ahead: Duration,
}

impl Default for State {
    fn default() -> Self {
        Self {
            executions: BTreeMap::new(),
            last: 0,
            families: HashMap::new(),
            tokens: HashMap::new(),
            scripts: HashMap::new(),
            usual: Outcome::Success { resources: 1 }.into(),
            takes: Duration::from_millis(100),
            units: HashMap::new(),
            runbooks: Runbooks::default(),
            calendars: HashMap::new(),
            unbegun: Unbegun::default(),
            began: Instant::now(),
            ahead: Duration::ZERO,
        }
    }
}

impl Automation {
    /// What happens in an account and Region; `*` stands for every Region without a script of its own.
    pub fn script(&self, account: &str, region: &str, script: impl Into<Script>) {
        let mut state = self.lock();
        state.scripts.entry(account.to_owned()).or_default().insert(region.to_owned(), script.into());
    }

    /// Forgets all scripts.
    pub fn clear_scripts(&self) {
        self.lock().scripts.clear();
    }

    /// What happens where nothing is scripted and, with `MiniStack`, the execution role can be assumed.
    /// At first a success on one resource.
    pub fn set_default(&self, script: impl Into<Script>) {
        self.lock().usual = script.into();
    }

    /// How long a run takes where its script does not say; 100 ms at first.
    pub fn set_duration(&self, takes: Duration) {
        self.lock().takes = takes;
    }

    /// Moves the clock of all automations forward, so that nobody has to wait.
    pub fn advance(&self, by: Duration) {
        self.lock().ahead += by;
    }

    /// What becomes of the steps of pairs that never begin, in executions started from now on.
    pub fn set_unbegun(&self, unbegun: Unbegun) {
        self.lock().unbegun = unbegun;
    }

    /// A runbook that every account knows, by its name in any ARN, with the parameters that it takes;
    /// an empty list takes any. A few of AWS's own, such as `AWS-RestartEC2Instance`, are known already, and so is
    /// what a stack in `MiniStack` declares as `AWS::SSM::Document` in the account and Region of the start.
    pub fn register_document(&self, name: &str, parameters: &[&str]) {
        self.lock().runbooks.register(name, parameters);
    }

    /// A Change Calendar that every account knows, open or closed from now on.
    pub fn set_calendar(&self, name: &str, is_open: bool) {
        self.lock().calendars.insert(name.to_owned(), is_open);
    }

    /// The accounts and child units directly in an organizational unit or root.
    pub fn register_ou(&self, id: &str, members: &[&str]) {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.lock().units.insert(id.to_owned(), members);
    }

    /// What was started in an account and Region, oldest first, without children. Shape: `AutomationExecution`.
    pub fn executions(&self, account: &str, region: &str) -> Vec<Value> {
        let state = self.lock();
        let here = state
            .executions
            .values()
            .filter(|execution| execution.new.home.account == account && execution.new.home.region == region);
        here.map(|execution| view::execution(execution, Part::Whole, execution.elapsed(state.now()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The time of the engine.
    fn now(&self) -> Duration {
        self.began.elapsed() + self.ahead
    }

    /// The execution or child that a request names by `AutomationExecutionId`.
    fn find(&self, home: &Home, body: &Value) -> Result<(&Execution, Part, u64), AwsError> {
        let number = self.number(body)?;
        let execution = self.executions.get(&number).ok_or_else(unknown)?;
        let now = execution.elapsed(self.now());
        let part = id(body).and_then(|id| execution.find(id, home, now)).ok_or_else(unknown)?;
        Ok((execution, part, now))
    }

    fn number(&self, body: &Value) -> Result<u64, AwsError> {
        id(body).and_then(|id| self.families.get(&id.family()).copied()).ok_or_else(unknown)
    }
}

fn id(body: &Value) -> Option<Id> {
    Id::parse(body["AutomationExecutionId"].as_str()?)
}

fn unknown() -> AwsError {
    AwsError::new(400, "AutomationExecutionNotFoundException", "")
}

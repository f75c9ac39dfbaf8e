//! A central account and its agencies in memory, for any number of issuers at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::task::Poll;

use activation_issuer::activation::{
    Activation, ActivationCode, ActivationId, NewActivation, Parameter, StoredActivation,
};
use activation_issuer::plan::census::NodeCounts;
use activation_issuer::plan::census::Tier;
use activation_issuer::ports::{Agencies, Hub, Store};
use hub::{AccountId, AwsError, Region, Timestamp};

/// What every code in this world starts with, so that one that gets out is found.
pub(crate) const SECRET: &str = "SECRET-CODE-";

/// What an injected fault does to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The call is refused for good.
    Refused,
    /// The call fails on the way there.
    Failed,
    /// The call comes through, and its answer is lost.
    Lost,
}

/// A call that is refused each time: the operation, what it is about (empty for everything), and the error.
#[derive(Debug, Clone)]
pub(crate) struct Denial {
    pub(crate) operation: &'static str,
    pub(crate) about: String,
    pub(crate) code: &'static str,
    pub(crate) message: &'static str,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now: i64,
    pub(crate) granted: BTreeSet<AccountId>,
    pub(crate) activations: BTreeMap<ActivationId, (Activation, ActivationCode)>,
    pub(crate) parameters: BTreeMap<(AccountId, Region), Parameter>,
    /// Activations that the list does not show yet.
    pub(crate) unlisted: BTreeSet<ActivationId>,
    pub(crate) denials: Vec<Denial>,
    pub(crate) nodes: NodeCounts,
    pub(crate) tier: Tier,
    /// Each call: the operation and what it is about.
    pub(crate) calls: Vec<String>,
    /// What an issuer did that it never may.
    pub(crate) violations: Vec<String>,
    next_id: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: 0,
            granted: BTreeSet::new(),
            activations: BTreeMap::new(),
            parameters: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            denials: Vec::new(),
            nodes: NodeCounts::default(),
            // Most tests are about more nodes than the other tier takes.
            tier: Tier::Advanced,
            calls: Vec::new(),
            violations: Vec::new(),
            next_id: 0,
        }
    }
}

/// The state, shared.
#[derive(Debug, Default)]
pub(crate) struct World(RefCell<State>);

/// One issuer's way into the world, with the faults that it meets, call by call.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    world: &'a World,
    faults: RefCell<VecDeque<Fault>>,
}

/// The parameters of one agency.
#[derive(Debug)]
pub(crate) struct OpenStore<'a> {
    access: &'a Access<'a>,
    agency: AccountId,
}

impl World {
    pub(crate) fn new(granted: &[&str]) -> Self {
        let granted = granted.iter().map(|agency| agency.parse().unwrap()).collect();
        Self(RefCell::new(State { now: 1_795_312_800, granted, ..State::default() }))
    }

    pub(crate) fn access(&self, faults: impl IntoIterator<Item = Fault>) -> Access<'_> {
        Access { world: self, faults: RefCell::new(faults.into_iter().collect()) }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.borrow_mut())
    }
}

impl State {
    /// Makes an activation of an agency, ended in so many seconds, made so many seconds ago.
    pub(crate) fn make(&mut self, agency: &str, ends_in: i64, made_ago: i64) -> ActivationId {
        let agency: AccountId = agency.parse().unwrap();
        let id = self.add(NewActivation {
            agency,
            node_role: "node".to_owned(),
            registration_limit: 1000,
            expiration_date: Timestamp::from_unix_seconds(self.now + ends_in),
        });
        self.activation(&id).created_date = Some(Timestamp::from_unix_seconds(self.now - made_ago));
        id
    }

    pub(crate) fn activation(&mut self, id: &ActivationId) -> &mut Activation {
        &mut self.activations.get_mut(id).unwrap().0
    }

    /// What the issuer would store for an activation.
    pub(crate) fn stored(&self, id: &ActivationId) -> StoredActivation {
        let (activation, code) = &self.activations[id];
        StoredActivation {
            activation_id: id.clone(),
            activation_code: code.clone(),
            region: "us-east-1".parse().unwrap(),
            expiration_date: activation.expiration_date,
            account: activation.agency.clone().unwrap(),
            hub_account: crate::HUB.parse().ok(),
        }
    }

    /// Puts something into a parameter, as it was so many seconds ago.
    pub(crate) fn put(&mut self, agency: &str, region: &str, stored: StoredActivation, ago: i64) {
        let modified = Some(Timestamp::from_unix_seconds(self.now - ago));
        let place = (agency.parse().unwrap(), region.parse().unwrap());
        self.parameters.insert(place, Parameter::Holds { stored, modified });
    }

    /// The agency's activations that none of its parameters holds.
    pub(crate) fn orphans(&self) -> BTreeSet<ActivationId> {
        let all = self.activations.values().map(|(activation, _)| activation);
        all.filter(|activation| !self.is_held(activation)).map(|activation| activation.id.clone()).collect()
    }

    fn is_held(&self, activation: &Activation) -> bool {
        let of_agency = self.parameters.iter().filter(|((agency, _), _)| Some(agency) == activation.agency.as_ref());
        of_agency.filter_map(|(_, parameter)| parameter.stored()).any(|stored| stored.activation_id == activation.id)
    }

    fn add(&mut self, new: NewActivation) -> ActivationId {
        self.next_id += 1;
        let id: ActivationId = format!("00000000-0000-4000-8000-{:012x}", self.next_id).parse().unwrap();
        let code = format!("{SECRET}{:020}", self.next_id).try_into().unwrap();
        let activation = Activation {
            id: id.clone(),
            agency: Some(new.agency),
            node_role: Some(new.node_role),
            registration_limit: new.registration_limit,
            registrations_count: 0,
            expiration_date: new.expiration_date,
            is_expired: false,
            created_date: Some(Timestamp::from_unix_seconds(self.now)),
        };
        self.activations.insert(id.clone(), (activation, code));
        id
    }

    fn list(&self) -> Vec<Activation> {
        let all = self.activations.values().map(|(activation, _)| activation.clone());
        let mut all: Vec<_> = all.collect();
        for activation in &mut all {
            activation.is_expired = activation.expiration_date.unix_seconds() <= self.now;
        }
        all
    }
}

impl Access<'_> {
    /// One call: time passes, others may come in between before and after, and it may fail.
    async fn call<T>(
        &self,
        operation: &'static str,
        about: &str,
        effect: impl FnOnce(&mut State) -> T,
    ) -> Result<T, AwsError> {
        let fail = |code: &str, message: &str, retryable| AwsError {
            operation,
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: None,
            retryable,
        };
        give_way().await;
        let denial = self.world.with(|state| {
            state.now += 1;
            state.calls.push(format!("{operation} {about}").trim_end().to_owned());
            let mut denials = state.denials.iter();
            denials.find(|denial| denial.operation == operation && about.contains(&denial.about)).cloned()
        });
        // Faults are for the calls that a run is made of. What happens without the tier has a test of its own.
        let is_aside = operation == "ssm:GetServiceSetting";
        let fault = if is_aside { None } else { self.faults.borrow_mut().pop_front() }.unwrap_or(Fault::None);
        let result = match (denial, fault) {
            (Some(denial), _) => Err(fail(denial.code, denial.message, false)),
            (None, Fault::None) => Ok(self.world.with(effect)),
            (None, Fault::Refused) => Err(fail("AccessDeniedException", "not authorized", false)),
            (None, Fault::Failed) => Err(fail("InternalServerError", "try again", true)),
            (None, Fault::Lost) => {
                self.world.with(effect);
                Err(fail("Timeout", "no answer", true))
            }
        };
        give_way().await;
        result
    }
}

/// Lets others run, once.
async fn give_way() {
    let mut is_first = true;
    poll_fn(|context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

impl Hub for &Access<'_> {
    async fn granted(&self) -> Result<BTreeSet<AccountId>, AwsError> {
        self.call("lambda:ListAliases", "", |state| state.granted.clone()).await
    }

    async fn activations(&self, only: Option<&ActivationId>) -> Result<Vec<Activation>, AwsError> {
        let about = only.map_or("", ActivationId::as_str);
        self.call("ssm:DescribeActivations", about, |state| {
            let is_shown = |activation: &Activation| match only {
                Some(id) => activation.id == *id,
                None => !state.unlisted.contains(&activation.id),
            };
            state.list().into_iter().filter(is_shown).collect()
        })
        .await
    }

    async fn tier(&self) -> Result<Tier, AwsError> {
        self.call("ssm:GetServiceSetting", "", |state| state.tier).await
    }

    async fn nodes(&self, _: Timestamp) -> Result<NodeCounts, AwsError> {
        self.call("ssm:DescribeInstanceInformation", "", |state| state.nodes.clone()).await
    }

    async fn create(&self, new: &NewActivation) -> Result<(ActivationId, ActivationCode), AwsError> {
        self.call("ssm:CreateActivation", new.agency.as_str(), |state| {
            let life = new.expiration_date.unix_seconds() - state.now;
            assert!((1..=30 * 86_400).contains(&life), "the service takes no activation that lives {life} s");
            let id = state.add(new.clone());
            let code = state.activations[&id].1.clone();
            (id, code)
        })
        .await
    }

    async fn delete(&self, id: &ActivationId) -> Result<(), AwsError> {
        self.call("ssm:DeleteActivation", id.as_str(), |state| {
            if let Some((activation, _)) = state.activations.remove(id) {
                let is_granted = activation.agency.as_ref().is_some_and(|agency| state.granted.contains(agency));
                if is_granted && state.is_held(&activation) {
                    state.violations.push(format!("{id} was deleted while a parameter held it"));
                }
            }
        })
        .await
    }
}

impl<'a> Agencies for &'a Access<'a> {
    type Store = OpenStore<'a>;

    async fn open(&self, agency: &AccountId) -> Result<OpenStore<'a>, AwsError> {
        let access: &'a Access<'a> = self;
        access.call("sts:AssumeRole", agency.as_str(), |_| OpenStore { access, agency: agency.clone() }).await
    }
}

impl Store for OpenStore<'_> {
    async fn read(&self, region: &Region) -> Result<Parameter, AwsError> {
        let place = (self.agency.clone(), region.clone());
        let about = format!("{} {region}", self.agency);
        let read = |state: &mut State| state.parameters.get(&place).cloned().unwrap_or(Parameter::Missing);
        self.access.call("ssm:GetParameter", &about, read).await
    }

    async fn write(&self, region: &Region, stored: &StoredActivation) -> Result<(), AwsError> {
        let about = format!("{} {region}", self.agency);
        self.access
            .call("ssm:PutParameter", &about, |state| {
                let gone = !state.activations.contains_key(&stored.activation_id);
                if gone {
                    state.calls.push(format!("(stored {} after its end)", stored.activation_id));
                }
                state.put(self.agency.as_str(), region.as_str(), stored.clone(), 0);
            })
            .await
    }
}

//! One agency: read its parameters, plan, repair, delete what nobody needs.

use std::collections::BTreeMap;

use hub::{AccountId, AwsError, Region};

use super::{Budget, Round, increment};
use crate::activation::{Activation, ActivationId, Parameter, StoredActivation};
use crate::advice::in_region;
use crate::answer::{AgencyAnswer, Failure, Outcome};
use crate::plan::ceiling::registrations;
use crate::plan::{Repair, View, is_alive, new_activation, plan};
use crate::ports::{Agencies, Hub, Store};

/// What became of a write, as far as that can be known.
enum Written {
    Yes,
    No(AwsError),
    /// The call failed in a way that leaves open whether it came through, and so did reading back.
    Perhaps(AwsError),
}

impl<H: Hub, A: Agencies> Round<'_, H, A> {
    /// Makes an agency's parameters hold one live activation.
    pub(super) async fn tend(
        &self,
        agency: &AccountId,
        listed: &BTreeMap<ActivationId, Activation>,
        budget: &Budget,
    ) -> AgencyAnswer {
        let mut answer = AgencyAnswer::new(agency, Outcome::Live);
        let store = match self.agencies.open(agency).await {
            Ok(store) => store,
            Err(error) => {
                answer.fail(self.failure(agency, &error));
                return answer;
            }
        };
        let parameters = self.read_all(&store, &mut answer).await;
        if parameters.is_empty() {
            return answer;
        }
        let activations = match self.activations_of(agency, &parameters, listed).await {
            Ok(activations) => activations,
            Err(error) => {
                answer.fail(self.failure(agency, &error));
                return answer;
            }
        };
        let is_complete = parameters.len() == self.config.parameter_regions.len();
        let view = View {
            agency,
            hub_account: self.hub_account,
            now: self.now,
            parameters: &parameters,
            is_complete,
            activations: &activations,
        };
        let plan = plan(self.config, &view);
        let alive = parameters.iter().filter(|(_, parameter)| is_alive(self.config, &view, parameter));
        let mut live_regions: Vec<Region> = alive.map(|(region, _)| region.clone()).collect();
        describe(&plan.repair, &activations, &mut answer);
        if self.dry_run {
            answer.would_delete = plan.orphans;
        } else {
            let is_spare = !live_regions.is_empty();
            live_regions.extend(self.repair(&store, plan.repair, budget, is_spare, &mut answer).await);
            self.delete_all(plan.orphans, &mut answer).await;
        }
        if self.config.parameter_regions.iter().all(|region| live_regions.contains(region)) {
            increment(&self.live_count);
        }
        answer
    }

    /// The parameters that can be read.
    async fn read_all(&self, store: &impl Store, answer: &mut AgencyAnswer) -> BTreeMap<Region, Parameter> {
        let mut parameters = BTreeMap::new();
        for region in &self.config.parameter_regions {
            match store.read(region).await {
                Ok(parameter) => drop(parameters.insert(region.clone(), parameter)),
                Err(error) => answer.fail(self.failure(&answer.agency, &in_region(region, error))),
            }
        }
        parameters
    }

    /// The activations of an agency, and those that its parameters name.
    ///
    /// One that the list does not know may have been made after the list was read, so it is asked for by itself.
    async fn activations_of(
        &self,
        agency: &AccountId,
        parameters: &BTreeMap<Region, Parameter>,
        listed: &BTreeMap<ActivationId, Activation>,
    ) -> Result<BTreeMap<ActivationId, Activation>, AwsError> {
        let own = listed.iter().filter(|(_, activation)| activation.agency.as_ref() == Some(agency));
        let mut activations: BTreeMap<_, _> = own.map(|(id, activation)| (id.clone(), activation.clone())).collect();
        for stored in parameters.values().filter_map(Parameter::stored) {
            let id = &stored.activation_id;
            if let Some(activation) = listed.get(id) {
                activations.insert(id.clone(), activation.clone());
            } else if !activations.contains_key(id) {
                let found = self.hub.activations(Some(id)).await?.into_iter();
                activations.extend(found.map(|activation| (activation.id.clone(), activation)));
            }
        }
        Ok(activations)
    }

    /// Carries out a repair, and gives the Regions that hold something good because of it.
    async fn repair(
        &self,
        store: &impl Store,
        repair: Repair,
        budget: &Budget,
        is_spare: bool,
        answer: &mut AgencyAnswer,
    ) -> Vec<Region> {
        let holding = match repair {
            Repair::Keep(_) => return Vec::new(),
            Repair::Copy { stored, regions, .. } => self.write_all(store, &stored, &regions, answer).await.holding,
            Repair::Create { regions, .. } => {
                if self.deadline.is_late() {
                    answer.outcome = Outcome::Deferred;
                    return Vec::new();
                }
                let Some(limit) = self.granted_limit(budget, is_spare, answer) else { return Vec::new() };
                self.create(store, &regions, limit, answer).await
            }
        };
        // What failed before stays failed: a Region that cannot be read is none that was renewed.
        if answer.failure.is_none() {
            answer.outcome = Outcome::Renewed;
        }
        holding
    }

    /// How many nodes the next activation registers, if agency and account may have more.
    fn granted_limit(&self, budget: &Budget, is_spare: bool, answer: &mut AgencyAnswer) -> Option<u32> {
        let usage = match budget.usage(&answer.agency) {
            Ok(usage) => usage,
            Err(error) => {
                answer.fail(self.failure(&answer.agency, &error));
                return None;
            }
        };
        match registrations(self.config, usage, is_spare) {
            Ok(limit) => {
                budget.take(limit);
                Some(limit)
            }
            Err(refusal) => {
                let error_code = <&str>::from(refusal.ceiling).to_owned();
                answer.fail(Failure { error_code, message: format!("no activation was created: {refusal}") });
                None
            }
        }
    }

    async fn create(
        &self,
        store: &impl Store,
        regions: &[Region],
        limit: u32,
        answer: &mut AgencyAnswer,
    ) -> Vec<Region> {
        let new = new_activation(self.config, &answer.agency, limit, self.now);
        let (activation_id, activation_code) = match self.hub.create(&new).await {
            Ok(created) => created,
            Err(error) => {
                answer.fail(self.failure(&answer.agency, &error));
                return Vec::new();
            }
        };
        increment(&self.created_count);
        let stored = StoredActivation {
            activation_id,
            activation_code,
            region: self.config.region.clone(),
            expiration_date: new.expiration_date,
            account: new.agency,
            hub_account: Some(self.hub_account.clone()),
        };
        let spread = self.write_all(store, &stored, regions, answer).await;
        if spread.is_certainly_nowhere {
            self.discard(&stored.activation_id, answer).await;
        } else {
            answer.activation_id = Some(stored.activation_id);
            answer.expiration_date = Some(stored.expiration_date);
            answer.registrations_left = Some(new.registration_limit);
        }
        spread.holding
    }

    /// Writes an activation to these Regions, one after the other.
    async fn write_all(
        &self,
        store: &impl Store,
        stored: &StoredActivation,
        regions: &[Region],
        answer: &mut AgencyAnswer,
    ) -> Spread {
        let mut spread = Spread { holding: Vec::new(), is_certainly_nowhere: true };
        for region in regions {
            let error = match write(store, region, stored).await {
                Written::Yes => {
                    spread.is_certainly_nowhere = false;
                    spread.holding.push(region.clone());
                    continue;
                }
                Written::Perhaps(error) => {
                    spread.is_certainly_nowhere = false;
                    error
                }
                Written::No(error) => error,
            };
            answer.fail(self.failure(&answer.agency, &in_region(region, error)));
        }
        spread
    }

    /// Deletes an activation that was made just now and is stored nowhere: nobody will ever know its code.
    async fn discard(&self, id: &ActivationId, answer: &mut AgencyAnswer) {
        let what = match self.hub.delete(id).await {
            Ok(()) => {
                increment(&self.deleted_count);
                "the activation created for it was deleted".to_owned()
            }
            Err(error) => format!("a later run deletes the activation {id} created for it, because {error}"),
        };
        if let Some(failure) = &mut answer.failure {
            failure.message = format!("{}; {what}", failure.message);
        }
    }
}

/// Where an activation went.
struct Spread {
    /// The Regions that hold it.
    holding: Vec<Region>,
    /// True where no Region can hold it.
    is_certainly_nowhere: bool,
}

/// Writes, and reads back where the error leaves open whether the write came through.
async fn write(store: &impl Store, region: &Region, stored: &StoredActivation) -> Written {
    let Err(error) = store.write(region, stored).await else { return Written::Yes };
    if !error.retryable {
        return Written::No(error);
    }
    match store.read(region).await {
        Ok(parameter) if parameter.stored() == Some(stored) => Written::Yes,
        Ok(_) => Written::No(error),
        Err(_) => Written::Perhaps(error),
    }
}

/// Says what was found, and that something would be done about it; what is done then says so itself.
fn describe(repair: &Repair, activations: &BTreeMap<ActivationId, Activation>, answer: &mut AgencyAnswer) {
    let (reason, stored) = match repair {
        Repair::Keep(stored) => (None, Some(stored)),
        Repair::Copy { reason, stored, .. } => (Some(*reason), Some(stored)),
        Repair::Create { reason, .. } => (Some(*reason), None),
    };
    answer.reason = reason;
    answer.activation_id = stored.map(|stored| stored.activation_id.clone());
    answer.expiration_date = stored.map(|stored| stored.expiration_date);
    let activation = stored.and_then(|stored| activations.get(&stored.activation_id));
    answer.registrations_left = activation.map(Activation::registrations_left);
    if reason.is_some() && answer.failure.is_none() {
        answer.outcome = Outcome::WouldRenew;
    }
}

//! What the handler needs of the world.

use std::collections::BTreeSet;

use hub::{AccountId, AwsError, Region, Timestamp};

use crate::activation::{Activation, ActivationCode, ActivationId, NewActivation, Parameter, StoredActivation};
use crate::plan::census::{NodeCounts, Tier};

/// The calls on the central account.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Hub {
    /// The agencies that have a grant: the aliases of the manager.
    async fn granted(&self) -> Result<BTreeSet<AccountId>, AwsError>;
    /// All activations, or the one asked for where there is such a one.
    async fn activations(&self, only: Option<&ActivationId>) -> Result<Vec<Activation>, AwsError>;
    /// How many hybrid nodes there are, and how many of them registered since `new_since`.
    async fn nodes(&self, new_since: Timestamp) -> Result<NodeCounts, AwsError>;
    /// The instance tier of the account and Region.
    async fn tier(&self) -> Result<Tier, AwsError>;
    /// Makes an activation. The code is told here and never again.
    async fn create(&self, new: &NewActivation) -> Result<(ActivationId, ActivationCode), AwsError>;
    /// Deletes an activation. That it is already gone is no error.
    async fn delete(&self, id: &ActivationId) -> Result<(), AwsError>;
}

/// The way into the agencies' accounts.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Agencies {
    /// An agency's parameters.
    type Store: Store;
    /// Takes the writer role in an agency.
    async fn open(&self, agency: &AccountId) -> Result<Self::Store, AwsError>;
}

/// The parameter of one agency, in each Region.
#[expect(async_fn_in_trait, reason = "the runtime polls one invocation at a time, so no future has to be Send")]
pub trait Store {
    /// What it holds.
    async fn read(&self, region: &Region) -> Result<Parameter, AwsError>;
    /// Writes it, whatever it held. No error quotes the code.
    async fn write(&self, region: &Region, stored: &StoredActivation) -> Result<(), AwsError>;
}

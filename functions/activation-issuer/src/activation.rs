//! Activations: as the service lists them, as the hub asks for them, and as an agency's parameter holds them.

use hub::{AccountId, Timestamp};
pub use hub::{ActivationCode, ActivationId, StoredActivation};

/// What stands between the prefix of the hub's names and the agency's account id in the description of an activation.
const DESCRIPTION: &str = "Tag Hub: agency ";

/// An activation as the service lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// Its id.
    pub id: ActivationId,
    /// The agency that the hub made it for; nothing for an activation that is not the hub's.
    pub agency: Option<AccountId>,
    /// The role of the nodes, where the service names one.
    pub node_role: Option<String>,
    /// How many nodes it registers in all.
    pub registration_limit: u32,
    /// How many it has registered.
    pub registrations_count: u32,
    /// When it ends.
    pub expiration_date: Timestamp,
    /// True where the service says that it has ended.
    pub is_expired: bool,
    /// When it was made, where the service says so.
    pub created_date: Option<Timestamp>,
}

impl Activation {
    /// How many nodes it can still register.
    pub fn registrations_left(&self) -> u32 {
        self.registration_limit.saturating_sub(self.registrations_count)
    }

    /// The agency of an activation with this description and this tag `tag-hub:agency`, if the hub with this prefix made it.
    ///
    /// Both have to name the same agency: what somebody made by hand with the tag alone is theirs to delete. So is what
    /// another hub of the account made, whose agencies have no grant here.
    pub fn agency_of(prefix: &str, description: &str, tag: &str) -> Option<AccountId> {
        let agency: AccountId = tag.parse().ok()?;
        (description == self::description(prefix, &agency)).then_some(agency)
    }
}

/// The description of an agency's activation, made by the hub whose names have this prefix.
pub fn description(prefix: &str, agency: &AccountId) -> String {
    format!("{prefix}{DESCRIPTION}{agency}")
}

/// An activation to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewActivation {
    /// For whom.
    pub agency: AccountId,
    /// The role of the nodes.
    pub node_role: String,
    /// How many nodes it registers.
    pub registration_limit: u32,
    /// When it ends.
    pub expiration_date: Timestamp,
}

/// The parameter in one Region, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// There is none.
    Missing,
    /// There is one, but it holds no activation, or not in secret.
    Malformed,
    /// It holds an activation.
    Holds {
        /// What it holds.
        stored: StoredActivation,
        /// When it was last written, where the service says so.
        modified: Option<Timestamp>,
    },
}

impl Parameter {
    /// What it holds.
    pub fn stored(&self) -> Option<&StoredActivation> {
        match self {
            Self::Holds { stored, .. } => Some(stored),
            Self::Missing | Self::Malformed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tag_and_description_together_make_an_activation_ours() {
        let ours = "222222222222".parse().ok();
        assert_eq!(Activation::agency_of("", "Tag Hub: agency 222222222222", "222222222222"), ours);
        assert_eq!(Activation::agency_of("test-", "test-Tag Hub: agency 222222222222", "222222222222"), ours);
        assert_eq!(Activation::agency_of("test-", "Tag Hub: agency 222222222222", "222222222222"), None);
        for (description, tag) in [
            ("test-Tag Hub: agency 222222222222", "222222222222"),
            ("Tag Hub: agency 222222222222", ""),
            ("Tag Hub: agency 222222222222", "333333333333"),
            ("", "222222222222"),
            ("by hand", "222222222222"),
            ("Tag Hub: agency 22", "22"),
        ] {
            assert_eq!(Activation::agency_of("", description, tag), None, "{description} {tag}");
        }
    }
}

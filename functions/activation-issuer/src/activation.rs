//! Activations: as the service lists them, as the hub asks for them, and as an agency's parameter holds them.

use std::fmt;
use std::str::FromStr;

use hub::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the description of the hub's own activations starts with; the agency's account id follows.
const DESCRIPTION_PREFIX: &str = "Tag Hub: agency ";

/// The id of an activation: a UUID in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ActivationId(String);

impl ActivationId {
    /// The id as AWS spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ActivationId {
    type Error = NotAnActivation;

    fn try_from(value: String) -> Result<Self, NotAnActivation> {
        let lengths = value.split('-').map(str::len);
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
        if lengths.eq([8, 4, 4, 4, 12]) && value.bytes().all(is_digit) { Ok(Self(value)) } else { Err(NotAnActivation) }
    }
}

impl FromStr for ActivationId {
    type Err = NotAnActivation;

    fn from_str(value: &str) -> Result<Self, NotAnActivation> {
        Self::try_from(value.to_owned())
    }
}

impl fmt::Display for ActivationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The secret that registers nodes. It has no form for people: it cannot be displayed, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ActivationCode(String);

impl ActivationCode {
    /// The secret itself, for the one call that stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ActivationCode {
    type Error = NotAnActivation;

    /// Only the length is known: 20 to 250 characters
    /// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateActivation.html>).
    fn try_from(value: String) -> Result<Self, NotAnActivation> {
        if (20..=250).contains(&value.chars().count()) { Ok(Self(value)) } else { Err(NotAnActivation) }
    }
}

impl fmt::Debug for ActivationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationCode(hidden)")
    }
}

/// A text that is no activation. What came instead is not told: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an activation")]
pub struct NotAnActivation;

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

    /// The agency of an activation with this description and this tag `tag-hub:agency`.
    ///
    /// Both have to name the same one: what somebody made by hand with the tag alone is theirs to delete.
    pub fn agency_of(description: &str, tag: &str) -> Option<AccountId> {
        let agency: AccountId = tag.parse().ok()?;
        (description == self::description(&agency)).then_some(agency)
    }
}

/// The description of an agency's activation.
pub fn description(agency: &AccountId) -> String {
    format!("{DESCRIPTION_PREFIX}{agency}")
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

/// What the parameter holds: an activation with its code, and where it is good.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoredActivation {
    /// The activation.
    pub activation_id: ActivationId,
    /// Its secret.
    pub activation_code: ActivationCode,
    /// The Region where nodes register.
    pub region: Region,
    /// When it ends.
    pub expiration_date: Timestamp,
    /// The agency that it is for.
    pub account: AccountId,
}

impl StoredActivation {
    /// The value of the parameter. It holds the secret.
    pub fn to_value(&self) -> String {
        let Self { activation_id, activation_code, region, expiration_date, account } = self;
        json!({
            "ActivationId": activation_id.as_str(),
            "ActivationCode": activation_code.expose(),
            "Region": region,
            "ExpirationDate": expiration_date,
            "Account": account,
        })
        .to_string()
    }

    /// Reads the value of a parameter. What is wrong with it is not told: the words could quote the secret.
    pub fn from_value(value: &str) -> Option<Self> {
        serde_json::from_str(value).ok()
    }
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

    const CODE: &str = "aB3+/secretsecretsecret";

    fn stored() -> StoredActivation {
        StoredActivation {
            activation_id: "0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11".parse().unwrap(),
            activation_code: CODE.to_owned().try_into().unwrap(),
            region: "us-east-1".parse().unwrap(),
            expiration_date: Timestamp::from_unix_seconds(1_795_312_800),
            account: "222222222222".parse().unwrap(),
        }
    }

    #[test]
    fn the_value_has_the_documented_form_and_round_trips() {
        let value = stored().to_value();
        let expected = json!({
            "ActivationId": "0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11", "ActivationCode": CODE,
            "Region": "us-east-1", "ExpirationDate": "2026-11-22T02:00:00Z", "Account": "222222222222"
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&value).unwrap(), expected);
        assert_eq!(StoredActivation::from_value(&value), Some(stored()));
    }

    #[test]
    fn the_code_hides_in_debug() {
        let text = format!("{:?} {:#?}", stored(), Parameter::Holds { stored: stored(), modified: None });
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("ActivationCode(hidden)"), "{text}");
    }

    #[test]
    fn what_is_no_activation_is_malformed() {
        let good = stored().to_value();
        for bad in [
            String::new(),
            "{}".to_owned(),
            "null".to_owned(),
            good.replace("0b4f2b0e-", ""),
            good.replace("0b4f2b0e", "0B4F2B0E"),
            good.replace(CODE, "short"),
            good.replace(CODE, &"x".repeat(251)),
            good.replace("us-east-1", "mars"),
            good.replace("2026-11-22T02:00:00Z", "soon"),
            good.replace("222222222222", "2"),
            good.replace("\"Account\"", "\"account\""),
        ] {
            assert_eq!(StoredActivation::from_value(&bad), None, "{bad}");
        }
    }

    #[test]
    fn only_tag_and_description_together_make_an_activation_ours() {
        let ours = "222222222222".parse().ok();
        assert_eq!(Activation::agency_of("Tag Hub: agency 222222222222", "222222222222"), ours);
        for (description, tag) in [
            ("Tag Hub: agency 222222222222", ""),
            ("Tag Hub: agency 222222222222", "333333333333"),
            ("", "222222222222"),
            ("by hand", "222222222222"),
            ("Tag Hub: agency 22", "22"),
        ] {
            assert_eq!(Activation::agency_of(description, tag), None, "{description} {tag}");
        }
    }
}

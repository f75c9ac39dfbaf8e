//! The activation: what the hub, or an operator, left in Parameter Store.

use hub::{AccountId, ActivationCode, ActivationId, Region, StoredActivation, Timestamp};

/// What the agent needs to register, and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activation {
    pub(crate) id: ActivationId,
    pub(crate) code: ActivationCode,
    /// The Region of the hub, where the node will be.
    pub(crate) region: Region,
    /// What else the hub says about it. The pair of parameters does not say.
    pub(crate) terms: Option<Terms>,
}

/// Whom an activation is for, where it is from, and how long it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) account: AccountId,
    /// None in a parameter that an older hub wrote.
    pub(crate) hub_account: Option<AccountId>,
    pub(crate) expires: Timestamp,
}

/// What an activation has to fit.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// The account of this instance.
    pub(crate) account: &'a AccountId,
    /// What `--region` asks for.
    pub(crate) region: Option<&'a Region>,
    /// What `--hub-account` asks for.
    pub(crate) hub_account: Option<&'a AccountId>,
    pub(crate) now: Timestamp,
}

/// Why an activation cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is made for account {0}, and this instance is in account {1}")]
    OtherAccount(AccountId, AccountId),
    #[error("it is for Region {0}, and --region asks for {1}")]
    OtherRegion(Region, Region),
    #[error("it registers in account {0}, and --hub-account asks for {1}")]
    OtherHub(AccountId, AccountId),
    #[error("it does not say in which account it registers, and --hub-account asks for {0}")]
    UnknownHub(AccountId),
    #[error("it expired at {0}")]
    Expired(Timestamp),
}

impl Activation {
    /// Reads the JSON of `/tag-hub/activation`. The problem names the field and never its contents.
    pub(crate) fn from_json(json: &str) -> Result<Self, String> {
        let StoredActivation { activation_id, activation_code, region, expiration_date, account, hub_account } =
            StoredActivation::from_value(json)?;
        let terms = Terms { account, hub_account, expires: expiration_date };
        Ok(Self { id: activation_id, code: activation_code, region, terms: Some(terms) })
    }

    /// From two parameters, which say nothing about accounts and expiry.
    pub(crate) fn from_pair(id: &str, code: &str, region: Region) -> Result<Self, String> {
        Ok(Self {
            id: id.trim().parse().map_err(|_| "ActivationId: expected a UUID in lower case")?,
            code: code
                .trim()
                .to_owned()
                .try_into()
                .map_err(|_| "ActivationCode: expected 20 to 250 characters without spaces")?,
            region,
            terms: None,
        })
    }

    /// Looks whether this instance may use it now.
    pub(crate) fn check(&self, wanted: &Wanted<'_>) -> Result<(), Unusable> {
        if let Some(asked) = wanted.region.filter(|asked| **asked != self.region) {
            return Err(Unusable::OtherRegion(self.region.clone(), asked.clone()));
        }
        self.check_hub(wanted.account, wanted.hub_account)?;
        match &self.terms {
            Some(terms) if terms.expires <= wanted.now => Err(Unusable::Expired(terms.expires)),
            _ => Ok(()),
        }
    }

    /// Looks whether it is for this account, and from the hub that is asked for. Which hub it is from, if it says so.
    pub(crate) fn check_hub(
        &self,
        account: &AccountId,
        asked: Option<&AccountId>,
    ) -> Result<Option<AccountId>, Unusable> {
        let hub_account = self.terms.as_ref().and_then(|terms| terms.hub_account.as_ref());
        match (asked, hub_account) {
            (Some(asked), None) => return Err(Unusable::UnknownHub(asked.clone())),
            (Some(asked), Some(found)) if asked != found => {
                return Err(Unusable::OtherHub(found.clone(), asked.clone()));
            }
            _ => {}
        }
        match self.terms.as_ref().filter(|terms| terms.account != *account) {
            Some(terms) => Err(Unusable::OtherAccount(terms.account.clone(), account.clone())),
            None => Ok(hub_account.cloned()),
        }
    }

    /// True if the other one would be the same try again.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.id, &self.code, &self.region) == (&other.id, &other.code, &other.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "xUNf+/SecretSecret12";

    fn good() -> Activation {
        let json = serde_json::json!({
            "ActivationId": "bcf6faa8-83fd-419e-9534-96ad14131eb7", "ActivationCode": CODE, "Region": "us-east-1",
            "ExpirationDate": "2026-11-22T02:00:00Z", "Account": "222222222222", "HubAccount": "111111111111",
        });
        Activation::from_json(&json.to_string()).unwrap()
    }

    #[test]
    fn another_account_region_hub_or_time_is_refused() {
        let end = 1_795_312_800;
        let check = |activation: &Activation, id: &str, region: Option<&str>, hub: Option<&str>, now| {
            let account: AccountId = id.parse().unwrap();
            let region: Option<Region> = region.map(|region| region.parse().unwrap());
            let hub: Option<AccountId> = hub.map(|hub| hub.parse().unwrap());
            let now = Timestamp::from_unix_seconds(now);
            let wanted = Wanted { account: &account, region: region.as_ref(), hub_account: hub.as_ref(), now };
            activation.check(&wanted).map_err(|problem| problem.to_string())
        };
        let (ours, hub) = ("222222222222", Some("111111111111"));
        assert_eq!(check(&good(), ours, None, None, end - 1), Ok(()));
        assert_eq!(check(&good(), ours, Some("us-east-1"), hub, end - 1), Ok(()));
        for (result, words) in [
            (check(&good(), "333333333333", None, None, end - 1), "made for account 222222222222"),
            (check(&good(), ours, Some("us-west-2"), None, end - 1), "--region asks for us-west-2"),
            (check(&good(), ours, None, Some("444444444444"), end - 1), "registers in account 111111111111"),
            (check(&good(), ours, None, None, end), "it expired at 2026-11-22T02:00:00Z"),
        ] {
            assert!(result.as_ref().unwrap_err().contains(words), "{result:?}");
        }
        let pair = Activation::from_pair("bcf6faa8-83fd-419e-9534-96ad14131eb7\n", CODE, "us-east-1".parse().unwrap());
        let pair = pair.unwrap();
        assert!(pair.is_same(&good()));
        assert_eq!(check(&pair, "333333333333", None, None, i64::MAX), Ok(()), "the pair says nothing");
        assert!(check(&pair, ours, None, hub, 0).unwrap_err().contains("does not say in which account"));
    }
}

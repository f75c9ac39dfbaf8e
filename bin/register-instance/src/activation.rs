//! The activation: what the hub, or an operator, left in Parameter Store.

use std::fmt;

use hub::{AccountId, Region, Timestamp, json_kind};
use serde_json::{Map, Value};

/// How long a code is at the least; Systems Manager makes them of 20 to 250 characters.
const CODE_LENGTH_MIN: usize = 20;

/// What the agent needs to register, and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Activation {
    pub(crate) id: String,
    pub(crate) code: Code,
    /// The Region of the hub, where the node will be.
    pub(crate) region: Region,
    /// The account that it was made for. The pair of parameters does not say.
    pub(crate) account: Option<AccountId>,
    /// When it ends. The pair of parameters does not say.
    pub(crate) expires: Option<Timestamp>,
}

/// An activation code. It registers machines in the central account, so it never shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Code(String);

impl Code {
    /// For the agent's command line, which is the only way that the agent takes it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the code.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // What stands before and after a code may form the code anew; each turn makes the text shorter.
        while text.contains(&self.0) {
            text = text.replace(&self.0, "***");
        }
        text
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(***)")
    }
}

/// Why an activation cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is made for account {0}, and this instance is in account {1}")]
    OtherAccount(AccountId, AccountId),
    #[error("it is for Region {0}, and --region asks for {1}")]
    OtherRegion(Region, Region),
    #[error("it expired at {0}")]
    Expired(Timestamp),
}

impl Activation {
    /// Reads the JSON of `/tag-hub/activation`. The problem names the field and never its contents.
    pub(crate) fn from_json(json: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(json)
            .map_err(|error| format!("it is not JSON (line {}, column {})", error.line(), error.column()))?;
        let Value::Object(fields) = value else {
            return Err(format!("expected a JSON object, got {}", json_kind(&value)));
        };
        Ok(Self {
            id: activation_id(text(&fields, "ActivationId")?)?,
            code: code(text(&fields, "ActivationCode")?)?,
            region: parsed(&fields, "Region", "a Region code")?,
            account: Some(parsed(&fields, "Account", "an account id of 12 digits")?),
            expires: Some(parsed(&fields, "ExpirationDate", "a time such as 2026-11-22T02:00:00Z")?),
        })
    }

    /// From the two parameters of the original write-up, which know nothing of account and end.
    pub(crate) fn from_pair(id: &str, code_value: &str, region: Region) -> Result<Self, String> {
        Ok(Self { id: activation_id(id)?, code: code(code_value)?, region, account: None, expires: None })
    }

    /// Looks whether this instance may use it now.
    pub(crate) fn check(
        &self,
        account: &AccountId,
        asked_region: Option<&Region>,
        now: Timestamp,
    ) -> Result<(), Unusable> {
        if let Some(owner) = self.account.as_ref().filter(|owner| *owner != account) {
            return Err(Unusable::OtherAccount(owner.clone(), account.clone()));
        }
        if let Some(asked) = asked_region.filter(|asked| **asked != self.region) {
            return Err(Unusable::OtherRegion(self.region.clone(), asked.clone()));
        }
        match self.expires {
            Some(end) if end <= now => Err(Unusable::Expired(end)),
            _ => Ok(()),
        }
    }

    /// True where the other one would be the same try again.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.id, &self.code, &self.region) == (&other.id, &other.code, &other.region)
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match fields.get(name) {
        Some(Value::String(value)) => Ok(value),
        Some(other) => Err(format!("{name}: expected a string, got {}", json_kind(other))),
        None => Err(format!("{name} is missing")),
    }
}

fn parsed<T: std::str::FromStr>(fields: &Map<String, Value>, name: &str, expected: &str) -> Result<T, String> {
    text(fields, name)?.parse().map_err(|_| format!("{name}: expected {expected}"))
}

fn activation_id(value: &str) -> Result<String, String> {
    let value = value.trim();
    let groups: Vec<&str> = value.split('-').collect();
    let is_uuid = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
    if is_uuid { Ok(value.to_owned()) } else { Err("ActivationId: expected a UUID".to_owned()) }
}

fn code(value: &str) -> Result<Code, String> {
    let value = value.trim();
    if value.len() >= CODE_LENGTH_MIN && value.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(Code(value.to_owned()))
    } else {
        Err(format!("ActivationCode: expected at least {CODE_LENGTH_MIN} characters without spaces"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: &str = "xUNf+/SecretSecret12";

    fn json(change: &str, value: &Value) -> String {
        let mut fields = serde_json::json!({
            "ActivationId": "bcf6faa8-83fd-419e-9534-96ad14131eb7", "ActivationCode": CODE, "Region": "us-east-1",
            "ExpirationDate": "2026-11-22T02:00:00Z", "Account": "222222222222",
        });
        fields[change] = value.clone();
        fields.to_string()
    }

    fn good() -> Activation {
        Activation::from_json(&json("Extra", &Value::Null)).unwrap()
    }

    fn account(id: &str) -> AccountId {
        id.parse().unwrap()
    }

    #[test]
    fn reads_what_the_hub_writes() {
        let activation = good();
        assert_eq!((activation.code.expose(), activation.region.as_str()), (CODE, "us-east-1"));
        assert!(!format!("{activation:?}").contains(CODE));
    }

    #[test]
    fn a_problem_names_the_field_and_shows_no_contents() {
        for (field, value, expected) in [
            ("ActivationId", Value::from(CODE), "ActivationId: expected a UUID"),
            ("ActivationCode", Value::from(12_345_678), "ActivationCode: expected a string, got a number"),
            ("ActivationCode", Value::from("short"), "ActivationCode: expected at least 20 characters without spaces"),
            ("Region", Value::from(CODE), "Region: expected a Region code"),
            ("Account", Value::from(CODE), "Account: expected an account id of 12 digits"),
            ("ExpirationDate", Value::from(CODE), "ExpirationDate: expected a time such as 2026-11-22T02:00:00Z"),
        ] {
            assert_eq!(Activation::from_json(&json(field, &value)).unwrap_err(), expected);
        }
        assert_eq!(Activation::from_json(CODE).unwrap_err(), "it is not JSON (line 1, column 1)");
        assert_eq!(Activation::from_json("[]").unwrap_err(), "expected a JSON object, got a list");
        assert_eq!(Activation::from_json("{}").unwrap_err(), "ActivationId is missing");
    }

    #[test]
    fn another_account_or_region_or_time_is_refused() {
        let (activation, end) = (good(), 1_795_312_800);
        let before = Timestamp::from_unix_seconds(end - 1);
        let check = |id: &str, region: Option<&str>, now| {
            let region = region.map(|region| region.parse().unwrap());
            activation.check(&account(id), region.as_ref(), now).map_err(|problem| problem.to_string())
        };
        assert_eq!(check("222222222222", None, before), Ok(()));
        assert_eq!(check("222222222222", Some("us-east-1"), before), Ok(()));
        assert!(check("333333333333", None, before).unwrap_err().contains("account 222222222222"));
        assert!(check("222222222222", Some("us-west-2"), before).unwrap_err().contains("--region asks for us-west-2"));
        let over = check("222222222222", None, Timestamp::from_unix_seconds(end));
        assert_eq!(over.unwrap_err(), "it expired at 2026-11-22T02:00:00Z");
    }

    #[test]
    fn the_pair_says_nothing_of_account_and_end() {
        let pair = Activation::from_pair("bcf6faa8-83fd-419e-9534-96ad14131eb7\n", CODE, "us-east-1".parse().unwrap())
            .unwrap();
        assert!(pair.is_same(&good()));
        assert_eq!(pair.check(&account("333333333333"), None, Timestamp::from_unix_seconds(i64::MAX)), Ok(()));
    }

    proptest! {
        #[test]
        fn nothing_scrubbed_holds_the_code(
            code in "[*a]{20,24}|[!-~]{20,40}",
            pieces in proptest::collection::vec("[ -~*a]{0,30}", 0..6),
        ) {
            let code = Code(code);
            let text = pieces.join(code.expose());
            prop_assert!(!code.scrub(&text).contains(code.expose()));
        }
    }
}

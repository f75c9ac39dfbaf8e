//! The activation as an agency's Parameter Store holds it: activation-issuer writes it, register-instance reads it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{AccountId, Region, Timestamp, json_kind};

/// The length of a code, in characters
/// (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateActivation.html>).
const CODE_LENGTH: std::ops::RangeInclusive<usize> = 20..=250;

/// The ID of an activation: a UUID in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ActivationId(String);

impl ActivationId {
    /// The ID as AWS spells it.
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

/// The secret that registers nodes. It cannot be displayed, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ActivationCode(String);

impl ActivationCode {
    /// The secret itself, for the call that stores it and for the agent's command line.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the code.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // What stands before and after a code may form the code again; each turn makes the text shorter.
        while text.contains(&self.0) {
            text = text.replace(&self.0, "***");
        }
        text
    }
}

impl TryFrom<String> for ActivationCode {
    type Error = NotAnActivation;

    fn try_from(value: String) -> Result<Self, NotAnActivation> {
        let is_printable = value.bytes().all(|byte| byte.is_ascii_graphic());
        if CODE_LENGTH.contains(&value.len()) && is_printable { Ok(Self(value)) } else { Err(NotAnActivation) }
    }
}

impl fmt::Debug for ActivationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ActivationCode(hidden)")
    }
}

/// A text that is not part of an activation. The text is not quoted: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an activation")]
pub struct NotAnActivation;

/// What the parameter holds: an activation with its code, and where it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The central account, where nodes register. A parameter of an older hub does not name it.
    pub hub_account: Option<AccountId>,
}

impl StoredActivation {
    /// The value of the parameter. It holds the secret.
    pub fn to_value(&self) -> String {
        let Self { activation_id, activation_code, region, expiration_date, account, hub_account } = self;
        let mut value = json!({
            "ActivationId": activation_id.as_str(),
            "ActivationCode": activation_code.expose(),
            "Region": region,
            "ExpirationDate": expiration_date,
            "Account": account,
        });
        if let Some(hub_account) = hub_account {
            value["HubAccount"] = json!(hub_account);
        }
        value.to_string()
    }

    /// Reads the value of a parameter.
    ///
    /// # Errors
    /// Names the field that does not fit, and never quotes its contents: they could be the secret.
    pub fn from_value(value: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(value)
            .map_err(|error| format!("it is not JSON (line {}, column {})", error.line(), error.column()))?;
        let Value::Object(fields) = value else {
            return Err(format!("expected a JSON object, got {}", json_kind(&value)));
        };
        let hub_account = match fields.get("HubAccount") {
            None | Some(Value::Null) => None,
            Some(_) => Some(parsed(&fields, "HubAccount", "an account ID of 12 digits")?),
        };
        Ok(Self {
            activation_id: parsed(&fields, "ActivationId", "a UUID in lower case")?,
            activation_code: text(&fields, "ActivationCode")?.to_owned().try_into().map_err(|_| {
                let (shortest, longest) = (CODE_LENGTH.start(), CODE_LENGTH.end());
                format!("ActivationCode: expected {shortest} to {longest} characters without spaces")
            })?,
            region: parsed(&fields, "Region", "a Region code")?,
            expiration_date: parsed(&fields, "ExpirationDate", "a time such as 2026-11-22T02:00:00Z")?,
            account: parsed(&fields, "Account", "an account ID of 12 digits")?,
            hub_account,
        })
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    match fields.get(name) {
        Some(Value::String(value)) => Ok(value),
        Some(other) => Err(format!("{name}: expected a string, got {}", json_kind(other))),
        None => Err(format!("{name} is missing")),
    }
}

fn parsed<T: FromStr>(fields: &Map<String, Value>, name: &str, expected: &str) -> Result<T, String> {
    text(fields, name)?.parse().map_err(|_| format!("{name}: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CODE: &str = "aB3+/secretsecretsecret";

    fn stored() -> StoredActivation {
        StoredActivation {
            activation_id: "0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11".parse().unwrap(),
            activation_code: CODE.to_owned().try_into().unwrap(),
            region: "us-east-1".parse().unwrap(),
            expiration_date: Timestamp::from_unix_seconds(1_795_312_800),
            account: "222222222222".parse().unwrap(),
            hub_account: "111111111111".parse().ok(),
        }
    }

    #[test]
    fn the_value_has_the_documented_form_and_round_trips() {
        let value = stored().to_value();
        let expected = json!({
            "ActivationId": "0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11", "ActivationCode": CODE, "Region": "us-east-1",
            "ExpirationDate": "2026-11-22T02:00:00Z", "Account": "222222222222", "HubAccount": "111111111111"
        });
        assert_eq!(serde_json::from_str::<Value>(&value).unwrap(), expected);
        assert_eq!(StoredActivation::from_value(&value), Ok(stored()));
        let older = StoredActivation { hub_account: None, ..stored() };
        assert_eq!(StoredActivation::from_value(&older.to_value()), Ok(older));
    }

    #[test]
    fn a_problem_names_the_field_and_shows_no_contents() {
        for (field, value, expected) in [
            ("ActivationId", Value::from(CODE), "ActivationId: expected a UUID in lower case"),
            (
                "ActivationId",
                Value::from("0B4F2B0E-6f1c-4c0e-9f6a-2f4f2f9f0c11"),
                "ActivationId: expected a UUID in lower case",
            ),
            ("ActivationCode", Value::from(12_345_678), "ActivationCode: expected a string, got a number"),
            ("ActivationCode", Value::from("short"), "ActivationCode: expected 20 to 250 characters without spaces"),
            (
                "ActivationCode",
                Value::from("x".repeat(251)),
                "ActivationCode: expected 20 to 250 characters without spaces",
            ),
            ("Region", Value::from(CODE), "Region: expected a Region code"),
            ("Account", Value::from(CODE), "Account: expected an account ID of 12 digits"),
            ("HubAccount", Value::from(CODE), "HubAccount: expected an account ID of 12 digits"),
            ("ExpirationDate", Value::from(CODE), "ExpirationDate: expected a time such as 2026-11-22T02:00:00Z"),
        ] {
            let mut fields: Value = serde_json::from_str(&stored().to_value()).unwrap();
            fields[field] = value;
            assert_eq!(StoredActivation::from_value(&fields.to_string()).unwrap_err(), expected);
        }
        for (value, expected) in [
            (CODE, "it is not JSON (line 1, column 1)"),
            ("", "it is not JSON (line 1, column 0)"),
            ("null", "expected a JSON object, got null"),
            ("[]", "expected a JSON object, got a list"),
            ("{}", "ActivationId is missing"),
        ] {
            assert_eq!(StoredActivation::from_value(value).unwrap_err(), expected);
        }
    }

    #[test]
    fn the_code_hides_in_debug() {
        let text = format!("{:?}", stored());
        assert!(!text.contains("secret") && text.contains("ActivationCode(hidden)"), "{text}");
    }

    proptest! {
        #[test]
        fn nothing_scrubbed_holds_the_code(
            code in "[*a]{20,24}|[!-~]{20,40}",
            pieces in proptest::collection::vec("[ -~*a]{0,30}", 0..6),
        ) {
            let code = ActivationCode::try_from(code).unwrap();
            let text = pieces.join(code.expose());
            prop_assert!(!code.scrub(&text).contains(code.expose()));
        }
    }
}

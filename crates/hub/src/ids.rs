//! Identifiers as AWS spells them, each a type that only holds a valid one.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A value that is not what it should be: says what was expected and what came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got:?}")]
pub struct Invalid {
    /// The form that was expected, in words.
    pub expected: &'static str,
    /// The value that came instead, or its beginning.
    pub got: String,
}

impl Invalid {
    /// The value that came is [shortened].
    pub fn new(expected: &'static str, got: &str) -> Self {
        const SHOWN: usize = 60;
        Self { expected, got: shortened(got, SHOWN).into_owned() }
    }
}

/// At most so many characters of a text that somebody else wrote, for a message, a log line or an answer.
pub fn shortened(text: &str, char_count: usize) -> Cow<'_, str> {
    match text.char_indices().nth(char_count) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// Makes a string type that is valid by construction, on the wire a plain string.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $is_valid:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as AWS spells it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(value: &str) -> Result<Self, Invalid> {
                Self::try_from(value.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(value: String) -> Result<Self, Invalid> {
                if $is_valid(&value) {
                    Ok(Self(value))
                } else {
                    Err(Invalid::new($expected, &value))
                }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// An AWS account id: 12 digits, leading zeros included.
    AccountId,
    "an account id of 12 digits",
    is_account_id
);

identifier!(
    /// A Region code such as `us-east-1` or `us-gov-west-1`. Only the form is checked: new Regions need
    /// no new release.
    Region,
    "a Region code such as us-east-1",
    is_region
);

identifier!(
    /// The id of a managed node of a hybrid activation: `mi-` and 17 lowercase hexadecimal digits
    /// (`ManagedInstanceId` in the SSM API).
    ManagedInstanceId,
    "a managed instance id: mi- and 17 lowercase hexadecimal digits",
    is_managed_instance_id
);

identifier!(
    /// The id of an EC2 instance: `i-` and 8 or 17 lowercase hexadecimal digits.
    Ec2InstanceId,
    "an EC2 instance id: i- and 8 or 17 lowercase hexadecimal digits",
    is_ec2_instance_id
);

fn is_account_id(value: &str) -> bool {
    value.len() == 12 && value.bytes().all(|b| b.is_ascii_digit())
}

/// Longer than any name of a Region: an agency says which one it reports, and every line and link repeats it.
const REGION_LENGTH_MAX: usize = 32;

fn is_region(value: &str) -> bool {
    if value.len() > REGION_LENGTH_MAX {
        return false;
    }
    let parts: Vec<&str> = value.split('-').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return false;
    };
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    !middle.is_empty()
        && (2..=4).contains(&first.len())
        && is_word(first)
        && middle.iter().all(|part| is_word(part))
        && (1..=2).contains(&last.len())
        && last.bytes().all(|b| b.is_ascii_digit())
}

fn is_managed_instance_id(value: &str) -> bool {
    value.strip_prefix("mi-").is_some_and(|hex| hex.len() == 17 && is_lower_hex(hex))
}

fn is_ec2_instance_id(value: &str) -> bool {
    value.strip_prefix("i-").is_some_and(|hex| matches!(hex.len(), 8 | 17) && is_lower_hex(hex))
}

fn is_lower_hex(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = Invalid> + fmt::Display>(good: &[&str], bad: &[&str]) {
        for value in good {
            assert_eq!(value.parse::<T>().map(|id| id.to_string()), Ok((*value).to_owned()));
        }
        for value in bad {
            let error = value.parse::<T>().err().unwrap_or_else(|| panic!("{value:?} was accepted"));
            assert_eq!(error.got, *value);
        }
    }

    #[test]
    fn account_ids() {
        check::<AccountId>(
            &["222222222222", "000000000001"],
            &["", "22222222222", "2222222222222", "22222222222a", " 22222222222", "２２２２"],
        );
    }

    #[test]
    fn regions() {
        check::<Region>(
            &["us-east-1", "us-gov-west-1", "cn-northwest-1", "ap-southeast-7", "eusc-de-east-1"],
            &["", "us-east", "useast1", "us-east-1a", "US-EAST-1", "us--1", "-us-east-1", "us-east-"],
        );
        assert!(format!("us-{}-1", "a".repeat(40)).parse::<Region>().is_err());
    }

    #[test]
    fn managed_instance_ids() {
        check::<ManagedInstanceId>(
            &["mi-0123456789abcdef0"],
            &["", "mi-", "i-0123456789abcdef0", "mi-0123456789ABCDEF0", "mi-0123456789abcdef", "mi-0123456789abcdef01"],
        );
    }

    #[test]
    fn ec2_instance_ids() {
        check::<Ec2InstanceId>(
            &["i-01234567", "i-0123456789abcdef0"],
            &["", "i-", "mi-0123456789abcdef0", "i-0123456789abcdeg0", "i-012345678"],
        );
    }

    #[test]
    fn an_error_says_what_was_expected_and_what_came() {
        let error = "12".parse::<AccountId>().unwrap_err();
        assert_eq!(error.to_string(), "expected an account id of 12 digits, got \"12\"");
    }
}

//! The agent's configuration, read as Go reads it: names count in any case, and of several the last.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// What stands at a path; none if nothing does, or if the text is no JSON.
pub(crate) fn configuration_of(text: &str, path: &[&str]) -> Option<Value> {
    let Some((name, rest)) = path.split_first() else { return serde_json::from_str(text).ok() };
    let Members(members) = serde_json::from_str(text).ok()?;
    let found = members.iter().filter(|(member, _)| is_name(member, name));
    found.filter_map(|(_, value)| configuration_of(value.get(), rest)).next_back()
}

/// True if Go takes a name for that of a field.
pub(crate) fn is_name(name: &str, field: &str) -> bool {
    let folded = |text: &str| text.to_lowercase().to_uppercase();
    folded(name) == folded(field)
}

/// The members of an object, in their order.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

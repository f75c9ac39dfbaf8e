//! Checks a request body against a service model, and words what is wrong as AWS does.

use serde_json::Value;

use crate::aws_error::AwsError;
use crate::model::{Model, Shape};

/// Checks the input of an operation.
///
/// # Errors
/// `SerializationException` for a wrong type, else one `ValidationException` with all violations. An
/// unknown member, which AWS would ignore, is a violation too: here it is always a mistake.
pub(crate) fn input(model: &Model, operation: &str, body: &Value) -> Result<(), AwsError> {
    let Some(shape) = model.input(operation) else { return Ok(()) };
    let mut check = Check { model, violations: Vec::new() };
    check.value(shape, body, "").map_err(|wrong| AwsError::new(400, "SerializationException", wrong))?;
    match check.violations.len() {
        0 => Ok(()),
        count => {
            let noun = if count == 1 { "error" } else { "errors" };
            let message = format!("{count} validation {noun} detected: {}", check.violations.join("; "));
            Err(AwsError::new(400, "ValidationException", message))
        }
    }
}

struct Check<'a> {
    model: &'a Model,
    violations: Vec<String>,
}

impl Check<'_> {
    /// Fails with the text of a `SerializationException`.
    fn value(&mut self, shape: &Shape, value: &Value, at: &str) -> Result<(), String> {
        match (shape.kind.as_str(), value) {
            ("structure", Value::Object(_)) => self.structure(shape, value, at),
            ("list", Value::Array(items)) => {
                self.range(shape, items.len(), value, at);
                let Some(member) = shape.member.as_ref().and_then(|member| self.model.shape(member)) else {
                    return Ok(());
                };
                for (index, item) in items.iter().enumerate() {
                    self.value(member, item, &format!("{at}.{}.member", index + 1))?;
                }
                Ok(())
            }
            ("map", Value::Object(entries)) => {
                self.range(shape, entries.len(), value, at);
                for (key, entry) in entries {
                    if let Some(shape) = shape.key.as_ref().and_then(|key| self.model.shape(key)) {
                        self.value(shape, &Value::String(key.clone()), &format!("{at}.{key}.key"))?;
                    }
                    if let Some(shape) = shape.value.as_ref().and_then(|value| self.model.shape(value)) {
                        self.value(shape, entry, &format!("{at}.{key}.member"))?;
                    }
                }
                Ok(())
            }
            ("string", Value::String(text)) => {
                self.text(shape, text, at);
                Ok(())
            }
            ("integer" | "long", Value::Number(number)) if number.is_i64() || number.is_u64() => {
                self.number(shape, number.as_i64().unwrap_or(i64::MAX), at);
                Ok(())
            }
            ("float" | "double", Value::Number(_))
            | ("boolean", Value::Bool(_))
            | ("timestamp", Value::Number(_) | Value::String(_))
            | ("blob", Value::String(_)) => Ok(()),
            (kind, _) => Err(format!("{} can not be converted to {}", json_kind(value), java_kind(kind))),
        }
    }

    fn structure(&mut self, shape: &Shape, value: &Value, at: &str) -> Result<(), String> {
        for name in &shape.required {
            if value.get(name).is_none_or(Value::is_null) {
                self.violate("null", &join(at, name), "Member must not be null");
            }
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            if member.is_null() {
                continue;
            }
            let path = join(at, name);
            match shape.members.get(name).and_then(|reference| self.model.shape(reference)) {
                Some(shape) => self.value(shape, member, &path)?,
                None => self.violate(&quoted(member), &path, "Member must be one that the service model has"),
            }
        }
        Ok(())
    }

    /// Java counts UTF-16 units.
    fn text(&mut self, shape: &Shape, text: &str, at: &str) {
        let shown = format!("'{text}'");
        if !shape.values.is_empty() && !shape.values.iter().any(|value| value == text) {
            let set = format!("Member must satisfy enum value set: [{}]", shape.values.join(", "));
            self.violate(&shown, at, &set);
        }
        self.length(shape, text.encode_utf16().count(), &shown, at);
        if let Some(pattern) = &shape.pattern
            && !self.model.matches(pattern, text)
        {
            self.violate(&shown, at, &format!("Member must satisfy regular expression pattern: {pattern}"));
        }
    }

    fn range(&mut self, shape: &Shape, length: usize, value: &Value, at: &str) {
        self.length(shape, length, &quoted(value), at);
    }

    fn length(&mut self, shape: &Shape, length: usize, shown: &str, at: &str) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        if let Some(max) = shape.max().filter(|max| length > *max) {
            self.violate(shown, at, &format!("Member must have length less than or equal to {max}"));
        }
        if let Some(min) = shape.min().filter(|min| length < *min) {
            self.violate(shown, at, &format!("Member must have length greater than or equal to {min}"));
        }
    }

    fn number(&mut self, shape: &Shape, number: i64, at: &str) {
        let shown = format!("'{number}'");
        if let Some(max) = shape.max().filter(|max| number > *max) {
            self.violate(&shown, at, &format!("Member must have value less than or equal to {max}"));
        }
        if let Some(min) = shape.min().filter(|min| number < *min) {
            self.violate(&shown, at, &format!("Member must have value greater than or equal to {min}"));
        }
    }

    fn violate(&mut self, shown: &str, at: &str, constraint: &str) {
        self.violations.push(format!("Value {shown} at '{at}' failed to satisfy constraint: {constraint}"));
    }
}

/// `tags.1.member.key`: members start in lower case, list items count from 1.
fn join(at: &str, name: &str) -> String {
    let mut letters = name.chars();
    let name: String = letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect();
    if at.is_empty() { name } else { format!("{at}.{name}") }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{text}'"),
        other => format!("'{other}'"),
    }
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

fn java_kind(kind: &str) -> &'static str {
    match kind {
        "integer" | "long" => "an Integer",
        "float" | "double" => "a Double",
        "boolean" => "a Boolean",
        "list" => "a List",
        "map" => "a Map",
        "structure" => "a Structure",
        _ => "a String",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::tests::sample;

    fn check(operation: &str, body: &Value, expected: Result<(), (&str, &str)>) {
        let actual = input(&sample(), operation, body);
        let actual = actual.as_ref().map(|&()| ()).map_err(|error| (error.code.as_str(), error.message.as_str()));
        assert_eq!(actual, expected, "{body}");
    }

    fn tagging(tags: &Value) -> Value {
        json!({"ResourceType": "ManagedInstance", "ResourceId": "mi-1", "Tags": tags})
    }

    #[test]
    fn a_good_request_passes() {
        check("AddTagsToResource", &tagging(&json!([{"Key": "Env", "Value": ""}])), Ok(()));
        check("AddTagsToResource", &tagging(&json!([])), Ok(()));
        check("DescribeInstanceInformation", &json!({"MaxResults": 5, "NextToken": null}), Ok(()));
    }

    #[test]
    fn all_violations_come_in_one_error() {
        let body = tagging(&json!([{"Key": "a#b", "Value": "123456789"}, {"Key": ""}]));
        check(
            "AddTagsToResource",
            &body,
            Err((
                "ValidationException",
                "4 validation errors detected: \
                 Value 'a#b' at 'tags.1.member.key' failed to satisfy constraint: \
                 Member must satisfy regular expression pattern: ^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)$; \
                 Value '123456789' at 'tags.1.member.value' failed to satisfy constraint: \
                 Member must have length less than or equal to 8; \
                 Value null at 'tags.2.member.value' failed to satisfy constraint: Member must not be null; \
                 Value '' at 'tags.2.member.key' failed to satisfy constraint: \
                 Member must have length greater than or equal to 1",
            )),
        );
    }

    #[test]
    fn one_violation_is_singular() {
        check(
            "DescribeInstanceInformation",
            &json!({"MaxResults": 51}),
            Err((
                "ValidationException",
                "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: \
                 Member must have value less than or equal to 50",
            )),
        );
    }

    #[test]
    fn enum_length_and_unknown_members() {
        let tag = json!({"Key": "k", "Value": "v"});
        let body = json!({"ResourceType": "Node", "ResourceId": "mi-1", "Tags": [tag, tag, tag], "Extra": 1});
        let error = input(&sample(), "AddTagsToResource", &body).unwrap_err();
        for part in [
            "3 validation errors detected",
            "Value 'Node' at 'resourceType' failed to satisfy constraint: Member must satisfy enum value set: [Document, ManagedInstance]",
            "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 2",
            "Value '1' at 'extra' failed",
        ] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    #[test]
    fn a_wrong_type_is_a_serialization_exception() {
        check(
            "DescribeInstanceInformation",
            &json!({"MaxResults": "5"}),
            Err(("SerializationException", "STRING_VALUE can not be converted to an Integer")),
        );
    }

    #[test]
    fn length_counts_utf16_units() {
        let fits = "\u{20000}".repeat(4);
        check("AddTagsToResource", &tagging(&json!([{"Key": fits, "Value": ""}])), Ok(()));
        let error =
            input(&sample(), "AddTagsToResource", &tagging(&json!([{"Key": "\u{20000}".repeat(5), "Value": ""}])));
        assert!(error.unwrap_err().message.contains("less than or equal to 8"));
    }
}

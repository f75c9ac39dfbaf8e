//! Attribute values: `{"S": "text"}` and so on.

use std::cmp::Ordering;

use serde_json::Value;

use super::invalid;
use crate::aws_error::AwsError;

/// The type and the content of a value.
pub(super) fn parts(attribute: &Value) -> Option<(&str, &Value)> {
    let (kind, content) = attribute.as_object()?.iter().next()?;
    Some((kind, content))
}

/// Refuses what has not exactly one type, and numbers that are none.
pub(super) fn check(attribute: &Value) -> Result<(), AwsError> {
    let count = attribute.as_object().map_or(0, serde_json::Map::len);
    let Some((kind, content)) = parts(attribute).filter(|_| count == 1) else {
        let problem = if count == 0 {
            "empty, must contain exactly one of the supported datatypes"
        } else {
            "has more than one datatypes set, must contain exactly one of the supported datatypes"
        };
        return Err(invalid(match count {
            0 => format!("Supplied AttributeValue is {problem}"),
            _ => format!("Supplied AttributeValue {problem}"),
        }));
    };
    match (kind, content) {
        ("N", Value::String(text)) => check_number(text),
        ("NS", Value::Array(texts)) => texts.iter().filter_map(Value::as_str).try_for_each(check_number),
        ("L", Value::Array(values)) => values.iter().try_for_each(check),
        ("M", Value::Object(values)) => values.values().try_for_each(check),
        _ => Ok(()),
    }
}

fn check_number(text: &str) -> Result<(), AwsError> {
    let is_number = text.parse::<f64>().is_ok_and(f64::is_finite) && !text.contains(['i', 'n', 'I', 'N']);
    if is_number {
        Ok(())
    } else {
        Err(invalid(format!("The parameter cannot be converted to a numeric value: {text}")))
    }
}

/// How one value stands to another of the same type; nothing for two types, or a type that has no order.
pub(super) fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    let ((kind, one), (other_kind, other)) = (parts(one)?, parts(other)?);
    if kind != other_kind {
        return None;
    }
    let (one, other) = (one.as_str()?, other.as_str()?);
    match kind {
        // DynamoDB orders strings by their UTF-8 bytes, as Rust does.
        "S" => Some(one.cmp(other)),
        "N" => match (one.parse::<i128>(), other.parse::<i128>()) {
            (Ok(one), Ok(other)) => Some(one.cmp(&other)),
            _ => one.parse::<f64>().ok()?.partial_cmp(&other.parse().ok()?),
        },
        _ => None,
    }
}

/// How many bytes a value takes, about as the developer guide counts them.
pub(super) fn size(attribute: &Value) -> usize {
    match parts(attribute) {
        Some(("S" | "B", Value::String(text))) => text.len(),
        Some(("N", Value::String(text))) => text.len().div_ceil(2) + 1,
        Some(("SS" | "NS" | "BS", Value::Array(texts))) => texts.iter().filter_map(Value::as_str).map(str::len).sum(),
        Some(("L", Value::Array(values))) => 3 + values.iter().map(|value| 1 + size(value)).sum::<usize>(),
        Some(("M", Value::Object(values))) => {
            3 + values.iter().map(|(name, value)| 1 + name.len() + size(value)).sum::<usize>()
        }
        _ => 1,
    }
}

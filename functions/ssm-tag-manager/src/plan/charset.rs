//! What Systems Manager takes as a tag key or value.
//!
//! `TagKey` is 1 to 128 and `TagValue` 0 to 256 characters of `[\p{L}\p{Z}\p{N}_.:/=+\-@]`:
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_Tag.html>. EC2 takes any character.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

const MAX_KEY_UNITS: usize = 128;
const MAX_VALUE_UNITS: usize = 256;

/// True for a character that a tag key or value may hold.
pub(super) fn is_allowed(c: char) -> bool {
    matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
        || matches!(
            c.general_category_group(),
            GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number | GeneralCategoryGroup::Separator
        )
}

/// The text with `_` for every character that is not allowed.
pub(super) fn replace(text: &str) -> String {
    text.chars().map(|c| if is_allowed(c) { c } else { '_' }).collect()
}

/// True where both key and value hold allowed characters alone.
pub(super) fn fits_characters(key: &str, value: &str) -> bool {
    key.chars().chain(value.chars()).all(is_allowed)
}

/// True where key and value have an allowed length.
///
/// AWS does not say whether it counts code points or UTF-16 units. Units are never fewer, so what fits here
/// fits there.
pub(super) fn fits_length(key: &str, value: &str) -> bool {
    let units = |text: &str| text.encode_utf16().count();
    (1..=MAX_KEY_UNITS).contains(&units(key)) && units(value) <= MAX_VALUE_UNITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_characters_of_the_model() {
        for c in ['a', 'Ж', '日', '9', '½', ' ', '\u{a0}', '\u{2028}', '_', '.', ':', '/', '=', '+', '-', '@', 'é']
        {
            assert!(is_allowed(c), "{c:?}");
        }
        for c in [
            ',', '(', '#', '*', ';', '&', '"', '\'', '|', '\\', '?', '!', '%', '$', '~', '^', '<', '`', '\t', '\n',
            '\u{301}', '😀', '€',
        ] {
            assert!(!is_allowed(c), "{c:?}");
        }
    }

    #[test]
    fn lengths_are_counted_in_utf_16_units() {
        assert!(fits_length("k", ""));
        assert!(!fits_length("", "v"));
        assert!(fits_length(&"k".repeat(128), &"v".repeat(256)));
        assert!(!fits_length(&"k".repeat(129), ""));
        assert!(!fits_length("k", &"v".repeat(257)));
        assert!(fits_length(&"𝒳".repeat(64), ""));
        assert!(!fits_length(&"𝒳".repeat(65), ""));
    }
}

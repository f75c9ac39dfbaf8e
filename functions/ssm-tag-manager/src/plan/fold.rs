//! Which tag keys are one key to whoever targets by them.
//!
//! Keys that differ only in case, or in white space that nobody sees or can tell from other white space, look the same
//! in a console. A blank inside a key counts: `Patch Group` and `PatchGroup` are two keys.

/// What a key looks like. Two keys look alike if they have one of the two in common.
///
/// The letters that print as nothing (such as U+3164) look like a blank in some fonts and like nothing in others, so
/// that a key with one looks like two others.
pub(super) fn looks(key: &str) -> [String; 2] {
    [look(key, Some(' ')), look(key, None)]
}

fn look(key: &str, filler: Option<char>) -> String {
    let visible: String = key.chars().filter_map(|c| if is_filler(c) { filler } else { Some(c) }).collect();
    let words: Vec<&str> = visible.split(is_blank).filter(|word| !word.is_empty()).collect();
    // Upper case first: some letters share only that one, such as the long and the round s.
    words.join(" ").to_uppercase().to_lowercase()
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{2800}'
}

/// Characters that print as nothing, or as a blank of any width: Hangul fillers, soft hyphens, joiners, marks of
/// direction, variation selectors and tags.
/// See `Default_Ignorable_Code_Point` in <https://www.unicode.org/reports/tr44/>.
fn is_filler(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(a: &str, b: &str) -> bool {
        looks(a).iter().any(|look| looks(b).contains(look))
    }

    #[test]
    fn case_and_white_space_that_nobody_sees_make_no_difference() {
        for other in [
            "env",
            "ENV",
            "Env ",
            " Env",
            "Env\u{a0}",
            "Env\u{3000}",
            "\u{3164}Env",
            "Env\u{3164}",
            "En\u{3164}v",
            "En\u{200b}v",
            "Env\u{feff}",
            "E\u{ad}nv",
            "Env\u{2800}",
            "Env\u{2003}\u{205f}",
            "Env\u{e0020}",
        ] {
            assert!(alike("Env", other), "{other:?}");
        }
        assert!(alike("Patch Group", "patch\u{a0} group") && alike("Patch Group", "Patch\u{3164}Group"));
        assert!(alike("STRASSE", "straße") && alike("ſtage", "Stage") && alike("\u{212a}ey", "key"));
    }

    #[test]
    fn what_anybody_sees_is_a_difference() {
        for (a, b) in [("Patch Group", "PatchGroup"), ("Env", "Envs"), ("a:b", "a b"), ("é", "e"), ("a", "")] {
            assert!(!alike(a, b), "{a:?} {b:?}");
        }
    }
}

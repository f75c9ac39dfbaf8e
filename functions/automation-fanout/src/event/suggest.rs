//! The nearest known word to one that is not known.

/// Words that are further apart than this, for every three letters one, have nothing to do with each other.
const LETTERS_PER_EDIT: usize = 3;

/// The nearest of `known`, or all of them where none is near.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("expected one of {}", known.join(", ")),
    }
}

/// The nearest of `known`, where one is near.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
    let near = known.iter().min_by_key(|candidate| distance(candidate))?;
    (distance(near) * LETTERS_PER_EDIT <= near.len().max(LETTERS_PER_EDIT)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_named_where_one_is_near() {
        let known = ["Start", "Status", "Stop", "TargetLocations", "TargetLocationsURL"];
        for (word, expected) in [
            ("start", Some("Start")),
            ("Strat", Some("Start")),
            ("Stpo", Some("Stop")),
            ("TargetLocation", Some("TargetLocations")),
            ("targetLocationsUrl", Some("TargetLocationsURL")),
            ("Frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        assert_eq!(did_you_mean("x", &["Cancel", "Complete"]), "expected one of Cancel, Complete");
    }
}

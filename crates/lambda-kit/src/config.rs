//! Reading a configuration: every problem is collected, not just the first.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

const NAME_PREFIX: &str = "NAME_PREFIX";
/// The most that leaves the longest name of the hub within its limit.
const NAME_PREFIX_LENGTH: usize = 16;

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

/// Reads environment variables through a lookup, and collects what is wrong with them.
///
/// White space around a value does not count, and an empty value is an absent one: CloudFormation cannot leave a
/// variable out without a condition. Each method answers with `None` if it recorded a problem.
#[derive(Debug)]
pub struct Reader<L> {
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    /// A reader over `lookup`, which gives the value of an environment variable.
    pub fn new(lookup: L) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// The value of a variable, whatever it is. None if it is absent.
    pub fn value(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    /// A value that must be there. `parse` answers with `None` if the value is not what was `expected`.
    pub fn required<T>(&mut self, name: &str, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = self.value(name);
        let parsed = value.as_deref().and_then(parse);
        if parsed.is_none() {
            self.problem(name, format_args!("expected {expected}, got {}", Got(value.as_deref())));
        }
        parsed
    }

    /// A whole number in a range, or the default.
    pub fn number<N>(&mut self, name: &str, range: RangeInclusive<N>, default: N) -> Option<N>
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(value) = self.value(name) else { return Some(default) };
        let number = value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            self.problem(name, format_args!("expected a number from {low} to {high}, got {value:?}"));
        }
        number
    }

    /// What one of these words stands for. The first one is the default.
    pub fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let Some(value) = self.value(name) else { return words.first().map(|(_, meaning)| *meaning) };
        let known = words.iter().find(|(word, _)| *word == value);
        if known.is_none() {
            self.problem(name, format_args!("expected {}, got {value:?}", Choice(words)));
        }
        known.map(|(_, meaning)| *meaning)
    }

    /// The items of a comma-separated list in their order, each once. None if the variable is absent, too.
    ///
    /// An item that cannot be parsed is left out and recorded.
    pub fn list<T: FromStr<Err: Display> + PartialEq>(&mut self, name: &str) -> Option<Vec<T>> {
        let mut items = Vec::new();
        for item in self.value(name)?.split(',') {
            match item.trim().parse() {
                Ok(item) if items.contains(&item) => {}
                Ok(item) => items.push(item),
                Err(error) => self.problem(name, error),
            }
        }
        Some(items)
    }

    /// The prefix of a hub's names, `NAME_PREFIX`: none, or lowercase letters, digits, and hyphens that begin with a letter
    /// and end with a hyphen, such as `test-`. The templates take no other.
    pub fn name_prefix(&mut self) -> Option<String> {
        let prefix = self.value(NAME_PREFIX).unwrap_or_default();
        if is_name_prefix(&prefix) {
            return Some(prefix);
        }
        let most = NAME_PREFIX_LENGTH;
        self.problem(
            NAME_PREFIX,
            format_args!("expected a prefix of at most {most} characters such as test-, got {prefix:?}"),
        );
        None
    }

    /// Records a problem with a variable.
    pub fn problem(&mut self, name: &str, problem: impl Display) {
        self.problems.push(format!("{name}: {problem}"));
    }

    /// The configuration, unless there was a problem. `config` answers with `None` only if a value is missing, which
    /// was then recorded.
    ///
    /// # Errors
    /// All problems, in the order in which they were found.
    pub fn finish<C>(self, config: impl FnOnce() -> Option<C>) -> Result<C, ConfigError> {
        let is_valid = self.problems.is_empty();
        config().filter(|_| is_valid).ok_or(ConfigError(self.problems))
    }
}

/// A parser for [`Reader::required`] that takes the text as it is, if it is valid.
pub fn text(is_valid: impl FnOnce(&str) -> bool) -> impl FnOnce(&str) -> Option<String> {
    |value| is_valid(value).then(|| value.to_owned())
}

fn is_name_prefix(prefix: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
    let is_one = prefix.starts_with(|first: char| first.is_ascii_lowercase())
        && prefix.ends_with('-')
        && prefix.len() <= NAME_PREFIX_LENGTH
        && prefix.bytes().all(is_letter);
    prefix.is_empty() || is_one
}

/// A value that came, or the lack of one.
struct Got<'a>(Option<&'a str>);

impl Display for Got<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:?}"),
            None => f.write_str("nothing"),
        }
    }
}

/// Words to choose from: `a, b or c`.
struct Choice<'a, T>(&'a [(&'a str, T)]);

impl<T> Display for Choice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (word, _)) in self.0.iter().enumerate() {
            match index {
                0 => {}
                _ if index + 1 == self.0.len() => f.write_str(" or ")?,
                _ => f.write_str(", ")?,
            }
            f.write_str(word)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

    /// Reads the value of the variable `V`, and answers with what was read and what was recorded.
    fn read<T>(
        value: Option<&str>,
        read: impl FnOnce(&mut Reader<Lookup<'_>>) -> Option<T>,
    ) -> (Option<T>, Vec<String>) {
        let lookup = |name: &str| value.filter(|_| name == "V").map(str::to_owned);
        let mut reader = Reader::new(&lookup as Lookup<'_>);
        (read(&mut reader), reader.problems)
    }

    #[test]
    fn a_required_value_is_trimmed_and_parsed() {
        let is_lower = |value: &str| value.bytes().all(|byte| byte.is_ascii_lowercase());
        let required = |value| read(value, |reader| reader.required("V", "a lowercase word", text(is_lower)));
        assert_eq!(required(Some(" word\n")), (Some("word".to_owned()), vec![]));
        assert_eq!(required(Some("Word")), (None, vec!["V: expected a lowercase word, got \"Word\"".to_owned()]));
        for absent in [None, Some(""), Some("  ")] {
            assert_eq!(required(absent), (None, vec!["V: expected a lowercase word, got nothing".to_owned()]));
        }
    }

    #[test]
    fn a_number_is_in_its_range_or_the_default() {
        let number = |value| read(value, |reader| reader.number("V", 2_u16..=30, 7));
        assert_eq!(number(None), (Some(7), vec![]));
        assert_eq!(number(Some("2")), (Some(2), vec![]));
        assert_eq!(number(Some(" 30 ")), (Some(30), vec![]));
        for value in ["1", "31", "-3", "3.0", "three", "70000"] {
            let problem = format!("V: expected a number from 2 to 30, got {value:?}");
            assert_eq!(number(Some(value)), (None, vec![problem]));
        }
    }

    #[test]
    fn a_word_stands_for_a_value() {
        let word = |value| read(value, |reader| reader.word("V", &[("off", 0), ("dry-run", 1), ("on", 2)]));
        assert_eq!(word(None), (Some(0), vec![]));
        assert_eq!(word(Some("on")), (Some(2), vec![]));
        assert_eq!(word(Some("On")), (None, vec!["V: expected off, dry-run or on, got \"On\"".to_owned()]));
        let (_, problems) = read(Some("maybe"), |reader| reader.word("V", &[("yes", true), ("no", false)]));
        assert_eq!(problems, ["V: expected yes or no, got \"maybe\""]);
    }

    #[test]
    fn a_list_keeps_its_order_and_each_item_once() {
        let list = |value| read(value, |reader| reader.list::<u8>("V"));
        assert_eq!(list(None), (None, vec![]));
        assert_eq!(list(Some(" 3,1 , 3,2")), (Some(vec![3, 1, 2]), vec![]));
        let (items, problems) = list(Some("1,x,,2"));
        assert_eq!((items, problems.len()), (Some(vec![1, 2]), 2));
        assert!(problems.iter().all(|problem| problem.starts_with("V: ")), "{problems:?}");
    }

    #[test]
    fn every_problem_is_in_the_error_and_none_gets_past_it() {
        let mut reader = Reader::new(|_: &str| Some("x".to_owned()));
        let number = reader.number("A", 1..=2, 1);
        reader.problem("B", "does not go with A");
        let error = reader.finish(|| Some(number)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid configuration: A: expected a number from 1 to 2, got \"x\"; B: does not go with A"
        );
        assert_eq!(Reader::new(|_: &str| None).finish(|| Some(1)), Ok(1));
    }
}

//! What is wrong with a request: a place and what was expected there.

use std::fmt;

/// How many problems a refusal spells out.
const LISTED_MAX: usize = 100;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place, such as `TargetLocations[0].Regions[1]`, or `event` for the whole.
    pub path: String,
    /// What was expected, and what came.
    pub text: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: impl fmt::Display, text: impl Into<String>) -> Self {
        Self { path: path.to_string(), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)
    }
}

/// All problems in one line.
pub fn listed(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(LISTED_MAX).map(Problem::to_string).collect();
    if problems.len() > LISTED_MAX {
        lines.push(format!("and {} more", problems.len() - LISTED_MAX));
    }
    lines.join("; ")
}

/// A place in a JSON document, written only where there is something to say about it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("event"),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

//! What is wrong, link by link, with the remedy.

use serde::Serialize;
use serde_json::{Value, json};

use super::time::counted;
use crate::terminal::{Sign, Stream, harmless};

/// A link of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    name: &'static str,
    state: State,
    words: String,
    remedy: Option<String>,
}

/// How a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// In order.
    Fine,
    /// Worth a look.
    Look,
    /// Broken.
    Broken,
    /// Not looked at.
    NotChecked,
}

impl Link {
    /// A link in order.
    pub fn fine(name: &'static str, words: impl Into<String>) -> Self {
        Self { name, state: State::Fine, words: words.into(), remedy: None }
    }

    /// A link that is worth a look.
    pub fn look(name: &'static str, words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Look, words: words.into(), remedy: Some(remedy.into()) }
    }

    /// A broken link.
    pub fn broken(name: &'static str, words: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Broken, words: words.into(), remedy: Some(remedy.into()) }
    }

    /// A link that was not looked at, and why.
    pub fn not_checked(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, state: State::NotChecked, words: why.into(), remedy: None }
    }

    /// True if what hangs on it cannot work.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }
}

/// The links that were walked.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    links: Vec<Link>,
}

impl Chain {
    /// Adds a link; false if it is broken, so that what hangs on it is not guessed at.
    pub fn add(&mut self, link: Link) -> bool {
        let holds = !link.is_broken();
        self.links.push(link);
        holds
    }

    /// True if every link was looked at and none is broken.
    pub fn is_proved(&self) -> bool {
        self.links.iter().all(|link| !matches!(link.state, State::Broken | State::NotChecked))
    }

    /// How many links are broken.
    pub fn broken(&self) -> usize {
        self.count(State::Broken)
    }

    fn count(&self, state: State) -> usize {
        self.links.iter().filter(|link| link.state == state).count()
    }

    /// For people; `again` is the command that looks once more.
    pub fn text(&self, again: &str, stream: &Stream) -> String {
        let width = self.links.iter().map(|link| link.name.len()).max().unwrap_or_default();
        let indent = " ".repeat(width + 4);
        let mut text = String::new();
        for link in &self.links {
            let sign = match link.state {
                State::Fine => Sign::Good,
                State::Look => Sign::Look,
                State::Broken => Sign::Bad,
                State::NotChecked => Sign::Waiting,
            };
            let mark = stream.mark(sign, &format!("{:width$}", link.name));
            text.push_str(&format!("{mark}  {}\n", harmless(&link.words)));
            for line in link.remedy.iter().flat_map(|remedy| remedy.lines()) {
                text.push_str(&format!("{indent}{}\n", harmless(line)));
            }
        }
        let last = match (self.broken(), self.count(State::NotChecked)) {
            (0, 0) => stream.mark(Sign::Good, "nothing is broken"),
            (0, open) => {
                let words = format!("{} not checked; nothing else is broken", counted(open, "link"));
                stream.mark(Sign::Waiting, &words)
            }
            (count, _) => {
                let it = if count == 1 { "it" } else { "them" };
                let words = format!("{}. Fix {it}, then run {again} again.", counted(count, "broken link"));
                stream.mark(Sign::Bad, &words)
            }
        };
        format!("{text}{last}\n")
    }

    /// In a pipe: a line for each link, separated by tabs.
    pub fn tabs(&self) -> String {
        let line = |link: &Link| {
            let state = json!(link.state);
            let remedy = link.remedy.as_deref().map_or_else(|| "-".to_owned(), |remedy| remedy.replace('\n', " "));
            format!(
                "{}\t{}\t{}\t{}\n",
                link.name,
                state.as_str().unwrap_or_default(),
                harmless(&link.words),
                harmless(&remedy)
            )
        };
        self.links.iter().map(line).collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({"schema": "taghub.doctor/1", "broken": self.broken(), "links": self.links})
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::tests::stream;
    use super::*;

    #[test]
    fn a_chain_is_shown_link_by_link() {
        let mut chain = Chain::default();
        assert!(chain.add(Link::fine("grant", "alias agency-555555555555")));
        assert!(!chain.add(Link::broken(
            "activation",
            "none is valid",
            "Run activation-issuer,\nand look at its log."
        )));
        assert!(chain.add(Link::look("nodes", "none", "Register an instance.")));
        chain.add(Link::not_checked("registration", "waits for the activation"));
        insta::assert_snapshot!(chain.text("taghub doctor --agency Parks", &stream(80)), @r"
        ✓ grant         alias agency-555555555555
        ✗ activation    none is valid
                        Run activation-issuer,
                        and look at its log.
        ! nodes         none
                        Register an instance.
        · registration  waits for the activation
        ✗ 1 broken link. Fix it, then run taghub doctor --agency Parks again.
        ");
        insta::assert_snapshot!(chain.tabs().replace('\t', "|"), @r"
        grant|fine|alias agency-555555555555|-
        activation|broken|none is valid|Run activation-issuer, and look at its log.
        nodes|look|none|Register an instance.
        registration|not-checked|waits for the activation|-
        ");
        assert_eq!(chain.json()["broken"], 1);
    }

    #[test]
    fn what_was_not_checked_is_not_told_as_in_order() {
        let mut chain = Chain::default();
        chain.add(Link::fine("hub", "version 0.2.0"));
        assert!(chain.text("taghub doctor", &stream(80)).ends_with("✓ nothing is broken\n"));
        chain.add(Link::not_checked("alarms", "not read: AccessDenied"));
        assert!(chain.text("taghub doctor", &stream(80)).ends_with("· 1 link not checked; nothing else is broken\n"));
    }
}

//! Client tokens: the same part of the same request has the same token, whenever it is sent.

use uuid::Uuid;

/// Made once, for these tokens alone.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_9f0a_5c0e_4b7b_9a51_3c8e_27d4_b0f2);

/// What the tokens of one plan are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSource {
    /// The caller's idempotency key, or what stands in for it.
    pub key: String,
    /// The execution that is resumed.
    pub resumes: Option<String>,
    /// The wave of a campaign that is started.
    pub wave: Option<WaveMark>,
}

/// What the starts of a wave have in common with those of all waves of its campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveMark {
    /// The name of the campaign.
    pub campaign: String,
    /// A digest of the whole campaign.
    pub digest: String,
    /// Whether the campaign begins with this wave.
    pub is_first: bool,
}

impl TokenSource {
    /// The tokens of a start under a key.
    pub fn of(key: impl Into<String>) -> Self {
        Self { key: key.into(), resumes: None, wave: None }
    }

    /// The token of the part with this number: a UUID of version 5.
    ///
    /// The contents of the part are left out on purpose: if another request comes under the same key, the
    /// service sees the same token with other contents and refuses it, and nothing is started twice. The tag of
    /// `request_tags` makes the contents of every part differ then.
    ///
    /// The first part of a campaign has a token made of the campaign's name alone. So the service refuses another campaign
    /// of the same name, whatever it calls its waves.
    pub fn token(&self, part: usize) -> String {
        let (scope, key) = match &self.wave {
            Some(wave) if wave.is_first && part == 0 => ("campaign", &wave.campaign),
            _ => (self.resumes.as_deref().unwrap_or("start"), &self.key),
        };
        // The key comes last, so that it may hold any character.
        Uuid::new_v5(&NAMESPACE, format!("{scope}/{part}/{key}").as_bytes()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(key: &str, resumes: Option<&str>) -> TokenSource {
        TokenSource { resumes: resumes.map(str::to_owned), ..TokenSource::of(key) }
    }

    fn wave(campaign: &str, wave: &str, is_first: bool) -> TokenSource {
        let mark = WaveMark { campaign: campaign.to_owned(), digest: String::new(), is_first };
        TokenSource { wave: Some(mark), ..source(&format!("{campaign}/{wave}"), None) }
    }

    #[test]
    fn a_campaign_begins_with_a_token_of_its_name_alone() {
        assert_eq!(wave("c", "one", true).token(0), wave("c", "first", true).token(0));
        assert_ne!(wave("c", "one", true).token(0), wave("d", "one", true).token(0));
        assert_ne!(wave("c", "one", true).token(0), source("c", None).token(0));
        for other in [wave("c", "one", true).token(1), wave("c", "two", false).token(0)] {
            assert_ne!(other, wave("c", "one", true).token(0));
        }
        assert_eq!(wave("c", "one", true).token(1), source("c/one", None).token(1));
        assert_eq!(wave("c", "two", false).token(0), source("c/two", None).token(0));
    }

    #[test]
    fn tokens_differ_by_key_part_and_resumed_execution_and_by_nothing_else() {
        let token = source("patch-2026-11", None).token(0);
        assert_eq!(token, source("patch-2026-11", None).token(0));
        assert_eq!(Uuid::parse_str(&token).unwrap().get_version_num(), 5);
        let others = [
            source("patch-2026-11", None).token(1),
            source("patch-2026-12", None).token(0),
            source("patch-2026-11", Some("4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE")).token(0),
            source("1/patch-2026-11", None).token(0),
        ];
        assert!(!others.contains(&token));
        assert_eq!(token, "43dffcac-cd63-5484-bdf9-f7c5ca1ce3e8");
    }
}

//! The tag that ties every start to the whole request, or the whole campaign, that it is a part of.

use std::fmt::Write as _;

use hub::Tag;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::request::StartRequest;
use super::token::TokenSource;

/// On an execution: a digest of the request that it was started for, and a mark of the key.
pub const REQUEST_TAG_KEY: &str = "tag-hub:request";

/// Hexadecimal digits: 160 bits of the request, 64 of the key.
const REQUEST_DIGITS: usize = 40;
const KEY_DIGITS: usize = 16;

/// Makes the tags of the parts of a request, which are told in [`StartTag`].
///
/// With it the service sees another request under a client token that was used, also where the part itself is the
/// same, and refuses it.
pub(super) fn request_tags(tokens: &TokenSource, request: &StartRequest) -> impl Fn(usize) -> Tag {
    let mark = key_mark(&tokens.key);
    let digest = || digest(&StartRequest { client_token: None, ..request.clone() });
    let (before, has_parts) = match &tokens.wave {
        Some(wave) => (format!("{}.{}", wave.digest, key_mark(&wave.campaign)), true),
        None => (digest(), tokens.resumes.is_some()),
    };
    move |part| {
        let value = if has_parts { format!("{before}.{part}.{mark}") } else { format!("{before}.{mark}") };
        Tag { key: REQUEST_TAG_KEY.to_owned(), value }
    }
}

/// What the tag of a start tells: `<digest of the whole request>.<mark of the key>`. What is looked for later has the
/// number of its part too: a resumption as `<digest>.<part>.<mark of the key>`, and a start of a campaign as
/// `<digest of the whole campaign>.<mark of its name>.<part>.<mark of the key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartTag {
    /// The digest of the whole request, or of the whole campaign.
    pub digest: String,
    /// The number of the part, where it is told.
    pub part: Option<usize>,
    campaign_mark: Option<String>,
    /// The mark of the key.
    pub key_mark: String,
}

impl StartTag {
    /// Reads the value of a tag.
    pub fn parse(value: &str) -> Option<Self> {
        let fields: Vec<&str> = value.split('.').collect();
        let (digest, campaign, part, mark) = match fields.as_slice() {
            [digest, mark] => (digest, None, None, mark),
            [digest, part, mark] => (digest, None, Some(part.parse().ok()?), mark),
            [digest, campaign, part, mark] => (digest, Some((*campaign).to_owned()), Some(part.parse().ok()?), mark),
            _ => return None,
        };
        Some(Self { digest: (*digest).to_owned(), part, campaign_mark: campaign, key_mark: (*mark).to_owned() })
    }

    /// Whether the start was made under this key.
    pub fn is_of_key(&self, key: &str) -> bool {
        self.key_mark == key_mark(key)
    }

    /// Whether the start was made for a campaign.
    pub fn is_of_a_campaign(&self) -> bool {
        self.campaign_mark.is_some()
    }

    /// Whether the start was made for a campaign of this name.
    pub fn is_of_campaign(&self, name: &str) -> bool {
        self.campaign_mark.as_ref().is_some_and(|mark| *mark == key_mark(name))
    }
}

/// A digest of what can be written as JSON.
pub fn digest(value: &impl Serialize) -> String {
    // What cannot be written as JSON cannot be sent either; there is no such request.
    hex(&serde_json::to_vec(value).unwrap_or_default(), REQUEST_DIGITS)
}

/// What the tag of every execution under a key ends in, so that they can be found again.
pub fn key_mark(key: &str) -> String {
    hex(key.as_bytes(), KEY_DIGITS)
}

fn hex(bytes: &[u8], digits: usize) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter().take(digits / 2).fold(String::with_capacity(digits), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::request::TargetLocation;
    use crate::plan::token::WaveMark;

    fn request(accounts: &[&str]) -> StartRequest {
        let accounts = accounts.iter().map(|account| (*account).to_owned()).collect();
        let location = TargetLocation { accounts, regions: vec!["us-east-1".to_owned()], ..TargetLocation::default() };
        StartRequest { document_name: "Patch".to_owned(), target_locations: vec![location], ..StartRequest::default() }
    }

    #[test]
    fn the_tag_of_a_wave_names_the_campaign_the_part_and_the_key() {
        let wave = WaveMark { campaign: "c".to_owned(), digest: "d".repeat(REQUEST_DIGITS), is_first: true };
        let tokens = TokenSource { wave: Some(wave), ..TokenSource::of("c/one") };
        let tag = request_tags(&tokens, &request(&["111111111111"]))(12).value;
        let read = StartTag::parse(&tag).unwrap();
        assert_eq!((read.part, read.digest.len()), (Some(12), REQUEST_DIGITS));
        assert!(read.is_of_key("c/one") && !read.is_of_key("c/two"));
        assert!(read.is_of_a_campaign() && read.is_of_campaign("c") && !read.is_of_campaign("d"));
        let plain = TokenSource { wave: None, ..tokens };
        for (resumes, part) in [(None, None), (Some("4f7ca192-7e9a-40fe-9192-5cb15EXAMPLE".to_owned()), Some(12))] {
            let tokens = TokenSource { resumes, ..plain.clone() };
            let read = StartTag::parse(&request_tags(&tokens, &request(&["111111111111"]))(12).value).unwrap();
            assert_eq!((read.part, read.is_of_key("c/one"), read.is_of_campaign("c")), (part, true, false));
        }
        for other in ["", "x", "a.b.c", "a.b.c.d", "a.b.1.d.e"] {
            assert_eq!(StartTag::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_tag_follows_the_whole_request_and_the_key_and_nothing_else() {
        let request_tag = |key: &str, request: &StartRequest| request_tags(&TokenSource::of(key), request)(0);
        let tag = request_tag("key", &request(&["111111111111"]));
        assert_eq!((tag.key.as_str(), tag.value.len()), (REQUEST_TAG_KEY, REQUEST_DIGITS + 1 + KEY_DIGITS));
        assert!(tag.value.ends_with(&key_mark("key")));
        let with_token = StartRequest { client_token: Some("x".to_owned()), ..request(&["111111111111"]) };
        assert_eq!(tag, request_tag("key", &with_token));
        assert_ne!(tag, request_tag("key", &request(&["111111111111", "222222222222"])));
        let other = request_tag("other", &request(&["111111111111"]));
        assert_eq!(tag.value.split('.').next(), other.value.split('.').next());
        assert_ne!(tag, other);
    }
}

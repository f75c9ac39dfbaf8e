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

/// Makes the tags of the parts of a request: `<digest of the whole request>.<mark of the key>`. In a campaign it is
/// `<digest of the whole campaign>.<mark of its name>.<number of the part>.<mark of the key>`.
///
/// With it the service sees another request under a client token that was used, also where the part itself is the
/// same, and refuses it.
pub(super) fn request_tags(tokens: &TokenSource, request: &StartRequest) -> impl Fn(usize) -> Tag {
    let mark = key_mark(&tokens.key);
    let (before, has_parts) = match &tokens.wave {
        Some(wave) => (format!("{}.{}", wave.digest, key_mark(&wave.campaign)), true),
        None => (digest(&StartRequest { client_token: None, ..request.clone() }), false),
    };
    move |part| {
        let value = if has_parts { format!("{before}.{part}.{mark}") } else { format!("{before}.{mark}") };
        Tag { key: REQUEST_TAG_KEY.to_owned(), value }
    }
}

/// What a tag of a campaign's start tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveTag {
    /// The digest of the whole campaign.
    pub digest: String,
    /// The number of the part.
    pub part: usize,
    key_mark: String,
}

impl WaveTag {
    /// Reads the value of a tag; none where it is not of this campaign.
    pub fn of_campaign(value: &str, name: &str) -> Option<Self> {
        let [digest, campaign, part, mark] = value.split('.').collect::<Vec<_>>().try_into().ok()?;
        let part = part.parse().ok().filter(|_| campaign == key_mark(name))?;
        Some(Self { digest: digest.to_owned(), part, key_mark: mark.to_owned() })
    }

    /// Whether the start was made under this key.
    pub fn is_of_key(&self, key: &str) -> bool {
        self.key_mark == key_mark(key)
    }
}

/// Whether the value of a tag is of a start under this key.
pub fn is_of_key(value: &str, key: &str) -> bool {
    value.rsplit_once('.').is_some_and(|(_, mark)| mark == key_mark(key))
}

/// A digest of what can be written as JSON.
pub fn digest(value: &impl Serialize) -> String {
    // What cannot be written as JSON cannot be sent either; there is no such request.
    hex(&serde_json::to_vec(value).unwrap_or_default(), REQUEST_DIGITS)
}

/// What the tag of every execution under a key ends in, so that they can be found again.
fn key_mark(key: &str) -> String {
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
        let read = WaveTag::of_campaign(&tag, "c").unwrap();
        assert_eq!((read.part, read.digest.len()), (12, REQUEST_DIGITS));
        assert!(read.is_of_key("c/one") && !read.is_of_key("c/two") && is_of_key(&tag, "c/one"));
        assert_eq!(WaveTag::of_campaign(&tag, "d"), None);
        let plain = request_tags(&TokenSource { wave: None, ..tokens }, &request(&["111111111111"]))(0).value;
        assert_eq!(WaveTag::of_campaign(&plain, "c"), None);
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

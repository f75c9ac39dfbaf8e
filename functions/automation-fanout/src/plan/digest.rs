//! The tag that ties every start to the whole request that it is a part of.

use std::fmt::Write as _;

use hub::Tag;
use sha2::{Digest as _, Sha256};

use super::request::StartRequest;

/// On an execution: a digest of the request that it was started for, and a mark of the key.
pub const REQUEST_TAG_KEY: &str = "tag-hub:request";

/// Hexadecimal digits: 160 bits of the request, 64 of the key.
const REQUEST_DIGITS: usize = 40;
const KEY_DIGITS: usize = 16;

/// The tag of every part of a request: `<digest of the whole request>.<mark of the key>`.
///
/// With it the service sees another request under a client token that was used, also where the part itself is the
/// same, and refuses it.
pub fn request_tag(key: &str, request: &StartRequest) -> Tag {
    let request = StartRequest { client_token: None, ..request.clone() };
    // What cannot be written as JSON cannot be sent either; there is no such request.
    let json = serde_json::to_vec(&request).unwrap_or_default();
    Tag { key: REQUEST_TAG_KEY.to_owned(), value: format!("{}.{}", hex(&json, REQUEST_DIGITS), key_mark(key)) }
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

    fn request(accounts: &[&str]) -> StartRequest {
        let accounts = accounts.iter().map(|account| (*account).to_owned()).collect();
        let location = TargetLocation { accounts, regions: vec!["us-east-1".to_owned()], ..TargetLocation::default() };
        StartRequest { document_name: "Patch".to_owned(), target_locations: vec![location], ..StartRequest::default() }
    }

    #[test]
    fn the_tag_follows_the_whole_request_and_the_key_and_nothing_else() {
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

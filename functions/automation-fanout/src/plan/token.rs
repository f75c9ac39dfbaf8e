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
}

impl TokenSource {
    /// The token of the part with this number: a UUID of version 5.
    ///
    /// The contents of the part are left out on purpose: if another request comes under the same key, the
    /// service sees the same token with other contents and refuses it, and nothing is started twice. The tag of
    /// [`request_tag`](super::request_tag) makes the contents of every part differ then.
    pub fn token(&self, part: usize) -> String {
        let scope = self.resumes.as_deref().unwrap_or("start");
        // The key comes last, so that it may hold any character.
        Uuid::new_v5(&NAMESPACE, format!("{scope}/{part}/{}", self.key).as_bytes()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(key: &str, resumes: Option<&str>) -> TokenSource {
        TokenSource { key: key.to_owned(), resumes: resumes.map(str::to_owned) }
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

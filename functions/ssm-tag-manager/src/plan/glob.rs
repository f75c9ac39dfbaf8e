//! A pattern for tag keys in which `*` stands for any characters, and nothing else is special.

use globset::{GlobBuilder, GlobMatcher};

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct KeyGlob(GlobMatcher);

impl KeyGlob {
    /// Compiles a pattern such as `app:*`.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("expected a key or a pattern such as app:*, got an empty text".to_owned());
        }
        // A run of stars means the same as one, and the library gives `**` a meaning for paths.
        let mut parts: Vec<String> = Vec::new();
        for (index, part) in pattern.split('*').enumerate() {
            if index == 0 || !part.is_empty() || parts.last().is_some_and(|last| !last.is_empty()) {
                parts.push(globset::escape(part));
            }
        }
        if parts.len() == 1 && pattern.contains('*') {
            parts.push(String::new());
        }
        GlobBuilder::new(&parts.join("*"))
            .literal_separator(false)
            .backslash_escape(false)
            .build()
            .map(|glob| Self(glob.compile_matcher()))
            .map_err(|error| error.to_string())
    }

    pub(super) fn is_match(&self, key: &str) -> bool {
        self.0.is_match(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matches: &[&str], others: &[&str]) {
        let glob = KeyGlob::new(pattern).unwrap();
        for key in matches {
            assert!(glob.is_match(key), "{pattern} should match {key}");
        }
        for key in others {
            assert!(!glob.is_match(key), "{pattern} should not match {key}");
        }
    }

    #[test]
    fn only_the_star_is_special() {
        check("*", &["", "a", "a/b", "app:x y", ".hidden", "日本"], &[]);
        check("**", &["", "a/b"], &[]);
        check("Env", &["Env"], &["env", "Env2", "xEnv", ""]);
        check("app:*", &["app:", "app:x/y"], &["apps", "xapp:"]);
        check("*:x", &[":x", "a/b:x"], &["a:xy"]);
        check("a*b*c", &["abc", "a/b/c", "axxbxxc"], &["ab", "acb"]);
        check("a***b", &["ab", "a/b"], &["a"]);
        check("a[b]?{c,d}!\\", &["a[b]?{c,d}!\\"], &["ab", "a[b]xc"]);
        assert!(KeyGlob::new("").is_err());
    }
}

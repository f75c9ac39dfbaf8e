//! A pattern for tag keys in which `*` stands for any characters, and nothing else is special.

/// A pattern: the texts between its stars.
#[derive(Debug, Clone)]
pub(super) struct KeyGlob(Vec<String>);

impl KeyGlob {
    /// Reads a pattern such as `app:*`.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        if pattern.is_empty() {
            return Err("expected a key or a pattern such as app:*, got an empty text".to_owned());
        }
        Ok(Self(pattern.split('*').map(str::to_owned).collect()))
    }

    pub(super) fn is_match(&self, key: &str) -> bool {
        let [first, between @ .., last] = self.0.as_slice() else {
            return self.0.iter().any(|only| only == key);
        };
        let Some(mut rest) = key.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        // The first place for each text leaves the most room for the others.
        between.iter().all(|text| match rest.split_once(text.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
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
        check("*ab*ab", &["abab", "xabyab"], &["ab", "xab", "aba"]);
        check("aa*aa", &["aaaa"], &["aa", "aaa"]);
        check("a[b]?{c,d}!\\", &["a[b]?{c,d}!\\"], &["ab", "a[b]xc"]);
        assert!(KeyGlob::new("").is_err());
    }
}

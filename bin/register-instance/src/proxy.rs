//! Which proxy is used for what.
//!
//! The agent has the variables of its service, and a shell has others. AWS is called through the agent's proxy, so that
//! this program sees the network as the agent does, and through the shell's if the agent has none. The metadata service
//! is never asked through a proxy.

use std::collections::BTreeMap;

/// Names and values of an environment.
pub(crate) type Variables = BTreeMap<String, String>;

/// The variables that name a proxy. Go, and so the agent, takes the first that is there.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const NONE: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// All variables about proxies, those included that Go does not know.
pub(crate) const ALL: [&str; 8] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"];

/// Proxies, and who says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `https` endpoints.
    pub https: Option<String>,
    /// For `http` endpoints.
    pub http: Option<String>,
    /// What is asked directly all the same.
    pub none: Option<String>,
}

impl Proxies {
    /// Reads the variables.
    pub(crate) fn from_variables(variables: &Variables) -> Self {
        let first = |names: [&str; 2]| {
            names.iter().filter_map(|name| variables.get(*name)).find(|value| !value.is_empty()).cloned()
        };
        let none = first(NONE);
        if none.as_ref().is_some_and(|hosts| hosts.split(',').any(|host| host.trim() == "*")) {
            return Self { none, ..Self::default() };
        }
        Self { https: first(HTTPS), http: first(HTTP), none }
    }

    /// True if nothing goes through a proxy.
    pub fn is_empty(&self) -> bool {
        self.https.is_none() && self.http.is_none()
    }

    /// The proxy, without a name and a password in it, for a message.
    pub(crate) fn shown(&self) -> String {
        let proxy = self.https.as_deref().or(self.http.as_deref()).unwrap_or_default();
        let (scheme, rest) = proxy.split_once("://").map_or(("", proxy), |(scheme, rest)| (scheme, rest));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Proxies::from_variables(&variables)
    }

    #[test]
    fn the_first_name_that_has_a_value_counts() {
        let found = proxies(&[("https_proxy", "http://b"), ("HTTPS_PROXY", "http://a"), ("no_proxy", "c")]);
        assert_eq!(found, Proxies { https: Some("http://a".into()), http: None, none: Some("c".into()) });
        assert!(proxies(&[("HTTPS_PROXY", "http://a"), ("http_proxy", "http://a"), ("no_proxy", "x, *")]).is_empty());
        assert!(proxies(&[("HTTPS_PROXY", ""), ("NO_PROXY", "x"), ("ALL_PROXY", "http://x")]).is_empty());
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(proxies(&[("HTTPS_PROXY", "http://user:p@ss@proxy:3128")]).shown(), "http://proxy:3128");
        assert_eq!(proxies(&[("HTTP_PROXY", "proxy:3128")]).shown(), "proxy:3128");
    }
}

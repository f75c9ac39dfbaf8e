//! Which proxy is used for what.
//!
//! The agent has the variables of its service, and a shell has others. AWS is called through the agent's proxy, so that
//! this program sees the network as the agent does, and through the shell's if the agent has none. The metadata service
//! is never asked through a proxy.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Names and values of an environment.
pub(crate) type Variables = BTreeMap<String, String>;

/// The variables that name a proxy. Go, and so the agent, takes the first that is there.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const NONE: [&str; 2] = ["NO_PROXY", "no_proxy"];

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

    /// True if the proxy is of a kind that Go, and so the agent, knows and this program does not.
    pub(crate) fn is_for_agent_alone(&self) -> bool {
        let proxy = self.https.as_deref().or(self.http.as_deref()).unwrap_or_default();
        proxy
            .split_once("://")
            .is_some_and(|(scheme, _)| !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()))
    }

    /// What is asked directly at a port, in the form that the HTTP client knows: hosts, without `*` and ports.
    pub(crate) fn exceptions(&self, port: u16) -> Option<String> {
        let entries = self.none.as_deref()?.split(',').map(str::trim);
        let hosts = entries.filter_map(|entry| {
            let (host, of) = host_and_port(entry);
            let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
            of.is_none_or(|of| of == port).then(|| host.to_ascii_lowercase())
        });
        Some(hosts.collect::<Vec<_>>().join(","))
    }

    /// The proxy, without a name and a password in it, for a message.
    pub(crate) fn shown(&self) -> String {
        let proxy = self.https.as_deref().or(self.http.as_deref()).unwrap_or_default();
        let (scheme, rest) = proxy.split_once("://").map_or(("", proxy), |(scheme, rest)| (scheme, rest));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
    }
}

/// `host`, `host:port`, `[address]:port`, an address or a net.
fn host_and_port(entry: &str) -> (&str, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (entry, None),
    };
    let host = if port.is_none() { entry } else { host };
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
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
    fn what_goes_past_a_proxy_is_what_go_says() {
        for (none, at_443, at_8080) in [
            ("*.amazonaws.com", ".amazonaws.com", ".amazonaws.com"),
            ("ssm.us-east-1.amazonaws.com:443, Other", "ssm.us-east-1.amazonaws.com,other", "other"),
            (
                "[::1]:8080,fd00:ec2::254,[fd00::1],10.0.0.0/8",
                "fd00:ec2::254,fd00::1,10.0.0.0/8",
                "::1,fd00:ec2::254,fd00::1,10.0.0.0/8",
            ),
        ] {
            let found = proxies(&[("HTTPS_PROXY", "http://a"), ("NO_PROXY", none)]);
            assert_eq!(
                (found.exceptions(443).as_deref(), found.exceptions(8080).as_deref()),
                (Some(at_443), Some(at_8080))
            );
        }
        assert_eq!(proxies(&[("HTTPS_PROXY", "http://a")]).exceptions(443), None);
    }

    #[test]
    fn a_proxy_that_only_the_agent_knows() {
        for (proxy, expected) in [
            ("socks5://p:1", true),
            ("socks5h://u:p@p:1", true),
            ("http://p", false),
            ("HTTPS://p", false),
            ("p:3128", false),
        ] {
            assert_eq!(proxies(&[("HTTPS_PROXY", proxy)]).is_for_agent_alone(), expected, "{proxy}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(proxies(&[("HTTPS_PROXY", "http://user:p@ss@proxy:3128")]).shown(), "http://proxy:3128");
        assert_eq!(proxies(&[("HTTP_PROXY", "proxy:3128")]).shown(), "proxy:3128");
    }
}

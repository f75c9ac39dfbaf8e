//! What the running agent noted about itself: who it is, and until when its credentials are good.

use hub::Timestamp;
use serde_json::Value;

/// Where the agent notes it: when it starts, and whenever Systems Manager gives it credentials.
pub(crate) const RUNTIME_FILE: &str = "/var/lib/amazon/ssm/runtimeconfig/identity_config.json";

/// The note.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// There is none: old agents write none.
    #[default]
    Absent,
    /// Half written, or no such note. The agent writes it anew when it starts.
    Unreadable(String),
    /// The identity that the agent took when it started.
    As { id: String, credentials: Option<Credentials> },
}

/// When the agent last got credentials. One that never did has times long past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) retrieved: Timestamp,
    pub(crate) expire: Timestamp,
}

impl Credentials {
    /// When the agent has renewed them at the latest: it does so when half of their time is over.
    pub(crate) fn overdue(self) -> Timestamp {
        const MARGIN_SECONDS: i64 = 120;
        let [retrieved, expire] = [self.retrieved, self.expire].map(Timestamp::unix_seconds);
        let half = expire.saturating_sub(retrieved) / 2;
        Timestamp::from_unix_seconds(retrieved.saturating_add(half).saturating_add(MARGIN_SECONDS))
    }
}

impl Runtime {
    /// Reads `{"InstanceId":"…","IdentityType":"OnPrem","CredentialsExpiresAt":"…","CredentialsRetrievedAt":"…",…}`.
    pub(crate) fn parse(contents: std::io::Result<Option<String>>) -> Self {
        let contents = match contents {
            Ok(Some(contents)) => contents,
            Ok(None) => return Self::Absent,
            Err(error) => return Self::Unreadable(error.to_string()),
        };
        let value: Value = match serde_json::from_str(&contents) {
            Ok(value) => value,
            Err(error) => return Self::Unreadable(error.to_string()),
        };
        let text = |name| value.get(name).and_then(Value::as_str);
        let time = |name| text(name).and_then(|time| time.parse().ok());
        let credentials = time("CredentialsRetrievedAt").zip(time("CredentialsExpiresAt"));
        match text("InstanceId").filter(|id| !id.is_empty()) {
            Some(id) => Self::As {
                id: id.to_owned(),
                credentials: credentials.map(|(retrieved, expire)| Credentials { retrieved, expire }),
            },
            None => Self::Unreadable("it names no InstanceId".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(contents: &str) -> Runtime {
        Runtime::parse(Ok(Some(contents.to_owned())))
    }

    #[test]
    fn the_identity_that_the_agent_took() {
        let id = "mi-1".to_owned();
        let without = Runtime::As { id: id.clone(), credentials: None };
        assert_eq!(parse(r#"{"InstanceId":"mi-1","IdentityType":"OnPrem"}"#), without);
        assert_eq!(Runtime::parse(Ok(None)), Runtime::Absent);
        let folder = Runtime::parse(Err(std::io::Error::other("not a file")));
        assert_eq!(folder, Runtime::Unreadable("not a file".to_owned()));
        for contents in [r#"{"InstanceId":""}"#, "{}", "", "<html>", r#"{"InstanceId":"mi-1","Identi"#, "\u{0}\u{0}"] {
            assert!(matches!(parse(contents), Runtime::Unreadable(_)), "{contents}");
        }
        // As Go writes times: of one that has them, and of one that never had any.
        for (retrieved, expire, expected) in [
            ("2024-10-16T08:00:00.123456789Z", "2024-10-16T11:00:00+02:00", (1_729_065_600, 1_729_069_200)),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", (-62_135_596_800, -62_135_596_800)),
        ] {
            let contents = format!(
                r#"{{"InstanceId":"mi-1","CredentialsExpiresAt":"{expire}","CredentialsRetrievedAt":"{retrieved}"}}"#
            );
            let [retrieved, expire] = [expected.0, expected.1].map(Timestamp::from_unix_seconds);
            let credentials = Some(Credentials { retrieved, expire });
            assert_eq!(parse(&contents), Runtime::As { id: id.clone(), credentials });
        }
    }
}
